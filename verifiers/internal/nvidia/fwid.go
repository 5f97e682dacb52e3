// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// FWIDSize is the length of a firmware id in bytes, a SHA-384.
const FWIDSize = 48

// Extensions that carry the firmware id (FWID) of the leaf's layer: TCG DICE
// CompositeDeviceID on Hopper, DiceTcbInfo on Blackwell.
var (
	oidCompositeDevice = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}
	oidDiceTCBInfo     = asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}
	oidSHA384          = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
)

// FWID is the firmware id in the leaf certificate.
type FWID struct {
	Digest []byte // 48 bytes, SHA-384
	// Flags are the DiceTcbInfo operational flags, nil on Hopper.
	Flags []byte
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
func (f FWID) has(flag int) bool {
	return flag/8 < len(f.Flags) && f.Flags[flag/8]&(0x80>>(flag%8)) != 0
}

type fwidElement struct {
	Alg    asn1.ObjectIdentifier
	Digest []byte
}

func readFWID(leaf, device *x509.Certificate) (out FWID, err error) {
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
			return FWID{}, err
		}
	}
	if found != 1 {
		return FWID{}, fmt.Errorf("%d FWID extensions, expected 1", found)
	}
	return out, nil
}

// readCompositeDevice reads SEQUENCE { 1, SubjectPublicKeyInfo of the device
// identity, SEQUENCE { hash algorithm, digest } }.
func readCompositeDevice(der, deviceKey []byte) (FWID, error) {
	var v struct {
		Version int
		Key     asn1.RawValue
		FWID    fwidElement
	}
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 {
		return FWID{}, fmt.Errorf("CompositeDeviceID extension: %v, %d bytes behind it", err, len(rest))
	}
	// encoding/asn1 steps over further elements of a SEQUENCE; a value that is
	// written differently from how it was read has some.
	if again, err := asn1.Marshal(v); err != nil || !bytes.Equal(again, der) {
		return FWID{}, errors.New("CompositeDeviceID extension has further elements")
	}
	if v.Version != 1 || !bytes.Equal(v.Key.FullBytes, deviceKey) {
		return FWID{}, errors.New("CompositeDeviceID extension is not version 1 for the key of certificate 1")
	}
	return v.FWID.check()
}

func (f fwidElement) check() (FWID, error) {
	if !f.Alg.Equal(oidSHA384) || len(f.Digest) != FWIDSize {
		return FWID{}, fmt.Errorf("FWID of algorithm %v and %d bytes, expected SHA-384", f.Alg, len(f.Digest))
	}
	return FWID{Digest: f.Digest}, nil
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
func readTCBInfo(der []byte) (out FWID, err error) {
	var seq asn1.RawValue
	rest, err := asn1.Unmarshal(der, &seq)
	if err != nil || len(rest) > 0 || seq.Class != asn1.ClassUniversal || seq.Tag != asn1.TagSequence || !seq.IsCompound {
		return FWID{}, fmt.Errorf("DiceTcbInfo extension is not one SEQUENCE: %v", err)
	}
	last := -1
	var flags []byte
	for rest = seq.Bytes; len(rest) > 0; {
		var e asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &e); err != nil {
			return FWID{}, fmt.Errorf("DiceTcbInfo extension: %w", err)
		}
		if e.Class != asn1.ClassContextSpecific || e.Tag <= last || e.Tag > tagTCBLast {
			return FWID{}, fmt.Errorf("DiceTcbInfo extension: tag %d behind tag %d", e.Tag, last)
		}
		last = e.Tag
		switch e.Tag {
		case tagFWIDs:
			if out, err = firstFWID(e.Bytes); err != nil {
				return FWID{}, err
			}
		case tagFlags:
			if flags, err = bitString(e.Bytes); err != nil {
				return FWID{}, err
			}
		}
	}
	if out.Digest == nil {
		return FWID{}, errors.New("DiceTcbInfo extension has no FWID")
	}
	out.Flags = flags
	return out, nil
}

func firstFWID(list []byte) (out FWID, err error) {
	for i := 0; len(list) > 0; i++ {
		var e fwidElement
		whole := list
		if list, err = asn1.Unmarshal(list, &e); err != nil {
			return FWID{}, fmt.Errorf("DiceTcbInfo FWID %d: %w", i, err)
		}
		if again, err := asn1.Marshal(e); err != nil || !bytes.Equal(again, whole[:len(whole)-len(list)]) {
			return FWID{}, fmt.Errorf("DiceTcbInfo FWID %d has further elements", i)
		}
		f, err := e.check()
		if err != nil {
			return FWID{}, err
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
