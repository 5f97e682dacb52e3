// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

// References is where a lead has documents about membership and trust dependency
// from. It is safe for concurrent use.
type References interface {
	// Snapshot returns what is in force at a time: one immutable set for one
	// appraisal, never nil.
	Snapshot(now time.Time) (*corim.Index, error)
}

// consult lets documents lower components and the whole (related). It returns
// their revision and the caps. A lead that has documents and cannot read them
// does not go on as if there were none.
func (o *Orchestrator) consult(now, at time.Time, parts []verdict.Component) (string, []verdict.Cap) {
	if o.o.References == nil {
		return "", nil
	}
	x, err := snapshot(o.o.References, now)
	if err != nil {
		return "", []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{
			Code: verdict.ReasonNoCollateral, Detail: "the documents about membership and dependency cannot be read"}}}
	}
	if at.IsZero() {
		at = now
	}
	return x.Revision(), relate(x, at, parts)
}

func snapshot(r References, now time.Time) (x *corim.Index, err error) {
	defer func() {
		if p := recover(); p != nil {
			x, err = nil, fmt.Errorf("orchestrator: documents: panic: %v", p)
		}
	}()
	if x, err = r.Snapshot(now); err == nil && x == nil {
		err = errors.New("orchestrator: documents: no snapshot")
	}
	return x, err
}

// RecheckReferences repeats, on the relying party's side, what documents about
// membership and trust dependency demand of a verdict. It needs the documents that
// the lead had: another revision is an error. The result must have passed
// verdict.VerifyResult and Recheck, which already keep every cap and reason that
// the lead took from documents, and need none for that.
func RecheckReferences(r *verdict.Result, x *corim.Index) error {
	if r.References != x.Revision() {
		return fmt.Errorf("orchestrator: the verdict was made with documents of revision %q, and these are %s", r.References, x.Revision())
	}
	at := r.VerificationTime
	if at.IsZero() {
		at = r.Time
	}
	parts := slices.Clone(r.Components)
	for i := range parts {
		parts[i].Reasons = slices.Clone(parts[i].Reasons)
	}
	caps := relate(x, at, parts)
	allowed := verdict.Combine(parts, append(slices.Clone(r.Caps), caps...))
	if allowed.Tier.WorseThan(r.Outcome.Tier) {
		return fmt.Errorf("orchestrator: the verdict says %s, but by documents of revision %s it is %s: %v",
			r.Outcome.Tier, short(x.Revision()), allowed.Tier, allowed.Reasons)
	}
	for i, c := range r.Components {
		if t := parts[i].Tier(); t.WorseThan(c.Tier()) {
			return fmt.Errorf("orchestrator: the verdict says %s of %s, but by documents of revision %s it is %s", c.Tier(), c.Label, short(x.Revision()), t)
		}
	}
	return nil
}

// relate applies membership and trust dependency triples to components at time
// at. It only ever adds reasons to parts, and returns caps (decisions D-65, D-66,
// D-69):
//
//   - A component is no better than what it depends on. A trustee that is not
//     there has no verdict.
//   - Of a domain that is about this machine no member is missing, and if the
//     CPU TEE is in it, no component is outside. Either caps at warning.
//
// A domain is about this machine if it has the name of a component, if a member
// is a device of this machine by its instance, or if it is a member of such a
// domain. One that only names classes is about machines of that kind: it demands
// nothing, because nobody could tell a lost part from another kind of machine.
//
// The name of a domain, as a member, subject or trustee, stands for what the same
// document says about it. So a document can only ask for more than the others ask
// for already, and no document fills a gap that another one has found.
func relate(x *corim.Index, at time.Time, parts []verdict.Component) []verdict.Cap {
	names := make([]named, len(parts))
	var all []corim.Environment
	for i := range parts {
		n, err := namesOf(parts[i])
		if err != nil {
			parts[i].Reasons = append(parts[i].Reasons, verdict.Reason{Code: verdict.ReasonBadPAR, Detail: err.Error()})
		}
		names[i] = n
		all = append(all, n.some...)
	}
	// Statements of one set hold for whole seconds, as a verdict has them.
	t := x.Topology(at.Truncate(time.Second), all)
	if len(t.Domains) == 0 && len(t.Dependencies) == 0 {
		return nil
	}
	r := relation{parts: parts, names: names, revision: short(x.Revision()), books: map[*corim.Document]*book{}}
	r.read(t.Domains)
	var caps []verdict.Cap
	for _, b := range r.order {
		caps = append(caps, r.membership(b)...)
	}
	r.depend(t.Dependencies)
	return caps
}

