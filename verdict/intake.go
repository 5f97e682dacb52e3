// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// Intake says when a result is taken in.
type Intake struct {
	Now time.Time
	// MaxAge is the largest age (Now minus iat); zero means limits.Session.
	MaxAge time.Duration
	// Skew is the tolerated difference of clocks; zero means limits.ClockSkew.
	Skew time.Duration
	// IgnoreAge lets VerifyResult accept an aggregated result of any age, even
	// an expired one: for audits of stored verdicts. A result from the future
	// and a key past its NotAfter are still refused (set Now to the time of
	// storage to accept the latter). VerifyPartial does not look at it.
	IgnoreAge bool
}

func (in Intake) withDefaults() Intake {
	if in.MaxAge == 0 {
		in.MaxAge = limits.Session
	}
	if in.Skew == 0 {
		in.Skew = limits.ClockSkew
	}
	return in
}

// IntakeError is why a partial result was refused. Code is one of bad-par,
// bad-par-signature, par-stale, par-nonce-mismatch, par-subject-mismatch and
// lying-par.
type IntakeError struct {
	Code   string
	Detail string
	// Compared is what was held against what, where that was it.
	Compared Comparison
}

// Error implements error.
func (e *IntakeError) Error() string { return "verdict: " + e.Code + ": " + e.Detail }

