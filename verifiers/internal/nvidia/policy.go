// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// Names of the findings that both schemes have.
const (
	findGenuine             = "genuine"
	findRevoked             = "revoked"
	findHold                = "certificate-hold"
	findHoldTolerated       = "certificate-hold-tolerated"
	findRevocationUnknown   = "revocation-unknown"
	findRevocationNotNeeded = "revocation-not-required"
	findListIgnored         = "revocation-list-ignored"
	findResponsesUnusable   = "ocsp-responses-unusable"
	findResponseUnreadable  = "ocsp-response-unreadable"
	findFWIDAbsent          = "fwid-absent"
	findFWIDMismatch        = "fwid-mismatch"
	findForeign             = "contents-of-another-device"
	findDeviceListed        = "device-listed"
	findDeviceNotListed     = "device-not-listed"
	findMatch               = "executables-match"
	findUnproven            = "executables-unproven"
	findManifestMissing     = "manifest-missing"
	findManifestInvalid     = "manifest-invalid"
	findManifestExpired     = "manifest-expired"
	findExpiryTolerated     = "manifest-expiry-tolerated"
	findManifestRevoked     = "manifest-revoked"
	findManifestHold        = "manifest-hold"
	findManifestHoldTol     = "manifest-hold-tolerated"
	findManifestUnknown     = "manifest-revocation-unknown"
	findConflict            = "manifest-index-conflict"
	findMismatch            = "measurement-mismatch"
	findMismatchTolerated   = "measurement-mismatch-tolerated"
	findVintage             = "manifest-vintage"
	findUnreferenced        = "measurement-unreferenced"
	findConfiguration       = "configuration-known"
	findApproved            = "configuration-approved"
	findConfigUnproven      = "configuration-unproven"
	findConfigForeign       = "configuration-of-unknown-firmware"
	findFirmwareState       = "firmware-state"
	findDebug               = "firmware-debug"
	findOpaqueVersion       = "opaque-version-unsupported"
	findOpaqueUnreadable    = "opaque-data-unreadable"
	findVBIOSOld            = "vbios-below-minimum"
	findVBIOSBad            = "vbios-known-bad"
	findVBIOSNotAllowed     = "vbios-not-allowed"
)

type (
	row    = appraisal.Finding
	effect = appraisal.Effect
)

const (
	good       = verdict.ClaimApproved
	boot       = verdict.ClaimApprovedBoot // 3: in configuration no known vulnerabilities
	warn       = verdict.ClaimUnsafe
	unknown    = verdict.ClaimUnrecognized
	unseen     = verdict.ClaimNoVisibility
	bad        = verdict.ClaimContraindicate
	unknownDev = verdict.ClaimUnknownDevice
)

// DriverFindings are the rows of devices that have a manifest of a driver and one of
// a VBIOS.
func DriverFindings() []appraisal.Finding {
	executables := func(c verdict.Claim) effect { return effect{verdict.Executables: c} }
	return []row{
		{
			Name: findConflict, Code: verdict.ReasonReferenceConflict, Effect: executables(bad), Floor: executables(bad),
			Text: "Two manifests of one device speak of the same index.",
		},
		{
			Name: findVintage, Code: verdict.ReasonMeasurementMismatch, Effect: executables(bad), Floor: executables(warn),
			Text: "Only index 9 of the VBIOS differs, for which NVIDIA has signed several values over the years: probably the manifest is an issue of the wrong age.",
		},
	}
}

// Findings are the rows that both schemes have.
func Findings() []appraisal.Finding {
	var out []row
	out = append(out, chainFindings()...)
	out = append(out, identityFindings()...)
	out = append(out, manifestFindings()...)
	out = append(out, measurementFindings()...)
	return append(out, configurationFindings()...)
}

