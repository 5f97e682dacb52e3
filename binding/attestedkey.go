// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
)

// KindAttestedKey says that the signed evidence of one component commits to the
// key that signed the evidence of another, or to one in the chain of that key that
// only that device has: the attestation key of a virtual TPM in the report of the
// CPU TEE, for example.
const KindAttestedKey = "attested-key"

const (
	// schemeTPM is the scheme of TPM quotes.
	schemeTPM = "tcg-tpm"
	// viaRuntimeData is a commitment by what runs beneath the guest and makes its
	// TPM: where there is one, the TPM of this machine has one of these keys.
	viaRuntimeData = "runtime-data"
)

func attestedKeyChecker() Checker {
	return Checker{
		Kind: KindAttestedKey, Strength: StrengthStrong, Origin: "who wrote the commitment: application, measured or hardware",
		Needs:    "a CPU TEE or TPM whose signed evidence commits to keys: runtime data, a service manifest, a realm",
		Compares: "the SHA-256 of the key (SubjectPublicKeyInfo) that signed a component, or of one in its device's own chain, with those in the commitment",
		find:     attestedKey,
	}
}

// attestedKey joins components to those that commit to the keys that signed for
// them. With several verifiers of the one that commits, each of them has to have
// found the key; with several of the other, each has to have found that it signed.
func attestedKey(c *composite) ([]verdict.Binding, []verdict.Cap) {
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, holder := range c.parts {
		if !vouches(holder) || !slices.ContainsFunc(holder.all, func(a verdict.Appraisal) bool { return len(a.Facts.Keys) > 0 }) {
			continue
		}
		for _, p := range c.parts {
			if p == holder || c.isRoot(p) {
				continue // nobody vouches for the root
			}
			if e, k, ok := keyEdge(holder, p, c.isRoot(holder)); ok {
				edges, caps = append(edges, e), append(caps, k...)
			}
		}
	}
	return edges, caps
}

// vouches: components of this kind say in signed evidence what others are. A result
// about any other is no word about them, whatever it says (decision D-114).
func vouches(p *node) bool { return p.Class == verdict.ClassCPU || p.Scheme == schemeTPM }

// keyEdge is the edge of one component to one that commits to keys, if there is
// anything to be said.
func keyEdge(holder, p *node, root bool) (verdict.Binding, []verdict.Cap, bool) {
	all := withoutLeadKeys(holder.all)
	e := verdict.Binding{From: p.Label, To: holder.Label, Kind: KindAttestedKey, Strength: StrengthNone, Status: StatusAbsent,
		Compared: fmt.Sprintf("the keys to which %s commits with the one that signed %s", holder.Label, p.Label),
		Expected: some(committedKeys(all), " ")}
	e.Observed = strings.Join(slices.DeleteFunc(slices.Clone(p.signers), func(s string) bool { return !isKey(s) }), " ")
	for _, used := range append([][]string{p.signers}, each(p.chain)...) {
		if origin, bound := committed(all, used); bound {
			e.Expected, e.Observed = used[0], used[0]
			caps := rated(&e, origin, holder.all, fmt.Sprintf("%s commits to the key of %s", holder.Label, p.Label))
			return e, caps, true
		}
	}
	if p.Scheme != schemeTPM || !slices.ContainsFunc(p.signers, isKey) || !root {
		return e, nil, false // nobody says that it should commit to it
	}
	caps := keyBroken(&e, all, p.signers)
	return e, caps, true
}

// each makes a list of every element of a list.
func each(list []string) [][]string {
	out := make([][]string, len(list))
	for i, s := range list {
		out[i] = []string{s}
	}
	return out
}

// committedKeys are all keys to which any of some results commits.
func committedKeys(all []verdict.Appraisal) []string {
	var out []string
	for _, a := range all {
		for _, k := range a.Facts.Keys {
			out = append(out, k.SPKI)
		}
	}
	return sorted(out)
}

