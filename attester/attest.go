// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
)

// PlainCollection is the collection type of a composite without a commitment.
const PlainCollection = "tag:github.com,2026:assize/simulated"

// oversize is the length to which Oversized pads a leaf: one byte more than a
// leaf may have.
func oversize() int { return limits.Default().Leaf + 1 }

// Leaf is one leaf of a composite.
type Leaf struct {
	Path  evidence.Path
	Kind  Kind
	Type  evidence.MediaType
	Value []byte
}

// Composite is the evidence of a whole machine before it is encoded.
type Composite struct {
	// Type is the collection type.
	Type   string
	Leaves []Leaf
	// altered: something of a device was changed after it was collected.
	altered bool
	// Delay is how long the machine takes; whoever hands it out waits.
	Delay time.Duration
}

// session is one challenge on its way through the machine.
type session struct {
	nonce  []byte
	signer string // thumbprint of who signs the whole, "" for nobody
	// stretch derives every challenge by SHAKE-256, also one of the same size.
	stretch bool
	// plain: no commitment, whatever the machine could do.
	plain bool
	// tsm: the CPU's report travels as a TSM report.
	tsm bool
	// data are the runtime data of a convention of others, nil without.
	data *evidence.RuntimeData
}

// derive is the challenge of a part (decisions D-28 and D-54): the nonce
// itself where its size fits, else SHAKE-256 to that size; or by the convention
// of others that the composite declares (decision D-93).
func (s session) derive(size int) []byte {
	if s.data != nil {
		answer := func() ([]byte, error) { return s.data.Device(s.nonce, size) }
		if size == evidence.CommitmentSize {
			answer = func() ([]byte, error) { return s.data.Report(s.nonce, nil) }
		}
		out, err := answer()
		if err != nil { // of a size that no part has
			return nil
		}
		return out
	}
	if len(s.nonce) == size && !s.stretch {
		return s.nonce
	}
	return sha3.SumSHAKE256(s.nonce, size)
}

// of is the same session with another nonce of the same length.
func (s session) of(m *Machine, what FaultKind) session {
	out := s
	out.nonce = m.seed.Sub(string(what)).Bytes(len(s.nonce))
	return out
}

// for1 is the session that a part believes to be in.
func (s session) for1(m *Machine, p *slot) session {
	switch {
	case p.faults[StaleNonce]:
		return s.of(m, StaleNonce)
	case p.faults[ForeignNonce]:
		return s.of(m, ForeignNonce)
	}
	return s
}

// Attest answers a challenge of 8 to 64 bytes.
func (m *Machine) Attest(nonce []byte) (*Composite, error) { return m.attest(session{nonce: nonce}) }

func (m *Machine) attest(s session) (*Composite, error) {
	if len(s.nonce) < limits.NonceMin || len(s.nonce) > limits.NonceMax {
		return nil, fmt.Errorf("attester: a nonce has %d to %d bytes, not %d", limits.NonceMin, limits.NonceMax, len(s.nonce))
	}
	c := &Composite{Type: PlainCollection}
	if err := m.declare(c, &s); err != nil {
		return nil, err
	}
	var about subject
	for _, g := range m.groups {
		a, err := m.collect(g, s)
		if err != nil {
			return nil, err
		}
		about.leaves, about.parts = append(about.leaves, g.leaves(a.collected)...), append(about.parts, g.parts(a.collected)...)
		c.Leaves = append(c.Leaves, g.leaves(a.sent)...)
		c.altered = c.altered || !slices.EqualFunc(a.collected, a.sent, bytes.Equal)
	}
	if err := m.attestCPU(c, s, about); err != nil {
		return nil, err
	}
	for _, p := range m.all() {
		if p.faults[Slow] {
			c.Delay = SlowDelay
		}
		m.damage(c, p)
	}
	return c, nil
}

// answers are what the parts of a group said: as the agent in the CPU TEE
// collected it, and as it arrived.
type answers struct{ collected, sent [][]byte }

func (a *answers) add(collected, sent []byte) {
	a.collected, a.sent = append(a.collected, collected), append(a.sent, sent)
}

func (m *Machine) collect(g *group, s session) (a answers, err error) {
	var more [][]byte // further parts stand behind the others
	for _, p := range g.slots {
		if p.faults[Missing] {
			continue
		}
		here, err := p.device.Evidence(s.for1(m, p).derive(g.kind.nonceSize()))
		if err != nil {
			return a, fmt.Errorf("attester: %s: %w", p.label, err)
		}
		arrived := here
		switch {
		case p.faults[ForeignMachine]:
			arrived, err = p.other.Evidence(s.derive(g.kind.nonceSize()))
		case p.faults[Relayed]:
			arrived, err = p.device.Evidence(s.of(m, Relayed).derive(g.kind.nonceSize()))
		}
		if err != nil {
			return a, fmt.Errorf("attester: %s: %w", p.label, err)
		}
		a.add(here, arrived)
		if p.faults[Extra] {
			extra, err := p.extra.Evidence(s.derive(g.kind.nonceSize()))
			if err != nil {
				return a, fmt.Errorf("attester: further %s: %w", p.label, err)
			}
			more = append(more, extra)
		}
	}
	g.duplicate(&a)
	for _, e := range more {
		a.add(e, e)
	}
	return a, nil
}

