// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// State is what the firmware measured about itself before it handed over.
type State struct {
	// SecureBoot is whether UEFI Secure Boot was on.
	SecureBoot bool
	// Variables are those of the secure boot policy whose contents are proven
	// (SecureBoot, PK, KEK, db, dbx …), in their order.
	Variables []Variable
	// Authorities are the entries of db, or of a boot loader's own list, by which
	// images were accepted, in their order, as far as their data are proven.
	Authorities []Variable
	// DMAProtectionOff says that the firmware measured the text "DMA Protection
	// Disabled".
	DMAProtectionOff bool
}

// Variable is a UEFI variable whose name and contents were measured.
type Variable struct {
	// Number is that of the event in the log, from 1.
	Number int
	// Vendor is the GUID in its byte order on the wire.
	Vendor [16]byte
	Name   string
	// Data is a slice of the parsed log.
	Data []byte
}

// StateError says why nothing is known about the state of the firmware, though
// the log replays: it is ambiguous, incomplete, or firmware itself reported an
// error.
type StateError struct {
	// Number is that of the event, 0 if it is not one event.
	Number int
	// Register is its name.
	Register string
	// Reason says what is wrong.
	Reason string
}

func (e *StateError) Error() string {
	if e.Number == 0 {
		return fmt.Sprintf("eventlog: state of the firmware in %s: %s", e.Register, e.Reason)
	}
	return fmt.Sprintf("eventlog: state of the firmware: event %d in %s: %s", e.Number, e.Register, e.Reason)
}

