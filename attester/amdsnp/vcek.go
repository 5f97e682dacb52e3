// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"time"

	"github.com/assize/assize/attester/pki"
)

// TCB is the set of security patch levels of one platform (AMD 56860, TCB_VERSION).
type TCB struct {
	// FMC exists on Turin only.
	FMC        uint8
	BootLoader uint8
	TEE        uint8
	SNP        uint8
	Microcode  uint8
}

// bytes is the TCB as it stands in a report: 8 bytes, one per component, whose
// places differ between product lines.
func (t TCB) bytes(p Product) [8]byte {
	if p == Turin {
		return [8]byte{t.FMC, t.BootLoader, t.TEE, t.SNP, 0, 0, 0, t.Microcode}
	}
	return [8]byte{t.BootLoader, t.TEE, 0, 0, 0, 0, t.SNP, t.Microcode}
}

// Uint64 is the TCB as a little-endian number, as libraries show it. It must
// not be compared as a whole.
func (t TCB) Uint64(p Product) uint64 {
	b := t.bytes(p)
	return binary.LittleEndian.Uint64(b[:])
}

// amdArc is 1.3.6.1.4.1.3704.1, below which the KDS extensions are (AMD 57230).
var amdArc = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}

func amdOID(arcs ...int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier{}, amdArc...), arcs...)
}

// hardwareID is how a certificate names the chip: the whole CHIP_ID, on Turin
// its 8 bytes that are not zero.
func hardwareID(p Product, chip []byte) []byte {
	if p == Turin {
		return chip[:8]
	}
	return chip
}

// keyIdentity is what an endorsement key certificate says: whose key it is.
type keyIdentity struct {
	product Product
	tcb     TCB
	// chip is of a VCEK, provider of a VLEK and "" of a VCEK.
	chip     []byte
	provider string
}

// kdsExtensions lists the extensions in the order in which the KDS writes them.
func kdsExtensions(id keyIdentity) ([]pkix.Extension, error) {
	p, t := id.product, id.tcb
	certName := lines[p].certName
	if id.provider != "" {
		certName = lines[p].name
	}
	name, err := asn1.MarshalWithParams(certName, "ia5")
	if err != nil {
		return nil, fmt.Errorf("amdsnp: product name: %w", err)
	}
	out := []pkix.Extension{{Id: amdOID(1)}, {Id: amdOID(2), Value: name}}
	if out[0].Value, err = asn1.Marshal(lines[p].structVersion); err != nil {
		return nil, fmt.Errorf("amdsnp: structure version: %w", err)
	}
	type level struct{ arc, value int }
	levels := []level{
		{1, int(t.BootLoader)}, {2, int(t.TEE)}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {3, int(t.SNP)}, {8, int(t.Microcode)},
	}
	if p == Turin {
		levels = []level{
			{9, int(t.FMC)}, {1, int(t.BootLoader)}, {2, int(t.TEE)}, {3, int(t.SNP)}, {5, 0}, {6, 0}, {7, 0}, {8, int(t.Microcode)},
		}
	}
	for _, l := range levels {
		der, err := asn1.Marshal(l.value)
		if err != nil {
			return nil, fmt.Errorf("amdsnp: patch level: %w", err)
		}
		out = append(out, pkix.Extension{Id: amdOID(3, l.arc), Value: der})
	}
	if id.provider != "" {
		csp, err := asn1.MarshalWithParams(id.provider, "ia5")
		if err != nil {
			return nil, fmt.Errorf("amdsnp: provider: %w", err)
		}
		return append(out, pkix.Extension{Id: amdOID(5), Value: csp}), nil
	}
	// The KDS puts the raw identifier here, without an ASN.1 header.
	return append(out, pkix.Extension{Id: amdOID(4), Value: hardwareID(p, id.chip)}), nil
}

// endorse issues the certificate of an endorsement key (VCEK, VLEK) as the KDS
// does: serial number 0, and no other extensions than AMD's own.
func endorse(by *pki.Authority, key *ecdsa.PrivateKey, id keyIdentity, from, to time.Time) (*x509.Certificate, error) {
	name := "SEV-VCEK"
	if id.provider != "" {
		name = "SEV-VLEK"
	}
	subject, err := distinguishedName(name)
	if err != nil {
		return nil, err
	}
	extensions, err := kdsExtensions(id)
	if err != nil {
		return nil, err
	}
	// Without a key identifier of the issuer none is written.
	issuer := *by.Cert
	issuer.SubjectKeyId = nil
	leaf, err := (&pki.Authority{Cert: &issuer, Key: by.Key}).Issue(key, &x509.Certificate{
		SerialNumber: big.NewInt(0), RawSubject: subject, SignatureAlgorithm: x509.SHA384WithRSAPSS,
		NotBefore: from, NotAfter: to, ExtraExtensions: extensions,
	})
	if err != nil {
		return nil, fmt.Errorf("amdsnp: endorsement key certificate: %w", err)
	}
	return leaf.Cert, nil
}
