// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// rootAt is the position of the root in a chain.
const rootAt = 4

// pinnedRoot is the SHA-256 of the certificate "NVIDIA Device Identity CA".
const pinnedRoot = "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"

func hexSum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func newTest(tb testing.TB, d verifiers.Deps) verifiers.Verifier {
	tb.Helper()
	v, err := Scheme().New(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func appraise(tb testing.TB, v verifiers.Verifier, raw, nonce []byte, t time.Time) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Nonce: nonce, Time: t,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func (f *fake) appraise() verdict.Appraisal {
	f.TB.Helper()
	raw := f.Leaf()
	return appraise(f.TB, newTest(f.TB, f.roots()), raw, f.Nonce, at)
}

func codes(a verdict.Appraisal) []string {
	var out []string
	for _, r := range a.Reasons {
		out = append(out, r.Code)
	}
	return out
}

// wantGood checks everything about an appraisal without any fault.
func wantGood(tb testing.TB, a verdict.Appraisal, nonce []byte) {
	tb.Helper()
	var want verdict.Vector
	want[verdict.Hardware], want[verdict.Configuration], want[verdict.Executables] = 32, 36, 33
	if a.Vector != want || a.Status() != verdict.TierWarning || a.Freshness != verdict.FreshnessFresh || !bytes.Equal(a.NonceSeen, nonce) {
		tb.Fatalf("vector %v, status %v, freshness %s, reasons %v", a.Vector, a.Status(), a.Freshness, a.Reasons)
	}
	if got := codes(a); !reflect.DeepEqual(got, []string{"no-collateral", "no-reference-values", "no-reference-values"}) {
		tb.Fatalf("reasons %v", a.Reasons)
	}
	if len(a.Facts.Device) != 2 || a.Facts.ReportData != hex.EncodeToString(nonce) || len(a.Facts.SignerSPKI) != 64 {
		tb.Fatalf("facts %+v", a.Facts)
	}
}

// wantRefused checks that nothing of the evidence got out.
func wantRefused(tb testing.TB, a verdict.Appraisal, code string) {
	tb.Helper()
	if a.Status() != verdict.TierContraindicated || len(a.Reasons) != 1 || a.Reasons[0].Code != code || a.Reasons[0].Detail == "" {
		tb.Fatalf("status %v, reasons %v, expected %s", a.Status(), a.Reasons, code)
	}
	if !reflect.DeepEqual(a.Facts, verdict.Facts{}) || a.NonceSeen != nil {
		tb.Fatalf("facts %+v and nonce %x of refused evidence", a.Facts, a.NonceSeen)
	}
}

func TestFakeIsGood(t *testing.T) {
	f := newFake(t)
	a := f.appraise()
	wantGood(t, a, f.Nonce)
	if want := []string{"nvidia-ueid:1000", "nvidia-pdi:ffeeb20009e0be49"}; !reflect.DeepEqual(a.Facts.Device, want) {
		t.Errorf("device %v", a.Facts.Device)
	}
	if m := a.Claims["measurements"].(map[string]any); len(m) != 3 || m["1"] != strings.Repeat("01", 48) {
		t.Errorf("measurements %v", m)
	}
	if a.Claims["feature-flag"] != "spt" || a.Claims["protected-pcie"] != "off" || len(a.Claims["revocation"].([]any)) != 3 ||
		a.Claims["revocation"].([]any)[0].(map[string]any)["status"] != "missing" {
		t.Errorf("claims %v", a.Claims)
	}
	for _, e := range []struct {
		chip, engine string
		prefix       byte
	}{{"GB100", "GSP", 0x41}, {"GB100", "FSP", 0x40}} {
		b := newFakeOf(t, "BLACKWELL", e.chip, e.engine, e.prefix)
		b.Ext = nvidiatest.TCBInfo(0x80000001)
		a = b.appraise()
		wantGood(t, a, b.Nonce)
		if a.Claims["dice-flags"] != "80000001" {
			t.Errorf("flags %v", a.Claims["dice-flags"])
		}
	}
}

func TestExtraRootOnlyWhenGiven(t *testing.T) {
	f := newFake(t)
	raw := f.Leaf()
	wantRefused(t, appraise(t, newTest(t, verifiers.Deps{}), raw, f.Nonce, at), verdict.ReasonUnknownRoot)
	other := verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"nvidia-nvswitch": {f.Certs[rootAt]}}}
	a := appraise(t, newTest(t, other), raw, f.Nonce, at)
	wantRefused(t, a, verdict.ReasonUnknownRoot)
	if a.Vector[verdict.Hardware] != verdict.ClaimUnknownDevice {
		t.Errorf("vector %v", a.Vector)
	}
	for _, bad := range []*x509.Certificate{nil, f.Certs[0]} {
		if _, err := Scheme().New(verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {bad}}}); !errors.Is(err, verifiers.ErrMalfunction) {
			t.Errorf("extra root %v: %v", bad, err)
		}
	}
}

