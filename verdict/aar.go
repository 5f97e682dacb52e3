// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// compositeLabel is the submod with the cross-component result (decision D-37).
const compositeLabel = "composite"

// ruleSame is the nonce rule that can be checked here: the challenge is the
// session nonce itself. The derivations of the others live with the planner.
const ruleSame = "same"

// compositeClaims are the policy claims of the composite submod: all that a
// relying party needs to check each partial result as the lead did.
type compositeClaims struct {
	Reasons          []Reason                      `json:"assize.reasons"`
	Bindings         []Binding                     `json:"assize.bindings"`
	Caps             []Cap                         `json:"assize.caps"`
	Components       map[string]componentStatement `json:"assize.components"`
	Topology         string                        `json:"assize.topology,omitempty"`
	Plan             string                        `json:"assize.plan-sha256,omitempty"`
	Composite        string                        `json:"assize.composite-sha256,omitempty"`
	Session          string                        `json:"assize.session,omitempty"`
	Node             string                        `json:"assize.node,omitempty"`
	VerificationTime string                        `json:"assize.verification-time,omitempty"`
	Leaves           map[evidence.Path]string      `json:"assize.leaves-sha384,omitempty"`
	LeadSigner       string                        `json:"assize.lead-signer,omitempty"`
	Convention       string                        `json:"assize.convention,omitempty"`
	RuntimeData      string                        `json:"assize.runtime-data,omitempty"`
	References       string                        `json:"assize.reference-revision,omitempty"`
	Interconnects    []Interconnect                `json:"assize.interconnects,omitempty"`
	Lead             *LeadSignature                `json:"assize.lead-signature,omitempty"`
	PolicyStatement  *PolicyStatement              `json:"assize.policy,omitempty"`
	Requirements     []Requirement                 `json:"assize.requirements,omitempty"`
	Inventory        *Inventory                    `json:"assize.inventory,omitempty"`
}

// componentStatement is what the lead asked for one component.
type componentStatement struct {
	Required   bool     `json:"required"`
	Scheme     string   `json:"scheme,omitempty"`
	MediaType  string   `json:"media_type,omitempty"`
	Class      string   `json:"class,omitempty"`
	Request    string   `json:"request,omitempty"`
	Nonce      string   `json:"nonce,omitempty"`
	NonceRule  string   `json:"nonce_rule,omitempty"`
	Evidence   string   `json:"evidence_sha256"`
	Reasons    []Reason `json:"reasons,omitempty"`
	DurationUS int64    `json:"duration_us"`
	Quorum     int      `json:"quorum,omitempty"`
	Asked      int      `json:"asked,omitempty"`
	Path       []Hop    `json:"path,omitempty"`
	Site       string   `json:"site,omitempty"`
	Sites      []string `json:"sites,omitempty"`
	// Lowered are the claims that the lead's policy made worse.
	Lowered map[string]Claim `json:"lowered,omitempty"`
}

// absentClaims are the policy claims of a component without partial result.
type absentClaims struct {
	Scheme  string   `json:"assize.scheme,omitempty"`
	Reasons []Reason `json:"assize.reasons"`
}

// SignResult makes the signed aggregated result (AAR), sets r.Token to it and
// r.KID to the signer, and returns r.Token. The token is an EAR of profile ProfileP23 with one submod per
// component, a submod "composite" with the outcome, and every partial result as
// it was signed under "ear.assize.partials" (decision D-18). Where redundant
// verifiers judged a component, the results of the others are under
// "ear.assize.witnesses", an array for each label. lifetime sets exp; zero means
// five minutes.
//
// Everything that VerifyResult would refuse is an error here, among others an
// outcome better than Combine gives, a partial result that does not belong to
// its component, two components of one label, a component whose path is
// "composite", and results of redundant verifiers that are not as SetPartials
// leaves them.
func SignResult(s *trust.Signer, r *Result, lifetime time.Duration) ([]byte, error) {
	if lifetime == 0 {
		lifetime = defaultLifetime
	}
	if lifetime < time.Second {
		return nil, errors.New("verdict: aggregated result would live less than a second")
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("verdict: aggregated result: %w", err)
	}
	claims, err := r.claims(lifetime)
	if err != nil {
		return nil, fmt.Errorf("verdict: aggregated result: %w", err)
	}
	token, err := s.SignJWT(claims)
	if err != nil {
		return nil, fmt.Errorf("verdict: aggregated result: %w", err)
	}
	if len(token) > limits.AggregateResult {
		return nil, fmt.Errorf("verdict: aggregated result of %d bytes, at most %d", len(token), limits.AggregateResult)
	}
	r.Token, r.KID = token, s.KID()
	return token, nil
}

