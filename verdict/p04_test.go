// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// p04Of gives claims by profile P23, right or wrong, the form of profile P04. It
// is written anew for tests and moves what it does not know.
func p04Of(in obj) obj {
	rename := func(name string) string { return strings.NewReplacer(".", "_", "-", "_").Replace(name) }
	out := obj{"eat_profile": ProfileP04}
	if in["eat_profile"] != ProfileP23 {
		out["eat_profile"] = in["eat_profile"]
	}
	for _, name := range []string{"iat", "exp", "nbf", "eat_nonce"} {
		if v, ok := in[name]; ok {
			out[name] = v
		}
	}
	out["ear_verifier_id"] = in["ear.verifier-id"]
	partials, _ := in["ear.assize.partials"].(obj)
	submods := obj{}
	for label, v := range in["submods"].(obj) {
		if token, ok := partials[label]; ok {
			submods[label] = []any{"JWT", token}
			continue
		}
		flat := v.(obj)
		statement := obj{}
		for name, v := range flat["ear.veraison.policy-claims"].(obj) {
			statement[rename(name)] = v
		}
		submods[label] = obj{"ear_status": flat["ear.status"], "ear_trustworthiness_vector": flat["ear.trustworthiness-vector"], "ear_verifier_claims": statement}
	}
	for label, token := range partials {
		submods[label] = []any{"JWT", token}
	}
	out["submods"] = submods
	if composite, ok := submods["composite"].(obj); ok {
		out["ear_status"] = composite["ear_status"]
	}
	graph := obj{}
	statement, _ := submods["composite"].(obj)
	if statement != nil {
		list, _ := statement["ear_verifier_claims"].(obj)["assize_bindings"].([]any)
		for _, b := range list {
			graph[b.(obj)["from"].(string)] = []any{b.(obj)["to"]}
		}
	}
	if len(graph) > 0 {
		out["ear_device_topology"] = graph
	}
	tokens := obj{}
	for name, other := range map[string]string{"ear.assize.witnesses": "witnesses", "ear.assize.receipts": "receipts"} {
		if v, ok := in[name]; ok {
			tokens[other] = v
		}
	}
	if len(tokens) > 0 {
		out["ear_assize_tokens"] = tokens
	}
	return out
}

