// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Object identifiers of SPDM certificates (DSP0274, X.509 certificates; CMA).
var (
	oidDeviceInfo       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 1}
	oidHardwareIdentity = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 2}
	oidResponderAuth    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 3}
	oidRequesterAuth    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 4}
	oidMutable          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 5}
	oidExtension        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 6}
	oidCMA              = asn1.ObjectIdentifier{2, 23, 147}
	oidSAN              = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// Slots is a set of certificate slots, bit n for slot n.
type Slots uint8

// SlotFactory is slot 0, which only the device maker fills. The other slots may
// be written by an owner, who can vouch for anything there.
const SlotFactory Slots = 1 << 0

// Anchor is a trust anchor and the slots whose chains it may vouch for. An
// anchor without slots vouches for nothing.
type Anchor struct {
	Certificate *x509.Certificate
	Slots       Slots
}

// Identity is a verified certificate chain.
type Identity struct {
	Slot  uint8
	Model Model
	Leaf  *x509.Certificate
	// Path is the verified path from leaf to anchor.
	Path []*x509.Certificate
	// SPKI is the DER SubjectPublicKeyInfo of the leaf.
	SPKI []byte
	// DeviceInfo is the DMTF otherName "manufacturer:product:serial", or "".
	DeviceInfo string
	// CMA is the PCIe otherName "Vendor=...:Device=...", or "".
	CMA string
	// HardwareIdentity tells that a certificate below the anchor carries the
	// hardware identity OID; Mutable that the leaf carries the mutable OID.
	HardwareIdentity, Mutable bool
}

// VerifyChain verifies a parsed chain for a slot at the time at: path to an
// anchor for that slot through every certificate of the chain, root hash, and
// the rules for the leaf of the given model. It modifies the certificates of c
// (critical names that it understood are marked as handled).
func VerifyChain(c *Chain, v *VCA, slot uint8, model Model, anchors []Anchor, at time.Time) (*Identity, error) {
	object := fmt.Sprintf("chain %d", slot)
	if at.IsZero() {
		return nil, refuse(StageInput, KindMissing, "time", "no verification time")
	}
	id := &Identity{Slot: slot, Model: model, Leaf: c.Leaf()}
	id.SPKI = id.Leaf.RawSubjectPublicKeyInfo
	if err := id.readNames(c, object); err != nil {
		return nil, err
	}
	named := func(x *x509.Certificate) bool { return bytes.Equal(v.BaseHash.sum(x.Raw), c.RootHash) }
	if err := id.verifyPath(c, slot, anchors, at, object, named); err != nil {
		return nil, err
	}
	anchor := id.Path[len(id.Path)-1]
	if want := v.BaseHash.sum(anchor.Raw); !bytes.Equal(want, c.RootHash) {
		return nil, differ(StageChain, KindRootHash, object, "root hash is not that of the trust anchor", want, c.RootHash)
	}
	for _, x := range id.Path {
		if !strongKey(x.PublicKey) {
			return nil, refuse(StageChain, KindCertificate, object, "%s of %q is too weak or not supported", keyName(x.PublicKey), x.Subject)
		}
	}
	if err := id.checkLeaf(v); err != nil {
		return nil, err
	}
	return id, nil
}

// strongKey accepts the keys that SPDM itself allows and this package knows.
func strongKey(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521()
	case ed25519.PublicKey:
		return true
	}
	return false
}

// readNames reads the otherNames and the SPDM extension of every certificate,
// and marks critical ones as handled where their content was understood.
func (id *Identity) readNames(c *Chain, object string) error {
	for i, x := range c.Certificates {
		leaf := i == len(c.Certificates)-1
		device, cma, err := otherNames(x)
		if err != nil {
			return refuse(StageChain, KindCertificate, object, "certificate %d: %v", i, err)
		}
		if device != "" || cma != "" {
			handled(x, oidSAN)
		}
		oids, present, err := spdmExtension(x)
		if err != nil {
			return refuse(StageChain, KindCertificate, object, "certificate %d: %v", i, err)
		}
		if present {
			handled(x, oidExtension)
		}
		if slices.ContainsFunc(oids, oidHardwareIdentity.Equal) {
			id.HardwareIdentity = true
			if leaf && id.Model == ModelAlias {
				return refuse(StageLeaf, KindCertificate, object, "the leaf carries the hardware identity OID although the model is alias")
			}
		}
		if leaf {
			id.DeviceInfo, id.CMA = device, cma
			id.Mutable = slices.ContainsFunc(oids, oidMutable.Equal)
		}
	}
	return nil
}

func handled(x *x509.Certificate, oid asn1.ObjectIdentifier) {
	x.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(x.UnhandledCriticalExtensions), oid.Equal)
}