// check holds for every result that is signed.
func (r *Result) check() error {
	if r.Verifier.Developer == "" || r.Verifier.Build == "" {
		return errors.New("no developer or build of the lead")
	}
	if r.Time.Unix() <= 0 {
		return errors.New("no time")
	}
	if err := checkNonce(r.Nonce); err != nil {
		return err
	}
	if err := checkRevision(r.References); err != nil {
		return err
	}
	if r.Node != "" && !nodeName.MatchString(r.Node) {
		return fmt.Errorf("%.40q is no name of a node", r.Node)
	}
	if len(r.Receipts) > MaxReceipts || slices.ContainsFunc(r.Receipts, func(one Receipt) bool { return len(one.token) == 0 }) {
		return errors.New("too many receipts, or one that is not signed")
	}
	slices.SortFunc(r.Components, func(a, b Component) int { return cmp.Compare(a.Label, b.Label) })
	for i, c := range r.Components {
		if i > 0 && c.Label == r.Components[i-1].Label {
			return fmt.Errorf("two components %q", c.Label)
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("component %q: %w", c.Label, err)
		}
		if err := c.checkPlace(r); err != nil {
			return fmt.Errorf("component %q: %w", c.Label, err)
		}
		for _, p := range c.Partials() {
			if t := p.VerificationTime(); formatTime(t) != formatTime(r.VerificationTime) {
				return fmt.Errorf("component %q was verified for another time, %q", c.Label, formatTime(t))
			}
		}
		if c.NonceRule == ruleSame && !c.Partial.IsZero() && !slices.Equal(c.Nonce, r.Nonce) {
			return fmt.Errorf("component %q was not asked with the session nonce, which rule %q demands", c.Label, ruleSame)
		}
	}
	if why := r.Outcome.betterThan(Combine(r.Components, r.Caps)); why != "" {
		return errors.New(why)
	}
	if err := r.checkPolicy(); err != nil {
		return err
	}
	for _, i := range r.Interconnects {
		if err := i.check(r); err != nil {
			return err
		}
	}
	for _, reasons := range [][]Reason{r.Outcome.Reasons, capReasons(r.Caps)} {
		if slices.ContainsFunc(reasons, Reason.empty) {
			return errors.New("reason without code")
		}
	}
	return nil
}

// check holds for every component of a signed result: the partial results
// belong to the component.
func (c Component) check() error {
	if c.Label == "" || c.Label == compositeLabel {
		return errors.New("the path is empty or reserved")
	}
	if slices.ContainsFunc(c.Reasons, Reason.empty) {
		return errors.New("reason without code")
	}
	if err := checkNonce(c.Nonce); err != nil {
		return err
	}
	for _, p := range c.Partials() {
		if err := c.owns(p); err != nil {
			return err
		}
	}
	return c.checkQuorum()
}

// owns is an error where a result is not about what was asked.
func (c Component) owns(p Partial) error {
	switch {
	case p.label != c.Label, p.scheme != c.Scheme, p.request != c.Request, p.evidence != c.Evidence:
		return errors.New("the partial result has another label, scheme, request or evidence")
	case !slices.Equal(p.nonce, c.Nonce), p.nonceRule != c.NonceRule:
		return errors.New("the partial result has another nonce or nonce rule")
	case canonicalType(p.mediaType) != canonicalType(c.MediaType):
		return fmt.Errorf("the partial result is for media type %q, not %q", p.mediaType, c.MediaType)
	}
	return nil
}

