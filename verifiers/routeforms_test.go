// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/samples"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// The package that parses evidence and the one that reads the form do not know
// each other, and name one type.
func TestItemTypeIsOne(t *testing.T) {
	if container.ItemType != evidence.TypeNVIDIAItem {
		t.Errorf("%q and %q", container.ItemType, evidence.TypeNVIDIAItem)
	}
}

// item is the recorded GPU as a device of NVIDIA's collection.
func item(tb testing.TB, evidenceType string) string {
	tb.Helper()
	raw, err := samples.GPUEvidence()
	if err != nil {
		tb.Fatal(err)
	}
	d, err := container.Decode(raw)
	if err != nil {
		tb.Fatal(err)
	}
	rec := func(typ string, v []byte) string {
		return `["` + typ + `","` + base64.RawURLEncoding.EncodeToString(v) + `"]`
	}
	return `{"__cmwc_t":"tag:nvidia.com,2026:evidence-item/v1","evidence":` + rec(evidenceType, d.Report) +
		`,"certificate":` + rec("application/vnd.nvidia.pem-cert-chain", d.Chain) + `}`
}

const transcript = "application/vnd.nvidia.spdm-measurement-transcript"

// A device of NVIDIA's collection is a component under its own label, and goes to
// the scheme of its chip, whether it stands alone or in a composite.
func TestItemsAreRouted(t *testing.T) {
	set, err := NewSet(
		scheme(t, "gpu", told{}, container.ItemType+`; arch="HOPPER"`), scheme(t, "switch", told{}, container.ItemType+`; arch="LS10"`), scheme(t, "other", told{}, "x/y"))
	if err != nil {
		t.Fatal(err)
	}
	one := item(t, transcript)
	input := `{"__cmwc_t":"tag:nvidia.com,2026:verifier-input/profiles/base/pre-1.0.0","gpu_0":` + one + `}`
	for raw, label := range map[string]evidence.Path{
		one: "", input: "gpu_0", `{"cpu":["x/y","AQ"],"gpus":` + input + `}`: "gpus/gpu_0", `{"cpu":["x/y","AQ"],"gpu":` + one + `}`: "gpu",
		`{"cpu":["x/y","AQ"],"gpu":["` + container.ItemType + `","` + base64.RawURLEncoding.EncodeToString([]byte(one)) + `"]}`: "gpu",
	} {
		tree, err := evidence.Parse([]byte(raw), evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		leaf, ok := tree.Lookup(label)
		if !ok || string(leaf.Value()) != one {
			t.Fatalf("no device at %q", label)
		}
		parts, split, err := set.Parts(leaf.MediaType(), leaf.Value())
		if err != nil || split || len(parts) != 1 || parts[0].Err != nil || parts[0].Scheme.Name != "gpu" || string(parts[0].Evidence) != one || parts[0].MediaType.String() != container.ItemType {
			t.Fatalf("%d parts, split %t, %+v, %v", len(parts), split, parts, err)
		}
		sc, mt, err := set.Route(parts[0].MediaType, parts[0].Evidence)
		if err != nil || sc.Name != "gpu" || mt.String() != container.ItemType {
			t.Errorf("%q, %s, %v", sc.Name, mt, err)
		}
		// It travels to another node as it is.
		body, err := EncodeRequest(Request{ID: strings.Repeat("0", 32), Label: "gpu", Scheme: "gpu", MediaType: mt, Evidence: parts[0].Evidence})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := DecodeRequest(body); err != nil || string(r.Evidence) != one || r.MediaType.String() != container.ItemType {
			t.Errorf("request: %v", err)
		}
	}
	// What no scheme reads is not malformed; what is broken is.
	for raw, want := range map[string]error{
		item(t, "application/eat+cwt"): ErrNoVerifier, strings.Replace(one, "evidence-item/v1", "evidence-item/v2", 1): ErrMalformed,
		strings.Replace(one, `"certificate"`, `"certs"`, 1): ErrMalformed, "[]": ErrMalformed, "": ErrMalformed,
	} {
		mt := evidence.MediaType{Base: container.ItemType}
		if _, _, err := set.Route(mt, []byte(raw)); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, expected %v", raw, err, want)
		}
	}
	switches, err := set.Only("switch")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := switches.Route(evidence.MediaType{Base: container.ItemType}, []byte(one)); !errors.Is(err, ErrNoVerifier) {
		t.Errorf("a GPU among switches: %v", err)
	}
}

// A leaf with a credential is refused before anything is sent anywhere.
func TestCredentialIsNotSent(t *testing.T) {
	set, err := NewSet(scheme(t, "gpu", told{}, container.NVGPUType+`; arch="HOPPER"`))
	if err != nil {
		t.Fatal(err)
	}
	mt := evidence.MediaType{Base: container.NVGPUType}
	leaf := `{"gpu_nonce":"` + strings.Repeat("0", 64) + `","arch":"hopper","evidence_list":[{}]`
	parts, split, err := set.Parts(mt, []byte(leaf+"}"))
	if err != nil || !split || len(parts) != 1 || parts[0].Scheme.Name != "gpu" {
		t.Fatalf("%+v, %t, %v", parts, split, err)
	}
	parts, _, err = set.Parts(mt, []byte(leaf+`,"nras_apikey":"nvapi-secret"}`))
	if !errors.Is(err, ErrMalformed) || parts != nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("%+v, %v", parts, err)
	}
}
