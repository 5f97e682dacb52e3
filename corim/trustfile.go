// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assize/assize/trust"
)

// Bounds of a file of authorities.
const (
	// MaxTrust is the largest file of authorities in bytes.
	MaxTrust = 4 << 20

	maxAuthorities = 256
	maxScopes      = 256 // of one authority; and so many profiles and roots
	trustDepth     = 12
	trustKind      = "assize-corim-trust"
)

// ParseTrust reads a file of authorities for NewTrust strictly: a JSON object
// with the members
//
//   - kind: "assize-corim-trust"
//   - note: text for people, optional
//   - authorities: array of objects
//
// An authority has name, at least one of keys (a JWK Set as trust.ParseJWKS reads
// it; kid is compared with that of the signature) and roots (array of PEM CA
// certificates), profiles (array of texts, AnyProfile and NoProfile among them),
// scopes, and optionally not_before and not_after (RFC 3339) and simulated (true:
// see Authority.Simulated). A scope has vendor,
// model, layer, index, class_id, instance and group, at least one of them, or
// only "any": true for everything. The last three are objects of type ("oid",
// "uuid", "ueid", "bytes": hexadecimal; "text": its bytes) and value.
//
// At most MaxTrust bytes. The schema is schemas/corim-trust.schema.json.
func ParseTrust(raw []byte) ([]Authority, error) {
	if len(raw) > MaxTrust {
		return nil, fmt.Errorf("corim: file of authorities of %d bytes, at most %d", len(raw), MaxTrust)
	}
	m, err := trust.ParseObject(raw, trustDepth)
	if err != nil {
		return nil, fmt.Errorf("corim: file of authorities: %w", err)
	}
	if m["kind"] != trustKind {
		return nil, fmt.Errorf("corim: not a file of authorities: kind is not %q", trustKind)
	}
	r := &jsonObject{m: m, where: "file of authorities"}
	r.text("kind")
	r.text("note")
	var out []Authority
	for i, v := range r.list("authorities", maxAuthorities) {
		o, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("corim: authority %d is not an object", i)
		}
		a, err := parseAuthority(o)
		if err != nil {
			return nil, fmt.Errorf("corim: authority %d: %w", i, err)
		}
		out = append(out, a)
	}
	if len(out) == 0 && r.err == nil {
		return nil, errors.New("corim: file of authorities without an authority")
	}
	return out, r.close()
}

func parseAuthority(m map[string]any) (Authority, error) {
	r := &jsonObject{m: m, where: "authority"}
	a := Authority{Name: r.text("name")}
	r.where = strconv.Quote(short(a.Name, 80))
	for _, v := range r.list("profiles", maxScopes) {
		s, ok := v.(string)
		if !ok {
			r.fail("a profile is not a text")
		}
		a.Profiles = append(a.Profiles, s)
	}
	for _, v := range r.list("roots", maxScopes) {
		text, _ := v.(string)
		cert, err := parseCertificate(text)
		if err != nil {
			r.fail("root %d: %v", len(a.Roots), err)
		}
		a.Roots = append(a.Roots, cert)
	}
	for _, v := range r.list("scopes", maxScopes) {
		o, ok := v.(map[string]any)
		if !ok {
			r.fail("a scope is not an object")
		}
		e, err := parseScope(o)
		if err != nil {
			r.fail("scope %d: %v", len(a.Scopes), err)
		}
		a.Scopes = append(a.Scopes, e)
	}
	a.Validity.NotBefore, a.Validity.NotAfter = r.time("not_before"), r.time("not_after")
	if p := a.Validity; !p.NotAfter.IsZero() && p.NotAfter.Before(p.NotBefore) {
		r.fail("validity ends before it begins")
	}
	if v, ok := r.take("simulated"); ok {
		if a.Simulated, ok = v.(bool); !ok {
			r.fail("simulated is not true or false")
		}
	}
	if v, ok := r.take("keys"); ok {
		a.Keys = r.keys(v)
	}
	if err := r.close(); err != nil {
		return Authority{}, err
	}
	if slices.Contains(a.Profiles, AnyProfile) && len(a.Profiles) > 1 {
		return Authority{}, fmt.Errorf("%s: %q beside other profiles", r.where, AnyProfile)
	}
	_, err := NewTrust([]Authority{a})
	return a, err
}

