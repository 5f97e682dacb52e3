// SPDX-License-Identifier: Apache-2.0

// Package dcaptest simulates platforms of Intel's TEEs, with an authority like
// Intel's, for tests of the schemes: quotes of every form, collateral, and every
// fault of both. Begin with New. Randomness and time are arguments.
package dcaptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verifiers/internal/dcap"
)

// Names of Intel's certificates, and the FMSPC of every machine.
const (
	RootCA      = "Intel SGX Root CA"
	PlatformCA  = "Intel SGX PCK Platform CA"
	ProcessorCA = "Intel SGX PCK Processor CA"
	PCK         = "Intel SGX PCK Certificate"
	TCBSigning  = "Intel SGX TCB Signing"

	FMSPC = "aabbcc000000"
)

// Machine is a simulated platform with its own Intel-like PKI. Tests change
// fields and then ask for a quote or for collateral; what is not said about a
// field is obvious from Quote and Collateral.
type Machine struct {
	TB     testing.TB
	Random io.Reader
	TEE    dcap.TEE
	// Now is when everything is valid.
	Now                    time.Time
	Root, CA, PCK, TCBSign Signer
	// QE is the report of the quoting enclave; Quote fills in its report data.
	QE     [dcap.SizeSGX]byte
	QEAuth []byte
	Att    *ecdsa.PrivateKey

	// Version and BodyType are the form of quotes; Body is a TD report or an
	// enclave report, of which a quote has as much as its form says.
	Version  int
	BodyType dcap.BodyType
	Body     [dcap.SizeTD15]byte
	Chain    []byte // PEM in the quote; nil: leaf, CA, root

	SGXSVN [16]byte
	PCESVN int
	PPID   []byte

	// TCB and QEID are the JSON values of the collateral.
	TCB, QEID            map[string]any
	TCBFrom, TCBTo       time.Time
	RevokePCK, RevokeCA  bool
	RevokeSigning        bool
	PCKCRL, RootCRL      *Signer // sign the CRLs instead of CA and Root
	QESign               *Signer // signs the QE identity instead of TCBSign
	CRLCA                *Signer // in the issuer chain of the PCK CRL
	CRLExtra             []pkix.Extension
	CRLFrom, CRLTo       time.Time
	MutateTCB, MutateQEI func([]byte) []byte // after signing
}

// Signer is a certificate with its key.
type Signer struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// NewKey makes a key.
func (m *Machine) NewKey() *ecdsa.PrivateKey {
	m.TB.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), m.Random)
	if err != nil {
		m.TB.Fatal(err)
	}
	return k
}

// Fill fills b with random bytes.
func (m *Machine) Fill(b []byte) {
	m.TB.Helper()
	if _, err := io.ReadFull(m.Random, b); err != nil {
		m.TB.Fatal(err)
	}
}

// Issue makes one certificate; parent zero means self-signed.
func (m *Machine) Issue(cn string, ca bool, parent Signer, extra ...pkix.Extension) Signer {
	m.TB.Helper()
	s := Signer{Key: m.NewKey()}
	serial := make([]byte, 8)
	m.Fill(serial)
	serial[0] = serial[0]&0x3f | 1
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: cn, Organization: []string{"Simulation"}},
		NotBefore: m.Now.AddDate(-1, 0, 0), NotAfter: m.Now.AddDate(1, 0, 0),
		BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature,
		CRLDistributionPoints: []string{"https://example.invalid/crl"},
		SubjectKeyId:          []byte(cn), ExtraExtensions: extra,
	}
	if ca {
		t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if parent.Cert == nil {
		parent = Signer{Cert: t, Key: s.Key}
	}
	der, err := x509.CreateCertificate(m.Random, t, parent.Cert, &s.Key.PublicKey, parent.Key)
	if err != nil {
		m.TB.Fatal(err)
	}
	if s.Cert, err = x509.ParseCertificate(der); err != nil {
		m.TB.Fatal(err)
	}
	return s
}

