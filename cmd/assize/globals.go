// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/internal/limits"
)

// globals are the flags that every command has.
type globals struct {
	configFile string
	stateDir   string
	logLevel   string
}

// load reads the configuration and applies the global flags to it.
func (g *globals) load() (config.Config, error) {
	c, err := config.Load(g.configFile, os.Environ())
	if err != nil {
		return c, err
	}
	if g.stateDir != "" {
		c.StateDir = g.stateDir
	}
	return c, nil
}

// logger writes text to the command's error stream.
func (g *globals) logger(cmd *cobra.Command, fallback slog.Level) (*slog.Logger, error) {
	level := fallback
	if g.logLevel != "" {
		if err := level.UnmarshalText([]byte(g.logLevel)); err != nil {
			return nil, usage("--log-level: %w", err)
		}
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})), nil
}

// readInput reads a file, or standard input for "-", within a limit.
func readInput(cmd *cobra.Command, name string, limit int64) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	if len(raw) == 0 {
		return nil, errors.New(name + " is empty")
	}
	return raw, nil
}

// evidenceLimits applies the configured limits over the defaults.
func evidenceLimits(c config.Config) limits.Evidence {
	l := limits.Default()
	for _, set := range []struct {
		to   *int
		from int
	}{
		{&l.Composite, c.Limits.CompositeBytes}, {&l.Leaf, c.Limits.LeafBytes},
		{&l.Depth, c.Limits.Depth}, {&l.Leaves, c.Limits.Leaves},
	} {
		if set.from > 0 {
			*set.to = set.from
		}
	}
	return l
}
