// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

func p[T any](v T) *T { return &v }

func raw(value, mask string) *RawValue {
	r := &RawValue{Tag: TagBytes, Value: []byte(value)}
	if mask != "" {
		r.Mask = []byte(mask)
	}
	return r
}

func TestCompare(t *testing.T) {
	ext := func(key int64, b ...byte) Values { return Values{Extensions: []Extension{{key, b}}} }
	numeric := []byte{0xd9, 0xea, 0x6a, 0x82, 2, 6}                                    // 60010([2, 6])
	set := []byte{0xd9, 0xea, 0x75, 0x82, 6, 0x82, 0x61, 'a', 0x61, 'b'}               // 60021([6, ["a", "b"]])
	digests := []byte{0xd9, 0xea, 0x74, 0x82, 6, 0x81, 0x82, 1, 0x41, 7}               // 60020([6, [[1, h'07']]])
	array := append([]byte{0x82}, append(append([]byte{}, numeric...), numeric...)...) // [>=6, >=6]
	for _, c := range []struct {
		name       string
		want, seen Values
		cmp        comparison
		match      bool
	}{
		{name: "digest", want: Values{Digests: []Digest{sum(1, SHA384)}}, seen: Values{Digests: []Digest{sum(1, SHA384)}}, match: true},
		{name: "digest differs", want: Values{Digests: []Digest{sum(1, SHA384)}}, seen: Values{Digests: []Digest{sum(2, SHA384)}}},
		{name: "no algorithm in common", want: Values{Digests: []Digest{sum(1, SHA384)}}, seen: Values{Digests: []Digest{sum(1, SHA256)}}},
		{name: "one of two", want: Values{Digests: []Digest{sum(1, SHA256), sum(1, SHA384)}}, seen: Values{Digests: []Digest{sum(1, SHA384)}}, match: true},
		{name: "downgrade", want: Values{Digests: []Digest{sum(1, SHA256), sum(1, SHA384)}}, seen: Values{Digests: []Digest{sum(1, SHA256), sum(2, SHA384)}}},
		{name: "nothing seen", want: Values{Digests: []Digest{sum(1, SHA384)}}},
		{name: "svn", want: Values{SVN: &SVN{3, false}}, seen: Values{SVN: &SVN{3, false}}, match: true},
		{name: "svn higher", want: Values{SVN: &SVN{3, false}}, seen: Values{SVN: &SVN{4, false}}},
		{name: "min svn higher", want: Values{SVN: &SVN{3, true}}, seen: Values{SVN: &SVN{4, false}}, match: true},
		{name: "min svn equal", want: Values{SVN: &SVN{3, true}}, seen: Values{SVN: &SVN{3, false}}, match: true},
		{name: "min svn lower", want: Values{SVN: &SVN{3, true}}, seen: Values{SVN: &SVN{2, false}}},
		{name: "min svn of a minimum", want: Values{SVN: &SVN{3, true}}, seen: Values{SVN: &SVN{4, true}}},
		{name: "exact svn of a minimum", want: Values{SVN: &SVN{3, false}}, seen: Values{SVN: &SVN{3, true}}},
		{name: "no svn", want: Values{SVN: &SVN{0, true}}},
		{name: "tcb bytewise", want: Values{SVN: &SVN{0x0201, true}}, seen: Values{SVN: &SVN{0x0300, false}}, cmp: comparison{bytewise: true}},
		{name: "tcb bytewise, all higher", want: Values{SVN: &SVN{0x0201, true}}, seen: Values{SVN: &SVN{0x0302, false}}, cmp: comparison{bytewise: true}, match: true},
		{name: "raw", want: Values{Raw: raw("ab", "")}, seen: Values{Raw: raw("ab", "")}, match: true},
		{name: "raw differs", want: Values{Raw: raw("ab", "")}, seen: Values{Raw: raw("ac", "")}},
		{name: "raw shorter", want: Values{Raw: raw("ab", "")}, seen: Values{Raw: raw("a", "")}},
		{name: "mask", want: Values{Raw: raw("ab", "\xff\x00")}, seen: Values{Raw: raw("az", "")}, match: true},
		{name: "mask differs", want: Values{Raw: raw("ab", "\xff\x01")}, seen: Values{Raw: raw("ac", "")}},
		{name: "mask in evidence", want: Values{Raw: raw("ab", "")}, seen: Values{Raw: raw("ab", "\x00\x00")}},
		{name: "name", want: Values{Name: p("a")}, seen: Values{Name: p("a")}, match: true},
		{name: "name differs", want: Values{Name: p("a")}, seen: Values{Name: p("b")}},
		{name: "version", want: Values{Version: &Version{Text: "1"}}, seen: Values{Version: &Version{Text: "1"}}, match: true},
		{name: "version scheme", want: Values{Version: &Version{Text: "1", Scheme: 1}}, seen: Values{Version: &Version{Text: "1"}}},
		{name: "flag", want: Values{Flags: &Flags{Known: 8}}, seen: Values{Flags: &Flags{Known: 9, Value: 1}}, match: true},
		{name: "flag set", want: Values{Flags: &Flags{Known: 8}}, seen: Values{Flags: &Flags{Known: 8, Value: 8}}},
		{name: "flag not known", want: Values{Flags: &Flags{Known: 8}}, seen: Values{Flags: &Flags{Known: 1}}},
		{name: "keys", want: Values{Keys: []Typed{TaggedText(554, "k")}}, seen: Values{Keys: []Typed{TaggedText(554, "k"), TaggedText(554, "l")}}, match: true},
		{name: "keys in order", want: Values{Keys: []Typed{TaggedText(554, "l")}}, seen: Values{Keys: []Typed{TaggedText(554, "k"), TaggedText(554, "l")}}},
		{name: "registers, a part", want: Values{Registers: []Register{{NumberKey(1), []Digest{sum(1, SHA256)}}}},
			seen: Values{Registers: []Register{{NumberKey(0), []Digest{sum(0, SHA256)}}, {NumberKey(1), []Digest{sum(1, SHA256)}}}}, match: true},
		{name: "register missing", want: Values{Registers: []Register{{NumberKey(1), []Digest{sum(1, SHA256)}}}},
			seen: Values{Registers: []Register{{TextKey("1"), []Digest{sum(1, SHA256)}}}}},
		{name: "register differs", want: Values{Registers: []Register{{NumberKey(1), []Digest{sum(1, SHA256)}}}},
			seen: Values{Registers: []Register{{NumberKey(1), []Digest{sum(2, SHA256)}}}}},
		{name: "serial", want: Values{Identity: &Identity{Serial: "1"}}, seen: Values{Identity: &Identity{Serial: "1", MAC: []byte{1}}}, match: true},
		{name: "mac differs", want: Values{Identity: &Identity{MAC: []byte{2}}}, seen: Values{Identity: &Identity{Serial: "1", MAC: []byte{1}}}},
		{name: "range", want: Values{Range: &Range{Min: p(int64(0)), Max: p(int64(2))}}, seen: Values{Range: IntValue(2)}, match: true},
		{name: "range above", want: Values{Range: &Range{Min: p(int64(0)), Max: p(int64(2))}}, seen: Values{Range: IntValue(3)}},
		{name: "range open", want: Values{Range: &Range{Min: p(int64(0))}}, seen: Values{Range: IntValue(3)}, match: true},
		{name: "range below", want: Values{Range: &Range{Min: p(int64(0))}}, seen: Values{Range: IntValue(-1)}},
		{name: "two members, one missing", want: Values{SVN: &SVN{3, false}, Name: p("a")}, seen: Values{SVN: &SVN{3, false}}},
		{name: "unknown member", want: ext(100, 1), seen: ext(100, 1)},
		{name: "member of a profile that is not known", want: ext(-1, 1), seen: ext(-1, 1)},
		{name: "intel, same", want: ext(-80, 0x61, 'a'), seen: ext(-80, 0x61, 'a'), cmp: comparison{profile: ProfileIntel}, match: true},
		{name: "intel, other", want: ext(-80, 0x61, 'a'), seen: ext(-80, 0x61, 'b'), cmp: comparison{profile: ProfileIntel}},
		{name: "intel, at least", want: ext(-73, numeric...), seen: ext(-73, 7), cmp: comparison{profile: ProfileIntel}, match: true},
		{name: "intel, less", want: ext(-73, numeric...), seen: ext(-73, 5), cmp: comparison{profile: ProfileIntel}},
		{name: "intel, components", want: ext(-125, array...), seen: ext(-125, 0x82, 6, 9), cmp: comparison{profile: ProfileIntel}, match: true},
		{name: "intel, one component less", want: ext(-125, array...), seen: ext(-125, 0x82, 9, 5), cmp: comparison{profile: ProfileIntel}},
		{name: "intel, components missing", want: ext(-125, array...), seen: ext(-125, 0x81, 9), cmp: comparison{profile: ProfileIntel}},
		{name: "intel, member", want: ext(-88, set...), seen: ext(-88, 0x61, 'b'), cmp: comparison{profile: ProfileIntel}, match: true},
		{name: "intel, members", want: ext(-88, set...), seen: ext(-88, 0x82, 0x61, 'b', 0x61, 'a'), cmp: comparison{profile: ProfileIntel}, match: true},
		{name: "intel, no member", want: ext(-88, set...), seen: ext(-88, 0x82, 0x61, 'b', 0x61, 'c'), cmp: comparison{profile: ProfileIntel}},
		{name: "intel, nothing in the set", want: ext(-88, set...), seen: ext(-88, 0x80), cmp: comparison{profile: ProfileIntel}},
		{name: "intel, digest", want: ext(-84, digests...), seen: ext(-84, 0x82, 1, 0x41, 7), cmp: comparison{profile: ProfileIntel}, match: true},
		{name: "intel, other digest", want: ext(-84, digests...), seen: ext(-84, 0x82, 1, 0x41, 8), cmp: comparison{profile: ProfileIntel}},
	} {
		if got := c.cmp.match(&c.want, &c.seen); got != c.match {
			t.Errorf("%s: %v", c.name, got)
		}
		if d := c.cmp.difference(&c.want, &c.seen); (d == "") != c.match {
			t.Errorf("%s: difference %q", c.name, d)
		}
	}
}

