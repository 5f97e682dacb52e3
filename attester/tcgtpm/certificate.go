// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"github.com/assize/assize/attester/pki"
)

// authorities are the vendor's root and the issuer of AK certificates.
type authorities struct{ root, issuer *pki.Authority }

// newAuthorities follow from the seed and the year of now, so that machines
// made in one year have equal certificates.
func newAuthorities(vendor pki.Seed, now time.Time) (*authorities, error) {
	seed := vendor.Sub("tcg-tpm", "authorities")
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: seed.Sub(name).Serial(), Subject: pkix.Name{Organization: []string{"Assize"}, CommonName: name},
			NotBefore: time.Date(now.Year()-3, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(now.Year()+22, 1, 1, 0, 0, 0, 0, time.UTC),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
		}
	}
	rootKey, err := seed.Sub("root").ECDSA(elliptic.P384())
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: root key: %w", err)
	}
	root, err := pki.Root(rootKey, template("Assize Simulated TPM Root CA"))
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: root certificate: %w", err)
	}
	issuerKey, err := seed.Sub("issuer").ECDSA(elliptic.P256())
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: issuer key: %w", err)
	}
	t := template("Assize Simulated TPM AK CA")
	t.MaxPathLenZero = true
	issuer, err := root.Issue(issuerKey, t)
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: issuer certificate: %w", err)
	}
	return &authorities{root, issuer}, nil
}

// oidAKCertificate is tcg-kp-AIKCertificate, the extended key usage of an AK.
var oidAKCertificate = asn1.ObjectIdentifier{2, 23, 133, 8, 3}

// certify issues the AK certificate and the revocation lists.
func (d *Device) certify(o *Options, key crypto.Signer) error {
	now := o.Now.UTC().Truncate(time.Second)
	var err error
	if d.authorities, err = newAuthorities(o.Vendor, now); err != nil {
		return err
	}
	names, err := tpmNames()
	if err != nil {
		return err
	}
	seed := o.Device.Sub("ak certificate")
	template := &x509.Certificate{
		SerialNumber: seed.Serial(),
		Subject:      pkix.Name{Organization: []string{"Assize"}, CommonName: "Assize Simulated TPM AK " + hex.EncodeToString(nameOf(d.public)[2:10])},
		NotBefore:    now.AddDate(-1, 0, 0), NotAfter: now.AddDate(9, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidAKCertificate},
		BasicConstraintsValid: true, ExtraExtensions: []pkix.Extension{names},
	}
	if o.Expired {
		template.NotAfter = now.AddDate(0, 0, -1)
	}
	ak, err := d.authorities.issuer.Issue(key, template)
	if err != nil {
		return fmt.Errorf("tcgtpm: AK certificate: %w", err)
	}
	d.ak = ak.Cert
	return d.revocation(now, o.Revoked)
}

func (d *Device) revocation(now time.Time, revoked bool) error {
	var serials []*big.Int
	if revoked {
		serials = append(serials, d.ak.SerialNumber)
	}
	from, until := now.AddDate(0, 0, -1), now.AddDate(0, 1, 0)
	leaves, err := d.authorities.issuer.CRL(1, from, until, serials...)
	if err != nil {
		return fmt.Errorf("tcgtpm: revocation list: %w", err)
	}
	issuers, err := d.authorities.root.CRL(1, from, until)
	if err != nil {
		return fmt.Errorf("tcgtpm: revocation list: %w", err)
	}
	d.crls = map[string][]byte{"tcg-tpm-ak-ca-crl.der": leaves, "tcg-tpm-root-ca-crl.der": issuers}
	return nil
}

// tpmNames is the subject alternative name of TPM certificates (TCG EK
// credential profile): a directory name of manufacturer, model and version.
func tpmNames() (pkix.Extension, error) {
	var rdns pkix.RDNSequence
	for i, value := range []string{"id:41535A45", "Assize Simulated TPM", "id:00010000"} {
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}, Value: value}})
	}
	name, err := asn1.Marshal(rdns)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("tcgtpm: name of the TPM: %w", err)
	}
	// GeneralName: directoryName [4], explicit because Name is a CHOICE.
	general, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}})
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("tcgtpm: name of the TPM: %w", err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: general}, nil
}
