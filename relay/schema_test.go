// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
)

const schemaName = "relay.schema.json"

// The schema has the members of the program: the same, in the same order,
// required where the program always writes them.
func TestSchemaHasTheMembersOfTheProgram(t *testing.T) {
	raw, err := schemas.Read(schemaName)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path  []string
		value any
	}{
		{[]string{"$defs", "envelope"}, envelopeJSON{}},
		{[]string{"$defs", "component"}, componentJSON{}},
		{[]string{"$defs", "answer"}, answerJSON{}},
		{[]string{"$defs", "envelope", "properties", "hops", "items"}, hopJSON{}},
		{[]string{"$defs", "envelope", "properties", "commit"}, commitJSON{}},
		{[]string{"$defs", "answer", "properties", "failures", "items"}, failureJSON{}},
	} {
		var names, always []string
		typ := reflect.TypeOf(c.value)
		for i := range typ.NumField() {
			name, rest, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			names = append(names, name)
			if rest == "" {
				always = append(always, name)
			}
		}
		members, err := trust.Members(raw, append(slices.Clone(c.path), "properties")...)
		if err != nil {
			t.Fatal(err)
		}
		var described []string
		for _, m := range members {
			described = append(described, m.Name)
		}
		if !slices.Equal(described, names) {
			t.Errorf("%v: schema %v, program %v", c.path, described, names)
		}
		members, err = trust.Members(raw, c.path...)
		if err != nil {
			t.Fatal(err)
		}
		var required []string
		for _, m := range members {
			if m.Name == "required" {
				if err := json.Unmarshal(m.Raw, &required); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !slices.Equal(required, always) {
			t.Errorf("%v: schema requires %v, program writes %v", c.path, required, always)
		}
	}
}

func TestSchemaAcceptsWhatIsWritten(t *testing.T) {
	schema, err := schemas.Load(schemaName)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, trust.EdDSA)
	e := l.envelope()
	least := e
	least.Evidence, least.Commit, least.Partials, least.Nonce, least.VerificationTime = nil, nil, nil, nil, e.Issued.AddDate(1, 0, 0)
	for _, e := range []Envelope{e, least} {
		if err := e.check(); err != nil {
			t.Fatal(err)
		}
		st, err := e.statement()
		if err := schema.ValidateJSON(must(t, st, err)); err != nil {
			t.Error(err)
		}
	}
	st, err := l.answer(e, []byte("x")).statement()
	if err := schema.ValidateJSON(must(t, st, err)); err != nil {
		t.Error(err)
	}
}

// What the program refuses as a form, the schema refuses as well.
func TestSchemaRefusesWhatTheProgramRefuses(t *testing.T) {
	schema, err := schemas.Load(schemaName)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, trust.EdDSA)
	e := l.envelope()
	envelope, err := e.statement()
	must(t, envelope, err)
	answer, err := l.answer(e, []byte("x")).statement()
	must(t, answer, err)
	for _, c := range []struct {
		of       []byte
		old, new string
	}{
		{envelope, `{"id"`, `{"x":1,"id"`},
		{envelope, `"to":"vendor-c",`, ``},
		{envelope, `"to":"vendor-c"`, `"to":"Vendor C"`},
		{envelope, testID("0a"), testID("0A")},
		{envelope, `"session":"session-1"`, `"session":""`},
		{envelope, `"node":"vendor-b"`, `"node":"b@c"`},
		{envelope, `"issued":"2026-03-01T12:00:00.250Z"`, `"issued":"2026-03-01T12:00:00Z"`},
		{envelope, `"exposed":true`, `"exposed":false`},
		{envelope, `"sources":3`, `"sources":0`},
		{envelope, `"sources":3`, `"sources":257`},
		{envelope, `"sealed":"seal-key-1",`, ``},
		{envelope, `"evidence":"plain"`, `"evidence":"plain","for":"vendor-d"`},
		{envelope, `"evidence":"sealed"`, `"evidence":"open"`},
		{envelope, `"nonce":"paWl`, `"nonce":"+aWl`},
		{envelope, `"label":"gpu/0"`, `"label":""`},
		{envelope, `"label":"gpu/0"`, `"label":"gpu//0"`},
		{envelope, `"signer":"`, `"signer":"A`},
		{envelope, `"partials":["cpu","a~1b"]`, `"partials":null`},
		{answer, `"code":"timeout"`, `"code":""`},
		{answer, `"digest":"`, `"digest":"00`},
		{answer, `"via":[`, `"via":[],"x":[`},
		{answer, `"detail":"no answer"`, `"detail":null`},
	} {
		bad := bytes.Replace(c.of, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(bad, c.of) {
			t.Errorf("%s: nothing replaced", c.old)
		}
		if schema.ValidateJSON(bad) == nil {
			t.Errorf("the schema accepts %s", c.new)
		}
	}
}
