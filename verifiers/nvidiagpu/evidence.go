// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
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
	if err := checkJSON(raw); err != nil {
		return nil, err
	}
	at := skipBlank(raw, 0)
	if raw[at] != '[' {
		return nil, errors.New("nvidiagpu: evidence is not a JSON array of devices")
	}
	var out []json.RawMessage
	for at = skipBlank(raw, at+1); raw[at] != ']'; at = nextItem(raw, at) {
		if len(out) == MaxDevices {
			return nil, fmt.Errorf("nvidiagpu: more than %d devices in one array", MaxDevices)
		}
		end := valueEnd(raw, at)
		out = append(out, raw[at:end:end])
		at = end
	}
	if len(out) == 0 {
		return nil, errors.New("nvidiagpu: an empty array of devices")
	}
	return out, nil
}

// decodeDevice reads evidence that holds exactly one device.
func decodeDevice(raw []byte) (*device, error) {
	all, err := elements(raw)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 {
		return nil, fmt.Errorf("nvidiagpu: %d devices in one component, expected 1", len(all))
	}
	members, unknown, err := readMembers(all[0])
	if err != nil {
		return nil, err
	}
	for _, name := range requiredMembers {
		if _, ok := members[name]; !ok {
			return nil, fmt.Errorf("nvidiagpu: device has no member %q", name)
		}
	}
	d := &device{
		arch:   strings.ToUpper(members["arch"]),
		driver: members["driver_version"], vbios: members["vbios_version"], unknown: unknown,
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

// readMembers reads one object without duplicate members. Known members are
// strings. An unknown member is listed if it is a scalar and its name is not a
// variant spelling of a known one: what a newer SDK adds is no reason to call
// a device bad, but nothing here may depend on it either.
func readMembers(raw []byte) (members map[string]string, unknown []string, err error) {
	if raw[0] != '{' {
		return nil, nil, errors.New("nvidiagpu: a device is not a JSON object")
	}
	members = map[string]string{}
	for at := skipBlank(raw, 1); raw[at] != '}'; at = nextItem(raw, at) {
		end := valueEnd(raw, at)
		name, err := unquote(raw[at:end])
		if err != nil {
			return nil, nil, fmt.Errorf("nvidiagpu: name of a member: %w", err)
		}
		at = skipBlank(raw, skipBlank(raw, end)+1) // over the colon
		end = valueEnd(raw, at)
		value := raw[at:end]
		at = end
		if _, dup := members[name]; dup || slices.Contains(unknown, name) {
			return nil, nil, fmt.Errorf("nvidiagpu: member %q occurs twice", clip(name))
		}
		if !known(name) {
			if err := checkUnknown(name, value, len(unknown)); err != nil {
				return nil, nil, err
			}
			unknown = append(unknown, name)
			continue
		}
		if value[0] != '"' {
			return nil, nil, fmt.Errorf("nvidiagpu: member %q is not a string", name)
		}
		if members[name], err = unquote(value); err != nil {
			return nil, nil, fmt.Errorf("nvidiagpu: member %q: %w", name, err)
		}
	}
	return members, unknown, nil
}

func known(name string) bool {
	return slices.Contains(requiredMembers, name) || slices.Contains(optionalMembers, name)
}

func checkUnknown(name string, value []byte, already int) error {
	switch {
	case known(strings.ToLower(name)):
		return fmt.Errorf("nvidiagpu: member %q is a known one in another spelling", name)
	case value[0] == '{' || value[0] == '[':
		return fmt.Errorf("nvidiagpu: unknown member %q is not a scalar", clip(name))
	case name == "" || len(name) > maxMemberName || already == maxUnknown:
		return fmt.Errorf("nvidiagpu: unknown members beyond %d of at most %d bytes", maxUnknown, maxMemberName)
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), maxMemberName)] }

// decodeNonce accepts 64 hexadecimal digits, else standard base64 of 32 bytes
// (decision D-55).
func decodeNonce(s string) ([]byte, error) {
	if len(s) == 2*NonceSize {
		if b, err := hex.DecodeString(s); err == nil {
			return b, nil
		}
	}
	b, err := decodeBase64(s, NonceSize)
	if err != nil || len(b) != NonceSize {
		return nil, errors.New("nvidiagpu: member \"nonce\" is neither 64 hexadecimal digits nor base64 of 32 bytes")
	}
	return b, nil
}

// decodeBase64 reads padded standard base64 in its one canonical spelling: the
// decoder of the standard library would step over line breaks.
func decodeBase64(s string, most int) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64")
	}
	if n := base64.StdEncoding.DecodedLen(len(s)); n > most+2 {
		return nil, fmt.Errorf("about %d bytes, at most %d", n, most)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, fmt.Errorf("%d bytes, at most %d", len(b), most)
	}
	return b, nil
}
