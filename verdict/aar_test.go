// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/veraison/ear"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
)

// component makes a verified component of the lab.
func (l *lab) component(tb testing.TB, label, scheme string, a Appraisal) Component {
	tb.Helper()
	i := testIssue(label, scheme)
	s := l.gpu
	if scheme == "intel-tdx" {
		s = l.cpu
	}
	p, err := VerifyPartial(mustSign(tb, s, i, a), expectOf(i), testIntake(), l.anchors)
	if err != nil {
		tb.Fatal(err)
	}
	return Component{
		Label: i.Label, Scheme: scheme, MediaType: i.MediaType, Class: "device", Required: true,
		Request: i.Request, Nonce: i.Nonce, NonceRule: i.NonceRule, Evidence: i.Evidence,
		Partial: p, Duration: 812 * time.Microsecond,
	}
}

// machine is a CPU and n GPUs, all fine.
func (l *lab) machine(tb testing.TB, gpus int) *Result {
	tb.Helper()
	r := &Result{
		Verifier: Identity{Developer: "https://example.com", Build: "lead 1.0"},
		Time:     testTime.Add(12 * time.Second), Session: "s-1", Topology: "lead(cpu, gpu/*)",
		PlanDigest: sha256.Sum256([]byte("plan")), Nonce: testNonce, Composite: sha256.Sum256([]byte("ce")),
		Commitment: &evidence.Commitment{Leaves: map[evidence.Path]evidence.LeafDigest{"gpu": {1}, "cpu": {2}}, Signer: "signer"},
		Bindings:   []Binding{{From: "gpu/0", To: "cpu", Kind: "report-data-digest", Strength: "strong", Status: "bound", Origin: "application"}},
		Caps:       []Cap{{Tier: TierAffirming, Reason: Reason{Code: ReasonApplicationBound, Detail: "gpu/0 to cpu"}}},
	}
	for n := range gpus {
		r.Components = append(r.Components, l.component(tb, fmt.Sprint("gpu/", n), "nvidia-gpu", testAppraisal()))
	}
	r.Components = append(r.Components, l.component(tb, "cpu", "intel-tdx", testAppraisal()))
	r.Outcome = Combine(r.Components, r.Caps)
	return r
}

func (l *lab) sign(tb testing.TB, r *Result) []byte {
	tb.Helper()
	token, err := SignResult(l.lead, r, time.Hour)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func aarIntake() Intake { return Intake{Now: testTime.Add(20 * time.Second)} }

func TestResultRoundTrip(t *testing.T) {
	l := newLab(t, trust.ES256)
	r := l.machine(t, 2)
	warned := testAppraisal()
	warned.Vector[Executables] = ClaimUnrecognized
	warned.Fail(ReasonNoReferenceValues, "executables")
	r.Components = append(r.Components,
		l.component(t, "nic", "nvidia-gpu", warned),
		Component{Label: "odd", Required: false, Reasons: []Reason{{Code: ReasonNoVerifier, Detail: "unknown type"}}},
		Component{Label: "broken", Scheme: "intel-tdx", Required: true, Request: "x", Nonce: testNonce, Reasons: []Reason{{Code: ReasonMalfunction}}},
	)
	r.Components[1].Reasons = []Reason{{Code: ReasonUnboundComponent, Detail: "no edge"}}
	r.Interconnects = []Interconnect{
		{Tier: TierAffirming, Configuration: ClaimApprovedBoot, Switches: []evidence.Path{"gpu/0"}},
		{Tier: TierNone, Devices: []evidence.Path{"gpu/0", "gpu/1"}, Unattested: []string{"x:1", "x:2"}, Reasons: []Reason{{Code: ReasonInterconnect, Detail: "d"}}},
	}
	r.Caps = append(r.Caps, Cap{Tier: TierWarning, Reason: Reason{Code: ReasonUnboundComponent, Detail: "gpu/1"}})
	r.Outcome = Combine(r.Components, r.Caps)
	if r.Outcome.Tier != TierNone {
		t.Fatalf("outcome %s", r.Outcome.Tier)
	}
	token := l.sign(t, r)
	got, err := VerifyResult(token, aarIntake(), l.anchors)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Token, token) || got.KID != l.lead.KID() {
		t.Error("token or kid")
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v\nwant %+v", got, r)
	}
	if o := Combine(got.Components, got.Caps); !reflect.DeepEqual(o, got.Outcome) {
		t.Errorf("combining again gives %+v", o)
	}
	a, err := json.Marshal(r.Document())
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got.Document())
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("documents differ: %v\n%s\n%s", err, a, b)
	}
	if !got.HasNonce(testNonce) || got.HasNonce(nil) || got.HasNonce(make([]byte, 32)) {
		t.Error("HasNonce")
	}
	if again := l.sign(t, got); len(payload(t, again)) != len(payload(t, token)) || !bytes.Equal(payload(t, again), payload(t, token)) {
		t.Error("claims are not deterministic")
	}
}

