// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// ID identifies a document or a tag: a text, or the 16 bytes of a UUID. It can
// be a key of a map.
type ID struct {
	// Text is the identifier, or "" if it is a UUID.
	Text string
	// UUID is meaningful if Text is "".
	UUID [16]byte
}

// String is the text, or the UUID in its usual form (RFC 9562).
func (id ID) String() string {
	if id.Text != "" {
		return id.Text
	}
	h := hex.EncodeToString(id.UUID[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Period is a time span in whole seconds, ends included. A zero end is open.
type Period struct {
	NotBefore, NotAfter time.Time
}

// Contains tells whether t is inside.
func (p Period) Contains(t time.Time) bool {
	return (p.NotBefore.IsZero() || !t.Before(p.NotBefore)) && (p.NotAfter.IsZero() || !t.After(p.NotAfter))
}

// String shows both ends in RFC 3339, "…" for an open one.
func (p Period) String() string {
	show := func(t time.Time) string {
		if t.IsZero() {
			return "…"
		}
		return t.UTC().Format(time.RFC3339)
	}
	return show(p.NotBefore) + " to " + show(p.NotAfter)
}

// Extension is a member of a map that the draft does not define, as it came.
type Extension struct {
	// Key is the number of the member.
	Key int64
	// Raw is its value as CBOR. It has no duplicate keys.
	Raw []byte
}

// Entity is an organization and what it did (entity-map).
type Entity struct {
	Name string
	// RegID is a URI, "" if absent.
	RegID string
	// Roles are of CoRIM (1 manifest creator, 2 manifest signer) or of CoMID (0
	// tag creator, 1 creator, 2 maintainer).
	Roles      []int64
	Extensions []Extension
}

// Locator names another CoRIM that this one depends on (corim-locator-map). It
// is recorded; nothing is fetched.
type Locator struct {
	// Hrefs are alternatives.
	Hrefs []string
	// Thumbprints are digests of the other document, alternatives by algorithm.
	Thumbprints []Digest
}

// Document is one CoRIM with everything in it. It is immutable: Load and Parse
// return it complete, and slices in it share the memory of Raw.
type Document struct {
	ID ID
	// Tags are in the order of the document.
	Tags []Tag
	// Dependents are the documents that this one depends on.
	Dependents []Locator
	// Profile is a URI, or an OID in dotted form, or "".
	Profile string
	// Validity is rim-validity, open on both sides if absent.
	Validity   Period
	Entities   []Entity
	Extensions []Extension

	// Raw is the document as it came, with its signature, and Digest its SHA-256.
	Raw    []byte
	Digest [sha256.Size]byte
	// Signature is nil for an unsigned document.
	Signature *Signature
	// Authority is who speaks, as Load found it; nil after Parse, and for an
	// unsigned document that Load was told to accept.
	Authority *Voucher

	accepted bool // Load has checked signature, scope, time and profile
	window   Period
}

// Signed tells whether a trusted authority has signed the document.
func (d *Document) Signed() bool { return d.Authority != nil }

// Tag is one tag of a document: exactly one of Comid, Coswid and List is set, or
// none for a kind that is kept but not read, as CoTS (507).
type Tag struct {
	// Number is the CBOR tag: 505, 506, 507 or 508.
	Number uint64
	Comid  *Comid
	Coswid *Coswid
	List   *List
	// Raw is the content of the tag, without it.
	Raw []byte
}

// CBOR tags of the tags of a CoRIM.
const (
	TagCorim  = 501
	TagCoswid = 505
	TagComid  = 506
	TagCots   = 507
	TagCotl   = 508
)

// TagIdentity names a tag and its revision.
type TagIdentity struct {
	ID      ID
	Version uint64
}

// String is "id v2", without "v0".
func (t TagIdentity) String() string {
	if t.Version == 0 {
		return t.ID.String()
	}
	return fmt.Sprintf("%s v%d", t.ID, t.Version)
}

// Coswid is a software tag (RFC 9393). Only what links to it is read.
type Coswid struct {
	Identity TagIdentity
	// Name and Version of the software, "" if absent.
	Name, Version string
}

// List says which tags are in force (concise-tl-tag): an authority that has
// lists speaks only by the tags in them.
type List struct {
	Identity TagIdentity
	Tags     []TagIdentity
	Validity Period
}

// Relation of a tag to another one.
const (
	Supplements = 0
	Replaces    = 1
)

// Link is a typed relation to another tag (linked-tag-map).
type Link struct {
	Tag      ID
	Relation int64 // Supplements or Replaces
}

// Comid is a module tag (concise-mid-tag): its triples by kind.
type Comid struct {
	Language   string
	Identity   TagIdentity
	Entities   []Entity
	Links      []Link
	Extensions []Extension

	Reference   []ValueTriple
	Endorsed    []ValueTriple
	Identities  []KeyTriple
	AttestKeys  []KeyTriple
	Dependency  []DomainTriple
	Membership  []DomainTriple
	Software    []SoftwareTriple
	Series      []SeriesTriple
	Conditional []ConditionalTriple
	// Unknown are triples of kinds that the draft does not define. They say
	// nothing here (non-profile extensions are ignored).
	Unknown []Extension
}

// Kind is the kind of a triple: its key in triples-map.
type Kind byte

// Kinds of triples. Dependency is called trust dependency in newer drafts
// (decision D-61).
const (
	Reference           Kind = 0
	Endorsed            Kind = 1
	IdentityKey         Kind = 2
	AttestKey           Kind = 3
	Dependency          Kind = 4
	Membership          Kind = 5
	Software            Kind = 6
	ConditionalSeries   Kind = 8
	ConditionalEndorsed Kind = 10
)

var kindNames = [...]string{
	Reference: "reference-triples", Endorsed: "endorsed-triples", IdentityKey: "identity-triples", AttestKey: "attest-key-triples",
	Dependency: "dependency-triples", Membership: "membership-triples", Software: "coswid-triples",
	ConditionalSeries: "conditional-endorsement-series-triples", ConditionalEndorsed: "conditional-endorsement-triples",
}

// String is the name in the draft.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("triples %d", byte(k))
}

// ValueTriple is an environment and measurements of it: a reference triple, an
// endorsed triple, or a condition (stateful environment).
type ValueTriple struct {
	Environment  Environment
	Measurements []Measurement
}

// KeyTriple is an environment and its keys: identity or attest-key triple.
type KeyTriple struct {
	Environment Environment
	Keys        []Typed
	// Element and AuthorizedBy are conditions; both may be absent.
	Element      Key
	AuthorizedBy []Typed
}

// DomainTriple is a domain with its members, or a subject with its trustees.
type DomainTriple struct {
	Domain  Environment
	Members []Environment
}

// SoftwareTriple links an environment to software tags.
type SoftwareTriple struct {
	Environment Environment
	Tags        []ID
}

// SeriesTriple endorses by the first of a series of selections that holds.
type SeriesTriple struct {
	Condition ValueTriple
	// AuthorizedBy must all have vouched for what the condition matches.
	AuthorizedBy []Typed
	Series       []SeriesEntry
}

// SeriesEntry is a selection and what it adds.
type SeriesEntry struct {
	Selection, Addition []Measurement
}

// ConditionalTriple endorses if all conditions hold, which may be about several
// environments.
type ConditionalTriple struct {
	Conditions   []ValueTriple
	Endorsements []ValueTriple
}
