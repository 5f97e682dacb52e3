// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestManyDuplicates: duplicates are found among few labels and among many.
func TestManyDuplicates(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 18, 40} {
		for _, dup := range []int{0, n / 2, n - 1} {
			var b bytes.Buffer
			b.WriteByte('{')
			for i := range n {
				fmt.Fprintf(&b, `"k%d":%s,`, i, rec1)
			}
			whole := b.String()
			wantRule(t, fmt.Appendf(nil, `%s"k":%s}`, whole, rec1), Options{}, "")
			wantRule(t, fmt.Appendf(nil, `%s"k%d":%s}`, whole, dup, rec1), Options{}, "CMW-19")
			raw := appendHead(nil, 5, uint64(n+1))
			for i := range n {
				raw = append(appendInt(raw, int64(i)), unhex(t, crec)...)
			}
			wantRule(t, append(appendInt(bytes.Clone(raw), int64(dup)), unhex(t, crec)...), Options{}, "CMW-20")
			wantRule(t, append(appendInt(bytes.Clone(raw), int64(n)), unhex(t, crec)...), Options{}, "")
		}
	}
}

// TestBytes: nodes keep the original bytes, and nobody can append into them.
func TestBytes(t *testing.T) {
	in := ` { "b" : [ "a/b" , "AQ" ] , "a" : ["a/b; c=D","AgM",4] } `
	raw := []byte(in + "tail of the caller's buffer")[:len(in)]
	tree := wantRule(t, raw, Options{}, "")
	if string(tree.Raw()) != in || tree.Digest() != sha256.Sum256(raw) {
		t.Error("message")
	}
	root := tree.Root()
	if string(root.Raw()) != strings.TrimSpace(in) || root.Value() != nil || root.Digest() != sha256.Sum256(root.Raw()) {
		t.Errorf("root %q", root.Raw())
	}
	a, b := tree.Leaves()[0], tree.Leaves()[1]
	if string(a.Raw()) != `["a/b; c=D","AgM",4]` || string(b.Raw()) != `[ "a/b" , "AQ" ]` {
		t.Errorf("raw %q %q", a.Raw(), b.Raw())
	}
	if a.Label() != "a" || a.MediaType().Params["c"] != "D" || a.Digest() != sha256.Sum256([]byte{2, 3}) || a.Indicator() != IndEvidence {
		t.Errorf("leaf %s", describe(tree))
	}
	for _, s := range [][]byte{tree.Raw(), root.Raw(), a.Raw(), a.Value(), b.Raw(), b.Value()} {
		if cap(s) != len(s) {
			t.Errorf("%q has room for %d bytes more", s, cap(s)-len(s))
		}
	}
	if k := root.Children(); len(k) != 2 || k[0] != b || k[1] != a {
		t.Error("children are not in wire order")
	}
	c := wantRule(t, unhex(t, "a16161"+crec+"ff")[:len(crec)/2+3], Options{}, "")
	for _, s := range [][]byte{c.Raw(), c.Leaves()[0].Raw(), c.Leaves()[0].Value()} {
		if cap(s) != len(s) {
			t.Errorf("%x has room for %d bytes more", s, cap(s)-len(s))
		}
	}
}

func TestPaths(t *testing.T) {
	in := `{"a/b":{"~#":["a/b","AQ"],"#x":["a/b","AQ"],"1":["a/b","AQ"]},"a":{"b":["a/b","AQ"]}}`
	tree := wantRule(t, []byte(in), Options{}, "")
	var got []Path
	for _, n := range tree.Leaves() {
		got = append(got, n.Path())
	}
	text, err := json.Marshal(got)
	if err != nil || string(text) != `["a/b","a~1b/1","a~1b/~0#","a~1b/~2x"]` {
		t.Errorf("paths %s", text)
	}
	if n, ok := tree.Lookup("a~1b"); !ok || n.Kind() != KindCollection || n.Label() != "a~1b" {
		t.Error("collection is not found")
	}
	if n, ok := tree.Lookup(""); !ok || n != tree.Root() {
		t.Error("root is not found")
	}
}

func TestNames(t *testing.T) {
	if KindRecord.String() != "record" || KindClaims.String() != "claims" || Kind(0).String() != "unknown" || Kind(99).String() != "unknown" {
		t.Error("kinds")
	}
	if FormatJSON.String() != "json" || FormatCBOR.String() != "cbor" || Format(0).String() != "unknown" {
		t.Error("formats")
	}
	for _, raw := range [][]byte{unhex(t, vecCOSEText), []byte(vecJWS)} {
		root := wantRule(t, raw, trustVec(), "").Root()
		want := FormatCBOR
		if raw[0] == 'e' {
			want = FormatJSON
		}
		if root.Kind() != KindSigned || root.Format() != want || root.Content().Kind() != KindCollection || root.Signer() == nil {
			t.Errorf("root %s %s", root.Kind(), root.Format())
		}
	}
}
