// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// draft is a component before anybody signed for it.
type draft struct {
	label, class, scheme, rule string
	required, silent, extra    bool
	freshness                  verdict.Freshness
	vector                     verdict.Vector
	facts                      verdict.Facts
	reasons                    []verdict.Reason
}

// machine is a random composite.
type machine struct {
	parts        []draft
	nonce        []byte
	requirements []verdict.Requirement
	caps         []verdict.Cap
}

func (m machine) clone() machine {
	m.parts = slices.Clone(m.parts)
	for i := range m.parts {
		f := &m.parts[i].facts
		f.Keys, f.Device, f.Peers = slices.Clone(f.Keys), slices.Clone(f.Device), slices.Clone(f.Peers)
		f.Objects, f.Commitments = slices.Clone(f.Objects), slices.Clone(f.Commitments)
		m.parts[i].reasons = slices.Clone(m.parts[i].reasons)
	}
	m.requirements, m.caps = slices.Clone(m.requirements), slices.Clone(m.caps)
	return m
}

func digestOf(n int) string { return fmt.Sprintf("%064x", n+1) }

// randomMachine has a CPU TEE most of the time, and devices that are joined to it by
// this or that, or by nothing.
func randomMachine(r *mathrand.Rand) machine {
	good := []verdict.Claim{2, 2, 2, 2, 2, 3, 0, 32, 33, 96}
	if r.IntN(2) == 0 {
		good = []verdict.Claim{2}
	}
	m := machine{nonce: []byte(testNonce)}
	if r.IntN(8) == 0 {
		m.nonce = nil
	}
	var devices []draft
	for i := range r.IntN(5) {
		d := draft{label: fmt.Sprintf("gpu/%d", i), class: "device", scheme: "nvidia-gpu", required: r.IntN(6) > 0, rule: "same"}
		if r.IntN(4) == 0 {
			d.label, d.scheme = fmt.Sprintf("switch/%d", i), "nvidia-nvswitch"
		}
		d.facts.SignerSPKI, d.facts.Device = digestOf(i), []string{fmt.Sprintf("nvidia-pdi:%d", i)}
		for j := range i {
			if r.IntN(3) == 0 { // a link, named at both ends
				d.facts.Peers = append(d.facts.Peers, fmt.Sprintf("nvidia-pdi:%d", j))
				devices[j].facts.Peers = append(devices[j].facts.Peers, fmt.Sprintf("nvidia-pdi:%d", i))
			}
		}
		d.facts.PeersRequired = len(d.facts.Peers) > 0 && r.IntN(3) == 0
		if r.IntN(4) == 0 {
			d.facts.Objects = []verdict.Object{
				{Name: verdict.ObjectCertificates, Alg: verdict.AlgSHA384, Digest: fmt.Sprintf("%096x", i)},
				{Name: verdict.ObjectReport, Alg: verdict.AlgSHA384, Digest: fmt.Sprintf("%096x", 100+i)},
			}
		}
		devices = append(devices, d)
	}
	m.parts = devices
	if r.IntN(10) > 0 {
		cpu := draft{label: "cpu", class: "cpu-tee", scheme: "intel-tdx", required: true, rule: []string{"same", topologies.RuleCommitment}[r.IntN(2)]}
		for i, d := range devices {
			if r.IntN(2) == 0 {
				cpu.facts.Keys = append(cpu.facts.Keys, verdict.CommittedKey{SPKI: digestOf(i), Via: "runtime-data", Origin: []string{verdict.OriginApplication, verdict.OriginMeasured, verdict.OriginHardware}[r.IntN(3)]})
			}
			for _, o := range d.facts.Objects {
				if r.IntN(4) > 0 {
					cpu.facts.Commitments = append(cpu.facts.Commitments, verdict.Commitment{Subject: d.label, Object: o.Name, Alg: o.Alg, Digest: o.Digest, Via: "event-log", Origin: verdict.OriginMeasured})
				}
			}
		}
		m.parts = append(m.parts, cpu)
	}
	for i := range m.parts {
		p := &m.parts[i]
		p.freshness = verdict.FreshnessFresh
		if m.nonce == nil || r.IntN(12) == 0 {
			p.freshness = verdict.FreshnessNotEstablished
		}
		p.vector[verdict.Hardware], p.vector[verdict.Executables], p.vector[verdict.Configuration] = 2, good[r.IntN(len(good))], good[r.IntN(len(good))]
		p.silent, p.extra = r.IntN(12) == 0, r.IntN(8) == 0
	}
	if r.IntN(3) == 0 {
		n := 1 + r.IntN(4)
		m.requirements = []verdict.Requirement{
			{Label: "cpu", Source: verdict.SourceConfiguration},
			{Label: "gpu/*", AtLeast: &n, Source: verdict.SourceConfiguration}, {Label: "switch/*", Optional: true, Source: verdict.SourceConfiguration},
		}
	}
	slices.SortFunc(m.parts, func(a, b draft) int { return strings.Compare(a.label, b.label) })
	return m
}

