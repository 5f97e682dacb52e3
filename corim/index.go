// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Index is a set of documents, prepared for matching. It is immutable and safe
// for concurrent use; a new set is a new Index.
type Index struct {
	revision  string
	documents []*Document
	tags      []*activeTag
	conflicts []string

	references map[Environment]*references
	endorsed   map[Environment][]located[ValueTriple]
	series     map[Environment][]located[SeriesTriple]
	// conditional is by the environment of the first condition.
	conditional map[Environment][]located[ConditionalTriple]
	attestKeys  map[Environment][]located[KeyTriple]
	identities  map[Environment][]located[KeyTriple]
	software    map[Environment][]located[SoftwareTriple]
	membership  []located[DomainTriple]
	dependency  []located[DomainTriple]
}

// activeTag is a tag that is neither replaced nor out of force.
type activeTag struct {
	document *Document
	comid    *Comid
	// lists are the validities of the tag lists that it is in; nil if the
	// authority has no lists.
	lists []Period
}

// live tells whether the tag counts at time t.
func (a *activeTag) live(t time.Time) bool {
	return a.document.window.Contains(t) &&
		(a.lists == nil || slices.ContainsFunc(a.lists, func(p Period) bool { return p.Contains(t) }))
}

// located is a triple and where it stands.
type located[T any] struct {
	triple *T
	source Source
}

// references are the reference triples of one environment.
type references struct {
	triples []reference
	values  map[Key][]value
}

type reference struct {
	source   Source
	distinct int // how many different measurement keys
}

// value is one measurement of a reference triple.
type value struct {
	m      *Measurement
	triple int // in references.triples; ascending within one key
	print  fingerprint
}

// fingerprint is the beginning of a single digest, so that most values that do
// not match are passed over without being looked at. The zero fingerprint is of
// everything else, and says nothing.
type fingerprint struct {
	prefix uint64
	alg    uint8
}

func (v *Values) fingerprint() fingerprint {
	if len(v.Digests) != 1 || len(v.Digests[0].Value) < 8 {
		return fingerprint{}
	}
	d := v.Digests[0]
	return fingerprint{prefix: binary.BigEndian.Uint64(d.Value), alg: uint8(d.Alg.Number())}
}

// differs tells whether what f and g are of cannot match.
func (f fingerprint) differs(g fingerprint) bool { return f.alg != 0 && g.alg != 0 && f != g }

// Source is where a statement stands: document, tag, triple.
type Source struct {
	tag *activeTag
	// Kind and Index locate the triple in its tag.
	Kind  Kind
	Index int
}

// Document is the document.
func (s Source) Document() *Document { return s.tag.document }

// Tag is the identity of the CoMID.
func (s Source) Tag() TagIdentity { return s.tag.comid.Identity }

// Authority is the name of who has signed the document, "" if nobody has.
func (s Source) Authority() string {
	if v := s.tag.document.Authority; v != nil {
		return v.Name
	}
	return ""
}

// Values is the reference or endorsed triple that stands there, nil for a source
// of another kind. It must not be changed.
func (s Source) Values() *ValueTriple {
	switch {
	case s.tag == nil:
		return nil
	case s.Kind == Reference && s.Index < len(s.tag.comid.Reference):
		return &s.tag.comid.Reference[s.Index]
	case s.Kind == Endorsed && s.Index < len(s.tag.comid.Endorsed):
		return &s.tag.comid.Endorsed[s.Index]
	}
	return nil
}

// String is "document/tag/kind[index]", and who has signed it.
func (s Source) String() string {
	if s.tag == nil {
		return "nowhere"
	}
	who := "unsigned"
	if a := s.Authority(); a != "" {
		who = "by " + a
	}
	return fmt.Sprintf("%s/%s/%s[%d] (%s)", s.tag.document.ID, s.Tag(), s.Kind, s.Index, who)
}