// Two roots with one subject: only the key and the certificate tell them apart.
func TestSameSubjectOtherRootKey(t *testing.T) {
	good, bad := newFake(t), newFake(t)
	raw, deps := bad.Leaf(), verifiers.Deps{}
	good.Build()
	deps = good.roots()
	wantRefused(t, appraise(t, newTest(t, deps), raw, bad.Nonce, at), verdict.ReasonUnknownRoot)
	// The bad chain below, the good root presented.
	mixed := append(slices.Clone(bad.Certs[:rootAt]), good.Certs[rootAt])
	wantRefused(t, appraise(t, newTest(t, deps), bad.Wrap(mixed, bad.Report()), bad.Nonce, at), verdict.ReasonChainInvalid)
}

func TestChainFaults(t *testing.T) {
	for _, c := range []struct {
		name, code string
		hardware   verdict.Claim
		change     func(f *fake)
	}{
		{"expired leaf", "expired", 99, func(f *fake) { f.Templates[0].NotAfter = at.Add(-time.Second) }},
		{"expired root", "expired", 99, func(f *fake) { f.Templates[4].NotAfter = at.Add(-time.Second) }},
		{"provisioner not yet valid", "expired", 99, func(f *fake) { f.Templates[2].NotBefore = at.Add(time.Second) }},
		{"leaf may not sign", "chain-invalid", 99, func(f *fake) { f.Templates[0].KeyUsage = x509.KeyUsageKeyAgreement }},
		{"leaf may do more", "chain-invalid", 99, func(f *fake) { f.Templates[0].KeyUsage |= x509.KeyUsageKeyAgreement }},
		{"leaf is a CA", "chain-invalid", 99, func(f *fake) { f.Templates[0].IsCA = true }},
		{"device is no CA", "chain-invalid", 99, func(f *fake) { f.Templates[1].IsCA = false }},
		{"device may not issue", "chain-invalid", 99, func(f *fake) { f.Templates[1].KeyUsage = x509.KeyUsageDigitalSignature }},
		{"path too long across the halves", "chain-invalid", 99, func(f *fake) { f.Templates[3].MaxPathLen = 1 }},
		{"path length zero", "chain-invalid", 99, func(f *fake) { f.Templates[2].MaxPathLenZero = true }},
		{"name constraints", "chain-invalid", 99, func(f *fake) { f.Templates[3].PermittedDNSDomains = []string{"example.com"} }},
		{"P-256 leaf", "chain-invalid", 99, func(f *fake) { f.Keys[0] = f.Key(elliptic.P256()) }},
		{"SHA-512 signature", "chain-invalid", 99, func(f *fake) { f.Templates[0].SignatureAlgorithm = x509.ECDSAWithSHA512 }},
		{"two FWID extensions", "chain-invalid", 99, func(f *fake) {
			f.Templates[0].ExtraExtensions = []pkix.Extension{nvidiatest.TCBInfo(0)(f.Device)}
		}},
		{"no FWID extension", "chain-invalid", 99, func(f *fake) {
			f.Ext = func(*nvidiatest.Device) pkix.Extension {
				return pkix.Extension{Id: []int{1, 2, 3}, Value: []byte{5, 0}}
			}
		}},
		{"FWID extension for another device key", "chain-invalid", 99, func(f *fake) {
			f.Ext = func(f *nvidiatest.Device) pkix.Extension {
				g := *f
				g.Keys[1] = f.Key(elliptic.P384())
				return nvidiatest.CompositeDevice(&g)
			}
		}},
		{"bytes behind the FWID extension", "chain-invalid", 99, func(f *fake) {
			f.Ext = func(f *nvidiatest.Device) pkix.Extension {
				e := nvidiatest.CompositeDevice(f)
				e.Value = append(e.Value, 0)
				return e
			}
		}},
		{"leaf of another chip", "identity-mismatch", 97, func(f *fake) { f.Templates[0].Subject.CommonName = "GB100 A01 GSP FMC LF" }},
		{"leaf of another stepping", "identity-mismatch", 97, func(f *fake) { f.Templates[0].Subject.CommonName = "GH100 A02 GSP FMC LF" }},
		{"provisioner of another chip", "identity-mismatch", 97, func(f *fake) { f.Templates[2].Subject.CommonName = "NVIDIA GB100 Provisioner ICA 1" }},
		{"other names", "identity-mismatch", 97, func(f *fake) { f.Templates[0].Subject.CommonName = "example" }},
		{"serial number not the subject's", "identity-mismatch", 97, func(f *fake) { f.Templates[1].SerialNumber = big.NewInt(4711) }},
		{"subject serial number empty", "identity-mismatch", 97, func(f *fake) { f.Templates[1].Subject.SerialNumber = "" }},
		{"prefix of another engine", "identity-mismatch", 97, func(f *fake) {
			s := append([]byte{0x40}, fakePDI...)
			f.Templates[1].Subject.SerialNumber, f.Templates[1].SerialNumber = hex.EncodeToString(s), new(big.Int).SetBytes(s)
		}},
		{"arch of another chip", "identity-mismatch", 97, func(f *fake) { f.Arch = "BLACKWELL" }},
		{"arch unknown", "unsupported-evidence", 97, func(f *fake) { f.Arch = "VOLTA" }},
		{"arch of a switch", "unsupported-evidence", 97, func(f *fake) { f.Arch = "LS10" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			c.change(f)
			a := f.appraise()
			wantRefused(t, a, c.code)
			if a.Vector[verdict.Hardware] != c.hardware {
				t.Errorf("hardware %d", a.Vector[verdict.Hardware])
			}
		})
	}
}

