// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/assize/assize/verdict"
)

// Bits of TDATTRIBUTES (Intel TDX Module ABI, ATTRIBUTES).
const (
	tdDebug         = 1 << 0
	tdLASS          = 1 << 27
	tdSEPTVEDisable = 1 << 28
	tdMigratable    = 1 << 29
	tdPKS           = 1 << 30
	tdKL            = 1 << 31
	tdPerfmon       = 1 << 63

	tdKnown = uint64(tdDebug | tdLASS | tdSEPTVEDisable | tdMigratable | tdPKS | tdKL | tdPerfmon)

	// sgxDebug is the DEBUG bit of an enclave's ATTRIBUTES.
	sgxDebug = 1 << 1

	// xfamFixed1 must be set and bits outside of xfamKnown must not be.
	xfamFixed1 = uint64(0x3)
	xfamKnown  = uint64(0x6DBE7)
)

var tdAttributeNames = []struct {
	bit  uint64
	name string
}{
	{tdDebug, "DEBUG"}, {tdLASS, "LASS"}, {tdSEPTVEDisable, "SEPT_VE_DISABLE"},
	{tdMigratable, "MIGRATABLE"}, {tdPKS, "PKS"}, {tdKL, "KL"}, {tdPerfmon, "PERFMON"},
}

// What every recorded TD QE and every production TDX module of Intel's bears,
// and what Intel's signed collateral has said of them since 2023: the SHA-256 of
// the key that signs Intel's quoting enclaves, the product number of the TD QE,
// and the signer of a TDX module that is Intel's own (zero).
var (
	intelQESigner = [32]byte{
		0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
		0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
	}
	intelModuleSigner [48]byte
)

const tdQEProduct = 2

// pinnedIdentity judges QE and TDX module where no collateral does. Where there
// is some, what Intel signed last decides instead.
func pinnedIdentity(q *quote) (out []*failure) {
	fail := func(format string, args ...any) {
		out = append(out, failf(verdict.ReasonIdentityMismatch, format, args...))
	}
	if s := q.qeMRSIGNER(); string(s) != string(intelQESigner[:]) {
		fail("QE MRSIGNER is %x, expected %x, Intel's", s, intelQESigner)
	}
	if n := q.qeProdID(); n != tdQEProduct {
		fail("QE ISVPRODID is %d, expected %d, that of the TD QE", n, tdQEProduct)
	}
	if s := q.mrSignerSEAM(); string(s) != string(intelModuleSigner[:]) {
		fail("MRSIGNERSEAM is %x, expected zero, Intel's", s)
	}
	return out
}

// lower sets a claim to c unless it is as bad already.
func lower(a *verdict.Appraisal, n verdict.ClaimName, c verdict.Claim) {
	if have := a.Vector[n]; have == verdict.ClaimNone || c.Tier().WorseThan(have.Tier()) {
		a.Vector[n] = c
	}
}

// hardware sets the hardware claim: affirming only where Intel's signed
// collateral, valid now, calls platform, TDX module and QE up to date. A
// revocation counts whatever else is there.
func (v *verifier) hardware(a *verdict.Appraisal, q *quote, p *pckChain, now time.Time) {
	if what := v.store.revocation(p); what != "" {
		lower(a, verdict.Hardware, verdict.ClaimContraindicate)
		a.Fail(verdict.ReasonRevoked, what)
	}
	set, complaints := v.store.collateralFor(p, now)
	if set == nil {
		lower(a, verdict.Hardware, verdict.ClaimUnsafe)
		if len(complaints) == 0 {
			a.Fail(verdict.ReasonNoCollateral, fmt.Sprintf("no Intel collateral for FMSPC %s was given, so the TCB cannot be judged", p.fmspc))
		}
		for _, c := range complaints {
			a.Fail(verdict.ReasonCollateralInvalid, c)
		}
		identities(a, pinnedIdentity(q))
		return
	}
	r := set.judge(q, p)
	a.Claims["tcb"] = r.claims()
	lower(a, verdict.Hardware, verdict.ClaimApproved)
	identities(a, r.failures)
	r.grade(a, p)
}

// identities says that something signed is not what it has to be.
func identities(a *verdict.Appraisal, failures []*failure) {
	for _, f := range failures {
		lower(a, verdict.Hardware, verdict.ClaimUnknownDevice)
		a.Fail(f.code, f.detail)
	}
}

