// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/samples"
)

func sample(tb testing.TB) []byte {
	tb.Helper()
	leaf, err := samples.GPUEvidence()
	if err != nil {
		tb.Fatal(err)
	}
	return leaf
}

func TestArch(t *testing.T) {
	for raw, want := range map[string]string{
		`[{"arch":"HOPPER"}]`: "HOPPER", `[{"x":[{"arch":"LS10"}],"arch":"blackWell","y":{}}]`: "BLACKWELL", ` [ { "\u0061rch" : "ls10" } ] `: "LS10",
		`[{"arch":"a","arch":"A"}]`:                    "A", // twice the same is for the scheme to refuse
		`[{"arch":"` + strings.Repeat("x", 32) + `"}]`: strings.Repeat("X", 32), string(sample(t)): "HOPPER",
		`[{"arch":"HOPPER","evidence":1,"nonce":null}]`: "HOPPER", // so is the rest
	} {
		if got, err := Arch([]byte(raw)); err != nil || got != want {
			t.Errorf("%.60s: %q, %v", raw, got, err)
		}
	}
	for name, raw := range map[string]string{
		"none": `[{}]`, "nested": `[{"x":{"arch":"HOPPER"}}]`, "other spelling": `[{"Arch":"HOPPER"}]`, "number": `[{"arch":1}]`, "null": `[{"arch":null}]`,
		"empty": `[{"arch":""}]`, "long": `[{"arch":"` + strings.Repeat("x", 33) + `"}]`, "two": `[{"arch":"HOPPER","arch":"LS10"}]`,
		"two devices": `[{"arch":"HOPPER"},{"arch":"HOPPER"}]`, "no device": `[]`, "no object": `["HOPPER"]`, "no array": `{"arch":"HOPPER"}`,
		"nothing": ``, "open": `[{"arch":"HOPPER"`, "data behind": `[{"arch":"HOPPER"}]x`, "comma": `[{"arch":"HOPPER",}]`,
	} {
		if got, err := Arch([]byte(raw)); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What the framework routes by is what the scheme reads.
func FuzzArch(f *testing.F) {
	f.Add(sample(f))
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`[{"arch":"HOPPER","arch":"ls10"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		arch, err := Arch(raw)
		d, bad := Decode(raw)
		if bad != nil {
			return
		}
		if err != nil && len(d.Arch) > 0 && len(d.Arch) <= maxArch {
			t.Fatalf("a device of architecture %q is not routed: %v", d.Arch, err)
		}
		if err == nil && arch != d.Arch {
			t.Fatalf("routed by %q, read as %q", arch, d.Arch)
		}
	})
}

func TestDecode(t *testing.T) {
	d, err := Decode(sample(t))
	if err != nil || d.Arch != "HOPPER" || !bytes.Equal(d.Nonce, samples.GPUNonce()) || !bytes.Equal(d.Report[4:4+NonceSize], d.Nonce) || d.Unknown != nil {
		t.Fatalf("%+v, %v", d, err)
	}
	with := func(member string) []byte {
		return append(append(bytes.TrimSuffix(sample(t), []byte("}]")), ","+member...), "}]"...)
	}
	if d, err = Decode(with(`"driver_version":"1.2","vbios_version":"3","version":"1.0","later":null`)); err != nil || d.Driver != "1.2" || d.VBIOS != "3" || len(d.Unknown) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	var many []string
	for i := range MaxUnknown + 1 {
		many = append(many, fmt.Sprintf(`"m%d":1`, i))
	}
	for name, member := range map[string]string{
		"duplicate": `"arch":"HOPPER"`, "escaped duplicate": `"\u0061rch":"HOPPER"`, "other spelling": `"Nonce":"x"`, "unknown twice": `"x":1,"x":1`,
		"unknown object": `"x":{}`, "unknown array": `"x":[]`, "too many unknown": strings.Join(many, ","), "empty name": `"":1`,
	} {
		if _, err := Decode(with(member)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDecodeBase64(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, 16))
	if b, err := decodeBase64([]byte(good), 16); err != nil || len(b) != 16 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	for name, bad := range map[string]string{
		"line break": good[:4] + "\n" + good[4:], "carriage return": "\r" + good, "no padding": strings.TrimRight(good, "="),
		"trailing bits": good[:len(good)-3] + "B==", "URL alphabet": "-_8=", "too long": base64.StdEncoding.EncodeToString(make([]byte, 17)),
	} {
		if _, err := decodeBase64([]byte(bad), 16); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSplitLimits(t *testing.T) {
	if _, err := Split(MediaType, []byte("["+strings.Repeat("1,", MaxDevices)+"1]")); err == nil {
		t.Error("more devices than the limit")
	}
	if _, err := Split(MediaType, []byte("["+strings.Repeat(" ", limits.Default().Leaf)+"1]")); err == nil {
		t.Error("a leaf larger than the limit")
	}
}

func BenchmarkDecode(b *testing.B) {
	leaf := sample(b)
	b.SetBytes(int64(len(leaf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(leaf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkArch(b *testing.B) {
	leaf := sample(b)
	b.SetBytes(int64(len(leaf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Arch(leaf); err != nil {
			b.Fatal(err)
		}
	}
}
