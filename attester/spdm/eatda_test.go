// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"slices"
	"testing"

	"github.com/veraison/go-cose"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/spdm"
	core "github.com/assize/assize/verifiers/spdm"
	"github.com/assize/assize/verifiers/spdm/eatda"
)

func submodule(t testing.TB, d *spdm.Device, o spdm.TokenOptions) spdm.Submodule {
	t.Helper()
	s, err := d.Submodule(evidence(t, d), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func token(t testing.TB, devices ...spdm.Submodule) []byte {
	t.Helper()
	raw, err := spdm.Token(nonce, devices...)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func flags(d core.AssignedDevice) (out []byte) {
	for _, f := range d.Flags {
		if !slices.Contains(out, byte(f.Defect)) {
			out = append(out, byte(f.Defect))
		}
	}
	slices.Sort(out)
	return out
}

// TestTokenRoundTrip: what a device signed comes through the token unchanged, in
// every liberty that writers take, and readers say which one it was.
func TestTokenRoundTrip(t *testing.T) {
	one := []spdm.Range{{Pages: 16}}
	for name, c := range map[string]struct {
		device spdm.Options
		token  spdm.TokenOptions
		flags  string
	}{
		"1.1":                {spdm.Options{Version: spdm.Version11}, spdm.TokenOptions{}, "cg"},
		"1.1 no challenge":   {spdm.Options{Version: spdm.Version11, NoChallenge: true}, spdm.TokenOptions{}, "c"},
		"1.2":                {spdm.Options{}, spdm.TokenOptions{}, "cg"},
		"1.3 raw":            {spdm.Options{Version: spdm.Version13, Raw: true}, spdm.TokenOptions{}, "cg"},
		"1.4 RSA":            {spdm.Options{Version: spdm.Version14, Suite: spdm.SuiteRSAPSS3072}, spdm.TokenOptions{}, "cg"},
		"Ed25519, a":         {spdm.Options{Suite: spdm.SuiteEd25519}, spdm.TokenOptions{}, "acg"},
		"P-256, a":           {spdm.Options{Suite: spdm.SuiteP256}, spdm.TokenOptions{HashBit: true}, "acg"},
		"one range":          {spdm.Options{TSM: spdm.TSMTDX, Ranges: one}, spdm.TokenOptions{Ranges: spdm.RangesOne}, "cg"},
		"ranges, b":          {spdm.Options{TSM: spdm.TSMTDX}, spdm.TokenOptions{Ranges: spdm.RangesArray}, "bcg"},
		"reserved, d":        {spdm.Options{}, spdm.TokenOptions{Reserved: true}, "cdg"},
		"raw report, e":      {spdm.Options{TSM: spdm.TSMTDX}, spdm.TokenOptions{}, "ceg"},
		"headers, e":         {spdm.Options{Version: spdm.Version14}, spdm.TokenOptions{Headers: true}, "ceg"},
		"bits, f":            {spdm.Options{}, spdm.TokenOptions{Algorithms: spdm.AlgorithmBit}, "cfg"},
		"names":              {spdm.Options{MeasurementHash: crypto.SHA512}, spdm.TokenOptions{Algorithms: spdm.AlgorithmName}, "cg"},
		"no negotiation, g":  {spdm.Options{}, spdm.TokenOptions{NoVCA: true}, "cg"},
		"single, two slots":  {spdm.Options{Version: spdm.Version13, Single: true, Slots: []uint8{0, 1}, Slot: 1}, spdm.TokenOptions{}, "cg"},
		"alias, no challeng": {spdm.Options{Alias: true, NoChallenge: true}, spdm.TokenOptions{}, "cg"},
	} {
		t.Run(name, func(t *testing.T) {
			d := device(t, c.device)
			all, err := core.ConvertToken(token(t, submodule(t, d, c.token)), eatda.Options{Ranges: true}, d.Root())
			if err != nil || len(all) != 1 || all[0].Err != nil {
				t.Fatalf("%+v: %v", all, err)
			}
			got := all[0]
			if string(flags(got)) != c.flags || len(got.Contradictions) > 0 {
				t.Errorf("defects %q, expected %q; contradictions %q", flags(got), c.flags, got.Contradictions)
			}
			want, err := core.Decode(evidence(t, d))
			if err != nil {
				t.Fatal(err)
			}
			e := got.Evidence
			if !bytes.Equal(e.VCA, want.VCA) || !bytes.Equal(e.Measurements, want.Measurements) || !bytes.Equal(e.Challenge, want.Challenge) ||
				!bytes.Equal(e.Report, want.Report) || !bytes.Equal(e.Chains[c.device.Slot], want.Chains[c.device.Slot]) || !bytes.Equal(e.Nonce, nonce) {
				t.Error("evidence of the token is not that of the device")
			}
			if _, err := core.Verify(e, core.Expect{Anchors: []core.Anchor{{Certificate: d.Root(), Slots: 0xff}}, Time: now, Nonce: nonce, ChallengeNonce: nonce}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTokenLies(t *testing.T) {
	d := device(t, spdm.Options{Version: spdm.Version13, Slots: []uint8{0, 1}})
	for _, lie := range spdm.Lies() {
		all, err := core.ConvertToken(token(t, submodule(t, d, spdm.TokenOptions{Lie: lie})), eatda.Options{})
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v", lie, err)
		}
		if all[0].Err == nil && len(all[0].Contradictions) == 0 {
			t.Errorf("%s: %v, contradictions %q", lie, all[0].Err, all[0].Contradictions)
		}
	}
	if all, err := core.ConvertToken(token(t, submodule(t, d, spdm.TokenOptions{})), eatda.Options{}); err != nil || len(all[0].Contradictions) > 0 {
		t.Errorf("an honest token: %v", err)
	}
}

func TestTokenForms(t *testing.T) {
	a := device(t, spdm.Options{TSM: spdm.TSMTDX})
	old, err := spdm.LegacySubmodule("0000:02:00.0", 0x1af4, 0x10f0)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewSeed("lead").ECDSA(elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := spdm.SignedToken(key, nonce, submodule(t, a, spdm.TokenOptions{}), old)
	if err != nil {
		t.Fatal(err)
	}
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(signed); err != nil {
		t.Fatal(err)
	}
	v, err := cose.NewVerifier(cose.AlgorithmES256, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(nil, v); err != nil {
		t.Error(err)
	}
	for name, raw := range map[string][]byte{"signed": signed, "unprotected": token(t, submodule(t, a, spdm.TokenOptions{}), old)} {
		all, err := core.ConvertToken(raw, eatda.Options{})
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %d devices: %v", name, len(all), err)
		}
		for _, d := range all {
			if legacy := d.Name == old.Name; legacy != (core.KindOf(d.Err) == core.KindUnsupported) || legacy != (d.Err != nil) {
				t.Errorf("%s: %s: %v", name, d.Name, d.Err)
			}
		}
	}
	if again, err := spdm.SignedToken(key, nonce, submodule(t, a, spdm.TokenOptions{}), old); err != nil || !bytes.Equal(again, signed) {
		t.Errorf("another token: %v", err)
	}
	if _, err := a.Submodule(evidence(t, a), spdm.TokenOptions{Ranges: spdm.RangesOne}); err == nil {
		t.Error("three ranges have no place")
	}
	if _, err := a.Submodule(evidence(t, device(t, spdm.Options{})), spdm.TokenOptions{}); err == nil {
		t.Error("evidence of another device")
	}
	if _, err := core.ConvertToken(token(t, submodule(t, a, spdm.TokenOptions{Ranges: spdm.RangesDuplicate})), eatda.Options{Ranges: true}); err == nil {
		t.Error("duplicate keys")
	}
}
