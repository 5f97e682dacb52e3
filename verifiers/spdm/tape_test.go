// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tape writes folders of messages in the layout of the published recordings, from
// devices that this test makes: it keeps transcripts by its own count.
type tape struct {
	t      *testing.T
	d      *device           // of the negotiation
	slots  map[uint8]*device // by slot
	index  []map[string]any  // index.json
	out    []byte            // messages.bin
	b      []byte            // of M1
	m      map[string][]byte // of L1, by session
	sigs   []map[string]any  // expected.json
	files  map[string][]byte // transcripts
	blocks []map[string]any  // of the first signed response that has all
	n      int               // nonces
	report []byte
}

func newTape(t *testing.T, d *device, more ...*device) *tape {
	p := &tape{t: t, d: d, slots: map[uint8]*device{d.slot: d}, m: map[string][]byte{}, files: map[string][]byte{}}
	for _, o := range more {
		o.vca = d.vca
		p.slots[o.slot] = o
	}
	rest := d.vca
	var parts [][]byte
	take := func(n int) {
		parts, rest = append(parts, rest[:n]), rest[n:]
	}
	caps := map[Version]int{Version10: 12, Version11: 12}[d.version]
	if caps == 0 {
		caps = 20
	}
	take(4)
	take(6 + 2*int(rest[5]))
	if d.version == Version10 {
		take(4)
	} else {
		take(caps)
	}
	if rest[2]&1 != 0 && d.version >= Version13 {
		caps += int(rest[caps+2])
	}
	take(caps)
	take(int(rest[4]) | int(rest[5])<<8)
	take(len(rest))
	for i := 0; i < 6; i += 2 {
		p.say("", parts[i], parts[i+1])
	}
	return p
}

// say puts an exchange on the tape; n is the number of the response.
func (p *tape) say(session string, request, response []byte) (n int) {
	for i, raw := range [][]byte{request, response} {
		e := map[string]any{"n": len(p.index), "dir": []string{"req", "rsp"}[i], "session": nil, "code": fmt.Sprintf("0x%02x", raw[1]), "name": Code(raw[1]).String(),
			"offset": len(p.out), "length": len(raw)}
		if session != "" {
			e["session"] = session
		}
		p.index, p.out = append(p.index, e), append(p.out, raw...)
	}
	if request[1] != 0xE0 || response[1] == 0x7F {
		p.m[session] = nil
	}
	return len(p.index) - 1
}

// read reads digests and chains.
func (p *tape) read(digests bool, slots ...uint8) {
	d := p.d
	if digests {
		var mask byte
		var sums, tail []byte
		known := slices.Sorted(maps.Keys(p.slots))
		for _, s := range known {
			mask |= 1 << s
			sums = append(sums, p.slots[s].sum(p.slots[s].chain)...)
		}
		if d.multi {
			for i := range known {
				tail = append(tail, byte(i+1))
			}
			for _, s := range known {
				tail = append(tail, byte(p.slots[s].model))
			}
			for _, s := range known {
				tail = append(tail, le16(int(p.slots[s].usage))...)
			}
		}
		one := byte(0)
		if d.version >= Version13 {
			one = mask
		}
		request, response := d.msg(0x81, 0, 0), d.msg(1, one, mask, sums, tail)
		p.say("", request, response)
		p.b = slices.Concat(request, response)
	}
	for _, s := range slots {
		b := p.slots[s].certificates()
		head := 8
		if p.slots[s].large {
			head = 16
		}
		for at := 0; at < len(b); {
			n := head + (int(b[at+head+4]) | int(b[at+head+5])<<8)
			if p.slots[s].large {
				n = head + (int(b[at+head+8]) | int(b[at+head+9])<<8)
			}
			p.say("", b[at:at+head], b[at+head:at+head+n])
			at += head + n
		}
		p.b = append(p.b, b...)
	}
}

func (p *tape) nonce() []byte {
	p.n++
	sum := sha256.Sum256([]byte{byte(p.n)})
	return sum[:]
}

// note keeps what is expected of a signature.
func (p *tape) note(kind string, n int, d *device, transcript, sig, nonce, responder []byte, more map[string]any) {
	s := map[string]any{"type": kind, "message": n, "slot": d.slot, "transcript_length": len(transcript), "transcript_hash": hex.EncodeToString(d.sum(transcript)),
		"matches_emulator_log": true, "requester_nonce": hex.EncodeToString(nonce), "responder_nonce": hex.EncodeToString(responder), "signature": hex.EncodeToString(sig)}
	maps.Copy(s, more)
	file := map[string]string{"challenge": "m1", "measurements": "l1"}[kind]
	if file != "" {
		first := file
		for i := 2; p.files[file+".bin"] != nil; i++ {
			file = fmt.Sprintf("%s-%d", first, i)
		}
		p.files[file+".bin"] = transcript
		s["transcript_file"] = file + ".bin"
	}
	p.sigs = append(p.sigs, s)
}

