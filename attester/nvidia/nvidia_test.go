// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/nvidiagpu"
)

var (
	now    = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	vendor = pki.NewSeed("vendor of the tests")
	nonce  = bytes.Repeat([]byte{0x5A}, nvidia.NonceSize)
)

func options(device string) nvidia.Options {
	return nvidia.Options{Vendor: vendor, Device: pki.NewSeed(device), Now: now}
}

func made(tb testing.TB, d *nvidia.Device, err error) *nvidia.Device {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func gpu(tb testing.TB, o nvidia.Options) *nvidia.Device {
	tb.Helper()
	d, err := nvidia.NewGPU(o)
	return made(tb, d, err)
}

func nvswitch(tb testing.TB, o nvidia.Options) *nvidia.Device {
	tb.Helper()
	d, err := nvidia.NewSwitch(o)
	return made(tb, d, err)
}

func object(tb testing.TB, d *nvidia.Device, nonce []byte) []byte {
	tb.Helper()
	out, err := d.Evidence(nonce)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func report(tb testing.TB, d *nvidia.Device) []byte {
	tb.Helper()
	out, err := d.Report(nonce)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// node makes eight GPUs and four switches that name one another.
func node(tb testing.TB) (gpus, switches []*nvidia.Device) {
	tb.Helper()
	var gpuPDIs, switchPDIs []nvidia.PDI
	for i := range 8 {
		gpuPDIs = append(gpuPDIs, nvidia.PDIOf(vendor.Sub("gpu", strconv.Itoa(i))))
	}
	for i := range 4 {
		switchPDIs = append(switchPDIs, nvidia.PDIOf(vendor.Sub("switch", strconv.Itoa(i))))
	}
	for i := range 8 {
		gpus = append(gpus, gpu(tb, nvidia.Options{Vendor: vendor, Device: vendor.Sub("gpu", strconv.Itoa(i)), Now: now, Position: i, Peers: switchPDIs}))
	}
	for i := range 4 {
		switches = append(switches, nvswitch(tb, nvidia.Options{Vendor: vendor, Device: vendor.Sub("switch", strconv.Itoa(i)), Now: now, Position: i, Peers: gpuPDIs}))
	}
	return gpus, switches
}

func verifier(tb testing.TB, roots ...*x509.Certificate) verifiers.Verifier {
	tb.Helper()
	v, err := nvidiagpu.Scheme().New(verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{nvidiagpu.Name: roots}})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func appraise(tb testing.TB, v verifiers.Verifier, raw, challenge []byte) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: nvidia.MediaType}, Evidence: raw, Nonce: challenge, Time: now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func codes(a verdict.Appraisal) (out []string) {
	for _, r := range a.Reasons {
		out = append(out, r.Code)
	}
	return out
}

// unproved are the reasons of every honest GPU today: nothing is compared with
// reference values and no revocation status is known.
var unproved = []string{verdict.ReasonNoCollateral, verdict.ReasonNoReferenceValues, verdict.ReasonNoReferenceValues}

func wantWarning(tb testing.TB, a verdict.Appraisal) {
	tb.Helper()
	if a.Status() != verdict.TierWarning || !slices.Equal(codes(a), unproved) || a.Freshness != verdict.FreshnessFresh {
		tb.Fatalf("status %v, freshness %v, reasons %v", a.Status(), a.Freshness, a.Reasons)
	}
}

func TestHonest(t *testing.T) {
	gpus, switches := node(t)
	alone, blackwell := options("alone"), options("blackwell")
	blackwell.Arch = nvidia.Blackwell
	for _, c := range []struct {
		d            *nvidia.Device
		mode, driver string
		peers        int
	}{
		{gpu(t, alone), "spt", "590.12", 0}, {gpu(t, blackwell), "mpt", "590.48.01", 0}, {gpus[0], "ppcie", "590.12", 4}, {gpus[7], "ppcie", "590.12", 4},
	} {
		raw := nvidia.Array(object(t, c.d, nonce))
		a := appraise(t, verifier(t, c.d.Root()), raw, nonce)
		wantWarning(t, a)
		if want := []string{"nvidia-ueid:" + c.d.UEID(), "nvidia-pdi:" + c.d.PDI().String()}; !reflect.DeepEqual(a.Facts.Device, want) {
			t.Errorf("device %v, expected %v", a.Facts.Device, want)
		}
		if a.Claims["feature-flag"] != c.mode || a.Claims["x-nvidia-gpu-driver-version"] != c.driver || a.Claims["opaque-unknown"] != nil ||
			a.Claims["x-nvidia-gpu-attestation-report-cert-chain-fwid-match"] != true || len(a.Facts.Peers) != c.peers {
			t.Errorf("claims %v, peers %v", a.Claims, a.Facts.Peers)
		}
		for _, p := range a.Facts.Peers {
			if !slices.ContainsFunc(switches, func(s *nvidia.Device) bool { return p == "nvidia-pdi:"+s.PDI().String() }) {
				t.Errorf("peer %s is none of the switches", p)
			}
		}
		// Nobody believes it without being told to.
		a = appraise(t, verifier(t), raw, nonce)
		if a.Status() != verdict.TierContraindicated || !slices.Equal(codes(a), []string{verdict.ReasonUnknownRoot}) {
			t.Errorf("without the root: %v, %v", a.Status(), a.Reasons)
		}
		a = appraise(t, verifier(t, c.d.Root()), raw, make([]byte, 32))
		if a.Status() != verdict.TierContraindicated || !slices.Contains(codes(a), verdict.ReasonNonceMismatch) {
			t.Errorf("other nonce: %v, %v", a.Status(), a.Reasons)
		}
	}
}

// A leaf of eight GPUs is eight components, each good by itself.
func TestArray(t *testing.T) {
	gpus, _ := node(t)
	var objects [][]byte
	for _, d := range gpus {
		objects = append(objects, object(t, d, nonce))
	}
	raw := nvidia.Array(objects...)
	if !json.Valid(raw) || !json.Valid(nvidia.Array()) {
		t.Fatal("not JSON")
	}
	parts, err := nvidiagpu.Scheme().Components(evidence.MediaType{Base: nvidia.MediaType}, raw)
	if err != nil || len(parts) != 8 {
		t.Fatalf("%d components: %v", len(parts), err)
	}
	v := verifier(t, gpus[0].Root())
	for i, p := range parts {
		a := appraise(t, v, p, nonce)
		wantWarning(t, a)
		if a.Facts.Device[1] != "nvidia-pdi:"+gpus[i].PDI().String() {
			t.Errorf("component %d is %v", i, a.Facts.Device)
		}
	}
}

// Honest blocks are the reference values, and all that is measured has one.
func TestMeasurements(t *testing.T) {
	blackwell := options("b")
	blackwell.Arch = nvidia.Blackwell
	for _, c := range []struct {
		d    *nvidia.Device
		rims map[string]int
	}{
		{gpu(t, options("a")), map[string]int{"NV_GPU_VBIOS_G520_0200_885_9600A50001": 12, "NV_GPU_DRIVER_GH100_590.12": 19}},
		{gpu(t, blackwell), map[string]int{"NV_GPU_VBIOS_G525_0220_886_9700E40011": 20, "NV_GPU_CC_DRIVER_GB100_590.48.01": 18}},
		{nvswitch(t, options("s")), map[string]int{"NV_SWITCH_BIOS_5612_0002_890_9610730001": 31}},
	} {
		golden, rims := map[string][]byte{}, map[string]int{}
		for _, m := range c.d.Measurements() {
			if golden[m.Name] != nil || m.Alg != "sha-384" || len(m.Digest) != 48 {
				t.Errorf("measurement %+v", m)
			}
			golden[m.Name] = m.Digest
			rims[m.RIM]++
		}
		if !reflect.DeepEqual(rims, c.rims) {
			t.Errorf("reference values %v, expected %v", rims, c.rims)
		}
		for i, b := range parsed(t, report(t, c.d)).Blocks {
			if want, ok := golden[strconv.Itoa(i)]; ok && !bytes.Equal(want, b.Value) || !ok && !bytes.Equal(b.Value, make([]byte, 48)) {
				t.Errorf("index %d is %x, expected %x", i, b.Value[:4], want)
			}
		}
	}
}

// The same options and nonce give the same bytes, from any goroutine; another
// nonce changes both nonces and the signature only.
func TestDeterministic(t *testing.T) {
	o := options("twice")
	a, b := gpu(t, o), gpu(t, o)
	want := object(t, a, nonce)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := b.Evidence(nonce); err != nil || !bytes.Equal(got, want) {
				t.Errorf("other bytes: %v", err)
			}
		})
	}
	wg.Wait()
	x, err := a.Report(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	r, s := parsed(t, x), parsed(t, report(t, a))
	if bytes.Equal(r.ResponderNonce, s.ResponderNonce) || !reflect.DeepEqual(r.Blocks, s.Blocks) || !reflect.DeepEqual(r.Opaque, s.Opaque) {
		t.Error("another nonce: the responder nonce is the same, or contents differ")
	}
	// Two devices of a vendor share authorities and firmware, nothing else.
	c := gpu(t, options("other"))
	if !slices.EqualFunc(a.Chain()[2:], c.Chain()[2:], (*x509.Certificate).Equal) || a.PDI() == c.PDI() || a.UEID() == c.UEID() ||
		!reflect.DeepEqual(a.Measurements(), c.Measurements()) || bytes.Equal(a.Chain()[1].RawSubjectPublicKeyInfo, c.Chain()[1].RawSubjectPublicKeyInfo) {
		t.Error("devices of one vendor")
	}
	o.Vendor = pki.NewSeed("another vendor")
	if d := gpu(t, o); d.Root().Equal(a.Root()) || reflect.DeepEqual(d.Measurements(), a.Measurements()) {
		t.Error("vendors share a root or measurements")
	}
}

