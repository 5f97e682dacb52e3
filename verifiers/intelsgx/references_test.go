// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"slices"
	"strings"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

type entry = refvalues.Entry

// entryOf is a reference value for the named fields of an honest machine, which
// are all if there is no name.
func entryOf(m machine, names ...string) entry {
	e := entry{Environment: refvalues.Environment{ClassID: "tag:assize.dev,2026:intel-sgx", Vendor: "Intel Corporation", Model: "SGX"}}
	for _, f := range m.Measurements() {
		if len(names) > 0 && !slices.Contains(names, f.Name) {
			continue
		}
		v := refvalues.Value{Key: f.Name, MinSVN: f.SVN, Raw: f.Raw}
		if f.Digest != nil {
			v.Digests = []refvalues.Digest{{Alg: f.Alg, Value: f.Digest}}
		}
		e.Values = append(e.Values, v)
	}
	return e
}

// value finds one value of an entry.
func value(e *entry, key string) *refvalues.Value {
	i := slices.IndexFunc(e.Values, func(v refvalues.Value) bool { return v.Key == key })
	return &e.Values[i]
}

func document(entries ...entry) refvalues.Document {
	return refvalues.Document{
		ID: "release", TagID: "values", Profile: refvalues.Profile, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 6, 0), Entries: entries,
	}
}

