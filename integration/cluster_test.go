// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// sameShapes are the topologies that have to come to the same results: the three
// plain ones and three nested hybrids. CPU, GPU and SWITCH stand for the places.
var sameShapes = []string{
	"lead(cpu@CPU, gpu@GPU, switch@SWITCH)",
	"cascade(cpu@CPU, gpu/*@GPU, switch/*@SWITCH)",
	"parallel(cpu@CPU, gpu@GPU, switch@SWITCH)",
	"lead(cpu@CPU, cascade(gpu@GPU, switch@SWITCH))",
	"parallel(cpu@CPU, lead(gpu, cascade(switch@SWITCH))@GPU)",
	"lead(cpu@CPU, parallel(lead(gpu)@GPU, lead(switch)@SWITCH))",
}

// hgxResults is what each of the thirteen components of the simulated machine
// is worth, whatever the topology and wherever it is judged. Nobody gives
// reference values for the software of the CPU, so a warning is the best that it
// gets; NVIDIA's manifests for its devices are among the endorsements.
func hgxResults() map[evidence.Path]string {
	want := map[evidence.Path]string{"cpu": "intel-tdx warning fresh"}
	for i := range 8 {
		want[evidence.Path(fmt.Sprint("gpu/", i))] = "nvidia-gpu affirming fresh"
	}
	for i := range 4 {
		want[evidence.Path(fmt.Sprint("switch/", i))] = "nvidia-nvswitch affirming fresh"
	}
	return want
}

// placeOfTrial is where a composite is appraised: who is asked what, and how
// the entry is reached.
type placeOfTrial struct {
	name    string
	entry   site
	config  func(run int) string // of the entry; nil for none
	express func(shape string) string
	judge   func(evidence.Path) string // name of the site whose keys must have signed
	anchors map[string]*trust.Anchors  // of each site
	lead    *trust.Anchors             // of the entry
}

// One composite, the same bytes, gives the same component results under every
// topology in one process, in five processes on a cluster of three NATS servers,
// and across two accounts and a leaf node.
func TestSameResultsEverywhere(t *testing.T) {
	leisurely(t)
	f := startNATSFederation(t, nil)
	entryFiles := "endorsements: " + filepath.Join(f.machine, "endorsements") + "\n"
	for _, name := range []string{"vendor-a", "vendor-b"} {
		raw, err := os.ReadFile(f.nodes[name].config)
		must(t, err)
		must(t, os.WriteFile(f.nodes[name].config, append(raw, entryFiles...), 0o600))
		f.serve(t, name)
	}
	five := startFive(t, f)
	places := []placeOfTrial{alonePlace(t), five.place(t), accountsPlace(t, f)}
	raw, err := os.ReadFile(filepath.Join(f.machine, "evidence.cmw"))
	must(t, err)
	tree, err := evidence.Parse(raw, evidence.Options{})
	must(t, err)
	set, err := all.Set()
	must(t, err)
	seen := map[string][]string{} // result of all components to where it came out
	for _, p := range places {
		for i, shape := range sameShapes {
			expr := p.express(shape)
			res := p.appraise(t, f.machine, expr, i)
			if res == nil {
				continue
			}
			p.check(t, res, set, tree, expr)
			text := everythingOf(t, res)
			seen[text] = append(seen[text], p.name+": "+expr)
		}
	}
	if len(seen) != 1 {
		for text, where := range seen {
			t.Errorf("%s:\n%s", strings.Join(where, "\n"), text)
		}
	}
	five.checkSpread(t)
}

// appraise has the composite appraised by a process of its own, and verifies
// the verdict as a relying party that trusts the sites of this place.
func (p placeOfTrial) appraise(t *testing.T, machine, expr string, run int) *verdict.Result {
	t.Helper()
	more := []string{"-o", "ear"}
	if p.config != nil {
		more = append(more, "--config", p.config(run))
	}
	code, raw := appraiseAs(t, p.entry, machine, federationNonce, expr, more...)
	if code != 3 {
		t.Errorf("%s: %s: %d %s", p.name, expr, code, raw)
		return nil
	}
	sets := []*trust.Anchors{p.lead}
	for _, a := range p.anchors {
		sets = append(sets, a)
	}
	anchors, err := trust.Merge(sets...)
	must(t, err)
	res, err := verdict.VerifyResult([]byte(strings.TrimSpace(string(raw))), verdict.Intake{Now: time.Now()}, anchors)
	if err != nil {
		t.Errorf("%s: %s: %v", p.name, expr, err)
		return nil
	}
	return res
}

