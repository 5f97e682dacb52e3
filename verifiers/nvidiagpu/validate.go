// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// judge turns what was proved into an appraisal. Affirming needs proof.
func judge(p *nvidia.Proof, nonce []byte) verdict.Appraisal {
	d := describe(p)
	a := verdict.Appraisal{NonceSeen: bytes.Clone(p.Report.Nonce), Facts: p.Facts(d.switches), Claims: contents(p, d)}
	hardware(p, d, &a)
	configuration(p, d, p.Compare(expected(p, d), &a), &a)
	p.Freshness(nonce, &a)
	p.Wrapper(d.driver, d.vbios, &a)
	return a
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func hardware(p *nvidia.Proof, d *details, a *verdict.Appraisal) {
	absent := ""
	if fwidExpected(p, d) {
		absent = fmt.Sprintf("the report of driver %s carries no FWID, which drivers have reported since 550", orNone(d.driver))
	}
	p.Hardware(d.fwid, absent, a)
	if d.impostor != "" {
		p.Foreign(a, "%s", d.impostor)
	}
	if len(d.foreign) > 0 {
		p.Foreign(a, "the certificates are of a GPU, but the report has fields %v, by which a switch describes itself", d.foreign)
	}
}

// fwidExpected: Hopper drivers before 550 do not report it, nor does an FSP, which
// has no opaque data to report it in.
func fwidExpected(p *nvidia.Proof, d *details) bool {
	if d.fsp && len(p.Report.Opaque) == 0 {
		return false
	}
	major, _, _ := strings.Cut(d.driver, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n >= 550 || p.Device.Arch != archHopper
}

// mode is what the device says its mode of confidential computing to be: "" if it
// says nothing. One field can say protected PCIe against the other.
func (d *details) mode() string {
	if d.protectedPCIe != "" && d.protectedPCIe != string(nvidia.EngineOff) {
		return modeProtectedPCIe
	}
	return d.feature
}

func modes() []string { return []string{modeSingle, modeMulti, modeProtectedPCIe} }

// configuration is 3, no known vulnerabilities, if the firmware that speaks of
// itself is proven to be NVIDIA's, which is how debugging is known to be off, and
// says in which mode of confidential computing it is. In protected PCIe the traffic
// between GPUs is in clear on NVLink: the facts say that the device is only as good
// as its switches, and who judges the machine holds it to that.
func configuration(p *nvidia.Proof, d *details, c nvidia.Compared, a *verdict.Appraisal) {
	params := appraisal.Parameters[Parameters](p.Policy())
	mode := d.mode()
	known := slices.Contains(modes(), mode) && (d.protectedPCIe == "" || d.protectedPCIe == "on" || d.protectedPCIe == "off")
	if known {
		a.Claims[gpuClaim+"mode"] = mode
	}
	driver := d.driverListed(p, params, a)
	listed := p.VBIOS(d.vbios, a) && driver && slices.Contains(params.Modes, mode)
	if d.vbios == "" {
		p.Hinted(d.firmware, a)
	}
	newer := ""
	if d.version > maxOpaqueVersion {
		newer = fmt.Sprintf("opaque data of version %d, known up to %d: mode, links and all but driver, VBIOS and FWID are not read", d.version, maxOpaqueVersion)
	}
	proven := p.Configuration(c, nvidia.State{Proper: known, Listed: listed, Newer: newer, Unreadable: d.odd}, a)
	if mode == modeProtectedPCIe {
		a.Facts.PeersRequired = true
	}
	if proven && !known {
		p.Find(a, findModeUnknown, "%s", d.modeText())
	}
	if len(params.Modes) > 0 && !slices.Contains(params.Modes, mode) {
		p.Find(a, findModeNotRequired, "the mode of confidential computing is %s, expected %s", orNone(mode), strings.Join(params.Modes, " or ")).
			Against(nvidia.ByPolicy(verdict.Alternatives(params.Modes, 0), orNone(mode)))
	}
	if proven && known && newer == "" && len(d.odd) == 0 {
		memory(p, mode, params, a)
	}
}

func (d *details) modeText() string {
	switch {
	case d.feature == "" && d.protectedPCIe == "":
		return "the report does not say in which mode of confidential computing the GPU is"
	case d.protectedPCIe != "" && d.protectedPCIe != "on" && d.protectedPCIe != "off":
		return "the state of protected PCIe is " + d.protectedPCIe
	case d.feature == "":
		return "the report does not say in which mode of confidential computing the GPU is, only that protected PCIe is " + d.protectedPCIe
	}
	return "the mode of confidential computing is " + d.feature
}

// memory judges whether the host can read the memory of the GPU. In protected PCIe
// that depends on other devices, so nothing is said.
func memory(p *nvidia.Proof, mode string, params Parameters, a *verdict.Appraisal) {
	switch {
	case mode == modeProtectedPCIe:
	case p.Device.Arch == archHopper && !params.HopperMemoryEncrypted:
		a.Claims["memory"] = "isolated"
		if len(p.Policy().Effect(findIsolated)) > 0 {
			p.Find(a, findIsolated, "the memory of a Hopper GPU is isolated from the host and not encrypted")
		}
	default:
		p.Find(a, findMemory, "")
	}
}

// driverListed holds the version of the driver against the parameters. It reports
// whether it is on the list of those that are accepted.
func (d *details) driverListed(p *nvidia.Proof, params Parameters, a *verdict.Appraisal) bool {
	const decimal = 10
	if least := nvidia.Minimum(params.MinimumDriver, p.Chain.ID.Family, p.Device.Arch); least != "" && nvidia.Below(d.driver, least, decimal) {
		p.Find(a, findDriverOld, "the driver is %s, at least %s is expected", orNone(d.driver), least).Against(nvidia.ByPolicy("at least "+least, orNone(d.driver)))
	}
	if nvidia.Named(params.KnownBadDrivers, d.driver) || slices.ContainsFunc(params.KnownBadDrivers, func(v string) bool { return nvidia.Equal(v, d.driver, decimal) }) {
		p.Find(a, findDriverBad, "driver %s is known to be bad", d.driver).Against(nvidia.ByPolicy("none of known_bad_drivers", d.driver))
	}
	if len(params.AllowedDrivers) == 0 {
		return false
	}
	listed := nvidia.Named(params.AllowedDrivers, d.driver)
	if !listed {
		p.Find(a, findDriverNot, "the driver is %s, which is none of the accepted", orNone(d.driver)).Against(nvidia.ByPolicy(verdict.Alternatives(params.AllowedDrivers, 0), orNone(d.driver)))
	}
	return listed
}
