// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// maxChain is the number of certificates in one chain; Intel uses three.
	maxChain = 4

	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
	pemBlank = " \t\r\n"
)

// splitPEM returns the DER of concatenated certificates. Unlike encoding/pem,
// which steps over what it does not understand, it allows nothing but white
// space between the blocks, BEGIN and END on lines of their own, no headers,
// and only base64 and line ends inside. The zero bytes that platforms write
// behind the last block are tolerated.
func splitPEM(raw []byte) ([][]byte, error) {
	var out [][]byte
	rest := bytes.Trim(bytes.TrimRight(raw, "\x00"), pemBlank)
	for len(rest) > 0 {
		if len(out) == maxChain {
			return nil, fmt.Errorf("more than %d certificates", maxChain)
		}
		body, ok := cutLine(rest, pemBegin)
		if !ok {
			return nil, fmt.Errorf("certificate %d: no line %q where it should begin", len(out), pemBegin)
		}
		end := bytes.Index(body, []byte("\n"+pemEnd))
		if end < 0 {
			return nil, fmt.Errorf("certificate %d: no line %q", len(out), pemEnd)
		}
		if rest, ok = cutLine(body[end+1:], pemEnd); !ok {
			return nil, fmt.Errorf("certificate %d: text behind %q", len(out), pemEnd)
		}
		// The strict decoder steps over line ends, and nothing else.
		der, err := base64.StdEncoding.Strict().AppendDecode(nil, body[:end])
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out), err)
		}
		out = append(out, der)
		rest = bytes.TrimLeft(rest, pemBlank)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate")
	}
	return out, nil
}

// cutLine cuts a line, which must be exactly this one, off the front of text.
func cutLine(text []byte, line string) (rest []byte, ok bool) {
	if rest, ok = bytes.CutPrefix(text, []byte(line)); !ok || len(rest) == 0 {
		return rest, ok
	}
	rest = bytes.TrimPrefix(rest, []byte{'\r'})
	return bytes.CutPrefix(rest, []byte{'\n'})
}

// parseChain reads certificates, target first.
func parseChain(ders [][]byte) ([]*x509.Certificate, error) {
	certs := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
	}
	return certs, nil
}

// digestOf is the SHA-256 over all parts, each behind its length in eight
// bytes, so that no two lists of parts have the same input.
func digestOf(parts ...[]byte) (d [32]byte) {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	h.Sum(d[:0])
	return d
}
