// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/azure"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// bindingTo is the edge of one kind from a part, "" if there is none.
func bindingTo(res *verdict.Result, from evidence.Path, kind string) string {
	for _, b := range res.Bindings {
		if b.From == from && b.Kind == kind {
			return strings.TrimSpace(fmt.Sprintf("%s %s %s", b.Status, b.Strength, b.Origin))
		}
	}
	return ""
}

func factsOf(t testing.TB, res *verdict.Result, label evidence.Path) verdict.Appraisal {
	t.Helper()
	for _, c := range res.Components {
		if c.Label == label && !c.Partial.IsZero() {
			return c.Partial.Appraisal()
		}
	}
	t.Fatalf("no result of %s", label)
	return verdict.Appraisal{}
}

// azureVM is a simulated confidential VM of Azure with a GPU and a leaf of its
// TPM's own, and what a verifier has to know of it.
type azureVM struct {
	cpu      *amdsnp.Device
	own, two *tcgtpm.Device
	gpu      *attester.Machine
}

// azureAMD is AMD: its keys take seconds to make.
var azureAMD = sync.OnceValue(func() *amdsnp.Vendor {
	return amdsnp.NewVendor(pki.NewSeed("vendors").Sub("").Sub("amd-snp"), machineTime)
})

func newAzureVM(t testing.TB) *azureVM {
	t.Helper()
	m := &azureVM{gpu: simulated(t, attester.Description{Name: "azure-gpu", CPU: attester.CPU{Kind: "none"}, GPUs: attester.GPUs{Count: 1}}, nil)}
	var err error
	m.cpu, err = amdsnp.New(amdsnp.Options{Vendor: azureAMD(), Device: pki.NewSeed("azure cpu"), Now: machineTime, Product: amdsnp.Genoa, Image: "paravisor"})
	must(t, err)
	tpm := tcgtpm.Options{Vendor: pki.NewSeed("azure tpms"), Device: pki.NewSeed("one"), Now: machineTime, Key: tcgtpm.RSA2048, Image: "guest"}
	m.own, err = tcgtpm.New(tpm)
	must(t, err)
	tpm.Device = pki.NewSeed("two")
	m.two, err = tcgtpm.New(tpm)
	must(t, err)
	return m
}

// judge knows the roots of the VM's parts, their collateral, and what runs there.
func (m *azureVM) judge(t testing.TB) *judge {
	t.Helper()
	deps := verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"amd-snp": {m.cpu.Root()}, "tcg-tpm": {m.own.Root()}}}
	raw, err := m.gpu.Trust()
	must(t, err)
	roots, err := trust.ParseRoots(raw)
	must(t, err)
	maps.Copy(deps.ExtraRoots, roots.Schemes)
	files, err := m.gpu.Endorsements()
	must(t, err)
	for _, d := range []interface {
		Endorsements() (map[string][]byte, error)
	}{m.cpu, m.own} {
		more, err := d.Endorsements()
		must(t, err)
		for name, raw := range more {
			files[fmt.Sprintf("%T-%s", d, name)] = raw
		}
	}
	deps.Endorsements, err = load(files)
	must(t, err)
	author, err := refvalues.NewAuthor("owner of the VM", machineTime)
	must(t, err)
	paravisor, err1 := refvalues.AMDSNP(m.cpu.Measurements(), nil)
	guest, err2 := refvalues.TPM(m.own.Measurements())
	must(t, err1)
	must(t, err2)
	document := func(id, profile string, e refvalues.Entry) refvalues.Document {
		return refvalues.Document{ID: id, TagID: id + " values", Profile: profile, NotAfter: machineTime.AddDate(0, 1, 0), Entries: []refvalues.Entry{e}}
	}
	x, err := author.Index(machineTime, document("paravisor", refvalues.ProfileAMD, paravisor), document("guest", refvalues.Profile, guest))
	must(t, err)
	return judgeOf(t, deps, x, nil)
}

