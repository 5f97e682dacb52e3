// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/fxamacker/cbor/v2"
)

// TypeProblem is the media type of errors (RFC 9290).
const TypeProblem = "application/concise-problem-details+cbor"

// Problem is an error of the service: title (-1) and detail (-2).
type Problem struct {
	Title, Detail string
}

// Encode writes the problem in CBOR.
func (p Problem) Encode() ([]byte, error) {
	raw, err := marshal(map[int64]any{-1: p.Title, -2: p.Detail})
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	return raw, nil
}

// maxProblem is the longest problem that is read, and the longest text of one, in
// bytes.
const (
	maxProblem     = 64 << 10
	maxProblemText = 512
)

// ParseProblem reads title and detail of a problem and makes them fit to be
// shown: one line, not long. Whatever else is in it is ignored.
func ParseProblem(raw []byte) (Problem, error) {
	var p Problem
	if len(raw) > maxProblem || len(raw) == 0 || raw[0]>>5 != 5 {
		return p, fmt.Errorf("coserv: problem of %d bytes is no map, or too long", len(raw))
	}
	mode, err := decoding()
	if err != nil {
		return p, fmt.Errorf("coserv: %w", err)
	}
	var m map[any]cbor.RawMessage // keys may be texts
	r := reader{mode}
	if err := r.item("problem", raw, &m); err != nil {
		return p, err
	}
	for key, text := range map[int64]*string{-1: &p.Title, -2: &p.Detail} {
		if v, ok := m[key]; ok && r.item("problem", v, text) == nil {
			*text = shown(*text)
		}
	}
	return p, nil
}

// shown is s without what does not belong in a line of a log.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxProblemText {
		s = strings.ToValidUTF8(s[:maxProblemText], "")
	}
	return s
}
