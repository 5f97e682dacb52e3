// SPDX-License-Identifier: Apache-2.0

package eatda

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// ErrForm says that a leaf is not of the form that its media type promises.
var ErrForm = errors.New("eatda: the envelope does not fit the media type")

// Split takes a token apart into one unprotected token for each device, with the
// profile and the nonce of the whole and the device's claims byte for byte
// (decision D-79). base is the base media type of the leaf: TypeCWT holds a
// COSE_Sign1, TypeUCS does not.
func Split(base string, raw []byte) ([][]byte, error) {
	t, err := Options{Ranges: true}.Decode(raw)
	if err != nil {
		return nil, err
	}
	if signed := t.Form == FormSigned; signed != (base == TypeCWT) {
		return nil, fmt.Errorf("%w: %s with a COSE_Sign1: %t", ErrForm, base, signed)
	}
	out := make([][]byte, len(t.Devices))
	for i, d := range t.Devices {
		if out[i], err = Encode(t.Nonce, Entry{Name: d.Name, Claims: d.Raw}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Entry is a device to write.
type Entry struct {
	Name string
	// Claims is the encoded claims set of the device.
	Claims []byte
}

// Encode writes an unprotected token (tag 601) in deterministic CBOR, but for the
// claims of the devices, which stay as they are: a library would read them, and
// refuse in one device what Decode takes.
func Encode(nonce []byte, devices ...Entry) ([]byte, error) {
	submods := make([][]byte, len(devices))
	for i, d := range devices {
		submods[i] = append(appendString(nil, majorText, d.Name), d.Claims...)
		if slices.ContainsFunc(devices[:i], func(o Entry) bool { return o.Name == d.Name }) {
			return nil, fmt.Errorf("eatda: device %.128q twice", d.Name)
		}
	}
	slices.SortFunc(submods, bytes.Compare)
	out := appendHead(appendHead(nil, majorTag, tagUCCS), majorMap, 3)
	out = appendString(appendHead(out, majorUint, claimNonce), majorBytes, string(nonce))
	out = appendString(appendHead(out, majorUint, claimProfile), majorText, Profile)
	out = appendHead(appendHead(out, majorUint, claimSubmods), majorMap, uint64(len(submods)))
	return append(out, bytes.Join(submods, nil)...), nil
}

// appendHead writes the shortest head of a data item.
func appendHead(b []byte, major byte, arg uint64) []byte {
	major <<= 5
	switch {
	case arg < 24:
		return append(b, major|byte(arg))
	case arg <= 0xFF:
		return append(b, major|24, byte(arg))
	case arg <= 0xFFFF:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(arg))
	case arg <= 0xFFFFFFFF:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(arg))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), arg)
}

func appendString(b []byte, major byte, s string) []byte {
	return append(appendHead(b, major, uint64(len(s))), s...)
}

// Sign puts an unprotected token into a COSE_Sign1, as a lead attester does. kid
// goes into the unprotected header, nil leaves it out.
func Sign(random io.Reader, token []byte, signer cose.Signer, kid []byte) ([]byte, error) {
	claims, ok := bytes.CutPrefix(token, []byte{0xd9, tagUCCS >> 8, tagUCCS & 0xFF})
	if !ok {
		return nil, errors.New("eatda: what is to be signed is no unprotected token")
	}
	m := cose.NewSign1Message()
	m.Headers.Protected.SetAlgorithm(signer.Algorithm())
	if kid != nil {
		m.Headers.Unprotected[cose.HeaderLabelKeyID] = kid
	}
	m.Payload = claims
	if err := m.Sign(random, nil, signer); err != nil {
		return nil, fmt.Errorf("eatda: %w", err)
	}
	raw, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("eatda: %w", err)
	}
	return raw, nil
}

// Claims writes the claims set of a device with SPDM in deterministic CBOR, from
// the members of d that such a set has. Where the draft has no place for a value
// (several MMIO ranges), it is refused.
func (d *Device) Claims() ([]byte, error) {
	out := map[int]any{claimProfile: ProfileSPDM}
	if len(d.Blocks) > 0 {
		m := map[any]any{}
		for _, b := range d.Blocks {
			m[uint64(b.Index)] = b.members()
		}
		if d.Measured != nil {
			m[keySignature] = d.Measured.members()
		}
		out[claimMeasurements] = m
	}
	if d.Certificates != nil {
		out[claimCertificates] = d.Certificates
	}
	if d.VCA != nil {
		out[claimVCA] = d.VCA
	}
	if d.Challenge != nil {
		out[claimChallenge] = d.Challenge.members()
	}
	if d.Report != nil {
		if len(d.Report.Ranges) > 1 {
			return nil, fmt.Errorf("eatda: %d MMIO ranges, of which a token has place for one", len(d.Report.Ranges))
		}
		out[claimReport] = d.Report.members()
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("eatda: %w", err)
	}
	return mode.Marshal(out)
}

func (b Block) members() map[int]any {
	if b.Raw {
		return map[int]any{blockType: b.Type, blockRaw: b.Value}
	}
	var algorithm any = b.Algorithm
	if b.Named != "" {
		algorithm = b.Named
	}
	return map[int]any{blockType: b.Type, blockDigest: []any{algorithm, b.Value}}
}

// members writes SHA-256 as 0 (decision D-32).
func (s *Signature) members() map[int]any {
	hash := s.Hash
	if hash == 1 {
		hash = 0
	}
	return map[int]any{
		signatureSlot: s.Slot, signatureRequester: s.Requester, signatureResponder: s.Responder, signaturePrefix: s.Prefix,
		signatureIL1: s.IL1, signatureHash: hash, signatureValue: s.Value,
	}
}

func (p *Report) members() map[int]any {
	out := map[int]any{}
	for k, v := range map[int][]byte{reportInfo: p.Info, reportMSIX: p.MSIX, reportLNR: p.LNR, reportTPH: p.TPH, reportSpecific: p.Specific} {
		if v != nil {
			out[k] = v
		}
	}
	for _, g := range p.Ranges {
		out[reportRanges] = map[int]any{rangeOnly: map[int]any{
			rangeFirst: g.First, rangePages: g.Pages, rangeAttributes: map[int]any{attributeBits: g.Attributes, attributeID: g.ID},
		}}
	}
	return out
}
