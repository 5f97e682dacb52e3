// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	raw, err := cbor.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// textMembers are those of the recorded GPU as JSON has them.
func textMembers(tb testing.TB) map[string]any {
	tb.Helper()
	var all []map[string]any
	if err := json.Unmarshal(sample(tb), &all); err != nil || len(all) != 1 {
		tb.Fatalf("%d devices, %v", len(all), err)
	}
	return all[0]
}

// byteMembers are the same with bytes where CBOR has them.
func byteMembers(tb testing.TB) map[string]any {
	d := parts(tb)
	return map[string]any{"arch": "hopper", "nonce": d.Nonce, "evidence": d.Report, "certificate": d.Chain}
}

// The form in CBOR says what the one in JSON says, texts or bytes.
func TestFormsInCBOR(t *testing.T) {
	want := parts(t)
	mixed := textMembers(t)
	mixed["evidence"] = want.Report
	base64Nonce := textMembers(t)
	base64Nonce["nonce"] = base64.StdEncoding.EncodeToString(want.Nonce)
	for name, members := range map[string]map[string]any{"texts": textMembers(t), "bytes": byteMembers(t), "mixed": mixed, "base64 nonce": base64Nonce} {
		raw := encode(t, []any{members})
		for _, base := range []string{MediaTypeCBOR, MediaTypeAliasCBOR} {
			if d := one(t, base, raw); !reflect.DeepEqual(d, want) {
				t.Errorf("%s: %+v", name, d)
			}
		}
		long := append([]byte{0x98, 1}, raw[1:]...) // the head of the array in two bytes
		if d := one(t, MediaTypeCBOR, long); !reflect.DeepEqual(d, want) {
			t.Errorf("%s behind a longer head: %+v", name, d)
		}
	}
	more := byteMembers(t)
	more["driver_version"], more["vbios_version"], more["version"], more[memberFirmware] = "1.2", "3", "1.0", "97.00"
	more["b"], more["a"], more["c"] = nil, 1.5, []byte{1}
	d := one(t, MediaTypeCBOR, encode(t, []any{more}))
	if d.Driver != "1.2" || d.VBIOS != "3" || d.Hints.Firmware != "97.00" || !reflect.DeepEqual(d.Unknown, []string{"a", "b", "c"}) {
		t.Errorf("%+v", d)
	}
}

// Devices are the elements as they were written, and one that is bad does not
// hide the others.
func TestSplitCBOR(t *testing.T) {
	first, last := encode(t, byteMembers(t)), encode(t, textMembers(t))
	middle := [][]byte{{0xf6}, {0x01}, {0x60}, {0x80}, {0xa0}, encode(t, map[int]int{1: 2}), encode(t, map[string]any{"arch": "LS10"})}
	elements := append(append([][]byte{first}, middle...), last)
	raw := append([]byte{majorArray<<5 | byte(len(elements))}, bytes.Join(elements, nil)...)
	values, err := Split(MediaTypeCBOR, raw)
	if err != nil || len(values) != len(elements) {
		t.Fatalf("%d components, %v", len(values), err)
	}
	for i, v := range values {
		if !bytes.Equal(v, append([]byte{oneElement}, elements[i]...)) {
			t.Errorf("component %d is %x", i, v)
		}
		if _, err := Decode(v); (err == nil) != (i == 0 || i == len(values)-1) {
			t.Errorf("device %d: %v", i, err)
		}
	}
	if arch, err := Arch(values[len(values)-2]); err != nil || arch != "LS10" {
		t.Errorf("%q, %v", arch, err) // the scheme says what is missing
	}
}

func TestSplitCBORRefuses(t *testing.T) {
	device := encode(t, byteMembers(t))
	array := encode(t, []any{byteMembers(t)})
	deep := append(bytes.Repeat([]byte{oneElement}, maxDepth+1), 1)
	for name, raw := range map[string][]byte{
		"nothing": nil, "no device": {0x80}, "a map": device, "null": {0xf6}, "bytes": {0x41, 1}, "JSON": sample(t),
		"data behind": append(bytes.Clone(array), 0), "short": array[:len(array)-1], "indefinite array": append(append([]byte{0x9f}, device...), 0xff),
		"indefinite map": append(append([]byte{oneElement, 0xbf}, device[1:]...), 0xff), "indefinite text": {oneElement, 0x7f, 0x61, 'a', 0xff},
		"tag": append([]byte{0xd9, 0xd9, 0xf7}, array...), "tag inside": append([]byte{oneElement, 0xc1}, device...),
		"too many": append([]byte{0x98, MaxDevices + 1}, bytes.Repeat([]byte{0xa0}, MaxDevices+1)...), "too deep": deep,
		"too many members": append([]byte{oneElement, 0xb8, maxCBORMembers + 1}, bytes.Repeat([]byte{0x60, 0}, maxCBORMembers+1)...),
	} {
		if values, err := Split(MediaTypeCBOR, raw); err == nil {
			t.Errorf("%s: %d components", name, len(values))
		}
	}
	if _, err := Split(MediaType, array); err == nil {
		t.Error("CBOR under the type of JSON")
	}
	if values, err := Split(MediaTypeCBOR, append([]byte{0x98, MaxDevices}, bytes.Repeat([]byte{0xa0}, MaxDevices)...)); err != nil || len(values) != MaxDevices {
		t.Errorf("%d components, %v", len(values), err)
	}
}

