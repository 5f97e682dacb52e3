// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// attestedHeads are a machine's CPU and two GPUs, one part at each of three
// nodes, with the nodes that have to introduce themselves to each other.
var attestedHeads = map[string]struct{ topology, pairs string }{
	"sites":   {"lead(cpu, gpu/0@n1, gpu/1@n2)", "me>n1 me>n2"},
	"lead":    {"lead(cpu, lead(gpu/0)@n1, lead(gpu/1)@n2)", "me>n1 me>n2 n1>me n2>me"},
	"cascade": {"cascade(cpu, gpu/0@n1, gpu/1@n2)", "me>n1 me>n2 n1>me n1>n2 n2>n1"},
	"hybrid":  {"lead(cpu, cascade(gpu/0@n1, gpu/1@n2))", "me>n1 me>n2 n1>me n1>n2 n2>n1"},
}

// guest is a node that runs on a simulated machine of its own.
type guest struct {
	name    string
	entry   *orchestrator.Orchestrator
	node    trust.Node
	local   verifiers.Local
	machine func(challenge []byte) ([]byte, error) // its own evidence
}

// house is three nodes that ask each other for evidence.
type house struct {
	t       testing.TB
	guests  map[string]*guest
	anchors *trust.Anchors
	schemes *verifiers.Set
	raw     []byte // what is appraised

	mu    sync.Mutex
	intro []string // who asked whom
	sent  []string // who handed something to whom, or asked its verifiers
}

// door is everything that leaves a node.
type door struct {
	h    *house
	self string
}

func (d door) note(list *[]string, to string) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	*list = append(*list, d.self+">"+to)
}

// Introduce implements orchestrator.Introducer.
func (d door) Introduce(ctx context.Context, to, _ string, m []byte) ([]byte, error) {
	d.note(&d.h.intro, to)
	return d.h.guests[to].entry.HandleIntroduction(ctx, m)
}

// Relay implements orchestrator.Relayer.
func (d door) Relay(ctx context.Context, to, _ string, m []byte) ([]byte, error) {
	d.note(&d.h.sent, to)
	return d.h.guests[to].entry.HandleRelay(ctx, m)
}

// Appraise implements orchestrator.Appraiser.
func (d door) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	at := call.Candidates[0].Site
	if at == "any" {
		at = d.self
	}
	if at != d.self {
		d.note(&d.h.sent, at)
	}
	return d.h.guests[at].local.Appraise(ctx, call)
}

// Attest implements orchestrator.Attester.
func (d door) Attest(_ context.Context, challenge []byte) ([]byte, string, error) {
	raw, err := d.h.guests[d.self].machine(challenge)
	return raw, "", err
}

// furniture is what houses can share: machines, and what is known of them.
type furniture struct {
	machines map[string]*attester.Machine
	raw      []byte
	deps     verifiers.Deps
}

func furnish(t testing.TB) furniture {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	vendors := attester.NewVendors("", now)
	out := furniture{machines: map[string]*attester.Machine{}}
	files := map[string][]byte{}
	for name, gpus := range map[string]int{"judged": 2, "me": 0, "n1": 0, "n2": 0} {
		m, err := attester.New(attester.Options{Machine: attester.Description{Name: name, GPUs: attester.GPUs{Count: gpus}}, Now: now, Vendors: vendors})
		must(t, err)
		more, err := m.Endorsements()
		must(t, err)
		for file, raw := range more {
			files[name+"/"+file] = raw
		}
		out.machines[name] = m
	}
	judged := out.machines["judged"]
	var err error
	out.raw, _, err = judged.Evidence([]byte(federationNonce[:32]), attester.CBOR)
	must(t, err)
	raw, err := judged.Trust()
	must(t, err)
	roots, err := trust.ParseRoots(raw)
	must(t, err)
	out.deps.ExtraRoots = roots.Schemes
	out.deps.Endorsements, err = load(files)
	must(t, err)
	return out
}

// lodge makes the house; require is what each node demands of the others.
func lodge(t testing.TB, with furniture, require map[string]verdict.Tier) *house {
	t.Helper()
	h := &house{t: t, guests: map[string]*guest{}, raw: with.raw}
	var err error
	h.schemes, err = all.Set()
	must(t, err)
	for _, name := range []string{"me", "n1", "n2"} {
		h.guests[name] = &guest{name: name, machine: evidenceFor(with.machines[name], attester.CBOR)}
	}
	h.settle(with.deps, require)
	return h
}

func evidenceFor(m *attester.Machine, f attester.Format) func([]byte) ([]byte, error) {
	return func(challenge []byte) ([]byte, error) {
		raw, _, err := m.Evidence(challenge, f)
		return raw, err
	}
}

