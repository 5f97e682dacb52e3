// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// The form in CBOR is an array of maps with the members of the form in JSON.
// Nobody has defined it but by its media type; it is read as the same thing in
// another encoding, and what JSON has no bytes for may stand there as it is
// (decision D-129).
const (
	// MediaTypeCBOR and MediaTypeAliasCBOR are the types of an array in CBOR.
	MediaTypeCBOR      = "application/vnd.veraison.nvidia-gpu-evidence+cbor"
	MediaTypeAliasCBOR = "application/vnd.veraison.nv-gpu-evidence+cbor"
)

// Major types of RFC 8949, section 3.1.
const (
	majorBytes byte = 2
	majorText  byte = 3
	majorArray byte = 4
	majorMap   byte = 5

	// oneElement is the head of an array of one.
	oneElement = majorArray<<5 | 1
	// maxCBORMembers bounds the members of one device.
	maxCBORMembers = 32
)

func major(raw []byte) byte {
	if len(raw) == 0 {
		return 0xff
	}
	return raw[0] >> 5
}

// isCBOR reports an array in CBOR: no JSON text begins with such a byte.
func isCBOR(raw []byte) bool { return major(raw) == majorArray }

// decoding is strict: one data item, definite lengths, no tags, valid UTF-8; dup
// says what of duplicate keys.
func decoding(dup cbor.DupMapKeyMode) (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey: dup, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: maxDepth, MaxMapPairs: maxCBORMembers, MaxArrayElements: MaxDevices, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
}

// splitCBOR gives one array of one device for each element, which keeps the bytes
// of the element.
func splitCBOR(raw []byte) ([][]byte, error) {
	all, err := elementsCBOR(raw)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(all))
	for i, e := range all {
		out[i] = append([]byte{oneElement}, e...)
	}
	return out, nil
}

// elementsCBOR returns the elements of an array, each with its original bytes.
// All of them are well-formed then, and nothing stands behind the array.
func elementsCBOR(raw []byte) ([]cbor.RawMessage, error) {
	if !isCBOR(raw) {
		return nil, errors.New("nvidia: evidence is not a CBOR array of devices")
	}
	mode, err := decoding(cbor.DupMapKeyEnforcedAPF)
	if err != nil {
		return nil, err
	}
	var all []cbor.RawMessage
	if err := mode.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("nvidia: evidence in CBOR: %w", err)
	}
	if len(all) == 0 {
		return nil, errors.New("nvidia: an empty array of devices")
	}
	return all, nil
}

// deviceCBOR reads the members of a component, each with its original bytes.
func deviceCBOR(raw []byte, dup cbor.DupMapKeyMode) (cbor.DecMode, map[string]cbor.RawMessage, error) {
	all, err := elementsCBOR(raw)
	if err != nil {
		return nil, nil, err
	}
	if len(all) != 1 {
		return nil, nil, errors.New("nvidia: more than one device in one component")
	}
	if major(all[0]) != majorMap {
		return nil, nil, errors.New("nvidia: a device is not a CBOR map")
	}
	mode, err := decoding(dup)
	if err != nil {
		return nil, nil, err
	}
	var members map[string]cbor.RawMessage
	if err := mode.Unmarshal(all[0], &members); err != nil {
		return nil, nil, fmt.Errorf("nvidia: device in CBOR: %w", err)
	}
	return mode, members, nil
}

// archCBOR is Arch for CBOR. Whichever of two keys counts here, the scheme refuses
// a device that has one twice.
func archCBOR(raw []byte) (string, error) {
	mode, members, err := deviceCBOR(raw, cbor.DupMapKeyQuiet)
	if err != nil {
		return "", err
	}
	value, ok := members[memberArch]
	if !ok {
		return "", errNoArch
	}
	text, err := textOf(mode, memberArch, value)
	if err != nil {
		return "", err
	}
	return checkArch(text)
}

// decodeCBOR is Decode for CBOR.
func decodeCBOR(raw []byte) (*Device, error) {
	mode, members, err := deviceCBOR(raw, cbor.DupMapKeyEnforcedAPF)
	if err != nil {
		return nil, err
	}
	texts, octets := map[string][]byte{}, map[string][]byte{}
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := members[name]
		if !known(name) {
			if err := unknownCBOR(name, value, len(unknown)); err != nil {
				return nil, err
			}
			unknown = append(unknown, name)
			continue
		}
		if major(value) == majorBytes && maxOctets(name) > 0 {
			octets[name], err = octetsOf(mode, name, value)
		} else {
			texts[name], err = textOf(mode, name, value)
		}
		if err != nil {
			return nil, err
		}
	}
	return newDevice(texts, octets, unknown)
}

// maxOctets is how long a member may be as a byte string, 0 if it must be text.
func maxOctets(name string) int {
	switch name {
	case memberNonce:
		return NonceSize
	case memberEvidence:
		return MaxReport
	case memberCertificate:
		return MaxChain
	}
	return 0
}

func octetsOf(mode cbor.DecMode, name string, value cbor.RawMessage) ([]byte, error) {
	var b []byte
	if err := mode.Unmarshal(value, &b); err != nil {
		return nil, fmt.Errorf("nvidia: member %q: %w", name, err)
	}
	if most := maxOctets(name); len(b) > most || name == memberNonce && len(b) != most {
		return nil, fmt.Errorf("nvidia: member %q of %d bytes, at most %d, a nonce exactly", name, len(b), most)
	}
	return b, nil
}

func textOf(mode cbor.DecMode, name string, value cbor.RawMessage) ([]byte, error) {
	if major(value) != majorText {
		return nil, fmt.Errorf("nvidia: member %q is not a text string", name)
	}
	var s string
	if err := mode.Unmarshal(value, &s); err != nil {
		return nil, fmt.Errorf("nvidia: member %q: %w", name, err)
	}
	return []byte(s), nil
}

// unknownCBOR lets pass what reader.unknown does.
func unknownCBOR(name string, value cbor.RawMessage, already int) error {
	switch m := major(value); {
	case known(strings.ToLower(name)):
		return fmt.Errorf("nvidia: member %q is a known one in another spelling", name)
	case m == majorArray || m == majorMap:
		return fmt.Errorf("nvidia: unknown member %q is not a scalar", Clip(name))
	case name == "" || len(name) > maxMemberName || already == MaxUnknown:
		return errUnknown
	}
	return nil
}
