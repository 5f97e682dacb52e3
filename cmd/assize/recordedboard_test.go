// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
)

// boardNonce is the challenge of the recorded board.
const boardNonce = "4760e30534a0621357d458b1a7936551b5dc4cd1e69718adf7ed9fb0252a537e"

// elements are the devices of a recorded array.
func elements(t *testing.T, file string) (out []json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal(vectors.Read(t, file), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Eight GPUs and four switches of one recorded machine, in protected PCIe: together
// they are one board. One of them twice, one left out, or a switch of another
// machine in place of one, and they are none.
func TestRecordedBoard(t *testing.T) {
	gpus, switches := elements(t, nvTrust+"ppcie/gpu_evidence.json"), elements(t, nvTrust+"ppcie/switch_evidence.json")
	foreign := elements(t, nvSerial+"switch_evidence_ls10.json")
	const ofEvery = "completeness-as-submitted component-tier nonce-not-established unbound-component verification-time-overridden"
	const foreignNonce = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb"
	for _, c := range []struct {
		name           string
		gpus, switches []json.RawMessage
		foreign        []json.RawMessage
		tier, codes    string // of the whole; codes without those of every recorded composite
	}{
		{name: "complete", gpus: gpus, switches: switches, tier: "warning", codes: "depends-on-warning"},
		{name: "a GPU twice", gpus: append(slices.Clone(gpus), gpus[3]), switches: switches, tier: "contraindicated", codes: "depends-on-warning duplicate-identity interconnect-incomplete"},
		{name: "a GPU in place of another", gpus: append(slices.Clone(gpus[:7]), gpus[0]), switches: switches, tier: "contraindicated", codes: "depends-on-warning duplicate-identity interconnect-incomplete"},
		{name: "a switch twice", gpus: gpus, switches: append(slices.Clone(switches), switches[0]), tier: "contraindicated", codes: "depends-on-warning duplicate-identity interconnect-incomplete"},
		{name: "a GPU left out", gpus: gpus[1:], switches: switches, tier: "contraindicated", codes: "depends-on-warning interconnect-incomplete"},
		{name: "a switch left out", gpus: gpus, switches: switches[1:], tier: "contraindicated", codes: "depends-on-warning interconnect-incomplete"},
		{name: "no switches", gpus: gpus, tier: "contraindicated", codes: "depends-on-warning interconnect-incomplete"},
		{name: "no GPUs", switches: switches, tier: "warning", codes: ""},
		{name: "a switch of another board besides", gpus: gpus, switches: switches, foreign: foreign, tier: "warning", codes: "depends-on-warning"},
		{name: "a switch of another board in place of one", gpus: gpus, switches: switches[1:], foreign: foreign, tier: "contraindicated", codes: "depends-on-warning interconnect-incomplete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mt, err := evidence.ParseMediaType(typeNVIDIA)
			if err != nil {
				t.Fatal(err)
			}
			var entries []evidence.Entry
			args := []string{"--at", "2026-07-01T00:00:00Z", "-o", "json"}
			for _, leaf := range []struct {
				label, nonce string
				devices      []json.RawMessage
			}{{"foreign", foreignNonce, c.foreign}, {"gpus", boardNonce, c.gpus}, {"switches", boardNonce, c.switches}} {
				if len(leaf.devices) == 0 {
					continue
				}
				raw, err := json.Marshal(leaf.devices)
				if err != nil {
					t.Fatal(err)
				}
				entries = append(entries, evidence.Entry{Label: leaf.label, Item: evidence.Record(mt, raw, evidence.IndEvidence)})
				args = append(args, "--component-nonce", leaf.label+"="+leaf.nonce)
			}
			raw, err := evidence.EncodeCBOR(evidence.Collection("tag:example.com,2026:board", entries...))
			if err != nil {
				t.Fatal(err)
			}
			o := assize(t, t.TempDir(), append([]string{"appraise", write(t, "board.cmw", raw)}, args...)...)
			d := parse(t, o)
			if want := len(c.gpus) + len(c.switches) + len(c.foreign); len(d.Components) != want {
				t.Fatalf("%d components, expected %d", len(d.Components), want)
			}
			var codes []string
			for _, why := range d.Verdict.Reasons {
				if !slices.Contains(strings.Fields(ofEvery), why.Code) {
					codes = append(codes, why.Code)
				}
			}
			slices.Sort(codes)
			got := fmt.Sprintf("%s, %s", d.Verdict.Tier, strings.Join(slices.Compact(codes), " "))
			if want := fmt.Sprintf("%s, %s", c.tier, c.codes); got != want {
				t.Errorf("%s\nwant %s\n%v", got, want, d.Verdict.Reasons)
			}
		})
	}
}
