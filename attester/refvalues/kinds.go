// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/attester/tcgtpm"
)

// Class identifiers of Profile, written as bytes, and that of AMD.
const (
	// ClassTDX is a trust domain: the fields of its TD report.
	ClassTDX = "tag:assize.dev,2026:intel-tdx"
	// ClassSGX is an enclave: the fields of its report.
	ClassSGX = "tag:assize.dev,2026:intel-sgx"
	// ClassNitro is an AWS Nitro enclave: its PCRs.
	ClassNitro = "tag:assize.dev,2026:aws-nitro"
	// ClassTPM is the platform that a TPM measured.
	ClassTPM = "tag:assize.dev,2026:tcg-tpm"
	// ClassSNP is an SEV-SNP guest whose report a VCEK signed (AMD's profile).
	ClassSNP = "1.3.6.1.4.1.3704.3.1"
	// ClassSNPProvider is one whose report a VLEK signed.
	ClassSNPProvider = "1.3.6.1.4.1.3704.3.2"
)

// Vendors and models of classes.
const (
	VendorIntel  = "Intel Corporation"
	ModelTDX     = "TDX"
	ModelSGX     = "SGX"
	VendorNVIDIA = "NVIDIA"
	ModelHopper  = "GH100"
	// ModelBlackwell is the name in NVIDIA's reference values for GPUs of this
	// architecture with GSP.
	ModelBlackwell = "GB100"
	ModelSwitch    = "LS10"
)

// spdmDeviceMode is the measurement index of the device mode (DSP0274).
const spdmDeviceMode = 0xfe

var errNoMeasurements = errors.New("refvalues: device without measurements")

// IntelTDX takes inteltdx.Device.Measurements. TEE_TCB_SVN is left out, see the
// package comment. It returns an error for a register that it does not know.
func IntelTDX(ms []inteltdx.Measurement) (Entry, error) {
	out := Entry{Environment: Environment{ClassID: ClassTDX, Vendor: VendorIntel, Model: ModelTDX}}
	registers := map[uint64][]Digest{}
	for _, m := range ms {
		switch m.Name {
		case "tee_tcb_svn":
		case "rtmr0", "rtmr1", "rtmr2", "rtmr3":
			registers[uint64(m.Name[4]-'0')] = []Digest{{m.Alg, m.Digest}}
		case "mrtd", "mrseam":
			out.Values = append(out.Values, Value{Key: m.Name, Digests: []Digest{{m.Alg, m.Digest}}})
		case "mrconfigid", "mrowner", "mrownerconfig", "mrsignerseam":
			out.Values = append(out.Values, Value{Key: m.Name, Raw: m.Raw})
		default:
			return Entry{}, fmt.Errorf("refvalues: unknown TDX register %q", m.Name)
		}
	}
	if len(registers) > 0 {
		out.Values = append(out.Values, Value{Registers: registers})
	}
	return out.check()
}

// IntelSGX takes intelsgx.Device.Measurements. Numbers are the lowest acceptable
// ones. CPUSVN is left out as TEE_TCB_SVN of TDX is.
func IntelSGX(ms []intelsgx.Measurement) (Entry, error) {
	out := Entry{Environment: Environment{ClassID: ClassSGX, Vendor: VendorIntel, Model: ModelSGX}}
	for _, m := range ms {
		v := Value{Key: m.Name, Raw: m.Raw, MinSVN: m.SVN}
		if m.Digest != nil {
			v.Digests = []Digest{{m.Alg, m.Digest}}
		}
		out.Values = append(out.Values, v)
	}
	return out.check()
}

// AWSNitro takes awsnitro.Device.Measurements.
func AWSNitro(ms []awsnitro.Measurement) (Entry, error) {
	registers := map[uint64][]Digest{}
	for _, m := range ms {
		pcr, err := strconv.ParseUint(m.Name, 10, 8)
		if err != nil {
			return Entry{}, fmt.Errorf("refvalues: PCR %q: %w", m.Name, err)
		}
		registers[pcr] = append(registers[pcr], Digest{m.Alg, m.Digest})
	}
	if len(registers) == 0 {
		return Entry{}, errNoMeasurements
	}
	return Entry{Environment: Environment{ClassID: ClassNitro}, Values: []Value{{Registers: registers}}}.check()
}

// AMDSNP takes amdsnp.Device.Measurements, and CHIP_ID (64 bytes) for values of
// one chip, or nil for those of every chip.
func AMDSNP(ms []amdsnp.Measurement, chipID []byte) (Entry, error) {
	if len(chipID) != 0 && len(chipID) != 64 {
		return Entry{}, fmt.Errorf("refvalues: CHIP_ID has %d bytes, not 64", len(chipID))
	}
	return snpEntry(Environment{ClassID: ClassSNP, Instance: chipID}, ms)
}

// AMDSNPByProvider is AMDSNP for guests whose report a VLEK signed: provider is
// the identifier of the cloud provider in its certificate, or "" for values of
// every provider.
func AMDSNPByProvider(ms []amdsnp.Measurement, provider string) (Entry, error) {
	return snpEntry(Environment{ClassID: ClassSNPProvider, Instance: []byte(provider)}, ms)
}

