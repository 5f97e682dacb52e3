// SPDX-License-Identifier: Apache-2.0

// Package verifiers says what a component verifier is. A Scheme is one
// vendor's way of judging one kind of component; a Set is the explicit list of
// schemes that a process has; a Node signs what a scheme found. Begin with
// NewSet and NewNode. Who may ask a node is a Guard, and how a lead signs and
// seals what it asks is a Protection. Schemes are pure: bytes, expected nonce and time in,
// unsigned appraisal out; no network, no clock, no globals.
package verifiers

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// Class tells the lead what place a component has in a machine.
type Class string

// Classes. A CPU TEE is the root of trust of a composite.
const (
	ClassCPU    Class = verdict.ClassCPU
	ClassDevice Class = verdict.ClassDevice
)

// Scheme describes one vendor scheme. The description alone is what a lead
// needs to route and to split; New makes the part that verifies.
type Scheme struct {
	// Name is the slug of the scheme, [a-z0-9-]{1,32}.
	Name  string
	Class Class
	// Version is the SemVer of the implementation.
	Version string
	// Accepts are media type patterns; the most specific match wins.
	Accepts []evidence.MediaType
	// MaxEvidence is the largest component in bytes.
	MaxEvidence int
	// NonceSize is the length in bytes of the challenge that this evidence
	// carries under its signature.
	NonceSize int
	// Required are the claims without which nobody should call such a
	// component good. One left unasserted becomes a warning value.
	Required []verdict.ClaimName
	// Signed says that the component itself signs this evidence, as all device
	// schemes have it. A lead may be told to leave requests with such evidence
	// unsigned (SignWhenUnsigned); false is always safe.
	Signed bool
	// Split takes one leaf apart into its devices, each a leaf value of the
	// same media type. Nil: a leaf is one component. An error means that the
	// leaf is malformed.
	Split func(mt evidence.MediaType, raw []byte) ([][]byte, error)
	// Many reports the types whose leaves Split takes apart; a leaf of any other
	// is one component. Nil: all types.
	Many func(mt evidence.MediaType) bool
	// Takes says why nobody appraises one of the components that Split returned: a
	// device of a kind that proves nothing, for example. Nil, or a nil error: the
	// scheme does.
	Takes func(mt evidence.MediaType, part []byte) error
	// Policy is the appraisal policy that the scheme starts from: what each
	// finding costs, and its parameters. Nil for a scheme whose rules are fixed.
	Policy *appraisal.Defaults
	// Needs names collateral that would help to appraise a component, read from
	// bytes that nobody has verified yet; at most 8. Nil: none. A node that may
	// fetch asks its source for it before it appraises, and a Prover rather than this.
	Needs func(mt evidence.MediaType, raw []byte) []endorsements.Need
	// New makes the verifier.
	New func(Deps) (Verifier, error)
}

// Deps is the world as a scheme may see it. Nil fields mean "nothing given".
type Deps struct {
	Endorsements *endorsements.Bundle
	// ExtraRoots are added to the vendor's pinned roots, by scheme name; only
	// for simulated machines, and never by default.
	ExtraRoots map[string][]*x509.Certificate
	// Policies are edited appraisal policies by scheme name; a scheme without one
	// uses the defaults that it declares.
	Policies map[string]*appraisal.Policy
}

// Input is one component as a scheme sees it.
type Input struct {
	MediaType evidence.MediaType
	Evidence  []byte
	// Nonce is the challenge that must be found in the signed evidence; nil
	// when none was given (freshness is then not established).
	Nonce []byte
	// Time is the time at which certificates, collateral and reference values must
	// be valid.
	Time time.Time
	// References are the reference values of this appraisal, all of one revision;
	// nil if none were given. That there are none proves nothing.
	References *corim.Index
}

// Verifier appraises components of one scheme. It is safe for concurrent use.
//
// Bad evidence (wrong signature, wrong nonce, malformed bytes) is an appraisal
// with a bad tier and reasons. An error means "no verdict": the context ended,
// ErrUnavailable or ErrMalfunction.
type Verifier interface {
	Appraise(ctx context.Context, in Input) (verdict.Appraisal, error)
}

// ErrMalfunction says that the verifier itself is broken; the component gets
// no verdict.
var ErrMalfunction = errors.New("verifiers: malfunction")

// ErrUnavailable says that a service that the verifier asks does not answer now: the
// component gets no verdict, and another verifier, or this one later, may give one.
var ErrUnavailable = errors.New("verifiers: what the verifier asks does not answer")
