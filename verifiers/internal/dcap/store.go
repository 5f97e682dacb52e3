// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"bytes"
	"crypto/sha256"
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

// memo is what was verified, by the SHA-256 of what it was made from. It outlives
// a bundle: the next one takes from it what it holds too. Statements in it have no
// file and no flaw; those depend on the bundle.
type memo struct {
	chains map[[32]byte]outcome[*verified]
	tcbs   map[[32]byte]outcome[tcbStatement]
	qes    map[[32]byte]outcome[qeStatement]
	lists  map[[32]byte]outcome[crlStatement]
}

func newMemo() *memo {
	return &memo{
		chains: map[[32]byte]outcome[*verified]{}, tcbs: map[[32]byte]outcome[tcbStatement]{},
		qes: map[[32]byte]outcome[qeStatement]{}, lists: map[[32]byte]outcome[crlStatement]{},
	}
}

// storeLoader fills a store. The parts that many sets share, since Intel
// publishes them once for all platforms, are verified once.
type storeLoader struct {
	*store
	tee   TEE
	roots roots
	names memberNames
	last  *memo
}

// newStore verifies all collateral of a bundle that was not verified for the last
// one. What does not verify is a fault of its file and never an error: collateral
// that nobody needs must not keep the verifier from starting.
func newStore(rs roots, b *endorsements.Bundle, tee TEE, last *memo) *store {
	if last == nil {
		last = newMemo()
	}
	l := &storeLoader{
		store: &store{
			tcb: map[string][]*tcbStatement{}, crls: map[issuerID][]*crlStatement{}, memo: newMemo(),
			revoked: map[issuerID]map[string]string{}, revokedCA: map[issuerID]string{}, faults: map[string][]string{},
		},
		tee: tee, roots: rs, names: collateralNames(), last: last,
	}
	for in := range b.AllIntelTDX() {
		l.add(in)
	}
	l.addLoose(b)
	l.finish()
	return l.store
}

// add takes the parts of one set, each for itself. A set need not have all of them.
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

// once returns what was built for this key before, in this store or the last one,
// or builds it. first says that this store did not have it yet.
func once[V any](m, last map[[32]byte]outcome[V], key [32]byte, build func() (V, error)) (v V, first bool, err error) {
	if o, ok := m[key]; ok {
		return o.value, false, o.err
	}
	o, ok := last[key]
	if !ok || o.err != nil {
		o.value, o.err = build()
	}
	m[key] = o
	return o.value, true, o.err
}

func (l *storeLoader) addTCB(in endorsements.IntelCollateral) error {
	if len(in.TCBInfo) == 0 {
		return nil
	}
	if l.tee == SGX && forOther(in.TCBInfo, TDX.String()) || l.tee == TDX && forOther(in.TCBInfo, SGX.String()) {
		return nil
	}
	key := digestOf(in.TCBInfo, []byte(in.TCBInfoSignature), in.TCBInfoIssuerChain)
	s, first, err := once(l.memo.tcbs, l.last.tcbs, key, func() (tcbStatement, error) { return l.readTCB(in) })
	if err == nil && first {
		s.file = in.Name
		fmspc := strings.ToLower(s.info.FMSPC)
		l.tcb[fmspc] = append(l.tcb[fmspc], &s)
	}
	return err
}

func (l *storeLoader) readTCB(in endorsements.IntelCollateral) (s tcbStatement, err error) {
	if err := l.signed(&s.statement, "TCB info", in.TCBInfo, in.TCBInfoSignature, in.TCBInfoIssuerChain); err != nil {
		return s, err
	}
	s.info = new(tcbInfo)
	if err := l.names.decode(in.TCBInfo, s.info); err != nil {
		return s, fmt.Errorf("TCB info: %w", err)
	}
	if err := s.info.check(l.tee); err != nil {
		return s, err
	}
	s.number, s.own = s.info.EvaluationNumber, window{"TCB info", s.info.IssueDate, s.info.NextUpdate}
	return s, nil
}

func (l *storeLoader) addQE(in endorsements.IntelCollateral) error {
	if len(in.QEIdentity) == 0 {
		return nil
	}
	if l.tee == SGX && forOther(in.QEIdentity, TDX.qeID()) || l.tee == TDX && forOther(in.QEIdentity, SGX.qeID()) {
		return nil
	}
	key := digestOf(in.QEIdentity, []byte(in.QEIdentitySignature), in.QEIdentityChain)
	s, first, err := once(l.memo.qes, l.last.qes, key, func() (qeStatement, error) { return l.readQE(in) })
	if err == nil && first {
		s.file = in.Name
		l.qe = append(l.qe, &s)
	}
	return err
}