func TestSwitchBehindGPUName(t *testing.T) {
	f := newFakeOf(t, "HOPPER", "LS_10", "FSP", 0x40)
	wantRefused(t, f.appraise(), verdict.ReasonIdentityMismatch)
}

func TestChainOrderAndReplacement(t *testing.T) {
	f, g := newFake(t), newFake(t)
	f.Build()
	g.Build()
	v := newTest(t, f.roots())
	r := f.Report()
	for _, c := range []struct {
		name  string
		certs []*x509.Certificate
		code  string
	}{
		{"two swapped", []*x509.Certificate{f.Certs[0], f.Certs[2], f.Certs[1], f.Certs[3], f.Certs[4]}, "chain-invalid"},
		{"reversed", []*x509.Certificate{f.Certs[4], f.Certs[3], f.Certs[2], f.Certs[1], f.Certs[0]}, "unknown-root"},
		{"leaf twice", []*x509.Certificate{f.Certs[0], f.Certs[0], f.Certs[2], f.Certs[3], f.Certs[4]}, "chain-invalid"},
		{"leaf of another device", []*x509.Certificate{g.Certs[0], f.Certs[1], f.Certs[2], f.Certs[3], f.Certs[4]}, "chain-invalid"},
		{"device of another device", []*x509.Certificate{g.Certs[0], g.Certs[1], f.Certs[2], f.Certs[3], f.Certs[4]}, "chain-invalid"},
		{"no root", f.Certs[:4], "chain-invalid"},
		{"no leaf", f.Certs[1:], "chain-invalid"},
		{"none", nil, "chain-invalid"},
		{"root twice", append(slices.Clone(f.Certs[:]), f.Certs[4]), "malformed-evidence"},
	} {
		wantRefused(t, appraise(t, v, f.Wrap(c.certs, r), f.Nonce, at), c.code)
	}
	wantGood(t, appraise(t, v, f.Wrap(f.Certs[:], r), f.Nonce, at), f.Nonce)
	// With a warm cache the chain of the good one does not vouch for others.
	for range 2 {
		wantRefused(t, appraise(t, v, f.Wrap(append([]*x509.Certificate{g.Certs[0]}, f.Certs[1:]...), r), f.Nonce, at), "chain-invalid")
		wantRefused(t, appraise(t, v, f.Wrap(f.Certs[:], g.Report()), f.Nonce, at), "signature-invalid")
		wantRefused(t, appraise(t, v, f.Wrap(f.Certs[:], r), f.Nonce, at.AddDate(2, 0, 0)), "expired")
	}
}

