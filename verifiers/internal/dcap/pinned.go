// SPDX-License-Identifier: Apache-2.0

package dcap

import "github.com/assize/assize/verdict"

// qe is a quoting enclave as Intel's signed collateral has described it since
// 2023, and as every recorded one is: the SHA-256 of the key that signs it, and its
// product number.
type qe struct {
	signer  [32]byte
	product uint16
}

// intelQE are the quoting enclaves of both TEEs.
var intelQE = map[TEE]qe{
	TDX: {signer: [32]byte{
		0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
		0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
	}, product: 2},
	SGX: {signer: [32]byte{
		0x8c, 0x4f, 0x57, 0x75, 0xd7, 0x96, 0x50, 0x3e, 0x96, 0x13, 0x7f, 0x77, 0xc6, 0x8a, 0x82, 0x9a,
		0x00, 0x56, 0xac, 0x8d, 0xed, 0x70, 0x14, 0x0b, 0x08, 0x1b, 0x09, 0x44, 0x90, 0xc5, 0x7b, 0xff,
	}, product: 1},
}

// intelModuleSigner signs a TDX module that is Intel's own.
var intelModuleSigner [48]byte

// IntelQE returns MRSIGNER (32 bytes) and ISVPRODID of Intel's own quoting enclave,
// which are pinned for platforms without collateral.
func IntelQE(t TEE) (signer [32]byte, product uint16) { return intelQE[t].signer, intelQE[t].product }

// pinnedIdentity judges QE and TDX module where no collateral does. Where there
// is some, what Intel signed last decides instead.
func pinnedIdentity(q *Quote) (out []*Failure) {
	fail := func(format string, args ...any) {
		out = append(out, Failf(verdict.ReasonIdentityMismatch, format, args...))
	}
	want := intelQE[q.TEE]
	if s := q.QEReport.MRSIGNER(); string(s) != string(want.signer[:]) {
		fail("QE MRSIGNER is %x, expected %x, Intel's", s, want.signer)
	}
	if n := q.QEReport.ProdID(); n != want.product {
		fail("QE ISVPRODID is %d, expected %d, that of Intel's QE for %s", n, want.product, q.TEE)
	}
	if td := q.TD(); td != nil {
		if s := td.MRSignerSEAM(); string(s) != string(intelModuleSigner[:]) {
			fail("MRSIGNERSEAM is %x, expected zero, Intel's", s)
		}
	}
	return out
}
