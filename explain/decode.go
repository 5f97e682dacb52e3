// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/internal/strictjson"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
)

// maxDepth bounds the nesting of a document.
const maxDepth = 32

// ErrNoDocument says that a text is no verdict as JSON.
var ErrNoDocument = errors.New("not a verdict as JSON (-o json)")

// Decode reads the document of a verdict, as -o json prints it and the API returns
// it. It has to be valid by schemas/verdict.schema.json, with no member twice at any
// depth, nothing behind it, at most 32 levels and limits.AggregateResult bytes.
func Decode(raw []byte) (verdict.Document, error) {
	if len(raw) > limits.AggregateResult {
		return verdict.Document{}, fmt.Errorf("explain: %d bytes, at most %d", len(raw), limits.AggregateResult)
	}
	if err := single(raw, maxDepth); err != nil {
		return verdict.Document{}, fmt.Errorf("explain: %w: %w", ErrNoDocument, err)
	}
	schema, err := schemas.Load(schemas.Verdict)
	if err != nil {
		return verdict.Document{}, fmt.Errorf("explain: %w", err)
	}
	if err := schema.ValidateJSON(raw); err != nil {
		return verdict.Document{}, fmt.Errorf("explain: %w: %w", ErrNoDocument, err)
	}
	var d verdict.Document
	if err := json.Unmarshal(raw, &d); err != nil {
		return verdict.Document{}, fmt.Errorf("explain: %w: %w", ErrNoDocument, err)
	}
	return d, nil
}

// single holds for a value in which no object has a member twice.
func single(raw []byte, depth int) error {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' {
		return nil
	}
	if depth == 0 {
		return fmt.Errorf("more than %d levels", maxDepth)
	}
	if raw[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		for _, v := range list {
			if err := single(v, depth-1); err != nil {
				return err
			}
		}
		return nil
	}
	members, err := strictjson.Members(raw)
	if err != nil {
		return err
	}
	for _, v := range members {
		if err := single(v, depth-1); err != nil {
			return err
		}
	}
	return nil
}
