// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
)

var (
	now   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	nonce = []byte("a nonce of thirty-two bytes, yes")
)

const day = 24 * time.Hour

// tlv writes one DER element.
func tlv(tag byte, parts ...[]byte) []byte {
	var in []byte
	for _, p := range parts {
		in = append(in, p...)
	}
	out := []byte{tag}
	switch n := len(in); {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	default:
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	return append(out, in...)
}

func oidOf(arcs ...int) []byte {
	der, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		panic(err)
	}
	return der
}

func at(t time.Time) []byte { return tlv(0x18, []byte(t.UTC().Format("20060102150405Z"))) }

// world is a root, an authority below it, a leaf below that, and a responder.
type world struct {
	tb              testing.TB
	root, ca, leaf  *pki.Authority
	responder       *pki.Authority
	responderSigner crypto.Signer
}

func key(tb testing.TB, name string, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := pki.NewSeed(name).ECDSA(curve)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func certificate(tb testing.TB, issuer *pki.Authority, signer crypto.Signer, cn string, change func(*x509.Certificate)) *pki.Authority {
	tb.Helper()
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, SerialNumber: pki.NewSeed(cn).Serial(), NotBefore: now.Add(-30 * day), NotAfter: now.Add(30 * day),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if change != nil {
		change(t)
	}
	var a *pki.Authority
	var err error
	if issuer == nil {
		a, err = pki.Root(signer, t)
	} else {
		a, err = issuer.Issue(signer, t)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// responds is an honest responder's certificate.
func responds(t *x509.Certificate) {
	t.IsCA, t.KeyUsage = false, x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	t.ExtraExtensions = []pkix.Extension{{Id: oidNoCheck, Value: derNull}}
}

func newWorld(tb testing.TB) *world {
	w := &world{tb: tb}
	w.root = certificate(tb, nil, key(tb, "root", elliptic.P384()), "root", nil)
	w.ca = certificate(tb, w.root, key(tb, "ca", elliptic.P384()), "ca", nil)
	w.leaf = certificate(tb, w.ca, key(tb, "leaf", elliptic.P384()), "leaf", nil)
	w.delegate(w.ca, key(tb, "responder", elliptic.P384()), nil)
	return w
}

// delegate replaces the responder.
func (w *world) delegate(issuer *pki.Authority, signer crypto.Signer, change func(*x509.Certificate)) {
	w.responderSigner = signer
	w.responder = certificate(w.tb, issuer, signer, "responder", func(t *x509.Certificate) {
		responds(t)
		if change != nil {
			change(t)
		}
	})
}

func (w *world) chain() []*x509.Certificate {
	return []*x509.Certificate{w.leaf.Cert, w.ca.Cert, w.root.Cert}
}

// parts are the elements of a response, each to be replaced; nil is left out.
type parts struct {
	status, kind               []byte // of OCSPResponse
	version, id, produced      []byte
	cert, certStatus           []byte
	this, next, single, extend []byte
	more                       []byte // behind the first SingleResponse
	algorithm, certs           []byte
	signer                     crypto.Signer
	hash                       crypto.Hash
}

func certIDOf(tb testing.TB, cert, issuer *x509.Certificate, hash crypto.Hash) []byte {
	tb.Helper()
	id, err := idOf(cert, issuer, hash)
	if err != nil {
		tb.Fatal(err)
	}
	o, _ := oidOfHash(hash)
	serial, err := asn1.Marshal(cert.SerialNumber)
	if err != nil {
		tb.Fatal(err)
	}
	return tlv(0x30, tlv(0x30, oidOf(o...), derNull), tlv(4, []byte(id.name)), tlv(4, []byte(id.key)), serial)
}

func byKey(tb testing.TB, cert *x509.Certificate) []byte {
	tb.Helper()
	bits, err := keyBits(cert)
	if err != nil {
		tb.Fatal(err)
	}
	return tlv(0xA2, tlv(4, []byte(digest(crypto.SHA1, bits))))
}

func nonceExtension(critical []byte, nonce []byte) []byte {
	return tlv(0xA1, tlv(0x30, tlv(0x30, oidOf(oidNonce...), critical, tlv(4, tlv(4, nonce)))))
}

// honest is a good answer about the leaf, without a nonce.
func (w *world) honest() *parts {
	return &parts{
		status: []byte{10, 1, 0}, kind: oidOf(oidBasic...), id: byKey(w.tb, w.responder.Cert), produced: at(now),
		cert: certIDOf(w.tb, w.leaf.Cert, w.ca.Cert, crypto.SHA384), certStatus: []byte{0x80, 0}, this: at(now), next: tlv(0xA0, at(now.Add(day))),
		algorithm: tlv(0x30, oidOf(1, 2, 840, 10045, 4, 3, 3)), certs: tlv(0xA0, tlv(0x30, w.responder.Cert.Raw)),
		signer: w.responderSigner, hash: crypto.SHA384,
	}
}

func revoked(when time.Time, reason ...byte) []byte {
	if len(reason) == 0 {
		return tlv(0xA1, at(when))
	}
	return tlv(0xA1, at(when), tlv(0xA0, []byte{10, 1, reason[0]}))
}

func (p *parts) der(tb testing.TB) []byte {
	tb.Helper()
	tbs := tlv(0x30, p.version, p.id, p.produced, tlv(0x30, tlv(0x30, p.cert, p.certStatus, p.this, p.next, p.single), p.more), p.extend)
	h := p.hash.New()
	h.Write(tbs)
	var signature []byte
	var err error
	switch k := p.signer.(type) {
	case *ecdsa.PrivateKey:
		signature, err = pki.SignDER(k, p.hash, h.Sum(nil))
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(nil, k, p.hash, h.Sum(nil))
	}
	if err != nil {
		tb.Fatal(err)
	}
	basic := tlv(0x30, tbs, p.algorithm, tlv(3, []byte{0}, signature), p.certs)
	return tlv(0x30, p.status, tlv(0xA0, tlv(0x30, p.kind, tlv(4, basic))))
}

func (w *world) made(change func(*parts)) *Response {
	w.tb.Helper()
	p := w.honest()
	if change != nil {
		change(p)
	}
	return parse(w.tb, p.der(w.tb))
}

func parse(tb testing.TB, der []byte) *Response {
	tb.Helper()
	r, err := Parse(der)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func setOf(tb testing.TB, responses ...*Response) *Set {
	tb.Helper()
	s, err := NewSet(responses)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// leafStatus is the status of the leaf alone, at now plus a while.
func (w *world) leafStatus(after time.Duration, nonce []byte, p Policy, responses ...*Response) Result {
	w.tb.Helper()
	all := NewChecker(8).Check(setOf(w.tb, responses...), w.chain(), now.Add(after), nonce, p)
	if len(all) != 2 || all[0].Position != 0 || all[0].Certificate != w.leaf.Cert || all[1].Status != Missing {
		w.tb.Fatalf("results %+v", all)
	}
	return all[0]
}

func expect(t *testing.T, r Result, want Status, why string) {
	t.Helper()
	if r.Status != want || !strings.Contains(r.Why, why) || (r.Why == "") != (r.Status == Good) {
		t.Errorf("%s (%s), expected %s (… %s …)", r.Status, r.Why, want, why)
	}
}

func device(tb testing.TB, change func(*nvidia.Options)) *nvidia.Device {
	tb.Helper()
	o := nvidia.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now}
	if change != nil {
		change(&o)
	}
	d, err := nvidia.NewGPU(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// fetched asks a simulated service about all certificates of a chain but the root.
func fetched(tb testing.TB, s *nvidia.OCSPService, chain []*x509.Certificate, from int, hash crypto.Hash, nonce []byte, when time.Time) *Set {
	tb.Helper()
	var all []*Response
	for i := from; i+1 < len(chain); i++ {
		req, err := Request(chain[i], chain[i+1], hash, nonce)
		if err != nil {
			tb.Fatal(err)
		}
		der, err := s.Answer(req, when)
		if err != nil {
			tb.Fatal(err)
		}
		r, err := Parse(der)
		if err != nil {
			if _, ok := err.(*ResponderError); ok {
				continue
			}
			tb.Fatal(err)
		}
		all = append(all, r)
	}
	return setOf(tb, all...)
}
