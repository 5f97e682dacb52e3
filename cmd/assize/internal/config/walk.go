// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// known reports the first key of a YAML mapping that target's type does not
// have, or that stands there twice, as "line:column: …".
func known(n *yaml.Node, target any) error {
	return knownIn(n, reflect.TypeOf(target).Elem(), "")
}

func knownIn(n *yaml.Node, t reflect.Type, path string) error {
	if t.Kind() == reflect.Map && n.Kind == yaml.MappingNode {
		return knownInMap(n, t, path)
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("%d:%d: %s must be a mapping", n.Line, n.Column, or(path, "the document"))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := join(path, key.Value)
		field, ok := fieldOf(t, key.Value)
		switch {
		case !ok:
			return fmt.Errorf("%d:%d: unknown key %q", key.Line, key.Column, name)
		case seen[key.Value]:
			return fmt.Errorf("%d:%d: key %q stands here twice", key.Line, key.Column, name)
		}
		seen[key.Value] = true
		if err := knownIn(value, field.Type, name); err != nil {
			return err
		}
	}
	return nil
}

// knownInMap is knownIn for a mapping whose keys are names.
func knownInMap(n *yaml.Node, t reflect.Type, path string) error {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := join(path, key.Value)
		if seen[key.Value] {
			return fmt.Errorf("%d:%d: key %q stands here twice", key.Line, key.Column, name)
		}
		seen[key.Value] = true
		if err := knownIn(value, t.Elem(), name); err != nil {
			return err
		}
	}
	return nil
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("yaml") == key {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// notKeys are variables with our prefix that are not configuration keys.
var notKeys = map[string]bool{"ASSIZE_CONFIG": true, "ASSIZE_VECTORS": true, "ASSIZE_VECTORS_REQUIRED": true}

// override sets keys from variables ASSIZE_<PATH>. Lists are separated by
// commas, or in YAML's brackets where an item has one itself; mappings are in YAML's
// braces. A variable with the prefix that names no key is an error, as an
// unknown key in the file would be.
func override(c *Config, environ []string) error {
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(c).Elem(), "ASSIZE", fields)
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "ASSIZE_") || notKeys[name] {
			continue
		}
		f, ok := fields[name]
		if !ok {
			return fmt.Errorf("config: environment variable %s names no key", name)
		}
		if err := set(f, value); err != nil {
			return fmt.Errorf("config: %s: %w", name, err)
		}
	}
	return nil
}

func collect(v reflect.Value, prefix string, out map[string]reflect.Value) {
	for i := range v.NumField() {
		name := prefix + "_" + strings.ToUpper(v.Type().Field(i).Tag.Get("yaml"))
		if v.Field(i).Kind() == reflect.Struct {
			collect(v.Field(i), name, out)
			continue
		}
		out[name] = v.Field(i)
	}
}

func set(f reflect.Value, value string) error {
	switch f.Interface().(type) {
	case string:
		f.SetString(value)
	case []string:
		if strings.HasPrefix(strings.TrimSpace(value), "[") {
			return flow(f, value)
		}
		var list []string
		for s := range strings.SplitSeq(value, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
		f.Set(reflect.ValueOf(list))
	case bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		f.SetBool(b)
	case time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		f.SetInt(int64(d))
	case int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		f.SetInt(int64(n))
	default:
		if f.Kind() != reflect.Map {
			return fmt.Errorf("cannot be set from the environment")
		}
		return flow(f, value)
	}
	return nil
}

// document reads YAML of one document, or of none. A second one, and whatever else
// stands behind the first, is an error: it would have been left out in silence.
func document(raw []byte) (doc yaml.Node, err error) {
	d := yaml.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return yaml.Node{}, nil
		}
		return doc, err
	}
	var more yaml.Node
	switch err := d.Decode(&more); {
	case errors.Is(err, io.EOF):
		return doc, nil
	case err != nil:
		return doc, err
	}
	return doc, fmt.Errorf("%d:%d: a second document", more.Line, more.Column)
}

// flow sets a list or a mapping, in the place of the one of the file, from YAML as
// strict as the file.
func flow(f reflect.Value, value string) error {
	doc, err := document([]byte(value))
	if err != nil {
		return err
	}
	next := reflect.New(f.Type())
	if want := map[reflect.Kind]yaml.Kind{reflect.Map: yaml.MappingNode, reflect.Slice: yaml.SequenceNode}[f.Kind()]; len(doc.Content) != 1 || doc.Content[0].Kind != want {
		return fmt.Errorf("want YAML in brackets for a list, in braces for a mapping")
	}
	if err := known(doc.Content[0], next.Interface()); err != nil {
		return err
	}
	if err := doc.Decode(next.Interface()); err != nil {
		return err
	}
	f.Set(next.Elem())
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
