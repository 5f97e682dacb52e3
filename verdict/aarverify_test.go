// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// Two machines that differ in one device: every part of one is well signed, so
// only the relations between the parts can give a forgery away.
func TestResultForgeries(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 2)
	bad := testAppraisal()
	bad.Vector[Hardware] = ClaimUnknownDevice
	r.Components = append(r.Components, l.component(t, "gpu/9", "nvidia-gpu", bad),
		Component{Label: "odd", Required: false, Reasons: []Reason{{Code: ReasonTimeout}}})
	r.Outcome = Combine(r.Components, r.Caps)
	good := l.sign(t, r)
	parts := func(c obj) obj { return c[claimPartials].(obj) }
	subs := func(c obj) obj { return c[claimSubmods].(obj) }
	policy := func(c obj) obj { return subs(c)[compositeLabel].(obj)[claimPolicy].(obj) }
	statement := func(c obj, label string) obj { return policy(c)["assize.components"].(obj)[label].(obj) }
	good2 := mustSign(t, l.gpu, testIssue("gpu/9", "nvidia-gpu"), testAppraisal())
	future := testIssue("gpu/0", "nvidia-gpu")
	future.IssuedAt = testTime.Add(-time.Hour)
	stale := mustSign(t, l.gpu, future, testAppraisal())
	cases := []struct {
		name, code, label string
		change            func(c obj)
	}{
		{"unchanged", "", "", func(c obj) {}},
		{"an interconnect", "", "", func(c obj) { policy(c)["assize.interconnects"] = []any{links()} }},
		{"interconnects that are no list", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = links() }},
		{"an interconnect that is no object", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{"x"} }},
		{"an interconnect of no tier", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("tier", "good")} }},
		{"an interconnect of no claim", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("configuration", "3")} }},
		{"an interconnect of odd devices", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("devices", "gpu/0")} }},
		{"an interconnect of odd switches", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("switches", []any{1})} }},
		{"an interconnect of odd strangers", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("unattested", true)} }},
		{"an interconnect with an odd reason", ReasonBadAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("reasons", []any{obj{}})} }},
		{"an interconnect of nobody", ReasonLyingAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{obj{"tier": "affirming", "configuration": 3}} }},
		{"an interconnect of a stranger", ReasonLyingAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("devices", []any{"gpu/7"})} }},
		{"an interconnect better than a member", ReasonLyingAAR, "", func(c obj) {
			policy(c)["assize.interconnects"] = []any{links("devices", []any{"gpu/0", "gpu/9"})}
		}},
		{"an interconnect better than its claim", ReasonLyingAAR, "", func(c obj) { policy(c)["assize.interconnects"] = []any{links("configuration", 96)} }},
		{"an interconnect that is bad and why", "", "", func(c obj) {
			policy(c)["assize.interconnects"] = []any{links("tier", "contraindicated", "configuration", 96, "reasons", []any{obj{"code": ReasonInterconnect}})}
		}},
		{"an interconnect that is bad for no reason", ReasonLyingAAR, "", func(c obj) {
			policy(c)["assize.interconnects"] = []any{links("tier", "contraindicated", "configuration", 96)}
		}},
		{"unknown claims", "", "", func(c obj) { c["x"], policy(c)["y"], statement(c, "cpu")["z"] = 1, 2, 3 }},
		{"a signer of no leaves", ReasonBadAAR, "", func(c obj) { delete(policy(c), "assize.leaves-sha384") }},
		{"leaves that are a list", ReasonBadAAR, "", func(c obj) { policy(c)["assize.leaves-sha384"] = []any{} }},
		{"a short leaf digest", ReasonBadAAR, "", func(c obj) { policy(c)["assize.leaves-sha384"] = obj{"gpu": "00"} }},
		{"a leaf digest that is no text", ReasonBadAAR, "", func(c obj) { policy(c)["assize.leaves-sha384"] = obj{"gpu": 1} }},
		{"lower status", "", "", func(c obj) { subs(c)[compositeLabel].(obj)[claimStatus] = "contraindicated" }},
		{"an affirming result for a bad device", "lying-aar", "gpu/9", func(c obj) { parts(c)["gpu/9"] = string(good2) }},
		{"better composite", ReasonLyingAAR, "", func(c obj) { subs(c)[compositeLabel].(obj)[claimStatus] = "affirming" }},
		{"none instead of contraindicated", ReasonLyingAAR, "", func(c obj) { subs(c)[compositeLabel].(obj)[claimStatus] = "none" }},
		{"better vector", ReasonLyingAAR, "", func(c obj) { subs(c)[compositeLabel].(obj)[claimVector].(obj)["sourced-data"] = 2 }},
		{"extra claim", ReasonLyingAAR, "", func(c obj) { subs(c)[compositeLabel].(obj)[claimVector].(obj)["hardware"] = 2 }},
		{"new vector member", ReasonBadAAR, "", func(c obj) { subs(c)[compositeLabel].(obj)[claimVector].(obj)["new"] = 2 }},
		{"swapped", ReasonPARSubject, "gpu/0", func(c obj) {
			parts(c)["gpu/0"], parts(c)["gpu/1"] = parts(c)["gpu/1"], parts(c)["gpu/0"]
		}},
		{"swapped with statements", ReasonPARSubject, "gpu/0", func(c obj) {
			all := policy(c)["assize.components"].(obj)
			parts(c)["gpu/0"], parts(c)["gpu/1"] = parts(c)["gpu/1"], parts(c)["gpu/0"]
			all["gpu/0"], all["gpu/1"] = all["gpu/1"], all["gpu/0"]
			subs(c)["gpu/0"], subs(c)["gpu/1"] = subs(c)["gpu/1"], subs(c)["gpu/0"]
		}},
		{"copied to the bad device", ReasonPARSubject, "gpu/9", func(c obj) { parts(c)["gpu/9"] = parts(c)["gpu/0"] }},
		{"removed", ReasonLyingAAR, "gpu/0", func(c obj) { delete(parts(c), "gpu/0") }},
		{"removed bad one", ReasonLyingAAR, "gpu/9", func(c obj) { delete(parts(c), "gpu/9") }},
		{"all removed", ReasonLyingAAR, "cpu", func(c obj) { delete(c, claimPartials) }},
		{"partials list", ReasonBadAAR, "", func(c obj) { c[claimPartials] = []any{} }},
		{"partial number", ReasonBadAAR, "cpu", func(c obj) { parts(c)["cpu"] = 1 }},
		{"moved", ReasonBadAAR, "gpu/7", func(c obj) { parts(c)["gpu/7"] = parts(c)["gpu/0"]; delete(parts(c), "gpu/0") }},
		{"moved to the silent one", ReasonBadPARSignature, "odd", func(c obj) { parts(c)["odd"] = parts(c)["gpu/0"] }},
		{"moved with scheme", ReasonPARSubject, "odd", func(c obj) {
			parts(c)["odd"] = parts(c)["gpu/0"]
			statement(c, "odd")["scheme"] = "nvidia-gpu"
		}},
		{"unknown label", ReasonBadAAR, "gpu/7", func(c obj) { parts(c)["gpu/7"] = parts(c)["gpu/0"] }},
		{"bad device hidden", ReasonBadAAR, "gpu/9", func(c obj) {
			delete(policy(c)["assize.components"].(obj), "gpu/9")
			delete(subs(c), "gpu/9")
		}},
		{"submod hidden", ReasonBadAAR, "", func(c obj) { delete(subs(c), "gpu/9") }},
		{"submod exchanged", ReasonBadAAR, "gpu/9", func(c obj) { subs(c)["gpu/7"] = subs(c)["gpu/9"]; delete(subs(c), "gpu/9") }},
		{"submod more", ReasonBadAAR, "", func(c obj) { subs(c)["gpu/7"] = subs(c)["gpu/0"] }},
		{"statement hidden", ReasonBadAAR, "", func(c obj) { delete(policy(c)["assize.components"].(obj), "gpu/9") }},
		{"statement list", ReasonBadAAR, "", func(c obj) { policy(c)["assize.components"] = []any{} }},
		{"no composite", ReasonBadAAR, "", func(c obj) { delete(subs(c), compositeLabel) }},
		{"flat status", ReasonLyingAAR, "gpu/9", func(c obj) { subs(c)["gpu/9"].(obj)[claimStatus] = "affirming" }},
		{"flat vector", ReasonLyingAAR, "gpu/9", func(c obj) { subs(c)["gpu/9"].(obj)[claimVector].(obj)["hardware"] = 2 }},
		{"flat claims", ReasonLyingAAR, "gpu/0", func(c obj) { subs(c)["gpu/0"].(obj)[claimAnnotated].(obj)["driver"] = "1" }},
		{"flat key", ReasonLyingAAR, "gpu/0", func(c obj) { subs(c)["gpu/0"].(obj)["ear.veraison.key-attestation"] = obj{"akpub": "x"} }},
		{"silent one speaks", ReasonLyingAAR, "odd", func(c obj) { subs(c)["odd"].(obj)[claimStatus] = "affirming" }},
		{"silent one's vector", ReasonLyingAAR, "odd", func(c obj) { subs(c)["odd"].(obj)[claimVector].(obj)["hardware"] = 2 }},
		{"cap dropped to better", "", "", func(c obj) { policy(c)["assize.caps"] = []any{} }},
		{"no caps", ReasonBadAAR, "", func(c obj) { delete(policy(c), "assize.caps") }},
		{"cap tier", ReasonBadAAR, "", func(c obj) { policy(c)["assize.caps"].([]any)[0].(obj)["tier"] = "fine" }},
		{"more caps", ReasonLyingAAR, "", func(c obj) {
			policy(c)["assize.caps"] = []any{obj{"tier": "contraindicated", "reason": obj{"code": "policy"}}}
			subs(c)[compositeLabel].(obj)[claimStatus] = "warning"
		}},
		{"lead's reason", ReasonLyingAAR, "gpu/0", func(c obj) { statement(c, "gpu/0")["reasons"] = []any{obj{"code": "unexpected-component"}} }},
		{"statement nonce", ReasonPARNonce, "gpu/0", func(c obj) { statement(c, "gpu/0")["nonce"] = encodeNonce(make([]byte, 32)) }},
		{"statement no nonce", ReasonPARNonce, "gpu/0", func(c obj) { delete(statement(c, "gpu/0"), "nonce") }},
		{"statement nonce text", ReasonBadAAR, "gpu/0", func(c obj) { statement(c, "gpu/0")["nonce"] = "x" }},
		{"statement rule", ReasonPARNonce, "gpu/0", func(c obj) { statement(c, "gpu/0")["nonce_rule"] = "sha256" }},
		{"statement request", ReasonPARSubject, "gpu/0", func(c obj) { statement(c, "gpu/0")["request"] = "x" }},
		{"statement digest", ReasonPARSubject, "gpu/0", func(c obj) { statement(c, "gpu/0")["evidence_sha256"] = strings.Repeat("00", 32) }},
		{"statement scheme", ReasonBadPARSignature, "gpu/0", func(c obj) { statement(c, "gpu/0")["scheme"] = "intel-tdx" }},
		{"statement type", ReasonPARSubject, "gpu/0", func(c obj) { statement(c, "gpu/0")["media_type"] = "x/y" }},
		{"statement required", ReasonBadAAR, "gpu/0", func(c obj) { statement(c, "gpu/0")["required"] = "yes" }},
		{"statement duration", ReasonBadAAR, "gpu/0", func(c obj) { statement(c, "gpu/0")["duration_us"] = -1 }},
		{"statement long", ReasonBadAAR, "gpu/0", func(c obj) { statement(c, "gpu/0")["duration_us"] = json.Number("9223372036854775807") }},
		{"session nonce", ReasonLyingAAR, "", func(c obj) { c[claimNonce] = encodeNonce(make([]byte, 32)) }},
		{"session nonce gone", ReasonLyingAAR, "", func(c obj) { delete(c, claimNonce) }},
		{"stale partial", ReasonPARStale, "gpu/0", func(c obj) { parts(c)["gpu/0"] = string(stale) }},
		{"backdated", ReasonPARStale, "cpu", func(c obj) { c["iat"] = testTime.Unix() - 61 }},
		{"profile", ReasonBadAAR, "", func(c obj) { c[claimProfile] = "x" }},
		{"float iat", ReasonBadAAR, "", func(c obj) { c["iat"] = 1.5 }},
		{"future", ReasonAARStale, "", func(c obj) { c["iat"] = testTime.Unix() + 81 }},
		{"expired", ReasonAARStale, "", func(c obj) { c["exp"] = testTime.Unix() - 41 }},
		{"not yet", ReasonAARStale, "", func(c obj) { c["nbf"] = testTime.Unix() + 81 }},
		{"plan digest", ReasonBadAAR, "", func(c obj) { policy(c)["assize.plan-sha256"] = "x" }},
		{"bindings", ReasonBadAAR, "", func(c obj) { policy(c)["assize.bindings"] = "x" }},
		{"topology", ReasonBadAAR, "", func(c obj) { policy(c)["assize.topology"] = 1 }},
		{"lead without build", ReasonLyingAAR, "", func(c obj) { c[claimVerifierID].(obj)["build"] = "" }},
	}
	for _, c := range cases {
		claims, err := trust.ParseObject(payload(t, good), 32)
		if err != nil {
			t.Fatal(err)
		}
		c.change(claims)
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.lead.SignJWT(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = VerifyResult(token, aarIntake(), l.anchors)
		checkDenied(t, c.name, err, c.code, c.label)
		sameInOtherFormats(t, l, c.name, raw, c.code != "")
	}
}

