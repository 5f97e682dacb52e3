// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Object identifiers of DMTF for SPDM (DSP0274) and of PCI-SIG for CMA.
var (
	oidDeviceInfo    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 1}
	oidHardwareID    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 2}
	oidResponderAuth = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 3}
	oidRequesterAuth = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 4}
	oidMutable       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 5}
	oidSPDMExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 6}
	oidCMA           = asn1.ObjectIdentifier{2, 23, 147}
	oidSAN           = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// The vendor's authorities do not depend on Options.Now, so that two machines
// made at different times chain to the same root.
var (
	authorityStart = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	noExpiry       = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280 4.1.2.5
)

// authorities are the certificates above the leaves.
type authorities struct {
	root, intermediate *pki.Authority
	device             *pki.Authority // device certificate CA; nil without the alias model
}

func (a authorities) issuer() *pki.Authority {
	if a.device != nil {
		return a.device
	}
	return a.intermediate
}

func newAuthorities(o Options, vendor pki.Seed, serial string) (authorities, error) {
	var a authorities
	curve := o.Suite.authority()
	vendor = vendor.Sub("spdm", curve.Params().Name)
	// Two vendors have two names, or an unknown root would look like a bad signature.
	tag := fmt.Sprintf(" %x %s", vendor.Sub("name").Bytes(4), curve.Params().Name)
	rootKey, err := vendor.Sub("root").ECDSA(curve)
	if err != nil {
		return a, err
	}
	if a.root, err = pki.Root(rootKey, authority(vendor.Sub("root"), "Assize Simulated SPDM Root"+tag)); err != nil {
		return a, err
	}
	middleKey, err := vendor.Sub("intermediate").ECDSA(curve)
	if err != nil {
		return a, err
	}
	if a.intermediate, err = a.root.Issue(middleKey, authority(vendor.Sub("intermediate"), "Assize Simulated SPDM Intermediate"+tag)); err != nil {
		return a, err
	}
	if !o.Alias {
		return a, nil
	}
	seed := o.Device.Sub("spdm", "device-ca", curve.Params().Name)
	deviceKey, err := seed.ECDSA(curve)
	if err != nil {
		return a, err
	}
	template := authority(seed, "Assize Simulated Device CA "+serial)
	template.NotBefore = o.Now.UTC().Truncate(time.Second).AddDate(-1, 0, 0)
	if template.ExtraExtensions, err = spdmExtensions(oidHardwareID); err != nil {
		return a, err
	}
	a.device, err = a.intermediate.Issue(deviceKey, template)
	return a, err
}

func authority(seed pki.Seed, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: seed.Serial(), Subject: pkix.Name{Organization: []string{"Assize Simulation"}, CommonName: name},
		NotBefore: authorityStart, NotAfter: noExpiry, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// leaf makes the end certificate of one slot (DSP0274: version 3, digital
// signature, CA:FALSE, responder EKU, DMTF otherName, hardware identity in the
// device model only, mutable in the alias model).
func leaf(o Options, a authorities, slot uint8, serial string) (*pki.Authority, error) {
	seed := o.Device.Sub("spdm", "leaf", o.Suite.String())
	keySeed := seed.Sub("key")
	if o.MultiKey {
		keySeed = keySeed.Sub(fmt.Sprint(slot))
	}
	key, err := deviceKey(o, keySeed)
	if err != nil {
		return nil, err
	}
	now := o.Now.UTC().Truncate(time.Second)
	t := &x509.Certificate{
		SerialNumber:          seed.Sub(fmt.Sprint(slot)).Serial(),
		Subject:               pkix.Name{Organization: []string{"Assize Simulation"}, CommonName: fmt.Sprintf("Assize Simulated Device %s slot %d", serial, slot)},
		NotBefore:             now.AddDate(-1, 0, 0),
		NotAfter:              noExpiry,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{oidResponderAuth},
	}
	if o.Expired && slot == o.Slot {
		t.NotAfter = now.AddDate(0, 0, -1)
	}
	if o.NoEKU {
		t.UnknownExtKeyUsage = nil
	}
	if err := o.extend(t, slot, serial); err != nil {
		return nil, err
	}
	if key, err = o.misissue(t, slot, seed, key); err != nil {
		return nil, err
	}
	return a.issuer().Issue(key, t)
}

// extend adds what SPDM and CMA put into a leaf.
func (o Options) extend(t *x509.Certificate, slot uint8, serial string) error {
	san, err := subjectAltName(fmt.Sprintf(otherName, maker, o.Product, serial), serial, o.has(CMA))
	if err != nil {
		return err
	}
	roles := []asn1.ObjectIdentifier{oidHardwareID}
	if o.Alias {
		roles[0] = oidMutable
	}
	if o.has(LeafHardwareIdentity) && slot == o.Slot {
		roles = append(roles, oidHardwareID)
	}
	if o.model(slot) == modelGeneric { // nothing but the names
		t.KeyUsage, t.UnknownExtKeyUsage, t.ExtraExtensions = 0, nil, []pkix.Extension{san}
		return nil
	}
	if t.ExtraExtensions, err = spdmExtensions(roles...); err != nil {
		return err
	}
	t.ExtraExtensions = append(t.ExtraExtensions, san)
	return nil
}

// modelGeneric is the certificate model without rules for the leaf.
const modelGeneric = 3

// misissue makes a certificate that no responder should have. The result is the
// key that it names.
func (o Options) misissue(t *x509.Certificate, slot uint8, seed pki.Seed, key crypto.Signer) (crypto.Signer, error) {
	if slot != o.Slot {
		return key, nil
	}
	if o.has(LeafEKU) {
		t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidRequesterAuth}
	}
	if o.has(LeafKeyUsage) {
		t.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	if o.has(LeafConstraints) {
		t.BasicConstraintsValid = false
	}
	t.IsCA = o.has(LeafCA)
	if !o.has(LeafKey) {
		return key, nil
	}
	if o.Suite == SuiteP256 {
		return seed.ECDSA(elliptic.P384())
	}
	return seed.ECDSA(elliptic.P256())
}

// subjectAltName holds the DMTF device information and the CMA function
// identity. 1AF4:10F0 is in the range that is free for experiments.
func subjectAltName(info, serial string, foreign bool) (pkix.Extension, error) {
	vendor := "1AF4"
	if foreign {
		vendor = "1AF5"
	}
	cma := "Vendor=" + vendor + ":Device=10F0:CC=020000:REV=01:SSVID=1AF4:SSID=0001:" + serial
	var names []byte
	for _, n := range []struct {
		id   asn1.ObjectIdentifier
		text string
	}{{oidDeviceInfo, info}, {oidCMA, cma}} {
		raw, err := asn1.MarshalWithParams(struct {
			ID    asn1.ObjectIdentifier
			Value string `asn1:"utf8,explicit,tag:0"`
		}{n.id, n.text}, "tag:0")
		if err != nil {
			return pkix.Extension{}, fmt.Errorf("spdm: subject alternative name: %w", err)
		}
		names = append(names, raw...)
	}
	value, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: names})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("spdm: subject alternative name: %w", err)
	}
	return pkix.Extension{Id: oidSAN, Value: value}, nil
}

