// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// MediaType is a parsed Content-Type: type and subtype in lower case, with
// parameters. Parameter names compare case-insensitively and are kept in lower
// case; parameter values keep their case (RFC 9193, RFC 2045 section 5.1).
// Nodes of one tree share Params: treat it as read-only, use With to change.
type MediaType struct {
	Base   string
	Params map[string]string
}

var errMediaType = errors.New("evidence: not a media type")

// ParseMediaType parses s strictly by the grammar of RFC 9193 section 2: exactly
// one slash in the base type, names of RFC 6838 section 4.2, parameter values
// that are a token or a quoted ASCII string, no duplicate parameters, no
// leading or trailing whitespace, nothing behind the last parameter.
func ParseMediaType(s string) (MediaType, error) {
	slash := nameEnd(s)
	if slash == 0 || slash == len(s) || s[slash] != '/' {
		return MediaType{}, errMediaType
	}
	sub := nameEnd(s[slash+1:])
	if sub == 0 {
		return MediaType{}, errMediaType
	}
	end := slash + 1 + sub
	m := MediaType{Base: strings.ToLower(s[:end])}
	for rest := s[end:]; rest != ""; {
		name, value, tail, ok := cutParameter(rest)
		if !ok {
			return MediaType{}, errMediaType
		}
		if m.Params == nil {
			m.Params = make(map[string]string, 1)
		}
		name = strings.ToLower(name)
		if _, dup := m.Params[name]; dup {
			return MediaType{}, errMediaType
		}
		m.Params[name] = value
		rest = tail
	}
	return m, nil
}

// cutParameter reads `OWS ; OWS name = value` from the start of s.
func cutParameter(s string) (name, value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] != ';' {
		return "", "", "", false
	}
	s = strings.TrimLeft(s[1:], " \t")
	n := tokenEnd(s)
	if n == 0 || n == len(s) || s[n] != '=' {
		return "", "", "", false
	}
	name, s = s[:n], s[n+1:]
	if s != "" && s[0] == '"' {
		value, rest, ok = cutQuoted(s[1:])
		return name, value, rest, ok
	}
	if n = tokenEnd(s); n == 0 {
		return "", "", "", false
	}
	return name, s[:n], s[n:], true
}

// cutQuoted reads a quoted string whose opening quote is consumed.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			return b.String(), s[i+1:], true
		}
		if c == '\\' {
			if i++; i == len(s) {
				return "", "", false
			}
			c = s[i]
		}
		if c < 0x20 || c > 0x7e {
			return "", "", false
		}
		b.WriteByte(c)
	}
	return "", "", false
}

// nameEnd is the length of the restricted-name of RFC 6838 at the start of s.
func nameEnd(s string) int {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && (i == 0 || strings.IndexByte("!#$&-^_.+", s[i]) < 0) {
			return i
		}
	}
	return len(s)
}

// tokenEnd is the length of the token of RFC 9110 at the start of s.
func tokenEnd(s string) int {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return i
		}
	}
	return len(s)
}

func isAlnum(c byte) bool { return isAlpha(c) || isDigit(c) }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

var quoteEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// String renders the canonical spelling: `type/subtype; name="value"` with
// parameters in the order of their names, each value quoted.
func (m MediaType) String() string {
	if len(m.Params) == 0 {
		return m.Base
	}
	var b strings.Builder
	b.WriteString(m.Base)
	for _, k := range slices.Sorted(maps.Keys(m.Params)) {
		b.WriteString("; ")
		b.WriteString(k)
		b.WriteString(`="`)
		b.WriteString(quoteEscaper.Replace(m.Params[k]))
		b.WriteByte('"')
	}
	return b.String()
}

// Matches reports whether m satisfies pattern: equal base types, and every
// parameter of the pattern present and equal in m. More parameters in the
// pattern mean a more specific match (see Specificity).
func (m MediaType) Matches(pattern MediaType) bool {
	if m.Base != pattern.Base {
		return false
	}
	for k, v := range pattern.Params {
		if got, ok := m.Params[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Equal reports equal base types and equal parameters.
func (m MediaType) Equal(o MediaType) bool {
	return m.Base == o.Base && maps.Equal(m.Params, o.Params)
}

// Specificity is the number of parameters of a pattern.
func (m MediaType) Specificity() int { return len(m.Params) }

// With returns a copy of m with one parameter set.
func (m MediaType) With(name, value string) MediaType {
	p := maps.Clone(m.Params)
	if p == nil {
		p = make(map[string]string, 1)
	}
	p[strings.ToLower(name)] = value
	return MediaType{Base: m.Base, Params: p}
}
