// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Sizes and offsets in bytes of Intel's quote formats 3, 4 and 5 (Intel SGX ECDSA
// Quote Library API, appendix A; Intel TDX DCAP Quoting Library API, appendix
// A.3 and A.4). All numbers are little-endian.
const (
	// MaxQuote is the largest quote.
	MaxQuote = 16 << 10

	// HeaderSize is the size of the header of every format, DescriptorSize that of
	// body type and body size behind it in format 5.
	HeaderSize     = 48
	DescriptorSize = 6
	// SizeSGX, SizeTD10 and SizeTD15 are the sizes of the bodies: an enclave
	// report, a TD report of TDX 1.0, and one of TDX 1.5.
	SizeSGX  = 384
	SizeTD10 = 584
	SizeTD15 = 648

	signatureSize = 64 // r||s, big-endian
	attKeySize    = 64 // x||y, big-endian

	keyTypeP256     = 2
	certTypeQE      = 6 // QE report certification data
	certTypePCKPEM  = 5 // concatenated PCK certificate chain, PEM
	tdReportMACType = 0x81
)

// vendorID is that of Intel's quoting enclaves, 939a7233-f79c-4ca9-940a-0db3957f0607.
const vendorID = "939a7233f79c4ca9940a0db3957f0607"

// TEE is what kind of environment a quote is about, with the number that it has
// in the header.
type TEE uint32

// Kinds of environments.
const (
	SGX TEE = 0x00
	TDX TEE = 0x81
)

// String is the id that Intel's TCB info has for it.
func (t TEE) String() string {
	switch t {
	case SGX:
		return "SGX"
	case TDX:
		return "TDX"
	}
	return fmt.Sprintf("TEE(0x%x)", uint32(t))
}

// BodyType is the type of a body, with the number that it has in format 5.
type BodyType uint16

// Types of bodies.
const (
	BodySGX  BodyType = 1
	BodyTD10 BodyType = 2
	BodyTD15 BodyType = 3
)

func (b BodyType) size() int {
	return map[BodyType]int{BodySGX: SizeSGX, BodyTD10: SizeTD10, BodyTD15: SizeTD15}[b]
}

// Quote is one parsed quote. All slices are views of the evidence.
type Quote struct {
	// Version is the format, 3 to 5.
	Version  int
	TEE      TEE
	BodyType BodyType
	// Signed are the bytes under the attestation key's signature: header, body and
	// what is between them.
	Signed []byte
	Header []byte // 48
	Body   []byte // 384, 584 or 648
	// Signature is that of the attestation key over Signed, r||s, 64 bytes.
	Signature []byte
	// AttestationKey is a point of P-256, x||y, 64 bytes.
	AttestationKey []byte
	// QEReport is the report of the quoting enclave, QESignature that of the PCK
	// key over it, and QEAuth what its report data commits to besides the key.
	QEReport    EnclaveReport
	QESignature []byte
	QEAuth      []byte
	// Chain is the PCK certificate chain, PEM.
	Chain []byte
	// Padding counts zero bytes behind the quote, which belong to nothing.
	Padding int
}

// TD returns the body as a TD report, nil if it is none.
func (q *Quote) TD() TDReport {
	if q.TEE != TDX {
		return nil
	}
	return TDReport(q.Body)
}

// Enclave returns the body as an enclave report, nil if it is none.
func (q *Quote) Enclave() EnclaveReport {
	if q.TEE != SGX {
		return nil
	}
	return EnclaveReport(q.Body)
}

// VendorID is that of the quoting enclave, 16 bytes; UserData are the 20 bytes that
// it chose (its id for the platform).
func (q *Quote) VendorID() []byte { return q.Header[12:28] }

// UserData see VendorID.
func (q *Quote) UserData() []byte { return q.Header[28:48] }

// reader cuts views off a byte string and remembers where it is.
type reader struct {
	raw []byte
	off int
}

func (r *reader) take(n int, what string) ([]byte, error) {
	if n < 0 || n > len(r.raw)-r.off {
		return nil, fmt.Errorf("%s at offset %d needs %d bytes, %d are left", what, r.off, n, len(r.raw)-r.off)
	}
	v := r.raw[r.off : r.off+n : r.off+n]
	r.off += n
	return v, nil
}

func (r *reader) u16(what string) (int, error) {
	b, err := r.take(2, what)
	if err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint16(b)), nil
}

// size reads a 32-bit length and compares it with what is left, so that it
// cannot overflow anything.
func (r *reader) size(what string) (int, error) {
	b, err := r.take(4, what)
	if err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(r.raw)-r.off) {
		return 0, fmt.Errorf("%s at offset %d says %d bytes, %d are left", what, r.off-4, n, len(r.raw)-r.off)
	}
	return int(n), nil
}

// Parse reads an SGX quote of format 3, 4 or 5 or a TDX quote of format 4 or 5,
// with an ECDSA P-256 attestation key and a PCK certificate chain. Behind the
// quote only zero bytes may follow. It never panics, and copies nothing.
func Parse(raw []byte) (*Quote, error) {
	if len(raw) > MaxQuote {
		return nil, fmt.Errorf("quote has %d bytes, at most %d", len(raw), MaxQuote)
	}
	q := new(Quote)
	r := &reader{raw: raw}
	if err := q.readHeader(r); err != nil {
		return nil, err
	}
	if err := q.readBody(r); err != nil {
		return nil, err
	}
	q.Signed = raw[:r.off:r.off]
	n, err := r.size("signature data length")
	if err != nil {
		return nil, err
	}
	data, err := r.take(n, "signature data")
	if err != nil {
		return nil, err
	}
	if err := q.readSignatureData(&reader{raw: data}); err != nil {
		return nil, fmt.Errorf("signature data: %w", err)
	}
	for i, b := range raw[r.off:] {
		if b != 0 {
			return nil, fmt.Errorf("byte 0x%02x at offset %d behind the quote; only zero padding is allowed", b, r.off+i)
		}
	}
	q.Padding = len(raw) - r.off
	return q, nil
}

