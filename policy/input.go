// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// Members of the input (docs/policies.md).
const (
	inSession       = "session"
	inComponents    = "components"
	inReasons       = "reasons"
	inSchemes       = "schemes"
	inClasses       = "classes"
	inTiers         = "tiers"
	inOptional      = "optional"
	inTier          = "tier"
	inCaps          = "caps"
	inBindings      = "bindings"
	inBound         = "bound"
	inWays          = "ways"
	inInterconnects = "interconnects"
	inRequirements  = "requirements"
)

// input is what a hook sees of a result: the members that its rules name.
func input(r *verdict.Result, need sections) *ast.Term {
	in := map[string]any{}
	parts := partsOf(r)
	for _, m := range []struct {
		name string
		make func(*verdict.Result, []part, sections) ast.Value
	}{
		{inSession, session}, {inComponents, components}, {inReasons, reasonsOf}, {inSchemes, schemesOf}, {inClasses, classesOf}, {inTiers, tiersOf},
		{inOptional, optionalOf}, {inTier, tier}, {inCaps, capsOf}, {inBindings, bindings},
		{inBound, bound}, {inWays, waysOf}, {inInterconnects, interconnects}, {inRequirements, requirementsOf},
	} {
		if need.input.has(m.name) {
			in[m.name] = m.make(r, parts, need)
		}
	}
	return ast.NewTerm(ast.LazyObject(in))
}

// object makes an object of names and values in turns; nil values are left out.
func object(members ...any) ast.Value {
	pairs := make([][2]*ast.Term, 0, len(members)/2)
	for i := 0; i < len(members); i += 2 {
		var v ast.Value
		switch x := members[i+1].(type) {
		case nil:
			continue
		case ast.Value:
			v = x
		case string:
			v = ast.String(x)
		case bool:
			v = ast.Boolean(x)
		}
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(members[i].(string)), ast.NewTerm(v)})
	}
	return ast.NewObject(pairs...)
}

// array makes an array of whatever can be made a value.
func array[T any](list []T, value func(T) ast.Value) ast.Value {
	terms := make([]*ast.Term, len(list))
	for i, x := range list {
		terms[i] = ast.NewTerm(value(x))
	}
	return ast.NewArray(terms...)
}

func word[T ~string](s T) ast.Value { return ast.String(s) }

// part is a component and what its verifiers said of it.
type part struct {
	*verdict.Component
	// name is the label as a value once it was asked for.
	name *ast.Term
	// answered: one of the worst verifiers has an answer, which is Partial.
	answered bool
}

func partsOf(r *verdict.Result) []part {
	out := make([]part, len(r.Components))
	for i := range r.Components {
		p := &out[i]
		p.Component = &r.Components[i]
		p.answered = !p.Partial.IsZero()
	}
	return out
}

func (p *part) label() *ast.Term {
	if p.name == nil {
		p.name = ast.StringTerm(string(p.Label))
	}
	return p.name
}

// answers are what all verifiers said, one of the worst first.
func (p *part) answers(yield func(*verdict.Partial) bool) {
	if !p.answered || !yield(&p.Partial) {
		return
	}
	for i := range p.Others {
		if !yield(&p.Others[i]) {
			return
		}
	}
}

func session(r *verdict.Result, parts []part, need sections) ast.Value {
	sees := need.input.at(inSession)
	at, overridden := r.Time, !r.VerificationTime.IsZero()
	if overridden {
		at = r.VerificationTime
	}
	var when, simulated any // nil leaves out what nobody looks at
	if sees.has("time") {
		when = at.UTC().Format(time.RFC3339)
	}
	if sees.has("simulated") {
		simulated = anySimulated(parts)
	}
	return object(
		"id", r.Session, "time", when, "time_overridden", overridden, "nonce_given", len(r.Nonce) > 0,
		"topology", r.Topology, "node", r.Node, "simulated", simulated,
	)
}

func anySimulated(parts []part) bool {
	for i := range parts {
		if parts[i].simulated() {
			return true
		}
	}
	return false
}

// simulated: some verifier says that it trusted roots beyond those of the vendors.
func (p *part) simulated() bool {
	for a := range p.answers {
		for x := range a.Reasons() {
			if x.Code == verdict.ReasonExtraRoots {
				return true
			}
		}
	}
	return false
}

