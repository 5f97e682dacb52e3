// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// Event types (TCG PC client platform firmware profile, section 10.4.1).
const (
	EvNoAction             uint32 = 0x00000003
	EvSeparator            uint32 = 0x00000004
	EvCRTMVersion          uint32 = 0x00000008
	EvIPL                  uint32 = 0x0000000d
	EvEFIVariableConfig    uint32 = 0x80000001
	EvEFIVariableBoot      uint32 = 0x80000002
	EvEFIBootApplication   uint32 = 0x80000003
	EvEFIGPT               uint32 = 0x80000006
	EvEFIAction            uint32 = 0x80000007
	EvEFIFirmwareBlob      uint32 = 0x80000008
	EvEFIVariableAuthority uint32 = 0x800000e0
	algSHA256              uint16 = 0x000b
	algSHA384              uint16 = 0x000c
	pcrCount                      = 24
	sizeSHA1                      = 20
	maxEventData                  = 64 << 10
	maxEvents                     = 1024
	firstDRTM, lastDRTM           = 17, 22
)

// Event is one measurement of the boot.
type Event struct {
	// PCR is the register that is extended, 0 to 23.
	PCR int
	// Type is one of the Ev constants or any other of the profile.
	Type uint32
	// Data is what the log says about the event, at most 64 KiB.
	Data []byte
	// Measured is what was hashed. Nil means Data itself.
	Measured []byte
}

// digests are those of the two banks.
func (e *Event) digests() ([sha256.Size]byte, [sha512.Size384]byte) {
	b := e.Measured
	if b == nil {
		b = e.Data
	}
	return sha256.Sum256(b), sha512.Sum384(b)
}

func (e *Event) check() error {
	switch {
	case e.PCR < 0 || e.PCR >= pcrCount:
		return fmt.Errorf("tcgtpm: event for PCR %d, not 0 to %d", e.PCR, pcrCount-1)
	case e.PCR >= firstDRTM && e.PCR <= lastDRTM:
		return fmt.Errorf("tcgtpm: event for PCR %d, which only a dynamic launch extends", e.PCR)
	case e.Type == EvNoAction:
		return fmt.Errorf("tcgtpm: event of type EV_NO_ACTION for PCR %d extends nothing", e.PCR)
	case len(e.Data) > maxEventData:
		return fmt.Errorf("tcgtpm: event with %d bytes of data, more than %d", len(e.Data), maxEventData)
	}
	return nil
}

// registers are the SHA-256 PCRs.
type registers [pcrCount][sha256.Size]byte

// replay is what a TPM holds after the events: registers begin at zero, those
// of a dynamic launch that never happened at all ones.
func replay(events []Event) *registers {
	r := new(registers)
	for i := firstDRTM; i <= lastDRTM; i++ {
		for j := range r[i] {
			r[i][j] = 0xff
		}
	}
	for i := range events {
		d, _ := events[i].digests()
		r[events[i].PCR] = sha256.Sum256(append(r[events[i].PCR][:], d[:]...))
	}
	return r
}

// encodeLog writes the crypto-agile log: a first event in the old format that
// lists the banks, then TCG_PCR_EVENT2 with SHA-256 and SHA-384 digests.
func encodeLog(events []Event) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, 0) // PCR
	out = le.AppendUint32(out, EvNoAction)
	out = append(out, make([]byte, sizeSHA1)...)
	spec := specID()
	out = le.AppendUint32(out, uint32(len(spec)))
	out = append(out, spec...)
	for i := range events {
		e := &events[i]
		d256, d384 := e.digests()
		out = le.AppendUint32(out, uint32(e.PCR))
		out = le.AppendUint32(out, e.Type)
		out = le.AppendUint32(out, 2) // digests
		out = append(le.AppendUint16(out, algSHA256), d256[:]...)
		out = append(le.AppendUint16(out, algSHA384), d384[:]...)
		out = le.AppendUint32(out, uint32(len(e.Data)))
		out = append(out, e.Data...)
	}
	return out
}

// specID is TCG_EfiSpecIDEvent: platform class client, version 2.0, 64-bit
// UINTN, the banks, no vendor information.
func specID() []byte {
	le := binary.LittleEndian
	out := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	out = le.AppendUint32(out, 2)
	out = le.AppendUint16(le.AppendUint16(out, algSHA256), sha256.Size)
	out = le.AppendUint16(le.AppendUint16(out, algSHA384), sha512.Size384)
	return append(out, 0)
}
