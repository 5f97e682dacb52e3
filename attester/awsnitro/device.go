// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Device is one enclave. It is safe for concurrent use.
type Device struct {
	chain  chain
	signer *ecdsa.PrivateKey
	crls   map[string][]byte
	now    time.Time
	// honest are the PCRs as they should be, seen as the document shows them.
	honest, seen        [registers][RegisterSize]byte
	userData, publicKey []byte
}

// New makes the keys, certificates and revocation lists of an enclave.
func New(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	now := o.Now.UTC().Truncate(time.Second)
	c, err := newChain(&o, now)
	if err != nil {
		return nil, err
	}
	d := &Device{chain: c, now: now, userData: slices.Clone(o.UserData), publicKey: slices.Clone(o.PublicKey)}
	var own bool
	if d.signer, own = c.enclave.Key.(*ecdsa.PrivateKey); !own {
		return nil, fmt.Errorf("awsnitro: the enclave's key is a %T", c.enclave.Key)
	}
	if o.WrongSigner {
		if d.signer, err = o.Device.Sub("wrong signer").ECDSA(elliptic.P384()); err != nil {
			return nil, fmt.Errorf("awsnitro: wrong signer: %w", err)
		}
	}
	if d.crls, err = c.lists(now, o.Revoked); err != nil {
		return nil, err
	}
	d.measure(&o)
	return d, nil
}

// measure fills the PCRs: image, kernel, application, role and instance of the
// parent, signer of the image.
func (d *Device) measure(o *Options) {
	sum := func(what, of string) [RegisterSize]byte {
		return sha512.Sum384([]byte("assize simulated enclave\x00" + what + "\x00" + of))
	}
	for i, what := range []string{"image", "kernel", "application"} {
		d.honest[i] = sum(what, o.Image)
	}
	d.honest[3] = sum("role", organization)
	d.honest[4] = sum("instance", d.chain.module)
	if !o.Unsigned {
		d.honest[8] = sum("signer", o.Image)
	}
	d.seen = d.honest
	if o.Measurement {
		d.seen[2][0] ^= 1
	}
	if o.Debug {
		clear(d.seen[:3])
	}
}

// Root is the certificate of the root, which a trust file lists.
func (d *Device) Root() *x509.Certificate { return d.chain.root.Cert }

// ModuleID is the identifier of the enclave, "i-…-enc…".
func (d *Device) ModuleID() string { return d.chain.module }

// Authorities are the certificates from the root to that of the enclave.
func (d *Device) Authorities() []*pki.Authority {
	return []*pki.Authority{d.chain.root, d.chain.region, d.chain.zone, d.chain.instance, d.chain.enclave}
}

// Endorsements are the revocation lists (DER) of root and region by file name.
func (d *Device) Endorsements() (map[string][]byte, error) { return maps.Clone(d.crls), nil }

// Measurement is one reference value of the honest enclave.
type Measurement struct {
	// Name is the index of the PCR in decimal.
	Name string
	// Alg is "sha-384".
	Alg    string
	Digest []byte
}

// Measurements are the values of the honest enclave that do not depend on where
// it runs: PCR0, PCR1, PCR2, and PCR8 of a signed image. Faults do not change
// them.
func (d *Device) Measurements() []Measurement {
	var out []Measurement
	for _, i := range []int{0, 1, 2, 8} {
		if v := d.honest[i]; v != [RegisterSize]byte{} {
			out = append(out, Measurement{fmt.Sprint(i), "sha-384", bytes.Clone(v[:])})
		}
	}
	return out
}
