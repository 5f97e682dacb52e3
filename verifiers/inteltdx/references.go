// SPDX-License-Identifier: Apache-2.0

package inteltdx

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

// environment is the trust domain in reference values. Nobody has defined names
// for the fields of a TD report, so they are those of corim.ProfileAssize: the
// keys below, and RTMR0 to RTMR3 as integrity registers 0 to 3 without a key.
func environment() corim.Environment {
	return corim.Environment{Class: corim.Class{
		ID: corim.TaggedBytes(corim.TagBytes, []byte("tag:assize.dev,2026:intel-tdx")), Vendor: "Intel Corporation", Model: "TDX",
	}}
}

// field is one field of the report body and the claim that it belongs to.
type field struct {
	name   string // in lower case the measurement key
	claim  verdict.ClaimName
	value  func(*quote) []byte
	digest bool
	// chosen: whoever starts the TD chooses it, and zero is nothing chosen.
	chosen bool
}

func (f field) key() corim.Key { return corim.TextKey(strings.ToLower(f.name)) }

// fields are what reference values may speak about besides the registers. What
// is not here makes a triple that names it hold never, as TEE_TCB_SVN does:
// whether a platform is up to date is for Intel's collateral to say.
var fields = []field{
	{name: "MRTD", claim: verdict.Executables, value: (*quote).MRTD, digest: true},
	{name: "REPORTDATA", claim: verdict.Executables, value: (*quote).ReportData},
	{name: "MRSEAM", claim: verdict.Hardware, value: (*quote).MRSEAM, digest: true},
	{name: "MRSIGNERSEAM", claim: verdict.Hardware, value: (*quote).MRSignerSEAM},
	{name: "MRCONFIGID", claim: verdict.Configuration, value: (*quote).MRConfigID, chosen: true},
	{name: "MROWNER", claim: verdict.Configuration, value: (*quote).MROwner, chosen: true},
	{name: "MROWNERCONFIG", claim: verdict.Configuration, value: (*quote).MROwnerConfig, chosen: true},
	{name: "TDATTRIBUTES", claim: verdict.Configuration, value: (*quote).TDAttributes},
	{name: "XFAM", claim: verdict.Configuration, value: (*quote).XFAM},
}

const (
	registerName  = "RTMR"
	registerCount = 4
	// runtimeRegister is extended at run time only, and zero on a TD in which
	// nothing was.
	runtimeRegister = 3
)

// items are the measurements of a quote.
func items(q *quote) []reference.Item {
	sha384 := func(b []byte) []corim.Digest { return []corim.Digest{{Alg: corim.SHA384, Value: b}} }
	out := make([]reference.Item, 0, len(fields)+1)
	for _, f := range fields {
		it := reference.Item{Name: f.name, Key: f.key()}
		if f.digest {
			it.Value.Digests = sha384(f.value(q))
		} else {
			it.Value.Raw = &corim.RawValue{Tag: corim.TagBytes, Value: f.value(q)}
		}
		out = append(out, it)
	}
	bank := reference.Item{Name: registerName}
	for i := range registerCount {
		bank.Value.Registers = append(bank.Value.Registers, corim.Register{ID: corim.NumberKey(uint64(i)), Digests: sha384(q.known(i))})
	}
	return append(out, bank)
}

// references compares the TD with reference values and sets executables; of
// hardware and configuration it can take away what collateral and attributes gave.
func (v *verifier) references(a *verdict.Appraisal, in verifiers.Input, q *quote, p *dcap.PCK, spki []byte) {
	a.Facts.Environments = slices.Clone(v.names)
	query := reference.Query{Index: in.References, Environment: v.environment, Items: items(q), Time: in.Time, Unsigned: v.unsigned}
	if in.References != nil {
		query.Authority = append(query.Authority, corim.TaggedBytes(corim.TagPKIXKey, spki))
		for _, c := range p.Certificates() {
			query.Authority = append(query.Authority, corim.Certificate(c))
		}
	}
	r := &statements{Report: reference.Compare(query), query: query, quote: q}
	proofs := map[string]any{}
	v.executables(a, r, proofs)
	for _, c := range []struct {
		claim              verdict.ClaimName
		mismatch, unproven string
	}{
		{verdict.Hardware, "module-mismatch", "module-mismatch"}, // without values there is nothing to prove
		{verdict.Configuration, "configuration-mismatch", "configuration-unproven"},
	} {
		list := r.stated(c.claim)
		if len(list) == 0 {
			continue
		}
		state, reasons := r.Judge(c.claim, list...)
		a.Reasons = append(a.Reasons, reasons...)
		switch state {
		case reference.Matched:
			proofs[c.claim.String()] = r.Proof(list...)
		case reference.Mismatched:
			v.lower(a, c.mismatch)
		default:
			v.lower(a, c.unproven)
		}
	}
	if c := r.Claim(proofs); c != nil {
		a.Claims["reference_values"] = c
	}
}

