// SPDX-License-Identifier: Apache-2.0

package dcap_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// TestSplitPEM: only certificates, white space between them, and zero bytes
// behind them.
func TestSplitPEM(t *testing.T) {
	m := tdx(t)
	one, two := string(dcaptest.PEM(m.CA.Cert)), string(dcaptest.PEM(m.Root.Cert))
	body := strings.TrimSuffix(strings.TrimPrefix(one, dcap.PEMBegin+"\n"), "\n"+dcap.PEMEnd+"\n")
	junk := dcap.PEMBegin + "\n!!!\n" + dcap.PEMEnd + "\n"
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
		"nested begin":         {dcap.PEMBegin + "\n" + one, 0},
		"text before":          {"x\n" + one, 0},
		"text between":         {one + "x\n" + two, 0},
		"text behind":          {one + "x", 0},
		"other block":          {one + strings.ReplaceAll(two, "CERTIFICATE", "PUBLIC KEY"), 0},
		"headers":              {dcap.PEMBegin + "\nA: b\n\n" + body + "\n" + dcap.PEMEnd + "\n", 0},
		"begin not a line":     {dcap.PEMBegin + " \n" + body + "\n" + dcap.PEMEnd + "\n", 0},
		"begin and body":       {dcap.PEMBegin + body + "\n" + dcap.PEMEnd + "\n", 0},
		"end not a line":       {dcap.PEMBegin + "\n" + body + "\n" + dcap.PEMEnd + two, 0},
		"body and end":         {dcap.PEMBegin + "\n" + body + dcap.PEMEnd + "\n", 0},
		"no end":               {dcap.PEMBegin + "\n" + body + "\n", 0},
		"blank in the body":    {dcap.PEMBegin + "\n" + body[:8] + " " + body[8:] + "\n" + dcap.PEMEnd + "\n", 0},
		"vertical tab":         {one + "\v" + two, 0},
		"zero bytes between":   {one + "\x00" + two, 0},
		"too many":             {one + one + one + one + one, 0},
	} {
		ders, err := dcap.SplitPEM([]byte(c.text))
		if len(ders) != c.n || (err == nil) != (c.n > 0) {
			t.Errorf("%s: %d certificates, %v", name, len(ders), err)
		}
		if c.n > 0 && !bytes.Equal(ders[0], m.CA.Cert.Raw) {
			t.Errorf("%s: other bytes", name)
		}
	}
}

// TestMembersAreExact: signed JSON that two readers could take differently.
func TestMembersAreExact(t *testing.T) {
	for _, want := range []string{"tcbLevels", "svn", "isvsvn", "pcesvn", "mrsigner", "tdxModuleIdentities", "tcbStatus"} {
		if !dcap.KnownMember(want) {
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
		if _, err := dcap.DecodeTCBInfo([]byte(raw)); (err == nil) != ok {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestChainCache: a chain is remembered by its certificates, not by its PEM,
// and only once a quote was verified with it.
func TestChainCache(t *testing.T) {
	m := tdx(t)
	v := verifier(t, m, nil)
	bad := m.Quote()
	bad[dcap.HeaderSize+dcap.DescriptorSize+520] ^= 1 // REPORTDATA: only the quote signature fails
	if _, _, f := v.VerifyQuote(parse(t, bad)); f == nil || f.Code != verdict.ReasonSignatureInvalid {
		t.Error(f)
	}
	if n := v.Chains(); n != 0 {
		t.Errorf("%d chains are remembered of a quote that does not verify", n)
	}
	pem := dcaptest.PEM(m.PCK.Cert, m.CA.Cert, m.Root.Cert)
	for _, chain := range [][]byte{nil, append([]byte("\n\n"), pem...), bytes.ReplaceAll(pem, []byte("\n"), []byte("\r\n")), append(bytes.Clone(pem), 0)} {
		m.Chain = chain
		if _, _, f := v.VerifyQuote(parse(t, m.Quote())); f != nil {
			t.Error(f)
		}
	}
	if n := v.Chains(); n != 1 {
		t.Errorf("one chain is remembered %d times", n)
	}
}
