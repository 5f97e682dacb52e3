// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"fmt"
	"slices"
)

// VCA is what the six negotiation messages settle (DSP0274: VERSION,
// CAPABILITIES, ALGORITHMS). Slices point into Raw.
type VCA struct {
	// Raw is the concatenation of the six messages, as it enters transcripts.
	Raw []byte
	// Version is the version of the connection.
	Version Version
	// Versions are the version numbers that the responder offers: major in bits
	// 15:12, minor in 11:8, update in 7:4, alpha in 3:0.
	Versions []uint16
	// Requester and Responder are the capability flags; Requester is 0 in 1.0.
	Requester, Responder Capabilities
	BaseAsym             BaseAsym
	BaseHash             BaseHash
	// MeasurementHash is 0 if the responder has no measurements.
	MeasurementHash MeasurementHash
	// OpaqueFormat is the selected format of opaque data fields, from 1.2.
	OpaqueFormat OpaqueFormat
	// MultiKey tells that the responder's DIGESTS carries key and certificate
	// information (1.3).
	MultiKey bool

	requesterAlgorithms bool // GET_CAPABILITIES asked for the algorithms block
}

// Capabilities are the flags of GET_CAPABILITIES and CAPABILITIES.
type Capabilities uint32

// Capability flags of the responder that matter here.
const (
	CapabilityCertificate Capabilities = 1 << 1
	CapabilityChallenge   Capabilities = 1 << 2
	CapabilityFresh       Capabilities = 1 << 5 // MEAS_FRESH: measured on request
	CapabilityAlias       Capabilities = 1 << 18
)

// MeasurementSupport is the two-bit field MEAS_CAP.
type MeasurementSupport uint8

// The values of MEAS_CAP; 3 is reserved.
const (
	MeasurementsNone     MeasurementSupport = 0
	MeasurementsUnsigned MeasurementSupport = 1
	MeasurementsSigned   MeasurementSupport = 2
)

// Measurements returns MEAS_CAP.
func (c Capabilities) Measurements() MeasurementSupport { return MeasurementSupport(c >> 3 & 3) }

// multiKey returns the two-bit field MULTI_KEY_CAP (1.3).
func (c Capabilities) multiKey() uint8 { return uint8(c >> 26 & 3) }

// OpaqueFormat is the negotiated format of opaque data.
type OpaqueFormat uint8

// The formats (DSP0274, OtherParamsSelection bits 3:0).
const (
	OpaqueNone    OpaqueFormat = 0
	OpaqueFormat0 OpaqueFormat = 1 // vendor's own
	OpaqueFormat1 OpaqueFormat = 2 // the general opaque data format
)

// ParseVCA parses GET_VERSION, VERSION, GET_CAPABILITIES, CAPABILITIES,
// NEGOTIATE_ALGORITHMS and ALGORITHMS, concatenated without padding. Every
// selection must be one known algorithm that the requester offered. Algorithms
// that are known but cannot be verified give KindUnsupported.
func ParseVCA(b []byte) (*VCA, error) {
	r := newReader(StageVCA, "vca", b, MaxVCA)
	v := &VCA{Raw: b}
	v.parseVersion(r)
	v.parseGetCapabilities(r)
	v.parseCapabilities(r)
	offer := v.parseNegotiate(r)
	v.parseAlgorithms(r, offer)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return v, nil
}

func (v *VCA) parseVersion(r *reader) {
	r.header(Version10, CodeGetVersion)
	r.header(Version10, CodeVersion)
	r.bytes(1, "reserved byte of VERSION")
	at := r.at
	n := int(r.u8("number of versions"))
	if n == 0 {
		r.fail(KindMalformed, at, nil, nil, "VERSION offers no version")
	}
	for range n {
		v.Versions = append(v.Versions, r.u16("version number"))
	}
	at = r.at
	b, _ := r.peek(0)
	v.Version = Version(b)
	if v.Version < Version10 || v.Version > Version14 {
		r.fail(KindUnsupported, at, "1.0 to 1.4", v.Version, "SPDM version of the connection")
	}
	if !slices.ContainsFunc(v.Versions, func(n uint16) bool { return n>>8 == uint16(v.Version) }) {
		r.fail(KindMalformed, at, fmt.Sprintf("%04x", v.Versions), v.Version, "version of the connection is not offered by VERSION")
	}
}

func (v *VCA) parseGetCapabilities(r *reader) {
	param1, _ := r.header(v.Version, CodeGetCapabilities)
	if v.Version == Version10 {
		return
	}
	v.requesterAlgorithms = v.Version >= Version13 && param1&1 != 0
	v.Requester = v.parseFlags(r, "GET_CAPABILITIES")
}

