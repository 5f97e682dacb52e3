// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// MaxDevices is the largest number of devices in one leaf.
	MaxDevices = 64
	// MaxChain is the largest PEM certificate chain in bytes.
	MaxChain = 16 << 10

	maxUnknown    = 8
	maxMemberName = 64
)

var (
	requiredMembers = []string{"arch", "certificate", "evidence", "nonce"}
	// optionalMembers are what NVIDIA's SDKs write besides; nothing signs them.
	optionalMembers = []string{"driver_version", "vbios_version", "version"}
)

// device is one element of the array: what a collector says it collected.
type device struct {
	arch   string // upper case
	nonce  []byte // 32 bytes; a copy outside the signature
	report []byte
	pem    []byte
	// driver and vbios are unsigned copies of signed values, "" if absent.
	driver, vbios string
	// unknown are the names of members that mean nothing here.
	unknown []string
}

// elements returns the elements of a JSON array, each with its original bytes.
func elements(raw []byte) ([]json.RawMessage, error) {
	r := &reader{b: raw}
	if r.peek() != '[' {
		return nil, errors.New("nvidiagpu: evidence is not a JSON array of devices")
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
			return nil, fmt.Errorf("nvidiagpu: more than %d devices in one array", MaxDevices)
		}
		e, err := r.skip(maxDepth)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, errors.New("nvidiagpu: an empty array of devices")
	}
	return out, r.end()
}

// decodeDevice reads evidence that holds exactly one device, in one pass.
func decodeDevice(raw []byte) (*device, error) {
	r := &reader{b: raw}
	if r.peek() != '[' {
		return nil, errors.New("nvidiagpu: evidence is not a JSON array of devices")
	}
	r.at++
	members, unknown, err := r.members()
	if err != nil {
		return nil, err
	}
	if r.peek() == ',' {
		return nil, errors.New("nvidiagpu: more than one device in one component")
	}
	if err := r.expect(']'); err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	for _, name := range requiredMembers {
		if _, ok := members[name]; !ok {
			return nil, fmt.Errorf("nvidiagpu: device has no member %q", name)
		}
	}
	d := &device{
		arch:   strings.ToUpper(string(members["arch"])),
		driver: string(members["driver_version"]), vbios: string(members["vbios_version"]), unknown: unknown,
	}
	if d.nonce, err = decodeNonce(members["nonce"]); err != nil {
		return nil, err
	}
	if d.report, err = decodeBase64(members["evidence"], MaxReport); err != nil {
		return nil, fmt.Errorf("nvidiagpu: member \"evidence\": %w", err)
	}
	if d.pem, err = decodeBase64(members["certificate"], MaxChain); err != nil {
		return nil, fmt.Errorf("nvidiagpu: member \"certificate\": %w", err)
	}
	return d, nil
}

// members reads one object without duplicate members. Known members are
// strings. An unknown member is listed if it is a scalar and its name is not a
// variant spelling of a known one: what a newer SDK adds is no reason to call
// a device bad, but nothing here may depend on it either.
func (r *reader) members() (members map[string][]byte, unknown []string, err error) {
	if r.peek() != '{' {
		return nil, nil, errors.New("nvidiagpu: a device is not a JSON object")
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
			return nil, nil, fmt.Errorf("nvidiagpu: member %q occurs twice", clip(name))
		}
		if !known(name) {
			if err := r.unknown(name, len(unknown)); err != nil {
				return nil, nil, err
			}
			unknown = append(unknown, name)
			continue
		}
		if r.peek() != '"' {
			return nil, nil, fmt.Errorf("nvidiagpu: member %q is not a string", name)
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
		return fmt.Errorf("nvidiagpu: member %q is a known one in another spelling", name)
	case c == '{' || c == '[':
		return fmt.Errorf("nvidiagpu: unknown member %q is not a scalar", clip(name))
	case name == "" || len(name) > maxMemberName || already == maxUnknown:
		return fmt.Errorf("nvidiagpu: unknown members beyond %d of at most %d bytes", maxUnknown, maxMemberName)
	}
	_, err := r.skip(0)
	return err
}

func clip(s string) string { return s[:min(len(s), maxMemberName)] }

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
		return nil, errors.New("nvidiagpu: member \"nonce\" is neither 64 hexadecimal digits nor base64 of 32 bytes")
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
