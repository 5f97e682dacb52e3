// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Refusal is a request that a node does not appraise. Code is from the fixed
// list of the message contract: 400 malformed, 413 too large, 415 media type,
// 403 not allowed, 500 internal, 503 a service that it asks does not answer, 504 out
// of budget.
type Refusal struct {
	Code int
	Text string
	err  error
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("verifiers: %d %s", r.Code, r.Text) }

// Unwrap gives the cause for the node's own log; it never leaves the node.
func (r *Refusal) Unwrap() error { return r.err }

// References is where a node has its reference values from. It is safe for
// concurrent use.
type References interface {
	// Snapshot returns what is in force at a time: one immutable set for one
	// appraisal, never nil. An error means that nobody can say, so that the node
	// gives no verdict.
	Snapshot(now time.Time) (*corim.Index, error)
}

// NodeOptions configure a Node. Every field but AllowTimeOverride, Lifetime,
// References, Collateral, CollateralFault and Deps is mandatory.
type NodeOptions struct {
	Set      *Set
	Deps     Deps
	Identity verdict.Identity
	// Signers holds one key per scheme name: a verifier's key is its identity.
	Signers map[string]*trust.Signer
	Clock   func() time.Time
	// AllowTimeOverride lets a caller choose the verification time. Only for
	// recorded evidence in the caller's own process.
	AllowTimeOverride bool
	// Lifetime of a PAR; zero means limits.Session.
	Lifetime time.Duration
	// References are the reference values; nil: none are given.
	References References
	// Collateral is asked for what a scheme needs before it appraises; nil: there
	// is what Deps.Endorsements has.
	Collateral Collateral
	// CollateralFault is told what went wrong with it, which no verdict depends on;
	// nil: nobody is.
	CollateralFault func(scheme string, err error)
}

// Node is a component verifier with a signing key for each of its schemes. It
// does for every scheme what none may forget: size limits, panics, required
// claims, nonce echo, identity, signature.
type Node struct {
	o         NodeOptions
	verifiers map[string]*renewed
}

// NewNode makes the verifiers of all schemes in the set.
func NewNode(o NodeOptions) (*Node, error) {
	if o.Set == nil || o.Clock == nil {
		return nil, errors.New("verifiers: a node wants a set of schemes and a clock")
	}
	if o.Lifetime == 0 {
		o.Lifetime = limits.Session
	}
	n := &Node{o: o, verifiers: map[string]*renewed{}}
	for _, sc := range o.Set.schemes {
		if o.Signers[sc.Name] == nil {
			return nil, fmt.Errorf("verifiers: no signing key for %s", sc.Name)
		}
		v, err := sc.New(o.Deps)
		if err != nil {
			return nil, fmt.Errorf("verifiers: %s: %w", sc.Name, err)
		}
		n.verifiers[sc.Name] = newRenewed(v, o.Deps.Endorsements)
	}
	return n, nil
}

// Schemes returns the descriptions of the node's schemes.
func (n *Node) Schemes() []Scheme { return n.o.Set.Schemes() }

// Identity returns the developer and build that the node puts into PARs.
func (n *Node) Identity() verdict.Identity { return n.o.Identity }

// KID returns the key id with which results of a scheme are signed.
func (n *Node) KID(scheme string) string {
	if s := n.o.Signers[scheme]; s != nil {
		return s.KID()
	}
	return ""
}

// Appraise returns the signed PAR (EAR as compact JWT) for one request and the
// tier in it. Evidence that a scheme finds bad still gives a PAR; an error is a
// *Refusal and never a verdict: a malformed request, a media type that is not
// the scheme's, evidence beyond its limit, or a scheme that broke.
func (n *Node) Appraise(ctx context.Context, r Request) ([]byte, verdict.Tier, error) {
	sc, err := n.admit(r)
	if err != nil {
		return nil, verdict.TierNone, err
	}
	v := n.prepare(ctx, sc, r)
	now := n.o.Clock()
	at := now
	if !r.Time.IsZero() {
		at = r.Time
	}
	references, revision, err := n.snapshot(now)
	if err != nil {
		return nil, verdict.TierNone, err
	}
	a, err := run(ctx, v, Input{MediaType: r.MediaType, Evidence: r.Evidence, Nonce: r.Nonce, Time: at, References: references})
	if err != nil {
		return nil, verdict.TierNone, err
	}
	finish(sc, &a)
	switch {
	case len(n.o.Deps.ExtraRoots[sc.Name]) > 0:
		a.Fail(verdict.ReasonExtraRoots, "this verifier trusts roots beyond those of the vendor, so the component may be a simulated one")
	case references.Simulated():
		a.Fail(verdict.ReasonExtraRoots, "this verifier believes an authority of simulated machines, so the component may be a simulated one")
	}
	token, err := verdict.SignPartial(n.o.Signers[sc.Name], verdict.Issue{
		Verifier: n.o.Identity, Label: r.Label, Scheme: sc.Name, MediaType: r.MediaType.String(),
		Request: r.ID, Nonce: r.Nonce, NonceRule: r.NonceRule, Evidence: sha256.Sum256(r.Evidence),
		IssuedAt: now, Expires: now.Add(n.o.Lifetime), VerificationTime: r.Time,
		ReferenceRevision: revision,
	}, a)
	if err != nil {
		return nil, verdict.TierNone, &Refusal{Code: 500, Text: "internal", err: err}
	}
	return token, a.Status(), nil
}

