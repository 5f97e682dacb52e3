// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Sizes in bytes and fixed octets of the two SPDM 1.1 messages that make a
// report (DSP0274 1.1, GET_MEASUREMENTS and MEASUREMENTS).
const (
	// MaxReport bounds request, response and padding together.
	MaxReport = container.MaxReport
	// NonceSize is the length of the requester's nonce.
	NonceSize = container.NonceSize
	// SignatureSize is the length of a raw r||s ECDSA P-384 signature.
	SignatureSize = 96
	// MaxPadding is the number of zero bytes tolerated behind the signature;
	// collectors that round a buffer up add one or a few.
	MaxPadding = 7

	requestSize    = 37
	responseHeader = 8
	blockHeader    = 7 // index, specification, size, DMTF type, DMTF value size
	dmtfHeader     = 3
	spdmVersion    = 0x11
	getMeasure     = 0xE0
	measurements   = 0x60
	specDMTF       = 0x01
	maxBlockIndex  = 0xFE
	opaqueInvalid  = 255
)

// Report is a parsed report. All byte slices point into the parsed input.
type Report struct {
	// Nonce is the requester's nonce, the challenge (32 bytes, signed).
	Nonce []byte
	// ResponderNonce is random data of the device (32 bytes), not a challenge.
	ResponderNonce []byte
	Blocks         []Block
	Opaque         []Field
	// Signed is request and response without the signature.
	Signed []byte
	// Signature is r||s, 48 bytes each, big-endian, over Signed.
	Signature []byte
	// Padding counts the zero bytes behind the signature, 0..MaxPadding.
	Padding int
}

// Block is one measurement in DMTF format.
type Block struct {
	// Index is the SPDM index, from 1; NVIDIA's own index is one less.
	Index uint8
	// Type is DMTFSpecMeasurementValueType: bit 7 means raw value, not digest.
	Type  uint8
	Value []byte
}

// Field is one element of the opaque data: NVIDIA's {type, size, data} with
// little-endian 16-bit numbers.
type Field struct {
	Type  uint16
	Value []byte
}

// ParseReport splits a report. It is driven by the lengths in the message and
// accepts no byte that it cannot account for: the measurement record and the
// opaque data are consumed exactly, block indices and opaque types occur once,
// and behind the signature there are at most MaxPadding zero bytes. What an
// opaque type means, known or not, is not its business.
func ParseReport(raw []byte) (*Report, error) {
	if len(raw) > MaxReport {
		return nil, fmt.Errorf("nvidia: report of %d bytes, at most %d", len(raw), MaxReport)
	}
	if len(raw) < requestSize+responseHeader {
		return nil, fmt.Errorf("nvidia: report of %d bytes ends inside the SPDM headers", len(raw))
	}
	req, resp := raw[:requestSize], raw[requestSize:]
	if err := checkHeaders(req, resp); err != nil {
		return nil, err
	}
	r := &Report{Nonce: req[4 : 4+NonceSize]}
	record := int(resp[5]) | int(resp[6])<<8 | int(resp[7])<<16
	at := responseHeader
	body, err := take(resp, &at, record, "measurement record")
	if err != nil {
		return nil, err
	}
	if r.Blocks, err = parseBlocks(body, int(resp[4])); err != nil {
		return nil, err
	}
	if r.ResponderNonce, err = take(resp, &at, NonceSize, "responder nonce"); err != nil {
		return nil, err
	}
	size, err := take(resp, &at, 2, "opaque length")
	if err != nil {
		return nil, err
	}
	opaque, err := take(resp, &at, int(binary.LittleEndian.Uint16(size)), "opaque data")
	if err != nil {
		return nil, err
	}
	if r.Opaque, err = parseOpaque(opaque); err != nil {
		return nil, err
	}
	r.Signed = raw[:requestSize+at]
	if r.Signature, err = take(resp, &at, SignatureSize, "signature"); err != nil {
		return nil, err
	}
	r.Padding, err = padding(resp[at:])
	return r, err
}

