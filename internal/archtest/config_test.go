// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"encoding/json"
	"go/ast"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The configuration is described twice, by the program's structs and by the
// schema for its users: they have the same keys.
func TestConfigSchemaHasTheKeysOfTheProgram(t *testing.T) {
	tree := repository(t)
	program := structKeys(t, tree, "cmd/assize/internal/config/config.go", "Config")
	raw, err := fs.ReadFile(tree, "schemas/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema property
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	described := schema.keys("")
	if len(program) < 5 {
		t.Fatalf("only %d keys found in the program: %q", len(program), program)
	}
	for _, key := range program {
		if !slices.Contains(described, key) {
			t.Errorf("key %s is not in the schema", key)
		}
	}
	for _, key := range described {
		if !slices.Contains(program, key) {
			t.Errorf("key %s of the schema is unknown to the program", key)
		}
	}
}

type property struct {
	Properties map[string]property `json:"properties"`
}

// keys are the paths of all keys that have no keys below them.
func (p property) keys(prefix string) []string {
	if len(p.Properties) == 0 {
		return []string{strings.TrimSuffix(prefix, ".")}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.Properties)) {
		out = append(out, p.Properties[name].keys(prefix+name+".")...)
	}
	return out
}

// structKeys are the same paths by the yaml tags of a struct type.
func structKeys(t *testing.T, tree fs.FS, name, root string) []string {
	t.Helper()
	f, err := parse(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = s
			}
		}
		return true
	})
	var walk func(typ, prefix string) []string
	walk = func(typ, prefix string) []string {
		var out []string
		for _, field := range structs[typ].Fields.List {
			key := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("yaml")
			if id, ok := field.Type.(*ast.Ident); ok && structs[id.Name] != nil {
				out = append(out, walk(id.Name, prefix+key+".")...)
				continue
			}
			out = append(out, prefix+key)
		}
		return out
	}
	if structs[root] == nil {
		t.Fatalf("no struct %s in %s", root, name)
	}
	return walk(root, "")
}
