// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/binary"
	"math/big"
	"strings"

	"github.com/assize/assize/verdict"
)

// Attributes are TPMA_OBJECT.
type Attributes uint32

// Attributes that matter for an attestation key.
const (
	FixedTPM            Attributes = 1 << 1
	FixedParent         Attributes = 1 << 4
	SensitiveDataOrigin Attributes = 1 << 5
	Restricted          Attributes = 1 << 16
	Decrypt             Attributes = 1 << 17
	Sign                Attributes = 1 << 18

	// reserved are the bits that have no meaning in any version of the library
	// specification.
	reserved Attributes = 0xfff0f009
)

var attributeNames = []struct {
	bit  Attributes
	name string
}{
	{FixedTPM, "fixedTPM"}, {FixedParent, "fixedParent"}, {SensitiveDataOrigin, "sensitiveDataOrigin"},
	{Restricted, "restricted"}, {Sign, "sign"}, {Decrypt, "decrypt"},
}

// Public is TPMT_PUBLIC of an RSA or ECC key.
type Public struct {
	// Key is an *rsa.PublicKey, or an *ecdsa.PublicKey on P-256 or P-384.
	Key        crypto.PublicKey
	Attributes Attributes
	// Name is the name of the object: hash algorithm and digest of the public area.
	Name []byte

	scheme uint16
	hash   crypto.Hash // of the scheme, 0 without one
}

// ParsePublic reads TPMT_PUBLIC of a key that could sign quotes, whatever its
// attributes: Check is about these. The error is an *Error.
func ParsePublic(raw []byte) (*Public, error) {
	if len(raw) > MaxPublic {
		return nil, errorf(verdict.ReasonTooLarge, "TPMT_PUBLIC has %d bytes, at most %d", len(raw), MaxPublic)
	}
	r := &reader{what: "TPMT_PUBLIC", raw: raw}
	kind, nameAlg := r.u16("type"), r.u16("nameAlg")
	hash := hashOf(nameAlg)
	if r.err == nil && hash == 0 {
		r.fail(verdict.ReasonUnsupported, "nameAlg %04x is none of SHA-256, SHA-384 and SHA-512", nameAlg)
	}
	p := &Public{Attributes: Attributes(r.u32("objectAttributes"))}
	if bits := p.Attributes & reserved; bits != 0 {
		r.fail(verdict.ReasonMalformed, "reserved bits %08x of objectAttributes are set", uint32(bits))
	}
	if policy := r.sized(maxExtraData, "authPolicy"); r.err == nil && len(policy) != 0 && len(policy) != hash.Size() {
		r.fail(verdict.ReasonMalformed, "authPolicy has %d bytes, a policy has none or %d", len(policy), hash.Size())
	}
	if sym := r.u16("symmetric"); r.err == nil && sym != algNull {
		r.fail(verdict.ReasonUnsupported, "a key with the symmetric algorithm %04x does not sign", sym)
	}
	p.readScheme(r)
	switch {
	case r.err != nil:
	case kind == algRSA:
		p.readRSA(r)
	case kind == algECC:
		p.readECC(r)
	default:
		r.fail(verdict.ReasonUnsupported, "type %04x is neither RSA nor ECC", kind)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if err := checkKey(p.Key); err != nil {
		return nil, err
	}
	h := hash.New()
	h.Write(raw)
	p.Name = h.Sum(binary.BigEndian.AppendUint16(nil, nameAlg))
	return p, nil
}

// readScheme reads TPMT_RSA_SCHEME or TPMT_ECC_SCHEME.
func (p *Public) readScheme(r *reader) {
	switch p.scheme = r.u16("scheme"); p.scheme {
	case algNull:
	case algRSASSA, algRSAPSS, algECDSA:
		alg := r.u16("hash of the scheme")
		if p.hash = hashOf(alg); r.err == nil && p.hash == 0 {
			r.fail(verdict.ReasonUnsupported, "hash %04x of the scheme is none of SHA-256, SHA-384 and SHA-512", alg)
		}
	default:
		if r.err == nil {
			r.fail(verdict.ReasonUnsupported, "scheme %04x is none of RSASSA, RSAPSS and ECDSA", p.scheme)
		}
	}
}

func (p *Public) readRSA(r *reader) {
	size, exponent := int(r.u16("keyBits")), r.u32("exponent")
	if exponent == 0 {
		exponent = 65537 // the default
	}
	modulus := r.sized(maxModulus/8, "modulus")
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(exponent)}
	if r.err == nil && (key.N.BitLen() != size || len(modulus)*8 != size) {
		r.fail(verdict.ReasonMalformed, "keyBits is %d, the modulus has %d bits in %d bytes", size, key.N.BitLen(), len(modulus))
	}
	if r.err == nil && (exponent < 3 || exponent&1 == 0 || exponent > 1<<31-1) {
		r.fail(verdict.ReasonUnsupported, "exponent %d", exponent)
	}
	p.Key = key
}

