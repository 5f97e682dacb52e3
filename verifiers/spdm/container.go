// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"encoding/binary"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/limits"
)

// MediaType is the media type of the container.
const MediaType = "application/vnd.assize.spdm-evidence+cbor"

// Profile is the text under key 1 of the container.
const Profile = "tag:assize.dev,2026:spdm-evidence#1"

// Evidence is what a collector got from one device, in the exact bytes of the
// device, without transport headers and padding.
type Evidence struct {
	// Device is a name for people, such as "pci:0000:01:00.0". It proves nothing.
	Device string
	// Nonce is the challenge as the collector received it. It proves nothing.
	Nonce []byte
	// VCA holds the six negotiation messages.
	VCA []byte
	// Chains holds certificate chain structures by slot, 0 to 7.
	Chains map[uint8][]byte
	// Measurements holds requests and responses, signatures included, without VCA.
	Measurements []byte
	// Challenge holds GET_DIGESTS to CHALLENGE_AUTH, without VCA; nil if not done.
	Challenge []byte
	// Report is the reassembled DEVICE_INTERFACE_REPORT, or nil.
	Report []byte
	// TSM is what the platform's security manager says, or nil.
	TSM *TSM
	// Digests is a DIGESTS response, or nil.
	Digests []byte
	// Log is a measurement extension log, or nil.
	Log []byte
}

// TSM is information of the TEE security manager about the interface. This
// package only carries it.
type TSM struct {
	// Kind is "cca-rsi-vdev-info", "sev-tio-tdi-info" or "tdx-devinfo".
	Kind string
	Raw  []byte
	// State and LockFlags are nil where the platform does not tell.
	State     *InterfaceState
	LockFlags *LockFlags
}

// octets is a byte string that points into the decoder's input.
type octets []byte

// UnmarshalCBOR accepts a byte string of definite length and nothing else; in
// particular no array of numbers and no null.
func (o *octets) UnmarshalCBOR(b []byte) error {
	if len(b) == 0 || b[0]>>5 != 2 {
		return fmt.Errorf("expected a byte string")
	}
	var size [8]byte
	head := 1
	switch info := b[0] & 31; {
	case info < 24:
	case info <= 27:
		head += 1 << (info - 24)
	default:
		return fmt.Errorf("expected a byte string of definite length")
	}
	if len(b) < head {
		return fmt.Errorf("byte string is cut off")
	}
	n := uint64(b[0] & 31)
	if head > 1 {
		copy(size[8-(head-1):], b[1:head])
		n = binary.BigEndian.Uint64(size[:])
	}
	if n != uint64(len(b)-head) {
		return fmt.Errorf("byte string of %d bytes, %d present", n, len(b)-head)
	}
	*o = octets(b[head:])
	return nil
}

// wire is the CBOR map of the container.
type wire struct {
	Profile      string           `cbor:"1,keyasint"`
	Device       string           `cbor:"2,keyasint,omitempty"`
	Nonce        octets           `cbor:"3,keyasint,omitempty"`
	VCA          octets           `cbor:"4,keyasint"`
	Chains       map[uint8]octets `cbor:"5,keyasint"`
	Measurements octets           `cbor:"6,keyasint,omitempty"`
	Challenge    octets           `cbor:"7,keyasint,omitempty"`
	Report       octets           `cbor:"8,keyasint,omitempty"`
	TSM          cbor.RawMessage  `cbor:"9,keyasint,omitempty"` // wireTSM
	Digests      octets           `cbor:"10,keyasint,omitempty"`
	Log          octets           `cbor:"11,keyasint,omitempty"`
}

type wireTSM struct {
	Kind      string          `cbor:"1,keyasint"`
	Raw       octets          `cbor:"2,keyasint"`
	State     cbor.RawMessage `cbor:"3,keyasint,omitempty"` // uint8
	LockFlags cbor.RawMessage `cbor:"4,keyasint,omitempty"` // uint16
}