// settle makes keys and orchestrators.
func (h *house) settle(deps verifiers.Deps, require map[string]verdict.Tier) {
	t := h.t
	generate := func() *trust.Signer {
		s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
		must(t, err)
		return s
	}
	var every []trust.Key
	own := map[string]*trust.Anchors{}
	lead, node, seal := map[string]*trust.Signer{}, map[string]*trust.Signer{}, map[string]*trust.SealPrivate{}
	for name, g := range h.guests {
		lead[name], node[name] = generate(), generate()
		signers := map[string]*trust.Signer{}
		var keys []trust.Key
		for _, sc := range h.schemes.Schemes() {
			signers[sc.Name] = generate()
			keys = append(keys, signers[sc.Name].Key(name+" "+sc.Name, []string{sc.Name}, trust.RoleVerifier))
		}
		every = append(append(every, keys...), lead[name].Key(name, nil, trust.RoleLead))
		n, err := verifiers.NewNode(verifiers.NodeOptions{Set: h.schemes, Deps: deps, Identity: identity, Signers: signers, Clock: time.Now})
		must(t, err)
		g.local = verifiers.Local{Node: n}
		own[name], err = trust.NewAnchors(keys...)
		must(t, err)
		described, err := trust.NewAnchors(append(keys, node[name].Key(name, nil, trust.RoleNode))...)
		must(t, err)
		seal[name], err = trust.GenerateSealPrivate(trust.SuiteHybrid, rand.Reader)
		must(t, err)
		g.node = trust.Node{Name: name, Keys: described, Seal: []trust.SealKey{seal[name].Public(time.Time{})}}
	}
	var err error
	h.anchors, err = trust.NewAnchors(every...)
	must(t, err)
	for name, g := range h.guests {
		var others []trust.Node
		for other := range h.guests {
			if other != name {
				others = append(others, h.guests[other].node)
			}
		}
		nodes, err := trust.NewNodes(others...)
		must(t, err)
		d := door{h, name}
		g.entry, err = orchestrator.New(orchestrator.Options{
			Schemes: h.schemes, Appraiser: d, Anchors: own[name], Signer: lead[name], Identity: identity, Clock: time.Now, Rand: rand.Reader,
			Budget: 10 * time.Second, Simulated: true,
			Route: func(_, at string) []verifiers.Candidate {
				if at == "" {
					at = "any"
				}
				return []verifiers.Candidate{{Site: at}}
			},
			Peers: &orchestrator.Peers{
				Self: name, Nodes: nodes, Signer: node[name], Seal: seal[name], Relayer: d, Seen: &once{seen: map[string]bool{}},
				Introductions: &orchestrator.Introductions{Require: require[name], Introducer: d, Attester: d, Own: g.node},
			},
		})
		must(t, err)
	}
}

func (h *house) appraise(topology string) *verdict.Result {
	h.t.Helper()
	e, err := topologies.Parse(topology)
	must(h.t, err)
	res, err := h.guests["me"].entry.Appraise(context.Background(), orchestrator.Request{Evidence: h.raw, Nonce: []byte(federationNonce[:32]), Topology: &e})
	must(h.t, err)
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, h.anchors)
	must(h.t, err)
	must(h.t, orchestrator.Recheck(checked, h.schemes))
	return res
}

func (h *house) pairs() string {
	slices.Sort(h.intro)
	return strings.Join(h.intro, " ")
}

func everywhere(tier verdict.Tier) map[string]verdict.Tier {
	return map[string]verdict.Tier{"me": tier, "n1": tier, "n2": tier}
}

// MV-36: whoever exchanges messages has seen what the other runs on, in both
// directions, under every head, and once for a while.
func TestMV36NodesAttestThemselves(t *testing.T) {
	with := furnish(t)
	for name, head := range attestedHeads {
		h := lodge(t, with, everywhere(verdict.TierWarning))
		for range 2 {
			if got := tiers(h.appraise(head.topology)); got != "cpu=warning gpu/0=affirming gpu/1=affirming | warning" {
				t.Errorf("%s: %s", name, got)
			}
		}
		if h.pairs() != head.pairs {
			t.Errorf("%s: %s, want %s", name, h.pairs(), head.pairs)
		}
	}
}

