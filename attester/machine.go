// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/psa"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// SlowDelay is how long a machine with the fault Slow takes: longer than the
// default budget of an appraisal.
const SlowDelay = 12 * time.Second

// Options make a Machine.
type Options struct {
	Machine Description
	// Seed makes one of many machines of the same description.
	Seed string
	// Now is when the evidence is made: certificates and collateral are valid
	// around it. It must lie between 2023-07 and 2048.
	Now    time.Time
	Faults []Fault
	// Vendors are the test authorities; nil: those of the text "".
	Vendors *Vendors
}

// Machine is one simulated machine. It is safe for concurrent use.
type Machine struct {
	d       Description
	vendors *Vendors
	seed    pki.Seed
	now     time.Time
	groups  []*group
	cpu     *slot // nil without a CPU TEE
	cpuType evidence.MediaType
	// tsm and otherTSM are the CPU's device and that of the other machine with
	// TSM reports, as ratsd collects them.
	tsm, otherTSM device
	tsmType       evidence.MediaType
	lead          *leader
	// other signs composites that were altered on the way, with BindLead.
	other *leader
	// own and foreign make the CPU TEE anew where its software measures, and events
	// are those of every session.
	own, foreign *workshop
	events       []inteltdx.Event
}

// leader is an agent that signs composites.
type leader struct {
	key    *ecdsa.PrivateKey
	signer *trust.Signer
}

func newLeader(seed pki.Seed) (*leader, error) {
	key, err := seed.Sub("lead").ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewSigner(key)
	return &leader{key, signer}, err
}

// group are equal parts that stand side by side.
type group struct {
	path  evidence.Path
	kind  Kind
	media evidence.MediaType
	// array: all of them are one leaf. single: there is one, at path itself.
	array, single bool
	slots         []*slot
}

// slot is the place of one part.
type slot struct {
	label evidence.Path
	// plain is the label as it is without BindTrustee; faults may name that, too.
	plain  evidence.Path
	kind   Kind
	device device
	faults map[FaultKind]bool
	// other is the part of another machine, or the additional one.
	other, extra device
}

// New builds a machine: keys, certificates and collateral. A fault for a label
// that is not there, or that does not apply to the part, is an error.
func New(o Options) (*Machine, error) {
	d, err := o.Machine.filled()
	if err != nil {
		return nil, err
	}
	if o.Now.Before(time.Date(2023, 7, 1, 0, 0, 0, 0, time.UTC)) || o.Now.Year() > 2047 {
		return nil, fmt.Errorf("attester: simulated time %s is not between 2023-07 and 2048", o.Now.UTC().Format(time.RFC3339))
	}
	if o.Vendors == nil {
		o.Vendors = NewVendors("", o.Now)
	}
	m := &Machine{d: d, vendors: o.Vendors, seed: pki.NewSeed("machine").Sub(d.Name, o.Seed), now: o.Now}
	if m.lead, err = newLeader(m.seed); err != nil {
		return nil, err
	}
	if m.other, err = newLeader(m.seed.Sub("foreign")); err != nil {
		return nil, err
	}
	own := &workshop{d: d, vendors: o.Vendors, seed: m.seed, now: o.Now}
	m.layOut()
	if err := m.place(o.Faults); err != nil {
		return nil, err
	}
	foreign := *own
	foreign.seed = m.seed.Sub("foreign")
	if d.Binding == BindLead && (m.cpu == nil || !m.cpu.faults[Unbound]) {
		own.lead, foreign.lead = &m.lead.key.PublicKey, &m.other.key.PublicKey
	}
	m.own, m.foreign = own, &foreign
	return m, m.build(own, &foreign)
}

