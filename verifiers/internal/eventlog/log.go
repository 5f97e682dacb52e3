// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/internal/limits"
)

// Kind says which registers a log speaks about.
type Kind int

const (
	// TPM is a log of a TPM: indexes are PCRs, 0 to 23.
	TPM Kind = iota
	// CC is a confidential computing event log (ACPI table CCEL): indexes are
	// those of the UEFI CC measurement protocol for Intel TDX, 0 for MRTD and 1
	// to 4 for RTMR0 to RTMR3.
	CC
)

const (
	pcrs        = 24
	ccRegisters = 5
	// noRegister is the index of informative events in newer TPM logs.
	noRegister = 0xffffffff
)

// registers is how many registers there are.
func (k Kind) registers() uint32 {
	if k == CC {
		return ccRegisters
	}
	return pcrs
}

// Register names an index as verdict.Facts.Registers does: "pcr7", "mrtd",
// "rtmr0". The index has to be one of the kind.
func (k Kind) Register(index uint32) string {
	switch {
	case k == TPM:
		return fmt.Sprintf("pcr%d", index)
	case index == 0:
		return "mrtd"
	}
	return fmt.Sprintf("rtmr%d", index-1)
}

// Malformed is the error for a log that breaks its format or a limit. Nothing
// of such a log can be used.
type Malformed struct {
	// Offset is where, in bytes from the start of the log.
	Offset int
	// Reason says what is wrong there.
	Reason string
}

func (m *Malformed) Error() string {
	return fmt.Sprintf("eventlog: malformed at byte %d: %s", m.Offset, m.Reason)
}

// algorithm is one entry of the header.
type algorithm struct {
	id   Alg
	size int
}

// Log is a parsed log. Nothing in it is trustworthy before Match. It shares the
// bytes that were parsed, and is safe for concurrent reading.
type Log struct {
	// Kind is what Parse was told.
	Kind Kind
	// Events are all events behind the header, in their order.
	Events []Event
	// Padding is the number of bytes behind the last event.
	Padding int

	algs []algorithm
}

// Event is one TCG_PCR_EVENT2.
type Event struct {
	// Index is the register: see Kind. 0xffffffff occurs in events that
	// extend nothing.
	Index uint32
	// Type is the event type. No digest covers it: whoever passes the log on can
	// change it, so nothing may be concluded from it alone.
	Type uint32
	// Data is what the log shows for the event; see Matched for what of it is
	// covered by the digest. A slice of the parsed log.
	Data []byte
	// Offset is where the event begins, in bytes from the start of the log.
	Offset int

	digests []byte // pairs of algorithm (2 bytes) and digest
	algs    []algorithm
}

// Digest is the digest of one bank, a slice of the parsed log; nil if the log
// has no such bank.
func (e *Event) Digest(alg Alg) []byte {
	rest := e.digests
	for len(rest) > 2 {
		id := Alg(binary.LittleEndian.Uint16(rest))
		size := sizeIn(e.algs, id)
		if id == alg {
			return rest[2 : 2+size : 2+size]
		}
		rest = rest[2+size:]
	}
	return nil
}

// Extends says whether the event was extended into its register. EV_NO_ACTION
// is the one type for which it was not; a changed type shows in the replay.
func (e *Event) Extends() bool { return e.Type != evNoAction }

// Has says whether the log has digests of a bank.
func (l *Log) Has(alg Alg) bool { return sizeIn(l.algs, alg) != 0 }

// Banks are the digest algorithms of the log, in its order.
func (l *Log) Banks() []Alg {
	out := make([]Alg, len(l.algs))
	for i, a := range l.algs {
		out[i] = a.id
	}
	return out
}

func sizeIn(algs []algorithm, id Alg) int {
	for i := range algs {
		if algs[i].id == id {
			return algs[i].size
		}
	}
	return 0
}

// Parse reads a crypto-agile event log (TCG PC Client Platform Firmware
// Profile, section 10): a Spec ID Event03 header, then TCG_PCR_EVENT2 records,
// then at most padding, all bytes 0x00 or all 0xff. Each event has one digest
// for each algorithm of the header. Logs of more than limits.EventLog bytes
// (1 MiB) or limits.EventLogEvents events (10 000) are refused. Errors are
// *Malformed.
func Parse(raw []byte, kind Kind) (*Log, error) {
	if len(raw) > limits.EventLog {
		return nil, &Malformed{limits.EventLog, fmt.Sprintf("%d bytes, at most %d", len(raw), limits.EventLog)}
	}
	r := &reader{raw: raw}
	l := &Log{Kind: kind, algs: r.header()}
	for r.err == nil && r.off < len(raw) {
		if n := padding(raw[r.off:]); n > 0 {
			l.Padding = n
			break
		}
		if len(l.Events) == limits.EventLogEvents {
			r.fail("more than %d events", limits.EventLogEvents)
			break
		}
		l.Events = append(l.Events, r.event(l))
	}
	if r.err == nil {
		r.err = startup(l)
	}
	if r.err != nil {
		return nil, r.err
	}
	return l, nil
}

