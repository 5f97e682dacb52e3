// SPDX-License-Identifier: Apache-2.0

// Package nvidiatest makes simulated NVIDIA devices for the tests of the
// schemes for GPUs and NVSwitches: a device chain under a root of its own and
// reports signed by its leaf. Begin with New; change the fields of the Device,
// then ask for its Leaf.
//
// It encodes every form anew and imports none of the code under test, so that
// a mistake in the decoders does not cancel itself.
package nvidiatest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"testing"
	"time"
)

const (
	chainLength = 5
	posRoot     = 4
	// FWIDSize is the length of a firmware id in bytes.
	FWIDSize = 48
	// NonceSize is the length of a nonce in bytes.
	NonceSize = 32

	signatureSize = 96
)

// Block is one measurement: SPDM index, DMTF value type and value.
type Block struct {
	Index, Type uint8
	Value       []byte
}

// Field is one element of the opaque data.
type Field struct {
	Type  uint16
	Value []byte
}

// Model says what device is simulated.
type Model struct {
	// Arch is what the collector says, Chip and Engine what the certificates
	// say, and Prefix stands in front of the PDI in the serial number.
	Arch, Chip, Engine string
	Prefix             byte
	// PDI is 8 bytes.
	PDI []byte
}

// Device is a simulated device with its own root. Fields may be changed before
// Leaf is called; the certificates are made then.
type Device struct {
	TB   testing.TB
	Arch string
	// Keys and Templates are those of the chain, leaf first.
	Keys      [chainLength]*ecdsa.PrivateKey
	Templates [chainLength]*x509.Certificate
	FWID      []byte
	// Ext makes the extension of the leaf that holds the FWID.
	Ext    func(d *Device) pkix.Extension
	Blocks []Block
	Fields []Field
	Nonce  []byte
	// Trail is put behind the signature.
	Trail []byte
	// Members replace those of the JSON object.
	Members map[string]any
	// Certs are issued by Build.
	Certs [chainLength]*x509.Certificate

	rand io.Reader
}

// New makes a device whose certificates are valid for a year on both sides of
// at. Its keys and signatures are made with random. It has four blocks, of which
// the first is zero, and no opaque data.
func New(tb testing.TB, random io.Reader, at time.Time, m Model) *Device {
	tb.Helper()
	d := &Device{
		TB: tb, Arch: m.Arch, rand: random, Ext: CompositeDevice,
		Nonce: bytes.Repeat([]byte{7}, NonceSize), FWID: bytes.Repeat([]byte{0xF1}, FWIDSize),
	}
	serial := append([]byte{m.Prefix}, m.PDI...)
	names := [chainLength]pkix.Name{
		{CommonName: m.Chip + " A01 " + m.Engine + " FMC LF"},
		{CommonName: m.Chip + " A01 " + m.Engine + " BROM", SerialNumber: hex.EncodeToString(serial)},
		{CommonName: "NVIDIA " + m.Chip + " Provisioner ICA 1"},
		{CommonName: "NVIDIA " + m.Chip + " Identity"},
		{CommonName: "NVIDIA Device Identity CA", Organization: []string{"NVIDIA"}},
	}
	for i := range d.Templates {
		d.Keys[i] = d.Key(elliptic.P384())
		d.Templates[i] = &x509.Certificate{
			Subject: names[i], SerialNumber: big.NewInt(int64(1000 + i)), SignatureAlgorithm: x509.ECDSAWithSHA384,
			NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(1, 0, 0),
			BasicConstraintsValid: true, IsCA: i > 0, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	d.Templates[0].KeyUsage = x509.KeyUsageDigitalSignature
	d.Templates[1].SerialNumber = new(big.Int).SetBytes(serial)
	for i := range 4 {
		d.Blocks = append(d.Blocks, Block{Index: uint8(i + 1), Type: 1, Value: bytes.Repeat([]byte{byte(i)}, 48)})
	}
	return d
}

// Key makes a key.
func (d *Device) Key(c elliptic.Curve) *ecdsa.PrivateKey {
	d.TB.Helper()
	k, err := ecdsa.GenerateKey(c, d.rand)
	if err != nil {
		d.TB.Fatal(err)
	}
	return k
}

// With replaces or adds one opaque field, which goes to the end.
func (d *Device) With(typ uint16, v []byte) *Device {
	d.Without(typ)
	d.Fields = append(d.Fields, Field{typ, v})
	return d
}

// Without removes one opaque field.
func (d *Device) Without(typ uint16) *Device {
	var left []Field
	for _, f := range d.Fields {
		if f.Type != typ {
			left = append(left, f)
		}
	}
	d.Fields = left
	return d
}

// Build issues the certificates, root first.
func (d *Device) Build() {
	d.Templates[0].ExtraExtensions = append(d.Templates[0].ExtraExtensions, d.Ext(d))
	for i := chainLength - 1; i >= 0; i-- {
		parent, key := d.Templates[i], d.Keys[i]
		if i < posRoot {
			parent, key = d.Certs[i+1], d.Keys[i+1]
		}
		d.Certs[i] = d.Issue(d.Templates[i], parent, &d.Keys[i].PublicKey, key)
	}
}

// Issue issues one certificate.
func (d *Device) Issue(t, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	d.TB.Helper()
	der, err := x509.CreateCertificate(d.rand, t, parent, pub, key)
	if err != nil {
		d.TB.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		d.TB.Fatal(err)
	}
	return c
}

// Leaf builds what is not built and returns the evidence.
func (d *Device) Leaf() []byte {
	d.TB.Helper()
	if d.Certs[0] == nil {
		d.Build()
	}
	return d.Wrap(d.Certs[:], d.Report())
}

// Root is the root of a built device, as the extra roots of a scheme.
func (d *Device) Root() []*x509.Certificate { return []*x509.Certificate{d.Certs[posRoot]} }

// Report is a signed report.
func (d *Device) Report() []byte {
	msg := Unsigned(d.Nonce, d.Blocks, d.Fields)
	return append(append(msg, d.Sign(d.Keys[0], msg)...), d.Trail...)
}

// Wrap makes evidence of a report and certificates.
func (d *Device) Wrap(certs []*x509.Certificate, report []byte) []byte {
	m := map[string]any{
		"arch": d.Arch, "nonce": hex.EncodeToString(d.Nonce),
		"evidence": base64.StdEncoding.EncodeToString(report), "certificate": base64.StdEncoding.EncodeToString(PEM(certs)),
	}
	for k, v := range d.Members {
		m[k] = v
	}
	return Array(d.TB, m)
}

// Sign signs as devices do: raw r||s over SHA-384.
func (d *Device) Sign(key *ecdsa.PrivateKey, msg []byte) []byte {
	d.TB.Helper()
	sum := sha512.Sum384(msg)
	r, s, err := ecdsa.Sign(d.rand, key, sum[:])
	if err != nil {
		d.TB.Fatal(err)
	}
	out := make([]byte, signatureSize)
	r.FillBytes(out[:signatureSize/2])
	s.FillBytes(out[signatureSize/2:])
	return out
}

// PEM is the text of certificates.
func PEM(certs []*x509.Certificate) []byte {
	var text bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return text.Bytes()
}

// Array is a JSON array of what is given.
func Array(tb testing.TB, elements ...any) []byte {
	tb.Helper()
	out, err := json.Marshal(elements)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Object is evidence of one device of recorded parts.
func Object(arch string, report, chain []byte) map[string]any {
	return map[string]any{
		"arch": arch, "nonce": hex.EncodeToString(report[4 : 4+NonceSize]),
		"evidence": base64.StdEncoding.EncodeToString(report), "certificate": base64.StdEncoding.EncodeToString(chain),
	}
}

// Element is one FWID with its algorithm.
type Element struct {
	Alg    asn1.ObjectIdentifier
	Digest []byte
}

// SHA384 is the algorithm of every FWID.
func SHA384() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2} }

// CompositeDevice is the extension of Hopper and LS10 leaves.
func CompositeDevice(d *Device) pkix.Extension {
	d.TB.Helper()
	spki, err := x509.MarshalPKIXPublicKey(&d.Keys[1].PublicKey)
	if err != nil {
		d.TB.Fatal(err)
	}
	v, err := asn1.Marshal(struct {
		Version int
		Key     asn1.RawValue
		FWID    Element
	}{1, asn1.RawValue{FullBytes: spki}, Element{SHA384(), d.FWID}})
	if err != nil {
		d.TB.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1}, Value: v}
}

