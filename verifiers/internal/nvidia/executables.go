// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/reference"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// Compared is what reference values say about a device.
type Compared struct {
	// Matched: all that was measured is proven, and by documents that cost nothing.
	Matched bool
	// Mismatched: something differs, or documents contradict each other.
	Mismatched bool
}

// sources are the three places where reference values come from: CoRIMs that the
// operator trusts, and NVIDIA's manifests among the collateral, in XML and as
// CoRIMs. Each is compared for itself: what is proven partly by one and partly by
// another is not proven.
type sources struct {
	operator  *corimComparison
	tags      *tagComparison
	manifests *corimComparison // nil without any
	// left are manifests in the form of CoRIMs that are not compared with.
	left []left
	// costs are those of manifests in the form of CoRIMs that match.
	costs []cost
}

// Compare compares the measurements with all reference values and sets the claim
// executables: 3, approved at boot, if one source covers the whole of the
// firmware and matches. It is never 2: nothing here measures what runs on the
// device.
//
// A mismatch in a source that speaks of this very release stays one, unless
// another issue of the manifest, as NVIDIA's have the same identifier, matches as
// a whole, or what the operator's CoRIMs say under the identifiers does. What these
// contradict stays contradicted. What CoRIMs say of the chip alone is of any
// release, so it contradicts and excuses nothing.
func (p *Proof) Compare(e Expected, a *verdict.Appraisal) Compared {
	a.Facts.Environments = reference.Names(append([]corim.Environment{e.Whole}, e.Parts...)...)
	s := &sources{operator: &corimComparison{}, tags: p.byTags(e)}
	if p.References != nil {
		s.operator = p.byReferences(p.References, e, p.verifier.unsigned)
	}
	p.corimManifests(s, e)
	var out Compared
	proofs := map[string]any{}
	switch {
	case s.conflicts():
		out.Mismatched = true
		p.conflicting(s, e, a)
	case s.mismatched():
		out.Mismatched = true
		p.differing(s, a)
		if p.tolerated(s, s.tags.mismatches()) && s.tags.out != nil && len(s.tags.out.Absent) > 0 {
			p.unproven(s, e, a) // what may differ does not excuse what is missing
		}
	case s.matched():
		p.matching(s, a, proofs)
		out.Matched = a.Vector[verdict.Executables].Tier() == verdict.TierAffirming
	default:
		p.unproven(s, e, a)
	}
	p.measured(s, out.Mismatched, a)
	p.manifestClaims(s, e, a)
	if c := s.claim(proofs); c != nil {
		a.Claims["reference_values"] = c
	}
	if s.operator.skipped || s.manifests != nil && s.manifests.skipped || s.tags.out != nil && s.tags.out.Count(rim.Skipped) > 0 && p.differs(e.Engine, s.tags.out) {
		a.Claims["not-compared"] = []any{e.Engine}
	}
	return out
}

// differs tells whether a measurement that was skipped has none of the values that
// a manifest has for it.
func (p *Proof) differs(index int, c *rim.Comparison) bool {
	return slices.ContainsFunc(c.Findings, func(f rim.Finding) bool {
		return f.Index == index && !slices.ContainsFunc(f.Expected, func(v []byte) bool { return string(v) == string(f.Seen) })
	})
}

func (s *sources) conflicts() bool {
	return len(s.operator.conflict) > 0 || s.manifests != nil && len(s.manifests.conflict) > 0 || s.tags.out != nil && len(s.tags.out.Conflicts) > 0
}

// otherIssue tells whether manifests of these identifiers match as a whole.
func (s *sources) otherIssue() bool {
	return s.tags.matched() || s.operator.matched && s.operator.byParts || s.manifests != nil && s.manifests.matched && s.manifests.byParts
}

func (s *sources) matched() bool {
	return s.operator.matched || s.tags.matched() || s.manifests != nil && s.manifests.matched
}

// mismatched tells whether a mismatch stays one.
func (s *sources) mismatched() bool {
	if s.operator.mismatched && s.operator.byParts {
		return true
	}
	tags := s.tags.out != nil && s.tags.out.Mismatched()
	manifests := s.manifests != nil && s.manifests.mismatched && s.manifests.byParts
	if (tags || manifests) && !s.otherIssue() {
		return true
	}
	chip := s.operator.mismatched || s.manifests != nil && s.manifests.mismatched
	return chip && !s.matched()
}

func (p *Proof) conflicting(s *sources, e Expected, a *verdict.Appraisal) {
	p.Lower(a, findConflict)
	if c := s.tags.out; c != nil && len(c.Conflicts) > 0 {
		var used []string
		for _, m := range c.Used {
			used = append(used, m.String())
		}
		a.Fail(verdict.ReasonReferenceConflict, fmt.Sprintf("executables: measurement %s in %s, which must not overlap",
			strings.Trim(fmt.Sprint(c.Conflicts), "[]"), strings.Join(used, " and ")))
	}
	for _, c := range []*corimComparison{s.operator, s.manifests} {
		if c != nil && len(c.conflict) > 0 {
			a.Reasons = append(a.Reasons, c.reasons...)
		}
	}
}

