// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTopologyIsTextOrMapping(t *testing.T) {
	for _, c := range []struct{ in, want, fails string }{
		{"topology: lead(cpu, gpu/*)\n", "lead(cpu, gpu/*)", ""},
		{"topology:\n  lead:\n    - cpu\n    - cascade: [gpu/*@a, switch@b]\n    - parallel: {quorum: 1, of: [nic@x, nic@y]}\n", "lead(cpu, cascade(gpu/*@a, switch@b), parallel(quorum 1: nic@x, nic@y))", ""},
		{"topology: {label: a b}\n", `"a b"`, ""},
		{"topology:\n  lead: [cpu]\n  foo: bar\n", "", ":3:3: topology: unknown key"},
		{"topology: [cpu]\n", "", ":1:11: topology: "},
		{"topology:\n  lead: [&x cpu, *x]\n", "", ":2:10: topology: anchors"},
		{"x: &x {lead: [cpu]}\ntopology: *x\n", "", "alias"},
		{"topology:\n  lead: [cpu]\n  lead: [cpu]\n", "", "3:3"},
	} {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(c.in), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(file, nil)
		switch {
		case c.fails == "" && (err != nil || got.Topology != c.want):
			t.Errorf("%q: %q %v, want %q", c.in, got.Topology, err, c.want)
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%q: %v, want %q", c.in, err, c.fails)
		}
	}
}

func TestTLSFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("fabric: {mode: external, urls: ['tls://nats:4222'], tls: {first: true}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(file, nil); err != nil || !c.Fabric.TLS.First {
		t.Errorf("%v %v", c.Fabric.TLS, err)
	}
	if c, err := Load(file, []string{"ASSIZE_FABRIC_TLS_FIRST=false"}); err != nil || c.Fabric.TLS.First {
		t.Errorf("%v %v", c.Fabric.TLS, err)
	}
	if _, err := Load(file, []string{"ASSIZE_FABRIC_TLS_FIRST=perhaps"}); err == nil {
		t.Error("perhaps is neither true nor false")
	}
	if _, err := Load("", []string{"ASSIZE_FABRIC_TLS_FIRST=true"}); err == nil {
		t.Error("TLS for an embedded server")
	}
}