func components(_ *verdict.Result, parts []part, need sections) ast.Value {
	pairs := make([][2]*ast.Term, 0, len(parts))
	claims := need.claims()
	// Most devices of a machine differ in nothing that a policy asks for: those whose
	// claims do not, where it asks for nothing else, are one value.
	alike := !need.whole && (len(need.names) == 0 || len(need.names) == 1 && need.names[inClaims])
	var last *ast.Term
	for i := range parts {
		p := &parts[i]
		if last == nil || !alike || claims != nil && !claims.same(p.claims(), parts[i-1].claims()) {
			v, made := p.made(need, claims)
			if !made {
				return lazily(parts, need)
			}
			last = ast.NewTerm(v)
		}
		pairs = append(pairs, [2]*ast.Term{p.label(), last})
	}
	return ast.NewObject(pairs...)
}

// made is the component with nothing but the members and claims that the rules name.
// It is false where they may come to more than that, or to claims that are lists or
// objects.
func (p *part) made(need sections, claims *seen) (ast.Value, bool) {
	if need.whole {
		return nil, false
	}
	pairs := make([][2]*ast.Term, 0, len(need.names))
	if claims != nil {
		v, made := claims.of(p.claims())
		if !made {
			return nil, false
		}
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(inClaims), ast.NewTerm(v)})
	}
	for i := range members {
		if m := &members[i]; need.names[m.name] && (p.answered || !m.answered) {
			pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(m.name), m.value(p)})
		}
	}
	return ast.NewObject(pairs...), true
}

func lazily(parts []part, need sections) ast.Value {
	out := make(map[string]any, len(parts))
	for i := range parts {
		out[string(parts[i].Label)] = parts[i].value(need)
	}
	return ast.LazyObject(out)
}

// value is the component as a policy sees it. What the rules name is made at once.
// What they do not name is made when a rule comes to it all the same, by a name that
// it has put together or by looking at all members: if it were not there, the rule
// would be silently undefined. It is left out only where every rule writes the name
// of the member behind that of the component. What the evidence says of itself is not turned into
// values before a rule looks at it.
func (p *part) value(need sections) ast.Value {
	out := make(map[string]any)
	var rest []unmade
	if need.whole {
		rest = make([]unmade, len(members))
	}
	for i := range members {
		m := &members[i]
		switch {
		case m.answered && !p.answered:
		case need.names[m.name]:
			out[m.name] = m.value(p).Value
		case need.whole:
			rest[i] = unmade{p, m}
			out[m.name] = later{&rest[i]}
		}
	}
	out[inClaims] = p.claims()
	return ast.LazyObject(out)
}

// claims are those of the answer, empty without one.
func (p *part) claims() map[string]any {
	if p.answered {
		if claims := p.Partial.Claims(); claims != nil {
			return claims
		}
	}
	return map[string]any{}
}

// later is a member of a component that is made when somebody asks for it. It is no
// pointer itself: a lazy object would read the value into what that points to.
type later struct{ *unmade }

type unmade struct {
	part   *part
	member *member
}

