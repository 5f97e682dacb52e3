// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto/ecdsa"
	"crypto/x509"
	"strconv"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/psa"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/attester/tcgtpm"
)

// Kind is a kind of part, spelt like the scheme that verifies it.
type Kind string

// The kinds.
const (
	KindTDX    Kind = "intel-tdx"
	KindSNP    Kind = "amd-snp"
	KindSGX    Kind = "intel-sgx"
	KindCCA    Kind = "arm-cca"
	KindNitro  Kind = "aws-nitro"
	KindGPU    Kind = "nvidia-gpu"
	KindSwitch Kind = "nvidia-nvswitch"
	KindSPDM   Kind = "dmtf-spdm"
	KindTPM    Kind = "tcg-tpm"
	KindPSA    Kind = "psa"
)

// KindRealm is no part: it names the reference values of the realm on an Arm CCA
// platform, which its owner states and not the platform's vendor.
const KindRealm Kind = "arm-cca-realm"

func (k Kind) cpu() bool {
	_, ok := cpuKinds[k]
	return ok && k != kindNone
}

// nonceSize is the length in bytes of the challenge that the evidence carries.
func (k Kind) nonceSize() int {
	if k.cpu() {
		return 64
	}
	return 32
}

// device is one part that answers: one of the simulators, or a wrapper. Root is
// nil for one whose key stands in reference values and not below a root.
type device interface {
	Evidence(nonce []byte) ([]byte, error)
	Root() *x509.Certificate
	Endorsements() (map[string][]byte, error)
}

// wrapped is a device whose evidence travels inside something else.
type wrapped struct {
	device
	wrap func([]byte) ([]byte, error)
}

// Evidence implements device.
func (w wrapped) Evidence(nonce []byte) ([]byte, error) {
	raw, err := w.device.Evidence(nonce)
	if err != nil {
		return nil, err
	}
	return w.wrap(raw)
}

// tsmReport is a device whose report travels as a TSM report.
type tsmReport struct{ tsmReporter }

type tsmReporter interface {
	device
	TSMReport(nonce []byte) ([]byte, error)
}

// Evidence implements device.
func (d tsmReport) Evidence(nonce []byte) ([]byte, error) { return d.TSMReport(nonce) }

// workshop makes the parts of one machine. Machines with one vendors value
// chain to the same roots; seed makes them different machines.
type workshop struct {
	d       Description
	vendors *Vendors
	seed    pki.Seed
	now     time.Time
	// runtime are the runtime data in the CPU's leaf, nil without.
	runtime []byte
	// lead is the key that signs composites, where the CPU TEE commits to it.
	lead *ecdsa.PublicKey
}

// Vendors are the test authorities of every vendor. It is safe for concurrent
// use; machines that share one share the cost of its keys.
type Vendors struct {
	seed pki.Seed
	now  time.Time
	amd  *amdsnp.Vendor
	// nvidia is what all its devices have in common.
	nvidia nvidia.Shared
	spdm   spdm.Shared
}

// NewVendors names the authorities that follow from a text; "" is a text too.
func NewVendors(seed string, now time.Time) *Vendors {
	s := pki.NewSeed("vendors").Sub(seed)
	return &Vendors{seed: s, now: now, amd: amdsnp.NewVendor(s.Sub(string(KindSNP)), now)}
}

func (w *workshop) seedOf(kind Kind, i int) pki.Seed {
	return w.seed.Sub(string(kind), strconv.Itoa(i))
}

func (w *workshop) pdis(kind Kind, n int) []nvidia.PDI {
	out := make([]nvidia.PDI, n)
	for i := range out {
		out[i] = nvidia.PDIOf(w.seedOf(kind, i))
	}
	return out
}

func (w *workshop) gpu(i int, k knobs) (device, error) {
	o := w.nvidia(KindGPU, i, nvidia.Blackwell, w.pdis(KindSwitch, w.d.Switches.Count), maxGPUs, k)
	if w.d.hopper() {
		o.Arch = nvidia.Hopper
	}
	o.H200, o.FSP = w.d.GPUs.Kind == gpuH200, w.d.GPUs.Kind == gpuFSP
	return nvidia.NewGPU(o)
}

func (w *workshop) nvswitch(i int, k knobs) (device, error) {
	return nvidia.NewSwitch(w.nvidia(KindSwitch, i, "", w.pdis(KindGPU, w.d.GPUs.Count), maxSwitches, k))
}

func (w *workshop) nvidia(kind Kind, i int, arch string, peers []nvidia.PDI, places int, k knobs) nvidia.Options {
	return nvidia.Options{
		Vendor: w.vendors.seed.Sub(string(KindGPU)), Device: w.seedOf(kind, i), Now: w.now, Arch: arch, Position: i % places, Peers: peers,
		Debug: k.debug, OutdatedTCB: k.outdated, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
		OtherMode: k.otherMode, Status: k.status, RIM: k.rim, Links: k.links, Shared: &w.vendors.nvidia,
	}
}

func (w *workshop) spdm(i int, k knobs) (device, error) {
	o := w.d.Devices.options(Kind(w.d.CPU.Kind))
	o.Vendor, o.Device, o.Now, o.Shared = w.vendors.seed.Sub(string(KindSPDM)), w.seedOf(KindSPDM, i), w.now, &w.vendors.spdm
	o.Function, o.Faults = uint16(0x0100+8*i), k.spdm
	o.Debug, o.OutdatedTCB, o.Revoked, o.Expired, o.WrongSigner, o.Measurement = k.debug, k.outdated, k.revoked, k.expired, k.wrongSigner, k.measurement
	o.ReportSwapped, o.Unlocked = k.reportSwapped, k.unlocked // of TDISP devices only, see Description.has
	return spdm.New(o)
}

// options are what a description says of its devices.
func (d Devices) options(cpu Kind) spdm.Options {
	versions := map[string]spdm.Version{"1.1": spdm.Version11, "1.2": spdm.Version12, "1.3": spdm.Version13, "1.4": spdm.Version14}
	suites := map[string]spdm.Suite{
		"p384": spdm.SuiteP384, "p256": spdm.SuiteP256, "p521": spdm.SuiteP521, "ed25519": spdm.SuiteEd25519,
		"rsassa3072": spdm.SuiteRSASSA3072, "rsapss3072": spdm.SuiteRSAPSS3072,
	}
	o := spdm.Options{Version: versions[d.SPDM], Suite: suites[d.Suite]}
	switch {
	case !d.TDISP:
	case cpu == KindSNP:
		o.TSM = spdm.TSMSEVTIO
	case cpu == KindCCA:
		o.TSM = spdm.TSMCCA
	default:
		o.TSM = spdm.TSMTDX
	}
	return o
}

func (w *workshop) tpm(k knobs) (*tcgtpm.Device, error) {
	o := tcgtpm.Options{
		Vendor: w.vendors.seed.Sub(string(KindTPM)), Device: w.seed.Sub(string(KindTPM)), Now: w.now, Image: w.d.Name,
		Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	}
	if w.d.VTPM.Key == "rsa2048" {
		o.Key = tcgtpm.RSA2048
	}
	return tcgtpm.New(o)
}

func (w *workshop) psa(i int, k knobs) (device, error) {
	return psa.New(psa.Options{
		Device: w.seedOf(KindPSA, i), Now: w.now, Model: w.d.Name,
		Debug: k.debug, OutdatedTCB: k.outdated, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	})
}
