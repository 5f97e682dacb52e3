// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

// book are reference values that do not change.
type book struct{ index *corim.Index }

func (b book) Snapshot(time.Time) (*corim.Index, error) { return b.index, nil }

// library is the documents of a machine as a verifier loads them.
type library struct {
	m     *attester.Machine
	files map[string][]byte
	trust []corim.Authority
}

func libraryOf(t testing.TB, m *attester.Machine) *library {
	t.Helper()
	files, err := m.SignedReferenceValues()
	must(t, err)
	raw, err := m.ReferenceTrust()
	must(t, err)
	trust, err := corim.ParseTrust(raw)
	must(t, err)
	return &library{m, files, trust}
}

// index loads what is accepted; what is not is named.
func (l *library) index(t testing.TB) (*corim.Index, []string) {
	t.Helper()
	trust, err := corim.NewTrust(l.trust)
	must(t, err)
	var docs []*corim.Document
	var refused []string
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		d, err := corim.Load(l.files[name], corim.Options{Trust: trust, Now: machineTime})
		if err != nil {
			refused = append(refused, name)
			continue
		}
		docs = append(docs, d)
	}
	x, err := corim.NewIndex(docs...)
	must(t, err)
	return x, refused
}

// corimJudge trusts a machine and has none of NVIDIA's manifests, which would prove
// the firmware of its GPUs without any document.
func corimJudge(t testing.TB, m *attester.Machine, x *corim.Index) *judge {
	t.Helper()
	deps, lead := filesOf(t, m, func(file string) bool { return !strings.HasPrefix(file, "NV_") })
	return judgeOf(t, deps, x, lead)
}

func referencesOf(t testing.TB, m *attester.Machine) *corim.Index {
	t.Helper()
	x, refused := libraryOf(t, m).index(t)
	if len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	return x
}

// referencesWithout are those of a machine but for some kinds.
func referencesWithout(t testing.TB, m *attester.Machine, kinds ...attester.Kind) *corim.Index {
	t.Helper()
	l := libraryOf(t, m)
	for _, k := range kinds {
		delete(l.files, string(k)+".corim")
	}
	x, refused := l.index(t)
	if len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	return x
}

// statedKeys are the keys that the documents of a machine state, without what they
// say of its software; nil if they state none.
func statedKeys(t testing.TB, m *attester.Machine) *corim.Index {
	t.Helper()
	docs, err := m.ReferenceDocuments()
	must(t, err)
	l := libraryOf(t, m)
	clear(l.files)
	for kind, d := range docs {
		if len(d.Keys) == 0 {
			continue
		}
		only := *d
		only.Entries = nil
		l.files[string(kind)+".corim"], err = m.SignReference(kind, only)
		must(t, err)
	}
	if len(l.files) == 0 {
		return nil
	}
	x, refused := l.index(t)
	if len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	return x
}

// supported is what reference values prove about a kind of part, and what the
// claims are without them.
var supported = map[attester.Kind]struct {
	scheme          string
	with, without   string // executables, configuration
	named, measured string // in the reason
}{
	attester.KindTDX:    {"intel-tdx", "2 2", "33 2", `model "TDX"`, "MRTD, RTMR0, RTMR1, RTMR2"},
	attester.KindGPU:    {"nvidia-gpu", "3 3", "33 36", `model "GH100"`, "measurement 1, 2, 3"},
	attester.KindSwitch: {"nvidia-nvswitch", "3 3", "33 36", `model "LS10"`, "measurement 0, 1, 2"},
	attester.KindSNP:    {"amd-snp", "3 2", "33 2", "class 1.3.6.1.4.1.3704.3.1", "MEASUREMENT"},
	attester.KindSGX:    {"intel-sgx", "3 2", "33 2", `model "SGX"`, "MRENCLAVE, MRSIGNER, ISVPRODID, ISVSVN"},
	attester.KindNitro:  {"aws-nitro", "3 2", "33 2", fmt.Sprintf("%x", "tag:assize.dev,2026:aws-nitro"), "PCR0, PCR1, PCR2"},
}

func provenOf(c verdict.Component) string {
	v := c.Partial.Appraisal().Vector
	return fmt.Sprint(v[verdict.Executables], " ", v[verdict.Configuration])
}

