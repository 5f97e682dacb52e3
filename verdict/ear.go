// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// ProfileP23 is the EAR profile of all results (EAR draft as implemented by
// veraison/ear 1.1, decision D-17).
const ProfileP23 = "tag:github.com,2023:veraison/ear"

// resultDepth bounds the nesting of JSON in a result.
const resultDepth = 16

// Claims of the profile.
const (
	claimProfile    = "eat_profile"
	claimNonce      = "eat_nonce"
	claimVerifierID = "ear.verifier-id"
	claimSubmods    = "submods"
	claimPartials   = "ear.assize.partials"
	claimWitnesses  = "ear.assize.witnesses"
	claimStatus     = "ear.status"
	claimVector     = "ear.trustworthiness-vector"
	claimPolicyID   = "ear.appraisal-policy-id"
	claimAnnotated  = "ear.veraison.annotated-evidence"
	claimPolicy     = "ear.veraison.policy-claims"
)

// Identity names the maker and the build of a verifier (ear.verifier-id).
type Identity struct {
	Developer string `json:"developer"`
	Build     string `json:"build"`
}

// earClaims is the top level of a result.
type earClaims struct {
	Profile  string         `json:"eat_profile"`
	IssuedAt int64          `json:"iat"`
	Expires  int64          `json:"exp,omitempty"`
	Verifier Identity       `json:"ear.verifier-id"`
	Nonce    string         `json:"eat_nonce,omitempty"`
	Submods  map[string]any `json:"submods,omitempty"`
}

// submodClaims is one appraisal inside a result.
type submodClaims struct {
	Status    Tier             `json:"ear.status"`
	Vector    map[string]Claim `json:"ear.trustworthiness-vector"`
	PolicyID  string           `json:"ear.appraisal-policy-id,omitempty"`
	Annotated map[string]any   `json:"ear.veraison.annotated-evidence,omitempty"`
	Policy    any              `json:"ear.veraison.policy-claims"`
}

// members returns the vector as JSON members: all eight, or those that assert
// something.
func (v Vector) members(all bool) map[string]Claim {
	out := make(map[string]Claim, numClaims)
	for n, c := range v {
		if all || c != ClaimNone {
			out[claimNames[n]] = c
		}
	}
	return out
}

// encodeNonce is the spelling of a nonce in eat_nonce: base64url with padding,
// 12 to 88 characters for 8 to 64 bytes.
func encodeNonce(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return base64.URLEncoding.EncodeToString(b)
}

func checkNonce(b []byte) error {
	if n := len(b); n != 0 && (n < limits.NonceMin || n > limits.NonceMax) {
		return fmt.Errorf("verdict: nonce of %d bytes: want %d to %d", n, limits.NonceMin, limits.NonceMax)
	}
	return nil
}

// object is a decoded JSON object; its methods read typed members.
type object map[string]any

func (o object) object(name string) (object, error) {
	m, ok := o[name].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s is missing or not an object", name)
	}
	return m, nil
}

func (o object) text(name string) (string, error) {
	s, ok := o[name].(string)
	if !ok {
		return "", fmt.Errorf("%s is missing or not a text", name)
	}
	return s, nil
}

func (o object) optionalText(name string) (string, error) {
	if _, ok := o[name]; !ok {
		return "", nil
	}
	return o.text(name)
}

func (o object) optionalList(name string) ([]any, error) {
	v, ok := o[name]
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not an array", name)
	}
	return list, nil
}

func (o object) texts(name string) ([]string, error) {
	list, err := o.optionalList(name)
	if err != nil || list == nil {
		return nil, err
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s holds something other than a text", name)
		}
		out = append(out, s)
	}
	return out, nil
}

func (o object) tier(name string) (Tier, error) {
	s, err := o.text(name)
	if err != nil {
		return TierNone, err
	}
	return ParseTier(s)
}

// integer reads a number without fraction or exponent.
func (o object) integer(name string) (int64, error) {
	n, ok := o[name].(json.Number)
	if !ok {
		return 0, fmt.Errorf("%s is missing or not a number", name)
	}
	i, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not an integer", name)
	}
	return i, nil
}

const maxSeconds = 253402300799 // 9999-12-31T23:59:59Z

// seconds reads a time in whole seconds since 1970; zero time when absent.
func (o object) seconds(name string) (time.Time, error) {
	if _, ok := o[name]; !ok {
		return time.Time{}, nil
	}
	n, err := o.integer(name)
	if err != nil {
		return time.Time{}, err
	}
	if n <= 0 || n > maxSeconds {
		return time.Time{}, fmt.Errorf("%s is out of range", name)
	}
	return time.Unix(n, 0).UTC(), nil
}

