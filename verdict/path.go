// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/assize/assize/trust"
)

// Bounds of paths and receipts.
const (
	// MaxPath is the number of nodes on a path: those that an envelope may have
	// passed, and the one that got it (decision D-43).
	MaxPath = 9
	// MaxReceipt is the largest receipt in bytes, MaxReceipts how many an
	// aggregate can carry.
	MaxReceipt  = 64 << 10
	MaxReceipts = 64

	maxHopKID   = 255
	maxRequests = 256

	receiptProfile = "tag:github.com,2026:assize/receipt"
	claimReceipts  = "ear.assize.receipts"
)

// Hop is one node of a path: its name, and the key with the role trust.RoleNode
// with which it signs what it hands on. The name is empty for an entry that has
// none.
type Hop struct {
	Node string `json:"node"`
	KID  string `json:"kid"`
}

// Names are the nodes of a path.
func Names(path []Hop) []string {
	out := make([]string, len(path))
	for i, h := range path {
		out[i] = h.Node
	}
	return out
}

var (
	nodeName  = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	requestID = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// checkHops holds for every path with more than one node: names and keys of
// their form, and no node twice.
func checkHops(path []Hop) error {
	if len(path) < 2 || len(path) > MaxPath {
		return fmt.Errorf("a path of %d nodes, want 2 to %d", len(path), MaxPath)
	}
	for i, h := range path {
		if !nodeName.MatchString(h.Node) && (i > 0 || h.Node != "") || h.KID == "" || len(h.KID) > maxHopKID {
			return fmt.Errorf("node %d of a path is not of its form", i)
		}
		if slices.ContainsFunc(path[:i], func(o Hop) bool { return o.Node == h.Node || o.KID == h.KID }) {
			return fmt.Errorf("node %q is on a path twice", h.Node)
		}
	}
	return nil
}

// Receipt is what a node says about an envelope that it has carried out: along
// which path it came, and for which requests. The node has verified the signature
// of the node before it; what lies before that one is for its receipt to say. A
// node signs its receipt with its node key, so the way of a result can be followed
// hop by hop by whoever knows the nodes, without the word of the lead.
type Receipt struct {
	Session string
	Issued  time.Time // whole seconds
	// Path ends with the node that signs.
	Path []Hop
	// Requests are the identifiers of the components that were asked for, sorted.
	Requests []string

	token []byte
}

type receiptClaims struct {
	Profile  string   `json:"profile"`
	Issued   int64    `json:"iat"`
	Session  string   `json:"session"`
	Path     []Hop    `json:"path"`
	Requests []string `json:"requests"`
}

func (r Receipt) check() error {
	if r.Session == "" || len(r.Session) > 64 || r.Issued.Unix() <= 0 {
		return errors.New("no session or no time")
	}
	if len(r.Requests) == 0 || len(r.Requests) > maxRequests {
		return fmt.Errorf("%d requests, want 1 to %d", len(r.Requests), maxRequests)
	}
	for i, id := range r.Requests {
		if !requestID.MatchString(id) || i > 0 && r.Requests[i-1] >= id {
			return errors.New("requests are not of their form, not sorted, or there twice")
		}
	}
	return checkHops(r.Path)
}

func (r Receipt) claims() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return json.Marshal(receiptClaims{receiptProfile, r.Issued.Unix(), r.Session, r.Path, r.Requests})
}

// SignReceipt signs a receipt as a compact JWS. s is the node key of the last hop.
func SignReceipt(s *trust.Signer, r Receipt) ([]byte, error) {
	claims, err := r.claims()
	if err != nil {
		return nil, fmt.Errorf("verdict: receipt: %w", err)
	}
	if s.KID() != r.Path[len(r.Path)-1].KID {
		return nil, errors.New("verdict: receipt: the signer is not the last node of the path")
	}
	token, err := s.SignJWT(claims)
	if err != nil {
		return nil, fmt.Errorf("verdict: receipt: %w", err)
	}
	if len(token) > MaxReceipt {
		return nil, fmt.Errorf("verdict: receipt of %d bytes, at most %d", len(token), MaxReceipt)
	}
	return token, nil
}