// board is a whole one in protected PCIe, with a CPU TEE that commits to it; one in
// two has something wrong with one device.
func board(r *mathrand.Rand) machine {
	m := machine{nonce: []byte(testNonce)}
	cpu := draft{label: "cpu", class: "cpu-tee", scheme: "intel-tdx", required: true, rule: topologies.RuleCommitment}
	m.parts = []draft{cpu}
	for i := range 12 {
		d := draft{label: fmt.Sprintf("gpu/%d", i), class: "device", scheme: "nvidia-gpu", required: true, rule: "same"}
		first, last := 8, 12
		if i >= 8 {
			d.label, d.scheme, first, last = fmt.Sprintf("switch/%d", i-8), "nvidia-nvswitch", 0, 8
		}
		d.facts.Device, d.facts.PeersRequired = []string{fmt.Sprintf("nvidia-pdi:%d", i)}, true
		for j := first; j < last; j++ {
			d.facts.Peers = append(d.facts.Peers, fmt.Sprintf("nvidia-pdi:%d", j))
		}
		m.parts = append(m.parts, d)
	}
	for i := range m.parts {
		p := &m.parts[i]
		p.freshness = verdict.FreshnessFresh
		p.vector[verdict.Hardware], p.vector[verdict.Executables], p.vector[verdict.Configuration] = 2, 2, 2
	}
	if r.IntN(2) == 0 {
		m.parts[r.IntN(len(m.parts))].vector[verdict.Configuration] = 32
	}
	return m
}

// worsen changes one thing for the worse, and says which; "" if there was nothing.
func worsen(r *mathrand.Rand, m *machine) string {
	if len(m.parts) == 0 {
		return ""
	}
	p := &m.parts[r.IntN(len(m.parts))]
	switch r.IntN(15) {
	case 0, 1, 2:
		n := []verdict.ClaimName{verdict.Hardware, verdict.Executables, verdict.Configuration}[r.IntN(3)]
		worse := []verdict.Claim{32, 33, 36, 96, 97, 99}[r.IntN(6)]
		if was := p.vector[n]; was != verdict.ClaimNone && !worse.Tier().WorseThan(was.Tier()) {
			return ""
		}
		p.vector[n] = worse
		return fmt.Sprintf("%s: %s is %d", p.label, n, worse)
	case 3:
		if p.vector[verdict.Executables].Tier() != verdict.TierAffirming {
			return ""
		}
		p.vector[verdict.Executables] = verdict.ClaimNone
		return p.label + ": nothing about executables"
	case 4:
		if p.freshness != verdict.FreshnessFresh {
			return ""
		}
		p.freshness = verdict.FreshnessNotEstablished
		return p.label + ": freshness open"
	case 5:
		if p.freshness == verdict.FreshnessMismatch || m.nonce == nil {
			return ""
		}
		p.freshness = verdict.FreshnessMismatch
		return p.label + ": another challenge"
	case 6:
		if p.silent || status(p) == verdict.TierContraindicated {
			return "" // silence instead of a refusal is no change for the worse
		}
		// What others say of somebody who is not heard is not known to be wrong.
		if len(p.facts.Peers)+len(p.facts.Commitments)+len(p.facts.Keys)+len(p.facts.Objects) > 0 || collides(m, p) {
			return ""
		}
		p.silent = true
		return p.label + ": no result"
	case 7:
		if p.required {
			return ""
		}
		p.required = true
		return p.label + ": required"
	case 8:
		if len(p.facts.Keys) == 0 {
			return ""
		}
		p.facts.Keys = p.facts.Keys[1:]
		if len(m.parts) > 1 && r.IntN(2) == 0 {
			p.facts.Keys = append(p.facts.Keys, verdict.CommittedKey{SPKI: digestOf(77), Via: "runtime-data", Origin: verdict.OriginApplication})
		}
		return p.label + ": commits to one key less"
	case 9:
		if len(p.facts.Commitments) == 0 {
			return ""
		}
		p.facts.Commitments[0].Digest = fmt.Sprintf("%096x", 999)
		return p.label + ": a digest of something else"
	case 10:
		other := m.parts[r.IntN(len(m.parts))]
		if other.label == p.label || len(other.facts.Device) == 0 || len(p.facts.Device) == 0 || p.silent || other.silent {
			return ""
		}
		p.facts.Device = append(p.facts.Device, other.facts.Device[0])
		if len(p.facts.Peers)+len(other.facts.Peers) > 0 {
			return ""
		}
		return p.label + ": is " + other.label + " as well"
	case 11:
		p.extra = true
		return p.label + ": extra roots"
	case 12:
		n := 200
		m.requirements = append(m.requirements, verdict.Requirement{Label: p.label, AtLeast: &n, Source: verdict.SourceConfiguration})
		if len(m.requirements) == 1 {
			m.requirements = append(m.requirements, verdict.Requirement{Label: "*", Source: verdict.SourceConfiguration})
		}
		return "200 of " + p.label + " are wanted"
	case 13:
		if len(p.facts.Keys)+len(p.facts.Commitments) == 0 {
			return ""
		}
		for i := range p.facts.Keys {
			p.facts.Keys[i].Origin = verdict.OriginApplication
		}
		for i := range p.facts.Commitments {
			p.facts.Commitments[i].Origin = verdict.OriginApplication
		}
		return p.label + ": an application wrote its commitments"
	}
	m.caps = append(m.caps, verdict.Cap{Tier: []verdict.Tier{verdict.TierWarning, verdict.TierNone, verdict.TierContraindicated}[r.IntN(3)], Reason: verdict.Reason{Code: verdict.ReasonMissingMember, Detail: "x"}})
	return "one more cap"
}

