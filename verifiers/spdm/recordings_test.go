// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// recorded is one folder of recorded messages.
type recorded struct {
	name  string
	index []struct {
		N, Offset, Length int
		Dir, Code, Name   string
		Session           *string
	}
	messages []byte
	expected expectation
	chains   map[uint8][]byte
	anchors  []Anchor
}

type expectation struct {
	Version string `json:"spdm_version"`
	Chains  map[string]struct {
		Root   string `json:"root_hash"`
		Digest string `json:"chain_digest"`
		Certs  []struct{ Offset, Length int }
	} `json:"cert_chains"`
	Signatures []signatureOf
	Blocks     []struct {
		Index          uint8
		Type           ValueType
		Raw            bool
		Offset, Length int
		Value          string
	} `json:"measurement_blocks"`
	TDISP *struct{ SHA256, SHA384, SHA512 string }
}

// signatureOf is one recorded signature.
type signatureOf struct {
	Type       string
	Message    int
	Slot       uint8
	File       string `json:"transcript_file"`
	Length     int    `json:"transcript_length"`
	Hash       string `json:"transcript_hash"`
	Nonce      string `json:"requester_nonce"`
	Responder  string `json:"responder_nonce"`
	Summary    string `json:"measurement_summary_hash"`
	SummaryAll bool   `json:"summary_equals_hash_all_blocks"`
	Type0      int    `json:"summary_type"`
	Signature  string
}

func certificateOf(t testing.TB, raw []byte) *x509.Certificate {
	t.Helper()
	x, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// recordings reads every folder of recorded messages.
func recordings(t testing.TB) []*recorded {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(vectors.Dir(t), "spdm", "*", "expected.json"))
	if err != nil || len(folders) < 10 {
		t.Fatalf("%d folders of recorded SPDM messages, %v", len(folders), err)
	}
	var out []*recorded
	for _, f := range folders {
		out = append(out, recording(t, filepath.Base(filepath.Dir(f))))
	}
	return out
}

func recording(t testing.TB, name string) *recorded {
	t.Helper()
	r := &recorded{name: name, chains: make(map[uint8][]byte)}
	read := func(file string) []byte { return vectors.Read(t, "spdm/"+name+"/"+file) }
	r.messages = read("messages.bin")
	if err := json.Unmarshal(read("index.json"), &r.index); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(read("expected.json"), &r.expected); err != nil {
		t.Fatal(err)
	}
	for slot := range uint8(8) {
		file := fmt.Sprintf("certchain-slot%d.bin", slot)
		if _, err := os.Stat(filepath.Join(vectors.Dir(t), "spdm", name, file)); err != nil {
			continue
		}
		r.chains[slot] = read(file)
		if slot == 1 { // a second root, which only its own slot trusts
			r.anchors = append(r.anchors, Anchor{certificateOf(t, read("slot1-cert0.der")), 1 << 1})
		}
	}
	for _, root := range []string{"ecp256-ca", "ecp384-ca", "ecp521-ca", "rsa3072-ca"} {
		r.anchors = append(r.anchors, Anchor{certificateOf(t, vectors.Read(t, "spdm/roots/"+root+".der")), SlotFactory | 1<<4})
	}
	return r
}

// record replays the recorded exchanges, of sessions or outside them.
func (r *recorded) record(session bool) *Recorder {
	var out Recorder
	for i := 0; i+1 < len(r.index); i += 1 {
		req, rsp := r.index[i], r.index[i+1]
		if req.Dir != "req" || rsp.Dir != "rsp" || (req.Session != nil) != session {
			continue
		}
		out.Add(r.messages[req.Offset:req.Offset+req.Length], r.messages[rsp.Offset:rsp.Offset+rsp.Length])
	}
	return &out
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

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
