// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// KindMeasuredEvent says that software measured the digest of the evidence of a
// component into a run-time register, of the CPU TEE or of a TPM (decision D-95).
const KindMeasuredEvent = "measured-event"

func eventLogChecker() Checker {
	return Checker{
		Kind: KindMeasuredEvent, Strength: StrengthStrong, Origin: OriginMeasured,
		Needs:    "an event log that replays to signed registers, with events about components in RTMR3 or PCR 15, and the executables claim of what has the registers",
		Compares: "the SHA-256 that the lead computed over the evidence of a component with the one in the last event about its label",
		find:     measuredEvent,
	}
}

// measuredEvent joins components to those that have measured their evidence. With
// several verifiers of the latter, each has to have found the event.
func measuredEvent(c *composite) ([]verdict.Binding, []verdict.Cap) {
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, holder := range c.parts {
		if !vouches(holder) {
			continue
		}
		measured := map[evidence.Path]bool{}
		for _, a := range holder.all {
			for _, m := range a.Facts.Commitments {
				if m.Object == verdict.ObjectEvidence {
					measured[evidence.Path(m.Subject)] = true
				}
			}
		}
		for _, p := range c.parts {
			if len(measured) == 0 || p == holder || !submitted(p) || c.isRoot(p) {
				continue
			}
			if !measured[p.Label] && !c.isRoot(holder) {
				continue // who is not the root need not speak of everything
			}
			e, k := eventEdge(holder, p)
			edges = append(edges, e)
			for _, one := range k {
				if !slices.Contains(caps, one) { // of many parts, the same is said once
					caps = append(caps, one)
				}
			}
		}
	}
	return edges, caps
}

// eventEdge is the edge of one component to one that measures others.
func eventEdge(holder, p *node) (verdict.Binding, []verdict.Cap) {
	e := verdict.Binding{From: p.Label, To: holder.Label, Kind: KindMeasuredEvent, Strength: StrengthNone, Status: StatusAbsent,
		Compared: fmt.Sprintf("the SHA-256 of the evidence of %s in the event log of %s with that of the evidence received", p.Label, holder.Label),
		Observed: hex.EncodeToString(p.Evidence[:])}
	origin, found := OriginHardware, len(holder.all) > 0
	for _, a := range holder.all {
		m, ok := measuredOf(a, p.Label)
		found = found && ok
		if !ok {
			continue
		}
		e.Expected, origin = m.Digest, lesser(origin, m.Origin)
		if m.Digest != e.Observed {
			e.Status = StatusBroken
			return e, []verdict.Cap{contradiction(fmt.Sprintf("%s measured other evidence of %s than was received", holder.Label, p.Label),
				e.Expected, e.Observed, fmt.Sprintf("event log of %s, which replays to its signed registers", holder.Label))}
		}
	}
	if !found {
		return e, nil
	}
	caps := rated(&e, origin, holder.all, fmt.Sprintf("%s measured the evidence of other components", holder.Label))
	return e, caps
}

// measuredOf is the digest in a result of the evidence of a component. The lead has
// the SHA-256 of the evidence, and compares no other.
func measuredOf(a verdict.Appraisal, label evidence.Path) (verdict.Commitment, bool) {
	for _, m := range a.Facts.Commitments {
		if m.Object == verdict.ObjectEvidence && m.Subject == string(label) && m.Alg == verdict.AlgSHA256 {
			return m, true
		}
	}
	return verdict.Commitment{}, false
}
