// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// MaxCollected is the number of results that CombineCollected takes, those inside
// of aggregates counted.
const MaxCollected = 4096

// Collected are results that a relying party has asked several verifiers for, and
// what it demands of them.
type Collected struct {
	// Topology is the relying party's own rule: what has to be there, which
	// components have several verifiers and how many of these have to answer. A
	// place ("@node") says whose verifiers count, where Nodes are given.
	Topology topologies.Expr
	// Results are compact JWS: partial results, and aggregates of leads that
	// Anchors know, of which every partial result is taken.
	Results [][]byte
	// Nonce is the challenge that all were asked with; nil leaves freshness open.
	Nonce []byte
	// Evidence is what was judged, nil if it is not at hand. Without it results
	// about one component have to agree on what they are about, and nobody can
	// tell whether that was submitted.
	Evidence *evidence.Tree
	// Anchors are the keys of leads and of every verifier, those of Nodes included.
	Anchors *trust.Anchors
	Nodes   *trust.Nodes
	Schemes *verifiers.Set
	// Intake has the time of checking.
	Intake verdict.Intake
	// Simulated takes results of verifiers that trust extra roots for what they say.
	Simulated bool
}

// CombineCollected puts results together as a lead would, and is what a relying
// party needs to aggregate without one (draft-zhang-rats-multiverifiers): a pure
// function over signed results. A result that is not used, because nobody trusted
// has signed it or because it is about something else, caps at warning and is
// said; a component without a usable one has no verdict; where several verifiers
// were to answer, the worst answer counts, disagreement is said, and a quorum has
// to be there (decision D-26). The result is not signed. An error means that the
// demand itself cannot be met.
func CombineCollected(in Collected) (*verdict.Result, error) {
	if in.Schemes == nil || in.Intake.Now.IsZero() {
		return nil, errors.New("orchestrator: incomplete demand")
	}
	c := collection{in: in, lead: map[evidence.Path][]verdict.Reason{}}
	for i, token := range in.Results {
		if err := c.take(i, token); err != nil {
			return nil, err
		}
	}
	if err := c.agree(); err != nil {
		return nil, err
	}
	plan, err := topologies.New(in.Topology, c.input())
	if err != nil {
		return nil, err
	}
	res := &verdict.Result{
		Time: in.Intake.Now, VerificationTime: c.verified(), Topology: plan.Topology, PlanDigest: plan.Digest(), Nonce: in.Nonce,
		Commitment: c.commitment,
	}
	if in.Evidence != nil {
		res.Composite, res.Lead = in.Evidence.Digest(), leadSignature(in.Evidence)
		var unreadable []verdict.Cap
		res.Requirements, unreadable = stock(res, in.Evidence)
		c.caps = append(append(c.caps, unreadable...), foreignSession(in.Evidence, in.Nonce)...)
	}
	for _, st := range plan.Steps {
		if st.Kind != topologies.Appraise {
			continue
		}
		part, err := c.component(st)
		if err != nil {
			return nil, err
		}
		res.Components = append(res.Components, part)
	}
	c.foreign(res)
	slices.SortFunc(res.Components, func(a, b verdict.Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
	c.challenges(res)
	requireClaims(in.Schemes, res.Components)
	requireRelays(res.Components)
	bindings, caps := judge(res, in.Simulated)
	res.Bindings, res.Caps = bindings, append(caps, c.caps...)
	if in.Topology.Head == topologies.Lead && in.Topology.Args == nil {
		res.Caps = append(res.Caps, verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{
			Code: verdict.ReasonAsSubmitted, Detail: "the topology asks for what there are results about, so a component that was left out is not missed"}})
	}
	res.Interconnects = binding.Interconnects(res.Components)
	res.Outcome = verdict.Combine(res.Components, res.Caps)
	return res, nil
}

// collection is the state of CombineCollected.
type collection struct {
	in       Collected
	partials []verdict.Partial
	caps     []verdict.Cap
	// lead are the reasons that leads gave for components with a result.
	lead       map[evidence.Path][]verdict.Reason
	commitment *evidence.Commitment
	// torn are labels whose results are not about the same thing.
	torn map[evidence.Path]bool
}

// unused says what became of a result.
func (c *collection) unused(what, code, detail string) {
	c.caps = append(c.caps, verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{Code: code, Detail: what + " is not used: " + detail}})
}

