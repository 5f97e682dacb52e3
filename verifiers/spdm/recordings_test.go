// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// recorded is one folder of recorded messages.
type recorded struct {
	name  string
	index []struct {
		N, Offset, Length int
		Dir, Name         string
		Session           any // null, or what tells sessions apart
	}
	messages []byte
	expected expectation
	chains   map[uint8][]byte
	// der are the certificates of a chain that stand in files of their own.
	der     map[uint8][][]byte
	anchors []Anchor
}

// expectation is what a folder says of itself. What a recording has no use for is
// not there.
type expectation struct {
	Version       string `json:"spdm_version"`
	BaseHash      string `json:"base_hash"`
	BaseAsym      string `json:"base_asym"`
	Meas          string `json:"measurement_hash"`
	SignatureSize int    `json:"signature_length"`
	Messages      string // the file of the index
	Arguments     string `json:"emulator_arguments"`
	Chains        map[string]struct {
		File   string
		Length int
		Root   string `json:"root_hash"`
		// RootIsFirst: the root hash is that of the first certificate. Without it the
		// root is not in the chain.
		RootIsFirst *bool  `json:"root_hash_matches_cert0"`
		Digest      string `json:"chain_digest"`
		Certs       []struct {
			Offset, Length int
			SHA256         string
		}
	} `json:"cert_chains"`
	Signatures []signatureOf
	Blocks     []blockOf                     `json:"measurement_blocks"`
	Record     *struct{ Offset, Length int } `json:"measurement_record"`
	TDISP      *struct {
		File                   string `json:"interface_report"`
		SHA256, SHA384, SHA512 string
	}
}

// blockOf is a measurement block of the first recorded response.
type blockOf struct {
	Index          uint8
	Type           ValueType
	Raw            bool
	Offset, Length int
	Value          string
}

// signatureOf is one recorded signature.
type signatureOf struct {
	Type string
	// Message is the number of the signed response.
	Message    int
	Slot       uint8
	File       string `json:"transcript_file"`
	Length     int    `json:"transcript_length"`
	Hash       string `json:"transcript_hash"`
	Nonce      string `json:"requester_nonce"`
	Responder  string `json:"responder_nonce"`
	ChainHash  string `json:"cert_chain_hash"`
	Summary    string `json:"measurement_summary_hash"`
	SummaryAll *bool  `json:"summary_equals_hash_all_blocks"`
	Type0      int    `json:"summary_type"`
	Signature  string
}

func (s signatureOf) challenge() bool { return strings.HasPrefix(s.Type, "challenge") }

func (s signatureOf) session() bool { return strings.HasSuffix(s.Type, "-in-session") }

// known tells whether this is a kind of signature that evidence can carry. A
// recording with another kind cannot be walked in silence.
func (s signatureOf) known() bool {
	return slices.Contains([]string{"challenge", "measurements", "challenge-in-session", "measurements-in-session"}, s.Type)
}

// recordings reads every folder of recorded messages.
func recordings(t testing.TB) (out []*recorded) {
	t.Helper()
	for _, name := range recordedNames(t) {
		out = append(out, recording(t, name))
	}
	return out
}

// recordedNames are the folders of recorded messages, whatever their names and
// however deep they lie. One with messages that does not say what to expect of them
// is among them, and cannot be read.
func recordedNames(t testing.TB) (out []string) {
	t.Helper()
	top := filepath.Join(vectors.Dir(t), "spdm")
	for _, folder := range below(t, top, func(file string) bool {
		return file == "expected.json" || file == "messages.bin" || file == "capture.pcap"
	}) {
		name, err := filepath.Rel(top, filepath.Dir(folder))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		t.Fatal("no folder of recorded SPDM messages")
	}
	return out
}

// below lists files by folder, through symbolic links too.
func below(t testing.TB, dir string, want func(file string) bool) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var deeper []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err != nil {
			t.Fatal(err)
		} else if info.IsDir() {
			deeper = append(deeper, path)
		} else if want(e.Name()) {
			out = append(out, path)
		}
	}
	for _, d := range deeper {
		out = append(out, below(t, d, want)...)
	}
	return out
}

