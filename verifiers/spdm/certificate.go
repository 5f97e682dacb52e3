// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
)

// GetCertificate is a GET_CERTIFICATE request.
type GetCertificate struct {
	Raw  []byte
	Slot uint8
	// Large is the form with 32-bit numbers (1.4).
	Large bool
	// SizeOnly asks for the size of the slot instead of data (1.3).
	SizeOnly       bool
	Offset, Length uint32
}

// Certificate is a CERTIFICATE response. Portion points into the message.
type Certificate struct {
	Raw  []byte
	Slot uint8
	// Large is the form with 32-bit numbers (1.4).
	Large bool
	// Model is the certificate model, from 1.3; ModelNone before and where not told.
	Model     Model
	Portion   []byte
	Remainder uint32
}

const largeForm = 0x80

// ParseGetCertificate parses a GET_CERTIFICATE request exactly.
func ParseGetCertificate(b []byte, v *VCA) (*GetCertificate, error) {
	r := newReader(StageChallenge, "get_certificate", b, maxMessage)
	g := parseGetCertificate(r, v)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return g, nil
}

func parseGetCertificate(r *reader, v *VCA) *GetCertificate {
	start := r.at
	param1, param2 := r.header(v.Version, CodeGetCertificate)
	g := &GetCertificate{Slot: param1 & 0x0F, Large: v.Version >= Version14 && param1&largeForm != 0}
	g.SizeOnly = v.Version >= Version13 && param2&1 != 0
	g.Offset, g.Length = uint32(r.u16("offset")), uint32(r.u16("length"))
	if g.Large {
		g.Offset, g.Length = r.u32("large offset"), r.u32("large length")
	}
	if g.Slot >= MaxSlots {
		r.fail(KindMalformed, start+2, "0 to 7", g.Slot, "slot")
	}
	g.Raw = r.since(start)
	return g
}

// ParseCertificate parses a CERTIFICATE response to g exactly.
func ParseCertificate(b []byte, v *VCA, g *GetCertificate) (*Certificate, error) {
	r := newReader(StageChallenge, "certificate", b, maxMessage)
	c := parseCertificate(r, v, g)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

func parseCertificate(r *reader, v *VCA, g *GetCertificate) *Certificate {
	start := r.at
	param1, param2 := r.header(v.Version, CodeCertificate)
	c := &Certificate{Slot: param1 & 0x0F, Large: v.Version >= Version14 && param1&largeForm != 0}
	if v.Version >= Version13 {
		c.Model = Model(param2 & 7)
	}
	n := uint32(r.u16("portion length"))
	c.Remainder = uint32(r.u16("remainder length"))
	if c.Large {
		n, c.Remainder = r.u32("large portion length"), r.u32("large remainder length")
	}
	switch {
	case c.Slot != g.Slot:
		r.fail(KindSlot, start+2, g.Slot, c.Slot, "slot of CERTIFICATE is not the requested one")
	case c.Large != g.Large:
		r.fail(KindMalformed, start+2, g.Large, c.Large, "large form of CERTIFICATE")
	case g.SizeOnly && n != 0:
		r.fail(KindMalformed, start+4, 0, n, "CERTIFICATE carries data although the size was asked for")
	case !g.SizeOnly && n > g.Length:
		r.fail(KindMalformed, start+4, g.Length, n, "portion is longer than requested")
	case n > MaxChain:
		r.fail(KindMalformed, start+4, MaxChain, n, "portion is too long")
	}
	c.Portion = r.bytes(int(n), "portion")
	c.Raw = r.since(start)
	return c
}

// Chain is a certificate chain structure: a length (16 bits and two zero bytes;
// 32 bits from 1.4), the root hash, and DER certificates, issuer first.
type Chain struct {
	// Raw is the whole structure; its base hash is the digest in DIGESTS.
	Raw []byte
	// RootHash is the base hash of the trust anchor's certificate.
	RootHash []byte
	// Certificates are in the order of the structure, the leaf last.
	Certificates []*x509.Certificate
	// DER holds the bytes of each certificate.
	DER [][]byte
}

// Leaf returns the last certificate.
func (c *Chain) Leaf() *x509.Certificate { return c.Certificates[len(c.Certificates)-1] }

// ParseChain splits a certificate chain structure exactly. It verifies nothing.
func ParseChain(b []byte, v *VCA) (*Chain, error) {
	r := newReader(StageChain, "chain", b, MaxChain)
	c := &Chain{Raw: b}
	var length int
	if v.Version >= Version14 {
		length = int(r.u32("length"))
	} else {
		length = int(r.u16("length"))
		r.zero(2, "reserved bytes of the header")
	}
	if r.err == nil && length != len(b) {
		r.fail(KindMalformed, 0, len(b), length, "length of the chain structure")
	}
	c.RootHash = r.bytes(v.BaseHash.Size(), "root hash")
	for r.more() {
		at := r.at
		if len(c.DER) == MaxCertificates {
			r.fail(KindMalformed, at, nil, nil, "more than %d certificates", MaxCertificates)
			break
		}
		c.DER = append(c.DER, r.bytes(certificateLength(r), "certificate"))
	}
	if r.err == nil && len(c.DER) == 0 {
		r.fail(KindMalformed, r.at, nil, nil, "no certificate")
	}
	if r.err != nil {
		return nil, r.err
	}
	at := 4 + len(c.RootHash)
	for i, der := range c.DER {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, &Error{Stage: StageChain, Kind: KindCertificate, Object: "chain", Offset: at, Detail: "certificate cannot be read", Err: err}
		}
		if i > 0 && bytes.Equal(der, c.DER[i-1]) {
			return nil, &Error{Stage: StageChain, Kind: KindMalformed, Object: "chain", Offset: at, Detail: "certificate occurs twice"}
		}
		c.Certificates = append(c.Certificates, x)
		at += len(der)
	}
	return c, nil
}

// certificateLength reads the length of the DER SEQUENCE at the current
// position, header included, without moving. A negative result is refused by
// the caller's read.
func certificateLength(r *reader) int {
	var raw asn1.RawValue
	rest, err := asn1.Unmarshal(r.b[r.at:], &raw)
	if err != nil || raw.Tag != asn1.TagSequence || raw.Class != asn1.ClassUniversal {
		r.fail(KindMalformed, r.at, nil, nil, "no DER certificate")
		return -1
	}
	return len(r.b) - r.at - len(rest)
}
