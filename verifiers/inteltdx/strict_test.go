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
)

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// collateralAfterQuote makes the PCK certificate first.
func (m *machine) collateralAfterQuote() []byte {
	m.quote()
	return m.collateral()
}

// TestSplitPEM: only certificates, white space between them, and zero bytes
// behind them.
func TestSplitPEM(t *testing.T) {
	m := newMachine(t)
	one, two := string(pemOf(m.ca.cert)), string(pemOf(m.root.cert))
	body := strings.TrimSuffix(strings.TrimPrefix(one, pemBegin+"\n"), "\n"+pemEnd+"\n")
	junk := pemBegin + "\n!!!\n" + pemEnd + "\n"
	for name, c := range map[string]struct {
		text string
		n    int // 0: refused
	}{
		"two":                  {one + two, 2},
		"white space":          {"\r\n " + one + "\n\t\n" + two + "\n ", 2},
		"CRLF":                 {strings.ReplaceAll(one+two, "\n", "\r\n"), 2},
		"no end of line":       {strings.TrimSpace(one), 1},
		"zero bytes behind":    {one + "\x00\x00", 1},
		"empty":                {"", 0},
		"white space alone":    {" \n", 0},
		"broken block first":   {junk + one, 0},
		"broken block between": {one + junk + two, 0},
		"broken block last":    {one + junk, 0},
		"nested begin":         {pemBegin + "\n" + one, 0},
		"text before":          {"x\n" + one, 0},
		"text between":         {one + "x\n" + two, 0},
		"text behind":          {one + "x", 0},
		"other block":          {one + strings.ReplaceAll(two, "CERTIFICATE", "PUBLIC KEY"), 0},
		"headers":              {pemBegin + "\nA: b\n\n" + body + "\n" + pemEnd + "\n", 0},
		"begin not a line":     {pemBegin + " \n" + body + "\n" + pemEnd + "\n", 0},
		"begin and body":       {pemBegin + body + "\n" + pemEnd + "\n", 0},
		"end not a line":       {pemBegin + "\n" + body + "\n" + pemEnd + two, 0},
		"body and end":         {pemBegin + "\n" + body + pemEnd + "\n", 0},
		"no end":               {pemBegin + "\n" + body + "\n", 0},
		"blank in the body":    {pemBegin + "\n" + body[:8] + " " + body[8:] + "\n" + pemEnd + "\n", 0},
		"vertical tab":         {one + "\v" + two, 0},
		"zero bytes between":   {one + "\x00" + two, 0},
		"too many":             {one + one + one + one + one, 0},
	} {
		ders, err := splitPEM([]byte(c.text))
		if len(ders) != c.n || (err == nil) != (c.n > 0) {
			t.Errorf("%s: %d certificates, %v", name, len(ders), err)
		}
		if c.n > 0 && !bytes.Equal(ders[0], m.ca.cert.Raw) {
			t.Errorf("%s: other bytes", name)
		}
	}
}

// TestJunkInChains: encoding/pem steps over a broken block; nothing here does.
func TestJunkInChains(t *testing.T) {
	junk := pemBegin + "\n!!!\n" + pemEnd + "\n"
	m := newMachine(t)
	m.quote()
	m.chain = append(append(pemOf(m.pck.cert), junk...), pemOf(m.ca.cert, m.root.cert)...)
	expectRejected(t, "quote", appraise(t, newTest(t, m.deps(nil)), m.quote(), nil, m.now), verdict.ReasonMalformed)

	m = newMachine(t)
	raw := m.quote()
	for _, member := range []string{"tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain"} {
		var fields map[string]string
		if err := json.Unmarshal(m.collateral(), &fields); err != nil {
			t.Fatal(err)
		}
		fields[member] += junk
		file, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		a := appraise(t, newTest(t, m.deps(bundle(t, file))), raw, nil, m.now)
		if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) {
			t.Errorf("%s: %v %v", member, a.Vector, a.Reasons)
		}
	}
}