func TestEmptyResult(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := &Result{Verifier: Identity{Developer: "d", Build: "b"}, Time: testTime, Outcome: Combine(nil, nil)}
	got, err := VerifyResult(l.sign(t, r), aarIntake(), l.anchors)
	if err != nil || got.Outcome.Tier != TierNone || len(got.Components) != 0 || got.HasNonce(nil) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Existing clients read the tier of every component and of the whole.
func TestResultIsReadableByVeraison(t *testing.T) {
	l := newLab(t, trust.ES256)
	r := l.machine(t, 2)
	r.Components = append(r.Components, Component{Label: "odd", Required: true, Reasons: []Reason{{Code: ReasonNoVerifier}}})
	r.Outcome = Combine(r.Components, r.Caps)
	r.Time = time.Now().Add(-time.Second)
	var e ear.AttestationResult
	if err := e.Verify(l.sign(t, r), jwa.ES256(), l.lead.Key("", nil).Public); err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]ear.TrustTier{
		"cpu": ear.TrustTierAffirming, "gpu/0": ear.TrustTierAffirming, "gpu/1": ear.TrustTierAffirming,
		"odd": ear.TrustTierNone, "composite": ear.TrustTierNone,
	} {
		if s := e.Submods[label]; s == nil || *s.Status != want {
			t.Errorf("%s: %+v", label, s)
		}
	}
	if len(e.Submods) != 5 || e.Submods["composite"].TrustVector.SourcedData != 32 || e.Submods["gpu/0"].TrustVector.Hardware != 2 {
		t.Errorf("%+v", e.Submods)
	}
}

