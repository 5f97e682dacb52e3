// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/verdict"
)

// judge makes the findings about everything but what was launched. It begins
// with what a genuine report gives and goes on with what takes it away: a finding
// never makes a claim better.
func (v *verifier) judge(a *verdict.Appraisal, r *report, k *vek, now time.Time) {
	v.find(a, findGenuine, "")
	v.find(a, findEncrypted, "")
	v.find(a, findPolicyGood, "")
	v.identity(a, r, k)
	v.revocation(a, k, now)
	v.levels(a, r, k.product)
	v.firmware(a, r, k.product)
	v.guestPolicy(a, r.policy())
	v.platform(a, r.platformInfo())
	v.launch(a, r)
}

// when makes a finding if something holds.
func (v *verifier) when(a *verdict.Appraisal, holds bool, finding, format string, args ...any) *verdict.Reason {
	if !holds {
		return nil
	}
	return v.find(a, finding, fmt.Sprintf(format, args...))
}

// byPolicy is a comparison with what the parameters demand.
func byPolicy(expected, observed string) verdict.Comparison {
	return verdict.Comparison{Expected: expected, Observed: observed, Source: verdict.SourceAppraisalPolicy}
}

// tcbText is a TCB in words, and what is compared where it is too low.
func (p product) tcbText(b tcbBytes) string {
	var out []string
	for _, c := range p.components() {
		out = append(out, fmt.Sprintf("%s %d", c.name, b[c.at]))
	}
	return strings.Join(out, ", ")
}

func (v *verifier) lowTCB(p product, least, seen tcbBytes) verdict.Comparison {
	return verdict.Comparison{
		Expected: "at least " + p.tcbText(least), Observed: p.tcbText(seen),
		Source: "TCB levels of " + v.params.TCB.Date + " in the " + verdict.SourceAppraisalPolicy,
	}
}

// identity says which chip it is, or why nobody knows.
func (v *verifier) identity(a *verdict.Appraisal, r *report, k *vek) {
	family, model, _, ok := r.cpuid()
	v.when(a, ok && r.product() == productUnknown, findUnknownProduct,
		"CPUID is family 0x%02x, model 0x%02x, of no known product; the certificate says %s", family, model, k.productName)
	v.when(a, !slices.Contains(v.params.Products, k.product.String()), findProduct, "%s is none of the accepted product lines", k.product).
		Against(byPolicy(verdict.Alternatives(v.params.Products, 0), k.product.String()))
	switch {
	case k.kind == kindVLEK:
		v.find(a, findVLEK, fmt.Sprintf("signed by a VLEK of %s", k.cspID))
		v.when(a, len(v.params.CSPIDs) > 0 && !slices.Contains(v.params.CSPIDs, k.cspID), findProvider,
			"the VLEK is of %s, which is none of the accepted providers", k.cspID)
	case r.chipMasked():
		v.find(a, findMasked, "CHIP_ID is zero")
	default:
		v.find(a, findChip, "")
	}
}

// revocation looks the chain up in the lists of its issuers, and says in the
// claim revocation on what the answer rests.
func (v *verifier) revocation(a *verdict.Appraisal, k *vek, now time.Time) {
	s := v.store.revocation(k, now)
	claim := map[string]any{"checked": s.current != nil}
	if s.current != nil {
		claim["list"] = s.current.name
		claim["this_update"] = s.current.list.ThisUpdate.UTC().Format(time.RFC3339)
		claim["next_update"] = s.current.list.NextUpdate.UTC().Format(time.RFC3339)
	}
	a.Claims["revocation"] = claim
	v.when(a, s.revoked != "", findRevoked, "%s", s.revoked)
	for _, why := range s.ignored {
		v.find(a, findListIgnored, why)
	}
	v.when(a, s.current == nil && v.params.Revocation == revocationRequired, findListMissing,
		"no valid revocation list of %s was given", k.product)
}

// tcbField is one TCB of a report.
type tcbField struct {
	name, text string
	value      tcbBytes
}

func (r *report) tcbs() []tcbField {
	return []tcbField{
		{fieldReported, "REPORTED_TCB", r.reportedTCB()},
		{fieldCommitted, "COMMITTED_TCB", r.committedTCB()},
		{fieldLaunch, "LAUNCH_TCB", r.launchTCB()},
		{fieldCurrent, "CURRENT_TCB", r.currentTCB()},
	}
}

