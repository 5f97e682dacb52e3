// SPDX-License-Identifier: Apache-2.0

package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// ReasonList is the name of the list of reason codes, ReasonSchema that of its
// schema. Explanation describes what assize explain -o json prints.
const (
	ReasonList   = "reasons.yaml"
	ReasonSchema = "reasons.schema.json"
	Explanation  = "explain.schema.json"
)

// Who can say a reason.
const (
	SaidByVerifier     = "verifier"
	SaidByLead         = "lead"
	SaidByRelyingParty = "relying-party"
)

// Reason is one entry of the list of reason codes (reasons.yaml), for people and
// for programs that explain verdicts. Tiers are their names in verdicts.
type Reason struct {
	Code string `yaml:"code"`
	// Ceiling is the best tier that is left where the lead attaches the reason.
	Ceiling string `yaml:"ceiling"`
	// Usual is the tier that it gives in most schemes by the default policies where a
	// verifier finds it; empty for one that no verifier says.
	Usual  string   `yaml:"usual"`
	SaidBy []string `yaml:"said_by"`
	// Since is the version that had the code first.
	Since string `yaml:"since"`
	// Meaning and Remedy are sentences: what the code says, and what an operator can
	// do. RemedyFor has, by the name of a scheme, what is to be done there instead.
	Meaning   string            `yaml:"meaning"`
	Remedy    string            `yaml:"remedy"`
	RemedyFor map[string]string `yaml:"remedy_for"`
}

// RemedyIn is the remedy for a component of a scheme.
func (r Reason) RemedyIn(scheme string) string {
	if text, ok := r.RemedyFor[scheme]; ok {
		return text
	}
	return r.Remedy
}

// Reasons reads the embedded list of reason codes, in its order. An error is a
// fault of the build: a test reads the list.
func Reasons() ([]Reason, error) {
	raw, err := Read(ReasonList)
	if err != nil {
		return nil, err
	}
	list, err := parseReasons(raw)
	if err != nil {
		return nil, fmt.Errorf("schemas: %s: %w", ReasonList, err)
	}
	return list, nil
}

// parseReasons reads a list: no unknown or repeated members, no code twice, and
// nothing behind it.
func parseReasons(raw []byte) ([]Reason, error) {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	var list struct {
		Reasons []Reason `yaml:"reasons"`
	}
	if err := dec.Decode(&list); err != nil {
		return nil, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("something behind the list")
	}
	seen := map[string]bool{}
	for _, r := range list.Reasons {
		if r.Code == "" || seen[r.Code] {
			return nil, fmt.Errorf("code %q is empty, or there twice", r.Code)
		}
		seen[r.Code] = true
	}
	return list.Reasons, nil
}
