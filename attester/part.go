// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/attester/tcgtpm"
)

// Kind is a kind of part, spelt like the scheme that verifies it.
type Kind string

// The kinds.
const (
	KindTDX    Kind = "intel-tdx"
	KindSNP    Kind = "amd-snp"
	KindGPU    Kind = "nvidia-gpu"
	KindSwitch Kind = "nvidia-nvswitch"
	KindSPDM   Kind = "dmtf-spdm"
	KindTPM    Kind = "tcg-tpm"
)

func (k Kind) cpu() bool { return k == KindTDX || k == KindSNP }

// nonceSize is the length in bytes of the challenge that the evidence carries.
func (k Kind) nonceSize() int {
	if k.cpu() {
		return 64
	}
	return 32
}

// device is one part that answers: one of the simulators, or a wrapper.
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

// tsmSNP is an SNP guest whose report travels as a TSM report.
type tsmSNP struct{ *amdsnp.Device }

// Evidence implements device.
func (d tsmSNP) Evidence(nonce []byte) ([]byte, error) { return d.TSMReport(nonce) }

// workshop makes the parts of one machine. Machines with one vendors value
// chain to the same roots; seed makes them different machines.
type workshop struct {
	d       Description
	vendors *Vendors
	seed    pki.Seed
	now     time.Time
	// runtime are the runtime data in the CPU's leaf, nil without.
	runtime []byte
}

// Vendors are the test authorities of every vendor. It is safe for concurrent
// use; machines that share one share the cost of its keys.
type Vendors struct {
	seed pki.Seed
	now  time.Time
	amd  *amdsnp.Vendor
}

// NewVendors names the authorities that follow from a text; "" is a text too.
func NewVendors(seed string, now time.Time) *Vendors {
	s := pki.NewSeed("vendors").Sub(seed)
	return &Vendors{seed: s, now: now, amd: amdsnp.NewVendor(s.Sub(string(KindSNP)), now)}
}

func (w *workshop) cpu(k knobs, events []inteltdx.Event) (device, string, error) {
	if Kind(w.d.CPU.Kind) == KindSNP {
		return w.snp(k)
	}
	forms := map[string]inteltdx.Quote{"v5-1.5": inteltdx.V5TDX15, "v5-1.0": inteltdx.V5TDX10, "v4": inteltdx.V4}
	d, err := inteltdx.New(inteltdx.Options{
		Vendor: w.vendors.seed.Sub(string(KindTDX)), Device: w.seed.Sub("cpu"), Now: w.now, Quote: forms[w.d.CPU.Quote], Events: events,
		Debug: k.debug, OutdatedTCB: k.outdated, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	})
	if err != nil {
		return nil, "", err
	}
	switch w.d.CPU.Form {
	case "tsm":
		return wrapped{d, inteltdx.TSMReport}, inteltdx.TypeTSMReport, nil
	case "json":
		return wrapped{d, func(quote []byte) ([]byte, error) { return withRuntime(quote, d.EventLog(), w.runtime) }}, inteltdx.TypeJSON, nil
	}
	return d, inteltdx.TypeQuote, nil
}

// tsm is the same CPU with its report as a TSM report.
func (w *workshop) tsm(k knobs, events []inteltdx.Event) (device, error) {
	same := *w
	same.d.CPU.Form = "tsm"
	d, _, err := same.cpu(k, events)
	return d, err
}

// withRuntime adds the member runtime_data to a quote in JSON.
func withRuntime(quote, log, runtime []byte) ([]byte, error) {
	out, err := inteltdx.JSON(quote, log)
	if err != nil || runtime == nil {
		return out, err
	}
	if !json.Valid(runtime) {
		return nil, fmt.Errorf("attester: runtime data are not JSON")
	}
	out = append(out[:len(out)-1], `,"runtime_data":`...)
	return append(append(out, runtime...), '}'), nil
}

func (w *workshop) snp(k knobs) (device, string, error) {
	products := map[string]amdsnp.Product{"genoa": amdsnp.Genoa, "milan": amdsnp.Milan, "turin": amdsnp.Turin}
	d, err := amdsnp.New(amdsnp.Options{
		Vendor: w.vendors.amd, Device: w.seed.Sub("cpu"), Now: w.now, Product: products[w.d.CPU.Product], Image: w.d.Name,
		Debug: k.debug, OutdatedTCB: k.outdated, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	})
	if err != nil {
		return nil, "", err
	}
	if w.d.CPU.Form == "tsm" {
		return tsmSNP{d}, inteltdx.TypeTSMReport, nil
	}
	return d, amdsnp.MediaType, nil
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
	return nvidia.NewGPU(w.nvidia(KindGPU, i, map[string]string{"blackwell": "BLACKWELL"}[w.d.GPUs.Kind], w.pdis(KindSwitch, w.d.Switches.Count), maxGPUs, k))
}

func (w *workshop) nvswitch(i int, k knobs) (device, error) {
	return nvidia.NewSwitch(w.nvidia(KindSwitch, i, "", w.pdis(KindGPU, w.d.GPUs.Count), maxSwitches, k))
}

func (w *workshop) nvidia(kind Kind, i int, arch string, peers []nvidia.PDI, places int, k knobs) nvidia.Options {
	return nvidia.Options{
		Vendor: w.vendors.seed.Sub(string(KindGPU)), Device: w.seedOf(kind, i), Now: w.now, Arch: arch, Position: i % places, Peers: peers,
		Debug: k.debug, OutdatedTCB: k.outdated, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	}
}

func (w *workshop) spdm(i int, k knobs) (device, error) {
	versions := map[string]spdm.Version{"1.1": spdm.Version11, "1.2": spdm.Version12, "1.3": spdm.Version13}
	o := spdm.Options{
		Vendor: w.vendors.seed.Sub(string(KindSPDM)), Device: w.seedOf(KindSPDM, i), Now: w.now, Version: versions[w.d.Devices.SPDM],
		Function: uint16(0x0100 + 8*i),
		Debug:    k.debug, OutdatedTCB: k.outdated, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	}
	if w.d.Devices.Suite == "p256" {
		o.Suite = spdm.SuiteP256
	}
	if w.d.Devices.TDISP {
		o.TSM, o.ReportSwapped = spdm.TSMTDX, k.reportSwapped
		if Kind(w.d.CPU.Kind) == KindSNP {
			o.TSM = spdm.TSMSEVTIO
		}
	}
	return spdm.New(o)
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
