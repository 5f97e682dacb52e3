// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/samples"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Every format of a signed verdict that can be checked is, by the same command,
// with the same outcome.
func TestAppraiseFormats(t *testing.T) {
	state, file := t.TempDir(), sample(t)
	raw := assize(t, state, "keys", "jwks").out
	jwks := write(t, "jwks.json", []byte(raw))
	anchors, err := trust.ParseJWKS([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var printed string
	for _, f := range verdict.Formats() {
		o := assize(t, state, "appraise", file, "--component-nonce", gpuNonce(), "-o", string(f))
		if o.code != exitWarning || strings.HasSuffix(o.out, "\n") == f.Binary() {
			t.Errorf("-o %s: exit %d %s", f, o.code, o.err)
		}
		check := assize(t, state, "verdict", "verify", write(t, "v", []byte(o.out)), "--trust", jwks)
		if !f.Verifiable() {
			if check.code != exitFailed {
				t.Errorf("a verdict as %s is verified: exit %d", f, check.code)
			}
			continue
		}
		if check.code != exitWarning || !strings.Contains(check.out, "2 of 2 components") {
			t.Errorf("verify %s: exit %d %s%s", f, check.code, check.out, check.err)
		}
		token := []byte(o.out)
		if !f.Binary() {
			token = []byte(strings.TrimSpace(o.out))
		}
		res, err := verdict.VerifyResult(token, verdict.Intake{Now: time.Now()}, anchors)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		text := res.Outcome.Tier.String()
		for _, c := range res.Components {
			text += string(c.Label) + c.Tier().String()
		}
		if printed == "" {
			printed = text
		}
		if text != printed {
			t.Errorf("%s: %s, not %s", f, text, printed)
		}
	}
}

// The machine of the samples is one TDX guest with a GPU; a part of it is not.
func TestAppraiseTDXGPU(t *testing.T) {
	state := t.TempDir()
	o := assize(t, state, "appraise", sample(t), "--component-nonce", gpuNonce(), "-o", "tdx-gpu")
	parts := strings.Split(strings.TrimSpace(o.out), ".")
	if o.code != exitWarning || len(parts) != 3 {
		t.Fatalf("exit %d: %s%s", o.code, o.out, o.err)
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	schema, err := schemas.Load("ear-tdx-gpu.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON(claims); err != nil {
		t.Error(err)
	}
	var got struct {
		Bound   string `json:"ear_all_submods_bound"`
		Submods map[string]struct {
			Claims  map[string]any `json:"ear_evidence_claims"`
			Checked struct {
				Evidence map[string]bool `json:"ear_nvidia_evidence"`
			} `json:"ear_verifier_claims"`
		}
	}
	if err := json.Unmarshal(claims, &got); err != nil {
		t.Fatal(err)
	}
	mrtd, _ := got.Submods["tdx"].Claims["tdx_mrtd"].(string)
	gpu := got.Submods["gpu_0"]
	if got.Bound != "unknown" || len(mrtd) != 96 || len(got.Submods) != 2 || gpu.Claims["x-nvidia-gpu-driver-version"] == nil ||
		!gpu.Checked.Evidence["signature_verified"] || !gpu.Checked.Evidence["parsed"] {
		t.Errorf("%s", claims)
	}
	// Recorded evidence of a GPU alone.
	raw, err := samples.GPUEvidence()
	if err != nil {
		t.Fatal(err)
	}
	alone, err := evidence.EncodeJSON(evidence.Collection("tag:example.com,2026:alone", evidence.Entry{Label: "gpu", Item: evidence.Record(samples.GPUType, raw, evidence.IndEvidence)}))
	if err != nil {
		t.Fatal(err)
	}
	if o := assize(t, state, "appraise", write(t, "alone.cmw", alone), "-o", "tdx-gpu"); o.code != exitUsage || o.out != "" || !strings.Contains(o.err, "0 TDX guests") {
		t.Errorf("exit %d: %s%s", o.code, o.out, o.err)
	}
	if o := assize(t, state, "appraise", "a", "b", "-o", "cwt"); o.code != exitUsage {
		t.Errorf("two verdicts in bytes, one behind the other: exit %d", o.code)
	}
	if o := assize(t, state, "appraise", "a", "-o", "p04"); o.code != exitUsage || !strings.Contains(o.err, "ear-p04") {
		t.Errorf("exit %d: %s", o.code, o.err)
	}
}
