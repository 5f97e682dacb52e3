// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/measuredboot"
	"github.com/assize/assize/verifiers/internal/paravisor"
)

// vtpmPrefix tells rows about the guest, whom the virtual TPM measures.
const vtpmPrefix = "vtpm-"

// openAzure takes the leaf of a confidential VM of Azure apart. The TD's own
// report in it is for its platform alone; the quote made of it is what counts.
func openAzure(raw []byte) (container, *failure) {
	m, f := paravisor.Open(raw, azure.TEETDX)
	if f != nil {
		return container{}, failf(f.Code, "%s", f.Detail)
	}
	return container{quote: m.TDQuote, machine: m}, nil
}

// bind checks that TD, paravisor and virtual TPM are one machine; freshness is
// that of the TPM's quote.
func (v *verifier) bind(a *verdict.Appraisal, in verifiers.Input, c container, q *quote) *failure {
	if f := c.machine.Bind(a, q.ReportData(), in.Nonce); f != nil {
		return failf(f.Code, "%s", f.Detail)
	}
	return nil
}

// launched takes the commitment to the TPM's key for one of measured software only
// where reference values know what the TD was started with: in a TD without a
// paravisor any program that may ask for a quote chooses REPORTDATA, and could
// commit to runtime data that it invented.
func launched(a *verdict.Appraisal) {
	if a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
		return
	}
	for i := range a.Facts.Keys {
		a.Facts.Keys[i].Origin = verdict.OriginApplication
	}
}

// guest judges the guest, which the quote does not measure.
func (v *verifier) guest(a *verdict.Appraisal, in verifiers.Input, c container) {
	c.machine.Guest(a, measuredboot.Judge{Policy: v.policy, Prefix: vtpmPrefix, Parameters: v.params.PCRs, Unsigned: v.unsigned}, in)
}
