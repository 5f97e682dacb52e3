// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-tdx-guest/testing/testdata"

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

// unhex takes the hexadecimal form in which some quotes were published.
func unhex(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	out, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(raw)), "0x"))
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

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

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func appraise(tb testing.TB, v *verifier, raw, nonce []byte, t time.Time) verdict.Appraisal {
	tb.Helper()
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: nonce, Time: t,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func hasReason(a verdict.Appraisal, code string) bool {
	for _, r := range a.Reasons {
		if r.Code == code {
			return true
		}
	}
	return false
}

// reportDataOf is the nonce that makes a well-formed quote fresh.
func reportDataOf(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	q, err := parseQuote(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Clone(q.ReportData())
}

// vectorCase is one recorded quote with what Intel's algorithm says of it.
type vectorCase struct {
	quote, collateral string
	at                string
	hardware          verdict.Claim
	config            verdict.Claim
	reason            string // that must be there
	platform          string // platform TCB status, if collateral was used
}

var recorded = []vectorCase{
	{"tdx/dcap-qvl/tdx_quote", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-01", 2, 2, verdict.ReasonNoReferenceValues, "UpToDate"},
	{"tdx/dcap-qvl/tdx_quote", "", "2025-07-01", 32, 2, verdict.ReasonNoCollateral, ""},
	{"tdx/dcap-qvl/tdx_quote", "tdx/dcap-qvl/tdx_quote_outdated_collateral.json", "2025-07-01", 32, 2, verdict.ReasonNoCollateral, ""},
	{"tdx/dcap-qvl/tdx_quote", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-20", 32, 2, verdict.ReasonCollateralInvalid, ""},
	{"tdx/dcap-qvl/tdx_quote", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-06-18", 32, 2, verdict.ReasonCollateralInvalid, ""},
	{"tdx/go-tdx-guest/quote_v5_sample.dat", "tdx/dcap-qvl/tdx_quote_outdated_collateral.json", "2026-03-01", 2, 2, verdict.ReasonNoReferenceValues, "UpToDate"},
	{"tdx/dcap-qvl/tdx_quote_outdated", "tdx/dcap-qvl/tdx_quote_outdated_collateral.json", "2026-03-01", 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
	{"tdx/trustee/tdx_quote_5.dat", "tdx/dcap-qvl/tdx_quote_outdated_collateral.json", "2026-03-01", 97, 32, verdict.ReasonTCBNotSupported, "NotSupported"},
	{"tdx/dcap-qvl/tdx-quote.hex", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-01", 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
	{"tdx/dcap-qvl/quote-from-tappd.hex", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-01", 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
	{"tdx/go-tdx-guest/tdx_prod_quote_SPR_E4.dat", "tdx/assembled/collateral_50806f000000_2023-07.json", "2023-07-01", 97, 32, verdict.ReasonTCBNotSupported, "NotSupported"},
	{"tdx/go-tdx-guest/ccel/cos-113-tdx-quote.dat", "", "2025-07-01", 32, 2, verdict.ReasonNoCollateral, ""},
}

func readQuote(tb testing.TB, name string) []byte {
	raw := vectors.Read(tb, name)
	if strings.HasSuffix(name, ".hex") {
		return unhex(tb, raw)
	}
	return trimmed(raw)
}

// sampleEnd is where the format 4 sample of go-tdx-guest ends; 39 bytes of
// text follow there "for testing purpose".
const sampleEnd = 4935

func trimmed(raw []byte) []byte {
	if len(raw) > sampleEnd && bytes.HasPrefix(raw[sampleEnd:], []byte("\nextra bytes")) {
		return raw[:sampleEnd:sampleEnd]
	}
	return raw
}

// sampleV4 is the format 4 sample without the text behind it.
func sampleV4() []byte { return trimmed(testdata.RawQuote) }

func TestRecordedQuotes(t *testing.T) {
	for _, c := range recorded {
		t.Run(c.quote+"@"+c.at, func(t *testing.T) {
			raw := readQuote(t, c.quote)
			var d verifiers.Deps
			if c.collateral != "" {
				d.Endorsements = bundle(t, vectors.Read(t, c.collateral))
			}
			a := appraise(t, newTest(t, d), raw, reportDataOf(t, raw), at(c.at))
			if a.Vector[verdict.Hardware] != c.hardware || a.Vector[verdict.Configuration] != c.config {
				t.Errorf("hardware %d configuration %d, expected %d %d; reasons %v",
					a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], c.hardware, c.config, a.Reasons)
			}
			if a.Vector[verdict.Executables] != 33 || a.Vector[verdict.RuntimeOpaque] != 2 {
				t.Errorf("vector %v", a.Vector)
			}
			if !hasReason(a, c.reason) || a.Freshness != verdict.FreshnessFresh {
				t.Errorf("reasons %v, freshness %s; expected %s", a.Reasons, a.Freshness, c.reason)
			}
			tcb, _ := a.Claims["tcb"].(map[string]any)
			if got, _ := tcb["status"].(string); got != c.platform {
				t.Errorf("TCB status %q, expected %q", got, c.platform)
			}
			if _, err := json.Marshal(a.Claims); err != nil {
				t.Error(err)
			}
			wantTier := verdict.TierWarning
			if c.hardware == 97 {
				wantTier = verdict.TierContraindicated
			}
			if a.Status() != wantTier {
				t.Errorf("%s, expected %s", a.Status(), wantTier)
			}
			if tcb != nil {
				outsideOfWindow(t, d, raw, tcb)
			}
		})
	}
}

// outsideOfWindow appraises a day before the collateral was issued and a day after
// it should have been replaced: whatever it said, it says nothing then.
func outsideOfWindow(t *testing.T, d verifiers.Deps, raw []byte, tcb map[string]any) {
	t.Helper()
	for name, shift := range map[string]int{"issue_date": -1, "next_update": 1} {
		end, err := time.Parse(time.RFC3339, tcb[name].(string))
		if err != nil {
			t.Fatal(err)
		}
		a := appraise(t, newTest(t, d), raw, reportDataOf(t, raw), end.AddDate(0, 0, shift))
		if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) || a.Claims["tcb"] != nil {
			t.Errorf("outside of %s: %v %v", name, a.Vector, a.Reasons)
		}
	}
}

// TestModuleQuotes needs no recorded folder: the quotes are in a Go module.
func TestModuleQuotes(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	for name, raw := range map[string][]byte{"v4": sampleV4(), "v5": testdata.RawQuoteV5} { // both chains are valid in 2026
		a := appraise(t, v, raw, reportDataOf(t, raw), at("2026-03-01"))
		if a.Status() != verdict.TierWarning || a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonNoCollateral) {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
		if len(a.Facts.Registers) != 6 || a.Facts.SignerSPKI == "" || len(a.Facts.Device) != 1 {
			t.Errorf("%s: facts %+v", name, a.Facts)
		}
	}
}

func TestTrailingData(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	padded := append(bytes.Clone(sampleV4()), make([]byte, 100)...)
	a := appraise(t, v, padded, nil, at("2025-07-01"))
	if a.Status() != verdict.TierWarning || a.Claims["padding_bytes"] != 100 {
		t.Errorf("zero padding: %v %v", a.Vector, a.Reasons)
	}
	padded[len(padded)-1] = 1
	for name, raw := range map[string][]byte{"last byte": padded, "text": testdata.RawQuote} {
		if a := appraise(t, v, raw, nil, at("2025-07-01")); !hasReason(a, verdict.ReasonMalformed) {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
	}
}

func TestContainers(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	b64 := base64.RawURLEncoding.EncodeToString(sampleV4())
	cases := []struct {
		name, mt, raw string
		reason        string // empty: understood
	}{
		{"json", typeJSON, `{"quote":"` + b64 + `"}`, ""},
		{"json with log", typeJSON, `{"quote":"` + b64 + `","cc_eventlog":"AAAA"}`, ""},
		{"json with other runtime data", typeJSON, `{"quote":"` + b64 + `","runtime_data":{"a":[1]}}`, verdict.ReasonBindingBroken},
		{"json without quote", typeJSON, `{"cc_eventlog":"AAAA"}`, verdict.ReasonMalformed},
		{"duplicate quote", typeJSON, `{"quote":"AAAA","quote":"` + b64 + `"}`, verdict.ReasonMalformed},
		{"unknown member", typeJSON, `{"quote":"` + b64 + `","nonce":"AAAA"}`, verdict.ReasonMalformed},
		{"trailing", typeJSON, `{"quote":"` + b64 + `"} {}`, verdict.ReasonMalformed},
		{"quote null", typeJSON, `{"quote":null}`, verdict.ReasonMalformed},
		{"padded", typeJSON, `{"quote":"` + b64 + `=="}`, verdict.ReasonMalformed},
		{"line break", typeJSON, `{"quote":"\n` + b64 + `"}`, verdict.ReasonMalformed},
		{"log not base64", typeJSON, `{"quote":"` + b64 + `","cc_eventlog":"!"}`, verdict.ReasonMalformed},
		{"open object", typeJSON, `{"quote":"` + b64 + `"`, verdict.ReasonMalformed},
		{"array", typeJSON, `["` + b64 + `"]`, verdict.ReasonMalformed},
		{"other media type", "application/vnd.assize.snp-report", string(testdata.RawQuote), verdict.ReasonMalformed},
		{"large", typeQuote, strings.Repeat("\x00", maxQuote+1), verdict.ReasonTooLarge},
		{"larger", typeJSON, strings.Repeat(" ", maxEvidence+1), verdict.ReasonTooLarge},
	}
	for _, c := range cases {
		a, err := v.Appraise(context.Background(), verifiers.Input{
			MediaType: evidence.MediaType{Base: c.mt}, Evidence: []byte(c.raw), Time: at("2025-07-01"),
		})
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.reason == "" && (a.Status() != verdict.TierWarning || a.Claims["mrtd"] == nil):
			t.Errorf("%s: %v %v", c.name, a.Vector, a.Reasons)
		case c.reason != "" && (!hasReason(a, c.reason) || a.Status() != verdict.TierContraindicated):
			t.Errorf("%s: %v, expected %s", c.name, a.Reasons, c.reason)
		case c.name == "json with log" && (a.Claims["event_log"] != nil || !hasReason(a, verdict.ReasonEventLogMismatch)):
			t.Errorf("%s: a log that cannot be read is in the claims, or not complained about", c.name)
		}
	}
}

func TestFreshness(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	raw := sampleV4()
	rd := reportDataOf(t, raw)
	other := bytes.Clone(rd)
	other[63] ^= 1
	for name, c := range map[string]struct {
		nonce  []byte
		want   verdict.Freshness
		reason string
	}{
		"equal":      {rd, verdict.FreshnessFresh, ""},
		"none":       {nil, verdict.FreshnessNotEstablished, verdict.ReasonNonceNotEstablished},
		"empty":      {[]byte{}, verdict.FreshnessNotEstablished, verdict.ReasonNonceNotEstablished},
		"last byte":  {other, verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		"prefix":     {rd[:32], verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		"one byte":   {rd[:1], verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		"and a zero": {append(bytes.Clone(rd), 0), verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
	} {
		a := appraise(t, v, raw, c.nonce, at("2025-07-01"))
		if a.Freshness != c.want || (c.reason != "" && !hasReason(a, c.reason)) || !bytes.Equal(a.NonceSeen, rd) {
			t.Errorf("%s: %s %v", name, a.Freshness, a.Reasons)
		}
		if c.want == verdict.FreshnessMismatch && a.Status() != verdict.TierContraindicated {
			t.Errorf("%s: status %s", name, a.Status())
		}
	}
}

func TestContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newTest(t, verifiers.Deps{}).Appraise(ctx, verifiers.Input{}); err == nil {
		t.Fatal("a verdict after the context ended")
	}
}

// loose loads files that may be broken.
func loose(tb testing.TB, file []byte) *endorsements.Bundle {
	tb.Helper()
	b, _, err := endorsements.Load(fstest.MapFS{"a.json": {Data: file}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
