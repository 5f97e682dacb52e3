// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"maps"
	"slices"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/verdict"
)

const (
	statusBound    = binding.StatusBound
	statusBroken   = binding.StatusBroken
	strengthStrong = binding.StrengthStrong
	strengthNonce  = binding.StrengthNonce
)

// Edge is a binding between two components, and what it is worth.
type Edge struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Kind     string `json:"kind"`
	Status   string `json:"status"`
	Strength string `json:"strength"`
	Origin   string `json:"origin,omitempty"`
	// Compared says what was held against what; Expected and Observed are the two
	// values, digests mostly.
	Compared string `json:"compared,omitempty"`
	Expected string `json:"expected,omitempty"`
	Observed string `json:"observed,omitempty"`
	// RestsOn says what the strength rests on.
	RestsOn string `json:"rests_on"`
	// Remedy is what would make a strong binding of it, "" for one that is.
	Remedy string `json:"remedy,omitempty"`
}

// edges are those of the document, broken ones first, then absent ones, then those
// that are bound.
func (e explainer) edges() []Edge {
	out := make([]Edge, 0, len(e.doc.Bindings))
	for _, b := range e.doc.Bindings {
		out = append(out, Edge{
			From: string(b.From), To: string(b.To), Kind: b.Kind, Status: b.Status, Strength: b.Strength, Origin: b.Origin,
			Compared: b.Compared, Expected: b.Expected, Observed: b.Observed, RestsOn: restsOn(b), Remedy: e.edgeRemedy(b),
		})
	}
	rank := map[string]int{statusBroken: 0, binding.StatusAbsent: 1, statusBound: 3}
	return sortedBy(out, func(x Edge) int {
		if x.Status == statusBound && x.Strength != strengthStrong {
			return 2
		}
		return rank[x.Status]
	})
}

// restsOn is what an edge rests on, for people.
func restsOn(b verdict.Binding) string {
	switch {
	case b.Status == statusBroken:
		return "nothing: the commitment is there and does not match, so one of the two was replaced, or was committed to in another session"
	case b.Status != statusBound && (b.Kind == binding.KindNonce || b.Kind == binding.KindDerivedNonce):
		if b.Expected != "" && b.Expected == b.Observed { // which is about the first end alone
			return fmt.Sprintf("nothing: the evidence of %s has the challenge, and that of %s does not answer it, or one of the two is not believed", b.From, b.To)
		}
		return "nothing: one of the two does not answer the challenge of the session"
	case b.Status != statusBound:
		return "nothing: there was no commitment to compare"
	case b.Strength == strengthNonce && b.Origin == verdict.OriginApplication:
		return fmt.Sprintf("the challenge: an application in %s chose the commitment, and the software there is not known to be good", b.To)
	case b.Strength == strengthNonce:
		return "the common challenge: it shows that both are of one session, and not that they are in one machine"
	case b.Strength != strengthStrong:
		return "nothing that counts"
	}
	switch b.Origin {
	case verdict.OriginHardware:
		return "keys and signatures of hardware, which no software of the machine can choose"
	case verdict.OriginMeasured:
		return "a measured value that cannot be taken back, made by firmware or software that is measured itself"
	case verdict.OriginApplication:
		return fmt.Sprintf("the software in %s, which chose the commitment and is known by reference values (its executables are affirming)", b.To)
	}
	return "a cryptographic commitment under a verified signature"
}

// edgeRemedy is that of the reason that such an edge gives. Where something else binds
// the component strongly, what an edge lacks needs no remedy.
func (e explainer) edgeRemedy(b verdict.Binding) string {
	code := ""
	switch {
	case b.Status == statusBroken:
		code = verdict.ReasonBindingBroken
	case slices.ContainsFunc(e.doc.Bindings, func(o verdict.Binding) bool {
		return o.From == b.From && o.Status == statusBound && o.Strength == strengthStrong
	}):
	case b.Status != statusBound && (b.Kind == binding.KindNonce || b.Kind == binding.KindDerivedNonce):
		code = verdict.ReasonNonceMismatch
	case b.Status != statusBound:
		code = verdict.ReasonBindingAbsent
	case b.Strength == strengthNonce && b.Origin == verdict.OriginApplication:
		code = verdict.ReasonBindingWeak
	case b.Strength != strengthStrong:
		code = verdict.ReasonUnboundComponent
	}
	return e.codes[code].Remedy
}

// Interconnect is a set of devices that work with one another in clear.
type Interconnect struct {
	Members    []string     `json:"members"`
	Tier       verdict.Tier `json:"tier"`
	Unattested []string     `json:"unattested,omitempty"`
	Causes     []Cause      `json:"causes"`
}

