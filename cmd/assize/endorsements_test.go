// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	collateral "github.com/assize/assize/endorsements/source"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// What is not there was not verified: an empty folder, and one with the lists of
// somebody else, are no success.
func TestEndorsementsVerifyNothing(t *testing.T) {
	state, empty := t.TempDir(), t.TempDir()
	others := filepath.Join(simulatedFolder(t, "--machine", "nitro"), "endorsements")
	for _, c := range []struct{ command, dir, out, err string }{
		{"verify", empty, "0 documents", "no document of Intel, AMD or NVIDIA"},
		{"verify", others, "none of these documents: aws-nitro-region-crl.der, aws-nitro-root-crl.der", "no document of Intel, AMD or NVIDIA"},
		{"list", empty, "0 documents", ""},
		{"list", others, "none of these documents: aws-nitro-region-crl.der, aws-nitro-root-crl.der", ""},
	} {
		o := assize(t, state, "endorsements", c.command, c.dir)
		if (o.code != 0) != (c.err != "") || !strings.Contains(o.out, c.out) || !strings.Contains(o.err, c.err) {
			t.Errorf("%s %s: %d %s %s", c.command, c.dir, o.code, o.out, o.err)
		}
	}
	if o := assize(t, state, "endorsements", "verify", empty, "-o", "json"); o.code != exitFailed || strings.TrimSpace(o.out) != "[]" {
		t.Errorf("%d %q", o.code, o.out)
	}
}

// Names are accepted as tools print them, and a flag that says nothing by itself
// is not passed over.
func TestEndorsementsFetchFlags(t *testing.T) {
	dir := simulatedFolder(t, "--machine", "cpu")
	s, _, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	o := assize(t, t.TempDir(), "endorsements", "fetch", "--fmspc", "A5512E000000", "--config", config, "--trust", filepath.Join(dir, "trust.json"))
	if o.code != 0 || !strings.Contains(o.out, "intel-tdx-tcb-a5512e000000") || len(s.requests()) != 4 {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	for want, args := range map[string][]string{
		"--fmspc, which is not given":    {"--product", "Milan", "--tee", "sgx"},
		"wants --product, --chip-id and": {"--chip-id", "00"},
	} {
		o := assize(t, t.TempDir(), append([]string{"endorsements", "fetch", "--config", config}, args...)...)
		if o.code != exitUsage || !strings.Contains(o.err, want) || len(s.requests()) != 0 {
			t.Errorf("%q: %d %s", args, o.code, o.err)
		}
	}
}

// A folder into which nothing can be written is no success, although everything was
// fetched.
func TestEndorsementsFetchIntoNothing(t *testing.T) {
	dir, state := simulatedFolder(t, "--machine", "cpu"), t.TempDir()
	_, _, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	first, second := filepath.Join(state, "first"), filepath.Join(state, "second")
	args := []string{"endorsements", "fetch", "--fmspc", "a5512e000000", "--config", config, "--trust", filepath.Join(dir, "trust.json"), "-o"}
	if o := assize(t, state, append(args, first)...); o.code != 0 {
		t.Fatal(o.err)
	}
	files, err := os.ReadDir(first)
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files[:1] { // something is in the way of what is written first
		if err := os.MkdirAll(filepath.Join(second, f.Name()+".tmp", "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o := assize(t, state, append(args, second)...)
	if o.code != exitFailed || strings.Count(o.err, "could not be written to "+second) != 1 || !strings.Contains(o.err, "lost with this process") || !strings.Contains(o.out, "4 documents") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
}

// The command that simulate prints works as it stands, and without complaints about
// the machine's own files.
func TestSimulatePrintsACommandThatWorks(t *testing.T) {
	for _, machine := range []string{"cpu", "snp", "sgx", "cca", "nitro"} {
		dir, state := filepath.Join(t.TempDir(), "m"), t.TempDir()
		o := assize(t, state, "simulate", "--machine", machine, "--nonce", simNonce, "-o", dir)
		lines := strings.Split(strings.TrimSpace(o.out), "\n")
		args := strings.Fields(lines[len(lines)-1])
		if o.code != 0 || len(args) < 2 || args[0] != "assize" {
			t.Fatalf("%s: %d %s", machine, o.code, o.out)
		}
		if _, err := os.Stat(filepath.Join(dir, "endorsements")); (err == nil) != strings.Contains(o.out, "--endorsements") {
			t.Errorf("%s: %s", machine, o.out)
		}
		o = assize(t, state, args[1:]...)
		if o.code != exitAffirming || strings.Contains(o.err, "not used") || strings.Contains(o.err, "schemes=[]") {
			t.Errorf("%s: %d %s %s", machine, o.code, o.out, o.err)
		}
	}
}

// Appraisals that wait for collateral leave as many places to others as there are
// without a source.
func TestWorkersBesideThoseThatWait(t *testing.T) {
	set, err := all.Set()
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range set.Schemes() {
		if n := workers(sc, nil); n != 0 {
			t.Errorf("%s without a source: %d", sc.Name, n)
		}
		if n := workers(sc, new(collateral.Source)); (n > verifiers.MaxCollateralWaits) != (sc.Needs != nil) {
			t.Errorf("%s: %d", sc.Name, n)
		}
	}
}

// A policy that cannot be read is named, and is no error of the command line.
func TestSchemesCheckNamesTheFile(t *testing.T) {
	for text, want := range map[string]string{
		"scheme: no-such\n": "no such scheme",
		"# nothing\n":       "is empty",
		"scheme: intel-tdx\nfindings:\n  tcb-out-of-date:\n": "nothing behind the name",
	} {
		file := write(t, "p.yaml", []byte(text))
		if o := assize(t, t.TempDir(), "schemes", "check", file); o.code != exitFailed || !strings.Contains(o.err, file+": ") || !strings.Contains(o.err, want) {
			t.Errorf("%q: %d %s", text, o.code, o.err)
		}
	}
}
