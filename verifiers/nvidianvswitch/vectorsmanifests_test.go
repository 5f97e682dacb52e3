// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"fmt"
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

const (
	biosID   = "NV_SWITCH_BIOS_5612_0002_890_9610550001"
	goodBIOS = sdkDir + "testdata/switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"
	edited   = sdkDir + "testdata/sample_rims/"
	// statusAside lets a manifest count whose signers have no status, as of NVIDIA's
	// none is recorded.
	statusAside = "manifest_revocation: optional"
)

// compared appraises the recorded switch with manifests: file name to recording.
func compared(t *testing.T, manifests map[string]string, parameters string, when time.Time) verdict.Appraisal {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, file := range manifests {
		fsys[name] = &fstest.MapFile{Data: vectors.Read(t, file)}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	deps := verifiers.Deps{Endorsements: b}
	if parameters != "" {
		p, err := Scheme().Policy.Parse([]byte("scheme: " + Name + "\nparameters: {" + parameters + "}\n"))
		if err != nil {
			t.Fatal(err)
		}
		deps.Policies = map[string]*appraisal.Policy{Name: p}
	}
	leaf, nonce := wrapped(t, "LS10", sdkDir+"testdata/switchAttestationReport.txt", sdkDir+"testdata/switchCertChain.txt")
	return appraise(t, newTest(t, deps), leaf, nonce, when)
}

// The 31 measurements of the recorded switch match the manifest of its BIOS, while
// that holds and is what NVIDIA has signed. The switch is locked.
func TestMeasurementOracle(t *testing.T) {
	named := func(file string) map[string]string { return map[string]string{biosID + ".xml": file} }
	for _, c := range []struct {
		name                    string
		manifests               map[string]string
		at, parameters          string
		configured, executables verdict.Claim
		codes, says             string
	}{
		{"31 of 31", named(goodBIOS), "2026-07-01", "", 36, 32, "no-collateral no-reference-values revocation-unknown", "the revocation status of its signer"},
		{"31 of 31, status aside", named(goodBIOS), "2026-07-01", statusAside, 3, 3, "no-collateral", ""},
		{"under any name", map[string]string{"a.swidtag": goodBIOS}, "2026-07-01", statusAside, 3, 3, "no-collateral", ""},
		{"no manifest", nil, "2026-07-01", statusAside, 36, 33, "no-collateral no-reference-values", biosID},
		{"before the signer", named(goodBIOS), "2026-05-19", statusAside, 36, 33, "expired no-collateral no-reference-values", "not at 2026-05-19"},
		{"after its issuer", named(goodBIOS), "2027-11-03", statusAside, 36, 33, "expired no-collateral no-reference-values", "not at 2027-11-03"},
		{"signature of other contents", named(edited + biosID + "_invalid_signature.xml"), "2025-07-01", statusAside, 36, 96, "collateral-invalid no-collateral no-reference-values", ""},
		{"that and a good one", map[string]string{biosID + ".xml": edited + biosID + "_invalid_signature.xml", "b.xml": goodBIOS}, "2026-07-01", statusAside, 3, 3, "no-collateral", ""},
		{"edited, of a VBIOS", named(edited + biosID + "_measurement_mismatch.xml"), "2024-07-01", statusAside, 36, 96, "collateral-invalid no-collateral no-reference-values", ""},
		{"manifest of a GPU", named(nvtrust + "1010_0200_882_96005E0001_PROD.swidtag"), "2024-07-01", statusAside, 36, 33, "no-collateral no-reference-values", biosID},
	} {
		t.Run(c.name, func(t *testing.T) {
			when, err := time.Parse(time.DateOnly, c.at)
			if err != nil {
				t.Fatal(err)
			}
			a := compared(t, c.manifests, c.parameters, when)
			var codes []string
			for _, r := range a.Reasons {
				codes = append(codes, r.Code)
			}
			slices.Sort(codes)
			got := fmt.Sprint(a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], a.Vector[verdict.Executables], slices.Compact(codes))
			want := fmt.Sprint(verdict.ClaimUnsafe, c.configured, c.executables, strings.Fields(c.codes))
			if got != want || !strings.Contains(fmt.Sprint(a.Reasons), c.says) || a.Claims["x-nvidia-mismatch-measurement-records"] != nil {
				t.Errorf("%s\nwant %s, %q\n%v", got, want, c.says, a.Reasons)
			}
		})
	}
}
