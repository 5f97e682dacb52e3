// SPDX-License-Identifier: Apache-2.0

package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, text := range []string{"one", "another one"} {
		if err := Replace(path, ".new-", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != text {
			t.Errorf("%q, %v, want %q", raw, err, text)
		}
	}
	if err := SyncFolder(dir); err != nil {
		t.Error(err)
	}
	taken := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(taken, "in it"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(taken, ".new-", []byte("two")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v: something stayed behind", left, err)
	}
	if err := Replace(filepath.Join(dir, "none", "x"), ".new-", nil); err == nil {
		t.Error("written into a folder that is not there")
	}
	if err := SyncFolder(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there was synced")
	}
}
