// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/assize/assize/verifiers"
)

// at is a time at which every recorded chain and every fake one is valid.
var at = time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC)

// fake is a simulated GPU with its own root. Fields may be changed before
// leaf is called; the certificates are made then.
type fake struct {
	tb        testing.TB
	arch      string
	keys      [chainLength]*ecdsa.PrivateKey
	templates [chainLength]*x509.Certificate
	fwid      []byte
	ext       func(f *fake) pkix.Extension
	blocks    []Block
	fields    []Field
	nonce     []byte
	trail     []byte
	members   map[string]any
	// issued by build
	certs [chainLength]*x509.Certificate
}

var fakePDI = []byte{0xFF, 0xEE, 0xB2, 0, 9, 0xE0, 0xBE, 0x49}

func newFake(tb testing.TB) *fake { return newFakeOf(tb, "HOPPER", "GH100", "GSP", 0x41) }

func newFakeOf(tb testing.TB, arch, chip, engine string, prefix byte) *fake {
	tb.Helper()
	f := &fake{tb: tb, arch: arch, nonce: bytes.Repeat([]byte{7}, NonceSize), fwid: bytes.Repeat([]byte{0xF1}, fwidSize), ext: compositeDevice}
	serial := append([]byte{prefix}, fakePDI...)
	names := [chainLength]pkix.Name{
		{CommonName: chip + " A01 " + engine + " FMC LF"},
		{CommonName: chip + " A01 " + engine + " BROM", SerialNumber: hex.EncodeToString(serial)},
		{CommonName: "NVIDIA " + chip + " Provisioner ICA 1"},
		{CommonName: "NVIDIA " + chip + " Identity"},
		{CommonName: "NVIDIA Device Identity CA", Organization: []string{"NVIDIA"}},
	}
	for i := range f.templates {
		f.keys[i] = newKey(tb, elliptic.P384())
		f.templates[i] = &x509.Certificate{
			Subject: names[i], SerialNumber: big.NewInt(int64(1000 + i)), SignatureAlgorithm: x509.ECDSAWithSHA384,
			NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(1, 0, 0),
			BasicConstraintsValid: true, IsCA: i > 0, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	f.templates[0].KeyUsage = x509.KeyUsageDigitalSignature
	f.templates[1].SerialNumber = new(big.Int).SetBytes(serial)
	for i := range 4 {
		f.blocks = append(f.blocks, Block{Index: uint8(i + 1), Type: 1, Value: bytes.Repeat([]byte{byte(i)}, 48)})
	}
	f.fields = []Field{
		{opaqueVBIOS, []byte{0, 0x9f, 0, 0x96, 1, 0, 0, 0}}, {opaqueDriver, []byte("590.12\x00")}, {opaqueFWID, f.fwid},
		{opaqueProject, []byte("1010\x00")}, {opaqueProtectedPCIe, []byte{0x55}}, {opaqueVersion, []byte{1, 0}}, {opaqueFeature, []byte{0, 0}},
	}
	return f
}

func newKey(tb testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func compositeDevice(f *fake) pkix.Extension {
	spki, err := x509.MarshalPKIXPublicKey(&f.keys[1].PublicKey)
	if err != nil {
		f.tb.Fatal(err)
	}
	v, err := asn1.Marshal(struct {
		Version int
		Key     asn1.RawValue
		FWID    fwidElement
	}{1, asn1.RawValue{FullBytes: spki}, fwidElement{oidSHA384, f.fwid}})
	if err != nil {
		f.tb.Fatal(err)
	}
	return pkix.Extension{Id: oidCompositeDevice, Value: v}
}

// tcbInfo makes DiceTcbInfo with 32 flags.
func tcbInfo(flags uint32) func(f *fake) pkix.Extension {
	return func(f *fake) pkix.Extension {
		one, err := asn1.Marshal(fwidElement{oidSHA384, f.fwid})
		if err != nil {
			f.tb.Fatal(err)
		}
		two, _ := asn1.Marshal(fwidElement{oidSHA384, make([]byte, fwidSize)})
		body := []byte{0x80, 6, 'N', 'V', 'I', 'D', 'I', 'A', 0xA6, byte(len(one) + len(two))}
		body = append(append(body, one...), two...)
		body = binary.BigEndian.AppendUint32(append(body, 0x87, 5, 0), flags)
		v, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
		if err != nil {
			f.tb.Fatal(err)
		}
		return pkix.Extension{Id: oidDiceTCBInfo, Value: v}
	}
}

// build issues the certificates, root first.
func (f *fake) build() {
	f.templates[0].ExtraExtensions = append(f.templates[0].ExtraExtensions, f.ext(f))
	for i := chainLength - 1; i >= 0; i-- {
		parent, key := f.templates[i], f.keys[i]
		if i < posRoot {
			parent, key = f.certs[i+1], f.keys[i+1]
		}
		f.certs[i] = issue(f.tb, f.templates[i], parent, &f.keys[i].PublicKey, key)
	}
}

func issue(tb testing.TB, t, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// leaf builds what is not built and returns the evidence.
func (f *fake) leaf() []byte {
	f.tb.Helper()
	if f.certs[0] == nil {
		f.build()
	}
	return f.wrap(f.certs[:], f.report())
}

func (f *fake) report() []byte {
	msg := unsigned(f.nonce, f.blocks, f.fields)
	msg = append(msg, sign(f.tb, f.keys[0], msg)...)
	return append(msg, f.trail...)
}

func (f *fake) wrap(certs []*x509.Certificate, report []byte) []byte {
	m := map[string]any{
		"arch": f.arch, "nonce": hex.EncodeToString(f.nonce),
		"evidence": base64.StdEncoding.EncodeToString(report), "certificate": base64.StdEncoding.EncodeToString(pemText(certs)),
	}
	for k, v := range f.members {
		m[k] = v
	}
	return array(f.tb, m)
}

func pemText(certs []*x509.Certificate) []byte {
	var text bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return text.Bytes()
}

func array(tb testing.TB, elements ...any) []byte {
	tb.Helper()
	out, err := json.Marshal(elements)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func (f *fake) roots() verifiers.Deps {
	return verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {f.certs[posRoot]}}}
}

func sign(tb testing.TB, key *ecdsa.PrivateKey, msg []byte) []byte {
	tb.Helper()
	sum := sha512.Sum384(msg)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	out := make([]byte, SignatureSize)
	r.FillBytes(out[:SignatureSize/2])
	s.FillBytes(out[SignatureSize/2:])
	return out
}

// unsigned encodes request and response up to the signature.
func unsigned(nonce []byte, blocks []Block, fields []Field) []byte {
	var record, opaque []byte
	for _, b := range blocks {
		record = append(record, b.Index, specDMTF)
		record = binary.LittleEndian.AppendUint16(record, uint16(len(b.Value)+dmtfHeader))
		record = append(record, b.Type)
		record = binary.LittleEndian.AppendUint16(record, uint16(len(b.Value)))
		record = append(record, b.Value...)
	}
	for _, f := range fields {
		opaque = binary.LittleEndian.AppendUint16(opaque, f.Type)
		opaque = binary.LittleEndian.AppendUint16(opaque, uint16(len(f.Value)))
		opaque = append(opaque, f.Value...)
	}
	out := append([]byte{spdmVersion, getMeasure, 1, 0xFF}, nonce...)
	out = append(out, 0, spdmVersion, measurements, 0, 0, byte(len(blocks)), byte(len(record)), byte(len(record)>>8), byte(len(record)>>16))
	out = append(out, record...)
	out = append(out, bytes.Repeat([]byte{9}, NonceSize)...)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(opaque)))
	return append(out, opaque...)
}
