// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/measuredboot"
	"github.com/assize/assize/verifiers/internal/paravisor"
)

// vtpmPrefix tells rows about the guest, whom the virtual TPM measures.
const vtpmPrefix = "vtpm-"

// appraiseAzure judges a confidential VM of Azure: the report measures the
// paravisor, and a quote of its virtual TPM the guest. The report holds no
// challenge; freshness is that of the quote, to whose key the report commits.
func (v *verifier) appraiseAzure(in verifiers.Input) verdict.Appraisal {
	m, c, f := openAzure(in.Evidence)
	if f != nil {
		return v.rejected(f)
	}
	bound := false
	a := v.appraiseReport(in, m.HCL.Hardware, c, func(a *verdict.Appraisal, reportData [64]byte) *failure {
		if f := askedBeneath(a); f != nil {
			return f
		}
		if f := m.Bind(a, reportData[:], in.Nonce); f != nil {
			return &failure{code: f.Code, detail: f.Detail}
		}
		bound = true
		return nil
	})
	if bound {
		m.Guest(&a, measuredboot.Judge{Policy: v.policy, Prefix: vtpmPrefix, Parameters: v.params.PCRs, Unsigned: v.unsigned}, in)
	}
	return a
}

// openAzure takes a leaf apart. The certificate beside the report is a candidate
// like one in a certificate table.
func openAzure(raw []byte) (*paravisor.Machine, *certificates, *failure) {
	m, f := paravisor.Open(raw, azure.TEESNP)
	if f != nil {
		return nil, nil, &failure{code: f.Code, detail: f.Detail}
	}
	c := &certificates{}
	if m.VCEK == nil {
		return m, c, nil
	}
	var err error
	if c.vcek, err = der(m.VCEK); err != nil {
		return nil, nil, failf(verdict.ReasonMalformed, "vcek: %v", err)
	}
	return m, c, nil
}

func azureNeeds(raw []byte) []endorsements.Need {
	m, c, f := openAzure(raw)
	if f != nil {
		return nil
	}
	r, err := parseReport(m.HCL.Hardware)
	if err != nil {
		return nil
	}
	return reportNeeds(r, c)
}
