// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"bytes"
	"crypto/rand"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

func newProtection(t testing.TB, change func(*ProtectionOptions)) (*Protection, *court) {
	t.Helper()
	c := newCourt(t, nil)
	set, err := NewSet(scheme(t, "a", told{}, "x/a"))
	if err != nil {
		t.Fatal(err)
	}
	set.schemes[0].Signed = true
	o := ProtectionOptions{
		Node: "lead", Signer: c.lead, Schemes: set, Clock: func() time.Time { return guardTime }, Random: rand.Reader,
	}
	if change != nil {
		change(&o)
	}
	p, err := NewProtection(o)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func callAt(t testing.TB, sites ...string) Call {
	c := Call{Request: request(t)}
	for _, s := range sites {
		c.Candidates = append(c.Candidates, Candidate{Site: s})
	}
	return c
}

func TestProtectionSigns(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ProtectionOptions)
		sites  []string
		scheme string
		signed bool
		to     string
	}{
		{"by default", nil, []string{"cv"}, "a", true, "cv"},
		{"anywhere", nil, []string{"any"}, "a", true, ""},
		{"several places", nil, []string{"cv", "site-1"}, "a", true, ""},
		{"no name", func(o *ProtectionOptions) { o.Node = "" }, []string{"cv"}, "a", false, ""},
		{"no key", func(o *ProtectionOptions) { o.Signer = nil }, []string{"cv"}, "a", false, ""},
		{"signed evidence", func(o *ProtectionOptions) { o.Default.Sign = SignWhenUnsigned }, []string{"cv"}, "a", false, ""},
		{"unsigned evidence", func(o *ProtectionOptions) { o.Default.Sign = SignWhenUnsigned; o.Schemes.schemes[0].Signed = false }, []string{"cv"}, "a", true, "cv"},
		{"unknown scheme", func(o *ProtectionOptions) { o.Default.Sign = SignWhenUnsigned }, []string{"cv"}, "b", true, "cv"},
		{"no schemes", func(o *ProtectionOptions) { o.Default.Sign, o.Schemes = SignWhenUnsigned, nil }, []string{"cv"}, "a", true, "cv"},
		{"edge wants it", func(o *ProtectionOptions) {
			o.Default.Sign, o.Edges = SignWhenUnsigned, map[string]Edge{"cv": {Sign: SignAlways}}
		}, []string{"site-1", "cv"}, "a", true, ""},
		{"edge does not", func(o *ProtectionOptions) { o.Edges = map[string]Edge{"cv": {Sign: SignWhenUnsigned}} }, []string{"cv"}, "a", false, ""},
	} {
		p, c := newProtection(t, tc.change)
		call := callAt(t, tc.sites...)
		call.Request.Scheme = tc.scheme
		raw, mediaType, err := p.Encode(call, time.Hour)
		if err != nil || (mediaType == SignedType) != tc.signed {
			t.Errorf("%s: %s, %v", tc.name, mediaType, err)
			continue
		}
		if !tc.signed {
			if want, _ := EncodeRequest(call.Request); !bytes.Equal(raw, want) || mediaType != evidence.TypeCMWCBOR {
				t.Errorf("%s: another form", tc.name)
			}
			continue
		}
		_, o, err := c.guard.Open(raw, true)
		if err != nil || o.To != tc.to || o.From != "lead" || o.Expires != guardTime.Add(limits.Session) {
			t.Errorf("%s: %+v, %v", tc.name, o, err)
		}
	}
	p, _ := newProtection(t, nil)
	_, _, err := p.Encode(callAt(t, "cv"), 0)
	var f *Failure
	if !errors.As(err, &f) || f.Reason != verdict.ReasonTimeout {
		t.Errorf("no time left: %v", err)
	}
	var none *Protection
	if _, mediaType, err := none.Encode(callAt(t, "cv"), 0); err != nil || mediaType != evidence.TypeCMWCBOR {
		t.Errorf("no protection: %s %v", mediaType, err)
	}
}

