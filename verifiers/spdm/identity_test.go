// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"testing"
	"time"
)

func TestLeafRules(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []func(*device)
		kind Kind // "" is accepted
	}{
		{"plain", nil, ""},
		{"no keyUsage", []func(*device){leafWith(func(x *x509.Certificate) { x.KeyUsage = 0 })}, KindCertificate},
		{"keyUsage without signatures", []func(*device){leafWith(func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageKeyAgreement })}, KindCertificate},
		{"requester only", []func(*device){leafWith(func(x *x509.Certificate) { x.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidRequesterAuth} })}, KindCertificate},
		{"both roles", []func(*device){leafWith(func(x *x509.Certificate) { x.UnknownExtKeyUsage = append(x.UnknownExtKeyUsage, oidRequesterAuth) })}, ""},
		{"no EKU", []func(*device){leafWith(func(x *x509.Certificate) { x.UnknownExtKeyUsage = nil })}, ""},
		{"CA", []func(*device){leafWith(func(x *x509.Certificate) { x.IsCA = true })}, KindCertificate},
		{"no basic constraints in 1.2", []func(*device){leafWith(func(x *x509.Certificate) { x.BasicConstraintsValid = false })}, ""},
		{"no basic constraints in 1.3", []func(*device){versionOf(Version13), leafWith(func(x *x509.Certificate) { x.BasicConstraintsValid = false })}, KindCertificate},
		{"empty subject", []func(*device){leafWith(func(x *x509.Certificate) { x.Subject = pkix.Name{} })}, KindCertificate},
		{"expired", []func(*device){leafWith(func(x *x509.Certificate) { x.NotAfter = at.Add(-time.Second) })}, KindExpired},
		{"not yet valid", []func(*device){leafWith(func(x *x509.Certificate) { x.NotBefore = at.Add(time.Second) })}, KindExpired},
		{"year 9999", []func(*device){leafWith(func(x *x509.Certificate) { x.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) })}, ""},
		{"critical name of an unknown kind", []func(*device){leafWith(func(x *x509.Certificate) {
			x.ExtraExtensions = []pkix.Extension{sanOf(t, true, map[string]asn1.ObjectIdentifier{"x": {1, 2, 3}})}
		})}, KindCertificate},
		{"unknown critical extension", []func(*device){leafWith(func(x *x509.Certificate) {
			x.ExtraExtensions = append(x.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
		})}, KindCertificate},
		{"device name twice", []func(*device){leafWith(func(x *x509.Certificate) {
			x.ExtraExtensions = []pkix.Extension{sanOf(t, true, map[string]asn1.ObjectIdentifier{"A:B:1": oidDeviceInfo, "A:B:2": oidDeviceInfo})}
		})}, KindCertificate},
		{"name with a control character", []func(*device){leafWith(func(x *x509.Certificate) {
			x.ExtraExtensions = []pkix.Extension{sanOf(t, true, map[string]asn1.ObjectIdentifier{"A:B:\n": oidDeviceInfo})}
		})}, KindCertificate},
		{"alias leaf", []func(*device){func(d *device) { d.flags |= 1 << 18; d.model = ModelAlias }}, ""},
		{"alias leaf with hardware identity", []func(*device){func(d *device) { d.flags |= 1 << 18 }}, KindCertificate},
		{"alias by signed DIGESTS, hardware identity in the leaf", []func(*device){versionOf(Version13), func(d *device) {
			d.multi, d.model = true, ModelAlias
			d.leaf = func(x *x509.Certificate) {
				x.ExtraExtensions = append(x.ExtraExtensions, spdmExt(t, oidHardwareIdentity))
			}
		}}, KindCertificate},
		{"generic in slot 0", []func(*device){versionOf(Version13), func(d *device) { d.multi, d.model = true, ModelGeneric }}, KindCertificate},
		{"generic in slot 2 without keyUsage", []func(*device){versionOf(Version13), slotOf(2), func(d *device) {
			d.multi, d.model = true, ModelGeneric
			d.leaf = func(x *x509.Certificate) { x.KeyUsage = 0 }
		}}, ""},
		{"model none in a multi-key connection", []func(*device){versionOf(Version13), func(d *device) { d.multi, d.model = true, ModelNone }}, KindMalformed},
		{"key not for measurements", []func(*device){versionOf(Version13), func(d *device) { d.multi, d.usage = true, UsageChallenge }}, KindSlot},
		{"key not for challenges", []func(*device){versionOf(Version13), func(d *device) { d.multi, d.usage = true, UsageMeasurement }}, KindSlot},
		{"root not in the chain", []func(*device){func(d *device) { d.noRoot = true }}, ""},
		{"slot 3", []func(*device){slotOf(3)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice(t, c.opts...)
			_, err := Verify(d.evidence(t), d.expect())
			if c.kind != "" {
				wantKind(t, err, c.kind)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestUnsignedDigests: without a challenge nobody signs DIGESTS, so it must not
// relax a rule.
func TestUnsignedDigests(t *testing.T) {
	d := newDevice(t, versionOf(Version13), slotOf(2), func(d *device) {
		d.multi, d.model = true, ModelGeneric
		d.leaf = func(x *x509.Certificate) { x.KeyUsage = 0 }
	})
	e := d.evidence(t)
	e.Challenge, e.Digests = nil, d.digests()
	_, err := Verify(e, d.expect())
	wantKind(t, err, KindCertificate)
	alias := newDevice(t, versionOf(Version13), func(d *device) {
		d.multi, d.flags = true, d.flags|1<<18 // says device in DIGESTS, alias in CAPABILITIES
	})
	e = alias.evidence(t)
	e.Challenge, e.Digests = nil, alias.digests()
	_, err = Verify(e, alias.expect())
	wantKind(t, err, KindCertificate)
	// A DIGESTS beside the challenge must be the signed one.
	d = newDevice(t, versionOf(Version13), func(d *device) { d.multi = true })
	e = d.evidence(t)
	e.Digests = d.digests()
	e.Digests[len(e.Digests)-1] ^= 1
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	// A DIGESTS that lacks the signer's slot.
	other := *d
	other.slot = 1
	e.Challenge, e.Digests = nil, other.digests()
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindSlot)
	single := newDevice(t)
	other = *single
	other.slot = 1
	e = single.evidence(t)
	e.Challenge, e.Digests = nil, other.digests()
	_, err = Verify(e, single.expect())
	wantKind(t, err, KindSlot)
}

func TestChainRules(t *testing.T) {
	d := newDevice(t)
	v, err := ParseVCA(d.vca)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(raw []byte, anchors ...Anchor) error {
		t.Helper()
		c, err := ParseChain(raw, v)
		if err != nil {
			return err
		}
		_, err = VerifyChain(c, v, 0, ModelDevice, anchors, at)
		return err
	}
	good := Anchor{d.anchor, SlotFactory}
	if err := verify(d.chain, good); err != nil {
		t.Fatal(err)
	}
	c, _ := ParseChain(d.chain, v)
	build := func(root []byte, certs ...[]byte) []byte {
		body := append(bytes.Clone(root), slices.Concat(certs...)...)
		return append(append(le16(4+len(body)), 0, 0), body...)
	}
	other := newDevice(t, func(d *device) { d.asym, d.hash = ECDSAP521, BaseSHA512 })
	oc, _ := ParseChain(other.chain, mustVCA(t, other.vca))
	h := v.BaseHash.sum(c.DER[0])
	wantKind(t, verify(d.chain), KindUnknownAnchor)
	wantKind(t, verify(d.chain, Anchor{d.anchor, 1 << 1}), KindUnknownAnchor)
	wantKind(t, verify(d.chain, Anchor{d.anchor, 0}), KindUnknownAnchor)
	wantKind(t, verify(d.chain, Anchor{nil, 1}), KindUnknownAnchor)
	wantKind(t, verify(build(v.BaseHash.sum([]byte("x")), c.DER...), good), KindRootHash)
	wantKind(t, verify(build(h, c.DER[0], c.DER[2]), good), KindChainSignature)
	wantKind(t, verify(build(h, c.DER[0], oc.DER[2], c.DER[1], c.DER[2]), good), KindUnknownAnchor) // a passenger
	wantKind(t, verify(build(h, c.DER[0], c.DER[2], c.DER[1]), good), KindUnknownAnchor)            // order
	// Another certificate of the anchor's name and key in the anchor's place.
	x := template("root", true)
	x.NotAfter = x.NotAfter.AddDate(1, 0, 0)
	twin := issue(t, x, x, newKey(t, ECDSAP256).Public(), newKey(t, ECDSAP256))
	wantKind(t, verify(build(h, twin.Raw, c.DER[1], c.DER[2]), good), KindUnknownAnchor)
	wantKind(t, verify(build(h, c.DER[0], c.DER[0], c.DER[1], c.DER[2]), good), KindMalformed)
	wantKind(t, verify(build(h), good), KindMalformed)
	wantKind(t, verify(build(h, c.DER[0]), good), KindUnknownAnchor) // the anchor alone
	forged := bytes.Clone(c.DER[2])
	forged[len(forged)-1] ^= 1
	wantKind(t, verify(build(h, c.DER[0], c.DER[1], forged), good), KindChainSignature)
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	middle := issue(t, template("middle", true), d.anchor, weak.Public(), newKey(t, ECDSAP256))
	leaf := issue(t, template("leaf", false), middle, d.key.Public(), weak)
	wantKind(t, verify(build(h, c.DER[0], middle.Raw, leaf.Raw), good), KindCertificate)
	if _, err := VerifyChain(c, v, 0, ModelDevice, []Anchor{good}, time.Time{}); KindOf(err) != KindMissing {
		t.Fatal("no time:", err)
	}
	// A key of another algorithm than the negotiated one.
	v.BaseAsym = ECDSAP256
	wantKind(t, verify(d.chain, good), KindCertificate)
	v.BaseAsym = RSASSA2048
	wantKind(t, verify(d.chain, good), KindCertificate)
}

func mustVCA(t testing.TB, b []byte) *VCA {
	t.Helper()
	v, err := ParseVCA(b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestDigestsAgainstChallenge: certificates read under the challenge signature
// must be the chain that is given.
func TestChallengeContradictions(t *testing.T) {
	d := newDevice(t, versionOf(Version13))
	other := newDevice(t, versionOf(Version13), leafWith(func(x *x509.Certificate) { x.Subject.CommonName = "other" }))
	e := d.evidence(t)
	read := slices.Concat(d.msg(0x81, 0, 0), d.digests())
	e.Challenge = d.challenge(t, slices.Concat(read, other.certificates()))
	_, err := Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	e.Challenge = d.challenge(t, slices.Concat(d.msg(0x81, 0, 0), other.digests()))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	// Portions of the right length with another byte, a wrong remainder, and a
	// model that DIGESTS does not know.
	flipped := *d
	flipped.chain = bytes.Clone(d.chain)
	flipped.chain[len(flipped.chain)-1] ^= 1
	e.Challenge = d.challenge(t, slices.Concat(read, flipped.certificates()))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	short := d.certificates()
	short[8+6] -= 1
	e.Challenge = d.challenge(t, slices.Concat(read, short))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	keyed := newDevice(t, versionOf(Version13), func(d *device) { d.multi = true })
	named := *keyed
	named.model = ModelAlias
	ke := keyed.evidence(t)
	ke.Challenge = keyed.challenge(t, slices.Concat(keyed.msg(0x81, 0, 0), keyed.digests(), named.certificates()))
	_, err = Verify(ke, keyed.expect())
	wantKind(t, err, KindContradiction)
	// CertChainHash of another chain.
	wrong := *d
	wrong.chain = other.chain
	e.Challenge = wrong.challenge(t, nil)
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	// A second GET_DIGESTS restarts M1: what stands before it is not signed.
	e.Challenge = d.challenge(t, slices.Concat(read, read))
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindMalformed)
	// B may be absent, and so may DIGESTS.
	e.Challenge = d.challenge(t, nil)
	if r, err := Verify(e, d.expect()); err != nil || r.DigestsSigned {
		t.Fatal(r, err)
	}
	e.Challenge = d.challenge(t, d.certificates())
	if _, err := Verify(e, d.expect()); err != nil {
		t.Fatal(err)
	}
	// A signed CERTIFICATE says alias, and the leaf carries the hardware identity.
	alias := *d
	alias.model = ModelAlias
	e.Challenge = d.challenge(t, alias.certificates())
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindCertificate)
	// Challenge by another slot.
	two := *d
	two.slot = 2
	e.Challenge = two.challenge(t, nil)
	_, err = Verify(e, d.expect())
	wantKind(t, err, KindSlot)
	// A summary that differs is reported, not refused.
	changed := *d
	changed.blocks = block(1, 0, make([]byte, 48))
	e.Challenge = changed.challenge(t, nil)
	if r, err := Verify(e, d.expect()); err != nil || r.Challenge.Summary != SummaryDiffers {
		t.Fatal(r, err)
	}
}
