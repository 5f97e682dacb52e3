// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assize/assize/endorsements"
)

// nonceSize is the length of a nonce in bytes that RFC 9654, section 2.1, asks for.
const nonceSize = 32

var (
	oidSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidNonce  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
)

// encodeRequest is the DER of an OCSPRequest (RFC 6960, section 4.1.1) about one
// certificate, with a nonce. The item has been checked.
func encodeRequest(i endorsements.Item, nonce []byte) ([]byte, error) {
	var fields [3][]byte
	for k, s := range []string{i.IssuerName, i.IssuerKey, i.Serial} {
		b, err := hex.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("nvidia: %w: %s", endorsements.ErrNeed, i)
		}
		fields[k] = b
	}
	sequence := func(b *cryptobyte.Builder, in cryptobyte.BuilderContinuation) { b.AddASN1(cbasn1.SEQUENCE, in) }
	certID := func(b *cryptobyte.Builder) {
		sequence(b, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidSHA384)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(fields[0])
		b.AddASN1OctetString(fields[1])
		b.AddASN1BigInt(new(big.Int).SetBytes(fields[2]))
	}
	extension := func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidNonce)
		b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
	}
	var b cryptobyte.Builder
	sequence(&b, func(b *cryptobyte.Builder) { // OCSPRequest
		sequence(b, func(b *cryptobyte.Builder) { // TBSRequest
			sequence(b, func(b *cryptobyte.Builder) { // requestList
				sequence(b, func(b *cryptobyte.Builder) { sequence(b, certID) }) // Request
			})
			b.AddASN1(cbasn1.Tag(2).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				sequence(b, func(b *cryptobyte.Builder) { sequence(b, extension) })
			})
		})
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("nvidia: request: %w", err)
	}
	return out, nil
}
