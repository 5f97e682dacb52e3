// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"slices"
	"testing"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

// otherwise states for one index what the device does not have.
func otherwise(index uint64, v corim.Values) func(*situation) {
	return func(s *situation) {
		list := slices.DeleteFunc(s.d.stated(s.t), func(m corim.Measurement) bool { return m.Key == corim.NumberKey(index) })
		list = append(list, corim.Measurement{Key: corim.NumberKey(index), Value: v})
		s.index = indexOf(s.t, document(s.t, "release", true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: list}))
	}
}

func digestOf(b byte) corim.Values {
	value := make([]byte, 48)
	value[0] = b
	return corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: value}}}
}

// measurementCases are checks C.
func measurementCases(t *testing.T) []checkCase {
	other := make([]byte, 48)
	return []checkCase{
		{check: "C1", name: "required", params: "  measurements: {required: [1, 40]}", finding: findMissing, claims: claimsOf{executables: 33}, code: verdict.ReasonNoReferenceValues, words: "index 40", tier: warned},
		{check: "C1", name: "stated and not there", blocks: drop(17), finding: findUnproven, claims: claimsOf{executables: 33}, code: verdict.ReasonPartialReference, words: "missing: 17", tier: warned},
		{check: "C2", name: "other firmware", blocks: replace(2, 1, other), finding: findFirmware, claims: claimsOf{executables: 33, hardware: 2, config: 36}, code: verdict.ReasonMeasurementMismatch, words: "measurement 2", tier: warned},
		{check: "C2", name: "other ROM", blocks: replace(1, 0, other), finding: findFirmware, claims: claimsOf{executables: 33}, code: verdict.ReasonMeasurementMismatch, words: "measurement 1", tier: warned},
		{check: "C2", name: "no reference values", edit: func(s *situation) { s.index = nil }, finding: findUnproven, claims: claimsOf{executables: 33, config: 36, hardware: 2}, code: verdict.ReasonNoReferenceValues, words: "measurement 1, 2", tier: warned},
		{check: "C2", name: "unsigned reference values", edit: func(s *situation) {
			s.index = indexOf(s.t, document(s.t, "release", false, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: s.d.stated(s.t)}))
		}, finding: findUnproven, claims: claimsOf{executables: 33}, code: verdict.ReasonUnsignedReference, tier: warned},
		{check: "C2", name: "no firmware measured", blocks: func(d *device) { drop(1)(d); drop(2)(d) }, finding: findUnproven, claims: claimsOf{executables: 33}, code: verdict.ReasonNoReferenceValues, words: "measures neither", tier: warned},
		{check: "C2", name: "raw bits", blocks: replace(2, 0x81, []byte("firmware")), finding: findMatch, claims: claimsOf{executables: 3}, tier: affirming},
		{check: "C2", name: "denied", params: "  measurements: {denied: [" + sha384Of("firmware") + "]}", finding: findFirmwareDenied, claims: claimsOf{executables: 96, config: 36}, code: verdict.ReasonPolicy, words: "index 2", tier: refused},
		{check: "C3", name: "other straps", blocks: replace(3, 2, other), finding: findHardware, claims: claimsOf{hardware: 32}, code: verdict.ReasonMeasurementMismatch, words: "measurement 3", tier: warned},
		{check: "C3", name: "denied", params: "  measurements: {denied: [" + sha384Of("straps") + "]}", finding: findHardwareDenied, claims: claimsOf{hardware: 96}, code: verdict.ReasonPolicy, tier: refused},
		{check: "C4", name: "other settings", blocks: replace(4, 3, other), finding: findConfig, claims: claimsOf{config: 32, hardware: 2}, code: verdict.ReasonMeasurementMismatch, words: "measurement 4", tier: warned},
		{check: "C4", name: "denied", params: "  measurements: {denied: [" + sha384Of("settings") + "]}", finding: findConfigDenied, claims: claimsOf{config: 96}, code: verdict.ReasonPolicy, tier: refused},
		{check: "C4", name: "settings that nobody states", edit: func(s *situation) {
			list := slices.DeleteFunc(s.d.stated(s.t), func(m corim.Measurement) bool { return m.Key == corim.NumberKey(4) })
			s.index = indexOf(s.t, document(s.t, "release", true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: list}))
		}, finding: findConfigUnproven, claims: claimsOf{config: 36, executables: 3}, code: verdict.ReasonNoReferenceValues, words: "measurement 4", tier: warned},
		{check: "C4", name: "proven", finding: findConfigKnown, claims: claimsOf{config: 2}, tier: affirming},
		{check: "C5", name: "below the reference", blocks: replace(0x10, 0x87, []byte{8, 0, 0, 0, 0, 0, 0, 0}), finding: findSVNReference, claims: claimsOf{executables: 32}, code: verdict.ReasonTCBOutOfDate, words: "measurement 16", tier: warned},
		{check: "C5", name: "above the reference", blocks: replace(0x10, 0x87, []byte{10, 0, 0, 0, 0, 0, 0, 0}), finding: findMatch, claims: claimsOf{executables: 3}, tier: affirming},
		{check: "C5", name: "other version", edit: otherwise(5, corim.Values{Version: &corim.Version{Text: "1.4.3"}}), finding: findSVNReference, claims: claimsOf{executables: 32}, code: verdict.ReasonTCBOutOfDate, words: "measurement 5", tier: warned},
		{check: "C5", name: "its version", edit: otherwise(5, corim.Values{Version: &corim.Version{Text: "1.4.2"}}), finding: findMatch, claims: claimsOf{executables: 3}, tier: affirming},
		{check: "C5", name: "below the floor", params: "  measurements: {minimum_svn: {16: 10}}", finding: findSVNFloor, claims: claimsOf{executables: 96}, code: verdict.ReasonTCBOutOfDate, words: "is 9, at least 10", tier: refused},
		{check: "C5", name: "on the floor", params: "  measurements: {minimum_svn: {16: 9}}", finding: findMatch, claims: claimsOf{executables: 3}, tier: affirming},
		{check: "C5", name: "no number", params: "  measurements: {minimum_svn: {18: 1}}", finding: findSVNFloor, claims: claimsOf{executables: 96}, code: verdict.ReasonTCBOutOfDate, words: "index 18 is no", tier: refused},
		{check: "C5", name: "version not allowed", params: "  measurements: {allowed_versions: {5: [\"1.4.3\"]}}", finding: findFirmwareVersion, claims: claimsOf{executables: 32}, code: verdict.ReasonPolicy, words: `"1.4.2"`, tier: warned},
		{check: "C5", name: "version allowed", params: "  measurements: {allowed_versions: {5: [\"1.4.2\"]}}", finding: findMatch, claims: claimsOf{executables: 3}, tier: affirming},
		{check: "C6", name: "debugging", blocks: replace(0xFE, 0x85, mode(ModeNormal, DebugInvasive)), finding: findDebug, claims: claimsOf{hardware: 96, opaque: 96}, code: verdict.ReasonDebug, words: "invasive debugging is active", tier: refused},
		{check: "C6", name: "non-invasive debugging", blocks: replace(0xFE, 0x85, mode(ModeNormal, DebugNonInvasive)), finding: findDebug, claims: claimsOf{hardware: 96, opaque: 96}, code: verdict.ReasonDebug, tier: refused},
		{check: "C6", name: "debugging under a named policy", blocks: replace(0xFE, 0x85, mode(ModeNormal, DebugInvasive)), findings: "debug-active: {hardware: 32, runtime-opaque: 32}", finding: findDebug, claims: claimsOf{hardware: 32, opaque: 32}, code: verdict.ReasonDebug, tier: warned},
		{check: "C6", name: "was debugged", blocks: replace(0xFE, 0x85, mode(ModeNormal, DebugInvasiveSinceReset)), finding: findDebugWas, claims: claimsOf{hardware: 32, opaque: 0}, code: verdict.ReasonDebug, words: "since reset", tier: warned},
		{check: "C6", name: "recovery", blocks: replace(0xFE, 0x85, mode(ModeRecovery, 0)), finding: findMode, claims: claimsOf{config: 96}, code: verdict.ReasonConfiguration, words: "recovery", tier: refused},
		{check: "C6", name: "normal and more", blocks: replace(0xFE, 0x85, mode(ModeNormal|ModeManufacturing, 0)), finding: findMode, claims: claimsOf{config: 96}, tier: refused},
		{check: "C6", name: "no mode", blocks: replace(0xFE, 0x85, mode(0, 0)), finding: findMode, claims: claimsOf{config: 96}, tier: refused},
		{check: "C6", name: "unknown mode", blocks: replace(0xFE, 0x85, mode(ModeNormal|1<<9, 1<<7)), finding: findMode, claims: claimsOf{config: 96, hardware: 32}, code: verdict.ReasonConfiguration, words: "unknown bits 0x200", tier: refused},
		{check: "C6", name: "mode not told", blocks: drop(0xFE), finding: findModeUnknown, claims: claimsOf{config: 36}, code: verdict.ReasonConfiguration, words: "index 254", tier: warned},
		{check: "C6", name: "mode as a digest", blocks: replace(0xFE, 5, other), finding: findModeUnknown, claims: claimsOf{config: 36}, tier: warned},
		{check: "C6", name: "mode that a reference value forbids", edit: otherwise(0xFE, corim.Values{Flags: &corim.Flags{Known: 1 << corim.FlagDebug, Value: 1 << corim.FlagDebug}}), finding: findConfig, claims: claimsOf{config: 32}, code: verdict.ReasonMeasurementMismatch, words: "measurement 254", tier: warned},
		{check: "C7", name: "strict", params: "  measurements: {strict: true}", finding: findUnreferenced, claims: claimsOf{executables: 33}, code: verdict.ReasonNoReferenceValues, words: "253", tier: warned},
		{check: "C7", name: "strict and all stated", params: "  measurements: {strict: true}", edit: otherwise(0xFD, corim.Values{Raw: raw([]byte("manifest"))}), finding: findMatch, claims: claimsOf{executables: 3}, tier: affirming},
		{check: "C7", name: "not strict", finding: findMatch, claims: claimsOf{executables: 3}, tier: affirming},
		{check: "C7", name: "another manifest", edit: otherwise(0xFD, digestOf(1)), finding: findOther, claims: claimsOf{executables: 33}, code: verdict.ReasonMeasurementMismatch, words: "measurement 253", tier: warned},
		{check: "C8", name: "changed", edit: func(s *situation) {
			rsp := s.d.unsigned(s.d.count, s.d.blocks)
			rsp[3] = 0x10
			s.e.Measurements = s.d.measured(t, s.d.getMeasurements(1, 0xFF, s.d.nonce), rsp)
		}, finding: findChanged, claims: claimsOf{verdict.SourcedData: 32, hardware: 2}, code: verdict.ReasonUnexplained, words: "changed", tier: warned},
	}
}

