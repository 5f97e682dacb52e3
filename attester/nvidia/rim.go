// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/elliptic"
	"crypto/x509"
	"strconv"
	"time"

	"github.com/assize/assize/attester/pki"
)

// RIMSigner is the authority that signs reference values (RIMs) of one kind of
// device.
type RIMSigner struct {
	// Authority is the certificate and P-384 key that sign a RIM.
	*pki.Authority
	path []*pki.Authority
	seed pki.Seed
	now  time.Time
}

// Chain is the signer's chain, leaf first, four certificates, as the KeyInfo of
// a RIM carries it.
func (r *RIMSigner) Chain() []*x509.Certificate { return certificates(r.path) }

// Root is the root of reference values that a trust file lists. It is not the
// device root.
func (r *RIMSigner) Root() *x509.Certificate { return r.path[len(r.path)-1].Cert }

// RIMSigner makes the chain that signs reference values for this kind of device.
// It follows from the vendor's seed and the calendar year of Now, in which the
// signer's two years began.
func (d *Device) RIMSigner() (*RIMSigner, error) {
	year := d.now.UTC().Year()
	return once(d.shared, sharedKey{d.vendor, "RIM signer " + d.model.rim.signer, d.now}, func() (*RIMSigner, error) {
		return d.signerOf(day(year, 1, 1), day(year+2, 1, 1).Add(-time.Second))
	})
}

// signerOf makes the chain with a signer that is valid between two times. The
// authority above it begins in the year of the first.
func (d *Device) signerOf(from, until time.Time) (*RIMSigner, error) {
	seed, names, year := d.vendor.Sub("rim"), d.model.rim, from.Year()
	self := name(country("US"), organization(maker), commonName(maker+" CoRIM signing Root CA"))
	subject := func(cn string) []byte { return name(commonName(cn), organization(maker), country("US")) }
	last := func(y int, m time.Month, d int) time.Time { return day(y, m, d).Add(-time.Second) }

	root, err := reordered(seed.Sub("root"), request{subject: self, from: day(2023, 3, 16), until: day(2053, 3, 8)})
	if err != nil {
		return nil, err
	}
	family, err := authority(root, seed.Sub("family", names.family), request{
		subject: subject(names.family), from: day(2023, 5, 11), until: last(2043, 5, 12),
	}, isCA(true, false), usage(usageCertCRL), crlAt("http://crl.ndis.nvidia.com/crl-corim/l1-corim"), askOCSP())
	if err != nil {
		return nil, err
	}
	issuer, err := authority(family, seed.Sub("issuer", names.issuer, strconv.Itoa(year)), request{
		subject: subject(names.issuer), from: day(year, 1, 1), until: last(year+3, 7, 1),
	}, isCA(true, true), usage(usageCertCRL), askOCSP())
	if err != nil {
		return nil, err
	}
	leaf, err := rimLeaf(issuer, seed.Sub("signer", names.signer, strconv.Itoa(year)), names.signer, from, until)
	if err != nil {
		return nil, err
	}
	return &RIMSigner{Authority: leaf, path: []*pki.Authority{leaf, issuer, family, root}, seed: seed, now: d.now}, nil
}

// reordered makes a root with its key identifiers in front, as this one has.
func reordered(seed pki.Seed, r request) (*pki.Authority, error) {
	key, err := seed.ECDSA(elliptic.P384())
	if err != nil {
		return nil, err
	}
	id, err := keyID(key)
	if err != nil {
		return nil, err
	}
	r.serial, r.ca = seed.Serial(), true
	r.extensions = append(keyIDs(id, id), isCA(true, false), usage(usageCertCRL))
	return issue(nil, key, r)
}

func rimLeaf(issuer *pki.Authority, seed pki.Seed, cn string, from, until time.Time) (*pki.Authority, error) {
	key, err := seed.ECDSA(elliptic.P384())
	if err != nil {
		return nil, err
	}
	id, err := keyID(key)
	if err != nil {
		return nil, err
	}
	return issue(issuer, key, request{
		subject: name(country("US"), attribute{attrState, derUTF8, "CA"}, attribute{attrLocality, derUTF8, "Simulation"}, organization(maker), commonName(cn)),
		serial:  seed.Serial(), from: from, until: until,
		extensions: append(keyIDs(id, issuer.Cert.SubjectKeyId), isCA(false, false), usage(usageSign), askOCSP()),
	})
}
