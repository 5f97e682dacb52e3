// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/assize/assize/verifiers/internal/dcap"
)

// claims renders what the quote says, under the names of Intel's
// specifications in lower case; registers and flags as lower-case hexadecimal
// in the byte order of the quote.
func claims(q *quote, p *dcap.PCK) map[string]any {
	m := map[string]any{
		"quote_version":   q.Version,
		"quote_body":      map[dcap.BodyType]string{dcap.BodyTD10: "tdx-1.0", dcap.BodyTD15: "tdx-1.5"}[q.BodyType],
		"padding_bytes":   q.Padding,
		"qe_vendor_id":    hex.EncodeToString(q.VendorID()),
		"user_data":       hex.EncodeToString(q.UserData()),
		"tee_tcb_svn":     hex.EncodeToString(q.TEETCBSVN()),
		"mrseam":          hex.EncodeToString(q.MRSEAM()),
		"mrsignerseam":    hex.EncodeToString(q.MRSignerSEAM()),
		"mrconfigid":      hex.EncodeToString(q.MRConfigID()),
		"mrowner":         hex.EncodeToString(q.MROwner()),
		"mrownerconfig":   hex.EncodeToString(q.MROwnerConfig()),
		"xfam":            hex.EncodeToString(q.XFAM()),
		"report_data":     hex.EncodeToString(q.ReportData()),
		"td_attributes":   map[string]any{"hex": hex.EncodeToString(q.TDAttributes()), "set": attributeNames(word(q.TDAttributes()))},
		"seam_attributes": hex.EncodeToString(q.SEAMAttributes()),
		"qe":              q.QEReport.Claims(),
		"pck":             p.Claims(),
	}
	for name, v := range q.registers() {
		m[name] = v
	}
	if v := q.TEETCBSVN2(); v != nil {
		m["tee_tcb_svn_2"] = hex.EncodeToString(v)
		m["mrservicetd"] = hex.EncodeToString(q.MRServiceTD())
	}
	return m
}

// registers are the measurement registers by name.
func (q *quote) registers() map[string]string {
	m := map[string]string{"mrtd": hex.EncodeToString(q.MRTD()), "mrconfigid": hex.EncodeToString(q.MRConfigID())}
	for i := range registerCount {
		m[fmt.Sprintf("rtmr%d", i)] = hex.EncodeToString(q.RTMR(i))
	}
	return m
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
