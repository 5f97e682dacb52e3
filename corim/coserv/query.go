// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

// ArtifactType is what a query by environment asks for.
type ArtifactType uint8

// Types of artifacts.
const (
	EndorsedValues  ArtifactType = 0
	TrustAnchors    ArtifactType = 1
	ReferenceValues ArtifactType = 2
)

var artifactNames = []string{"endorsed-values", "trust-anchors", "reference-values"}

// String is the name in the draft.
func (a ArtifactType) String() string { return name(artifactNames, uint8(a)) }

// ParseArtifactType reads the name in the draft.
func ParseArtifactType(s string) (ArtifactType, bool) {
	n, ok := number(artifactNames, s)
	return ArtifactType(n), ok
}

// ResultType is in which form the answer to a query by environment comes.
type ResultType uint8

// Types of results.
const (
	// Collected are statements that the service has taken from documents.
	Collected ResultType = 0
	// SourceArtifacts are the documents, as the service received them.
	SourceArtifacts ResultType = 1
	// Both is both.
	Both ResultType = 2
)

var resultNames = []string{"collected-artifacts", "source-artifacts", "both"}

// String is the name in the draft.
func (r ResultType) String() string { return name(resultNames, uint8(r)) }

// ParseResultType reads the name in the draft.
func ParseResultType(s string) (ResultType, bool) {
	n, ok := number(resultNames, s)
	return ResultType(n), ok
}

func name(list []string, n uint8) string {
	if int(n) < len(list) {
		return list[n]
	}
	return fmt.Sprintf("type %d", n)
}

func number(list []string, s string) (uint8, bool) {
	for i, n := range list {
		if n == s {
			return uint8(i), true
		}
	}
	return 0, false
}

// ClassSelector selects by class: every member that Class has counts.
type ClassSelector struct {
	Class corim.Class
	// State are measurements that narrow the selection, nil for none.
	State []corim.Measurement
}

// ValueSelector selects by an instance or a group.
type ValueSelector struct {
	Value corim.Typed
	// State is as in ClassSelector.
	State []corim.Measurement
}

// Environments are alternatives of one sort: exactly one list is not empty.
type Environments struct {
	Classes           []ClassSelector
	Instances, Groups []ValueSelector
}

// RIMKind is what an identifier is of.
type RIMKind uint8

// Kinds of identifiers.
const (
	Comid  RIMKind = 0
	Coswid RIMKind = 1
	Corim  RIMKind = 2
)

// RIM names a document by its identifier or by that of a tag in it.
type RIM struct {
	Kind RIMKind
	ID   corim.ID
}

// Query is either by environment, or by identifiers of documents: then RIMs are
// set, and nothing else.
type Query struct {
	Artifacts    ArtifactType
	Environments Environments
	Results      ResultType
	RIMs         []RIM
}

// ByRIM tells whether the query is by identifiers.
func (q *Query) ByRIM() bool { return len(q.RIMs) > 0 }

// queryItem is the map of a query.
func queryItem(q *Query) (map[int64]any, error) {
	if q.ByRIM() {
		if q.Artifacts != 0 || q.Results != 0 || q.Environments.count() > 0 {
			return nil, errors.New("coserv: query by identifier and by environment")
		}
		var list []any
		for _, r := range q.RIMs {
			id, err := corim.EncodeFragment(r.ID)
			if err != nil {
				return nil, fmt.Errorf("coserv: %w", err)
			}
			list = append(list, []any{uint8(r.Kind), cbor.RawMessage(id)})
		}
		return map[int64]any{3: list}, nil
	}
	selector, err := q.Environments.item()
	if err != nil {
		return nil, err
	}
	return map[int64]any{0: uint8(q.Artifacts), 1: selector, 2: uint8(q.Results)}, nil
}

func (e *Environments) count() int { return len(e.Classes) + len(e.Instances) + len(e.Groups) }

