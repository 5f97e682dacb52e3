// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/assize/assize/attester/pki"
)

// OCSPFault is what an OCSPService says about one certificate, or does wrong in
// saying that it is good.
type OCSPFault int

const (
	// OCSPHonest is the status that the device was made with.
	OCSPHonest OCSPFault = iota
	// OCSPRevoked is revoked for keyCompromise.
	OCSPRevoked
	// OCSPHold is revoked for certificateHold.
	OCSPHold
	// OCSPUnknown is a certificate that the service does not know.
	OCSPUnknown
	// OCSPStale ended an hour before.
	OCSPStale
	// OCSPEarly begins in a day.
	OCSPEarly
	// OCSPEndless has no nextUpdate.
	OCSPEndless
	// OCSPWrongResponder is signed by the responder of an authority elsewhere.
	OCSPWrongResponder
	// OCSPNoUsage is signed by one whose certificate lacks id-kp-OCSPSigning.
	OCSPNoUsage
	// OCSPNoCheckMissing is signed by one that lacks id-pkix-ocsp-nocheck.
	OCSPNoCheckMissing
	// OCSPResponderExpired is signed by one whose certificate ended an hour before.
	OCSPResponderExpired
	// OCSPForged is signed by a key that is not that of the responder's certificate.
	OCSPForged
	// OCSPOtherNonce repeats another nonce.
	OCSPOtherNonce
	// OCSPNoNonce repeats none.
	OCSPNoNonce
	// OCSPOtherCertificate is about the next serial number.
	OCSPOtherCertificate
	// OCSPRefused is the unsigned error unauthorized.
	OCSPRefused
)

// OCSPService answers requests in DER as NVIDIA's service does, about the chain of
// one device or of one signer of reference values. It is safe for concurrent use.
type OCSPService struct {
	seed   pki.Seed
	path   []*pki.Authority
	faults map[int]OCSPFault
	// listed: a serial number that is not known is good, as with device chains;
	// otherwise unknown, as with those of reference values.
	listed bool
}

// OCSPService makes the service for a device chain. faults are by position of the
// certificate, 0 to 3.
func (d *Device) OCSPService(faults map[int]OCSPFault) *OCSPService {
	s := &OCSPService{d.vendor, d.path[:], map[int]OCSPFault{}, true}
	s.add(map[int]OCSPFault{posDevice: d.status})
	s.add(faults)
	return s
}

// OCSPService makes the service for the chain of reference values, positions 0 to 2.
func (r *RIMSigner) OCSPService(faults map[int]OCSPFault) *OCSPService {
	s := &OCSPService{r.seed, r.path, map[int]OCSPFault{}, false}
	s.add(faults)
	return s
}

func (s *OCSPService) add(faults map[int]OCSPFault) {
	for position, f := range faults {
		if f != OCSPHonest {
			s.faults[position] = f
		}
	}
}

// Answer answers one OCSPRequest at a time: an OCSPResponse in DER, good for a day.
// A request that cannot be read gets the error malformedRequest, one about an issuer
// that is not in the chain unauthorized; both are responses, not errors.
func (s *OCSPService) Answer(request []byte, at time.Time) ([]byte, error) {
	req, err := ocsp.ParseRequest(request)
	if err != nil {
		return ocsp.MalformedRequestErrorResponse, nil
	}
	nonce, err := requestNonce(request)
	if err != nil {
		return ocsp.MalformedRequestErrorResponse, nil
	}
	for i, issuer := range s.path[1:] {
		named, err := concerns(req, issuer.Cert)
		if err != nil {
			return nil, err
		}
		if !named {
			continue
		}
		fault := OCSPHonest
		switch {
		case req.SerialNumber.Cmp(s.path[i].Cert.SerialNumber) == 0:
			fault = s.faults[i]
		case !s.listed:
			fault = OCSPUnknown
		}
		r := reply{request: req, nonce: nonce, fault: fault, at: at.UTC().Truncate(time.Second)}
		return r.sign(s.seed, issuer)
	}
	return ocsp.UnauthorizedErrorResponse, nil
}

// concerns tells whether a request is about a certificate of the issuer.
func concerns(req *ocsp.Request, issuer *x509.Certificate) (bool, error) {
	name, key, err := issuerHashes(issuer, req.HashAlgorithm)
	if err != nil {
		return false, err
	}
	return bytes.Equal(req.IssuerNameHash, name) && bytes.Equal(req.IssuerKeyHash, key), nil
}

// requestNonce finds the nonce in a request, nil without one.
func requestNonce(request []byte) ([]byte, error) {
	var req struct {
		TBS struct {
			List       asn1.RawValue
			Extensions []pkix.Extension `asn1:"explicit,optional,tag:2"`
		}
	}
	if _, err := asn1.Unmarshal(request, &req); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(req.TBS.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidOCSPNonce) })
	if i < 0 {
		return nil, nil
	}
	var nonce []byte
	if rest, err := asn1.Unmarshal(req.TBS.Extensions[i].Value, &nonce); err != nil || len(rest) > 0 {
		return nil, errors.New("nvidia: malformed nonce")
	}
	return nonce, nil
}

// reply is one answer to be made.
type reply struct {
	request *ocsp.Request
	nonce   []byte
	fault   OCSPFault
	at      time.Time
}

