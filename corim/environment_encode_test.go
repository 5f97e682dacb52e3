// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func sampleEnvironments() []Environment {
	return []Environment{
		acme("NIC"),
		{Class: Class{Vendor: "ACME"}},
		{Class: Class{ID: TaggedBytes(TagBytes, []byte("tag:assize.dev,2026:intel-tdx")), Vendor: "Intel Corporation", Model: "TDX"}},
		{Class: Class{ID: TaggedBytes(TagOID, []byte{0x2b, 6, 1}), Layer: Num(0), Index: Num(7)}},
		{Instance: TaggedBytes(TagUEID, bytes.Repeat([]byte{1}, 33))},
		{Class: Class{Vendor: "V", Model: "M"}, Instance: TaggedBytes(TagBytes, []byte{1}), Group: TaggedBytes(TagUUID, bytes.Repeat([]byte{2}, 16))},
		{Instance: TaggedText(TagPKIXKey, "key")},
		{Instance: Typed{Tag: TagThumbprint, Form: Item, Data: "\x82\x01\x58\x20" + strings.Repeat("\x05", 32)}},
	}
}

func TestEnvironmentRoundTrip(t *testing.T) {
	seen := map[string]Environment{}
	for _, e := range sampleEnvironments() {
		raw := EncodeEnvironment(e)
		if raw == nil {
			t.Fatalf("%s: not encoded", e)
		}
		again, err := ParseEnvironment(raw)
		if err != nil || again != e {
			t.Errorf("%s: %s, %v", e, again, err)
		}
		if other, twice := seen[string(raw)]; twice {
			t.Errorf("%s and %s have one encoding", e, other)
		}
		seen[string(raw)] = e
	}
}

func TestEncodeEnvironmentRefuses(t *testing.T) {
	for name, e := range map[string]Environment{
		"empty":                {},
		"model without vendor": {Class: Class{Model: "NIC"}},
		"short UUID":           {Instance: TaggedBytes(TagUUID, []byte{1})},
		"broken item":          {Instance: Typed{Tag: TagCOSEKey, Form: Item, Data: "\xff"}},
		"too long":             {Instance: TaggedBytes(TagBytes, make([]byte, MaxEnvironment))},
	} {
		if raw := EncodeEnvironment(e); raw != nil {
			t.Errorf("%s: %x", name, raw)
		}
	}
}

func TestParseEnvironmentRefuses(t *testing.T) {
	good := EncodeEnvironment(acme("NIC"))
	for name, raw := range map[string][]byte{
		"nothing":            nil,
		"empty map":          {0xa0},
		"not a map":          {0x80},
		"trailing bytes":     append(bytes.Clone(good), 0),
		"cut":                good[:len(good)-1],
		"empty class":        {0xa1, 0x00, 0xa0},
		"unknown member":     unhex(t, "a2"+"00a1016141"+"0900"),
		"duplicate member":   unhex(t, "a2"+"00a1016141"+"00a1016141"),
		"unsorted members":   unhex(t, "a2"+"01d902304101"+"00a1016141"),
		"long form of a key": unhex(t, "a1"+"1800a1016141"),
		"indefinite map":     unhex(t, "bf"+"00a1016141"+"ff"),
	} {
		if e, err := ParseEnvironment(raw); err == nil {
			t.Errorf("%s: %s", name, e)
		}
	}
	if _, err := ParseEnvironment(make([]byte, MaxEnvironment+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("too long: %v", err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzParseEnvironment accepts only what it would write itself.
func FuzzParseEnvironment(f *testing.F) {
	for _, e := range sampleEnvironments() {
		f.Add(EncodeEnvironment(e))
	}
	f.Add([]byte{0xa1, 0x00, 0xa0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseEnvironment(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(EncodeEnvironment(e), raw) || !e.Covers(e) {
			t.Fatalf("%x is %s", raw, e)
		}
	})
}