func (l *storeLoader) readQE(in endorsements.IntelCollateral) (s qeStatement, err error) {
	if err := l.signed(&s.statement, "QE identity", in.QEIdentity, in.QEIdentitySignature, in.QEIdentityChain); err != nil {
		return s, err
	}
	s.id = new(qeIdentity)
	if err := l.names.decode(in.QEIdentity, s.id); err != nil {
		return s, fmt.Errorf("QE identity: %w", err)
	}
	if err := s.id.check(l.tee); err != nil {
		return s, err
	}
	s.number, s.own = s.id.EvaluationNumber, window{"QE identity", s.id.IssueDate, s.id.NextUpdate}
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
	s.digest = sha256.Sum256(raw)
	return nil
}

// issuer verifies an issuer chain: issuer and root.
func (l *storeLoader) issuer(s *statement, what string, chain []byte) error {
	v, _, err := once(l.memo.chains, l.last.chains, digestOf(chain), func() (*verified, error) { return l.roots.readChain(chain) })
	if err != nil {
		return fmt.Errorf("%s issuer chain: %w", what, err)
	}
	return s.issuedUnder(what, v)
}

func (s *statement) issuedUnder(what string, v *verified) error {
	if len(v.certs) != 2 {
		return fmt.Errorf("%s issuer chain has %d certificates, expected issuer and root", what, len(v.certs))
	}
	s.signer, s.root, s.certs = v.certs[0], v.certs[1], v.windows
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
	if len(in.PCKCRL) == 0 {
		return nil
	}
	return l.addCRL(in.Name, digestOf(in.PCKCRL, in.PCKCRLIssuerChain), func() (s crlStatement, err error) {
		if err := l.issuer(&s.statement, "PCK CRL", in.PCKCRLIssuerChain); err != nil {
			return s, err
		}
		return s, s.readPCK(in.PCKCRL)
	})
}

// addRootCRL takes the CRL of a root CA. It comes without a chain; the trusted
// root that signed it is the one it belongs to.
func (l *storeLoader) addRootCRL(in endorsements.IntelCollateral) error {
	if len(in.RootCACRL) == 0 {
		return nil
	}
	return l.addCRL(in.Name, digestOf(in.RootCACRL), func() (crlStatement, error) { return l.rootCRL(in.RootCACRL) })
}

func (l *storeLoader) rootCRL(der []byte) (crlStatement, error) {
	var errs []error
	for _, r := range l.roots {
		s := crlStatement{statement: statement{root: r, signer: r}}
		s.certs = []window{{fmt.Sprintf("certificate %q", r.Subject.CommonName), r.NotBefore, r.NotAfter}}
		err := s.read("root CA CRL", der)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return crlStatement{}, errors.Join(errs...)
}

// addLoose takes revocation lists that lie in the bundle by themselves: of a
// trusted root, or of a PCK CA whose certificate lies there too. Those of other
// vendors are none of either, and no fault.
func (l *storeLoader) addLoose(b *endorsements.Bundle) {
	for list := range b.RevocationLists() {
		if err := l.addCRL(list.Name, digestOf(list.Raw), func() (crlStatement, error) { return l.rootCRL(list.Raw) }); err == nil {
			continue
		}
		for c := range b.Certificates() {
			if caKind(c.Certificate) == "" || !bytes.Equal(c.RawSubject, list.RawIssuer) {
				continue
			}
			// An error means that this certificate is not the issuer's.
			_ = l.addCRL(list.Name, digestOf(list.Raw, c.Raw), func() (s crlStatement, err error) {
				v, f := l.roots.verify([]*x509.Certificate{c.Certificate})
				if f != nil {
					return s, f
				}
				if err := s.issuedUnder("PCK CRL", v); err != nil {
					return s, err
				}
				return s, s.readPCK(list.Raw)
			})
		}
	}
}

func (l *storeLoader) addCRL(file string, key [32]byte, build func() (crlStatement, error)) error {
	s, first, err := once(l.memo.lists, l.last.lists, key, build)
	if err != nil || !first {
		return err
	}
	s.file, s.issuer = file, newIssuerID(s.root, s.signer)
	l.crls[s.issuer] = append(l.crls[s.issuer], &s)
	return nil
}

// readPCK verifies one revocation list of a PCK CA.
func (s *crlStatement) readPCK(der []byte) error {
	if caKind(s.signer) == "" {
		return fmt.Errorf("PCK CRL is issued by %q, expected a PCK Platform or Processor CA", s.signer.Subject.CommonName)
	}
	return s.read("PCK CRL", der)
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
	s.own, s.digest = window{what, list.ThisUpdate, list.NextUpdate}, sha256.Sum256(der)
	for _, e := range list.RevokedCertificateEntries {
		s.serials = append(s.serials, e.SerialNumber.String())
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
				l.revoked[id][serial] = s.file
			}
		}
		sortNewest(lists)
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
		sortNewest(list)
	}
	for _, s := range l.qe {
		l.drop(&s.statement)
	}
	sortNewest(l.qe)
}

func sortNewest[C candidate](list []C) {
	slices.SortStableFunc(list, func(a, b C) int {
		switch {
		case a.base().newer(b.base()):
			return -1
		case b.base().newer(a.base()):
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
