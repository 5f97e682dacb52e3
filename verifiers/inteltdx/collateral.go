// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/assize/assize/endorsements"
)

// collateral is one set whose signatures hold. Time is not part of that:
// windows are compared at every use. It is immutable.
type collateral struct {
	name    string
	tcb     tcbInfo
	qe      qeIdentity
	root    *x509.Certificate
	windows []window
	// crlIssuer is the PCK CA whose revocations pckRevoked lists.
	crlIssuer   *x509.Certificate
	pckRevoked  map[string]bool // serial numbers, decimal
	rootRevoked map[string]bool
}

// collateralResult is what the cache keeps; a set that does not verify now
// never will.
type collateralResult struct {
	set *collateral
	err error
}

// verifySet verifies one set, or finds the outcome in the cache.
func (v *verifier) verifySet(in endorsements.IntelCollateral) (*collateral, error) {
	if r, ok := v.sets.get(in.Digest); ok {
		return r.set, r.err
	}
	set, err := v.roots.verifySet(in)
	v.sets.put(in.Digest, collateralResult{set, err})
	return set, err
}

func (rs roots) verifySet(in endorsements.IntelCollateral) (*collateral, error) {
	c := &collateral{name: in.Name}
	tcbSigner, err := rs.signed(c, "TCB info", in.TCBInfo, in.TCBInfoSignature, in.TCBInfoIssuerChain)
	if err != nil {
		return nil, err
	}
	qeSigner, err := rs.signed(c, "QE identity", in.QEIdentity, in.QEIdentitySignature, in.QEIdentityChain)
	if err != nil {
		return nil, err
	}
	if err := c.readRevocations(rs, in); err != nil {
		return nil, err
	}
	for _, cert := range []*x509.Certificate{tcbSigner, qeSigner} {
		if c.rootRevoked[cert.SerialNumber.String()] {
			return nil, fmt.Errorf("certificate %q of the collateral is revoked", cert.Subject.CommonName)
		}
	}
	if err := json.Unmarshal(in.TCBInfo, &c.tcb); err != nil {
		return nil, fmt.Errorf("TCB info: %w", err)
	}
	if err := json.Unmarshal(in.QEIdentity, &c.qe); err != nil {
		return nil, fmt.Errorf("QE identity: %w", err)
	}
	if err := errors.Join(c.tcb.check(), c.qe.check()); err != nil {
		return nil, err
	}
	c.windows = append(c.windows,
		window{"TCB info", c.tcb.IssueDate, c.tcb.NextUpdate},
		window{"QE identity", c.qe.IssueDate, c.qe.NextUpdate})
	return c, nil
}

// signed checks one signed JSON value: its chain up to the root, which must be
// the same for the whole set, and the signature over the exact bytes.
func (rs roots) signed(c *collateral, what string, raw []byte, sigHex string, chain []byte) (*x509.Certificate, error) {
	signer, err := rs.issuer(c, what, chain)
	if err != nil {
		return nil, err
	}
	if cn := signer.Subject.CommonName; cn != cnTCBSigning || signer.IsCA {
		return nil, fmt.Errorf("%s is signed by %q, expected %q", what, cn, cnTCBSigning)
	}
	key, _ := p256Key(signer)
	sig, err := hex.DecodeString(sigHex)
	if err != nil || !verifyP256(key, raw, sig) {
		return nil, fmt.Errorf("%s: signature does not hold", what)
	}
	return signer, nil
}

// issuer verifies an issuer chain and returns its first certificate.
func (rs roots) issuer(c *collateral, what string, chain []byte) (*x509.Certificate, error) {
	certs, err := parsePEM(chain)
	if err != nil {
		return nil, fmt.Errorf("%s issuer chain: %w", what, err)
	}
	v, f := rs.verify(certs)
	if f != nil {
		return nil, fmt.Errorf("%s issuer chain: %w", what, f)
	}
	if len(v.certs) != 2 {
		return nil, fmt.Errorf("%s issuer chain has %d certificates, expected issuer and root", what, len(v.certs))
	}
	if c.root == nil {
		c.root = v.certs[1]
	} else if !c.root.Equal(v.certs[1]) {
		return nil, fmt.Errorf("%s issuer chain ends at another root than the rest of the set", what)
	}
	c.windows = append(c.windows, v.windows...)
	return v.certs[0], nil
}

