// SPDX-License-Identifier: Apache-2.0

// Package nvidia is what the schemes for NVIDIA's GPUs and NVSwitches have in
// common: the SPDM 1.1 report, the device chain, the firmware id, the checks of
// signature, nonce and wrapper, the status of certificates, the comparison with
// manifests and other reference values, and the findings of these. It makes no
// scheme; a scheme describes its Kind of device and judges the Proof.
//
// Begin with New. ParseReport reads a report alone.
//
// A Kind holds in three places, so that a device of another kind gains nothing
// by any name that it is given: the architecture that the collector names, the
// chip in the common names and the prefix of the device's serial number in
// certificates that NVIDIA signed, and, in the scheme, the contents of the report.
package nvidia

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// MaxEvidence is the largest component, an array of one device, in bytes.
const MaxEvidence = 64 << 10

// Kind describes the devices of one scheme. It must not be changed.
type Kind struct {
	// Scheme is the scheme's slug, under which extra roots are looked up.
	Scheme string
	// Noun is the kind in messages, "GPU" for example.
	Noun string
	// DeviceType is the value of NVIDIA's claim x-nvidia-device-type.
	DeviceType string
	// Prefix begins NVIDIA's names of claims, "x-nvidia-gpu-" for example.
	Prefix string
	// Chips are the names of chips in the certificates, by architecture.
	Chips map[string]*regexp.Regexp
	// Prefixes are the first octets of the serial number of certificate 1, in
	// front of the PDI, by the engine in its common name.
	Prefixes map[string]byte
	// Policy is the appraisal policy that the scheme starts from, Parameters those
	// of its parameters that all kinds have.
	Policy     appraisal.Defaults
	Parameters func(*appraisal.Policy) Parameters
	// Manifests names the manifests of a device. Nothing of the Proof is proved then
	// but its form.
	Manifests func(*Proof) []string
	// Judge turns what was proved into an appraisal; nonce is the expected
	// one, nil if none was given.
	Judge func(p *Proof, nonce []byte) verdict.Appraisal
}

// Accepts are the media types of the kind's evidence: those of the containers,
// each refined by the architectures of the kind.
func (k *Kind) Accepts() []evidence.MediaType {
	var out []evidence.MediaType
	for _, base := range container.Types() {
		for _, arch := range slices.Sorted(maps.Keys(k.Chips)) {
			out = append(out, evidence.MediaType{Base: base}.With(container.ArchParam, arch))
		}
	}
	return out
}

// ReportClaim is the name of NVIDIA's claim about the report.
func (k *Kind) ReportClaim(name string) string { return k.Prefix + "attestation-report-" + name }

const (
	// tagCache bounds the manifests in XML that are remembered, about 30 KiB each,
	// corimCache those in the form of CoRIMs, listCache revocation lists and
	// responseCache OCSP responses.
	tagCache      = 256
	corimCache    = 64
	listCache     = 64
	responseCache = 8192
)

// Verifier appraises devices of one kind. It implements verifiers.Verifier,
// verifiers.Renewer and verifiers.Prover. Everything but the caches and the store's index is immutable.
type Verifier struct {
	// Trace is told of every finding, in tests; nil otherwise.
	Trace func(finding string)

	kind    *Kind
	anchors *anchors
	policy  *appraisal.Policy
	params  *Parameters
	store   *store
	// rims verifies manifests in XML below rimRoots, authority those that are
	// CoRIMs.
	rims      *rim.Verifier
	rimRoots  []*x509.Certificate
	authority *corim.Trust
	checker   *ocsp.Checker
	// What is verified is remembered by its bytes, and never what depends on time.
	tagCache   *lru.Cache[*checkedTag]
	corimCache *lru.Cache[*corim.Document]
	lists      *lru.Cache[*revokedList]
	// unsigned: where test roots are trusted, which results say and leads cap,
	// reference values that nobody has signed count too.
	unsigned bool
}

// New makes the verifier of a kind. An extra root that is not a CA certificate
// is verifiers.ErrMalfunction.
func New(kind *Kind, d verifiers.Deps) (*Verifier, error) {
	extra := d.ExtraRoots[kind.Scheme]
	v := &Verifier{
		kind: kind, store: newStore(d.Endorsements), unsigned: len(extra) > 0, checker: ocsp.NewChecker(responseCache),
		tagCache: lru.New[*checkedTag](tagCache), corimCache: lru.New[*corim.Document](corimCache), lists: lru.New[*revokedList](listCache),
	}
	var err error
	if v.anchors, err = newAnchors(kind, extra); err != nil {
		return nil, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
	}
	if v.policy, err = kind.Policy.Or(d.Policies[kind.Scheme]); err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	params := kind.Parameters(v.policy)
	v.params = &params
	if v.rims, err = rim.New(extra); err != nil {
		return nil, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
	}
	a, err := rim.Authority(extra)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
	}
	v.rimRoots = a.Roots
	if v.authority, err = corim.NewTrust([]corim.Authority{a}); err != nil {
		return nil, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
	}
	return v, nil
}

// Renew implements verifiers.Renewer: chains, manifests, revocation lists and
// responses that were verified stay so, because they rest on the roots alone.
func (v *Verifier) Renew(b *endorsements.Bundle) (verifiers.Verifier, error) {
	next := *v
	next.store = newStore(b)
	return &next, nil
}

func (v *Verifier) trace(finding string) {
	if v.Trace != nil {
		v.Trace(finding)
	}
}

// Appraise implements verifiers.Verifier. Input.Time must be set: the standard
// library takes a zero time for now, and a scheme has no clock.
func (v *Verifier) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	if in.Time.IsZero() {
		return verdict.Appraisal{}, fmt.Errorf("%w: nvidia: no verification time", verifiers.ErrMalfunction)
	}
	if len(in.Evidence) > MaxEvidence {
		f := failed(verdict.ReasonTooLarge, "nvidia: component of %d bytes, at most %d", len(in.Evidence), MaxEvidence)
		return v.refuse(f, stageNothing), nil
	}
	p, s, err := v.anchors.establish(in.Evidence, in.Time)
	if err != nil {
		var f *fault
		if !errors.As(err, &f) {
			return verdict.Appraisal{}, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
		}
		return v.refuse(f, s), nil
	}
	p.References, p.Time, p.verifier = in.References, in.Time, v
	a := v.kind.Judge(p, in.Nonce)
	a.PolicyID = v.policy.ID()
	return a, nil
}

// refuse is the appraisal of evidence of which nothing can be relied upon: no
// facts, no contents, no nonce.
func (v *Verifier) refuse(f *fault, s stage) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector: f.vector, Claims: v.kind.progress(s, f.code == verdict.ReasonExpired), Freshness: verdict.FreshnessNotEstablished,
		PolicyID: v.policy.ID(),
	}
	a.FailComparing(f.code, f.text, f.compared)
	return a
}