// check holds a verdict to what is known without any run: the table of results,
// the evidence that went in, and who was to judge what.
func (p placeOfTrial) check(t *testing.T, res *verdict.Result, set *verifiers.Set, tree *evidence.Tree, expr string) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Errorf("%s: %s: %s", p.name, expr, fmt.Sprintf(format, args...))
	}
	want, err := topologies.Parse(expr)
	must(t, err)
	nonce, err := hex.DecodeString(federationNonce)
	must(t, err)
	for what, err := range map[string]error{
		"recheck": orchestrator.Recheck(res, set), "evidence": orchestrator.RecheckEvidence(res, set, tree),
		"topology": orchestrator.RecheckTopology(res, want),
	} {
		if err != nil {
			fail("%s: %v", what, err)
		}
	}
	if !res.HasNonce(nonce) || res.Outcome.Tier != verdict.TierWarning {
		fail("nonce %x, %s: %v", res.Nonce, res.Outcome.Tier, res.Outcome.Reasons)
	}
	table := hgxResults()
	for _, c := range res.Components {
		if c.Partial.IsZero() {
			fail("%s has no result: %v", c.Label, c.Reasons)
			continue
		}
		got := fmt.Sprint(c.Partial.Scheme(), " ", c.Tier(), " ", c.Partial.Appraisal().Freshness)
		if got != table[c.Label] {
			fail("%s: %s, want %s", c.Label, got, table[c.Label])
		}
		delete(table, c.Label)
		_, kid := c.Partial.Verifier()
		if !holds(p.anchors[p.judge(c.Label)], kid, c.Scheme) {
			fail("%s was not judged by %s", c.Label, p.judge(c.Label))
		}
	}
	if len(table) > 0 {
		fail("nothing about %v", table)
	}
}

// holds: the key is one of these, and for this scheme.
func holds(a *trust.Anchors, kid, scheme string) bool {
	return a != nil && slices.ContainsFunc(a.Keys(), func(k trust.Key) bool {
		return k.KID == kid && slices.Equal(k.Schemes, []string{scheme}) && slices.Equal(k.Roles, []trust.Role{trust.RoleVerifier})
	})
}

// everythingOf is all that a verdict says about components, what binds them and
// the whole, but for times, identifiers of requests, and who signed.
func everythingOf(t *testing.T, res *verdict.Result) string {
	t.Helper()
	type result struct {
		Label, Scheme, MediaType, Class, NonceRule, Policy string
		Required                                           bool
		Tier, Status                                       string
		Vector                                             verdict.Vector
		Freshness                                          verdict.Freshness
		Nonce, NonceSeen                                   []byte
		Evidence                                           [sha256.Size]byte
		Reasons, Own                                       []verdict.Reason
		Claims                                             map[string]any
		Facts                                              verdict.Facts
		Verifier                                           verdict.Identity
	}
	var out struct {
		Components []result
		Bindings   []verdict.Binding
		Caps       []verdict.Cap
		Outcome    verdict.Outcome
		Composite  [sha256.Size]byte
	}
	for _, c := range res.Components {
		r := result{Label: string(c.Label), Scheme: c.Scheme, Class: c.Class, Required: c.Required, Tier: c.Tier().String(), Own: c.Reasons}
		if !c.Partial.IsZero() {
			a := c.Partial.Appraisal()
			r.MediaType, r.NonceRule, r.Policy = c.Partial.MediaType(), c.Partial.NonceRule(), a.PolicyID
			r.Status, r.Vector, r.Freshness = c.Partial.Status().String(), a.Vector, a.Freshness
			r.Nonce, r.NonceSeen, r.Evidence = c.Partial.Nonce(), a.NonceSeen, c.Partial.Evidence()
			r.Reasons, r.Claims, r.Facts = a.Reasons, a.Claims, a.Facts
			r.Verifier, _ = c.Partial.Verifier()
		}
		out.Components = append(out.Components, r)
	}
	out.Bindings, out.Caps, out.Outcome, out.Composite = res.Bindings, res.Caps, res.Outcome, res.Composite
	raw, err := json.MarshalIndent(out, "", " ")
	must(t, err)
	return string(raw)
}

