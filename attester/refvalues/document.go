// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"crypto"
	"fmt"
	"net/url"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Profiles of CoRIMs (key 3 of corim-map): which environments and measurement
// keys a document uses.
const (
	// Profile is our own, for all kinds but AMD's.
	Profile = "tag:assize.dev,2026:corim#1"
	// ProfileAMD is that of draft-deeglaze-amd-sev-snp-corim-profile, for a
	// document that has only entries of AMDSNP.
	ProfileAMD = "tag:amd.com,2025:snp-corim-profile"
)

// SchemeSemver is the version scheme "semver" of CoSWID (RFC 9393).
const SchemeSemver = 16384

// Digest is one hash value.
type Digest struct {
	// Alg is the name in the IANA Named Information registry: "sha-256",
	// "sha-384" or "sha-512".
	Alg string
	// Value has the length of Alg: 32, 48 or 64 bytes.
	Value []byte
}

// Value is one measurement-map: a key, and what is expected there. At least one
// of the members below Key must be set.
type Value struct {
	// Key is the mkey: uint64 or a text that is not empty; nil for none.
	Key any
	// Version and, if not 0, its scheme (0 of measurement-values-map).
	Version       string
	VersionScheme int64
	// SVN is the exact security version number (tag 552), MinSVN the lowest
	// acceptable one (tag 553). At most one is set.
	SVN, MinSVN *uint64
	// Digests are of one object by several algorithms, not alternatives.
	Digests []Digest
	// Debug is the expected flag is-debug; nil says nothing about it.
	Debug *bool
	// Raw is a raw value, and RawMask, nil or of the same length, says which of
	// its bits matter.
	Raw, RawMask []byte
	// Name is the name of the element (11).
	Name string
	// Registers are the integrity registers by index.
	Registers map[uint64][]Digest
	// Repeat lets a value have the same key as another one: values of one key are
	// alternatives, as the software components of Arm's profiles.
	Repeat bool
	// Keys are cryptokeys (13) as bytes (tag 560): signer ids of Arm's profiles.
	Keys [][]byte
}

// Environment says what was measured; at least one member must be set.
type Environment struct {
	// ClassID is an OID in dotted form (tag 111), a UUID in its usual text form
	// (tag 37), or any other text, which is written as its bytes (tag 560).
	ClassID string
	// ClassBytes are an identifier that is no text (tag 560), instead of ClassID.
	ClassBytes []byte
	// Vendor and Model are free text, "" for none.
	Vendor, Model string
	// Layer and Index tell environments of one class apart; nil for none.
	Layer, Index *uint64
	// Instance identifies one device (tag 560), nil for all of the class.
	Instance []byte
	// UEID identifies one device by a UEID (tag 550), instead of Instance.
	UEID []byte
}

// Entry is one reference-value triple.
type Entry struct {
	Environment Environment
	// Values have different keys, unless they Repeat, and at most one has none.
	Values []Value
}

// KeyEntry is one attest-key triple: the key of one device, a trust anchor.
type KeyEntry struct {
	Environment Environment
	Key         crypto.PublicKey
}

// Document is one CoRIM with one CoMID.
type Document struct {
	// ID identifies the CoRIM and TagID the CoMID: any text; a UUID is written
	// as its 16 bytes.
	ID, TagID string
	// Creator is the name of who wrote the CoMID, CreatorURI where to find them.
	// Both may be empty, the URI alone may not be set.
	Creator, CreatorURI string
	// Profile is an absolute URI or "" for none.
	Profile string
	// NotBefore and NotAfter limit the validity of the whole, in seconds. Zero is
	// no limit, but NotBefore alone is an error.
	NotBefore, NotAfter time.Time
	// Entries are written in this order; at least one, unless there are Keys.
	Entries []Entry
	// Keys are written in this order.
	Keys []KeyEntry
}

// Numbers of draft-ietf-rats-corim and of CBOR itself.
const (
	tagEpoch  = 1
	tagURI    = 32
	tagUUID   = 37
	tagOID    = 111
	tagCorim  = 501
	tagComid  = 506
	tagSVN    = 552
	tagMinSVN = 553
	tagUEID   = 550
	tagKey    = 554
	tagBytes  = 560

	roleTagCreator = 0
)

type corimMap struct {
	ID       any        `cbor:"0,keyasint"`
	Tags     []cbor.Tag `cbor:"1,keyasint"`
	Profile  *cbor.Tag  `cbor:"3,keyasint,omitempty"`
	Validity *validity  `cbor:"4,keyasint,omitempty"`
}

type validity struct {
	NotBefore *cbor.Tag `cbor:"0,keyasint,omitempty"`
	NotAfter  cbor.Tag  `cbor:"1,keyasint"`
}

