// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
)

const (
	// trusteeText has its members in another order than the canonical one, spaces,
	// and an escape that the canonical form has not.
	trusteeText = `{ "tee-pubkey": {"kty":"EC", "crv":"P-256", "alg":"\u0045CDH-ES+A256KW", "n": [1, true, null]}, "nonce": "MDEyMzQ1Njc4OWFiY2RlZg==" }`
	itaText     = `{"verifier_nonce":{"val":"MDEyMzQ1Njc4OWFiY2RlZg==","iat":"MjAyNi0xMS0yMg==","signature":"AAEC"},"user_data":"dXNlcg=="}`
	sessionText = "0123456789abcdef"
)

func runtimeOf(t *testing.T, convention, text string) *RuntimeData {
	t.Helper()
	r, err := ParseRuntimeData(convention, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The canonical texts here are written by hand, so that they do not depend on how
// the package makes them (RFC 8785).
func TestTrusteeChallenges(t *testing.T) {
	const key = `{"alg":"ECDH-ES+A256KW","crv":"P-256","kty":"EC","n":[1,true,null]}`
	r := runtimeOf(t, ConventionTrustee, trusteeText)
	if want := `{"nonce":"MDEyMzQ1Njc4OWFiY2RlZg==","tee-pubkey":` + key + `}`; string(r.Text()) != want {
		t.Errorf("%s", r.Text())
	}
	for _, c := range []struct{ name, session, nonce, additional, escaped string }{
		{"no devices", sessionText, "MDEyMzQ1Njc4OWFiY2RlZg==", "", ""},
		{"a device", sessionText, "MDEyMzQ1Njc4OWFiY2RlZg==", `{"nvidia":[{"a":"<&>"}]}`, `{\"nvidia\":[{\"a\":\"<&>\"}]}`},
		{"beyond ASCII", sessionText, "MDEyMzQ1Njc4OWFiY2RlZg==", "{\"é\u2028😀\":\"\\n\"}\n", "{\\\"é\u2028😀\\\":\\\"\\\\n\\\"}\\n"},
		{"another session", "fedcba9876543210", "ZmVkY2JhOTg3NjU0MzIxMA==", "{}", "{}"},
	} {
		sum := sha512.Sum384([]byte(`{"additional-evidence":"` + c.escaped + `","nonce":"` + c.nonce + `","tee-pubkey":` + key + `}`))
		got, err := r.Report([]byte(c.session), []byte(c.additional))
		if err != nil || !bytes.Equal(got, append(sum[:], make([]byte, 16)...)) {
			t.Errorf("%s: report data %x (%v)", c.name, got, err)
		}
		sum = sha512.Sum384([]byte(`{"nonce":"` + c.nonce + `","tee-pubkey":` + key + `}`))
		if got, err := r.Device([]byte(c.session), 32); err != nil || !bytes.Equal(got, sum[:32]) {
			t.Errorf("%s: device nonce %x (%v)", c.name, got, err)
		}
	}
	for _, size := range []int{-1, 7, 49} {
		if _, err := r.Device([]byte(sessionText), size); err == nil {
			t.Errorf("a device nonce of %d bytes", size)
		}
	}
	if _, err := r.Report([]byte(sessionText), []byte{0xff}); err == nil {
		t.Error("additional evidence that is not UTF-8")
	}
	// A fixed value, so that two builds agree.
	if got, err := r.Report([]byte(sessionText), []byte("{}")); err != nil || hex.EncodeToString(got[:8]) != "b68bdde01c444711" {
		t.Errorf("%x", got[:8])
	}
}

func TestITAChallenges(t *testing.T) {
	r := runtimeOf(t, ConventionITA, itaText)
	want := sha512.Sum512([]byte("0123456789abcdef" + "2026-11-22" + "user"))
	if got, err := r.Report([]byte(sessionText), []byte("not hashed")); err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("%x (%v)", got, err)
	}
	device := sha256.Sum256([]byte("0123456789abcdef2026-11-22"))
	if got, err := r.Device([]byte(sessionText), 32); err != nil || !bytes.Equal(got, device[:]) {
		t.Errorf("%x (%v)", got, err)
	}
	if _, err := r.Device([]byte(sessionText), 64); err == nil {
		t.Error("a device nonce of 64 bytes")
	}
	other := sha512.Sum512([]byte("fedcba9876543210" + "2026-11-22" + "user"))
	if got, _ := r.Report([]byte("fedcba9876543210"), nil); !bytes.Equal(got, other[:]) {
		t.Error("the challenge is that of the nonce in the runtime data, not of the session")
	}
	device = sha256.Sum256([]byte("fedcba98765432102026-11-22"))
	if got, _ := r.Device([]byte("fedcba9876543210"), 32); !bytes.Equal(got, device[:]) {
		t.Error("and so is that of a device")
	}
	bare := runtimeOf(t, ConventionITA, strings.Replace(itaText, `,"user_data":"dXNlcg=="`, "", 1))
	want = sha512.Sum512([]byte("0123456789abcdef2026-11-22"))
	if got, err := bare.Report([]byte(sessionText), nil); err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("without user data: %x (%v)", got, err)
	}
}

