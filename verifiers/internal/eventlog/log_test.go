// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/internal/limits"
)

var le = binary.LittleEndian

// entry is one event of a log that a test makes. Measured nil is Data.
type entry struct {
	index, kind    uint32
	data, measured []byte
}

// header is a Spec ID event with some algorithms.
func header(algs ...Alg) []byte {
	spec := append([]byte(specSignature), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = le.AppendUint32(spec, uint32(len(algs)))
	for _, a := range algs {
		spec = le.AppendUint16(le.AppendUint16(spec, uint16(a)), uint16(a.Size()))
	}
	return record(append(spec, 0))
}

// record puts a specification into the first record.
func record(spec []byte) []byte {
	out := le.AppendUint32(le.AppendUint32(nil, 0), evNoAction)
	out = le.AppendUint32(append(out, make([]byte, sizeSHA1)...), uint32(len(spec)))
	return append(out, spec...)
}

func (e entry) append(out []byte, algs ...Alg) []byte {
	out = le.AppendUint32(le.AppendUint32(le.AppendUint32(out, e.index), e.kind), uint32(len(algs)))
	for _, a := range algs {
		var d [maxDigest]byte
		m := e.measured
		if m == nil {
			m = e.data
		}
		out = append(le.AppendUint16(out, uint16(a)), a.sum(&d, m)...)
	}
	return append(le.AppendUint32(out, uint32(len(e.data))), e.data...)
}

func build(algs []Alg, events ...entry) []byte {
	out := header(algs...)
	for _, e := range events {
		out = e.append(out, algs...)
	}
	return out
}

func parse(tb testing.TB, raw []byte, kind Kind) *Log {
	tb.Helper()
	l, err := Parse(raw, kind)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// matched is the log with the registers that it gives.
func matched(tb testing.TB, raw []byte, kind Kind, alg Alg) *Matched {
	tb.Helper()
	l := parse(tb, raw, kind)
	values, err := l.Replay(alg)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := l.Match(alg, values)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

var both = []Alg{SHA256, SHA384}

func TestMalformed(t *testing.T) {
	good := build(both, entry{7, 4, make([]byte, 4), nil}, entry{7, 5, []byte("text"), nil})
	first := len(header(both...))
	put := func(at int, v uint32) []byte {
		out := bytes.Clone(good)
		le.PutUint32(out[at:], v)
		return out
	}
	spec := func(change func(b []byte) []byte) []byte {
		b := change(bytes.Clone(good[32:first]))
		return append(record(b), good[first:]...)
	}
	many := header(SHA256)
	for range limits.EventLogEvents + 1 {
		many = entry{1, 1, nil, nil}.append(many, SHA256)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		say  string
	}{
		{"empty", nil, "byte 0: register of the header"},
		{"padding only", bytes.Repeat([]byte{0xff}, 8000), "header of 4294967295 bytes"},
		{"zeros only", make([]byte, 8000), "not a Spec ID event"},
		{"header for register 2", put(0, 2), "not a Spec ID event"},
		{"header of another type", put(4, 4), "not a Spec ID event"},
		{"header with a digest", put(8, 1), "not a Spec ID event"},
		{"header longer than the log", put(28, 1<<31), "header of 2147483648 bytes"},
		{"signature", spec(func(b []byte) []byte { b[13] = '4'; return b }), `signature is "Spec ID Event43`},
		{"version 3.0", spec(func(b []byte) []byte { b[21] = 3; return b }), "version 3.0"},
		{"version 2.1", spec(func(b []byte) []byte { b[20] = 1; return b }), "version 2.1"},
		{"UINTN of 3", spec(func(b []byte) []byte { b[23] = 3; return b }), "UINTN of 3"},
		{"no algorithm", record(append([]byte(specSignature), 0, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0)), "0 algorithms"},
		{"nine algorithms", spec(func(b []byte) []byte { b[24] = 9; return b }), "9 algorithms"},
		{"algorithm twice", spec(func(b []byte) []byte { copy(b[32:], b[28:32]); return b }), "algorithm 0xb is there twice"},
		{"wrong digest size", spec(func(b []byte) []byte { b[30] = 20; return b }), "0xb has digests of 20 bytes"},
		{"huge digest size", spec(func(b []byte) []byte { b[28], b[30] = 0x77, 65; return b }), "0x77 has digests of 65 bytes"},
		{"data behind the header", spec(func(b []byte) []byte { return append(b, 1) }), "1 bytes behind the vendor information"},
		{"vendor information cut", spec(func(b []byte) []byte { b[len(b)-1] = 2; return b }), "vendor information of 2 bytes"},
		{"register 24", put(first, 24), "register 24, there are 24"},
		{"no register, but extended", put(first, noRegister), "register 4294967295"},
		{"one digest", put(first+8, 1), "1 digests, expected 2"},
		{"2^32-1 digests", put(first+8, 0xffffffff), "4294967295 digests"},
		{"unknown digest", put(first+12, 0x12), "algorithm 0x12 that the header does not list"},
		{"one digest twice", append(bytes.Clone(good[:first+12+34]), append([]byte{0xb, 0}, good[first+12+36:]...)...), "algorithm 0xb that the header does not list, or two"},
		{"event data too long", put(first+12+34+50, 1<<30), "event data of 1073741824 bytes"},
		{"event data of 2^32-1", put(first+12+34+50, 0xffffffff), "event data of 4294967295 bytes"},
		{"data behind the events", append(bytes.Clone(good), 1, 2, 3), "register of 4 bytes, 3 left"},
		{"padding with something in it", append(append(bytes.Clone(good), bytes.Repeat([]byte{0xff}, 100)...), 0xfe), "register 4294967295"},
		{"zeros with something in it", append(append(bytes.Clone(good), make([]byte, 100)...), 1), "0 digests"},
		{"two kinds of padding", append(append(bytes.Clone(good), 0, 0, 0, 0, 0, 0, 0, 0), bytes.Repeat([]byte{0xff}, 8)...), "4294967295 digests"},
		{"too many events", many, "more than 10000 events"},
		{"too large", append(bytes.Clone(good), make([]byte, limits.EventLog)...), "at most 1048576"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.raw, TPM)
			var m *Malformed
			if !errors.As(err, &m) || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v, want %q", err, c.say)
			}
		})
	}
	if _, err := Parse(many[:len(many)-50], TPM); err != nil {
		t.Errorf("10000 events: %v", err)
	}
}