// recordedHere is how many folders are published. Fewer are there where somebody
// brings recordings of his own.
const recordedHere = 13

func recording(t testing.TB, name string) *recorded {
	t.Helper()
	r := &recorded{name: name, chains: make(map[uint8][]byte), der: make(map[uint8][][]byte)}
	read := func(file string) []byte {
		raw, err := os.ReadFile(filepath.Join(vectors.Dir(t), "spdm", name, file))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	there := func(file string) bool {
		_, err := os.Stat(filepath.Join(vectors.Dir(t), "spdm", name, file))
		return err == nil
	}
	if !there("") { // a folder that a test names
		vectors.Read(t, "spdm/"+name+"/expected.json")
	}
	if err := json.Unmarshal(read("expected.json"), &r.expected); err != nil {
		t.Fatal(err)
	}
	r.messages = read("messages.bin")
	if err := json.Unmarshal(read(cmp.Or(r.expected.Messages, "index.json")), &r.index); err != nil {
		t.Fatal(err)
	}
	for slot := range uint8(MaxSlots) {
		file := fmt.Sprintf("certchain-slot%d.bin", slot)
		if want := r.expected.Chains[fmt.Sprint(slot)].File; want != "" {
			file = want
		} else if !there(file) {
			continue
		}
		r.chains[slot] = read(file)
		for i := 0; there(fmt.Sprintf("slot%d-cert%d.der", slot, i)); i++ {
			r.der[slot] = append(r.der[slot], read(fmt.Sprintf("slot%d-cert%d.der", slot, i)))
		}
	}
	r.trust(t)
	return r
}

// file is an optional file of the folder, nil without it.
func (r *recorded) file(t testing.TB, name string) []byte {
	t.Helper()
	if name == "" {
		return nil
	}
	raw, err := os.ReadFile(filepath.Join(vectors.Dir(t), "spdm", r.name, filepath.FromSlash(name)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return raw
}

// trust takes the roots that stand beside the folders, each for every slot whose
// chain names it by its hash, and all for the factory slot. A root that is none of
// them is in the chain itself or in any other file below spdm, and an anchor for that
// slot alone.
func (r *recorded) trust(t testing.TB) {
	t.Helper()
	top := filepath.Join(vectors.Dir(t), "spdm")
	known := certificatesBelow(t, filepath.Join(top, "roots"))
	v, err := ParseVCA(r.record(false).VCA())
	if err != nil { // nothing of it can be verified
		r.anchors = known
		return
	}
	var others []Anchor
	for slot, raw := range r.chains {
		chain, err := ParseChain(raw, v)
		if err != nil {
			t.Fatal(r.name, err)
		}
		named := func(a Anchor) bool { return bytes.Equal(v.BaseHash.sum(a.Certificate.Raw), chain.RootHash) }
		if i := slices.IndexFunc(known, named); i >= 0 {
			known[i].Slots |= 1 << slot
			continue
		}
		if a := (Anchor{chain.Certificates[0], 1 << slot}); named(a) {
			r.anchors = append(r.anchors, a)
			continue
		}
		if others == nil {
			others = certificatesBelow(t, top)
		}
		i := slices.IndexFunc(others, named)
		if i < 0 {
			t.Fatalf("%s: the root of chain %d, %x, is in no file", r.name, slot, chain.RootHash)
		}
		r.anchors = append(r.anchors, Anchor{others[i].Certificate, 1 << slot})
	}
	r.anchors = append(r.anchors, known...)
}

// certificatesBelow are the certificates in files of their own, as anchors for the
// factory slot. One with a key that cannot be read here is of no use.
func certificatesBelow(t testing.TB, dir string) (out []Anchor) {
	t.Helper()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	forms := []string{".der", ".cer", ".crt", ".pem", ".bin"}
	for _, path := range below(t, dir, func(file string) bool { return slices.Contains(forms, strings.ToLower(filepath.Ext(file))) }) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := pem.Decode(raw); block != nil {
			raw = block.Bytes
		}
		if x, err := x509.ParseCertificate(raw); err == nil {
			out = append(out, Anchor{x, SlotFactory})
		}
	}
	return out
}

// roots are the anchors that chains without a root may lead to: those whose hash the
// factory chain has.
func (r *recorded) roots() (out []*x509.Certificate) {
	v, err := ParseVCA(r.record(false).VCA())
	if err != nil {
		return nil
	}
	for _, a := range r.anchors {
		if hex.EncodeToString(v.BaseHash.sum(a.Certificate.Raw)) == r.expected.Chains["0"].Root {
			out = append(out, a.Certificate)
		}
	}
	return out
}

// sessionOf tells sessions apart, "" outside of any.
func sessionOf(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// exchanged calls do with every request and its response, in order.
func (r *recorded) exchanged(do func(n int, session string, request, response []byte)) {
	for i := 0; i+1 < len(r.index); i++ {
		req, rsp := r.index[i], r.index[i+1]
		if req.Dir != "req" || rsp.Dir != "rsp" {
			continue
		}
		do(rsp.N, sessionOf(req.Session), r.messages[req.Offset:req.Offset+req.Length], r.messages[rsp.Offset:rsp.Offset+rsp.Length])
	}
}

// record replays the recorded exchanges, of sessions or outside them.
func (r *recorded) record(session bool) *Recorder {
	var out Recorder
	r.exchanged(func(_ int, in string, request, response []byte) {
		if (in != "") == session {
			out.Add(request, response)
		}
	})
	return &out
}

// transcript is what one signature covers, with the connection that it belongs to.
type transcript struct {
	signed, vca, digests []byte
}

// transcripts are those of all signatures by the number of the signed response. A
// session has its own, in the negotiation of its connection.
func (r *recorded) transcripts() map[int]transcript {
	out := map[int]transcript{}
	recorders := map[string]*Recorder{"": {}}
	r.exchanged(func(n int, in string, request, response []byte) {
		rec := recorders[in]
		if rec == nil {
			rec = &Recorder{}
			recorders[in] = rec
		}
		before := [2]int{len(rec.Measurements), len(rec.Challenges)}
		rec.Add(request, response)
		connection := recorders[""]
		t := transcript{vca: connection.VCA(), digests: connection.Digests}
		switch {
		case len(rec.Measurements) > before[0]:
			t.signed = rec.Measurements[before[0]]
		case len(rec.Challenges) > before[1]:
			t.signed = rec.Challenges[before[1]]
		default:
			return
		}
		out[n] = t
	})
	return out
}

func (r *recorded) evidence() *Evidence {
	rec := r.record(false)
	e := &Evidence{Device: r.name, VCA: rec.VCA(), Chains: r.chains, Digests: rec.Digests}
	if len(rec.Measurements) > 0 {
		e.Measurements = rec.Measurements[0]
	}
	if len(rec.Challenges) > 0 {
		e.Challenge = rec.Challenges[0]
	}
	return e
}

// of is the evidence with one signature alone, and the other where the same slot
// has signed it outside of a session.
func (r *recorded) of(t testing.TB, s signatureOf) *Evidence {
	t.Helper()
	transcripts := r.transcripts()
	own, ok := transcripts[s.Message]
	if !ok {
		t.Fatalf("%s: message %d ends no transcript", s.Type, s.Message)
	}
	e := &Evidence{Device: r.name, VCA: own.vca, Chains: r.chains, Digests: own.digests}
	if s.challenge() {
		e.Challenge = own.signed
	} else {
		e.Measurements = own.signed
	}
	for _, o := range r.expected.Signatures {
		other := transcripts[o.Message]
		switch {
		case o.Slot != s.Slot || o.challenge() == s.challenge() || s.session() || o.session() || !bytes.Equal(other.vca, own.vca):
		case o.challenge() && e.Challenge == nil:
			e.Challenge, e.Digests = other.signed, nil
		case !o.challenge() && e.Measurements == nil:
			e.Measurements = other.signed
		}
	}
	return e
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
