// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/measuredboot"
)

// Names of findings.
const (
	findNoKey            = "no-endorsement-key"
	findGenuine          = "genuine"
	findUnknownProduct   = "unknown-product"
	findProduct          = "product-not-allowed"
	findRevoked          = "revoked"
	findListIgnored      = "revocation-list-ignored"
	findListMissing      = "revocation-unknown"
	findProvider         = "provider-not-allowed"
	findVLEK             = "signed-by-vlek"
	findChip             = "chip-identified"
	findMasked           = "chip-masked"
	findTCBGood          = "tcb-recommended"
	findTCBOld           = "tcb-below-recommended"
	findTCBFloor         = "tcb-below-floor"
	findTCBUnknown       = "tcb-without-recommendation"
	findTCBInconsistent  = "tcb-inconsistent"
	findProvisional      = "firmware-provisional"
	findMitigation       = "mitigation-missing"
	findEncrypted        = "memory-encrypted"
	findPolicyGood       = "policy-accepted"
	findDebug            = "debug"
	findPolicyReserved   = "policy-reserved-bits"
	findMigration        = "policy-migration-agent"
	findPolicySMT        = "policy-smt"
	findPolicyCXL        = "policy-cxl"
	findPolicySocket     = "policy-multiple-sockets"
	findPolicyAES        = "policy-aes-128"
	findPolicyRAPL       = "policy-rapl"
	findPolicyCiphertext = "policy-ciphertext-hiding"
	findPolicySwap       = "policy-page-swap"
	findPolicyABI        = "policy-abi"
	findPlatformSMT      = "platform-smt"
	findPlatformTSME     = "platform-tsme"
	findPlatformECC      = "platform-ecc"
	findPlatformRAPL     = "platform-rapl"
	findPlatformCipher   = "platform-ciphertext-hiding"
	findPlatformAlias    = "platform-alias-check"
	findVMPL             = "vmpl-unexpected"
	findIDBlock          = "id-block-missing"
	findIDKey            = "id-key-unknown"
	findAuthorKey        = "author-key-unknown"
	findGuestSVN         = "guest-svn-low"
	findMatch            = "executables-match"
	findUnproven         = "executables-unproven"
	findMismatch         = "executables-mismatch"
	findTCBReference     = "tcb-below-reference"
	findHardwareMismatch = "hardware-reference-mismatch"
	findHardwareUnproven = "hardware-reference-unproven"
	findConfigMismatch   = "configuration-reference-mismatch"
	findConfigUnproven   = "configuration-unproven"
)

// policyDefaults is the policy that this build starts from.
func policyDefaults() appraisal.Defaults {
	var f []appraisal.Finding
	f = append(f, keyFindings()...)
	f = append(f, firmwareFindings()...)
	f = append(f, guestPolicyFindings()...)
	f = append(f, platformFindings()...)
	f = append(f, launchFindings()...)
	f = append(f, referenceFindings()...)
	f = append(f, measuredboot.Findings(vtpmPrefix)...)
	return appraisal.Defaults{Scheme: Name, Findings: f, Parameters: defaultParameters()}
}

type (
	row    = appraisal.Finding
	effect = appraisal.Effect
)

const (
	good    = verdict.ClaimApproved
	warn    = verdict.ClaimUnsafe
	bad     = verdict.ClaimContraindicate
	unknown = verdict.ClaimUnknownDevice
)