func isKey(signer string) bool { return signer != "" }

// committed says whether every result commits to the one key that was used, and who
// wrote that: the least trustworthy of what they say.
func committed(all []verdict.Appraisal, used []string) (origin string, bound bool) {
	if len(used) != 1 || !isKey(used[0]) || len(all) == 0 {
		return "", false
	}
	order := []string{OriginApplication, OriginMeasured, OriginHardware}
	worst := len(order) - 1
	for _, a := range all {
		best := -1
		for _, k := range a.Facts.Keys {
			if k.SPKI == used[0] {
				best = max(best, slices.Index(order, k.Origin))
			}
		}
		if best < 0 {
			return "", false
		}
		worst = min(worst, best)
	}
	return order[worst], true
}

// keyBroken fills in the edge of a TPM to whose key the CPU does not commit. That
// is a contradiction where a commitment to the machine's TPM is there.
func keyBroken(e *verdict.Binding, all []verdict.Appraisal, signers []string) []verdict.Cap {
	signers = slices.DeleteFunc(slices.Clone(signers), func(s string) bool { return !isKey(s) })
	var others []string
	for _, a := range all {
		foreign := func(s string) bool {
			return !slices.ContainsFunc(a.Facts.Keys, func(k verdict.CommittedKey) bool { return k.SPKI == s })
		}
		if slices.ContainsFunc(signers, foreign) {
			others = append(others, keysVia(a, viaRuntimeData)...)
		}
	}
	if len(others) == 0 {
		return nil
	}
	e.Status, e.Expected = StatusBroken, strings.Join(sorted(others), " and ")
	return []verdict.Cap{contradiction(
		fmt.Sprintf("%s is signed by the key with SHA-256 %s, and %s commits to %s: it is the TPM of another machine",
			e.From, strings.Join(signers, " and "), e.To, e.Expected),
		e.Expected, strings.Join(signers, " and "), fmt.Sprintf("runtime data to which %s commits", e.To))}
}

// unvouchedKey says why the key of a component does not count, of which its verifier
// says that a CPU TEE has to vouch for it: no strong edge of this kind leads to the
// root. A commitment to the evidence will not do: it says who handed the evidence in,
// and not that software could not have made the key.
func (c *composite) unvouchedKey(p *node) (verdict.Reason, bool) {
	if !slices.ContainsFunc(p.all, needsKey) {
		return verdict.Reason{}, false
	}
	signers := slices.DeleteFunc(slices.Clone(p.signers), func(s string) bool { return !isKey(s) })
	why := verdict.Reason{Code: verdict.ReasonKeyNotVouchedFor, Observed: some(signers, " "),
		Detail: "no certificate or document names the key that signed, and no single CPU TEE is there to commit to it"}
	if c.root == nil || c.isRoot(p) {
		return why, true
	}
	why.Source = fmt.Sprintf("signed evidence of %s", c.root.Label)
	why.Expected = some(committedKeys(c.root.all), " ")
	e, _, found := keyEdge(c.root, p, true)
	switch {
	case !found || e.Status != StatusBound:
		why.Detail = fmt.Sprintf("no certificate or document names the key that signed, and %s does not commit to it", c.root.Label)
	case e.Strength != StrengthStrong:
		why.Detail = fmt.Sprintf("no certificate or document names the key that signed, and what commits to it in %s is software that is not known to be good", c.root.Label)
	default:
		return verdict.Reason{}, false
	}
	return why, true
}

// needsKey: the verifier says that somebody has to vouch for the key that signed.
func needsKey(a verdict.Appraisal) bool { return a.Facts.KeyRequired }

// keysVia are the keys to which a result commits in one place.
func keysVia(a verdict.Appraisal, via string) []string {
	var out []string
	for _, k := range a.Facts.Keys {
		if k.Via == via {
			out = append(out, k.SPKI)
		}
	}
	return out
}
