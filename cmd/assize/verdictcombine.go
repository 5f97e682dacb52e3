// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/relyingparty"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// combineFlags are the flags of "assize verdict combine".
type combineFlags struct {
	trust, nodes    []string
	topology, nonce string
	at, output      string
	own             ownFlags
}

func newVerdictCombine() *cobra.Command {
	f := &combineFlags{}
	cmd := &cobra.Command{
		Use:   "combine FILE… --topology EXPR --trust jwks.json",
		Short: "Put results together that were collected without a lead",
		Long: `Combine is for a relying party that asks several verifiers itself: it takes signed
results and says what follows from all of them, by a topology of its own. A FILE
is a partial result or a verdict (compact JWT or CWT), a bundle (-o bundle), or a
collection of results (-o pars, or application/cmw+cbor from the API).
The topology says which components must be there, and which have several
verifiers: of those the worst answer counts, disagreement is said with each
signer, and as many as the quorum says have to have answered. With node files a
place in the topology is a node, and only its verifiers count there.
--policy and --require judge the whole as for verify; what the policies of leads
said does not count then.
Nothing is signed and no other process is asked. Exit status as for verify.`,
		Example: `  assize appraise machine.cmw --nonce 8f3c… --topology 'parallel(cpu, gpu)' -o pars > a.json
  assize verdict combine a.json b.jwt --nonce 8f3c… --trust jwks.json --node site-b.node.json \
      --topology 'parallel(cpu, parallel(quorum 2: gpu@site-a, gpu@site-b))'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "trust", "node", "topology", "nonce", "at", "evidence", "media-type", "policy", "require"); err != nil {
				return err
			}
			return runCombine(cmd, f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.trust, "trust", nil, "JWK set with the keys of leads and verifiers (repeatable)")
	fl.StringArrayVar(&f.nodes, "node", nil, "node file with the keys of a verifier node (repeatable)")
	fl.StringVar(&f.topology, "topology", "", "topology expression: what must be there, and judged by how many (required)")
	fl.StringVar(&f.nonce, "nonce", "", "the session nonce that all results must be for; without it freshness is not established")
	fl.StringVar(&f.at, "at", "", "time of checking (RFC 3339), for stored results (default: now)")
	f.own.add(fl)
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

func runCombine(cmd *cobra.Command, f *combineFlags, files []string) error {
	switch {
	case len(files) == 0:
		return usage("verdict combine wants at least one FILE")
	case len(f.trust)+len(f.nodes) == 0:
		return usage("verdict combine wants --trust FILE or --node FILE: nothing is trusted by default")
	case f.topology == "":
		return usage("verdict combine wants --topology: what has to be there is yours to say")
	case f.output != "text" && f.output != "json":
		return usage("-o %q: want text or json", f.output)
	}
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	var results [][]byte
	for _, file := range files {
		tokens, err := readResults(cmd, file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		results = append(results, tokens...)
	}
	v, err := relyingparty.Combine(cmd.Context(), results, o)
	if err != nil {
		return err
	}
	if f.output == "json" {
		if err := printOwnJSON(cmd, v); err != nil {
			return err
		}
		return tierExit(v.Tier)
	}
	printOwn(cmd.OutOrStdout(), v, o)
	return tierExit(v.Tier)
}

// options translates the flags.
func (f *combineFlags) options(cmd *cobra.Command) (relyingparty.Options, error) {
	var o relyingparty.Options
	err := f.own.options(cmd, &o, f.nonce, f.at)
	if err != nil {
		return o, err
	}
	if o.Topology, err = topology(cmd, f.topology); err != nil {
		return o, err
	}
	o.Anchors, o.Nodes, err = readTrust(cmd, f.trust, f.nodes)
	return o, err
}

// readResults reads one file of any of the forms in which results come.
func readResults(cmd *cobra.Command, file string) ([][]byte, error) {
	raw, err := readInput(cmd, file, 4*limits.AggregateResult)
	if err != nil {
		return nil, err
	}
	trimmed := bytes.TrimSpace(raw)
	switch {
	case trust.IsCWT(raw): // binary: what looks like space is none
		return [][]byte{raw}, nil
	case bytes.HasPrefix(trimmed, []byte("ey")): // a compact JWS begins with '{"'
		return [][]byte{trimmed}, nil
	case bytes.HasPrefix(trimmed, []byte("{")):
		if bundle, err := verdict.DecodeBundle(trimmed); err == nil {
			return [][]byte{bundle.Verdict}, nil
		}
		return verdict.DecodeResults(trimmed)
	}
	return verdict.DecodeResults(raw)
}

// isParallel reports whether an expression is parallel at the top.
func isParallel(text string) bool {
	e, err := topologies.Parse(text)
	return err == nil && e.Head == topologies.Parallel
}
