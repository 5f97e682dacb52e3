// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"fmt"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

// membership are the caps for the domains of one document that are about this
// machine.
func (r *relation) membership(b *book) []verdict.Cap {
	var caps []verdict.Cap
	own := r.concerned(b)
	for i, d := range b.domains {
		if !own[i] {
			continue
		}
		if !b.complete[i] {
			caps = append(caps, r.missing(b, d))
		}
		if !r.within(b, i, own) {
			caps = append(caps, r.unexpected(b, i)...)
		}
	}
	return caps
}

// concerned finds the domains that are about this machine.
func (r *relation) concerned(b *book) []bool {
	own := make([]bool, len(b.domains))
	var mark func(i int)
	mark = func(i int) {
		if own[i] {
			return
		}
		own[i] = true
		for _, m := range b.domains[i].Members {
			for j := range b.domains {
				if m.Covers(b.domains[j].Environment) {
					mark(j)
				}
			}
		}
	}
	for i, d := range b.domains {
		if len(r.match(d.Environment, some)) > 0 || slices.ContainsFunc(d.Members, func(m corim.Environment) bool {
			return m.Instance.Set() && len(r.match(m, some)) > 0
		}) {
			mark(i)
		}
	}
	return own
}

// missing is the cap for a domain that is not complete.
func (r *relation) missing(b *book, d corim.Domain) verdict.Cap {
	var absent []string
	for _, m := range d.Members {
		if !r.present(b, m) {
			absent = append(absent, "{"+m.String()+"}")
		}
	}
	return verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{
		Code: verdict.ReasonMissingMember,
		Detail: fmt.Sprintf("of {%s} no component with a result is %s (%s, revision %s)",
			d.Environment, listed(absent), d.Source, r.revision),
	}}
}

// within tells whether domain i is a member of another one about this machine.
func (r *relation) within(b *book, i int, own []bool) bool {
	for j, d := range b.domains {
		if j != i && own[j] && d.Environment != b.domains[i].Environment && slices.ContainsFunc(d.Members, func(m corim.Environment) bool {
			return m.Covers(b.domains[i].Environment)
		}) {
			return true
		}
	}
	return false
}

// unexpected caps for components outside a domain that the CPU TEE is in
// (decision D-65). Several triples about one domain add up.
func (r *relation) unexpected(b *book, i int) []verdict.Cap {
	e := b.domains[i].Environment
	in := r.behind(b, e, every)
	if !slices.ContainsFunc(r.behind(b, e, some), func(j int) bool { return r.parts[j].Class == verdict.ClassCPU }) {
		return nil
	}
	var extra []string
	for j, c := range r.parts {
		// One that nothing is known of is not affirming anyway.
		known := len(r.names[j].some) > 0 || c.Tier() == verdict.TierAffirming
		if known && !slices.Contains(in, j) {
			extra = append(extra, string(c.Label))
		}
	}
	if extra == nil {
		return nil
	}
	return []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{
		Code: verdict.ReasonUnexpected,
		Detail: fmt.Sprintf("not among the members of {%s}: %s (%s, revision %s)",
			e, listed(extra), b.domains[i].Source, r.revision),
	}}}
}

// reliance is one statement that a component depends on others.
type reliance struct {
	on     []int // components
	absent []string
	source corim.Source
}

// tier is the best that who relies so can be.
func (d reliance) tier(tiers []verdict.Tier) verdict.Tier {
	t := verdict.TierAffirming
	if len(d.absent) > 0 {
		t = verdict.TierNone
	}
	for _, i := range d.on {
		t = verdict.Worst(t, tiers[i])
	}
	return t
}

// depend caps every component at what it depends on, also through others
// (decision D-66). Tiers only get worse on the way, so it comes to an end
// whatever the statements are.
func (r *relation) depend(list []corim.TrustDependency) {
	relies := make([][]reliance, len(r.parts))
	for _, d := range list {
		b := r.books[d.Source.Document()]
		for _, i := range r.behind(b, d.Subject, some) {
			if one := r.reliance(b, d, i); len(one.on)+len(one.absent) > 0 {
				relies[i] = append(relies[i], one)
			}
		}
	}
	tiers := make([]verdict.Tier, len(r.parts))
	for i, c := range r.parts {
		tiers[i] = c.Tier()
	}
	for changed := true; changed; {
		changed = false
		for i := range relies {
			for _, d := range relies[i] {
				if t := d.tier(tiers); t.WorseThan(tiers[i]) {
					tiers[i], changed = t, true
				}
			}
		}
	}
	for i := range relies {
		r.explain(i, relies[i], tiers)
	}
}

// reliance says on what component i depends by d.
func (r *relation) reliance(b *book, d corim.TrustDependency, i int) reliance {
	out := reliance{source: d.Source}
	for _, e := range d.Trustees {
		if !r.trusteePresent(b, e) {
			out.absent = append(out.absent, "{"+e.String()+"}")
		}
		out.on = append(out.on, r.behind(b, e, some)...)
	}
	slices.Sort(out.on)
	out.on = slices.DeleteFunc(slices.Compact(out.on), func(j int) bool { return j == i })
	return out
}

func (r *relation) trusteePresent(b *book, e corim.Environment) bool {
	if b == nil {
		b = new(book)
	}
	return r.present(b, e)
}

// explain adds a reason for every statement about component i: those that lower
// it, and, for information, what else it depends on.
func (r *relation) explain(i int, list []reliance, tiers []verdict.Tier) {
	const most = 8 // statements that lower nothing more are left out from here on
	c := &r.parts[i]
	before := c.Tier()
	for n, d := range list {
		code := verdict.ReasonDependsOn
		t := d.tier(tiers)
		if lowers := t.WorseThan(before); !lowers && n >= most {
			continue
		} else if lowers {
			code = dependsOn(t)
		}
		what := d.absent
		for _, j := range d.on {
			if tiers[j] == t || !t.WorseThan(before) {
				what = append(what, fmt.Sprintf("%s (%s)", r.parts[j].Label, tiers[j]))
			}
		}
		detail := fmt.Sprintf("depends on %s (%s, revision %s)", listed(what), d.source, r.revision)
		if len(d.absent) > 0 {
			detail = fmt.Sprintf("depends on what is not there or has no result: %s (%s, revision %s)", listed(what), d.source, r.revision)
		}
		if n >= most && slices.ContainsFunc(c.Reasons, func(x verdict.Reason) bool { return x.Code == code }) {
			continue
		}
		c.Reasons = append(c.Reasons, verdict.Reason{Code: code, Detail: detail})
	}
}

// dependsOn is the code whose ceiling is t.
func dependsOn(t verdict.Tier) string {
	switch t {
	case verdict.TierAffirming:
		return verdict.ReasonDependsOn
	case verdict.TierWarning:
		return verdict.ReasonDependsOnWarning
	case verdict.TierNone:
		return verdict.ReasonDependsOnNone
	}
	return verdict.ReasonDependsOnBad
}