func TestCovers(t *testing.T) {
	instance := TaggedBytes(TagBytes, []byte{1})
	device := Environment{Class: Class{Vendor: "ACME", Model: "NIC"}, Instance: instance}
	for _, c := range []struct {
		want Environment
		yes  bool
	}{
		{device, true}, {acme("NIC"), true}, {Environment{Instance: instance}, true},
		{acme("GPU"), false}, {Environment{Instance: TaggedBytes(TagBytes, []byte{2})}, false}, {Environment{Instance: TaggedBytes(TagUEID, []byte{1})}, false},
		{Environment{Class: device.Class, Instance: instance, Group: instance}, false}, {Environment{}, false},
		// A class is one name: a part of it is another name.
		{Environment{Class: Class{Vendor: "ACME"}}, false},
	} {
		if got := c.want.Covers(device); got != c.yes {
			t.Errorf("%s: %v", c.want, got)
		}
		found := false
		for _, v := range device.variants(make([]Environment, 7)) {
			found = found || v == c.want
		}
		if found != c.yes {
			t.Errorf("%s: variant %v", c.want, found)
		}
	}
}

func states(r *Result) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.State.String())
	}
	return strings.Join(out, " ")
}

func TestMatch(t *testing.T) {
	// Two releases of one firmware: values must not be mixed.
	release := func(b byte) ValueTriple {
		return ValueTriple{acme("NIC"), []Measurement{digestOf(NumberKey(1), b), digestOf(NumberKey(2), b)}}
	}
	asks := digestOf(NumberKey(1), 9)
	asks.AuthorizedBy = []Typed{TaggedText(TagPKIXKey, "key")}
	index, err := NewIndex(
		loaded(t, module("a", Comid{Reference: []ValueTriple{release(1), release(2)}})),
		loaded(t, module("b", Comid{Reference: []ValueTriple{
			{acme("DPU"), []Measurement{digestOf(TextKey("fw"), 1), digestOf(TextKey("fw"), 2)}},
			{acme("DPU2"), []Measurement{asks}},
		}})),
	)
	if err != nil {
		t.Fatal(err)
	}
	n := func(key uint64, b byte) Measurement { return digestOf(NumberKey(key), b) }
	fw := func(b byte) Measurement { return digestOf(TextKey("fw"), b) }
	for _, c := range []struct {
		name string
		env  Environment
		seen []Measurement
		auth []Typed
		want string
	}{
		{"release 1", acme("NIC"), []Measurement{n(1, 1), n(2, 1)}, nil, "matched matched"},
		{"any order", acme("NIC"), []Measurement{n(2, 2), n(1, 2)}, nil, "matched matched"},
		{"more than expected", acme("NIC"), []Measurement{n(1, 1), n(2, 1), n(3, 1)}, nil, "matched matched unknown"},
		{"mixed", acme("NIC"), []Measurement{n(1, 1), n(2, 2)}, nil, "partial partial"},
		{"less than expected", acme("NIC"), []Measurement{n(1, 1)}, nil, "partial"},
		{"one wrong", acme("NIC"), []Measurement{n(1, 1), n(2, 7)}, nil, "partial mismatched"},
		{"twice, once wrong", acme("NIC"), []Measurement{n(1, 1), n(1, 7), n(2, 1)}, nil, "partial mismatched partial"},
		{"nothing known", acme("GPU"), []Measurement{n(1, 1)}, nil, "unknown"},
		{"alternatives of one key", acme("DPU"), []Measurement{fw(2)}, nil, "matched"},
		{"several of one key", acme("DPU"), []Measurement{fw(2), fw(1)}, nil, "matched matched"},
		{"several of one key, one wrong", acme("DPU"), []Measurement{fw(2), fw(3)}, nil, "partial mismatched"},
		{"not vouched for", acme("DPU2"), []Measurement{n(1, 9)}, nil, "mismatched"},
		{"vouched for", acme("DPU2"), []Measurement{n(1, 9)}, []Typed{TaggedText(TagPKIXKey, "key")}, "matched"},
	} {
		r := index.Match(Query{Environments: []Environment{c.env}, Measurements: c.seen, Authority: c.auth, Time: testTime})
		if got := states(r); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if r.Revision != index.Revision() {
			t.Errorf("%s: revision %q", c.name, r.Revision)
		}
	}
	r := index.Match(Query{Environments: []Environment{acme("NIC")}, Measurements: []Measurement{n(1, 1), n(2, 7)}, Time: testTime})
	f := r.Findings[1]
	if len(f.Expected) != 2 || f.Expected[0].Difference != "digests" || f.Expected[0].Source.Document().ID.Text != "a" || r.Worst() != Mismatched {
		t.Errorf("%+v", f)
	}
	if r.Nearest == nil || r.Nearest.Source.Index != 0 || r.Nearest.Holds() || !reflect.DeepEqual(r.Nearest.Differing, []Key{NumberKey(2)}) || r.Nearest.Missing != nil {
		t.Errorf("nearest %+v", r.Nearest)
	}
	r = index.Match(Query{Environments: []Environment{acme("NIC")}, Measurements: []Measurement{n(1, 2), n(2, 2)}, Time: testTime})
	if len(r.Records) != 1 || len(r.Findings[0].Matches) != 1 || r.Findings[0].Matches[0].String() != "a/a-tag/reference-triples[1] (unsigned)" || r.Nearest != nil {
		t.Errorf("%+v", r)
	}
	if w := index.Match(Query{Time: testTime}).Worst(); w != Unknown {
		t.Errorf("worst of nothing: %s", w)
	}
}