func checkHeaders(req, resp []byte) error {
	for _, c := range []struct {
		name string
		got  byte
		want byte
	}{
		{"request version", req[0], spdmVersion}, {"request code", req[1], getMeasure},
		{"request param1 (signature wanted)", req[2], 1}, {"request param2 (all measurements)", req[3], 0xFF},
		{"request slot", req[36], 0},
		{"response version", resp[0], spdmVersion}, {"response code", resp[1], measurements},
		{"response param1", resp[2], 0}, {"response param2", resp[3], 0},
	} {
		if c.got != c.want {
			return fmt.Errorf("nvidia: SPDM %s is 0x%02x, expected 0x%02x", c.name, c.got, c.want)
		}
	}
	return nil
}

// take returns the next n bytes of b and moves at.
func take(b []byte, at *int, n int, what string) ([]byte, error) {
	if n > len(b)-*at {
		return nil, fmt.Errorf("nvidia: %s of %d bytes at offset %d of the response goes beyond its %d bytes", what, n, *at, len(b))
	}
	out := b[*at : *at+n : *at+n]
	*at += n
	return out, nil
}

func parseBlocks(b []byte, count int) ([]Block, error) {
	if count == 0 {
		return nil, fmt.Errorf("nvidia: no measurement blocks")
	}
	out := make([]Block, 0, count)
	var seen [256]bool
	at := 0
	for len(out) < count {
		start := at
		h, err := take(b, &at, blockHeader, "measurement block header")
		if err != nil {
			return nil, err
		}
		index, size, value := h[0], int(binary.LittleEndian.Uint16(h[2:])), int(binary.LittleEndian.Uint16(h[5:]))
		switch {
		case index == 0 || index > maxBlockIndex:
			return nil, fmt.Errorf("nvidia: measurement block at record offset %d has index %d", start, index)
		case seen[index]:
			return nil, fmt.Errorf("nvidia: measurement block index %d occurs twice", index)
		case h[1] != specDMTF:
			return nil, fmt.Errorf("nvidia: measurement block %d has specification 0x%02x, expected DMTF (0x01)", index, h[1])
		case value != size-dmtfHeader:
			return nil, fmt.Errorf("nvidia: measurement block %d of size %d holds a value of size %d", index, size, value)
		}
		seen[index] = true
		v, err := take(b, &at, value, "measurement value")
		if err != nil {
			return nil, err
		}
		out = append(out, Block{Index: index, Type: h[4], Value: v})
	}
	if at != len(b) {
		return nil, fmt.Errorf("nvidia: %d bytes behind the %d measurement blocks of the record", len(b)-at, count)
	}
	return out, nil
}

func parseOpaque(b []byte) ([]Field, error) {
	var out []Field
	var seen [1 << 16 / 64]uint64 // one bit per type
	for at := 0; at < len(b); {
		h, err := take(b, &at, 4, "opaque field header")
		if err != nil {
			return nil, err
		}
		f := Field{Type: binary.LittleEndian.Uint16(h)}
		if f.Type == opaqueInvalid {
			return nil, fmt.Errorf("nvidia: opaque field of the invalid type %d", f.Type)
		}
		word, bit := &seen[f.Type/64], uint64(1)<<(f.Type%64)
		if *word&bit != 0 {
			return nil, fmt.Errorf("nvidia: opaque field type %d occurs twice", f.Type)
		}
		*word |= bit
		if f.Value, err = take(b, &at, int(binary.LittleEndian.Uint16(h[2:])), "opaque field"); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func padding(rest []byte) (int, error) {
	if len(rest) > MaxPadding {
		return 0, fmt.Errorf("nvidia: %d bytes behind the signature", len(rest))
	}
	for _, c := range rest {
		if c != 0 {
			return 0, fmt.Errorf("nvidia: byte 0x%02x behind the signature", c)
		}
	}
	return len(rest), nil
}
