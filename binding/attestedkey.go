// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
)

// KindAttestedKey says that the report of the CPU TEE commits to the key that
// signed the evidence of a component: the attestation key of a virtual TPM, for
// example.
const KindAttestedKey = "attested-key"

const (
	// schemeTPM is the scheme of TPM quotes.
	schemeTPM = "tcg-tpm"
	// viaRuntimeData is a commitment by what runs beneath the guest and makes its
	// TPM: where there is one, the TPM of this machine has one of these keys.
	viaRuntimeData = "runtime-data"
)

// attestedKey joins components to the CPU TEE by the keys that signed for them.
// With several verifiers of the CPU, each of them has to have found the key; with
// several of the component, each has to have found that it signed.
//
// A commitment that hardware wrote is as good as the report. What software wrote
// is only as good as that software, as with report data: measured software too,
// since a measurement that nobody knows could be anybody's. The two differ in
// what is said, and for policies that want the one or the other.
func attestedKey(root *verdict.Component, parts []verdict.Component) ([]verdict.Binding, []verdict.Cap) {
	if root == nil {
		return nil, nil
	}
	all := appraisals(*root)
	if !slices.ContainsFunc(all, func(a verdict.Appraisal) bool { return len(a.Facts.Keys) > 0 }) {
		return nil, nil
	}
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, p := range parts {
		if p.Label == root.Label {
			continue
		}
		e := verdict.Binding{From: p.Label, To: root.Label, Kind: KindAttestedKey, Strength: StrengthNone, Status: StatusAbsent}
		signers := signersOf(p)
		origin, bound := committed(all, signers)
		switch {
		case bound:
			caps = append(caps, keyBound(&e, origin, all)...)
		case p.Scheme != schemeTPM || !slices.ContainsFunc(signers, isKey):
			continue // nobody says that the CPU should commit to it
		default:
			caps = append(caps, keyBroken(&e, all, signers)...)
		}
		edges = append(edges, e)
	}
	return edges, caps
}

// signersOf are the keys that signed the evidence of a component by each of its
// verifiers, "" by one that does not say.
func signersOf(p verdict.Component) []string {
	var out []string
	for _, a := range appraisals(p) {
		if !slices.Contains(out, a.Facts.SignerSPKI) {
			out = append(out, a.Facts.SignerSPKI)
		}
	}
	return out
}

func isKey(signer string) bool { return signer != "" }

// committed says whether every result about the CPU commits to the one key that
// signed, and who wrote that: the least trustworthy of what they say.
func committed(all []verdict.Appraisal, signers []string) (origin string, bound bool) {
	if len(signers) != 1 || !isKey(signers[0]) {
		return "", false
	}
	order := []string{OriginApplication, OriginMeasured, OriginHardware}
	worst := len(order)
	for _, a := range all {
		best := -1
		for _, k := range a.Facts.Keys {
			if k.SPKI == signers[0] {
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

// keyBound fills in the edge to a key to which the CPU commits.
func keyBound(e *verdict.Binding, origin string, all []verdict.Appraisal) []verdict.Cap {
	e.Status, e.Strength, e.Origin = StatusBound, StrengthStrong, origin
	if origin == OriginHardware {
		return nil
	}
	if slices.ContainsFunc(all, unknownSoftware) {
		e.Strength = StrengthNonce
		return []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{
			Code:   verdict.ReasonBindingWeak,
			Detail: fmt.Sprintf("%s commits to the key of %s, but the software that wrote the commitment is not known to be good", e.To, e.From),
		}}}
	}
	if origin == OriginMeasured {
		return nil
	}
	return []verdict.Cap{{Tier: verdict.TierAffirming, Reason: verdict.Reason{
		Code:   verdict.ReasonApplicationBound,
		Detail: fmt.Sprintf("an application in %s wrote the commitment to the key of %s; the software there is known", e.To, e.From),
	}}}
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
	slices.Sort(others)
	e.Status = StatusBroken
	return []verdict.Cap{{Tier: verdict.TierContraindicated, Reason: verdict.Reason{
		Code: verdict.ReasonBindingBroken,
		Detail: fmt.Sprintf("%s is signed by the key with SHA-256 %s, and %s commits to %s: it is the TPM of another machine",
			e.From, strings.Join(signers, " and "), e.To, strings.Join(slices.Compact(others), " and ")),
	}}}
}

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
