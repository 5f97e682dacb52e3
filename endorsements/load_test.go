// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/assize/assize/internal/vectors"
)

// sample is a set with the right form; nothing in it is signed.
func sample() map[string]any {
	const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	sig := strings.Repeat("0a", 64)
	return map[string]any{
		"tcb_info": `{"fmspc":"AABBCC000000", "id":"TDX"}`, "tcb_info_signature": sig, "tcb_info_issuer_chain": pem,
		"qe_identity": `{"id":"TD_QE"}`, "qe_identity_signature": sig, "qe_identity_issuer_chain": pem,
		"pck_crl": "3000", "pck_crl_issuer_chain": pem, "root_ca_crl": "3001",
	}
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func load(tb testing.TB, fsys fs.FS) (*Bundle, []Warning) {
	tb.Helper()
	b, w, err := Load(fsys)
	if err != nil {
		tb.Fatal(err)
	}
	return b, w
}

func TestLoadKeepsBytes(t *testing.T) {
	want := sample()
	b, w := load(t, fstest.MapFS{"x/set.json": {Data: encode(t, want)}})
	sets := b.IntelTDX("aabbcc000000")
	if len(w) != 0 || len(sets) != 1 || b.Len() != 1 {
		t.Fatalf("%v %v", w, sets)
	}
	c := sets[0]
	if string(c.TCBInfo) != want["tcb_info"] || string(c.QEIdentity) != want["qe_identity"] ||
		string(c.QEIdentityChain) != want["qe_identity_issuer_chain"] || c.TCBInfoSignature != want["tcb_info_signature"] ||
		!bytes.Equal(c.PCKCRL, []byte{0x30, 0}) || !bytes.Equal(c.RootCACRL, []byte{0x30, 1}) || c.Name != "x/set.json" {
		t.Errorf("%+v", c)
	}
	c.TCBInfo[0] = 'x'
	if b.IntelTDX("aabbcc000000")[0].TCBInfo[0] != '{' {
		t.Error("a caller changed the bundle")
	}
	if len(b.IntelTDX("AABBCC000000"))+len(b.IntelTDX("aabbcc000001")) != 0 {
		t.Error("found under another name")
	}
}

// TestAllIntelTDX: all sets in order, whatever their FMSPC, as copies.
func TestAllIntelTDX(t *testing.T) {
	other := sample()
	other["tcb_info"] = `{"fmspc":"AABBCC000001"}`
	b, _ := load(t, fstest.MapFS{"b.json": {Data: encode(t, sample())}, "a.json": {Data: encode(t, other)}})
	var names []string
	for c := range b.AllIntelTDX() {
		names = append(names, c.Name)
		c.PCKCRL[0], c.TCBInfo[0] = 'x', 'x'
	}
	if strings.Join(names, " ") != "a.json b.json" {
		t.Errorf("sets %v", names)
	}
	for c := range b.AllIntelTDX() {
		if c.PCKCRL[0] != 0x30 || c.TCBInfo[0] != '{' {
			t.Error("a caller changed the bundle")
		}
		break
	}
	for range (*Bundle)(nil).AllIntelTDX() {
		t.Error("a set in no bundle")
	}
}

func TestDigestSeparatesSets(t *testing.T) {
	digests := map[[32]byte]string{}
	for name := range sample() {
		s := sample()
		switch v := s[name].(string); {
		case name == "tcb_info":
			s[name] = v + " "
		case name == "qe_identity":
			s[name] = v + "\n"
		case strings.HasSuffix(name, "chain"):
			s[name] = v + "\n"
		default:
			s[name] = "01" + v[2:]
		}
		c, err := parseIntel("a", encode(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if other, dup := digests[c.Digest]; dup {
			t.Errorf("%s and %s have one digest", name, other)
		}
		digests[c.Digest] = name
	}
}

func TestSameSetTwiceIsOne(t *testing.T) {
	other := sample()
	other["pck_crl"] = "3002"
	b, w := load(t, fstest.MapFS{
		"a.json": {Data: encode(t, sample())}, "b.json": {Data: append(encode(t, sample()), '\n')},
		"c.json": {Data: encode(t, other)},
	})
	sets := b.IntelTDX("aabbcc000000")
	if len(w) != 0 || len(sets) != 2 || sets[0].Name != "a.json" || sets[1].Name != "c.json" {
		t.Fatalf("%v %v", w, sets)
	}
}

func TestBrokenSetsAreWarnings(t *testing.T) {
	good := string(encode(t, sample()))
	cases := map[string]string{
		"truncated":         good[:len(good)-1],
		"half":              good[:len(good)/2] + `"tcb_info"`,
		"trailing":          good + "{}",
		"duplicate":         `{"pck_crl":"3000",` + good[1:],
		"duplicate escaped": `{"pck_cr\u006c":"3000",` + good[1:],
	}
	for name := range sample() {
		s := sample()
		delete(s, name)
		cases["without "+name] = string(encode(t, s)) + strings.Repeat(" ", 0)
		for what, v := range map[string]any{"number": 1, "null": nil, "object": map[string]any{}, "empty": "", "list": []any{"a"}} {
			s[name] = v
			cases[name+" "+what] = string(encode(t, s))
		}
	}
	set := func(name string, v any) {
		s := sample()
		s[name] = v
		cases[fmt.Sprintf("%s %.20v", name, v)] = string(encode(t, s))
	}
	set("other_member", "x")
	set("pck_crl", "3")
	set("pck_crl", "zz")
	set("root_ca_crl", "0x30")
	set("tcb_info_signature", "0a")
	set("tcb_info_signature", strings.Repeat("zz", 64))
	set("qe_identity_signature", strings.Repeat("0a", 65))
	set("tcb_info_issuer_chain", "no PEM")
	set("tcb_info", "[]")
	set("tcb_info", `{"fmspc":"AABBCC000000"`)
	set("tcb_info", `{"fmspc":"AABBCC000000","fmspc":"AABBCC000001"}`)
	set("tcb_info", `{"fmspc":7}`)
	set("tcb_info", `{"fmspc":"AABBCC0000"}`)
	set("tcb_info", `{"fmspc":"AABBCC00000g"}`)
	set("qe_identity", `{"id":"a","id":"b"}`)
	set("tcb_info", strings.Repeat(" ", maxIntelJSON+1))
	for name, raw := range cases {
		b, w := load(t, fstest.MapFS{"f": {Data: []byte(raw)}})
		if b.Len() != 0 || len(w) != 1 || w[0].Name != "f" || w[0].Detail == "" {
			t.Errorf("%s: %d sets, warnings %v", name, b.Len(), w)
			continue
		}
		if name != "without tcb_info" && w[0].Kind != WarnMalformed {
			t.Errorf("%s: %v", name, w[0])
		}
	}
}

func TestForeignFiles(t *testing.T) {
	b, w := load(t, fstest.MapFS{
		"a.cmw": {Data: []byte(`{"cpu":["a/b","AAAA",4]}`)}, "b.bin": {Data: []byte{0, 1, 2}}, "c": {Data: nil},
		"d.swidtag": {Data: []byte("<SoftwareIdentity/>")},
		"big":       {Data: make([]byte, MaxFile+1)},
		"link":      {Data: []byte("a.cmw"), Mode: fs.ModeSymlink},
		"fifo":      {Mode: fs.ModeNamedPipe},
	})
	kinds := map[string]WarningKind{}
	for _, x := range w {
		kinds[x.Name] = x.Kind
		if !strings.Contains(x.String(), x.Name) {
			t.Errorf("%q does not name the file", x)
		}
	}
	want := map[string]WarningKind{
		"a.cmw": WarnNotUnderstood, "b.bin": WarnNotUnderstood, "c": WarnNotUnderstood, "d.swidtag": WarnNotUnderstood,
		"big": WarnTooLarge, "link": WarnNotRegular, "fifo": WarnNotRegular,
	}
	for name, k := range want {
		if kinds[name] != k {
			t.Errorf("%s: %q, expected %q", name, kinds[name], k)
		}
	}
	if b.Len() != 0 || len(w) != len(want) {
		t.Errorf("%d sets, %v", b.Len(), w)
	}
}

func TestLimits(t *testing.T) {
	many := fstest.MapFS{}
	for i := range MaxFiles {
		many[fmt.Sprintf("%05d", i)] = &fstest.MapFile{}
	}
	if b, _, err := Load(many); !errors.Is(err, ErrLimit) || b != nil {
		t.Errorf("files: %v", err)
	}
	large := fstest.MapFS{}
	chunk := make([]byte, MaxFile)
	for i := range MaxTotal/MaxFile + 1 {
		large[fmt.Sprint(i)] = &fstest.MapFile{Data: chunk}
	}
	if b, _, err := Load(large); !errors.Is(err, ErrLimit) || b != nil {
		t.Errorf("bytes: %v", err)
	}
}

func TestLoadDir(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "set.json"), encode(t, sample()), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, l := range [][2]string{{filepath.Join(outside, "set.json"), "file"}, {outside, "folder"}} {
		if err := os.Symlink(l[0], filepath.Join(dir, l[1])); err != nil {
			t.Fatal(err)
		}
	}
	b, w, err := LoadDir(dir)
	if err != nil || b.Len() != 0 || len(w) != 2 || w[0].Kind != WarnNotRegular {
		t.Errorf("links were followed: %d sets, %v, %v", b.Len(), w, err)
	}
	if b, w, err = LoadDir(outside); err != nil || b.Len() != 1 || len(w) != 0 {
		t.Errorf("%v %v %v", b, w, err)
	}
	if _, _, err := LoadDir(filepath.Join(dir, "absent")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

func TestRecordedSets(t *testing.T) {
	fsys := fstest.MapFS{}
	for name, file := range map[string]string{
		"a.json": "tdx/dcap-qvl/tdx_quote_collateral.json", "b.json": "tdx/dcap-qvl/tdx_quote_outdated_collateral.json",
		"c.json": "tdx/assembled/collateral_50806f000000_2023-07.json",
	} {
		fsys[name] = &fstest.MapFile{Data: vectors.Read(t, file)}
	}
	b, w := load(t, fsys)
	for _, fmspc := range []string{"b0c06f000000", "90c06f000000", "50806f000000"} {
		if len(b.IntelTDX(fmspc)) != 1 {
			t.Errorf("no set for %s", fmspc)
		}
	}
	if len(w) != 0 {
		t.Error(w)
	}
}

func TestNilBundle(t *testing.T) {
	var b *Bundle
	if b.Len() != 0 || b.IntelTDX("aabbcc000000") != nil {
		t.Error("nil holds something")
	}
}

func FuzzIntel(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Add([]byte(`{"tcb_info":"{}","tcb_info":"{}"}`))
	f.Add([]byte(`{"tcb_info":`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseIntel("f", raw)
		if err != nil {
			return
		}
		if len(c.FMSPC) != fmspcHex || len(c.TCBInfo) == 0 || len(c.PCKCRL) == 0 || c.Digest == [32]byte{} {
			t.Fatalf("half a set: %+v", c)
		}
		again, err := parseIntel("g", raw)
		if err != nil || again.Digest != c.Digest {
			t.Fatal("not deterministic")
		}
	})
}
