// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

// Quad is a triple and who vouches for it.
type Quad[T corim.ValueTriple | corim.KeyTriple | corim.ConditionalTriple] struct {
	// Authorities are at least one key, certificate or thumbprint.
	Authorities []corim.Typed
	Triple      T
}

// Store is a list of trust anchors (CoTS, 507) and who vouches for it. The draft
// leaves open what it looks like, so it is kept as it came.
type Store struct {
	Authorities []corim.Typed
	Raw         []byte
}

// Record is a document with its media type (CBOR record of a CMW,
// draft-ietf-rats-msg-wrap).
type Record struct {
	// MediaType is the type; "" if ContentFormat stands for it.
	MediaType     string
	ContentFormat uint16
	// Value are the bytes of the document.
	Value []byte
	// Indicator says what kinds of messages are in it, 0 if absent.
	Indicator uint64
}

// NamedRecord is a document of a result by identifier. Name is the identifier:
// the text, or the usual form of a UUID, since names in a CMW collection are
// texts.
type NamedRecord struct {
	Name string
	Record
}

// ResultSet is the answer to a query. Of the lists only those can be set that
// the query asks for.
type ResultSet struct {
	// Reference, Endorsed, Conditional, AttestKeys and Stores are collected
	// statements (rvq, evq, ceq, akq, tas).
	Reference   []Quad[corim.ValueTriple]
	Endorsed    []Quad[corim.ValueTriple]
	Conditional []Quad[corim.ConditionalTriple]
	AttestKeys  []Quad[corim.KeyTriple]
	Stores      []Store
	// RIMs are documents by identifier.
	RIMs []NamedRecord
	// Expiry is the last second in which any of this holds.
	Expiry time.Time
	// Sources are documents from which the statements were taken.
	Sources []Record
}

// Members of a result set.
const (
	keyReference   = 0
	keyEndorsed    = 1
	keyConditional = 2
	keyAttestKeys  = 3
	keyStores      = 4
	keyRIMs        = 5
	keyExpiry      = 10
	keySources     = 11
)

const tagDateTime = 0

// quadKeys are the members for statements of each artifact type.
var quadKeys = map[ArtifactType][]int64{
	ReferenceValues: {keyReference}, EndorsedValues: {keyEndorsed, keyConditional}, TrustAnchors: {keyAttestKeys, keyStores},
}

// allowed are the members that the result of a query can have besides expiry.
func allowed(q *Query) []int64 {
	if q.ByRIM() {
		return []int64{keyRIMs}
	}
	out := append([]int64{}, quadKeys[q.Artifacts]...) // empty lists may stand beside sources
	if q.Results != Collected {
		out = append(out, keySources)
	}
	return out
}

// item is the map of a result set for a query.
func (s *ResultSet) item(q *Query) (map[int64]any, error) {
	if s.Expiry.IsZero() || s.Expiry.Nanosecond() != 0 {
		return nil, errors.New("coserv: expiry is not a time in whole seconds")
	}
	all := map[int64]any{keyExpiry: cbor.Tag{Number: tagDateTime, Content: s.Expiry.UTC().Format(time.RFC3339)}}
	var err error
	add := func(key int64, list []any, e error) {
		if e != nil && err == nil {
			err = e
		}
		if len(list) > 0 {
			all[key] = list
		}
	}
	list, e := quadItems(s.Reference)
	add(keyReference, list, e)
	list, e = quadItems(s.Endorsed)
	add(keyEndorsed, list, e)
	list, e = quadItems(s.Conditional)
	add(keyConditional, list, e)
	list, e = quadItems(s.AttestKeys)
	add(keyAttestKeys, list, e)
	list, e = storeItems(s.Stores)
	add(keyStores, list, e)
	add(keySources, recordItems(s.Sources), nil)
	if err != nil {
		return nil, err
	}
	if q.ByRIM() {
		rims := map[string]any{}
		for _, n := range s.RIMs {
			rims[n.Name] = n.item()
		}
		if len(rims) != len(s.RIMs) {
			return nil, errors.New("coserv: two documents for one identifier")
		}
		all[keyRIMs] = rims
	} else if len(s.RIMs) > 0 {
		return nil, errors.New("coserv: documents by identifier for a query by environment")
	}
	// Empty lists of statements say that there are none; there is no way to write
	// an empty list of sources.
	if !q.ByRIM() && (q.Results != SourceArtifacts || len(s.Sources) == 0) {
		for _, k := range quadKeys[q.Artifacts] {
			if _, ok := all[k]; !ok {
				all[k] = []any{}
			}
		}
	}
	return all, nil
}