// New makes an honest machine that is up to date, with quotes of format 5; those
// of SGX are of format 3. Its time is 2030-06-15.
func New(tb testing.TB, random io.Reader, tee dcap.TEE) *Machine {
	tb.Helper()
	m := &Machine{
		TB: tb, Random: random, TEE: tee, Now: time.Date(2030, 6, 15, 0, 0, 0, 0, time.UTC), Version: 5, BodyType: dcap.BodyTD15,
		PCESVN: 13, PPID: make([]byte, 16), QEAuth: make([]byte, 32),
	}
	m.TCBFrom, m.TCBTo = m.Now.AddDate(0, 0, -10), m.Now.AddDate(0, 0, 20)
	m.CRLFrom, m.CRLTo = m.TCBFrom, m.TCBTo
	m.Root = m.Issue(RootCA, true, Signer{})
	m.CA = m.Issue(PlatformCA, true, m.Root)
	m.TCBSign = m.Issue(TCBSigning, false, m.Root)
	m.Att = m.NewKey()
	m.PPID[15] = 7
	for i := range m.SGXSVN {
		m.SGXSVN[i] = 3
	}
	signer, product := dcap.IntelQE(tee)
	copy(m.QE[128:], signer[:])
	binary.LittleEndian.PutUint16(m.QE[256:], product)
	binary.LittleEndian.PutUint16(m.QE[258:], 4)
	m.QE[48] = 0x11
	if tee == dcap.TDX {
		m.newTD()
	} else {
		m.newEnclave()
	}
	m.TCB, m.QEID = m.defaultTCB(), m.defaultQE()
	return m
}

// newTD: a TD of a TDX module of version 3 with SVN 4; SEPT_VE_DISABLE is set, and
// nobody has chosen MRCONFIGID, MROWNER and MROWNERCONFIG.
func (m *Machine) newTD() {
	copy(m.Body[0:16], []byte{4, 3, 2})
	binary.LittleEndian.PutUint64(m.Body[120:], 1<<28)
	binary.LittleEndian.PutUint64(m.Body[128:], 0xe7)
	m.Fill(m.Body[136:584])
	clear(m.Body[184:328])
}

// newEnclave: a 64-bit production enclave without KSS.
func (m *Machine) newEnclave() {
	m.Version, m.BodyType = 3, dcap.BodySGX
	binary.LittleEndian.PutUint64(m.Body[48:], 0x5)
	binary.LittleEndian.PutUint64(m.Body[56:], 0xe7)
	m.Fill(m.Body[64:96])
	m.Fill(m.Body[128:160])
	binary.LittleEndian.PutUint16(m.Body[256:], 1)
	binary.LittleEndian.PutUint16(m.Body[258:], 2)
	m.Fill(m.Body[320:384])
}

// ReportData is that of the body, 64 bytes.
func (m *Machine) ReportData() []byte {
	if m.TEE == dcap.TDX {
		return m.Body[520:584]
	}
	return m.Body[320:384]
}

// Components are 16 components of one SVN, in JSON.
func Components(n int) []map[string]any {
	out := make([]map[string]any, 16)
	for i := range out {
		out[i] = map[string]any{"svn": n}
	}
	return out
}

// TDXComponents are those of a level: the first asks for SVN 9, the third for 2.
func TDXComponents() []map[string]any {
	out := Components(0)
	out[0]["svn"], out[2]["svn"] = 9, 2
	return out
}

// PlatformLevel is a level of the TCB info, in JSON, of 2030-01-01.
func PlatformLevel(sgx, pce int, status string, advisories ...string) map[string]any {
	return map[string]any{"tcb": map[string]any{"sgxtcbcomponents": Components(sgx), "pcesvn": pce, "tdxtcbcomponents": TDXComponents()},
		"tcbDate": "2030-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": advisories}
}

// ISVLevel is a level of a TDX module or QE, in JSON, of 2030-01-01.
func ISVLevel(n int, status string) map[string]any {
	return map[string]any{"tcb": map[string]any{"isvsvn": n}, "tcbDate": "2030-01-01T00:00:00Z", "tcbStatus": status}
}

const zero48 = "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

