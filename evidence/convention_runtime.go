// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gowebpki/jcs"

	"github.com/assize/assize/evidence/internal/jsonscan"
	"github.com/assize/assize/internal/limits"
)

// MaxRuntimeData is the largest runtime data in bytes.
const MaxRuntimeData = 8 << 10

const (
	maxRuntimeMembers = 32
	maxRuntimeDepth   = 4
	maxExactInteger   = 1 << 53
)

// RuntimeData is what was hashed into the report data of a CPU TEE, and into the
// nonces of devices, by the convention of somebody else. It comes from the
// attester and is believed in nothing: a challenge is derived with the nonce of
// the session in the place of the one that it names, so that evidence of another
// session, or with other runtime data, answers another challenge.
//
// Trustee (ConventionTrustee) hashes the canonical JSON (RFC 8785) of
//
//	{"nonce": base64, "tee-pubkey": {JWK}}
//
// for devices, and for the CPU TEE the same object with the member
// "additional-evidence": the text with the evidence of all devices, "" without
// any. Intel Trust Authority (ConventionITA) hashes bytes:
//
//	{"verifier_nonce": {"val": base64, "iat": base64, "signature": base64}, "user_data": base64}
//
// where user_data may be left out. Base64 is the standard one, with padding.
type RuntimeData struct {
	convention string
	nonce      []byte
	text       []byte
	key        json.RawMessage // trustee: tee-pubkey
	iat, user  []byte          // ita
}

