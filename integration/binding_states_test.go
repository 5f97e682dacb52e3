// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/binding"
)

// States of a check on machines.
const (
	stateBound  = "bound"
	stateBroken = "broken" // a commitment to something else
	stateAbsent = "absent"
	stateForged = "forged" // by software that nobody knows, or a program that makes evidence up
)

var theStates = []string{stateBound, stateBroken, stateAbsent, stateForged}

// impossible are states that a check does not have by nature, and why. Those without
// stateBroken stand in docs/binding.md.
var impossible = map[string]map[string]string{
	binding.KindNonce:        {stateBroken: "a component that answers another challenge is contraindicated by itself (nonce-mismatch)"},
	binding.KindDerivedNonce: {stateBroken: "a component that answers another challenge is contraindicated by itself (nonce-mismatch)"},
	binding.KindKeyChain:     {stateBroken: "nobody says which keys a chain should have"},
	binding.KindPlatform:     {stateBroken: "nobody says on which platform a second TEE should be"},
	binding.KindIdentity: {
		stateBound:  "that a device stands there once is no tie to anything",
		stateForged: "identities stand in certificates: a program can hand a device in twice, which is broken, and no more",
	},
}

// TestEveryStateOfEveryBinding: the tables of this package have every check in every
// state, or it is said why there is none; and a row of a state shows that state.
func TestEveryStateOfEveryBinding(t *testing.T) {
	type row struct{ kind, state, what, edge string }
	var rows []row
	for _, c := range machineBindings() {
		rows = append(rows, row{c.kind, c.state, c.what, c.edge})
	}
	for _, c := range platformBindings() {
		rows = append(rows, row{binding.KindPlatform, c.state, c.what, c.edge})
	}
	for _, c := range chainBindings() {
		rows = append(rows, row{binding.KindKeyChain, c.state, c.what, c.edge})
	}
	raw, err := os.ReadFile("../docs/binding.md")
	must(t, err)
	_, text, ok := strings.Cut(string(raw), "Some things have no `broken`")
	text, _, _ = strings.Cut(text, "\n\n")
	for _, c := range binding.Checkers() {
		for _, state := range theStates {
			shown := slices.ContainsFunc(rows, func(r row) bool { return r.kind == c.Kind && r.state == state })
			if why := impossible[c.Kind][state]; shown != (why == "") {
				t.Errorf("%s, %s: shown %t, and is not to be because %q", c.Kind, state, shown, why)
			}
		}
		if _, never := impossible[c.Kind][stateBroken]; !ok || strings.Contains(text, "`"+c.Kind+"`") != never {
			t.Errorf("docs/binding.md says of %s that it has no broken: %t", c.Kind, !never)
		}
		for _, r := range rows {
			if r.kind == c.Kind && !shows(r.edge, r.state, c) {
				t.Errorf("%s, %s: %q does not show that it is %s", r.kind, r.what, r.edge, r.state)
			}
		}
	}
}

// shows: this is what an edge of a check in a state is. What is forged is never strong,
// but where hardware writes it, and software plays no part.
func shows(edge, state string, c binding.Checker) bool {
	switch state {
	case stateBound:
		return strings.HasPrefix(edge, "bound "+c.Strength)
	case stateBroken:
		return strings.HasPrefix(edge, "broken none")
	case stateAbsent:
		return edge == "" || strings.HasPrefix(edge, "absent none")
	}
	return c.Strength == binding.StrengthNonce || !strings.HasPrefix(edge, "bound strong") || edge == "bound strong hardware"
}
