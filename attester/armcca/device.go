// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/attester/internal/cwt"
	"github.com/assize/assize/attester/pki"
)

// Form is how the two halves are put together.
type Form byte

// The forms.
const (
	// Collection is CBOR tag 399 with two tokens.
	Collection Form = iota
	// Records is CBOR tag 907 with two CMW records.
	Records
	forms
)

// ChallengeSize is the size in bytes of a realm's challenge.
const ChallengeSize = 64

// Options describe one platform and one realm on it.
type Options struct {
	// Device is the seed of the platform's key and of the realm's.
	Device pki.Seed
	// Now is when the evidence is made; required, though no token says it.
	Now time.Time

	// Form is that of the collection.
	Form Form
	// Legacy makes tokens of the first profiles: the realm's has no profile, and its
	// key is a bare point.
	Legacy bool
	// Curve is that of the platform's key; nil is P-384.
	Curve elliptic.Curve
	// Model names the platform: platforms of one model have one implementation id,
	// one configuration, and the same software.
	Model string
	// Image names what the realm was started from; realms of one image have one
	// initial measurement.
	Image string
	// Personalization is the realm personalization value, nil or 64 bytes.
	Personalization []byte

	// Debug says that the CCA platform can be debugged (lifecycle 0x5000).
	Debug bool
	// OutdatedTCB runs an old realm manager and monitor.
	OutdatedTCB bool
	// WrongSigner signs the platform token with a key that is not the platform's.
	WrongSigner bool
	// Unbound lets the platform vouch for another realm's key.
	Unbound bool
	// Measurement flips the lowest bit of the first byte of the first extensible
	// measurement.
	Measurement bool
}

func (o *Options) check() error {
	switch {
	case o.Now.IsZero():
		return errors.New("armcca: options without a time")
	case o.Form >= forms:
		return fmt.Errorf("armcca: unknown form %d", o.Form)
	case len(o.Personalization) != 0 && len(o.Personalization) != 64:
		return fmt.Errorf("armcca: personalization value has %d bytes, not 64", len(o.Personalization))
	}
	return nil
}

// Device is one platform with one realm. It is safe for concurrent use.
type Device struct {
	o              Options
	iak            *ecdsa.PrivateKey // the stated one
	rak            *ecdsa.PrivateKey
	implementation []byte
	instance       []byte
	rim            []byte
	rem            [4][]byte
	rpv            []byte
	// platform is the platform token, which is made once, at boot.
	platform []byte
	rawRAK   []byte
}

// New makes the keys of platform and realm, and the platform token.
func New(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Curve == nil {
		o.Curve = elliptic.P384()
	}
	d := &Device{o: o, implementation: sum256("implementation", o.Model), rim: sum512("rim", o.Image), rpv: make([]byte, 64)}
	copy(d.rpv, o.Personalization)
	for i := range d.rem {
		d.rem[i] = make([]byte, sha512.Size)
	}
	d.rem[0] = sum512("rem0", o.Image)
	var err error
	if d.iak, err = o.Device.Sub("iak").ECDSA(o.Curve); err != nil {
		return nil, fmt.Errorf("armcca: attestation key: %w", err)
	}
	if d.rak, err = o.Device.Sub("rak").ECDSA(elliptic.P384()); err != nil {
		return nil, fmt.Errorf("armcca: realm key: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&d.iak.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("armcca: %w", err)
	}
	id := sha256.Sum256(spki)
	d.instance = append([]byte{1}, id[:]...)
	return d, d.boot()
}

func sum256(what, name string) []byte {
	d := sha256.Sum256([]byte("assize simulated CCA " + what + "\x00" + name))
	return d[:]
}

func sum512(what, name string) []byte {
	d := sha512.Sum512([]byte("assize simulated CCA " + what + "\x00" + name))
	return d[:]
}

// stages are what the platform measures, each in the version that is current and
// in the one that OutdatedTCB runs.
var stages = []struct{ name, version, old string }{
	{"RSE_BL1_2", "2.1.0", ""}, {"RSE_BL2", "2.1.0", ""}, {"RSE_S", "2.1.0", ""},
	{"AP_BL1", "2.12.0", ""}, {"AP_BL2", "2.12.0", ""}, {"SCP_BL1", "2.15.0", ""}, {"SCP_BL2", "2.15.0", ""},
	{"AP_BL31", "2.12.0", "2.10.0"}, {"RMM", "0.6.0", "0.4.0"},
	{"HW_CONFIG", "", ""}, {"FW_CONFIG", "", ""}, {"TB_FW_CONFIG", "", ""}, {"SOC_FW_CONFIG", "", ""},
}

// software lists the components, those of the honest platform or of an old one.
func (d *Device) software(old bool) []cwt.Component {
	out := make([]cwt.Component, 0, len(stages))
	for _, s := range stages {
		version := s.version
		if old && s.old != "" {
			version = s.old
		}
		out = append(out, cwt.Component{
			Type: s.name, Value: sum256(s.name, d.o.Model+"\x00"+version), Version: version,
			Signer: sum256("firmware signer", ""), Desc: "sha-256",
		})
	}
	return out
}

// Root is nil: tokens have no certificates.
func (d *Device) Root() *x509.Certificate { return nil }

// Endorsements are none: see ReferenceValues of package attester, and Platform.
func (d *Device) Endorsements() (map[string][]byte, error) { return nil, nil }

// Measurement is one reference value of the honest platform or realm.
type Measurement struct {
	// Key is the measurement key of Arm's CoRIM profile, as "cca.rim".
	Key string
	// Alg is the hash algorithm of Digest, "" if there is only Raw.
	Alg string
	// Digest is the expected digest, nil if Raw is set.
	Digest []byte
	// Raw is the expected value.
	Raw []byte
	// Name, Version and Signer are those of a software component; nil or "" else.
	Name, Version string
	Signer        []byte
}

// References are what reference documents say about a platform or a realm. A
// fault changes nothing of it.
type References struct {
	// Class is the identifier of the class: the implementation id of the platform (32
	// bytes), the initial measurement of the realm.
	Class []byte
	// Instance is the instance id (UEID, 33 bytes) and Key the attestation key of a
	// platform; nil for a realm.
	Instance []byte
	Key      *ecdsa.PublicKey
	// Measurements are the expected values.
	Measurements []Measurement
}

// Platform is what the vendor of the platform states.
func (d *Device) Platform() References {
	r := References{Class: slices.Clone(d.implementation), Instance: slices.Clone(d.instance), Key: &d.iak.PublicKey}
	for _, c := range d.software(false) {
		r.Measurements = append(r.Measurements, Measurement{
			Key: "cca.software-component", Alg: c.Desc, Digest: c.Value, Name: c.Type, Version: c.Version, Signer: c.Signer,
		})
	}
	r.Measurements = append(r.Measurements, Measurement{Key: "cca.platform-config", Raw: d.config()})
	return r
}

// Realm is what the owner of the realm states.
func (d *Device) Realm() References {
	r := References{Class: slices.Clone(d.rim)}
	r.Measurements = append(r.Measurements, Measurement{Key: "cca.rim", Alg: "sha-512", Digest: slices.Clone(d.rim)})
	for i, m := range d.rem {
		r.Measurements = append(r.Measurements, Measurement{Key: fmt.Sprintf("cca.rem%d", i), Alg: "sha-512", Digest: slices.Clone(m)})
	}
	r.Measurements = append(r.Measurements, Measurement{Key: "cca.rpv", Raw: slices.Clone(d.rpv)})
	return r
}

func (d *Device) config() []byte { return sum256("config", d.o.Model)[:4] }
