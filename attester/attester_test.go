// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
)

var (
	testNow   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	testNonce = []byte("0123456789abcdef0123456789abcdef")
)

func machine(tb testing.TB, d Description, faults ...string) *Machine {
	tb.Helper()
	o := Options{Machine: d, Now: testNow, Vendors: vendors()}
	for _, text := range faults {
		f, err := ParseFault(text)
		if err != nil {
			tb.Fatal(err)
		}
		o.Faults = append(o.Faults, f)
	}
	m, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func builtIn(tb testing.TB, name string) Description {
	tb.Helper()
	d, ok := BuiltIn(name)
	if !ok {
		tb.Fatalf("no machine %s", name)
	}
	return d
}

func parse(tb testing.TB, m *Machine, f Format, nonce []byte) *evidence.Tree {
	tb.Helper()
	raw, _, err := m.Evidence(nonce, f)
	if err != nil {
		tb.Fatal(err)
	}
	tree, err := evidence.Parse(raw, evidence.Options{UnverifiedSignaturesUnsafe: true})
	if err != nil {
		tb.Fatalf("%s: %v", f, err)
	}
	return tree
}

func labels(t *evidence.Tree) string {
	var out []string
	for _, l := range t.Leaves() {
		out = append(out, string(l.Path()))
	}
	return strings.Join(out, " ")
}

func TestLayouts(t *testing.T) {
	full := Description{Name: "full", GPUs: GPUs{Count: 2}, Switches: Set{Count: 1}, Devices: Devices{Count: 2, TDISP: true}, VTPM: VTPM{Key: "p256"}}
	nested := full
	nested.Layout = Nested
	for _, c := range []struct {
		d    Description
		want string
	}{
		{builtIn(t, "cpu"), "cpu"},
		{builtIn(t, "snp"), "cpu"},
		{builtIn(t, "sgx"), "cpu"},
		{builtIn(t, "cca"), "cpu"},
		{builtIn(t, "nitro"), "cpu"},
		{Description{Name: "psa", CPU: CPU{Kind: "arm-cca"}, PSA: Set{Count: 2}}, "cpu psa/0 psa/1"},
		{builtIn(t, "cpu-gpu"), "cpu gpu"},
		{builtIn(t, "hgx"), "cpu gpu switch"},
		{builtIn(t, "tdisp"), "cpu gpu nic/0 nic/1 nic/2 nic/3"},
		{full, "cpu gpu nic/0 nic/1 switch vtpm"},
		{nested, "node/board/gpu node/board/switch node/cpu node/pcie/nic/0 node/pcie/nic/1 node/vtpm"},
		{Description{Name: "no-cpu", CPU: CPU{Kind: "none"}, GPUs: GPUs{Count: 1}}, "gpu"},
	} {
		m := machine(t, c.d)
		for _, f := range []Format{JSON, CBOR, COSE, JWS} {
			tree := parse(t, m, f, testNonce)
			if got := labels(tree); got != c.want {
				t.Errorf("%s %s: %s, want %s", c.d.Name, f, got, c.want)
			}
			if tree.Commits() != (c.d.CPU.Kind != "none") {
				t.Errorf("%s %s: commits %t", c.d.Name, f, tree.Commits())
			}
			if signed := tree.Root().Kind() == evidence.KindSigned; signed != (f == COSE || f == JWS) {
				t.Errorf("%s %s: signed %t", c.d.Name, f, signed)
			}
		}
	}
}

// Everything follows from description, seed, time and nonce.
func TestDeterministic(t *testing.T) {
	d := Description{Name: "full", GPUs: GPUs{Count: 1}, Switches: Set{Count: 1}, Devices: Devices{Count: 1, TDISP: true}, VTPM: VTPM{Key: "p256"}}
	seen := map[[32]byte]string{}
	for _, f := range Formats() {
		one, _, err := machine(t, d).Evidence(testNonce, f)
		if err != nil {
			t.Fatal(err)
		}
		two, _, err := machine(t, d).Evidence(testNonce, f)
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: two runs differ (%v)", f, err)
		}
		other, err := New(Options{Machine: d, Now: testNow, Seed: "other"})
		if err != nil {
			t.Fatal(err)
		}
		three, _, err := other.Evidence(testNonce, f)
		if err != nil || bytes.Equal(one, three) {
			t.Errorf("%s: two machines are one (%v)", f, err)
		}
		four, _, err := machine(t, d).Evidence(append([]byte("x"), testNonce[1:]...), f)
		if err != nil || bytes.Equal(one, four) {
			t.Errorf("%s: the nonce does not matter (%v)", f, err)
		}
		for i, raw := range [][]byte{one, three, four} {
			sum := sha256.Sum256(raw)
			if was, twice := seen[sum]; twice {
				t.Errorf("%s %d is %s", f, i, was)
			}
			seen[sum] = fmt.Sprint(f, i)
		}
	}
}

