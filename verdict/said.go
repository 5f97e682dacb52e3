// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"iter"
	"slices"
)

// Parts of what Appraisal returns, for those that read the results of a whole
// machine again and again: nothing is copied, and nobody can change a verified
// result by them, Claims excepted. The receivers are pointers because a Partial is
// large.

// Freshness is what the verifier said of the challenge.
func (p *Partial) Freshness() Freshness { return p.appraisal.Freshness }

// Asserted is the trustworthiness vector as the verifier signed it.
func (p *Partial) Asserted() Vector { return p.appraisal.Vector }

// Reasons are those that the verifier gave, in its order.
func (p *Partial) Reasons() iter.Seq[Reason] { return slices.Values(p.appraisal.Reasons) }

// Claims are those of the evidence as the verifier read it, nil if there are none.
// They are shared: do not change them.
func (p *Partial) Claims() map[string]any { return p.appraisal.Claims }

// AppraisalPolicy names the policy by which the verifier appraised.
func (p *Partial) AppraisalPolicy() string { return p.appraisal.PolicyID }
