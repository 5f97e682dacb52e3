// SPDX-License-Identifier: Apache-2.0

package intelsgx_test

import (
	"context"
	"crypto/x509"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	sgx "github.com/assize/assize/verifiers/intelsgx"
	tdx "github.com/assize/assize/verifiers/inteltdx"
)

// deps are collateral and root of a machine, for both schemes.
func deps(tb testing.TB, root *x509.Certificate, files map[string][]byte) verifiers.Deps {
	tb.Helper()
	fsys := fstest.MapFS{}
	for name, raw := range files {
		fsys[name] = &fstest.MapFile{Data: raw}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) != 0 {
		tb.Fatalf("%v %v", warnings, err)
	}
	roots := []*x509.Certificate{root}
	return verifiers.Deps{Endorsements: b, ExtraRoots: map[string][]*x509.Certificate{sgx.Name: roots, tdx.Name: roots}}
}

func appraise(tb testing.TB, s verifiers.Scheme, d verifiers.Deps, in verifiers.Input) verdict.Appraisal {
	tb.Helper()
	v, err := s.New(d)
	if err != nil {
		tb.Fatal(err)
	}
	a, err := v.Appraise(context.Background(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// TestScheme: an honest machine with the reference values that go with it is
// affirming, and each fault is about what it is.
func TestScheme(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*intelsgx.Options)
		tier verdict.Tier
		code string
	}{
		{"honest", func(*intelsgx.Options) {}, verdict.TierAffirming, ""},
		{"KSS", func(o *intelsgx.Options) {
			o.Attributes, o.ConfigID = intelsgx.FlagInit|intelsgx.FlagMode64|intelsgx.FlagKSS, make([]byte, intelsgx.ConfigIDSize)
			o.ConfigID[0], o.ConfigSVN = 1, 2
		}, verdict.TierAffirming, ""},
		{"debug", func(o *intelsgx.Options) { o.Debug = true }, verdict.TierContraindicated, verdict.ReasonDebug},
		{"outdated", func(o *intelsgx.Options) { o.OutdatedTCB = true }, verdict.TierWarning, verdict.ReasonTCBOutOfDate},
		{"revoked", func(o *intelsgx.Options) { o.Revoked = true }, verdict.TierContraindicated, verdict.ReasonRevoked},
		{"expired", func(o *intelsgx.Options) { o.Expired = true }, verdict.TierContraindicated, verdict.ReasonExpired},
		{"wrong signer", func(o *intelsgx.Options) { o.WrongSigner = true }, verdict.TierContraindicated, verdict.ReasonSignatureInvalid},
		{"measurement", func(o *intelsgx.Options) { o.Measurement = true }, verdict.TierContraindicated, verdict.ReasonMeasurementMismatch},
	} {
		for _, form := range []intelsgx.Quote{intelsgx.V3, intelsgx.V4, intelsgx.V5} {
			o := options()
			o.Quote, o.SVN = form, 4
			c.set(&o)
			d := newDevice(t, o)
			files, err := d.Endorsements()
			if err != nil {
				t.Fatal(err)
			}
			in := verifiers.Input{
				MediaType: evidence.MediaType{Base: intelsgx.TypeQuote}, Evidence: quote(t, d, reportData("n")), Nonce: reportData("n"), Time: o.Now,
				References: index(t, d, o.Now),
			}
			a := appraise(t, sgx.Scheme(), deps(t, d.Root(), files), in)
			found := c.code == "" && len(a.Reasons) == 0
			for _, r := range a.Reasons {
				found = found || r.Code == c.code
			}
			if a.Status() != c.tier || !found {
				t.Errorf("%s, form %d: %s %v", c.name, form, a.Status(), a.Reasons)
			}
		}
	}
}

// index are the reference values of a machine.
func index(tb testing.TB, d *intelsgx.Device, now time.Time) *corim.Index {
	tb.Helper()
	e, err := refvalues.IntelSGX(d.Measurements())
	if err != nil {
		tb.Fatal(err)
	}
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(now, refvalues.Document{ID: "d", TagID: "t", Profile: refvalues.Profile, Entries: []refvalues.Entry{e}})
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// TestOtherScheme: a quote of one TEE is nothing for the scheme of the other, under
// one root and with the collateral of both.
func TestOtherScheme(t *testing.T) {
	o := options()
	enclave := newDevice(t, o)
	domain, err := inteltdx.New(inteltdx.Options{Vendor: o.Vendor, Device: o.Device, Now: o.Now})
	if err != nil {
		t.Fatal(err)
	}
	files, err := enclave.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	more, err := domain.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range more {
		files[name] = raw
	}
	d := deps(t, enclave.Root(), files)
	expect := func(what string, s verifiers.Scheme, mt string, raw []byte) {
		t.Helper()
		a := appraise(t, s, d, verifiers.Input{MediaType: evidence.MediaType{Base: mt}, Evidence: raw, Nonce: reportData("n"), Time: o.Now})
		refused := len(a.Reasons) == 1 && a.Reasons[0].Code == verdict.ReasonUnsupported
		if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || !refused {
			t.Errorf("%s: %v %v", what, a.Vector, a.Reasons)
		}
	}
	for _, form := range []intelsgx.Quote{intelsgx.V3, intelsgx.V4, intelsgx.V5} {
		o.Quote = form
		expect("SGX as TDX", tdx.Scheme(), inteltdx.TypeQuote, quote(t, newDevice(t, o), reportData("n")))
	}
	raw, err := domain.Evidence(reportData("n"))
	if err != nil {
		t.Fatal(err)
	}
	expect("TDX as SGX", sgx.Scheme(), intelsgx.TypeQuote, raw)
	t.Run("recorded", func(t *testing.T) {
		expect("SGX as TDX", tdx.Scheme(), inteltdx.TypeQuote, vectors.Read(t, "sgx/dcap-qvl/sgx_quote"))
		expect("TDX as SGX", sgx.Scheme(), intelsgx.TypeQuote, vectors.Read(t, "tdx/dcap-qvl/tdx_quote"))
	})
}
