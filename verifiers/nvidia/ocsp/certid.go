// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"crypto"
	_ "crypto/sha1"   // for CertIDs
	_ "crypto/sha256" // for CertIDs
	_ "crypto/sha512" // for CertIDs
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxSerial is the longest serial number in bytes (RFC 5280, section 4.1.2.2).
const maxSerial = 20

// hashes are the digests that name an issuer. NVIDIA's tools ask with SHA-1 and
// SHA-384; RFC 9919 wants SHA-256. SHA-1 only looks up here: whether a response
// holds for the issuer is a question of its signature.
var hashes = [...]struct {
	hash crypto.Hash
	oid  asn1.ObjectIdentifier
}{
	{crypto.SHA1, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}},
	{crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}},
	{crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}},
}

func hashByOID(oid asn1.ObjectIdentifier) (crypto.Hash, bool) {
	for _, h := range hashes {
		if h.oid.Equal(oid) {
			return h.hash, true
		}
	}
	return 0, false
}

func oidOfHash(hash crypto.Hash) (asn1.ObjectIdentifier, bool) {
	for _, h := range hashes {
		if h.hash == hash {
			return h.oid, true
		}
	}
	return nil, false
}

// certID names a certificate (RFC 6960, section 4.1.1).
type certID struct {
	hash      crypto.Hash
	name, key string // digests of the issuer's name and public key
	serial    string // big-endian without leading zeros
}

// idOf names a certificate as a request about it would.
func idOf(cert, issuer *x509.Certificate, hash crypto.Hash) (certID, error) {
	key, err := keyBits(issuer)
	if err != nil {
		return certID{}, err
	}
	if cert.SerialNumber == nil || cert.SerialNumber.Sign() < 0 {
		return certID{}, errors.New("ocsp: certificate without a positive serial number")
	}
	return certID{hash, digest(hash, cert.RawIssuer), digest(hash, key), serialOf(cert.SerialNumber)}, nil
}

func digest(hash crypto.Hash, b []byte) string {
	h := hash.New()
	h.Write(b)
	return string(h.Sum(nil))
}

func serialOf(n *big.Int) string { return string(n.Bytes()) }

// keyBits are the contents of subjectPublicKey, without tag, length and the
// number of unused bits.
func keyBits(cert *x509.Certificate) ([]byte, error) {
	in := cryptobyte.String(cert.RawSubjectPublicKeyInfo)
	var spki, algorithm cryptobyte.String
	var bits []byte
	if !in.ReadASN1(&spki, cbasn1.SEQUENCE) || !spki.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !spki.ReadASN1BitStringAsBytes(&bits) {
		return nil, errors.New("ocsp: certificate with an unreadable public key")
	}
	return bits, nil
}