// want compares the claims of all components with what documents support, but
// for a kind that lacks its own.
func want(t *testing.T, what string, d attester.Description, res *verdict.Result, lost attester.Kind, codes ...string) {
	t.Helper()
	for _, c := range res.Components {
		for kind, s := range supported {
			if s.scheme != c.Scheme {
				continue
			}
			claims, a := s.with, c.Partial.Appraisal()
			if kind == lost {
				claims = s.without
			}
			if got := provenOf(c); got != claims {
				t.Errorf("%s: %s has %s, want %s: %v", what, c.Label, got, claims, a.Reasons)
			}
			said := slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool {
				return slices.Contains(codes, r.Code) && strings.Contains(r.Detail, s.named) && strings.Contains(r.Detail, s.measured)
			})
			if said != (kind == lost) {
				t.Errorf("%s: %s says %v", what, c.Label, a.Reasons)
			}
		}
	}
}

// With its documents a machine has every claim that measurements can give; each
// document alone supports exactly the claims of its kind of part, and one that is
// not there, does not hold, or is of somebody who may not say it, supports none.
func TestReferencesOfMachines(t *testing.T) {
	vendors := sharedVendors()
	for _, name := range []string{"cpu", "cpu-gpu", "hgx", "snp", "sgx", "nitro"} {
		d, _ := attester.BuiltIn(name)
		m := simulated(t, d, vendors)
		raw := evidenceOf(t, m, attester.CBOR)
		appraise := func(x *corim.Index) *verdict.Result {
			res, err := corimJudge(t, m, x).appraise(t, raw, "lead")
			must(t, err)
			return res
		}
		all := referencesOf(t, m)
		res := appraise(all)
		want(t, name, d, res, "")
		for _, c := range res.Components {
			if c.Partial.ReferenceRevision() != all.Revision() {
				t.Errorf("%s: %s was compared with revision %q", name, c.Label, c.Partial.ReferenceRevision())
			}
			if doc := res.Document().Components[string(c.Label)]; doc.References != all.Revision() {
				t.Errorf("%s: the document says %q", name, doc.References)
			}
		}
		if res.Components[0].Tier() != verdict.TierAffirming {
			t.Errorf("%s: the CPU is %s: %v", name, res.Components[0].Tier(), res.Components[0].Partial.Appraisal().Reasons)
		}
		if res.Outcome.Tier != verdict.TierWarning { // extra roots cap where the lead was not told so itself
			t.Errorf("%s: %s", name, res.Outcome.Tier)
		}
		docs, err := m.ReferenceDocuments()
		must(t, err)
		for kind, doc := range docs {
			file := string(kind) + ".corim"
			for what, spoil := range map[string]func(*library){
				"removed": func(l *library) { delete(l.files, file) },
				"expired": func(l *library) {
					old := *doc
					old.NotBefore, old.NotAfter = machineTime.AddDate(0, 0, -2), machineTime.AddDate(0, 0, -1)
					l.files[file], err = m.SignReference(kind, old)
					must(t, err)
				},
				"not yet": func(l *library) {
					young := *doc
					young.NotBefore, young.NotAfter = machineTime.Add(time.Hour), machineTime.AddDate(0, 0, 1)
					l.files[file], err = m.SignReference(kind, young)
					must(t, err)
				},
				"unsigned": func(l *library) {
					l.files[file], err = refvalues.Unsigned(*doc)
					must(t, err)
				},
				"by the vendor of another part": func(l *library) {
					l.files[file], err = m.SignReference(attester.KindTPM, *doc)
					must(t, err)
				},
				"out of scope": func(l *library) {
					for i := range l.trust {
						if strings.Contains(l.trust[i].Name, string(kind)) {
							l.trust[i].Scopes = []corim.Environment{{Class: corim.Class{Vendor: "ACME"}}}
						}
					}
				},
				"authority that has ended": func(l *library) {
					for i := range l.trust {
						if strings.Contains(l.trust[i].Name, string(kind)) {
							l.trust[i].Validity.NotAfter = machineTime.Add(-time.Second)
						}
					}
				},
				"one byte of the signature": func(l *library) {
					l.files[file] = slices.Clone(l.files[file])
					l.files[file][len(l.files[file])-1] ^= 1
				},
			} {
				if name == "hgx" && what != "removed" {
					continue // the same code as for one GPU
				}
				l := libraryOf(t, m)
				spoil(l)
				x, refused := l.index(t)
				if what != "removed" && !slices.Equal(refused, []string{file}) {
					t.Errorf("%s: %s %s: refused %v", name, kind, what, refused)
				}
				want(t, name+": "+string(kind)+" "+what, d, appraise(x), kind, verdict.ReasonNoReferenceValues)
			}
		}
	}
}

