// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/cmd/assize/internal/config"
)

// recorded is a state directory in which one appraisal has left records.
func recorded(t *testing.T) (state, dir string) {
	t.Helper()
	state = t.TempDir()
	t.Setenv("ASSIZE_AUDIT_STORE", "file")
	machine := filepath.Join(t.TempDir(), "m")
	if o := assize(t, state, "simulate", "--machine", "hgx", "--nonce", auditNonce, "-o", machine); o.code != 0 {
		t.Fatal(o.err)
	}
	o := assize(t, state, "appraise", filepath.Join(machine, "evidence.cmw"), "--nonce", auditNonce, "--trust", filepath.Join(machine, "trust.json"))
	if o.code != exitWarning {
		t.Fatalf("exit %d: %s", o.code, o.err)
	}
	return state, auditDir(state, "appraise")
}

const auditNonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

func TestAuditCommands(t *testing.T) {
	state, dir := recorded(t)
	if o := assize(t, state, "audit", "verify", dir); o.code != 0 || !strings.Contains(o.out, "signed up to record 4\n") {
		t.Fatalf("exit %d: %s%s", o.code, o.out, o.err)
	}
	o := assize(t, state, "audit", "verify", dir, "--json")
	var rep struct {
		Log        string
		Last       int
		Closed     bool
		Checkpoint string
	}
	if err := json.Unmarshal([]byte(o.out), &rep); err != nil || rep.Last != 5 || !rep.Closed || rep.Checkpoint == "" {
		t.Fatalf("%v: %s", err, o.out)
	}
	lines, err := os.ReadFile(filepath.Join(dir, "00000000000000000001.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.Decode(bytes.Split(lines, []byte("\n"))[2])
	if err != nil || r.Kind != audit.KindVerdict || len(r.Components) != 13 {
		t.Fatalf("%v: %+v", err, r)
	}
	if o := assize(t, state, "audit", "show", dir, "--session", r.Session); o.code != 0 || strings.Count(o.out, "gpu/0") != 2 || strings.Contains(o.out, "checkpoint") {
		t.Errorf("exit %d: %s", o.code, o.out)
	}
	if o := assize(t, state, "audit", "show", dir, "--json"); o.out != string(lines) {
		t.Errorf("exit %d: %s", o.code, o.out)
	}
	kept := write(t, "kept.jws", []byte(rep.Checkpoint+"\n"))
	keys := write(t, "keys.json", []byte(assize(t, state, "keys", "jwks", "--only", "lead").out))
	cut := write(t, "cut.jsonl", lines[:bytes.LastIndexByte(lines[:len(lines)-1], '\n')+1])
	forged := write(t, "forged.jsonl", bytes.Replace(lines, []byte(`"tier":"warning"`), []byte(`"tier":"affirming"`), 1))
	other := t.TempDir()
	if o := assize(t, other, "keys", "new", "lead"); o.code != 0 {
		t.Fatal(o.err)
	}
	for name, x := range map[string]struct {
		state string
		args  []string
		code  int
		words string
	}{
		"other place":   {t.TempDir(), []string{"verify", dir, "--keys", keys, "--kept", kept}, 0, "verified"},
		"no keys":       {t.TempDir(), []string{"verify", dir}, exitUsage, "--keys"},
		"other keys":    {other, []string{"verify", dir}, exitFailed, "not among those"},
		"forged":        {state, []string{"verify", forged}, exitFailed, "changed"},
		"cut":           {state, []string{"verify", cut, "--kept", kept}, 0, "records 1 to 4"},
		"nothing":       {state, []string{"verify", t.TempDir()}, exitFailed, "no file of a log"},
		"empty kept":    {state, []string{"verify", dir, "--kept", ""}, exitUsage, "without a value"},
		"no session":    {state, []string{"show", dir, "--session", "none"}, exitFailed, "no record"},
		"not a log":     {state, []string{"show", keys}, exitFailed, "form"},
		"nothing there": {state, []string{"export"}, exitFailed, "audit/file"}, // appraise is no service
		"no command":    {state, []string{"frob"}, exitUsage, "sub-command"},
	} {
		o := assize(t, x.state, append([]string{"audit"}, x.args...)...)
		if o.code != x.code || !strings.Contains(o.out+o.err, x.words) {
			t.Errorf("%s: exit %d: %s%s", name, o.code, o.out, o.err)
		}
	}
	for _, c := range newAudit(&globals{}).Commands() {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
	}
}

// Where records go when nothing, or something, is said.
func TestAuditStoreOfARole(t *testing.T) {
	serve, once, verifier := role{lead: true}, role{lead: true, oneShot: true}, role{}
	for name, x := range map[string]struct {
		store    string
		required bool
		r        role
		want     string
	}{
		"service": {"", false, serve, "file"}, "one appraisal": {"", false, once, "off"}, "one, required": {"", true, once, "file"}, "verifier": {"", false, verifier, "off"},
		"verifier, told to": {"file", false, verifier, "file"}, "verifier, required": {"", true, verifier, "file"},
		"service in jetstream": {"jetstream", false, serve, "jetstream"}, "one, told to": {"file", false, once, "file"}, "off": {"off", false, serve, "off"},
	} {
		s := &stack{config: config.Config{Audit: config.Audit{Store: x.store, Required: x.required}}}
		if got := s.auditStore(x.r); got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
	s := &stack{log: slog.New(slog.DiscardHandler), config: config.Config{Audit: config.Audit{Store: "jetstream", Required: true}, Fabric: config.Fabric{Mode: "embedded"}}}
	if _, err := s.openAudit(t.Context(), once, nil); err == nil {
		t.Error("records are required and kept nowhere")
	}
}

// What a service adds is signed soon, and the checkpoint is in its own log.
func TestAuditorSignsSoon(t *testing.T) {
	state := t.TempDir()
	var out bytes.Buffer
	s := &stack{keys: newKeystore(state), log: slog.New(slog.NewTextHandler(&out, nil)), config: config.Config{
		StateDir: state, Audit: config.Audit{Store: "file", CheckpointEvery: 100, CheckpointAfter: 10 * time.Millisecond},
	}}
	signer, err := s.keys.load(leadKey)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.openAudit(t.Context(), role{name: "serve", lead: true}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Record(t.Context(), audit.Event{Kind: audit.KindNoVerdict, Error: "error"}); err != nil {
		t.Fatal(err)
	}
	waits := func() bool {
		own := a.(*auditor)
		own.mu.Lock()
		defer own.mu.Unlock()
		return own.newest != "" || own.timer != nil
	}
	for end := time.Now().Add(5 * time.Second); waits() || a.(*auditor).log.Open() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not signed")
		}
	}
	if err := s.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.Record(t.Context(), audit.Event{Kind: audit.KindNoVerdict}) == nil {
		t.Error("recorded after the end")
	}
	if n := strings.Count(out.String(), `msg="audit checkpoint"`); n != 2 {
		t.Errorf("%d checkpoints shown: %s", n, out.String())
	}
	if o := assize(t, state, "audit", "verify", auditDir(state, "serve")); o.code != 0 {
		t.Error(o.err)
	}
}
