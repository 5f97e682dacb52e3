// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// VerifyError is why an aggregated result was refused. Code is bad-aar,
// bad-aar-signature, aar-stale or lying-aar, or, for the partial result of the
// component Label, a code of IntakeError.
type VerifyError struct {
	Code   string
	Label  evidence.Path
	Detail string
}

// Error implements error.
func (e *VerifyError) Error() string {
	if e.Label == "" {
		return "verdict: " + e.Code + ": " + e.Detail
	}
	return fmt.Sprintf("verdict: %s: component %q: %s", e.Code, e.Label, e.Detail)
}

func deny(code string, label evidence.Path, format string, args ...any) error {
	return &VerifyError{Code: code, Label: label, Detail: fmt.Sprintf(format, args...)}
}

// VerifyResult is the relying party's check of an aggregated result: the
// signature by a lead anchor, the times, every partial result in it by an
// anchor of its scheme and against what the lead says it asked for, that each
// flat submod is the partial result's own, that components, statements and
// submods are the same set, that of redundant verifiers each counts once and the
// worst answer stands for the component, and that the outcome is not better than
// Combine gives for the verified components and the stated caps.
//
// Partial results must have been in time when the aggregate was issued (its
// iat), not now; anchors of component verifiers are looked up for that time
// too. The result holds verified Partials, so that a stricter policy can
// combine them again. That the nonces of the components derive from r.Nonce by
// their rules is checked here only for the rule "same"; whether r.Nonce is the
// relying party's own is for the caller (Result.HasNonce).
//
// Every error is a *VerifyError.
func VerifyResult(token []byte, in Intake, anchors *trust.Anchors) (*Result, error) {
	in = in.withDefaults()
	if len(token) > limits.AggregateResult {
		return nil, deny(ReasonBadAAR, "", "%d bytes, at most %d", len(token), limits.AggregateResult)
	}
	claims, key, err := verifyToken(token, func(kid string) (trust.Key, bool) {
		return anchors.Lead(kid, in.Now)
	})
	switch {
	case errors.Is(err, trust.ErrMalformed):
		return nil, deny(ReasonBadAAR, "", "%v", err)
	case err != nil:
		return nil, deny(ReasonBadAARSignature, "", "%v", err)
	}
	h, stated, err := parseAggregate(token, claims)
	if err != nil {
		return nil, deny(ReasonBadAAR, "", "%v", err)
	}
	if why := in.stale(h, in.IgnoreAge); why != "" {
		return nil, deny(ReasonAARStale, "", "%s", why)
	}
	v := aggregate{head: h, anchors: anchors, in: Intake{Now: h.issued, MaxAge: in.MaxAge, Skew: in.Skew}}
	r, err := v.result()
	if err != nil {
		return nil, err
	}
	if err := stated.check(r); err != nil {
		return nil, deny(ReasonLyingAAR, "", "%v", err)
	}
	r.KID, r.Token = key.KID, slices.Clone(token)
	return r, nil
}

// aggregate is an aggregated result while it is being checked.
type aggregate struct {
	head     resultHead
	in       Intake // for the partial results
	anchors  *trust.Anchors
	policy   object // policy claims of the composite submod
	partials object
	// witnesses are the results of further redundant verifiers.
	witnesses object
	receipts  []Receipt
	verified  time.Time // as of when the evidence was judged, zero: its own time
}

func (v *aggregate) result() (*Result, error) {
	r := &Result{Verifier: v.head.verifier, Time: v.head.issued}
	composite, err := v.open()
	if err == nil {
		err = v.describe(r, composite)
	}
	if err != nil {
		return nil, deny(ReasonBadAAR, "", "%v", err)
	}
	if err := v.components(r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, deny(ReasonLyingAAR, "", "%v", err)
	}
	return r, nil
}

// open finds the parts of the aggregate.
func (v *aggregate) open() (object, error) {
	composite, err := v.head.submods.object(compositeLabel)
	if err != nil {
		return nil, fmt.Errorf("submod %w", err)
	}
	if v.policy, err = composite.object(claimPolicy); err != nil {
		return nil, err
	}
	if v.partials, err = v.head.claims.optionalObject(claimPartials); err != nil {
		return nil, err
	}
	if v.witnesses, err = v.head.claims.optionalObject(claimWitnesses); err != nil {
		return nil, err
	}
	v.receipts, err = v.head.claims.receipts()
	return composite, err
}

