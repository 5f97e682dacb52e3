// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // hashes of the signature algorithms
	_ "crypto/sha512"
	"encoding/base64"

	"github.com/fxamacker/cbor/v2"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/evidence/internal/cborscan"
)

// Signer is who signed a CMW.
type Signer struct {
	// KID is the key id of the signature, nil if none was given.
	KID []byte
	// Alg is the JOSE name of the algorithm.
	Alg string
	// Thumbprint is the RFC 7638 SHA-256 thumbprint in base64url of the key
	// that verified the signature, "" if unverified.
	Thumbprint string
	// Verified reports that a trusted key verified the signature. It is false
	// only under Options.UnverifiedSignaturesUnsafe.
	Verified bool
	// Public is the key that verified the signature, nil if unverified.
	Public crypto.PublicKey
}

// coseAlgs are the algorithms that we accept, by their JOSE names.
var coseAlgs = map[cose.Algorithm]string{
	cose.AlgorithmES256: "ES256", cose.AlgorithmES384: "ES384", cose.AlgorithmES512: "ES512",
	cose.AlgorithmPS256: "PS256", cose.AlgorithmPS384: "PS384", cose.AlgorithmPS512: "PS512",
	cose.AlgorithmEdDSA: "EdDSA",
}

// minRSA is the shortest RSA modulus in bits (RFC 8230 section 2, RFC 7518 section 3.5).
const minRSA = 2048

// keyFits reports whether pub is of the one kind that alg allows. Curves are
// fixed per algorithm also in COSE, where RFC 9053 leaves them free.
func keyFits(alg string, pub crypto.PublicKey) bool {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return (alg == "EdDSA" || alg == "Ed25519") && len(k) == ed25519.PublicKeySize
	case *ecdsa.PublicKey:
		if k == nil {
			return false
		}
		switch alg {
		case "ES256":
			return k.Curve == elliptic.P256()
		case "ES384":
			return k.Curve == elliptic.P384()
		case "ES512":
			return k.Curve == elliptic.P521()
		}
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return false
		}
		return (alg == "PS256" || alg == "PS384" || alg == "PS512") && k.N.BitLen() >= minRSA
	}
	return false
}

// verifySignature finds the trusted key that verifies one signature.
func (p *parser) verifySignature(kid []byte, alg string, f frame, check func(crypto.PublicKey) error) (*Signer, error) {
	var fitting int
	if p.opt.Keys != nil {
		for _, pub := range p.opt.Keys.VerificationKeys(kid, alg) {
			if !keyFits(alg, pub) {
				continue
			}
			fitting++
			if check(pub) != nil {
				continue
			}
			thumb, err := thumbprint(pub)
			if err != nil {
				return nil, f.fail("CMW-39", -1, "key of the signer has no thumbprint")
			}
			return &Signer{KID: kid, Alg: alg, Thumbprint: thumb, Verified: true, Public: pub}, nil
		}
	}
	if fitting > 0 {
		return nil, f.fail("CMW-39", -1, "signature does not verify (%s, key id %.64q, %d trusted keys tried)", alg, kid, fitting)
	}
	if p.opt.UnverifiedSignaturesUnsafe {
		return &Signer{KID: kid, Alg: alg}, nil
	}
	return nil, f.fail(RuleUntrusted, -1, "no trusted key for the signed CMW (%s, key id %.64q)", alg, kid)
}

