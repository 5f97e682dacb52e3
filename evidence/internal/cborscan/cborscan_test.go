// SPDX-License-Identifier: Apache-2.0

package cborscan

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestSkip(t *testing.T) {
	for in, ok := range map[string]bool{
		"00": true, "1b7fffffffffffffff": true, "f6": true, "f93c00": true, "fb3ff0000000000000": true, "f820": true,
		"9f0102ff": true, "bf0102ff": true, "5f4101ff": true, "7f6161ff": true, "c1c1c101": true, "a1018102": true,
		"": false, "18": false, "1c": false, "1f": false, "3f": false, "df": false, "f81f": false, "ff": false, "81ff": false, "9f": false, "bf01ff": false,
		"5f6161ff": false, "5f5f4101ffff": false, "5f4101": false, "41": false, "61ff": false, "7f61c361a9ff": false, "c1c1c1c101": false, "5bffffffffffffffff": false,
	} {
		raw, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		r := &Reader{Buf: raw}
		if err = r.Skip(3); err == nil {
			err = r.End()
		}
		if ok != (err == nil) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// FuzzSkip compares with a CBOR library: well-formedness, and byte strings.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{"9f0102ff", "a1018102", "5f4101ff", "7f6161ff", "c1fb3ff0000000000000", "f820"} {
		raw, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := &Reader{Buf: raw}
		err := r.Skip(16)
		if err == nil {
			err = r.End()
		}
		lib := cbor.Wellformed(raw)
		if err == nil && lib != nil && !strings.Contains(lib.Error(), "exceeded") {
			t.Fatalf("accepted %x: %v", raw, lib)
		}
		if err != nil && lib == nil && !strings.Contains(err.Error(), "deeply") && !strings.Contains(err.Error(), "UTF-8") {
			t.Fatalf("refused %x: %v", raw, err)
		}
		var want []byte
		if err == nil && raw[0]>>5 == Bytes && cbor.Unmarshal(raw, &want) == nil {
			if got, err := (&Reader{Buf: raw}).String(Bytes); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%x is %x, want %x", raw, got, want)
			}
		}
	})
}