// collides: another component says that it is the same device, which is found only
// as long as both are heard.
func collides(m *machine, p *draft) bool {
	return slices.ContainsFunc(m.parts, func(d draft) bool {
		return d.label != p.label && slices.ContainsFunc(d.facts.Device, func(id string) bool { return slices.Contains(p.facts.Device, id) })
	})
}

func status(p *draft) verdict.Tier {
	if p.freshness == verdict.FreshnessMismatch {
		return verdict.TierContraindicated
	}
	return p.vector.Status()
}

// notary signs partial results for any scheme.
type notary struct {
	signer  *trust.Signer
	anchors *trust.Anchors
}

func newNotary(t *testing.T) notary {
	s, err := trust.GenerateSigner("EdDSA", rand.Reader)
	check(t, err)
	return notary{s, mustAnchors(t, s.Key("v", []string{"intel-tdx", "nvidia-gpu", "nvidia-nvswitch"}, trust.RoleVerifier))}
}

func (n notary) component(t *testing.T, m machine, p draft) verdict.Component {
	t.Helper()
	now := time.Unix(1750000000, 0)
	c := verdict.Component{
		Label: evidence.Path(p.label), Scheme: p.scheme, Class: p.class, Required: p.required, MediaType: "a/b",
		NonceRule: p.rule, Request: strings.Repeat("0a", 16), Evidence: sha256.Sum256([]byte(p.label)),
	}
	if m.nonce == nil {
		c.NonceRule = ""
	} else {
		c.Nonce = m.nonce
	}
	if p.silent {
		c.Reasons = []verdict.Reason{{Code: verdict.ReasonTimeout}}
		return c
	}
	a := verdict.Appraisal{Freshness: p.freshness, Vector: p.vector, Facts: p.facts, Reasons: p.reasons}
	if p.extra {
		a.Reasons = append(slices.Clone(a.Reasons), verdict.Reason{Code: verdict.ReasonExtraRoots})
	}
	if p.freshness == verdict.FreshnessFresh {
		a.NonceSeen = m.nonce
	}
	token, err := verdict.SignPartial(n.signer, verdict.Issue{
		Verifier: verdict.Identity{Developer: "d", Build: "b"}, Label: c.Label, Scheme: c.Scheme, MediaType: c.MediaType,
		Request: c.Request, Nonce: c.Nonce, NonceRule: c.NonceRule, Evidence: c.Evidence, IssuedAt: now, Expires: now.Add(time.Minute),
	}, a)
	check(t, err)
	c.Partial, err = verdict.VerifyPartial(token, verdict.Expect{
		Label: c.Label, Scheme: c.Scheme, Request: c.Request, Nonce: c.Nonce, NonceRule: c.NonceRule, Evidence: c.Evidence, MediaType: c.MediaType,
	}, verdict.Intake{Now: now}, n.anchors)
	check(t, err)
	return c
}

// result is what a lead has before it judges.
func (n notary) result(t *testing.T, m machine) *verdict.Result {
	t.Helper()
	res := &verdict.Result{Time: time.Unix(1750000000, 0), Nonce: m.nonce, Topology: "lead", Session: "s", Caps: m.caps}
	for _, d := range m.parts {
		res.Components = append(res.Components, n.component(t, m, d))
	}
	return res
}

