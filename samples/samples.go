// SPDX-License-Identifier: Apache-2.0

// Package samples builds composite evidence from recordings of real hardware
// that Go modules carry as test data: an Intel TDX quote (go-tdx-guest) and an
// NVIDIA H100 report with its certificate chain (go-nvtrust). Nothing recorded
// is copied into this repository. Recordings answer fixed challenges, and
// these two never shared a machine; a correct verdict says so.
package samples

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"
	"github.com/google/go-tdx-guest/testing/testdata"

	"github.com/assize/assize/evidence"
)

// Media types of the two leaves.
var (
	QuoteType = evidence.MediaType{Base: "application/vnd.assize.tdx-quote"}
	GPUType   = evidence.MediaType{Base: "application/vnd.veraison.nvidia-gpu-evidence+json"}
)

// GPUNonce is the challenge in the recorded H100 report, 32 bytes.
func GPUNonce() []byte {
	return []byte{
		0x4c, 0xff, 0x7f, 0x53, 0x80, 0xea, 0xd8, 0xfa, 0xd8, 0xec, 0x2c, 0x53, 0x1c, 0x11, 0x0a, 0xca,
		0x43, 0x02, 0xa8, 0x8f, 0x60, 0x37, 0x92, 0x80, 0x1a, 0x8c, 0xa2, 0x9e, 0xe1, 0x51, 0xaf, 0x2e,
	}
}

// TDXQuote returns a version 5 quote (TDX 1.5) of real hardware. The module's
// version 4 sample has text behind the quote and is refused for that.
func TDXQuote() []byte { return testdata.RawQuoteV5 }

// GPUEvidence returns the H100 report and chain in the JSON form that ratsd
// and Veraison use: an array with one device.
func GPUEvidence() ([]byte, error) {
	report, err := hex.DecodeString(strings.TrimSpace(string(mocks.AttestationReportData)))
	if err != nil {
		return nil, fmt.Errorf("samples: recorded GPU report: %w", err)
	}
	return json.Marshal([]map[string]string{{
		"arch":        "HOPPER",
		"nonce":       hex.EncodeToString(GPUNonce()),
		"evidence":    base64.StdEncoding.EncodeToString(report),
		"certificate": base64.StdEncoding.EncodeToString(mocks.ValidCertChainData),
	}})
}

// Composite returns the CMW collection {cpu: TDX quote, gpu: H100 evidence}.
func Composite() (evidence.Item, error) {
	gpu, err := GPUEvidence()
	if err != nil {
		return evidence.Item{}, err
	}
	return evidence.Collection("tag:github.com,2026:assize/sample",
		evidence.Entry{Label: "cpu", Item: evidence.Record(QuoteType, TDXQuote(), evidence.IndEvidence)},
		evidence.Entry{Label: "gpu", Item: evidence.Record(GPUType, gpu, evidence.IndEvidence)},
	), nil
}
