// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// Recorded manifests.
const (
	sdkTest     = sdkDir + "testdata/"
	mockDriver  = nvtrust + "Driver_RIM_test_no_gpu.swidtag"
	mockVBIOS   = nvtrust + "1010_0200_882_96005E0001_test_no_gpu.swidtag"
	prodVBIOS   = nvtrust + "1010_0200_882_96005E0001_PROD.swidtag"
	prodVBIOS4  = nvtrust + "1010_0205_862_96005E0004_PROD.swidtag"
	laterVBIOS  = sdkTest + "sample_rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml"
	editedH535  = sdkTest + "sample_rims/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml"
	editedH570  = sdkTest + "sample_rims/NV_GPU_DRIVER_GH100_570.124.03_expired.xml"
	driver550   = sdkTest + "NV_GPU_DRIVER_GH100_550.144.03.xml"
	otherRoot   = sdkTest + "incorrect_cert_chain_driver_rim.xml"
	badDriver   = sdkTest + "incorrect_signature_driver_rim.xml"
	mockReport  = "nvidia/go-nvtrust/attestationReport.txt"
	h535Report  = sampled + "hopperAttestationReport.txt"
	h570Report  = sampled + "hopperAttestationReportExpired.txt"
	mockVBIOSID = "NV_GPU_VBIOS_1010_0200_882_96005E0001"
)

// underID is a recorded manifest as it lies in a store under an identifier.
func underID(id, file string) string { return id + "=" + file }

// bundleOf loads recorded files into a bundle, each under its own name, or under
// the identifier in front of it.
func bundleOf(tb testing.TB, files ...string) *endorsements.Bundle {
	tb.Helper()
	fsys := fstest.MapFS{}
	for _, f := range files {
		id, file, named := strings.Cut(f, "=")
		name := id + ".xml"
		if !named {
			file, name = f, path.Base(f)
		}
		fsys[name] = &fstest.MapFile{Data: vectors.Read(tb, file)}
	}
	return load(tb, fsys)
}

// load wants every file to be understood.
func load(tb testing.TB, fsys fstest.MapFS) *endorsements.Bundle {
	tb.Helper()
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) > 0 {
		tb.Fatal(warnings, err)
	}
	return b
}

// policyOf is the scheme's policy with other parameters, nil for none.
func policyOf(tb testing.TB, parameters string) map[string]*appraisal.Policy {
	tb.Helper()
	if parameters == "" {
		return nil
	}
	p, err := Scheme().Policy.Parse([]byte("scheme: " + Name + "\nparameters: {" + parameters + "}\n"))
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]*appraisal.Policy{Name: p}
}

// appraiseIn is appraise with collateral and an edited policy.
func appraiseIn(tb testing.TB, b *endorsements.Bundle, parameters string, leaf, nonce []byte, when time.Time) verdict.Appraisal {
	tb.Helper()
	return appraise(tb, newTest(tb, verifiers.Deps{Endorsements: b, Policies: policyOf(tb, parameters)}), leaf, nonce, when)
}

// differing are the indices in NVIDIA's claim about mismatches.
func differing(a verdict.Appraisal) (out []int) {
	list, _ := a.Claims["x-nvidia-mismatch-measurement-records"].([]any)
	for _, r := range list {
		out = append(out, r.(map[string]any)["index"].(int))
	}
	return out
}