// Peek says what a quote is about, by its header alone; false for what is none.
func Peek(raw []byte) (TEE, bool) {
	var q Quote
	err := q.readHeader(&reader{raw: raw})
	return q.TEE, err == nil
}

func (q *Quote) readHeader(r *reader) (err error) {
	if len(r.raw) > 0 && r.raw[0] == tdReportMACType {
		return errors.New("this is a TDREPORT (type 0x81), which only the same platform can check, not a quote")
	}
	if q.Header, err = r.take(HeaderSize, "header"); err != nil {
		return err
	}
	q.Version = int(binary.LittleEndian.Uint16(q.Header))
	keyType := binary.LittleEndian.Uint16(q.Header[2:])
	q.TEE = TEE(binary.LittleEndian.Uint32(q.Header[4:]))
	switch {
	case q.Version < 3 || q.Version > 5:
		return fmt.Errorf("quote version %d, expected 3, 4 or 5", q.Version)
	case q.TEE != SGX && q.TEE != TDX:
		return fmt.Errorf("TEE type 0x%x, expected 0 (SGX) or 0x81 (TDX)", uint32(q.TEE))
	case q.Version == 3 && q.TEE != SGX:
		return fmt.Errorf("quote version 3 is SGX's, but the TEE type is 0x%x", uint32(q.TEE))
	case keyType != keyTypeP256:
		return fmt.Errorf("attestation key type %d, expected 2 (ECDSA P-256)", keyType)
	case hex.EncodeToString(q.VendorID()) != vendorID:
		return fmt.Errorf("QE vendor id %x, expected %s, Intel's", q.VendorID(), vendorID)
	}
	return nil
}

func (q *Quote) readBody(r *reader) (err error) {
	if q.Version < 5 {
		q.BodyType = BodyTD10
		if q.TEE == SGX {
			q.BodyType = BodySGX
		}
		q.Body, err = r.take(q.BodyType.size(), "report body")
		return err
	}
	typ, err := r.u16("body type")
	if err != nil {
		return err
	}
	q.BodyType = BodyType(typ)
	want := q.BodyType.size()
	switch {
	case want == 0:
		return fmt.Errorf("body type %d, expected 1 (SGX), 2 (TDX 1.0) or 3 (TDX 1.5)", typ)
	case (q.BodyType == BodySGX) != (q.TEE == SGX):
		return fmt.Errorf("body type %d does not go with TEE type 0x%x", typ, uint32(q.TEE))
	}
	n, err := r.size("body size")
	if err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("body of type %d has %d bytes, expected %d", typ, n, want)
	}
	q.Body, err = r.take(n, "report body")
	return err
}

// readSignatureData reads the ECDSA signature data structure; r holds exactly
// as many bytes as its length field said. Before format 4 the certification data
// is not wrapped once more.
func (q *Quote) readSignatureData(r *reader) (err error) {
	if q.Signature, err = r.take(signatureSize, "quote signature"); err != nil {
		return err
	}
	if q.AttestationKey, err = r.take(attKeySize, "attestation key"); err != nil {
		return err
	}
	if q.Version > 3 {
		if r, err = certData(r, certTypeQE); err != nil {
			return err
		}
	}
	report, err := r.take(SizeSGX, "QE report")
	if err != nil {
		return err
	}
	q.QEReport = EnclaveReport(report)
	if q.QESignature, err = r.take(signatureSize, "QE report signature"); err != nil {
		return err
	}
	n, err := r.u16("QE authentication data size")
	if err != nil {
		return err
	}
	if q.QEAuth, err = r.take(n, "QE authentication data"); err != nil {
		return err
	}
	inner, err := certData(r, certTypePCKPEM)
	if err != nil {
		return err
	}
	q.Chain = inner.raw
	if len(q.Chain) == 0 {
		return errors.New("PCK certificate chain is empty")
	}
	return nil
}

// certData reads certification data of one type that fills the rest of r.
func certData(r *reader, want int) (*reader, error) {
	typ, err := r.u16("certification data type")
	if err != nil {
		return nil, err
	}
	if typ != want {
		return nil, fmt.Errorf("certification data type %d, expected %d", typ, want)
	}
	n, err := r.size("certification data size")
	if err != nil {
		return nil, err
	}
	v, err := r.take(n, "certification data")
	if err != nil {
		return nil, err
	}
	if rest := len(r.raw) - r.off; rest != 0 {
		return nil, fmt.Errorf("%d bytes behind the certification data of type %d", rest, typ)
	}
	return &reader{raw: v}, nil
}

// spkiP256 is the SubjectPublicKeyInfo of a P-256 key (RFC 5480) up to its
// coordinates: building one anew for every quote costs more than all else but the
// signatures.
var spkiP256 = []byte{
	0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
}

// SPKI is the SubjectPublicKeyInfo (DER, 91 bytes) of the attestation key. Only a
// quote that VerifyQuote accepted has one that is a point of the curve.
func (q *Quote) SPKI() []byte { return slices.Concat(spkiP256, q.AttestationKey) }