// take verifies one result, or every one in an aggregate.
func (c *collection) take(i int, token []byte) error {
	name := "result " + strconv.Itoa(i+1)
	var found []verdict.Partial
	if verdict.IsAggregate(token, c.in.Anchors, c.in.Intake.Now) {
		found = c.open(name, token)
	} else {
		want, err := verdict.StatedSubject(token)
		var p verdict.Partial
		if err == nil {
			p, err = verdict.VerifyPartial(token, want, c.in.Intake, c.in.Anchors)
		}
		if err != nil {
			c.unused(name, intakeCode(err), err.Error())
			return nil
		}
		found = []verdict.Partial{p}
	}
	for _, p := range found {
		same := func(o verdict.Partial) bool { return bytes.Equal(o.Token(), p.Token()) }
		if !slices.ContainsFunc(c.partials, same) {
			c.partials = append(c.partials, p)
		}
	}
	if len(c.partials) > MaxCollected {
		return fmt.Errorf("orchestrator: more than %d results", MaxCollected)
	}
	return nil
}

func intakeCode(err error) string {
	var e *verdict.IntakeError
	if errors.As(err, &e) {
		return e.Code
	}
	return verdict.ReasonBadPAR
}

// open takes an aggregate apart. What its lead says beyond the results stays.
func (c *collection) open(name string, token []byte) []verdict.Partial {
	r, err := verdict.VerifyResult(token, c.in.Intake, c.in.Anchors)
	var e *verdict.VerifyError
	switch {
	case errors.As(err, &e):
		c.unused(name, e.Code, e.Detail)
		return nil
	case c.in.Nonce != nil && !r.HasNonce(c.in.Nonce):
		c.unused(name, verdict.ReasonPARNonce, "it answers another challenge")
		return nil
	case c.in.Evidence != nil && r.Composite != c.in.Evidence.Digest():
		c.unused(name, verdict.ReasonPARSubject, "it is about another composite")
		return nil
	}
	if err = RecheckStated(r, c.in.Schemes); err == nil {
		err = RecheckPlaces(r, c.in.Nodes, r.Time)
	}
	if err != nil {
		c.unused(name, verdict.ReasonLyingAAR, err.Error())
		return nil
	}
	var out []verdict.Partial
	for _, part := range r.Components {
		if len(part.Partials()) == 0 {
			continue // nobody that this lead asked: others may have asked somebody
		}
		out = append(out, part.Partials()...)
		for _, reason := range part.Reasons {
			if reason.Code != verdict.ReasonDisagreement && reason.Code != verdict.ReasonQuorumIncomplete && reason.Code != verdict.ReasonQuorumNotReached &&
				reason.Code != verdict.ReasonSharedService && !ofRelays(reason.Code) {
				c.lead[part.Label] = append(c.lead[part.Label], reason)
			}
		}
	}
	for _, own := range r.Caps {
		// Without the evidence nobody can tell again who signed it as a whole.
		unseen := c.in.Evidence == nil && r.Lead != nil && own.Reason.Code == verdict.ReasonBindingBroken
		if unseen || !repeated(own.Reason.Code) {
			own.Reason.Detail = name + ": " + own.Reason.Detail
			c.caps = append(c.caps, own)
		}
	}
	if r.Commitment != nil {
		c.commitment = r.Commitment
	}
	return out
}

// repeated: judge comes to these again, over everything that was collected and
// not only what one lead saw.
func repeated(code string) bool {
	switch code {
	case verdict.ReasonNonceNotEstablished, verdict.ReasonExtraRoots, verdict.ReasonTimeOverridden, verdict.ReasonAsSubmitted,
		verdict.ReasonUnboundComponent, verdict.ReasonBindingWeak, verdict.ReasonBindingBroken, verdict.ReasonDuplicateIdentity,
		verdict.ReasonApplicationBound:
		return true
	}
	return false
}

