// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/verdict"
)

// loadPolicy finds a policy for whole machines: a file, if the text has a slash or
// ends in .rego, else a name of the library.
func loadPolicy(text string) (*policy.Policy, error) {
	if !strings.Contains(text, "/") && !strings.HasSuffix(text, ".rego") {
		return policy.Library(text)
	}
	raw, err := readFile(text, policy.MaxText)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return policy.Load(policy.ID(text), raw)
}

// loadRequirements reads demands in the form of --require.
func loadRequirements(list []string, source string) ([]verdict.Requirement, error) {
	var out []verdict.Requirement
	for _, text := range list {
		q, err := verdict.ParseRequirement(text, source)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	if len(out) > verdict.MaxRequirements {
		return nil, fmt.Errorf("%d requirements, at most %d", len(out), verdict.MaxRequirements)
	}
	return out, nil
}

// machinePolicy loads what a lead judges whole machines by.
func (s *stack) machinePolicy(o *orchestrator.Options) error {
	active, err := loadPolicy(s.config.Policy)
	if err != nil {
		return err
	}
	o.Policy = active
	if s.config.DryRun != "" {
		tried, err := loadPolicy(s.config.DryRun)
		if err != nil {
			return err
		}
		o.DryRun = tried
	}
	o.Requirements, err = loadRequirements(s.config.Requirements, verdict.SourceConfiguration)
	return err
}
