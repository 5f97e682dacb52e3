// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// Claims of profile ProfileP04.
const (
	p04VerifierID = "ear_verifier_id"
	p04Status     = "ear_status"
	p04Vector     = "ear_trustworthiness_vector"
	p04PolicyIDs  = "ear_appraisal_policy_ids"
	p04Attester   = "ear_attester_claims"
	p04Verifier   = "ear_verifier_claims"
	p04Topology   = "ear_device_topology"
	p04Raw        = "ear_raw_evidence"
	// p04Tokens is our extension, a map as the profile wants extensions to be: what
	// was signed and is no submod. Its members are witnesses (tokens by label) and
	// receipts.
	p04Tokens    = "ear_assize_tokens"
	p04Witnesses = "witnesses"
	p04Receipts  = "receipts"

	// selectorJWT begins a nested JWT (RFC 9711, section 4.2.18.1.2).
	selectorJWT = "JWT"
)

// The statements of both profiles are the same, made by the same code; only the
// names differ, "assize.plan-sha256" and "assize_plan_sha256". These tables are
// made from the declarations of the statements, so that no name is in two places.
var (
	underscored = func() map[string]string {
		out := map[string]string{}
		for _, statement := range []any{compositeClaims{}, absentClaims{}} {
			t := reflect.TypeOf(statement)
			for i := range t.NumField() {
				name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
				out[name] = strings.NewReplacer(".", "_", "-", "_").Replace(name)
			}
		}
		return out
	}()
	dotted = func() map[string]string {
		out := make(map[string]string, len(underscored))
		for name, other := range underscored {
			out[other] = name
		}
		return out
	}()
)

// claimsP04 are the claims of a result in JSON.
func (r *Result) claimsP04(lifetime time.Duration) ([]byte, error) {
	o, err := r.objectP04(lifetime)
	if err != nil {
		return nil, err
	}
	return json.Marshal(o)
}

// objectP04 is a result by profile ProfileP04, as JSON has it. It says what the
// claims of profile ProfileP23 say: for each component the result as its verifier
// signed it, nested, or that there is none; "composite" with the outcome and
// everything that is needed to check it; the graph of strong bindings; and the
// tokens that are no submods.
func (r *Result) objectP04(lifetime time.Duration) (object, error) {
	head, composite, err := r.headAndComposite(lifetime)
	if err != nil {
		return nil, err
	}
	in, err := trust.ParseObject(head, resultDepth)
	if err != nil {
		return nil, err
	}
	out := object{claimProfile: ProfileP04, p04Status: r.Outcome.Tier.String(), p04VerifierID: in[claimVerifierID]}
	for _, name := range []string{"iat", "exp", claimNonce} {
		if v, ok := in[name]; ok {
			out[name] = v
		}
	}
	whole, err := appraisalP04(composite)
	if err != nil {
		return nil, err
	}
	if r.Policy != nil {
		whole[p04PolicyIDs] = []any{r.Policy.ID}
	}
	submods := map[string]any{compositeLabel: map[string]any(whole)}
	for _, c := range r.Components {
		if submods[string(c.Label)], err = c.submodP04(); err != nil {
			return nil, err
		}
	}
	out[claimSubmods] = submods
	if t := r.deviceTopology(); len(t) > 0 {
		out[p04Topology] = t
	}
	if t := r.tokensP04(); len(t) > 0 {
		out[p04Tokens] = t
	}
	return out, nil
}

// submodP04 is the nested result of a component, or an appraisal that says that
// there is none.
func (c Component) submodP04() (any, error) {
	if !c.Partial.IsZero() {
		return []any{selectorJWT, string(c.Partial.token)}, nil
	}
	raw, err := json.Marshal(c.submod())
	if err != nil {
		return nil, err
	}
	o, err := appraisalP04(raw)
	return map[string]any(o), err
}

// appraisalP04 renames the claims of an appraisal by profile ProfileP23.
func appraisalP04(raw []byte) (object, error) {
	in, err := trust.ParseObject(raw, resultDepth)
	if err != nil {
		return nil, err
	}
	out := object{p04Status: in[claimStatus], p04Vector: in[claimVector]}
	policy, err := object(in).object(claimPolicy)
	if err != nil {
		return nil, err
	}
	statement := make(map[string]any, len(policy))
	for name, v := range policy {
		statement[underscored[name]] = v
	}
	out[p04Verifier] = statement
	return out, nil
}

// tokensP04 are the results of further redundant verifiers and the receipts.
func (r *Result) tokensP04() map[string]any {
	out := map[string]any{}
	witnesses := map[string]any{}
	for _, c := range r.Components {
		var list []any
		for _, p := range c.Others {
			list = append(list, string(p.token))
		}
		if list != nil {
			witnesses[string(c.Label)] = list
		}
	}
	if len(witnesses) > 0 {
		out[p04Witnesses] = witnesses
	}
	var receipts []any
	for _, one := range r.Receipts {
		receipts = append(receipts, string(one.token))
	}
	if receipts != nil {
		out[p04Receipts] = receipts
	}
	return out
}

// deviceTopology is the graph of what provably belongs together: for each
// component those to which an edge that is strong and bound leads from it, sorted.
func (r *Result) deviceTopology() map[string]any {
	to := map[evidence.Path][]evidence.Path{}
	known := func(label evidence.Path) bool {
		return slices.ContainsFunc(r.Components, func(c Component) bool { return c.Label == label })
	}
	for _, b := range r.Bindings {
		if b.strong() && known(b.From) && known(b.To) && !slices.Contains(to[b.From], b.To) {
			to[b.From] = append(to[b.From], b.To)
		}
	}
	out := make(map[string]any, len(to))
	for from, list := range to {
		slices.Sort(list)
		labels := make([]any, len(list))
		for i, label := range list {
			labels[i] = string(label)
		}
		out[string(from)] = labels
	}
	return out
}

// strong reports whether the edge is a commitment that another machine cannot
// make, and holds.
func (b Binding) strong() bool { return b.Strength == "strong" && b.Status == "bound" }
