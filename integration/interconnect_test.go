// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/binding"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// wiring is one composite of GPUs and switches: leaves by label, each an array of
// devices, and the challenges of those that did not answer that of the session.
type wiring struct {
	leaves map[string][]json.RawMessage
	given  map[evidence.Path][]byte
}

// judgeWiring appraises a composite, and repeats the verdict as a relying party.
func judgeWiring(t *testing.T, deps verifiers.Deps, nonce []byte, w wiring) *verdict.Result {
	t.Helper()
	j := judgeOf(t, deps, nil, nil)
	var entries []evidence.Entry
	for _, label := range slices.Sorted(maps.Keys(w.leaves)) {
		raw, err := json.Marshal(w.leaves[label])
		must(t, err)
		entries = append(entries, evidence.Entry{Label: label, Item: evidence.Record(evidence.MediaType{Base: nvidia.MediaType}, raw, evidence.IndEvidence)})
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:example.com,2026:board", entries...))
	must(t, err)
	lead, err := topologies.Parse("lead")
	must(t, err)
	res, err := j.lead.Appraise(t.Context(), orchestrator.Request{Evidence: raw, Nonce: nonce, Given: w.given, Topology: &lead})
	must(t, err)
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: machineTime}, j.anchors)
	must(t, err)
	must(t, orchestrator.Recheck(checked, j.schemes))
	return checked
}

// linkEdges counts the edges of interconnects by status.
func linkEdges(r *verdict.Result) map[string]int {
	out := map[string]int{}
	for _, b := range r.Bindings {
		if b.Kind == binding.KindInterconnect {
			out[b.Status]++
		}
	}
	return out
}

// linkReason reports whether the verdict has a reason with this code and text.
func linkReason(r *verdict.Result, code, text string) bool {
	return slices.ContainsFunc(r.Outcome.Reasons, func(x verdict.Reason) bool { return x.Code == code && strings.Contains(x.Detail, text) })
}

func recordedDevices(t *testing.T, file string) (out []json.RawMessage) {
	t.Helper()
	must(t, json.Unmarshal(vectors.Read(t, file), &out))
	return out
}

