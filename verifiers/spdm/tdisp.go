// SPDX-License-Identifier: Apache-2.0

package spdm

import "fmt"

// TDISPCode is the type of a TDISP message. Bit 7 is set in requests.
type TDISPCode uint8

// The TDISP messages (PCIe TDISP).
const (
	TDISPGetVersion      TDISPCode = 0x81
	TDISPVersion         TDISPCode = 0x01
	TDISPGetCapabilities TDISPCode = 0x82
	TDISPCapabilities    TDISPCode = 0x02
	TDISPLock            TDISPCode = 0x83
	TDISPLockResponse    TDISPCode = 0x03
	TDISPGetReport       TDISPCode = 0x84
	TDISPReport          TDISPCode = 0x04
	TDISPGetState        TDISPCode = 0x85
	TDISPState           TDISPCode = 0x05
	TDISPStart           TDISPCode = 0x86
	TDISPStartResponse   TDISPCode = 0x06
	TDISPStop            TDISPCode = 0x87
	TDISPStopResponse    TDISPCode = 0x07
	TDISPError           TDISPCode = 0x7F
)

// InterfaceState is the TDI state.
type InterfaceState uint8

// The states.
const (
	StateUnlocked InterfaceState = 0
	StateLocked   InterfaceState = 1
	StateRun      InterfaceState = 2
	StateError    InterfaceState = 3
)

// LockFlags are the flags of LOCK_INTERFACE.
type LockFlags uint16

// The flags.
const (
	LockNoFirmwareUpdate LockFlags = 1 << 0
	LockCacheLine128     LockFlags = 1 << 1
	LockMSIX             LockFlags = 1 << 2
	LockBindP2P          LockFlags = 1 << 3
	LockRedirect         LockFlags = 1 << 4
	lockKnown            LockFlags = 1<<5 - 1
)

// TDISPMessage is one TDISP message. Only the fields of its Code are set;
// slices point into the message.
type TDISPMessage struct {
	Raw  []byte
	Code TDISPCode
	// Function is FUNCTION_ID: requester id in bits 15:0, segment in 23:16,
	// segment valid in bit 24.
	Function uint32
	// Versions: TDISPVersion.
	Versions []byte
	// TSMCapabilities: TDISPGetCapabilities. DSMCapabilities, Supported (a bit
	// per request code and 0x7F), LockFlags, AddressWidth, OutstandingThis and
	// OutstandingAll: TDISPCapabilities.
	TSMCapabilities, DSMCapabilities uint32
	Supported                        []byte
	AddressWidth                     uint8
	OutstandingThis, OutstandingAll  uint8
	// LockFlags: TDISPCapabilities (supported) and TDISPLock (set).
	LockFlags LockFlags
	// Stream, MMIOOffset and P2PMask: TDISPLock.
	Stream              uint8
	MMIOOffset, P2PMask uint64
	// Nonce: TDISPLockResponse and TDISPStart, 32 bytes.
	Nonce []byte
	// Offset and Length: TDISPGetReport. Portion and Remainder: TDISPReport.
	Offset, Length, Remainder uint16
	Portion                   []byte
	// State: TDISPState.
	State InterfaceState
	// ErrorCode and ErrorData: TDISPError.
	ErrorCode, ErrorData uint32
}

const tdispVersion = 0x10

