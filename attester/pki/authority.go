// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Authority is a certificate with its key: a root, an intermediate, or a leaf
// that signs evidence.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// Root makes a self-signed certificate from a template. The template needs a
// serial number, a subject and validity times.
func Root(key crypto.Signer, template *x509.Certificate) (*Authority, error) {
	cert, err := create(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// Issue makes a certificate for key, signed by a.
func (a *Authority) Issue(key crypto.Signer, template *x509.Certificate) (*Authority, error) {
	cert, err := create(template, a.Cert, key.Public(), a.Key)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

func create(template, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	if template.SerialNumber == nil {
		return nil, errors.New("pki: template without a serial number")
	}
	der, err := x509.CreateCertificate(nil, template, parent, pub, deterministic{signer})
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return x509.ParseCertificate(der)
}

// CRL makes a revocation list that names the given serial numbers.
func (a *Authority) CRL(number int64, thisUpdate, nextUpdate time.Time, revoked ...*big.Int) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: thisUpdate, NextUpdate: nextUpdate}
	for _, serial := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: thisUpdate})
	}
	der, err := x509.CreateRevocationList(nil, list, a.Cert, deterministic{a.Key})
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return der, nil
}

// PEM encodes certificates one after another.
func PEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// SignFixed signs a digest with deterministic ECDSA (RFC 6979) and returns r
// and s, big endian, each as long as the curve's order.
func SignFixed(key *ecdsa.PrivateKey, hash crypto.Hash, digest []byte) ([]byte, error) {
	der, err := SignDER(key, hash, digest)
	if err != nil {
		return nil, err
	}
	r, s, err := parseSignature(der)
	if err != nil {
		return nil, err
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out, nil
}

// SignDER is SignFixed with the signature as an ASN.1 SEQUENCE.
func SignDER(key *ecdsa.PrivateKey, hash crypto.Hash, digest []byte) ([]byte, error) {
	der, err := key.Sign(nil, digest, hash)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return der, nil
}

// deterministic signs without randomness: ECDSA by RFC 6979, RSA-PSS with a
// salt that follows from the digest.
type deterministic struct{ crypto.Signer }

// Sign implements crypto.Signer.
func (d deterministic) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if key, ok := d.Signer.(*rsa.PrivateKey); ok {
		return key.Sign(NewSeed(string(digest)).Sub("salt").Reader(), digest, opts)
	}
	return d.Signer.Sign(nil, digest, opts)
}

type ecdsaSignature struct{ R, S *big.Int }

func parseSignature(der []byte) (r, s *big.Int, err error) {
	var sig ecdsaSignature
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) != 0 {
		return nil, nil, fmt.Errorf("pki: own signature cannot be read: %w", err)
	}
	return sig.R, sig.S, nil
}
