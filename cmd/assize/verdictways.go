// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
)

// readTrust reads what a relying party trusts: JWK sets, and node files, whose
// verifiers join the others. Leads are those of the JWK sets alone.
func readTrust(cmd *cobra.Command, sets, files []string) (*trust.Anchors, *trust.Nodes, error) {
	read, err := readAnchors(cmd, sets)
	if err != nil {
		return nil, nil, err
	}
	anchors, err := trust.Merge(read...)
	if err != nil {
		return nil, nil, err
	}
	var list []trust.Node
	for _, file := range files {
		raw, err := readInput(cmd, file, trust.MaxNode)
		if err != nil {
			return nil, nil, err
		}
		n, err := trust.ParseNode(raw)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, n)
	}
	nodes, err := trust.NewNodes(list...)
	if err != nil {
		return nil, nil, err
	}
	keys := anchors.Keys()
	for _, n := range list {
		for _, k := range n.Verifiers().Keys() {
			i := slices.IndexFunc(keys, func(o trust.Key) bool { return o.KID == k.KID })
			switch {
			case i < 0:
				keys = append(keys, k)
			case !sameVerifier(keys[i], k):
				return nil, nil, fmt.Errorf("node %s: key %q is another one, or for other schemes, in --trust", n.Name, k.KID)
			}
		}
	}
	anchors, err = trust.NewAnchors(keys...)
	return anchors, nodes, err
}

// sameVerifier: both say that this is a verifier's key, for the same schemes.
func sameVerifier(a, b trust.Key) bool {
	key, ok := a.Public.(interface{ Equal(crypto.PublicKey) bool })
	x, y := slices.Sorted(slices.Values(a.Schemes)), slices.Sorted(slices.Values(b.Schemes))
	return ok && key.Equal(b.Public) && slices.Equal(a.Roles, b.Roles) && slices.Equal(x, y)
}

// readPaths reads rules, or a file that is named as one (see topology).
func readPaths(cmd *cobra.Command, text string) (*topologies.Paths, error) {
	name, isFile := strings.CutPrefix(text, "@")
	for _, p := range []string{"/", "./", "../"} {
		isFile = isFile || strings.HasPrefix(text, p)
	}
	if isFile || strings.HasSuffix(text, ".txt") || strings.HasSuffix(text, ".paths") {
		raw, err := readInput(cmd, name, topologies.MaxText)
		if err != nil {
			return nil, usage("--paths: %w", err)
		}
		text = string(raw)
	}
	paths, err := topologies.ParsePaths(text)
	if err != nil {
		return nil, usage("--paths: %w", err)
	}
	return paths, nil
}
