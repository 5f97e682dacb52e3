// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// replayFlags are those of "assize appraise --replay".
type replayFlags struct {
	bundle string
	roots  bool
	policy bool
	same   bool
}

func (f *replayFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.bundle, "replay", "", "bundle of -o bundle --include: appraise its evidence again with what it brings, and compare; no network, no signed verdict")
	fl.BoolVar(&f.roots, "use-included-roots", false, "with --replay: believe the extra roots that the bundle brings, without the file (--trust)")
	fl.BoolVar(&f.policy, "use-included-policy", false, "with --replay: run the policy for whole machines that the bundle brings, though this node has not signed the verdict")
	fl.BoolVar(&f.same, "require-same", false, "with --replay: exit status 1 where the verdict is not reproduced")
}

// replayable are the flags that go with --replay; the others are in the bundle.
var replayable = []string{
	"replay", "at", "trust", "attesters", "policy", "evidence-policy", "output", "use-included-roots", "use-included-policy", "require-same",
}

// check refuses flags that the bundle answers, and forms of output that a verdict of
// one's own would have.
func (f *replayFlags) check(cmd *cobra.Command, output string, files []string) error {
	if f.bundle == "" {
		if f.roots || f.policy || f.same {
			return usage("--use-included-roots, --use-included-policy and --require-same are for --replay")
		}
		return nil
	}
	if len(files) > 0 {
		return usage("--replay BUNDLE has the evidence in the bundle, and %d files were given", len(files))
	}
	if output != "text" && output != "json" {
		return usage("-o %s: what is replayed is judged by what a bundle brings, and is never signed; want text or json", output)
	}
	var err error
	cmd.LocalFlags().VisitAll(func(fl *pflag.Flag) {
		if fl.Changed && !slices.Contains(replayable, fl.Name) && cmd.InheritedFlags().Lookup(fl.Name) == nil {
			err = errors.Join(err, usage("--%s does not go with --replay: what it says is in the bundle", fl.Name))
		}
	})
	return err
}

// replay is a bundle that is appraised again. Nothing in it is trusted: what it
// brings is used for this one comparison, in a process that signs nothing.
type replay struct {
	flags    *appraiseFlags
	config   config.Config
	log      *slog.Logger
	bundle   verdict.Bundle
	request  replayRequest
	recorded *verdict.Result
	keys     *trust.Anchors // under which the recorded verdict was verified
	// clock is the time of the verdict, asOf that of --at; zero without it.
	clock, asOf time.Time
	roots       *trust.Roots
	simulated   bool // extra roots are believed
	report      replayReport
	// byText are schemes whose default policy is taken from the bundle.
	byText map[string]bool
}

// runReplay is "assize appraise --replay".
func runReplay(cmd *cobra.Command, g *globals, f *appraiseFlags) error {
	c, err := g.load()
	if err != nil {
		return err
	}
	log, err := g.logger(cmd, slog.LevelWarn)
	if err != nil {
		return err
	}
	raw, err := readInput(cmd, f.replay.bundle, limits.Bundle)
	if err != nil {
		return err
	}
	p := &replay{flags: f, config: c, log: log, byText: map[string]bool{}}
	if f.at != "" {
		if p.asOf, err = time.Parse(time.RFC3339, f.at); err != nil {
			return usage("--at: %w", err)
		}
	}
	if err := p.open(bytes.TrimSpace(raw)); err != nil {
		return fmt.Errorf("%s: %w", f.replay.bundle, err)
	}
	now, err := p.judge(cmd.Context())
	if err != nil {
		return fmt.Errorf("%s: %w", f.replay.bundle, err)
	}
	p.compare(now)
	if err := p.report.print(cmd.OutOrStdout(), f.output); err != nil {
		return err
	}
	if f.replay.same && !p.report.Reproduced {
		return fmt.Errorf("not reproduced: %d differences", len(p.report.Differences))
	}
	return tierExit(p.exitTier(now.Outcome.Tier))
}

