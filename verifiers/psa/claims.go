// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"encoding/hex"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// claims renders what the token says, under the names of RFC 9783 without the
// prefix; byte strings as lower-case hexadecimal.
func (t *token) claims() map[string]any {
	m := map[string]any{
		"profile":            t.profile,
		"nonce":              hex.EncodeToString(t.nonce),
		"instance_id":        hex.EncodeToString(t.instance),
		"implementation_id":  hex.EncodeToString(t.implementation),
		"client_id":          int(t.client),
		"security_lifecycle": int(t.lifecycle),
		"lifecycle_state":    t.lifecycle.State().String(),
		"software":           armtoken.ComponentClaims(t.components),
		"signature":          t.message.Algorithm(),
	}
	if t.seed != nil {
		m["boot_seed"] = hex.EncodeToString(t.seed)
	}
	if t.reference != "" {
		m["certification_reference"] = t.reference
	}
	if t.service != "" {
		m["verification_service"] = t.service
	}
	if len(t.unread) > 0 {
		list := make([]any, len(t.unread))
		for i, n := range t.unread {
			list[i] = n
		}
		m["not_evaluated"] = list
	}
	return m
}

// facts are what the signature proves.
func (t *token) facts(a armtoken.Anchor) verdict.Facts {
	return verdict.Facts{
		Device:     []string{"psa-ueid:" + hex.EncodeToString(t.instance)},
		SignerSPKI: a.Digest,
		ReportData: hex.EncodeToString(t.nonce),
	}
}
