// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"encoding/hex"
	"fmt"
	"strconv"
)

// claims renders the quote under the names of the TPM specification.
func claims(l *leaf, s *statement, w *voucher, values map[string]string) map[string]any {
	selected := make([]any, len(s.Selected))
	for i, pcr := range s.Selected {
		selected[i] = pcr
	}
	pcrs := make(map[string]any, len(values))
	for name, value := range values {
		pcrs[name] = value
	}
	return map[string]any{
		"ak":               keyClaims(s, w),
		"bank":             string(l.bank),
		"selected":         selected,
		"pcrs":             pcrs,
		"extra_data":       hex.EncodeToString(s.ExtraData),
		"firmware_version": fmt.Sprintf("%016x", s.Firmware),
		"clock": map[string]any{
			"milliseconds": strconv.FormatUint(s.Clock.Milliseconds, 10), // more than JSON numbers hold
			"resets":       int(s.Clock.Resets), "restarts": int(s.Clock.Restarts), "safe": s.Clock.Safe,
		},
	}
}

// keyClaims say which key signed, and who vouches for it. The attributes are what
// the evidence says of the key.
func keyClaims(s *statement, w *voucher) map[string]any {
	vouchers, attributes := []any{}, []any{}
	for _, name := range s.public.AttributeNames() {
		attributes = append(attributes, name)
	}
	ak := map[string]any{"spki_sha256": s.id, "name": hex.EncodeToString(s.public.Name), "attributes": attributes}
	if h := s.public.Hierarchy(s.Signer); h != "" {
		ak["hierarchy"] = h
	}
	if w.chain != nil {
		leaf := w.chain.certs[0]
		vouchers = append(vouchers, "certificate")
		ak["serial"], ak["issuer"], ak["not_after"] = leaf.SerialNumber.Text(16), leaf.Issuer.String(), stamp(leaf.NotAfter)
		ak["root_sha256"] = w.chain.root
	}
	for _, d := range w.documents {
		vouchers = append(vouchers, d.String())
	}
	ak["vouched_for_by"] = vouchers
	return ak
}
