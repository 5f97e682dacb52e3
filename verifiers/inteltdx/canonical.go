// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/assize/assize/internal/strictjson"
)

const (
	maxDepth = 8
	// maxInteger is the largest integer that every JSON reader takes as it stands.
	maxInteger = 1<<53 - 1
)

// canonicalJSON is a JSON value in the form of RFC 8785. Numbers have to be
// integers, for which that form leaves no doubt, and texts Unicode; members must
// not be there twice.
func canonicalJSON(raw []byte) ([]byte, error) {
	if !json.Valid(raw) {
		return nil, errors.New("not JSON")
	}
	return appendCanonical(nil, raw, 0)
}

func appendCanonical(out []byte, raw json.RawMessage, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch raw[0] {
	case '{':
		return appendObject(out, raw, depth)
	case '[':
		return appendList(out, raw, depth)
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		return appendText(out, s)
	case 't', 'f', 'n':
		return append(out, raw...), nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n > maxInteger || n < -maxInteger || string(raw) == "-0" {
		return nil, fmt.Errorf("number %.32s is no integer of 53 bits", raw)
	}
	return strconv.AppendInt(out, n, 10), nil
}

func appendObject(out []byte, raw json.RawMessage, depth int) ([]byte, error) {
	m, err := strictjson.Members(raw)
	if err != nil {
		return nil, err
	}
	// The order is that of UTF-16 code units.
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	out = append(out, '{')
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendText(out, name); err != nil {
			return nil, err
		}
		if out, err = appendCanonical(append(out, ':'), m[name], depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func appendList(out []byte, raw json.RawMessage, depth int) ([]byte, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	out = append(out, '[')
	for i, v := range list {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendCanonical(out, v, depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

// appendText escapes what RFC 8785, section 3.2.2.2 says, and nothing else.
func appendText(out []byte, s string) ([]byte, error) {
	if strings.ContainsRune(s, utf8.RuneError) {
		return nil, errors.New("a text that is not Unicode")
	}
	const short = "\b\t\n\f\r\"\\"
	const letters = `btnfr"\`
	out = append(out, '"')
	for _, c := range []byte(s) {
		switch i := strings.IndexByte(short, c); {
		case i >= 0:
			out = append(out, '\\', letters[i])
		case c < 0x20:
			out = fmt.Appendf(out, `\u%04x`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"'), nil
}
