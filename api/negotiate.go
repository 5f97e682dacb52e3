// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
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
	"github.com/assize/assize/verdict"
)

// Forms of a verdict.
const (
	typeJSON = "application/json"
	typeEAR  = "application/eat+jwt"
	typeCWT  = "application/eat+cwt"
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

// form is one in which a verdict can be had: a media type, and of signed ones the
// format with its profile.
type form struct {
	base   string
	format verdict.Format
}

// String is the Content-Type.
func (f form) String() string {
	if f.format == "" {
		return f.base
	}
	return f.format.MediaType().String()
}

// forms are those on offer, in our order. Of one media type the first is the one
// that is meant where no profile is named.
func (s *server) forms(parallel bool) []form {
	out := []form{{base: typeJSON}, {typeEAR, verdict.FormatP23JWT}, {base: typeCMW}}
	if parallel {
		out = append(out, form{base: typeResults})
	}
	if s.sign == nil {
		return out
	}
	for _, f := range verdict.Formats() {
		if f != verdict.FormatP23JWT {
			out = append(out, form{f.MediaType().Base, f})
		}
	}
	return out
}

// available lists forms for who asked for another one.
func available(forms []form) string {
	names := make([]string, len(forms))
	for i, f := range forms {
		names[i] = f.String()
	}
	return strings.Join(names, ", ")
}

// negotiate gives the forms that the Accept headers allow: the highest quality
// first, our order among equals. No header means JSON.
func negotiate(accept []string, forms []form) []form {
	if len(accept) == 0 {
		return []form{{base: typeJSON}}
	}
	ranges := mediaRanges(accept)
	quality := make(map[form]float64, len(forms))
	var out []form
	for _, f := range forms {
		if quality[f] = f.quality(ranges); quality[f] > 0 {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b form) int { return cmp.Compare(quality[b], quality[a]) })
	return out
}

// mediaRange is one range of an Accept header. Of its parameters only the profile
// of a token and the quality are looked at.
type mediaRange struct {
	base, profile string
	q             float64
}

// mediaRanges reads Accept headers; what is no media range is left out.
func mediaRanges(accept []string) []mediaRange {
	var out []mediaRange
	for _, header := range accept {
		for _, item := range splitList(header) {
			base, params, err := mime.ParseMediaType(strings.TrimSpace(item))
			if err != nil {
				continue
			}
			one := mediaRange{base: base, profile: params["eat_profile"], q: 1}
			if s, ok := params["q"]; ok {
				if one.q, err = strconv.ParseFloat(s, 64); err != nil || !(one.q >= 0 && one.q <= 1) {
					continue
				}
			}
			switch base { // the spelling of drafts before RFC 9782 (decision D-21)
			case "application/eat-jwt":
				one.base = typeEAR
			case "application/eat-cwt":
				one.base = typeCWT
			}
			out = append(out, one)
		}
	}
	return out
}

// splitList cuts a header at its commas, but not at those in quoted texts, which
// profiles have.
func splitList(header string) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i < len(header); i++ {
		switch {
		case quoted && header[i] == '\\':
			i++
		case header[i] == '"':
			quoted = !quoted
		case header[i] == ',' && !quoted:
			out = append(out, header[start:i])
			start = i + 1
		}
	}
	return append(out, header[start:])
}

// quality is the q-value that Accept headers give a media type without profile.
func quality(base string, accept []string) float64 {
	return form{base: base}.quality(mediaRanges(accept))
}

// quality is the q-value that the most specific matching range gives a form.
func (f form) quality(ranges []mediaRange) float64 {
	q, specific := 0.0, -1
	for _, one := range ranges {
		level := slices.Index([]string{"*/*", f.base[:strings.IndexByte(f.base, '/')] + "/*", f.base}, one.base)
		if one.profile != "" {
			if level < 0 || one.profile != f.format.Profile() {
				continue
			}
			level = 3 // more than that of a bare type
		}
		if level >= 0 && level >= specific {
			q, specific = one.q, level
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
