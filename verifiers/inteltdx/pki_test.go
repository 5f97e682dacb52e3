// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/pcs"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers"
)

// machine is a simulated platform with its own Intel-like PKI. Tests change
// fields and then ask for a quote or for collateral.
type machine struct {
	tb      testing.TB
	now     time.Time
	root    signer
	ca      signer
	pck     signer
	tcbSign signer
	qe      [qeReportSize]byte
	qeAuth  []byte
	att     *ecdsa.PrivateKey

	version  int
	bodyType int
	body     [bodySize15]byte
	chain    []byte // PEM in the quote; nil: leaf, CA, root

	sgxSVN [16]byte
	pceSVN int
	ppid   []byte

	tcb, qeID            map[string]any
	tcbFrom, tcbTo       time.Time
	revokePCK, revokeCA  bool
	revokeSigning        bool
	pckCRL, rootCRL      *signer // sign the CRLs instead of CA and root
	qeSign               *signer // signs the QE identity instead of tcbSign
	crlCA                *signer // in the issuer chain of the PCK CRL
	crlExtra             []pkix.Extension
	crlFrom, crlTo       time.Time
	mutateTCB, mutateQEI func([]byte) []byte // after signing
}

type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// issue makes one certificate; parent zero means self-signed.
func (m *machine) issue(cn string, ca bool, parent signer, extra ...pkix.Extension) signer {
	m.tb.Helper()
	s := signer{key: newKey(m.tb)}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		m.tb.Fatal(err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: cn, Organization: []string{"Simulation"}},
		NotBefore: m.now.AddDate(-1, 0, 0), NotAfter: m.now.AddDate(1, 0, 0),
		BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature,
		CRLDistributionPoints: []string{"https://example.invalid/crl"},
		SubjectKeyId:          []byte(cn), ExtraExtensions: extra,
	}
	if ca {
		t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if parent.cert == nil {
		parent = signer{cert: t, key: s.key}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent.cert, &s.key.PublicKey, parent.key)
	if err != nil {
		m.tb.Fatal(err)
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		m.tb.Fatal(err)
	}
	return s
}

func newMachine(tb testing.TB) *machine {
	tb.Helper()
	m := &machine{tb: tb, now: at("2030-06-15"), version: 5, bodyType: bodyType15, pceSVN: 13, ppid: make([]byte, 16), qeAuth: make([]byte, 32)}
	m.tcbFrom, m.tcbTo = m.now.AddDate(0, 0, -10), m.now.AddDate(0, 0, 20)
	m.crlFrom, m.crlTo = m.tcbFrom, m.tcbTo
	m.root = m.issue("Intel SGX Root CA", true, signer{})
	m.ca = m.issue(cnPlatform, true, m.root)
	m.tcbSign = m.issue(cnTCBSigning, false, m.root)
	m.att = newKey(tb)
	m.ppid[15] = 7
	for i := range m.sgxSVN {
		m.sgxSVN[i] = 3
	}
	copy(m.body[0:16], []byte{4, 3, 2})
	binary.LittleEndian.PutUint64(m.body[120:], tdSEPTVEDisable)
	binary.LittleEndian.PutUint64(m.body[128:], 0xe7)
	if _, err := rand.Read(m.body[136:584]); err != nil {
		tb.Fatal(err)
	}
	clear(m.body[184:328]) // MRCONFIGID, MROWNER, MROWNERCONFIG: nobody chose anything
	copy(m.qe[128:], intelQESigner[:])
	binary.LittleEndian.PutUint16(m.qe[256:], 2)
	binary.LittleEndian.PutUint16(m.qe[258:], 4)
	m.qe[48] = 0x11
	m.tcb, m.qeID = m.defaultTCB(), m.defaultQE()
	return m
}

func comps(n int) []map[string]any {
	out := make([]map[string]any, 16)
	for i := range out {
		out[i] = map[string]any{"svn": n}
	}
	return out
}

// tdxComps asks for SVN 2 of the third component, as a rule of thumb.
func tdxComps() []map[string]any {
	out := comps(0)
	out[0]["svn"], out[2]["svn"] = 9, 2
	return out
}