// named is a component by the environments that its results give it: those that
// some result has, which count against it, and those that every one has, which
// count for it.
type named struct{ some, every []corim.Environment }

func namesOf(c verdict.Component) (named, error) {
	var n named
	for i, p := range c.Partials() {
		var own []corim.Environment
		for _, text := range p.Appraisal().Facts.Environments {
			raw, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil {
				return named{some: n.some}, errors.New("the verifier names an environment that is none")
			}
			e, err := corim.ParseEnvironment(raw)
			if err != nil {
				return named{some: n.some}, errors.New("the verifier names an environment that is none")
			}
			own = append(own, e)
		}
		n.some = append(n.some, own...)
		if i == 0 {
			n.every = slices.Clone(own)
			continue
		}
		n.every = slices.DeleteFunc(n.every, func(e corim.Environment) bool { return !slices.Contains(own, e) })
	}
	return n, nil
}

// some and every choose between the names of a component.
func some(n named) []corim.Environment  { return n.some }
func every(n named) []corim.Environment { return n.every }

// relation is the state of relate.
type relation struct {
	parts    []verdict.Component
	names    []named
	revision string
	books    map[*corim.Document]*book
	order    []*book
}

// book is what one document says about domains.
type book struct {
	domains  []corim.Domain
	complete []bool
}

// read sorts domains by document, and finds those of which every member is there.
// Members come before the domains that they are in.
func (r *relation) read(domains []corim.Domain) {
	for _, d := range domains {
		b := r.books[d.Source.Document()]
		if b == nil {
			b = new(book)
			r.books[d.Source.Document()] = b
			r.order = append(r.order, b)
		}
		b.complete = append(b.complete, !slices.ContainsFunc(d.Members, func(m corim.Environment) bool { return !r.present(b, m) }))
		b.domains = append(b.domains, d)
	}
}

// present tells whether an environment stands for a component that is there, or
// for a domain of the document that is complete.
func (r *relation) present(b *book, e corim.Environment) bool {
	if len(r.match(e, every)) > 0 {
		return true
	}
	for i, ok := range b.complete {
		if ok && e.Covers(b.domains[i].Environment) {
			return true
		}
	}
	return false
}

// match lists the components that an environment stands for by itself.
func (r *relation) match(e corim.Environment, by func(named) []corim.Environment) []int {
	var out []int
	for i, n := range r.names {
		if slices.ContainsFunc(by(n), e.Covers) {
			out = append(out, i)
		}
	}
	return out
}

// behind lists the components that an environment stands for, by itself or as a
// domain of the document.
func (r *relation) behind(b *book, e corim.Environment, by func(named) []corim.Environment) []int {
	out := r.match(e, by)
	if b != nil {
		entered := make([]bool, len(b.domains))
		for i := range b.domains {
			if e.Covers(b.domains[i].Environment) {
				out = append(out, r.inside(b, i, by, entered)...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// inside lists the components in domain i, at any depth.
func (r *relation) inside(b *book, i int, by func(named) []corim.Environment, entered []bool) []int {
	if entered[i] {
		return nil
	}
	entered[i] = true
	var out []int
	for _, m := range b.domains[i].Members {
		out = append(out, r.match(m, by)...)
		for j := range b.domains {
			if m.Covers(b.domains[j].Environment) {
				out = append(out, r.inside(b, j, by, entered)...)
			}
		}
	}
	return out
}

// short is enough of a revision to tell it from another one; all of it is in the
// verdict.
func short(revision string) string { return revision[:min(len(revision), 16)] }

// listed joins the first of some names.
func listed(names []string) string {
	const most = 8
	if len(names) > most {
		return strings.Join(names[:most], "; ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, "; ")
}
