// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"math/big"
	"testing"
	"testing/fstest"
	"time"

	simulated "github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"
)

// floor are the signature checks that no appraisal of the recorded report can do
// without: that of the report and that of the leaf certificate, which is the
// device's own. It runs them beside what is measured, so that a machine that
// changes its speed changes both.
type floor struct {
	report, signature, tbs, certificate []byte
	leaf, device                        *ecdsa.PublicKey
	// spent is the time of the last runs of both, runs how many they were.
	spent, ofReport time.Duration
	runs            int
}

func newFloor(b *testing.B, report, chain []byte) *floor {
	b.Helper()
	var certs []*x509.Certificate
	for _, der := range derOf(chain)[:2] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		certs = append(certs, c)
	}
	r, err := ParseReport(report)
	if err != nil {
		b.Fatal(err)
	}
	return &floor{
		report: r.Signed, signature: r.Signature, tbs: certs[0].RawTBSCertificate, certificate: certs[0].Signature,
		leaf: certs[0].PublicKey.(*ecdsa.PublicKey), device: certs[1].PublicKey.(*ecdsa.PublicKey),
	}
}

func (f *floor) run(b *testing.B) {
	b.Helper()
	start := time.Now()
	sum := sha512.Sum384(f.report)
	half := len(f.signature) / 2
	r, s := new(big.Int).SetBytes(f.signature[:half]), new(big.Int).SetBytes(f.signature[half:])
	if !ecdsa.Verify(f.leaf, sum[:], r, s) {
		b.Fatal("the report's signature does not hold")
	}
	between := time.Now()
	sum = sha512.Sum384(f.tbs)
	if !ecdsa.VerifyASN1(f.device, sum[:], f.certificate) {
		b.Fatal("the leaf's signature does not hold")
	}
	f.spent, f.ofReport, f.runs = f.spent+time.Since(start), f.ofReport+between.Sub(start), f.runs+1
}

// measure runs try, and the bare checks after every fourth time, outside the clock.
// The metric x-bare is the ratio to signature and leaf certificate, x-report that
// to the signature of the report alone.
func (f *floor) measure(b *testing.B, try func()) {
	b.Helper()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		try()
		if n++; n%4 == 1 {
			b.StopTimer()
			f.run(b)
			b.StartTimer()
		}
	}
	each := float64(b.Elapsed()) / float64(b.N)
	b.ReportMetric(each/(float64(f.spent)/float64(f.runs)), "x-bare")
	b.ReportMetric(each/(float64(f.ofReport)/float64(f.runs)), "x-report")
	b.ReportMetric(float64(time.Second)/each, "appraisals/s")
}

// BenchmarkAppraise is the recorded report with certificates and manifests of real
// hardware, whose 33 measurements match: cold, with a verifier that has seen
// nothing, of 13 signatures; with the manifests and the fleet's certificates known
// and the device new; and with the device known, too.
func BenchmarkAppraise(b *testing.B) {
	leaf, nonce := mockLeaf(b)
	when := day(b, "2024-01-15")
	bundle := bundleOf(b, mockDriver, mockVBIOS)
	in := verifiers.Input{MediaType: evidence.MediaType{Base: MediaType}, Evidence: leaf, Nonce: nonce, Time: when}
	appraise := func(b *testing.B, v verifiers.Verifier, want verdict.Claim) {
		a, err := v.Appraise(context.Background(), in)
		if err != nil || a.Vector[verdict.Executables] != want || a.Vector[verdict.Hardware] != verdict.ClaimUnsafe {
			b.Fatal(a.Vector, a.Reasons, err)
		}
	}
	deps := verifiers.Deps{Endorsements: bundle, Policies: policyOf(b, statusAside)}
	run := func(name string, want verdict.Claim, verifier func(b *testing.B) verifiers.Verifier) {
		b.Run(name, func(b *testing.B) {
			newFloor(b, recorded(b), mocks.ValidCertChainData).measure(b, func() { appraise(b, verifier(b), want) })
		})
	}
	run("cold", verdict.ClaimApprovedBoot, func(b *testing.B) verifiers.Verifier { return newTest(b, deps) })
	run("cold-without-manifests", verdict.ClaimUnrecognized, func(b *testing.B) verifiers.Verifier { return newTest(b, verifiers.Deps{}) })
	without, with := newTest(b, verifiers.Deps{}), newTest(b, deps)
	run("warm", verdict.ClaimUnrecognized, func(*testing.B) verifiers.Verifier { return without })
	run("warm-manifests", verdict.ClaimApprovedBoot, func(*testing.B) verifiers.Verifier { return with })
}

