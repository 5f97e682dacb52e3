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

// guest judges the guest, which the quote does not measure.
func (v *verifier) guest(a *verdict.Appraisal, in verifiers.Input, c container) {
	c.machine.Guest(a, measuredboot.Judge{Policy: v.policy, Prefix: vtpmPrefix, Parameters: v.params.PCRs, Unsigned: v.unsigned}, in)
}
