// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verifiers"
)

// flat has the members of objects in objects under "name/member", through JSON, so
// that numbers are alike.
func flat(t *testing.T, claims map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	var again map[string]any
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for name, v := range again {
		members, ok := v.(map[string]any)
		if !ok {
			out[name] = v
		}
		for member, v := range members {
			out[name+"/"+member] = v
		}
	}
	return out
}

// differences are the claims of NVIDIA's that ours have not, or not so: "absent",
// or our value.
func differences(t *testing.T, ours, theirs map[string]any) (out map[string]string, same int) {
	t.Helper()
	out = map[string]string{}
	a, b := flat(t, ours), flat(t, theirs)
	for name, want := range b {
		got, ok := a[name]
		switch {
		case !ok:
			out[name] = "absent"
		case reflect.DeepEqual(got, want):
			same++
		default:
			out[name] = fmt.Sprint(got)
		}
	}
	return out, same
}

func wantDifferences(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range maps.Keys(want) {
		if got[name] != want[name] {
			t.Errorf("%s: %q, expected %q", name, got[name], want[name])
		}
	}
	for name, value := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is %s here, and that is not listed", name, value)
		}
	}
}

func tokenOf(t *testing.T, file, device string) map[string]any {
	t.Helper()
	var token map[string]map[string]any
	if err := json.Unmarshal(vectors.Read(t, file), &token); err != nil {
		t.Fatal(err)
	}
	return token[device]
}

// What NVIDIA's own service said about a recorded report, and what is said here,
// claim by claim. The service had the manifests, of which none is recorded, and its
// own OCSP: that, and what makes a token of claims, is all that differs.
func TestClaimsAgreeWithNVIDIA(t *testing.T) {
	leaf, nonce := wrapText(t, "HOPPER", vectors.Read(t, nvtrust+"hopperAttestationReport.txt"), vectors.Read(t, nvtrust+"hopperCertChain.txt"))
	a := appraise(t, newTest(t, verifiers.Deps{}), leaf, nonce, at)
	want := map[string]string{
		"measres": "not-run", "secboot": "absent", "dbgstat": "absent", gpuClaim + "vbios-index-no-conflict": "absent",
		gpuClaim + "attestation-report-cert-chain/x-nvidia-cert-ocsp-status":       "unknown",
		gpuClaim + "attestation-report-cert-chain/x-nvidia-cert-revocation-reason": "absent",
		"x-nvidia-attestation-warning":                                             "absent", "iss": "absent", "iat": "absent", "nbf": "absent", "exp": "absent", "jti": "absent",
	}
	for _, kind := range []string{"driver", "vbios"} {
		want[gpuClaim+kind+"-rim-fetched"] = "false"
		for _, name := range []string{
			"signature-verified", "schema-validated", "version-match", "measurements-available", "cert-chain/x-nvidia-cert-status",
			"cert-chain/x-nvidia-cert-ocsp-status", "cert-chain/x-nvidia-cert-expiration-date", "cert-chain/x-nvidia-cert-revocation-reason",
		} {
			want[gpuClaim+kind+"-rim-"+name] = "absent"
		}
	}
	got, same := differences(t, a.Claims, tokenOf(t, sdkDir+"testdata/sample_attestation_data/hopperClaimsv3_decoded.json", "GPU-0"))
	wantDifferences(t, got, want)
	if same != 13 {
		t.Errorf("%d claims agree", same)
	}
}

// What NVIDIA's local verifier said of the mock with both of its manifests, at the
// same time and with OCSP left out: all of it, but that it calls an FWID that the
// report does not have a match.
func TestClaimsAgreeWithLocalVerifier(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	a := appraiseIn(t, bundleOf(t, mockDriver, mockVBIOS), statusAside, leaf, nonce, day(t, "2024-01-15"))
	theirs := map[string]any{
		"measres": "success", "secboot": true, "dbgstat": "disabled", "hwmodel": "GH100 A01 GSP BROM", "oemid": "5703",
		"ueid": "460032006552296075780760406069494258829212062021", "eat_nonce": recordedNonce,
		gpuClaim + "arch-check": true, gpuClaim + "driver-version": "545.00", gpuClaim + "vbios-version": "96.00.5E.00.01",
		gpuClaim + "attestation-report-parsed": true, gpuClaim + "attestation-report-nonce-match": true, gpuClaim + "attestation-report-signature-verified": true,
		gpuClaim + "attestation-report-cert-chain-fwid-match": true, gpuClaim + "vbios-index-no-conflict": true,
		gpuClaim + "attestation-report-cert-chain": map[string]any{"x-nvidia-cert-status": "valid", "x-nvidia-cert-expiration-date": "9999-12-31T23:59:59Z"},
		gpuClaim + "driver-rim-cert-chain":         map[string]any{"x-nvidia-cert-status": "valid", "x-nvidia-cert-expiration-date": "2025-06-26T06:10:12Z"},
		gpuClaim + "vbios-rim-cert-chain":          map[string]any{"x-nvidia-cert-status": "valid", "x-nvidia-cert-expiration-date": "2025-06-22T09:38:54Z"},
	}
	for _, kind := range []string{"driver", "vbios"} {
		for _, name := range []string{"fetched", "schema-validated", "signature-verified", "version-match", "measurements-available"} {
			theirs[gpuClaim+kind+"-rim-"+name] = true
		}
	}
	got, _ := differences(t, a.Claims, theirs)
	wantDifferences(t, got, map[string]string{gpuClaim + "attestation-report-cert-chain-fwid-match": "absent"})
	// As its comparison: 21 of the driver, 12 of the VBIOS, and nothing differs. Index
	// 35 is not compared here, since the decoder is off, but would match.
	if list := differing(a); list != nil || a.Claims["not-compared"] != nil {
		t.Errorf("mismatches %v, not compared %v", list, a.Claims["not-compared"])
	}
}