func TestConcurrent(t *testing.T) {
	m := machine(t, builtIn(t, "tdisp"))
	want, _, err := m.Evidence(testNonce, CBOR)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, _, err := m.Evidence(testNonce, CBOR); err != nil || !bytes.Equal(got, want) {
				t.Errorf("differs under concurrency: %v", err)
			}
		})
	}
	wg.Wait()
}

// The tokens are byte for byte those of ratsd's own encoder for the same
// content: nonce 00..1f and one sub-attester that returns its nonce.
func TestRatsdVectors(t *testing.T) {
	nonce := make([]byte, 32)
	for i := range nonce {
		nonce[i] = byte(i)
	}
	out := session{nonce: nonce, stretch: true}.derive(64)
	parts := []ratsdPart{{"mock-tsm", evidence.MediaType{Base: "application/vnd.veraison.tsm-report+json"},
		[]byte(`{"outblob":"` + base64.RawURLEncoding.EncodeToString(out) + `","provider":"fake"}`), 64}}
	for name, c := range map[string]struct {
		encode func([]byte, []ratsdPart) ([]byte, error)
		size   int
		sum    string
	}{
		"legacy": {ratsdLegacy, 577, "ca5187570c17f47e371a3b7c4dedf684b08ee5cd09f111aefd09ad2bdafaa1c5"},
		"v2":     {ratsdV2, 463, "2bce2a3f9daacc97469e5a1d81942e8b6832566fc43c47f4a491badb9caad30e"},
	} {
		raw, err := c.encode(nonce, parts)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(raw); len(raw) != c.size || hex.EncodeToString(sum[:]) != c.sum {
			t.Errorf("%s: %d bytes\n%q", name, len(raw), raw)
		}
	}
}

func TestRatsd(t *testing.T) {
	d := Description{Name: "full", GPUs: GPUs{Count: 2}, Switches: Set{Count: 1}, Devices: Devices{Count: 2}, VTPM: VTPM{Key: "p256"}, Layout: Nested}
	m := machine(t, d)
	want := []string{"tsm-report", "nv-gpu-evidence", "nv-switch-evidence", "spdm-0", "spdm-1", "tpm"}
	if got := m.RatsdAttesters(); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for _, f := range []Format{RatsdJSON, RatsdV2} {
		tree := parse(t, m, f, testNonce)
		tok := tree.Ratsd()
		if tok == nil || !bytes.Equal(tok.Nonce, testNonce) || tok.Sizes["tsm-report"] != 64 || tok.Sizes["nv-gpu-evidence"] != 32 || len(tree.Leaves()) != len(want) {
			t.Errorf("%s: %+v, leaves %s", f, tok, labels(tree))
		}
		raw, _, err := m.Ratsd(testNonce, f, []string{"nv-gpu-evidence"})
		if err != nil {
			t.Fatal(err)
		}
		one, err := evidence.Parse(raw, evidence.Options{})
		if err != nil || labels(one) != "nv-gpu-evidence" {
			t.Errorf("%s: selection %v", f, err)
		}
		if _, _, err := m.Ratsd(testNonce, f, []string{"x"}); err == nil {
			t.Error("a sub-attester that is not there")
		}
	}
}

