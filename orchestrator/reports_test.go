// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// assigned is a verifier of devices whose interface report is under no signature.
// The evidence says, behind the nonce, what each object is: "A,R,T" for chain,
// report and TSM information.
type assigned struct{}

func unauthenticated(c verdict.Component) bool { return told(c, verdict.ReasonReportUnauthenticated) }

func digestText(of string) string { return fmt.Sprintf("%096x", of) }

func (assigned) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a, err := word{}.Appraise(ctx, in)
	_, what, _ := strings.Cut(string(in.Evidence), " ")
	a.Vector[verdict.Configuration], a.Vector[verdict.RuntimeOpaque], a.Facts.RelayRequired = 2, 2, true
	names := []string{verdict.ObjectCertificates, verdict.ObjectReport, verdict.ObjectTSM}
	for i, o := range strings.Split(what, ",") {
		a.Facts.Objects = append(a.Facts.Objects, verdict.Object{Name: names[i], Alg: verdict.AlgSHA384, Digest: digestText(o)})
	}
	return a, err
}

// taker is a CPU TEE whose software measured what it took in: "known A,R,T".
type taker struct{}

func (taker) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a, err := word{}.Appraise(ctx, in)
	f := strings.Fields(string(in.Evidence))
	a.Vector[verdict.Executables] = verdict.ClaimUnrecognized
	if f[1] == "known" {
		a.Vector[verdict.Executables] = verdict.ClaimApproved
	}
	names := []string{verdict.ObjectCertificates, verdict.ObjectReport, verdict.ObjectTSM}
	for i, o := range strings.Split(strings.Join(f[2:], ""), ",") {
		if o != "" {
			a.Facts.Commitments = append(a.Facts.Commitments, verdict.Commitment{
				Subject: "nic", Object: names[i], Alg: verdict.AlgSHA384, Digest: digestText(o), Via: "event-log", Origin: verdict.OriginMeasured})
		}
	}
	return a, err
}

func assignedWorld(t *testing.T) *world {
	nic, cpu := testScheme("tdi", verifiers.ClassDevice), testScheme("taker", verifiers.ClassCPU)
	nic.New = func(verifiers.Deps) (verifiers.Verifier, error) { return assigned{}, nil }
	cpu.New = func(verifiers.Deps) (verifiers.Verifier, error) { return taker{}, nil }
	return newWorldOf(t, nil, append(boundSchemes(), nic, cpu)...)
}

// flat is a submod of a signed verdict as a client reads it that knows no more.
func flat(t *testing.T, token []byte, label string) (status string, vector map[string]int) {
	t.Helper()
	var claims struct {
		Submods map[string]struct {
			Status string         `json:"ear.status"`
			Vector map[string]int `json:"ear.trustworthiness-vector"`
		} `json:"submods"`
	}
	check(t, json.Unmarshal(payload(t, token), &claims))
	return claims.Submods[label].Status, claims.Submods[label].Vector
}

// TestReportNeedsARelay: a device with an interface report is good exactly where
// the CPU's evidence vouches for the report, in the signed verdict, its readable
// form and its flat copy, and a relying party comes to the same.
func TestReportNeedsARelay(t *testing.T) {
	nic := entry("nic", "tdi", []byte(testNonce+" A,R,T"))
	other := entry("nic", "tdi", []byte(testNonce+" A,X,T"))
	for _, c := range []struct {
		name      string
		evidence  []byte
		component verdict.Tier
		whole     verdict.Tier
	}{
		{"measured relay", bound(t, testNonce, []evidence.Entry{nic}, []evidence.Entry{nic}), verdict.TierAffirming, verdict.TierAffirming},
		{"swapped behind it", bound(t, testNonce, []evidence.Entry{nic}, []evidence.Entry{other}), verdict.TierWarning, verdict.TierContraindicated},
		{"measured digests", composite(t, "cpu taker known A,R,T", "nic tdi A,R,T"), verdict.TierAffirming, verdict.TierAffirming},
		{"digests of another report", composite(t, "cpu taker known A,R,T", "nic tdi A,X,T"), verdict.TierWarning, verdict.TierContraindicated},
		{"digests without report", composite(t, "cpu taker known A", "nic tdi A,R,T"), verdict.TierWarning, verdict.TierWarning},
		{"digests without TSM information", composite(t, "cpu taker known A,R", "nic tdi A,R,T"), verdict.TierWarning, verdict.TierWarning},
		{"digests of unknown software", composite(t, "cpu taker unknown A,R,T", "nic tdi A,R,T"), verdict.TierWarning, verdict.TierWarning},
		{"nothing", composite(t, "cpu taker known ", "nic tdi A,R,T"), verdict.TierWarning, verdict.TierWarning},
		{"no CPU", composite(t, "nic tdi A,R,T"), verdict.TierWarning, verdict.TierWarning},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := assignedWorld(t)
			res := w.appraise(t, Request{Evidence: c.evidence, Nonce: []byte(testNonce)})
			got, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
			check(t, err)
			check(t, Recheck(got, w.options.Schemes))
			part := find(t, got, "nic")
			if part.Tier() != c.component || got.Outcome.Tier != c.whole {
				t.Errorf("%s in %s: %v %v", part.Tier(), got.Outcome.Tier, part.Reasons, got.Outcome.Reasons)
			}
			if said := unauthenticated(part); said != (c.component != verdict.TierAffirming) {
				t.Errorf("report unauthenticated: %t", said)
			}
			status, vector := flat(t, res.Token, "nic")
			configuration, runtime := 2, 2
			if c.component != verdict.TierAffirming {
				configuration, runtime = 36, 0
			}
			shown := got.Document().Components["nic"].TrustVector
			if status != c.component.String() || vector["configuration"] != configuration || vector["runtime-opaque"] != runtime || vector["hardware"] != 2 {
				t.Errorf("submod %s %v", status, vector)
			}
			if int(shown["configuration"]) != configuration || int(shown["runtime-opaque"]) != runtime {
				t.Errorf("shown %v", shown)
			}
			if a := part.Partial.Appraisal(); a.Vector[verdict.Configuration] != 2 || part.Partial.Status() != verdict.TierAffirming {
				t.Errorf("the verifier's own result became %v", a.Vector)
			}
		})
	}
}

