// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"encoding/hex"
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// claims renders what the token says: one object for each half, byte strings as
// lower-case hexadecimal.
func (t *token) claims() map[string]any {
	p, r := &t.platform, &t.realm
	platform := map[string]any{
		"profile":           p.profile,
		"challenge":         hex.EncodeToString(p.challenge),
		"implementation_id": hex.EncodeToString(p.implementation),
		"instance_id":       hex.EncodeToString(p.instance),
		"config":            hex.EncodeToString(p.config),
		"lifecycle":         int(p.lifecycle),
		"lifecycle_state":   p.lifecycle.State().String(),
		"software":          armtoken.ComponentClaims(p.components),
		"hash_algorithm":    p.hash,
		"signature":         p.message.Algorithm(),
	}
	if p.service != "" {
		platform["verification_service"] = p.service
	}
	realm := map[string]any{
		"challenge":                 hex.EncodeToString(r.challenge),
		"personalization_value":     hex.EncodeToString(r.rpv),
		"hash_algorithm":            r.hash,
		"public_key_hash_algorithm": r.rakHash,
		"signature":                 r.message.Algorithm(),
	}
	if r.profile != "" {
		realm["profile"] = r.profile
	}
	for name, v := range r.registers() {
		realm[name] = v
	}
	if len(p.unread) > 0 {
		platform["not_evaluated"] = numbers(p.unread)
	}
	if len(r.unread) > 0 {
		realm["not_evaluated"] = numbers(r.unread)
	}
	out := map[string]any{"collection_tag": int(t.tag), "platform": platform, "realm": realm}
	for _, name := range t.unevaluated {
		out[name] = "present, not evaluated"
	}
	return out
}

func numbers(list []int64) []any {
	out := make([]any, len(list))
	for i, n := range list {
		out[i] = n
	}
	return out
}

// registers are the measurements of the realm by name.
func (r *realm) registers() map[string]string {
	m := map[string]string{"rim": hex.EncodeToString(r.rim), "rpv": hex.EncodeToString(r.rpv)}
	for i, rem := range r.rem {
		m[fmt.Sprintf("rem%d", i)] = hex.EncodeToString(rem)
	}
	return m
}

// facts are what both signatures prove.
func (t *token) facts(a armtoken.Anchor, rak string) verdict.Facts {
	return verdict.Facts{
		Device:     []string{"arm-ueid:" + hex.EncodeToString(t.platform.instance)},
		SignerSPKI: a.Digest,
		ReportData: hex.EncodeToString(t.realm.challenge),
		Registers:  t.realm.registers(),
		Keys:       []verdict.CommittedKey{{SPKI: rak, Via: "realm-public-key", Origin: verdict.OriginHardware}},
	}
}
