// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
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

func proven(t *testing.T) verdict.Appraisal {
	t.Helper()
	return compared(t, map[string]string{biosID + ".xml": goodBIOS}, statusAside, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
}

// What NVIDIA's own service said about the recorded switch, and what is said here
// with a later issue of the same manifest, claim by claim.
func TestClaimsAgreeWithNVIDIA(t *testing.T) {
	var token map[string]map[string]any
	if err := json.Unmarshal(vectors.Read(t, sampled+"switch_decoded.json"), &token); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		// The report has no FWID, which is no match here.
		switchClaim + "attestation-report-cert-chain-fwid-match": "absent",
		// No response is recorded, and no reason is given where there is none.
		switchClaim + "attestation-report-cert-chain/x-nvidia-cert-ocsp-status":       "unknown",
		switchClaim + "attestation-report-cert-chain/x-nvidia-cert-revocation-reason": "absent",
		switchClaim + "bios-rim-cert-chain/x-nvidia-cert-ocsp-status":                 "unknown",
		switchClaim + "bios-rim-cert-chain/x-nvidia-cert-revocation-reason":           "absent",
		// The issue of 2024 said 2026-05-20.
		switchClaim + "bios-rim-cert-chain/x-nvidia-cert-expiration-date": "2027-11-02T23:59:59Z",
		"x-nvidia-attestation-warning":                                    "absent", "iss": "absent", "iat": "absent", "nbf": "absent", "exp": "absent", "jti": "absent",
		"oemid": "absent", // null
	}
	ours, theirs := flat(t, proven(t).Claims), flat(t, token["SWITCH-0"])
	agreed := 0
	for name, value := range theirs {
		got, ok := ours[name]
		said := fmt.Sprint(got)
		if !ok {
			said = "absent"
		}
		if differs, listed := want[name]; listed {
			if said != differs {
				t.Errorf("%s is %s, expected %s", name, said, differs)
			}
			delete(want, name)
			continue
		}
		if agreed++; !ok || !reflect.DeepEqual(got, value) {
			t.Errorf("%s is %s, NVIDIA says %v", name, said, value)
		}
	}
	if agreed != 19 || len(want) > 0 {
		t.Errorf("%d claims agree, not in the token: %v", agreed, want)
	}
}

// Every claim of every recorded claim set of NVIDIA's tools has the same name and
// type here, or is one of these, of which the scheme for GPUs says why not. The
// sets in version 3.0 were made of one of a GPU: model, BIOS version and vendor are.
func TestClaimNamesOfNVIDIA(t *testing.T) {
	const notClaimed = " iss iat nbf exp jti sub submods x-nvidia-ver x-nvidia-overall-att-result x-nvidia-attestation-warning x-nvidia-cert-revocation-reason " +
		"attestation-report-cert-chain-fwid-match attestation-report-cert-chain-validated bios-rim-cert-validated oemid "
	ours := flat(t, proven(t).Claims)
	for _, file := range []string{
		"detached_claims_local.json", "detached_claims_remote.json", "detached_granular_claims_local.json", "detached_granular_claims_remote.json",
		"overall_claims_local.json", "overall_claims_remote.json", "overall_granular_claims_local.json", "overall_granular_claims_remote.json",
	} {
		var set map[string]any
		if err := json.Unmarshal(vectors.Read(t, "nvidia/nvtrust/claims/switch/"+file), &set); err != nil {
			t.Fatal(err)
		}
		if s, ok := set["submods"]; ok {
			set["submods"] = fmt.Sprint(s) // one name
		}
		for name, theirs := range flat(t, set) {
			got, ok := ours[name]
			if short := strings.TrimPrefix(name[strings.LastIndex(name, "/")+1:], switchClaim); strings.Contains(notClaimed, " "+short+" ") {
				if ok {
					t.Errorf("%s is claimed", name)
				}
				continue
			}
			if !ok || reflect.TypeOf(got) != reflect.TypeOf(theirs) {
				t.Errorf("%s: %s is %v, here %v", file, name, theirs, got)
			}
		}
	}
}
