// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto/elliptic"
	"encoding/binary"

	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// Numbers and sizes in bytes of quote formats 4 and 5; integers are little
// endian, signatures and keys big endian.
const (
	bodyType10, bodySize10 = 2, 584
	bodyType15, bodySize15 = 3, 648

	headerSize         = 48
	bodyDescriptorSize = 2 + 4

	offsetTEETCBSVN     = 0
	offsetMRSEAM        = 16
	offsetTDAttributes  = 120
	offsetXFAM          = 128
	offsetMRTD          = 136
	offsetMRConfigID    = 184
	offsetMROwner       = 232
	offsetMROwnerConfig = 280
	offsetRTMR          = 328
	offsetReportData    = 520
	offsetTEETCBSVN2    = 584

	tdDebug         = 1 << 0
	tdSEPTVEDisable = 1 << 28
	xfam            = 0x602e7 // x87, SSE, AVX, AVX-512, PKRU, AMX

	// INIT, MODE64BIT and PROVISIONKEY; no DEBUG.
	qeAttributes = 0x15
	qeXFRM       = 0xe7
)

// qeSigner is the SHA-256 of the key that signs Intel's quoting enclaves.
// Verifiers compare it even with simulated roots.
var qeSigner = [32]byte{
	0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
	0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
}

// newQuotes makes all of a quote that does not depend on the report data.
func newQuotes(o *Options, level tcb, m *measurements, pck *pki.Authority, chain []byte) (*dcap.Quotes, error) {
	key, err := o.Device.Sub("intel-tdx", "attestation-key").ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	l := dcap.Layout{Version: 5, QE: quotingEnclave(o.Vendor), PCK: pck, Attestation: key, Certified: key, Chain: chain}
	if o.WrongSigner {
		if l.Attestation, err = o.Device.Sub("intel-tdx", "wrong-attestation-key").ECDSA(elliptic.P256()); err != nil {
			return nil, err
		}
	}
	typ, size := bodyType10, bodySize10
	if o.Quote == V5TDX15 {
		typ, size = bodyType15, bodySize15
	}
	if o.Quote == V4 {
		l.Version = 4
	}
	l.Signed = dcap.Header(l.Version, dcap.TEETypeTDX, [2]uint16{}, o.Device.Sub("intel-tdx", "qe-id").Bytes(16))
	if l.Version == 5 {
		l.Signed = binary.LittleEndian.AppendUint16(l.Signed, uint16(typ))
		l.Signed = binary.LittleEndian.AppendUint32(l.Signed, uint32(size))
	}
	l.ReportData = len(l.Signed) + offsetReportData
	l.Signed = append(l.Signed, body(o, level, m, size)...)
	// The quoting library reserves room for the largest form and leaves zeros.
	l.Padding = headerSize + bodyDescriptorSize + bodySize15 - len(l.Signed)
	return dcap.NewQuotes(l)
}

// body is the TD report body; what it does not name is zero, as in quotes of
// production TDs (MRSIGNERSEAM, SEAMATTRIBUTES, MRSERVICETD).
func body(o *Options, level tcb, m *measurements, size int) []byte {
	b := make([]byte, size)
	copy(b[offsetTEETCBSVN:], level.tee[:])
	copy(b[offsetMRSEAM:], m.seam)
	attributes := uint64(tdSEPTVEDisable)
	if o.Debug {
		attributes |= tdDebug
	}
	binary.LittleEndian.PutUint64(b[offsetTDAttributes:], attributes)
	binary.LittleEndian.PutUint64(b[offsetXFAM:], xfam)
	copy(b[offsetMRTD:], m.td)
	copy(b[offsetMRConfigID:], m.configID)
	copy(b[offsetMROwner:], m.owner)
	copy(b[offsetMROwnerConfig:], m.ownerConfig)
	for i, r := range m.rtmr {
		copy(b[offsetRTMR+i*RegisterSize:], r)
	}
	if o.Measurement {
		b[offsetRTMR+3*RegisterSize-1] ^= 1 // the last byte of RTMR2
	}
	if size == bodySize15 {
		copy(b[offsetTEETCBSVN2:], level.tee[:])
	}
	return b
}

// quotingEnclave is the TD quoting enclave.
func quotingEnclave(vendor pki.Seed) dcap.Enclave {
	return dcap.Enclave{
		CPUSVN: [16]byte{4, 4, 0x19, 0x1b, 4, 0xff, 0, 6}, Flags: qeAttributes, XFRM: qeXFRM,
		MRENCLAVE: vendor.Sub("intel-tdx", "qe-mrenclave").Bytes(32), MRSIGNER: qeSigner[:], ProdID: qeProduct, SVN: qeSVN,
	}
}
