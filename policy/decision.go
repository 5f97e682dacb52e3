// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// Finding is what a policy says about one component: claims that it makes worse, a
// tier that the component is no better than, and why.
type Finding struct {
	Label evidence.Path
	// Lowered are claims that the policy sets to something worse; zero leaves a claim
	// as it is.
	Lowered verdict.Vector
	// Tier is the best tier that the component can have; verdict.TierAffirming makes
	// the finding a remark.
	Tier verdict.Tier
	// Detail says why, in at most MaxDetail bytes.
	Detail string
}

// Decision is what a policy says about the whole.
type Decision struct {
	// Caps lower the whole; one with verdict.TierAffirming is a remark. They are
	// sorted from good to bad and by detail.
	Caps []verdict.Cap
	// Annotations are texts for whoever reads the verdict, nil for none.
	Annotations map[string]string
}
