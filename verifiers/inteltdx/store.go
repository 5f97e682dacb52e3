// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/endorsements"
)

// outcome is a result or why there is none.
type outcome[V any] struct {
	value V
	err   error
}

// storeLoader fills a store. The parts that many sets share, since Intel
// publishes them once for all platforms, are verified once.
type storeLoader struct {
	*store
	roots  roots
	names  memberNames
	chains map[[32]byte]outcome[*verified]
	qes    map[[32]byte]outcome[*qeStatement]
	lists  map[[32]byte]outcome[*crlStatement]
}

// newStore verifies all collateral of a bundle. What does not verify is a fault
// of its file and never an error: collateral that nobody needs must not keep
// the verifier from starting.
func newStore(rs roots, b *endorsements.Bundle) *store {
	l := &storeLoader{
		store: &store{
			tcb: map[string][]*tcbStatement{}, crls: map[issuerID][]*crlStatement{},
			revoked: map[issuerID]map[string]string{}, revokedCA: map[issuerID]string{}, faults: map[string][]string{},
		},
		roots: rs, names: collateralNames(),
		chains: map[[32]byte]outcome[*verified]{},
		qes:    map[[32]byte]outcome[*qeStatement]{},
		lists:  map[[32]byte]outcome[*crlStatement]{},
	}
	for in := range b.AllIntelTDX() {
		l.add(in)
	}
	l.finish()
	return l.store
}

// add takes the four parts of one set, each for itself.
func (l *storeLoader) add(in endorsements.IntelCollateral) {
	for _, part := range []func(endorsements.IntelCollateral) error{l.addPCKCRL, l.addRootCRL, l.addTCB, l.addQE} {
		if err := guarded(part, in); err != nil {
			l.faults[in.FMSPC] = append(l.faults[in.FMSPC], in.Name+": "+err.Error())
		}
	}
}

// guarded turns the panic of a parser into an error.
func guarded(part func(endorsements.IntelCollateral) error, in endorsements.IntelCollateral) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("collateral made a parser panic: %v", p)
		}
	}()
	return part(in)
}

// once returns what was built for this key before, or builds it.
func once[V any](m map[[32]byte]outcome[V], key [32]byte, build func() (V, error)) (v V, isNew bool, err error) {
	if o, ok := m[key]; ok {
		return o.value, false, o.err
	}
	v, err = build()
	m[key] = outcome[V]{v, err}
	return v, true, err
}

func (l *storeLoader) addTCB(in endorsements.IntelCollateral) error {
	s := &tcbStatement{statement: statement{file: in.Name}}
	if err := l.signed(&s.statement, "TCB info", in.TCBInfo, in.TCBInfoSignature, in.TCBInfoIssuerChain); err != nil {
		return err
	}
	if err := l.names.decode(in.TCBInfo, &s.info); err != nil {
		return fmt.Errorf("TCB info: %w", err)
	}
	if err := s.info.check(); err != nil {
		return err
	}
	s.number, s.issued = s.info.EvaluationNumber, s.info.IssueDate
	s.windows = append(s.windows, window{"TCB info", s.info.IssueDate, s.info.NextUpdate})
	fmspc := strings.ToLower(s.info.FMSPC)
	l.tcb[fmspc] = append(l.tcb[fmspc], s)
	return nil
}

func (l *storeLoader) addQE(in endorsements.IntelCollateral) error {
	key := digestOf(in.QEIdentity, []byte(in.QEIdentitySignature), in.QEIdentityChain)
	s, isNew, err := once(l.qes, key, func() (*qeStatement, error) { return l.readQE(in) })
	if isNew && err == nil {
		l.qe = append(l.qe, s)
	}
	return err
}

func (l *storeLoader) readQE(in endorsements.IntelCollateral) (*qeStatement, error) {
	s := &qeStatement{statement: statement{file: in.Name}}
	if err := l.signed(&s.statement, "QE identity", in.QEIdentity, in.QEIdentitySignature, in.QEIdentityChain); err != nil {
		return nil, err
	}
	if err := l.names.decode(in.QEIdentity, &s.id); err != nil {
		return nil, fmt.Errorf("QE identity: %w", err)
	}
	if err := s.id.check(); err != nil {
		return nil, err
	}
	s.number, s.issued = s.id.EvaluationNumber, s.id.IssueDate
	s.windows = append(s.windows, window{"QE identity", s.id.IssueDate, s.id.NextUpdate})
	return s, nil
}

// signed checks one signed JSON value: its chain, and the signature over the
// exact bytes.
func (l *storeLoader) signed(s *statement, what string, raw []byte, sigHex string, chain []byte) error {
	if err := l.issuer(s, what, chain); err != nil {
		return err
	}
	if cn := s.signer.Subject.CommonName; cn != cnTCBSigning || s.signer.IsCA {
		return fmt.Errorf("%s is signed by %q, expected %q", what, cn, cnTCBSigning)
	}
	key, _ := p256Key(s.signer)
	sig, err := hex.DecodeString(sigHex)
	if err != nil || !verifyP256(key, raw, sig) {
		return fmt.Errorf("%s: signature does not hold", what)
	}
	return nil
}

