// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Who may answer. Each row breaks one rule and nothing else.
func TestResponder(t *testing.T) {
	rsaKey := func(bits int) crypto.Signer {
		k, err := pki.NewSeed("rsa").RSA(bits)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	p256 := key(t, "p256", elliptic.P256())
	own := func(w *world) func(*parts) { // signed by the issuer itself
		return func(p *parts) { p.id, p.certs, p.signer = byKey(t, w.ca.Cert), nil, w.ca.Key }
	}
	rsaWith := func(bits int, hash crypto.Hash, arc int) func(*world) func(*parts) {
		return func(w *world) func(*parts) {
			w.delegate(w.ca, rsaKey(bits), nil)
			return func(p *parts) {
				p.hash, p.algorithm = hash, tlv(0x30, oidOf(1, 2, 840, 113549, 1, 1, arc), derNull)
			}
		}
	}
	certified := func(change func(*x509.Certificate)) func(*world) func(*parts) {
		return func(w *world) func(*parts) {
			w.delegate(w.ca, key(t, "responder", elliptic.P384()), change)
			return nil
		}
	}
	for _, c := range []struct {
		name string
		set  func(*world) func(*parts)
		want Status
		why  string
	}{
		{"delegated", func(*world) func(*parts) { return nil }, Good, ""},
		{"issuer itself", own, Good, ""},
		{"issuer itself, by name", func(w *world) func(*parts) {
			return func(p *parts) { own(w)(p); p.id = tlv(0xA1, w.ca.Cert.RawSubject) }
		}, Good, ""},
		{"issuer itself, embedded", func(w *world) func(*parts) {
			return func(p *parts) { own(w)(p); p.certs = tlv(0xA0, tlv(0x30, w.ca.Cert.Raw)) }
		}, Good, ""},
		{"delegated, by name", func(w *world) func(*parts) {
			return func(p *parts) { p.id = tlv(0xA1, w.responder.Cert.RawSubject) }
		}, Good, ""},
		{"with the chain behind it", func(w *world) func(*parts) {
			return func(p *parts) { p.certs = tlv(0xA0, tlv(0x30, w.responder.Cert.Raw, w.ca.Cert.Raw)) }
		}, Good, ""},
		{"P-256 and SHA-256", func(w *world) func(*parts) {
			w.delegate(w.ca, p256, nil)
			return func(p *parts) {
				p.hash, p.algorithm = crypto.SHA256, tlv(0x30, oidOf(1, 2, 840, 10045, 4, 3, 2))
			}
		}, Good, ""},
		{"RSA", rsaWith(2048, crypto.SHA256, 11), Good, ""},
		{"RSA, SHA-512", rsaWith(2048, crypto.SHA512, 13), Good, ""},
		{"nocheck is critical", certified(func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = true }), Good, ""},
		{"no key usage", certified(func(c *x509.Certificate) { c.KeyUsage = 0 }), Good, ""},

		{"RSA of 1024 bits", rsaWith(1024, crypto.SHA256, 11), Invalid, "1024 bits"},
		{"RSA with SHA-1", rsaWith(2048, crypto.SHA1, 5), Invalid, "not signed with"},
		{"P-521", func(w *world) func(*parts) { w.delegate(w.ca, key(t, "p521", elliptic.P521()), nil); return nil }, Invalid, "P-521"},
		{"ECDSA with parameters", func(*world) func(*parts) {
			return func(p *parts) { p.algorithm = tlv(0x30, oidOf(1, 2, 840, 10045, 4, 3, 3), derNull) }
		}, Invalid, "not signed with"},
		{"no usage", certified(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), Invalid, "id-kp-OCSPSigning"},
		{"any usage", certified(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), Invalid, "id-kp-OCSPSigning"},
		{"a CA", certified(func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }), Invalid, "of a CA"},
		{"not for signatures", certified(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), Invalid, "digital signatures"},
		{"unknown critical extension", certified(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: derNull})
		}), Invalid, "1.2.3.4"},
		{"expired", certified(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }), Invalid, "is valid from"},
		{"not valid yet", certified(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }), Invalid, "is valid from"},
		{"of the root, not of the issuer", func(w *world) func(*parts) {
			w.delegate(w.root, key(t, "responder", elliptic.P384()), nil)
			return nil
		}, Invalid, "not by \"CN=ca\" itself"},
		{"of another with the issuer's name", func(w *world) func(*parts) {
			other := certificate(t, w.root, key(t, "other", elliptic.P384()), "ca", nil)
			w.delegate(other, key(t, "responder", elliptic.P384()), nil)
			return nil
		}, Invalid, "signature"},
		{"of an issuer that is no CA", func(w *world) func(*parts) {
			cert := *w.ca.Cert
			cert.IsCA = false
			w.ca = &pki.Authority{Cert: &cert, Key: w.ca.Key}
			return nil
		}, Invalid, "may not issue"},
		{"of an issuer that signs no certificates", func(w *world) func(*parts) {
			cert := *w.ca.Cert
			cert.KeyUsage = x509.KeyUsageCRLSign
			w.ca = &pki.Authority{Cert: &cert, Key: w.ca.Key}
			return nil
		}, Invalid, "may not issue"},
		{"the certificate about which it is", func(w *world) func(*parts) {
			return func(p *parts) {
				p.id, p.signer, p.certs = byKey(t, w.leaf.Cert), w.leaf.Key, tlv(0xA0, tlv(0x30, w.leaf.Cert.Raw))
			}
		}, Invalid, "id-kp-OCSPSigning"},
		{"names another key", func(w *world) func(*parts) { return func(p *parts) { p.id = byKey(t, w.leaf.Cert) } }, Invalid, "with key"},
		{"names another subject", func(w *world) func(*parts) {
			return func(p *parts) { p.id = tlv(0xA1, w.ca.Cert.RawSubject) }
		}, Invalid, "names another responder"},
		{"no certificate, another's signature", func(w *world) func(*parts) {
			return func(p *parts) { p.id, p.certs = byKey(t, w.ca.Cert), nil }
		}, Invalid, "signature"},
		{"certificate of another", func(w *world) func(*parts) {
			return func(p *parts) { p.signer = key(t, "nobody", elliptic.P384()) }
		}, Invalid, "signature"},
	} {
		w := newWorld(t)
		change := c.set(w)
		t.Run(c.name, func(t *testing.T) {
			expect(t, w.leafStatus(0, nil, Policy{}, w.made(change)), c.want, c.why)
			if c.want == Good {
				return
			}
			// Who may not say good may not say revoked either, unless only a time is wrong.
			r := w.leafStatus(0, nil, Policy{}, w.made(func(p *parts) {
				p.certStatus = revoked(now, 1)
				if change != nil {
					change(p)
				}
			}))
			if timed := strings.Contains(c.why, "valid from"); (r.Status == Revoked) != timed {
				t.Errorf("revoked: %s (%s)", r.Status, r.Why)
			}
		})
	}
}

