// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// maxTimeout is the longest budget in a header that is believed; the service's
// own bound is lower.
const maxTimeout = time.Hour

// errHeaders says that the headers of a request are missing, doubled, not in
// the contract's form, or not those of the body.
var errHeaders = errors.New("fabric: request headers")

// requestHeader is the parsed header of a request.
type requestHeader struct {
	request string
	session string // empty: not said
	scheme  string
	timeout time.Duration // zero: not said
	attempt string
	digest  [sha256.Size]byte
	sealed  bool
	seal    string // id of the key that it is sealed to
	// mediaType is that of the body, or of what is sealed in it.
	mediaType string
}

// parseHeader reads the headers of an untrusted appraisal request.
func parseHeader(h nats.Header) (requestHeader, error) {
	return parseHeaderFor(h, ContentType, SignedContentType)
}

// parseHeaderFor reads the headers of an untrusted request with a body of one
// of the media types. Every header that the contract knows occurs at most once;
// Att-Request, Att-Scheme, Att-Digest and Content-Type exactly once. Errors
// wrap errHeaders.
func parseHeaderFor(h nats.Header, mediaTypes ...string) (requestHeader, error) {
	var out requestHeader
	for _, k := range []string{
		HeaderRequest, HeaderSession, HeaderScheme, HeaderContentType,
		HeaderTimeout, HeaderAttempt, HeaderDigest, HeaderSeal,
	} {
		if len(h[k]) > 1 {
			return out, errHeaders
		}
	}
	out.request, out.scheme, out.session = first(h, HeaderRequest), first(h, HeaderScheme), first(h, HeaderSession)
	out.attempt, out.sealed, out.seal = first(h, HeaderAttempt), len(h[HeaderSeal]) > 0, first(h, HeaderSeal)
	out.mediaType = first(h, HeaderContentType)
	if !requestID.MatchString(out.request) || !slug.MatchString(out.scheme) || len(out.session) > 64 {
		return out, errHeaders
	}
	if !validAttempt(out.attempt) || !slices.Contains(mediaTypes, out.mediaType) {
		return out, errHeaders
	}
	digest := first(h, HeaderDigest)
	raw, err := hex.DecodeString(digest)
	if err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != digest {
		return out, errHeaders
	}
	out.digest = [sha256.Size]byte(raw)
	if len(h[HeaderTimeout]) > 0 {
		ms, ok := millis(first(h, HeaderTimeout))
		if !ok {
			return out, errHeaders
		}
		out.timeout = ms
	}
	return out, nil
}

// first returns the first value without the allocation of a canonical lookup;
// NATS headers keep their case.
func first(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func validAttempt(s string) bool {
	if s == "" || s == "h" {
		return true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// millis reads a positive number of milliseconds, at most maxTimeout.
func millis(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	d := time.Duration(n) * time.Millisecond
	if err != nil || n == 0 || d > maxTimeout || strconv.FormatUint(n, 10) != s {
		return 0, false
	}
	return d, true
}

// covers reports whether the digest in the headers is that of the body.
func (h requestHeader) covers(body []byte) bool {
	sum := sha256.Sum256(body)
	return subtle.ConstantTimeCompare(sum[:], h.digest[:]) == 1
}

// decodeBody checks a body against its headers and decodes it: digest, request
// id, scheme and session must be the same in both. Errors wrap errHeaders, which
// means a malformed request, or are the guard's.
func (h requestHeader) decodeBody(g *verifiers.Guard, body []byte) (verifiers.Request, error) {
	if !h.covers(body) {
		return verifiers.Request{}, errHeaders
	}
	r, from, err := g.Open(body, h.mediaType == SignedContentType)
	if err != nil {
		return r, err
	}
	if from.KID != "" {
		r.Sender, r.SenderKID = from.From, from.KID
	}
	if r.ID != h.request || r.Scheme != h.scheme || (h.session != "" && r.Session != h.session) {
		return r, errHeaders
	}
	return r, nil
}

// baseHeaders renders what every request has, the same for every attempt.
func baseHeaders(id, scheme, mediaType string, digest [sha256.Size]byte) nats.Header {
	return nats.Header{
		HeaderRequest:     {id},
		HeaderScheme:      {scheme},
		HeaderContentType: {mediaType},
		HeaderDigest:      {hex.EncodeToString(digest[:])},
	}
}

// requestHeaders renders the headers of an appraisal request.
func requestHeaders(r verifiers.Request, mediaType string, digest [sha256.Size]byte) nats.Header {
	h := baseHeaders(r.ID, r.Scheme, mediaType, digest)
	if r.Session != "" {
		h[HeaderSession] = []string{r.Session}
	}
	return h
}

// answerCode reads the error of an answer: zero when there is none, and
// CodeInternal for a code that is not in the contract. The hint is zero when
// there is none.
func answerCode(h nats.Header) (Code, time.Duration) {
	if len(h[micro.ErrorCodeHeader]) == 0 && len(h[micro.ErrorHeader]) == 0 {
		return 0, 0
	}
	n, err := strconv.Atoi(first(h, micro.ErrorCodeHeader))
	if c := Code(n); err == nil && c.Text() != "" {
		hint, _ := millis(first(h, HeaderRetryAfter))
		return c, hint
	}
	return CodeInternal, 0
}
