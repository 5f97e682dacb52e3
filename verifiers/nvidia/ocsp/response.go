// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Media types of requests and responses over HTTP (RFC 6960, appendix A).
const (
	RequestType  = "application/ocsp-request"
	ResponseType = "application/ocsp-response"
)

const (
	// MaxResponse is the largest response in bytes. One with a P-384 responder
	// has about 1 KiB, with RSA and a chain of certificates a few.
	MaxResponse = 32 << 10
	// MaxNonce is the longest nonce in bytes (RFC 9654, section 2.1).
	MaxNonce = 128

	maxExtensions   = 16
	maxCertificates = 4
	keyHashSize     = 20 // SHA-1, in ResponderID
)

var (
	oidBasic   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
)

// ResponderError is a response that is none: the responder refuses to say
// anything. Nothing in it is signed.
type ResponderError struct {
	// Status is OCSPResponseStatus: 1 malformed request, 2 internal error, 3 try
	// later, 5 signature required, 6 unauthorized, which NVIDIA's service says about
	// issuers that it does not know (RFC 6960, section 4.2.1).
	Status int
}

// Error implements error.
func (e *ResponderError) Error() string {
	names := map[int]string{1: "malformed request", 2: "internal error", 3: "try later", 5: "signature required", 6: "unauthorized"}
	name, ok := names[e.Status]
	if !ok {
		name = "not a status of RFC 6960"
	}
	return fmt.Sprintf("ocsp: the responder answers with error %d (%s)", e.Status, name)
}

// Response is what one successful response says about one certificate. Nothing of
// it is verified: only a Checker can tell what it is worth. It is immutable.
type Response struct {
	raw    []byte
	digest [32]byte // SHA-256 of raw

	id        certID
	status    Status // Good, Revoked, Hold or Unknown
	reason    int
	revokedAt time.Time
	// next is zero if there is none.
	produced, this, next time.Time
	nonce                []byte // nil without one

	// Either of the two says who signed.
	responderName, responderKey []byte
	responder                   *x509.Certificate // the first embedded one, or nil

	tbs       []byte
	algorithm x509.SignatureAlgorithm // zero: not one that counts
}

// Digest is the SHA-256 of the response.
func (r *Response) Digest() [32]byte { return r.digest }

// Serial is the serial number of the certificate that the response is about, in
// lower-case hexadecimal.
func (r *Response) Serial() string { return hex.EncodeToString([]byte(r.id.serial)) }

// Window is when the response is meant to be used: from thisUpdate until
// nextUpdate, zero without one.
func (r *Response) Window() (this, next time.Time) { return r.this, r.next }

// Parse reads an OCSPResponse (RFC 6960, section 4.2.1): one DER value of at most
// MaxResponse bytes, successful, of the basic type, about exactly one certificate
// (RFC 9919, section 3.2.1). A response without success is a *ResponderError. raw must
// not be changed afterwards.
func Parse(raw []byte) (*Response, error) {
	if len(raw) > MaxResponse {
		return nil, fmt.Errorf("ocsp: response of %d bytes, at most %d", len(raw), MaxResponse)
	}
	body, err := only(raw, cbasn1.SEQUENCE, "response")
	if err != nil {
		return nil, err
	}
	var status int
	if !body.ReadASN1Enum(&status) {
		return nil, wrong("response", "no status")
	}
	if status != 0 {
		if !body.Empty() {
			return nil, wrong("response", "status %d with %d bytes behind it", status, len(body))
		}
		return nil, &ResponderError{status}
	}
	if body, err = only(body, explicit(0), "responseBytes"); err != nil {
		return nil, err
	}
	if body, err = only(body, cbasn1.SEQUENCE, "responseBytes"); err != nil {
		return nil, err
	}
	var kind asn1.ObjectIdentifier
	if !body.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(oidBasic) {
		return nil, wrong("responseType", "%v, expected %v", kind, oidBasic)
	}
	if body, err = only(body, cbasn1.OCTET_STRING, "BasicOCSPResponse"); err != nil {
		return nil, err
	}
	r := &Response{raw: raw, digest: sha256.Sum256(raw)}
	if err := r.basic(body); err != nil {
		return nil, err
	}
	return r, nil
}