func spdmExtensions(roles ...asn1.ObjectIdentifier) ([]pkix.Extension, error) {
	list := make([]struct{ ID asn1.ObjectIdentifier }, len(roles))
	for i, r := range roles {
		list[i].ID = r
	}
	value, err := asn1.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("spdm: SPDM extension: %w", err)
	}
	return []pkix.Extension{{Id: oidSPDMExtension, Value: value}}, nil
}

// serialNumber is the device's serial: 16 upper-case hexadecimal digits.
func serialNumber(o Options) string {
	return strings.ToUpper(fmt.Sprintf("%x", o.Device.Sub("spdm", "serial").Bytes(8)))
}

// chainStructure is what CERTIFICATE transports: length of the whole (u16 and two
// zero bytes, from 1.4 on u32), hash of the root certificate, certificates from
// root to leaf.
func chainStructure(o Options, certs []*x509.Certificate) ([]byte, error) {
	out := make([]byte, 4, 4096)
	root := sum(o.Suite.hash(), certs[0].Raw)
	if o.has(RootHash) {
		root[0] ^= 1
	}
	out = append(out, root...)
	for i, c := range certs {
		out = append(out, c.Raw...)
		if i == len(certs)-2 && o.has(ChainSignature) {
			out[len(out)-1] ^= 1 // of the signature of the leaf's issuer
		}
	}
	if len(out) > 0xffff {
		return nil, fmt.Errorf("spdm: certificate chain of %d bytes", len(out))
	}
	out[0], out[1] = byte(len(out)), byte(len(out)>>8)
	return out, nil
}

// Root is the vendor's root certificate: what a trust file lists.
func (d *Device) Root() *x509.Certificate { return d.vendor.root.Cert }

// Endorsements are the revocation lists (DER) of the vendor's root and
// intermediate authority, by file name. The intermediate's list is empty
// unless Options.Revoked is set.
func (d *Device) Endorsements() (map[string][]byte, error) {
	now := d.o.Now.UTC().Truncate(time.Second)
	from, until := now.Add(-time.Hour), now.AddDate(0, 1, 0)
	root, err := d.vendor.root.CRL(1, from, until)
	if err != nil {
		return nil, err
	}
	number, revoked := int64(1), []*big.Int(nil)
	if d.o.Revoked {
		cert := d.leaves[d.o.Slot]
		if d.authorities.device != nil {
			cert = d.authorities.device
		}
		number, revoked = 2, []*big.Int{cert.Cert.SerialNumber}
	}
	intermediate, err := d.vendor.intermediate.CRL(number, from, until, revoked...)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"spdm-" + d.serial + "-root.crl":         root,
		"spdm-" + d.serial + "-intermediate.crl": intermediate,
	}, nil
}

// signer is the key that Evidence uses.
func signer(o Options, slot uint8) (crypto.Signer, error) {
	seed := o.Device.Sub("spdm", "leaf", o.Suite.String()).Sub("key")
	switch {
	case o.WrongSigner:
		seed = o.Device.Sub("spdm", "foreign signer")
	case o.MultiKey:
		seed = seed.Sub(fmt.Sprint(slot))
	}
	return deviceKey(o, seed)
}
