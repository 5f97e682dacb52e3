// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// recorded is Azure evidence as the Trustee project keeps it.
type recorded struct {
	Report string `json:"hcl_report"`
	Quote  struct {
		Message   string   `json:"message"`
		Signature string   `json:"signature"`
		PCRs      []string `json:"pcrs"`
	} `json:"tpm_quote"`
}

func azure(t *testing.T, name string) (r recorded) {
	t.Helper()
	if err := json.Unmarshal(vectors.Read(t, "vtpm/trustee/az-snp-vtpm/"+name), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A quote of all PCRs with the same nonce differs from the recorded one in
// values only; registers that no one extended hold the same.
func TestQuoteLikeRecorded(t *testing.T) {
	r := azure(t, "evidence-v1.json")
	real := unhex(t, r.Quote.Message)
	d := device(t, func(o *Options) { o.Key = RSA2048 })
	ours, signature, err := d.Quote([]byte("challenge"))
	if err != nil {
		t.Fatal(err)
	}
	if len(real) != len(ours) {
		t.Fatalf("real %d bytes, ours %d", len(real), len(ours))
	}
	for _, part := range []struct {
		name     string
		from, to int
	}{
		{"magic, type, head of name", 0, 10}, {"nonce", 42, 53}, {"restarts and safe", 65, 70}, {"selection and length", 78, 90},
	} {
		if !bytes.Equal(real[part.from:part.to], ours[part.from:part.to]) {
			t.Errorf("%s: real %x, ours %x", part.name, real[part.from:part.to], ours[part.from:part.to])
		}
	}
	if len(unhex(t, r.Quote.Signature)) != len(signature)-6 { // theirs has no TPMT_SIGNATURE head
		t.Error("signatures have different lengths")
	}
	for pcr := 15; pcr < 24; pcr++ {
		if !bytes.Equal(unhex(t, r.Quote.PCRs[pcr]), d.PCRs()[pcr]) {
			t.Errorf("PCR %d: real %s, ours %x", pcr, r.Quote.PCRs[pcr], d.PCRs()[pcr])
		}
	}
}

func TestRuntimeDataLikeRecorded(t *testing.T) {
	report, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(azure(t, "evidence-v2.json").Report, "="))
	if err != nil {
		t.Fatal(err)
	}
	real := report[1236:][:binary.LittleEndian.Uint32(report[1232:])]
	ours := device(t, func(o *Options) { o.Key = RSA2048 }).RuntimeData()
	if a, b := shape(t, real), shape(t, ours); a != b {
		t.Errorf("real %s\nours %s", a, b)
	}
	if len(real) < len(ours)-8 || len(real) > len(ours)+8 {
		t.Errorf("real %d bytes, ours %d", len(real), len(ours))
	}
}

// shape is the JSON with its members in order, and long texts cut down to
// their alphabet.
func shape(t *testing.T, raw []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	var out bytes.Buffer
	for {
		token, err := dec.Token()
		if err != nil {
			return out.String()
		}
		switch v := token.(type) {
		case string:
			if _, err := hex.DecodeString(v); err == nil && len(v) == 128 && bytes.Equal([]byte(v), bytes.ToUpper([]byte(v))) {
				v = "64 bytes of hex"
			} else if len(v) == 342 {
				v = "256 bytes of base64url"
			} else if len(v) == 36 {
				v = "GUID"
			}
			out.WriteString(v)
		case json.Delim:
			out.WriteString(v.String())
		case bool:
			out.WriteString("bool")
		default:
			t.Fatalf("a %T", token)
		}
		out.WriteByte(' ')
	}
}
