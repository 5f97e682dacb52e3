// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/assize/assize/verdict"
)

// Names of NVIDIA's claims (version 3.0 of its remote attestation service)
// are used wherever a claim means the same.
const (
	gpuClaim    = "x-nvidia-gpu-"
	reportClaim = gpuClaim + "attestation-report-"
	oemID       = "5703" // NVIDIA's private enterprise number
)

// facts are what the lead binds with, all of it signed.
func facts(p *proof) verdict.Facts {
	f := verdict.Facts{
		Device:     []string{"nvidia-ueid:" + p.chain.id.ueid, pdiName(p.chain.id.pdi)},
		SignerSPKI: hex.EncodeToString(p.chain.signer[:]),
		ReportData: hex.EncodeToString(p.report.Nonce),
	}
	for _, s := range p.details.switches {
		f.Peers = append(f.Peers, pdiName(s))
	}
	return f
}

func pdiName(pdi string) string { return "nvidia-pdi:" + pdi }

// progress are the claims about the appraisal itself, as far as it came.
func progress(s stage, expired bool) map[string]any {
	c := map[string]any{
		"x-nvidia-device-type":             "gpu",
		reportClaim + "parsed":             s >= stageParsed,
		reportClaim + "signature-verified": s >= stageSigned,
	}
	if s == stageParsed {
		status := "invalid"
		if expired {
			status = "expired"
		}
		c[reportClaim+"cert-chain"] = map[string]any{"x-nvidia-cert-status": status, "x-nvidia-cert-ocsp-status": "unknown"}
	}
	return c
}

// contents are the readable contents of a report whose signature holds.
func contents(p *proof) map[string]any {
	c := progress(stageSigned, false)
	c[gpuClaim+"arch-check"] = true
	c["hwmodel"], c["ueid"], c["oemid"] = p.chain.id.model, p.chain.id.ueid, oemID
	c["eat_nonce"] = hex.EncodeToString(p.report.Nonce)
	c[reportClaim+"cert-chain"] = map[string]any{
		"x-nvidia-cert-status":          "valid",
		"x-nvidia-cert-expiration-date": p.chain.expires().UTC().Format(time.RFC3339),
		"x-nvidia-cert-ocsp-status":     "unknown",
	}
	c["pdi"], c["arch"], c["engine"] = p.chain.id.pdi, p.device.arch, p.chain.id.engine
	c["root_sha256"] = p.chain.root // tells a simulated machine from NVIDIA's
	c["measurements"], c["measurement-blocks"] = measured(p.report.Blocks), len(p.report.Blocks)
	if p.report.Padding > 0 {
		c["padded"] = p.report.Padding
	}
	if p.chain.fwid.flags != nil {
		c["dice-flags"] = hex.EncodeToString(p.chain.fwid.flags)
	}
	described(p.details, c)
	if len(p.device.unknown) > 0 {
		c["unknown-members"] = anyStrings(p.device.unknown)
	}
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
	} {
		if value != "" {
			c[name] = value
		}
	}
	if len(d.switches) > 0 {
		c[gpuClaim+"switch-pdis"] = anyStrings(d.switches)
	}
	if d.version > 0 {
		c["opaque-version"] = d.version
	}
	if len(d.unknown) > 0 {
		unknown := make([]any, len(d.unknown))
		for i, t := range d.unknown {
			unknown[i] = t
		}
		c["opaque-unknown"] = unknown
	}
}

// measured maps NVIDIA's index (SPDM index less one) to hexadecimal values;
// values of zeros only are left out.
func measured(blocks []Block) map[string]any {
	out := map[string]any{}
	for _, b := range blocks {
		for _, octet := range b.Value {
			if octet != 0 {
				out[strconv.Itoa(int(b.Index)-1)] = hex.EncodeToString(b.Value)
				break
			}
		}
	}
	return out
}

func anyStrings(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}
