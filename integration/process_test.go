// SPDX-License-Identifier: Apache-2.0

// Package integration holds black-box tests: the built binary, real processes,
// a real NATS server, real evidence.
package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/samples"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "assize-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "assize")
	out, err := exec.Command("go", "build", "-o", binary, "../cmd/assize").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// process is a running assize with what it logged.
type process struct {
	cmd  *exec.Cmd
	log  *lines
	done chan error
}

// lines collects a process's log and lets tests wait for a line.
type lines struct {
	found chan string
	want  *regexp.Regexp
	text  strings.Builder
	end   chan struct{}
}

func (l *lines) read(r io.Reader) {
	defer close(l.end)
	scan := bufio.NewScanner(r)
	sent := false
	for scan.Scan() {
		l.text.WriteString(scan.Text() + "\n")
		if m := l.want.FindStringSubmatch(scan.Text()); m != nil && !sent {
			sent = true
			l.found <- m[len(m)-1]
		}
	}
}

// start runs assize until it logs a line that matches want, and returns the
// last group of the match. The test stops it.
func start(t *testing.T, want, state string, args ...string) (*process, string) {
	t.Helper()
	p := &process{done: make(chan error, 1)}
	p.log = &lines{found: make(chan string, 1), want: regexp.MustCompile(want), end: make(chan struct{})}
	p.cmd = exec.Command(binary, append(args, "--state-dir", state)...)
	p.cmd.Env = append(os.Environ(), "OTEL_SDK_DISABLED=true")
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.log.read(pipe)
	go func(cmd *exec.Cmd) {
		<-p.log.end
		p.done <- cmd.Wait()
	}(p.cmd)
	t.Cleanup(func() { p.stop(t) })
	select {
	case found := <-p.log.found:
		return p, found
	case err := <-p.done:
		p.done <- err
		t.Fatalf("%v ended: %v\n%s", args, err, p.log.text.String())
	case <-time.After(20 * time.Second):
		t.Fatalf("%v did not come up", args)
	}
	return nil, ""
}

// stop asks the process to end and wants a clean exit.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	cmd := p.cmd
	p.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("unclean end: %v\n%s", err, p.log.text.String())
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not stop")
		_ = cmd.Process.Kill()
		<-p.done
	}
}

// kill ends the process at once, as a crash would.
func (p *process) kill(t *testing.T) {
	t.Helper()
	cmd := p.cmd
	p.cmd = nil
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
}

const listening = `msg=listening address=(\S+)`

// serve starts "assize serve" on a random loopback port and returns its URL.
func serve(t *testing.T, state string, args ...string) (*process, string) {
	t.Helper()
	return start(t, listening, state, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
}

// output runs assize to its end and returns what it printed.
func output(t *testing.T, state string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, append(args, "--state-dir", state)...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// composite is the sample composite in CBOR.
func composite(t *testing.T) []byte {
	t.Helper()
	item, err := samples.Composite()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := evidence.EncodeCBOR(item)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// get returns status and body.
func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	return do(t, http.MethodGet, url, "", nil)
}

func do(t *testing.T, method, url, accept string, body []byte) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/cmw+cbor")
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, raw
}

// verdictJSON is the part of a verdict that tests look at.
type verdictJSON struct {
	Verdict struct {
		Tier    string
		Reasons []struct{ Code string }
	}
	Components map[string]map[string]any
}

func appraise(t *testing.T, url string) verdictJSON {
	t.Helper()
	code, raw := do(t, http.MethodPost, url, "application/json", composite(t))
	if code != 200 {
		t.Fatalf("%d: %s", code, raw)
	}
	var v verdictJSON
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// reasons of a component, joined.
func reasons(c map[string]any) string {
	var out []string
	list, _ := c["reasons"].([]any)
	for _, r := range list {
		out = append(out, fmt.Sprint(r.(map[string]any)["code"]))
	}
	return strings.Join(out, " ")
}

// natsServer is a NATS server on a random loopback port.
func natsServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), MaxPayload: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not come up")
	}
	return s.ClientURL()
}

// status runs assize to its end and returns exit status and output.
func status(t *testing.T, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}
