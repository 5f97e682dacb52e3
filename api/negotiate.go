// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/assize/assize/evidence"
)

// Forms of a verdict.
const (
	typeJSON = "application/json"
	typeEAR  = "application/eat+jwt"
	typeCMW  = "application/cmw+json"
	// typeResults are the bare results of a parallel topology, for a relying party
	// that combines them itself.
	typeResults = "application/cmw+cbor"
)

// problem is an RFC 9457 problem document. Label (the path in the evidence
// tree) and Offset (bytes from the start of the message) are set where a
// message is malformed.
type problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Code   string  `json:"code"`
	Detail string  `json:"detail"`
	Rule   string  `json:"rule,omitempty"`
	Label  *string `json:"label,omitempty"`
	Offset *int64  `json:"offset,omitempty"`
}

func (s *server) problem(w http.ResponseWriter, r *http.Request, p problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers only
		body = []byte(`{"status":500,"code":"internal"}`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	s.write(w, r, p.Status, body)
}

// negotiate picks the form of the answer from the Accept headers: the highest
// quality wins, our order breaks ties. No header means JSON. bare says that the
// results may go without a verdict around them.
func negotiate(accept []string, bare bool) (string, bool) {
	if len(accept) == 0 {
		return typeJSON, true
	}
	best, bestQ := "", 0.0
	forms := []string{typeJSON, typeEAR, typeCMW}
	if bare {
		forms = append(forms, typeResults)
	}
	for _, form := range forms {
		if q := quality(form, accept); q > bestQ {
			best, bestQ = form, q
		}
	}
	return best, best != ""
}

// quality is the q-value that the most specific matching range gives a form.
func quality(form string, accept []string) float64 {
	q, specific := 0.0, -1
	for _, header := range accept {
		for item := range strings.SplitSeq(header, ",") {
			base, params, err := mime.ParseMediaType(strings.TrimSpace(item))
			if err != nil {
				continue
			}
			level := slices.Index([]string{"*/*", form[:strings.IndexByte(form, '/')] + "/*", form}, base)
			if level < 0 || level < specific {
				continue
			}
			v := 1.0
			if s, ok := params["q"]; ok {
				if v, err = strconv.ParseFloat(s, 64); err != nil || v < 0 || v > 1 {
					continue
				}
			}
			q, specific = v, level
		}
	}
	return q
}

// Accepted reports whether a Content-Type is one of composite evidence: a CMW
// in any form, or a ratsd token under one of its names.
func Accepted(contentType string) bool {
	mt, err := evidence.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch mt.Base {
	case "application/cmw+json", "application/cmw+cbor", "application/cmw+cose", "application/cmw+jws":
		return true
	case "application/eat-ucs+json", "application/eat+cwt":
		return strings.HasPrefix(mt.Params["eat_profile"], "tag:github.com,") && strings.Contains(mt.Params["eat_profile"], ":veraison/ratsd")
	}
	return false
}

// ParseNonce reads the query parameter "nonce". Absent means nil.
func ParseNonce(q url.Values) ([]byte, error) {
	values, ok := q["nonce"]
	if !ok {
		return nil, nil
	}
	if len(values) != 1 {
		return nil, errors.New("the nonce is given more than once")
	}
	return DecodeNonce(values[0])
}

// DecodeNonce reads a nonce in hexadecimal (an even number of hexadecimal
// digits and nothing else) or in base64 or base64url, padded or not. A space
// stands for "+", which URLs turn it into. 8 to 64 bytes.
func DecodeNonce(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		if strings.ContainsAny(s, "\r\n") { // which package base64 would skip
			return nil, errors.New("a nonce is one line")
		}
		t := strings.TrimRight(strings.NewReplacer(" ", "+", "-", "+", "_", "/").Replace(s), "=")
		if b, err = base64.RawStdEncoding.Strict().DecodeString(t); err != nil {
			return nil, errors.New("a nonce is written in hexadecimal, base64 or base64url")
		}
	}
	if len(b) < 8 || len(b) > 64 {
		return nil, errors.New("a nonce has 8 to 64 bytes, not " + strconv.Itoa(len(b)))
	}
	return b, nil
}
