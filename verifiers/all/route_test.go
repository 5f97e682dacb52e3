// SPDX-License-Identifier: Apache-2.0

package all

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/samples"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Eight GPUs and four switches in one leaf: each is appraised by the scheme of
// its kind, and all are what they say.
func TestMixedLeafOfOneMachine(t *testing.T) {
	set, err := Set()
	if err != nil {
		t.Fatal(err)
	}
	gpus := bytes.TrimSpace(vectors.Read(t, "nvidia/nvtrust/ppcie/gpu_evidence.json"))
	switches := bytes.TrimSpace(vectors.Read(t, "nvidia/nvtrust/ppcie/switch_evidence.json"))
	leaf := append(append(bytes.TrimSuffix(gpus, []byte("]")), ','), switches[1:]...)
	if _, _, err := set.Route(samples.GPUType, leaf); !errors.Is(err, verifiers.ErrMalformed) || !strings.Contains(err.Error(), "nvidia-nvswitch") {
		t.Errorf("the whole has a route: %v", err)
	}
	parts, split, err := set.Parts(samples.GPUType, leaf)
	if err != nil || !split || len(parts) != 12 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	count := map[string]int{}
	for i, p := range parts {
		count[p.Scheme.Name]++
		if a := appraise(t, p.Scheme, p.MediaType, p.Evidence); a.Status() != verdict.TierWarning {
			t.Errorf("device %d by %s: %v", i, p.Scheme.Name, a.Reasons)
		}
	}
	if count["nvidia-gpu"] != 8 || count["nvidia-nvswitch"] != 4 {
		t.Errorf("%v", count)
	}
}

// A device under the name of another kind reaches the scheme of that kind, and
// is refused there.
func TestWrongArchGainsNothing(t *testing.T) {
	set, err := Set()
	if err != nil {
		t.Fatal(err)
	}
	gpu, err := samples.GPUEvidence()
	if err != nil {
		t.Fatal(err)
	}
	wrong := func(t *testing.T, leaf []byte, said, says, scheme string) {
		t.Helper()
		leaf = bytes.Replace(leaf, []byte(`"`+said+`"`), []byte(`"`+says+`"`), 1)
		sc, mt, err := set.Route(samples.GPUType, leaf)
		if err != nil || sc.Name != scheme {
			t.Fatalf("%q, %v", sc.Name, err)
		}
		a := appraise(t, sc, mt, leaf)
		if a.Status() != verdict.TierContraindicated || a.Reasons[0].Code != verdict.ReasonIdentityMismatch || a.Facts.Device != nil {
			t.Errorf("%v, %v", a.Status(), a.Reasons)
		}
	}
	t.Run("GPU as a switch", func(t *testing.T) { wrong(t, gpu, "HOPPER", "LS10", "nvidia-nvswitch") })
	t.Run("GPU of another family", func(t *testing.T) { wrong(t, gpu, "HOPPER", "BLACKWELL", "nvidia-gpu") })
	t.Run("switch as a GPU", func(t *testing.T) {
		wrong(t, vectors.Read(t, "nvidia/attestation-sdk/serialized_test_evidence/switch_evidence_ls10.json"), "LS10", "HOPPER", "nvidia-gpu")
	})
	unknown := bytes.Replace(gpu, []byte("HOPPER"), []byte("VOLTA"), 1)
	if _, _, err := set.Route(samples.GPUType, unknown); !errors.Is(err, verifiers.ErrNoVerifier) {
		t.Errorf("unknown architecture: %v", err)
	}
}

// appraise judges one device by its own nonce.
func appraise(t *testing.T, sc verifiers.Scheme, mt evidence.MediaType, raw []byte) verdict.Appraisal {
	t.Helper()
	var d []struct{ Nonce string }
	if err := json.Unmarshal(raw, &d); err != nil || len(d) != 1 {
		t.Fatalf("%d devices, %v", len(d), err)
	}
	nonce, err := hex.DecodeString(d[0].Nonce)
	if err != nil {
		t.Fatal(err)
	}
	v, err := sc.New(verifiers.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Appraise(t.Context(), verifiers.Input{MediaType: mt, Evidence: raw, Nonce: nonce, Time: time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
