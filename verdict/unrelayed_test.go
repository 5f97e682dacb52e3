// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// TestWithoutReport: only good words are taken back, and only those two.
func TestWithoutReport(t *testing.T) {
	for c := -128; c <= 127; c++ {
		in := AllClaims(Claim(c))
		out := in.withoutReport()
		for n := range numClaims {
			want := in[n]
			if in[n].Tier() == TierAffirming {
				switch n {
				case Configuration:
					want = ClaimNoVisibility
				case RuntimeOpaque:
					want = ClaimNone
				}
			}
			if out[n] != want {
				t.Fatalf("%s %d became %d, want %d", n, c, out[n], want)
			}
		}
		if in.Status().WorseThan(out.Status()) {
			t.Fatalf("%d: %s became %s", c, in.Status(), out.Status())
		}
	}
}

// TestFlatCopyWithoutReport: the flat copy in a signed result has the lowered
// vector where the lead said that nothing vouches for the report, and a result
// whose copy is better is refused.
func TestFlatCopyWithoutReport(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 0)
	a := testAppraisal()
	a.Vector[Configuration], a.Vector[RuntimeOpaque] = ClaimApproved, ClaimApproved
	r.Components = append(r.Components, l.component(t, "gpu/0", "nvidia-gpu", a), l.component(t, "gpu/1", "nvidia-gpu", a))
	slices.SortFunc(r.Components, func(a, b Component) int { return strings.Compare(string(b.Label), string(a.Label)) })
	r.Components[1].Reasons = []Reason{{Code: ReasonReportUnauthenticated, Detail: "d"}}
	r.Outcome = Combine(r.Components, r.Caps)
	token := l.sign(t, r)
	got, err := VerifyResult(token, aarIntake(), l.anchors)
	if err != nil {
		t.Fatal(err)
	}
	at := func(label evidence.Path) Component {
		return got.Components[slices.IndexFunc(got.Components, func(c Component) bool { return c.Label == label })]
	}
	if c := at("gpu/0"); c.Tier() != TierWarning || got.Outcome.Tier != TierWarning {
		t.Errorf("%s in %s", c.Tier(), got.Outcome.Tier)
	}
	vectorOf := func(label string) obj {
		claims, err := trust.ParseObject(payload(t, token), 32)
		if err != nil {
			t.Fatal(err)
		}
		return claims[claimSubmods].(obj)[label].(obj)[claimVector].(obj)
	}
	for label, want := range map[string]map[string]string{
		"gpu/0": {"configuration": "36", "runtime-opaque": "0", "hardware": "2"}, "gpu/1": {"configuration": "2", "runtime-opaque": "2", "hardware": "2"},
	} {
		for name, claim := range want {
			if got := vectorOf(label)[name]; got != json.Number(claim) {
				t.Errorf("%s: %s is %v, want %s", label, name, got, claim)
			}
		}
	}
	if shown := got.Document().Components["gpu/0"].TrustVector; shown["configuration"] != ClaimNoVisibility {
		t.Errorf("shown %v", shown)
	}
	claims, err := trust.ParseObject(payload(t, token), 32)
	if err != nil {
		t.Fatal(err)
	}
	claims[claimSubmods].(obj)["gpu/0"].(obj)[claimVector] = vectorOf("gpu/1")
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := l.lead.SignJWT(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, err = VerifyResult(forged, aarIntake(), l.anchors)
	checkDenied(t, "a better flat copy", err, ReasonLyingAAR, "gpu/0")
}
