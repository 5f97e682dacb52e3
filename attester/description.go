// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Description says what a machine is made of. It is what a machine file holds
// (YAML, schemas/machine.schema.json); the zero value of a field is its default.
type Description struct {
	// Name is for people, and part of the seed: machines with other names are
	// other machines.
	Name string `yaml:"name"`
	CPU  CPU    `yaml:"cpu"`
	// GPUs, Switches and Devices are sets of equal parts; zero of them is none.
	GPUs     GPUs    `yaml:"gpus"`
	Switches Set     `yaml:"switches"`
	Devices  Devices `yaml:"devices"`
	VTPM     VTPM    `yaml:"vtpm"`
	// PSA are microcontrollers with a PSA root of trust.
	PSA Set `yaml:"psa"`
	// Binding ties the parts together: BindCommitment (default), BindNonce, BindAK,
	// BindTrustee, BindITA, BindLead or BindEvent.
	Binding string `yaml:"binding"`
	// Layout is Flat (default) or Nested.
	Layout string `yaml:"layout"`
}

// CPU is the CPU TEE.
type CPU struct {
	// Kind is KindTDX (default), KindSNP, KindSGX, KindCCA, KindNitro or "none".
	Kind string `yaml:"kind"`
	// Quote is the form of a quote: for TDX "v5-1.5" (default), "v5-1.0" or "v4", for
	// SGX "v3" (default), "v4" or "v5".
	Quote string `yaml:"quote"`
	// Product is the SNP processor: "genoa" (default), "milan" or "turin".
	Product string `yaml:"product"`
	// Key is what signs an SNP report: "vcek" (default), a key of the chip, or "vlek",
	// one of the cloud provider's.
	Key string `yaml:"key"`
	// Form is how the report is wrapped: "raw" (default), for TDX, SNP and CCA "tsm",
	// or for TDX "json" with the event log, which is the default beside TDISP devices.
	Form string `yaml:"form"`
}

// Set is a number of equal parts.
type Set struct {
	Count int `yaml:"count"`
}

// GPUs are NVIDIA GPUs.
type GPUs struct {
	Count int `yaml:"count"`
	// Kind is "hopper" (default), "h200", which is a Hopper too, "blackwell" whose GSP
	// answers, or "blackwell-fsp" whose FSP does.
	Kind string `yaml:"kind"`
}

// Devices are PCIe devices that answer SPDM.
type Devices struct {
	Count int `yaml:"count"`
	// SPDM is the version: "1.2" (default), "1.1", "1.3" or "1.4".
	SPDM string `yaml:"spdm"`
	// Suite is "p384" (default), "p256", "p521", "rsassa3072", "rsapss3072" or, from
	// version 1.2 on, "ed25519". SEV-TIO knows p384, p256 and rsassa3072.
	Suite string `yaml:"suite"`
	// TDISP assigns them to the VM: interface report and TSM digests.
	TDISP bool `yaml:"tdisp"`
}

// VTPM is a virtual TPM.
type VTPM struct {
	// Key is the attestation key: "" (no vTPM), "p256" or "rsa2048".
	Key string `yaml:"key"`
}

// Kinds of GPUs.
const (
	gpuHopper    = "hopper"
	gpuH200      = "h200"
	gpuBlackwell = "blackwell"
	gpuFSP       = "blackwell-fsp"
)

// hopper tells whether the GPUs are of that architecture.
func (d Description) hopper() bool { return d.GPUs.Kind == gpuHopper || d.GPUs.Kind == gpuH200 }

