// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAttest(t *testing.T) {
	load := func(text string) (Config, error) {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte("state_dir: /x\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(file, nil)
	}
	c, err := load("")
	if a := c.Node.Attest; err != nil || a.Require != "none" || a.TTL != 5*time.Minute {
		t.Errorf("%+v, %v", a, err)
	}
	c, err = load(`node: {name: a, attest: {require: affirming, peers: ["b=warning", "c=none"], ttl: 1h, evidence: "http://127.0.0.1:8895"}}`)
	tier, each, bad := c.Node.Attest.Required()
	if err != nil || bad != nil || tier != "affirming" || len(each) != 2 || each["b"] != "warning" || each["c"] != "none" || c.Node.Attest.TTL != time.Hour {
		t.Errorf("%q %q, %v %v", tier, each, err, bad)
	}
	for _, text := range []string{
		`node: {name: a, attest: {require: contraindicated}}`, `node: {name: a, attest: {require: good}}`,
		`node: {attest: {require: warning}}`, `node: {attest: {evidence: "http://x"}}`, `node: {attest: {peers: ["b=warning"]}}`,
		`node: {name: a, attest: {peers: ["b"]}}`, `node: {name: a, attest: {peers: ["b=bad"]}}`, `node: {name: a, attest: {peers: ["B=none"]}}`,
		`node: {name: a, attest: {peers: ["b=none", "b=warning"]}}`,
		`node: {name: a, attest: {ttl: 1ms}}`, `node: {name: a, attest: {ttl: 25h}}`, `node: {name: a, attest: {ttl: -1s}}`,
		`node: {name: a, attest: {evidence: "ftp://x"}}`, `node: {name: a, attest: {evidence: "http:///x"}}`, `node: {name: a, attest: {evidence: "/dev/tdx"}}`,
		`node: {name: a, attest: {evidence: "http://u:p@x"}}`, `node: {name: a, attest: {what: 1}}`,
	} {
		if _, err := load(text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
