// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// ClaimsVersion is the version of NVIDIA's claims that is asked for and read.
const ClaimsVersion = "3.0"

// Request is one question to the service.
type Request struct {
	// Device is the last part of the path, "gpu" or "switch".
	Device string
	// Body is JSON.
	Body []byte
}

type requestBody struct {
	Nonce    string         `json:"nonce"`
	Arch     string         `json:"arch"`
	Claims   string         `json:"claims_version"`
	Evidence []evidenceItem `json:"evidence_list"`
}

type evidenceItem struct {
	Evidence    string `json:"evidence"`
	Certificate string `json:"certificate"`
}

// request asks about one device, for the nonce in its signed report.
func (k kind) request(d *device) (Request, error) {
	body, err := json.Marshal(requestBody{
		Nonce: hex.EncodeToString(d.report.Nonce), Arch: d.Arch, Claims: ClaimsVersion,
		Evidence: []evidenceItem{{
			Evidence:    base64.StdEncoding.EncodeToString(d.Report),
			Certificate: base64.StdEncoding.EncodeToString(d.Chain),
		}},
	})
	if err != nil {
		return Request{}, fmt.Errorf("nras: request: %w", err)
	}
	return Request{Device: k.path, Body: body}, nil
}