// Expired documents, replaced and superseded tags, and tags that a list leaves
// out say nothing.
func TestWhatCounts(t *testing.T) {
	comid := func(id string, version uint64, b byte, links ...Link) Comid {
		return Comid{Identity: TagIdentity{ID{Text: id}, version}, Links: links, Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), b)}}}}
	}
	list := func(id string, version uint64) Tag {
		enc, err := encoding()
		if err != nil {
			t.Fatal(err)
		}
		out, err := enc.Marshal(members{0: members{0: "list"}, 1: []any{members{0: id, 1: version}}, 2: periodItem(Period{NotAfter: testTime})})
		if err != nil {
			t.Fatal(err)
		}
		return Tag{Number: TagCotl, Raw: out}
	}
	old := module("old", comid("t", 1, 1))
	limited := module("limited", comid("u", 0, 3))
	limited.Validity.NotAfter = testTime
	listed := module("listed", comid("t", 1, 1))
	listed.Tags = append(listed.Tags, list("t", 1))
	for _, c := range []struct {
		name  string
		docs  []*Document
		value byte
		later int
		want  State
	}{
		{"one", []*Document{old}, 1, 0, Matched},
		{"superseded", []*Document{old, module("new", comid("t", 2, 2))}, 1, 0, Mismatched},
		{"newer", []*Document{old, module("new", comid("t", 2, 2))}, 2, 0, Matched},
		{"replaced", []*Document{old, module("new", comid("other", 0, 2, Link{ID{Text: "t"}, Replaces}))}, 1, 0, Mismatched},
		{"supplemented", []*Document{old, module("new", comid("other", 0, 2, Link{ID{Text: "t"}, Supplements}))}, 1, 0, Matched},
		{"in time", []*Document{limited}, 3, 0, Matched},
		{"expired", []*Document{limited}, 3, 1, Unknown},
		{"listed", []*Document{listed}, 1, 0, Matched},
		{"list expired", []*Document{listed}, 1, 1, Unknown},
		{"not listed", []*Document{listed, module("x", comid("x", 0, 4))}, 4, 0, Mismatched},
	} {
		var docs []*Document
		for _, d := range c.docs {
			docs = append(docs, loaded(t, d))
		}
		x, err := NewIndex(docs...)
		if err != nil {
			t.Fatal(err)
		}
		r := x.Match(Query{Environments: []Environment{acme("NIC")}, Measurements: []Measurement{digestOf(NumberKey(1), c.value)}, Time: testTime.AddDate(0, 0, c.later)})
		if r.Findings[0].State != c.want {
			t.Errorf("%s: %s", c.name, states(r))
		}
		if c.want == Unknown && r.Expired == 0 {
			t.Errorf("%s: nothing said to be expired", c.name)
		}
	}
}

