// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
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

// flag is a bit of TDATTRIBUTES that costs something unless a policy allows it.
type flag struct {
	bit                   uint64
	name, finding, detail string
}

var optional = []flag{
	{tdMigratable, "MIGRATABLE", "td-migratable", "MIGRATABLE is set: a migration TD may move this TD to another platform"},
	{tdKL, "KL", "td-key-locker", "KL is set: the TD may use key locker"},
	{tdPerfmon, "PERFMON", "td-perfmon", "PERFMON is set: performance counters are a side channel"},
	{tdLASS, "LASS", "td-flag-not-allowed", "LASS is set"},
	{tdPKS, "PKS", "td-flag-not-allowed", "PKS is set"},
}

// attributes sets configuration and runtime-opaque from the flags of TD, TDX
// module and QE.
func (v *verifier) attributes(a *verdict.Appraisal, q *quote) {
	report := func(finding, format string, args ...any) *verdict.Reason {
		return v.policy.Apply(a, finding, fmt.Sprintf(format, args...))
	}
	byPolicy := func(expected, observed string) verdict.Comparison {
		return verdict.Comparison{Expected: expected, Observed: observed, Source: verdict.SourceAppraisalPolicy}
	}
	td := word(q.TDAttributes())
	report("td-closed", "")
	if td&tdDebug != 0 {
		report("td-debug", "TDATTRIBUTES.DEBUG is set: the host can read and write the TD's memory").Against(byPolicy("TDATTRIBUTES without DEBUG (bit 0)", fmt.Sprintf("TDATTRIBUTES 0x%016x", td)))
	}
	if q.QEReport.Debug() {
		report("qe-debug", "the quoting enclave runs with DEBUG: its attestation key is not secret").Against(byPolicy("quoting enclave without DEBUG", "DEBUG"))
	}
	if r := td &^ tdKnown; r != 0 {
		report("td-reserved-bits", "reserved TDATTRIBUTES bits are set: 0x%016x", r)
	}
	if s := word(q.SEAMAttributes()); s != 0 {
		report("seam-attributes", "SEAMATTRIBUTES are 0x%016x, expected 0 for a production TDX module", s).Against(byPolicy("0x0000000000000000", fmt.Sprintf("0x%016x", s)))
	}
	if td&tdSEPTVEDisable == 0 {
		report("sept-ve-disable-clear", "SEPT_VE_DISABLE is clear: the host can inject faults on the TD's memory accesses")
	}
	for _, o := range optional {
		if td&o.bit != 0 && !slices.Contains(v.params.AllowedTDAttributes, o.name) {
			report(o.finding, "%s", o.detail).Against(byPolicy("TDATTRIBUTES without "+o.name, fmt.Sprintf("TDATTRIBUTES 0x%016x", td)))
		}
	}
	if s := q.MRServiceTD(); !dcap.AllZero(s) && !v.params.allowsServiceTD(s) {
		report("service-td", "a service TD is bound, MRSERVICETD %x", s)
	}
	x := word(q.XFAM())
	if r := x &^ xfamKnown; r != 0 || x&xfamFixed1 != xfamFixed1 {
		report("xfam", "XFAM is 0x%016x, expected bits of 0x%x with 0x%x set", x, xfamKnown, xfamFixed1).Against(byPolicy(fmt.Sprintf("bits of 0x%x with 0x%x set", xfamKnown, xfamFixed1), fmt.Sprintf("0x%016x", x)))
	}
}

func (p Parameters) allowsServiceTD(mr []byte) bool {
	return slices.ContainsFunc(p.AllowedServiceTDs, func(s string) bool { return strings.EqualFold(s, hex.EncodeToString(mr)) })
}
