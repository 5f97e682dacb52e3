// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import "github.com/assize/assize/verifiers/internal/nvidia"

// switchClaim begins the names of NVIDIA's claims about switches.
const switchClaim = "x-nvidia-switch-"

// contents are the readable contents of a report whose signature holds. What
// the switch does not say has no claim.
func contents(p *nvidia.Proof, d *details) map[string]any {
	c := p.Claims()
	for name, value := range map[string]string{
		switchClaim + "bios-version": d.bios, switchClaim + "pdi": d.pdi,
		"lock-status": d.lock, "disabled-ports": d.disabledPorts, "measurement-counters": d.counter,
	} {
		if value != "" {
			c[name] = value
		}
	}
	if d.position >= 0 {
		c["position"] = d.position
	}
	if len(d.gpus) > 0 {
		c[switchClaim+"gpu-pdis"] = nvidia.List(d.gpus)
	}
	if len(d.unknown) > 0 {
		c["opaque-unknown"] = nvidia.List(d.unknown)
	}
	return c
}
