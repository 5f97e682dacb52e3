// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/veraison/go-cose"

	"github.com/assize/assize/corim"
)

// result is a signed result, what it answers, and who has signed.
func result(t testing.TB) ([]byte, OpenOptions) {
	t.Helper()
	q := references(acme("NIC").Class)
	m := answer(t, index(t, module("a", one(acme("NIC"), svn("fw", 2)))), PlainProfile, q)
	raw, err := Sign(nil, m, testKey(2), []byte("service"))
	if err != nil {
		t.Fatal(err)
	}
	return raw, OpenOptions{Profile: PlainProfile, Query: q, Now: now, Keys: []corim.SigningKey{signing("other", 3), signing("service", 2)}}
}

func TestOpen(t *testing.T) {
	raw, o := result(t)
	opened, err := Open(raw, o)
	if err != nil || string(opened.Key.ID) != "service" || len(opened.Results.Reference) != 1 {
		t.Fatalf("%+v, %v", opened, err)
	}
	for name, c := range map[string]struct {
		change func(o *OpenOptions)
		want   error
	}{
		"no keys":         {func(o *OpenOptions) { o.Keys = nil }, ErrUntrusted},
		"another key":     {func(o *OpenOptions) { o.Keys = o.Keys[:1] }, ErrUntrusted},
		"wrong key":       {func(o *OpenOptions) { o.Keys = []corim.SigningKey{signing("service", 3)} }, ErrSignature},
		"another profile": {func(o *OpenOptions) { o.Profile = corim.ProfileAssize }, ErrAnswer},
		"another query":   {func(o *OpenOptions) { o.Query = references(acme("GPU").Class) }, ErrAnswer},
		"other artifacts": {func(o *OpenOptions) { o.Query.Artifacts = TrustAnchors }, ErrAnswer},
		"expired":         {func(o *OpenOptions) { o.Now = now.Add(time.Hour + time.Second) }, ErrExpired},
	} {
		changed := o
		c.change(&changed)
		if _, err := Open(raw, changed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	o.Now = now.Add(time.Hour)
	if _, err := Open(raw, o); err != nil {
		t.Errorf("in the last second: %v", err)
	}
}

func TestEveryByteIsSigned(t *testing.T) {
	raw, o := result(t)
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if _, err := Open(changed, o); err == nil {
			t.Errorf("byte %d can be changed", i)
		}
	}
	if _, err := Open(append(bytes.Clone(raw), 0), o); err == nil {
		t.Error("trailing byte")
	}
}

func TestUnsignedResults(t *testing.T) {
	_, o := result(t)
	m := answer(t, index(t, module("a", one(acme("NIC"), svn("fw", 2)))), PlainProfile, o.Query)
	raw := encode(t, *m)
	if _, err := Open(raw, o); !errors.Is(err, ErrUnsigned) {
		t.Errorf("%v, want %v", err, ErrUnsigned)
	}
	o.Unsigned = true
	if opened, err := Open(raw, o); err != nil || opened.Key != nil {
		t.Errorf("%+v, %v", opened, err)
	}
	o.Now = now.Add(2 * time.Hour)
	if _, err := Open(raw, o); !errors.Is(err, ErrExpired) {
		t.Errorf("%v, want %v", err, ErrExpired)
	}
	m.Results = nil
	if _, err := Open(encode(t, *m), o); !errors.Is(err, ErrAnswer) {
		t.Errorf("a query as a result: %v", err)
	}
}

// message signs a payload with any headers, with the primitives alone.
func message(t testing.TB, protected, unprotected map[any]any, payload []byte) []byte {
	t.Helper()
	head, err := marshal(protected)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, testKey(2))
	if err != nil {
		t.Fatal(err)
	}
	tbs, err := marshal([]any{"Signature1", head, []byte{}, payload})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signer.Sign(nil, tbs)
	if err != nil {
		t.Fatal(err)
	}
	out, err := marshal([]any{head, unprotected, payload, sig})
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{6<<5 | tagSign1}, out...)
}

func TestHeaders(t *testing.T) {
	_, o := result(t)
	payload := encode(t, *answer(t, index(t), PlainProfile, o.Query))
	type h = map[any]any
	for name, c := range map[string]struct {
		protected, unprotected h
		labelTwo               bool
		ok                     bool
	}{
		"plain":                 {h{1: -8, 3: TypeUnsigned}, h{}, false, true},
		"kid unprotected":       {h{1: -8, 3: TypeUnsigned}, h{4: []byte("service")}, false, true},
		"critical and known":    {h{1: -8, 2: []any{3}, 3: TypeUnsigned}, h{}, false, true},
		"others":                {h{1: -8, 3: TypeUnsigned, "x": 1}, h{-70000: "y"}, false, true},
		"label 2":               {h{1: -8, 2: TypeUnsigned}, h{}, false, false},
		"label 2, allowed":      {h{1: -8, 2: TypeUnsigned}, h{}, true, true},
		"labels 2 and 3":        {h{1: -8, 2: TypeUnsigned, 3: TypeUnsigned}, h{}, true, false},
		"label 2, other type":   {h{1: -8, 2: "text/plain"}, h{}, true, false},
		"no content type":       {h{1: -8}, h{}, false, false},
		"other content type":    {h{1: -8, 3: "application/rim+cbor"}, h{}, false, false},
		"content type outside":  {h{1: -8}, h{3: TypeUnsigned}, false, false},
		"algorithm outside":     {h{3: TypeUnsigned}, h{1: -8}, false, false},
		"no algorithm":          {h{3: TypeUnsigned}, h{}, false, false},
		"algorithm of no key":   {h{1: -7, 3: TypeUnsigned}, h{}, false, false},
		"algorithm twice":       {h{1: -8, 3: TypeUnsigned}, h{1: -8}, false, false},
		"critical and unknown":  {h{1: -8, 2: []any{99}, 3: TypeUnsigned, 99: 1}, h{}, false, false},
		"critical and absent":   {h{1: -8, 2: []any{4}, 3: TypeUnsigned}, h{}, false, false},
		"critical, but empty":   {h{1: -8, 2: []any{}, 3: TypeUnsigned}, h{}, false, false},
		"critical, unprotected": {h{1: -8, 3: TypeUnsigned}, h{2: []any{3}}, false, false},
		"kid of nobody":         {h{1: -8, 3: TypeUnsigned, 4: []byte("x")}, h{}, false, false},
		"kid as a text":         {h{1: -8, 3: TypeUnsigned, 4: "service"}, h{}, false, false},
		"empty kid":             {h{1: -8, 3: TypeUnsigned, 4: []byte{}}, h{}, false, false},
	} {
		o.LabelTwo = c.labelTwo
		if _, err := Open(message(t, c.protected, c.unprotected, payload), o); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignES256(t *testing.T) {
	_, o := result(t)
	m := answer(t, index(t), PlainProfile, o.Query)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := Sign(rand.Reader, m, key, []byte("k"))
		if err != nil {
			t.Fatal(err)
		}
		o.Keys = []corim.SigningKey{{ID: []byte("k"), Public: key.Public()}}
		if _, err := Open(raw, o); err != nil {
			t.Errorf("%s: %v", curve.Params().Name, err)
		}
	}
	if _, err := Sign(nil, &Message{Profile: PlainProfile, Query: o.Query}, testKey(2), []byte("k")); err == nil {
		t.Error("a query is signed")
	}
	if _, err := Sign(nil, m, testKey(2), nil); err == nil {
		t.Error("signed without kid")
	}
}
