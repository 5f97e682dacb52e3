// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
)

// ErrNoVerifier says that no scheme of the set takes a media type.
var ErrNoVerifier = errors.New("verifiers: no scheme accepts this media type")

// ErrMalformed says that a leaf cannot be routed or split because its own
// framing is broken.
var ErrMalformed = errors.New("verifiers: malformed leaf")

var slug = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// Set is an immutable list of schemes with unambiguous media type patterns.
type Set struct {
	schemes []Scheme
}

// NewSet checks the schemes and returns them as a set, ordered by name. A bad
// slug, a duplicate name, a scheme without New or patterns, and two equal
// patterns are errors: an ambiguous route must not survive start-up.
func NewSet(schemes ...Scheme) (*Set, error) {
	s := &Set{schemes: slices.Clone(schemes)}
	slices.SortFunc(s.schemes, func(a, b Scheme) int { return strings.Compare(a.Name, b.Name) })
	patterns := map[string]string{}
	for i, sc := range s.schemes {
		if err := checkScheme(sc); err != nil {
			return nil, err
		}
		if i > 0 && s.schemes[i-1].Name == sc.Name {
			return nil, fmt.Errorf("verifiers: scheme %q is registered twice", sc.Name)
		}
		for _, p := range sc.Accepts {
			if other, dup := patterns[p.String()]; dup {
				return nil, fmt.Errorf("verifiers: %q and %q both accept %s", other, sc.Name, p)
			}
			patterns[p.String()] = sc.Name
		}
	}
	return s, nil
}

func checkScheme(sc Scheme) error {
	switch {
	case !slug.MatchString(sc.Name):
		return fmt.Errorf("verifiers: %q is not a scheme name ([a-z0-9-]{1,32})", sc.Name)
	case sc.New == nil || len(sc.Accepts) == 0 || len(sc.Required) == 0:
		return fmt.Errorf("verifiers: scheme %q is incomplete", sc.Name)
	case sc.MaxEvidence <= 0 || sc.NonceSize <= 0:
		return fmt.Errorf("verifiers: scheme %q has no limits", sc.Name)
	case sc.Class != ClassCPU && sc.Class != ClassDevice:
		return fmt.Errorf("verifiers: scheme %q has no class", sc.Name)
	}
	return nil
}

// Schemes returns the schemes in the order of their names.
func (s *Set) Schemes() []Scheme { return slices.Clone(s.schemes) }

// Lookup finds a scheme by name.
func (s *Set) Lookup(name string) (Scheme, bool) {
	i := slices.IndexFunc(s.schemes, func(sc Scheme) bool { return sc.Name == name })
	if i < 0 {
		return Scheme{}, false
	}
	return s.schemes[i], true
}

// Only returns the sub-set with the named schemes. An unknown name is an error.
func (s *Set) Only(names ...string) (*Set, error) {
	out := make([]Scheme, 0, len(names))
	for _, n := range names {
		sc, ok := s.Lookup(n)
		if !ok {
			return nil, fmt.Errorf("verifiers: no scheme %q here", n)
		}
		out = append(out, sc)
	}
	return NewSet(out...)
}

// Route finds the scheme for a leaf by media type; the most specific pattern
// wins. A configfs-TSM report names its provider inside, so its media type is
// refined with the parameter "provider" first: the refined type is returned.
// Errors wrap ErrNoVerifier or ErrMalformed.
func (s *Set) Route(mt evidence.MediaType, raw []byte) (Scheme, evidence.MediaType, error) {
	mt, err := refine(mt, raw)
	if err != nil {
		return Scheme{}, mt, err
	}
	best, level := Scheme{}, -1
	for _, sc := range s.schemes {
		for _, p := range sc.Accepts {
			if !mt.Matches(p) {
				continue
			}
			if p.Specificity() == level && best.Name != sc.Name {
				return Scheme{}, mt, fmt.Errorf("%w: %s is claimed by %s and %s", ErrNoVerifier, mt, best.Name, sc.Name)
			}
			if p.Specificity() > level {
				best, level = sc, p.Specificity()
			}
		}
	}
	if level < 0 {
		return Scheme{}, mt, fmt.Errorf("%w: %s", ErrNoVerifier, mt)
	}
	return best, mt, nil
}

func refine(mt evidence.MediaType, raw []byte) (evidence.MediaType, error) {
	if !strings.HasPrefix(mt.Base, "application/vnd.veraison.tsm-report+") {
		return mt, nil
	}
	r, err := tsm.Decode(mt, raw)
	if err != nil {
		return mt, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if said, ok := mt.Params["provider"]; ok && said != r.Provider {
		return mt, fmt.Errorf("%w: the media type says provider %q, the report %q", ErrMalformed, said, r.Provider)
	}
	return mt.With("provider", r.Provider), nil
}

// Components takes a leaf apart into its components. One leaf is one component
// unless the scheme says otherwise.
func (sc Scheme) Components(mt evidence.MediaType, raw []byte) (parts [][]byte, err error) {
	if sc.Split == nil {
		return [][]byte{raw}, nil
	}
	defer func() {
		if r := recover(); r != nil {
			parts, err = nil, fmt.Errorf("%w: %s cannot split it", ErrMalformed, sc.Name)
		}
	}()
	parts, err = sc.Split(mt, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: no device inside", ErrMalformed)
	}
	return parts, nil
}
