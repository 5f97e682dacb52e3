// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/limits"
)

// MediaType is the type of the container as a CMW record.
const MediaType = "application/vnd.assize.spdm-evidence+cbor"

// Profile is the version text in key 1 of the container.
const Profile = "tag:assize.dev,2026:spdm-evidence#1"

// Container is the raw SPDM container: one deterministic CBOR map (RFC 8949
// 4.2.1) with integer keys. Optional members are absent, never empty.
type Container struct {
	// Profile is the version of the container.
	Profile string `cbor:"1,keyasint"`
	// Name is the device's name.
	Name string `cbor:"2,keyasint"`
	// Nonce is the verifier's, as received (32 bytes).
	Nonce []byte `cbor:"3,keyasint"`
	// VCA are the six negotiation messages.
	VCA []byte `cbor:"4,keyasint"`
	// Chains are SPDM certificate chain structures by slot.
	Chains map[uint64][]byte `cbor:"5,keyasint"`
	// Measurements is GET_MEASUREMENTS and MEASUREMENTS with its signature.
	Measurements []byte `cbor:"6,keyasint"`
	// Challenge is the certificate exchanges, CHALLENGE and CHALLENGE_AUTH
	// with its signature, concatenated.
	Challenge []byte `cbor:"7,keyasint,omitempty"`
	// Report is the DEVICE_INTERFACE_REPORT, reassembled.
	Report []byte `cbor:"8,keyasint,omitempty"`
	// TSM is what the platform's security manager says about the interface.
	TSM *TSMInfo `cbor:"9,keyasint,omitempty"`
	// Digests is the DIGESTS response.
	Digests []byte `cbor:"10,keyasint,omitempty"`
	// MEL is the measurement extension log (SPDM 1.3).
	MEL []byte `cbor:"11,keyasint,omitempty"`
}

// TSMInfo is key 9 of the container.
type TSMInfo struct {
	// Kind is TSMTDX, TSMSEVTIO or TSMCCA.
	Kind string `cbor:"1,keyasint"`
	// Raw is the platform's structure.
	Raw []byte `cbor:"2,keyasint"`
	// State is the TDI state: 0 CONFIG_UNLOCKED, 1 CONFIG_LOCKED, 2 RUN, 3 ERROR.
	State uint8 `cbor:"3,keyasint"`
	// LockFlags are the flags of LOCK_INTERFACE_REQUEST.
	LockFlags uint16 `cbor:"4,keyasint"`
}

func encoder() (cbor.EncMode, error) { return cbor.CoreDetEncOptions().EncMode() }

// Open reads a container strictly: definite lengths, no duplicate or unknown
// keys, no tags, nothing after the map, at most the size of one leaf of
// composite evidence. It checks no SPDM content and no signature.
func Open(raw []byte) (*Container, error) {
	if limit := limits.Default().Leaf; len(raw) > limit {
		return nil, fmt.Errorf("spdm: container of %d bytes, at most %d", len(raw), limit)
	}
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxNestedLevels: 4, MaxMapPairs: 16, MaxArrayElements: 16,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	var c Container
	if err := mode.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("spdm: container: %w", err)
	}
	if c.Profile != Profile {
		return nil, fmt.Errorf("spdm: container profile %q, expected %q", c.Profile, Profile)
	}
	return &c, nil
}

// Transcript is the measurement transcript of a container: request and
// response with signature, without VCA.
func Transcript(evidence []byte) ([]byte, error) {
	c, err := Open(evidence)
	if err != nil {
		return nil, err
	}
	return c.Measurements, nil
}
