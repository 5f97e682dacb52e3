// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

type environmentMap struct {
	Class    *classMap `cbor:"0,keyasint,omitempty"`
	Instance *cbor.Tag `cbor:"1,keyasint,omitempty"`
}

type classMap struct {
	ID     *cbor.Tag `cbor:"0,keyasint,omitempty"`
	Vendor string    `cbor:"1,keyasint,omitempty"`
	Model  string    `cbor:"2,keyasint,omitempty"`
	Layer  *uint64   `cbor:"3,keyasint,omitempty"`
	Index  *uint64   `cbor:"4,keyasint,omitempty"`
}

type measurementMap struct {
	Key   any  `cbor:"0,keyasint,omitempty"`
	Value mval `cbor:"1,keyasint"`
}

type mval struct {
	Version   *version            `cbor:"0,keyasint,omitempty"`
	SVN       *cbor.Tag           `cbor:"1,keyasint,omitempty"`
	Digests   []digest            `cbor:"2,keyasint,omitempty"`
	Flags     *flags              `cbor:"3,keyasint,omitempty"`
	Raw       *cbor.Tag           `cbor:"4,keyasint,omitempty"`
	Mask      []byte              `cbor:"5,keyasint,omitempty"`
	Name      string              `cbor:"11,keyasint,omitempty"`
	Keys      []cbor.Tag          `cbor:"13,keyasint,omitempty"`
	Registers map[uint64][]digest `cbor:"14,keyasint,omitempty"`
}

type version struct {
	Version string `cbor:"0,keyasint"`
	Scheme  int64  `cbor:"1,keyasint,omitempty"`
}

type flags struct {
	Debug bool `cbor:"3,keyasint"`
}

type digest struct {
	_     struct{} `cbor:",toarray"`
	Alg   uint64
	Value []byte
}

// encode gives the reference-triple-record: environment and measurements.
func (e Entry) encode(mode cbor.EncMode) ([]byte, error) {
	env, err := e.Environment.encode()
	if err != nil {
		return nil, err
	}
	if len(e.Values) == 0 {
		return nil, errors.New("no values")
	}
	seen := map[any]bool{}
	list := make([]measurementMap, 0, len(e.Values))
	for _, v := range e.Values {
		m, err := v.encode()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.describe(), err)
		}
		if seen[m.Key] && !v.Repeat {
			return nil, fmt.Errorf("%s: twice", v.describe())
		}
		seen[m.Key] = true
		list = append(list, m)
	}
	return marshal(mode, []any{env, list})
}

// encode gives the attest-key-triple-record: environment and one key as PEM.
func (k KeyEntry) encode(mode cbor.EncMode) ([]byte, error) {
	env, err := k.Environment.encode()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(k.Key)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSuffix(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "\n")
	return marshal(mode, []any{env, []any{cbor.Tag{Number: tagKey, Content: text}}})
}

func (e Environment) describe() string {
	return strings.Join([]string{e.ClassID + hex.EncodeToString(e.ClassBytes), e.Vendor, e.Model, hex.EncodeToString(e.Instance) + hex.EncodeToString(e.UEID)}, "/")
}

func (e Environment) encode() (environmentMap, error) {
	var out environmentMap
	class := classMap{Vendor: e.Vendor, Model: e.Model, Layer: e.Layer, Index: e.Index}
	if e.ClassID != "" {
		id, err := classID(e.ClassID)
		if err != nil {
			return out, err
		}
		class.ID = id
	}
	if len(e.ClassBytes) != 0 {
		if class.ID != nil {
			return out, errors.New("two identifiers of one class")
		}
		class.ID = &cbor.Tag{Number: tagBytes, Content: e.ClassBytes}
	}
	if class != (classMap{}) {
		out.Class = &class
	}
	if len(e.Instance) != 0 {
		out.Instance = &cbor.Tag{Number: tagBytes, Content: e.Instance}
	}
	if len(e.UEID) != 0 {
		if out.Instance != nil {
			return out, errors.New("two identifiers of one instance")
		}
		out.Instance = &cbor.Tag{Number: tagUEID, Content: e.UEID}
	}
	if out == (environmentMap{}) {
		return out, errors.New("environment is empty")
	}
	return out, nil
}

