// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assize/assize/verdict"
)

// failure is why evidence proves nothing.
type failure struct {
	code, detail string
	compared     verdict.Comparison
}

func failf(code, format string, a ...any) *failure {
	return &failure{code: code, detail: fmt.Sprintf(format, a...)}
}

// vek is a verified endorsement key. It is immutable, and says nothing about
// time or revocation: these are looked at in every use.
type vek struct {
	cert   *x509.Certificate
	digest [32]byte
	key    *ecdsa.PublicKey
	spki   [32]byte // SHA-256
	kind   keyKind
	*identity
	issuer *authority
}

// certifies holds if issuer may issue certificates and has issued c, as AMD
// does: RSA-PSS with SHA-384.
func certifies(issuer, c *x509.Certificate, authority bool) error {
	switch {
	case c.SignatureAlgorithm != x509.SHA384WithRSAPSS:
		return fmt.Errorf("signature algorithm %s, expected SHA384-RSAPSS", c.SignatureAlgorithm)
	case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("issuer is %.64q, not %.64q", c.Issuer.CommonName, issuer.Subject.CommonName)
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("critical extension %s is not known", c.UnhandledCriticalExtensions[0])
	case authority && (!c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0):
		return errors.New("it may not issue certificates")
	}
	return c.CheckSignatureFrom(issuer)
}

// authorityOf takes a certificate that is no anchor for an intermediate, if a
// trusted root has issued it under the name that AMD gives to one.
func (rs *roots) authorityOf(c *x509.Certificate) (*authority, error) {
	a := newAuthority(c)
	name := c.Subject.CommonName
	line, vlek := strings.CutPrefix(name, commonASVK)
	if vlek {
		a.kind = kindVLEK
	} else {
		line, _ = strings.CutPrefix(name, commonASK)
		a.kind = kindVCEK
	}
	if a.product = productOf(line); a.product == productUnknown || a.product.String() != line || !strings.HasPrefix(name, commonASK) {
		return nil, fmt.Errorf("%.64q is no name of an AMD signing key", name)
	}
	err := fmt.Errorf("no root key of %s is trusted", a.product)
	for _, ark := range rs.arks {
		if ark.product != a.product {
			continue
		}
		if err = certifies(ark.cert, c, true); err == nil {
			a.root = ark
			return a, nil
		}
	}
	return nil, err
}

// verifyVEK verifies an endorsement key by one of the issuers.
func verifyVEK(der []byte, kind keyKind, issuers []*authority) (*vek, *failure) {
	v, f := parseVEK(der, kind)
	if f != nil {
		return nil, f
	}
	known := false
	var last error
	for _, a := range issuers {
		if a.kind != kind || a.product != v.product || !bytes.Equal(a.cert.RawSubject, v.cert.RawIssuer) {
			continue
		}
		known = true
		if last = certifies(a.cert, v.cert, false); last == nil {
			v.issuer = a
			return v, nil
		}
	}
	if !known {
		return nil, failf(verdict.ReasonUnknownRoot, "no trusted authority for %s certificates of %s is named %.64q", kind, v.product, v.cert.Issuer.CommonName)
	}
	return nil, failf(verdict.ReasonChainInvalid, "%s certificate: %v", kind, last)
}

// parseVEK checks everything about an endorsement key but who has issued it.
func parseVEK(der []byte, kind keyKind) (*vek, *failure) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, failf(verdict.ReasonChainInvalid, "%s certificate: %v", kind, err)
	}
	if want := "SEV-" + kind.String(); c.Subject.CommonName != want {
		return nil, failf(verdict.ReasonWrongSigner, "the report says that a %s signs it, and the certificate is of %.64q", kind, c.Subject.CommonName)
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, failf(verdict.ReasonChainInvalid, "%s certificate has no ECDSA P-384 key", kind)
	}
	if c.IsCA {
		return nil, failf(verdict.ReasonChainInvalid, "%s certificate is that of an authority", kind)
	}
	id, err := parseIdentity(c, kind)
	if err != nil {
		return nil, failf(verdict.ReasonChainInvalid, "%s certificate: %v", kind, err)
	}
	return &vek{
		cert: c, digest: sha256.Sum256(c.Raw), key: key, spki: sha256.Sum256(c.RawSubjectPublicKeyInfo), kind: kind, identity: id,
	}, nil
}

// chain is VEK, intermediate and root.
func (v *vek) chain() []*x509.Certificate {
	return []*x509.Certificate{v.cert, v.issuer.cert, v.issuer.root.cert}
}

// outside says which certificate is not valid at a time, "" if all are.
func (v *vek) outside(now time.Time) string {
	for _, c := range v.chain() {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return fmt.Sprintf("%s is valid from %s to %s, not at %s", c.Subject.CommonName,
				c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	return ""
}

// expired is the same as a comparison.
func (v *vek) expired(now time.Time) verdict.Comparison {
	for _, c := range v.chain() {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return verdict.Comparison{
				Expected: "from " + c.NotBefore.UTC().Format(time.RFC3339) + " to " + c.NotAfter.UTC().Format(time.RFC3339),
				Observed: now.UTC().Format(time.RFC3339), Source: "certificate " + c.Subject.CommonName,
			}
		}
	}
	return verdict.Comparison{}
}

// mismatch says why the key is not the one of the report, "" if it is: product,
// TCB by component, and the chip, unless the host hides it.
func (v *vek) mismatch(r *report) string {
	if p := r.product(); p != productUnknown && p != v.product {
		return fmt.Sprintf("the certificate is for %s, and CPUID says %s", v.product, p)
	}
	if got := r.reportedTCB(); got != v.tcb {
		return fmt.Sprintf("the certificate is for the TCB %s, and REPORTED_TCB is %s", v.product.text(v.tcb), v.product.text(got))
	}
	if v.kind == kindVCEK && !r.chipMasked() && !v.isChip(r.chipID()) {
		return fmt.Sprintf("the certificate is for chip %x…, and CHIP_ID is %x…", v.hwid[:8], r.chipID()[:8])
	}
	return ""
}

// isChip compares all of CHIP_ID; on Turin what is behind its name must be zero.
func (v *vek) isChip(chip []byte) bool {
	return bytes.Equal(chip[:len(v.hwid)], v.hwid) && allZero(chip[len(v.hwid):])
}
