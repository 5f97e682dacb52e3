// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"context"
	"reflect"
	"testing"

	"github.com/google/go-tdx-guest/testing/testdata"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/strictjson"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// FuzzQuote looks for input that panics, that is affirming, or that gets more
// than a rejection without a valid signature.
func FuzzQuote(f *testing.F) {
	f.Add(testdata.RawQuote)
	f.Add(sampleV4())
	f.Add(testdata.RawQuoteV5)
	f.Add([]byte{0x81})
	f.Add(newMachine(f).Quote())
	v := newTest(f, verifiers.Deps{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if q, err := parseQuote(raw); err == nil {
			size := len(q.Signed) + 4 + q.Padding
			if size > len(raw) || len(q.Body) != dcap.SizeTD10 && len(q.Body) != dcap.SizeTD15 || len(q.Chain) == 0 {
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
	if err := q.crossCheck(raw[:len(raw)-q.Padding]); err != nil {
		t.Fatalf("accepted although the library disagrees: %v", err)
	}
}

// FuzzJSON looks for containers that panic or are taken as something they are
// not.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"quote":"AAAA","cc_eventlog":"AAAA","runtime_data":{"a":1}}`))
	f.Add([]byte(`{"quote":"AAAA","quote":"AAAA"}`))
	f.Add([]byte(" {\"quote\" : \"A\\u0041AA\" , \"runtime_data\":\"a\\\"b\" ,\"\\u0061\":[1 , {}]} "))
	f.Add([]byte(`{"quote":"AAAA",}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := openJSON(raw)
		if err == nil && c.quote == nil {
			t.Fatal("no quote and no error")
		}
		members, serr := strictjson.Members(raw)
		if err == nil && serr != nil {
			t.Fatalf("accepted, although encoding/json says: %v", serr)
		}
		parts, perr := split(raw)
		if serr == nil && (perr != nil || !reflect.DeepEqual(parts, members)) {
			t.Fatalf("split gives %q, %v, encoding/json %q", parts, perr, members)
		}
	})
}
