// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// trial is one appraisal under way: fresh evidence of a machine.
type trial struct {
	specimen specimen
	nonce    []byte
	raw      []byte
	budget   time.Duration
}

// ending is how one submission of it ended.
type ending struct {
	res  *verdict.Result
	err  error
	took time.Duration
	// stalled is how long this process, or all of the machine, stood still
	// meanwhile.
	stalled time.Duration
}

func (l *losing) trial(t *testing.T, s specimen, budget time.Duration) *trial {
	t.Helper()
	x := &trial{specimen: s, nonce: make([]byte, 32), budget: budget}
	_, err := rand.Read(x.nonce)
	if err == nil {
		x.raw, _, err = s.machine.Evidence(x.nonce, attester.CBOR)
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	return x
}

// submit asks once, as the API does.
func (l *losing) submit(x *trial) ending {
	lead := l.entry.orch
	if x.budget == longBudget {
		lead = l.patient
	}
	ctx, cancel := context.WithTimeout(context.Background(), x.budget)
	defer cancel()
	defer time.AfterFunc(x.budget+lossMargin, l.lateStacks).Stop()
	before, began := l.stalls.Load(), time.Now()
	res, err := lead.Appraise(ctx, orchestrator.Request{Evidence: x.raw, Nonce: x.nonce, Topology: &l.topology})
	return ending{res, err, time.Since(began), time.Duration(l.stalls.Load() - before)}
}

// watch measures how late a clock that ticks all the time is, which is what no
// appraisal can be blamed for, until the test ends.
func (l *losing) watch(t *testing.T) {
	const tick = 20 * time.Millisecond
	end, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(end); <-ended })
	go func() {
		defer close(ended)
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-end:
				return
			case <-time.After(tick):
				if late := time.Since(last) - tick; late > tick {
					l.stalls.Add(int64(late))
				}
			}
		}
	}()
}

// lateStacks keeps what everybody does when an appraisal is late for the first
// time.
func (l *losing) lateStacks() {
	l.late.Do(func() {
		raw := make([]byte, 1<<20)
		l.lateText.Store(string(raw[:runtime.Stack(raw, true)]))
	})
}

// conclude submits a trial, twice at once if told so, and checks everything that
// must hold whatever fails. It returns what is missing, and whether there is a
// verdict.
func (l *losing) conclude(t *testing.T, x *trial, twice bool) (missing []string, judged bool, took time.Duration) {
	t.Helper()
	var twin ending
	var wg sync.WaitGroup
	if twice {
		wg.Go(func() { twin = l.submit(x) })
	}
	e := l.submit(x)
	if wg.Wait(); twice {
		e = l.onlyOne(t, x, e, twin)
	}
	l.inTime(t, x, e)
	switch {
	case errors.Is(e.err, orchestrator.ErrNonceStore): // fails closed
		return []string{"no verdict: nonce-store"}, false, e.took
	case e.err != nil:
		t.Errorf("%s: neither a verdict nor a named reason: %v", x.specimen.name, e.err)
		return []string{"no verdict"}, false, e.took
	}
	return l.missingIn(t, x, e.res), true, e.took
}

// inTime holds an end to its deadline.
func (l *losing) inTime(t *testing.T, x *trial, e ending) {
	t.Helper()
	if e.took > x.budget+lossMargin+e.stalled {
		t.Errorf("%s: an appraisal took %s of %s, and the machine stood still for %s: %v", x.specimen.name, e.took, x.budget, e.stalled, e.err)
		if text, ok := l.lateText.Swap("").(string); ok && text != "" {
			t.Log(text)
		}
	}
}

// onlyOne: of two submissions with one nonce not both have a verdict, and the
// other says why. It returns the one that counts.
func (l *losing) onlyOne(t *testing.T, x *trial, a, b ending) ending {
	t.Helper()
	if a.err == nil && b.err == nil {
		t.Errorf("%s: a nonce was used twice", x.specimen.name)
	}
	if b.err == nil || a.err != nil && errors.Is(a.err, orchestrator.ErrNonceSpent) {
		a, b = b, a
	}
	l.inTime(t, x, b)
	if !errors.Is(b.err, orchestrator.ErrNonceSpent) && !errors.Is(b.err, orchestrator.ErrNonceStore) {
		t.Errorf("%s: the second use ends with %v", x.specimen.name, b.err)
	}
	return a
}

// missingIn holds a verdict to the machine and to what was submitted, and returns
// which components have no result, with the reason.
func (l *losing) missingIn(t *testing.T, x *trial, res *verdict.Result) (missing []string) {
	t.Helper()
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, l.anchors)
	if err == nil {
		err = orchestrator.Recheck(checked, l.entry.set)
	}
	if err == nil {
		err = orchestrator.RecheckTopology(checked, l.topology)
	}
	var tree *evidence.Tree
	if err == nil {
		tree, err = evidence.Parse(x.raw, evidence.Options{})
	}
	if err == nil {
		err = orchestrator.RecheckEvidence(checked, l.entry.set, tree)
	}
	if err != nil || !checked.HasNonce(x.nonce) || len(checked.Components) != len(x.specimen.truth) || checked.Outcome.Tier != res.Outcome.Tier {
		t.Errorf("%s: the verdict does not hold: %v", x.specimen.name, err)
		return nil
	}
	l.once(t, "session "+checked.Session)
	want := verdict.TierAffirming
	for _, c := range checked.Components {
		if lost := l.lost(t, x, c); lost != "" {
			missing = append(missing, lost)
			want = verdict.Worst(want, verdict.TierNone)
		} else {
			want = verdict.Worst(want, x.specimen.truth[c.Label].tier)
		}
	}
	if checked.Outcome.Tier != want {
		t.Errorf("%s: the whole is %s, want %s: %v", x.specimen.name, checked.Outcome.Tier, want, checked.Outcome.Reasons)
	}
	l.edges(t, x, checked, len(missing) == 0)
	return missing
}

