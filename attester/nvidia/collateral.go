// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Reasons of revocation (RFC 5280, section 5.3.1).
const (
	reasonKeyCompromise = 1
	reasonHold          = 6
)

const (
	ocspLife  = 24 * time.Hour
	crlNumber = 1
	crlLife   = 30 * 24 * time.Hour
)

var (
	oidBasicOCSP   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidOCSPNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidOCSPSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 9}
	oidECDSASHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidSHA1        = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
)

// OCSPQuery asks for the status of one certificate of a chain.
type OCSPQuery struct {
	// Position of the certificate: 1..3 in a device chain (NVIDIA's service is
	// not asked about the leaf, which the device made), 0..2 in a RIM chain.
	Position int
	// Hash names the certificate in the answer: crypto.SHA1 or crypto.SHA384,
	// zero means the latter.
	Hash crypto.Hash
	// Nonce comes back in the answer if there is one.
	Nonce []byte
	// At is the time of the answer, which is good for a day; zero means
	// Options.Now.
	At time.Time
}

// OCSP answers as the service that the certificates name would: an
// OCSPResponse in DER (RFC 6960), signed by a responder that the issuer of the
// certificate delegated.
func (d *Device) OCSP(q OCSPQuery) ([]byte, error) {
	if q.Position < posDevice || q.Position >= posRoot {
		return nil, fmt.Errorf("nvidia: position %d, expected %d..%d", q.Position, posDevice, posRoot-1)
	}
	reason := 0
	if q.Position == posDevice && d.revoked {
		reason = reasonKeyCompromise
	}
	if q.Position == posDevice && d.held {
		reason = reasonHold
	}
	return answer(d.vendor, d.path[q.Position].Cert, d.path[q.Position+1], reason, q.at(d.now))
}

// OCSP is the same for a certificate of the RIM chain, and always good.
func (r *RIMSigner) OCSP(q OCSPQuery) ([]byte, error) {
	if last := len(r.path) - 2; q.Position < 0 || q.Position > last {
		return nil, fmt.Errorf("nvidia: position %d, expected 0..%d", q.Position, last)
	}
	return answer(r.seed, r.path[q.Position].Cert, r.path[q.Position+1], 0, q.at(r.now))
}

// Endorsements are OCSP answers for the certificates 1 to 3, without a nonce,
// and the revocation lists that the certificates 2 and 3 name: file name to
// DER. Devices with the same vendor and Now have the same bytes under the same
// name.
func (d *Device) Endorsements() (map[string][]byte, error) {
	out := map[string][]byte{}
	for i := posDevice; i < posRoot; i++ {
		der, err := d.OCSP(OCSPQuery{Position: i})
		if err != nil {
			return nil, err
		}
		out["nvidia-ocsp-"+hex.EncodeToString(d.path[i].Cert.SerialNumber.Bytes())+".der"] = der
	}
	for _, list := range []struct {
		position int
		file     string
	}{{posRoot, rootCRL}, {posFamily, d.model.crl}} {
		der, err := d.path[list.position].CRL(crlNumber, d.now.Add(-time.Hour), d.now.Add(crlLife))
		if err != nil {
			return nil, err
		}
		out["nvidia-"+list.file] = der
	}
	return out, nil
}

func (q OCSPQuery) at(now time.Time) OCSPQuery {
	if q.At.IsZero() {
		q.At = now
	}
	q.At = q.At.Truncate(time.Second)
	return q
}

// answer makes and signs the response. reason 0 means good.
func answer(vendor pki.Seed, cert *x509.Certificate, issuer *pki.Authority, reason int, q OCSPQuery) ([]byte, error) {
	responder, key, err := delegate(vendor.Sub("ocsp", issuer.Cert.SerialNumber.String()), issuer)
	if err != nil {
		return nil, err
	}
	id, err := certID(cert, issuer.Cert, q.Hash)
	if err != nil {
		return nil, err
	}
	status := tlv(derContext) // good
	if reason != 0 {
		status = tlv(derConstructed|1, generalizedTime(q.At.Add(-time.Hour)), tlv(derConstructed, []byte{derEnum, 1, byte(reason)}))
	}
	single := tlv(derSequence, id, status, generalizedTime(q.At), tlv(derConstructed, generalizedTime(q.At.Add(ocspLife))))
	data := [][]byte{tlv(derConstructed|2, tlv(derOctets, responder.Cert.SubjectKeyId)), generalizedTime(q.At), tlv(derSequence, single)}
	if q.Nonce != nil {
		nonce := tlv(derSequence, oid(oidOCSPNonce), tlv(derOctets, tlv(derOctets, q.Nonce)))
		data = append(data, tlv(derConstructed|1, tlv(derSequence, nonce)))
	}
	tbs := tlv(derSequence, data...)
	h := crypto.SHA384.New()
	h.Write(tbs)
	signature, err := pki.SignDER(key, crypto.SHA384, h.Sum(nil))
	if err != nil {
		return nil, err
	}
	basic := tlv(derSequence, tbs, tlv(derSequence, oid(oidECDSASHA384)), bits(signature), tlv(derConstructed, tlv(derSequence, responder.Cert.Raw)))
	bytes := tlv(derSequence, oid(oidBasicOCSP), tlv(derOctets, basic))
	return tlv(derSequence, []byte{derEnum, 1, 0}, tlv(derConstructed, bytes)), nil
}

// certID names a certificate by digests of its issuer and its serial number.
func certID(cert, issuer *x509.Certificate, hash crypto.Hash) ([]byte, error) {
	alg := oidSHA384
	switch hash {
	case 0, crypto.SHA384:
		hash = crypto.SHA384
	case crypto.SHA1:
		alg = oidSHA1
	default:
		return nil, fmt.Errorf("nvidia: OCSP with %v, expected SHA-1 or SHA-384", hash)
	}
	key, ok := issuer.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("nvidia: issuer %q without an ECDSA key", issuer.Subject)
	}
	point, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	digest := func(b []byte) []byte {
		h := hash.New()
		h.Write(b)
		return tlv(derOctets, h.Sum(nil))
	}
	return tlv(derSequence, tlv(derSequence, oid(alg), tlv(derNull)), digest(cert.RawIssuer), digest(point), integer(cert.SerialNumber)), nil
}

// delegate makes the responder of an issuer: an end entity for OCSP signing,
// which needs no revocation check of its own.
func delegate(seed pki.Seed, issuer *pki.Authority) (*pki.Authority, *ecdsa.PrivateKey, error) {
	key, err := seed.ECDSA(elliptic.P384())
	if err != nil {
		return nil, nil, err
	}
	id, err := keyID(key)
	if err != nil {
		return nil, nil, err
	}
	subject := strings.TrimPrefix(issuer.Cert.Subject.CommonName, maker+" ")
	a, err := issue(issuer, key, request{
		subject: name(commonName(maker+" OCSP of "+subject), organization(maker)),
		serial:  seed.Serial(), from: issuer.Cert.NotBefore, until: issuer.Cert.NotAfter,
		extensions: append([]pkix.Extension{
			isCA(false, false), usage(usageSign), ext(oidExtKeyUsage, true, tlv(derSequence, oid(oidOCSPSigning))), ext(oidOCSPNoCheck, false, tlv(derNull)),
		}, keyIDs(id, issuer.Cert.SubjectKeyId)...),
	})
	return a, key, err
}
