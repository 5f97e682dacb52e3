// SPDX-License-Identifier: Apache-2.0

package spdm

import "fmt"

// Operation values of GET_MEASUREMENTS; any other is a measurement index.
const (
	OperationCount uint8 = 0x00
	OperationAll   uint8 = 0xFF
)

// GetMeasurements is a GET_MEASUREMENTS request.
type GetMeasurements struct {
	Raw []byte
	// Signed, RawBits and Fresh are the attributes: a signature, raw bit streams
	// instead of digests, and new measurements are requested (the last two from 1.2).
	Signed, RawBits, Fresh bool
	Operation              uint8
	// Nonce (32 bytes) and Slot are only there if a signature is requested.
	Nonce   []byte
	Slot    uint8
	Context []byte // 8 bytes, from 1.3
}

// ContentChange is the field of the same name in MEASUREMENTS (1.2).
type ContentChange uint8

// The values.
const (
	ChangeUnknown  ContentChange = 0 // the device cannot tell
	ChangeDetected ContentChange = 1
	ChangeNone     ContentChange = 2
	changeReserved ContentChange = 3
)

// String says in a word what the device says.
func (c ContentChange) String() string {
	switch c {
	case ChangeDetected:
		return "changed"
	case ChangeNone:
		return "unchanged"
	}
	return "unknown"
}

// Measurements is a MEASUREMENTS response. Slices point into the message.
type Measurements struct {
	Raw []byte
	// Total is the number of indices of the device; only in answer to OperationCount.
	Total uint8
	Slot  uint8
	// Change is meaningful in signed responses.
	Change ContentChange
	// Record is the measurement record, the concatenated blocks.
	Record []byte
	Blocks []Block
	Nonce  []byte // the responder's, 32 bytes, also without a signature
	Opaque []byte
	// Context is the echo of the requester's (1.3).
	Context   []byte
	Signature []byte
}

// ParseGetMeasurements parses a GET_MEASUREMENTS request exactly.
func ParseGetMeasurements(b []byte, v *VCA) (*GetMeasurements, error) {
	r := newReader(StageMeasurements, "get_measurements", b, maxMessage)
	g := parseGetMeasurements(r, v)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return g, nil
}

func parseGetMeasurements(r *reader, v *VCA) *GetMeasurements {
	start := r.at
	attributes, operation := r.header(v.Version, CodeGetMeasurements)
	g := &GetMeasurements{Signed: attributes&1 != 0, Operation: operation}
	if v.Version >= Version12 {
		g.RawBits, g.Fresh = attributes&2 != 0, attributes&4 != 0
	}
	if g.Signed {
		g.Nonce = r.bytes(NonceSize, "requester nonce")
		if v.Version >= Version11 {
			at := r.at
			g.Slot = r.u8("slot") & 0x0F
			checkSlot(r, at, g.Slot)
		}
	}
	if v.Version >= Version13 {
		g.Context = r.bytes(ContextSize, "requester context")
	}
	g.Raw = r.since(start)
	return g
}

// ParseMeasurements parses a MEASUREMENTS response to g exactly: its length
// follows from its own fields and the negotiated algorithms, never from the
// length of b. Padding of a transport is an error; see TrimPadding.
func ParseMeasurements(b []byte, v *VCA, g *GetMeasurements) (*Measurements, error) {
	r := newReader(StageMeasurements, "measurements", b, maxMessage)
	m := parseMeasurements(r, v, g)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// TrimPadding cuts the up to three zero bytes that PCI DOE puts behind a
// MEASUREMENTS response, after computing its true length. Anything else behind
// it is an error. Collectors use it; Verify never does.
func TrimPadding(b []byte, v *VCA, g *GetMeasurements) ([]byte, error) {
	r := newReader(StageMeasurements, "measurements", b, maxMessage)
	m := parseMeasurements(r, v, g)
	if rest := len(r.b) - r.at; rest > 3 {
		r.end()
	} else {
		r.zero(rest, "padding")
	}
	if r.err != nil {
		return nil, r.err
	}
	return m.Raw, nil
}

func parseMeasurements(r *reader, v *VCA, g *GetMeasurements) *Measurements {
	start := r.at
	param1, param2 := r.header(v.Version, CodeMeasurements)
	m := &Measurements{}
	if g.Operation == OperationCount {
		m.Total = param1
	}
	if v.Version >= Version11 {
		m.Slot = param2 & 0x0F
	}
	if v.Version >= Version12 && g.Signed {
		m.Change = ContentChange(param2 >> 4 & 3)
	}
	if g.Signed && m.Slot != g.Slot {
		r.fail(KindSlot, start+3, g.Slot, m.Slot, "slot of MEASUREMENTS is not the requested one")
	}
	if m.Change == changeReserved {
		r.fail(KindMalformed, start+3, "0 to 2", uint8(m.Change), "content change field")
	}
	count := int(r.u8("number of blocks"))
	at := r.at
	length := r.u24("record length")
	if length > MaxRecord {
		r.fail(KindMalformed, at, MaxRecord, length, "measurement record is too long")
	}
	m.parseRecord(r, v, g, count, length)
	m.Nonce = r.bytes(NonceSize, "responder nonce")
	m.Opaque = parseOpaqueField(r, v)
	m.Context = parseContextEcho(r, v, g.Context)
	if g.Signed {
		m.Signature = r.bytes(v.BaseAsym.SignatureSize(), "signature")
	}
	m.Raw = r.since(start)
	return m
}

// parseRecord reads the record as exactly count blocks whose indices fit the
// requested operation.
func (m *Measurements) parseRecord(r *reader, v *VCA, g *GetMeasurements, count, length int) {
	start := r.at
	if r.err == nil && length > len(r.b)-start {
		r.fail(KindMalformed, start, length, len(r.b)-start, "measurement record is cut off")
	}
	for r.err == nil && r.at-start < length {
		at := r.at
		b := parseBlock(r, v)
		if r.err != nil {
			return
		}
		if n := len(m.Blocks); n > 0 && b.Index <= m.Blocks[n-1].Index {
			r.fail(KindMalformed, at, fmt.Sprintf("above 0x%02x", m.Blocks[n-1].Index), b.Index, "block index occurs twice or out of order")
		}
		m.Blocks = append(m.Blocks, b)
	}
	switch {
	case r.err != nil:
	case r.at-start != length:
		r.fail(KindMalformed, start, length, r.at-start, "last block goes beyond the measurement record")
	case len(m.Blocks) != count:
		r.fail(KindMalformed, start-4, count, len(m.Blocks), "number of measurement blocks")
	case g.Operation == OperationCount && count != 0:
		r.fail(KindMalformed, start-4, 0, count, "answer to a count query carries blocks")
	case g.Operation != OperationCount && g.Operation != OperationAll && (count != 1 || m.Blocks[0].Index != g.Operation):
		r.fail(KindMalformed, start, fmt.Sprintf("one block of index 0x%02x", g.Operation), fmt.Sprintf("%d blocks", count), "blocks do not answer the request")
	}
	m.Record = r.since(start)
}
