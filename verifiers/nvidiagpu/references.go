// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// manifestIDs are the identifiers of the manifests of driver and VBIOS, "" where the
// device does not say what they are made of.
func (d *details) manifestIDs(arch, chip string) (driver, vbios string) {
	if arch == archHopper {
		chip = "GH100" // one driver for all Hopper chips
	}
	if id, err := rim.DriverID(chip, d.chipInfo, d.driver); err == nil {
		driver = id
	}
	if id, err := rim.VBIOSID(d.project, d.projectSKU, d.chipSKU, d.vbios); err == nil {
		vbios = id
	}
	return driver, vbios
}

// manifests names those of a GPU by what nobody has verified.
func manifests(p *nvidia.Proof) []string {
	e := expected(p, describe(p))
	return e.Manifests()
}

// nvdecIndex is the measurement of the video decoder, which does not count while
// that is off.
const nvdecIndex = 35

// transcriptLayer is the layer of the blocks of an FSP in NVIDIA's CoRIMs.
const transcriptLayer = 1

// expected names the reference values of a GPU: of its chip, or of the manifests
// of its driver and VBIOS, or of the firmware of its FSP.
func expected(p *nvidia.Proof, d *details) nvidia.Expected {
	arch, chip := p.Device.Arch, p.Chain.ID.Family
	e := nvidia.Expected{Whole: nvidia.Model(chip), Engine: nvdecIndex, State: nvidia.EngineState(d.nvdec0)}
	if d.fsp {
		for _, index := range d.raw {
			e.Optional = append(e.Optional, index-1)
		}
		e.Transcript = nvidia.Model(strings.TrimSuffix(p.Chain.ID.Model, " BROM"))
		e.Transcript.Class.Layer = corim.Number{Value: transcriptLayer, Set: true}
		if id := d.fspManifest(chip); id != "" {
			e.Parts, e.VBIOSID = []corim.Environment{nvidia.Model(id)}, id
		}
		return e
	}
	e.Driver, e.VBIOS = d.driver, d.vbios
	e.DriverID, e.VBIOSID = d.manifestIDs(arch, chip)
	if e.DriverID != "" && e.VBIOSID != "" {
		e.Parts = []corim.Environment{nvidia.Model(e.DriverID), nvidia.Model(e.VBIOSID)}
	}
	return e
}
