// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"bytes"
	"slices"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/reference"
)

// oidEnclave is Intel's class of the enclaves of independent vendors,
// 2.16.840.1.113741.1.2.3.5.1, without tag and length
// (draft-cds-rats-intel-corim-profile).
const oidEnclave = "\x60\x86\x48\x01\x86\xf8\x4d\x01\x02\x03\x05\x01"

// environments are the names of an enclave in reference values: that of
// corim.ProfileAssize, in which each field has a key of its own, and that of
// corim.ProfileIntel, in which all fields are members of one measurement.
func environments() (own, intel corim.Environment) {
	own.Class = corim.Class{
		ID: corim.TaggedBytes(corim.TagBytes, []byte("tag:assize.dev,2026:intel-sgx")), Vendor: "Intel Corporation", Model: "SGX",
	}
	intel.Class = corim.Class{ID: corim.TaggedBytes(corim.TagOID, []byte(oidEnclave))}
	return own, intel
}

// field is one field of the report and the claim that it belongs to.
type field struct {
	name  string // in lower case the measurement key
	claim verdict.ClaimName
	// value is what the report shows: a digest (32 bytes), a number, or bytes.
	value func(enclave) []byte
	form  form
	// intel is the member of a measurement in Intel's profile, 0 if there is none.
	intel int64
}

type form byte

const (
	asDigest form = iota // sha-256
	asNumber             // security version, little-endian
	asBytes
)

// fields are what reference values may speak about. What is not here makes a
// triple that names it hold never, as CPUSVN does: whether a platform is up to
// date is for Intel's collateral to say.
var fields = []field{
	{"MRENCLAVE", verdict.Executables, func(e enclave) []byte { return e.MRENCLAVE() }, asDigest, -83},
	{"MRSIGNER", verdict.Executables, func(e enclave) []byte { return e.MRSIGNER() }, asDigest, -84},
	{"ISVPRODID", verdict.Executables, func(e enclave) []byte { return e.EnclaveReport[256:258] }, asBytes, -85},
	{"ISVSVN", verdict.Executables, func(e enclave) []byte { return e.EnclaveReport[258:260] }, asNumber, -73},
	{"ATTRIBUTES", verdict.Configuration, func(e enclave) []byte { return e.Attributes() }, asBytes, -82},
	{"MISCSELECT", verdict.Configuration, func(e enclave) []byte { return e.MiscSelect() }, asBytes, -81},
	{"CONFIGID", verdict.Configuration, func(e enclave) []byte { return e.ConfigID() }, asBytes, 0},
	{"CONFIGSVN", verdict.Configuration, func(e enclave) []byte { return e.EnclaveReport[260:262] }, asNumber, 0},
	{"ISVEXTPRODID", verdict.Configuration, func(e enclave) []byte { return e.ExtProdID() }, asBytes, 0},
	{"ISVFAMILYID", verdict.Configuration, func(e enclave) []byte { return e.FamilyID() }, asBytes, 0},
}

func number(b []byte) uint64 {
	var n uint64
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	return n
}

func (f field) values(v []byte) corim.Values {
	switch f.form {
	case asDigest:
		return corim.Values{Digests: []corim.Digest{{Alg: corim.SHA256, Value: v}}}
	case asNumber:
		return corim.Values{SVN: &corim.SVN{Value: number(v)}}
	}
	return corim.Values{Raw: &corim.RawValue{Tag: corim.TagBytes, Value: v}}
}

// items are the fields of a report, each with its key.
func items(e enclave) []reference.Item {
	out := make([]reference.Item, 0, len(fields))
	for _, f := range fields {
		out = append(out, reference.Item{Name: f.name, Key: corim.TextKey(strings.ToLower(f.name)), Value: f.values(f.value(e))})
	}
	return out
}