// interfaceCases are checks D.
func interfaceCases(t *testing.T) []checkCase {
	report := func(ranges ...Range) func(*situation) { return underTDISP(interfaceReport(goodInfo, "", ranges...)) }
	good := interfaceReport(goodInfo, "", goodRanges...)
	conf := func(c verdict.Claim) claimsOf { return claimsOf{config: c} }
	specific := underTDISP(interfaceReport(goodInfo, "abc", goodRanges...))
	cases := []checkCase{
		{check: "D1", name: "trailing byte", edit: underTDISP(append(slices.Clone(good), 0)), finding: findReport, claims: claimsOf{config: 36, opaque: 32, executables: 3}, code: verdict.ReasonMalformed, words: "report", tier: warned},
		{check: "D1", name: "reserved bit", edit: underTDISP(interfaceReport(1<<9, "", goodRanges...)), finding: findReport, claims: claimsOf{config: 36, opaque: 32}, tier: warned},
		{check: "D1", name: "no report", edit: func(s *situation) { locked(goodLock, StateRun)(s); s.e.Report = nil }, finding: findReportMissing, claims: claimsOf{config: 36, opaque: 32}, code: verdict.ReasonClaimNotAsserted, tier: warned},
		{check: "D1", name: "no interface and one required", edit: func(s *situation) {}, params: "  interface: {required: true}", finding: findReportMissing, claims: claimsOf{config: 36}, tier: warned},
		{check: "D2", name: "nobody vouches for the report", edit: locked(goodLock, StateRun), findings: unrelied, finding: findUnauthenticated, claims: claimsOf{config: 36, opaque: 32, hardware: 2, executables: 3}, code: verdict.ReasonReportUnauthenticated, words: "no device signs", tier: warned},
		{check: "D2", name: "left to the lead", edit: locked(goodLock, StateRun), finding: findProtected, claims: claimsOf{config: 2, opaque: 2, hardware: 2, executables: 3}, tier: affirming},
		{check: "D2", name: "another report", edit: func(s *situation) {
			locked(goodLock, StateRun)(s)
			s.e.Report = interfaceReport(goodInfo, "", Range{FirstPage: 0x9000, Pages: 16})
		}, finding: findReportDigest, claims: claimsOf{config: 99, opaque: 99}, code: verdict.ReasonIdentityMismatch, words: "digest", tier: refused},
		{check: "D3", name: "another session", edit: func(s *situation) { locked(goodLock, StateRun)(s); s.e.TSM.Raw[40] ^= 1 }, finding: findObjects, claims: claimsOf{identity: 99}, code: verdict.ReasonIdentityMismatch, words: "spdm-certificates", tier: refused},
		{check: "D3", name: "unreadable", edit: func(s *situation) { locked(goodLock, StateRun)(s); s.e.TSM.Raw = s.e.TSM.Raw[:9] }, finding: findTSM, claims: claimsOf{config: 36, opaque: 32}, code: verdict.ReasonMalformed, tier: warned},
		{check: "D3", name: "unknown kind", edit: func(s *situation) { locked(goodLock, StateRun)(s); s.e.TSM.Kind = "x" }, finding: findTSM, claims: claimsOf{config: 36}, tier: warned},
		{check: "D3", name: "not fresh", edit: func(s *situation) { locked(goodLock, StateRun)(s); s.e.TSM.Raw[16] = 1 }, finding: findTSMOld, claims: claimsOf{verdict.SourcedData: 32}, code: verdict.ReasonNonceNotEstablished, words: "fresh", tier: warned},
		{check: "D3", name: "contradiction", edit: func(s *situation) { locked(goodLock, StateRun)(s); l := LockFlags(1); s.e.TSM.LockFlags = &l }, finding: findTSMContradiction, claims: conf(99), code: verdict.ReasonIdentityMismatch, words: "flags", tier: refused},
		{check: "D4", name: "unlocked", edit: locked(goodLock, StateUnlocked), finding: findNotLocked, claims: conf(96), code: verdict.ReasonConfiguration, words: "state", tier: refused},
		{check: "D4", name: "error", edit: locked(goodLock, StateError), finding: findNotLocked, claims: conf(96), tier: refused},
		{check: "D4", name: "nobody says", edit: func(s *situation) { s.e.Report = interfaceReport(goodInfo, "", goodRanges[0]) }, finding: findStateUnknown, claims: conf(36), code: verdict.ReasonConfiguration, tier: warned},
		{check: "D5", name: "report", edit: underTDISP(interfaceReport(InterfaceDMAWithoutPASID, "", goodRanges...)), finding: findFirmwareUpdate, claims: conf(32), code: verdict.ReasonConfiguration, words: "INTERFACE_INFO 0x0002", tier: warned},
		{check: "D5", name: "lock", edit: locked(LockMSIX, StateRun), finding: findFirmwareUpdate, claims: conf(32), code: verdict.ReasonConfiguration, words: "NO_FW_UPDATE", tier: warned},
		{check: "D6", name: "outside", edit: report(Range{FirstPage: 1, Pages: 1, Attributes: RangeNonTEE, ID: 1}), finding: findNonTEE, claims: claimsOf{opaque: 32}, code: verdict.ReasonConfiguration, words: "range 1 at page 0x1", tier: warned},
		{check: "D6", name: "outside and allowed", edit: report(Range{FirstPage: 1, Pages: 1, Attributes: RangeNonTEE, ID: 1}), params: "  interface: {non_tee_ranges: [1]}", finding: findProtected, claims: claimsOf{opaque: 2}, tier: affirming},
		{check: "D6", name: "required inside", edit: report(Range{FirstPage: 1, Pages: 1, Attributes: RangeNonTEE, ID: 1}), params: "  interface: {tee_ranges: [1]}", finding: findTEERequired, claims: claimsOf{opaque: 96}, code: verdict.ReasonPolicy, words: "range 1", tier: refused},
		{check: "D6", name: "required and not there", edit: report(goodRanges...), params: "  interface: {tee_ranges: [4]}", finding: findTEERequired, claims: claimsOf{opaque: 96}, tier: refused},
		{check: "D7", name: "updatable", edit: report(Range{FirstPage: 1, Pages: 1, Attributes: RangeUpdatable, ID: 1}), finding: findUpdatable, claims: conf(32), code: verdict.ReasonConfiguration, words: "range 1", tier: warned},
		{check: "D7", name: "updatable and allowed", edit: report(Range{FirstPage: 1, Pages: 1, Attributes: RangeUpdatable, ID: 1}), params: "  interface: {updatable_ranges: [1]}", finding: findProtected, claims: conf(2), tier: affirming},
		{check: "D8", name: "unexpected", edit: underTDISP(interfaceReport(goodInfo|InterfacePRS, "", goodRanges...)), params: "  interface: {prs: \"off\"}", finding: findBits, claims: conf(32), code: verdict.ReasonConfiguration, words: "prs is on, expected off", tier: warned},
		{check: "D8", name: "expected and off", edit: report(goodRanges...), params: "  interface: {xt: \"on\"}", finding: findBits, claims: conf(32), code: verdict.ReasonConfiguration, words: "xt is off, expected on", tier: warned},
		{check: "D8", name: "ATS", edit: underTDISP(interfaceReport(goodInfo|InterfaceATS, "", goodRanges...)), params: "  interface: {forbid_ats: true}", finding: findATS, claims: conf(96), code: verdict.ReasonPolicy, tier: refused},
		{check: "D9", name: "not locked", edit: locked(LockNoFirmwareUpdate, StateRun), finding: findMSIX, claims: conf(32), code: verdict.ReasonConfiguration, words: "LOCK_MSIX is off", tier: warned},
		{check: "D9", name: "not locked and not needed", edit: locked(LockNoFirmwareUpdate, StateRun), params: "  interface: {lock_msix: false}", finding: findProtected, claims: conf(2), tier: affirming},
		{check: "D9", name: "no table", edit: func(s *situation) {
			s.assign(interfaceReport(goodInfo, "", goodRanges[0]), LockNoFirmwareUpdate, StateRun)
		}, finding: findProtected, claims: conf(2), tier: affirming},
		{check: "D9", name: "told by nobody", edit: func(s *situation) { s.e.Report = good }, finding: findMSIX, claims: conf(36), code: verdict.ReasonConfiguration, words: "told by nobody", tier: warned},
		{check: "D10", name: "overlap", edit: report(Range{FirstPage: 1, Pages: 2}, Range{FirstPage: 2, Pages: 2, ID: 1}), finding: findRanges, claims: conf(96), code: verdict.ReasonConfiguration, words: "overlap", tier: refused},
		{check: "D10", name: "empty", edit: report(Range{FirstPage: 1}), finding: findRanges, claims: conf(96), tier: refused},
		{check: "D10", name: "no BAR", edit: report(Range{FirstPage: 1, Pages: 2, ID: 7}), finding: findRanges, claims: conf(96), code: verdict.ReasonConfiguration, words: "range 7", tier: refused},
		{check: "D10", name: "size", edit: report(goodRanges...), params: "  interface: {pages: {0: 17}}", finding: findRanges, claims: conf(96), code: verdict.ReasonConfiguration, words: "have 16 pages, expected 17", tier: refused},
		{check: "D10", name: "right size", edit: report(goodRanges...), params: "  interface: {pages: {0: 16}}", finding: findProtected, claims: conf(2), tier: affirming},
		{check: "D11", name: "device-specific", edit: specific, finding: findSpecific, claims: conf(32), code: verdict.ReasonConfiguration, words: "616263", tier: warned},
		{check: "D11", name: "accepted", edit: specific, params: "  interface: {device_specific: [\"616263\"]}", finding: findProtected, claims: conf(2), tier: affirming},
		{check: "D11", name: "a reference value", edit: func(s *situation) {
			specific(s)
			s.state(corim.Measurement{Key: corim.TextKey(keySpecific), Value: corim.Values{Raw: raw([]byte("abc"))}})
		}, finding: findProtected, claims: conf(2), tier: affirming},
		{check: "D11", name: "another reference value", edit: func(s *situation) {
			locked(goodLock, StateRun)(s)
			s.state(corim.Measurement{Key: corim.TextKey(keyNonTEE), Value: corim.Values{Range: corim.IntValue(1)}})
		}, finding: findInterface, claims: conf(36), code: verdict.ReasonMeasurementMismatch, words: keyNonTEE, tier: warned},
		{check: "B8", name: "root of this maker", edit: func(s *situation) { s.makers = "OTHER, ACME" }, finding: findMatch, claims: claimsOf{identity: 2, hardware: 2}, tier: affirming},
		{check: "B8", name: "root of another maker", edit: func(s *situation) { s.makers = "OTHER" }, finding: findManufacturer, claims: claimsOf{identity: 97, hardware: 97}, code: verdict.ReasonIdentityMismatch, words: "ACME", tier: refused},
	}
	return append(cases,
		// That of one device alone cannot be seen here: its facts ask the lead (TestLeftToTheLead).
		checkCase{check: "D12", name: "binding left to the lead", edit: locked(goodLock, StateRun), finding: findProtected, claims: claimsOf{config: 2, opaque: 2}, tier: affirming},
		checkCase{
			check: "D12", name: "no binding is relied upon", edit: locked(goodLock, StateRun), findings: unrelied, finding: findUnauthenticated,
			claims: claimsOf{config: 36, opaque: 32}, code: verdict.ReasonReportUnauthenticated, words: "no device signs", tier: warned,
		},
	)
}

// state adds a reference value to those of the device.
func (s *situation) state(m ...corim.Measurement) {
	s.index = indexOf(s.t, document(s.t, "release", true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: append(s.d.stated(s.t), m...)}))
}
