// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"slices"
	"testing"
)

// FuzzParse: Parse never panics, fails with *Error only, and what it accepts
// survives re-encoding.
func FuzzParse(f *testing.F) {
	for _, c := range jsonRules {
		f.Add(c.media, []byte(c.in))
	}
	for _, c := range cborRules {
		f.Add(c.media, unhex(f, c.in))
	}
	for _, c := range signedRules(f) {
		f.Add(c.media, c.raw)
	}
	f.Add("", unhex(f, ratsdV2Hex))
	f.Add("", []byte(ratsdLegacyText))
	f.Add(d60, []byte(ratsdLegacyText))
	for _, raw := range boundSeeds(f) {
		f.Add("", raw)
	}
	for _, raw := range itemSeeds(f) {
		f.Add("", raw)
	}
	keys := trustVec().Keys
	f.Fuzz(func(t *testing.T, media string, raw []byte) {
		for _, o := range []Options{
			{MediaType: media, Keys: keys},
			{MediaType: media, UnverifiedSignaturesUnsafe: true, LenientIndicators: true},
		} {
			tree, err := Parse(raw, o)
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || e.Rule == "" || tree != nil {
					t.Fatalf("error %v", err)
				}
				continue
			}
			checkInvariants(t, tree)
			if slices.ContainsFunc(tree.Leaves(), func(n *Node) bool { return n.Indicator()&^indRegistered != 0 }) {
				continue // such a node cannot be encoded
			}
			roundTrip(t, tree)
		}
	})
}

// checkInvariants holds for every tree.
func checkInvariants(t *testing.T, tree *Tree) {
	t.Helper()
	leaves := tree.Leaves()
	for i, n := range leaves {
		if !n.Leaf() || len(n.Value()) == 0 || n.MediaType().Base == "" || i > 0 && leaves[i-1].Path() >= n.Path() {
			t.Fatalf("leaf %d of %s", i, describe(tree))
		}
		if got, ok := tree.Lookup(n.Path()); !ok || got != n {
			t.Fatalf("leaf %q is not found", n.Path())
		}
		if s := n.Signer(); s != nil && s.Verified != (s.Public != nil) {
			t.Fatalf("signer %+v", s)
		}
	}
	if len(leaves) == 0 {
		t.Fatal("tree without leaves")
	}
}
