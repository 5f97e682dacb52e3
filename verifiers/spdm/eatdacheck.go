// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/assize/assize/verifiers/spdm/eatda"
)

// compare holds what the token restates against what the device signs. A value
// that is not under the signature is a contradiction too: it must not be used.
func (c *conversion) compare() error {
	if c.d.Measured != nil {
		segments, err := ParseMeasurementTranscript(c.e.Measurements, c.v)
		if err != nil {
			return err
		}
		if len(segments) != 1 {
			c.contradict("IL1 of the measurements holds %d signed responses, but one signature covers it", len(segments))
		}
		last := segments[len(segments)-1].Last()
		c.signature(c.d.Measured, PurposeMeasurements, last.Request.Slot, last.Request.Nonce, last.Response.Nonce)
		c.blocks(segments)
	}
	if c.d.Challenge != nil {
		t, err := ParseChallengeTranscript(c.e.Challenge, c.v)
		if err != nil {
			return err
		}
		c.signature(c.d.Challenge, PurposeChallenge, t.Request.Slot, t.Request.Nonce, t.Response.Nonce)
	}
	return nil
}

// signature compares the members of an SPDM signature.
func (c *conversion) signature(s *eatda.Signature, p Purpose, slot uint8, requester, responder []byte) {
	if s.Slot != slot {
		c.contradict("%s: the token names slot %d, the request slot %d", p, s.Slot, slot)
	}
	if !bytes.Equal(s.Requester, requester) {
		c.contradict("%s: requester nonce %x in the token, %x in the request", p, s.Requester, requester)
	}
	if !bytes.Equal(s.Responder, responder) {
		c.contradict("%s: responder nonce %x in the token, %x in the response", p, s.Responder, responder)
	}
	// There is no prefix before 1.2, and the grammar asks for one all the same.
	if want := Prefix(c.v.Version, p); want != nil && !bytes.Equal(s.Prefix, want) {
		c.contradict("%s: combined prefix %q in the token, %q by SPDM %s", p, s.Prefix, want, c.v.Version)
	}
	if BaseHash(s.Hash) != c.v.BaseHash {
		c.contradict("%s: base hash %s in the token, %s negotiated", p, BaseHash(s.Hash), c.v.BaseHash)
	}
}

func (c *conversion) blocks(segments []Segment) {
	var signed [256]*Block
	for _, g := range segments {
		for _, e := range g.Exchanges {
			for i := range e.Response.Blocks {
				signed[e.Response.Blocks[i].Index] = &e.Response.Blocks[i]
			}
		}
	}
	for _, b := range c.d.Blocks {
		c.block(b, signed[b.Index])
	}
}

func (c *conversion) block(b eatda.Block, signed *Block) {
	switch {
	case signed == nil:
		c.contradict("measurement %d is not under the device's signature", b.Index)
		return
	case signed.Type != ValueType(b.Type):
		c.contradict("measurement %d is of type %d in the token, of type %d under the device's signature", b.Index, b.Type, signed.Type)
	case signed.RawBits != b.Raw:
		c.contradict("measurement %d as raw value: %t in the token, %t under the device's signature", b.Index, b.Raw, signed.RawBits)
	case !bytes.Equal(signed.Value, b.Value):
		c.contradict("measurement %d is %s in the token, %s under the device's signature", b.Index, brief(b.Value), brief(signed.Value))
	}
	// An algorithm that no registry has says nothing (defect f); one that it has
	// must be the negotiated one.
	if name := eatda.HashName(b.Algorithm, b.Named); !b.Raw && name != "" && name != c.v.MeasurementHash.String() {
		c.contradict("measurement %d is a digest by %s in the token, the measurement hash is %s", b.Index, name, c.v.MeasurementHash)
	}
}

// brief shows a value that may be long.
func brief(b []byte) string {
	const most = 64
	if len(b) <= most {
		return fmt.Sprintf("%x", b)
	}
	return fmt.Sprintf("%x… (%d bytes)", b[:most], len(b))
}

// defects are the flags for people.
func (a *AssignedDevice) defects() []string {
	out := make([]string, len(a.Flags))
	for i, f := range a.Flags {
		out[i] = string(f.Defect) + ": " + f.Detail
	}
	slices.Sort(out)
	return out
}
