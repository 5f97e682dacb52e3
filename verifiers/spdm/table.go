// SPDX-License-Identifier: Apache-2.0

package spdm

import "github.com/assize/assize/verdict"

func measurementFindings() []row {
	exe := func(c verdict.Claim) effect { return effect{executables: c} }
	conf := func(c verdict.Claim) effect { return effect{config: c} }
	hw := func(c verdict.Claim) effect { return effect{hardware: c} }
	return []row{
		{
			Name: findMissing, Code: verdict.ReasonNoReferenceValues, Effect: exe(unknown), Floor: exe(warn),
			Text: "An index of the parameter measurements.required is not there, or the device has not signed that what was read is all.",
		},
		{Name: findMatch, Effect: exe(boot), Text: "Reference values of one release cover the whole of the firmware, and all match."},
		{
			Name: findUnproven, Code: verdict.ReasonNoReferenceValues, Effect: exe(unknown), Floor: exe(warn),
			Text: "Reference values do not cover the whole of the firmware.",
		},
		{
			Name: findFirmware, Code: verdict.ReasonMeasurementMismatch, Effect: exe(unknown), Floor: exe(warn),
			Text: "A measurement of ROM or firmware, or the hash of all that was loaded, is as in no reference value.",
		},
		{
			Name: findFirmwareDenied, Code: verdict.ReasonPolicy, Effect: exe(bad), Floor: exe(warn),
			Text: "The parameter measurements.denied names the firmware.",
		},
		{
			Name: findHardware, Code: verdict.ReasonMeasurementMismatch, Effect: hw(warn), Floor: hw(warn),
			Text: "The hardware configuration is as in no reference value.",
		},
		{
			Name: findHardwareDenied, Code: verdict.ReasonPolicy, Effect: hw(bad), Floor: hw(warn),
			Text: "The parameter measurements.denied names the hardware configuration.",
		},
		{
			Name: findConfig, Code: verdict.ReasonMeasurementMismatch, Effect: conf(warn), Floor: conf(warn),
			Text: "The configuration of the firmware, or the device mode, is as in no reference value.",
		},
		{
			Name: findConfigDenied, Code: verdict.ReasonPolicy, Effect: conf(bad), Floor: conf(warn),
			Text: "The parameter measurements.denied names the configuration of the firmware.",
		},
		{
			Name: findConfigUnproven, Code: verdict.ReasonNoReferenceValues, Effect: conf(unseen), Floor: conf(warn),
			Text: "Firmware or its configuration is not proven, so what the device says about its state proves nothing.",
		},
		{Name: findConfigKnown, Effect: conf(good), Text: "Firmware and configuration are proven, and the device says that its state is a normal one."},
		{
			Name: findSVNReference, Code: verdict.ReasonTCBOutOfDate, Effect: exe(warn), Floor: exe(warn),
			Text: "A security version number is below, or a firmware version is not, that of the reference values.",
		},
		{
			Name: findSVNFloor, Code: verdict.ReasonTCBOutOfDate, Effect: exe(bad), Floor: exe(warn),
			Text: "A security version number is below the parameter measurements.minimum_svn, or not there.",
		},
		{
			Name: findFirmwareVersion, Code: verdict.ReasonPolicy, Effect: exe(warn), Floor: exe(warn),
			Text: "A firmware version is none of the parameter measurements.allowed_versions, or not there.",
		},
		{
			Name: findUnreferenced, Code: verdict.ReasonNoReferenceValues, Effect: exe(unknown),
			Text: "No reference value speaks of a block, and the parameter measurements.strict is set.",
		},
		{
			Name: findOther, Code: verdict.ReasonMeasurementMismatch, Effect: exe(unknown), Floor: exe(warn),
			Text: "A manifest or other information is as in no reference value.",
		},
		{
			Name: findChanged, Code: verdict.ReasonUnexplained, Effect: effect{verdict.SourcedData: warn}, Floor: effect{verdict.SourcedData: warn},
			Text: "The device says that measurements changed while they were read: collect them again.",
		},
	}
}

func stateFindings() []row {
	return []row{
		{
			Name: findDebug, Code: verdict.ReasonDebug, Effect: effect{hardware: bad, opaque: bad}, Floor: effect{hardware: warn, opaque: warn},
			Text: "Debugging is active: whoever is attached reads what the device is given.",
		},
		{
			Name: findDebugWas, Code: verdict.ReasonDebug, Effect: effect{hardware: warn},
			Text: "Debugging has been active since reset, or since the device was made.",
		},
		{
			Name: findMode, Code: verdict.ReasonConfiguration, Effect: effect{config: bad}, Floor: effect{config: warn},
			Text: "The device is not in its normal operational mode, or not in that alone.",
		},
		{
			Name: findModeUnknown, Code: verdict.ReasonConfiguration, Effect: effect{config: unseen},
			Text: "There is no block of the device mode, so nobody knows whether debugging is active.",
		},
	}
}