// TestLeadCannotKeepSilentAboutAReport: whoever repeats what the lead concluded
// finds what it does not say, also where the whole is no better for it.
func TestLeadCannotKeepSilentAboutAReport(t *testing.T) {
	w := assignedWorld(t)
	honest := w.appraise(t, Request{Evidence: composite(t, "cpu taker known A", "nic tdi A,R,T"), Nonce: []byte(testNonce)})
	check(t, Recheck(honest, w.options.Schemes))
	silent := func(r *verdict.Result) {
		for i := range r.Components {
			r.Components[i].Reasons = nil
		}
	}
	for name, change := range map[string]func(*verdict.Result){
		"not a word": silent,
		"another word": func(r *verdict.Result) {
			silent(r)
			r.Components[1].Reasons = []verdict.Reason{{Code: verdict.ReasonPolicy, Detail: "x"}}
		},
		"a cap instead": func(r *verdict.Result) {
			silent(r)
			r.Caps = append(slices.Clone(r.Caps), verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{Code: verdict.ReasonReportUnauthenticated}})
		},
	} {
		lie, err := w.resign(t, honest, change)
		check(t, err)
		if err := Recheck(lie, w.options.Schemes); err == nil {
			t.Errorf("%s: the lie passes", name)
		}
	}
	// Neither can it praise the flat copy alone.
	if lie, err := w.resign(t, honest, func(r *verdict.Result) {}); err != nil || lie.Outcome.Tier != verdict.TierWarning {
		t.Errorf("%v", err)
	}
	// A verdict without that reason lets no other claim pass: what is broken stays so.
	broken := w.appraiseAgain(t, composite(t, "cpu taker known A,R,T", "nic tdi A,X,T"))
	lie, err := w.resign(t, broken, func(r *verdict.Result) { r.Caps, r.Bindings = nil, nil })
	check(t, err)
	if err := Recheck(lie, w.options.Schemes); err == nil {
		t.Error("a broken digest can be kept silent about")
	}
}

func (w *world) appraiseAgain(t *testing.T, raw []byte) *verdict.Result {
	t.Helper()
	w.options.Spender.(spent)[testNonce] = false
	return w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
}

// TestCollectedReports: who aggregates results comes to the same, and needs
// nobody's word that a report was not vouched for: with the CPU's result beside
// it, it is.
func TestCollectedReports(t *testing.T) {
	w := assignedWorld(t)
	whole := composite(t, "cpu taker known A,R,T", "nic tdi A,R,T")
	lone := composite(t, "nic tdi A,R,T")
	both := w.appraise(t, Request{Evidence: whole, Nonce: []byte(testNonce)})
	alone := w.appraiseAgain(t, lone)
	if !unauthenticated(find(t, alone, "nic")) {
		t.Fatal("a lone device is vouched for")
	}
	lead, err := topologies.Parse("lead")
	check(t, err)
	collect := func(results ...[]byte) *verdict.Result {
		got, err := CombineCollected(Collected{Topology: lead, Results: results, Nonce: []byte(testNonce),
			Anchors: w.anchors, Schemes: w.options.Schemes, Intake: verdict.Intake{Now: time.Now()}})
		check(t, err)
		return got
	}
	cpu := find(t, both, "cpu").Partial.Token()
	if got := collect(find(t, alone, "nic").Partial.Token()); find(t, got, "nic").Tier() != verdict.TierWarning {
		t.Errorf("alone: %v", find(t, got, "nic").Reasons)
	}
	for name, device := range map[string][]byte{"the verifier's result": find(t, alone, "nic").Partial.Token(), "the verdict of another lead": alone.Token} {
		if got := find(t, collect(cpu, device), "nic"); got.Tier() != verdict.TierAffirming || unauthenticated(got) {
			t.Errorf("%s: %s %v", name, got.Tier(), got.Reasons)
		}
	}
}

// TestRelayOfEveryEdge: no other kind of edge vouches for a report, however
// strong: an attested key binds the device and says nothing about its interface.
func TestRelayOfEveryEdge(t *testing.T) {
	w := assignedWorld(t)
	res := w.appraise(t, Request{Evidence: composite(t, "cpu taker known A", "nic tdi A,R,T"), Nonce: []byte(testNonce)})
	i := slices.IndexFunc(res.Bindings, func(b verdict.Binding) bool { return b.Kind == binding.KindTSM })
	if i < 0 || res.Bindings[i].Strength != binding.StrengthStrong || res.Bindings[i].Status != binding.StatusBound {
		t.Fatalf("%v", res.Bindings)
	}
	if c := find(t, res, "nic"); c.Tier() != verdict.TierWarning || strings.Contains(codes(res.Outcome.Reasons), verdict.ReasonUnboundComponent) {
		t.Errorf("%s %v", c.Tier(), res.Outcome.Reasons)
	}
}

// payload is the payload of a compact JWS.
func payload(t *testing.T, token []byte) []byte {
	t.Helper()
	parts := strings.Split(string(token), ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	check(t, err)
	return raw
}
