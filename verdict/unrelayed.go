// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"slices"
	"strconv"
)

// told: the lead gave a reason with this code for the component.
func (c Component) told(code string) bool {
	return slices.ContainsFunc(c.Reasons, func(r Reason) bool { return r.Code == code })
}

// unrelayed: the lead found nothing that vouches for bytes on which claims of this
// component rest (ReasonReportUnauthenticated).
func (c Component) unrelayed() bool {
	return c.told(ReasonReportUnauthenticated)
}

// keyless: the lead found nothing that vouches for the key that signed the evidence,
// as the result of its verifier demands (Facts.KeyRequired).
func (c Component) keyless() bool { return c.told(ReasonKeyNotVouchedFor) }

// withoutKey is what is left of a vector if nobody vouches for the key: the instance
// is an unknown one (32), and what it says of software and configuration is not
// believed (33, 36).
func (v Vector) withoutKey() Vector {
	for name, left := range map[ClaimName]Claim{
		InstanceIdentity: ClaimUnsafe, Executables: ClaimUnrecognized, Configuration: ClaimNoVisibility,
	} {
		if v[name].Tier() == TierAffirming {
			v[name] = left
		}
	}
	return v
}

// withoutReport is what is left of a vector if nobody vouches for the interface
// report: no good word about the two claims that rest on it. The configuration is
// then out of sight (36), and nothing is said about isolation at run time.
func (v Vector) withoutReport() Vector {
	if v[Configuration].Tier() == TierAffirming {
		v[Configuration] = ClaimNoVisibility
	}
	if v[RuntimeOpaque].Tier() == TierAffirming {
		v[RuntimeOpaque] = ClaimNone
	}
	return v
}

// VectorOf is the vector of a partial result as its component stands in an
// aggregate.
func (c Component) VectorOf(v Vector) Vector {
	if c.unrelayed() {
		v = v.withoutReport()
	}
	if c.keyless() {
		v = v.withoutKey()
	}
	return v.Lower(c.Lowered)
}

// Vector is that of the partial result as the component stands in an aggregate: without
// the good words that nobody vouches for, and with what a policy lowered. It is empty
// without a result.
func (c Component) Vector() Vector {
	if c.Partial.IsZero() {
		return c.Lowered
	}
	return c.VectorOf(c.Partial.appraisal.Vector)
}

// rewritten: the vector in an aggregate is not that of the partial result.
func (c Component) rewritten() bool { return c.unrelayed() || c.keyless() || c.Lowered != (Vector{}) }

// flatVector is the vector of a submod, a JSON value as the partial result has
// it, as the component stands in an aggregate.
func (c Component) flatVector(members any) any {
	in, ok := members.(map[string]any)
	if !ok || !c.rewritten() {
		return members
	}
	out := make(map[string]any, len(in))
	for name, v := range in {
		out[name] = v
	}
	was, is := c.Partial.appraisal.Vector, c.VectorOf(c.Partial.appraisal.Vector)
	for _, n := range ClaimNames() {
		if was[n] != is[n] {
			out[n.String()] = json.Number(strconv.Itoa(int(is[n])))
		}
	}
	return out
}
