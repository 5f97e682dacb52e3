// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/veraison/corim/comid"
	vendored "github.com/veraison/corim/corim"
	"github.com/veraison/corim/extensions"
)

// templateTriples are the kinds of triples that veraison/corim does not model yet, as
// its extension point comid.ExtTriples wants them. The names of their JSON
// members are those that the library gives the others.
type templateTriples struct {
	Dependency  []templateDomain      `cbor:"4,keyasint,omitempty" json:"dependency-triples,omitempty"`
	Membership  []templateDomain      `cbor:"5,keyasint,omitempty" json:"membership-triples,omitempty"`
	Conditional []templateConditional `cbor:"10,keyasint,omitempty" json:"conditional-endorsements,omitempty"`
}

type templateDomain struct {
	_       struct{}            `cbor:",toarray"`
	Domain  comid.Environment   `json:"domain"`
	Members []comid.Environment `json:"members"`
}

type templateConditional struct {
	_            struct{}        `cbor:",toarray"`
	Conditions   []templateValue `json:"conditions"`
	Endorsements []templateValue `json:"endorsements"`
}

type templateValue struct {
	_            struct{}            `cbor:",toarray"`
	Environment  comid.Environment   `json:"environment"`
	Measurements []comid.Measurement `json:"measurements"`
}

// FromTemplates makes an unsigned CoRIM from JSON templates as cocli and
// veraison/corim read them: one of a CoRIM and at least one of a CoMID. Beyond
// what the library knows, the triples of a CoMID may have the members
// "membership-triples" and "dependency-triples" (arrays of objects with domain
// and members), and "conditional-endorsements" (objects with conditions and
// endorsements, each an array of objects with environment and measurements). The
// result is what Parse reads; to be accepted it wants a signature.
func FromTemplates(document []byte, comids ...[]byte) ([]byte, error) {
	document, err := plainProfile(document)
	if err != nil {
		return nil, fmt.Errorf("corim: template: %w", err)
	}
	head := vendored.NewUnsignedCorim()
	if err := head.FromJSON(document); err != nil {
		return nil, fmt.Errorf("corim: template: %w", err)
	}
	if len(comids) == 0 {
		return nil, errors.New("corim: template without a CoMID")
	}
	for i, raw := range comids {
		content, err := comidTemplate(raw)
		if err != nil {
			return nil, fmt.Errorf("corim: template of CoMID %d: %w", i, err)
		}
		head.Tags = append(head.Tags, vendored.Tag{Number: TagComid, Content: content})
	}
	out, err := head.ToCBOR()
	if err != nil {
		return nil, fmt.Errorf("corim: template: %w", err)
	}
	d, err := Parse(out)
	if err != nil {
		return nil, fmt.Errorf("corim: template makes no CoRIM: %w", err)
	}
	return Encode(d)
}

// plainProfile turns a profile {"type": …, "value": v}, as there are in deployed
// templates, into v.
func plainProfile(document []byte) ([]byte, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(document, &m); err != nil {
		return nil, err
	}
	var typed struct{ Type, Value string }
	if json.Unmarshal(m["profile"], &typed) != nil || typed.Value == "" {
		return document, nil
	}
	value, err := json.Marshal(typed.Value)
	if err != nil {
		return nil, err
	}
	m["profile"] = value
	return json.Marshal(m)
}

// placeholder is a reference value that lets the library write a tag that has
// only triples of kinds it does not model. It is taken out again.
const placeholder = "placeholder.invalid"

func comidTemplate(raw []byte) ([]byte, error) {
	tag := comid.NewComid()
	if err := tag.RegisterExtensions(extensions.NewMap().Add(comid.ExtTriples, &templateTriples{})); err != nil {
		return nil, err
	}
	if err := tag.FromJSON(raw); err != nil {
		return nil, err
	}
	held := tag.Valid()
	added := held != nil && onlyExtensions(tag)
	if added {
		m, err := comid.NewUintMeasurement(uint64(0))
		if err != nil {
			return nil, err
		}
		m.SetSVN(0)
		env := comid.Environment{Class: comid.NewClassBytes([]byte(placeholder))}
		tag.Triples.AddReferenceValue(&comid.ValueTriple{Environment: env, Measurements: *comid.NewMeasurements().Add(m)})
	}
	out, err := tag.ToCBOR()
	if err != nil || !added {
		return out, err
	}
	mode, err := decoding()
	if err != nil {
		return nil, err
	}
	c, err := (&cursor{buf: out, mode: mode}).open(0, len(out))
	if err != nil {
		return nil, err
	}
	m, err := c.comid()
	if err != nil {
		return nil, err
	}
	m.Reference = nil
	enc, err := encoding()
	if err != nil {
		return nil, err
	}
	return enc.Marshal(comidItem(m))
}

// onlyExtensions tells whether a tag has triples, and none that the library
// models.
func onlyExtensions(tag *comid.Comid) bool {
	t := &tag.Triples
	x, ok := t.GetExtensions().(*templateTriples)
	return ok && len(x.Dependency)+len(x.Membership)+len(x.Conditional) > 0 &&
		(t.ReferenceValues == nil || t.ReferenceValues.IsEmpty()) && (t.EndorsedValues == nil || t.EndorsedValues.IsEmpty()) &&
		t.AttestVerifKeys == nil && t.DevIdentityKeys == nil && (t.CondEndorseSeries == nil || t.CondEndorseSeries.IsEmpty())
}
