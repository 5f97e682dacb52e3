// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// entryOf is a reference value for everything in a report body.
func entryOf(body []byte) refvalues.Entry {
	e := refvalues.Entry{Environment: refvalues.Environment{ClassID: refvalues.ClassTDX, Vendor: refvalues.VendorIntel, Model: refvalues.ModelTDX}}
	sha384 := func(b []byte) []refvalues.Digest { return []refvalues.Digest{{Alg: "sha-384", Value: bytes.Clone(b)}} }
	registers := map[uint64][]refvalues.Digest{}
	for i := range 4 {
		registers[uint64(i)] = sha384(body[328+48*i:][:48])
	}
	e.Values = []refvalues.Value{
		{Key: "mrtd", Digests: sha384(body[136:184])}, {Key: "mrseam", Digests: sha384(body[16:64])},
		{Key: "mrconfigid", Raw: bytes.Clone(body[184:232])}, {Registers: registers},
	}
	return e
}

// value finds one value of an entry; nil is that of the registers.
func value(e *refvalues.Entry, key any) *refvalues.Value {
	i := slices.IndexFunc(e.Values, func(v refvalues.Value) bool { return v.Key == key })
	return &e.Values[i]
}

func without(e *refvalues.Entry, key any) {
	e.Values = slices.DeleteFunc(e.Values, func(v refvalues.Value) bool { return v.Key == key })
}

func indexOf(tb testing.TB, now time.Time, entries ...refvalues.Entry) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(now, refvalues.Document{
		ID: "release", TagID: "values", Profile: refvalues.Profile, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 6, 0), Entries: entries,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func (m *machine) judge(v *verifier, x *corim.Index, at time.Time) verdict.Appraisal {
	m.TB.Helper()
	a, err := v.Appraise(m.TB.Context(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeQuote}, Evidence: m.Quote(), Nonce: m.Body[520:584], Time: at, References: x,
	})
	if err != nil {
		m.TB.Fatal(err)
	}
	return a
}

