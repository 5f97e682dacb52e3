// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-tdx-guest/testing/testdata"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// collateralAfterQuote makes the PCK certificate first.
func (m *machine) collateralAfterQuote() []byte {
	m.Quote()
	return m.Collateral()
}

// TestJunkInChains: encoding/pem steps over a broken block; nothing here does.
func TestJunkInChains(t *testing.T) {
	const junk = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"
	m := newMachine(t)
	m.Quote()
	m.Chain = append(append(dcaptest.PEM(m.PCK.Cert), junk...), dcaptest.PEM(m.CA.Cert, m.Root.Cert)...)
	expectRejected(t, "quote", appraise(t, newTest(t, m.deps(nil)), m.Quote(), nil, m.Now), verdict.ReasonMalformed)

	m = newMachine(t)
	raw := m.Quote()
	for _, member := range []string{"tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain"} {
		var fields map[string]string
		if err := json.Unmarshal(m.Collateral(), &fields); err != nil {
			t.Fatal(err)
		}
		fields[member] += junk
		file, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		a := appraise(t, newTest(t, m.deps(bundle(t, file))), raw, nil, m.Now)
		if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) {
			t.Errorf("%s: %v %v", member, a.Vector, a.Reasons)
		}
	}
}

// TestLevelOrder: levels that do not descend are refused, since the first one
// that is reached would count.
func TestLevelOrder(t *testing.T) {
	tdx := func(l map[string]any, n int) map[string]any {
		c := dcaptest.TDXComponents()
		c[2]["svn"] = n
		l["tcb"].(map[string]any)["tdxtcbcomponents"] = c
		return l
	}
	qe := func(ls ...map[string]any) func(*machine) {
		return func(m *machine) { m.QEID["tcbLevels"] = ls }
	}
	up, old := "UpToDate", "OutOfDate"
	for name, c := range map[string]struct {
		set func(*machine)
		ok  bool
	}{
		"descending":         {setLevels(dcaptest.PlatformLevel(3, 13, up), dcaptest.PlatformLevel(3, 11, old), dcaptest.PlatformLevel(2, 13, old)), true},
		"TDX descending":     {setLevels(tdx(dcaptest.PlatformLevel(3, 13, up), 2), tdx(dcaptest.PlatformLevel(3, 13, old), 1)), true},
		"SGX ascending":      {setLevels(dcaptest.PlatformLevel(2, 13, up), dcaptest.PlatformLevel(3, 13, old)), false},
		"PCE ascending":      {setLevels(dcaptest.PlatformLevel(3, 11, up), dcaptest.PlatformLevel(3, 13, old)), false},
		"TDX ascending":      {setLevels(tdx(dcaptest.PlatformLevel(3, 13, up), 1), tdx(dcaptest.PlatformLevel(3, 13, old), 2)), false},
		"equal":              {setLevels(dcaptest.PlatformLevel(3, 13, up), dcaptest.PlatformLevel(3, 13, old)), false},
		"third above second": {setLevels(dcaptest.PlatformLevel(3, 13, up), dcaptest.PlatformLevel(1, 13, old), dcaptest.PlatformLevel(2, 13, old)), false},
		"module ascending":   {moduleLevels(dcaptest.ISVLevel(2, up), dcaptest.ISVLevel(4, old)), false},
		"module equal":       {moduleLevels(dcaptest.ISVLevel(4, up), dcaptest.ISVLevel(4, old)), false},
		"QE ascending":       {qe(dcaptest.ISVLevel(1, up), dcaptest.ISVLevel(4, old)), false},
		"QE equal":           {qe(dcaptest.ISVLevel(4, up), dcaptest.ISVLevel(4, old)), false},
		"module named twice": {func(m *machine) {
			mods := m.TCB["tdxModuleIdentities"].([]map[string]any)
			other := map[string]any{}
			for k, v := range mods[0] {
				other[k] = v
			}
			other["id"] = "tdx_03"
			m.TCB["tdxModuleIdentities"] = append(mods, other)
		}, false},
	} {
		m := newMachine(t)
		c.set(m)
		a := m.outcome(t)
		if c.ok != (a.Vector[verdict.Hardware] == 2) || c.ok == hasReason(a, verdict.ReasonCollateralInvalid) {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
	}
}

// TestSecondParserSeesEveryByte: whichever byte the second parser reads
// differently, it is noticed; only lengths and padding are not fields.
func TestSecondParserSeesEveryByte(t *testing.T) {
	for name, raw := range map[string][]byte{"v4": sampleV4(), "v5": testdata.RawQuoteV5} {
		q, err := parseQuote(raw)
		if err != nil {
			t.Fatal(err)
		}
		raw = raw[:len(raw)-q.Padding]
		for i := range raw {
			other := bytes.Clone(raw)
			other[i] ^= 1
			if err := q.crossCheck(other); err == nil {
				t.Errorf("%s: byte %d is not compared", name, i)
			}
		}
	}
}

// TestDisagreementIsNamed says where the two parsers differ.
func TestDisagreementIsNamed(t *testing.T) {
	raw := sampleV4()
	q, err := parseQuote(raw)
	if err != nil {
		t.Fatal(err)
	}
	const sig = dcap.HeaderSize + dcap.SizeTD10 + 4
	for off, part := range map[int]string{
		30: "header", dcap.HeaderSize + 64: "body", dcap.HeaderSize + 240: "body", sig + 3: "signature data",
		sig + 128 + 6 + 30: "QE report", sig + 128 + 6 + 384 + 64 + 2: "signature data",
	} {
		other := bytes.Clone(raw)
		other[off] ^= 1
		if err := q.crossCheck(other); !errors.Is(err, errParsersDisagree) || !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("offset %d: %v, expected %s", off, err, part)
		}
	}
}