func day(tb testing.TB, s string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// measuredRow is one row of the table "Measurement oracle" beside the recordings, and
// rows that follow from the manifests there.
type measuredRow struct {
	name, report string
	manifests    []string
	at           string
	parameters   string
	executables  verdict.Claim
	configured   verdict.Claim
	// differ are the indices that do not match.
	differ []int
	// codes are those of all reasons, sorted, each once.
	codes string
	// says must be in a reason.
	says string
}

// statusAside takes away that a manifest is a warning without the status of those who
// signed it, of which none is recorded, to see what the comparison says.
const statusAside = "manifest_revocation: optional"

var measuredRows = []measuredRow{
	// The table.
	{"545.00, driver and VBIOS", mockReport, []string{mockDriver, mockVBIOS}, "2024-01-15", "", 32, 36, nil, "no-collateral no-reference-values revocation-unknown", "the revocation status of its signer is not known"},
	{"545.00, driver and VBIOS, status aside", mockReport, []string{mockDriver, mockVBIOS}, "2024-01-15", statusAside, 3, 36, nil, "configuration no-collateral", "does not say in which mode"},
	{"545.00, driver alone", mockReport, []string{mockDriver}, "2024-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", "there is no manifest NV_GPU_VBIOS_1010_0200_882_96005E0001"},
	{"545.00, VBIOS alone", mockReport, []string{mockVBIOS}, "2024-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", "there is no manifest NV_GPU_DRIVER_GH100_545.00"},
	{"545.00, production VBIOS", mockReport, []string{mockDriver, prodVBIOS}, "2024-01-15", statusAside, 96, 36, []int{1, 2, 3, 9}, "claim-not-asserted measurement-mismatch no-collateral", "measurement 9 (Measurement_9): mismatch"},
	// Of the issues of one age the one counts that fits; a later one that differs in
	// more than index 9 takes that back.
	{"545.00, two issues of the VBIOS", mockReport, []string{mockDriver, prodVBIOS, mockVBIOS}, "2024-01-15", statusAside, 3, 36, nil, "configuration no-collateral", ""},
	{"545.00, all issues of the VBIOS", mockReport, []string{mockDriver, prodVBIOS, laterVBIOS, mockVBIOS}, "2024-01-15", statusAside, 96, 36, []int{1, 2, 3, 9},
		"claim-not-asserted measurement-mismatch no-collateral", "signer of 2023-06-23) matches and does not count: a later issue of the same tag has other values"},
	{"535.86.09, production VBIOS", h535Report, []string{prodVBIOS}, "2024-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", "there is no manifest NV_GPU_DRIVER_GH100_535.86.09"},
	{"535.86.09, later issue", h535Report, []string{laterVBIOS}, "2024-01-15", statusAside, 96, 36, []int{9}, "claim-not-asserted measurement-mismatch no-collateral", "another issue may match; get it anew"},
	{"535.86.09, both issues", h535Report, []string{laterVBIOS, prodVBIOS}, "2024-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", "there is no manifest NV_GPU_DRIVER_GH100_535.86.09"},
	// Signed under the same tag eight minutes after production's, and of a device before
	// production: whoever keeps it beside that one loses that one.
	{"535.86.09, with the VBIOS of 545.00 besides", h535Report, []string{prodVBIOS, mockVBIOS}, "2024-01-15", statusAside, 96, 36, []int{1, 2, 3, 9}, "claim-not-asserted measurement-mismatch no-collateral", ""},
	{"570.124.03, older issue", h570Report, []string{prodVBIOS4}, "2024-01-15", statusAside, 96, 36, []int{9}, "claim-not-asserted measurement-mismatch no-collateral", "another issue may match; get it anew"},

	// Manifests that are not to be believed.
	{"edited driver manifest of 535.86.09", h535Report, []string{prodVBIOS, editedH535}, "2024-01-15", statusAside, 96, 36, nil, "collateral-invalid no-collateral no-reference-values", "the document has SHA-384"},
	{"edited driver manifest of 570.124.03", h570Report, []string{prodVBIOS4, editedH570}, "2024-01-15", statusAside, 96, 36, []int{9}, "claim-not-asserted measurement-mismatch no-collateral", "only measurement 9"},
	{"driver manifest with an altered signature", mockReport, []string{mockVBIOS, underID("NV_GPU_DRIVER_GH100_545.00", badDriver)}, "2024-01-15", statusAside, 96, 36, nil, "collateral-invalid no-collateral no-reference-values", "the signature does not verify with the key of certificate 0"},
	{"driver manifest below another root", mockReport, []string{mockVBIOS, underID("NV_GPU_DRIVER_GH100_545.00", otherRoot)}, "2024-01-15", statusAside, 96, 36, nil, "collateral-invalid no-collateral no-reference-values", "NVIDIA CoRIM L1 Root CA Debug Only"},
	{"one that is not to be believed beside a good one", mockReport, []string{mockDriver, mockVBIOS, underID("NV_GPU_DRIVER_GH100_545.00", otherRoot)}, "2024-01-15", statusAside, 3, 36, nil, "configuration no-collateral", ""},

	// Other releases, and other times.
	{"driver manifest of another release", mockReport, []string{mockVBIOS, driver550}, "2025-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", "there is no manifest NV_GPU_DRIVER_GH100_545.00"},
	{"driver manifest of another release under this identifier", mockReport, []string{mockVBIOS, underID("NV_GPU_DRIVER_GH100_545.00", driver550)}, "2025-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", "driver manifest GH100 550.144.03"},
	{"no manifests", mockReport, nil, "2024-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", ""},
	{"release without a manifest", nvtrust + "hopperAttestationReport.txt", []string{mockDriver, mockVBIOS, prodVBIOS}, "2024-01-15", statusAside, 33, 36, nil, "no-collateral no-reference-values", "NV_GPU_DRIVER_GH100_550.90.07"},
	{"before the signers", mockReport, []string{mockDriver, mockVBIOS}, "2023-06-01", statusAside, 33, 36, nil, "expired no-collateral no-reference-values", "not at 2023-06-01T00:00:00Z"},
	{"after the signers", mockReport, []string{mockDriver, mockVBIOS}, "2025-06-27", statusAside, 33, 36, nil, "expired no-collateral no-reference-values", "not at 2025-06-27T00:00:00Z"},
	{"after the signers, expiry a warning", mockReport, []string{mockDriver, mockVBIOS}, "2025-06-27", statusAside + ", manifest_expiry: warn", 32, 36, nil, "expired no-collateral no-reference-values", "not at 2025-06-27T00:00:00Z"},
	{"after the signers, a mismatch", mockReport, []string{mockDriver, prodVBIOS}, "2025-06-27", statusAside + ", manifest_expiry: warn", 96, 36, []int{1, 2, 3, 9}, "claim-not-asserted measurement-mismatch no-collateral", ""},
}

// TestMeasurementOracle has every pair of a report and manifests of the table: 21
// and 12 measurements of the mock, which are all 33 (of which 35 is not compared while its
// engine is off), 12 of a production GPU with a VBIOS of 0 to 6 and 8 to 12, and where
// they differ. Revocation is never known, so hardware is 32.
func TestMeasurementOracle(t *testing.T) {
	for _, r := range measuredRows {
		t.Run(r.name, func(t *testing.T) {
			row := recordedReports[slices.IndexFunc(recordedReports, func(x recordedReport) bool { return x.file == r.report })]
			parts, nonces := row.leaves(t)
			a := appraiseIn(t, bundleOf(t, r.manifests...), r.parameters, parts[0], nonces[0], day(t, r.at))
			got := fmt.Sprint(a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], a.Vector[verdict.Executables], differing(a), sortedCodes(a))
			want := fmt.Sprint(verdict.ClaimUnsafe, r.configured, r.executables, r.differ, strings.Fields(r.codes))
			if got != want || !strings.Contains(fmt.Sprint(a.Reasons), r.says) {
				t.Errorf("%s\nwant %s, %q\n%v", got, want, r.says, a.Reasons)
			}
		})
	}
}

// sortedCodes are the codes of all reasons, each once.
func sortedCodes(a verdict.Appraisal) []string {
	return slices.Compact(slices.Sorted(slices.Values(codes(a))))
}
