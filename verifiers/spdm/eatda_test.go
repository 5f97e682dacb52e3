// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verifiers/spdm/eatda"
)

// tokenNonce is the challenge of a session, which need not be that of SPDM.
var tokenNonce = bytes.Repeat([]byte{0x5A}, 64)

// convert sends evidence through a token, changed by change.
func convert(t testing.TB, e *Evidence, change func(*eatda.Device), anchors ...*x509.Certificate) AssignedDevice {
	t.Helper()
	d, err := TokenDevice(e)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(d)
	}
	claims, err := d.Claims()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := eatda.Encode(tokenNonce, eatda.Entry{Name: d.Name, Claims: claims})
	if err != nil {
		t.Fatal(err)
	}
	all, err := ConvertToken(raw, eatda.Options{}, anchors...)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d devices, %v", len(all), err)
	}
	return all[0]
}

// TestTokenVectors sends every capture through a token of its own.
func TestTokenVectors(t *testing.T) {
	n, all := 0, recordings(t)
	for _, r := range all {
		e := r.evidence()
		if _, err := ParseVCA(e.VCA); err != nil || e.Chains[0] == nil || e.Measurements == nil && e.Challenge == nil {
			continue
		}
		if r.expected.TDISP != nil {
			e.Report = r.file(t, cmp.Or(r.expected.TDISP.File, "tdisp/interface-report.bin"))
		}
		d := convert(t, e, nil, r.roots()...)
		if d.Err != nil || len(d.Contradictions) > 0 {
			t.Errorf("%s: %v %v", r.name, d.Err, d.Contradictions)
			continue
		}
		if !bytes.Equal(d.Evidence.VCA, e.VCA) || !bytes.Equal(d.Evidence.Measurements, e.Measurements) || !bytes.Equal(d.Evidence.Challenge, e.Challenge) || !bytes.Equal(d.Evidence.Report, e.Report) {
			t.Errorf("%s: not the same bytes", r.name)
		}
		for slot, chain := range e.Chains {
			if !bytes.Equal(d.Evidence.Chains[slot], chain) {
				t.Errorf("%s: chain %d is not rebuilt", r.name, slot)
			}
		}
		if e.Measurements == nil {
			continue
		}
		e.Digests = nil // a token has no place for it
		want, err := Verify(e, Expect{Anchors: r.anchors, Time: at})
		got, gotErr := Verify(d.Evidence, Expect{Anchors: r.anchors, Time: at})
		if KindOf(err) != KindOf(gotErr) || err == nil && len(want.Blocks) != len(got.Blocks) {
			t.Errorf("%s: %v, expected %v", r.name, gotErr, err)
		}
		if err == nil {
			n++
		}
	}
	if n < 8 && len(all) >= recordedHere {
		t.Errorf("%d captures verify from a token", n)
	}
}

func TestToken(t *testing.T) {
	for name, opts := range map[string][]func(*device){
		"1.1": {versionOf(Version11)}, "1.2": nil, "1.3": {versionOf(Version13)}, "1.4": {versionOf(Version14), func(d *device) { d.large = true }},
		"multi key": {versionOf(Version13), func(d *device) { d.multi = true }},
		"SHA-256":   {func(d *device) { d.asym, d.hash, d.meas = ECDSAP256, BaseSHA256, MeasurementSHA256 }},
		"SHA-512":   {func(d *device) { d.asym, d.hash, d.meas = ECDSAP521, BaseSHA512, MeasurementSHA384 }},
		"RSA":       {func(d *device) { d.asym = RSAPSS3072 }},
		"no root":   {func(d *device) { d.noRoot = true }},
		"no root4":  {versionOf(Version14), func(d *device) { d.noRoot = true }},
	} {
		t.Run(name, func(t *testing.T) {
			dev := newDevice(t, opts...)
			e := dev.evidence(t)
			d := convert(t, e, nil, dev.anchor)
			if d.Err != nil || len(d.Contradictions) > 0 {
				t.Fatal(d.Err, d.Contradictions)
			}
			if d.Name != "spdm:ACME:WIDGET:1" || !bytes.Equal(d.Evidence.Nonce, tokenNonce) || !bytes.Equal(d.Evidence.Chains[0], dev.chain) {
				t.Errorf("%q %x", d.Name, d.Evidence.Nonce)
			}
			r, err := Verify(d.Evidence, dev.expect())
			if err != nil || !r.Fresh || r.Challenge == nil || len(r.Blocks) != 4 {
				t.Fatal(err)
			}
			var seen []byte
			for _, f := range d.Flags {
				seen = append(seen, byte(f.Defect))
			}
			slices.Sort(seen)
			want := "cdg" // text key, index 254, boundary
			if dev.hash == BaseSHA256 {
				want = "acdg"
			}
			if string(seen) != want {
				t.Errorf("flags %q, want %q", seen, want)
			}
		})
	}
}