// basic reads the BasicOCSPResponse.
func (r *Response) basic(in cryptobyte.String) error {
	in, err := only(in, cbasn1.SEQUENCE, "BasicOCSPResponse")
	if err != nil {
		return err
	}
	var tbs, data cryptobyte.String
	if !in.ReadASN1Element(&tbs, cbasn1.SEQUENCE) {
		return wrong("tbsResponseData", "no SEQUENCE")
	}
	r.tbs = tbs
	if !tbs.ReadASN1(&data, cbasn1.SEQUENCE) {
		return wrong("tbsResponseData", "no SEQUENCE")
	}
	if err := r.data(data); err != nil {
		return err
	}
	a, err := readAlgorithm(&in, "signatureAlgorithm")
	if err != nil {
		return err
	}
	r.algorithm = signatureAlgorithm(a)
	var signature []byte
	if !in.ReadASN1BitStringAsBytes(&signature) {
		return wrong("signature", "no BIT STRING of whole bytes")
	}
	if in.Empty() {
		return nil
	}
	if in, err = only(in, explicit(0), "certs"); err != nil {
		return err
	}
	return r.certificates(in)
}

// certificates takes the first one for that of the responder, as all known
// responders write them and as golang.org/x/crypto/ocsp reads them.
func (r *Response) certificates(in cryptobyte.String) error {
	list, err := only(in, cbasn1.SEQUENCE, "certs")
	if err != nil {
		return err
	}
	n := 0
	for ; !list.Empty(); n++ {
		var der cryptobyte.String
		if !list.ReadASN1Element(&der, cbasn1.SEQUENCE) {
			return wrong("certs", "certificate %d is no SEQUENCE", n)
		}
		if n == maxCertificates {
			return wrong("certs", "more than %d certificates", maxCertificates)
		}
		if n > 0 {
			continue
		}
		if r.responder, err = x509.ParseCertificate(der); err != nil {
			return wrong("certs", "certificate of the responder: %v", err)
		}
	}
	if n == 0 {
		return wrong("certs", "there, and empty")
	}
	return nil
}

// data reads ResponseData.
func (r *Response) data(in cryptobyte.String) error {
	if in.PeekASN1Tag(explicit(0)) {
		var wrapped cryptobyte.String
		var version int
		if !in.ReadASN1(&wrapped, explicit(0)) || !wrapped.ReadASN1Integer(&version) || !wrapped.Empty() || version != 0 {
			return wrong("version", "expected v1")
		}
	}
	if err := r.responderID(&in); err != nil {
		return err
	}
	var err error
	if r.produced, err = readTime(&in, "producedAt"); err != nil {
		return err
	}
	var list, single cryptobyte.String
	if !in.ReadASN1(&list, cbasn1.SEQUENCE) {
		return wrong("responses", "no SEQUENCE")
	}
	if single, err = only(list, cbasn1.SEQUENCE, "responses (exactly one SingleResponse)"); err != nil {
		return err
	}
	if err := r.single(single); err != nil {
		return err
	}
	if in.Empty() {
		return nil
	}
	if in, err = only(in, explicit(1), "responseExtensions"); err != nil {
		return err
	}
	return r.extensions(in)
}

func (r *Response) responderID(in *cryptobyte.String) error {
	var id cryptobyte.String
	var tag cbasn1.Tag
	if !in.ReadAnyASN1(&id, &tag) {
		return wrong("responderID", "missing")
	}
	switch tag {
	case explicit(1):
		name, err := only(id, cbasn1.SEQUENCE, "responderID")
		if err != nil {
			return err
		}
		if name.Empty() {
			return wrong("responderID", "empty name")
		}
		r.responderName = id
	case explicit(2):
		key, err := only(id, cbasn1.OCTET_STRING, "responderID")
		if err != nil {
			return err
		}
		if len(key) != keyHashSize {
			return wrong("responderID", "key hash of %d bytes, expected %d", len(key), keyHashSize)
		}
		r.responderKey = key
	default:
		return wrong("responderID", "neither byName nor byKey")
	}
	return nil
}

