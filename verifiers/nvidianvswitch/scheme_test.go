// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/verifiertest"
)

// at is a time at which every recorded chain and every fake one is valid.
var at = time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC)

// fake is a simulated switch with its own root.
type fake struct{ *nvidiatest.Device }

var (
	fakePDI  = []byte{0x20, 0x3E, 0xB3, 0x1A, 0xD9, 0xED, 0, 8}
	fakeGPUs = [][]byte{{1, 2, 3, 4, 5, 6, 7, 8}, {0xFF, 0xEE, 0xB2, 0, 9, 0xE0, 0xBE, 0x49}}
)

func newFake(tb testing.TB) *fake {
	return newFakeOf(tb, nvidiatest.Model{Arch: "LS10", Chip: "LS_10", Engine: "FSP", Prefix: 0x50, PDI: fakePDI})
}

func newFakeOf(tb testing.TB, m nvidiatest.Model) *fake {
	tb.Helper()
	d := nvidiatest.New(tb, rand.Reader, at, m)
	d.Fields = []nvidiatest.Field{
		{Type: nvidia.OpaqueVBIOS, Value: []byte("96.10.55.00.01")}, {Type: nvidia.OpaquePDI, Value: m.PDI}, {Type: nvidia.OpaqueMSRSCNT, Value: make([]byte, 104)},
		{Type: nvidia.OpaqueGPUs, Value: gpuList(map[int]byte{0: 0, 1: 0, 5: 1}, fakeGPUs...)}, {Type: opaqueDisabledPorts, Value: []byte{0xEC, 0}},
		{Type: nvidia.OpaquePosition, Value: []byte{2, 0}}, {Type: nvidia.OpaqueLock, Value: []byte{1, 0}},
	}
	return &fake{d}
}

// gpuList encodes a list of GPUs and the map from ports to them.
func gpuList(ports map[int]byte, gpus ...[]byte) []byte {
	out := make([]byte, maxGPUs*nvidia.PDISize, maxGPUs*nvidia.PDISize+portCount)
	for i, g := range gpus {
		copy(out[i*nvidia.PDISize:], g)
	}
	out = append(out, bytes.Repeat([]byte{unusedPort}, portCount)...)
	for p, g := range ports {
		out[maxGPUs*nvidia.PDISize+p] = g
	}
	return out
}

func (f *fake) roots() verifiers.Deps {
	return verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: f.Root()}}
}

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

// extraCodes are the reasons that not every appraisal has.
func extraCodes(a verdict.Appraisal) []string {
	return slices.DeleteFunc(codes(a), func(s string) bool { return s == "no-collateral" || s == "no-reference-values" })
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
	if len(a.Facts.Device) != 2 || a.Facts.ReportData != hex.EncodeToString(nonce) || len(a.Facts.SignerSPKI) != 64 || len(a.Facts.Peers) == 0 {
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
	if want := []string{"nvidia-ueid:1000", "nvidia-pdi:203eb31ad9ed0008"}; !reflect.DeepEqual(a.Facts.Device, want) {
		t.Errorf("device %v", a.Facts.Device)
	}
	if want := []string{"nvidia-pdi:0102030405060708", "nvidia-pdi:ffeeb20009e0be49"}; !reflect.DeepEqual(a.Facts.Peers, want) {
		t.Errorf("peers %v", a.Facts.Peers)
	}
	for name, want := range map[string]any{
		"x-nvidia-device-type": "nvswitch", "x-nvidia-switch-bios-version": "96.10.55.00.01", "x-nvidia-switch-pdi": "203eb31ad9ed0008",
		"x-nvidia-switch-arch-check": true, "x-nvidia-switch-attestation-report-nonce-match": true, "lock-status": "locked", "position": 2,
		"disabled-ports": "ec00", "fwid": "absent", "measres": "not-run", "hwmodel": "LS_10 A01 FSP BROM",
	} {
		if a.Claims[name] != want {
			t.Errorf("claim %s is %v", name, a.Claims[name])
		}
	}
	// Collectors write the architecture in either case.
	f = newFake(t)
	f.Arch = "ls10"
	wantGood(t, f.appraise(), f.Nonce)
}

func TestConformance(t *testing.T) {
	f := newFake(t)
	raw := f.Leaf()
	verifiertest.Run(t, Scheme(), verifiertest.Fixture{
		Name: "fake", MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Nonce: f.Nonce,
		Time: at, Before: at.AddDate(-3, 0, 0), Deps: f.roots(), Want: verdict.TierWarning,
	})
}

// A root that was given for GPUs is none for switches.
func TestExtraRootOnlyWhenGiven(t *testing.T) {
	f := newFake(t)
	raw := f.Leaf()
	wantRefused(t, appraise(t, newTest(t, verifiers.Deps{}), raw, f.Nonce, at), verdict.ReasonUnknownRoot)
	other := verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"nvidia-gpu": f.Root()}}
	wantRefused(t, appraise(t, newTest(t, other), raw, f.Nonce, at), verdict.ReasonUnknownRoot)
}

