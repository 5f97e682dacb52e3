// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Options describe one guest on one chip.
type Options struct {
	// Vendor holds the authorities; required.
	Vendor *Vendor
	// Device is the seed of chip and guest.
	Device pki.Seed
	// Now is when the evidence is made; required, and within the validity of
	// the vendor's certificates.
	Now time.Time

	// Product is the line of the chip.
	Product Product
	// Version is that of the report: 2 to 5; 0 is 3, on Turin 5. Version 2 has no
	// CPUID, and mitigation vectors are in version 5 only.
	Version uint32
	// Provider makes a VLEK sign, a key of this cloud provider which all of its
	// chips share, for example "CN=cc-test.example.com"; "" is a VCEK. As with
	// recorded reports, CHIP_ID is zero then.
	Provider string
	// MaskChip hides CHIP_ID, as a host may.
	MaskChip bool
	// Provisional runs firmware that is newer than the committed one.
	Provisional bool
	// Edit may change the report below the signature, 672 bytes, before it is
	// signed; REPORT_DATA is set later. It may be called by several goroutines.
	Edit func(report []byte)
	// Image names what the guest was launched from. Guests of one image have
	// one MEASUREMENT, whatever chip they run on.
	Image string
	// HostData is HOST_DATA, nil or 32 bytes.
	HostData []byte
	// VMPL is the privilege level, 0 to 3, of who asked for the report.
	VMPL uint32
	// PEM puts certificates into the certificate table as PEM, as some hosts
	// do, and not as DER.
	PEM bool

	// Debug launches the guest with a policy that lets the host decrypt it.
	Debug bool
	// OutdatedTCB runs old firmware, with the endorsement key that belongs to it.
	OutdatedTCB bool
	// Revoked puts the issuer of the endorsement key on the revocation list.
	Revoked bool
	// Expired dates the endorsement key certificate seven years and a day back.
	Expired bool
	// WrongSigner signs reports with a key that the certificate does not name.
	WrongSigner bool
	// Measurement flips the lowest bit of the first byte of MEASUREMENT.
	Measurement bool
}

// version is the report version with the default filled in.
func (o *Options) version() uint32 {
	switch {
	case o.Version != 0:
		return o.Version
	case o.Product == Turin:
		return 5
	}
	return 3
}

func (o *Options) check() error {
	switch {
	case o.Vendor == nil:
		return errors.New("amdsnp: options without a vendor")
	case o.Now.IsZero():
		return errors.New("amdsnp: options without a time")
	case o.Product >= products:
		return fmt.Errorf("amdsnp: unknown product line %d", o.Product)
	case o.version() < 2 || o.version() > 5:
		return fmt.Errorf("amdsnp: report version %d, not 2 to 5", o.Version)
	case len(o.HostData) != 0 && len(o.HostData) != sizeHostData:
		return fmt.Errorf("amdsnp: host data has %d bytes, not %d", len(o.HostData), sizeHostData)
	case o.VMPL > 3:
		return fmt.Errorf("amdsnp: privilege level %d, not 0 to 3", o.VMPL)
	}
	return nil
}

// Device is one guest. It is safe for concurrent use.
type Device struct {
	product     Product
	chain       *chain
	issuer      *pki.Authority
	vek         *x509.Certificate
	vlek        bool
	signer      *ecdsa.PrivateKey
	crl         []byte
	table       []byte
	measurement [sha512.Size384]byte
	hostData    []byte
	chip        []byte
	// reported is CHIP_ID as it stands in reports.
	reported []byte
	// template is the report below the signature, without REPORT_DATA.
	template []byte
}

// New makes the keys, certificates and revocation list of a guest.
func New(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c, err := o.Vendor.chain(o.Product)
	if err != nil {
		return nil, err
	}
	now := o.Now.UTC().Truncate(time.Second)
	if now.Before(c.ask.Cert.NotBefore) || now.After(c.ask.Cert.NotAfter) {
		return nil, fmt.Errorf("amdsnp: the vendor's certificates are not valid at %s", now.Format(time.RFC3339))
	}
	d := &Device{
		product: o.Product, chain: c, issuer: c.ask, vlek: o.Provider != "", hostData: slices.Clone(o.HostData), chip: chipID(&o),
		measurement: sha512.Sum384([]byte("assize simulated SNP guest\x00" + o.Image)),
	}
	if d.vlek {
		if d.issuer, err = c.asvk(); err != nil {
			return nil, err
		}
	}
	if d.vlek || o.MaskChip {
		d.reported = make([]byte, sizeChipID)
	} else {
		d.reported = d.chip
	}
	tcb := lines[o.Product].current
	if o.OutdatedTCB {
		tcb = lines[o.Product].old
	}
	if err := d.endorse(&o, tcb, now); err != nil {
		return nil, err
	}
	if d.crl, err = o.Vendor.crl(c, d.issuer, now, o.Revoked); err != nil {
		return nil, err
	}
	d.table = d.certificateTable(o.PEM)
	d.template = d.body(&o, tcb, d.reported)
	return d, nil
}

