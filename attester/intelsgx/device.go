// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/assize/assize/attester/internal/dcap"
	"github.com/assize/assize/attester/pki"
)

// TypeQuote is the media type of what Evidence returns.
const TypeQuote = "application/vnd.assize.sgx-quote"

const (
	kind = "intel-sgx" // in seeds

	flagDebug   = 1 << 1
	defaultXFRM = 0xe7 // x87, SSE, AVX, AVX-512

	// INIT, MODE64BIT and PROVISIONKEY.
	qeAttributes = FlagInit | FlagMode64 | FlagProvisionKey
	qeXFRM       = 0xe7

	bodyTypeSGX      = 1 // of format 5
	offsetReportData = 320
)

// Device is one simulated enclave on its platform. It is immutable and safe for
// concurrent use.
type Device struct {
	root       *x509.Certificate
	quotes     *dcap.Quotes
	collateral []byte
	fmspc      [6]byte
	honest     dcap.Enclave
}

// Measurement is one honest reference value: exactly one of Digest, Raw and SVN
// is set.
type Measurement struct {
	// Name is the field in lower case, as in Intel's specifications: mrenclave,
	// mrsigner, isvprodid, isvsvn, attributes, miscselect, and of enclaves with
	// KSS configid, configsvn, isvextprodid, isvfamilyid.
	Name string
	// Alg is "sha-256" (IANA Named Information name) for digests, "" for others.
	Alg    string
	Digest []byte
	// Raw is a value that is no digest, in the byte order of the quote.
	Raw []byte
	// SVN is a number that may only grow.
	SVN *uint64
}

// New makes keys, certificates and collateral, about ten signatures. It returns
// an error for options out of range.
func New(o Options) (*Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	level := currentTCB
	if o.OutdatedTCB {
		level = outdatedTCB
	}
	a, err := dcap.NewAuthorities(o.Vendor)
	if err != nil {
		return nil, err
	}
	pck, err := a.PCK(dcap.Platform{
		Device: o.Device, Kind: kind, CA: o.ca(), FMSPC: o.fmspc(), TCB: level, Now: o.Now, Expired: o.Expired,
	})
	if err != nil {
		return nil, err
	}
	d := &Device{root: a.Root.Cert, fmspc: o.fmspc(), honest: enclave(&o, level)}
	if d.quotes, err = newQuotes(&o, d.honest, level, pck, pki.PEM(pck.Cert, a.Issuer(o.ca()).Cert, a.Root.Cert)); err != nil {
		return nil, err
	}
	d.collateral, err = newCollateral(a, &o, pck)
	return d, err
}

// enclave is what runs, without DEBUG.
func enclave(o *Options, level dcap.TCB) dcap.Enclave {
	or := func(v []byte, name string) []byte {
		if len(v) != 0 {
			return bytes.Clone(v)
		}
		return o.Device.Sub(kind, name).Bytes(MeasurementSize)
	}
	e := dcap.Enclave{
		CPUSVN: level.SGX, MiscSelect: o.MiscSelect, Flags: o.Attributes, XFRM: o.XFRM,
		MRENCLAVE: or(o.MRENCLAVE, "mrenclave"), MRSIGNER: or(o.MRSIGNER, "mrsigner"), ProdID: o.ProdID, SVN: o.SVN,
		ConfigID: bytes.Clone(o.ConfigID), ConfigSVN: o.ConfigSVN, ExtProdID: bytes.Clone(o.ExtProdID), FamilyID: bytes.Clone(o.FamilyID),
	}
	if e.Flags == 0 {
		e.Flags = FlagInit | FlagMode64
	}
	if e.XFRM == 0 {
		e.XFRM = defaultXFRM
	}
	return e
}