// MarshalJSON is how a lazy object comes to the value.
func (l later) MarshalJSON() ([]byte, error) {
	v, err := ast.JSON(l.member.value(l.part).Value)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// inClaims is the member of a component with the claims of its evidence.
const inClaims = "claims"

// member is one of the other members of a component.
type member struct {
	name  string
	value func(p *part) *ast.Term
	// answered: it is there only with a result.
	answered bool
}

var members = []member{
	{"tier", func(p *part) *ast.Term { return ast.InternedTerm(p.Tier().String()) }, false},
	{"scheme", func(p *part) *ast.Term { return ast.StringTerm(p.Scheme) }, false},
	{"class", func(p *part) *ast.Term { return ast.StringTerm(p.Class) }, false},
	{"media_type", func(p *part) *ast.Term { return ast.StringTerm(p.MediaType) }, false},
	{"required", func(p *part) *ast.Term { return ast.InternedTerm(p.Required) }, false},
	{"nonce_rule", func(p *part) *ast.Term { return ast.StringTerm(p.NonceRule) }, false},
	{"freshness", func(p *part) *ast.Term { return ast.StringTerm(string(p.freshness())) }, false},
	{"reasons", func(p *part) *ast.Term { return ast.NewTerm(p.reasons()) }, false},
	{"trust_vector", func(p *part) *ast.Term { return ast.NewTerm(p.vector()) }, false},
	{"appraisal_policy", func(p *part) *ast.Term { return ast.StringTerm(p.appraisalPolicy()) }, false},
	{"reference_revision", func(p *part) *ast.Term { return ast.StringTerm(p.Partial.ReferenceRevision()) }, false},
	{"verifier", func(p *part) *ast.Term {
		who, kid := p.Partial.Verifier()
		return ast.NewTerm(object("developer", who.Developer, "build", who.Build, "kid", kid))
	}, true},
}

// reasons are those of all verifiers, then the lead's.
func (p *part) reasons() ast.Value {
	var why []verdict.Reason
	for a := range p.answers {
		why = slices.AppendSeq(why, a.Reasons())
	}
	return array(append(why, p.Reasons...), reason)
}

// index has for every text the labels of the components that have it, in their
// order: for every text that the rules name, if they name any.
func index(parts []part, sees *seen, of func(i int, note func(text string))) ast.Value {
	var keys []string // in the order in which they come: there are few
	var labels [][]*ast.Term
	for i := range parts {
		of(i, func(text string) {
			if !sees.has(text) {
				return
			}
			at, label := slices.Index(keys, text), parts[i].label()
			if at < 0 {
				at, keys = len(keys), append(keys, text)
				labels = append(labels, make([]*ast.Term, 0, len(parts)-i))
			}
			if have := labels[at]; len(have) == 0 || have[len(have)-1] != label {
				labels[at] = append(have, label)
			}
		})
	}
	pairs := make([][2]*ast.Term, len(keys))
	for i, text := range keys {
		pairs[i] = [2]*ast.Term{ast.InternedTerm(text), ast.ArrayTerm(labels[i]...)}
	}
	return ast.NewObject(pairs...)
}

func reasonsOf(_ *verdict.Result, parts []part, need sections) ast.Value {
	return index(parts, need.input.at(inReasons), func(i int, note func(string)) {
		p := &parts[i]
		for a := range p.answers {
			for x := range a.Reasons() {
				note(x.Code)
			}
		}
		for _, x := range p.Reasons {
			note(x.Code)
		}
	})
}

func schemesOf(_ *verdict.Result, parts []part, need sections) ast.Value {
	return index(parts, need.input.at(inSchemes), func(i int, note func(string)) { note(parts[i].Scheme) })
}

func classesOf(_ *verdict.Result, parts []part, need sections) ast.Value {
	return index(parts, need.input.at(inClasses), func(i int, note func(string)) { note(parts[i].Class) })
}

func tiersOf(_ *verdict.Result, parts []part, need sections) ast.Value {
	return index(parts, need.input.at(inTiers), func(i int, note func(string)) { note(parts[i].Tier().String()) })
}

func optionalOf(r *verdict.Result, _ []part, _ sections) ast.Value {
	var out []evidence.Path
	for i := range r.Components {
		if !r.Components[i].Required {
			out = append(out, r.Components[i].Label)
		}
	}
	return array(out, word)
}

func (p *part) appraisalPolicy() string {
	if !p.answered {
		return ""
	}
	return p.Partial.AppraisalPolicy()
}

// freshness is the worst of all answers, and not established by nobody.
func (p *part) freshness() verdict.Freshness {
	if !p.answered {
		return verdict.FreshnessNotEstablished
	}
	out := verdict.FreshnessFresh
	for a := range p.answers {
		switch a.Freshness() {
		case verdict.FreshnessMismatch:
			return verdict.FreshnessMismatch
		case verdict.FreshnessFresh:
		default:
			out = verdict.FreshnessNotEstablished
		}
	}
	return out
}

// vector has the claims that assert something: the worst of all answers, without
// what the lead took back because nobody vouches for it (decision D-80), and with
// what a policy lowered. A claim about which one of several verifiers says nothing
// is in it only if another holds something against the component.
func (p *part) vector() ast.Value {
	var v verdict.Vector
	if p.answered {
		v = p.Partial.Asserted()
	}
	for i := range p.Others {
		for n, claim := range p.Others[i].Asserted() {
			if badness(claim) > badness(v[n]) {
				v[n] = claim
			}
		}
	}
	all := p.unknown()
	for n, claim := range p.VectorOf(v) {
		if claim != verdict.ClaimNone {
			all[verdict.ClaimName(n).String()] = claim
		}
	}
	pairs := make([][2]*ast.Term, 0, len(all))
	for name, claim := range all {
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(name), ast.InternedTerm(int(claim))})
	}
	return ast.NewObject(pairs...)
}