func snpEntry(env Environment, ms []amdsnp.Measurement) (Entry, error) {
	out := Entry{Environment: env}
	for _, m := range ms {
		v := Value{Key: m.MKey}
		switch {
		case m.Name == "reported-tcb":
			if len(m.Raw) != 8 {
				return Entry{}, fmt.Errorf("refvalues: TCB has %d bytes, not 8", len(m.Raw))
			}
			svn := binary.LittleEndian.Uint64(m.Raw)
			v.MinSVN = &svn
		case m.Digest != nil:
			v.Digests = []Digest{{m.Alg, m.Digest}}
		default:
			v.Raw = m.Raw
		}
		out.Values = append(out.Values, v)
	}
	return out.check()
}

// NVIDIAGPU takes nvidia.Device.Measurements and Options.Arch of a GPU:
// nvidia.Hopper, nvidia.Blackwell, or "" for Hopper.
func NVIDIAGPU(ms []nvidia.Measurement, arch string) (Entry, error) {
	switch arch {
	case "", nvidia.Hopper:
		return nvidiaEntry(ModelHopper, ms)
	case nvidia.Blackwell:
		return nvidiaEntry(ModelBlackwell, ms)
	}
	return Entry{}, fmt.Errorf("refvalues: unknown GPU architecture %q", arch)
}

// NVSwitch takes nvidia.Device.Measurements of a switch.
func NVSwitch(ms []nvidia.Measurement) (Entry, error) { return nvidiaEntry(ModelSwitch, ms) }

func nvidiaEntry(model string, ms []nvidia.Measurement) (Entry, error) {
	out := Entry{Environment: Environment{Vendor: VendorNVIDIA, Model: model}}
	for _, m := range ms {
		index, err := strconv.ParseUint(m.Name, 10, 8)
		if err != nil {
			return Entry{}, fmt.Errorf("refvalues: NVIDIA index %q: %w", m.Name, err)
		}
		out.Values = append(out.Values, Value{Key: index, Digests: []Digest{{m.Alg, m.Digest}}})
	}
	return out.check()
}

// SPDM takes spdm.Device.Identity, Measurements and what is stated by text keys:
// ConnectionReferences and, of a device that is assigned through TDISP,
// InterfaceReferences. identity is
// VENDOR:MODEL:SERIAL for values of one device, or VENDOR:MODEL for those of
// every device of the model.
func SPDM(identity string, blocks, iface []spdm.Measurement) (Entry, error) {
	part := strings.SplitN(identity, ":", 3)
	if len(part) < 2 || part[0] == "" || part[1] == "" || part[len(part)-1] == "" {
		return Entry{}, fmt.Errorf("refvalues: SPDM identity %q is not VENDOR:MODEL or VENDOR:MODEL:SERIAL", identity)
	}
	out := Entry{Environment: Environment{Vendor: part[0], Model: part[1]}}
	if len(part) == 3 {
		out.Environment.Instance = []byte(part[2])
	}
	for _, m := range blocks {
		index, err := strconv.ParseUint(m.Name, 10, 8)
		if err != nil {
			return Entry{}, fmt.Errorf("refvalues: SPDM index %q: %w", m.Name, err)
		}
		v := spdmValue(index, m)
		if index == spdmDeviceMode {
			no := false
			v.Debug = &no
		}
		out.Values = append(out.Values, v)
	}
	for _, m := range iface {
		if !strings.HasPrefix(m.Name, "tdisp.") && !strings.HasPrefix(m.Name, "spdm.") {
			return Entry{}, fmt.Errorf("refvalues: unknown interface property %q", m.Name)
		}
		out.Values = append(out.Values, spdmValue(m.Name, m))
	}
	return out.check()
}

func spdmValue(key any, m spdm.Measurement) Value {
	v := Value{Key: key, MinSVN: m.SVN, Raw: m.Raw, RawMask: m.Mask}
	if m.Digest != nil {
		v.Digests = []Digest{{m.Alg, m.Digest}}
	}
	return v
}

// TPM takes tcgtpm.Device.Measurements.
func TPM(ms []tcgtpm.Measurement) (Entry, error) {
	registers := map[uint64][]Digest{}
	for _, m := range ms {
		pcr, err := strconv.ParseUint(m.Name, 10, 8)
		if err != nil {
			return Entry{}, fmt.Errorf("refvalues: PCR %q: %w", m.Name, err)
		}
		registers[pcr] = append(registers[pcr], Digest{m.Alg, m.Digest})
	}
	if len(registers) == 0 {
		return Entry{}, errNoMeasurements
	}
	return Entry{Environment: Environment{ClassID: ClassTPM}, Values: []Value{{Registers: registers}}}.check()
}

// check lets a constructor fail where the fault is, not the writer of the whole
// document.
func (e Entry) check() (Entry, error) {
	if len(e.Values) == 0 {
		return Entry{}, errNoMeasurements
	}
	mode, err := encoding()
	if err != nil {
		return Entry{}, err
	}
	if _, err := e.encode(mode); err != nil {
		return Entry{}, fmt.Errorf("refvalues: %s: %w", e.Environment.describe(), err)
	}
	return e, nil
}
