// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"encoding/binary"

	"github.com/assize/assize/verifiers/spdm/eatda"
)

// EncodeToken writes evidence of devices as an unprotected Device Assignment
// Token with the nonce of its lead attester, 8 to 64 bytes.
func EncodeToken(nonce []byte, devices ...*Evidence) ([]byte, error) {
	entries := make([]eatda.Entry, len(devices))
	for i, e := range devices {
		d, err := TokenDevice(e)
		if err != nil {
			return nil, err
		}
		entries[i].Name = d.Name
		if entries[i].Claims, err = d.Claims(); err != nil {
			return nil, err
		}
	}
	return eatda.Encode(nonce, entries...)
}

// TokenDevice puts the evidence of one device into the form of a token, and
// restates what the device signed as the draft wants it. The evidence needs the
// chain of slot 0 and may have one signed response. An interface report of several
// ranges goes as it is into the device-specific information (decision D-31).
// DIGESTS, extension log and TSM information have no place in a token.
func TokenDevice(e *Evidence) (*eatda.Device, error) {
	v, err := ParseVCA(e.VCA)
	if err != nil {
		return nil, err
	}
	d := &eatda.Device{Namespace: eatda.NamespaceSPDM, VCA: e.VCA, Certificates: map[uint8][]byte{}}
	for slot, raw := range e.Chains {
		chain, err := ParseChain(raw, v)
		if err != nil {
			return nil, err
		}
		d.Certificates[slot] = bytes.Join(chain.DER, nil)
		if slot == 0 {
			names, err := TokenNames(chain.Leaf())
			if err != nil {
				return nil, err
			}
			d.Name = names[0]
		}
	}
	if d.Name == "" {
		return nil, refuse(StageChain, KindMissing, "token", "no chain of slot 0, after which the device is named")
	}
	if len(e.Measurements) > 0 {
		if err := restateMeasurements(d, e, v); err != nil {
			return nil, err
		}
	}
	if e.Challenge != nil {
		t, err := ParseChallengeTranscript(e.Challenge, v)
		if err != nil {
			return nil, err
		}
		d.Challenge = tokenSignature(v, PurposeChallenge, t.Request.Slot, t.Request.Nonce, t.Response.Nonce, t.Response.Signature, t.M1(v))
	}
	if e.Report != nil {
		p, err := ParseReport(e.Report)
		if err != nil {
			return nil, err
		}
		d.Report = tokenReport(p)
	}
	return d, nil
}

func restateMeasurements(d *eatda.Device, e *Evidence, v *VCA) error {
	segments, err := ParseMeasurementTranscript(e.Measurements, v)
	if err != nil {
		return err
	}
	if len(segments) != 1 {
		return refuse(StageMeasurements, KindUnsupported, "token", "%d signed responses, of which a token has place for one", len(segments))
	}
	last := segments[0].Last()
	d.Measured = tokenSignature(v, PurposeMeasurements, last.Request.Slot, last.Request.Nonce, last.Response.Nonce, last.Response.Signature, segments[0].L1(v))
	seen := map[uint8]bool{}
	for _, x := range segments[0].Exchanges {
		for _, b := range x.Response.Blocks {
			if seen[b.Index] {
				continue
			}
			seen[b.Index] = true
			out := eatda.Block{Index: b.Index, Type: uint8(b.Type), Raw: b.RawBits, Value: b.Value}
			if !b.RawBits {
				if out.Algorithm = eatda.HashNumber(v.MeasurementHash.String()); out.Algorithm == 0 {
					out.Named = v.MeasurementHash.String()
				}
			}
			d.Blocks = append(d.Blocks, out)
		}
	}
	if len(d.Blocks) == 0 {
		return refuse(StageMeasurements, KindMissing, "token", "no measurement block")
	}
	return nil
}

func tokenSignature(v *VCA, p Purpose, slot uint8, requester, responder, signature []byte, parts [][]byte) *eatda.Signature {
	prefix := Prefix(v.Version, p)
	if prefix == nil { // the grammar has no place for none
		prefix = make([]byte, PrefixSize)
	}
	return &eatda.Signature{Slot: slot, Requester: requester, Responder: responder, Prefix: prefix, IL1: bytes.Join(parts, nil), Hash: uint32(v.BaseHash), Value: signature}
}

func tokenReport(p *InterfaceReport) *eatda.Report {
	if len(p.Ranges) > 1 {
		return &eatda.Report{Specific: p.Raw}
	}
	le := binary.LittleEndian
	out := &eatda.Report{
		Info: le.AppendUint16(nil, uint16(p.Info)), MSIX: le.AppendUint16(nil, p.MSIX), LNR: le.AppendUint16(nil, p.LNR),
		TPH: le.AppendUint32(nil, p.TPH), Specific: p.Specific,
	}
	for _, g := range p.Ranges {
		out.Ranges = append(out.Ranges, eatda.Range{
			First: le.AppendUint64(nil, g.FirstPage), Pages: le.AppendUint32(nil, g.Pages),
			Attributes: le.AppendUint16(nil, uint16(g.Attributes)), ID: le.AppendUint16(nil, g.ID),
		})
	}
	return out
}
