// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/assize/assize/attester/pki"
)

// Identifiers of UEFI in their byte order on the wire.
var (
	guidGlobal   = [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c} // EFI_GLOBAL_VARIABLE
	guidSecurity = [16]byte{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f} // EFI_IMAGE_SECURITY_DATABASE
	guidX509     = [16]byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72} // EFI_CERT_X509
	guidSHA256   = [16]byte{0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28} // EFI_CERT_SHA256
	guidESP      = [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b} // EFI system partition
	guidOwner    = [16]byte{0xa5, 0x51, 0x2e, 0x00, 0x51, 0x3e, 0x4d, 0x4f, 0x8a, 0x11, 0x5e, 0x1d, 0x00, 0x00, 0x00, 0x01} // who enrolled the keys
)

// Texts of the simulated boot.
const (
	firmwareVersion = "Assize Simulated Firmware v1\x00"
	kernelPath      = "(hd0,gpt2)/vmlinuz"
	commandLine     = "/vmlinuz root=/dev/sda2 ro"
	tamperedLine    = "/vmlinuz root=/dev/sda2 rw init=/bin/sh"
)

// machine is what boots. Its measurements do not depend on device or time.
type machine struct {
	vendor pki.Seed
	image  string
	// otherKernel boots another kernel than the image has.
	otherKernel bool
	// unsecured: UEFI Secure Boot is off.
	unsecured bool
	// commandLine is what the boot loader hands to the kernel.
	commandLine string
	extra       []Event
}

// boot lists the events of the machine in the order in which they happen.
func (m *machine) boot() ([]Event, error) {
	key, err := m.enrolledKey()
	if err != nil {
		return nil, err
	}
	events := append(m.firmware(key), m.bootOptions()...)
	events = append(events, Event{PCR: 4, Type: EvEFIAction, Data: []byte("Calling EFI Application from Boot Option")})
	for pcr := range 7 {
		events = append(events, separator(pcr))
	}
	events = append(events, m.loader(key)...)
	events = append(events,
		Event{PCR: 5, Type: EvEFIAction, Data: []byte("Exit Boot Services Invocation")},
		Event{PCR: 5, Type: EvEFIAction, Data: []byte("Exit Boot Services Returned with Success")})
	return append(events, m.extra...), nil
}

// firmware measures itself and the Secure Boot configuration.
func (m *machine) firmware(key []byte) []Event {
	enrolled := signatureList(guidX509, key)
	forbidden := sha256.Sum256([]byte("assize simulated revoked loader"))
	enforced := []byte{1}
	if m.unsecured {
		enforced[0] = 0
	}
	events := []Event{
		{PCR: 0, Type: EvCRTMVersion, Data: utf16le(firmwareVersion)},
		{PCR: 0, Type: EvEFIFirmwareBlob, Data: regionEvent(0x00820000, 0x000e0000), Measured: []byte("assize simulated firmware volume")},
		{PCR: 7, Type: EvEFIVariableConfig, Data: variable(guidGlobal, "SecureBoot", enforced)},
		{PCR: 7, Type: EvEFIVariableConfig, Data: variable(guidGlobal, "PK", enrolled)},
		{PCR: 7, Type: EvEFIVariableConfig, Data: variable(guidGlobal, "KEK", enrolled)},
		{PCR: 7, Type: EvEFIVariableConfig, Data: variable(guidSecurity, "db", enrolled)},
		{PCR: 7, Type: EvEFIVariableConfig, Data: variable(guidSecurity, "dbx", signatureList(guidSHA256, forbidden[:]))},
	}
	return append(events, separator(7))
}

// bootOptions are measured without the name of their variable.
func (m *machine) bootOptions() []Event {
	option := binary.LittleEndian.AppendUint32(nil, 1) // LOAD_OPTION_ACTIVE
	path := filePath(`\EFI\BOOT\BOOTX64.EFI`)
	option = binary.LittleEndian.AppendUint16(option, uint16(len(path)))
	option = append(append(option, utf16le("Assize\x00")...), path...)
	order := []byte{0, 0}
	return []Event{
		{PCR: 1, Type: EvEFIVariableBoot, Data: variable(guidGlobal, "BootOrder", order), Measured: order},
		{PCR: 1, Type: EvEFIVariableBoot, Data: variable(guidGlobal, "Boot0000", option), Measured: option},
	}
}

