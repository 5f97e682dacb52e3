// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// amdArc is 1.3.6.1.4.1.3704.1, below which the KDS extensions are (AMD 57230,
// 58369).
var amdArc = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}

// identity is what the extensions of an endorsement key say: whose key it is.
type identity struct {
	product     product
	productName string
	tcb         tcbBytes
	// hwid is 64 bytes, on Turin 8, of a VCEK; nil of a VLEK.
	hwid []byte
	// cspID is who has the VLEK; "" of a VCEK.
	cspID string
}

// places of the patch levels, 1.3.6.1.4.1.3704.1.3.N, in a TCB. On Turin the
// fourth spare is the FMC's place, under a number of its own.
var (
	placesMilan = map[int]int{1: 0, 2: 1, 4: 2, 5: 3, 6: 4, 7: 5, 3: 6, 8: 7}
	placesTurin = map[int]int{9: 0, 1: 1, 2: 2, 3: 3, 5: 4, 6: 5, 7: 6, 8: 7}
	// needed may not be missing.
	neededMilan = []int{1, 2, 3, 8}
	neededTurin = []int{9, 1, 2, 3, 8}
)

// parseIdentity reads AMD's extensions. A patch level that has no place in the
// TCB of the product is an error: nobody could compare it.
func parseIdentity(c *x509.Certificate, kind keyKind) (*identity, error) {
	id := &identity{}
	levels := map[int]byte{}
	for _, e := range c.Extensions {
		if len(e.Id) <= len(amdArc) || !e.Id[:len(amdArc)].Equal(amdArc) {
			continue
		}
		if err := id.read(e, e.Id[len(amdArc):], levels); err != nil {
			return nil, fmt.Errorf("extension %s: %w", e.Id, err)
		}
	}
	if id.product = productOf(id.productName); id.product == productUnknown {
		return nil, fmt.Errorf("product name is %.32q, known are Milan, Genoa and Turin", id.productName)
	}
	if err := id.levels(levels); err != nil {
		return nil, err
	}
	return id, id.complete(kind)
}

func (id *identity) read(e pkix.Extension, arc asn1.ObjectIdentifier, levels map[int]byte) (err error) {
	switch {
	case len(arc) == 1 && arc[0] == 2:
		id.productName, err = ia5(e.Value)
	case len(arc) == 1 && arc[0] == 4:
		id.hwid, err = hardwareID(e.Value)
	case len(arc) == 1 && arc[0] == 5:
		id.cspID, err = ia5(e.Value)
	case len(arc) == 2 && arc[0] == 3:
		levels[arc[1]], err = level(e.Value)
	}
	return err
}

func (id *identity) levels(levels map[int]byte) error {
	places, needed := placesMilan, neededMilan
	if id.product == productTurin {
		places, needed = placesTurin, neededTurin
	}
	for _, n := range needed {
		if _, ok := levels[n]; !ok {
			return fmt.Errorf("patch level %s.3.%d is missing, which %s has", amdArc, n, id.product)
		}
	}
	for n, v := range levels {
		at, ok := places[n]
		if !ok {
			return fmt.Errorf("patch level %s.3.%d has no place in the TCB of %s", amdArc, n, id.product)
		}
		id.tcb[at] = v
	}
	return nil
}

func (id *identity) complete(kind keyKind) error {
	size := chipIDSize
	if id.product == productTurin {
		size = turinChipSize
	}
	switch {
	case kind == kindVCEK && (len(id.hwid) != size || id.cspID != ""):
		return fmt.Errorf("a VCEK of %s names its chip by %d bytes and no provider, this has %d bytes and provider %.64q", id.product, size, len(id.hwid), id.cspID)
	case kind == kindVLEK && (id.hwid != nil || id.cspID == ""):
		return errors.New("a VLEK names its provider and no chip")
	case kind == kindVCEK && allZero(id.hwid):
		return errors.New("the hardware id is zero")
	}
	return nil
}

func level(raw []byte) (byte, error) {
	var n int
	rest, err := asn1.Unmarshal(raw, &n)
	if err != nil || len(rest) > 0 || n < 0 || n > 255 {
		return 0, fmt.Errorf("%x is no INTEGER from 0 to 255", raw[:min(len(raw), 16)])
	}
	return byte(n), nil
}

func ia5(raw []byte) (string, error) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(raw, &v)
	if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagIA5String || v.IsCompound || len(v.Bytes) == 0 || len(v.Bytes) > 256 {
		return "", errors.New("no IA5String of 1 to 256 characters")
	}
	for _, c := range v.Bytes {
		if c < ' ' || c > '~' {
			return "", errors.New("IA5String with control characters")
		}
	}
	return string(v.Bytes), nil
}

// hardwareID is there as it is, without an ASN.1 header, as the KDS writes it, or
// as OCTET STRING, as AMD 57230 has it. The lengths tell the two apart.
func hardwareID(raw []byte) ([]byte, error) {
	switch len(raw) {
	case chipIDSize, turinChipSize:
		return raw, nil
	case chipIDSize + 2, turinChipSize + 2:
		if bytes.HasPrefix(raw, []byte{asn1.TagOctetString, byte(len(raw) - 2)}) {
			return raw[2:], nil
		}
	}
	return nil, fmt.Errorf("hardware id of %d bytes, expected %d or %d", len(raw), chipIDSize, turinChipSize)
}
