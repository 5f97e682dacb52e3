// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// made is a verifier that says with which bundle it was made, and how.
type made struct {
	bundle *endorsements.Bundle
	how    string
}

func (m made) Appraise(ctx context.Context, _ Input) (verdict.Appraisal, error) {
	a := verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished}
	a.Vector[verdict.Hardware], a.Vector[verdict.Executables], a.Vector[verdict.Configuration] = 2, 2, 2
	a.Fail(verdict.ReasonNonceNotEstablished, "no nonce")
	return a, ctx.Err()
}

// renewable is one that can be renewed.
type renewable struct {
	made
	fail error
	bang bool
}

func (r renewable) Renew(b *endorsements.Bundle) (Verifier, error) {
	if r.bang {
		panic("bang")
	}
	r.bundle, r.how = b, "renewed"
	if r.fail != nil {
		return nil, r.fail
	}
	return r, nil
}

// supply is a Collateral.
type supply struct {
	mu     sync.Mutex
	bundle *endorsements.Bundle
	err    error
	bang   bool
	block  bool
	needs  [][]endorsements.Need
	left   time.Duration
}

func (s *supply) Ensure(ctx context.Context, needs []endorsements.Need) (*endorsements.Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needs = append(s.needs, needs)
	if end, ok := ctx.Deadline(); ok {
		s.left = time.Until(end)
	}
	if s.bang {
		panic("bang")
	}
	if s.block {
		<-ctx.Done()
		return s.bundle, ctx.Err()
	}
	return s.bundle, s.err
}

