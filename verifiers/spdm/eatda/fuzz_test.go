// SPDX-License-Identifier: Apache-2.0

package eatda

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// example is the example of the draft, nil where there are no vectors.
func example() []byte {
	dir := os.Getenv("ASSIZE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "evidence")
	}
	text, err := os.ReadFile(filepath.Join(dir, "spdm", "eat-da", "draft-example-1.hex"))
	if err != nil {
		return nil
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	return raw
}

// FuzzDecode looks for input that panics, that no CBOR library would read, or
// whose parts are not the devices of the whole.
func FuzzDecode(f *testing.F) {
	claims := encode(f, tokenDoc())
	f.Add(claims)
	f.Add(signed(f, claims))
	f.Add(append([]byte{0xd9, 0x02, 0x59}, claims...))
	if raw := example(); raw != nil {
		f.Add(raw)
	}
	strict, err := cbor.DecOptions{IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 64}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tok, err := Options{Ranges: true}.Decode(raw)
		if err != nil {
			if RuleOf(err) == "" {
				t.Fatalf("error without a rule: %v", err)
			}
			return
		}
		if err := strict.Wellformed(raw); err != nil {
			t.Fatalf("%x was read: %v", raw, err)
		}
		base := TypeUCS
		if tok.Form == FormSigned {
			base = TypeCWT
		}
		parts, err := Split(base, raw)
		if err != nil || len(parts) != len(tok.Devices) {
			t.Fatalf("%d parts of %d devices, %v", len(parts), len(tok.Devices), err)
		}
		for i, p := range parts {
			one, err := Options{Ranges: true}.Decode(p)
			if err != nil {
				t.Fatalf("part %d: %v", i, err)
			}
			got, want := &one.Devices[0], &tok.Devices[i]
			if got.Name != want.Name || !bytes.Equal(got.Raw, want.Raw) || RuleOf(got.Err) != RuleOf(want.Err) || (want.Err != nil) != (RuleOf(want.Err) != "") {
				t.Fatalf("part %d: %q %v, device %q %v", i, got.Name, got.Err, want.Name, want.Err)
			}
		}
	})
}

// BenchmarkDecode reads a token of eight devices with transcripts of 4 KiB.
func BenchmarkDecode(b *testing.B) {
	doc := tokenDoc()
	for i := range 8 {
		d := spdmDoc()
		at(d, 3803)[0], at(d, 3803)[4] = append(fill(1500, byte(i)), leaf(byte(i))...), leaf(byte(0x80+i))
		at(d, 3802, "signature")[5], at(d, 3807)[5] = fill(4096, 1), fill(4096, 2)
		at(doc, 266)[spdmName+string(rune('a'+i))] = d
	}
	delete(at(doc, 266), spdmName)
	raw := encode(b, doc)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
