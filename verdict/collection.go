// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// ResultsType is the collection type of bare results: a CMW collection with
// signed partial results under "par-0", "par-1", …, each an attestation result. It
// has no verdict and no signature of its own: whoever asked puts them together.
const ResultsType = "tag:github.com,2026:assize/results"

// MaxResults is the number of results in one collection, with its root.
const MaxResults = 255

// EncodeResults writes all partial results of a verdict as a collection of type
// ResultsType: JSON, or CBOR where asked for. A verdict without any is an error:
// such a collection could not be told from one that somebody has emptied.
func EncodeResults(r *Result, cbor bool) ([]byte, error) {
	var entries []evidence.Entry
	for _, c := range r.Components {
		for _, p := range c.Partials() {
			entries = append(entries, evidence.Entry{
				Label: "par-" + strconv.Itoa(len(entries)), Item: evidence.Record(ResultMediaType(), p.token, evidence.IndResults),
			})
		}
	}
	if len(entries) == 0 || len(entries) > MaxResults {
		return nil, fmt.Errorf("verdict: %d results, a collection has 1 to %d", len(entries), MaxResults)
	}
	if cbor {
		return evidence.EncodeCBOR(evidence.Collection(ResultsType, entries...))
	}
	return evidence.EncodeJSON(evidence.Collection(ResultsType, entries...))
}

// DecodeResults reads a collection of type ResultsType in JSON or CBOR. Its
// tokens are in no order that means anything, and nothing in them is verified.
func DecodeResults(raw []byte) ([][]byte, error) {
	lim := limits.Default()
	lim.Composite, lim.Leaf, lim.Depth = 2*limits.AggregateResult, limits.Result, 1
	lim.Leaves = MaxResults
	tree, err := evidence.Parse(raw, evidence.Options{Limits: lim})
	if err != nil {
		return nil, fmt.Errorf("verdict: results: %w", err)
	}
	if tree.Root().CollectionType() != ResultsType {
		return nil, errors.New("verdict: not a collection of results (type " + ResultsType + ")")
	}
	var out [][]byte
	for _, n := range tree.Root().Children() {
		if n.Kind() != evidence.KindRecord || !n.MediaType().Matches(ResultMediaType()) || n.Indicator() != evidence.IndResults {
			return nil, fmt.Errorf("verdict: results: entry %q is no result", n.Label())
		}
		out = append(out, n.Value())
	}
	if len(out) == 0 {
		return nil, errors.New("verdict: results: the collection is empty")
	}
	return out, nil
}

// StatedSubject is what a partial result says that it is about. Nothing of it is
// verified: it is what to compare with one's own expectations, and then to pass
// to VerifyPartial, for results that were collected without a request at hand.
func StatedSubject(token []byte) (Expect, error) {
	var want Expect
	if len(token) > limits.Result {
		return want, refuse(ReasonBadPAR, "%d bytes, at most %d", len(token), limits.Result)
	}
	raw, err := unverified(token)
	if err != nil {
		return want, refuse(ReasonBadPAR, "%v", err)
	}
	h, err := parseResult(raw)
	if err != nil {
		return want, refuse(ReasonBadPAR, "%v", err)
	}
	if len(h.submods) != 1 {
		return want, refuse(ReasonBadPAR, "%d submods instead of one", len(h.submods))
	}
	for label := range h.submods {
		want.Label = evidence.Path(label)
		err = want.readSubject(h, label)
	}
	if err != nil {
		return Expect{}, refuse(ReasonBadPAR, "%v", err)
	}
	return want, nil
}

func (w *Expect) readSubject(h resultHead, label string) error {
	if label == "" {
		return errors.New("a result about no label")
	}
	submod, err := h.submods.object(label)
	if err != nil {
		return err
	}
	policy, err := submod.object(claimPolicy)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"assize.scheme", &w.Scheme}, {"assize.request", &w.Request}, {"assize.media-type", &w.MediaType}} {
		if *f.to, err = policy.text(f.name); err != nil {
			return err
		}
	}
	if w.NonceRule, err = policy.optionalText("assize.nonce-rule"); err != nil {
		return err
	}
	if w.Evidence, err = policy.digest("assize.evidence-sha256"); err != nil {
		return err
	}
	if w.VerificationTime, err = policy.time("assize.verification-time"); err != nil {
		return err
	}
	w.Nonce, err = decodeNonce(h.nonce)
	return err
}

// IsAggregate reports whether a lead that these anchors know has signed a token:
// then it is for VerifyResult, otherwise for VerifyPartial.
func IsAggregate(token []byte, anchors *trust.Anchors, now time.Time) bool {
	_, _, err := verifyToken(token, func(kid string) (trust.Key, bool) { return anchors.Lead(kid, now) })
	return err == nil
}