// TCBInfo makes the extension of Blackwell leaves, with 32 flags.
func TCBInfo(flags uint32) func(d *Device) pkix.Extension {
	return func(d *Device) pkix.Extension {
		d.TB.Helper()
		one, err := asn1.Marshal(Element{SHA384(), d.FWID})
		if err != nil {
			d.TB.Fatal(err)
		}
		two, err := asn1.Marshal(Element{SHA384(), make([]byte, FWIDSize)})
		if err != nil {
			d.TB.Fatal(err)
		}
		body := []byte{0x80, 6, 'N', 'V', 'I', 'D', 'I', 'A', 0xA6, byte(len(one) + len(two))}
		body = append(append(body, one...), two...)
		body = binary.BigEndian.AppendUint32(append(body, 0x87, 5, 0), flags)
		v, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
		if err != nil {
			d.TB.Fatal(err)
		}
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, 1, 1}, Value: v}
	}
}

// Unsigned encodes request and response up to the signature.
func Unsigned(nonce []byte, blocks []Block, fields []Field) []byte {
	var record, opaque []byte
	for _, b := range blocks {
		record = append(record, b.Index, 1) // DMTF
		record = binary.LittleEndian.AppendUint16(record, uint16(len(b.Value)+3))
		record = append(record, b.Type)
		record = binary.LittleEndian.AppendUint16(record, uint16(len(b.Value)))
		record = append(record, b.Value...)
	}
	for _, f := range fields {
		opaque = binary.LittleEndian.AppendUint16(opaque, f.Type)
		opaque = binary.LittleEndian.AppendUint16(opaque, uint16(len(f.Value)))
		opaque = append(opaque, f.Value...)
	}
	out := append([]byte{0x11, 0xE0, 1, 0xFF}, nonce...)
	out = append(out, 0, 0x11, 0x60, 0, 0, byte(len(blocks)), byte(len(record)), byte(len(record)>>8), byte(len(record)>>16))
	out = append(out, record...)
	out = append(out, bytes.Repeat([]byte{9}, NonceSize)...)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(opaque)))
	return append(out, opaque...)
}
