// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
)

const simNonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// What simulate writes is what appraise wants, for every machine and format.
func TestSimulateThenAppraise(t *testing.T) {
	state := t.TempDir()
	for _, c := range []struct {
		machine, format string
		code            int
	}{
		{"cpu", "json", exitWarning}, {"cpu-gpu", "cbor", exitWarning}, {"hgx", "cose", exitWarning},
		{"hgx", "jws", exitWarning}, {"cpu-gpu", "ratsd-json", exitWarning}, {"cpu-gpu", "ratsd-v2", exitWarning},
		{"tdisp", "json", exitWarning},
	} {
		dir := filepath.Join(t.TempDir(), "m")
		if o := assize(t, state, "simulate", "--machine", c.machine, "--format", c.format, "--nonce", simNonce, "-o", dir); o.code != exitAffirming || !strings.Contains(o.out, "assize appraise") {
			t.Fatalf("%s: %d %s %s", c.machine, o.code, o.out, o.err)
		}
		file := filepath.Join(dir, "evidence.cmw")
		args := []string{"appraise", file, "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"), "--endorsements", dir}
		// Software that nobody knows vouches for no interface report.
		open := c.machine == "tdisp"
		if o := assize(t, state, args...); o.code != c.code || strings.Contains(o.out, "report-unauthenticated") != open || !strings.Contains(o.out, "extra-roots") || !strings.Contains(o.err, "extra roots are trusted") {
			t.Errorf("%s %s: %d %s %s", c.machine, c.format, o.code, o.out, o.err)
		}
		// With the reference values the CPU's claims are proven, so that its
		// commitment counts; NVIDIA's parts have their manifests. The formats of ratsd
		// have no commitment.
		known := append(slices.Clone(args), "--corim", dir, "--corim-trust", filepath.Join(dir, "corim-trust.json"))
		code, uncommitted := exitAffirming, strings.HasPrefix(c.format, "ratsd-")
		if uncommitted {
			code = exitWarning
		}
		if o := assize(t, state, known...); o.code != code || strings.Contains(o.out, "unbound-component") != uncommitted || strings.Contains(o.out, "report-unauthenticated") || !strings.Contains(o.out, "executables 2") || !strings.Contains(o.out, "reference values of revision ") {
			t.Errorf("%s %s with --corim: %d %s %s", c.machine, c.format, o.code, o.out, o.err)
		}
		// The same without --trust: nobody knows this machine. A signed composite
		// is then refused as a whole, for nobody knows its signer either.
		o := assize(t, state, "appraise", file, "--nonce", simNonce, "--endorsements", dir)
		signed := c.format == "cose" || c.format == "jws"
		if signed && o.code != exitFailed || !signed && (o.code != exitContraindicated || !strings.Contains(o.out, "unknown-root")) {
			t.Errorf("%s %s without --trust: %d %s %s", c.machine, c.format, o.code, o.out, o.err)
		}
	}
}

func TestSimulateFaults(t *testing.T) {
	state, dir := t.TempDir(), t.TempDir()
	if o := assize(t, state, "simulate", "--nonce", simNonce, "--fault", "gpu/0:foreign-machine", "-o", dir); o.code != 0 || !strings.Contains(o.out, "fault: gpu/0:foreign-machine") {
		t.Fatalf("%d %s %s", o.code, o.out, o.err)
	}
	o := assize(t, state, "appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"), "--endorsements", dir)
	if o.code != exitContraindicated || !strings.Contains(o.out, "binding-broken") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
}

func TestSimulateToStandardOutput(t *testing.T) {
	state := t.TempDir()
	args := []string{"simulate", "--machine", "cpu", "--nonce", simNonce, "--at", "2026-06-01T00:00:00Z", "--seed", "s", "--format", "cbor"}
	one, two := assize(t, state, args...), assize(t, state, args...)
	if one.code != 0 || one.out != two.out || one.out == "" {
		t.Errorf("%d: not the same twice", one.code)
	}
	if tree, err := evidence.Parse([]byte(one.out), evidence.Options{}); err != nil || len(tree.Leaves()) != 1 {
		t.Error(err)
	}
	if o := assize(t, state, "simulate", "--machine", "cpu"); o.code != 0 || o.out == one.out {
		t.Error("a nonce that nobody gave is not random")
	}
}

func TestSimulateReadsMachineFiles(t *testing.T) {
	state, dir := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "m.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("name: mine\ngpus: {count: 2}\nlayout: nested\n")
	if o := assize(t, state, "simulate", "--machine", file, "-o", filepath.Join(dir, "out")); o.code != 0 || !strings.Contains(o.out, "node/board/gpu/1") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	write("gpus: {number: 2}\n")
	if o := assize(t, state, "simulate", "--machine", file); o.code != exitFailed || !strings.Contains(o.err, "number") {
		t.Errorf("%d %s", o.code, o.err)
	}
}

func TestSimulateUsage(t *testing.T) {
	state := t.TempDir()
	for _, args := range [][]string{
		{"--machine", "no-such"}, {"--nonce", "x"}, {"--nonce", ""}, {"--format", "xml"}, {"--fault", "debug"}, {"--fault", "cpu:smoke"},
		{"--at", "yesterday"}, {"more"}, {"--serve", "--nonce", simNonce},
	} {
		if o := assize(t, state, append([]string{"simulate"}, args...)...); o.code != exitUsage {
			t.Errorf("%v: %d %s", args, o.code, o.err)
		}
	}
	if o := assize(t, state, "simulate", "--fault", "gpu/9:debug"); o.code != exitFailed {
		t.Errorf("a part that is not there: %d %s", o.code, o.err)
	}
	if o := assize(t, state, "appraise", "x", "--trust", ""); o.code != exitUsage {
		t.Errorf("an empty --trust: %d", o.code)
	}
}

// A roots file that is not one stops the command: it must not go on without.
func TestTrustFileIsStrict(t *testing.T) {
	state, dir := t.TempDir(), t.TempDir()
	if o := assize(t, state, "simulate", "--machine", "cpu", "--nonce", simNonce, "-o", dir); o.code != 0 {
		t.Fatal(o.err)
	}
	file := filepath.Join(dir, "evidence.cmw")
	for _, name := range []string{file, filepath.Join(dir, "no-such")} {
		if o := assize(t, state, "appraise", file, "--nonce", simNonce, "--trust", name); o.code != exitFailed {
			t.Errorf("%s: %d %s", name, o.code, o.out)
		}
	}
}

// Who asks over HTTP as a client of ratsd does gets what appraise reads.
func TestSimulateServe(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	log, logged := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"simulate", "--machine", "cpu-gpu", "--serve", "--listen", "127.0.0.1:0", "-o", dir, "--state-dir", t.TempDir()}, strings.NewReader(""), io.Discard, logged)
		logged.Close()
	}()
	buf := make([]byte, 4096)
	n, err := log.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	_, url, ok := strings.Cut(string(buf[:n]), "url=")
	if !ok {
		t.Fatalf("%s", buf[:n])
	}
	url, _, _ = strings.Cut(url, " ")
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Post(strings.TrimSpace(url), "application/vnd.veraison.chares+json", strings.NewReader(`{"nonce":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", resp.StatusCode, raw, err)
	}
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, bytes.Clone(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
	o := assize(t, t.TempDir(), "appraise", file, "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"), "--endorsements", dir)
	if o.code != exitWarning {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
}