// alonePlace is one process with everything in it.
func alonePlace(t *testing.T) placeOfTrial {
	t.Helper()
	s := site{state: filepath.Join(t.TempDir(), "alone")}
	keys, err := trust.ParseJWKS(output(t, s.state, "keys", "jwks"))
	must(t, err)
	var own []trust.Key
	for _, k := range keys.Keys() {
		if slices.Equal(k.Roles, []trust.Role{trust.RoleVerifier}) {
			own = append(own, k)
		}
	}
	verifying, err := trust.NewAnchors(own...)
	must(t, err)
	placed := regexp.MustCompile("@[A-Z]+")
	return placeOfTrial{
		name: "one process", entry: s, anchors: map[string]*trust.Anchors{"alone": verifying}, lead: leadOf(t, s),
		express: func(shape string) string { return placed.ReplaceAllString(shape, "") },
		judge:   func(evidence.Path) string { return "alone" },
	}
}

// accountsPlace has the entry and vendor A in two accounts of a hub, and vendor B
// at a leaf node of it.
func accountsPlace(t *testing.T, f *natsFederation) placeOfTrial {
	t.Helper()
	p := placeOfTrial{
		name: "two accounts and a leaf node", entry: f.nodes["entry"], anchors: map[string]*trust.Anchors{}, lead: leadOf(t, f.nodes["entry"]),
		config:  func(int) string { return f.nodes["entry"].config },
		express: strings.NewReplacer("@CPU", "", "@GPU", "@vendor-a", "@SWITCH", "@vendor-b").Replace,
		judge: func(label evidence.Path) string {
			return map[string]string{"cpu": "entry", "gpu": "vendor-a", "switch": "vendor-b"}[kindOf(label)]
		},
	}
	for name, s := range f.nodes {
		p.anchors[name] = verifiersOf(t, s)
	}
	return p
}

func kindOf(label evidence.Path) string {
	kind, _, _ := strings.Cut(string(label), "/")
	return kind
}

// verifiersOf are the keys that a site's file names.
func verifiersOf(t *testing.T, s site) *trust.Anchors {
	t.Helper()
	raw, err := os.ReadFile(s.file)
	must(t, err)
	n, err := trust.ParseNode(raw)
	must(t, err)
	return n.Verifiers()
}

// leadOf is the key with which a site signs verdicts.
func leadOf(t *testing.T, s site) *trust.Anchors {
	t.Helper()
	keys, err := trust.ParseJWKS(output(t, s.state, "keys", "jwks", "--only", "lead"))
	must(t, err)
	return keys
}

// fiveProcesses are an entry and four nodes on a cluster of three NATS servers:
// the CPU's, the GPUs', and two that share the switches. Each begins at another
// member of the cluster than the one before.
type fiveProcesses struct {
	nats  *cluster
	sites []site
	nodes []*process // of sites[1:]
}

func startFive(t *testing.T, f *natsFederation) *fiveProcesses {
	t.Helper()
	c := newCluster(t)
	for i := range c.servers {
		until(t, "the cluster does not come together", func() bool { return c.healthy(i) })
	}
	five := &fiveProcesses{nats: c, sites: federate(t, c.url(0), "entry", "vendor-a", "vendor-b", "vendor-c", "vendor-d")}
	for i, s := range five.sites[1:] {
		text := five.at(t, s, five.memberOf(i)) + "endorsements: " + filepath.Join(f.machine, "endorsements") + "\n"
		must(t, os.WriteFile(s.config, []byte(text), 0o600))
		p, _ := serve(t, s.state, "--config", s.config, "--trust", f.trust)
		five.nodes = append(five.nodes, p)
	}
	return five
}

