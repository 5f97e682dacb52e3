// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"testing"

	"github.com/assize/assize/trust"
)

// TestRouteWantsAnAnchor: who is asked follows from the configuration, and
// nobody is whose results nobody here could check.
func TestRouteWantsAnAnchor(t *testing.T) {
	key := func(role trust.Role, schemes ...string) trust.Key {
		s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return s.Key("x", schemes, role)
	}
	set := func(keys ...trust.Key) *trust.Anchors {
		a, err := trust.NewAnchors(keys...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	nodes, err := trust.NewNodes(trust.Node{Name: "n1", Keys: set(key(trust.RoleNode), key(trust.RoleVerifier, "tdx"))})
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{anchors: set(key(trust.RoleVerifier, "cpu")), nodes: nodes}
	for _, c := range []struct{ scheme, node, want string }{
		{"cpu", "", "any"}, {"cpu", "site", "site"}, {"tdx", "n1", "n1"},
		{"tdx", "", ""}, {"tdx", "site", ""}, {"cpu", "n1", ""},
	} {
		got := ""
		if list := s.route(c.scheme, c.node); len(list) > 0 {
			got = list[0].Site
		}
		if got != c.want {
			t.Errorf("%s at %q: %q, want %q", c.scheme, c.node, got, c.want)
		}
	}
}
