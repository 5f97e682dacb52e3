// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An item is a CMW collection in JSON that holds the evidence of one device
// (attestation-sdk, evidence-item/v1):
//
//	{"__cmwc_t": "tag:nvidia.com,2026:evidence-item/v1",
//	 "evidence": ["application/vnd.nvidia.spdm-measurement-transcript", "<base64url>"],
//	 "certificate": ["application/vnd.nvidia.pem-cert-chain", "<base64url>"],
//	 "nonce": ["application/octet-stream", "<base64url>"],
//	 "hints": ["application/json", "<base64url of {"fwversion": "97.00.F3.00.07"}>"]}
//
// Nonce and hints may be absent. Records have two elements; the third that CMW
// knows is not in the profile.
const (
	itemType        = "tag:nvidia.com,2026:evidence-item/v1"
	typeTranscript  = "application/vnd.nvidia.spdm-measurement-transcript"
	typeCertificate = "application/vnd.nvidia.pem-cert-chain"
	typeNonce       = "application/octet-stream"
	typeHints       = "application/json"

	labelType        = "__cmwc_t"
	labelEvidence    = "evidence"
	labelCertificate = "certificate"
	labelNonce       = "nonce"
	labelHints       = "hints"

	hintFirmware = "fwversion"
	maxHints     = 4 << 10
	maxPrintable = 64
)

var itemLabels = []string{labelType, labelEvidence, labelCertificate, labelNonce, labelHints}

// decodeItem reads an item. A label that is not one of the profile is an error:
// what else a collector wants appraised must not be dropped in silence.
func decodeItem(raw []byte) (*Device, error) {
	r := &reader{b: raw}
	members, err := r.object(itemLabels...)
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if t, err := (&reader{b: members[labelType]}).text(); err != nil || string(t) != itemType {
		return nil, fmt.Errorf("nvidia: an object that is not of collection type %q", itemType)
	}
	d := &Device{}
	if d.Report, err = record(members, labelEvidence, typeTranscript, MaxReport, true); err != nil {
		return nil, err
	}
	if d.Chain, err = record(members, labelCertificate, typeCertificate, MaxChain, true); err != nil {
		return nil, err
	}
	if d.Nonce, err = record(members, labelNonce, typeNonce, NonceSize, false); err != nil {
		return nil, err
	}
	if d.Nonce != nil && len(d.Nonce) != NonceSize {
		return nil, fmt.Errorf("nvidia: nonce of %d bytes, expected %d", len(d.Nonce), NonceSize)
	}
	hints, err := record(members, labelHints, typeHints, maxHints, false)
	if err != nil {
		return nil, err
	}
	if hints != nil {
		if err := d.hints(hints); err != nil {
			return nil, err
		}
	}
	d.Arch, err = chipArch(d.Chain)
	return d, err
}

// record reads `[type, value]`, the value unpadded base64url of at least one
// byte. It is nil for one that is absent and may be.
func record(members map[string][]byte, label, want string, most int, required bool) ([]byte, error) {
	raw, ok := members[label]
	if !ok && required {
		return nil, fmt.Errorf("nvidia: evidence item without %q", label)
	}
	if !ok {
		return nil, nil
	}
	r := &reader{b: raw}
	if err := r.expect('['); err != nil {
		return nil, err
	}
	name, err := r.text()
	if err != nil {
		return nil, err
	}
	if err := r.expect(','); err != nil {
		return nil, err
	}
	text, err := r.text()
	if err != nil {
		return nil, err
	}
	if err := r.expect(']'); err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if !strings.EqualFold(string(name), want) {
		return nil, fmt.Errorf("%w: %q of type %q, expected %s", ErrUnsupported, label, Clip(string(name)), want)
	}
	v, err := decodeURL(text, most)
	if err != nil || len(v) == 0 {
		return nil, fmt.Errorf("nvidia: %q is not unpadded base64url of 1 to %d bytes", label, most)
	}
	return v, nil
}

// decodeURL reads unpadded base64url in its one canonical spelling.
func decodeURL(text []byte, most int) ([]byte, error) {
	if bytes.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	if n := base64.RawURLEncoding.DecodedLen(len(text)); n > most {
		return nil, fmt.Errorf("%d bytes, at most %d", n, most)
	}
	return base64.RawURLEncoding.Strict().DecodeString(string(text))
}

// hints reads the object of hints. A hint that means nothing here is listed,
// since another verifier may ask for it; a value that is not a scalar is an error.
func (d *Device) hints(raw []byte) error {
	r := &reader{b: raw}
	if err := r.expect('{'); err != nil {
		return err
	}
	var seen []string
	for first := true; ; first = false {
		more, err := r.more('}', first)
		if err != nil {
			return err
		}
		if !more {
			return r.end()
		}
		name, err := r.name()
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) {
			return fmt.Errorf("nvidia: hint %q occurs twice", Clip(name))
		}
		seen = append(seen, name)
		if name != hintFirmware {
			if strings.EqualFold(name, hintFirmware) {
				return fmt.Errorf("nvidia: hint %q is a known one in another spelling", name)
			}
			if err := r.scalar(name, len(d.Unknown)); err != nil {
				return err
			}
			d.Unknown = append(d.Unknown, "hints."+name)
			continue
		}
		text, err := r.text()
		if err != nil {
			return err
		}
		if d.Hints.Firmware, err = printable(text); err != nil || d.Hints.Firmware == "" {
			return fmt.Errorf("nvidia: hint %q is not a text of 1 to %d printable ASCII characters", name, maxPrintable)
		}
	}
}

// printable is text of visible ASCII characters, or none.
func printable(b []byte) (string, error) {
	if len(b) > maxPrintable {
		return "", fmt.Errorf("%d bytes, at most %d", len(b), maxPrintable)
	}
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("byte 0x%02x in text", c)
		}
	}
	return string(b), nil
}

// chipArch is the architecture of the chip in the common name of the first
// certificate. Nothing is verified here: the scheme compares the two again. A
// chip that has no architecture here is one by its own name, which no scheme
// accepts.
func chipArch(chain []byte) (string, error) {
	block, _ := pem.Decode(chain)
	if block == nil {
		return "", errors.New("nvidia: no PEM certificate in \"certificate\"")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("nvidia: certificate 0: %w", err)
	}
	chip, _, _ := strings.Cut(cert.Subject.CommonName, " ")
	switch {
	case strings.HasPrefix(chip, "GH1"):
		return "HOPPER", nil
	case strings.HasPrefix(chip, "GB1"):
		return "BLACKWELL", nil
	case chip == "LS_10":
		return "LS10", nil
	case chip == "" || len(chip) > maxArch:
		return "", fmt.Errorf("nvidia: certificate 0 has common name %q, which names no chip", Clip(cert.Subject.CommonName))
	}
	return strings.ToUpper(chip), nil
}
