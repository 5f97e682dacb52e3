// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// notEmpty refuses flags that were given with an empty value: a variable that
// is not set must not switch a check off.
func notEmpty(cmd *cobra.Command, names ...string) error {
	for _, n := range names {
		f := cmd.Flags().Lookup(n)
		if f == nil || !f.Changed {
			continue
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if len(values) == 0 || slices.Contains(values, "") {
			return usage("--%s is given without a value", n)
		}
	}
	return nil
}

// readInput reads a regular file, or standard input for "-", within a limit.
func readInput(cmd *cobra.Command, name string, limit int64) ([]byte, error) {
	if name != "-" {
		return readFile(name, limit)
	}
	return readAll(cmd.InOrStdin(), name, limit)
}

// readFile reads a regular file within a limit.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file", name))
	}
	return readAll(f, name, limit)
}

func readAll(in io.Reader, name string, limit int64) ([]byte, error) {
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
