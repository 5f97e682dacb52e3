// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	"fmt"

	"github.com/assize/assize/verdict"
)

// Kinds of TSM information.
const (
	// TSMCCA is the structure of RSI_VDEV_GET_INFO (Arm RMM specification, DEN0137):
	// 512 bytes that the RMM gives a realm.
	TSMCCA = "cca-rsi-vdev-info"
	// TSMSEVTIO is the response to TIO_MSG_TDI_INFO (AMD SEV-TIO), 192 or, without
	// report counter, 176 bytes that the secure processor gives a guest.
	TSMSEVTIO = "sev-tio-tdi-info"
	// TSMTDX is DEVICE_INFO_DATA (Intel TDX Connect), which the host hands over and
	// the TDX module compares with what it saw when the session was set up.
	TSMTDX = "tdx-devinfo"
)

// TSMDigest is the digest of one object in the eyes of the TSM.
type TSMDigest struct {
	// Object is one of the verdict.Object constants.
	Object string
	Hash   crypto.Hash
	Value  []byte
}

// TSMInfo is what a TEE security manager says about the interface of a device.
// It is a local channel between security manager and virtual machine, under no
// signature: whoever carries it can write it. It is as good as the software in
// the machine that asked for it (decision D-80).
type TSMInfo struct {
	Kind string
	// Digests are those that it holds, of objects other than zero.
	Digests []TSMDigest
	// State is the state of the interface. StateUncertain tells that revisions of
	// the structure disagree about its meaning. Nil where it is not told.
	State          *InterfaceState
	StateUncertain bool
	// LockFlags are those of LOCK_INTERFACE, nil where it is not told.
	LockFlags *LockFlags
	// Bound, Valid and Fresh: the interface belongs to this machine, the digests are
	// there, and the measurements were read anew. Nil where it is not told.
	Bound, Valid, Fresh *bool
	// Status is the number behind Bound.
	Status uint16
	// Slot is the certificate slot of the session, nil where it is not told.
	Slot *uint8
	// LockNonce, MeasurementNonce and ReportNonce change with every lock of the
	// interface, every reading of measurements and of the report. The machine gives
	// them back when it accepts the device. Nil where there are none.
	LockNonce, MeasurementNonce, ReportNonce *uint64
	// ReportCount counts readings of the report, nil where it is not told.
	ReportCount *uint64
	// Asym and Hash are the negotiated algorithms, zero where they are not told.
	Asym BaseAsym
	Hash BaseHash
	// Device is there in TSMTDX only.
	Device *DeviceInformation
}

// Sizes of the structures in bytes.
const (
	sizeCCAInfo    = 512
	sizeTDIInfo    = 192
	sizeTDIInfoOld = 176 // without report counter
	sizeCCADigest  = 64
	sizeTDIDigest  = 48
)

// ParseTSM reads the structure exactly: its length, zeros where it is reserved,
// enumerations that are known. A kind that is not known gives KindUnsupported.
func ParseTSM(t *TSM) (*TSMInfo, error) {
	var out *TSMInfo
	r := newReader(StageTSM, "tsm information", t.Raw, maxDeviceInformation)
	switch t.Kind {
	case TSMCCA:
		out = r.ccaInfo()
	case TSMSEVTIO:
		out = r.tdiInfo()
	case TSMTDX:
		out = r.deviceInformation()
	default:
		return nil, refuse(StageTSM, KindUnsupported, "tsm information", "kind %.64q", t.Kind)
	}
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	out.Kind = t.Kind
	return out, nil
}

// ccaDigests are the digests of RSI_VDEV_GET_INFO in their order, from 0x40.
var ccaDigests = [...]string{verdict.ObjectVCA, verdict.ObjectCertificates, verdict.ObjectPublicKey, verdict.ObjectMeasurements, verdict.ObjectReport}

// ccaInfo reads RSI_VDEV_GET_INFO: 0x00 flags u64 · 0x08 slot u64 · 0x10 hash u8 ·
// 0x18, 0x20, 0x28 nonces of lock, measurements and report u64 · 0x30 TDISP
// version u64 · 0x38 state u8 · 0x40 five digests of 64 bytes · 0x180 address and
// 0x188 stream of a virtual SMMU u64. Digests shorter than 64 bytes have zeros
// behind them. RMMs that do not compute a digest leave it zero.
func (r *reader) ccaInfo() *TSMInfo {
	const flagsKnown = 1<<3 - 1 // peer to peer possible, in use; virtual SMMU
	out := &TSMInfo{}
	if len(r.b) != sizeCCAInfo {
		r.fail(KindMalformed, 0, sizeCCAInfo, len(r.b), "length")
		return out
	}
	if flags := r.u64("flags"); flags&^flagsKnown != 0 {
		r.fail(KindMalformed, 0, fmt.Sprintf("bits of 0x%x", uint64(flagsKnown)), fmt.Sprintf("0x%x", flags), "reserved flags")
	}
	slot := r.u64("certificate slot")
	if slot >= MaxSlots {
		r.fail(KindMalformed, 8, "0 to 7", slot, "certificate slot")
	}
	s := uint8(slot)
	out.Slot = &s
	at := r.at
	hash, ok := [...]crypto.Hash{crypto.SHA256, crypto.SHA512, crypto.SHA384}, r.u8("hash algorithm")
	if int(ok) >= len(hash) {
		r.fail(KindUnsupported, at, "0 to 2", ok, "hash algorithm")
		return out
	}
	r.zero(7, "padding of the hash algorithm")
	out.LockNonce, out.MeasurementNonce, out.ReportNonce = r.number("lock nonce"), r.number("measurement nonce"), r.number("report nonce")
	if v := r.u64("TDISP version"); v != tdispVersion {
		r.fail(KindUnsupported, 0x30, tdispVersion, v, "TDISP version")
	}
	state := InterfaceState(r.u8("state"))
	if state > StateError {
		r.fail(KindMalformed, 0x38, "0 to 3", uint8(state), "state")
	}
	// Up to RMM 1.1 alpha the numbers began with "new", so that 1 was unlocked.
	out.State, out.StateUncertain = &state, state == StateLocked
	r.zero(7, "padding of the state")
	for _, object := range ccaDigests {
		r.digest(out, object, hash[ok], sizeCCADigest)
	}
	r.bytes(16, "virtual SMMU")
	r.zero(len(r.b)-r.at, "reserved bytes")
	return out
}

