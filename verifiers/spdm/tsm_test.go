// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester/pki"
	attester "github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/spdm"
)

// assigned is a verified simulated device under TDISP.
func assigned(t testing.TB, set ...func(*attester.Options)) (*spdm.TSM, *spdm.Result) {
	t.Helper()
	o := attester.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, TSM: attester.TSMSEVTIO}
	for _, s := range set {
		s(&o)
	}
	d, err := attester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{0x42}, spdm.NonceSize)
	raw, err := d.Evidence(nonce)
	if err != nil {
		t.Fatal(err)
	}
	e, err := spdm.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	r, err := spdm.Verify(e, spdm.Expect{Anchors: []spdm.Anchor{{Certificate: d.Root(), Slots: 1 << o.Slot}}, Time: now, Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	return e.TSM, r
}

func tdx(o *attester.Options)      { o.TSM = attester.TSMTDX }
func swapped(o *attester.Options)  { o.ReportSwapped = true }
func unlocked(o *attester.Options) { o.Unlocked = true }

func sum(h crypto.Hash, parts ...[]byte) []byte {
	d := h.New()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

// vdevInfo is what an RMM says about the device of a result.
func vdevInfo(r *spdm.Result, hash byte, h crypto.Hash) []byte {
	out := make([]byte, 512)
	out[8], out[0x10], out[0x30], out[0x38] = r.Identity.Slot, hash, 0x10, 2
	for i, at := range []int{0x18, 0x20, 0x28} {
		binary.LittleEndian.PutUint64(out[at:], uint64(i+7))
	}
	key, err := r.Identity.Leaf.PublicKey.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		panic(err)
	}
	for at, raw := range map[int][]byte{
		0x40: r.Objects.VCA, 0x80: r.Objects.Chain, 0xC0: key, 0x100: r.Objects.Measurements, 0x140: r.Objects.Report,
	} {
		copy(out[at:], sum(h, raw))
	}
	return out
}

func realm(raw []byte) *spdm.TSM { return &spdm.TSM{Kind: spdm.TSMCCA, Raw: raw} }

// checks are the names of findings, with those that cost nothing left out.
func checks(list []spdm.TSMFinding) string {
	var out []string
	for _, f := range list {
		if f.Detail == "" {
			panic("a finding without words")
		}
		if f.Check != spdm.TSMPartial {
			out = append(out, string(f.Check))
		}
	}
	return strings.Join(out, " ")
}

// with changes bytes of TSM information.
func with(t *spdm.TSM, at int, b ...byte) *spdm.TSM {
	out := *t
	out.Raw = bytes.Clone(t.Raw)
	copy(out.Raw[at:], b)
	return &out
}

func said(t *spdm.TSM, state spdm.InterfaceState, flags spdm.LockFlags) *spdm.TSM {
	out := *t
	out.State, out.LockFlags = &state, &flags
	return &out
}

func unsaid(t *spdm.TSM) *spdm.TSM {
	out := *t
	out.State, out.LockFlags = nil, nil
	return &out
}

// TestCheckTSM: every check of each platform's structure against the objects of a
// verified device.
func TestCheckTSM(t *testing.T) {
	sev, r := assigned(t)
	sevSwapped, rSwapped := assigned(t, swapped)
	sevOpen, rOpen := assigned(t, unlocked)
	devinfo, rTDX := assigned(t, tdx)
	devOpen, rTDXOpen := assigned(t, tdx, unlocked)
	_, other := assigned(t, func(o *attester.Options) { o.Device = pki.NewSeed("other") })
	_, small := assigned(t, func(o *attester.Options) { o.Suite = attester.SuiteP256 })
	_, newer := assigned(t, func(o *attester.Options) { o.Version = attester.Version13 })
	_, tdxFirmware := assigned(t, tdx, func(o *attester.Options) { o.Measurement = true })
	_, lone := assigned(t, func(o *attester.Options) { o.TSM = "" })
	noTable := *r
	report := *r.Report
	report.Ranges = report.Ranges[:1]
	noTable.Report = &report
	cca := realm(vdevInfo(r, 0, crypto.SHA256))
	flags := func(s *spdm.TSM, f byte) *spdm.TSM { return said(with(s, 20, f), spdm.StateRun, spdm.LockFlags(f)) }
	for _, c := range []struct {
		name, want string
		t          *spdm.TSM
		r          *spdm.Result
	}{
		{"no TDISP", "", nil, lone},
		{"no TSM information", "tsm-absent", nil, r},
		{"unknown kind", "tsm-unknown-kind", &spdm.TSM{Kind: "tsm", Raw: []byte{1}}, r},

		{"SEV-TIO", "", sev, r},
		{"SEV-TIO, collector says nothing", "", unsaid(sev), r},
		{"SEV-TIO, swapped report", "tsm-report-mismatch", sevSwapped, rSwapped},
		{"SEV-TIO, unlocked", "tsm-unbound tsm-state", sevOpen, rOpen},
		{"SEV-TIO, invalid", "tsm-unbound", unsaid(with(sev, 8, 1)), r},
		{"SEV-TIO, status is no state", "tsm-contradiction tsm-state", said(sev, spdm.StateError, 7), r},
		{"SEV-TIO, unbound and running", "tsm-unbound tsm-contradiction", with(sev, 8, 2), r},
		{"SEV-TIO, digests not valid", "tsm-digests-not-valid", with(sev, 16, 2), r},
		{"SEV-TIO, digests not fresh", "tsm-digests-not-fresh", with(sev, 16, 1), r},
		{"SEV-TIO, not valid and another", "tsm-digests-not-valid", with(with(sev, 16, 2), 80, 1, 2, 3), r},
		{"SEV-TIO, other certificates", "tsm-certificates-mismatch", with(sev, 32, 1, 2, 3), r},
		{"SEV-TIO, other measurements", "tsm-measurements-mismatch", with(sev, 80, 1, 2, 3), r},
		{"SEV-TIO, other report", "tsm-report-mismatch", with(sev, 128, 1, 2, 3), r},
		{"SEV-TIO, other signature algorithm", "tsm-vca-mismatch", with(sev, 26, 1), r},
		{"SEV-TIO, other hash", "tsm-vca-mismatch", with(sev, 27, 0), r},
		{"SEV-TIO, another device", "tsm-certificates-mismatch tsm-measurements-mismatch tsm-report-mismatch", sev, other},
		{"SEV-TIO, firmware update allowed", "tsm-firmware-update", flags(sev, 6), r},
		{"SEV-TIO, MSI-X not locked", "tsm-msix-unlocked", flags(sev, 3), r},
		{"SEV-TIO, MSI-X not locked, none there", "", flags(sev, 3), &noTable},
		{"SEV-TIO, collector says less", "tsm-contradiction tsm-firmware-update tsm-msix-unlocked", said(sev, spdm.StateRun, 0), r},
		{"SEV-TIO, collector says more", "tsm-contradiction tsm-firmware-update", said(with(sev, 20, 6), spdm.StateRun, 7), r},
		{"SEV-TIO, reserved", "tsm-malformed", with(sev, 184, 1), r},

		{"CCA", "", said(cca, spdm.StateRun, 7), r},
		{"CCA, SHA-512", "", realm(vdevInfo(r, 1, crypto.SHA512)), r},
		{"CCA, SHA-384", "", realm(vdevInfo(r, 2, crypto.SHA384)), r},
		{"CCA, other negotiation", "tsm-vca-mismatch", with(cca, 0x40, 1, 2, 3), r},
		{"CCA, other certificates", "tsm-certificates-mismatch", with(cca, 0x80, 1, 2, 3), r},
		{"CCA, other measurements", "tsm-measurements-mismatch", with(cca, 0x100, 1, 2, 3), r},
		{"CCA, other report", "tsm-report-mismatch", with(cca, 0x140, 1, 2, 3), r},
		{"CCA, key of an unknown encoding", "", with(cca, 0xC0, 1, 2, 3), r},
		{"CCA, other key without certificates", "tsm-public-key-mismatch", with(with(cca, 0x80, make([]byte, 32)...), 0xC0, 1, 2, 3), r},
		{"CCA, no negotiation", "", with(cca, 0x40, make([]byte, 32)...), r},
		{"CCA, another slot", "tsm-certificates-mismatch", with(cca, 8, 1), r},
		{"CCA, another device", "tsm-certificates-mismatch tsm-measurements-mismatch tsm-report-mismatch", realm(vdevInfo(other, 0, crypto.SHA256)), r},
		{"CCA, another version", "tsm-vca-mismatch tsm-measurements-mismatch", realm(vdevInfo(newer, 0, crypto.SHA256)), r},
		{"CCA, unlocked", "tsm-state", with(cca, 0x38, 0), r},
		{"CCA, error", "tsm-state", with(cca, 0x38, 3), r},
		{"CCA, locked or not", "tsm-state-unknown", with(cca, 0x38, 1), r},
		{"CCA, locked", "", said(with(cca, 0x38, 1), spdm.StateLocked, 7), r},
		{"CCA, locked, and said to be not", "tsm-contradiction tsm-state", said(with(cca, 0x38, 1), spdm.StateUnlocked, 7), r},
		{"CCA, running, and said to be locked", "tsm-contradiction", said(cca, spdm.StateLocked, 7), r},
		{"CCA, never locked", "tsm-nonce", with(cca, 0x18, 0), r},
		{"CCA, measurements not read", "tsm-nonce", with(cca, 0x20, 0), r},
		{"CCA, report not read", "tsm-nonce", with(cca, 0x28, 0), r},
		{"CCA, firmware update allowed", "tsm-firmware-update", said(cca, spdm.StateRun, 6), r},

		{"TDX", "", devinfo, rTDX},
		{"TDX, state not told", "tsm-state-unknown", unsaid(devinfo), rTDX},
		{"TDX, unlocked", "tsm-state", devOpen, rTDXOpen},
		{"TDX, another device", "tsm-certificates-mismatch", devinfo, other},
		{"TDX, another suite", "tsm-vca-mismatch tsm-vca-mismatch tsm-certificates-mismatch tsm-malformed", devinfo, small},
		{"TDX, another version", "tsm-vca-mismatch", devinfo, newer},
		{"TDX, other firmware since", "tsm-measurements-mismatch", devinfo, tdxFirmware},
		{"TDX, no structure", "tsm-malformed", with(devinfo, 4, 5), rTDX},
	} {
		if got := checks(spdm.CheckTSM(c.t, c.r)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
			for _, f := range spdm.CheckTSM(c.t, c.r) {
				t.Log(f)
			}
		}
	}
}

// TestPartialTSM: what a structure leaves open is named.
func TestPartialTSM(t *testing.T) {
	sev, r := assigned(t)
	devinfo, rTDX := assigned(t, tdx)
	cca := realm(vdevInfo(r, 0, crypto.SHA256))
	zero := make([]byte, 64)
	for _, c := range []struct {
		name string
		t    *spdm.TSM
		r    *spdm.Result
		open []string
	}{
		{"SEV-TIO", sev, r, []string{"spdm-vca"}},
		{"SEV-TIO without report", with(sev, 128, zero[:48]...), r, []string{"spdm-vca", "tdisp-report"}},
		{"CCA", said(cca, spdm.StateRun, 7), r, nil},
		{"CCA as RMMs are", with(cca, 0x40, zero...), r, []string{"spdm-vca", "lock flags"}},
		{"CCA with a strange key", said(with(cca, 0xC0, 9), spdm.StateRun, 7), r, []string{"public key"}},
		{"TDX", devinfo, rTDX, []string{"tdisp-report"}},
	} {
		var detail string
		for _, f := range spdm.CheckTSM(c.t, c.r) {
			if f.Check == spdm.TSMPartial {
				detail = f.Detail
			}
		}
		if (detail == "") != (c.open == nil) || slices.ContainsFunc(c.open, func(o string) bool { return !strings.Contains(detail, o) }) {
			t.Errorf("%s: %q, want %q", c.name, detail, c.open)
		}
	}
}

// TestTSMObjectForms: security managers hash what their kernels hand them: a chain
// with or without its header, a response with or without request and negotiation.
func TestTSMObjectForms(t *testing.T) {
	_, r := assigned(t)
	chain, err := spdm.ParseChain(r.Objects.Chain, r.VCA)
	if err != nil {
		t.Fatal(err)
	}
	last := r.Segments[len(r.Segments)-1].Last()
	point, err := r.Identity.Leaf.PublicKey.(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		at   int
		form []byte
		good bool
	}{
		{"chain", 0x80, r.Objects.Chain, true},
		{"certificates", 0x80, bytes.Join(chain.DER, nil), true},
		{"leaf", 0x80, chain.DER[len(chain.DER)-1], false},
		{"response", 0x100, last.Response.Raw, true},
		{"exchange", 0x100, r.Objects.Measurements, true},
		{"L1 and signature", 0x100, bytes.Join([][]byte{r.Objects.VCA, r.Objects.Measurements}, nil), true},
		{"record", 0x100, last.Response.Record, false},
		{"SubjectPublicKeyInfo", 0xC0, r.Identity.SPKI, true},
		{"point", 0xC0, point, true},
		{"coordinates", 0xC0, point[1:], true},
		{"x", 0xC0, point[1 : len(point)/2+1], false},
	} {
		raw := vdevInfo(r, 0, crypto.SHA256)
		copy(raw[c.at:], sum(crypto.SHA256, c.form))
		if c.at == 0xC0 { // counts alone
			copy(raw[0x80:], make([]byte, 32))
		}
		if got := checks(spdm.CheckTSM(realm(raw), r)); (got == "") != c.good {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// TestBindingObjects: the digests that others may commit to are of exactly these
// bytes, and fit into facts.
func TestBindingObjects(t *testing.T) {
	tsm, r := assigned(t)
	hashes := map[string]crypto.Hash{verdict.AlgSHA256: crypto.SHA256, verdict.AlgSHA384: crypto.SHA384, verdict.AlgSHA512: crypto.SHA512}
	raw := map[string][]byte{
		verdict.ObjectCertificates: r.Objects.Chain, verdict.ObjectVCA: r.Objects.VCA, verdict.ObjectMeasurements: r.Objects.Measurements,
		verdict.ObjectPublicKey: r.Identity.SPKI, verdict.ObjectReport: r.Objects.Report, verdict.ObjectTSM: tsm.Raw,
	}
	list := r.BindingObjects(tsm)
	if len(list) != 18 || len(list) > verdict.MaxObjects {
		t.Fatalf("%d objects", len(list))
	}
	for _, o := range list {
		if want := fmt.Sprintf("%x", sum(hashes[o.Alg], raw[o.Name])); o.Digest != want || len(raw[o.Name]) == 0 {
			t.Errorf("%s by %s is %s", o.Name, o.Alg, o.Digest)
		}
	}
	bare := *r
	bare.Objects = spdm.Objects{VCA: r.Objects.VCA, Chain: r.Objects.Chain}
	if got := bare.BindingObjects(nil); len(got) != 9 {
		t.Errorf("%d objects", len(got))
	}
	d, err := attester.New(attester.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, TSM: attester.TSMSEVTIO})
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := d.Evidence(bytes.Repeat([]byte{0x42}, spdm.NonceSize))
	if err != nil {
		t.Fatal(err)
	}
	seen, err := d.Digests(evidence)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		verdict.ObjectCertificates: seen.Certificates, verdict.ObjectVCA: seen.VCA, verdict.ObjectReport: seen.Report,
	} {
		if !slices.ContainsFunc(list, func(o verdict.Object) bool {
			return o.Name == name && o.Alg == verdict.AlgSHA384 && o.Digest == fmt.Sprintf("%x", want)
		}) {
			t.Errorf("%s is not what the simulated security manager has", name)
		}
	}
}