func thumbprint(pub crypto.PublicKey) (string, error) {
	k, err := jwk.Import(pub)
	if err != nil {
		return "", err
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// Tag 18 of COSE_Sign1, as it is almost always encoded, and header labels of RFC 9052.
const (
	coseTagHead    = 0xd2
	coseTag        = 18
	coseLabelAlg   = int64(1)
	coseLabelCrit  = int64(2)
	coseLabelType  = int64(3)
	coseLabelKID   = int64(4)
	coseLabelChain = int64(33)
	coseSkipDepth  = 8
)

// coseParts are the four members of a COSE_Sign1, sliced from the message.
type coseParts struct {
	headers   cose.Headers
	payload   []byte
	payloadAt int // offset of the payload's bytes, -1 if joined from chunks
	signature []byte
}

// readCOSE takes a COSE_Sign1 apart, tagged or bare (decision D-05).
func readCOSE(raw []byte, f frame) (*coseParts, error) {
	r := &cborscan.Reader{Buf: raw}
	h, err := r.Head()
	c := &coseParts{}
	if err == nil && h.Major == cborscan.Tag && h.Arg == coseTag {
		h, err = r.Head()
	}
	if err != nil {
		return nil, f.wrapAs("CMW-39", err)
	}
	if h.Major != cborscan.Array || !h.Indefinite && h.Arg != 4 {
		return nil, f.fail("CMW-39", 0, "no COSE_Sign1 array of 4")
	}
	if err := c.readHeaders(r, f); err != nil {
		return nil, err
	}
	at := r.Pos
	if major, ok := r.Major(); ok && major == cborscan.Simple {
		return nil, f.fail("CMW-39", at, "payload is detached")
	}
	if c.payload, err = r.String(cborscan.Bytes); err != nil {
		return nil, f.wrapAs("CMW-39", err)
	}
	c.payloadAt = r.Pos - len(c.payload)
	if raw[at] == cborscan.Bytes<<5|31 {
		c.payloadAt = -1
	}
	if c.signature, err = r.String(cborscan.Bytes); err != nil {
		return nil, f.wrapAs("CMW-39", err)
	}
	if h.Indefinite && !r.Break() {
		return nil, f.fail("CMW-39", r.Pos, "COSE_Sign1 with more than 4 members")
	}
	if err := r.End(); err != nil {
		return nil, f.wrapAs("CMW-03", err)
	}
	return c, nil
}

func (c *coseParts) readHeaders(r *cborscan.Reader, f frame) error {
	at := r.Pos
	protected, err := r.String(cborscan.Bytes)
	if err != nil {
		return f.wrapAs("CMW-39", err)
	}
	start := r.Pos
	if major, _ := r.Major(); major != cborscan.Map {
		return f.fail("CMW-39", start, "unprotected header is not a map")
	}
	if err := r.Skip(coseSkipDepth); err != nil {
		return f.wrapAs("CMW-39", err)
	}
	// The signature covers the content of the byte string, whatever its head.
	rawProtected, err := cbor.Marshal(protected)
	if err != nil {
		return f.fail("CMW-39", at, "protected header: %v", err)
	}
	c.headers = cose.Headers{RawProtected: rawProtected, RawUnprotected: r.Buf[start:r.Pos]}
	if err := c.headers.UnmarshalFromRaw(); err != nil {
		return f.fail("CMW-39", at, "COSE headers: %v", err)
	}
	return nil
}

// alg is the JOSE name of the algorithm; false if the header has none.
func (c *coseParts) alg(f frame) (name string, present bool, err error) {
	if _, ok := c.headers.Protected[coseLabelAlg]; !ok {
		return "", false, nil
	}
	a, err := c.headers.Protected.Algorithm()
	if err != nil {
		return "", true, f.fail("CMW-39", -1, "COSE alg: %v", err)
	}
	name, ok := coseAlgs[a]
	if !ok {
		return "", true, f.fail("CMW-39", -1, "COSE alg %d is not accepted", int64(a))
	}
	return name, true, nil
}

// kid is the key id from either header; both at once are refused.
func (c *coseParts) kid(f frame) ([]byte, error) {
	p, inP := c.headers.Protected[coseLabelKID]
	u, inU := c.headers.Unprotected[coseLabelKID]
	if inP && inU {
		return nil, f.fail("CMW-39", -1, "key id in both COSE headers")
	}
	if inU {
		p = u
	}
	kid, _ := p.([]byte) // go-cose has refused every other type
	return kid, nil
}

// verify checks the signature over the received payload bytes.
func (p *parser) verifyCOSE(c *coseParts, alg string, f frame) (*Signer, error) {
	kid, err := c.kid(f)
	if err != nil {
		return nil, err
	}
	a, _ := c.headers.Protected.Algorithm()
	return p.verifySignature(kid, alg, f, func(pub crypto.PublicKey) error {
		v, err := cose.NewVerifier(a, pub)
		if err != nil {
			return err
		}
		m := cose.Sign1Message{Headers: c.headers, Payload: c.payload, Signature: c.signature}
		return m.Verify(nil, v)
	})
}

// coseMessage parses the signed CMW in the value of n (CMW-39, CMW-40).
func (p *parser) coseMessage(n *Node, f frame) (*Node, error) {
	c, err := readCOSE(n.value, f)
	if err != nil {
		return nil, err
	}
	for _, l := range []int64{coseLabelAlg, coseLabelCrit, coseLabelType} {
		if _, ok := c.headers.Unprotected[l]; ok {
			return nil, f.fail("CMW-39", -1, "COSE header %d is not protected", l)
		}
	}
	if _, ok := c.headers.Protected[coseLabelCrit]; ok {
		return nil, f.fail("CMW-39", -1, "COSE crit is not supported")
	}
	alg, present, err := c.alg(f)
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, f.fail("CMW-39", -1, "COSE alg is missing")
	}
	mt, err := p.coseContentType(c, f)
	if err != nil {
		return nil, err
	}
	if n.signer, err = p.verifyCOSE(c, alg, f); err != nil {
		return nil, err
	}
	return p.cosePayload(c, n.signer, mt, f)
}

func (p *parser) cosePayload(c *coseParts, s *Signer, mt MediaType, f frame) (*Node, error) {
	f.signer, f.notCMW = s, "CMW-40"
	f.base += int64(max(c.payloadAt, 0))
	child, err := p.cborMessage(c.payload, f)
	if err != nil {
		return nil, err
	}
	return child, p.checkCollectionParam(mt, child, f)
}

// coseContentType requires application/cmw+cbor, as text or as number.
func (p *parser) coseContentType(c *coseParts, f frame) (MediaType, error) {
	v, ok := c.headers.Protected[coseLabelType]
	if !ok {
		return MediaType{}, f.fail("CMW-39", -1, "COSE content type is missing")
	}
	switch t := v.(type) {
	case string:
		mt, err := p.mediaType([]byte(t), f, -1)
		if err == nil && mt.Base == TypeCMWCBOR {
			return mt, nil
		}
	case int64:
		if t == cfCMWCBOR {
			return MediaType{Base: TypeCMWCBOR}, nil
		}
	case uint64:
		if t == cfCMWCBOR {
			return MediaType{Base: TypeCMWCBOR}, nil
		}
	}
	return MediaType{}, f.fail("CMW-39", -1, "COSE content type is not %s", TypeCMWCBOR)
}

// coseHasContentType tells a signed CMW from a ratsd token when no media type
// is declared. What cannot be read counts as signed CMW, which reports why.
func coseHasContentType(raw []byte) bool {
	c, err := readCOSE(raw, frame{})
	if err != nil {
		return true
	}
	_, ok := c.headers.Protected[coseLabelType]
	return ok
}
