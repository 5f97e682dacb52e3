// SPDX-License-Identifier: Apache-2.0

package eatda

import (
	"strings"

	"github.com/assize/assize/internal/limits"
)

// Names of the profile (draft-poirier-rats-eat-da).
const (
	// Profile is that of the token, and the parameter eat_profile of its media types.
	Profile = "tag:linaro.org,2025:device#1.0.0"
	// ProfileSPDM is that of a device with SPDM.
	ProfileSPDM = "tag:linaro.org,2025:device-spdm#1.0.0"
	// ProfileLegacy is that of a device without SPDM.
	ProfileLegacy = "tag:linaro.org,2025:device-pcie-legacy#1.0.0"

	// TypeCWT is the base media type of a token in COSE_Sign1, TypeUCS that of an
	// unprotected one, ParamProfile their parameter.
	TypeCWT      = "application/eat+cwt"
	TypeUCS      = "application/eat-ucs+cbor"
	ParamProfile = "eat_profile"

	// NamespaceSPDM and NamespaceLegacy start the names of devices.
	NamespaceSPDM   = "spdm:"
	NamespaceLegacy = "legacy-pcie:"
)

// Limits in bytes, and counts.
const (
	// MaxDevices is the number of devices in one token.
	MaxDevices = 64
	// MaxName bounds a device's name.
	MaxName = 1024
	// MaxChain bounds one certificate chain.
	MaxChain = 64 << 10
	// MaxTranscript bounds what a signature covers (IL1).
	MaxTranscript = 512 << 10
	// MaxValue bounds one measurement: the wire field of SPDM has 16 bits.
	MaxValue = 1<<16 - 1
	// MaxVCA bounds the negotiation messages.
	MaxVCA = 4 << 10
)

// Claims of a token (RFC 9711, RFC 8392).
const (
	claimNonce   = 10
	claimProfile = 265
	claimSubmods = 266
)

const (
	tagSign1 = 18
	tagUCCS  = 601

	maxHeaders   = 16 << 10
	maxSignature = 1024
)

// Form is the envelope of a token.
type Form uint8

// The forms.
const (
	// FormSigned is COSE_Sign1 with its tag. Nobody has verified the signature.
	FormSigned Form = iota + 1
	// FormUnprotected is a UCCS, with tag 601 or bare: whatever vouches for it is
	// around it.
	FormUnprotected
)

// Token is a Device Assignment Token. Byte slices point into the input.
type Token struct {
	Form Form
	// Nonce is the challenge as the lead attester states it, 8 to 64 bytes.
	Nonce []byte
	// Devices are in the order of the token.
	Devices []Device
}

// Decode reads a token in any of its forms. An error means that the token is no
// good as a whole; what is wrong with one device is in that device.
func Decode(raw []byte) (*Token, error) { return Options{}.Decode(raw) }

// Options are what an operator may allow.
type Options struct {
	// Ranges reads several MMIO ranges as an array, for which the draft has no form
	// (decision D-31).
	Ranges bool
}

// Decode is the function Decode with options.
func (o Options) Decode(raw []byte) (*Token, error) {
	r := &reader{b: raw}
	if most := limits.Default().Leaf; len(raw) > most {
		return nil, r.fail(RuleCBOR, 0, "token of %d bytes, at most %d", len(raw), most)
	}
	t := &Token{Form: FormUnprotected}
	at := 0
	h, err := r.head()
	switch {
	case err != nil:
		return nil, err
	case h.major == majorTag && h.arg == tagSign1:
		t.Form = FormSigned
		payload, offset, err := r.sign1()
		if err != nil {
			return nil, err
		}
		r = &reader{b: payload, base: offset}
	case h.major == majorTag && h.arg == tagUCCS:
		at = r.at
		r.at = at
	case h.major == majorMap:
		r.at = at
	default:
		return nil, r.fail(RuleEnvelope, 0, "neither a COSE_Sign1 (tag %d) nor a claims set (tag %d, or a map)", tagSign1, tagUCCS)
	}
	if err := t.claims(r, o); err != nil {
		return nil, err
	}
	return t, t.check()
}

