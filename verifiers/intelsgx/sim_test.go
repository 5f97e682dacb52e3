// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"context"
	"crypto/x509"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

var (
	now   = time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)
	nonce = pki.NewSeed("challenge").Bytes(nonceSize)
)

func options() sim.Options {
	return sim.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, ProdID: 7, SVN: 5}
}

// machine is one simulated enclave with what belongs to it.
type machine struct {
	*sim.Device
	raw    []byte
	bundle *endorsements.Bundle
}

func newMachine(tb testing.TB, set func(*sim.Options)) machine {
	tb.Helper()
	o := options()
	if set != nil {
		set(&o)
	}
	d, err := sim.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	m := machine{Device: d}
	if m.raw, err = d.Evidence(nonce); err != nil {
		tb.Fatal(err)
	}
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	for _, raw := range files {
		m.bundle = bundle(tb, raw)
	}
	return m
}

// bundle loads collateral as a verifier does.
func bundle(tb testing.TB, files ...[]byte) *endorsements.Bundle {
	tb.Helper()
	fsys := fstest.MapFS{}
	for i, f := range files {
		fsys[string(rune('a'+i))+".json"] = &fstest.MapFile{Data: f}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) != 0 {
		tb.Fatalf("load: %v %v", err, warnings)
	}
	return b
}

func (m machine) deps() verifiers.Deps {
	return verifiers.Deps{Endorsements: m.bundle, ExtraRoots: map[string][]*x509.Certificate{Name: {m.Root()}}}
}

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func appraise(tb testing.TB, v verifiers.Verifier, raw []byte, t time.Time, refs *corim.Index) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: nonce, Time: t, References: refs,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// withPolicy edits the policy of the scheme by YAML.
func withPolicy(tb testing.TB, d verifiers.Deps, text string) verifiers.Deps {
	tb.Helper()
	p, err := policy().Parse([]byte("scheme: " + Name + "\n" + text))
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	d.Policies = map[string]*appraisal.Policy{Name: p}
	return d
}

// codes are the reason codes, sorted, each once.
func codes(a verdict.Appraisal) []string {
	var out []string
	for _, r := range a.Reasons {
		out = append(out, r.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// expectRejected wants 99 in all claims with that reason, and nothing repeated.
func expectRejected(tb testing.TB, name string, a verdict.Appraisal, code string) {
	tb.Helper()
	for _, n := range Scheme().Required {
		if a.Vector[n] != verdict.ClaimCryptoFailed {
			tb.Errorf("%s: %s is %d: %v", name, n, a.Vector[n], a.Reasons)
			return
		}
	}
	if len(a.Reasons) != 1 || a.Reasons[0].Code != code || len(a.Claims) != 0 || a.Facts.Device != nil || a.NonceSeen != nil {
		tb.Errorf("%s: %v, claims %v; expected %s", name, a.Reasons, a.Claims, code)
	}
}
