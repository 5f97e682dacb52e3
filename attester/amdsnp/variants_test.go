// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	"github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/assize/assize/internal/vectors"
)

const provider = "CN=cc-test.example.com"

func TestVLEK(t *testing.T) {
	d := device(t, func(o *Options) { o.Product, o.Provider = Milan, provider })
	raw := evidenceOf(t, d)
	a, err := abi.ReportCertsToProto(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !allZeros(a.Report.ChipId) || a.Report.SignerInfo>>2 != 1 || len(a.CertificateChain.VlekCert) == 0 || len(a.CertificateChain.VcekCert) != 0 {
		t.Errorf("signer info %#x, chip %x", a.Report.SignerInfo, a.Report.ChipId)
	}
	files, err := d.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	roots := trust.AMDRootCertsProduct("Milan")
	if err := roots.FromKDSCertBytes(files["amd-snp-milan-cert-chain.pem"]); err != nil {
		t.Fatal(err)
	}
	if err := verify.SnpAttestation(a, &verify.Options{
		DisableCertFetching: true, Now: now, TrustedRoots: map[string][]*trust.AMDRootCerts{"Milan": {roots}},
	}); err != nil {
		t.Error(err)
	}
	ext, err := kds.VlekCertificateExtensions(d.EndorsementKey())
	if err != nil || ext.CspID != provider || uint64(ext.TCBVersion) != a.Report.ReportedTcb {
		t.Errorf("%+v, %v", ext, err)
	}
	if files["amd-snp-milan-vlek.der"] == nil || files["amd-snp-milan-vcek.der"] != nil {
		t.Error("the file of the key is not named after its kind")
	}
	other := device(t, func(o *Options) { o.Product, o.Provider, o.Device = Milan, provider, o.Device.Sub("other") })
	if !bytes.Equal(other.EndorsementKey().RawSubjectPublicKeyInfo, d.EndorsementKey().RawSubjectPublicKeyInfo) {
		t.Error("chips of one provider have different VLEKs")
	}
}

// The recorded VLEK has the same extensions in the same order.
func TestVLEKLikeRecorded(t *testing.T) {
	real, err := x509.ParseCertificate(vectors.Read(t, "snp/trustee/test-vlek.der"))
	if err != nil {
		t.Fatal(err)
	}
	sim := device(t, func(o *Options) { o.Product, o.Provider = Milan, provider }).vek
	if len(real.Extensions) != len(sim.Extensions) || real.Subject.String() != sim.Subject.String() || real.Issuer.String() != sim.Issuer.String() {
		t.Fatalf("%d and %d extensions, %s and %s, %s and %s", len(real.Extensions), len(sim.Extensions), real.Subject, sim.Subject, real.Issuer, sim.Issuer)
	}
	for i, e := range real.Extensions {
		if !e.Id.Equal(sim.Extensions[i].Id) || e.Value[0] != sim.Extensions[i].Value[0] {
			t.Errorf("extension %d: %s %x, want %s %x", i, sim.Extensions[i].Id, sim.Extensions[i].Value, e.Id, e.Value)
		}
	}
	if life := sim.NotAfter.Sub(sim.NotBefore).Hours() / 24; life < 365 || life > 366 {
		t.Errorf("a VLEK lives %f days", life)
	}
}

func TestVariants(t *testing.T) {
	for version := uint32(2); version <= 5; version++ {
		d := device(t, func(o *Options) { o.Product, o.Version = Milan, version })
		raw := evidenceOf(t, d)
		if got := binary.LittleEndian.Uint32(raw); got != version {
			t.Errorf("version %d, want %d", got, version)
		}
		if cpuid := raw[offCPUID]; (cpuid != 0) != (version >= 3) {
			t.Errorf("version %d has family %#x", version, cpuid)
		}
		if _, err := library(t, d, raw, false); err != nil && version != 2 {
			t.Errorf("version %d: %v", version, err)
		}
	}
	hidden := device(t, func(o *Options) { o.MaskChip = true })
	if raw := evidenceOf(t, hidden); !allZeros(raw[offChipID:offChipID+sizeChipID]) || allZeros(hidden.ChipID()) {
		t.Error("CHIP_ID is not hidden, or the chip has none")
	}
	raw := evidenceOf(t, device(t, func(o *Options) { o.Provisional = true }))
	if raw[offCurrentTCB+7] != raw[offCommittedTCB+7]+1 || raw[offCurrent] != raw[offCommitted]+1 {
		t.Error("the firmware is not provisional")
	}
	edited := device(t, func(o *Options) { o.Edit = func(b []byte) { b[offPolicy+2] |= 1 << 4 } })
	raw = evidenceOf(t, edited)
	if raw[offPolicy+2]&(1<<4) == 0 {
		t.Error("the edit is not there")
	}
	if _, err := library(t, edited, raw, false); err != nil {
		t.Errorf("an edited report has no signature: %v", err)
	}
}

func allZeros(b []byte) bool { return strings.Trim(string(b), "\x00") == "" }
