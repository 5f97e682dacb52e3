// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestContainerRoundTrip(t *testing.T) {
	state, flags := StateRun, LockNoFirmwareUpdate|LockMSIX
	in := &Evidence{Device: "pci:0000:01:00.0", Nonce: []byte{1}, VCA: []byte{2}, Chains: map[uint8][]byte{0: {3}, 7: make([]byte, 300)}, Measurements: []byte{4},
		Challenge: []byte{5}, Report: []byte{6}, TSM: &TSM{Kind: "cca-rsi-vdev-info", Raw: make([]byte, 70000), State: &state, LockFlags: &flags}, Digests: []byte{7}, Log: []byte{8}}
	raw, err := in.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode(raw)
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Fatal(out, err)
	}
	// The parts point into the input.
	at := bytes.LastIndexByte(raw, 8)
	raw[at] = 99
	if out.Log[0] != 99 {
		t.Fatal("the log was copied")
	}
	for n := range 400 {
		if _, err := Decode(raw[:n]); KindOf(err) == "" {
			t.Fatal(n, err)
		}
	}
	if _, err := Decode(append(raw, 0)); KindOf(err) != KindMalformed {
		t.Fatal(err)
	}
	minimal := &Evidence{VCA: []byte{1}, Chains: map[uint8][]byte{0: {1}}}
	if raw, err = minimal.Encode(); err != nil {
		t.Fatal(err)
	}
	if out, err = Decode(raw); err != nil || out.Challenge != nil || out.Report != nil || out.TSM != nil {
		t.Fatal(out, err)
	}
}

func TestContainerRules(t *testing.T) {
	enc := func(v any) []byte {
		b, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	entries := [][]byte{enc(1), enc(Profile), enc(4), enc([]byte{1}), enc(5), enc(map[int][]byte{0: {1}})}
	mapOf := func(extra ...[]byte) []byte {
		all := append(slices.Clone(entries), extra...)
		return append([]byte{0xA0 | byte(len(all)/2)}, slices.Concat(all...)...)
	}
	with := func(i int, b []byte) []byte {
		all := slices.Clone(entries)
		all[i] = b
		return append([]byte{0xA0 | byte(len(all)/2)}, slices.Concat(all...)...)
	}
	if _, err := Decode(mapOf()); err != nil {
		t.Fatal(err)
	}
	indefinite := append([]byte{0xBF}, append(slices.Concat(entries...), 0xFF)...)
	for name, c := range map[string]struct {
		raw  []byte
		kind Kind
	}{
		"duplicate key":       {mapOf(enc(4), enc([]byte{2})), KindMalformed},
		"duplicate slot":      {with(5, []byte{0xA2, 0, 0x41, 1, 0, 0x41, 2}), KindMalformed},
		"duplicate long key":  {mapOf([]byte{0x18, 4}, enc([]byte{2})), KindMalformed},
		"unknown key":         {mapOf(enc(12), enc([]byte{2})), KindMalformed},
		"text key":            {mapOf(enc("4"), enc([]byte{2})), KindMalformed},
		"indefinite map":      {indefinite, KindMalformed},
		"indefinite string":   {with(3, []byte{0x5F, 0x41, 1, 0xFF}), KindMalformed},
		"array for bytes":     {with(3, []byte{0x81, 1}), KindMalformed},
		"null for bytes":      {with(3, []byte{0xF6}), KindMalformed},
		"null for a chain":    {with(5, []byte{0xA1, 0, 0xF6}), KindMalformed},
		"text for bytes":      {with(3, []byte{0x61, 'a'}), KindMalformed},
		"tag":                 {with(3, []byte{0xC2, 0x41, 1}), KindMalformed},
		"tagged map":          {append([]byte{0xD9, 0xD9, 0xF7}, mapOf()...), KindMalformed},
		"slot 8":              {with(5, []byte{0xA1, 8, 0x41, 1}), KindMalformed},
		"slot 256":            {with(5, []byte{0xA1, 0x19, 1, 0, 0x41, 1}), KindMalformed},
		"slot -1":             {with(5, []byte{0xA1, 0x20, 0x41, 1}), KindMalformed},
		"no slot":             {with(5, []byte{0xA0}), KindMissing},
		"other profile":       {with(1, enc("tag:assize.dev,2026:spdm-evidence#2")), KindUnsupported},
		"empty VCA":           {with(3, []byte{0x40}), KindMissing},
		"invalid UTF-8":       {mapOf(enc(2), []byte{0x61, 0xFF}), KindMalformed},
		"long name":           {mapOf(enc(2), enc(string(make([]byte, 257)))), KindMalformed},
		"TSM without a kind":  {mapOf(enc(9), []byte{0xA1, 2, 0x41, 1}), KindMalformed},
		"TSM unknown key":     {mapOf(enc(9), enc(map[int]any{1: "x", 5: 1})), KindMalformed},
		"lock flags too wide": {mapOf(enc(9), enc(map[int]any{1: "x", 4: 1 << 16})), KindMalformed},
		"array":               {[]byte{0x80}, KindMalformed},
		"null":                {[]byte{0xF6}, KindMalformed},
		"null for a name":     {mapOf(enc(2), []byte{0xF6}), KindMalformed},
		"null for TSM":        {mapOf(enc(9), []byte{0xF6}), KindMalformed},
		"nothing":             {nil, KindMalformed},
		"too large":           {make([]byte, 1<<20+1), KindMalformed},
	} {
		if _, err := Decode(c.raw); KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecorder(t *testing.T) {
	d := newDevice(t)
	get, all := d.getMeasurements(0, 1, nil), d.unsigned(1, block(1, 0, make([]byte, 48)))
	fault := d.msg(0x7F, 1, 0)
	var r Recorder
	r.Add(get, all)
	if !bytes.Equal(r.Pending(), slices.Concat(get, all)) {
		t.Fatal("accumulate")
	}
	r.Add(d.getMeasurements(0, 2, nil), fault)
	if len(r.Pending()) != 0 {
		t.Fatal("an ERROR response resets")
	}
	r.Add(get, all)
	r.Add(d.msg(0x81, 0, 0), d.digests())
	if len(r.Pending()) != 0 || !bytes.Equal(r.Digests, d.digests()) {
		t.Fatal("another request resets")
	}
	r.Add(d.msg(0x81, 0, 0), d.digests())
	c := d.challenge(t, slices.Concat(d.msg(0x81, 0, 0), d.digests()))
	r.Add(d.msg(0x82, 1, 0, make([]byte, 4)), fault)
	at := len(c) - len(d.challenge(t, nil))
	r.Add(c[at:at+36], c[at+36:])
	if len(r.Challenges) != 1 || !bytes.Equal(r.Challenges[0], c) {
		t.Fatal("a new GET_DIGESTS restarts")
	}
	signed := d.getMeasurements(1, 1, d.nonce)
	r.Add(get, all)
	r.Add(signed, all)
	r.Add(signed, all)
	if len(r.Measurements) != 2 || len(r.Measurements[0]) != len(get)+len(signed)+2*len(all) || len(r.Measurements[1]) != len(signed)+len(all) {
		t.Fatal("a signature resets")
	}
	r.Add(d.vca[:4], d.vca[4:14])
	if len(r.Measurements) != 0 || len(r.VCA()) != 14 {
		t.Fatal("GET_VERSION resets all")
	}
	r.Add(nil, nil)
}
