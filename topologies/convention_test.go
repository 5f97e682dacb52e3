// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

const (
	session     = "0123456789abcdef"
	trusteeData = `{"nonce":"MDEyMzQ1Njc4OWFiY2RlZg==","tee-pubkey":{"kty":"EC"}}`
	itaData     = `{"verifier_nonce":{"iat":"MjAyNg==","signature":"AA==","val":"MDEyMzQ1Njc4OWFiY2RlZg=="},"user_data":"dXNlcg=="}`
)

// byHand are the challenges that follow from the texts above, which were put
// together here and not by the package.
func byHand() (report, device, itaReport, itaDevice []byte) {
	r := sha512.Sum384([]byte(`{"additional-evidence":"{\"nvidia\":[]}","nonce":"MDEyMzQ1Njc4OWFiY2RlZg==","tee-pubkey":{"kty":"EC"}}`))
	d := sha512.Sum384([]byte(trusteeData))
	ir, id := sha512.Sum512([]byte("0123456789abcdef2026user")), sha256.Sum256([]byte("0123456789abcdef2026"))
	return append(r[:], make([]byte, 16)...), d[:32], ir[:], id[:]
}

func trusteeCommit() *evidence.Commitment {
	return &evidence.Commitment{
		Convention: evidence.ConventionTrustee, Runtime: []byte(trusteeData), Additional: []byte(`{"nvidia":[]}`),
		Leaves: map[evidence.Path]evidence.LeafDigest{"cpu": {1}, "additional-evidence/nvidia": {2}},
	}
}

func itaCommit() *evidence.Commitment {
	return &evidence.Commitment{
		Convention: evidence.ConventionITA, Runtime: []byte(itaData),
		Leaves: map[evidence.Path]evidence.LeafDigest{"cpu": {1}, "gpu": {2}},
	}
}

func TestPlanConventions(t *testing.T) {
	report, device, itaReport, itaDevice := byHand()
	cpu, gpu := component("cpu", 64), component("additional-evidence/nvidia", 32)
	cpu.Class, gpu.Class = verifiers.ClassCPU, verifiers.ClassDevice
	beside := gpu
	beside.Label, beside.Leaf = "gpu", "gpu"
	other := cpu
	other.Label, other.Leaf = "additional-evidence/cmw/cpu", "additional-evidence/cmw/cpu"
	small, large := cpu, gpu
	small.NonceSize, large.NonceSize = 32, 64
	with := func(c *evidence.Commitment, change func(*evidence.Commitment)) *evidence.Commitment {
		change(c)
		return c
	}
	for _, c := range []struct {
		name   string
		commit *evidence.Commitment
		parts  []Component
		want   string // rule and result for each component
	}{
		{"trustee", trusteeCommit(), []Component{cpu, gpu}, "trustee-jcs-device/32 device; trustee-jcs report"},
		{"ita", itaCommit(), []Component{cpu, beside}, "ita ita-report; ita-device ita-device"},
		{"ita, two CPU TEEs", itaCommit(), []Component{cpu, other}, "ita ita-report; ita ita-report"},
		{"trustee, two CPU TEEs", trusteeCommit(), []Component{cpu, other}, "has two; has two"},
		{"beside the additional evidence", with(trusteeCommit(), func(c *evidence.Commitment) { c.Leaves["gpu"] = evidence.LeafDigest{} }),
			[]Component{cpu, gpu, beside}, "trustee-jcs-device/32 device; is not; trustee-jcs-device/32 device"},
		{"almost under it", with(trusteeCommit(), func(c *evidence.Commitment) { c.Leaves["additional-evidence2/gpu"] = evidence.LeafDigest{} }),
			[]Component{cpu}, "is not"},
		{"no text", with(trusteeCommit(), func(c *evidence.Commitment) { c.Additional = nil }), []Component{cpu, gpu}, "trustee-jcs-device/32 device; without the evidence"},
		{"runtime data of another convention", with(trusteeCommit(), func(c *evidence.Commitment) { c.Runtime = []byte(itaData) }), []Component{cpu, gpu}, "runtime data; runtime data"},
		{"no runtime data", with(itaCommit(), func(c *evidence.Commitment) { c.Runtime = nil }), []Component{cpu, beside}, "runtime data; runtime data"},
		{"no room in the CPU's report", trusteeCommit(), []Component{small}, "32 bytes"},
		{"no room in ita's", itaCommit(), []Component{small}, "32 bytes"},
		{"a device with a nonce that is too long", trusteeCommit(), []Component{large}, "not 64"},
		{"and by ita", itaCommit(), []Component{large}, "has 32"},
		{"unknown convention", with(itaCommit(), func(c *evidence.Commitment) { c.Convention = "other" }), []Component{cpu}, `convention "other"`},
	} {
		p := plan(t, "lead", Input{Components: c.parts, Nonce: []byte(session), Commit: c.commit})
		want := strings.Split(c.want, "; ")
		for i, st := range p.Steps[:len(p.Steps)-1] {
			got := st.NonceRule
			for name, v := range map[string][]byte{"report": report, "device": device, "ita-report": itaReport, "ita-device": itaDevice} {
				if bytes.Equal(st.Nonce, v) {
					got += " " + name
				}
			}
			if st.Reason != nil {
				if st.Reason.Code != verdict.ReasonNonceMismatch || st.Nonce != nil || st.NonceRule != "" {
					t.Errorf("%s: %+v", c.name, st)
				}
				got = st.Reason.Detail
			}
			if len(want) <= i || st.Reason == nil && got != want[i] || !strings.Contains(got, want[i]) {
				t.Errorf("%s: step %s: %q, want %q", c.name, st.Label, got, c.want)
			}
		}
	}
}

