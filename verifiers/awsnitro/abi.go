// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// Bounds of a document in bytes and numbers (AWS Nitro Enclaves NSM API,
// "Attestation process").
const (
	maxEvidence    = 16 << 10
	maxCertificate = 2048
	maxAuthority   = 1024
	maxAuthorities = 8
	maxField       = 1024 // nonce, user data, public key
	maxPCRs        = 32
	pcrSize        = 48
	// maxTimestamp is the end of the year 9999 in milliseconds.
	maxTimestamp = 253402300799999
	digestName   = "SHA384"
)

// headers are protected header {1: -35} (ES384) and unprotected header {}, the
// only ones that there are.
var (
	protectedHeader   = []byte{0x44, 0xa1, 0x01, 0x38, 0x22}
	unprotectedHeader = []byte{0xa0}
)

var moduleName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// document is the payload of a document that was read completely.
type document struct {
	moduleID  string
	timestamp time.Time
	pcrs      map[uint64][]byte
	leaf      []byte
	// bundle is the root, then each issuer, down to that of the leaf.
	bundle                     [][]byte
	publicKey, userData, nonce []byte
}

// payload is the document as it is encoded. ByteString takes byte strings and
// null, and not an array of numbers as []byte would.
type payload struct {
	ModuleID    string                     `cbor:"module_id"`
	Digest      string                     `cbor:"digest"`
	Timestamp   uint64                     `cbor:"timestamp"`
	PCRs        map[uint64]cbor.ByteString `cbor:"pcrs"`
	Certificate cbor.ByteString            `cbor:"certificate"`
	CABundle    []cbor.ByteString          `cbor:"cabundle"`
	PublicKey   cbor.ByteString            `cbor:"public_key"`
	UserData    cbor.ByteString            `cbor:"user_data"`
	Nonce       cbor.ByteString            `cbor:"nonce"`
}

// decoding refuses repeated and unknown members, tags, indefinite lengths and
// members in another case.
func decoding() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels: 4, MaxArrayElements: 16, MaxMapPairs: maxPCRs,
	}.DecMode()
}

// parse reads a document: an untagged COSE_Sign1 of exactly the recorded form.
// Nothing in it is authentic yet.
func parse(raw []byte) (*cose.UntaggedSign1Message, *document, error) {
	if len(raw) > maxEvidence {
		return nil, nil, fmt.Errorf("%d bytes, at most %d", len(raw), maxEvidence)
	}
	var m cose.UntaggedSign1Message
	if err := m.UnmarshalCBOR(raw); err != nil {
		return nil, nil, fmt.Errorf("COSE_Sign1: %w", err)
	}
	if !bytes.Equal(m.Headers.RawProtected, protectedHeader) {
		return nil, nil, fmt.Errorf("protected header is %x, expected %x (ES384 and nothing else)", m.Headers.RawProtected, protectedHeader)
	}
	if !bytes.Equal(m.Headers.RawUnprotected, unprotectedHeader) {
		return nil, nil, errors.New("there are unprotected headers, which nobody signed")
	}
	mode, err := decoding()
	if err != nil {
		return nil, nil, err
	}
	var p payload
	if err := mode.Unmarshal(m.Payload, &p); err != nil {
		return nil, nil, fmt.Errorf("payload: %w", err)
	}
	if err := p.check(); err != nil {
		return nil, nil, err
	}
	return &m, p.document(), nil
}

func (p *payload) check() error {
	switch {
	case !moduleName.MatchString(p.ModuleID):
		return fmt.Errorf("module_id %.32q is missing or no name", p.ModuleID)
	case p.Digest != digestName:
		return fmt.Errorf("digest is %.16q, expected %q", p.Digest, digestName)
	case p.Timestamp == 0 || p.Timestamp > maxTimestamp:
		return fmt.Errorf("timestamp %d is no time in milliseconds", p.Timestamp)
	case len(p.Certificate) == 0 || len(p.Certificate) > maxCertificate:
		return fmt.Errorf("certificate of %d bytes, expected 1 to %d", len(p.Certificate), maxCertificate)
	case len(p.CABundle) == 0 || len(p.CABundle) > maxAuthorities:
		return fmt.Errorf("cabundle of %d certificates, expected 1 to %d", len(p.CABundle), maxAuthorities)
	}
	for i, c := range p.CABundle {
		if len(c) == 0 || len(c) > maxAuthority {
			return fmt.Errorf("certificate %d of cabundle has %d bytes, expected 1 to %d", i, len(c), maxAuthority)
		}
	}
	for _, f := range []struct {
		name  string
		value cbor.ByteString
	}{{"public_key", p.PublicKey}, {"user_data", p.UserData}, {"nonce", p.Nonce}} {
		if len(f.value) > maxField {
			return fmt.Errorf("%s of %d bytes, at most %d", f.name, len(f.value), maxField)
		}
	}
	return p.checkPCRs()
}

// checkPCRs wants PCR0, PCR1 and PCR2, by which a debug enclave is known.
func (p *payload) checkPCRs() error {
	for _, i := range slices.Sorted(maps.Keys(p.PCRs)) {
		if i >= maxPCRs || len(p.PCRs[i]) != pcrSize {
			return fmt.Errorf("PCR%d of %d bytes, expected index 0 to %d and %d bytes", i, len(p.PCRs[i]), maxPCRs-1, pcrSize)
		}
	}
	for i := range uint64(imagePCRs) {
		if _, ok := p.PCRs[i]; !ok {
			return fmt.Errorf("there is no PCR%d", i)
		}
	}
	return nil
}

func (p *payload) document() *document {
	d := &document{
		moduleID: p.ModuleID, timestamp: time.UnixMilli(int64(p.Timestamp)).UTC(), pcrs: make(map[uint64][]byte, len(p.PCRs)),
		leaf: p.Certificate.Bytes(), publicKey: p.PublicKey.Bytes(), userData: p.UserData.Bytes(), nonce: p.Nonce.Bytes(),
	}
	for i, v := range p.PCRs {
		d.pcrs[i] = v.Bytes()
	}
	for _, c := range p.CABundle {
		d.bundle = append(d.bundle, c.Bytes())
	}
	return d
}
