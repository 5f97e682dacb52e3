// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"time"

	"github.com/assize/assize/evidence"
)

// Freshness says what the evidence proves about the challenge.
type Freshness string

// Values of Freshness. The zero value counts as not established.
const (
	FreshnessFresh          Freshness = "fresh"
	FreshnessMismatch       Freshness = "mismatch"
	FreshnessNotEstablished Freshness = "not-established"
)

// Reason is why something is not affirming: a code of the list in
// schemas/reasons.yaml and a sentence in the words of the domain.
type Reason struct {
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
	// Expected and Observed are the two sides of a comparison that failed, where the
	// reason is one: digests in hexadecimal, versions, names. Source says where the
	// expectation comes from: a document, a policy, the challenge of the session. All
	// are for explanations; nothing is decided by them.
	Expected string `json:"expected,omitempty"`
	Observed string `json:"observed,omitempty"`
	Source   string `json:"source,omitempty"`
}

// Appraisal is what a scheme says about one component. It is not signed, and
// status, label and nonce echo are not the scheme's to choose.
type Appraisal struct {
	Vector    Vector
	Freshness Freshness
	// NonceSeen is the challenge found in the signed evidence, nil if none.
	NonceSeen []byte
	Reasons   []Reason
	// Claims are the readable contents of the evidence: JSON values only
	// (string, bool, float64 or integer, []any, map[string]any).
	Claims   map[string]any
	Facts    Facts
	PolicyID string
}

// Status is the tier of the vector, never better than freshness allows: a
// mismatch contraindicates, anything but "fresh" caps at warning.
func (a Appraisal) Status() Tier {
	s := a.Vector.Status()
	switch a.Freshness {
	case FreshnessFresh:
		return s
	case FreshnessMismatch:
		return TierContraindicated
	}
	return Worst(s, TierWarning)
}

// Fail appends a reason and returns the appraisal, for chaining.
func (a *Appraisal) Fail(code, detail string) *Appraisal {
	a.Reasons = append(a.Reasons, Reason{Code: code, Detail: detail})
	return a
}

// Expect is what a lead demands of a partial attestation result.
type Expect struct {
	Label   evidence.Path
	Scheme  string
	Request string
	// Nonce is the challenge that was to be found in the evidence; nil when
	// none was given.
	Nonce []byte
	// NonceRule is the rule by which Nonce was derived, "" without one.
	NonceRule string
	// Evidence is the SHA-256 of the component bytes that were sent, MediaType
	// the type under which they were sent.
	Evidence  [32]byte
	MediaType string
	// VerificationTime is the time at which the evidence was to be judged; zero
	// when that was left to the verifier's clock. Whole seconds count.
	VerificationTime time.Time
}