// One digest of a document that is another contraindicates the parts that it is
// about, and no other.
func TestReferencesThatDiffer(t *testing.T) {
	vendors := sharedVendors()
	d, _ := attester.BuiltIn("cpu-gpu")
	m := simulated(t, d, vendors)
	raw := evidenceOf(t, m, attester.CBOR)
	for _, kind := range []attester.Kind{attester.KindTDX, attester.KindGPU} {
		docs, err := m.ReferenceDocuments()
		must(t, err)
		doc := docs[kind]
		for i, v := range doc.Entries[0].Values {
			if len(v.Digests) == 0 {
				continue
			}
			honest := v.Digests[0].Value
			v.Digests[0].Value = slices.Clone(honest)
			v.Digests[0].Value[7] ^= 1
			l := libraryOf(t, m)
			l.files[string(kind)+".corim"], err = m.SignReference(kind, *doc)
			must(t, err)
			x, _ := l.index(t)
			res, err := corimJudge(t, m, x).appraise(t, raw, "lead")
			must(t, err)
			for _, c := range res.Components {
				bad := c.Scheme == string(kind)
				if bad != (c.Tier() == verdict.TierContraindicated) {
					t.Errorf("%s value %d: %s is %s: %v", kind, i, c.Label, c.Tier(), c.Partial.Appraisal().Reasons)
				}
				if bad != strings.Contains(reasonCodes(c.Partial.Appraisal().Reasons), verdict.ReasonMeasurementMismatch) {
					t.Errorf("%s value %d: %v", kind, i, c.Partial.Appraisal().Reasons)
				}
			}
			v.Digests[0].Value = honest
			if i > 6 {
				break // one index of a GPU is as another
			}
		}
	}
}

// Documents of another machine, of another kind, or of nobody do not help.
func TestReferencesOfOthers(t *testing.T) {
	vendors := sharedVendors()
	d, _ := attester.BuiltIn("cpu-gpu")
	m := simulated(t, d, vendors)
	raw := evidenceOf(t, m, attester.CBOR)
	for name, other := range map[string]*attester.Machine{
		"amd":       simulated(t, attester.Description{Name: "o", CPU: attester.CPU{Kind: string(attester.KindSNP)}}, vendors),
		"blackwell": simulated(t, attester.Description{Name: "o", CPU: attester.CPU{Kind: "none"}, GPUs: attester.GPUs{Count: 1, Kind: "blackwell"}}, vendors),
	} {
		res, err := corimJudge(t, m, referencesOf(t, other)).appraise(t, raw, "lead")
		must(t, err)
		for _, c := range res.Components {
			if e := c.Partial.Appraisal().Vector[verdict.Executables]; e != verdict.ClaimUnrecognized {
				t.Errorf("%s: %s has executables %d", name, c.Label, e)
			}
		}
	}
	// Another TD of the same vendors: its values are there, and these are others.
	another, err := attester.New(attester.Options{Machine: d, Now: machineTime, Vendors: vendors, Seed: "another"})
	must(t, err)
	res, err := corimJudge(t, m, referencesOf(t, another)).appraise(t, raw, "lead")
	must(t, err)
	if res.Components[0].Tier() != verdict.TierContraindicated {
		t.Errorf("another TD: %s", res.Components[0].Tier())
	}
}

// All documents of all machines load, those of kinds without a scheme too, and
// what was given for another time proves nothing at this one.
func TestReferencesLoad(t *testing.T) {
	for _, name := range attester.BuiltIns() {
		d, _ := attester.BuiltIn(name)
		m := simulated(t, d, nil)
		l := libraryOf(t, m)
		x, refused := l.index(t)
		if len(refused) > 0 || len(x.Documents()) != len(l.files) || len(x.Conflicts()) > 0 {
			t.Errorf("%s: %d of %d, refused %v, conflicts %v", name, len(x.Documents()), len(l.files), refused, x.Conflicts())
		}
		for _, doc := range x.Documents() {
			if !doc.Signed() {
				t.Errorf("%s: %s is not signed", name, doc.ID)
			}
		}
	}
}