// links is an interconnect of the test machine, changed.
func links(change ...any) obj {
	o := obj{"tier": "affirming", "configuration": 3, "devices": []any{"gpu/0"}, "switches": []any{"gpu/1"}}
	for i := 0; i < len(change); i += 2 {
		o[change[i].(string)] = change[i+1]
	}
	return o
}

func checkDenied(t *testing.T, name string, err error, code, label string) {
	t.Helper()
	var why *VerifyError
	switch {
	case code == "" && err == nil:
	case code == "" || !errors.As(err, &why) || why.Code != code || why.Label != evidence.Path(label):
		t.Errorf("%s: %v; want %q for %q", name, err, code, label)
	}
}

func TestResultSignatures(t *testing.T) {
	l, foreign := newLab(t, trust.EdDSA), newLab(t, trust.EdDSA)
	r := l.machine(t, 1)
	good := l.sign(t, r)
	for n := range good {
		if testing.Short() && n%13 != 0 { // a sample under the race detector
			continue
		}
		bad := bytes.Clone(good)
		bad[n] ^= 1
		if _, err := VerifyResult(bad, aarIntake(), l.anchors); err == nil {
			t.Fatalf("byte %d changed and still accepted", n)
		}
	}
	// Any change inside a partial result is found even if the lead signs it.
	par := r.Components[0].Partial.Token()
	for n := range par {
		if testing.Short() && n%13 != 0 { // a sample under the race detector
			continue
		}
		bad := bytes.Clone(par)
		bad[n] ^= 1
		claims, err := trust.ParseObject(payload(t, good), 32)
		if err != nil {
			t.Fatal(err)
		}
		claims[claimPartials].(obj)["cpu"] = string(bad)
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.lead.SignJWT(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyResult(token, aarIntake(), l.anchors); err == nil {
			t.Fatalf("byte %d of the partial result changed and still accepted", n)
		}
	}
	verify := func(token []byte, anchors *trust.Anchors) error {
		_, err := VerifyResult(token, aarIntake(), anchors)
		return err
	}
	checkDenied(t, "foreign anchors", verify(good, foreign.anchors), ReasonBadAARSignature, "")
	checkDenied(t, "no anchors", verify(good, nil), ReasonBadAARSignature, "")
	checkDenied(t, "empty", verify(nil, l.anchors), ReasonBadAAR, "")
	checkDenied(t, "too large", verify(make([]byte, 16<<20+1), l.anchors), ReasonBadAAR, "")
	checkDenied(t, "a partial result", verify(par, l.anchors), ReasonBadAARSignature, "")
	byVerifier, err := SignResult(l.cpu, r, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, "verifier as lead", verify(byVerifier, l.anchors), ReasonBadAARSignature, "")
	byForeign, err := SignResult(foreign.lead, r, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, "foreign lead", verify(byForeign, l.anchors), ReasonBadAARSignature, "")
	// The relying party trusts the lead but not this verifier.
	leadOnly, err := trust.NewAnchors(l.lead.Key("", []string{"nvidia-gpu", "intel-tdx"}, trust.RoleLead))
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, "unknown verifier", verify(good, leadOnly), ReasonBadPARSignature, "cpu")
	// A lead that vouches for a component with its own key is no verifier.
	i := testIssue("cpu", "intel-tdx")
	forged := mustSign(t, l.lead, i, testAppraisal())
	claims, err := trust.ParseObject(payload(t, good), 32)
	if err != nil {
		t.Fatal(err)
	}
	claims[claimPartials].(obj)["cpu"] = string(forged)
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := l.lead.SignJWT(raw)
	if err != nil {
		t.Fatal(err)
	}
	checkDenied(t, "lead as verifier", verify(token, l.anchors), ReasonBadPARSignature, "cpu")
	// The other way round: an aggregate is no partial result.
	_, err = VerifyPartial(good, expectOf(i), aarIntake(), l.anchors)
	checkCode(t, "aggregate as partial", err, ReasonBadPARSignature)
}