func interfaceFindings() []row {
	conf := func(c verdict.Claim) effect { return effect{config: c} }
	both := func(c, o verdict.Claim) effect { return effect{config: c, opaque: o} }
	return []row{
		{Name: findReport, Code: verdict.ReasonMalformed, Effect: both(unseen, warn), Floor: both(warn, warn), Text: "The interface report does not have its form: nothing is concluded from it."},
		{
			Name: findReportMissing, Code: verdict.ReasonClaimNotAsserted, Effect: both(unseen, warn), Floor: both(warn, warn),
			Text: "There is information of the TSM, or the parameter interface.required is set, and no interface report.",
		},
		{
			Name: findUnauthenticated, Code: verdict.ReasonReportUnauthenticated, Effect: effect{},
			Text: "No device signs its interface report. Without a row the lead judges whether the CPU's evidence vouches for it, and affirms no such device where it does not. A row {configuration: 36, runtime-opaque: 32} refuses the report in any case.",
		},
		{
			Name: findReportDigest, Code: verdict.ReasonIdentityMismatch, Effect: both(failed, failed), Floor: both(failed, failed),
			Text: "The digest in the TSM information is not that of the interface report.",
		},
		{
			Name: findObjects, Code: verdict.ReasonIdentityMismatch, Effect: effect{identity: failed}, Floor: effect{identity: failed},
			Text: "A digest in the TSM information is not that of chain, negotiation or measurements, or the TSM says that the interface is not bound: a device of another session.",
		},
		{
			Name: findTSM, Code: verdict.ReasonMalformed, Effect: both(unseen, warn), Floor: both(warn, warn),
			Text: "The TSM information is of an unknown kind, or does not have its form.",
		},
		{
			Name: findTSMContradiction, Code: verdict.ReasonIdentityMismatch, Effect: conf(failed), Floor: conf(failed),
			Text: "What the collector says beside the TSM information is not what that says.",
		},
		{
			Name: findTSMOld, Code: verdict.ReasonNonceNotEstablished, Effect: effect{verdict.SourcedData: warn},
			Text: "The TSM does not say that its digests are fresh, or of which lock they are.",
		},
		{Name: findNotLocked, Code: verdict.ReasonConfiguration, Effect: conf(bad), Floor: conf(bad), Text: "The interface is neither locked nor running."},
		{Name: findStateUnknown, Code: verdict.ReasonConfiguration, Effect: conf(unseen), Text: "Nobody says in which state the interface is."},
		{
			Name: findFirmwareUpdate, Code: verdict.ReasonConfiguration, Effect: conf(warn),
			Text: "Firmware can be updated while the interface is locked or running: by the report, or by the flags of the lock.",
		},
		{
			Name: findNonTEE, Code: verdict.ReasonConfiguration, Effect: effect{opaque: warn},
			Text: "A range that the parameter non_tee_ranges does not name is outside of TEE memory.",
		},
		{
			Name: findTEERequired, Code: verdict.ReasonPolicy, Effect: effect{opaque: bad}, Floor: effect{opaque: warn},
			Text: "A range of the parameter tee_ranges is outside of TEE memory, or not there.",
		},
		{
			Name: findUpdatable, Code: verdict.ReasonConfiguration, Effect: conf(warn),
			Text: "The attribute of a range that the parameter updatable_ranges does not name may change after the lock.",
		},
		{
			Name: findBits, Code: verdict.ReasonConfiguration, Effect: conf(warn),
			Text: "A bit of INTERFACE_INFO is not as the parameters of interface say.",
		},
		{Name: findATS, Code: verdict.ReasonPolicy, Effect: conf(bad), Floor: conf(warn), Text: "Address translation services are on, and the parameter forbid_ats is set."},
		{
			Name: findMSIX, Code: verdict.ReasonConfiguration, Effect: conf(warn),
			Text: "The interface reports the MSI-X table or PBA, the lock does not protect them, or nobody knows, and the parameter lock_msix is set.",
		},
		{
			Name: findRanges, Code: verdict.ReasonConfiguration, Effect: conf(bad), Floor: conf(bad),
			Text: "A range is empty, leaves the address space, overlaps another, has an id that no BAR has, or not the size of the parameter pages.",
		},
		{
			Name: findSpecific, Code: verdict.ReasonConfiguration, Effect: conf(warn),
			Text: "The device-specific information is neither in the parameter device_specific nor a reference value.",
		},
		{
			Name: findInterface, Code: verdict.ReasonMeasurementMismatch, Effect: conf(warn), Floor: conf(warn),
			Text: "A property of the connection or of the interface is as in no reference value.",
		},
		{Name: findProtected, Effect: both(good, good), Text: "The interface report shows a locked interface whose memory is TEE memory."},
	}
}