// lostReasons say that a component has no result because something failed. A
// node refuses a message whose first try it has noted and not answered. That a
// result does not verify is nothing that a crash may cause.
var lostReasons = []string{
	verdict.ReasonUnreachable, verdict.ReasonTimeout, verdict.ReasonBusy, verdict.ReasonMalfunction, verdict.ReasonRefused,
}

// lost is empty for a component with the result that it has when nothing fails,
// by the verifier that was asked, and for this request alone. Without a result
// it is the component and the reason.
func (l *losing) lost(t *testing.T, x *trial, c verdict.Component) string {
	t.Helper()
	if c.Partial.IsZero() {
		if c.Tier() != verdict.TierNone || len(c.Reasons) != 1 || !slices.Contains(lostReasons, c.Reasons[0].Code) {
			t.Errorf("%s: %s is %s without a result: %v", x.specimen.name, c.Label, c.Tier(), c.Reasons)
			return string(c.Label) + ": ?"
		}
		return string(c.Label) + ": " + c.Reasons[0].Code
	}
	a := c.Partial.Appraisal()
	if got, want := (truth{c.Tier(), a.Freshness}), x.specimen.truth[c.Label]; got != want {
		t.Errorf("%s: %s is %v, want %v: %v %v", x.specimen.name, c.Label, got, want, a.Reasons, c.Reasons)
	}
	if _, kid := c.Partial.Verifier(); !holds(l.judges[c.Label], kid, c.Scheme) {
		t.Errorf("%s: %s was judged by somebody who was not asked", x.specimen.name, c.Label)
	}
	l.once(t, "request "+c.Partial.Request())
	l.once(t, "result "+string(c.Partial.Token()))
	l.compare(t, x, c.Label, resultOf(c))
	return ""
}

// resultOf is what of a component's result does not change with the challenge.
func resultOf(c verdict.Component) string {
	a := c.Partial.Appraisal()
	return fmt.Sprint(c.Scheme, c.MediaType, c.Class, c.Required, c.Tier(), c.Partial.Status(), a.Vector, a.Freshness, a.PolicyID,
		reasonCodes(a.Reasons), reasonCodes(c.Reasons), slices.Sorted(maps.Keys(a.Claims)))
}

// compare holds something to what it was when nothing failed. The first results
// are from before anything is killed.
func (l *losing) compare(t *testing.T, x *trial, what evidence.Path, got string) {
	t.Helper()
	want, known := l.reference[x.specimen.name][what]
	if !known || got != want {
		t.Errorf("%s: %s is\n%s\nand was undisturbed\n%s", x.specimen.name, what, got, want)
	}
}

// undatedEdges are the edges without the digests that were compared, which are those of
// one session.
func undatedEdges(res *verdict.Result) string {
	list := slices.Clone(res.Bindings)
	for i := range list {
		list[i].Expected, list[i].Observed = "", ""
	}
	return fmt.Sprint(list)
}

// edges: nothing is bound that is not when nothing fails, and nothing is broken
// then; where nothing is missing, the edges are the same.
func (l *losing) edges(t *testing.T, x *trial, res *verdict.Result, complete bool) {
	t.Helper()
	if complete {
		l.compare(t, x, "edges", undatedEdges(res))
		return
	}
	for _, b := range res.Bindings {
		if known := l.reference[x.specimen.name][edgeOf(b)]; b.Status != "absent" && known != b.Status {
			t.Errorf("%s: %+v with something missing, but undisturbed %q", x.specimen.name, b, known)
		}
	}
}

func edgeOf(b verdict.Binding) evidence.Path {
	return evidence.Path(fmt.Sprint("edge ", b.From, b.To, b.Kind, b.Strength, b.Origin))
}

// once: such a thing came up for the first time.
func (l *losing) once(t *testing.T, what string) {
	t.Helper()
	if _, again := l.unique.LoadOrStore(what, true); again {
		t.Errorf("twice: %s", what)
	}
}

// undisturbed notes what the results are when nothing fails, which is what is
// true of the machines.
func (l *losing) undisturbed(t *testing.T) {
	t.Helper()
	var e ending
	defer func() {
		if t.Failed() && e.res != nil {
			for _, c := range e.res.Components {
				t.Log(c.Label, c.Tier(), c.Reasons)
			}
		}
	}()
	for _, s := range l.machines {
		until(t, "no complete appraisal", func() bool {
			x := l.trial(t, s, lossBudget)
			e = l.submit(x)
			if e.err != nil || slices.ContainsFunc(e.res.Components, func(c verdict.Component) bool { return c.Partial.IsZero() }) {
				return false
			}
			known := map[evidence.Path]string{"edges": undatedEdges(e.res)}
			for _, c := range e.res.Components {
				known[c.Label] = resultOf(c)
			}
			for _, b := range e.res.Bindings {
				known[edgeOf(b)] = b.Status
			}
			l.reference[s.name] = known
			l.missingIn(t, x, e.res)
			return true
		})
	}
}

// replay: what had a verdict once has none again.
func (l *losing) replay(t *testing.T, judged []*trial) {
	t.Helper()
	for _, x := range judged {
		if e := l.submit(x); !errors.Is(e.err, orchestrator.ErrNonceSpent) {
			t.Errorf("%s: submitted again: %v", x.specimen.name, e.err)
		}
	}
}
