// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
)

// recordedEdge is an edge in the verdict as JSON.
type recordedEdge struct {
	From, To, Kind, Strength, Status, Origin string
	Compared, Expected, Observed             string
}

// TestRecordedLinks: the GPUs and switches of the recorded board name each other by
// the identities in their certificates, wherever in the composite they stand. A
// device of another machine is named by none of them, and one that is there twice
// is refused, with the identity that says so. No CPU came with them, so nothing says
// on which machine the board is.
func TestRecordedLinks(t *testing.T) {
	gpus, switches := elements(t, nvTrust+"ppcie/gpu_evidence.json"), elements(t, nvTrust+"ppcie/switch_evidence.json")
	foreignSwitch, foreignGPU := elements(t, nvSerial+"switch_evidence_ls10.json"), elements(t, nvSerial+"hopper_evidence_cert_hold.json")
	sameGPU := elements(t, nvSerial+"hopper_evidence.json") // of this board, of another time
	const switchNonce, gpuNonce = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb", "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb"
	swapped := slices.Clone(gpus)
	slices.Reverse(swapped)
	for _, c := range []struct {
		name           string
		gpus, switches []json.RawMessage
		foreign        []json.RawMessage
		nonce          string
		bound          int    // links that hold
		broken         string // kinds of edges that do not, and codes
		codes          string
		session        bool // some device answers another challenge
	}{
		{name: "complete", gpus: gpus, switches: switches, bound: 32},
		{name: "in another order", gpus: swapped, switches: switches, bound: 32},
		{name: "a GPU twice", gpus: append(slices.Clone(gpus[:7]), gpus[0]), switches: switches, bound: 32, broken: "identity-collision", codes: "duplicate-identity interconnect-incomplete"},
		{name: "a switch twice", gpus: gpus, switches: append(slices.Clone(switches), switches[0]), bound: 40, broken: "identity-collision", codes: "duplicate-identity interconnect-incomplete"},
		{name: "a GPU left out", gpus: gpus[1:], switches: switches, bound: 28, codes: "interconnect-incomplete"},
		{name: "a switch of another board in place of one", gpus: gpus, switches: switches[1:], foreign: foreignSwitch, nonce: switchNonce, bound: 24, codes: "interconnect-incomplete"},
		{name: "a GPU in another session", gpus: gpus[1:], switches: switches, foreign: sameGPU, nonce: gpuNonce, bound: 32, session: true},
		{name: "a GPU of another machine in place of one", gpus: gpus[1:], switches: switches, foreign: foreignGPU, nonce: gpuNonce, bound: 28, codes: "interconnect-incomplete"},
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
			}{{"foreign", c.nonce, c.foreign}, {"gpus", boardNonce, c.gpus}, {"switches", boardNonce, c.switches}} {
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
			var more struct{ Bindings []recordedEdge }
			if err := json.Unmarshal([]byte(o.out), &more); err != nil {
				t.Fatal(err)
			}
			bound, broken := 0, []string(nil)
			for _, e := range more.Bindings {
				switch {
				case e.Compared == "":
					t.Errorf("%+v", e)
				case e.Status == "broken":
					broken = append(broken, e.Kind)
					if !strings.HasPrefix(e.Observed, "nvidia-ueid:") || e.Expected == e.Observed {
						t.Errorf("%+v", e)
					}
				case e.Kind == "interconnect" && e.Status == "bound" && e.Strength == "strong" && e.Origin == "hardware":
					bound++
					if !strings.HasPrefix(e.Expected, "nvidia-pdi:") || e.Expected != e.Observed {
						t.Errorf("%+v", e)
					}
				default:
					t.Errorf("%+v", e)
				}
			}
			if got := strings.Join(slices.Compact(broken), " "); bound != c.bound || got != c.broken {
				t.Errorf("%d links hold, broken %q", bound, got)
			}
			var codes []string
			unbound := false
			for _, why := range d.Verdict.Reasons {
				if slices.Contains([]string{"duplicate-identity", "interconnect-incomplete", "binding-broken", "binding-absent"}, why.Code) {
					codes = append(codes, why.Code)
				}
				unbound = unbound || why.Code == "unbound-component"
			}
			slices.Sort(codes)
			tier := "warning"
			if c.codes != "" || c.session {
				tier = "contraindicated"
			}
			if got := fmt.Sprintf("%s %s", d.Verdict.Tier, strings.Join(slices.Compact(codes), " ")); got != tier+" "+c.codes || !unbound {
				t.Errorf("%s: %v %v", got, d.Verdict.Reasons, d.Components["foreign/0"].Reasons)
			}
		})
	}
}