// The revision is that of the set, not of its order; a document twice is one.
func TestRevision(t *testing.T) {
	a := loaded(t, module("a", Comid{Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 1)}}}}))
	b := loaded(t, module("b", Comid{Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 2)}}}}))
	revision := func(docs ...*Document) string {
		x, err := NewIndex(docs...)
		if err != nil {
			t.Fatal(err)
		}
		return x.Revision()
	}
	if revision(a, b) != revision(b, a, b) || revision(a) == revision(b) || revision(a) == revision(a, b) {
		t.Error("revision does not follow the set")
	}
	c := module("c", Comid{Identity: TagIdentity{ID: ID{Text: "a-tag"}}, Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 3)}}}})
	x, err := NewIndex(a, loaded(t, c))
	if err != nil || len(x.Conflicts()) != 1 {
		t.Errorf("%v, %v", x.Conflicts(), err)
	}
}

// The recorded sets answer as their evidence wants.
func TestRecordedSets(t *testing.T) {
	load := func(name string) *Index {
		d, err := Load(vectors.Read(t, name), Options{Unsigned: true, Now: testTime})
		if err != nil {
			t.Fatal(err)
		}
		x, err := NewIndex(d)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	digest := func(x *Index) Measurement { // the first reference value, as evidence
		d := x.Documents()[0].Tags[0].Comid.Reference[0].Measurements[0]
		return d
	}
	cca := load("cca/veraison-services/corim-cca-platform-valid.cbor")
	env := Environment{Class: Class{ID: TaggedBytes(TagBytes, make([]byte, 32))}}
	seen := cca.Documents()[0].Tags[0].Comid.Reference[0].Measurements
	component, config := digest(cca), Measurement{Key: TextKey("cca.platform-config"), Value: Values{Raw: raw("\x01\x02\x03", "")}}
	if r := cca.Match(Query{Environments: []Environment{env}, Measurements: []Measurement{component, seen[2], config}, Time: testTime}); r.Worst() != Matched {
		t.Errorf("cca: %s", states(r))
	}
	config.Value.Raw = raw("\x01\x02\x04", "")
	component.Value.Name = p("M9")
	if r := cca.Match(Query{Environments: []Environment{env}, Measurements: []Measurement{component, seen[2], config}, Time: testTime}); states(r) != "mismatched partial mismatched" {
		t.Errorf("cca, other: %s", states(r))
	}
	device := env
	device.Instance = TaggedBytes(TagUEID, []byte(strings.Repeat("\x02", 33)))
	device.Instance.Data = "\x01" + device.Instance.Data[1:]
	if keys := cca.AttestKeys(testTime, device); len(keys) != 1 || keys[0].Key.Tag != TagPKIXKey || keys[0].Source.Kind != AttestKey {
		t.Errorf("cca keys: %+v", keys)
	}
	if keys := cca.AttestKeys(testTime, env); keys != nil {
		t.Errorf("cca keys without a device: %+v", keys)
	}

	snp := load("snp/veraison-services/corim-sevsnp-valid.cbor")
	triple := snp.Documents()[0].Tags[0].Comid.Reference[0]
	ask := func(key uint64, v Values) State {
		list := append([]Measurement{}, triple.Measurements...)
		for i := range list {
			if list[i].Key == NumberKey(1) {
				list[i].Value = Values{SVN: &SVN{Value: 0}}
			}
			if list[i].Key == NumberKey(key) {
				list[i].Value = v
			}
		}
		return snp.Match(Query{Environments: []Environment{triple.Environment}, Measurements: list, Time: testTime}).Worst()
	}
	if s := ask(1, Values{SVN: &SVN{Value: 5}}); s != Matched {
		t.Errorf("snp: %s", s)
	}
	if s := ask(641, Values{Digests: []Digest{sum(1, SHA384)}}); s != Mismatched {
		t.Errorf("snp, other measurement: %s", s)
	}
	if keys := snp.AttestKeys(testTime, Environment{Class: Class{Vendor: "Advanced Micro Devices", Model: "ARK-Genoa"}}); len(keys) != 1 {
		t.Errorf("snp roots: %+v", keys)
	}
	psa := load("psa/veraison-services/corim/corim-psa-valid.cbor")
	v := psa.Documents()[0].Tags[0].Comid.Reference[0]
	if r := psa.Match(Query{Environments: []Environment{v.Environment}, Measurements: v.Measurements, Time: testTime}); r.Worst() != Matched {
		t.Errorf("psa: %s", states(r))
	}
}

// AMD's TCB is compared number by number where the class says so, in any
// profile.
// A key says for what environment it is stated, and the triples about a component
// can be listed with what they expect.
func TestStatements(t *testing.T) {
	device := Environment{Class: Class{Vendor: "ACME", Model: "MCU"}, Instance: TaggedBytes(TagUEID, []byte("\x01234567"))}
	class := Environment{Class: device.Class}
	pem := TaggedText(TagPKIXKey, "key")
	triple := func(e Environment, b byte) ValueTriple {
		return ValueTriple{Environment: e, Measurements: []Measurement{{Key: TextKey("a"), Value: Values{Digests: []Digest{sum(b, SHA256)}}}}}
	}
	m := &Comid{
		Identity:   TagIdentity{ID: ID{Text: "tag"}},
		Reference:  []ValueTriple{triple(class, 1), triple(device, 2), triple(Environment{Class: Class{Vendor: "other"}}, 3)},
		AttestKeys: []KeyTriple{{Environment: class, Keys: []Typed{pem}}, {Environment: device, Keys: []Typed{pem}}},
	}
	raw, err := Encode(&Document{ID: ID{Text: "doc"}, Tags: []Tag{{Number: TagComid, Comid: m}}, Validity: Period{NotAfter: testTime}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Load(raw, Options{Unsigned: true, Now: testTime})
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Environment]int{}
	for _, k := range x.AttestKeys(testTime, device) {
		seen[k.Environment]++
	}
	if len(seen) != 2 || seen[device] != 1 || seen[class] != 1 {
		t.Errorf("keys: %v", seen)
	}
	list := x.References(testTime, device, class)
	if len(list) != 2 {
		t.Fatalf("%d triples", len(list))
	}
	for _, s := range list {
		if v := s.Values(); v == nil || s.Kind != Reference || !v.Environment.Covers(device) || !reflect.DeepEqual(v.Measurements, m.Reference[s.Index].Measurements) {
			t.Errorf("%s: %+v", s, v)
		}
	}
	if v := x.AttestKeys(testTime, device)[0].Source.Values(); v != nil {
		t.Errorf("a key has values: %+v", v)
	}
	if (Source{}).Values() != nil {
		t.Error("nowhere has values")
	}
	if late := x.References(testTime.AddDate(0, 0, 1), device); late != nil {
		t.Errorf("triples of a document that does not hold: %v", late)
	}
}

func TestTCBBytewise(t *testing.T) {
	for name, c := range map[string]struct {
		class Typed
		key   uint64
		want  State
	}{
		"snp": {TaggedBytes(TagOID, []byte(oidSNPByChip)), 647, Mismatched}, "snp, by provider": {TaggedBytes(TagOID, []byte(oidSNPByCSP)), 647, Mismatched},
		"guest svn": {TaggedBytes(TagOID, []byte(oidSNPByChip)), 1, Matched}, "other class": {TaggedBytes(TagBytes, []byte{1}), 647, Matched},
	} {
		env := Environment{Class: Class{ID: c.class}}
		x, err := NewIndex(loaded(t, module("a", Comid{Reference: []ValueTriple{{env, []Measurement{{Key: NumberKey(c.key), Value: Values{SVN: &SVN{0x0102, true}}}}}}})))
		if err != nil {
			t.Fatal(err)
		}
		r := x.Match(Query{Environments: []Environment{env}, Measurements: []Measurement{{Key: NumberKey(c.key), Value: Values{SVN: &SVN{Value: 0x0201}}}}, Time: testTime})
		if r.Findings[0].State != c.want {
			t.Errorf("%s: %s", name, states(r))
		}
	}
}
