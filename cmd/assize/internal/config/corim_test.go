// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/schemas"
)

func TestCorim(t *testing.T) {
	c, err := Load("", nil)
	if err != nil || c.Corim != (Corim{Store: "folder", Stale: "refuse", StaleAfter: time.Minute, Bad: "skip"}) {
		t.Fatalf("%+v %v", c.Corim, err)
	}
	const external = "fabric: {mode: external, urls: [\"nats://127.0.0.1:4222\"]}\n"
	const certs = "listen_tls: {cert: c.pem, key: k.pem, client_ca: ca.pem}\n"
	const open = "listen: 0.0.0.0:8443\n"
	for text, want := range map[string]string{
		"corim: {store: folder, import: d, trust: t.json, unsigned: true, stale: warn, stale_after: 5m, bad: refuse, replicas: 1, http_writes: true}": "",
		"corim: {store: jetstream}":                                             "",
		"corim: {store: off}":                                                   "",
		external + "corim: {store: jetstream, replicas: 3}":                     "",
		certs + open + "corim: {http_writes: true}":                             "",
		"listen: '[::1]:0'\ncorim: {http_writes: true}":                         "",
		open + "corim: {http_writes: true}":                                     "client_ca",
		"listen: 'nowhere'\ncorim: {http_writes: true}":                         "client_ca",
		"listen_tls: {cert: c, key: k}\n" + open + "corim: {http_writes: true}": "client_ca",
		"corim: {store: bucket}":                                                "corim.store",
		"corim: {store: off, import: d}":                                        "want a store",
		"corim: {store: off, http_writes: true}":                                "want a store",
		"corim: {stale: ignore}":                                                "corim.stale",
		"corim: {bad: accept}":                                                  "corim.bad",
		"corim: {stale_after: 1s}":                                              "stale_after",
		"corim: {stale_after: 25h}":                                             "stale_after",
		"corim: {store: jetstream, replicas: 3}":                                "replicas",
		external + "corim: {replicas: 3}":                                       "replicas",
	} {
		_, err := Load(file(t, text), nil)
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
	if c, err := Load("", []string{"ASSIZE_CORIM_STALE_AFTER=2m", "ASSIZE_CORIM_HTTP_WRITES=true"}); err != nil || c.Corim.StaleAfter != 2*time.Minute || !c.Corim.HTTPWrites {
		t.Errorf("%+v %v", c.Corim, err)
	}
}
