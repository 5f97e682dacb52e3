// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	simulator "github.com/assize/assize/attester/amdsnp"
	vm "github.com/assize/assize/attester/azure"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/azure"
)

func azureType(tb testing.TB) evidence.MediaType {
	tb.Helper()
	mt, err := evidence.ParseMediaType(azure.MediaType)
	if err != nil {
		tb.Fatal(err)
	}
	return mt
}

// recordedAzure are real leaves with what their quotes answer.
func recordedAzure(tb testing.TB) map[string]struct{ raw, nonce []byte } {
	tb.Helper()
	dir := "vtpm/trustee/az-snp-vtpm/"
	nonce, err := hex.DecodeString("982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef")
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]struct{ raw, nonce []byte }{
		"evidence-v0.json": {vectors.Read(tb, dir+"evidence-v0.json"), []byte("challenge")},
		"evidence-v1.json": {vectors.Read(tb, dir+"evidence-v1.json"), []byte("challenge")},
		"evidence-v2.json": {vectors.Read(tb, dir+"evidence-v2.json"), nonce},
	}
}

// TestRecordedAzure holds the rows of PROVENANCE about confidential VMs of Azure.
func TestRecordedAzure(t *testing.T) {
	at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	v := newTest(t, verifiers.Deps{})
	for name, c := range recordedAzure(t) {
		in := verifiers.Input{MediaType: azureType(t), Evidence: c.raw, Nonce: c.nonce, Time: at}
		a := appraise(t, v, in)
		if a.Freshness != verdict.FreshnessFresh || a.Status() != verdict.TierWarning || !bytes.Equal(a.NonceSeen, c.nonce) {
			t.Errorf("%s: %s, %s: %v", name, a.Status(), a.Freshness, a.Reasons)
			continue
		}
		if len(a.Facts.Keys) != 1 || a.Facts.Keys[0].Origin != verdict.OriginApplication || a.Facts.Keys[0].Via != "runtime-data" ||
			len(a.Facts.Device) != 2 || a.Facts.Registers["pcr0"] == "" || a.Facts.Registers["measurement"] == "" {
			t.Errorf("%s: facts %+v", name, a.Facts)
		}
		if a.Vector[verdict.Executables] != verdict.ClaimUnrecognized || a.Vector[verdict.RuntimeOpaque] != verdict.ClaimApproved {
			t.Errorf("%s: %v", name, a.Vector)
		}
		in.Nonce = append(slices.Clone(c.nonce), 0)
		if a := appraise(t, v, in); a.Freshness != verdict.FreshnessMismatch || a.Status() != verdict.TierContraindicated {
			t.Errorf("%s: another challenge: %s", name, a.Status())
		}
		in.Nonce = nil
		if a := appraise(t, v, in); a.Freshness != verdict.FreshnessNotEstablished || !hasReason(a, verdict.ReasonNonceNotEstablished) {
			t.Errorf("%s: no challenge: %s", name, a.Freshness)
		}
	}
}

func hasReason(a verdict.Appraisal, code string) bool {
	return slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == code })
}

var simulated = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

var amd = sync.OnceValue(func() *simulator.Vendor { return simulator.NewVendor(pki.NewSeed("azure tests"), simulated) })

// parts are a CPU and two TPMs, of which the first is its own.
type parts struct {
	cpu      *simulator.Device
	own, two *tcgtpm.Device
}

func newParts(tb testing.TB, change func(*simulator.Options, *tcgtpm.Options)) parts {
	tb.Helper()
	cpu := simulator.Options{Vendor: amd(), Device: pki.NewSeed("cpu"), Now: simulated, Product: simulator.Genoa, Image: "azure"}
	tpm := tcgtpm.Options{Vendor: pki.NewSeed("tpm"), Device: pki.NewSeed("one"), Now: simulated, Key: tcgtpm.RSA2048, Image: "azure"}
	if change != nil {
		change(&cpu, &tpm)
	}
	var p parts
	var err error
	if p.cpu, err = simulator.New(cpu); err != nil {
		tb.Fatal(err)
	}
	if p.own, err = tcgtpm.New(tpm); err != nil {
		tb.Fatal(err)
	}
	tpm.Device = pki.NewSeed("two")
	if p.two, err = tcgtpm.New(tpm); err != nil {
		tb.Fatal(err)
	}
	return p
}

func (p parts) deps() verifiers.Deps {
	return verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {p.cpu.Root()}}}
}