// TestRecordedInterconnect: eight GPUs and four switches of one recorded board in
// protected PCIe, and what is left of them when one of them is another.
func TestRecordedInterconnect(t *testing.T) {
	const serial = "nvidia/attestation-sdk/serialized_test_evidence/"
	unhex := func(s string) []byte {
		raw, err := hex.DecodeString(s)
		must(t, err)
		return raw
	}
	nonce := unhex("4760e30534a0621357d458b1a7936551b5dc4cd1e69718adf7ed9fb0252a537e")
	gpus := recordedDevices(t, "nvidia/nvtrust/ppcie/gpu_evidence.json")
	switches := recordedDevices(t, "nvidia/nvtrust/ppcie/switch_evidence.json")
	sameGPU := recordedDevices(t, serial+"hopper_evidence.json")[:1] // gpu/0, asked at another time
	otherGPU := recordedDevices(t, serial+"hopper_evidence_cert_hold.json")[:1]
	otherSwitch := recordedDevices(t, serial+"switch_evidence_ls10.json")
	givenSame := map[evidence.Path][]byte{"other": unhex("e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576")}
	given := map[evidence.Path][]byte{"other": unhex("931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb")}

	vendor := pki.NewSeed("links")
	pretender, err := nvidia.NewSwitch(nvidia.Options{Vendor: vendor, Device: vendor.Sub("switch"), Now: machineTime, Position: 1, Peers: recordedPDIs(t, gpus)})
	must(t, err)
	roots, err := pretender.Roots()
	must(t, err)
	simulated, err := pretender.Evidence(nonce)
	must(t, err)

	stranger, err := nvidia.NewGPU(nvidia.Options{Vendor: vendor, Device: vendor.Sub("gpu"), Now: machineTime, Peers: []nvidia.PDI{nvidia.PDIOf(vendor.Sub("elsewhere"))}})
	must(t, err)
	gpuRoots, err := stranger.Roots()
	must(t, err)
	foreign, err := stranger.Evidence(nonce)
	must(t, err)

	type leaves = map[string][]json.RawMessage
	for _, c := range []struct {
		name         string
		w            wiring
		edges        string
		members      int
		rules        verdict.Claim
		tier         verdict.Tier
		code, detail string
	}{
		{"the board", wiring{leaves{"gpu": gpus, "switch": switches}, nil}, "map[bound:32]", 12, 3, verdict.TierWarning, verdict.ReasonDependsOnWarning, "gpu/0, gpu/1"},
		{"a switch left out", wiring{leaves{"gpu": gpus, "switch": switches[1:]}, nil}, "map[bound:24]", 11, 96, verdict.TierContraindicated, verdict.ReasonInterconnect, "no component is nvidia-pdi:"},
		{"no switches", wiring{leaves{"gpu": gpus}, nil}, "map[]", 8, 96, verdict.TierContraindicated, verdict.ReasonInterconnect, "no component is nvidia-pdi:"},
		{"a GPU left out", wiring{leaves{"gpu": gpus[1:], "switch": switches}, nil}, "map[bound:28]", 11, 96, verdict.TierContraindicated, verdict.ReasonInterconnect, "no component is nvidia-pdi:"},
		{"a GPU twice", wiring{leaves{"gpu": append(slices.Clone(gpus), gpus[2]), "switch": switches}, nil}, "map[bound:36]", 13, 96, verdict.TierContraindicated, verdict.ReasonDuplicateIdentity, "gpu/2 and gpu/8"},
		{"a GPU in place of another", wiring{leaves{"gpu": append(slices.Clone(gpus[:7]), gpus[2]), "switch": switches}, nil}, "map[bound:32]", 12, 96, verdict.TierContraindicated, verdict.ReasonDuplicateIdentity, "gpu/2 and gpu/7"},
		{"the switch of another machine in place of one", wiring{leaves{"gpu": gpus, "switch": switches[1:], "other": otherSwitch}, given}, "map[bound:24]", 11, 96, verdict.TierContraindicated, verdict.ReasonInterconnect, "gpu/0, gpu/1"},
		{"the GPU of another machine in place of one", wiring{leaves{"gpu": gpus[1:], "switch": switches, "other": otherGPU}, given}, "map[bound:28]", 11, 96, verdict.TierContraindicated, verdict.ReasonInterconnect, "with which these work over links in clear: switch/0, switch/1, switch/2, switch/3"},
		{"a GPU answered another challenge", wiring{leaves{"gpu": gpus[1:], "switch": switches, "other": sameGPU}, givenSame}, "map[bound:32]", 12, 3, verdict.TierWarning, verdict.ReasonDependsOnWarning, "other/0"},
		{"a GPU twice, at two times", wiring{leaves{"gpu": gpus, "switch": switches, "other": sameGPU}, givenSame}, "map[bound:36]", 13, 96, verdict.TierContraindicated, verdict.ReasonDuplicateIdentity, "gpu/0 and other/0"},
		{"a GPU of another board besides", wiring{leaves{"gpu": gpus, "switch": switches, "stranger": {foreign}}, nil}, "map[bound:32]", 12, 3, verdict.TierContraindicated, verdict.ReasonInterconnect, "with which these work over links in clear: stranger/0"},
		{"a switch that names the GPUs, which do not name it", wiring{leaves{"gpu": gpus, "switch": switches, "pretender": {simulated}}, nil}, "map[bound:32 broken:8]", 13, 96, verdict.TierContraindicated, verdict.ReasonBindingBroken, "pretender/0 names gpu/0, which names others"},
	} {
		t.Run(c.name, func(t *testing.T) {
			deps := verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"nvidia-nvswitch": roots, "nvidia-gpu": gpuRoots}}
			res := judgeWiring(t, deps, nonce, c.w)
			if got := fmt.Sprint(linkEdges(res)); got != c.edges {
				t.Errorf("edges %s, want %s", got, c.edges)
			}
			if res.Outcome.Tier != c.tier || !linkReason(res, c.code, c.detail) {
				t.Errorf("%s: %v", res.Outcome.Tier, res.Outcome.Reasons)
			}
			i := slices.IndexFunc(res.Interconnects, func(i verdict.Interconnect) bool { return len(i.Members()) == c.members })
			if i < 0 || res.Interconnects[i].Configuration != c.rules {
				t.Errorf("%+v", res.Interconnects)
			}
		})
	}
}

// recordedPDIs are the numbers of recorded GPUs, as the switches write them.
func recordedPDIs(t *testing.T, devices []json.RawMessage) (out []nvidia.PDI) {
	t.Helper()
	res := judgeWiring(t, verifiers.Deps{}, machineNonce, wiring{map[string][]json.RawMessage{"gpu": devices}, nil})
	for _, c := range res.Components {
		for _, id := range c.Partial.Appraisal().Facts.Device {
			if text, ok := strings.CutPrefix(id, "nvidia-pdi:"); ok {
				raw, err := hex.DecodeString(text)
				must(t, err)
				out = append(out, nvidia.PDI(raw))
			}
		}
	}
	return out
}

