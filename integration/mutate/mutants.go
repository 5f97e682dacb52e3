// SPDX-License-Identifier: Apache-2.0

package main

import "slices"

// mutants are all mutants, those of one folder together. Their texts are short
// on purpose: what is around them may change.
func mutants() []mutant {
	return slices.Concat(
		evidenceMutants(), topologyMutants(), orchestratorMutants(), relayMutants(), intakeMutants(),
		aggregateMutants(), trustMutants(), edgeMutants(), nodeMutants(),
		nvidiaMutants(), interconnectMutants(), nrasMutants(), spdmMutants(),
		relianceMutants(), policyMutants(), bindingMutants(), formatMutants(),
	)
}
