// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/hex"
	"strconv"

	"github.com/assize/assize/verdict"
)

// Facts are what the lead binds with, all of it signed. Peers are the PDIs of
// the devices that the report names, 16 hexadecimal digits each.
func (p *Proof) Facts(peers []string) verdict.Facts {
	f := verdict.Facts{
		Device:     []string{"nvidia-ueid:" + p.Chain.ID.UEID, PDIName(p.Chain.ID.PDI)},
		SignerSPKI: hex.EncodeToString(p.Chain.Signer[:]),
		ReportData: hex.EncodeToString(p.Report.Nonce),
	}
	for _, pdi := range peers {
		f.Peers = append(f.Peers, PDIName(pdi))
	}
	return f
}

// progress are the claims about the appraisal itself, as far as it came.
func (k *Kind) progress(s stage, expired bool) map[string]any {
	c := map[string]any{
		"x-nvidia-device-type":              k.DeviceType,
		k.ReportClaim("parsed"):             s >= stageParsed,
		k.ReportClaim("signature-verified"): s >= stageSigned,
	}
	if s == stageParsed {
		status := "invalid"
		if expired {
			status = "expired"
		}
		c[k.ReportClaim("cert-chain")] = map[string]any{"x-nvidia-cert-status": status, "x-nvidia-cert-ocsp-status": "unknown"}
	}
	return c
}

// Claims are the readable contents of a report whose signature holds, but for
// the opaque data. Names of NVIDIA's claims (version 3.0 of its remote
// attestation service) are used wherever a claim means the same.
func (p *Proof) Claims() map[string]any {
	k := p.kind
	c := k.progress(stageSigned, false)
	c[k.Prefix+"arch-check"] = true
	c["hwmodel"], c["ueid"] = p.Chain.ID.Model, p.Chain.ID.UEID
	c["eat_nonce"] = hex.EncodeToString(p.Report.Nonce)
	c[k.ReportClaim("cert-chain")] = map[string]any{
		"x-nvidia-cert-status": "valid", "x-nvidia-cert-expiration-date": stamp(p.Chain.Expires()), "x-nvidia-cert-ocsp-status": "unknown",
	}
	c["pdi"], c["arch"], c["engine"] = p.Chain.ID.PDI, p.Device.Arch, p.Chain.ID.Engine
	c["root_sha256"] = p.Chain.Root // tells a simulated machine from NVIDIA's
	c["measurements"], c["measurement-blocks"] = measured(p.Report.Blocks), len(p.Report.Blocks)
	if p.Report.Padding > 0 {
		c["padded"] = p.Report.Padding
	}
	if p.Chain.FWID.Flags != nil {
		c["dice-flags"] = hex.EncodeToString(p.Chain.FWID.Flags)
	}
	if len(p.Device.Unknown) > 0 {
		c["unknown-members"] = List(p.Device.Unknown)
	}
	return c
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

// List is a list as claims hold it.
func List[T any](in []T) []any {
	out := make([]any, len(in))
	for i, v := range in {
		out[i] = v
	}
	return out
}
