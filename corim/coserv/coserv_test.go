// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func signing(id string, n byte) corim.SigningKey {
	return corim.SigningKey{ID: []byte(id), Public: testKey(n).Public()}
}

func acme(model string) corim.Environment {
	return corim.Environment{Class: corim.Class{Vendor: "ACME", Model: model}}
}

func svn(key string, n uint64) corim.Measurement {
	return corim.Measurement{Key: corim.TextKey(key), Value: corim.Values{SVN: &corim.SVN{Value: n, Minimum: true}}}
}

func exactly(key string, n uint64) corim.Measurement {
	return corim.Measurement{Key: corim.TextKey(key), Value: corim.Values{SVN: &corim.SVN{Value: n}}}
}

func classes(list ...corim.Class) Environments {
	var e Environments
	for _, c := range list {
		e.Classes = append(e.Classes, ClassSelector{Class: c})
	}
	return e
}

func references(c ...corim.Class) Query {
	return Query{Artifacts: ReferenceValues, Environments: classes(c...)}
}

// module is a document with one CoMID.
func module(id string, m corim.Comid) *corim.Document {
	if m.Identity.ID == (corim.ID{}) {
		m.Identity.ID = corim.ID{Text: id + "-tag"}
	}
	return &corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &m}}}
}

func one(e corim.Environment, m ...corim.Measurement) corim.Comid {
	return corim.Comid{Reference: []corim.ValueTriple{{Environment: e, Measurements: m}}}
}