func (p *Public) readECC(r *reader) {
	var curve elliptic.Curve
	switch id := r.u16("curve"); {
	case r.err != nil:
	case id == curveP256:
		curve = elliptic.P256()
	case id == curveP384:
		curve = elliptic.P384()
	default:
		r.fail(verdict.ReasonUnsupported, "curve %04x is neither P-256 nor P-384", id)
	}
	if kdf := r.u16("kdf"); r.err == nil && kdf != algNull {
		r.fail(verdict.ReasonUnsupported, "a key with the key derivation %04x does not sign", kdf)
	}
	x, y := r.sized(maxCoord, "x"), r.sized(maxCoord, "y")
	if r.err != nil {
		return
	}
	size := (curve.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	point[0] = 4 // uncompressed
	if len(x) > size || len(y) > size {
		r.fail(verdict.ReasonMalformed, "coordinates of %d and %d bytes, the curve has %d", len(x), len(y), size)
		return
	}
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		r.fail(verdict.ReasonMalformed, "the point is not on the curve")
		return
	}
	p.Key = key
}

// Check wants the form of an attestation key: made in a TPM and bound to it,
// restricted to what the TPM itself says, signing, not decrypting, with a scheme
// of its own, and that one in the signature. The public area is not signed, so
// this finds mistakes and no lies: that the area is that of a key in a TPM is for
// certificates and CPU reports to say. The error is an *Error.
func (p *Public) Check(sig Signature) error {
	const want = FixedTPM | FixedParent | SensitiveDataOrigin | Restricted | Sign
	var wrong []string
	for _, a := range attributeNames {
		switch set := p.Attributes&a.bit != 0; {
		case a.bit == Decrypt && set:
			wrong = append(wrong, "decrypt is set")
		case a.bit != Decrypt && want&a.bit != 0 && !set:
			wrong = append(wrong, a.name+" is not set")
		}
	}
	if len(wrong) > 0 {
		return errorf(verdict.ReasonWrongSigner, "ak_public is not of an attestation key: %s", strings.Join(wrong, ", "))
	}
	if p.scheme != sig.scheme || p.hash != sig.Hash {
		return errorf(verdict.ReasonWrongSigner, "the key signs by scheme %04x with %v only, the signature is by scheme %04x with %v",
			p.scheme, hashName(p.hash), sig.scheme, hashName(sig.Hash))
	}
	return nil
}

func hashName(h crypto.Hash) string {
	if h == 0 {
		return "no hash"
	}
	return h.String()
}

// AttributeNames are the attributes that are set, of those that matter.
func (p *Public) AttributeNames() []string {
	var out []string
	for _, a := range attributeNames {
		if p.Attributes&a.bit != 0 {
			out = append(out, a.name)
		}
	}
	return out
}

// hierarchies are the permanent handles under which keys are primary.
var hierarchies = []struct {
	handle uint32
	name   string
}{
	{0x4000000b, "endorsement"}, {0x40000001, "owner"}, {0x4000000c, "platform"}, {0x40000007, "null"},
}

// Hierarchy is where the key is primary by the qualified name in a quote, or ""
// if it is under another key or the name is that of another public area.
func (p *Public) Hierarchy(signer []byte) string {
	hash := hashOf(binary.BigEndian.Uint16(p.Name))
	for _, h := range hierarchies {
		d := hash.New()
		d.Write(binary.BigEndian.AppendUint32(nil, h.handle))
		d.Write(p.Name)
		if string(d.Sum(binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(p.Name)))) == string(signer) {
			return h.name
		}
	}
	return ""
}
