// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
)

// BundleType is the collection type of a bundle: a JSON CMW collection with the
// signed verdict ("verdict", an attestation result) and, optionally, the
// composite evidence exactly as it was received ("evidence").
const BundleType = "tag:github.com,2026:assize/bundle"

// compositeType wraps composite evidence as an opaque record, so that reading
// a bundle never descends into it. Its parameter "of" is the evidence's own
// media type.
const compositeType = "application/vnd.assize.composite-evidence"

// ResultMediaType is the media type of a signed result (RFC 9782).
func ResultMediaType() evidence.MediaType {
	return evidence.MediaType{Base: "application/eat+jwt"}.With("eat_profile", ProfileP23)
}

// Bundle is a signed verdict with what it is about.
type Bundle struct {
	// Verdict is the AAR, a compact JWT with the PARs inside.
	Verdict []byte
	// Evidence is the composite as received, nil if it was left out, and
	// EvidenceType its declared media type ("" = by content).
	Evidence     []byte
	EvidenceType string
}

// EncodeBundle renders b as compact JSON.
func EncodeBundle(b Bundle) ([]byte, error) {
	if len(b.Verdict) == 0 {
		return nil, errors.New("verdict: a bundle without a verdict")
	}
	entries := []evidence.Entry{{Label: "verdict", Item: evidence.Record(ResultMediaType(), b.Verdict, evidence.IndResults)}}
	if b.Evidence != nil {
		mt := evidence.MediaType{Base: compositeType}
		if b.EvidenceType != "" {
			mt = mt.With("of", b.EvidenceType)
		}
		entries = append(entries, evidence.Entry{Label: "evidence", Item: evidence.Record(mt, b.Evidence, evidence.IndEvidence)})
	}
	return evidence.EncodeJSON(evidence.Collection(BundleType, entries...))
}

// DecodeBundle reads what EncodeBundle wrote. Nothing in it is verified yet.
func DecodeBundle(raw []byte) (Bundle, error) {
	lim := limits.Default()
	lim.Composite, lim.Leaf = 4*limits.AggregateResult, 2*limits.AggregateResult
	lim.Depth, lim.Labels, lim.Leaves = 1, 2, 2
	tree, err := evidence.Parse(raw, evidence.Options{MediaType: "application/cmw+json", Limits: lim})
	if err != nil {
		return Bundle{}, fmt.Errorf("verdict: bundle: %w", err)
	}
	if tree.Root().CollectionType() != BundleType {
		return Bundle{}, errors.New("verdict: not a bundle (collection type " + BundleType + ")")
	}
	var b Bundle
	for _, n := range tree.Root().Children() {
		switch {
		case n.Label() == "verdict" && n.MediaType().Matches(ResultMediaType()) && n.Indicator() == evidence.IndResults:
			b.Verdict = n.Value()
		case n.Label() == "evidence" && n.MediaType().Base == compositeType && n.Indicator() == evidence.IndEvidence:
			b.Evidence, b.EvidenceType = n.Value(), n.MediaType().Params["of"]
		default:
			return Bundle{}, fmt.Errorf("verdict: bundle: unexpected entry %q", n.Label())
		}
	}
	if b.Verdict == nil {
		return Bundle{}, errors.New("verdict: bundle: no verdict inside")
	}
	return b, nil
}