// sign makes the answer.
func (r reply) sign(seed pki.Seed, issuer *pki.Authority) ([]byte, error) {
	if r.fault == OCSPRefused {
		return ocsp.UnauthorizedErrorResponse, nil
	}
	responder, key, err := r.responder(seed, issuer)
	if err != nil {
		return nil, err
	}
	single, err := r.single()
	if err != nil {
		return nil, err
	}
	data := [][]byte{tlv(derConstructed|2, tlv(derOctets, responder.Cert.SubjectKeyId)), generalizedTime(r.produced()), tlv(derSequence, single)}
	if nonce := r.repeat(); nonce != nil {
		e := tlv(derSequence, oid(oidOCSPNonce), tlv(derOctets, tlv(derOctets, nonce)))
		data = append(data, tlv(derConstructed|1, tlv(derSequence, e)))
	}
	tbs := tlv(derSequence, data...)
	if r.fault == OCSPForged {
		if key, err = seed.Sub("ocsp", "nobody").ECDSA(elliptic.P384()); err != nil {
			return nil, err
		}
	}
	h := crypto.SHA384.New()
	h.Write(tbs)
	signature, err := pki.SignDER(key, crypto.SHA384, h.Sum(nil))
	if err != nil {
		return nil, err
	}
	basic := tlv(derSequence, tbs, tlv(derSequence, oid(oidECDSASHA384)), bits(signature), tlv(derConstructed, tlv(derSequence, responder.Cert.Raw)))
	return tlv(derSequence, []byte{derEnum, 1, 0}, tlv(derConstructed, tlv(derSequence, oid(oidBasicOCSP), tlv(derOctets, basic)))), nil
}

// repeat is the nonce of the answer.
func (r reply) repeat() []byte {
	switch {
	case r.nonce == nil, r.fault == OCSPNoNonce:
		return nil
	case r.fault == OCSPOtherNonce:
		other := bytes.Clone(r.nonce)
		other[len(other)-1] ^= 1
		return other
	}
	return r.nonce
}

// produced is when the answer was made, and when its status was true.
func (r reply) produced() time.Time {
	switch r.fault {
	case OCSPStale:
		return r.at.Add(-time.Hour - ocspLife)
	case OCSPEarly:
		return r.at.Add(ocspLife)
	}
	return r.at
}

// single is the status of the certificate.
func (r reply) single() ([]byte, error) {
	hashes := map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA1: oidSHA1, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA384: oidSHA384,
	}
	alg, ok := hashes[r.request.HashAlgorithm]
	if !ok {
		return nil, fmt.Errorf("nvidia: OCSP with %v, expected SHA-1, SHA-256 or SHA-384", r.request.HashAlgorithm)
	}
	serial := r.request.SerialNumber
	if r.fault == OCSPOtherCertificate {
		serial = new(big.Int).Add(serial, big.NewInt(1))
	}
	parts := [][]byte{
		tlv(derSequence, tlv(derSequence, oid(alg), tlv(derNull)),
			tlv(derOctets, r.request.IssuerNameHash), tlv(derOctets, r.request.IssuerKeyHash), integer(serial)),
		r.status(), generalizedTime(r.produced()),
	}
	if r.fault != OCSPEndless {
		parts = append(parts, tlv(derConstructed, generalizedTime(r.produced().Add(ocspLife))))
	}
	return tlv(derSequence, parts...), nil
}

func (r reply) status() []byte {
	reason := byte(reasonKeyCompromise)
	switch r.fault {
	case OCSPUnknown:
		return tlv(derContext | 2)
	case OCSPHold:
		reason = reasonHold
	case OCSPRevoked:
	default:
		return tlv(derContext)
	}
	return tlv(derConstructed|1, generalizedTime(r.at.Add(-time.Hour)), tlv(derConstructed, []byte{derEnum, 1, reason}))
}

// responder is who signs for the issuer, with the fault in its certificate.
func (r reply) responder(seed pki.Seed, issuer *pki.Authority) (*pki.Authority, *ecdsa.PrivateKey, error) {
	seed = seed.Sub("ocsp", issuer.Cert.SerialNumber.String())
	switch r.fault {
	case OCSPWrongResponder:
		elsewhere, err := authority(nil, seed.Sub("elsewhere"), request{
			subject: issuer.Cert.RawSubject, from: issuer.Cert.NotBefore, until: issuer.Cert.NotAfter,
		}, isCA(true, false), usage(usageCertCRL))
		if err != nil {
			return nil, nil, err
		}
		return delegate(seed, elsewhere)
	case OCSPNoUsage, OCSPNoCheckMissing, OCSPResponderExpired:
	default:
		return delegate(seed, issuer)
	}
	key, err := seed.ECDSA(elliptic.P384())
	if err != nil {
		return nil, nil, err
	}
	id, err := keyID(key)
	if err != nil {
		return nil, nil, err
	}
	extensions := []pkix.Extension{isCA(false, false), usage(usageSign)}
	if r.fault != OCSPNoUsage {
		extensions = append(extensions, ext(oidExtKeyUsage, true, tlv(derSequence, oid(oidOCSPSigning))))
	}
	if r.fault != OCSPNoCheckMissing {
		extensions = append(extensions, ext(oidOCSPNoCheck, false, tlv(derNull)))
	}
	until := issuer.Cert.NotAfter
	if r.fault == OCSPResponderExpired {
		until = r.at.Add(-time.Hour)
	}
	a, err := issue(issuer, key, request{
		subject: name(commonName(maker+" OCSP"), organization(maker)), serial: seed.Serial(), from: issuer.Cert.NotBefore, until: until,
		extensions: append(extensions, keyIDs(id, issuer.Cert.SubjectKeyId)...),
	})
	return a, key, err
}