func chainFindings() []row {
	hardware := func(c verdict.Claim) effect { return effect{verdict.Hardware: c} }
	return []row{
		{Name: findGenuine, Effect: hardware(good), Text: "NVIDIA's root certifies the key that has signed this report."},
		{Name: findRevoked, Code: verdict.ReasonRevoked, Effect: hardware(bad), Floor: hardware(bad), Text: "A certificate of the device chain is revoked."},
		{
			Name: findHold, Code: verdict.ReasonRevoked, Effect: hardware(bad), Floor: hardware(warn),
			Text: "A certificate of the device chain is on hold, and hold_allowed does not name its position.",
		},
		{
			Name: findHoldTolerated, Code: verdict.ReasonRevoked, Effect: hardware(warn), Floor: hardware(warn),
			Text: "A certificate of the device chain is on hold at a position that hold_allowed names.",
		},
		{
			Name: findRevocationUnknown, Code: verdict.ReasonNoCollateral, Effect: hardware(warn),
			Text: "A certificate of the device chain has no OCSP response that counts, and the parameter revocation is required.",
		},
		{Name: findRevocationNotNeeded, Effect: effect{}, Text: "A certificate of the device chain has no OCSP response that counts, and the parameter revocation is optional."},
		{Name: findListIgnored, Code: verdict.ReasonCollateralInvalid, Effect: effect{}, Text: "A revocation list that names an issuer of the chain does not hold."},
		{Name: findResponseUnreadable, Code: verdict.ReasonCollateralInvalid, Effect: effect{}, Text: "An OCSP response among the collateral cannot be read, so it might be one that says revoked; of which certificate is not known."},
		{
			Name: findResponsesUnusable, Code: verdict.ReasonCollateralInvalid, Effect: hardware(warn), Floor: hardware(warn),
			Text: "There are more OCSP responses than are looked at, so that a revocation might be among those left out.",
		},
	}
}

func identityFindings() []row {
	hardware := func(c verdict.Claim) effect { return effect{verdict.Hardware: c} }
	return []row{
		{
			Name: findFWIDAbsent, Code: verdict.ReasonClaimNotAsserted, Effect: hardware(warn), Floor: hardware(warn),
			Text: "The report carries no FWID, or no PDI, though firmware of its generation has it.",
		},
		{
			Name: findFWIDMismatch, Code: verdict.ReasonIdentityMismatch, Effect: hardware(bad), Floor: hardware(bad),
			Text: "The FWID in the report is not the one for which certificate 0 was issued.",
		},
		{
			Name: findForeign, Code: verdict.ReasonIdentityMismatch, Effect: hardware(unknownDev), Floor: hardware(unknownDev),
			Text: "The contents of the report are those of another device than the certificates name.",
		},
		{Name: findDeviceListed, Effect: effect{verdict.InstanceIdentity: good}, Text: "The device is in the parameter devices."},
		{
			Name: findDeviceNotListed, Code: verdict.ReasonIdentityMismatch, Effect: effect{verdict.InstanceIdentity: unknownDev},
			Floor: effect{verdict.InstanceIdentity: warn}, Text: "The parameter devices lists devices, and this one is not among them.",
		},
	}
}

func manifestFindings() []row {
	executables := func(c verdict.Claim) effect { return effect{verdict.Executables: c} }
	return []row{
		{
			Name: findManifestMissing, Code: verdict.ReasonNoReferenceValues, Effect: executables(unknown), Floor: executables(warn),
			Text: "There is no manifest of this driver, VBIOS or BIOS among those of the collateral.",
		},
		{
			Name: findManifestInvalid, Code: verdict.ReasonCollateralInvalid, Effect: executables(bad), Floor: executables(bad),
			Text: "The one manifest that calls itself that of this firmware has no valid signature below a root of reference values.",
		},
		{
			Name: findManifestExpired, Code: verdict.ReasonExpired, Effect: executables(unknown), Floor: executables(warn),
			Text: "The certificates of the manifest are not valid at this time, and manifest_expiry is strict: it was not compared with.",
		},
		{
			Name: findExpiryTolerated, Code: verdict.ReasonExpired, Effect: executables(warn), Floor: executables(warn),
			Text: "What matches is a manifest whose certificates are not valid at this time; manifest_expiry is warn.",
		},
		{
			Name: findManifestRevoked, Code: verdict.ReasonRevoked, Effect: executables(bad), Floor: executables(bad),
			Text: "A certificate of the signer of the manifest is revoked, and there is no other issue.",
		},
		{
			Name: findManifestHold, Code: verdict.ReasonRevoked, Effect: executables(bad), Floor: executables(warn),
			Text: "A certificate of the signer of the manifest is on hold, and manifest_hold_allowed does not name its position.",
		},
		{
			Name: findManifestHoldTol, Code: verdict.ReasonRevoked, Effect: executables(warn), Floor: executables(warn),
			Text: "What matches is a manifest with a certificate on hold at a position that manifest_hold_allowed names.",
		},
		{
			Name: findManifestUnknown, Code: verdict.ReasonRevocationUnknown, Effect: executables(warn),
			Text: "What matches is a manifest with a certificate that has no OCSP response that counts, and manifest_revocation is required.",
		},
	}
}

