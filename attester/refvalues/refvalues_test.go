// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	"github.com/veraison/corim/corim"

	"github.com/assize/assize/attester/pki"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func signerOn(t *testing.T, curve elliptic.Curve) Signer {
	t.Helper()
	template := func(cn string, ca bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: pki.NewSeed(cn).Serial(), Subject: pkix.Name{CommonName: cn},
			NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), IsCA: ca, BasicConstraintsValid: true,
		}
	}
	rootKey, err := pki.NewSeed("root").ECDSA(elliptic.P384())
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.Root(rootKey, template("Assize Simulated CoRIM Root", true))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewSeed("signer").ECDSA(curve)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.Issue(key, template("Assize Simulated CoRIM Signer", false))
	if err != nil {
		t.Fatal(err)
	}
	return Signer{
		Key: key, Chain: []*x509.Certificate{leaf.Cert, root.Cert}, Name: "Assize Simulated Vendor",
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0),
	}
}

func signer(t *testing.T) Signer { return signerOn(t, elliptic.P384()) }

func TestSigned(t *testing.T) {
	d := roadRunner(t)
	d.NotBefore, d.NotAfter = now, now.AddDate(1, 0, 0)
	payload, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		for length := range 3 {
			s := signerOn(t, curve)
			s.Chain = s.Chain[:length]
			raw, err := Signed(d, s)
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := Signed(d, s); !bytes.Equal(raw, again) {
				t.Errorf("%s: two signatures differ", curve.Params().Name)
			}
			if !bytes.Contains(raw, payload) {
				t.Errorf("%s: payload is not the unsigned document", curve.Params().Name)
			}
			checkSigned(t, raw, s)
		}
	}
}

