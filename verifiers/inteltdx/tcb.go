// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/verdict"
)

// status is a TCB status of Intel's as a set of shortcomings, which makes
// merging two of them a union.
type status uint8

const (
	statusUpToDate  status = 0
	flagSWHardening status = 1 << iota
	flagConfiguration
	flagOutOfDate
	flagRevoked
)

var statusNames = map[string]status{
	"UpToDate":                          statusUpToDate,
	"SWHardeningNeeded":                 flagSWHardening,
	"ConfigurationNeeded":               flagConfiguration,
	"ConfigurationAndSWHardeningNeeded": flagConfiguration | flagSWHardening,
	"OutOfDate":                         flagOutOfDate,
	"OutOfDateConfigurationNeeded":      flagOutOfDate | flagConfiguration,
	"Revoked":                           flagRevoked,
}

// UnmarshalText implements encoding.TextUnmarshaler; an unknown status is an
// error, so that it cannot count as a good one.
func (s *status) UnmarshalText(b []byte) error {
	v, ok := statusNames[string(b)]
	if !ok {
		return fmt.Errorf("unknown TCB status %q", b)
	}
	*s = v
	return nil
}

// String returns Intel's name. Out of date outweighs software hardening, and
// revoked outweighs all (Intel SGX/TDX DCAP Quote Verification Library).
func (s status) String() string {
	switch {
	case s&flagRevoked != 0:
		s = flagRevoked
	case s&flagOutOfDate != 0:
		s &^= flagSWHardening
	}
	for name, v := range statusNames {
		if v == s {
			return name
		}
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// hexBytes is a hexadecimal string of Intel's JSON, upper or lower case.
type hexBytes []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// svn is one TCB component; a missing number is noticed.
type svn struct {
	SVN *uint8 `json:"svn"`
}

// level is one TCB level of a platform, a TDX module or a QE.
type level struct {
	TCB struct {
		SGX    []svn   `json:"sgxtcbcomponents"`
		TDX    []svn   `json:"tdxtcbcomponents"`
		PCESVN *uint16 `json:"pcesvn"`
		ISVSVN *uint16 `json:"isvsvn"`
	} `json:"tcb"`
	Date       time.Time `json:"tcbDate"`
	Status     *status   `json:"tcbStatus"`
	Advisories []string  `json:"advisoryIDs"`
}

// module says who signs a TDX module and what it may be.
type module struct {
	ID             string   `json:"id"`
	MRSigner       hexBytes `json:"mrsigner"`
	Attributes     hexBytes `json:"attributes"`
	AttributesMask hexBytes `json:"attributesMask"`
	Levels         []level  `json:"tcbLevels"`
}

// tcbInfo is Intel's TCB info, version 3, for TDX (Intel PCS API version 4).
type tcbInfo struct {
	ID               string    `json:"id"`
	Version          int       `json:"version"`
	IssueDate        time.Time `json:"issueDate"`
	NextUpdate       time.Time `json:"nextUpdate"`
	FMSPC            string    `json:"fmspc"`
	PCEID            string    `json:"pceId"`
	TCBType          int       `json:"tcbType"`
	EvaluationNumber int       `json:"tcbEvaluationDataNumber"`
	Module           module    `json:"tdxModule"`
	Modules          []module  `json:"tdxModuleIdentities"`
	Levels           []level   `json:"tcbLevels"`
}

// qeIdentity is Intel's enclave identity, version 2, of the TD QE.
type qeIdentity struct {
	ID               string    `json:"id"`
	Version          int       `json:"version"`
	IssueDate        time.Time `json:"issueDate"`
	NextUpdate       time.Time `json:"nextUpdate"`
	EvaluationNumber int       `json:"tcbEvaluationDataNumber"`
	MiscSelect       hexBytes  `json:"miscselect"`
	MiscSelectMask   hexBytes  `json:"miscselectMask"`
	Attributes       hexBytes  `json:"attributes"`
	AttributesMask   hexBytes  `json:"attributesMask"`
	MRSigner         hexBytes  `json:"mrsigner"`
	ProdID           *uint16   `json:"isvprodid"`
	Levels           []level   `json:"tcbLevels"`
}

func (t *tcbInfo) check() error {
	if t.ID != "TDX" || t.Version != 3 || t.TCBType != 0 {
		return fmt.Errorf("TCB info has id %q version %d type %d, expected \"TDX\" version 3 type 0", t.ID, t.Version, t.TCBType)
	}
	if err := checkPlatformLevels(t.Levels); err != nil {
		return fmt.Errorf("TCB info: %w", err)
	}
	if err := checkModules(t.Module, t.Modules); err != nil {
		return fmt.Errorf("TCB info: %w", err)
	}
	return nil
}

func (q *qeIdentity) check() error {
	if q.ID != "TD_QE" || q.Version != 2 {
		return fmt.Errorf("QE identity has id %q version %d, expected \"TD_QE\" version 2", q.ID, q.Version)
	}
	if len(q.MRSigner) != 32 || q.ProdID == nil || len(q.MiscSelect) != 4 || len(q.MiscSelectMask) != 4 ||
		len(q.Attributes) != 16 || len(q.AttributesMask) != 16 {
		return errors.New("QE identity is incomplete")
	}
	if err := checkISVLevels(q.Levels); err != nil {
		return fmt.Errorf("QE identity: %w", err)
	}
	return nil
}

// isvLevel is the first level that an ISV SVN reaches.
func isvLevel(ls []level, have uint16) *level {
	for i := range ls {
		if *ls[i].TCB.ISVSVN <= have {
			return &ls[i]
		}
	}
	return nil
}

// platformLevel is the first level that the platform reaches: all SGX
// components and the PCE SVN by the PCK certificate, all TDX components by
// TEE_TCB_SVN. With a versioned TDX module (TEE_TCB_SVN[1] > 0) components 0
// and 1 say nothing, because the module is judged by its own identity.
func (t *tcbInfo) platformLevel(p *pckChain, tee []byte) *level {
	for i := range t.Levels {
		if len(t.Levels[i].lacks(p, tee)) == 0 {
			return &t.Levels[i]
		}
	}
	return nil
}

// lacks lists what the platform is short of for a level.
func (l *level) lacks(p *pckChain, tee []byte) (out []string) {
	for i, c := range l.TCB.SGX {
		if p.sgxSVN[i] < *c.SVN {
			out = append(out, fmt.Sprintf("SGX component %d has SVN %d, expected %d", i+1, p.sgxSVN[i], *c.SVN))
		}
	}
	if p.pceSVN < *l.TCB.PCESVN {
		out = append(out, fmt.Sprintf("PCE SVN is %d, expected %d", p.pceSVN, *l.TCB.PCESVN))
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

// tcbResult is the judgement of one quote by what was chosen of the collateral.
type tcbResult struct {
	set                  *collateral
	merged               status
	platform, module, qe *level // nil where nothing matched
	moduleNamed          bool   // the module is judged by its own levels
	advisories           []string
	// lacking says what keeps the platform from the newest level.
	lacking []string
	// failures are contradictions: no level, wrong module, wrong QE.
	failures []*failure
}

func (r *tcbResult) fail(code, format string, args ...any) {
	r.failures = append(r.failures, failf(code, format, args...))
}

// judge applies Intel's algorithm to a quote (SGX/TDX DCAP Quote Verification
// Library). The refinement "relaunch advised" is not made: such a TD is out of
// date.
func (c *collateral) judge(q *quote, p *pckChain) *tcbResult {
	r := &tcbResult{set: c}
	tee := q.teeTCBSVN()
	info := &c.tcb.info
	if len(info.Levels) > 0 {
		r.lacking = info.Levels[0].lacks(p, tee)
	}
	if r.platform = info.platformLevel(p, tee); r.platform == nil {
		r.fail(verdict.ReasonTCBNotSupported, "FMSPC %s: no TCB level of evaluation data %d is reached: %s",
			p.fmspc, info.EvaluationNumber, strings.Join(r.lacking, "; "))
	}
	r.judgeModule(q)
	r.judgeQE(q)
	for _, l := range []*level{r.platform, r.module, r.qe} {
		if l == nil {
			continue
		}
		r.merged |= *l.Status
		r.advisories = append(r.advisories, l.Advisories...)
	}
	slices.Sort(r.advisories)
	r.advisories = slices.Compact(r.advisories)
	return r
}

func (r *tcbResult) judgeModule(q *quote) {
	tee, info := q.teeTCBSVN(), &r.set.tcb.info
	m := &info.Module
	if r.moduleNamed = tee[1] > 0; r.moduleNamed {
		id := fmt.Sprintf("TDX_%02x", tee[1])
		i := slices.IndexFunc(info.Modules, func(m module) bool { return strings.EqualFold(m.ID, id) })
		if i < 0 {
			r.fail(verdict.ReasonTCBNotSupported, "TCB info knows no TDX module %s", id)
			return
		}
		m = &info.Modules[i]
		if r.module = isvLevel(m.Levels, uint16(tee[0])); r.module == nil {
			r.fail(verdict.ReasonTCBNotSupported, "TDX module %s with SVN %d reaches no level", id, tee[0])
		}
	}
	if string(m.MRSigner) != string(q.mrSignerSEAM()) {
		r.fail(verdict.ReasonIdentityMismatch, "MRSIGNERSEAM is %x, expected %x", q.mrSignerSEAM(), []byte(m.MRSigner))
	}
	if !maskedEqual(q.seamAttributes(), m.Attributes, m.AttributesMask) {
		r.fail(verdict.ReasonIdentityMismatch, "SEAMATTRIBUTES are %x, expected %x under mask %x",
			q.seamAttributes(), []byte(m.Attributes), []byte(m.AttributesMask))
	}
}

func (r *tcbResult) judgeQE(q *quote) {
	id := &r.set.qe.id
	if string(id.MRSigner) != string(q.qeMRSIGNER()) {
		r.fail(verdict.ReasonIdentityMismatch, "QE MRSIGNER is %x, expected %x", q.qeMRSIGNER(), []byte(id.MRSigner))
	}
	if q.qeProdID() != *id.ProdID {
		r.fail(verdict.ReasonIdentityMismatch, "QE ISVPRODID is %d, expected %d", q.qeProdID(), *id.ProdID)
	}
	if !maskedEqual(q.qeMiscSelect(), id.MiscSelect, id.MiscSelectMask) {
		r.fail(verdict.ReasonIdentityMismatch, "QE MISCSELECT is %x, expected %x", q.qeMiscSelect(), []byte(id.MiscSelect))
	}
	if !maskedEqual(q.qeAttributes(), id.Attributes, id.AttributesMask) {
		r.fail(verdict.ReasonIdentityMismatch, "QE ATTRIBUTES are %x, expected %x under mask %x",
			q.qeAttributes(), []byte(id.Attributes), []byte(id.AttributesMask))
	}
	if r.qe = isvLevel(id.Levels, q.qeSVN()); r.qe == nil {
		r.fail(verdict.ReasonTCBNotSupported, "QE with ISVSVN %d reaches no level", q.qeSVN())
	}
}

// maskedEqual compares have under mask with want. A wanted bit outside of the
// mask never matches, as in Intel's library.
func maskedEqual(have, want, mask []byte) bool {
	if len(have) != len(want) || len(have) != len(mask) {
		return false
	}
	for i := range have {
		if have[i]&mask[i] != want[i] {
			return false
		}
	}
	return true
}
