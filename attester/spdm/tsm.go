// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
)

// ErrForeign says that evidence was not made by the device that was asked.
var ErrForeign = errors.New("spdm: evidence of another device")

// Digests are the SHA-384 values (48 bytes each) that a platform's security
// manager (TSM) records of one device. The software of the VM extends them
// into a measured register; only this makes the device part of the machine.
type Digests struct {
	// VCA is over the six negotiation messages (container key 4).
	VCA []byte
	// Certificates is over the chain structure of the signing slot (key 5).
	Certificates []byte
	// Measurements is over the measurement transcript: requests and responses
	// with signature, without VCA (key 6).
	Measurements []byte
	// Report is over the device's own interface report, which is not the one
	// in key 8 where Options.ReportSwapped is set. Nil without a TSM.
	Report []byte
	// TSMInfo is over the raw TSM information (key 9.2); for TDX Connect this
	// is the digest of the device information. Nil without a TSM.
	TSMInfo []byte
	// State is over state and lock flags (keys 9.3 and 9.4): the byte 3, the state,
	// and the flags in little-endian order. Nil without a TSM.
	State []byte
}

// Digests computes what the TSM recorded when this device made the evidence.
// The error is ErrForeign if another device made it, or says why the container
// cannot be read.
func (d *Device) Digests(evidence []byte) (Digests, error) {
	c, err := Open(evidence)
	if err != nil {
		return Digests{}, err
	}
	if !bytes.Equal(c.VCA, d.vca) || !bytes.Equal(c.Chains[uint64(d.o.Slot)], d.chains[d.o.Slot]) {
		return Digests{}, ErrForeign
	}
	if (c.TSM == nil) != (d.report == nil || d.o.has(TSMMissing)) {
		return Digests{}, fmt.Errorf("%w: TSM information present %t", ErrForeign, c.TSM != nil)
	}
	out := d.digests(c.Measurements)
	switch {
	case c.TSM != nil:
		out.TSMInfo = sum(crypto.SHA384, c.TSM.Raw)
	case d.deviceInfo != nil: // left out of the evidence
		out.TSMInfo = sum(crypto.SHA384, d.deviceInfo)
	}
	return out, nil
}

func (d *Device) digests(transcript []byte) Digests {
	out := Digests{
		VCA:          sum(crypto.SHA384, d.vca),
		Certificates: sum(crypto.SHA384, d.chains[d.o.Slot]),
		Measurements: sum(crypto.SHA384, transcript),
	}
	if d.report != nil {
		out.Report = sum(crypto.SHA384, d.report)
	}
	if d.o.TSM != "" {
		flags := d.o.lockFlags()
		out.State = sum(crypto.SHA384, []byte{3, d.o.state(), byte(flags), byte(flags >> 8)})
	}
	return out
}

// tsmInfo is key 9 of the container; nil without a TSM.
func (d *Device) tsmInfo(transcript []byte) *TSMInfo {
	if d.o.TSM == "" || d.o.has(TSMMissing) {
		return nil
	}
	out := &TSMInfo{Kind: d.o.TSM, State: d.o.state(), LockFlags: d.o.lockFlags()}
	switch d.o.TSM {
	case TSMSEVTIO:
		out.Raw = tdiInfo(d.o, d.seen(d.digests(transcript)))
	case TSMCCA:
		out.Raw = d.vdevInfo(transcript)
	default:
		out.Raw = bytes.Clone(d.deviceInfo)
	}
	switch {
	case d.o.has(TSMUnknown):
		out.Kind = "assize-unknown-tsm"
	case d.o.has(TSMMalformed):
		out.Raw = out.Raw[:len(out.Raw)-1]
	case d.o.has(TSMContradiction):
		out.State = stateError
	}
	return out
}

// state is the state of the interface.
func (o Options) state() uint8 {
	if o.Unlocked {
		return stateUnlocked
	}
	return stateRun
}

// seen are digests as the TSM has them: of other objects where it has seen others.
func (d *Device) seen(sums Digests) Digests {
	for f, p := range map[Fault]*[]byte{TSMCertificates: &sums.Certificates, TSMVCA: &sums.VCA, TSMMeasurements: &sums.Measurements} {
		if d.o.has(f) {
			*p = flipped(*p)
		}
	}
	return sums
}

