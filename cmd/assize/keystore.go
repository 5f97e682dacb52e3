// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/assize/assize/trust"
)

// leadKey is the file name of the lead's key; every scheme has its own beside.
const leadKey = "lead"

// keystore keeps signing keys as PKCS#8 PEM files, mode 0600, in one folder.
type keystore struct {
	dir string
}

func newKeystore(stateDir string) keystore { return keystore{filepath.Join(stateDir, "keys")} }

func (k keystore) path(name string) string { return filepath.Join(k.dir, name+".pem") }

// load reads the key for a name, or generates it when there is none yet.
func (k keystore) load(name string) (*trust.Signer, error) {
	s, err := k.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return k.create(name, "ES256", false)
	}
	return s, err
}

func (k keystore) read(name string) (*trust.Signer, error) {
	raw, err := k.private(name)
	if err != nil {
		return nil, err
	}
	s, err := trust.ParseSigner(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.path(name), err)
	}
	return s, nil
}

// private reads a key file that nobody else can read or replace.
func (k keystore) private(name string) ([]byte, error) {
	path := k.path(name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if folder, err := os.Stat(k.dir); err != nil || folder.Mode().Perm()&0o022 != 0 {
		return nil, errors.Join(err, fmt.Errorf("%s can be written to by others, want 0700", k.dir))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %o), want 0600", path, info.Mode().Perm())
	}
	return os.ReadFile(path)
}

// create generates a key. The file appears whole or not at all; without
// replace an existing key is never touched, so of two processes that start at
// once one reads what the other wrote.
func (k keystore) create(name, alg string, replace bool) (*trust.Signer, error) {
	s, err := trust.GenerateSigner(alg, rand.Reader)
	if err != nil {
		return nil, err
	}
	raw, err := s.MarshalPEM()
	if err != nil {
		return nil, err
	}
	switch err := k.write(name, raw, replace); {
	case errors.Is(err, fs.ErrExist):
		return k.read(name)
	case err != nil:
		return nil, err
	}
	return s, nil
}

// write makes a key file. Without replace one that is there is fs.ErrExist.
func (k keystore) write(name string, raw []byte, replace bool) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(k.dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(raw); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if replace {
		return os.Rename(tmp.Name(), k.path(name))
	}
	return os.Link(tmp.Name(), k.path(name))
}

// nodeKey signs what this node sends to other nodes; sealKey opens what they
// seal to it.
const (
	nodeKey = "node"
	sealKey = "node-seal"
)

// loadSeal reads the seal key, or generates it when there is none yet.
func (k keystore) loadSeal() (*trust.SealPrivate, error) {
	if _, err := os.Lstat(k.path(sealKey)); errors.Is(err, fs.ErrNotExist) {
		s, err := trust.GenerateSealPrivate(trust.SuiteHybrid, rand.Reader)
		if err != nil {
			return nil, err
		}
		raw, err := s.MarshalPEM()
		if err == nil {
			err = k.write(sealKey, raw, false)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	raw, err := k.private(sealKey)
	if err != nil {
		return nil, err
	}
	s, err := trust.ParseSealPrivate(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.path(sealKey), err)
	}
	return s, nil
}

// anchor describes a stored key to those who have to trust it: the lead's key
// signs verdicts, the others sign results of the scheme they are named after.
func anchor(name string, s *trust.Signer) trust.Key {
	if name == leadKey {
		return s.Key(name, nil, trust.RoleLead)
	}
	return s.Key(name, []string{name}, trust.RoleVerifier)
}
