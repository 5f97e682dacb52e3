// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/verdict"
)

// Subject names by which Intel tells its certificates apart (Intel SGX PCK
// Certificate and CRL Profile Specification).
const (
	cnPCK        = "Intel SGX PCK Certificate"
	cnPlatform   = "Intel SGX PCK Platform CA"
	cnProcessor  = "Intel SGX PCK Processor CA"
	cnTCBSigning = "Intel SGX TCB Signing"
)

// PCK is a PCK certificate whose chain was verified, with what its SGX extension
// says. It is immutable. That it is valid at some time, and not revoked, is not
// part of it: see Outside and Verifier.Judge.
type PCK struct {
	*verified
	// Key verifies the report of the quoting enclave.
	Key *ecdsa.PublicKey
	// CA is which of Intel's CAs issued it: "platform" or "processor".
	CA string
	// SGXSVN are the 16 SGX TCB component SVNs.
	SGXSVN [16]byte
	PCESVN uint16
	// PPID (16 bytes), PCEID (2), FMSPC (6) and PlatformInstance (16) are
	// lower-case hexadecimal; the last is empty in certificates without it.
	PPID, PCEID, FMSPC, PlatformInstance string
	// Configuration are the flags of a multi-package platform that are stated:
	// "dynamic_platform", "cached_keys", "smt_enabled".
	Configuration map[string]bool
	// RootDigest is the SHA-256 of the trusted root, lower-case hexadecimal.
	RootDigest string

	// caID and rootID find revocations of the leaf and of the CA; the serial
	// numbers of both are decimal.
	caID, rootID         issuerID
	leafSerial, caSerial string
}

// Leaf is the PCK certificate, Issuer its CA and Root the trusted root.
func (p *PCK) Leaf() *x509.Certificate { return p.certs[0] }

// Issuer see Leaf.
func (p *PCK) Issuer() *x509.Certificate { return p.certs[1] }

// Root see Leaf.
func (p *PCK) Root() *x509.Certificate { return p.certs[2] }

// Certificates are leaf, CA and trusted root; they must not be changed.
func (p *PCK) Certificates() []*x509.Certificate { return p.certs }

// Outside says which certificate of the chain is not valid at a time; empty if all
// are.
func (p *PCK) Outside(t time.Time) string { return firstOutside(p.windows, t) }

// Device is the identity of the platform: the PPID, which Intel certifies in
// the PCK certificate and which no two platforms share. A quote holds nothing
// that tells two TDs or enclaves of one platform apart, so two CPU components
// with one PPID are, as far as anyone can prove, one CPU answering twice. A PPID
// of zero, as in certificates that hide it, identifies nothing.
func (p *PCK) Device() []string {
	if raw, err := hex.DecodeString(p.PPID); err != nil || AllZero(raw) {
		return nil
	}
	return []string{"intel-platform:" + p.PPID}
}

// AllZero says whether all bytes are zero; nothing is.
func AllZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// pck verifies the DER certificates of a PCK chain, target first.
func (rs roots) pck(ders [][]byte) (*PCK, *Failure) {
	certs, err := parseChain(ders)
	if err != nil {
		return nil, Failf(verdict.ReasonMalformed, "PCK certificate chain: %v", err)
	}
	ver, f := rs.verify(certs)
	if f != nil {
		return nil, f
	}
	if len(ver.certs) != 3 {
		return nil, Failf(verdict.ReasonChainInvalid, "PCK chain has %d certificates, expected leaf, CA and root", len(ver.certs))
	}
	p := &PCK{verified: ver}
	if p.CA = caKind(p.Issuer()); p.CA == "" {
		return nil, Failf(verdict.ReasonChainInvalid, "PCK certificate is issued by %q, expected a PCK Platform or Processor CA",
			p.Issuer().Subject.CommonName)
	}
	if cn := p.Leaf().Subject.CommonName; cn != cnPCK || p.Leaf().IsCA {
		return nil, Failf(verdict.ReasonChainInvalid, "leaf certificate is %q, expected %q", cn, cnPCK)
	}
	p.Key, _ = p256Key(p.Leaf())
	digest := sha256.Sum256(p.Root().Raw)
	p.RootDigest = hex.EncodeToString(digest[:])
	p.caID, p.rootID = newIssuerID(p.Root(), p.Issuer()), newIssuerID(p.Root(), p.Root())
	p.leafSerial, p.caSerial = p.Leaf().SerialNumber.String(), p.Issuer().SerialNumber.String()
	if err := p.readExtension(p.Leaf()); err != nil {
		return nil, Failf(verdict.ReasonChainInvalid, "SGX extension of the PCK certificate: %v", err)
	}
	return p, nil
}