// tdiAlgorithms are bytes 2 and 3 of the algorithms in TIO_MSG_TDI_INFO (signature
// and hash), false for what SEV-TIO has no number for.
func tdiAlgorithms(s Suite) (bits uint64, ok bool) {
	switch s {
	case SuiteRSASSA3072:
		return 1 | 0<<16 | 1<<24, true
	case SuiteP256:
		return 0 | 1<<16 | 0<<24, true
	case SuiteP384:
		return 1 | 2<<16 | 1<<24, true
	}
	return 0, false
}

// tdiInfo is the 192-byte TIO_MSG_TDI_INFO response of AMD SEV-TIO: 0 TDI id
// u64, 8 status u16 (0 bound, 2 unbound), 16 measurement flags u32 (valid,
// fresh), 20 lock flags u32, 24 algorithms u64 (DHE group, AES-256-GCM, signature,
// hash), 32 certificates, 80 measurements, 128 report, 176 report count u64.
func tdiInfo(o Options, sums Digests) []byte {
	const bound, unbound = 0, 2
	const aes, valid, fresh = 1 << 8, 1 << 0, 1 << 1
	out := le.AppendUint64(make([]byte, 0, 192), uint64(o.Function))
	status, flags := uint16(bound), uint32(valid|fresh)
	if o.Unlocked {
		status = unbound
	}
	if o.has(TSMInvalid) {
		flags &^= valid
	}
	if o.has(TSMStale) {
		flags &^= fresh
	}
	out = le.AppendUint16(out, status)
	out = append(out, make([]byte, 6)...)
	out = le.AppendUint32(out, flags)
	out = le.AppendUint32(out, uint32(o.lockFlags()))
	algs, _ := tdiAlgorithms(o.Suite)
	out = le.AppendUint64(out, algs|aes)
	out = append(out, sums.Certificates...)
	out = append(out, sums.Measurements...)
	out = append(out, sums.Report...)
	out = le.AppendUint64(out, 1)
	return le.AppendUint64(out, 0)
}

// vdevInfo is the 512-byte structure of RSI_VDEV_GET_INFO of Arm CCA: 0x00 flags
// u64, 0x08 certificate slot u64, 0x10 hash u8 (1 is SHA-512), 0x18 lock nonce
// u64, 0x20 measurement nonce u64, 0x28 report nonce u64, 0x30 TDISP version u64,
// 0x38 state u8, from 0x40 on digests of 64 bytes: negotiation, certificates,
// public key, measurements, report.
func (d *Device) vdevInfo(transcript []byte) []byte {
	const tdisp10, sha512, size = 0x10, 1, 512
	seed := d.o.Device.Sub("spdm", "vdev")
	out := le.AppendUint64(make([]byte, 0, size), 0)
	out = le.AppendUint64(out, uint64(d.o.Slot))
	out = append(out, sha512, 0, 0, 0, 0, 0, 0, 0)
	lock := seed.Sub("lock").Uint64() | 1
	if d.o.has(TSMNonce) {
		lock = 0
	}
	for _, n := range []uint64{lock, seed.Sub("measurements").Uint64() | 1, seed.Sub("report").Uint64() | 1, tdisp10} {
		out = le.AppendUint64(out, n)
	}
	out = append(out, d.o.state(), 0, 0, 0, 0, 0, 0, 0)
	key := d.leaves[d.o.Slot].Cert.RawSubjectPublicKeyInfo
	for _, object := range []struct {
		fault Fault
		raw   []byte
	}{{TSMVCA, d.vca}, {TSMCertificates, d.chains[d.o.Slot]}, {TSMPublicKey, key}, {TSMMeasurements, transcript}, {"", d.report}} {
		digest := sum(crypto.SHA512, object.raw)
		if object.fault != "" && d.o.has(object.fault) {
			digest = flipped(digest)
		}
		out = append(out, digest...)
	}
	return append(out, make([]byte, size-len(out))...)
}

