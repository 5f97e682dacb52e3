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
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
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
	case sc.Policy != nil && sc.Policy.Scheme != sc.Name:
		return fmt.Errorf("verifiers: scheme %q declares an appraisal policy of %q", sc.Name, sc.Policy.Scheme)
	case sc.Policy != nil:
		return sc.Policy.Check()
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
// wins. Three types are refined by content first, and only to choose among the
// schemes that accept them:
//
//   - a configfs-TSM report names its provider inside, so its type gets the
//     parameter "provider", and the refined type is returned;
//   - a leaf of a confidential VM of Azure holds the CPU's report and says which
//     TEE made it, so its type gets the parameter "tee";
//   - NVIDIA's containers name the architecture of each device, or its chip. A
//     pattern with the parameter "arch" takes devices of that one alone. The type
//     that is returned stays as it was, because one leaf may hold several.
//
// A leaf whose devices belong to several schemes has no one route, see Parts; a
// device that belongs to none is left to the scheme of the others, whose node
// does not accept it.
// Errors wrap ErrNoVerifier or ErrMalformed.
func (s *Set) Route(mt evidence.MediaType, raw []byte) (Scheme, evidence.MediaType, error) {
	if !s.byArch(mt) {
		return s.route(mt, raw)
	}
	parts, err := container.Split(mt.Base, raw)
	if err != nil {
		return Scheme{}, mt, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var found Scheme
	var why error
	for i, part := range parts {
		sc, err := s.device(mt, part)
		switch {
		case err != nil && why == nil:
			why = err
		case err == nil && found.Name != "" && found.Name != sc.Name:
			return Scheme{}, mt, fmt.Errorf("%w: device %d is for %s, others are for %s", ErrMalformed, i, sc.Name, found.Name)
		case err == nil:
			found = sc
		}
	}
	if found.Name == "" {
		return Scheme{}, mt, why
	}
	return found, mt, nil
}

func (s *Set) route(mt evidence.MediaType, raw []byte) (Scheme, evidence.MediaType, error) {
	mt, err := refine(mt, raw)
	if err != nil {
		return Scheme{}, mt, err
	}
	sc, err := s.match(mt)
	return sc, mt, err
}

// match finds the scheme with the most specific pattern.
func (s *Set) match(mt evidence.MediaType) (Scheme, error) {
	best, level := Scheme{}, -1
	for _, sc := range s.schemes {
		for _, p := range sc.Accepts {
			if !mt.Matches(p) {
				continue
			}
			if p.Specificity() == level && best.Name != sc.Name {
				return Scheme{}, fmt.Errorf("%w: %s is claimed by %s and %s", ErrNoVerifier, mt, best.Name, sc.Name)
			}
			if p.Specificity() > level {
				best, level = sc, p.Specificity()
			}
		}
	}
	if level < 0 {
		return Scheme{}, fmt.Errorf("%w: %s", ErrNoVerifier, mt)
	}
	return best, nil
}

func refine(mt evidence.MediaType, raw []byte) (evidence.MediaType, error) {
	if mt.Base == azure.MediaType {
		tee, err := azure.TEE(raw)
		if err != nil {
			return mt, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return agree(mt, azure.TEEParam, tee)
	}
	if !strings.HasPrefix(mt.Base, "application/vnd.veraison.tsm-report+") {
		return mt, nil
	}
	r, err := tsm.Decode(mt, raw)
	if err != nil {
		return mt, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return agree(mt, "provider", r.Provider)
}

// agree adds a parameter that the content names. One that is there already
// must say the same.
func agree(mt evidence.MediaType, name, value string) (evidence.MediaType, error) {
	if said, ok := mt.Params[name]; ok && said != value {
		return mt, fmt.Errorf("%w: the media type says %s %q, the content %q", ErrMalformed, name, said, value)
	}
	return mt.With(name, value), nil
}

// byArch reports whether leaves of a type are told apart by architecture here:
// it is a type of NVIDIA's container, and a scheme of the set asks for one.
func (s *Set) byArch(mt evidence.MediaType) bool {
	return container.Known(mt.Base) && slices.ContainsFunc(s.schemes, func(sc Scheme) bool {
		return slices.ContainsFunc(sc.Accepts, func(p evidence.MediaType) bool {
			return p.Base == mt.Base && p.Params[container.ArchParam] != ""
		})
	})
}

// device finds the scheme for a component of one device.
func (s *Set) device(mt evidence.MediaType, raw []byte) (Scheme, error) {
	arch, err := container.Arch(raw)
	if errors.Is(err, container.ErrUnsupported) {
		return Scheme{}, fmt.Errorf("%w: %w", ErrNoVerifier, err)
	}
	if err != nil {
		return Scheme{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	refined, err := agree(mt, container.ArchParam, arch)
	if err != nil {
		return Scheme{}, err
	}
	return s.match(refined)
}

// Part is one component of a leaf.
type Part struct {
	// Scheme appraises the component; it is the zero value if Err is set.
	Scheme Scheme
	// MediaType is the type to ask with.
	MediaType evidence.MediaType
	// Evidence is the component, a leaf value of that type.
	Evidence []byte
	// Err says why nobody can appraise it: it wraps ErrNoVerifier or
	// ErrMalformed.
	Err error
}

// Parts takes a leaf apart and routes each component for itself: one array of
// NVIDIA's container may hold GPUs and switches, and a device that nobody can
// appraise must not take the others with it. split reports whether the
// components are places in the leaf; else there is one, the leaf itself. The
// error is about the leaf as a whole and wraps ErrNoVerifier or ErrMalformed.
func (s *Set) Parts(mt evidence.MediaType, raw []byte) (parts []Part, split bool, err error) {
	if !s.byArch(mt) {
		sc, mt, err := s.route(mt, raw)
		if err != nil {
			return nil, false, err
		}
		values, err := sc.Components(mt, raw)
		for _, v := range values {
			parts = append(parts, sc.part(mt, v))
		}
		return parts, sc.splits(mt), err
	}
	values, err := container.Split(mt.Base, raw)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, v := range values {
		sc, err := s.device(mt, v)
		parts = append(parts, Part{Scheme: sc, MediaType: mt, Evidence: v, Err: err})
	}
	return parts, container.Many(mt.Base), nil
}

// splits tells whether leaves of a type hold several components.
func (sc Scheme) splits(mt evidence.MediaType) bool {
	return sc.Split != nil && (sc.Many == nil || sc.Many(mt))
}

// part is one component of a leaf, with the reason if the scheme has none to
// appraise there.
func (sc Scheme) part(mt evidence.MediaType, raw []byte) (p Part) {
	p = Part{Scheme: sc, MediaType: mt, Evidence: raw}
	if sc.Takes == nil || !sc.splits(mt) {
		return p
	}
	defer func() {
		if r := recover(); r != nil {
			p = Part{MediaType: mt, Evidence: raw, Err: fmt.Errorf("%w: %s cannot read it", ErrMalformed, sc.Name)}
		}
	}()
	if err := sc.Takes(mt, raw); err != nil {
		return Part{MediaType: mt, Evidence: raw, Err: fmt.Errorf("%w: %w", ErrNoVerifier, err)}
	}
	return p
}

// Components takes a leaf apart into its components. One leaf is one component
// unless the scheme says otherwise.
func (sc Scheme) Components(mt evidence.MediaType, raw []byte) (parts [][]byte, err error) {
	if !sc.splits(mt) {
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
