// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto/sha1" //nolint:gosec // only to know a CertID by its length
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxOCSP is the largest OCSP response in bytes.
const maxOCSP = 32 << 10

// Object identifiers of RFC 6960, and of the digests that a CertID may have.
var (
	oidBasicOCSP  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	certIDDigests = []struct {
		oid  asn1.ObjectIdentifier
		size int
	}{
		{asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, sha1.Size},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, sha256.Size},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, sha512.Size384},
	}
)

// Statuses of an OCSPAnswer.
const (
	StatusGood    = "good"
	StatusRevoked = "revoked"
	StatusUnknown = "unknown"
)

// OCSPAnswer is what an OCSP response says. Nobody has checked its signature.
type OCSPAnswer struct {
	// Item names the certificate. Its digests are of the kind that the response
	// has: SHA-384, or SHA-1 or SHA-256, and then no need is answered by it.
	Item Item
	// Status is StatusGood, StatusRevoked (which includes certificateHold) or
	// StatusUnknown.
	Status string
	// Nonce is nil without one.
	Nonce []byte
	// NextUpdate is zero without one.
	ThisUpdate, NextUpdate time.Time
	// Responder is the first certificate in the response, nil without one.
	Responder *x509.Certificate
}

// OCSPError is a response that says nothing but why: it is not signed.
type OCSPError struct {
	// Status is OCSPResponseStatus (RFC 6960, section 4.2.1): 1 malformed request,
	// 2 internal error, 3 try later, 5 signature required, 6 unauthorized.
	Status int
}

// Error implements error.
func (e *OCSPError) Error() string {
	return fmt.Sprintf("endorsements: OCSP response without an answer, status %d (RFC 6960, section 4.2.1)", e.Status)
}

// looksLikeOCSP says whether a file claims to be an OCSPResponse: a sequence that
// begins with an enumerated value.
func looksLikeOCSP(raw []byte) bool {
	in := cryptobyte.String(raw)
	var body cryptobyte.String
	return in.ReadASN1(&body, cbasn1.SEQUENCE) && body.PeekASN1Tag(cbasn1.ENUM)
}

// ParseOCSP reads one OCSPResponse (RFC 6960, section 4.2.1) in DER about exactly
// one certificate, and nothing behind it. One without an answer is an *OCSPError.
func ParseOCSP(raw []byte) (OCSPAnswer, error) {
	if len(raw) > maxOCSP {
		return OCSPAnswer{}, fmt.Errorf("endorsements: OCSP response of %d bytes, at most %d", len(raw), maxOCSP)
	}
	r := derReader{}
	body := r.only(cryptobyte.String(raw), cbasn1.SEQUENCE, "OCSPResponse")
	status := 0
	if r.err == nil && !body.ReadASN1Enum(&status) {
		return OCSPAnswer{}, errNoOCSP
	}
	if r.err == nil && status != 0 {
		return OCSPAnswer{}, &OCSPError{status}
	}
	body = r.only(body, explicitTag(0), "responseBytes")
	body = r.only(body, cbasn1.SEQUENCE, "responseBytes")
	var kind asn1.ObjectIdentifier
	if r.err == nil && (!body.ReadASN1ObjectIdentifier(&kind) || !kind.Equal(oidBasicOCSP)) {
		r.fail("responseType", "%v, expected %v", kind, oidBasicOCSP)
	}
	body = r.only(body, cbasn1.OCTET_STRING, "response")
	body = r.only(body, cbasn1.SEQUENCE, "BasicOCSPResponse")
	var a OCSPAnswer
	a.data(&r, r.next(&body, cbasn1.SEQUENCE, "tbsResponseData"))
	r.next(&body, cbasn1.SEQUENCE, "signatureAlgorithm")
	r.next(&body, cbasn1.BIT_STRING, "signature")
	if r.err == nil && !body.Empty() {
		certs := r.only(r.only(body, explicitTag(0), "certs"), cbasn1.SEQUENCE, "certs")
		a.responder(&r, certs)
	}
	if r.err != nil {
		return OCSPAnswer{}, r.err
	}
	return a, nil
}

func explicitTag(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// derReader remembers the first thing that is wrong; from then on everything is
// empty.
type derReader struct{ err error }

func (r *derReader) fail(part, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("OCSP response: %s: %s", part, fmt.Sprintf(format, args...))
	}
}

// next takes one element.
func (r *derReader) next(in *cryptobyte.String, tag cbasn1.Tag, part string) (out cryptobyte.String) {
	if r.err == nil && !in.ReadASN1(&out, tag) {
		r.fail(part, "not the element with tag %#x in DER", uint8(tag))
	}
	return out
}

// only takes one element behind which is nothing.
func (r *derReader) only(in cryptobyte.String, tag cbasn1.Tag, part string) cryptobyte.String {
	out := r.next(&in, tag, part)
	if r.err == nil && !in.Empty() {
		r.fail(part, "%d bytes behind it", len(in))
	}
	return out
}

// time takes a GeneralizedTime in seconds and UTC, as DER has it.
func (r *derReader) time(in *cryptobyte.String, part string) time.Time {
	text := string(r.next(in, cbasn1.GeneralizedTime, part))
	const layout = "20060102150405Z"
	t, err := time.Parse(layout, text)
	if r.err == nil && (err != nil || t.Format(layout) != text) {
		r.fail(part, "%.20q is no time", text)
	}
	return t
}

