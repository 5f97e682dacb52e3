// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// PDISize is the length of a PDI, NVIDIA's number of a device, in bytes.
const PDISize = 8

// Identity is what the certificates say about the device.
type Identity struct {
	// Family is the chip of the common names ("GH100", "LS_10"), Engine the
	// part that signs ("GSP" or "FSP").
	Family, Engine string
	// Model is the common name of certificate 1, as NVIDIA's claim hwmodel.
	Model string
	// UEID is the serial number of certificate 0 in decimal.
	UEID string
	// PDI is the device's PDI, 16 lower-case hexadecimal digits.
	PDI string
}

// PDIName is the spelling of a PDI in facts, by which a GPU and the switches
// that it is wired to can be told to belong together.
func PDIName(pdi string) string { return "nvidia-pdi:" + pdi }

var (
	leafName        = regexp.MustCompile(`^([A-Z0-9_]+) ([A-Z][0-9]{2}) (GSP|FSP) FMC LF$`)
	deviceName      = regexp.MustCompile(`^([A-Z0-9_]+) ([A-Z][0-9]{2}) (GSP|FSP) BROM$`)
	provisionerName = regexp.MustCompile(`^NVIDIA ([A-Z0-9_]+) Provisioner ICA [0-9]+$`)
)

// readIdentity wants the same chip, stepping and engine in certificates 0 and
// 1 and the same chip in certificate 2, and takes the PDI from certificate 1,
// whose prefix must be that of the kind. The chip is for checkArch.
func (k *Kind) readIdentity(certs [chainLength]*x509.Certificate) (Identity, error) {
	leaf := leafName.FindStringSubmatch(certs[0].Subject.CommonName)
	dev := deviceName.FindStringSubmatch(certs[1].Subject.CommonName)
	prov := provisionerName.FindStringSubmatch(certs[2].Subject.CommonName)
	if leaf == nil || dev == nil || prov == nil {
		return Identity{}, unrecognized(verdict.ReasonIdentityMismatch, "the common names %q, %q, %q are not those of an NVIDIA device",
			certs[0].Subject.CommonName, certs[1].Subject.CommonName, certs[2].Subject.CommonName)
	}
	if leaf[1] != dev[1] || leaf[1] != prov[1] || leaf[2] != dev[2] || leaf[3] != dev[3] {
		return Identity{}, unrecognized(verdict.ReasonIdentityMismatch, "the common names %q, %q, %q are of different devices",
			leaf[0], dev[0], prov[0])
	}
	id := Identity{Family: leaf[1], Engine: leaf[3], Model: dev[0], UEID: certs[0].SerialNumber.String()}
	prefix := k.Prefixes[id.Engine] // 0 for an engine of another kind; no serial number begins with it
	serial, err := hex.DecodeString(certs[1].Subject.SerialNumber)
	if err != nil || len(serial) != 1+PDISize || !bytes.Equal(serial, certs[1].SerialNumber.Bytes()) || serial[0] != prefix {
		return Identity{}, unrecognized(verdict.ReasonIdentityMismatch,
			"certificate 1 (%q) has serial number %x and subject serial number %q: expected the same 9 bytes beginning with 0x%02x, as those of a %s have",
			id.Model, certs[1].SerialNumber, certs[1].Subject.SerialNumber, prefix, k.Noun)
	}
	id.PDI = hex.EncodeToString(serial[1:])
	return id, nil
}

// checkArch compares the architecture that the collector names with the chip
// in the certificates. Only known architectures get here.
func (k *Kind) checkArch(arch string, id Identity) error {
	if chip := k.Chips[arch]; chip == nil || !chip.MatchString(id.Family) {
		return unrecognized(verdict.ReasonIdentityMismatch, "architecture %s, but the certificates are of a %s", arch, id.Family)
	}
	return nil
}

// knownArch refuses what is not of the kind, before anything is parsed.
func (k *Kind) knownArch(arch string) error {
	if k.Chips[arch] != nil {
		return nil
	}
	return unrecognized(verdict.ReasonUnsupported, "architecture %q is that of no %s known here (%s)",
		container.Clip(arch), k.Noun, strings.Join(slices.Sorted(maps.Keys(k.Chips)), ", "))
}
