// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/remote/nras"
	"github.com/assize/assize/verifiers/spdm"
)

// newSchemes is "assize schemes": what this build can verify, and by which rules.
func newSchemes() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schemes",
		Short: "List the schemes of this build; print and check their appraisal policies",
		Long: `Schemes lists what this build can verify. Every scheme has an appraisal policy for
evidence (RFC 9334): a table that says what each finding costs, in trustworthiness
claims of AR4SI, and the parameters by which findings are made. Print one, edit the
copy, check it, and give it to appraise (--evidence-policy), or to serve and verifier
(key evidence_policies of the configuration). The policies of the backends that ask
NVIDIA's service are nvidia-gpu-nras and nvidia-nvswitch-nras (docs/nras.md).`,
		Example: `  assize schemes
  assize schemes policy intel-tdx > tdx.yaml
  assize schemes check tdx.yaml
  assize appraise machine.cmw --nonce 8f3c… --evidence-policy tdx.yaml`,
		Args: exactly(0),
	}
	var output string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return listSchemes(cmd, output) }
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.AddCommand(newSchemesPolicy(), newSchemesCheck())
	return cmd
}

// schemeLine is one scheme as JSON.
type schemeLine struct {
	Name       string   `json:"name"`
	Class      string   `json:"class"`
	Version    string   `json:"version"`
	MediaTypes []string `json:"media_types"`
	Findings   int      `json:"findings"`
}

func listSchemes(cmd *cobra.Command, output string) error {
	set, err := all.Set()
	if err != nil {
		return err
	}
	var lines []schemeLine
	for _, sc := range set.Schemes() {
		l := schemeLine{Name: sc.Name, Class: string(sc.Class), Version: sc.Version}
		for _, mt := range sc.Accepts {
			l.MediaTypes = append(l.MediaTypes, mt.String())
		}
		if sc.Policy != nil {
			l.Findings = len(sc.Policy.Findings)
		}
		lines = append(lines, l)
	}
	out := cmd.OutOrStdout()
	switch output {
	case "json":
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(lines)
	case "text":
		for _, l := range lines {
			fmt.Fprintf(out, "%-16s %-8s %s\n", l.Name, l.Class, strings.Join(l.MediaTypes, "\n"+strings.Repeat(" ", 26)))
		}
		return nil
	}
	return usage("-o %q: want text or json", output)
}

func newSchemesPolicy() *cobra.Command {
	return &cobra.Command{
		Use:     "policy SCHEME",
		Short:   "Print the default appraisal policy of a scheme as YAML",
		Example: "  assize schemes policy amd-snp > snp.yaml",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := defaultsOf(args[0])
			if errors.Is(err, errNoScheme) {
				return usage("%w", err)
			}
			if err != nil {
				return err
			}
			raw, err := d.YAML()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
}

func newSchemesCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE…",
		Short:   "Check edited appraisal policies and print their identifiers",
		Long:    "Check reads appraisal policies as appraise and serve do. The identifier that it prints is\nthe one that results made under the policy carry (ear.appraisal-policy-id). What a policy\nmay say, and hardly means, is a warning on standard error.",
		Example: "  assize schemes check snp.yaml tdx.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("check wants at least one FILE")
			}
			policies, err := loadPolicies(args)
			if err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(policies)) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n", policies[name].ID())
			}
			if p := policies[spdm.Name]; p != nil {
				for _, w := range appraisal.Parameters[spdm.Parameters](p).Warnings() {
					fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s: %s\n", spdm.Name, w)
				}
			}
			return nil
		},
	}
}

var errNoScheme = errors.New("no such scheme in this build")

// defaultsOf finds what a scheme declares.
func defaultsOf(name string) (*appraisal.Defaults, error) {
	set, err := all.Set()
	if err != nil {
		return nil, err
	}
	if d, ok := nras.Policy(name); ok {
		return &d, nil
	}
	sc, ok := set.Lookup(name)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: %q, see assize schemes", errNoScheme, name)
	case sc.Policy == nil:
		return nil, fmt.Errorf("the rules of scheme %s are fixed: it has no appraisal policy", name)
	}
	return sc.Policy, nil
}

// loadPolicies reads edited appraisal policies, at most one for a scheme. One for
// a scheme that is not in this build is an error: somebody relies on it.
func loadPolicies(files []string) (map[string]*appraisal.Policy, error) {
	out := map[string]*appraisal.Policy{}
	for _, file := range files {
		raw, err := readFile(file, appraisal.MaxPolicy)
		if err != nil {
			return nil, err
		}
		name, err := appraisal.Scheme(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		d, err := defaultsOf(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if out[name] != nil {
			return nil, fmt.Errorf("%s: there are two appraisal policies for %s", file, name)
		}
		if out[name], err = d.Parse(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return out, nil
}

// policies gives the schemes of this process what the configuration names.
func (s *stack) policies(deps *verifiers.Deps) (err error) {
	deps.Policies, err = loadPolicies(s.config.EvidencePolicies)
	for _, name := range nras.Schemes() {
		unused := nras.PolicyName(name)
		if s.remote(name) {
			unused = name
		}
		if deps.Policies[unused] != nil { // somebody relies on it
			err = errors.Join(err, fmt.Errorf("evidence_policies: nothing here is appraised under the policy %s", unused))
		}
	}
	for name := range deps.Policies {
		s.log.Info("edited appraisal policy", "scheme", name, "policy", deps.Policies[name].ID())
	}
	return err
}
