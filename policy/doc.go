// SPDX-License-Identifier: Apache-2.0

// Package policy evaluates policies for whole machines, written in Rego v1
// (docs/policies.md). A policy is one module of package assize with two hooks:
// component judges each part, composite the whole. Both only lower: a finding
// makes a claim or a tier worse, or is a remark. What has to be there (require),
// the one rule that can be relaxed (accept), and the tier that is good enough
// (acceptable) are fixed when a policy is loaded.
//
// Load compiles a text and checks everything about it that can be known before
// there is a machine; Library gives the policies that come with the program. A
// Policy is immutable and safe for concurrent use.
//
// Evaluation is a function of the policy and the result. A policy can call a list
// of pure functions and nothing else: no network, no clock but the time of the
// session, no randomness, no environment. It has a budget of time, after which it
// is stopped, and what it puts together is counted and bounded (decision D-118).
// Whatever goes wrong is an error, and it is for the caller to have no verdict
// then.
package policy
