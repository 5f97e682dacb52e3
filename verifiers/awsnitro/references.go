// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/reference"
)

const registerName = "PCR"

// environment is the enclave in reference values. Nobody has defined names for
// its PCRs, so they are those of corim.ProfileAssize: integrity registers by
// index, without a key.
func environment() corim.Environment {
	return corim.Environment{Class: corim.Class{ID: corim.TaggedBytes(corim.TagBytes, []byte("tag:assize.dev,2026:aws-nitro"))}}
}

// items are all registers. Those that the document does not have are there without
// a value, which nothing matches: so they differ, and not those beside them.
func items(d *document) []reference.Item {
	bank := reference.Item{Name: registerName}
	for i := range uint64(maxPCRs) {
		r := corim.Register{ID: corim.NumberKey(i)}
		if value, ok := d.pcrs[i]; ok {
			r.Digests = []corim.Digest{{Alg: corim.SHA384, Value: value}}
		}
		bank.Value.Registers = append(bank.Value.Registers, r)
	}
	return []reference.Item{bank}
}

// references compares the PCRs with reference values.
func (v *verifier) references(a *verdict.Appraisal, in verifiers.Input, d *document, c chain, spki []byte) {
	env := environment()
	a.Facts.Environments = reference.Names(env)
	query := reference.Query{Index: in.References, Environment: env, Items: items(d), Time: in.Time, Unsigned: v.unsigned}
	if in.References != nil {
		query.Authority = append(query.Authority, corim.TaggedBytes(corim.TagPKIXKey, spki))
		for _, l := range c {
			query.Authority = append(query.Authority, corim.Certificate(l.cert))
		}
	}
	r := reference.Compare(query)
	proofs := map[string]any{}
	v.executables(a, d, r, proofs)
	for _, one := range []struct {
		pcr     uint64
		claim   verdict.ClaimName
		finding string
	}{
		{signerPCR, verdict.SourcedData, findSignerMismatch},
		{rolePCR, verdict.Configuration, findRoleMismatch},
		{parentPCR, verdict.InstanceIdentity, findParentMismatch},
	} {
		f := d.find(r, one.pcr)
		switch {
		case differs(f, one.pcr, d.pcrs[one.pcr]):
			_, reasons := r.Judge(one.claim, f)
			for _, why := range reasons {
				v.policy.Apply(a, one.finding, why.Detail).Against(why.Comparison())
			}
		case f.State == reference.Matched:
			proofs[fmt.Sprintf("pcr%d", one.pcr)] = r.Proof(f)
			if one.pcr == signerPCR {
				appraisal.Lower(a, verdict.SourcedData, verdict.ClaimApproved)
			}
		}
	}
	if claim := r.Claim(proofs); claim != nil {
		a.Claims["reference_values"] = claim
	}
}

func (d *document) find(r *reference.Report, pcr uint64) reference.Finding {
	f := r.Find(registerName + corim.NumberKey(pcr).String())
	if _, ok := d.pcrs[pcr]; !ok {
		f.Seen = "not in the document"
	}
	return f
}

// differs tells whether reference values name a PCR and have it otherwise. Where
// registers are a mixture of several documents, every one counts as mismatched, and
// this one may be right, or not be meant at all.
func differs(f reference.Finding, pcr uint64, seen []byte) bool {
	return f.State == reference.Mismatched && slices.ContainsFunc(f.Expected(), func(v *corim.Values) bool {
		return slices.ContainsFunc(v.Registers, func(reg corim.Register) bool {
			return reg.ID == corim.NumberKey(pcr) && !slices.ContainsFunc(reg.Digests, func(d corim.Digest) bool { return bytes.Equal(d.Value, seen) })
		})
	})
}

// executables: PCR0 to PCR2 have to be proven, and every register that the
// application extends, if reference values speak of it. What runs in an enclave
// in debug mode is known from no register.
func (v *verifier) executables(a *verdict.Appraisal, d *document, r *reference.Report, proofs map[string]any) {
	var need []reference.Finding
	for i := range uint64(maxPCRs) {
		f := d.find(r, i)
		special := i == rolePCR || i == parentPCR || i == signerPCR
		spoken := f.State > reference.Mismatched || differs(f, i, d.pcrs[i])
		if i < imagePCRs || !special && spoken {
			need = append(need, f)
		}
	}
	state, reasons := r.Judge(verdict.Executables, need...)
	for _, why := range reasons {
		if state == reference.Matched { // it rests on unsigned documents, where these count
			a.Reasons = append(a.Reasons, why)
			continue
		}
		v.policy.Apply(a, map[string]string{
			verdict.ReasonMeasurementMismatch: findMismatch, verdict.ReasonNoReferenceValues: findNoReference,
			verdict.ReasonPartialReference: findPartial, verdict.ReasonUnsignedReference: findUnsignedReference,
		}[why.Code], why.Detail).Against(why.Comparison())
	}
	switch {
	case state != reference.Matched:
	case a.Vector[verdict.RuntimeOpaque].Tier() != verdict.TierAffirming:
		appraisal.Lower(a, verdict.Executables, verdict.ClaimUnrecognized)
	default:
		appraisal.Lower(a, verdict.Executables, verdict.ClaimApprovedBoot)
		proofs[verdict.Executables.String()] = r.Proof(need...)
	}
}