// maxDiffering is how many measurements are reported one by one.
const maxDiffering = 8

// differing reports a mismatch that stays one: as tolerated if only indices differ
// that may, as a question of the age of a manifest if all that differs is the index
// by which its issues do.
func (p *Proof) differing(s *sources, a *verdict.Appraisal) {
	tags := s.tags.mismatches()
	other := s.operator.mismatched || s.manifests != nil && s.manifests.mismatched
	finding := findMismatch
	switch {
	case p.tolerated(s, tags):
		finding = findMismatchTolerated
	case !other && s.tags.out.Vintage():
		finding = findVintage
	}
	p.Lower(a, finding)
	if finding == findVintage {
		a.FailComparing(verdict.ReasonMeasurementMismatch, fmt.Sprintf(
			"executables: only %s. NVIDIA has signed several values of this index for one VBIOS, in issues of one manifest: another issue may match; get it anew",
			p.spelled(s, tags[0])), p.compared(s, tags[0]))
		return
	}
	for i, f := range tags {
		if i == maxDiffering {
			a.Fail(verdict.ReasonMeasurementMismatch, fmt.Sprintf("executables: %d more differ from the manifests", len(tags)-i))
			break
		}
		a.FailComparing(verdict.ReasonMeasurementMismatch, "executables: "+p.spelled(s, f), p.compared(s, f))
	}
	if c := s.tags.out; c != nil && len(tags) > 0 {
		for _, m := range c.Withdrawn[:min(len(c.Withdrawn), maxDiffering)] {
			a.Fail(verdict.ReasonMeasurementMismatch, fmt.Sprintf("executables: %s matches and does not count: a later issue of the same tag has other values", m))
		}
	}
	for _, c := range []*corimComparison{s.operator, s.manifests} {
		if c != nil && c.mismatched {
			a.Reasons = append(a.Reasons, c.reasons...)
		}
	}
}

// spelled is a finding with the identifier under which its manifest lay.
func (p *Proof) spelled(s *sources, f rim.Finding) string {
	t := s.tags.find(f.Manifest)
	out := f.String() + " with digest " + hex.EncodeToString(f.Manifest.Digest[:])
	if t.ID != "" {
		out += ", which lay under " + t.ID
	}
	return out
}

// compared are all values of a finding, and the manifest that wants them.
func (p *Proof) compared(s *sources, f rim.Finding) verdict.Comparison {
	var want []string
	for _, v := range f.Expected {
		want = append(want, hex.EncodeToString(v))
	}
	seen := "not in the report"
	if f.State != rim.Missing {
		seen = hex.EncodeToString(f.Seen)
	}
	at := fmt.Sprintf("measurement %d: ", f.Index)
	out := verdict.Comparison{Expected: at + verdict.Alternatives(want, 0), Observed: at + seen, Source: "manifest " + f.Manifest.String()}
	if t := s.tags.find(f.Manifest); t.ID != "" {
		out.Source += ", " + t.ID
	}
	return out
}

// tolerated tells whether all that differs is at indices that may.
func (p *Proof) tolerated(s *sources, tags []rim.Finding) bool {
	may := p.verifier.params.ToleratedMismatches
	for _, f := range tags {
		if f.State != rim.Mismatch || f.Why != "" || !slices.Contains(may, f.Index) {
			return false
		}
	}
	for _, c := range []*corimComparison{s.operator, s.manifests} {
		if c != nil && c.mismatched && len(c.tolerated) == 0 {
			return false
		}
	}
	return true
}

// matching reports a match, and what the documents cost that it rests on: of several
// sources the one that costs least.
func (p *Proof) matching(s *sources, a *verdict.Appraisal, proofs map[string]any) {
	p.Find(a, findMatch, "")
	claim := verdict.Executables.String()
	var tags []cost
	for _, t := range s.tags.used {
		tags = append(tags, t.costs(p.verifier.params)...)
	}
	costs := []cost{}
	switch manifests := s.manifests != nil && s.manifests.matched; {
	case s.operator.matched && len(s.operator.reasons) == 0:
		proofs[claim] = s.operator.all.Proof(s.operator.need...)
	case s.tags.matched() && (len(tags) == 0 || !manifests || len(s.costs) > 0) && !s.operator.matched, s.tags.matched() && len(tags) == 0:
		proofs[claim], costs = s.tags.proof(), tags
		p.unreferenced(s.tags.out, a)
	case manifests && (len(s.costs) == 0 || !s.operator.matched):
		proofs[claim], costs = s.manifests.all.Proof(s.manifests.need...), s.costs
	default: // by documents of the operator that nobody has signed
		proofs[claim] = s.operator.all.Proof(s.operator.need...)
		a.Reasons = append(a.Reasons, s.operator.reasons...)
	}
	for _, c := range costs {
		p.Find(a, c.finding, "executables: %s", c.why)
	}
}