// unknown are the worst values of claims that AR4SI does not define, and which
// count all the same (decision D-44).
func (p *part) unknown() map[string]verdict.Claim {
	out := map[string]verdict.Claim{}
	for _, r := range p.Partials() {
		for name, claim := range r.Unknown() {
			if have, ok := out[name]; !ok || badness(claim) > badness(have) {
				out[name] = claim
			}
		}
	}
	return out
}

// badness orders claims: good, nothing said, and then as tiers are.
func badness(c verdict.Claim) int {
	switch t := c.Tier(); {
	case t == verdict.TierAffirming:
		return 0
	case c == verdict.ClaimNone, c == verdict.ClaimUnexpected:
		return 1
	case t == verdict.TierWarning:
		return 2
	case t == verdict.TierContraindicated:
		return 4
	}
	return 3 // malfunction
}

func reason(x verdict.Reason) ast.Value { return object("code", x.Code, "detail", x.Detail) }

func tier(r *verdict.Result, _ []part, _ sections) ast.Value {
	return ast.String(r.Outcome.Tier.String())
}

func capsOf(r *verdict.Result, _ []part, _ sections) ast.Value {
	return array(r.Caps, func(c verdict.Cap) ast.Value {
		return object("tier", c.Tier.String(), "code", c.Reason.Code, "detail", c.Reason.Detail)
	})
}

func bindings(r *verdict.Result, _ []part, _ sections) ast.Value {
	return array(r.Bindings, func(b verdict.Binding) ast.Value {
		return object("from", word(b.From), "to", word(b.To), "kind", b.Kind, "strength", b.Strength, "status", b.Status, "origin", b.Origin)
	})
}

func bound(r *verdict.Result, _ []part, _ sections) ast.Value {
	all := ways(r.Components, r.Bindings, true)
	root, ok := rootOf(r.Components)
	pairs := make([][2]*ast.Term, 0, len(all))
	var last *ast.Term // most components have the same way
	var was way
	for i, w := range all {
		if ok && i == root {
			continue
		}
		if last == nil || w.strength != was.strength || w.origin != was.origin || !slices.Equal(w.via, was.via) {
			last, was = ast.NewTerm(object("strength", w.strength, "origin", w.origin, "via", array(w.via, word[string]))), w
		}
		pairs = append(pairs, [2]*ast.Term{ast.StringTerm(string(r.Components[i].Label)), last})
	}
	return ast.NewObject(pairs...)
}

// waysOf has for every strength with its origin the labels of the components whose
// best path has them.
func waysOf(r *verdict.Result, parts []part, need sections) ast.Value {
	all := ways(r.Components, r.Bindings, false)
	root, ok := rootOf(r.Components)
	var how string // most components have the same way
	var last *way
	return index(parts, need.input.at(inWays), func(i int, note func(string)) {
		w := &all[i]
		if ok && i == root {
			return
		}
		if last == nil || w.strength != last.strength || w.origin != last.origin {
			how, last = strings.TrimSuffix(w.strength+" "+w.origin, " "), w
		}
		note(how)
	})
}

func interconnects(r *verdict.Result, _ []part, _ sections) ast.Value {
	return array(r.Interconnects, func(i verdict.Interconnect) ast.Value {
		return object("tier", i.Tier.String(), "configuration", ast.InternedTerm(int(i.Configuration)).Value,
			"devices", array(i.Devices, word), "switches", array(i.Switches, word), "unattested", array(i.Unattested, word[string]),
			"reasons", array(i.Reasons, reason))
	})
}

func requirementsOf(r *verdict.Result, _ []part, _ sections) ast.Value {
	return array(r.Requirements, func(q verdict.Requirement) ast.Value {
		count := func(n *int) any {
			if n == nil {
				return nil
			}
			return ast.InternedTerm(*n).Value
		}
		return object("label", q.Label, "scheme", q.Scheme, "exactly", count(q.Exactly), "at_least", count(q.AtLeast),
			"optional", q.Optional, "source", q.Source)
	})
}