func (m *Machine) defaultTCB() map[string]any {
	mod := func(id string, levels ...map[string]any) map[string]any {
		return map[string]any{"id": id, "mrsigner": zero48, "attributes": "0000000000000000",
			"attributesMask": "FFFFFFFFFFFFFFFF", "tcbLevels": levels}
	}
	out := map[string]any{
		"id": m.TEE.String(), "version": 3, "fmspc": strings.ToUpper(FMSPC), "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 20,
		"issueDate": m.TCBFrom, "nextUpdate": m.TCBTo,
		"tcbLevels": []map[string]any{PlatformLevel(3, 13, "UpToDate"), PlatformLevel(2, 11, "OutOfDate", "INTEL-SA-1")},
	}
	if m.TEE == dcap.TDX {
		out["tdxModule"] = mod("")
		out["tdxModuleIdentities"] = []map[string]any{mod("TDX_03", ISVLevel(4, "UpToDate"), ISVLevel(2, "OutOfDate"))}
	}
	return out
}

func (m *Machine) defaultQE() map[string]any {
	signer, product := dcap.IntelQE(m.TEE)
	return map[string]any{
		"id": map[dcap.TEE]string{dcap.TDX: "TD_QE", dcap.SGX: "QE"}[m.TEE], "version": 2, "tcbEvaluationDataNumber": 20,
		"issueDate": m.TCBFrom, "nextUpdate": m.TCBTo, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
		"attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
		"mrsigner": hex.EncodeToString(signer[:]), "isvprodid": product,
		"tcbLevels": []map[string]any{ISVLevel(4, "UpToDate"), ISVLevel(1, "OutOfDate")},
	}
}

// SetLevels replaces the levels of the platform.
func (m *Machine) SetLevels(ls ...map[string]any) { m.TCB["tcbLevels"] = ls }

// SetModuleLevels replaces the levels of the TDX module of version 3.
func (m *Machine) SetModuleLevels(ls ...map[string]any) {
	m.TCB["tdxModuleIdentities"].([]map[string]any)[0]["tcbLevels"] = ls
}

// SetQELevels replaces the levels of the quoting enclave.
func (m *Machine) SetQELevels(ls ...map[string]any) { m.QEID["tcbLevels"] = ls }

// SGXExtension is the extension of a PCK certificate.
func (m *Machine) SGXExtension() pkix.Extension {
	type attr = pkix.AttributeTypeAndValue
	oid := func(n ...int) asn1.ObjectIdentifier {
		return append(asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, n...)
	}
	var tcb []attr
	for i, s := range m.SGXSVN {
		tcb = append(tcb, attr{Type: oid(2, i+1), Value: int(s)})
	}
	tcb = append(tcb, attr{Type: oid(2, 17), Value: m.PCESVN}, attr{Type: oid(2, 18), Value: m.SGXSVN[:]})
	der, err := asn1.Marshal([]attr{
		{Type: oid(1), Value: m.PPID}, {Type: oid(2), Value: tcb}, {Type: oid(3), Value: []byte{0, 0}},
		{Type: oid(4), Value: []byte{0xaa, 0xbb, 0xcc, 0, 0, 0}}, {Type: oid(5), Value: asn1.Enumerated(1)},
	})
	if err != nil {
		m.TB.Fatal(err)
	}
	return pkix.Extension{Id: oid(), Value: der}
}

