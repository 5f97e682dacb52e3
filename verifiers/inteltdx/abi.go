// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes and offsets in bytes of Intel's quote formats 4 and 5 (Intel TDX DCAP
// Quoting Library API, appendix A.3 and A.4). All numbers are little-endian.
const (
	maxQuote = 16 << 10

	headerSize    = 48
	bodySize10    = 584 // TD report body of TDX 1.0
	bodySize15    = 648 // TD report body of TDX 1.5
	bodyDescSize  = 6   // format 5: body type and size before the body
	bodyType10    = 2
	bodyType15    = 3
	signatureSize = 64 // r||s, big-endian
	attKeySize    = 64 // x||y, big-endian
	qeReportSize  = 384

	teeTypeSGX = 0x00
	teeTypeTDX = 0x81

	keyTypeP256     = 2
	certTypeQE      = 6 // QE report certification data
	certTypePCKPEM  = 5 // concatenated PCK certificate chain, PEM
	tdReportMACType = 0x81
)

// quote is one parsed quote. All slices are views of the evidence.
type quote struct {
	version  int
	bodyType int
	// signed are the bytes under the attestation key's signature.
	signed    []byte
	header    []byte // 48
	body      []byte // 584 or 648
	signature []byte // 64
	attKey    []byte // 64
	qeReport  []byte // 384
	qeSig     []byte // 64
	qeAuth    []byte
	chain     []byte // PEM
	// padding counts zero bytes behind the signature data.
	padding int
}

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

// parseQuote reads a TDX quote of format 4 or 5. Every length is checked here
// before the library sees a byte, and both readings must agree.
func parseQuote(raw []byte) (*quote, error) {
	if len(raw) > maxQuote {
		return nil, fmt.Errorf("quote has %d bytes, at most %d", len(raw), maxQuote)
	}
	q := new(quote)
	r := &reader{raw: raw}
	if err := q.readHeader(r); err != nil {
		return nil, err
	}
	if err := q.readBody(r); err != nil {
		return nil, err
	}
	q.signed = raw[:r.off:r.off]
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
	q.padding = len(raw) - r.off
	if err := q.crossCheck(raw[:r.off]); err != nil {
		return nil, err
	}
	return q, nil
}

func (q *quote) readHeader(r *reader) (err error) {
	if len(r.raw) > 0 && r.raw[0] == tdReportMACType {
		return errors.New("this is a TDREPORT (type 0x81), which only the same platform can check, not a quote")
	}
	if q.header, err = r.take(headerSize, "header"); err != nil {
		return err
	}
	q.version = int(binary.LittleEndian.Uint16(q.header))
	keyType := binary.LittleEndian.Uint16(q.header[2:])
	teeType := binary.LittleEndian.Uint32(q.header[4:])
	switch {
	case q.version == 3:
		return errors.New("quote version 3 is an SGX quote, not a TDX quote")
	case q.version != 4 && q.version != 5:
		return fmt.Errorf("quote version %d, expected 4 or 5", q.version)
	case teeType == teeTypeSGX:
		return errors.New("TEE type 0 is SGX, expected 0x81 (TDX)")
	case teeType != teeTypeTDX:
		return fmt.Errorf("TEE type 0x%x, expected 0x81 (TDX)", teeType)
	case keyType != keyTypeP256:
		return fmt.Errorf("attestation key type %d, expected 2 (ECDSA P-256)", keyType)
	}
	return nil
}

func (q *quote) readBody(r *reader) (err error) {
	if q.version == 4 {
		q.bodyType = bodyType10
		q.body, err = r.take(bodySize10, "TD report body")
		return err
	}
	if q.bodyType, err = r.u16("body type"); err != nil {
		return err
	}
	want := map[int]int{bodyType10: bodySize10, bodyType15: bodySize15}[q.bodyType]
	if want == 0 {
		return fmt.Errorf("body type %d, expected 2 (TDX 1.0) or 3 (TDX 1.5)", q.bodyType)
	}
	n, err := r.size("body size")
	if err != nil {
		return err
	}
	if n != want {
		return fmt.Errorf("body of type %d has %d bytes, expected %d", q.bodyType, n, want)
	}
	q.body, err = r.take(n, "TD report body")
	return err
}

// readSignatureData reads the ECDSA signature data structure; r holds exactly
// as many bytes as its length field said.
func (q *quote) readSignatureData(r *reader) (err error) {
	if q.signature, err = r.take(signatureSize, "quote signature"); err != nil {
		return err
	}
	if q.attKey, err = r.take(attKeySize, "attestation key"); err != nil {
		return err
	}
	outer, err := certData(r, certTypeQE)
	if err != nil {
		return err
	}
	if q.qeReport, err = outer.take(qeReportSize, "QE report"); err != nil {
		return err
	}
	if q.qeSig, err = outer.take(signatureSize, "QE report signature"); err != nil {
		return err
	}
	n, err := outer.u16("QE authentication data size")
	if err != nil {
		return err
	}
	if q.qeAuth, err = outer.take(n, "QE authentication data"); err != nil {
		return err
	}
	inner, err := certData(outer, certTypePCKPEM)
	if err != nil {
		return err
	}
	q.chain = inner.raw
	if len(q.chain) == 0 {
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
