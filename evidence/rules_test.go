// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/internal/limits"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// wantRule parses raw and requires the error of one rule; rule "" accepts.
func wantRule(t *testing.T, raw []byte, o Options, rule string) *Tree {
	t.Helper()
	tree, err := Parse(raw, o)
	if rule == "" {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return tree
	}
	if err == nil {
		t.Fatalf("accepted, want %s", rule)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.Rule != rule {
		t.Fatalf("rule %s (%v), want %s", e.Rule, err, rule)
	}
	return nil
}

const (
	rec1 = `["a/b","AQ"]`
	crec = "8263612f624101" // [ "a/b", h'01' ]
)

// jsonRules and cborRules are the decode rules CMW-01 … CMW-38; wants "" is
// "accepted". Signed CMWs, CMW-39 and CMW-40, are in signed_test.go.
var jsonRules = []struct{ id, in, media, want string }{
	{"CMW-01", " \n", TypeCMWJSON, "CMW-01"},
	{"CMW-02 space", " \r\n\t" + rec1 + "\n", TypeCMWJSON, ""},
	{"CMW-02 space sniffed", " " + rec1, "", ""},
	{"CMW-02 bom", "\xef\xbb\xbf" + rec1, TypeCMWJSON, "CMW-02"},
	{"CMW-02 bom sniffed", "\xef\xbb\xbf" + rec1, "", "syntax"},
	{"CMW-03", rec1 + "x", "", "CMW-03"},
	{"CMW-03 twice", rec1 + rec1, "", "CMW-03"},
	{"CMW-04", `[60,"AQ"]`, "", "CMW-04"},
	{"CMW-05 empty", `["","AQ"]`, "", "CMW-05"},
	{"CMW-05 no slash", `["ab","AQ"]`, "", "CMW-05"},
	{"CMW-05 parameter twice", `["a/b; c=d; c=d","AQ"]`, "", "CMW-05"},
	{"CMW-05 tail", `["a/b; c=d;","AQ"]`, "", "CMW-05"},
	{"CMW-05 null", `[null,"AQ"]`, "", "CMW-05"},
	{"CMW-06 padding", `["a/b","AQ=="]`, "", "CMW-06"},
	{"CMW-06 plus", `["a/b","++++"]`, "", "CMW-06"},
	{"CMW-06 slash", `["a/b","////"]`, "", "CMW-06"},
	{"CMW-06 newline", "[\"a/b\",\"AQ\n\"]", "", "CMW-06"},
	// One line break behind 4k characters does not change the decoded size.
	{"CMW-06 newline behind 4k", "[\"a/b\",\"AQID\n\"]", "", "CMW-06"},
	{"CMW-06 return behind 4k", "[\"a/b\",\"AQID\r\"]", "", "CMW-06"},
	{"CMW-06 newline within 4k", "[\"a/b\",\"AQ\nIDBAUG\"]", "", "CMW-06"},
	{"CMW-06 escaped newline behind 4k", `["a/b","AQID\n"]`, "", "CMW-06"},
	{"CMW-06 two newlines", "[\"a/b\",\"AQID\n\n\"]", "", "CMW-06"},
	{"CMW-06 escaped newline", `["a/b","A\nQ"]`, "", "CMW-06"},
	{"CMW-06 length 1", `["a/b","A"]`, "", "CMW-06"},
	{"CMW-06 escaped letter", `["a/b","\u0041Q"]`, "", ""},
	{"CMW-07", `["a/b","I0faVR"]`, "", "CMW-07"},
	{"CMW-08", `["a/b",""]`, "", "CMW-08"},
	{"CMW-09 number", `["a/b",12]`, "", "CMW-09"},
	{"CMW-09 null", `["a/b",null]`, "", "CMW-09"},
	{"CMW-09 true", `["a/b",true]`, "", "CMW-09"},
	{"CMW-09 array", `["a/b",["AQ"]]`, "", "CMW-09"},
	{"CMW-10", `["a/b",1]`, "", "CMW-10"},
	{"CMW-11", `["a/b","AQ",0]`, "", "CMW-11"},
	{"CMW-12", `["a/b","AQ",32]`, "", "CMW-12"},
	{"CMW-12 all", `["a/b","AQ",31]`, "", ""},
	{"CMW-13", `["a/b","AQ",4294967296]`, "", "CMW-13"},
	{"CMW-13 huge", `["a/b","AQ",99999999999999999999999]`, "", "CMW-13"},
	{"CMW-14 negative", `["a/b","AQ",-1]`, "", "CMW-14"},
	{"CMW-14 float", `["a/b","AQ",4.0]`, "", "CMW-14"},
	{"CMW-14 exponent", `["a/b","AQ",4e0]`, "", "CMW-14"},
	{"CMW-14 string", `["a/b","AQ","4"]`, "", "CMW-14"},
	{"CMW-14 leading zero", `["a/b","AQ",04]`, "", "CMW-11"},
	{"CMW-15", `["a/b","AQ",null]`, "", "CMW-15"},
	{"CMW-16 none", `[]`, "", "CMW-16"},
	{"CMW-16 one", `["a/b"]`, "", "CMW-16"},
	{"CMW-16 four", `["a/b","AQ",4,4]`, "", "CMW-16"},
	{"CMW-17 empty", `{}`, "", "CMW-17"},
	{"CMW-17 type only", `{"__cmwc_t":"tag:x,2024:y"}`, "", "CMW-17"},
	{"CMW-17 nested", `{"a":{}}`, "", "CMW-17"},
	{"CMW-18 fragment", `{"__cmwc_t":"tag:x,2024:y#z","a":["a/b","AQ"]}`, "", "CMW-18"},
	{"CMW-18 relative", `{"__cmwc_t":"a/b","a":["a/b","AQ"]}`, "", "CMW-18"},
	{"CMW-18 empty", `{"__cmwc_t":"","a":["a/b","AQ"]}`, "", "CMW-18"},
	{"CMW-18 number", `{"__cmwc_t":1,"a":["a/b","AQ"]}`, "", "CMW-18"},
	{"CMW-18 bad oid", `{"__cmwc_t":"1.02","a":["a/b","AQ"]}`, "", "CMW-18"},
	{"CMW-18 oid", `{"__cmwc_t":"2.16.840.0.1","a":["a/b","AQ"]}`, "", ""},
	{"CMW-19", `{"a":["a/b","AQ"],"a":["a/b","Ag"]}`, "", "CMW-19"},
	{"CMW-19 escaped", `{"a":["a/b","AQ"],"\u0061":["a/b","Ag"]}`, "", "CMW-19"},
	{"CMW-19 type", `{"__cmwc_t":"a:b","__cmwc_t":"a:b","a":["a/b","AQ"]}`, "", "CMW-19"},
	{"CMW-19 type escaped", `{"__cmwc_t":"a:b","\u005f_cmwc_t":"a:b","a":["a/b","AQ"]}`, "", "CMW-19"},
	{"CMW-21 empty", `{"":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 blank", `{" \t":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 escaped newline", `{"a\nb":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 escaped NUL", `{"\u0000":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 escape character", `{"a\u001b[2K":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 DEL", "{\"a\x7f\":[\"a/b\",\"AQ\"]}", "", "CMW-21"},
	{"CMW-21 C1", `{"a\u0085":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 right-to-left override", `{"a\u202eb":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 isolate", "{\"a\u2066b\":[\"a/b\",\"AQ\"]}", "", "CMW-21"},
	{"CMW-21 Arabic letter mark", "{\"\u061c\":[\"a/b\",\"AQ\"]}", "", "CMW-21"},
	{"CMW-21 as path", `{"a/\u200f":["a/b","AQ"]}`, "", "CMW-21"},
	{"CMW-21 other scripts", "{\"gpu-\u05d0\u00e9\u4e00\":[\"a/b\",\"AQ\"]}", "", ""},
	{"CMW-24 string", `{"a":"AQ"}`, "", "CMW-24"},
	{"CMW-24 number", `{"a":1}`, "", "CMW-24"},
	{"CMW-24 null", `{"a":null}`, "", "CMW-24"},
	{"CMW-35", strings.Repeat(`{"a":`, 9) + rec1 + strings.Repeat("}", 9), "", "limit-depth"},
	{"CMW-35 at the limit", strings.Repeat(`{"a":`, 8) + rec1 + strings.Repeat("}", 8), "", ""},
	{"CMW-37 cbor as text", `{"a":"gmNhL2JBAQ"}`, "", "CMW-24"},
	{"CMW-38 record", rec1, TypeCMWJSON + `; cmwc_t="tag:x,2024:y"`, "CMW-38"},
	{"CMW-38 differs", `{"__cmwc_t":"tag:x,2024:z","a":["a/b","AQ"]}`, TypeCMWJSON + `; cmwc_t="tag:x,2024:y"`, "CMW-38"},
	{"CMW-38 case", `{"__cmwc_t":"tag:X,2024:y","a":["a/b","AQ"]}`, TypeCMWJSON + `; cmwc_t="tag:x,2024:y"`, ""},
	{"CMW-38 unnamed", `{"a":["a/b","AQ"]}`, TypeCMWJSON + `; cmwc_t="tag:x,2024:y"`, ""},
	{"CMW-38 leaf", `{"a":["application/cmw+json; cmwc_t=\"tag:x,2024:y\"","WyJhL2IiLCJBUSJd"]}`, "", "CMW-38"},
	{"utf-8", "{\"\xff\":[\"a/b\",\"AQ\"]}", "", "syntax"},
	{"lone surrogate", `{"\ud800":["a/b","AQ"]}`, "", "syntax"},
	{"comma", `{"a":["a/b","AQ"],}`, "", "syntax"},
	{"declared cbor", rec1, TypeCMWCBOR, "syntax"},
	{"declared other", rec1, "application/json", "media-type"},
	{"declared nonsense", rec1, "nonsense", "media-type"},
}

var cborRules = []struct{ id, in, media, want string }{
	{"CMW-01", "", TypeCMWCBOR, "CMW-01"},
	{"CMW-03", crec + "00", "", "CMW-03"},
	{"CMW-05 empty", "82604101", "", "CMW-05"},
	{"CMW-05 bool", "82f54101", "", "CMW-05"},
	{"CMW-11", "8363612f62410100", "", "CMW-11"},
	{"CMW-12", "8363612f6241011820", "", "CMW-12"},
	{"CMW-13", "8363612f6241011b0000000100000000", "", "CMW-13"},
	{"CMW-14 negative", "8363612f62410120", "", "CMW-14"},
	{"CMW-14 float", "8363612f624101f94400", "", "CMW-14"},
	{"CMW-14 text", "8363612f6241016134", "", "CMW-14"},
	{"CMW-14 bytes", "8363612f6241014104", "", "CMW-14"},
	{"CMW-14 null", "8363612f624101f6", "", "CMW-14"},
	{"CMW-16 none", "80", "", "CMW-16"},
	{"CMW-16 one", "8163612f62", "", "CMW-16"},
	{"CMW-16 four", "8463612f6241010404", "", "CMW-16"},
	{"CMW-16 indefinite none", "9fff", "", "CMW-16"},
	{"CMW-16 indefinite one", "9f63612f62ff", "", "CMW-16"},
	{"CMW-16 indefinite two", "9f63612f624101ff", "", ""},
	{"CMW-16 indefinite three", "9f63612f62410104ff", "", ""},
	{"CMW-16 indefinite four", "9f63612f6241010404ff", "", "CMW-16"},
	{"CMW-17", "a0", "", "CMW-17"},
	{"CMW-17 indefinite", "bfff", "", "CMW-17"},
	{"CMW-17 type only", "a1685f5f636d77635f7463613a62", "", "CMW-17"},
	{"CMW-18 bytes", "a2685f5f636d77635f7443613a626161" + crec, "", "CMW-18"},
	{"CMW-18 fragment", "a2685f5f636d77635f7465613a6223636161" + crec, "", "CMW-18"},
	{"CMW-20", "a2 6161 8263612f624101 6161 8263612f624102", "", "CMW-20"},
	{"CMW-20 int", "a2 01 8263612f624101 1801 8263612f624102", "", "CMW-20"},
	{"CMW-20 chunked text", "a2 6161 8263612f624101 7f6161ff 8263612f624102", "", "CMW-20"},
	{"CMW-20 type", "a3685f5f636d77635f7463613a62685f5f636d77635f7463613a626161" + crec, "", "CMW-20"},
	{"CMW-21", "a160" + crec, "", "CMW-21"},
	{"CMW-21 blank", "a16120" + crec, "", "CMW-21"},
	{"CMW-21 newline", "a1620a61" + crec, "", "CMW-21"},
	{"CMW-21 NUL", "a1626100" + crec, "", "CMW-21"},
	{"CMW-21 DEL", "a162617f" + crec, "", "CMW-21"},
	{"CMW-21 C1", "a162c29b" + crec, "", "CMW-21"},
	{"CMW-21 right-to-left override", "a164e280ae61" + crec, "", "CMW-21"},
	{"CMW-21 chunked isolate", "a1 7f6161 63e281a9 ff" + crec, "", "CMW-21"},
	{"CMW-21 other scripts", "a162c3a9" + crec, "", ""},
	{"CMW-22 bool", "a1 f5 8263612f624101", "", "CMW-22"},
	{"CMW-22 bytes", "a1 4161" + crec, "", "CMW-22"},
	{"CMW-22 null", "a1 f6" + crec, "", "CMW-22"},
	{"CMW-22 float", "a1 f93c00" + crec, "", "CMW-22"},
	{"CMW-22 tag", "a1 c101" + crec, "", "CMW-22"},
	{"CMW-23", "a2 20 8263612f624101 21 8263612f624102", "", ""},
	{"CMW-24", "a1 6161 4101", "", "CMW-24"},
	{"CMW-24 int", "a1 6161 01", "", "CMW-24"},
	{"CMW-25", "82 1a00010000 4101", "", "CMW-25"},
	{"CMW-25 negative", "82 20 4101", "", "CMW-25"},
	{"CMW-26", "82 19ffff 4101", "", ""},
	{"CMW-27", "82 63612f62 6161", "", "CMW-27"},
	{"CMW-28", "82 63612f62 83010203", "", "CMW-28"},
	{"CMW-29", "82 63612f62 40", "", "CMW-29"},
	{"CMW-29 chunked", "82 63612f62 5fff", "", "CMW-29"},
	{"CMW-29 tag", "da6374013d40", "", "CMW-29"},
	{"CMW-30 below", "da63740100 4101", "", "CMW-30"},
	{"CMW-30 above", "da63750001 4101", "", "CMW-30"},
	{"CMW-30 small", "c24101", "", "CMW-30"},
	{"CMW-31", "da63740200 4101", "", "CMW-31"},
	{"CMW-32", "db000000006374013d4101", "", ""},
	{"CMW-33", "da6374013d 01", "", "CMW-33"},
	{"CMW-33 text", "da6374013d 6161", "", "CMW-33"},
	{"CMW-33 record in cmw+cbor", "da63740213 47" + crec, "", "CMW-33"},
	{"CMW-33 collection in cmw+cbor", "da63740213 4a a16161" + crec, "", ""},
	{"CMW-34", "9802 63612f62 4101", "", ""},
	{"CMW-36", strings.Repeat("a16161", 9) + crec, "", "limit-depth"},
	{"CMW-36 at the limit", strings.Repeat("a16161", 8) + crec, "", ""},
	{"CMW-37", "a16161" + "5b22612f62222c224151225d", "", "CMW-24"},
	{"CMW-38", crec, TypeCMWCBOR + `; cmwc_t="a:b"`, "CMW-38"},
	{"CMW-38 tag", "da6374013d4101", TypeCMWCBOR + `; cmwc_t="a:b"`, "CMW-38"},
	{"label collision", "a2 01 8263612f624101 6131 8263612f624102", "", ""},
	{"label above 63 bits", "a1 1b8000000000000000" + crec, "", "limit-label"},
	{"utf-8", "a161ff" + crec, "", "syntax"},
	{"truncated", "a16161826361", "", "syntax"},
	{"long string", "8263612f625bffffffffffffffff", "", "syntax"},
	{"long map", "bbffffffffffffffff6161" + crec, "", "limit-labels"},
	{"bare cose sniffed", "8440a04101" + "4100", "", "CMW-16"},
	{"declared json", crec, TypeCMWJSON, "syntax"},
	{"ratsd type without ratsd", "a16161" + crec, `application/cmw+cbor; cmwct="tag:github.com,2026:veraison/ratsd/v2"`, "ratsd"},
}

func TestRulesJSON(t *testing.T) {
	for _, c := range jsonRules {
		t.Run(c.id, func(t *testing.T) {
			wantRule(t, []byte(c.in), Options{MediaType: c.media}, c.want)
		})
	}
}

func TestRulesCBOR(t *testing.T) {
	for _, c := range cborRules {
		t.Run(c.id, func(t *testing.T) {
			wantRule(t, unhex(t, c.in), Options{MediaType: c.media}, c.want)
		})
	}
}

// TestRulesComplete fails when one of CMW-01 … CMW-40 has no test case.
func TestRulesComplete(t *testing.T) {
	have := map[string]bool{}
	for _, c := range jsonRules {
		have[c.id[:min(6, len(c.id))]] = true
	}
	for _, c := range cborRules {
		have[c.id[:min(6, len(c.id))]] = true
	}
	for id := range signedRules(t) {
		have[id[:6]] = true
	}
	for i := 1; i <= 40; i++ {
		if id := fmt.Sprintf("CMW-%02d", i); !have[id] {
			t.Errorf("no test case for %s", id)
		}
	}
}

func TestLabels(t *testing.T) {
	tree := wantRule(t, unhex(t, "a4 01"+crec+"6131"+crec+"20"+crec+"63232f7e"+crec), Options{}, "")
	var got []string
	for _, l := range tree.Leaves() {
		got = append(got, string(l.Path()))
	}
	if s := strings.Join(got, " "); s != "#-1 #1 1 ~2~1~0" {
		t.Errorf("paths %s", s)
	}
	for _, p := range got {
		if n, ok := tree.Lookup(Path(p)); !ok || n.Path() != Path(p) {
			t.Errorf("%s is not found", p)
		}
	}
	if _, ok := tree.Lookup("2"); ok {
		t.Error("found what is not there")
	}
}

func TestLenientIndicators(t *testing.T) {
	tree := wantRule(t, []byte(`{"x":["a/b","AQ",36]}`), Options{LenientIndicators: true}, "")
	if got := tree.Leaves()[0].Indicator(); got != IndEvidence {
		t.Errorf("ind %d", got)
	}
	if len(tree.Warnings()) != 1 {
		t.Errorf("warnings %v", tree.Warnings())
	}
	// What is not registered at all must not look like no indicator.
	for _, in := range []string{`{"x":["a/b","AQ",96]}`, "a1617883" + crec[2:] + "1860"} {
		raw := []byte(in)
		if in[0] == 'a' {
			raw = unhex(t, in)
		}
		tree = wantRule(t, raw, Options{LenientIndicators: true}, "")
		if got := tree.Leaves()[0].Indicator(); got != 96 || len(tree.Warnings()) != 1 {
			t.Errorf("ind %d, warnings %v", got, tree.Warnings())
		}
		if _, err := EncodeCBOR(tree.Root().Item()); err == nil {
			t.Error("encoded with unregistered bits")
		}
		wantRule(t, raw, Options{}, "CMW-12")
	}
	if !(IndEvidence | IndResults).Ambiguous() || IndEvidence.Ambiguous() {
		t.Error("ambiguous")
	}
}

func TestErrorPlace(t *testing.T) {
	_, err := Parse([]byte(`{"a":{"b c":["a/b","AQ",0]}}`), Options{})
	var e *Error
	if !errors.As(err, &e) || e.Label != "a/b c" || e.Offset != 24 {
		t.Errorf("got %+v", e)
	}
	for _, want := range []string{"CMW-11", `"a/b c"`, "24"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	// a CBOR CMW inside a CBOR record: offsets go on counting
	inner := unhex(t, "a161788363612f62410100")
	raw, err := EncodeCBOR(Record(MediaType{Base: TypeCMWCBOR}, inner, 0))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse(raw, Options{})
	if !errors.As(err, &e) || e.Offset != int64(len(raw)-1) || e.Label != "x" {
		t.Errorf("got %+v, want offset %d", e, len(raw)-1)
	}
}

// The empty collection is named where it begins.
func TestEmptyCollectionPlace(t *testing.T) {
	for _, c := range []struct {
		raw   []byte
		label Path
		at    int64
	}{
		{[]byte(` {}`), "", 1},
		{[]byte(`{"a":["a/b","AQ"],"b":{}}`), "b", 22},
		{[]byte(`{"a":{"__cmwc_t":"a:b"}}`), "a", 5},
		{unhex(t, "a2 6161 8263612f624101 6162 a0"), "b", 12},
		{unhex(t, "bf 6161 bfff ff"), "a", 3},
	} {
		_, err := Parse(c.raw, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Rule != "CMW-17" || e.Label != c.label || e.Offset != c.at {
			t.Errorf("%q: %+v, want label %q, offset %d", c.raw, e, c.label, c.at)
		}
	}
}

func TestLimits(t *testing.T) {
	two := `{"a":["a/b","AQ"],"b":["a/b","AQID"]}`
	cborTwo := "a26161" + crec + "61628263612f6243010203"
	for _, c := range []struct {
		rule string
		lim  limits.Evidence
	}{
		{"limit-size", limits.Evidence{Composite: 12}},
		{"limit-leaf", limits.Evidence{Leaf: 2}},
		{"limit-leaves", limits.Evidence{Leaves: 1}},
		{"limit-labels", limits.Evidence{Labels: 1}},
		{"limit-media-type", limits.Evidence{MediaType: 2}},
		{"", limits.Evidence{Composite: 64, Leaf: 3, Leaves: 2, Labels: 2, MediaType: 3, Label: 1, Depth: 1}},
	} {
		t.Run("json "+c.rule, func(t *testing.T) { wantRule(t, []byte(two), Options{Limits: c.lim}, c.rule) })
		t.Run("cbor "+c.rule, func(t *testing.T) { wantRule(t, unhex(t, cborTwo), Options{Limits: c.lim}, c.rule) })
	}
	wantRule(t, []byte(`{"aa":["a/b","AQ"]}`), Options{Limits: limits.Evidence{Label: 1}}, "limit-label")
	// the leaf limit holds for leaves inside an embedded CMW, which itself may be larger
	big, err := EncodeJSON(Collection("", Entry{Label: "a", Item: Record(MediaType{Base: "a/b"}, []byte{1, 2, 3}, 0)}))
	if err != nil {
		t.Fatal(err)
	}
	outer, err := EncodeJSON(Record(MediaType{Base: TypeCMWJSON}, big, 0))
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, outer, Options{Limits: limits.Evidence{Leaf: 3}}, "")
	wantRule(t, outer, Options{Limits: limits.Evidence{Leaf: 2}}, "limit-leaf")
}

func TestEmbedded(t *testing.T) {
	leaf := Record(MediaType{Base: "a/b"}, []byte("deep"), IndEvidence)
	inner, err := EncodeCBOR(Collection("", Entry{Label: "y", Item: leaf}))
	if err != nil {
		t.Fatal(err)
	}
	middle, err := EncodeJSON(Collection("", Entry{Label: "x", Item: ContentFormatRecord(cfCMWCBOR, inner, 0)}))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := EncodeCBOR(Collection("", Entry{Label: "w", Item: Record(MediaType{Base: TypeCMWJSON}, middle, 0)}))
	if err != nil {
		t.Fatal(err)
	}
	tree := wantRule(t, raw, Options{}, "")
	leaves := tree.Leaves()
	if len(leaves) != 1 || leaves[0].Path() != "w/x/y" || string(leaves[0].Value()) != "deep" {
		t.Fatalf("leaves %v", leaves)
	}
	w := tree.Root().Children()[0]
	if w.Kind() != KindEmbedded || w.Format() != FormatCBOR || !bytes.Equal(w.Value(), middle) {
		t.Errorf("wrapper %s %s", w.Kind(), w.Format())
	}
	if n, _ := tree.Lookup("w"); n.Kind() != KindCollection || n.Format() != FormatJSON {
		t.Errorf("content %s", n.Kind())
	}
	// root 0, w 1, its content 2, x 3, its content 4, y 5
	wantRule(t, raw, Options{Limits: limits.Evidence{Depth: 5}}, "")
	wantRule(t, raw, Options{Limits: limits.Evidence{Depth: 4}}, "limit-depth")
}