func TestRuntimeDataMalformed(t *testing.T) {
	swap := func(text, a, b string) string {
		if !strings.Contains(text, a) {
			t.Fatalf("%s has no %s", text, a)
		}
		return strings.Replace(text, a, b, 1)
	}
	for _, c := range []struct{ name, convention, text string }{
		{"nothing", ConventionTrustee, ""},
		{"not an object", ConventionTrustee, `[]`},
		{"trailing data", ConventionTrustee, trusteeText + "{}"},
		{"too long", ConventionTrustee, trusteeText + strings.Repeat(" ", MaxRuntimeData)},
		{"no nonce", ConventionTrustee, `{"tee-pubkey":{}}`},
		{"no key", ConventionTrustee, `{"nonce":"MDEyMzQ1Njc4OWFiY2RlZg=="}`},
		{"key is no object", ConventionTrustee, `{"nonce":"MDEyMzQ1Njc4OWFiY2RlZg==","tee-pubkey":"k"}`},
		{"nonce is no text", ConventionTrustee, `{"nonce":1,"tee-pubkey":{}}`},
		{"nonce without padding", ConventionTrustee, swap(trusteeText, "Zg==", "Zg")},
		{"nonce in base64url", ConventionTrustee, swap(trusteeText, "MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2_-Zg==")},
		{"nonce with trailing bits", ConventionTrustee, swap(trusteeText, "Zg==", "Zh==")},
		{"nonce with a line break", ConventionTrustee, swap(trusteeText, "MDEy", `MDEy\n`)},
		{"nonce too short", ConventionTrustee, swap(trusteeText, "MDEyMzQ1Njc4OWFiY2RlZg==", "MDEy")},
		{"nonce too long", ConventionTrustee, swap(trusteeText, "MDEyMzQ1Njc4OWFiY2RlZg==", strings.Repeat("MDEy", 22))},
		{"duplicate", ConventionTrustee, swap(trusteeText, `"nonce"`, `"nonce":"MDEyMzQ1Njc4OWFiY2RlZg==","nonce"`)},
		{"duplicate in the key", ConventionTrustee, swap(trusteeText, `"kty":"EC"`, `"kty":"EC","k\u0074y":"EC"`)},
		{"another member", ConventionTrustee, swap(trusteeText, `"nonce"`, `"additional-evidence":"","nonce"`)},
		{"member in another case", ConventionTrustee, swap(trusteeText, `"nonce"`, `"Nonce"`)},
		{"fraction", ConventionTrustee, swap(trusteeText, "[1,", "[1.5,")},
		{"exponent", ConventionTrustee, swap(trusteeText, "[1,", "[1e3,")},
		{"large integer", ConventionTrustee, swap(trusteeText, "[1,", "[9007199254740993,")},
		{"minus zero", ConventionTrustee, swap(trusteeText, "[1,", "[-0,")},
		{"leading zero", ConventionTrustee, swap(trusteeText, "[1,", "[01,")},
		{"a word that is none", ConventionTrustee, swap(trusteeText, "true", "tr ue")},
		{"nested", ConventionTrustee, swap(trusteeText, "[1,", "[[[[1]]],")},
		{"long list", ConventionTrustee, swap(trusteeText, "[1,", "["+strings.Repeat("1,", 40))},
		{"lone surrogate", ConventionTrustee, swap(trusteeText, "P-256", `\ud800`)},
		{"not UTF-8", ConventionTrustee, swap(trusteeText, "P-256", "\xff")},
		{"of another convention", ConventionTrustee, itaText},
		{"ours has none", ConventionAssize, trusteeText},
		{"no convention", "", trusteeText},
		{"ita of another convention", ConventionITA, trusteeText},
		{"ita without iat", ConventionITA, swap(itaText, `"iat":"MjAyNi0xMS0yMg==",`, "")},
		{"ita without signature", ConventionITA, swap(itaText, `,"signature":"AAEC"`, "")},
		{"ita with a further member", ConventionITA, swap(itaText, `"iat"`, `"x":1,"iat"`)},
		{"ita user data", ConventionITA, swap(itaText, `"dXNlcg=="`, `null`)},
	} {
		if r, err := ParseRuntimeData(c.convention, []byte(c.text)); err == nil || r != nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
}

// The texts of RFC 8785 that have neither fractions nor members in them that the
// runtime data do not have.
func TestCanonicalForm(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		// Section 3.2.3: order by UTF-16 code units.
		{"{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew Letter Dalet With Dagesh\",\"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\",\"\\u00f6\":\"Latin Small Letter O With Diaeresis\"}",
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		// Section 3.2.2: the text and the words of the example.
		{"{ \"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\", \"literals\": [null, true, false] }",
			"{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"},
		{" [ 9007199254740992 , -1, 0 ] ", "[9007199254740992,-1,0]"},
	} {
		got, err := canonical([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s\n%s (%v)", got, c.want, err)
		}
	}
}

func FuzzRuntimeData(f *testing.F) {
	for _, text := range []string{trusteeText, itaText, `{"nonce":"","tee-pubkey":{}}`, `{}`, "{\"a\":\"\\ud83d\\ude00\"}"} {
		f.Add(true, []byte(text))
		f.Add(false, []byte(text))
	}
	f.Fuzz(func(t *testing.T, trustee bool, raw []byte) {
		convention := ConventionITA
		if trustee {
			convention = ConventionTrustee
		}
		r, err := ParseRuntimeData(convention, raw)
		if err != nil {
			return
		}
		again, err := ParseRuntimeData(convention, r.Text())
		if err != nil || !bytes.Equal(again.Text(), r.Text()) || !bytes.Equal(again.Nonce(), r.Nonce()) {
			t.Fatalf("%s: %v", r.Text(), err)
		}
		one, err := r.Report([]byte(sessionText), raw)
		two, err2 := again.Report([]byte(sessionText), raw)
		if text, _ := json.Marshal(string(raw)); err == nil {
			if want, err := jcs.Transform(text); err != nil || !bytes.Equal(want, appendCanonicalText(nil, raw)) {
				t.Fatalf("%q (%v)", raw, err)
			}
		}
		if !bytes.Equal(one, two) || (err == nil) != (err2 == nil) || err == nil && len(one) != CommitmentSize {
			t.Fatalf("%x %x %v %v", one, two, err, err2)
		}
	})
}

// boundItem is a composite of a convention of others.
func boundItem(cmwType, runtime, additional string, more ...Entry) Item {
	rec := func(typ, v string) Item { return Record(MediaType{Base: typ}, []byte(v), IndEvidence) }
	entries := append([]Entry{{Label: "cpu", Item: rec("a/cpu", "c")}, {Label: LabelRuntimeData, Item: rec(TypeRuntimeData, runtime)}}, more...)
	if additional != "" {
		entries = append(entries, Entry{Label: LabelAdditionalEvidence, Item: rec(TypeAdditionalEvidence, additional)})
	}
	return Collection(cmwType, entries...)
}

// boundSeeds are well-formed composites of both conventions in both forms.
func boundSeeds(t testing.TB) (out [][]byte) {
	for _, item := range []Item{boundItem(BoundTrusteeCollection, trusteeText, additionalText), boundItem(BoundITACollection, itaText, "")} {
		for _, encode := range []func(Item) ([]byte, error){EncodeJSON, EncodeCBOR} {
			raw, err := encode(item)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, raw)
		}
	}
	return out
}

const additionalText = ` {"nvidia": [ {"arch":"HOPPER"} ], "cmw":{"nic":{"1":["a/nic","Ag"]},"tpm":["a/tpm","Aw"]},"sample":{"x":1.5}, "n/a": 7 } `

func TestBoundComposite(t *testing.T) {
	for _, encode := range []func(Item) ([]byte, error){EncodeJSON, EncodeCBOR} {
		raw, err := encode(boundItem(BoundTrusteeCollection, trusteeText, additionalText))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := Parse(raw, Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkInvariants(t, tree)
		roundTrip(t, tree)
		got := map[Path]string{}
		for _, l := range tree.Leaves() {
			got[l.Path()] = l.MediaType().String() + " " + string(l.Value())
		}
		want := map[Path]string{
			"cpu":                           "a/cpu c",
			"additional-evidence/nvidia":    TypeTrusteeNVIDIA + ` [ {"arch":"HOPPER"} ]`,
			"additional-evidence/cmw/nic/1": "a/nic \x02",
			"additional-evidence/cmw/tpm":   "a/tpm \x03",
			"additional-evidence/sample":    TypeTrusteeEvidence + `; tee="sample" {"x":1.5}`,
			"additional-evidence/n~1a":      TypeTrusteeEvidence + `; tee="n/a" 7`,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q", got)
		}
		c := tree.Commitment()
		if tree.Convention() != ConventionTrustee || tree.Commits() || c == nil || c.Convention != ConventionTrustee || string(c.Additional) != additionalText ||
			!bytes.Equal(c.Runtime, runtimeOf(t, ConventionTrustee, trusteeText).Text()) || len(c.Leaves) != 6 {
			t.Errorf("%+v", c)
		}
	}
}

func TestBoundCompositeITA(t *testing.T) {
	raw, err := EncodeCBOR(boundItem(BoundITACollection, itaText, "", Entry{Label: "gpu", Item: Record(MediaType{Base: "a/gpu"}, []byte("g"), 0)}))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Parse(raw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := tree.Commitment()
	if len(tree.Leaves()) != 2 || c == nil || c.Convention != ConventionITA || c.Additional != nil || tree.RuntimeData().Convention() != ConventionITA {
		t.Errorf("%+v", c)
	}
}

// Only the composite itself declares a convention, and only in its own form.
func TestBoundCompositeRefused(t *testing.T) {
	rec := func(typ, v string, ind Indicator) Item { return Record(MediaType{Base: typ}, []byte(v), ind) }
	cpu := Entry{Label: "cpu", Item: rec("a/cpu", "c", 0)}
	additional := func(text string) Item { return boundItem(BoundTrusteeCollection, trusteeText, text) }
	for name, item := range map[string]Item{
		"no component":              Collection(BoundTrusteeCollection, Entry{Label: LabelRuntimeData, Item: rec(TypeRuntimeData, trusteeText, 0)}),
		"no runtime data":           Collection(BoundTrusteeCollection, cpu),
		"runtime data of a type":    Collection(BoundTrusteeCollection, cpu, Entry{Label: LabelRuntimeData, Item: rec("a/b", trusteeText, 0)}),
		"runtime data as a result":  Collection(BoundTrusteeCollection, cpu, Entry{Label: LabelRuntimeData, Item: rec(TypeRuntimeData, trusteeText, IndResults)}),
		"runtime data collected":    Collection(BoundTrusteeCollection, cpu, Entry{Label: LabelRuntimeData, Item: Collection("", cpu)}),
		"runtime data malformed":    boundItem(BoundTrusteeCollection, itaText, ""),
		"ita of another convention": boundItem(BoundITACollection, trusteeText, ""),
		"additional of a type": Collection(BoundTrusteeCollection, cpu, Entry{Label: LabelRuntimeData, Item: rec(TypeRuntimeData, trusteeText, 0)},
			Entry{Label: LabelAdditionalEvidence, Item: rec("a/b", "{}", 0)}),
		"additional empty":          additional("{}"),
		"additional is no object":   additional("[1]"),
		"additional not JSON":       additional(`{"nvidia":[}`),
		"additional trailing":       additional(`{"nvidia":[]}{}`),
		"additional twice":          additional(`{"nvidia":[],"nvidi\u0061":[]}`),
		"additional without a name": additional(`{" ":[]}`),
		"additional name not ASCII": additional(`{"né":[]}`),
		"additional not a CMW":      additional(`{"cmw":["a/b","AA"]}`),
		"additional broken CMW":     additional(`{"cmw":{"x":["a/b","A*"]}}`),
		"additional deep":           additional(`{"x":` + strings.Repeat("[", 17) + strings.Repeat("]", 17) + `}`),
		"additional not UTF-8":      additional("{\"x\":\"\xff\"}"),
		"additional many":           additional(`{"x":` + strings.Repeat(`1,"y`, 1) + `":2,"z":[1]` + many(70) + `}`),
	} {
		raw, err := EncodeCBOR(item)
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if tree, err := Parse(raw, Options{}); !errors.As(err, &e) || tree != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw, err := EncodeCBOR(Collection("", Entry{Label: "a", Item: boundItem(BoundTrusteeCollection, trusteeText, additionalText)}))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Parse(raw, Options{})
	if err != nil || tree.Commitment() != nil || tree.RuntimeData() != nil || len(tree.Leaves()) != 3 {
		t.Errorf("a collection inside another one: %v", err)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"m` + strings.Repeat("x", i) + `":1`)
	}
	return b.String()
}

func TestConventionOfRule(t *testing.T) {
	for rule, want := range map[string]string{
		"cmw-bind-v1": ConventionAssize, "trustee-jcs": ConventionTrustee, "trustee-jcs-device/32": ConventionTrustee, "ita": ConventionITA,
		"ita-device": ConventionITA, "shake256/64": ConventionRatsd, "shake128/32": ConventionRatsd, "same": "", "given": "", "": "", "trustee": "",
	} {
		if got := Convention(rule); got != want {
			t.Errorf("%q: %q", rule, got)
		}
		if got := CommitsToEvidence(rule); got != (rule == "cmw-bind-v1" || rule == "trustee-jcs") {
			t.Errorf("%q: %t", rule, got)
		}
	}
}

// BenchmarkTrusteeReport hashes additional evidence of eight GPUs.
func BenchmarkTrusteeReport(b *testing.B) {
	r, err := ParseRuntimeData(ConventionTrustee, []byte(trusteeText))
	if err != nil {
		b.Fatal(err)
	}
	text := []byte(`{"nvidia":["` + strings.Repeat("QUJD", 50<<10) + `"]}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := r.Report([]byte(sessionText), text); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCanonicalText: the one text that the library does not write is as it would.
func TestCanonicalText(t *testing.T) {
	var all []byte
	for r := rune(0); r < 0x3000; r++ {
		all = utf8.AppendRune(all, r)
	}
	for _, s := range [][]byte{nil, all, []byte("\"\\/\u2028😀\x7f")} {
		raw, err := json.Marshal(string(s))
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(raw)
		if got := appendCanonicalText(nil, s); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%.100q, want %.100q (%v)", got, want, err)
		}
	}
}
