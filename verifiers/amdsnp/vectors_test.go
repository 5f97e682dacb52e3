// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func at(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return t
}

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// tableOf makes a certificate table.
func tableOf(entries map[guid][]byte) []byte {
	order := []guid{guidARK, guidASK, guidVCEK, guidVLEK}
	n := 1
	for _, id := range order {
		if entries[id] != nil {
			n++
		}
	}
	head := make([]byte, n*entrySize)
	var body []byte
	i := 0
	for _, id := range order {
		blob := entries[id]
		if blob == nil {
			continue
		}
		e := head[i*entrySize:]
		copy(e, id[:])
		putU32(e[16:], uint32(len(head)+len(body)))
		putU32(e[20:], uint32(len(blob)))
		body = append(body, blob...)
		i++
	}
	return append(head, body...)
}

func putU32(b []byte, v uint32) {
	for i := range 4 {
		b[i] = byte(v >> (8 * i))
	}
}

// derOf is a file in PEM or DER.
func derOf(tb testing.TB, name string) []byte {
	tb.Helper()
	raw := vectors.Read(tb, name)
	if block, _ := pem.Decode(raw); block != nil {
		return block.Bytes
	}
	return raw
}

// anyBase64 decodes either alphabet, padded or not.
func anyBase64(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(s))
}

// azureReport takes the hardware report and the certificate out of recorded
// evidence of a paravisor.
func azureReport(tb testing.TB, name string) []byte {
	tb.Helper()
	var e struct {
		HCL    string          `json:"hcl_report"`
		Report json.RawMessage `json:"report"`
		VCEK   string          `json:"vcek"`
	}
	if err := json.Unmarshal(vectors.Read(tb, name), &e); err != nil {
		tb.Fatal(err)
	}
	var hcl []byte
	if e.Report != nil {
		var list []int
		if err := json.Unmarshal(e.Report, &list); err != nil {
			tb.Fatal(err)
		}
		for _, n := range list {
			hcl = append(hcl, byte(n))
		}
	} else {
		var err error
		if hcl, err = anyBase64(e.HCL); err != nil {
			tb.Fatal(err)
		}
	}
	var cert []byte
	if block, _ := pem.Decode([]byte(e.VCEK)); block != nil {
		cert = block.Bytes
	} else {
		var err error
		if cert, err = anyBase64(e.VCEK); err != nil {
			tb.Fatal(err)
		}
	}
	return append(append([]byte(nil), hcl[32:32+reportSize]...), tableOf(map[guid][]byte{guidVCEK: cert})...)
}

func withKey(tb testing.TB, report string, id guid, cert string) []byte {
	tb.Helper()
	return append(append([]byte(nil), vectors.Read(tb, report)...), tableOf(map[guid][]byte{id: derOf(tb, cert)})...)
}

