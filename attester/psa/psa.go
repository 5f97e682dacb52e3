// SPDX-License-Identifier: Apache-2.0

// Package psa simulates a microcontroller with a PSA root of trust: the
// attestation token that it would make (RFC 9783). The keys are worth nothing.
//
//	device, err := psa.New(psa.Options{Device: pki.NewSeed("mcu"), Now: now, Model: "board"})
//	leaf, err := device.Evidence(nonce) // psa.MediaType
//
// Everything follows from the options. A fault changes the one thing that it
// names and is made before the token is signed, so that only WrongSigner has a bad
// signature. There are no certificates: a verifier gets the key of the device out
// of a reference document, which package attester/refvalues makes of References.
package psa

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/attester/internal/cwt"
	"github.com/assize/assize/attester/pki"
)

// Profile is which claims a token has.
type Profile byte

// The profiles.
const (
	// TFM is that of RFC 9783.
	TFM Profile = iota
	// Profile2 is its predecessor of the same form, http://arm.com/psa/2.0.0.
	Profile2
	// Legacy is PSA_IOT_PROFILE_1, with private claim numbers.
	Legacy
	profiles
)

// MediaType is the media type of tokens of every profile.
const MediaType = "application/psa-attestation-token"

// Options describe one device.
type Options struct {
	// Device is the seed of the device's key.
	Device pki.Seed
	// Now is when the evidence is made; required, though no token says it.
	Now time.Time

	Profile Profile
	// Curve is that of the attestation key; nil is P-256.
	Curve elliptic.Curve
	// Model names the product: devices of one model have one implementation id and the
	// same software.
	Model string

	// Debug says that the root of trust can be debugged (lifecycle 0x5000).
	Debug bool
	// OutdatedTCB runs an old secure partition manager.
	OutdatedTCB bool
	// WrongSigner signs with a key that is not the device's.
	WrongSigner bool
	// Measurement flips the lowest bit of the first byte of the application's
	// measurement.
	Measurement bool
}

// Device is one device. It is safe for concurrent use.
type Device struct {
	o                        Options
	key                      *ecdsa.PrivateKey
	signer                   *ecdsa.PrivateKey
	implementation, instance []byte
}

// New makes the keys of a device.
func New(o Options) (*Device, error) {
	switch {
	case o.Now.IsZero():
		return nil, errors.New("psa: options without a time")
	case o.Profile >= profiles:
		return nil, fmt.Errorf("psa: unknown profile %d", o.Profile)
	}
	if o.Curve == nil {
		o.Curve = elliptic.P256()
	}
	d := &Device{o: o, implementation: sum("implementation", o.Model)}
	var err error
	if d.key, err = o.Device.Sub("iak").ECDSA(o.Curve); err != nil {
		return nil, fmt.Errorf("psa: attestation key: %w", err)
	}
	if d.signer = d.key; o.WrongSigner {
		if d.signer, err = o.Device.Sub("wrong signer").ECDSA(o.Curve); err != nil {
			return nil, fmt.Errorf("psa: wrong signer: %w", err)
		}
	}
	spki, err := x509.MarshalPKIXPublicKey(&d.key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	id := sha256.Sum256(spki)
	d.instance = append([]byte{1}, id[:]...)
	return d, nil
}

func sum(what, name string) []byte {
	d := sha256.Sum256([]byte("assize simulated PSA " + what + "\x00" + name))
	return d[:]
}

func (d *Device) software(honest bool) []cwt.Component {
	var out []cwt.Component
	for _, c := range []struct{ name, version, old string }{
		{"BL", "2.1.0", "2.1.0"}, {"PRoT", "1.3.5", "1.2.0"}, {"ARoT", "0.1.4", "0.1.4"}, {"NSPE", "4.0.0", "4.0.0"},
	} {
		version := c.version
		if !honest && d.o.OutdatedTCB {
			version = c.old
		}
		value := sum(c.name, d.o.Model+"\x00"+version)
		if !honest && d.o.Measurement && c.name == "NSPE" {
			value[0] ^= 1
		}
		out = append(out, cwt.Component{Type: c.name, Value: value, Version: version, Signer: sum("firmware signer", ""), Desc: "sha-256"})
	}
	return out
}

// Evidence is the token with a nonce of 32, 48 or 64 bytes: a leaf of type
// MediaType.
func (d *Device) Evidence(nonce []byte) ([]byte, error) {
	if !slices.Contains([]int{32, 48, 64}, len(nonce)) {
		return nil, fmt.Errorf("psa: nonce has %d bytes, not 32, 48 or 64", len(nonce))
	}
	lifecycle := 0x3000
	if d.o.Debug {
		lifecycle = 0x5000
	}
	seed := sum("boot seed", string(d.instance))
	if d.o.Profile == Legacy {
		return cwt.Sign(d.signer, map[int64]any{
			-75000: "PSA_IOT_PROFILE_1", -75001: 1, -75002: lifecycle, -75003: d.implementation, -75004: seed,
			-75005: "1234567890123-12345", -75006: d.software(false), -75008: nonce, -75009: d.instance, -75010: "https://verifier.example/",
		})
	}
	profile := "tag:psacertified.org,2023:psa#tfm"
	if d.o.Profile == Profile2 {
		profile = "http://arm.com/psa/2.0.0"
	}
	return cwt.Sign(d.signer, map[int64]any{
		265: profile, 2394: 1, 2395: lifecycle, 2396: d.implementation, 2397: seed,
		2398: "1234567890123-12345", 2399: d.software(false), 10: nonce, 256: d.instance, 2400: "https://verifier.example/",
	})
}

// Root is nil: tokens have no certificates.
func (d *Device) Root() *x509.Certificate { return nil }

// Endorsements are none: the key of the device is in reference documents.
func (d *Device) Endorsements() (map[string][]byte, error) { return nil, nil }

// Measurement is one software component of the honest device.
type Measurement struct {
	// Alg is the hash algorithm of Digest.
	Alg string
	// Digest is the expected digest.
	Digest []byte
	// Name, Version and Signer are those of the component.
	Name, Version string
	Signer        []byte
}

// References are what the vendor of a device states. A fault changes nothing of it.
type References struct {
	// Implementation is the implementation id (32 bytes), Instance the instance id
	// (UEID, 33 bytes), and Key the attestation key.
	Implementation, Instance []byte
	Key                      *ecdsa.PublicKey
	Measurements             []Measurement
}

// References are those of the honest device.
func (d *Device) References() References {
	r := References{Implementation: slices.Clone(d.implementation), Instance: slices.Clone(d.instance), Key: &d.key.PublicKey}
	for _, c := range d.software(true) {
		r.Measurements = append(r.Measurements, Measurement{Alg: c.Desc, Digest: c.Value, Name: c.Type, Version: c.Version, Signer: c.Signer})
	}
	return r
}