// ParseTDISP parses one TDISP message exactly, from its 16-byte header. Messages
// that configure a running interface give KindUnsupported.
func ParseTDISP(b []byte) (*TDISPMessage, error) {
	r := newReader(StageTDISP, "tdisp", b, maxMessage)
	if version := r.u8("version"); version != tdispVersion {
		r.fail(KindMalformed, 0, uint8(tdispVersion), version, "TDISP version")
	}
	m := &TDISPMessage{Raw: b, Code: TDISPCode(r.u8("message type"))}
	r.bytes(2, "reserved bytes of the header")
	m.Function = r.u32("function id")
	r.bytes(8, "reserved bytes of the header")
	m.parseBody(r)
	if m.Code != TDISPError { // may carry data of the error
		r.end()
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

func (m *TDISPMessage) parseBody(r *reader) {
	switch m.Code {
	case TDISPGetVersion, TDISPGetState, TDISPStop, TDISPStartResponse, TDISPStopResponse:
	case TDISPVersion:
		m.Versions = r.bytes(int(r.u8("number of versions")), "versions")
	case TDISPGetCapabilities:
		m.TSMCapabilities = r.u32("TSM capabilities")
	case TDISPCapabilities:
		m.DSMCapabilities = r.u32("DSM capabilities")
		m.Supported = r.bytes(16, "supported requests")
		m.LockFlags = LockFlags(r.u16("lock flags"))
		r.bytes(3, "reserved bytes of the capabilities")
		m.AddressWidth = r.u8("address width")
		m.OutstandingThis, m.OutstandingAll = r.u8("outstanding requests"), r.u8("outstanding requests")
	case TDISPLock:
		m.parseLock(r)
	case TDISPLockResponse, TDISPStart:
		m.Nonce = r.bytes(NonceSize, "start nonce")
	case TDISPGetReport:
		m.Offset, m.Length = r.u16("offset"), r.u16("length")
	case TDISPReport:
		n := int(r.u16("portion length"))
		m.Remainder = r.u16("remainder length")
		m.Portion = r.bytes(n, "portion")
	case TDISPState:
		at := r.at
		m.State = InterfaceState(r.u8("state"))
		if m.State > StateError {
			r.fail(KindMalformed, at, "0 to 3", uint8(m.State), "interface state")
		}
	case TDISPError:
		m.ErrorCode, m.ErrorData = r.u32("error code"), r.u32("error data")
	default:
		r.fail(KindUnsupported, 1, nil, nil, "TDISP message type 0x%02x", uint8(m.Code))
	}
}

func (m *TDISPMessage) parseLock(r *reader) {
	at := r.at
	m.LockFlags = LockFlags(r.u16("lock flags"))
	if m.LockFlags&^lockKnown != 0 {
		r.fail(KindMalformed, at, fmt.Sprintf("bits of 0x%04x", uint16(lockKnown)), uint16(m.LockFlags), "reserved lock flags")
	}
	m.Stream = r.u8("default stream id")
	r.bytes(1, "reserved byte of the lock request")
	m.MMIOOffset, m.P2PMask = r.u64("MMIO reporting offset"), r.u64("P2P mask")
}

// Assemble joins the portions of a report: pairs of TDISPGetReport and
// TDISPReport of one function, in order, without gap or overlap, until nothing
// remains.
func Assemble(pairs [][2]*TDISPMessage) ([]byte, error) {
	var out []byte
	for i, p := range pairs {
		req, rsp := p[0], p[1]
		switch {
		case req.Code != TDISPGetReport || rsp.Code != TDISPReport || req.Function != rsp.Function || req.Function != pairs[0][0].Function:
			return nil, refuse(StageTDISP, KindMalformed, "report", "pair %d is no report exchange of this function", i)
		case int(req.Offset) != len(out):
			return nil, differ(StageTDISP, KindMalformed, "report", fmt.Sprintf("offset of portion %d", i), len(out), req.Offset)
		case len(rsp.Portion) == 0 || len(rsp.Portion) > int(req.Length):
			return nil, differ(StageTDISP, KindMalformed, "report", fmt.Sprintf("length of portion %d", i), req.Length, len(rsp.Portion))
		case (rsp.Remainder == 0) != (i == len(pairs)-1):
			return nil, refuse(StageTDISP, KindMalformed, "report", "portion %d of %d says that %d bytes remain", i, len(pairs), rsp.Remainder)
		}
		out = append(out, rsp.Portion...)
	}
	if len(out) == 0 {
		return nil, refuse(StageTDISP, KindMissing, "report", "no portion")
	}
	return out, nil
}

// VendorMessage is an SPDM VENDOR_DEFINED_REQUEST or _RESPONSE.
type VendorMessage struct {
	Raw      []byte
	Code     Code
	Standard uint16 // standards body: 3 is PCI-SIG
	Vendor   []byte
	Payload  []byte
}

const (
	standardPCISIG = 3
	protocolTDISP  = 1
)

// ParseVendor parses a vendor-defined message exactly. In 1.4 param1 bit 7
// selects the form with a 32-bit payload length.
func ParseVendor(b []byte, version Version) (*VendorMessage, error) {
	r := newReader(StageTDISP, "vendor", b, maxMessage)
	m := &VendorMessage{Raw: b, Code: CodeVendorRequest}
	if c, ok := r.peek(1); ok && Code(c) == CodeVendorResponse {
		m.Code = CodeVendorResponse
	}
	param1, _ := r.header(version, m.Code)
	m.Standard = r.u16("standard id")
	m.Vendor = r.bytes(int(r.u8("vendor id length")), "vendor id")
	n := uint32(r.u16("payload length"))
	if version >= Version14 && param1&largeForm != 0 {
		n = r.u32("large payload length")
	}
	m.Payload = r.bytes(int(min(n, maxMessage+1)), "payload")
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// TDISP returns the TDISP message inside; ok is false for other protocols.
func (m *VendorMessage) TDISP() (message []byte, ok bool) {
	if m.Standard != standardPCISIG || len(m.Vendor) != 2 || m.Vendor[0] != 1 || m.Vendor[1] != 0 ||
		len(m.Payload) == 0 || m.Payload[0] != protocolTDISP {
		return nil, false
	}
	return m.Payload[1:], true
}
