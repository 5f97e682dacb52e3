// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/spdm"
)

func TestOpenIsStrict(t *testing.T) {
	raw := evidence(t, device(t, spdm.Options{TSM: spdm.TSMTDX}))
	if _, err := spdm.Open(raw); err != nil {
		t.Fatal(err)
	}
	edit := func(f func(map[int]any)) []byte {
		c := rawContainer(t, raw)
		f(c)
		out, err := cbor.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, bad := range map[string][]byte{
		"empty":       nil,
		"trailing":    append(bytes.Clone(raw), 0),
		"truncated":   raw[:len(raw)-1],
		"unknown key": edit(func(c map[int]any) { c[12] = 1 }),
		"profile":     edit(func(c map[int]any) { c[1] = "x" }),
		"type":        edit(func(c map[int]any) { c[4] = "text" }),
		"duplicate":   append([]byte{raw[0] + 1, 0x02, 0x60}, raw[1:]...),
		"indefinite":  append(append([]byte{0xbf}, raw[1:]...), 0xff),
		"tag":         append([]byte{0xc6}, raw...),
		"too large":   make([]byte, 2<<20),
	} {
		if _, err := spdm.Open(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(evidence(f, device(f, spdm.Options{TSM: spdm.TSMTDX})))
	f.Add(evidence(f, device(f, spdm.Options{Version: spdm.Version13, TSM: spdm.TSMSEVTIO, MultiKey: true, Slots: []uint8{0, 4}})))
	f.Add([]byte{0xa0})
	d := device(f, spdm.Options{TSM: spdm.TSMTDX})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := spdm.Open(raw); err == nil && c.Profile != spdm.Profile {
			t.Error("wrong profile accepted")
		}
		if _, err := d.Digests(raw); err == nil {
			if _, err := spdm.Transcript(raw); err != nil {
				t.Error("digests of a container that cannot be read")
			}
		}
	})
}

func BenchmarkEvidence(b *testing.B) {
	for name, o := range map[string]spdm.Options{
		"p384":           {TSM: spdm.TSMSEVTIO},
		"p256":           {TSM: spdm.TSMSEVTIO, Suite: spdm.SuiteP256},
		"p384 no chall.": {NoChallenge: true},
	} {
		b.Run(name, func(b *testing.B) {
			d := device(b, o)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Evidence(nonce); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
