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
// root certified for one GPU, and it answers the challenge; with OCSP responses,
// that the GPU is not revoked; and, with NVIDIA's manifests or the operator's
// reference values, that its firmware is the one they name. What is not: that it is
// attached to this machine, and what runs on it; see README.md.
package nvidiagpu

import (
	"regexp"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

const (
	// Name is the scheme's slug.
	Name = "nvidia-gpu"
	// Version is the SemVer of this implementation.
	Version = "0.2.0"
	// MediaType is the registered type of the evidence, which NVSwitches share;
	// the set of schemes tells them apart by the member "arch" (see
	// verifiers.Set.Route).
	MediaType = container.MediaType
	// MediaTypeAlias is the type of an earlier draft with the same content
	// (decision D-55).
	MediaTypeAlias = container.MediaTypeAlias
	// MaxEvidence is the largest component, an array of one device, in bytes.
	MaxEvidence = nvidia.MaxEvidence
	// MaxDevices is the largest number of devices in one leaf.
	MaxDevices = container.MaxDevices
	// MaxChain is the largest PEM certificate chain in bytes.
	MaxChain = container.MaxChain
	// MaxReport bounds request, response and padding of a report, in bytes.
	MaxReport = nvidia.MaxReport
	// MaxPadding is the number of zero bytes tolerated behind the signature.
	MaxPadding = nvidia.MaxPadding
	// NonceSize is the length of the requester's nonce in bytes.
	NonceSize = nvidia.NonceSize
	// SignatureSize is the length of a raw r||s ECDSA P-384 signature in bytes.
	SignatureSize = nvidia.SignatureSize
)

// Report is a parsed report. All byte slices point into the parsed input.
type Report = nvidia.Report

// Block is one measurement in DMTF format.
type Block = nvidia.Block

// Field is one element of the opaque data.
type Field = nvidia.Field

// ParseReport splits a report without verifying it; GPUs and NVSwitches have
// one layout. It accepts no byte that it cannot account for, but for up to
// MaxPadding zero bytes behind the signature.
func ParseReport(raw []byte) (*Report, error) { return nvidia.ParseReport(raw) }

// Scheme describes the scheme nvidia-gpu.
func Scheme() verifiers.Scheme {
	k := kind()
	policy := k.Policy
	return verifiers.Scheme{
		Name: Name, Class: verifiers.ClassDevice, Version: Version,
		Accepts: k.Accepts(),
		Signed:  true, MaxEvidence: MaxEvidence,
		NonceSize: NonceSize,
		Required:  []verdict.ClaimName{verdict.Hardware, verdict.Configuration, verdict.Executables},
		Split:     func(mt evidence.MediaType, raw []byte) ([][]byte, error) { return container.Split(mt.Base, raw) },
		Policy:    &policy,
		Needs:     func(_ evidence.MediaType, raw []byte) []endorsements.Need { return k.Needs(raw) },
		New:       func(d verifiers.Deps) (verifiers.Verifier, error) { return nvidia.New(k, d) },
	}
}

// archHopper is the architecture whose rules differ in places.
const archHopper = "HOPPER"

// chips are the names of chips in the certificates, by architecture.
func chips() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{archHopper: regexp.MustCompile(`^GH1[0-9]{2}$`), "BLACKWELL": regexp.MustCompile(`^GB1[0-9]{2}$`)}
}

// kind describes GPUs: NVIDIA names one device CA, and the chips of
// certificates 0..2 must agree. Newer Blackwell firmware signs with the FSP.
func kind() *nvidia.Kind {
	return &nvidia.Kind{
		Scheme: Name, Noun: "GPU", DeviceType: "gpu", Prefix: gpuClaim,
		Chips:    chips(),
		Prefixes: map[string]byte{"GSP": 0x41, "FSP": 0x40},
		Policy:   defaults(),
		Parameters: func(p *appraisal.Policy) nvidia.Parameters {
			return appraisal.Parameters[Parameters](p).Parameters
		},
		Manifests: manifests,
		Judge:     judge,
	}
}
