// SPDX-License-Identifier: Apache-2.0

// Package vectors finds recorded evidence for tests. The recordings are not
// part of this repository: they are read from the folder that ASSIZE_VECTORS
// names, by default ../shared/evidence beside the repository. Without the
// folder a test is skipped, or fails where ASSIZE_VECTORS_REQUIRED is set.
package vectors

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder of recorded evidence, or skips the test.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("ASSIZE_VECTORS")
	if dir == "" {
		dir = filepath.Join(root(tb), "..", "shared", "evidence")
	} else if !filepath.IsAbs(dir) {
		dir = filepath.Join(root(tb), dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		missing(tb, dir)
	}
	return dir
}

// Read returns one recorded file, by its path below Dir.
func Read(tb testing.TB, name string) []byte {
	tb.Helper()
	path := filepath.Join(Dir(tb), filepath.FromSlash(name))
	raw, err := os.ReadFile(path)
	if err != nil {
		missing(tb, path)
	}
	return raw
}

func missing(tb testing.TB, path string) {
	tb.Helper()
	if os.Getenv("ASSIZE_VECTORS_REQUIRED") != "" {
		tb.Fatalf("recorded evidence is required here and missing: %s", path)
	}
	tb.Skipf("no recorded evidence at %s", path)
}

// root is the folder of go.mod above the test's working directory.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