// unreferenced names the measurements of which matching manifests do not speak.
func (p *Proof) unreferenced(c *rim.Comparison, a *verdict.Appraisal) {
	if len(c.Unreferenced) == 0 {
		return
	}
	a.Claims["unreferenced"] = List(c.Unreferenced)
	p.Find(a, findUnreferenced, "executables: no manifest speaks of measurement %s", strings.Trim(fmt.Sprint(c.Unreferenced), "[]"))
}

// unproven says why nothing covers the whole of the firmware.
func (p *Proof) unproven(s *sources, e Expected, a *verdict.Appraisal) {
	said := false
	if len(s.tags.tags) > 0 {
		missing, misfits := p.leftOut(s.tags, e)
		for _, l := range missing {
			said = true
			if l.flaw != findManifestMissing {
				p.Find(a, string(l.flaw), "executables: %s", l.why)
				continue
			}
			there := ""
			if len(misfits) > 0 {
				there = "; there is: " + strings.Join(misfits, "; ")
			}
			p.Find(a, findManifestMissing, "executables: there is no manifest %s among the collateral%s", orUnnamed(l.why), there)
		}
	}
	for _, l := range s.left {
		said = true
		p.Find(a, string(l.flaw), "executables: %s", l.why)
	}
	p.Lower(a, findUnproven)
	if p.References == nil { // for the words of what is missing
		s.operator = p.byReferences(nil, e, false)
	}
	spoke := s.operator.speaks()
	if c := s.manifests; c != nil && c.speaks() {
		a.Reasons, said = append(a.Reasons, c.reasons...), true
	}
	if spoke || !said {
		a.Reasons = append(a.Reasons, s.operator.reasons...)
	}
}

func orUnnamed(id string) string {
	if id == "" {
		return "for a device that does not say which it needs"
	}
	return id
}

// corimManifests compares with the manifests in the form of CoRIMs. One whose
// signer is revoked, or on hold, is left out.
func (p *Proof) corimManifests(s *sources, e Expected) {
	v := p.verifier
	index, refused := v.corimIndex(p.Time, e.Manifests())
	s.left = append(s.left, refused...)
	if index == nil {
		return
	}
	status := map[*corim.Document]*revocation{}
	var usable []*corim.Document
	about := append([]corim.Environment{e.Whole}, e.Parts...)
	if e.Transcript != (corim.Environment{}) {
		about = append(about, e.Transcript)
	}
	for _, source := range index.References(p.Time, about...) {
		d := source.Document()
		if status[d] != nil {
			continue
		}
		status[d] = v.corimStatus(d, p.Time)
		say := func(why string) string { return fmt.Sprintf("manifest %s: %s", d.ID, why) }
		switch r := status[d]; {
		case r.in(isRevoked) != "":
			s.left = append(s.left, left{flawRevoked, say(r.in(isRevoked))})
		case r.in(isHeld) != "":
			s.left = append(s.left, left{flawHold, say(r.in(isHeld))})
		default:
			usable = append(usable, d)
		}
	}
	if len(usable) == 0 {
		return
	}
	if len(usable) < len(status) {
		var err error
		if index, err = corim.NewIndex(usable...); err != nil {
			return
		}
	}
	s.manifests = p.byReferences(index, e, false)
	for _, d := range s.manifests.documents() {
		s.costs = append(s.costs, status[d].costs("manifest "+d.ID.String(), v.params)...)
	}
}

// proof names the manifests by which measurements are proven, as a claim.
func (c *tagComparison) proof() []any {
	var out []any
	for _, t := range c.used {
		out = append(out, map[string]any{
			"document": fmt.Sprintf("%s %s %s", t.manifest.Kind, t.manifest.Product, t.manifest.Version),
			"id":       t.ID, "authority": t.manifest.Signer(), "sha256": hex.EncodeToString(t.Digest[:]),
		})
	}
	return out
}

// claim is what was compared with.
func (s *sources) claim(proofs map[string]any) map[string]any {
	for _, c := range []*corimComparison{s.operator, s.manifests} {
		if c != nil && c.speaks() {
			return c.all.Claim(proofs)
		}
	}
	if s.tags.matched() {
		return map[string]any{"documents": proofs}
	}
	return nil
}

// measured sets NVIDIA's claim measres, and the two that its verifiers derive from
// it. The scheme takes these away from firmware that says that it is in debug.
func (p *Proof) measured(s *sources, mismatched bool, a *verdict.Appraisal) {
	switch {
	case mismatched:
		a.Claims["measres"] = "fail"
	case s.matched():
		a.Claims["measres"], a.Claims["secboot"], a.Claims["dbgstat"] = "success", true, "disabled"
	default:
		a.Claims["measres"] = "not-run"
	}
}
