// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// Names of findings. The letters are the checks of README.md.
const (
	findMalformed     = "evidence-malformed"       // A1, A2, A6
	findUnsupported   = "evidence-unsupported"     // A4
	findVersion       = "version-below-floor"      // A2
	findDowngrade     = "downgrade"                // A3
	findAlgorithm     = "algorithm-not-allowed"    // A4
	findUnsigned      = "measurements-unsigned"    // A5
	findNothingSigned = "nothing-signed"           // A5
	findRootHash      = "root-hash-mismatch"       // B1
	findUnknownAnchor = "unknown-anchor"           // B2
	findChain         = "chain-invalid"            // B2
	findExpired       = "expired"                  // B2
	findRevoked       = "revoked"                  // B2
	findListIgnored   = "revocation-list-ignored"  // B2
	findListMissing   = "revocation-unknown"       // B2
	findLeaf          = "leaf-not-acceptable"      // B3
	findSlot          = "slot-mismatch"            // B4
	findSlotAllowed   = "slot-not-allowed"         // B4
	findNonce         = "nonce-mismatch"           // B5
	findSignature     = "signature-invalid"        // B6, B7
	findContradiction = "parts-contradict"         // B7
	findOldChallenge  = "challenge-not-fresh"      // B7
	findSummary       = "summary-mismatch"         // B7
	findName          = "name-mismatch"            // B8
	findManufacturer  = "manufacturer-not-allowed" // B8
	findListed        = "device-listed"            // B8
	findNotListed     = "device-not-listed"        // B8
	findCMA           = "cma-name-not-expected"    // B8
	findRestated      = "restated-claims-differ"   // B9
	findGenuine       = "genuine"
	findIdentified    = "identified"

	findMissing         = "measurement-missing"             // C1
	findMatch           = "executables-match"               // C2
	findUnproven        = "executables-unproven"            // C2
	findFirmware        = "firmware-mismatch"               // C2
	findFirmwareDenied  = "firmware-denied"                 // C2
	findHardware        = "hardware-configuration-mismatch" // C3
	findHardwareDenied  = "hardware-configuration-denied"   // C3
	findConfig          = "firmware-configuration-mismatch" // C4
	findConfigDenied    = "firmware-configuration-denied"   // C4
	findConfigUnproven  = "configuration-unproven"          // C4
	findConfigKnown     = "configuration-known"             // C4
	findSVNReference    = "svn-below-reference"             // C5
	findSVNFloor        = "svn-below-floor"                 // C5
	findFirmwareVersion = "firmware-version-not-allowed"    // C5
	findDebug           = "debug-active"                    // C6
	findDebugWas        = "debug-was-active"                // C6
	findMode            = "not-normal-state"                // C6
	findModeUnknown     = "device-mode-unknown"             // C6
	findUnreferenced    = "measurement-unreferenced"        // C7
	findOther           = "information-mismatch"            // C7
	findChanged         = "content-changed"                 // C8

	findReport           = "report-malformed"             // D1
	findReportMissing    = "report-missing"               // D1
	findUnauthenticated  = "report-unauthenticated"       // D2
	findReportDigest     = "report-digest-mismatch"       // D2
	findObjects          = "objects-mismatch"             // D3
	findTSM              = "tsm-information-unreadable"   // D3
	findTSMContradiction = "tsm-contradiction"            // D3
	findTSMOld           = "tsm-not-fresh"                // D3
	findNotLocked        = "interface-not-locked"         // D4
	findStateUnknown     = "interface-state-unknown"      // D4
	findFirmwareUpdate   = "firmware-update-allowed"      // D5
	findNonTEE           = "non-tee-memory"               // D6
	findTEERequired      = "tee-memory-required"          // D6
	findUpdatable        = "updatable-memory"             // D7
	findBits             = "interface-bits-unexpected"    // D8
	findATS              = "ats-forbidden"                // D8
	findMSIX             = "msix-not-locked"              // D9
	findRanges           = "ranges-invalid"               // D10
	findSpecific         = "device-specific-not-expected" // D11
	findInterface        = "interface-reference-mismatch"
	findProtected        = "interface-protected"
)