// TestTokenRootUnknown: without the root in the chain and among the anchors the
// chain leads nowhere, and does not become better by being a token.
func TestTokenRootUnknown(t *testing.T) {
	dev := newDevice(t, func(d *device) { d.noRoot = true })
	d := convert(t, dev.evidence(t), nil)
	if d.Err != nil {
		t.Fatal(d.Err)
	}
	d.Evidence.Challenge = nil
	_, err := Verify(d.Evidence, dev.expect())
	wantKind(t, err, KindRootHash)
}

// TestTokenRoots: of two anchors of one name and key the chain gets the one that the
// device signed for (decision D-131), whichever comes first.
func TestTokenRoots(t *testing.T) {
	for _, read := range []bool{true, false} {
		dev := newDevice(t, func(d *device) { d.noRoot = true })
		x := template("root", true)
		x.NotBefore = at.AddDate(-2, 0, 0)
		again := issue(t, x, x, dev.anchor.PublicKey, newKey(t, ECDSAP256))
		e := dev.evidence(t)
		if !read { // nothing tells, so the first one
			e.Challenge = nil
		}
		for _, order := range [][]*x509.Certificate{{again, dev.anchor}, {dev.anchor, again}} {
			d := convert(t, e, nil, order...)
			if d.Err != nil || len(d.Contradictions) > 0 {
				t.Fatal(d.Err, d.Contradictions)
			}
			if same := bytes.Equal(d.Evidence.Chains[0], dev.chain); same != (read || order[0] == dev.anchor) {
				t.Errorf("the chain is rebuilt: %t", same)
			}
			x := dev.expect()
			x.Anchors = []Anchor{{order[0], SlotFactory}, {order[1], SlotFactory}}
			r, err := Verify(d.Evidence, x)
			if err != nil || read && !r.Identity.Path[len(r.Identity.Path)-1].Equal(dev.anchor) {
				t.Errorf("%v", err)
			}
		}
	}
}

// TestTokenContradictions changes everything that a token restates (B9).
func TestTokenContradictions(t *testing.T) {
	block := func(d *eatda.Device, index uint8) *eatda.Block {
		return &d.Blocks[slices.IndexFunc(d.Blocks, func(b eatda.Block) bool { return b.Index == index })]
	}
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		change func(d *eatda.Device)
		want   string
	}{
		"digest":           {func(d *eatda.Device) { b := block(d, 1); b.Value = flip(b.Value) }, "measurement 1 is"},
		"raw value":        {func(d *eatda.Device) { b := block(d, 0x10); b.Value = flip(b.Value) }, "measurement 16 is"},
		"type":             {func(d *eatda.Device) { block(d, 2).Type = 0 }, "measurement 2 is of type 0"},
		"raw for digest":   {func(d *eatda.Device) { block(d, 1).Raw = true }, "measurement 1 as raw value: true"},
		"another index":    {func(d *eatda.Device) { block(d, 1).Index = 7 }, "measurement 7 is not under"},
		"one more":         {func(d *eatda.Device) { d.Blocks = append(d.Blocks, eatda.Block{Index: 9, Raw: true, Value: []byte{1}}) }, "measurement 9 is not under"},
		"algorithm":        {func(d *eatda.Device) { block(d, 1).Algorithm = 1 }, "digest by SHA-256"},
		"named algorithm":  {func(d *eatda.Device) { block(d, 1).Named = "sha512" }, "digest by SHA-512"},
		"no algorithm":     {func(d *eatda.Device) { block(d, 1).Algorithm = 0 }, ""},
		"algorithm, named": {func(d *eatda.Device) { block(d, 1).Named = "sha384" }, ""},
		"requester nonce":  {func(d *eatda.Device) { d.Measured.Requester = flip(d.Measured.Requester) }, "requester nonce"},
		"responder nonce":  {func(d *eatda.Device) { d.Measured.Responder = flip(d.Measured.Responder) }, "responder nonce"},
		"prefix":           {func(d *eatda.Device) { d.Measured.Prefix = flip(d.Measured.Prefix) }, "combined prefix"},
		"other prefix":     {func(d *eatda.Device) { d.Measured.Prefix = d.Challenge.Prefix }, "combined prefix"},
		"prefix of 1.3":    {func(d *eatda.Device) { d.Measured.Prefix = Prefix(Version13, PurposeMeasurements) }, "combined prefix"},
		"hash":             {func(d *eatda.Device) { d.Measured.Hash = 4 }, "base hash SHA-512"},
		"slot":             {func(d *eatda.Device) { d.Measured.Slot = 1; d.Certificates[1] = d.Certificates[0] }, "names slot 1, the request slot 0"},
		"challenge nonce":  {func(d *eatda.Device) { d.Challenge.Requester = flip(d.Challenge.Requester) }, "challenge_auth signing: requester nonce"},
		"challenge nonce2": {func(d *eatda.Device) { d.Challenge.Responder = flip(d.Challenge.Responder) }, "challenge_auth signing: responder nonce"},
		"challenge prefix": {func(d *eatda.Device) { d.Challenge.Prefix = d.Measured.Prefix }, "challenge_auth signing: combined prefix"},
		"challenge hash":   {func(d *eatda.Device) { d.Challenge.Hash = 1 }, "challenge_auth signing: base hash"},
		"VCA":              {func(d *eatda.Device) { d.VCA = bytes.Clone(d.VCA); d.VCA[8] ^= 1 }, "negotiation messages in IL1"},
		"no VCA":           {func(d *eatda.Device) { d.VCA = nil }, ""},
		"IL1 without VCA":  {func(d *eatda.Device) { d.Measured.IL1 = d.Measured.IL1[len(d.VCA):] }, "lacks the negotiation"},
		"as it is":         {func(*eatda.Device) {}, ""},
	} {
		d := convert(t, newDevice(t).evidence(t), c.change)
		switch {
		case d.Err != nil:
			t.Errorf("%s: %v", name, d.Err)
		case c.want == "" && len(d.Contradictions) > 0,
			c.want != "" && !slices.ContainsFunc(d.Contradictions, func(s string) bool { return strings.Contains(s, c.want) }):
			t.Errorf("%s: %q, want %q", name, d.Contradictions, c.want)
		}
	}
}