// agree finds labels whose results are about different things. Which of them is
// right cannot be told without the evidence, so none counts.
func (c *collection) agree() error {
	c.torn = map[evidence.Path]bool{}
	first := map[evidence.Path]verdict.Partial{}
	slices.SortFunc(c.partials, worstFirst)
	for i, p := range c.partials {
		if !p.VerificationTime().Equal(c.partials[0].VerificationTime()) {
			return errors.New("orchestrator: the results were made as of different times")
		}
		f, ok := first[p.Label()]
		if !ok {
			first[p.Label()] = c.partials[i]
			continue
		}
		if f.Scheme() != p.Scheme() || f.Evidence() != p.Evidence() || !sameType(f.MediaType(), p.MediaType()) ||
			f.NonceRule() != p.NonceRule() || !sameNonce(f.Nonce(), p.Nonce()) {
			c.torn[p.Label()] = true
		}
	}
	return nil
}

// worstFirst is an order that does not depend on that of the files.
func worstFirst(a, b verdict.Partial) int {
	switch {
	case a.Status().WorseThan(b.Status()):
		return -1
	case b.Status().WorseThan(a.Status()):
		return 1
	}
	return bytes.Compare(a.Token(), b.Token())
}

func sameType(a, b string) bool {
	x, errX := evidence.ParseMediaType(a)
	y, errY := evidence.ParseMediaType(b)
	return a == b || errX == nil && errY == nil && x.Equal(y)
}

// input is what there is to plan over: the evidence, or what the results are about.
func (c *collection) input() topologies.Input {
	in := topologies.Input{Route: anywhere, Nonce: c.in.Nonce, Preset: map[evidence.Path]topologies.Challenge{}}
	if tree := c.in.Evidence; tree != nil {
		parts, err := Components(c.in.Schemes, tree, limits.Default().Leaves)
		if err == nil {
			in.Components, in.Adjust, in.Commit = parts, adjustment(tree), commitment(tree)
			c.commitment = in.Commit
		}
		if in.Nonce != nil {
			return in
		}
	}
	for _, p := range c.partials {
		if _, twice := in.Preset[p.Label()]; twice {
			continue
		}
		in.Preset[p.Label()] = topologies.Challenge{Nonce: p.Nonce(), Rule: p.NonceRule()}
		if c.in.Evidence != nil {
			continue
		}
		mt, err := evidence.ParseMediaType(p.MediaType())
		part := topologies.Component{Label: p.Label(), Leaf: p.Label(), MediaType: mt, Scheme: p.Scheme(), Digest: p.Evidence()}
		sc, ok := c.in.Schemes.Lookup(p.Scheme())
		part.Class = sc.Class
		switch {
		case !ok || err != nil:
			part.Reason = &verdict.Reason{Code: verdict.ReasonNoVerifier, Detail: "scheme " + p.Scheme() + " is not known here"}
		case c.torn[p.Label()]:
			part.Reason = &verdict.Reason{Code: verdict.ReasonPARSubject, Detail: "the results are not about the same evidence, challenge and scheme"}
		}
		in.Components = append(in.Components, part)
	}
	return in
}

// verified is the time as of which the results were made, zero for their own.
func (c *collection) verified() (t time.Time) {
	if len(c.partials) > 0 {
		return c.partials[0].VerificationTime()
	}
	return t
}

