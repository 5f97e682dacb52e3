// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/testing/testdata"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// TestPinnedRoot compares the pinned root with the copy of go-tdx-guest and
// with the digest that Intel's root certificate has.
func TestPinnedRoot(t *testing.T) {
	const digest = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
	block, rest := pem.Decode([]byte(dcap.IntelRoot()))
	if block == nil || len(bytes.TrimSpace(rest)) != 0 {
		t.Fatal("pinned root is not one PEM certificate")
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(block.Bytes)); got != digest {
		t.Errorf("pinned root has SHA-256 %s, expected %s", got, digest)
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-tdx-guest").Output()
	if err != nil {
		t.Fatalf("the library's root cannot be compared: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "verify", "trusted_root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if theirs, _ := pem.Decode(raw); theirs == nil || !bytes.Equal(theirs.Bytes, block.Bytes) {
		t.Error("pinned root differs from the library's")
	}
}

func expectRejected(t *testing.T, what string, a verdict.Appraisal, code string) {
	t.Helper()
	if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || !hasReason(a, code) || a.Claims != nil || a.NonceSeen != nil {
		t.Errorf("%s: %v %v, expected %s", what, a.Vector, a.Reasons, code)
	}
}

// at16 and at32 overwrite a number in a copy of a quote.
func at16(raw []byte, off int, v uint16) []byte {
	out := bytes.Clone(raw)
	binary.LittleEndian.PutUint16(out[off:], v)
	return out
}

func at32(raw []byte, off int, v uint32) []byte {
	out := bytes.Clone(raw)
	binary.LittleEndian.PutUint32(out[off:], v)
	return out
}

func TestMalformed(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	v4, v5 := sampleV4(), testdata.RawQuoteV5
	const sig4, sig5 = dcap.HeaderSize + dcap.SizeTD10, dcap.HeaderSize + dcap.DescriptorSize + dcap.SizeTD15
	sgx := at32(at16(v4, 0, 3), 4, 0)
	cases := map[string][]byte{
		"empty":                        {},
		"one byte":                     {4},
		"TDREPORT":                     append([]byte{0x81}, make([]byte, 1023)...),
		"version 2":                    at16(v4, 0, 2),
		"version 6":                    at16(v4, 0, 6),
		"key type 3":                   at16(v4, 2, 3),
		"TEE type 1":                   at32(v4, 4, 1),
		"body type 1":                  at16(v5, 48, 1),
		"body type 4":                  at16(v5, 48, 4),
		"body type and size disagree":  at16(v5, 48, uint16(dcap.BodyTD10)),
		"body size":                    at32(v5, 50, dcap.SizeTD15+1),
		"body size huge":               at32(v5, 50, 1<<32-1),
		"library panic: length 0":      at32(v4, sig4, 0),
		"library panic: auth size":     at16(v4, sig4+4+128+6+384+64, 65535),
		"library panic: v5 length":     at32(v5, sig5, 1<<32-1),
		"signature data short":         at32(v4, sig4, 4298),
		"signature data long":          at32(v4, sig4, 4300),
		"outer certification type 5":   at16(v4, sig4+4+128, 5),
		"outer certification size":     at32(v4, sig4+4+128+2, 4164),
		"inner certification type 1":   at16(v4, sig4+4+128+6+384+64+2+32, 1),
		"inner certification size":     at32(v4, sig4+4+128+6+384+64+2+32+2, 3676),
		"inner certification size big": at32(v4, sig4+4+128+6+384+64+2+32+2, 3678),
	}
	for name, raw := range cases {
		expectRejected(t, name, appraise(t, v, raw, nil, at("2026-03-01")), verdict.ReasonMalformed)
	}
	for name, raw := range map[string][]byte{"SGX quote": sgx, "TEE type 0": at32(v4, 4, 0)} {
		expectRejected(t, name, appraise(t, v, raw, nil, at("2026-03-01")), verdict.ReasonUnsupported)
	}
	for n := 0; n < len(v5); n += 64 {
		if q, _ := parseQuote(v5); n >= len(v5)-q.Padding {
			break // only padding is cut off
		}
		expectRejected(t, fmt.Sprintf("cut at %d", n), appraise(t, v, v5[:n], nil, at("2026-03-01")), verdict.ReasonMalformed)
	}
	if _, err := parseQuote(cases["inner certification size"]); err == nil || !strings.Contains(err.Error(), "1 bytes behind") {
		t.Errorf("a byte behind the certification data: %v", err)
	}
	if a := appraise(t, v, sgx, nil, at("2026-03-01")); !strings.Contains(a.Reasons[0].Detail, "SGX") {
		t.Errorf("an SGX quote is not called one: %v", a.Reasons)
	}
}

// TestEveryBitCounts flips every byte of a good quote and asks for an
// appraisal: none may be better than that of the quote, and none affirming.
func TestEveryBitCounts(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	v := newTest(t, m.deps(bundle(t, m.Collateral())))
	flipAll(t, v, raw, m.Now)
}

func TestEveryBitOfRecordedQuoteCounts(t *testing.T) {
	raw := vectors.Read(t, "tdx/dcap-qvl/tdx_quote")
	v := newTest(t, verifiers.Deps{Endorsements: bundle(t, vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json"))})
	flipAll(t, v, raw, at("2025-07-01"))
}

func flipAll(t *testing.T, v *verifier, raw []byte, now time.Time) {
	t.Helper()
	nonce := reportDataOf(t, raw)
	good := appraise(t, v, raw, nonce, now)
	if good.Vector[verdict.Hardware] != 2 {
		t.Fatalf("the unchanged quote is not good: %v", good.Reasons)
	}
	q, _ := parseQuote(raw)
	chainAt := bytes.Index(raw, q.Chain)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x01
		a := appraise(t, v, bad, nonce, now)
		if good.Status().WorseThan(a.Status()) || a.Status() == verdict.TierAffirming {
			t.Fatalf("byte %d flipped: %s, before %s", i, a.Status(), good.Status())
		}
		// White space and names of the PEM armour are the only bytes that
		// nothing signs.
		inChain := i >= chainAt && i < chainAt+len(q.Chain)
		if a.Status() != verdict.TierContraindicated && !inChain {
			t.Errorf("byte %d flipped: %s, nothing noticed", i, a.Status())
		}
	}
}

func TestSignatureFailures(t *testing.T) {
	base := newMachine(t)
	good := base.Quote()
	v := newTest(t, base.deps(nil))
	const sig = dcap.HeaderSize + dcap.DescriptorSize + dcap.SizeTD15 + 4
	zeroed := func(off, n int) []byte {
		raw := bytes.Clone(good)
		clear(raw[off : off+n])
		return raw
	}
	mutated := func(off int) []byte {
		raw := bytes.Clone(good)
		raw[off] ^= 0x80
		return raw
	}
	order := func(off int) []byte {
		raw := bytes.Clone(good)
		elliptic.P256().Params().N.FillBytes(raw[off : off+32])
		return raw
	}
	filled := func(off, n int) []byte {
		raw := bytes.Clone(good)
		copy(raw[off:], bytes.Repeat([]byte{0xff}, n))
		return raw
	}
	for name, raw := range map[string][]byte{
		"body":           mutated(54 + 136),
		"header":         mutated(30),
		"r is zero":      zeroed(sig, 32),
		"s is zero":      zeroed(sig+32, 32),
		"key":            mutated(sig + 64),
		"key zero":       zeroed(sig+64, 64),
		"QE report":      mutated(sig + 128 + 6),
		"QE signature":   mutated(sig + 128 + 6 + 384),
		"QE auth data":   mutated(sig + 128 + 6 + 384 + 64 + 2),
		"QE report r,s":  zeroed(sig+128+6+384, 64),
		"r is the order": order(sig),
		"s is the order": order(sig + 32),
		"r is above":     filled(sig, 32),
		"s is above":     filled(sig+32, 32),
		"QE r is above":  filled(sig+128+6+384, 32),
		"QE s is above":  filled(sig+128+6+384+32, 32),
	} {
		expectRejected(t, name, appraise(t, v, raw, nil, base.Now), verdict.ReasonSignatureInvalid)
	}
	t.Run("upper half of QE report data", func(t *testing.T) {
		m := newMachine(t)
		raw := m.Quote()
		off := sig + 128 + 6
		raw[off+383] = 1
		copy(raw[off+384:], m.Sign(m.PCK.Key, raw[off:off+384]))
		expectRejected(t, "nonzero", appraise(t, newTest(t, m.deps(nil)), raw, nil, m.Now), verdict.ReasonSignatureInvalid)
	})
}

func TestChains(t *testing.T) {
	cases := []struct {
		name string
		set  func(*machine)
		code string
	}{
		{"root left out", func(m *machine) { m.Chain = dcaptest.PEM(m.PCK.Cert, m.CA.Cert) }, ""},
		{"zero bytes behind", func(m *machine) { m.Chain = append(dcaptest.PEM(m.PCK.Cert, m.CA.Cert, m.Root.Cert), 0, 0) }, ""},
		{"foreign root", func(m *machine) {
			m.Chain = dcaptest.PEM(m.PCK.Cert, m.CA.Cert, newMachine(m.TB).Root.Cert)
		}, verdict.ReasonUnknownRoot},
		{"foreign chain", func(m *machine) {
			o := newMachine(m.TB)
			o.Quote()
			m.PCK = o.PCK
			m.Chain = dcaptest.PEM(o.PCK.Cert, o.CA.Cert)
		}, verdict.ReasonChainInvalid},
		{"foreign CA", func(m *machine) {
			m.PCK = m.Issue(dcaptest.PCK, false, m.Issue(dcaptest.PlatformCA, true, newMachine(m.TB).Root), m.SGXExtension())
		}, verdict.ReasonChainInvalid},
		{"leaf is the CA", func(m *machine) { m.PCK, m.Chain = m.CA, dcaptest.PEM(m.CA.Cert, m.Root.Cert) }, verdict.ReasonChainInvalid},
		{"leaf is TCB signing", func(m *machine) { m.PCK, m.Chain = m.TCBSign, dcaptest.PEM(m.TCBSign.Cert, m.Root.Cert) }, verdict.ReasonChainInvalid},
		{"CA is a leaf", func(m *machine) {
			mid := m.Issue(dcaptest.PlatformCA, false, m.Root)
			m.PCK = m.Issue(dcaptest.PCK, false, mid, m.SGXExtension())
			m.Chain = dcaptest.PEM(m.PCK.Cert, mid.Cert, m.Root.Cert)
		}, verdict.ReasonChainInvalid},
		{"CA of another name", func(m *machine) {
			mid := m.Issue("Intel SGX PCK Other CA", true, m.Root)
			m.PCK = m.Issue(dcaptest.PCK, false, mid, m.SGXExtension())
			m.Chain = dcaptest.PEM(m.PCK.Cert, mid.Cert, m.Root.Cert)
		}, verdict.ReasonChainInvalid},
		{"leaf of another name", func(m *machine) { m.PCK = m.Issue("Some Certificate", false, m.CA, m.SGXExtension()) }, verdict.ReasonChainInvalid},
		{"leaf is a CA", func(m *machine) { m.PCK = m.Issue(dcaptest.PCK, true, m.CA, m.SGXExtension()) }, verdict.ReasonChainInvalid},
		{"no SGX extension", func(m *machine) { m.PCK = m.Issue(dcaptest.PCK, false, m.CA) }, verdict.ReasonChainInvalid},
		{"order", func(m *machine) { m.Chain = dcaptest.PEM(m.Root.Cert, m.CA.Cert, m.PCK.Cert) }, verdict.ReasonUnknownRoot},
		{"idle certificate", func(m *machine) { m.Chain = dcaptest.PEM(m.PCK.Cert, m.TCBSign.Cert, m.CA.Cert, m.Root.Cert) }, verdict.ReasonChainInvalid},
		{"too many", func(m *machine) {
			m.Chain = dcaptest.PEM(m.PCK.Cert, m.CA.Cert, m.CA.Cert, m.CA.Cert, m.Root.Cert)
		}, verdict.ReasonMalformed},
		{"text between", func(m *machine) {
			m.Chain = append(dcaptest.PEM(m.PCK.Cert), append([]byte("hello\n"), dcaptest.PEM(m.CA.Cert, m.Root.Cert)...)...)
		}, verdict.ReasonMalformed},
		{"root altered", func(m *machine) {
			altered := bytes.Clone(m.Root.Cert.Raw)
			altered[len(altered)-1] ^= 1 // its signature
			m.Chain = append(dcaptest.PEM(m.PCK.Cert, m.CA.Cert), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: altered})...)
		}, verdict.ReasonChainInvalid},
		{"root alone", func(m *machine) { m.PCK, m.Chain = m.Root, dcaptest.PEM(m.Root.Cert) }, verdict.ReasonChainInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.Quote() // makes the PCK
			c.set(m)
			a := appraise(t, newTest(t, m.deps(nil)), m.Quote(), nil, m.Now)
			if c.code == "" {
				if a.Status() != verdict.TierWarning {
					t.Errorf("%v %v", a.Vector, a.Reasons)
				}
				return
			}
			expectRejected(t, c.name, a, c.code)
		})
	}
}

// TestCollateralFlips changes collateral bytes here and there: no changed set
// makes the hardware affirming.
func TestCollateralFlips(t *testing.T) {
	raw := vectors.Read(t, "tdx/dcap-qvl/tdx_quote")
	var fields map[string]string
	if err := json.Unmarshal(vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json"), &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		// The copy of the root in a chain is never used: the trusted one is.
		signed := len(value)
		if n := strings.Index(value, "-----END"); n >= 0 {
			signed = n
		}
		for i := 0; i < signed; i += 1 + len(value)/23 {
			c := []byte(value)
			switch c[i] {
			case '0':
				c[i] = '1'
			case '\n', '-', ' ':
				continue // PEM armour
			default:
				c[i] = '0'
			}
			fields[name] = string(c)
			file, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			fields[name] = value
			v := newTest(t, verifiers.Deps{Endorsements: loose(t, file)})
			if a := appraise(t, v, raw, nil, at("2025-07-01")); a.Vector[verdict.Hardware] == 2 {
				t.Errorf("%s byte %d changed: hardware affirming", name, i)
			}
		}
	}
}

// TestConcurrent is for the race detector: cold caches, many users.
func TestConcurrent(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	v := newTest(t, m.deps(bundle(t, m.Collateral())))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				a, err := v.Appraise(context.Background(), verifiers.Input{
					MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Time: m.Now})
				if err != nil || a.Vector[verdict.Hardware] != 2 {
					t.Errorf("%v %v", err, a.Reasons)
				}
			}
		})
	}
	wg.Wait()
}