// TestTokenRefused has what leaves nothing to verify, DA-08 among it.
func TestTokenRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(d *eatda.Device)
		kind   Kind
	}{
		"DA-08 slot without chain":     {func(d *eatda.Device) { d.Measured.Slot = 3 }, KindSlot},
		"DA-08 slot of the challenge":  {func(d *eatda.Device) { d.Challenge.Slot = 3 }, KindSlot},
		"DA-04 namespace":              {func(d *eatda.Device) { d.Name = "usb:ACME:WIDGET:1" }, KindUnsupported},
		"name of another":              {func(d *eatda.Device) { d.Name = "spdm:ACME:WIDGET:2" }, KindContradiction},
		"subject beside a DMTF name":   {func(d *eatda.Device) { d.Name = "spdm:CN=leaf" }, KindContradiction},
		"nothing signed":               {func(d *eatda.Device) { d.Measured, d.Challenge = nil, nil }, KindUnsigned},
		"measurements alone":           {func(d *eatda.Device) { d.Certificates, d.Challenge = nil, nil }, KindMissing},
		"no negotiation":               {func(d *eatda.Device) { d.Measured.IL1, d.VCA, d.Challenge = d.Measured.IL1[len(d.VCA):], nil, nil }, KindMissing},
		"M1 without negotiation":       {func(d *eatda.Device) { d.Challenge.IL1 = d.Challenge.IL1[len(d.VCA):] }, KindUnsupported},
		"negotiation alone":            {func(d *eatda.Device) { d.Measured.IL1 = d.VCA }, KindMissing},
		"IL1 of one byte":              {func(d *eatda.Device) { d.Measured.IL1 = []byte{0x12} }, KindMalformed},
		"IL1 cut":                      {func(d *eatda.Device) { d.Measured.IL1 = d.Measured.IL1[:len(d.Measured.IL1)-1] }, KindMalformed},
		"IL1 with padding":             {func(d *eatda.Device) { d.Measured.IL1 = append(bytes.Clone(d.Measured.IL1), 0) }, KindMalformed},
		"signature cut":                {func(d *eatda.Device) { d.Measured.Value = d.Measured.Value[1:] }, KindMalformed},
		"chain is none":                {func(d *eatda.Device) { d.Certificates[0] = bytes.Repeat([]byte{0x30, 0x80}, 20) }, KindCertificate},
		"leaf is no certificate":       {func(d *eatda.Device) { d.Certificates[0] = append([]byte{0x30, 0x81, 0x80}, make([]byte, 0x80)...) }, KindCertificate},
		"challenge for measurements":   {func(d *eatda.Device) { d.Measured.IL1 = d.Challenge.IL1 }, KindMalformed},
		"block with unknown component": {func(d *eatda.Device) { d.Blocks[0].Type = 11 }, KindMalformed},
	} {
		d := convert(t, newDevice(t).evidence(t), c.change)
		if KindOf(d.Err) != c.kind || d.Evidence != nil {
			t.Errorf("%s: %v, want kind %s", name, d.Err, c.kind)
		}
	}
}

