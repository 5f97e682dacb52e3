// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxAsked is the largest number of redundant verifiers of one component that a
// result can state.
const MaxAsked = 256

// Partials are all verified results about the component: Partial, then Others.
// Nil where there is none.
func (c Component) Partials() []Partial {
	if c.Partial.IsZero() && len(c.Others) == 0 {
		return nil
	}
	all := make([]Partial, 0, 1+len(c.Others))
	if !c.Partial.IsZero() {
		all = append(all, c.Partial)
	}
	return slices.DeleteFunc(append(all, c.Others...), Partial.IsZero)
}

// SetPartials puts the results of redundant verifiers in their places: the worst
// one into Partial, the others into Others, ordered from bad to good and then by
// kid, so that the order of arrival leaves no trace. Two results that were signed
// with one key, under whatever kid, are one verifier's: the worse of them counts
// and the other is dropped, so nobody fills a quorum twice.
//
// Quorum and Asked must be set before. SetPartials adds the reasons that a
// signed result has to state about them (quorum-disagreement with the tiers by
// kid, quorum-shared-service, quorum-not-reached, quorum-incomplete) in the place of those of an
// earlier call. silent says why verifiers did not answer; it becomes part of the
// detail. These reasons do not belong into Reasons, where each would lower the
// component to the ceiling of its code.
func SetPartials(c *Component, all []Partial, silent ...Reason) {
	list := slices.DeleteFunc(slices.Clone(all), Partial.IsZero)
	slices.SortFunc(list, func(a, b Partial) int {
		return cmp.Or(cmp.Compare(b.status.rank(), a.status.rank()), cmp.Compare(a.kid, b.kid), bytes.Compare(a.token, b.token))
	})
	c.Partial, c.Others = Partial{}, nil
	silent = slices.Clone(silent)
	for _, p := range list {
		switch {
		case c.Partial.IsZero():
			c.Partial = p
		case slices.ContainsFunc(c.Partials(), p.sameVerifier):
			silent = append(silent, Reason{Detail: fmt.Sprintf("one more result is signed with the key %s, which counts once", p.kid)})
		default:
			c.Others = append(c.Others, p)
		}
	}
	reasons := slices.DeleteFunc(slices.Clone(c.Reasons), func(r Reason) bool {
		return r.Code == ReasonDisagreement || r.Code == ReasonQuorumNotReached || r.Code == ReasonQuorumIncomplete || r.Code == ReasonSharedService
	})
	c.Reasons = append(reasons, c.quorumReasons(silent)...)
}

// sameVerifier: a key is a verifier, also where anchors know it by two kids.
func (p Partial) sameVerifier(q Partial) bool {
	if p.kid == q.kid {
		return true
	}
	key, ok := p.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(q.key)
}

// answered counts the verifiers that answered for this component.
func (c Component) answered() int {
	n := 0
	all := c.Partials()
	for i, p := range all {
		if p.label == c.Label && !slices.ContainsFunc(all[:i], p.sameVerifier) {
			n++
		}
	}
	return n
}

// redundantTier is the worst of all answers (decision D-26), and no better than
// none where too few answered, and than warning where not all did.
func (c Component) redundantTier() Tier {
	t := TierAffirming
	for _, p := range c.Partials() {
		if p.label != c.Label {
			t = Worst(t, TierNone)
			continue
		}
		t = Worst(t, p.status.known())
	}
	switch n := c.answered(); {
	case n == 0, n < c.Quorum:
		return Worst(t, TierNone)
	case n < c.Asked:
		return Worst(t, TierWarning)
	}
	return t
}

// quorumReasons say what redundancy does to the component; a signed result has
// to state all of these codes.
func (c Component) quorumReasons(silent []Reason) []Reason {
	if c.Quorum == 0 {
		return nil
	}
	var out []Reason
	all := c.Partials()
	if slices.ContainsFunc(all, func(p Partial) bool { return p.status != all[0].status }) {
		var tiers []string
		for _, p := range all {
			tiers = append(tiers, p.kid+": "+p.status.String())
		}
		out = append(out, Reason{Code: ReasonDisagreement, Detail: strings.Join(tiers, ", ")})
	}
	out = append(out, sharedServices(all)...)
	n := c.answered()
	r := Reason{Detail: fmt.Sprintf("%d of %d verifiers answered, %d had to", n, c.Asked, c.Quorum)}
	switch {
	case n < min(c.Quorum, c.Asked):
		r.Code = ReasonQuorumNotReached
	case n < c.Asked:
		r.Code = ReasonQuorumIncomplete
	default:
		return out
	}
	var why []string
	for _, s := range silent {
		why = append(why, strings.TrimSuffix(strings.TrimPrefix(s.Code+": "+s.Detail, ": "), ": "))
	}
	slices.Sort(why)
	if len(why) > 0 {
		r.Detail += ": " + strings.Join(why, "; ")
	}
	return append(out, r)
}