// TestNothingWorseIsBetter: whatever becomes worse about a machine, its verdict does
// not become better, under no policy of the library.
func TestNothingWorseIsBetter(t *testing.T) {
	set, err := verifiers.NewSet(testSchemes()...)
	check(t, err)
	policies := map[string]Policy{"no policy": nil}
	for _, name := range policy.Names() {
		p, err := policy.Library(name)
		check(t, err)
		policies[name] = p
	}
	n, seen := newNotary(t), map[string]map[verdict.Tier]int{}
	rounds := 300
	if testing.Short() {
		rounds = 150
	}
	for seed := range uint64(rounds) {
		r := mathrand.New(mathrand.NewPCG(seed, 9))
		before := randomMachine(r)
		if seed%10 == 0 {
			before = board(r)
		}
		after := before.clone()
		var what []string
		for range 1 + r.IntN(3) {
			step := after.clone()
			if done := worsen(r, &step); done != "" {
				after, what = step, append(what, done)
			}
		}
		first, second := n.result(t, before), n.result(t, after)
		for name, p := range policies {
			judge := func(r *verdict.Result, m machine) *verdict.Result {
				return Rejudge(context.Background(), r, set, Rejudgement{Policy: p, Requirements: m.requirements, Simulated: true})
			}
			was, is := judge(first, before), judge(second, after)
			if seen[name] == nil {
				seen[name] = map[verdict.Tier]int{}
			}
			seen[name][was.Outcome.Tier]++
			if was.Outcome.Tier.WorseThan(is.Outcome.Tier) {
				t.Errorf("seed %d, %s: %s became %s by %v\nbefore %v\nafter %v", seed, name, was.Outcome.Tier, is.Outcome.Tier, what, was.Outcome.Reasons, is.Outcome.Reasons)
			}
			if p != nil && is.Policy.Accepted && !was.Policy.Accepted {
				t.Errorf("seed %d, %s: accepted only after %v", seed, name, what)
			}
			for _, c := range is.Components {
				if !c.Partial.IsZero() && c.Partial.Status().WorseThan(c.Tier()) {
					t.Errorf("seed %d, %s: %s is better than its result", seed, name, c.Label)
				}
			}
		}
	}
	for name, tiers := range seen {
		if tiers[verdict.TierContraindicated] == 0 || tiers[verdict.TierWarning] == 0 || tiers[verdict.TierAffirming] == 0 {
			t.Errorf("%s: the machines are all of one kind: %v", name, tiers)
		}
	}
	t.Logf("%v", seen)
}

// TestPolicySeesTheSameWays: what policies see as strongly bound is what the rules for
// whole machines take for bound, and nothing else.
func TestPolicySeesTheSameWays(t *testing.T) {
	set, err := verifiers.NewSet(testSchemes()...)
	check(t, err)
	p, err := policy.Load("ways", []byte(`package assize

annotations["strong"] := concat(" ", [label | some label, way in input.bound; way.strength == "strong"])
`))
	check(t, err)
	n, some := newNotary(t), map[bool]int{}
	for seed := range uint64(150) {
		r := mathrand.New(mathrand.NewPCG(seed, 11))
		m := randomMachine(r)
		for range r.IntN(3) {
			worsen(r, &m)
		}
		for range len(m.parts) {
			a, b := m.parts[r.IntN(len(m.parts))], &m.parts[r.IntN(len(m.parts))]
			if a.label != b.label && a.facts.SignerSPKI != "" { // a device commits to another, which does not make it bound
				b.facts.Keys = append(b.facts.Keys, verdict.CommittedKey{SPKI: a.facts.SignerSPKI, Via: "public-key", Origin: verdict.OriginHardware})
			}
		}
		res := Rejudge(t.Context(), n.result(t, m), set, Rejudgement{Policy: p, Simulated: true})
		note, ok := res.Policy.Annotations["strong"]
		if !ok {
			t.Fatalf("seed %d: %v", seed, res.Outcome.Reasons)
		}
		strong := strings.Fields(note)
		cpus, loose := 0, ""
		for _, c := range res.Components {
			if c.Class == verdict.ClassCPU {
				cpus++
			}
		}
		for _, c := range res.Caps {
			if c.Reason.Code == verdict.ReasonUnboundComponent {
				_, loose, _ = strings.Cut(c.Reason.Detail, ": ")
			}
		}
		for _, c := range res.Components {
			label := string(c.Label)
			seen, bound := slices.Contains(strong, label), !slices.Contains(strings.Split(loose, ", "), label)
			some[seen]++
			if seen && !bound || bound && !seen && cpus == 1 && c.Class != verdict.ClassCPU {
				t.Errorf("seed %d: %s: a policy sees a strong way: %v, and it is bound: %v", seed, label, seen, bound)
			}
		}
	}
	if some[true] == 0 || some[false] == 0 {
		t.Errorf("all of one kind: %v", some)
	}
}