func (v *VCA) parseFlags(r *reader, message string) Capabilities {
	r.bytes(4, message+" fields") // reserved, CTExponent, extended flags
	flags := Capabilities(r.u32(message + " flags"))
	if v.Version >= Version12 {
		r.bytes(8, message+" sizes") // DataTransferSize, MaxSPDMmsgSize
	}
	return flags
}

func (v *VCA) parseCapabilities(r *reader) {
	start := r.at
	param1, _ := r.header(v.Version, CodeCapabilities)
	v.Responder = v.parseFlags(r, "CAPABILITIES")
	if v.Responder.Measurements() == 3 {
		r.fail(KindMalformed, start+8, "MEAS_CAP 0 to 2", "3", "capability flags")
	}
	if v.Version < Version13 || param1&1 == 0 {
		return
	}
	if !v.requesterAlgorithms {
		r.fail(KindMalformed, start+2, uint8(0), param1, "CAPABILITIES carries algorithms that were not asked for")
	}
	block := r.at
	r.bytes(2, "algorithms block")
	n := int(r.u16("length of the algorithms block"))
	if n < 4 {
		r.fail(KindMalformed, block+2, "4 or more", n, "length of the algorithms block")
	}
	r.bytes(n-4, "algorithms block")
}

// tables are the algorithm structures of NEGOTIATE_ALGORITHMS and ALGORITHMS
// by type; the fixed algorithms of a type, and whether it is there.
type tables [8]struct {
	fixed   uint32
	present bool
}

// offer is what NEGOTIATE_ALGORITHMS supports.
type offer struct {
	specification, other, mel uint8
	asym, hash, pqc           uint32
	tables                    tables
}

func (v *VCA) parseNegotiate(r *reader) offer {
	start := r.at
	count, _ := r.header(v.Version, CodeNegotiateAlgorithms)
	length := int(r.u16("length of NEGOTIATE_ALGORITHMS"))
	o := offer{specification: r.u8("measurement specification"), other: r.u8("other parameters")}
	o.asym, o.hash, o.pqc = r.u32("base asym"), r.u32("base hash"), r.u32("pqc asym")
	r.bytes(8, "reserved bytes of NEGOTIATE_ALGORITHMS")
	external := int(r.u8("ext asym count")) + int(r.u8("ext hash count"))
	r.bytes(1, "reserved byte of NEGOTIATE_ALGORITHMS")
	o.mel = r.u8("extension log specification")
	r.bytes(4*external, "external algorithms")
	if v.Version >= Version11 {
		o.tables = parseTables(r, int(count))
	}
	v.checkLength(r, start, length)
	return o
}

func (v *VCA) checkLength(r *reader, start, length int) {
	if r.err == nil && r.at-start != length {
		r.fail(KindMalformed, start+4, r.at-start, length, "length of the message")
	}
}

func parseTables(r *reader, n int) tables {
	var out tables
	last := uint8(1)
	for range n {
		at := r.at
		kind, count := r.u8("algorithm type"), r.u8("algorithm count")
		if r.err != nil {
			break
		}
		if kind <= last || int(kind) >= len(out) {
			r.fail(KindMalformed, at, fmt.Sprintf("%d to %d", last+1, len(out)-1), kind, "algorithm type out of order or unknown")
			break
		}
		last = kind
		out[kind].present = true
		switch count >> 4 {
		case 2:
			out[kind].fixed = uint32(r.u16("fixed algorithms"))
		case 4:
			out[kind].fixed = r.u32("fixed algorithms")
		default:
			r.fail(KindMalformed, at+1, "2 or 4", count>>4, "length of the fixed algorithms")
		}
		r.bytes(4*int(count&0x0F), "external algorithms")
	}
	return out
}