// NewIndex prepares documents that Load has accepted; any other one is an error.
// The same document given twice counts once.
//
// Of tags with one identifier by one authority the highest version counts, and a
// tag that another one of the authority replaces does not. An authority that
// has tag lists speaks only by the tags in them. Membership or trust dependency
// that leads back to its beginning is a *CycleError.
func NewIndex(documents ...*Document) (*Index, error) {
	x := &Index{
		references: map[Environment]*references{}, endorsed: map[Environment][]located[ValueTriple]{},
		series: map[Environment][]located[SeriesTriple]{}, conditional: map[Environment][]located[ConditionalTriple]{},
		attestKeys: map[Environment][]located[KeyTriple]{}, identities: map[Environment][]located[KeyTriple]{},
		software: map[Environment][]located[SoftwareTriple]{},
	}
	for i, d := range documents {
		if d == nil || !d.accepted {
			return nil, fmt.Errorf("corim: document %d was not accepted by Load", i)
		}
	}
	x.documents = slices.Clone(documents)
	slices.SortFunc(x.documents, func(a, b *Document) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	x.documents = slices.CompactFunc(x.documents, func(a, b *Document) bool { return a.Digest == b.Digest })
	h := sha256.New()
	for _, d := range x.documents {
		h.Write(d.Digest[:])
	}
	x.revision = hex.EncodeToString(h.Sum(nil))
	x.activate()
	for _, t := range x.tags {
		x.add(t)
	}
	for _, g := range [][]located[DomainTriple]{x.membership, x.dependency} {
		if err := acyclic(g); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// Revision identifies the set: the SHA-256 of the sorted SHA-256 digests of the
// documents, in hexadecimal digits.
func (x *Index) Revision() string { return x.revision }

// Simulated tells whether the set has a document of an authority of simulated
// machines.
func (x *Index) Simulated() bool {
	return x != nil && slices.ContainsFunc(x.documents, func(d *Document) bool { return d.Authority != nil && d.Authority.Simulated })
}

// Documents are the documents, by their digest.
func (x *Index) Documents() []*Document { return slices.Clone(x.documents) }

// Conflicts lists tags of one authority that have the same identifier and
// version, and not the same content. Each counts.
func (x *Index) Conflicts() []string { return slices.Clone(x.conflicts) }

// tagName is a tag of an authority; version 0 in a map by identifier.
type tagName struct {
	authority string
	id        ID
	version   uint64
}

// activate fills x.tags.
func (x *Index) activate() {
	latest, replaced := map[tagName]uint64{}, map[tagName]bool{}
	contents := map[tagName][]byte{}
	lists := map[string]bool{}
	listed := map[tagName][]Period{}
	x.eachTag(func(who string, d *Document, t *Tag) {
		if l := t.List; l != nil {
			lists[who] = true
			for _, id := range l.Tags {
				n := tagName{who, id.ID, id.Version}
				listed[n] = append(listed[n], l.Validity.and(d.window))
			}
		}
		if t.Comid == nil {
			return
		}
		id := t.Comid.Identity
		n := tagName{authority: who, id: id.ID}
		latest[n] = max(latest[n], id.Version)
		for _, link := range t.Comid.Links {
			if link.Relation == Replaces && link.Tag != id.ID {
				replaced[tagName{authority: who, id: link.Tag}] = true
			}
		}
	})
	x.eachTag(func(who string, d *Document, t *Tag) {
		if t.Comid == nil {
			return
		}
		id := t.Comid.Identity
		n := tagName{authority: who, id: id.ID}
		full := tagName{who, id.ID, id.Version}
		if replaced[n] || id.Version < latest[n] || lists[who] && listed[full] == nil {
			return
		}
		if other, twice := contents[full]; twice && !bytes.Equal(other, t.Raw) {
			x.conflicts = append(x.conflicts, fmt.Sprintf("%s of %q has two contents, one in %s", id, who, d.ID))
		}
		contents[full] = t.Raw
		x.tags = append(x.tags, &activeTag{document: d, comid: t.Comid, lists: listed[full]})
	})
}

func (x *Index) eachTag(f func(who string, d *Document, t *Tag)) {
	for _, d := range x.documents {
		who := ""
		if d.Authority != nil {
			who = d.Authority.Name
		}
		for i := range d.Tags {
			f(who, d, &d.Tags[i])
		}
	}
}

// add files the triples of a tag.
func (x *Index) add(t *activeTag) {
	at := func(k Kind, i int) Source { return Source{tag: t, Kind: k, Index: i} }
	c := t.comid
	for i := range c.Reference {
		x.addReference(&c.Reference[i], at(Reference, i))
	}
	for i := range c.Endorsed {
		v := &c.Endorsed[i]
		x.endorsed[v.Environment] = append(x.endorsed[v.Environment], located[ValueTriple]{v, at(Endorsed, i)})
	}
	for i := range c.Series {
		v := &c.Series[i]
		e := v.Condition.Environment
		x.series[e] = append(x.series[e], located[SeriesTriple]{v, at(ConditionalSeries, i)})
	}
	for i := range c.Conditional {
		v := &c.Conditional[i]
		e := v.Conditions[0].Environment
		x.conditional[e] = append(x.conditional[e], located[ConditionalTriple]{v, at(ConditionalEndorsed, i)})
	}
	for i := range c.AttestKeys {
		v := &c.AttestKeys[i]
		x.attestKeys[v.Environment] = append(x.attestKeys[v.Environment], located[KeyTriple]{v, at(AttestKey, i)})
	}
	for i := range c.Identities {
		v := &c.Identities[i]
		x.identities[v.Environment] = append(x.identities[v.Environment], located[KeyTriple]{v, at(IdentityKey, i)})
	}
	for i := range c.Software {
		v := &c.Software[i]
		x.software[v.Environment] = append(x.software[v.Environment], located[SoftwareTriple]{v, at(Software, i)})
	}
	for i := range c.Membership {
		x.membership = append(x.membership, located[DomainTriple]{&c.Membership[i], at(Membership, i)})
	}
	for i := range c.Dependency {
		x.dependency = append(x.dependency, located[DomainTriple]{&c.Dependency[i], at(Dependency, i)})
	}
}

func (x *Index) addReference(v *ValueTriple, s Source) {
	r := x.references[v.Environment]
	if r == nil {
		r = &references{values: make(map[Key][]value, len(v.Measurements))}
		x.references[v.Environment] = r
	}
	n := len(r.triples)
	distinct := 0
	for i := range v.Measurements {
		m := &v.Measurements[i]
		list := r.values[m.Key]
		if len(list) == 0 || list[len(list)-1].triple != n {
			distinct++
		}
		r.values[m.Key] = append(list, value{triple: n, m: m, print: m.Value.fingerprint()})
	}
	r.triples = append(r.triples, reference{source: s, distinct: distinct})
}

// StatedKey is a key that a document states for an environment.
type StatedKey struct {
	// Key is as in the document.
	Key Typed
	// Element and AuthorizedBy are conditions of the statement.
	Element      Key
	AuthorizedBy []Typed
	Source       Source
	// Environment is the one that the document states the key for. It may have
	// fewer members than the one that was asked for.
	Environment Environment
}

// References are the reference triples about one of the environments that hold at
// time t, whatever they expect. Match is what decides; this is for schemes that
// have to explain a mismatch, or to find what a triple expects and evidence lacks.
func (x *Index) References(t time.Time, environments ...Environment) []Source {
	var buf [7]Environment
	var out []Source
	seen := map[Environment]bool{}
	for _, e := range environments {
		for _, v := range e.variants(buf[:]) {
			r := x.references[v]
			if r == nil || seen[v] {
				continue
			}
			seen[v] = true
			for i := range r.triples {
				if r.triples[i].source.tag.live(t) {
					out = append(out, r.triples[i].source)
				}
			}
		}
	}
	return out
}

// AttestKeys are the keys that documents state for evidence of one of the
// environments, at time t: trust anchors.
func (x *Index) AttestKeys(t time.Time, environments ...Environment) []StatedKey {
	return stated(x.attestKeys, t, environments)
}

// IdentityKeys are the keys that documents state as device identities of one of
// the environments, at time t.
func (x *Index) IdentityKeys(t time.Time, environments ...Environment) []StatedKey {
	return stated(x.identities, t, environments)
}

func stated(by map[Environment][]located[KeyTriple], t time.Time, environments []Environment) []StatedKey {
	var out []StatedKey
	for _, k := range find(by, t, environments) {
		for _, key := range k.triple.Keys {
			out = append(out, StatedKey{key, k.triple.Element, k.triple.AuthorizedBy, k.source, k.triple.Environment})
		}
	}
	return out
}

// SoftwareTags are the software tags that documents link to one of the
// environments, at time t.
func (x *Index) SoftwareTags(t time.Time, environments ...Environment) []ID {
	var out []ID
	for _, s := range find(x.software, t, environments) {
		out = append(out, s.triple.Tags...)
	}
	return out
}

// find lists the triples whose environment covers one of the environments.
func find[T any](by map[Environment][]located[T], t time.Time, environments []Environment) []located[T] {
	var buf [7]Environment
	var out []located[T]
	seen := map[Environment]bool{}
	for _, e := range environments {
		for _, v := range e.variants(buf[:]) {
			if seen[v] {
				continue
			}
			seen[v] = true
			for _, l := range by[v] {
				if l.source.tag.live(t) {
					out = append(out, l)
				}
			}
		}
	}
	return out
}
