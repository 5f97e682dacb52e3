// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const (
	nvidiaType  = "application/vnd.veraison.nvidia-gpu-evidence+json"
	nvidiaAlias = "application/vnd.veraison.nv-gpu-evidence+json"
)

// archSet has schemes that share a media type and are told apart by the
// architecture of the devices alone.
func archSet(t *testing.T) *Set {
	t.Helper()
	set, err := NewSet(
		scheme(t, "gpu", told{}, nvidiaType+`; arch="HOPPER"`, nvidiaType+`; arch="BLACKWELL"`),
		scheme(t, "switch", told{}, nvidiaType+`; arch="LS10"`),
		scheme(t, "opaque", told{}, nvidiaAlias),
	)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func devices(archs ...string) []byte {
	var out []string
	for i, a := range archs {
		out = append(out, fmt.Sprintf(`{"n":%d,"arch":%q}`, i, a))
	}
	return []byte("[" + strings.Join(out, " , ") + "]")
}

func TestRouteByArch(t *testing.T) {
	set := archSet(t)
	for _, c := range []struct {
		media string
		raw   []byte
		want  string
		err   error
	}{
		{nvidiaType, devices("HOPPER"), "gpu", nil},
		{nvidiaType, devices("hopper", "BLACKWELL"), "gpu", nil},
		{nvidiaType, devices("LS10", "ls10"), "switch", nil},
		{nvidiaType + `; q="1"`, devices("LS10"), "switch", nil},
		{nvidiaType + `; arch="LS10"`, devices("LS10"), "switch", nil},
		{nvidiaType + `; arch="LS10"`, devices("HOPPER"), "", ErrMalformed},
		{nvidiaType + `; arch="HOPPER"`, devices("HOPPER", "BLACKWELL"), "gpu", nil}, // the second is refused by itself
		{nvidiaType, devices("HOPPER", "LS10"), "", ErrMalformed},
		{nvidiaType, devices("VOLTA"), "", ErrNoVerifier},
		{nvidiaType, devices("VOLTA", "VOLTA"), "", ErrNoVerifier},
		{nvidiaType, devices("VOLTA", "HOPPER"), "gpu", nil},
		{nvidiaType, []byte(`[null,{"arch":"LS10"}]`), "switch", nil},
		{nvidiaType, []byte(`[{}]`), "", ErrMalformed},
		{nvidiaType, []byte(`[]`), "", ErrMalformed},
		{nvidiaType, []byte(`x`), "", ErrMalformed},
		{nvidiaType, nil, "", ErrMalformed},
		// Where nobody asks for an architecture the content is not looked at.
		{nvidiaAlias, []byte("x"), "opaque", nil},
		{"x/c", devices("HOPPER"), "", ErrNoVerifier},
	} {
		got, typ, err := set.Route(mt(t, c.media), c.raw)
		if got.Name != c.want || !errors.Is(err, c.err) || typ.String() != mt(t, c.media).String() {
			t.Errorf("%s of %s: %q, %s, %v; want %q, %v", c.media, c.raw, got.Name, typ, err, c.want, c.err)
		}
	}
}

// Schemes that take any architecture, or the same, stay an error or a matter of
// the more specific pattern.
func TestArchDoesNotHideAmbiguity(t *testing.T) {
	for name, list := range map[string][]Scheme{
		"one architecture twice": {scheme(t, "a", told{}, nvidiaType+`; arch="LS10"`), scheme(t, "b", told{}, nvidiaType+`; arch="LS10"`)},
		"one type twice":         {scheme(t, "a", told{}, nvidiaType), scheme(t, "b", told{}, nvidiaType)},
	} {
		if _, err := NewSet(list...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	set, err := NewSet(scheme(t, "any", told{}, nvidiaType), scheme(t, "one", told{}, nvidiaType+`; arch="LS10"`))
	if err != nil {
		t.Fatal(err)
	}
	for arch, want := range map[string]string{"LS10": "one", "HOPPER": "any"} {
		if sc, _, err := set.Route(mt(t, nvidiaType), devices(arch)); err != nil || sc.Name != want {
			t.Errorf("%s: %q, %v", arch, sc.Name, err)
		}
	}
}

// Each device of a mixed leaf goes its own way, and keeps its bytes.
func TestParts(t *testing.T) {
	set := archSet(t)
	raw := []byte(`[ {"arch" : "HOPPER"} , {"arch":"ls10"}, {"arch":"VOLTA"}, null , {"arch":"BLACKWELL","x":[1]}]`)
	parts, split, err := set.Parts(mt(t, nvidiaType), raw)
	if err != nil || !split || len(parts) != 5 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	for i, want := range []struct {
		scheme, value string
		err           error
	}{
		{"gpu", `[{"arch" : "HOPPER"}]`, nil}, {"switch", `[{"arch":"ls10"}]`, nil}, {"", `[{"arch":"VOLTA"}]`, ErrNoVerifier},
		{"", `[null]`, ErrMalformed}, {"gpu", `[{"arch":"BLACKWELL","x":[1]}]`, nil},
	} {
		p := parts[i]
		if p.Scheme.Name != want.scheme || string(p.Evidence) != want.value || !errors.Is(p.Err, want.err) || (p.Err == nil) != (want.err == nil) || p.MediaType.String() != nvidiaType {
			t.Errorf("part %d: %q, %s, %v", i, p.Scheme.Name, p.Evidence, p.Err)
			continue
		}
		if want.err != nil {
			continue
		}
		// A node routes the part for itself, and must come to the same.
		if sc, _, err := set.Route(p.MediaType, p.Evidence); err != nil || sc.Name != want.scheme {
			t.Errorf("part %d alone: %q, %v", i, sc.Name, err)
		}
	}
	for _, bad := range []string{"", "[]", "{}", "[1", "[" + strings.Repeat("1,", 64) + "1]"} {
		if parts, _, err := set.Parts(mt(t, nvidiaType), []byte(bad)); !errors.Is(err, ErrMalformed) || parts != nil {
			t.Errorf("%.9q: %d parts, %v", bad, len(parts), err)
		}
	}
	// Everything else is routed as a whole.
	parts, split, err = set.Parts(mt(t, nvidiaAlias), []byte("x"))
	if err != nil || split || len(parts) != 1 || parts[0].Scheme.Name != "opaque" || string(parts[0].Evidence) != "x" {
		t.Errorf("%+v, %v", parts, err)
	}
	if parts, _, err := set.Parts(mt(t, "x/c"), nil); !errors.Is(err, ErrNoVerifier) || parts != nil {
		t.Errorf("%v", err)
	}
}

func FuzzParts(f *testing.F) {
	f.Add(devices("HOPPER", "LS10"))
	f.Add([]byte(`[{"arch":"VOLTA"},null,{"arch":"LS10","arch":"HOPPER"}]`))
	set, err := NewSet(scheme(f, "gpu", told{}, nvidiaType+`; arch="HOPPER"`), scheme(f, "switch", told{}, nvidiaType+`; arch="LS10"`))
	if err != nil {
		f.Fatal(err)
	}
	typ := mt(f, nvidiaType)
	f.Fuzz(func(t *testing.T, raw []byte) {
		parts, _, err := set.Parts(typ, raw)
		if err != nil && len(parts) > 0 {
			t.Fatalf("%d parts of a leaf that is refused", len(parts))
		}
		for _, p := range parts {
			sc, _, err := set.Route(typ, p.Evidence)
			if (err == nil) != (p.Err == nil) || sc.Name != p.Scheme.Name {
				t.Fatalf("%q: %q and %q, %v and %v", p.Evidence, p.Scheme.Name, sc.Name, p.Err, err)
			}
		}
	})
}
