// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/assize/assize/trust"
)

// lame is a machine with something wrong, so that reasons of all kinds are there.
func (l *lab) lame(tb testing.TB) *Result {
	tb.Helper()
	r := l.machine(tb, 1)
	bad := testAppraisal()
	bad.Vector[Executables] = ClaimUnrecognized
	bad.FailComparing(ReasonMeasurementMismatch, "x", Comparison{Expected: "00", Observed: "11", Source: "y"})
	r.Components = append(r.Components, l.component(tb, "gpu/9", "nvidia-gpu", bad),
		Component{Label: "odd", Required: true, Reasons: []Reason{{Code: ReasonTimeout}}})
	r.Outcome = Combine(r.Components, r.Caps)
	return r
}

// What is read without a key is what is read with one, in every format; only who
// signed is not said.
func TestUnverifiedDocument(t *testing.T) {
	l := newLab(t, trust.ES256)
	for _, f := range []Format{FormatP23JWT, FormatP04JWT, FormatP04CWT} {
		for name, r := range map[string]*Result{"good": l.machine(t, 2), "lame": l.lame(t)} {
			token, err := SignFormat(l.lead, r, f, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			verified, err := VerifyResult(token, aarIntake(), l.anchors)
			if err != nil {
				t.Fatal(err)
			}
			want := verified.Document()
			got, err := UnverifiedDocument(token)
			if err != nil {
				t.Fatalf("%s %s: %v", f, name, err)
			}
			want.Verifier.KID = ""
			for label, c := range want.Components {
				if c.Verifier != nil {
					c.Verifier.KID = ""
				}
				want.Components[label] = c
			}
			a, errA := json.Marshal(want)
			b, errB := json.Marshal(got)
			if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("%s %s:\n%s\n%s", f, name, a, b)
			}
			if _, err := UnverifiedDocument(token[:len(token)/2]); err == nil {
				t.Errorf("%s: half a token is read", f)
			}
		}
	}
	for _, text := range []string{"", "a.b.c", "{}", "\xd8\x3d\xd2\x84", "\xd2\x84\x40\xa0\x40\x40"} {
		if _, err := UnverifiedDocument([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// What nobody signed cannot be better than what stands beside it.
func TestUnverifiedDocumentIsNotBetterThanItsParts(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	good := l.sign(t, l.lame(t))
	forged := l.edit(t, good, l.lead, func(c, _, _ obj) { c[claimSubmods].(obj)[compositeLabel].(obj)[claimStatus] = "affirming" })
	d, err := UnverifiedDocument(forged)
	if err != nil || d.Verdict.Tier != TierNone {
		t.Errorf("%s, %v", d.Verdict.Tier, err)
	}
}

func FuzzUnverifiedDocument(f *testing.F) {
	l := fixedLab(f)
	for _, format := range []Format{FormatP23JWT, FormatP04JWT, FormatP04CWT} {
		token, err := SignFormat(l.lead, l.lame(f), format, time.Hour)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token []byte) {
		d, err := UnverifiedDocument(token)
		if err != nil {
			return
		}
		for label, c := range d.Components {
			if c.Required && c.Tier.WorseThan(d.Verdict.Tier) {
				t.Fatalf("%s is %s, and the whole %s", label, c.Tier, d.Verdict.Tier)
			}
		}
		if _, err := json.Marshal(d); err != nil {
			t.Fatal(err)
		}
	})
}
