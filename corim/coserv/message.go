// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

// PlainProfile is the profile of queries for statements of documents that have
// none. It is ours: a CoSERV must have a profile, and a CoRIM need not.
const PlainProfile = "tag:assize.dev,2026:coserv#plain"

// Message is a CoSERV object: a query, or a query with the result for it.
type Message struct {
	// Profile is a URI, or an OID in dotted form.
	Profile string
	Query   Query
	// Results is nil in a query.
	Results *ResultSet
}

// ParseOptions say what is read.
type ParseOptions struct {
	// AnyEncoding reads queries that are not in deterministic encoding, which
	// section 4.5 of the draft does not allow.
	AnyEncoding bool
}

// Encode writes m in deterministic CBOR, as something that Parse reads. The error
// wraps ErrLimit if it would be too large.
func (m Message) Encode() ([]byte, error) {
	query, err := queryItem(&m.Query)
	if err != nil {
		return nil, err
	}
	profile, err := profileItem(m.Profile)
	if err != nil {
		return nil, err
	}
	out := map[int64]any{0: profile, 1: query}
	if m.Results != nil {
		if out[2], err = m.Results.item(&m.Query); err != nil {
			return nil, err
		}
	}
	raw, err := marshal(out)
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	if _, err := Parse(raw, ParseOptions{}); err != nil {
		return nil, fmt.Errorf("coserv: what was to be written is no CoSERV: %w", err)
	}
	return raw, nil
}

// Base64URL writes a query as it stands in a URL: base64url without padding.
func (m Message) Base64URL() (string, error) {
	if m.Results != nil {
		return "", errors.New("coserv: a result is no query")
	}
	raw, err := m.Encode()
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// Parse reads a query or a result.
func Parse(raw []byte, o ParseOptions) (*Message, error) {
	if len(raw) > limits.CoservResult {
		return nil, fmt.Errorf("coserv: %d bytes, at most %d: %w", len(raw), limits.CoservResult, ErrLimit)
	}
	mode, err := decoding()
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	r := reader{mode}
	m, err := r.members("CoSERV", bytes.Clone(raw), []int64{0, 1}, []int64{2})
	if err != nil {
		return nil, err
	}
	if len(m[1]) > limits.CoservQuery {
		return nil, fmt.Errorf("coserv: query of %d bytes, at most %d: %w", len(m[1]), limits.CoservQuery, ErrLimit)
	}
	out := new(Message)
	if out.Profile, err = r.profile(m[0]); err != nil {
		return nil, err
	}
	if out.Query, err = r.query(m[1]); err != nil {
		return nil, err
	}
	// A name may have any tag, and some tags have rules of their own (RFC 8949,
	// section 3.4): what cannot be written again is not taken in.
	item, err := queryItem(&out.Query)
	if err == nil {
		_, err = marshal(item)
	}
	if err != nil {
		return nil, fmt.Errorf("coserv: query cannot be written: %w", err)
	}
	results, answer := m[2]
	canonical := raw
	if answer {
		canonical = m[1] // a result need not be, the query in it has to
	}
	if !o.AnyEncoding && !deterministic(canonical) {
		return nil, fmt.Errorf("coserv: %w", ErrEncoding)
	}
	if answer {
		if out.Results, err = r.results(results, &out.Query); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ParseBase64URL reads a query from a URL. A result there is an error.
func ParseBase64URL(s string, o ParseOptions) (*Message, error) {
	if len(s) > base64.RawURLEncoding.EncodedLen(limits.CoservQuery) {
		return nil, fmt.Errorf("coserv: query of %d characters: %w", len(s), ErrLimit)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") { // which package base64 would skip
		return nil, errors.New("coserv: query is not base64url without padding")
	}
	m, err := Parse(raw, o)
	if err != nil {
		return nil, err
	}
	if m.Results != nil {
		return nil, errors.New("coserv: a result where a query is expected")
	}
	return m, nil
}

// maxProfile is the longest profile in bytes.
const maxProfile = 1024

// profile reads a text, which is a URI, or an OID with tag 111.
func (r reader) profile(raw []byte) (string, error) {
	var out string
	if len(raw) > 0 && raw[0]>>5 == 6 {
		t, err := corim.ParseFragment[corim.Typed](raw)
		if err != nil || t.Tag != corim.TagOID {
			return "", errors.New("coserv: profile is neither a URI nor an OID")
		}
		out = t.String()
		if back, ok := corim.OID(out); !ok || back != t {
			return "", errors.New("coserv: profile is no OID")
		}
	} else if err := r.item("profile", raw, &out); err != nil {
		return "", err
	}
	return out, checkProfile(out)
}

// checkProfile wants what can stand in a media type: visible ASCII without
// quotes.
func checkProfile(p string) error {
	if p == "" || len(p) > maxProfile {
		return fmt.Errorf("coserv: profile of %d bytes, 1 to %d", len(p), maxProfile)
	}
	for i := range len(p) {
		if c := p[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf("coserv: profile with character %#x", c)
		}
	}
	if _, oid := corim.OID(p); !oid && !strings.Contains(p, ":") {
		return fmt.Errorf("coserv: profile %q is neither an absolute URI nor an OID", p)
	}
	return nil
}

func profileItem(p string) (any, error) {
	if err := checkProfile(p); err != nil {
		return nil, err
	}
	t, ok := corim.OID(p)
	if !ok {
		return p, nil
	}
	raw, err := corim.EncodeFragment(t)
	return cbor.RawMessage(raw), err
}

// same tells whether two queries are the same, whatever bytes they came in.
func same(a, b *Query) bool {
	x, err := queryItem(a)
	if err != nil {
		return false
	}
	y, err := queryItem(b)
	if err != nil {
		return false
	}
	p, err := marshal(x)
	if err != nil {
		return false
	}
	q, err := marshal(y)
	return err == nil && bytes.Equal(p, q)
}
