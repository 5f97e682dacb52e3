// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// Media types of what a bundle carries beside verdict and evidence.
const (
	itemCollateral   = "application/vnd.assize.collateral"
	itemCorimSigned  = "application/rim+cose"
	itemCorim        = "application/rim+cbor"
	itemAuthorities  = "application/vnd.assize.corim-trust+json"
	itemSchemePolicy = "application/vnd.assize.evidence-policy+yaml"
	itemPolicy       = "application/vnd.assize.machine-policy+rego"
	itemPlan         = "application/vnd.assize.plan+json"
	itemRoots        = "application/vnd.assize.extra-roots+json"
	itemKeys         = "application/jwk-set+json"
	itemRequest      = "application/vnd.assize.replay-request+json"
)

// Prefixes of the names of policies in a bundle.
const (
	namedDefault = "default/" // of a scheme, as this build has it
	namedEdited  = "edited/"  // of a scheme, as somebody changed it
	namedMachine = "machine/" // for whole machines
)

// includeFlags say what a bundle carries beside the verdict.
type includeFlags struct {
	kinds []string
}

func (f *includeFlags) add(fl *pflag.FlagSet) {
	fl.StringSliceVar(&f.kinds, "include", nil, "what a bundle carries of what the verdict was made from, for --replay: evidence, collateral, references, policies, plan, roots, or all (default: verdict and evidence)")
}

// includable are the kinds of --include. What was asked is always carried.
func includable() []string {
	var out []string
	for _, k := range verdict.ItemKinds() {
		if k != verdict.ItemRequest {
			out = append(out, string(k))
		}
	}
	return out
}

// check refuses words that are none, and a list for something that is no bundle.
func (f *includeFlags) check(output string) error {
	if f.kinds == nil {
		return nil
	}
	if output != "bundle" {
		return usage("--include is for -o bundle")
	}
	for _, k := range f.kinds {
		if k != "all" && !slices.Contains(includable(), k) {
			return usage("--include %q: want all, or some of %s", k, strings.Join(includable(), ","))
		}
	}
	return nil
}

func (f *includeFlags) has(k verdict.ItemKind) bool {
	return k == verdict.ItemRequest || slices.Contains(f.kinds, "all") || slices.Contains(f.kinds, string(k))
}

// replayRequestKind is the member "kind" of what was asked.
const replayRequestKind = "assize-replay-request"

// replayRequest is what was asked, and what else a verdict depends on that is no
// document. It is written in one way only.
type replayRequest struct {
	Kind string `json:"kind"`
	// Time is that of the verdict, with fractions of seconds, in UTC.
	Time string `json:"time"`
	// VerificationTime is there for recorded evidence.
	VerificationTime string `json:"verification_time,omitempty"`
	MediaType        string `json:"media_type,omitempty"`
	// Nonce and ComponentNonces are base64url without padding.
	Nonce           string            `json:"nonce,omitempty"`
	ComponentNonces map[string]string `json:"component_nonces,omitempty"`
	Topology        string            `json:"topology"`
	Optional        []string          `json:"optional,omitempty"`
	// Requirements are those of the configuration.
	Requirements []verdict.Requirement `json:"requirements,omitempty"`
	// Schemes are those that somebody was trusted to appraise, Remote those that a
	// service appraised.
	Schemes []string `json:"schemes"`
	Remote  []string `json:"remote,omitempty"`
	// Corim: there were reference values; CorimUnsigned: also without signatures.
	Corim         bool `json:"corim,omitempty"`
	CorimUnsigned bool `json:"corim_unsigned,omitempty"`
	// Others: verifiers in other processes could have a part, whose collateral and
	// policies are not known here.
	Others bool `json:"others,omitempty"`
}

// encode writes the request.
func (r replayRequest) encode() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(r)
	return bytes.TrimSpace(out.Bytes()), err
}

// included is a bundle while it is being made.
type included struct {
	flags *includeFlags
	items []verdict.Item
}

// add takes an item, or only its digest where its kind is not to be carried.
func (b *included) add(kind verdict.ItemKind, name, mediaType string, raw []byte) {
	i := verdict.NewItem(kind, itemName(name), mediaType, raw)
	if !b.flags.has(kind) {
		i.Value = nil
	}
	same := func(o verdict.Item) bool { return o.Kind == i.Kind && o.Name == i.Name && o.Digest == i.Digest }
	if !slices.ContainsFunc(b.items, same) {
		b.items = append(b.items, i)
	}
}

