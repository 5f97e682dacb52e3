// SPDX-License-Identifier: Apache-2.0

package measuredboot

import (
	"crypto"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/reference"
	"github.com/assize/assize/verifiers/internal/tpm"
)

// Environment is the platform that a TPM measured, in reference values. Nobody
// has defined names, so they are those of corim.ProfileAssize: PCRs are integrity
// registers by their index, without a key.
func Environment() corim.Environment {
	return corim.Environment{Class: corim.Class{ID: corim.TaggedBytes(corim.TagBytes, []byte("tag:assize.dev,2026:tcg-tpm"))}}
}

const (
	registerName = "PCR"
	// firstOS is the first register that is not the firmware's: what the machine
	// boots extends it, or nobody does.
	firstOS = 8
)

var digestNames = map[crypto.Hash]corim.Algorithm{crypto.SHA256: corim.SHA256, crypto.SHA384: corim.SHA384, crypto.SHA512: corim.SHA512}

// References is what reference values are compared with.
type References struct {
	// Index is nil if none were given.
	Index *corim.Index
	Time  time.Time
	// Authority are the keys and certificates under which the quote was made.
	Authority []corim.Typed
}

// compare compares the registers with reference values. Those that are not quoted
// are there without a value, which nothing matches: so a triple that names one of
// them does not hold, and what is quoted does not differ because of that.
func (j Judge) compare(b Boot, refs References) *reference.Report {
	bank := reference.Item{Name: registerName}
	for pcr := range tpm.PCRCount {
		r := corim.Register{ID: corim.NumberKey(uint64(pcr))}
		if value, quoted := b.PCRs[pcr]; quoted {
			r.Digests = []corim.Digest{{Alg: digestNames[b.Bank], Value: value}}
		}
		bank.Value.Registers = append(bank.Value.Registers, r)
	}
	return reference.Compare(reference.Query{
		Index: refs.Index, Environment: Environment(), Items: []reference.Item{bank}, Time: refs.Time,
		Authority: refs.Authority, Unsigned: j.Unsigned,
	})
}

// References judges executables and configuration by the registers that have to
// be proven for each, and by others of which a reference value speaks. It returns
// what proves them, nil if nothing does, and adds the environment to the facts.
func (j Judge) References(a *verdict.Appraisal, b Boot, refs References) map[string]any {
	a.Facts.Environments = append(a.Facts.Environments, reference.Names(Environment())...)
	r := j.compare(b, refs)
	proofs := map[string]any{}
	for _, part := range []struct {
		comparison
		required []int
	}{{software, j.Parameters.Executables}, {settings, j.Parameters.Configuration}} {
		need := j.others(r, b, part.claim)
		var missing []string
		for _, pcr := range part.required {
			value, quoted := b.PCRs[pcr]
			f := b.find(r, pcr)
			switch {
			case !quoted:
				missing = append(missing, strconv.Itoa(pcr))
			case pcr < firstOS || f.State != reference.Unknown || !allZero(value):
				need = append(need, f)
			}
		}
		if missing != nil {
			j.apply(a, part.prefix+endingMissing, part.claim.String()+": the quote leaves out PCR "+strings.Join(missing, ", "))
		}
		j.claim(a, part.comparison, r, need, proofs)
	}
	return r.Claim(proofs)
}

func (b Boot) find(r *reference.Report, pcr int) reference.Finding {
	f := r.Find(registerName + corim.NumberKey(uint64(pcr)).String())
	if f.State == reference.Mismatched && !b.comparable(f) {
		return reference.Finding{Name: f.Name, Seen: f.Seen}
	}
	return f
}

// comparable tells whether some value that a register should have is one of the
// bank that is quoted. Values of other banks alone say nothing about it, and what
// they do not speak of is not wrong.
func (b Boot) comparable(f reference.Finding) bool {
	return slices.ContainsFunc(f.Expected(), func(v *corim.Values) bool {
		return slices.ContainsFunc(v.Registers, func(r corim.Register) bool {
			return slices.ContainsFunc(r.Digests, func(d corim.Digest) bool { return d.Alg == digestNames[b.Bank] })
		})
	})
}

// others are registers of a claim that need no proof, where a reference value
// speaks of them nevertheless. Those of the firmware are configuration, but for
// those with code; what is behind them is software.
func (j Judge) others(r *reference.Report, b Boot, claim verdict.ClaimName) []reference.Finding {
	var out []reference.Finding
	for pcr := range tpm.PCRCount {
		of := verdict.Executables
		if pcr < firstOS && pcr != 0 && pcr != 2 && pcr != 4 {
			of = verdict.Configuration
		}
		if _, quoted := b.PCRs[pcr]; !quoted || of != claim ||
			slices.Contains(j.Parameters.Executables, pcr) || slices.Contains(j.Parameters.Configuration, pcr) {
			continue
		}
		if f := b.find(r, pcr); f.State == reference.Matched || f.State == reference.Mismatched {
			out = append(out, f)
		}
	}
	return out
}

// claim applies the rows of one claim.
func (j Judge) claim(a *verdict.Appraisal, c comparison, r *reference.Report, need []reference.Finding, proofs map[string]any) {
	state, reasons := r.Judge(c.claim, need...)
	if len(need) == 0 {
		reasons = []verdict.Reason{{Code: verdict.ReasonNoReferenceValues, Detail: c.claim.String() + ": no reference value speaks of a register that is quoted"}}
	}
	for _, why := range reasons {
		if state == reference.Matched {
			a.FailComparing(why.Code, why.Detail, why.Comparison()) // believed, and said: unsigned documents
			continue
		}
		j.apply(a, c.prefix+endings[why.Code], why.Detail).Against(why.Comparison())
	}
	if state == reference.Matched {
		j.apply(a, c.prefix+endingProven, "")
		proofs[c.claim.String()] = r.Proof(need...)
	}
}

// Registers are the values by name, "pcr0" …, hexadecimal.
func (b Boot) Registers() map[string]string {
	out := make(map[string]string, len(b.PCRs))
	for pcr, v := range b.PCRs {
		out["pcr"+strconv.Itoa(pcr)] = hex.EncodeToString(v)
	}
	return out
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