// compared are the TCBs that the parameters name, those with one value together.
func (v *verifier) compared(r *report) (out []tcbField) {
	for _, f := range r.tcbs() {
		if !slices.Contains(v.params.TCBFields, f.name) {
			continue
		}
		if i := slices.IndexFunc(out, func(o tcbField) bool { return o.value == f.value }); i >= 0 {
			out[i].text += ", " + f.text
			continue
		}
		out = append(out, f)
	}
	return out
}

// levels compares TCBs with floor and recommendation.
func (v *verifier) levels(a *verdict.Appraisal, r *report, p product) {
	l := v.params.TCB.level(p)
	a.Claims["tcb_levels"] = map[string]any{
		"date": v.params.TCB.Date, "source": l.Source, "recommended": p.claims(l.Recommended.bytes(p)), "floor": p.claims(l.Floor.bytes(p)),
	}
	up := true
	for _, f := range v.compared(r) {
		if why := p.below(f.value, l.Floor.bytes(p)); why != "" {
			v.find(a, findTCBFloor, fmt.Sprintf("%s of %s, not tolerated by the levels of %s: %s", f.text, p, v.params.TCB.Date, why)).
				Against(v.lowTCB(p, l.Floor.bytes(p), f.value))
			up = false
		} else if why := p.below(f.value, l.Recommended.bytes(p)); why != "" {
			v.find(a, findTCBOld, fmt.Sprintf("%s of %s, below what the levels of %s recommend: %s", f.text, p, v.params.TCB.Date, why)).
				Against(v.lowTCB(p, l.Recommended.bytes(p), f.value))
			up = false
		}
	}
	switch {
	case l.Recommended == (TCB{}):
		v.find(a, findTCBUnknown, fmt.Sprintf("no TCB is recommended for %s (levels of %s)", p, v.params.TCB.Date))
	case up:
		v.find(a, findTCBGood, "")
	}
}

// firmware looks at how the TCBs relate to one another, and at mitigations.
func (v *verifier) firmware(a *verdict.Appraisal, r *report, p product) {
	current := r.currentTCB()
	for _, f := range r.tcbs() {
		if why := p.below(current, f.value); why != "" {
			v.find(a, findTCBInconsistent, fmt.Sprintf("CURRENT_TCB is below %s: %s", f.text, why))
		}
	}
	if why := p.below(r.committedTCB(), current); why != "" {
		v.find(a, findProvisional, "COMMITTED_TCB is below CURRENT_TCB: "+why)
	} else if c, now := r.committedFirmware(), r.currentFirmware(); bytes.Compare(c[:], now[:]) < 0 {
		v.find(a, findProvisional, fmt.Sprintf("firmware %s runs and %s is committed", now, c))
	}
	launch, now := r.mitigations()
	want := v.params.Mitigations
	v.when(a, want.Launch&^launch != 0, findMitigation, "LAUNCH_MIT_VECTOR is %016x, and %016x is demanded", launch, want.Launch).
		Against(byPolicy(fmt.Sprintf("%016x", want.Launch), fmt.Sprintf("%016x", launch)))
	v.when(a, want.Current&^now != 0, findMitigation, "CURRENT_MIT_VECTOR is %016x, and %016x is demanded", now, want.Current).
		Against(byPolicy(fmt.Sprintf("%016x", want.Current), fmt.Sprintf("%016x", now)))
}

