// SPDX-License-Identifier: Apache-2.0

package eatda

import (
	"errors"
	"fmt"
)

// Rule is the rule that a token or a device of it breaks.
type Rule string

// The rules.
const (
	// RuleCBOR: not well-formed CBOR, one of another type than the grammar has, or
	// beyond a limit of this package.
	RuleCBOR Rule = "cbor"
	// RuleDuplicate: a map has a key twice, several MMIO ranges among them.
	RuleDuplicate Rule = "duplicate-key"
	// RuleIndefinite: a data item of indefinite length.
	RuleIndefinite Rule = "indefinite-length"
	// RuleEnvelope: neither a COSE_Sign1 nor an unprotected claims set.
	RuleEnvelope Rule = "envelope"
	// RuleProfile: the profile of the token or of a device is another one.
	RuleProfile Rule = "profile"
	// RuleNonce: no nonce, or one outside 8 to 64 bytes.
	RuleNonce Rule = "nonce"
	// RuleSubmods: no device, too many of them, or one that is there twice.
	RuleSubmods Rule = "submods"
	// RuleNamespace: a device's name is in no namespace that is known here.
	RuleNamespace Rule = "unknown-namespace"
	// RuleName: a device's name is empty or too long.
	RuleName Rule = "name"
	// RuleCombination: the claims of a device do not go together.
	RuleCombination Rule = "combination"
	// RuleBlock: a measurement is not one value of a known type.
	RuleBlock Rule = "block"
	// RuleCertificates: no chain of slot 0, or a slot that does not exist.
	RuleCertificates Rule = "certificates"
	// RuleSignature: an SPDM signature lacks a member, or has one of wrong form.
	RuleSignature Rule = "signature"
	// RuleReport: an interface report of wrong form.
	RuleReport Rule = "report"
	// RuleLegacy: claims about a device without SPDM of wrong form, or that
	// contradict each other.
	RuleLegacy Rule = "legacy"
)

// Error is why a token or one device of it was refused. It is safe to show.
type Error struct {
	Rule Rule
	// Submod is the name of the device, "" for the token itself.
	Submod string
	// Offset is the position in the leaf in bytes, -1 if there is none.
	Offset int
	Detail string
}

// Error implements error.
func (e *Error) Error() string {
	s := "eatda: "
	if e.Submod != "" {
		s += fmt.Sprintf("device %.128q: ", e.Submod)
	}
	if e.Offset >= 0 {
		s += fmt.Sprintf("at offset %d: ", e.Offset)
	}
	return s + e.Detail
}

// RuleOf returns the rule of an error of this package, "" for any other.
func RuleOf(err error) Rule {
	var e *Error
	if errors.As(err, &e) {
		return e.Rule
	}
	return ""
}

// errUnknown says that a key means nothing here, so that its value is skipped.
var errUnknown = errors.New("eatda: unknown key")

func newError(rule Rule, submod string, at int, format string, args ...any) *Error {
	return &Error{Rule: rule, Submod: submod, Offset: at, Detail: fmt.Sprintf(format, args...)}
}

// String names a key for people.
func (k key) String() string {
	switch {
	case k.other:
		return "of a strange type"
	case k.isText:
		return fmt.Sprintf("%.64q", k.text)
	}
	return fmt.Sprint(k.n)
}