// single reads a SingleResponse.
func (r *Response) single(in cryptobyte.String) error {
	if err := r.certID(&in); err != nil {
		return err
	}
	if err := r.certStatus(&in); err != nil {
		return err
	}
	var err error
	if r.this, err = readTime(&in, "thisUpdate"); err != nil {
		return err
	}
	if in.PeekASN1Tag(explicit(0)) {
		var wrapped cryptobyte.String
		if !in.ReadASN1(&wrapped, explicit(0)) {
			return wrong("nextUpdate", "malformed")
		}
		if r.next, err = readTime(&wrapped, "nextUpdate"); err != nil {
			return err
		}
		if !wrapped.Empty() || r.next.Before(r.this) {
			return wrong("nextUpdate", "before thisUpdate, or more than one")
		}
	}
	if in.Empty() {
		return nil
	}
	if in, err = only(in, explicit(1), "singleExtensions"); err != nil {
		return err
	}
	list, err := readExtensions(in, "singleExtensions")
	for _, e := range list {
		if e.critical {
			return wrong("singleExtensions", "critical extension %v is not known", e.oid)
		}
	}
	return err
}

func (r *Response) certID(in *cryptobyte.String) error {
	var seq, name, key, serial cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return wrong("certID", "no SEQUENCE")
	}
	a, err := readAlgorithm(&seq, "certID")
	if err != nil {
		return err
	}
	hash, ok := hashByOID(a.oid)
	if !ok || a.params != nil && !a.null() {
		return wrong("certID", "hash algorithm %v, expected SHA-1, SHA-256 or SHA-384", a.oid)
	}
	if !seq.ReadASN1(&name, cbasn1.OCTET_STRING) || !seq.ReadASN1(&key, cbasn1.OCTET_STRING) || len(name) != hash.Size() || len(key) != hash.Size() {
		return wrong("certID", "expected two digests of %d bytes", hash.Size())
	}
	if !seq.ReadASN1(&serial, cbasn1.INTEGER) || !seq.Empty() {
		return wrong("certID", "expected a serial number and nothing else")
	}
	switch {
	case len(serial) == 0, serial[0] >= 0x80:
		return wrong("certID", "the serial number is empty or negative")
	case len(serial) > 1 && serial[0] == 0 && serial[1] < 0x80:
		return wrong("certID", "the serial number is not in DER")
	case serial[0] == 0:
		serial = serial[1:]
	}
	if len(serial) > maxSerial {
		return wrong("certID", "serial number of %d bytes, at most %d", len(serial), maxSerial)
	}
	r.id = certID{hash, string(name), string(key), string(serial)}
	return nil
}

// certStatus reads the CHOICE good, revoked, unknown. Reasons that RFC 5280 does
// not know are revocations like any other.
func (r *Response) certStatus(in *cryptobyte.String) error {
	const good, unknown = cbasn1.Tag(0x80), cbasn1.Tag(0x82) // implicit NULL
	var value cryptobyte.String
	var tag cbasn1.Tag
	if !in.ReadAnyASN1(&value, &tag) {
		return wrong("certStatus", "missing")
	}
	switch tag {
	case good:
		r.status = Good
	case unknown:
		r.status = Unknown
	case explicit(1):
		return r.revocation(value)
	default:
		return wrong("certStatus", "neither good, revoked nor unknown")
	}
	if !value.Empty() {
		return wrong("certStatus", "%s is not NULL", r.status)
	}
	return nil
}

func (r *Response) revocation(in cryptobyte.String) error {
	var err error
	r.status = Revoked
	if r.revokedAt, err = readTime(&in, "revocationTime"); err != nil || in.Empty() {
		return err
	}
	if in, err = only(in, explicit(0), "revocationReason"); err != nil {
		return err
	}
	if !in.ReadASN1Enum(&r.reason) || !in.Empty() {
		return wrong("revocationReason", "no ENUMERATED")
	}
	if r.reason == reasonHold {
		r.status = Hold
	}
	return nil
}

// extensions reads responseExtensions, of which only the nonce is known.
func (r *Response) extensions(in cryptobyte.String) error {
	list, err := readExtensions(in, "responseExtensions")
	if err != nil {
		return err
	}
	for _, e := range list {
		switch {
		case e.oid.Equal(oidNonce):
			nonce, err := only(e.value, cbasn1.OCTET_STRING, "nonce")
			if err != nil {
				return err
			}
			if len(nonce) == 0 || len(nonce) > MaxNonce {
				return wrong("nonce", "%d bytes, expected 1 to %d", len(nonce), MaxNonce)
			}
			r.nonce = nonce
		case e.critical:
			return wrong("responseExtensions", "critical extension %v is not known", e.oid)
		}
	}
	return nil
}