// PEM concatenates certificates.
func PEM(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// Sign makes a signature r||s, 64 bytes.
func (m *Machine) Sign(key *ecdsa.PrivateKey, msg []byte) []byte {
	m.TB.Helper()
	d := sha256.Sum256(msg)
	r, s, err := ecdsa.Sign(m.Random, key, d[:])
	if err != nil {
		m.TB.Fatal(err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

// Quote makes a signed quote of the machine as it stands, and the PCK certificate
// if there is none yet.
func (m *Machine) Quote() []byte {
	m.TB.Helper()
	le := binary.LittleEndian
	if m.PCK.Cert == nil {
		m.PCK = m.Issue(PCK, false, m.CA, m.SGXExtension())
	}
	pub, err := m.Att.PublicKey.Bytes()
	if err != nil {
		m.TB.Fatal(err)
	}
	bind := sha256.Sum256(append(append([]byte(nil), pub[1:]...), m.QEAuth...))
	copy(m.QE[320:], append(bind[:], make([]byte, 32)...))

	raw := le.AppendUint16(nil, uint16(m.Version))
	raw = le.AppendUint16(raw, 2) // ECDSA P-256
	raw = le.AppendUint32(raw, uint32(m.TEE))
	raw = append(raw, 0, 0, 0, 0)
	raw = append(append(raw, vendor...), make([]byte, 20)...)
	size := map[dcap.BodyType]int{dcap.BodySGX: dcap.SizeSGX, dcap.BodyTD10: dcap.SizeTD10, dcap.BodyTD15: dcap.SizeTD15}[m.BodyType]
	if m.Version == 5 {
		raw = le.AppendUint32(le.AppendUint16(raw, uint16(m.BodyType)), uint32(size))
	} else if m.TEE == dcap.TDX {
		size = dcap.SizeTD10
	}
	raw = append(raw, m.Body[:size]...)
	sig := m.Sign(m.Att, raw)

	chain := m.Chain
	if chain == nil {
		chain = PEM(m.PCK.Cert, m.CA.Cert, m.Root.Cert)
	}
	cd := append([]byte(nil), m.QE[:]...)
	cd = append(cd, m.Sign(m.PCK.Key, m.QE[:])...)
	cd = append(le.AppendUint16(cd, uint16(len(m.QEAuth))), m.QEAuth...)
	cd = append(le.AppendUint32(le.AppendUint16(cd, 5), uint32(len(chain))), chain...)
	sd := append(sig, pub[1:]...)
	if m.Version > 3 {
		sd = le.AppendUint32(le.AppendUint16(sd, 6), uint32(len(cd)))
	}
	sd = append(sd, cd...)
	return append(le.AppendUint32(raw, uint32(len(sd))), sd...)
}

// vendor is the id of Intel's quoting enclaves.
var vendor = []byte{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}

// CRL makes a revocation list in hexadecimal.
func (m *Machine) CRL(by Signer, serials ...*big.Int) string {
	t := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: m.CRLFrom, NextUpdate: m.CRLTo, ExtraExtensions: m.CRLExtra}
	for _, s := range serials {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: m.CRLFrom})
	}
	der, err := x509.CreateRevocationList(m.Random, t, by.Cert, by.Key)
	if err != nil {
		m.TB.Fatal(err)
	}
	return hex.EncodeToString(der)
}

// Collateral makes the signed set that belongs to the machine; call Quote first.
func (m *Machine) Collateral() []byte {
	m.TB.Helper()
	m.TCB["issueDate"], m.TCB["nextUpdate"] = m.TCBFrom, m.TCBTo
	text := func(by Signer, v any, mutate func([]byte) []byte) (string, string) {
		raw, err := json.Marshal(v)
		if err != nil {
			m.TB.Fatal(err)
		}
		sig := hex.EncodeToString(m.Sign(by.Key, raw))
		if mutate != nil {
			raw = mutate(raw)
		}
		return string(raw), sig
	}
	tcb, tcbSig := text(m.TCBSign, m.TCB, m.MutateTCB)
	qe, qeSig := text(or(m.QESign, m.TCBSign), m.QEID, m.MutateQEI)
	var pck, ca []*big.Int
	if m.RevokePCK {
		pck = append(pck, m.PCK.Cert.SerialNumber)
	}
	if m.RevokeCA {
		ca = append(ca, m.CA.Cert.SerialNumber)
	}
	if m.RevokeSigning {
		ca = append(ca, m.TCBSign.Cert.SerialNumber)
	}
	signing, qeSigning := string(PEM(m.TCBSign.Cert, m.Root.Cert)), string(PEM(or(m.QESign, m.TCBSign).Cert, m.Root.Cert))
	raw, err := json.Marshal(map[string]string{
		"tcb_info": tcb, "tcb_info_signature": tcbSig, "tcb_info_issuer_chain": signing,
		"qe_identity": qe, "qe_identity_signature": qeSig, "qe_identity_issuer_chain": qeSigning,
		"pck_crl": m.CRL(or(m.PCKCRL, m.CA), pck...), "pck_crl_issuer_chain": string(PEM(or(m.CRLCA, m.CA).Cert, m.Root.Cert)),
		"root_ca_crl": m.CRL(or(m.RootCRL, m.Root), ca...),
	})
	if err != nil {
		m.TB.Fatal(err)
	}
	return raw
}

func or(s *Signer, otherwise Signer) Signer {
	if s != nil {
		return *s
	}
	return otherwise
}

// Verify checks a signature r||s, 64 bytes, as benchmarks of bare checks do.
func Verify(key *ecdsa.PublicKey, msg, sig []byte) bool {
	d := sha256.Sum256(msg)
	return ecdsa.Verify(key, d[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
