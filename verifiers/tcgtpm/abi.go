// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/strictjson"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/tpm"
)

const (
	maxCerts = 8
	maxCert  = 16 << 10 // bytes
)

// failure is why evidence proves nothing.
type failure struct{ code, detail string }

func failf(code, format string, a ...any) *failure {
	return &failure{code, fmt.Sprintf(format, a...)}
}

// leaf are the members of evidence (schemas/tpm-evidence.cddl).
type leaf struct {
	quote     []byte
	signature []byte
	bank      bankName
	pcrs      map[int][]byte
	public    []byte
	certs     [][]byte // nil without
	log       []byte   // nil without
}

// bankName is how evidence calls a bank of registers.
type bankName string

// hash is that of a bank, 0 for one that is not read.
func (b bankName) hash() crypto.Hash {
	return map[bankName]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}[b]
}

// open reads a leaf by its media type; contents never decide which form it is.
func open(in verifiers.Input) (*leaf, *failure) {
	if len(in.Evidence) > maxEvidence {
		return nil, failf(verdict.ReasonTooLarge, "evidence has %d bytes, at most %d", len(in.Evidence), maxEvidence)
	}
	var l *leaf
	var err error
	switch in.MediaType.Base {
	case typeCBOR:
		l, err = openCBOR(in.Evidence)
	case typeJSON:
		l, err = openJSON(in.Evidence)
	default:
		err = fmt.Errorf("media type %s is not one of this scheme", in.MediaType.Base)
	}
	if err == nil {
		err = l.check()
	}
	if err != nil {
		return nil, failf(verdict.ReasonMalformed, "TPM evidence: %v", err)
	}
	return l, nil
}

// check looks at what is the same in both forms.
func (l *leaf) check() error {
	for _, m := range []struct {
		name  string
		value []byte
		most  int
	}{{"quote", l.quote, tpm.MaxQuote}, {"signature", l.signature, tpm.MaxSignature}, {"ak_public", l.public, tpm.MaxPublic}} {
		if len(m.value) == 0 || len(m.value) > m.most {
			return fmt.Errorf("member %q is missing or has %d bytes, 1 to %d are possible", m.name, len(m.value), m.most)
		}
	}
	if l.bank.hash() == 0 || len(l.pcrs) == 0 {
		return errors.New(`member "pcrs" has no bank of registers, sha256, sha384 or sha512`)
	}
	for i, c := range l.certs {
		if len(c) == 0 || len(c) > maxCert {
			return fmt.Errorf("certificate %d has %d bytes, 1 to %d are possible", i, len(c), maxCert)
		}
	}
	switch {
	case l.certs != nil && len(l.certs) == 0, len(l.certs) > maxCerts:
		return fmt.Errorf(`member "ak_certificate" has %d certificates, 1 to %d are possible`, len(l.certs), maxCerts)
	case l.log != nil && len(l.log) == 0:
		return errors.New(`member "event_log" is empty`)
	}
	return nil
}

// setPCRs takes the only bank.
func setPCRs[V any](l *leaf, banks map[string]V, values func(V) (map[int][]byte, error)) error {
	if len(banks) != 1 {
		return fmt.Errorf(`member "pcrs" has %d banks, a quote has one`, len(banks))
	}
	for name, v := range banks {
		l.bank = bankName(name)
		var err error
		if l.pcrs, err = values(v); err != nil {
			return fmt.Errorf("bank %.16q: %w", name, err)
		}
	}
	if len(l.pcrs) > tpm.PCRCount {
		return fmt.Errorf("%d registers, a bank has %d", len(l.pcrs), tpm.PCRCount)
	}
	return nil
}

// octets is a CBOR byte string and nothing else: the decoder would also take an
// array of small numbers.
type octets []byte

var errNoOctets = errors.New("not a byte string")

// UnmarshalCBOR implements cbor.Unmarshaler.
func (o *octets) UnmarshalCBOR(raw []byte) error {
	const byteString = 2
	if len(raw) == 0 || raw[0]>>5 != byteString {
		return errNoOctets
	}
	return cbor.Unmarshal(raw, (*[]byte)(o))
}

