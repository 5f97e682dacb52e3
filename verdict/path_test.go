// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
)

const testRequestID = "000102030405060708090a0b0c0d0e0f"

func testReceipt(s *trust.Signer) Receipt {
	return Receipt{
		Session: "s-1", Issued: testTime, Path: []Hop{{"me", "kid-me"}, {"n1", s.KID()}}, Requests: []string{testRequestID},
	}
}

func signedReceipt(tb testing.TB, s *trust.Signer, r Receipt) Receipt {
	tb.Helper()
	token, err := SignReceipt(s, r)
	if err != nil {
		tb.Fatal(err)
	}
	got, err := ParseReceipt(token)
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestReceipt(t *testing.T) {
	l := newLab(t, trust.ES256)
	find := func(role trust.Role) func(string) (trust.Key, bool) {
		return func(kid string) (trust.Key, bool) { return l.gpu.Key("", nil, role), kid == l.gpu.KID() }
	}
	want := testReceipt(l.gpu)
	got := signedReceipt(t, l.gpu, want)
	if err := got.Verify(find(trust.RoleNode)); err != nil {
		t.Error(err)
	}
	if !got.Covers("s-1", testRequestID, want.Path) || got.Covers("s-2", testRequestID, want.Path) ||
		got.Covers("s-1", strings.Repeat("f", 32), want.Path) || got.Covers("s-1", testRequestID, want.Path[:1]) ||
		got.Covers("s-1", testRequestID, []Hop{{"me", "kid-me"}, {"n2", l.gpu.KID()}}) {
		t.Error("a receipt covers what it is not about, or not what it is about")
	}
	// Signed by somebody else, with the kid of the last node or without.
	raw, err := want.claims()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := l.cpu.SignJWT(raw)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseReceipt(forged)
	if err != nil {
		t.Fatal(err)
	}
	if other.Verify(find(trust.RoleNode)) == nil || other.Verify(func(string) (trust.Key, bool) { return l.cpu.Key("", nil, trust.RoleNode), true }) == nil {
		t.Error("a receipt that somebody else has signed")
	}
	if _, err := SignReceipt(l.cpu, want); err == nil {
		t.Error("signs for another node")
	}
	if (Receipt{Path: want.Path}).Verify(find(trust.RoleNode)) == nil {
		t.Error("a receipt that nobody has signed")
	}
}

func TestReceiptRefuses(t *testing.T) {
	l := newLab(t, trust.ES256)
	for name, change := range map[string]func(*Receipt){
		"no session": func(r *Receipt) { r.Session = "" }, "long session": func(r *Receipt) { r.Session = strings.Repeat("s", 65) },
		"no time": func(r *Receipt) { r.Issued = time.Time{} }, "no requests": func(r *Receipt) { r.Requests = nil },
		"bad request":       func(r *Receipt) { r.Requests[0] = "x" },
		"one request twice": func(r *Receipt) { r.Requests = []string{testRequestID, testRequestID} },
		"not sorted":        func(r *Receipt) { r.Requests = []string{strings.Repeat("f", 32), testRequestID} },
		"too many": func(r *Receipt) {
			r.Requests = nil
			for i := range maxRequests + 1 {
				r.Requests = append(r.Requests, fmt.Sprintf("%032x", i))
			}
		},
		"no path": func(r *Receipt) { r.Path = nil }, "one node": func(r *Receipt) { r.Path = r.Path[1:] },
		"a circle":          func(r *Receipt) { r.Path[0].Node = "n1" },
		"one key twice":     func(r *Receipt) { r.Path[0].KID = r.Path[1].KID },
		"no key":            func(r *Receipt) { r.Path[0].KID = "" },
		"no name":           func(r *Receipt) { r.Path[1].Node = "" },
		"no name of a node": func(r *Receipt) { r.Path[1].Node = "N 1" },
		"ten nodes": func(r *Receipt) {
			for i := range 8 {
				r.Path = slices.Insert(r.Path, 0, Hop{fmt.Sprint("x", i), fmt.Sprint("k", i)})
			}
		},
	} {
		r := testReceipt(l.gpu)
		change(&r)
		if _, err := SignReceipt(l.gpu, r); err == nil {
			t.Errorf("%s: signed", name)
		}
		raw, err := json.Marshal(receiptClaims{receiptProfile, r.Issued.Unix(), r.Session, r.Path, r.Requests})
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.gpu.SignJWT(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseReceipt(token); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	good, err := testReceipt(l.gpu).claims()
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"another profile":   strings.Replace(string(good), "receipt", "recipe", 1),
		"unknown member":    strings.Replace(string(good), `{"profile"`, `{"x":1,"profile"`, 1),
		"duplicate member":  strings.Replace(string(good), `{"profile"`, `{"session":"s-2","profile"`, 1),
		"other letters":     strings.Replace(string(good), `"session"`, `"Session"`, 1),
		"white space":       strings.Replace(string(good), `,"path"`, `, "path"`, 1),
		"member of a hop":   strings.Replace(string(good), `{"node":"me"`, `{"x":1,"node":"me"`, 1),
		"far in the future": strings.Replace(string(good), `"iat":`, `"iat":9999999`, 1),
	} {
		if raw == string(good) {
			t.Fatalf("%s changes nothing", name)
		}
		token, err := l.gpu.SignJWT([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseReceipt(token); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	for _, token := range []string{"", "a", "a.b", "a.b.c.d", "a=.b.c", strings.Repeat("a", MaxReceipt+1)} {
		if _, err := ParseReceipt([]byte(token)); err == nil {
			t.Errorf("%.20q: read", token)
		}
	}
}

// handedOn is a machine whose GPUs went through two nodes.
func (l *lab) handedOn(tb testing.TB) *Result {
	r := l.machine(tb, 2)
	r.Node = "me"
	path := []Hop{{"me", "kid-me"}, {"n1", l.gpu.KID()}}
	r.Components[0].Path, r.Components[1].Path, r.Components[1].Site = path, path, "n2"
	r.Receipts = []Receipt{signedReceipt(tb, l.gpu, testReceipt(l.gpu))}
	return r
}

func TestResultStatesTheWay(t *testing.T) {
	l := newLab(t, trust.ES256)
	r := l.handedOn(t)
	token := l.sign(t, r)
	got, err := VerifyResult(token, aarIntake(), l.anchors)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v\nwant %+v", got, r)
	}
	raw, err := json.Marshal(got.Document())
	if err != nil {
		t.Fatal(err)
	}
	schema, err := schemas.Load("verdict.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON(raw); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`"node":"me"`, `"path":[{"node":"me","kid":"kid-me"}`, `"site":"n2"`} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("no %s in %s", want, raw)
		}
	}
}

// What a lead cannot sign about the way, no relying party reads either.
func TestWaysThatCannotBe(t *testing.T) {
	l := newLab(t, trust.ES256)
	for name, change := range map[string]func(*Result){
		"a way of one":                func(r *Result) { r.Components[0].Path = r.Components[0].Path[:1] },
		"a circle":                    func(r *Result) { r.Components[0].Path = []Hop{{"me", "a"}, {"me", "b"}} },
		"a key twice":                 func(r *Result) { r.Components[0].Path = []Hop{{"me", "a"}, {"n1", "a"}} },
		"another lead":                func(r *Result) { r.Node = "you" },
		"a lead without a name":       func(r *Result) { r.Node = "" },
		"no name of a lead":           func(r *Result) { r.Node = "M e" },
		"no name of a site":           func(r *Result) { r.Components[0].Site = "N 2" },
		"sites of nobody":             func(r *Result) { r.Components[0].Sites = []string{"n1"} },
		"a receipt without signature": func(r *Result) { r.Receipts[0] = testReceipt(l.gpu) },
		"too many receipts": func(r *Result) {
			r.Receipts = nil
			for i := range MaxReceipts + 1 {
				one := testReceipt(l.gpu)
				one.Session = fmt.Sprint(i)
				r.Receipts = append(r.Receipts, signedReceipt(t, l.gpu, one))
			}
		},
	} {
		r := l.handedOn(t)
		change(r)
		if _, err := SignResult(l.lead, r, time.Hour); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	good := payload(t, l.sign(t, l.handedOn(t)))
	for name, c := range map[string][2]string{
		"another lead":           {`"assize.node":"me"`, `"assize.node":"you"`},
		"a name of no form":      {`"assize.node":"me"`, `"assize.node":"m e"`},
		"a lead of no type":      {`"assize.node":"me"`, `"assize.node":1`},
		"more in a hop":          {`{"node":"me","kid":"kid-me"}`, `{"node":"me","kid":"kid-me","x":1}`},
		"less in a hop":          {`{"node":"me","kid":"kid-me"}`, `{"node":"me"}`},
		"no hop":                 {`{"node":"me","kid":"kid-me"}`, `"me"`},
		"a site of no type":      {`"site":"n2"`, `"site":2`},
		"a site of no form":      {`"site":"n2"`, `"site":"n 2"`},
		"receipts of no type":    {`"ear.assize.receipts":["`, `"ear.assize.receipts":[1,"`},
		"a receipt that is none": {`"ear.assize.receipts":["`, `"ear.assize.receipts":["a.b.c","`},
	} {
		lie := bytes.Replace(good, []byte(c[0]), []byte(c[1]), 1)
		if bytes.Equal(lie, good) {
			t.Fatalf("%s changes nothing", name)
		}
		token, err := l.lead.SignJWT(lie)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyResult(token, aarIntake(), l.anchors); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestResultsCollection(t *testing.T) {
	l := newLab(t, trust.ES256)
	r := l.redundantMachine(t)
	var want []string
	for _, c := range r.Components {
		for _, p := range c.Partials() {
			want = append(want, string(p.token))
		}
	}
	slices.Sort(want)
	for _, cbor := range []bool{false, true} {
		raw, err := EncodeResults(r, cbor)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := DecodeResults(raw)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, token := range tokens {
			got = append(got, string(token))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("cbor %t: %d results, want %d", cbor, len(got), len(want))
		}
		if _, err := DecodeResults(append(raw, 'x')); err == nil {
			t.Error("something behind it")
		}
	}
	if _, err := EncodeResults(&Result{}, false); err == nil {
		t.Error("an empty collection is written")
	}
	token := r.Components[0].Partial.token
	for name, item := range map[string]evidence.Item{
		"another type":      evidence.Collection("tag:example,2026:x", evidence.Entry{Label: "par-0", Item: evidence.Record(ResultMediaType(), token, evidence.IndResults)}),
		"evidence":          evidence.Collection(ResultsType, evidence.Entry{Label: "par-0", Item: evidence.Record(ResultMediaType(), token, evidence.IndEvidence)}),
		"another content":   evidence.Collection(ResultsType, evidence.Entry{Label: "par-0", Item: evidence.Record(evidence.MediaType{Base: "text/plain"}, token, evidence.IndResults)}),
		"results in depth":  evidence.Collection(ResultsType, evidence.Entry{Label: "x", Item: evidence.Collection(ResultsType, evidence.Entry{Label: "par-0", Item: evidence.Record(ResultMediaType(), token, evidence.IndResults)})}),
		"not a collection":  evidence.Record(ResultMediaType(), token, evidence.IndResults),
		"something besides": evidence.Collection(ResultsType, evidence.Entry{Label: "a", Item: evidence.Record(ResultMediaType(), token, evidence.IndResults)}, evidence.Entry{Label: "b", Item: evidence.Record(ResultMediaType(), token, 0)}),
	} {
		raw, err := evidence.EncodeJSON(item)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeResults(raw); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestStatedSubject(t *testing.T) {
	l := newLab(t, trust.ES256)
	i := testIssue("gpu/0", "nvidia-gpu")
	token := mustSign(t, l.gpu, i, testAppraisal())
	got, err := StatedSubject(token)
	if err != nil || !reflect.DeepEqual(got, expectOf(i)) {
		t.Errorf("%+v, want %+v: %v", got, expectOf(i), err)
	}
	var why *IntakeError
	for _, bad := range [][]byte{nil, []byte("a.b.c"), l.sign(t, l.machine(t, 1)), bytes.Repeat([]byte("a"), 2<<20)} {
		if _, err := StatedSubject(bad); !errors.As(err, &why) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if IsAggregate(token, l.anchors, testTime) || !IsAggregate(l.sign(t, l.machine(t, 1)), l.anchors, testTime) {
		t.Error("a partial result counts as an aggregate, or an aggregate as none")
	}
}

func FuzzParseReceipt(f *testing.F) {
	l := fixedLab(f)
	good, err := SignReceipt(l.gpu, testReceipt(l.gpu))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(payload(f, good))
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens := [][]byte{b}
		if signed, err := l.gpu.SignJWT(b); err == nil {
			tokens = append(tokens, signed)
		}
		for _, token := range tokens {
			r, err := ParseReceipt(token)
			if err != nil {
				continue
			}
			again, err := r.claims()
			raw, errRaw := unverified(token)
			if err != nil || errRaw != nil || !bytes.Equal(again, raw) || !bytes.Equal(r.Token(), token) {
				t.Fatalf("%s is read as %s: %v", raw, again, err)
			}
		}
	})
}

func FuzzDecodeResults(f *testing.F) {
	l := fixedLab(f)
	for _, cbor := range []bool{false, true} {
		raw, err := EncodeResults(l.machine(f, 1), cbor)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens, err := DecodeResults(b)
		if err == nil && len(tokens) == 0 {
			t.Fatal("nothing in it")
		}
		for _, token := range append(tokens, b) {
			if want, err := StatedSubject(token); err == nil && want.Label == "" {
				t.Fatal("a subject without a label")
			}
		}
	})
}