func quadItems[T corim.ValueTriple | corim.KeyTriple | corim.ConditionalTriple](list []Quad[T]) ([]any, error) {
	out := make([]any, 0, len(list))
	for i, q := range list {
		keys, err := corim.EncodeFragment(q.Authorities)
		if err != nil {
			return nil, fmt.Errorf("coserv: statement %d: authorities: %w", i, err)
		}
		triple, err := corim.EncodeFragment(q.Triple)
		if err != nil {
			return nil, fmt.Errorf("coserv: statement %d: %w", i, err)
		}
		out = append(out, map[int64]any{1: cbor.RawMessage(keys), 2: cbor.RawMessage(triple)})
	}
	return out, nil
}

func storeItems(list []Store) ([]any, error) {
	out := make([]any, 0, len(list))
	for i, s := range list {
		keys, err := corim.EncodeFragment(s.Authorities)
		if err != nil {
			return nil, fmt.Errorf("coserv: trust anchor store %d: authorities: %w", i, err)
		}
		out = append(out, map[int64]any{1: cbor.RawMessage(keys), 2: cbor.RawMessage(s.Raw)})
	}
	return out, nil
}

func recordItems(list []Record) []any {
	out := make([]any, 0, len(list))
	for _, r := range list {
		out = append(out, r.item())
	}
	return out
}

func (r Record) item() []any {
	out := []any{r.MediaType, r.Value}
	if r.MediaType == "" {
		out[0] = r.ContentFormat
	}
	if r.Indicator != 0 {
		out = append(out, r.Indicator)
	}
	return out
}

func (r reader) results(raw []byte, q *Query) (*ResultSet, error) {
	m, err := r.members("result", raw, []int64{keyExpiry}, allowed(q))
	if err != nil {
		return nil, err
	}
	s := new(ResultSet)
	if s.Expiry, err = r.dateTime(m[keyExpiry]); err != nil {
		return nil, err
	}
	if q.ByRIM() {
		rims, ok := m[keyRIMs]
		if !ok {
			return nil, errors.New("coserv: result for identifiers without documents")
		}
		s.RIMs, err = r.namedRecords(rims, q)
		return s, err
	}
	if len(m) == 1 {
		return nil, errors.New("coserv: result with nothing but an expiry")
	}
	if err := r.statements(s, m); err != nil {
		return nil, err
	}
	if n := len(s.Reference) + len(s.Endorsed) + len(s.Conditional) + len(s.AttestKeys) + len(s.Stores); q.Results == SourceArtifacts && n > 0 {
		return nil, errors.New("coserv: result has statements, and only documents were asked for")
	}
	if sources, ok := m[keySources]; ok {
		list, err := r.array("source artifacts", sources, 0, limits.CoservSources)
		if err != nil {
			return nil, err
		}
		for i, raw := range list {
			rec, err := r.record(raw)
			if err != nil {
				return nil, fmt.Errorf("coserv: source artifact %d: %w", i, err)
			}
			s.Sources = append(s.Sources, rec)
		}
	}
	return s, nil
}

func (r reader) statements(s *ResultSet, m members) (err error) {
	if s.Reference, err = quads[corim.ValueTriple](r, m[keyReference]); err != nil {
		return err
	}
	if s.Endorsed, err = quads[corim.ValueTriple](r, m[keyEndorsed]); err != nil {
		return err
	}
	if s.Conditional, err = quads[corim.ConditionalTriple](r, m[keyConditional]); err != nil {
		return err
	}
	if s.AttestKeys, err = quads[corim.KeyTriple](r, m[keyAttestKeys]); err != nil {
		return err
	}
	return r.eachQuad(m[keyStores], func(authorities []corim.Typed, raw []byte) error {
		var content any
		if err := r.item("trust anchor store", raw, &content); err != nil {
			return err
		}
		s.Stores = append(s.Stores, Store{authorities, raw})
		return nil
	})
}

