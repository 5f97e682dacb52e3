// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/corim"
)

// documents are those about membership and dependency that the relying party gives,
// as of the time of a verdict; nil for none.
func (f *corimFlags) documents(cmd *cobra.Command) (func(at time.Time) (*corim.Index, error), error) {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	if len(f.paths) == 0 {
		_, err := f.load(log, time.Now()) // a flag without --corim
		return nil, err
	}
	return func(at time.Time) (*corim.Index, error) {
		given, err := f.load(log, at)
		if err != nil {
			return nil, err
		}
		return given.Snapshot(time.Now())
	}, nil
}
