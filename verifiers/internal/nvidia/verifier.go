// SPDX-License-Identifier: Apache-2.0

// Package nvidia is what the schemes for NVIDIA's GPUs and NVSwitches have in
// common: the SPDM 1.1 report, the device chain, the firmware id, the checks of
// signature, nonce and wrapper. It makes no scheme; a scheme describes its Kind
// of device and judges the Proof.
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
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
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
	// Judge turns what was proved into an appraisal; nonce is the expected
	// one, nil if none was given.
	Judge func(p *Proof, nonce []byte) verdict.Appraisal
}

// Accepts are the media types of the kind's evidence: those of the container,
// each refined by the architectures of the kind.
func (k *Kind) Accepts() []evidence.MediaType {
	var out []evidence.MediaType
	for _, base := range []string{container.MediaType, container.MediaTypeAlias} {
		for _, arch := range slices.Sorted(maps.Keys(k.Chips)) {
			out = append(out, evidence.MediaType{Base: base}.With(container.ArchParam, arch))
		}
	}
	return out
}

// ReportClaim is the name of NVIDIA's claim about the report.
func (k *Kind) ReportClaim(name string) string { return k.Prefix + "attestation-report-" + name }

// Verifier appraises devices of one kind. It implements verifiers.Verifier.
type Verifier struct {
	kind    *Kind
	anchors *anchors
	// unsigned: where test roots are trusted, which results say and leads cap,
	// reference values that nobody has signed count too.
	unsigned bool
}

// New makes the verifier of a kind. An extra root that is not a CA certificate
// is verifiers.ErrMalfunction.
func New(kind *Kind, d verifiers.Deps) (*Verifier, error) {
	a, err := newAnchors(kind, d.ExtraRoots[kind.Scheme])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
	}
	return &Verifier{kind: kind, anchors: a, unsigned: len(d.ExtraRoots[kind.Scheme]) > 0}, nil
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
		return v.kind.refuse(f, stageNothing), nil
	}
	p, s, err := v.anchors.establish(in.Evidence, in.Time)
	if err != nil {
		var f *fault
		if !errors.As(err, &f) {
			return verdict.Appraisal{}, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
		}
		return v.kind.refuse(f, s), nil
	}
	p.References, p.Time, p.unsigned = in.References, in.Time, v.unsigned
	return v.kind.Judge(p, in.Nonce), nil
}

// refuse is the appraisal of evidence of which nothing can be relied upon: no
// facts, no contents, no nonce.
func (k *Kind) refuse(f *fault, s stage) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector: f.vector, Claims: k.progress(s, f.code == verdict.ReasonExpired), Freshness: verdict.FreshnessNotEstablished,
	}
	a.Fail(f.code, f.text)
	return a
}