func (r Reason) empty() bool { return r.Code == "" }

func capReasons(caps []Cap) []Reason {
	out := make([]Reason, len(caps))
	for i, c := range caps {
		out[i] = c.Reason
	}
	return out
}

// canonicalType lets two spellings of one media type compare equal.
func canonicalType(s string) string {
	mt, err := evidence.ParseMediaType(s)
	if err != nil {
		return s
	}
	return mt.String()
}

// betterThan says in what a stated outcome is better than what components and
// caps allow, or better than its own vector; empty if in nothing.
func (o Outcome) betterThan(allowed Outcome) string {
	if allowed.Tier.WorseThan(o.Tier) {
		return fmt.Sprintf("status %s, but components and caps give %s", o.Tier, allowed.Tier)
	}
	if t := o.Vector.Status(); t.WorseThan(o.Tier) {
		return fmt.Sprintf("status %s, but its vector gives %s", o.Tier, t)
	}
	for n, c := range o.Vector {
		want := allowed.Vector[n]
		if want != ClaimNone && c == ClaimNone || want.Tier().WorseThan(c.Tier()) {
			return fmt.Sprintf("%s is %d, but components and caps give %d", ClaimName(n), c, allowed.Vector[n])
		}
	}
	return ""
}

func (r *Result) claims(lifetime time.Duration) ([]byte, error) {
	head, composite, err := r.headAndComposite(lifetime)
	if err != nil {
		return nil, err
	}
	return r.join(head, composite)
}

// headAndComposite are the two parts that do not grow with the results inside.
func (r *Result) headAndComposite(lifetime time.Duration) (head, composite []byte, err error) {
	statement := compositeClaims{
		Reasons: append([]Reason{}, r.Outcome.Reasons...), Bindings: append([]Binding{}, r.Bindings...),
		Caps: append([]Cap{}, r.Caps...), Components: make(map[string]componentStatement, len(r.Components)),
		Topology: r.Topology, Plan: hexDigest(r.PlanDigest), Composite: hexDigest(r.Composite),
		Session: r.Session, Node: r.Node, VerificationTime: formatTime(r.VerificationTime),
		References: r.References, Interconnects: r.Interconnects,
		Lead: r.Lead, PolicyStatement: r.Policy, Requirements: r.Requirements, Inventory: r.Inventory,
	}
	for _, c := range r.Components {
		statement.Components[string(c.Label)] = c.statement()
	}
	if r.Commitment != nil {
		statement.LeadSigner = r.Commitment.Signer
		statement.Convention, statement.RuntimeData = r.Commitment.Convention, string(r.Commitment.Runtime)
		statement.Leaves = make(map[evidence.Path]string, len(r.Commitment.Leaves))
		for path, digest := range r.Commitment.Leaves {
			statement.Leaves[path] = hex.EncodeToString(digest[:])
		}
	}
	head, err = json.Marshal(earClaims{
		Profile: ProfileP23, IssuedAt: r.Time.Unix(), Expires: r.Time.Add(lifetime).Unix(),
		Verifier: r.Verifier, Nonce: encodeNonce(r.Nonce),
	})
	if err != nil {
		return nil, nil, err
	}
	composite, err = json.Marshal(submodClaims{
		Status: r.Outcome.Tier, Vector: r.Outcome.Vector.members(true), Policy: statement,
	})
	return head, composite, err
}

