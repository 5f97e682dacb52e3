// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// losing is the system under test: a lead in this process, two verifiers of the
// CPU and a node for the GPU as processes, three NATS servers.
type losing struct {
	nats      *cluster
	entry     *post
	patient   *orchestrator.Orchestrator // of the entry, with longBudget
	machines  []specimen
	judges    map[evidence.Path]*trust.Anchors // whose results about a component count
	anchors   *trust.Anchors                   // of a relying party
	topology  topologies.Expr
	vendorA   [2]*process
	vendorB   *process
	startA    func(i int) // starts one verifier of the CPU
	startB    func()
	unique    sync.Map // every session, request and result that came up
	reference map[string]map[evidence.Path]string
	stalls    atomic.Int64 // nanoseconds
	late      sync.Once
	lateText  atomic.Value // string
}

// specimen is a machine, and what is true of its parts: how its evidence is
// judged while nothing fails.
type specimen struct {
	name    string
	faults  []attester.Fault
	truth   map[evidence.Path]truth
	machine *attester.Machine
}

type truth struct {
	tier      verdict.Tier
	freshness verdict.Freshness
}

// specimens are an honest machine and two that must never be taken for one,
// whatever fails. Of four appraisals two are of the first.
func specimens() []specimen {
	// Nobody has reference values for the software of the CPU; the GPU comes with
	// the manifests of its maker.
	honest, good, broken := truth{verdict.TierWarning, verdict.FreshnessFresh}, truth{verdict.TierAffirming, verdict.FreshnessFresh}, verdict.TierContraindicated
	genuine := specimen{name: "honest", truth: map[evidence.Path]truth{"cpu": honest, "gpu/0": good}}
	return []specimen{
		genuine,
		{
			name: "CPU in debug mode", faults: []attester.Fault{{Label: "cpu", Kind: attester.Debug}},
			truth: map[evidence.Path]truth{"cpu": {broken, verdict.FreshnessFresh}, "gpu/0": good},
		},
		genuine,
		{
			name: "replayed GPU", faults: []attester.Fault{{Label: "gpu/0", Kind: attester.StaleNonce}},
			truth: map[evidence.Path]truth{"cpu": honest, "gpu/0": {broken, verdict.FreshnessMismatch}},
		},
	}
}

func newLosing(t *testing.T) *losing {
	t.Helper()
	l := &losing{nats: newCluster(t), machines: specimens(), judges: map[evidence.Path]*trust.Anchors{}, reference: map[string]map[evidence.Path]string{}}
	var err error
	l.topology, err = topologies.Parse(lossTopology)
	must(t, err)
	d, _ := attester.BuiltIn("cpu-gpu")
	now := time.Now()
	vendors := attester.NewVendors("", now)
	for i, s := range l.machines {
		l.machines[i].machine, err = attester.New(attester.Options{Machine: d, Now: now, Faults: s.faults, Vendors: vendors})
		must(t, err)
	}
	dir := t.TempDir()
	roots, files := filepath.Join(dir, "trust.json"), filepath.Join(dir, "endorsements")
	raw, err := l.machines[0].machine.Trust()
	must(t, err)
	must(t, os.WriteFile(roots, raw, 0o600))
	for _, s := range l.machines {
		endorsed, err := s.machine.Endorsements()
		must(t, err)
		for name, raw := range endorsed {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(files, name)), 0o700))
			must(t, os.WriteFile(filepath.Join(files, name), raw, 0o600))
		}
	}
	sites := federate(t, l.nats.url(0), "entry", "vendor-a", "vendor-b")
	// The processes begin at different servers.
	config := func(s site, server int) string {
		raw, err := os.ReadFile(s.config)
		must(t, err)
		text := strings.Replace(string(raw), l.nats.url(0), l.nats.url(server), 1) + "endorsements: " + files + "\n"
		file := fmt.Sprintf("%s-%d.yaml", strings.TrimSuffix(s.config, ".yaml"), server)
		must(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	l.connect(t, sites)
	l.startA = func(i int) {
		l.vendorA[i], _ = start(t, "msg=(serving)", sites[1].state, "verifier", "--config", config(sites[1], i), "--schemes", "intel-tdx", "--trust", roots)
	}
	l.startB = func() {
		l.vendorB, _ = serve(t, sites[2].state, "--config", config(sites[2], 2), "--trust", roots)
	}
	l.watch(t)
	l.startA(0)
	l.startA(1)
	l.startB()
	return l
}

// connect makes the lead, with the nodes that are described in files, and tells
// these who the lead is.
func (l *losing) connect(t *testing.T, sites []site) {
	t.Helper()
	l.entry = newPost(t, "entry", fabric.Config{URLs: []string{l.nats.url(0)}})
	l.entry.protects = true
	own, err := trust.EncodeNode(l.entry.node)
	must(t, err)
	must(t, os.WriteFile(sites[0].file, own, 0o600))
	keys := append(l.entry.own.Keys(), l.entry.lead.Key("lead", nil, trust.RoleLead))
	var peers []trust.Node
	for _, s := range sites[1:] {
		raw, err := os.ReadFile(s.file)
		must(t, err)
		n, err := trust.ParseNode(raw)
		must(t, err)
		peers, keys = append(peers, n), append(keys, n.Verifiers().Keys()...)
	}
	l.judges["cpu"], l.judges["gpu/0"] = peers[0].Verifiers(), peers[1].Verifiers()
	l.anchors, err = trust.NewAnchors(keys...)
	must(t, err)
	var nonces *fabric.Spender
	until(t, "JetStream has no leader", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		nonces, err = l.entry.bus.Spender(ctx, fabric.SpenderOptions{File: true, Replicas: 3})
		return err == nil
	})
	t.Cleanup(nonces.Close)
	l.entry.open(t, spending{nonces}, spending{nonces}, peers...)
	l.patient = l.entry.within(t, longBudget, spending{nonces}, spending{nonces}, peers...)
}

// until waits for something that a system does at its own pace.
func until(t *testing.T, otherwise string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(otherwise)
		}
	}
}

// leisurely keeps a test out of the run with the race detector: one of other
// processes, which are built without it, or one of minutes.
func leisurely(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("long, or about other processes")
	}
}