// signed is a document signed by key n of "ACME".
func signed(t testing.TB, d *corim.Document) []byte {
	t.Helper()
	raw, err := corim.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	out, err := corim.Sign(rand.Reader, raw, corim.Signer{Key: testKey(1), KeyID: []byte("acme"), Name: "ACME"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func authority() corim.Authority {
	return corim.Authority{
		Name: "ACME", Keys: []corim.SigningKey{signing("acme", 1)},
		Profiles: []string{corim.AnyProfile, corim.NoProfile}, Scopes: []corim.Environment{{}},
	}
}

func load(t testing.TB, raw []byte) *corim.Document {
	t.Helper()
	trust, err := corim.NewTrust([]corim.Authority{authority()})
	if err != nil {
		t.Fatal(err)
	}
	d, err := corim.Load(raw, corim.Options{Trust: trust, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// index holds documents, all signed by ACME.
func index(t testing.TB, docs ...*corim.Document) *corim.Index {
	t.Helper()
	var list []*corim.Document
	for _, d := range docs {
		list = append(list, load(t, signed(t, d)))
	}
	x, err := corim.NewIndex(list...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func answer(t testing.TB, x *corim.Index, profile string, q Query) *Message {
	t.Helper()
	m, err := Answer(x, profile, q, AnswerOptions{Now: now, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t testing.TB, m Message) []byte {
	t.Helper()
	raw, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestRoundTrip(t *testing.T) {
	typed := corim.TaggedBytes(corim.TagBytes, []byte("one"))
	state := []corim.Measurement{exactly("fw", 3)}
	keys := []corim.Typed{corim.TaggedBytes(corim.TagBytes, []byte{0xab})}
	value := corim.ValueTriple{Environment: acme("NIC"), Measurements: state}
	records := []Record{{MediaType: "application/rim+cose", Value: []byte{1}}, {ContentFormat: 60, Value: []byte{2}, Indicator: 1}}
	query := func(a ArtifactType, r ResultType, e Environments) Query {
		return Query{Artifacts: a, Results: r, Environments: e}
	}
	byRIM := Query{RIMs: []RIM{{Corim, corim.ID{Text: "a"}}, {Comid, corim.ID{UUID: [16]byte{1}}}, {Coswid, corim.ID{Text: "b"}}}}
	for name, m := range map[string]Message{
		"class":    {Profile: "tag:x,2026:a", Query: references(corim.Class{Vendor: "ACME", Index: corim.Num(1)}, corim.Class{ID: typed})},
		"instance": {Profile: "2.16.840.1", Query: query(TrustAnchors, Both, Environments{Instances: []ValueSelector{{typed, state}, {typed, nil}}})},
		"group":    {Profile: "tag:x,2026:a", Query: query(EndorsedValues, SourceArtifacts, Environments{Groups: []ValueSelector{{Value: typed}}})},
		"rims":     {Profile: "tag:x,2026:a", Query: byRIM},
		"reference": {Profile: "tag:x,2026:a", Query: query(ReferenceValues, Both, classes(corim.Class{Vendor: "ACME"})), Results: &ResultSet{
			Expiry: now, Sources: records, Reference: []Quad[corim.ValueTriple]{{keys, value}},
		}},
		"endorsed": {Profile: "tag:x,2026:a", Query: query(EndorsedValues, Collected, classes(corim.Class{Vendor: "ACME"})), Results: &ResultSet{
			Expiry: now, Endorsed: []Quad[corim.ValueTriple]{{keys, value}},
			Conditional: []Quad[corim.ConditionalTriple]{{keys, corim.ConditionalTriple{Conditions: []corim.ValueTriple{value}, Endorsements: []corim.ValueTriple{value}}}},
		}},
		"anchors": {Profile: "tag:x,2026:a", Query: query(TrustAnchors, Collected, classes(corim.Class{Vendor: "ACME"})), Results: &ResultSet{
			Expiry: now, AttestKeys: []Quad[corim.KeyTriple]{{keys, corim.KeyTriple{Environment: acme("NIC"), Keys: keys, Element: corim.NumberKey(4)}}},
			Stores: []Store{{keys, []byte{0x81, 0x01}}},
		}},
		"nothing":   {Profile: "tag:x,2026:a", Query: query(EndorsedValues, SourceArtifacts, classes(corim.Class{Vendor: "ACME"})), Results: &ResultSet{Expiry: now}},
		"documents": {Profile: "tag:x,2026:a", Query: byRIM, Results: &ResultSet{Expiry: now, RIMs: []NamedRecord{{"a", records[0]}}}},
		"no rims":   {Profile: "tag:x,2026:a", Query: byRIM, Results: &ResultSet{Expiry: now}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := encode(t, m)
			back, err := Parse(raw, ParseOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if again := encode(t, *back); !bytes.Equal(raw, again) {
				t.Errorf("%x, and %x after a round trip", raw, again)
			}
			if !same(&m.Query, &back.Query) || back.Profile != m.Profile || (back.Results == nil) != (m.Results == nil) {
				t.Errorf("%+v, and %+v after a round trip", m, back)
			}
			s, err := m.Base64URL()
			if (err == nil) != (m.Results == nil) {
				t.Fatal(err)
			}
			if err == nil {
				if _, err := ParseBase64URL(s, ParseOptions{}); err != nil {
					t.Error(err)
				}
				if _, err := ParseBase64URL(s+"=", ParseOptions{}); err == nil {
					t.Error("padding is accepted")
				}
				if _, err := ParseBase64URL(s[:4]+"\n"+s[4:], ParseOptions{}); err == nil {
					t.Error("a line break is accepted")
				}
			}
		})
	}
}

// TestRefusals changes one thing in something that is accepted.
func TestRefusals(t *testing.T) {
	const head = "\xa2\x00\x61:\x01" // {0: ":", 1: …
	class := func(s string) string { return head + "\xa3\x00\x02\x01\xa1\x00\x81" + s + "\x02\x00" }
	const plain = "\x81\xa1\x01\x61A" // [{1: "A"}]
	result := func(s string) string { return "\xa3" + class(plain)[1:] + "\x02" + s }
	sources := func(s string) string {
		return "\xa3" + head[1:] + "\xa3\x00\x02\x01\xa1\x00\x81" + plain + "\x02\x01\x02" + s
	}
	rims := func(s string) string { return "\xa3" + head[1:] + "\xa1\x03\x81\x82\x02\x61a\x02" + s }
	const statement = "\xa2\x01\x81\xd9\x02\x30\x41a\x02\x82\xa1\x00\xa1\x01\x61A\x81\xa1\x01\xa1\x0b\x61n"
	const expiry = "\x0a\xc0\x742030-12-13T18:30:02Z"
	for name, in := range map[string]string{
		"query": class(plain), "result": result("\xa2\x00\x80" + expiry), "statement": result("\xa2\x00\x81" + statement + expiry),
		"source": sources("\xa2" + expiry + "\x0b\x81\x82\x61a\x41a"), "empty": sources("\xa2\x00\x80" + expiry),
		"rim": rims("\xa2\x05\xa1\x61a\x82\x61a\x41a" + expiry),
	} {
		if _, err := Parse([]byte(in), ParseOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, in := range map[string]string{
		"nothing":              "",
		"trailing":             class(plain) + "\x00",
		"not a map":            "\x80",
		"tagged map":           "\xd9\xd9\xf7" + class(plain),
		"null":                 "\xf6",
		"text key":             "\xa1\x61a\x00",
		"twice":                "\xa3" + class(plain)[1:] + "\x01\x00",
		"unknown member":       "\xa3" + class(plain)[1:] + "\x03\x00",
		"indefinite":           "\xbf" + class(plain)[1:] + "\xff",
		"no profile":           "\xa1" + class(plain)[4:],
		"empty profile":        "\xa2\x00\x60" + class(plain)[4:],
		"relative profile":     "\xa2\x00\x61x" + class(plain)[4:],
		"profile with quote":   "\xa2\x00\x62:\"" + class(plain)[4:],
		"profile of bytes":     "\xa2\x00\x41:" + class(plain)[4:],
		"profile tag":          "\xa2\x00\xd9\x02\x30\x41:" + class(plain)[4:],
		"long number":          class("\x81\xa1\x18\x01\x61A"),
		"keys not sorted":      head + "\xa3\x02\x00\x00\x02\x01\xa1\x00\x81" + plain,
		"no artifact type":     head + "\xa2\x01\xa1\x00\x81" + plain + "\x02\x00",
		"artifact type 3":      head + "\xa3\x00\x03\x01\xa1\x00\x81" + plain + "\x02\x00",
		"result type 3":        head + "\xa3\x00\x02\x01\xa1\x00\x81" + plain + "\x02\x03",
		"two sorts":            head + "\xa3\x00\x02\x01\xa2\x00\x81" + plain + "\x01\x81\x81\xd9\x02\x30\x41a\x02\x00",
		"no selector":          head + "\xa3\x00\x02\x01\xa0\x02\x00",
		"no entries":           head + "\xa3\x00\x02\x01\xa1\x00\x80\x02\x00",
		"empty class":          class("\x81\xa0"),
		"model without vendor": class("\x81\xa1\x02\x61A"),
		"class member":         class("\x82\xa2\x01\x61A\x09\x00"),
		"empty state":          class("\x82\xa1\x01\x61A\x80"),
		"three parts":          class("\x83\xa1\x01\x61A\x80\x80"),
		"rim and environment":  head + "\xa4\x00\x02\x01\xa1\x00\x81" + plain + "\x02\x00\x03\x81\x82\x02\x61a",
		"rim kind":             head + "\xa1\x03\x81\x82\x03\x61a",
		"no rims":              head + "\xa1\x03\x80",
		"short uuid":           head + "\xa1\x03\x81\x82\x00\x42ab",
		"no expiry":            result("\xa1\x00\x80"),
		"only expiry":          result("\xa1" + expiry),
		"number as expiry":     result("\xa2\x00\x80\x0a\xc1\x01"),
		"bad expiry":           result("\xa2\x00\x80\x0a\xc0\x61x"),
		"other type":           result("\xa2\x01\x80" + expiry),
		"sources not asked":    result("\xa3\x00\x80" + expiry + "\x0b\x81\x82\x61a\x41a"),
		"statements not asked": sources("\xa2\x00\x81" + statement + expiry),
		"another rim":          rims("\xa2\x05\xa2\x61a\x82\x61a\x41a\x61b\x82\x61a\x41a" + expiry),
		"rim twice":            rims("\xa2\x05\xa2\x61a\x82\x61a\x41a\x61a\x82\x61a\x41a" + expiry),
		"no rims in it":        rims("\xa1" + expiry),
		"record of one":        sources("\xa2" + expiry + "\x0b\x81\x81\x61a"),
		"value as a text":      sources("\xa2" + expiry + "\x0b\x81\x82\x61a\x61a"),
		"no media type":        sources("\xa2" + expiry + "\x0b\x81\x82\x60\x41a"),
		"rims not asked":       result("\xa2\x05\xa0" + expiry),
		"no authorities":       result("\xa2\x00\x81\xa2\x01\x80\x02\x82\xa1\x00\xa1\x01\x61A\x81\xa1\x01\xa1\x0b\x61n" + expiry),
		"no triple":            result("\xa2\x00\x81\xa1\x01\x81\xd9\x02\x30\x41a" + expiry),
	} {
		if _, err := Parse([]byte(in), ParseOptions{}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	many := references()
	for range limits.CoservSelectors + 1 {
		many.Environments.Classes = append(many.Environments.Classes, ClassSelector{Class: corim.Class{Vendor: "A"}})
	}
	if _, err := (Message{Profile: "a:b", Query: many}).Encode(); err == nil {
		t.Error("too many selectors are accepted")
	}
	big := references(corim.Class{Vendor: string(bytes.Repeat([]byte("A"), limits.CoservQuery))})
	if _, err := (Message{Profile: "a:b", Query: big}).Encode(); err == nil {
		t.Error("a query that is too large is accepted")
	}
	if _, err := Parse(make([]byte, limits.CoservResult+1), ParseOptions{}); err == nil {
		t.Error("a result that is too large is accepted")
	}
}

func TestOnlyTheEncodingIsWaived(t *testing.T) {
	const unsorted = "\xa2\x00\x61:\x01\xa3\x02\x00\x00\x02\x01\xa1\x00\x81\x81\xa1\x01\x61A"
	if _, err := Parse([]byte(unsorted), ParseOptions{AnyEncoding: true}); err != nil {
		t.Error(err)
	}
	if _, err := Parse([]byte(unsorted+"\x00"), ParseOptions{AnyEncoding: true}); err == nil {
		t.Error("trailing bytes are accepted")
	}
}
