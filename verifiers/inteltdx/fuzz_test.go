// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"context"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-tdx-guest/testing/testdata"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// FuzzQuote looks for input that panics, that is affirming, or that gets more
// than a rejection without a valid signature.
func FuzzQuote(f *testing.F) {
	f.Add(testdata.RawQuote)
	f.Add(sampleV4())
	f.Add(testdata.RawQuoteV5)
	f.Add([]byte{0x81})
	f.Add(newMachine(f).quote())
	v := newTest(f, verifiers.Deps{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if q, err := parseQuote(raw); err == nil {
			size := len(q.signed) + 4 + q.padding
			if size > len(raw) || len(q.body) != bodySize10 && len(q.body) != bodySize15 || len(q.chain) == 0 {
				t.Fatalf("parsed something else: %+v", q)
			}
			q.crossCheckMustAgree(t, raw)
		}
		a, err := v.Appraise(context.Background(), verifiers.Input{
			MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Time: at("2026-03-01")})
		if err != nil || a.Status() == verdict.TierAffirming || a.Status() == verdict.TierNone {
			t.Fatalf("%v %v", err, a)
		}
	})
}

func (q *quote) crossCheckMustAgree(t *testing.T, raw []byte) {
	if err := q.crossCheck(raw[:len(raw)-q.padding]); err != nil {
		t.Fatalf("accepted although the library disagrees: %v", err)
	}
}

// FuzzJSON looks for containers that panic or are taken as something they are
// not.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"quote":"AAAA","cc_eventlog":"AAAA","runtime_data":{"a":1}}`))
	f.Add([]byte(`{"quote":"AAAA","quote":"AAAA"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := openJSON(raw)
		if err == nil && c.quote == nil {
			t.Fatal("no quote and no error")
		}
	})
}

// FuzzSplitPEM looks for text that panics, or that is taken for certificates
// although there is something else in it: what was decoded, encoded again, must
// be the text without its white space.
func FuzzSplitPEM(f *testing.F) {
	m := newMachine(f)
	f.Add(pemOf(m.ca.cert, m.root.cert))
	f.Add([]byte(pemBegin + "\n!!!\n" + pemEnd + "\n"))
	f.Add([]byte(pemBegin + "\nAAAA\n" + pemEnd + "\r\n\x00"))
	bare := func(text []byte) string {
		return strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(pemBlank, r) }), "")
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		ders, err := splitPEM(raw)
		if err != nil {
			return
		}
		var again []byte
		for _, d := range ders {
			again = append(again, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d})...)
		}
		if got, want := bare(bytes.TrimRight(raw, "\x00")), bare(again); got != want {
			t.Fatalf("%q was taken for %q", got, want)
		}
	})
}

// FuzzMembers looks for signed JSON that panics, or that is accepted although a
// member occurs twice.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"id":"TDX","tcbLevels":[{"tcb":{"pcesvn":1}}]}`))
	f.Add([]byte(`{"id":"a","ID":"b"}`))
	f.Add([]byte(`[[[[{"x":1,"x":2}]]]]`))
	names := collateralNames()
	f.Fuzz(func(t *testing.T, raw []byte) {
		var info tcbInfo
		if names.decode(raw, &info) != nil {
			return
		}
		if members, err := objectMembers(raw); err == nil && members["id"] == nil && info.ID != "" {
			t.Fatalf("id %q was read from another member", info.ID)
		}
		_ = info.check()
	})
}