// A certificate signed with SHA-1 authorises nobody.
func TestResponderCertificateSignedWithSHA1(t *testing.T) {
	w := newWorld(t)
	cert := *w.responder.Cert
	cert.SignatureAlgorithm = x509.ECDSAWithSHA1
	if err := delegated(&cert, w.ca.Cert); err == nil || !strings.Contains(err.Error(), "SHA1") {
		t.Error(err)
	}
}

// A responder's certificate without nocheck needs a status of its own.
func TestResponderWithoutNoCheck(t *testing.T) {
	w := newWorld(t)
	w.delegate(w.ca, key(t, "responder", elliptic.P384()), func(c *x509.Certificate) { c.ExtraExtensions = nil })
	answer := w.made(nil)
	about := func(status []byte, signer *pki.Authority) *Response {
		return w.made(func(p *parts) {
			p.cert, p.certStatus = certIDOf(t, w.responder.Cert, w.ca.Cert, crypto.SHA1), status
			if signer != w.responder {
				p.id, p.certs, p.signer = byKey(t, signer.Cert), nil, signer.Key
			}
		})
	}
	good, unknown := []byte{0x80, 0}, []byte{0x82, 0}
	expect(t, w.leafStatus(0, nil, Policy{}, answer), Invalid, "its own status is missing")
	expect(t, w.leafStatus(0, nil, Policy{UncheckedResponder: true}, answer), Good, "")
	expect(t, w.leafStatus(0, nil, Policy{}, answer, about(good, w.ca)), Good, "")
	expect(t, w.leafStatus(0, nil, Policy{}, answer, about(unknown, w.ca)), Invalid, "its own status is unknown")
	expect(t, w.leafStatus(0, nil, Policy{}, answer, about(good, w.responder)), Invalid, "its own status is invalid")
	for _, reason := range []byte{1, 6} {
		r := about(revoked(now, reason), w.ca)
		for _, p := range []Policy{{}, {UncheckedResponder: true}} {
			expect(t, w.leafStatus(0, nil, p, answer, r), Invalid, "itself revoked or on hold")
			// Its revocations are worth nothing either.
			bad := w.made(func(p *parts) { p.certStatus = revoked(now, 1) })
			expect(t, w.leafStatus(0, nil, p, bad, r), Invalid, "itself revoked or on hold")
		}
	}
}