func TestParseDescription(t *testing.T) {
	d, err := ParseDescription([]byte("name: x\ncpu: {kind: intel-tdx, quote: v4}\ngpus: {count: 2}\nlayout: nested\n"))
	if err != nil || d.GPUs.Count != 2 || d.CPU.Quote != "v4" || d.Layout != Nested {
		t.Errorf("%+v %v", d, err)
	}
	for name, text := range map[string]string{
		"unknown key":       "name: x\nspeed: 1\n",
		"key twice":         "name: x\nname: y\n",
		"two documents":     "name: x\n---\nname: y\n",
		"not a mapping":     "- x\n",
		"unknown CPU":       "cpu: {kind: z80}\n",
		"unknown quote":     "cpu: {quote: v3}\n",
		"unknown form":      "cpu: {form: xml}\n",
		"SNP has no json":   "cpu: {kind: amd-snp, form: json}\n",
		"too many GPUs":     "gpus: {count: 9}\n",
		"fewer than none":   "gpus: {count: -1}\n",
		"too many switches": "switches: {count: 5}\n",
		"too many devices":  "devices: {count: 65}\n",
		"unknown SPDM":      "devices: {spdm: '2.0'}\n",
		"unknown key type":  "vtpm: {key: dsa}\n",
		"unknown binding":   "binding: glue\n",
		"ak without vTPM":   "binding: ak\n",
		"nothing":           "cpu: {kind: none}\n",
		"SGX quote of TDX":  "cpu: {kind: intel-sgx, quote: v5-1.5}\n",
		"SGX as TSM":        "cpu: {kind: intel-sgx, form: tsm}\n",
		"Nitro as TSM":      "cpu: {kind: aws-nitro, form: tsm}\n",
		"quote of SNP":      "cpu: {kind: amd-snp, quote: v4}\n",
		"product of TDX":    "cpu: {product: milan}\n",
		"key of TDX":        "cpu: {key: vlek}\n",
		"unknown SNP key":   "cpu: {kind: amd-snp, key: rsa}\n",
		"TDISP of Nitro":    "cpu: {kind: aws-nitro}\ndevices: {count: 1, tdisp: true}\n",
		"Ed25519 in 1.1":    "devices: {count: 1, spdm: \"1.1\", suite: ed25519}\n",
		"P-521 of SEV-TIO":  "cpu: {kind: amd-snp}\ndevices: {count: 1, tdisp: true, suite: p521}\n",
		"too many PSA":      "psa: {count: 17}\n",
		"Blackwell board":   "gpus: {count: 1, kind: blackwell}\nswitches: {count: 1}\n",
		"long name":         "name: " + strings.Repeat("x", 65) + "\n",
		"too large":         strings.Repeat("#", maxDescription+1),
	} {
		if _, err := ParseDescription([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestFaultsAreChecked(t *testing.T) {
	d := builtIn(t, "tdisp")
	for _, text := range []string{"gpu/7:debug", "nic/0:unbound", "cpu:duplicate", "gpu/0:report-swapped", "x:debug"} {
		f, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Machine: d, Now: testNow, Faults: []Fault{f}}); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
	for f, kind := range map[FaultKind]Kind{OutdatedTCB: KindNitro, Revoked: KindCCA, Expired: KindCCA} {
		d := Description{Name: "x", CPU: CPU{Kind: string(kind)}}
		if _, err := New(Options{Machine: d, Now: testNow, Faults: []Fault{{"cpu", f}}}); err == nil || !strings.Contains(err.Error(), "does not apply") {
			t.Errorf("%s of %s: %v", f, kind, err)
		}
	}
	twice := Fault{"cpu", Debug}
	if _, err := New(Options{Machine: d, Now: testNow, Faults: []Fault{twice, twice}}); err == nil {
		t.Error("a fault twice")
	}
	for _, text := range []string{"", "debug", ":debug", "cpu:", "cpu:smoke"} {
		if _, err := ParseFault(text); err == nil {
			t.Errorf("%q is a fault", text)
		}
	}
	for _, at := range []time.Time{{}, testNow.AddDate(-10, 0, 0), testNow.AddDate(30, 0, 0)} {
		if _, err := New(Options{Machine: d, Now: at}); err == nil {
			t.Errorf("simulated time %s", at)
		}
	}
	m := machine(t, d)
	for _, n := range []int{0, 7, 65} {
		if _, err := m.Attest(make([]byte, n)); err == nil {
			t.Errorf("a nonce of %d bytes", n)
		}
	}
	if _, _, err := m.Evidence(testNonce, "xml"); err == nil {
		t.Error("unknown format")
	}
}

// BenchmarkCPUGPU is for load tests: composites of one CPU and one GPU on all
// processors.
func BenchmarkCPUGPU(b *testing.B) {
	m := machine(b, builtIn(b, "cpu-gpu"))
	b.ReportAllocs()
	start := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		nonce := bytes.Clone(testNonce)
		for pb.Next() {
			nonce[0]++
			if _, _, err := m.Evidence(nonce, CBOR); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "composites/s")
}
