// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import "github.com/assize/assize/verifiers/internal/nvidia"

const (
	gpuClaim = "x-nvidia-gpu-" // begins the names of NVIDIA's claims
	oemID    = "5703"          // NVIDIA's private enterprise number
)

// contents are the readable contents of a report whose signature holds.
func contents(p *nvidia.Proof, d *details) map[string]any {
	c := p.Claims()
	c["oemid"] = oemID
	described(d, c)
	return c
}

// described adds what the GPU says about itself; what it does not say has no
// claim.
func described(d *details, c map[string]any) {
	for name, value := range map[string]string{
		gpuClaim + "driver-version": d.driver, gpuClaim + "vbios-version": d.vbios,
		"project": d.project, "project-sku": d.projectSKU, "project-sku-mod": d.projectSKUMod,
		"chip-sku": d.chipSKU, "chip-sku-mod": d.chipSKUMod, "chip-info": d.chipInfo,
		"board-id": d.board, "gpu-info": d.gpuInfo, "cpr-info": d.cprInfo, "sys-enable-status": d.sysEnable,
		"measurement-counters": d.counter, "nvdec0": d.nvdec0,
		"protected-pcie": d.protectedPCIe, "feature-flag": d.feature,
		"apsku": d.apsku, "firmware-hint": d.firmware, "firmware-hint-ignored": d.hinted,
	} {
		if value != "" {
			c[name] = value
		}
	}
	if len(d.switches) > 0 {
		c[gpuClaim+"switch-pdis"] = nvidia.List(d.switches)
	}
	if d.version > 0 {
		c["opaque-version"] = d.version
	}
	for name, value := range d.unused {
		c[name] = value
	}
	if d.manifest {
		c["spdm-manifest"] = true
	}
	if len(d.unknown) > 0 {
		c["opaque-unknown"] = nvidia.List(d.unknown)
	}
}
