// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers"
)

// now is a time at which everything that the tests make is valid.
var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// ca is an authority of the tests.
type ca struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// testPKI is an AMD of its own, with smaller keys, which are made faster.
type testPKI struct{ ark, ask, asvk ca }

func newPKI(line string) *testPKI {
	p := &testPKI{}
	p.ark = authorityOf("ARK-"+line, 1, nil)
	p.ask = authorityOf("SEV-"+line, 2, &p.ark)
	p.asvk = authorityOf("SEV-VLEK-"+line, 3, &p.ark)
	return p
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func authorityOf(cn string, serial int64, by *ca) ca {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn}, NotBefore: now.AddDate(-3, 0, 0), NotAfter: now.AddDate(20, 0, 0),
		SignatureAlgorithm: x509.SHA384WithRSAPSS, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
	}
	parent, signer := t, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	raw := must(x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer))
	return ca{must(x509.ParseCertificate(raw)), key}
}

// The PKIs that tests share, and one that nobody trusts.
var (
	genoaPKI  = sync.OnceValue(func() *testPKI { return newPKI("Genoa") })
	turinPKI  = sync.OnceValue(func() *testPKI { return newPKI("Turin") })
	forgedPKI = sync.OnceValue(func() *testPKI { return newPKI("Genoa") })
)

// machine is one guest of the tests, of which everything can be wrong.
type machine struct {
	pki     *testPKI
	product product
	kind    keyKind
	name    string // product name in the certificate
	tcb     TCB
	hwid    []byte
	csp     string
	issuer  *ca
	key     *ecdsa.PrivateKey
	// cert may change the template, ext the extensions.
	cert func(*x509.Certificate)
	ext  func([]pkix.Extension) []pkix.Extension
	// edit changes the report before it is signed, after behind the signature.
	edit, after func([]byte)
	table       map[guid][]byte // nil: the whole chain
}

var chipOfTests = bytes.Repeat([]byte{0xc1, 0x42}, 32)

// keyOfTests is the endorsement key of all machines.
var keyOfTests = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })

func newMachine(change ...func(*machine)) *machine {
	p := genoaPKI()
	m := &machine{
		pki: p, product: productGenoa, kind: kindVCEK, name: "Genoa", tcb: TCB{BootLoader: 10, SNP: 24, Microcode: 84},
		hwid: chipOfTests, issuer: &p.ask, key: keyOfTests(),
	}
	for _, c := range change {
		c(m)
	}
	return m
}

func turin(m *machine) {
	p := turinPKI()
	m.pki, m.issuer, m.product, m.name = p, &p.ask, productTurin, "Turin"
	m.tcb, m.hwid = TCB{FMC: 1, BootLoader: 1, TEE: 1, SNP: 4, Microcode: 81}, chipOfTests[:8]
}

func vlek(m *machine) {
	m.kind, m.hwid, m.csp, m.issuer = kindVLEK, nil, "CN=cc-test.example.com", &m.pki.asvk
}

// vek issues the certificate of the endorsement key.
func (m *machine) vek() []byte {
	ia5 := func(s string) []byte { return must(asn1.MarshalWithParams(s, "ia5")) }
	ext := []pkix.Extension{{Id: oid(1), Value: must(asn1.Marshal(0))}, {Id: oid(2), Value: ia5(m.name)}}
	places := placesMilan
	if m.product == productTurin {
		places = placesTurin
	}
	b := m.tcb.bytes(m.product)
	for n, place := range places {
		ext = append(ext, pkix.Extension{Id: oid(3, n), Value: must(asn1.Marshal(int(b[place])))})
	}
	slices.SortFunc(ext, func(a, b pkix.Extension) int { return slices.Compare(a.Id, b.Id) })
	if m.hwid != nil {
		ext = append(ext, pkix.Extension{Id: oid(4), Value: m.hwid})
	}
	if m.csp != "" {
		ext = append(ext, pkix.Extension{Id: oid(5), Value: ia5(m.csp)})
	}
	if m.ext != nil {
		ext = m.ext(ext)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(0), Subject: pkix.Name{CommonName: "SEV-" + m.kind.String()}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(6, 0, 0),
		SignatureAlgorithm: x509.SHA384WithRSAPSS, ExtraExtensions: ext,
	}
	public := m.key.Public()
	if m.cert != nil {
		m.cert(t)
		if t.PublicKey != nil {
			public = t.PublicKey
		}
	}
	return must(x509.CreateCertificate(rand.Reader, t, m.issuer.cert, public, m.issuer.key))
}

