// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/trust"
)

// asked is an appraisal whose verifier asked a service.
func asked(name, issuer string) Appraisal {
	a := testAppraisal()
	a.Claims = map[string]any{"backend": map[string]any{"name": name, "issuer": issuer}}
	return a
}

// Two verifiers that asked one service are one opinion: that is said, it lowers
// nothing, and who leaves it out is refused.
func TestSharedServiceIsSaid(t *testing.T) {
	l := newLab(t, trust.ES256)
	own, one := testAppraisal(), asked("nvidia-nras", "https://a.example")
	text := testAppraisal()
	text.Claims = map[string]any{"backend": "nvidia-nras"}
	for name, c := range map[string]struct {
		all  []Appraisal
		said int
	}{
		"both asked it":       {[]Appraisal{one, one}, 1},
		"two of three":        {[]Appraisal{one, own, one}, 1},
		"one asked":           {[]Appraisal{own, one}, 0},
		"none asked":          {[]Appraisal{own, own}, 0},
		"another issuer":      {[]Appraisal{one, asked("nvidia-nras", "https://b.example")}, 0},
		"another service":     {[]Appraisal{one, asked("other", "https://a.example")}, 0},
		"no name":             {[]Appraisal{asked("", "https://a.example"), asked("", "https://a.example")}, 0},
		"claim that is texts": {[]Appraisal{text, text}, 0},
	} {
		r := l.machine(t, 0)
		part := l.redundant(t, "nic/x", len(c.all), len(c.all), c.all...)
		i := slices.IndexFunc(part.Reasons, func(r Reason) bool { return r.Code == ReasonSharedService })
		if (i >= 0) != (c.said > 0) || len(part.Reasons) != c.said || part.Tier() != TierAffirming {
			t.Errorf("%s: %s %v", name, part.Tier(), part.Reasons)
			continue
		}
		if c.said > 0 && (!strings.Contains(part.Reasons[0].Detail, "https://a.example") || !strings.HasPrefix(part.Reasons[0].Detail, "2 results (")) {
			t.Errorf("%s: %v", name, part.Reasons)
		}
		r.Components = append(r.Components, part)
		r.Outcome = Combine(r.Components, r.Caps)
		got, err := VerifyResult(l.sign(t, r), aarIntake(), l.anchors)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.said == 0 {
			continue
		}
		again := slices.IndexFunc(got.Components, func(c Component) bool { return c.Label == "nic/x" })
		if SetPartials(&got.Components[again], got.Components[again].Partials()); !slices.Equal(got.Components[again].Reasons, part.Reasons) {
			t.Errorf("%s: a relying party derives %v", name, got.Components[again].Reasons)
		}
		last := &r.Components[slices.IndexFunc(r.Components, func(c Component) bool { return c.Label == "nic/x" })]
		last.Reasons = nil
		if _, err := SignResult(l.lead, r, 0); err == nil || !strings.Contains(err.Error(), ReasonSharedService) {
			t.Errorf("%s: signed without saying so: %v", name, err)
		}
		token := forgeUnsaid(t, l, r)
		if _, err := VerifyResult(token, aarIntake(), l.anchors); err == nil || !strings.Contains(err.Error(), ReasonLyingAAR+": ") {
			t.Errorf("%s: a lead leaves it out: %v", name, err)
		}
	}
}

// forgeUnsaid signs a result without checking it, as a lead that lies could.
func forgeUnsaid(t *testing.T, l *lab, r *Result) []byte {
	t.Helper()
	claims, err := r.claims(defaultLifetime)
	if err != nil {
		t.Fatal(err)
	}
	token, err := l.lead.SignJWT(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
