// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	// lossBudget is the deadline of one appraisal, longBudget where an election
	// fits in, lossMargin what the test allows for a busy machine beyond it.
	lossBudget = 2 * time.Second
	longBudget = 15 * time.Second
	lossMargin = 500 * time.Millisecond
	// lossRunsVariable says how many appraisals make one scenario, lossWorkers
	// at a time; the kill comes after the first quarter. Of so many one is
	// submitted twice at once.
	lossRunsVariable = "ASSIZE_RELIABILITY_RUNS"
	lossRunsDefault  = 100
	lossRunsInDocs   = 500
	lossWorkers      = 8
	lossTwice        = 10
	// lossTopology asks the CPU's verifier at its site and hands the GPU to a
	// node.
	lossTopology = "lead(cpu@vendor-a, lead(gpu/0)@vendor-b)"
)

// lossRunsText is what the variable says. It is taken out of the environment,
// because the processes under test read settings there and refuse unknown ones.
var lossRunsText = func() string {
	text := os.Getenv(lossRunsVariable)
	if err := os.Unsetenv(lossRunsVariable); err != nil {
		panic(err)
	}
	return text
}()

// lossRuns is the number of appraisals of a scenario.
func lossRuns(t *testing.T) int {
	t.Helper()
	if lossRunsText == "" {
		return lossRunsDefault
	}
	n, err := strconv.Atoi(lossRunsText)
	if err != nil || n < 4*lossWorkers {
		t.Fatalf("%s is %q, want a number of at least %d", lossRunsVariable, lossRunsText, 4*lossWorkers)
	}
	return n
}

// tally is what came of the appraisals of a scenario.
type tally struct {
	complete int
	without  map[string]int // by component and reason; "no verdict: …" without any
	took     []time.Duration
	judged   []*trial // those with a verdict
}

// run makes the appraisals of a scenario; kill happens while others are in
// flight, or not at all.
func (l *losing) run(t *testing.T, budget time.Duration, kill func()) tally {
	t.Helper()
	runs := lossRuns(t)
	out := tally{without: map[string]int{}}
	var mu sync.Mutex
	var begun, ended atomic.Int64
	now := make(chan struct{})
	var wg sync.WaitGroup
	for range lossWorkers {
		wg.Go(func() {
			for {
				n := int(begun.Add(1))
				if n > runs {
					return
				}
				x := l.trial(t, l.machines[n%len(l.machines)], budget)
				missing, judged, took := l.conclude(t, x, n%lossTwice == 0)
				mu.Lock()
				out.took = append(out.took, took)
				for _, m := range missing {
					out.without[m]++
				}
				if len(missing) == 0 {
					out.complete++
				}
				if judged {
					out.judged = append(out.judged, x)
				}
				mu.Unlock()
				if ended.Add(1) == int64(runs/4) {
					close(now)
				}
			}
		})
	}
	<-now
	if kill != nil {
		before := begun.Load()
		flying := before - ended.Load()
		kill()
		if after := ended.Load(); flying < 1 || before >= int64(runs) || after >= int64(runs) {
			t.Errorf("not killed in the middle: %d of %d begun and %d in flight, then %d ended", before, runs, flying, after)
		}
	}
	wg.Wait()
	return out
}

// settled waits until appraisals miss exactly what they are expected to.
func (l *losing) settled(t *testing.T, want string) {
	t.Helper()
	until(t, "appraisals do not become as expected: "+want, func() bool {
		missing, _, _ := l.conclude(t, l.trial(t, l.machines[0], lossBudget), false)
		return strings.Join(missing, " ") == want
	})
}

// scenario is one kill. after is what an appraisal lacks once that was noticed.
type scenario struct {
	name    string
	prepare func(*testing.T, *losing)          // nil for nothing
	victim  func(*testing.T, *losing) *process // nil for nobody
	restore func(*testing.T, *losing)
	after   string
	budget  time.Duration // zero for lossBudget
}

// sigkill ends a process that lives, and makes sure that it was this that ended
// it.
func sigkill(t *testing.T, p *process) {
	t.Helper()
	cmd := p.cmd
	if cmd == nil || cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Fatal("the victim was dead before")
	}
	p.kill(t)
	if end, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !end.Signaled() || end.Signal() != syscall.SIGKILL {
		t.Errorf("the victim ended otherwise: %v", cmd.ProcessState)
	}
}

