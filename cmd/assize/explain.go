// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/render"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/explain"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/relyingparty"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

// explainFlags are the flags of "assize explain".
type explainFlags struct {
	trust     []string
	nonce     string
	at        string
	component string
	policy    string
	simulated bool
	output    string
}

func newExplain() *cobra.Command {
	f := &explainFlags{}
	cmd := &cobra.Command{
		Use:   "explain FILE",
		Short: "Say why a verdict is what it is, and what would mend it",
		Long: `Explain takes a verdict – signed (-o ear and the other formats that assize verdict
verify reads), a bundle (-o bundle), or the document that -o json prints – and says
for the whole, each component and each edge between components the cause, what was
expected, what was seen, where the expectation comes from and what would mend it.
What costs most comes first. Of an affirming verdict it says what that does not
prove. FILE may be - for standard input.

With --trust the verdict is verified first, as assize verdict verify does, and
refused if it must not be believed. Without it what the file says is explained
unverified. --policy explains what would be said under another policy, and wants
--trust. What the codes mean is in docs/reasons.md.
Exit status: 0 explained, whatever the verdict is; 1 could not; 2 usage.`,
		Example: `  assize appraise machine.cmw --nonce 8f3c… -o bundle | assize explain -
  assize explain bundle.json --trust jwks.json --nonce 8f3c… --component gpu/0
  assize explain verdict.json -o json`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "trust", "nonce", "at", "component", "policy"); err != nil {
				return err
			}
			return runExplain(cmd, f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.trust, "trust", nil, "JWK set with the keys of lead and verifiers (repeatable); then the verdict is verified first")
	fl.StringVar(&f.nonce, "nonce", "", "the session nonce that the verdict must be for")
	fl.StringVar(&f.at, "at", "", "time of checking (RFC 3339), for stored verdicts (default: now)")
	fl.StringVar(&f.component, "component", "", "label of the one component to explain")
	fl.StringVar(&f.policy, "policy", "", "explain under another policy: a name of the library (assize policy list) or FILE.rego")
	fl.BoolVar(&f.simulated, "allow-simulated", false, "with --policy: accept results of verifiers that trust simulated machines; for tests")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json (schemas/explain.schema.json)")
	return cmd
}

func runExplain(cmd *cobra.Command, f *explainFlags, file string) error {
	switch {
	case f.output != "text" && f.output != "json":
		return usage("-o %q: want text or json", f.output)
	case f.policy != "" && len(f.trust) == 0:
		return usage("--policy judges verified results: give --trust FILE")
	case f.at != "" && len(f.trust) == 0:
		return usage("--at is the time of checking, and nothing is checked without --trust FILE")
	}
	raw, err := readInput(cmd, file, 4*limits.AggregateResult)
	if err != nil {
		return err
	}
	doc, input, err := f.read(cmd, raw)
	if err != nil {
		return err
	}
	if f.nonce != "" && !input.Verified {
		nonce, err := api.DecodeNonce(f.nonce)
		if err != nil {
			return usage("--nonce: %w", err)
		}
		if !(&verdict.Result{Nonce: documentNonce(doc)}).HasNonce(nonce) {
			return errors.New("the verdict is for another session nonce")
		}
	}
	e, err := explain.Of(doc)
	if err != nil {
		return err
	}
	e.Input = &input
	if f.component != "" {
		var ok bool
		if e, ok = e.About(f.component); !ok {
			return fmt.Errorf("the verdict has no component %q", f.component)
		}
	}
	out := cmd.OutOrStdout()
	if f.output == "json" {
		text, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", text)
		return err
	}
	render.Explanation(out, e)
	return nil
}

// documentNonce is the challenge of a document, nil where it has none.
func documentNonce(doc verdict.Document) []byte {
	nonce, err := api.DecodeNonce(doc.Nonce)
	if err != nil {
		return nil
	}
	return nonce
}

// read tells the forms of a verdict apart.
func (f *explainFlags) read(cmd *cobra.Command, raw []byte) (verdict.Document, explain.Input, error) {
	trimmed := bytes.TrimSpace(raw)
	switch {
	case trust.IsCWT(raw):
		return f.signed(cmd, raw, raw, "signed verdict")
	case bytes.HasPrefix(trimmed, []byte("ey")): // a compact JWS begins with '{"'
		return f.signed(cmd, trimmed, trimmed, "signed verdict")
	}
	bundle, notBundle := verdict.DecodeBundle(trimmed)
	if notBundle == nil {
		return f.signed(cmd, trimmed, bundle.Verdict, "bundle")
	}
	doc, err := explain.Decode(trimmed)
	switch {
	case err == nil && len(f.trust) > 0:
		return doc, explain.Input{}, errors.New("the file is not signed, so --trust has nothing to verify: give the signed verdict or the bundle")
	case err == nil:
		return doc, explain.Input{Form: "document", Note: "Unsigned and unverified: what the file says is explained, and nobody vouches for it."}, nil
	case !errors.Is(err, explain.ErrNoDocument):
		return doc, explain.Input{}, err
	}
	if _, why := evidence.Parse(raw, evidence.Options{UnverifiedSignaturesUnsafe: true}); why == nil {
		return doc, explain.Input{}, errors.New("this is evidence and no verdict: appraise it first, as in assize appraise FILE --nonce … -o bundle | assize explain -")
	}
	return doc, explain.Input{}, fmt.Errorf("neither a signed verdict nor a bundle (%w) nor a document: %w", notBundle, err)
}

// signed explains a signed verdict: verified where there are keys, otherwise as it
// stands there.
func (f *explainFlags) signed(cmd *cobra.Command, raw, token []byte, form string) (verdict.Document, explain.Input, error) {
	if len(f.trust) == 0 {
		doc, err := verdict.UnverifiedDocument(token)
		return doc, explain.Input{Form: form, Note: "Not verified: no keys were given (--trust), so whoever made the file may have chosen every word."}, err
	}
	o := relyingparty.Options{
		Now: time.Now(), NoNonce: f.nonce == "", AllowSimulated: f.simulated || f.policy == "", AllowRecorded: f.policy == "",
	}
	var err error
	if f.nonce != "" {
		if o.Nonce, err = api.DecodeNonce(f.nonce); err != nil {
			return verdict.Document{}, explain.Input{}, usage("--nonce: %w", err)
		}
	}
	if f.at != "" {
		if o.Now, err = time.Parse(time.RFC3339, f.at); err != nil {
			return verdict.Document{}, explain.Input{}, usage("--at: %w", err)
		}
	}
	if f.policy != "" {
		if o.Policy, err = loadPolicy(f.policy); err != nil {
			return verdict.Document{}, explain.Input{}, usage("--policy: %w", err)
		}
	}
	if o.Anchors, o.Nodes, err = readTrust(cmd, f.trust, nil); err != nil {
		return verdict.Document{}, explain.Input{}, err
	}
	if o.Schemes, err = all.Set(); err != nil {
		return verdict.Document{}, explain.Input{}, err
	}
	v, err := relyingparty.Check(cmd.Context(), raw, o)
	if err != nil {
		return verdict.Document{}, explain.Input{}, err
	}
	in := explain.Input{Form: form, Verified: true, Note: "Verified: signed by " + v.Lead.KID + ", and every result in it by its verifier."}
	if f.nonce == "" {
		in.Note += " Not compared: the session nonce (--nonce)."
	}
	if f.policy != "" {
		in.Note += " Judged anew under the policy " + f.policy + "; the lead says " + v.Lead.Outcome.Tier.String() + "."
		return v.Own.Document(), in, nil
	}
	return v.Lead.Document(), in, nil
}