func oid(arcs ...int) asn1.ObjectIdentifier { return append(slices.Clone(amdArc), arcs...) }

// report makes the signed report.
func (m *machine) report() []byte {
	b := make([]byte, reportSize)
	putU32(b, 3)
	b[0x08], b[0x0a] = 0x1f, 3 // ABI 0.31, SMT, bit 17
	putU32(b[0x34:], 1)
	b[0x40] = 0x25
	b[0x48] = byte(m.kind << 2)
	copy(b[0x50:], bytes.Repeat([]byte{0xda}, 64))
	copy(b[0x90:], bytes.Repeat([]byte{0x3e}, 48))
	copy(b[0x140:], bytes.Repeat([]byte{7}, 32))
	tcb := m.tcb.bytes(m.product)
	for _, at := range []int{0x38, 0x180, 0x1e0, 0x1f0} {
		copy(b[at:], tcb[:])
	}
	copy(b[0x188:], []byte{0x19, 0x11, 1})
	if m.product == productTurin {
		putU32(b, 5)
		copy(b[0x188:], []byte{0x1a, 0x02, 1})
		b[0x1f8], b[0x200] = 0x3f, 0x3f
	}
	copy(b[0x1a0:], m.hwid)
	copy(b[0x1e8:], []byte{40, 55, 1, 0, 40, 55, 1, 0})
	if m.edit != nil {
		m.edit(b)
	}
	sign(b, m.key)
	if m.after != nil {
		m.after(b)
	}
	return b
}

// sign puts R and S, little-endian, behind the report.
func sign(b []byte, key *ecdsa.PrivateKey) {
	digest := sha512.Sum384(b[:signedSize])
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	clear(b[signedSize:])
	for i, n := range []*big.Int{r, s} {
		le := n.FillBytes(make([]byte, scalarSize))
		slices.Reverse(le)
		copy(b[signedSize+i*halfSize:], le)
	}
}

// evidence is report and table.
func (m *machine) evidence() []byte {
	t := m.table
	if t == nil {
		id := guidVCEK
		if m.kind == kindVLEK {
			id = guidVLEK
		}
		t = map[guid][]byte{guidARK: m.pki.ark.cert.Raw, guidASK: m.issuer.cert.Raw, id: m.vek()}
	}
	return append(m.report(), tableOf(t)...)
}

func (m *machine) input() verifiers.Input {
	return verifiers.Input{Evidence: m.evidence(), Nonce: bytes.Repeat([]byte{0xda}, 64), Time: now}
}

// deps trust the test roots.
func deps(b *endorsements.Bundle) verifiers.Deps {
	return verifiers.Deps{
		Endorsements: b,
		ExtraRoots:   map[string][]*x509.Certificate{Name: {genoaPKI().ark.cert, turinPKI().ark.cert}},
	}
}

// bundle loads collateral.
func bundle(tb testing.TB, files ...[]byte) *endorsements.Bundle {
	tb.Helper()
	fsys := fstest.MapFS{}
	for i, f := range files {
		fsys[string(rune('a'+i))] = &fstest.MapFile{Data: f}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) != 0 {
		tb.Fatalf("load: %v %v", err, warnings)
	}
	return b
}

// list makes a revocation list.
func list(by *ca, from, to time.Time, change func(*x509.RevocationList), serials ...int64) []byte {
	t := &x509.RevocationList{Number: big.NewInt(1), SignatureAlgorithm: x509.SHA384WithRSAPSS, ThisUpdate: from, NextUpdate: to}
	for _, s := range serials {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: from})
	}
	if change != nil {
		change(t)
	}
	return must(x509.CreateRevocationList(rand.Reader, t, by.cert, by.key))
}

func asPEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
