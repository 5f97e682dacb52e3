// SPDX-License-Identifier: Apache-2.0

package dcap

import "encoding/binary"

// TDReport is the TD report body of a quote, 584 bytes (TDX 1.0) or 648 (Intel
// TDX Module Base Architecture Specification, TDREPORT_STRUCT and TDINFO). Each
// method returns a view of one field.
type TDReport []byte

// TEETCBSVN (16 bytes) holds the SVNs of the TDX module at the start of the TD:
// the module's SVN, its major version, then late microcode.
func (b TDReport) TEETCBSVN() []byte { return b[0:16] }

// MRSEAM (48) measures the TDX module, MRSignerSEAM (48) is its signer.
func (b TDReport) MRSEAM() []byte { return b[16:64] }

// MRSignerSEAM see MRSEAM.
func (b TDReport) MRSignerSEAM() []byte { return b[64:112] }

// SEAMAttributes and, like it, TDAttributes and XFAM are 64-bit little-endian flag words.
func (b TDReport) SEAMAttributes() []byte { return b[112:120] }

// TDAttributes see SEAMAttributes.
func (b TDReport) TDAttributes() []byte { return b[120:128] }

// XFAM see SEAMAttributes.
func (b TDReport) XFAM() []byte { return b[128:136] }

// MRTD (48) measures what the TD was built from.
func (b TDReport) MRTD() []byte { return b[136:184] }

// MRConfigID and, like it, MROwner and MROwnerConfig (48 each) are chosen by who starts the TD.
func (b TDReport) MRConfigID() []byte { return b[184:232] }

// MROwner see MRConfigID.
func (b TDReport) MROwner() []byte { return b[232:280] }

// MROwnerConfig see MRConfigID.
func (b TDReport) MROwnerConfig() []byte { return b[280:328] }

// RTMR (48) is run-time register i, 0 to 3.
func (b TDReport) RTMR(i int) []byte { return b[328+48*i : 376+48*i] }

// ReportData (64) is chosen by software in the TD.
func (b TDReport) ReportData() []byte { return b[520:584] }

// TEETCBSVN2 (16) holds the SVNs of the TDX module as it runs now, and MRServiceTD
// (48) what service TDs are bound. Both are nil before TDX 1.5.
func (b TDReport) TEETCBSVN2() []byte {
	if len(b) < SizeTD15 {
		return nil
	}
	return b[584:600]
}

// MRServiceTD see TEETCBSVN2.
func (b TDReport) MRServiceTD() []byte {
	if len(b) < SizeTD15 {
		return nil
	}
	return b[600:648]
}

// EnclaveReport is the REPORT body of an enclave, 384 bytes (Intel SDM volume 3D,
// table 40-21): the body of an SGX quote, and the report of the quoting enclave
// in every quote. Each method returns a view of one field.
type EnclaveReport []byte

// CPUSVN is 16 bytes.
func (e EnclaveReport) CPUSVN() []byte { return e[0:16] }

// MiscSelect is 4 bytes.
func (e EnclaveReport) MiscSelect() []byte { return e[16:20] }

// ExtProdID (ISVEXTPRODID) is 16 bytes.
func (e EnclaveReport) ExtProdID() []byte { return e[32:48] }

// Attributes are 8 bytes of flags and 8 of XFRM.
func (e EnclaveReport) Attributes() []byte { return e[48:64] }

// MRENCLAVE is 32 bytes.
func (e EnclaveReport) MRENCLAVE() []byte { return e[64:96] }

// MRSIGNER is 32 bytes.
func (e EnclaveReport) MRSIGNER() []byte { return e[128:160] }

// ConfigID is 64 bytes.
func (e EnclaveReport) ConfigID() []byte { return e[192:256] }

// ProdID is ISVPRODID.
func (e EnclaveReport) ProdID() uint16 { return binary.LittleEndian.Uint16(e[256:]) }

// SVN is ISVSVN.
func (e EnclaveReport) SVN() uint16 { return binary.LittleEndian.Uint16(e[258:]) }

// ConfigSVN is CONFIGSVN.
func (e EnclaveReport) ConfigSVN() uint16 { return binary.LittleEndian.Uint16(e[260:]) }

// FamilyID (ISVFAMILYID) is 16 bytes.
func (e EnclaveReport) FamilyID() []byte { return e[304:320] }

// ReportData is 64 bytes.
func (e EnclaveReport) ReportData() []byte { return e[320:384] }

// Debug says whether the flag DEBUG is set in the attributes: the host can read
// and write the enclave's memory.
func (e EnclaveReport) Debug() bool { return e.Attributes()[0]&2 != 0 }