func indexOf(tb testing.TB, entries ...entry) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(now, document(entries...))
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// load is an index of one document that nobody has signed.
func load(tb testing.TB, raw []byte) *corim.Index {
	tb.Helper()
	d, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	x, err := corim.NewIndex(d)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func ownRefs(names ...string) func(testing.TB, machine) *corim.Index {
	return func(tb testing.TB, m machine) *corim.Index { return indexOf(tb, entryOf(m, names...)) }
}

// halfRefs has everything right but a field that evidence does not have.
func halfRefs(tb testing.TB, m machine) *corim.Index {
	e := entryOf(m)
	e.Values = append(e.Values, refvalues.Value{Key: "cpusvn", Raw: make([]byte, 16)})
	return indexOf(tb, e)
}

func unsignedRefs(tb testing.TB, m machine) *corim.Index {
	raw, err := refvalues.Unsigned(document(entryOf(m)))
	if err != nil {
		tb.Fatal(err)
	}
	return load(tb, raw)
}

// otherAttributes are those of another enclave, and MRENCLAVE of this one if it
// is known.
func otherAttributes(known bool) func(testing.TB, machine) *corim.Index {
	return func(tb testing.TB, m machine) *corim.Index {
		other := entryOf(m, "attributes")
		other.Values[0].Raw[0] |= sim.FlagKSS
		if known {
			return indexOf(tb, other, entryOf(m, "mrenclave"))
		}
		return indexOf(tb, other)
	}
}

// What identifies an enclave, and what does not.
func TestReferences(t *testing.T) {
	u := func(n uint64) *uint64 { return &n }
	edit := func(e entry, f func(e *entry)) entry { f(&e); return e }
	for _, c := range []struct {
		name        string
		entries     func(m machine) []entry
		executables verdict.Claim
		reasons     []string // code and words of a reason each
	}{
		{"everything", func(m machine) []entry { return []entry{entryOf(m)} }, 3, nil},
		{"MRENCLAVE", func(m machine) []entry { return []entry{entryOf(m, "mrenclave")} }, 3, nil},
		{"signer, product and version", func(m machine) []entry { return []entry{entryOf(m, "mrsigner", "isvprodid", "isvsvn")} }, 3, nil},
		{"newer than the lowest version", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { value(e, "isvsvn").MinSVN = u(4) })}
		}, 3, nil},
		{"older than the lowest version", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { value(e, "isvsvn").MinSVN = u(6) })}
		}, 96, []string{"measurement-mismatch ISVSVN", "reference-values-partial MRSIGNER"}},
		{"another version", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { v := value(e, "isvsvn"); v.SVN, v.MinSVN = u(4), nil })}
		}, 96, []string{"measurement-mismatch ISVSVN"}},
		{"other product", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { value(e, "isvprodid").Raw[0] ^= 1 })}
		}, 96, []string{"measurement-mismatch ISVPRODID"}},
		{"other signer", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { value(e, "mrsigner").Digests[0].Value[0] ^= 1 })}
		}, 96, []string{"measurement-mismatch MRSIGNER"}},
		{"other MRENCLAVE", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrenclave"), func(e *entry) { value(e, "mrenclave").Digests[0].Value[31] ^= 1 })}
		}, 96, []string{"measurement-mismatch MRENCLAVE"}},
		{"other MRENCLAVE of a signer who is known", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrenclave", "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { value(e, "mrenclave").Digests[0].Value[31] ^= 1 })}
		}, 96, []string{"measurement-mismatch MRENCLAVE", "reference-values-partial MRSIGNER"}},
		{"other MRENCLAVE, signer alone", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrenclave"), func(e *entry) { value(e, "mrenclave").Digests[0].Value[31] ^= 1 }), entryOf(m, "mrsigner")}
		}, 96, []string{"measurement-mismatch MRENCLAVE"}},
		{"signer alone", func(m machine) []entry { return []entry{entryOf(m, "mrsigner")} }, 33, []string{"no-reference-values ISVPRODID, ISVSVN"}},
		{"no signer", func(m machine) []entry { return []entry{entryOf(m, "isvprodid", "isvsvn")} }, 33, []string{"no-reference-values MRSIGNER"}},
		{"no version", func(m machine) []entry { return []entry{entryOf(m, "mrsigner", "isvprodid")} }, 33, []string{"no-reference-values ISVSVN"}},
		{"no product", func(m machine) []entry { return []entry{entryOf(m, "mrsigner", "isvsvn")} }, 33, []string{"no-reference-values ISVPRODID"}},
		{"from three triples", func(m machine) []entry {
			return []entry{entryOf(m, "mrsigner"), entryOf(m, "isvprodid"), entryOf(m, "isvsvn")}
		}, 33, []string{"reference-values-partial different triples"}},
		{"of two signers", func(m machine) []entry {
			a := entryOf(m, "mrsigner", "isvprodid")
			b := edit(entryOf(m, "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { value(e, "mrsigner").Digests[0].Value[0] ^= 1 })
			return []entry{a, b}
		}, 33, []string{"reference-values-partial ISVSVN"}},
		{"attributes alone", func(m machine) []entry { return []entry{entryOf(m, "attributes", "miscselect")} }, 33,
			[]string{"no-reference-values MRENCLAVE, MRSIGNER, ISVPRODID, ISVSVN"}},
		{"MRENCLAVE beside values of others", func(m machine) []entry {
			return []entry{entryOf(m, "mrenclave"), edit(entryOf(m, "mrsigner", "isvprodid", "isvsvn"), func(e *entry) { value(e, "mrsigner").Digests[0].Value[0] ^= 1 })}
		}, 3, nil},
		{"other digest algorithm", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrenclave"), func(e *entry) {
				value(e, "mrenclave").Digests = []refvalues.Digest{{Alg: "sha-512", Value: make([]byte, 64)}}
			})}
		}, 96, []string{"measurement-mismatch MRENCLAVE"}},
		{"other environment", func(m machine) []entry {
			return []entry{edit(entryOf(m), func(e *entry) { e.Environment.Model = "TDX" })}
		}, 33, []string{"no-reference-values MRENCLAVE"}},
		{"masked attributes", func(m machine) []entry {
			return []entry{edit(entryOf(m, "mrenclave", "attributes"), func(e *entry) {
				v := value(e, "attributes")
				v.RawMask = make([]byte, 16)
				v.RawMask[0], v.Raw[8] = 0xff, 0x55
			})}
		}, 3, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, nil)
			a := appraise(t, newTest(t, m.deps()), m.raw, now, indexOf(t, c.entries(newMachine(t, nil))...))
			want := verdict.Vector{}
			want[verdict.Hardware], want[verdict.Configuration], want[verdict.RuntimeOpaque], want[verdict.Executables] = 2, 2, 2, c.executables
			if a.Vector != want {
				t.Errorf("vector %v, expected %v: %v", a.Vector, want, a.Reasons)
			}
			for _, r := range c.reasons {
				code, words, _ := strings.Cut(r, " ")
				if !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == code && strings.Contains(r.Detail, words) }) {
					t.Errorf("no reason %q in %v", r, a.Reasons)
				}
			}
			_, claimed := a.Claims["reference_values"].(map[string]any)
			if (c.executables == 3) != (a.Status() == verdict.TierAffirming) || c.executables == 3 && (!claimed || len(a.Reasons) != 0) {
				t.Errorf("tier %s, claims %v, reasons %v", a.Status(), a.Claims["reference_values"], a.Reasons)
			}
		})
	}
}

