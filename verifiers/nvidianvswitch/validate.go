// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// judge turns what was proved into an appraisal. Affirming needs proof.
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
		p.Foreign(a, "the certificates are of a switch, but the report has the version of a GPU driver")
	case d.pdi != "" && d.pdi != p.Chain.ID.PDI:
		p.Foreign(a, "the report is about the device with PDI %s, certificate 1 about %s", d.pdi, p.Chain.ID.PDI)
	case d.pdi == "" && d.versioned:
		p.Unnamed(a, "the report names no PDI in the known form, so it does not say what device it is about")
	case d.pdi == "":
		p.Foreign(a, "the report names no PDI of its own, so it is none of a switch")
	}
}

// expected names the reference values of a switch: of its chip, or of the
// manifest of its BIOS.
func expected(d *details) nvidia.Expected {
	e := nvidia.Expected{Whole: nvidia.Model("LS10"), Switch: true, VBIOS: d.bios}
	if id, err := rim.SwitchID(d.bios); err == nil {
		e.Parts, e.VBIOSID = []corim.Environment{nvidia.Model(id)}, id
	}
	return e
}

// manifests names that of a switch by what nobody has verified.
func manifests(p *nvidia.Proof) []string {
	e := expected(readDetails(p.Report.Opaque))
	return e.Manifests()
}

// configuration is 3, no known vulnerabilities, if the firmware that speaks of
// itself is proven to be NVIDIA's, which is how debugging is known to be off, and
// says that partitions and ports are locked.
func configuration(p *nvidia.Proof, d *details, c nvidia.Compared, a *verdict.Appraisal) {
	listed := p.VBIOS(d.bios, a)
	newer := ""
	if d.versioned {
		newer = "opaque data with a version, which no known switch has: all but BIOS, PDI and FWID are not read"
	}
	locked := d.lock == lockLocked
	proven := p.Configuration(c, nvidia.State{Proper: locked, Listed: listed, Newer: newer, Unreadable: d.odd}, a)
	switch {
	case locked:
	case d.lock != "":
		p.Find(a, findUnlocked, "the switch says that its lock status is %s: its partitions and ports may be changed", d.lock)
	case proven:
		p.Find(a, findLockUnknown, "the report does not say whether partitions and ports are locked")
	}
}
