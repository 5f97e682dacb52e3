// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto/x509"
	"encoding/json"
	"fmt"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/armcca"
	"github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/evidence"
)

// cpuKind is what a description may say about one kind of CPU TEE; the first of
// each list is the default.
type cpuKind struct {
	forms, quotes, products, keys []string
}

var cpuKinds = map[Kind]cpuKind{
	KindTDX:   {forms: []string{"raw", "tsm", "json"}, quotes: []string{"v5-1.5", "v5-1.0", "v4"}},
	KindSNP:   {forms: []string{"raw", "tsm"}, products: []string{"genoa", "milan", "turin"}, keys: []string{"vcek", "vlek"}},
	KindSGX:   {forms: []string{"raw"}, quotes: []string{"v3", "v4", "v5"}},
	KindCCA:   {forms: []string{"raw", "tsm"}},
	KindNitro: {forms: []string{"raw"}},
	kindNone:  {forms: []string{"raw"}},
}

// CPUKinds are the kinds of CPU TEE that a description may name, the default first.
func CPUKinds() []Kind { return []Kind{KindTDX, KindSNP, KindSGX, KindCCA, KindNitro} }

// kindNone is a machine without a CPU TEE.
const kindNone Kind = "none"

// simulatedProvider is the cloud provider in VLEK certificates.
const simulatedProvider = "CN=cc-xx-sim-1.example.com"

// hasTSM tells whether Linux offers the report of the kind as a TSM report, which
// is what ratsd collects.
func (k Kind) hasTSM() bool { return k == KindTDX || k == KindSNP || k == KindCCA }

// cpu makes the CPU TEE, and says of which media type its evidence is.
func (w *workshop) cpu(k knobs, events []inteltdx.Event) (device, evidence.MediaType, error) {
	make1 := w.tdx
	switch Kind(w.d.CPU.Kind) {
	case KindSNP:
		make1 = w.snp
	case KindSGX:
		make1 = w.sgx
	case KindCCA:
		make1 = w.cca
	case KindNitro:
		make1 = w.nitro
	}
	d, media, err := make1(k, events)
	if err != nil {
		return nil, evidence.MediaType{}, err
	}
	mt, err := evidence.ParseMediaType(media)
	if err != nil {
		return nil, evidence.MediaType{}, fmt.Errorf("attester: %s: %w", media, err)
	}
	return d, mt, nil
}

// tsm is the same CPU as ratsd asks for it: with its report as a TSM report,
// where there are such.
func (w *workshop) tsm(k knobs, events []inteltdx.Event) (device, evidence.MediaType, error) {
	same := *w
	if Kind(w.d.CPU.Kind).hasTSM() {
		same.d.CPU.Form = "tsm"
	}
	return same.cpu(k, events)
}

func (w *workshop) tdx(k knobs, events []inteltdx.Event) (device, string, error) {
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
		if w.lead != nil {
			return keyed{d, w.lead, func(quote, runtime []byte) ([]byte, error) { return withRuntime(quote, d.EventLog(), runtime) }}, inteltdx.TypeJSON, nil
		}
		return wrapped{d, func(quote []byte) ([]byte, error) { return withRuntime(quote, d.EventLog(), w.runtime) }}, inteltdx.TypeJSON, nil
	}
	return d, inteltdx.TypeQuote, nil
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

func (w *workshop) snp(k knobs, _ []inteltdx.Event) (device, string, error) {
	products := map[string]amdsnp.Product{"genoa": amdsnp.Genoa, "milan": amdsnp.Milan, "turin": amdsnp.Turin}
	d, err := amdsnp.New(amdsnp.Options{
		Vendor: w.vendors.amd, Device: w.seed.Sub("cpu"), Now: w.now, Product: products[w.d.CPU.Product], Image: w.d.Name,
		Provider: map[string]string{"vlek": simulatedProvider}[w.d.CPU.Key],
		Debug:    k.debug, OutdatedTCB: k.outdated, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	})
	if err != nil {
		return nil, "", err
	}
	if w.d.CPU.Form == "tsm" {
		return tsmReport{d}, inteltdx.TypeTSMReport, nil
	}
	return d, amdsnp.MediaType, nil
}

// sgx is an enclave of a platform whose authorities are those of TDX platforms:
// there is one Intel.
func (w *workshop) sgx(k knobs, _ []inteltdx.Event) (device, string, error) {
	forms := map[string]intelsgx.Quote{"v3": intelsgx.V3, "v4": intelsgx.V4, "v5": intelsgx.V5}
	d, err := intelsgx.New(intelsgx.Options{
		Vendor: w.vendors.seed.Sub(string(KindTDX)), Device: w.seed.Sub("cpu"), Now: w.now, Quote: forms[w.d.CPU.Quote],
		Debug: k.debug, OutdatedTCB: k.outdated, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	})
	return d, intelsgx.TypeQuote, err
}

func (w *workshop) cca(k knobs, _ []inteltdx.Event) (device, string, error) {
	d, err := armcca.New(armcca.Options{
		Device: w.seed.Sub("cpu"), Now: w.now, Model: w.d.Name, Image: w.d.Name,
		Debug: k.debug, OutdatedTCB: k.outdated, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	})
	if err != nil {
		return nil, "", err
	}
	if w.d.CPU.Form == "tsm" {
		return tsmReport{d}, armcca.TypeTSMReport, nil
	}
	return d, armcca.MediaType, nil
}

func (w *workshop) nitro(k knobs, _ []inteltdx.Event) (device, string, error) {
	var key []byte
	if w.lead != nil {
		var err error
		if key, err = x509.MarshalPKIXPublicKey(w.lead); err != nil {
			return nil, "", err
		}
	}
	d, err := awsnitro.New(awsnitro.Options{
		Vendor: w.vendors.seed.Sub(string(KindNitro)), Device: w.seed.Sub("cpu"), Now: w.now, Image: w.d.Name, PublicKey: key,
		Debug: k.debug, Revoked: k.revoked, Expired: k.expired, WrongSigner: k.wrongSigner, Measurement: k.measurement,
	})
	return d, awsnitro.MediaType, err
}
