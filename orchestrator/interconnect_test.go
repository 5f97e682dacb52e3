// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// linked is a verifier of devices whose evidence says, behind the nonce, which
// device it is and which ones it names: "1 2,3".
type linked struct{}

func (linked) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	_, what, _ := strings.Cut(string(in.Evidence), " ")
	if what == "panic" {
		return word{}.Appraise(ctx, in)
	}
	a, err := word{}.Appraise(ctx, in)
	id, peers, _ := strings.Cut(what, " ")
	a.Facts = verdict.Facts{Device: []string{"nvidia-pdi:" + id}, PeersRequired: true}
	for peer := range strings.SplitSeq(peers, ",") {
		a.Facts.Peers = append(a.Facts.Peers, "nvidia-pdi:"+peer)
	}
	return a, err
}

// linkedSchemes have the names that interconnects know.
func linkedSchemes() []verifiers.Scheme {
	var schemes []verifiers.Scheme
	for _, name := range []string{"nvidia-gpu", "nvidia-nvswitch"} {
		sc := testScheme(name, verifiers.ClassDevice)
		sc.New = func(verifiers.Deps) (verifiers.Verifier, error) { return linked{}, nil }
		schemes = append(schemes, sc)
	}
	return append(schemes, testScheme("cpu", verifiers.ClassCPU))
}

func linkedWorld(t *testing.T) *world { return newWorldOf(t, nil, linkedSchemes()...) }

// linkedBoard is the evidence of a board: GPUs 10… and switches 20….
func linkedBoard(gpus, switches int) (parts []string) {
	list := func(from, n int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprint(from+i))
		}
		return strings.Join(out, ",")
	}
	for i := range gpus {
		parts = append(parts, fmt.Sprintf("g%d nvidia-gpu %d %s", i, 10+i, list(20, switches)))
	}
	for i := range switches {
		parts = append(parts, fmt.Sprintf("s%d nvidia-nvswitch %d %s", i, 20+i, list(10, gpus)))
	}
	return parts
}

// TestInterconnectInTheVerdict: what holds between the devices of a board is in
// the signed verdict, and a relying party comes to the same.
func TestInterconnectInTheVerdict(t *testing.T) {
	for _, c := range []struct {
		name         string
		parts        []string
		tier, of     verdict.Tier
		rules        verdict.Claim
		members      int
		unattested   string
		code, detail string
	}{
		{"a whole board", linkedBoard(8, 4), verdict.TierWarning, verdict.TierAffirming, 3, 12, "", verdict.ReasonUnboundComponent, ""},
		{"a switch less", linkedBoard(8, 4)[:11], verdict.TierContraindicated, verdict.TierContraindicated, 96, 11, "nvidia-pdi:23", verdict.ReasonInterconnect, "g0, g1"},
		{"a switch without verdict", append(linkedBoard(8, 4)[:11], "s3 nvidia-nvswitch panic"), verdict.TierNone, verdict.TierNone, 0, 11, "nvidia-pdi:23", verdict.ReasonInterconnect, "s3"},
		{"a small board", linkedBoard(2, 1), verdict.TierWarning, verdict.TierWarning, 32, 3, "", verdict.ReasonInterconnect, ": 2 and 1;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := linkedWorld(t)
			res := w.appraise(t, Request{Evidence: composite(t, c.parts...), Nonce: []byte(testNonce)})
			got, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
			check(t, err)
			check(t, Recheck(got, w.options.Schemes))
			if len(got.Interconnects) != 1 || got.Outcome.Tier != c.tier {
				t.Fatalf("%s with %d interconnects: %v", got.Outcome.Tier, len(got.Interconnects), got.Outcome.Reasons)
			}
			i := got.Interconnects[0]
			if i.Tier != c.of || i.Configuration != c.rules || len(i.Members()) != c.members || strings.Join(i.Unattested, " ") != c.unattested {
				t.Errorf("%+v", i)
			}
			if !slices.ContainsFunc(got.Outcome.Reasons, func(r verdict.Reason) bool { return r.Code == c.code && strings.Contains(r.Detail, c.detail) }) {
				t.Errorf("%v", got.Outcome.Reasons)
			}
		})
	}
}

