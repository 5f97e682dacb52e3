// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/hex"
	"fmt"
	"time"
)

// claims renders what the quote says, under the names of Intel's
// specifications in lower case; registers and flags as lower-case hexadecimal
// in the byte order of the quote.
func claims(c container, q *quote, p *pckChain) map[string]any {
	m := map[string]any{
		"quote_version":   q.version,
		"quote_body":      map[int]string{bodyType10: "tdx-1.0", bodyType15: "tdx-1.5"}[q.bodyType],
		"padding_bytes":   q.padding,
		"qe_vendor_id":    hex.EncodeToString(q.header[12:28]),
		"user_data":       hex.EncodeToString(q.header[28:48]),
		"tee_tcb_svn":     hex.EncodeToString(q.teeTCBSVN()),
		"mrseam":          hex.EncodeToString(q.mrSEAM()),
		"mrsignerseam":    hex.EncodeToString(q.mrSignerSEAM()),
		"mrconfigid":      hex.EncodeToString(q.mrConfigID()),
		"mrowner":         hex.EncodeToString(q.mrOwner()),
		"mrownerconfig":   hex.EncodeToString(q.mrOwnerConfig()),
		"xfam":            hex.EncodeToString(q.xfam()),
		"report_data":     hex.EncodeToString(q.reportData()),
		"td_attributes":   map[string]any{"hex": hex.EncodeToString(q.tdAttributes()), "set": attributeNames(word(q.tdAttributes()))},
		"seam_attributes": hex.EncodeToString(q.seamAttributes()),
		"qe": map[string]any{
			"mrenclave":  hex.EncodeToString(q.qeMRENCLAVE()),
			"mrsigner":   hex.EncodeToString(q.qeMRSIGNER()),
			"isvprodid":  int(q.qeProdID()),
			"isvsvn":     int(q.qeSVN()),
			"miscselect": hex.EncodeToString(q.qeMiscSelect()),
			"attributes": hex.EncodeToString(q.qeAttributes()),
			"cpusvn":     hex.EncodeToString(q.qeReport[0:16]),
		},
		"pck": map[string]any{
			"ca":          p.caKind,
			"fmspc":       p.fmspc,
			"pce_id":      p.pceID,
			"pce_svn":     int(p.pceSVN),
			"sgx_tcb_svn": hex.EncodeToString(p.sgxSVN[:]),
			"serial":      p.leaf().SerialNumber.Text(16),
			"not_after":   p.leaf().NotAfter.UTC().Format(time.RFC3339),
			"root_sha256": p.rootDigest,
		},
	}
	for name, v := range q.registers() {
		m[name] = v
	}
	if v := q.teeTCBSVN2(); v != nil {
		m["tee_tcb_svn_2"] = hex.EncodeToString(v)
		m["mrservicetd"] = hex.EncodeToString(q.mrServiceTD())
	}
	for _, name := range c.unevaluated {
		m[name] = "present, not evaluated"
	}
	return m
}

// registers are the measurement registers by name.
func (q *quote) registers() map[string]string {
	m := map[string]string{"mrtd": hex.EncodeToString(q.mrTD())}
	for i := range 4 {
		m[fmt.Sprintf("rtmr%d", i)] = hex.EncodeToString(q.rtmr(i))
	}
	return m
}

// device is the identity of the platform: the PPID, which Intel certifies in
// the PCK certificate and which no two platforms share. A quote holds nothing
// that tells two TDs of one platform apart, so two CPU components with one
// PPID are, as far as anyone can prove, one CPU answering twice. A PPID of
// zero, as in certificates that hide it, identifies nothing.
func (p *pckChain) device() []string {
	if raw, err := hex.DecodeString(p.ppid); err != nil || allZero(raw) {
		return nil
	}
	return []string{"intel-platform:" + p.ppid}
}

// claims renders the judgement of the TCB.
func (r *tcbResult) claims() map[string]any {
	m := map[string]any{
		"status":            r.merged.String(),
		"evaluation_number": r.set.tcb.number,
		"collateral":        r.set.tcb.file,
		"issue_date":        r.set.tcb.issued.UTC().Format(time.RFC3339),
		"next_update":       r.set.tcb.info.NextUpdate.UTC().Format(time.RFC3339),
		"qe_identity": map[string]any{
			"evaluation_number": r.set.qe.number,
			"collateral":        r.set.qe.file,
			"issue_date":        r.set.qe.issued.UTC().Format(time.RFC3339),
			"next_update":       r.set.qe.id.NextUpdate.UTC().Format(time.RFC3339),
		},
		"pck_crl":  r.set.pckCRL.claims(),
		"root_crl": r.set.rootCRL.claims(),
	}
	if len(r.failures) > 0 {
		m["status"] = "NotSupported"
	}
	if r.platform != nil {
		m["platform_level"] = r.platform.claims()
		m["date"] = r.platform.Date.UTC().Format(time.RFC3339)
	}
	if r.module != nil {
		m["module"] = r.module.claims()
	}
	if r.qe != nil {
		m["qe"] = r.qe.claims()
	}
	advisories := make([]any, len(r.advisories))
	for i, a := range r.advisories {
		advisories[i] = a
	}
	m["advisories"] = advisories
	return m
}

func (s *crlStatement) claims() map[string]any {
	return map[string]any{"collateral": s.file, "this_update": s.issued.UTC().Format(time.RFC3339)}
}

func (l *level) claims() map[string]any {
	m := map[string]any{"status": l.Status.String(), "date": l.Date.UTC().Format(time.RFC3339)}
	if l.TCB.ISVSVN != nil {
		m["isvsvn"] = int(*l.TCB.ISVSVN)
	}
	if l.TCB.PCESVN != nil {
		m["pcesvn"] = int(*l.TCB.PCESVN)
	}
	return m
}
