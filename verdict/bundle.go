// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// BundleType is the collection type of a bundle: a JSON CMW collection with the
// signed verdict ("verdict", an attestation result) and, optionally, the
// composite evidence exactly as it was received ("evidence"). One that can be
// replayed has a list ("manifest") of everything that the verdict was made from,
// each by its digest, and records of what it carries of that.
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
	// Verdict is the AAR with the PARs inside, in the format Format; "" stands for
	// FormatP23JWT. It has to be one that VerifyResult reads.
	Verdict []byte
	Format  Format
	// Evidence is the composite as received, nil if it was left out, and
	// EvidenceType its declared media type ("" = by content).
	Evidence     []byte
	EvidenceType string
	// Items are everything that the verdict was made from, nil where the bundle has no
	// manifest. Nobody has signed the list; what the verdict itself says of composite,
	// plan, policy and revision of reference values is signed.
	Items []Item
}

// EncodeBundle renders b as compact JSON.
func EncodeBundle(b Bundle) ([]byte, error) {
	if len(b.Verdict) == 0 {
		return nil, errors.New("verdict: a bundle without a verdict")
	}
	if b.Format == "" {
		b.Format = FormatP23JWT
	}
	if !b.Format.Verifiable() {
		return nil, fmt.Errorf("verdict: a bundle with a verdict in format %.32q, which nobody can check", b.Format)
	}
	entries := []evidence.Entry{{Label: verdictLabel, Item: evidence.Record(b.Format.MediaType(), b.Verdict, evidence.IndResults)}}
	if b.Evidence != nil {
		mt := compositeMediaType(b.EvidenceType)
		entries = append(entries, evidence.Entry{Label: evidenceLabel, Item: evidence.Record(mt, b.Evidence, evidence.IndEvidence)})
	}
	if b.Items != nil {
		items, err := b.itemEntries()
		if err != nil {
			return nil, err
		}
		entries = append(entries, items...)
	}
	raw, err := evidence.EncodeJSON(evidence.Collection(BundleType, entries...))
	if err == nil && len(raw) > limits.Bundle {
		return nil, fmt.Errorf("verdict: bundle of %d bytes, at most %d", len(raw), limits.Bundle)
	}
	return raw, err
}

// DecodeBundle reads what EncodeBundle wrote. Nothing in it is verified yet but
// that the items are those of the manifest, byte for byte, and no others.
func DecodeBundle(raw []byte) (Bundle, error) {
	lim := limits.Default()
	lim.Composite, lim.Leaf = limits.Bundle, limits.Bundle/2
	lim.Depth, lim.Labels, lim.Leaves = 1, limits.BundleItems+3, limits.BundleItems+3
	tree, err := evidence.Parse(raw, evidence.Options{MediaType: "application/cmw+json", Limits: lim})
	if err != nil {
		return Bundle{}, fmt.Errorf("verdict: bundle: %w", err)
	}
	if tree.Root().CollectionType() != BundleType {
		return Bundle{}, errors.New("verdict: not a bundle (collection type " + BundleType + ")")
	}
	var b Bundle
	var manifest []byte
	records := map[string]*evidence.Node{}
	for _, n := range tree.Root().Children() {
		switch {
		case n.Label() == verdictLabel && verifiableType(n.MediaType()) != "" && n.Indicator() == evidence.IndResults:
			b.Verdict, b.Format = n.Value(), verifiableType(n.MediaType())
		case n.Label() == evidenceLabel && n.MediaType().Base == compositeType && n.Indicator() == evidence.IndEvidence:
			b.Evidence, b.EvidenceType = n.Value(), n.MediaType().Params["of"]
			records[evidenceLabel] = n
		case n.Label() == manifestLabel && n.MediaType().Equal(evidence.MediaType{Base: manifestType}) && n.Indicator() == 0:
			manifest = n.Value()
		case n.Label() == verdictLabel || n.Label() == evidenceLabel || !strings.Contains(n.Label(), "."):
			return Bundle{}, fmt.Errorf("verdict: bundle: unexpected entry %q", n.Label())
		default:
			records[n.Label()] = n
		}
	}
	switch {
	case b.Verdict == nil:
		return Bundle{}, errors.New("verdict: bundle: no verdict inside")
	case manifest != nil:
		if b.Items, err = decodeManifest(manifest, records); err != nil {
			return Bundle{}, fmt.Errorf("verdict: bundle: %w", err)
		}
	default:
		delete(records, evidenceLabel)
		for label := range records {
			return Bundle{}, fmt.Errorf("verdict: bundle: unexpected entry %q, and no manifest that lists it", label)
		}
	}
	return b, nil
}

// CheckFormat refuses a bundle whose verdict is of another format than its record
// says, so that nobody who goes by the media type reads something else in it. It
// verifies nothing.
func (b Bundle) CheckFormat() error {
	claims, err := unverifiedClaims(b.Verdict)
	if err != nil {
		return fmt.Errorf("verdict: bundle: %w", err)
	}
	o, err := claimsOfToken(b.Verdict, claims)
	if err != nil {
		return fmt.Errorf("verdict: bundle: %w", err)
	}
	if b.Format.Binary() != trust.IsCWT(b.Verdict) || o[claimProfile] != b.Format.Profile() {
		return fmt.Errorf("verdict: bundle: the verdict is announced as %s, and is another one", b.Format.MediaType())
	}
	return nil
}

// verifiableType is the format of a media type that VerifyResult reads, "" for
// any other one.
func verifiableType(mt evidence.MediaType) Format {
	for _, f := range Formats() {
		if f.Verifiable() && mt.Matches(f.MediaType()) {
			return f
		}
	}
	return ""
}
