// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/verdict"
)

// MaxPolicy is the largest policy in bytes.
const MaxPolicy = 256 << 10

// document is a policy in YAML.
type document struct {
	Scheme     string                               `yaml:"scheme"`
	Findings   map[string]map[string]*verdict.Claim `yaml:"findings"`
	Parameters yaml.Node                            `yaml:"parameters"`
}

// Scheme returns the name of the scheme that a policy in YAML is for, so that
// its Defaults can be found. Nothing else is checked.
func Scheme(raw []byte) (string, error) {
	d, err := read(raw)
	return d.Scheme, err
}

func read(raw []byte) (d document, err error) {
	if len(raw) > MaxPolicy {
		return d, fmt.Errorf("appraisal: policy of %d bytes, at most %d", len(raw), MaxPolicy)
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&d); errors.Is(err, io.EOF) {
		return d, errors.New("appraisal: the policy is empty")
	} else if err != nil {
		return d, fmt.Errorf("appraisal: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return d, errors.New("appraisal: more than one YAML document")
	}
	if d.Scheme == "" {
		return d, errors.New("appraisal: the policy names no scheme")
	}
	return d, nil
}

// Parse reads a policy in YAML: the members scheme, findings (by name, each an
// object of claim names and AR4SI numbers, which replaces the default row and is
// {} for a finding that costs nothing) and parameters. What is left out keeps its
// default. Unknown members, findings, claims and parameters, values that are none
// of a policy's, and rows above the floor are errors.
func (d Defaults) Parse(raw []byte) (*Policy, error) {
	doc, err := read(raw)
	if err != nil {
		return nil, err
	}
	if doc.Scheme != d.Scheme {
		return nil, fmt.Errorf("appraisal: policy is for scheme %s, not for %s", doc.Scheme, d.Scheme)
	}
	p, err := d.Policy()
	if err != nil {
		return nil, err
	}
	p.digest = digestOf(raw)
	for name, row := range doc.Findings {
		f, ok := p.rows[name]
		if !ok {
			return nil, fmt.Errorf("appraisal: %s has no finding %q", d.Scheme, name)
		}
		if f.Effect, err = effect(row); err != nil {
			return nil, fmt.Errorf("appraisal: finding %s: %w", name, err)
		}
		if err := f.allows(f.Effect); err != nil {
			return nil, fmt.Errorf("appraisal: %s: %w", d.Scheme, err)
		}
		if f.Code == "" && f.Effect.worst().WorseThan(verdict.TierAffirming) && len(f.Effect) > 0 {
			f.Code = verdict.ReasonPolicy
		}
		p.rows[name] = f
	}
	p.parameters, err = d.parse(doc.Parameters)
	return p, err
}

// effect reads a row. A finding that is to cost nothing says so with an empty one:
// a name with nothing behind it is a line that somebody did not finish.
func effect(row map[string]*verdict.Claim) (Effect, error) {
	if row == nil {
		return nil, errors.New("there is nothing behind the name; {} is the row of a finding that costs nothing")
	}
	out := Effect{}
	for name, c := range row {
		claim, err := verdict.ParseClaimName(name)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, fmt.Errorf("%s has no value", name)
		}
		out[claim] = *c
	}
	return out, nil
}

// parse decodes parameters over a copy of the defaults.
func (d Defaults) parse(node yaml.Node) (any, error) {
	if node.IsZero() {
		return d.Parameters, nil
	}
	if d.Parameters == nil {
		return nil, fmt.Errorf("appraisal: %s has no parameters", d.Scheme)
	}
	// Encoded and decoded once more, because only a Decoder refuses unknown
	// fields, and the defaults must stay as they are.
	value := reflect.New(reflect.TypeOf(d.Parameters))
	base, err := yaml.Marshal(d.Parameters)
	if err != nil {
		return nil, fmt.Errorf("appraisal: %w", err)
	}
	own, err := yaml.Marshal(&node)
	if err != nil {
		return nil, fmt.Errorf("appraisal: %w", err)
	}
	for _, raw := range [][]byte{base, own} {
		dec := yaml.NewDecoder(bytes.NewReader(raw))
		dec.KnownFields(true)
		if err := dec.Decode(value.Interface()); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("appraisal: parameters of %s: %w", d.Scheme, err)
		}
	}
	out := value.Elem().Interface()
	if c, ok := out.(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("appraisal: parameters of %s: %w", d.Scheme, err)
		}
	}
	return out, nil
}

// YAML renders the defaults as a policy that Parse accepts, with the text of
// every finding as a comment: the file that an operator starts from.
func (d Defaults) YAML() ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	root.Content = append(root.Content, scalar("scheme"), scalar(d.Scheme), scalar("findings"))
	findings := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range d.Findings {
		row := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, c := range verdict.ClaimNames() {
			if v, ok := f.Effect[c]; ok {
				row.Content = append(row.Content, scalar(c.String()), &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(int8(v))})
			}
		}
		key := scalar(f.Name)
		key.HeadComment = comment(f)
		findings.Content = append(findings.Content, key, row)
	}
	root.Content = append(root.Content, findings)
	if d.Parameters != nil {
		var p yaml.Node
		if err := p.Encode(d.Parameters); err != nil {
			return nil, fmt.Errorf("appraisal: %w", err)
		}
		root.Content = append(root.Content, scalar("parameters"), &p)
	}
	return yaml.Marshal(root)
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

func comment(f Finding) string {
	s := f.Text
	if f.Code != "" {
		s += " Reason " + f.Code + "."
	}
	for _, c := range verdict.ClaimNames() {
		if v, ok := f.Floor[c]; ok {
			s += fmt.Sprintf(" %s is at best %d.", c, v)
		}
	}
	return s
}