// policyDefaults is the policy that this build starts from.
func policyDefaults() appraisal.Defaults {
	return appraisal.Defaults{
		Scheme:     Name,
		Findings:   slices.Concat(formFindings(), chainFindings(), identityFindings(), measurementFindings(), stateFindings(), interfaceFindings()),
		Parameters: defaultParameters(),
	}
}

type (
	row    = appraisal.Finding
	effect = appraisal.Effect
)

const (
	good       = verdict.ClaimApproved
	boot       = verdict.ClaimApprovedBoot
	warn       = verdict.ClaimUnsafe
	unknown    = verdict.ClaimUnrecognized
	unseen     = verdict.ClaimNoVisibility
	bad        = verdict.ClaimContraindicate
	unknownDev = verdict.ClaimUnknownDevice
	failed     = verdict.ClaimCryptoFailed
)

const (
	hardware    = verdict.Hardware
	identity    = verdict.InstanceIdentity
	executables = verdict.Executables
	config      = verdict.Configuration
	opaque      = verdict.RuntimeOpaque
)

// all is failed cryptography: AR4SI asks for 99 in every claim.
func all() effect {
	e := effect{}
	for _, n := range verdict.ClaimNames() {
		e[n] = failed
	}
	return e
}

// fatal is a finding that nobody can excuse, about evidence of which nothing is
// used.
func fatal(name, code, text string) row {
	return row{Name: name, Code: code, Effect: all(), Floor: all(), Text: text}
}

func formFindings() []row {
	return []row{
		fatal(findMalformed, verdict.ReasonMalformed, "Container, negotiation or a message does not have its form, or has bytes that belong to nothing."),
		{
			Name: findUnsupported, Code: verdict.ReasonUnsupported, Effect: effect{hardware: unknownDev}, Floor: effect{hardware: unknownDev},
			Text: "Well formed, with an algorithm, a key or a container that this build cannot check: nothing is proven.",
		},
		{
			Name: findVersion, Code: verdict.ReasonPolicy, Effect: effect{config: bad},
			Text: "The negotiated SPDM version is below the parameter minimum_version. Before 1.2 the measurement signature does not cover the negotiation.",
		},
		{
			Name: findDowngrade, Code: verdict.ReasonConfiguration, Effect: effect{config: warn},
			Text: "The device offers a higher version, up to the parameter maximum_version, than was negotiated.",
		},
		{
			Name: findAlgorithm, Code: verdict.ReasonPolicy, Effect: effect{config: bad},
			Text: "A negotiated algorithm is none of the parameters base_asym, base_hash and measurement_hash.",
		},
		{
			Name: findUnsigned, Code: verdict.ReasonClaimNotAsserted, Effect: effect{executables: unknown, config: unseen}, Floor: effect{executables: warn, config: warn},
			Text: "The device does not sign measurements, or these are not signed: only its identity is proven, by the challenge.",
		},
		{
			Name: findNothingSigned, Code: verdict.ReasonClaimNotAsserted, Effect: effect{identity: unknownDev, hardware: unknownDev}, Floor: effect{hardware: unknownDev},
			Text: "There is neither a signed measurement nor a challenge, so anybody could have written this.",
		},
	}
}