func TestDecodeCBORRefuses(t *testing.T) {
	with := func(name string, value any) []byte {
		members := byteMembers(t)
		if members[name] = value; value == "-" {
			delete(members, name)
		}
		return encode(t, []any{members})
	}
	many := byteMembers(t)
	for i := range MaxUnknown + 1 {
		many[fmt.Sprint("m", i)] = 1
	}
	d := parts(t)
	base := encode(t, byteMembers(t))
	plus := func(pairs ...byte) []byte {
		return append(append([]byte{oneElement, base[0] + 1}, base[1:]...), pairs...)
	}
	arch := append(append([]byte{0x64}, "arch"...), append([]byte{0x66}, "HOPPER"...)...)
	cases := map[string][]byte{
		"no arch": with("arch", "-"), "no nonce": with("nonce", "-"), "no evidence": with("evidence", "-"), "no certificate": with("certificate", "-"),
		"arch in bytes": with("arch", []byte("HOPPER")), "version in bytes": with("version", []byte("1")), "number for evidence": with("evidence", 1), "null for nonce": with("nonce", nil),
		"short nonce": with("nonce", d.Nonce[1:]), "empty nonce": with("nonce", []byte{}), "long nonce": with("nonce", append(bytes.Clone(d.Nonce), 0)), "hexadecimal in bytes": with("nonce", []byte(hex.EncodeToString(d.Nonce))),
		"long report": with("evidence", make([]byte, MaxReport+1)), "long chain": with("certificate", make([]byte, MaxChain+1)),
		"report in hexadecimal": with("evidence", hex.EncodeToString(d.Report)+"!"), "line break": with("evidence", base64.StdEncoding.EncodeToString(d.Report)+"\n"),
		"other spelling": with("Nonce", d.Nonce), "unknown array": with("x", []int{1}), "unknown map": with("x", map[string]int{}), "empty name": with("", 1),
		"long name": with(strings.Repeat("x", maxMemberName+1), 1), "too many unknown": encode(t, []any{many}), "two devices": encode(t, []any{byteMembers(t), byteMembers(t)}),
		"arch twice": plus(arch...), "number for a key": plus(1, 1), "bytes for a key": plus(0x41, 'x', 1), "null for a key": plus(0xf6, 1), "key that is not UTF-8": plus(0x61, 0xff, 1),
		"unknown twice": append(append([]byte{oneElement, base[0] + 2}, base[1:]...), 0x61, 'x', 1, 0x61, 'x', 1), "text that is not UTF-8": plus(append(append([]byte{0x67}, "version"...), 0x61, 0xff)...),
	}
	for name, raw := range cases {
		if d, err := Decode(raw); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for _, name := range []string{"arch twice", "no nonce", "unknown twice", "long report"} { // is for the scheme to refuse, with a verdict
		if got, err := Arch(cases[name]); err != nil || got != "HOPPER" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"no arch", "arch in bytes", "two devices"} {
		if got, err := Arch(cases[name]); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, err := Arch(with("arch", strings.Repeat("x", maxArch+1))); err == nil {
		t.Errorf("long arch: %q", got)
	}
}

// What JSON means, CBOR of the same members means.
func FuzzCBOR(f *testing.F) {
	f.Add(encode(f, []any{byteMembers(f)}))
	f.Add(encode(f, []any{textMembers(f), byteMembers(f)}))
	f.Add([]byte{oneElement, 0xa1, 0x64, 'a', 'r', 'c', 'h', 0x61, 'x'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		values, err := Split(MediaTypeCBOR, raw)
		if err != nil {
			return
		}
		for _, v := range values {
			again, err := Split(MediaTypeCBOR, v)
			if err != nil || len(again) != 1 || !bytes.Equal(again[0], v) {
				t.Fatalf("component %x is %d components, %v", v, len(again), err)
			}
			d, bad := Decode(v)
			if bad != nil {
				continue
			}
			if arch, err := Arch(v); err == nil && arch != d.Arch || err != nil && len(d.Arch) > 0 && len(d.Arch) <= maxArch {
				t.Fatalf("routed by %q, read as %q: %v", arch, d.Arch, err)
			}
			if len(d.Nonce) != NonceSize || len(d.Report) > MaxReport || len(d.Chain) > MaxChain || len(d.Unknown) > MaxUnknown {
				t.Fatalf("%+v", d)
			}
			asJSON, err := json.Marshal([]any{map[string]string{
				"arch": d.Arch, "nonce": hex.EncodeToString(d.Nonce), "evidence": base64.StdEncoding.EncodeToString(d.Report), "certificate": base64.StdEncoding.EncodeToString(d.Chain),
				"driver_version": d.Driver, "vbios_version": d.VBIOS, "firmware_version": d.Hints.Firmware,
			}})
			if err != nil {
				t.Fatal(err)
			}
			same, err := Decode(asJSON)
			if d.Unknown = nil; err != nil || !reflect.DeepEqual(same, d) {
				t.Fatalf("%+v, as JSON %+v, %v", d, same, err)
			}
		}
	})
}
