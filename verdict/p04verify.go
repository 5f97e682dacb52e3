// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/assize/assize/trust"
)

// nestedToken stands in the place of a flat submod whose content is the nested
// result itself.
type nestedToken struct{}

// statedP04 is what a result by profile ProfileP04 says twice.
type statedP04 struct {
	status, topology, policies any
}

// parseAggregate reads the claims of a signed aggregate of any format that
// VerifyResult reads. What profile ProfileP04 says is put in the places where
// profile ProfileP23 says it, so that all the checks are the same; the second
// value is for what only the former has, nil for the latter.
func parseAggregate(token, claims []byte) (resultHead, *statedP04, error) {
	o, err := claimsOfToken(token, claims)
	if err != nil {
		return resultHead{}, nil, err
	}
	switch profile, err := o.text(claimProfile); {
	case err != nil:
		return resultHead{}, nil, err
	case profile == ProfileP23 && !trust.IsCWT(token):
		h, err := readHead(claims, o)
		return h, nil, err
	case profile != ProfileP04:
		return resultHead{}, nil, fmt.Errorf("%s is %.64q, which is none of a verdict", claimProfile, profile)
	}
	flat, stated, err := fromP04(o)
	if err != nil {
		return resultHead{}, nil, err
	}
	h, err := readHead(nil, flat)
	return h, stated, err
}

// claimsOfToken decodes the claims of a token, in the encoding that it has.
func claimsOfToken(token, claims []byte) (object, error) {
	if trust.IsCWT(token) {
		return objectOfCBOR(claims)
	}
	return trust.ParseObject(claims, resultDepth)
}

// fromP04 gives a result by profile ProfileP04 the form of one by ProfileP23.
func fromP04(in object) (object, *statedP04, error) {
	if err := in.oneSpelling(); err != nil {
		return nil, nil, err
	}
	out := object{claimProfile: ProfileP23}
	for name, other := range map[string]string{
		"iat": "iat", "exp": "exp", "nbf": "nbf", claimNonce: claimNonce, p04VerifierID: claimVerifierID,
	} {
		if v, ok := in[name]; ok {
			out[other] = v
		}
	}
	submods, err := in.object(claimSubmods)
	if err != nil {
		return nil, nil, err
	}
	stated := &statedP04{status: in[p04Status], topology: in[p04Topology]}
	flat, partials := map[string]any{}, map[string]any{}
	for label, v := range submods {
		switch v := v.(type) {
		case []any:
			if len(v) != 2 || v[0] != selectorJWT {
				return nil, nil, fmt.Errorf("submod %.64q is a nested token, but no JWT", label)
			}
			flat[label], partials[label] = nestedToken{}, v[1]
		case map[string]any:
			one, err := fromAppraisalP04(v)
			if err != nil {
				return nil, nil, fmt.Errorf("submod %.64q: %w", label, err)
			}
			flat[label] = map[string]any(one)
			if label == compositeLabel {
				stated.policies = v[p04PolicyIDs]
			}
		default:
			return nil, nil, fmt.Errorf("submod %.64q is neither an appraisal nor a nested token", label)
		}
	}
	out[claimSubmods], out[claimPartials] = flat, partials
	tokens, err := in.optionalObject(p04Tokens)
	if err != nil {
		return nil, nil, err
	}
	for name, other := range map[string]string{p04Witnesses: claimWitnesses, p04Receipts: claimReceipts} {
		if v, ok := tokens[name]; ok {
			out[other] = v
		}
	}
	return out, stated, nil
}

// fromAppraisalP04 gives an appraisal the names of profile ProfileP23. Statements
// whose names are unknown are ignored.
func fromAppraisalP04(in object) (object, error) {
	if err := in.oneSpelling(); err != nil {
		return nil, err
	}
	out := object{}
	for name, other := range map[string]string{p04Status: claimStatus, p04Vector: claimVector} {
		if v, ok := in[name]; ok {
			out[other] = v
		}
	}
	statement, err := in.object(p04Verifier)
	if err != nil {
		return nil, err
	}
	if err := statement.oneSpelling(); err != nil {
		return nil, err
	}
	policy := make(map[string]any, len(statement))
	for name, v := range statement {
		if other, ok := dotted[name]; ok {
			policy[other] = v
		}
	}
	out[claimPolicy] = policy
	return out, nil
}

// oneSpelling refuses names of another profile: what two readers would take from
// different places must not be in one token.
func (o object) oneSpelling() error {
	for name := range o {
		if strings.HasPrefix(name, "ear.") || strings.HasPrefix(name, "assize.") {
			return fmt.Errorf("%.64q is the spelling of another profile", name)
		}
	}
	return nil
}

// flat is the flat submod of a component, nil where the result itself is nested.
func (h resultHead) flat(label string) (object, error) {
	if _, nested := h.submods[label].(nestedToken); nested {
		return nil, nil
	}
	return h.submods.object(label)
}

// check holds what a result by profile ProfileP04 says twice against what was
// verified.
func (s *statedP04) check(r *Result) error {
	if s == nil {
		return nil
	}
	if s.status != r.Outcome.Tier.String() {
		return fmt.Errorf("%s is %.32q, but that of %q is %s", p04Status, fmt.Sprint(s.status), compositeLabel, r.Outcome.Tier)
	}
	var want, topology any
	if t := r.deviceTopology(); len(t) > 0 {
		topology = t
	}
	if !reflect.DeepEqual(s.topology, topology) {
		return errors.New(p04Topology + " is not what the bindings give")
	}
	if r.Policy != nil {
		want = []any{r.Policy.ID}
	}
	if !reflect.DeepEqual(s.policies, want) {
		return errors.New(p04PolicyIDs + " is not the policy of the statement")
	}
	return nil
}