// sameInOtherFormats holds forged claims by profile P23 against the same in the
// other formats: what is refused in one is refused in all (guarantee G-64).
func sameInOtherFormats(t *testing.T, l *lab, name string, claims []byte, refused bool) {
	t.Helper()
	// These are wrong only in that a flat copy, or the list of results, is not what
	// the rest says, and P04 has neither.
	only := []string{"submod hidden", "submod exchanged", "partials list", "an affirming result for a bad device", "lead's reason"}
	if strings.HasPrefix(name, "flat ") || slices.Contains(only, name) {
		return
	}
	in, err := trust.ParseObject(claims, 32)
	if err != nil {
		t.Fatal(err)
	}
	forged := p04Of(in)
	raw, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	token, err := l.lead.SignJWT(raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyResult(token, aarIntake(), l.anchors); (err != nil) != refused {
		t.Errorf("%s, as P04 JWT: %v", name, err)
	}
	if payload, err := objectToCBOR(object(forged)); err == nil { // some wrong values are none in CBOR
		if token, err = l.lead.SignCWT(payload, "application/eat+cwt"); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyResult(token, aarIntake(), l.anchors); (err != nil) != refused {
			t.Errorf("%s, as P04 CWT: %v", name, err)
		}
	}
}

// What only profile P04 has: nested tokens, and what it says twice.
func TestForgeriesOfP04(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.richMachine(t)
	good := claimsOf(t, l, l.signAs(t, r, FormatP04JWT))
	subs := func(c obj) obj { return c["submods"].(obj) }
	composite := func(c obj) obj { return subs(c)["composite"].(obj) }
	statement := func(c obj) obj { return composite(c)["ear_verifier_claims"].(obj) }
	for _, c := range []struct {
		name, code, label string
		change            func(c obj)
	}{
		{"unchanged", "", "", func(c obj) {}},
		{"unknown claims", "", "", func(c obj) { c["x"], composite(c)["y"], statement(c)["z"], subs(c)["odd"].(obj)["x"] = 1, 2, 3, 4 }},
		{"no status", ReasonLyingAAR, "", func(c obj) { delete(c, "ear_status") }},
		{"better status", ReasonLyingAAR, "", func(c obj) { c["ear_status"] = "affirming" }},
		{"worse status", ReasonLyingAAR, "", func(c obj) { c["ear_status"] = "contraindicated" }},
		{"status of another type", ReasonLyingAAR, "", func(c obj) { c["ear_status"] = 0 }},
		{"both better", ReasonLyingAAR, "", func(c obj) { c["ear_status"], composite(c)["ear_status"] = "affirming", "affirming" }},
		{"no topology", ReasonLyingAAR, "", func(c obj) { delete(c, "ear_device_topology") }},
		{"empty topology", ReasonLyingAAR, "", func(c obj) { c["ear_device_topology"] = obj{} }},
		{"more topology", ReasonLyingAAR, "", func(c obj) { c["ear_device_topology"].(obj)["nic"] = []any{"cpu"} }},
		{"other topology", ReasonLyingAAR, "", func(c obj) { c["ear_device_topology"].(obj)["gpu/1"] = []any{"cpu"} }},
		{"no policy", ReasonLyingAAR, "", func(c obj) { delete(composite(c), "ear_appraisal_policy_ids") }},
		{"another policy", ReasonLyingAAR, "", func(c obj) { composite(c)["ear_appraisal_policy_ids"] = []any{"strict"} }},
		{"two policies", ReasonLyingAAR, "", func(c obj) { composite(c)["ear_appraisal_policy_ids"] = []any{"example", "strict"} }},
		{"dotted name at the top", ReasonBadAAR, "", func(c obj) { c["ear.status"] = "affirming" }},
		{"dotted name in an appraisal", ReasonBadAAR, "", func(c obj) { composite(c)["ear.status"] = "affirming" }},
		{"dotted name in a statement", ReasonBadAAR, "", func(c obj) { statement(c)["assize.caps"] = []any{} }},
		{"dotted name in a component", ReasonBadAAR, "", func(c obj) { subs(c)["odd"].(obj)["ear.status"] = "affirming" }},
		{"only dotted", ReasonBadAAR, "", func(c obj) {
			statement(c)["assize.caps"] = statement(c)["assize_caps"]
			delete(statement(c), "assize_caps")
		}},
		{"tokens of the other profile", ReasonBadAAR, "", func(c obj) { c["ear.assize.partials"] = obj{} }},
		{"superseded profile", ReasonBadAAR, "", func(c obj) { c["eat_profile"] = "tag:ietf.org,2026:rats/ear#03" }},
		{"profile of the other names", ReasonBadAAR, "", func(c obj) { c["eat_profile"] = ProfileP23 }},
		{"profile of TDX and GPUs", ReasonBadAAR, "", func(c obj) { c["eat_profile"] = ProfileTDXGPU }},
		{"no profile", ReasonBadAAR, "", func(c obj) { delete(c, "eat_profile") }},
		{"two challenges", ReasonBadAAR, "", func(c obj) { c["eat_nonce"] = []any{c["eat_nonce"], c["eat_nonce"]} }},
		{"float", ReasonBadAAR, "", func(c obj) { c["iat"] = json.Number("1772366412.0") }},
		{"float expiry", ReasonBadAAR, "", func(c obj) { c["exp"] = json.Number("1.8e9") }},
		{"expired", ReasonAARStale, "", func(c obj) { c["exp"] = testTime.Unix() - 61 }},
		{"nested CWT", ReasonBadAAR, "", func(c obj) { subs(c)["cpu"] = []any{"CBOR", "0oRA"} }},
		{"nested bundle", ReasonBadAAR, "", func(c obj) { subs(c)["cpu"] = []any{"BUNDLE", subs(c)["cpu"].([]any)[1]} }},
		{"nested digest", ReasonBadAAR, "", func(c obj) { subs(c)["cpu"] = []any{"DIGEST", []any{"sha-256", "AA"}} }},
		{"nested and more", ReasonBadAAR, "", func(c obj) { subs(c)["cpu"] = append(subs(c)["cpu"].([]any), "x") }},
		{"nested number", ReasonBadAAR, "cpu", func(c obj) { subs(c)["cpu"] = []any{"JWT", 1} }},
		{"bare token", ReasonBadAAR, "", func(c obj) { subs(c)["cpu"] = subs(c)["cpu"].([]any)[1] }},
		{"nested claims", ReasonBadAAR, "", func(c obj) { subs(c)["cpu"] = obj{"eat_profile": ProfileP04, "submods": obj{}} }},
		{"an appraisal in the place of a result", ReasonLyingAAR, "cpu", func(c obj) {
			subs(c)["cpu"] = obj{"ear_status": "affirming", "ear_trustworthiness_vector": obj{"hardware": 2}, "ear_verifier_claims": obj{}}
		}},
		{"a nested composite", ReasonBadAAR, "", func(c obj) { subs(c)["composite"] = subs(c)["cpu"] }},
		{"exchanged", ReasonPARSubject, "gpu/0", func(c obj) { subs(c)["gpu/0"], subs(c)["gpu/1"] = subs(c)["gpu/1"], subs(c)["gpu/0"] }},
		{"left out", ReasonBadAAR, "", func(c obj) { delete(subs(c), "gpu/1") }},
		{"more", ReasonBadAAR, "", func(c obj) { subs(c)["gpu/7"] = subs(c)["gpu/1"] }},
		{"no tokens", ReasonLyingAAR, "nic/agree", func(c obj) { delete(c, "ear_assize_tokens") }},
		{"tokens in a list", ReasonBadAAR, "", func(c obj) { c["ear_assize_tokens"] = []any{} }},
		{"lowered back", ReasonLyingAAR, "", func(c obj) {
			delete(statement(c)["assize_components"].(obj)["gpu/10"].(obj), "lowered")
			c["ear_status"], composite(c)["ear_status"] = "warning", "warning"
		}},
	} {
		claims, err := trust.ParseObject(good, 32)
		if err != nil {
			t.Fatal(err)
		}
		c.change(claims)
		raw, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.lead.SignJWT(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = VerifyResult(token, aarIntake(), l.anchors)
		checkDenied(t, c.name, err, c.code, c.label)
	}
	// Two members of one name are refused before anything is read.
	twice := bytes.Replace(good, []byte(`"ear_status":`), []byte(`"ear_status":"none","ear_status":`), 1)
	token, err := l.lead.SignJWT(twice)
	if err != nil || bytes.Equal(twice, good) {
		t.Fatal(err)
	}
	_, err = VerifyResult(token, aarIntake(), l.anchors)
	checkDenied(t, "a status twice", err, ReasonBadAAR, "")
}

// Signatures, keys, ages and sizes are those of any verdict.
func TestSignaturesOfAllFormats(t *testing.T) {
	l, foreign := newLab(t, trust.EdDSA), newLab(t, trust.EdDSA)
	r := l.machine(t, 1)
	for _, f := range verifiable() {
		good := l.signAs(t, r, f)
		step := max(1, len(good)/2000) // every byte of a small result
		if testing.Short() {           // a sample under the race detector
			step *= 13
		}
		for n := 0; n < len(good); n += step {
			bad := bytes.Clone(good)
			bad[n] ^= 1
			if _, err := VerifyResult(bad, aarIntake(), l.anchors); err == nil {
				t.Fatalf("%s: byte %d changed", f, n)
			}
			if _, err := VerifyResult(good[:n], aarIntake(), l.anchors); err == nil {
				t.Fatalf("%s: the first %d bytes", f, n)
			}
		}
		for name, bad := range map[string][]byte{"a byte more": append(bytes.Clone(good), 'A'), "a line more": append(bytes.Clone(good), '\n'), "twice": append(bytes.Clone(good), good...)} {
			if _, err := VerifyResult(bad, aarIntake(), l.anchors); err == nil {
				t.Errorf("%s: %s", f, name)
			}
		}
		_, err := VerifyResult(good, aarIntake(), foreign.anchors)
		checkDenied(t, string(f)+", foreign anchors", err, ReasonBadAARSignature, "")
		late := aarIntake()
		late.Now = testTime.Add(2 * time.Hour)
		_, err = VerifyResult(good, late, l.anchors)
		checkDenied(t, string(f)+", late", err, ReasonAARStale, "")
		late.IgnoreAge = true
		_, err = VerifyResult(good, late, l.anchors)
		checkDenied(t, string(f)+", late and stored", err, "", "")
		large := append(bytes.Clone(good), make([]byte, limits.AggregateResult)...)
		_, err = VerifyResult(large, aarIntake(), l.anchors)
		checkDenied(t, string(f)+", large", err, ReasonBadAAR, "")
		// A verifier's key is no lead's.
		token, err := SignFormat(l.gpu, r, f, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		_, err = VerifyResult(token, aarIntake(), l.anchors)
		checkDenied(t, string(f)+", signed by a verifier", err, ReasonBadAARSignature, "")
	}
}

// FuzzVerifyP04 feeds raw tokens and, signed by the lead, raw claims in JSON:
// whatever is accepted is no better than its parts, and the same in all formats.
func FuzzVerifyP04(f *testing.F) {
	l := fixedLab(f)
	for _, r := range []*Result{l.machine(f, 1), l.redundantMachine(f)} {
		good := l.signAs(f, r, FormatP04JWT)
		f.Add(good)
		f.Add(payload(f, good))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tokens := [][]byte{b}
		if signed, err := l.lead.SignJWT(b); err == nil {
			tokens = append(tokens, signed)
		}
		acceptedFormats(t, l, tokens)
	})
}

// acceptedFormats checks what VerifyResult takes of tokens.
func acceptedFormats(t *testing.T, l *lab, tokens [][]byte) {
	t.Helper()
	for _, token := range tokens {
		got, err := VerifyResult(token, aarIntake(), l.anchors)
		if err != nil {
			continue
		}
		if Combine(got.Components, got.Caps).Tier.WorseThan(got.Outcome.Tier) {
			t.Fatalf("accepted %+v", got.Outcome)
		}
		want, err := json.Marshal(got.Document())
		if err != nil {
			t.Fatal(err)
		}
		for _, as := range verifiable() {
			again := *got
			r, err := VerifyResult(l.signAs(t, &again, as), aarIntake(), l.anchors)
			if err != nil {
				t.Fatalf("signed again as %s: %v", as, err)
			}
			if doc, err := json.Marshal(r.Document()); err != nil || !bytes.Equal(doc, want) {
				t.Fatalf("signed again as %s:\n%s\n%s", as, doc, want)
			}
		}
	}
}
