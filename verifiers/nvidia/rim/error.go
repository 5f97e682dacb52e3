// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"fmt"

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

func refuse(code, format string, args ...any) error {
	return &Error{Code: code, text: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) error {
	return refuse(verdict.ReasonMalformed, format, args...)
}

func unsupported(format string, args ...any) error {
	return refuse(verdict.ReasonUnsupported, format, args...)
}

// clip shortens text of an unverified document for a message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