// component gives a step the results that count for it.
func (c *collection) component(st topologies.Step) (verdict.Component, error) {
	part := verdict.Component{
		Label: st.Label, Scheme: st.Scheme, MediaType: st.MediaType.String(), Class: string(st.Class), Required: st.Required,
		Evidence: st.Digest, Nonce: st.Nonce, NonceRule: st.NonceRule, Site: site(st),
	}
	if st.Reason != nil {
		part.Reasons = append(part.Reasons, *st.Reason)
		return part, nil
	}
	places, err := c.owners(st)
	if err != nil {
		return part, err
	}
	left := places
	var all []verdict.Partial
	var why []verdict.Reason
	for _, p := range c.partials {
		if p.Label() != st.Label {
			continue
		}
		part.Request = p.Request()
		if st.Quorum == 0 {
			left = slices.Clone(places)
		}
		got, err := left.verify(p.Token(), verdict.Expect{
			Label: st.Label, Scheme: st.Scheme, Request: p.Request(), Nonce: st.Nonce, NonceRule: st.NonceRule,
			Evidence: st.Digest, MediaType: part.MediaType, VerificationTime: p.VerificationTime(),
		}, c.in.Intake)
		if err != nil {
			_, kid := p.Verifier()
			why = append(why, verdict.Reason{Code: intakeCode(err), Detail: "the result with key " + kid + ": " + err.Error()})
			continue
		}
		all = append(all, got)
	}
	if len(all)+len(why) == 0 {
		why = append(why, verdict.Reason{Code: verdict.ReasonUnreachable, Detail: "there is no result about it"})
	}
	c.put(st, &part, all, why)
	part.Reasons = append(part.Reasons, c.lead[st.Label]...)
	return part, nil
}

// put gives a component its results, the worst of which counts. What is not used
// beside another that is caps the whole, so that nothing is dropped in silence.
func (c *collection) put(st topologies.Step, part *verdict.Component, all []verdict.Partial, why []verdict.Reason) {
	if len(all) > 0 {
		for _, w := range why {
			c.unused("a result about "+string(st.Label), w.Code, w.Detail)
		}
	}
	switch {
	case st.Quorum > 0:
		settle(st, part, all, why)
	case len(all) == 0:
		part.Reasons = append(part.Reasons, why...)
	default:
		part.Partial = all[0]
		if len(all) > 1 {
			part.Reasons = append(part.Reasons, verdict.Reason{Code: verdict.ReasonDisagreement,
				Detail: fmt.Sprintf("%d results, where the topology asks one verifier; the worst counts", len(all))})
		}
	}
}

// owners are whose results count for a step, a set for each that was to be asked.
func (c *collection) owners(st topologies.Step) (owners, error) {
	places := []string{site(st)}
	if st.Relay > 0 && places[0] == "" {
		places[0] = st.Node
	}
	if st.Sources != nil {
		places = nil
		for _, src := range st.Sources {
			places = append(places, src.Node)
		}
	}
	var out owners
	for _, place := range places {
		if place == "" || len(c.in.Nodes.Names()) == 0 {
			out = append(out, c.in.Anchors)
			continue
		}
		n, ok := c.in.Nodes.Lookup(place)
		if !ok {
			return nil, fmt.Errorf("orchestrator: the topology names node %s, which is not known", place)
		}
		out = append(out, n.Verifiers())
	}
	return out, nil
}

// foreign names results about what is not in the evidence.
func (c *collection) foreign(res *verdict.Result) {
	for _, p := range c.partials {
		if !slices.ContainsFunc(res.Components, func(part verdict.Component) bool { return part.Label == p.Label() }) {
			c.unused("a result about "+string(p.Label()), verdict.ReasonUnexpected, "nothing of that name was judged here")
		}
	}
}

// challenges drops results that answer something else than the session's nonce.
func (c *collection) challenges(res *verdict.Result) {
	if c.in.Nonce == nil {
		return // and freshness is not established
	}
	for i := range res.Components {
		part := &res.Components[i]
		if len(part.Partials()) == 0 || part.NonceRule == topologies.RuleGiven {
			continue
		}
		want, err := rederive(res, *part)
		if part.NonceRule != "" && err == nil && sameNonce(want, part.Nonce) {
			continue
		}
		detail := "the results answer another challenge than the one given"
		if topologies.OfComposite(part.NonceRule) && c.in.Evidence == nil && (res.Commitment == nil || errors.Is(err, topologies.ErrNeedsEvidence)) {
			detail = fmt.Sprintf("the challenge that the results answer follows from the whole composite by rule %q, and cannot be compared without the evidence", part.NonceRule)
		}
		part.Partial, part.Others, part.Quorum, part.Asked, part.Sites = verdict.Partial{}, nil, 0, 0, nil
		part.Reasons = append(part.Reasons, verdict.Reason{Code: verdict.ReasonPARNonce, Detail: detail})
	}
}
