// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/attester/pki"
)

// Numbers of draft-ietf-rats-corim and of named information algorithms.
const (
	cborURI   = 32
	cborCoRIM = 501
	cborCoMID = 506
	cborSVN   = 552
	cborBytes = 560

	algSHA384 = 7

	roleTagCreator, roleCreator = 0, 1

	headerCorimMeta = int64(8)
	rimContentType  = "application/rim+cbor"
)

// corimValue is one measurement: a digest or a raw value.
type corimValue struct {
	key         int
	digest, raw []byte
}

type (
	corimMap struct {
		ID   string     `cbor:"0,keyasint"`
		Tags []cbor.Tag `cbor:"1,keyasint"`
	}
	comidMap struct {
		Identity struct {
			ID string `cbor:"0,keyasint"`
		} `cbor:"1,keyasint"`
		Entities []corimEntity `cbor:"2,keyasint"`
		Triples  struct {
			Reference []corimTriple `cbor:"0,keyasint"`
		} `cbor:"4,keyasint"`
	}
	corimEntity struct {
		Name  string   `cbor:"0,keyasint"`
		RegID cbor.Tag `cbor:"1,keyasint"`
		Roles []int    `cbor:"2,keyasint"`
	}
	corimTriple struct {
		_           struct{} `cbor:",toarray"`
		Environment struct {
			Class corimClass `cbor:"0,keyasint"`
		}
		Values []corimMeasurement
	}
	corimClass struct {
		Vendor string `cbor:"1,keyasint"`
		Model  string `cbor:"2,keyasint"`
		Layer  int    `cbor:"3,keyasint"`
	}
	corimMeasurement struct {
		Key    *int `cbor:"0,keyasint,omitempty"`
		Values struct {
			SVN     *cbor.Tag `cbor:"1,keyasint,omitempty"`
			Digests []any     `cbor:"2,keyasint,omitempty"`
			Raw     *cbor.Tag `cbor:"4,keyasint,omitempty"`
		} `cbor:"1,keyasint"`
	}
)

// encodeCoRIM writes the document as NVIDIA does that of an FSP.
func encodeCoRIM(id, tagID, model string, svn int, fwid []byte, values []corimValue) ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	var firmware corimMeasurement
	firmware.Values.SVN = &cbor.Tag{Number: cborSVN, Content: svn}
	firmware.Values.Digests = []any{[]any{algSHA384, fwid}}
	var transcript []corimMeasurement
	for _, v := range values {
		m := corimMeasurement{Key: &v.key}
		if v.raw != nil {
			m.Values.Raw = &cbor.Tag{Number: cborBytes, Content: v.raw}
		} else {
			m.Values.Digests = []any{[]any{algSHA384, v.digest}}
		}
		transcript = append(transcript, m)
	}
	var c comidMap
	c.Identity.ID = tagID
	c.Entities = []corimEntity{{"NVIDIA", cbor.Tag{Number: cborURI, Content: "https://www.nvidia.com"}, []int{roleTagCreator, roleCreator}}}
	for layer, list := range [][]corimMeasurement{{firmware}, transcript} {
		t := corimTriple{Values: list}
		t.Environment.Class = corimClass{"NVIDIA", model, layer}
		c.Triples.Reference = append(c.Triples.Reference, t)
	}
	comid, err := mode.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	out, err := mode.Marshal(cbor.Tag{Number: cborCoRIM, Content: corimMap{ID: id, Tags: []cbor.Tag{{Number: cborCoMID, Content: comid}}}})
	if err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	return out, nil
}

// signCoRIM makes a COSE_Sign1 with x5chain of a document.
func signCoRIM(payload []byte, key *ecdsa.PrivateKey, chain []*x509.Certificate) ([]byte, error) {
	meta, err := cbor.Marshal(map[int]any{0: map[int]any{0: chain[0].Subject.CommonName}})
	if err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	var x5chain [][]byte
	for _, c := range chain {
		x5chain = append(x5chain, c.Raw)
	}
	m := cose.NewSign1Message()
	m.Payload = payload
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmES384)
	m.Headers.Protected[cose.HeaderLabelContentType] = rimContentType
	m.Headers.Protected[headerCorimMeta] = meta
	m.Headers.Protected[cose.HeaderLabelX5Chain] = x5chain
	if err := m.Sign(nil, nil, es384{key}); err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	out, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	return out, nil
}

// es384 signs by RFC 6979; the library's own signer wants randomness.
type es384 struct{ key *ecdsa.PrivateKey }

// Algorithm implements cose.Signer.
func (s es384) Algorithm() cose.Algorithm { return cose.AlgorithmES384 }

// Sign implements cose.Signer.
func (s es384) Sign(_ io.Reader, content []byte) ([]byte, error) {
	h := crypto.SHA384.New()
	h.Write(content)
	return pki.SignFixed(s.key, crypto.SHA384, h.Sum(nil))
}