// duplicate lets parts answer for their neighbours, or under a further label
// where they have none.
func (g *group) duplicate(a *answers) {
	for i, p := range g.slots {
		switch n := len(a.collected); {
		case !p.faults[Duplicate] || i >= n:
		case n == 1:
			a.add(a.collected[i], a.sent[i])
		default:
			other := (i + 1) % n
			a.collected[other], a.sent[other] = a.collected[i], a.sent[i]
		}
	}
}

// leaves puts the answers of a group where they belong.
func (g *group) leaves(answers [][]byte) []Leaf {
	if len(answers) == 0 {
		return nil
	}
	if g.array {
		return []Leaf{{g.path, g.kind, g.media, nvidia.Array(answers...)}}
	}
	out := make([]Leaf, len(answers))
	for i, a := range answers {
		path := g.path + evidence.Path("/"+strconv.Itoa(i))
		if g.single {
			path = g.path
			if i > 0 {
				path += "-extra"
			}
		}
		out[i] = Leaf{path, g.kind, g.media, a}
	}
	return out
}

// parts are the components of the leaves: devices that share a leaf one by one.
func (g *group) parts(answers [][]byte) []Leaf {
	if !g.array {
		return g.leaves(answers)
	}
	out := make([]Leaf, len(answers))
	for i, a := range answers {
		out[i] = Leaf{g.path.Index(i), g.kind, g.media, nvidia.Array(a)}
	}
	return out
}

// attestCPU adds the CPU TEE, which speaks about the others.
func (m *Machine) attestCPU(c *Composite, s session, about subject) error {
	p := m.cpu
	if p == nil || p.faults[Missing] {
		return nil
	}
	bind := m.binds(BindCommitment, s)
	if bind {
		c.Type = evidence.BoundCollection
	}
	reportData := func(s session, about subject) ([]byte, error) {
		switch {
		case s.data != nil:
			additional, err := additionalEvidence(about.leaves)
			if err != nil {
				return nil, err
			}
			return s.data.Report(s.nonce, additional)
		case !bind:
			return s.derive(p.kind.nonceSize()), nil
		}
		sum, err := evidence.Commitment{Nonce: s.nonce, Leaves: about.digests(), Signer: s.signer}.Sum()
		return sum[:], err
	}
	who, as, media := p.device, s.for1(m, p), m.cpuType
	shop, k := m.own, p.knobs()
	if s.tsm {
		who, media = m.tsm, m.tsmType
	}
	switch {
	case p.faults[ForeignMachine]: // it has other parts to speak about
		about, shop, k = m.elsewhere(), m.foreign, knobs{}
		who = m.cpu.other
		if s.tsm {
			who = m.otherTSM
		}
	case p.faults[Relayed]:
		as = s.of(m, Relayed)
	}
	data, err := reportData(as, about)
	if err == nil && m.d.Binding == BindAK {
		data, err = m.bindAK()
	}
	if err == nil && m.binds(BindEvent, s) {
		who, err = m.measuring(shop, k, about)
	}
	var raw []byte
	if err == nil {
		raw, err = who.Evidence(data)
	}
	if err != nil {
		return fmt.Errorf("attester: %s: %w", p.label, err)
	}
	c.Leaves = append(c.Leaves, Leaf{p.label, p.kind, media, raw})
	if !p.faults[Extra] {
		return nil
	}
	if raw, err = m.cpu.other.Evidence(s.derive(p.kind.nonceSize())); err != nil {
		return fmt.Errorf("attester: further %s: %w", p.label, err)
	}
	c.Leaves = append(c.Leaves, Leaf{p.label + "-extra", p.kind, m.cpuType, raw})
	return nil
}

// bindAK is the report data of Azure's paravisor: the SHA-256 of the runtime
// data, and zeros.
func (m *Machine) bindAK() ([]byte, error) {
	for _, g := range m.groups {
		if g.kind == KindTPM {
			sum := sha256.Sum256(g.slots[0].device.(interface{ RuntimeData() []byte }).RuntimeData())
			return append(sum[:], make([]byte, KindTDX.nonceSize()-len(sum))...), nil
		}
	}
	return nil, fmt.Errorf("attester: no vTPM")
}

// damage makes the faults that happen to the bytes of a leaf on their way.
func (m *Machine) damage(c *Composite, p *slot) {
	if !p.faults[Truncated] && !p.faults[Oversized] {
		return
	}
	for i := range c.Leaves {
		l := &c.Leaves[i]
		if l.Kind != p.kind || !p.label.Under(l.Path) {
			continue
		}
		c.altered = true
		if p.faults[Truncated] {
			l.Value = l.Value[:len(l.Value)/2]
		}
		if p.faults[Oversized] {
			l.Value = append(bytes.Clone(l.Value), bytes.Repeat([]byte(" "), max(0, oversize()-len(l.Value)))...)
		}
	}
}