// caKind is "platform" or "processor" for a PCK CA, and empty otherwise.
func caKind(c *x509.Certificate) string {
	return map[string]string{cnPlatform: "platform", cnProcessor: "processor"}[c.Subject.CommonName]
}

// oidSGX is the SGX extension of a PCK certificate (Intel SGX PCK Certificate and
// CRL Profile Specification, section 1.3.5).
var oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}

// entry is one named value of the SGX extension.
type entry struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// entries reads a sequence of named values, whose names are one number below a
// prefix, each at most once.
func entries(der []byte, prefix asn1.ObjectIdentifier) (map[int]asn1.RawValue, error) {
	var list []entry
	rest, err := asn1.Unmarshal(der, &list)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes behind %v", len(rest), prefix)
	}
	out := map[int]asn1.RawValue{}
	for _, e := range list {
		n := len(prefix)
		if len(e.ID) != n+1 || !e.ID[:n].Equal(prefix) {
			return nil, fmt.Errorf("member %v is not below %v", e.ID, prefix)
		}
		if _, twice := out[e.ID[n]]; twice {
			return nil, fmt.Errorf("member %v is there twice", e.ID)
		}
		out[e.ID[n]] = e.Value
	}
	return out, nil
}

func below(oid asn1.ObjectIdentifier, n int) asn1.ObjectIdentifier {
	return append(oid[:len(oid):len(oid)], n)
}

// value decodes one member, all of it. An absent member is an error.
func value(m map[int]asn1.RawValue, n int, out any) error {
	v, ok := m[n]
	if !ok {
		return fmt.Errorf("member %d is missing", n)
	}
	if rest, err := asn1.Unmarshal(v.FullBytes, out); err != nil || len(rest) > 0 {
		return fmt.Errorf("member %d is not what it has to be", n)
	}
	return nil
}

// readExtension takes the SGX extension apart. It runs after the chain was
// verified, so the bytes are Intel's.
func (p *PCK) readExtension(leaf *x509.Certificate) error {
	var members map[int]asn1.RawValue
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(oidSGX) {
			continue
		}
		var err error
		if members, err = entries(e.Value, oidSGX); err != nil {
			return err
		}
	}
	if members == nil {
		return errors.New("it is missing")
	}
	for _, f := range []struct {
		number, size int
		out          *string
		optional     bool
	}{{1, 16, &p.PPID, false}, {3, 2, &p.PCEID, false}, {4, 6, &p.FMSPC, false}, {6, 16, &p.PlatformInstance, true}} {
		if _, ok := members[f.number]; !ok && f.optional {
			continue
		}
		var b []byte
		if err := value(members, f.number, &b); err != nil {
			return err
		}
		if len(b) != f.size {
			return fmt.Errorf("member %d has %d bytes, expected %d", f.number, len(b), f.size)
		}
		*f.out = hex.EncodeToString(b)
	}
	if err := p.readTCB(members[2].FullBytes); err != nil {
		return fmt.Errorf("TCB: %w", err)
	}
	if c, ok := members[7]; ok {
		return p.readConfiguration(c.FullBytes)
	}
	return nil
}

func (p *PCK) readTCB(der []byte) error {
	members, err := entries(der, below(oidSGX, 2))
	if err != nil {
		return err
	}
	for i := range 17 {
		var n, most = 0, 255
		if i == 16 {
			most = 65535
		}
		if err := value(members, i+1, &n); err != nil {
			return err
		}
		if n < 0 || n > most {
			return fmt.Errorf("SVN %d is %d, at most %d", i+1, n, most)
		}
		if i == 16 {
			p.PCESVN = uint16(n)
			continue
		}
		p.SGXSVN[i] = byte(n)
	}
	return nil
}

func (p *PCK) readConfiguration(der []byte) error {
	members, err := entries(der, below(oidSGX, 7))
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	p.Configuration = map[string]bool{}
	for i, name := range []string{"dynamic_platform", "cached_keys", "smt_enabled"} {
		if _, ok := members[i+1]; !ok {
			continue
		}
		var b bool
		if err := value(members, i+1, &b); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
		p.Configuration[name] = b
	}
	return nil
}
