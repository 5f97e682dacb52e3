// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/cddl"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verifiers/spdm/eatda"
)

func grammarOf(t testing.TB, name string) *cddl.Grammar {
	t.Helper()
	text, err := schemas.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	g, err := cddl.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGrammarContainer holds the grammar of the container and its decoder against
// each other, on every document that one change makes of one with all members.
func TestGrammarContainer(t *testing.T) {
	g := grammarOf(t, "spdm-evidence.cddl")
	fill := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	type m = map[any]any
	good := m{
		1: Profile, 2: "pci:0000:01:00.0", 3: fill(32), 4: fill(150), 5: m{0: fill(9), 7: fill(9)}, 6: fill(9), 7: fill(9), 8: fill(9),
		9: m{1: "sev-tio-tdi-info", 2: fill(9), 3: 1, 4: 5}, 10: fill(9), 11: fill(9),
	}
	for _, w := range []struct {
		doc m
		of  reflect.Type
	}{{good, reflect.TypeFor[wire]()}, {cddl.Below(good, 9), reflect.TypeFor[wireTSM]()}} {
		if w.of.NumField() != len(w.doc) {
			t.Errorf("%s has %d members, the document of this test %d", w.of, w.of.NumField(), len(w.doc))
		}
		for i := range w.of.NumField() {
			name, _, _ := strings.Cut(w.of.Field(i).Tag.Get("cbor"), ",")
			if key, err := strconv.Atoi(name); err != nil || w.doc[key] == nil {
				t.Errorf("%s: member %s is not in the document of this test", w.of, name)
			}
		}
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	checked, refused := 0, 0
	check := func(doc m, what string) {
		raw, err := mode.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Decode(raw)
		if valid := g.Check("", raw); (valid == nil) != (err == nil) {
			t.Errorf("%s: the grammar says %v, the decoder %v", what, valid, err)
		}
		if checked++; err != nil {
			refused++
		}
	}
	check(good, "as it is")
	values := []any{
		0, 1, 3, 255, 256, 65535, 65536, -1, "", "x", strings.Repeat("x", 256), strings.Repeat("x", 257), Profile, nil, true, 1.5, []any{}, []any{1}, m{}, m{0: fill(1)}, m{8: fill(1)},
		m{1: "x"}, fill(0), fill(1), fill(65537), cbor.Tag{Number: 24, Content: fill(1)},
	}
	cddl.Mutate(good, values, []any{-1, 6, 8, 12, "other"}, func(x cddl.Mutant) { check(x.Doc, x.What) })
	if checked < 300 || refused < 200 || refused > checked*95/100 {
		t.Errorf("%d documents, %d refused", checked, refused)
	}
}

// TestGrammarVectors: containers and tokens of all captures, and of simulated
// devices, are valid.
func TestGrammarVectors(t *testing.T) {
	container, token := grammarOf(t, "spdm-evidence.cddl"), grammarOf(t, "eat-da.cddl")
	check := func(name string, e *Evidence) {
		raw, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := container.Check("spdm-evidence", raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if raw, err = EncodeToken(tokenNonce, e); err != nil {
			return // not every capture has a form as token
		}
		if err := token.Check("unprotected-token", raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := eatda.Decode(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, version := range fuzzVersions {
		check("SPDM "+version.String(), newDevice(t, versionOf(version)).evidence(t))
	}
	for _, r := range recordings(t) {
		check(r.name, r.evidence())
	}
}
