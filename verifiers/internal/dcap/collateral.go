// SPDX-License-Identifier: Apache-2.0

package dcap

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
	digest       [32]byte // SHA-256 of the signed bytes
	root, signer *x509.Certificate
	// certs are the windows of the certificates behind it, own is its own.
	certs []window
	own   window
	// number and own.from rank statements of one kind: TCB evaluation data number
	// and issue date; for a CRL zero and thisUpdate.
	number int
	// flaw says why the statement proves nothing although it is signed.
	flaw string
}

type tcbStatement struct {
	statement
	info *tcbInfo
}

type qeStatement struct {
	statement
	id *qeIdentity
}

type crlStatement struct {
	statement
	issuer  issuerID
	serials []string // decimal
}

// store is what one bundle proves for one TEE, verified once. It is immutable.
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
	// faults says, by FMSPC, what does not verify and never will; those of what
	// belongs to no FMSPC are under "".
	faults map[string][]string
	// memo is what was verified, for the next store.
	memo *memo
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
	return s.own.from.After(o.own.from)
}

// when is the time for which collateral is chosen, and how long after its next
// update it may still count.
type when struct {
	time  time.Time
	grace time.Duration
}

// outside is the complaint about the first window that does not hold. Grace is for
// what was to be replaced, never for certificates.
func (s *statement) outside(w when) string {
	if c := firstOutside(s.certs, w.time); c != "" {
		return c
	}
	if late := w.time.Sub(s.own.to); late > 0 && late <= w.grace && !w.time.Before(s.own.from) {
		return ""
	}
	return s.own.check(w.time)
}

// why explains a statement that is not usable for a platform; empty if it is.
func (s *statement) why(p *PCK, w when) string {
	what := s.flaw
	switch {
	case what != "":
	case !s.root.Equal(p.Root()):
		what = "collateral and PCK certificate have different roots"
	default:
		what = s.outside(w)
	}
	if what == "" {
		return ""
	}
	return s.file + ": " + what
}

func (s *tcbStatement) why(p *PCK, w when) string {
	if !strings.EqualFold(s.info.PCEID, p.PCEID) {
		return fmt.Sprintf("%s: TCB info is for PCE ID %s, platform has %s", s.file, s.info.PCEID, p.PCEID)
	}
	return s.statement.why(p, w)
}

func (s *statement) base() *statement { return s }

// candidate is a statement of any kind.
type candidate interface {
	why(p *PCK, w when) string
	base() *statement
}

// newest is the first usable one of a list that begins with the newest. What is in
// time comes before what is in grace.
func newest[C candidate](list []C, p *PCK, w when) (c C, ok bool) {
	for _, c := range list {
		if c.why(p, when{time: w.time}) == "" {
			return c, true
		}
	}
	if w.grace > 0 {
		for _, c := range list {
			if c.why(p, w) == "" {
				return c, true
			}
		}
	}
	return c, false
}

// collateralFor finds what judges a platform. TCB info, QE identity and CRLs are
// chosen independently of each other, each the newest one that is valid then, so
// that nothing old hides a TCB recovery, in whichever file it lies and beside
// whatever. If one kind is missing there is no collateral, and the complaints say
// why; without complaints there was none for this platform.
func (s *store) collateralFor(p *PCK, w when) (*collateral, []string) {
	var (
		c  collateral
		ok [4]bool
	)
	c.tcb, ok[0] = newest(s.tcb[p.FMSPC], p, w)
	c.qe, ok[1] = newest(s.qe, p, w)
	c.pckCRL, ok[2] = newest(s.crls[p.caID], p, w)
	c.rootCRL, ok[3] = newest(s.crls[p.rootID], p, w)
	if ok == [4]bool{true, true, true, true} {
		return &c, nil
	}
	if len(s.tcb[p.FMSPC])+len(s.faults[p.FMSPC]) == 0 {
		return nil, nil
	}
	out := complaints{lines: slices.Concat(s.faults[p.FMSPC], s.faults[""])}
	if !ok[0] {
		collect(&out, s.tcb[p.FMSPC], "TCB info", p, w)
	}
	if !ok[1] {
		collect(&out, s.qe, "QE identity", p, w)
	}
	if !ok[2] {
		collect(&out, s.crls[p.caID], fmt.Sprintf("CRL of the CA %q that issued the PCK certificate", p.Issuer().Subject.CommonName), p, w)
	}
	if !ok[3] {
		collect(&out, s.crls[p.rootID], "CRL of the root CA", p, w)
	}
	return nil, out.all()
}

// late says what counts only because of the grace period.
func (c *collateral) late(t time.Time) (out []string) {
	for _, s := range []*statement{c.tcb.base(), c.qe.base(), c.pckCRL.base(), c.rootCRL.base()} {
		if why := s.own.check(t); why != "" {
			out = append(out, s.file+": "+why)
		}
	}
	return out
}

// complaints is a bounded list of sentences.
type complaints struct {
	lines []string
	more  int
}

func collect[C candidate](out *complaints, list []C, what string, p *PCK, w when) {
	if len(list) == 0 {
		out.lines = append(out.lines, "no usable "+what)
	}
	for _, c := range list {
		if len(out.lines) >= maxComplaints {
			out.more++
			continue
		}
		out.lines = append(out.lines, c.why(p, w))
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
func (s *store) revocation(p *PCK) string {
	say := func(what string, serial *big.Int, file string) string {
		return fmt.Sprintf("%s, serial %x, is revoked by %s", what, serial, file)
	}
	if file, ok := s.revoked[p.caID][p.leafSerial]; ok {
		return say("PCK certificate", p.Leaf().SerialNumber, file)
	}
	if file, ok := s.revoked[p.rootID][p.caSerial]; ok {
		return say("PCK "+p.CA+" CA", p.Issuer().SerialNumber, file)
	}
	return s.revokedCA[p.caID]
}
