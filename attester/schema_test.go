// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/assize/assize/schemas"
)

// The schema and the type know the same keys and the same words.
func TestSchemaIsTheDescription(t *testing.T) {
	raw, err := schemas.Read("machine.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	compareKeys(t, "", doc, reflect.TypeFor[Description]())
}

func compareKeys(t *testing.T, path string, schema map[string]any, typ reflect.Type) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	var keys []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		key := f.Tag.Get("yaml")
		keys = append(keys, key)
		below, _ := properties[key].(map[string]any)
		if f.Type.Kind() == reflect.Struct {
			compareKeys(t, path+key+".", below, f.Type)
		}
	}
	slices.Sort(keys)
	if got := slices.Sorted(maps.Keys(properties)); !slices.Equal(got, keys) {
		t.Errorf("%s: schema has %v, the type %v", path, got, keys)
	}
}

// What one accepts the other accepts.
func TestSchemaAgreesWithParser(t *testing.T) {
	s, err := schemas.Load("machine.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		`{}`: true,
		`{"name":"x","cpu":{"kind":"intel-tdx","quote":"v4","form":"json"},"gpus":{"count":8},"layout":"nested","binding":"nonce"}`: true,
		`{"cpu":{"kind":"amd-snp","product":"milan","form":"tsm"},"devices":{"count":1,"spdm":"1.3","suite":"p256","tdisp":true}}`:  true,
		`{"vtpm":{"key":"rsa2048"},"binding":"ak"}`:                                 true,
		`{"cpu":{"kind":"intel-sgx","quote":"v5","form":"raw"},"psa":{"count":16}}`: true,
		`{"cpu":{"kind":"amd-snp","product":"turin","key":"vlek"}}`:                 true,
		`{"cpu":{"kind":"arm-cca","form":"tsm"}}`:                                   true,
		`{"cpu":{"kind":"aws-nitro"},"psa":{"count":1},"layout":"nested"}`:          true,
		`{"psa":{"count":17}}`:                      false,
		`{"psa":{"kind":"m0"}}`:                     false,
		`{"cpu":{"kind":"amd-snp","key":"rsa"}}`:    false,
		`{"cpu":{"kind":"intel-sgx","quote":"v2"}}`: false,
		`{"cpu":{"kind":"z80"}}`:                    false,
		`{"gpus":{"count":9}}`:                      false,
		`{"switches":{"count":-1}}`:                 false,
		`{"devices":{"spdm":"2.0"}}`:                false,
		`{"vtpm":{"key":"dsa"}}`:                    false,
		`{"speed":1}`:                               false,
	} {
		_, parseErr := ParseDescription([]byte(text)) // JSON is YAML
		if schemaErr := s.ValidateJSON([]byte(text)); (schemaErr == nil) != ok || (parseErr == nil) != ok {
			t.Errorf("%s: schema %v, parser %v", text, schemaErr, parseErr)
		}
	}
}