// What affirms executables, and what does not. Collateral is good in all rows.
func TestReferences(t *testing.T) {
	type entry = refvalues.Entry
	for _, c := range []struct {
		name        string
		body        func(body []byte) // before the values are taken
		change      func(e *entry)
		more        func(e entry) []entry
		after       func(body []byte) // behind the author's back
		later       time.Duration
		executables verdict.Claim
		hardware    verdict.Claim
		config      verdict.Claim
		reasons     []string // code and words of a reason each
	}{
		{name: "all", executables: 2, hardware: 2, config: 2},
		{name: "no MRTD", change: func(e *entry) { without(e, "mrtd") }, executables: 33, hardware: 2, config: 2,
			reasons: []string{"no-reference-values MRTD"}},
		{name: "no registers", change: func(e *entry) { without(e, nil) }, executables: 33, hardware: 2, config: 2,
			reasons: []string{"no-reference-values RTMR0, RTMR1, RTMR2, RTMR3"}},
		{name: "no RTMR0", change: func(e *entry) { delete(value(e, nil).Registers, 0) }, executables: 33, hardware: 2, config: 2,
			reasons: []string{"no-reference-values RTMR0 of"}},
		{name: "no RTMR2", change: func(e *entry) { delete(value(e, nil).Registers, 2) }, executables: 33, hardware: 2, config: 2,
			reasons: []string{"no-reference-values RTMR2 of"}},
		{name: "no RTMR3, extended", change: func(e *entry) { delete(value(e, nil).Registers, 3) }, executables: 33, hardware: 2, config: 2,
			reasons: []string{"no-reference-values RTMR3 of"}},
		{name: "no RTMR3, never extended", body: func(b []byte) { clear(b[472:520]) }, change: func(e *entry) { delete(value(e, nil).Registers, 3) },
			executables: 2, hardware: 2, config: 2},
		{name: "RTMR3 zero, expected otherwise", body: func(b []byte) { clear(b[472:520]) },
			change: func(e *entry) { value(e, nil).Registers[3][0].Value[0] ^= 1 }, executables: 96, hardware: 2, config: 2,
			reasons: []string{"measurement-mismatch RTMR3", "reference-values-partial MRTD"}},
		{name: "MRTD differs", after: func(b []byte) { b[136] ^= 1 }, executables: 96, hardware: 2, config: 2,
			reasons: []string{"measurement-mismatch executables: MRTD", "reference-values-partial RTMR0"}},
		{name: "RTMR1 differs", after: func(b []byte) { b[376] ^= 1 }, executables: 96, hardware: 2, config: 2, reasons: []string{"measurement-mismatch RTMR1"}},
		{name: "RTMR3 differs", after: func(b []byte) { b[472] ^= 1 }, executables: 96, hardware: 2, config: 2, reasons: []string{"measurement-mismatch RTMR3"}},
		{name: "MRSEAM differs", after: func(b []byte) { b[16] ^= 1 }, executables: 33, hardware: 97, config: 2,
			reasons: []string{"measurement-mismatch hardware: MRSEAM", "reference-values-partial MRTD"}},
		{name: "MRCONFIGID differs", after: func(b []byte) { b[184] ^= 1 }, executables: 33, hardware: 2, config: 96,
			reasons: []string{"measurement-mismatch configuration: MRCONFIGID", "reference-values-partial MRTD"}},
		{name: "MRCONFIGID proven in a triple that does not hold", body: func(b []byte) { b[184] = 7 }, after: func(b []byte) { b[136] ^= 1 }, executables: 96, hardware: 2, config: 36,
			reasons: []string{"reference-values-partial configuration: MRCONFIGID"}},
		{name: "MRCONFIGID proven", body: func(b []byte) { b[184] = 7 }, executables: 2, hardware: 2, config: 2},
		{name: "MRCONFIGID that nobody knows", body: func(b []byte) { b[184] = 7 }, change: func(e *entry) { without(e, "mrconfigid") },
			executables: 2, hardware: 2, config: 36, reasons: []string{"no-reference-values configuration: no reference values for MRCONFIGID"}},
		{name: "MROWNER that nobody knows", body: func(b []byte) { b[232] = 7 }, executables: 2, hardware: 2, config: 36, reasons: []string{"no-reference-values MROWNER of"}},
		{name: "MROWNERCONFIG that nobody knows", body: func(b []byte) { b[280] = 7 }, executables: 2, hardware: 2, config: 36, reasons: []string{"no-reference-values MROWNERCONFIG of"}},
		{name: "attributes", change: func(e *entry) {
			e.Values = append(e.Values, refvalues.Value{Key: "tdattributes", Raw: []byte{0, 0, 0, 0x10, 0, 0, 0, 0}}, refvalues.Value{Key: "xfam", Raw: []byte{0xe7, 0, 0, 0, 0, 0, 0, 0}})
		}, executables: 2, hardware: 2, config: 2},
		{name: "other XFAM", change: func(e *entry) {
			e.Values = append(e.Values, refvalues.Value{Key: "xfam", Raw: []byte{0xe6, 0, 0, 0, 0, 0, 0, 0}})
		}, executables: 33, hardware: 2, config: 96, reasons: []string{"measurement-mismatch configuration: XFAM"}},
		{name: "report data of the workload", change: func(e *entry) {
			e.Values = append(e.Values, refvalues.Value{Key: "reportdata", Raw: make([]byte, 64), RawMask: append([]byte{0xff}, make([]byte, 63)...)})
		}, after: func(b []byte) { b[520] = 0 }, executables: 2, hardware: 2, config: 2},
		{name: "other report data", change: func(e *entry) {
			e.Values = append(e.Values, refvalues.Value{Key: "reportdata", Raw: make([]byte, 64), RawMask: append([]byte{0xff}, make([]byte, 63)...)})
		}, after: func(b []byte) { b[520] = 1 }, executables: 96, hardware: 2, config: 2, reasons: []string{"measurement-mismatch REPORTDATA"}},
		{name: "a key that TDX has not", change: func(e *entry) {
			e.Values = append(e.Values, refvalues.Value{Key: "tee_tcb_svn", Raw: make([]byte, 16)})
		}, executables: 33, hardware: 2, config: 2, reasons: []string{`reference-values-partial missing: "tee_tcb_svn"`}},
		{name: "expired", later: 7 * 30 * 24 * time.Hour, executables: 33, hardware: 32, config: 2, reasons: []string{"no-reference-values do not hold at"}},
		{name: "another model", change: func(e *entry) { e.Environment.Model = "TDX2" }, executables: 33, hardware: 2, config: 2, reasons: []string{"no-reference-values MRTD"}},
		{name: "another class", change: func(e *entry) { e.Environment.ClassID = refvalues.ClassTPM }, executables: 33, hardware: 2, config: 2, reasons: []string{"no-reference-values MRTD"}},
		{name: "no class id", change: func(e *entry) { e.Environment.ClassID = "" }, executables: 33, hardware: 2, config: 2, reasons: []string{"no-reference-values MRTD"}},
		{name: "another release beside it", more: func(e entry) []entry {
			other := entryOf(make([]byte, dcap.SizeTD15))
			return []entry{other, e}
		}, executables: 2, hardware: 2, config: 2},
		{name: "what is said of another release", more: func(e entry) []entry {
			without(&e, "mrseam")
			without(&e, "mrconfigid")
			other := entryOf(bytes.Repeat([]byte{1}, dcap.SizeTD15))
			other.Values = append(other.Values, refvalues.Value{Key: "xfam", Raw: []byte{0xe6, 0, 0, 0, 0, 0, 0, 0}}, refvalues.Value{Key: "reportdata", Raw: make([]byte, 64)})
			return []entry{other, e}
		}, executables: 2, hardware: 2, config: 2},
		{name: "what is said of another kernel", more: func(e entry) []entry {
			without(&e, "mrconfigid")
			other := e
			registers := map[uint64][]refvalues.Digest{1: {{Alg: "sha-384", Value: make([]byte, 48)}}}
			other.Values = append(slices.Clone(e.Values), refvalues.Value{Key: "mrconfigid", Raw: bytes.Repeat([]byte{1}, 48)})
			value(&other, nil).Registers = registers
			return []entry{other, e}
		}, executables: 2, hardware: 2, config: 2},
		{name: "MRCONFIGID of another release", body: func(b []byte) { b[184] = 7 }, more: func(e entry) []entry {
			without(&e, "mrconfigid")
			return []entry{entryOf(make([]byte, dcap.SizeTD15)), e}
		}, executables: 2, hardware: 2, config: 36, reasons: []string{"no-reference-values configuration: no reference values for MRCONFIGID"}},
		{name: "what is said of all", more: func(e entry) []entry {
			without(&e, "mrseam")
			all := e
			all.Values = []refvalues.Value{{Key: "xfam", Raw: []byte{0xe6, 0, 0, 0, 0, 0, 0, 0}}}
			seam := e
			seam.Values = []refvalues.Value{{Key: "mrseam", Digests: []refvalues.Digest{{Alg: "sha-384", Value: bytes.Repeat([]byte{1}, 48)}}}}
			return []entry{all, seam, e}
		}, executables: 2, hardware: 97, config: 96, reasons: []string{"measurement-mismatch configuration: XFAM", "measurement-mismatch hardware: MRSEAM"}},
		{name: "what is said of this one elsewhere", more: func(e entry) []entry {
			mine := e
			mine.Values = []refvalues.Value{*value(&e, "mrtd"), {Key: "xfam", Raw: []byte{0xe6, 0, 0, 0, 0, 0, 0, 0}}}
			return []entry{mine, e}
		}, executables: 2, hardware: 2, config: 96, reasons: []string{"measurement-mismatch configuration: XFAM"}},
		{name: "nobody knows this one", after: func(b []byte) { b[136] ^= 1; b[376] ^= 1 }, more: func(e entry) []entry {
			e.Values = append(e.Values, refvalues.Value{Key: "xfam", Raw: []byte{0xe6, 0, 0, 0, 0, 0, 0, 0}})
			return []entry{e}
		}, executables: 96, hardware: 2, config: 96, reasons: []string{"measurement-mismatch configuration: XFAM", "measurement-mismatch executables: MRTD"}},
		{name: "half of two releases", after: func(b []byte) { clear(b[136:184]) }, more: func(e entry) []entry { return []entry{entryOf(make([]byte, dcap.SizeTD15)), e} },
			executables: 33, hardware: 2, config: 2, reasons: []string{"reference-values-partial MRTD"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			if c.body != nil {
				c.body(m.Body[:])
			}
			e := entryOf(m.Body[:])
			if c.change != nil {
				c.change(&e)
			}
			entries := []entry{e}
			if c.more != nil {
				entries = c.more(e)
			}
			x := indexOf(t, m.Now, entries...)
			if c.after != nil {
				c.after(m.Body[:])
			}
			d := m.deps(nil)
			d.Endorsements = bundle(t, m.Collateral())
			a := m.judge(newTest(t, d), x, m.Now.Add(c.later))
			if a.Vector[verdict.Executables] != c.executables || a.Vector[verdict.Hardware] != c.hardware || a.Vector[verdict.Configuration] != c.config {
				t.Errorf("executables %d, hardware %d, configuration %d: %v",
					a.Vector[verdict.Executables], a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], a.Reasons)
			}
			for _, want := range c.reasons {
				code, words, _ := strings.Cut(want, " ")
				if !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == code && strings.Contains(r.Detail, words) }) {
					t.Errorf("no reason %q: %v", want, a.Reasons)
				}
			}
			if (len(c.reasons) == 0) != (len(a.Reasons) == 0) {
				t.Errorf("reasons %v", a.Reasons)
			}
			if (a.Status() == verdict.TierAffirming) != (c.executables == 2 && c.hardware == 2 && c.config == 2) {
				t.Errorf("status %s", a.Status())
			}
		})
	}
}