// checkSigned reads a document with the library and compares what it says about
// signer, times and chain.
func checkSigned(t *testing.T, raw []byte, s Signer) {
	t.Helper()
	m, err := corim.UnmarshalAndValidateSignedCorimFromCBOR(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(s.Key.Public()); err != nil {
		t.Error(err)
	}
	if err := m.Meta.Valid(); err != nil || m.Meta.Signer.Name != s.Name {
		t.Errorf("signer %q: %v", m.Meta.Signer.Name, err)
	}
	if v := m.Meta.Validity; v == nil || !v.NotAfter.Equal(s.NotAfter) || !v.NotBefore.Equal(s.NotBefore) {
		t.Errorf("validity of the signature: %+v", v)
	}
	if v := m.UnsignedCorim.RimValidity; v == nil || !v.NotAfter.Equal(now.AddDate(1, 0, 0)) || !v.NotBefore.Equal(now) {
		t.Errorf("validity of the document: %+v", v)
	}
	if len(s.Chain) > 0 && (m.SigningCert == nil || !m.SigningCert.Equal(s.Chain[0])) {
		t.Error("signing certificate is not the leaf")
	}
	if len(s.Chain) > 1 && (len(m.IntermediateCerts) != 1 || !m.IntermediateCerts[0].Equal(s.Chain[1])) {
		t.Error("chain is not complete")
	}
	other, err := pki.NewSeed("other").ECDSA(s.Key.Curve)
	if err != nil {
		t.Fatal(err)
	}
	if m.Verify(other.Public()) == nil {
		t.Error("verifies with another key")
	}
	// One changed byte of what is signed, in the vendor's name.
	broken := bytes.Replace(raw, []byte("ACME RoadRunner"), []byte("ACME RoadRunnex"), 1)
	m, err = corim.UnmarshalAndValidateSignedCorimFromCBOR(broken)
	if err != nil {
		t.Fatal(err)
	}
	if m.Verify(s.Key.Public()) == nil {
		t.Error("a changed document verifies")
	}
}

func TestRepeatedEntry(t *testing.T) {
	d := roadRunner(t)
	one, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	d.Entries = append(d.Entries, d.Entries[0])
	if two, _ := Unsigned(d); !bytes.Equal(one, two) {
		t.Error("an entry is written twice")
	}
	other := roadRunner(t).Entries[0]
	other.Values[0].Digests[0].Value[0] ^= 1
	d.Entries = append(d.Entries, other)
	if got := triples(t, comidBytes(t, d)); len(got) != 2 {
		t.Errorf("%d triples, want 2: an alternative was lost", len(got))
	}
}

func TestRefusedDocuments(t *testing.T) {
	svn := uint64(1)
	value := func(change func(*Value)) func(*Document) {
		return func(d *Document) { change(&d.Entries[0].Values[0]) }
	}
	for _, c := range []struct {
		name, want string
		change     func(*Document)
	}{
		{"no id", "document without an identifier", func(d *Document) { d.ID = "" }},
		{"no tag id", "tag without an identifier", func(d *Document) { d.TagID = "" }},
		{"no entries", "without entries", func(d *Document) { d.Entries = nil }},
		{"relative profile", "not an absolute URI", func(d *Document) { d.Profile = "x" }},
		{"creator without a name", "without a name", func(d *Document) { d.Creator = "" }},
		{"creator with a bad URI", "not an absolute URI", func(d *Document) { d.CreatorURI = "x" }},
		{"no end", "without an end", func(d *Document) { d.NotBefore = now }},
		{"ends too early", "before it begins", func(d *Document) { d.NotBefore, d.NotAfter = now, now.Add(-time.Second) }},
		{"empty environment", "environment is empty", func(d *Document) { d.Entries[0].Environment = Environment{} }},
		{"bad OID", "not an OID", func(d *Document) { d.Entries[0].Environment.ClassID = "9.9.9" }},
		{"OID with an empty arc", "not an OID", func(d *Document) { d.Entries[0].Environment.ClassID = "1..2" }},
		{"no values", "no values", func(d *Document) { d.Entries[0].Values = nil }},
		{"key twice", "twice", func(d *Document) {
			e := &d.Entries[0]
			e.Values = append(e.Values, e.Values[0])
		}},
		{"key of another type", "not uint64 or string", value(func(v *Value) { v.Key = 1 })},
		{"empty key", "empty text", value(func(v *Value) { v.Key = "" })},
		{"nothing expected", "nothing is expected", value(func(v *Value) { *v = Value{Key: "x"} })},
		{"two SVN", "exact and a lowest", value(func(v *Value) { v.SVN, v.MinSVN = &svn, &svn })},
		{"mask alone", "mask has 1 bytes", value(func(v *Value) { v.RawMask = []byte{1} })},
		{"short mask", "mask has 1 bytes", value(func(v *Value) { v.Raw, v.RawMask = []byte{1, 2}, []byte{1} })},
		{"unknown hash", `"sha3-256" is not`, value(func(v *Value) { v.Digests[0].Alg = "sha3-256" })},
		{"short digest", "has 31 bytes", value(func(v *Value) { v.Digests[0].Value = v.Digests[0].Value[1:] })},
		{"two digests", "two sha-256", value(func(v *Value) { v.Digests = append(v.Digests, v.Digests[0]) })},
		{"empty register", "register 3 without", value(func(v *Value) { v.Registers = map[uint64][]Digest{3: nil} })},
		{"bad register", "register 3: ", value(func(v *Value) { v.Registers = map[uint64][]Digest{3: {{"sha-256", nil}}} })},
	} {
		d := roadRunner(t)
		c.change(&d)
		if _, err := Unsigned(d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", c.name, err, c.want)
		}
		if _, err := Signed(d, signer(t)); err == nil {
			t.Errorf("%s: signed", c.name)
		}
	}
}

func TestRefusedSigners(t *testing.T) {
	other, err := pki.NewSeed("other").ECDSA(elliptic.P384())
	if err != nil {
		t.Fatal(err)
	}
	small, err := pki.NewSeed("small").ECDSA(elliptic.P224())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		change func(*Signer)
	}{
		{"without a key", func(s *Signer) { s.Key = nil }},
		{"not for the signer's key", func(s *Signer) { s.Key = other }},
		{"no COSE algorithm", func(s *Signer) { s.Key, s.Chain = small, nil }},
		{"without a name", func(s *Signer) { s.Name = "" }},
		{"not an absolute URI", func(s *Signer) { s.URI = "x" }},
		{"without an end", func(s *Signer) { s.NotAfter = time.Time{} }},
	} {
		s := signer(t)
		c.change(&s)
		if _, err := Signed(roadRunner(t), s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want …%s…", err, c.want)
		}
	}
}