// keys reads a JWK Set. A key that ends by itself is refused: here the authority
// ends, and an end that is not kept is worse than none.
func (r *jsonObject) keys(v any) []SigningKey {
	raw, err := json.Marshal(v)
	if err != nil {
		r.fail("keys: %v", err)
		return nil
	}
	set, err := trust.ParseJWKS(raw)
	if err != nil {
		r.fail("keys: %v", err)
		return nil
	}
	var out []SigningKey
	for _, k := range set.Keys() {
		if !k.NotAfter.IsZero() {
			r.fail("key %.40q has an end of its own: use not_after of the authority", k.KID)
		}
		out = append(out, SigningKey{ID: []byte(k.KID), Public: k.Public})
	}
	return out
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) != 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("not one PEM certificate")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !c.IsCA {
		return nil, fmt.Errorf("%q is not a CA certificate", c.Subject)
	}
	return c, nil
}

func parseScope(m map[string]any) (Environment, error) {
	r := &jsonObject{m: m, where: "scope"}
	var e Environment
	e.Class.Vendor, e.Class.Model = r.text("vendor"), r.text("model")
	e.Class.Layer, e.Class.Index = r.number("layer"), r.number("index")
	e.Class.ID, e.Instance, e.Group = r.typed("class_id"), r.typed("instance"), r.typed("group")
	every := false
	if v, ok := r.take("any"); ok {
		if every, _ = v.(bool); !every {
			r.fail(`"any" is not true`)
		}
	}
	if every != (e == Environment{}) {
		r.fail(`a scope names something, or is {"any": true}`)
	}
	return e, r.close()
}

// typed reads {"type": …, "value": …}.
func (r *jsonObject) typed(name string) Typed {
	v, ok := r.take(name)
	if !ok {
		return Typed{}
	}
	m, ok := v.(map[string]any)
	if !ok {
		r.fail("%s is not an object", name)
		return Typed{}
	}
	inner := &jsonObject{m: m, where: r.where}
	kind, value := inner.text("type"), inner.text("value")
	out, ok := typedText(kind, value)
	if err := inner.close(); err != nil || !ok || wrongContent(out) != "" {
		r.fail("%s: %.80q is not a value of type %.20q", name, value, kind)
	}
	return out
}

func typedText(kind, value string) (Typed, bool) {
	tag := map[string]uint64{"uuid": TagUUID, "ueid": TagUEID, "bytes": TagBytes}[kind]
	switch kind {
	case "text":
		return TaggedBytes(TagBytes, []byte(value)), true
	case "oid":
		raw, ok := encodeOID(value)
		return TaggedBytes(TagOID, raw), ok
	case "uuid":
		value = strings.ReplaceAll(value, "-", "")
	}
	raw, err := hex.DecodeString(value)
	return TaggedBytes(tag, raw), err == nil && tag != 0
}

// jsonObject reads the members of an object, remembers the first thing that is
// wrong, and at last what nobody has read.
type jsonObject struct {
	m     map[string]any
	where string
	err   error
}

func (r *jsonObject) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %s", r.where, fmt.Sprintf(format, a...))
	}
}

func (r *jsonObject) take(name string) (any, bool) {
	v, ok := r.m[name]
	delete(r.m, name)
	return v, ok
}

func (r *jsonObject) text(name string) string {
	v, ok := r.take(name)
	s, isText := v.(string)
	if ok && !isText {
		r.fail("%s is not a text", name)
	}
	return s
}

func (r *jsonObject) list(name string, most int) []any {
	v, ok := r.take(name)
	list, isList := v.([]any)
	if ok && (!isList || len(list) > most) {
		r.fail("%s is not an array of at most %d", name, most)
		return nil
	}
	return list
}

func (r *jsonObject) number(name string) Number {
	v, ok := r.take(name)
	if !ok {
		return Number{}
	}
	text, _ := v.(json.Number)
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		r.fail("%s is not an unsigned number", name)
	}
	return Num(n)
}

func (r *jsonObject) time(name string) time.Time {
	s := r.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		r.fail("%s is not a time (RFC 3339)", name)
	}
	return t
}

func (r *jsonObject) close() error {
	for name := range r.m {
		r.fail("member %.32q is not understood", name)
	}
	return r.err
}
