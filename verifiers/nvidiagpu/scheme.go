// SPDX-License-Identifier: Apache-2.0

// Package nvidiagpu appraises NVIDIA GPUs in confidential-computing mode
// (Hopper and Blackwell) by their SPDM 1.1 measurement report and device
// certificate chain, without any service of NVIDIA.
//
// Begin with Scheme. One component is a JSON array of one device
//
//	[{"arch": "HOPPER", "nonce": "<64 hex digits>", "evidence": "<base64 report>",
//	  "certificate": "<base64 of five PEM certificates>"}]
//
// and Split makes such components of a longer array. ParseReport reads the
// report alone.
//
// What is proved: the report is signed by a key that NVIDIA's device identity
// root certified for one GPU, and it answers the challenge. What is not: that
// the GPU is not revoked, that its firmware is the one NVIDIA published, that
// it is attached to this machine. So the best status is a warning; see
// README.md.
package nvidiagpu

import (
	"context"
	"errors"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

const (
	// Name is the scheme's slug.
	Name = "nvidia-gpu"
	// Version is the SemVer of this implementation.
	Version = "0.1.0"
	// MediaType is the registered type of the evidence.
	MediaType = "application/vnd.veraison.nvidia-gpu-evidence+json"
	// MediaTypeAlias is the type of an earlier draft with the same content
	// (decision D-55).
	MediaTypeAlias = "application/vnd.veraison.nv-gpu-evidence+json"
	// MaxEvidence is the largest component, an array of one device, in bytes.
	MaxEvidence = 64 << 10
)

// Scheme describes the scheme nvidia-gpu.
func Scheme() verifiers.Scheme {
	return verifiers.Scheme{
		Name: Name, Class: verifiers.ClassDevice, Version: Version,
		Accepts:     []evidence.MediaType{{Base: MediaType}, {Base: MediaTypeAlias}},
		MaxEvidence: MaxEvidence,
		NonceSize:   NonceSize,
		Required:    []verdict.ClaimName{verdict.Hardware, verdict.Configuration, verdict.Executables},
		Split:       split,
		New:         newVerifier,
	}
}

// split makes one array of one device from each element, keeping the bytes of
// the element. It looks into none: one bad device must not hide the others.
func split(_ evidence.MediaType, raw []byte) ([][]byte, error) {
	if most := limits.Default().Leaf; len(raw) > most {
		return nil, fmt.Errorf("nvidiagpu: leaf of %d bytes, at most %d", len(raw), most)
	}
	all, err := elements(raw)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(all))
	for i, e := range all {
		one := make([]byte, 0, len(e)+2)
		one = append(one, '[')
		one = append(one, e...)
		out[i] = append(one, ']')
	}
	return out, nil
}

type verifier struct{ anchors *anchors }

func newVerifier(d verifiers.Deps) (verifiers.Verifier, error) {
	a, err := newAnchors(d.ExtraRoots[Name])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
	}
	return &verifier{anchors: a}, nil
}

// Appraise implements verifiers.Verifier. Input.Time must be set: the standard
// library takes a zero time for now, and a scheme has no clock.
func (v *verifier) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	if in.Time.IsZero() {
		return verdict.Appraisal{}, fmt.Errorf("%w: nvidiagpu: no verification time", verifiers.ErrMalfunction)
	}
	if len(in.Evidence) > MaxEvidence {
		f := failed(verdict.ReasonTooLarge, "nvidiagpu: component of %d bytes, at most %d", len(in.Evidence), MaxEvidence)
		return refuse(f, stageNothing), nil
	}
	p, s, err := v.anchors.establish(in.Evidence, in.Time)
	if err != nil {
		var f *fault
		if !errors.As(err, &f) {
			return verdict.Appraisal{}, fmt.Errorf("%w: %w", verifiers.ErrMalfunction, err)
		}
		return refuse(f, s), nil
	}
	return judge(p, in.Nonce), nil
}

// refuse is the appraisal of evidence of which nothing can be relied upon: no
// facts, no contents, no nonce.
func refuse(f *fault, s stage) verdict.Appraisal {
	a := verdict.Appraisal{Vector: f.vector, Claims: progress(s, f.code == verdict.ReasonExpired), Freshness: verdict.FreshnessNotEstablished}
	a.Fail(f.code, f.text)
	return a
}
