// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// lone is a component of any scheme without a result.
func lone(label, scheme string) Component {
	return Component{Label: evidence.Path(label), Scheme: scheme, Required: true, Reasons: []Reason{{Code: ReasonTimeout}}}
}

func strongEdge(from, to string) Binding {
	return Binding{From: evidence.Path(from), To: evidence.Path(to), Kind: "k", Strength: "strong", Status: "bound"}
}

func TestTDXGPU(t *testing.T) {
	l := newLab(t, trust.ES256)
	r := l.machine(t, 0)
	cpu := testAppraisal()
	cpu.Claims = map[string]any{
		"mrtd": "aa", "rtmr0": "b0", "rtmr3": "b3", "report_data": "cc", "xfam": "e7", "tee_tcb_svn": "07", "user_data": "not of the profile",
		"td_attributes": map[string]any{"hex": "0000001000000000", "set": []any{"SEPT_VE_DISABLE"}},
	}
	r.Components = []Component{l.component(t, "cpu", "intel-tdx", cpu), lone("sw/0", "nvidia-nvswitch")}
	for _, label := range []string{"gpu/0", "gpu/2", "gpu/10"} {
		a := testAppraisal()
		a.Claims = map[string]any{"x-nvidia-gpu-driver-version": label,
			"x-nvidia-gpu-attestation-report-signature-verified": true, "x-nvidia-gpu-attestation-report-parsed": true, "x-nvidia-gpu-attestation-report-nonce-match": label != "gpu/2"}
		r.Components = append(r.Components, l.component(t, label, "nvidia-gpu", a))
	}
	r.Bindings = nil
	r.Outcome = Combine(r.Components, r.Caps)
	got, err := trust.ParseObject(claimsOf(t, l, l.signAs(t, r, FormatTDXGPU)), resultDepth)
	if err != nil {
		t.Fatal(err)
	}
	if got["eat_profile"] != ProfileTDXGPU || got["ear_status"] != "none" || got["ear_all_submods_bound"] != "unknown" || got["eat_nonce"] != encodeNonce(testNonce) ||
		got["iat"] != json.Number(fmt.Sprint(r.Time.Unix())) || got["exp"] != json.Number(fmt.Sprint(r.Time.Add(time.Hour).Unix())) {
		t.Errorf("%v", got)
	}
	subs := got["submods"].(obj)
	if len(subs) != 5 {
		t.Errorf("submods %v", subs)
	}
	tdx := subs["tdx"].(obj)
	want := obj{"tdx_mrtd": "aa", "tdx_rtmr0": "b0", "tdx_rtmr3": "b3", "tdx_report_data": "cc", "tdx_xfam": "e7", "tdx_tee_tcb_svn": "07", "tdx_td_attributes": "0000001000000000"}
	if tdx["ear_status"] != "affirming" || !reflect.DeepEqual(tdx["ear_evidence_claims"], want) || !reflect.DeepEqual(tdx["ear_appraisal_policy_ids"], []any{"policy:example"}) ||
		tdx["ear_verifier_claims"].(obj)["ear_nvidia_evidence"] != nil {
		t.Errorf("tdx: %v", tdx)
	}
	for name, label := range map[string]string{"gpu_0": "gpu/0", "gpu_1": "gpu/2", "gpu_2": "gpu/10"} {
		gpu := subs[name].(obj)
		checked := gpu["ear_verifier_claims"].(obj)
		if checked["assize_label"] != label || gpu["ear_evidence_claims"].(obj)["x-nvidia-gpu-driver-version"] != label || gpu["eat_nonce"] != encodeNonce(testNonce) ||
			!reflect.DeepEqual(checked["ear_nvidia_evidence"], obj{"signature_verified": true, "parsed": true, "nonce_match": label != "gpu/2"}) ||
			checked["assize_verifier"].(obj)["kid"] != l.gpu.KID() {
			t.Errorf("%s: %v", name, gpu)
		}
	}
	sw := subs["nvswitch_0"].(obj)
	if sw["ear_status"] != "none" || sw["ear_evidence_claims"] != nil || sw["eat_nonce"] != nil ||
		!reflect.DeepEqual(sw["ear_verifier_claims"].(obj)["ear_nvidia_evidence"], obj{"signature_verified": false, "parsed": false, "nonce_match": false}) ||
		!strings.Contains(fmt.Sprint(sw["ear_verifier_claims"]), ReasonTimeout) {
		t.Errorf("switch: %v", sw)
	}
	// It is an output: what verifiers signed is not in it.
	_, err = VerifyResult(l.signAs(t, r, FormatTDXGPU), aarIntake(), l.anchors)
	checkDenied(t, "tdx-gpu", err, ReasonBadAAR, "")
}

