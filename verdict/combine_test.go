// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"github.com/assize/assize/evidence"
)

var allTiers = []Tier{TierAffirming, TierWarning, TierNone, TierContraindicated} // good to bad

// part is a component with a tier; TierNone stands for a missing verdict.
func part(label string, required bool, t Tier) Component {
	c := Component{Label: evidence.Path(label), Required: required}
	if t != TierNone {
		c.Partial = Partial{token: []byte("x"), label: c.Label, status: t}
	}
	return c
}

// wantTier is the rule in another form: by asking what is there, worst first.
func wantTier(parts []Component, caps []Cap) Tier {
	has := func(t Tier, required bool) bool {
		return slices.ContainsFunc(parts, func(c Component) bool { return c.Required == required && c.Tier() == t })
	}
	capped := func(t Tier) bool { return slices.ContainsFunc(caps, func(c Cap) bool { return c.Tier == t }) }
	verdicts := slices.ContainsFunc(parts, func(c Component) bool { return c.Tier() != TierNone })
	switch {
	case has(TierContraindicated, true), has(TierContraindicated, false), capped(TierContraindicated):
		return TierContraindicated
	case !verdicts, has(TierNone, true), capped(TierNone):
		return TierNone
	case has(TierWarning, true), has(TierWarning, false), has(TierNone, false), capped(TierWarning):
		return TierWarning
	}
	return TierAffirming
}

// forests calls f with every list of up to n components.
func forests(n int, f func([]Component)) {
	var grow func([]Component)
	grow = func(parts []Component) {
		f(parts)
		if len(parts) == n {
			return
		}
		for _, required := range []bool{true, false} {
			for _, t := range allTiers {
				grow(append(slices.Clone(parts), part(fmt.Sprint("c", len(parts)), required, t)))
			}
		}
	}
	grow(nil)
}

func permutations(parts []Component, f func([]Component)) {
	var walk func(int)
	walk = func(i int) {
		if i == len(parts) {
			f(parts)
			return
		}
		for j := i; j < len(parts); j++ {
			parts[i], parts[j] = parts[j], parts[i]
			walk(i + 1)
			parts[i], parts[j] = parts[j], parts[i]
		}
	}
	walk(0)
}

func capsToTry() [][]Cap {
	out := [][]Cap{nil}
	for _, t := range allTiers {
		out = append(out, []Cap{{Tier: t, Reason: Reason{Code: ReasonPolicy, Detail: t.String()}}})
	}
	return append(out, append(slices.Clone(out[2]), out[1]...))
}

func TestCombineExhaustively(t *testing.T) {
	count := 0
	forests(4, func(parts []Component) {
		if testing.Short() && len(parts) > 3 { // a sample under the race detector
			count += len(capsToTry())
			return
		}
		for _, caps := range capsToTry() {
			count++
			got := Combine(parts, caps)
			if want := wantTier(parts, caps); got.Tier != want {
				t.Fatalf("%v %v: %s instead of %s", parts, caps, got.Tier, want)
			}
			checkOutcome(t, parts, caps, got)
			monotone(t, parts, caps, got)
		}
		caps := capsToTry()[5]
		want := Combine(parts, caps)
		permutations(slices.Clone(parts), func(p []Component) {
			if got := Combine(p, caps); !reflect.DeepEqual(got, want) {
				t.Fatalf("order changes %+v to %+v", want, got)
			}
		})
	})
	if count != (1+8+64+512+4096)*6 {
		t.Errorf("%d cases", count)
	}
}

// checkOutcome: the vector agrees with the tier, and everything that is not
// affirming is named.
func checkOutcome(t *testing.T, parts []Component, caps []Cap, o Outcome) {
	t.Helper()
	if o.Vector.Status().WorseThan(o.Tier) {
		t.Fatalf("%s is better than its vector %v", o.Tier, o.Vector)
	}
	if o.Tier != TierAffirming && len(o.Reasons) == 0 {
		t.Fatalf("%s without a reason", o.Tier)
	}
	if !slices.IsSortedFunc(o.Reasons, func(a, b Reason) int {
		return slices.Compare([]string{a.Code, a.Detail}, []string{b.Code, b.Detail})
	}) {
		t.Fatalf("reasons are not sorted: %v", o.Reasons)
	}
	for _, c := range parts {
		r := Reason{Code: ReasonComponentTier, Detail: string(c.Label) + ": " + c.Tier().String()}
		if slices.Contains(o.Reasons, r) != (c.Tier() != TierAffirming) {
			t.Fatalf("%v: component %s in reasons %v", c.Tier(), c.Label, o.Reasons)
		}
	}
	for _, c := range caps {
		if !slices.Contains(o.Reasons, c.Reason) {
			t.Fatalf("cap %v not in reasons %v", c, o.Reasons)
		}
	}
}