// renewNode is a node with one scheme and a supply.
func renewNode(t *testing.T, first func(Deps) (Verifier, error), needs func(evidence.MediaType, []byte) []endorsements.Need, s *supply) (*Node, *[]string) {
	t.Helper()
	sc := scheme(t, "a", nil, "x/a")
	sc.New, sc.Needs = first, needs
	set, err := NewSet(sc)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.GenerateSigner("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var faults []string
	o := NodeOptions{
		Set: set, Identity: verdict.Identity{Developer: "https://example.com", Build: "1"}, Clock: time.Now, Signers: map[string]*trust.Signer{"a": signer},
		CollateralFault: func(scheme string, err error) { faults = append(faults, scheme+": "+err.Error()) },
	}
	if s != nil {
		o.Collateral = s
	}
	n, err := NewNode(o)
	if err != nil {
		t.Fatal(err)
	}
	return n, &faults
}

func renewRequest(t *testing.T) Request {
	return Request{ID: strings.Repeat("0a", 16), Label: "cpu", Scheme: "a", MediaType: mt(t, "x/a"), Evidence: []byte("evidence")}
}

func one(evidence.MediaType, []byte) []endorsements.Need {
	return []endorsements.Need{{Kind: endorsements.NeedIntelTDX, FMSPC: "50806f000000", CA: "platform"}}
}

func newMade(d Deps) (Verifier, error) { return made{d.Endorsements, "new"}, nil }

func newRenewable(d Deps) (Verifier, error) {
	return renewable{made: made{d.Endorsements, "new"}}, nil
}

// The verifier is that of the bundle that was ensured, made once for it.
func TestNodeRenewsVerifiers(t *testing.T) {
	a, b := new(endorsements.Bundle), endorsements.Merge()
	for name, c := range map[string]struct {
		first func(Deps) (Verifier, error)
		how   string
	}{"made anew": {newMade, "new"}, "renewed": {newRenewable, "renewed"}} {
		s := &supply{bundle: a}
		count := 0
		n, faults := renewNode(t, func(d Deps) (Verifier, error) { count++; return c.first(d) }, one, s)
		for k, bundle := range []*endorsements.Bundle{a, a, b, b, a, nil} {
			s.bundle = bundle
			v := n.prepare(t.Context(), n.o.Set.schemes[0], renewRequest(t))
			want := bundle
			if bundle == nil {
				want = a // what was there before
			}
			got := made{}
			switch v := v.(type) {
			case made:
				got = v
			case renewable:
				got = v.made
			}
			if got.bundle != want || got.how != c.how {
				t.Errorf("%s %d: %s", name, k, got.how)
			}
		}
		if wantNew := map[string]int{"new": 4, "renewed": 1}[c.how]; count != wantNew || len(*faults) != 0 || len(s.needs) != 6 {
			t.Errorf("%s: made %d times, %v", name, count, *faults)
		}
	}
}

// Whatever goes wrong with collateral, the appraisal goes on with what there was.
func TestCollateralNeverFailsAnAppraisal(t *testing.T) {
	b := new(endorsements.Bundle)
	hostile := func(evidence.MediaType, []byte) []endorsements.Need { panic("bang") }
	broken := func(d Deps) (Verifier, error) {
		if d.Endorsements != nil {
			return nil, errors.New("broken")
		}
		return newMade(d)
	}
	missing := func(d Deps) (Verifier, error) {
		if d.Endorsements != nil {
			return nil, nil
		}
		return newMade(d)
	}
	for name, c := range map[string]struct {
		first func(Deps) (Verifier, error)
		needs func(evidence.MediaType, []byte) []endorsements.Need
		s     *supply
		fault string
	}{
		"needs panic":      {newMade, hostile, &supply{}, "panic"},
		"source panics":    {newMade, one, &supply{bang: true}, "panic"},
		"source fails":     {newMade, one, &supply{err: errors.New("no network")}, "no network"},
		"fails with some":  {newMade, one, &supply{bundle: b, err: errors.New("not all")}, "not all"},
		"New fails":        {broken, one, &supply{bundle: b}, "broken"},
		"New gives none":   {missing, one, &supply{bundle: b}, "no verifier"},
		"Renew fails":      {func(Deps) (Verifier, error) { return renewable{fail: errors.New("broken")}, nil }, one, &supply{bundle: b}, "broken"},
		"Renew panics":     {func(Deps) (Verifier, error) { return renewable{bang: true}, nil }, one, &supply{bundle: b}, "panic"},
		"takes too long":   {newMade, one, &supply{block: true}, "deadline"},
		"nothing is wrong": {newMade, one, &supply{bundle: b}, ""},
	} {
		n, faults := renewNode(t, c.first, c.needs, c.s)
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		_, tier, err := n.Appraise(ctx, renewRequest(t))
		cancel()
		if err != nil || tier == verdict.TierNone {
			t.Errorf("%s: %s, %v", name, tier, err)
		}
		if got := strings.Join(*faults, "\n"); (c.fault == "") != (got == "") || !strings.Contains(got, c.fault) {
			t.Errorf("%s: faults %q", name, got)
		}
	}
}

// Collateral may take half of the time that there is and five seconds at most.
func TestCollateralTime(t *testing.T) {
	for _, c := range []struct{ deadline, most time.Duration }{{0, 5 * time.Second}, {time.Minute, 5 * time.Second}, {4 * time.Second, 2 * time.Second}} {
		s := &supply{}
		n, _ := renewNode(t, newMade, one, s)
		ctx, cancel := context.WithCancel(t.Context())
		if c.deadline > 0 {
			ctx, cancel = context.WithTimeout(t.Context(), c.deadline)
		}
		_, _, err := n.Appraise(ctx, renewRequest(t))
		cancel()
		if err != nil || s.left > c.most || s.left < c.most-time.Second {
			t.Errorf("%s: %s is left, %v", c.deadline, s.left, err)
		}
	}
}

// Without a supply, or without needs, nothing is asked for; no more than eight needs are.
func TestCollateralIsAskedForNeeds(t *testing.T) {
	none := func(evidence.MediaType, []byte) []endorsements.Need { return nil }
	many := func(m evidence.MediaType, raw []byte) []endorsements.Need { return slices.Repeat(one(m, raw), 20) }
	for name, c := range map[string]struct {
		needs func(evidence.MediaType, []byte) []endorsements.Need
		want  int
	}{"no function": {nil, 0}, "none": {none, 0}, "one": {one, 1}, "many": {many, 8}} {
		s := &supply{}
		n, _ := renewNode(t, newMade, c.needs, s)
		if _, _, err := n.Appraise(t.Context(), renewRequest(t)); err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, list := range s.needs {
			got += len(list)
		}
		if got != c.want {
			t.Errorf("%s: %d needs", name, got)
		}
	}
	asked := 0
	n, _ := renewNode(t, newMade, func(m evidence.MediaType, raw []byte) []endorsements.Need { asked++; return one(m, raw) }, nil)
	if _, _, err := n.Appraise(t.Context(), renewRequest(t)); err != nil || asked != 0 {
		t.Errorf("asked without a supply: %v", err)
	}
}

// waits is a Collateral that waits until its context ends.
type waits struct{ begun chan struct{} }

func (w waits) Ensure(ctx context.Context, _ []endorsements.Need) (*endorsements.Bundle, error) {
	select {
	case w.begun <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// Evidence can make only so many appraisals wait; those beyond go on at once.
func TestCollateralWaitsAreBounded(t *testing.T) {
	n, _ := renewNode(t, newMade, one, nil)
	w := waits{make(chan struct{}, MaxCollateralWaits)}
	faults := make(chan error, 2*MaxCollateralWaits)
	n.o.Collateral, n.o.CollateralFault = w, func(_ string, err error) { faults <- err }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range MaxCollateralWaits {
		wg.Go(func() { n.prepare(ctx, n.o.Set.schemes[0], renewRequest(t)) })
	}
	for range MaxCollateralWaits {
		<-w.begun
	}
	begun := time.Now()
	if _, tier, err := n.Appraise(t.Context(), renewRequest(t)); err != nil || tier == verdict.TierNone || time.Since(begun) > 2*time.Second {
		t.Errorf("%s, %v after %s", tier, err, time.Since(begun))
	}
	if err := <-faults; !errors.Is(err, errWaits) {
		t.Errorf("%v", err)
	}
	cancel()
	wg.Wait()
	// Their places are free again.
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for len(faults) > 0 {
		<-faults
	}
	n.prepare(ctx, n.o.Set.schemes[0], renewRequest(t))
	if err := <-faults; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// Evidence without needs is appraised with what others had fetched, too: a list of
// revoked keys does not wait for somebody who asks for it.
func TestNoNeedsStillMeansTheLatest(t *testing.T) {
	a, b := new(endorsements.Bundle), endorsements.Merge()
	s := &supply{bundle: a}
	n, faults := renewNode(t, newRenewable, func(evidence.MediaType, []byte) []endorsements.Need { return nil }, s)
	for _, want := range []*endorsements.Bundle{a, b} {
		s.bundle = want
		if v := n.prepare(t.Context(), n.o.Set.schemes[0], renewRequest(t)); v.(renewable).bundle != want {
			t.Error("not the latest")
		}
	}
	if len(*faults) != 0 || len(s.needs) != 2 || len(s.needs[0]) != 0 {
		t.Errorf("%v, %v", *faults, s.needs)
	}
}

// A request that is refused causes nothing, whatever is in it.
func TestRefusedRequestsAskForNothing(t *testing.T) {
	s := &supply{}
	n, _ := renewNode(t, newMade, one, s)
	large, foreign := renewRequest(t), renewRequest(t)
	large.Evidence = make([]byte, 65)
	foreign.MediaType = mt(t, "x/b")
	for _, r := range []Request{large, foreign, {}} {
		if _, _, err := n.Appraise(t.Context(), r); err == nil {
			t.Error("not refused")
		}
	}
	if len(s.needs) != 0 {
		t.Errorf("asked for %v", s.needs)
	}
}

// Many at once, with bundles that change under them, each with a verifier.
func TestRenewConcurrently(t *testing.T) {
	s := &supply{bundle: new(endorsements.Bundle)}
	n, faults := renewNode(t, newRenewable, one, s)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				s.mu.Lock()
				s.bundle = endorsements.Merge()
				s.mu.Unlock()
				if _, _, err := n.Appraise(t.Context(), renewRequest(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(*faults) != 0 {
		t.Error(*faults)
	}
}

// prover is a verifier that knows what is proved.
type prover struct {
	made
	asked *[]time.Time
}

func (p prover) Needs(_ evidence.MediaType, raw []byte, at time.Time) []endorsements.Need {
	if *p.asked = append(*p.asked, at); string(raw) == "forged" {
		return nil
	}
	return one(evidence.MediaType{}, nil)
}

// A verifier that can tell what is proved is asked in the place of its scheme, for the
// time of the appraisal.
func TestNeedsOfWhatIsProved(t *testing.T) {
	var asked []time.Time
	s := &supply{bundle: new(endorsements.Bundle)}
	all := func(evidence.MediaType, []byte) []endorsements.Need { t.Error("the scheme was asked"); return nil }
	n, _ := renewNode(t, func(d Deps) (Verifier, error) { return prover{made{d.Endorsements, "new"}, &asked}, nil }, all, s)
	r := renewRequest(t)
	r.Evidence = []byte("forged")
	n.prepare(t.Context(), n.o.Set.schemes[0], r)
	if len(s.needs) != 1 || s.needs[0] != nil {
		t.Errorf("asked for %v", s.needs)
	}
	r.Evidence, r.Time = []byte("genuine"), time.Unix(1_700_000_000, 0)
	n.prepare(t.Context(), n.o.Set.schemes[0], r)
	if len(s.needs) != 2 || len(s.needs[1]) != 1 || len(asked) != 2 || asked[0].IsZero() || !asked[1].Equal(r.Time) {
		t.Errorf("%v at %v", s.needs, asked)
	}
}
