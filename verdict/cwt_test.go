// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
)

// edn reads the part of CBOR's diagnostic notation (RFC 8949, section 8) that the
// examples of the EAR draft are written in: maps, arrays, integers, texts, bytes
// in hexadecimal.
type edn struct {
	in  string
	err error
}

func readEDN(text string) (any, error) {
	e := &edn{in: text}
	v := e.value()
	if e.space(); e.err == nil && e.in != "" {
		e.err = fmt.Errorf("more at %.20q", e.in)
	}
	return v, e.err
}

func (e *edn) space() { e.in = strings.TrimLeft(e.in, " \t\r\n") }

func (e *edn) take(s string) bool {
	e.space()
	rest, ok := strings.CutPrefix(e.in, s)
	if ok {
		e.in = rest
	}
	return ok
}

// list calls f for every element until end.
func (e *edn) list(end string, f func()) {
	for e.err == nil && !e.take(end) {
		f()
		if !e.take(",") && !strings.HasPrefix(strings.TrimSpace(e.in), end) {
			e.err = fmt.Errorf("neither comma nor %s at %.20q", end, e.in)
		}
	}
}

func (e *edn) value() any {
	e.space()
	switch {
	case e.err != nil || e.in == "":
		e.err = fmt.Errorf("nothing more, %w", e.err)
	case e.take("{"):
		out := map[any]any{}
		e.list("}", func() {
			k := e.value()
			if !e.take(":") {
				e.err = fmt.Errorf("no colon at %.20q", e.in)
				return
			}
			out[k] = e.value()
		})
		return out
	case e.take("["):
		out := []any{}
		e.list("]", func() { out = append(out, e.value()) })
		return out
	case e.take("h'"):
		text, rest, ok := strings.Cut(e.in, "'")
		raw, err := hex.DecodeString(text)
		if !ok || err != nil {
			e.err = fmt.Errorf("bytes %.20q: %v", text, err)
		}
		e.in = rest
		return raw
	case e.in[0] == '"':
		raw, err := strconv.QuotedPrefix(e.in)
		if err == nil {
			e.in = e.in[len(raw):]
			raw, err = strconv.Unquote(raw)
		}
		e.err = err
		return raw
	}
	end := strings.IndexFunc(e.in, func(r rune) bool { return r != '-' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(e.in)
	}
	n, err := strconv.ParseInt(e.in[:end], 10, 64)
	if err != nil {
		e.err = err
	}
	e.in = e.in[end:]
	return n
}

func TestEDN(t *testing.T) {
	got, err := readEDN(` { 1: "a\"b–", -70000: [h'0aFF', [], {}], "x": 2 } `)
	want := map[any]any{int64(1): `a"b–`, int64(-70000): []any{[]byte{10, 255}, []any{}, map[any]any{}}, "x": int64(2)}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "{", "{1}", "{1:2", "[1 2]", "h'0", "1 2", `"x`, "x"} {
		if v, err := readEDN(bad); err == nil {
			t.Errorf("%q is %v", bad, v)
		}
	}
}

const earExamples = "ear/draft-ietf-rats-ear/cddl/examples/"