// itemName makes a name of any text.
func itemName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > limits.BundleName {
		s = strings.ToValidUTF8(s[:limits.BundleName], "")
	}
	if s == "" {
		return "-"
	}
	return s
}

// bundleOf puts a verdict and everything that it was made from into a bundle.
func (s *stack) bundleOf(ctx context.Context, f *appraiseFlags, r orchestrator.Request, res *verdict.Result) (verdict.Bundle, error) {
	b := &included{flags: &f.include}
	out := verdict.Bundle{Verdict: res.Token}
	evidence := b.flags.has(verdict.ItemEvidence)
	if evidence {
		out.Evidence, out.EvidenceType = r.Evidence, r.MediaType
	}
	b.items = append(b.items, verdict.CompositeItem(r.Evidence, r.MediaType, evidence))
	for _, step := range []func() error{
		func() error { return s.includeCollateral(ctx, b) },
		func() error { return s.includeReferences(b, &f.corim) },
		func() error { return s.includePolicies(b, res) },
		func() error { return s.includePlan(ctx, b, r, res) },
		func() error { return s.includeRoots(b, f.trust) },
		func() error { return s.includeRequest(b, f, r, res) },
	} {
		if err := step(); err != nil {
			return out, fmt.Errorf("--include: %w", err)
		}
	}
	out.Items = b.items
	return out, nil
}

// printBundle writes a bundle with what it is to carry.
func (s *stack) printBundle(cmd *cobra.Command, f *appraiseFlags, r orchestrator.Request, res *verdict.Result) error {
	b, err := s.bundleOf(cmd.Context(), f, r, res)
	if err != nil {
		return err
	}
	raw, err := verdict.EncodeBundle(b)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
	return err
}

// keepCollateral remembers where this process has its collateral from.
func (s *stack) keepCollateral(o verifiers.NodeOptions) {
	s.collateral = func(ctx context.Context) *endorsements.Bundle {
		if o.Collateral != nil {
			if b, err := o.Collateral.Ensure(ctx, nil); err == nil && b != nil {
				return b
			}
		}
		return o.Deps.Endorsements
	}
}

// includeCollateral takes what was loaded, and what was fetched by now.
func (s *stack) includeCollateral(ctx context.Context, b *included) error {
	if s.collateral == nil {
		return nil
	}
	docs, err := s.collateral(ctx).Documents()
	if err != nil {
		return err
	}
	for _, d := range docs {
		b.add(verdict.ItemCollateral, d.Name, itemCollateral, d.Raw)
	}
	return nil
}

// includeReferences takes the documents of this run, and who was believed.
func (s *stack) includeReferences(b *included, f *corimFlags) error {
	if s.given == nil {
		return nil
	}
	x, err := s.given.Snapshot(time.Time{})
	if err != nil {
		return err
	}
	for _, d := range x.Documents() {
		mediaType := itemCorim
		if d.Signature != nil {
			mediaType = itemCorimSigned
		}
		b.add(verdict.ItemReferences, d.ID.String(), mediaType, d.Raw)
	}
	if f.trust == "" {
		return nil
	}
	raw, err := readFile(f.trust, corim.MaxTrust)
	if err == nil {
		b.add(verdict.ItemReferences, "authorities", itemAuthorities, raw)
	}
	return err
}

// includePolicies takes the appraisal policies of the schemes that have judged
// something, and the one for whole machines. A file that has changed since the start
// is an error: it is not what the verdict was made by.
func (s *stack) includePolicies(b *included, res *verdict.Result) error {
	edited := map[string]bool{}
	for _, file := range s.config.EvidencePolicies {
		raw, err := readFile(file, appraisal.MaxPolicy)
		if err != nil {
			return err
		}
		name, err := appraisal.Scheme(raw)
		if err != nil {
			return err
		}
		edited[name] = true
		b.add(verdict.ItemPolicies, namedEdited+name, itemSchemePolicy, raw)
		d, err := defaultsOf(name)
		if err != nil {
			return err
		}
		p, err := d.Parse(raw)
		if err != nil {
			return err
		}
		for _, c := range res.Components {
			if c.Scheme == name && !s.remote(name) && !c.Partial.IsZero() && c.Partial.Appraisal().PolicyID != p.ID() {
				return fmt.Errorf("%s has changed since %s was appraised", file, c.Label)
			}
		}
	}
	for _, sc := range s.schemes.Schemes() {
		judged := slices.ContainsFunc(res.Components, func(c verdict.Component) bool { return c.Scheme == sc.Name })
		if sc.Policy == nil || !judged || edited[sc.Name] || s.remote(sc.Name) {
			continue
		}
		raw, err := sc.Policy.YAML()
		if err != nil {
			return err
		}
		b.add(verdict.ItemPolicies, namedDefault+sc.Name, itemSchemePolicy, raw)
	}
	if res.Policy == nil {
		return nil
	}
	p, err := loadPolicy(s.config.Policy)
	if err != nil {
		return err
	}
	if p.Statement().Digest != res.Policy.Digest {
		return fmt.Errorf("policy %s has changed since the verdict", s.config.Policy)
	}
	b.add(verdict.ItemPolicies, namedMachine+res.Policy.ID, itemPolicy, []byte(p.Text()))
	return nil
}