// newQuotes makes all of a quote that does not depend on the report data.
func newQuotes(o *Options, e dcap.Enclave, level dcap.TCB, pck *pki.Authority, chain []byte) (*dcap.Quotes, error) {
	key, err := o.Device.Sub(kind, "attestation-key").ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	l := dcap.Layout{Version: 3 + int(o.Quote), QE: quotingEnclave(o, level), PCK: pck, Attestation: key, Certified: key, Chain: chain}
	if o.WrongSigner {
		if l.Attestation, err = o.Device.Sub(kind, "wrong-attestation-key").ECDSA(elliptic.P256()); err != nil {
			return nil, err
		}
	}
	var svns [2]uint16
	if o.Quote == V3 { // Intel's quoting enclave writes its own and the PCE's
		svns = [2]uint16{qeSVN, uint16(level.PCESVN)}
	}
	l.Signed = dcap.Header(l.Version, dcap.TEETypeSGX, svns, o.Device.Sub(kind, "qe-id").Bytes(16))
	if o.Quote == V5 {
		l.Signed = binary.LittleEndian.AppendUint16(l.Signed, bodyTypeSGX)
		l.Signed = binary.LittleEndian.AppendUint32(l.Signed, dcap.EnclaveReportSize)
	}
	if o.Debug {
		e.Flags |= flagDebug
	}
	l.ReportData = len(l.Signed) + offsetReportData
	body := e.Report()
	if o.Measurement {
		body[64+MeasurementSize-1] ^= 1
	}
	l.Signed = append(l.Signed, body...)
	return dcap.NewQuotes(l)
}

// quotingEnclave is Intel's SGX quoting enclave.
func quotingEnclave(o *Options, level dcap.TCB) dcap.Enclave {
	qe := dcap.Enclave{
		CPUSVN: level.SGX, Flags: qeAttributes, XFRM: qeXFRM,
		MRENCLAVE: o.Vendor.Sub(kind, "qe-mrenclave").Bytes(MeasurementSize), MRSIGNER: qeSigner[:], ProdID: qeProduct, SVN: qeSVN,
	}
	if o.QEDebug {
		qe.Flags |= flagDebug
	}
	if o.OtherQE {
		qe.MRSIGNER = o.Vendor.Sub(kind, "other-qe-signer").Bytes(MeasurementSize)
	}
	return qe
}

// Evidence returns a signed quote with the report data, which must have 64
// bytes: whoever has a shorter nonce decides how it is extended.
func (d *Device) Evidence(reportData []byte) ([]byte, error) {
	if len(reportData) != ReportDataSize {
		return nil, fmt.Errorf("intelsgx: report data has %d bytes, expected %d", len(reportData), ReportDataSize)
	}
	return d.quotes.Quote(reportData)
}

// Root is the certificate that a trust file lists; it is shared, not a copy.
func (d *Device) Root() *x509.Certificate { return d.root }

// FMSPC is the platform's family, model, stepping and custom SKU as 12 lower
// case hexadecimal digits; collateral is found by it.
func (d *Device) FMSPC() string { return hex.EncodeToString(d.fmspc[:]) }

// Endorsements is the platform's collateral: TCB info, QE identity and both
// revocation lists with their issuer chains in one JSON object. The name
// contains FMSPC and content, so that machines whose collateral differs can
// share a folder, and machines with the same collateral share the file.
func (d *Device) Endorsements() (map[string][]byte, error) {
	sum := sha256.Sum256(d.collateral)
	name := fmt.Sprintf("intel-sgx-%s-%x.json", d.FMSPC(), sum[:4])
	return map[string][]byte{name: bytes.Clone(d.collateral)}, nil
}

// Measurements are the honest values, also where a fault shows others.
func (d *Device) Measurements() []Measurement {
	e := &d.honest
	report := e.Report()
	digest := func(name string, v []byte) Measurement {
		return Measurement{Name: name, Alg: "sha-256", Digest: bytes.Clone(v)}
	}
	raw := func(name string, from, to int) Measurement {
		return Measurement{Name: name, Raw: bytes.Clone(report[from:to])}
	}
	svn := func(name string, n uint16) Measurement { v := uint64(n); return Measurement{Name: name, SVN: &v} }
	out := []Measurement{
		digest("mrenclave", e.MRENCLAVE), digest("mrsigner", e.MRSIGNER), raw("isvprodid", 256, 258), svn("isvsvn", e.SVN),
		raw("attributes", 48, 64), raw("miscselect", 16, 20),
	}
	if e.Flags&FlagKSS != 0 {
		out = append(out, raw("configid", 192, 256), svn("configsvn", e.ConfigSVN), raw("isvextprodid", 32, 48), raw("isvfamilyid", 304, 320))
	}
	return out
}
