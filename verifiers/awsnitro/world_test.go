// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	sim "github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

var (
	now       = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	testNonce = pki.NewSeed("nonce").Bytes(nonceSize)
)

// enclave makes a simulated enclave.
func enclave(tb testing.TB, change func(*sim.Options)) *sim.Device {
	tb.Helper()
	o := sim.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, Image: "test"}
	if change != nil {
		change(&o)
	}
	d, err := sim.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func document1(tb testing.TB, d *sim.Device) []byte {
	tb.Helper()
	raw, err := d.Evidence(testNonce)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// bundle is a bundle of files by name.
func bundle(tb testing.TB, files map[string][]byte) *endorsements.Bundle {
	tb.Helper()
	fsys := fstest.MapFS{}
	for name, f := range files {
		fsys[name] = &fstest.MapFile{Data: f}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) != 0 {
		tb.Fatalf("load: %v %v", err, warnings)
	}
	return b
}

// deps trust the simulated root, and have the revocation lists if crls is set.
func deps(tb testing.TB, d *sim.Device, crls bool) verifiers.Deps {
	tb.Helper()
	out := verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {d.Root()}}}
	if crls {
		files, err := d.Endorsements()
		if err != nil {
			tb.Fatal(err)
		}
		out.Endorsements = bundle(tb, files)
	}
	return out
}

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func input(raw, nonce []byte, at time.Time) verifiers.Input {
	return verifiers.Input{MediaType: evidence.MediaType{Base: typeDocument}, Evidence: raw, Nonce: nonce, Time: at}
}

