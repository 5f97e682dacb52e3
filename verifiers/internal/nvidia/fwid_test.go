// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// at is a time at which every recorded chain and every fake one is valid.
var at = time.Date(2025, 1, 15, 0, 0, 0, 0, time.UTC)

func newFake(tb testing.TB) *nvidiatest.Device {
	return nvidiatest.New(tb, rand.Reader, at, nvidiatest.Model{
		Arch: "HOPPER", Chip: "GH100", Engine: "GSP", Prefix: 0x41, PDI: []byte{0xFF, 0xEE, 0xB2, 0, 9, 0xE0, 0xBE, 0x49},
	})
}

func TestCompositeDeviceForm(t *testing.T) {
	f := newFake(t)
	good := nvidiatest.CompositeDevice(f).Value
	key, err := x509.MarshalPKIXPublicKey(&f.Keys[1].PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readCompositeDevice(good, key); err != nil || !bytes.Equal(got.Digest, f.FWID) {
		t.Fatalf("%x, %v", got.Digest, err)
	}
	other, err := x509.MarshalPKIXPublicKey(&f.Key(elliptic.P384()).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readCompositeDevice(good, other); err == nil {
		t.Error("the key of another device")
	}
	content := good[3:] // behind 30 81 len
	for name, der := range map[string][]byte{
		"further element":      sequence(t, append(bytes.Clone(content), 5, 0)),
		"version 2":            sequence(t, append([]byte{2, 1, 2}, content[3:]...)),
		"long length":          append([]byte{0x30, 0x82, 0}, good[2:]...),
		"empty":                nil,
		"cut":                  good[:len(good)-1],
		"digest of 47 bytes":   sequence(t, append(bytes.Clone(content[:3+len(key)]), element(t, oidSHA384, 47)...)),
		"SHA-256 as algorithm": sequence(t, append(bytes.Clone(content[:3+len(key)]), element(t, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, 48)...)),
	} {
		if _, err := readCompositeDevice(der, key); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDiceTCBInfoForm(t *testing.T) {
	list := func(elements ...[]byte) []byte {
		body := bytes.Join(elements, nil)
		return append([]byte{0xA6, byte(len(body))}, body...)
	}
	fw := element(t, oidSHA384, FWIDSize)
	long := sequence(t, append(bytes.Clone(fw[2:]), 5, 0))
	flags := []byte{0x87, 5, 0, 0x10, 0, 0, 0}
	vendor := []byte{0x80, 1, 'N'}
	for _, c := range []struct {
		name        string
		body        []byte
		good, debug bool
	}{
		{"whole", bytes.Join([][]byte{vendor, list(fw), flags, {0x88, 1, 0}, {0x89, 1, 0}}, nil), true, true},
		{"FWID alone", list(fw), true, false},
		{"flags of one byte", append(list(fw), 0x87, 2, 4, 0x10), true, true},
		{"no FWID", bytes.Join([][]byte{vendor, flags}, nil), false, false},
		{"empty list", list(), false, false},
		{"tags out of order", append(list(fw), vendor...), false, false},
		{"tag twice", append(list(fw), list(fw)...), false, false},
		{"unknown tag", append(list(fw), 0x8B, 0), false, false},
		{"FWID with a further element", list(long), false, false},
		{"second FWID with a further element", list(fw[:2:2], nil, fw[2:], long), false, false},
		{"short FWID", list(element(t, oidSHA384, 32)), false, false},
		{"flags without bits", append(list(fw), 0x87, 1, 0), false, false},
		{"universal element", append(list(fw), 5, 0), false, false},
		{"element cut", append(list(fw), 0x87, 9, 0), false, false},
	} {
		der := sequence(t, c.body)
		got, err := readTCBInfo(der)
		if (err == nil) != c.good || got.has(flagDebug) != c.debug || got.has(63) || (c.good && len(got.Digest) != FWIDSize) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if _, err := readTCBInfo(append(der, 0)); err == nil {
			t.Errorf("%s: accepted with a byte behind it", c.name)
		}
	}
	if _, err := readTCBInfo([]byte{4, 0}); err == nil {
		t.Error("an OCTET STRING is accepted")
	}
}

func element(t *testing.T, alg asn1.ObjectIdentifier, n int) []byte {
	t.Helper()
	b, err := asn1.Marshal(fwidElement{alg, make([]byte, n)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sequence(t *testing.T, body []byte) []byte {
	t.Helper()
	b, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzFWID(f *testing.F) {
	g := newFake(f)
	f.Add(nvidiatest.CompositeDevice(g).Value)
	f.Add(nvidiatest.TCBInfo(0x80000001)(g).Value)
	key, err := x509.MarshalPKIXPublicKey(&g.Keys[1].PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, read := range []func() (FWID, error){
			func() (FWID, error) { return readTCBInfo(der) },
			func() (FWID, error) { return readCompositeDevice(der, key) },
		} {
			if got, err := read(); err == nil && len(got.Digest) != FWIDSize {
				t.Fatalf("FWID of %d bytes", len(got.Digest))
			}
		}
	})
}
