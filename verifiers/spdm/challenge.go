// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"fmt"
)

// SummaryType says over which blocks MeasurementSummaryHash goes.
type SummaryType uint8

// The summary types.
const (
	SummaryNone SummaryType = 0x00
	SummaryTCB  SummaryType = 0x01 // which blocks are TCB is the device maker's choice
	SummaryAll  SummaryType = 0xFF
)

// Challenge is a CHALLENGE request.
type Challenge struct {
	Raw     []byte
	Slot    uint8
	Summary SummaryType
	Nonce   []byte // 32 bytes
	Context []byte // 8 bytes, from 1.3
}

// ChallengeAuth is a CHALLENGE_AUTH response. Slices point into the message.
type ChallengeAuth struct {
	Raw  []byte
	Slot uint8
	// Slots is the mask of provisioned slots.
	Slots uint8
	// ChainHash is the base hash of the signer's certificate chain structure.
	ChainHash []byte
	// Nonce is the responder's (32 bytes).
	Nonce []byte
	// SummaryHash is nil if the request asked for none.
	SummaryHash []byte
	Opaque      []byte
	Context     []byte // 8 bytes, from 1.3
	Signature   []byte
}

// ParseChallenge parses a CHALLENGE request exactly.
func ParseChallenge(b []byte, v *VCA) (*Challenge, error) {
	r := newReader(StageChallenge, "challenge", b, maxMessage)
	c := parseChallenge(r, v)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

func parseChallenge(r *reader, v *VCA) *Challenge {
	start := r.at
	slot, summary := r.header(v.Version, CodeChallenge)
	c := &Challenge{Slot: slot, Summary: SummaryType(summary), Nonce: r.bytes(NonceSize, "requester nonce")}
	if v.Version >= Version13 {
		c.Context = r.bytes(ContextSize, "requester context")
	}
	checkSlot(r, start+2, slot)
	if c.Summary != SummaryNone && c.Summary != SummaryTCB && c.Summary != SummaryAll {
		r.fail(KindMalformed, start+3, "0x00, 0x01 or 0xff", summary, "summary type")
	}
	c.Raw = r.since(start)
	return c
}

// checkSlot refuses slots without a certificate chain: 0x0F and 0xFF stand for
// a public key that was provisioned out of band.
func checkSlot(r *reader, offset int, slot uint8) {
	switch {
	case slot < MaxSlots:
	case slot == 0x0F || slot == 0xFF:
		r.fail(KindUnsupported, offset, "0 to 7", slot, "the signer's key is provisioned out of band, without a certificate chain")
	default:
		r.fail(KindMalformed, offset, "0 to 7", slot, "slot")
	}
}

// ParseChallengeAuth parses a CHALLENGE_AUTH response to c exactly.
func ParseChallengeAuth(b []byte, v *VCA, c *Challenge) (*ChallengeAuth, error) {
	r := newReader(StageChallenge, "challenge_auth", b, maxMessage)
	a := parseChallengeAuth(r, v, c)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return a, nil
}

func parseChallengeAuth(r *reader, v *VCA, c *Challenge) *ChallengeAuth {
	start := r.at
	slot, mask := r.header(v.Version, CodeChallengeAuth)
	a := &ChallengeAuth{Slot: slot & 0x0F, Slots: mask}
	if r.err == nil && a.Slot != c.Slot {
		r.fail(KindSlot, start+2, c.Slot, a.Slot, "slot of CHALLENGE_AUTH is not the requested one")
	}
	if r.err == nil && mask>>a.Slot&1 == 0 {
		r.fail(KindSlot, start+3, fmt.Sprintf("bit %d", a.Slot), mask, "slot mask lacks the slot of the signer")
	}
	a.ChainHash = r.bytes(v.BaseHash.Size(), "chain hash")
	a.Nonce = r.bytes(NonceSize, "responder nonce")
	if c.Summary != SummaryNone {
		a.SummaryHash = r.bytes(v.BaseHash.Size(), "summary hash")
	}
	a.Opaque = parseOpaqueField(r, v)
	a.Context = parseContextEcho(r, v, c.Context)
	a.Signature = r.bytes(v.BaseAsym.SignatureSize(), "signature")
	a.Raw = r.since(start)
	return a
}

// parseContextEcho reads the context that a response repeats from 1.3.
func parseContextEcho(r *reader, v *VCA, want []byte) []byte {
	if v.Version < Version13 {
		return nil
	}
	at := r.at
	got := r.bytes(ContextSize, "requester context")
	if r.err == nil && !bytes.Equal(got, want) {
		r.fail(KindNonce, at, want, got, "context of the request is not echoed")
	}
	return got
}
