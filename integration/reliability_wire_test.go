// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
)

// hgx is a machine of thirteen components with its evidence.
func hgx(tb testing.TB) (*attester.Machine, []byte) {
	tb.Helper()
	d, _ := attester.BuiltIn("hgx")
	m, err := attester.New(attester.Options{Machine: d, Now: time.Now()})
	must(tb, err)
	return m, evidenceOf(tb, m, attester.CBOR)
}

// posted are posts that know each other, on one embedded fabric.
func posted(tb testing.TB, m *attester.Machine, change *elsewhere, names ...string) ([]*post, *embed.Server, fabric.Appraiser) {
	tb.Helper()
	srv, err := embed.Start(embed.Options{Name: "test"})
	must(tb, err)
	tb.Cleanup(func() { must(tb, srv.Shutdown(context.Background())) })
	var posts []*post
	for _, name := range names {
		posts = append(posts, newPost(tb, name, fabric.Config{InProcess: srv.Provider()}))
	}
	var first fabric.Appraiser
	for i, p := range posts {
		if change != nil {
			p.wrap = change.calls
		}
		var others []trust.Node
		for _, q := range posts {
			if q != p {
				others = append(others, q.node)
			}
		}
		// What is counted here are messages, not seconds: thirteen components under
		// the race detector take longer than a loss does.
		p.orch = p.within(tb, longBudget, nil, &remembering{}, others...)
		if n := p.serve(tb, m, change); i == 0 {
			first = n
		}
	}
	return posts, srv, first
}

// planOf plans as the node does whose turn it is.
func planOf(tb testing.TB, e topologies.Expr, self string, parts []topologies.Component, tree *evidence.Tree) *topologies.Plan {
	tb.Helper()
	plan, err := topologies.New(e, topologies.Input{
		Components: parts, Self: self, Nonce: machineNonce, Route: anywhere,
		Commit: &evidence.Commitment{Leaves: tree.LeafDigests(), Signer: tree.LeadSigner()},
	})
	must(tb, err)
	return plan
}

// planned counts the requests that a topology stands for, over all nodes: one
// per component that a node asks a verifier about, one per relay, and what the
// relay's node then asks.
func planned(tb testing.TB, e topologies.Expr, self string, parts []topologies.Component, tree *evidence.Tree) int {
	tb.Helper()
	plan, n := planOf(tb, e, self, parts, tree), 0
	handed := make([][]topologies.Component, len(plan.Relays))
	for _, st := range plan.Steps {
		switch {
		case st.Kind != topologies.Appraise || st.Reason != nil:
		case st.Relay == 0:
			n += max(1, len(st.Sources))
		default:
			i := slices.IndexFunc(parts, func(c topologies.Component) bool { return c.Label == st.Label })
			handed[st.Relay-1] = append(handed[st.Relay-1], parts[i])
		}
	}
	for i, rel := range plan.Relays {
		n += 1 + planned(tb, rel.Expr, rel.Node, handed[i], tree)
	}
	return n
}

// wireTap counts every message of the account by what it is for.
type wireTap struct {
	mu    sync.Mutex
	count map[string]int
}

func tapped(t *testing.T, srv *embed.Server) *wireTap {
	t.Helper()
	w := &wireTap{count: map[string]int{}}
	p := srv.Provider()
	nc, err := nats.Connect("", nats.InProcessServer(p), nats.Nkey(p.NKey(), p.SignNonce))
	must(t, err)
	t.Cleanup(nc.Close)
	_, err = nc.Subscribe(">", func(m *nats.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.count[purpose(m.Subject)]++
	})
	must(t, err)
	must(t, nc.Flush())
	return w
}

// purpose names the kinds of messages. Discovery and cancels are not part of an
// appraisal's plan and counted apart.
func purpose(subject string) string {
	f := strings.Split(subject, ".")
	switch {
	case f[0] == "_INBOX":
		return "reply"
	case f[0] == "$SRV":
		return "discovery"
	case f[0] == "att" && len(f) > 3:
		switch f[3] {
		case "appraise", "cascade":
			return "request"
		case "cancel":
			return "cancel"
		case "event":
			return "discovery"
		}
	}
	return "other: " + subject
}

// since waits until the wire is quiet and gives what passed after the last time.
func (w *wireTap) since() map[string]int {
	for last := -1; ; time.Sleep(100 * time.Millisecond) {
		w.mu.Lock()
		n := 0
		for _, c := range w.count {
			n += c
		}
		if n == last {
			out := w.count
			w.count = map[string]int{}
			w.mu.Unlock()
			return out
		}
		w.mu.Unlock()
		last = n
	}
}

// TestMessagesPerComposite: what goes over the wire for one composite is what
// its plan says, one request and one reply per component and per relay, and
// nothing else.
func TestMessagesPerComposite(t *testing.T) {
	m, raw := hgx(t)
	posts, srv, _ := posted(t, m, nil, "entry", "vendor-a", "vendor-b")
	tree, err := evidence.Parse(raw, evidence.Options{})
	must(t, err)
	parts, err := orchestrator.Components(posts[0].set, tree, 16)
	must(t, err)
	w := tapped(t, srv)
	w.since() // start-up
	for _, c := range []struct {
		topology string
		requests int
	}{
		{"lead(cpu, gpu, switch)", 13},
		{"lead(cpu, gpu@vendor-a, switch@vendor-b)", 13},
		{"lead(cpu, lead(gpu)@vendor-a, lead(switch)@vendor-b)", 15},
		{"cascade(cpu, gpu/*@vendor-a, switch/*@vendor-b)", 15},
	} {
		e, err := topologies.Parse(c.topology)
		must(t, err)
		if n := planned(t, e, "entry", parts, tree); n != c.requests {
			t.Errorf("%s: the plan has %d requests, want %d", c.topology, n, c.requests)
		}
		res, err := posts[0].orch.Appraise(context.Background(), orchestrator.Request{Evidence: raw, Nonce: machineNonce, Topology: &e})
		must(t, err)
		for _, p := range res.Components {
			if p.Partial.IsZero() {
				t.Errorf("%s: %s: %v", c.topology, p.Label, p.Reasons)
			}
		}
		got := w.since()
		delete(got, "discovery")
		delete(got, "cancel")
		if want := map[string]int{"request": c.requests, "reply": c.requests}; len(res.Components) != 13 || !maps.Equal(got, want) {
			t.Errorf("%s, %d components: %v on the wire, want %v", c.topology, len(res.Components), got, want)
		}
	}
}
