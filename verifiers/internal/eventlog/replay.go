// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // what a SHA-1 bank was extended with
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"maps"
	"slices"
)

// Alg is a hash algorithm (TPM_ALG_ID of the TCG algorithm registry).
type Alg uint16

// Algorithms whose banks can be replayed.
const (
	SHA1   Alg = 0x0004
	SHA256 Alg = 0x000b
	SHA384 Alg = 0x000c
	SHA512 Alg = 0x000d
)

const (
	sizeSHA1  = sha1.Size
	maxDigest = 64
)

// Size is the length of a digest in bytes; 0 for an algorithm that is not one of
// the constants.
func (a Alg) Size() int {
	switch a {
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

func (a Alg) String() string {
	switch a {
	case SHA1:
		return "sha-1"
	case SHA256:
		return "sha-256"
	case SHA384:
		return "sha-384"
	case SHA512:
		return "sha-512"
	}
	return fmt.Sprintf("algorithm 0x%04x", uint16(a))
}

// sum puts the digest of b into out and returns it; nil for other algorithms.
func (a Alg) sum(out *[maxDigest]byte, b []byte) []byte {
	switch a {
	case SHA1:
		d := sha1.Sum(b) //nolint:gosec // see import
		return out[:copy(out[:], d[:])]
	case SHA256:
		d := sha256.Sum256(b)
		return out[:copy(out[:], d[:])]
	case SHA384:
		d := sha512.Sum384(b)
		return out[:copy(out[:], d[:])]
	case SHA512:
		d := sha512.Sum512(b)
		return out[:copy(out[:], d[:])]
	}
	return nil
}

// covers says whether the digest is one over b.
func (a Alg) covers(digest, b []byte) bool {
	var out [maxDigest]byte
	return len(digest) > 0 && bytes.Equal(a.sum(&out, b), digest)
}

const (
	// firstDynamic to lastDynamic are reset by a dynamic launch, and are all ones
	// on a machine without one.
	firstDynamic, lastDynamic = 17, 22

	startupLocality = "StartupLocality\x00"
	localityHCRTM   = 4
)

// locality is the locality that a StartupLocality event names: the last byte of
// PCR 0 when the TPM starts.
func (e *Event) locality() (byte, bool) {
	if e.Type != evNoAction || e.Index != 0 || len(e.Data) != len(startupLocality)+1 || string(e.Data[:len(startupLocality)]) != startupLocality {
		return 0, false
	}
	return e.Data[len(startupLocality)], true
}

// startup refuses a StartupLocality that cannot be: a second one, one behind the
// first extend of PCR 0, or a locality that starts no TPM.
func startup(l *Log) error {
	if l.Kind != TPM {
		return nil
	}
	extended, seen := false, false
	for i := range l.Events {
		e := &l.Events[i]
		loc, ok := e.locality()
		if ok && (seen || extended || loc != 0 && loc != 3 && loc != localityHCRTM) {
			return &Malformed{e.Offset, fmt.Sprintf("StartupLocality %d of event %d is a second one, too late, or none that starts a TPM", loc, i+1)}
		}
		seen = seen || ok
		extended = extended || e.Index == 0 && e.Extends()
	}
	return nil
}

// bank are the values of all registers while they are computed: room for the
// register and the digest that extends it.
type bank struct {
	values [pcrs][maxDigest]byte
	used   [pcrs]bool
}

// start is the value of PCR 0 before the first extend: a TPM that is started
// from locality 3, or whose first measurement is made by hardware (H-CRTM), does
// not begin with zero.
func (b *bank) start(l *Log, size int) {
	if l.Kind != TPM {
		return
	}
	for i := range l.Events {
		e := &l.Events[i]
		if loc, ok := e.locality(); ok {
			b.values[0][size-1] = loc
		}
		if e.Index == 0 && e.Extends() {
			if e.Type == evHCRTM {
				b.values[0][size-1] = localityHCRTM
			}
			return
		}
	}
}

func (l *Log) replay(alg Alg) (*bank, error) {
	size := alg.Size()
	if size == 0 || !l.Has(alg) {
		return nil, fmt.Errorf("eventlog: the log has no digests of %s", alg)
	}
	b := new(bank)
	b.start(l, size)
	var in [2 * maxDigest]byte
	for i := range l.Events {
		e := &l.Events[i]
		if !e.Extends() {
			continue
		}
		copy(in[:], b.values[e.Index][:size])
		copy(in[size:], e.Digest(alg))
		alg.sum(&b.values[e.Index], in[:2*size])
		b.used[e.Index] = true
	}
	return b, nil
}

// value is a register at the end of the log.
func (b *bank) value(l *Log, index uint32, size int) []byte {
	if l.Kind == TPM && index >= firstDynamic && index <= lastDynamic && !b.used[index] {
		return bytes.Repeat([]byte{0xff}, size)
	}
	return bytes.Clone(b.values[index][:size])
}

// Replay computes the registers into which the log says that something was
// extended, by index. Registers begin with zero, PCR 0 with the locality of a
// StartupLocality event. PCRs 17 to 22 with events begin with zero as well,
// which says nothing about whether a dynamic launch took place. The error says
// that the log has no such bank.
func (l *Log) Replay(alg Alg) (map[uint32][]byte, error) {
	b, err := l.replay(alg)
	if err != nil {
		return nil, err
	}
	out := map[uint32][]byte{}
	for i := range l.Kind.registers() {
		if b.used[i] {
			out[i] = b.value(l, i, alg.Size())
		}
	}
	return out, nil
}

// Mismatch is the error for a log that is not the one of these registers.
type Mismatch struct {
	// Index is the first register that differs, Register its name.
	Index    uint32
	Register string
	// Want is the signed value, Got the one that the log gives.
	Want, Got []byte
	// Events is how many events of the log extend the register.
	Events int
}

func (m *Mismatch) Error() string {
	return fmt.Sprintf("eventlog: %s (register %d of the log) is %x, the %d events of the log give %x", m.Register, m.Index, m.Want, m.Events, m.Got)
}

// Match replays the log against signed registers, by index. Each of them has to
// have exactly the value that the log gives; one without events has to have its
// initial value. What the log says about other registers counts for nothing.
// The error is a *Mismatch that names the first register that differs, or says
// that there is no such bank or register.
func (l *Log) Match(alg Alg, signed map[uint32][]byte) (*Matched, error) {
	b, err := l.replay(alg)
	if err != nil {
		return nil, err
	}
	m := &Matched{log: l, alg: alg}
	for _, i := range slices.Sorted(maps.Keys(signed)) {
		if i >= l.Kind.registers() {
			return nil, fmt.Errorf("eventlog: there is no register %d", i)
		}
		if got := b.value(l, i, alg.Size()); !bytes.Equal(got, signed[i]) {
			return nil, &Mismatch{Index: i, Register: l.Kind.Register(i), Want: bytes.Clone(signed[i]), Got: got, Events: l.count(i)}
		}
		m.covered[i] = true
	}
	m.prove()
	return m, nil
}

// Compare is Match for who wants the answer only.
func (l *Log) Compare(alg Alg, signed map[uint32][]byte) error {
	_, err := l.Match(alg, signed)
	return err
}

// Touches says whether the log has events that extend a register.
func (l *Log) Touches(index uint32) bool { return l.count(index) > 0 }

func (l *Log) count(index uint32) int {
	n := 0
	for i := range l.Events {
		if l.Events[i].Index == index && l.Events[i].Extends() {
			n++
		}
	}
	return n
}
