// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"fmt"
)

// MaxEnvironment is the longest encoded environment that ParseEnvironment reads,
// in bytes: room for an instance that is a certificate, and 4096 characters in
// base64url.
const MaxEnvironment = 3072

// EncodeEnvironment writes an environment-map (draft-ietf-rats-corim) in
// deterministic CBOR. Two environments are equal if and only if their encodings
// are. The result is what ParseEnvironment reads, or nil for an environment that
// is empty, longer than MaxEnvironment, or has values that no document could
// have.
func EncodeEnvironment(e Environment) []byte {
	enc, err := encoding()
	if err != nil {
		return nil
	}
	raw, err := enc.Marshal(environmentItem(e))
	if err != nil {
		return nil
	}
	if again, err := ParseEnvironment(raw); err != nil || again != e {
		return nil
	}
	return raw
}

// ParseEnvironment reads what EncodeEnvironment writes, and nothing else: other
// encodings of the same environment, unknown members, an empty environment and
// trailing bytes are errors, a *SyntaxError or one that wraps ErrLimit.
func ParseEnvironment(raw []byte) (Environment, error) {
	if len(raw) > MaxEnvironment {
		return Environment{}, fmt.Errorf("corim: environment of %d bytes, at most %d: %w", len(raw), MaxEnvironment, ErrLimit)
	}
	mode, err := decoding()
	if err != nil {
		return Environment{}, fmt.Errorf("corim: %w", err)
	}
	c, err := (&cursor{buf: raw, mode: mode}).open(0, len(raw))
	if err != nil {
		return Environment{}, err
	}
	e, err := c.environment()
	switch {
	case err != nil:
		return Environment{}, err
	case c.pos != c.end:
		return Environment{}, c.errorf("trailing bytes")
	case e == Environment{}:
		return Environment{}, c.errorf("empty environment")
	}
	enc, err := encoding()
	if err != nil {
		return Environment{}, fmt.Errorf("corim: %w", err)
	}
	again, err := enc.Marshal(environmentItem(e))
	if err != nil {
		return Environment{}, fmt.Errorf("corim: environment: %w", err)
	}
	if !bytes.Equal(again, raw) {
		c.pos = 0
		return Environment{}, c.errorf("environment is not in deterministic encoding")
	}
	return e, nil
}
