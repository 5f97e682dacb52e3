// SPDX-License-Identifier: Apache-2.0

// Package strictjson takes JSON objects apart as encoding/json does not:
// duplicate names and anything behind the object are errors, because of two
// members one reader takes the first and another the last.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrNoObject says that a value is not a JSON object.
var ErrNoObject = errors.New("strictjson: not a JSON object")

// Members splits one object into its members, byte for byte. Only this object is
// looked at: nested ones are for the caller to split. Errors give the offset in
// bytes.
func Members(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, ErrNoObject
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, at(dec, err)
		}
		name, ok := tok.(string)
		if !ok {
			return nil, at(dec, errors.New("member name expected"))
		}
		if _, dup := out[name]; dup {
			return nil, at(dec, fmt.Errorf("duplicate member %.64q", name))
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, at(dec, err)
		}
		out[name] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, at(dec, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, at(dec, errors.New("data behind the object"))
	}
	return out, nil
}

func at(dec *json.Decoder, err error) error {
	return fmt.Errorf("strictjson: byte %d: %w", dec.InputOffset(), err)
}
