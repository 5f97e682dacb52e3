// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestLibraryOnMachines: what each policy makes of machines that it is for.
func TestLibraryOnMachines(t *testing.T) {
	l := newLab(t)
	set := func(change func(r *verdict.Result)) func(r *verdict.Result) { return change }
	edges := func(r *verdict.Result, change func(b *verdict.Binding)) {
		for i := range r.Bindings {
			if r.Bindings[i].Kind == "tsm-digest" {
				change(&r.Bindings[i])
			}
		}
	}
	replace := func(r *verdict.Result, i int, scheme string, change func(a *verdict.Appraisal)) {
		a := good(scheme)
		change(&a)
		r.Components[i] = l.component(string(r.Components[i].Label), scheme, a)
	}
	asSubmitted := verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{Code: verdict.ReasonAsSubmitted}}
	for _, c := range []struct {
		policy, name string
		hgx          bool
		change       func(r *verdict.Result)
		want         verdict.Tier
	}{
		{"default", "good", true, nil, verdict.TierAffirming},
		{"default", "application", false, set(func(r *verdict.Result) { edges(r, func(b *verdict.Binding) { b.Origin = "application" }) }), verdict.TierAffirming},
		{"default", "nonce", false, set(func(r *verdict.Result) { r.Bindings = r.Bindings[:1] }), verdict.TierWarning},
		{"accept-nonce-binding", "nonce", false, set(func(r *verdict.Result) { r.Bindings = r.Bindings[:1] }), verdict.TierAffirming},
		{"accept-nonce-binding", "nothing", false, set(func(r *verdict.Result) { r.Bindings = nil }), verdict.TierWarning},
		{"warn-is-ok", "nonce", false, set(func(r *verdict.Result) { r.Bindings = r.Bindings[:1] }), verdict.TierWarning},
		{"strict", "good", false, nil, verdict.TierAffirming},
		{"strict", "good board", true, nil, verdict.TierAffirming},
		{"strict", "application", false, set(func(r *verdict.Result) { edges(r, func(b *verdict.Binding) { b.Origin = "application" }) }), verdict.TierWarning},
		{"strict", "measured", false, set(func(r *verdict.Result) { edges(r, func(b *verdict.Binding) { b.Origin = "measured" }) }), verdict.TierAffirming},
		{"strict", "no nonce", false, set(func(r *verdict.Result) { r.Nonce = nil }), verdict.TierNone},
		{"strict", "another time", false, set(func(r *verdict.Result) { r.VerificationTime = testTime }), verdict.TierWarning},
		{"strict", "as submitted", false, set(func(r *verdict.Result) { r.Caps = []verdict.Cap{asSubmitted} }), verdict.TierWarning},
		{"strict", "extra roots", false, set(func(r *verdict.Result) {
			replace(r, 1, "nvidia-gpu", func(a *verdict.Appraisal) { a.Fail(verdict.ReasonExtraRoots, "x") })
		}), verdict.TierWarning},
		{"strict", "unsigned values", false, set(func(r *verdict.Result) {
			replace(r, 0, "intel-tdx", func(a *verdict.Appraisal) { a.Fail(verdict.ReasonUnsignedReference, "x") })
		}), verdict.TierWarning},
		{"strict", "list was looked at", false, set(func(r *verdict.Result) { replace(r, 0, "amd-snp", func(*verdict.Appraisal) {}) }), verdict.TierAffirming},
		{"strict", "no list", false, set(func(r *verdict.Result) {
			replace(r, 0, "amd-snp", func(a *verdict.Appraisal) { a.Claims["revocation"] = map[string]any{"checked": false} })
		}), verdict.TierWarning},
		{"strict", "no Nitro list", false, set(func(r *verdict.Result) {
			replace(r, 0, "aws-nitro", func(a *verdict.Appraisal) { a.Claims["revocation"] = map[string]any{"zone": "unknown"} })
		}), verdict.TierWarning},
		{"strict", "no response", false, set(func(r *verdict.Result) {
			replace(r, 1, "nvidia-gpu", func(a *verdict.Appraisal) {
				a.Claims["x-nvidia-gpu-attestation-report-cert-chain"] = map[string]any{"x-nvidia-cert-ocsp-status": "unknown"}
			})
		}), verdict.TierWarning},
		{"strict", "optional and silent", false, set(func(r *verdict.Result) {
			r.Components[1] = verdict.Component{Label: "gpu/0", Scheme: "nvidia-gpu", Reasons: []verdict.Reason{{Code: verdict.ReasonTimeout}}}
		}), verdict.TierNone},
		{"cpu-gpu", "good", false, nil, verdict.TierAffirming},
		{"cpu-gpu", "no GPU", false, set(func(r *verdict.Result) { r.Components, r.Bindings = r.Components[:1], nil }), verdict.TierNone},
		{"cpu-gpu", "no CPU", false, set(func(r *verdict.Result) { r.Components = r.Components[1:] }), verdict.TierNone},
		{"cpu-gpu", "a stranger", false, set(func(r *verdict.Result) {
			r.Components = append(r.Components, l.component("nic", "dmtf-spdm", good("dmtf-spdm")))
			r.Bindings = append(r.Bindings, verdict.Binding{From: "nic", To: "cpu", Kind: "x", Strength: "strong", Status: "bound", Origin: "hardware"})
		}), verdict.TierWarning},
		{"hgx-8", "good", true, nil, verdict.TierAffirming},
		{"hgx-8", "one GPU", false, nil, verdict.TierNone},
		{"hgx-8", "seven GPUs", true, set(func(r *verdict.Result) { r.Components = slices.Delete(r.Components, 1, 2) }), verdict.TierNone},
		{"hgx-8", "not linked", true, set(func(r *verdict.Result) { r.Interconnects = nil }), verdict.TierNone},
		{"hgx-8", "bad links", true, set(func(r *verdict.Result) { r.Interconnects[0].Tier = verdict.TierContraindicated }), verdict.TierContraindicated},
	} {
		r := l.small()
		if c.hgx {
			r = l.hgx()
		}
		if c.change != nil {
			c.change(r)
		}
		if got, d := judged(t, mustLibrary(t, c.policy), r); got != c.want {
			t.Errorf("%s: %s: %s, want %s (%v)", c.policy, c.name, got, c.want, d)
		}
	}
}

