// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verifiers"
)

// corimFlags name reference values that are used for this one run, instead of
// those of a store.
type corimFlags struct {
	paths    []string
	trust    string
	unsigned bool
}

func (f *corimFlags) add(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.paths, "corim", nil, "document with reference values (CoRIM), or folder: all *.corim below it (repeatable)")
	fl.StringVar(&f.trust, "corim-trust", "", "file of the authorities whose reference values count (schemas/corim-trust.schema.json)")
	fl.BoolVar(&f.unsigned, "corim-unsigned", false, "read reference values that nobody has signed; they affirm nothing but simulated machines (--trust)")
}

// maxCorimFiles bounds the documents of one run.
const maxCorimFiles = 4096

// load reads the documents, nil if there are no flags. They have to hold at the
// time of the appraisal. A named file that is not accepted is an error; one that
// was found in a folder is named in the log and left out.
func (f *corimFlags) load(log *slog.Logger, at time.Time) (verifiers.References, error) {
	switch {
	case len(f.paths) == 0 && (f.trust != "" || f.unsigned):
		return nil, usage("--corim-trust and --corim-unsigned are for --corim")
	case len(f.paths) == 0:
		return nil, nil
	case f.trust == "" && !f.unsigned:
		return nil, usage("--corim wants --corim-trust FILE: nobody's reference values are believed without it (--corim-unsigned reads those that nobody has signed)")
	}
	o := corim.Options{Now: at, Unsigned: f.unsigned}
	if f.trust != "" {
		var err error
		if o.Trust, err = storeTrust(f.trust); err != nil {
			return nil, err
		}
	}
	var docs []*corim.Document
	total := int64(0)
	for _, path := range f.paths {
		files, found, err := corimFiles(path)
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			raw, err := readFile(name, limits.CorimDocument)
			if total += int64(len(raw)); err == nil && (len(docs) == maxCorimFiles || total > maxCorimBytes) {
				return nil, fmt.Errorf("%s: more than %d documents or %d bytes of reference values", path, maxCorimFiles, int64(maxCorimBytes))
			}
			var d *corim.Document
			if err == nil {
				d, err = loadCorim(raw, o)
			}
			switch {
			case err != nil && !found:
				return nil, fmt.Errorf("%s: %w", name, err)
			case err != nil:
				log.Warn("reference values not used", "file", name, "why", err)
			}
			if d != nil {
				docs = append(docs, d)
			}
		}
	}
	if f.unsigned {
		log.Warn("reference values are read that nobody has signed: they affirm nothing but simulated machines")
	}
	x, err := corim.NewIndex(docs...)
	if err != nil {
		return nil, err
	}
	for _, c := range x.Conflicts() {
		log.Warn("reference values contradict each other", "tag", c)
	}
	log.Info("reference values", "revision", x.Revision(), "documents", len(x.Documents()))
	return fixed{x}, nil
}

// maxCorimBytes bounds all documents of one run together.
const maxCorimBytes = 64 << 20

// loadCorim accepts a document. One that has expired is returned with the error:
// in an index it matches nothing, and what it has replaced does not come back.
func loadCorim(raw []byte, o corim.Options) (*corim.Document, error) {
	d, err := corim.Load(raw, o)
	if !errors.Is(err, corim.ErrPeriod) && !errors.Is(err, corim.ErrUntrusted) {
		return d, err
	}
	old, parsed := corim.Parse(raw)
	if parsed != nil {
		return nil, err
	}
	ends := []time.Time{old.Validity.NotAfter}
	if s := old.Signature; s != nil {
		ends = append(ends, s.Validity.NotAfter)
		for _, c := range s.Chain {
			ends = append(ends, c.NotAfter)
		}
	}
	for _, end := range ends {
		if end.IsZero() || !end.Before(o.Now) {
			continue
		}
		then := o
		then.Now = end
		if d, again := corim.Load(raw, then); again == nil {
			return d, err
		}
	}
	return nil, err
}

// corimFiles are the documents that a path stands for, and whether they were
// found in a folder.
func corimFiles(path string) (files []string, found bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{path}, false, nil
	}
	seen := 0
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen > 4*maxCorimFiles {
			return fmt.Errorf("%s: more than %d files and folders", path, 4*maxCorimFiles)
		}
		if d.Type().IsRegular() && strings.EqualFold(filepath.Ext(name), ".corim") {
			files = append(files, name)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s: no file *.corim in it", path)
	}
	slices.Sort(files)
	return files, true, err
}

// fixed are reference values that do not change.
type fixed struct{ index *corim.Index }

// Snapshot implements verifiers.References.
func (f fixed) Snapshot(time.Time) (*corim.Index, error) { return f.index, nil }
