// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/assize/assize/cmd/assize/internal/render"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verifiers/all"
)

func newInspect() *cobra.Command {
	var mediaType string
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Print the CMW tree of composite evidence",
		Long: `Inspect parses composite evidence strictly and prints its tree: label path, kind,
media type, ind, size, sha-256, scheme and signer. Nothing is appraised, and a
signature of the collection is shown as not verified.`,
		Example: "  assize inspect machine.cmw\n  curl -s https://node/evidence | assize inspect -",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := readInput(cmd, args[0], int64(limits.Default().Composite))
			if err != nil {
				return err
			}
			tree, err := evidence.Parse(raw, evidence.Options{MediaType: mediaType, UnverifiedSignaturesUnsafe: true})
			if err != nil {
				return err
			}
			schemes, err := all.Set()
			if err != nil {
				return err
			}
			render.Tree(cmd.OutOrStdout(), tree, schemes)
			return nil
		},
	}
	cmd.Flags().StringVar(&mediaType, "media-type", "", "media type of the whole message (default: by content)")
	return cmd
}
