// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/schemas"
)

func TestFront(t *testing.T) {
	state := "ASSIZE_STATE_DIR=" + t.TempDir()
	c, err := Load("", []string{state})
	if err != nil || c.Verdicts != (Verdicts{Store: "memory", Keep: 1024, MaxBytes: 64 << 20, MaxAge: 150 * time.Second}) || c.Topologies.HTTPWrites {
		t.Errorf("%+v %+v, %v", c.Verdicts, c.Topologies, err)
	}
	const certs = "listen_tls: {cert: c.pem, key: k.pem, client_ca: ca.pem}\n"
	const open = "listen: 0.0.0.0:8443\n"
	for text, want := range map[string]string{
		"verdicts: {store: off}": "",
		"verdicts: {store: memory, keep: 10, max_age: 1h, max_bytes: 65536}": "",
		"topologies: {http_writes: true}":                                    "",
		certs + open + "topologies: {http_writes: true}":                     "",
		open + "topologies: {http_writes: true}":                             "client_ca",
		"verdicts: {store: disk}":                                            "verdicts.store",
		"verdicts: {keep: -1}":                                               "verdicts.keep",
		"verdicts: {keep: 1048577}":                                          "verdicts.keep",
		"verdicts: {max_age: 10ms}":                                          "verdicts.max_age",
		"verdicts: {max_age: 25h}":                                           "verdicts.max_age",
		"verdicts: {max_bytes: 1}":                                           "verdicts.max_bytes",
		"verdicts: {max: 1}":                                                 "1:12: unknown key",
	} {
		_, err := Load(file(t, text), []string{state})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", text, err)
		}
		if want != "" {
			continue
		}
		var doc map[string]any
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		schema, err := schemas.Load(schemas.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.ValidateJSON(raw); err != nil {
			t.Errorf("the schema refuses what the program takes: %v", err)
		}
	}
}

// Every key of the configuration can be set from the environment.
func TestEveryKeyHasAVariable(t *testing.T) {
	var c Config
	fields := map[string]reflect.Value{}
	collect(reflect.ValueOf(&c).Elem(), "ASSIZE", fields)
	if len(fields) < 60 {
		t.Fatalf("only %d keys", len(fields))
	}
	for name, f := range fields {
		value := "x"
		switch f.Interface().(type) {
		case bool:
			value = "true"
		case time.Duration:
			value = "1h"
		case int:
			value = "7"
		case map[string]Edge:
			value = "{x: {seal: always}}"
		}
		if err := override(&c, []string{name + "=" + value}); err != nil || f.IsZero() {
			t.Errorf("%s=%s: %v, %v", name, value, f, err)
		}
	}
}
