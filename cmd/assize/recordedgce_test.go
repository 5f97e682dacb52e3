// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// fields calls f for every field of a protobuf message: its number, and the value
// of a varint or bytes.
func fields(t *testing.T, raw []byte, f func(field, number uint64, value []byte)) {
	t.Helper()
	varint := func() uint64 {
		v, n := binary.Uvarint(raw)
		if n <= 0 {
			t.Fatal("not a protobuf message")
		}
		raw = raw[n:]
		return v
	}
	for len(raw) > 0 {
		switch tag := varint(); tag & 7 {
		case 0:
			f(tag>>3, varint(), nil)
		case 2:
			n := varint()
			f(tag>>3, 0, raw[:n])
			raw = raw[n:]
		default:
			t.Fatalf("wire type %d", tag&7)
		}
	}
}

// ofGoogle turns the SHA-256 quote of an attestation of Google's (go-tpm-tools,
// attest.proto) into a leaf: key, quote with registers, log and certificate.
func ofGoogle(t *testing.T, raw []byte) []byte {
	t.Helper()
	const sha256 = 0x0b // TPM_ALG_ID
	out := map[string]any{}
	fields(t, raw, func(field, _ uint64, v []byte) {
		switch field {
		case 1:
			out["ak_public"] = v
		case 2:
			var quote, signature []byte
			var bank uint64
			pcrs := map[uint64][]byte{}
			fields(t, v, func(field, _ uint64, v []byte) {
				switch field {
				case 1:
					quote = v
				case 2:
					signature = v
				case 3:
					fields(t, v, func(field, number uint64, v []byte) {
						if field == 1 {
							bank = number
							return
						}
						var index uint64
						var value []byte
						fields(t, v, func(_, number uint64, v []byte) {
							if v == nil {
								index = number
							} else {
								value = v
							}
						})
						pcrs[index] = value
					})
				}
			})
			if bank == sha256 {
				out["quote"], out["signature"], out["pcrs"] = quote, signature, map[string]any{"sha256": pcrs}
			}
		case 3:
			out["event_log"] = v
		case 6:
			out["ak_certificate"] = [][]byte{v}
		}
	})
	leaf, err := cbor.Marshal(out)
	if err != nil || out["quote"] == nil {
		t.Fatalf("no quote: %v", err)
	}
	return leaf
}
