// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"mime"
	"testing"
)

func TestParseMediaType(t *testing.T) {
	for in, want := range map[string]string{
		"a/b":                           "a/b",
		"Application/EAT+cwt":           "application/eat+cwt",
		"a/b;c=d":                       `a/b; c="d"`,
		"a/b ; C=D":                     `a/b; c="D"`,
		`a/b;c="d e"; a=1`:              `a/b; a="1"; c="d e"`,
		`a/b; c="\"\\"`:                 `a/b; c="\"\\"`,
		`a/b; c=""`:                     `a/b; c=""`,
		"a/b; eat_profile=2.16.840.1.1": `a/b; eat_profile="2.16.840.1.1"`,
		"":                              "",
		" a/b":                          "",
		"a/b ":                          "",
		"a":                             "",
		"a/":                            "",
		"/b":                            "",
		"a/b/c":                         "",
		"+a/b":                          "",
		"a/b;":                          "",
		"a/b; c":                        "",
		"a/b; c=":                       "",
		"a/b; =d":                       "",
		"a/b; c=d; C=e":                 "",
		"a/b; c=d:e":                    "",
		`a/b; c="d`:                     "",
		`a/b; c="d\`:                    "",
		`a/b; c="d"e`:                   "",
		"a/b; c=\"\n\"":                 "",
		"a/b; c=\"é\"":                  "",
		"a/b, a/c":                      "",
		"é/b":                           "",
		"a/b\x00":                       "",
	} {
		m, err := ParseMediaType(in)
		if want == "" {
			if err == nil {
				t.Errorf("%q accepted as %q", in, m)
			}
			continue
		}
		if err != nil || m.String() != want {
			t.Errorf("%q: %q, %v, want %q", in, m, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	m, err := ParseMediaType(`a/b; c=d; e=f`)
	if err != nil {
		t.Fatal(err)
	}
	base := MediaType{Base: "a/b"}
	for _, c := range []struct {
		pattern MediaType
		want    bool
	}{
		{base, true}, {base.With("C", "d"), true}, {base.With("c", "D"), false}, {base.With("x", "d"), false}, {MediaType{Base: "a/c"}, false}, {m, true},
	} {
		if m.Matches(c.pattern) != c.want {
			t.Errorf("%s matches %s: %t", m, c.pattern, !c.want)
		}
	}
	if base.Matches(m) || base.With("c", "d").Specificity() != 1 || base.Params != nil {
		t.Error("pattern and type mixed up, or With changed its receiver")
	}
}

func FuzzMediaType(f *testing.F) {
	for _, s := range []string{"a/b", `a/b; c="d\"e"`, "a/b ;c=d\t; e=f", "a/b;", contentFormats[10003], "application/cmw+cbor; cmwc_t=1.2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMediaType(s)
		if err != nil {
			return
		}
		back, err := ParseMediaType(m.String())
		if err != nil || !back.Equal(m) || !m.Matches(back) || back.String() != m.String() {
			t.Errorf("%q becomes %q: %v", s, m, err)
		}
		// the standard library, which is laxer, agrees on what it reads
		base, _, err := mime.ParseMediaType(s)
		if err == nil && base != m.Base {
			t.Errorf("%q has base %q, mime says %q", s, m.Base, base)
		}
	})
}