// A revocation of a responder counts although nobody need ask for it.
func TestRevokedResponderWithNoCheck(t *testing.T) {
	w := newWorld(t)
	for _, reason := range []byte{1, 6} {
		known := w.made(func(p *parts) {
			p.cert, p.certStatus = certIDOf(t, w.responder.Cert, w.ca.Cert, crypto.SHA256), revoked(now, reason)
			p.id, p.certs, p.signer = byKey(t, w.ca.Cert), nil, w.ca.Key
		})
		for _, p := range []Policy{{}, {UncheckedResponder: true}} {
			expect(t, w.leafStatus(0, nil, p, w.made(nil), known), Invalid, "itself revoked or on hold")
		}
	}
	forged := w.made(func(p *parts) {
		p.cert, p.certStatus = certIDOf(t, w.responder.Cert, w.ca.Cert, crypto.SHA256), revoked(now, 1)
		p.signer = key(t, "nobody", elliptic.P384())
	})
	expect(t, w.leafStatus(0, nil, Policy{}, w.made(nil), forged), Good, "")
}

// The status of one responder is looked up once, however many of its responses
// there are: all may have the most responses about them.
func TestResponderIsLookedUpOnce(t *testing.T) {
	w := newWorld(t)
	w.delegate(w.ca, key(t, "responder", elliptic.P384()), func(c *x509.Certificate) { c.ExtraExtensions = nil })
	var all []*Response
	for i := range 4 {
		all = append(all, w.made(func(p *parts) { p.this = at(now.Add(-time.Duration(i) * time.Second)) }))
	}
	q := query{NewChecker(8), setOf(t, all...), w.ca.Cert, now, nil, Policy{}, map[[32]byte]Status{}}
	expect(t, q.status(w.leaf.Cert), Invalid, "its own status is missing")
	if len(q.responders) != 1 || q.responders[sha256.Sum256(w.responder.Cert.Raw)] != Missing {
		t.Errorf("%v", q.responders)
	}
}

// What an unverified certificate says must not fill a verdict.
func TestReasonsAreShort(t *testing.T) {
	w := newWorld(t)
	w.delegate(w.root, key(t, "responder", elliptic.P384()), func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("a", 20<<10) })
	if r := w.leafStatus(0, nil, Policy{}, w.made(nil)); r.Status != Invalid || len(r.Why) > 1<<10 {
		t.Errorf("%s, and %d bytes why", r.Status, len(r.Why))
	}
}