// includePlan takes the plan, whose digest is in the verdict.
func (s *stack) includePlan(ctx context.Context, b *included, r orchestrator.Request, res *verdict.Result) error {
	plan, err := s.lead.Plan(ctx, r)
	if err != nil {
		return err
	}
	if plan.Digest() != res.PlanDigest {
		return errors.New("the plan would be another one now: verifiers came or went")
	}
	b.add(verdict.ItemPlan, "plan", itemPlan, plan.Canonical())
	return nil
}

// includeRoots takes trust anchors beyond those that are built in.
func (s *stack) includeRoots(b *included, file string) error {
	if file != "" {
		raw, err := readFile(file, trust.MaxRoots)
		if err != nil {
			return err
		}
		b.add(verdict.ItemRoots, "roots", itemRoots, raw)
	}
	for _, name := range s.config.Attesters {
		raw, err := readFile(name, maxJWKS)
		if err != nil {
			return err
		}
		b.add(verdict.ItemRoots, "attesters", itemKeys, raw)
	}
	return nil
}

// includeRequest takes what was asked, and the keys under which the answer was
// signed.
func (s *stack) includeRequest(b *included, f *appraiseFlags, r orchestrator.Request, res *verdict.Result) error {
	q := replayRequest{
		Kind: replayRequestKind, Time: res.Time.UTC().Format(time.RFC3339Nano), MediaType: r.MediaType, Nonce: encodeChallenge(r.Nonce),
		Topology: s.config.Topology, Optional: r.Optional, Remote: s.config.NRAS.Schemes, Corim: s.given != nil, CorimUnsigned: f.corim.unsigned,
		Others: s.directory != nil || s.nodes != nil && len(s.nodes.Names()) > 0,
	}
	if !r.Time.IsZero() {
		q.VerificationTime = r.Time.UTC().Format(time.RFC3339Nano)
	}
	if r.Topology != nil {
		q.Topology = r.Topology.String()
	}
	for label, nonce := range r.Given {
		if q.ComponentNonces == nil {
			q.ComponentNonces = map[string]string{}
		}
		q.ComponentNonces[string(label)] = encodeChallenge(nonce)
	}
	var err error
	if q.Requirements, err = loadRequirements(s.config.Requirements, verdict.SourceConfiguration); err != nil {
		return err
	}
	for _, sc := range s.schemes.Schemes() {
		if s.trusted("", sc.Name) {
			q.Schemes = append(q.Schemes, sc.Name)
		}
	}
	raw, err := q.encode()
	if err != nil {
		return err
	}
	b.add(verdict.ItemRequest, "request", itemRequest, raw)
	keys, err := s.signedBy(res)
	if err == nil {
		b.add(verdict.ItemRequest, "keys", itemKeys, keys)
	}
	return err
}

func encodeChallenge(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signedBy are the public keys under which a verdict and the results in it are
// signed, as a JWK set.
func (s *stack) signedBy(res *verdict.Result) ([]byte, error) {
	used := map[string]bool{res.KID: true}
	for _, c := range res.Components {
		for _, p := range c.Partials() {
			_, kid := p.Verifier()
			used[kid] = true
		}
	}
	all := s.anchors.Keys()
	if s.nodes != nil {
		for _, name := range s.nodes.Names() {
			if n, ok := s.nodes.Lookup(name); ok {
				all = append(all, n.Verifiers().Keys()...)
			}
		}
	}
	var keys []trust.Key
	for _, k := range all {
		if used[k.KID] {
			keys = append(keys, k)
			delete(used, k.KID)
		}
	}
	set, err := trust.NewAnchors(keys...)
	if err != nil {
		return nil, err
	}
	return set.JWKS()
}
