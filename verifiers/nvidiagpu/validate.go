// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// judge turns what was proved into an appraisal. Affirming needs proof: there is
// no revocation status here, so hardware never is.
func judge(p *nvidia.Proof, nonce []byte) verdict.Appraisal {
	d := readDetails(p.Report.Opaque)
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

// expected names the reference values of a GPU: of its chip, or of the manifests
// of its driver and VBIOS.
func expected(p *nvidia.Proof, d *details) nvidia.Expected {
	e := nvidia.Expected{Whole: nvidia.Model(p.Chain.ID.Family), Engine: nvdecIndex, State: nvidia.EngineState(d.nvdec0)}
	if d.driver == "" || d.vbios == "" || d.project == "" || d.projectSKU == "" || d.chipSKU == "" {
		return e
	}
	driver := "NV_GPU_DRIVER_GH100_" + d.driver
	if p.Device.Arch != "HOPPER" {
		driver = "NV_GPU_CC_DRIVER_" + cmp.Or(d.chipInfo, "GB100") + "_" + d.driver
	}
	vbios := strings.Join([]string{"NV_GPU_VBIOS", d.project, d.projectSKU, d.chipSKU, strings.ReplaceAll(d.vbios, ".", "")}, "_")
	e.Parts = []corim.Environment{nvidia.Model(driver), nvidia.Model(strings.ToUpper(vbios))}
	return e
}

// nvdecIndex is the measurement of the video decoder, which does not count while
// that is off.
const nvdecIndex = 35

// configuration is 3, no known vulnerabilities, if the firmware that speaks of
// itself is proven to be NVIDIA's, which is how debugging is known to be off, and
// says that confidential computing is on.
func configuration(p *nvidia.Proof, d *details, c nvidia.Compared, a *verdict.Appraisal) {
	a.Vector[verdict.Configuration] = verdict.ClaimNoVisibility
	seen := d.version <= maxOpaqueVersion && len(d.odd) == 0
	switch {
	case c.Mismatched:
		a.Fail(verdict.ReasonClaimNotAsserted, "configuration: the firmware is not the expected one, so what it says about its mode proves nothing")
	case !c.Matched:
		a.Fail(verdict.ReasonNoReferenceValues, "configuration: without reference values for all of the firmware it cannot be seen whether debugging is off and confidential computing is on")
	case d.feature == modeProtectedPCIe || d.protectedPCIe != "" && d.protectedPCIe != string(nvidia.EngineOff):
		a.Fail(verdict.ReasonConfiguration, "protected PCIe is not off: traffic between GPUs is in clear on NVLink, and whether the switches there are good is not in this evidence")
	case d.feature == modeSingle || d.feature == modeMulti:
		if seen {
			a.Vector[verdict.Configuration] = verdict.ClaimApprovedBoot // 3: no known vulnerabilities
		}
	case d.feature == "":
		a.Fail(verdict.ReasonConfiguration, "the report does not say in which mode of confidential computing the GPU is")
	default:
		a.Fail(verdict.ReasonConfiguration, "the mode of confidential computing is "+d.feature)
	}
	if d.version > maxOpaqueVersion {
		a.Fail(verdict.ReasonConfiguration, fmt.Sprintf("opaque data of version %d, known up to %d: mode, links and all but driver, VBIOS and FWID are not read",
			d.version, maxOpaqueVersion))
	}
	if len(d.odd) > 0 {
		a.Fail(verdict.ReasonConfiguration, "opaque data that cannot be read: "+strings.Join(d.odd, "; "))
	}
	p.FirmwareState(a)
}