// member is a field as a member of Intel's profile, as the library
// veraison/corim writes it: digests as a list of them, numbers, bytes.
func (f field) member(v []byte) corim.Extension {
	var raw []byte
	switch {
	case f.form == asDigest:
		raw = append(head(head(nil, 0x80, 1), 0x80, 2), 1) // [[1, bytes]]
		raw = append(head(raw, 0x40, len(v)), v...)
	case f.intel == -85 || f.form == asNumber:
		raw = head(nil, 0, int(number(v)))
	default:
		raw = append(head(nil, 0x40, len(v)), v...)
	}
	return corim.Extension{Key: f.intel, Raw: raw}
}

// head appends the head of a CBOR item of a major type, with an argument below
// 65536 (RFC 8949, section 3).
func head(out []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(out, major|byte(n))
	case n < 256:
		return append(out, major|24, byte(n))
	}
	return append(out, major|25, byte(n>>8), byte(n))
}

// members are the fields as one measurement; other changes field number i, in a
// way that no value of it matches. A number, for which there are bounds, is left
// out instead.
func members(e enclave, i int) reference.Item {
	it := reference.Item{Name: "enclave"}
	for n, f := range fields {
		if f.intel == 0 {
			continue
		}
		v := f.value(e)
		if n == i {
			if f.form == asNumber {
				continue
			}
			v = bytes.Clone(v)
			v[0] ^= 0xff
		}
		it.Value.Extensions = append(it.Value.Extensions, f.member(v))
	}
	return it
}

// compareIntel compares with values of Intel's profile, whose matching is of the
// measurement as a whole. Which fields a triple speaks of is found out by asking
// again with one of them changed: a triple that matches nevertheless says nothing
// about it. The report has one finding for each of fields.
func compareIntel(q reference.Query, e enclave) *reference.Report {
	q.Items = []reference.Item{members(e, -1)}
	r := reference.Compare(q)
	whole := r.Findings[0]
	r.Findings = nil
	for i, f := range fields {
		v := f.values(f.value(e))
		one := reference.Finding{Name: f.name, Seen: v.String()}
		switch {
		case f.intel == 0 || whole.State == reference.Unknown:
		case whole.State == reference.Mismatched:
			if names(whole, f.intel) {
				seen := one.Seen
				one = whole
				one.Name, one.Seen = f.name, seen
			}
		default:
			q.Items[0] = members(e, i)
			one.Sources = covering(whole, reference.Compare(q).Findings[0])
			if len(one.Sources) > 0 {
				one.State = whole.State
			}
		}
		r.Findings = append(r.Findings, one)
	}
	return r
}

// covering are the triples that no longer match when a field is another.
func covering(whole, changed reference.Finding) []corim.Source {
	return slices.DeleteFunc(slices.Clone(whole.Sources), func(s corim.Source) bool { return slices.Contains(changed.Sources, s) })
}

// names tells whether one of the expected values has a member.
func names(f reference.Finding, member int64) bool {
	return slices.ContainsFunc(f.Expected(), func(v *corim.Values) bool {
		return slices.ContainsFunc(v.Extensions, func(e corim.Extension) bool { return e.Key == member })
	})
}

// references compares the enclave with reference values and sets executables; of
// the configuration it can take away what the attributes gave.
func (v *verifier) references(a *verdict.Appraisal, in verifiers.Input, e enclave, p *dcap.PCK, spki []byte) {
	own, intel := environments()
	a.Facts.Environments = reference.Names(own, intel)
	q := reference.Query{Index: in.References, Environment: own, Items: items(e), Time: in.Time, Unsigned: v.unsigned}
	if in.References != nil {
		q.Authority = append(q.Authority, corim.TaggedBytes(corim.TagPKIXKey, spki))
		for _, c := range p.Certificates() {
			q.Authority = append(q.Authority, corim.Certificate(c))
		}
	}
	r := reference.Compare(q)
	if in.References != nil {
		q.Environment = intel
		r = reference.Merge(r, compareIntel(q, e))
	}
	proofs := map[string]any{}
	known := v.executables(a, r, proofs)
	v.configuration(a, r, e, known, proofs)
	if c := r.Claim(proofs); c != nil {
		a.Claims["reference_values"] = c
	}
}

