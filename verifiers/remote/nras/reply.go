// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// Sizes and times of a reply.
const (
	// MaxReply is the largest reply in bytes; one of one device has about 4 KiB.
	MaxReply = 256 << 10
	// MaxToken is the largest token in it in bytes.
	MaxToken = 128 << 10
	// Leeway is how far the times in a token may be from that of the appraisal:
	// the clocks of two nodes, and a reply that was a while on its way.
	Leeway = 2 * limits.ClockSkew

	maxDepth      = 8
	overallSub    = "NVIDIA-PLATFORM-ATTESTATION"
	claimOverall  = "x-nvidia-overall-att-result"
	claimDetails  = "x-nvidia-error-details"
	digestMarker  = "DIGEST"
	tokenMarker   = "JWT"
	maxStatedTime = 1 << 53
)

// ErrReply says that a reply of the service is not one to what was asked: of
// another form, not signed by it, out of time, for another challenge or device.
// It says nothing about the device.
var ErrReply = errors.New("nras: reply of the service cannot be relied upon")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrReply}, args...)...)
}

// bundle is a detached EAT bundle of one device, nothing of it verified.
type bundle struct {
	overall, device string
}

// readBundle takes [["JWT", overall], {name: token}] apart; name is the one
// device that was asked about.
func readBundle(raw []byte, name string) (b bundle, err error) {
	if len(raw) > MaxReply {
		return b, bad("%d bytes, at most %d", len(raw), MaxReply)
	}
	if !json.Valid(raw) {
		return b, bad("not JSON")
	}
	// ParseObject reads objects; what is put around is one value, as Valid says.
	m, err := trust.ParseObject([]byte(`{"":`+string(raw)+`}`), 4)
	if err != nil {
		return b, bad("%w", err)
	}
	list, _ := m[""].([]any)
	if len(list) != 2 {
		return b, bad("not an array of an overall token and device tokens")
	}
	first, _ := list[0].([]any)
	if len(first) != 2 || first[0] != tokenMarker {
		return b, bad("no overall token: expected [%q, token]", tokenMarker)
	}
	devices, ok := list[1].(map[string]any)
	if !ok || len(devices) != 1 {
		return b, bad("tokens of %d devices, asked was about one", len(devices))
	}
	if b.overall, ok = first[1].(string); !ok {
		return b, bad("the overall token is no text")
	}
	if b.device, ok = devices[name].(string); !ok {
		return b, bad("no token of %s", name)
	}
	if len(b.overall) > MaxToken || len(b.device) > MaxToken {
		return b, bad("tokens of %d and %d bytes, at most %d", len(b.overall), len(b.device), MaxToken)
	}
	return b, nil
}

// expected is what a reply has to be an answer to.
type expected struct {
	issuer string
	// name of the device in the reply, nonce that was sent.
	name  string
	nonce []byte
	// time of the appraisal, by which tokens must be valid.
	time time.Time
}

// statement is what the service has signed.
type statement struct {
	kid string
	// overall is its overall result.
	overall bool
	// device are the claims of the device token.
	device map[string]any
}

// keyFinder finds a key of the service.
type keyFinder func(kid string) (trust.Key, bool)

// verify checks everything that makes a bundle an answer. Errors wrap ErrReply.
func (b bundle) verify(find keyFinder, e expected) (*statement, error) {
	overall, key, err := openToken(b.overall, find)
	if err != nil {
		return nil, fmt.Errorf("overall token: %w", err)
	}
	if err := e.check(overall, false); err != nil {
		return nil, fmt.Errorf("overall token: %w", err)
	}
	switch {
	case overall["sub"] != overallSub:
		return nil, bad("overall token: sub is not %s", overallSub)
	case overall["x-nvidia-ver"] != ClaimsVersion:
		return nil, bad("overall token: claims of version %.16v, asked was for %s", overall["x-nvidia-ver"], ClaimsVersion)
	}
	result, ok := overall[claimOverall].(bool)
	if !ok {
		return nil, bad("overall token: %s is neither true nor false", claimOverall)
	}
	if err := b.digest(overall["submods"], e.name); err != nil {
		return nil, err
	}
	s := &statement{kid: key.KID, overall: result}
	if s.device, _, err = openToken(b.device, find); err != nil { // the key may change between two tokens
		return nil, fmt.Errorf("token of %s: %w", e.name, err)
	}
	_, refused := s.device[claimDetails].(map[string]any)
	if err := e.check(s.device, refused); err != nil {
		return nil, fmt.Errorf("token of %s: %w", e.name, err)
	}
	return s, nil
}

