// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// defaultLifetime is how long a result without an explicit end is valid (D-41).
const defaultLifetime = 5 * time.Minute

// Issue is what the framework, not the scheme, says in a partial result.
type Issue struct {
	Verifier Identity
	// Label is the path of the component; it becomes the submod's name.
	Label     evidence.Path
	Scheme    string
	MediaType string
	// Request repeats the identifier of the lead's request.
	Request string
	// Nonce is the challenge that was to be found in the evidence (8 to 64
	// bytes), empty when none was given; NonceRule says how it was derived from
	// the session's.
	Nonce     []byte
	NonceRule string
	// Evidence is the SHA-256 of the component bytes that were appraised.
	Evidence [32]byte
	// IssuedAt becomes iat, in whole seconds. Expires becomes exp; zero means
	// five minutes after IssuedAt (decision D-41).
	IssuedAt, Expires time.Time
	// VerificationTime is the time at which collateral had to be valid; zero
	// means IssuedAt.
	VerificationTime time.Time
	// ReferenceRevision is that of the reference values that were used: a SHA-256
	// in lower-case hexadecimal (corim.Index.Revision), "" if there were none.
	ReferenceRevision string
}

// policyClaims is the machine-readable statement of a partial result.
type policyClaims struct {
	Request          string    `json:"assize.request"`
	Scheme           string    `json:"assize.scheme"`
	MediaType        string    `json:"assize.media-type"`
	Evidence         string    `json:"assize.evidence-sha256"`
	Freshness        Freshness `json:"assize.freshness"`
	NonceSeen        string    `json:"assize.nonce-seen,omitempty"`
	NonceRule        string    `json:"assize.nonce-rule,omitempty"`
	Reasons          []Reason  `json:"assize.reasons"`
	Facts            Facts     `json:"assize.facts"`
	VerificationTime string    `json:"assize.verification-time,omitempty"`
	References       string    `json:"assize.reference-revision,omitempty"`
}

