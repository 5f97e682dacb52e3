// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
)

// identity says which device it is.
func (v *verifier) identity(a *verdict.Appraisal, p *proof) {
	id := p.Identity
	v.find(a, findGenuine, "")
	if id.DeviceInfo != "" || id.CMA != "" {
		v.find(a, findIdentified, "")
	}
	if names := certifiedNames(id); strings.HasPrefix(p.name, namePrefix) && !slices.Contains(names, p.name) {
		v.find(a, findName, "the container calls the device %q, its certificate %q", clip(p.name), clip(names[0]))
	}
	v.when(a, !v.speaksFor(id), findManufacturer, "the root %q vouches for other manufacturers than %q", clip(id.Path[len(id.Path)-1].Subject.String()), id.manufacturer())
	if list := v.params.Devices; len(list) > 0 {
		if i := slices.IndexFunc(list, func(want string) bool { return fits(want, deviceNames(id)) }); i >= 0 {
			v.find(a, findListed, "")
		} else {
			v.find(a, findNotListed, "%s is none of the %d devices that are expected", strings.Join(deviceNames(id), ", "), len(list))
		}
	}
	if list := v.params.CMA; len(list) > 0 {
		ok := slices.ContainsFunc(list, func(want string) bool { return id.CMA == want || strings.HasPrefix(id.CMA, want+":") })
		v.when(a, !ok, findCMA, "the PCIe name is %q, expected one that begins with %s", id.CMA, strings.Join(list, " or "))
	}
}

// fits tells whether one of the names of a device is the expected one, or of the
// expected model.
func fits(want string, names []string) bool {
	model, any := strings.CutSuffix(want, "*")
	return slices.ContainsFunc(names, func(n string) bool { return n == want || any && strings.HasPrefix(n, model) })
}

// negotiation judges version and algorithms.
func (v *verifier) negotiation(a *verdict.Appraisal, p *proof) {
	vca, params := p.VCA, &v.params
	least, _ := readVersion(params.MinimumVersion)
	most, _ := readVersion(params.MaximumVersion)
	v.when(a, vca.Version < least, findVersion, "SPDM %s was negotiated, at least %s is expected", vca.Version, least)
	if high := highest(vca.Versions, most); high > vca.Version {
		v.find(a, findDowngrade, "SPDM %s was negotiated, and the device offers %s", vca.Version, high)
	}
	for _, c := range []struct {
		what, have string
		may        []string
		on         bool
	}{
		{"signature algorithm", vca.BaseAsym.String(), params.BaseAsym, true},
		{"base hash", vca.BaseHash.String(), params.BaseHash, true},
		{"measurement hash", vca.MeasurementHash.String(), params.MeasurementHash, vca.MeasurementHash != 0},
	} {
		v.when(a, c.on && !slices.Contains(c.may, c.have), findAlgorithm, "%s %s is none of %s", c.what, c.have, strings.Join(c.may, ", "))
	}
}

// highest is the highest version that is offered, up to most. Versions of drafts
// (alpha) do not count.
func highest(offered []uint16, most Version) (out Version) {
	for _, n := range offered {
		if n&0x0F == 0 && Version(n>>8) <= most {
			out = max(out, Version(n>>8))
		}
	}
	return out
}

// measurements judges what the blocks say by themselves.
func (v *verifier) measurements(a *verdict.Appraisal, p *proof) {
	if len(p.Segments) == 0 {
		v.find(a, findUnsigned, "the device signs a challenge and no measurements (MEAS_CAP %d)", p.VCA.Responder.Measurements())
		return
	}
	v.when(a, p.Change == ChangeDetected, findChanged, "the content of the measurements changed since they were last read (content-change field 1)")
	if c := p.Challenge; c != nil {
		v.when(a, c.Summary == SummaryDiffers, findSummary, "the summary hash of the challenge is %x, and not that of the %d signed blocks", c.Transcript.Response.SummaryHash, len(p.Blocks))
	}
	v.when(a, !p.whole(), findMissing, "%d indices were read, and nothing signed says that the device has no more: what was left out may be anything", len(p.Blocks))
	v.listed(a, p)
	v.mode(a, p)
}

// whole tells whether the device has signed that these are all of its blocks: it
// was asked for all at once, or for their number. Who collects could leave out the
// firmware that is not known, and reference values that stand alone do not miss it
// (decision D-111).
func (p *proof) whole() bool {
	if p.Total >= 0 && len(p.Blocks) == p.Total {
		return true
	}
	return slices.ContainsFunc(p.Segments, func(s Segment) bool {
		return slices.ContainsFunc(s.Exchanges, func(e Exchange) bool { return e.Request.Operation == OperationAll })
	})
}

