// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// maxDepth bounds the nesting of Intel's JSON, which has five levels.
const maxDepth = 16

// memberNames are the names that a decoder looks for, by their folded form.
type memberNames map[string]string

// collateralNames are all names in TCB info and QE identity.
func collateralNames() memberNames {
	n := memberNames{}
	n.add(reflect.TypeFor[tcbInfo]())
	n.add(reflect.TypeFor[qeIdentity]())
	return n
}

func (n memberNames) add(t reflect.Type) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
			n[fold(name)] = name
			n.add(t.Field(i).Type)
		}
	}
}

// fold maps all names that encoding/json takes for one another to one: every
// character to the least one of its simple case folding.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

// decode reads one JSON value. encoding/json alone would take the last of two
// members of one name, and a member in another case for the one it looks for,
// where another reader of the same signed bytes does not.
func (n memberNames) decode(raw []byte, out any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := n.value(dec, 0); err != nil {
		return fmt.Errorf("JSON before byte %d: %w", dec.InputOffset(), err)
	}
	return json.Unmarshal(raw, out)
}

// value reads one value of any kind.
func (n memberNames) value(dec *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			if err := n.member(dec, seen); err != nil {
				return err
			}
		}
		if err := n.value(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

func (n memberNames) member(dec *json.Decoder, seen map[string]bool) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	name, ok := tok.(string)
	if !ok {
		return errors.New("no member name")
	}
	folded := fold(name)
	if seen[folded] {
		return fmt.Errorf("member %q twice in one object", name)
	}
	seen[folded] = true
	if known, ok := n[folded]; ok && known != name {
		return fmt.Errorf("member %q, expected %q", name, known)
	}
	return nil
}