// SignPartial makes the signed partial result (PAR) of one component: a
// compact JWS of profile ProfileP23 with one submod. The status is computed
// from the appraisal; a scheme cannot choose it. It is an error when a field of
// the issue is missing, when the appraisal says "fresh" without having seen the
// expected nonce, or when the result is larger than limits.Result.
func SignPartial(s *trust.Signer, i Issue, a Appraisal) ([]byte, error) {
	if err := i.check(a); err != nil {
		return nil, err
	}
	expires := i.Expires
	if expires.IsZero() {
		expires = i.IssuedAt.Add(defaultLifetime)
	}
	freshness := a.Freshness
	if freshness == "" {
		freshness = FreshnessNotEstablished
	}
	claims, err := json.Marshal(earClaims{
		Profile: ProfileP23, IssuedAt: i.IssuedAt.Unix(), Expires: expires.Unix(),
		Verifier: i.Verifier, Nonce: encodeNonce(i.Nonce),
		Submods: map[string]any{string(i.Label): submodClaims{
			Status: a.Status(), Vector: a.Vector.members(true), PolicyID: a.PolicyID, Annotated: a.Claims,
			Policy: policyClaims{
				Request: i.Request, Scheme: i.Scheme, MediaType: i.MediaType,
				Evidence: hex.EncodeToString(i.Evidence[:]), Freshness: freshness,
				NonceSeen: hex.EncodeToString(a.NonceSeen), NonceRule: i.NonceRule,
				Reasons: append([]Reason{}, a.Reasons...), Facts: a.Facts,
				VerificationTime: formatTime(i.VerificationTime), References: i.ReferenceRevision,
			},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("verdict: partial result: %w", err)
	}
	token, err := s.SignJWT(claims)
	if err != nil {
		return nil, fmt.Errorf("verdict: partial result: %w", err)
	}
	if len(token) > limits.Result {
		return nil, fmt.Errorf("verdict: partial result of %d bytes, at most %d", len(token), limits.Result)
	}
	return token, nil
}

func (i Issue) check(a Appraisal) error {
	for _, f := range []struct{ name, value string }{
		{"developer", i.Verifier.Developer}, {"build", i.Verifier.Build}, {"label", string(i.Label)},
		{"scheme", i.Scheme}, {"media type", i.MediaType}, {"request", i.Request},
	} {
		if f.value == "" {
			return fmt.Errorf("verdict: partial result without %s", f.name)
		}
	}
	if i.IssuedAt.Unix() <= 0 || !i.Expires.IsZero() && i.Expires.Before(i.IssuedAt) {
		return errors.New("verdict: partial result without a usable time of issue or expiry")
	}
	if i.Evidence == ([32]byte{}) {
		return errors.New("verdict: partial result without evidence digest")
	}
	if err := checkRevision(i.ReferenceRevision); err != nil {
		return fmt.Errorf("verdict: partial result: %w", err)
	}
	if err := a.Facts.check(); err != nil {
		return fmt.Errorf("verdict: partial result: %w", err)
	}
	for _, r := range a.Reasons {
		if r.Code == "" {
			return errors.New("verdict: appraisal has a reason without code")
		}
	}
	switch a.Freshness {
	case "", FreshnessNotEstablished, FreshnessMismatch:
	case FreshnessFresh:
		if len(i.Nonce) == 0 || !bytes.Equal(i.Nonce, a.NonceSeen) {
			return errors.New("verdict: appraisal says fresh but has not seen the expected nonce")
		}
	default:
		return fmt.Errorf("verdict: unknown freshness %q", a.Freshness)
	}
	return checkNonce(i.Nonce)
}

// formatTime is RFC 3339 in UTC and whole seconds; empty for the zero time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Partial is a partial result that was verified. The zero value is no result;
// only VerifyPartial (and VerifyResult, through it) makes another one.
type Partial struct {
	token     []byte
	submod    object         // as signed
	members   []trust.Member // the same, as it was written
	label     evidence.Path
	scheme    string
	mediaType string
	request   string
	status    Tier
	appraisal Appraisal
	unknown   map[string]Claim
	verifier  Identity
	kid       string
	key       crypto.PublicKey
	issued    time.Time
	nonce     []byte
	nonceRule string
	evidence  [sha256.Size]byte
	verified  time.Time
	revision  string
}

// IsZero reports whether there is no result.
func (p Partial) IsZero() bool { return len(p.token) == 0 }

// Label is the component's path.
func (p Partial) Label() evidence.Path { return p.label }

// Scheme is the scheme whose anchor the signature was checked with.
func (p Partial) Scheme() string { return p.scheme }

// MediaType is the type as which the evidence was appraised.
func (p Partial) MediaType() string { return p.mediaType }

// Request is the identifier of the lead's request.
func (p Partial) Request() string { return p.request }

// Status is the worse of what the verifier stated and what its vector and
// freshness allow.
func (p Partial) Status() Tier { return p.status }

// Appraisal is what the verifier said. Claims is shared: do not change it.
func (p Partial) Appraisal() Appraisal {
	a := p.appraisal
	a.NonceSeen = slices.Clone(a.NonceSeen)
	a.Reasons = slices.Clone(a.Reasons)
	a.Facts = a.Facts.clone()
	return a
}

// Unknown are vector members that AR4SI does not define; their tiers count in
// Status (decision D-44). Nil if there are none.
func (p Partial) Unknown() map[string]Claim { return maps.Clone(p.unknown) }

// Verifier names the verifier and the key that signed.
func (p Partial) Verifier() (Identity, string) { return p.verifier, p.kid }

// Token is the compact JWS as it was received.
func (p Partial) Token() []byte { return slices.Clone(p.token) }

// IssuedAt is iat.
func (p Partial) IssuedAt() time.Time { return p.issued }

// Nonce is the challenge that the evidence had to answer, nil if none.
func (p Partial) Nonce() []byte { return slices.Clone(p.nonce) }

// NonceRule says how the nonce was derived from the session's.
func (p Partial) NonceRule() string { return p.nonceRule }

// Evidence is the SHA-256 of the bytes that were appraised.
func (p Partial) Evidence() [32]byte { return p.evidence }

// VerificationTime is the time at which collateral had to be valid, when it was
// not the time of issue; otherwise zero.
func (p Partial) VerificationTime() time.Time { return p.verified }

// ReferenceRevision identifies the reference values that the verifier compared
// with (Issue.ReferenceRevision), "" if it had none.
func (p Partial) ReferenceRevision() string { return p.revision }