func quads[T corim.ValueTriple | corim.KeyTriple | corim.ConditionalTriple](r reader, raw []byte) ([]Quad[T], error) {
	var out []Quad[T]
	err := r.eachQuad(raw, func(authorities []corim.Typed, raw []byte) error {
		triple, err := corim.ParseFragment[T](raw)
		out = append(out, Quad[T]{authorities, triple})
		return err
	})
	return out, err
}

// eachQuad reads a list of quads; nil is none.
func (r reader) eachQuad(raw []byte, f func(authorities []corim.Typed, raw []byte) error) error {
	if raw == nil {
		return nil
	}
	list, err := r.array("list of statements", raw, 0, limits.CoservQuads)
	if err != nil {
		return err
	}
	for i, raw := range list {
		m, err := r.members("statement", raw, []int64{1, 2}, nil)
		if err != nil {
			return err
		}
		authorities, err := corim.ParseFragment[[]corim.Typed](m[1])
		if err == nil {
			err = f(authorities, m[2])
		}
		if err != nil {
			return fmt.Errorf("coserv: statement %d: %w", i, err)
		}
	}
	return nil
}

// dateTime reads a time with tag 0 (RFC 3339); fractions are cut off.
func (r reader) dateTime(raw []byte) (time.Time, error) {
	if len(raw) == 0 || raw[0] != 6<<5|tagDateTime {
		return time.Time{}, errors.New("coserv: expiry without tag 0")
	}
	var s string
	if err := r.item("expiry", raw[1:], &s); err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("coserv: expiry: %w", err)
	}
	return t.UTC().Truncate(time.Second), nil
}

// record reads [type, value, ? indicator].
func (r reader) record(raw []byte) (Record, error) {
	var out Record
	parts, err := r.array("record", raw, 2, 3)
	if err != nil {
		return out, err
	}
	if len(parts[0]) > 0 && parts[0][0]>>5 == 0 {
		if err := r.item("content format", parts[0], &out.ContentFormat); err != nil {
			return out, err
		}
	} else if err := r.item("media type", parts[0], &out.MediaType); err != nil {
		return out, err
	} else if out.MediaType == "" || len(out.MediaType) > maxProfile {
		return out, errors.New("coserv: media type is empty or too long")
	}
	if err := r.item("value of a record", parts[1], &out.Value); err != nil {
		return out, err
	}
	if len(parts) == 3 {
		if parts[2][0]>>5 != 0 {
			return out, errors.New("coserv: indicator is not a number")
		}
		err = r.item("indicator", parts[2], &out.Indicator)
		if err == nil && out.Indicator == 0 {
			err = errors.New("coserv: indicator that says nothing")
		}
	}
	return out, err
}

// namedRecords reads a CMW collection whose names are identifiers of the query.
func (r reader) namedRecords(raw []byte, q *Query) ([]NamedRecord, error) {
	if len(raw) == 0 || raw[0]>>5 != 5 {
		return nil, errors.New("coserv: documents by identifier are not a map")
	}
	var m map[string]cbor.RawMessage
	if err := r.item("documents by identifier", raw, &m); err != nil {
		return nil, err
	}
	var out []NamedRecord
	for _, rim := range q.RIMs {
		name := rim.ID.String()
		raw, ok := m[name]
		if !ok {
			continue
		}
		delete(m, name) // the query may have it twice, as of a document and of a tag
		rec, err := r.record(raw)
		if err != nil {
			return nil, fmt.Errorf("coserv: %q: %w", name, err)
		}
		out = append(out, NamedRecord{name, rec})
	}
	delete(m, "__cmwc_t") // type of the collection
	if len(m) > 0 {
		return nil, fmt.Errorf("coserv: %d documents that nobody asked for", len(m))
	}
	return out, nil
}