// leaf is what a VM of the parts brings.
func leaf1(tb testing.TB, o vm.Options, nonce []byte) []byte {
	tb.Helper()
	d, err := vm.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := d.Evidence(nonce)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// TestSimulatedAzure walks what binds CPU, paravisor and TPM.
func TestSimulatedAzure(t *testing.T) {
	p := newParts(t, nil)
	issuer := endorsementsOf(t, p.cpu)
	nonce := bytes.Repeat([]byte{0x5a}, 64)
	foreignData := p.two.RuntimeData()
	for _, c := range []struct {
		name  string
		o     vm.Options
		fresh verdict.Freshness
		tier  verdict.Tier
		code  string // of a refusal
		found string // a row
	}{
		{name: "honest", o: vm.Options{}, fresh: verdict.FreshnessFresh, tier: verdict.TierWarning},
		{name: "with its log", o: vm.Options{EventLog: true}, fresh: verdict.FreshnessFresh, tier: verdict.TierWarning},
		{name: "SHA-384", o: vm.Options{Hash: crypto.SHA384}, fresh: verdict.FreshnessFresh, tier: verdict.TierWarning},
		{name: "SHA-512", o: vm.Options{Hash: crypto.SHA512}, fresh: verdict.FreshnessFresh, tier: verdict.TierWarning},
		{name: "quote of another TPM", o: vm.Options{Quoting: p.two}, tier: verdict.TierContraindicated, code: verdict.ReasonSignatureInvalid},
		{name: "runtime data of another machine", o: vm.Options{Runtime: foreignData}, tier: verdict.TierContraindicated, code: verdict.ReasonBindingBroken},
		{name: "both of another machine", o: vm.Options{Quoting: p.two, Runtime: foreignData}, tier: verdict.TierContraindicated, code: verdict.ReasonBindingBroken},
		{name: "runtime data with a blank", o: vm.Options{Runtime: append([]byte(" "), p.own.RuntimeData()...)}, tier: verdict.TierContraindicated, code: verdict.ReasonBindingBroken},
		{name: "no certificate", o: vm.Options{WithoutVCEK: true}, tier: verdict.TierContraindicated, code: verdict.ReasonNoCollateral},
	} {
		c.o.SNP, c.o.TPM = p.cpu, p.own
		d := p.deps()
		d.Endorsements = issuer
		v := newTest(t, d)
		a := appraise(t, v, verifiers.Input{MediaType: azureType(t), Evidence: leaf1(t, c.o, nonce), Nonce: nonce, Time: simulated})
		if a.Status() != c.tier || c.code != "" && !hasReason(a, c.code) {
			t.Errorf("%s: %s %v", c.name, a.Status(), a.Reasons)
		}
		if c.fresh != "" && (a.Freshness != c.fresh || len(a.Facts.Keys) != 1) {
			t.Errorf("%s: %s, keys %v: %v", c.name, a.Freshness, a.Facts.Keys, a.Reasons)
		}
		if c.fresh == "" && (len(a.Facts.Keys) != 0 || a.Freshness == verdict.FreshnessFresh) {
			t.Errorf("%s: refused, and has facts %+v", c.name, a.Facts)
		}
		if c.o.EventLog && (len(a.Facts.Measured) == 0 || a.Claims["event_log"].(map[string]any)["secure_boot"] != true) {
			t.Errorf("%s: the log is not used: %v", c.name, a.Claims["event_log"])
		}
	}
	key := sha256.Sum256(must(x509.MarshalPKIXPublicKey(p.own.AKCertificate().PublicKey)))
	a := appraise(t, newTest(t, withBundle(p.deps(), issuer)), verifiers.Input{
		MediaType: azureType(t), Evidence: leaf1(t, vm.Options{SNP: p.cpu, TPM: p.own}, nonce), Nonce: nonce, Time: simulated})
	if a.Facts.Keys[0].SPKI != hex.EncodeToString(key[:]) {
		t.Errorf("the committed key is %s, that of the TPM %x", a.Facts.Keys[0].SPKI, key)
	}
}

func withBundle(d verifiers.Deps, b *endorsements.Bundle) verifiers.Deps {
	d.Endorsements = b
	return d
}

// endorsementsOf are the issuers of a simulated chip.
func endorsementsOf(tb testing.TB, d *simulator.Device) *endorsements.Bundle {
	tb.Helper()
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, raw := range files {
		if !strings.Contains(name, "vcek") {
			fsys[name] = &fstest.MapFile{Data: raw}
		}
	}
	b, _, err := endorsements.Load(fsys)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestAzureOrigin: the commitment to the TPM's key is one of measured software only
// where reference values know what was launched.
func TestAzureOrigin(t *testing.T) {
	p := newParts(t, nil)
	nonce := bytes.Repeat([]byte{0x5a}, 64)
	v := newTest(t, withBundle(p.deps(), endorsementsOf(t, p.cpu)))
	in := verifiers.Input{MediaType: azureType(t), Evidence: leaf1(t, vm.Options{SNP: p.cpu, TPM: p.own}, nonce), Nonce: nonce, Time: simulated}
	for _, c := range []struct {
		name        string
		references  *corim.Index
		origin      string
		executables verdict.Claim
	}{
		{"no reference values", nil, verdict.OriginApplication, verdict.ClaimUnrecognized},
		{"of the guest alone", p.values(t, false, true), verdict.OriginApplication, verdict.ClaimUnrecognized},
		{"of the paravisor alone", p.values(t, true, false), verdict.OriginMeasured, verdict.ClaimUnrecognized},
		{"of both", p.values(t, true, true), verdict.OriginMeasured, verdict.ClaimApprovedBoot},
	} {
		in.References = c.references
		a := appraise(t, v, in)
		if a.Freshness != verdict.FreshnessFresh || len(a.Facts.Keys) != 1 || a.Facts.Keys[0].Origin != c.origin || a.Vector[verdict.Executables] != c.executables {
			t.Errorf("%s: %+v %v %v", c.name, a.Facts.Keys, a.Vector, a.Reasons)
		}
	}
}

// values are signed reference values of paravisor and guest.
func (p parts) values(tb testing.TB, paravisor, guest bool) *corim.Index {
	tb.Helper()
	author := must(refvalues.NewAuthor("azure", simulated))
	var docs []refvalues.Document
	add := func(profile string, e refvalues.Entry) {
		docs = append(docs, refvalues.Document{
			ID: profile, TagID: profile, Profile: profile, NotBefore: simulated.Add(-time.Hour), NotAfter: simulated.AddDate(0, 1, 0), Entries: []refvalues.Entry{e},
		})
	}
	if paravisor {
		add(refvalues.ProfileAMD, must(refvalues.AMDSNP(p.cpu.Measurements(), p.cpu.ChipID())))
	}
	if guest {
		add(refvalues.Profile, must(refvalues.TPM(p.own.Measurements())))
	}
	return must(author.Index(simulated, docs...))
}

// TestAzureBeneathTheGuest: a guest that runs above a paravisor can ask for reports
// itself, whatever level is expected of plain ones.
func TestAzureBeneathTheGuest(t *testing.T) {
	policy := must(policyDefaults().Parse([]byte("scheme: amd-snp\nfindings: {vmpl-unexpected: {}}\nparameters: {vmpl: 2}\n")))
	nonce := bytes.Repeat([]byte{0x5a}, 64)
	p := newParts(t, nil)
	for level := range uint32(4) {
		p.cpu = must(simulator.New(simulator.Options{
			Vendor: amd(), Device: pki.NewSeed("cpu"), Now: simulated, Product: simulator.Genoa, Image: "azure", VMPL: level,
		}))
		d := withBundle(p.deps(), endorsementsOf(t, p.cpu))
		d.Policies = map[string]*appraisal.Policy{Name: policy}
		a := appraise(t, newTest(t, d), verifiers.Input{
			MediaType: azureType(t), Evidence: leaf1(t, vm.Options{SNP: p.cpu, TPM: p.own}, nonce), Nonce: nonce, Time: simulated})
		if bound := len(a.Facts.Keys) == 1 && a.Freshness == verdict.FreshnessFresh; bound != (level == 0) {
			t.Errorf("VMPL %d: %s %v", level, a.Status(), a.Reasons)
		}
		if level > 0 && (a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || !hasReason(a, verdict.ReasonBindingBroken)) {
			t.Errorf("VMPL %d: %v %v", level, a.Vector, a.Reasons)
		}
	}
}

// TestAzureWalk flips every fourth byte of a real leaf: no tier gets better, and
// nothing is ever affirming.
func TestAzureWalk(t *testing.T) {
	c := recordedAzure(t)["evidence-v1.json"]
	at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	v := newTest(t, verifiers.Deps{})
	for i := 0; i < len(c.raw); i += 7 {
		raw := slices.Clone(c.raw)
		raw[i] ^= 1
		a := appraise(t, v, verifiers.Input{MediaType: azureType(t), Evidence: raw, Nonce: c.nonce, Time: at})
		if json.Valid(raw) && a.Status() != verdict.TierContraindicated && !harmless(c.raw, i) {
			t.Errorf("byte %d (%q): %s %v", i, c.raw[max(0, i-12):i+1], a.Status(), a.Reasons)
		}
		if !verdict.TierWarning.WorseThan(verdict.TierAffirming) || a.Status() == verdict.TierAffirming {
			t.Fatalf("byte %d: affirming", i)
		}
	}
}

// harmless holds for bytes that say nothing: blanks between members, the case of
// hexadecimal digits, and the number that tells versions 1 and 2 apart.
func harmless(raw []byte, i int) bool {
	return bytes.IndexByte([]byte(" \t\r\n"), raw[i]) >= 0 || bytes.HasSuffix(raw[:i], []byte(`"version": `))
}
