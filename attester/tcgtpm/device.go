// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/pki"
)

// Options describe one TPM and the machine that it measured.
type Options struct {
	// Vendor is the seed of the authorities and of the Secure Boot key.
	Vendor pki.Seed
	// Device is the seed of the TPM.
	Device pki.Seed
	// Now is when the evidence is made; required.
	Now time.Time

	// Key is the algorithm of the attestation key.
	Key KeyType
	// PCRs are the registers that are quoted, ascending and without
	// duplicates; nil means all 24.
	PCRs []int
	// Image names the operating system that boots. Machines with one image,
	// one vendor and the same Events have the same PCRs.
	Image string
	// Events are measured after the boot, in this order.
	Events []Event
	// UserData is the user-data member of RuntimeData, at most 64 bytes; it is
	// filled up with zeros.
	UserData []byte

	// Measurement boots another kernel: PCR 9 and the log say so.
	Measurement bool
	// LogTampered writes another kernel command line into the log, with
	// digests that fit it, than the one that PCR 8 holds.
	LogTampered bool
	// SecureBootOff is a machine that starts whatever is there: PCR 7 and the log
	// say so.
	SecureBootOff bool
	// Uncertified leaves ak_certificate out, as a TPM does whose key only a CPU
	// report vouches for.
	Uncertified bool
	// WrongSigner signs quotes with a key that ak_public and its certificate
	// do not name.
	WrongSigner bool
	// Expired lets the AK certificate end a day before Now.
	Expired bool
	// Revoked puts the AK certificate on the revocation list of its issuer.
	Revoked bool
}

func (o *Options) check() error {
	switch {
	case o.Now.IsZero():
		return errors.New("tcgtpm: options without a time")
	case o.Key >= keyTypes:
		return fmt.Errorf("tcgtpm: unknown key type %d", o.Key)
	case o.PCRs != nil && len(o.PCRs) == 0:
		return errors.New("tcgtpm: no PCR is quoted")
	case len(o.UserData) > sizeUserData:
		return fmt.Errorf("tcgtpm: user data has %d bytes, more than %d", len(o.UserData), sizeUserData)
	case len(o.Events) > maxEvents:
		return fmt.Errorf("tcgtpm: %d events, more than %d", len(o.Events), maxEvents)
	}
	for i, pcr := range o.PCRs {
		if pcr < 0 || pcr >= pcrCount || i > 0 && pcr <= o.PCRs[i-1] {
			return fmt.Errorf("tcgtpm: PCR %d at place %d: not 0 to %d in ascending order", pcr, i, pcrCount-1)
		}
	}
	for i := range o.Events {
		if err := o.Events[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// Device is one TPM. It is safe for concurrent use.
type Device struct {
	signer      crypto.Signer
	public      []byte
	qualified   []byte
	authorities *authorities
	ak          *x509.Certificate
	crls        map[string][]byte
	selected    []int
	pcrs        *registers
	honest      *registers
	log         []byte
	tail        []byte
	runtime     []byte
	mode        cbor.EncMode
	// static are the members of the CBOR form that do not depend on the nonce.
	static wire
}

// New makes keys, certificates and revocation lists, and boots the machine.
func New(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	d := &Device{selected: slices.Clone(o.PCRs)}
	if d.selected == nil {
		for pcr := range pcrCount {
			d.selected = append(d.selected, pcr)
		}
	}
	if err := d.start(&o); err != nil {
		return nil, err
	}
	key, err := d.makeKey(&o)
	if err != nil {
		return nil, err
	}
	if err := d.certify(&o, key); err != nil {
		return nil, err
	}
	d.tail = d.quoteTail(&o)
	if d.runtime, err = runtimeData(&o, key); err != nil {
		return nil, err
	}
	return d, d.encodeStatic(o.Uncertified)
}

// start boots three machines: the one in front of us, the honest one, and the
// one of which the log tells.
func (d *Device) start(o *Options) error {
	honest := machine{vendor: o.Vendor, image: o.Image, commandLine: commandLine, extra: o.Events}
	booted := honest
	booted.otherKernel, booted.unsecured = o.Measurement, o.SecureBootOff
	told := booted
	if o.LogTampered {
		told.commandLine = tamperedLine
	}
	var events [3][]Event
	for i, m := range []*machine{&honest, &booted, &told} {
		var err error
		if events[i], err = m.boot(); err != nil {
			return err
		}
	}
	d.honest, d.pcrs, d.log = replay(events[0]), replay(events[1]), encodeLog(events[2])
	return nil
}

// makeKey derives the AK, and the key that signs in its place if that is
// another one.
func (d *Device) makeKey(o *Options) (crypto.Signer, error) {
	seed := o.Device.Sub("ak")
	key, err := derive(seed, o.Key)
	if err != nil {
		return nil, err
	}
	d.signer = key
	if o.WrongSigner {
		if d.signer, err = derive(seed.Sub("wrong signer"), o.Key); err != nil {
			return nil, err
		}
	}
	if d.public, err = publicArea(key.Public()); err != nil {
		return nil, err
	}
	d.qualified = qualifiedName(d.public)
	return key, nil
}

// Root is the certificate of the vendor's root key, which a trust file lists.
func (d *Device) Root() *x509.Certificate { return d.authorities.root.Cert }

// AKCertificate is the certificate of the attestation key.
func (d *Device) AKCertificate() *x509.Certificate { return d.ak }

// AKPublic is TPMT_PUBLIC of the attestation key.
func (d *Device) AKPublic() []byte { return slices.Clone(d.public) }

// EventLog is the log as the evidence carries it.
func (d *Device) EventLog() []byte { return slices.Clone(d.log) }

// PCRs are the quoted SHA-256 registers by index.
func (d *Device) PCRs() map[int][]byte {
	out := make(map[int][]byte, len(d.selected))
	for _, pcr := range d.selected {
		out[pcr] = slices.Clone(d.pcrs[pcr][:])
	}
	return out
}

// Endorsements are the issuers (PEM, root last) and the revocation lists of
// the AK's issuer and of the root (DER).
func (d *Device) Endorsements() (map[string][]byte, error) {
	out := map[string][]byte{"tcg-tpm-issuers.pem": pki.PEM(d.authorities.issuer.Cert, d.authorities.root.Cert)}
	for name, der := range d.crls {
		out[name] = slices.Clone(der)
	}
	return out, nil
}

// Measurement is one reference value of the honest machine.
type Measurement struct {
	// Name is the PCR index in decimal.
	Name string
	// Alg is "sha-256".
	Alg string
	// Digest is the expected value of the register, 32 bytes.
	Digest []byte
}

// Measurements are the quoted registers of the honest machine, ascending, also
// when a fault changes what the evidence says.
func (d *Device) Measurements() []Measurement {
	out := make([]Measurement, 0, len(d.selected))
	for _, pcr := range d.selected {
		out = append(out, Measurement{Name: strconv.Itoa(pcr), Alg: "sha-256", Digest: slices.Clone(d.honest[pcr][:])})
	}
	return out
}
