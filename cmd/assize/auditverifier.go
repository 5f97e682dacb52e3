// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// audited puts the records of a component verifier around it. A lead keeps its
// own: what it asks of its own verifiers is in them.
func (s *stack) audited(ctx context.Context, r role, node appraisers) (fabric.Appraiser, error) {
	if r.lead {
		return node, nil
	}
	signer, err := s.keys.load(leadKey)
	if err != nil {
		return nil, err
	}
	records, err := s.openAudit(ctx, r, signer)
	if err != nil || records == nil {
		return node, err
	}
	return auditedVerifier{node: node, kid: node.KID, site: s.config.Fabric.Site, records: records, required: s.config.Audit.Required}, nil
}

// auditedVerifier records every request that reaches a verifier.
type auditedVerifier struct {
	node     fabric.Appraiser
	kid      func(scheme string) string
	site     string
	records  orchestrator.Auditor
	required bool
}

// Appraise implements fabric.Appraiser. Where records are required there is no
// result without one.
func (a auditedVerifier) Appraise(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error) {
	start := time.Now()
	token, tier, err := a.node.Appraise(ctx, r)
	e := a.event(r, token, tier, err)
	e.Duration = time.Since(start).Microseconds()
	e.Components[0].Duration = e.Duration
	if kept := a.records.Record(context.WithoutCancel(ctx), e); kept != nil && a.required {
		return nil, verdict.TierNone, errors.Join(&verifiers.Refusal{Code: int(fabric.CodeInternal), Text: fabric.CodeInternal.Text()}, kept, err)
	}
	return token, tier, err
}

func (a auditedVerifier) event(r verifiers.Request, token []byte, tier verdict.Tier, err error) audit.Event {
	c := audit.Component{
		Label: string(r.Label), Scheme: r.Scheme, At: []string{a.site}, Request: r.ID, Evidence: audit.Sum(r.Evidence), Tier: tier.String(),
	}
	e := audit.Event{Kind: audit.KindAppraised, Session: r.Session, Composite: audit.DigestOf(r.Composite)}
	if r.SenderKID != "" {
		e.Received = &audit.Relay{Node: r.Sender, KID: r.SenderKID}
	}
	switch {
	case err != nil:
		e.Kind, e.Error, c.Tier = audit.KindAppraisalRefused, appraisalRefusal(err), verdict.TierNone.String()
	default:
		c.Partials = []audit.Partial{{KID: a.kid(r.Scheme), Digest: audit.Sum(token)}}
	}
	e.Components = []audit.Component{c}
	return e
}

// appraisalRefusal is why there is no result, in one word.
func appraisalRefusal(err error) string {
	var refusal *verifiers.Refusal
	if !errors.As(err, &refusal) {
		return "malfunction"
	}
	switch fabric.Code(refusal.Code) {
	case fabric.CodeMalformed:
		return "malformed"
	case fabric.CodeTooLarge:
		return "too-large"
	case fabric.CodeMediaType:
		return "no-verifier"
	case fabric.CodeForbidden:
		return "refused"
	case fabric.CodeBudget:
		return "timeout"
	}
	return "malfunction"
}
