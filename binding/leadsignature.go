// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// KindLeadSignature says that the key that signed the composite as a whole is one
// to which the evidence of the root commits, so that whoever has it put all of this
// together on that machine (decision D-100).
const KindLeadSignature = "lead-signature"

// viaLeadKey is a commitment to the key that signs the composites of the machine:
// another one that signs a composite with this root contradicts it (decision D-128).
const viaLeadKey = "lead-key"

func leadSignatureChecker() Checker {
	return Checker{
		Kind: KindLeadSignature, Strength: StrengthStrong, Origin: "who wrote the commitment to the key: application or measured, for software used it",
		Needs:    "a verified signature around the whole composite, and a root whose signed evidence commits to keys",
		Compares: "the SHA-256 of the key (SubjectPublicKeyInfo) that signed the whole with the keys to which the root commits",
		find:     leadSignature,
	}
}

// leadSignature joins every component to the root by who signed them together. A
// key that is only known to the lead by its configuration joins nothing: that it
// may sign composites does not say on which machine it is.
func leadSignature(c *composite) ([]verdict.Binding, []verdict.Cap) {
	if c.root == nil {
		return nil, nil
	}
	all := c.root.all
	var own []string
	for _, a := range all {
		own = append(own, keysVia(a, viaLeadKey)...)
	}
	if c.lead == nil && own == nil {
		return nil, nil
	}
	e := verdict.Binding{To: c.root.Label, Kind: KindLeadSignature, Strength: StrengthNone, Status: StatusAbsent, Expected: some(sorted(own), " ")}
	if c.lead == nil {
		e.Compared = fmt.Sprintf("%s commits to the key that signs its composites, and this one has no signature that was verified", c.root.Label)
		return edgesTo(c.root, c.parts, e), nil
	}
	e.Observed = c.lead.SPKI
	e.Compared = fmt.Sprintf("the keys to which %s commits with the one that signed the whole composite", c.root.Label)
	var caps []verdict.Cap
	origin, bound := committed(all, []string{c.lead.SPKI})
	switch {
	case slices.ContainsFunc(all, func(a verdict.Appraisal) bool { return foreignLead(a, c.lead.SPKI) }):
		e.Status = StatusBroken
		caps = append(caps, contradiction(
			fmt.Sprintf("the composite is signed by the key with SHA-256 %s, and %s commits to another one that signs composites: %s", c.lead.SPKI, c.root.Label, e.Expected),
			e.Expected, c.lead.SPKI, fmt.Sprintf("key to which the evidence of %s commits", c.root.Label)))
	case bound:
		e.Expected = c.lead.SPKI
		// Also where hardware says whose key it is, software put the parts together.
		caps = rated(&e, lesser(origin, OriginMeasured), all, fmt.Sprintf("%s commits to the key that signed the composite", c.root.Label))
	case c.root.NonceRule == evidence.CommitmentRule:
		return nil, nil // report data commit to who signed, and to everything else
	default:
		e.Compared += ": none of them is it, so that it is trusted by configuration alone, which does not say on which machine it is"
	}
	edges := edgesTo(c.root, c.parts, e)
	if len(edges) == 0 && e.Status == StatusBound {
		caps = nil
	}
	return edges, caps
}

// foreignLead: this result commits to keys that sign composites, and not to this.
func foreignLead(a verdict.Appraisal, spki string) bool {
	own := keysVia(a, viaLeadKey)
	return len(own) > 0 && !slices.Contains(own, spki)
}

// withoutLeadKeys are results with what they say of keys of components alone: the key
// that signs composites is none of these, whatever else it has signed.
func withoutLeadKeys(all []verdict.Appraisal) []verdict.Appraisal {
	lead := func(k verdict.CommittedKey) bool { return k.Via == viaLeadKey }
	out := all
	for i, a := range all {
		if !slices.ContainsFunc(a.Facts.Keys, lead) {
			continue
		}
		if &out[0] == &all[0] {
			out = slices.Clone(all)
		}
		out[i].Facts.Keys = slices.DeleteFunc(slices.Clone(a.Facts.Keys), lead)
	}
	return out
}