// chipID is 64 bytes; on Turin only the first 8 are used.
func chipID(o *Options) []byte {
	chip := o.Device.Sub("chip id").Bytes(sizeChipID)
	if o.Product == Turin {
		clear(chip[8:])
	}
	return chip
}

// endorse derives the endorsement key, which belongs to chip and TCB, and its
// certificate.
func (d *Device) endorse(o *Options, tcb TCB, now time.Time) error {
	owner, life := o.Device, 7
	if d.vlek {
		owner, life = o.Vendor.seed.Sub("amd-snp", "vlek", o.Provider), 1
	}
	seed := owner.Sub("vcek", lines[o.Product].name, fmt.Sprintf("%016x", tcb.Uint64(o.Product)))
	key, err := seed.ECDSA(elliptic.P384())
	if err != nil {
		return fmt.Errorf("amdsnp: endorsement key: %w", err)
	}
	from := now.AddDate(-1, 0, 0)
	if d.vlek {
		from = now.AddDate(0, -6, 0)
	}
	if o.Expired {
		from = now.AddDate(-life, 0, -1)
	}
	id := keyIdentity{product: o.Product, tcb: tcb, chip: d.chip, provider: o.Provider}
	if d.vek, err = endorse(d.issuer, key, id, from, from.AddDate(life, 0, 0)); err != nil {
		return err
	}
	d.signer = key
	if o.WrongSigner {
		if d.signer, err = seed.Sub("wrong signer").ECDSA(elliptic.P384()); err != nil {
			return fmt.Errorf("amdsnp: wrong signer: %w", err)
		}
	}
	return nil
}

// Root is the certificate of the root key (ARK), which a trust file lists.
func (d *Device) Root() *x509.Certificate { return d.chain.ark.Cert }

// EndorsementKey is the certificate of the key that signs reports (VCEK or VLEK).
func (d *Device) EndorsementKey() *x509.Certificate { return d.vek }

// Issuer is the certificate of the key that issued the endorsement key (ASK, of a
// VLEK ASVK).
func (d *Device) Issuer() *x509.Certificate { return d.issuer.Cert }

// ChipID is the identity of the chip, 64 bytes: CHIP_ID, unless that is hidden.
func (d *Device) ChipID() []byte { return slices.Clone(d.chip) }

// Endorsements are the files that the KDS serves for the device: the chain
// (PEM, ASK before ARK), the endorsement key certificate (DER) and the
// revocation list of the product line (DER).
func (d *Device) Endorsements() (map[string][]byte, error) {
	prefix, key := "amd-snp-"+strings.ToLower(d.product.String()), "-vcek.der"
	if d.vlek {
		key = "-vlek.der"
	}
	return map[string][]byte{
		prefix + "-cert-chain.pem": pki.PEM(d.issuer.Cert, d.chain.ark.Cert),
		prefix + key:               slices.Clone(d.vek.Raw),
		prefix + "-crl.der":        slices.Clone(d.crl),
	}, nil
}

// Measurement is one reference value of the honest guest.
type Measurement struct {
	// Name is "measurement" (MEASUREMENT), "reported-tcb" (the lowest TCB that
	// is up to date) or "host-data".
	Name string
	// MKey is the measurement key of AMD's CoRIM profile: 641, 647, 642.
	MKey uint64
	// Alg is the hash algorithm of Digest, "" if there is only Raw.
	Alg string
	// Digest is the expected digest, nil if Raw is set.
	Digest []byte
	// Raw is the expected field of the report as it stands there: for the TCB
	// 8 bytes, one per component.
	Raw []byte
}

// Measurements are the values of the honest guest, also when a fault changes
// what the evidence says.
func (d *Device) Measurements() []Measurement {
	tcb := lines[d.product].current.bytes(d.product)
	out := []Measurement{
		{Name: "measurement", MKey: 641, Alg: "sha-384", Digest: slices.Clone(d.measurement[:])},
		{Name: "reported-tcb", MKey: 647, Raw: tcb[:]},
	}
	if d.hostData != nil {
		out = append(out, Measurement{Name: "host-data", MKey: 642, Raw: slices.Clone(d.hostData)})
	}
	return out
}