func keyFindings() []row {
	return []row{
		{
			Name: findNoKey, Code: verdict.ReasonNoCollateral, Effect: effect{verdict.Hardware: unknown}, Floor: effect{verdict.Hardware: unknown},
			Text: "Nobody has the certificate of the key that should have signed, so nothing in the report is proven.",
		},
		{Name: findGenuine, Effect: effect{verdict.Hardware: good}, Text: "AMD's root key certifies the key that has signed this report."},
		{
			Name: findUnknownProduct, Code: verdict.ReasonUnsupported, Effect: effect{verdict.Hardware: unknown}, Floor: effect{verdict.Hardware: warn},
			Text: "CPUID in the report is of no product that is known, though its key is certified.",
		},
		{
			Name: findProduct, Code: verdict.ReasonPolicy, Effect: effect{verdict.Hardware: unknown}, Floor: effect{verdict.Hardware: warn},
			Text: "The product line is none of the parameter products.",
		},
		{
			Name: findRevoked, Code: verdict.ReasonRevoked, Effect: effect{verdict.Hardware: bad}, Floor: effect{verdict.Hardware: bad},
			Text: "The endorsement key or its issuer is revoked.",
		},
		{Name: findListIgnored, Code: verdict.ReasonCollateralInvalid, Effect: effect{}, Text: "A revocation list was given and does not hold."},
		{
			Name: findListMissing, Code: verdict.ReasonRevocationUnknown, Effect: effect{verdict.Hardware: warn},
			Text: "No valid revocation list was given, and the parameter revocation is required.",
		},
		{
			Name: findProvider, Code: verdict.ReasonIdentityMismatch, Effect: effect{verdict.Hardware: unknown}, Floor: effect{verdict.Hardware: warn},
			Text: "The key is loaded by a cloud provider that the parameter csp_ids does not name.",
		},
		{Name: findVLEK, Effect: effect{}, Text: "A key of a cloud provider has signed (VLEK), which all of its chips share: no chip is identified."},
		{Name: findChip, Effect: effect{verdict.InstanceIdentity: good}, Text: "The report names the chip for which its key is certified."},
		{Name: findMasked, Effect: effect{}, Text: "The host hides CHIP_ID, so no chip is identified."},
	}
}

func firmwareFindings() []row {
	return []row{
		{Name: findTCBGood, Effect: effect{verdict.Hardware: good}, Text: "Every TCB that is compared is at least the recommended one."},
		{
			Name: findTCBOld, Code: verdict.ReasonTCBOutOfDate, Effect: effect{verdict.Hardware: warn},
			Text: "A TCB is below the recommended one.",
		},
		{
			Name: findTCBFloor, Code: verdict.ReasonTCBOutOfDate, Effect: effect{verdict.Hardware: bad}, Floor: effect{verdict.Hardware: warn},
			Text: "A TCB is below the lowest that is tolerated.",
		},
		{
			Name: findTCBUnknown, Code: verdict.ReasonNoCollateral, Effect: effect{verdict.Hardware: warn}, Floor: effect{verdict.Hardware: warn},
			Text: "There is no recommended TCB for this product, so nothing says whether it is up to date.",
		},
		{
			Name: findTCBInconsistent, Code: verdict.ReasonTCBNotSupported, Effect: effect{verdict.Hardware: bad}, Floor: effect{verdict.Hardware: warn},
			Text: "A TCB is above the current one, which firmware that works does not report.",
		},
		{
			Name: findProvisional, Code: verdict.ReasonTCBConfiguration, Effect: effect{verdict.Hardware: warn},
			Text: "The firmware that runs is provisional: the host has not committed it and can go back.",
		},
		{
			Name: findMitigation, Code: verdict.ReasonTCBHardening, Effect: effect{verdict.Hardware: warn},
			Text: "A mitigation that the parameter mitigations demands is not in effect.",
		},
	}
}

// configuration is a row that costs the configuration its affirmation.
func configuration(name string, c verdict.Claim, text string) row {
	return row{Name: name, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: c}, Text: text}
}