// decode reads TSM information. A library reads null as an absent pointer, so
// what may be absent is read here.
func (w *wire) decode(mode cbor.DecMode) (*TSM, error) {
	if w.TSM == nil {
		return nil, nil
	}
	var in wireTSM
	if err := mode.Unmarshal(w.TSM, &in); err != nil {
		return nil, err
	}
	if in.Kind == "" || len(in.Kind) > maxText {
		return nil, fmt.Errorf("kind of the TSM information has %d bytes", len(in.Kind))
	}
	out := &TSM{Kind: in.Kind, Raw: in.Raw}
	if in.State != nil {
		out.State = new(InterfaceState)
		if err := mode.Unmarshal(in.State, out.State); err != nil {
			return nil, err
		}
	}
	if in.LockFlags != nil {
		out.LockFlags = new(LockFlags)
		if err := mode.Unmarshal(in.LockFlags, out.LockFlags); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *TSM) encode(mode cbor.EncMode) (raw cbor.RawMessage, err error) {
	out := wireTSM{Kind: t.Kind, Raw: t.Raw}
	if t.State != nil {
		if out.State, err = mode.Marshal(uint8(*t.State)); err != nil {
			return nil, err
		}
	}
	if t.LockFlags != nil {
		if out.LockFlags, err = mode.Marshal(uint16(*t.LockFlags)); err != nil {
			return nil, err
		}
	}
	return mode.Marshal(out)
}

// decoding is strict: one data item, definite lengths, no tags, no null, no
// duplicate and no unknown keys, valid UTF-8.
func decoding() (cbor.DecMode, error) {
	const null, undefined = cbor.SimpleValue(22), cbor.SimpleValue(23)
	simple, err := cbor.NewSimpleValueRegistryFromDefaults(cbor.WithRejectedSimpleValue(null), cbor.WithRejectedSimpleValue(undefined))
	if err != nil {
		return nil, err
	}
	return cbor.DecOptions{
		SimpleValues: simple,
		DupMapKey:    cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, MaxMapPairs: 16, MaxArrayElements: 16, UTF8: cbor.UTF8RejectInvalid,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
}

// maxText bounds the texts of the container in bytes.
const maxText = 256

// Decode reads a container of at most the size of one leaf of composite
// evidence. The byte slices of the result point into b.
func Decode(b []byte) (*Evidence, error) {
	bad := func(k Kind, format string, args ...any) (*Evidence, error) {
		return nil, refuse(StageContainer, k, "container", format, args...)
	}
	if most := limits.Default().Leaf; len(b) > most {
		return bad(KindMalformed, "%d bytes, at most %d", len(b), most)
	}
	mode, err := decoding()
	if err != nil {
		return bad(KindUnsupported, "%v", err)
	}
	var w wire
	if err := mode.Unmarshal(b, &w); err != nil {
		e := refuse(StageContainer, KindMalformed, "container", "no valid container")
		e.Err = err
		return nil, e
	}
	switch {
	case w.Profile != Profile:
		return nil, differ(StageContainer, KindUnsupported, "container", "profile under key 1", Profile, fmt.Sprintf("%.64q", w.Profile))
	case len(w.Device) > maxText:
		return bad(KindMalformed, "device name of %d bytes", len(w.Device))
	case len(w.VCA) == 0:
		return bad(KindMissing, "key 4 (negotiation messages) is missing")
	case len(w.Chains) == 0:
		return bad(KindMissing, "key 5 (certificate chains) is missing")
	}
	tsm, err := w.decode(mode)
	if err != nil {
		return bad(KindMalformed, "key 9 (TSM information): %v", err)
	}
	e := &Evidence{Device: w.Device, Nonce: w.Nonce, VCA: w.VCA, Chains: make(map[uint8][]byte, len(w.Chains)), Measurements: w.Measurements,
		Challenge: w.Challenge, Report: w.Report, Digests: w.Digests, Log: w.Log, TSM: tsm}
	for slot, chain := range w.Chains {
		if slot >= MaxSlots {
			return bad(KindMalformed, "chain of slot %d, at most %d", slot, MaxSlots-1)
		}
		e.Chains[slot] = chain
	}
	return e, nil
}

// Encode writes a container in deterministic CBOR (RFC 8949 section 4.2).
func (e *Evidence) Encode() ([]byte, error) {
	w := wire{Profile: Profile, Device: e.Device, Nonce: e.Nonce, VCA: e.VCA, Chains: make(map[uint8]octets, len(e.Chains)), Measurements: e.Measurements,
		Challenge: e.Challenge, Report: e.Report, Digests: e.Digests, Log: e.Log}
	for slot, chain := range e.Chains {
		w.Chains[slot] = chain
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("spdm: container: %w", err)
	}
	if e.TSM != nil {
		if w.TSM, err = e.TSM.encode(mode); err != nil {
			return nil, fmt.Errorf("spdm: container: %w", err)
		}
	}
	return mode.Marshal(w)
}
