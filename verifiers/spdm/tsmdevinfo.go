// SPDX-License-Identifier: Apache-2.0

package spdm

import "fmt"

// DeviceInformation is DEVICE_INFO_DATA of TDX Connect, in the form of the
// preview of 2023. It holds the device's objects themselves and no digests; the
// TDX module has its hash.
type DeviceInformation struct {
	// Function is FUNCTION_ID of the interface (see TDISPMessage).
	Function uint32
	// Version, Capabilities, Asym, Hash and MeasurementHash are of the connection.
	Version         Version
	Capabilities    uint32
	Asym            BaseAsym
	Hash            BaseHash
	MeasurementHash MeasurementHash
	// Chains are certificate chain structures by slot; nil where there is none.
	Chains [MaxSlots][]byte
	// Record is a measurement record, concatenated blocks, of the time when the
	// session was set up.
	Record []byte
	// LockFlags are those that the interface supports.
	LockFlags LockFlags
}

const (
	// maxDeviceInformation bounds TSM information: the buffer of the preview has 32
	// KiB, records have a length of 16 bits.
	maxDeviceInformation = 8 << 16
	// recordGUID is the type of a record with a GUID (UEFI PI,
	// EFI_HOB_TYPE_GUID_EXTENSION), recordHeader its header in bytes: type u16,
	// length u16, reserved u32, GUID.
	recordGUID   = 4
	recordHeader = 24
)

// deviceInformation reads version u32 and seven records, each padded with zeros
// to 8 bytes: interface, policies for SPDM and TDISP, connection, certificates,
// measurements, TDISP capabilities.
func (r *reader) deviceInformation() *TSMInfo {
	d := &DeviceInformation{}
	out := &TSMInfo{Device: d}
	r.u32("version of the structure")
	for _, part := range []struct {
		name string
		read func(*reader)
	}{
		{"interface", d.readInterface}, {"SPDM policy", readPolicy(7)}, {"TDISP policy", readPolicy(9)}, {"connection", d.readConnection},
		{"certificates", d.readCertificates}, {"measurements", d.readMeasurements}, {"TDISP capabilities", d.readCapabilities},
	} {
		r.record(part.name, part.read)
	}
	out.Asym, out.Hash = d.Asym, d.Hash
	return out
}

// record reads one record and gives its body to read, which has to use all of it.
func (r *reader) record(name string, read func(*reader)) {
	at := r.at
	if kind := r.u16("type of the record " + name); kind != recordGUID {
		r.fail(KindMalformed, at, uint16(recordGUID), kind, "type of the record %s", name)
	}
	size := int(r.u16("length of the record " + name))
	r.zero(4, "reserved bytes of the record "+name)
	r.bytes(16, "GUID of the record "+name)
	if r.err == nil && size < recordHeader+4 {
		r.fail(KindMalformed, at+2, recordHeader+4, size, "length of the record %s", name)
	}
	body := r.bytes(size-recordHeader, "record "+name)
	if r.err != nil {
		return
	}
	b := &reader{stage: r.stage, object: r.object + ", record " + name, b: body}
	b.u32("version of the record")
	read(b)
	b.end()
	if b.err != nil {
		r.err = b.err
		return
	}
	r.zero((8-size%8)%8, "padding behind the record "+name)
}

// readPolicy reads what is no policy of ours: a body of size bytes with its
// version, and as many more u16 as byte 4 says, or none of them.
func readPolicy(size int) func(*reader) {
	return func(r *reader) {
		n := int(r.u8("number of versions"))
		rest := len(r.b) - r.at
		if want := size - 5; rest != want && rest != want+2*n {
			r.fail(KindMalformed, r.at, fmt.Sprintf("%d or %d", want, want+2*n), rest, "length of the policy")
		}
		r.bytes(rest, "policy")
	}
}

func (d *DeviceInformation) readInterface(r *reader) {
	r.u64("request id")
	r.u32("device id")
	d.Function = r.u32("interface id")
	r.bytes(8+4+4+32, "interface id, IOMMU, session and nonce")
}

func (d *DeviceInformation) readConnection(r *reader) {
	d.Version = Version(r.u8("SPDM version"))
	r.u8("CT exponent")
	d.Capabilities = r.u32("capabilities")
	r.bytes(4+4+1+1, "sizes and parameters")
	d.MeasurementHash = MeasurementHash(r.u32("measurement hash"))
	d.Hash = BaseHash(r.u32("base hash"))
	d.Asym = BaseAsym(r.u32("base asymmetric algorithm"))
	r.bytes(3*2+1+4+1, "algorithms of the session, and session")
}

func (d *DeviceInformation) readCertificates(r *reader) {
	for slot := range d.Chains {
		if chain := r.bytes(int(r.u16("length of a chain")), "certificate chain"); len(chain) > 0 {
			d.Chains[slot] = chain
		}
	}
}

func (d *DeviceInformation) readMeasurements(r *reader) {
	r.u32("measurement capabilities")
	r.bytes(2, "attributes")
	d.Record = r.bytes(r.u24("length of the measurement record"), "measurement record")
}

// readCapabilities reads TDISP capabilities. The preview declares the version of
// TDISP as u8 and reads it as u32.
func (d *DeviceInformation) readCapabilities(r *reader) {
	const rest = 4 + 8 + 8 + 2 + 3 + 1 + 1 + 1
	width, at := len(r.b)-r.at-rest, r.at
	if width != 1 && width != 4 {
		r.fail(KindMalformed, at, fmt.Sprintf("%d or %d", rest+1, rest+4), len(r.b)-at, "length of the capabilities")
		return
	}
	version := r.u8("TDISP version")
	r.zero(width-1, "TDISP version")
	if version != tdispVersion {
		r.fail(KindUnsupported, at, uint8(tdispVersion), version, "TDISP version")
	}
	r.bytes(4+8+8, "capabilities and requests")
	d.LockFlags = LockFlags(r.u16("lock flags"))
	r.bytes(3+1+1+1, "address width and requests")
}