// resultHead is the part that partial and aggregated results have in common.
type resultHead struct {
	raw      []byte
	claims   object
	verifier Identity
	issued   time.Time
	expires  time.Time
	notYet   time.Time
	nonce    string
	submods  object
}

// parseResult reads the claims of a signed result, at the level that every P23
// result has.
func parseResult(raw []byte) (resultHead, error) {
	claims, err := trust.ParseObject(raw, resultDepth)
	if err != nil {
		return resultHead{}, err
	}
	return readHead(raw, claims)
}

// readHead reads claims that were decoded; raw is what they were decoded from.
func readHead(raw []byte, claims object) (resultHead, error) {
	h := resultHead{raw: raw, claims: claims}
	if p, err := h.claims.text(claimProfile); err != nil || p != ProfileP23 {
		return h, fmt.Errorf("%s is not %q", claimProfile, ProfileP23)
	}
	if err := h.times(); err != nil {
		return h, err
	}
	id, err := h.claims.object(claimVerifierID)
	if err != nil {
		return h, err
	}
	if h.verifier, err = id.identity(); err != nil {
		return h, err
	}
	if h.nonce, err = h.claims.optionalText(claimNonce); err != nil {
		return h, err
	}
	if _, ok := h.claims[claimNonce]; ok && (len(h.nonce) < 8 || len(h.nonce) > 88) {
		return h, fmt.Errorf("%s has %d characters: want 8 to 88", claimNonce, len(h.nonce))
	}
	if h.submods, err = h.claims.object(claimSubmods); err != nil {
		return h, err
	}
	if len(h.submods) == 0 {
		return h, errors.New("submods is empty")
	}
	return h, nil
}

func (h *resultHead) times() error {
	var err error
	if h.issued, err = h.claims.seconds("iat"); err != nil {
		return err
	}
	if h.issued.IsZero() {
		return errors.New("iat is missing")
	}
	if h.expires, err = h.claims.seconds("exp"); err != nil {
		return err
	}
	h.notYet, err = h.claims.seconds("nbf")
	return err
}

func (o object) identity() (Identity, error) {
	developer, err := o.text("developer")
	if err != nil {
		return Identity{}, err
	}
	build, err := o.text("build")
	return Identity{Developer: developer, Build: build}, err
}

// vector reads a trustworthiness vector. Members that AR4SI does not define are
// returned apart (decision D-44).
func (o object) vector() (v Vector, unknown map[string]Claim, err error) {
	m, err := o.object(claimVector)
	if err != nil {
		return v, nil, err
	}
	if len(m) == 0 {
		return v, nil, fmt.Errorf("%s is empty", claimVector)
	}
	seen := 0
	for n, name := range claimNames {
		if _, ok := m[name]; !ok {
			continue
		}
		seen++
		if v[n], err = m.claim(name); err != nil {
			return v, nil, err
		}
	}
	if seen == len(m) {
		return v, nil, nil
	}
	unknown = make(map[string]Claim)
	for name := range m {
		if knownClaim(name) {
			continue
		}
		if unknown[name], err = m.claim(name); err != nil {
			return v, nil, err
		}
	}
	return v, unknown, nil
}

func knownClaim(name string) bool {
	for _, n := range claimNames {
		if n == name {
			return true
		}
	}
	return false
}

func (o object) claim(name string) (Claim, error) {
	n, err := o.integer(name)
	if err != nil {
		return 0, err
	}
	if n < math.MinInt8 || n > math.MaxInt8 {
		return 0, fmt.Errorf("claim %s is %d: want a signed 8-bit number", name, n)
	}
	return Claim(n), nil
}

func (o object) reasons(name string) ([]Reason, error) {
	list, err := o.optionalList(name)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	out := make([]Reason, 0, len(list))
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s holds something other than an object", name)
		}
		r, err := object(m).reason()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (o object) reason() (Reason, error) {
	code, err := o.text("code")
	if err != nil {
		return Reason{}, err
	}
	if code == "" {
		return Reason{}, errors.New("code is empty")
	}
	r := Reason{Code: code}
	for _, f := range []struct {
		name string
		to   *string
	}{{"detail", &r.Detail}, {"expected", &r.Expected}, {"observed", &r.Observed}, {"source", &r.Source}} {
		if *f.to, err = o.optionalText(f.name); err != nil {
			return Reason{}, err
		}
	}
	return r, nil
}

// plain turns json.Number into int64, uint64 or float64, or into text where
// none of them holds it.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return u
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String() // beyond float64: kept as it was written
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	}
	return v
}