// number reads a u64 by reference.
func (r *reader) number(what string) *uint64 {
	n := r.u64(what)
	return &n
}

// digest reads a digest in a field of size bytes. Zero stands for none.
func (r *reader) digest(out *TSMInfo, object string, h crypto.Hash, size int) {
	value := r.bytes(h.Size(), object)
	r.zero(size-h.Size(), "padding of the digest of "+object)
	if r.err == nil && !allZero(value) {
		out.Digests = append(out.Digests, TSMDigest{Object: object, Hash: h, Value: value})
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Status of an interface in TIO_MSG_TDI_INFO.
const (
	tdiBound   = 0
	tdiInvalid = 1
	tdiUnbound = 2
)

// tdiInfo reads TIO_MSG_TDI_INFO: 0 id u64 · 8 status u16 · 16 flags u32 (bit 0
// digests valid, 1 fresh) · 20 lock flags u32 · 24 algorithms u64 · 32, 80, 128
// SHA-384 of certificates, measurements, report · 176 report count u64 · 184
// reserved. The older revision has 0 id u16 and 2 status u16, the newer one more
// fields after that, and may end before 176.
func (r *reader) tdiInfo() *TSMInfo {
	out := &TSMInfo{}
	if len(r.b) != sizeTDIInfo && len(r.b) != sizeTDIInfoOld {
		r.fail(KindMalformed, 0, fmt.Sprintf("%d or %d", sizeTDIInfo, sizeTDIInfoOld), len(r.b), "length")
		return out
	}
	r.tdiStatus(out)
	flags := r.u32("measurement flags")
	if flags&^3 != 0 {
		r.fail(KindMalformed, 16, "bits of 0x3", flags, "reserved measurement flags")
	}
	valid, fresh := flags&1 != 0, flags&2 != 0
	out.Valid, out.Fresh = &valid, &fresh
	lock := r.u32("lock flags")
	if lock&^uint32(lockKnown) != 0 {
		r.fail(KindMalformed, 20, fmt.Sprintf("bits of 0x%04x", uint16(lockKnown)), lock, "reserved lock flags")
	}
	l := LockFlags(lock)
	out.LockFlags = &l
	r.tdiAlgorithms(out)
	for _, object := range []string{verdict.ObjectCertificates, verdict.ObjectMeasurements, verdict.ObjectReport} {
		r.digest(out, object, crypto.SHA384, sizeTDIDigest)
	}
	if len(r.b) == sizeTDIInfo {
		out.ReportCount = r.number("report count")
		r.zero(8, "reserved bytes")
	}
	return out
}

// tdiStatus reads the first 16 bytes, in which the two revisions differ. What is
// zero in the older one tells it apart, unless it can be read both ways and the
// status depends on it.
func (r *reader) tdiStatus(out *TSMInfo) {
	head := r.bytes(16, "id and status")
	if head == nil {
		return
	}
	u16 := func(at int) uint16 { return uint16(head[at]) | uint16(head[at+1])<<8 }
	older := len(r.b) == sizeTDIInfoOld
	newer := !older && !allZero(head[4:])
	switch {
	case older && !allZero(head[4:]):
		r.fail(KindMalformed, 4, nil, nil, "reserved bytes of the older revision are not zero")
	case newer && !allZero(head[10:]):
		r.fail(KindMalformed, 10, nil, nil, "reserved bytes are not zero")
	case newer:
		out.Status = u16(8)
	case !older && u16(2) != 0 && u16(2) <= tdiUnbound:
		r.fail(KindUnsupported, 2, nil, u16(2), "status of the older revision, or part of an id of the newer one in which the interface is bound")
	case older:
		out.Status = u16(2)
	}
	if out.Status > tdiUnbound {
		r.fail(KindMalformed, 8, "0 to 2", out.Status, "status")
	}
	bound := out.Status == tdiBound
	out.Bound = &bound
}

// tdiAlgorithms reads the algorithms: byte 0 DHE, 1 AEAD, 2 signature, 3 hash, 4
// key schedule.
func (r *reader) tdiAlgorithms(out *TSMInfo) {
	at := r.at
	b := r.bytes(8, "algorithms")
	if b == nil {
		return
	}
	asym, hash := [...]BaseAsym{RSASSA3072, ECDSAP256, ECDSAP384}, [...]BaseHash{BaseSHA256, BaseSHA384}
	if b[0] > 1 || b[1] > 1 || int(b[2]) >= len(asym) || int(b[3]) >= len(hash) || !allZero(b[4:]) {
		r.fail(KindUnsupported, at, nil, b, "algorithms that are not known")
		return
	}
	out.Asym, out.Hash = asym[b[2]], hash[b[3]]
}
