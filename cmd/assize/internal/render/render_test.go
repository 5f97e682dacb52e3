// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// result is a verified partial result about "nic", and the kid of its key.
func result(t *testing.T, hardware verdict.Claim) (verdict.Partial, string) {
	t.Helper()
	s, err := trust.GenerateSigner(trust.EdDSA, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	anchors, err := trust.NewAnchors(s.Key("v", []string{"s"}, trust.RoleVerifier))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1750000000, 0)
	nonce, digest := []byte("0123456789abcdef"), sha256.Sum256(nil)
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: nonce}
	a.Vector[verdict.Hardware] = hardware
	token, err := verdict.SignPartial(s, verdict.Issue{
		Verifier: verdict.Identity{Developer: "d", Build: "b"}, Label: "nic", Scheme: "s", MediaType: "a/b",
		Request: "r", Nonce: nonce, Evidence: digest, IssuedAt: now,
	}, a)
	if err != nil {
		t.Fatal(err)
	}
	p, err := verdict.VerifyPartial(token, verdict.Expect{
		Label: "nic", Scheme: "s", MediaType: "a/b", Request: "r", Nonce: nonce, Evidence: digest,
	}, verdict.Intake{Now: now}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	return p, s.KID()
}

// What redundant verifiers answered stands in one line, the worst first.
func TestQuorumIsShown(t *testing.T) {
	good, first := result(t, verdict.ClaimApproved)
	bad, second := result(t, verdict.ClaimUnknownDevice)
	c := verdict.Component{Label: "nic", Scheme: "s", Quorum: 1, Asked: 3}
	verdict.SetPartials(&c, []verdict.Partial{good, bad})
	lone := verdict.Component{Label: "nic", Scheme: "s", Partial: good}
	silent := verdict.Component{Label: "nic", Scheme: "s", Quorum: 2, Asked: 2}
	for want, c := range map[string]verdict.Component{
		fmt.Sprintf("   quorum 1 of 3: contraindicated by key %s, affirming by key %s, 1 without an answer\n", second, first): c,
		"   quorum 2 of 2: 2 without an answer\n": silent,
		"": lone,
	} {
		var out bytes.Buffer
		Verdict(&out, &verdict.Result{Components: []verdict.Component{c}})
		if !strings.Contains(out.String(), want) || want == "" && strings.Contains(out.String(), "quorum") {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Of an interconnect the tree has the rules, the members and what is missing; edges
// that hold are counted, the others stand for themselves.
func TestInterconnectIsShown(t *testing.T) {
	why := verdict.Reason{Code: verdict.ReasonInterconnect, Detail: "no component is x:\x1b[2J"}
	edge := func(to, status string) verdict.Binding {
		return verdict.Binding{From: "gpu/0", To: evidence.Path(to), Kind: "interconnect", Strength: "strong", Status: status}
	}
	r := &verdict.Result{
		Components: []verdict.Component{{Label: "gpu/0"}, {Label: "switch/0"}, {Label: "switch/1"}, {Label: "nic"}},
		Interconnects: []verdict.Interconnect{{
			Tier: verdict.TierContraindicated, Configuration: verdict.ClaimContraindicate, Devices: []evidence.Path{"gpu/0"},
			Switches: []evidence.Path{"switch/0", "switch/1"}, Unattested: []string{"x:\x1b[2J"}, Reasons: []verdict.Reason{why},
		}},
		Bindings: []verdict.Binding{edge("switch/0", "bound"), edge("switch/1", "broken"), edge("nic", "bound")},
	}
	show := func() string {
		var out bytes.Buffer
		Verdict(&out, r)
		return out.String()
	}
	got := show()
	for _, want := range []string{
		"├─ interconnect in clear  contraindicated  configuration 96, 1 devices and 2 switches, 1 pairs bound\n",
		"│     devices gpu/0\n│     switches switch/0, switch/1\n│     not attested x:\\x1b[2J\n│     interconnect-incomplete: no component is x:\\x1b[2J\n",
		"├─ binding gpu/0 → switch/1  interconnect, strength strong: broken\n", "└─ binding gpu/0 → nic  interconnect, strength strong: bound\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "→ switch/0") || strings.Contains(got, "\x1b") {
		t.Error(got)
	}
	r.Bindings = r.Bindings[:1]
	if got := show(); !strings.Contains(got, "└─ interconnect in clear") || !strings.Contains(got, "├─ nic") {
		t.Error(got)
	}
}

// What says something about the composite is no component that lacks a scheme.
func TestReadByTheLead(t *testing.T) {
	schemes, err := verifiers.NewSet()
	if err != nil {
		t.Fatal(err)
	}
	record := func(label, media, value string) evidence.Entry {
		return evidence.Entry{Label: label, Item: evidence.Record(evidence.MediaType{Base: media}, []byte(value), 0)}
	}
	runtime := record(evidence.LabelRuntimeData, evidence.TypeRuntimeData, `{"nonce":"MDEyMzQ1Njc4OWFiY2RlZg==","tee-pubkey":{}}`)
	additional := record(evidence.LabelAdditionalEvidence, evidence.TypeAdditionalEvidence, `{"nvidia":[]}`)
	for _, c := range []struct {
		kind    string
		entries []evidence.Entry
		lead    int
		none    int
	}{
		{evidence.BoundTrusteeCollection, []evidence.Entry{record("cpu", "application/vnd.test.cpu", "x"), runtime, additional}, 1, 2},
		{"tag:test.example,2026:t", []evidence.Entry{record("cpu", "application/vnd.test.cpu", "x"), record("all", verdict.InventoryType, "{}")}, 1, 1},
		{"tag:test.example,2026:t", []evidence.Entry{runtime}, 0, 1}, // of no convention, so a component
	} {
		raw, err := evidence.EncodeCBOR(evidence.Collection(c.kind, c.entries...))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := evidence.Parse(raw, evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		Tree(&out, tree, schemes)
		if lead, none := strings.Count(out.String(), "read by the lead"), strings.Count(out.String(), "no scheme: "); lead != c.lead || none != c.none {
			t.Errorf("%d and %d:\n%s", lead, none, out.String())
		}
	}
}