// block finds an index.
func (p *proof) block(index uint8) *Block {
	for i := range p.Blocks {
		if p.Blocks[i].Index == index {
			return &p.Blocks[i]
		}
	}
	return nil
}

// listed holds blocks against the lists of the policy.
func (v *verifier) listed(a *verdict.Appraisal, p *proof) {
	want := &v.params.Measurements
	for _, i := range want.Required {
		v.when(a, p.block(i) == nil, findMissing, "the device does not report index %d, which is required", i)
	}
	for _, i := range sorted(want.MinimumSVN) {
		least := want.MinimumSVN[i]
		svn, ok := uint64(0), false
		if b := p.block(i); b != nil {
			svn, ok = b.SVN()
		}
		switch {
		case !ok:
			v.find(a, findSVNFloor, "index %d is no security version number, at least %d is tolerated", i, least)
		case svn < least:
			v.find(a, findSVNFloor, "the security version number of index %d is %d, at least %d is tolerated", i, svn, least).Against(verdict.Comparison{
				Expected: fmt.Sprintf("at least %d", least), Observed: fmt.Sprint(svn), Source: verdict.SourceAppraisalPolicy})
		}
	}
	for _, i := range sorted(want.AllowedVersions) {
		b := p.block(i)
		ok := b != nil && b.Type == TypeFirmwareVersion && b.RawBits && slices.Contains(want.AllowedVersions[i], string(b.Value))
		seen := "not there"
		if b != nil {
			seen = valueText(b)
		}
		v.when(a, !ok, findFirmwareVersion, "the firmware version of index %d is %s, expected %q", i, seen, want.AllowedVersions[i])
	}
	for i := range p.Blocks {
		b := &p.Blocks[i]
		if d := p.digestOf(b); d != nil && slices.Contains(want.Denied, hex.EncodeToString(d)) {
			v.find(a, denial(b.Type), "index %d (%s) is %x, which the policy denies", b.Index, b.Type, d)
		}
	}
}

func denial(t ValueType) string {
	switch t {
	case TypeHardwareConfig:
		return findHardwareDenied
	case TypeFirmwareConfig:
		return findConfigDenied
	}
	return findFirmwareDenied
}

// digestOf is the digest form of a block, nil where it cannot be computed.
func (p *proof) digestOf(b *Block) []byte {
	d, err := b.Digest(p.VCA.MeasurementHash)
	if err != nil {
		return nil
	}
	return d
}

// mode judges the device mode, wherever it stands.
func (v *verifier) mode(a *verdict.Appraisal, p *proof) {
	m, ok := p.deviceMode()
	if !ok {
		v.find(a, findModeUnknown, "index %d is no device mode in raw form, so that nobody knows whether debugging is active", IndexDeviceMode)
		return
	}
	v.when(a, m.Debug.Active(), findDebug, "debugging is active: %s (device mode state 0x%x)", strings.Join(m.Debug.words(), ", "), uint32(m.Debug)).Against(verdict.Comparison{
		Expected: "no debugging", Observed: strings.Join(m.Debug.words(), ", "), Source: verdict.SourceAppraisalPolicy})
	v.when(a, m.Debug&^(DebugNonInvasive|DebugInvasive) != 0, findDebugWas, "debugging has been active: %s (device mode state 0x%x)", strings.Join(m.Debug.words(), ", "), uint32(m.Debug))
	v.when(a, m.Operational != ModeNormal, findMode, "the operational mode is %s, expected normal alone (state 0x%x)", strings.Join(m.Operational.words(), ", "), uint32(m.Operational))
}

// deviceMode is what index 0xFE says.
func (p *proof) deviceMode() (DeviceMode, bool) {
	b := p.block(IndexDeviceMode)
	if b == nil {
		return DeviceMode{}, false
	}
	return b.DeviceMode()
}

func words(v uint32, known []string) (out []string) {
	for i, name := range known {
		if v>>i&1 != 0 {
			out = append(out, name)
		}
	}
	if rest := v >> len(known) << len(known); rest != 0 {
		out = append(out, fmt.Sprintf("unknown bits 0x%x", rest))
	}
	if out == nil {
		out = []string{"none"}
	}
	return out
}

func (m OperationalMode) words() []string {
	return words(uint32(m), []string{"manufacturing", "validation", "normal", "recovery", "RMA", "decommissioned"})
}

func (d DebugMode) words() []string {
	return words(uint32(d), []string{"non-invasive debugging is active", "invasive debugging is active", "non-invasive debugging was active since reset",
		"invasive debugging was active since reset", "invasive debugging was active since manufacturing"})
}