// lower is for findings whose reasons say more than one sentence and were reported
// already.
func (v *verifier) lower(a *verdict.Appraisal, finding string) {
	for name, c := range v.policy.Effect(finding) {
		appraisal.Lower(a, name, c)
	}
}

// executables: all registers that measure what the TD was started with have to
// be proven, and the one for run time, unless nothing was ever measured into it.
// What runs in a TD whose memory the host can write is known from no register.
func (v *verifier) executables(a *verdict.Appraisal, r *statements, proofs map[string]any) {
	need := r.stated(verdict.Executables)
	for i := range registerCount {
		f := r.Find(registerName + corim.NumberKey(uint64(i)).String())
		if i != runtimeRegister || f.State != reference.Unknown || !dcap.AllZero(r.quote.known(i)) {
			need = append(need, f)
		}
	}
	state, reasons := r.Judge(verdict.Executables, need...)
	a.Reasons = append(a.Reasons, reasons...)
	switch {
	case state == reference.Mismatched:
		v.lower(a, "executables-mismatch")
	case state != reference.Matched, a.Vector[verdict.RuntimeOpaque].Tier() != verdict.TierAffirming:
		v.lower(a, "executables-unproven")
	default:
		v.lower(a, "executables-match")
		proofs[verdict.Executables.String()] = r.Proof(need...)
	}
}

// statements are what documents say of one TD.
type statements struct {
	*reference.Report
	query reference.Query
	quote *quote
}

// stated are the fields of a claim that count: MRTD, what the host or owner chose
// though nobody may have said what it may be, and what is proven or differs.
// Hardware and the rest of the configuration do not need reference values, so
// one that neither holds nor differs changes nothing there.
func (s *statements) stated(claim verdict.ClaimName) []reference.Finding {
	var out []reference.Finding
	for _, f := range fields {
		if f.claim != claim {
			continue
		}
		found := s.find(f)
		needed := f.name == "MRTD" || f.chosen && !dcap.AllZero(f.value(s.quote)) || claim == verdict.Executables && found.State != reference.Unknown
		if needed || found.State == reference.Matched || found.State == reference.Mismatched {
			out = append(out, found)
		}
	}
	return out
}

// find is the finding of a field, unknown where all that speak of it speak of other
// TDs, once this one is identified: triples are alternatives, each as a whole.
func (s *statements) find(f field) reference.Finding {
	found := s.Find(f.name)
	if found.State == reference.Unknown || found.State == reference.Matched || !s.identified() {
		return found
	}
	for _, source := range s.query.Index.References(s.query.Time, s.query.Environment) {
		t := source.Values()
		names := func(m corim.Measurement) bool { return m.Key == f.key() }
		if slices.ContainsFunc(t.Measurements, names) && !slices.ContainsFunc(t.Measurements, s.elsewhere) {
			return found
		}
	}
	return reference.Finding{Name: f.name, Seen: found.Seen}
}

// identified tells whether reference values know what the TD was started with.
func (s *statements) identified() bool {
	known := s.Find("MRTD").State == reference.Matched
	for i := range runtimeRegister {
		known = known && s.Find(registerName+corim.NumberKey(uint64(i)).String()).State == reference.Matched
	}
	return known
}

// elsewhere tells whether a measurement is MRTD or the registers of another TD.
func (s *statements) elsewhere(m corim.Measurement) bool {
	if m.Key == corim.TextKey("mrtd") {
		return others(m.Value.Digests, s.quote.MRTD())
	}
	return slices.ContainsFunc(m.Value.Registers, func(r corim.Register) bool {
		i, ok := r.ID.Number()
		return ok && i < registerCount && others(r.Digests, s.quote.known(int(i)))
	})
}

// others tells whether there are digests of a register's kind, and all of other
// values.
func others(list []corim.Digest, value []byte) bool {
	other := false
	for _, d := range list {
		if d.Alg != corim.SHA384 {
			continue
		}
		if bytes.Equal(d.Value, value) {
			return false
		}
		other = true
	}
	return other
}
