// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"
)

// at is the verification time of all tests.
var at = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

// device is a simulated device with keys of its own. Its bytes are made here
// from the layout of the standard, not by the code under test.
type device struct {
	version Version
	asym    BaseAsym
	hash    BaseHash
	meas    MeasurementHash
	slot    uint8
	flags   uint32
	multi   bool
	model   Model
	usage   KeyUsage
	opaque  byte
	large   bool
	noRoot  bool
	data    []byte // opaque data
	leaf    func(*x509.Certificate)

	key    crypto.Signer
	anchor *x509.Certificate
	vca    []byte
	chain  []byte
	nonce  []byte
	blocks []byte
	count  byte
}

var keys sync.Map // signature algorithm to key, because RSA keys are slow to make

func newKey(t testing.TB, a BaseAsym) crypto.Signer {
	t.Helper()
	if k, ok := keys.Load(a); ok {
		return k.(crypto.Signer)
	}
	var k crypto.Signer
	var err error
	switch a {
	case ECDSAP256:
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ECDSAP521:
		k, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case Ed25519:
		_, k, err = ed25519.GenerateKey(rand.Reader)
	case RSASSA2048, RSAPSS2048:
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case RSASSA3072, RSAPSS3072:
		k, err = rsa.GenerateKey(rand.Reader, 3072)
	default:
		k, err = rsa.GenerateKey(rand.Reader, 4096)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys.Store(a, k)
	return k
}

// newDevice makes a device of SPDM 1.2 with P-384, changed by opts.
func newDevice(t testing.TB, opts ...func(*device)) *device {
	t.Helper()
	d := &device{version: Version12, asym: ECDSAP384, hash: BaseSHA384, meas: MeasurementSHA384,
		flags: 1<<1 | 1<<2 | 2<<3 | 1<<5, model: ModelDevice, usage: 0x0F, opaque: 2}
	for _, o := range opts {
		o(d)
	}
	if d.multi {
		d.flags |= 2 << 26
	}
	d.key = newKey(t, d.asym)
	d.nonce = bytes.Repeat([]byte{0xA5}, NonceSize)
	d.makeVCA()
	d.makeChain(t)
	d.digestBlock(1, 0, []byte("rom"))
	d.digestBlock(2, 1, []byte("firmware"))
	d.rawBlock(0x10, 0x87, []byte{9, 0, 0, 0, 0, 0, 0, 0})
	d.rawBlock(0xFE, 0x85, []byte{4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0})
	return d
}

func le16(n int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(n)) }
func le32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

func (d *device) msg(code, p1, p2 byte, parts ...[]byte) []byte {
	return append([]byte{byte(d.version), code, p1, p2}, slices.Concat(parts...)...)
}

func (d *device) makeVCA() {
	v := slices.Concat([]byte{0x10, 0x84, 0, 0}, []byte{0x10, 4, 0, 0, 0, 2}, le16(0x1000), le16(int(d.version)<<8))
	caps := slices.Concat(make([]byte, 4), le32(int(d.flags)))
	if d.version >= Version12 {
		caps = append(caps, 0, 0x12, 0, 0, 0, 0x12, 0, 0)
	}
	if d.version == Version10 {
		v = append(v, d.msg(0xE1, 0, 0)...)
	} else {
		v = append(v, d.msg(0xE1, 0, 0, caps)...)
	}
	v = append(v, d.msg(0x61, 0, 0, caps)...)
	other := byte(0)
	if d.version >= Version12 {
		other = d.opaque
	}
	if d.multi {
		other |= 0x10
	}
	table, n := []byte{}, byte(0)
	if d.version >= Version11 {
		table, n = []byte{2, 0x20, 0x1B, 0, 3, 0x20, 6, 0}, 2
	}
	v = append(v, d.msg(0xE3, n, 0, le16(32+len(table)), []byte{1, other}, le32(int(d.asym|ECDSAP256)), le32(int(d.hash|BaseSHA256)), make([]byte, 16), table)...)
	if n == 2 {
		table = []byte{2, 0x20, 0x10, 0, 3, 0x20, 2, 0}
	}
	v = append(v, d.msg(0x63, n, 0, le16(36+len(table)), []byte{1, other}, le32(int(d.meas)), le32(int(d.asym)), le32(int(d.hash)), make([]byte, 16), table)...)
	d.vca = v
}

