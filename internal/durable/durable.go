// SPDX-License-Identifier: Apache-2.0

// Package durable puts files in their place so that whoever looks sees the old
// bytes or the new ones, and the new ones outlive a loss of power.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace makes raw the content of path, whole: the bytes are on the disk before
// they have that name, under a temporary one in the same folder that begins with
// prefix, and only the owner may read them. The name is on the disk after
// SyncFolder. On an error what was there before still is.
func Replace(path, prefix string, raw []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), prefix+"*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(raw)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// SyncFolder brings the names in a folder to the disk.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