// snapshot takes the reference values for one appraisal. A node that has some
// and cannot read them does not go on as if there were none.
func (n *Node) snapshot(now time.Time) (x *corim.Index, revision string, err error) {
	if n.o.References == nil {
		return nil, "", nil
	}
	defer func() {
		if p := recover(); p != nil {
			x, err = nil, &Refusal{Code: 500, Text: "internal", err: fmt.Errorf("reference values: panic: %v", p)}
		}
	}()
	x, err = n.o.References.Snapshot(now)
	if err == nil && x == nil {
		err = errors.New("no snapshot")
	}
	if err != nil {
		return nil, "", &Refusal{Code: 500, Text: "internal", err: fmt.Errorf("reference values: %w", err)}
	}
	return x, x.Revision(), nil
}

// admit checks what must hold before a scheme sees the bytes.
func (n *Node) admit(r Request) (Scheme, error) {
	sc, ok := n.o.Set.Lookup(r.Scheme)
	if !ok {
		return sc, &Refusal{Code: 415, Text: "scheme not served"}
	}
	if err := r.check(); err != nil {
		return sc, &Refusal{Code: 400, Text: "malformed request", err: err}
	}
	if len(r.Evidence) > sc.MaxEvidence {
		return sc, &Refusal{Code: 413, Text: "evidence too large"}
	}
	routed, mt, err := n.o.Set.Route(r.MediaType, r.Evidence)
	switch {
	case errors.Is(err, ErrMalformed):
		return sc, &Refusal{Code: 400, Text: "malformed evidence", err: err}
	case err != nil || routed.Name != sc.Name || mt.String() != r.MediaType.String():
		return sc, &Refusal{Code: 415, Text: "media type not accepted", err: err}
	case !r.Time.IsZero() && !n.o.AllowTimeOverride:
		return sc, &Refusal{Code: 403, Text: "verification time is not the caller's to choose"}
	}
	return sc, nil
}

// run is the recover boundary: a scheme that panics gives no verdict, and the
// process lives.
func run(ctx context.Context, v Verifier, in Input) (a verdict.Appraisal, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Refusal{Code: 500, Text: "internal", err: fmt.Errorf("panic in scheme: %v", p)}
		}
	}()
	if err := ctx.Err(); err != nil {
		return a, &Refusal{Code: 504, Text: "out of budget", err: err}
	}
	a, err = v.Appraise(ctx, in)
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return a, &Refusal{Code: 504, Text: "out of budget", err: err}
	case errors.Is(err, context.DeadlineExceeded): // of a service that the scheme asks
		return a, &Refusal{Code: 504, Text: "what the verifier asks did not answer in time", err: err}
	case errors.Is(err, ErrUnavailable):
		return a, &Refusal{Code: 503, Text: "what the verifier asks does not answer", err: err}
	}
	return a, &Refusal{Code: 500, Text: "internal", err: err}
}

// finish turns every required claim that the scheme left open into its
// warning value: affirming needs proof.
func finish(sc Scheme, a *verdict.Appraisal) {
	for _, name := range sc.Required {
		if c := a.Vector[name]; c != verdict.ClaimNone && c != verdict.ClaimUnexpected {
			continue
		}
		a.Vector[name] = openValue(name)
		a.Reasons = append(a.Reasons, verdict.Reason{
			Code: verdict.ReasonClaimNotAsserted, Detail: name.String() + " could not be established",
		})
	}
	if a.Freshness == "" {
		a.Freshness = verdict.FreshnessNotEstablished
	}
}

// openValue is the AR4SI warning value that says "not shown" for a claim.
func openValue(name verdict.ClaimName) verdict.Claim {
	switch name {
	case verdict.Executables:
		return verdict.ClaimUnrecognized
	case verdict.Configuration:
		return verdict.ClaimNoVisibility
	}
	return verdict.ClaimUnsafe
}
