// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/assize/assize/attester/pki"
)

// MediaType is the media type of what Evidence returns.
const MediaType = "application/vnd.assize.snp-report"

// The identifiers of the certificate table (AMD 56421), as they stand in it.
var (
	guidARK  = [16]byte{0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae}
	guidASK  = [16]byte{0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82}
	guidVLEK = [16]byte{0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1}
	guidVCEK = [16]byte{0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd}
)

// sizeEntry is one entry of the table: identifier, offset and length.
const sizeEntry = 24

// certificateTable is ARK, ASK or ASVK, and VCEK or VLEK behind their entries and a zero entry.
// Offsets count from the start of the table.
func (d *Device) certificateTable(asPEM bool) []byte {
	key := guidVCEK
	if d.vlek {
		key = guidVLEK
	}
	entries := []struct {
		guid [16]byte
		cert *x509.Certificate
	}{{guidARK, d.chain.ark.Cert}, {guidASK, d.issuer.Cert}, {key, d.vek}}
	head := make([]byte, (len(entries)+1)*sizeEntry)
	var blobs []byte
	for i, e := range entries {
		blob := e.cert.Raw
		if asPEM {
			blob = pki.PEM(e.cert)
		}
		at := head[i*sizeEntry:]
		copy(at, e.guid[:])
		binary.LittleEndian.PutUint32(at[16:], uint32(len(head)+len(blobs)))
		binary.LittleEndian.PutUint32(at[20:], uint32(len(blob)))
		blobs = append(blobs, blob...)
	}
	return append(head, blobs...)
}

// Evidence is the report with reportData (64 bytes) and behind it the
// certificate table, as an extended guest request returns them: a leaf of type
// MediaType.
func (d *Device) Evidence(reportData []byte) ([]byte, error) {
	out, err := d.appendReport(make([]byte, 0, ReportSize+len(d.table)), reportData)
	if err != nil {
		return nil, err
	}
	return append(out, d.table...), nil
}

// TSMReport is the same as a configfs-TSM report: a leaf of type
// application/vnd.veraison.tsm-report+json. The provider ends in the newline
// that the kernel writes, blobs are unpadded base64url.
func (d *Device) TSMReport(reportData []byte) ([]byte, error) {
	report, err := d.Report(reportData)
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(struct {
		AuxBlob  string `json:"auxblob"`
		OutBlob  string `json:"outblob"`
		Provider string `json:"provider"`
	}{base64.RawURLEncoding.EncodeToString(d.table), base64.RawURLEncoding.EncodeToString(report), "sev_guest\n"})
	if err != nil {
		return nil, fmt.Errorf("amdsnp: %w", err)
	}
	return out, nil
}