func seq(t testing.TB, tag int, class int, parts ...[]byte) []byte {
	t.Helper()
	b, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: slices.Concat(parts...)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func der(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sanOf is a subject alternative name with one otherName per pair.
func sanOf(t testing.TB, critical bool, names map[string]asn1.ObjectIdentifier) pkix.Extension {
	var all [][]byte
	for text, oid := range names {
		value := der(t, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(text)})
		all = append(all, seq(t, 0, asn1.ClassContextSpecific, der(t, oid), seq(t, 0, asn1.ClassContextSpecific, value)))
	}
	return pkix.Extension{Id: oidSAN, Critical: critical, Value: seq(t, asn1.TagSequence, asn1.ClassUniversal, all...)}
}

func spdmExt(t testing.TB, oid asn1.ObjectIdentifier) pkix.Extension {
	inner := seq(t, asn1.TagSequence, asn1.ClassUniversal, der(t, oid))
	return pkix.Extension{Id: oidExtension, Value: seq(t, asn1.TagSequence, asn1.ClassUniversal, inner)}
}

func template(name string, ca bool) *x509.Certificate {
	x := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: ca,
		NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature}
	if ca {
		x.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	return x
}

func issue(t testing.TB, x, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, x, parent, key, signer)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (d *device) makeChain(t testing.TB) {
	t.Helper()
	ca := newKey(t, ECDSAP256)
	x := template("root", true)
	d.anchor = issue(t, x, x, ca.Public(), ca)
	middle := issue(t, template("middle", true), d.anchor, newKey(t, ECDSAP384).Public(), ca)
	leaf := template("leaf", false)
	leaf.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidResponderAuth}
	leaf.ExtraExtensions = []pkix.Extension{sanOf(t, true, map[string]asn1.ObjectIdentifier{"ACME:WIDGET:1": oidDeviceInfo})}
	if d.model == ModelDevice {
		leaf.ExtraExtensions = append(leaf.ExtraExtensions, spdmExt(t, oidHardwareIdentity))
	}
	if d.leaf != nil {
		d.leaf(leaf)
	}
	l := issue(t, leaf, middle, d.key.Public(), newKey(t, ECDSAP384))
	body := slices.Concat(d.sum(d.anchor.Raw), d.anchor.Raw, middle.Raw, l.Raw)
	if d.noRoot {
		body = slices.Concat(d.sum(d.anchor.Raw), middle.Raw, l.Raw)
	}
	head := append(le16(4+len(body)), 0, 0)
	if d.version >= Version14 {
		head = le32(4 + len(body))
	}
	d.chain = append(head, body...)
}

func (d *device) sum(parts ...[]byte) []byte {
	f := map[BaseHash]crypto.Hash{BaseSHA256: crypto.SHA256, BaseSHA384: crypto.SHA384, BaseSHA512: crypto.SHA512,
		BaseSHA3256: crypto.SHA3_256, BaseSHA3384: crypto.SHA3_384, BaseSHA3512: crypto.SHA3_512}[d.hash]
	h := f.New()
	h.Write(slices.Concat(parts...))
	return h.Sum(nil)
}

func (d *device) digestBlock(index, kind byte, image []byte) {
	f := map[MeasurementHash]crypto.Hash{MeasurementSHA256: crypto.SHA256, MeasurementSHA384: crypto.SHA384, MeasurementSHA512: crypto.SHA512,
		MeasurementSHA3256: crypto.SHA3_256, MeasurementSHA3384: crypto.SHA3_384, MeasurementSHA3512: crypto.SHA3_512}[d.meas]
	h := f.New()
	h.Write(image)
	d.rawBlock(index, kind, h.Sum(nil))
}

func (d *device) rawBlock(index, kind byte, value []byte) {
	d.blocks = append(d.blocks, block(index, kind, value)...)
	d.count++
}

func block(index, kind byte, value []byte) []byte {
	return slices.Concat([]byte{index, 1}, le16(len(value)+3), []byte{kind}, le16(len(value)), value)
}

// sign signs a transcript as the standard says, with an own prefix.
func (d *device) sign(t testing.TB, context string, transcript []byte) []byte {
	t.Helper()
	th := d.sum(transcript)
	message, digest := th, th
	if d.version >= Version12 {
		p := bytes.Repeat([]byte(fmt.Sprintf("dmtf-spdm-v%d.%d.*", d.version>>4, d.version&15)), 4)
		p = append(append(p, make([]byte, 36-len(context))...), context...)
		message = append(p, th...)
		digest = d.sum(message)
	}
	f, _ := d.hash.Hash()
	switch k := d.key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			t.Fatal(err)
		}
		n := (k.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = f
		if d.asym == RSAPSS2048 || d.asym == RSAPSS3072 || d.asym == RSAPSS4096 {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: f}
		}
		sig, err := k.Sign(rand.Reader, digest, opts)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	default:
		sig, err := d.key.Sign(rand.Reader, message, crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
}

