// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/assize/assize/api"
	"github.com/assize/assize/attester"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

const (
	// corimRunsVariable says how many operations a scenario makes, every other
	// one an appraisal; corimWorkers at a time. The first kill comes after a
	// quarter of them.
	corimRunsVariable = "ASSIZE_CORIM_RUNS"
	corimRunsDefault  = 120
	corimWorkers      = 6
	corimStream       = "KV_" + fabric.DefaultCorimBucket
)

// corimRunsText is taken out of the environment for the same reason as
// lossRunsText.
var corimRunsText = func() string {
	text := os.Getenv(corimRunsVariable)
	if err := os.Unsetenv(corimRunsVariable); err != nil {
		panic(err)
	}
	return text
}()

func corimRuns(t *testing.T) int {
	t.Helper()
	if corimRunsText == "" {
		return corimRunsDefault
	}
	n, err := strconv.Atoi(corimRunsText)
	if err != nil || n < 40 {
		t.Fatalf("%s is %q, want a number of at least 40", corimRunsVariable, corimRunsText)
	}
	return n
}

// growing is a service whose reference values grow while it appraises, and what
// it said.
type growing struct {
	t        *testing.T
	url      atomic.Pointer[string]
	evidence []byte
	anchors  *trust.Anchors
	machine  [][]byte // the documents about the machine itself
	// settled is how long after its acknowledgement a document may be missing in
	// an appraisal.
	settled time.Duration

	mu           sync.Mutex
	acknowledged map[string]time.Time
	used         []use
	failed       map[string]int
}

// use is one appraisal: the reference values that its verifiers used, and what
// came out of it.
type use struct {
	revision, outcome string
	needs             []string // what had been acknowledged when it began
}

// newGrowing makes a machine and the files that a service needs for it.
func newGrowing(t *testing.T) (g *growing, dir, settings string) {
	t.Helper()
	g = &growing{t: t, acknowledged: map[string]time.Time{}, failed: map[string]int{}}
	d, _ := attester.BuiltIn("cpu-gpu")
	m, err := attester.New(attester.Options{Machine: d, Now: time.Now()})
	must(t, err)
	dir = t.TempDir()
	files, err := m.Files()
	must(t, err)
	for name, raw := range files {
		if strings.HasPrefix(name, "endorsements/NV_") {
			continue // manifests would prove the firmware of the GPU without any document
		}
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
		if strings.HasPrefix(name, "reference-values/") {
			g.machine = append(g.machine, raw)
		}
	}
	g.evidence, _, err = m.Evidence([]byte("0123456789abcdef0123456789abcdef"), attester.CBOR)
	must(t, err)
	g.anchors, err = trust.ParseJWKS(output(t, filepath.Join(dir, "state"), "keys", "jwks"))
	must(t, err)
	settings = fmt.Sprintf("endorsements: %s\ncorim: {store: jetstream, unsigned: true, http_writes: true, trust: %s, stale_after: 5s",
		filepath.Join(dir, "endorsements"), filepath.Join(dir, "corim-trust.json"))
	return g, dir, settings
}

// marked is a document of two tags with several triples each, which only count
// together.
func marked(t *testing.T, id string) []byte {
	t.Helper()
	d := &corim.Document{ID: corim.ID{Text: id}}
	for i := range 2 {
		m := &corim.Comid{Identity: corim.TagIdentity{ID: corim.ID{Text: fmt.Sprint(id, "-", i)}}}
		for j := range 4 {
			m.Reference = append(m.Reference, corim.ValueTriple{
				Environment:  corim.Environment{Class: corim.Class{Vendor: "ACME", Model: fmt.Sprint(id, "-", i, "-", j)}},
				Measurements: []corim.Measurement{marker()},
			})
		}
		d.Tags = append(d.Tags, corim.Tag{Number: corim.TagComid, Comid: m})
	}
	raw, err := corim.Encode(d)
	must(t, err)
	return raw
}

func marker() corim.Measurement {
	return corim.Measurement{Key: corim.NumberKey(1), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: make([]byte, 48)}}}}
}

func (g *growing) request(method, path, ct, accept string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, *g.url.Load()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", ct)
	req.Header.Set("Accept", accept)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, raw, err
}

func (g *growing) miss(what string, code int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		what += ": connection"
	} else {
		what += fmt.Sprint(": ", code)
	}
	g.failed[what]++
}

