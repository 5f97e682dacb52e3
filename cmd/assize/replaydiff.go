// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
)

// difference is one thing that two results say otherwise. An empty text means that
// one of them says nothing of it.
type difference struct {
	// Component is a label path, empty for the whole.
	Component string `json:"component,omitempty"`
	What      string `json:"what"`
	Then      string `json:"then,omitempty"`
	Now       string `json:"now,omitempty"`
}

// ignored is what may differ without being a difference, beyond what has to.
type ignored struct {
	// time: it was appraised as of another time on purpose.
	time bool
	// defaults are schemes whose default policy was given as an edited one.
	defaults map[string]bool
}

// statement is one thing that a result says; of one kind there can be several.
type statement struct{ component, what string }

// statements are everything that a result says and that has to be the same again.
type statements map[statement][]string

// differences compares two results statement by statement, sorted. Sessions,
// requests, keys, durations and times of issue are not among them: they differ
// between any two appraisals.
func differences(then, now *verdict.Result, skip ignored) []difference {
	a, b := statementsOf(then, skip), statementsOf(now, skip)
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	out := []difference{}
	for k := range keys {
		gone, come := without(a[k], b[k]), without(b[k], a[k])
		for len(gone)+len(come) > 0 {
			d := difference{Component: k.component, What: k.what}
			if len(gone) > 0 {
				d.Then, gone = gone[0], gone[1:]
			}
			if len(come) > 0 {
				d.Now, come = come[0], come[1:]
			}
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(x, y difference) int {
		return cmp.Or(cmp.Compare(x.Component, y.Component), cmp.Compare(rank(x.What), rank(y.What)), cmp.Compare(x.What, y.What), cmp.Compare(x.Then, y.Then), cmp.Compare(x.Now, y.Now))
	})
	return out
}

// rank puts what matters most first, and the readable contents of evidence last.
func rank(what string) int {
	word, _, _ := strings.Cut(what, " ")
	order := []string{"tier", "trust", "freshness", "reason", "policy", "requirement", "binding", "interconnect"}
	switch i := slices.Index(order, word); {
	case word == "claim":
		return len(order) + 1
	case i < 0:
		return len(order)
	default:
		return i
	}
}

// without is a as often as it is there, less b, sorted.
func without(a, b []string) []string {
	left := map[string]int{}
	for _, s := range b {
		left[s]++
	}
	var out []string
	for _, s := range a {
		if left[s]--; left[s] < 0 {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// add notes what is said; an empty text says nothing.
func (s statements) add(component, what, value string) {
	if value == "" {
		return
	}
	k := statement{component, what}
	s[k] = append(s[k], value)
}

// statementsOf takes a result apart.
func statementsOf(r *verdict.Result, skip ignored) statements {
	s := statements{}
	s.add("", "tier", r.Outcome.Tier.String())
	s.add("", "topology", r.Topology)
	s.add("", "plan", fmt.Sprintf("%x", r.PlanDigest))
	s.add("", "composite", fmt.Sprintf("%x", r.Composite))
	s.add("", "nonce", fmt.Sprintf("%x", r.Nonce))
	s.add("", "node", r.Node)
	s.add("", "reference revision", r.References)
	if !skip.time {
		s.add("", "verification time", r.VerificationTime.UTC().String())
	}
	for _, c := range r.Caps {
		if skip.time && c.Reason.Code == verdict.ReasonTimeOverridden {
			continue
		}
		s.add("", "reason "+c.Reason.Code, c.Tier.String()+" at best: "+reasonLine(c.Reason))
	}
	for _, b := range r.Bindings {
		s.add("", fmt.Sprintf("binding %s to %s by %s", b.From, b.To, b.Kind), bindingLine(b))
	}
	for _, i := range r.Interconnects {
		s.add("", "interconnect", asJSON(i))
	}
	for _, q := range r.Requirements {
		s.add("", "requirement", q.String())
	}
	s.add("", "inventory", asJSON(r.Inventory))
	s.add("", "signer of the composite", asJSON(r.Lead))
	if r.Commitment != nil {
		c := *r.Commitment
		c.Nonce, c.Additional = nil, nil
		s.add("", "commitment", fmt.Sprintf("%+v", c))
	}
	s.policy(r.Policy)
	for label, c := range r.Document().Components {
		s.component(label, c, skip)
	}
	for _, c := range r.Components {
		s.add(string(c.Label), "evidence", fmt.Sprintf("%x", c.Evidence))
		s.add(string(c.Label), "nonce", strings.TrimSpace(c.NonceRule+fmt.Sprintf(" %x", c.Nonce)))
	}
	return s
}

func (s statements) policy(p *verdict.PolicyStatement) {
	if p == nil {
		return
	}
	s.add("", "policy", p.ID+", sha-256 "+p.Digest)
	s.add("", "policy accepts from", p.Acceptable.String())
	s.add("", "policy accepts it", fmt.Sprint(p.Accepted))
	for _, a := range p.Accepts {
		s.add("", "policy relaxes", a)
	}
	for key, text := range p.Annotations {
		s.add("", "annotation "+key, text)
	}
}

func (s statements) component(label string, c verdict.ComponentDocument, skip ignored) {
	id := c.AppraisalPolicy
	if skip.defaults[c.Scheme] && strings.HasPrefix(id, c.Scheme+":") {
		id = c.Scheme // its text, given as an edited one
	}
	for what, value := range map[string]string{
		"tier": c.Tier.String(), "scheme": c.Scheme, "media type": c.MediaType, "class": c.Class, "required": fmt.Sprint(c.Required),
		"freshness": string(c.Freshness), "reference revision": c.References, "appraisal policy": id, "site": c.Site,
	} {
		s.add(label, what, value)
	}
	for name, claim := range c.TrustVector {
		s.add(label, "trust "+name, fmt.Sprint(claim))
	}
	for _, r := range c.Reasons {
		s.add(label, "reason "+r.Code, reasonLine(r))
	}
	if c.Quorum != nil {
		tiers := make([]string, len(c.Quorum.Answers))
		for i, a := range c.Quorum.Answers {
			tiers[i] = a.Tier.String()
		}
		s.add(label, "quorum", fmt.Sprintf("%d of %d: %s", c.Quorum.Required, c.Quorum.Asked, strings.Join(tiers, ", ")))
	}
	if len(c.Sites)+len(c.Path) > 0 {
		s.add(label, "way", strings.Join(append(verdict.Names(c.Path), c.Sites...), ", "))
	}
	s.claims(label, "claim", any(c.Claims))
}

// claims goes down into the readable contents of evidence.
func (s statements) claims(label, at string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			s.claims(label, at+" "+name, member)
		}
	case []any:
		for i, member := range v {
			s.claims(label, fmt.Sprintf("%s[%d]", at, i), member)
		}
	default:
		s.add(label, at, asJSON(v))
	}
}

func bindingLine(b verdict.Binding) string {
	text := b.Status + ", " + b.Strength
	for _, part := range []struct{ name, value string }{
		{"origin", b.Origin}, {"compared", b.Compared}, {"expected", b.Expected}, {"observed", b.Observed},
	} {
		if part.value != "" {
			text += ", " + part.name + " " + part.value
		}
	}
	return text
}

func reasonLine(r verdict.Reason) string {
	text := r.Detail
	for _, part := range []struct{ name, value string }{{"expected", r.Expected}, {"observed", r.Observed}, {"source", r.Source}} {
		if part.value != "" {
			text += ", " + part.name + " " + part.value
		}
	}
	if text == "" {
		return r.Code
	}
	return text
}

// asJSON is a value as JSON.
func asJSON(v any) string {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(out.String())
}
