// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/schemas"
)

func testRoot(t testing.TB) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(4e9, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	testJWK   = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"k1"}`
	testTrust = `{"kind":"assize-corim-trust","note":"n","authorities":[{"name":"ACME","keys":{"keys":[` + testJWK + `]},"profiles":["*"],` +
		`"scopes":[{"vendor":"ACME","model":"NIC","layer":1,"class_id":{"type":"oid","value":"1.3.6.1.4.1.3704.3.1"}}],` +
		`"not_before":"2026-01-01T00:00:00Z","not_after":"2027-01-01T00:00:00Z"}]}`
)

func TestTrustFile(t *testing.T) {
	schema, err := schemas.Load("corim-trust.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	list := []Authority{{
		Name: "ACME", Roots: []*x509.Certificate{testRoot(t), testRoot(t)}, Profiles: []string{NoProfile, ProfileAssize},
		Scopes: []Environment{
			{Class: Class{Vendor: "ACME", Layer: Num(0)}}, {Class: Class{ID: TaggedBytes(TagBytes, []byte("tag:acme"))}},
			{Class: Class{ID: TaggedBytes(TagOID, []byte(oidSNPByChip))}}, {Instance: TaggedBytes(TagUEID, []byte("1234567"))},
			{Group: TaggedBytes(TagUUID, make([]byte, 16)), Instance: TaggedBytes(TagBytes, []byte{0, 1})},
		},
		Validity: Period{NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
	}, {Name: "everybody", Roots: []*x509.Certificate{testRoot(t)}, Profiles: []string{AnyProfile}, Scopes: []Environment{{}}, Simulated: true}}
	raw, err := EncodeTrust("for a test", list)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseTrust(raw)
	if err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%+v: %v", got, err)
	}
	for _, text := range []string{string(raw), testTrust} {
		if err := schema.ValidateJSON([]byte(text)); err != nil {
			t.Error(err)
		}
	}
	got, err = ParseTrust([]byte(testTrust))
	if err != nil || len(got) != 1 || string(got[0].Keys[0].ID) != "k1" || got[0].Validity.NotAfter.Year() != 2027 ||
		got[0].Scopes[0].Class.ID.String() != "1.3.6.1.4.1.3704.3.1" {
		t.Errorf("%+v: %v", got, err)
	}
	list[0].Keys = got[0].Keys
	if _, err := EncodeTrust("", list); err == nil {
		t.Error("keys were left away")
	}
}

func TestTrustFileStrict(t *testing.T) {
	for name, change := range map[string][2]string{
		"kind":             {"assize-corim-trust", "assize-extra-roots"},
		"unknown member":   {`"note":`, `"more":`},
		"note":             {`"note":"n"`, `"note":1`},
		"authority member": {`"name":"ACME"`, `"name":"ACME","trusted":true`},
		"no name":          {`"name":"ACME",`, ``},
		"twice a member":   {`"name":"ACME"`, `"name":"ACME","name":"B"`},
		"simulated text":   {`"name":"ACME"`, `"name":"ACME","simulated":"true"`},
		"no profiles":      {`"profiles":["*"],`, ``},
		"profile number":   {`["*"]`, `[1]`},
		"star and more":    {`["*"]`, `["*","x"]`},
		"no scopes":        {`"scopes":[{"vendor":"ACME","model":"NIC","layer":1,"class_id":{"type":"oid","value":"1.3.6.1.4.1.3704.3.1"}}],`, ``},
		"empty scope":      {`{"vendor":"ACME","model":"NIC","layer":1,"class_id":{"type":"oid","value":"1.3.6.1.4.1.3704.3.1"}}`, `{}`},
		"empty vendor":     {`{"vendor":"ACME","model":"NIC","layer":1,"class_id":{"type":"oid","value":"1.3.6.1.4.1.3704.3.1"}}`, `{"vendor":""}`},
		"any and more":     {`"vendor":"ACME"`, `"vendor":"ACME","any":true`},
		"any false":        {`{"vendor":"ACME","model":"NIC","layer":1,"class_id":{"type":"oid","value":"1.3.6.1.4.1.3704.3.1"}}`, `{"any":false}`},
		"scope member":     {`"layer":1`, `"layers":1`},
		"negative layer":   {`"layer":1`, `"layer":-1`},
		"text layer":       {`"layer":1`, `"layer":"1"`},
		"bad oid":          {`1.3.6.1.4.1.3704.3.1`, `1.x`},
		"other type":       {`"oid"`, `"name"`},
		"type uuid":        {`"type":"oid","value":"1.3.6.1.4.1.3704.3.1"`, `"type":"uuid","value":"00"`},
		"typed member":     {`"type":"oid"`, `"type":"oid","x":1`},
		"no keys":          {`"keys":{"keys":[` + testJWK + `]},`, ``},
		"empty keys":       {testJWK, ``},
		"private key":      {`"kid":"k1"`, `"kid":"k1","d":"AA"`},
		"key with an end":  {`"kid":"k1"`, `"kid":"k1","assize_not_after":1900000000`},
		"not a root":       {`"profiles"`, `"roots":["x"],"profiles"`},
		"bad time":         {"2027-01-01T00:00:00Z", "2027"},
		"ends early":       {"2027-01-01T00:00:00Z", "2025-01-01T00:00:00Z"},
		"no authority":     {testTrust[strings.Index(testTrust, `{"name"`) : len(testTrust)-2], ``},
		"trailing":         {`]}`, `]}x`},
	} {
		text := strings.Replace(testTrust, change[0], change[1], 1)
		if name == "trailing" {
			text = testTrust + "x"
		}
		if text == testTrust {
			t.Errorf("%s: nothing changed", name)
		}
		if _, err := ParseTrust([]byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := ParseTrust(bytes.Repeat([]byte(" "), MaxTrust+1)); err == nil {
		t.Error("too long a file is accepted")
	}
}

func FuzzParseTrust(f *testing.F) {
	f.Add([]byte(testTrust))
	f.Add([]byte(`{"kind":"assize-corim-trust","authorities":[{"name":"a","roots":[],"profiles":[""],"scopes":[{"any":true}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := ParseTrust(raw)
		if err != nil {
			return
		}
		for _, a := range list {
			if _, err := NewTrust([]Authority{a}); err != nil {
				t.Errorf("%s: %v", raw, err)
			}
		}
	})
}
