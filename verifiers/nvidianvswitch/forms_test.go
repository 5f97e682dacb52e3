// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// The same real switch gives the same appraisal in whatever form it comes: also
// one that names no architecture is routed by its chip.
func TestRecordedFormsAgree(t *testing.T) {
	values, err := container.Split(MediaType, vectors.Read(t, "nvidia/nvtrust/ppcie/switch_evidence.json"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := container.Decode(values[0])
	if err != nil {
		t.Fatal(err)
	}
	set, err := verifiers.NewSet(Scheme())
	if err != nil {
		t.Fatal(err)
	}
	v, err := Scheme().New(verifiers.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	appraise := func(message []byte) (found []verdict.Appraisal) {
		tree, err := evidence.Parse(message, evidence.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, leaf := range tree.Leaves() {
			parts, _, err := set.Parts(leaf.MediaType(), leaf.Value())
			if err != nil || parts[0].Err != nil || parts[0].Scheme.Name != Name {
				continue
			}
			a, err := v.Appraise(context.Background(), verifiers.Input{
				MediaType: parts[0].MediaType, Evidence: parts[0].Evidence, Nonce: d.Nonce, Time: time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)})
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, a)
		}
		return found
	}
	all := nvidiatest.Composites(t, "LS10", d.Report, d.Chain)
	want := appraise(all["array"])
	if len(want) != 1 || want[0].Freshness != verdict.FreshnessFresh {
		t.Fatalf("%+v", want)
	}
	for name, message := range all {
		if got := appraise(message); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, expected %+v", name, got, want)
		}
	}
}
