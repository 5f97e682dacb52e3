// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"slices"
	"testing"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// offsets of the parts of a quote.
type offsets struct{ body, length, signature, key, qe, qeSig, auth, cert int }

func offsetsOf(raw []byte) offsets {
	o := offsets{body: 48}
	if raw[0] == 5 {
		o.body = 54
	}
	o.length = o.body + 384
	o.signature = o.length + 4
	o.key = o.signature + 64
	o.qe = o.key + 64
	if raw[0] > 3 {
		o.qe += 6
	}
	o.qeSig = o.qe + 384
	o.auth = o.qeSig + 64
	o.cert = o.auth + 2 + int(binary.LittleEndian.Uint16(raw[o.auth:]))
	return o
}

var forms = map[string]sim.Quote{"v3": sim.V3, "v4": sim.V4, "v5": sim.V5}

// eachForm runs a test for every form of quotes.
func eachForm(t *testing.T, f func(t *testing.T, m machine, v *verifier, o offsets)) {
	for name, q := range forms {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, func(o *sim.Options) { o.Quote = q })
			f(t, m, newTest(t, m.deps()), offsetsOf(m.raw))
		})
	}
}

// TestStructure: whatever does not have the form of a quote proves nothing.
func TestStructure(t *testing.T) {
	u16, u32 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32
	eachForm(t, func(t *testing.T, m machine, v *verifier, o offsets) {
		for name, change := range map[string]func(raw []byte) []byte{
			"version 2":            func(r []byte) []byte { u16(r, 2); return r },
			"version 6":            func(r []byte) []byte { u16(r, 6); return r },
			"key type 3":           func(r []byte) []byte { u16(r[2:], 3); return r },
			"TEE type 1":           func(r []byte) []byte { u32(r[4:], 1); return r },
			"TEE type of TDX":      func(r []byte) []byte { u32(r[4:], 0x81); return r },
			"other QE vendor":      func(r []byte) []byte { r[12] ^= 1; return r },
			"no signature data":    func(r []byte) []byte { u32(r[o.length:], 0); return r },
			"endless signature":    func(r []byte) []byte { u32(r[o.length:], 0xffffffff); return r },
			"short signature data": func(r []byte) []byte { u32(r[o.length:], 127); return r },
			"long signature data":  func(r []byte) []byte { u32(r[o.length:], uint32(len(r))); return r },
			"QE auth 65535":        func(r []byte) []byte { u16(r[o.auth:], 65535); return r },
			"certificate type 1":   func(r []byte) []byte { u16(r[o.cert:], 1); return r },
			"certificate type 3":   func(r []byte) []byte { u16(r[o.cert:], 3); return r },
			"certificate type 4":   func(r []byte) []byte { u16(r[o.cert:], 4); return r },
			"certificate type 6":   func(r []byte) []byte { u16(r[o.cert:], 6); return r },
			"no chain":             func(r []byte) []byte { u32(r[o.cert+2:], 0); return r },
			"chain is no PEM":      func(r []byte) []byte { r[o.cert+6] = 'x'; return r },
			"trailing byte":        func(r []byte) []byte { return append(r, 1) },
			"empty":                func([]byte) []byte { return nil },
			"too large":            func(r []byte) []byte { return append(r, make([]byte, dcap.MaxQuote)...) },
			"five certificates":    func(r []byte) []byte { return withChain(r, o, 2) },
		} {
			a := appraise(t, v, change(bytes.Clone(m.raw)), now, nil)
			if code := a.Reasons[0].Code; code != verdict.ReasonMalformed && (name != "TEE type of TDX" || code != verdict.ReasonUnsupported) {
				t.Errorf("%s: %v", name, a.Reasons)
				continue
			}
			expectRejected(t, name, a, a.Reasons[0].Code)
		}
		for n := range m.raw {
			expectRejected(t, fmt.Sprintf("truncated to %d", n), appraise(t, v, m.raw[:n], now, nil), verdict.ReasonMalformed)
		}
		if a := appraise(t, v, append(bytes.Clone(m.raw), make([]byte, 100)...), now, nil); a.Vector[verdict.Hardware] != 2 || a.Claims["padding_bytes"] != 100 {
			t.Errorf("zeros behind a quote: %v %v", a.Vector, a.Reasons)
		}
	})
}

// withChain repeats the root certificate at the end of the chain.
func withChain(raw []byte, o offsets, times int) []byte {
	chain := bytes.TrimRight(raw[o.cert+6:], "\x00")
	last := chain[bytes.LastIndex(chain, []byte("-----BEGIN")):]
	return replaceChain(raw, o, append(bytes.Clone(chain), bytes.Repeat(last, times)...))
}

// replaceChain puts another chain into a quote, which nobody signed.
func replaceChain(raw []byte, o offsets, chain []byte) []byte {
	out := append(bytes.Clone(raw[:o.cert+6]), chain...)
	grown := uint32(len(chain)) - binary.LittleEndian.Uint32(raw[o.cert+2:])
	for _, at := range []int{o.length, o.cert + 2, o.qe - 4} {
		if at != o.qe-4 || raw[0] > 3 {
			binary.LittleEndian.PutUint32(out[at:], binary.LittleEndian.Uint32(raw[at:])+grown)
		}
	}
	return out
}

