// SPDX-License-Identifier: Apache-2.0

// Package explain says why a verdict is what it is: for each component, for the
// whole, for each edge between components and for each requirement the cause, what
// was expected, what was seen, where the expectation comes from and what an
// operator can do; and of a verdict that is affirming, what it does not prove.
//
// Of works from the document of a verdict (verdict.Document), so that signed
// results and what -o json printed are explained alike. Decode reads such a
// document strictly. What codes mean and what mends them is in one list,
// schemas/reasons.yaml.
//
// An explanation decides nothing, and repeats what the document says without
// looking at signatures: whether it may be believed is for the caller to find out,
// and to say in Explanation.Input.
package explain
