// SPDX-License-Identifier: Apache-2.0

package schemas

import (
	"encoding/json"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/internal/limits"
)

func load(t *testing.T, name string) *Schema {
	t.Helper()
	s, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEverySchemaCompiles(t *testing.T) {
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		raw, err := Read(e.Name())
		if err != nil || (strings.HasSuffix(e.Name(), ".json") && !json.Valid(raw)) {
			t.Errorf("%s is not JSON (%v)", e.Name(), err)
		}
		if strings.HasSuffix(e.Name(), ".schema.json") {
			load(t, e.Name())
			seen[e.Name()] = true
		}
	}
	if !seen[Verdict] || !seen[Config] {
		t.Errorf("schemas found: %v", seen)
	}
}

func TestLoadRefusesWhatIsNoSchema(t *testing.T) {
	for _, name := range []string{"", "reasons.yaml", "other.schema.json", "../schemas/verdict.schema.json"} {
		if _, err := Load(name); err == nil {
			t.Errorf("no error for %q", name)
		}
	}
}

// goodVerdict is an affirming verdict on two components.
const goodVerdict = `{
  "verdict": {"tier": "affirming"},
  "time": "2026-11-21T12:00:00Z", "topology": "lead(cpu, gpu/0)",
  "components": {
    "cpu": {"tier": "affirming", "scheme": "intel-tdx", "media_type": "application/vnd.assize.tdx-quote", "required": true,
      "verifier": {"developer": "https://example.com", "build": "v1", "kid": "k1"},
      "trust_vector": {"hardware": 2, "executables": 2}, "claims": {"anything": [1]},
      "freshness": "fresh", "reasons": [], "duration_us": 812},
    "gpu/0": {"tier": "affirming", "scheme": "nvidia-gpu", "media_type": "application/vnd.veraison.nvidia-gpu-evidence+json", "required": true,
      "verifier": {"developer": "https://example.com", "build": "v1", "kid": "k2"}, "class": "device",
      "trust_vector": {"hardware": 2}, "freshness": "fresh"}},
  "bindings": [{"from": "gpu/0", "to": "cpu", "kind": "report-data-digest", "strength": "strong", "status": "bound", "origin": "application"}]
}`

// edit is a change of a document: the member at path gets the value, or goes
// away where value is nil. The parts of a path are separated by spaces.
type edit struct {
	path  string
	value any
}

func (e edit) apply(t *testing.T, doc map[string]any) {
	t.Helper()
	keys := strings.Split(e.path, " ")
	for _, k := range keys[:len(keys)-1] {
		next, ok := doc[k].(map[string]any)
		if !ok {
			t.Fatalf("no object at %q of %q", k, e.path)
		}
		doc = next
	}
	last := keys[len(keys)-1]
	if e.value == nil {
		delete(doc, last)
		return
	}
	doc[last] = e.value
}

// quorum is what redundant verifiers answered.
func quorum(required, asked int, tiers ...string) map[string]any {
	answers := []any{}
	for _, t := range tiers {
		answers = append(answers, map[string]any{"tier": t, "verifier": map[string]any{"developer": "d", "build": "b", "kid": "k"}})
	}
	return map[string]any{"required": required, "asked": asked, "answers": answers}
}

