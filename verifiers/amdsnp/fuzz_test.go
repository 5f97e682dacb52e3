// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-sev-guest/verify/testdata"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// seeds are evidence made here, of the module's test data, and recorded if there
// is any.
func seeds(f *testing.F) [][]byte {
	out := [][]byte{
		newMachine().evidence(), newMachine(turin).evidence(), newMachine(vlek).evidence(), {},
		append(append([]byte(nil), testdata.AttestationBytes...), tableOf(map[guid][]byte{guidVCEK: testdata.VcekBytes})...),
	}
	dir := os.Getenv("ASSIZE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "evidence")
	}
	for _, name := range []string{"snp/microsoft/turin_attestation_report.bin", "snp/trustee/test-vlek-report.bin", "snp/veraison-services/sevsnp-tsm-report.json"} {
		if raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			out = append(out, raw)
		}
	}
	return out
}

func FuzzAppraise(f *testing.F) {
	for _, raw := range seeds(f) {
		f.Add(raw, byte(0))
		f.Add(raw, byte(1))
	}
	v := newTest(f, deps(nil))
	f.Fuzz(func(t *testing.T, raw []byte, kind byte) {
		mt := evidence.MediaType{Base: []string{typeReport, tsm.TypeJSON, tsm.TypeCBOR}[kind%3]}
		a, err := v.Appraise(context.Background(), verifiers.Input{MediaType: mt, Evidence: raw, Time: now})
		if err != nil {
			t.Fatal(err)
		}
		if a.Status() == verdict.TierAffirming || len(a.Reasons) == 0 {
			t.Fatalf("%s %v", a.Status(), a.Reasons)
		}
		for _, r := range a.Reasons {
			if r.Code == verdict.ReasonMalformed && len(r.Detail) > 27 && r.Detail[:27] == "evidence made a parser pani" {
				t.Fatal(r.Detail)
			}
		}
		needs(mt, raw)
	})
}

func FuzzReport(f *testing.F) {
	for _, raw := range seeds(f) {
		if len(raw) >= reportSize {
			f.Add(raw[:reportSize])
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := parseReport(raw)
		if err != nil {
			return
		}
		if len(r.raw) != reportSize || r.version < minVersion || r.version > maxVersion || r.vmpl() > maxVMPL {
			t.Fatal("out of range")
		}
		items(r)
		r.signedBy(&keyOfTests().PublicKey)
	})
}

func FuzzTable(f *testing.F) {
	for _, raw := range seeds(f) {
		if len(raw) > reportSize {
			f.Add(raw[reportSize:])
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseTable(raw)
		if err != nil {
			return
		}
		for _, der := range [][]byte{c.vcek, c.vlek, c.ask, c.ark} {
			if len(der) > maxCertificate {
				t.Fatal("a certificate is too long")
			}
		}
	})
}

func FuzzKeyCertificate(f *testing.F) {
	f.Add(newMachine().vek())
	f.Add(newMachine(turin).vek())
	f.Add(newMachine(vlek).vek())
	f.Add(testdata.VcekBytes)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, kind := range []keyKind{kindVCEK, kindVLEK} {
			k, fail := parseVEK(raw, kind)
			if fail == nil && (k.product == productUnknown || kind == kindVCEK && len(k.hwid) == 0 || kind == kindVLEK && k.cspID == "") {
				t.Fatalf("%+v", k.identity)
			}
		}
		if c, err := x509.ParseCertificate(raw); err == nil {
			rs := &roots{}
			if _, err := rs.authorityOf(c); err == nil {
				t.Fatal("an authority without a root")
			}
		}
	})
}
