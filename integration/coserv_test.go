// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/api"
	"github.com/assize/assize/attester"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/coserv"
	client "github.com/assize/assize/endorsements/coserv"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// documents are an index, as the service that hands them out has it.
type documents struct{ index *corim.Index }

func (d documents) Snapshot(time.Time) (*corim.Index, error) { return d.index, nil }

type nobody struct{}

func (nobody) Appraise(context.Context, orchestrator.Request) (*verdict.Result, error) {
	return nil, orchestrator.ErrRequest
}

// vendorDocuments are the reference values of a simulated machine, and who is
// believed.
func vendorDocuments(t *testing.T, now time.Time) (*corim.Index, *corim.Trust) {
	t.Helper()
	d, ok := attester.BuiltIn("hgx")
	if !ok {
		t.Fatal("no such machine")
	}
	m, err := attester.New(attester.Options{Machine: d, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	file, err := m.ReferenceTrust()
	if err != nil {
		t.Fatal(err)
	}
	authorities, err := corim.ParseTrust(file)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := corim.NewTrust(authorities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.SignedReferenceValues()
	if err != nil {
		t.Fatal(err)
	}
	var docs []*corim.Document
	for name, raw := range files {
		doc, err := corim.Load(raw, corim.Options{Trust: trusted, Now: now})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		docs = append(docs, doc)
	}
	x, err := corim.NewIndex(docs...)
	if err != nil || len(docs) < 3 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	return x, trusted
}

// distribution serves documents, and returns as whom it is believed.
func distribution(t *testing.T, x *corim.Index, now time.Time) (*httptest.Server, corim.Authority) {
	t.Helper()
	signer, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(api.Options{
		Appraiser: nobody{}, JWKS: func() ([]byte, error) { return nil, nil }, Ready: func(context.Context) error { return nil },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		CoSERV: &api.CoSERV{
			References: documents{x}, Key: signer.Handle(), KID: signer.KID(), Random: rand.Reader,
			Lifetime: time.Hour, Now: func() time.Time { return now }, Version: "1.0.0",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv, corim.Authority{
		Name: "distributor", Keys: []corim.SigningKey{{ID: []byte(signer.KID()), Public: signer.Handle().Public()}},
		Profiles: []string{corim.AnyProfile, corim.NoProfile}, Scopes: []corim.Environment{{}},
	}
}

// TestCoservMatchesAsTheDocumentsDo: whoever fetches the reference values of a
// component comes to the same result as who has all documents, in the name of the
// vendor by source artifacts, and in that of the service by collected ones.
func TestCoservMatchesAsTheDocumentsDo(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	x, trusted := vendorDocuments(t, now)
	srv, by := distribution(t, x, now)
	c, err := client.New(client.Options{
		URL: srv.URL, Client: srv.Client(), Now: func() time.Time { return now }, Service: by, Trust: trusted,
	})
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for a := range x.Active(now) {
		for i, triple := range a.Comid.Reference {
			q := coserv.Query{Artifacts: coserv.ReferenceValues, Environments: coserv.Environments{Classes: []coserv.ClassSelector{{Class: triple.Environment.Class}}}}
			query := corim.Query{Environments: []corim.Environment{triple.Environment}, Measurements: triple.Measurements, Time: now}
			all := x.Match(query)
			for _, q.Results = range []coserv.ResultType{coserv.SourceArtifacts, coserv.Collected, coserv.Both} {
				name := fmt.Sprintf("%s, triple %d, %s", a.Document.ID, i, q.Results)
				r, err := c.Fetch(t.Context(), a.Document.Profile, q)
				if err != nil || len(r.Refused) > 0 {
					t.Fatalf("%s: %v %v", name, r, err)
				}
				fetched, err := corim.NewIndex(r.Documents...)
				if err != nil {
					t.Fatal(err)
				}
				got := fetched.Match(query)
				if got.Worst() != all.Worst() || got.Candidates != all.Candidates {
					t.Errorf("%s: %s of %d, and %s of %d with all documents", name, got.Worst(), got.Candidates, all.Worst(), all.Candidates)
				}
				for _, d := range r.Documents {
					if want := map[bool]string{true: by.Name, false: a.Document.Authority.Name}[q.Results == coserv.Collected]; d.Authority.Name != want {
						t.Errorf("%s: in the name of %q, want %q", name, d.Authority.Name, want)
					}
				}
				compared++
			}
		}
	}
	if compared < 9 {
		t.Errorf("only %d comparisons", compared)
	}
}

// TestCoservCommands: what one process serves another one fetches, and adds to
// its own store.
func TestCoservCommands(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	machine := filepath.Join(dir, "machine")
	output(t, state, "simulate", "--machine", "cpu-gpu", "--nonce", "00112233445566778899aabbccddeeff", "-o", machine)
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("corim:\n  import: %s\n  trust: %s\ncoserv:\n  enabled: true\n  lifetime: 5m\n",
		filepath.Join(machine, "reference-values"), filepath.Join(machine, "corim-trust.json"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, url := serve(t, state, "--config", config)
	_, jwks := get(t, url+"/.well-known/jwks.json")
	keys := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(keys, jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	code, raw := do(t, "GET", url+coserv.DiscoveryPath, coserv.TypeDiscoveryJSON, nil)
	discovery, err := coserv.ParseDiscovery(coserv.TypeDiscoveryJSON, raw)
	if code != 200 || err != nil || len(discovery.Capabilities) == 0 {
		t.Fatalf("%d %s, %v", code, raw, err)
	}
	_, profile, err := coserv.ParseMediaType(discovery.Capabilities[0].MediaType)
	if err != nil {
		t.Fatal(err)
	}
	fetched := filepath.Join(dir, "fetched")
	query := []string{
		"corim", "query", "--url", url, "--keys", keys, "--profile", profile, "--vendor", "NVIDIA",
		"--trust", filepath.Join(machine, "corim-trust.json"), "--result", "both",
	}
	code, out := status(t, append(query, "-o", fetched, "--json")...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	var result struct {
		Expiry     time.Time
		Statements []struct{ Kind, Environment string }
		Documents  []struct{ Authority, Reason string }
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Statements) == 0 || len(result.Documents) != 1 || result.Documents[0].Authority == "" || time.Until(result.Expiry) > 5*time.Minute {
		t.Errorf("%s", out)
	}
	if code, out := status(t, append(query, "--model", "nothing")...); code != 0 || !strings.Contains(out, "0 statements, 0 documents") {
		t.Errorf("nothing known: exit %d: %s", code, out)
	}
	// The documents are the vendor's, and go into another store as such.
	files, err := filepath.Glob(filepath.Join(fetched, "*.corim"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	other := filepath.Join(dir, "other.yaml")
	if err := os.WriteFile(other, []byte("corim:\n  trust: "+filepath.Join(machine, "corim-trust.json")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := t.TempDir()
	output(t, elsewhere, "corim", "add", files[0], "--config", other)
	if out := output(t, elsewhere, "corim", "list", "--config", other); !strings.Contains(string(out), "1 documents") {
		t.Errorf("%s", out)
	}
	// Another key, and none.
	strange := filepath.Join(dir, "strange.json")
	if err := os.WriteFile(strange, output(t, t.TempDir(), "keys", "jwks"), 0o600); err != nil {
		t.Fatal(err)
	}
	query[5] = strange
	if code, out := status(t, query...); code != 1 || !strings.Contains(out, "not signed with a trusted key") {
		t.Errorf("another key: exit %d: %s", code, out)
	}
	if code, out := status(t, "corim", "query", "--url", url, "--vendor", "NVIDIA"); code != 2 {
		t.Errorf("no key: exit %d: %s", code, out)
	}
}

// TestCoservIsOffByDefault: nobody gets reference values unless that is wanted.
func TestCoservIsOffByDefault(t *testing.T) {
	_, url := serve(t, t.TempDir())
	if code, raw := get(t, url+coserv.DiscoveryPath); code != 404 {
		t.Errorf("%d %s", code, raw)
	}
}
