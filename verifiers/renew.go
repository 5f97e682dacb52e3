// SPDX-License-Identifier: Apache-2.0

package verifiers

import "github.com/assize/assize/endorsements"

// Renewer is a Verifier that can go on with other collateral and keep what it
// verified already (chains, statements that are in both bundles). A scheme whose
// verifier is none is made anew.
type Renewer interface {
	// Renew returns a verifier for the bundle; the receiver stays as it was, so
	// that appraisals that are under way end with what they began with.
	Renew(*endorsements.Bundle) (Verifier, error)
}
