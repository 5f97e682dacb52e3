// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"context"
	"encoding/base64"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/verifiertest"
)

func TestConformance(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	verifiertest.Run(t, Scheme(), verifiertest.Fixture{
		Name: "simulated", MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: m.Body[520:584],
		Time: m.Now, Before: m.Now.AddDate(-3, 0, 0), Deps: m.deps(bundle(t, m.Collateral())), Want: verdict.TierWarning,
	})
	// The recorded quote ends in zero padding inside its certification data.
	t.Run("recorded", func(t *testing.T) {
		raw := vectors.Read(t, "tdx/go-tdx-guest/quote_v5_sample.dat")
		verifiertest.Run(t, Scheme(), verifiertest.Fixture{
			Name: "v5", MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: reportDataOf(t, raw),
			Time: at("2026-03-01"), Before: at("2020-01-01"), Want: verdict.TierWarning,
			Deps: verifiers.Deps{Endorsements: bundle(t, vectors.Read(t, "tdx/dcap-qvl/tdx_quote_outdated_collateral.json"))},
		})
	})
}

// cborText and cborBytes are definite-length CBOR strings.
func cborText(s string) []byte { return append([]byte{0x60 | byte(len(s))}, s...) }

func cborBytes(b []byte) []byte { return append([]byte{0x59, byte(len(b) >> 8), byte(len(b))}, b...) }

func TestTSMReports(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	v := newTest(t, m.deps(bundle(t, m.Collateral())))
	b64 := base64.RawURLEncoding.EncodeToString(raw)
	asJSON := func(provider string) []byte { return []byte(`{"provider":"` + provider + `","outblob":"` + b64 + `"}`) }
	cbor := append([]byte{0xa2}, cborText("outblob")...)
	cbor = append(append(cbor, cborBytes(raw)...), append(cborText("provider"), cborText(tsmProvider)...)...)
	for _, c := range []struct {
		name, mt, param string
		raw             []byte
		ok              bool
	}{
		{"json", typeTSMJSON, tsmProvider, asJSON(tsmProvider), true},
		{"json of the kernel", typeTSMJSON, tsmProvider, asJSON(tsmProvider + `\n`), true},
		{"cbor", typeTSMCBOR, tsmProvider, cbor, true},
		{"other provider", typeTSMJSON, tsmProvider, asJSON("sev_guest"), false},
		{"broken", typeTSMJSON, tsmProvider, asJSON(tsmProvider)[:100], false},
		{"cbor cut", typeTSMCBOR, tsmProvider, cbor[:len(cbor)-1], false},
	} {
		a, err := v.Appraise(context.Background(), verifiers.Input{
			MediaType: evidence.MediaType{Base: c.mt, Params: map[string]string{"provider": c.param}},
			Evidence:  c.raw, Nonce: m.Body[520:584], Time: m.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.ok && (a.Vector[verdict.Hardware] != 2 || a.Freshness != verdict.FreshnessFresh) {
			t.Errorf("%s: %v %v", c.name, a.Vector, a.Reasons)
		}
		if !c.ok {
			expectRejected(t, c.name, a, verdict.ReasonMalformed)
		}
	}
}
