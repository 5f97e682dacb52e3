// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/fxamacker/cbor/v2"
)

// The media types of what Evidence and EvidenceJSON return.
const (
	MediaTypeCBOR = "application/vnd.assize.tpm-evidence+cbor"
	MediaTypeJSON = "application/vnd.assize.tpm-evidence+json"
)

// bank is the one bank that is quoted.
const bank = "sha256"

// wire is the CBOR form.
type wire struct {
	Quote         []byte          `cbor:"quote"`
	Signature     []byte          `cbor:"signature"`
	PCRs          cbor.RawMessage `cbor:"pcrs"`
	AKPublic      []byte          `cbor:"ak_public"`
	AKCertificate [][]byte        `cbor:"ak_certificate,omitempty"`
	EventLog      []byte          `cbor:"event_log"`
}

func (d *Device) encodeStatic(uncertified bool) error {
	var err error
	if d.mode, err = cbor.CoreDetEncOptions().EncMode(); err != nil {
		return fmt.Errorf("tcgtpm: %w", err)
	}
	pcrs, err := d.mode.Marshal(map[string]map[int][]byte{bank: d.PCRs()})
	if err != nil {
		return fmt.Errorf("tcgtpm: %w", err)
	}
	d.static = wire{PCRs: pcrs, AKPublic: d.public, EventLog: d.log}
	if !uncertified {
		d.static.AKCertificate = [][]byte{d.ak.Raw, d.authorities.issuer.Cert.Raw}
	}
	return nil
}

// Evidence is the evidence with nonce, at most 64 bytes, as a leaf of type
// MediaTypeCBOR.
func (d *Device) Evidence(nonce []byte) ([]byte, error) {
	w := d.static
	var err error
	if w.Quote, w.Signature, err = d.Quote(nonce); err != nil {
		return nil, err
	}
	out, err := d.mode.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: %w", err)
	}
	return out, nil
}

// EvidenceJSON is the same as a leaf of type MediaTypeJSON.
func (d *Device) EvidenceJSON(nonce []byte) ([]byte, error) {
	quote, signature, err := d.Quote(nonce)
	if err != nil {
		return nil, err
	}
	text := base64.RawURLEncoding.EncodeToString
	pcrs := make(map[string]string, len(d.selected))
	for _, pcr := range d.selected {
		pcrs[strconv.Itoa(pcr)] = text(d.pcrs[pcr][:])
	}
	var certs []string
	for _, der := range d.static.AKCertificate {
		certs = append(certs, text(der))
	}
	out, err := json.Marshal(struct {
		AKCertificate []string                     `json:"ak_certificate,omitempty"`
		AKPublic      string                       `json:"ak_public"`
		EventLog      string                       `json:"event_log"`
		PCRs          map[string]map[string]string `json:"pcrs"`
		Quote         string                       `json:"quote"`
		Signature     string                       `json:"signature"`
	}{
		certs, text(d.public), text(d.log),
		map[string]map[string]string{bank: pcrs}, text(quote), text(signature),
	})
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: %w", err)
	}
	return out, nil
}
