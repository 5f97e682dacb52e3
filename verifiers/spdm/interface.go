// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
)

// maxRangeID is the highest id of a range: BARs 0 to 5 and the expansion ROM.
const maxRangeID = 6

// interfaces judges what the device does not sign: interface report and
// information of the TSM. It is judged as if it were authentic, and the lead holds
// the result against the CPU's evidence (decision D-80): this verifier cannot see
// whether that vouches for the report, and says something only if the policy has a
// row for it (decision D-78).
func (v *verifier) interfaces(a *verdict.Appraisal, p *proof) {
	tsm := p.evidence.TSM
	switch {
	case p.reportErr != nil:
		v.find(a, findReport, "%s", clip(p.reportErr.Error()))
	case p.Report == nil && (tsm != nil || v.params.Interface.Required):
		v.find(a, findReportMissing, "there is no interface report (TSM information: %t)", tsm != nil)
	}
	if p.evidence.Report == nil && tsm == nil {
		return
	}
	a.Facts.RelayRequired = true
	v.when(a, p.Report != nil, findProtected, "")
	v.when(a, len(v.policy.Effect(findUnauthenticated)) > 0, findUnauthenticated, "interface report and state rest on bytes that no device signs; only a digest in the CPU's evidence, or measured software that relays them, can vouch for them")
	v.security(a, p)
	if p.Report != nil {
		v.bits(a, p)
		v.ranges(a, p.Report)
	}
}

// tsmFindings are the findings of what is wrong with TSM information.
var tsmFindings = map[TSMCheck]string{
	TSMAbsent: findStateUnknown, TSMStateUnknown: findStateUnknown, TSMMalformed: findTSM, TSMUnknownKind: findTSM,
	TSMReport: findReportDigest, TSMCertificates: findObjects, TSMVCA: findObjects, TSMMeasurements: findObjects, TSMPublicKey: findObjects,
	TSMUnbound: findObjects, TSMNotValid: findObjects, TSMNotFresh: findTSMOld, TSMNonce: findTSMOld, TSMState: findNotLocked,
	TSMFirmwareUpdate: findFirmwareUpdate, TSMMSIX: findMSIX, TSMContradiction: findTSMContradiction,
}

// security compares the words of the TSM with the rest of the evidence, and judges
// state and flags of the lock.
func (v *verifier) security(a *verdict.Appraisal, p *proof) {
	tsm := p.evidence.TSM
	for _, f := range CheckTSM(tsm, p.Result) {
		switch name := tsmFindings[f.Check]; {
		case f.Check == TSMPartial:
			if c, ok := a.Claims["tsm"].(map[string]any); ok {
				c["open"] = clip(f.Detail)
			}
		case f.Check == TSMMSIX: // below
		case name == "":
			v.find(a, findTSM, "%s", clip(f.Detail))
		default:
			v.find(a, name, "%s", clip(f.Detail))
		}
	}
	if p.Report == nil || !v.params.Interface.LockMSIX || !slices.ContainsFunc(p.Report.Ranges, Range.msix) {
		return
	}
	if flag := lockFlag(tsm, LockMSIX); flag != bitOn {
		v.find(a, findMSIX, "the interface reports MSI-X table or PBA, and LOCK_MSIX is %s", map[string]string{bitOff: "off", bitAny: "told by nobody"}[flag])
	}
}

// lockFlag is on, off, or any where nobody tells. Who says off is believed.
func lockFlag(t *TSM, f LockFlags) string {
	if t == nil {
		return bitAny
	}
	list := []*LockFlags{t.LockFlags}
	if info, err := ParseTSM(t); err == nil {
		list = append(list, info.LockFlags)
	}
	out := bitAny
	for _, l := range list {
		switch {
		case l == nil:
		case *l&f == 0:
			return bitOff
		default:
			out = bitOn
		}
	}
	return out
}

// bits judges INTERFACE_INFO.
func (v *verifier) bits(a *verdict.Appraisal, p *proof) {
	info, want := p.Report.Info, &v.params.Interface
	v.when(a, info&InterfaceNoFirmwareUpdate == 0, findFirmwareUpdate, "the report allows firmware updates while the interface is locked or running (INTERFACE_INFO 0x%04x)", uint16(info))
	for _, b := range want.bits() {
		is := bitOff
		if info&b.bit != 0 {
			is = bitOn
		}
		v.when(a, b.want != bitAny && b.want != is, findBits, "%s is %s, expected %s (INTERFACE_INFO 0x%04x)", b.name, is, b.want, uint16(info))
	}
	v.when(a, want.ForbidATS && info&InterfaceATS != 0, findATS, "address translation services are on (INTERFACE_INFO 0x%04x)", uint16(info))
}

// ranges judges the MMIO ranges.
func (v *verifier) ranges(a *verdict.Appraisal, r *InterfaceReport) {
	want := &v.params.Interface
	if err := r.CheckRanges(); err != nil {
		v.find(a, findRanges, "%s", clip(err.Error()))
	}
	pages := map[uint16]uint64{}
	var outside, updatable, odd []string
	for _, g := range r.Ranges {
		pages[g.ID] += uint64(g.Pages)
		name := fmt.Sprintf("%d at page 0x%x", g.ID, g.FirstPage)
		if g.ID > maxRangeID {
			odd = append(odd, name)
		}
		if g.Attributes&RangeNonTEE != 0 && !slices.Contains(want.NonTEERanges, g.ID) {
			outside = append(outside, name)
		}
		if g.Attributes&RangeUpdatable != 0 && !slices.Contains(want.UpdatableRanges, g.ID) {
			updatable = append(updatable, name)
		}
	}
	v.when(a, len(odd) > 0, findRanges, "no BAR has the id of range %s", some(odd))
	v.when(a, len(outside) > 0, findNonTEE, "outside of TEE memory: range %s", some(outside))
	v.when(a, len(updatable) > 0, findUpdatable, "the attribute may change after the lock: range %s", some(updatable))
	for _, id := range want.TEERanges {
		in := slices.ContainsFunc(r.Ranges, func(g Range) bool { return g.ID == id })
		out := slices.ContainsFunc(r.Ranges, func(g Range) bool { return g.ID == id && g.Attributes&RangeNonTEE != 0 })
		v.when(a, !in || out, findTEERequired, "range %d has to be TEE memory (there: %t, outside: %t)", id, in, out)
	}
	for _, id := range sorted(want.Pages) {
		v.when(a, pages[id] != want.Pages[id], findRanges, "the ranges with id %d have %d pages, expected %d", id, pages[id], want.Pages[id])
	}
}

func (v *verifier) allowsSpecific(b []byte) bool {
	return slices.Contains(v.params.Interface.DeviceSpecific, hex.EncodeToString(b))
}

// some lists the first few.
func some(list []string) string {
	const most = 8
	if n := len(list) - most; n > 0 {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(list, ", ")
}

// String names the state.
func (s InterfaceState) String() string {
	switch s {
	case StateUnlocked:
		return "CONFIG_UNLOCKED"
	case StateLocked:
		return "CONFIG_LOCKED"
	case StateRun:
		return "RUN"
	case StateError:
		return "ERROR"
	}
	return fmt.Sprintf("state %d", uint8(s))
}