func guestPolicyFindings() []row {
	debug := effect{verdict.Configuration: bad, verdict.RuntimeOpaque: bad}
	return []row{
		{Name: findEncrypted, Effect: effect{verdict.RuntimeOpaque: good}, Text: "The guest's memory is encrypted and its integrity is kept."},
		{Name: findPolicyGood, Effect: effect{verdict.Configuration: good}, Text: "Guest policy and platform are looked at by the other rows."},
		{
			Name: findDebug, Code: verdict.ReasonDebug, Effect: debug, Floor: debug,
			Text: "The guest policy lets the host read and write the guest's memory.",
		},
		{
			Name: findPolicyReserved, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: bad}, Floor: effect{verdict.Configuration: warn},
			Text: "Bit 17 of the guest policy is clear, or a bit is set that nobody knows.",
		},
		configuration(findMigration, warn, "The guest policy allows a migration agent to take the guest to another platform."),
		configuration(findPolicySMT, warn, "The guest policy allows SMT, and the parameters do not."),
		configuration(findPolicyCXL, warn, "The guest policy allows CXL memory and devices, and the parameters do not."),
		configuration(findPolicySocket, warn, "The guest policy does not demand a single socket, and the parameters do."),
		configuration(findPolicyAES, warn, "The guest policy does not demand AES-256-XTS, and the parameters do."),
		configuration(findPolicyRAPL, warn, "The guest policy does not demand that RAPL is off, and the parameters do."),
		configuration(findPolicyCiphertext, warn, "The guest policy does not demand ciphertext hiding, and the parameters do."),
		configuration(findPolicySwap, warn, "The guest policy does not turn page swapping by the host off, and the parameters demand it."),
		configuration(findPolicyABI, warn, "The guest policy accepts an older ABI of the firmware than the parameters do."),
	}
}

func platformFindings() []row {
	return []row{
		configuration(findPlatformSMT, warn, "SMT is on, and the parameters forbid it."),
		configuration(findPlatformTSME, warn, "The platform's memory is not encrypted as a whole (TSME), and the parameters demand it."),
		configuration(findPlatformECC, warn, "The platform's memory has no ECC, and the parameters demand it."),
		configuration(findPlatformRAPL, warn, "RAPL is on, and the parameters forbid it."),
		configuration(findPlatformCipher, warn, "Ciphertext hiding is off, and the parameters demand it."),
		configuration(findPlatformAlias, warn, "The platform does not say that memory was searched for aliases (AMD-SB-3015), and the parameters demand it."),
	}
}

func launchFindings() []row {
	return []row{
		{
			Name: findVMPL, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: bad, verdict.InstanceIdentity: unknown},
			Text: "The report was asked for at another privilege level (VMPL) than expected.",
		},
		configuration(findIDBlock, bad, "The guest was launched without an identity block, and the parameters demand one."),
		configuration(findIDKey, bad, "The key of the identity block is none of the parameter id_keys."),
		configuration(findAuthorKey, bad, "The author key of the identity block is none of the parameter author_keys."),
		{
			Name: findGuestSVN, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Executables: bad},
			Text: "GUEST_SVN is below the parameter minimum_guest_svn.",
		},
	}
}

func referenceFindings() []row {
	return []row{
		{Name: findMatch, Effect: effect{verdict.Executables: verdict.ClaimApprovedBoot}, Text: "A reference value proves what was launched."},
		{
			Name: findUnproven, Code: verdict.ReasonNoReferenceValues, Effect: effect{verdict.Executables: verdict.ClaimUnrecognized}, Floor: effect{verdict.Executables: warn},
			Text: "No reference value proves what was launched.",
		},
		{
			Name: findMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Executables: bad}, Floor: effect{verdict.Executables: warn},
			Text: "There are reference values for what was launched, and it is none of them.",
		},
		{
			Name: findTCBReference, Code: verdict.ReasonTCBOutOfDate, Effect: effect{verdict.Hardware: warn}, Floor: effect{verdict.Hardware: warn},
			Text: "A TCB is not as a reference value demands.",
		},
		{
			Name: findHardwareMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Hardware: unknown}, Floor: effect{verdict.Hardware: warn},
			Text: "A reference value for chip or firmware differs.",
		},
		{
			Name: findHardwareUnproven, Code: verdict.ReasonPartialReference, Effect: effect{verdict.Hardware: warn},
			Text: "A reference value for chip or firmware matches, and what belongs to it does not.",
		},
		{
			Name: findConfigMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Configuration: bad}, Floor: effect{verdict.Configuration: warn},
			Text: "A reference value for guest policy, platform, identity block or HOST_DATA differs.",
		},
		{
			Name: findConfigUnproven, Code: verdict.ReasonNoReferenceValues, Effect: effect{verdict.Configuration: verdict.ClaimNoVisibility},
			Text: "HOST_DATA is set and no reference value says what it may be, or what belongs to such a value differs.",
		},
	}
}
