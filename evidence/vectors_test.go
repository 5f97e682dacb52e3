// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

// describe prints the leaves of a tree: path, form, type, Content-Format,
// value, ind.
func describe(t *Tree) string {
	var b strings.Builder
	for _, n := range t.Leaves() {
		fmt.Fprintf(&b, "%q %s %s", string(n.Path()), n.Kind(), n.MediaType())
		if cf, ok := n.ContentFormat(); ok {
			fmt.Fprintf(&b, " cf=%d", cf)
		}
		fmt.Fprintf(&b, " %x", n.Value())
		if n.Indicator() != 0 {
			fmt.Fprintf(&b, " ind=%d", n.Indicator())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const (
	compositeType = "tag:example.com,2024:composite-attester"
	twoAttesters  = `"attester A" record application/eat-ucs+json 7b7d0a ind=4
"attester B" record application/eat-ucs+cbor a0 ind=4
`
	threeAttesters = `"#0" record cf:64999 cf=64999 2347da55 ind=4
"#1" tag cf:64999 cf=64999 2347da55
"#2" record application/eat+jwt %s ind=8
`
	nestedVeraison = `"bretwaldadom" record application/eat-ucs+cbor %s
"murmurless/polyscopic" record application/eat-ucs+json 7b226561745f6e6f6e6365223a202e2e2e7d ind=4
"photoelectrograph" record application/eat-ucs+cbor 827818 ind=4
`
	// The published tag 1668576818 was computed without the gaps of RFC 9277:
	// it stands for 29884, not for 30001 as meant.
	mixedOK = `"#1" record application/signed-corim+cbor d28443a10126a1 ind=3
"#2" tag cf:29884 cf=29884 2347da55
"s" record cf:30001 cf=30001 2347da55
`
	mixedKeys = `"#1024" tag text/plain; charset="utf-8" cf=0 aa
"string" record text/plain; charset="utf-8" cf=0 ff
`
)

// TestPublishedFiles decodes every published example that is binary or JSON.
func TestPublishedFiles(t *testing.T) {
	for _, c := range []struct{ file, typ, want string }{
		{"cmw/draft-ietf-rats-msg-wrap/cddl/cmw-example-1.json", "", `"" record application/vnd.example.rats-conceptual-msg 2347da55` + "\n"},
		{"cmw/draft-ietf-rats-msg-wrap/cddl/cmw-example-2.json", "", `"" record application/eat+cwt; eat_profile="tag:psacertified.org,2023:psa#tfm" 2347da55` + "\n"},
		{"cmw/draft-ietf-rats-msg-wrap/cddl/collection-example-1.json", "", twoAttesters},
		{"cmw/draft-ietf-rats-msg-wrap/cddl/collection-example-2.json", "tag:example.com,2024:another-composite-attester", twoAttesters},
		{"cmw/veraison-cmw/testdata/collection-ok.json", "", "\"a\" record application/vnd.a 61\n\"b\" record application/vnd.b 62\n"},
		{"cmw/veraison-cmw/testdata/collection-cbor-ok.cbor", "", mixedOK},
		{"cmw/veraison-cmw/testdata/collection-cbor-ok-2.cbor", "", "\"#1\" record application/vnd.1 deadbeef\n"},
		{"cmw/veraison-cmw/testdata/collection-cbor-mixed-keys.cbor", "", mixedKeys},
		{"cmw/veraison-services/collection-1.cbor", "tag:ietf.org,2024:X", fmt.Sprintf(nestedVeraison, "a10a")},
		{"cmw/veraison-services/collection-1.json", "tag:ietf.org,2024:X", fmt.Sprintf(nestedVeraison, "a10a")},
		{"cmw/veraison-services/collection-cbor-mixed-keys.cbor", "", mixedKeys},
	} {
		t.Run(c.file, func(t *testing.T) {
			checkTree(t, vectors.Read(t, c.file), c.typ, c.want)
		})
	}
}

func checkTree(t *testing.T, raw []byte, typ, want string) {
	t.Helper()
	tree := wantRule(t, raw, Options{}, "")
	if got := describe(tree); got != want {
		t.Errorf("got\n%s want\n%s", got, want)
	}
	if got := tree.Root().CollectionType(); got != typ {
		t.Errorf("collection type %q", got)
	}
	roundTrip(t, tree)
}

// TestDiagnosticNotation has the published .diag files, encoded by hand.
func TestDiagnosticNotation(t *testing.T) {
	const (
		conceptual = "782b6170706c69636174696f6e2f766e642e6578616d706c652e726174732d636f6e6365707475616c2d6d7367"
		ctype      = "685f5f636d77635f7478277461673a6578616d706c652e636f6d2c323032343a636f6d706f736974652d6174746573746572"
		jwt        = "736170706c69636174696f6e2f6561742b6a7774"
		three      = "a4" + ctype + "00" + "8319fde7442347da5504" + "01" + "da6374ffe6442347da55" + "02" + "83" + jwt
	)
	for _, c := range []struct{ name, in, typ, want string }{
		{"cmw-example-1", "8219fde7442347da55", "", "\"\" record cf:64999 cf=64999 2347da55\n"},
		{"cmw-example-2", "82" + conceptual + "442347da55", "", "\"\" record application/vnd.example.rats-conceptual-msg 2347da55\n"},
		{"cmw-example-3", "83746170706c69636174696f6e2f72696d2b636f736549d28440a044d901f5a04003", "", "\"\" record application/rim+cose d28440a044d901f5a0 ind=3\n"},
		{"cmw-example-3 as printed", "83746170706c69636174696f6e2f72696d2b636f73654ad28440a044d901f5a04003", "", "\"\" record application/rim+cose d28440a044d901f5a040 ind=3\n"},
		{"cmw-example-tag-1", "da6374ffe6442347da55", "", "\"\" tag cf:64999 cf=64999 2347da55\n"},
		{"cmw-example-tag-2", "da6374ffe54ba10a48a7c76d8424a96fb4", "", "\"\" tag cf:64998 cf=64998 a10a48a7c76d8424a96fb4\n"},
		{"collection-example-1", three + "444c69347508", compositeType, fmt.Sprintf(threeAttesters, "4c693475")},
		{"collection-example-2", three + "432e2e2e08", compositeType, fmt.Sprintf(threeAttesters, "2e2e2e")},
		{"code/cmw_test record", "8219753144deadbeef", "", "\"\" record cf:30001 cf=30001 deadbeef\n"},
		{"code/cmw_test tag", "da6374763244deadbeef", "", "\"\" tag cf:29884 cf=29884 deadbeef\n"},
		{"tag of 30001", "da637476a744deadbeef", "", "\"\" tag cf:30001 cf=30001 deadbeef\n"},
	} {
		if c.name == "cmw-example-3" {
			// one byte short of what the head promises: must not be read
			wantRule(t, unhex(t, c.in), Options{}, "CMW-14")
			continue
		}
		t.Run(c.name, func(t *testing.T) { checkTree(t, unhex(t, c.in), c.typ, c.want) })
	}
}

// TestClaim reads the CMW in the claim of a JWT claims-set.
func TestClaim(t *testing.T) {
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(vectors.Read(t, "cmw/draft-ietf-rats-msg-wrap/cddl/eat-example-1.json"), &claims); err != nil {
		t.Fatal(err)
	}
	checkTree(t, claims[JWTClaimName], "tag:example.com,2024:another-composite-attester", twoAttesters)
}

// TestCertificates reads the CMW in the X.509 extension id-pe-cmw.
func TestCertificates(t *testing.T) {
	id := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 35}
	for _, form := range []string{"json", "cbor"} {
		t.Run(form, func(t *testing.T) {
			raw := vectors.Read(t, "cmw/veraison-cmw/testdata/x509-cert+"+form+"-cmw.der")
			cert, err := x509.ParseCertificate(raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range cert.Extensions {
				if !e.Id.Equal(id) {
					continue
				}
				var v asn1.RawValue
				if rest, err := asn1.Unmarshal(e.Value, &v); err != nil || len(rest) != 0 {
					t.Fatalf("extension: %v", err)
				}
				tree := wantRule(t, v.Bytes, Options{MediaType: "application/cmw+" + form}, "")
				if len(tree.Leaves()) == 0 {
					t.Error("no leaves")
				}
				roundTrip(t, tree)
				return
			}
			t.Error("no extension")
		})
	}
}

// TestModuleFiles decodes the test data of the module github.com/veraison/cmw,
// so that a plain clone has real vectors too.
func TestModuleFiles(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/veraison/cmw").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Fatalf("module github.com/veraison/cmw is not at hand: %v", err)
	}
	for name, want := range map[string]string{
		"collection-cbor-ok.cbor":         mixedOK,
		"collection-cbor-ok-2.cbor":       "\"#1\" record application/vnd.1 deadbeef\n",
		"collection-cbor-mixed-keys.cbor": mixedKeys,
	} {
		raw, err := os.ReadFile(filepath.Join(dir, "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		checkTree(t, raw, "", want)
	}
}