// What is not a switch is refused, whatever it is called, and whichever of the
// names in certificates and container says so.
func TestOtherKindsAreRefused(t *testing.T) {
	gpu := nvidiatest.Model{Arch: "LS10", Chip: "GH100", Engine: "GSP", Prefix: 0x41, PDI: fakePDI}
	for name, c := range map[string]struct {
		change func(*nvidiatest.Model)
		code   string
	}{
		"GPU as a switch":            {func(m *nvidiatest.Model) {}, verdict.ReasonIdentityMismatch},
		"GPU":                        {func(m *nvidiatest.Model) { m.Arch = "HOPPER" }, verdict.ReasonUnsupported},
		"switch as a GPU":            {func(m *nvidiatest.Model) { *m = modelOf("HOPPER", "LS_10", "FSP", 0x50) }, verdict.ReasonUnsupported},
		"unknown":                    {func(m *nvidiatest.Model) { *m = modelOf("LS20", "LS_20", "FSP", 0x50) }, verdict.ReasonUnsupported},
		"other switch":               {func(m *nvidiatest.Model) { *m = modelOf("LS10", "LS_20", "FSP", 0x50) }, verdict.ReasonIdentityMismatch},
		"name with a tail":           {func(m *nvidiatest.Model) { *m = modelOf("LS10", "LS_100", "FSP", 0x50) }, verdict.ReasonIdentityMismatch},
		"GPU with engine and prefix": {func(m *nvidiatest.Model) { *m = modelOf("LS10", "GH100", "FSP", 0x50) }, verdict.ReasonIdentityMismatch},
		"prefix of a GPU":            {func(m *nvidiatest.Model) { *m = modelOf("LS10", "LS_10", "FSP", 0x40) }, verdict.ReasonIdentityMismatch},
		"engine of a GPU":            {func(m *nvidiatest.Model) { *m = modelOf("LS10", "LS_10", "GSP", 0x50) }, verdict.ReasonIdentityMismatch},
		"engine and prefix of a GPU": {func(m *nvidiatest.Model) { *m = modelOf("LS10", "LS_10", "GSP", 0x41) }, verdict.ReasonIdentityMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			m := gpu
			c.change(&m)
			f := newFakeOf(t, m)
			a := f.appraise()
			wantRefused(t, a, c.code)
			if a.Vector[verdict.Hardware] != verdict.ClaimUnknownDevice {
				t.Errorf("vector %v", a.Vector)
			}
		})
	}
}

func modelOf(arch, chip, engine string, prefix byte) nvidiatest.Model {
	return nvidiatest.Model{Arch: arch, Chip: chip, Engine: engine, Prefix: prefix, PDI: fakePDI}
}

