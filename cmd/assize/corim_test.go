// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/corim"
)

// acmeDocument is a document about ACME's module, signed with key unless that is
// nil.
func acmeDocument(t *testing.T, id, vendor string, key ed25519.PrivateKey) []byte {
	t.Helper()
	raw, err := corim.Encode(&corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
		Identity: corim.TagIdentity{ID: corim.ID{Text: id + "-tag"}},
		Reference: []corim.ValueTriple{{
			Environment:  corim.Environment{Class: corim.Class{Vendor: vendor, Model: id}},
			Measurements: []corim.Measurement{{Key: corim.NumberKey(1), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA256, Value: make([]byte, 32)}}}}},
		}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	if key == nil {
		return raw
	}
	meta, err := cbor.Marshal(map[int]any{0: map[int]any{0: "ACME release team"}})
	if err != nil {
		t.Fatal(err)
	}
	m := cose.NewSign1Message()
	m.Payload = raw
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmEdDSA)
	m.Headers.Protected[cose.HeaderLabelContentType] = corim.MediaTypeUnsigned
	m.Headers.Protected[int64(8)] = meta
	m.Headers.Protected[cose.HeaderLabelKeyID] = []byte("key-1")
	s, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Sign(rand.Reader, nil, s); err != nil {
		t.Fatal(err)
	}
	if raw, err = m.MarshalCBOR(); err != nil {
		t.Fatal(err)
	}
	return raw
}

