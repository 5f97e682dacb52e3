// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// TestMeasuredComponents: of the events of a TD about the evidence of components
// those in RTMR3 of a log that replays are facts, beside those about devices.
func TestMeasuredComponents(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	event := func(label string) string { return fmt.Sprintf(`{"assize.component":%q,"sha256":%q}`, label, digest) }
	gpu := verdict.Commitment{Subject: "gpu/0", Object: verdict.ObjectEvidence, Alg: verdict.AlgSHA256, Digest: digest, Via: "event-log", Origin: verdict.OriginMeasured}
	var many [][2]string
	for i := range verdict.MaxCommitments + 1 {
		many = append(many, [2]string{"4", event(fmt.Sprint("gpu/", i))})
	}
	for name, c := range map[string]struct {
		events [][2]string
		want   []verdict.Commitment
	}{
		"RTMR3":           {[][2]string{{"4", event("gpu/0")}}, []verdict.Commitment{gpu}},
		"RTMR2":           {[][2]string{{"3", event("gpu/0")}}, nil},
		"beside a device": {[][2]string{{"4", event("gpu/0")}, {"4", taken("nic/0")}}, []verdict.Commitment{logged("nic/0", verdict.ObjectCertificates, digestOf("a")), gpu}},
		"out of form":     {[][2]string{{"4", event("gpu/0") + "x"}}, nil},
		"too many":        {many, nil},
	} {
		m, log := crafted(t, c.events...)
		a := appraiseLeaf(t, newTest(t, m.deps(nil)), leaf(m.Quote(), log, ""), m.Body[520:584], m.Now)
		if !reflect.DeepEqual(a.Facts.Commitments, c.want) {
			t.Errorf("%s: %+v", name, a.Facts.Commitments)
		}
		if refused := eventLogClaim(t, a)["components_refused"] != nil; refused != (name == "out of form" || name == "too many") {
			t.Errorf("%s: %v", name, eventLogClaim(t, a))
		}
	}
	m, log := crafted(t, [2]string{"4", event("gpu/0")})
	forged := bytes.Replace(log, []byte(digest), []byte(strings.Repeat("0b", 32)), 1)
	if a := appraiseLeaf(t, newTest(t, m.deps(nil)), leaf(m.Quote(), forged, ""), m.Body[520:584], m.Now); bytes.Equal(forged, log) || a.Facts.Commitments != nil {
		t.Errorf("%+v", a.Facts.Commitments)
	}
}

// TestSoftwareOfRTMR3: reference values know RTMR3 without the evidence that was
// measured at its end, and as it is where anything follows.
func TestSoftwareOfRTMR3(t *testing.T) {
	part := [2]string{"4", `{"assize.component":"gpu/0","sha256":"` + strings.Repeat("0a", 32) + `"}`}
	program := [2]string{"4", "a program"}
	boot := [][2]string{{"1", "x"}, {"2", "x"}, {"3", "x"}}
	known := func(events ...[2]string) []byte {
		m, _ := crafted(t, append(boot, events...)...)
		return m.Body[328+48*3:][:48]
	}
	for name, c := range map[string]struct {
		events [][2]string
		stated []byte // RTMR3 in the document, nil for none
		want   verdict.Claim
	}{
		"evidence alone":              {[][2]string{part, part}, nil, verdict.ClaimApprovedBoot},
		"nothing":                     {nil, nil, verdict.ClaimApprovedBoot},
		"a program that is known":     {[][2]string{program, part}, known(program), verdict.ClaimApprovedBoot},
		"a program that is not":       {[][2]string{program, part}, nil, verdict.ClaimUnrecognized},
		"a program behind it":         {[][2]string{part, program}, known(program), verdict.ClaimContraindicate},
		"a program, and nobody asked": {[][2]string{part, program}, nil, verdict.ClaimUnrecognized},
	} {
		m, log := crafted(t, append(boot, c.events...)...)
		e := entryOf(m.Body[:])
		registers := value(&e, nil).Registers
		delete(registers, 3)
		if c.stated != nil {
			registers[3] = entryOf(slices.Concat(m.Body[:328+48*3], c.stated, m.Body[328+48*4:])).Values[3].Registers[3]
		}
		a, err := newTest(t, m.deps(nil)).Appraise(t.Context(), verifiers.Input{
			MediaType: evidence.MediaType{Base: "application/vnd.assize.tdx+json"}, Evidence: leaf(m.Quote(), log, ""), Nonce: m.Body[520:584], Time: m.Now, References: indexOf(t, m.Now, e),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Vector[verdict.Executables]; got.Tier() != c.want.Tier() || c.want.Tier() != verdict.TierAffirming && got != c.want {
			t.Errorf("%s: executables %d: %v", name, got, a.Reasons)
		}
	}
}
