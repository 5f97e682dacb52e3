// SPDX-License-Identifier: Apache-2.0

package evidence

import "strconv"

// Every constant that RFC 9999 and its registrations fix is in this file
// (decision D-01), so that a change of the text touches one place.

// CollectionTypeKey is the reserved text label of a collection's type (RFC 9999).
const CollectionTypeKey = "__cmwc_t"

// CWTClaimKey is the CWT claim "cmw". The number is the one requested in the
// draft and not confirmed by the registry: provisional (decision D-15).
const CWTClaimKey = 299

// JWTClaimName is the JWT claim "cmw"; it holds JSON forms only (decision D-15).
const JWTClaimName = "cmw"

// Media types of the CMW itself (RFC 9999, IANA considerations).
const (
	TypeCMWJSON = "application/cmw+json"
	TypeCMWCBOR = "application/cmw+cbor"
	TypeCMWCOSE = "application/cmw+cose"
	TypeCMWJWS  = "application/cmw+jws"
)

// paramCollectionType is the one parameter of the CMW media types. It is only
// allowed for collections and compares case-insensitively.
const paramCollectionType = "cmwc_t"

// CoAP Content-Formats of the CMW media types.
const (
	cfCMWCBOR = 273
	cfCMWJSON = 274
	cfCMWCOSE = 275
	cfCMWJWS  = 276
)

// Indicator is the bitmap of conceptual message types in a record (`ind`,
// registry "CMW Indicators"). Zero means that the record carries none.
type Indicator uint32

// The registered indicators.
const (
	IndReferenceValues Indicator = 1
	IndEndorsements    Indicator = 2
	IndEvidence        Indicator = 4
	IndResults         Indicator = 8
	IndPolicy          Indicator = 16

	indRegistered = IndReferenceValues | IndEndorsements | IndEvidence | IndResults | IndPolicy
)

// Has reports whether all bits of want are set.
func (i Indicator) Has(want Indicator) bool { return i&want == want && want != 0 }

// Ambiguous reports an indicator that claims to be evidence and result at
// once: such a leaf must not be routed (decision D-03).
func (i Indicator) Ambiguous() bool { return i.Has(IndEvidence | IndResults) }

// Bounds of RFC 9277: tag number of Content-Format 0, and the largest
// Content-Format that has a tag.
const (
	tnBase = 0x63740101
	tnMax  = 0x6374ffff
	cfMax  = 65024
)

// TagNumber is TN(cf) of RFC 9277; false above 65024, which has no tag.
func TagNumber(cf uint16) (uint64, bool) {
	if cf > cfMax {
		return 0, false
	}
	return tnBase + uint64(cf/255)*256 + uint64(cf%255), true
}

// inTagRange reports whether tn lies between the first and the last tag.
func inTagRange(tn uint64) bool { return tn >= tnBase && tn <= tnMax }

// ContentFormatOfTag inverts TagNumber; false outside the range and for the
// gap values, whose low byte is zero.
func ContentFormatOfTag(tn uint64) (uint16, bool) {
	if !inTagRange(tn) {
		return 0, false
	}
	d := tn - tnBase
	if d%256 == 255 {
		return 0, false
	}
	return uint16(d/256*255 + d%256), true
}

// contentFormatType names the media type of a CoAP Content-Format. An unknown
// number becomes the base type "cf:<n>", which no route matches (decision D-04).
func contentFormatType(cf uint16) MediaType {
	s, ok := contentFormats[cf]
	if !ok {
		return MediaType{Base: "cf:" + strconv.Itoa(int(cf))}
	}
	m, err := ParseMediaType(s)
	if err != nil { // excluded by a test over the whole table
		return MediaType{Base: "cf:" + strconv.Itoa(int(cf))}
	}
	return m
}

// contentFormats is the part of the IANA registry "CoAP Content-Formats" that
// can occur as type of a conceptual message. Read-only.
var contentFormats = map[uint16]string{
	0:         `text/plain; charset="utf-8"`,
	16:        `application/cose; cose-type="cose-encrypt0"`,
	17:        `application/cose; cose-type="cose-mac0"`,
	18:        `application/cose; cose-type="cose-sign1"`,
	41:        `application/xml`,
	42:        `application/octet-stream`,
	50:        `application/json`,
	60:        `application/cbor`,
	61:        `application/cwt`,
	63:        `application/cbor-seq`,
	96:        `application/cose; cose-type="cose-encrypt"`,
	97:        `application/cose; cose-type="cose-mac"`,
	98:        `application/cose; cose-type="cose-sign"`,
	101:       `application/cose-key`,
	102:       `application/cose-key-set`,
	258:       `application/swid+cbor`,
	263:       `application/eat+cwt`,
	264:       `application/eat+jwt`,
	265:       `application/eat-bun+cbor`,
	266:       `application/eat-bun+json`,
	267:       `application/eat-ucs+cbor`,
	268:       `application/eat-ucs+json`,
	cfCMWCBOR: TypeCMWCBOR,
	cfCMWJSON: TypeCMWJSON,
	cfCMWCOSE: TypeCMWCOSE,
	cfCMWJWS:  TypeCMWJWS,
	287:       `application/pkix-cert`,
	601:       `application/uccs+cbor`,
	10003:     `application/eat+cwt; eat_profile="tag:psacertified.org,2023:psa#tfm"`,
	10004:     `application/eat+cwt; eat_profile="tag:psacertified.org,2019:psa#legacy"`,
	10005:     `application/eat+cwt; eat_profile="2.16.840.1.113741.1.16.1"`,
	10570:     `application/toc+cbor`,
	10571:     `application/ce+cbor`,
}