func TestSignResultRefuses(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	// again makes the outcome right, so that only the component is wrong.
	again := func(r *Result) { r.Outcome = Combine(r.Components, r.Caps) }
	for name, change := range map[string]func(r *Result){
		"no build":          func(r *Result) { r.Verifier.Build = "" },
		"no time":           func(r *Result) { r.Time = time.Time{} },
		"short nonce":       func(r *Result) { r.Nonce = []byte{1} },
		"better tier":       func(r *Result) { r.Components[0].Partial = Partial{}; r.Components[0].Reasons = nil },
		"better than cap":   func(r *Result) { r.Caps[0].Tier = TierWarning },
		"better vector":     func(r *Result) { r.Outcome.Vector[Hardware] = 2 },
		"worse vector":      func(r *Result) { r.Outcome.Vector[SourcedData] = 32 },
		"reserved label":    func(r *Result) { r.Components = append(r.Components, Component{Label: "composite"}); again(r) },
		"empty label":       func(r *Result) { r.Components = append(r.Components, Component{}); again(r) },
		"duplicate label":   func(r *Result) { r.Components = append(r.Components, r.Components[0]); again(r) },
		"other label":       func(r *Result) { r.Components[0].Label = "gpu/7"; again(r) },
		"other scheme":      func(r *Result) { r.Components[0].Scheme = "intel-tdx" },
		"other request":     func(r *Result) { r.Components[0].Request = "x" },
		"other digest":      func(r *Result) { r.Components[0].Evidence[0] ^= 1 },
		"other nonce":       func(r *Result) { r.Components[0].Nonce = make([]byte, 32) },
		"other rule":        func(r *Result) { r.Components[0].NonceRule = "sha256" },
		"other media type":  func(r *Result) { r.Components[0].MediaType = "application/json" },
		"empty reason":      func(r *Result) { r.Outcome.Reasons = append(r.Outcome.Reasons, Reason{}) },
		"empty cap reason":  func(r *Result) { r.Caps[0].Reason = Reason{} },
		"reason of a part":  func(r *Result) { r.Components[0].Reasons = []Reason{{}} },
		"lowering reason":   func(r *Result) { r.Components[0].Reasons = []Reason{{Code: ReasonUnexpected}} },
		"verification time": func(r *Result) { r.Components[0].Partial.verified = testTime.Add(-time.Hour) },
		"interconnect of no reason": func(r *Result) {
			r.Interconnects = []Interconnect{{Tier: TierAffirming, Configuration: ClaimApprovedBoot, Devices: []evidence.Path{"gpu/0"}, Reasons: []Reason{{}}}}
		},
		"worse interconnect": func(r *Result) {
			r.Interconnects = []Interconnect{{Tier: TierNone, Devices: []evidence.Path{"gpu/0"}, Reasons: []Reason{{Code: ReasonInterconnect}}}}
		},
	} {
		r := l.machine(t, 2)
		change(r)
		if _, err := SignResult(l.lead, r, time.Hour); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	r := l.machine(t, 2)
	if _, err := SignResult(l.lead, r, time.Millisecond); err == nil {
		t.Error("lifetime")
	}
	// Another spelling of one media type is the same type; a lead may lower.
	r.Components[0].MediaType = "Application/VND.example+json"
	r.Outcome.Tier = TierContraindicated
	l.sign(t, r)
}

func TestDocument(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 1)
	r.Components = append(r.Components, Component{Label: "odd", Reasons: []Reason{{Code: ReasonTimeout, Detail: "2 s"}}})
	r.Outcome = Combine(r.Components, r.Caps)
	l.sign(t, r)
	raw, err := json.Marshal(r.Document())
	if err != nil {
		t.Fatal(err)
	}
	got, err := trust.ParseObject(raw, 16)
	if err != nil {
		t.Fatal(err)
	}
	v := got["verdict"].(obj)
	odd := got["components"].(obj)["odd"].(obj)
	gpu := got["components"].(obj)["gpu/0"].(obj)
	if v["tier"] != "warning" || got["time"] != "2026-03-01T12:00:12Z" || got["topology"] != "lead(cpu, gpu/*)" ||
		got["session"] != "s-1" || got["nonce"] != encodeNonce(testNonce) || got["verifier"].(obj)["kid"] != l.lead.KID() {
		t.Errorf("%s", raw)
	}
	if _, ok := got["verification_time"]; ok {
		t.Error("verification time that nobody overrode")
	}
	if odd["tier"] != "none" || odd["freshness"] != "not-established" || len(odd["reasons"].([]any)) != 1 || odd["verifier"] != nil ||
		odd["claims"] == nil || odd["trust_vector"] == nil {
		t.Errorf("%v", odd)
	}
	want := obj{"instance-identity": json.Number("2"), "executables": json.Number("2"), "hardware": json.Number("2")}
	if gpu["tier"] != "affirming" || gpu["freshness"] != "fresh" || gpu["duration_us"] != json.Number("812") ||
		!reflect.DeepEqual(gpu["trust_vector"], want) || gpu["verifier"].(obj)["kid"] != l.gpu.KID() ||
		gpu["appraisal_policy"] != "policy:example" || odd["appraisal_policy"] != nil {
		t.Errorf("%v", gpu)
	}
	if b := got["bindings"].([]any)[0].(obj); b["origin"] != "application" || b["from"] != "gpu/0" {
		t.Errorf("%v", b)
	}
	// Empty lists are lists.
	raw, err = json.Marshal((&Result{}).Document())
	if err != nil || !strings.Contains(string(raw), `"bindings":[]`) || !strings.Contains(string(raw), `"reasons":[]`) ||
		!strings.Contains(string(raw), `"components":{}`) {
		t.Errorf("%s, %v", raw, err)
	}
}

