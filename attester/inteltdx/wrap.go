// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"encoding/base64"
	"errors"
)

// Media types under which a quote travels.
const (
	// TypeQuote is the bare quote, as Evidence returns it.
	TypeQuote = "application/vnd.assize.tdx-quote"
	// TypeJSON is what JSON returns.
	TypeJSON = "application/vnd.assize.tdx+json"
	// TypeTSMReport is what TSMReport returns.
	TypeTSMReport = "application/vnd.veraison.tsm-report+json"
)

// errNoQuote says that there is nothing to wrap.
var errNoQuote = errors.New("inteltdx: quote is empty")

// TSMReport wraps a quote as a report of Linux configfs-TSM in the JSON form of
// ratsd: provider "tdx_guest", quote as outblob in base64url without padding.
func TSMReport(quote []byte) ([]byte, error) {
	if len(quote) == 0 {
		return nil, errNoQuote
	}
	out := appendBase64([]byte(`{"outblob":"`), quote)
	return append(out, `","provider":"tdx_guest"}`...), nil
}

// JSON wraps a quote and, unless it is empty, an event log as the members
// "quote" and "cc_eventlog", both base64url without padding.
func JSON(quote, eventLog []byte) ([]byte, error) {
	if len(quote) == 0 {
		return nil, errNoQuote
	}
	out := append(appendBase64([]byte(`{"quote":"`), quote), '"')
	if len(eventLog) != 0 {
		out = append(appendBase64(append(out, `,"cc_eventlog":"`...), eventLog), '"')
	}
	return append(out, '}'), nil
}

func appendBase64(out, raw []byte) []byte { return base64.RawURLEncoding.AppendEncode(out, raw) }
