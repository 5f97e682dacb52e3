// SPDX-License-Identifier: Apache-2.0

// Package nvidianvswitch appraises NVIDIA NVSwitches (LS10, the switches of
// Hopper boards) by their SPDM 1.1 measurement report and device certificate
// chain, without any service of NVIDIA.
//
// Begin with Scheme. One component is a JSON array of one device
//
//	[{"arch": "LS10", "nonce": "<64 hex digits>", "evidence": "<base64 report>",
//	  "certificate": "<base64 of five PEM certificates>"}]
//
// in the container that GPUs use too; the set of schemes tells them apart by the
// member "arch" (see verifiers.Set.Route), and a switch under the name of a GPU,
// or the other way round, is refused by both schemes.
//
// What is proved: the report is signed by a key that NVIDIA's device identity
// root certified for one switch, it names that switch, and it answers the
// challenge; with OCSP responses, that the switch is not revoked; and, with NVIDIA's
// manifest or the operator's reference values, that its firmware is the one they
// name. What is not: that the GPUs that it names are those of this machine; see
// README.md.
package nvidianvswitch

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
	Name = "nvidia-nvswitch"
	// Version is the SemVer of this implementation.
	Version = "0.2.0"
	// MediaType is the registered type of the evidence, shared with GPUs.
	MediaType = container.MediaType
	// MediaTypeAlias is the type of an earlier draft with the same content
	// (decision D-55).
	MediaTypeAlias = container.MediaTypeAlias
	// MaxEvidence is the largest component, an array of one device, in bytes.
	MaxEvidence = nvidia.MaxEvidence
	// NonceSize is the length of the requester's nonce in bytes.
	NonceSize = nvidia.NonceSize
)

// Scheme describes the scheme nvidia-nvswitch.
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

// chips are the names of chips in the certificates, by architecture.
func chips() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{"LS10": regexp.MustCompile(`^LS_10$`)}
}

// kind describes switches. Their family CA is the one of Hopper GPUs, so only
// the names of certificates 0..2 and the prefix of the serial number, 0x50, tell
// a switch from a GPU.
func kind() *nvidia.Kind {
	return &nvidia.Kind{
		Scheme: Name, Noun: "NVSwitch", DeviceType: "nvswitch", Prefix: switchClaim,
		Chips:    chips(),
		Prefixes: map[string]byte{"FSP": 0x50},
		Policy:   defaults(),
		Parameters: func(p *appraisal.Policy) nvidia.Parameters {
			return appraisal.Parameters[Parameters](p).Parameters
		},
		Manifests: manifests,
		Judge:     judge,
	}
}
