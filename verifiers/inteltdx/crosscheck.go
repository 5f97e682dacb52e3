// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"
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
	typ := bodyType10
	switch p := parsed.(type) {
	case *pb.QuoteV4:
		header, body, sd = p.GetHeader(), p.GetTdQuoteBody(), p.GetSignedData()
	case *pb.QuoteV5:
		d := p.GetTdQuoteBodyDescriptor()
		typ, body15 = int(d.GetTdQuoteBodyType()), d.GetTdQuoteBodyV5()
		header, body, sd = p.GetHeader(), body15, p.GetSignedData()
	default:
		return errParsersDisagree
	}
	switch {
	case !q.sameHeader(header):
		return fmt.Errorf("%w: header", errParsersDisagree)
	case typ != q.bodyType || !q.sameBody(body) ||
		!bytes.Equal(body15.GetTeeTcbSvn2(), q.teeTCBSVN2()) || !bytes.Equal(body15.GetMrServiceTd(), q.mrServiceTD()):
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
	return h.GetVersion() == uint32(le.Uint16(q.header)) &&
		h.GetAttestationKeyType() == uint32(le.Uint16(q.header[2:])) &&
		h.GetTeeType() == le.Uint32(q.header[4:]) &&
		// Intel calls these two QE SVN and PCE SVN, the library the reverse.
		bytes.Equal(h.GetPceSvn(), q.header[8:10]) &&
		bytes.Equal(h.GetQeSvn(), q.header[10:12]) &&
		bytes.Equal(h.GetQeVendorId(), q.header[12:28]) &&
		bytes.Equal(h.GetUserData(), q.header[28:48])
}

func (q *quote) sameBody(b libraryBody) bool {
	rtmrs := b.GetRtmrs()
	for i, r := range rtmrs {
		if i >= 4 || !bytes.Equal(r, q.rtmr(i)) {
			return false
		}
	}
	return len(rtmrs) == 4 &&
		bytes.Equal(b.GetTeeTcbSvn(), q.teeTCBSVN()) &&
		bytes.Equal(b.GetMrSeam(), q.mrSEAM()) &&
		bytes.Equal(b.GetMrSignerSeam(), q.mrSignerSEAM()) &&
		bytes.Equal(b.GetSeamAttributes(), q.seamAttributes()) &&
		bytes.Equal(b.GetTdAttributes(), q.tdAttributes()) &&
		bytes.Equal(b.GetXfam(), q.xfam()) &&
		bytes.Equal(b.GetMrTd(), q.mrTD()) &&
		bytes.Equal(b.GetMrConfigId(), q.mrConfigID()) &&
		bytes.Equal(b.GetMrOwner(), q.mrOwner()) &&
		bytes.Equal(b.GetMrOwnerConfig(), q.mrOwnerConfig()) &&
		bytes.Equal(b.GetReportData(), q.reportData())
}

func (q *quote) sameQEReport(r *pb.EnclaveReport) bool {
	return bytes.Equal(r.GetCpuSvn(), q.qeReport[0:16]) &&
		r.GetMiscSelect() == binary.LittleEndian.Uint32(q.qeMiscSelect()) &&
		bytes.Equal(r.GetReserved1(), q.qeReport[20:48]) &&
		bytes.Equal(r.GetAttributes(), q.qeAttributes()) &&
		bytes.Equal(r.GetMrEnclave(), q.qeMRENCLAVE()) &&
		bytes.Equal(r.GetReserved2(), q.qeReport[96:128]) &&
		bytes.Equal(r.GetMrSigner(), q.qeMRSIGNER()) &&
		bytes.Equal(r.GetReserved3(), q.qeReport[160:256]) &&
		r.GetIsvProdId() == uint32(q.qeProdID()) &&
		r.GetIsvSvn() == uint32(q.qeSVN()) &&
		bytes.Equal(r.GetReserved4(), q.qeReport[260:320]) &&
		bytes.Equal(r.GetReportData(), q.qeReportData())
}

func (q *quote) sameSignatures(sd *pb.Ecdsa256BitQuoteV4AuthData) bool {
	qe := sd.GetCertificationData().GetQeReportCertificationData()
	chain := qe.GetPckCertificateChainData()
	return bytes.Equal(sd.GetSignature(), q.signature) &&
		bytes.Equal(sd.GetEcdsaAttestationKey(), q.attKey) &&
		sd.GetCertificationData().GetCertificateDataType() == certTypeQE &&
		bytes.Equal(qe.GetQeReportSignature(), q.qeSig) &&
		bytes.Equal(qe.GetQeAuthData().GetData(), q.qeAuth) &&
		chain.GetCertificateDataType() == certTypePCKPEM &&
		bytes.Equal(chain.GetPckCertChain(), q.chain)
}
