// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// goldenFlags are the flags of "assize corim from-evidence".
type goldenFlags struct {
	components        []string
	with, without     []string
	at, until, id     string
	trust, collateral string
	mediaType         string
	output            string
	bad               bool
	keys              corimFlags
}

func newCorimFromEvidence() *cobra.Command {
	f := &goldenFlags{}
	cmd := &cobra.Command{
		Use:   "from-evidence FILE",
		Short: "Make a template of reference values out of a golden machine's evidence",
		Long: `From-evidence has each component of the evidence verified, as an appraisal would,
and writes what was measured as reference values for review: a template that
"assize corim sign" signs, or, with -o FILE.cbor, an unsigned CoRIM. Evidence whose
signatures do not hold never becomes a reference value, and what its verifier
contraindicates only with --contraindicated.

Arm's tokens come without certificates: --corim gives the documents that state their
keys. Nothing else of these documents is used.

Whether the machine was in a good state is not in its evidence. Look through the
values before you sign them; see docs/reference-values.md.`,
		Example: `  assize corim from-evidence golden.cmw -o golden.json
  assize corim from-evidence golden.cmw --component gpu --without 35 -o gpu.json
  assize corim sign --key vendor.pem --name ACME golden.json -o golden.corim`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "component", "with", "without", "at", "not-after", "id", "trust", "endorsements", "media-type", "corim", "corim-trust", "output"); err != nil {
				return err
			}
			return runFromEvidence(cmd, f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.components, "component", nil, "label of a component, or of what it is in (repeatable; default: all)")
	fl.StringArrayVar(&f.with, "with", nil, "measurement key that is usually left out, as mrseam, reported-tcb or pcr1 (repeatable)")
	fl.StringArrayVar(&f.without, "without", nil, "measurement key to leave out, as rtmr1 or 35 (repeatable)")
	fl.StringVar(&f.at, "at", "", "verification time (RFC 3339), for recorded evidence")
	fl.StringVar(&f.until, "not-after", "", "end of the validity of the document (RFC 3339, default a year from now)")
	fl.StringVar(&f.id, "id", "", "identifier of the document (default: from the digest of the evidence)")
	fl.StringVar(&f.trust, "trust", "", "file of extra roots, for simulated machines")
	fl.StringVar(&f.collateral, "endorsements", "", "folder of offline collateral")
	fl.StringVar(&f.mediaType, "media-type", "", "media type of the whole message (default: by content)")
	f.keys.add(fl)
	fl.BoolVar(&f.bad, "contraindicated", false, "take components too that their verifier contraindicates, if their signature holds")
	fl.StringVarP(&f.output, "output", "o", "", "file to write: .json for a template, .cbor or .corim for an unsigned document (default: template to standard output)")
	return cmd
}

func runFromEvidence(cmd *cobra.Command, f *goldenFlags, file string) error {
	now := time.Now()
	at, until := now, now.AddDate(1, 0, 0)
	var err error
	if f.at != "" {
		if at, err = time.Parse(time.RFC3339, f.at); err != nil {
			return usage("--at: %w", err)
		}
	}
	if f.until != "" {
		if until, err = time.Parse(time.RFC3339, f.until); err != nil {
			return usage("--not-after: %w", err)
		}
	}
	raw, err := readInput(cmd, file, int64(limits.Default().Composite))
	if err != nil {
		return err
	}
	g, err := newGolden(f, at)
	if err != nil {
		return err
	}
	held := at
	if now.Before(at) {
		held = now
	}
	if err := g.statedKeys(held); err != nil {
		return err
	}
	// Every leaf is signed by its own device; that of the whole adds nothing here.
	tree, err := evidence.Parse(raw, evidence.Options{MediaType: f.mediaType, UnverifiedSignaturesUnsafe: true})
	if err != nil {
		return err
	}
	parts, err := orchestrator.Components(g.schemes, tree, limits.Default().Leaves)
	if err != nil {
		return err
	}
	if err := g.all(cmd.Context(), parts); err != nil {
		return err
	}
	id := f.id
	if id == "" {
		id = fmt.Sprintf("golden-%x", sha256.Sum256(raw))[:len("golden-")+16]
	}
	d := g.document(id, until.Truncate(time.Second))
	if err := g.matches(cmd.Context(), d, held); err != nil {
		return err
	}
	fmt.Fprint(cmd.ErrOrStderr(), g.report.String())
	return writeTemplate(cmd, f.output, d)
}

// golden collects reference values.
type golden struct {
	flags   *goldenFlags
	schemes *verifiers.Set
	deps    verifiers.Deps
	at      time.Time
	choice  *selection
	report  strings.Builder
	triples map[string][]goldenTriple // by scheme
	taken   []taken
	keys    []*corim.Document // that state keys of devices, and nothing else
	known   *corim.Index      // of them
}

// taken is a component whose values are in the template.
type taken struct {
	part   topologies.Component
	reader verifiers.Verifier
}

