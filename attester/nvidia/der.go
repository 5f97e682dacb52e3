// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// Tags of DER (ITU-T X.690) as they are written here.
const (
	derBitString   = 0x03
	derOctets      = 0x04
	derNull        = 0x05
	derOID         = 0x06
	derEnum        = 0x0A
	derUTF8        = 0x0C
	derPrintable   = 0x13
	derTime        = 0x18
	derSequence    = 0x30
	derSet         = 0x31
	derContext     = 0x80 // implicit, primitive
	derConstructed = 0xA0 // explicit or constructed
)

// tlv writes one DER element with a tag of one byte and the joined contents.
// The order of elements and the string types of real certificates are facts
// that encoding/asn1 and crypto/x509 would choose differently.
func tlv(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := []byte{tag}
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	default: // everything here is far below 64 KiB
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// oid writes an object identifier. The identifiers are constants, so that a
// failure would be an empty element that every reader refuses.
func oid(id asn1.ObjectIdentifier) []byte {
	der, err := asn1.Marshal(id)
	if err != nil {
		return tlv(derOID)
	}
	return der
}

func integer(n *big.Int) []byte {
	der, err := asn1.Marshal(n)
	if err != nil { // a number always has a form
		return nil
	}
	return der
}

// bits writes a BIT STRING of whole bytes.
func bits(b []byte) []byte { return tlv(derBitString, []byte{0}, b) }

func generalizedTime(t time.Time) []byte {
	return tlv(derTime, []byte(t.UTC().Format("20060102150405Z")))
}

// attribute is one relative distinguished name of one attribute.
type attribute struct {
	id    int // below 2.5.4
	tag   byte
	value string
}

const (
	attrCommonName   = 3
	attrSerialNumber = 5
	attrCountry      = 6
	attrLocality     = 7
	attrState        = 8
	attrOrganization = 10
)

func commonName(s string) attribute   { return attribute{attrCommonName, derUTF8, s} }
func organization(s string) attribute { return attribute{attrOrganization, derUTF8, s} }
func country(s string) attribute      { return attribute{attrCountry, derPrintable, s} }
func serialName(b []byte) attribute {
	return attribute{attrSerialNumber, derPrintable, fmt.Sprintf("%X", b)}
}

// name writes a distinguished name in the given order.
func name(attributes ...attribute) []byte {
	var out []byte
	for _, a := range attributes {
		pair := tlv(derSequence, tlv(derOID, []byte{0x55, 0x04, byte(a.id)}), tlv(a.tag, []byte(a.value)))
		out = append(out, tlv(derSet, pair)...)
	}
	return tlv(derSequence, out)
}