// loader measures the disk, the boot loader, and what that loads in turn.
func (m *machine) loader(key []byte) []Event {
	authority := append(append([]byte{}, guidOwner[:]...), key...)
	kernel := "assize simulated kernel " + m.image
	if m.otherKernel {
		kernel = "another kernel than " + m.image
	}
	return []Event{
		{PCR: 7, Type: EvEFIVariableAuthority, Data: variable(guidSecurity, "db", authority)},
		{PCR: 5, Type: EvEFIGPT, Data: partitions()},
		{PCR: 4, Type: EvEFIBootApplication, Data: imageLoad(`\EFI\BOOT\BOOTX64.EFI`), Measured: []byte("assize simulated loader " + m.image)},
		{PCR: 14, Type: EvIPL, Data: []byte("MokList\x00"), Measured: []byte{0}},
		ipl(9, "", "(hd0,gpt2)/grub/grub.cfg", "assize simulated configuration "+m.image),
		ipl(8, "grub_cmd: ", "linux "+m.commandLine, "linux "+m.commandLine),
		ipl(9, "", kernelPath, kernel),
		ipl(8, "kernel_cmdline: ", m.commandLine, m.commandLine),
		ipl(8, "grub_cmd: ", "initrd /initrd.img", "initrd /initrd.img"),
		ipl(9, "", "(hd0,gpt2)/initrd.img", "assize simulated initial ramdisk "+m.image),
	}
}

// ipl is an event of the boot loader: a text that ends in a zero byte, with a
// prefix that is not measured.
func ipl(pcr int, prefix, text, measured string) Event {
	return Event{PCR: pcr, Type: EvIPL, Data: []byte(prefix + text + "\x00"), Measured: []byte(measured)}
}

func separator(pcr int) Event { return Event{PCR: pcr, Type: EvSeparator, Data: make([]byte, 4)} }

// enrolledKey is the certificate of the vendor's Secure Boot key. Its dates
// are fixed, so that PCR 7 stays the same.
func (m *machine) enrolledKey() ([]byte, error) {
	seed := m.vendor.Sub("tcg-tpm", "secure boot")
	key, err := seed.ECDSA(elliptic.P256())
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: secure boot key: %w", err)
	}
	cert, err := pki.Root(key, &x509.Certificate{
		SerialNumber: seed.Serial(), Subject: pkix.Name{CommonName: "Assize Simulated Secure Boot Key"},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature,
	})
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: secure boot certificate: %w", err)
	}
	return cert.Cert.Raw, nil
}

// variable is UEFI_VARIABLE_DATA.
func variable(guid [16]byte, name string, data []byte) []byte {
	text := utf16le(name)
	out := append([]byte{}, guid[:]...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(text)/2))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(data)))
	return append(append(out, text...), data...)
}

// signatureList is EFI_SIGNATURE_LIST with one entry.
func signatureList(kind [16]byte, data []byte) []byte {
	const head = 28
	entry := len(guidOwner) + len(data)
	out := append([]byte{}, kind[:]...)
	for _, n := range []int{head + entry, 0, entry} { // list, header, entry
		out = binary.LittleEndian.AppendUint32(out, uint32(n))
	}
	return append(append(out, guidOwner[:]...), data...)
}

// regionEvent is UEFI_PLATFORM_FIRMWARE_BLOB: address and length.
func regionEvent(base, size uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, base), size)
}

// imageLoad is UEFI_IMAGE_LOAD_EVENT of a file.
func imageLoad(file string) []byte {
	path := filePath(file)
	var out []byte
	for _, n := range []uint64{0xbc818018, 0x000ec008, 0, uint64(len(path))} { // address, length, link address, path
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	return append(out, path...)
}

// filePath is a device path of one file node and the end.
func filePath(file string) []byte {
	text := utf16le(file + "\x00")
	out := binary.LittleEndian.AppendUint16([]byte{4, 4}, uint16(4+len(text)))
	return append(append(out, text...), 0x7f, 0xff, 4, 0)
}

// partitions is UEFI_GPT_DATA: header, count, one entry.
func partitions() []byte {
	le := binary.LittleEndian
	head := make([]byte, 92)
	copy(head, "EFI PART")
	le.PutUint32(head[8:], 0x00010000)
	le.PutUint32(head[12:], uint32(len(head)))
	le.PutUint64(head[24:], 1)          // this header
	le.PutUint64(head[32:], 0x013fffff) // the other header
	le.PutUint64(head[40:], 34)         // first usable block
	le.PutUint64(head[48:], 0x013fffde)
	copy(head[56:], guidOwner[:])
	le.PutUint64(head[72:], 2)   // entries begin
	le.PutUint32(head[80:], 128) // entries
	le.PutUint32(head[84:], 128) // size of one
	entry := make([]byte, 128)
	copy(entry, guidESP[:])
	copy(entry[16:], guidOwner[:])
	le.PutUint64(entry[32:], 2048)
	le.PutUint64(entry[40:], 0x001fffff)
	copy(entry[56:], utf16le("EFI"))
	return append(le.AppendUint64(head, 1), entry...)
}

func utf16le(s string) []byte {
	var out []byte
	for _, c := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, c)
	}
	return out
}
