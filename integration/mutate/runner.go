// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Outcomes of a mutant for one requirement.
const (
	killed     = "killed"
	survived   = "survived"
	stale      = "stale"
	unbuilt    = "does not build"
	built      = "builds" // and was not run
	byPanic    = "panic"
	byTimeout  = "timeout"
	buildLimit = 15 * time.Minute // on top of the timeout of the tests
)

// result is what became of a mutant for one requirement.
type result struct {
	id, removes, where string
	outcome            string
	// by is the first test that failed, how is byPanic, byTimeout or "".
	by, how string
	detail  string // why it is stale, or what the compiler says
}

type runner struct {
	root    string
	timeout time.Duration
	out     io.Writer
	verbose bool
	// buildOnly compiles the mutants and runs nothing.
	buildOnly bool
	// unchecked leaves the baseline out.
	unchecked bool
	// unusable are tests that do not pass without a mutant.
	unusable []string
	// keep stores results as they come, nil for nowhere.
	keep func([]result) error
}

// all checks that the tests pass, then runs every mutant.
func (r *runner) all(jobs []job) ([]result, error) {
	if !r.buildOnly && !r.unchecked {
		if err := r.baseline(jobs); err != nil {
			return nil, err
		}
	}
	var out []result
	for i, j := range jobs {
		start := time.Now()
		results, err := r.one(j)
		if err != nil {
			return nil, err
		}
		for _, res := range results {
			fmt.Fprintf(r.out, "%3d/%d %-14s %-6s %s (%s)", i+1, len(jobs), res.outcome, res.id, res.removes, res.where)
			if res.by != "" {
				fmt.Fprintf(r.out, ": %s", strings.TrimSpace(res.by+" "+res.how))
			}
			fmt.Fprintf(r.out, " [%s]\n", time.Since(start).Round(time.Second))
			if res.detail != "" {
				fmt.Fprintf(r.out, "      %s\n", strings.ReplaceAll(strings.TrimSpace(res.detail), "\n", "\n      "))
			}
		}
		out = append(out, results...)
		if r.keep != nil { // now: a run takes long, and may be ended
			if err := r.keep(results); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// baseline runs all tests of the selected mutants without any. One that is not
// there, does not run or does not pass can notice nothing: it is taken out, and
// the run ends with an error.
func (r *runner) baseline(jobs []job) error {
	byFolder := map[string][]string{}
	for _, j := range jobs {
		if j.stale != "" {
			continue
		}
		for _, c := range j.claims {
			group(byFolder, c.tests)
		}
	}
	for _, folder := range folders(byFolder) {
		run, err := r.test(folder, byFolder[folder], nil, false)
		if err != nil {
			return err
		}
		if run.broken {
			return fmt.Errorf("without a mutant, %s does not build\n%s", folder, run.text)
		}
		for _, name := range byFolder[folder] {
			if !slices.Contains(run.passed, name) {
				r.unusable = append(r.unusable, folder+"."+name)
				fmt.Fprintf(r.out, "        UNUSABLE       %s.%s does not pass without a mutant, or does not run\n", folder, name)
			}
		}
		fmt.Fprintf(r.out, "        run            %s: %d tests\n", folder, len(byFolder[folder]))
	}
	for _, j := range jobs {
		for i, c := range j.claims {
			j.claims[i].tests = slices.DeleteFunc(slices.Clone(c.tests), func(name string) bool { return slices.Contains(r.unusable, name) })
		}
	}
	return nil
}

// fit is an error where a test cannot be used.
func (r *runner) fit() error {
	if len(r.unusable) == 0 {
		return nil
	}
	return fmt.Errorf("%d tests do not pass without a mutant: %s", len(r.unusable), strings.Join(r.unusable, " "))
}

// group adds "folder.TestName"s by folder, each once.
func group(byFolder map[string][]string, tests []string) {
	for _, t := range tests {
		folder, name := split(t)
		if !slices.Contains(byFolder[folder], name) {
			byFolder[folder] = append(byFolder[folder], name)
		}
	}
}

func split(test string) (folder, name string) {
	at := strings.LastIndex(test, ".")
	return test[:at], test[at+1:]
}

// folders are in the order of what it costs to build their tests.
func folders(byFolder map[string][]string) []string {
	costs := []string{"orchestrator", "verifiers", "api", "fabric", "integration", "cmd/assize"}
	out := make([]string, 0, len(byFolder))
	for f := range byFolder {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b string) int {
		if d := slices.Index(costs, a) - slices.Index(costs, b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return out
}

// one runs one mutant until every requirement has noticed or has no tests left.
func (r *runner) one(j job) ([]result, error) {
	results := make([]result, len(j.claims))
	left := map[string]*result{}
	byFolder := map[string][]string{}
	for i, c := range j.claims {
		results[i] = result{id: c.id, removes: j.removes, where: j.where, outcome: survived}
		if j.stale != "" {
			results[i].outcome, results[i].detail = stale, j.stale
			continue
		}
		left[c.id] = &results[i]
		group(byFolder, c.tests)
	}
	if j.stale != "" {
		return results, nil
	}
	if r.buildOnly {
		return results, r.build(j, results)
	}
	for _, folder := range folders(byFolder) {
		if err := r.folder(j, folder, left); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// build compiles the packages that a mutant changes.
func (r *runner) build(j job, results []result) error {
	file, remove, err := overlay(r.root, j.sources)
	if err != nil {
		return err
	}
	defer remove()
	args := []string{"build", "-overlay", file}
	for name := range j.sources {
		args = append(args, "./"+path.Dir(name))
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = r.root
	out, err := cmd.CombinedOutput()
	for i := range results {
		results[i].outcome = built
		if err != nil {
			results[i].outcome, results[i].detail = unbuilt, string(out)
		}
	}
	return nil
}

// folder runs the tests of one folder for the requirements that have not
// noticed yet: together, and where a crash hides the others, one by one.
func (r *runner) folder(j job, folder string, left map[string]*result) error {
	var mine []requirement
	for _, c := range j.claims {
		if left[c.id] != nil && len(namesIn(c.tests, folder)) > 0 {
			mine = append(mine, c)
		}
	}
	crashed, err := r.together(j, mine, folder, left)
	if err != nil || !crashed || len(mine) == 1 {
		return err
	}
	for _, c := range mine {
		if left[c.id] != nil {
			if _, err := r.together(j, []requirement{c}, folder, left); err != nil {
				return err
			}
		}
	}
	return nil
}

// namesIn are the names of the tests that are in a folder.
func namesIn(tests []string, folder string) []string {
	byFolder := map[string][]string{}
	group(byFolder, tests)
	return byFolder[folder]
}

// together runs the tests of some requirements in one go and takes those that
// noticed out of left. crashed means that not all tests came to their end.
func (r *runner) together(j job, claims []requirement, folder string, left map[string]*result) (crashed bool, err error) {
	if len(claims) == 0 {
		return false, nil
	}
	var tests []string
	for _, c := range claims {
		for _, name := range namesIn(c.tests, folder) {
			if !slices.Contains(tests, name) {
				tests = append(tests, name)
			}
		}
	}
	run, err := r.test(folder, tests, j.sources, len(claims) == 1)
	if err != nil {
		return false, err
	}
	for _, c := range claims {
		res := left[c.id]
		if run.broken {
			res.outcome, res.detail = unbuilt, run.text
			delete(left, c.id)
			continue
		}
		at := slices.IndexFunc(run.failed, func(name string) bool { return slices.Contains(namesIn(c.tests, folder), name) })
		if at < 0 {
			if r.verbose {
				res.detail += run.text
			}
			continue
		}
		res.outcome, res.detail, res.by = killed, "", folder+"."+run.failed[at]
		if at == len(run.failed)-1 { // nothing comes behind a crash
			res.how = run.how
		}
		delete(left, c.id)
	}
	return run.how != "", nil
}

// overlay writes changed sources aside and the file that tells the go command
// to take them.
func overlay(root string, sources map[string][]byte) (file string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "mutate-*")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	replace := map[string]string{}
	for name, src := range sources {
		aside := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(aside, src, 0o600); err != nil {
			remove()
			return "", nil, err
		}
		replace[filepath.Join(root, filepath.FromSlash(name))] = aside
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		file = filepath.Join(dir, "overlay.json")
		err = os.WriteFile(file, raw, 0o600)
	}
	if err != nil {
		remove()
	}
	return file, remove, err
}

// outcome is what one run of the go command said.
type outcome struct {
	passed, failed []string // tests, in the order of their ends
	broken         bool     // it does not compile
	how            string   // byPanic or byTimeout where the tests did not end
	text           string
}

// test runs some tests of one folder with changed sources, nil for none. An
// error is one of the go command itself.
func (r *runner) test(folder string, names []string, sources map[string][]byte, first bool) (outcome, error) {
	mutated := len(sources) > 0
	sources = maps.Clone(sources)
	if src, ok := withoutProgram(r.root, folder, names); ok && mutated {
		sources[programFile] = src
	}
	file, remove, err := overlay(r.root, sources)
	if err != nil {
		return outcome{}, err
	}
	defer remove()
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout+buildLimit)
	defer cancel()
	args := []string{"test", "-json", "-vet=off", "-timeout", r.timeout.String(), "-run", "^(" + strings.Join(names, "|") + ")$"}
	if mutated {
		args = append(args, "-count=1")
	}
	if first {
		args = append(args, "-failfast")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+folder)...)
	cmd.Dir = r.root
	cmd.Env = os.Environ()
	if mutated { // by the environment, for builds that a test starts
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+file))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	out := read(&stdout)
	out.text += stderr.String()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return out, fmt.Errorf("the tests of %s do not end", folder)
	case err == nil, errors.As(err, &exit) && (out.broken || len(out.failed) > 0):
		return out, nil
	case errors.As(err, &exit) && out.how != "": // before or between tests
		out.failed = append(out.failed, names[0])
		return out, nil
	}
	return out, fmt.Errorf("go test ./%s: %w\n%s", folder, err, out.text)
}

// read takes the events of "go test -json" apart.
func read(from io.Reader) outcome {
	var out outcome
	var text strings.Builder
	scan := bufio.NewScanner(from)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		var e struct{ Action, Test, Output, FailedBuild string }
		if json.Unmarshal(scan.Bytes(), &e) != nil {
			continue
		}
		name, _, sub := strings.Cut(e.Test, "/")
		switch {
		case e.Action == "build-fail" || e.FailedBuild != "":
			out.broken = true
		case e.Action == "pass" && name != "" && !sub:
			out.passed = append(out.passed, name)
		case e.Action == "fail" && name != "" && !slices.Contains(out.failed, name):
			out.failed = append(out.failed, name)
		case strings.HasPrefix(e.Output, "panic: test timed out"):
			out.how = byTimeout
		case (strings.HasPrefix(e.Output, "panic: ") || strings.HasPrefix(e.Output, "fatal error: ")) && out.how == "":
			out.how = byPanic
		}
		text.WriteString(e.Output)
	}
	out.text = text.String()
	return out
}