// GUIDs of UEFI in their byte order on the wire.
var (
	guidGlobal   = [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	guidSecurity = [16]byte{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
)

// Names of variables, all but those of guidSecurity of guidGlobal.
const (
	nameSecureBoot = "SecureBoot"
	namePK         = "PK"
	nameKEK        = "KEK"
	nameDB         = "db"
)

// policy is the register of the secure boot policy: PCR 7, which is RTMR0 in
// confidential guests, together with PCR 1.
func (k Kind) policy() uint32 {
	if k == CC {
		return 1
	}
	return 7
}

// separated are the registers that firmware closes with exactly one separator,
// and in which boot variables, of which the contents alone are measured and may
// look like one, do not stand: PCR 2, 4, 5 and 7. RTMR0 holds boot variables too.
func (k Kind) separated(index uint32) bool {
	if k == CC {
		return index == 1 || index == 2
	}
	return index == 2 || index == 4 || index == 5 || index == 7
}

// known are the digests of measurements that can be but one thing, whatever the
// log says about them.
type known struct {
	separator            [maxDigest]byte
	faults               [2][maxDigest]byte
	on, off, empty       [maxDigest]byte
	debugger, dmaDisable [maxDigest]byte
	size                 int
}

func knownDigests(alg Alg) *known {
	k := &known{size: alg.Size()}
	alg.sum(&k.separator, make([]byte, 4))
	alg.sum(&k.faults[0], []byte{0xff, 0xff, 0xff, 0xff})
	alg.sum(&k.faults[1], []byte{1, 0, 0, 0})
	alg.sum(&k.on, secureBootVariable(1))
	alg.sum(&k.off, secureBootVariable(0))
	alg.sum(&k.empty, secureBootVariable())
	alg.sum(&k.debugger, []byte("UEFI Debug Mode"))
	alg.sum(&k.dmaDisable, []byte("DMA Protection Disabled"))
	return k
}

func (k *known) is(digest []byte, want *[maxDigest]byte) bool {
	return string(digest) == string(want[:k.size])
}

// secureBootVariable is the UEFI_VARIABLE_DATA of SecureBoot.
func secureBootVariable(data ...byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint64(guidGlobal[:16:16], uint64(len(nameSecureBoot)))
	out = le.AppendUint64(out, uint64(len(data)))
	for _, c := range nameSecureBoot {
		out = le.AppendUint16(out, uint16(c))
	}
	return append(out, data...)
}

// State finds the state of the firmware in the register of the secure boot
// policy, which has to be among those that matched. It is taken from what comes
// before the first separator, and SecureBoot from the digest of the variable,
// of which there must be exactly one: whoever runs later can extend the register
// with anything, and a boot option that an attacker chose is measured, in
// confidential guests, into the same register. Errors are *StateError.
func (m *Matched) State() (*State, error) {
	s := &stateReader{m: m, k: knownDigests(m.alg), out: &State{}}
	if !m.covered[m.log.Kind.policy()] {
		return nil, s.fail(0, "the register is not signed")
	}
	for i := range m.log.Events {
		e := &m.log.Events[i]
		if !m.has(e) || !m.log.Kind.separated(e.Index) {
			continue
		}
		if err := s.event(i, e); err != nil {
			return nil, err
		}
	}
	return s.finish()
}

type stateReader struct {
	m        *Matched
	k        *known
	out      *State
	closed   [pcrs]bool
	switches int // measurements of SecureBoot
}

func (s *stateReader) fail(number int, format string, args ...any) error {
	index := s.m.log.Kind.policy()
	if number > 0 {
		index = s.m.log.Events[number-1].Index
	}
	return &StateError{Number: number, Register: s.m.log.Kind.Register(index), Reason: fmt.Sprintf(format, args...)}
}

func (s *stateReader) event(i int, e *Event) error {
	digest := e.Digest(s.m.alg)
	switch k := s.k; {
	case k.is(digest, &k.separator):
		if s.closed[e.Index] {
			return s.fail(i+1, "a second separator")
		}
		s.closed[e.Index] = true
	case !s.closed[e.Index] && (k.is(digest, &k.faults[0]) || k.is(digest, &k.faults[1])):
		// Behind the separator these are contents of BootOrder, measured bare.
		return s.fail(i+1, "the separator of firmware that failed")
	case e.Index == s.m.log.Kind.policy():
		return s.policy(i, e, digest)
	}
	return nil
}

func (s *stateReader) policy(i int, e *Event, digest []byte) error {
	k := s.k
	on, off := k.is(digest, &k.on), k.is(digest, &k.off) || k.is(digest, &k.empty)
	switch {
	case on || off:
		if s.switches++; s.switches > 1 || s.closed[e.Index] {
			return s.fail(i+1, "SecureBoot was measured twice, or behind the separator")
		}
		s.out.SecureBoot = on
	case k.is(digest, &k.debugger):
		return s.fail(i+1, "a debugger was attached to the firmware")
	case k.is(digest, &k.dmaDisable):
		s.out.DMAProtectionOff = true
	}
	if v, ok := s.variable(i, e); ok {
		return s.add(i, v, s.closed[e.Index])
	}
	return nil
}

// add files a variable. db is measured as a whole, and then by the entry that an
// image was accepted by. A boot loader's own lists (SbatLevel, MokListTrusted)
// stand under GUIDs of its own.
func (s *stateReader) add(i int, v Variable, closed bool) error {
	have := s.out.Variable(v.Name) != nil
	switch {
	case v.Vendor != guidGlobal && v.Vendor != guidSecurity, v.Vendor == guidSecurity && v.Name == nameDB && (closed || have):
		s.out.Authorities = append(s.out.Authorities, v)
	case v.Vendor == guidGlobal && v.Name != nameSecureBoot && v.Name != namePK && v.Name != nameKEK:
	case closed || have:
		return s.fail(i+1, "variable %s was measured twice, or behind the separator", v.Name)
	default:
		s.out.Variables = append(s.out.Variables, v)
	}
	return nil
}

// variable reads the data of an event as UEFI_VARIABLE_DATA, if they are what
// was measured. Old versions of shim log one byte more than they measure.
func (s *stateReader) variable(i int, e *Event) (Variable, bool) {
	v, ok := parseVariable(e.Data)
	if n := len(e.Data) - 1; !ok && n > 0 && !s.m.whole[i] {
		v, ok = parseVariable(e.Data[:n])
		ok = ok && s.m.alg.covers(e.Digest(s.m.alg), e.Data[:n])
	} else {
		ok = ok && s.m.whole[i]
	}
	v.Number = i + 1
	return v, ok
}

// parseVariable reads UEFI_VARIABLE_DATA: GUID, length of the name in
// characters, length of the data, name in UTF-16, data, and nothing behind.
func parseVariable(raw []byte) (Variable, bool) {
	var v Variable
	if len(raw) < 32 {
		return v, false
	}
	copy(v.Vendor[:], raw)
	name, data, rest := binary.LittleEndian.Uint64(raw[16:]), binary.LittleEndian.Uint64(raw[24:]), uint64(len(raw)-32)
	if name == 0 || name > rest/2 || data != rest-2*name {
		return v, false
	}
	units := make([]uint16, name)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(raw[32+2*i:])
	}
	v.Name, v.Data = string(utf16.Decode(units)), raw[32+2*name:]
	return v, true
}

// finish refuses what cannot be: a policy that was never closed, or Secure Boot
// without keys.
func (s *stateReader) finish() (*State, error) {
	switch {
	case !s.closed[s.m.log.Kind.policy()]:
		return nil, s.fail(0, "there is no separator")
	case s.switches == 0:
		return nil, s.fail(0, "SecureBoot was not measured")
	case !s.out.SecureBoot:
		return s.out, nil
	}
	for _, name := range []string{namePK, nameKEK, nameDB} {
		if v := s.out.Variable(name); v == nil || len(v.Data) == 0 {
			return nil, s.fail(0, "SecureBoot is on, but %s is empty or was not measured", name)
		}
	}
	return s.out, nil
}

// Variable is one of the variables of the secure boot policy by name
// (SecureBoot, PK, KEK, db, dbx …), nil if it was not measured.
func (s *State) Variable(name string) *Variable {
	for i := range s.Variables {
		if v := &s.Variables[i]; v.Name == name && (v.Vendor == guidGlobal || v.Vendor == guidSecurity) {
			return v
		}
	}
	return nil
}
