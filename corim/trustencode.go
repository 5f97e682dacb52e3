// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"
)

// EncodeTrust writes a file of authorities that are known by certificates, as
// ParseTrust reads it. An authority with keys, or with a scope that such a file
// cannot name, is an error.
func EncodeTrust(note string, list []Authority) ([]byte, error) {
	var authorities []any
	for _, a := range list {
		if len(a.Keys) > 0 {
			return nil, fmt.Errorf("corim: authority %q: keys are not written", a.Name)
		}
		m := map[string]any{"name": a.Name, "profiles": a.Profiles}
		var roots, scopes []any
		for _, c := range a.Roots {
			roots = append(roots, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
		}
		for _, e := range a.Scopes {
			s, err := scopeJSON(e)
			if err != nil {
				return nil, fmt.Errorf("corim: authority %q: %w", a.Name, err)
			}
			scopes = append(scopes, s)
		}
		m["roots"], m["scopes"] = roots, scopes
		if a.Simulated {
			m["simulated"] = true
		}
		for name, t := range map[string]time.Time{"not_before": a.Validity.NotBefore, "not_after": a.Validity.NotAfter} {
			if !t.IsZero() {
				m[name] = t.UTC().Format(time.RFC3339)
			}
		}
		authorities = append(authorities, m)
	}
	m := map[string]any{"kind": trustKind, "authorities": authorities}
	if note != "" {
		m["note"] = note
	}
	out, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	if _, err := ParseTrust(out); err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

func scopeJSON(e Environment) (map[string]any, error) {
	if e == (Environment{}) {
		return map[string]any{"any": true}, nil
	}
	m := map[string]any{}
	if e.Class.Vendor != "" {
		m["vendor"] = e.Class.Vendor
	}
	if e.Class.Model != "" {
		m["model"] = e.Class.Model
	}
	for name, n := range map[string]Number{"layer": e.Class.Layer, "index": e.Class.Index} {
		if n.Set {
			m[name] = n.Value
		}
	}
	for name, t := range map[string]Typed{"class_id": e.Class.ID, "instance": e.Instance, "group": e.Group} {
		if !t.Set() {
			continue
		}
		v, err := typedJSON(t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m[name] = v
	}
	return m, nil
}

func typedJSON(t Typed) (map[string]any, error) {
	if t.Form == Bytes {
		for _, kind := range []string{"text", "oid", "uuid", "ueid", "bytes"} {
			value := hex.EncodeToString([]byte(t.Data))
			switch kind {
			case "text":
				if value = t.Data; !printable(value) {
					continue
				}
			case "oid":
				value = dotted(t.Data)
			}
			if got, ok := typedText(kind, value); ok && got == t {
				return map[string]any{"type": kind, "value": value}, nil
			}
		}
	}
	return nil, fmt.Errorf("%s cannot be written", t)
}

func printable(s string) bool {
	for _, c := range s {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
