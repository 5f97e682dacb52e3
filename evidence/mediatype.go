// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"maps"
	"mime"
	"slices"
	"strings"
)

// MediaType is a parsed Content-Type: type and subtype in lower case, with
// parameters. Parameter names compare case-insensitively and are kept in lower
// case; parameter values keep their case (RFC 9193, RFC 2045 section 5.1).
type MediaType struct {
	Base   string
	Params map[string]string
}

var errMediaType = errors.New("evidence: not a media type")

// ParseMediaType parses s strictly: exactly one slash in the base type, no
// duplicate parameters, nothing behind the last parameter.
func ParseMediaType(s string) (MediaType, error) {
	if s == "" || s != strings.TrimSpace(s) {
		return MediaType{}, errMediaType
	}
	base, params, err := mime.ParseMediaType(s)
	if err != nil || strings.Count(base, "/") != 1 || strings.HasSuffix(base, "/") || strings.HasPrefix(base, "/") {
		return MediaType{}, errMediaType
	}
	if len(params) == 0 {
		params = nil
	}
	return MediaType{Base: base, Params: params}, nil
}

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
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.Params[k]))
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
