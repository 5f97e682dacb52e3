// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Product is a line of processors with its own root key.
type Product uint8

// The product lines. The zero value is Genoa.
const (
	// Genoa is EPYC 9004: family 0x19, model 0x11.
	Genoa Product = iota
	// Milan is EPYC 7003: family 0x19, model 0x01.
	Milan
	// Turin is EPYC 9005: family 0x1A, model 0x02. Its TCB begins with the FMC
	// level and its hardware id has 8 bytes.
	Turin
	products
)

// String is the name in subject names and KDS addresses, for example "Genoa".
func (p Product) String() string {
	if p >= products {
		return fmt.Sprintf("Product(%d)", uint8(p))
	}
	return lines[p].name
}

// line is what differs between product lines.
type line struct {
	name string
	// certName is the product name extension of an endorsement key.
	certName string
	// structVersion is the version extension of an endorsement key.
	structVersion int
	// family, model and stepping are CPUID Fn0000_0001 in combined form.
	family, model, stepping byte
	// serial is the serial number of the ARK; the ASK has the next one.
	serial int64
	// current and old are an up-to-date and an outdated TCB.
	current, old TCB
}

// lines gives the values that real chains, certificates and reports carry.
var lines = [products]line{
	Genoa: {
		name: "Genoa", certName: "Genoa", family: 0x19, model: 0x11, stepping: 1, serial: 0x20000,
		current: TCB{BootLoader: 10, SNP: 24, Microcode: 84}, old: TCB{BootLoader: 7, SNP: 14, Microcode: 62},
	},
	Milan: {
		name: "Milan", certName: "Milan-B0", family: 0x19, model: 0x01, stepping: 1, serial: 0x10000,
		current: TCB{BootLoader: 4, SNP: 24, Microcode: 219}, old: TCB{BootLoader: 3, SNP: 8, Microcode: 115},
	},
	Turin: {
		name: "Turin", certName: "Turin", structVersion: 1, family: 0x1a, model: 0x02, stepping: 1, serial: 0x30000,
		current: TCB{FMC: 1, BootLoader: 1, TEE: 1, SNP: 4, Microcode: 81}, old: TCB{FMC: 1, BootLoader: 0, TEE: 0, SNP: 2, Microcode: 61},
	},
}

// Vendor holds the authorities of one simulated AMD. It is safe for concurrent
// use and keeps at most one chain per product line.
type Vendor struct {
	seed   pki.Seed
	now    time.Time
	chains [products]func() (*chain, error)
}

// chain is the root key (ARK) and the signing keys of one product line: ASK for
// VCEKs and ASVK for VLEKs, which is derived when it is first needed.
type chain struct {
	ark, ask *pki.Authority
	asvk     func() (*pki.Authority, error)
}

// NewVendor names the authorities that follow from seed; their certificates
// are valid from three years before now to 22 years after. The keys of a
// product line are derived when a device first needs them, which takes one to
// several seconds.
func NewVendor(seed pki.Seed, now time.Time) *Vendor {
	v := &Vendor{seed: seed, now: now.UTC().Truncate(time.Second)}
	for p := range products {
		v.chains[p] = sync.OnceValues(func() (*chain, error) { return v.derive(p) })
	}
	return v
}

// Root returns the root certificate (ARK) of a product line.
func (v *Vendor) Root(p Product) (*x509.Certificate, error) {
	c, err := v.chain(p)
	if err != nil {
		return nil, err
	}
	return c.ark.Cert, nil
}

func (v *Vendor) chain(p Product) (*chain, error) {
	if p >= products {
		return nil, fmt.Errorf("amdsnp: unknown product line %d", p)
	}
	return v.chains[p]()
}

func (v *Vendor) derive(p Product) (*chain, error) {
	seed := v.seed.Sub("amd-snp", lines[p].name)
	arkKey, err := seed.Sub("ark").RSA(4096)
	if err != nil {
		return nil, fmt.Errorf("amdsnp: %w", err)
	}
	template, err := v.authority(p, "ARK-"+lines[p].name)
	if err != nil {
		return nil, err
	}
	template.KeyUsage |= x509.KeyUsageCRLSign
	template.MaxPathLen = -1
	ark, err := pki.Root(arkKey, template)
	if err != nil {
		return nil, fmt.Errorf("amdsnp: root certificate: %w", err)
	}
	ask, err := v.signingKey(p, ark, "ask", "SEV-", 1)
	if err != nil {
		return nil, err
	}
	asvk := sync.OnceValues(func() (*pki.Authority, error) { return v.signingKey(p, ark, "asvk", "SEV-VLEK-", 0x101) })
	return &chain{ark, ask, asvk}, nil
}

