// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

// A device in CBOR is asked about as the same device in JSON.
func TestRequestOfCBOR(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	var bodies [][]byte
	s.Answer = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, body)
		http.Error(w, "no", http.StatusTeapot)
	}
	leaf := gpu(t, nil)
	d, err := container.Decode(leaf)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := cbor.Marshal([]any{map[string]any{"arch": d.Arch, "nonce": d.Nonce, "evidence": d.Report, "certificate": d.Chain}})
	if err != nil {
		t.Fatal(err)
	}
	v := verifierOf(t, s, "nvidia-gpu", "HOPPER", nil)
	for _, raw := range [][]byte{leaf, octets} {
		if _, err := v.Appraise(t.Context(), input(raw)); err == nil {
			t.Fatal("an answer of nobody")
		}
	}
	if len(bodies) != 2 || len(bodies[0]) == 0 || !bytes.Equal(bodies[0], bodies[1]) {
		t.Errorf("%d requests, %q", len(bodies), bodies)
	}
	if !askable(container.MediaTypeCBOR) || !askable(container.MediaTypeAliasCBOR) {
		t.Error("the types of CBOR are not asked about")
	}
}