func (v *VCA) parseAlgorithms(r *reader, o offer) {
	start := r.at
	count, _ := r.header(v.Version, CodeAlgorithms)
	length := int(r.u16("length of ALGORITHMS"))
	specification, other := r.u8("measurement specification"), r.u8("other parameters")
	v.MeasurementHash = MeasurementHash(r.u32("measurement hash"))
	v.BaseAsym = BaseAsym(r.u32("base asym"))
	v.BaseHash = BaseHash(r.u32("base hash"))
	pqc := r.u32("pqc asym")
	r.bytes(7, "reserved bytes of ALGORITHMS")
	mel := r.u8("extension log specification")
	external := int(r.u8("ext asym count")) + int(r.u8("ext hash count"))
	r.bytes(2, "reserved bytes of ALGORITHMS")
	r.bytes(4*external, "external algorithms")
	var selected tables
	if v.Version >= Version11 {
		selected = parseTables(r, int(count))
	}
	v.checkLength(r, start, length)
	if r.err != nil {
		return
	}
	v.checkSelection(r, start, o, specification, pqc, external)
	checkTables(r, start, o.tables, selected)
	if mel != 0 && (v.Version < Version13 || mel&^o.mel != 0 || mel&(mel-1) != 0) {
		r.fail(KindMalformed, start+31, o.mel, mel, "extension log specification was not offered")
	}
	v.checkOther(r, start, o.other, other)
}

// checkSelection requires one supported and offered algorithm per purpose. The
// measurement hash is the responder's own choice; it is never offered.
func (v *VCA) checkSelection(r *reader, start int, o offer, specification uint8, pqc uint32, external int) {
	asym, _ := v.BaseAsym.info()
	_, hash := v.BaseHash.Hash()
	switch {
	case external != 0:
		r.fail(KindUnsupported, start+32, nil, nil, "an external algorithm is selected")
	case v.Version >= Version14 && pqc != 0 && v.BaseAsym == 0 && pqc&^o.pqc == 0:
		r.fail(KindUnsupported, start+20, nil, nil, "post-quantum signature algorithm 0x%x is selected", pqc)
	case v.Version >= Version14 && pqc != 0:
		r.fail(KindMalformed, start+20, o.pqc, pqc, "post-quantum algorithm beside another or not offered")
	case !single(uint32(v.BaseAsym), o.asym):
		r.fail(KindMalformed, start+12, o.asym, uint32(v.BaseAsym), "base asym is not one offered algorithm")
	case !single(uint32(v.BaseHash), o.hash):
		r.fail(KindMalformed, start+16, o.hash, uint32(v.BaseHash), "base hash is not one offered algorithm")
	case !asym.ok || v.BaseAsym == Ed25519 && v.Version < Version12:
		r.fail(KindUnsupported, start+12, nil, nil, "signature algorithm %s cannot be verified in SPDM %s", v.BaseAsym, v.Version)
	case !hash:
		r.fail(KindUnsupported, start+16, nil, nil, "base hash %s cannot be computed", v.BaseHash)
	}
	if v.Responder.Measurements() == MeasurementsNone {
		return
	}
	if specification != 1 || o.specification&1 == 0 {
		r.fail(KindUnsupported, start+6, "0x01 (DMTF)", specification, "measurement specification")
	}
	if !single(uint32(v.MeasurementHash), 0xFF) {
		r.fail(KindMalformed, start+8, "one of 0x01 to 0x80", uint32(v.MeasurementHash), "measurement hash")
	}
}

func checkTables(r *reader, start int, offered, selected tables) {
	for kind, s := range selected {
		switch {
		case !s.present:
		case !offered[kind].present:
			r.fail(KindMalformed, start+36, nil, nil, "algorithm type %d was not offered", kind)
		case s.fixed&^offered[kind].fixed != 0 || s.fixed&(s.fixed-1) != 0:
			r.fail(KindMalformed, start+36, offered[kind].fixed, s.fixed, "algorithm type %d is not one offered algorithm", kind)
		}
	}
}

// checkOther reads the opaque format and decides whether the responder uses
// several keys: the requester asks for it in bit 4 of NEGOTIATE_ALGORITHMS, and
// the capability of the responder must agree. Bit 4 of ALGORITHMS is about the
// requester's keys.
func (v *VCA) checkOther(r *reader, start int, offered, selected uint8) {
	if v.Version < Version12 {
		return
	}
	v.OpaqueFormat = OpaqueFormat(selected & 0x0F)
	if v.OpaqueFormat > OpaqueFormat1 || selected&0x0F&^offered != 0 {
		r.fail(KindMalformed, start+7, offered&0x0F, selected&0x0F, "opaque format is not one offered format")
	}
	if v.Version < Version13 {
		return
	}
	v.MultiKey = offered&0x10 != 0
	capability := v.Responder.multiKey()
	if capability == 3 || capability == 0 && v.MultiKey || capability == 1 && !v.MultiKey {
		r.fail(KindMalformed, start+7, fmt.Sprintf("MULTI_KEY_CAP %d", capability), v.MultiKey, "multi-key connection does not fit the capability")
	}
}