// TestMembersAreExact: signed JSON that two readers could take differently.
func TestMembersAreExact(t *testing.T) {
	m := newMachine(t)
	level := m.TCB["tcbLevels"].([]map[string]any)[0]
	level["TCBStatus"] = "OutOfDate"
	if a := m.outcome(t); a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) {
		t.Errorf("TCB info: %v %v", a.Vector, a.Reasons)
	}
	m = newMachine(t)
	m.QEID["MRSigner"] = m.QEID["mrsigner"]
	if a := m.outcome(t); a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) {
		t.Errorf("QE identity: %v %v", a.Vector, a.Reasons)
	}
}

// TestSwappedParts: a part of a set that stands where another one has to, or that
// was cut, is not used.
func TestSwappedParts(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	file := m.Collateral()
	other := newMachine(t)
	other.Quote()
	foreign := other.Collateral()
	for name, change := range map[string]func(own, foreign map[string]string){
		"TCB chain is the PCK CA's":    func(own, _ map[string]string) { own["tcb_info_issuer_chain"] = own["pck_crl_issuer_chain"] },
		"QE chain is the PCK CA's":     func(own, _ map[string]string) { own["qe_identity_issuer_chain"] = own["pck_crl_issuer_chain"] },
		"CRL chain is TCB signing's":   func(own, _ map[string]string) { own["pck_crl_issuer_chain"] = own["tcb_info_issuer_chain"] },
		"TCB chain of another root":    func(own, foreign map[string]string) { own["tcb_info_issuer_chain"] = foreign["tcb_info_issuer_chain"] },
		"TCB info of another signer":   func(own, foreign map[string]string) { own["tcb_info_signature"] = foreign["tcb_info_signature"] },
		"QE signature for TCB info":    func(own, _ map[string]string) { own["tcb_info_signature"] = own["qe_identity_signature"] },
		"TCB signature for QE":         func(own, _ map[string]string) { own["qe_identity_signature"] = own["tcb_info_signature"] },
		"TCB info is the QE identity":  func(own, _ map[string]string) { own["tcb_info"] = own["qe_identity"] },
		"signature short":              func(own, _ map[string]string) { own["tcb_info_signature"] = own["tcb_info_signature"][2:] },
		"signature zero":               func(own, _ map[string]string) { own["tcb_info_signature"] = strings.Repeat("0", 128) },
		"PCK CRL is the root's":        func(own, _ map[string]string) { own["pck_crl"] = own["root_ca_crl"] },
		"root CRL is the PCK CA's":     func(own, _ map[string]string) { own["root_ca_crl"] = own["pck_crl"] },
		"PCK CRL of another authority": func(own, foreign map[string]string) { own["pck_crl"] = foreign["pck_crl"] },
		"root CRL of another":          func(own, foreign map[string]string) { own["root_ca_crl"] = foreign["root_ca_crl"] },
		"PCK CRL cut":                  func(own, _ map[string]string) { own["pck_crl"] = own["pck_crl"][:len(own["pck_crl"])-2] },
		"root first": func(own, _ map[string]string) {
			own["tcb_info_issuer_chain"] = string(dcaptest.PEM(m.Root.Cert, m.TCBSign.Cert))
		},
	} {
		var a, b map[string]string
		if json.Unmarshal(file, &a) != nil || json.Unmarshal(foreign, &b) != nil {
			t.Fatal("no JSON")
		}
		change(a, b)
		changed, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		got := appraise(t, newTest(t, m.deps(loose(t, changed))), raw, nil, m.Now)
		if got.Vector[verdict.Hardware] != 32 || !hasReason(got, verdict.ReasonCollateralInvalid) && !hasReason(got, verdict.ReasonNoCollateral) {
			t.Errorf("%s: %v %v", name, got.Vector, got.Reasons)
		}
	}
}
