// SPDX-License-Identifier: Apache-2.0

// Package schemas holds the machine-readable descriptions of what crosses the
// borders of the program, embedded into it: JSON Schemas (draft 2020-12) of
// the verdict and of the configuration, the list of reason codes, OpenAPI, and
// grammars (CDDL, RFC 8610) of evidence in CBOR: of TPMs, of devices under SPDM, and
// Device Assignment Tokens. Begin with Load to validate a document, or Read for the
// text of a file.
//
// A schema checks the form, and a few rules between members that a wrong
// program would break first (an affirming verdict with a component that is not
// affirming, for example). It does not replace the checks of the program.
package schemas

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed *.json *.yaml *.cddl
var files embed.FS

// Names of the schemas.
const (
	// Verdict describes the verdict as JSON.
	Verdict = "verdict.schema.json"
	// Config describes the configuration file, once its YAML is decoded.
	Config = "config.schema.json"
	// TPMEvidence describes the evidence of TPMs as JSON; tpm-evidence.cddl is the
	// grammar of the CBOR form.
	TPMEvidence = "tpm-evidence.schema.json"
)

// Read returns the text of an embedded file, by its name in this folder.
func Read(name string) ([]byte, error) {
	raw, err := files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	return raw, nil
}

// Schema is a compiled JSON Schema, safe for concurrent use.
type Schema struct {
	name     string
	compiled *jsonschema.Schema
}

// Load compiles one of the embedded schemas. Formats are asserted, and no
// reference leaves the embedded files.
func Load(name string) (*Schema, error) {
	if !strings.HasSuffix(name, ".schema.json") {
		return nil, fmt.Errorf("schemas: %s is not a schema", name)
	}
	raw, err := Read(name)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("schemas: %s: %w", name, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(offline{})
	if err := c.AddResource(name, doc); err != nil {
		return nil, fmt.Errorf("schemas: %s: %w", name, err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("schemas: %s: %w", name, err)
	}
	return &Schema{name: name, compiled: compiled}, nil
}

// Validate checks a decoded document: map[string]any, []any, string, bool,
// nil, and numbers of any Go type or json.Number. The error says what is wrong
// where, one line per place.
func (s *Schema) Validate(doc any) error {
	err := s.compiled.Validate(doc)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("schemas: %s: %w", s.name, err)
	}
	return fmt.Errorf("schemas: not valid by %s: %w", s.name, invalid)
}

// ValidateJSON checks one JSON text. Anything after the first value is an
// error. Of duplicate members the last counts: refuse them before, where the
// text is not our own.
func (s *Schema) ValidateJSON(text []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("schemas: %w", err)
	}
	return s.Validate(doc)
}

// offline refuses to load a schema that is not embedded.
type offline struct{}

// Load implements jsonschema.URLLoader.
func (offline) Load(url string) (any, error) {
	return nil, fmt.Errorf("schemas: %s is not an embedded schema", url)
}
