// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

var (
	now  = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	acme = corim.Environment{Class: corim.Class{Vendor: "ACME", Model: "TD"}}
)

func sum(b byte) []corim.Digest {
	return []corim.Digest{{Alg: corim.SHA384, Value: bytes.Repeat([]byte{b}, 48)}}
}

// digest is a measurement with one digest.
func digest(key string, b byte) corim.Measurement {
	return corim.Measurement{Key: corim.TextKey(key), Value: corim.Values{Digests: sum(b)}}
}

// bank is the measurement without a key that has registers, by number.
func bank(values map[uint64]byte) corim.Measurement {
	var m corim.Measurement
	for n := range uint64(4) {
		if b, ok := values[n]; ok {
			m.Value.Registers = append(m.Value.Registers, corim.Register{ID: corim.NumberKey(n), Digests: sum(b)})
		}
	}
	return m
}

type triple []corim.Measurement

// document is one that the author vouches for, or that nobody does.
func document(t testing.TB, id string, signed bool, until time.Time, triples ...triple) *corim.Document {
	t.Helper()
	c := &corim.Comid{Identity: corim.TagIdentity{ID: corim.ID{Text: id}}}
	for _, m := range triples {
		c.Reference = append(c.Reference, corim.ValueTriple{Environment: acme, Measurements: m})
	}
	raw, err := corim.Encode(&corim.Document{
		ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: c}}, Validity: corim.Period{NotAfter: until},
	})
	if err != nil {
		t.Fatal(err)
	}
	var d *corim.Document
	if signed {
		d, err = corim.LoadVouched(raw, vouching(t), corim.Options{Now: now})
	} else {
		d, err = corim.Load(raw, corim.Options{Unsigned: true, Now: now})
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func index(t testing.TB, docs ...*corim.Document) *corim.Index {
	t.Helper()
	x, err := corim.NewIndex(docs...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// seen is evidence: MRTD is 1, the registers are 10 to 13.
func seen() []Item {
	b := bank(map[uint64]byte{0: 10, 1: 11, 2: 12, 3: 13})
	return []Item{
		{Name: "MRTD", Key: corim.TextKey("mrtd"), Value: corim.Values{Digests: sum(1)}},
		{Name: "RTMR", Value: b.Value},
	}
}

var later = now.AddDate(1, 0, 0)

func TestCompare(t *testing.T) {
	all := map[uint64]byte{0: 10, 1: 11, 2: 12, 3: 13}
	good := triple{digest("mrtd", 1), bank(all)}
	for _, c := range []struct {
		name     string
		docs     func() []*corim.Document
		unsigned bool
		at       time.Time
		want     string // MRTD and RTMR0 to RTMR3
	}{
		{"all", func() []*corim.Document { return []*corim.Document{document(t, "a", true, later, good)} }, false, now, "MMMMM"},
		{"no documents", func() []*corim.Document { return nil }, false, now, "....."},
		{"expired", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, now.Add(time.Hour), good)}
		}, false, now.Add(2 * time.Hour), "....."},
		{"unsigned", func() []*corim.Document { return []*corim.Document{document(t, "a", false, later, good)} }, false, now, "UUUUU"},
		{"unsigned, believed", func() []*corim.Document { return []*corim.Document{document(t, "a", false, later, good)} }, true, now, "MMMMM"},
		{"signed beside unsigned", func() []*corim.Document {
			return []*corim.Document{document(t, "a", false, later, good), document(t, "b", true, later, good)}
		}, false, now, "MMMMM"},
		{"signed for MRTD alone", func() []*corim.Document {
			return []*corim.Document{document(t, "a", false, later, good), document(t, "b", true, later, triple{digest("mrtd", 1)})}
		}, false, now, "MUUUU"},
		{"one register only", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{digest("mrtd", 1), bank(map[uint64]byte{1: 11})})}
		}, false, now, "M.M.."},
		{"registers in two triples", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{bank(map[uint64]byte{0: 10, 1: 11})}, triple{bank(map[uint64]byte{2: 12, 3: 13})})}
		}, false, now, ".MMMM"},
		// Alternatives of one triple: only what holds in each way is proven.
		{"alternatives", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{bank(map[uint64]byte{0: 10}), bank(map[uint64]byte{0: 10, 1: 11})})}
		}, false, now, ".M..."},
		{"wrong alternative", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{bank(map[uint64]byte{0: 10, 1: 11}), bank(map[uint64]byte{2: 99})})}
		}, false, now, ".MM.."},
		{"one register differs", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{digest("mrtd", 1), bank(map[uint64]byte{0: 10, 1: 99, 2: 12})})}
		}, false, now, "ppXp."},
		{"MRTD differs", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{digest("mrtd", 2), bank(all)})}
		}, false, now, "Xpppp"},
		{"something missing", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, append(triple{digest("seam", 1)}, good...))}
		}, false, now, "ppppp"},
		{"a mixture of two releases", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{bank(map[uint64]byte{0: 10, 1: 98, 2: 12})}, triple{bank(map[uint64]byte{0: 97, 1: 11, 2: 96})})}
		}, false, now, ".XXXX"},
		{"registers that are something else", func() []*corim.Document {
			return []*corim.Document{document(t, "a", true, later, triple{{Value: corim.Values{SVN: &corim.SVN{Value: 1}}}})}
		}, false, now, ".XXXX"},
		{"another algorithm", func() []*corim.Document {
			d := digest("mrtd", 1)
			d.Value.Digests = []corim.Digest{{Alg: corim.SHA256, Value: make([]byte, 32)}}
			return []*corim.Document{document(t, "a", true, later, triple{d})}
		}, false, now, "X...."},
	} {
		r := Compare(Query{Index: index(t, c.docs()...), Environment: acme, Items: seen(), Time: c.at, Unsigned: c.unsigned})
		got := ""
		for i, name := range []string{"MRTD", "RTMR0", "RTMR1", "RTMR2", "RTMR3"} {
			f := r.Find(name)
			if r.Findings[i].Name != name {
				t.Errorf("%s: finding %d is %s", c.name, i, r.Findings[i].Name)
			}
			got += string(".XpUM"[f.State])
			if (f.State > Mismatched) != (len(f.Sources) > 0) {
				t.Errorf("%s: %s has state %d and sources %v", c.name, name, f.State, f.Sources)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		state, reasons := r.Judge(verdict.Executables, r.Findings...)
		if (state == Matched) != (c.want == "MMMMM") || strings.Contains(c.want, "X") != (state == Mismatched) {
			t.Errorf("%s: judged %d", c.name, state)
		}
		if state != Matched && len(reasons) == 0 {
			t.Errorf("%s: no reason", c.name)
		}
		if (len(r.Proof(r.Findings...)) > 0) != strings.Contains(c.want, "M") {
			t.Errorf("%s: proof %v", c.name, r.Proof(r.Findings...))
		}
	}
}

// Without an index everything is unknown, and so is what nobody asked about.
func TestNothingGiven(t *testing.T) {
	r := Compare(Query{Environment: acme, Items: seen(), Time: now, Unsigned: true})
	state, reasons := r.Judge(verdict.Executables, r.Findings...)
	if state != Unknown || len(reasons) != 1 || reasons[0].Code != verdict.ReasonNoReferenceValues || r.Claim(nil) != nil {
		t.Errorf("%d %v", state, reasons)
	}
	for _, word := range []string{"executables", "MRTD, RTMR0, RTMR1, RTMR2, RTMR3", `vendor "ACME"`} {
		if !strings.Contains(reasons[0].Detail, word) {
			t.Errorf("%q lacks %q", reasons[0].Detail, word)
		}
	}
	if state, _ := r.Judge(verdict.Executables); state != Unknown {
		t.Errorf("nothing at all is %d", state)
	}
	if f := r.Find("RTMR9"); f.State != Unknown {
		t.Errorf("%+v", f)
	}
}

// A reason says what was seen, what was expected, who says so, and of which
// revision that is.
func TestReasons(t *testing.T) {
	x := index(t, document(t, "release 7", true, later, triple{digest("mrtd", 2)}), document(t, "gone", true, now, triple{digest("other", 2)}))
	r := Compare(Query{Index: x, Environment: acme, Items: seen(), Time: now.Add(time.Second)})
	_, reasons := r.Judge(verdict.Executables, r.Findings...)
	if len(reasons) != 2 {
		t.Fatalf("%v", reasons)
	}
	for i, words := range [][]string{
		{"MRTD", `vendor "ACME"`, strings.Repeat("01", 48), strings.Repeat("02", 48), "release 7/release 7/reference-triples[0] (by author)", x.Revision()[:16]},
		{"RTMR0, RTMR1, RTMR2, RTMR3", "1 of 2 triples about it do not hold at 2026-06-01T00:00:01Z", x.Revision()[:16]},
	} {
		for _, word := range words {
			if !strings.Contains(reasons[i].Detail, word) {
				t.Errorf("%q lacks %q", reasons[i].Detail, word)
			}
		}
	}
	many := triple{}
	var items []Item
	for i := range 20 {
		key := string(rune('a' + i))
		many = append(many, digest(key, 1))
		items = append(items, Item{Name: "measurement " + key, Key: corim.TextKey(key), Value: corim.Values{Digests: sum(2)}})
	}
	r = Compare(Query{Index: index(t, document(t, "many", true, later, many)), Environment: acme, Items: items, Time: now})
	_, reasons = r.Judge(verdict.Executables, r.Findings...)
	if len(reasons) != maxMismatches+1 || !strings.Contains(reasons[maxMismatches].Detail, "12 more differ: measurement i, j, k") {
		t.Errorf("%d reasons, the last %v", len(reasons), reasons[len(reasons)-1])
	}
}

// A document that names a register which evidence does not have holds never, and
// the reason says which: of the others it is not said that they are wrong.
func TestRegisterThatIsLacking(t *testing.T) {
	m := bank(map[uint64]byte{0: 10, 1: 11, 2: 12, 3: 13})
	m.Value.Registers = append(m.Value.Registers, corim.Register{ID: corim.NumberKey(9), Digests: sum(19)})
	r := Compare(Query{Index: index(t, document(t, "a", true, later, triple{m})), Environment: acme, Items: seen(), Time: now})
	state, reasons := r.Judge(verdict.Executables, r.Find("RTMR0"), r.Find("RTMR3"))
	if state != Mismatched || r.Holds() || len(reasons) != 2 {
		t.Fatalf("%d %v", state, reasons)
	}
	for _, why := range reasons {
		if why.Code != verdict.ReasonMeasurementMismatch || !strings.Contains(why.Detail, "together with register 9, which evidence does not have, in a/a/reference-triples[0]") {
			t.Errorf("%+v", why)
		}
	}
}

// Reports of several environments: the better counts, and nothing is lost.
func TestMerge(t *testing.T) {
	items := seen()[:1]
	compare := func(docs ...*corim.Document) *Report {
		return Compare(Query{Index: index(t, docs...), Environment: acme, Items: items, Time: now})
	}
	right, wrong := compare(document(t, "a", true, later, triple{digest("mrtd", 1)})), compare(document(t, "b", true, later, triple{digest("mrtd", 2)}))
	none := compare()
	for _, c := range []struct {
		a, b *Report
		want State
	}{{right, wrong, Matched}, {wrong, right, Matched}, {none, wrong, Mismatched}, {wrong, none, Mismatched}, {none, none, Unknown}, {right, right, Matched}} {
		m := Merge(c.a, c.b)
		if m.Findings[0].State != c.want || m.Holds() != (c.want == Matched) {
			t.Errorf("%d and %d make %d", c.a.Findings[0].State, c.b.Findings[0].State, m.Findings[0].State)
		}
	}
	if m := Merge(wrong, wrong); len(m.Findings[0].Expected()) != 2 || len(wrong.Findings[0].Expected()) != 1 {
		t.Error("alternatives are lost, or the first report was changed")
	}
}

func vouching(t testing.TB) corim.Vouching {
	t.Helper()
	key := corim.SigningKey{ID: []byte("k"), Public: publicKey(t)}
	return corim.Vouching{
		Authority: corim.Authority{Name: "author", Keys: []corim.SigningKey{key}, Profiles: []string{corim.AnyProfile}, Scopes: []corim.Environment{{}}},
		Key:       key, Validity: corim.Period{NotAfter: later},
	}
}

func publicKey(t testing.TB) any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}