// path is where a group stands in the composite.
func (m *Machine) path(name string) evidence.Path {
	if m.d.Binding == BindTrustee {
		switch name {
		case "", "cpu":
			return evidence.Path(name)
		case "gpu":
			return trusteeNVIDIA
		}
		return evidence.Path(trusteeCMW + name)
	}
	if m.d.Layout != Nested {
		return evidence.Path(name)
	}
	switch name {
	case "gpu", "switch":
		return evidence.Path("node/board/" + name)
	case "nic":
		return evidence.Path("node/pcie/" + name)
	}
	return evidence.Path("node/" + name)
}

// layOut makes the empty places.
func (m *Machine) layOut() {
	if Kind(m.d.CPU.Kind) != kindNone {
		m.cpu = &slot{label: m.path("cpu"), kind: Kind(m.d.CPU.Kind)}
	}
	add := func(name string, kind Kind, media string, n int) *group {
		g := &group{path: m.path(name), kind: kind, media: evidence.MediaType{Base: media}}
		for i := range n {
			s := &slot{label: g.path.Index(i), kind: kind}
			if m.d.Binding == BindTrustee {
				s.plain = evidence.Path(name).Index(i)
			}
			g.slots = append(g.slots, s)
		}
		if n > 0 {
			m.groups = append(m.groups, g)
		}
		return g
	}
	add("gpu", KindGPU, nvidia.MediaType, m.d.GPUs.Count).array = true
	add("switch", KindSwitch, nvidia.MediaType, m.d.Switches.Count).array = true
	add("nic", KindSPDM, spdm.MediaType, m.d.Devices.Count)
	add("psa", KindPSA, psa.MediaType, m.d.PSA.Count)
	if m.d.VTPM.Key != "" {
		g := add("vtpm", KindTPM, tcgtpm.MediaTypeCBOR, 1)
		g.single, g.slots[0].label = true, g.path
		if m.d.Binding == BindTrustee {
			g.slots[0].plain = "vtpm"
		}
	}
}

// all are the places, CPU first.
func (m *Machine) all() []*slot {
	var out []*slot
	if m.cpu != nil {
		out = append(out, m.cpu)
	}
	for _, g := range m.groups {
		out = append(out, g.slots...)
	}
	return out
}

// Part is one part of a machine.
type Part struct {
	Label evidence.Path
	Kind  Kind
}

// Parts are the parts of the machine as it should be, CPU first.
func (m *Machine) Parts() []Part {
	var out []Part
	for _, s := range m.all() {
		out = append(out, Part{s.label, s.kind})
	}
	return out
}

// place notes the faults at their places.
func (m *Machine) place(faults []Fault) error {
	for _, f := range faults {
		slots := m.all()
		i := slices.IndexFunc(slots, func(s *slot) bool { return s.label == f.Label || s.plain != "" && s.plain == f.Label })
		if i < 0 {
			return fmt.Errorf("attester: fault %s: the machine has no part with this label", f)
		}
		s := slots[i]
		if !Applies(f.Kind, s.kind) || !m.d.has(f.Kind) {
			return fmt.Errorf("attester: fault %s: it does not apply to this part of this machine", f)
		}
		if s.faults[f.Kind] {
			return fmt.Errorf("attester: fault %s is given twice", f)
		}
		if s.faults == nil {
			s.faults = map[FaultKind]bool{}
		}
		s.faults[f.Kind] = true
	}
	return nil
}

// has tells whether there is what the fault is about.
func (d Description) has(f FaultKind) bool {
	switch f {
	case Unbound:
		return slices.Contains([]string{BindCommitment, BindTrustee, BindLead, BindEvent}, d.Binding)
	case ReportSwapped, Unlocked:
		return d.Devices.TDISP
	case OneSidedLink, RepeatedLink, ForeignLinks:
		return d.GPUs.Count > 0 && d.Switches.Count > 0
	case OtherMode:
		return d.hopper()
	case RIMVintage, RIMConflict:
		return d.GPUs.Kind != gpuFSP
	}
	if own, ok := spdmFault(f); ok {
		return own.Applies(d.Devices.options(Kind(d.CPU.Kind)))
	}
	return true
}

