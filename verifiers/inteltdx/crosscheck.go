// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"

	"github.com/assize/assize/verifiers/internal/dcap"
)

// libraryBody is what both body types of the library have.
type libraryBody interface {
	GetTeeTcbSvn() []byte
	GetMrSeam() []byte
	GetMrSignerSeam() []byte
	GetSeamAttributes() []byte
	GetTdAttributes() []byte
	GetXfam() []byte
	GetMrTd() []byte
	GetMrConfigId() []byte
	GetMrOwner() []byte
	GetMrOwnerConfig() []byte
	GetRtmrs() [][]byte
	GetReportData() []byte
}

var errParsersDisagree = errors.New("two parsers read this quote differently")

// crossCheck lets go-tdx-guest parse the same bytes and compares every field
// that the library names, reserved ones of the QE report included. A quote that
// the two parsers read differently, or that makes the library panic, is
// malformed.
func (q *quote) crossCheck(raw []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errParsersDisagree, p)
		}
	}()
	parsed, err := abi.QuoteToProto(raw)
	if err != nil {
		return err
	}
	var (
		header *pb.Header
		body   libraryBody
		body15 *pb.TDQuoteBodyV5
		sd     *pb.Ecdsa256BitQuoteV4AuthData
	)
	typ := dcap.BodyTD10
	switch p := parsed.(type) {
	case *pb.QuoteV4:
		header, body, sd = p.GetHeader(), p.GetTdQuoteBody(), p.GetSignedData()
	case *pb.QuoteV5:
		d := p.GetTdQuoteBodyDescriptor()
		typ, body15 = dcap.BodyType(d.GetTdQuoteBodyType()), d.GetTdQuoteBodyV5()
		header, body, sd = p.GetHeader(), body15, p.GetSignedData()
	default:
		return errParsersDisagree
	}
	switch {
	case !q.sameHeader(header):
		return fmt.Errorf("%w: header", errParsersDisagree)
	case typ != q.BodyType || !q.sameBody(body) ||
		!bytes.Equal(body15.GetTeeTcbSvn2(), q.TEETCBSVN2()) || !bytes.Equal(body15.GetMrServiceTd(), q.MRServiceTD()):
		return fmt.Errorf("%w: TD report body", errParsersDisagree)
	case !q.sameQEReport(sd.GetCertificationData().GetQeReportCertificationData().GetQeReport()):
		return fmt.Errorf("%w: QE report", errParsersDisagree)
	case !q.sameSignatures(sd):
		return fmt.Errorf("%w: signature data", errParsersDisagree)
	}
	return nil
}

func (q *quote) sameHeader(h *pb.Header) bool {
	le := binary.LittleEndian
	return h.GetVersion() == uint32(le.Uint16(q.Header)) &&
		h.GetAttestationKeyType() == uint32(le.Uint16(q.Header[2:])) &&
		h.GetTeeType() == le.Uint32(q.Header[4:]) &&
		// Intel calls these two QE SVN and PCE SVN, the library the reverse.
		bytes.Equal(h.GetPceSvn(), q.Header[8:10]) &&
		bytes.Equal(h.GetQeSvn(), q.Header[10:12]) &&
		bytes.Equal(h.GetQeVendorId(), q.Header[12:28]) &&
		bytes.Equal(h.GetUserData(), q.Header[28:48])
}

func (q *quote) sameBody(b libraryBody) bool {
	rtmrs := b.GetRtmrs()
	for i, r := range rtmrs {
		if i >= 4 || !bytes.Equal(r, q.RTMR(i)) {
			return false
		}
	}
	return len(rtmrs) == 4 &&
		bytes.Equal(b.GetTeeTcbSvn(), q.TEETCBSVN()) &&
		bytes.Equal(b.GetMrSeam(), q.MRSEAM()) &&
		bytes.Equal(b.GetMrSignerSeam(), q.MRSignerSEAM()) &&
		bytes.Equal(b.GetSeamAttributes(), q.SEAMAttributes()) &&
		bytes.Equal(b.GetTdAttributes(), q.TDAttributes()) &&
		bytes.Equal(b.GetXfam(), q.XFAM()) &&
		bytes.Equal(b.GetMrTd(), q.MRTD()) &&
		bytes.Equal(b.GetMrConfigId(), q.MRConfigID()) &&
		bytes.Equal(b.GetMrOwner(), q.MROwner()) &&
		bytes.Equal(b.GetMrOwnerConfig(), q.MROwnerConfig()) &&
		bytes.Equal(b.GetReportData(), q.ReportData())
}

func (q *quote) sameQEReport(r *pb.EnclaveReport) bool {
	return bytes.Equal(r.GetCpuSvn(), q.QEReport[0:16]) &&
		r.GetMiscSelect() == binary.LittleEndian.Uint32(q.QEReport.MiscSelect()) &&
		bytes.Equal(r.GetReserved1(), q.QEReport[20:48]) &&
		bytes.Equal(r.GetAttributes(), q.QEReport.Attributes()) &&
		bytes.Equal(r.GetMrEnclave(), q.QEReport.MRENCLAVE()) &&
		bytes.Equal(r.GetReserved2(), q.QEReport[96:128]) &&
		bytes.Equal(r.GetMrSigner(), q.QEReport.MRSIGNER()) &&
		bytes.Equal(r.GetReserved3(), q.QEReport[160:256]) &&
		r.GetIsvProdId() == uint32(q.QEReport.ProdID()) &&
		r.GetIsvSvn() == uint32(q.QEReport.SVN()) &&
		bytes.Equal(r.GetReserved4(), q.QEReport[260:320]) &&
		bytes.Equal(r.GetReportData(), q.QEReport.ReportData())
}

func (q *quote) sameSignatures(sd *pb.Ecdsa256BitQuoteV4AuthData) bool {
	qe := sd.GetCertificationData().GetQeReportCertificationData()
	chain := qe.GetPckCertificateChainData()
	return bytes.Equal(sd.GetSignature(), q.Signature) &&
		bytes.Equal(sd.GetEcdsaAttestationKey(), q.AttestationKey) &&
		sd.GetCertificationData().GetCertificateDataType() == 6 &&
		bytes.Equal(qe.GetQeReportSignature(), q.QESignature) &&
		bytes.Equal(qe.GetQeAuthData().GetData(), q.QEAuth) &&
		chain.GetCertificateDataType() == 5 &&
		bytes.Equal(chain.GetPckCertChain(), q.Chain)
}
