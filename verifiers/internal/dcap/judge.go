// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/verdict"
)

// Judgement is what collateral says of one platform at one time.
type Judgement struct {
	// Revoked says which certificate of the PCK chain is revoked; empty if none is.
	// It counts whatever else is there.
	Revoked string
	// TCB is nil without usable collateral. Complaints then say why it is not
	// usable; there are none if there was none for this platform.
	TCB        *TCB
	Complaints []string
	// Pinned are the contradictions to what is known of Intel's own QE and TDX
	// module, where no collateral decides.
	Pinned []*Failure
}

// TCB is the judgement of a quote by collateral that is valid, or in grace.
type TCB struct {
	// Status is merged from platform, TDX module and QE; NotSupported if there are
	// failures.
	Status Status
	// Platform is the level that the platform reaches, for TDX with its TDX
	// components; SGX the one that it reaches without. Module is nil for SGX and
	// for a TDX module without versions of its own. Each is nil if none is reached.
	Platform, SGX, Module, QE *Level
	// Advisories are those of all levels that count, sorted, each once.
	Advisories []string
	// Lacking says what keeps the platform from the newest level.
	Lacking []string
	// Superseded is when the first newer level came for what is out of date: the
	// earliest date of those; zero if nothing is out of date.
	Superseded time.Time
	// Failures are contradictions: no level, wrong module, wrong QE.
	Failures []*Failure
	// Grace says which collateral is past its next update and counts all the same.
	Grace []string

	set *collateral
}

// Level is one TCB level that is reached.
type Level struct {
	Status Status
	// Date is Intel's tcbDate: what is at this level is not open to what was
	// published before.
	Date       time.Time
	Advisories []string
	// ISVSVN is nil for a platform, PCESVN for a module or a QE.
	ISVSVN, PCESVN *uint16

	// superseded is the date of the level above, or its own for the first one.
	superseded time.Time
}

// EvaluationNumber is the lower of the TCB evaluation data numbers of TCB info and
// QE identity.
func (r *TCB) EvaluationNumber() int { return min(r.set.tcb.number, r.set.qe.number) }

// Levels are those that count, in the order platform, module, QE, with their names.
func (r *TCB) Levels() (names []string, levels []*Level) {
	for i, l := range []*Level{r.Platform, r.Module, r.QE} {
		if l != nil {
			names, levels = append(names, []string{"platform", "TDX module", "QE"}[i]), append(levels, l)
		}
	}
	return names, levels
}

func (r *TCB) fail(code, format string, args ...any) *Failure {
	f := Failf(code, format, args...)
	r.Failures = append(r.Failures, f)
	return f
}

// differs is fail for an identity that is another one, in hexadecimal.
func (r *TCB) differs(expected, observed []byte, format string, args ...any) {
	r.fail(verdict.ReasonIdentityMismatch, format, args...).Compared = verdict.Comparison{
		Expected: hex.EncodeToString(expected), Observed: hex.EncodeToString(observed),
		Source: fmt.Sprintf("Intel collateral, evaluation data %d", r.EvaluationNumber()),
	}
}

// Judge applies Intel's algorithm (Intel SGX/TDX DCAP Quote Verification Library)
// to a quote that VerifyQuote has checked, with the newest collateral of each kind
// that is valid at t. Grace is how long after its next update collateral may still
// count if there is nothing better.
func (v *Verifier) Judge(q *Quote, p *PCK, t time.Time, grace time.Duration) *Judgement {
	j := &Judgement{Revoked: v.store.revocation(p)}
	set, complaints := v.store.collateralFor(p, when{t, grace})
	if set == nil {
		j.Complaints, j.Pinned = complaints, pinnedIdentity(q)
		return j
	}
	j.TCB = set.judge(q, p)
	j.TCB.Grace = set.late(t)
	return j
}

func levelAt(ls []level, i int) *Level {
	if i < 0 {
		return nil
	}
	l := &ls[i]
	return &Level{
		Status: *l.Status, Date: l.Date, Advisories: l.Advisories, ISVSVN: l.TCB.ISVSVN, PCESVN: l.TCB.PCESVN,
		superseded: ls[max(i-1, 0)].Date,
	}
}