// random makes results and makes them worse.
type random struct {
	*rand.Rand
	l *lab
}

func (g random) appraisal(scheme string) verdict.Appraisal {
	a := good(scheme)
	a.Claims = map[string]any{}
	for n := range a.Vector {
		a.Vector[n] = []verdict.Claim{2, 2, 2, 0, 32, 96}[g.IntN(6)]
	}
	if g.IntN(2) == 0 {
		a.Vector = good(scheme).Vector
		a.Claims = good(scheme).Claims
	}
	for _, code := range []string{verdict.ReasonExtraRoots, verdict.ReasonUnsignedReference, verdict.ReasonRevocationUnknown} {
		if g.IntN(8) == 0 {
			a.Fail(code, "random")
		}
	}
	return a
}

func (g random) result() *verdict.Result {
	r := &verdict.Result{Time: testTime, Nonce: testNonce, Topology: "lead"}
	for n := range 1 + g.IntN(5) {
		scheme := labSchemes[g.IntN(len(labSchemes))]
		if n == 0 && g.IntN(4) > 0 {
			scheme = labSchemes[g.IntN(3)]
		}
		c := g.l.component(fmt.Sprint("part/", n), scheme, g.appraisal(scheme))
		c.Required = g.IntN(4) > 0
		r.Components = append(r.Components, c)
		if n > 0 {
			r.Bindings = append(r.Bindings, verdict.Binding{
				From: c.Label, To: r.Components[g.IntN(n)].Label, Kind: "k", Strength: []string{"strong", "strong", "nonce", "none"}[g.IntN(4)],
				Status: []string{"bound", "bound", "bound", "absent"}[g.IntN(4)], Origin: origins[g.IntN(4)],
			})
		}
	}
	if g.IntN(2) == 0 {
		i := verdict.Interconnect{Tier: []verdict.Tier{verdict.TierAffirming, verdict.TierWarning}[g.IntN(2)]}
		for n := range 8 {
			i.Devices = append(i.Devices, evidence.Path(fmt.Sprint("part/", n)))
		}
		i.Switches = i.Devices[:4]
		r.Interconnects = append(r.Interconnects, i)
	}
	return r
}

// worsen makes one thing about a result worse, and says what.
func (g random) worsen(r *verdict.Result) (*verdict.Result, string) {
	out := *r
	out.Components, out.Bindings = slices.Clone(r.Components), slices.Clone(r.Bindings)
	out.Caps, out.Interconnects = slices.Clone(r.Caps), slices.Clone(r.Interconnects)
	at := g.IntN(len(out.Components))
	c := &out.Components[at]
	c.Reasons = slices.Clone(c.Reasons)
	switch n := g.IntN(12); {
	case n == 0:
		out.Nonce = nil
		return &out, "no nonce"
	case n == 1:
		out.VerificationTime = testTime
		return &out, "another time"
	case n == 2:
		out.Caps = append(out.Caps, verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{Code: verdict.ReasonAsSubmitted}})
		return &out, "as submitted"
	case n == 3 && len(out.Bindings) > 0:
		b := &out.Bindings[g.IntN(len(out.Bindings))]
		b.Strength, b.Status = "none", "absent"
		return &out, "an edge less"
	case n == 4 && len(out.Bindings) > 0:
		b := &out.Bindings[g.IntN(len(out.Bindings))]
		if b.Strength == "strong" {
			b.Strength = "nonce"
		}
		return &out, "a weaker edge"
	case n == 5 && len(out.Bindings) > 0:
		b := &out.Bindings[g.IntN(len(out.Bindings))]
		b.Origin = origins[max(0, slices.Index(origins, b.Origin)-1)]
		return &out, "a weaker origin"
	case n == 6 && len(out.Interconnects) > 0:
		out.Interconnects[0].Unattested = []string{"x:1"}
		return &out, "a stranger on the board"
	case n == 7 && len(out.Interconnects) > 0:
		out.Interconnects[0].Tier = verdict.Worst(out.Interconnects[0].Tier, verdict.TierContraindicated)
		return &out, "a bad board"
	case n == 8 && c.Tier() != verdict.TierContraindicated: // to hear nothing of what is bad would be better
		c.Partial, c.Reasons = verdict.Partial{}, append(c.Reasons, verdict.Reason{Code: verdict.ReasonTimeout})
		return &out, "no answer"
	case n == 9:
		c.Required = true
		return &out, "required"
	case n == 10:
		c.Lowered = c.Lowered.Lower(verdict.Vector{verdict.Hardware: 96})
		return &out, "lowered"
	}
	codes := []string{verdict.ReasonUnsignedReference, verdict.ReasonRevocationUnknown, verdict.ReasonBindingBroken, verdict.ReasonPolicyNone}
	c.Reasons = append(c.Reasons, verdict.Reason{Code: codes[g.IntN(len(codes))]})
	return &out, "a reason more"
}