// monotone: nothing that gets worse makes the outcome better.
func monotone(t *testing.T, parts []Component, caps []Cap, o Outcome) {
	t.Helper()
	check := func(what string, parts []Component, caps []Cap) {
		if worse := Combine(parts, caps); o.Tier.WorseThan(worse.Tier) {
			t.Fatalf("%s: %v gives %s instead of %s", what, parts, worse.Tier, o.Tier)
		}
	}
	for i, c := range parts {
		p := slices.Clone(parts)
		for _, tier := range allTiers {
			if tier.WorseThan(c.Tier()) {
				p[i] = part(string(c.Label), c.Required, tier)
				check("worse component", p, caps)
			}
		}
		p[i] = c
		p[i].Required = true
		check("required", p, caps)
		if !c.Partial.IsZero() {
			p[i] = c
			p[i].Reasons = []Reason{{Code: "unheard-of"}}
			check("a reason of the lead", p, caps)
		}
	}
	for _, tier := range allTiers {
		check("one more cap", parts, append(slices.Clone(caps), Cap{Tier: tier, Reason: Reason{Code: ReasonPolicy}}))
	}
	// One more component never helps once something was appraised.
	if slices.ContainsFunc(parts, func(c Component) bool { return c.Tier() != TierNone }) {
		for _, required := range []bool{true, false} {
			for _, tier := range allTiers {
				check("one more component", append(slices.Clone(parts), part("more", required, tier)), caps)
			}
		}
	}
}

func TestCombineLargeOnes(t *testing.T) {
	rnd := rand.New(rand.NewSource(16))
	for range 300 {
		var parts []Component
		bias := rnd.Intn(4) + 1
		for i := range rnd.Intn(60) {
			parts = append(parts, part(fmt.Sprint("d/", i), rnd.Intn(4) > 0, allTiers[rnd.Intn(bias)]))
		}
		var caps []Cap
		for range rnd.Intn(3) {
			caps = append(caps, Cap{Tier: allTiers[rnd.Intn(bias)], Reason: Reason{Code: ReasonPolicy, Detail: fmt.Sprint(rnd.Intn(3))}})
		}
		o := Combine(parts, caps)
		if want := wantTier(parts, caps); o.Tier != want {
			t.Fatalf("%s instead of %s", o.Tier, want)
		}
		checkOutcome(t, parts, caps, o)
		monotone(t, parts, caps, o)
		rnd.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		rnd.Shuffle(len(caps), func(i, j int) { caps[i], caps[j] = caps[j], caps[i] })
		if again := Combine(parts, caps); !reflect.DeepEqual(o, again) {
			t.Fatalf("order changes %+v to %+v", o, again)
		}
	}
}

func TestCombineEdges(t *testing.T) {
	if o := Combine(nil, nil); o.Tier != TierNone || len(o.Reasons) != 1 || o.Reasons[0].Code != ReasonNoComponents {
		t.Errorf("%+v", o)
	}
	ok := []Component{part("a", true, TierAffirming)}
	for c, want := range map[Tier]Tier{5: TierContraindicated, -1: TierContraindicated, 0: TierNone} {
		if o := Combine(ok, []Cap{{Tier: c}}); o.Tier != want {
			t.Errorf("cap %d gives %s", c, o.Tier)
		}
	}
	o := Combine(ok, []Cap{{Tier: TierAffirming, Reason: Reason{Code: ReasonApplicationBound}}})
	if o.Tier != TierAffirming || len(o.Reasons) != 1 || o.Vector != (Vector{SourcedData: 2}) {
		t.Errorf("remark: %+v", o)
	}
	// A partial of another label is no verdict.
	c := part("a", true, TierAffirming)
	c.Label = "b"
	if c.Tier() != TierNone {
		t.Error("a partial of another label counts")
	}
}

func TestComponentReasonsLower(t *testing.T) {
	for code, want := range map[string]Tier{
		ReasonTimeout: TierNone, ReasonLyingPAR: TierNone, ReasonUnexpected: TierWarning, "new-code": TierWarning,
		ReasonNonceMismatch: TierContraindicated, ReasonTimeOverridden: TierAffirming,
	} {
		c := part("a", true, TierAffirming)
		c.Reasons = []Reason{{Code: code}}
		if c.Tier() != want {
			t.Errorf("%s: %s instead of %s", code, c.Tier(), want)
		}
		// A reason never helps.
		c = part("a", true, TierContraindicated)
		c.Reasons = []Reason{{Code: code}}
		if c.Tier() != TierContraindicated {
			t.Errorf("%s: %s", code, c.Tier())
		}
	}
}

func TestVectorStatus(t *testing.T) {
	for name, c := range map[string]struct {
		v    Vector
		want Tier
	}{
		"empty": {Vector{}, TierNone}, "unexpected only": {Vector{Hardware: 1}, TierNone},
		"unexpected beside": {Vector{Hardware: 2, Executables: 1}, TierAffirming},
		"malfunction":       {Vector{Hardware: 2, Executables: -1}, TierNone},
		"malfunction, 32":   {Vector{Hardware: 32, Executables: -1}, TierNone},
		"malfunction, 96":   {Vector{Hardware: 96, Executables: -1}, TierContraindicated},
		"private":           {Vector{Hardware: -32}, TierAffirming}, "private warning": {Vector{Hardware: -33}, TierWarning},
		"private contraindicated": {Vector{Hardware: -97}, TierContraindicated}, "lowest": {Vector{Hardware: -128}, TierContraindicated},
		"highest affirming": {Vector{Hardware: 31}, TierAffirming}, "highest warning": {Vector{Hardware: 95}, TierWarning},
		"crypto": {AllClaims(ClaimCryptoFailed), TierContraindicated},
	} {
		if got := c.v.Status(); got != c.want {
			t.Errorf("%s: %s instead of %s", name, got, c.want)
		}
	}
}
