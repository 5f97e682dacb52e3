// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verifiers/nvidia/rim"
)

const (
	swid = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	hash = "http://www.w3.org/2001/04/xmlenc#sha384"
	sign = "http://www.w3.org/2000/09/xmldsig#"
	c14n = "http://www.w3.org/2006/12/xml-c14n11"
)

// start and end are when the certificates of a forger begin and end.
var start, end = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)

// forger signs manifests as NVIDIA does, under a root of its own. It writes
// canonical forms by hand, so that the canonicaliser under test has no part.
type forger struct {
	tb    testing.TB
	root  *x509.Certificate
	chain []*x509.Certificate // leaf first
	key   *ecdsa.PrivateKey
}

func newKey(tb testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func issue(tb testing.TB, c *x509.Certificate, key any, parent *x509.Certificate, by *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = start, end
	}
	c.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, by)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
}

// newForger makes a chain; edit may change what the leaf is made from.
func newForger(tb testing.TB, curve elliptic.Curve, edit func(leaf *x509.Certificate)) *forger {
	tb.Helper()
	f := &forger{tb: tb, key: newKey(tb, curve)}
	rootKey, middleKey := newKey(tb, elliptic.P384()), newKey(tb, elliptic.P384())
	f.root = issue(tb, authority("Test Root"), &rootKey.PublicKey, authority("Test Root"), rootKey)
	middle := issue(tb, authority("Test L3"), &middleKey.PublicKey, f.root, rootKey)
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "Test L4"}, KeyUsage: x509.KeyUsageDigitalSignature}
	if edit != nil {
		edit(leaf)
	}
	f.chain = []*x509.Certificate{issue(tb, leaf, &f.key.PublicKey, middle, middleKey), middle, f.root}
	return f
}

func (f *forger) verifier() *rim.Verifier { return newVerifier(f.tb, f.root) }

func newVerifier(tb testing.TB, extra ...*x509.Certificate) *rim.Verifier {
	tb.Helper()
	v, err := rim.New(extra)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// value is a golden value that begins with b.
func value(b byte) string { return fmt.Sprintf("%02x", b) + strings.Repeat("11", rim.DigestSize-1) }

// resource is one active index in canonical form.
func resource(index int, values ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<ns0:Resource active="True" alternatives="%d" index="%d" name="Measurement_%d" size="48" type="Measurement"`, len(values), index, index)
	for i, v := range values {
		fmt.Fprintf(&b, ` ns2:Hash%d="%s"`, i, v)
	}
	return b.String() + "></ns0:Resource>\n"
}

// content is the canonical form of a manifest.
func content(product, edition, version string, resources ...string) string {
	return `<SoftwareIdentity xmlns="` + swid + `" xmlns:ns0="` + swid + `" xmlns:ns2="` + hash + `" corpus="false" name="` + product +
		`" patch="false" supplemental="false" tagId="abc123" tagVersion="0" version="1.0">
<ns0:Entity name="NVIDIA Corporation" role="softwareCreator tagCreator"></ns0:Entity>
<ns0:Meta xmlns:ns1="https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/" PayloadType="direct" colloquialVersion="` +
		version + `" edition="` + edition + `" product="` + product + `" revision="r1" ns1:BindingSpec="RIMIM" ns1:BindingSpecVersion="1.01" ns1:FirmwareManufacturer="NVIDIA Corporation" ns1:FirmwareManufacturerId="5703" ns1:PlatformManufacturerId="5703" ns1:PlatformManufacturerStr="NVIDIA Corporation" ns1:PlatformModel="` +
		product + `"></ns0:Meta>
<ns0:Payload>
` + strings.Join(resources, "") + "</ns0:Payload>\n</SoftwareIdentity>"
}

const closing = "</SoftwareIdentity>"

// sign signs a canonical content. info, if not nil, changes SignedInfo before
// it is signed.
func (f *forger) sign(content string, info func(string) string) []byte {
	sum := sha512.Sum384([]byte(content))
	inside := `<ds:CanonicalizationMethod Algorithm="` + c14n + `"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"></ds:SignatureMethod><ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="` +
		sign + `enveloped-signature"></ds:Transform><ds:Transform Algorithm="` + c14n + `"></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"></ds:DigestMethod><ds:DigestValue>` +
		base64.StdEncoding.EncodeToString(sum[:]) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	if info != nil {
		inside = info(inside)
	}
	canonical := `<ds:SignedInfo xmlns="` + swid + `" xmlns:ds="` + sign + `" xmlns:ns0="` + swid + `" xmlns:ns2="` + hash + `">` + inside
	sum = sha512.Sum384([]byte(canonical))
	r, s, err := ecdsa.Sign(rand.Reader, f.key, sum[:])
	if err != nil {
		f.tb.Fatal(err)
	}
	size := (f.key.Params().BitSize + 7) / 8
	value := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	certs := ""
	for _, c := range f.chain {
		certs += "<ds:X509Certificate>" + base64.StdEncoding.EncodeToString(c.Raw) + "\n</ds:X509Certificate>"
	}
	signature := `<ds:Signature xmlns:ds="` + sign + `"><ds:SignedInfo>` + inside + "<ds:SignatureValue>" + base64.StdEncoding.EncodeToString(value) +
		"</ds:SignatureValue><ds:KeyInfo><ds:X509Data>" + certs + "</ds:X509Data></ds:KeyInfo></ds:Signature>"
	return []byte(strings.TrimSuffix(content, closing) + signature + closing)
}

// code is the reason code of err, "" for none.
func code(tb testing.TB, err error) string {
	tb.Helper()
	if err == nil {
		return ""
	}
	var e *rim.Error
	if !errors.As(err, &e) {
		tb.Fatalf("untyped error: %v", err)
	}
	return e.Code
}

// once replaces the one occurrence of old.
func once(tb testing.TB, s, old, by string) string {
	tb.Helper()
	if n := strings.Count(s, old); n != 1 {
		tb.Fatalf("%q occurs %d times", old, n)
	}
	return strings.Replace(s, old, by, 1)
}
