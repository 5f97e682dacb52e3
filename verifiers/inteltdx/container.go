// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// container is what was taken out of one component: the quote, and whether
// there was more that this scheme does not evaluate.
type container struct {
	quote []byte
	// unevaluated are the names of claims that say what else was there.
	unevaluated []string
}

// open takes the quote out of its container by media type; contents never
// decide which container it is.
func open(in verifiers.Input) (container, *failure) {
	if len(in.Evidence) > maxEvidence {
		return container{}, failf(verdict.ReasonTooLarge, "evidence has %d bytes, at most %d", len(in.Evidence), maxEvidence)
	}
	var (
		c   container
		err error
	)
	switch in.MediaType.Base {
	case typeQuote:
		c.quote = in.Evidence
	case typeJSON:
		c, err = openJSON(in.Evidence)
	case typeTSMJSON, typeTSMCBOR:
		c, err = openTSM(in)
	default:
		err = fmt.Errorf("media type %s is not one of this scheme", in.MediaType.Base)
	}
	if err != nil {
		return container{}, failf(verdict.ReasonMalformed, "%v", err)
	}
	if len(c.quote) > maxQuote {
		return container{}, failf(verdict.ReasonTooLarge, "quote has %d bytes, at most %d", len(c.quote), maxQuote)
	}
	return c, nil
}

// openTSM reads a configfs-TSM report. The provider in the report counts: the
// parameter of the media type is only what somebody said about it. The kernel's
// TDX guest driver gives an outblob and nothing else; the quote in it stands for
// itself, so whatever else a report holds changes nothing, and claims name it.
func openTSM(in verifiers.Input) (container, error) {
	r, err := tsm.Decode(in.MediaType, in.Evidence)
	if err != nil {
		return container{}, err
	}
	if r.Provider != tsmProvider {
		return container{}, fmt.Errorf("TSM report is of provider %q, expected %q", r.Provider, tsmProvider)
	}
	c := container{quote: r.OutBlob}
	for _, extra := range []struct {
		there bool
		claim string
	}{
		{len(r.AuxBlob) != 0, "tsm_auxblob"},
		{r.ServiceProvider != "", "tsm_service_provider"},
		{len(r.ManifestBlob) != 0, "tsm_manifestblob"},
	} {
		if extra.there {
			c.unevaluated = append(c.unevaluated, extra.claim)
		}
	}
	return c, nil
}

// openJSON reads application/vnd.assize.tdx+json: an object with the member
// quote and optionally cc_eventlog, both base64url without padding, and
// runtime_data, any value. Anything else is an error.
func openJSON(raw []byte) (container, error) {
	members, err := objectMembers(raw)
	if err != nil {
		return container{}, fmt.Errorf("TDX JSON: %w", err)
	}
	var c container
	for name, value := range members {
		switch name {
		case "quote":
			c.quote, err = base64url(value)
		case "cc_eventlog":
			c.unevaluated = append(c.unevaluated, "event_log")
			_, err = base64url(value)
		case "runtime_data":
			c.unevaluated = append(c.unevaluated, "runtime_data")
		default:
			err = errors.New("unknown member")
		}
		if err != nil {
			return container{}, fmt.Errorf("TDX JSON: member %q: %w", name, err)
		}
	}
	if c.quote == nil {
		return container{}, errors.New("TDX JSON: member \"quote\" is missing")
	}
	return c, nil
}

// base64url decodes a JSON string of RFC 4648 section 5 without padding. The
// decoder of encoding/base64 skips line breaks; here they are errors.
func base64url(value json.RawMessage) ([]byte, error) {
	var s string
	if len(value) == 0 || value[0] != '"' {
		return nil, errors.New("not a string")
	}
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, err
	}
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, fmt.Errorf("line break at character %d of the base64url", i)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// objectMembers splits one JSON object and refuses duplicate members and
// anything behind the object.
func objectMembers(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		tok, err := dec.Token()
		name, ok := tok.(string)
		if err != nil || !ok {
			return nil, fmt.Errorf("no member name at byte %d", dec.InputOffset())
		}
		if _, dup := out[name]; dup {
			return nil, fmt.Errorf("duplicate member %q at byte %d", name, dec.InputOffset())
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, fmt.Errorf("at byte %d: %w", dec.InputOffset(), err)
		}
		out[name] = v
	}
	if tok, err := dec.Token(); err != nil || tok != json.Delim('}') {
		return nil, fmt.Errorf("object is not closed at byte %d", dec.InputOffset())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("data behind the object at byte %d", dec.InputOffset())
	}
	return out, nil
}