func (c *collateral) readRevocations(rs roots, in endorsements.IntelCollateral) (err error) {
	if c.crlIssuer, err = rs.issuer(c, "PCK CRL", in.PCKCRLIssuerChain); err != nil {
		return err
	}
	if cn := c.crlIssuer.Subject.CommonName; cn != cnPlatform && cn != cnProcessor {
		return fmt.Errorf("PCK CRL is issued by %q, expected a PCK Platform or Processor CA", cn)
	}
	if c.pckRevoked, err = c.crl("PCK CRL", in.PCKCRL, c.crlIssuer); err != nil {
		return err
	}
	c.rootRevoked, err = c.crl("root CA CRL", in.RootCACRL, c.root)
	return err
}

// crl verifies one revocation list and returns the revoked serial numbers.
func (c *collateral) crl(what string, der []byte, issuer *x509.Certificate) (map[string]bool, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !bytes.Equal(list.Raw, der) {
		return nil, fmt.Errorf("%s: data behind the list", what)
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		return nil, fmt.Errorf("%s is issued by %q, expected %q", what, list.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	for _, e := range list.Extensions {
		if e.Critical {
			return nil, fmt.Errorf("%s: critical extension %v changes its scope", what, e.Id)
		}
	}
	if list.NextUpdate.IsZero() {
		return nil, fmt.Errorf("%s has no next update", what)
	}
	c.windows = append(c.windows, window{what, list.ThisUpdate, list.NextUpdate})
	revoked := make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, e := range list.RevokedCertificateEntries {
		revoked[e.SerialNumber.String()] = true
	}
	return revoked, nil
}

// usable says why the set cannot judge this PCK certificate at time t; nil if
// it can.
func (c *collateral) usable(p *pckChain, t time.Time) error {
	switch {
	case !strings.EqualFold(c.tcb.FMSPC, p.fmspc):
		return fmt.Errorf("TCB info is for FMSPC %s, platform is %s", c.tcb.FMSPC, p.fmspc)
	case !strings.EqualFold(c.tcb.PCEID, p.pceID):
		return fmt.Errorf("TCB info is for PCE ID %s, platform has %s", c.tcb.PCEID, p.pceID)
	case !c.root.Equal(p.certs[2]):
		return errors.New("collateral and PCK certificate have different roots")
	case !bytes.Equal(c.crlIssuer.RawSubject, p.ca().RawSubject),
		!bytes.Equal(c.crlIssuer.RawSubjectPublicKeyInfo, p.ca().RawSubjectPublicKeyInfo):
		return fmt.Errorf("PCK CRL is of %q, the PCK certificate of another CA (%q)",
			c.crlIssuer.Subject.CommonName, p.ca().Subject.CommonName)
	}
	if s := firstOutside(c.windows, t); s != "" {
		return errors.New(s)
	}
	return nil
}

// revoked names the certificate of the PCK chain that is revoked, or nothing.
func (c *collateral) revoked(p *pckChain) string {
	name := func(what string, serial *big.Int) string { return fmt.Sprintf("%s, serial %x", what, serial) }
	switch {
	case c.pckRevoked[p.leaf().SerialNumber.String()]:
		return name("PCK certificate", p.leaf().SerialNumber)
	case c.rootRevoked[p.ca().SerialNumber.String()]:
		return name("PCK "+p.caKind+" CA", p.ca().SerialNumber)
	case c.rootRevoked[c.crlIssuer.SerialNumber.String()]:
		return name("certificate of the PCK "+p.caKind+" CA in the collateral", c.crlIssuer.SerialNumber)
	}
	return ""
}

// collateralFor finds the set that judges a platform: among those that verify
// and are valid at t, the one with the highest TCB evaluation data number and
// then the latest issue date, so that an old set lying about cannot hide a TCB
// recovery. Without one, the complaints say why.
func (v *verifier) collateralFor(p *pckChain, t time.Time) (best *collateral, complaints []string) {
	for _, in := range v.deps.Endorsements.IntelTDX(p.fmspc) {
		set, err := v.verifySet(in)
		if err == nil {
			err = set.usable(p, t)
		}
		switch {
		case err != nil:
			complaints = append(complaints, in.Name+": "+err.Error())
		case best == nil || set.newer(best):
			best = set
		}
	}
	return best, complaints
}

func (c *collateral) newer(o *collateral) bool {
	if c.tcb.EvaluationNumber != o.tcb.EvaluationNumber {
		return c.tcb.EvaluationNumber > o.tcb.EvaluationNumber
	}
	return c.tcb.IssueDate.After(o.tcb.IssueDate)
}