func TestRefusedOptions(t *testing.T) {
	p, q := nvidia.PDI{1}, nvidia.PDI{2}
	for name, set := range map[string]func(*nvidia.Options){
		"early":          func(o *nvidia.Options) { o.Now = time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC) },
		"no time":        func(o *nvidia.Options) { o.Now = time.Time{} },
		"architecture":   func(o *nvidia.Options) { o.Arch = "AMPERE" },
		"position":       func(o *nvidia.Options) { o.Position = 8 },
		"below":          func(o *nvidia.Options) { o.Position = -1 },
		"many peers":     func(o *nvidia.Options) { o.Peers = []nvidia.PDI{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}} },
		"twice":          func(o *nvidia.Options) { o.Peers = []nvidia.PDI{p, q, p} },
		"zero":           func(o *nvidia.Options) { o.Peers = []nvidia.PDI{{}} },
		"hold and never": func(o *nvidia.Options) { o.OnHold, o.Revoked = true, true },
	} {
		o := options("refused")
		set(&o)
		if _, err := nvidia.NewGPU(o); err == nil {
			t.Errorf("%s: a GPU", name)
		}
		if _, err := nvidia.NewSwitch(o); err == nil {
			t.Errorf("%s: a switch", name)
		}
	}
	if _, err := nvidia.NewGPU(nvidia.Options{Now: now, Arch: nvidia.Blackwell, Peers: []nvidia.PDI{p}}); err == nil {
		t.Error("a Blackwell GPU with links")
	}
	if _, err := nvidia.NewSwitch(nvidia.Options{Now: now, Position: 4}); err == nil {
		t.Error("a fifth switch")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := gpu(t, options("n")).Evidence(make([]byte, n)); err == nil {
			t.Errorf("a nonce of %d bytes", n)
		}
	}
}

// The members of one object are those of recorded collectors.
func TestObject(t *testing.T) {
	for _, c := range []struct {
		d       *nvidia.Device
		members []string
	}{
		{gpu(t, options("g")), []string{"arch", "certificate", "driver_version", "evidence", "nonce", "vbios_version", "version"}},
		{nvswitch(t, options("s")), []string{"arch", "certificate", "evidence", "nonce", "version"}},
	} {
		var m map[string]string
		if err := json.Unmarshal(object(t, c.d, nonce), &m); err != nil {
			t.Fatal(err)
		}
		var names []string
		for k := range m {
			names = append(names, k)
		}
		slices.Sort(names)
		if !slices.Equal(names, c.members) || m["nonce"] != hex.EncodeToString(nonce) || m["version"] != "1.0" {
			t.Errorf("members %v", names)
		}
	}
}

func BenchmarkEvidence(b *testing.B) {
	d := gpu(b, options("bench"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Evidence(nonce); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewGPU(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nvidia.NewGPU(options("bench")); err != nil {
			b.Fatal(err)
		}
	}
}