func tcbLevel(sgx, pce int, status string, advisories ...string) map[string]any {
	return map[string]any{"tcb": map[string]any{"sgxtcbcomponents": comps(sgx), "pcesvn": pce, "tdxtcbcomponents": tdxComps()},
		"tcbDate": "2030-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": advisories}
}

func isv(n int, status string) map[string]any {
	return map[string]any{"tcb": map[string]any{"isvsvn": n}, "tcbDate": "2030-01-01T00:00:00Z", "tcbStatus": status}
}

const zero48 = "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

func (m *machine) defaultTCB() map[string]any {
	mod := func(id string, levels ...map[string]any) map[string]any {
		return map[string]any{"id": id, "mrsigner": zero48, "attributes": "0000000000000000",
			"attributesMask": "FFFFFFFFFFFFFFFF", "tcbLevels": levels}
	}
	return map[string]any{
		"id": "TDX", "version": 3, "fmspc": "AABBCC000000", "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 20,
		"issueDate": m.tcbFrom, "nextUpdate": m.tcbTo, "tdxModule": mod(""),
		"tdxModuleIdentities": []map[string]any{mod("TDX_03", isv(4, "UpToDate"), isv(2, "OutOfDate"))},
		"tcbLevels":           []map[string]any{tcbLevel(3, 13, "UpToDate"), tcbLevel(2, 11, "OutOfDate", "INTEL-SA-1")},
	}
}

func (m *machine) defaultQE() map[string]any {
	return map[string]any{
		"id": "TD_QE", "version": 2, "tcbEvaluationDataNumber": 20, "issueDate": m.tcbFrom, "nextUpdate": m.tcbTo,
		"miscselect": "00000000", "miscselectMask": "FFFFFFFF",
		"attributes": "11000000000000000000000000000000", "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
		"mrsigner": hex.EncodeToString(intelQESigner[:]), "isvprodid": 2,
		"tcbLevels": []map[string]any{isv(4, "UpToDate"), isv(1, "OutOfDate")},
	}
}

// sgxExtension is the extension of a PCK certificate.
func (m *machine) sgxExtension() pkix.Extension {
	type attr = pkix.AttributeTypeAndValue
	oid := func(n ...int) asn1.ObjectIdentifier {
		return append(pcs.OidSgxExtension[:len(pcs.OidSgxExtension):len(pcs.OidSgxExtension)], n...)
	}
	var tcb []attr
	for i, s := range m.sgxSVN {
		tcb = append(tcb, attr{Type: oid(2, i+1), Value: int(s)})
	}
	tcb = append(tcb, attr{Type: oid(2, 17), Value: m.pceSVN}, attr{Type: oid(2, 18), Value: m.sgxSVN[:]})
	der, err := asn1.Marshal([]attr{
		{Type: oid(1), Value: m.ppid}, {Type: oid(2), Value: tcb}, {Type: oid(3), Value: []byte{0, 0}},
		{Type: oid(4), Value: []byte{0xaa, 0xbb, 0xcc, 0, 0, 0}}, {Type: oid(5), Value: asn1.Enumerated(1)},
	})
	if err != nil {
		m.tb.Fatal(err)
	}
	return pkix.Extension{Id: pcs.OidSgxExtension, Value: der}
}

