// SPDX-License-Identifier: Apache-2.0

// Command mutate asks whether the tests that docs/conformance.md names, or
// docs/threat-model.md for a guarantee, would notice if an enforcement were gone. Each mutant is the module without one
// check: a text in a file, replaced by another that compiles. For every
// requirement that the mutant belongs to, at least one of the tests of that
// requirement has to fail, or the mutant survives, which is an error.
//
// No source is changed: the replaced file is given to the go command as an
// overlay, also to builds that a test starts itself. The tests have to pass
// without a mutant first. What runs is one go command at a time.
//
//	go run ./integration/mutate                          # everything, takes long
//	go run ./integration/mutate -list
//	go run ./integration/mutate -build                   # only whether they compile
//	go run ./integration/mutate -only 'MV-0[12]|quorum'  # by id, words, or file
//	go run ./integration/mutate -write docs/mutations.md
//
// A mutant whose text does not occur exactly once is stale: the code has moved
// on, and the mutant has to follow it. The test of this package finds that
// without running anything, and also a requirement without a mutant.
//
// -write replaces the rows of what was run and keeps the others, so after a
// repair -only suffices. The exit code is 1 for any survivor, stale mutant, or
// mutant that does not build.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

type options struct {
	only      *regexp.Regexp
	list      bool
	build     bool
	unchecked bool
	verbose   bool
	write     string
	timeout   time.Duration
}

func parseFlags(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("mutate", flag.ContinueOnError)
	only := set.String("only", "", "run what this regular expression finds in ids, words or files")
	set.BoolVar(&o.list, "list", false, "list the mutants and their tests, run nothing")
	set.BoolVar(&o.build, "build", false, "compile the changed packages, run nothing")
	set.BoolVar(&o.unchecked, "unchecked", false, "do not run the tests without mutants first: they are known to pass")
	set.BoolVar(&o.verbose, "v", false, "show what the go command says of mutants that are not killed")
	set.StringVar(&o.write, "write", "", "update the table in this file, relative to the root of the module")
	set.DurationVar(&o.timeout, "timeout", 2*time.Minute, "for the tests of one package")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	var err error
	o.only, err = regexp.Compile(*only)
	return o, err
}

func run(args []string, out io.Writer) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	root, err := findRoot()
	if err != nil {
		return err
	}
	table, err := readTable(root)
	if err != nil {
		return err
	}
	jobs, err := plan(root, table, o.only)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		return errors.New("no mutant is selected")
	}
	if o.list {
		list(out, jobs)
		return nil
	}
	r := &runner{root: root, timeout: o.timeout, out: out, verbose: o.verbose, buildOnly: o.build, unchecked: o.unchecked}
	if o.write != "" && !o.build {
		r.keep = func(results []result) error { return writeDoc(filepath.Join(root, o.write), results) }
	}
	results, err := r.all(jobs)
	if err != nil {
		return err
	}
	return errors.Join(summary(out, results), r.fit())
}

// findRoot is the folder of go.mod, here or above.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not inside the module")
		}
		dir = up
	}
}
