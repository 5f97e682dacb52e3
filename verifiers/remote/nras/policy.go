// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// Findings about what the service says of a device.
const (
	findReportUnread     = "report-unreadable"
	findReportSignature  = "report-signature-invalid"
	findReportNonce      = "report-nonce-mismatch"
	findChainInvalid     = "report-chain-invalid"
	findChainExpired     = "report-chain-expired"
	findDeviceRevoked    = "device-revoked"
	findDeviceStatus     = "device-status-unknown"
	findFWID             = "fwid-mismatch"
	findArch             = "arch-mismatch"
	findHardwareOpen     = "hardware-not-stated"
	findMeasurements     = "measurements-differ"
	findFirmwareOpen     = "firmware-not-stated"
	findManifestMissing  = "manifest-missing"
	findManifestInvalid  = "manifest-invalid"
	findManifestExpired  = "manifest-expired"
	findManifestRevoked  = "manifest-revoked"
	findManifestStatus   = "manifest-status-unknown"
	findManifestConflict = "manifest-conflict"
	findDebug            = "debug-enabled"
	findSecureBoot       = "secure-boot-off"
	findStateOpen        = "state-not-stated"
	findModeNotStated    = "mode-not-stated"
	findModeUnknown      = "mode-unknown"
	findProtectedPCIe    = "protected-pcie"
	findUnlocked         = "switch-unlocked"
	findWarning          = "service-warning"
	findNegative         = "overall-negative"
)

// Findings about what the service refuses, by the code in x-nvidia-error-details.
const (
	findRefusedNonce         = "refused-nonce"
	findRefusedChain         = "refused-chain"
	findRefusedMismatch      = "refused-nonce-mismatch"
	findRefusedSignature     = "refused-signature"
	findRefusedManifestChain = "refused-manifest-chain"
	findRefusedManifest      = "refused-manifest"
	findRefused              = "refused"
)

// refusals are the findings by NVIDIA's error code; any other code is findRefused.
func refusals() map[string]string {
	return map[string]string{
		"4003": findRefusedNonce, "4007": findRefusedChain, "4010": findRefusedMismatch, "4013": findRefusedSignature,
		"4014": findRefusedChain, "4015": findRefusedManifestChain, "5013": findRefusedManifest,
	}
}

// policySuffix makes the name of a policy from that of the scheme.
const policySuffix = "-nras"

// Policy is the appraisal policy from which the backend of a scheme starts; its
// name, "nvidia-gpu-nras" for example, tells its file from one of the native
// scheme. ok is false if there is no policy of this name.
func Policy(name string) (d appraisal.Defaults, ok bool) {
	for _, k := range kinds() {
		if name == k.scheme+policySuffix {
			return k.policy(), true
		}
	}
	return d, false
}

// PolicyName is the name of the policy of a scheme's backend.
func PolicyName(scheme string) string { return scheme + policySuffix }