func TestChainFaults(t *testing.T) {
	for _, c := range []struct {
		name, code string
		change     func(f *fake)
	}{
		{"expired leaf", "expired", func(f *fake) { f.Templates[0].NotAfter = at.Add(-time.Second) }},
		{"device is no CA", "chain-invalid", func(f *fake) { f.Templates[1].IsCA = false }},
		{"leaf may do more", "chain-invalid", func(f *fake) { f.Templates[0].KeyUsage |= x509.KeyUsageKeyAgreement }},
		{"no FWID extension", "chain-invalid", func(f *fake) {
			f.Ext = func(*nvidiatest.Device) pkix.Extension {
				return pkix.Extension{Id: []int{1, 2, 3}, Value: []byte{5, 0}}
			}
		}},
		{"leaf of a GPU", "identity-mismatch", func(f *fake) { f.Templates[0].Subject.CommonName = "GH100 A01 FSP FMC LF" }},
		{"provisioner of a GPU", "identity-mismatch", func(f *fake) { f.Templates[2].Subject.CommonName = "NVIDIA GH100 Provisioner ICA 1" }},
		{"serial number not the subject's", "identity-mismatch", func(f *fake) { f.Templates[1].SerialNumber = big.NewInt(4711) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			c.change(f)
			wantRefused(t, f.appraise(), c.code)
		})
	}
	f, g := newFake(t), newFake(t)
	f.Build()
	g.Build()
	v := newTest(t, f.roots())
	wantRefused(t, appraise(t, v, f.Wrap(f.Certs[:], g.Report()), f.Nonce, at), verdict.ReasonSignatureInvalid)
	wantRefused(t, appraise(t, v, f.Wrap(append(slices.Clone(g.Certs[:4]), f.Certs[4]), g.Report()), f.Nonce, at), verdict.ReasonChainInvalid)
}