// isvLevel is the first level that an ISV SVN reaches.
func isvLevel(ls []level, have uint16) *Level {
	return levelAt(ls, slices.IndexFunc(ls, func(l level) bool { return *l.TCB.ISVSVN <= have }))
}

// match finds the first level that the platform reaches with its SGX components
// and PCE SVN by the PCK certificate, and the first that it reaches with all TDX
// components by TEE_TCB_SVN as well (nil: SGX, where both are one).
func (t *tcbInfo) match(p *PCK, tee []byte) (sgx, all *Level) {
	first := func(tee []byte) *Level {
		return levelAt(t.Levels, slices.IndexFunc(t.Levels, func(l level) bool { return len(l.lacks(p, tee)) == 0 }))
	}
	if sgx = first(nil); tee == nil {
		return sgx, sgx
	}
	return sgx, first(tee)
}

// lacks lists what the platform is short of for a level. With a versioned TDX
// module (TEE_TCB_SVN[1] > 0) components 0 and 1 say nothing, because the module
// is judged by its own identity.
func (l *level) lacks(p *PCK, tee []byte) (out []string) {
	for i, c := range l.TCB.SGX {
		if p.SGXSVN[i] < *c.SVN {
			out = append(out, fmt.Sprintf("SGX component %d has SVN %d, expected %d", i+1, p.SGXSVN[i], *c.SVN))
		}
	}
	if p.PCESVN < *l.TCB.PCESVN {
		out = append(out, fmt.Sprintf("PCE SVN is %d, expected %d", p.PCESVN, *l.TCB.PCESVN))
	}
	if tee == nil {
		return out
	}
	for i, c := range l.TCB.TDX {
		if i < 2 && tee[1] > 0 {
			continue
		}
		if tee[i] < *c.SVN {
			out = append(out, fmt.Sprintf("TDX component %d has SVN %d, expected %d", i+1, tee[i], *c.SVN))
		}
	}
	return out
}

func (c *collateral) judge(q *Quote, p *PCK) *TCB {
	r := &TCB{set: c}
	info := c.tcb.info
	var tee []byte
	if q.TEE == TDX {
		tee = q.TD().TEETCBSVN()
	}
	if len(info.Levels) > 0 {
		r.Lacking = info.Levels[0].lacks(p, tee)
	}
	if r.SGX, r.Platform = info.match(p, tee); r.Platform == nil {
		r.fail(verdict.ReasonTCBNotSupported, "FMSPC %s: no TCB level of evaluation data %d is reached: %s",
			p.FMSPC, info.EvaluationNumber, strings.Join(r.Lacking, "; "))
	}
	if q.TEE == TDX {
		r.judgeModule(q.TD())
	}
	r.judgeQE(q.QEReport)
	r.merge(q)
	_, levels := r.Levels()
	for _, l := range levels {
		r.Advisories = append(r.Advisories, l.Advisories...)
		if l.Status.OutOfDate() && (r.Superseded.IsZero() || l.superseded.Before(r.Superseded)) {
			r.Superseded = l.superseded
		}
	}
	slices.Sort(r.Advisories)
	r.Advisories = slices.Compact(r.Advisories)
	return r
}

// merge sets the status: that of the platform, then of the module, then what a
// relaunch would mend, then that of the QE, in this order.
func (r *TCB) merge(q *Quote) {
	if len(r.Failures) > 0 {
		r.Status = NotSupported
		return
	}
	r.Status = r.Platform.Status
	if r.Module != nil {
		r.Status = r.Status.merge(r.Module.Status)
	}
	if q.BodyType == BodyTD15 {
		r.relaunch(q.TD().TEETCBSVN2())
		if len(r.Failures) > 0 {
			r.Status = NotSupported
			return
		}
	}
	r.Status = r.Status.merge(r.QE.Status)
}

// moduleNamed finds the identity of a TDX module by its major version.
func (t *tcbInfo) moduleNamed(version byte) (id string, m *module) {
	id = fmt.Sprintf("TDX_%02x", version)
	i := slices.IndexFunc(t.Modules, func(m module) bool { return strings.EqualFold(m.ID, id) })
	if i < 0 {
		return id, nil
	}
	return id, &t.Modules[i]
}