// ParseRuntimeData reads runtime data of a convention strictly: at most
// MaxRuntimeData bytes of JSON with exactly the members above, none of them
// twice, numbers only integers of at most 2^53.
func ParseRuntimeData(convention string, raw []byte) (*RuntimeData, error) {
	if len(raw) > MaxRuntimeData {
		return nil, fmt.Errorf("evidence: runtime data of %d bytes, at most %d", len(raw), MaxRuntimeData)
	}
	r := &RuntimeData{convention: convention}
	var err error
	switch convention {
	case ConventionTrustee:
		err = r.trustee(raw)
	case ConventionITA:
		err = r.ita(raw)
	default:
		err = errors.New("no convention with runtime data")
	}
	if err == nil && (len(r.nonce) < limits.NonceMin || len(r.nonce) > limits.NonceMax) {
		err = fmt.Errorf("nonce of %d bytes, expected %d to %d", len(r.nonce), limits.NonceMin, limits.NonceMax)
	}
	if err == nil {
		r.text, err = canonical(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("evidence: runtime data of convention %q: %w", convention, err)
	}
	return r, nil
}

func (r *RuntimeData) trustee(raw []byte) error {
	m, err := members(raw, []string{"nonce", "tee-pubkey"}, nil)
	if err != nil {
		return err
	}
	if r.nonce, err = base64Text(m["nonce"]); err != nil {
		return fmt.Errorf("nonce: %w", err)
	}
	if r.key = m["tee-pubkey"]; r.key[0] != '{' {
		return errors.New("tee-pubkey is no object")
	}
	return nil
}

func (r *RuntimeData) ita(raw []byte) error {
	m, err := members(raw, []string{"verifier_nonce"}, []string{"user_data"})
	if err != nil {
		return err
	}
	n, err := members(m["verifier_nonce"], []string{"iat", "signature", "val"}, nil)
	if err != nil {
		return fmt.Errorf("verifier_nonce: %w", err)
	}
	var unused []byte // nothing of ours trusts the authority's key
	for _, f := range []struct {
		name string
		raw  json.RawMessage
		to   *[]byte
	}{{"val", n["val"], &r.nonce}, {"iat", n["iat"], &r.iat}, {"signature", n["signature"], &unused}, {"user_data", m["user_data"], &r.user}} {
		if f.raw == nil {
			continue
		}
		if *f.to, err = base64Text(f.raw); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// Convention is the convention that the data were read by.
func (r *RuntimeData) Convention() string { return r.convention }

// Nonce is the session nonce that the data name. Challenges do not come from it.
func (r *RuntimeData) Nonce() []byte { return slices.Clone(r.nonce) }

// Text is the canonical text (RFC 8785) of the data.
func (r *RuntimeData) Text() []byte { return slices.Clone(r.text) }

// Report is the report data, 64 bytes, by which a CPU TEE answers a session.
// additional is the text of the additional evidence, which only Trustee hashes.
func (r *RuntimeData) Report(session, additional []byte) ([]byte, error) {
	if r.convention == ConventionITA {
		sum := sha512.Sum512(slices.Concat(session, r.iat, r.user))
		return sum[:], nil
	}
	if !utf8.Valid(additional) {
		return nil, errors.New("evidence: additional evidence is not UTF-8")
	}
	text, err := r.hashed(session)
	if err != nil {
		return nil, err
	}
	// The member is the first one in the order of RFC 8785.
	whole := appendCanonicalText([]byte(`{"additional-evidence":`), additional)
	whole = append(append(whole, ','), text[1:]...)
	sum := sha512.Sum384(whole)
	return append(sum[:], make([]byte, CommitmentSize-len(sum))...), nil
}

// Device is the nonce, size bytes, by which anything else answers a session.
func (r *RuntimeData) Device(session []byte, size int) ([]byte, error) {
	if r.convention == ConventionITA {
		if size != sha256.Size {
			return nil, fmt.Errorf("evidence: by convention %q a device has a nonce of %d bytes, not %d", r.convention, sha256.Size, size)
		}
		sum := sha256.Sum256(slices.Concat(session, r.iat))
		return sum[:], nil
	}
	if size < limits.NonceMin || size > sha512.Size384 {
		return nil, fmt.Errorf("evidence: by convention %q a device has a nonce of %d to %d bytes, not %d", r.convention, limits.NonceMin, sha512.Size384, size)
	}
	text, err := r.hashed(session)
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum384(text)
	return sum[:size], nil
}

// hashed is Trustee's canonical text for a device, with the nonce of a session.
func (r *RuntimeData) hashed(session []byte) ([]byte, error) {
	raw, err := json.Marshal(struct {
		Nonce []byte          `json:"nonce"`
		Key   json.RawMessage `json:"tee-pubkey"`
	}{session, r.key})
	if err != nil {
		return nil, err
	}
	text, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("evidence: canonical form: %w", err)
	}
	return text, nil
}

// appendCanonicalText escapes what RFC 8785, section 3.2.2.2, says, and nothing
// else. The library does it byte by byte, and this text is as long as a composite.
func appendCanonicalText(dst, s []byte) []byte {
	const short, letters = "\b\t\n\f\r\"\\", `btnfr"\`
	dst = slices.Grow(append(dst, '"'), len(s)+len(s)/4)
	for _, c := range s {
		if c > '"' && c != '\\' {
			dst = append(dst, c)
			continue
		}
		switch i := strings.IndexByte(short, c); {
		case i >= 0:
			dst = append(dst, '\\', letters[i])
		case c < 0x20:
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// canonical is the text of RFC 8785. What the library takes and is not JSON, or
// has no one canonical form in all languages, is refused before.
func canonical(raw []byte) ([]byte, error) {
	s := &jsonscan.Scanner{Buf: raw}
	if err := exact(s, maxRuntimeDepth); err != nil {
		return nil, err
	}
	if err := s.End(); err != nil {
		return nil, err
	}
	return jcs.Transform(raw)
}

// exact steps over a value that has one canonical form.
func exact(s *jsonscan.Scanner, depth int) error {
	switch c := s.Peek(); {
	case (c == '{' || c == '[') && depth == 0:
		return fmt.Errorf("nested deeper than %d", maxRuntimeDepth)
	case c == '{':
		return s.Object(maxRuntimeMembers, func(string) error { return exact(s, depth-1) })
	case c == '[':
		s.Pos++
		for n := 0; ; n++ {
			more, err := s.More(']', n == 0)
			if err != nil || !more {
				return err
			}
			if n == maxRuntimeMembers {
				return fmt.Errorf("more than %d elements", maxRuntimeMembers)
			}
			if err := exact(s, depth-1); err != nil {
				return err
			}
		}
	case c == '-' || isDigit(c):
		text, err := s.Number()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || n > maxExactInteger || n < -maxExactInteger || string(text) == "-0" {
			return fmt.Errorf("number %.32s is no integer of at most 2^53", text)
		}
		return nil
	}
	return s.Skip(0)
}

// members takes an object apart that has these members and no others.
func members(raw []byte, required, optional []string) (map[string]json.RawMessage, error) {
	s := &jsonscan.Scanner{Buf: raw}
	out := map[string]json.RawMessage{}
	err := s.Object(maxRuntimeMembers, func(name string) error {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			return fmt.Errorf("member %.64q is not known", name)
		}
		s.Space()
		start := s.Pos
		if err := exact(s, maxRuntimeDepth-1); err != nil {
			return err
		}
		out[name] = bytes.Clone(raw[start:s.Pos])
		return nil
	})
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return nil, err
	}
	for _, name := range required {
		if out[name] == nil {
			return nil, fmt.Errorf("no member %q", name)
		}
	}
	return out, nil
}

// base64Text is a JSON text in standard base64 with padding, in its one spelling.
func base64Text(raw json.RawMessage) ([]byte, error) {
	s := &jsonscan.Scanner{Buf: raw}
	text, err := s.Text()
	if err != nil {
		return nil, err
	}
	if bytes.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break in base64")
	}
	out, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return nil, fmt.Errorf("no standard base64: %w", err)
	}
	return out, nil
}
