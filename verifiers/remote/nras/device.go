// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// fault is why evidence is not sent, with the vector that says so. It is a
// result, not a malfunction.
type fault struct {
	code   string
	vector verdict.Vector
	text   string
}

// Error implements error.
func (f *fault) Error() string { return f.text }

func failed(code, format string, args ...any) *fault {
	return &fault{code: code, vector: verdict.AllClaims(verdict.ClaimCryptoFailed), text: fmt.Sprintf(format, args...)}
}

// unsupported is a fault of kind: the device is none that the service knows.
func unsupported(format string, args ...any) *fault {
	f := &fault{code: verdict.ReasonUnsupported, text: fmt.Sprintf(format, args...)}
	f.vector[verdict.Hardware] = verdict.ClaimUnknownDevice
	return f
}

// device is one device as the evidence has it. All that is certain is that the
// report is signed by the key of the first certificate: whose that is, is for
// the service to say.
type device struct {
	*container.Device
	report *nvidia.Report
	// ueid is the serial number of certificate 0 in decimal, model the common
	// name of certificate 1: the service's claims ueid and hwmodel.
	ueid, model string
	certs       []*x509.Certificate
}

// maxCertificates is more than a device chain has, which are five.
const maxCertificates = 8

// readDevice takes a component apart. Errors are *fault.
func (k kind) readDevice(raw []byte) (*device, error) {
	c, err := container.Decode(raw)
	switch {
	case errors.Is(err, container.ErrUnsupported):
		return nil, unsupported("%v", err)
	case err != nil:
		return nil, failed(verdict.ReasonMalformed, "%v", err)
	}
	d := &device{Device: c}
	if !slices.Contains(k.archs, d.Arch) {
		return nil, unsupported("architecture %q is that of no %s that the service appraises (%s)",
			container.Clip(d.Arch), k.noun, strings.Join(k.archs, ", "))
	}
	if d.report, err = nvidia.ParseReport(d.Report); err != nil {
		return nil, failed(verdict.ReasonMalformed, "%v", err)
	}
	certs, err := readChain(d.Chain)
	if err != nil {
		return nil, failed(verdict.ReasonMalformed, "certificate chain: %v", err)
	}
	d.certs, d.ueid, d.model = certs, certs[0].SerialNumber.String(), certs[1].Subject.CommonName
	key, ok := certs[0].PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, failed(verdict.ReasonChainInvalid, "certificate 0 has no key on P-384")
	}
	if !signedBy(key, d.report) {
		return nil, failed(verdict.ReasonSignatureInvalid, "the report is not signed by the key of certificate 0 (ueid %s)", d.ueid)
	}
	if d.Nonce != nil && subtle.ConstantTimeCompare(d.Nonce, d.report.Nonce) != 1 {
		return nil, failed(verdict.ReasonNonceMismatch, "member \"nonce\" says %s, the signed request %s", short(d.Nonce), short(d.report.Nonce))
	}
	return d, nil
}

// signedBy checks raw r||s over the SHA-384 of request and response (SPDM 1.1).
func signedBy(key *ecdsa.PublicKey, r *nvidia.Report) bool {
	sum := sha512.Sum384(r.Signed)
	half := len(r.Signature) / 2
	return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(r.Signature[:half]), new(big.Int).SetBytes(r.Signature[half:]))
}

// readChain reads the certificates, of which there must be two at least. Who
// issued them is not looked at.
func readChain(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, fmt.Errorf("text that is no certificate behind %d certificates", len(out))
		}
		block, behind := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || len(out) == maxCertificates {
			return nil, fmt.Errorf("certificate %d cannot be read, or there are more than %d", len(out), maxCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out), err)
		}
		out, rest = append(out, c), behind
	}
	if len(out) < 2 {
		return nil, fmt.Errorf("%d certificates", len(out))
	}
	if out[0].SerialNumber.Sign() <= 0 {
		return nil, errors.New("certificate 0 has no positive serial number")
	}
	return out, nil
}

func short(b []byte) string { return fmt.Sprintf("%x… (%d bytes)", b[:min(8, len(b))], len(b)) }
