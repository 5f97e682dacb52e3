// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// judge turns what was proved into an appraisal. No claim of it is affirming:
// there are no reference values and no revocation status here, and affirming
// needs proof.
func judge(p *nvidia.Proof, nonce []byte) verdict.Appraisal {
	d := readDetails(p.Report.Opaque)
	a := verdict.Appraisal{NonceSeen: bytes.Clone(p.Report.Nonce), Facts: p.Facts(d.gpus), Claims: contents(p, d)}
	hardware(p, d, &a)
	configuration(p, d, &a)
	bios := d.bios
	if bios == "" {
		bios = "(none)"
	}
	a.Vector[verdict.Executables] = verdict.ClaimUnrecognized
	a.Fail(verdict.ReasonNoReferenceValues, fmt.Sprintf("executables: no reference values (RIM) for switch BIOS %s", bios))
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

func configuration(p *nvidia.Proof, d *details, a *verdict.Appraisal) {
	a.Vector[verdict.Configuration] = verdict.ClaimNoVisibility
	a.Fail(verdict.ReasonNoReferenceValues, "configuration: without reference values (RIM) it cannot be seen whether debugging is off")
	if d.versioned {
		a.Fail(verdict.ReasonConfiguration, "opaque data with a version, which no known switch has: all but BIOS, PDI and FWID are not read")
	}
	if d.lock != "" && d.lock != "locked" {
		a.Fail(verdict.ReasonConfiguration, "the switch says that its lock status is "+d.lock+": its partitions and ports may be changed")
	}
	if len(d.odd) > 0 {
		a.Fail(verdict.ReasonConfiguration, "opaque data that cannot be read: "+strings.Join(d.odd, "; "))
	}
	p.FirmwareState(a)
}
