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
// signature, or on a key, where nothing in the CPU's evidence vouches for these
// (decisions D-80, D-115). Its verifier saw one component and could not know.
func requireRelays(parts []verdict.Component) {
	for label, found := range binding.Unauthenticated(parts) {
		i := slices.IndexFunc(parts, func(c verdict.Component) bool { return c.Label == label })
		for _, why := range found {
			if !told(parts[i], why.Code) {
				parts[i].Reasons = append(parts[i].Reasons, why)
			}
		}
	}
}

// told: the lead gave a reason with this code for a component.
func told(c verdict.Component, code string) bool {
	return slices.ContainsFunc(c.Reasons, func(r verdict.Reason) bool { return r.Code == code })
}

// ofRelays: requireRelays gives this reason, and comes to it again.
func ofRelays(code string) bool {
	return code == verdict.ReasonReportUnauthenticated || code == verdict.ReasonKeyNotVouchedFor
}

// recheckRelays holds the verdict about every single component to what its own
// results give: for whose report or key nothing vouches, of that it has to say so.
func recheckRelays(stated []verdict.Component, unvouched map[evidence.Path][]verdict.Reason) error {
	for _, c := range stated {
		for _, why := range unvouched[c.Label] {
			if !told(c, why.Code) {
				return fmt.Errorf("orchestrator: the verdict does not say of %s that nothing vouches for what it rests on (%s)", c.Label, why.Code)
			}
		}
	}
	return nil
}
