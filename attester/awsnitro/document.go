// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// document is the payload, in the order of its members.
type document struct {
	ModuleID    string          `cbor:"module_id"`
	Digest      string          `cbor:"digest"`
	Timestamp   uint64          `cbor:"timestamp"`
	PCRs        cbor.RawMessage `cbor:"pcrs"`
	Certificate []byte          `cbor:"certificate"`
	CABundle    [][]byte        `cbor:"cabundle"`
	PublicKey   []byte          `cbor:"public_key"`
	UserData    []byte          `cbor:"user_data"`
	Nonce       []byte          `cbor:"nonce"`
}

// Evidence is the document for a nonce of at most 1024 bytes; without one the
// member is null. It is dated at the time of the options.
func (d *Device) Evidence(nonce []byte) ([]byte, error) {
	if len(nonce) > MaxField {
		return nil, fmt.Errorf("awsnitro: nonce of %d bytes, at most %d", len(nonce), MaxField)
	}
	payload, err := d.payload(nonce)
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(cose.AlgorithmES384, rfc6979{d.signer})
	if err != nil {
		return nil, fmt.Errorf("awsnitro: %w", err)
	}
	headers := cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES384}}
	raw, err := cose.Sign1Untagged(nil, signer, headers, payload, nil)
	if err != nil {
		return nil, fmt.Errorf("awsnitro: sign document: %w", err)
	}
	return raw, nil
}

func (d *Device) payload(nonce []byte) ([]byte, error) {
	ordered, err := cbor.EncOptions{Sort: cbor.SortBytewiseLexical}.EncMode()
	if err != nil {
		return nil, fmt.Errorf("awsnitro: %w", err)
	}
	pcrs := map[uint64][]byte{}
	for i := range d.seen {
		pcrs[uint64(i)] = d.seen[i][:]
	}
	table, err := ordered.Marshal(pcrs)
	if err != nil {
		return nil, fmt.Errorf("awsnitro: PCRs: %w", err)
	}
	c := d.chain
	doc := document{
		ModuleID: c.module, Digest: "SHA384", Timestamp: uint64(d.now.UnixMilli()), PCRs: table,
		Certificate: c.enclave.Cert.Raw, CABundle: [][]byte{c.root.Cert.Raw, c.region.Cert.Raw, c.zone.Cert.Raw, c.instance.Cert.Raw},
		PublicKey: d.publicKey, UserData: d.userData, Nonce: nonce,
	}
	raw, err := cbor.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("awsnitro: document: %w", err)
	}
	return raw, nil
}

// rfc6979 signs SHA-384 digests without randomness. The COSE library names no
// hash in opts.
type rfc6979 struct{ key *ecdsa.PrivateKey }

// Public implements crypto.Signer.
func (k rfc6979) Public() crypto.PublicKey { return k.key.Public() }

// Sign implements crypto.Signer.
func (k rfc6979) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return k.key.Sign(nil, digest, crypto.SHA384)
}