func newGolden(f *goldenFlags, at time.Time) (*golden, error) {
	g := &golden{
		flags: f, at: at, triples: map[string][]goldenTriple{},
		choice: &selection{with: f.with, without: f.without, used: map[string]bool{}},
	}
	var err error
	if g.schemes, err = all.Set(); err != nil {
		return nil, err
	}
	if f.collateral != "" {
		if g.deps.Endorsements, _, err = endorsements.LoadDir(f.collateral); err != nil {
			return nil, err
		}
	}
	if f.trust == "" {
		return g, nil
	}
	raw, err := readFile(f.trust, trust.MaxRoots)
	if err != nil {
		return nil, err
	}
	roots, err := trust.ParseRoots(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.trust, err)
	}
	g.deps.ExtraRoots = roots.Schemes
	return g, nil
}

// all goes through the components. What nobody reads yet is named; a component
// that was asked for, or can be read, and does not verify is an error.
func (g *golden) all(ctx context.Context, parts []topologies.Component) error {
	seen := map[string]bool{}
	for _, p := range parts {
		if len(g.flags.components) > 0 {
			i := slices.IndexFunc(g.flags.components, func(c string) bool { return p.Label.Under(evidence.Path(c)) })
			if i < 0 {
				continue
			}
			seen[g.flags.components[i]] = true
		}
		if err := g.one(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.Label, err)
		}
	}
	for _, c := range g.flags.components {
		if !seen[c] {
			return usage("--component %s is not in the evidence", c)
		}
	}
	if list := g.choice.unused(); len(list) > 0 {
		return usage("no component has the measurement %s", strings.Join(list, ", "))
	}
	if len(g.taken) == 0 {
		return errors.New("nothing in the evidence makes reference values:\n" + g.report.String())
	}
	return nil
}

func (g *golden) one(ctx context.Context, p topologies.Component) error {
	if p.Scheme == "" {
		if p.Reason != nil && p.Reason.Code == verdict.ReasonMalformed {
			return errors.New(p.Reason.Detail)
		}
		fmt.Fprintf(&g.report, "%s: left out, no verifier reads %s yet\n", p.Label, p.MediaType)
		return nil
	}
	sc, _ := g.schemes.Lookup(p.Scheme)
	v, err := sc.New(g.deps)
	if err != nil {
		return err
	}
	a, err := v.Appraise(ctx, verifiers.Input{MediaType: p.MediaType, Evidence: p.Evidence, Time: g.at, References: g.known})
	if err != nil {
		return err
	}
	tier := a.Vector.Status()
	if len(a.Facts.Environments) == 0 {
		return fmt.Errorf("the evidence proves nothing, so it is no reference: %s", reasonText(a.Reasons))
	}
	if tier == verdict.TierContraindicated && !g.flags.bad {
		return fmt.Errorf("contraindicated, so it is no reference (--contraindicated takes it nevertheless): %s", reasonText(a.Reasons))
	}
	list, err := goldenTriples(p.Scheme, a, g.choice)
	if errors.Is(err, errNoTemplate) {
		fmt.Fprintf(&g.report, "%s: left out, %v (%s)\n", p.Label, err, p.Scheme)
		return nil
	}
	if err != nil {
		return err
	}
	g.taken = append(g.taken, taken{p, v})
	for _, t := range list {
		if err := g.keep(p, t, tier); err != nil {
			return err
		}
	}
	return nil
}

// keep adds a triple; what is equal to one that is there already is the same.
func (g *golden) keep(p topologies.Component, t goldenTriple, tier verdict.Tier) error {
	raw, err := corim.EncodeFragment(t.values)
	if err != nil {
		return err
	}
	note := ""
	for _, other := range g.triples[p.Scheme] {
		have, err := corim.EncodeFragment(other.values)
		if err != nil {
			return err
		}
		if bytes.Equal(have, raw) {
			fmt.Fprintf(&g.report, "%s: the same values as one before\n", p.Label)
			return nil
		}
		if other.values.Environment == t.values.Environment {
			note = "; the evidence has others for the same environment: either will match"
		}
	}
	g.triples[p.Scheme] = append(g.triples[p.Scheme], t)
	if tier == verdict.TierContraindicated {
		note += "; CONTRAINDICATED by its verifier"
	}
	fmt.Fprintf(&g.report, "%s: %d values for %s (%s)%s\n", p.Label, len(t.values.Measurements), t.values.Environment, p.Scheme, note)
	return nil
}

func reasonText(list []verdict.Reason) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Code+": "+r.Detail)
	}
	return strings.Join(out, "; ")
}

// document has one CoMID for each scheme. Its profile is that of its values, if all
// have the same; a mixture has ours, which has no rules of its own.
func (g *golden) document(id string, until time.Time) *corim.Document {
	d := &corim.Document{ID: corim.ID{Text: id}, Validity: corim.Period{NotAfter: until.UTC()}}
	for _, sc := range g.schemes.Schemes() {
		list := g.triples[sc.Name]
		if list == nil {
			continue
		}
		c := &corim.Comid{Identity: corim.TagIdentity{ID: corim.ID{Text: id + "-" + sc.Name}}}
		for _, t := range list {
			c.Reference = append(c.Reference, t.values)
			switch d.Profile {
			case "":
				d.Profile = t.profile
			case t.profile:
			default:
				d.Profile = corim.ProfileAssize
			}
		}
		d.Tags = append(d.Tags, corim.Tag{Number: corim.TagComid, Comid: c})
	}
	return d
}