func (s *slot) knobs() (k knobs) {
	for f := range s.faults {
		k.set(f)
	}
	return k
}

// build makes the parts, the CPU last: its event log speaks about the others.
func (m *Machine) build(own, foreign *workshop) error {
	var events []inteltdx.Event
	for _, g := range m.groups {
		for i, s := range g.slots {
			var err error
			if s.device, err = make1(own, g.kind, i, s.knobs()); err != nil {
				return fmt.Errorf("attester: %s: %w", s.label, err)
			}
			if s.faults[ForeignMachine] {
				s.other, err = make1(foreign, g.kind, i, knobs{})
			}
			if err == nil && s.faults[Extra] {
				s.extra, err = make1(own, g.kind, len(g.slots)+i, knobs{})
			}
			if err == nil && g.kind == KindSPDM && m.d.Devices.TDISP {
				events, err = m.accept(events, s)
			}
			if err == nil && g.kind == KindTPM && m.d.Binding == BindAK {
				own.runtime = s.device.(*tcgtpm.Device).RuntimeData()
			}
			if err != nil {
				return fmt.Errorf("attester: %s: %w", s.label, err)
			}
		}
	}
	if m.cpu == nil {
		return nil
	}
	return m.buildCPU(own, foreign, events)
}

func (m *Machine) buildCPU(own, foreign *workshop, events []inteltdx.Event) (err error) {
	m.events = events
	if m.cpu.device, m.cpuType, err = own.cpu(m.cpu.knobs(), events); err != nil {
		return fmt.Errorf("attester: %s: %w", m.cpu.label, err)
	}
	if m.tsm, m.tsmType, err = own.tsm(m.cpu.knobs(), events); err == nil {
		m.otherTSM, _, err = foreign.tsm(knobs{}, events)
	}
	if err != nil {
		return fmt.Errorf("attester: %s: %w", m.cpu.label, err)
	}
	if m.cpu.other, _, err = foreign.cpu(knobs{}, events); err != nil {
		return fmt.Errorf("attester: %s: %w", m.cpu.label, err)
	}
	return nil
}

// make1 makes part number i of a kind.
func make1(w *workshop, kind Kind, i int, k knobs) (device, error) {
	switch kind {
	case KindGPU:
		return w.gpu(i, k)
	case KindSwitch:
		return w.nvswitch(i, k)
	case KindSPDM:
		return w.spdm(i, k)
	case KindPSA:
		return w.psa(i, k)
	case KindTPM:
		if i > 0 {
			again := *w
			again.seed = w.seed.Sub(strconv.Itoa(i))
			w = &again
		}
		return w.tpm(k)
	}
	return nil, errors.New("attester: unknown kind " + string(kind))
}

// eventTag is EV_EVENT_TAG (TCG PC Client Platform Firmware Profile).
const eventTag = 6

// accept measures a device as the software of a TD does when it takes one into
// its trust boundary: the digests that the security manager recorded go into
// RTMR3, by the label of the device.
func (m *Machine) accept(events []inteltdx.Event, s *slot) ([]inteltdx.Event, error) {
	if Kind(m.d.CPU.Kind) != KindTDX {
		return events, nil
	}
	dev := s.device.(*spdm.Device)
	raw, err := dev.Evidence(m.seed.Sub("accept", string(s.label)).Bytes(KindSPDM.nonceSize()))
	if err != nil {
		return nil, err
	}
	d, err := dev.Digests(raw)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`{"assize.tdisp":%q,"certificates":%q,"measurements":%q,"report":%q,"tsm":%q,"state":%q}`, string(s.label),
		hex.EncodeToString(d.Certificates), hex.EncodeToString(d.Measurements), hex.EncodeToString(d.Report), hex.EncodeToString(d.TSMInfo), hex.EncodeToString(d.State))
	return append(events, inteltdx.Event{RTMR: 3, Type: eventTag, Data: []byte(text)}), nil
}