func classID(s string) (*cbor.Tag, error) {
	if id, ok := parseUUID(s); ok {
		return &cbor.Tag{Number: tagUUID, Content: id}, nil
	}
	if !strings.Contains(s, ".") || strings.Trim(s, "0123456789.") != "" {
		return &cbor.Tag{Number: tagBytes, Content: []byte(s)}, nil
	}
	var oid asn1.ObjectIdentifier
	for arc := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseInt(arc, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("class id %q is not an OID: %w", s, err)
		}
		oid = append(oid, int(n))
	}
	der, err := asn1.Marshal(oid)
	if err != nil {
		return nil, fmt.Errorf("class id %q is not an OID: %w", s, err)
	}
	var raw asn1.RawValue
	if _, err := asn1.Unmarshal(der, &raw); err != nil {
		return nil, fmt.Errorf("class id %q is not an OID: %w", s, err)
	}
	return &cbor.Tag{Number: tagOID, Content: raw.Bytes}, nil // RFC 9090: without tag and length
}

// parseUUID takes 8-4-4-4-12 hexadecimal digits (RFC 9562).
func parseUUID(s string) ([]byte, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return nil, false
	}
	id, err := hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	return id, err == nil
}

func (v Value) describe() string {
	if v.Key == nil {
		return "value without a key"
	}
	return fmt.Sprintf("value %v", v.Key)
}

func (v Value) encode() (measurementMap, error) {
	out := measurementMap{Key: v.Key}
	switch key := v.Key.(type) {
	case nil, uint64:
	case string:
		if key == "" {
			return out, errors.New("key is an empty text")
		}
	default:
		return out, fmt.Errorf("key is %T, not uint64 or string", v.Key)
	}
	set, err := v.fill(&out.Value)
	if err == nil && !set {
		err = errors.New("nothing is expected")
	}
	return out, err
}

// fill sets the members of m and tells whether there are any.
func (v Value) fill(m *mval) (set bool, err error) {
	if v.Version != "" {
		m.Version = &version{v.Version, v.VersionScheme}
	}
	switch {
	case v.SVN != nil && v.MinSVN != nil:
		return false, errors.New("an exact and a lowest security version number")
	case v.SVN != nil:
		m.SVN = &cbor.Tag{Number: tagSVN, Content: *v.SVN}
	case v.MinSVN != nil:
		m.SVN = &cbor.Tag{Number: tagMinSVN, Content: *v.MinSVN}
	}
	if v.Debug != nil {
		m.Flags = &flags{*v.Debug}
	}
	if v.Raw != nil {
		m.Raw = &cbor.Tag{Number: tagBytes, Content: v.Raw}
	}
	if v.RawMask != nil && (v.Raw == nil || len(v.RawMask) != len(v.Raw)) {
		return false, fmt.Errorf("mask has %d bytes, the raw value %d", len(v.RawMask), len(v.Raw))
	}
	m.Mask, m.Name = v.RawMask, v.Name
	for _, k := range v.Keys {
		m.Keys = append(m.Keys, cbor.Tag{Number: tagBytes, Content: k})
	}
	if m.Digests, err = digests(v.Digests); err != nil {
		return false, err
	}
	for index, list := range v.Registers {
		if m.Registers == nil {
			m.Registers = map[uint64][]digest{}
		}
		if len(list) == 0 {
			return false, fmt.Errorf("register %d without digests", index)
		}
		if m.Registers[index], err = digests(list); err != nil {
			return false, fmt.Errorf("register %d: %w", index, err)
		}
	}
	set = m.Version != nil || m.SVN != nil || m.Digests != nil || m.Flags != nil || m.Raw != nil || m.Name != "" || m.Registers != nil || m.Keys != nil
	return set, nil
}

// digests checks lengths and replaces names by numbers (IANA Named
// Information).
func digests(list []Digest) ([]digest, error) {
	var out []digest
	for _, d := range list {
		var id uint64
		var size int
		switch d.Alg {
		case "sha-256":
			id, size = 1, 32
		case "sha-384":
			id, size = 7, 48
		case "sha-512":
			id, size = 8, 64
		default:
			return nil, fmt.Errorf("digest algorithm %q is not sha-256, sha-384 or sha-512", d.Alg)
		}
		if len(d.Value) != size {
			return nil, fmt.Errorf("%s digest has %d bytes, not %d", d.Alg, len(d.Value), size)
		}
		for _, other := range out {
			if other.Alg == id {
				return nil, fmt.Errorf("two %s digests of one object", d.Alg)
			}
		}
		out = append(out, digest{Alg: id, Value: d.Value})
	}
	return out, nil
}
