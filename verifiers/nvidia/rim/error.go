// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"fmt"
	"strings"

	"github.com/assize/assize/verdict"
)

// Error is why a document is no manifest to be believed. It is a result, not a
// malfunction.
type Error struct {
	// Code is a reason code of package verdict: ReasonTooLarge, ReasonMalformed,
	// ReasonUnsupported (another form of signature, schema or version),
	// ReasonSignatureInvalid, ReasonChainInvalid, ReasonUnknownRoot,
	// ReasonExpired (of ValidAt) or ReasonIdentityMismatch (of Answers). They are
	// about the manifest; for the evidence it is ReasonCollateralInvalid.
	Code string
	text string
}

// Error implements error.
func (e *Error) Error() string { return "rim: " + e.text }

// maxError bounds the text of an Error: other packages' errors repeat what they
// have read.
const maxError = 512

func refuse(code, format string, args ...any) error {
	return &Error{Code: code, text: cut(fmt.Sprintf(format, args...), maxError)}
}

func malformed(format string, args ...any) error {
	return refuse(verdict.ReasonMalformed, format, args...)
}

func unsupported(format string, args ...any) error {
	return refuse(verdict.ReasonUnsupported, format, args...)
}

// clip shortens text of an unverified document for a message.
func clip(s string) string { return cut(s, 64) }

func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