// BenchmarkSimulated is a GPU of which everything is known and good, so that it is
// affirming: three OCSP responses about its chain, six about those who signed its
// two manifests, and revocation lists. The device is known; new beside that are a
// bundle that was loaded anew, and a verifier that has seen nothing.
func BenchmarkSimulated(b *testing.B) {
	vendor := pki.NewSeed("benchmark")
	d, err := simulated.NewGPU(simulated.Options{Vendor: vendor, Device: vendor.Sub("gpu"), Now: at, Arch: simulated.Blackwell})
	if err != nil {
		b.Fatal(err)
	}
	files, err := d.Endorsements()
	if err != nil {
		b.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, raw := range files {
		fsys[name] = &fstest.MapFile{Data: raw}
	}
	roots, err := d.Roots()
	if err != nil {
		b.Fatal(err)
	}
	nonce := make([]byte, NonceSize)
	object, err := d.Evidence(nonce)
	if err != nil {
		b.Fatal(err)
	}
	report, err := d.Report(nonce)
	if err != nil {
		b.Fatal(err)
	}
	in := verifiers.Input{MediaType: evidence.MediaType{Base: MediaType}, Evidence: simulated.Array(object), Nonce: nonce, Time: at}
	deps := verifiers.Deps{Endorsements: load(b, fsys), ExtraRoots: map[string][]*x509.Certificate{Name: roots}}
	warm := newTest(b, deps)
	for _, c := range []struct {
		name     string
		verifier func() verifiers.Verifier
	}{
		{"cold", func() verifiers.Verifier { return newTest(b, deps) }},
		{"renewed", func() verifiers.Verifier {
			v, err := warm.(verifiers.Renewer).Renew(load(b, fsys))
			if err != nil {
				b.Fatal(err)
			}
			return v
		}},
		{"warm", func() verifiers.Verifier { return warm }},
	} {
		b.Run(c.name, func(b *testing.B) {
			newFloor(b, report, nvidiatest.PEM(d.Chain())).measure(b, func() {
				if a, err := c.verifier().Appraise(context.Background(), in); err != nil || a.Status() != verdict.TierAffirming {
					b.Fatal(a.Vector, a.Reasons, err)
				}
			})
		})
	}
}

// BenchmarkReferences is a hot appraisal without and with reference values, the
// right ones among twenty of other releases. The metric x-without is the ratio of
// the second to the first.
func BenchmarkReferences(b *testing.B) {
	f := measuring(b)
	raw := f.Leaf()
	entries := []refvalues.Entry{f.values("GH100", span(0, 40)...)}
	for i := range 19 {
		other := f.values("GH100", span(0, 40)...)
		for _, v := range other.Values {
			v.Digests[0].Value[0] ^= byte(i + 1)
		}
		entries = append(entries, other)
	}
	v := newTest(b, f.roots())
	appraise := func(x *corim.Index) {
		if _, err := v.Appraise(context.Background(), verifiers.Input{
			MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Nonce: f.Nonce, Time: at, References: x,
		}); err != nil {
			b.Fatal(err)
		}
	}
	x := indexOf(b, entries...)
	appraise(x)
	const rounds = 200
	start := time.Now()
	for range rounds {
		appraise(nil)
	}
	without := float64(time.Since(start)) / rounds
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		appraise(x)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/without, "x-without")
}