// killServer kills a server to which somebody is connected, and which does not
// lead the store of used nonces.
func killServer(name string, server int, who func(*losing) string) scenario {
	return scenario{
		name:    name,
		prepare: func(t *testing.T, l *losing) { l.nats.depose(t, server) },
		victim: func(t *testing.T, l *losing) *process {
			if !slices.ContainsFunc(l.nats.connections(t, server, "open"), func(c string) bool { return strings.Contains(c, who(l)) }) {
				t.Errorf("%q is not connected to server %d", who(l), server)
			}
			if l.nats.leader() == server {
				t.Error("the victim leads the store of used nonces")
			}
			return l.nats.servers[server]
		},
		restore: func(t *testing.T, l *losing) { l.nats.revive(t, server) },
	}
}

// killLeader kills the server that leads the store of used nonces.
func killLeader(name string, budget time.Duration) scenario {
	server := 0
	return scenario{
		name: name, budget: budget,
		victim: func(t *testing.T, l *losing) *process {
			until(t, "the store of nonces has no leader", func() bool { server = l.nats.leader(); return server >= 0 })
			return l.nats.servers[server]
		},
		restore: func(t *testing.T, l *losing) { l.nats.revive(t, server) },
	}
}

// connected is how the connections of a process are named.
func connected(p *process) string { return fmt.Sprintf("-%d/", p.cmd.Process.Pid) }

// killVerifier kills one of the verifiers of the CPU.
func killVerifier(name string, i int) scenario {
	return scenario{
		name:    name,
		victim:  func(_ *testing.T, l *losing) *process { return l.vendorA[i] },
		restore: func(_ *testing.T, l *losing) { l.startA(i) },
	}
}

// lossScenarios kill every process but the lead's own. The order matters: who
// has lost a server stays at another.
func lossScenarios() []scenario {
	return []scenario{
		{name: "nothing", restore: func(*testing.T, *losing) {}},
		killVerifier("one of two verifiers of the CPU", 0),
		killVerifier("the other of them", 1),
		{
			name: "the node that answers for the GPU", after: "gpu/0: unreachable",
			victim:  func(_ *testing.T, l *losing) *process { return l.vendorB },
			restore: func(_ *testing.T, l *losing) { l.startB() },
		},
		killServer("the NATS server of the lead", 0, func(*losing) string { return "test/entry/requests" }),
		killServer("the NATS server of the node", 2, func(l *losing) string { return connected(l.vendorB) }),
		killServer("the NATS server of a verifier of the CPU", 1, func(l *losing) string { return connected(l.vendorA[1]) }),
		killLeader("the NATS server that leads the store of used nonces", 0),
		killLeader("the same, with a deadline of "+longBudget.String(), longBudget),
	}
}

// TestReliability kills one thing at a time under load: no wrong verdict, every
// appraisal ends in time with a verdict or a named reason, no nonce is used
// twice, and what is left goes on. With ASSIZE_RELIABILITY_RUNS=500 or more,
// UPDATE_DOCS=1 writes the figures into docs/reliability.md.
func TestReliability(t *testing.T) {
	leisurely(t)
	runs := lossRuns(t)
	l := newLosing(t)
	l.undisturbed(t)
	var rows bytes.Buffer
	for _, s := range lossScenarios() {
		selected := false
		var judged []*trial
		t.Run(s.name, func(t *testing.T) {
			selected = true
			if s.budget == 0 {
				s.budget = lossBudget
			}
			if s.prepare != nil {
				s.prepare(t, l)
			}
			var kill func()
			if s.victim != nil {
				kill = func() { sigkill(t, s.victim(t, l)) }
			}
			got := l.run(t, s.budget, kill)
			if len(got.took) != runs || s.victim == nil && got.complete != runs {
				t.Errorf("%d ended, %d complete: %v", len(got.took), got.complete, got.without)
			}
			l.settled(t, s.after)
			judged = got.judged
			l.replay(t, judged)
			rows.WriteString(got.row(s.name))
			t.Log(got.row(s.name))
		})
		if !selected { // by -run
			continue
		}
		s.restore(t, l) // outside of the sub-test, which would stop what it starts
		l.settled(t, "")
		l.replay(t, judged)
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
	if os.Getenv("UPDATE_DOCS") == "" || lossRuns(t) < lossRunsInDocs {
		for _, s := range lossScenarios() {
			m := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(s.name) + ` \| (\d+) \|`).FindStringSubmatch(rest)
			if m == nil {
				t.Errorf("docs/reliability.md does not name the scenario %q", s.name)
			} else if n, err := strconv.Atoi(m[1]); err != nil || n < lossRunsInDocs {
				t.Errorf("docs/reliability.md: %q has %s appraisals, want %d or more", s.name, m[1], lossRunsInDocs)
			}
		}
		return
	}
	if t.Failed() || strings.Count(rows, "\n") != len(lossScenarios()) {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "`%s=%d UPDATE_DOCS=1 go test ./integration -run TestReliability`, %d appraisals per row.\n", lossRunsVariable, lossRuns(t), lossRuns(t))
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