// add tries once, and tells whether the document was acknowledged.
func (g *growing) add(raw []byte) bool {
	d, err := corim.Parse(raw)
	must(g.t, err)
	ct := corim.MediaTypeUnsigned
	if d.Signature != nil {
		ct = corim.MediaTypeSigned
	}
	code, answer, err := g.request(http.MethodPost, "/v1/corims", ct, "", raw)
	if err != nil || code != http.StatusCreated {
		g.miss("add", code, err)
		if err == nil && code != http.StatusServiceUnavailable && code != http.StatusTooManyRequests {
			g.t.Errorf("a good document is refused: %d %s", code, answer)
		}
		return false
	}
	sum := sha256.Sum256(raw)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.acknowledged[hex.EncodeToString(sum[:])] = time.Now()
	return true
}

// persist does something until it succeeds, as a client would.
func (g *growing) persist(what string, try func() bool) {
	for end := time.Now().Add(time.Minute); !try(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Error("for a minute nothing came of: " + what)
			return
		}
	}
}

// appraise has the machine appraised, as a relying party that checks everything.
func (g *growing) appraise() bool {
	var needs []string
	g.mu.Lock()
	for id, when := range g.acknowledged {
		if time.Since(when) > g.settled {
			needs = append(needs, id)
		}
	}
	g.mu.Unlock()
	code, raw, err := g.request(http.MethodPost, "/v1/appraise", "application/cmw+cbor", "application/eat+jwt", g.evidence)
	if err != nil || code != http.StatusOK {
		g.miss("appraisal", code, err)
		return false
	}
	res, err := verdict.VerifyResult(raw, verdict.Intake{Now: time.Now()}, g.anchors)
	if err != nil {
		g.t.Errorf("verdict: %v", err)
		return true
	}
	// The two verifiers of one appraisal may see two sets; each is judged alone.
	complete := true
	for _, c := range res.Components {
		if c.Partial.IsZero() { // its verifier has no reference values now
			g.miss("component: "+reasonCodes(c.Reasons), 0, nil)
			complete = false
			continue
		}
		a := c.Partial.Appraisal()
		u := use{revision: c.Partial.ReferenceRevision(), outcome: fmt.Sprint(c.Label, " ", c.Tier(), " ", a.Vector, " ", reasonCodes(a.Reasons)), needs: needs}
		g.mu.Lock()
		g.used = append(g.used, u)
		g.mu.Unlock()
	}
	return complete
}

// list reads the set in use and checks that its revision is that of exactly the
// documents in it.
func (g *growing) list() (api.CorimList, bool) {
	var list api.CorimList
	code, raw, err := g.request(http.MethodGet, "/v1/corims", "", "", nil)
	if err != nil || code != http.StatusOK {
		return list, false
	}
	must(g.t, json.Unmarshal(raw, &list))
	if got := revisionOf(list.Corims); got != list.Revision {
		g.t.Errorf("revision %s of a set whose documents give %s", list.Revision, got)
	}
	return list, true
}

