// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxName bounds an otherName in bytes.
const maxName = 1024

// otherNames reads the DMTF device information and the CMA name from the subject
// alternative name. Other names are ignored; each of the two may occur once.
func otherNames(x *x509.Certificate) (device, cma string, err error) {
	raw := extension(x, oidSAN)
	if raw == nil {
		return "", "", nil
	}
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(raw, &names); err != nil || len(rest) != 0 {
		return "", "", errors.New("subject alternative name cannot be read")
	}
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific || n.Tag != 0 || !n.IsCompound {
			continue
		}
		oid, value, err := otherName(n.Bytes)
		if err != nil {
			return "", "", err
		}
		var to *string
		switch {
		case oid.Equal(oidDeviceInfo):
			to = &device
		case oid.Equal(oidCMA):
			to = &cma
		default:
			continue
		}
		if *to != "" {
			return "", "", fmt.Errorf("otherName %s occurs twice", oid)
		}
		if *to, err = utf8Name(value); err != nil {
			return "", "", err
		}
	}
	return device, cma, nil
}

// otherName splits the content of OtherName: an OID and, in an explicit tag 0,
// any value.
func otherName(b []byte) (oid asn1.ObjectIdentifier, value asn1.RawValue, err error) {
	rest, err := asn1.Unmarshal(b, &oid)
	if err != nil {
		return nil, value, errors.New("otherName without an object identifier")
	}
	var explicit asn1.RawValue
	if rest, err = asn1.Unmarshal(rest, &explicit); err != nil || len(rest) != 0 ||
		explicit.Class != asn1.ClassContextSpecific || explicit.Tag != 0 {
		return nil, value, errors.New("otherName without a value")
	}
	if rest, err = asn1.Unmarshal(explicit.Bytes, &value); err != nil || len(rest) != 0 {
		return nil, value, errors.New("otherName with a value that cannot be read")
	}
	return oid, value, nil
}

// utf8Name accepts a UTF8String without control characters.
func utf8Name(v asn1.RawValue) (string, error) {
	if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagUTF8String || !utf8.Valid(v.Bytes) {
		return "", errors.New("otherName is no UTF8String")
	}
	if len(v.Bytes) == 0 || len(v.Bytes) > maxName {
		return "", fmt.Errorf("otherName of %d bytes", len(v.Bytes))
	}
	s := string(v.Bytes)
	for _, c := range s {
		if unicode.IsControl(c) {
			return "", errors.New("otherName with a control character")
		}
	}
	return s, nil
}

// spdmExtension reads the DMTF extension, a SEQUENCE of SEQUENCE that starts
// with an OID, and returns the OIDs. Older certificates hold one bare OID.
func spdmExtension(x *x509.Certificate) (oids []asn1.ObjectIdentifier, present bool, err error) {
	raw := extension(x, oidExtension)
	if raw == nil {
		return nil, false, nil
	}
	var bare asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(raw, &bare); err == nil && len(rest) == 0 {
		return []asn1.ObjectIdentifier{bare}, true, nil
	}
	var entries []asn1.RawValue
	if rest, err := asn1.Unmarshal(raw, &entries); err != nil || len(rest) != 0 {
		return nil, true, errors.New("SPDM extension cannot be read")
	}
	for _, e := range entries {
		var oid asn1.ObjectIdentifier
		if e.Class != asn1.ClassUniversal || e.Tag != asn1.TagSequence {
			return nil, true, errors.New("SPDM extension holds no sequence")
		}
		if _, err := asn1.Unmarshal(e.Bytes, &oid); err != nil {
			return nil, true, errors.New("SPDM extension holds no object identifier")
		}
		oids = append(oids, oid)
	}
	return oids, true, nil
}

// extension returns the value of an extension. crypto/x509 refuses certificates
// in which one occurs twice.
func extension(x *x509.Certificate, oid asn1.ObjectIdentifier) []byte {
	i := indexExtension(x.Extensions, oid)
	if i < 0 {
		return nil
	}
	return x.Extensions[i].Value
}

func indexExtension(extensions []pkix.Extension, oid asn1.ObjectIdentifier) int {
	for i, e := range extensions {
		if e.Id.Equal(oid) {
			return i
		}
	}
	return -1
}
