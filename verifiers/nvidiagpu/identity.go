// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/assize/assize/verdict"
)

// identity is what the certificates say about the device.
type identity struct {
	// family is the chip of the common names ("GH100"), engine the part that
	// signs ("GSP", or "FSP" on newer Blackwell firmware).
	family, engine string
	// model is the common name of certificate 1, as NVIDIA's claim hwmodel.
	model string
	// ueid is the serial number of certificate 0 in decimal.
	ueid string
	// pdi is the device's PDI, 16 lower-case hexadecimal digits.
	pdi string
}

// families are the chips of an architecture; NVIDIA names one device CA and
// the chips of certificates 0..2 must agree.
var families = map[string]*regexp.Regexp{
	"HOPPER":    regexp.MustCompile(`^GH1[0-9]{2}$`),
	"BLACKWELL": regexp.MustCompile(`^GB1[0-9]{2}$`),
}

// prefixes of the subject serial number of certificate 1, in front of the PDI.
var prefixes = map[string]byte{"GSP": 0x41, "FSP": 0x40}

var (
	leafName        = regexp.MustCompile(`^([A-Z0-9_]+) ([A-Z][0-9]{2}) (GSP|FSP) FMC LF$`)
	deviceName      = regexp.MustCompile(`^([A-Z0-9_]+) ([A-Z][0-9]{2}) (GSP|FSP) BROM$`)
	provisionerName = regexp.MustCompile(`^NVIDIA ([A-Z0-9_]+) Provisioner ICA [0-9]+$`)
	switchName      = regexp.MustCompile(`^LS_?[0-9]+$`)
)

// readIdentity wants the same chip, stepping and engine in certificates 0 and
// 1 and the same chip in certificate 2, and takes the PDI from certificate 1.
func readIdentity(certs [chainLength]*x509.Certificate) (identity, error) {
	leaf := leafName.FindStringSubmatch(certs[0].Subject.CommonName)
	dev := deviceName.FindStringSubmatch(certs[1].Subject.CommonName)
	prov := provisionerName.FindStringSubmatch(certs[2].Subject.CommonName)
	if leaf == nil || dev == nil || prov == nil {
		return identity{}, unrecognized(verdict.ReasonIdentityMismatch, "the common names %q, %q, %q are not those of an NVIDIA device",
			certs[0].Subject.CommonName, certs[1].Subject.CommonName, certs[2].Subject.CommonName)
	}
	if leaf[1] != dev[1] || leaf[1] != prov[1] || leaf[2] != dev[2] || leaf[3] != dev[3] {
		return identity{}, unrecognized(verdict.ReasonIdentityMismatch, "the common names %q, %q, %q are of different devices",
			leaf[0], dev[0], prov[0])
	}
	id := identity{family: leaf[1], engine: leaf[3], model: dev[0], ueid: certs[0].SerialNumber.String()}
	if switchName.MatchString(id.family) {
		return identity{}, unrecognized(verdict.ReasonIdentityMismatch, "%s is an NVSwitch, not a GPU", id.family)
	}
	serial, err := hex.DecodeString(certs[1].Subject.SerialNumber)
	if err != nil || len(serial) != 1+pdiSize || !bytes.Equal(serial, certs[1].SerialNumber.Bytes()) || serial[0] != prefixes[id.engine] {
		return identity{}, unrecognized(verdict.ReasonIdentityMismatch,
			"certificate 1 has serial number %x and subject serial number %q: expected the same 9 bytes beginning with 0x%02x",
			certs[1].SerialNumber, certs[1].Subject.SerialNumber, prefixes[id.engine])
	}
	id.pdi = hex.EncodeToString(serial[1:])
	return id, nil
}

// checkArch compares the architecture that the collector names with the chip
// in the certificates. Only known architectures get here.
func (id identity) checkArch(arch string) error {
	if re := families[arch]; re == nil || !re.MatchString(id.family) {
		return unrecognized(verdict.ReasonIdentityMismatch, "architecture %s, but the certificates are of a %s", arch, id.family)
	}
	return nil
}

// knownArch refuses what is not a GPU or not known, before anything is parsed.
func knownArch(arch string) error {
	if families[arch] != nil {
		return nil
	}
	if switchName.MatchString(arch) {
		return unrecognized(verdict.ReasonUnsupported, "%s is an NVSwitch: scheme nvidia-nvswitch appraises it, not this one", arch)
	}
	return unrecognized(verdict.ReasonUnsupported, "architecture %q is not known here (HOPPER, BLACKWELL)", clip(arch))
}

// Extensions that carry the firmware id (FWID) of the leaf's layer: TCG DICE
// CompositeDeviceID on Hopper, DiceTcbInfo on Blackwell.
var (
	oidCompositeDevice = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}
	oidDiceTCBInfo     = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}
	oidSHA384          = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
)

// fwid is the firmware id in the leaf certificate.
type fwid struct {
	digest []byte // 48 bytes, SHA-384
	// flags are the DiceTcbInfo operational flags, nil on Hopper.
	flags []byte
}

// Operational flags of DiceTcbInfo that say that the layer is not in the state
// in which a device is deployed (TCG DICE Attestation Architecture: bit 0
// notConfigured, 1 notSecure, 2 recovery, 3 debug, 4 notReplayProtected, 31
// fixedWidth). NVIDIA's devices in the field have bits 0 and 31.
const (
	flagNotSecure = 1
	flagRecovery  = 2
	flagDebug     = 3
)

