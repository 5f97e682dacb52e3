// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// KindReportData says that the report data of the CPU TEE is a commitment to the
// evidence of every other component (decision D-28).
const KindReportData = "report-data-digest"

// Origins of a commitment: who could have written it.
const (
	OriginApplication = verdict.OriginApplication
	OriginMeasured    = verdict.OriginMeasured
	OriginHardware    = verdict.OriginHardware
)

// reportData joins every component to the CPU TEE that committed to it. What
// was compared is the challenge: the lead computed the commitment over the
// original bytes and asked the CPU's verifier for exactly that value.
//
// Any program in the TEE can choose report data, so the edge is only as good as
// the software there: where that is not known to be good, it counts as a nonce.
func reportData(root *verdict.Component, parts []verdict.Component) ([]verdict.Binding, []verdict.Cap) {
	if root == nil || root.NonceRule != evidence.CommitmentRule {
		return nil, nil
	}
	all := appraisals(*root)
	if len(all) == 0 {
		return nil, nil
	}
	e := verdict.Binding{To: root.Label, Kind: KindReportData, Strength: StrengthNone, Status: StatusAbsent, Origin: OriginApplication}
	var caps []verdict.Cap
	switch freshness(all) {
	case verdict.FreshnessFresh:
		e.Strength, e.Status = StrengthNonce, StatusBound
		if !slices.ContainsFunc(all, unknownSoftware) {
			e.Strength = StrengthStrong
		}
	case verdict.FreshnessMismatch:
		e.Status = StatusBroken
		caps = append(caps, verdict.Cap{Tier: verdict.TierContraindicated, Reason: verdict.Reason{
			Code: verdict.ReasonBindingBroken,
			Detail: fmt.Sprintf("the report data of %s is not the commitment to this challenge and these components: "+
				"one was replaced, added or left out after the commitment was made, or it was made for another challenge", root.Label),
		}})
	}
	edges := edgesTo(root, parts, e)
	if len(edges) > 0 && e.Status == StatusBound {
		caps = append(caps, statement(e.Strength, root.Label))
	}
	return edges, caps
}

// unknownSoftware: this verifier does not call the software good. With several
// verifiers, each of them has to.
func unknownSoftware(a verdict.Appraisal) bool {
	return a.Vector[verdict.Executables].Tier() != verdict.TierAffirming
}

// edgesTo repeats an edge for every component that was submitted.
func edgesTo(root *verdict.Component, parts []verdict.Component, e verdict.Binding) []verdict.Binding {
	var out []verdict.Binding
	for _, p := range parts {
		if p.Label == root.Label || p.Evidence == ([sha256.Size]byte{}) {
			continue
		}
		e.From = p.Label
		out = append(out, e)
	}
	return out
}

// statement says in the verdict what the strength of the edges rests on.
func statement(strength string, root evidence.Path) verdict.Cap {
	if strength == StrengthStrong {
		return verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{
			Code:   verdict.ReasonApplicationBound,
			Detail: fmt.Sprintf("an application in %s chose the report data that commits to the other components; the software there is known", root),
		}}
	}
	return verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{
		Code:   verdict.ReasonBindingWeak,
		Detail: fmt.Sprintf("the report data of %s commits to the other components, but the software that chose it is not known to be good", root),
	}}
}