// guestPolicy looks at POLICY, what the guest's owner demanded of the launch.
func (v *verifier) guestPolicy(a *verdict.Appraisal, p uint64) {
	want := v.params.GuestPolicy
	is := func(bit uint64) bool { return p&bit != 0 }
	v.when(a, is(policyDebug), findDebug, "DEBUG is allowed by POLICY %016x: the host can read and write the guest's memory", p).
		Against(byPolicy("POLICY without DEBUG (bit 19)", fmt.Sprintf("POLICY %016x", p)))
	v.when(a, !is(policyReserved), findPolicyReserved, "bit 17 of POLICY %016x is clear and must be set", p)
	v.when(a, p&^uint64(policyKnown) != 0, findPolicyReserved, "POLICY %016x has bits that are not known: %016x", p, p&^uint64(policyKnown))
	v.when(a, is(policyMigration) && !want.AllowMigrationAgent, findMigration, "MIGRATE_MA is allowed by POLICY %016x: a migration agent may move the guest to another platform", p)
	v.when(a, is(policySMT) && !want.AllowSMT, findPolicySMT, "SMT is allowed by POLICY %016x", p)
	v.when(a, is(policyCXL) && !want.AllowCXL, findPolicyCXL, "CXL is allowed by POLICY %016x", p)
	v.when(a, !is(policySingleSocket) && want.RequireSingleSocket, findPolicySocket, "SINGLE_SOCKET is not demanded by POLICY %016x", p)
	v.when(a, !is(policyAES256) && want.RequireAES256, findPolicyAES, "AES-256-XTS is not demanded by POLICY %016x", p)
	v.when(a, !is(policyRAPLDisabled) && want.RequireRAPLDisabled, findPolicyRAPL, "RAPL_DIS is not demanded by POLICY %016x", p)
	v.when(a, !is(policyCiphertextHiding) && want.RequireCiphertextHide, findPolicyCiphertext, "CIPHERTEXT_HIDING_DRAM is not demanded by POLICY %016x", p)
	v.when(a, !is(policyPageSwapDisabled) && want.RequirePageSwapDisable, findPolicySwap, "PAGE_SWAP_DISABLE is not demanded by POLICY %016x", p)
	abi := [2]uint8{uint8(p >> 8), uint8(p)}
	v.when(a, bytes.Compare(abi[:], want.MinimumABI[:]) < 0, findPolicyABI, "POLICY demands ABI %d.%d, and at least %d.%d is expected", abi[0], abi[1], want.MinimumABI[0], want.MinimumABI[1])
}

// platform looks at PLATFORM_INFO. Bits that are not known change nothing; the
// claim platform_info names them.
func (v *verifier) platform(a *verdict.Appraisal, p uint64) {
	want := v.params.Platform
	is := func(bit uint64) bool { return p&bit != 0 }
	v.when(a, is(platformSMT) && !want.AllowSMT, findPlatformSMT, "SMT is on (PLATFORM_INFO %016x)", p)
	v.when(a, !is(platformTSME) && want.RequireTSME, findPlatformTSME, "TSME is off (PLATFORM_INFO %016x)", p)
	v.when(a, !is(platformECC) && want.RequireECC, findPlatformECC, "ECC is off (PLATFORM_INFO %016x)", p)
	v.when(a, !is(platformRAPLDisabled) && want.RequireRAPLDisabled, findPlatformRAPL, "RAPL is on (PLATFORM_INFO %016x)", p)
	v.when(a, !is(platformCiphertextHiding) && want.RequireCiphertextHide, findPlatformCipher, "ciphertext hiding is off (PLATFORM_INFO %016x)", p)
	v.when(a, !is(platformAliasCheck) && want.RequireAliasCheck, findPlatformAlias,
		"PLATFORM_INFO %016x does not say that memory was checked for aliases: the host may have two addresses for one cell", p)
}

// launch looks at who may have asked for the report and who vouches for the guest.
func (v *verifier) launch(a *verdict.Appraisal, r *report) {
	p := &v.params
	v.when(a, int(r.vmpl()) != p.VMPL, findVMPL, "VMPL is %d, expected %d", r.vmpl(), p.VMPL)
	id, author := hex.EncodeToString(r.idKeyDigest()), hex.EncodeToString(r.authorKeyDigest())
	v.when(a, p.RequireIDBlock && allZero(r.idKeyDigest()), findIDBlock, "ID_KEY_DIGEST is zero: the guest was launched without an identity block")
	v.when(a, len(p.IDKeys) > 0 && !slices.Contains(p.IDKeys, id), findIDKey, "ID_KEY_DIGEST %s is none of the accepted", id)
	v.when(a, len(p.AuthorKeys) > 0 && (!r.authorKey() || !slices.Contains(p.AuthorKeys, author)), findAuthorKey,
		"AUTHOR_KEY_DIGEST %s (AUTHOR_KEY_EN is %t) is none of the accepted", author, r.authorKey())
	v.when(a, r.guestSVN() < p.MinimumGuestSVN, findGuestSVN, "GUEST_SVN is %d, at least %d is expected", r.guestSVN(), p.MinimumGuestSVN)
}