// intelDocument is a reference value in Intel's profile.
func intelDocument(tb testing.TB, lists ...[]corim.Extension) *corim.Index {
	tb.Helper()
	_, env := environments()
	tag := &corim.Comid{Identity: corim.TagIdentity{ID: corim.ID{Text: "values"}}}
	for _, x := range lists {
		slices.SortFunc(x, func(a, b corim.Extension) int { return int(a.Key - b.Key) })
		tag.Reference = append(tag.Reference, corim.ValueTriple{
			Environment: env, Measurements: []corim.Measurement{{Value: corim.Values{Extensions: x}}},
		})
	}
	raw, err := corim.Encode(&corim.Document{
		ID: corim.ID{Text: "release"}, Profile: corim.ProfileIntel, Tags: []corim.Tag{{Number: corim.TagComid, Comid: tag}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return load(tb, raw)
}

// atLeast is a numeric expression of Intel's profile, operator 2.
func atLeast(key int64, n byte) corim.Extension {
	return corim.Extension{Key: key, Raw: []byte{0xd9, 0xea, 0x6a, 0x82, 2, n}}
}

// set is a set expression of digests: member (6) or no member (7).
func set(key int64, op byte, digests ...[]byte) corim.Extension {
	raw := append([]byte{0xd9, 0xea, 0x74, 0x82, op}, head(nil, 0x80, len(digests))...)
	for _, d := range digests {
		raw = append(append(raw, 0x82, 1, 0x58, 32), d...)
	}
	return corim.Extension{Key: key, Raw: raw}
}

// The same in Intel's profile, where all fields are members of one measurement.
func TestIntelProfile(t *testing.T) {
	m := newMachine(t, nil)
	_, e, f := open(m.raw)
	if f != nil {
		t.Fatal(f)
	}
	pick := func(names ...string) (out []corim.Extension) {
		for _, f := range fields {
			if slices.Contains(names, f.name) {
				out = append(out, f.member(f.value(e)))
			}
		}
		return out
	}
	with := func(x []corim.Extension, more ...corim.Extension) []corim.Extension { return append(x, more...) }
	other := func(name string) []corim.Extension {
		x := pick(name)
		x[0].Raw = slices.Clone(x[0].Raw)
		x[0].Raw[len(x[0].Raw)-1] ^= 1
		return x
	}
	unknown := slices.Repeat([]byte{9}, 32)
	for _, c := range []struct {
		name        string
		lists       [][]corim.Extension
		executables verdict.Claim
		config      verdict.Claim
	}{
		{"mrtee", [][]corim.Extension{pick("MRENCLAVE")}, 3, 2},
		{"everything", [][]corim.Extension{pick("MRENCLAVE", "MRSIGNER", "ISVPRODID", "ISVSVN", "ATTRIBUTES", "MISCSELECT")}, 3, 2},
		{"signer, product and lowest version", [][]corim.Extension{with(pick("MRSIGNER", "ISVPRODID"), atLeast(-73, 4))}, 3, 2},
		{"version too low", [][]corim.Extension{with(pick("MRSIGNER", "ISVPRODID"), atLeast(-73, 6))}, 96, 2},
		{"one of a set", [][]corim.Extension{{set(-83, 6, unknown, e.MRENCLAVE())}}, 3, 2},
		{"none of a set", [][]corim.Extension{{set(-83, 6, unknown)}}, 96, 2},
		{"not one of the bad", [][]corim.Extension{{set(-83, 7, unknown)}}, 33, 2},
		{"one of the bad", [][]corim.Extension{{set(-83, 7, e.MRENCLAVE())}}, 96, 2},
		{"any product", [][]corim.Extension{with(pick("MRSIGNER"), atLeast(-85, 0), atLeast(-73, 4))}, 33, 2},
		{"signer alone", [][]corim.Extension{pick("MRSIGNER")}, 33, 2},
		{"signer and version", [][]corim.Extension{pick("MRSIGNER", "ISVSVN")}, 33, 2},
		{"attributes alone", [][]corim.Extension{pick("ATTRIBUTES", "MISCSELECT")}, 33, 2},
		{"other attributes", [][]corim.Extension{with(pick("MRENCLAVE"), other("ATTRIBUTES")...)}, 96, 96},
		{"other MRENCLAVE", [][]corim.Extension{other("MRENCLAVE")}, 96, 2},
		{"signer and version from two triples", [][]corim.Extension{pick("MRSIGNER", "ISVPRODID"), pick("ISVSVN")}, 33, 2},
		{"one of two", [][]corim.Extension{other("MRENCLAVE"), pick("MRENCLAVE")}, 3, 2},
		{"a member that nobody knows", [][]corim.Extension{with(pick("MRENCLAVE"), corim.Extension{Key: -12345, Raw: []byte{1}})}, 96, 2},
	} {
		a := appraise(t, newTest(t, m.deps()), m.raw, now, intelDocument(t, c.lists...))
		if a.Vector[verdict.Executables] != c.executables || a.Vector[verdict.Configuration] != c.config || a.Vector[verdict.Hardware] != 2 {
			t.Errorf("%s: %v, %v", c.name, a.Vector, a.Reasons)
		}
		if len(a.Reasons) == 0 {
			t.Errorf("%s: nobody says that the document is not signed", c.name)
		}
	}
}

// TestBothProfiles: values of the two environments are alternatives.
func TestBothProfiles(t *testing.T) {
	m := newMachine(t, nil)
	a := appraise(t, newTest(t, m.deps()), m.raw, now, indexOf(t, entryOf(m, "mrenclave")))
	if len(a.Facts.Environments) != 2 || a.Facts.Environments[0] == a.Facts.Environments[1] {
		t.Errorf("environments %v", a.Facts.Environments)
	}
	if got := indexOf(t, entryOf(m)).Revision(); got == "" {
		t.Error("no revision")
	}
}

// TestUnsigned: what nobody has signed counts where test roots are trusted, which
// the result says, and nowhere else.
func TestUnsigned(t *testing.T) {
	m := newMachine(t, nil)
	for _, believed := range []bool{false, true} {
		v := newTest(t, m.deps())
		if !v.unsigned {
			t.Fatal("extra roots are trusted, unsigned values are not")
		}
		v.unsigned = believed
		a := appraise(t, v, m.raw, now, unsignedRefs(t, m))
		if (a.Vector[verdict.Executables] == 3) != believed || !slices.Contains(codes(a), verdict.ReasonUnsignedReference) {
			t.Errorf("believed %v: %v %v", believed, a.Vector, a.Reasons)
		}
	}
	d := m.deps()
	d.ExtraRoots = nil
	if newTest(t, d).unsigned {
		t.Error("unsigned values count under Intel's root")
	}
}

// TestNoProofOfOpenMemory: a document that knows the enclave proves nothing of one
// whose memory the host can write.
func TestNoProofOfOpenMemory(t *testing.T) {
	for _, debug := range []bool{false, true} {
		m := newMachine(t, func(o *sim.Options) { o.Debug = debug })
		a := appraise(t, newTest(t, m.deps()), m.raw, now, indexOf(t, entryOf(m, "mrenclave")))
		values := a.Claims["reference_values"].(map[string]any)["documents"].(map[string]any)
		if _, proven := values["executables"]; proven == debug {
			t.Errorf("debug %v: %v", debug, values)
		}
	}
}

// TestReferencesInTime: values count while their document holds.
func TestReferencesInTime(t *testing.T) {
	m := newMachine(t, nil)
	x := indexOf(t, entryOf(m))
	v := newTest(t, m.deps())
	if a := appraise(t, v, m.raw, now.AddDate(0, 7, 0), x); a.Vector[verdict.Executables] != 33 || !slices.Contains(codes(a), verdict.ReasonNoReferenceValues) {
		t.Errorf("expired values: %v %v", a.Vector, a.Reasons)
	}
}