// statedKeys keeps of the documents of --corim the keys of devices. Reference
// values in them are no matter here: they could hide that the new ones match
// nothing.
func (g *golden) statedKeys(at time.Time) error {
	given, err := g.flags.keys.load(slog.New(slog.DiscardHandler), at)
	if err != nil || given == nil {
		return err
	}
	all, err := given.Snapshot(at)
	if err != nil {
		return err
	}
	for _, d := range all.Documents() {
		only, err := keysOf(d, at)
		if err != nil {
			return err
		}
		if only != nil {
			g.keys = append(g.keys, only)
		}
	}
	g.known, err = corim.NewIndex(g.keys...)
	return err
}

// keysOf is a document without anything but its keys, vouched for as it was, or
// nil if it has none, or does not hold.
func keysOf(d *corim.Document, at time.Time) (*corim.Document, error) {
	out := &corim.Document{ID: d.ID, Profile: d.Profile, Validity: d.Window()}
	for _, t := range d.Tags {
		if t.Comid != nil && len(t.Comid.AttestKeys) > 0 {
			out.Tags = append(out.Tags, corim.Tag{Number: corim.TagComid, Comid: &corim.Comid{Identity: t.Comid.Identity, AttestKeys: t.Comid.AttestKeys}})
		}
	}
	if out.Tags == nil || !d.Window().Contains(at) {
		return nil, nil
	}
	raw, err := corim.Encode(out)
	if err != nil {
		return nil, err
	}
	if d.Authority == nil {
		return corim.Load(raw, corim.Options{Unsigned: true, Now: at})
	}
	return believed(raw, d.Authority.Name, at)
}

// believed loads a document as one that somebody has signed who may say everything.
// What it is good for does not leave this process.
func believed(raw []byte, author string, at time.Time) (*corim.Document, error) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key := corim.SigningKey{ID: []byte("this process"), Public: public}
	return corim.LoadVouched(raw, corim.Vouching{
		Authority: corim.Authority{Name: author, Keys: []corim.SigningKey{key}, Profiles: []string{corim.AnyProfile}, Scopes: []corim.Environment{{}}},
		Key:       key, Validity: corim.Period{NotAfter: at.AddDate(1, 0, 0)},
	}, corim.Options{Now: at})
}

// matches has every component appraised once more with the document, as it will be
// when it is signed: one that its own evidence does not match is worth nothing.
func (g *golden) matches(ctx context.Context, d *corim.Document, held time.Time) error {
	raw, err := corim.Encode(d)
	if err != nil {
		return err
	}
	loaded, err := believed(raw, "the author", held)
	if err != nil {
		return err
	}
	x, err := corim.NewIndex(append([]*corim.Document{loaded}, g.keys...)...)
	if err != nil {
		return err
	}
	for _, t := range g.taken {
		a, err := t.reader.Appraise(ctx, verifiers.Input{MediaType: t.part.MediaType, Evidence: t.part.Evidence, Time: g.at, References: x})
		if err != nil {
			return err
		}
		for _, r := range a.Reasons {
			switch r.Code {
			case verdict.ReasonMeasurementMismatch, verdict.ReasonPartialReference, verdict.ReasonReferenceConflict:
				return fmt.Errorf("%s: the values would not match the evidence that they are from: %s: %s", t.part.Label, r.Code, r.Detail)
			case verdict.ReasonNoReferenceValues:
				fmt.Fprintf(&g.report, "%s: %s\n", t.part.Label, r.Detail)
			}
		}
	}
	return nil
}

// templateFile is a template in one file: that of the CoRIM and those of its
// CoMIDs, each as cocli reads it.
type templateFile struct {
	Corim  json.RawMessage   `json:"corim"`
	Comids []json.RawMessage `json:"comids"`
}

func writeTemplate(cmd *cobra.Command, name string, d *corim.Document) error {
	switch filepath.Ext(name) {
	case ".cbor", ".corim":
		raw, err := corim.Encode(d)
		if err != nil {
			return err
		}
		return os.WriteFile(name, raw, 0o644)
	case ".json", "":
	default:
		return usage("-o %s: want .json, .cbor or .corim", name)
	}
	head, comids, err := corim.Templates(d)
	if err != nil { // signer ids of Arm's components, for one
		return fmt.Errorf("these values have no form as a template, -o FILE.cbor writes them as an unsigned document: %w", err)
	}
	file := templateFile{Corim: head}
	for _, c := range comids {
		file.Comids = append(file.Comids, c)
	}
	raw, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if name == "" {
		_, err = cmd.OutOrStdout().Write(raw)
		return err
	}
	return os.WriteFile(name, raw, 0o644)
}