// TestLevelOrder: levels that do not descend are refused, since the first one
// that is reached would count.
func TestLevelOrder(t *testing.T) {
	tdx := func(l map[string]any, n int) map[string]any {
		c := tdxComps()
		c[2]["svn"] = n
		l["tcb"].(map[string]any)["tdxtcbcomponents"] = c
		return l
	}
	qe := func(ls ...map[string]any) func(*machine) {
		return func(m *machine) { m.qeID["tcbLevels"] = ls }
	}
	up, old := "UpToDate", "OutOfDate"
	for name, c := range map[string]struct {
		set func(*machine)
		ok  bool
	}{
		"descending":         {setLevels(tcbLevel(3, 13, up), tcbLevel(3, 11, old), tcbLevel(2, 13, old)), true},
		"TDX descending":     {setLevels(tdx(tcbLevel(3, 13, up), 2), tdx(tcbLevel(3, 13, old), 1)), true},
		"SGX ascending":      {setLevels(tcbLevel(2, 13, up), tcbLevel(3, 13, old)), false},
		"PCE ascending":      {setLevels(tcbLevel(3, 11, up), tcbLevel(3, 13, old)), false},
		"TDX ascending":      {setLevels(tdx(tcbLevel(3, 13, up), 1), tdx(tcbLevel(3, 13, old), 2)), false},
		"equal":              {setLevels(tcbLevel(3, 13, up), tcbLevel(3, 13, old)), false},
		"third above second": {setLevels(tcbLevel(3, 13, up), tcbLevel(1, 13, old), tcbLevel(2, 13, old)), false},
		"module ascending":   {moduleLevels(isv(2, up), isv(4, old)), false},
		"module equal":       {moduleLevels(isv(4, up), isv(4, old)), false},
		"QE ascending":       {qe(isv(1, up), isv(4, old)), false},
		"QE equal":           {qe(isv(4, up), isv(4, old)), false},
		"module named twice": {func(m *machine) {
			mods := m.tcb["tdxModuleIdentities"].([]map[string]any)
			other := map[string]any{}
			for k, v := range mods[0] {
				other[k] = v
			}
			other["id"] = "tdx_03"
			m.tcb["tdxModuleIdentities"] = append(mods, other)
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

// TestMembersAreExact: signed JSON that two readers could take differently.
func TestMembersAreExact(t *testing.T) {
	names := collateralNames()
	for _, want := range []string{"tcbLevels", "svn", "isvsvn", "pcesvn", "mrsigner", "tdxModuleIdentities", "tcbStatus"} {
		if names[fold(want)] != want {
			t.Errorf("%s is not a known name", want)
		}
	}
	for raw, ok := range map[string]bool{
		`{"id":"a","tcbLevels":[{"tcb":{"isvsvn":1}},{"tcb":{"isvsvn":1}}]}`: true,
		`{"id":"a","other":{"x":[[{"y":1}]],"Y":2}}`:                         true,
		`{"id":"a","id":"a"}`:      false,
		`{"id":"a","i\u0064":"a"}`: false,
		`{"id":"a","ID":"a"}`:      false,
		`{"ID":"a"}`:               false,
		`{"Fmspc":"a"}`:            false,
		`{"fm\u017fpc":"a"}`:       false, // long s
		`{"x":1,"X":2}`:            false,
		`{"tcbLevels":[{"tcb":{"isvsvn":1,"isvsvn":2}}]}`: false,
		`{"tcbLevels":[{"tcb":{"ISVSVN":1}}]}`:            false,
		`{"other":{"x":1,"x":1}}`:                         false,
		`{"id":"a"} {}`:                                   false,
		`{"id":"a"`:                                       false,
		`{"other":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: false,
	} {
		if err := names.decode([]byte(raw), new(tcbInfo)); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
	m := newMachine(t)
	level := m.tcb["tcbLevels"].([]map[string]any)[0]
	level["TCBStatus"] = "OutOfDate"
	if a := m.outcome(t); a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) {
		t.Errorf("TCB info: %v %v", a.Vector, a.Reasons)
	}
	m = newMachine(t)
	m.qeID["MRSigner"] = m.qeID["mrsigner"]
	if a := m.outcome(t); a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) {
		t.Errorf("QE identity: %v %v", a.Vector, a.Reasons)
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
		raw = raw[:len(raw)-q.padding]
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
	const sig = headerSize + bodySize10 + 4
	for off, part := range map[int]string{
		30: "header", headerSize + 64: "body", headerSize + 240: "body", sig + 3: "signature data",
		sig + 128 + 6 + 30: "QE report", sig + 128 + 6 + 384 + 64 + 2: "signature data",
	} {
		other := bytes.Clone(raw)
		other[off] ^= 1
		if err := q.crossCheck(other); !errors.Is(err, errParsersDisagree) || !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("offset %d: %v, expected %s", off, err, part)
		}
	}
}
