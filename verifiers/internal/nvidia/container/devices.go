// SPDX-License-Identifier: Apache-2.0

// Package container reads the forms in which collectors wrap the evidence of
// NVIDIA devices, GPUs and NVSwitches alike:
//
//   - NVIDIA's SDKs and Veraison (MediaType, MediaTypeAlias) write an array of
//     objects, which may stand in an object as its only member nv-gpu-evidence:
//
//     [{"arch": "HOPPER", "nonce": "<64 hex digits>", "evidence": "<base64 report>",
//     "certificate": "<base64 of five PEM certificates>"}]
//
//     The same array in CBOR (MediaTypeCBOR, MediaTypeAliasCBOR) is read alike,
//     see cbor.go;
//
//   - Intel Trust Authority's client (NVGPUType) names nonce and architecture
//     once for several devices, see nvgpu;
//
//   - NVIDIA's newer SDK (ItemType) writes a CMW collection for each device, of
//     which the framework makes one leaf, see item.
//
// Begin with Split, which makes components of one device each out of a leaf, and
// Decode, which reads such a component: an array of one device, or an item. Arch
// tells the framework which of the schemes that share the media types a component
// is for; what it says is not signed, and the scheme holds it against the
// certificates.
//
// The package knows form only. It must not import the framework, which asks it
// for Arch.
package container

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// MediaType is the registered type of the container.
	MediaType = "application/vnd.veraison.nvidia-gpu-evidence+json"
	// MediaTypeAlias is the type of an earlier draft with the same content
	// (decision D-55).
	MediaTypeAlias = "application/vnd.veraison.nv-gpu-evidence+json"
	// NVGPUType is the type of what Intel's client collects.
	NVGPUType = "application/vnd.assize.intel-nvgpu+json"
	// ItemType is the type of a device in NVIDIA's CMW collection; it is
	// evidence.TypeNVIDIAItem.
	ItemType = "application/vnd.assize.nvidia-evidence-item+json"
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
	requiredMembers = []string{memberArch, memberCertificate, memberEvidence, memberNonce}
	// optionalMembers are what NVIDIA's SDKs write besides; nothing signs them.
	// The version of the firmware is Intel's.
	optionalMembers = []string{"driver_version", "vbios_version", "version", memberFirmware}
)

const (
	memberCertificate = "certificate"
	memberEvidence    = "evidence"
	memberNonce       = "nonce"
	// memberFirmware is the hint in Intel's form.
	memberFirmware = "firmware_version"
)

// ErrUnsupported says that a component is of a form that no scheme reads.
var ErrUnsupported = errors.New("nvidia: unsupported evidence")

// Device is one device: what a collector says it collected.
type Device struct {
	// Arch is the architecture in upper case, "HOPPER" for example. An item names
	// none: it is that of the chip in its first certificate.
	Arch string
	// Nonce is a copy of the challenge outside the signature (32 bytes), nil for
	// an item without one.
	Nonce []byte
	// Report is the SPDM report, request and response.
	Report []byte
	// Chain is the PEM text of the certificate chain.
	Chain []byte
	// Driver and VBIOS are unsigned copies of signed values, "" if absent.
	Driver, VBIOS string
	// Hints are what the collector says for the verifier to find documents by.
	Hints Hints
	// Unknown are the names of members that mean nothing here; those of hints are
	// behind "hints.".
	Unknown []string
}

// Hints are unsigned, and about what is not signed at all. So a hint may choose
// which reference values are asked for and never what they are compared with: a
// wrong one finds none, or values that do not match.
type Hints struct {
	// Firmware is the version of the firmware, printable ASCII of at most 64
	// bytes, "" if absent.
	Firmware string
}

// Arch returns the architecture that a component names, in upper case. Of an
// array of one device it reads no more than it must: whether the rest is sound is
// for the scheme to say, so that a broken device gets a verdict. A device that
// names no architecture, one longer than 32 bytes, or two different ones, is an
// error. An item names none, and has to be sound for its chip to be seen; it may
// be one that nobody reads, then the error wraps ErrUnsupported.
func Arch(raw []byte) (string, error) {
	if isCBOR(raw) {
		return archCBOR(raw)
	}
	if (&reader{b: raw}).peek() == '{' {
		d, err := decodeItem(raw)
		if err != nil {
			return "", err
		}
		return d.Arch, nil
	}
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
		return "", errNoArch
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
	arch, err := checkArch(value)
	if err == nil && known != "" && known != arch {
		return "", fmt.Errorf("nvidia: device says it is a %q and a %q", known, arch)
	}
	return arch, err
}

var errNoArch = errors.New("nvidia: device has no member \"arch\"")

// checkArch returns an architecture in upper case.
func checkArch(value []byte) (string, error) {
	arch := strings.ToUpper(string(value))
	if arch == "" || len(arch) > maxArch {
		return "", fmt.Errorf("nvidia: member \"arch\" of %d bytes, expected 1 to %d", len(arch), maxArch)
	}
	return arch, nil
}

// Decode reads a component, which holds exactly one device, in one pass.
// Everything in it must have its one expected form.
func Decode(raw []byte) (*Device, error) {
	if isCBOR(raw) {
		return decodeCBOR(raw)
	}
	r := &reader{b: raw}
	if r.peek() == '{' {
		return decodeItem(raw)
	}
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
	return newDevice(members, nil, unknown)
}

// newDevice makes a device of its members: texts, and octets where a form has
// bytes for what the texts encode.
func newDevice(members, octets map[string][]byte, unknown []string) (*Device, error) {
	for _, name := range requiredMembers {
		if members[name] == nil && octets[name] == nil {
			return nil, fmt.Errorf("nvidia: device has no member %q", name)
		}
	}
	var err error
	d := &Device{
		Arch:   strings.ToUpper(string(members["arch"])),
		Driver: string(members["driver_version"]), VBIOS: string(members["vbios_version"]), Unknown: unknown,
	}
	if d.Hints.Firmware, err = printable(members[memberFirmware]); err != nil {
		return nil, fmt.Errorf("nvidia: member %q: %w", memberFirmware, err)
	}
	if d.Nonce = octets[memberNonce]; d.Nonce == nil {
		if d.Nonce, err = decodeNonce(members[memberNonce]); err != nil {
			return nil, err
		}
	}
	if d.Report = octets[memberEvidence]; d.Report == nil {
		if d.Report, err = decodeBase64(members[memberEvidence], MaxReport); err != nil {
			return nil, fmt.Errorf("nvidia: member %q: %w", memberEvidence, err)
		}
	}
	if d.Chain = octets[memberCertificate]; d.Chain == nil {
		if d.Chain, err = decodeBase64(members[memberCertificate], MaxChain); err != nil {
			return nil, fmt.Errorf("nvidia: member %q: %w", memberCertificate, err)
		}
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
	if known(strings.ToLower(name)) {
		return fmt.Errorf("nvidia: member %q is a known one in another spelling", name)
	}
	return r.scalar(name, already)
}

var errUnknown = fmt.Errorf("nvidia: unknown members beyond %d of at most %d bytes", MaxUnknown, maxMemberName)

// scalar steps over a value that means nothing here.
func (r *reader) scalar(name string, already int) error {
	switch c := r.peek(); {
	case c == '{' || c == '[':
		return fmt.Errorf("nvidia: unknown member %q is not a scalar", Clip(name))
	case name == "" || len(name) > maxMemberName || already == MaxUnknown:
		return errUnknown
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
