// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxBlocks is how many PEM blocks one file may have.
const maxBlocks = 256

// pemMark begins every PEM block (RFC 7468).
var pemMark = []byte("-----BEGIN ")

// looksLikeX509 says whether a file claims to be certificates or revocation
// lists: a PEM block of one of these types, or one DER sequence that fills the
// file.
func looksLikeX509(raw []byte) bool {
	if bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), pemMark) {
		return bytes.Contains(raw, []byte("-----BEGIN CERTIFICATE-----")) || bytes.Contains(raw, []byte("-----BEGIN X509 CRL-----"))
	}
	if len(raw) < 4 || raw[0] != 0x30 {
		return false
	}
	_, certErr := x509.ParseCertificate(raw)
	_, crlErr := ParseRevocationList(raw)
	return certErr == nil || crlErr == nil
}

// ParseRevocationList reads one CRL in DER and nothing behind it, which the
// standard library's function of that name would pass over.
func ParseRevocationList(der []byte) (*x509.RevocationList, error) {
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("endorsements: %w", err)
	}
	if len(l.Raw) != len(der) {
		return nil, fmt.Errorf("endorsements: %d bytes behind the revocation list", len(der)-len(l.Raw))
	}
	return l, nil
}

// parseX509 adds what a file holds to a bundle: all of it or nothing. A PEM file
// is blocks and white space, nothing else.
func (b *Bundle) parseX509(name string, raw []byte) error {
	var certs []*x509.Certificate
	var crls []*x509.RevocationList
	one := func(typ string, der []byte) error {
		if c, err := x509.ParseCertificate(der); err == nil && typ != "X509 CRL" {
			certs = append(certs, c)
			return nil
		}
		l, err := ParseRevocationList(der)
		if err != nil || typ == "CERTIFICATE" {
			return errors.New("neither a certificate nor a revocation list")
		}
		crls = append(crls, l)
		return nil
	}
	if raw[0] == 0x30 {
		if err := one("", raw); err != nil {
			return err
		}
	} else if err := blocks(raw, one); err != nil {
		return err
	}
	for _, c := range certs {
		b.addCertificate(name, c)
	}
	for _, l := range crls {
		b.addCRL(name, l)
	}
	return nil
}

// blocks calls one for every PEM block.
func blocks(raw []byte, one func(typ string, der []byte) error) error {
	for n := 0; ; n++ {
		raw = bytes.TrimLeft(raw, " \t\r\n")
		if len(raw) == 0 {
			return nil
		}
		if n == maxBlocks {
			return fmt.Errorf("more than %d PEM blocks", maxBlocks)
		}
		block, rest := pem.Decode(raw)
		if block == nil || !bytes.HasPrefix(raw, pemMark) {
			return errors.New("something other than PEM blocks")
		}
		if block.Type != "CERTIFICATE" && block.Type != "X509 CRL" || len(block.Headers) > 0 {
			return fmt.Errorf("PEM block of type %.32q", block.Type)
		}
		if err := one(block.Type, block.Bytes); err != nil {
			return fmt.Errorf("PEM block %d: %w", n, err)
		}
		raw = rest
	}
}
