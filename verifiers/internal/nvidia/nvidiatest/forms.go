// SPDX-License-Identifier: Apache-2.0

package nvidiatest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// Composites are messages (CMW in JSON) that hold one device in every form in
// which collectors write it, by the name of the form. The device is of recorded
// or simulated parts: a report and a PEM chain.
func Composites(tb testing.TB, arch string, report, chain []byte) map[string][]byte {
	tb.Helper()
	array := Array(tb, Object(arch, report, chain))
	item := Item(report, chain, "")
	named := `{"nv-gpu-evidence":` + string(array) + `}`
	nvgpu, err := json.Marshal(map[string]any{
		"gpu_nonce": hex.EncodeToString(report[4 : 4+NonceSize]), "arch": strings.ToLower(arch),
		"evidence_list": []any{map[string]string{
			"evidence": base64.StdEncoding.EncodeToString(report), "certificate": base64.StdEncoding.EncodeToString(chain),
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	texts := inCBOR(tb, map[string]any{
		"arch": arch, "nonce": hex.EncodeToString(report[4 : 4+NonceSize]),
		"evidence": base64.StdEncoding.EncodeToString(report), "certificate": base64.StdEncoding.EncodeToString(chain),
	})
	octets := inCBOR(tb, map[string]any{"arch": arch, "nonce": report[4 : 4+NonceSize], "evidence": report, "certificate": chain})
	const (
		sdk      = "application/vnd.veraison.nvidia-gpu-evidence+json"
		alias    = "application/vnd.veraison.nv-gpu-evidence+json"
		sdkCBOR  = "application/vnd.veraison.nvidia-gpu-evidence+cbor"
		oldCBOR  = "application/vnd.veraison.nv-gpu-evidence+cbor"
		intel    = "application/vnd.assize.intel-nvgpu+json"
		itemType = "application/vnd.assize.nvidia-evidence-item+json"
	)
	input := Input(report, map[string]string{"gpu_0": item})
	in := func(entry string) []byte {
		return []byte(`{"device":` + entry + `,"other":["application/json","e30"]}`)
	}
	return map[string][]byte{
		"array": in(record(sdk, array)), "alias": in(record(alias, array)), "named array": in(record(sdk, []byte(named))),
		"CBOR": in(record(sdkCBOR, texts)), "CBOR alias": in(record(oldCBOR, texts)), "CBOR bytes": in(record(sdkCBOR, octets)), "CBOR bytes alias": in(record(oldCBOR, octets)),
		"item": in(item), "item alone": []byte(item), "item record": in(record(itemType, []byte(item))),
		"input": []byte(input), "input inside": in(input),
		"nvgpu": in(record(intel, nvgpu)), "nvgpu named": in(record(intel, []byte(`{"nvgpu":`+string(nvgpu)+`}`))),
	}
}

// inCBOR is an array of one device.
func inCBOR(tb testing.TB, members map[string]any) []byte {
	tb.Helper()
	raw, err := cbor.Marshal([]any{members})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func record(typ string, value []byte) string {
	return `["` + typ + `","` + base64.RawURLEncoding.EncodeToString(value) + `"]`
}

// Item is a device of NVIDIA's CMW collection; firmware is the hint, "" for none.
func Item(report, chain []byte, firmware string) string {
	out := `{"__cmwc_t":"tag:nvidia.com,2026:evidence-item/v1",` +
		`"evidence":` + record("application/vnd.nvidia.spdm-measurement-transcript", report) +
		`, "certificate": ` + record("application/vnd.nvidia.pem-cert-chain", chain) +
		`,"nonce":` + record("application/octet-stream", report[4:4+NonceSize])
	if firmware != "" {
		out += `,"hints":` + record("application/json", []byte(`{"fwversion":"`+firmware+`"}`))
	}
	return out + "}"
}

// Input is NVIDIA's CMW collection of items by their labels, with the nonce of one
// report.
func Input(report []byte, items map[string]string) string {
	out := `{"__cmwc_t":"tag:nvidia.com,2026:verifier-input/profiles/base/pre-1.0.0","nonce":` + record("application/octet-stream", report[4:4+NonceSize])
	for label, item := range items {
		out += `,"` + label + `":` + item
	}
	return out + "}"
}