func chainFindings() []row {
	who := func(c verdict.Claim) effect { return effect{identity: c, hardware: c} }
	return []row{
		fatal(findRootHash, verdict.ReasonChainInvalid, "The root hash in the chain structure is not that of the trust anchor."),
		{
			Name: findUnknownAnchor, Code: verdict.ReasonUnknownRoot, Effect: who(unknownDev), Floor: who(unknownDev),
			Text: "The chain does not lead to a trust anchor (see anchors), so nothing in the evidence is proven.",
		},
		fatal(findChain, verdict.ReasonChainInvalid, "A certificate of the chain is not signed by the one before it, or breaks a rule."),
		fatal(findExpired, verdict.ReasonExpired, "A certificate of the chain is not valid at this time."),
		{Name: findRevoked, Code: verdict.ReasonRevoked, Effect: who(bad), Floor: who(bad), Text: "A certificate of the chain is revoked."},
		{Name: findListIgnored, Code: verdict.ReasonCollateralInvalid, Effect: effect{}, Text: "A revocation list that names an issuer of the chain does not hold."},
		{
			Name: findListMissing, Code: verdict.ReasonRevocationUnknown, Effect: effect{hardware: warn},
			Text: "An issuer of the chain has no valid revocation list, and the parameter revocation is required.",
		},
		{
			Name: findLeaf, Code: verdict.ReasonChainInvalid, Effect: effect{identity: failed}, Floor: effect{identity: failed},
			Text: "The leaf is not one that may sign as this responder: version, key, usages, basic constraints, hardware identity in an alias model.",
		},
		{
			Name: findSlot, Code: verdict.ReasonIdentityMismatch, Effect: effect{identity: unknownDev}, Floor: effect{identity: unknownDev},
			Text: "Request, response, chain, challenge or the usage of the key disagree about the certificate slot.",
		},
		{
			Name: findSlotAllowed, Code: verdict.ReasonUnknownRoot, Effect: who(unknownDev), Floor: who(unknownDev),
			Text: "The chain leads to a trust anchor that may not vouch for this slot.",
		},
		fatal(findNonce, verdict.ReasonNonceMismatch, "The signed requester nonce is not the expected one, or the requester's context is not echoed: a replay."),
		fatal(findSignature, verdict.ReasonSignatureInvalid, "A signature of the device does not cover the rebuilt transcript."),
		fatal(findContradiction, verdict.ReasonMalformed, "Parts that must agree do not: digests and chains, what the challenge read and the chains, two values of one index, extension log and block."),
		{
			Name: findOldChallenge, Code: verdict.ReasonNonceNotEstablished, Effect: effect{identity: warn},
			Text: "The challenge answers another nonce than the measurements: it is from another time.",
		},
		{
			Name: findSummary, Code: verdict.ReasonMeasurementMismatch, Effect: effect{executables: unknown}, Floor: effect{executables: warn},
			Text: "The summary hash of the challenge is not that of the signed measurements.",
		},
	}
}

func identityFindings() []row {
	return []row{
		{Name: findGenuine, Effect: effect{hardware: good}, Text: "A trusted root certifies the key that has signed this."},
		{Name: findIdentified, Effect: effect{identity: good}, Text: "The certificate of the key names the device."},
		{
			Name: findName, Code: verdict.ReasonIdentityMismatch, Effect: effect{identity: unknownDev}, Floor: effect{identity: unknownDev},
			Text: "The container calls the device by a name that its certificate does not have.",
		},
		{
			Name: findManufacturer, Code: verdict.ReasonIdentityMismatch, Effect: effect{identity: unknownDev, hardware: unknownDev}, Floor: effect{identity: unknownDev, hardware: unknownDev},
			Text: "The root may not vouch for devices of this manufacturer (see anchors).",
		},
		{Name: findListed, Effect: effect{identity: good}, Text: "The device is in the parameter devices."},
		{
			Name: findNotListed, Code: verdict.ReasonIdentityMismatch, Effect: effect{identity: unknownDev}, Floor: effect{identity: warn},
			Text: "The parameter devices lists devices, and this one is not among them.",
		},
		{
			Name: findCMA, Code: verdict.ReasonIdentityMismatch, Effect: effect{identity: unknownDev}, Floor: effect{identity: warn},
			Text: "The PCIe name in the certificate begins like none of the parameter cma.",
		},
		fatal(findRestated, verdict.ReasonMalformed, "What the token says beside the signed transcript is not what the transcript says."),
	}
}
