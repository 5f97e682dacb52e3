// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester"
)

// site is one node of a federation on an external NATS: a folder of keys and a
// configuration that says who it is and whom it knows.
type site struct {
	name, state, config, file string
}

// federate makes the configurations of nodes that all know each other. The
// first is the entry.
func federate(t *testing.T, url string, names ...string) []site {
	t.Helper()
	dir := t.TempDir()
	sites := make([]site, len(names))
	for i, name := range names {
		s := site{name: name, state: filepath.Join(dir, name), config: filepath.Join(dir, name+".yaml"), file: filepath.Join(dir, name+".node.json")}
		must(t, os.WriteFile(s.config, []byte("node: {name: "+name+"}\n"), 0o600))
		must(t, os.WriteFile(s.file, output(t, s.state, "keys", "node", "--config", s.config), 0o600))
		sites[i] = s
	}
	for _, s := range sites {
		var peers []string
		for _, other := range sites {
			if other.name != s.name {
				peers = append(peers, other.file)
			}
		}
		text := fmt.Sprintf("fabric: {mode: external, urls: [%q], site: %s}\nnode: {name: %s, peers: [%s]}\n", url, s.name, s.name, strings.Join(peers, ", "))
		must(t, os.WriteFile(s.config, []byte(text), 0o600))
	}
	return sites
}

// componentsOf is what a verdict says about each component, without what
// differs from run to run.
func componentResults(t *testing.T, raw []byte) string {
	t.Helper()
	var v struct {
		Components map[string]struct {
			Tier        string           `json:"tier"`
			Scheme      string           `json:"scheme"`
			TrustVector map[string]int   `json:"trust_vector"`
			Freshness   string           `json:"freshness"`
			Reasons     []map[string]any `json:"reasons"`
			Claims      map[string]any   `json:"claims"`
		} `json:"components"`
	}
	must(t, json.Unmarshal(raw, &v))
	out, err := json.Marshal(v)
	must(t, err)
	return string(out)
}

// appraiseAs runs one appraisal at a node of the federation.
func appraiseAs(t *testing.T, s site, dir, nonce, topology string, more ...string) (int, []byte) {
	t.Helper()
	args := []string{
		"appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", nonce, "--topology", topology, "-o", "json",
		"--trust", filepath.Join(dir, "trust.json"), "--endorsements", filepath.Join(dir, "endorsements"), "--log-level", "error", "--state-dir", s.state,
	}
	code, out := status(t, append(args, more...)...)
	return code, []byte(out)
}

// One composite gives the same component results under every topology, in one
// process and across nodes that are processes on an external NATS.
func TestTopologiesAcrossProcesses(t *testing.T) {
	leisurely(t)
	url := natsServer(t)
	sites := federate(t, url, "entry", "vendor-a", "vendor-b")
	machine := filepath.Join(t.TempDir(), "hgx")
	const nonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	output(t, sites[0].state, "simulate", "--machine", "hgx", "--nonce", nonce, "-o", machine)
	for _, s := range sites[1:] {
		withCollateral(t, s, machine)
		serve(t, s.state, "--config", s.config, "--trust", filepath.Join(machine, "trust.json"))
	}
	alone := site{state: filepath.Join(t.TempDir(), "alone")}
	code, raw := appraiseAs(t, alone, machine, nonce, "lead(cpu, gpu, switch)")
	if code != 3 {
		t.Fatalf("in one process: %d %s", code, raw)
	}
	want := componentResults(t, raw)
	for _, topology := range []string{
		"cascade(cpu, gpu/*, switch/*)",
		"parallel(cpu, gpu, switch)",
	} {
		if code, raw := appraiseAs(t, alone, machine, nonce, topology); code != 3 || componentResults(t, raw) != want {
			t.Errorf("%s in one process: %d\n%s\nwant\n%s", topology, code, componentResults(t, raw), want)
		}
	}
	for _, topology := range []string{
		"lead(cpu, gpu@vendor-a, switch@vendor-b)",
		"lead(cpu, lead(gpu)@vendor-a, lead(switch)@vendor-b)",
		"cascade(cpu, gpu/*@vendor-a, switch/*@vendor-b)",
		"lead(cpu, cascade(gpu@vendor-a, switch@vendor-b))",
		"lead(cpu, lead(gpu, cascade(switch@vendor-b))@vendor-a)",
		"parallel(cpu, parallel(gpu, switch)@vendor-b)",
	} {
		// The CPU stays with the entry, which is this process.
		code, raw := appraiseAs(t, sites[0], machine, nonce, topology, "--config", sites[0].config)
		if code != 3 || componentResults(t, raw) != want {
			t.Errorf("%s across processes: %d\n%s\nwant\n%s", topology, code, raw, want)
		}
	}
}

// A node that is killed costs its own components, with a reason, and in time.
func TestKilledNode(t *testing.T) {
	url := natsServer(t)
	sites := federate(t, url, "entry", "vendor-a", "vendor-b")
	machine := filepath.Join(t.TempDir(), "hgx")
	const nonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	output(t, sites[0].state, "simulate", "--machine", "hgx", "--nonce", nonce, "-o", machine)
	trust := filepath.Join(machine, "trust.json")
	serve(t, sites[1].state, "--config", sites[1].config, "--trust", trust)
	b, _ := serve(t, sites[2].state, "--config", sites[2].config, "--trust", trust)
	b.kill(t)
	began := time.Now()
	code, raw := appraiseAs(t, sites[0], machine, nonce, "cascade(cpu, gpu@vendor-a, switch@vendor-b)", "--config", sites[0].config)
	if took := time.Since(began); code != 5 || took > 15*time.Second {
		t.Errorf("%d after %s", code, took)
	}
	var v struct {
		Components map[string]struct {
			Tier    string           `json:"tier"`
			Reasons []map[string]any `json:"reasons"`
		} `json:"components"`
	}
	must(t, json.Unmarshal(raw, &v))
	for label, c := range v.Components {
		want := "warning"
		if strings.HasPrefix(label, "switch/") {
			want = "none"
		}
		if c.Tier != want || len(c.Reasons) == 0 {
			t.Errorf("%s is %s: %v", label, c.Tier, c.Reasons)
		}
	}
	if !slices.Contains(attester.BuiltIns(), "hgx") || len(v.Components) != 13 {
		t.Errorf("%d components", len(v.Components))
	}
}