// signingKey derives an ASK or ASVK; its serial number follows that of the ARK.
func (v *Vendor) signingKey(p Product, ark *pki.Authority, name, common string, serial int64) (*pki.Authority, error) {
	key, err := v.seed.Sub("amd-snp", lines[p].name, name).RSA(4096)
	if err != nil {
		return nil, fmt.Errorf("amdsnp: %w", err)
	}
	template, err := v.authority(p, common+lines[p].name)
	if err != nil {
		return nil, err
	}
	template.SerialNumber.Add(template.SerialNumber, big.NewInt(serial))
	template.MaxPathLenZero = true
	out, err := ark.Issue(key, template)
	if err != nil {
		return nil, fmt.Errorf("amdsnp: signing key certificate: %w", err)
	}
	return out, nil
}

// authority is what the certificates of ARK and ASK have in common.
func (v *Vendor) authority(p Product, cn string) (*x509.Certificate, error) {
	subject, err := distinguishedName(cn)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: big.NewInt(lines[p].serial), RawSubject: subject,
		NotBefore: v.now.AddDate(-3, 0, 0), NotAfter: v.now.AddDate(22, 0, 0),
		SignatureAlgorithm: x509.SHA384WithRSAPSS, KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true,
		CRLDistributionPoints: []string{"https://kdsintf.amd.com/vcek/v1/" + lines[p].name + "/crl"},
	}, nil
}

// crl makes the list of the product line: signed by the ARK, it names signing
// keys (ASK) and never endorsement keys.
func (v *Vendor) crl(c *chain, issuer *pki.Authority, now time.Time, revoked bool) ([]byte, error) {
	list := &x509.RevocationList{
		Number: big.NewInt(7), SignatureAlgorithm: x509.SHA384WithRSAPSS,
		ThisUpdate: now.AddDate(0, 0, -1), NextUpdate: now.AddDate(0, 6, 0),
	}
	if revoked {
		list.RevokedCertificateEntries = []x509.RevocationListEntry{
			{SerialNumber: issuer.Cert.SerialNumber, RevocationTime: now.AddDate(0, 0, -2)},
		}
	}
	key, ok := c.ark.Key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("amdsnp: root key is a %T", c.ark.Key)
	}
	der, err := x509.CreateRevocationList(nil, list, c.ark.Cert, pssSigner{key, v.seed.Sub("amd-snp", "crl salt")})
	if err != nil {
		return nil, fmt.Errorf("amdsnp: revocation list: %w", err)
	}
	return der, nil
}

// pssSigner takes the salt from a seed and the digest.
type pssSigner struct {
	*rsa.PrivateKey
	seed pki.Seed
}

// Sign implements crypto.Signer.
func (s pssSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.PrivateKey.Sign(s.seed.Sub(hex.EncodeToString(digest)).Reader(), digest, opts)
}

// distinguishedName is AMD's name in AMD's order and string types.
func distinguishedName(cn string) ([]byte, error) {
	var out bytes.Buffer
	for _, a := range []struct {
		attribute int // of 2.5.4
		tag       int
		value     string
	}{
		{11, asn1.TagUTF8String, "Engineering"},
		{6, asn1.TagPrintableString, "US"},
		{7, asn1.TagUTF8String, "Santa Clara"},
		{8, asn1.TagUTF8String, "CA"},
		{10, asn1.TagUTF8String, "Advanced Micro Devices"},
		{3, asn1.TagUTF8String, cn},
	} {
		set, err := asn1.MarshalWithParams([]struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}{{asn1.ObjectIdentifier{2, 5, 4, a.attribute}, asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)}}}, "set")
		if err != nil {
			return nil, fmt.Errorf("amdsnp: name: %w", err)
		}
		out.Write(set)
	}
	name, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: out.Bytes()})
	if err != nil {
		return nil, fmt.Errorf("amdsnp: name: %w", err)
	}
	return name, nil
}
