// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// recheckReferences repeats what documents about membership and dependency demand
// of a verdict, where the relying party gives the documents.
func recheckReferences(cmd *cobra.Command, f *verifyFlags, res *verdict.Result) error {
	at := res.VerificationTime
	if at.IsZero() {
		at = res.Time
	}
	given, err := f.corim.load(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)), at)
	if err != nil || given == nil {
		return err
	}
	x, err := given.Snapshot(time.Now())
	if err != nil {
		return err
	}
	return orchestrator.RecheckReferences(res, x)
}
