// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"fmt"
)

// Identifiers in the certificate table (AMD 56421, section 4.1.8.1), as they
// stand there: a UUID in network byte order.
var (
	guidVCEK = guid{0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd}
	guidVLEK = guid{0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1}
	guidASK  = guid{0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82}
	guidARK  = guid{0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae}
)

const (
	entrySize = 24
	// maxEntries is far more than the four that AMD defines.
	maxEntries = 32
	// maxCertificate bounds one certificate, PEM or DER; AMD's have 1.4 to 2.5 KiB.
	maxCertificate = 16 << 10
)

type guid [16]byte

func (g guid) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", g[:4], g[4:6], g[6:8], g[8:10], g[10:])
}

// certificates are what evidence brings along, in DER, nil if absent. They are
// nothing but candidates: none of them is trusted for being there.
type certificates struct {
	vcek, vlek, ask, ark []byte
	// other are identifiers of entries that are none of these.
	other []string
}

// vek is the certificate of the key that signs.
func (c *certificates) vek(k keyKind) []byte {
	if k == kindVLEK {
		return c.vlek
	}
	return c.vcek
}

// parseTable reads a certificate table: entries of identifier, offset and length,
// ended by one of zeros, and blobs anywhere behind them. Every byte belongs to
// one entry or is zero, as in the rest of a page. An empty table, or one of
// zeros, has no certificates.
func parseTable(raw []byte) (*certificates, error) {
	c := &certificates{}
	if allZero(raw) {
		return c, nil
	}
	entries, body, err := tableEntries(raw)
	if err != nil {
		return nil, err
	}
	used := make([]bool, len(raw))
	for i := range body {
		used[i] = true
	}
	seen := map[guid]bool{}
	for _, e := range entries {
		if seen[e.id] {
			return nil, fmt.Errorf("certificate table: %s twice", e.id)
		}
		seen[e.id] = true
		if e.length == 0 { // one that the host has left out
			continue
		}
		if e.offset < body || e.offset > len(raw) || e.length > len(raw)-e.offset {
			return nil, fmt.Errorf("certificate table: %s at %d with %d bytes, outside of %d to %d", e.id, e.offset, e.length, body, len(raw))
		}
		for i := e.offset; i < e.offset+e.length; i++ {
			if used[i] {
				return nil, fmt.Errorf("certificate table: %s overlaps another entry at %d", e.id, i)
			}
			used[i] = true
		}
		if err := c.add(e.id, raw[e.offset:e.offset+e.length]); err != nil {
			return nil, fmt.Errorf("certificate table: %s: %w", e.id, err)
		}
	}
	for i, u := range used {
		if !u && raw[i] != 0 {
			return nil, fmt.Errorf("certificate table: byte %d belongs to no entry", i)
		}
	}
	return c, nil
}

type tableEntry struct {
	id             guid
	offset, length int
}

// tableEntries reads the entries; body is the offset behind the last one.
func tableEntries(raw []byte) (out []tableEntry, body int, err error) {
	for at := 0; ; at += entrySize {
		if len(raw)-at < entrySize {
			return nil, 0, fmt.Errorf("certificate table: no end in %d bytes", len(raw))
		}
		e := raw[at : at+entrySize]
		if allZero(e) {
			return out, at + entrySize, nil
		}
		if len(out) == maxEntries {
			return nil, 0, fmt.Errorf("certificate table: more than %d entries", maxEntries)
		}
		offset, length := binary.LittleEndian.Uint32(e[16:]), binary.LittleEndian.Uint32(e[20:])
		if uint64(offset)+uint64(length) > uint64(len(raw)) {
			return nil, 0, fmt.Errorf("certificate table: entry %d ends at %d of %d bytes", len(out), uint64(offset)+uint64(length), len(raw))
		}
		out = append(out, tableEntry{guid(e[:16]), int(offset), int(length)})
	}
}

// add puts a blob where it belongs.
func (c *certificates) add(id guid, blob []byte) (err error) {
	var to *[]byte
	switch id {
	case guidVCEK:
		to = &c.vcek
	case guidVLEK:
		to = &c.vlek
	case guidASK:
		to = &c.ask
	case guidARK:
		to = &c.ark
	default:
		c.other = append(c.other, id.String())
		return nil
	}
	*to, err = der(blob)
	return err
}

var (
	pemMark  = []byte("-----BEGIN ")
	pemBegin = []byte("-----BEGIN CERTIFICATE-----")
)

// der takes a certificate as DER, or as one PEM block and nothing else but white
// space and zeros behind it.
func der(blob []byte) ([]byte, error) {
	if len(blob) > maxCertificate {
		return nil, fmt.Errorf("%d bytes, at most %d", len(blob), maxCertificate)
	}
	if !bytes.HasPrefix(blob, pemBegin) {
		return blob, nil
	}
	block, rest := pem.Decode(blob)
	switch {
	case bytes.Count(blob, pemMark) != 1:
		return nil, fmt.Errorf("more than one PEM block")
	case block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0:
		return nil, fmt.Errorf("no PEM certificate")
	case len(bytes.Trim(rest, "\r\n\x00")) > 0:
		return nil, fmt.Errorf("%d bytes behind the PEM certificate", len(rest))
	}
	return block.Bytes, nil
}