func (d *device) context() []byte {
	if d.version < Version13 {
		return nil
	}
	return []byte{1, 2, 3, 4, 5, 6, 7, 8}
}

func (d *device) getMeasurements(attributes, op byte, nonce []byte) []byte {
	var tail []byte
	if attributes&1 != 0 {
		tail = slices.Clone(nonce)
		if d.version >= Version11 {
			tail = append(tail, d.slot)
		}
	}
	return d.msg(0xE0, attributes, op, tail, d.context())
}

// unsigned is a MEASUREMENTS response up to its signature.
func (d *device) unsigned(count byte, record []byte) []byte {
	p2 := byte(0)
	if d.version >= Version11 {
		p2 = d.slot
	}
	if d.version >= Version12 {
		p2 |= 0x20
	}
	length := []byte{byte(len(record)), byte(len(record) >> 8), byte(len(record) >> 16)}
	nonce := sha256.Sum256([]byte("responder"))
	return d.msg(0x60, 0, p2, []byte{count}, length, record, nonce[:], le16(len(d.data)), d.data, d.context())
}

// measured signs M, which is everything before the signature.
func (d *device) measured(t testing.TB, m ...[]byte) []byte {
	t.Helper()
	all := slices.Concat(m...)
	l1 := all
	if d.version >= Version12 {
		l1 = slices.Concat(d.vca, all)
	}
	return append(all, d.sign(t, "responder-measurements signing", l1)...)
}

func (d *device) measurements(t testing.TB) []byte {
	return d.measured(t, d.getMeasurements(1, 0xFF, d.nonce), d.unsigned(d.count, d.blocks))
}

func (d *device) digests() []byte {
	mask, tail, p1 := byte(1)<<d.slot, []byte{}, byte(0)
	if d.multi {
		tail = append([]byte{5, byte(d.model)}, le16(int(d.usage))...)
	}
	if d.version >= Version13 {
		p1 = mask
	}
	return d.msg(1, p1, mask, d.sum(d.chain), tail)
}

// certificates reads the chain in two portions.
func (d *device) certificates() []byte {
	half := len(d.chain) / 2
	read := func(from, to int) []byte {
		if d.large {
			return slices.Concat(d.msg(0x82, 0x80|d.slot, 0, make([]byte, 4), le32(from), le32(0xFFFF)),
				d.msg(2, 0x80|d.slot, byte(d.model), make([]byte, 4), le32(to-from), le32(len(d.chain)-to), d.chain[from:to]))
		}
		return slices.Concat(d.msg(0x82, d.slot, 0, le16(from), le16(0xFFFF)),
			d.msg(2, d.slot, byte(d.model), le16(to-from), le16(len(d.chain)-to), d.chain[from:to]))
	}
	return slices.Concat(read(0, half), read(half, len(d.chain)))
}

func (d *device) challenge(t testing.TB, b []byte) []byte {
	t.Helper()
	c := slices.Concat(b, d.msg(0x83, d.slot, 0xFF, d.nonce, d.context()),
		d.msg(3, d.slot, 1<<d.slot, d.sum(d.chain), bytes.Repeat([]byte{0x77}, 32), d.sum(d.blocks), le16(len(d.data)), d.data, d.context()))
	return append(c, d.sign(t, "responder-challenge_auth signing", slices.Concat(d.vca, c))...)
}

func (d *device) evidence(t testing.TB) *Evidence {
	t.Helper()
	b := slices.Concat(d.msg(0x81, 0, 0), d.digests(), d.certificates())
	return &Evidence{Device: "sim", Nonce: d.nonce, VCA: d.vca, Chains: map[uint8][]byte{d.slot: d.chain},
		Measurements: d.measurements(t), Challenge: d.challenge(t, b)}
}

func (d *device) expect() Expect {
	return Expect{Anchors: []Anchor{{d.anchor, 1 << d.slot}}, Time: at, Nonce: d.nonce, ChallengeNonce: d.nonce}
}

func slotOf(n uint8) func(*device)      { return func(d *device) { d.slot = n } }
func versionOf(v Version) func(*device) { return func(d *device) { d.version = v } }
func leafWith(f func(*x509.Certificate)) func(*device) {
	return func(d *device) { d.leaf = f }
}