// Values of Description.
const (
	// BindCommitment: the report data of the CPU TEE commit to the nonce and to
	// every other leaf (decision D-28). BindNonce: every part answers a
	// challenge derived from the same nonce, and that is all. BindAK: the report
	// data hold the SHA-256 of the runtime data with the vTPM's attestation key,
	// as Azure's paravisor does it; the CPU then answers no challenge itself.
	BindCommitment = "commitment"
	BindNonce      = "nonce"
	BindAK         = "ak"
	// BindTrustee and BindITA are the conventions of Confidential Containers Trustee
	// and of Intel Trust Authority (decision D-93): the former commits to the text of
	// all other evidence, the latter to nothing.
	BindTrustee = "trustee"
	BindITA     = "ita"
	// BindLead: the composite is signed, and the CPU TEE commits to the key: TDX in
	// runtime data, as the one that signs composites, Nitro in the member public_key,
	// which does not say what for.
	BindLead = "lead-signature"
	// BindEvent: the software of a TD measures the evidence of every other part into
	// RTMR3 (decision D-95).
	BindEvent = "event"

	// Flat puts every leaf into one collection; Nested follows the hardware:
	// node, board, devices.
	Flat   = "flat"
	Nested = "nested"
)

// Bounds of a machine.
const (
	maxGPUs        = 8
	maxSwitches    = 4
	maxDevices     = 64
	maxPSA         = 16
	maxDescription = 64 << 10
)