func (e *Environments) item() (map[int64]any, error) {
	n := e.count()
	switch {
	case n == 0:
		return nil, errors.New("coserv: query without an environment")
	case len(e.Classes) != n && len(e.Instances) != n && len(e.Groups) != n:
		return nil, errors.New("coserv: query by environments of several sorts")
	}
	key, list := int64(0), make([]any, 0, n)
	for _, c := range e.Classes {
		v, err := entryItem(c.Class, c.State)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	for i, values := range [][]ValueSelector{e.Instances, e.Groups} {
		for _, s := range values {
			key = int64(i + 1)
			v, err := entryItem(s.Value, s.State)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	return map[int64]any{key: list}, nil
}

func entryItem[T corim.Class | corim.Typed](v T, state []corim.Measurement) ([]any, error) {
	raw, err := corim.EncodeFragment(v)
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	out := []any{cbor.RawMessage(raw)}
	if len(state) > 0 {
		if raw, err = corim.EncodeFragment(state); err != nil {
			return nil, fmt.Errorf("coserv: state: %w", err)
		}
		out = append(out, cbor.RawMessage(raw))
	}
	return out, nil
}

func (r reader) query(raw []byte) (Query, error) {
	var q Query
	m, err := r.members("query", raw, nil, []int64{0, 1, 2, 3})
	if err != nil {
		return q, err
	}
	if rims, ok := m[3]; ok {
		if len(m) != 1 {
			return q, errors.New("coserv: query by identifier and by environment")
		}
		q.RIMs, err = r.rims(rims)
		return q, err
	}
	if len(m) != 3 {
		return q, errors.New("coserv: query has to have artifact type, environment and result type, or identifiers")
	}
	artifacts, err := r.number("artifact type", m[0], uint8(len(artifactNames)))
	if err != nil {
		return q, err
	}
	results, err := r.number("result type", m[2], uint8(len(resultNames)))
	if err != nil {
		return q, err
	}
	q.Artifacts, q.Results = ArtifactType(artifacts), ResultType(results)
	q.Environments, err = r.environments(m[1])
	return q, err
}

func (r reader) environments(raw []byte) (Environments, error) {
	var e Environments
	m, err := r.members("environment selector", raw, nil, []int64{0, 1, 2})
	if err != nil {
		return e, err
	}
	if len(m) != 1 {
		return e, errors.New("coserv: environment selector has to have exactly one of classes, instances and groups")
	}
	for key, raw := range m {
		list, err := r.array("environment selector", raw, 1, limits.CoservSelectors)
		if err != nil {
			return e, err
		}
		for i, raw := range list {
			if err := r.entry(&e, key, raw); err != nil {
				return e, fmt.Errorf("coserv: environment selector: entry %d: %w", i, err)
			}
		}
	}
	return e, nil
}

// entry reads an array of a class or a value, and a state.
func (r reader) entry(e *Environments, key int64, raw []byte) error {
	parts, err := r.array("selector", raw, 1, 2)
	if err != nil {
		return err
	}
	var state []corim.Measurement
	if len(parts) == 2 {
		if state, err = corim.ParseFragment[[]corim.Measurement](parts[1]); err != nil {
			return err
		}
	}
	if key == 0 {
		class, err := corim.ParseFragment[corim.Class](parts[0])
		e.Classes = append(e.Classes, ClassSelector{class, state})
		return err
	}
	value, err := corim.ParseFragment[corim.Typed](parts[0])
	if key == 1 {
		e.Instances = append(e.Instances, ValueSelector{value, state})
	} else {
		e.Groups = append(e.Groups, ValueSelector{value, state})
	}
	return err
}

func (r reader) rims(raw []byte) ([]RIM, error) {
	list, err := r.array("identifiers", raw, 1, limits.CoservSelectors)
	if err != nil {
		return nil, err
	}
	out := make([]RIM, 0, len(list))
	for i, raw := range list {
		parts, err := r.array("identifier", raw, 2, 2)
		if err != nil {
			return nil, err
		}
		kind, err := r.number("kind of identifier", parts[0], 3)
		if err != nil {
			return nil, err
		}
		id, err := corim.ParseFragment[corim.ID](parts[1])
		if err != nil {
			return nil, fmt.Errorf("coserv: identifier %d: %w", i, err)
		}
		out = append(out, RIM{RIMKind(kind), id})
	}
	return out, nil
}
