// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

const (
	// lossBudget is the deadline of one appraisal, lossMargin what the test
	// allows for a busy machine beyond it.
	lossBudget = 2 * time.Second
	lossMargin = 500 * time.Millisecond
	// lossRuns appraisals make one scenario, lossWorkers at a time; the kill
	// comes after the first quarter.
	lossRuns    = 100
	lossWorkers = 8
	// lossTopology asks the CPU's verifier at its site and hands the GPU to a
	// node.
	lossTopology = "lead(cpu@vendor-a, lead(gpu/0)@vendor-b)"
)

// losing is the system under test: a lead in this process, two verifiers of the
// CPU and a node for the GPU as processes, three NATS servers.
type losing struct {
	nats     *cluster
	entry    *post
	machine  *attester.Machine
	anchors  *trust.Anchors // of a relying party
	topology topologies.Expr
	vendorA  [2]*process
	vendorB  *process
	startA   func(i int) // starts one verifier of the CPU
	startB   func()
}

func newLosing(t *testing.T) *losing {
	t.Helper()
	l := &losing{nats: newCluster(t)}
	var err error
	l.topology, err = topologies.Parse(lossTopology)
	must(t, err)
	d, _ := attester.BuiltIn("cpu-gpu")
	l.machine, err = attester.New(attester.Options{Machine: d, Now: time.Now()})
	must(t, err)
	dir := t.TempDir()
	roots, files := filepath.Join(dir, "trust.json"), filepath.Join(dir, "endorsements")
	raw, err := l.machine.Trust()
	must(t, err)
	must(t, os.WriteFile(roots, raw, 0o600))
	endorsed, err := l.machine.Endorsements()
	must(t, err)
	for name, raw := range endorsed {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(files, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(files, name), raw, 0o600))
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

// tally is what came of the appraisals of a scenario.
type tally struct {
	complete int
	without  map[string]int // by component and reason; "no verdict: …" without any
	took     []time.Duration
}

// appraise makes fresh evidence, has it appraised and checks everything that
// must hold whatever fails: time, tiers, reasons, signatures, conclusions. It
// returns what is missing.
func (l *losing) appraise(t *testing.T) (missing []string, took time.Duration) {
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		t.Error(err)
		return nil, 0
	}
	raw, _, err := l.machine.Evidence(nonce, attester.CBOR)
	if err != nil {
		t.Error(err)
		return nil, 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), lossBudget) // as the API does
	defer cancel()
	began := time.Now()
	res, err := l.entry.orch.Appraise(ctx, orchestrator.Request{Evidence: raw, Nonce: nonce, Topology: &l.topology})
	if took = time.Since(began); took > lossBudget+lossMargin {
		t.Errorf("an appraisal took %s", took)
	}
	switch {
	case errors.Is(err, orchestrator.ErrNonceStore): // fails closed
		return []string{"no verdict: nonce-store"}, took
	case err != nil:
		t.Errorf("neither a verdict nor a named reason: %v", err)
		return []string{"no verdict"}, took
	}
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, l.anchors)
	if err == nil {
		err = orchestrator.Recheck(checked, l.entry.set)
	}
	if err != nil || !checked.HasNonce(nonce) || len(checked.Components) != 2 {
		t.Errorf("the verdict does not hold: %v", err)
		return nil, took
	}
	return lossesIn(t, checked), took
}

// lostReasons say that a component has no result because something failed. A
// node refuses a message whose first try it has noted and not answered. That a
// result does not verify is nothing that a crash may cause.
var lostReasons = []string{
	verdict.ReasonUnreachable, verdict.ReasonTimeout, verdict.ReasonBusy, verdict.ReasonMalfunction, verdict.ReasonRefused,
}

// lossesIn holds a verdict to what is true of the machine: both parts are
// genuine and fresh, and the best honest tier is a warning.
func lossesIn(t *testing.T, res *verdict.Result) (missing []string) {
	want := verdict.TierWarning
	for _, c := range res.Components {
		switch {
		case c.Tier() == verdict.TierWarning && !c.Partial.IsZero() && c.Partial.Appraisal().Freshness == verdict.FreshnessFresh:
		case c.Tier() == verdict.TierNone && c.Partial.IsZero() && len(c.Reasons) == 1 && slices.Contains(lostReasons, c.Reasons[0].Code):
			missing = append(missing, string(c.Label)+": "+c.Reasons[0].Code)
			want = verdict.TierNone
		default:
			t.Errorf("%s is %s: %v", c.Label, c.Tier(), c.Reasons)
		}
	}
	if res.Outcome.Tier != want {
		t.Errorf("the whole is %s, want %s: %v", res.Outcome.Tier, want, res.Outcome.Reasons)
	}
	return missing
}

// run makes the appraisals of a scenario; kill happens while others are in
// flight.
func (l *losing) run(t *testing.T, kill func()) tally {
	t.Helper()
	out := tally{without: map[string]int{}}
	var mu sync.Mutex
	var next, ended atomic.Int64
	now := make(chan struct{})
	var wg sync.WaitGroup
	for range lossWorkers {
		wg.Go(func() {
			for next.Add(1) <= lossRuns {
				missing, took := l.appraise(t)
				mu.Lock()
				out.took = append(out.took, took)
				for _, m := range missing {
					out.without[m]++
				}
				if len(missing) == 0 {
					out.complete++
				}
				mu.Unlock()
				if ended.Add(1) == lossRuns/4 {
					close(now)
				}
			}
		})
	}
	<-now
	kill()
	wg.Wait()
	return out
}