func (e explainer) interconnects() []Interconnect {
	var out []Interconnect
	for _, i := range e.doc.Interconnects {
		one := Interconnect{Tier: i.Tier, Unattested: i.Unattested}
		for _, label := range i.Members() {
			one.Members = append(one.Members, string(label))
		}
		one.Causes = e.causes(i.Reasons, i.Tier, verdict.TierAffirming, func(verdict.Reason) string { return "rules for interconnects in clear" }, "")
		out = append(out, one)
	}
	return out
}

// Requirement is what had to be there, and whether it is.
type Requirement struct {
	Text   string `json:"text"`
	Source string `json:"source"`
	Met    bool   `json:"met"`
	// Remedy is there where it is not met.
	Remedy string `json:"remedy,omitempty"`
}

// requirements are those of the document; one is not met where a reason of the
// whole says so.
func (e explainer) requirements() []Requirement {
	var out []Requirement
	for _, q := range e.doc.Requirements {
		one := Requirement{Text: q.String(), Source: q.Source, Met: true}
		for _, r := range e.doc.Verdict.Reasons {
			if (r.Code == verdict.ReasonMissingComponent || r.Code == verdict.ReasonUnexpected) && r.Expected == q.String() {
				one.Met, one.Remedy = false, e.codes[r.Code].Remedy
			}
		}
		out = append(out, one)
	}
	return sortedBy(out, func(q Requirement) int {
		if q.Met {
			return 1
		}
		return 0
	})
}

// Policy is the policy for whole machines and what it makes of the verdict.
type Policy struct {
	ID         string       `json:"id"`
	Digest     string       `json:"sha256"`
	Accepted   bool         `json:"accepted"`
	Acceptable verdict.Tier `json:"acceptable"`
	// Relaxes are the rules, by reason code, that it does not insist on.
	Relaxes []string `json:"relaxes,omitempty"`
	// Annotations are its own words.
	Annotations map[string]string `json:"annotations,omitempty"`
}

func (e explainer) policy() *Policy {
	p := e.doc.Policy
	if p == nil {
		return nil
	}
	return &Policy{ID: p.ID, Digest: p.Digest, Accepted: p.Accepted, Acceptable: p.Acceptable, Relaxes: p.Accepts, Annotations: p.Annotations}
}

// unproven is what the verdict does not prove though it says nothing against it.
func (e explainer) unproven() []string {
	out := []string{}
	say := func(holds bool, format string, args ...any) {
		if holds {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	has := func(code string) bool {
		return slices.ContainsFunc(e.doc.Verdict.Reasons, func(r verdict.Reason) bool { return r.Code == code })
	}
	by := e.applications()
	for _, to := range slices.Sorted(maps.Keys(by)) {
		say(true, "That the software in %s told the truth about %s: an application chose the commitment (origin application), so the binding is as good as that software, which is known by its measurements and not by what it does.",
			to, verdict.Alternatives(by[to], 0))
	}
	say(has(verdict.ReasonNonceBound), "That all components are in one machine: the policy takes a common challenge for a binding.")
	say(len(e.doc.Bindings) == 0 && len(e.doc.Components) > 1, "That the components belong to one machine: nothing ties them to one another.")
	say(has(verdict.ReasonAsSubmitted),
		"That nothing is missing: the topology asks for what was submitted, so a component that was left out is not missed.")
	say(e.doc.Nonce == "", "That the evidence is new: no challenge was given, and it may be a replay.")
	say(e.doc.VerificationTime != "", "That the machine is in this state now: the evidence was judged as of %s.", e.doc.VerificationTime)
	say(e.extraRoots(), "That the machine is a real one: roots beyond those of the vendors were trusted, which simulated machines have.")
	say(len(e.doc.Components) > 0, "That the machine which answers you is this one: evidence can be relayed, unless it commits to the key of your connection. Nor what happened since it was made.")
	return out
}

// applications are the components by those whose software committed to them.
func (e explainer) applications() map[string][]string {
	out := map[string][]string{}
	for _, b := range e.doc.Bindings {
		if b.Status == statusBound && b.Strength == strengthStrong && b.Origin == verdict.OriginApplication {
			out[string(b.To)] = append(out[string(b.To)], string(b.From))
		}
	}
	return out
}

func (e explainer) extraRoots() bool {
	for _, c := range e.doc.Components {
		if slices.ContainsFunc(c.Reasons, func(r verdict.Reason) bool { return r.Code == verdict.ReasonExtraRoots }) {
			return true
		}
	}
	return false
}