// The leaf signature alone must fail the chain even when all names fit.
func TestForgedLeafWithCachedLinks(t *testing.T) {
	f := newFake(t)
	f.Build()
	v := newTest(t, f.roots())
	wantGood(t, appraise(t, v, f.Leaf(), f.Nonce, at), f.Nonce)
	forged := *f.Device
	forged.Keys[0] = f.Key(elliptic.P384())
	issuer, double := f.Key(elliptic.P384()), *f.Certs[1]
	double.PublicKey = &issuer.PublicKey // all names and ids of certificate 1, another key
	forged.Certs[0] = f.Issue(f.Templates[0], &double, &forged.Keys[0].PublicKey, issuer)
	wantRefused(t, appraise(t, v, forged.Leaf(), f.Nonce, at), verdict.ReasonChainInvalid)
	wantRefused(t, appraise(t, v, forged.Leaf(), f.Nonce, at), verdict.ReasonChainInvalid) // failures are not remembered
}

func TestReportVerdicts(t *testing.T) {
	field := func(typ uint16, v []byte) func(*fake) {
		return func(f *fake) {
			for i := range f.Fields {
				if f.Fields[i].Type == typ {
					f.Fields[i].Value = v
					return
				}
			}
			f.Fields = append(f.Fields, nvidiatest.Field{Type: typ, Value: v})
		}
	}
	without := func(f *fake, typ uint16) {
		f.Fields = slices.DeleteFunc(f.Fields, func(x nvidiatest.Field) bool { return x.Type == typ })
	}
	for _, c := range []struct {
		name   string
		change func(f *fake)
		code   string // an additional reason, "" for none
		tier   verdict.Tier
		check  func(a verdict.Appraisal) bool
	}{
		{"other FWID", func(f *fake) { field(nvidia.OpaqueFWID, make([]byte, 48))(f) }, "identity-mismatch", verdict.TierContraindicated,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Hardware] == 96 }},
		{"no FWID, new driver", func(f *fake) { without(f, nvidia.OpaqueFWID) }, "claim-not-asserted", verdict.TierWarning,
			func(a verdict.Appraisal) bool {
				return a.Claims["fwid"] == "absent" && a.Vector[verdict.Hardware] == 32
			}},
		{"no FWID, old driver", func(f *fake) { without(f, nvidia.OpaqueFWID); field(nvidia.OpaqueDriver, []byte("545.00\x00"))(f) }, "", verdict.TierWarning,
			func(a verdict.Appraisal) bool {
				_, said := a.Claims[gpuClaim+"attestation-report-cert-chain-fwid-match"]
				return a.Claims["fwid"] == "absent" && !said
			}},
		{"no opaque data", func(f *fake) { f.Fields = nil }, "claim-not-asserted", verdict.TierWarning, nil},
		{"unknown opaque type", field(77, []byte{1}), "", verdict.TierWarning,
			func(a verdict.Appraisal) bool { return reflect.DeepEqual(a.Claims["opaque-unknown"], []any{77}) }},
		{"newer opaque version", func(f *fake) { field(nvidia.OpaqueVersion, []byte{2, 0})(f); field(nvidia.OpaquePDI, pdis(5))(f) }, "configuration", verdict.TierContraindicated,
			func(a verdict.Appraisal) bool { return a.Facts.Peers == nil && a.Claims["feature-flag"] == nil }},
		{"padded", func(f *fake) { f.Trail = make([]byte, 3) }, "", verdict.TierWarning,
			func(a verdict.Appraisal) bool { return a.Claims["padded"] == 3 }},
		{"position of a switch", field(nvidia.OpaquePosition, []byte{1, 0}), "identity-mismatch", verdict.TierContraindicated,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Hardware] == 97 }},
		{"list of GPUs of a switch", field(nvidia.OpaqueGPUs, make([]byte, 128)), "identity-mismatch", verdict.TierContraindicated,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Hardware] == 97 }},
		{"lock of a switch", field(nvidia.OpaqueLock, []byte{1, 0}), "identity-mismatch", verdict.TierContraindicated,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Hardware] == 97 }},
		{"peers", field(nvidia.OpaquePDI, pdis(5, 0, 6, 5)), "", verdict.TierWarning,
			func(a verdict.Appraisal) bool {
				return reflect.DeepEqual(a.Facts.Peers, []string{"nvidia-pdi:0000000000000005", "nvidia-pdi:0000000000000006"})
			}},
		{"unknown PCIe state", field(opaqueProtectedPCIe, []byte{1}), "", verdict.TierWarning,
			func(a verdict.Appraisal) bool { return a.Claims["protected-pcie"] == "unknown (0x01)" }},
		{"copy of the nonce differs", func(f *fake) { f.Members = map[string]any{"nonce": strings.Repeat("00", 32)} }, "nonce-mismatch", verdict.TierContraindicated, all99},
		{"copy of the driver version differs", func(f *fake) { f.Members = map[string]any{"driver_version": "1.2"} }, "identity-mismatch", verdict.TierContraindicated, all99},
		{"copy of the VBIOS version differs", func(f *fake) { f.Members = map[string]any{"vbios_version": "1.2"} }, "identity-mismatch", verdict.TierContraindicated, all99},
		{"copies agree", func(f *fake) {
			f.Members = map[string]any{"vbios_version": "96.00.9f.00.01", "driver_version": "590.12", "version": "1.0"}
		}, "", verdict.TierWarning, nil},
		{"nonce in base64", func(f *fake) {
			f.Members = map[string]any{"nonce": base64.StdEncoding.EncodeToString(f.Nonce)}
		}, "", verdict.TierWarning, nil},
		{"unknown member", func(f *fake) { f.Members = map[string]any{"later": 1} }, "", verdict.TierWarning,
			func(a verdict.Appraisal) bool { return reflect.DeepEqual(a.Claims["unknown-members"], []any{"later"}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			c.change(f)
			a := f.appraise()
			if want := strings.Fields(c.code); a.Status() != c.tier || !slices.Equal(extraCodes(a), want) {
				t.Fatalf("status %v, reasons %v", a.Status(), a.Reasons)
			}
			if c.check != nil && !c.check(a) {
				t.Fatalf("vector %v, facts %+v, claims %v", a.Vector, a.Facts, a.Claims)
			}
		})
	}
}