// TestFormat5: body type and size have to be those of an enclave.
func TestFormat5(t *testing.T) {
	m := newMachine(t, func(o *sim.Options) { o.Quote = sim.V5 })
	v := newTest(t, m.deps())
	for name, change := range map[string]func([]byte){
		"type 0":   func(r []byte) { r[48] = 0 },
		"type 2":   func(r []byte) { r[48] = 2 },
		"type 4":   func(r []byte) { r[48] = 4 },
		"size 383": func(r []byte) { r[50]-- },
		"size 584": func(r []byte) { binary.LittleEndian.PutUint32(r[50:], 584) },
	} {
		raw := bytes.Clone(m.raw)
		change(raw)
		expectRejected(t, name, appraise(t, v, raw, now, nil), verdict.ReasonMalformed)
	}
}

// TestCryptography: every link from the root to the report data is there.
func TestCryptography(t *testing.T) {
	order := []byte{
		0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
	}
	eachForm(t, func(t *testing.T, m machine, v *verifier, o offsets) {
		for name, change := range map[string]func([]byte){
			"header":              func(r []byte) { r[30] ^= 1 },
			"SVNs in the header":  func(r []byte) { r[8] ^= 1 },
			"MRENCLAVE":           func(r []byte) { r[o.body+64] ^= 1 },
			"report data":         func(r []byte) { r[o.body+383] ^= 1 },
			"signature":           func(r []byte) { r[o.signature] ^= 1 },
			"attestation key":     func(r []byte) { r[o.key] ^= 1 },
			"QE report":           func(r []byte) { r[o.qe] ^= 1 },
			"QE report data":      func(r []byte) { r[o.qe+320] ^= 1 },
			"QE signature":        func(r []byte) { r[o.qeSig] ^= 1 },
			"authentication data": func(r []byte) { r[o.auth+2] ^= 1 },
			"r of zero":           func(r []byte) { clear(r[o.signature : o.signature+32]) },
			"s of zero":           func(r []byte) { clear(r[o.signature+32 : o.signature+64]) },
			"r of the order":      func(r []byte) { copy(r[o.signature:], order) },
			"s of the order":      func(r []byte) { copy(r[o.signature+32:], order) },
			"QE: r of zero":       func(r []byte) { clear(r[o.qeSig : o.qeSig+32]) },
			"QE: s of the order":  func(r []byte) { copy(r[o.qeSig+32:], order) },
		} {
			raw := bytes.Clone(m.raw)
			change(raw)
			expectRejected(t, name, appraise(t, v, raw, now, nil), verdict.ReasonSignatureInvalid)
		}
		wrong := newMachine(t, func(s *sim.Options) { s.WrongSigner, s.Quote = true, forms[t.Name()[len("TestCryptography/"):]] })
		expectRejected(t, "key that the QE does not know", appraise(t, v, wrong.raw, now, nil), verdict.ReasonSignatureInvalid)
	})
}

// TestChains: only a PCK certificate under a trusted root vouches for a QE.
func TestChains(t *testing.T) {
	m := newMachine(t, nil)
	v, o := newTest(t, m.deps()), offsetsOf(m.raw)
	other := newMachine(t, func(s *sim.Options) { s.Device = pki.NewSeed("another device") })
	foreign := newMachine(t, func(s *sim.Options) { s.Vendor = pki.NewSeed("another vendor") })
	expired := newMachine(t, func(s *sim.Options) { s.Expired = true })
	blocks := func(m machine) (out [][]byte) {
		rest := m.raw[offsetsOf(m.raw).cert+6:]
		for {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				return out
			}
			out = append(out, pem.EncodeToMemory(b))
		}
	}
	mine, theirs, others := blocks(m), blocks(foreign), blocks(other)
	for name, c := range map[string]struct {
		chain [][]byte
		code  string
	}{
		"leaf of another platform":   {[][]byte{others[0], mine[1], mine[2]}, verdict.ReasonSignatureInvalid},
		"CA as leaf":                 {[][]byte{mine[1], mine[2]}, verdict.ReasonChainInvalid},
		"root alone":                 {[][]byte{mine[2]}, verdict.ReasonChainInvalid},
		"leaf under the root":        {[][]byte{mine[0], mine[2]}, verdict.ReasonChainInvalid},
		"CA of another vendor":       {[][]byte{mine[0], theirs[1], theirs[2]}, verdict.ReasonUnknownRoot},
		"root of another vendor":     {[][]byte{mine[0], mine[1], theirs[2]}, verdict.ReasonUnknownRoot},
		"wrong order":                {[][]byte{mine[1], mine[0], mine[2]}, verdict.ReasonChainInvalid},
		"leaf twice":                 {[][]byte{mine[0], mine[0], mine[1], mine[2]}, verdict.ReasonChainInvalid},
		"certificate behind the PEM": {[][]byte{mine[0], mine[1], mine[2], []byte("x\n")}, verdict.ReasonMalformed},
	} {
		expectRejected(t, name, appraise(t, v, replaceChain(m.raw, o, slices.Concat(c.chain...)), now, nil), c.code)
	}
	d := m.deps()
	d.ExtraRoots = nil
	expectRejected(t, "no root", appraise(t, newTest(t, d), m.raw, now, nil), verdict.ReasonUnknownRoot)
	expectRejected(t, "foreign", appraise(t, v, foreign.raw, now, nil), verdict.ReasonUnknownRoot)
	expectRejected(t, "expired", appraise(t, newTest(t, expired.deps()), expired.raw, now, nil), verdict.ReasonExpired)
	if a := appraise(t, v, replaceChain(m.raw, o, slices.Concat(mine[0], mine[1])), now, nil); a.Vector[verdict.Hardware] != 2 {
		t.Errorf("without the root in the chain: %v", a.Reasons)
	}
}