type comidTag struct {
	Identity struct {
		ID any `cbor:"0,keyasint"`
	} `cbor:"1,keyasint"`
	Entities []entity `cbor:"2,keyasint,omitempty"`
	Triples  struct {
		Reference []cbor.RawMessage `cbor:"0,keyasint,omitempty"`
		AttestKey []cbor.RawMessage `cbor:"3,keyasint,omitempty"`
	} `cbor:"4,keyasint"`
}

type entity struct {
	Name  string    `cbor:"0,keyasint"`
	RegID *cbor.Tag `cbor:"1,keyasint,omitempty"`
	Roles []int     `cbor:"2,keyasint"`
}

// Unsigned encodes d as tagged-unsigned-corim-map (tag 501, media type
// application/rim+cbor). It returns an error that names the entry and the key
// for a document that the draft does not allow.
func Unsigned(d Document) ([]byte, error) {
	mode, err := encoding()
	if err != nil {
		return nil, err
	}
	id, err := identifier("document", d.ID)
	if err != nil {
		return nil, err
	}
	comid, err := d.comid(mode)
	if err != nil {
		return nil, err
	}
	m := corimMap{ID: id, Tags: []cbor.Tag{{Number: tagComid, Content: comid}}}
	if d.Profile != "" {
		if m.Profile, err = uri(d.Profile); err != nil {
			return nil, err
		}
	}
	if m.Validity, err = period(d.NotBefore, d.NotAfter); err != nil {
		return nil, err
	}
	return marshal(mode, cbor.Tag{Number: tagCorim, Content: m})
}

// comid is the concise-mid-tag without its tag.
func (d Document) comid(mode cbor.EncMode) ([]byte, error) {
	var m comidTag
	var err error
	if m.Identity.ID, err = identifier("tag", d.TagID); err != nil {
		return nil, err
	}
	switch {
	case d.Creator != "":
		e := entity{Name: d.Creator, Roles: []int{roleTagCreator}}
		if d.CreatorURI != "" {
			if e.RegID, err = uri(d.CreatorURI); err != nil {
				return nil, err
			}
		}
		m.Entities = []entity{e}
	case d.CreatorURI != "":
		return nil, fmt.Errorf("refvalues: creator %q without a name", d.CreatorURI)
	}
	if len(d.Entries) == 0 && len(d.Keys) == 0 {
		return nil, fmt.Errorf("refvalues: document %q without entries", d.ID)
	}
	seen := map[string]bool{}
	for i, e := range d.Entries {
		raw, err := e.encode(mode)
		if err != nil {
			return nil, fmt.Errorf("refvalues: entry %d (%s): %w", i, e.Environment.describe(), err)
		}
		if !seen[string(raw)] {
			seen[string(raw)] = true
			m.Triples.Reference = append(m.Triples.Reference, raw)
		}
	}
	for i, k := range d.Keys {
		raw, err := k.encode(mode)
		if err != nil {
			return nil, fmt.Errorf("refvalues: key %d (%s): %w", i, k.Environment.describe(), err)
		}
		if !seen[string(raw)] {
			seen[string(raw)] = true
			m.Triples.AttestKey = append(m.Triples.AttestKey, raw)
		}
	}
	return marshal(mode, m)
}

func encoding() (cbor.EncMode, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("refvalues: %w", err)
	}
	return mode, nil
}

func marshal(mode cbor.EncMode, v any) ([]byte, error) {
	raw, err := mode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("refvalues: %w", err)
	}
	return raw, nil
}

// identifier is text, or the 16 bytes of a UUID.
func identifier(what, s string) (any, error) {
	if s == "" {
		return nil, fmt.Errorf("refvalues: %s without an identifier", what)
	}
	if id, ok := parseUUID(s); ok {
		return id, nil
	}
	return s, nil
}

func uri(s string) (*cbor.Tag, error) {
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() {
		return nil, fmt.Errorf("refvalues: %q is not an absolute URI", s)
	}
	return &cbor.Tag{Number: tagURI, Content: s}, nil
}

func period(from, until time.Time) (*validity, error) {
	if until.IsZero() {
		if !from.IsZero() {
			return nil, fmt.Errorf("refvalues: validity from %s without an end", from.UTC().Format(time.RFC3339))
		}
		return nil, nil
	}
	out := &validity{NotAfter: cbor.Tag{Number: tagEpoch, Content: until.Unix()}}
	if from.IsZero() {
		return out, nil
	}
	if until.Before(from) {
		return nil, fmt.Errorf("refvalues: validity ends %s, before it begins %s", until.UTC().Format(time.RFC3339), from.UTC().Format(time.RFC3339))
	}
	out.NotBefore = &cbor.Tag{Number: tagEpoch, Content: from.Unix()}
	return out, nil
}