// data reads ResponseData.
func (a *OCSPAnswer) data(r *derReader, in cryptobyte.String) {
	if in.PeekASN1Tag(explicitTag(0)) {
		r.next(&in, explicitTag(0), "version")
	}
	if tag := explicitTag(1); in.PeekASN1Tag(tag) {
		r.next(&in, tag, "responderID")
	} else {
		r.next(&in, explicitTag(2), "responderID")
	}
	r.time(&in, "producedAt")
	list := r.next(&in, cbasn1.SEQUENCE, "responses")
	a.single(r, r.only(list, cbasn1.SEQUENCE, "responses (exactly one)"))
	if r.err == nil && !in.Empty() {
		a.nonce(r, r.only(r.only(in, explicitTag(1), "responseExtensions"), cbasn1.SEQUENCE, "responseExtensions"))
	}
}

// single reads SingleResponse.
func (a *OCSPAnswer) single(r *derReader, in cryptobyte.String) {
	a.certID(r, r.next(&in, cbasn1.SEQUENCE, "certID"))
	if r.err != nil {
		return
	}
	var value cryptobyte.String
	var tag cbasn1.Tag
	in.ReadAnyASN1(&value, &tag)
	statuses := map[cbasn1.Tag]string{cbasn1.Tag(0).ContextSpecific(): StatusGood, explicitTag(1): StatusRevoked, cbasn1.Tag(2).ContextSpecific(): StatusUnknown}
	if a.Status = statuses[tag]; a.Status == "" {
		r.fail("certStatus", "neither good, revoked nor unknown")
	}
	a.ThisUpdate = r.time(&in, "thisUpdate")
	if r.err == nil && in.PeekASN1Tag(explicitTag(0)) {
		wrapped := r.next(&in, explicitTag(0), "nextUpdate")
		a.NextUpdate = r.time(&wrapped, "nextUpdate")
		if r.err == nil && (!wrapped.Empty() || a.NextUpdate.Before(a.ThisUpdate)) {
			r.fail("nextUpdate", "before thisUpdate, or more than one")
		}
	}
	if r.err == nil && !in.Empty() {
		r.only(in, explicitTag(1), "singleExtensions")
	}
}

// certID reads which certificate it is about.
func (a *OCSPAnswer) certID(r *derReader, in cryptobyte.String) {
	algorithm := r.next(&in, cbasn1.SEQUENCE, "certID")
	name := r.next(&in, cbasn1.OCTET_STRING, "certID")
	key := r.next(&in, cbasn1.OCTET_STRING, "certID")
	serial := r.only(in, cbasn1.INTEGER, "certID")
	if r.err != nil {
		return
	}
	var oid asn1.ObjectIdentifier
	size := 0
	if algorithm.ReadASN1ObjectIdentifier(&oid) {
		for _, d := range certIDDigests {
			if d.oid.Equal(oid) {
				size = d.size
			}
		}
	}
	if size == 0 || len(name) != size || len(key) != size {
		r.fail("certID", "digests %v of %d and %d bytes, expected SHA-384, SHA-256 or SHA-1", oid, len(name), len(key))
		return
	}
	if len(serial) > 1 && serial[0] == 0 {
		serial = serial[1:]
	}
	if len(serial) == 0 || len(serial) > maxSerial || serial[0] == 0 {
		r.fail("certID", "serial number of %d bytes, expected 1 to %d and a positive number", len(serial), maxSerial)
		return
	}
	a.Item = Item{Kind: ItemNVOCSP, IssuerName: hex.EncodeToString(name), IssuerKey: hex.EncodeToString(key), Serial: hex.EncodeToString(serial)}
}

// nonce finds it among the extensions.
func (a *OCSPAnswer) nonce(r *derReader, list cryptobyte.String) {
	for r.err == nil && !list.Empty() {
		e := r.next(&list, cbasn1.SEQUENCE, "responseExtensions")
		var oid asn1.ObjectIdentifier
		if r.err != nil || !e.ReadASN1ObjectIdentifier(&oid) {
			r.fail("responseExtensions", "malformed")
			return
		}
		if !oid.Equal(oidOCSPNonce) {
			continue
		}
		if e.PeekASN1Tag(cbasn1.BOOLEAN) {
			r.next(&e, cbasn1.BOOLEAN, "nonce")
		}
		nonce := r.only(r.only(e, cbasn1.OCTET_STRING, "nonce"), cbasn1.OCTET_STRING, "nonce")
		if r.err == nil && (a.Nonce != nil || len(nonce) == 0) {
			r.fail("nonce", "empty, or there twice")
		}
		a.Nonce = nonce
	}
}

// responder reads the first certificate.
func (a *OCSPAnswer) responder(r *derReader, certs cryptobyte.String) {
	var der cryptobyte.String
	if r.err != nil {
		return
	}
	if !certs.ReadASN1Element(&der, cbasn1.SEQUENCE) {
		r.fail("certs", "there, and empty")
		return
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		r.fail("certs", "%v", err)
	}
	a.Responder = c
}