// evidence is a composite of the VM: cpu, gpu, and vtpm as its own leaf. The
// quote inside the CPU's leaf answers a commitment to the other leaves.
func (m *azureVM) evidence(t testing.TB, o azure.Options, tpm *tcgtpm.Device) []byte {
	t.Helper()
	c, err := m.gpu.Attest(machineNonce)
	must(t, err)
	quote, err := tpm.Evidence(machineNonce)
	must(t, err)
	leaf := func(path, mediaType string, raw []byte) attester.Leaf {
		mt, err := evidence.ParseMediaType(mediaType)
		must(t, err)
		return attester.Leaf{Path: evidence.Path(path), Type: mt, Value: raw}
	}
	leaves := append(c.Leaves, leaf("vtpm", tcgtpm.MediaTypeCBOR, quote))
	about := evidence.Commitment{Nonce: machineNonce, Leaves: map[evidence.Path]evidence.LeafDigest{}}
	for _, l := range leaves {
		about.Leaves[l.Path] = sha512.Sum384(l.Value)
	}
	challenge, err := about.Sum()
	must(t, err)
	o.SNP, o.TPM = m.cpu, m.own
	vm, err := azure.New(o)
	must(t, err)
	raw, err := vm.Evidence(challenge[:])
	must(t, err)
	var entries []evidence.Entry
	for _, l := range append(leaves, leaf("cpu", azure.MediaType, raw)) {
		entries = append(entries, evidence.Entry{Label: string(l.Path), Item: evidence.Record(l.Type, l.Value, evidence.IndEvidence)})
	}
	out, err := evidence.EncodeCBOR(evidence.Collection(evidence.BoundCollection, entries...))
	must(t, err)
	return out
}

// A confidential VM of Azure beside a GPU: the CPU's report commits to the key of
// the TPM, its quote to the GPU and to the leaf of the TPM itself. The TPM, or the
// quote, of another machine breaks that.
func TestAzureVMBesideGPU(t *testing.T) {
	m := newAzureVM(t)
	j := m.judge(t)
	for _, c := range []struct {
		name      string
		options   azure.Options
		tpm       *tcgtpm.Device
		tier, cpu verdict.Tier
		codes     string // of the whole, and of the CPU
		key, gpu  string // edges: key of the TPM, commitment to the GPU
	}{
		{"honest", azure.Options{}, m.own, verdict.TierWarning, verdict.TierAffirming, "", "bound", "bound"},
		{"leaf of another TPM", azure.Options{}, m.two, verdict.TierContraindicated, verdict.TierAffirming, "binding-broken", "broken", "bound"},
		{"quote of another TPM", azure.Options{Quoting: m.two}, m.own, verdict.TierContraindicated, verdict.TierContraindicated, "signature-invalid", "", "absent"},
		{"other runtime data", azure.Options{Runtime: m.two.RuntimeData()}, m.own, verdict.TierContraindicated, verdict.TierContraindicated, "binding-broken", "", "absent"},
		{"SHA-384", azure.Options{Hash: crypto.SHA384}, m.own, verdict.TierWarning, verdict.TierAffirming, "", "bound", "bound"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := j.appraise(t, m.evidence(t, c.options, c.tpm), "lead(cpu, gpu/0, vtpm)")
			must(t, err)
			a := factsOf(t, res, "cpu")
			if res.Outcome.Tier != c.tier || a.Status() != c.cpu || !strings.Contains(reasonCodes(append(a.Reasons, res.Outcome.Reasons...)), c.codes) {
				t.Errorf("%s, cpu %s: %v %v", res.Outcome.Tier, a.Status(), res.Outcome.Reasons, a.Reasons)
			}
			if key := bindingTo(res, "vtpm", "attested-key"); !strings.HasPrefix(key, c.key) || (key == "") != (c.key == "") {
				t.Errorf("edge to the key %q", key)
			}
			if gpu := bindingTo(res, "gpu/0", "report-data-digest"); !strings.HasPrefix(gpu, c.gpu) {
				t.Errorf("edge to the GPU %q", gpu)
			}
			if c.cpu != verdict.TierAffirming {
				if len(a.Facts.Keys)+len(a.Facts.Registers) > 0 {
					t.Errorf("facts of what proves nothing: %+v", a.Facts)
				}
				return
			}
			key := factsOf(t, res, "vtpm").Facts.SignerSPKI
			if len(a.Facts.Keys) != 1 || a.Facts.Keys[0].Via != "runtime-data" || (a.Facts.Keys[0].SPKI == key) != (c.key == "bound") {
				t.Errorf("keys %+v, the leaf has %s", a.Facts.Keys, key)
			}
			for _, name := range []string{"measurement", "pcr0", "pcr23"} {
				if a.Facts.Registers[name] == "" {
					t.Errorf("no register %s", name)
				}
			}
		})
	}
}