// TestTokenForged: what a token says beside the signature helps nobody, and a
// changed byte of what is signed is a wrong signature.
func TestTokenForged(t *testing.T) {
	dev := newDevice(t)
	e := dev.evidence(t)
	for name, change := range map[string]func(d *eatda.Device){
		"nonce in the request": func(d *eatda.Device) {
			d.Measured.IL1 = bytes.Clone(d.Measured.IL1)
			d.Measured.IL1[len(d.VCA)+4] ^= 1
			d.Measured.Requester = bytes.Clone(d.Measured.Requester)
			d.Measured.Requester[0] ^= 1
		},
		"digest": func(d *eatda.Device) {
			d.Blocks[0].Value = bytes.Repeat([]byte{7}, 48)
			d.Measured.IL1 = bytes.Replace(d.Measured.IL1, dev.sum([]byte("rom")), d.Blocks[0].Value, 1)
		},
	} {
		d := convert(t, e, change)
		if d.Err != nil || len(d.Contradictions) > 0 {
			t.Fatalf("%s: %v %q", name, d.Err, d.Contradictions)
		}
		x := dev.expect()
		x.Nonce = nil
		_, err := Verify(d.Evidence, x)
		wantKind(t, err, KindSignature)
	}
}

// TestTokenFlips changes every third byte of a token, and cuts it everywhere. What is accepted all the same is
// what the device signed, and what the token restates of it.
func TestTokenFlips(t *testing.T) {
	dev := newDevice(t, func(d *device) { d.asym, d.hash, d.meas = ECDSAP256, BaseSHA256, MeasurementSHA256 })
	e := dev.evidence(t)
	e.Report = unhex(t, "0100"+"0000"+"0700"+"0000"+"01000000"+"01000000"+"1000000000000000"+"04000000"+"0400"+"0200"+"03000000"+"616263")
	raw, err := EncodeToken(tokenNonce, e)
	if err != nil {
		t.Fatal(err)
	}
	good, err := ConvertToken(raw, eatda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := 0; i < len(raw); i += 3 {
		if testing.Short() && i%13 != 0 { // a sample under the race detector
			continue
		}
		b := bytes.Clone(raw)
		b[i] ^= 0x11
		all, err := ConvertToken(b, eatda.Options{})
		if err != nil || all[0].Err != nil || len(all[0].Contradictions) > 0 {
			continue
		}
		got := all[0].Evidence
		if _, err := Verify(got, dev.expect()); err != nil {
			continue
		}
		accepted++
		if !bytes.Equal(got.VCA, e.VCA) || !bytes.Equal(got.Measurements, e.Measurements) || got.Challenge != nil && !bytes.Equal(got.Challenge, e.Challenge) || !bytes.Equal(got.Chains[0], dev.chain) {
			t.Fatalf("byte %d: accepted what the device did not sign", i)
		}
		for j, block := range all[0].Token.Blocks {
			if want := good[0].Token.Blocks[j]; block.Index != want.Index || block.Type != want.Type || !bytes.Equal(block.Value, want.Value) {
				t.Fatalf("byte %d: accepted measurement %d, which the device did not sign", i, block.Index)
			}
		}
	}
	// Nobody signs the nonce of the lead, the report, the keys of claims that may be
	// absent (then there is no challenge), and numbers of no algorithm.
	if !testing.Short() && accepted < 20 || accepted > 80 {
		t.Errorf("%d of %d changed tokens are accepted", accepted, len(raw))
	}
	for i := range raw {
		if testing.Short() && i%13 != 0 { // a sample under the race detector
			continue
		}
		if _, err := ConvertToken(raw[:i], eatda.Options{}); err == nil {
			t.Fatalf("cut at %d of %d is read", i, len(raw))
		}
	}
}

func TestTokenNames(t *testing.T) {
	subject := leafWith(func(x *x509.Certificate) {
		x.ExtraExtensions = nil
		x.Subject = pkix.Name{Country: []string{"CA"}, Organization: []string{"ACME"}, OrganizationalUnit: []string{"Widget-B"}, CommonName: "9876543210"}
	})
	e := newDevice(t, subject).evidence(t)
	for name, ok := range map[string]bool{
		"spdm:CN=9876543210,OU=Widget-B,O=ACME,C=CA": true, // RFC 4514
		"spdm:C=CA,O=ACME,OU=Widget-B,CN=9876543210": true, // the draft's example
		"spdm:CN=9876543210,O=ACME,OU=Widget-B,C=CA": false,
		"spdm:CN=9876543210":                         false,
	} {
		d := convert(t, e, func(d *eatda.Device) { d.Name = name })
		if (d.Err == nil) != ok || ok && d.Evidence.Device != "spdm:CN=9876543210,OU=Widget-B,O=ACME,C=CA" {
			t.Errorf("%s: %v", name, d.Err)
		}
	}
}

// TestTokenReport: a report of one range is rewritten byte for byte, one of more
// is carried whole, and one that cannot be written is left out.
func TestTokenReport(t *testing.T) {
	e := newDevice(t).evidence(t)
	one := unhex(t, "0100"+"0000"+"0700"+"0000"+"01000000"+"01000000"+"1000000000000000"+"04000000"+"0400"+"0200"+"03000000"+"616263")
	two := unhex(t, "0100"+"0000"+"0000"+"0000"+"00000000"+"02000000"+"1000000000000000"+"04000000"+"0000"+"0000"+"2000000000000000"+"04000000"+"0000"+"0100"+"00000000")
	none := unhex(t, "0300"+"0000"+"0000"+"0000"+"00000000"+"00000000"+"00000000")
	for i, report := range [][]byte{one, two, none} {
		e.Report = report
		d := convert(t, e, nil)
		if d.Err != nil || !bytes.Equal(d.Evidence.Report, report) {
			t.Errorf("%d: %v: %x", i, d.Err, d.Evidence.Report)
		}
	}
	for name, c := range map[string]struct {
		report *eatda.Report
		defect eatda.Defect
	}{
		"a member is missing":           {&eatda.Report{Info: []byte{1, 0}, MSIX: []byte{0, 0}, LNR: []byte{0, 0}}, eatda.DefectPartial},
		"information that is no report": {&eatda.Report{Specific: []byte("tdisp_dev_emu")}, eatda.DefectRaw},
	} {
		e.Report = nil
		d := convert(t, e, func(d *eatda.Device) { d.Report = c.report })
		if d.Err != nil || d.Evidence.Report != nil || !slices.ContainsFunc(d.Flags, func(f eatda.Flag) bool { return f.Defect == c.defect }) {
			t.Errorf("%s: %v: %x, %v", name, d.Err, d.Evidence.Report, d.Flags)
		}
	}
}

// TestTokenDevices: each device for itself, one that is bad beside one that is good.
func TestTokenDevices(t *testing.T) {
	good := newDevice(t)
	other := newDevice(t, leafWith(func(x *x509.Certificate) {
		x.ExtraExtensions = []pkix.Extension{sanOf(t, false, map[string]asn1.ObjectIdentifier{"ACME:WIDGET:2": oidDeviceInfo})}
	}))
	raw, err := EncodeToken(tokenNonce, good.evidence(t), other.evidence(t))
	if err != nil {
		t.Fatal(err)
	}
	all, err := ConvertToken(raw, eatda.Options{})
	if err != nil || len(all) != 2 || all[0].Err != nil || all[1].Err != nil {
		t.Fatal(err, all)
	}
	broken := bytes.Replace(raw, []byte("spdm:ACME:WIDGET:2"), []byte("spdm:ACME:WIDGET:3"), 1)
	if all, err = ConvertToken(broken, eatda.Options{}); err != nil || all[0].Err != nil {
		t.Fatal(err, all[0].Err)
	}
	wantKind(t, all[1].Err, KindContradiction)
	if _, err := EncodeToken(tokenNonce, good.evidence(t), good.evidence(t)); err == nil {
		t.Error("one device twice")
	}
	if _, err := ConvertToken(raw[1:], eatda.Options{}); KindOf(err) != KindMalformed {
		t.Error(err)
	}
}

// TestTokenExample reads the example of the draft: nothing in it is signed.
func TestTokenExample(t *testing.T) {
	raw, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(t, "spdm/eat-da/draft-example-1.hex"))))
	if err != nil {
		t.Fatal(err)
	}
	all, err := ConvertToken(raw, eatda.Options{})
	if err != nil || len(all) != 2 {
		t.Fatal(err)
	}
	for _, d := range all {
		wantKind(t, d.Err, KindUnsigned)
	}
}