func all99(a verdict.Appraisal) bool { return a.Vector == verdict.AllClaims(99) }

func pdis(n ...byte) []byte {
	var out []byte
	for _, b := range n {
		out = append(out, b, 0, 0, 0, 0, 0, 0, 0)
	}
	return out
}

func TestFreshness(t *testing.T) {
	f := newFake(t)
	raw := f.Leaf()
	v := newTest(t, f.roots())
	for _, c := range []struct {
		nonce []byte
		want  verdict.Freshness
		code  string
		tier  verdict.Tier
	}{
		{f.Nonce, verdict.FreshnessFresh, "", verdict.TierWarning},
		{nil, verdict.FreshnessNotEstablished, "nonce-not-established", verdict.TierWarning},
		{[]byte{}, verdict.FreshnessMismatch, "nonce-mismatch", verdict.TierContraindicated},
		{f.Nonce[:31], verdict.FreshnessMismatch, "nonce-mismatch", verdict.TierContraindicated},
		{append(slices.Clone(f.Nonce), 7), verdict.FreshnessMismatch, "nonce-mismatch", verdict.TierContraindicated},
		{bytes.Repeat([]byte{8}, 32), verdict.FreshnessMismatch, "nonce-mismatch", verdict.TierContraindicated},
	} {
		a := appraise(t, v, raw, c.nonce, at)
		if a.Freshness != c.want || a.Status() != c.tier || !bytes.Equal(a.NonceSeen, f.Nonce) || (c.code != "" && !slices.Contains(codes(a), c.code)) {
			t.Errorf("nonce %x: %s, %v, %v", c.nonce, a.Freshness, a.Status(), a.Reasons)
		}
	}
}

