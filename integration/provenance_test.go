// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// unread are recorded files that no test names, and why not.
var unread = map[string]string{
	"cca/veraison-services/cca-good.json":                  "what a builder made cca-good.cbor from",
	"cca/veraison-services/comid-cca-platform-refval.json": "template of the CBOR document, which is read",
	"cca/veraison-services/comid-cca-platform-ta.json":     "template of the CBOR document, which is read",
	"cca/veraison-services/comid-cca-realm-refval.json":    "template of the CBOR document, which is read",
	"cca/veraison-services/corim-cca-platform.json":        "template of the CBOR document, which is read",
	"cca/veraison-services/corim-cca-realm.json":           "template of the CBOR document, which is read",
	"psa/veraison-services/token/ec.p256.public.jwk":       "the key is in the documents",
	"psa/veraison-services/token/psa.good.json":            "what a builder made the token from",
	"snp/go-sev-guest/trust/*":                             "AMD's certificates, which are pinned",
	"snp/go-sev-guest/milan.testcer":                       "AMD's certificates, which are pinned",
	"snp/go-sev-guest/milanvlek.testcer":                   "AMD's certificates, which are pinned",
	"snp/microsoft/turin_ask.pem":                          "AMD's certificates, which are pinned",
	"snp/veraison-services/comid-sevsnp-refval.json":       "template of the CBOR document, which is read",
	"snp/veraison-services/comid-sevsnp-ta.json":           "template of the CBOR document, which is read",
	"snp/veraison-services/corim-sevsnp.json":              "template of the CBOR document, which is read",
	"snp/veraison-services/sevsnp-ratsd-claims.json":       "parts of sevsnp-ratsd-token, which is read",
	"snp/veraison-services/sevsnp-ratsd-env.json":          "parts of sevsnp-ratsd-token, which is read",
	"tdx/go-tdx-guest/ccel/ccel_table.dat":                 "the ACPI table that says where the log lies; evidence has the log alone",
	"tdx/go-tdx-guest/sample_qeIdentity_response":          "part of assembled/*_2023-07, which is read",
	"tdx/go-tdx-guest/sample_tcbInfo_response":             "part of assembled/*_2023-07, which is read",
	"tdx/go-tdx-guest/sample_tcbinfo_response_v5":          "TCB info without a QE identity of its time",
	"tdx/trustee/parse_tdx_claims_expected.json":           "claims under another verifier's names",
	"vtpm/dstack/gcp-root-ca.pem":                          "no certificate chain of its is recorded",
	"vtpm/go-eventlog/ccel/CCEL.bin":                       "the ACPI table that says where the log lies; evidence has the log alone",
	"vtpm/go-eventlog/ccel/cos-113-intel-tdx.table.bin":    "the ACPI table that says where the log lies; evidence has the log alone",
	"vtpm/trustee/az-snp-vtpm/quote.bin":                   "the TPM's quote in an encoding of its attester; the same quote is in evidence-v0.json",
	"vtpm/trustee/az-snp-vtpm/tpm-quote.sig":               "the signature is in tpm-quote-v1.json",
	"vtpm/trustee/az-snp-vtpm/vcek-genoa.pem":              "a certificate without a report of its chip",
}

// TestRecordedEvidenceIsUsed: what is recorded is read by a test that
// says what has to come out, or there is a reason why not.
func TestRecordedEvidenceIsUsed(t *testing.T) {
	root := vectors.Dir(t)
	tests := testSources(t)
	if len(tests) < 1<<20 {
		t.Fatalf("only %d bytes of tests were found", len(tests))
	}
	used := map[string]bool{}
	for _, family := range []string{"tdx", "sgx", "snp", "cca", "psa", "nitro", "vtpm", "nvidia"} {
		err := filepath.WalkDir(filepath.Join(root, family), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil || strings.HasPrefix(d.Name(), "PROVENANCE") || strings.HasPrefix(d.Name(), "SHA256SUMS") {
				return err
			}
			name = filepath.ToSlash(name)
			folder := filepath.ToSlash(filepath.Dir(name)) + "/*"
			switch {
			case unread[name] != "":
				used[name] = true
			case unread[folder] != "":
				used[folder] = true
			case strings.HasPrefix(name, "nvidia/corim/"): // nvidiagpu.TestCoRIMRecordings takes what lies there
			case !bytes.Contains(tests, []byte(d.Name())):
				t.Errorf("%s: no test names it", name)
			}
			return nil
		})
		must(t, err)
	}
	for name := range unread {
		if !used[name] {
			t.Errorf("%s is not recorded", name)
		}
	}
}

// testSources are all tests of schemes and parsers, this file not.
func testSources(t *testing.T) []byte {
	t.Helper()
	var all []byte
	for _, dir := range []string{"verifiers", "attester", "corim", "evidence", "endorsements", "integration", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") || d.Name() == "provenance_test.go" {
				return err
			}
			raw, err := os.ReadFile(path)
			all = append(all, raw...)
			return err
		})
		must(t, err)
	}
	return all
}
