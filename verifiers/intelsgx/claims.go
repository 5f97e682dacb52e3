// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"encoding/hex"

	"github.com/assize/assize/verifiers/internal/dcap"
)

// claims renders what the quote says, under the names of Intel's specifications
// in lower case; measurements and flags as lower-case hexadecimal in the byte
// order of the quote.
func claims(q *dcap.Quote, e enclave, p *dcap.PCK) map[string]any {
	m := e.Claims()
	m["quote_version"] = q.Version
	m["padding_bytes"] = q.Padding
	m["qe_vendor_id"] = hex.EncodeToString(q.VendorID())
	m["user_data"] = hex.EncodeToString(q.UserData())
	m["report_data"] = hex.EncodeToString(e.ReportData())
	m["attributes"] = map[string]any{"hex": hex.EncodeToString(e.Attributes()), "set": e.setFlags()}
	m["qe"] = q.QEReport.Claims()
	m["pck"] = p.Claims()
	if e.flags&flagKSS != 0 {
		m["isvextprodid"] = hex.EncodeToString(e.ExtProdID())
		m["isvfamilyid"] = hex.EncodeToString(e.FamilyID())
		m["configid"] = hex.EncodeToString(e.ConfigID())
		m["configsvn"] = int(e.ConfigSVN())
	}
	return m
}

// registers are the measurements by name.
func (e enclave) registers() map[string]string {
	return map[string]string{"mrenclave": hex.EncodeToString(e.MRENCLAVE()), "mrsigner": hex.EncodeToString(e.MRSIGNER())}
}
