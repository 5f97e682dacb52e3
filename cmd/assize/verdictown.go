// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/render"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/relyingparty"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

// ownFlags are what a relying party judges by itself, of verify and combine.
type ownFlags struct {
	policy              string
	require             []string
	evidence, mediaType string
	simulated, recorded bool
}

func (f *ownFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.policy, "policy", "", "own policy: a name of the library (assize policy list) or FILE.rego; then what the policy of a lead said does not count")
	fl.StringArrayVar(&f.require, "require", nil, "LABEL[:SCHEME][=N|>=N|?]: what has to be there, whatever a lead demanded (repeatable)")
	fl.StringVar(&f.evidence, "evidence", "", "the composite evidence that all of it must be about")
	fl.StringVar(&f.mediaType, "media-type", "", "media type of the evidence (default: by content)")
	fl.BoolVar(&f.simulated, "allow-simulated", false, "accept results of verifiers that trust simulated machines; for tests")
	fl.BoolVar(&f.recorded, "allow-recorded", false, "accept an affirming verdict that was made as of another time than now")
}

// options fills in what verify and combine have in common.
func (f *ownFlags) options(cmd *cobra.Command, o *relyingparty.Options, nonce, at string) error {
	o.Now, o.NoNonce, o.AllowSimulated, o.AllowRecorded = time.Now(), nonce == "", f.simulated, f.recorded
	var err error
	if nonce != "" {
		if o.Nonce, err = api.DecodeNonce(nonce); err != nil {
			return usage("--nonce: %w", err)
		}
	}
	if at != "" {
		if o.Now, err = time.Parse(time.RFC3339, at); err != nil {
			return usage("--at: %w", err)
		}
	}
	if f.policy != "" {
		if o.Policy, err = loadPolicy(f.policy); err != nil {
			return usage("--policy: %w", err)
		}
	}
	if o.Require, err = loadRequirements(f.require, verdict.SourceRelyingParty); err != nil {
		return usage("--require: %w", err)
	}
	if o.Schemes, err = all.Set(); err != nil {
		return err
	}
	if f.evidence == "" {
		return nil
	}
	o.EvidenceType = f.mediaType
	o.Evidence, err = readInput(cmd, f.evidence, int64(limits.Default().Composite))
	return err
}

// printOwn prints the relying party's verdict, and in what it is not the lead's.
func printOwn(out io.Writer, v *relyingparty.Verdict, o relyingparty.Options) {
	if o.AllowSimulated && slices.ContainsFunc(v.Own.Caps, func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonExtraRoots }) {
		fmt.Fprintln(out, "SIMULATED MACHINES ARE ACCEPTED (--allow-simulated): this verdict says nothing about real hardware")
	}
	if v.Differs() {
		d := v.Difference()
		fmt.Fprintf(out, "the lead says %s, by the rules of this relying party it is %s\n", d.Was, d.Tier)
		for _, label := range slices.Sorted(maps.Keys(d.Components)) {
			c := d.Components[label]
			fmt.Fprintf(out, "  %s: %s instead of %s\n", render.Clean(label), c.Tier, c.Was)
		}
		own, lead := v.Caps()
		for _, c := range own {
			fmt.Fprintf(out, "  %s only here: %s\n", c.Tier, render.Reason(c.Reason))
		}
		for _, c := range lead {
			fmt.Fprintf(out, "  %s only by the lead: %s\n", c.Tier, render.Reason(c.Reason))
		}
	}
	render.Verdict(out, v.Own)
}

// ownDocument is the relying party's verdict as JSON. It is the lead's in form, and
// names who signed what it was made from.
type ownDocument struct {
	verdict.Document
	FromLead *verdict.Difference `json:"from_lead,omitempty"`
}

func printOwnJSON(cmd *cobra.Command, v *relyingparty.Verdict) error {
	d := ownDocument{Document: v.Own.Document()}
	if d.Verifier != nil {
		d.Verifier.KID = v.Lead.KID
	}
	if v.Differs() {
		diff := v.Difference()
		d.FromLead = &diff
	}
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
	return err
}
