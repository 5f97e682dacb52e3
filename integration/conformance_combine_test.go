// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// PAR-7: results that a relying party has collected itself are put together by one
// pure function, with the rules that a lead has.
func TestPAR7Combine(t *testing.T) {
	const rule = "parallel(a, parallel(quorum 2: b@me, b@n1, b@n2))"
	raw := words(t, wordNonce, "a cpu good", "b dev good")
	tree, err := evidence.Parse(raw, evidence.Options{})
	must(t, err)
	for _, c := range []struct {
		what, rule string
		nonce      string
		says       map[string]verdict.Claim // about b, by member
		more       func(f *federation) [][]byte
		want, code string
	}{
		{"all agree", rule, wordNonce, map[string]verdict.Claim{"me": 2, "n1": 2, "n2": 2}, nil, "a=affirming b=affirming | warning", ""},
		{"one is silent", rule, wordNonce, map[string]verdict.Claim{"me": 2, "n1": 2}, nil, "a=affirming b=warning | warning", verdict.ReasonQuorumIncomplete},
		{"two are silent", rule, wordNonce, map[string]verdict.Claim{"n2": 2}, nil, "a=affirming b=none | none", verdict.ReasonQuorumNotReached},
		{"nobody answers", rule, wordNonce, nil, nil, "a=affirming b=none | none", verdict.ReasonMissingComponent},
		{"one disagrees", rule, wordNonce, map[string]verdict.Claim{"me": 2, "n1": 2, "n2": 96}, nil, "a=affirming b=contraindicated | contraindicated", verdict.ReasonDisagreement},
		{"another challenge", rule, oldNonce, map[string]verdict.Claim{"me": 2, "n1": 2, "n2": 2}, nil, "a=none b=none | none", ""},
		{"no challenge", rule, "", map[string]verdict.Claim{"me": 2, "n1": 2, "n2": 2}, nil, "a=affirming b=affirming | warning", ""},
		{"one that is forged", rule, wordNonce, map[string]verdict.Claim{"me": 2, "n1": 2}, func(f *federation) [][]byte {
			stranger, err := trust.GenerateSigner(trust.ES256, rand.Reader)
			must(t, err)
			return [][]byte{f.stated("b", "dev", stranger, verdict.ClaimApproved)}
		}, "a=affirming b=warning | warning", verdict.ReasonQuorumIncomplete},
		{"several where one was asked", "parallel(a, b)", wordNonce, map[string]verdict.Claim{"me": 2, "n1": 96}, nil, "a=affirming b=contraindicated | contraindicated", verdict.ReasonDisagreement},
		{"something that must be there", "parallel(a, b, d)", wordNonce, map[string]verdict.Claim{"me": 2}, nil, "a=affirming b=affirming d=none | none", ""},
		{"something that nobody wants", "parallel(a)", wordNonce, map[string]verdict.Claim{"me": 2}, nil, "a=affirming b=none | warning", verdict.ReasonUnexpected},
		{"the wrong place", "parallel(a, b@n1)", wordNonce, map[string]verdict.Claim{"n2": 2}, nil, "a=affirming b=none | none", verdict.ReasonBadPARSignature},
		{"about other evidence", rule, wordNonce, map[string]verdict.Claim{"me": 2, "n1": 2}, func(f *federation) [][]byte {
			return [][]byte{f.statedOn("b", "dev", f.members["n2"].verifiers["dev"], verdict.ClaimApproved, []byte("other"))}
		}, "", verdict.ReasonPARSubject},
	} {
		for _, with := range []*evidence.Tree{nil, tree} {
			f := newFederation(t, options{})
			results := [][]byte{f.stated("a", "cpu", f.members["me"].verifiers["cpu"], verdict.ClaimApproved)}
			for at, claim := range c.says {
				results = append(results, f.stated("b", "dev", f.members[at].verifiers["dev"], claim))
			}
			if c.more != nil {
				results = append(results, c.more(f)...)
			}
			e, err := topologies.Parse(c.rule)
			must(t, err)
			in := orchestrator.Collected{Topology: e, Results: results, Evidence: with, Anchors: f.anchors, Nodes: f.files(),
				Schemes: f.schemes, Intake: verdict.Intake{Now: time.Now()}}
			if c.nonce != "" {
				in.Nonce = []byte(c.nonce)
			}
			res, err := orchestrator.CombineCollected(in)
			must(t, err)
			want, code := c.want, c.code
			switch {
			case with != nil && c.says == nil: // it was submitted
				code = verdict.ReasonQuorumNotReached
			case want == "" && with == nil:
				want = "a=affirming b=none | none" // nobody can tell which is right
			case want == "":
				want, code = "a=affirming b=warning | warning", verdict.ReasonQuorumIncomplete
			}
			if got := tiers(res); got != want || !strings.Contains(reasonCodes(part(t, res, "b").Reasons), code) {
				t.Errorf("%s, evidence %t: %s %v, want %s %s", c.what, with != nil, got, part(t, res, "b").Reasons, want, code)
			}
			slices.Reverse(in.Results)
			other, err := orchestrator.CombineCollected(in)
			must(t, err)
			if tiers(other) != tiers(res) {
				t.Errorf("%s: in another order %s", c.what, tiers(other))
			}
		}
	}
}

