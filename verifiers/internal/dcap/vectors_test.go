// SPDX-License-Identifier: Apache-2.0

package dcap_test

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-tdx-guest/pcs"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s+"T00:00:00Z")
	if err != nil {
		panic(err)
	}
	return t
}

func bundle(tb testing.TB, files ...[]byte) *endorsements.Bundle {
	tb.Helper()
	fsys := fstest.MapFS{}
	for i, f := range files {
		fsys[fmt.Sprintf("%02d", i)] = &fstest.MapFile{Data: f}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) != 0 {
		tb.Fatalf("load: %v %v", err, warnings)
	}
	return b
}

// recorded are quotes of real platforms with what Intel's algorithm says of them.
var recorded = []struct {
	quote, collateral, at string
	tee                   dcap.TEE
	status                dcap.Status
	advisories, ca        string
}{
	{"tdx/dcap-qvl/tdx_quote", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-01", dcap.TDX, dcap.UpToDate, "[]", "platform"},
	{"tdx/go-tdx-guest/quote_v5_sample.dat", "tdx/dcap-qvl/tdx_quote_outdated_collateral.json", "2026-03-01", dcap.TDX, dcap.UpToDate, "[]", "platform"},
	{"tdx/dcap-qvl/tdx_quote_outdated", "tdx/dcap-qvl/tdx_quote_outdated_collateral.json", "2026-03-01", dcap.TDX, dcap.NotSupported, "", "platform"},
	{"tdx/trustee/tdx_quote_5.dat", "tdx/dcap-qvl/tdx_quote_outdated_collateral.json", "2026-03-01", dcap.TDX, dcap.NotSupported, "", "platform"},
	{"tdx/dcap-qvl/tdx-quote.hex", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-01", dcap.TDX, dcap.NotSupported, "", "platform"},
	{"tdx/dcap-qvl/quote-from-tappd.hex", "tdx/dcap-qvl/tdx_quote_collateral.json", "2025-07-01", dcap.TDX, dcap.NotSupported, "", "platform"},
	{"tdx/go-tdx-guest/tdx_prod_quote_SPR_E4.dat", "tdx/assembled/collateral_50806f000000_2023-07.json", "2023-07-01", dcap.TDX, dcap.NotSupported, "", "platform"},
	{"sgx/dcap-qvl/sgx_quote", "sgx/dcap-qvl/sgx_quote_collateral.json", "2025-07-01", dcap.SGX, dcap.ConfigurationAndSWHardeningNeeded,
		"[INTEL-SA-00289 INTEL-SA-00615]", "processor"},
}

// readQuote reads a quote in binary or hexadecimal, without the text that one
// sample has behind it.
func readQuote(tb testing.TB, name string) []byte {
	tb.Helper()
	raw := vectors.Read(tb, name)
	if strings.HasSuffix(name, ".hex") {
		out, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(raw)), "0x"))
		if err != nil {
			tb.Fatal(err)
		}
		return out
	}
	if i := strings.Index(string(raw), "\nextra bytes"); i > 0 {
		return raw[:i]
	}
	return raw
}

func TestRecordedQuotes(t *testing.T) {
	for _, c := range recorded {
		t.Run(c.quote, func(t *testing.T) {
			q, err := dcap.Parse(readQuote(t, c.quote))
			if err != nil {
				t.Fatal(err)
			}
			v, err := dcap.NewVerifier(nil, bundle(t, vectors.Read(t, c.collateral)), c.tee)
			if err != nil {
				t.Fatal(err)
			}
			p, _, f := v.VerifyQuote(q)
			if f != nil {
				t.Fatal(f)
			}
			j := v.Judge(q, p, at(c.at), 0)
			if j.TCB == nil || j.TCB.Status != c.status || c.advisories != "" && fmt.Sprint(j.TCB.Advisories) != c.advisories || p.CA != c.ca || j.Revoked != "" {
				t.Fatalf("%s, CA %s", j, p.CA)
			}
			if (len(j.TCB.Failures) > 0) != (c.status == dcap.NotSupported) {
				t.Errorf("%v", j.TCB.Failures)
			}
			// What is pinned for platforms without collateral is what this platform has.
			if j := v.Renew(nil).Judge(q, p, at(c.at), 0); j.TCB != nil || len(j.Pinned) != 0 || len(j.Complaints) != 0 {
				t.Errorf("without collateral: %s %v", j, j.Pinned)
			}
			// The same PCK certificate as the library reads it.
			ext, err := pcs.PckCertificateExtensions(p.Leaf())
			if err != nil {
				t.Fatal(err)
			}
			if ext.FMSPC != p.FMSPC || ext.PPID != p.PPID || ext.PCEID != p.PCEID || ext.TCB.PCESvn != p.PCESVN ||
				!reflect.DeepEqual(ext.TCB.CPUSvnComponents, p.SGXSVN[:]) {
				t.Errorf("%+v, here %+v", ext, p)
			}
		})
	}
}

// TestOtherTEE: a verifier of one TEE takes nothing from the other but revocations.
func TestOtherTEE(t *testing.T) {
	both := bundle(t, vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json"), vectors.Read(t, "sgx/dcap-qvl/sgx_quote_collateral.json"))
	for _, tee := range []dcap.TEE{dcap.SGX, dcap.TDX} {
		v, err := dcap.NewVerifier(nil, both, tee)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Held(); got != [4]int{1, 1, 3, 0} {
			t.Errorf("%s: TCB infos, QE identities, CAs with CRLs, faults: %v", tee, got)
		}
		for _, name := range []string{"tdx/dcap-qvl/tdx_quote", "sgx/dcap-qvl/sgx_quote"} {
			q, err := dcap.Parse(readQuote(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, f := v.VerifyQuote(q); (f == nil) != (q.TEE == tee) || f != nil && f.Code != verdict.ReasonMalformed {
				t.Errorf("%s with a quote of %s: %v", tee, q.TEE, f)
			}
		}
	}
}
