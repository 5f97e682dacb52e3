// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Opaque field types that GPUs and switches share. Which of them occur depends
// on driver and firmware, so nothing but a field's own type says what it is.
const (
	OpaqueDriver  = 3
	OpaqueVBIOS   = 6
	OpaqueMSRSCNT = 12
	OpaqueFWID    = 20
	// OpaquePDI is a list of the PDIs of switches in a GPU's report, and the
	// device's own in that of a switch.
	OpaquePDI = 22
	// OpaquePosition, OpaqueLock and OpaqueGPUs occur in reports of switches.
	OpaquePosition = 24
	OpaqueLock     = 25
	OpaqueGPUs     = 26
	OpaqueVersion  = 34
)

// maxText is the longest text in an opaque field, in bytes.
const maxText = 64

// Text reads NUL-terminated or NUL-padded ASCII, not empty if it is required.
// What comes out may end up in file names and URLs, so the alphabet is small:
// [A-Za-z0-9._-], at most 64 bytes.
func Text(v []byte, required bool) (string, error) {
	s := strings.TrimRight(string(v), "\x00")
	if len(s) > maxText || (required && s == "") {
		return "", fmt.Errorf("text of %d bytes", len(s))
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return "", fmt.Errorf("byte 0x%02x in text", c)
		}
	}
	return s, nil
}

// Octets renders a field of exactly n bytes in hexadecimal.
func Octets(v []byte, n int) (string, error) {
	if len(v) != n {
		return "", fmt.Errorf("%d bytes, expected %d", len(v), n)
	}
	return hex.EncodeToString(v), nil
}

// Misread is the remark about a field of a known type that cannot be read.
func Misread(f Field, why error) string {
	return fmt.Sprintf("field %d of %d bytes: %v", f.Type, len(f.Value), why)
}

// Find returns the field of a type, which occurs once at most.
func Find(fields []Field, typ uint16) (Field, bool) {
	i := slices.IndexFunc(fields, func(f Field) bool { return f.Type == typ })
	if i < 0 {
		return Field{}, false
	}
	return fields[i], true
}
