// SPDX-License-Identifier: Apache-2.0

package inteltdx

import "encoding/binary"

// Fields of the TD report body (Intel TDX Module Base Architecture
// Specification, TDREPORT_STRUCT and TDINFO; offsets in bytes).

func (q *quote) teeTCBSVN() []byte    { return q.body[0:16] }
func (q *quote) mrSEAM() []byte       { return q.body[16:64] }
func (q *quote) mrSignerSEAM() []byte { return q.body[64:112] }

// seamAttributes, tdAttributes and xfam are 64-bit little-endian flag words.
func (q *quote) seamAttributes() []byte { return q.body[112:120] }
func (q *quote) tdAttributes() []byte   { return q.body[120:128] }
func (q *quote) xfam() []byte           { return q.body[128:136] }
func (q *quote) mrTD() []byte           { return q.body[136:184] }
func (q *quote) mrConfigID() []byte     { return q.body[184:232] }
func (q *quote) mrOwner() []byte        { return q.body[232:280] }
func (q *quote) mrOwnerConfig() []byte  { return q.body[280:328] }
func (q *quote) rtmr(i int) []byte      { return q.body[328+48*i : 376+48*i] }
func (q *quote) reportData() []byte     { return q.body[520:584] }

// teeTCBSVN2 and mrServiceTD are nil before TDX 1.5.
func (q *quote) teeTCBSVN2() []byte {
	if q.bodyType != bodyType15 {
		return nil
	}
	return q.body[584:600]
}

func (q *quote) mrServiceTD() []byte {
	if q.bodyType != bodyType15 {
		return nil
	}
	return q.body[600:648]
}

// Fields of the QE report (SGX REPORT body, Intel SDM volume 3D, table 40-21).

func (q *quote) qeMiscSelect() []byte { return q.qeReport[16:20] }
func (q *quote) qeAttributes() []byte { return q.qeReport[48:64] }
func (q *quote) qeMRENCLAVE() []byte  { return q.qeReport[64:96] }
func (q *quote) qeMRSIGNER() []byte   { return q.qeReport[128:160] }
func (q *quote) qeProdID() uint16     { return binary.LittleEndian.Uint16(q.qeReport[256:]) }
func (q *quote) qeSVN() uint16        { return binary.LittleEndian.Uint16(q.qeReport[258:]) }
func (q *quote) qeReportData() []byte { return q.qeReport[320:384] }

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