// wire is the CBOR form. A member that must be there is nil if it is not.
type wire struct {
	Quote     octets                       `cbor:"quote"`
	Signature octets                       `cbor:"signature"`
	PCRs      map[string]map[uint64]octets `cbor:"pcrs"`
	Public    octets                       `cbor:"ak_public"`
	Certs     []octets                     `cbor:"ak_certificate"`
	Log       octets                       `cbor:"event_log"`
}

// strictCBOR refuses duplicate and unknown members, tags and indefinite lengths.
func strictCBOR() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxNestedLevels: 4, MaxArrayElements: 16, MaxMapPairs: 32,
	}.DecMode()
}

func openCBOR(raw []byte) (*leaf, error) {
	mode, err := strictCBOR()
	if err != nil {
		return nil, err
	}
	const mapHead = 5
	if len(raw) == 0 || raw[0]>>5 != mapHead {
		return nil, errors.New("not a CBOR map")
	}
	var w wire
	if err := mode.Unmarshal(raw, &w); err != nil {
		return nil, err
	}
	l := &leaf{quote: w.Quote, signature: w.Signature, public: w.Public, log: w.Log}
	if w.Certs != nil {
		l.certs = make([][]byte, 0, len(w.Certs))
		for _, c := range w.Certs {
			l.certs = append(l.certs, c)
		}
	}
	return l, setPCRs(l, w.PCRs, func(m map[uint64]octets) (map[int][]byte, error) {
		out := make(map[int][]byte, len(m))
		for pcr, v := range m {
			if pcr >= tpm.PCRCount {
				return nil, fmt.Errorf("there is no PCR %d", pcr)
			}
			out[int(pcr)] = v
		}
		return out, nil
	})
}

func openJSON(raw []byte) (*leaf, error) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return nil, err
	}
	l := &leaf{}
	for name, value := range members {
		switch name {
		case "quote":
			l.quote, err = base64url(value)
		case "signature":
			l.signature, err = base64url(value)
		case "ak_public":
			l.public, err = base64url(value)
		case "event_log":
			l.log, err = base64url(value)
		case "ak_certificate":
			err = l.jsonCerts(value)
		case "pcrs":
			err = l.jsonPCRs(value)
		default:
			err = errors.New("unknown member")
		}
		if err != nil {
			return nil, fmt.Errorf("member %.64q: %w", name, err)
		}
	}
	return l, nil
}

func (l *leaf) jsonCerts(raw json.RawMessage) error {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	l.certs = make([][]byte, 0, len(list))
	for i, text := range list {
		der, err := base64url(text)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", i, err)
		}
		l.certs = append(l.certs, der)
	}
	return nil
}

func (l *leaf) jsonPCRs(raw json.RawMessage) error {
	banks, err := strictjson.Members(raw)
	if err != nil {
		return err
	}
	return setPCRs(l, banks, func(raw json.RawMessage) (map[int][]byte, error) {
		members, err := strictjson.Members(raw)
		if err != nil {
			return nil, err
		}
		out := make(map[int][]byte, len(members))
		for name, text := range members {
			pcr, err := strconv.Atoi(name)
			if err != nil || pcr < 0 || pcr >= tpm.PCRCount || strconv.Itoa(pcr) != name {
				return nil, fmt.Errorf("there is no PCR %.16q", name)
			}
			if out[pcr], err = base64url(text); err != nil {
				return nil, fmt.Errorf("PCR %d: %w", pcr, err)
			}
		}
		return out, nil
	})
}

// base64url decodes a JSON string of RFC 4648 section 5 without padding. The
// decoder of encoding/base64 skips line breaks; here they are errors.
func base64url(raw json.RawMessage) ([]byte, error) {
	var s string
	if len(raw) == 0 || raw[0] != '"' {
		return nil, errors.New("not a string")
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, fmt.Errorf("line break at character %d of the base64url", i)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
