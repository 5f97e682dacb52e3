// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// shared is the one vendor of these tests: its keys are slow to derive.
var shared = sync.OnceValue(func() *Vendor { return NewVendor(pki.NewSeed("vendor"), now) })

func device(tb testing.TB, change func(*Options)) *Device {
	tb.Helper()
	o := Options{Vendor: shared(), Device: pki.NewSeed("device"), Now: now, Image: "test"}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func nonce() []byte { return pki.NewSeed("nonce").Bytes(ReportDataSize) }

func evidenceOf(tb testing.TB, d *Device) []byte {
	tb.Helper()
	raw, err := d.Evidence(nonce())
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// offline answers the address of the CRL from the endorsements.
type offline map[string][]byte

func (o offline) Get(url string) ([]byte, error) {
	if raw, ok := o[url]; ok {
		return raw, nil
	}
	return nil, errors.New("not here: " + url)
}

// library verifies with go-sev-guest against d's root. The certificates come
// from the evidence, roots and CRL from the endorsements.
func library(tb testing.TB, d *Device, raw []byte, revocation bool) (*spb.Attestation, error) {
	tb.Helper()
	attestation, err := abi.ReportCertsToProto(raw)
	if err != nil {
		tb.Fatal("parse:", err)
	}
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	line := d.product.String()
	prefix := "amd-snp-" + strings.ToLower(line)
	roots := trust.AMDRootCertsProduct(line)
	if err := roots.FromKDSCertBytes(files[prefix+"-cert-chain.pem"]); err != nil {
		tb.Fatal("KDS chain:", err)
	}
	return attestation, verify.SnpAttestation(attestation, &verify.Options{
		CheckRevocations: revocation, DisableCertFetching: true, Now: now,
		Getter:       offline{kds.CrlLinkByRole(line, "ASK"): files[prefix+"-crl.der"]},
		TrustedRoots: map[string][]*trust.AMDRootCerts{line: {roots}},
	})
}

func policyOf(d *Device) *validate.Options {
	vmpl, want := 0, lines[d.product].current
	return &validate.Options{
		GuestPolicy: abi.SnpPolicy{SMT: true}, ReportData: nonce(), VMPL: &vmpl, ChipID: d.ChipID(),
		Measurement:  d.Measurements()[0].Digest,
		MinimumTCB:   kds.TCBParts{BlSpl: want.BootLoader, TeeSpl: want.TEE, SnpSpl: want.SNP, UcodeSpl: want.Microcode},
		PlatformInfo: &abi.SnpPlatformInfo{SMTEnabled: true, ECCEnabled: true, AliasCheckComplete: true},
	}
}

func TestLibraryAcceptsHonest(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"genoa 3", nil},
		{"genoa 5", func(o *Options) { o.Version = 5 }},
		{"genoa 3 pem", func(o *Options) { o.PEM = true }},
		{"genoa 3 host data", func(o *Options) { o.HostData = bytes.Repeat([]byte{7}, 32) }},
		{"milan 3", func(o *Options) { o.Product = Milan }},
		{"milan 5", func(o *Options) { o.Product, o.Version = Milan, 5 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := device(t, c.change)
			raw := evidenceOf(t, d)
			for _, revocation := range []bool{false, true} {
				a, err := library(t, d, raw, revocation)
				if err != nil {
					t.Fatalf("revocation %t: %v", revocation, err)
				}
				if strings.HasSuffix(c.name, "pem") {
					continue // validate reads DER only
				}
				if err := validate.SnpAttestation(a, policyOf(d)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// The library cannot read the FMC level of Turin certificates, so chain and
// report are verified apart.
func TestTurinVerifies(t *testing.T) {
	d := device(t, func(o *Options) { o.Product = Turin })
	raw := evidenceOf(t, d)
	report, err := abi.ReportToProto(raw[:ReportSize])
	if err != nil {
		t.Fatal(err)
	}
	if report.Version != 5 || report.LaunchMitVector == 0 || report.ReportedTcb != 0x5100000004010101 {
		t.Errorf("version %d, mitigations %#x, TCB %#x", report.Version, report.LaunchMitVector, report.ReportedTcb)
	}
	if line := kds.ProductLineFromFms(report.Cpuid1EaxFms); line != "Turin" {
		t.Errorf("CPUID says %s", line)
	}
	if _, err := d.vek.Verify(chainOptions(d)); err != nil {
		t.Error(err)
	}
	if err := verify.SnpReportSignature(raw[:ReportSize], d.vek); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(d.chip[8:], make([]byte, 56)) || bytes.Equal(d.chip[:8], make([]byte, 8)) {
		t.Error("a Turin chip is named by its first 8 bytes")
	}
}

func TestTurinFaults(t *testing.T) {
	for _, c := range []struct {
		change        func(*Options)
		chain, report string
	}{
		{func(o *Options) { o.Expired = true }, "expired", ""},
		{func(o *Options) { o.WrongSigner = true }, "", "signature verification"},
		{func(o *Options) { o.OutdatedTCB, o.Debug, o.Measurement = true, true, true }, "", ""},
	} {
		d := device(t, func(o *Options) { o.Product = Turin; c.change(o) })
		_, err := d.vek.Verify(chainOptions(d))
		expect(t, "chain", err, c.chain)
		expect(t, "report", verify.SnpReportSignature(evidenceOf(t, d)[:ReportSize], d.vek), c.report)
	}
}

func chainOptions(d *Device) x509.VerifyOptions {
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(d.Root())
	middle.AddCert(d.Issuer())
	return x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
}

// Each fault is found at the place it names, and nowhere before.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name               string
		change             func(*Options)
		verified           string // error of verify, "" if it accepts
		checked, validated string // error with the CRL, error of the owner's policy
	}{
		{"wrong signer", func(o *Options) { o.WrongSigner = true }, "signature verification", "signature verification", ""},
		{"expired", func(o *Options) { o.Expired = true }, "expired", "expired", ""},
		{"revoked", func(o *Options) { o.Revoked = true }, "", "ASK was revoked", ""},
		{"debug", func(o *Options) { o.Debug = true }, "", "", "debug"},
		{"outdated", func(o *Options) { o.OutdatedTCB = true }, "", "", "TCB"},
		{"measurement", func(o *Options) { o.Measurement = true }, "", "", "MEASUREMENT"},
	} {
		for _, version := range []uint32{3, 5} {
			for _, product := range []Product{Genoa, Milan} {
				t.Run(c.name, func(t *testing.T) {
					d := device(t, func(o *Options) { o.Version, o.Product = version, product; c.change(o) })
					raw := evidenceOf(t, d)
					a, err := library(t, d, raw, false)
					expect(t, "verify", err, c.verified)
					_, err = library(t, d, raw, true)
					expect(t, "verify with CRL", err, c.checked)
					expect(t, "validate", validate.SnpAttestation(a, policyOf(d)), c.validated)
				})
			}
		}
	}
}

func expect(t *testing.T, step string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", step, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got %v, want %q", step, err, want)
	}
}

// A fault leaves the rest of the report as it was.
func TestFaultsChangeOneThing(t *testing.T) {
	honest := evidenceOf(t, device(t, nil))[:offSignature]
	for _, c := range []struct {
		name   string
		change func(*Options)
		where  [][2]int
	}{
		{"debug", func(o *Options) { o.Debug = true }, [][2]int{{offPolicy, offPolicy + 8}}},
		{"measurement", func(o *Options) { o.Measurement = true }, [][2]int{{offMeasurement, offHostData}}},
		{"outdated", func(o *Options) { o.OutdatedTCB = true }, [][2]int{
			{offCurrentTCB, offPlatform}, {offReportedTCB, offCPUID}, {offCommittedTCB, offCurrent}, {offLaunchTCB, offLaunchMit},
		}},
		{"expired", func(o *Options) { o.Expired = true }, nil},
		{"revoked", func(o *Options) { o.Revoked = true }, nil},
		{"wrong signer", func(o *Options) { o.WrongSigner = true }, nil},
	} {
		got := evidenceOf(t, device(t, c.change))[:offSignature]
		if len(c.where) > 0 && bytes.Equal(got, honest) {
			t.Errorf("%s: the report is the honest one", c.name)
		}
		for i := range got {
			inside := false
			for _, w := range c.where {
				inside = inside || i >= w[0] && i < w[1]
			}
			if !inside && got[i] != honest[i] {
				t.Errorf("%s: byte %#x differs", c.name, i)
			}
		}
	}
}

func TestSameOptionsSameBytes(t *testing.T) {
	again := shared()
	if !testing.Short() { // derives the keys a second time
		again = NewVendor(pki.NewSeed("vendor"), now)
	}
	one, two := device(t, nil), device(t, func(o *Options) { o.Vendor = again })
	if !bytes.Equal(evidenceOf(t, one), evidenceOf(t, two)) {
		t.Error("evidence differs")
	}
	if !bytes.Equal(one.crl, two.crl) {
		t.Error("revocation lists differ")
	}
	other := device(t, func(o *Options) { o.Device = pki.NewSeed("other") })
	if bytes.Equal(one.ChipID(), other.ChipID()) || one.vek.Equal(other.vek) {
		t.Error("two devices are one")
	}
	if !one.Root().Equal(other.Root()) || !bytes.Equal(one.Measurements()[0].Digest, other.Measurements()[0].Digest) {
		t.Error("two devices of one vendor and image have different roots or measurements")
	}
	faulty := device(t, func(o *Options) { o.Measurement, o.OutdatedTCB = true, true })
	for i, m := range faulty.Measurements() {
		if !bytes.Equal(m.Digest, one.Measurements()[i].Digest) || !bytes.Equal(m.Raw, one.Measurements()[i].Raw) {
			t.Errorf("%s: a fault changed the reference value", m.Name)
		}
	}
}

func TestTSMReport(t *testing.T) {
	d := device(t, nil)
	raw, err := d.TSMReport(nonce())
	if err != nil {
		t.Fatal(err)
	}
	r, err := tsm.Decode(evidence.MediaType{Base: tsm.TypeJSON}, raw)
	if err != nil {
		t.Fatal(err)
	}
	if r.Provider != "sev_guest" || !bytes.Equal(append(r.OutBlob, r.AuxBlob...), evidenceOf(t, d)) {
		t.Error("the report says something else than Evidence")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Options)
	}{
		{"without a vendor", func(o *Options) { o.Vendor = nil }},
		{"without a time", func(o *Options) { o.Now = time.Time{} }},
		{"unknown product", func(o *Options) { o.Product = products }},
		{"version 6", func(o *Options) { o.Version = 6 }},
		{"version 1", func(o *Options) { o.Version = 1 }},
		{"host data", func(o *Options) { o.HostData = []byte{1} }},
		{"privilege level", func(o *Options) { o.VMPL = 4 }},
		{"not valid at", func(o *Options) { o.Now = now.AddDate(30, 0, 0) }},
	} {
		o := Options{Vendor: shared(), Now: now}
		c.change(&o)
		_, err := New(o)
		expect(t, "New", err, c.want)
	}
	d := device(t, nil)
	for _, size := range []int{0, 32, 63, 65} {
		_, err := d.Evidence(make([]byte, size))
		expect(t, "Evidence", err, "report data")
		_, err = d.TSMReport(make([]byte, size))
		expect(t, "TSMReport", err, "report data")
	}
	if _, err := shared().Root(products); err == nil {
		t.Error("root of an unknown product line")
	}
}

func TestConcurrentUse(t *testing.T) {
	d := device(t, nil)
	want := evidenceOf(t, d)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := d.Evidence(nonce()); err != nil || !bytes.Equal(got, want) {
				t.Error("another answer at the same time:", err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkEvidence(b *testing.B) {
	d := device(b, nil)
	data := nonce()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Evidence(data); err != nil {
			b.Fatal(err)
		}
	}
}
