// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/google/go-tdx-guest/pcs"
)

// Subject names by which Intel tells its certificates apart (Intel SGX PCK
// Certificate and CRL Profile Specification).
const (
	cnPCK        = "Intel SGX PCK Certificate"
	cnPlatform   = "Intel SGX PCK Platform CA"
	cnProcessor  = "Intel SGX PCK Processor CA"
	cnTCBSigning = "Intel SGX TCB Signing"
)

// pckChain is a PCK certificate whose chain was verified, with what its SGX
// extension says. It is immutable.
type pckChain struct {
	*verified
	key *ecdsa.PublicKey
	// caKind is "platform" or "processor".
	caKind string
	// sgxSVN are the 16 SGX TCB component SVNs.
	sgxSVN [16]byte
	pceSVN uint16
	// ppid, pceID and fmspc are lower-case hexadecimal.
	ppid, pceID, fmspc string
	// rootDigest is the SHA-256 of the trusted root, lower-case hexadecimal.
	rootDigest string
	// caID and rootID find revocations of the leaf and of the CA; the serial
	// numbers of both are decimal.
	caID, rootID         issuerID
	leafSerial, caSerial string
}

func (p *pckChain) leaf() *x509.Certificate { return p.certs[0] }
func (p *pckChain) ca() *x509.Certificate   { return p.certs[1] }

// pck verifies the DER certificates of a PCK chain, target first.
func (rs roots) pck(ders [][]byte) (*pckChain, *failure) {
	certs, err := parseChain(ders)
	if err != nil {
		return nil, failf(verdict.ReasonMalformed, "PCK certificate chain: %v", err)
	}
	ver, f := rs.verify(certs)
	if f != nil {
		return nil, f
	}
	p := &pckChain{verified: ver}
	if len(ver.certs) != 3 {
		return nil, failf(verdict.ReasonChainInvalid, "PCK chain has %d certificates, expected leaf, CA and root", len(ver.certs))
	}
	switch cn := p.ca().Subject.CommonName; cn {
	case cnPlatform:
		p.caKind = "platform"
	case cnProcessor:
		p.caKind = "processor"
	default:
		return nil, failf(verdict.ReasonChainInvalid, "PCK certificate is issued by %q, expected a PCK Platform or Processor CA", cn)
	}
	if cn := p.leaf().Subject.CommonName; cn != cnPCK || p.leaf().IsCA {
		return nil, failf(verdict.ReasonChainInvalid, "leaf certificate is %q, expected %q", cn, cnPCK)
	}
	p.key, _ = p256Key(p.leaf())
	digest := sha256.Sum256(p.certs[2].Raw)
	p.rootDigest = hex.EncodeToString(digest[:])
	p.caID, p.rootID = newIssuerID(p.certs[2], p.ca()), newIssuerID(p.certs[2], p.certs[2])
	p.leafSerial, p.caSerial = p.leaf().SerialNumber.String(), p.ca().SerialNumber.String()
	if err := p.readExtension(); err != nil {
		return nil, failf(verdict.ReasonChainInvalid, "SGX extension of the PCK certificate: %v", err)
	}
	return p, nil
}

// readExtension takes the SGX extension (OID 1.2.840.113741.1.13.1) apart. It
// runs after the chain was verified, so the bytes are Intel's.
func (p *pckChain) readExtension() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("library panic: %v", r)
		}
	}()
	ext, err := pcs.PckCertificateExtensions(p.leaf())
	if err != nil {
		return err
	}
	if len(ext.FMSPC) != 12 || len(ext.PCEID) != 4 || len(ext.PPID) != 32 || len(ext.TCB.CPUSvnComponents) != 16 {
		return errors.New("FMSPC, PCE ID, PPID or TCB is missing")
	}
	p.fmspc, p.pceID, p.ppid, p.pceSVN = ext.FMSPC, ext.PCEID, ext.PPID, ext.TCB.PCESvn
	copy(p.sgxSVN[:], ext.TCB.CPUSvnComponents)
	return nil
}

// verifyQuote checks everything that a quote proves by itself: PCK chain, QE
// report, attestation key and quote signature. Time is not looked at. A chain
// is remembered by its DER certificates, and only once it has borne out a
// quote: nobody fills the cache with what he can copy or re-wrap.
func (v *verifier) verifyQuote(q *quote) (*pckChain, *ecdsa.PublicKey, *failure) {
	ders, err := splitPEM(q.chain)
	if err != nil {
		return nil, nil, failf(verdict.ReasonMalformed, "PCK certificate chain: %v", err)
	}
	id := digestOf(ders...)
	p, known := v.chains.Get(id)
	if !known {
		var f *failure
		if p, f = v.roots.pck(ders); f != nil {
			return nil, nil, f
		}
	}
	key, f := q.verify(p)
	if f != nil {
		return nil, nil, f
	}
	if !known {
		v.chains.Put(id, p)
	}
	return p, key, nil
}

// verify checks the three links from the PCK key to the quote.
func (q *quote) verify(p *pckChain) (*ecdsa.PublicKey, *failure) {
	if !verifyP256(p.key, q.qeReport, q.qeSig) {
		return nil, failf(verdict.ReasonSignatureInvalid, "QE report is not signed by the PCK key")
	}
	h := sha256.New()
	h.Write(q.attKey)
	h.Write(q.qeAuth)
	var want [64]byte
	h.Sum(want[:0])
	if subtle.ConstantTimeCompare(want[:], q.qeReportData()) != 1 {
		return nil, failf(verdict.ReasonSignatureInvalid,
			"attestation key is not the one that the QE certified: expected SHA-256 %s, QE report data %s",
			hex.EncodeToString(want[:8]), hex.EncodeToString(q.qeReportData()[:8]))
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, q.attKey...))
	if err != nil {
		return nil, failf(verdict.ReasonSignatureInvalid, "attestation key is no point of P-256")
	}
	if !verifyP256(key, q.signed, q.signature) {
		return nil, failf(verdict.ReasonSignatureInvalid, "quote is not signed by the attestation key")
	}
	return key, nil
}