// sharedServices says of which results one service outside is the source. Each
// counts, and they are one opinion (decision D-130).
func sharedServices(all []Partial) []Reason {
	kids := map[string][]string{}
	var names []string
	for _, p := range all {
		name := p.service()
		if name == "" {
			continue
		}
		if kids[name] == nil {
			names = append(names, name)
		}
		kids[name] = append(kids[name], p.kid)
	}
	var out []Reason
	slices.Sort(names)
	for _, name := range names {
		if n := len(kids[name]); n > 1 {
			out = append(out, Reason{Code: ReasonSharedService,
				Detail: fmt.Sprintf("%d results (%s) rest on what one service says, %.256s, so they are one opinion", n, strings.Join(kids[name], ", "), name)})
		}
	}
	return out
}

// service names the service that the verifier asked, by its own claim "backend",
// "" if it names none: then it appraised by itself.
func (p Partial) service() string {
	backend, _ := p.appraisal.Claims["backend"].(map[string]any)
	name, _ := backend["name"].(string)
	issuer, _ := backend["issuer"].(string)
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%q of %q", name, issuer)
}

// checkQuorum holds for every component of a signed result.
func (c Component) checkQuorum() error {
	switch {
	case c.Quorum == 0 && c.Asked == 0 && len(c.Others) == 0:
		return nil
	case c.Quorum < 1:
		return errors.New("several verifiers without a quorum")
	case c.Asked < 0, c.Asked > MaxAsked, c.Quorum > MaxAsked, c.Asked != 0 && c.Asked < c.Quorum:
		return fmt.Errorf("a quorum of %d among %d verifiers", c.Quorum, c.Asked)
	case c.Partial.IsZero() && len(c.Others) > 0, slices.ContainsFunc(c.Others, Partial.IsZero):
		return errors.New("an empty result among those of several verifiers")
	}
	all := c.Partials()
	if len(all) > c.Asked {
		return fmt.Errorf("%d results of %d verifiers", len(all), c.Asked)
	}
	for i, p := range all {
		if slices.ContainsFunc(all[:i], p.sameVerifier) {
			return fmt.Errorf("the verifier with key %q answers twice", p.kid)
		}
		if p.status.WorseThan(all[0].status) {
			return fmt.Errorf("the result with key %q is %s, but one that is %s stands first", p.kid, p.status, all[0].status)
		}
	}
	for _, r := range c.quorumReasons(nil) {
		if !slices.ContainsFunc(c.Reasons, func(s Reason) bool { return s.Code == r.Code }) {
			return fmt.Errorf("the reasons leave out %s (%s)", r.Code, r.Detail)
		}
	}
	return nil
}

// QuorumDocument is what redundant verifiers of one component said.
type QuorumDocument struct {
	// Required is how many had to answer, Asked how many were asked.
	Required int `json:"required"`
	Asked    int `json:"asked"`
	// Answers are in the order of the signed result, the worst first.
	Answers []AnswerDocument `json:"answers"`
}

// AnswerDocument is the answer of one of several verifiers.
type AnswerDocument struct {
	Tier     Tier      `json:"tier"`
	Verifier Signatory `json:"verifier"`
}

// quorumDocument is nil where there is one verifier.
func (c Component) quorumDocument() *QuorumDocument {
	if c.Quorum == 0 {
		return nil
	}
	d := &QuorumDocument{Required: c.Quorum, Asked: c.Asked, Answers: []AnswerDocument{}}
	for _, p := range c.Partials() {
		d.Answers = append(d.Answers, AnswerDocument{Tier: p.status, Verifier: p.signatory()})
	}
	return d
}

func (p Partial) signatory() Signatory {
	return Signatory{Developer: p.verifier.Developer, Build: p.verifier.Build, KID: p.kid}
}