// exitTier is the tier for the exit status. Whoever makes bundles can exchange what
// the verdict has no digest of, as reference values; so nothing that a bundle brings
// makes the status better than that of the verdict in it. What the caller chooses, a
// time or a policy of his own, does.
func (p *replay) exitTier(now verdict.Tier) verdict.Tier {
	if f := p.flags; f.at != "" || f.policy != "" || len(f.policies) > 0 {
		return now
	}
	return verdict.Worst(now, p.recorded.Outcome.Tier)
}

// open reads the bundle and the verdict in it, and refuses what does not belong
// together.
func (p *replay) open(raw []byte) error {
	var err error
	if p.bundle, err = verdict.DecodeBundle(raw); err != nil {
		return err
	}
	if p.bundle.Items == nil {
		return errors.New("the bundle has nothing to replay: it was made without --include")
	}
	for _, i := range p.bundle.Items {
		if i.Value == nil && i.Kind != verdict.ItemRoots && !atHand(i) {
			p.report.Missing = append(p.report.Missing, missingOf(i))
		}
	}
	text, err := p.one(verdict.ItemRequest, itemRequest)
	if err != nil {
		return err
	}
	if err := p.request.decode(text); err != nil {
		return err
	}
	if p.clock, err = time.Parse(time.RFC3339Nano, p.request.Time); err != nil {
		return fmt.Errorf("time of the request: %w", err)
	}
	keys, err := p.one(verdict.ItemRequest, itemKeys)
	if err != nil {
		return err
	}
	if p.keys, err = trust.ParseJWKS(keys); err != nil {
		return err
	}
	if p.recorded, err = verdict.VerifyResult(p.bundle.Verdict, verdict.Intake{Now: p.clock, IgnoreAge: true}, p.keys); err != nil {
		return fmt.Errorf("the recorded verdict: %w", err)
	}
	if err := p.bundle.CheckFormat(); err != nil {
		return err
	}
	if p.bundle.Evidence == nil {
		return errors.New("the evidence is in the bundle by its digest only: there is nothing to appraise")
	}
	return p.belongs()
}

// atHand: nobody misses the bytes of an item whose digest is that of something in this
// build, or is all that is needed.
func atHand(i verdict.Item) bool {
	if i.Kind == verdict.ItemPlan {
		return true // the digest is compared
	}
	if scheme, ok := strings.CutPrefix(i.Name, namedDefault); ok && i.MediaType == itemSchemePolicy {
		d, err := defaultsOf(scheme)
		if err != nil {
			return false
		}
		raw, err := d.YAML()
		return err == nil && sha256.Sum256(raw) == i.Digest
	}
	if name, ok := strings.CutPrefix(i.Name, namedMachine); ok && i.MediaType == itemPolicy {
		p, err := policy.Library(name)
		return err == nil && p.Statement().Digest == hex.EncodeToString(i.Digest[:])
	}
	return false
}

