// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/attester/pki"
)

// Numbers and sizes in bytes of quotes; integers are little endian, signatures
// and keys big endian.
const (
	// TEETypeSGX and TEETypeTDX stand in the header.
	TEETypeSGX = 0
	TEETypeTDX = 0x81

	// SignatureSize is the size of r||s.
	SignatureSize = 64
	// EnclaveReportSize is the size of the report body of an enclave.
	EnclaveReportSize = 384

	keyTypeP256 = 2
	certTypeQE  = 6 // report of the quoting enclave, its signature, and more
	certTypePEM = 5 // PCK certificate chain
)

// qeVendorID is Intel's number for its own quoting enclaves.
var qeVendorID = [16]byte{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}

// Header is the 48-byte header: format, key type, TEE type, two SVNs of quoting
// and provisioning enclave (format 3; reserved later), vendor of the quoting
// enclave, and its user data, which begin with the quoting enclave's identifier
// of the platform, 16 bytes.
func Header(version, tee int, svns [2]uint16, platform []byte) []byte {
	h := binary.LittleEndian.AppendUint16(nil, uint16(version))
	h = binary.LittleEndian.AppendUint16(h, keyTypeP256)
	h = binary.LittleEndian.AppendUint32(h, uint32(tee))
	h = binary.LittleEndian.AppendUint16(h, svns[0])
	h = binary.LittleEndian.AppendUint16(h, svns[1])
	h = append(h, qeVendorID[:]...)
	h = append(h, platform[:16]...)
	return append(h, 0, 0, 0, 0)
}

// Enclave are the fields of an enclave's report that are not always zero.
type Enclave struct {
	CPUSVN              [16]byte
	MiscSelect          uint32
	Flags, XFRM         uint64 // ATTRIBUTES
	MRENCLAVE, MRSIGNER []byte // 32 bytes each
	ProdID, SVN         uint16
	// Of enclaves with KSS: 16, 64 and 16 bytes, or nil for zeros.
	ExtProdID, ConfigID, FamilyID []byte
	ConfigSVN                     uint16
	ReportData                    []byte // at most 64 bytes
}

// Report is the report body of the enclave, 384 bytes (Intel SDM volume 3D,
// REPORT).
func (e Enclave) Report() []byte {
	r := make([]byte, EnclaveReportSize)
	copy(r, e.CPUSVN[:])
	binary.LittleEndian.PutUint32(r[16:], e.MiscSelect)
	copy(r[32:48], e.ExtProdID)
	binary.LittleEndian.PutUint64(r[48:], e.Flags)
	binary.LittleEndian.PutUint64(r[56:], e.XFRM)
	copy(r[64:96], e.MRENCLAVE)
	copy(r[128:160], e.MRSIGNER)
	copy(r[192:256], e.ConfigID)
	binary.LittleEndian.PutUint16(r[256:], e.ProdID)
	binary.LittleEndian.PutUint16(r[258:], e.SVN)
	binary.LittleEndian.PutUint16(r[260:], e.ConfigSVN)
	copy(r[304:320], e.FamilyID)
	copy(r[320:], e.ReportData)
	return r
}

// Layout describes quotes that differ in their report data alone.
type Layout struct {
	// Version is the format, 3, 4 or 5.
	Version int
	// Signed is header, descriptor and body; ReportData is where the report data
	// go in it.
	Signed     []byte
	ReportData int
	// QE is the quoting enclave; its report data are filled in.
	QE  Enclave
	PCK *pki.Authority
	// Attestation signs quotes. Certified is the key that the quoting enclave
	// commits to; nil means Attestation.
	Attestation, Certified *ecdsa.PrivateKey
	// Chain is the PCK certificate chain in PEM, and Padding the number of zeros
	// behind the quote.
	Chain   []byte
	Padding int
}

// Quotes are quotes without report data and signature.
type Quotes struct {
	signed     []byte
	reportData int
	key        *ecdsa.PrivateKey
	tail       []byte // everything behind the signature
	padding    int
}

// NewQuotes makes all of a quote that does not depend on the report data.
func NewQuotes(l Layout) (*Quotes, error) {
	certified := l.Certified
	if certified == nil {
		certified = l.Attestation
	}
	data, err := l.certification(certified)
	if err != nil {
		return nil, err
	}
	shown, err := rawKey(l.Attestation)
	if err != nil {
		return nil, err
	}
	q := &Quotes{signed: l.Signed, reportData: l.ReportData, key: l.Attestation, padding: l.Padding}
	if l.Version == 3 {
		q.tail = append(shown, data...)
	} else {
		q.tail = typed(shown, certTypeQE, data) // shown is a fresh slice
	}
	return q, nil
}

// Quote signs report data.
func (q *Quotes) Quote(reportData []byte) ([]byte, error) {
	out := make([]byte, len(q.signed), len(q.signed)+4+SignatureSize+len(q.tail)+q.padding)
	copy(out, q.signed)
	copy(out[q.reportData:], reportData)
	digest := sha256.Sum256(out)
	sig, err := pki.SignFixed(q.key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, err
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(SignatureSize+len(q.tail)))
	out = append(append(out, sig...), q.tail...)
	return out[:len(out)+q.padding], nil // made with zeros behind
}

// certification is the report of the quoting enclave that commits to a key, the
// PCK key's signature over it, the authentication data and the certificate
// chain.
func (l Layout) certification(certified *ecdsa.PrivateKey) ([]byte, error) {
	auth := make([]byte, 32)
	for i := range auth {
		auth[i] = byte(i)
	}
	pub, err := rawKey(certified)
	if err != nil {
		return nil, err
	}
	binding := sha256.Sum256(append(bytes.Clone(pub), auth...))
	qe := l.QE
	qe.ReportData = binding[:]
	report := qe.Report()
	key, ok := l.PCK.Key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("dcap: PCK key is a %T", l.PCK.Key)
	}
	digest := sha256.Sum256(report)
	sig, err := pki.SignFixed(key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, err
	}
	out := append(report, sig...)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(auth)))
	// The platform software stores the chain as a C string.
	return typed(append(out, auth...), certTypePEM, append(bytes.Clone(l.Chain), 0)), nil
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
		return nil, fmt.Errorf("dcap: %w", err)
	}
	return pub[1:], nil
}
