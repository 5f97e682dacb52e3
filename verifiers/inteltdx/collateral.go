// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// maxComplaints bounds what one appraisal says about unusable collateral.
const maxComplaints = 8

// statement is what every signed part of the collateral has. Its signatures
// hold; time is not part of that: windows are compared at every use. It is
// immutable once the store is complete.
type statement struct {
	file         string
	root, signer *x509.Certificate
	windows      []window
	// number and issued rank statements of one kind: TCB evaluation data number
	// and issue date; for a CRL zero and thisUpdate.
	number int
	issued time.Time
	// flaw says why the statement proves nothing although it is signed.
	flaw string
}

type tcbStatement struct {
	statement
	info tcbInfo
}

type qeStatement struct {
	statement
	id qeIdentity
}

type crlStatement struct {
	statement
	issuer  issuerID
	serials []*big.Int
}

// store is what one bundle proves, verified once. It is immutable.
type store struct {
	// tcb is by FMSPC, crls by issuing CA; all lists are newest first.
	tcb  map[string][]*tcbStatement
	qe   []*qeStatement
	crls map[issuerID][]*crlStatement
	// revoked names, by issuing CA and decimal serial number, the file that
	// revokes. It is the union over all CRLs whose signature holds, whatever
	// else is wrong with the set or too old: a revocation does not lapse.
	revoked map[issuerID]map[string]string
	// revokedCA names the certificates of a CA that its root revoked.
	revokedCA map[issuerID]string
	// faults says, by FMSPC, what does not verify and never will.
	faults map[string][]string
}

// collateral is what judges one platform at one time: the newest of each kind
// that is valid then, wherever it was found.
type collateral struct {
	tcb             *tcbStatement
	qe              *qeStatement
	pckCRL, rootCRL *crlStatement
}

// newer says whether s takes precedence over o.
func (s *statement) newer(o *statement) bool {
	if s.number != o.number {
		return s.number > o.number
	}
	return s.issued.After(o.issued)
}

// usable says whether the statement counts for a platform at time t.
func (s *statement) usable(p *pckChain, t time.Time) bool {
	outside := func(w window) bool { return !w.holds(t) }
	return s.flaw == "" && s.root.Equal(p.certs[2]) && !slices.ContainsFunc(s.windows, outside)
}

// why explains a statement that is not usable; empty if it is.
func (s *statement) why(p *pckChain, t time.Time) string {
	what := s.flaw
	switch {
	case what != "":
	case !s.root.Equal(p.certs[2]):
		what = "collateral and PCK certificate have different roots"
	default:
		what = firstOutside(s.windows, t)
	}
	if what == "" {
		return ""
	}
	return s.file + ": " + what
}

func (s *tcbStatement) usable(p *pckChain, t time.Time) bool {
	return strings.EqualFold(s.info.PCEID, p.pceID) && s.statement.usable(p, t)
}

func (s *tcbStatement) why(p *pckChain, t time.Time) string {
	if !strings.EqualFold(s.info.PCEID, p.pceID) {
		return fmt.Sprintf("%s: TCB info is for PCE ID %s, platform has %s", s.file, s.info.PCEID, p.pceID)
	}
	return s.statement.why(p, t)
}

// candidate is a statement of any kind.
type candidate interface {
	usable(p *pckChain, t time.Time) bool
	why(p *pckChain, t time.Time) string
}

// newest is the first usable one of a list that begins with the newest.
func newest[C candidate](list []C, p *pckChain, t time.Time) (c C, ok bool) {
	for _, c := range list {
		if c.usable(p, t) {
			return c, true
		}
	}
	return c, false
}

// collateralFor finds what judges a platform at time t. TCB info, QE identity
// and CRLs are chosen independently of each other, each the newest one that is
// valid at t, so that nothing old hides a TCB recovery, in whichever file it
// lies and beside whatever. If one kind is missing there is no collateral, and
// the complaints say why; without complaints there was none for this platform.
func (s *store) collateralFor(p *pckChain, t time.Time) (*collateral, []string) {
	var (
		c  collateral
		ok [4]bool
	)
	c.tcb, ok[0] = newest(s.tcb[p.fmspc], p, t)
	c.qe, ok[1] = newest(s.qe, p, t)
	c.pckCRL, ok[2] = newest(s.crls[p.caID], p, t)
	c.rootCRL, ok[3] = newest(s.crls[p.rootID], p, t)
	if ok == [4]bool{true, true, true, true} {
		return &c, nil
	}
	out := complaints{lines: slices.Clone(s.faults[p.fmspc])}
	if len(s.tcb[p.fmspc])+len(out.lines) == 0 {
		return nil, nil
	}
	if !ok[0] {
		collect(&out, s.tcb[p.fmspc], "TCB info", p, t)
	}
	if !ok[1] {
		collect(&out, s.qe, "QE identity", p, t)
	}
	if !ok[2] {
		collect(&out, s.crls[p.caID], fmt.Sprintf("CRL of the CA %q that issued the PCK certificate", p.ca().Subject.CommonName), p, t)
	}
	if !ok[3] {
		collect(&out, s.crls[p.rootID], "CRL of the root CA", p, t)
	}
	return nil, out.all()
}

// complaints is a bounded list of sentences.
type complaints struct {
	lines []string
	more  int
}

func collect[C candidate](out *complaints, list []C, what string, p *pckChain, t time.Time) {
	if len(list) == 0 {
		out.lines = append(out.lines, "no usable "+what)
	}
	for _, c := range list {
		if len(out.lines) >= maxComplaints {
			out.more++
			continue
		}
		out.lines = append(out.lines, c.why(p, t))
	}
}

func (c *complaints) all() []string {
	if n := len(c.lines) - maxComplaints; n > 0 {
		c.lines, c.more = c.lines[:maxComplaints], c.more+n
	}
	if c.more > 0 {
		c.lines = append(c.lines, fmt.Sprintf("and %d more", c.more))
	}
	return c.lines
}

// revocation names the certificate of a PCK chain that is revoked, or nothing.
// It needs no usable collateral and no time: only that there is no entry takes
// a CRL that is valid now.
func (s *store) revocation(p *pckChain) string {
	say := func(what string, serial *big.Int, file string) string {
		return fmt.Sprintf("%s, serial %x, is revoked by %s", what, serial, file)
	}
	if file, ok := s.revoked[p.caID][p.leafSerial]; ok {
		return say("PCK certificate", p.leaf().SerialNumber, file)
	}
	if file, ok := s.revoked[p.rootID][p.caSerial]; ok {
		return say("PCK "+p.caKind+" CA", p.ca().SerialNumber, file)
	}
	return s.revokedCA[p.caID]
}