// memberOf is the server that a node begins at.
func (v *fiveProcesses) memberOf(node int) int { return (node + 1) % len(v.nats.servers) }

// at is a site's configuration for one server, with the store of messages that
// were handled on all three.
func (v *fiveProcesses) at(t *testing.T, s site, member int) string {
	t.Helper()
	raw, err := os.ReadFile(s.config)
	must(t, err)
	text := strings.Replace(string(raw), v.nats.url(0), v.nats.url(member), 1)
	out := strings.Replace(text, "mode: external,", "mode: external, replicas: 3,", 1)
	if out == text {
		t.Fatalf("not the expected configuration: %s", raw)
	}
	return out
}

func (v *fiveProcesses) place(t *testing.T) placeOfTrial {
	t.Helper()
	entry := v.sites[0]
	p := placeOfTrial{
		name: "five processes on a cluster", entry: entry, anchors: map[string]*trust.Anchors{}, lead: leadOf(t, entry),
		config: func(run int) string { // from another server each time
			file := strings.TrimSuffix(entry.config, ".yaml") + fmt.Sprint("-", run, ".yaml")
			must(t, os.WriteFile(file, []byte(v.at(t, entry, run%len(v.nats.servers))), 0o600))
			return file
		},
		express: strings.NewReplacer(
			"lead(switch)@SWITCH", "lead(switch/0, switch/1)@vendor-b, lead(switch/2, switch/3)@vendor-d",
			"switch@SWITCH", switchesOfTwo, "switch/*@SWITCH", switchesOfTwo, "@CPU", "@vendor-c", "@GPU", "@vendor-a",
		).Replace,
		judge: func(label evidence.Path) string {
			if label == "switch/2" || label == "switch/3" {
				return "vendor-d"
			}
			return map[string]string{"cpu": "vendor-c", "gpu": "vendor-a", "switch": "vendor-b"}[kindOf(label)]
		},
	}
	for _, s := range v.sites {
		p.anchors[s.name] = verifiersOf(t, s)
	}
	return p
}

const switchesOfTwo = "switch/0@vendor-b, switch/1@vendor-b, switch/2@vendor-d, switch/3@vendor-d"

// checkSpread: the nodes were, and still are, at the members of the cluster
// where they began, the entry was at each of them, and what remembers messages
// is on all three.
func (v *fiveProcesses) checkSpread(t *testing.T) {
	t.Helper()
	for i, p := range v.nodes {
		mark := fmt.Sprintf("-%d/", p.cmd.Process.Pid)
		for member := range v.nats.servers {
			open := slices.ContainsFunc(v.nats.connections(t, member, "open"), func(name string) bool { return strings.Contains(name, mark) })
			if open != (member == v.memberOf(i)) {
				t.Errorf("%s, server %d: connected is %t", v.sites[i+1].name, member, open)
			}
		}
	}
	for member := range v.nats.servers {
		if !slices.ContainsFunc(v.nats.connections(t, member, "closed"), func(name string) bool { return strings.HasPrefix(name, "assize/appraise/") }) {
			t.Errorf("the entry was never at server %d", member)
		}
	}
	nc, err := nats.Connect(v.nats.url(0))
	must(t, err)
	defer nc.Close()
	js, err := nc.JetStream()
	must(t, err)
	info, err := js.StreamInfo("KV_" + fabric.DefaultSpentBucket)
	must(t, err)
	if info.Config.Replicas != 3 || info.State.Msgs == 0 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
		t.Errorf("the store of handled messages: %+v", info)
	}
}

// connections are the names of a server's clients, open or closed.
func (c *cluster) connections(t *testing.T, server int, state string) (names []string) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/connz?limit=1024&state=%s", c.monitor[server], state))
	must(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	must(t, err)
	var list struct {
		Connections []struct{ Name string }
	}
	must(t, json.Unmarshal(raw, &list))
	for _, conn := range list.Connections {
		names = append(names, conn.Name)
	}
	return names
}