// padding is the length of the rest if it is padding, else 0. What begins like
// an event is none: the first eight bytes decide whether to look further.
func padding(rest []byte) int {
	b := rest[0]
	if b != 0 && b != 0xff {
		return 0
	}
	if len(bytes.Trim(rest[:min(len(rest), 8)], string(rest[:1]))) != 0 {
		return 0
	}
	// All bytes are equal if each is equal to the next.
	if !bytes.Equal(rest[1:], rest[:len(rest)-1]) {
		return 0
	}
	return len(rest)
}

// reader reads little-endian fields; after the first failure everything is zero.
type reader struct {
	raw []byte
	off int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &Malformed{r.off, fmt.Sprintf(format, args...)}
	}
}

// take is the next n bytes, nil after a failure.
func (r *reader) take(n uint32, what string) []byte {
	if r.err != nil {
		return nil
	}
	if uint64(n) > uint64(len(r.raw)-r.off) {
		r.fail("%s of %d bytes, %d left", what, n, len(r.raw)-r.off)
		return nil
	}
	out := r.raw[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return out
}

func (r *reader) u32(what string) uint32 {
	if b := r.take(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u16(what string) uint16 {
	if b := r.take(2, what); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// header reads the first record, a TCG_PCClientPCREvent without digest around
// a TCG_EfiSpecIDEvent.
func (r *reader) header() []algorithm {
	index, kind := r.u32("register of the header"), r.u32("type of the header")
	zero := r.take(sizeSHA1, "digest of the header")
	data := r.take(r.u32("length of the header"), "header")
	if r.err != nil {
		return nil
	}
	// Firmware of confidential guests writes 1 where others write PCR 0.
	if index > 1 || kind != evNoAction || !allZero(zero) {
		r.off = 0
		r.fail("the first event is not a Spec ID event: register %d, type 0x%x", index, kind)
		return nil
	}
	in := &reader{raw: data}
	algs := in.specification()
	if m, ok := in.err.(*Malformed); ok {
		r.off += m.Offset - len(data)
		r.fail("Spec ID event: %s", m.Reason)
	}
	return algs
}

func (r *reader) specification() []algorithm {
	if s := r.take(uint32(len(specSignature)), "signature"); r.err == nil && string(s) != specSignature {
		r.fail("signature is %q, expected %q", s, specSignature)
	}
	r.take(4, "platform class")
	version := r.take(4, "version")
	if r.err == nil && (version[0] != 0 || version[1] != 2 || version[3] != 1 && version[3] != 2) {
		r.fail("version %d.%d with UINTN of %d words, expected 2.0 with 1 or 2", version[1], version[0], version[3])
	}
	n := r.u32("number of algorithms")
	if r.err == nil && (n == 0 || n > limits.EventLogAlgorithms) {
		r.fail("%d algorithms, expected 1 to %d", n, limits.EventLogAlgorithms)
	}
	var algs []algorithm
	for i := uint32(0); i < n && r.err == nil; i++ {
		a := algorithm{Alg(r.u16("algorithm")), int(r.u16("digest size"))}
		switch known := a.id.Size(); {
		case r.err != nil:
		case sizeIn(algs, a.id) != 0:
			r.fail("algorithm 0x%x is there twice", uint16(a.id))
		case known != 0 && a.size != known, a.size == 0, a.size > maxDigest:
			r.fail("algorithm 0x%x has digests of %d bytes", uint16(a.id), a.size)
		}
		algs = append(algs, a)
	}
	if v := r.take(1, "length of vendor information"); v != nil {
		r.take(uint32(v[0]), "vendor information")
	}
	if r.err == nil && r.off != len(r.raw) {
		r.fail("%d bytes behind the vendor information", len(r.raw)-r.off)
	}
	return algs
}

// event reads one TCG_PCR_EVENT2.
func (r *reader) event(l *Log) Event {
	e := Event{Offset: r.off, algs: l.algs}
	e.Index, e.Type = r.u32("register"), r.u32("event type")
	if r.err == nil && e.Index >= l.Kind.registers() && (e.Index != noRegister || e.Type != evNoAction) {
		r.off = e.Offset
		r.fail("event %d is for register %d, there are %d", len(l.Events)+1, e.Index, l.Kind.registers())
	}
	if n := r.u32("number of digests"); r.err == nil && n != uint32(len(l.algs)) {
		r.fail("event %d has %d digests, expected %d, one for each algorithm of the header", len(l.Events)+1, n, len(l.algs))
	}
	start := r.off
	var seen [limits.EventLogAlgorithms]bool
	for range l.algs {
		if r.err != nil {
			return e
		}
		id := Alg(r.u16("algorithm of a digest"))
		i := indexOf(l.algs, id)
		if r.err == nil && (i < 0 || seen[i]) {
			r.fail("event %d has a digest of algorithm 0x%x that the header does not list, or two", len(l.Events)+1, uint16(id))
			return e
		}
		if i >= 0 {
			seen[i] = true
			r.take(uint32(l.algs[i].size), "digest")
		}
	}
	e.digests = r.raw[start:r.off:r.off]
	e.Data = r.take(r.u32("length of an event"), "event data")
	return e
}

func indexOf(algs []algorithm, id Alg) int {
	for i := range algs {
		if algs[i].id == id {
			return i
		}
	}
	return -1
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
