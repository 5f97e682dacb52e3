// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/paravisor"
)

// container is what was taken out of one component: the quote, what lies beside
// it, and whether there was more that this scheme does not evaluate.
type container struct {
	quote []byte
	// eventLog is the event log, nil without.
	eventLog []byte
	// runtimeData are the bytes of that member as they stand, nil without.
	runtimeData []byte
	// machine is the leaf of a confidential VM of Azure, nil for others.
	machine *paravisor.Machine
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
	case azure.MediaType:
		return openAzure(in.Evidence)
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
	members, err := split(raw)
	if err != nil {
		return container{}, fmt.Errorf("TDX JSON: %w", err)
	}
	var c container
	for name, value := range members {
		switch name {
		case "quote":
			c.quote, err = base64url(value)
		case "cc_eventlog":
			c.eventLog, err = base64url(value)
		case "runtime_data":
			if c.runtimeData = value; !json.Valid(value) {
				err = errors.New("not JSON")
			}
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
	if len(value) < 2 || value[0] != '"' {
		return nil, errors.New("not a string")
	}
	// A text without escapes stands for itself, which is how everybody writes
	// base64url: a log has some 300 KiB of it.
	text := []byte(value[1 : len(value)-1])
	if bytes.IndexByte(text, '\\') >= 0 {
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			return nil, err
		}
		text = []byte(s)
	}
	for _, c := range []byte("\r\n") {
		if i := bytes.IndexByte(text, c); i >= 0 {
			return nil, fmt.Errorf("line break at character %d of the base64url", i)
		}
	}
	out := make([]byte, base64.RawURLEncoding.DecodedLen(len(text)))
	n, err := base64.RawURLEncoding.Strict().Decode(out, text)
	return out[:n], err
}