func TestDeviceFact(t *testing.T) {
	m := newMachine(t)
	a := m.outcome(t)
	if want := []string{"intel-platform:" + strings.Repeat("00", 15) + "07"}; len(a.Facts.Device) != 1 || a.Facts.Device[0] != want[0] {
		t.Errorf("device %v", a.Facts.Device)
	}
	m = newMachine(t)
	m.PPID = make([]byte, 16)
	if a := m.outcome(t); a.Facts.Device != nil || a.Vector[verdict.Hardware] != 2 {
		t.Errorf("a PPID of zero identifies something: %v %v", a.Facts.Device, a.Reasons)
	}
}

func TestSchemeIsComplete(t *testing.T) {
	s := Scheme()
	if s.Name != "intel-tdx" || s.NonceSize != 64 || s.Class != verifiers.ClassCPU || len(s.Accepts) != 5 || len(s.Required) != 4 {
		t.Errorf("%+v", s)
	}
	if _, err := s.New(verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {nil}}}); err == nil {
		t.Error("a nil root is accepted")
	}
	if v, err := s.New(verifiers.Deps{}); err != nil || v == nil {
		t.Error(err)
	}
}

// TestSecondParser: a quote that the library reads differently, or cannot read
// without a panic, is malformed.
func TestSecondParser(t *testing.T) {
	v4, v5 := sampleV4(), testdata.RawQuoteV5
	q, err := parseQuote(v4)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(v4)
	changed[dcap.HeaderSize+520] ^= 1 // REPORTDATA
	const sig4 = dcap.HeaderSize + dcap.SizeTD10
	for name, raw := range map[string][]byte{
		"other field": changed, "other quote": v5,
		"panic": at16(v4, sig4+4+128+6+384+64, 65535),
	} {
		if err := q.crossCheck(raw); !errors.Is(err, errParsersDisagree) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := q.crossCheck(v4); err != nil {
		t.Error(err)
	}
}