// executables: either MRENCLAVE is proven, which is all that the enclave was
// built from, or one triple knows MRSIGNER, ISVPRODID and ISVSVN. It tells
// whether the enclave is identified.
func (v *verifier) executables(a *verdict.Appraisal, r *reference.Report, proofs map[string]any) bool {
	exact := r.Find("MRENCLAVE")
	signed := []reference.Finding{r.Find("MRSIGNER"), r.Find("ISVPRODID"), r.Find("ISVSVN")}
	unknown := func(f reference.Finding) bool { return f.State == reference.Unknown }
	var list []reference.Finding
	switch {
	case exact.State == reference.Matched:
		list = []reference.Finding{exact}
	case together(signed):
		list = signed
	default:
		if !unknown(exact) || !slices.ContainsFunc(signed, func(f reference.Finding) bool { return !unknown(f) }) {
			list = append(list, exact)
		}
		if unknown(exact) || slices.ContainsFunc(signed, func(f reference.Finding) bool { return !unknown(f) }) {
			list = append(list, signed...)
		}
	}
	state, reasons := r.Judge(verdict.Executables, list...)
	a.Reasons = append(a.Reasons, reasons...)
	switch {
	case state == reference.Mismatched:
		v.lower(a, findMismatch)
	case state != reference.Matched:
		v.lower(a, findUnproven)
	case len(list) > 1 && !together(signed):
		a.Fail(verdict.ReasonPartialReference, "executables: MRSIGNER, ISVPRODID and ISVSVN are known, but from different triples")
		v.lower(a, findUnproven)
	default:
		v.policy.Apply(a, findMatch, "reference values know the enclave")
		if a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
			proofs[verdict.Executables.String()] = r.Proof(list...)
		}
		return true
	}
	return false
}

// lower is for findings whose reasons were reported already, because they say
// more than one sentence.
func (v *verifier) lower(a *verdict.Appraisal, finding string) {
	for name, c := range v.policy.Effect(finding) {
		appraisal.Lower(a, name, c)
	}
}

// together tells whether one triple knows all of the fields.
func together(list []reference.Finding) bool {
	return !slices.ContainsFunc(list, func(f reference.Finding) bool { return f.State != reference.Matched }) &&
		slices.ContainsFunc(list[0].Sources, func(s corim.Source) bool {
			return !slices.ContainsFunc(list[1:], func(f reference.Finding) bool { return !slices.Contains(f.Sources, s) })
		})
}

// configuration judges what is not in MRENCLAVE. Who starts the enclave chooses
// CONFIGID and CONFIGSVN, so they have to be known unless they are zero. Any other
// field costs something only where reference values say that it has to be another
// one: of the enclave itself, if that is not known, else of others like it.
func (v *verifier) configuration(a *verdict.Appraisal, r *reference.Report, e enclave, known bool, proofs map[string]any) {
	var proven []reference.Finding
	for _, f := range fields {
		if f.claim != verdict.Configuration {
			continue
		}
		found := r.Find(f.name)
		chosen := strings.HasPrefix(f.name, "CONFIG") && !dcap.AllZero(f.value(e))
		switch {
		case found.State == reference.Matched:
			proven = append(proven, found)
			continue
		case found.State != reference.Mismatched && !chosen:
			continue
		}
		state, reasons := r.Judge(verdict.Configuration, found)
		a.Reasons = append(a.Reasons, reasons...)
		switch {
		case state != reference.Mismatched:
			v.lower(a, findConfigUnproven)
		case known:
			v.lower(a, findConfigElsewhere)
		default:
			v.lower(a, findConfigMismatch)
		}
	}
	if len(proven) == 0 {
		return
	}
	_, reasons := r.Judge(verdict.Configuration, proven...)
	a.Reasons = append(a.Reasons, reasons...)
	proofs[verdict.Configuration.String()] = r.Proof(proven...)
}
