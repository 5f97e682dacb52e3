// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"

	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// probe is a kind whose judge warns about everything that was proved.
func probe() *Kind {
	return &Kind{
		Scheme: "probe", Noun: "probe", DeviceType: "probe", Prefix: "x-nvidia-probe-",
		Chips:      map[string]*regexp.Regexp{"HOPPER": regexp.MustCompile(`^GH1[0-9]{2}$`)},
		Prefixes:   map[string]byte{"GSP": 0x41},
		Policy:     appraisal.Defaults{Scheme: "probe", Findings: Findings(), Parameters: DefaultParameters()},
		Parameters: func(p *appraisal.Policy) Parameters { return appraisal.Parameters[Parameters](p) },
		Judge: func(p *Proof, nonce []byte) verdict.Appraisal {
			a := verdict.Appraisal{Claims: map[string]any{}, NonceSeen: p.Report.Nonce}
			a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
			return a
		},
	}
}

func newTest(t testing.TB, f *nvidiatest.Device) *Verifier {
	t.Helper()
	var d verifiers.Deps
	if f != nil {
		d.ExtraRoots = map[string][]*x509.Certificate{"probe": f.Root()}
	}
	v, err := New(probe(), d)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func appraise(t testing.TB, v *Verifier, raw []byte) verdict.Appraisal {
	t.Helper()
	a, err := v.Appraise(t.Context(), verifiers.Input{Evidence: raw, Time: at})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantRefused(t testing.TB, a verdict.Appraisal, code string) {
	t.Helper()
	if a.Status() != verdict.TierContraindicated || len(a.Reasons) != 1 || a.Reasons[0].Code != code || a.NonceSeen != nil {
		t.Fatalf("status %v, reasons %v, expected %s", a.Status(), a.Reasons, code)
	}
}

// The pinned root is the one that real devices send, byte for byte.
func TestPinnedRoot(t *testing.T) {
	ders, err := splitPEM(mocks.ValidCertChainData)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := splitPEM([]byte(rootPEM))
	if err != nil || len(pinned) != 1 || !bytes.Equal(pinned[0], ders[posRoot]) || hexSum(pinned[0]) != rootSHA256 {
		t.Fatalf("%v", err)
	}
}

// The judge is asked only about what was proved, and only about its kind.
func TestJudgeSeesProvedOnly(t *testing.T) {
	f := newFake(t)
	f.Build()
	v := newTest(t, f)
	if a := appraise(t, v, f.Leaf()); a.Status() != verdict.TierWarning {
		t.Fatalf("%v", a.Reasons)
	}
	report := f.Report()
	report[len(report)-1] ^= 1
	wantRefused(t, appraise(t, v, f.Wrap(f.Certs[:], report)), verdict.ReasonSignatureInvalid)
	wantRefused(t, appraise(t, newTest(t, nil), f.Leaf()), verdict.ReasonUnknownRoot)
	wantRefused(t, appraise(t, v, []byte("[]")), verdict.ReasonMalformed)
	for _, m := range []nvidiatest.Model{
		{Arch: "HOPPER", Chip: "GB100", Engine: "GSP", Prefix: 0x41},
		{Arch: "HOPPER", Chip: "LS_10", Engine: "GSP", Prefix: 0x41},
		{Arch: "HOPPER", Chip: "GH100", Engine: "FSP", Prefix: 0x41}, // no engine of the kind
		{Arch: "HOPPER", Chip: "GH100", Engine: "FSP", Prefix: 0},    // nor the prefix that it would have
		{Arch: "HOPPER", Chip: "GH100", Engine: "GSP", Prefix: 0x50},
	} {
		m.PDI = bytes.Repeat([]byte{3}, PDISize)
		g := nvidiatest.New(t, rand.Reader, at, m)
		raw := g.Leaf()
		wantRefused(t, appraise(t, newTest(t, g), raw), verdict.ReasonIdentityMismatch)
	}
	f.Arch = "LS10"
	wantRefused(t, appraise(t, v, f.Leaf()), verdict.ReasonUnsupported)
}

// A chain takes a place in the caches only when its key has signed a report.
func TestCachesHoldSignersOnly(t *testing.T) {
	f, g := newFake(t), newFake(t)
	f.Build()
	g.Build()
	v := newTest(t, f)
	size := func() [2]int { return [2]int{v.anchors.devices.Len(), v.anchors.shared.Len()} }
	wantRefused(t, appraise(t, v, f.Wrap(f.Certs[:], g.Report())), verdict.ReasonSignatureInvalid)
	if size() != [2]int{} {
		t.Errorf("chains without a signature: %v", size())
	}
	good := func(raw []byte) {
		t.Helper()
		if a := appraise(t, v, raw); a.Status() != verdict.TierWarning {
			t.Fatal(a.Reasons)
		}
		if size() != [2]int{1, 1} {
			t.Errorf("chains after a good report: %v", size())
		}
	}
	good(f.Wrap(f.Certs[:], f.Report()))
	// Other spellings of one chain are one chain.
	f.Members = map[string]any{"certificate": base64.StdEncoding.EncodeToString(append([]byte("\n\n"), nvidiatest.PEM(f.Certs[:])...))}
	good(f.Wrap(f.Certs[:], f.Report()))
}

func TestPEMForm(t *testing.T) {
	f := newFake(t)
	f.Build()
	good := string(nvidiatest.PEM(f.Certs[:]))
	if ders, err := splitPEM([]byte(good)); err != nil || len(ders) != chainLength {
		t.Fatalf("%d certificates, %v", len(ders), err)
	}
	for name, bad := range map[string]string{
		"text before": "x" + good, "text after": good + "x", "begin alone": pemBegin, "not base64": pemBegin + "\n*\n" + pemEnd,
		"six certificates": good + good[:strings.Index(good, pemEnd)+len(pemEnd)], "trailing bits": pemBegin + "AB==" + pemEnd,
	} {
		if _, err := splitPEM([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNewRefusesBadRoots(t *testing.T) {
	f := newFake(t)
	f.Build()
	for _, bad := range []*x509.Certificate{nil, f.Certs[0]} {
		if _, err := New(probe(), verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"probe": {bad}}}); !errors.Is(err, verifiers.ErrMalfunction) {
			t.Errorf("extra root %v: %v", bad, err)
		}
	}
}

// bare is the time of one P-384 verification of the recorded report, without
// anything around it.
func bare(b *testing.B) time.Duration {
	b.Helper()
	r, err := ParseReport(recorded(b))
	if err != nil {
		b.Fatal(err)
	}
	c, err := newTest(b, nil).anchors.verify(mocks.ValidCertChainData, at)
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 50
	start := time.Now()
	for range rounds {
		if !verifySignature(c.key, r.Signed, r.Signature) {
			b.Fatal("signature")
		}
	}
	return time.Since(start) / rounds
}

// BenchmarkFleet knows the fleet's certificates, not the device: two links and
// the report, as a multiple of these three signature checks.
func BenchmarkFleet(b *testing.B) {
	v := newTest(b, nil)
	leaf := nvidiatest.Array(b, nvidiatest.Object("HOPPER", recorded(b), mocks.ValidCertChainData))
	appraise(b, v, leaf)
	floor := 3 * bare(b)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		v.anchors.devices = lru.New[*Chain](1)
		if a := appraise(b, v, leaf); a.Status() != verdict.TierWarning {
			b.Fatal(a.Reasons)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(floor), "x-bare")
}

func BenchmarkParseReport(b *testing.B) {
	raw := recorded(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseReport(raw); err != nil {
			b.Fatal(err)
		}
	}
}