// ParseReceipt reads what a receipt says. Its signature is not verified: see
// Verify. There is one spelling of the claims, and every other one is refused.
func ParseReceipt(token []byte) (Receipt, error) {
	if len(token) > MaxReceipt {
		return Receipt{}, fmt.Errorf("verdict: receipt of %d bytes, at most %d", len(token), MaxReceipt)
	}
	raw, err := unverified(token)
	if err != nil {
		return Receipt{}, fmt.Errorf("verdict: receipt: %w", err)
	}
	var in receiptClaims
	if err := json.Unmarshal(raw, &in); err != nil || in.Profile != receiptProfile {
		return Receipt{}, fmt.Errorf("verdict: not a receipt (%s)", receiptProfile)
	}
	if in.Issued > maxSeconds {
		return Receipt{}, errors.New("verdict: receipt: time out of range")
	}
	r := Receipt{
		Session: in.Session, Issued: time.Unix(in.Issued, 0).UTC(), Path: in.Path, Requests: in.Requests,
		token: slices.Clone(token),
	}
	again, err := r.claims()
	if err != nil {
		return Receipt{}, fmt.Errorf("verdict: receipt: %w", err)
	}
	if !bytes.Equal(raw, again) {
		return Receipt{}, errors.New("verdict: receipt: not in the one form that is read")
	}
	return r, nil
}

// unverified is the payload of a compact JWS whose signature nobody has looked at.
func unverified(token []byte) ([]byte, error) {
	parts := bytes.Split(token, []byte{'.'})
	if len(parts) != 3 {
		return nil, errors.New("not a compact JWS")
	}
	for _, p := range parts {
		raw, err := base64.RawURLEncoding.DecodeString(string(p))
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != string(p) {
			return nil, errors.New("not a compact JWS in canonical base64url")
		}
	}
	return base64.RawURLEncoding.DecodeString(string(parts[1]))
}

// Token is the receipt as it was signed, nil where it was not read from one.
func (r Receipt) Token() []byte { return slices.Clone(r.token) }

// Verify checks the signature by the node that ends the path. find knows the keys
// of nodes (trust.Nodes.Signer).
func (r Receipt) Verify(find func(kid string) (trust.Key, bool)) error {
	_, key, err := trust.VerifyJWT(r.token, find)
	if err != nil {
		return fmt.Errorf("verdict: receipt: %w", err)
	}
	if key.KID != r.Path[len(r.Path)-1].KID {
		return errors.New("verdict: receipt: not signed by the last node of its path")
	}
	return nil
}

// Covers reports whether the receipt is about a request that came along exactly
// this path.
func (r Receipt) Covers(session, request string, path []Hop) bool {
	_, found := slices.BinarySearch(r.Requests, request)
	return found && r.Session == session && slices.Equal(r.Path, path)
}

// checkPlace holds for every component of a signed result: its way is one that
// can be, from the lead on.
func (c Component) checkPlace(r *Result) error {
	for _, site := range append([]string{c.Site}, c.Sites...) {
		if site != "" && !nodeName.MatchString(site) {
			return fmt.Errorf("%.40q is no name of a site", site)
		}
	}
	if len(c.Sites) > MaxAsked || len(c.Sites) > 0 && c.Site != "" || len(c.Sites) > 0 && len(c.Sites) != c.Asked {
		return fmt.Errorf("%d sites for %d verifiers", len(c.Sites), c.Asked)
	}
	if len(c.Path) == 0 {
		return nil
	}
	if err := checkHops(c.Path); err != nil {
		return err
	}
	if c.Path[0].Node != r.Node {
		return fmt.Errorf("the path begins at %q, but the lead is node %q", c.Path[0].Node, r.Node)
	}
	return nil
}

// readHops reads a path; nil when absent.
func (o object) hops(name string) ([]Hop, error) {
	list, err := o.optionalList(name)
	if err != nil || list == nil {
		return nil, err
	}
	out := make([]Hop, 0, len(list))
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok || len(m) != 2 {
			return nil, fmt.Errorf("%s holds something other than nodes with their keys", name)
		}
		var h Hop
		if h.Node, err = object(m).text("node"); err == nil {
			h.KID, err = object(m).text("kid")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// receipts reads the receipts of an aggregate, without their signatures.
func (o object) receipts() ([]Receipt, error) {
	tokens, err := o.texts(claimReceipts)
	if err != nil || tokens == nil {
		return nil, err
	}
	if len(tokens) == 0 || len(tokens) > MaxReceipts {
		return nil, fmt.Errorf("%d receipts, want 1 to %d", len(tokens), MaxReceipts)
	}
	out := make([]Receipt, 0, len(tokens))
	for i, token := range tokens {
		if slices.Contains(tokens[:i], token) {
			return nil, fmt.Errorf("%s has one twice", claimReceipts)
		}
		r, err := ParseReceipt([]byte(token))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// appendReceipts writes the receipts as they were signed.
func (r *Result) appendReceipts(out []byte) []byte {
	next := `,"` + claimReceipts + `":["`
	for _, one := range r.Receipts {
		out = append(append(out, next...), one.token...) // base64url and dots
		next = `","`
	}
	if len(r.Receipts) > 0 {
		out = append(out, `"]`...)
	}
	return out
}
