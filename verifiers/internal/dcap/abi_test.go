// SPDX-License-Identifier: Apache-2.0

package dcap_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// form is one form of quotes.
type form struct {
	name    string
	tee     dcap.TEE
	version int
	body    dcap.BodyType
}

var forms = []form{
	{"SGX 3", dcap.SGX, 3, dcap.BodySGX},
	{"SGX 4", dcap.SGX, 4, dcap.BodySGX},
	{"SGX 5", dcap.SGX, 5, dcap.BodySGX},
	{"TDX 4", dcap.TDX, 4, dcap.BodyTD10},
	{"TDX 5, body 1.0", dcap.TDX, 5, dcap.BodyTD10},
	{"TDX 5, body 1.5", dcap.TDX, 5, dcap.BodyTD15},
}

func (f form) machine(tb testing.TB) *dcaptest.Machine {
	m := dcaptest.New(tb, rand.Reader, f.tee)
	m.Version, m.BodyType = f.version, f.body
	return m
}

func tdx(tb testing.TB) *dcaptest.Machine { return dcaptest.New(tb, rand.Reader, dcap.TDX) }

// verifier trusts the machine's root.
func verifier(tb testing.TB, m *dcaptest.Machine, b *endorsements.Bundle) *dcap.Verifier {
	tb.Helper()
	v, err := dcap.NewVerifier([]*x509.Certificate{m.Root.Cert}, b, m.TEE)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func parse(tb testing.TB, raw []byte) *dcap.Quote {
	tb.Helper()
	q, err := dcap.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

// judge verifies a quote of the machine and judges it with its collateral.
func judge(tb testing.TB, m *dcaptest.Machine) *dcap.Judgement {
	tb.Helper()
	q := parse(tb, m.Quote())
	v := verifier(tb, m, bundle(tb, m.Collateral()))
	p, key, f := v.VerifyQuote(q)
	if f != nil {
		tb.Fatal(f)
	}
	if spki, err := x509.MarshalPKIXPublicKey(key); err != nil || !bytes.Equal(q.SPKI(), spki) {
		tb.Fatalf("SubjectPublicKeyInfo %x, expected %x (%v)", q.SPKI(), spki, err)
	}
	return v.Judge(q, p, m.Now, 0)
}

// TestForms: every form is read, verifies, and is up to date.
func TestForms(t *testing.T) {
	for _, c := range forms {
		m := c.machine(t)
		raw := m.Quote()
		q := parse(t, raw)
		if q.Version != c.version || q.TEE != c.tee || q.BodyType != c.body || q.Padding != 0 || !bytes.Equal(q.Body, m.Body[:len(q.Body)]) ||
			!bytes.Equal(q.QEReport, m.QE[:]) || !bytes.Equal(q.QEAuth, m.QEAuth) || !bytes.HasPrefix(raw, q.Signed) {
			t.Errorf("%s: %+v", c.name, q)
		}
		rd := q.Enclave()
		if c.tee == dcap.TDX && !bytes.Equal(q.TD().ReportData(), m.ReportData()) || c.tee == dcap.SGX && !bytes.Equal(rd.ReportData(), m.ReportData()) {
			t.Errorf("%s: other report data", c.name)
		}
		if j := judge(t, m); j.TCB == nil || j.TCB.Status != dcap.UpToDate || j.Revoked != "" {
			t.Errorf("%s: %s", c.name, j)
		}
		if need := dcap.Needs(raw, c.tee); len(need) != 1 || need[0].FMSPC != dcaptest.FMSPC || need[0].CA != "platform" ||
			need[0].Kind != map[dcap.TEE]endorsements.NeedKind{dcap.SGX: endorsements.NeedIntelSGX, dcap.TDX: endorsements.NeedIntelTDX}[c.tee] {
			t.Errorf("%s: needs %v", c.name, need)
		}
		if dcap.Needs(raw, c.tee^dcap.TDX) != nil || dcap.Needs(raw[:len(raw)-1], c.tee) != nil {
			t.Errorf("%s: needs for what is none", c.name)
		}
	}
}

// TestEveryTruncation: no quote is shorter than its lengths say, wherever it is cut,
// and nothing but zero bytes may follow.
func TestEveryTruncation(t *testing.T) {
	for _, c := range forms {
		raw := c.machine(t).Quote()
		for n := range raw {
			if _, err := dcap.Parse(raw[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes are a quote", c.name, n, len(raw))
			}
		}
		if _, err := dcap.Parse(append(bytes.Clone(raw), 0, 1)); err == nil {
			t.Errorf("%s: a byte behind the quote", c.name)
		}
		if q := parse(t, append(bytes.Clone(raw), 0, 0)); q.Padding != 2 {
			t.Errorf("%s: %d bytes of padding", c.name, q.Padding)
		}
		if _, err := dcap.Parse(append(bytes.Clone(raw), make([]byte, dcap.MaxQuote)...)); err == nil {
			t.Errorf("%s: larger than the largest quote", c.name)
		}
	}
}

// TestStructure changes one number of each form.
func TestStructure(t *testing.T) {
	for _, c := range forms {
		raw := c.machine(t).Quote()
		q := parse(t, raw)
		sig := len(q.Signed) // the length of the signature data
		data := sig + 4 + 128
		qe := data
		if c.version > 3 {
			qe += 6
		}
		auth := qe + dcap.SizeSGX + 64
		inner := auth + 2 + len(q.QEAuth)
		type edit struct {
			off   int
			value []byte
		}
		le16 := func(n uint16) []byte { return binary.LittleEndian.AppendUint16(nil, n) }
		le32 := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
		edits := map[string]edit{
			"version 2": {0, le16(2)}, "version 6": {0, le16(6)}, "version 65535": {0, le16(65535)},
			"key type 3": {2, le16(3)}, "key type 0": {2, le16(0)},
			"TEE type 1": {4, le32(1)}, "TEE type of the other": {4, le32(uint32(c.tee ^ dcap.TDX))}, "TEE type huge": {4, le32(0x81000081)},
			"vendor":           {12, []byte{0}},
			"signature data 0": {sig, le32(0)}, "signature data huge": {sig, le32(1<<32 - 1)},
			"signature data short": {sig, le32(uint32(len(raw) - sig - 5))}, "signature data long": {sig, le32(uint32(len(raw) - sig - 3))},
			"auth data 65535": {auth, le16(65535)}, "auth data short": {auth, le16(31)},
			"inner size 0": {inner + 2, le32(0)}, "inner size huge": {inner + 2, le32(1<<32 - 1)}, "inner size short": {inner + 2, le32(uint32(len(q.Chain) - 1))},
		}
		for _, typ := range []uint16{0, 1, 2, 3, 4, 6, 7} {
			edits[fmt.Sprintf("inner type %d", typ)] = edit{inner, le16(typ)}
		}
		if c.version > 3 {
			edits["outer type 5"] = edit{data, le16(5)}
			edits["outer size short"] = edit{data + 2, le32(uint32(len(raw) - data - 7))}
			edits["outer size huge"] = edit{data + 2, le32(1<<32 - 1)}
		}
		if c.version == 5 {
			for _, typ := range []dcap.BodyType{0, 1, 2, 3, 4} {
				if typ != c.body {
					edits[fmt.Sprintf("body type %d", typ)] = edit{48, le16(uint16(typ))}
				}
			}
			edits["body size"], edits["body size huge"] = edit{50, le32(uint32(len(q.Body) + 1))}, edit{50, le32(1<<32 - 1)}
		}
		for name, e := range edits {
			bad := bytes.Clone(raw)
			copy(bad[e.off:], e.value)
			if _, err := dcap.Parse(bad); err == nil {
				t.Errorf("%s: %s is accepted", c.name, name)
			}
		}
	}
	if _, err := dcap.Parse(append([]byte{0x81}, make([]byte, 1023)...)); err == nil || !strings.Contains(err.Error(), "TDREPORT") {
		t.Errorf("a TDREPORT: %v", err)
	}
	old := tdx(t)
	old.Version, old.BodyType = 3, dcap.BodyTD10
	if _, err := dcap.Parse(old.Quote()); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("a TD in format 3: %v", err)
	}
	empty := tdx(t)
	empty.Chain = []byte{}
	if _, err := dcap.Parse(empty.Quote()); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("no chain: %v", err)
	}
}

// TestEveryByteIsSigned: whichever byte of a quote is flipped, it does not verify,
// except in the white space and names of the PEM armour, which nobody signs.
func TestEveryByteIsSigned(t *testing.T) {
	for _, c := range []form{forms[0], forms[2], forms[5]} {
		m := c.machine(t)
		raw := m.Quote()
		v := verifier(t, m, nil)
		q := parse(t, raw)
		chain := bytes.Index(raw, q.Chain)
		for i := range raw[:chain] {
			bad := bytes.Clone(raw)
			bad[i] ^= 1
			q, err := dcap.Parse(bad)
			if err != nil {
				continue
			}
			if _, _, f := v.VerifyQuote(q); f == nil {
				t.Fatalf("%s: byte %d flipped, and it verifies", c.name, i)
			}
		}
	}
}