// TestLeadCannotPraiseAnInterconnect: neither by leaving out what follows from the
// results, nor by saying something better about them.
func TestLeadCannotPraiseAnInterconnect(t *testing.T) {
	w := linkedWorld(t)
	honest := w.appraise(t, Request{Evidence: composite(t, linkedBoard(8, 4)[:11]...), Nonce: []byte(testNonce)})
	check(t, Recheck(honest, w.options.Schemes))
	noCaps := func(r *verdict.Result) {
		r.Caps = slices.DeleteFunc(slices.Clone(r.Caps), func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonInterconnect })
	}
	praise := func(change func(*verdict.Interconnect)) func(*verdict.Result) {
		return func(r *verdict.Result) {
			i := r.Interconnects[0]
			change(&i)
			r.Interconnects = []verdict.Interconnect{i}
		}
	}
	good := func(i *verdict.Interconnect) { i.Tier, i.Configuration, i.Reasons = verdict.TierAffirming, 3, nil }
	for name, change := range map[string]func(*verdict.Result){
		"no word of it":            func(r *verdict.Result) { r.Interconnects = nil; noCaps(r) },
		"no word of it but caps":   func(r *verdict.Result) { r.Interconnects = nil },
		"all is well":              func(r *verdict.Result) { praise(good)(r); noCaps(r) },
		"all is well but caps":     praise(good),
		"a better claim":           praise(func(i *verdict.Interconnect) { i.Configuration = verdict.ClaimUnsafe }),
		"a switch less":            praise(func(i *verdict.Interconnect) { i.Switches = i.Switches[1:] }),
		"a GPU less":               praise(func(i *verdict.Interconnect) { i.Devices = i.Devices[1:] }),
		"nobody is missing":        praise(func(i *verdict.Interconnect) { i.Unattested = nil }),
		"twice":                    func(r *verdict.Result) { r.Interconnects = slices.Repeat(r.Interconnects, 2) },
		"a GPU goes with a switch": praise(func(i *verdict.Interconnect) { i.Devices, i.Switches = i.Switches, i.Devices }),
	} {
		lie, err := w.resign(t, honest, change)
		if err != nil {
			t.Errorf("%s: found before: %v", name, err)
			continue
		}
		if err := Recheck(lie, w.options.Schemes); err == nil {
			t.Errorf("%s: the lie passes", name)
		}
	}
	// The caps alone give the lie away as well.
	lie, err := w.resign(t, honest, noCaps)
	if err == nil || lie != nil {
		t.Error("a verdict better than an interconnect in it passes")
	}
	i := honest.Interconnects[0]
	i.Tier = verdict.TierNone
	if err := recheckInterconnects([]verdict.Interconnect{i}, honest.Interconnects); err == nil {
		t.Error("a better tier alone passes")
	}
	// To say something worse is the lead's right.
	worse, err := w.resign(t, honest, praise(func(i *verdict.Interconnect) {
		i.Reasons = append(slices.Clone(i.Reasons), verdict.Reason{Code: verdict.ReasonPolicy})
	}))
	check(t, err)
	check(t, Recheck(worse, w.options.Schemes))
}

// TestInterconnectIgnoresTheOrder: of the leaves in the evidence.
func TestInterconnectIgnoresTheOrder(t *testing.T) {
	w := linkedWorld(t)
	one := w.appraise(t, Request{Evidence: composite(t, linkedBoard(8, 4)...), Nonce: []byte(testNonce)})
	back := linkedBoard(8, 4)
	slices.Reverse(back)
	w = linkedWorld(t)
	two := w.appraise(t, Request{Evidence: composite(t, back...), Nonce: []byte(testNonce)})
	if fmt.Sprint(one.Interconnects) != fmt.Sprint(two.Interconnects) || fmt.Sprint(one.Bindings) != fmt.Sprint(two.Bindings) {
		t.Errorf("%v\n%v", one.Interconnects, two.Interconnects)
	}
	if one.Interconnects[0].Devices[0] != evidence.Path("g0") {
		t.Errorf("%v", one.Interconnects)
	}
}

