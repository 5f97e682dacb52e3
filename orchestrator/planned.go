// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
)

// Plan is the plan by which Appraise appraises a request. Nothing is sent, no nonce
// is spent, and nothing is recorded. Errors are those of Appraise.
func (o *Orchestrator) Plan(ctx context.Context, r Request) (*topologies.Plan, error) {
	tree, err := evidence.Parse(r.Evidence, evidence.Options{MediaType: r.MediaType, Limits: o.o.Limits, Keys: o.o.LeadKeys})
	if err != nil {
		return nil, err
	}
	return o.plan(ctx, tree, r)
}
