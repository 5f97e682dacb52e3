// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"fmt"
	"slices"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// requireRelays lowers every component whose claims rest on bytes beside its
// signature, where nothing in the CPU's evidence vouches for these (decision
// D-80). Its verifier saw one component and could not know.
func requireRelays(parts []verdict.Component) {
	for label, why := range binding.Unauthenticated(parts) {
		i := slices.IndexFunc(parts, func(c verdict.Component) bool { return c.Label == label })
		if !unauthenticated(parts[i]) {
			parts[i].Reasons = append(parts[i].Reasons, why)
		}
	}
}

func unauthenticated(c verdict.Component) bool {
	return slices.ContainsFunc(c.Reasons, func(r verdict.Reason) bool { return r.Code == verdict.ReasonReportUnauthenticated })
}

// recheckRelays holds the verdict about every single component to what its own
// results give: whose report nothing vouches for, of that it has to say so.
func recheckRelays(stated []verdict.Component, unvouched map[evidence.Path]verdict.Reason) error {
	for _, c := range stated {
		if _, ok := unvouched[c.Label]; ok && !unauthenticated(c) {
			return fmt.Errorf("orchestrator: the verdict does not say of %s that nothing vouches for what is said of its interface", c.Label)
		}
	}
	return nil
}
