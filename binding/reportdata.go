// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// KindReportData says that the report data of the CPU TEE are a commitment to the
// evidence of every other component, by a convention that commits to it: ours
// (decision D-28) or Trustee's (D-93). Conventions that stretch or hash the nonce
// alone are derived nonces.
const KindReportData = "report-data-digest"

func reportDataChecker() Checker {
	return Checker{
		Kind: KindReportData, Strength: StrengthStrong, Origin: OriginApplication,
		Needs:    "a composite that declares a convention by which the root commits to evidence, and the root's executables claim",
		Compares: "the digest that the lead computed over challenge and evidence of all components with the report data that the root has signed",
		find:     reportData,
	}
}

// reportData joins every component to the CPU TEE that committed to it. What
// was compared is the challenge: the lead computed the commitment over the
// original bytes and asked the CPU's verifier for exactly that value.
//
// Any program in the TEE can choose report data, so the edge is only as good as
// the software there: where that is not known to be good, it counts as a nonce.
func reportData(c *composite) ([]verdict.Binding, []verdict.Cap) {
	root := c.root
	if root == nil || !evidence.CommitsToEvidence(root.NonceRule) {
		return nil, nil
	}
	all := root.all
	if len(all) == 0 {
		return nil, nil
	}
	e := verdict.Binding{
		To: root.Label, Kind: KindReportData, Strength: StrengthNone, Status: StatusAbsent, Origin: OriginApplication,
		Compared: fmt.Sprintf("the commitment to challenge and evidence of all components, by rule %s, with the report data of %s", root.NonceRule, root.Label),
		Expected: hex.EncodeToString(root.Nonce), Observed: seen(all),
	}
	var caps []verdict.Cap
	switch freshness(all) {
	case verdict.FreshnessFresh:
		caps = rated(&e, OriginApplication, all, fmt.Sprintf("the report data of %s commit to the other components", root.Label))
	case verdict.FreshnessMismatch:
		e.Status = StatusBroken
		caps = append(caps, contradiction(fmt.Sprintf("the report data of %s are not the commitment to this challenge and these components: "+
			"one was replaced, added or left out after the commitment was made, or it was made for another challenge; one digest over all does not tell which", root.Label),
			e.Expected, e.Observed, "digest that the lead computed over the challenge and the evidence received"))
	}
	edges := edgesTo(root, c.parts, e)
	if len(edges) == 0 && e.Status == StatusBound {
		caps = nil // a lone CPU has nothing to commit to
	}
	return edges, caps
}

// edgesTo repeats an edge for every component that was submitted.
func edgesTo(root *node, parts []*node, e verdict.Binding) []verdict.Binding {
	var out []verdict.Binding
	for _, p := range parts {
		if p == root || !submitted(p) {
			continue
		}
		e.From = p.Label
		out = append(out, e)
	}
	return out
}

// submitted: evidence of the component was there.
func submitted(p *node) bool { return p.Evidence != [sha256.Size]byte{} }