func appraise(tb testing.TB, v *verifier, in verifiers.Input) verdict.Appraisal {
	tb.Helper()
	if in.MediaType.Base == "" {
		in.MediaType = evidence.MediaType{Base: typeReport}
	}
	a, err := v.Appraise(context.Background(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func codes(a verdict.Appraisal) []string {
	var out []string
	for _, r := range a.Reasons {
		out = append(out, r.Code)
	}
	return out
}

// recorded are all recorded reports, each with the certificate of its key.
func recorded(tb testing.TB) map[string]verifiers.Input {
	raw := evidence.MediaType{Base: typeReport}
	return map[string]verifiers.Input{
		"debug":     {MediaType: raw, Time: at("2026-07-01"), Evidence: withKey(tb, "snp/go-sev-guest/attestation.bin", guidVCEK, "snp/go-sev-guest/vcek.testcer")},
		"milan v3":  {MediaType: raw, Time: at("2026-07-01"), Evidence: withKey(tb, "snp/microsoft/milan_attestation_report.bin", guidVCEK, "snp/microsoft/milan_vcek.pem")},
		"turin v5":  {MediaType: raw, Time: at("2026-07-01"), Evidence: withKey(tb, "snp/microsoft/turin_attestation_report.bin", guidVCEK, "snp/microsoft/turin_vcek.pem")},
		"milan v2":  {MediaType: raw, Time: at("2026-07-01"), Evidence: withKey(tb, "snp/trustee/test-report.bin", guidVCEK, "snp/trustee/test-vcek.der")},
		"vlek":      {MediaType: raw, Time: at("2025-06-01"), Evidence: withKey(tb, "snp/trustee/test-vlek-report.bin", guidVLEK, "snp/trustee/test-vlek.der")},
		"genoa tsm": {MediaType: evidence.MediaType{Base: tsm.TypeJSON}, Time: at("2026-07-01"), Evidence: vectors.Read(tb, "snp/veraison-services/sevsnp-tsm-report.json")},
		"genoa tsm cbor": {
			MediaType: evidence.MediaType{Base: tsm.TypeCBOR}, Time: at("2026-07-01"), Evidence: vectors.Read(tb, "snp/veraison-services/sevsnp-tsm-report.cbor"),
		},
		"azure v0": {MediaType: raw, Time: at("2026-07-01"), Evidence: azureReport(tb, "vtpm/trustee/az-snp-vtpm/evidence-v0.json")},
		"azure v1": {MediaType: raw, Time: at("2026-07-01"), Evidence: azureReport(tb, "vtpm/trustee/az-snp-vtpm/evidence-v1.json")},
		"azure v2": {MediaType: raw, Time: at("2026-07-01"), Evidence: azureReport(tb, "vtpm/trustee/az-snp-vtpm/evidence-v2.json")},
	}
}

// Every recorded report has exactly this verdict.
func TestRecordedReports(t *testing.T) {
	const (
		nonce = verdict.ReasonNonceNotEstablished
		noRef = verdict.ReasonNoReferenceValues
		old   = verdict.ReasonTCBOutOfDate
		conf  = verdict.ReasonConfiguration
		prov  = verdict.ReasonTCBConfiguration
	)
	type want struct {
		tier             verdict.Tier
		hardware, config verdict.Claim
		opaque, identity verdict.Claim
		codes            []string
	}
	wants := map[string]want{
		"debug":    {verdict.TierContraindicated, 32, 96, 96, 2, []string{nonce, old, verdict.ReasonDebug, conf, noRef}},
		"milan v3": {verdict.TierWarning, 2, 36, 2, 2, []string{nonce, noRef, noRef}},
		"turin v5": {verdict.TierWarning, 2, 36, 2, 2, []string{nonce, noRef, noRef}},
		// COMMITTED_TCB below CURRENT_TCB, and no word about aliases.
		"milan v2": {verdict.TierWarning, 32, 32, 2, 2, []string{nonce, old, prov, conf, noRef}},
		// From VMPL 1, by a key of the provider.
		"vlek":           {verdict.TierContraindicated, 32, 96, 2, 97, []string{nonce, old, prov, conf, noRef}},
		"genoa tsm":      {verdict.TierWarning, 2, 2, 2, 2, []string{nonce, noRef}},
		"genoa tsm cbor": {verdict.TierWarning, 2, 2, 2, 2, []string{nonce, noRef}},
		"azure v0":       {verdict.TierWarning, 2, 2, 2, 2, []string{nonce, noRef}},
		"azure v1":       {verdict.TierWarning, 2, 2, 2, 2, []string{nonce, noRef}},
		"azure v2":       {verdict.TierWarning, 2, 2, 2, 2, []string{nonce, noRef}},
	}
	v := newTest(t, verifiers.Deps{})
	for name, in := range recorded(t) {
		w, ok := wants[name]
		if !ok {
			t.Fatalf("%s is in no row", name)
		}
		for range 2 { // the second time with the chain in the cache
			a := appraise(t, v, in)
			got := want{a.Status(), a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], a.Vector[verdict.RuntimeOpaque], a.Vector[verdict.InstanceIdentity], codes(a)}
			if !reflect.DeepEqual(got, w) || a.Vector[verdict.Executables] != 33 || a.Freshness != verdict.FreshnessNotEstablished {
				t.Errorf("%s: %+v\nwant %+v\n%v", name, got, w, a.Reasons)
			}
			if name == "vlek" != (a.Facts.Device == nil) {
				t.Errorf("%s: device %v", name, a.Facts.Device)
			}
		}
		fresh := in
		fresh.Nonce = reportDataOf(t, in)
		a := appraise(t, v, fresh)
		if a.Freshness != verdict.FreshnessFresh || a.Facts.ReportData == "" || !reflect.DeepEqual(codes(a), w.codes[1:]) {
			t.Errorf("%s: with its own nonce %s %v", name, a.Freshness, codes(a))
		}
		early, late := in, in
		early.Time, late.Time = at("2019-01-01"), at("2051-01-01")
		for _, in := range []verifiers.Input{early, late} {
			expectRejected(t, name, appraise(t, v, in), verdict.ReasonExpired)
		}
	}
	if v.keys.Len() != 8 {
		t.Errorf("%d keys are kept, expected one per platform, and for Azure v0 and v1 the same", v.keys.Len())
	}
}

// What the recorded Genoa report says, by name.
func TestRecordedFacts(t *testing.T) {
	in := recorded(t)["genoa tsm"]
	in.Nonce = bytes.Repeat([]byte("MIDBNH28iioisjPyxxxxxxxxxxxxxxxx"), 2)
	a := appraise(t, newTest(t, verifiers.Deps{}), in)
	if a.Freshness != verdict.FreshnessFresh {
		t.Errorf("freshness %s", a.Freshness)
	}
	if len(a.Facts.Device) != 1 || !strings.HasPrefix(a.Facts.Device[0], "amd-chip:7b1584c94c7a4261") || len(a.Facts.Device[0]) != 9+128 {
		t.Errorf("device %v", a.Facts.Device)
	}
	if !strings.HasPrefix(a.Facts.Registers["measurement"], "7699e6ac12ccdfd1") || len(a.Facts.SignerSPKI) != 64 || len(a.Facts.Environments) != 2 {
		t.Errorf("%+v", a.Facts)
	}
	tcb := a.Claims["tcb"].(map[string]any)["reported"].(map[string]any)
	if tcb["snp"] != 23 || tcb["microcode"] != 84 || tcb["boot_loader"] != 10 || a.Claims["product"] != "Genoa" {
		t.Errorf("%v %v", tcb, a.Claims["product"])
	}
	turin := appraise(t, newTest(t, verifiers.Deps{}), recorded(t)["turin v5"])
	tcb = turin.Claims["tcb"].(map[string]any)["reported"].(map[string]any)
	if tcb["fmc"] != 1 || tcb["snp"] != 4 || tcb["microcode"] != 81 || turin.Facts.Device[0] != "amd-chip:59790fb1c39f35c1" {
		t.Errorf("%v %v", tcb, turin.Facts.Device)
	}
	if set := turin.Claims["platform_info"].(map[string]any)["set"]; !slices.Contains(set.([]any), any("bit 6")) {
		t.Errorf("a platform bit that nobody knows is not named: %v", set)
	}
	vlek := appraise(t, newTest(t, verifiers.Deps{}), recorded(t)["vlek"])
	if id := vlek.Claims["vek"].(map[string]any)["csp_id"]; id != "CN=cc-us-east-2.amazonaws.com" {
		t.Errorf("provider %v", id)
	}
}

// Altered endorsement keys are refused.
func TestRecordedForgeries(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	for _, c := range []struct{ cert, code string }{
		{"test-vcek-invalid-legacy.der", verdict.ReasonChainInvalid}, {"test-vcek-invalid-new.der", verdict.ReasonChainInvalid},
	} {
		in := verifiers.Input{Time: at("2026-07-01"), Evidence: withKey(t, "snp/trustee/test-report.bin", guidVCEK, "snp/trustee/"+c.cert)}
		expectRejected(t, c.cert, appraise(t, v, in), c.code)
	}
	if v.keys.Len() != 0 {
		t.Error("a forged key is kept")
	}
}

func expectRejected(t *testing.T, name string, a verdict.Appraisal, code string) {
	t.Helper()
	if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || len(a.Reasons) != 1 || a.Reasons[0].Code != code || a.Claims != nil || a.Facts.SignerSPKI != "" || a.Facts.Device != nil {
		t.Errorf("%s: %v %v, want 99 everywhere and %s", name, a.Vector, a.Reasons, code)
	}
}

// reportDataOf reads REPORT_DATA out of evidence.
func reportDataOf(tb testing.TB, in verifiers.Input) []byte {
	tb.Helper()
	l, f := open(in.MediaType, in.Evidence)
	if f != nil {
		tb.Fatal(f)
	}
	return bytes.Clone(l.report[0x50:0x90])
}
