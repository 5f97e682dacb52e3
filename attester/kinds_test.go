// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// vendors share what takes long to derive between the machines of these tests.
var vendors = sync.OnceValue(func() *Vendors { return NewVendors("", testNow) })

func made(tb testing.TB, d Description, faults ...Fault) *Machine {
	tb.Helper()
	m, err := New(Options{Machine: d, Now: testNow, Faults: faults, Vendors: vendors()})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// world is what a verifier is given with a machine: all of Files.
type world struct {
	deps  verifiers.Deps
	index *corim.Index
}

func worldOf(tb testing.TB, m *Machine) world {
	tb.Helper()
	files, err := m.Files()
	if err != nil {
		tb.Fatal(err)
	}
	roots, err := trust.ParseRoots(files["trust.json"])
	if err != nil {
		tb.Fatal(err)
	}
	var list []corim.Authority
	if raw, ok := files["corim-trust.json"]; ok {
		if list, err = corim.ParseTrust(raw); err != nil {
			tb.Fatal(err)
		}
	}
	authorities, err := corim.NewTrust(list)
	if err != nil {
		tb.Fatal(err)
	}
	dir := fstest.MapFS{}
	var docs []*corim.Document
	for name, raw := range files {
		if under, ok := strings.CutPrefix(name, "endorsements/"); ok {
			dir[under] = &fstest.MapFile{Data: raw}
		}
		if strings.HasPrefix(name, "reference-values/") {
			doc, err := corim.Load(raw, corim.Options{Trust: authorities, Now: testNow})
			if err != nil {
				tb.Fatalf("%s: %v", name, err)
			}
			docs = append(docs, doc)
		}
	}
	index, err := corim.NewIndex(docs...)
	if err != nil {
		tb.Fatal(err)
	}
	bundle, warnings, err := endorsements.Load(dir)
	if err != nil || len(warnings) > 0 {
		tb.Fatalf("endorsements: %v %v", warnings, err)
	}
	return world{verifiers.Deps{Endorsements: bundle, ExtraRoots: roots.Schemes}, index}
}

// appraise judges the leaf of a kind by its scheme; false without one.
func (w world) appraise(tb testing.TB, l Leaf, nonce []byte) (verdict.Appraisal, bool) {
	tb.Helper()
	set, err := all.Set()
	if err != nil {
		tb.Fatal(err)
	}
	scheme, media, err := set.Route(l.Type, l.Value)
	if err != nil {
		return verdict.Appraisal{}, false
	}
	if scheme.Name != string(l.Kind) {
		tb.Fatalf("%s is routed to %s", l.Kind, scheme.Name)
	}
	if scheme.NonceSize != l.Kind.nonceSize() {
		tb.Errorf("%s: challenge of %d bytes, the scheme wants %d", l.Kind, l.Kind.nonceSize(), scheme.NonceSize)
	}
	v, err := scheme.New(w.deps)
	if err != nil {
		tb.Fatal(err)
	}
	a, err := v.Appraise(tb.Context(), verifiers.Input{MediaType: media, Evidence: l.Value, Nonce: nonce, Time: testNow, References: w.index})
	if err != nil {
		tb.Fatal(err)
	}
	return a, true
}

// cpuLeaf is the CPU's leaf, and the commitment that it must hold.
func cpuLeaf(tb testing.TB, m *Machine) (Leaf, []byte) {
	tb.Helper()
	c, err := m.Attest(testNonce)
	if err != nil {
		tb.Fatal(err)
	}
	for _, l := range c.Leaves {
		if l.Kind.cpu() {
			sum, err := evidence.Commitment{Nonce: testNonce}.Sum()
			if err != nil {
				tb.Fatal(err)
			}
			return l, sum[:]
		}
	}
	tb.Fatal("no CPU")
	return Leaf{}, nil
}

// variants are every kind of CPU TEE in every form, alone.
func variants() []Description {
	var out []Description
	for kind, k := range cpuKinds {
		if kind == kindNone {
			continue
		}
		for _, form := range k.forms {
			out = append(out, Description{Name: string(kind) + "-" + form, CPU: CPU{Kind: string(kind), Form: form}})
		}
		for _, quote := range k.quotes {
			out = append(out, Description{Name: string(kind) + "-" + quote, CPU: CPU{Kind: string(kind), Quote: quote}})
		}
		for _, product := range k.products {
			out = append(out, Description{Name: string(kind) + "-" + product, CPU: CPU{Kind: string(kind), Product: product}})
		}
		for _, key := range k.keys {
			out = append(out, Description{Name: string(kind) + "-" + key, CPU: CPU{Kind: string(kind), Key: key}})
		}
	}
	for _, name := range []string{"cpu", "snp", "sgx", "cca", "nitro"} {
		d, _ := BuiltIn(name)
		out = append(out, d)
	}
	return out
}

// An honest CPU of every kind, form and product is affirming with the files that
// its machine comes with, and with no other machine's.
func TestHonestCPUsAreAffirming(t *testing.T) {
	for _, d := range variants() {
		t.Run(d.Name, func(t *testing.T) {
			m := made(t, d)
			leaf, want := cpuLeaf(t, m)
			w := worldOf(t, m)
			a, ok := w.appraise(t, leaf, want)
			if !ok {
				t.Fatalf("no scheme verifies %s", leaf.Kind)
			}
			if a.Status() != verdict.TierAffirming || a.Freshness != verdict.FreshnessFresh {
				t.Fatalf("%v %s %v", a.Vector, a.Freshness, a.Reasons)
			}
			if d.CPU.Product != "" {
				return // what follows does not depend on it, and takes long
			}
			foreign, err := New(Options{Machine: Description{Name: "other", CPU: d.CPU}, Seed: "other", Now: testNow, Vendors: vendors()})
			if err != nil {
				t.Fatal(err)
			}
			w = worldOf(t, foreign)
			if a, _ := w.appraise(t, leaf, want); a.Status() == verdict.TierAffirming {
				t.Errorf("with the files of another machine: %v", a.Vector)
			}
			w.deps.ExtraRoots = nil
			if a, _ := w.appraise(t, leaf, want); a.Status() != verdict.TierContraindicated {
				t.Errorf("without roots: %v %v", a.Vector, a.Reasons)
			}
		})
	}
}

// device faults, and for each kind the least tier that it has to lead to.
var cpuFaults = map[FaultKind]verdict.Tier{
	StaleNonce: verdict.TierContraindicated, ForeignNonce: verdict.TierContraindicated, Debug: verdict.TierContraindicated,
	OutdatedTCB: verdict.TierWarning, Revoked: verdict.TierContraindicated, Expired: verdict.TierContraindicated,
	WrongSigner: verdict.TierContraindicated, MeasurementFault: verdict.TierWarning, ForeignMachine: verdict.TierContraindicated,
	Relayed: verdict.TierContraindicated, Unbound: verdict.TierContraindicated, Truncated: verdict.TierContraindicated,
}

// Every fault either changes the evidence of a kind, for the worse where there is
// a scheme, or is refused.
func TestEveryFaultOfEveryCPU(t *testing.T) {
	list := []CPU{{Kind: string(KindSNP), Key: "vlek"}}
	for _, kind := range CPUKinds() {
		list = append(list, CPU{Kind: string(kind)})
	}
	for _, cpu := range list {
		kind, d := Kind(cpu.Kind), Description{Name: "faulty", CPU: cpu}
		honest, want := cpuLeaf(t, made(t, d))
		for _, f := range FaultKinds() {
			t.Run(cpu.Kind+cpu.Key+"/"+string(f), func(t *testing.T) {
				fault := Fault{Label: "cpu", Kind: f}
				if !Applies(f, kind) || f == ReportSwapped {
					if _, err := New(Options{Machine: d, Now: testNow, Faults: []Fault{fault}, Vendors: vendors()}); err == nil || !strings.Contains(err.Error(), "does not apply") {
						t.Errorf("accepted: %v", err)
					}
					return
				}
				m := made(t, d, fault)
				c, err := m.Attest(testNonce)
				if err != nil {
					t.Fatal(err)
				}
				switch f {
				case Missing:
					if len(c.Leaves) != 0 {
						t.Error("it is still there")
					}
					return
				case Extra:
					if len(c.Leaves) != 2 {
						t.Errorf("%d leaves", len(c.Leaves))
					}
					return
				case Slow:
					if c.Delay != SlowDelay {
						t.Error("it is as fast as ever")
					}
					return
				case Oversized:
					if len(c.Leaves[0].Value) != oversize() {
						t.Errorf("%d bytes", len(c.Leaves[0].Value))
					}
					return
				}
				leaf := c.Leaves[0]
				same := string(leaf.Value) == string(honest.Value)
				if f == Revoked { // it is in the list, not in the evidence
					same = false
				}
				if same {
					t.Error("the evidence is as before")
				}
				a, ok := worldOf(t, m).appraise(t, leaf, want)
				if !ok {
					t.Fatalf("no scheme verifies %s", kind)
				}
				if a.Status() == verdict.TierAffirming || cpuFaults[f].WorseThan(a.Status()) || len(a.Reasons) == 0 {
					t.Errorf("%s, expected %s or worse: %v %v", a.Status(), cpuFaults[f], a.Vector, a.Reasons)
				}
			})
		}
	}
}

// Microcontrollers stand beside whatever else there is.
func TestPSA(t *testing.T) {
	d := Description{Name: "psa", PSA: Set{Count: 2}, CPU: CPU{Kind: "none"}}
	m := made(t, d)
	w := worldOf(t, m)
	c, err := m.Attest(testNonce)
	if err != nil || len(c.Leaves) != 2 || c.Leaves[1].Path != "psa/1" {
		t.Fatalf("%v %+v", err, c)
	}
	for _, l := range c.Leaves {
		a, ok := w.appraise(t, l, testNonce)
		if !ok {
			t.Fatal("no scheme verifies psa")
		}
		if a.Status() != verdict.TierAffirming || a.Freshness != verdict.FreshnessFresh {
			t.Errorf("%s: %v %v", l.Path, a.Vector, a.Reasons)
		}
	}
	for f, tier := range map[FaultKind]verdict.Tier{
		StaleNonce: verdict.TierContraindicated, Debug: verdict.TierContraindicated, OutdatedTCB: verdict.TierWarning,
		WrongSigner: verdict.TierContraindicated, MeasurementFault: verdict.TierWarning, Truncated: verdict.TierContraindicated,
	} {
		m := made(t, d, Fault{"psa/1", f})
		c, err := m.Attest(testNonce)
		if err != nil {
			t.Fatal(err)
		}
		if a, _ := worldOf(t, m).appraise(t, c.Leaves[1], testNonce); a.Status() == verdict.TierAffirming || tier.WorseThan(a.Status()) {
			t.Errorf("%s: %s %v", f, a.Status(), a.Reasons)
		}
	}
	for _, f := range []FaultKind{Revoked, Expired, Unbound, ReportSwapped} {
		if Applies(f, KindPSA) {
			t.Errorf("%s applies", f)
		}
	}
}

// A vTPM alone proves what it measured, and by itself no hardware.
func TestTPM(t *testing.T) {
	for _, key := range []string{"p256", "rsa2048"} {
		d := Description{Name: "vtpm", VTPM: VTPM{Key: key}, CPU: CPU{Kind: "none"}}
		m := made(t, d)
		c, err := m.Attest(testNonce)
		if err != nil || len(c.Leaves) != 1 {
			t.Fatalf("%v %+v", err, c)
		}
		a, ok := worldOf(t, m).appraise(t, c.Leaves[0], testNonce)
		if !ok {
			t.Fatal("no scheme verifies tcg-tpm")
		}
		if a.Vector[verdict.Executables].Tier() != verdict.TierAffirming || a.Freshness != verdict.FreshnessFresh || a.Status() == verdict.TierContraindicated {
			t.Errorf("%s: %v %s %v", key, a.Vector, a.Freshness, a.Reasons)
		}
		for _, f := range []FaultKind{StaleNonce, Revoked, Expired, WrongSigner, MeasurementFault, Truncated} {
			m := made(t, d, Fault{"vtpm", f})
			c, err := m.Attest(testNonce)
			if err != nil {
				t.Fatal(err)
			}
			if a, _ := worldOf(t, m).appraise(t, c.Leaves[0], testNonce); a.Status() != verdict.TierContraindicated {
				t.Errorf("%s %s: %s %v %v", key, f, a.Status(), a.Vector, a.Reasons)
			}
		}
	}
}

// A document of a machine never speaks for the parts of another kind.
func TestAuthoritiesKeepToTheirKind(t *testing.T) {
	d := Description{Name: "all", CPU: CPU{Kind: string(KindCCA)}, PSA: Set{Count: 1}, VTPM: VTPM{Key: "p256"}}
	m := made(t, d)
	docs, err := m.ReferenceDocuments()
	if err != nil || len(docs) != 4 || docs[KindCCA] == nil || docs[KindRealm] == nil || docs[KindPSA] == nil {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	raw, err := m.ReferenceTrust()
	if err != nil {
		t.Fatal(err)
	}
	list, err := corim.ParseTrust(raw)
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := corim.NewTrust(list)
	if err != nil {
		t.Fatal(err)
	}
	for kind, doc := range docs {
		for signer := range docs {
			raw, err := m.SignReference(signer, *doc)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := corim.Load(raw, corim.Options{Trust: authorities, Now: testNow}); (err == nil) != (signer == kind) {
				t.Errorf("the document of %s signed by that of %s: %v", kind, signer, err)
			}
		}
	}
}