// notClaimed are the names in claim sets of NVIDIA's tools that no appraisal here
// has, and why not.
var notClaimed = map[string]string{
	"iss":                             "the signed result says who made it, when, and how long it holds",
	"iat":                             "the signed result says who made it, when, and how long it holds",
	"nbf":                             "the signed result says who made it, when, and how long it holds",
	"exp":                             "the signed result says who made it, when, and how long it holds",
	"jti":                             "the signed result says who made it, when, and how long it holds",
	"sub":                             "of a token about all devices, which the verdict is here",
	"submods":                         "of a token about all devices, which the verdict is here",
	"x-nvidia-ver":                    "of a token about all devices, which the verdict is here",
	"x-nvidia-overall-att-result":     "of a token about all devices, which the verdict is here",
	"x-nvidia-attestation-warning":    "a reason with a code says it",
	"x-nvidia-cert-revocation-reason": "there only if there is a revocation; null otherwise",
	"attestation-report-cert-chain-fwid-match": "there only if the report has an FWID; an absent one is no match",
	"attestation-report-cert-chain-validated":  "version 2.0 of the claims; in 3.0 the object without -validated",
	"driver-rim-cert-validated":                "version 2.0 of the claims; in 3.0 the object …-cert-chain",
	"vbios-rim-cert-validated":                 "version 2.0 of the claims; in 3.0 the object …-cert-chain",
	"bios-rim-cert-validated":                  "version 2.0 of the claims; in 3.0 the object …-cert-chain",
}

// Every claim of every recorded claim set of NVIDIA's tools, of both versions, has
// the same name and type here, or a reason why not. Of these sets the reports are
// not recorded, so values are not compared. Members of a set that occur twice, or a
// nonce with a digit too few, as some have, are for whoever reads tokens.
func TestClaimNamesOfNVIDIA(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	ours := flat(t, appraiseIn(t, bundleOf(t, mockDriver, mockVBIOS), statusAside, leaf, nonce, day(t, "2024-01-15")).Claims)
	used := map[string]bool{}
	for _, file := range []string{
		"detached_claims_local.json", "detached_claims_remote.json", "detached_granular_claims_local.json", "detached_granular_claims_remote.json",
		"overall_claims_local.json", "overall_claims_remote.json", "overall_granular_claims_local.json", "overall_granular_claims_remote.json",
	} {
		var set map[string]any
		if err := json.Unmarshal(vectors.Read(t, "nvidia/nvtrust/claims/gpu/"+file), &set); err != nil {
			t.Fatal(err)
		}
		if s, ok := set["submods"]; ok {
			set["submods"] = fmt.Sprint(s) // one name
		}
		for name, theirs := range flat(t, set) {
			short := strings.TrimPrefix(name[strings.LastIndex(name, "/")+1:], gpuClaim)
			if why, ok := notClaimed[short]; ok && why != "" {
				if _, there := ours[name]; there {
					t.Errorf("%s is claimed", name)
				}
				used[short] = true
				continue
			}
			got, ok := ours[name]
			if !ok || reflect.TypeOf(got) != reflect.TypeOf(theirs) {
				t.Errorf("%s: %s is %v, here %v", file, name, theirs, got)
			}
		}
	}
	unused := slices.DeleteFunc(slices.Sorted(maps.Keys(notClaimed)), func(s string) bool { return used[s] || strings.HasPrefix(s, "bios-") })
	if len(unused) > 0 {
		t.Errorf("%v occur in no set", unused)
	}
}

// The README lists all claims of NVIDIA's that there are none of here.
func TestDifferencesAreDocumented(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(raw), "## Differences from NVIDIA's verifiers\n")
	if !ok {
		t.Fatal("no section about differences")
	}
	if i := strings.Index(section, "\n## "); i >= 0 {
		section = section[:i]
	}
	for name := range notClaimed {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("%s is not in it", name)
		}
	}
}
