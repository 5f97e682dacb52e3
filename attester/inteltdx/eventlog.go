// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"unicode/utf16"

	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// Event types (TCG PC Client Platform Firmware Profile, section 10.4.1).
const (
	evNoAction         = 0x3
	evSeparator        = 0x4
	evPlatformConfig   = 0xa
	evIPL              = 0xd
	evVariableConfig   = 0x80000001
	evVariableBoot     = 0x80000002
	evBootApplication  = 0x80000003
	evAction           = 0x80000007
	evFirmwareBlob2    = 0x8000000a
	evHandoffTables2   = 0x8000000b
	evAuthority        = 0x800000e0
	algSHA384          = 0xc
	maxEventData       = 256 << 10
	specIDSignature    = "Spec ID Event03\x00"
	specIDVersionMajor = 2
)

// GUIDs in the byte order of UEFI.
var (
	guidGlobal   = [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	guidSecurity = [16]byte{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
	guidHOB      = [16]byte{0xaf, 0x96, 0xbb, 0x93, 0xf2, 0xb9, 0xb8, 0x4e, 0x94, 0x62, 0xe0, 0xba, 0x74, 0x56, 0x42, 0x36}
	guidX509     = [16]byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
	guidSHA256   = [16]byte{0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28}
)

// bank are the values of RTMR0 to RTMR3.
type bank [registers][RegisterSize]byte

// extend is TDG.MR.RTMR.EXTEND.
func (b *bank) extend(i int, digest [RegisterSize]byte) {
	b[i] = sha512.Sum384(append(bytes.Clone(b[i][:]), digest[:]...))
}

// newEventLog writes the log of the boot and replays it.
func newEventLog(o *Options) ([]byte, *bank, error) {
	events, err := bootEvents(o)
	if err != nil {
		return nil, nil, err
	}
	b := new(bank)
	log := specID()
	for _, e := range append(events, o.Events...) {
		measured := e.Measured
		if measured == nil {
			measured = e.Data
		}
		digest := sha512.Sum384(measured)
		b.extend(e.RTMR, digest)
		log = appendEvent(log, e, digest)
	}
	return log, b, nil
}

// specID is the first record, in the form of TCG 1.2 logs: it names SHA-384 as
// the only algorithm. Firmware of confidential guests puts a 1 where the other
// logs have PCR 0.
func specID() []byte {
	le := binary.LittleEndian
	data := append([]byte(specIDSignature), 0, 0, 0, 0)                        // platform class: client
	data = append(data, 0, specIDVersionMajor, 0, 2)                           // minor, major, errata, size of UINTN in words of 4
	data = le.AppendUint32(data, 1)                                            // algorithms
	data = le.AppendUint16(le.AppendUint16(data, algSHA384), 48)               // one of them
	data = append(data, 0)                                                     // no vendor information
	out := le.AppendUint32(le.AppendUint32(nil, 1), evNoAction)                // register, type
	out = le.AppendUint32(append(out, make([]byte, 20)...), uint32(len(data))) // no digest
	return append(out, data...)
}

// appendEvent writes a TCG_PCR_EVENT2; register 0 is MRTD, 1 to 4 are RTMR0 to
// RTMR3 (UEFI CC measurement protocol).
func appendEvent(log []byte, e Event, digest [RegisterSize]byte) []byte {
	le := binary.LittleEndian
	log = le.AppendUint32(log, uint32(e.RTMR)+1)
	log = le.AppendUint32(log, e.Type)
	log = le.AppendUint32(log, 1)
	log = le.AppendUint16(log, algSHA384)
	log = append(log, digest[:]...)
	log = le.AppendUint32(log, uint32(len(e.Data)))
	return append(log, e.Data...)
}

// bootEvents are the events of a guest that boots Linux by GRUB with secure
// boot: RTMR0 firmware and its configuration, RTMR1 boot loader, RTMR2 what the
// boot loader does. Nothing is measured into RTMR3 before the run time.
func bootEvents(o *Options) ([]Event, error) {
	image := func(name string) []byte { return o.Device.Sub("intel-tdx", "image", name).Bytes(64) }
	variables, authority, err := secureBoot(o.Vendor)
	if err != nil {
		return nil, err
	}
	const path = `\EFI\BOOT\BOOTX64.EFI`
	events := append([]Event{
		{0, evHandoffTables2, handoffTable(), image("td-hob")},
		{0, evFirmwareBlob2, firmwareVolume(), image("firmware-volume")},
	}, variables...)
	events = append(events,
		Event{0, evSeparator, make([]byte, 4), nil},
		Event{0, evPlatformConfig, []byte("ACPI DATA"), image("acpi-loader")},
		Event{0, evPlatformConfig, []byte("ACPI DATA"), image("acpi-rsdp")},
		Event{0, evPlatformConfig, []byte("ACPI DATA"), image("acpi-tables")},
		bootVariable("BootOrder", []byte{0, 0}),
		bootVariable("Boot0000", loadOption("Assize simulated disk", path)),
		Event{1, evAction, []byte("Calling EFI Application from Boot Option"), nil},
		Event{1, evSeparator, make([]byte, 4), nil},
		authority,
		Event{1, evBootApplication, imageLoad(path), image("boot-loader")},
	)
	const kernel = "/boot/vmlinuz root=/dev/vda1 ro console=ttyS0"
	for _, e := range [][2]string{
		{"grub_cmd: ", "set timeout=0"},
		{"grub_cmd: ", "linux " + kernel},
		{"kernel_cmdline: ", kernel},
	} {
		// GRUB measures the command without prefix and terminator.
		events = append(events, Event{2, evIPL, []byte(e[0] + e[1] + "\x00"), []byte(e[1])})
	}
	return append(events,
		Event{2, evIPL, []byte("/boot/vmlinuz\x00"), image("kernel")},
		Event{1, evAction, []byte("Exit Boot Services Invocation"), nil},
		Event{1, evAction, []byte("Exit Boot Services Returned with Success"), nil},
	), nil
}

// handoffTable describes the TD HOB: name, number of tables, GUID and address.
func handoffTable() []byte {
	out := append([]byte("\x09TdxTable\x00"), 1, 0, 0, 0, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint64(append(out, guidHOB[:]...), 0x809000)
}

// firmwareVolume describes the measured part of the firmware: name, address,
// length.
func firmwareVolume() []byte {
	const name = "Fv(48DB5E17-707C-472D-91CD-1613E7EF51B0)"
	out := append([]byte{byte(len(name) + 1)}, name+"\x00"...)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(out, 0xffe00000), 0x20000)
}

// secureBoot are the five variables of secure boot (on, with one simulated key
// in PK, KEK and db and one digest in dbx), and the entry of db that the boot
// loader was accepted by.
func secureBoot(vendor pki.Seed) (variables []Event, authority Event, err error) {
	seed := vendor.Sub("intel-tdx", "secure-boot")
	key, err := seed.ECDSA(elliptic.P256())
	if err != nil {
		return nil, Event{}, err
	}
	from, to := dcap.Validity()
	t := &x509.Certificate{SerialNumber: seed.Serial(), NotBefore: from, NotAfter: to}
	if t.RawSubject, err = dcap.Subject("Assize Simulated Secure Boot Key"); err != nil {
		return nil, Event{}, err
	}
	owner, err := pki.Root(key, t)
	if err != nil {
		return nil, Event{}, err
	}
	forbidden := sha256.Sum256([]byte("assize simulated forbidden image"))
	keys, hashes := signatureList(guidX509, owner.Cert.Raw), signatureList(guidSHA256, forbidden[:])
	for _, v := range []struct {
		guid [16]byte
		name string
		data []byte
	}{
		{guidGlobal, "SecureBoot", []byte{1}}, {guidGlobal, "PK", keys}, {guidGlobal, "KEK", keys},
		{guidSecurity, "db", keys}, {guidSecurity, "dbx", hashes},
	} {
		variables = append(variables, Event{0, evVariableConfig, variable(v.guid, v.name, v.data), nil})
	}
	used := append(make([]byte, 16), owner.Cert.Raw...) // EFI_SIGNATURE_DATA without an owner
	return variables, Event{0, evAuthority, variable(guidSecurity, "db", used), nil}, nil
}

// signatureList is an EFI_SIGNATURE_LIST of one entry without an owner.
func signatureList(kind [16]byte, entry []byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(kind[:len(kind):len(kind)], uint32(28+16+len(entry)))
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(16+len(entry)))
	return append(append(out, make([]byte, 16)...), entry...)
}

// bootVariable is measured by its contents alone.
func bootVariable(name string, data []byte) Event {
	return Event{0, evVariableBoot, variable(guidGlobal, name, data), data}
}

// variable is a UEFI_VARIABLE_DATA.
func variable(guid [16]byte, name string, data []byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint64(guid[:len(guid):len(guid)], uint64(len(name)))
	out = le.AppendUint64(out, uint64(len(data)))
	return append(append(out, ucs2(name)...), data...)
}

// loadOption is an EFI_LOAD_OPTION: active, with a device path of one file.
func loadOption(description, file string) []byte {
	le := binary.LittleEndian
	path := devicePath(file)
	out := le.AppendUint16(le.AppendUint32(nil, 1), uint16(len(path)))
	return append(append(out, ucs2(description+"\x00")...), path...)
}

// imageLoad is a UEFI_IMAGE_LOAD_EVENT: address, length, link address, path.
func imageLoad(file string) []byte {
	le := binary.LittleEndian
	path := devicePath(file)
	out := le.AppendUint64(le.AppendUint64(le.AppendUint64(nil, 0xbc000000), 0x100000), 0)
	return append(le.AppendUint64(out, uint64(len(path))), path...)
}

// devicePath is one file path node and the end node.
func devicePath(file string) []byte {
	name := ucs2(file + "\x00")
	out := binary.LittleEndian.AppendUint16([]byte{4, 4}, uint16(4+len(name)))
	return append(append(out, name...), 0x7f, 0xff, 4, 0)
}

func ucs2(s string) []byte {
	var out []byte
	for _, c := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, c)
	}
	return out
}

// matches says whether registers have the values of the bank.
func (b *bank) matches(rtmr [registers][]byte) bool {
	for i := range rtmr {
		if !bytes.Equal(rtmr[i], b[i][:]) {
			return false
		}
	}
	return true
}
