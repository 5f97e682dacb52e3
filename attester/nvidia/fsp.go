// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/assize/assize/attester/pki"
)

// block is the form of one measurement of a GPU whose FSP answers: digests and raw
// values are mixed, and there is no opaque data.
type block struct {
	typ  byte // DMTFSpecMeasurementValueType
	size int
	// fill is every byte of a value that is no digest of firmware.
	fill byte
}

const (
	typeDigest = 1
	typeRaw    = 0x80
	// Places of values that name the device, SPDM indices less one.
	fspImage, fspDevice, fspManifest, fspIdentifiers = 0, 25, 49, 51
)

// fspBlocks are those of a recorded transcript, in order: 52 blocks, 1842 bytes.
func fspBlocks() []block {
	digests := func(typ byte, n int) []block { return slices.Repeat([]block{{typ, digestSize, 0}}, n) }
	small := func(typ byte, n int, fill byte) []block { return slices.Repeat([]block{{typ, 1, fill}}, n) }
	return slices.Concat(
		[]block{{0x83, 4, 0}}, small(0x82, 1, 0xFF), digests(2, 1), digests(1, 3), digests(3, 1), digests(1, 3), digests(3, 2), digests(2, 5),
		small(0x82, 1, 0), small(0x82, 7, 0xFF), []block{{0x82, 8, 0}}, digests(1, 8), small(0x83, 9, 0xFF), []block{{0x83, 16, 0}},
		small(0x81, 2, 0xFF), digests(3, 3), []block{{0x83, 108, 0xFF}}, small(0x81, 1, 0), []block{{0x81, 73, 0}},
	)
}

// apsku is the SKU of the simulated board.
const apsku = 0x065C

// identifiers is what the device answers to QueryDeviceIdentifiers (DSP0267): seven
// descriptors of type, length and value.
func identifiers() []byte {
	le := binary.LittleEndian
	var list []byte
	add := func(typ uint16, v ...byte) {
		list = le.AppendUint16(list, typ)
		list = le.AppendUint16(list, uint16(len(v)))
		list = append(list, v...)
	}
	add(1, 0x47, 0x16, 0, 0) // IANA number of NVIDIA
	add(2, pki.NewSeed("device identifiers").Bytes(16)...)
	add(0xFFFF, append([]byte("\x01\x05APSKU"), byte(apsku&0xFF), byte(apsku>>8), 0, 0)...)
	add(0, 0xDE, 0x10) // PCI vendor, device, and those of the subsystem
	add(0x0100, 0x41, 0x29)
	add(0x0101, 0xDE, 0x10)
	add(0x0102, 0x46, 0x20)
	head := le.AppendUint32([]byte{0}, uint32(len(list)))
	return append(append(head, 7), list...)
}

// fspValues are the blocks of a firmware, without any fault.
func (d *Device) fspValues(fw firmware) [][]byte {
	out := make([][]byte, len(d.model.forms))
	for i, b := range d.model.forms {
		out[i] = bytes.Repeat([]byte{b.fill}, b.size)
	}
	for _, i := range fw.measured {
		out[i] = d.golden(fw, i, "production")
	}
	out[fspImage] = []byte{0, 0, 0, 1}
	out[fspDevice] = bytes.Clone(d.pdi[:])
	copy(out[fspManifest], []byte{0, 1, 108, 0, 7, 1, 3})
	copy(out[fspManifest][24:], d.pdi[:])
	out[fspIdentifiers] = identifiers()
	return out
}

// ItemType is the type of what Item gives.
const ItemType = "application/vnd.assize.nvidia-evidence-item+json"

// Item answers a challenge with the collection of one device that NVIDIA's newer
// SDK takes, a CMW collection in JSON: transcript, chain and, where a transcript
// does not say it, the version of the firmware as a hint.
func (d *Device) Item(nonce []byte) ([]byte, error) {
	report, err := d.Report(nonce)
	if err != nil {
		return nil, err
	}
	record := func(name, media string, value []byte) string {
		return `"` + name + `":["` + media + `","` + base64.RawURLEncoding.EncodeToString(value) + `"]`
	}
	out := `{"__cmwc_t":"tag:nvidia.com,2026:evidence-item/v1",` +
		record("nonce", "application/octet-stream", nonce) + "," +
		record("evidence", "application/vnd.nvidia.spdm-measurement-transcript", report) + "," +
		record("certificate", "application/vnd.nvidia.pem-cert-chain", pki.PEM(d.Chain()...))
	if d.model.forms != nil {
		out += "," + record("hints", "application/json", []byte(`{"fwversion":"`+d.running.vbios+`"}`))
	}
	return []byte(out + "}"), nil
}

// Input joins items into the collection that NVIDIA's verifiers take.
func Input(nonce []byte, items ...[]byte) []byte {
	out := []byte(`{"__cmwc_t":"tag:nvidia.com,2026:verifier-input/profiles/base/pre-1.0.0","nonce":["application/octet-stream","` +
		base64.RawURLEncoding.EncodeToString(nonce) + `"]`)
	for i, item := range items {
		out = append(out, `,"gpu_`+strconv.Itoa(i)+`":`...)
		out = append(out, item...)
	}
	return append(out, '}')
}

// fspContent is the reference values that NVIDIA states for an FSP, as a CoRIM:
// layer 0 is what the certificates say about the firmware, layer 1 the transcript,
// by SPDM index.
func (d *Device) fspContent(k manifestKind, fault RIMFault) ([]byte, error) {
	fw := d.model.current
	switch fault {
	case RIMOtherVersion:
		fw = d.model.outdated
	case RIMVintage, RIMConflict:
		return nil, errors.New("nvidia: no such fault of a CoRIM")
	}
	values := d.values(fw)
	var list []corimValue
	for _, i := range k.active {
		v := corimValue{key: i + 1}
		if d.model.forms[i].typ&typeRaw != 0 {
			v.raw = values[i]
		} else {
			v.digest = values[i]
		}
		list = append(list, v)
	}
	text := fmt.Sprintf("10de2941-10de-2046-%08x-%s", apsku, k.version)
	return encodeCoRIM(k.id, text, d.model.title(), fw.svn, d.fwidOf(fw), list)
}

// fwidOf is the FWID of a firmware.
func (d *Device) fwidOf(fw firmware) []byte {
	return d.vendor.Sub("fwid", d.model.vbiosRIM(fw)).Bytes(digestSize)
}

// alteredCoRIM flips a bit of the digest of the first index in a CoRIM.
func (d *Device) alteredCoRIM(raw []byte) ([]byte, error) {
	value := d.values(d.model.current)[d.model.current.measured[0]]
	i := bytes.Index(raw, value)
	if i < 0 {
		return nil, fmt.Errorf("nvidia: %s is not in own manifest", hex.EncodeToString(value[:8]))
	}
	out := bytes.Clone(raw)
	out[i] ^= 1
	return out, nil
}
