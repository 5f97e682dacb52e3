// SPDX-License-Identifier: Apache-2.0

package armtoken

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/assize/assize/corim"
)

// PublicKey reads a key of a CoRIM: tag 554, a SubjectPublicKeyInfo as PEM or as
// base64 of its DER, with an ECDSA key on P-256, P-384 or P-521.
func PublicKey(t corim.Typed) (*ecdsa.PublicKey, error) {
	if t.Tag != corim.TagPKIXKey || t.Form != corim.Text {
		return nil, fmt.Errorf("key under tag %d, expected %d with a text", t.Tag, corim.TagPKIXKey)
	}
	var der []byte
	if block, rest := pem.Decode([]byte(t.Data)); block != nil {
		if block.Type != "PUBLIC KEY" || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errors.New("not one PEM block PUBLIC KEY")
		}
		der = block.Bytes
	} else {
		var err error
		if der, err = base64.StdEncoding.Strict().DecodeString(t.Data); err != nil {
			return nil, errors.New("neither PEM nor base64")
		}
	}
	any, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := any.(*ecdsa.PublicKey)
	if !ok || !known(key.Curve) {
		return nil, errors.New("not an ECDSA key on P-256, P-384 or P-521")
	}
	return key, nil
}

func known(c elliptic.Curve) bool {
	return c == elliptic.P256() || c == elliptic.P384() || c == elliptic.P521()
}

// RawPoint reads a key that is an uncompressed point of P-384, 97 bytes (SEC 1,
// section 2.3.4).
func RawPoint(raw []byte) (*ecdsa.PublicKey, error) {
	return ecdsa.ParseUncompressedPublicKey(elliptic.P384(), raw)
}

// Labels of a COSE_Key with two coordinates (RFC 9052, section 7; RFC 9053,
// section 7.1.1).
const (
	keyType  = 1
	keyID    = 2
	keyAlg   = 3
	keyCurve = -1
	keyX     = -2
	keyY     = -3
	typeEC2  = 2
)

// COSEKey reads a COSE_Key of type EC2 with both coordinates.
func (d *Decoder) COSEKey(raw []byte) (*ecdsa.PublicKey, error) {
	c := d.Claims(raw)
	kty := c.Uint(keyType, "key type", true, typeEC2)
	crv := c.Uint(keyCurve, "curve", true, 3)
	x, y := c.Bytes(keyX, "x"), c.Bytes(keyY, "y")
	c.OptionalBytes(keyID, "key id")
	var alg int64
	c.take(keyAlg, "algorithm", 1, false, &alg)
	if c.err == nil && len(c.Unread()) > 0 {
		c.Fail("unknown members %v", c.Unread())
	}
	if c.err != nil {
		return nil, fmt.Errorf("COSE_Key: %w", c.err)
	}
	curves := map[uint64]elliptic.Curve{1: elliptic.P256(), 2: elliptic.P384(), 3: elliptic.P521()}
	algs := map[uint64]int64{1: -7, 2: -35, 3: -36}
	curve := curves[crv]
	if kty != typeEC2 || curve == nil || alg != 0 && alg != algs[crv] {
		return nil, fmt.Errorf("COSE_Key: type %d, curve %d, algorithm %d, expected type 2, P-256, P-384 or P-521 and its algorithm", kty, crv, alg)
	}
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return nil, fmt.Errorf("COSE_Key: coordinates of %d and %d bytes, expected %d", len(x), len(y), size)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, fmt.Errorf("COSE_Key: %w", err)
	}
	return key, nil
}

// SPKI is the SubjectPublicKeyInfo of a key (DER), and its SHA-256 in hexadecimal
// digits.
func SPKI(key *ecdsa.PublicKey) (der []byte, digest string, err error) {
	if der, err = x509.MarshalPKIXPublicKey(key); err != nil {
		return nil, "", fmt.Errorf("armtoken: %w", err)
	}
	sum := sha256.Sum256(der)
	return der, hex.EncodeToString(sum[:]), nil
}
