// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/assize/assize/verdict"
)

// Event types (TCG PC Client Platform Firmware Profile, section 10.4.1).
const (
	evNoAction = 0x00000003
	evHCRTM    = 0x80000010
	// firstSPDM to lastSPDM are EV_EFI_SPDM_FIRMWARE_BLOB, _FIRMWARE_CONFIG,
	// _DEVICE_POLICY and _DEVICE_AUTHORITY.
	firstSPDM = 0x800000e1
	lastSPDM  = 0x800000e4

	specSignature = "Spec ID Event03\x00"
)

// Matched is a log that replayed to signed registers. It has the events of
// these registers only.
type Matched struct {
	log     *Log
	alg     Alg
	covered [pcrs]bool
	// whole says, for each event of the log, whether its digest is one over Data.
	whole []bool
}

// prove finds the events whose data are what was measured.
func (m *Matched) prove() {
	m.whole = make([]bool, len(m.log.Events))
	for i := range m.log.Events {
		e := &m.log.Events[i]
		m.whole[i] = m.has(e) && m.alg.covers(e.Digest(m.alg), e.Data)
	}
}

func (m *Matched) has(e *Event) bool { return e.Extends() && m.covered[e.Index] }

// Proven is an event of a register that matched.
type Proven struct {
	*Event
	// Number counts the events of the whole log, from 1.
	Number int
	// Register is its name: see Kind.Register.
	Register string
	// Digest is what was extended, in the bank that was compared.
	Digest []byte
	// Whole says that the digest is one over Data, so that Data are as certain as
	// the register. If it is false, Data are only what the log claims.
	Whole bool
}

func (m *Matched) proven(i int) Proven {
	e := &m.log.Events[i]
	return Proven{Event: e, Number: i + 1, Register: m.log.Kind.Register(e.Index), Digest: e.Digest(m.alg), Whole: m.whole[i]}
}

// Events are the events behind the registers that matched, in their order.
func (m *Matched) Events() []Proven {
	var out []Proven
	for i := range m.log.Events {
		if m.has(&m.log.Events[i]) {
			out = append(out, m.proven(i))
		}
	}
	return out
}

// class orders events by how much later parts of a verdict need them.
type class int

const (
	device class = iota
	runtime
	boot
)

func (m *Matched) class(p *Proven) class {
	switch {
	case p.Device():
		return device
	case m.log.Kind == CC && p.Index == ccRegisters-1, m.log.Kind == TPM && p.Index >= 8:
		return runtime
	}
	return boot
}

// Facts are at most most events as facts (verdict.Facts.Measured): first those
// of devices, then those of run-time registers (RTMR3, PCR 8 and above), then
// those of the boot; within each class in the order of the log. Content is set
// where the digest is one over the data. omitted is how many were left out.
func (m *Matched) Facts(most int) (facts []verdict.MeasuredEvent, omitted int) {
	events := m.Events()
	slices.SortStableFunc(events, func(a, b Proven) int { return int(m.class(&a) - m.class(&b)) })
	n := min(most, len(events))
	for _, p := range events[:n] {
		f := verdict.MeasuredEvent{Register: p.Register, Digest: hex.EncodeToString(p.Digest), Type: p.Type}
		if p.Whole {
			d := sha256.Sum256(p.Data)
			f.Content = hex.EncodeToString(d[:])
		}
		facts = append(facts, f)
	}
	return facts, len(events) - n
}

// Signatures of DEVICE_SECURITY_EVENT_DATA and its second version.
var deviceSignatures = []string{"SPDM Device Sec\x00", "SPDM Device Sec2"}

// Device says whether the event is about a device that was authenticated by
// SPDM: its proven data begin with the signature of DEVICE_SECURITY_EVENT_DATA,
// or the log gives it one of the types EV_EFI_SPDM_*. The latter is a claim: use
// the digest.
func (p *Proven) Device() bool {
	if p.Whole && slices.ContainsFunc(deviceSignatures, func(s string) bool { return bytes.HasPrefix(p.Data, []byte(s)) }) {
		return true
	}
	return p.Type >= firstSPDM && p.Type <= lastSPDM
}

// Devices are the events about SPDM devices, in their order.
func (m *Matched) Devices() []Proven {
	return slices.DeleteFunc(m.Events(), func(p Proven) bool { return !p.Device() })
}

// Text is a text that GRUB measured. The text is what was measured; its role is
// only what the log says, for no digest covers it: a command can be passed off
// as the kernel's command line.
type Text struct {
	// Number is that of the event, Register its register.
	Number   int
	Register string
	// Role is the prefix in the log: "grub_cmd", "kernel_cmdline",
	// "module_cmdline".
	Role string
	// Text is UTF-8, without the zero byte behind it.
	Text string
}

// Prefixes of GRUB's events and their roles; the last two are those of older
// versions.
var textRoles = []struct{ prefix, role string }{
	{"grub_cmd: ", "grub_cmd"}, {roleKernel + ": ", roleKernel}, {"module_cmdline: ", "module_cmdline"},
	{"grub_kernel_cmdline ", roleKernel}, {"grub_cmd ", "grub_cmd"},
}

const roleKernel = "kernel_cmdline"

// loader is the register in which boot loaders measure commands: PCR 8, which
// is RTMR2 in confidential guests.
func (k Kind) loader() uint32 {
	if k == CC {
		return 3
	}
	return 8
}

// Texts are the commands and command lines that GRUB measured.
func (m *Matched) Texts() []Text {
	var out []Text
	for i := range m.log.Events {
		e := &m.log.Events[i]
		if !m.has(e) || e.Index != m.log.Kind.loader() {
			continue
		}
		for _, r := range textRoles {
			if rest, ok := bytes.CutPrefix(e.Data, []byte(r.prefix)); ok {
				if text, ok := m.text(e, rest); ok {
					out = append(out, Text{Number: i + 1, Register: m.log.Kind.Register(e.Index), Role: r.role, Text: text})
				}
				break
			}
		}
	}
	return out
}

// text is the rest of an event behind its prefix, which GRUB measures without
// the zero byte that it logs.
func (m *Matched) text(e *Event, rest []byte) (string, bool) {
	bare := bytes.TrimSuffix(rest, []byte{0})
	digest := e.Digest(m.alg)
	ok := m.alg.covers(digest, bare) || len(bare) != len(rest) && m.alg.covers(digest, rest)
	s := string(bare)
	return s, ok && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// CommandLine is the command line of the Linux kernel, where GRUB started it and
// measured exactly one. See Text for what is certain about it.
func (m *Matched) CommandLine() (string, bool) {
	line, n := "", 0
	for _, t := range m.Texts() {
		if t.Role == roleKernel {
			line, n = t.Text, n+1
		}
	}
	return line, n == 1
}