// openToken verifies a token, which must be signed with ES384, and reads its
// claims.
func openToken(token string, find keyFinder) (map[string]any, trust.Key, error) {
	raw, key, err := trust.VerifyJWT([]byte(token), func(kid string) (trust.Key, bool) {
		k, ok := find(kid)
		return k, ok && k.Alg == trust.ES384
	})
	if err != nil {
		return nil, key, bad("%w", err)
	}
	claims, err := trust.ParseObject(raw, maxDepth)
	if err != nil {
		return nil, key, bad("%w", err)
	}
	return claims, key, nil
}

// digest holds the device token against its digest in the overall token, and
// the names there against what was asked: {name: ["DIGEST", ["SHA-256", hex]]}.
func (b bundle) digest(submods any, name string) error {
	m, _ := submods.(map[string]any)
	if len(m) != 1 {
		return bad("overall token: %d submods, asked was about one device", len(m))
	}
	entry, _ := m[name].([]any)
	if len(entry) != 2 || entry[0] != digestMarker {
		return bad("overall token: no digest of %s", name)
	}
	pair, _ := entry[1].([]any)
	if len(pair) != 2 || pair[0] != "SHA-256" && pair[0] != "SHA256" {
		return bad("overall token: the digest of %s is no SHA-256", name)
	}
	text, _ := pair[1].(string)
	want, err := hex.DecodeString(text)
	sum := sha256.Sum256([]byte(b.device))
	if err != nil || subtle.ConstantTimeCompare(want, sum[:]) != 1 {
		return bad("the token of %s is not the one whose digest is in the overall token", name)
	}
	return nil
}

// check holds issuer, times and nonce of a token against what they must be. The
// token of a refused device may have none of them, because the overall token
// holds its digest; those that it has must be right.
func (e expected) check(claims map[string]any, refused bool) error {
	missing := func(name string) bool { _, ok := claims[name]; return !ok && refused }
	if !missing("iss") && claims["iss"] != e.issuer {
		return bad("issuer %.128q, expected %q", fmt.Sprint(claims["iss"]), e.issuer)
	}
	if !missing("eat_nonce") {
		text, _ := claims["eat_nonce"].(string)
		nonce, err := hex.DecodeString(strings.ToLower(text))
		if err != nil || subtle.ConstantTimeCompare(nonce, e.nonce) != 1 {
			return bad("it answers another nonce than %s", short(e.nonce))
		}
	}
	times := map[string]time.Time{}
	for _, name := range []string{"iat", "nbf", "exp"} {
		if missing(name) {
			continue
		}
		t, err := instant(claims[name])
		if err != nil {
			return bad("%s: %w", name, err)
		}
		times[name] = t
	}
	return e.inTime(times)
}

func (e expected) inTime(times map[string]time.Time) error {
	at := e.time.UTC().Format(time.RFC3339)
	if t, ok := times["iat"]; ok && (t.Sub(e.time) > Leeway || e.time.Sub(t) > Leeway) {
		return bad("issued at %s, which is not the time of the appraisal, %s; the service judges as of now only", t.UTC().Format(time.RFC3339), at)
	}
	if t, ok := times["nbf"]; ok && t.Sub(e.time) > Leeway {
		return bad("valid from %s, not at %s", t.UTC().Format(time.RFC3339), at)
	}
	if t, ok := times["exp"]; ok && e.time.Sub(t) > Leeway {
		return bad("valid until %s, not at %s", t.UTC().Format(time.RFC3339), at)
	}
	if iat, ok := times["iat"]; ok && times["exp"].Before(iat) && !times["exp"].IsZero() {
		return bad("it ends before it was issued")
	}
	return nil
}

// instant reads a NumericDate (RFC 7519): whole seconds here.
func instant(v any) (time.Time, error) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, errors.New("no number")
	}
	i, err := n.Int64()
	if err != nil || i <= 0 || i > maxStatedTime {
		return time.Time{}, fmt.Errorf("%.32s is no time in whole seconds", n)
	}
	return time.Unix(i, 0), nil
}
