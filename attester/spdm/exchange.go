// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"slices"
	"strconv"
)

// Operations of GET_MEASUREMENTS, and what CHALLENGE asks to be summarized
// (DSP0274).
const (
	operationCount = 0
	operationAll   = 0xff

	summaryNone = 0x00
	summaryTCB  = 0x01
	summaryAll  = 0xff
)

// measurements are the requests and responses that the requester collects:
// all blocks at once, or number and blocks one by one.
func (d *Device) measurements(nonce []byte) ([]byte, error) {
	if d.o.has(Nonce) {
		nonce = d.derive("foreign nonce", nonce)
	}
	signed := !d.o.has(Unsigned) && !d.o.has(SignatureStripped)
	var out []byte
	if !d.o.Single {
		out = d.exchange(nil, nonce, operationAll, signed, d.count, d.record)
		return d.finish(out, signed)
	}
	out = d.exchange(nil, nonce, operationCount, false, 0, nil)
	for i, b := range d.blocks {
		last := i == len(d.blocks)-1
		out = d.exchange(out, nonce, b.index, last && signed, 1, record([]block{b.inForm(d.o.Raw)}))
	}
	return d.finish(out, signed)
}

// exchange appends GET_MEASUREMENTS and MEASUREMENTS without its signature.
func (d *Device) exchange(out, nonce []byte, operation byte, signed bool, count int, record []byte) []byte {
	v, purpose := byte(d.o.Version), "measurements"
	if d.o.Single {
		purpose += " " + strconv.Itoa(int(operation))
	}
	attributes := byte(0)
	if signed {
		attributes |= 1
	}
	if d.o.Raw && operation != operationCount {
		attributes |= 2
	}
	if d.o.Recompute {
		attributes |= 4
	}
	out = append(out, v, codeGetMeasurements, attributes, operation)
	if signed {
		out = append(append(out, nonce...), d.o.Slot)
	}
	context := d.requesterContext(purpose, nonce)
	out = append(out, context...)

	total := byte(0)
	if operation == operationCount {
		total = byte(len(d.blocks))
	}
	out = append(out, v, codeMeasurements, total, d.status(signed), byte(count))
	out = append(out, byte(len(record)), byte(len(record)>>8), byte(len(record)>>16))
	out = append(out, record...)
	out = append(out, d.derive(purpose+" nonce", nonce)...)
	out = append(out, opaque(d.o)...)
	if d.o.has(Context) && signed {
		context = flipped(context)
	}
	return append(out, context...)
}

// status is param2 of MEASUREMENTS: slot, and whether the content changed.
func (d *Device) status(signed bool) byte {
	slot := d.o.Slot
	if signed && d.o.has(Slot) {
		slot ^= 1
	}
	switch {
	case d.o.Version < Version12 || !signed:
	case d.o.has(Changed):
		slot |= 0x10
	default:
		slot |= 0x20 // no change of content detected
	}
	return slot
}

// finish signs what was read, the negotiation with it from 1.2 on.
func (d *Device) finish(out []byte, signed bool) ([]byte, error) {
	if !signed {
		return out, nil
	}
	var err error
	transcript := [][]byte{d.vca, out}
	switch old := d.o.Version < Version12; {
	case d.o.has(WrongVCA) && !old:
		transcript[0] = flipped(d.vca)
	case old && !d.o.has(WrongVCA):
		transcript = transcript[1:]
	}
	version, purpose := d.o.Version, contextMeasurements
	if d.o.has(WrongPrefix) {
		version ^= 1
	}
	if d.o.has(WrongPurpose) {
		purpose = contextChallenge
	}
	if out, err = d.signed(out, version, purpose, transcript...); err != nil {
		return nil, err
	}
	if d.o.has(SignatureBit) {
		out[len(out)-1] ^= 1
	}
	if d.o.has(Padding) {
		out = append(out, 0, 0, 0)
	}
	return out, nil
}

// challenge is B, CHALLENGE and the signed CHALLENGE_AUTH.
func (d *Device) challenge(nonce []byte) ([]byte, error) {
	v, h := byte(d.o.Version), d.o.Suite.hash()
	if d.o.has(ChallengeNonce) {
		nonce = d.derive("foreign challenge nonce", nonce)
	}
	kind, summary := d.summary()
	out := append(make([]byte, 0, len(d.exchanges)+512), d.exchanges...)
	out = append(out, v, codeChallenge, d.o.Slot, kind)
	context := d.requesterContext("challenge", nonce)
	out = append(append(out, nonce...), context...)

	slot, chain := d.o.Slot, sum(h, d.chains[d.o.Slot])
	if d.o.has(ChallengeSlot) {
		slot ^= 1
	}
	if d.o.has(ChainHash) {
		chain[0] ^= 1
	}
	out = append(out, v, codeChallengeAuth, slot, slotMask(d.o.Slots)|1<<slot)
	out = append(out, chain...)
	out = append(out, d.derive("challenge nonce", nonce)...)
	out = append(out, summary...)
	out = append(append(out, opaque(d.o)...), context...)
	out, err := d.signed(out, d.o.Version, contextChallenge, d.vca, out)
	if err == nil && d.o.has(ChallengeSignature) {
		out[len(out)-1] ^= 1
	}
	return out, err
}

// summary is what CHALLENGE asks for, and the hash over blocks in digest form.
func (d *Device) summary() (kind byte, hash []byte) {
	blocks := d.blocks
	switch d.o.Summary {
	case SummaryOfNone:
		return summaryNone, nil
	case SummaryOfTCB:
		kind, blocks = summaryTCB, tcb(blocks)
	default:
		kind = summaryAll
	}
	hash = sum(d.o.Suite.hash(), record(blocks))
	if d.o.has(Summary) {
		hash = flipped(hash)
	}
	return kind, hash
}

// tcb are the blocks that this maker counts as TCB.
func tcb(blocks []block) []block {
	return slices.DeleteFunc(slices.Clone(blocks), func(b block) bool { return b.kind != typeROM && b.kind != typeFirmware })
}

// signed appends the signature over transcript to message: over its hash up to
// 1.1, over prefix and hash from 1.2 on.
func (d *Device) signed(message []byte, v Version, context string, transcript ...[]byte) ([]byte, error) {
	var prefix []byte
	if d.o.Version >= Version12 {
		prefix = signingPrefix(v, context)
	}
	signature, err := sign(d.o.Suite.get(), d.key, prefix, sum(d.o.Suite.hash(), transcript...))
	if err != nil {
		return nil, err
	}
	return append(bytes.Clone(message), signature...), nil
}
