// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"testing"

	"github.com/google/go-sev-guest/verify/testdata"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/internal/vectors"
)

// field is a part of the report.
type field struct {
	name     string
	from, to int
	// fixed says that every report has the same bytes here.
	fixed bool
}

// layout covers the whole report.
var layout = []field{
	{"version", 0, 4, false},
	{"guest SVN", 4, offPolicy, false},
	{"policy", offPolicy, 0x10, false},
	{"family and image", 0x10, offVMPL, false},
	{"VMPL", offVMPL, offAlgorithm, false},
	{"algorithm", offAlgorithm, offCurrentTCB, true},
	{"current TCB", offCurrentTCB, offPlatform, false},
	{"platform", offPlatform, 0x48, false},
	{"signer", 0x48, 0x4c, true},
	{"reserved", 0x4c, offReportData, true},
	{"data to author key", offReportData, offReportID, false},
	{"report id", offReportID, offReportIDMA, false},
	{"migration agent", offReportIDMA, offReportedTCB, true},
	{"reported TCB", offReportedTCB, offCPUID, false},
	{"CPUID", offCPUID, 0x18b, false},
	{"reserved", 0x18b, offChipID, true},
	{"chip id", offChipID, offCommittedTCB, false},
	{"committed TCB", offCommittedTCB, offCurrent, false},
	{"versions", offCurrent, 0x1eb, false},
	{"reserved", 0x1eb, offCommitted, true},
	{"versions", offCommitted, 0x1ef, false},
	{"reserved", 0x1ef, offLaunchTCB, true},
	{"launch TCB", offLaunchTCB, offLaunchMit, false},
	{"mitigations", offLaunchMit, 0x208, false},
	{"reserved", 0x208, offSignature, true},
	{"R", offSignature, offSignature + 48, false},
	{"R padding", offSignature + 48, offSignature + 72, true},
	{"S", offSignature + 72, offSignature + 120, false},
	{"S padding", offSignature + 120, offSignature + 144, true},
	{"reserved", offSignature + 144, ReportSize, true},
}

func compare(t *testing.T, real, ours []byte) {
	t.Helper()
	if len(real) != ReportSize || len(ours) != ReportSize {
		t.Fatalf("sizes %d, %d", len(real), len(ours))
	}
	at := 0
	for _, f := range layout {
		if f.from != at {
			t.Fatalf("%s begins at %#x, not %#x", f.name, f.from, at)
		}
		at = f.to
		a, b := real[f.from:f.to], ours[f.from:f.to]
		if f.fixed && !bytes.Equal(a, b) {
			t.Errorf("%s at %#x: real %x, ours %x", f.name, f.from, a, b)
		}
	}
	if at != ReportSize {
		t.Fatalf("the layout ends at %#x", at)
	}
}

func report(t *testing.T, p Product) []byte {
	t.Helper()
	return evidenceOf(t, device(t, func(o *Options) { o.Product = p }))[:ReportSize]
}

func TestLayoutOfModuleData(t *testing.T) {
	compare(t, testdata.AttestationBytes, report(t, Milan))
	real, err := x509.ParseCertificate(testdata.VcekBytes)
	if err != nil {
		t.Fatal(err)
	}
	compareKey(t, real, device(t, func(o *Options) { o.Product = Milan }).vek)
}

func TestLayoutOfRecordedReports(t *testing.T) {
	for _, c := range []struct {
		file, key string
		product   Product
		version   byte
	}{
		{"snp/microsoft/milan_attestation_report.bin", "snp/microsoft/milan_vcek.pem", Milan, 3},
		{"snp/microsoft/turin_attestation_report.bin", "snp/microsoft/turin_vcek.pem", Turin, 5},
	} {
		t.Run(c.product.String(), func(t *testing.T) {
			real, ours := vectors.Read(t, c.file), report(t, c.product)
			compare(t, real, ours)
			if real[0] != c.version || ours[0] != c.version {
				t.Errorf("version: real %d, ours %d", real[0], ours[0])
			}
			if !bytes.Equal(real[offCPUID:0x18b], ours[offCPUID:0x18b]) {
				t.Errorf("CPUID: real %x, ours %x", real[offCPUID:0x18b], ours[offCPUID:0x18b])
			}
			if !bytes.Equal(real[offLaunchMit:0x208], ours[offLaunchMit:0x208]) {
				t.Errorf("mitigations: real %x, ours %x", real[offLaunchMit:0x208], ours[offLaunchMit:0x208])
			}
			if c.product == Turin && !bytes.Equal(real[offReportedTCB:offCPUID], ours[offReportedTCB:offCPUID]) {
				t.Errorf("TCB: real %x, ours %x", real[offReportedTCB:offCPUID], ours[offReportedTCB:offCPUID])
			}
			block, _ := pem.Decode(vectors.Read(t, c.key))
			key, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			sim := device(t, func(o *Options) { o.Product = c.product }).vek
			compareKey(t, key, sim)
			if !bytes.Equal(algorithm(t, key), algorithm(t, sim)) {
				t.Error("the signature algorithm is encoded otherwise")
			}
		})
	}
}