// TestInterconnectOfCollectedResults: who aggregates without a lead comes to the
// same, also where a switch was left out.
func TestInterconnectOfCollectedResults(t *testing.T) {
	for _, n := range []int{12, 11} {
		w := linkedWorld(t)
		raw := composite(t, linkedBoard(8, 4)[:n]...)
		res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
		tree, err := evidence.Parse(raw, evidence.Options{})
		check(t, err)
		lead, err := topologies.Parse("lead")
		check(t, err)
		var results [][]byte
		for _, c := range res.Components {
			results = append(results, c.Partial.Token())
		}
		got, err := CombineCollected(Collected{Topology: lead, Results: results, Nonce: []byte(testNonce), Evidence: tree,
			Anchors: w.anchors, Schemes: w.options.Schemes, Intake: verdict.Intake{Now: time.Now()}})
		check(t, err)
		if len(got.Interconnects) != 1 || !reflect.DeepEqual(got.Interconnects, res.Interconnects) || got.Outcome.Tier != res.Outcome.Tier {
			t.Errorf("%s %+v\n%s %+v", got.Outcome.Tier, got.Interconnects, res.Outcome.Tier, res.Interconnects)
		}
	}
}

// TestInterconnectOverNodes: whoever judges the parts of a board, the rules are
// about the whole of it, at the entry. No node in between sees a board that lacks
// what another one has, and none can hide that something is missing.
func TestInterconnectOverNodes(t *testing.T) {
	const gpus, switches = "g0, g1, g2, g3, g4, g5, g6, g7", "s0, s1, s2, s3"
	for _, c := range []struct {
		topology, silent string
		parts            []string
		of               verdict.Tier
		members          int
	}{
		{"lead", "", linkedBoard(8, 4), verdict.TierAffirming, 12},
		{"lead(lead(" + gpus + ")@n1, lead(" + switches + ")@n2)", "", linkedBoard(8, 4), verdict.TierAffirming, 12},
		{"cascade(lead(" + gpus + ")@n1, lead(" + switches + ")@n2)", "", linkedBoard(8, 4), verdict.TierAffirming, 12},
		{"lead(lead(g0, s1, g2)@n1, cascade(g1, g3, lead(s0, g4)@n2), g5, g6, g7, s2, s3)", "", linkedBoard(8, 4), verdict.TierAffirming, 12},
		{"lead(lead(" + gpus + ")@n1, lead(s0, s1, s2)@n2)", "", linkedBoard(8, 4)[:11], verdict.TierContraindicated, 11},
		{"lead(lead(" + gpus + ")@n1, lead(" + switches + ")@n2)", "n2", linkedBoard(8, 4), verdict.TierNone, 8},
	} {
		f := newFederationOf(t, linkedSchemes(), nil, "me", "n1", "n2")
		f.wire = func(_, to string, message []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if to == c.silent {
				return nil, &verifiers.Failure{Reason: verdict.ReasonUnreachable, Detail: "nobody there"}
			}
			return next(message)
		}
		res := f.appraise(c.topology, c.parts...)
		if len(res.Interconnects) != 1 || res.Interconnects[0].Tier != c.of || len(res.Interconnects[0].Members()) != c.members || c.of.WorseThan(res.Outcome.Tier) {
			t.Errorf("%s: %s %+v", c.topology, res.Outcome.Tier, res.Interconnects)
		}
	}
}

// TestCopiesOfABoardGetAVerdict: whoever submits two devices over and over gets a
// verdict that can be signed, and read again.
func TestCopiesOfABoardGetAVerdict(t *testing.T) {
	var parts []string
	for i := range 125 {
		label := fmt.Sprintf("%s%d", strings.Repeat("x", 100), i)
		parts = append(parts, "g"+label+" nvidia-gpu 10 20", "s"+label+" nvidia-nvswitch 20 10")
	}
	w := linkedWorld(t)
	res := w.appraise(t, Request{Evidence: composite(t, parts...), Nonce: []byte(testNonce)})
	got, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
	check(t, err)
	check(t, Recheck(got, w.options.Schemes))
	if got.Outcome.Tier != verdict.TierContraindicated || len(got.Caps) > 1000 || len(got.Interconnects) != 1 || len(got.Interconnects[0].Members()) != 250 {
		t.Errorf("%s with %d caps", got.Outcome.Tier, len(got.Caps))
	}
	for _, r := range got.Outcome.Reasons {
		if len(r.Detail) > 32<<10 {
			t.Errorf("%s with %d bytes", r.Code, len(r.Detail))
		}
	}
}