func (r *TCB) judgeModule(td TDReport) {
	tee, info := td.TEETCBSVN(), r.set.tcb.info
	m := &info.Module
	if tee[1] > 0 {
		var id string
		if id, m = info.moduleNamed(tee[1]); m == nil {
			r.fail(verdict.ReasonTCBNotSupported, "TCB info knows no TDX module %s", id)
			return
		}
		if r.Module = isvLevel(m.Levels, uint16(tee[0])); r.Module == nil {
			r.fail(verdict.ReasonTCBNotSupported, "TDX module %s with SVN %d reaches no level", id, tee[0])
		}
	}
	if string(m.MRSigner) != string(td.MRSignerSEAM()) {
		r.differs(m.MRSigner, td.MRSignerSEAM(), "MRSIGNERSEAM is %x, expected %x", td.MRSignerSEAM(), []byte(m.MRSigner))
	}
	if a := td.SEAMAttributes(); !AllZero(a) || !maskedEqual(a, m.Attributes, m.AttributesMask) {
		r.differs(m.Attributes, a, "SEAMATTRIBUTES are %x, expected zero and %x under mask %x",
			a, []byte(m.Attributes), []byte(m.AttributesMask))
	}
}

// relaunch notices a TD of an old TDX module on a platform whose module was
// updated since: starting it anew would mend it. SVNs of the module as it runs now
// are in now (TEE_TCB_SVN_2). A module now that collateral does not know makes the
// whole quote unsupported, as in Intel's library.
func (r *TCB) relaunch(now []byte) {
	info := r.set.tcb.info
	switch {
	case r.QE.Status != UpToDate, !r.Status.OutOfDate(), r.Module == nil || r.Module.Status != OutOfDate:
		return
	}
	switch r.SGX.Status {
	case UpToDate, SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded:
	default:
		return
	}
	newest := &info.Levels[0]
	want := uint16(*newest.TCB.TDX[0].SVN)
	if now[1] > 0 {
		id, m := info.moduleNamed(now[1])
		if m == nil || len(m.Levels) == 0 {
			r.fail(verdict.ReasonTCBNotSupported, "TCB info knows no TDX module %s, which TEE_TCB_SVN_2 names", id)
			return
		}
		want = *m.Levels[0].TCB.ISVSVN
	}
	if uint16(now[0]) < want || now[2] < *newest.TCB.TDX[2].SVN {
		return
	}
	if r.SGX.Status.Configuration() || r.Status.Configuration() {
		r.Status = TDRelaunchAdvisedConfigurationNeeded
		return
	}
	r.Status = TDRelaunchAdvised
}

func (r *TCB) judgeQE(qe EnclaveReport) {
	id := r.set.qe.id
	if string(id.MRSigner) != string(qe.MRSIGNER()) {
		r.differs(id.MRSigner, qe.MRSIGNER(), "QE MRSIGNER is %x, expected %x", qe.MRSIGNER(), []byte(id.MRSigner))
	}
	if qe.ProdID() != *id.ProdID {
		r.fail(verdict.ReasonIdentityMismatch, "QE ISVPRODID is %d, expected %d", qe.ProdID(), *id.ProdID)
	}
	if !maskedEqual(qe.MiscSelect(), id.MiscSelect, id.MiscSelectMask) {
		r.differs(id.MiscSelect, qe.MiscSelect(), "QE MISCSELECT is %x, expected %x", qe.MiscSelect(), []byte(id.MiscSelect))
	}
	if !maskedEqual(qe.Attributes(), id.Attributes, id.AttributesMask) {
		r.differs(id.Attributes, qe.Attributes(), "QE ATTRIBUTES are %x, expected %x under mask %x",
			qe.Attributes(), []byte(id.Attributes), []byte(id.AttributesMask))
	}
	if r.QE = isvLevel(id.Levels, qe.SVN()); r.QE == nil {
		r.fail(verdict.ReasonTCBNotSupported, "QE with ISVSVN %d reaches no level", qe.SVN())
	}
}
