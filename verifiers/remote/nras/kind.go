// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"fmt"
	"slices"
	"strings"
)

// kind is what differs between GPUs and switches in the service's protocol.
type kind struct {
	scheme string
	noun   string
	// path is the last part of the service's path, submod begins the names of
	// devices in replies, prefix the names of claims.
	path, submod, prefix string
	archs                []string
	// prefixes stand before the PDI in the serial number of certificate 1.
	prefixes []byte
	// manifests are the signed reference manifests whose claims there must be.
	manifests []string
}

// kinds are the schemes that the service can stand in for.
func kinds() []kind {
	return []kind{
		{
			scheme: "nvidia-gpu", noun: "GPU", path: "gpu", submod: "GPU-", prefix: "x-nvidia-gpu-",
			archs: []string{"BLACKWELL", "HOPPER"}, prefixes: []byte{0x40, 0x41}, manifests: []string{"driver", "vbios"},
		},
		{
			scheme: "nvidia-nvswitch", noun: "NVSwitch", path: "switch", submod: "SWITCH-", prefix: "x-nvidia-switch-",
			archs: []string{"LS10"}, prefixes: []byte{0x50}, manifests: []string{"bios"},
		},
	}
}

func kindOf(scheme string) (kind, error) {
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.scheme == scheme })
	if i < 0 {
		return kind{}, fmt.Errorf("nras: NVIDIA's service does not appraise %s, but %s", scheme, strings.Join(Schemes(), " and "))
	}
	return all[i], nil
}

// Schemes are the names of the schemes that have a Backend.
func Schemes() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.scheme)
	}
	return out
}

// report is the name of a claim about the report.
func (k kind) report(name string) string { return k.prefix + "attestation-report-" + name }

// rim is the name of a claim about a manifest.
func (k kind) rim(manifest, name string) string { return k.prefix + manifest + "-rim-" + name }
