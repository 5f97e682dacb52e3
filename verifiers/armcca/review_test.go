// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"strings"
	"testing"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// TestFloors: no operator's row affirms software or configuration that nothing
// proves.
func TestFloors(t *testing.T) {
	d := Policy()
	for _, f := range d.Findings {
		for _, c := range []verdict.ClaimName{verdict.Executables, verdict.Configuration} {
			v, ok := f.Effect[c]
			if !ok || v.Tier() == verdict.TierAffirming || f.Name == "lifecycle-other-debug" {
				continue // what is outside of the platform is an operator's to judge
			}
			for _, row := range []string{"{}", "{" + c.String() + ": 2}"} {
				if _, err := d.Parse([]byte("scheme: arm-cca\nfindings:\n  " + f.Name + ": " + row + "\n")); err == nil {
					t.Errorf("%s: %s is accepted", f.Name, row)
				}
			}
		}
	}
}

// TestKeyOfAnotherKind: the key of a microcontroller, whose names have the same
// form, vouches for no platform, whatever it signs.
func TestKeyOfAnotherKind(t *testing.T) {
	m := newMachine(t)
	for profile, ok := range map[string]bool{refvalues.ProfileCCAPlatform: true, "": true, refvalues.ProfilePSA: false} {
		author, err := refvalues.NewAuthor("author", now)
		if err != nil {
			t.Fatal(err)
		}
		x, err := author.Index(now, refvalues.Document{ID: "keys", TagID: "keys", Profile: profile, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 1, 0), Keys: newLibrary(m).keys})
		if err != nil {
			t.Fatal(err)
		}
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: x})
		if got := a.Vector[verdict.Hardware] == verdict.ClaimApproved; got != ok || !ok && (len(a.Facts.Device) != 0 || !strings.Contains(a.Reasons[0].Detail, "profile")) {
			t.Errorf("profile %q: %v %v", profile, a.Vector, a.Reasons)
		}
	}
}

// TestLookup: what is looked up is what the signed token says, whole: another
// implementation or instance with the key of this one is somebody else.
func TestLookup(t *testing.T) {
	m := newMachine(t)
	x := newLibrary(m).index(t)
	for name, change := range map[string]func(){
		"implementation": func() { m.platform[claimImplementation] = fill(0x1e, 32) },
		"instance":       func() { m.platform[claimInstance] = append([]byte{1}, fill(0x2e, 32)...) },
	} {
		was, also := m.platform[claimImplementation], m.platform[claimInstance]
		change()
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: x})
		if a.Vector[verdict.Hardware] != verdict.ClaimUnknownDevice || len(a.Facts.Device) != 0 || len(a.Facts.Environments) != 0 || a.Claims != nil {
			t.Errorf("%s: %v %+v", name, a.Vector, a.Facts)
		}
		m.platform[claimImplementation], m.platform[claimInstance] = was, also
	}
}

// TestRealmNamedInPart: values of a realm that name less than all affirm less, and
// what two documents say of two images adds up to none. That none leaves the initial
// measurement out is a rule of their profile.
func TestRealmNamedInPart(t *testing.T) {
	for _, c := range []struct {
		name    string
		library func(*library)
		want    verdict.Claim
	}{
		{"as it is", func(*library) {}, 2},
		{"without one REM", func(l *library) { drop(&l.realm, keyREM+"1") }, 3},
		{"without RPV", func(l *library) { drop(&l.realm, keyRPV) }, 2},
		{"one REM wrong in each of two", func(l *library) {
			change(&l.realm, keyREM+"0", func(v *refvalues.Value) { v.Digests = sum("sha-384", fill(9, 48)) })
			l.another(func(e *refvalues.Entry) {
				change(e, keyREM+"0", func(v *refvalues.Value) { v.Digests = sum("sha-384", fill(0x60, 48)) })
				change(e, keyREM+"1", func(v *refvalues.Value) { v.Digests = sum("sha-384", fill(9, 48)) })
			})
		}, 33},
		{"RIM by another hash", func(l *library) {
			change(&l.realm, keyRIM, func(v *refvalues.Value) { v.Digests = sum("sha-256", fill(0x50, 32)) })
		}, 33},
	} {
		m := newMachine(t)
		l := newLibrary(m)
		c.library(l)
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: l.index(t)})
		if a.Vector[verdict.Executables] != c.want {
			t.Errorf("%s: executables %d, want %d: %v", c.name, a.Vector[verdict.Executables], c.want, a.Reasons)
		}
	}
}