func TestReportVerdicts(t *testing.T) {
	contra, warning := verdict.TierContraindicated, verdict.TierWarning
	for _, c := range []struct {
		name   string
		change func(f *fake)
		codes  string // additional reasons
		tier   verdict.Tier
		check  func(a verdict.Appraisal) bool
	}{
		{"PDI of another device", func(f *fake) { f.With(nvidia.OpaquePDI, fakeGPUs[0]) }, "identity-mismatch", contra,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Hardware] == 97 && a.Facts.Peers == nil }},
		{"PDI the other way round", func(f *fake) { p := slices.Clone(fakePDI); slices.Reverse(p); f.With(nvidia.OpaquePDI, p) }, "identity-mismatch", contra, nil},
		{"no PDI", func(f *fake) { f.Without(nvidia.OpaquePDI) }, "identity-mismatch", contra,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Hardware] == 97 }},
		{"list of links of a GPU", func(f *fake) { f.With(nvidia.OpaquePDI, make([]byte, 144)) }, "identity-mismatch configuration", contra, nil},
		{"no opaque data", func(f *fake) { f.Fields = nil }, "identity-mismatch", contra, nil},
		{"driver of a GPU", func(f *fake) { f.With(nvidia.OpaqueDriver, []byte("590.12\x00")) }, "identity-mismatch", contra,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Hardware] == 97 }},
		{"FWID of another device", func(f *fake) { f.With(nvidia.OpaqueFWID, make([]byte, 48)) }, "identity-mismatch", contra,
			func(a verdict.Appraisal) bool {
				return a.Vector[verdict.Hardware] == 96 && a.Claims["x-nvidia-switch-attestation-report-cert-chain-fwid-match"] == false
			}},
		{"short FWID", func(f *fake) { f.With(nvidia.OpaqueFWID, f.FWID[:47]) }, "identity-mismatch configuration", contra, nil},
		{"its own FWID", func(f *fake) { f.With(nvidia.OpaqueFWID, f.FWID) }, "", warning,
			func(a verdict.Appraisal) bool {
				return a.Claims["x-nvidia-switch-attestation-report-cert-chain-fwid-match"] == true
			}},
		{"unlocked", func(f *fake) { f.With(nvidia.OpaqueLock, []byte{0, 0}) }, "configuration", warning,
			func(a verdict.Appraisal) bool { return a.Claims["lock-status"] == "unlocked" }},
		{"lock unknown", func(f *fake) { f.With(nvidia.OpaqueLock, []byte{1, 1}) }, "configuration", warning, nil},
		{"no lock", func(f *fake) { f.Without(nvidia.OpaqueLock) }, "", warning,
			func(a verdict.Appraisal) bool { _, said := a.Claims["lock-status"]; return !said }},
		{"unknown field", func(f *fake) { f.With(77, []byte{1}).With(27, nil) }, "", warning,
			func(a verdict.Appraisal) bool { return reflect.DeepEqual(a.Claims["opaque-unknown"], []any{77, 27}) }},
		{"odd BIOS", func(f *fake) { f.With(nvidia.OpaqueVBIOS, []byte("../x")) }, "configuration", warning,
			func(a verdict.Appraisal) bool {
				_, said := a.Claims["x-nvidia-switch-bios-version"]
				return !said && strings.Contains(fmt.Sprint(a.Reasons), "field 6 of 4 bytes")
			}},
		{"port beyond the list", func(f *fake) { f.With(nvidia.OpaqueGPUs, gpuList(map[int]byte{63: 8}, fakeGPUs...)) }, "configuration", warning, noPeers},
		{"port to an empty place", func(f *fake) { f.With(nvidia.OpaqueGPUs, gpuList(map[int]byte{0: 2}, fakeGPUs...)) }, "configuration", warning, noPeers},
		{"short list of GPUs", func(f *fake) { f.With(nvidia.OpaqueGPUs, make([]byte, 127)) }, "configuration", warning, noPeers},
		{"no GPU", func(f *fake) { f.With(nvidia.OpaqueGPUs, gpuList(nil)) }, "", warning, noPeers},
		{"GPU twice", func(f *fake) {
			f.With(nvidia.OpaqueGPUs, gpuList(map[int]byte{0: 1}, fakeGPUs[0], fakeGPUs[0]))
		}, "", warning, func(a verdict.Appraisal) bool { return len(a.Facts.Peers) == 1 }},
		{"odd counters, position and ports", func(f *fake) {
			f.With(nvidia.OpaqueMSRSCNT, make([]byte, 3)).With(nvidia.OpaquePosition, nil).With(opaqueDisabledPorts, nil)
		}, "configuration", warning, nil},
		{"version", func(f *fake) { f.With(nvidia.OpaqueVersion, []byte{2, 0}) }, "configuration", contra,
			func(a verdict.Appraisal) bool {
				return a.Facts.Peers == nil && a.Claims["lock-status"] == nil && a.Claims["x-nvidia-switch-pdi"] == "203eb31ad9ed0008"
			}},
		{"version, PDI of another device", func(f *fake) {
			f.With(nvidia.OpaqueVersion, []byte{2, 0}).With(nvidia.OpaquePDI, fakeGPUs[0])
		}, "identity-mismatch configuration", contra, nil},
		{"version, PDI of a new form", func(f *fake) {
			f.With(nvidia.OpaqueVersion, []byte{2, 0}).With(nvidia.OpaquePDI, make([]byte, 16))
		}, "claim-not-asserted configuration", contra, nil},
		{"firmware in debug state", func(f *fake) { f.Ext = nvidiatest.TCBInfo(0x90000001) }, "debug-enabled", contra,
			func(a verdict.Appraisal) bool { return a.Vector[verdict.Configuration] == 96 }},
		{"padded", func(f *fake) { f.Trail = make([]byte, 3) }, "", warning, func(a verdict.Appraisal) bool { return a.Claims["padded"] == 3 }},
		{"copy of the nonce differs", func(f *fake) { f.Members = map[string]any{"nonce": strings.Repeat("00", 32)} }, "nonce-mismatch", contra, all99},
		{"copy of the BIOS version differs", func(f *fake) { f.Members = map[string]any{"vbios_version": "1.2"} }, "identity-mismatch", contra, all99},
		{"copy of the BIOS version agrees", func(f *fake) { f.Members = map[string]any{"vbios_version": "96.10.55.00.01"} }, "", warning, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			c.change(f)
			a := f.appraise()
			if a.Status() != c.tier || !slices.Equal(extraCodes(a), strings.Fields(c.codes)) {
				t.Fatalf("status %v, reasons %v", a.Status(), a.Reasons)
			}
			if c.check != nil && !c.check(a) {
				t.Fatalf("vector %v, facts %+v, claims %v", a.Vector, a.Facts, a.Claims)
			}
		})
	}
}