// describe reads everything but the components.
func (v *aggregate) describe(r *Result, composite object) error {
	var err error
	if r.Nonce, err = decodeNonce(v.head.nonce); err != nil {
		return err
	}
	if r.Outcome.Tier, err = composite.tier(claimStatus); err != nil {
		return err
	}
	var unknown map[string]Claim
	if r.Outcome.Vector, unknown, err = composite.vector(); err != nil {
		return err
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s of the composite has members that are not defined", claimVector)
	}
	if r.Outcome.Reasons, err = v.policy.reasons("assize.reasons"); err != nil {
		return err
	}
	if r.Caps, err = v.policy.caps(); err != nil {
		return err
	}
	if r.Bindings, err = v.policy.bindings(); err != nil {
		return err
	}
	if r.Interconnects, err = v.policy.interconnects(); err != nil {
		return err
	}
	if r.Topology, err = v.policy.optionalText("assize.topology"); err != nil {
		return err
	}
	if r.Session, err = v.policy.optionalText("assize.session"); err != nil {
		return err
	}
	if r.Node, err = v.policy.optionalText("assize.node"); err != nil {
		return err
	}
	if r.References, err = v.policy.revision("assize.reference-revision"); err != nil {
		return err
	}
	r.Receipts = v.receipts
	if r.PlanDigest, err = v.policy.optionalDigest("assize.plan-sha256"); err != nil {
		return err
	}
	if r.Composite, err = v.policy.optionalDigest("assize.composite-sha256"); err != nil {
		return err
	}
	if r.Commitment, err = v.policy.commitment(); err != nil {
		return err
	}
	if r.Lead, err = v.policy.leadSignature("assize.lead-signature"); err != nil {
		return err
	}
	if r.Policy, err = v.policy.policyStatement("assize.policy"); err != nil {
		return err
	}
	if r.Requirements, err = v.policy.requirements("assize.requirements"); err != nil {
		return err
	}
	if r.Inventory, err = v.policy.inventory("assize.inventory"); err != nil {
		return err
	}
	r.VerificationTime, err = v.policy.time("assize.verification-time")
	v.verified = r.VerificationTime
	return err
}

func (o object) caps() ([]Cap, error) {
	var out []Cap
	err := o.each("assize.caps", func(m object) error {
		t, err := m.tier("tier")
		if err != nil {
			return err
		}
		reason, err := m.object("reason")
		if err != nil {
			return err
		}
		r, err := reason.reason()
		out = append(out, Cap{Tier: t, Reason: r})
		return err
	})
	return out, err
}

func (o object) bindings() ([]Binding, error) {
	var out []Binding
	err := o.each("assize.bindings", func(m object) error {
		var b Binding
		var from, to string
		for _, f := range []struct {
			name string
			to   *string
		}{
			{"from", &from}, {"to", &to}, {"kind", &b.Kind},
			{"strength", &b.Strength}, {"status", &b.Status}, {"origin", &b.Origin},
			{"compared", &b.Compared}, {"expected", &b.Expected}, {"observed", &b.Observed},
		} {
			var err error
			if *f.to, err = m.optionalText(f.name); err != nil {
				return err
			}
		}
		b.From, b.To = evidence.Path(from), evidence.Path(to)
		out = append(out, b)
		return nil
	})
	return out, err
}

// optionalObject is empty when absent.
func (o object) optionalObject(name string) (object, error) {
	if _, ok := o[name]; !ok {
		return object{}, nil
	}
	return o.object(name)
}

// each calls f for the objects of a list that must be there.
func (o object) each(name string, f func(object) error) error {
	list, ok := o[name].([]any)
	if !ok {
		return fmt.Errorf("%s is missing or not an array", name)
	}
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%s holds something other than an object", name)
		}
		if err := f(m); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (o object) optionalDigest(name string) ([32]byte, error) {
	if _, ok := o[name]; !ok {
		return [32]byte{}, nil
	}
	return o.digest(name)
}

// decodeNonce is the inverse of encodeNonce; the spelling must be canonical.
func decodeNonce(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.URLEncoding.DecodeString(s)
	if err != nil || encodeNonce(b) != s {
		return nil, errors.New("nonce is not base64url with padding")
	}
	return b, checkNonce(b)
}

// commitment reads what the CPU TEE had to commit to, nil where it had not.
func (o object) commitment() (*evidence.Commitment, error) {
	const leaves, signer = "assize.leaves-sha384", "assize.lead-signer"
	by, err := o.optionalText(signer)
	if _, ok := o[leaves]; !ok || err != nil {
		if by != "" && err == nil {
			err = fmt.Errorf("%s without %s", signer, leaves)
		}
		return nil, err
	}
	m, err := o.object(leaves)
	if err != nil {
		return nil, err
	}
	c := &evidence.Commitment{Signer: by, Leaves: make(map[evidence.Path]evidence.LeafDigest, len(m))}
	for path := range m {
		text, err := m.text(path)
		if err != nil {
			return nil, err
		}
		raw, err := hexBytes(path, text)
		if err != nil || len(raw) != len(evidence.LeafDigest{}) {
			return nil, fmt.Errorf("%s: %q is no SHA-384", leaves, path)
		}
		c.Leaves[evidence.Path(path)] = evidence.LeafDigest(raw)
	}
	if c.Convention, err = o.optionalText("assize.convention"); err != nil || c.Convention == "" {
		return c, err
	}
	text, err := o.text("assize.runtime-data")
	if err != nil {
		return nil, err
	}
	data, err := evidence.ParseRuntimeData(c.Convention, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("assize.runtime-data: %w", err)
	}
	if string(data.Text()) != text {
		return nil, errors.New("assize.runtime-data are not in canonical form")
	}
	c.Runtime = []byte(text)
	return c, nil
}