// TestEveryByte: of evidence that is affirming no byte can be another, but in the
// copy of the root certificate, which nobody reads.
func TestEveryByte(t *testing.T) {
	m := newMachine(t, nil)
	v, x := newTest(t, m.deps()), indexOf(t, entryOf(m))
	if a := appraise(t, v, m.raw, now, x); a.Status() != verdict.TierAffirming {
		t.Fatal(a.Reasons)
	}
	root := bytes.LastIndex(m.raw, []byte("-----BEGIN"))
	for i := range m.raw {
		if testing.Short() && i%13 != 0 {
			continue
		}
		raw := bytes.Clone(m.raw)
		raw[i] ^= 1 << (i % 8)
		a := appraise(t, v, raw, now, x)
		if i < root && a.Vector[verdict.Hardware] != verdict.ClaimCryptoFailed || len(a.Reasons) == 0 && i < root {
			t.Fatalf("byte %d: %v %v", i, a.Vector, a.Reasons)
		}
	}
}

// TestEveryByteOfRecorded: the same for a real quote, which is never better and
// never affirming.
func TestEveryByteOfRecorded(t *testing.T) {
	real := vectors.Read(t, "sgx/dcap-qvl/sgx_quote")
	v := newTest(t, verifiers.Deps{Endorsements: bundle(t, vectors.Read(t, "sgx/dcap-qvl/sgx_quote_collateral.json"))})
	root := bytes.LastIndex(real, []byte("-----BEGIN"))
	for i := range real {
		if testing.Short() && i%13 != 0 {
			continue
		}
		raw := bytes.Clone(real)
		raw[i] ^= 1 << (i % 8)
		a := appraise(t, v, raw, at("2025-07-01"), nil)
		if i < root && a.Vector[verdict.Hardware] != verdict.ClaimCryptoFailed || verdict.TierWarning.WorseThan(a.Status()) || len(a.Reasons) == 0 {
			t.Fatalf("byte %d: %v %v", i, a.Vector, a.Reasons)
		}
	}
}

// TestOtherTEE: quotes of TDX are refused here, whatever their collateral.
func TestOtherTEE(t *testing.T) {
	m := newMachine(t, nil)
	v := newTest(t, m.deps())
	o := options()
	for _, form := range []inteltdx.Quote{inteltdx.V4, inteltdx.V5TDX10, inteltdx.V5TDX15} {
		d, err := inteltdx.New(inteltdx.Options{Vendor: o.Vendor, Device: o.Device, Now: now, Quote: form})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := d.Evidence(nonce)
		if err != nil {
			t.Fatal(err)
		}
		expectRejected(t, "TDX", appraise(t, v, raw, now, nil), verdict.ReasonUnsupported)
	}
	t.Run("recorded", func(t *testing.T) {
		for _, name := range []string{"dcap-qvl/tdx_quote", "go-tdx-guest/quote_v5_sample.dat", "trustee/tdx_quote_5.dat", "go-tdx-guest/ccel/cos-113-tdx-quote.dat"} {
			expectRejected(t, name, appraise(t, v, vectors.Read(t, "tdx/"+name), at("2026-03-01"), nil), verdict.ReasonUnsupported)
		}
	})
}

// TestReserved: bytes that the processor leaves zero.
func TestReserved(t *testing.T) {
	m := newMachine(t, nil)
	for i, want := range map[int]bool{20: true, 21: true, 31: true, 96: true, 127: true, 160: true, 191: true, 262: true, 303: true, 0: false, 32: false, 304: false, 383: false} {
		body := bytes.Clone(m.raw[48 : 48+384])
		body[i] ^= 1
		if got := newEnclave(dcap.EnclaveReport(body)).reserved() != ""; got != want {
			t.Errorf("byte %d: %v", i, got)
		}
	}
	body := bytes.Clone(m.raw[48 : 48+384])
	body[20], body[48] = 1, body[48]|flagCET
	if what := newEnclave(dcap.EnclaveReport(body)).reserved(); what != "" {
		t.Errorf("CET_ATTRIBUTES of an enclave with CET: %s", what)
	}
}
