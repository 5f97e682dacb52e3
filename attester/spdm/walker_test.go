// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"encoding/binary"
	"fmt"
)

// The walker reads SPDM messages from raw bytes. It shares no code with the
// generator; it is checked on recordings of DMTF's reference responder.

type message struct {
	Version, Code, Param1, Param2 byte
	Length                        int
}

type negotiated struct {
	Messages             []message
	Version              byte
	Caps                 [2]uint32
	Other                byte
	MeasHash, Asym, Hash uint32
	Tables               [][2]uint16 // of ALGORITHMS: type and selection
}

type walker struct {
	b   []byte
	err error
}

func (w *walker) take(n int) []byte {
	if w.err != nil || n < 0 || n > len(w.b) {
		if w.err == nil {
			w.err = fmt.Errorf("%d bytes wanted, %d left", n, len(w.b))
		}
		return make([]byte, max(n, 0))
	}
	out := w.b[:n]
	w.b = w.b[n:]
	return out
}

func (w *walker) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func u16(b []byte) int { return int(binary.LittleEndian.Uint16(b)) }

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

func (w *walker) header(code byte, body []byte) message {
	if body[1] != code {
		w.fail("code %02x, expected %02x", body[1], code)
	}
	return message{body[0], body[1], body[2], body[3], len(body)}
}

func walkVCA(raw []byte) (negotiated, error) {
	w := &walker{b: raw}
	var n negotiated
	add := func(code byte, body []byte) []byte {
		n.Messages = append(n.Messages, w.header(code, body))
		return body
	}
	add(0x84, w.take(4))
	if len(w.b) < 6 {
		return n, fmt.Errorf("no VERSION")
	}
	version := add(0x04, w.take(6+2*int(w.b[5])))
	if len(version) != 8 {
		return n, fmt.Errorf("several versions")
	}
	n.Version = version[7]
	size := 12
	if n.Version >= 0x12 {
		size = 20
	}
	n.Caps[0] = u32(add(0xe1, w.take(size))[8:])
	n.Caps[1] = u32(add(0x61, w.take(size))[8:])
	for _, code := range []byte{0xe3, 0x63} {
		if len(w.b) < 6 {
			return n, fmt.Errorf("no algorithms")
		}
		body := add(code, w.take(u16(w.b[4:])))
		if w.err != nil || len(body) < 36 {
			return n, fmt.Errorf("short algorithms: %v", w.err)
		}
		n.Other = body[7]
		tables := body[32:]
		if code == 0x63 {
			n.MeasHash, n.Asym, n.Hash = u32(body[8:]), u32(body[12:]), u32(body[16:])
			tables = body[36:]
		}
		if len(tables) != 4*int(body[2]) {
			w.fail("%d bytes of tables, count %d", len(tables), body[2])
		}
		for ; code == 0x63 && len(tables) >= 4; tables = tables[4:] {
			n.Tables = append(n.Tables, [2]uint16{uint16(tables[0])<<8 | uint16(tables[1]), uint16(u16(tables[2:]))})
		}
	}
	for _, m := range n.Messages[2:] {
		if m.Version != n.Version {
			w.fail("message of version %02x in %02x", m.Version, n.Version)
		}
	}
	if len(w.b) != 0 {
		w.fail("%d bytes left", len(w.b))
	}
	return n, w.err
}

func (n negotiated) hashSize() int {
	return map[uint32]int{1: 32, 2: 48, 4: 64}[n.Hash]
}

func (n negotiated) signatureSize() int {
	return map[uint32]int{0x10: 64, 0x80: 96}[n.Asym]
}

type walkedBlock struct {
	Index, Spec, Type byte
	Size, ValueSize   int
	Value             []byte
}

type measured struct {
	Request, Response       message
	Blocks                  []walkedBlock
	Record                  []byte
	RequestNonce, Nonce     []byte
	RequestContext, Context []byte
	Slot                    byte
	Opaque, Signature       []byte
	Signed                  int // bytes of request and response under the signature
}

