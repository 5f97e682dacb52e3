// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"crypto"
	"crypto/x509"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// NonceSize is the length in bytes that requests should use (RFC 9654, section 2.1).
	NonceSize = 32
	// minNonce is the shortest nonce that is worth asking for.
	minNonce = 16
)

// Request is the DER of an OCSPRequest (RFC 6960, section 4.1.1) about one
// certificate, to be posted as RequestType. hash is crypto.SHA1, SHA256 or SHA384
// and names the certificate. With a nonce of 16 to MaxNonce bytes the responder has
// to repeat it; nil asks without one, so that stored responses may come back. The
// certificates of one chain may be asked about with one nonce, which is what Check
// compares.
func Request(cert, issuer *x509.Certificate, hash crypto.Hash, nonce []byte) ([]byte, error) {
	oid, ok := oidOfHash(hash)
	if !ok {
		return nil, fmt.Errorf("ocsp: request with hash %d, expected SHA-1, SHA-256 or SHA-384", uint(hash))
	}
	if nonce != nil && (len(nonce) < minNonce || len(nonce) > MaxNonce) {
		return nil, fmt.Errorf("ocsp: request with a nonce of %d bytes, expected %d to %d", len(nonce), minNonce, MaxNonce)
	}
	id, err := idOf(cert, issuer, hash)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	sequence := func(b *cryptobyte.Builder, in cryptobyte.BuilderContinuation) { b.AddASN1(cbasn1.SEQUENCE, in) }
	sequence(&b, func(b *cryptobyte.Builder) { // OCSPRequest
		sequence(b, func(b *cryptobyte.Builder) { // TBSRequest
			sequence(b, func(b *cryptobyte.Builder) { // requestList
				sequence(b, func(b *cryptobyte.Builder) { // Request
					sequence(b, func(b *cryptobyte.Builder) { // CertID
						sequence(b, func(b *cryptobyte.Builder) {
							b.AddASN1ObjectIdentifier(oid)
							b.AddASN1NULL()
						})
						b.AddASN1OctetString([]byte(id.name))
						b.AddASN1OctetString([]byte(id.key))
						b.AddASN1BigInt(cert.SerialNumber)
					})
				})
			})
			if nonce != nil {
				b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { addNonce(b, nonce) })
			}
		})
	})
	return b.Bytes()
}

// addNonce writes Extensions with the nonce, not critical: a responder that does
// not know it answers without, and Check refuses that.
func addNonce(b *cryptobyte.Builder, nonce []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidNonce)
			b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
		})
	})
}