// What the lead makes of a component counts, not what its verifier said.
func TestTDXGPUHasTheLeadsWord(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 2)
	r.Components[0].Lowered[Executables] = ClaimContraindicate
	r.Outcome = Combine(r.Components, r.Caps)
	got, err := trust.ParseObject(claimsOf(t, l, l.signAs(t, r, FormatTDXGPU)), resultDepth)
	if err != nil {
		t.Fatal(err)
	}
	gpu := got["submods"].(obj)["gpu_0"].(obj)
	if gpu["ear_status"] != "contraindicated" || gpu["ear_trustworthiness_vector"].(obj)["executables"] != json.Number("96") || got["ear_status"] != "contraindicated" {
		t.Errorf("%v", gpu)
	}
	// Without a challenge in the evidence there is no match, whatever the claim says.
	a := testAppraisal()
	a.Freshness, a.Claims = FreshnessNotEstablished, map[string]any{"x-nvidia-gpu-attestation-report-nonce-match": true}
	c := l.component(t, "gpu/0", "nvidia-gpu", a)
	if c.nvidiaEvidence(nvidiaClaims["nvidia-gpu"])["nonce_match"] {
		t.Error("a match without freshness")
	}
}

func TestTDXGPUFitsTheMachine(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	for name, c := range map[string]struct {
		parts []Component
		why   string
	}{
		"a TDX guest and a GPU":      {[]Component{lone("cpu", "intel-tdx"), lone("gpu", "nvidia-gpu")}, ""},
		"a switch alone":             {[]Component{lone("cpu", "intel-tdx"), lone("sw", "nvidia-nvswitch")}, ""},
		"with a virtual TPM":         {[]Component{lone("cpu", "intel-tdx"), lone("gpu", "nvidia-gpu"), lone("tpm", "tcg-tpm")}, ""},
		"no device":                  {[]Component{lone("cpu", "intel-tdx"), lone("tpm", "tcg-tpm")}, "no NVIDIA device"},
		"no guest":                   {[]Component{lone("gpu", "nvidia-gpu")}, "0 TDX guests"},
		"two guests":                 {[]Component{lone("a", "intel-tdx"), lone("b", "intel-tdx"), lone("gpu", "nvidia-gpu")}, "2 TDX guests"},
		"two virtual TPMs":           {[]Component{lone("cpu", "intel-tdx"), lone("gpu", "nvidia-gpu"), lone("t/0", "tcg-tpm"), lone("t/1", "tcg-tpm")}, "2 virtual TPMs"},
		"another CPU":                {[]Component{lone("cpu", "amd-snp"), lone("gpu", "nvidia-gpu")}, `"cpu" (scheme "amd-snp")`},
		"something else beside":      {[]Component{lone("cpu", "intel-tdx"), lone("gpu", "nvidia-gpu"), lone("nic", "dmtf-spdm")}, `"nic"`},
		"something that nobody took": {[]Component{lone("cpu", "intel-tdx"), lone("gpu", "nvidia-gpu"), lone("x", "")}, `"x"`},
		"nothing":                    {nil, "0 TDX guests"},
	} {
		r := l.machine(t, 0)
		r.Components, r.Bindings = c.parts, nil
		r.Outcome = Combine(r.Components, r.Caps)
		_, err := SignFormat(l.lead, r, FormatTDXGPU, 0)
		var unfit *FormatError
		if (err == nil) != (c.why == "") || err != nil && (!errors.As(err, &unfit) || unfit.Format != FormatTDXGPU || !strings.Contains(unfit.Detail, c.why)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllBound(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	nonce := Binding{From: "gpu/1", To: "cpu", Kind: "common-nonce", Strength: "nonce", Status: "bound"}
	absent := Binding{From: "gpu/1", To: "cpu", Kind: "common-nonce", Strength: "none", Status: "absent"}
	good, warned := testAppraisal(), testAppraisal()
	warned.Vector[Executables] = ClaimUnrecognized
	warned.Fail(ReasonNoReferenceValues, "executables")
	for name, c := range map[string]struct {
		change func(r *Result)
		want   string
	}{
		"each":                    {func(r *Result) {}, "true"},
		"by way of another":       {func(r *Result) { r.Bindings[1] = strongEdge("gpu/1", "gpu/0") }, "true"},
		"edges that lead to them": {func(r *Result) { r.Bindings[1] = strongEdge("cpu", "gpu/1") }, "false"},
		"edges at which both vouch": {func(r *Result) {
			r.Bindings[1] = strongEdge("cpu", "gpu/1")
			r.Bindings[1].Kind = "key-chain"
		}, "true"},
		"each, without a challenge":     {func(r *Result) { r.Nonce = nil }, "true"},
		"one by a nonce":                {func(r *Result) { r.Bindings[1] = nonce }, "false"},
		"one not at all":                {func(r *Result) { r.Bindings[1] = absent }, "false"},
		"one not, without a challenge":  {func(r *Result) { r.Bindings[1] = absent; r.Nonce = nil }, "unknown"},
		"one of which nobody speaks":    {func(r *Result) { r.Bindings = r.Bindings[:1] }, "unknown"},
		"two by themselves":             {func(r *Result) { r.Bindings = []Binding{strongEdge("gpu/0", "gpu/1")} }, "false"},
		"one without a result":          {func(r *Result) { r.Components[1].Partial = Partial{} }, "unknown"},
		"one without, one unbound":      {func(r *Result) { r.Components[0].Partial = Partial{}; r.Bindings[1] = nonce }, "false"},
		"the root without a result":     {func(r *Result) { r.Components[2].Partial = Partial{} }, "unknown"},
		"the root without, one unbound": {func(r *Result) { r.Components[2].Partial = Partial{}; r.Bindings[1] = nonce }, "unknown"},
		"strong but broken":             {func(r *Result) { r.Bindings[1].Status = "broken" }, "false"},
		"bound and broken": {func(r *Result) {
			r.Bindings = append(r.Bindings, Binding{From: "gpu/1", To: "gpu/0", Kind: "identity-collision", Strength: "none", Status: "broken"})
		}, "false"},
		"a stranger that vouches for the root": {func(r *Result) {
			r.Bindings[1] = Binding{From: "cpu", To: "gpu/1", Kind: "attested-key", Strength: "strong", Status: "bound"}
		}, "false"},
		"one that the lead found unbound": {func(r *Result) {
			r.Caps = append(r.Caps, Cap{Tier: TierWarning, Reason: Reason{Code: ReasonUnboundComponent}})
		}, "false"},
		"one that a policy takes": {func(r *Result) {
			r.Caps = append(r.Caps, Cap{Tier: TierAffirming, Reason: Reason{Code: ReasonNonceBound}})
		}, "false"},
		"strong and absent": {func(r *Result) { r.Bindings[1].Status = "absent" }, "false"},
		// What nobody believes is bound to nothing, whoever commits to its bytes.
		"a warning":                     {func(r *Result) { r.Components[0].Lowered[Executables] = ClaimUnrecognized }, "true"},
		"a device that is not believed": {func(r *Result) { r.Components[0].Lowered[Hardware] = ClaimUnknownDevice }, "false"},
		"a root that is not believed":   {func(r *Result) { r.Components[2].Lowered[Hardware] = ClaimUnknownDevice }, "false"},
		"a device that answers nothing": {func(r *Result) { r.Components[0].Reasons = []Reason{{Code: ReasonNonceMismatch}} }, "false"},
		"verifiers that agree":          {func(r *Result) { r.Components[0] = l.redundant(t, "gpu/0", 2, 2, good, good) }, "true"},
		"verifiers that disagree":       {func(r *Result) { r.Components[0] = l.redundant(t, "gpu/0", 2, 2, good, warned) }, "false"},
		"verifiers that have not said":  {func(r *Result) { r.Components[0] = l.redundant(t, "gpu/0", 1, 2, good) }, "unknown"},
		"too few verifiers":             {func(r *Result) { r.Components[0] = l.redundant(t, "gpu/0", 2, 2, good) }, "false"},
	} {
		r := l.machine(t, 2) // gpu/0, gpu/1, cpu
		r.Bindings = []Binding{strongEdge("gpu/0", "cpu"), strongEdge("gpu/1", "cpu")}
		c.change(r)
		if got := r.allBound(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestCompareLabels(t *testing.T) {
	order := []evidence.Path{"a/2", "a/10", "a/10/x", "a/b", "b", "b/0"}
	for i, a := range order {
		for j, b := range order {
			if got := compareLabels(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
}
