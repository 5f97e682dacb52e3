// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/assize/assize/internal/vectors"
)

// recorded is a set as recorded from Intel's service.
func recorded(tb testing.TB, name string) IntelCollateral {
	tb.Helper()
	b, err := Parse(name, vectors.Read(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	for c := range b.AllIntelTDX() {
		return c
	}
	tb.Fatal("no set")
	return IntelCollateral{}
}

const (
	tdxSet = "tdx/dcap-qvl/tdx_quote_collateral.json"
	sgxSet = "sgx/dcap-qvl/sgx_quote_collateral.json"
)

// parts takes a set apart into four.
func parts(c IntelCollateral) []IntelCollateral {
	return []IntelCollateral{
		{Name: c.Name, TCBInfo: c.TCBInfo, TCBInfoSignature: c.TCBInfoSignature, TCBInfoIssuerChain: c.TCBInfoIssuerChain},
		{Name: c.Name, QEIdentity: c.QEIdentity, QEIdentitySignature: c.QEIdentitySignature, QEIdentityChain: c.QEIdentityChain},
		{Name: c.Name, PCKCRL: c.PCKCRL, PCKCRLIssuerChain: c.PCKCRLIssuerChain},
		{Name: c.Name, RootCACRL: c.RootCACRL},
	}
}

func items(b *Bundle) string {
	var out []string
	for s := range b.Statements() {
		out = append(out, s.Item.String())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestStatementsOfSets(t *testing.T) {
	for name, want := range map[string]string{
		tdxSet: "intel-pck-crl-platform intel-root-crl intel-tdx-qe intel-tdx-tcb-b0c06f000000",
		sgxSet: "intel-pck-crl-processor intel-root-crl intel-sgx-qe intel-sgx-tcb-00a067110000",
	} {
		b, err := Parse(name, vectors.Read(t, name))
		if err != nil || items(b) != want {
			t.Errorf("%s: %s, %v", name, items(b), err)
		}
		for s := range b.Statements() {
			if !s.Until.After(s.From) || s.Until.Year() < 2025 || s.Name != name || s.Digest == ([32]byte{}) {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

// The window is the narrowest of a document and of who signed it: one that a
// certificate signed which ends first ends with it.
func TestStatementEndsWithItsSigner(t *testing.T) {
	set := recorded(t, tdxSet)
	far := IntelCollateral{Name: "far", TCBInfo: []byte(`{"id":"TDX","fmspc":"00806f050000","issueDate":"2020-01-01T00:00:00Z","nextUpdate":"2199-01-01T00:00:00Z"}`), FMSPC: "00806f050000", TCBInfoIssuerChain: set.TCBInfoIssuerChain}
	signer := pemCertificates(set.TCBInfoIssuerChain)[0]
	s := intelStatements(far)[0]
	if !s.Until.Equal(signer.NotAfter) || !s.From.Equal(signer.NotBefore) {
		t.Errorf("%s to %s", s.From, s.Until)
	}
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// One part of a set is a set with one part; anything between is an error.
func TestPartialSets(t *testing.T) {
	whole := recorded(t, tdxSet)
	fsys := fstest.MapFS{}
	for n, p := range parts(whole) {
		raw, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse("p", raw)
		if err != nil || b.Len() != 1 || strings.Contains(items(b), " ") || items(b) == "" {
			t.Errorf("part %d: %d, %s, %v", n, b.Len(), items(b), err)
		}
		again, err := must(first(b)).Encode()
		if err != nil || !bytes.Equal(again, raw) {
			t.Errorf("part %d changes when it is written again: %v", n, err)
		}
		fsys[fmt.Sprintf("%d.json", n)] = &fstest.MapFile{Data: raw}
	}
	b, w := load(t, fsys)
	if len(w) != 0 || b.Len() != 4 || items(b) != "intel-pck-crl-platform intel-root-crl intel-tdx-qe intel-tdx-tcb-b0c06f000000" {
		t.Errorf("%d parts, %s, %v", b.Len(), items(b), w)
	}
	raw, err := whole.Encode()
	if err != nil || must(first(must(Parse("w", raw)))).Digest != whole.Digest {
		t.Errorf("a whole set changes: %v", err)
	}
	ps := parts(whole)
	for name, c := range map[string]IntelCollateral{
		"nothing":       {},
		"three parts":   {TCBInfo: whole.TCBInfo, TCBInfoSignature: whole.TCBInfoSignature, TCBInfoIssuerChain: whole.TCBInfoIssuerChain, PCKCRL: whole.PCKCRL, PCKCRLIssuerChain: whole.PCKCRLIssuerChain, RootCACRL: whole.RootCACRL},
		"no chain":      {TCBInfo: whole.TCBInfo, TCBInfoSignature: whole.TCBInfoSignature},
		"no signature":  {QEIdentity: whole.QEIdentity, QEIdentityChain: whole.QEIdentityChain},
		"list alone":    {PCKCRL: whole.PCKCRL},
		"chain alone":   {PCKCRLIssuerChain: whole.PCKCRLIssuerChain},
		"short":         {TCBInfo: ps[0].TCBInfo, TCBInfoSignature: "00", TCBInfoIssuerChain: ps[0].TCBInfoIssuerChain},
		"two and chain": {RootCACRL: whole.RootCACRL, PCKCRLIssuerChain: whole.PCKCRLIssuerChain},
	} {
		if _, err := c.Encode(); err == nil {
			t.Errorf("%s is a set", name)
		}
	}
}

func first(b *Bundle) (IntelCollateral, error) {
	for c := range b.AllIntelTDX() {
		return c, nil
	}
	return IntelCollateral{}, fmt.Errorf("no set")
}

// response is what Intel's service answers.
func response(member string, value []byte, signature string) []byte {
	return fmt.Appendf(nil, `{%q:%s,"signature":%q}`, member, value, signature)
}

// loose is a set as the files that the services give out.
func loose(c IntelCollateral) fstest.MapFS {
	return fstest.MapFS{
		"tcb.json":     {Data: response("tcbInfo", c.TCBInfo, c.TCBInfoSignature)},
		"qe.json":      {Data: response("enclaveIdentity", c.QEIdentity, c.QEIdentitySignature)},
		"chain.pem":    {Data: c.TCBInfoIssuerChain},
		"pck/crl.pem":  {Data: pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: c.PCKCRL})},
		"pck/ca.pem":   {Data: c.PCKCRLIssuerChain},
		"rootcrl.der":  {Data: c.RootCACRL},
		"a/ignored.md": {Data: []byte("# how we got them")},
	}
}

// Responses and lists that lie in a folder with the certificates of who signed
// them are the set that they would be together, byte for byte.
func TestLooseResponses(t *testing.T) {
	for _, name := range []string{tdxSet, sgxSet, "tdx/dcap-qvl/tdx_quote_outdated_collateral.json"} {
		whole := recorded(t, name)
		b, w := load(t, loose(whole))
		if len(w) != 1 || w[0].Kind != WarnNotUnderstood {
			t.Errorf("%s: %v", name, w)
		}
		if want := items(must(Parse("x", must(whole.Encode())))); items(b) != want {
			t.Errorf("%s: %s, expected %s", name, items(b), want)
		}
		for c := range b.AllIntelTDX() {
			switch {
			case c.TCBInfo != nil && (!bytes.Equal(c.TCBInfo, whole.TCBInfo) || c.FMSPC != whole.FMSPC || len(pemCertificates(c.TCBInfoIssuerChain)) != 2):
				t.Errorf("%s: TCB info of %s changed", name, c.Name)
			case c.QEIdentity != nil && (!bytes.Equal(c.QEIdentity, whole.QEIdentity) || len(pemCertificates(c.QEIdentityChain)) != 2):
				t.Errorf("%s: QE identity of %s changed", name, c.Name)
			case c.PCKCRL != nil && (!bytes.Equal(c.PCKCRL, whole.PCKCRL) || len(pemCertificates(c.PCKCRLIssuerChain)) != 2):
				t.Errorf("%s: PCK CRL changed", name)
			case c.RootCACRL != nil && !bytes.Equal(c.RootCACRL, whole.RootCACRL):
				t.Errorf("%s: root CRL changed", name)
			}
		}
	}
}

func TestLooseResponsesWithoutSigner(t *testing.T) {
	whole := recorded(t, tdxSet)
	files := loose(whole)
	delete(files, "chain.pem")
	delete(files, "pck/ca.pem")
	b, w := load(t, files)
	kinds := map[WarningKind]int{}
	for _, one := range w {
		kinds[one.Kind]++
	}
	if items(b) != "intel-root-crl" || kinds[WarnNoSigner] != 3 {
		t.Errorf("%s, %v", items(b), w)
	}
	// A certificate of the same name under which the signature does not hold is not
	// taken for the signer, and one that signed is found beside it.
	changed := bytes.Replace(whole.TCBInfo, []byte(`"version":3`), []byte(`"version":4`), 1)
	files = loose(whole)
	files["tcb.json"].Data = response("tcbInfo", changed, whole.TCBInfoSignature)
	b, w = load(t, files)
	if strings.Contains(items(b), "tcb") || len(w) != 2 {
		t.Errorf("altered TCB info: %s, %v", items(b), w)
	}
	if _, err := Parse("tcb.json", response("tcbInfo", whole.TCBInfo, whole.TCBInfoSignature)); err == nil {
		t.Error("a response without its signer stands for itself")
	}
}

func TestResponsesAreStrict(t *testing.T) {
	sig := strings.Repeat("0a", 64)
	tcb := `{"fmspc":"AABBCC000000","id":"TDX"}`
	for name, raw := range map[string]string{
		"no signature":    `{"tcbInfo":` + tcb + `}`,
		"short signature": `{"tcbInfo":` + tcb + `,"signature":"00"}`,
		"not hex":         `{"tcbInfo":` + tcb + `,"signature":"` + strings.Repeat("zz", 64) + `"}`,
		"number":          `{"tcbInfo":` + tcb + `,"signature":1}`,
		"duplicate":       `{"tcbInfo":` + tcb + `,"tcbInfo":` + tcb + `,"signature":"` + sig + `"}`,
		"duplicate name":  `{"tcbInfo":` + tcb + `,"signature":"` + sig + `","signature":"` + sig + `"}`,
		"both":            `{"tcbInfo":` + tcb + `,"enclaveIdentity":{},"signature":"` + sig + `"}`,
		"one more":        `{"tcbInfo":` + tcb + `,"x":1,"signature":"` + sig + `"}`,
		"trailing":        `{"tcbInfo":` + tcb + `,"signature":"` + sig + `"}{}`,
		"cut":             `{"tcbInfo":` + tcb + `,"signature":"` + sig + `"`,
		"no fmspc":        `{"tcbInfo":{},"signature":"` + sig + `"}`,
		"a string":        `{"tcbInfo":"` + "x" + `","signature":"` + sig + `"}`,
		"identity list":   `{"enclaveIdentity":[],"signature":"` + sig + `"}`,
		"duplicate below": `{"enclaveIdentity":{"id":"QE","id":"TD_QE"},"signature":"` + sig + `"}`,
	} {
		if c, err := ParseResponse("x", []byte(raw)); err == nil {
			t.Errorf("%s is accepted: %+v", name, c)
		}
		if b, w := load(t, fstest.MapFS{"f": {Data: []byte(raw)}}); b.Len() != 0 || len(w) != 1 {
			t.Errorf("%s: %d parts, %v", name, b.Len(), w)
		}
	}
	c, err := ParseResponse("x", []byte(`{"signature":"`+sig+`", "tcbInfo" : `+tcb+` }`))
	if err != nil || string(c.TCBInfo) != tcb || c.FMSPC != "aabbcc000000" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestVCEKStatements(t *testing.T) {
	for name, want := range map[string]string{
		"snp/trustee/test-vcek.der":         "amd-vcek-milan-c38427a30d4c",
		"snp/microsoft/milan_vcek.pem":      "amd-vcek-milan-",
		"snp/microsoft/turin_vcek.pem":      "amd-vcek-turin-",
		"snp/go-sev-guest/vcek.testcer":     "amd-vcek-milan-",
		"snp/microsoft/milan_ask.pem":       "",
		"snp/trustee/test-vlek.der":         "",
		"tdx/go-tdx-guest/rootcrl.der":      "intel-root-crl",
		"tdx/go-tdx-guest/pckcrl":           "",
		"snp/microsoft/turin_ark.pem":       "",
		"tdx/go-tdx-guest/trusted_root.pem": "",
	} {
		b, _ := load(t, fstest.MapFS{"f": {Data: vectors.Read(t, name)}})
		got := items(b)
		if want == "" && got != "" || !strings.HasPrefix(got, strings.ToLower(want)) {
			t.Errorf("%s: %q", name, got)
		}
	}
	b, err := Parse("t", vectors.Read(t, "snp/microsoft/turin_vcek.pem"))
	if err != nil {
		t.Fatal(err)
	}
	report := vectors.Read(t, "snp/microsoft/turin_attestation_report.bin")
	want := Item{Kind: ItemVCEK, Product: "Turin", ChipID: fmt.Sprintf("%x", report[0x1a0:0x1a8])}
	for i := range 8 {
		want.TCB |= uint64(report[0x180+i]) << (8 * i)
	}
	for s := range b.Statements() {
		if s.Item != want {
			t.Errorf("%s, the report says %s", s.Item, want)
		}
	}
}

func TestNeeds(t *testing.T) {
	chip, turin := strings.Repeat("ab", 64), strings.Repeat("cd", 8)
	for _, c := range []struct {
		need Need
		want int
	}{
		{Need{Kind: NeedIntelTDX, FMSPC: "50806f000000", CA: "platform"}, 4},
		{Need{Kind: NeedIntelSGX, FMSPC: "00a067110000", CA: "processor"}, 4},
		{Need{Kind: NeedAMDVCEK, Product: "Milan", ChipID: chip, TCB: 0xdb18000000000004}, 1},
		{Need{Kind: NeedAMDVCEK, ChipID: chip, TCB: 0xdb18000000000004}, 2},
		{Need{Kind: NeedAMDVCEK, Product: "Turin", ChipID: turin, TCB: 0x5100000004010101}, 1},
		{Need{Kind: NeedAMDCRL, Product: "Genoa"}, 1},
		{Need{}, 0},
		{Need{Kind: "nvidia", Product: "Genoa"}, 0},
		{Need{Kind: NeedIntelTDX, FMSPC: "50806F000000", CA: "platform"}, 0},
		{Need{Kind: NeedIntelTDX, FMSPC: "50806f00000", CA: "platform"}, 0},
		{Need{Kind: NeedIntelTDX, FMSPC: "50806f00000&", CA: "platform"}, 0},
		{Need{Kind: NeedIntelTDX, FMSPC: "50806f000000", CA: "other"}, 0},
		{Need{Kind: NeedIntelTDX, FMSPC: "50806f000000"}, 0},
		{Need{Kind: NeedAMDVCEK, Product: "Naples", ChipID: chip}, 0},
		{Need{Kind: NeedAMDVCEK, Product: "Milan", ChipID: chip[:126] + "/."}, 0},
		{Need{Kind: NeedAMDVCEK, Product: "Milan", ChipID: turin}, 0},
		{Need{Kind: NeedAMDVCEK, Product: "Turin", ChipID: chip}, 0},
		{Need{Kind: NeedAMDVCEK, Product: "Milan", ChipID: strings.Repeat("0", 128)}, 0},
		{Need{Kind: NeedAMDVCEK, Product: "Milan", ChipID: chip, TCB: 0x0000000000010000}, 0},
		{Need{Kind: NeedAMDVCEK, Product: "Turin", ChipID: turin, TCB: 0x0000010000000000}, 0},
		{Need{Kind: NeedAMDCRL, Product: "../Genoa"}, 0},
		{Need{Kind: NeedAMDCRL}, 0},
	} {
		got, err := c.need.Items()
		if len(got) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%+v: %v, %v", c.need, got, err)
		}
		for _, i := range got {
			if err := i.Check(); err != nil || len(i.String()) > 200 || strings.ContainsAny(i.String(), "/. ") {
				t.Errorf("%s: %v", i, err)
			}
		}
	}
	for _, i := range []Item{{}, {Kind: ItemVCEK, ChipID: chip}, {Kind: ItemTDXTCB, FMSPC: "../../../.."}, {Kind: ItemPCKCRL, CA: "x"}, {Kind: ItemAMDCRL, Product: "x"}, {Kind: "x"}} {
		if i.Check() == nil {
			t.Errorf("%s has a form", i)
		}
	}
}

func TestMerge(t *testing.T) {
	tdx, sgx := must(Parse("t", vectors.Read(t, tdxSet))), must(Parse("s", vectors.Read(t, sgxSet)))
	cert, crl := authority(t)
	more, _ := load(t, fstest.MapFS{"c": {Data: cert}, "l": {Data: crl}})
	m := Merge(tdx, nil, sgx, more, tdx, Merge(more))
	if m.Len() != 4 || strings.Count(items(m), "intel-tdx-qe") != 1 || len(strings.Fields(items(m))) != 8 {
		t.Errorf("%d: %s", m.Len(), items(m))
	}
	if Merge().Len() != 0 || Merge(nil).Len() != 0 {
		t.Error("nothing is something")
	}
	for range (*Bundle)(nil).Statements() {
		t.Error("a statement in no bundle")
	}
}

func FuzzResponse(f *testing.F) {
	f.Add(response("tcbInfo", []byte(`{"fmspc":"AABBCC000000","id":"TDX"}`), strings.Repeat("0a", 64)))
	f.Add(response("enclaveIdentity", []byte(`{"id":"QE"}`), strings.Repeat("0a", 64)))
	raw, err := json.Marshal(map[string]string{"root_ca_crl": "3000"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := Parse("f", raw)
		if err != nil {
			return
		}
		for c := range b.AllIntelTDX() {
			out, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if again := must(first(must(Parse("f", out)))); again.Digest != c.Digest {
				t.Fatal("a set changes when it is written again")
			}
		}
	})
}