// verifyPath runs RFC 5280 path validation and requires that the path goes
// through every certificate of the chain in its order, so that none of them is
// there without being verified. Of several such paths, to anchors with one name and
// key, it takes that to the anchor that the root hash names.
func (id *Identity) verifyPath(c *Chain, slot uint8, anchors []Anchor, at time.Time, object string, named func(*x509.Certificate) bool) error {
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	var eligible []*x509.Certificate
	for _, a := range anchors {
		if a.Certificate != nil && a.Slots>>slot&1 != 0 {
			roots.AddCert(a.Certificate)
			eligible = append(eligible, a.Certificate)
		}
	}
	if len(eligible) == 0 {
		return refuse(StageChain, KindUnknownAnchor, object, "no trust anchor is configured for slot %d", slot)
	}
	want := slices.Clone(c.Certificates)
	slices.Reverse(want)
	for _, x := range want[1:] {
		middle.AddCert(x)
	}
	paths, err := id.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return pathError(c, eligible, at, object, err)
	}
	for _, p := range paths {
		if len(p) >= 2 && len(p) >= len(want) && len(p) <= len(want)+1 && slices.EqualFunc(p[:len(want)], want, (*x509.Certificate).Equal) {
			if id.Path == nil || named(p[len(p)-1]) {
				id.Path = p
			}
		}
	}
	if id.Path != nil {
		return nil
	}
	return refuse(StageChain, KindUnknownAnchor, object, "no path to a trust anchor goes through all %d certificates in order", len(want))
}

// pathError tells apart what x509 reports as one: a certificate out of its time,
// a wrong signature inside the chain, and a chain to somebody else's root.
func pathError(c *Chain, eligible []*x509.Certificate, at time.Time, object string, cause error) error {
	e := &Error{Stage: StageChain, Object: object, Offset: -1, Err: cause}
	for i, x := range c.Certificates {
		if !c.signedAt(i, eligible) {
			e.Kind, e.Detail = KindChainSignature, fmt.Sprintf("certificate %d (%q) is not signed by the one before it", i, x.Subject)
			return e
		}
	}
	for i, x := range c.Certificates {
		if at.Before(x.NotBefore) || at.After(x.NotAfter) {
			e.Kind, e.Detail = KindExpired, fmt.Sprintf("certificate %d is not valid at %s", i, at.UTC().Format(time.RFC3339))
			e.Expected = x.NotBefore.UTC().Format(time.RFC3339) + " to " + x.NotAfter.UTC().Format(time.RFC3339)
			e.Seen = at.UTC().Format(time.RFC3339)
			return e
		}
	}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(cause, &invalid) && invalid.Reason == x509.Expired:
		e.Kind, e.Detail = KindExpired, "the trust anchor is not valid at "+at.UTC().Format(time.RFC3339)
	case errors.As(cause, &unknown):
		e.Kind, e.Detail = KindUnknownAnchor, "the chain does not end in a trust anchor for this slot"
	default:
		e.Kind, e.Detail = KindCertificate, "path validation"
	}
	return e
}

// signedAt tells whether certificate i is signed by its predecessor. For the
// first one it is false only where it names an anchor as issuer that did not
// sign it, and is no root of its own either.
func (c *Chain) signedAt(i int, eligible []*x509.Certificate) bool {
	x := c.Certificates[i]
	if i > 0 {
		return x.CheckSignatureFrom(c.Certificates[i-1]) == nil
	}
	if x.CheckSignatureFrom(x) == nil {
		return true
	}
	named := false
	for _, a := range eligible {
		if !bytes.Equal(x.RawIssuer, a.RawSubject) {
			continue
		}
		if x.Equal(a) || x.CheckSignatureFrom(a) == nil {
			return true
		}
		named = true
	}
	return !named
}

// checkLeaf applies the rules for leaf certificates of responders.
func (id *Identity) checkLeaf(v *VCA) error {
	x := id.Leaf
	bad := func(format string, args ...any) error {
		return refuse(StageLeaf, KindCertificate, fmt.Sprintf("chain %d", id.Slot), format, args...)
	}
	if err := checkKey(v.BaseAsym, x.PublicKey); err != nil {
		return err
	}
	requester := slices.ContainsFunc(x.UnknownExtKeyUsage, oidRequesterAuth.Equal)
	responder := slices.ContainsFunc(x.UnknownExtKeyUsage, oidResponderAuth.Equal)
	switch {
	case id.Model == ModelNone:
		return bad("certificate model is not known")
	case id.Model == ModelGeneric && (id.Slot == 0 || v.Version < Version13):
		return bad("a generic certificate in slot %d of SPDM %s", id.Slot, v.Version)
	case x.Version != 3:
		return bad("X.509 version %d, expected 3", x.Version)
	case x.KeyUsage&x509.KeyUsageDigitalSignature == 0 && (id.Model != ModelGeneric || x.KeyUsage != 0):
		return bad("key usage lacks digitalSignature")
	case requester && !responder:
		return bad("extended key usage allows authentication as requester only")
	case x.IsCA:
		return bad("the leaf is a CA certificate")
	case !x.BasicConstraintsValid && v.Version >= Version13:
		return bad("the leaf has no basic constraints")
	case id.Model != ModelGeneric && (len(x.RawSubject) <= 2 || len(x.RawIssuer) <= 2):
		return bad("subject or issuer is empty")
	}
	return nil
}
