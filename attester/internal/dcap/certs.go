// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Common names that verifiers ask for, and places that do not exist.
const (
	cnRoot       = "Intel SGX Root CA"
	cnPlatform   = "Intel SGX PCK Platform CA"
	cnProcessor  = "Intel SGX PCK Processor CA"
	cnPCK        = "Intel SGX PCK Certificate"
	cnTCBSigning = "Intel SGX TCB Signing"

	organization = "Assize Simulation"
	locality     = "Sample City"

	urlRootCRL = "https://certificates.simulated-vendor.invalid/SimulatedRootCA.der"
	urlPCKCRL  = "https://api.simulated-vendor.invalid/sgx/certification/v4/pckcrl?ca=%s&encoding=der"
)

// Validity is that of the authorities' certificates, one for all, so that machines of one
// vendor have one root, whenever they are simulated.
func Validity() (from, to time.Time) {
	return time.Date(2018, 5, 21, 10, 50, 10, 0, time.UTC), time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)
}

// Object identifiers of the certificate profile.
var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidCountry      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidLocality     = asn1.ObjectIdentifier{2, 5, 4, 7}
	oidState        = asn1.ObjectIdentifier{2, 5, 4, 8}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}

	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCRLDistribution  = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
)

// CA is one of the two authorities that issue PCK certificates.
type CA string

// Authorities of PCK certificates, by the names that Intel's service gives them.
const (
	// PlatformCA is for servers with several packages, whose certificates name
	// an instance and a configuration.
	PlatformCA CA = "platform"
	// ProcessorCA is for platforms with one package.
	ProcessorCA CA = "processor"
)

// Authorities are what a vendor has.
type Authorities struct{ Root, Platform, Processor, Signing *pki.Authority }

// NewAuthorities makes them; they follow from the vendor alone.
func NewAuthorities(vendor pki.Seed) (a Authorities, err error) {
	ca := x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	seed := vendor.Sub("intel-tdx") // the name is older than the second user
	make1 := func(issuer *pki.Authority, name string, p profile) *pki.Authority {
		if err != nil {
			return nil
		}
		p.from, p.to = Validity()
		p.crl = urlRootCRL
		var out *pki.Authority
		out, err = p.issue(issuer, seed.Sub(name))
		return out
	}
	a.Root = make1(nil, "root", profile{cn: cnRoot, usage: ca, pathLen: 1})
	a.Platform = make1(a.Root, "pck-platform-ca", profile{cn: cnPlatform, usage: ca, pathLen: 0})
	a.Processor = make1(a.Root, "pck-processor-ca", profile{cn: cnProcessor, usage: ca, pathLen: 0})
	a.Signing = make1(a.Root, "tcb-signing", profile{cn: cnTCBSigning, usage: endEntity, pathLen: notCA})
	return a, err
}

// Issuer is the authority of that name.
func (a Authorities) Issuer(ca CA) *pki.Authority {
	if ca == ProcessorCA {
		return a.Processor
	}
	return a.Platform
}

const (
	endEntity = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	notCA     = -1
)

// profile is what tells the four kinds of certificates apart.
type profile struct {
	cn       string
	from, to time.Time
	usage    x509.KeyUsage
	pathLen  int // notCA for an end entity
	crl      string
	extra    []pkix.Extension
}

// issue makes key and certificate; without an issuer it is a root. Names and
// extensions have the order and the string types of Intel's certificates.
func (p profile) issue(issuer *pki.Authority, seed pki.Seed) (*pki.Authority, error) {
	key, err := seed.ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	keyID, err := keyIdentifier(key)
	if err != nil {
		return nil, err
	}
	issuerID := keyID
	if issuer != nil {
		issuerID = issuer.Cert.SubjectKeyId
	}
	t := &x509.Certificate{
		SerialNumber: serial(seed), NotBefore: p.from, NotAfter: p.to, SubjectKeyId: keyID,
		IsCA: p.pathLen != notCA, BasicConstraintsValid: true, KeyUsage: p.usage,
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	if t.RawSubject, err = Subject(p.cn); err != nil {
		return nil, err
	}
	if t.ExtraExtensions, err = p.extensions(keyID, issuerID); err != nil {
		return nil, err
	}
	if issuer == nil {
		return pki.Root(key, t)
	}
	return issuer.Issue(key, t)
}

// serial is positive and 20 bytes long like Intel's.
func serial(seed pki.Seed) *big.Int {
	b := seed.Sub("serial").Bytes(20)
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b)
}

// keyIdentifier is method 1 of RFC 7093: the first 20 bytes of the SHA-256 of
// the public key.
func keyIdentifier(key *ecdsa.PrivateKey) ([]byte, error) {
	pub, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("dcap: %w", err)
	}
	sum := sha256.Sum256(pub)
	return sum[:20], nil
}

// Subject is a name with the attributes of Intel's certificates.
func Subject(cn string) ([]byte, error) {
	utf8 := func(s string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)} }
	var name pkix.RDNSequence
	for _, a := range []pkix.AttributeTypeAndValue{
		{Type: oidCommonName, Value: utf8(cn)}, {Type: oidOrganization, Value: utf8(organization)},
		{Type: oidLocality, Value: utf8(locality)}, {Type: oidState, Value: utf8("XX")},
		{Type: oidCountry, Value: asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: []byte("ZZ")}},
	} {
		name = append(name, pkix.RelativeDistinguishedNameSET{a})
	}
	return asn1.Marshal(name)
}

// extensions are all extensions in Intel's order; crypto/x509 would write the
// same ones in its own.
func (p profile) extensions(keyID, issuerID []byte) (out []pkix.Extension, err error) {
	type constraints struct {
		IsCA    bool `asn1:"optional"`
		PathLen int  `asn1:"optional,default:-1"`
	}
	type distributionPoint struct {
		FullName []asn1.RawValue `asn1:"tag:0"`
	}
	type wrapped struct {
		Name distributionPoint `asn1:"tag:0"`
	}
	type authorityKey struct {
		ID []byte `asn1:"optional,tag:0"`
	}
	uri := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(p.crl)}
	usage := byte(0)
	for bit := range 8 { // the first named bit is the most significant one
		usage |= byte(p.usage>>bit&1) << (7 - bit)
	}
	length := 8
	for usage>>(8-length)&1 == 0 {
		length--
	}
	for _, e := range []struct {
		id       asn1.ObjectIdentifier
		critical bool
		value    any
	}{
		{oidAuthorityKeyID, false, authorityKey{issuerID}},
		{oidCRLDistribution, false, []wrapped{{distributionPoint{[]asn1.RawValue{uri}}}}},
		{oidSubjectKeyID, false, keyID},
		{oidKeyUsage, true, asn1.BitString{Bytes: []byte{usage}, BitLength: length}},
		{oidBasicConstraints, true, constraints{p.pathLen != notCA, p.pathLen}},
	} {
		der, err := asn1.Marshal(e.value)
		if err != nil {
			return nil, fmt.Errorf("dcap: extension %v: %w", e.id, err)
		}
		out = append(out, pkix.Extension{Id: e.id, Critical: e.critical, Value: der})
	}
	return append(out, p.extra...), nil
}
