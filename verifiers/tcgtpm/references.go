// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"slices"
	"strconv"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/reference"
	"github.com/assize/assize/verifiers/internal/tpm"
)

// environment is the platform that a TPM measured, in reference values. Nobody
// has defined names, so they are those of corim.ProfileAssize: PCRs are integrity
// registers by their index, without a key.
func environment() corim.Environment {
	return corim.Environment{Class: corim.Class{ID: corim.TaggedBytes(corim.TagBytes, []byte("tag:assize.dev,2026:tcg-tpm"))}}
}

const (
	registerName = "PCR"
	// firstOS is the first register that is not the firmware's: what the machine
	// boots extends it, or nobody does.
	firstOS = 8
)

var digestNames = map[crypto.Hash]corim.Algorithm{crypto.SHA256: corim.SHA256, crypto.SHA384: corim.SHA384, crypto.SHA512: corim.SHA512}

// compare compares the registers with reference values. Those that are not quoted
// are there without a value, which nothing matches: so a triple that names one of
// them does not hold, and what is quoted does not differ because of that.
func (v *verifier) compare(in verifiers.Input, l *leaf, s *statement, w *voucher) *reference.Report {
	bank := reference.Item{Name: registerName}
	for pcr := range tpm.PCRCount {
		r := corim.Register{ID: corim.NumberKey(uint64(pcr))}
		if value, quoted := l.pcrs[pcr]; quoted {
			r.Digests = []corim.Digest{{Alg: digestNames[l.bank.hash()], Value: value}}
		}
		bank.Value.Registers = append(bank.Value.Registers, r)
	}
	q := reference.Query{Index: in.References, Environment: environment(), Items: []reference.Item{bank}, Time: in.Time, Unsigned: v.unsigned}
	if in.References != nil {
		q.Authority = append(q.Authority, corim.TaggedBytes(corim.TagPKIXKey, s.spki))
		for _, c := range w.certs() {
			q.Authority = append(q.Authority, corim.Certificate(c))
		}
	}
	return reference.Compare(q)
}

// references judges executables and configuration by the registers that have to
// be proven for each, and by others of which a reference value speaks.
func (v *verifier) references(a *verdict.Appraisal, in verifiers.Input, l *leaf, s *statement, w *voucher) {
	a.Facts.Environments = reference.Names(environment())
	r := v.compare(in, l, s, w)
	proofs := map[string]any{}
	for _, part := range []struct {
		comparison
		required []int
	}{{software, v.parameters.Executables}, {settings, v.parameters.Configuration}} {
		need := v.others(r, s, part.claim)
		var missing []string
		for _, pcr := range part.required {
			value, quoted := l.pcrs[pcr]
			f := find(r, pcr)
			switch {
			case !quoted:
				missing = append(missing, strconv.Itoa(pcr))
			case pcr < firstOS || f.State != reference.Unknown || !allZero(value):
				need = append(need, f)
			}
		}
		if missing != nil {
			v.policy.Apply(a, part.prefix+endingMissing, part.claim.String()+": the quote leaves out PCR "+strings.Join(missing, ", "))
		}
		v.judgeClaim(a, part.comparison, r, need, proofs)
	}
	if c := r.Claim(proofs); c != nil {
		a.Claims["reference_values"] = c
	}
}

func find(r *reference.Report, pcr int) reference.Finding {
	return r.Find(registerName + corim.NumberKey(uint64(pcr)).String())
}

// others are registers of a claim that need no proof, where a reference value
// speaks of them nevertheless. Those of the firmware are configuration, but for
// those with code; what is behind them is software.
func (v *verifier) others(r *reference.Report, s *statement, claim verdict.ClaimName) []reference.Finding {
	var out []reference.Finding
	for _, pcr := range s.Selected {
		of := verdict.Executables
		if pcr < firstOS && pcr != 0 && pcr != 2 && pcr != 4 {
			of = verdict.Configuration
		}
		if of != claim || slices.Contains(v.parameters.Executables, pcr) || slices.Contains(v.parameters.Configuration, pcr) {
			continue
		}
		if f := find(r, pcr); f.State == reference.Matched || f.State == reference.Mismatched {
			out = append(out, f)
		}
	}
	return out
}

// judgeClaim applies the rows of one claim.
func (v *verifier) judgeClaim(a *verdict.Appraisal, c comparison, r *reference.Report, need []reference.Finding, proofs map[string]any) {
	state, reasons := r.Judge(c.claim, need...)
	if len(need) == 0 {
		reasons = []verdict.Reason{{Code: verdict.ReasonNoReferenceValues, Detail: c.claim.String() + ": no reference value speaks of a register that is quoted"}}
	}
	for _, why := range reasons {
		if state == reference.Matched {
			a.Fail(why.Code, why.Detail) // believed, and said: unsigned documents
			continue
		}
		v.policy.Apply(a, c.prefix+endings[why.Code], why.Detail)
	}
	if state == reference.Matched {
		v.policy.Apply(a, c.prefix+endingProven, "")
		proofs[c.claim.String()] = r.Proof(need...)
	}
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
