// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RIMFault is what is wrong with the manifest of a VBIOS or BIOS that goes with a
// device. The device itself, and the manifest of its driver, stay honest.
type RIMFault int

const (
	// RIMHonest is a manifest with the values of the current firmware.
	RIMHonest RIMFault = iota
	// RIMMissing is none.
	RIMMissing
	// RIMWrongSigner is signed by a key that no certificate names.
	RIMWrongSigner
	// RIMAltered was changed behind its signature.
	RIMAltered
	// RIMExpired is signed under a certificate that ended a day before.
	RIMExpired
	// RIMRevoked is signed under a certificate that is revoked.
	RIMRevoked
	// RIMOtherVersion is the genuine one of an older VBIOS under this identifier.
	RIMOtherVersion
	// RIMVintage is an issue with another value at index 9, as NVIDIA's of
	// different years are.
	RIMVintage
	// RIMConflict speaks of an index that the driver's speaks of.
	RIMConflict
)

// vintageIndex is where issues of one manifest differ.
const vintageIndex = 9

// Manifest is a signed document of reference values.
type Manifest struct {
	// ID is its identifier at NVIDIA's RIM service, as
	// NV_GPU_VBIOS_G520_0200_885_9600A50001.
	ID string
	// Raw is a SWID tag with an XML signature, or a CoRIM in a COSE_Sign1.
	Raw []byte
	// CoRIM tells which of the two.
	CoRIM bool
}

// File is the name of the file, ID.xml or ID.corim.
func (m Manifest) File() string {
	if m.CoRIM {
		return m.ID + ".corim"
	}
	return m.ID + ".xml"
}

// Manifests are those of the current firmware, signed, with the fault that the
// device was made with: of driver and VBIOS for a GPU with GSP, of the BIOS for a
// switch, one CoRIM for a GPU with FSP.
func (d *Device) Manifests() ([]Manifest, error) {
	all, err := d.honestManifests()
	if err != nil || d.rimFault == RIMHonest {
		return all, err
	}
	out, last := slices.Clone(all), len(all)-1
	switch d.rimFault {
	case RIMMissing:
		return out[:last], nil
	case RIMAltered:
		if out[last].CoRIM {
			out[last].Raw, err = d.alteredCoRIM(out[last].Raw)
		} else {
			out[last].Raw, err = altered(out[last].Raw)
		}
	default:
		out[last], err = d.manifest(len(d.kinds())-1, d.rimFault)
	}
	return out, err
}

func (d *Device) honestManifests() ([]Manifest, error) {
	return once(d.shared, sharedKey{d.vendor, "manifests of " + d.model.vbiosRIM(d.model.current), d.now}, func() (out []Manifest, err error) {
		for i := range d.kinds() {
			m, err := d.manifest(i, RIMHonest)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
		return out, nil
	})
}

// manifestKind is one manifest of a model.
type manifestKind struct {
	id, version, edition string
	// active are the indices that it speaks of, alternatives how many values those
	// with more than one have.
	active       []int
	alternatives map[int]int
	names        map[int]string
}

// kinds are the manifests that together have all reference values, that of the
// VBIOS or BIOS last.
func (d *Device) kinds() []manifestKind {
	m, fw := d.model, d.model.current
	early := manifestKind{id: m.vbiosRIM(fw), version: fw.vbios, edition: "GPU", active: m.early, alternatives: m.earlyAlternatives, names: m.earlyNames}
	if m.arch == LS10 {
		early.edition = "SWITCH"
	}
	if fw.driver == "" {
		return []manifestKind{early}
	}
	return []manifestKind{{
		id: m.driverRIM + fw.driver, version: fw.driver, edition: "GPU", active: m.late, alternatives: m.lateAlternatives, names: m.lateNames,
	}, early}
}

// manifest makes and signs manifest i of kinds.
func (d *Device) manifest(i int, fault RIMFault) (Manifest, error) {
	signer, err := d.rimSigner(fault)
	if err != nil {
		return Manifest{}, err
	}
	key, ok := signer.Key.(*ecdsa.PrivateKey)
	if !ok {
		return Manifest{}, fmt.Errorf("nvidia: signer of manifests without an ECDSA key")
	}
	if fault == RIMWrongSigner {
		if key, err = d.vendor.Sub("rim", "key of nobody").ECDSA(elliptic.P384()); err != nil {
			return Manifest{}, err
		}
	}
	kind := d.kinds()[i]
	if d.model.forms != nil {
		payload, err := d.fspContent(kind, fault)
		if err != nil {
			return Manifest{}, err
		}
		raw, err := signCoRIM(payload, key, signer.Chain())
		return Manifest{ID: kind.id, Raw: raw, CoRIM: true}, err
	}
	raw, err := seal(d.content(kind, fault).text(), key, signer.Chain())
	return Manifest{ID: kind.id, Raw: raw}, err
}

// content are the values of a manifest. What the firmware measures is one of the
// alternatives, and not always the first.
func (d *Device) content(k manifestKind, fault RIMFault) swid {
	out := swid{product: strings.ReplaceAll(d.model.chip, "_", ""), edition: k.edition, version: k.version}
	values := d.values(d.model.current)
	active := k.active
	switch fault {
	case RIMOtherVersion:
		out.version, values = d.model.outdated.vbios, d.values(d.model.outdated)
	case RIMVintage:
		values[vintageIndex] = d.vendor.Sub("vintage", k.id).Bytes(digestSize)
	case RIMConflict:
		active = append(slices.Clone(active), slices.Max(d.model.late))
	}
	for i := range out.golden {
		g := golden{name: "Measurement_" + strconv.Itoa(i), values: [][]byte{make([]byte, digestSize)}}
		if name, ok := k.names[i]; ok {
			g.name = fmt.Sprintf(name, i)
		}
		if g.active = slices.Contains(active, i); g.active {
			g.values = d.alternatives(k, i, values[i])
		}
		out.golden[i] = g
	}
	return out
}

// alternatives puts a value among others.
func (d *Device) alternatives(k manifestKind, index int, value []byte) [][]byte {
	out := make([][]byte, max(1, k.alternatives[index]))
	for n := range out {
		out[n] = d.vendor.Sub("alternative", k.id, strconv.Itoa(index), strconv.Itoa(n)).Bytes(digestSize)
	}
	out[index%len(out)] = value
	return out
}

// altered flips a bit of the first value of an index that is active.
func altered(raw []byte) ([]byte, error) {
	const active, value = `active="True"`, `Hash0="`
	text := string(raw)
	at := strings.Index(text, active)
	if at < 0 {
		return nil, fmt.Errorf("nvidia: no active index in own manifest")
	}
	at += strings.Index(text[at:], value) + len(value)
	digit := byte('0')
	if text[at] == digit {
		digit = '1'
	}
	return []byte(text[:at] + string(digit) + text[at+1:]), nil
}

// rimSigner is RIMSigner with the fault of a signer.
func (d *Device) rimSigner(fault RIMFault) (*RIMSigner, error) {
	if fault != RIMExpired {
		return d.RIMSigner()
	}
	begins := day(d.now.UTC().Year()-1, 1, 1)
	return d.signerOf(begins, d.now.Add(-24*time.Hour).Truncate(time.Second))
}

// Roots are what a trust file lists: the device root, and that of reference values.
func (d *Device) Roots() ([]*x509.Certificate, error) {
	signer, err := d.RIMSigner()
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{d.Root(), signer.Root()}, nil
}