// one finds the one item of a media type that has to be there.
func (p *replay) one(kind verdict.ItemKind, mediaType string) ([]byte, error) {
	var found []byte
	for _, i := range p.bundle.Items {
		if i.Kind != kind || i.MediaType != mediaType {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two items of kind %s and type %s", kind, mediaType)
		}
		if found = i.Value; found == nil {
			return nil, fmt.Errorf("%s %q is in the bundle by its digest only", kind, i.Name)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no item of kind %s and type %s", kind, mediaType)
	}
	return found, nil
}

// Bounds of a request: how deep it nests, and its bytes.
const (
	requestDepth = 4
	maxRequest   = 1 << 20
)

// decode reads what encode wrote, and nothing else: a request that is spelled in
// another way is an error.
func (r *replayRequest) decode(raw []byte) error {
	if len(raw) > maxRequest {
		return fmt.Errorf("request: %d bytes, at most %d", len(raw), maxRequest)
	}
	if _, err := trust.ParseObject(raw, requestDepth); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	again, err := r.encode()
	if err != nil || !bytes.Equal(again, raw) {
		return errors.New("request: not as this software writes it")
	}
	if r.Kind != replayRequestKind {
		return fmt.Errorf("request: kind is not %q", replayRequestKind)
	}
	for _, q := range r.Requirements {
		if err := q.Check(); err != nil || q.Source != verdict.SourceConfiguration {
			return errors.Join(errors.New("request: a requirement that is none of a configuration"), err)
		}
	}
	return nil
}

// belongs holds what the bundle brings to what is signed in the verdict: composite,
// plan, policy, challenge, times.
func (p *replay) belongs() error {
	r := p.recorded
	if sha256.Sum256(p.bundle.Evidence) != r.Composite {
		return fmt.Errorf("the evidence is not what the verdict is about (sha-256 %x)", r.Composite)
	}
	for _, i := range p.bundle.Items {
		if i.Kind == verdict.ItemPlan && i.Digest != r.PlanDigest {
			return fmt.Errorf("the plan (sha-256 %x) is not that of the verdict (%x)", i.Digest, r.PlanDigest)
		}
	}
	machine := slices.IndexFunc(p.bundle.Items, func(i verdict.Item) bool { return i.Kind == verdict.ItemPolicies && i.MediaType == itemPolicy })
	switch {
	case (machine >= 0) != (r.Policy != nil):
		return errors.New("of bundle and verdict one has a policy for whole machines and the other one has none")
	case machine >= 0 && hex.EncodeToString(p.bundle.Items[machine].Digest[:]) != r.Policy.Digest:
		return fmt.Errorf("the policy (sha-256 %x) is not that of the verdict, %s (%s)", p.bundle.Items[machine].Digest, r.Policy.ID, r.Policy.Digest)
	case machine >= 0 && p.bundle.Items[machine].Name != namedMachine+r.Policy.ID:
		return fmt.Errorf("the policy is called %q, in the verdict %q", p.bundle.Items[machine].Name, r.Policy.ID)
	}
	nonce, err := decodeChallenge(p.request.Nonce)
	if err != nil || !bytes.Equal(nonce, r.Nonce) {
		return errors.New("the challenge is not that of the verdict")
	}
	at, err := p.verified()
	if err != nil || !at.Truncate(time.Second).Equal(r.VerificationTime) || p.clock.Unix() != r.Time.Unix() {
		return errors.New("the times are not those of the verdict")
	}
	return nil
}

func decodeChallenge(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// verified is the verification time of recorded evidence, zero without one.
func (p *replay) verified() (time.Time, error) {
	if p.request.VerificationTime == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, p.request.VerificationTime)
}

// times are the clock of the replay, and the verification time of its request. With
// --at both are that time, as if the evidence had been recorded or had come then.
func (p *replay) times() (clock, override time.Time, err error) {
	if override, err = p.verified(); err != nil || p.asOf.IsZero() {
		return p.clock, override, err
	}
	if !override.IsZero() {
		override = p.asOf
	}
	return p.asOf, override, nil
}

// judge appraises the evidence of the bundle with what the bundle brings.
func (p *replay) judge(ctx context.Context) (*verdict.Result, error) {
	clock, override, err := p.times()
	if err != nil {
		return nil, err
	}
	at := clock
	if !override.IsZero() {
		at = override
	}
	set, err := all.Set()
	if err != nil {
		return nil, err
	}
	if err := p.loadRoots(); err != nil {
		return nil, err
	}
	deps := verifiers.Deps{ExtraRoots: p.roots.Schemes}
	if deps.Endorsements, err = p.collateral(); err != nil {
		return nil, err
	}
	if deps.Policies, err = p.schemePolicies(); err != nil {
		return nil, err
	}
	o := verifiers.NodeOptions{Set: set, Deps: deps, AllowTimeOverride: true, Clock: func() time.Time { return clock }}
	o.Identity = verdict.Identity{Developer: p.config.Identity.Developer, Build: cmp.Or(p.config.Identity.Build, build())}
	references, err := p.references(at)
	if err != nil {
		return nil, err
	}
	o.References = references
	lead, anchors, err := p.lead(o, at)
	if err != nil {
		return nil, err
	}
	q, err := p.asked(override)
	if err != nil {
		return nil, err
	}
	res, err := lead.Appraise(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("it cannot be appraised again: %w%s", err, p.hint())
	}
	// As the recorded one was read, so that both have gone the same way. The token
	// ends here.
	return verdict.VerifyResult(res.Token, verdict.Intake{Now: clock}, anchors)
}

// hint says what may be behind an error.
func (p *replay) hint() string {
	if slices.ContainsFunc(p.report.Roots, func(r replayRoot) bool { return r.Use == rootsUnused }) {
		return "; the bundle brings extra roots and keys of attesters that are not used (--trust FILE, --attesters FILE or --use-included-roots)"
	}
	return ""
}

// lead is an orchestrator in this process with keys that nobody knows, so that
// nothing that it signs is worth anything.
func (p *replay) lead(o verifiers.NodeOptions, at time.Time) (*orchestrator.Orchestrator, *trust.Anchors, error) {
	o.Signers = map[string]*trust.Signer{}
	var keys []trust.Key
	signer := func(name string) (*trust.Signer, error) {
		s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
		if err == nil {
			keys = append(keys, anchor(name, s))
		}
		return s, err
	}
	for _, sc := range o.Set.Schemes() {
		s, err := signer(sc.Name)
		if err != nil {
			return nil, nil, err
		}
		o.Signers[sc.Name] = s
	}
	own, err := signer(leadKey)
	if err != nil {
		return nil, nil, err
	}
	anchors, err := trust.NewAnchors(keys...)
	if err != nil {
		return nil, nil, err
	}
	node, err := verifiers.NewNode(o)
	if err != nil {
		return nil, nil, err
	}
	expr, err := topologies.Parse(p.request.Topology)
	if err != nil {
		return nil, nil, fmt.Errorf("topology of the request: %w", err)
	}
	options := orchestrator.Options{
		Schemes: o.Set, Appraiser: verifiers.Local{Node: node}, Anchors: anchors, Signer: own, Identity: o.Identity, Route: p.route,
		Topology: &expr, Clock: o.Clock, Rand: rand.Reader, Simulated: p.simulated, LeadKeys: keysAt{p.roots.Attesters, at},
		Limits: evidenceLimits(p.config), Budget: p.config.Budget, Requirements: p.request.Requirements,
	}
	if o.References != nil { // an interface that holds nothing is not nil
		options.References = o.References
	}
	machine, err := p.machinePolicy()
	if err != nil {
		return nil, nil, err
	}
	if machine != nil {
		options.Policy = machine
	}
	out, err := orchestrator.New(options)
	return out, anchors, err
}

// route answers as it did then: who was trusted for a scheme is in the request.
func (p *replay) route(scheme, node string) []verifiers.Candidate {
	switch {
	case !slices.Contains(p.request.Schemes, scheme):
		return nil
	case node != "":
		return []verifiers.Candidate{{Site: node, Why: "named by the topology"}}
	}
	return []verifiers.Candidate{{Site: "any", Why: "nearest that serves the scheme"}}
}

// keysAt are the keys of lead attesters at a time.
type keysAt struct {
	anchors *trust.Anchors
	at      time.Time
}

// VerificationKeys implements evidence.KeyFinder.
func (k keysAt) VerificationKeys([]byte, string) []crypto.PublicKey { return k.anchors.Attesters(k.at) }

// asked is the request as it was.
func (p *replay) asked(override time.Time) (orchestrator.Request, error) {
	q := orchestrator.Request{Evidence: p.bundle.Evidence, MediaType: p.request.MediaType, Time: override, Optional: p.request.Optional}
	var err error
	if q.Nonce, err = decodeChallenge(p.request.Nonce); err != nil {
		return q, err
	}
	for label, text := range p.request.ComponentNonces {
		nonce, err := decodeChallenge(text)
		if err != nil {
			return q, fmt.Errorf("challenge of %s: %w", label, err)
		}
		if q.Given == nil {
			q.Given = map[evidence.Path][]byte{}
		}
		q.Given[evidence.Path(label)] = nonce
	}
	return q, nil
}