func TestNoVerdict(t *testing.T) {
	f := newFake(t)
	raw := f.Leaf()
	v := newTest(t, f.roots())
	if _, err := v.Appraise(context.Background(), verifiers.Input{Evidence: raw}); !errors.Is(err, verifiers.ErrMalfunction) {
		t.Errorf("zero time: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := v.Appraise(ctx, verifiers.Input{Evidence: raw, Time: at}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	wantRefused(t, appraise(t, v, make([]byte, MaxEvidence+1), nil, at), verdict.ReasonTooLarge)
}

func TestSchemeIsComplete(t *testing.T) {
	s, err := verifiers.NewSet(Scheme())
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{MediaType, MediaTypeAlias} {
		for _, arch := range []string{"HOPPER", "Blackwell"} {
			sc, mt, err := s.Route(evidence.MediaType{Base: base}, []byte(`[{"arch":"`+arch+`"}]`))
			if err != nil || sc.Name != Name || mt.String() != base {
				t.Errorf("%s of %s: %s, %v", base, arch, mt, err)
			}
		}
		if _, _, err := s.Route(evidence.MediaType{Base: base}, []byte(`[{"arch":"LS10"}]`)); !errors.Is(err, verifiers.ErrNoVerifier) {
			t.Errorf("a switch is routed to the scheme of GPUs: %v", err)
		}
	}
}

// One layout: the helpers of collectors read the reports of both kinds here.
func TestParseReport(t *testing.T) {
	f := newFake(t)
	r, err := ParseReport(f.Report())
	if err != nil || !bytes.Equal(r.Nonce, f.Nonce) || len(r.Blocks) != len(f.Blocks) || len(r.Opaque) != len(f.Fields) {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := ParseReport(append(f.Report(), 1)); err == nil {
		t.Error("a byte behind the report is accepted")
	}
}

// One verifier, many goroutines, good and bad evidence through one cache.
func TestConcurrent(t *testing.T) {
	f := newFake(t)
	good := f.Leaf()
	bad := f.Wrap(f.Certs[:], append(f.Report(), 1))
	v := newTest(t, f.roots())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				if a, err := v.Appraise(t.Context(), verifiers.Input{Evidence: good, Nonce: f.Nonce, Time: at}); err != nil || a.Status() != verdict.TierWarning {
					t.Errorf("good: %v, %v", a.Reasons, err)
				}
				if a, err := v.Appraise(t.Context(), verifiers.Input{Evidence: bad, Nonce: f.Nonce, Time: at}); err != nil || a.Status() != verdict.TierContraindicated {
					t.Errorf("bad: %v, %v", a.Reasons, err)
				}
			}
		})
	}
	wg.Wait()
}
