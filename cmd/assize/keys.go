// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verifiers/all"
)

func newKeys(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "Make signing keys, print the public ones",
		Example: "  assize keys new lead --alg ES384\n  assize keys jwks > jwks.json",
		Args: func(cmd *cobra.Command, args []string) error {
			return usage("keys wants a sub-command: new, jwks or node")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newKeysNew(g), newKeysJWKS(g), newKeysNode(g))
	return cmd
}

// keyNames are the names that a key may have: the lead and every scheme.
func keyNames() ([]string, error) {
	set, err := all.Set()
	if err != nil {
		return nil, err
	}
	names := []string{leadKey}
	for _, sc := range set.Schemes() {
		names = append(names, sc.Name)
	}
	return names, nil
}

func newKeysNew(g *globals) *cobra.Command {
	var alg string
	var replace bool
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: `Generate the signing key of "lead" or of a scheme`,
		Long: `New generates a signing key in the state directory. "lead" signs verdicts; a key
with the name of a scheme signs the results of that component verifier. With
--replace an existing key is lost: relying parties need the new public key.`,
		Example: "  assize keys new lead --alg ES384\n  assize keys new intel-tdx --replace",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := keyNames()
			if err != nil {
				return err
			}
			if !slices.Contains(names, args[0]) {
				return usage("keys new: no key has the name %q, want one of %v", args[0], names)
			}
			if !slices.Contains([]string{"ES256", "ES384", "EdDSA"}, alg) {
				return usage("keys new: --alg %q: want ES256, ES384 or EdDSA", alg)
			}
			c, err := g.load()
			if err != nil {
				return err
			}
			store := newKeystore(c.StateDir)
			if _, err := store.read(args[0]); !replace && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("there is a key %q already, --replace overwrites it", args[0])
			}
			s, err := store.create(args[0], alg, replace)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", args[0], s.KID(), store.path(args[0]))
			return nil
		},
	}
	cmd.Flags().StringVar(&alg, "alg", "ES256", "ES256, ES384 or EdDSA")
	cmd.Flags().BoolVar(&replace, "replace", false, "overwrite an existing key")
	return cmd
}

func newKeysJWKS(g *globals) *cobra.Command {
	var only []string
	cmd := &cobra.Command{
		Use:   "jwks [FILE…]",
		Short: "Print the public keys as a JWK set with roles",
		Long: `Jwks prints the public keys of the state directory, generating those that do not
exist yet, as a JWK set. The private members "assize_roles" and "assize_schemes"
say what each key may sign; "assize verdict verify --trust" reads them. JWK sets
of verifiers elsewhere, given as files, are checked and merged in; a key in them
that may do anything but sign results of schemes is refused.`,
		Example: "  assize keys jwks > jwks.json\n  assize keys jwks --only intel-tdx > tdx.json\n  assize keys jwks vendor.json > all.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			anchors, err := ownAnchors(g, only)
			if err != nil {
				return err
			}
			others, err := readAnchors(cmd, args)
			if err != nil {
				return err
			}
			for i, o := range others {
				if err := onlyVerifiers(o); err != nil {
					return fmt.Errorf("%s: %w", args[i], err)
				}
			}
			merged, err := trust.Merge(append(others, anchors)...)
			if err != nil {
				return err
			}
			raw, err := merged.JWKS()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", raw)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "names of keys (default: lead and every scheme)")
	return cmd
}

// onlyVerifiers refuses a set with which somebody else's key would become a
// lead's or an attester's.
func onlyVerifiers(a *trust.Anchors) error {
	for _, k := range a.Keys() {
		if !slices.Equal(k.Roles, []trust.Role{trust.RoleVerifier}) {
			return fmt.Errorf("key %q has roles %v, want %q alone", k.KID, k.Roles, trust.RoleVerifier)
		}
	}
	return nil
}

func ownAnchors(g *globals, only []string) (*trust.Anchors, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	names, err := keyNames()
	if err != nil {
		return nil, err
	}
	store := newKeystore(c.StateDir)
	var keys []trust.Key
	for _, n := range only {
		if !slices.Contains(names, n) {
			return nil, usage("keys jwks: --only %q: want one of %v", n, names)
		}
	}
	for _, n := range names {
		if len(only) > 0 && !slices.Contains(only, n) {
			continue
		}
		s, err := store.load(n)
		if err != nil {
			return nil, err
		}
		keys = append(keys, anchor(n, s))
	}
	return trust.NewAnchors(keys...)
}

// maxJWKS bounds a file of public keys in bytes.
const maxJWKS = 1 << 20

func readAnchors(cmd *cobra.Command, files []string) ([]*trust.Anchors, error) {
	var out []*trust.Anchors
	for _, f := range files {
		raw, err := readInput(cmd, f, maxJWKS)
		if err != nil {
			return nil, err
		}
		a, err := trust.ParseJWKS(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		out = append(out, a)
	}
	return out, nil
}