// The separate form: report data of a TD that commit to the key of the TPM, and
// the TPM as a leaf of its own.
func TestAttestedKeyOfMachine(t *testing.T) {
	for _, key := range []string{"p256", "rsa2048"} {
		d := attester.Description{Name: "ak-" + key, CPU: attester.CPU{Form: "json"}, VTPM: attester.VTPM{Key: key}, Binding: attester.BindAK}
		for _, c := range []struct {
			fault attester.FaultKind
			tier  verdict.Tier
			code  string
			edge  string
		}{
			{"", verdict.TierWarning, "!binding-broken", "bound"},
			{attester.ForeignMachine, verdict.TierContraindicated, "binding-broken", "broken"},
			{attester.StaleNonce, verdict.TierContraindicated, "!binding-broken", "bound"},
			{attester.WrongSigner, verdict.TierContraindicated, "!binding-broken", ""}, // nothing says whose key it is
		} {
			var faults []attester.Fault
			if c.fault != "" && key == "rsa2048" {
				continue // of which the keys take long to make
			}
			if c.fault != "" {
				faults = append(faults, attester.Fault{Label: "vtpm", Kind: c.fault})
			}
			m := simulated(t, d, nil, faults...)
			res, err := judgeWith(t, m, true, referencesOf(t, m)).appraise(t, evidenceOf(t, m, attester.CBOR), "lead(cpu, vtpm)")
			must(t, err)
			codes, word := reasonCodes(res.Outcome.Reasons), strings.TrimPrefix(c.code, "!")
			if res.Outcome.Tier != c.tier || strings.Contains(codes, word) == strings.HasPrefix(c.code, "!") {
				t.Errorf("%s %s: %s %v", key, c.fault, res.Outcome.Tier, res.Outcome.Reasons)
			}
			if e := bindingTo(res, "vtpm", "attested-key"); !strings.HasPrefix(e, c.edge) || (e == "") != (c.edge == "") {
				t.Errorf("%s %s: edge %q", key, c.fault, e)
			}
			cpu := factsOf(t, res, "cpu")
			if len(cpu.Facts.Keys) == 0 || cpu.Facts.Keys[0].Via != "runtime-data" || cpu.Facts.Registers["rtmr0"] == "" {
				t.Errorf("%s %s: facts %+v, %v", key, c.fault, cpu.Facts, cpu.Reasons)
			}
		}
	}
}

// An event log that replays to the signed registers gives the single events; one
// that does not gives nothing, whatever else the quote says.
func TestEventLogOfTD(t *testing.T) {
	dir := "tdx/go-tdx-guest/ccel/"
	quote, log, nonce := vectors.Read(t, dir+"cos-113-tdx-quote.dat"), vectors.Read(t, dir+"ccel_data.dat"), vectors.Read(t, dir+"nonce.dat")
	leaf := func(log []byte) []byte {
		b64 := base64.RawURLEncoding.EncodeToString
		raw, err := json.Marshal(map[string]string{"quote": b64(quote), "cc_eventlog": b64(log)})
		must(t, err)
		mt, err := evidence.ParseMediaType("application/vnd.assize.tdx+json")
		must(t, err)
		out, err := evidence.EncodeCBOR(evidence.Collection("tag:example.com,2026:recorded", evidence.Entry{Label: "cpu", Item: evidence.Record(mt, raw, evidence.IndEvidence)}))
		must(t, err)
		return out
	}
	changed := slices.Clone(log)
	header := 32 + int(log[28]) + int(log[29])<<8 // the first event, which names the algorithms
	changed[header+14] ^= 1                       // of the first digest, behind register, type, count and algorithm
	j := judgeOf(t, verifiers.Deps{}, nil, nil)
	for name, c := range map[string]struct {
		raw  []byte
		want int
	}{"recorded": {leaf(log), 43}, "changed": {leaf(changed), 0}} {
		res, err := j.lead.Appraise(context.Background(), orchestrator.Request{Evidence: c.raw, Given: map[evidence.Path][]byte{"cpu": nonce}})
		must(t, err)
		a := factsOf(t, res, "cpu")
		if a.Freshness != verdict.FreshnessFresh || len(a.Facts.Measured) != c.want || res.Outcome.Tier != verdict.TierWarning {
			t.Errorf("%s: %s, %s, %d events: %v", name, res.Outcome.Tier, a.Freshness, len(a.Facts.Measured), a.Reasons)
		}
		if mismatch := strings.Contains(reasonCodes(a.Reasons), "event-log"); mismatch != (c.want == 0) {
			t.Errorf("%s: %v", name, a.Reasons)
		}
	}
	d := attester.Description{Name: "log", CPU: attester.CPU{Form: "json"}, GPUs: attester.GPUs{Count: 1}}
	m := simulated(t, d, nil)
	res, err := judgeWith(t, m, true, referencesOf(t, m)).appraise(t, evidenceOf(t, m, attester.CBOR), "lead(cpu, gpu/0)")
	must(t, err)
	a := factsOf(t, res, "cpu")
	if a.Status() != verdict.TierAffirming || len(a.Facts.Measured) == 0 || a.Facts.Registers["rtmr3"] == "" || bindingTo(res, "gpu/0", "report-data-digest") == "" {
		t.Errorf("%s: %+v %v", a.Status(), a.Facts.Measured, a.Reasons)
	}
}
