// SPDX-License-Identifier: Apache-2.0

// Package container reads the JSON container in which collectors wrap the
// evidence of NVIDIA devices, GPUs and NVSwitches alike: an array of objects
//
//	[{"arch": "HOPPER", "nonce": "<64 hex digits>", "evidence": "<base64 report>",
//	  "certificate": "<base64 of five PEM certificates>"}]
//
// Begin with Split, which takes an array apart, and Decode, which reads an array
// of one device. Arch tells the framework which of the schemes that share the
// media type an array of one device is for; what it says is not signed, and the
// scheme holds it against the certificates.
//
// The package knows form only. It must not import the framework, which asks it
// for Arch.
package container

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/internal/limits"
)

const (
	// MediaType is the registered type of the container.
	MediaType = "application/vnd.veraison.nvidia-gpu-evidence+json"
	// MediaTypeAlias is the type of an earlier draft with the same content
	// (decision D-55).
	MediaTypeAlias = "application/vnd.veraison.nv-gpu-evidence+json"
	// ArchParam is the parameter that a media type is refined with to choose
	// among the schemes of the container: upper case, as Arch returns it.
	ArchParam = "arch"

	// MaxReport bounds a report with its padding, in bytes.
	MaxReport = 16 << 10
	// NonceSize is the length of a nonce in bytes.
	NonceSize = 32
	// MaxDevices is the largest number of devices in one leaf.
	MaxDevices = 64
	// MaxChain is the largest PEM certificate chain in bytes.
	MaxChain = 16 << 10

	// MaxUnknown is the number of unknown members that one device may have.
	MaxUnknown = 8

	maxMemberName = 64
	maxArch       = 32
)

var (
	requiredMembers = []string{"arch", "certificate", "evidence", "nonce"}
	// optionalMembers are what NVIDIA's SDKs write besides; nothing signs them.
	optionalMembers = []string{"driver_version", "vbios_version", "version"}
)

// Device is one element of the array: what a collector says it collected.
type Device struct {
	// Arch is the architecture in upper case, "HOPPER" for example.
	Arch string
	// Nonce is a copy of the challenge outside the signature (32 bytes).
	Nonce []byte
	// Report is the SPDM report, request and response.
	Report []byte
	// Chain is the PEM text of the certificate chain.
	Chain []byte
	// Driver and VBIOS are unsigned copies of signed values, "" if absent.
	Driver, VBIOS string
	// Unknown are the names of members that mean nothing here.
	Unknown []string
}

// Known reports whether base, the type of a media type without parameters, is
// one of the container's.
func Known(base string) bool { return base == MediaType || base == MediaTypeAlias }