// revisionOf is the SHA-256 of the sorted digests of the documents that count.
func revisionOf(list []api.Corim) string {
	var ids []string
	for _, c := range list {
		if c.Status == store.Active {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	h := sha256.New()
	for _, id := range ids {
		raw, err := hex.DecodeString(id)
		if err != nil {
			return err.Error()
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// run makes the operations, and calls disturb after a quarter of them.
func (g *growing) run(disturb func()) {
	g.t.Helper()
	runs := corimRuns(g.t)
	var docs [][]byte
	for i := range runs/2 - len(g.machine) {
		docs = append(docs, marked(g.t, fmt.Sprintf("marked-%d", i)))
	}
	// The machine's own come one after the other, in the middle of the others.
	docs = slices.Insert(docs, len(docs)/2, g.machine...)
	var begun, ended atomic.Int64
	quarter := make(chan struct{})
	var wg sync.WaitGroup
	for range corimWorkers {
		wg.Go(func() {
			for {
				n := int(begun.Add(1)) - 1
				if n >= 2*len(docs) {
					return
				}
				if n%2 == 0 {
					g.persist("an addition", func() bool { return g.add(docs[n/2]) })
				} else {
					g.persist("an appraisal", g.appraise)
				}
				if n%20 == 0 {
					g.list()
				}
				if ended.Add(1) == int64(runs/4) {
					close(quarter)
				}
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
		})
	}
	<-quarter
	disturb()
	wg.Wait()
	g.conclude(docs)
}

// conclude holds everything that was said against the documents that there are
// in the end.
func (g *growing) conclude(docs [][]byte) {
	t := g.t
	t.Helper()
	var last api.CorimList
	until(t, "acknowledged documents are missing", func() bool {
		list, ok := g.list()
		last = list
		have := map[string]bool{}
		for _, c := range list.Corims {
			have[c.ID] = c.Status == store.Active
		}
		return ok && !list.Stale && !slices.ContainsFunc(slices.Collect(maps.Keys(g.acknowledged)), func(id string) bool { return !have[id] })
	})
	if len(last.Corims) != len(docs) {
		t.Errorf("%d documents, of %d that were sent", len(last.Corims), len(docs))
	}
	g.persist("an appraisal", g.appraise) // with all of them
	// The bucket had these sets, and no others: its documents as they came.
	sets := map[string]int{}
	for n := range len(last.Corims) + 1 {
		sets[revisionOf(last.Corims[:n])] = n
	}
	place := map[string]int{} // of a document: the set from which it counts
	for n, c := range last.Corims {
		place[c.ID] = n + 1
	}
	var from []int
	for _, raw := range g.machine {
		sum := sha256.Sum256(raw)
		from = append(from, place[hex.EncodeToString(sum[:])])
	}
	outcomes := map[string]map[string]bool{}
	sizes := map[int]bool{}
	for _, u := range g.used {
		n, ok := sets[u.revision]
		if !ok {
			t.Errorf("an appraisal used a set that there never was: %s", u.revision)
			continue
		}
		sizes[n] = true
		if i := slices.IndexFunc(u.needs, func(id string) bool { return place[id] > n }); i >= 0 {
			t.Errorf("an appraisal used a set without %s, which had been acknowledged before", u.needs[i])
		}
		// What comes out depends on which of the machine's documents are in the set.
		label, _, _ := strings.Cut(u.outcome, " ")
		key := label
		for _, f := range from {
			key += fmt.Sprint(" ", n >= f)
		}
		if outcomes[key] == nil {
			outcomes[key] = map[string]bool{}
		}
		outcomes[key][u.outcome] = true
	}
	for key, list := range outcomes {
		if len(list) != 1 {
			t.Errorf("%s: one set of reference values, and %d outcomes: %v", key, len(list), slices.Collect(maps.Keys(list)))
		}
	}
	for _, label := range []string{"cpu", "gpu/0"} {
		without, with := label, label
		for range from {
			without, with = without+" false", with+" true"
		}
		if maps.Equal(outcomes[without], outcomes[with]) {
			t.Errorf("%s: reference values make no difference: %v", label, outcomes[with])
		}
	}
	t.Logf("%d documents acknowledged, %d results over %d different sets of reference values; attempts that failed: %v",
		len(g.acknowledged), len(g.used), len(sizes), g.failed)
}

// The process with the embedded server is killed and comes back, twice, between
// additions and appraisals: every acknowledged document is there, and no
// appraisal used a set that was applied by half.
func TestCorimStoreEmbeddedServer(t *testing.T) {
	g, dir, settings := newGrowing(t)
	state := filepath.Join(dir, "state")
	file := filepath.Join(dir, "c.yaml")
	must(t, os.WriteFile(file, []byte(settings+"}\nfabric: {nonces: 'off'}\n"), 0o600))
	begin := func() *process {
		p, url := serve(t, state, "--config", file, "--trust", filepath.Join(dir, "trust.json"))
		g.url.Store(&url)
		return p
	}
	p := begin()
	g.run(func() {
		for range 2 {
			p.kill(t)
			p = begin()
			time.Sleep(200 * time.Millisecond)
		}
	})
	p.kill(t)
	begin()
	before := len(g.acknowledged)
	until(t, "documents are missing after a restart", func() bool {
		list, ok := g.list()
		return ok && len(list.Corims) == before
	})
}

// One of three servers of the cluster is killed and comes back, first the leader
// of the documents and then another one.
func TestCorimStoreCluster(t *testing.T) {
	leisurely(t)
	c := newCluster(t)
	g, dir, settings := newGrowing(t)
	for i := range c.servers {
		until(t, "the cluster does not come together", func() bool { return c.healthy(i) })
	}
	file := filepath.Join(dir, "c.yaml")
	text := fmt.Sprintf("%s, replicas: 3}\nfabric: {mode: external, nonces: 'off', urls: [%q, %q, %q]}\n", settings, c.url(0), c.url(1), c.url(2))
	must(t, os.WriteFile(file, []byte(text), 0o600))
	_, url := serve(t, filepath.Join(dir, "state"), "--config", file, "--trust", filepath.Join(dir, "trust.json"))
	g.url.Store(&url)
	// A leader that goes may keep a document from those who read for a moment.
	g.settled = 5 * time.Second
	until(t, "the store is not ready", func() bool { _, ok := g.list(); return ok })
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	reader := g.reader(watching, c, filepath.Join(dir, "corim-trust.json"))
	g.run(func() {
		leader := c.leaderOf(t, corimStream)
		for _, server := range []int{leader, (leader + 1) % 3} {
			c.kill(server)
			time.Sleep(time.Second)
			c.revive(t, server)
		}
	})
	until(t, "a reader at another server has another set", func() bool {
		list, ok := g.list()
		x, err := reader.Snapshot(time.Now())
		return ok && err == nil && x.Revision() == list.Revision
	})
}

// leaderOf is the server that leads a stream.
func (c *cluster) leaderOf(t *testing.T, stream string) int {
	t.Helper()
	nc, err := nats.Connect(c.url(0))
	must(t, err)
	defer nc.Close()
	js, err := nc.JetStream()
	must(t, err)
	info, err := js.StreamInfo(stream)
	must(t, err)
	if info.Config.Replicas != 3 {
		t.Fatalf("%s has %d replicas", stream, info.Config.Replicas)
	}
	return slices.Index([]string{"n0", "n1", "n2"}, info.Cluster.Leader)
}

// reader follows the bucket in this process, through another server, and looks
// at every set: all triples of its documents match, and none of any other.
func (g *growing) reader(ctx context.Context, c *cluster, authorities string) *store.Store {
	t := g.t
	t.Helper()
	raw, err := os.ReadFile(authorities)
	must(t, err)
	list, err := corim.ParseTrust(raw)
	must(t, err)
	believed, err := corim.NewTrust(list)
	must(t, err)
	bus, err := fabric.Connect(ctx, fabric.Config{Name: "test/reader", URLs: []string{c.url(2), c.url(0)}})
	must(t, err)
	bucket, err := bus.Corims(fabric.CorimOptions{Replicas: 3, Poll: time.Second})
	must(t, err)
	s, err := store.New(store.Options{Bucket: bucket, Trust: believed, Unsigned: true, Clock: time.Now, WarnStale: true})
	must(t, err)
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(run) })
	wg.Go(func() {
		for last := 0; run.Err() == nil; {
			if x, err := s.Snapshot(time.Now()); err == nil {
				g.whole(x)
				if n := len(x.Documents()); n < last {
					t.Errorf("a set of %d documents after one of %d", n, last)
				} else {
					last = n
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait(); must(t, bus.Close(context.Background())) })
	return s
}

// whole checks one set: of each document all eight triples match, or none.
func (g *growing) whole(x *corim.Index) {
	docs := x.Documents()
	again, err := corim.NewIndex(docs...)
	if err != nil || again.Revision() != x.Revision() {
		g.t.Errorf("revision %s of other documents: %v", x.Revision(), err)
	}
	in := map[string]bool{}
	for _, d := range docs {
		in[d.ID.Text] = true
	}
	for n := range len(docs) + 2 {
		id := fmt.Sprintf("marked-%d", n)
		matched := 0
		for i := range 8 {
			state := x.Match(corim.Query{
				Environments: []corim.Environment{{Class: corim.Class{Vendor: "ACME", Model: fmt.Sprint(id, "-", i/4, "-", i%4)}}},
				Measurements: []corim.Measurement{marker()}, Time: time.Now(),
			}).Worst()
			if state == corim.Matched {
				matched++
			}
		}
		if want := map[bool]int{true: 8, false: 0}[in[id]]; matched != want {
			g.t.Errorf("%s: %d of 8 triples match", id, matched)
		}
	}
}
