// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

// version is the SemVer of this tree.
const version = "0.1.0"

// build names this binary in signed results: version and, where known, the
// revision of the source.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "assize " + version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "assize " + version + "+" + s.Value[:12]
		}
	}
	return "assize " + version
}

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print version, build, schemes and EAR profiles",
		Example: "  assize version -o json",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := all.Set()
			if err != nil {
				return err
			}
			var names []string
			for _, sc := range set.Schemes() {
				names = append(names, sc.Name)
			}
			profiles := []string{verdict.ProfileP23, verdict.ProfileP04, verdict.ProfileTDXGPU}
			switch output {
			case "text":
				fmt.Fprintf(cmd.OutOrStdout(), "%s (%s)\nschemes   %s\nprofiles  %s\n",
					build(), runtime.Version(), strings.Join(names, " "), strings.Join(profiles, " "))
				return nil
			case "json":
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(map[string]any{
					"version": version, "build": build(), "go": runtime.Version(), "schemes": names, "ear_profiles": profiles,
				})
			}
			return usage("-o %q: want text or json", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
