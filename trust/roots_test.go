// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"
)

func testCert(t testing.TB, ca bool, parent *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tm := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1900000000, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	signer := key
	if parent == nil {
		parent = tm
	} else {
		parent = &x509.Certificate{Subject: parent.Subject}
		if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tm, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRoots(t *testing.T) {
	one, two := testCert(t, true, nil), testCert(t, true, nil)
	s, err := GenerateSigner(ES256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewAnchors(s.Key("agent", nil, RoleAttester))
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := set.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := EncodeRoots("for tests", map[string][]*x509.Certificate{"intel-tdx": {one, two}, "nvidia-gpu": {two}}, jwks)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRoots(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Schemes) != 2 || len(r.Schemes["intel-tdx"]) != 2 || !r.Schemes["nvidia-gpu"][0].Equal(two) {
		t.Errorf("%v", r.Schemes)
	}
	if n := len(r.Attesters.Attesters(time.Unix(1800000000, 0))); n != 1 {
		t.Errorf("%d attesters", n)
	}
	edit := func(change func(map[string]any)) []byte {
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	root := func(v any) func(map[string]any) {
		return func(m map[string]any) { m["roots"].(map[string]any)["intel-tdx"] = v }
	}
	text := func(c *x509.Certificate) string {
		b, _ := EncodeRoots("", map[string][]*x509.Certificate{"x": {c}}, nil)
		var m struct{ Roots map[string][]string }
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return m.Roots["x"][0]
	}
	for name, bad := range map[string][]byte{
		"no kind":        edit(func(m map[string]any) { delete(m, "kind") }),
		"a JWK set":      jwks,
		"unknown member": edit(func(m map[string]any) { m["x"] = 1 }),
		"note":           edit(func(m map[string]any) { m["note"] = 1 }),
		"roots list":     edit(func(m map[string]any) { m["roots"] = []any{} }),
		"no list":        edit(root("x")),
		"empty list":     edit(root([]any{})),
		"too many":       edit(root(make([]any, 65))),
		"no text":        edit(root([]any{1})),
		"no PEM":         edit(root([]any{"x"})),
		"two in one":     edit(root([]any{text(one) + text(two)})),
		"another block":  edit(root([]any{strings.ReplaceAll(text(one), "CERTIFICATE", "PUBLIC KEY")})),
		"broken":         edit(root([]any{strings.Replace(text(one), "MII", "AAA", 1)})),
		"no CA":          edit(root([]any{text(testCert(t, false, nil))})),
		"not by itself":  edit(root([]any{text(testCert(t, true, one))})),
		"attesters":      edit(func(m map[string]any) { m["attesters"] = map[string]any{"keys": []any{1}} }),
		"twice":          bytes.Replace(raw, []byte(`"note"`), []byte(`"kind"`), 1),
		"trailing":       append(bytes.Clone(raw), '{'),
		"too large":      bytes.Repeat([]byte(" "), MaxRoots+1),
		"private attester": edit(func(m map[string]any) {
			m["attesters"].(map[string]any)["keys"].([]any)[0].(map[string]any)["d"] = "AA"
		}),
	} {
		if _, err := ParseRoots(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzRoots(f *testing.F) {
	raw, err := EncodeRoots("n", map[string][]*x509.Certificate{"intel-tdx": {testCert(f, true, nil)}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"kind":"assize-extra-roots","roots":{},"attesters":{"keys":[]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRoots(b)
		if (err == nil) != (r != nil && r.Attesters != nil) {
			t.Fatal("neither roots nor an error")
		}
	})
}
