// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// The functions below walk over JSON whose grammar was checked once. That is
// several times faster than a json.Decoder on members of many kilobytes, and
// keeps original bytes and member names as they are written: encoding/json
// would match names without regard to case.

// checkJSON wants one JSON value in UTF-8 and nothing behind it. Everything
// else in this file relies on it.
func checkJSON(raw []byte) error {
	if !utf8.Valid(raw) {
		return errors.New("nvidiagpu: evidence is not UTF-8")
	}
	if json.Valid(raw) {
		return nil
	}
	var value json.RawMessage
	err := json.Unmarshal(raw, &value)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("nvidiagpu: evidence is not JSON at offset %d: %w", syntax.Offset, err)
	}
	return fmt.Errorf("nvidiagpu: evidence is not JSON: %w", err)
}

// skipBlank returns the offset of the next byte that is not white space.
func skipBlank(b []byte, at int) int {
	for b[at] == ' ' || b[at] == '\t' || b[at] == '\n' || b[at] == '\r' {
		at++
	}
	return at
}

// nextItem steps from the end of an item over the comma to the next item, or
// to the closing bracket.
func nextItem(b []byte, at int) int {
	at = skipBlank(b, at)
	if b[at] == ',' {
		at = skipBlank(b, at+1)
	}
	return at
}

// valueEnd returns the offset behind the value that begins at at, inside an
// array or object.
func valueEnd(b []byte, at int) int {
	depth := 0
	for {
		switch b[at] {
		case '"':
			at = stringEnd(b, at)
		case '[', '{':
			depth++
			at++
		case ']', '}':
			depth--
			at++
		default:
			at++
		}
		if depth == 0 && bytes.IndexByte([]byte(",:]} \t\n\r"), b[at]) >= 0 {
			return at
		}
	}
}

func stringEnd(b []byte, at int) int {
	for at++; b[at] != '"'; at++ {
		if b[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// unquote returns the text of a JSON string.
func unquote(quoted []byte) (s string, err error) {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), nil
	}
	err = json.Unmarshal(quoted, &s)
	return s, err
}