// TestMonotone: whatever gets worse, no policy of the library makes the outcome
// better.
func TestMonotone(t *testing.T) {
	g := random{rand.New(rand.NewPCG(1, 2)), newLab(t)}
	var all []*Policy
	for _, name := range Names() {
		p, err := Options{Budget: 10 * DefaultBudget}.Library(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	moved := 0
	for range 120 {
		r := g.result()
		for range 4 {
			worse, what := g.worsen(r)
			for _, p := range all {
				before, _ := judged(t, p, r)
				after, d := judged(t, p, worse)
				if before.WorseThan(after) {
					t.Fatalf("%s: %s made %s of %s: %+v\nwas %+v\nnow %+v", p.id, what, after, before, d, r, worse)
				}
				if after.WorseThan(before) {
					moved++
				}
			}
			r = worse
		}
	}
	if moved < 100 {
		t.Errorf("only %d changes made anything worse", moved)
	}
}

// FuzzLoad: no text is more than an error, and what loads can be evaluated.
func FuzzLoad(f *testing.F) {
	for _, name := range Names() {
		text, tests, err := Source(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(tests)
	}
	f.Add([]byte("package assize\n" + loop))
	for _, deep := range []string{"[", "{", "(", "not ", "-", "1+", "{1|", "x[", "f(", "{} else := ", "every x in "} {
		f.Add([]byte("package assize\nannotations.x := \"y\" if " + strings.Repeat(deep, 5000) + "1"))
	}
	r := newLab(f).small()
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Options{Budget: DefaultBudget / 4}.Load("fuzz", text)
		if err != nil {
			return
		}
		for _, finding := range first2(p.Components(t.Context(), r)) {
			if finding.Detail == "" {
				t.Error("a finding without detail")
			}
		}
		d, err := p.Composite(t.Context(), r)
		if err == nil && len(d.Annotations) > verdict.MaxAnnotations {
			t.Errorf("%d annotations", len(d.Annotations))
		}
	})
}

func first2[T any](v T, _ error) T { return v }

// FuzzFindings: a policy that says any JSON value gives findings that are in
// order, or an error.
func FuzzFindings(f *testing.F) {
	for _, s := range []string{
		`{"label": "cpu", "tier": "warning", "detail": "d"}`, `{"label": "cpu", "claims": {"hardware": 32}, "detail": "d"}`, `{"tier": "none", "detail": "d"}`,
		`1`, `null`, `[]`, `{}`, `"x"`, `{"label": "cpu", "claims": {"hardware": 1e2}, "detail": "d"}`, `{"detail": "\u0000"}`,
	} {
		f.Add(s)
	}
	r := newLab(f).small()
	f.Fuzz(func(t *testing.T, value string) {
		text := "package assize\ncomponent contains x if some x in said\ncomposite contains x if some x in said\nsaid := [" + value + "]\n"
		p, err := Load("fuzz", []byte(text))
		if err != nil {
			return
		}
		found, err := p.Components(t.Context(), r)
		for _, x := range found {
			if err != nil || x.Label != "cpu" && x.Label != "gpu/0" || x.Detail == "" || len(x.Detail) > MaxDetail {
				t.Errorf("%+v %v", x, err)
			}
			for n, c := range x.Lowered {
				if c != 0 && c != verdict.ClaimCryptoFailed && !slices.Contains(worse[verdict.ClaimName(n)], c) {
					t.Errorf("%s %d", verdict.ClaimName(n), c)
				}
			}
		}
		d, err := p.Composite(t.Context(), r)
		for _, c := range d.Caps {
			if err != nil || c.Reason.Detail == "" || verdict.ReasonCeiling(c.Reason.Code) != c.Tier {
				t.Errorf("%+v %v", c, err)
			}
		}
	})
}
