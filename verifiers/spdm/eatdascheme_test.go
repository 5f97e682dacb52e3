// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/rand"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/spdm/eatda"
)

func mediaType(t testing.TB, s string) evidence.MediaType {
	t.Helper()
	mt, err := evidence.ParseMediaType(s)
	if err != nil {
		t.Fatal(err)
	}
	return mt
}

// signToken signs as a lead attester whose key nobody here knows.
func signToken(t testing.TB, token []byte) []byte {
	t.Helper()
	s, err := cose.NewSigner(cose.AlgorithmES256, newKey(t, ECDSAP256))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := eatda.Sign(rand.Reader, token, s, []byte("lead"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTokenRoutes(t *testing.T) {
	set, err := verifiers.NewSet(Scheme())
	if err != nil {
		t.Fatal(err)
	}
	e := newDevice(t).evidence(t)
	container, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	token, err := EncodeToken(tokenNonce, e)
	if err != nil {
		t.Fatal(err)
	}
	for media, c := range map[string]struct {
		raw   []byte
		split bool
		err   error
	}{
		MediaType:                  {container, false, nil},
		evidence.TypeDeviceToken:   {signToken(t, token), true, nil},
		evidence.TypeDeviceClaims:  {token, true, nil},
		"application/eat+cwt":      {signToken(t, token), false, verifiers.ErrNoVerifier},
		"application/eat-ucs+cbor": {token, false, verifiers.ErrNoVerifier},
		`application/eat+cwt; eat_profile="tag:nvidia.com,2026:gpu"`:                     {signToken(t, token), false, verifiers.ErrNoVerifier},
		`application/eat-ucs+cbor; eat_profile="tag:linaro.org,2025:device-spdm#1.0.0"`:  {token, false, verifiers.ErrNoVerifier},
		`application/eat-ucs+json; eat_profile="tag:linaro.org,2025:device#1.0.0"`:       {token, false, verifiers.ErrNoVerifier},
		`application/eat+cwt; x="1"; eat_profile="tag:linaro.org,2025:device#1.0.0"`:     {signToken(t, token), true, nil},
		`application/eat-ucs+cbor; Eat_Profile="tag:linaro.org,2025:device#1.0.0"; a=b`:  {token, true, nil},
		`application/eat-ucs+cbor; eat_profile="tag:linaro.org,2025:device#1.0.0"; z=""`: {signToken(t, token), true, verifiers.ErrMalformed},
		`application/eat+cwt; eat_profile="tag:linaro.org,2025:device#1.0.0"; z=""`:      {token, true, verifiers.ErrMalformed},
	} {
		parts, split, err := set.Parts(mediaType(t, media), c.raw)
		if !errors.Is(err, c.err) || c.err == nil && (len(parts) != 1 || split != c.split || parts[0].Scheme.Name != Name) {
			t.Errorf("%s: %d parts, split %t, %v", media, len(parts), split, err)
		}
	}
}

// TestTokenAppraisal: a device in a token, signed by whomever or not at all, is
// appraised as in the container: the same claims, facts and findings.
func TestTokenAppraisal(t *testing.T) {
	dev := newDevice(t)
	fullBlocks(dev)
	e := dev.evidence(t)
	v := newTest(t, trusting(t, dev.anchor, 0, "", "", ""))
	want, wantFound := appraise(t, v, input(t, e, dev.nonce, nil))
	if len(want.Facts.Device) == 0 {
		t.Fatalf("the container is not appraised: %v", wantFound)
	}
	token, err := EncodeToken(tokenNonce, e)
	if err != nil {
		t.Fatal(err)
	}
	for media, raw := range map[string][]byte{evidence.TypeDeviceToken: signToken(t, token), evidence.TypeDeviceClaims: token} {
		mt := mediaType(t, media)
		parts, err := Scheme().Components(mt, raw)
		if err != nil || len(parts) != 1 {
			t.Fatal(err)
		}
		got, found := appraise(t, v, verifiers.Input{MediaType: mt, Evidence: parts[0], Nonce: dev.nonce, Time: at})
		if !slices.Equal(found, wantFound) || !reflect.DeepEqual(got.Vector, want.Vector) || !reflect.DeepEqual(got.Facts, want.Facts) || got.Freshness != want.Freshness {
			t.Errorf("%s: findings %v, in the container %v\n%+v\n%+v", media, found, wantFound, got, want)
		}
	}
}

// TestTokenFindings: what is wrong with a device in a token, and what it costs.
func TestTokenFindings(t *testing.T) {
	dev := newDevice(t)
	fullBlocks(dev)
	v := newTest(t, trusting(t, dev.anchor, 0, "", "", ""))
	for name, c := range map[string]struct {
		change  func(d *eatda.Device)
		finding string
	}{
		"B9 restated":           {func(d *eatda.Device) { d.Blocks[0].Value = bytes.Repeat([]byte{1}, 48) }, findRestated},
		"DA-08":                 {func(d *eatda.Device) { d.Measured.Slot = 2 }, findSlot},
		"DA-04":                 {func(d *eatda.Device) { d.Name = "usb:1" }, findUnsupported},
		"DA-05":                 {func(d *eatda.Device) { d.Certificates, d.Blocks, d.Measured = nil, nil, nil }, findMalformed},
		"name of another":       {func(d *eatda.Device) { d.Name = "spdm:ACME:WIDGET:9" }, findContradiction},
		"nothing signed":        {func(d *eatda.Device) { d.Measured, d.Challenge = nil, nil }, findNothingSigned},
		"signature of another":  {func(d *eatda.Device) { d.Measured.Value = bytes.Repeat([]byte{1}, 96) }, findSignature},
		"transcript of another": {func(d *eatda.Device) { d.Measured.IL1 = append(bytes.Clone(d.Measured.IL1), 0) }, findMalformed},
	} {
		d, err := TokenDevice(dev.evidence(t))
		if err != nil {
			t.Fatal(err)
		}
		c.change(d)
		claims, err := d.Claims()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := eatda.Encode(tokenNonce, eatda.Entry{Name: d.Name, Claims: claims})
		if err != nil {
			t.Fatal(err)
		}
		a, found := appraise(t, v, verifiers.Input{MediaType: mediaType(t, evidence.TypeDeviceClaims), Evidence: raw, Nonce: dev.nonce, Time: at})
		if !slices.Equal(found, []string{c.finding}) || a.Status() == verdict.TierAffirming {
			t.Errorf("%s: %v, want %s: %v %v", name, found, c.finding, a.Status(), a.Reasons)
		}
	}
}

// TestTokenLegacy: a device without SPDM is never more than unknown.
func TestTokenLegacy(t *testing.T) {
	claims, err := cbor.Marshal(map[int]any{265: eatda.ProfileLegacy, 3806: make([]byte, 256)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := eatda.Encode(tokenNonce, eatda.Entry{Name: "legacy-pcie:0000:01:02.0", Claims: claims})
	if err != nil {
		t.Fatal(err)
	}
	a, found := appraise(t, newTest(t, verifiers.Deps{}), verifiers.Input{MediaType: mediaType(t, evidence.TypeDeviceClaims), Evidence: raw, Time: at})
	if !slices.Equal(found, []string{findUnsupported}) || a.Status() == verdict.TierAffirming || len(a.Facts.Device) > 0 {
		t.Errorf("%v: %+v", found, a)
	}
}

// TestTokenTakes: devices that nobody can say anything about have no verdict, and
// are components all the same.
func TestTokenTakes(t *testing.T) {
	legacy, err := cbor.Marshal(map[int]any{265: eatda.ProfileLegacy, 3806: make([]byte, 256)})
	if err != nil {
		t.Fatal(err)
	}
	d, err := TokenDevice(newDevice(t).evidence(t))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := d.Claims()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := eatda.Encode(tokenNonce, eatda.Entry{Name: "legacy-pcie:1", Claims: legacy}, eatda.Entry{Name: d.Name, Claims: claims},
		eatda.Entry{Name: "spdm:broken", Claims: []byte{0xa0}}, eatda.Entry{Name: "usb:1", Claims: []byte{0xa0}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := verifiers.NewSet(Scheme())
	if err != nil {
		t.Fatal(err)
	}
	parts, split, err := set.Parts(mediaType(t, evidence.TypeDeviceClaims), raw)
	if err != nil || !split || len(parts) != 4 {
		t.Fatal(len(parts), split, err)
	}
	got := map[string]bool{}
	for _, p := range parts {
		all, err := ConvertToken(p.Evidence, eatda.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got[all[0].Name] = p.Err == nil
		if p.Err != nil && (!errors.Is(p.Err, verifiers.ErrNoVerifier) || p.Scheme.Name != "") {
			t.Error(p.Err)
		}
	}
	want := map[string]bool{"legacy-pcie:1": false, d.Name: true, "spdm:broken": true, "usb:1": false}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestTokenTypesAreOne: the package that parses evidence and the reader of tokens
// do not know each other, and name the same types.
func TestTokenTypesAreOne(t *testing.T) {
	for _, s := range []string{evidence.TypeDeviceToken, evidence.TypeDeviceClaims} {
		if !slices.ContainsFunc(tokenTypes(), mediaType(t, s).Equal) {
			t.Errorf("%s is not accepted", s)
		}
	}
}

// TestKernelContainer: a container whose measurements are as a kernel gave them.
func TestKernelContainer(t *testing.T) {
	dev := newDevice(t)
	fullBlocks(dev)
	request := dev.getMeasurements(1, 0xFF, dev.nonce)
	e := dev.evidence(t)
	e.Measurements = dev.measured(t, request, dev.unsigned(dev.count, dev.blocks))
	v := newTest(t, trusting(t, dev.anchor, 0, "", "", ""))
	_, want := appraise(t, v, input(t, e, dev.nonce, nil))
	e.Measurements = e.Measurements[len(request):]
	if _, found := appraise(t, v, input(t, e, dev.nonce, nil)); !slices.Equal(found, want) {
		t.Errorf("%v, with the request %v", found, want)
	}
	e.Nonce = bytes.Repeat([]byte{1}, NonceSize)
	if _, found := appraise(t, v, input(t, e, dev.nonce, nil)); !slices.Equal(found, []string{findSignature}) {
		t.Errorf("with another nonce: %v", found)
	}
}