// compareKey wants the same names, algorithms and extensions in the same order.
func compareKey(t *testing.T, real, ours *x509.Certificate) {
	t.Helper()
	if !bytes.Equal(real.RawSubject, ours.RawSubject) || !bytes.Equal(real.RawIssuer, ours.RawIssuer) {
		t.Errorf("names: real %s of %s, ours %s of %s", real.Subject, real.Issuer, ours.Subject, ours.Issuer)
	}
	if real.SerialNumber.Cmp(ours.SerialNumber) != 0 || real.SignatureAlgorithm != ours.SignatureAlgorithm {
		t.Error("serial number or signature algorithm differ")
	}
	if len(real.Extensions) != len(ours.Extensions) {
		t.Fatalf("%d extensions, ours %d", len(real.Extensions), len(ours.Extensions))
	}
	for i, want := range real.Extensions {
		got := ours.Extensions[i]
		if !got.Id.Equal(want.Id) || got.Critical != want.Critical || len(got.Value) > len(want.Value)+1 || got.Value[0]>>6 != want.Value[0]>>6 && !want.Id.Equal(amdOID(4)) {
			t.Errorf("extension %d: real %v %x, ours %v %x", i, want.Id, want.Value, got.Id, got.Value)
		}
	}
	for _, arcs := range [][]int{{1}, {2}} {
		if !bytes.Equal(extension(real, arcs...), extension(ours, arcs...)) {
			t.Errorf("extension %v: real %x, ours %x", arcs, extension(real, arcs...), extension(ours, arcs...))
		}
	}
	if len(extension(real, 4)) != len(extension(ours, 4)) {
		t.Error("hardware ids have different sizes")
	}
}

func extension(c *x509.Certificate, arcs ...int) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(amdOID(arcs...)) {
			return e.Value
		}
	}
	return nil
}

// algorithm is the AlgorithmIdentifier beside the signature.
func algorithm(t *testing.T, c *x509.Certificate) []byte {
	t.Helper()
	var outer struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.Raw, &outer); err != nil {
		t.Fatal(err)
	}
	return outer.Algorithm.FullBytes
}

func TestLayoutOfRecordedTable(t *testing.T) {
	raw := vectors.Read(t, "snp/veraison-services/sevsnp-tsm-report.json")
	real, err := tsm.Decode(evidence.MediaType{Base: tsm.TypeJSON}, raw)
	if err != nil {
		t.Fatal(err)
	}
	d := device(t, func(o *Options) { o.PEM = true })
	compare(t, real.OutBlob, evidenceOf(t, d)[:ReportSize])
	const first = 4*sizeEntry + sizeEntry
	for i := range 4 {
		at := i * sizeEntry
		if !bytes.Equal(real.AuxBlob[at:at+16], d.table[at:at+16]) {
			t.Errorf("entry %d: real %x, ours %x", i, real.AuxBlob[at:at+16], d.table[at:at+16])
		}
	}
	if !bytes.Equal(real.AuxBlob[16:20], d.table[16:20]) || !bytes.Equal(real.AuxBlob[4*sizeEntry:first], d.table[4*sizeEntry:first]) {
		t.Error("the certificates begin elsewhere or are encoded otherwise")
	}
}

func TestAuthoritiesLikeRecorded(t *testing.T) {
	for _, p := range []Product{Milan, Turin} {
		d := device(t, func(o *Options) { o.Product = p })
		for role, ours := range map[string]*x509.Certificate{"ark": d.Root(), "ask": d.Issuer()} {
			name := "snp/microsoft/" + map[Product]string{Milan: "milan_", Turin: "turin_"}[p] + role + ".pem"
			block, _ := pem.Decode(vectors.Read(t, name))
			real, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(real.RawSubject, ours.RawSubject) || real.SerialNumber.Cmp(ours.SerialNumber) != 0 ||
				real.KeyUsage != ours.KeyUsage || real.MaxPathLen != ours.MaxPathLen || real.MaxPathLenZero != ours.MaxPathLenZero ||
				real.SignatureAlgorithm != ours.SignatureAlgorithm || real.CRLDistributionPoints[0] != ours.CRLDistributionPoints[0] {
				t.Errorf("%s: ours is of another form", name)
			}
		}
	}
}
