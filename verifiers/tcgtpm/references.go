// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/measuredboot"
)

// environment names what the TPM measured, in documents about its key too.
func environment() corim.Environment { return measuredboot.Environment() }

// boot judges what the registers say, by the event log and by reference values.
func (v *verifier) boot(a *verdict.Appraisal, in verifiers.Input, l *leaf, s *statement, w *voucher) {
	j := measuredboot.Judge{Policy: v.policy, Parameters: v.parameters.Parameters, Unsigned: v.unsigned}
	b := measuredboot.Boot{Bank: l.bank.hash(), PCRs: l.pcrs, Log: l.log}
	j.EventLog(a, b)
	refs := measuredboot.References{Index: in.References, Time: in.Time}
	if in.References != nil {
		refs.Authority = append(refs.Authority, corim.TaggedBytes(corim.TagPKIXKey, s.spki))
		for _, c := range w.certs() {
			refs.Authority = append(refs.Authority, corim.Certificate(c))
		}
	}
	if c := j.References(a, b, refs); c != nil {
		a.Claims["reference_values"] = c
	}
}