// has reports an operational flag, bit 0 being the highest of the first byte.
func (f fwid) has(flag int) bool {
	return flag/8 < len(f.flags) && f.flags[flag/8]&(0x80>>(flag%8)) != 0
}

type fwidElement struct {
	Alg    asn1.ObjectIdentifier
	Digest []byte
}

func readFWID(leaf, device *x509.Certificate) (out fwid, err error) {
	found := 0
	for _, e := range leaf.Extensions {
		switch {
		case e.Id.Equal(oidCompositeDevice):
			found++
			out, err = readCompositeDevice(e.Value, device.RawSubjectPublicKeyInfo)
		case e.Id.Equal(oidDiceTCBInfo):
			found++
			out, err = readTCBInfo(e.Value)
		}
		if err != nil {
			return fwid{}, err
		}
	}
	if found != 1 {
		return fwid{}, fmt.Errorf("%d FWID extensions, expected 1", found)
	}
	return out, nil
}

// readCompositeDevice reads SEQUENCE { 1, SubjectPublicKeyInfo of the device
// identity, SEQUENCE { hash algorithm, digest } }.
func readCompositeDevice(der, deviceKey []byte) (fwid, error) {
	var v struct {
		Version int
		Key     asn1.RawValue
		FWID    fwidElement
	}
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 {
		return fwid{}, fmt.Errorf("CompositeDeviceID extension: %v, %d bytes behind it", err, len(rest))
	}
	// encoding/asn1 steps over further elements of a SEQUENCE; a value that is
	// written differently from how it was read has some.
	if again, err := asn1.Marshal(v); err != nil || !bytes.Equal(again, der) {
		return fwid{}, errors.New("CompositeDeviceID extension has further elements")
	}
	if v.Version != 1 || !bytes.Equal(v.Key.FullBytes, deviceKey) {
		return fwid{}, errors.New("CompositeDeviceID extension is not version 1 for the key of certificate 1")
	}
	return v.FWID.check()
}

func (f fwidElement) check() (fwid, error) {
	if !f.Alg.Equal(oidSHA384) || len(f.Digest) != fwidSize {
		return fwid{}, fmt.Errorf("FWID of algorithm %v and %d bytes, expected SHA-384", f.Alg, len(f.Digest))
	}
	return fwid{digest: f.Digest}, nil
}

// Context tags of DiceTcbInfo (TCG DICE Attestation Architecture).
const (
	tagFWIDs   = 6
	tagFlags   = 7
	tagTCBLast = 10
)

// readTCBInfo reads DiceTcbInfo: context-tagged optional elements in the order
// of their tags. The first FWID is that of the layer; NVIDIA fills a second
// place with zeros.
func readTCBInfo(der []byte) (out fwid, err error) {
	var seq asn1.RawValue
	rest, err := asn1.Unmarshal(der, &seq)
	if err != nil || len(rest) > 0 || seq.Class != asn1.ClassUniversal || seq.Tag != asn1.TagSequence || !seq.IsCompound {
		return fwid{}, fmt.Errorf("DiceTcbInfo extension is not one SEQUENCE: %v", err)
	}
	last := -1
	var flags []byte
	for rest = seq.Bytes; len(rest) > 0; {
		var e asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &e); err != nil {
			return fwid{}, fmt.Errorf("DiceTcbInfo extension: %w", err)
		}
		if e.Class != asn1.ClassContextSpecific || e.Tag <= last || e.Tag > tagTCBLast {
			return fwid{}, fmt.Errorf("DiceTcbInfo extension: tag %d behind tag %d", e.Tag, last)
		}
		last = e.Tag
		switch e.Tag {
		case tagFWIDs:
			if out, err = firstFWID(e.Bytes); err != nil {
				return fwid{}, err
			}
		case tagFlags:
			if flags, err = bitString(e.Bytes); err != nil {
				return fwid{}, err
			}
		}
	}
	if out.digest == nil {
		return fwid{}, errors.New("DiceTcbInfo extension has no FWID")
	}
	out.flags = flags
	return out, nil
}

func firstFWID(list []byte) (out fwid, err error) {
	for i := 0; len(list) > 0; i++ {
		var e fwidElement
		whole := list
		if list, err = asn1.Unmarshal(list, &e); err != nil {
			return fwid{}, fmt.Errorf("DiceTcbInfo FWID %d: %w", i, err)
		}
		if again, err := asn1.Marshal(e); err != nil || !bytes.Equal(again, whole[:len(whole)-len(list)]) {
			return fwid{}, fmt.Errorf("DiceTcbInfo FWID %d has further elements", i)
		}
		f, err := e.check()
		if err != nil {
			return fwid{}, err
		}
		if i == 0 {
			out = f
		}
	}
	return out, nil
}

// bitString returns the bits of an implicitly tagged BIT STRING, bit 0 being
// the highest of the first byte.
func bitString(b []byte) ([]byte, error) {
	if len(b) < 2 || len(b) > 9 || b[0] > 7 {
		return nil, fmt.Errorf("DiceTcbInfo flags of %d bytes", len(b))
	}
	return b[1:], nil
}