// An affirming result says by which documents, at which revision.
func TestReferencesAreNamed(t *testing.T) {
	m := newMachine(t)
	x := indexOf(t, m.Now, entryOf(m.Body[:]))
	a := m.judge(newTest(t, m.deps(nil)), x, m.Now)
	said, _ := a.Claims["reference_values"].(map[string]any)
	documents, _ := said["documents"].(map[string]any)
	proof, _ := documents["executables"].([]any)
	if said["revision"] != x.Revision() || len(proof) != 1 {
		t.Fatalf("%v", said)
	}
	one := proof[0].(map[string]any)
	if one["document"] != "release" || one["tag"] != "values" || one["authority"] != "author" || one["triple"] != "reference-triples[0]" || len(one["sha256"].(string)) != 64 {
		t.Errorf("%v", one)
	}
	if len(a.Facts.Environments) != 1 {
		t.Errorf("environments %v", a.Facts.Environments)
	}
}

// What nobody has signed affirms only where test roots are trusted, and even
// there the result says so.
func TestUnsignedReferences(t *testing.T) {
	m := newMachine(t)
	m.Body[184] = 7 // MRCONFIGID
	raw, err := refvalues.Unsigned(refvalues.Document{ID: "d", TagID: "t", Profile: refvalues.Profile, Entries: []refvalues.Entry{entryOf(m.Body[:])}})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := corim.Load(raw, corim.Options{Unsigned: true, Now: m.Now})
	if err != nil {
		t.Fatal(err)
	}
	x, err := corim.NewIndex(doc)
	if err != nil {
		t.Fatal(err)
	}
	v := newTest(t, m.deps(nil))
	for _, believed := range []bool{true, false} {
		v.unsigned = believed
		a := m.judge(v, x, m.Now)
		if (a.Vector[verdict.Executables] == 2) != believed || !hasReason(a, verdict.ReasonUnsignedReference) {
			t.Errorf("believed %t: %d %v", believed, a.Vector[verdict.Executables], a.Reasons)
		}
		if !believed && (a.Vector[verdict.Executables] != 33 || a.Vector[verdict.Configuration] != 36) {
			t.Errorf("%v", a.Vector)
		}
	}
	if w := newTest(t, verifiers.Deps{}); w.unsigned {
		t.Error("a verifier of Intel's roots alone believes what nobody has signed")
	}
}

// In a TD whose memory the host can write nobody knows what runs, whatever the
// registers say.
func TestDebugIsNeverKnownSoftware(t *testing.T) {
	m := newMachine(t)
	m.Body[120] |= tdDebug
	a := m.judge(newTest(t, m.deps(nil)), indexOf(t, m.Now, entryOf(m.Body[:])), m.Now)
	if a.Vector[verdict.Executables] != 33 || a.Status() != verdict.TierContraindicated {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}

// No signature, no comparison: evidence that proves nothing is not made good.
func TestReferencesNeedAQuote(t *testing.T) {
	m := newMachine(t)
	x := indexOf(t, m.Now, entryOf(m.Body[:]))
	raw := m.Quote()
	raw[200] ^= 1
	a, err := newTest(t, m.deps(nil)).Appraise(t.Context(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: m.Body[520:584], Time: m.Now, References: x,
	})
	if err != nil || a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || a.Facts.Environments != nil {
		t.Errorf("%v %v", a.Vector, err)
	}
}
