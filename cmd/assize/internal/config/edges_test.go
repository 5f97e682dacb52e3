// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/schemas"
)

const protected = `
fabric: {mode: external, urls: [nats://127.0.0.1:4222], site: vendor-a}
node:
  name: vendor-a
  peers: [entry.json]
  sign: when-unsigned
  seal: always
  edges:
    vendor-b: {sign: always, seal: when-possible}
    vendor-c: {seal: when-possible}
  callers: any
`

func TestEdges(t *testing.T) {
	c, err := Load(file(t, protected), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := c.Node
	if n.Sign != "when-unsigned" || n.Seal != "always" || n.Callers != "any" || n.Edges["vendor-b"] != (Edge{"always", "when-possible"}) || n.Edges["vendor-c"] != (Edge{"", "when-possible"}) {
		t.Errorf("%+v", n)
	}
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(protected), &doc); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := schemas.Load(schemas.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON(raw); err != nil {
		t.Errorf("the schema refuses what the program takes: %v", err)
	}
}

func TestEdgeDefaults(t *testing.T) {
	for text, want := range map[string]Node{
		"":                              {Seal: "when-possible", Callers: "any"},
		"node: {name: a}\n":             {Sign: "always", Seal: "when-possible", Callers: "any"},
		"node: {peers: [x]}\n":          {Seal: "when-possible", Callers: "peers"},
		"node: {name: a, peers: [x]}\n": {Sign: "always", Seal: "when-possible", Callers: "peers"},
	} {
		c, err := Load(file(t, text), nil)
		if err != nil || c.Node.Sign != want.Sign || c.Node.Seal != want.Seal || c.Node.Callers != want.Callers {
			t.Errorf("%q: %+v, %v", text, c.Node, err)
		}
	}
}

func TestEdgeErrors(t *testing.T) {
	for text, want := range map[string]string{
		"node: {name: a, sign: never}\n":               "node.sign",
		"node: {name: a, seal: never}\n":               "node.seal",
		"node: {sign: always}\n":                       "node.name",
		"node: {callers: nobody}\n":                    "node.callers",
		"node: {callers: peers}\n":                     "neither a name nor peers",
		"node: {name: a, edges: {B: {}}}\n":            "node.edges",
		"node: {name: a, edges: {b: {sign: never}}}\n": "node.edges.b.sign",
		"node: {name: a, edges: {b: {seal: never}}}\n": "node.edges.b.seal",
		"node: {edges: {b: {sign: always}}}\n":         "node.edges.b.sign",
		"node:\n  edges:\n    b: {saal: always}\n":     "3:9: unknown key \"node.edges.b.saal\"",
		"node:\n  edges:\n    b: {}\n    b: {}\n":      "4:5: key \"node.edges.b\" stands here twice",
		"node:\n  edges:\n    b: {seal: a, seal: b}\n": "stands here twice",
		"node:\n  edges:\n    b: always\n":             "node.edges.b must be a mapping",
		"node: {edges: [b]}\n":                         "line 1",
	} {
		if _, err := Load(file(t, text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c, err := Load(file(t, protected), []string{"ASSIZE_NODE_EDGES={vendor-d: {seal: always}}"})
	if err != nil || len(c.Node.Edges) != 1 || c.Node.Edges["vendor-d"].Seal != "always" {
		t.Errorf("%+v, %v", c.Node.Edges, err)
	}
	for _, bad := range []string{"x", "[a]", "{b: {saal: always}}", "{b: {seal: always}, b: {}}", "{b: {seal: never}}", "{b: always}", "{", ""} {
		if _, err := Load("", []string{"ASSIZE_NODE_EDGES=" + bad}); err == nil {
			t.Errorf("edges %q from the environment", bad)
		}
	}
}
