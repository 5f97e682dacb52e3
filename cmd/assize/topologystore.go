// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/assize/assize/api"
	"github.com/assize/assize/internal/durable"
	"github.com/assize/assize/topologies"
)

// maxTopologies bounds the named topologies of a node.
const maxTopologies = 256

const topologyExtension = ".topology"

var topologyName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// topologyFolder keeps named topologies in a folder, one file NAME.topology for each
// with the expression in its text form. Files are read when they are asked for, so an
// operator can put some there too. The name "default" stands for the topology of the
// configuration, as does its own text where that is a name ("lead").
type topologyFolder struct {
	dir        string
	configured topologies.Expr
	lint       func(text string, yaml bool) []topologies.Problem
	writing    sync.Mutex
}

var _ api.Topologies = (*topologyFolder)(nil)

// topologyAPI is the folder as the HTTP API takes it.
func (s *stack) topologyAPI() (api.Topologies, bool, error) {
	if err := s.config.Topologies.CheckWrites(s.config.Listen, s.config.ListenTLS); err != nil {
		return nil, false, err
	}
	configured, err := topologies.Parse(s.config.Topology)
	if err != nil {
		return nil, false, err
	}
	in := topologies.LintInput{Peers: s.nodes.Names(), Input: topologies.Input{Self: s.config.Node.Name, Route: s.route}}
	in.NoSeal = (&planner{config: s.config, nodes: s.nodes}).unsealed()
	return &topologyFolder{
		dir: filepath.Join(s.config.StateDir, "topologies"), configured: configured,
		lint: func(text string, yaml bool) []topologies.Problem { return source{text, yaml}.lint(in) },
	}, s.config.Topologies.HTTPWrites, nil
}

// Lint implements api.Topologies.
func (t *topologyFolder) Lint(text string, yaml bool) []topologies.Problem { return t.lint(text, yaml) }

// Get implements api.Topologies.
func (t *topologyFolder) Get(name string) (e topologies.Expr, err error) {
	switch {
	case !topologyName.MatchString(name):
		return e, api.ErrNoTopology // before it becomes a path
	case name == "default" || name == t.configured.String():
		return t.configured, nil
	case fixedTopology(name):
		return e, api.ErrNoTopology
	}
	raw, err := readFile(t.path(name), int64(topologies.MaxText)+1) // a line may end
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e, api.ErrNoTopology
	case err != nil:
		return e, err
	}
	if e, err = topologies.Parse(strings.TrimRight(string(raw), "\r\n")); err != nil {
		return e, fmt.Errorf("%s: %w", t.path(name), err)
	}
	return e, nil
}

// fixedTopology tells names that mean something else: that of the configured
// topology, and the heads of expressions.
func fixedTopology(name string) bool {
	switch topologies.Head(name) {
	case "default", topologies.Lead, topologies.Cascade, topologies.Parallel, topologies.Optional:
		return true
	}
	return false
}

func (t *topologyFolder) path(name string) string {
	return filepath.Join(t.dir, name+topologyExtension)
}

// Put implements api.Topologies. A file appears as a whole and is on the disk when
// it returns.
func (t *topologyFolder) Put(_ context.Context, name string, e topologies.Expr) (created bool, err error) {
	switch {
	case !topologyName.MatchString(name):
		return false, api.ErrTopologyName
	case fixedTopology(name):
		return false, api.ErrTopologyFixed
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return false, err
	}
	info, err := os.Stat(t.dir)
	if err != nil || info.Mode().Perm()&0o022 != 0 {
		return false, errors.Join(err, fmt.Errorf("%s can be written to by others, want 0700", t.dir))
	}
	if _, err := os.Lstat(t.path(name)); errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(t.dir)
		switch {
		case err != nil:
			return false, err
		case len(entries) >= maxTopologies:
			return false, api.ErrTopologiesFull
		}
		created = true
	} else if err != nil {
		return false, err
	}
	if err := durable.Replace(t.path(name), ".new-", []byte(e.String()+"\n")); err != nil {
		return false, err
	}
	return created, durable.SyncFolder(t.dir)
}