// The examples of the EAR draft in CBOR are read, are as the grammar says, and are
// written byte for byte as they are in deterministic encoding.
func TestOfficialExamplesCBOR(t *testing.T) {
	grammar := p04Grammar(t)
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ear-cbor-1", "ext-teep-cbor-1", "ext-veraison-cbor-1"} {
		text := vectors.Read(t, earExamples+name+".diag")
		if !utf8.Valid(text) {
			t.Fatal("no text")
		}
		v, err := readEDN(string(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		raw, err := mode.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := grammar.Check("ear", raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		o, err := objectOfCBOR(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if name == "ear-cbor-1" {
			want := object{
				"eat_profile": "tag:ietf.org,2026:rats/ear#03", "iat": json.Number("1666529184"),
				"ear_verifier_id":  map[string]any{"developer": "https://veraison-project.org", "build": "vts 0.0.1"},
				"ear_raw_evidence": "bGlmZWJvYXRtYW4",
				"submods": map[string]any{"PSA": map[string]any{
					"ear_status":                 "contraindicated",
					"ear_trustworthiness_vector": map[string]any{"instance-identity": json.Number("2"), "executables": json.Number("96"), "hardware": json.Number("2")},
					"ear_appraisal_policy_ids":   []any{"https://veraison.example/policy/1/60a0068d"},
				}},
			}
			if !reflect.DeepEqual(o, want) {
				t.Errorf("%s is %v", name, o)
			}
			checkP04Schema(t, name, o)
		}
		// Extensions are not ours, and ignored; the rest is as it was.
		for _, one := range v.(map[any]any)[int64(266)].(map[any]any) {
			maps.DeleteFunc(one.(map[any]any), func(k, _ any) bool { return k.(int64) < 0 || k.(int64) == 65000 })
		}
		rest, err := mode.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := objectToCBOR(o); err != nil || !bytes.Equal(again, rest) {
			t.Errorf("%s again: %v\n%x\n%x", name, err, again, rest)
		}
	}
}

// Those in JSON obey our schema, and are the same after a detour by CBOR.
func TestOfficialExamplesJSON(t *testing.T) {
	for _, name := range []string{"ear-json-1", "ear-json-2", "ext-teep-json-1", "ext-veraison-json-1", "ext-veraison-json-2"} {
		o, err := trust.ParseObject(vectors.Read(t, earExamples+name+".diag"), resultDepth)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkP04Schema(t, name, o)
		if strings.HasPrefix(name, "ext-") {
			continue // with claims that have no key here
		}
		raw, err := objectToCBOR(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := p04Grammar(t).Check("ear", raw); err != nil {
			t.Errorf("%s in CBOR: %v", name, err)
		}
		if again, err := objectOfCBOR(raw); err != nil || !reflect.DeepEqual(again, object(o)) {
			t.Errorf("%s by CBOR: %v\n%v\n%v", name, err, again, o)
		}
	}
}

// Claims of existing verifiers obey our schema of profile P23.
func TestVeraisonExamples(t *testing.T) {
	s, err := schemas.Load("ear-p23.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ear-claims.json", "ear-claims-tv-ok.json", "ear-claims-extension-ok.json", "ear-claims-key-attestation-ok.json"} {
		raw := vectors.Read(t, path.Join("ear/veraison-ear/arc/data", name))
		if !bytes.Contains(raw, []byte("eat_profile")) || !bytes.Contains(raw, []byte(ProfileP23)) {
			t.Logf("%s is of another profile", name)
			continue
		}
		if err := s.ValidateJSON(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func checkP04Schema(t *testing.T, name string, o map[string]any) {
	t.Helper()
	s, err := schemas.Load("ear-p04.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ValidateJSON(raw); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// A CWT is deterministic CBOR, and nothing else about CBOR is a way around the
// checks.
func TestClaimsInCBOR(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.richMachine(t)
	good := claimsOf(t, l, l.signAs(t, r, FormatP04CWT))
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	decode := func() map[any]any {
		var m map[any]any
		if err := cbor.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if again, err := mode.Marshal(decode()); err != nil || !bytes.Equal(again, good) {
		t.Errorf("not deterministic: %v", err)
	}
	k := func(n int) any {
		if n < 0 {
			return int64(n)
		}
		return uint64(n)
	}
	subs := func(m map[any]any) map[any]any { return m[k(266)].(map[any]any) }
	composite := func(m map[any]any) map[any]any { return subs(m)["composite"].(map[any]any) }
	statement := func(m map[any]any) map[any]any { return composite(m)[k(1006)].(map[any]any) }
	for _, c := range []struct {
		name   string
		wrong  bool
		change func(m map[any]any)
	}{
		{"unchanged", false, func(m map[any]any) {}},
		{"unknown claims", false, func(m map[any]any) {
			m[k(9999)], m["x"], m[k(-70000)], composite(m)[k(-70001)], statement(m)["x"] = 1.5, []byte{1}, map[any]any{1: 1}, 2.5, "x"
		}},
		{"float iat", true, func(m map[any]any) { m[k(6)] = float64(r.Time.Unix()) }},
		{"text iat", true, func(m map[any]any) { m[k(6)] = "1" }},
		{"no iat", true, func(m map[any]any) { delete(m, k(6)) }},
		{"float exp", true, func(m map[any]any) { m[k(4)] = 1.8e9 }},
		{"large exp", true, func(m map[any]any) { m[k(4)] = uint64(1) << 63 }},
		{"nonce as text", true, func(m map[any]any) { m[k(10)] = encodeNonce(testNonce) }},
		{"short nonce", true, func(m map[any]any) { m[k(10)] = []byte{1, 2, 3} }},
		{"empty nonce", true, func(m map[any]any) { m[k(10)] = []byte{} }},
		{"another nonce", true, func(m map[any]any) { m[k(10)] = make([]byte, 32) }},
		{"tier as text", true, func(m map[any]any) { m[k(1000)] = "none" }},
		{"no tier", true, func(m map[any]any) { m[k(1000)] = 3 }},
		{"negative tier", true, func(m map[any]any) { m[k(1000)] = -1 }},
		{"large tier", true, func(m map[any]any) { m[k(1000)] = 256 }},
		{"better tier", true, func(m map[any]any) { m[k(1000)], composite(m)[k(1000)] = 2, 2 }},
		{"profile of P23", true, func(m map[any]any) { m[k(265)] = ProfileP23 }},
		{"superseded profile", true, func(m map[any]any) { m[k(265)] = "tag:ietf.org,2026:rats/ear#03" }},
		{"no verifier", true, func(m map[any]any) { delete(m, k(1004)) }},
		{"verifier of no text", true, func(m map[any]any) { m[k(1004)].(map[any]any)[k(0)] = 1 }},
		{"verifier with more", false, func(m map[any]any) { m[k(1004)].(map[any]any)[k(7)] = 1 }},
		{"claims by name", true, func(m map[any]any) { m["submods"] = m[k(266)]; delete(m, k(266)) }},
		{"label of no text", true, func(m map[any]any) { subs(m)[k(1)] = subs(m)["cpu"] }},
		{"nested as bytes", true, func(m map[any]any) { subs(m)["cpu"] = []byte(subs(m)["cpu"].(string)) }},
		{"nested as an array", true, func(m map[any]any) { subs(m)["cpu"] = []any{"JWT", "a.b.c"} }},
		{"nested without selector", true, func(m map[any]any) { subs(m)["cpu"] = strings.Split(subs(m)["cpu"].(string), `"`)[3] }},
		{"nested and trailing", true, func(m map[any]any) { subs(m)["cpu"] = subs(m)["cpu"].(string) + "x" }},
		{"nested by another name", true, func(m map[any]any) { subs(m)["cpu"] = strings.Replace(subs(m)["cpu"].(string), "JWT", "CBOR", 1) }},
		{"nested with more", true, func(m map[any]any) { subs(m)["cpu"] = strings.Replace(subs(m)["cpu"].(string), "]", `,"x"]`, 1) }},
		{"vector by name", true, func(m map[any]any) { composite(m)[k(1001)] = map[any]any{"hardware": 2} }},
		{"vector with an unknown member", true, func(m map[any]any) { composite(m)[k(1001)].(map[any]any)[k(8)] = 2 }},
		{"float claim", true, func(m map[any]any) { composite(m)[k(1001)].(map[any]any)[k(7)] = 2.0 }},
		{"large claim", true, func(m map[any]any) { composite(m)[k(1001)].(map[any]any)[k(7)] = 258 }},
		{"statement by key", true, func(m map[any]any) { statement(m)[k(1)] = 1 }},
		{"dotted statement", true, func(m map[any]any) { statement(m)["assize.caps"] = []any{} }},
		{"float duration", true, func(m map[any]any) {
			statement(m)["assize_components"].(map[any]any)["cpu"].(map[any]any)["duration_us"] = 1.0
		}},
		{"bytes for a digest", true, func(m map[any]any) { statement(m)["assize_plan_sha256"] = make([]byte, 32) }},
		{"tag inside", true, func(m map[any]any) { m[k(9999)] = cbor.Tag{Number: 1, Content: 1} }},
		{"another topology", true, func(m map[any]any) { m[k(1007)] = map[any]any{"cpu": []any{"odd"}} }},
		{"tokens by another key", true, func(m map[any]any) { m[k(-76000)] = m[k(-76001)]; delete(m, k(-76001)) }},
		{"deep", true, func(m map[any]any) {
			var v any = 1
			for range resultDepth {
				v = []any{v}
			}
			m[k(9999)] = v
		}},
	} {
		m := decode()
		c.change(m)
		raw, err := mode.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		_, err = verifyClaims(t, l, raw)
		if (err != nil) != c.wrong {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Ways of writing the same that are no claims.
	entry := func(v any) []byte {
		raw, err := mode.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	body := good[1:]
	if good[0]>>5 != 5 || good[0]&31 >= 22 {
		t.Fatalf("a map that begins with %x", good[0])
	}
	for name, raw := range map[string][]byte{
		"a key twice":           slices.Concat([]byte{good[0] + 1}, body, entry(1000), entry(0)),
		"a key in two lengths":  slices.Concat([]byte{good[0] + 1}, body, []byte{0x1a, 0, 0, 3, 0xe8}, entry(0)),
		"of indefinite length":  slices.Concat([]byte{0xbf}, body, []byte{0xff}),
		"with a byte behind":    append(bytes.Clone(good), 0),
		"cut":                   good[:len(good)-1],
		"text that is no UTF-8": slices.Concat([]byte{good[0] + 1}, body, []byte{0x61, 0xff, 1}),
		"no map":                entry([]any{1}),
	} {
		if _, err := verifyClaims(t, l, raw); err == nil {
			t.Errorf("claims %s: accepted", name)
		}
	}
}

// verifyClaims signs claims in CBOR as the lead, whatever they are.
func verifyClaims(tb testing.TB, l *lab, claims []byte) (*Result, error) {
	tb.Helper()
	token, err := l.lead.SignCWT(claims, "application/eat+cwt")
	if err != nil {
		return nil, err
	}
	return VerifyResult(token, aarIntake(), l.anchors)
}

// What stands in JSON and has no place in CBOR is an error, not something else.
func TestObjectToCBORRefuses(t *testing.T) {
	for name, o := range map[string]object{
		"a claim without key":      {"x": "y"},
		"a float":                  {"iat": json.Number("1.0")},
		"a tier of no name":        {"ear_status": "fine"},
		"a nonce of no bytes":      {"eat_nonce": "!"},
		"a text for a map":         {"submods": "x"},
		"a map for a text":         {"eat_profile": map[string]any{}},
		"a vector of no name":      {"submods": map[string]any{"x": map[string]any{"ear_trustworthiness_vector": map[string]any{"x": json.Number("1")}}}},
		"a float in a statement":   {"submods": map[string]any{"x": map[string]any{"ear_verifier_claims": map[string]any{"x": []any{json.Number("1e3")}}}}},
		"a Go value":               {"ear_device_topology": map[string]any{"x": 1}},
		"an unknown name in parts": {"submods": map[string]any{"x": map[string]any{"y": "z"}}},
	} {
		if raw, err := objectToCBOR(o); err == nil {
			t.Errorf("%s is %x", name, raw)
		}
	}
}

// FuzzVerifyCWT feeds raw tokens and, signed by the lead, raw claims in CBOR:
// whatever is accepted is no better than its parts, and the same in all formats.
func FuzzVerifyCWT(f *testing.F) {
	l := fixedLab(f)
	for _, r := range []*Result{l.machine(f, 1), l.redundantMachine(f)} {
		good := l.signAs(f, r, FormatP04CWT)
		f.Add(good)
		f.Add(claimsOf(f, l, good))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens := [][]byte{b}
		if signed, err := l.lead.SignCWT(b, "application/eat+cwt"); err == nil {
			tokens = append(tokens, signed)
		}
		acceptedFormats(t, l, tokens)
	})
}