func all99(a verdict.Appraisal) bool   { return a.Vector == verdict.AllClaims(99) }
func noPeers(a verdict.Appraisal) bool { return a.Facts.Peers == nil }

func TestFreshness(t *testing.T) {
	f := newFake(t)
	raw := f.Leaf()
	v := newTest(t, f.roots())
	for _, c := range []struct {
		nonce []byte
		want  verdict.Freshness
		tier  verdict.Tier
	}{
		{f.Nonce, verdict.FreshnessFresh, verdict.TierWarning},
		{nil, verdict.FreshnessNotEstablished, verdict.TierWarning},
		{[]byte{}, verdict.FreshnessMismatch, verdict.TierContraindicated},
		{f.Nonce[:31], verdict.FreshnessMismatch, verdict.TierContraindicated},
		{bytes.Repeat([]byte{8}, 32), verdict.FreshnessMismatch, verdict.TierContraindicated},
	} {
		a := appraise(t, v, raw, c.nonce, at)
		if a.Freshness != c.want || a.Status() != c.tier {
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
	wantRefused(t, appraise(t, v, make([]byte, MaxEvidence+1), nil, at), verdict.ReasonTooLarge)
	wantRefused(t, appraise(t, v, []byte("[]"), nil, at), verdict.ReasonMalformed)
}

func TestSchemeIsComplete(t *testing.T) {
	s, err := verifiers.NewSet(Scheme())
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{MediaType, MediaTypeAlias} {
		if sc, _, err := s.Route(evidence.MediaType{Base: base}, []byte(`[{"arch":"LS10"}]`)); err != nil || sc.Name != Name {
			t.Errorf("%s: %v", base, err)
		}
		if _, _, err := s.Route(evidence.MediaType{Base: base}, []byte(`[{"arch":"HOPPER"}]`)); !errors.Is(err, verifiers.ErrNoVerifier) {
			t.Errorf("a GPU is routed to the scheme of switches: %v", err)
		}
	}
}

// No byte of the evidence can be changed to any advantage.
func TestEveryByteFlip(t *testing.T) {
	f := newFake(t)
	raw := f.Leaf()
	v := newTest(t, f.roots())
	base := appraise(t, v, raw, f.Nonce, at)
	wantGood(t, base, f.Nonce)
	step := 3
	if testing.Short() {
		step = 31
	}
	for i := 0; i < len(raw); i += step {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i / step % 8)
		a := appraise(t, v, bad, f.Nonce, at)
		if a.Status() == verdict.TierContraindicated {
			continue
		}
		if a.Status() != base.Status() || a.Vector != base.Vector || !reflect.DeepEqual(a.Facts, base.Facts) {
			t.Fatalf("byte %d: status %v, vector %v, reasons %v", i, a.Status(), a.Vector, a.Reasons)
		}
	}
}

// Whatever a switch signs: no panic, no text that could be a path, no PDI of
// another form, and never better than a warning.
func FuzzDetails(f *testing.F) {
	g := newFake(f)
	for _, x := range g.Fields {
		f.Add(x.Type, x.Value, uint16(nvidia.OpaqueVersion), []byte{1, 0})
	}
	f.Add(uint16(nvidia.OpaqueFWID), g.FWID, uint16(4), make([]byte, 128))
	f.Fuzz(func(t *testing.T, type1 uint16, value1 []byte, type2 uint16, value2 []byte) {
		d := readDetails([]nvidia.Field{{Type: type1, Value: value1}, {Type: type2, Value: value2}})
		if strings.ContainsAny(d.bios, "/\\%?#\x00\n ") || len(d.bios) > 64 {
			t.Fatalf("text %q", d.bios)
		}
		for _, pdi := range append(d.gpus, d.pdi) {
			if b, err := hex.DecodeString(pdi); err != nil || (len(b) != 0 && len(b) != nvidia.PDISize) {
				t.Fatalf("PDI %q", pdi)
			}
		}
		if len(d.gpus) > maxGPUs {
			t.Fatalf("%d GPUs", len(d.gpus))
		}
	})
}