func refuse(code, format string, args ...any) error {
	return &IntakeError{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// refuseOther is refuse for something that is about another thing than was asked.
func refuseOther(code, expected, observed, format string, args ...any) error {
	return &IntakeError{Code: code, Detail: fmt.Sprintf(format, args...), Compared: Comparison{
		Expected: clipped(expected), Observed: clipped(observed), Source: "request of the lead",
	}}
}

// VerifyPartial checks a partial result against what the lead expects and
// returns it. In this order: the signature by an anchor for want.Scheme; the
// profile; times (iat present and an integer, not in the future, not older than
// MaxAge; exp and nbf if present); the subject (one submod named want.Label,
// scheme, request and evidence digest); the nonce; and whether the status is
// better than its own vector and freshness (decisions D-38 to D-44). Nothing of
// the claims is read before the signature was right. Unknown claims are
// ignored; duplicate members, floats for times and nesting deeper than 16 are
// not accepted.
//
// Every error is an *IntakeError.
func VerifyPartial(token []byte, want Expect, in Intake, anchors *trust.Anchors) (Partial, error) {
	in = in.withDefaults()
	if len(token) > limits.Result {
		return Partial{}, refuse(ReasonBadPAR, "%d bytes, at most %d", len(token), limits.Result)
	}
	claims, key, err := trust.VerifyJWT(token, func(kid string) (trust.Key, bool) {
		return anchors.Verifier(kid, want.Scheme, in.Now)
	})
	switch {
	case errors.Is(err, trust.ErrMalformed):
		return Partial{}, refuse(ReasonBadPAR, "%v", err)
	case errors.Is(err, trust.ErrUnknownKey):
		return Partial{}, refuse(ReasonBadPARSignature, "no anchor for scheme %q: %v", want.Scheme, err)
	case err != nil:
		return Partial{}, refuse(ReasonBadPARSignature, "%v", err)
	}
	h, err := parseResult(claims)
	if err != nil {
		return Partial{}, refuse(ReasonBadPAR, "%v", err)
	}
	if why := in.stale(h, false); why != "" {
		return Partial{}, refuse(ReasonPARStale, "%s", why)
	}
	p := Partial{
		token: slices.Clone(token), verifier: h.verifier, kid: key.KID, key: key.Public, issued: h.issued,
		label: want.Label, scheme: want.Scheme, request: want.Request, evidence: want.Evidence,
	}
	if err := p.read(h, want); err != nil {
		return Partial{}, err
	}
	return p, nil
}

// stale says why a result is not valid at in.Now, or nothing.
func (in Intake) stale(h resultHead, ignoreAge bool) string {
	switch {
	case h.issued.After(in.Now.Add(in.Skew)):
		return "issued at " + formatTime(h.issued) + ", which is in the future"
	case !h.notYet.IsZero() && h.notYet.After(in.Now.Add(in.Skew)):
		return "not valid before " + formatTime(h.notYet)
	case ignoreAge:
		return ""
	case in.Now.Sub(h.issued) > in.MaxAge:
		return fmt.Sprintf("issued at %s, older than %s", formatTime(h.issued), in.MaxAge)
	case !h.expires.IsZero() && in.Now.After(h.expires.Add(in.Skew)):
		return "expired at " + formatTime(h.expires)
	}
	return ""
}

// read takes over the only submod, after checking that it is the one wanted.
func (p *Partial) read(h resultHead, want Expect) error {
	if len(h.submods) != 1 {
		return refuse(ReasonBadPAR, "%d submods instead of one", len(h.submods))
	}
	if _, ok := h.submods[string(want.Label)]; !ok || want.Label == "" {
		return refuse(ReasonPARSubject, "speaks about another component than %q", want.Label)
	}
	var err error
	if p.submod, err = h.submods.object(string(want.Label)); err != nil {
		return refuse(ReasonBadPAR, "submod %v", err)
	}
	if p.members, err = trust.Members(h.raw, claimSubmods, string(want.Label)); err != nil {
		return refuse(ReasonBadPAR, "submod %v", err)
	}
	policy, err := p.submod.object(claimPolicy)
	if err != nil {
		return refuse(ReasonBadPAR, "%v", err)
	}
	if err := p.readSubject(policy, want); err != nil {
		return err
	}
	if err := p.readNonce(h.nonce, policy, want); err != nil {
		return err
	}
	if err := p.readAppraisal(policy); err != nil {
		return refuse(ReasonBadPAR, "%v", err)
	}
	return p.judge()
}

func (p *Partial) readSubject(policy object, want Expect) error {
	digest, err := policy.digest("assize.evidence-sha256")
	if err != nil {
		return refuse(ReasonBadPAR, "%v", err)
	}
	if subtle.ConstantTimeCompare(digest[:], want.Evidence[:]) != 1 {
		return refuseOther(ReasonPARSubject, hexDigest(want.Evidence), hexDigest(digest), "speaks about other evidence: SHA-256 %x instead of %x", digest, want.Evidence)
	}
	for _, f := range []struct{ name, want string }{
		{"assize.scheme", want.Scheme}, {"assize.request", want.Request},
	} {
		got, err := policy.text(f.name)
		if err != nil {
			return refuse(ReasonBadPAR, "%v", err)
		}
		if got == "" || subtle.ConstantTimeCompare([]byte(got), []byte(f.want)) != 1 {
			return refuseOther(ReasonPARSubject, f.want, got, "%s is %.64q instead of %q", f.name, got, f.want)
		}
	}
	if p.mediaType, err = policy.text("assize.media-type"); err != nil {
		return refuse(ReasonBadPAR, "%v", err)
	}
	if canonicalType(p.mediaType) != canonicalType(want.MediaType) {
		return refuse(ReasonPARSubject, "judged the evidence as %.64q instead of %q", p.mediaType, want.MediaType)
	}
	if p.verified, err = policy.time("assize.verification-time"); err != nil {
		return refuse(ReasonBadPAR, "%v", err)
	}
	if formatTime(p.verified) != formatTime(want.VerificationTime) {
		return refuse(ReasonPARSubject, "judged the evidence for the time %q instead of %q", formatTime(p.verified), formatTime(want.VerificationTime))
	}
	return nil
}

func (p *Partial) readNonce(stated string, policy object, want Expect) error {
	if subtle.ConstantTimeCompare([]byte(stated), []byte(encodeNonce(want.Nonce))) != 1 {
		return refuseOther(ReasonPARNonce, encodeNonce(want.Nonce), stated, "answers another challenge than the one given")
	}
	if len(want.Nonce) > 0 {
		p.nonce = slices.Clone(want.Nonce)
	}
	seen, err := policy.optionalText("assize.nonce-seen")
	if err == nil {
		p.appraisal.NonceSeen, err = hexBytes("assize.nonce-seen", seen)
	}
	if err != nil {
		return refuse(ReasonBadPAR, "%v", err)
	}
	if p.nonceRule, err = policy.optionalText("assize.nonce-rule"); err != nil {
		return refuse(ReasonBadPAR, "%v", err)
	}
	if p.nonceRule != want.NonceRule {
		return refuseOther(ReasonPARNonce, want.NonceRule, p.nonceRule, "names the nonce rule %.32q instead of %q", p.nonceRule, want.NonceRule)
	}
	return nil
}

func (p *Partial) readAppraisal(policy object) error {
	a := &p.appraisal
	var err error
	if p.revision, err = policy.revision("assize.reference-revision"); err != nil {
		return err
	}
	if p.status, err = p.submod.tier(claimStatus); err != nil {
		return err
	}
	if a.Vector, p.unknown, err = p.submod.vector(); err != nil {
		return err
	}
	if a.PolicyID, err = p.submod.optionalText(claimPolicyID); err != nil {
		return err
	}
	if _, ok := p.submod[claimAnnotated]; ok {
		claims, err := p.submod.object(claimAnnotated)
		if err != nil {
			return err
		}
		a.Claims = plain(map[string]any(claims)).(map[string]any)
	}
	freshness, err := policy.text("assize.freshness")
	if err != nil {
		return err
	}
	switch a.Freshness = Freshness(freshness); a.Freshness {
	case FreshnessFresh, FreshnessMismatch, FreshnessNotEstablished:
	default:
		return fmt.Errorf("unknown freshness %.32q", freshness)
	}
	if a.Reasons, err = policy.reasons("assize.reasons"); err != nil {
		return err
	}
	if _, ok := policy["assize.facts"]; !ok {
		return nil
	}
	facts, err := policy.object("assize.facts")
	if err != nil {
		return err
	}
	a.Facts, err = facts.facts()
	return err
}

// judge compares what is stated with what the statement's own contents allow.
func (p *Partial) judge() error {
	a := p.appraisal
	if a.Freshness == FreshnessFresh && (len(p.nonce) == 0 || subtle.ConstantTimeCompare(a.NonceSeen, p.nonce) != 1) {
		return refuse(ReasonLyingPAR, "says fresh but has not seen the challenge that was given")
	}
	allowed := a.Status()
	for _, c := range p.unknown {
		// 0 and 1 assert nothing, as in Vector.Status.
		if c != ClaimNone && c != ClaimUnexpected {
			allowed = Worst(allowed, c.Tier())
		}
	}
	if allowed.WorseThan(p.status) {
		return refuse(ReasonLyingPAR, "status %s is better than its vector and freshness, which give %s", p.status, allowed)
	}
	return nil
}

// revision reads what identifies reference values; "" when absent. What is there
// is never empty.
func (o object) revision(name string) (string, error) {
	if _, ok := o[name]; !ok {
		return "", nil
	}
	s, err := o.text(name)
	if err != nil {
		return "", err
	}
	if s == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	if err := checkRevision(s); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func checkRevision(s string) error {
	if b, err := hexBytes("revision", s); err != nil || s != "" && len(b) != sha256.Size {
		return errors.New("revision of reference values is not a SHA-256 in lower-case hexadecimal")
	}
	return nil
}

// Bounds of the environments of one component: their number, and the length of
// the text of each.
const (
	maxEnvironments = 16
	maxEnvironment  = 4096
)

// environments reads names of a component in the spelling of Facts.Environments.
// What is in them is for those who compare them.
func (o object) environments(name string) ([]string, error) {
	list, err := o.texts(name)
	if err != nil {
		return nil, err
	}
	if len(list) > maxEnvironments {
		return nil, fmt.Errorf("%s has %d members, at most %d", name, len(list), maxEnvironments)
	}
	for _, s := range list {
		if err := checkEnvironment(s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return list, nil
}

func checkEnvironment(s string) error {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if s == "" || len(s) > maxEnvironment || err != nil || base64.RawURLEncoding.EncodeToString(b) != s {
		return errors.New("environment is not CBOR in base64url without padding")
	}
	return nil
}

// digest reads 32 bytes in lower-case hexadecimal.
func (o object) digest(name string) (d [sha256.Size]byte, err error) {
	s, err := o.text(name)
	if err != nil {
		return d, err
	}
	b, err := hexBytes(name, s)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("%s is not a SHA-256 in hexadecimal", name)
	}
	return [sha256.Size]byte(b), nil
}

// hexBytes reads lower-case hexadecimal; nil for the empty text.
func hexBytes(name, s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || hex.EncodeToString(b) != s {
		return nil, fmt.Errorf("%s is not lower-case hexadecimal", name)
	}
	return b, nil
}

// time reads RFC 3339 in UTC and whole seconds; zero when absent.
func (o object) time(name string) (time.Time, error) {
	s, err := o.optionalText(name)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || formatTime(t) != s {
		return time.Time{}, fmt.Errorf("%s is not a time in UTC and whole seconds", name)
	}
	return t.UTC(), nil
}
