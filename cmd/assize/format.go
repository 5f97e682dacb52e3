// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assize/assize/verdict"
)

// printFormat writes a signed verdict: a line for one in text, the bytes alone for
// one in CBOR.
func printFormat(cmd *cobra.Command, f verdict.Format, res *verdict.Result, sign func(*verdict.Result, verdict.Format) ([]byte, error)) error {
	raw, err := sign(res, f)
	var unfit *verdict.FormatError
	switch {
	case errors.As(err, &unfit):
		return usage("-o %s does not fit this machine: %s", f, unfit.Detail)
	case err != nil:
		return err
	}
	if !f.Binary() {
		raw = fmt.Appendf(nil, "%s\n", raw)
	}
	_, err = cmd.OutOrStdout().Write(raw)
	return err
}
