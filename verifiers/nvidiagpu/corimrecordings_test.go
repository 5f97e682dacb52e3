// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// TestCoRIMRecordings takes whatever lies in the folder of recordings of FSP
// transcripts (*.json, NVIDIA's CMW collection) and of reference values for them
// (CoRIM in CBOR): chain and signature hold, the device is the one in its
// certificates, and in every document that is about such a device its 13
// measurements match. Nobody has signed these documents, so executables says that
// and not more. There may be no such folder.
func TestCoRIMRecordings(t *testing.T) {
	folder := filepath.Join(vectors.Dir(t), "nvidia", "corim")
	if _, err := os.Stat(folder); os.IsNotExist(err) {
		t.Logf("%s is not recorded", folder)
		return
	}
	messages, documents := map[string][]byte{}, map[string]*corim.Document{}
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".json") && bytes.Contains(raw, []byte("tag:nvidia.com,2026:evidence-item/v1")) &&
			!bytes.Contains(raw, []byte("application/eat+cwt")) {
			messages[path] = raw
		}
		if doc, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now}); err == nil {
			documents[path] = doc
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages, %d documents", len(messages), len(documents))
	v := newTest(t, verifiers.Deps{})
	for path, message := range messages {
		part := routed(t, message)
		device, err := container.Decode(part.Evidence)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for name, doc := range documents {
			index, err := corim.NewIndex(doc)
			if err != nil {
				t.Fatal(err)
			}
			in := verifiers.Input{
				MediaType: part.MediaType, Evidence: part.Evidence, Nonce: device.Report[4 : 4+NonceSize],
				Time: now, References: index,
			}
			a, err := v.Appraise(t.Context(), in)
			if err != nil || a.Freshness != verdict.FreshnessFresh || a.Vector[verdict.Hardware] != 32 || a.Vector[verdict.Executables] != 33 {
				t.Errorf("%s with %s: %v, %v, %v", path, name, a.Vector, a.Reasons, err)
			}
			const matches = "measurement 0, 2, 3, 4, 5, 6, 7, 10, 11, 12, 17, 50, 51 of"
			if !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool {
				return r.Code == verdict.ReasonUnsignedReference && strings.Contains(r.Detail, matches)
			}) {
				t.Errorf("%s with %s: not 13 of 13: %v", path, name, a.Reasons)
			}
		}
	}
}