func (p *tape) challenge(slot uint8, summary byte, flags byte) {
	d, nonce := p.slots[slot], p.nonce()
	responder := bytes.Repeat([]byte{0x77}, 32)
	var hash []byte
	more := map[string]any{"cert_chain_hash": hex.EncodeToString(d.sum(d.chain)), "summary_type": int(summary)}
	if summary != 0 {
		hash = d.sum(d.blocks)
		if summary == 1 {
			hash = d.sum([]byte("what the maker thinks of"))
		}
		more["measurement_summary_hash"] = hex.EncodeToString(hash)
		more["summary_equals_hash_all_blocks"] = summary == 0xFF
	}
	request := d.msg(0x83, slot, summary, nonce, d.context())
	response := d.msg(3, slot|flags, 1<<slot, d.sum(d.chain), responder, hash, le16(len(d.data)), d.data, d.context())
	m1 := slices.Concat(p.d.vca, p.b, request, response)
	sig := d.sign(p.t, "responder-challenge_auth signing", m1)
	n := p.say("", request, slices.Concat(response, sig))
	p.b = nil
	p.note("challenge", n, d, m1, sig, nonce, responder, more)
}

// measure asks for a measurement; attributes bit 0 for a signature.
func (p *tape) measure(session string, slot uint8, attributes, operation byte, record []byte) {
	d, nonce := p.slots[slot], p.nonce()
	count := byte(0)
	for at := 0; at < len(record); count++ {
		at += 4 + (int(record[at+2]) | int(record[at+3])<<8)
	}
	request, response := d.getMeasurements(attributes, operation, nonce), d.unsigned(count, record)
	if operation == 0 {
		response[2] = p.d.count
	}
	p.m[session] = slices.Concat(p.m[session], request, response)
	if attributes&1 == 0 {
		p.say(session, request, response)
		return
	}
	l1 := p.m[session]
	if d.version >= Version12 {
		l1 = slices.Concat(p.d.vca, l1)
	}
	sig := d.sign(p.t, "responder-measurements signing", l1)
	n := p.say(session, request, slices.Concat(response, sig))
	kind := "measurements"
	if session != "" {
		kind += "-in-session"
	}
	responder := sha256.Sum256([]byte("responder"))
	p.note(kind, n, d, l1, sig, nonce, responder[:], nil)
	p.m[session] = nil
	if session == "" && operation == 0xFF && p.blocks == nil && len(p.sigs) < 3 {
		p.listBlocks(record)
	}
}

func (p *tape) listBlocks(record []byte) {
	for at := 0; at < len(record); {
		n := 4 + (int(record[at+2]) | int(record[at+3])<<8)
		p.blocks = append(p.blocks, map[string]any{"index": record[at], "spec": 1, "type": record[at+4] & 0x7F, "type_name": "…", "raw": record[at+4]&0x80 != 0,
			"offset": 8 + at, "length": n, "value": hex.EncodeToString(record[at+7 : at+n])})
		at += n
	}
}

func (p *tape) refused(session string, request []byte) {
	p.say(session, request, p.d.msg(0x7F, 1, 0))
}

// write writes the folder.
func (p *tape) write(folder string) {
	t := p.t
	t.Helper()
	v, err := ParseVCA(p.d.vca)
	if err != nil {
		t.Fatal(folder, err)
	}
	files := maps.Clone(p.files)
	chains := map[string]any{}
	for slot, d := range p.slots {
		name := fmt.Sprintf("certchain-slot%d.bin", slot)
		files[name] = d.chain
		c, err := ParseChain(d.chain, v)
		if err != nil {
			t.Fatal(folder, err)
		}
		var certs []map[string]any
		at := 4 + len(c.RootHash)
		for i, raw := range c.DER {
			sum := sha256.Sum256(raw)
			certs = append(certs, map[string]any{"offset": at, "length": len(raw), "sha256": hex.EncodeToString(sum[:])})
			files[fmt.Sprintf("slot%d-cert%d.der", slot, i)] = raw
			at += len(raw)
		}
		chains[fmt.Sprint(slot)] = map[string]any{"file": name, "length": len(d.chain), "root_hash": hex.EncodeToString(c.RootHash),
			"root_hash_matches_cert0": !d.noRoot, "chain_digest": hex.EncodeToString(d.sum(d.chain)), "certs": certs}
	}
	x := map[string]any{"vector": filepath.Base(folder), "spdm_version": v.Version.String(), "base_hash": strings.ToLower(strings.ReplaceAll(v.BaseHash.String(), "-", "")),
		"base_asym": strings.ReplaceAll(v.BaseAsym.String(), "-", "_"), "signature_length": v.BaseAsym.SignatureSize(),
		"measurement_hash": strings.ToLower(v.MeasurementHash.String()), "cert_chains": chains, "signatures": p.sigs, "messages": "index.json", "remark": "made by a test"}
	if p.sigs == nil {
		x["signatures"] = []any{}
	}
	if p.blocks != nil {
		x["measurement_blocks"] = p.blocks
	}
	if p.report != nil {
		sum := sha256.Sum256(p.report)
		x["tdisp"] = map[string]any{"interface_report": "tdisp/interface-report.bin", "length": len(p.report), "sha256": hex.EncodeToString(sum[:])}
		files["tdisp/interface-report.bin"] = p.report
	}
	for name, doc := range map[string]any{"expected.json": x, "index.json": p.index} {
		if files[name], err = json.Marshal(doc); err != nil {
			t.Fatal(err)
		}
	}
	files["messages.bin"], files["vca.bin"] = p.out, p.d.vca
	for name, raw := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