// join writes the members that grow with the components behind those of head.
// What the verifiers signed is copied as they wrote it and not encoded again.
func (r *Result) join(head, composite []byte) ([]byte, error) {
	out := make([]byte, 0, r.size(head, composite))
	out = append(out, head[:len(head)-1]...)
	out = append(out, `,"submods":{"composite":`...)
	out = append(out, composite...)
	for _, c := range r.Components {
		out = appendName(append(out, ','), string(c.Label))
		var err error
		if out, err = c.appendSubmod(out); err != nil {
			return nil, err
		}
	}
	out = append(out, '}')
	open := `,"ear.assize.partials":{`
	for _, c := range r.Components {
		if c.Partial.IsZero() {
			continue
		}
		out = appendName(append(out, open...), string(c.Label))
		out = append(out, '"')
		out = append(out, c.Partial.token...) // base64url and dots
		out = append(out, '"')
		open = ","
	}
	if open == "," {
		out = append(out, '}')
	}
	return append(r.appendReceipts(r.appendWitnesses(out)), '}'), nil
}

// appendWitnesses writes the results of further redundant verifiers.
func (r *Result) appendWitnesses(out []byte) []byte {
	open := `,"` + claimWitnesses + `":{`
	for _, c := range r.Components {
		if len(c.Others) == 0 {
			continue
		}
		out = appendName(append(out, open...), string(c.Label))
		next := `["`
		for _, p := range c.Others {
			out = append(append(out, next...), p.token...) // base64url and dots
			next = `","`
		}
		out = append(out, `"]`...)
		open = ","
	}
	if open == "," {
		out = append(out, '}')
	}
	return out
}

// size is about how many bytes join writes.
func (r *Result) size(head, composite []byte) int {
	n := len(head) + len(composite) + 256
	for _, c := range r.Components {
		n += 2*len(c.Partial.token) + 512
		for _, p := range c.Others {
			n += len(p.token) + 3
		}
	}
	for _, one := range r.Receipts {
		n += len(one.token) + 32
	}
	return n
}

func appendName(out []byte, name string) []byte {
	raw, err := json.Marshal(name)
	if err != nil { // a text always has a form
		raw = []byte(`""`)
	}
	return append(append(out, raw...), ':')
}

// appendSubmod writes the flat copy of a component (see submod).
func (c Component) appendSubmod(out []byte) ([]byte, error) {
	if c.Partial.IsZero() {
		raw, err := json.Marshal(c.submod())
		return append(out, raw...), err
	}
	out = append(out, '{')
	for i, m := range c.Partial.members {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendName(out, m.Name)
		if m.Name == claimStatus {
			out = append(append(append(out, '"'), c.Tier().String()...), '"')
			continue
		}
		if m.Name == claimVector && c.rewritten() {
			raw, err := json.Marshal(c.flatVector(c.Partial.submod[claimVector]))
			if err != nil {
				return nil, err
			}
			out = append(out, raw...)
			continue
		}
		out = append(out, m.Raw...)
	}
	return append(out, '}'), nil
}

func (c Component) statement() componentStatement {
	return componentStatement{
		Required: c.Required, Scheme: c.Scheme, MediaType: c.MediaType, Class: c.Class, Request: c.Request,
		Nonce: encodeNonce(c.Nonce), NonceRule: c.NonceRule, Evidence: hex.EncodeToString(c.Evidence[:]),
		Reasons: c.Reasons, DurationUS: c.Duration.Microseconds(), Quorum: c.Quorum, Asked: c.Asked,
		Path: c.Path, Site: c.Site, Sites: c.Sites, Lowered: c.Lowered.members(false),
	}
}

// submod is the flat copy for clients that know submods only: the submod of the
// partial result as it was signed, with the tier that the lead gives it, and without
// the good words that it takes back (VectorOf).
func (c Component) submod() any {
	if !c.Partial.IsZero() {
		out := make(object, len(c.Partial.submod))
		for name, v := range c.Partial.submod {
			out[name] = v
		}
		out[claimStatus] = c.Tier().String()
		out[claimVector] = c.flatVector(out[claimVector])
		return out
	}
	vector := c.Lowered
	if slices.ContainsFunc(c.Reasons, func(r Reason) bool { return r.Code == ReasonMalfunction }) {
		vector = AllClaims(ClaimMalfunction)
	}
	return submodClaims{
		Status: TierNone, Vector: vector.members(true),
		Policy: absentClaims{Scheme: c.Scheme, Reasons: append([]Reason{}, c.Reasons...)},
	}
}