// settled waits until appraisals miss exactly what they are expected to.
func (l *losing) settled(t *testing.T, want string) {
	t.Helper()
	last := ""
	until(t, "appraisals do not become as expected: "+want, func() bool {
		missing, _ := l.appraise(t)
		last = strings.Join(missing, " ")
		return last == want
	})
}

// scenario is one kill. after is what an appraisal lacks once that was noticed.
type scenario struct {
	name          string
	prepare       func(*losing) // nil for nothing
	kill, restore func(*testing.T, *losing)
	after         string
}

func nothing(*testing.T, *losing) {}

// killServer kills the server that is chosen when the scenario begins.
func killServer(which func(*cluster) int) scenario {
	victim := 0
	return scenario{
		prepare: func(l *losing) { victim = which(l.nats) },
		kill:    func(_ *testing.T, l *losing) { l.nats.kill(victim) },
		restore: func(t *testing.T, l *losing) {
			l.nats.begin(victim)
			// The next one may only go when this one has caught up.
			until(t, "a NATS server does not catch up", func() bool { return l.nats.healthy(victim) })
		},
	}
}

func (s scenario) named(name string) scenario {
	s.name = name
	return s
}

func lossScenarios() []scenario {
	return []scenario{
		{name: "nothing", kill: nothing, restore: nothing},
		{
			name: "one of two verifiers of the CPU",
			kill: func(t *testing.T, l *losing) { l.vendorA[0].kill(t) }, restore: func(_ *testing.T, l *losing) { l.startA(0) },
		},
		{
			name: "the node that answers for the GPU", after: "gpu/0: unreachable",
			kill: func(t *testing.T, l *losing) { l.vendorB.kill(t) }, restore: func(_ *testing.T, l *losing) { l.startB() },
		},
		killServer(func(*cluster) int { return 0 }).named("the NATS server of the lead"),
		killServer(func(*cluster) int { return 2 }).named("the NATS server of the node"),
		killServer((*cluster).leader).named("the NATS server that leads the store of used nonces"),
	}
}

// TestReliability kills one thing at a time under load: no wrong verdict, every
// appraisal ends in time with a verdict or a named reason, and what is left goes
// on. UPDATE_DOCS=1 writes the figures into docs/reliability.md.
func TestReliability(t *testing.T) {
	l := newLosing(t)
	l.settled(t, "")
	var rows bytes.Buffer
	for _, s := range lossScenarios() {
		if s.prepare != nil {
			s.prepare(l)
		}
		killed := false
		t.Run(s.name, func(t *testing.T) {
			killed = true
			got := l.run(t, func() { s.kill(t, l) })
			if len(got.took) != lossRuns || s.name == "nothing" && got.complete != lossRuns {
				t.Errorf("%d ended, %d complete: %v", len(got.took), got.complete, got.without)
			}
			l.settled(t, s.after)
			rows.WriteString(got.row(s.name))
			t.Log(got.row(s.name))
		})
		if !killed { // not selected by -run
			continue
		}
		s.restore(t, l) // outside of the sub-test, which would stop what it starts
		l.settled(t, "")
	}
	documentLosses(t, rows.String())
}

func (y tally) row(name string) string {
	slices.Sort(y.took)
	at := func(percent int) time.Duration {
		return y.took[(len(y.took)*percent+99)/100-1].Round(100 * time.Microsecond)
	}
	var why []string
	for _, m := range slices.Sorted(maps.Keys(y.without)) {
		why = append(why, fmt.Sprintf("%d × %s", y.without[m], m))
	}
	return fmt.Sprintf("| %s | %d | %d | %s | %s | %s | %s |\n", name, len(y.took), y.complete, strings.Join(why, ", "), at(50), at(99), at(100))
}

// documentLosses writes the rows between the marks of docs/reliability.md, or
// looks that the file speaks about every scenario.
func documentLosses(t *testing.T, rows string) {
	t.Helper()
	const begin, end = "<!-- measured -->\n", "<!-- end of measured -->\n"
	file := filepath.Join("..", "docs", "reliability.md")
	have, err := os.ReadFile(file)
	must(t, err)
	head, rest, ok := strings.Cut(string(have), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatal("docs/reliability.md has lost its marks")
	}
	for _, s := range lossScenarios() {
		if os.Getenv("UPDATE_DOCS") == "" && !strings.Contains(rest, "| "+s.name+" |") {
			t.Errorf("docs/reliability.md does not name the scenario %q", s.name)
		}
	}
	if os.Getenv("UPDATE_DOCS") == "" || t.Failed() || strings.Count(rows, "\n") != len(lossScenarios()) {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s/%s, %d cores%s, %s.\n\n", time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), runtime.Version())
	b.WriteString("| killed | appraisals | complete | missing, with the reason | p50 | p99 | longest |\n|---|---|---|---|---|---|---|\n" + rows)
	must(t, os.WriteFile(file, []byte(head+begin+b.String()+end+tail), 0o644))
}

// processor is the model of the CPU where the system tells it.
func processor() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(raw); err == nil && m != nil {
		return " (" + string(m[1]) + ")"
	}
	return ""
}
