// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"slices"
	"testing"
)

// TestMessagesTruncated cuts every message at every length and adds bytes.
func TestMessagesTruncated(t *testing.T) {
	for _, version := range []Version{Version10, Version11, Version12, Version13, Version14} {
		d := newDevice(t, versionOf(version), func(d *device) { d.multi = version >= Version13; d.large = version >= Version14 })
		v := mustVCA(t, d.vca)
		challenge := d.msg(0x83, d.slot, 0xFF, d.nonce, d.context())
		c, err := ParseChallenge(challenge, v)
		if err != nil {
			t.Fatal(err)
		}
		auth := d.challenge(t, nil)[len(challenge):]
		get := d.getMeasurements(1, 0xFF, d.nonce)
		g, err := ParseGetMeasurements(get, v)
		if err != nil {
			t.Fatal(err)
		}
		certs := d.certificates()
		size := 8
		if d.large {
			size = 16
		}
		gc, err := ParseGetCertificate(certs[:size], v)
		if err != nil {
			t.Fatal(err)
		}
		vendor := d.msg(0xFE, 0, 0, []byte{3, 0, 2, 1, 0, 3, 0, 1, 0x10, 0x81})
		for name, m := range map[string]struct {
			raw   []byte
			parse func([]byte) error
		}{
			"vca":              {d.vca, func(b []byte) error { _, err := ParseVCA(b); return err }},
			"digests":          {d.digests(), func(b []byte) error { _, err := ParseDigests(b, v); return err }},
			"get certificate":  {certs[:size], func(b []byte) error { _, err := ParseGetCertificate(b, v); return err }},
			"certificate":      {certs[size : 2*size+len(d.chain)/2], func(b []byte) error { _, err := ParseCertificate(b, v, gc); return err }},
			"challenge":        {challenge, func(b []byte) error { _, err := ParseChallenge(b, v); return err }},
			"challenge auth":   {auth, func(b []byte) error { _, err := ParseChallengeAuth(b, v, c); return err }},
			"get measurements": {get, func(b []byte) error { _, err := ParseGetMeasurements(b, v); return err }},
			"measurements":     {d.measurements(t)[len(get):], func(b []byte) error { _, err := ParseMeasurements(b, v, g); return err }},
			"chain":            {d.chain, func(b []byte) error { _, err := ParseChain(b, v); return err }},
			"vendor":           {vendor, func(b []byte) error { _, err := ParseVendor(b, version); return err }},
			"log":              {sampleLog(), func(b []byte) error { _, err := ParseLog(b); return err }},
			"report":           {sampleReport(), func(b []byte) error { _, err := ParseReport(b); return err }},
		} {
			if err := m.parse(m.raw); err != nil {
				t.Fatalf("%s %s: %v", version, name, err)
			}
			for n := range len(m.raw) {
				if m.parse(m.raw[:n:n]) == nil {
					t.Fatalf("%s %s: %d of %d bytes accepted", version, name, n, len(m.raw))
				}
			}
			if err := m.parse(append(bytes.Clone(m.raw), 0)); err == nil {
				t.Fatalf("%s %s: a byte behind accepted", version, name)
			}
		}
	}
}