// issuer verifies an issuer chain: issuer and root.
func (l *storeLoader) issuer(s *statement, what string, chain []byte) error {
	v, _, err := once(l.chains, digestOf(chain), func() (*verified, error) { return l.roots.readChain(chain) })
	if err != nil {
		return fmt.Errorf("%s issuer chain: %w", what, err)
	}
	if len(v.certs) != 2 {
		return fmt.Errorf("%s issuer chain has %d certificates, expected issuer and root", what, len(v.certs))
	}
	s.signer, s.root = v.certs[0], v.certs[1]
	s.windows = slices.Clone(v.windows)
	return nil
}

func (rs roots) readChain(raw []byte) (*verified, error) {
	ders, err := splitPEM(raw)
	if err != nil {
		return nil, err
	}
	certs, err := parseChain(ders)
	if err != nil {
		return nil, err
	}
	v, f := rs.verify(certs)
	if f != nil {
		return nil, f
	}
	return v, nil
}

func (l *storeLoader) addPCKCRL(in endorsements.IntelCollateral) error {
	return l.addCRL(digestOf(in.PCKCRL, in.PCKCRLIssuerChain), func() (*crlStatement, error) {
		s := &crlStatement{statement: statement{file: in.Name}}
		if err := l.issuer(&s.statement, "PCK CRL", in.PCKCRLIssuerChain); err != nil {
			return nil, err
		}
		if cn := s.signer.Subject.CommonName; cn != cnPlatform && cn != cnProcessor {
			return nil, fmt.Errorf("PCK CRL is issued by %q, expected a PCK Platform or Processor CA", cn)
		}
		return s, s.read("PCK CRL", in.PCKCRL)
	})
}

// addRootCRL takes the CRL of a root CA. It comes without a chain; the trusted
// root that signed it is the one it belongs to.
func (l *storeLoader) addRootCRL(in endorsements.IntelCollateral) error {
	return l.addCRL(digestOf(in.RootCACRL), func() (*crlStatement, error) {
		var errs []error
		for _, r := range l.roots {
			s := &crlStatement{statement: statement{file: in.Name, root: r, signer: r}}
			s.windows = []window{{fmt.Sprintf("certificate %q", r.Subject.CommonName), r.NotBefore, r.NotAfter}}
			err := s.read("root CA CRL", in.RootCACRL)
			if err == nil {
				return s, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	})
}

func (l *storeLoader) addCRL(key [32]byte, build func() (*crlStatement, error)) error {
	s, isNew, err := once(l.lists, key, build)
	if err != nil || !isNew {
		return err
	}
	s.issuer = newIssuerID(s.root, s.signer)
	l.crls[s.issuer] = append(l.crls[s.issuer], s)
	return nil
}

// read verifies one revocation list of the statement's signer.
func (s *crlStatement) read(what string, der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !bytes.Equal(list.Raw, der) {
		return fmt.Errorf("%s: data behind the list", what)
	}
	if !bytes.Equal(list.RawIssuer, s.signer.RawSubject) {
		return fmt.Errorf("%s is issued by %q, expected %q", what, list.Issuer.CommonName, s.signer.Subject.CommonName)
	}
	if err := list.CheckSignatureFrom(s.signer); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, e := range list.Extensions {
		if e.Critical {
			return fmt.Errorf("%s: critical extension %v changes its scope", what, e.Id)
		}
	}
	if list.NextUpdate.IsZero() {
		s.flaw = what + " has no next update"
	}
	s.issued = list.ThisUpdate
	s.windows = append(s.windows, window{what, list.ThisUpdate, list.NextUpdate})
	for _, e := range list.RevokedCertificateEntries {
		s.serials = append(s.serials, e.SerialNumber)
	}
	return nil
}

// finish unites the revocations, applies them to the signers of the collateral
// itself, and sorts.
func (l *storeLoader) finish() {
	for id, lists := range l.crls {
		l.revoked[id] = map[string]string{}
		for _, s := range lists {
			for _, serial := range s.serials {
				l.revoked[id][serial.String()] = s.file
			}
			s.serials = nil
		}
		sortNewest(lists, func(s *crlStatement) *statement { return &s.statement })
	}
	for id, lists := range l.crls {
		for _, s := range lists {
			if file, ok := l.revokedBy(&s.statement); ok {
				l.revokedCA[id] = revokedSigner(s.signer, file)
			}
		}
	}
	for _, list := range l.tcb {
		for _, s := range list {
			l.drop(&s.statement)
		}
		sortNewest(list, func(s *tcbStatement) *statement { return &s.statement })
	}
	for _, s := range l.qe {
		l.drop(&s.statement)
	}
	sortNewest(l.qe, func(s *qeStatement) *statement { return &s.statement })
}

func sortNewest[S any](list []S, of func(S) *statement) {
	slices.SortStableFunc(list, func(a, b S) int {
		switch {
		case of(a).newer(of(b)):
			return -1
		case of(b).newer(of(a)):
			return 1
		}
		return 0
	})
}

// revokedBy names the file whose root CA CRL revokes the signer.
func (l *storeLoader) revokedBy(s *statement) (string, bool) {
	file, ok := l.revoked[newIssuerID(s.root, s.root)][s.signer.SerialNumber.String()]
	return file, ok
}

func (l *storeLoader) drop(s *statement) {
	if file, ok := l.revokedBy(s); ok {
		s.flaw = revokedSigner(s.signer, file)
	}
}

func revokedSigner(c *x509.Certificate, file string) string {
	return fmt.Sprintf("certificate %q of the collateral, serial %x, is revoked by %s", c.Subject.CommonName, c.SerialNumber, file)
}