func TestVerdict(t *testing.T) {
	why := []any{map[string]any{"code": "unbound-component", "detail": "no path to cpu"}}
	warning := []edit{{"verdict tier", "warning"}, {"verdict reasons", why}}
	also := func(base []edit, more ...edit) []edit { return append(base[:len(base):len(base)], more...) }
	for _, c := range []struct {
		name  string
		edits []edit
		valid bool
	}{
		{"as it is", nil, true},
		{"warning with a reason", warning, true},
		{"optional members", []edit{
			{"session", "s-1"}, {"nonce", "QUJD_w-="}, {"verification_time", "2025-01-01T00:00:00.5+01:00"},
			{"composite_sha256", strings.Repeat("0a", 32)},
			{"verifier", map[string]any{"developer": "d", "build": "b", "kid": "k"}},
		}, true},
		{"no verifier for a component", also(warning, edit{"components", map[string]any{
			"nic": map[string]any{"tier": "none", "required": true, "scheme": "", "media_type": "", "reasons": []any{map[string]any{"code": "no-verifier"}}},
		}}), true},
		{"no component at all", also(warning, edit{"components", map[string]any{}}), true},
		{"integer and escaped labels", also(warning, edit{"components", map[string]any{
			"#1/~2a~0b~1c/#-7": map[string]any{"tier": "none", "required": true, "reasons": why},
			"":                 map[string]any{"tier": "none", "required": true, "reasons": why},
		}}), true},

		{"redundant verifiers", []edit{{"components cpu quorum", quorum(2, 3, "affirming", "affirming", "affirming")}}, true},
		{"redundant verifiers, none asked", also(warning, edit{"components", map[string]any{
			"nic": map[string]any{"tier": "none", "required": true, "reasons": why, "quorum": quorum(2, 0)},
		}}), true},
		{"redundant verifiers that disagree", also(warning, edit{"components cpu quorum", quorum(1, 2, "warning", "affirming")},
			edit{"components cpu tier", "warning"}, edit{"components cpu reasons", why}), true},
		{"affirming over a redundant warning", []edit{{"components cpu quorum", quorum(1, 2, "affirming", "warning")}}, false},
		{"affirming over no answer", []edit{{"components cpu quorum", quorum(1, 2)}}, false},
		{"quorum of nobody", []edit{{"components cpu quorum", quorum(0, 2, "affirming", "affirming")}}, false},
		{"quorum of too many", []edit{{"components cpu quorum", quorum(1, 257, "affirming")}}, false},
		{"answer of an unknown tier", also(warning, edit{"components cpu quorum", quorum(1, 2, "good")},
			edit{"components cpu tier", "warning"}, edit{"components cpu reasons", why}), false},
		{"answer of nobody", []edit{{"components cpu quorum", map[string]any{
			"required": 1, "asked": 1, "answers": []any{map[string]any{"tier": "affirming"}},
		}}}, false},
		{"quorum without answers", []edit{{"components cpu quorum", map[string]any{"required": 1, "asked": 1}}}, false},

		{"unknown member", []edit{{"extra", 1}}, false},
		{"no verdict", []edit{{"verdict", nil}}, false},
		{"no bindings", []edit{{"bindings", nil}}, false},
		{"no topology", []edit{{"topology", nil}}, false},
		{"unknown tier", []edit{{"verdict tier", "good"}}, false},
		{"tier as a number", []edit{{"verdict tier", 2}}, false},
		{"warning without a reason", []edit{{"verdict tier", "warning"}}, false},
		{"warning with no reasons", []edit{{"verdict tier", "warning"}, {"verdict reasons", []any{}}}, false},
		{"reason without a code", []edit{{"verdict reasons", []any{map[string]any{"detail": "x"}}}}, false},
		{"reason code with spaces", []edit{{"verdict reasons", []any{map[string]any{"code": "no verifier"}}}}, false},
		{"affirming over nothing", []edit{{"components", map[string]any{}}, {"bindings", []any{}}}, false},
		{"affirming over a warning", []edit{{"components gpu/0 tier", "warning"}, {"components gpu/0 reasons", why}}, false},
		{"affirming over an optional none", []edit{
			{"components gpu/0 tier", "none"}, {"components gpu/0 reasons", why}, {"components gpu/0 required", false},
		}, false},
		{"affirming over a broken binding", []edit{{"bindings", []any{map[string]any{
			"from": "gpu/0", "to": "cpu", "kind": "ak", "strength": "strong", "status": "broken",
		}}}}, false},
		{"component without required", []edit{{"components cpu required", nil}}, false},
		{"affirming component without freshness", []edit{{"components cpu freshness", nil}}, false},
		{"affirming component not fresh", []edit{{"components cpu freshness", "not-established"}}, false},
		{"affirming component, other nonce", []edit{{"components cpu freshness", "mismatch"}}, false},
		{"affirming component without vector", []edit{{"components cpu trust_vector", nil}}, false},
		{"affirming component that asserts nothing", []edit{{"components cpu trust_vector", map[string]any{}}}, false},
		{"affirming component with a warning claim", []edit{{"components cpu trust_vector hardware", 32}}, false},
		{"affirming component with a bad private claim", []edit{{"components cpu trust_vector hardware", -33}}, false},
		{"affirming component with a malfunction", []edit{{"components cpu trust_vector hardware", -1}}, false},
		{"affirming component without verifier", []edit{{"components cpu verifier", nil}}, false},
		{"affirming component that nobody signed", []edit{{"components cpu verifier kid", ""}}, false},
		{"affirming component of no scheme", []edit{{"components cpu scheme", ""}}, false},
		{"affirming component without media type", []edit{{"components cpu media_type", ""}}, false},
		{"unknown class", []edit{{"components cpu class", "toaster"}}, false},
		{"silent failure of a component", also(warning, edit{"components gpu/0 tier", "contraindicated"}), false},
		{"unknown claim", []edit{{"components cpu trust_vector magic", 2}}, false},
		{"claim out of range", also(warning, edit{"components cpu tier", "warning"},
			edit{"components cpu reasons", why}, edit{"components cpu trust_vector hardware", 128}), false},
		{"scheme that is no slug", []edit{{"components cpu scheme", "Intel TDX"}}, false},
		{"label with an empty step", also(warning, edit{"components", map[string]any{
			"a//b": map[string]any{"tier": "none", "required": true, "reasons": why},
		}}), false},
		{"label with a bad escape", also(warning, edit{"components", map[string]any{
			"a~3": map[string]any{"tier": "none", "required": true, "reasons": why},
		}}), false},
		{"integer label with a leading zero", also(warning, edit{"components", map[string]any{
			"#01": map[string]any{"tier": "none", "required": true, "reasons": why},
		}}), false},
		{"binding of unknown strength", []edit{{"bindings", []any{map[string]any{
			"from": "gpu/0", "to": "cpu", "kind": "ak", "strength": "medium", "status": "bound",
		}}}}, false},
		{"time without a zone", []edit{{"time", "2026-11-21T12:00:00"}}, false},
		{"time of no calendar", []edit{{"time", "2026-13-41T12:00:00Z"}}, false},
		{"digest in capitals", []edit{{"composite_sha256", strings.Repeat("0A", 32)}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var doc map[string]any
			if err := json.Unmarshal([]byte(goodVerdict), &doc); err != nil {
				t.Fatal(err)
			}
			for _, e := range c.edits {
				e.apply(t, doc)
			}
			if err := load(t, Verdict).Validate(doc); (err == nil) != c.valid {
				t.Errorf("valid = %v, want %v (%v)", err == nil, c.valid, err)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name, text string
		valid      bool
	}{
		{"empty", "{}", true},
		{"laptop", "listen: 127.0.0.1:8080\nstate_dir: state\nschemes: [intel-tdx, nvidia-gpu]\ntopology: lead\n", true},
		{"everything", `
state_dir: /var/lib/assize
listen: "[::1]:8080"
schemes: [intel-tdx]
topology: lead(cpu, gpu/*)
endorsements: /etc/assize/endorsements
trust: [/etc/assize/vendor-a.jwks]
budget: 2m30s
identity: {developer: "https://example.com", build: v1}
telemetry: {service_name: assize}
limits: {composite_bytes: 1048576, leaf_bytes: 65536, depth: 4, leaves: 16, in_flight: 8}
fabric:
  mode: external
  urls: ["tls://nats.example.com:4222"]
  creds: /etc/assize/node.creds
  tenant: local
  site: fra-1
  inbox_prefix: _INBOX.node
  nonces: jetstream
  tls: {ca: ca.pem, cert: cert.pem, key: key.pem}
`, true},
		{"embedded by name", "fabric: {mode: embedded, tenant: local, site: any}", true},

		{"unknown key", "listne: 127.0.0.1:8080", false},
		{"unknown key below", "fabric: {mode: embedded, url: x}", false},
		{"camel case", "stateDir: x", false},
		{"listen without a port", "listen: localhost", false},
		{"no scheme", "schemes: []", false},
		{"scheme twice", "schemes: [intel-tdx, intel-tdx]", false},
		{"scheme that is no slug", "schemes: [Intel_TDX]", false},
		{"budget without a unit", "budget: 150", false},
		{"budget in days", "budget: 1d", false},
		{"limit of a half", "limits: {depth: 0.5}", false},
		{"limit below zero", "limits: {leaf_bytes: -1}", false},
		{"limit as text", `limits: {leaf_bytes: "1048576"}`, false},
		{"unknown mode", "fabric: {mode: cluster}", false},
		{"nonces kept elsewhere", "fabric: {nonces: memory}", false},
		{"external without urls", "fabric: {mode: external}", false},
		{"urls without a mode", `fabric: {urls: ["nats://h:4222"]}`, false},
		{"embedded with credentials", "fabric: {mode: embedded, creds: f}", false},
		{"two credentials", `fabric: {mode: external, urls: ["nats://h:4222"], creds: f, nkey: g}`, false},
		{"password in a url", `fabric: {mode: external, urls: ["nats://u:p@h:4222"]}`, false},
		{"url of another protocol", `fabric: {mode: external, urls: ["http://h:4222"]}`, false},
		{"certificate without key", `fabric: {mode: external, urls: ["nats://h:4222"], tls: {cert: c}}`, false},
		{"key without certificate", `fabric: {mode: external, urls: ["nats://h:4222"], tls: {key: c}}`, false},
		{"tenant with a dot", "fabric: {tenant: a.b}", false},
		{"a list", "[]", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var doc any
			if err := yaml.Unmarshal([]byte(c.text), &doc); err != nil {
				t.Fatal(err)
			}
			if err := load(t, Config).Validate(doc); (err == nil) != c.valid {
				t.Errorf("valid = %v, want %v (%v)", err == nil, c.valid, err)
			}
		})
	}
}

// The defaults that the schema tells its readers are those of the program.
func TestConfigDefaultsAreThoseOfLimits(t *testing.T) {
	raw, err := Read(Config)
	if err != nil {
		t.Fatal(err)
	}
	type property struct {
		Default    any                 `json:"default"`
		Properties map[string]property `json:"properties"`
	}
	var doc property
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	d := limits.Default()
	for name, want := range map[string]int{
		"composite_bytes": d.Composite, "leaf_bytes": d.Leaf, "depth": d.Depth, "leaves": d.Leaves,
	} {
		if got := doc.Properties["limits"].Properties[name].Default; got != float64(want) {
			t.Errorf("default of limits.%s is %v, want %d", name, got, want)
		}
	}
}

func TestValidateJSONReadsOneValue(t *testing.T) {
	s := load(t, Verdict)
	if err := s.ValidateJSON([]byte(goodVerdict)); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", goodVerdict + "{}", goodVerdict[:40], "null"} {
		if err := s.ValidateJSON([]byte(text)); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}