// acme is an authority: its key, and the file of authorities with it.
func acme(t *testing.T) (ed25519.PrivateKey, string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"kind":"assize-corim-trust","authorities":[{"name":"ACME","profiles":[""],"scopes":[{"vendor":"ACME"}],
		"keys":{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"key-1","x":%q}]}}]}`, base64.RawURLEncoding.EncodeToString(pub))
	return key, write(t, "authorities.json", []byte(text))
}

func idOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func TestCorimCommands(t *testing.T) {
	key, authorities := acme(t)
	state := t.TempDir()
	configFile := write(t, "c.yaml", []byte("corim: {trust: "+authorities+"}\n"))
	corimCommand := func(args ...string) outcome {
		t.Helper()
		return assize(t, state, append([]string{"--config", configFile, "corim"}, args...)...)
	}
	a, b := acmeDocument(t, "A", "ACME", key), acmeDocument(t, "B", "ACME", key)
	fileA, fileB := write(t, "a.corim", a), write(t, "b.corim", b)
	foreign, plainFile := write(t, "f.corim", acmeDocument(t, "F", "Other", key)), write(t, "p.corim", acmeDocument(t, "P", "ACME", nil))

	// One that is refused keeps all from being written.
	if o := corimCommand("add", fileA, foreign, plainFile); o.code != exitFailed || !strings.Contains(o.err, "beyond what the authority") || !strings.Contains(o.err, "not signed") {
		t.Errorf("%d %s", o.code, o.err)
	}
	if o := corimCommand("list"); o.code != 0 || !strings.HasPrefix(o.out, "0 documents") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	if o := corimCommand("add", fileA, fileB); o.code != 0 || !strings.Contains(o.out, idOf(a)+"  active  A  by ACME") {
		t.Fatalf("%d %s %s", o.code, o.out, o.err)
	}
	o := corimCommand("list", "--json")
	var list api.CorimList
	if err := json.Unmarshal([]byte(o.out), &list); err != nil || len(list.Corims) != 2 || len(list.Revision) != 64 || list.Stale {
		t.Errorf("%v %s", err, o.out)
	}
	for _, what := range []string{idOf(a), idOf(a)[:8], fileA} {
		o := corimCommand("show", what)
		if o.code != 0 || !strings.Contains(o.out, idOf(a)) || !strings.Contains(o.out, "1 reference-triples") || !strings.Contains(o.out, "ACME release team") ||
			strings.Contains(o.out, "not checked") != (what == fileA) {
			t.Errorf("%s: %d %s %s", what, o.code, o.out, o.err)
		}
	}
	if o := corimCommand("show", idOf(a)[:8], "--json"); !json.Valid([]byte(o.out)) || !strings.Contains(o.out, `"authority": "ACME"`) {
		t.Errorf("%s %s", o.out, o.err)
	}
	if o := corimCommand("show", idOf(a), "--raw"); o.out != string(a) {
		t.Error("not the document as it was received")
	}
	// What was put there by hand does not count, and is shown.
	strange := filepath.Join(state, "corim", "notes.txt")
	if err := os.WriteFile(strange, []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := corimCommand("list"); !strings.Contains(o.out, "notes.txt  bad  ") || !strings.Contains(o.out, "3 documents") {
		t.Errorf("%s", o.out)
	}
	if o := corimCommand("rm", "notes.txt", idOf(b)[:10]); o.code != 0 {
		t.Errorf("%d %s", o.code, o.err)
	}
	if o := corimCommand("list"); strings.Contains(o.out, "notes") || !strings.Contains(o.out, "1 documents") {
		t.Errorf("%s", o.out)
	}
	for name, args := range map[string][]string{"unknown": {"rm", idOf(b)}, "short": {"show", idOf(a)[:5]}, "no file": {"add", "nothing.corim"}} {
		if o := corimCommand(args...); o.code != exitFailed {
			t.Errorf("%s: %d", name, o.code)
		}
	}
	for name, args := range map[string][]string{"nothing": nil, "no files": {"add"}, "no ids": {"rm"}, "two": {"show", "a", "b"}, "empty": {"verify", fileA, "--trust", ""}, "time": {"verify", fileA, "--at", "now"}} {
		if o := corimCommand(args...); o.code != exitUsage {
			t.Errorf("%s: %d", name, o.code)
		}
	}
	for _, text := range []string{"corim: {store: off}", "corim: {store: jetstream}"} {
		if o := assize(t, state, "--config", write(t, "c.yaml", []byte(text)), "corim", "list"); o.code != exitFailed || !strings.Contains(o.err, "corim.store") {
			t.Errorf("%s: %d %s", text, o.code, o.err)
		}
	}
}

func TestCorimVerify(t *testing.T) {
	key, authorities := acme(t)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, forged := write(t, "a.corim", acmeDocument(t, "A", "ACME", key)), write(t, "b.corim", acmeDocument(t, "A", "ACME", stranger))
	unsigned := write(t, "c.corim", acmeDocument(t, "C", "ACME", nil))
	state := t.TempDir()
	for name, v := range map[string]struct {
		code int
		says string
		args []string
	}{
		"good":             {0, "verified: ", []string{good, "--trust", authorities}},
		"as JSON":          {0, `"authority": "ACME"`, []string{good, "--trust", authorities, "--json"}},
		"forged":           {exitFailed, "signature is wrong", []string{good, forged, "--trust", authorities}},
		"unsigned":         {exitFailed, "not signed", []string{unsigned, "--trust", authorities}},
		"unsigned allowed": {0, "nobody, unsigned", []string{unsigned, "--unsigned"}},
		"no trust":         {exitUsage, "--trust", []string{good}},
		"other file":       {exitFailed, "authorities", []string{good, "--trust", good}},
	} {
		o := assize(t, state, append([]string{"corim", "verify"}, v.args...)...)
		if o.code != v.code || !strings.Contains(o.out+o.err, v.says) {
			t.Errorf("%s: %d %s %s", name, o.code, o.out, o.err)
		}
	}
	if entries, err := os.ReadDir(state); err != nil || len(entries) > 0 {
		t.Errorf("something was written: %v %v", entries, err)
	}
}

func TestCorimHelp(t *testing.T) {
	for _, c := range newCorim(&globals{}).Commands() {
		if o := assize(t, t.TempDir(), "corim", c.Name(), "--help"); o.code != 0 || c.Example == "" || !strings.Contains(o.out, "Examples:") {
			t.Errorf("%s: %d %s", c.Name(), o.code, o.out)
		}
	}
}

// A service imports documents at start, gives them to its verifiers, shows them
// as metrics and is not ready without a set that is current.
func TestServiceReferences(t *testing.T) {
	key, authorities := acme(t)
	imports := t.TempDir()
	raw := acmeDocument(t, "A", "ACME", key)
	for name, content := range map[string][]byte{"a.corim": raw, "notes.txt": []byte("no"), "f.corim": acmeDocument(t, "F", "Other", key)} {
		if err := os.WriteFile(filepath.Join(imports, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, kept := range []string{"folder", "jetstream"} {
		c, err := config.Load(write(t, "c.yaml", []byte(fmt.Sprintf("corim: {store: %s, import: %s, trust: %s}\nstate_dir: %s\n", kept, imports, authorities, t.TempDir()))), nil)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s, err := start(context.Background(), c, slog.New(slog.NewTextHandler(&log, nil)), role{name: "serve", lead: true}, "")
		if err != nil {
			t.Fatal(err)
		}
		x, err := s.references().Snapshot(time.Now())
		if err != nil || len(x.Documents()) != 1 || !bytes.Equal(x.Documents()[0].Raw, raw) {
			t.Errorf("%s: %v", kept, err)
		}
		if err := s.ready(context.Background()); err != nil {
			t.Errorf("%s: %v", kept, err)
		}
		reader := metric.NewManualReader()
		reg, err := s.observeCorims(metric.NewMeterProvider(metric.WithReader(reader)))
		if err != nil {
			t.Fatal(err)
		}
		var rm metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &rm); err != nil {
			t.Fatal(err)
		}
		if n := len(rm.ScopeMetrics[0].Metrics); n != 5 {
			t.Errorf("%s: %d metrics", kept, n)
		}
		if err := reg.Unregister(); err != nil {
			t.Error(err)
		}
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"notes.txt", "f.corim"} {
			if !strings.Contains(log.String(), name) {
				t.Errorf("%s: the log does not name %s", kept, name)
			}
		}
	}
}

// The address of a flag is checked like that of the configuration.
func TestCorimWritesOfEverybody(t *testing.T) {
	configFile := write(t, "c.yaml", []byte("corim: {http_writes: true}\n"))
	if o := assize(t, t.TempDir(), "--config", configFile, "serve", "--listen", "0.0.0.0:0"); o.code != exitFailed || !strings.Contains(o.err, "client_ca") {
		t.Errorf("%d %s", o.code, o.err)
	}
}