func measurementFindings() []row {
	executables := func(c verdict.Claim) effect { return effect{verdict.Executables: c} }
	return []row{
		{Name: findMatch, Effect: executables(boot), Text: "Reference values of one source cover the whole of the firmware, and all match."},
		{
			Name: findUnproven, Code: verdict.ReasonNoReferenceValues, Effect: executables(unknown), Floor: executables(warn),
			Text: "No source of reference values covers the whole of the firmware.",
		},
		{
			Name: findMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: executables(bad), Floor: executables(warn),
			Text: "A measurement is as in no reference value of this release.",
		},
		{
			Name: findMismatchTolerated, Code: verdict.ReasonMeasurementMismatch, Effect: executables(warn), Floor: executables(warn),
			Text: "Only measurements differ whose indices the parameter tolerated_mismatches names.",
		},
		{
			Name: findUnreferenced,
			Text: "A manifest that matches does not speak of a measurement that is not zero. NVIDIA's verifiers pass over it; it costs nothing unless it is given a value here.",
		},
	}
}

func configurationFindings() []row {
	conf := func(c verdict.Claim) effect { return effect{verdict.Configuration: c} }
	debug := effect{verdict.Configuration: bad, verdict.RuntimeOpaque: bad}
	return []row{
		{Name: findConfiguration, Effect: conf(boot), Text: "The firmware is proven, which is how debugging is known to be off, and says that its state is a proper one."},
		{Name: findApproved, Effect: conf(good), Text: "Besides, versions and mode are on the lists of the operator."},
		{
			Name: findConfigUnproven, Code: verdict.ReasonNoReferenceValues, Effect: conf(unseen),
			Floor: conf(warn), Text: "The firmware is not proven, so it cannot be seen whether debugging is off and in which mode it is.",
		},
		{
			Name: findConfigForeign, Code: verdict.ReasonClaimNotAsserted, Effect: conf(unseen), Floor: conf(warn),
			Text: "The firmware is not the expected one, so what it says about its state proves nothing.",
		},
		{
			Name: findFirmwareState, Code: verdict.ReasonConfiguration, Effect: conf(bad), Floor: conf(warn),
			Text: "Certificate 0 was issued to firmware in a recovery state, or one that is not secure.",
		},
		{Name: findDebug, Code: verdict.ReasonDebug, Effect: debug, Floor: debug, Text: "Certificate 0 was issued to firmware in debug state."},
		{
			Name: findOpaqueVersion, Code: verdict.ReasonConfiguration, Effect: conf(bad), Floor: conf(warn),
			Text: "The opaque data have a version that is not known: all but what identifies the firmware is not read.",
		},
		{
			Name: findOpaqueUnreadable, Code: verdict.ReasonConfiguration, Effect: conf(unseen), Floor: conf(warn),
			Text: "A field of the opaque data cannot be read.",
		},
		{
			Name: findVBIOSOld, Code: verdict.ReasonTCBOutOfDate, Effect: conf(warn),
			Text: "The VBIOS or BIOS is older than the parameter minimum_vbios, or does not say its version.",
		},
		{
			Name: findVBIOSBad, Code: verdict.ReasonPolicy, Effect: conf(bad), Floor: conf(warn),
			Text: "The parameter known_bad_vbios names this version.",
		},
		{
			Name: findVBIOSNotAllowed, Code: verdict.ReasonPolicy, Effect: conf(warn),
			Text: "The parameter allowed_vbios has versions, and not this one.",
		},
	}
}
