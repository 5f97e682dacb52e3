// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/internal/limits"
)

const (
	magic      = 0xff544347 // TPM_GENERATED_VALUE
	typeQuote  = 0x8018     // TPM_ST_ATTEST_QUOTE
	tpmVersion = 0x2026110100010000
	selectSize = pcrCount / 8
)

// quoteTail is what follows extraData and never changes: clock, firmware
// version, selection and digest of the selected PCRs.
func (d *Device) quoteTail(o *Options) []byte {
	be := binary.BigEndian
	seed := o.Device.Sub("clock")
	out := be.AppendUint64(nil, 3_600_000+seed.Uint64()%86_400_000) // milliseconds since the TPM was made
	out = be.AppendUint32(out, 1+uint32(seed.Sub("resets").Uint64()%32))
	out = be.AppendUint32(out, 0) // restarts
	out = append(out, 1)          // safe: the clock did not go back
	out = be.AppendUint64(out, tpmVersion)
	out = be.AppendUint32(out, 1) // banks
	out = append(be.AppendUint16(out, algSHA256), selectSize)
	var selection [selectSize]byte
	h := sha256.New()
	for _, pcr := range d.selected {
		selection[pcr/8] |= 1 << (pcr % 8)
		h.Write(d.pcrs[pcr][:])
	}
	out = append(out, selection[:]...)
	return sized(out, h.Sum(nil))
}

// Quote is TPMS_ATTEST of the selected PCRs with nonce, at most 64 bytes, as
// extraData, and its TPMT_SIGNATURE.
func (d *Device) Quote(nonce []byte) (attest, signature []byte, err error) {
	if len(nonce) > limits.NonceMax {
		return nil, nil, fmt.Errorf("tcgtpm: nonce has %d bytes, more than %d", len(nonce), limits.NonceMax)
	}
	attest = binary.BigEndian.AppendUint32(make([]byte, 0, 192), magic)
	attest = binary.BigEndian.AppendUint16(attest, typeQuote)
	attest = sized(sized(attest, d.qualified), nonce)
	attest = append(attest, d.tail...)
	if signature, err = sign(d.signer, attest); err != nil {
		return nil, nil, err
	}
	return attest, signature, nil
}