// A node whose evidence is not what is required gets nothing, and brings
// nothing; one that asks it is refused.
func TestMV36NothingForAStranger(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	d, _ := attester.BuiltIn("cpu-gpu")
	strange, err := attester.New(attester.Options{Machine: d, Now: now, Vendors: attester.NewVendors("nobody", now)})
	must(t, err)
	mixed, err := attester.New(attester.Options{Machine: d, Now: now, Faults: []attester.Fault{{Label: "gpu/0", Kind: attester.ForeignMachine}}})
	must(t, err)
	gpu, err := attester.New(attester.Options{Machine: attester.Description{Name: "gpu", CPU: attester.CPU{Kind: "none"}, GPUs: attester.GPUs{Count: 1}}, Now: now})
	must(t, err)
	of := func(m *attester.Machine) func([]byte) ([]byte, error) { return evidenceFor(m, attester.CBOR) }
	with := furnish(t)
	var old []byte
	for what, machine := range map[string]func(honest func([]byte) ([]byte, error)) func([]byte) ([]byte, error){
		"a machine of an unknown vendor": func(func([]byte) ([]byte, error)) func([]byte) ([]byte, error) { return of(strange) },
		"parts of two machines":          func(func([]byte) ([]byte, error)) func([]byte) ([]byte, error) { return of(mixed) },
		"no CPU TEE":                     func(func([]byte) ([]byte, error)) func([]byte) ([]byte, error) { return of(gpu) },
		"no machine": func(func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
			return func([]byte) ([]byte, error) { return nil, errors.New("no machine") }
		},
		"evidence for another challenge": func(honest func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
			return func([]byte) ([]byte, error) {
				if old == nil {
					old, _ = honest(make([]byte, 32))
				}
				return old, nil
			}
		},
	} {
		for name, head := range attestedHeads {
			for _, who := range []string{"n1", "n2"} {
				h := lodge(t, with, map[string]verdict.Tier{"me": verdict.TierWarning})
				old = nil
				h.guests[who].machine = machine(h.guests[who].machine)
				res := h.appraise(head.topology)
				h.wantNothing(what+", "+name, res, who)
			}
			if name == "sites" { // who asks verifiers directly is not asked
				continue
			}
			h := lodge(t, with, map[string]verdict.Tier{"n1": verdict.TierWarning})
			old = nil
			h.guests["me"].machine = machine(h.guests["me"].machine)
			if c := part(t, h.appraise(head.topology), "gpu/0"); c.Tier() != verdict.TierNone || c.Reasons[0].Code != verdict.ReasonPeerNotAttested {
				t.Errorf("%s, %s: n1 takes it from a stranger: %s %v", what, name, c.Tier(), c.Reasons)
			}
		}
	}
}

// wantNothing requires that the part of a node has no verdict, and that nothing
// was handed to the node.
func (h *house) wantNothing(what string, res *verdict.Result, who string) {
	h.t.Helper()
	label := map[string]string{"n1": "gpu/0", "n2": "gpu/1"}[who]
	c := part(h.t, res, label)
	if c.Tier() != verdict.TierNone || len(c.Reasons) == 0 || c.Reasons[0].Code != verdict.ReasonPeerNotAttested || res.Outcome.Tier != verdict.TierNone {
		h.t.Errorf("%s: %s is %s: %v", what, label, c.Tier(), c.Reasons)
	}
	if slices.Contains(h.sent, "me>"+who) {
		h.t.Errorf("%s: sent %q", what, h.sent)
	}
}

// Without reference values no software is known to be good: where affirming is
// required, nobody is attested. And ratsd's tokens are as good as others.
func TestMV36WhatIsRequired(t *testing.T) {
	with := furnish(t)
	h := lodge(t, with, everywhere(verdict.TierAffirming))
	h.wantNothing("affirming", h.appraise(attestedHeads["lead"].topology), "n1")
	for _, f := range []attester.Format{attester.RatsdJSON, attester.RatsdV2, attester.JSON, attester.COSE} {
		h := lodge(t, with, map[string]verdict.Tier{"me": verdict.TierWarning})
		h.guests["n1"].machine = evidenceFor(with.machines["n1"], f)
		c := part(t, h.appraise(attestedHeads["lead"].topology), "gpu/0")
		// Nobody here trusts keys of lead attesters.
		if want := f != attester.COSE; (c.Tier() == verdict.TierAffirming) != want {
			t.Errorf("%s: %s %v", f, c.Tier(), c.Reasons)
		}
	}
}

// Two nodes that are processes, each with an agent: what is configured holds.
func TestMV36AcrossProcesses(t *testing.T) {
	url := natsServer(t)
	sites := federate(t, url, "entry", "vendor-a")
	at := time.Now().UTC().Format(time.RFC3339)
	machine := filepath.Join(t.TempDir(), "hgx")
	output(t, sites[0].state, "simulate", "--machine", "cpu-gpu", "--at", at, "--nonce", federationNonce, "-o", machine)
	agents := map[string]*process{}
	for i, s := range sites {
		p, address := start(t, `url=(\S+)`, s.state, "simulate", "--machine", "cpu-gpu", "--seed", s.name, "--at", at, "--serve", "--listen", "127.0.0.1:0")
		agents[s.name] = p
		raw, err := os.ReadFile(s.config)
		must(t, err)
		other := sites[1-i].name
		text := strings.Replace(string(raw), "node: {", fmt.Sprintf("node: {attest: {evidence: %q, require: affirming, peers: [%s=warning], ttl: 1m}, ", address, other), 1)
		must(t, os.WriteFile(s.config, []byte(text), 0o600))
	}
	serve(t, sites[1].state, "--config", sites[1].config, "--trust", filepath.Join(machine, "trust.json"))
	try := func(want int, reason string) {
		t.Helper()
		code, raw := appraiseAs(t, sites[0], machine, federationNonce, "cascade(cpu, gpu@vendor-a)", "--config", sites[0].config)
		var v struct {
			Components map[string]struct{ Reasons []struct{ Code string } }
		}
		must(t, json.Unmarshal(raw, &v))
		if code != want || reason != "" && v.Components["gpu/0"].Reasons[0].Code != reason {
			t.Errorf("%d, want %d with %q: %s", code, want, reason, raw)
		}
	}
	try(3, "")
	agents["vendor-a"].stop(t)
	try(5, verdict.ReasonPeerNotAttested)
}