func TestPadding(t *testing.T) {
	good := build(both, entry{7, 4, make([]byte, 4), nil})
	for _, pad := range [][]byte{nil, {0}, {0xff}, make([]byte, 7), make([]byte, 8), make([]byte, 9000), bytes.Repeat([]byte{0xff}, 9000)} {
		l := parse(t, append(bytes.Clone(good), pad...), TPM)
		if len(l.Events) != 1 || l.Padding != len(pad) {
			t.Errorf("%d events, padding %d, want 1 and %d", len(l.Events), l.Padding, len(pad))
		}
	}
	// EV_PREBOOT_CERT in PCR 0 begins with eight zeros and is an event.
	if l := parse(t, build(both, entry{0, 0, []byte("x"), nil}), TPM); len(l.Events) != 1 {
		t.Errorf("%d events, want 1", len(l.Events))
	}
}

func TestRegistersOfConfidentialGuests(t *testing.T) {
	raw := build([]Alg{SHA384}, entry{4, 6, []byte("run time"), nil})
	l := parse(t, raw, CC)
	if !l.Touches(4) || l.Touches(1) || l.Kind.Register(4) != "rtmr3" || l.Kind.Register(0) != "mrtd" {
		t.Error("register 4 is RTMR3")
	}
	if _, err := Parse(build([]Alg{SHA384}, entry{5, 6, nil, nil}), CC); err == nil {
		t.Error("an event for register 5 was accepted")
	}
	if err := l.Compare(SHA384, map[uint32][]byte{7: make([]byte, 48)}); err == nil {
		t.Error("register 7 was compared")
	}
	if _, err := l.Replay(SHA256); err == nil {
		t.Error("a bank was replayed that the log does not have")
	}
}

// The event of one register does not count for another one.
func TestWrongIndex(t *testing.T) {
	at := func(i uint32) *Log { return parse(t, build([]Alg{SHA384}, entry{i, 6, []byte("x"), nil}), CC) }
	signed, err := at(2).Replay(SHA384)
	if err != nil {
		t.Fatal(err)
	}
	if err := at(2).Compare(SHA384, signed); err != nil {
		t.Error(err)
	}
	for _, i := range []uint32{0, 1, 3, 4} {
		var mm *Mismatch
		if err := at(i).Compare(SHA384, signed); !errors.As(err, &mm) || mm.Register != "rtmr1" || mm.Events != 0 {
			t.Errorf("event in register %d: %v", i, err)
		}
	}
}

