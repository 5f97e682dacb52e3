// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"time"

	"github.com/assize/assize/verdict"
)

// flag is one bit and its name.
type flag struct {
	bit  uint64
	name string
}

// Bits of POLICY (AMD 56860, guest policy).
const (
	policySMT              = 1 << 16
	policyReserved         = 1 << 17 // must be 1
	policyMigration        = 1 << 18
	policyDebug            = 1 << 19
	policySingleSocket     = 1 << 20
	policyCXL              = 1 << 21
	policyAES256           = 1 << 22
	policyRAPLDisabled     = 1 << 23
	policyCiphertextHiding = 1 << 24
	policyPageSwapDisabled = 1 << 25
	policyABI              = 0xffff
	policyKnown            = policyABI | policySMT | policyReserved | policyMigration | policyDebug | policySingleSocket |
		policyCXL | policyAES256 | policyRAPLDisabled | policyCiphertextHiding | policyPageSwapDisabled
)

// Bits of PLATFORM_INFO. Bit 6 is set on Turin and described nowhere.
const (
	platformSMT              = 1 << 0
	platformTSME             = 1 << 1
	platformECC              = 1 << 2
	platformRAPLDisabled     = 1 << 3
	platformCiphertextHiding = 1 << 4
	platformAliasCheck       = 1 << 5
	platformTIO              = 1 << 7
)

var policyFlags = []flag{
	{policySMT, "SMT allowed"}, {policyMigration, "migration agent allowed"}, {policyDebug, "debug allowed"},
	{policySingleSocket, "single socket"}, {policyCXL, "CXL allowed"}, {policyAES256, "AES-256-XTS required"},
	{policyRAPLDisabled, "RAPL disabled"}, {policyCiphertextHiding, "ciphertext hiding required"},
	{policyPageSwapDisabled, "page swap disabled"},
}

var platformFlags = []flag{
	{platformSMT, "SMT"}, {platformTSME, "TSME"}, {platformECC, "ECC"}, {platformRAPLDisabled, "RAPL disabled"},
	{platformCiphertextHiding, "ciphertext hiding"}, {platformAliasCheck, "alias check complete"}, {platformTIO, "SEV-TIO"},
}

// names lists the bits that are set; unknown ones as "bit <n>".
func names(v uint64, flags []flag) []any {
	out := []any{}
	for _, f := range flags {
		if v&f.bit != 0 {
			out = append(out, f.name)
		}
		v &^= f.bit
	}
	for ; v != 0; v &= v - 1 {
		out = append(out, fmt.Sprintf("bit %d", bits.TrailingZeros64(v)))
	}
	return out
}

// claims renders what the report says, under AMD's names in lower case; byte
// strings as lower-case hexadecimal in the order of the report.
func claims(r *report, k *vek, c *certificates) map[string]any {
	p := k.product
	m := map[string]any{
		"report_version":    int(r.version),
		"product":           p.String(),
		"guest_svn":         int64(r.guestSVN()),
		"family_id":         hex.EncodeToString(r.familyID()),
		"image_id":          hex.EncodeToString(r.imageID()),
		"vmpl":              int(r.vmpl()),
		"policy":            policyClaim(r.policy()),
		"platform_info":     map[string]any{"hex": fmt.Sprintf("%016x", r.platformInfo()), "set": names(r.platformInfo(), platformFlags)},
		"author_key_en":     r.authorKey(),
		"report_data":       hex.EncodeToString(r.reportData()),
		"host_data":         hex.EncodeToString(r.hostData()),
		"id_key_digest":     hex.EncodeToString(r.idKeyDigest()),
		"author_key_digest": hex.EncodeToString(r.authorKeyDigest()),
		"report_id":         hex.EncodeToString(r.reportID()),
		"report_id_ma":      hex.EncodeToString(r.reportIDMA()),
		"chip_id":           hex.EncodeToString(r.chipID()),
		"chip_id_masked":    r.chipMasked(),
		"measurement":       hex.EncodeToString(r.measurement()),
		"tcb": map[string]any{
			"current": p.claims(r.currentTCB()), "reported": p.claims(r.reportedTCB()),
			"committed": p.claims(r.committedTCB()), "launch": p.claims(r.launchTCB()),
		},
		"firmware": map[string]any{"current": r.currentFirmware().String(), "committed": r.committedFirmware().String()},
		"vek":      k.claims(),
	}
	if family, model, stepping, ok := r.cpuid(); ok {
		m["cpuid"] = map[string]any{"family": int(family), "model": int(model), "stepping": int(stepping)}
	}
	if r.version >= mitigationsVer {
		launch, current := r.mitigations()
		m["mitigations"] = map[string]any{"launch": fmt.Sprintf("%016x", launch), "current": fmt.Sprintf("%016x", current)}
	}
	if len(c.other) > 0 {
		list := make([]any, len(c.other))
		for i, id := range c.other {
			list[i] = id
		}
		m["table_entries_not_evaluated"] = list
	}
	return m
}

func policyClaim(v uint64) map[string]any {
	flags := v &^ (policyABI | policyReserved)
	return map[string]any{
		"hex": fmt.Sprintf("%016x", v), "abi": fmt.Sprintf("%d.%d", v>>8&0xff, v&0xff), "set": names(flags, policyFlags),
	}
}

// claims says whose key has signed.
func (v *vek) claims() map[string]any {
	m := map[string]any{
		"kind":        v.kind.String(),
		"product":     v.productName,
		"issuer":      v.issuer.cert.Subject.CommonName,
		"serial":      v.cert.SerialNumber.Text(16),
		"not_before":  v.cert.NotBefore.UTC().Format(time.RFC3339),
		"not_after":   v.cert.NotAfter.UTC().Format(time.RFC3339),
		"sha256":      hex.EncodeToString(v.digest[:]),
		"root_sha256": hex.EncodeToString(v.issuer.root.digest[:]),
	}
	if v.kind == kindVLEK {
		m["csp_id"] = v.cspID
	} else {
		m["hwid"] = hex.EncodeToString(v.hwid)
	}
	return m
}

// facts are what a lead may bind other components to.
func facts(r *report, k *vek) verdict.Facts {
	return verdict.Facts{
		Device:     k.device(),
		SignerSPKI: hex.EncodeToString(k.spki[:]),
		Registers: map[string]string{
			"measurement": hex.EncodeToString(r.measurement()), "host_data": hex.EncodeToString(r.hostData()),
		},
	}
}

// device is the identity of the chip: the hardware id of its VCEK, which AMD
// certifies. Two CPU components with one are, as far as anyone can prove, one CPU
// answering twice, also where the host hides CHIP_ID in one of the reports. With a
// VLEK, which all chips of a provider share, a report says of no chip that it is its.
func (v *vek) device() []string {
	if v.kind != kindVCEK {
		return nil
	}
	return []string{"amd-chip:" + hex.EncodeToString(v.hwid)}
}