// ParseDescription reads a machine file strictly: one YAML document, at most
// 64 KiB, without unknown or repeated keys. Errors name the line.
func ParseDescription(raw []byte) (Description, error) {
	var d Description
	if len(raw) > maxDescription {
		return d, fmt.Errorf("attester: machine file of %d bytes, at most %d", len(raw), maxDescription)
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&d); err != nil {
		return Description{}, fmt.Errorf("attester: machine file: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Description{}, errors.New("attester: machine file has more than one document")
	}
	return d, d.check()
}

// BuiltIn gives a machine by name.
func BuiltIn(name string) (Description, bool) {
	i := slices.IndexFunc(builtIns, func(d Description) bool { return d.Name == name })
	if i < 0 {
		return Description{}, false
	}
	return builtIns[i], true
}

// BuiltIns are the names that BuiltIn knows.
func BuiltIns() []string {
	out := make([]string, len(builtIns))
	for i, d := range builtIns {
		out[i] = d.Name
	}
	return out
}

var builtIns = []Description{
	{Name: "cpu"},
	{Name: "cpu-gpu", GPUs: GPUs{Count: 1}},
	{Name: "hgx", GPUs: GPUs{Count: maxGPUs}, Switches: Set{Count: maxSwitches}},
	{Name: "snp", CPU: CPU{Kind: string(KindSNP)}},
	{Name: "sgx", CPU: CPU{Kind: string(KindSGX)}},
	{Name: "cca", CPU: CPU{Kind: string(KindCCA)}},
	{Name: "nitro", CPU: CPU{Kind: string(KindNitro)}},
	{Name: "tdisp", GPUs: GPUs{Count: 1}, Devices: Devices{Count: 4, TDISP: true}},
}

// choice fills a default in and refuses what is not in the list; of an empty list
// nothing may be chosen.
func choice(field string, value *string, words ...string) error {
	if *value == "" {
		if len(words) > 0 {
			*value = words[0]
		}
		return nil
	}
	if len(words) == 0 {
		return fmt.Errorf("attester: %s is %q, and this kind of CPU has none", field, *value)
	}
	if !slices.Contains(words, *value) {
		return fmt.Errorf("attester: %s is %q, want one of %s", field, *value, strings.Join(words, ", "))
	}
	return nil
}

func between(field string, n, most int) error {
	if n < 0 || n > most {
		return fmt.Errorf("attester: %s is %d, want 0 to %d", field, n, most)
	}
	return nil
}

func (d Description) check() error {
	_, err := d.filled()
	return err
}

// filled checks the description and puts the defaults in.
func (d Description) filled() (Description, error) {
	if d.CPU.Kind == "" {
		d.CPU.Kind = string(KindTDX)
	}
	if d.CPU.Form == "" && d.CPU.Kind == string(KindTDX) && (d.Devices.TDISP || slices.Contains([]string{BindAK, BindLead, BindEvent}, d.Binding)) {
		d.CPU.Form = "json"
	}
	kind := cpuKinds[Kind(d.CPU.Kind)]
	kinds := make([]string, 0, len(cpuKinds))
	for _, k := range append(CPUKinds(), kindNone) {
		kinds = append(kinds, string(k))
	}
	err := errors.Join(
		choice("cpu.kind", &d.CPU.Kind, kinds...),
		choice("cpu.quote", &d.CPU.Quote, kind.quotes...),
		choice("cpu.product", &d.CPU.Product, kind.products...),
		choice("cpu.key", &d.CPU.Key, kind.keys...),
		choice("cpu.form", &d.CPU.Form, kind.forms...),
		choice("gpus.kind", &d.GPUs.Kind, gpuHopper, gpuBlackwell, gpuH200, gpuFSP),
		choice("devices.spdm", &d.Devices.SPDM, "1.2", "1.1", "1.3", "1.4"),
		choice("devices.suite", &d.Devices.Suite, "p384", "p256", "p521", "rsassa3072", "rsapss3072", "ed25519"),
		choice("binding", &d.Binding, BindCommitment, BindNonce, BindAK, BindTrustee, BindITA, BindLead, BindEvent),
		choice("layout", &d.Layout, Flat, Nested),
		between("gpus.count", d.GPUs.Count, maxGPUs),
		between("switches.count", d.Switches.Count, maxSwitches),
		between("devices.count", d.Devices.Count, maxDevices),
		between("psa.count", d.PSA.Count, maxPSA),
	)
	if d.VTPM.Key != "" {
		err = errors.Join(err, choice("vtpm.key", &d.VTPM.Key, "p256", "rsa2048"))
	}
	if err != nil {
		return d, err
	}
	return d, d.sensible()
}

// commitsToLead: the CPU TEE has a place for the key that signs composites.
func (d Description) commitsToLead() bool {
	return d.CPU.Kind == string(KindNitro) || d.CPU.Kind == string(KindTDX) && d.CPU.Form == "json"
}

// sensible refuses combinations that no machine has.
func (d Description) sensible() error {
	switch {
	case len(d.Name) > 64:
		return fmt.Errorf("attester: name of %d bytes, at most 64", len(d.Name))
	case d.Switches.Count > 0 && !d.hopper():
		return errors.New("attester: NVSwitches are simulated for Hopper boards only")
	case d.Binding == BindAK && (d.VTPM.Key == "" || d.CPU.Kind != string(KindTDX) || d.CPU.Form != "json"):
		return errors.New("attester: binding ak wants a vTPM, and TDX in the form json, which carries the runtime data")
	case d.Binding == BindTrustee && d.Layout == Nested:
		return errors.New("attester: Trustee's composites are flat")
	case d.Binding == BindEvent && (d.CPU.Kind != string(KindTDX) || d.CPU.Form != "json"):
		return errors.New("attester: binding event wants TDX in the form json, which carries the event log")
	case d.Binding == BindLead && !d.commitsToLead():
		return errors.New("attester: binding lead-signature wants TDX in the form json, which carries the runtime data, or Nitro")
	case d.Devices.TDISP && !slices.Contains([]Kind{KindTDX, KindSNP, KindCCA, kindNone}, Kind(d.CPU.Kind)):
		return fmt.Errorf("attester: TDISP devices are simulated beside %s, %s and %s, not %s", KindTDX, KindSNP, KindCCA, d.CPU.Kind)
	case d.Devices.Suite == "ed25519" && d.Devices.SPDM == "1.1":
		return errors.New("attester: Ed25519 is in SPDM from 1.2 on")
	case d.Devices.TDISP && d.CPU.Kind == string(KindSNP) && !slices.Contains([]string{"p384", "p256", "rsassa3072"}, d.Devices.Suite):
		return fmt.Errorf("attester: SEV-TIO has no number for the suite %s", d.Devices.Suite)
	case d.CPU.Kind == string(kindNone) && d.GPUs.Count+d.Switches.Count+d.Devices.Count+d.PSA.Count == 0 && d.VTPM.Key == "":
		return errors.New("attester: a machine of nothing")
	}
	return nil
}