// grade maps the merged status. Everything but up to date costs the hardware
// claim its affirmation; what only a new configuration of the platform can
// mend costs that of the configuration as well.
func (r *tcbResult) grade(a *verdict.Appraisal, p *pckChain) {
	switch s := r.merged; {
	case s == statusUpToDate:
	case s&flagRevoked != 0:
		lower(a, verdict.Hardware, verdict.ClaimContraindicate)
		a.Fail(verdict.ReasonTCBRevoked, r.describe(p))
	case s&flagOutOfDate != 0:
		lower(a, verdict.Hardware, verdict.ClaimUnsafe)
		a.Fail(verdict.ReasonTCBOutOfDate, r.describe(p))
	case s&flagConfiguration != 0:
		lower(a, verdict.Hardware, verdict.ClaimUnsafe)
		a.Fail(verdict.ReasonTCBConfiguration, r.describe(p))
	default:
		lower(a, verdict.Hardware, verdict.ClaimUnsafe)
		a.Fail(verdict.ReasonTCBHardening, r.describe(p))
	}
	if r.merged&flagConfiguration != 0 {
		lower(a, verdict.Configuration, verdict.ClaimUnsafe)
	}
}

// describe says in one sentence what is behind a status.
func (r *tcbResult) describe(p *pckChain) string {
	var b strings.Builder
	fmt.Fprintf(&b, "TCB of FMSPC %s is %s (evaluation data %d)", p.fmspc, r.merged, r.set.tcb.number)
	for _, part := range []struct {
		name string
		l    *level
	}{{"platform", r.platform}, {"TDX module", r.module}, {"QE", r.qe}} {
		if part.l != nil && *part.l.Status != statusUpToDate {
			fmt.Fprintf(&b, "; %s level of %s is %s", part.name, part.l.Date.UTC().Format(time.DateOnly), part.l.Status)
		}
	}
	if r.platform != nil && len(r.lacking) > 0 {
		fmt.Fprintf(&b, "; for the newest level %s", strings.Join(r.lacking, ", "))
	}
	if len(r.advisories) > 0 {
		fmt.Fprintf(&b, "; advisories %s", strings.Join(r.advisories, ", "))
	}
	return b.String()
}

// attributes sets configuration and runtime-opaque from the flags of TD, TDX
// module and QE. LASS and PKS are on the allow-list: they let the TD protect its
// own kernel from its own programs and open nothing to the host, so they cost
// nothing; the claim td_attributes names them like every flag that is set.
func attributes(a *verdict.Appraisal, q *quote) {
	lower(a, verdict.Configuration, verdict.ClaimApproved)
	lower(a, verdict.RuntimeOpaque, verdict.ClaimApproved)
	td := word(q.tdAttributes())
	bad := func(c verdict.Claim, format string, args ...any) {
		lower(a, verdict.Configuration, c)
		a.Fail(verdict.ReasonConfiguration, fmt.Sprintf(format, args...))
	}
	if td&tdDebug != 0 {
		debug(a, "TDATTRIBUTES.DEBUG is set: the host can read and write the TD's memory")
	}
	if word(q.qeAttributes())&sgxDebug != 0 {
		debug(a, "the quoting enclave runs with DEBUG: its attestation key is not secret")
	}
	if r := td &^ tdKnown; r != 0 {
		bad(verdict.ClaimContraindicate, "reserved TDATTRIBUTES bits are set: 0x%016x", r)
	}
	if s := word(q.seamAttributes()); s != 0 {
		bad(verdict.ClaimContraindicate, "SEAMATTRIBUTES are 0x%016x, expected 0 for a production TDX module", s)
	}
	if td&tdSEPTVEDisable == 0 {
		bad(verdict.ClaimUnsafe, "SEPT_VE_DISABLE is clear: the host can inject faults on the TD's memory accesses")
	}
	if td&tdMigratable != 0 {
		bad(verdict.ClaimUnsafe, "MIGRATABLE is set: a migration TD may move this TD to another platform")
	}
	if !allZero(q.mrServiceTD()) {
		bad(verdict.ClaimUnsafe, "a service TD is bound, MRSERVICETD %x", q.mrServiceTD())
	}
	if td&tdKL != 0 {
		bad(verdict.ClaimUnsafe, "KL is set: the TD may use key locker")
	}
	if td&tdPerfmon != 0 {
		bad(verdict.ClaimUnsafe, "PERFMON is set: performance counters are a side channel")
	}
	x := word(q.xfam())
	if r := x &^ xfamKnown; r != 0 || x&xfamFixed1 != xfamFixed1 {
		bad(verdict.ClaimUnsafe, "XFAM is 0x%016x, expected bits of 0x%x with 0x%x set", x, xfamKnown, xfamFixed1)
	}
}

func debug(a *verdict.Appraisal, detail string) {
	lower(a, verdict.Configuration, verdict.ClaimContraindicate)
	lower(a, verdict.RuntimeOpaque, verdict.ClaimContraindicate)
	a.Fail(verdict.ReasonDebug, detail)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// attributeNames lists the flags that are set; unknown ones as "bit <n>".
func attributeNames(td uint64) []any {
	names := []any{}
	for _, n := range tdAttributeNames {
		if td&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	for r := td &^ tdKnown; r != 0; r &= r - 1 {
		names = append(names, fmt.Sprintf("bit %d", bits.TrailingZeros64(r)))
	}
	return names
}