func TestVCARules(t *testing.T) {
	base := newDevice(t, versionOf(Version13), func(d *device) { d.multi = true })
	algorithms := len(base.vca) - 44 // ALGORITHMS with two tables
	negotiate := algorithms - 40
	change := func(at int, b ...byte) func([]byte) []byte {
		return func(v []byte) []byte { copy(v[at:], b); return v }
	}
	for _, c := range []struct {
		name string
		f    func([]byte) []byte
		kind Kind
	}{
		{"version not offered", change(13, 0x14), KindMalformed},
		{"version 2.0", change(14, 0x20), KindUnsupported},
		{"GET_VERSION of 1.3", change(0, 0x13), KindMalformed},
		{"messages of different versions", change(negotiate, 0x12), KindMalformed},
		{"length of ALGORITHMS", change(algorithms+4, 45), KindMalformed},
		{"two base asym", change(algorithms+12, 0x90), KindMalformed},
		{"no base asym", change(algorithms+12, 0, 0), KindMalformed},
		{"base asym not offered", change(algorithms+12, 0x04), KindMalformed},
		{"base hash not offered", change(algorithms+16, 0x04), KindMalformed},
		{"two measurement hashes", change(algorithms+8, 6), KindMalformed},
		{"no measurement hash", change(algorithms+8, 0), KindMalformed},
		{"measurement specification", change(algorithms+6, 2), KindUnsupported},
		{"opaque format not offered", change(algorithms+7, 0x11), KindMalformed},
		{"external algorithm", change(algorithms+32, 1), KindMalformed},
		{"table type twice", change(algorithms+40, 2), KindMalformed},
		{"table not offered", change(algorithms+40, 4), KindMalformed},
		{"empty table not offered", change(algorithms+40, 4, 0x20, 0, 0), KindMalformed},
		{"table of an algorithm not offered", change(algorithms+38, 0x04), KindMalformed},
		{"table of two algorithms", change(algorithms+38, 0x18), KindMalformed},
		{"fixed length of a table", change(algorithms+37, 0x30), KindMalformed},
		{"multi-key without the capability", change(algorithms-40-20+11, 0), KindMalformed},
		{"reserved MEAS_CAP", change(algorithms-40-20+8, 0x3E), KindMalformed},
		{"log specification not offered", change(algorithms+31, 1), KindMalformed},
		{"too large", func(b []byte) []byte { return append(b, make([]byte, MaxVCA)...) }, KindMalformed},
	} {
		if _, err := ParseVCA(c.f(bytes.Clone(base.vca))); KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, f := range map[string]func(*device){
		"SM2":              func(d *device) { d.asym = SM2P256 },
		"Ed448":            func(d *device) { d.asym = Ed448 },
		"SM3":              func(d *device) { d.hash = BaseSM3 },
		"Ed25519 in 1.1":   func(d *device) { d.asym, d.version = Ed25519, Version11 },
		"external in 1.3":  nil,
		"ML-DSA-65 in 1.4": nil,
	} {
		d := &device{version: Version13, asym: ECDSAP384, hash: BaseSHA384, meas: MeasurementSHA384, flags: 0x16, opaque: 2}
		if f != nil {
			f(d)
		} else if name == "ML-DSA-65 in 1.4" {
			d.version = Version14
		}
		d.makeVCA()
		at := len(d.vca) - 44
		switch name {
		case "external in 1.3":
			d.vca[at+32] = 1
			d.vca[at+4] += 4
			d.vca = slices.Insert(d.vca, at+36, 1, 2, 3, 4)
		case "ML-DSA-65 in 1.4":
			d.vca[at-40+16], d.vca[at+20] = 2, 2
			copy(d.vca[at+12:], []byte{0, 0, 0, 0})
		}
		if _, err := ParseVCA(d.vca); KindOf(err) != KindUnsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVCAAlgorithmsBlock: from 1.3 CAPABILITIES may carry algorithms, if asked.
func TestVCAAlgorithmsBlock(t *testing.T) {
	d := newDevice(t, versionOf(Version13))
	const request, response = 14, 34
	with := slices.Insert(bytes.Clone(d.vca), response+20, 0, 0, 8, 0, 9, 9, 9, 9)
	with[response+2] = 1
	_, err := ParseVCA(with)
	wantKind(t, err, KindMalformed)
	with[request+2] = 1
	if _, err := ParseVCA(with); err != nil {
		t.Fatal(err)
	}
	with[response+22] = 3
	_, err = ParseVCA(with)
	wantKind(t, err, KindMalformed)
}

func TestBlockRules(t *testing.T) {
	d := newDevice(t)
	v := mustVCA(t, d.vca)
	g, err := ParseGetMeasurements(d.getMeasurements(1, 0xFF, d.nonce), v)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(count byte, record []byte) error {
		_, err := ParseMeasurements(append(d.unsigned(count, record), make([]byte, 96)...), v, g)
		return err
	}
	one, two := block(1, 0, make([]byte, 48)), block(2, 0, make([]byte, 48))
	if err := parse(2, slices.Concat(one, two)); err != nil {
		t.Fatal(err)
	}
	with := func(b []byte, at int, c byte) []byte { b = bytes.Clone(b); b[at] = c; return b }
	for name, err := range map[string]error{
		"duplicate":            parse(2, slices.Concat(one, one)),
		"descending":           parse(2, slices.Concat(two, one)),
		"count too small":      parse(1, slices.Concat(one, two)),
		"count too large":      parse(3, slices.Concat(one, two)),
		"index 0":              parse(1, with(one, 0, 0)),
		"index 255":            parse(1, with(one, 0, 0xFF)),
		"specification":        parse(1, with(one, 1, 2)),
		"two specifications":   parse(1, with(one, 1, 3)),
		"size":                 parse(1, with(one, 2, 50)),
		"size 0":               parse(1, []byte{1, 1, 0, 0, 0, 0, 0}),
		"value size":           parse(1, with(one, 5, 47)),
		"digest of 32 bytes":   parse(1, block(1, 0, make([]byte, 32))),
		"svn of 4 bytes":       parse(1, block(1, 0x87, make([]byte, 4))),
		"device mode of 12":    parse(1, block(0xFE, 0x85, make([]byte, 12))),
		"a byte in the record": parse(1, append(bytes.Clone(one), 0)),
		"value behind record":  parse(1, one[:len(one)-1]),
	} {
		if KindOf(err) != KindMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	huge := append(d.unsigned(0, nil), make([]byte, 96)...)
	copy(huge[5:8], []byte{0xFF, 0xFF, 0xFF})
	if _, err := ParseMeasurements(huge, v, g); KindOf(err) != KindMalformed {
		t.Fatal(err)
	}
	// 70 kB that are all there.
	if KindOf(parse(2, slices.Concat(block(1, 0x80, make([]byte, 60000)), block(2, 0x80, make([]byte, 10000))))) != KindMalformed {
		t.Fatal("record above the limit")
	}
	change := append(d.unsigned(1, one), make([]byte, 96)...)
	change[3] = 0x30
	if _, err := ParseMeasurements(change, v, g); KindOf(err) != KindMalformed {
		t.Fatal("reserved content change:", err)
	}
	change[3] = 0x21
	if _, err := ParseMeasurements(change, v, g); KindOf(err) != KindSlot {
		t.Fatal("slot of the response:", err)
	}
}

func TestTrimPadding(t *testing.T) {
	d := newDevice(t)
	v := mustVCA(t, d.vca)
	get := d.getMeasurements(1, 0xFF, d.nonce)
	g, _ := ParseGetMeasurements(get, v)
	raw := d.measurements(t)[len(get):]
	for n := range 4 {
		got, err := TrimPadding(append(bytes.Clone(raw), make([]byte, n)...), v, g)
		if err != nil || !bytes.Equal(got, raw) {
			t.Fatal(n, err)
		}
	}
	for _, tail := range [][]byte{{0, 0, 0, 0}, {1}, {0, 0, 1}} {
		if _, err := TrimPadding(append(bytes.Clone(raw), tail...), v, g); err == nil {
			t.Fatal(tail)
		}
	}
}

func TestOpaque(t *testing.T) {
	good := []byte{2, 0, 0, 0, 3, 2, 1, 0, 1, 0, 'x', 0, 0, 0, 0, 0}
	e, err := ParseOpaque(good)
	if err != nil || len(e) != 2 || e[0].Registry != 3 || string(e[0].Data) != "x" {
		t.Fatal(e, err)
	}
	for n := range len(good) {
		if _, err := ParseOpaque(good[:n]); err == nil {
			t.Fatal(n)
		}
	}
	for _, at := range []int{1, 11} { // reserved, padding
		bad := bytes.Clone(good)
		bad[at] = 1
		if _, err := ParseOpaque(bad); err == nil {
			t.Fatal(at)
		}
	}
	if _, err := ParseOpaque(append(bytes.Clone(good), 0, 0, 0, 0)); err == nil {
		t.Fatal("trailing")
	}
	d := newDevice(t, func(d *device) { d.opaque, d.data = 0, []byte{1, 2, 3} })
	_, err = Verify(d.evidence(t), d.expect())
	wantKind(t, err, KindMalformed)
	d = newDevice(t, func(d *device) { d.data = []byte{1, 2, 3} })
	_, err = Verify(d.evidence(t), d.expect())
	wantKind(t, err, KindMalformed)
	d = newDevice(t, versionOf(Version11), func(d *device) { d.data = make([]byte, MaxOpaque+1) })
	_, err = Verify(d.evidence(t), d.expect())
	wantKind(t, err, KindMalformed)
}

func TestCertificateRules(t *testing.T) {
	d := newDevice(t, versionOf(Version14), func(d *device) { d.large = true })
	v := mustVCA(t, d.vca)
	get := func(slot, param2 byte) *GetCertificate {
		g, err := ParseGetCertificate(d.msg(0x82, slot, param2, le16(0), le16(4)), v)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	rsp := d.msg(2, 0, 1, le16(4), le16(9), []byte("abcd"))
	c, err := ParseCertificate(rsp, v, get(0, 0))
	if err != nil || c.Model != ModelDevice || c.Remainder != 9 {
		t.Fatal(c, err)
	}
	for name, x := range map[string]struct {
		rsp  []byte
		req  *GetCertificate
		kind Kind
	}{
		"other slot":          {rsp, get(1, 0), KindSlot},
		"more than requested": {d.msg(2, 0, 0, le16(5), le16(9), []byte("abcde")), get(0, 0), KindMalformed},
		"large answer":        {d.msg(2, 0x80, 0, make([]byte, 4), le32(4), le32(9), []byte("abcd")), get(0, 0), KindMalformed},
		"data for a size":     {rsp, get(0, 1), KindMalformed},
	} {
		if _, err := ParseCertificate(x.rsp, v, x.req); KindOf(err) != x.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseGetCertificate(d.msg(0x82, 8, 0, le16(0), le16(4)), v); KindOf(err) != KindMalformed {
		t.Fatal(err)
	}
	// The size of the slot, without data, is part of M1 like every exchange.
	size := slices.Concat(d.msg(0x82, 0, 1, le16(0), le16(0)), d.msg(2, 0, 0, le16(0), le16(len(d.chain))))
	e := d.evidence(t)
	e.Challenge = d.challenge(t, slices.Concat(d.msg(0x81, 0, 0), d.digests(), size, d.certificates()))
	if _, err := Verify(e, d.expect()); err != nil {
		t.Fatal(err)
	}
}

func TestDigestsRules(t *testing.T) {
	d := newDevice(t, versionOf(Version13))
	v := mustVCA(t, d.vca)
	for name, b := range map[string][]byte{
		"no slot":           d.msg(1, 0xFF, 0),
		"slot not possible": d.msg(1, 1, 3, make([]byte, 96)),
		"one digest of two": d.msg(1, 3, 3, make([]byte, 48)),
		"multi-key tail":    append(d.digests(), 5, 1, 0x0F, 0),
		"other version":     append([]byte{0x12}, d.digests()[1:]...),
		"other code":        append([]byte{0x13, 2}, d.digests()[2:]...),
	} {
		if _, err := ParseDigests(b, v); KindOf(err) != KindMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChallengeRules(t *testing.T) {
	d := newDevice(t)
	v := mustVCA(t, d.vca)
	raw := d.challenge(t, nil)
	c, err := ParseChallenge(raw[:36], v)
	if err != nil {
		t.Fatal(err)
	}
	auth := func(at int, b byte) []byte { out := bytes.Clone(raw[36:]); out[at] = b; return out }
	if _, err := ParseChallengeAuth(append([]byte{0x12, 3, 1, 3}, raw[40:]...), v, c); KindOf(err) != KindSlot {
		t.Fatal("slot:", err)
	}
	if _, err := ParseChallengeAuth(auth(3, 2), v, c); KindOf(err) != KindSlot {
		t.Fatal("mask:", err)
	}
	for slot, kind := range map[byte]Kind{0xFF: KindUnsupported, 0x0F: KindUnsupported, 8: KindMalformed} {
		if _, err := ParseChallenge(d.msg(0x83, slot, 0, d.nonce), v); KindOf(err) != kind {
			t.Fatal(slot, err)
		}
	}
	if _, err := ParseChallenge(d.msg(0x83, 0, 2, d.nonce), v); KindOf(err) != KindMalformed {
		t.Fatal("summary type:", err)
	}
	if _, err := ParseGetMeasurements(d.msg(0xE0, 1, 0xFF, d.nonce, []byte{0x0F}), v); KindOf(err) != KindUnsupported {
		t.Fatal("provisioned key:", err)
	}
}

func TestTDISPRules(t *testing.T) {
	head := func(code byte, body ...byte) []byte {
		return append([]byte{0x10, code, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, body...)
	}
	for name, c := range map[string]struct {
		b    []byte
		kind Kind
	}{
		"version":            {append([]byte{0x20}, head(0x81)[1:]...), KindMalformed},
		"reserved lock flag": {head(0x83, append([]byte{0x20, 0}, make([]byte, 18)...)...), KindMalformed},
		"state 4":            {head(0x05, 4), KindMalformed},
		"bind P2P":           {head(0x88), KindUnsupported},
	} {
		if _, err := ParseTDISP(c.b); KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	message := func(b []byte) *TDISPMessage {
		m, err := ParseTDISP(b)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	req := message(head(0x84, 0, 0, 2, 0))
	rsp := message(head(0x04, 2, 0, 0, 0, 'a', 'b'))
	if raw, err := Assemble([][2]*TDISPMessage{{req, rsp}}); err != nil || string(raw) != "ab" {
		t.Fatal(raw, err)
	}
	other := *rsp
	other.Function = 2
	long := message(head(0x04, 3, 0, 0, 0, 'a', 'b', 'c'))
	first, second := message(head(0x04, 2, 0, 1, 0, 'a', 'b')), message(head(0x84, 2, 0, 2, 0))
	foreign := *second
	foreign.Function = 2
	for name, pairs := range map[string][][2]*TDISPMessage{
		"other function":                {{req, &other}},
		"longer than requested":         {{req, long}},
		"second half of another device": {{req, first}, {&foreign, &other}},
		"something remains":             {{req, first}},
	} {
		if _, err := Assemble(pairs); KindOf(err) != KindMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