// sign1 reads the array behind the tag, and returns the payload with its offset.
func (r *reader) sign1() (payload []byte, offset int, err error) {
	at := r.at
	n, err := r.expect(majorArray, RuleEnvelope, "COSE_Sign1")
	if err == nil && n != 4 {
		err = r.fail(RuleEnvelope, at, "COSE_Sign1 of %d elements, expected 4", n)
	}
	if err != nil {
		return nil, 0, err
	}
	protected, err := r.bytes(0, maxHeaders, RuleEnvelope, "protected headers")
	if err != nil {
		return nil, 0, err
	}
	// Headers are the business of who verifies the signature; here they only have
	// to be two maps.
	if len(protected) > 0 {
		inner := &reader{b: protected, base: r.base + r.at - len(protected)}
		if err := inner.headers(); err != nil {
			return nil, 0, err
		}
		if err := inner.end(); err != nil {
			return nil, 0, err
		}
	}
	if err := r.headers(); err != nil {
		return nil, 0, err
	}
	if payload, err = r.bytes(1, limits.Default().Leaf, RuleEnvelope, "payload"); err != nil {
		return nil, 0, err
	}
	offset = r.at - len(payload)
	if _, err = r.bytes(1, maxSignature, RuleEnvelope, "signature of the token"); err != nil {
		return nil, 0, err
	}
	return payload, offset, r.end()
}

func (r *reader) headers() error {
	return r.eachPair(RuleEnvelope, "COSE header", maxDepth, func(key, int) error { return errUnknown })
}

// claims reads the claims set. Unknown claims are ignored.
func (t *Token) claims(r *reader, o Options) error {
	profile, seen := "", false
	err := r.eachPair(RuleEnvelope, "claims set", maxDepth, func(k key, at int) (err error) {
		switch {
		case k.isText || k.other:
			return errUnknown
		case k.n == claimProfile:
			profile, err = r.text(MaxName, RuleProfile, "eat_profile")
		case k.n == claimNonce:
			t.Nonce, err = r.bytes(limits.NonceMin, limits.NonceMax, RuleNonce, "eat_nonce")
		case k.n == claimSubmods:
			seen = true
			err = t.submods(r, o)
		default:
			return errUnknown
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	switch {
	case profile != Profile:
		return newError(RuleProfile, "", -1, "eat_profile is %.128q, expected %q", profile, Profile)
	case t.Nonce == nil:
		return newError(RuleNonce, "", -1, "eat_nonce is missing")
	case !seen || len(t.Devices) == 0:
		return newError(RuleSubmods, "", -1, "no device in the token")
	}
	return nil
}

// submods reads the devices. A device whose CBOR is broken breaks the token; one
// that breaks another rule stays, with the reason.
func (t *Token) submods(r *reader, o Options) error {
	return r.eachPair(RuleSubmods, "submods", maxDepth-1, func(k key, at int) error {
		if !k.isText {
			return r.fail(RuleSubmods, at, "name of a device is not a text")
		}
		if len(t.Devices) == MaxDevices {
			return r.fail(RuleSubmods, at, "more than %d devices", MaxDevices)
		}
		d := Device{Name: k.text}
		start := r.at
		if err := r.skip(maxDepth - 2); err != nil {
			return err
		}
		d.Raw = r.b[start:r.at:r.at]
		d.read(&reader{b: d.Raw, base: r.base + start, submod: k.text}, o)
		t.Devices = append(t.Devices, d)
		return nil
	})
}

// check holds the rules between devices: one device must not answer twice.
func (t *Token) check() error {
	seen := map[string]string{}
	for i := range t.Devices {
		d := &t.Devices[i]
		for slot, chain := range d.Certificates {
			leaf := Leaf(chain)
			if leaf == nil {
				continue
			}
			if other, dup := seen[string(leaf)]; dup && other != d.Name {
				return newError(RuleSubmods, d.Name, -1, "the leaf certificate of slot %d is that of device %.128q as well", slot, other)
			}
			seen[string(leaf)] = d.Name
		}
	}
	return nil
}

// Leaf is the last DER SEQUENCE of a chain, of bare certificates or in the form of
// SPDM, nil where there is none.
func Leaf(chain []byte) []byte {
	var last []byte
	for rest := der(chain); len(rest) > 0; {
		n := sequence(rest)
		if n == 0 {
			return nil
		}
		last, rest = rest[:n], rest[n:]
	}
	return last
}

// namespace is the part of a name that says what kind of device it is.
func namespace(name string) string {
	for _, n := range []string{NamespaceSPDM, NamespaceLegacy} {
		if strings.HasPrefix(name, n) {
			return n
		}
	}
	return ""
}