func appraise(tb testing.TB, v *verifier, in verifiers.Input) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func codes(a verdict.Appraisal) string {
	var out []string
	for _, r := range a.Reasons {
		out = append(out, r.Code)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func expectRejected(t *testing.T, what string, a verdict.Appraisal, code, words string) {
	t.Helper()
	if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || codes(a) != code || a.Claims != nil || a.NonceSeen != nil || a.Facts.Device != nil {
		t.Errorf("%s: %v %v, expected %s", what, a.Vector, a.Reasons, code)
	}
	if !strings.Contains(a.Reasons[0].Detail, words) {
		t.Errorf("%s: %q does not say %q", what, a.Reasons[0].Detail, words)
	}
}

// indexOf are reference values for PCRs, one triple for each table.
func indexOf(tb testing.TB, at time.Time, tables ...map[uint64][]byte) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", at)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(at, referenceDocument(at, tables...))
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func referenceDocument(at time.Time, tables ...map[uint64][]byte) refvalues.Document {
	d := refvalues.Document{ID: "release", TagID: "values", Profile: refvalues.Profile, NotBefore: at.Add(-time.Hour), NotAfter: at.AddDate(0, 6, 0)}
	for _, pcrs := range tables {
		registers := map[uint64][]refvalues.Digest{}
		for i, v := range pcrs {
			registers[i] = []refvalues.Digest{{Alg: "sha-384", Value: v}}
		}
		d.Entries = append(d.Entries, refvalues.Entry{
			Environment: refvalues.Environment{ClassID: "tag:assize.dev,2026:aws-nitro"}, Values: []refvalues.Value{{Registers: registers}},
		})
	}
	return d
}

// pcrsOf are the PCRs of a document, some of them if any are named.
func pcrsOf(tb testing.TB, raw []byte, only ...uint64) map[uint64][]byte {
	tb.Helper()
	_, d, err := parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	out := map[uint64][]byte{}
	for i, v := range d.pcrs {
		if len(only) == 0 || slices.Contains(only, i) {
			out[i] = slices.Clone(v)
		}
	}
	return out
}

// forger signs documents that no simulator makes, under the simulated root.
type forger struct {
	tb    testing.TB
	chain []*pki.Authority // root first, the key that signs last
	// change edits the members of the payload.
	change func(m map[string]any)
	// payload replaces it as a whole.
	payload []byte
	alg     cose.Algorithm
	headers func(*cose.Headers)
}

func newForger(tb testing.TB) *forger {
	return &forger{tb: tb, chain: enclave(tb, nil).Authorities(), alg: cose.AlgorithmES384}
}

// issue makes a certificate below another one as it stands in the chain, changed.
func (f *forger) issue(parent, like int, curve elliptic.Curve, change func(*x509.Certificate)) *pki.Authority {
	f.tb.Helper()
	old := f.chain[like].Cert
	key, err := pki.NewSeed("forged " + old.Subject.CommonName).ECDSA(curve)
	if err != nil {
		f.tb.Fatal(err)
	}
	t := &x509.Certificate{
		SerialNumber: new(big.Int).Add(old.SerialNumber, big.NewInt(1)), Subject: old.Subject, NotBefore: old.NotBefore, NotAfter: old.NotAfter,
		KeyUsage: old.KeyUsage, BasicConstraintsValid: true, IsCA: old.IsCA, MaxPathLen: old.MaxPathLen, MaxPathLenZero: old.MaxPathLenZero,
	}
	if change != nil {
		change(t)
	}
	var a *pki.Authority
	if parent < 0 {
		a, err = pki.Root(key, t)
	} else {
		a, err = f.chain[parent].Issue(key, t)
	}
	if err != nil {
		f.tb.Fatal(err)
	}
	return a
}

// swap replaces certificate i by one that was changed, and reissues those below.
func (f *forger) swap(i int, curve elliptic.Curve, change func(*x509.Certificate)) {
	f.chain = slices.Clone(f.chain)
	f.chain[i] = f.issue(i-1, i, curve, change)
	for j := i + 1; j < len(f.chain); j++ {
		f.chain[j] = f.issue(j-1, j, elliptic.P384(), nil)
	}
}

func (f *forger) document() []byte {
	f.tb.Helper()
	last := len(f.chain) - 1
	pcrs := map[uint64][]byte{}
	for i := range uint64(16) {
		pcrs[i] = make([]byte, pcrSize)
		pcrs[i][0] = byte(i + 1)
	}
	var bundle [][]byte
	for _, a := range f.chain[:last] {
		bundle = append(bundle, a.Cert.Raw)
	}
	name, _, _ := strings.Cut(f.chain[last].Cert.Subject.CommonName, ".")
	m := map[string]any{
		"module_id": name, "digest": "SHA384", "timestamp": uint64(now.UnixMilli()), "pcrs": pcrs,
		"certificate": f.chain[last].Cert.Raw, "cabundle": bundle, "public_key": nil, "user_data": nil, "nonce": testNonce,
	}
	if f.change != nil {
		f.change(m)
	}
	payload := f.payload
	if payload == nil {
		payload = marshal(f.tb, m)
	}
	signer, err := cose.NewSigner(f.alg, plain{f.chain[last].Key.(*ecdsa.PrivateKey)})
	if err != nil {
		f.tb.Fatal(err)
	}
	h := cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: f.alg}}
	if f.headers != nil {
		f.headers(&h)
	}
	raw, err := cose.Sign1Untagged(nil, signer, h, payload, nil)
	if err != nil {
		f.tb.Fatal(err)
	}
	return raw
}

// plain signs without randomness whatever digest it is given.
type plain struct{ key *ecdsa.PrivateKey }

func (p plain) Public() crypto.PublicKey { return p.key.Public() }

func (p plain) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return p.key.Sign(nil, digest, map[int]crypto.Hash{32: crypto.SHA256, 48: crypto.SHA384, 64: crypto.SHA512}[len(digest)])
}

func marshal(tb testing.TB, v any) []byte {
	tb.Helper()
	mode, err := cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode()
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := mode.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// nameConstraint is a critical extension that Go evaluates and we do not.
var nameConstraint = pkix.Extension{Id: oidNameConstraints, Critical: true, Value: []byte{0x30, 0x09, 0xa0, 0x07, 0x30, 0x05, 0x82, 0x03, 'x', '.', 'y'}}