// walkMeasurements reads one signed GET_MEASUREMENTS and MEASUREMENTS.
func walkMeasurements(n negotiated, raw []byte) (measured, error) {
	w := &walker{b: raw}
	var m measured
	context := 0
	if n.Version >= 0x13 {
		context = 8
	}
	req := w.take(37 + context)
	m.Request, m.RequestNonce, m.Slot, m.RequestContext = w.header(0xe0, req), req[4:36], req[36], req[37:]
	start := len(w.b)
	head := w.take(8)
	m.Response = w.header(0x60, head)
	m.Record = w.take(int(head[5]) | int(head[6])<<8 | int(head[7])<<16)
	m.Nonce = w.take(32)
	m.Opaque = w.take(u16(w.take(2)))
	m.Context = w.take(context)
	m.Signed = len(raw) - len(w.b)
	m.Signature = w.take(n.signatureSize())
	m.Response.Length = start - len(w.b)
	if w.err == nil && len(w.b) != 0 {
		w.fail("%d bytes after the signature", len(w.b))
	}
	if w.err != nil {
		return m, w.err
	}
	for r := (&walker{b: m.Record}); len(r.b) > 0; {
		h := r.take(7)
		b := walkedBlock{Index: h[0], Spec: h[1], Size: u16(h[2:]), Type: h[4], ValueSize: u16(h[5:])}
		if b.Size != b.ValueSize+3 || (len(m.Blocks) > 0 && m.Blocks[len(m.Blocks)-1].Index >= b.Index) {
			return m, fmt.Errorf("block %d of size %d, value size %d", b.Index, b.Size, b.ValueSize)
		}
		b.Value = r.take(b.ValueSize)
		if r.err != nil {
			return m, r.err
		}
		m.Blocks = append(m.Blocks, b)
	}
	if len(m.Blocks) != int(head[4]) {
		return m, fmt.Errorf("%d blocks, count %d", len(m.Blocks), head[4])
	}
	return m, nil
}

type challenged struct {
	Messages                                      []message
	Digests                                       []byte // DIGESTS response
	Chains                                        map[byte][]byte
	ChainHash, RequestNonce, Nonce, Summary       []byte
	RequestContext, Context, Opaque, Signature    []byte
	Signed                                        int
	SummaryType, ResponseSlot, RequestSlot, Masks byte
}

// walkChallenge reads GET_DIGESTS … CHALLENGE_AUTH with signature.
func walkChallenge(n negotiated, raw []byte) (challenged, error) {
	w := &walker{b: raw}
	c := challenged{Chains: map[byte][]byte{}}
	add := func(code byte, body []byte) []byte {
		c.Messages = append(c.Messages, w.header(code, body))
		return body
	}
	add(0x81, w.take(4))
	if len(w.b) < 4 {
		return c, fmt.Errorf("no DIGESTS")
	}
	per := n.hashSize()
	if n.Other&0x10 != 0 {
		per += 4
	}
	slots := 0
	for i := range 8 {
		slots += int(w.b[3]) >> i & 1
	}
	c.Digests = add(0x01, w.take(4+slots*per))
	for w.err == nil && len(w.b) > 2 && w.b[1] == 0x82 {
		slot := add(0x82, w.take(8))[2]
		if len(w.b) < 8 {
			return c, fmt.Errorf("no CERTIFICATE")
		}
		body := add(0x02, w.take(8+u16(w.b[4:])))
		if len(body) < 8 || u16(body[6:]) != 0 || body[2] != slot {
			return c, fmt.Errorf("CERTIFICATE of slot %d in portions", slot)
		}
		c.Chains[slot] = body[8:]
	}
	context := 0
	if n.Version >= 0x13 {
		context = 8
	}
	req := add(0x83, w.take(36+context))
	c.RequestSlot, c.SummaryType, c.RequestNonce, c.RequestContext = req[2], req[3], req[4:36], req[36:]
	start := len(w.b)
	head := w.take(4)
	add(0x03, head)
	c.ResponseSlot, c.Masks = head[2]&15, head[3]
	c.ChainHash, c.Nonce = w.take(n.hashSize()), w.take(32)
	if c.SummaryType != 0 {
		c.Summary = w.take(n.hashSize())
	}
	c.Opaque = w.take(u16(w.take(2)))
	c.Context = w.take(context)
	c.Signed = len(raw) - len(w.b)
	c.Signature = w.take(n.signatureSize())
	c.Messages[len(c.Messages)-1].Length = start - len(w.b)
	if len(w.b) != 0 {
		w.fail("%d bytes after the signature", len(w.b))
	}
	return c, w.err
}

type walkedRange struct {
	First          uint64
	Pages          uint32
	Attributes, ID int
}

type walkedReport struct {
	Info, MSIX int
	Ranges     []walkedRange
	Specific   []byte
}

func walkReport(raw []byte) (walkedReport, error) {
	w := &walker{b: raw}
	var r walkedReport
	head := w.take(16)
	r.Info, r.MSIX = u16(head), u16(head[4:])
	count := int(u32(head[12:]))
	if count > len(w.b)/16 {
		return r, fmt.Errorf("%d ranges in %d bytes", count, len(raw))
	}
	for range count {
		b := w.take(16)
		r.Ranges = append(r.Ranges, walkedRange{binary.LittleEndian.Uint64(b), u32(b[8:]), u16(b[12:]), u16(b[14:])})
	}
	r.Specific = w.take(int(u32(w.take(4))))
	if len(w.b) != 0 {
		w.fail("%d bytes left", len(w.b))
	}
	return r, w.err
}