// Whatever verifiers say, and even if they give no reasons, the document obeys
// its schema: everything that is not affirming says why.
func TestDocumentObeysItsSchema(t *testing.T) {
	schema, err := schemas.Load(schemas.Verdict)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, trust.EdDSA)
	silent := testAppraisal()
	silent.Vector[Executables], silent.Freshness = ClaimUnrecognized, ""
	for name, add := range map[string]func(r *Result){
		"affirming": func(r *Result) {},
		"empty":     func(r *Result) { r.Components, r.Caps = nil, nil },
		"silent":    func(r *Result) { r.Components = append(r.Components, l.component(t, "nic", "nvidia-gpu", silent)) },
		"missing":   func(r *Result) { r.Components = append(r.Components, Component{Label: "nic"}) },
		"linked": func(r *Result) {
			why := Reason{Code: ReasonInterconnect, Detail: "d"}
			r.Caps = append(r.Caps, Cap{Tier: TierContraindicated, Reason: why})
			r.Interconnects = []Interconnect{{
				Tier: TierContraindicated, Configuration: ClaimContraindicate, Devices: []evidence.Path{"gpu/0"}, Unattested: []string{"x:1"}, Reasons: []Reason{why}}}
		},
		"capped": func(r *Result) {
			r.Caps = append(r.Caps, Cap{Tier: TierWarning, Reason: Reason{Code: ReasonPolicy}})
		},
	} {
		r := l.machine(t, 1)
		add(r)
		r.Outcome = Combine(r.Components, r.Caps)
		l.sign(t, r)
		d := r.Document()
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.ValidateJSON(raw); err != nil {
			t.Errorf("%s: %v\n%s", name, err, raw)
		}
		if (name == "affirming") != (d.Verdict.Tier == TierAffirming) {
			t.Errorf("%s: tier %s", name, d.Verdict.Tier)
		}
		if nic, ok := d.Components["nic"]; ok && (len(nic.Reasons) != 1 || nic.Reasons[0].Code != ReasonUnexplained ||
			name == "silent" && !strings.HasSuffix(nic.Reasons[0].Detail, "freshness not-established and executables 33")) {
			t.Errorf("%s: %+v", name, nic.Reasons)
		}
	}
}

// A lead may lower what follows from components and caps, and not leave it out.
func TestOutcomeIsNotBetterThanItsParts(t *testing.T) {
	allowed := Outcome{Tier: TierWarning, Vector: Vector{SourcedData: 32, Configuration: 36}}
	for _, c := range []struct {
		name   string
		o      Outcome
		better bool
	}{
		{"equal", allowed, false},
		{"lower", Outcome{Tier: TierContraindicated, Vector: Vector{SourcedData: 96, Configuration: 96}}, false},
		{"better status", Outcome{Tier: TierAffirming, Vector: allowed.Vector}, true},
		{"status better than its vector", Outcome{Tier: TierWarning, Vector: Vector{SourcedData: 96, Configuration: 36}}, true},
		{"better claim", Outcome{Tier: TierWarning, Vector: Vector{SourcedData: 2, Configuration: 36}}, true},
		{"claim left out", Outcome{Tier: TierWarning, Vector: Vector{SourcedData: 32}}, true},
	} {
		if why := c.o.betterThan(allowed); (why != "") != c.better {
			t.Errorf("%s: %q", c.name, why)
		}
	}
}
