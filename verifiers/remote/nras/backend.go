// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Version is the SemVer of this implementation.
const Version = "0.1.0"

// Service is NVIDIA's service, or what stands in for it. It is safe for
// concurrent use. An error means that there is no answer, whatever the reason.
type Service interface {
	// Attest asks about one device and returns the reply, at most MaxReply bytes.
	Attest(ctx context.Context, r Request) ([]byte, error)
	// Key returns the key of the service with a key id, *ecdsa.PublicKey on P-384.
	Key(ctx context.Context, kid string) (trust.Key, error)
}

var _ Service = (*Client)(nil)

// Options configure a Backend. Both fields are mandatory.
type Options struct {
	Service Service
	// Issuer is what the claim iss of every token must be, letter by letter.
	Issuer string
}

// Backend is a native scheme with the service in its place: name, class, limits
// and splitting are those of the native one, and of its media types those in
// which the service's own clients collect. A scheme that the service does not appraise is an error.
// An edited policy is looked up under PolicyName.
func Backend(native verifiers.Scheme, o Options) (verifiers.Scheme, error) {
	k, err := kindOf(native.Name)
	if err != nil {
		return verifiers.Scheme{}, err
	}
	if o.Service == nil || o.Issuer == "" {
		return verifiers.Scheme{}, errors.New("nras: a backend wants a service and its issuer")
	}
	sc := native
	sc.Version = Version
	sc.Accepts = slices.DeleteFunc(slices.Clone(native.Accepts), func(mt evidence.MediaType) bool { return !askable(mt.Base) })
	sc.Required = []verdict.ClaimName{verdict.Hardware, verdict.Configuration, verdict.Executables}
	sc.Policy, sc.Needs = nil, nil // the policy has a name of its own; the service fetches for itself
	sc.New = func(d verifiers.Deps) (verifiers.Verifier, error) {
		p, err := k.policy().Or(d.Policies[PolicyName(k.scheme)])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
		}
		return &Verifier{kind: k, policy: p, max: native.MaxEvidence, o: o, roots: newRoots(d.ExtraRoots[k.scheme])}, nil
	}
	return sc, nil
}

// askable are the forms whose reports the service takes: SPDM 1.1, and not the
// transcripts of NVIDIA's newer SDK.
func askable(base string) bool { return container.Known(base) && base != container.ItemType }

// Verifier asks the service about one device at a time. It implements
// verifiers.Verifier.
type Verifier struct {
	kind   kind
	policy *appraisal.Policy
	max    int
	o      Options
	roots  roots
}

// Appraise implements verifiers.Verifier. Whatever keeps the service from
// answering for this device gives no verdict: verifiers.ErrUnavailable if it did not
// answer and may later, else verifiers.ErrMalfunction.
func (v *Verifier) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	if in.Time.IsZero() {
		return verdict.Appraisal{}, fmt.Errorf("%w: nras: no verification time", verifiers.ErrMalfunction)
	}
	d, err := v.read(in)
	if err != nil {
		var f *fault
		if !errors.As(err, &f) {
			return verdict.Appraisal{}, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
		}
		return v.refuse(f), nil
	}
	s, err := v.ask(ctx, in, d)
	switch {
	case errors.Is(err, ErrUnavailable) && !errors.Is(err, errRefused):
		return verdict.Appraisal{}, fmt.Errorf("%w: %w", verifiers.ErrUnavailable, err)
	case err != nil:
		return verdict.Appraisal{}, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
	}
	return v.judge(in, d, s), nil
}

// read takes the evidence apart. What is no good is not worth a request: the
// service allows only so many.
func (v *Verifier) read(in verifiers.Input) (*device, error) {
	if len(in.Evidence) > v.max {
		return nil, failed(verdict.ReasonTooLarge, "nras: component of %d bytes, at most %d", len(in.Evidence), v.max)
	}
	d, err := v.kind.readDevice(in.Evidence)
	if err != nil {
		return nil, err
	}
	if in.Nonce != nil && subtle.ConstantTimeCompare(in.Nonce, d.report.Nonce) != 1 {
		return nil, failed(verdict.ReasonNonceMismatch, "the report answers nonce %s, expected %s", short(d.report.Nonce), short(in.Nonce))
	}
	return d, nil
}

// refuse is the appraisal of evidence that was not sent: no facts, no contents.
func (v *Verifier) refuse(f *fault) verdict.Appraisal {
	a := verdict.Appraisal{Vector: f.vector, Freshness: verdict.FreshnessNotEstablished, PolicyID: v.policy.ID(), Claims: map[string]any{
		claimBackend: map[string]any{"name": Name, "issuer": v.o.Issuer, "asked": false},
	}}
	if f.code == verdict.ReasonNonceMismatch {
		a.Freshness = verdict.FreshnessMismatch
	}
	a.Fail(f.code, f.text)
	return a
}

// ask gets a reply about the device and checks that it is one.
func (v *Verifier) ask(ctx context.Context, in verifiers.Input, d *device) (*statement, error) {
	r, err := v.kind.request(d)
	if err != nil {
		return nil, err
	}
	raw, err := v.o.Service.Attest(ctx, r)
	if err != nil {
		return nil, err
	}
	e := expected{issuer: v.o.Issuer, name: v.kind.submod + "0", nonce: d.report.Nonce, time: in.Time}
	b, err := readBundle(raw, e.name)
	if err != nil {
		return nil, err
	}
	var missing error // why a key could not be had, of which the signature check cannot know
	s, err := b.verify(func(kid string) (trust.Key, bool) {
		key, err := v.o.Service.Key(ctx, kid)
		missing = errors.Join(missing, err)
		return key, err == nil
	}, e)
	if err != nil {
		return nil, errors.Join(err, missing)
	}
	return s, s.about(d)
}

// about holds the device in the token against the one in the evidence: a service
// that answers for another device has said nothing about this one. The token of
// a refused device need not name it.
func (s *statement) about(d *device) error {
	_, refused := s.device[claimDetails].(map[string]any)
	for _, c := range []struct {
		claim, want string
		must        bool
	}{{"ueid", d.ueid, true}, {"hwmodel", d.model, false}} {
		v, there := s.device[c.claim]
		if !there && (refused || !c.must) {
			continue
		}
		if v != c.want {
			return bad("it is about a device with %s %.64q, the certificates in the evidence say %.64q", c.claim, plain(v), c.want)
		}
	}
	return nil
}

const (
	// Name is what a result says about who appraised the device.
	Name         = "nvidia-nras"
	claimBackend = "backend"
)

// judge is the appraisal of what the service says about the device.
func (v *Verifier) judge(in verifiers.Input, d *device, s *statement) verdict.Appraisal {
	a := verdict.Appraisal{PolicyID: v.policy.ID(), Claims: contents(s.device), Freshness: verdict.FreshnessNotEstablished}
	a.Claims[claimBackend] = map[string]any{
		"name": Name, "issuer": v.o.Issuer, "kid": s.kid, "asked": true, "overall-result": s.overall, "claims-version": ClaimsVersion,
	}
	j := &judge{kind: v.kind, policy: v.policy, claims: s.device, a: &a}
	if !j.refused() {
		j.hardware()
		j.identity(v.kind.identify(d, v.roots, in.Time))
		j.firmware()
		j.state(d)
		j.freshness(in.Nonce, d)
		j.facts(d)
	}
	j.warning()
	if !s.overall {
		j.find(findNegative, "the overall result is negative")
	}
	return a
}