// TestSimulatedInterconnect: a whole machine with a board of which everything is
// known is affirming, and every lie about links costs that.
func TestSimulatedInterconnect(t *testing.T) {
	vendor := pki.NewSeed("links")
	seed := func(kind string, i int) pki.Seed { return vendor.Sub(kind, fmt.Sprint(i)) }
	var gpuPDIs, switchPDIs []nvidia.PDI
	for i := range 8 {
		gpuPDIs = append(gpuPDIs, nvidia.PDIOf(seed("gpu", i)))
	}
	for i := range 4 {
		switchPDIs = append(switchPDIs, nvidia.PDIOf(seed("switch", i)))
	}
	for _, c := range []struct {
		name        string
		gpu, nvs    func(*nvidia.Options) // what is wrong with gpu/7 and switch/3
		tier        verdict.Tier
		rules       verdict.Claim
		code, about string
	}{
		{name: "honest", tier: verdict.TierWarning, rules: 3, code: verdict.ReasonUnboundComponent, about: "no single CPU TEE"},
		{name: "a GPU leaves a switch out", gpu: func(o *nvidia.Options) { o.Links = nvidia.LinkMissing }, tier: verdict.TierContraindicated, rules: 96,
			code: verdict.ReasonBindingBroken, about: "switch/3 names gpu/7, which names others"},
		{name: "a switch leaves a GPU out", nvs: func(o *nvidia.Options) { o.Links = nvidia.LinkMissing }, tier: verdict.TierContraindicated, rules: 96,
			code: verdict.ReasonBindingBroken, about: "gpu/7 names switch/3, which names others"},
		{name: "a GPU names switches of another board", gpu: func(o *nvidia.Options) { o.Links = nvidia.LinksForeign }, tier: verdict.TierContraindicated, rules: 96,
			code: verdict.ReasonInterconnect, about: "with which these work over links in clear: gpu/7"},
		{name: "a switch names GPUs of another board", nvs: func(o *nvidia.Options) { o.Links = nvidia.LinksForeign }, tier: verdict.TierContraindicated, rules: 96,
			code: verdict.ReasonBindingBroken, about: "gpu/0 names switch/3, which names others"},
		{name: "a GPU is in another mode", gpu: func(o *nvidia.Options) { o.OtherMode = true }, tier: verdict.TierNone, rules: 0,
			code: verdict.ReasonInterconnect, about: "gpu/7 – switch/0"},
		{name: "a switch has other firmware", nvs: func(o *nvidia.Options) { o.Measurement = true }, tier: verdict.TierContraindicated, rules: 3,
			code: verdict.ReasonDependsOnBad, about: "switch/3: all 12 devices"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string][]byte{}
			leaves := map[string][]json.RawMessage{}
			roots := map[string][]*x509.Certificate{}
			add := func(label, scheme string, d *nvidia.Device, err error) {
				must(t, err)
				raw, err := d.Evidence(machineNonce)
				must(t, err)
				leaves[label] = append(leaves[label], raw)
				more, err := d.Endorsements()
				must(t, err)
				maps.DeleteFunc(more, func(_ string, raw []byte) bool { return raw == nil })
				maps.Copy(files, more)
				roots[scheme], err = d.Roots()
				must(t, err)
			}
			shared := new(nvidia.Shared)
			for i := range 8 {
				o := nvidia.Options{Vendor: vendor, Device: seed("gpu", i), Now: machineTime, Position: i, Peers: switchPDIs, Shared: shared}
				if i == 7 && c.gpu != nil {
					c.gpu(&o)
				}
				d, err := nvidia.NewGPU(o)
				add("gpu", "nvidia-gpu", d, err)
			}
			for i := range 4 {
				o := nvidia.Options{Vendor: vendor, Device: seed("switch", i), Now: machineTime, Position: i, Peers: gpuPDIs, Shared: shared}
				if i == 3 && c.nvs != nil {
					c.nvs(&o)
				}
				d, err := nvidia.NewSwitch(o)
				add("switch", "nvidia-nvswitch", d, err)
			}
			bundle, err := load(files)
			must(t, err)
			res := judgeWiring(t, verifiers.Deps{Endorsements: bundle, ExtraRoots: roots}, machineNonce, wiring{leaves: leaves})
			if res.Outcome.Tier != c.tier || !linkReason(res, c.code, c.about) {
				t.Errorf("%s: %v", res.Outcome.Tier, res.Outcome.Reasons)
			}
			if len(res.Interconnects) == 0 || res.Interconnects[0].Configuration != c.rules || len(res.Interconnects[0].Members()) != 12 {
				t.Errorf("%+v", res.Interconnects)
			}
		})
	}
}

// TestInterconnectOfAMachine: the links of the built-in machine with a board hold,
// and the CPU binds the board.
func TestInterconnectOfAMachine(t *testing.T) {
	d, ok := attester.BuiltIn("hgx")
	if !ok {
		t.Fatal("no such machine")
	}
	m := simulated(t, d, nil)
	var none *corim.Index
	res, err := judgeWith(t, m, true, none).appraise(t, evidenceOf(t, m, attester.CBOR), "lead")
	must(t, err)
	if got := fmt.Sprint(linkEdges(res)); got != "map[bound:32]" || len(res.Interconnects) != 1 || res.Interconnects[0].Configuration != verdict.ClaimApprovedBoot {
		t.Errorf("edges %s, %+v, %v", got, res.Interconnects, res.Outcome.Reasons)
	}
}