// Split makes one array of one device from each element, keeping the bytes of
// the element. It looks into none: one bad device must not hide the others.
// Leaves beyond the limit of a leaf and arrays beyond MaxDevices are errors.
func Split(raw []byte) ([][]byte, error) {
	if most := limits.Default().Leaf; len(raw) > most {
		return nil, fmt.Errorf("nvidia: leaf of %d bytes, at most %d", len(raw), most)
	}
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

// Arch returns the architecture that an array of one device names, in upper
// case. It reads no more than it must: whether the rest is sound is for the
// scheme to say, so that a broken device gets a verdict. A device that names
// no architecture, one longer than 32 bytes, or two different ones, is an error.
func Arch(raw []byte) (string, error) {
	all, err := elements(raw)
	if err != nil {
		return "", err
	}
	if len(all) != 1 {
		return "", errors.New("nvidia: more than one device in one component")
	}
	r := &reader{b: all[0]}
	if r.peek() != '{' {
		return "", errors.New("nvidia: a device is not a JSON object")
	}
	r.at++
	arch := ""
	for first := true; ; first = false {
		more, err := r.more('}', first)
		if err != nil {
			return "", err
		}
		if !more {
			break
		}
		if arch, err = r.archOf(arch); err != nil {
			return "", err
		}
	}
	if arch == "" {
		return "", errors.New("nvidia: device has no member \"arch\"")
	}
	return arch, nil
}

// archOf reads one member and returns its value if it is the architecture,
// else the one that was known already.
func (r *reader) archOf(known string) (string, error) {
	name, err := r.text()
	if err != nil {
		return "", err
	}
	if err := r.expect(':'); err != nil {
		return "", err
	}
	if string(name) != "arch" {
		_, err := r.skip(maxDepth)
		return known, err
	}
	value, err := r.text()
	if err != nil {
		return "", err
	}
	arch := strings.ToUpper(string(value))
	switch {
	case arch == "" || len(arch) > maxArch:
		return "", fmt.Errorf("nvidia: member \"arch\" of %d bytes, expected 1 to %d", len(arch), maxArch)
	case known != "" && known != arch:
		return "", fmt.Errorf("nvidia: device says it is a %q and a %q", known, arch)
	}
	return arch, nil
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

// Decode reads evidence that holds exactly one device, in one pass. Everything
// in it must have its one expected form.
func Decode(raw []byte) (*Device, error) {
	r := &reader{b: raw}
	if r.peek() != '[' {
		return nil, errors.New("nvidia: evidence is not a JSON array of devices")
	}
	r.at++
	members, unknown, err := r.members()
	if err != nil {
		return nil, err
	}
	if r.peek() == ',' {
		return nil, errors.New("nvidia: more than one device in one component")
	}
	if err := r.expect(']'); err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	for _, name := range requiredMembers {
		if _, ok := members[name]; !ok {
			return nil, fmt.Errorf("nvidia: device has no member %q", name)
		}
	}
	d := &Device{
		Arch:   strings.ToUpper(string(members["arch"])),
		Driver: string(members["driver_version"]), VBIOS: string(members["vbios_version"]), Unknown: unknown,
	}
	if d.Nonce, err = decodeNonce(members["nonce"]); err != nil {
		return nil, err
	}
	if d.Report, err = decodeBase64(members["evidence"], MaxReport); err != nil {
		return nil, fmt.Errorf("nvidia: member \"evidence\": %w", err)
	}
	if d.Chain, err = decodeBase64(members["certificate"], MaxChain); err != nil {
		return nil, fmt.Errorf("nvidia: member \"certificate\": %w", err)
	}
	return d, nil
}

// members reads one object without duplicate members. Known members are
// strings. An unknown member is listed if it is a scalar and its name is not a
// variant spelling of a known one: what a newer SDK adds is no reason to call
// a device bad, but nothing here may depend on it either.
func (r *reader) members() (members map[string][]byte, unknown []string, err error) {
	if r.peek() != '{' {
		return nil, nil, errors.New("nvidia: a device is not a JSON object")
	}
	r.at++
	members = make(map[string][]byte, len(requiredMembers)+len(optionalMembers))
	for first := true; ; first = false {
		more, err := r.more('}', first)
		if err != nil || !more {
			return members, unknown, err
		}
		text, err := r.text()
		if err != nil {
			return nil, nil, err
		}
		if err := r.expect(':'); err != nil {
			return nil, nil, err
		}
		name := string(text)
		if _, dup := members[name]; dup || slices.Contains(unknown, name) {
			return nil, nil, fmt.Errorf("nvidia: member %q occurs twice", Clip(name))
		}
		if !known(name) {
			if err := r.unknown(name, len(unknown)); err != nil {
				return nil, nil, err
			}
			unknown = append(unknown, name)
			continue
		}
		if r.peek() != '"' {
			return nil, nil, fmt.Errorf("nvidia: member %q is not a string", name)
		}
		if members[name], err = r.text(); err != nil {
			return nil, nil, err
		}
	}
}

func known(name string) bool {
	return slices.Contains(requiredMembers, name) || slices.Contains(optionalMembers, name)
}

// unknown steps over the value of an unknown member, if it may be there.
func (r *reader) unknown(name string, already int) error {
	switch c := r.peek(); {
	case known(strings.ToLower(name)):
		return fmt.Errorf("nvidia: member %q is a known one in another spelling", name)
	case c == '{' || c == '[':
		return fmt.Errorf("nvidia: unknown member %q is not a scalar", Clip(name))
	case name == "" || len(name) > maxMemberName || already == MaxUnknown:
		return fmt.Errorf("nvidia: unknown members beyond %d of at most %d bytes", MaxUnknown, maxMemberName)
	}
	_, err := r.skip(0)
	return err
}

// Clip shortens text from outside for a message, to at most 64 bytes.
func Clip(s string) string { return s[:min(len(s), maxMemberName)] }

// decodeNonce accepts 64 hexadecimal digits, else standard base64 of 32 bytes
// (decision D-55).
func decodeNonce(text []byte) ([]byte, error) {
	if len(text) == 2*NonceSize {
		b := make([]byte, NonceSize)
		if _, err := hex.Decode(b, text); err == nil {
			return b, nil
		}
	}
	b, err := decodeBase64(text, NonceSize)
	if err != nil || len(b) != NonceSize {
		return nil, errors.New("nvidia: member \"nonce\" is neither 64 hexadecimal digits nor base64 of 32 bytes")
	}
	return b, nil
}

// strictBase64 refuses non-zero trailing bits, but steps over line ends.
var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 reads padded standard base64 in its one canonical spelling.
func decodeBase64(text []byte, most int) ([]byte, error) {
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return nil, errors.New("line break in base64")
	}
	if n := base64.StdEncoding.DecodedLen(len(text)); n > most+2 {
		return nil, fmt.Errorf("about %d bytes, at most %d", n, most)
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := strictBase64.Decode(b, text)
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, fmt.Errorf("%d bytes, at most %d", n, most)
	}
	return b[:n:n], nil
}
