// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

func (v *aggregate) components(r *Result) error {
	statements, err := v.policy.object("assize.components")
	if err != nil {
		return deny(ReasonBadAAR, "", "%v", err)
	}
	if len(v.head.submods) != len(statements)+1 {
		return deny(ReasonBadAAR, "", "%d submods for %d components", len(v.head.submods), len(statements))
	}
	for _, results := range []object{v.partials, v.witnesses} {
		for label := range results {
			if _, ok := statements[label]; !ok {
				return deny(ReasonBadAAR, evidence.Path(label), "partial result for a component that is not stated")
			}
		}
	}
	for _, label := range slices.Sorted(maps.Keys(statements)) {
		c, err := v.component(label, statements)
		if err != nil {
			return err
		}
		r.Components = append(r.Components, c)
	}
	return nil
}

// component checks one component: statement, partial result and flat submod.
func (v *aggregate) component(label string, statements object) (Component, error) {
	c := Component{Label: evidence.Path(label)}
	m, err := statements.object(label)
	if err == nil {
		err = c.readStatement(m)
	}
	if err != nil {
		return c, deny(ReasonBadAAR, c.Label, "%v", err)
	}
	flat, err := v.head.flat(label)
	if err != nil {
		return c, deny(ReasonBadAAR, c.Label, "submod %v", err)
	}
	if _, ok := v.partials[label]; ok {
		token, err := v.partials.text(label)
		if err != nil {
			return c, deny(ReasonBadAAR, c.Label, "partial result: %v", err)
		}
		if c.Partial, err = v.partial(c, token); err != nil {
			return c, err
		}
	}
	if c.Others, err = v.others(c); err != nil {
		return c, err
	}
	if err := c.checkQuorum(); err != nil {
		return c, deny(ReasonLyingAAR, c.Label, "%v", err)
	}
	return c, c.compareFlat(flat)
}

// partial checks one result against what the lead says it asked for.
func (v *aggregate) partial(c Component, token string) (Partial, error) {
	p, err := VerifyPartial([]byte(token), Expect{
		Label: c.Label, Scheme: c.Scheme, Request: c.Request, Nonce: c.Nonce, NonceRule: c.NonceRule,
		Evidence: c.Evidence, MediaType: c.MediaType, VerificationTime: v.verified,
	}, v.in, v.anchors)
	if err != nil {
		var why *IntakeError
		errors.As(err, &why)
		return Partial{}, deny(why.Code, c.Label, "%s", why.Detail)
	}
	return p, nil
}

// others checks the results of further redundant verifiers as the first one.
// That there are not more than were asked is checked before any signature.
func (v *aggregate) others(c Component) ([]Partial, error) {
	tokens, err := v.witnesses.texts(string(c.Label))
	if _, ok := v.witnesses[string(c.Label)]; !ok {
		return nil, nil
	}
	switch {
	case err != nil:
		return nil, deny(ReasonBadAAR, c.Label, "further results: %v", err)
	case len(tokens) == 0 || len(tokens) >= c.Asked:
		return nil, deny(ReasonBadAAR, c.Label, "%d further results, but %d verifiers were asked", len(tokens), c.Asked)
	}
	out := make([]Partial, len(tokens))
	for i, token := range tokens {
		if out[i], err = v.partial(c, token); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// compareFlat demands that the flat submod is exactly what follows from the
// partial result and the lead's statement.
func (c Component) compareFlat(flat object) error {
	if flat == nil && !c.Partial.IsZero() {
		return nil // the result itself stands there, and was verified
	}
	want, ok := c.submod().(object)
	if !ok { // made here, so numbers have Go types until they were text once
		raw, err := json.Marshal(c.submod())
		if err != nil {
			return deny(ReasonBadAAR, c.Label, "%v", err)
		}
		if want, err = trust.ParseObject(raw, resultDepth); err != nil {
			return deny(ReasonBadAAR, c.Label, "%v", err)
		}
	}
	if !reflect.DeepEqual(want, flat) {
		return deny(ReasonLyingAAR, c.Label, "the submod is not what its partial result and the lead's reasons give (tier %s)", c.Tier())
	}
	return nil
}

func (c *Component) readStatement(m object) error {
	var ok bool
	if c.Required, ok = m["required"].(bool); !ok {
		return errors.New("required is missing or not a truth value")
	}
	var nonce string
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"scheme", &c.Scheme}, {"media_type", &c.MediaType}, {"class", &c.Class},
		{"request", &c.Request}, {"nonce", &nonce}, {"nonce_rule", &c.NonceRule}, {"site", &c.Site},
	} {
		var err error
		if *f.to, err = m.optionalText(f.name); err != nil {
			return err
		}
	}
	var err error
	if c.Nonce, err = decodeNonce(nonce); err != nil {
		return err
	}
	if c.Evidence, err = m.digest("evidence_sha256"); err != nil {
		return err
	}
	if c.Reasons, err = m.reasons("reasons"); err != nil {
		return err
	}
	if c.Path, err = m.hops("path"); err != nil {
		return err
	}
	if c.Sites, err = m.texts("sites"); err != nil {
		return err
	}
	if c.Quorum, err = m.optionalCount("quorum"); err != nil {
		return err
	}
	if c.Asked, err = m.optionalCount("asked"); err != nil {
		return err
	}
	if c.Lowered, err = m.lowered("lowered"); err != nil {
		return err
	}
	us, err := m.integer("duration_us")
	if err != nil {
		return err
	}
	if us < 0 || us > math.MaxInt64/int64(time.Microsecond) {
		return errors.New("duration_us is out of range")
	}
	c.Duration = time.Duration(us) * time.Microsecond
	return nil
}

// optionalCount reads a number of verifiers; zero when absent.
func (o object) optionalCount(name string) (int, error) {
	if _, ok := o[name]; !ok {
		return 0, nil
	}
	n, err := o.integer(name)
	if err == nil && (n < 0 || n > MaxAsked) {
		err = fmt.Errorf("%s is out of range", name)
	}
	return int(n), err
}