func TestProtectionSeals(t *testing.T) {
	private, err := trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own, err := trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	node := func(name string, seal ...trust.SealKey) trust.Node {
		n := nodeWith(t, name, newSigner(t).Key(name, nil, trust.RoleNode))
		n.Seal = seal
		return n
	}
	always := Edge{Seal: SealAlways}
	for _, tc := range []struct {
		name   string
		edge   Edge
		edges  map[string]Edge
		to     string
		kid    string
		refuse bool
	}{
		{"peer", Edge{}, nil, "sealed", private.KID(), false},
		{"peer, always", always, nil, "sealed", private.KID(), false},
		{"peer without a key", Edge{}, nil, "bare", "", false},
		{"peer without a key, always", always, nil, "bare", "", true},
		{"peer without a key, always there", Edge{}, map[string]Edge{"bare": always}, "bare", "", true},
		{"peer without a key, not there", always, map[string]Edge{"bare": {Seal: SealWhenPossible}}, "bare", "", false},
		{"key has ended", Edge{}, nil, "ended", "", false},
		{"key has ended, always", always, nil, "ended", "", true},
		{"unknown site", Edge{}, nil, "lab", "", false},
		{"unknown site, always", always, nil, "lab", "", true},
		{"anywhere, always", always, nil, "any", "", true},
		{"own site", Edge{}, nil, "lead", "", false},
		{"own site, always", always, nil, "lead", own.KID(), false},
	} {
		p, _ := newProtection(t, func(o *ProtectionOptions) {
			o.Default, o.Edges, o.Own = tc.edge, tc.edges, own.Public(time.Time{})
			o.Peers = peersOf(t, node("sealed", private.Public(time.Time{})), node("bare"), node("ended", ended.Public(guardTime.Add(-time.Second))))
		})
		k, ok, err := p.SealKey(tc.to)
		var f *Failure
		if (err != nil) != tc.refuse || ok != (tc.kid != "") || ok && k.KID != tc.kid {
			t.Errorf("%s: %q %v %v", tc.name, k.KID, ok, err)
		}
		if tc.refuse && (!errors.As(err, &f) || f.Reason != verdict.ReasonRefused || !strings.HasPrefix(f.Detail, tc.to+" ")) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	var none *Protection
	if _, ok, err := none.SealKey("sealed"); ok || err != nil {
		t.Error("sealed without protection")
	}
}

func TestNewProtectionRefuses(t *testing.T) {
	clock := func() time.Time { return guardTime }
	for name, o := range map[string]ProtectionOptions{
		"no clock":      {Random: rand.Reader},
		"no randomness": {Clock: clock},
		"name":          {Clock: clock, Random: rand.Reader, Node: "a.b"},
		"sign":          {Clock: clock, Random: rand.Reader, Default: Edge{Sign: "never"}},
		"seal":          {Clock: clock, Random: rand.Reader, Default: Edge{Seal: "never"}},
		"edge":          {Clock: clock, Random: rand.Reader, Edges: map[string]Edge{"cv": {Seal: "never"}}},
		"edge's name":   {Clock: clock, Random: rand.Reader, Edges: map[string]Edge{"*": {}}},
	} {
		if _, err := NewProtection(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzGuardOpen(f *testing.F) {
	c := newCourt(f, nil)
	f.Add(signedRequest(f, c.lead, request(f), origin()), true)
	f.Add(signedRequest(f, c.stranger, request(f), origin()), true)
	plain, err := EncodeRequest(request(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, false)
	want := request(f)
	var open *Guard
	f.Fuzz(func(t *testing.T, raw []byte, signed bool) {
		r, o, err := c.guard.Open(raw, signed)
		if err == nil && (!signed || o.KID != c.lead.KID() || !reflect.DeepEqual(r, want)) {
			t.Fatalf("let in: %+v %+v", r, o)
		}
		r, o, err = open.Open(raw, signed)
		if err != nil {
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Fatal(err)
			}
			return
		}
		if err := r.check(); err != nil || signed && o.check() != nil {
			t.Fatalf("unchecked: %+v %+v", r, o)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	c := newCourt(b, nil)
	r := request(b)
	r.Evidence = make([]byte, 16<<10)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw, err := EncodeRequest(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := DecodeRequest(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			raw := signedRequest(b, c.lead, r, origin())
			if _, _, err := c.guard.Open(raw, true); err != nil {
				b.Fatal(err)
			}
		}
	})
}