func pemOf(certs ...*x509.Certificate) (out []byte) {
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func sign(tb testing.TB, key *ecdsa.PrivateKey, msg []byte) []byte {
	tb.Helper()
	d := sha256.Sum256(msg)
	r, s, err := ecdsa.Sign(rand.Reader, key, d[:])
	if err != nil {
		tb.Fatal(err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

// quote makes a signed quote of the machine as it stands.
func (m *machine) quote() []byte {
	m.tb.Helper()
	le := binary.LittleEndian
	if m.pck.cert == nil {
		m.pck = m.issue(cnPCK, false, m.ca, m.sgxExtension())
	}
	pub, err := m.att.PublicKey.Bytes()
	if err != nil {
		m.tb.Fatal(err)
	}
	bind := sha256.Sum256(append(append([]byte(nil), pub[1:]...), m.qeAuth...))
	copy(m.qe[320:], append(bind[:], make([]byte, 32)...))

	raw := le.AppendUint16(nil, uint16(m.version))
	raw = le.AppendUint16(raw, keyTypeP256)
	raw = le.AppendUint32(raw, teeTypeTDX)
	raw = append(raw, 0, 0, 0, 0)
	qeVendor, _ := hex.DecodeString("939a7233f79c4ca9940a0db3957f0607")
	raw = append(append(raw, qeVendor...), make([]byte, 20)...)
	size := bodySize10
	if m.version == 5 {
		if m.bodyType == bodyType15 {
			size = bodySize15
		}
		raw = le.AppendUint32(le.AppendUint16(raw, uint16(m.bodyType)), uint32(size))
	}
	raw = append(raw, m.body[:size]...)
	sig := sign(m.tb, m.att, raw)

	chain := m.chain
	if chain == nil {
		chain = pemOf(m.pck.cert, m.ca.cert, m.root.cert)
	}
	cd := append([]byte(nil), m.qe[:]...)
	cd = append(cd, sign(m.tb, m.pck.key, m.qe[:])...)
	cd = append(le.AppendUint16(cd, uint16(len(m.qeAuth))), m.qeAuth...)
	cd = append(le.AppendUint32(le.AppendUint16(cd, certTypePCKPEM), uint32(len(chain))), chain...)
	sd := append(sig, pub[1:]...)
	sd = append(le.AppendUint32(le.AppendUint16(sd, certTypeQE), uint32(len(cd))), cd...)
	return append(le.AppendUint32(raw, uint32(len(sd))), sd...)
}

func (m *machine) crl(by signer, serials ...*big.Int) string {
	t := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: m.crlFrom, NextUpdate: m.crlTo, ExtraExtensions: m.crlExtra}
	for _, s := range serials {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: m.crlFrom})
	}
	der, err := x509.CreateRevocationList(rand.Reader, t, by.cert, by.key)
	if err != nil {
		m.tb.Fatal(err)
	}
	return hex.EncodeToString(der)
}

// collateral makes the signed set that belongs to the machine; call quote
// first.
func (m *machine) collateral() []byte {
	m.tb.Helper()
	m.tcb["issueDate"], m.tcb["nextUpdate"] = m.tcbFrom, m.tcbTo
	text := func(by signer, v any, mutate func([]byte) []byte) (string, string) {
		raw, err := json.Marshal(v)
		if err != nil {
			m.tb.Fatal(err)
		}
		sig := hex.EncodeToString(sign(m.tb, by.key, raw))
		if mutate != nil {
			raw = mutate(raw)
		}
		return string(raw), sig
	}
	tcb, tcbSig := text(m.tcbSign, m.tcb, m.mutateTCB)
	qe, qeSig := text(or(m.qeSign, m.tcbSign), m.qeID, m.mutateQEI)
	var pck, ca []*big.Int
	if m.revokePCK {
		pck = append(pck, m.pck.cert.SerialNumber)
	}
	if m.revokeCA {
		ca = append(ca, m.ca.cert.SerialNumber)
	}
	if m.revokeSigning {
		ca = append(ca, m.tcbSign.cert.SerialNumber)
	}
	signing, qeSigning := string(pemOf(m.tcbSign.cert, m.root.cert)), string(pemOf(or(m.qeSign, m.tcbSign).cert, m.root.cert))
	raw, err := json.Marshal(map[string]string{
		"tcb_info": tcb, "tcb_info_signature": tcbSig, "tcb_info_issuer_chain": signing,
		"qe_identity": qe, "qe_identity_signature": qeSig, "qe_identity_issuer_chain": qeSigning,
		"pck_crl": m.crl(or(m.pckCRL, m.ca), pck...), "pck_crl_issuer_chain": string(pemOf(or(m.crlCA, m.ca).cert, m.root.cert)),
		"root_ca_crl": m.crl(or(m.rootCRL, m.root), ca...),
	})
	if err != nil {
		m.tb.Fatal(err)
	}
	return raw
}

func (m *machine) deps(b *endorsements.Bundle) verifiers.Deps {
	return verifiers.Deps{Endorsements: b, ExtraRoots: map[string][]*x509.Certificate{Name: {m.root.cert}}}
}

func or(s *signer, otherwise signer) signer {
	if s != nil {
		return *s
	}
	return otherwise
}