func TestStartOfPCR0(t *testing.T) {
	locality := func(n byte) entry { return entry{0, evNoAction, append([]byte(startupLocality), n), nil} }
	crtm, hcrtm := entry{0, 8, []byte("v1"), nil}, entry{0, evHCRTM, []byte("HCRTM"), nil}
	from := func(n byte, data string) []byte {
		var d, out [maxDigest]byte
		start := make([]byte, 32)
		start[31] = n
		return SHA256.sum(&out, append(start, SHA256.sum(&d, []byte(data))...))
	}
	for _, c := range []struct {
		name   string
		events []entry
		want   []byte
	}{
		{"none", []entry{crtm}, from(0, "v1")},
		{"locality 0", []entry{locality(0), crtm}, from(0, "v1")},
		{"locality 3", []entry{locality(3), crtm}, from(3, "v1")},
		{"hardware", []entry{locality(4), hcrtm}, from(4, "HCRTM")},
		{"hardware, no locality", []entry{hcrtm}, from(4, "HCRTM")},
		{"not first", []entry{crtm, locality(3)}, nil},
		{"twice", []entry{locality(3), locality(3), crtm}, nil},
		{"locality 2", []entry{locality(2), crtm}, nil},
		{"another register", []entry{{1, evNoAction, append([]byte(startupLocality), 3), nil}, crtm}, from(0, "v1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Parse(build([]Alg{SHA256}, c.events...), TPM)
			if c.want == nil {
				if err == nil {
					t.Error("was accepted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Compare(SHA256, map[uint32][]byte{0: c.want}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A register without events must have its initial value.
func TestRegistersWithoutEvents(t *testing.T) {
	l := parse(t, build([]Alg{SHA256}, entry{8, 13, []byte("x"), nil}), TPM)
	zero, ones := make([]byte, 32), bytes.Repeat([]byte{0xff}, 32)
	for i, want := range map[uint32][2]bool{0: {true, false}, 16: {true, false}, 17: {false, true}, 22: {false, true}, 23: {true, false}, 8: {false, false}} {
		if got := [2]bool{l.Compare(SHA256, map[uint32][]byte{i: zero}) == nil, l.Compare(SHA256, map[uint32][]byte{i: ones}) == nil}; got != want {
			t.Errorf("PCR %d: zero, ones accepted %v, want %v", i, got, want)
		}
	}
	if l.Compare(SHA256, map[uint32][]byte{0: make([]byte, 31)}) == nil || l.Compare(SHA256, map[uint32][]byte{0: nil}) == nil {
		t.Error("a register of another size was accepted")
	}
}

// Every change of an event that a digest covers is noticed, in any bank.
func TestTampered(t *testing.T) {
	events := []entry{{7, 4, make([]byte, 4), nil}, {8, 13, []byte("a"), nil}, {8, 13, []byte("b"), nil}}
	signed := map[Alg]map[uint32][]byte{}
	for _, a := range both {
		signed[a], _ = parse(t, build(both, events...), TPM).Replay(a)
	}
	for name, changed := range map[string][]entry{
		"dropped":   events[:2],
		"swapped":   {events[0], events[2], events[1]},
		"doubled":   append(events[:3:3], events[2]),
		"no action": {events[0], {8, evNoAction, []byte("a"), nil}, events[2]},
		"moved":     {events[0], {9, 13, []byte("a"), nil}, events[2]},
		"replaced":  {events[0], {8, 13, []byte("c"), nil}, events[2]},
	} {
		l := parse(t, build(both, changed...), TPM)
		for _, a := range both {
			var mm *Mismatch
			if err := l.Compare(a, signed[a]); !errors.As(err, &mm) || mm.Index != 8 {
				t.Errorf("%s, %s: %v", name, a, err)
			}
		}
	}
}

// No digest covers the type, so nothing may depend on it.
func TestTypeChangesNothing(t *testing.T) {
	for _, name := range []string{ccelCOS113, "module/tpm/rhel8-uefi.bin"} {
		raw := recorded(t, name)
		kind, alg := CC, SHA384
		if strings.Contains(name, "tpm") {
			kind, alg = TPM, SHA256
		}
		want := matched(t, raw, kind, alg)
		wantState, err := want.State()
		if err != nil {
			t.Fatal(err)
		}
		other := bytes.Clone(raw)
		for _, e := range want.log.Events {
			if e.Extends() {
				le.PutUint32(other[e.Offset+4:], 0x1234)
			}
		}
		got := matched(t, other, kind, alg)
		gotState, err := got.State()
		if err != nil || !reflect.DeepEqual(gotState, wantState) {
			t.Errorf("%s: state %v, %v", name, gotState, err)
		}
		if !reflect.DeepEqual(got.Texts(), want.Texts()) || len(got.Texts()) == 0 {
			t.Errorf("%s: other texts", name)
		}
	}
}
