// SPDX-License-Identifier: Apache-2.0

package render

import "github.com/assize/assize/verdict"

// Clean makes text from elsewhere safe for a terminal: whatever is not printable is
// shown as an escape sequence.
func Clean(s string) string { return clean(s) }

// Reason is a reason on one line, as verdicts print it.
func Reason(r verdict.Reason) string { return reasonText(r) }
