// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// The bytes under the hash are what an independent CBOR library writes.
func TestCommitment(t *testing.T) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	nonce := []byte("0123456789abcdef")
	leaves := map[Path]LeafDigest{"gpu": sha512.Sum384([]byte("g")), "nic/0": sha512.Sum384([]byte("n")), "a-long-label-that-sorts-late": {}}
	thumb := make([]byte, 32)
	for _, signer := range []string{"", base64.RawURLEncoding.EncodeToString(thumb)} {
		m := map[string][]byte{}
		for p, d := range leaves {
			m[string(p)] = d[:]
		}
		array := []any{nonce, m, nil}
		if signer != "" {
			array[2] = thumb
		}
		raw, err := mode.Marshal(array)
		if err != nil {
			t.Fatal(err)
		}
		want := sha512.Sum512(append([]byte("cmw-bind-v1\x00"), raw...))
		got, err := Commitment{Nonce: nonce, Leaves: leaves, Signer: signer}.Sum()
		if err != nil || got != want {
			t.Errorf("signer %q: %x, want %x (%v)", signer, got, want, err)
		}
	}
	// A fixed value, so that two builds agree.
	got, err := Commitment{Nonce: nonce, Leaves: map[Path]LeafDigest{"gpu": leaves["gpu"]}}.Sum()
	if s := hex.EncodeToString(got[:8]); err != nil || s != "63119c1ac2001530" {
		t.Errorf("%s", s)
	}
	for _, signer := range []string{"x", "AAAA", base64.RawURLEncoding.EncodeToString(make([]byte, 31))} {
		if _, err := (Commitment{Signer: signer}).Sum(); err == nil {
			t.Errorf("signer %q", signer)
		}
	}
}

func TestTreeCommitment(t *testing.T) {
	rec := func(v string) Item { return Record(MediaType{Base: "a/b"}, []byte(v), IndEvidence) }
	for _, typ := range []string{BoundCollection, "tag:example.com,2026:other"} {
		raw, err := EncodeJSON(Collection(typ, Entry{Label: "cpu", Item: rec("c")},
			Entry{Label: "nic", Item: Collection("", Entry{Label: "0", Item: rec("n")})}))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := Parse(raw, Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := tree.LeafDigests()
		if len(d) != 2 || d["cpu"] != sha512.Sum384([]byte("c")) || d["nic/0"] != sha512.Sum384([]byte("n")) {
			t.Errorf("%x", d)
		}
		if tree.Commits() != (typ == BoundCollection) || tree.LeadSigner() != "" {
			t.Errorf("%s: %v %q", typ, tree.Commits(), tree.LeadSigner())
		}
	}
}
