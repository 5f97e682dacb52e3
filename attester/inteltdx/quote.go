// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/attester/pki"
)

// Numbers and sizes in bytes of quote formats 4 and 5; integers are little
// endian, signatures and keys big endian.
const (
	keyTypeP256 = 2
	teeTypeTDX  = 0x81

	bodyType10, bodySize10 = 2, 584
	bodyType15, bodySize15 = 3, 648

	certTypeQE  = 6 // report of the quoting enclave, its signature, and more
	certTypePEM = 5 // PCK certificate chain

	signatureSize = 64
	qeReportSize  = 384

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

// qeVendorID is Intel's number for its own quoting enclaves.
var qeVendorID = [16]byte{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}

// qeSigner is the SHA-256 of the key that signs Intel's quoting enclaves.
// Verifiers compare it even with simulated roots.
var qeSigner = [32]byte{
	0xdc, 0x9e, 0x2a, 0x7c, 0x6f, 0x94, 0x8f, 0x17, 0x47, 0x4e, 0x34, 0xa7, 0xfc, 0x43, 0xed, 0x03,
	0x0f, 0x7c, 0x15, 0x63, 0xf1, 0xba, 0xbd, 0xdf, 0x63, 0x40, 0xc8, 0x2e, 0x0e, 0x54, 0xa8, 0xc5,
}

// template is a quote without report data and signature.
type template struct {
	signed     []byte // header, descriptor, body
	reportData int    // where the report data goes
	key        *ecdsa.PrivateKey
	tail       []byte // everything behind the signature
	padding    int
}

// newTemplate makes all of a quote that does not depend on the report data.
func newTemplate(o *Options, level tcb, m *measurements, pck *pki.Authority, chain []byte) (*template, error) {
	key, err := o.Device.Sub("intel-tdx", "attestation-key").ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	certData, err := certificationData(o, pck, key, chain)
	if err != nil {
		return nil, err
	}
	if o.WrongSigner {
		if key, err = o.Device.Sub("intel-tdx", "wrong-attestation-key").ECDSA(elliptic.P256()); err != nil {
			return nil, err
		}
	}
	shown, err := rawKey(key)
	if err != nil {
		return nil, err
	}
	t := &template{key: key, signed: header(o)}
	size := bodySize10
	if o.Quote == V5TDX15 {
		size = bodySize15
	}
	if o.Quote != V4 {
		typ := bodyType10
		if o.Quote == V5TDX15 {
			typ = bodyType15
		}
		t.signed = binary.LittleEndian.AppendUint16(t.signed, uint16(typ))
		t.signed = binary.LittleEndian.AppendUint32(t.signed, uint32(size))
	}
	t.reportData = len(t.signed) + offsetReportData
	t.signed = append(t.signed, body(o, level, m, size)...)
	t.tail = typed(shown, certTypeQE, certData) // shown is a fresh slice
	// The quoting library reserves room for the largest form and leaves zeros.
	largest := len(header(o)) + 2 + 4 + bodySize15
	t.padding = largest - len(t.signed)
	return t, nil
}

// quote signs report data of 64 bytes.
func (t *template) quote(reportData []byte) ([]byte, error) {
	out := make([]byte, len(t.signed), len(t.signed)+4+signatureSize+len(t.tail)+t.padding)
	copy(out, t.signed)
	copy(out[t.reportData:], reportData)
	digest := sha256.Sum256(out)
	sig, err := pki.SignFixed(t.key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, err
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(signatureSize+len(t.tail)))
	out = append(append(out, sig...), t.tail...)
	return out[:len(out)+t.padding], nil // made with zeros behind
}

// header is the 48-byte header: format, key type, TEE type, two reserved SVNs,
// vendor of the quoting enclave, and its user data, which begin with the
// quoting enclave's identifier of the platform.
func header(o *Options) []byte {
	version := uint16(5)
	if o.Quote == V4 {
		version = 4
	}
	h := binary.LittleEndian.AppendUint16(nil, version)
	h = binary.LittleEndian.AppendUint16(h, keyTypeP256)
	h = binary.LittleEndian.AppendUint32(h, teeTypeTDX)
	h = append(h, 0, 0, 0, 0)
	h = append(h, qeVendorID[:]...)
	h = append(h, o.Device.Sub("intel-tdx", "qe-id").Bytes(16)...)
	return append(h, 0, 0, 0, 0)
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

// certificationData is the report of the quoting enclave that commits to the
// attestation key, the PCK key's signature over it, the authentication data and
// the certificate chain.
func certificationData(o *Options, pck *pki.Authority, attestation *ecdsa.PrivateKey, chain []byte) ([]byte, error) {
	auth := make([]byte, 32)
	for i := range auth {
		auth[i] = byte(i)
	}
	pub, err := rawKey(attestation)
	if err != nil {
		return nil, err
	}
	report := qeReport(o.Vendor, sha256.Sum256(append(bytes.Clone(pub), auth...)))
	key, ok := pck.Key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("inteltdx: PCK key is a %T", pck.Key)
	}
	digest := sha256.Sum256(report)
	sig, err := pki.SignFixed(key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, err
	}
	out := append(report, sig...)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(auth)))
	// The platform software stores the chain as a C string.
	return typed(append(out, auth...), certTypePEM, append(bytes.Clone(chain), 0)), nil
}

// qeReport is the SGX report body of the TD quoting enclave.
func qeReport(vendor pki.Seed, binding [32]byte) []byte {
	r := make([]byte, qeReportSize)
	copy(r, []byte{4, 4, 0x19, 0x1b, 4, 0xff, 0, 6}) // CPUSVN
	binary.LittleEndian.PutUint64(r[48:], qeAttributes)
	binary.LittleEndian.PutUint64(r[56:], qeXFRM)
	copy(r[64:], vendor.Sub("intel-tdx", "qe-mrenclave").Bytes(32))
	copy(r[128:], qeSigner[:])
	binary.LittleEndian.PutUint16(r[256:], qeProduct)
	binary.LittleEndian.PutUint16(r[258:], qeSVN)
	copy(r[320:], binding[:])
	return r
}

// typed appends certification data: type, size, value.
func typed(out []byte, typ int, value []byte) []byte {
	out = binary.LittleEndian.AppendUint16(out, uint16(typ))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(value)))
	return append(out, value...)
}

// rawKey is the public key as x and y, 32 bytes each.
func rawKey(key *ecdsa.PrivateKey) ([]byte, error) {
	pub, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("inteltdx: %w", err)
	}
	return pub[1:], nil
}
