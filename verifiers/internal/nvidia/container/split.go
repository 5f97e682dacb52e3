// SPDX-License-Identifier: Apache-2.0

package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/assize/assize/internal/limits"
)

// Types are the media types of the forms.
func Types() []string {
	return []string{MediaType, MediaTypeAlias, MediaTypeCBOR, MediaTypeAliasCBOR, NVGPUType, ItemType}
}

// Known reports whether base, the type of a media type without parameters, is
// one of the container's.
func Known(base string) bool { return slices.Contains(Types(), base) }

// Many reports whether a leaf of a type may hold several devices, so that each
// has a place in it.
func Many(base string) bool { return base != ItemType }

// Split makes components of a leaf of one of the types. An array gives one array
// of one device for each element, which keeps the bytes of the element; an item
// is a component as it is. Split looks into no device: one bad device must not
// hide the others. Leaves beyond the limit of a leaf and arrays beyond MaxDevices
// are errors.
func Split(base string, raw []byte) ([][]byte, error) {
	if most := limits.Default().Leaf; len(raw) > most {
		return nil, fmt.Errorf("nvidia: leaf of %d bytes, at most %d", len(raw), most)
	}
	if base == MediaTypeCBOR || base == MediaTypeAliasCBOR {
		return splitCBOR(raw)
	}
	object := (&reader{b: raw}).peek() == '{'
	switch {
	case base == ItemType && object:
		return [][]byte{raw}, nil
	case base == ItemType:
		return nil, errors.New("nvidia: an evidence item is not a JSON object")
	case base == NVGPUType && object:
		return splitNVGPU(raw)
	case object:
		r := &reader{b: raw}
		members, err := r.object(wrapper)
		if err != nil {
			return nil, err
		}
		if err := r.end(); err != nil {
			return nil, err
		}
		raw = members[wrapper]
	}
	return splitArray(raw)
}

// wrapper is the only member of an object around an array: the name under which
// ratsd has the evidence.
const wrapper = "nv-gpu-evidence"

func splitArray(raw []byte) ([][]byte, error) {
	all, err := elements(raw)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(all))
	for i, e := range all {
		one := make([]byte, 0, len(e)+2)
		one = append(one, '[')
		one = append(one, e...)
		out[i] = append(one, ']')
	}
	return out, nil
}

// elements returns the elements of a JSON array, each with its original bytes.
func elements(raw []byte) ([]json.RawMessage, error) {
	r := &reader{b: raw}
	if r.peek() != '[' {
		return nil, errors.New("nvidia: evidence is not a JSON array of devices")
	}
	r.at++
	var out []json.RawMessage
	for {
		more, err := r.more(']', len(out) == 0)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		if len(out) == MaxDevices {
			return nil, fmt.Errorf("nvidia: more than %d devices in one array", MaxDevices)
		}
		e, err := r.skip(maxDepth)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, errors.New("nvidia: an empty array of devices")
	}
	return out, r.end()
}
