// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s+"T00:00:00Z")
	if err != nil {
		panic(err)
	}
	return t
}

const (
	recordedQuote      = "sgx/dcap-qvl/sgx_quote"
	recordedCollateral = "sgx/dcap-qvl/sgx_quote_collateral.json"
)

// TestRecorded is what Intel's algorithm says of recorded quotes, at the time for
// which their collateral was published and at others.
func TestRecorded(t *testing.T) {
	for _, c := range []struct {
		collateral, at            string
		hardware, config          verdict.Claim
		code, status              string
		evaluation                int
		advisories                []any
		platformLevel, qeIdentity string
	}{
		{recordedCollateral, "2025-07-01", 32, 32, verdict.ReasonTCBConfiguration, "ConfigurationAndSWHardeningNeeded", 17,
			[]any{"INTEL-SA-00289", "INTEL-SA-00615"}, "ConfigurationAndSWHardeningNeeded", "UpToDate"},
		{"", "2025-07-01", 32, 2, verdict.ReasonNoCollateral, "", 0, nil, "", ""},
		{"tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-01", 32, 2, verdict.ReasonNoCollateral, "", 0, nil, "", ""},
		{recordedCollateral, "2025-07-20", 32, 2, verdict.ReasonCollateralInvalid, "", 0, nil, "", ""},
		{recordedCollateral, "2025-06-18", 32, 2, verdict.ReasonCollateralInvalid, "", 0, nil, "", ""},
	} {
		t.Run(c.collateral+" "+c.at, func(t *testing.T) {
			raw := vectors.Read(t, recordedQuote)
			var b *endorsements.Bundle
			if c.collateral != "" {
				b = bundle(t, vectors.Read(t, c.collateral))
			}
			a, err := newTest(t, verifiers.Deps{Endorsements: b}).Appraise(context.Background(), verifiers.Input{
				MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: raw[48+320 : 48+384], Time: at(c.at),
			})
			if err != nil {
				t.Fatal(err)
			}
			want := verdict.Vector{}
			want[verdict.Hardware], want[verdict.Configuration], want[verdict.Executables], want[verdict.RuntimeOpaque] = c.hardware, c.config, 33, 2
			if a.Vector != want || a.Status() != verdict.TierWarning || a.Freshness != verdict.FreshnessFresh {
				t.Errorf("vector %v, tier %s, freshness %s: %v", a.Vector, a.Status(), a.Freshness, a.Reasons)
			}
			reasons := []string{c.code, verdict.ReasonNoReferenceValues}
			slices.Sort(reasons)
			if !slices.Equal(codes(a), reasons) {
				t.Errorf("reasons %v", a.Reasons)
			}
			tcb, _ := a.Claims["tcb"].(map[string]any)
			if c.status == "" {
				if tcb != nil {
					t.Errorf("a TCB without usable collateral: %v", tcb)
				}
				return
			}
			level, qe := tcb["platform_level"].(map[string]any), tcb["qe"].(map[string]any)
			if tcb["status"] != c.status || tcb["evaluation_number"] != c.evaluation || !reflect.DeepEqual(tcb["advisories"], c.advisories) ||
				level["status"] != c.platformLevel || qe["status"] != c.qeIdentity {
				t.Errorf("TCB %v", tcb)
			}
			pck := a.Claims["pck"].(map[string]any)
			if pck["ca"] != "processor" || pck["fmspc"] != "00a067110000" || a.Claims["quote_version"] != 3 {
				t.Errorf("claims %v", a.Claims)
			}
			if len(a.Facts.Device) != 1 || a.Facts.Registers["mrenclave"] != "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb" ||
				a.Facts.Registers["mrsigner"] != "815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6" || a.Facts.ReportData == "" {
				t.Errorf("facts %+v", a.Facts)
			}
		})
	}
}

// TestRecordedAllowed: the advisory of which an operator knows is one of two, and
// configuration stays what it is.
func TestRecordedAllowed(t *testing.T) {
	raw := vectors.Read(t, recordedQuote)
	d := verifiers.Deps{Endorsements: bundle(t, vectors.Read(t, recordedCollateral))}
	for text, want := range map[string]verdict.Claim{"[INTEL-SA-00289, INTEL-SA-00615]": 2, "[INTEL-SA-00615]": 32} {
		a := appraise(t, newTest(t, withPolicy(t, d, "parameters: {allowed_advisories: "+text+"}\n")), raw, at("2025-07-01"), nil)
		if a.Vector[verdict.Hardware] != want || a.Vector[verdict.Configuration] != 32 {
			t.Errorf("%s: %v %v", text, a.Vector, a.Reasons)
		}
	}
}

// TestNeeds: what a quote asks for, read from nothing that is verified.
func TestNeeds(t *testing.T) {
	mt := evidence.MediaType{Base: typeQuote}
	for _, processor := range []bool{false, true} {
		o := options()
		o.Processor = processor
		m := newMachine(t, func(s *sim.Options) { *s = o })
		want := endorsements.Need{Kind: endorsements.NeedIntelSGX, FMSPC: m.FMSPC(), CA: map[bool]string{false: "platform", true: "processor"}[processor]}
		if got := Scheme().Needs(mt, m.raw); !slices.Equal(got, []endorsements.Need{want}) {
			t.Errorf("%v, expected %v", got, want)
		}
		if items, err := want.Items(); err != nil || len(items) != 4 {
			t.Errorf("%v %v", items, err)
		}
		for _, raw := range [][]byte{nil, m.raw[:400], bytes.Replace(m.raw, []byte{3, 0, 2, 0}, []byte{9, 0, 2, 0}, 1)} {
			if got := Scheme().Needs(mt, raw); got != nil {
				t.Errorf("needs of what is no quote: %v", got)
			}
		}
	}
	recorded := vectors.Read(t, recordedQuote)
	if got := Scheme().Needs(mt, recorded); !slices.Equal(got, []endorsements.Need{{Kind: endorsements.NeedIntelSGX, FMSPC: "00a067110000", CA: "processor"}}) {
		t.Errorf("%v", got)
	}
	if got := Scheme().Needs(mt, vectors.Read(t, "tdx/dcap-qvl/tdx_quote")); got != nil {
		t.Errorf("needs of a TDX quote: %v", got)
	}
}