func (k kind) policy() appraisal.Defaults {
	hardware := func(c verdict.Claim) appraisal.Effect { return appraisal.Effect{verdict.Hardware: c} }
	firmware := func(c verdict.Claim) appraisal.Effect { return appraisal.Effect{verdict.Executables: c} }
	state := func(c verdict.Claim) appraisal.Effect { return appraisal.Effect{verdict.Configuration: c} }
	all := appraisal.Effect{
		verdict.Hardware: verdict.ClaimCryptoFailed, verdict.Configuration: verdict.ClaimCryptoFailed, verdict.Executables: verdict.ClaimCryptoFailed,
	}
	held := appraisal.Effect{verdict.Hardware: verdict.ClaimUnsafe, verdict.Executables: verdict.ClaimUnsafe}
	refused, doubtful, unknown := verdict.ClaimContraindicate, verdict.ClaimUnsafe, verdict.ClaimUnrecognized
	return appraisal.Defaults{Scheme: PolicyName(k.scheme), Findings: []appraisal.Finding{
		{Name: findReportUnread, Code: verdict.ReasonMalformed, Effect: all, Floor: hardware(refused), Text: "The service cannot read the report."},
		{Name: findReportSignature, Code: verdict.ReasonSignatureInvalid, Effect: all, Floor: hardware(refused), Text: "The service finds the signature of the report wrong."},
		{Name: findReportNonce, Code: verdict.ReasonNonceMismatch, Effect: all, Floor: hardware(refused), Text: "The service finds another nonce in the report."},
		{Name: findChainInvalid, Code: verdict.ReasonChainInvalid, Effect: all, Floor: hardware(refused), Text: "The service does not accept the certificates of the device."},
		{Name: findChainExpired, Code: verdict.ReasonExpired, Effect: all, Floor: hardware(doubtful), Text: "A certificate of the device has ended."},
		{Name: findDeviceRevoked, Code: verdict.ReasonRevoked, Effect: hardware(refused), Floor: hardware(refused), Text: "A certificate of the device is revoked."},
		{Name: findDeviceStatus, Code: verdict.ReasonRevocationUnknown, Effect: hardware(doubtful), Floor: hardware(doubtful), Text: "The service does not say that the certificates of the device are not revoked."},
		{Name: findFWID, Code: verdict.ReasonIdentityMismatch, Effect: hardware(refused), Floor: hardware(refused), Text: "The firmware id of the report is not the one that the certificate was issued for."},
		{Name: findArch, Code: verdict.ReasonIdentityMismatch, Effect: hardware(verdict.ClaimUnknownDevice), Floor: hardware(refused), Text: "Architecture or identity in the report are not those in the certificates."},
		{Name: findHardwareOpen, Code: verdict.ReasonClaimNotAsserted, Effect: hardware(doubtful), Floor: hardware(doubtful), Text: "The service leaves something open about the hardware."},

		{Name: findMeasurements, Code: verdict.ReasonMeasurementMismatch, Effect: firmware(refused), Floor: firmware(doubtful), Text: "The firmware is not the one in NVIDIA's manifests."},
		{Name: findFirmwareOpen, Code: verdict.ReasonClaimNotAsserted, Effect: firmware(unknown), Floor: firmware(doubtful), Text: "The service leaves something open about the firmware."},
		{Name: findManifestMissing, Code: verdict.ReasonNoReferenceValues, Effect: firmware(unknown), Floor: firmware(doubtful), Text: "The service has no manifest of this firmware, or one of another version."},
		{Name: findManifestInvalid, Code: verdict.ReasonCollateralInvalid, Effect: firmware(refused), Floor: firmware(doubtful), Text: "A manifest is not signed by NVIDIA, or cannot be read."},
		{Name: findManifestExpired, Code: verdict.ReasonExpired, Effect: firmware(doubtful), Floor: firmware(doubtful), Text: "A certificate of a manifest's signer has ended."},
		{Name: findManifestRevoked, Code: verdict.ReasonRevoked, Effect: firmware(refused), Floor: firmware(doubtful), Text: "A certificate of a manifest's signer is revoked."},
		{Name: findManifestStatus, Code: verdict.ReasonRevocationUnknown, Effect: firmware(doubtful), Floor: firmware(doubtful), Text: "The service does not say that the certificates of a manifest's signer are not revoked."},
		{Name: findManifestConflict, Code: verdict.ReasonReferenceConflict, Effect: firmware(refused), Floor: firmware(doubtful), Text: "Two manifests speak of one measurement."},

		{Name: findDebug, Code: verdict.ReasonDebug, Effect: state(refused), Floor: state(refused), Text: "Debugging is not disabled."},
		{Name: findSecureBoot, Code: verdict.ReasonConfiguration, Effect: state(refused), Floor: state(doubtful), Text: "The device was not booted securely."},
		{Name: findStateOpen, Code: verdict.ReasonClaimNotAsserted, Effect: state(verdict.ClaimNoVisibility), Floor: state(doubtful), Text: "The service does not say whether debugging is disabled and the boot was secure."},
		{Name: findModeNotStated, Code: verdict.ReasonConfiguration, Effect: state(verdict.ClaimNoVisibility), Floor: state(doubtful), Text: "Nobody says in which mode the device is."},
		{Name: findModeUnknown, Code: verdict.ReasonConfiguration, Effect: state(verdict.ClaimNoVisibility), Floor: state(doubtful), Text: "The device is in a mode that is not known."},
		{Name: findProtectedPCIe, Code: verdict.ReasonConfiguration, Effect: state(verdict.ClaimNoVisibility), Floor: state(doubtful), Text: "The GPU is in protected PCIe mode: it is as good as the switches that it is wired to."},
		{Name: findUnlocked, Code: verdict.ReasonConfiguration, Effect: state(verdict.ClaimNoVisibility), Text: "Partitions and ports of the switch may be changed."},

		{Name: findWarning, Code: verdict.ReasonRevoked, Effect: held, Floor: held, Text: "The service warns, as it does of a certificate on hold."},
		{Name: findNegative, Code: verdict.ReasonPolicy, Effect: hardware(refused), Floor: hardware(refused), Text: "The overall result of the service is negative."},

		{Name: findRefusedNonce, Code: verdict.ReasonNonceMismatch, Effect: all, Floor: hardware(doubtful), Text: "The service calls the nonce invalid (4003)."},
		{Name: findRefusedChain, Code: verdict.ReasonChainInvalid, Effect: all, Floor: hardware(refused), Text: "The service does not accept the certificates of the device (4007, 4014)."},
		{Name: findRefusedMismatch, Code: verdict.ReasonNonceMismatch, Effect: all, Floor: hardware(refused), Text: "The service finds another nonce in the report (4010)."},
		{Name: findRefusedSignature, Code: verdict.ReasonSignatureInvalid, Effect: all, Floor: hardware(refused), Text: "The service finds the signature of the report wrong (4013)."},
		{Name: findRefusedManifestChain, Code: verdict.ReasonCollateralInvalid, Effect: firmware(refused), Floor: firmware(doubtful), Text: "The certificates of a manifest's signer do not verify (4015)."},
		{Name: findRefusedManifest, Code: verdict.ReasonCollateralInvalid, Effect: firmware(refused), Floor: firmware(doubtful), Text: "The signature of a manifest does not verify (5013)."},
		{Name: findRefused, Code: verdict.ReasonPolicy, Effect: hardware(refused), Floor: hardware(doubtful), Text: "The service refuses the device for another reason."},
	}}
}