func TestResultAge(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	good := l.sign(t, l.machine(t, 1)) // issued at 12 s, lives an hour
	for name, c := range map[string]struct {
		in   Intake
		code string
	}{
		"default":      {Intake{Now: testTime.Add(162 * time.Second)}, ""},
		"old":          {Intake{Now: testTime.Add(163 * time.Second)}, ReasonAARStale},
		"passport":     {Intake{Now: testTime.Add(50 * time.Minute), MaxAge: time.Hour}, ""},
		"expired":      {Intake{Now: testTime.Add(62 * time.Minute), MaxAge: 24 * time.Hour}, ReasonAARStale},
		"stored":       {Intake{Now: testTime.Add(9000 * time.Hour), IgnoreAge: true}, ""},
		"stored early": {Intake{Now: testTime.Add(-time.Hour), IgnoreAge: true}, ReasonAARStale},
	} {
		_, err := VerifyResult(good, c.in, l.anchors)
		checkDenied(t, name, err, c.code, "")
	}
}

// A verification time that a verifier states cannot be left out by the lead.
func TestVerificationTimeIsCarried(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 0)
	i := testIssue("cpu", "intel-tdx")
	i.VerificationTime = testTime.Add(-1000 * time.Hour)
	p, err := VerifyPartial(mustSign(t, l.cpu, i, testAppraisal()), expectOf(i), testIntake(), l.anchors)
	if err != nil {
		t.Fatal(err)
	}
	r.Components[0].Partial = p
	if _, err := SignResult(l.lead, r, time.Hour); err == nil {
		t.Error("left out")
	}
	r.VerificationTime = i.VerificationTime
	got, err := VerifyResult(l.sign(t, r), aarIntake(), l.anchors)
	if err != nil || !got.VerificationTime.Equal(i.VerificationTime) || got.Document().VerificationTime == "" {
		t.Errorf("%v", err)
	}
}