// What a service gives for a parallel topology, with or without a verdict around
// it, is what the relying party combines to the same outcome.
func TestPAR7CombineWhatAServiceGives(t *testing.T) {
	for _, topology := range parallels {
		f := newFederation(t, options{})
		f.found("n2", verdict.ClaimUnsafe)
		res := f.appraise(topology, abc(t))
		e, err := topologies.Parse(topology)
		must(t, err)
		for _, cbor := range []bool{false, true} {
			raw, err := verdict.EncodeResults(res, cbor)
			must(t, err)
			tokens, err := verdict.DecodeResults(raw)
			must(t, err)
			for what, results := range map[string][][]byte{"results": tokens, "the verdict": {res.Token}, "both": append(tokens, res.Token)} {
				got, err := orchestrator.CombineCollected(orchestrator.Collected{Topology: e, Results: results, Nonce: []byte(wordNonce),
					Anchors: f.anchors, Nodes: f.files(), Schemes: f.schemes, Intake: verdict.Intake{Now: time.Now()}})
				must(t, err)
				if tiers(got) != tiers(res) {
					t.Errorf("%s from %s: %s, want %s", topology, what, tiers(got), tiers(res))
				}
			}
		}
	}
	// Results about something that is not in the evidence are said.
	alone := newFederation(t, options{})
	only, err := evidence.Parse(words(t, wordNonce, "a cpu good"), evidence.Options{})
	must(t, err)
	want, err := topologies.Parse("parallel(a)")
	must(t, err)
	results := [][]byte{alone.stated("a", "cpu", alone.members["me"].verifiers["cpu"], 2), alone.stated("b", "dev", alone.members["n1"].verifiers["dev"], 2)}
	for n, tier := range map[int]verdict.Tier{1: verdict.TierAffirming, 2: verdict.TierWarning} {
		got, err := orchestrator.CombineCollected(orchestrator.Collected{Topology: want, Results: results[:n], Nonce: []byte(wordNonce), Evidence: only,
			Anchors: alone.anchors, Schemes: alone.schemes, Intake: verdict.Intake{Now: time.Now()}})
		must(t, err)
		if got.Outcome.Tier != tier {
			t.Errorf("%d results, one of them about evidence: %s %v", n, tiers(got), got.Caps)
		}
	}
	// A lead that changes what its verifiers said brings nothing.
	f := newFederation(t, options{})
	res := f.appraise("parallel(a, b@n1, c@n2)", abc(t))
	good := string(part(t, res, "b").Partial.Token())
	lie, err := f.members["me"].leadKey.SignJWT([]byte(strings.Replace(payload(t, res.Token), good, string(other([]byte(good))), 1)))
	must(t, err)
	e, err := topologies.Parse("parallel(a, b, c)")
	must(t, err)
	got, err := orchestrator.CombineCollected(orchestrator.Collected{Topology: e, Results: [][]byte{lie}, Nonce: []byte(wordNonce),
		Anchors: f.anchors, Schemes: f.schemes, Intake: verdict.Intake{Now: time.Now()}})
	must(t, err)
	if got.Outcome.Tier != verdict.TierNone || !slices.ContainsFunc(got.Caps, func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonBadPARSignature }) {
		t.Errorf("%s %v", tiers(got), got.Caps)
	}
}

// stated is a result about a component of the composite that everybody got.
func (f *federation) stated(label, scheme string, s *trust.Signer, claim verdict.Claim) []byte {
	return f.statedOn(label, scheme, s, claim, []byte(wordNonce+" good"))
}

func (f *federation) statedOn(label, scheme string, s *trust.Signer, claim verdict.Claim, raw []byte) []byte {
	f.t.Helper()
	token, err := signed(s, verifiers.Request{
		ID: strings.Repeat("0", 32), Session: "s", Label: evidence.Path(label), Scheme: scheme,
		MediaType: evidence.MediaType{Base: "application/vnd.test." + scheme}, Evidence: raw, Nonce: []byte(wordNonce), NonceRule: "same",
	}, claim)
	must(f.t, err)
	return token
}