// What cannot be repeated without evidence is told from what is wrong.
func TestDeriveBound(t *testing.T) {
	report, device, _, _ := byHand()
	c := *trusteeCommit()
	if got, err := DeriveBound(RuleTrustee, c, []byte(session), "cpu"); err != nil || !bytes.Equal(got, report) {
		t.Errorf("%x (%v)", got, err)
	}
	if got, err := DeriveBound("trustee-jcs-device/8", c, []byte(session), "x"); err != nil || !bytes.Equal(got, device[:8]) {
		t.Errorf("%x (%v)", got, err)
	}
	c.Additional = nil
	if _, err := DeriveBound(RuleTrustee, c, []byte(session), "cpu"); !errors.Is(err, ErrNeedsEvidence) {
		t.Errorf("%v", err)
	}
	// A CPU TEE alone has nothing to commit to, and no evidence is needed for that.
	c.Leaves = map[evidence.Path]evidence.LeafDigest{"cpu": {1}}
	sum := sha512.Sum384([]byte(`{"additional-evidence":"","nonce":"MDEyMzQ1Njc4OWFiY2RlZg==","tee-pubkey":{"kty":"EC"}}`))
	if got, err := DeriveBound(RuleTrustee, c, []byte(session), "cpu"); err != nil || !bytes.Equal(got, append(sum[:], make([]byte, 16)...)) {
		t.Errorf("%x (%v)", got, err)
	}
	for _, rule := range []string{"", "same", "given", "shake256/64", RuleCommitment, RuleITA, RuleITADevice, "trustee-jcs/32", "trustee-jcs-device",
		"trustee-jcs-device/", "trustee-jcs-device/032", "trustee-jcs-device/-1", "trustee-jcs-device/7", "trustee-jcs-device/49", "trustee-jcs-device/32/1"} {
		if got, err := DeriveBound(rule, *trusteeCommit(), []byte(session), "cpu"); err == nil || errors.Is(err, ErrNeedsEvidence) {
			t.Errorf("%q gives %x", rule, got)
		}
	}
	for _, c := range []evidence.Commitment{*trusteeCommit(), *itaCommit(), {}} {
		rule := map[string]string{evidence.ConventionTrustee: RuleTrustee, evidence.ConventionITA: RuleITA, "": RuleCommitment}[c.Convention]
		if _, err := DeriveBound(rule, c, nil, "cpu"); err == nil {
			t.Errorf("%s without a session nonce", rule)
		}
		one, err := DeriveBound(rule, c, []byte(session), "cpu")
		two, err2 := DeriveBound(rule, c, []byte("fedcba9876543210"), "cpu")
		if err != nil || err2 != nil || bytes.Equal(one, two) {
			t.Errorf("%s: the session does not matter (%v, %v)", rule, err, err2)
		}
		if !OfComposite(rule) {
			t.Error(rule)
		}
	}
	for _, rule := range []string{"", RuleSame, RuleGiven, "shake256/32", "shake128/8"} {
		if OfComposite(rule) {
			t.Error(rule)
		}
		if _, err := DeriveNonce(RuleTrustee, []byte(session)); err == nil {
			t.Error(fmt.Sprint("a rule of a composite without it: ", rule))
		}
	}
}
