// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// explicit is the tag [n] of an explicitly tagged or constructed element.
func explicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// maxMessage bounds messages about what was read: identifiers and names can be as
// long as the response.
const maxMessage = 512

// wrong is the error about one part of a response.
func wrong(part, format string, args ...any) error {
	return fmt.Errorf("ocsp: %s: %s", part, cut(fmt.Sprintf(format, args...), maxMessage))
}

// only reads the one element that there is.
func only(in cryptobyte.String, tag cbasn1.Tag, part string) (cryptobyte.String, error) {
	var out cryptobyte.String
	if !in.ReadASN1(&out, tag) {
		return nil, wrong(part, "not the element with tag %#x in DER", uint8(tag))
	}
	if !in.Empty() {
		return nil, wrong(part, "%d bytes behind it", len(in))
	}
	return out, nil
}

// readTime reads a GeneralizedTime in UTC and whole seconds (RFC 5280, section
// 4.1.2.5.2).
func readTime(in *cryptobyte.String, part string) (time.Time, error) {
	var text cryptobyte.String
	if !in.ReadASN1(&text, cbasn1.GeneralizedTime) {
		return time.Time{}, wrong(part, "no GeneralizedTime")
	}
	const layout = "20060102150405Z"
	t, err := time.Parse(layout, string(text))
	if err != nil || t.Format(layout) != string(text) {
		return time.Time{}, wrong(part, "%.20q is no time of the form YYYYMMDDHHMMSSZ", text)
	}
	return t, nil
}

// algorithmID is an AlgorithmIdentifier: params is empty, or one element.
type algorithmID struct {
	oid    asn1.ObjectIdentifier
	params []byte
}

var derNull = []byte{5, 0}

func readAlgorithm(in *cryptobyte.String, part string) (a algorithmID, err error) {
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) {
		return a, wrong(part, "no AlgorithmIdentifier")
	}
	if seq.Empty() {
		return a, nil
	}
	var params cryptobyte.String
	var tag cbasn1.Tag
	if !seq.ReadAnyASN1Element(&params, &tag) || !seq.Empty() {
		return a, wrong(part, "AlgorithmIdentifier with more than one parameter")
	}
	a.params = params
	return a, nil
}

// null tells whether the parameters are NULL, and not merely absent.
func (a algorithmID) null() bool { return bytes.Equal(a.params, derNull) }

// extension is one entry of Extensions.
type extension struct {
	oid      asn1.ObjectIdentifier
	critical bool
	value    []byte
}

// readExtensions reads what the explicit tag holds: at most maxExtensions, none twice.
func readExtensions(in cryptobyte.String, part string) ([]extension, error) {
	list, err := only(in, cbasn1.SEQUENCE, part)
	if err != nil {
		return nil, err
	}
	var out []extension
	for !list.Empty() {
		e, err := readExtension(&list, part)
		if err != nil {
			return nil, err
		}
		for _, o := range out {
			if o.oid.Equal(e.oid) {
				return nil, wrong(part, "extension %v occurs twice", e.oid)
			}
		}
		if len(out) == maxExtensions {
			return nil, wrong(part, "more than %d extensions", maxExtensions)
		}
		out = append(out, e)
	}
	return out, nil
}

func readExtension(in *cryptobyte.String, part string) (e extension, err error) {
	var seq, value cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&e.oid) {
		return e, wrong(part, "malformed extension")
	}
	if seq.PeekASN1Tag(cbasn1.BOOLEAN) && !seq.ReadASN1Boolean(&e.critical) {
		return e, wrong(part, "extension %v with a malformed mark of criticality", e.oid)
	}
	if !seq.ReadASN1(&value, cbasn1.OCTET_STRING) || !seq.Empty() {
		return e, wrong(part, "extension %v without one value", e.oid)
	}
	e.value = value
	return e, nil
}
