// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// fixedLab has keys that are the same in every process, so that a seed found
// once stays valid.
func fixedLab(tb testing.TB) *lab {
	tb.Helper()
	l := &lab{}
	for i, s := range []**trust.Signer{&l.lead, &l.gpu, &l.cpu, &l.gpu2, &l.gpu3} {
		var err error
		if *s, err = trust.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))); err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	l.anchors, err = trust.NewAnchors(l.lead.Key("", nil, trust.RoleLead),
		l.gpu.Key("", []string{"nvidia-gpu"}, trust.RoleVerifier), l.gpu2.Key("", []string{"nvidia-gpu"}, trust.RoleVerifier),
		l.gpu3.Key("", []string{"nvidia-gpu"}, trust.RoleVerifier), l.cpu.Key("", []string{"intel-tdx"}, trust.RoleVerifier))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// FuzzVerifyPartial feeds raw tokens and, signed with the right key, raw
// claims: whatever is accepted obeys the rules of intake.
func FuzzVerifyPartial(f *testing.F) {
	l := fixedLab(f)
	i := testIssue("gpu/0", "nvidia-gpu")
	good := mustSign(f, l.gpu, i, testAppraisal())
	f.Add(good)
	f.Add(payload(f, good))
	f.Add(payload(f, []byte(p23Vector)))
	lower := testAppraisal()
	lower.Vector[Hardware], lower.Freshness = 97, FreshnessMismatch
	f.Add(payload(f, mustSign(f, l.gpu, i, lower)))
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens := [][]byte{b}
		if signed, err := l.gpu.SignJWT(b); err == nil {
			tokens = append(tokens, signed)
		}
		for _, token := range tokens {
			p, err := VerifyPartial(token, expectOf(i), testIntake(), l.anchors)
			var why *IntakeError
			if err != nil {
				if !errors.As(err, &why) || !p.IsZero() {
					t.Fatalf("%+v, %v", p, err)
				}
				continue
			}
			a := p.Appraisal()
			if a.Status().WorseThan(p.Status()) || p.Label() != i.Label || p.Evidence() != i.Evidence || !bytes.Equal(p.Nonce(), i.Nonce) ||
				a.Freshness == FreshnessFresh && !bytes.Equal(a.NonceSeen, i.Nonce) ||
				p.IssuedAt().After(testIntake().Now.Add(time.Minute)) || testIntake().Now.Sub(p.IssuedAt()) > 150*time.Second {
				t.Fatalf("accepted %+v", p)
			}
			for _, c := range p.Unknown() {
				if c.Tier() != TierNone && c.Tier().WorseThan(p.Status()) {
					t.Fatalf("unknown claim %d does not count in %s", c, p.Status())
				}
			}
		}
	})
}

// FuzzVerifyResult feeds raw tokens and, signed by the lead, raw claims:
// whatever is accepted is no better than its parts, and can be signed again.
func FuzzVerifyResult(f *testing.F) {
	l := fixedLab(f)
	r := l.machine(f, 1)
	r.Components = append(r.Components, Component{Label: "odd", Reasons: []Reason{{Code: ReasonTimeout}}})
	r.Interconnects = []Interconnect{{Tier: TierWarning, Configuration: ClaimUnsafe, Devices: []evidence.Path{"gpu/0"}, Switches: []evidence.Path{"cpu"}, Unattested: []string{"x:1"},
		Reasons: []Reason{{Code: ReasonInterconnect, Detail: "d"}}}}
	r.Outcome = Combine(r.Components, r.Caps)
	good := l.sign(f, r)
	f.Add(good)
	f.Add(payload(f, good))
	f.Add(payload(f, l.sign(f, l.machine(f, 0))))
	f.Add(payload(f, l.sign(f, l.redundantMachine(f))))
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens := [][]byte{b}
		if signed, err := l.lead.SignJWT(b); err == nil {
			tokens = append(tokens, signed)
		}
		for _, token := range tokens {
			got, err := VerifyResult(token, aarIntake(), l.anchors)
			var why *VerifyError
			if err != nil {
				if !errors.As(err, &why) || got != nil {
					t.Fatalf("%+v, %v", got, err)
				}
				continue
			}
			if Combine(got.Components, got.Caps).Tier.WorseThan(got.Outcome.Tier) {
				t.Fatalf("accepted %+v", got.Outcome)
			}
			for _, c := range got.Components {
				checkRedundancy(t, c)
			}
			if _, err := json.Marshal(got.Document()); err != nil {
				t.Fatal(err)
			}
			again := *got
			if _, err := VerifyResult(l.sign(t, &again), aarIntake(), l.anchors); err != nil {
				t.Fatalf("signed again: %v", err)
			}
		}
	})
}
