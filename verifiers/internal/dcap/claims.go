// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Claims renders a report, of a quoting enclave for example, under the names of
// Intel's specifications in lower case, as lower-case hexadecimal in the byte order
// of the quote.
func (e EnclaveReport) Claims() map[string]any {
	return map[string]any{
		"mrenclave":  hex.EncodeToString(e.MRENCLAVE()),
		"mrsigner":   hex.EncodeToString(e.MRSIGNER()),
		"isvprodid":  int(e.ProdID()),
		"isvsvn":     int(e.SVN()),
		"miscselect": hex.EncodeToString(e.MiscSelect()),
		"attributes": hex.EncodeToString(e.Attributes()),
		"cpusvn":     hex.EncodeToString(e.CPUSVN()),
	}
}

// Claims renders what the PCK certificate says. The PPID is in the facts of an
// appraisal and not here.
func (p *PCK) Claims() map[string]any {
	m := map[string]any{
		"ca":          p.CA,
		"fmspc":       p.FMSPC,
		"pce_id":      p.PCEID,
		"pce_svn":     int(p.PCESVN),
		"sgx_tcb_svn": hex.EncodeToString(p.SGXSVN[:]),
		"serial":      p.Leaf().SerialNumber.Text(16),
		"not_after":   stamp(p.Leaf().NotAfter),
		"root_sha256": p.RootDigest,
	}
	for name, v := range p.Configuration {
		m[name] = v
	}
	return m
}

// Claims renders the judgement of the TCB.
func (r *TCB) Claims() map[string]any {
	m := map[string]any{
		"status":      r.Status.String(),
		"qe_identity": r.set.qe.claims(),
		"pck_crl":     r.set.pckCRL.claims(),
		"root_crl":    r.set.rootCRL.claims(),
	}
	for name, v := range r.set.tcb.claims() {
		m[name] = v
	}
	for name, l := range map[string]*Level{"platform_level": r.Platform, "module": r.Module, "qe": r.QE} {
		if l != nil {
			m[name] = l.claims()
		}
	}
	if r.Platform != nil {
		m["date"] = stamp(r.Platform.Date)
	}
	if r.QE != nil {
		m["qe_date"] = stamp(r.QE.Date)
	}
	if !r.Superseded.IsZero() {
		m["superseded"] = stamp(r.Superseded)
	}
	if len(r.Grace) > 0 {
		m["in_grace"] = list(r.Grace)
	}
	m["advisories"] = list(r.Advisories)
	return m
}

func list(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}

func (s *statement) claims() map[string]any {
	return map[string]any{
		"collateral": s.file, "sha256": hex.EncodeToString(s.digest[:]), "evaluation_number": s.number,
		"issue_date": stamp(s.own.from), "next_update": stamp(s.own.to),
	}
}

func (s *crlStatement) claims() map[string]any {
	return map[string]any{
		"collateral": s.file, "sha256": hex.EncodeToString(s.digest[:]),
		"this_update": stamp(s.own.from), "next_update": stamp(s.own.to),
	}
}

func (l *Level) claims() map[string]any {
	m := map[string]any{"status": l.Status.String(), "date": stamp(l.Date)}
	if l.ISVSVN != nil {
		m["isvsvn"] = int(*l.ISVSVN)
	}
	if l.PCESVN != nil {
		m["pcesvn"] = int(*l.PCESVN)
	}
	return m
}

// Describe says in one sentence what is behind a status.
func (r *TCB) Describe(p *PCK) string {
	var b strings.Builder
	fmt.Fprintf(&b, "TCB of FMSPC %s is %s (evaluation data %d)", p.FMSPC, r.Status, r.set.tcb.number)
	names, levels := r.Levels()
	for i, l := range levels {
		if l.Status != UpToDate {
			fmt.Fprintf(&b, "; %s level of %s is %s", names[i], l.Date.UTC().Format(time.DateOnly), l.Status)
		}
	}
	if r.Platform != nil && len(r.Lacking) > 0 {
		fmt.Fprintf(&b, "; for the newest level %s", strings.Join(r.Lacking, ", "))
	}
	if len(r.Advisories) > 0 {
		fmt.Fprintf(&b, "; advisories %s", strings.Join(r.Advisories, ", "))
	}
	return b.String()
}
