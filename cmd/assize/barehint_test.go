// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/samples"
)

// A file of NVIDIA's tools alone is no composite, and the message says what to
// do; nothing else is taken for one.
func TestBareEvidenceOfDevices(t *testing.T) {
	array, err := samples.GPUEvidence()
	if err != nil {
		t.Fatal(err)
	}
	octets, err := cbor.Marshal([]any{map[string]string{"arch": "HOPPER"}})
	if err != nil {
		t.Fatal(err)
	}
	for typ, raw := range map[string][]byte{
		typeNVIDIA: array, "application/vnd.veraison.nvidia-gpu-evidence+cbor": octets,
		"application/vnd.assize.intel-nvgpu+json": []byte(`{"gpu_nonce":"` + strings.Repeat("0", 64) + `","arch":"hopper","evidence_list":[{}]}`),
	} {
		got := assize(t, t.TempDir(), "appraise", write(t, "bare", raw))
		if got.code != 1 || !strings.Contains(got.err, `["`+typ+`", "<base64url`) {
			t.Errorf("%s: %+v", typ, got)
		}
	}
	record := []byte(`["` + typeNVIDIA + `","` + base64.RawURLEncoding.EncodeToString(array) + `"]`)
	for name, raw := range map[string][]byte{"broken record": bytes.Replace(record, []byte(`"]`), []byte(`="]`), 1), "another array": []byte(`[{"x":1}]`), "text": []byte("x")} {
		if got := assize(t, t.TempDir(), "appraise", write(t, "other", raw)); got.code != 1 || strings.Contains(got.err, "looks like") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
