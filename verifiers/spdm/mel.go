// SPDX-License-Identifier: Apache-2.0

package spdm

import "fmt"

// LogEntry is one entry of a measurement extension log.
type LogEntry struct {
	// Raw is the whole entry, as it is hashed.
	Raw []byte
	// Number is the index of the entry in the log.
	Number uint32
	// Index is the measurement index that the entry extends.
	Index   uint8
	Type    ValueType
	RawBits bool
	Value   []byte
}

// ParseLog parses a measurement extension log in DMTF format (DSP0274 1.3):
// number of entries and length of them (32 bits each), 8 reserved bytes, then
// entries of number, measurement index, three reserved bytes, type, size, value.
// Entry numbers ascend without repeats.
func ParseLog(b []byte) ([]LogEntry, error) {
	r := newReader(StageLog, "mel", b, MaxLog)
	n, length := r.u32("number of entries"), r.u32("length of the entries")
	r.bytes(8, "reserved bytes of the log")
	if r.err == nil && uint64(length) != uint64(len(b)-r.at) {
		r.fail(KindMalformed, 4, len(b)-r.at, length, "length of the entries")
	}
	var out []LogEntry
	for r.more() {
		start := r.at
		e := LogEntry{Number: r.u32("entry number"), Index: r.u8("measurement index")}
		r.bytes(3, "reserved bytes of an entry")
		kind := r.u8("value type")
		e.Type, e.RawBits = ValueType(kind&0x7F), kind&0x80 != 0
		e.Value = r.bytes(int(r.u16("value size")), "value")
		if k := len(out); r.err == nil && k > 0 && e.Number <= out[k-1].Number {
			r.fail(KindMalformed, start, fmt.Sprintf("above %d", out[k-1].Number), e.Number, "entry occurs twice or out of order")
		}
		e.Raw = r.since(start)
		out = append(out, e)
	}
	if r.err == nil && uint64(n) != uint64(len(out)) {
		r.fail(KindMalformed, 0, n, len(out), "number of entries")
	}
	if r.err != nil {
		return nil, r.err
	}
	return out, nil
}

// Extend folds the entries for one measurement index into a hash-extend value:
// start with zeros, then v = H(v || entry). KindUnsupported if the measurement
// hash cannot be computed here.
func Extend(entries []LogEntry, index uint8, hash MeasurementHash) ([]byte, error) {
	f, ok := hash.Hash()
	if !ok {
		return nil, refuse(StageLog, KindUnsupported, "mel", "measurement hash %s cannot be computed", hash)
	}
	value := make([]byte, f.Size())
	for _, e := range entries {
		if e.Index != index {
			continue
		}
		d := f.New()
		d.Write(value)
		d.Write(e.Raw)
		value = d.Sum(value[:0])
	}
	return value, nil
}

// checkLog compares a log with the hash-extend blocks. Every measurement index
// in the log needs its block: an entry that nothing signed covers is refused.
func checkLog(entries []LogEntry, blocks []Block, hash MeasurementHash) error {
	covered := make(map[uint8]bool)
	for _, b := range blocks {
		if b.Type != TypeHashExtend || b.RawBits {
			continue
		}
		want, err := Extend(entries, b.Index, hash)
		if err != nil {
			return err
		}
		if string(want) != string(b.Value) {
			return differ(StageLog, KindContradiction, "mel", fmt.Sprintf("log does not extend to the block of index 0x%02x", b.Index), b.Value, want)
		}
		covered[b.Index] = true
	}
	for _, e := range entries {
		if !covered[e.Index] {
			return refuse(StageLog, KindContradiction, "mel", "entry %d is for index 0x%02x, which has no hash-extend block", e.Number, e.Index)
		}
	}
	return nil
}