// deviceInfoData is DEVICE_INFO_DATA in the form of the TDX Connect preview
// (2023): u32 version, then seven records (device, SPDM policy, TDISP policy,
// SPDM connection, certificates, measurements, TDISP capabilities), each with
// a header of 24 bytes and padded to 8. Record identifiers (GUIDs) of the
// preview are not public and are zero here.
func deviceInfoData(o Options, chains map[uint8][]byte, record []byte) ([]byte, error) {
	device := le.AppendUint32(nil, 1)
	device = le.AppendUint64(device, 0)                  // request id
	device = le.AppendUint32(device, uint32(o.Function)) // device id
	device = le.AppendUint32(device, uint32(o.Function)) // interface id, FUNCTION_ID
	device = append(device, make([]byte, 8+4+4)...)      // interface id high, IOMMU, session index
	device = append(device, o.Device.Sub("spdm", "tpa").Bytes(nonceSize)...)

	spdmPolicy := append(le.AppendUint32(nil, 1), 1, 1, 0) // one version, signed measurements
	tdispPolicy := append(le.AppendUint32(nil, 1), 1)
	tdispPolicy = le.AppendUint32(tdispPolicy, 0)

	certs := le.AppendUint32(nil, 1)
	for s := range uint8(slotCount) {
		chain := chains[s]
		if s == o.Slot && o.has(TSMCertificates) {
			chain = flipped(chain)
		}
		certs = le.AppendUint16(certs, uint16(len(chain)))
		certs = append(certs, chain...)
	}
	if o.has(TSMMeasurements) { // the last byte of the debug state
		record = flipped(record)
	}
	meas := le.AppendUint32(le.AppendUint32(nil, 1), 2) // MEAS_CAP with signature
	meas = append(meas, 1, 0, byte(len(record)), byte(len(record)>>8), byte(len(record)>>16))
	meas = append(meas, record...)

	out := le.AppendUint32(nil, 1)
	for _, body := range [][]byte{device, spdmPolicy, tdispPolicy, connectionInfo(o), certs, meas, tdispCapabilities()} {
		if 24+len(body) > 0xffff {
			return nil, fmt.Errorf("spdm: device information record of %d bytes", len(body))
		}
		out = le.AppendUint16(out, 4) // record with a GUID (UEFI PI, EFI_HOB_TYPE_GUID_EXTENSION)
		out = le.AppendUint16(out, uint16(24+len(body)))
		out = append(out, make([]byte, 4+16)...)
		out = append(out, body...)
		for i := 24 + len(body); i%8 != 0; i++ {
			out = append(out, 0)
		}
	}
	return out, nil
}

// connectionInfo is the SPDM connection record: version, capabilities,
// negotiated algorithms, session.
func connectionInfo(o Options) []byte {
	sel := o.Suite.get()
	if o.has(TSMVCA) {
		sel.asym = 0x90 &^ sel.asym & 0x90
	}
	out := append(le.AppendUint32(nil, 1), byte(o.Version), 0)
	for _, v := range []uint32{responderFlags(o), transferSize, maxMessageSize} {
		out = le.AppendUint32(out, v)
	}
	out = append(out, 1, otherParams(o))
	for _, v := range []uint32{measurementHashBit(o.MeasurementHash), sel.hash, sel.asym} {
		out = le.AppendUint32(out, v)
	}
	for _, v := range []uint16{sel.dhe, 2, 1} { // AES-256-GCM, SPDM key schedule
		out = le.AppendUint16(out, v)
	}
	out = append(out, 0x11) // secured message version 1.1
	out = append(out, o.Device.Sub("spdm", "session").Bytes(4)...)
	return append(out, 0) // no heartbeat
}

// tdispCapabilities is the TDISP record, with the fields of the TDISP
// CAPABILITIES response.
func tdispCapabilities() []byte {
	out := le.AppendUint32(nil, 1)
	out = le.AppendUint32(out, 0x10)   // TDISP 1.0
	out = le.AppendUint32(out, 0)      // DSM capabilities
	out = le.AppendUint64(out, 0xfe)   // requests 1..7
	out = le.AppendUint64(out, 0)      // requests 64..127
	out = le.AppendUint16(out, 0x0007) // lock flags supported
	return append(out, 0, 0, 0, 48, 1, 1)
}
