// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/topologies"
)

// folderOf is the store of a node with this configuration.
func folderOf(t *testing.T, text string) (*topologyFolder, string) {
	t.Helper()
	state := t.TempDir()
	c, err := config.Load(write(t, "c.yaml", []byte(text)), []string{"ASSIZE_STATE_DIR=" + state})
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{config: c}
	named, _, err := s.topologyAPI()
	if err != nil {
		t.Fatal(err)
	}
	return named.(*topologyFolder), filepath.Join(state, "topologies")
}

func expression(t *testing.T, text string) topologies.Expr {
	t.Helper()
	e, err := topologies.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTopologyFolder(t *testing.T) {
	ctx := context.Background()
	f, dir := folderOf(t, "")
	get := func(name string) string {
		e, err := f.Get(name)
		if err != nil {
			return err.Error()
		}
		return e.String()
	}
	for name, want := range map[string]string{"default": "lead", "lead": "lead", "cascade": api.ErrNoTopology.Error(), "mine": api.ErrNoTopology.Error()} {
		if got := get(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	for i, text := range []string{"lead(cpu, gpu/*)", "lead(cpu)", strings.Repeat("lead(", 5) + `"odd (label"` + strings.Repeat(")", 5)} {
		created, err := f.Put(ctx, "mine", expression(t, text))
		if err != nil || created != (i == 0) || get("mine") != expression(t, text).String() {
			t.Errorf("%t, %v: %s", created, err, get("mine"))
		}
	}
	if again, _ := (&topologyFolder{dir: dir}).Get("mine"); again.String() != get("mine") {
		t.Error("another process does not see it")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".new-*")); err != nil || len(left) > 0 {
		t.Errorf("unfinished files %q, %v", left, err)
	}
	for name, want := range map[string]error{
		"default": api.ErrTopologyFixed, "lead": api.ErrTopologyFixed, "parallel": api.ErrTopologyFixed, "optional": api.ErrTopologyFixed,
		"": api.ErrTopologyName, "A": api.ErrTopologyName, "../x": api.ErrTopologyName, "a/b": api.ErrTopologyName, "a.b": api.ErrTopologyName, strings.Repeat("a", 33): api.ErrTopologyName,
	} {
		if _, err := f.Put(ctx, name, expression(t, "lead")); !errors.Is(err, want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "..", "x.topology"), []byte("lead\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := get("../x"); got != api.ErrNoTopology.Error() {
		t.Errorf("a file elsewhere: %s", got)
	}
	for name, text := range map[string]string{"bad": "lead(", "long": strings.Repeat(" ", topologies.MaxText+2), "empty": "", "two": "lead\nlead"} {
		if err := os.WriteFile(filepath.Join(dir, name+topologyExtension), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := f.Get(name); err == nil || errors.Is(err, api.ErrNoTopology) {
			t.Errorf("%s: %s, %v", name, e, err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Put(ctx, "mine", expression(t, "lead")); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("everybody can write there: %v", err)
	}
}

func TestTopologyFolderIsBounded(t *testing.T) {
	f, dir := folderOf(t, "")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range maxTopologies {
		if err := os.WriteFile(f.path(fmt.Sprintf("t%d", i)), []byte("lead\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Put(context.Background(), "one-more", expression(t, "lead")); !errors.Is(err, api.ErrTopologiesFull) {
		t.Errorf("%v", err)
	}
	if created, err := f.Put(context.Background(), "t1", expression(t, "lead(cpu)")); created || err != nil {
		t.Errorf("one that is there cannot be replaced: %t, %v", created, err)
	}
}

// With a topology in the configuration, "lead" is no way around it.
func TestConfiguredTopologyHolds(t *testing.T) {
	f, _ := folderOf(t, "topology: lead(cpu, gpu/0)\n")
	if e, err := f.Get("default"); err != nil || e.String() != "lead(cpu, gpu/0)" {
		t.Errorf("%s, %v", e, err)
	}
	if _, err := f.Get("lead"); !errors.Is(err, api.ErrNoTopology) {
		t.Errorf("lead: %v", err)
	}
	found := f.Lint("lead(cpu@nowhere, cpu)", false)
	if len(found) == 0 || found[0].Severity != topologies.SeverityError && len(found) < 2 {
		t.Errorf("%+v", found)
	}
}

// The address of a flag is checked like that of the configuration.
func TestTopologyWritesOfEverybody(t *testing.T) {
	file := write(t, "c.yaml", []byte("topologies: {http_writes: true}\n"))
	if o := assize(t, t.TempDir(), "--config", file, "serve", "--listen", "0.0.0.0:0"); o.code != exitFailed || !strings.Contains(o.err, "topologies.http_writes") {
		t.Errorf("%d %s", o.code, o.err)
	}
}

// The commands that cobra adds keep to our exit statuses, and have examples.
func TestDefaultCommands(t *testing.T) {
	for text, want := range map[string]int{
		"completion": exitUsage, "completion tcsh": exitUsage, "completion bash x": exitUsage, "completion bash": 0, "completion zsh --help": 0,
		"help": 0, "help appraise": 0, "help corim add": 0, "help nothing": exitUsage, "help corim nothing": exitUsage,
	} {
		o := assize(t, t.TempDir(), strings.Fields(text)...)
		if o.code != want || o.out == "" != (want == exitUsage) {
			t.Errorf("%s: exit %d, %.80s %s", text, o.code, o.out, o.err)
		}
	}
	root := newRoot()
	strictDefaults(root)
	for _, c := range root.Commands() {
		for _, one := range append(c.Commands(), c) {
			if one.Example == "" {
				t.Errorf("%s has no example", one.CommandPath())
			}
		}
	}
}
