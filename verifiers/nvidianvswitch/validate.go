// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// judge turns what was proved into an appraisal. Affirming needs proof: there is
// no revocation status here, so hardware never is.
func judge(p *nvidia.Proof, nonce []byte) verdict.Appraisal {
	d := readDetails(p.Report.Opaque)
	a := verdict.Appraisal{NonceSeen: bytes.Clone(p.Report.Nonce), Facts: p.Facts(d.gpus), Claims: contents(p, d)}
	hardware(p, d, &a)
	configuration(p, d, p.Compare(expected(d), &a), &a)
	p.Freshness(nonce, &a)
	p.Wrapper("", d.bios, &a)
	return a
}

// hardware: no known switch reports an FWID, so none is asked for. What the
// report must name is the switch itself.
func hardware(p *nvidia.Proof, d *details, a *verdict.Appraisal) {
	p.Hardware(d.fwid, "", a)
	switch {
	case d.driver:
		nvidia.Foreign(a, "the certificates are of a switch, but the report has the version of a GPU driver")
	case d.pdi != "" && d.pdi != p.Chain.ID.PDI:
		nvidia.Foreign(a, "the report is about the device with PDI %s, certificate 1 about %s", d.pdi, p.Chain.ID.PDI)
	case d.pdi == "" && d.versioned:
		a.Fail(verdict.ReasonClaimNotAsserted, "the report names no PDI in the known form, so it does not say what device it is about")
	case d.pdi == "":
		nvidia.Foreign(a, "the report names no PDI of its own, so it is none of a switch")
	}
}

// expected names the reference values of a switch: of its chip, or of the
// manifest of its BIOS.
func expected(d *details) nvidia.Expected {
	e := nvidia.Expected{Whole: nvidia.Model("LS10")}
	if d.bios != "" {
		e.Parts = []corim.Environment{nvidia.Model("NV_SWITCH_BIOS_5612_0002_890_" + strings.ToUpper(strings.ReplaceAll(d.bios, ".", "")))}
	}
	return e
}

// configuration is 3, no known vulnerabilities, if the firmware that speaks of
// itself is proven to be NVIDIA's, which is how debugging is known to be off, and
// says that partitions and ports are locked.
func configuration(p *nvidia.Proof, d *details, c nvidia.Compared, a *verdict.Appraisal) {
	a.Vector[verdict.Configuration] = verdict.ClaimNoVisibility
	switch {
	case c.Mismatched:
		a.Fail(verdict.ReasonClaimNotAsserted, "configuration: the firmware is not the expected one, so what it says about its state proves nothing")
	case !c.Matched:
		a.Fail(verdict.ReasonNoReferenceValues, "configuration: without reference values for all of the firmware it cannot be seen whether debugging is off")
	case d.lock == lockLocked:
		if !d.versioned && len(d.odd) == 0 {
			a.Vector[verdict.Configuration] = verdict.ClaimApprovedBoot // 3: no known vulnerabilities
		}
	case d.lock == "":
		a.Fail(verdict.ReasonConfiguration, "the report does not say whether partitions and ports are locked")
	}
	if d.versioned {
		a.Fail(verdict.ReasonConfiguration, "opaque data with a version, which no known switch has: all but BIOS, PDI and FWID are not read")
	}
	if d.lock != "" && d.lock != lockLocked {
		a.Fail(verdict.ReasonConfiguration, "the switch says that its lock status is "+d.lock+": its partitions and ports may be changed")
	}
	if len(d.odd) > 0 {
		a.Fail(verdict.ReasonConfiguration, "opaque data that cannot be read: "+strings.Join(d.odd, "; "))
	}
	p.FirmwareState(a)
}
