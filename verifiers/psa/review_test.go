// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// TestFloors: no operator's row affirms what nothing proves.
func TestFloors(t *testing.T) {
	d := Policy()
	for _, f := range d.Findings {
		v, ok := f.Effect[verdict.Executables]
		if !ok || v.Tier() == verdict.TierAffirming {
			continue
		}
		for _, row := range []string{"{}", "{executables: 2}", "{executables: 3}"} {
			if _, err := d.Parse([]byte("scheme: psa\nfindings:\n  " + f.Name + ": " + row + "\n")); err == nil {
				t.Errorf("%s: %s is accepted", f.Name, row)
			}
		}
	}
}

// TestComponents: what is measured has to be known as a whole, and what is known
// has to be measured as a whole, with names and without.
func TestComponents(t *testing.T) {
	nameless := func(v refvalues.Value) refvalues.Value { v.Name = ""; return v }
	type list = []any
	for _, c := range []struct {
		name       string
		components list
		values     []refvalues.Value
		want       verdict.Claim
		code       string
	}{
		{"one component more", list{component("BL", 1), component("PRoT", 2), component("ARoT", 3), component("X", 4)}, nil, 33, verdict.ReasonMeasurementMismatch},
		{"one twice", list{component("BL", 1), component("BL", 1), component("PRoT", 2), component("ARoT", 3)}, nil, 2, ""},
		{"one twice, once another", list{component("BL", 1), component("BL", 9), component("PRoT", 2), component("ARoT", 3)}, nil, 33, verdict.ReasonMeasurementMismatch},
		{"digests under other names", list{component("PRoT", 1), component("BL", 2), component("ARoT", 3)}, nil, 33, verdict.ReasonMeasurementMismatch},
		{"names left out", list{component("", 1), component("", 2), component("", 3)}, nil, 33, verdict.ReasonMeasurementMismatch},
		{"alternatives", list{component("BL", 1)}, []refvalues.Value{software("BL", 1), software("BL", 2)}, 2, ""},
		{"values without names", list{component("BL", 1), component("PRoT", 2)}, []refvalues.Value{nameless(software("", 1)), nameless(software("", 2))}, 2, ""},
		{"values without names, one not measured", list{component("BL", 1)}, []refvalues.Value{nameless(software("", 1)), nameless(software("", 2))}, 33, verdict.ReasonPartialReference},
		{"nothing with names at all, one not measured", list{component("", 1)}, []refvalues.Value{nameless(software("", 1)), nameless(software("", 2))}, 33, verdict.ReasonPartialReference},
	} {
		d := newDevice(t, profileTFM)
		l := newLibrary(d)
		for _, one := range c.components {
			if m := one.(map[int64]any); m[1] == "" {
				delete(m, 1)
			}
		}
		d.claims[d.form.components] = c.components
		if c.values != nil {
			l.values.Values = c.values
		}
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: d.token(t), Nonce: d.nonce(), References: l.index(t)})
		if a.Vector[verdict.Executables] != c.want || c.code != "" && !slices.Contains(codes(a), c.code) || c.code == "" && len(a.Reasons) > 0 {
			t.Errorf("%s: executables %d, want %d: %v", c.name, a.Vector[verdict.Executables], c.want, a.Reasons)
		}
	}
}

// TestKeyOfAnotherKind: a document about platforms of CCA, whose devices have names
// of the same form, states no key for a PSA token.
func TestKeyOfAnotherKind(t *testing.T) {
	d := newDevice(t, profileTFM)
	for profile, ok := range map[string]bool{refvalues.ProfilePSA: true, "": true, corim.ProfileCCAPlatform: false, corim.ProfileCCALegacy: false} {
		author, err := refvalues.NewAuthor("author", now)
		if err != nil {
			t.Fatal(err)
		}
		x, err := author.Index(now, refvalues.Document{ID: "keys", TagID: "keys", Profile: profile, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 1, 0), Keys: newLibrary(d).keys})
		if err != nil {
			t.Fatal(err)
		}
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: d.token(t), Nonce: d.nonce(), References: x})
		if got := a.Vector[verdict.Hardware] == verdict.ClaimApproved; got != ok || !ok && (len(a.Facts.Device) != 0 || !strings.Contains(a.Reasons[0].Detail, "profile")) {
			t.Errorf("profile %q: %v %v", profile, a.Vector, a.Reasons)
		}
	}
}
