// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

func newCorimVerify(g *globals) *cobra.Command {
	var authorities, at string
	var unsigned, asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE…",
		Short: "Check documents without a store",
		Long: `Verify checks documents as the store would: their form, signature, whether an
authority of --trust has made them and may say what they say, when they hold, and
the rules of their profile. Without --trust the authorities are those of the
configuration (corim.trust). It reads files and nothing else.
Exit status is 0, or 1 when a document would be refused.`,
		Example: `  assize corim verify release-7.corim --trust authorities.json
  assize corim verify plain.corim --unsigned --at 2026-06-01T00:00:00Z`,
		Args: some("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "trust", "at"); err != nil {
				return err
			}
			o := corim.Options{Now: time.Now(), Unsigned: unsigned}
			if at != "" {
				t, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return usage("--at: %w", err)
				}
				o.Now = t
			}
			if authorities == "" {
				c, err := g.load()
				if err != nil {
					return err
				}
				if authorities = c.Corim.Trust; authorities == "" && !unsigned {
					return usage("corim verify wants --trust FILE: the configuration has no corim.trust")
				}
			}
			var err error
			if o.Trust, err = storeTrust(authorities); err != nil {
				return err
			}
			return verifyCorims(cmd, args, o, asJSON)
		},
	}
	cmd.Flags().StringVar(&authorities, "trust", "", "file of authorities (default: corim.trust of the configuration)")
	cmd.Flags().StringVar(&at, "at", "", "time for which the documents have to hold (RFC 3339, default now)")
	cmd.Flags().BoolVar(&unsigned, "unsigned", false, "accept documents without a signature")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func verifyCorims(cmd *cobra.Command, files []string, o corim.Options, asJSON bool) error {
	var refused []error
	var docs []*corim.Document
	var shown []shownCorim
	for _, name := range files {
		raw, err := readInput(cmd, name, limits.CorimDocument)
		if err != nil {
			return err
		}
		d, err := corim.Load(raw, o)
		if err != nil {
			refused = append(refused, fmt.Errorf("%s: %w", name, err))
			continue
		}
		docs = append(docs, d)
		shown = append(shown, describeDocument(d, nil))
	}
	// Circles are seen only across documents.
	if _, err := corim.NewIndex(docs...); err != nil {
		refused = append(refused, err)
	}
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), shown); err != nil {
			return err
		}
		return errors.Join(refused...)
	}
	for _, s := range shown {
		fmt.Fprintf(cmd.OutOrStdout(), "verified: %s  %s  by %s  holds %s\n", s.ID, plain(s.Document), plain(or(s.Authority, "nobody, unsigned")), s.Holds)
	}
	return errors.Join(refused...)
}

// shownCorim is a document for people and programs.
type shownCorim struct {
	ID        string     `json:"id"`
	Document  string     `json:"document"`
	Profile   string     `json:"profile,omitempty"`
	Signed    bool       `json:"signed"`
	Signer    string     `json:"signer,omitempty"`
	Authority string     `json:"authority,omitempty"`
	Holds     string     `json:"holds"`
	Bytes     int        `json:"bytes"`
	Tags      []shownTag `json:"tags"`
	Store     *api.Corim `json:"store,omitempty"`
}

type shownTag struct {
	Kind         string         `json:"kind"`
	ID           string         `json:"id,omitempty"`
	Triples      map[string]int `json:"triples,omitempty"`
	Environments []string       `json:"environments,omitempty"`
}

func describeDocument(d *corim.Document, in *api.Corim) shownCorim {
	out := shownCorim{
		ID: fmt.Sprintf("%x", d.Digest), Document: d.ID.String(), Profile: d.Profile, Signed: d.Signature != nil, Bytes: len(d.Raw),
		Holds: d.Validity.String(), Store: in, Tags: []shownTag{},
	}
	if d.Signature != nil {
		out.Signer = d.Signature.Signer
	}
	if d.Authority != nil {
		out.Authority, out.Holds = d.Authority.Name, d.Window().String()
	}
	for _, t := range d.Tags {
		out.Tags = append(out.Tags, describeTag(t))
	}
	return out
}

func describeTag(t corim.Tag) shownTag {
	switch {
	case t.Coswid != nil:
		return shownTag{Kind: "CoSWID", ID: t.Coswid.Identity.String()}
	case t.List != nil:
		return shownTag{Kind: "CoTL", ID: t.List.Identity.String()}
	case t.Comid == nil:
		return shownTag{Kind: fmt.Sprint("tag ", t.Number)}
	}
	m := t.Comid
	out := shownTag{Kind: "CoMID", ID: m.Identity.String(), Triples: map[string]int{}}
	for kind, n := range map[corim.Kind]int{
		corim.Reference: len(m.Reference), corim.Endorsed: len(m.Endorsed), corim.IdentityKey: len(m.Identities), corim.AttestKey: len(m.AttestKeys),
		corim.Dependency: len(m.Dependency), corim.Membership: len(m.Membership), corim.Software: len(m.Software),
		corim.ConditionalSeries: len(m.Series), corim.ConditionalEndorsed: len(m.Conditional),
	} {
		if n > 0 {
			out.Triples[kind.String()] = n
		}
	}
	for _, v := range m.Reference {
		out.Environments = append(out.Environments, v.Environment.String())
	}
	return out
}

func showCorim(out io.Writer, d *corim.Document, in *api.Corim, asJSON bool) error {
	s := describeDocument(d, in)
	if asJSON {
		return printJSON(out, s)
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%-10s %s\n", name, plain(value))
		}
	}
	line("id", s.ID)
	line("document", s.Document)
	line("profile", s.Profile)
	switch {
	case s.Authority != "":
		line("signed", "by "+s.Authority+" ("+s.Signer+")")
	case s.Signed:
		line("signed", "by somebody who calls himself "+s.Signer+": not checked")
	default:
		line("signed", "no")
	}
	fmt.Fprintf(out, "%-10s %s\n%-10s %d\n", "holds", s.Holds, "bytes", s.Bytes)
	if in != nil {
		line("status", string(in.Status))
		line("reason", in.Reason)
	}
	for _, t := range s.Tags {
		fmt.Fprintf(out, "%s %s\n", t.Kind, plain(t.ID))
		for kind := corim.Kind(0); kind <= corim.ConditionalEndorsed; kind++ {
			if n := t.Triples[kind.String()]; n > 0 {
				fmt.Fprintf(out, "    %d %s\n", n, kind)
			}
		}
		for i, e := range t.Environments {
			if i == 20 {
				fmt.Fprintf(out, "    … and %d more\n", len(t.Environments)-i)
				break
			}
			fmt.Fprintf(out, "    %s\n", plain(e))
		}
	}
	return nil
}

// printCorims prints entries of a store, one a line.
func printCorims(out io.Writer, list []api.Corim, asJSON bool) error {
	if asJSON {
		return printJSON(out, list)
	}
	for _, c := range list {
		fields := []string{plain(c.ID), string(c.Status)}
		if c.Document != "" {
			fields = append(fields, plain(c.Document), "by "+plain(or(c.Authority, "nobody, unsigned")))
		}
		if c.NotAfter != nil {
			fields = append(fields, "until "+c.NotAfter.Format(time.RFC3339))
		}
		if c.Reason != "" {
			fields = append(fields, plain(c.Reason))
		}
		if _, err := fmt.Fprintln(out, strings.Join(fields, "  ")); err != nil {
			return err
		}
	}
	return nil
}
