// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// judge turns what was proved into an appraisal. No claim of it is affirming:
// there are no reference values and no revocation status here, and affirming
// needs proof.
func judge(p *nvidia.Proof, nonce []byte) verdict.Appraisal {
	d := readDetails(p.Report.Opaque)
	a := verdict.Appraisal{NonceSeen: bytes.Clone(p.Report.Nonce), Facts: p.Facts(d.switches), Claims: contents(p, d)}
	hardware(p, d, &a)
	configuration(p, d, &a)
	a.Vector[verdict.Executables] = verdict.ClaimUnrecognized
	a.Fail(verdict.ReasonNoReferenceValues, fmt.Sprintf(
		"executables: no reference values (RIM) for driver %s and VBIOS %s of project %s, SKU %s, chip SKU %s",
		orNone(d.driver), orNone(d.vbios), orNone(d.project), orNone(d.projectSKU), orNone(d.chipSKU)))
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
	if len(d.foreign) > 0 {
		nvidia.Foreign(a, "the certificates are of a GPU, but the report has fields %v, by which a switch describes itself", d.foreign)
	}
}

// fwidExpected: Hopper drivers before 550 do not report it, nor do reports
// without any opaque data (FSP).
func fwidExpected(p *nvidia.Proof, d *details) bool {
	if len(p.Report.Opaque) == 0 {
		return false
	}
	major, _, _ := strings.Cut(d.driver, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n >= 550 || p.Device.Arch != "HOPPER"
}

func configuration(p *nvidia.Proof, d *details, a *verdict.Appraisal) {
	a.Vector[verdict.Configuration] = verdict.ClaimNoVisibility
	a.Fail(verdict.ReasonNoReferenceValues, "configuration: without reference values (RIM) it cannot be seen whether debugging is off and confidential computing is on")
	if d.version > maxOpaqueVersion {
		a.Fail(verdict.ReasonConfiguration, fmt.Sprintf("opaque data of version %d, known up to %d: mode, links and all but driver, VBIOS and FWID are not read",
			d.version, maxOpaqueVersion))
	}
	if len(d.odd) > 0 {
		a.Fail(verdict.ReasonConfiguration, "opaque data that cannot be read: "+strings.Join(d.odd, "; "))
	}
	p.FirmwareState(a)
}
