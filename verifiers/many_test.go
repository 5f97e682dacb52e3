// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"bytes"
	"errors"
	"testing"

	"github.com/assize/assize/evidence"
)

// A scheme may take apart the leaves of some of its types: only these become
// places in the leaf, also where there is one device in it.
func TestMany(t *testing.T) {
	s := scheme(t, "a", told{}, "x/one", "x/many")
	s.Split = func(_ evidence.MediaType, raw []byte) ([][]byte, error) { return bytes.Split(raw, []byte{','}), nil }
	s.Many = func(m evidence.MediaType) bool { return m.Base == "x/many" }
	set, err := NewSet(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		media, raw string
		parts      int
		split      bool
	}{{"x/one", "1,2", 1, false}, {"x/many", "1,2", 2, true}, {"x/many", "1", 1, true}} {
		parts, split, err := set.Parts(mt(t, c.media), []byte(c.raw))
		if err != nil || len(parts) != c.parts || split != c.split {
			t.Errorf("%s %q: %d parts, split %t, %v", c.media, c.raw, len(parts), split, err)
		}
	}
}

// A component that the scheme does not take stays a component, without anybody to
// appraise it, and the others stay as they are.
func TestTakes(t *testing.T) {
	s := scheme(t, "a", told{}, "x/one", "x/many")
	s.Split = func(_ evidence.MediaType, raw []byte) ([][]byte, error) { return bytes.Split(raw, []byte{','}), nil }
	s.Many = func(m evidence.MediaType) bool { return m.Base == "x/many" }
	s.Takes = func(_ evidence.MediaType, part []byte) error {
		switch string(part) {
		case "bad":
			return errors.New("no such thing")
		case "bang":
			panic("bang")
		}
		return nil
	}
	set, err := NewSet(s)
	if err != nil {
		t.Fatal(err)
	}
	parts, split, err := set.Parts(mt(t, "x/many"), []byte("good,bad,bang"))
	if err != nil || !split || len(parts) != 3 {
		t.Fatal(parts, split, err)
	}
	for i, want := range []error{nil, ErrNoVerifier, ErrMalformed} {
		if p := parts[i]; !errors.Is(p.Err, want) || (p.Scheme.Name == "") != (want != nil) || len(p.Evidence) == 0 {
			t.Errorf("%d: %+v", i, p)
		}
	}
	if parts, _, err = set.Parts(mt(t, "x/one"), []byte("bad")); err != nil || parts[0].Err != nil {
		t.Errorf("a leaf that is not taken apart: %v %v", parts, err)
	}
}
