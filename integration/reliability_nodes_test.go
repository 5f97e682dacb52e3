// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// post is one node of a federation in this process: its keys, its part of the
// fabric, its orchestrator.
type post struct {
	name      string
	bus       *fabric.Bus
	set       *verifiers.Set
	lead, key *trust.Signer
	seal      *trust.SealPrivate
	signers   map[string]*trust.Signer
	own       *trust.Anchors
	node      trust.Node
	orch      *orchestrator.Orchestrator
	// wrap stands around the calls of its lead, if it is set.
	wrap func(orchestrator.Appraiser) orchestrator.Appraiser
	// protects: requests are signed and sealed, as the program does it.
	protects bool
}

// newPost connects a node that serves nothing yet.
func newPost(tb testing.TB, name string, c fabric.Config) *post {
	tb.Helper()
	generate := func() *trust.Signer {
		s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
		must(tb, err)
		return s
	}
	p := &post{name: name, lead: generate(), key: generate(), signers: map[string]*trust.Signer{}}
	var err error
	p.set, err = all.Set()
	must(tb, err)
	var keys []trust.Key
	for _, sc := range p.set.Schemes() {
		p.signers[sc.Name] = generate()
		keys = append(keys, p.signers[sc.Name].Key(name+" "+sc.Name, []string{sc.Name}, trust.RoleVerifier))
	}
	p.own, err = trust.NewAnchors(keys...)
	must(tb, err)
	p.seal, err = trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
	must(tb, err)
	described, err := trust.NewAnchors(append(keys, p.key.Key(name, nil, trust.RoleNode))...)
	must(tb, err)
	p.node = trust.Node{Name: name, Keys: described, Seal: []trust.SealKey{p.seal.Public(time.Time{})}}
	c.Name, c.Site = "test/"+name, name
	p.bus, err = fabric.Connect(context.Background(), c)
	must(tb, err)
	tb.Cleanup(func() { must(tb, p.bus.Close(context.Background())) })
	return p
}

// open makes the orchestrator. Components that no node is named for stay here.
// nonces may be nil where a test uses one nonce several times.
func (p *post) open(tb testing.TB, nonces, seen orchestrator.Spender, peers ...trust.Node) {
	tb.Helper()
	p.orch = p.within(tb, lossBudget, nonces, seen, peers...)
}

// within is an orchestrator of the post with that much time for an appraisal.
func (p *post) within(tb testing.TB, budget time.Duration, nonces, seen orchestrator.Spender, peers ...trust.Node) *orchestrator.Orchestrator {
	tb.Helper()
	nodes, err := trust.NewNodes(peers...)
	must(tb, err)
	var sending *verifiers.Protection
	if p.protects {
		sending, err = verifiers.NewProtection(verifiers.ProtectionOptions{
			Node: p.name, Signer: p.key, Own: p.seal.Public(time.Time{}), Peers: nodes, Schemes: p.set, Clock: time.Now, Random: rand.Reader,
		})
		must(tb, err)
	}
	calls := orchestrator.Appraiser(p.bus.Caller(fabric.CallerOptions{Protection: sending}))
	if p.wrap != nil {
		calls = p.wrap(calls)
	}
	o, err := orchestrator.New(orchestrator.Options{
		Schemes: p.set, Appraiser: calls, Anchors: p.own, Signer: p.lead, Identity: identity,
		Clock: time.Now, Rand: rand.Reader, Spender: nonces, Budget: budget,
		Route: func(_, node string) []verifiers.Candidate {
			if node == "" {
				node = p.name
			}
			return []verifiers.Candidate{{Site: node}}
		},
		Peers: &orchestrator.Peers{
			Self: p.name, Nodes: nodes, Signer: p.key, Seal: p.seal, Seen: seen, Relayer: p.bus.RelayCaller(fabric.RelayCallerOptions{Protection: sending}),
		},
	})
	must(tb, err)
	return o
}

// elsewhere changes how the verifiers of a post work: each scheme, and what
// stands before all of them.
type elsewhere struct {
	scheme func(verifiers.Scheme) verifiers.Scheme
	before func(fabric.Appraiser) fabric.Appraiser
	// workers is how many appraisals each service does at a time, 0 for as many
	// as suit the cores of this machine.
	workers int
	calls   func(orchestrator.Appraiser) orchestrator.Appraiser
}

// serve offers all schemes as they judge this machine, and the node itself. It
// returns the verifiers as they can be asked without fabric.
func (p *post) serve(tb testing.TB, m *attester.Machine, change *elsewhere) fabric.Appraiser {
	tb.Helper()
	raw, err := m.Trust()
	must(tb, err)
	roots, err := trust.ParseRoots(raw)
	must(tb, err)
	files, err := m.Endorsements()
	must(tb, err)
	bundle, err := load(files)
	must(tb, err)
	set := p.set
	if change != nil && change.scheme != nil {
		var list []verifiers.Scheme
		for _, sc := range set.Schemes() {
			list = append(list, change.scheme(sc))
		}
		set, err = verifiers.NewSet(list...)
		must(tb, err)
	}
	node, err := verifiers.NewNode(verifiers.NodeOptions{
		Set: set, Deps: verifiers.Deps{ExtraRoots: roots.Schemes, Endorsements: bundle}, Identity: identity, Signers: p.signers, Clock: time.Now,
	})
	must(tb, err)
	served, workers := fabric.Appraiser(node), 0
	if change != nil {
		workers = change.workers
	}
	if change != nil && change.before != nil {
		served = change.before(node)
	}
	for _, sc := range p.set.Schemes() {
		svc, err := p.bus.Serve(served, fabric.ServiceOptions{Scheme: sc, KID: node.KID(sc.Name), Identity: identity, Workers: workers})
		must(tb, err)
		tb.Cleanup(func() { must(tb, svc.Stop(context.Background())) })
	}
	relays, err := p.bus.ServeRelay(handing{p}, fabric.RelayOptions{Node: p.name, KID: p.key.KID()})
	must(tb, err)
	tb.Cleanup(func() { must(tb, relays.Stop(context.Background())) })
	return served
}

// handing answers what other nodes hand to a post.
type handing struct{ *post }

func (h handing) HandleRelay(ctx context.Context, message []byte) ([]byte, error) {
	return h.orch.HandleRelay(ctx, message)
}

// spending makes the fabric's spender one of the orchestrator.
type spending struct{ *fabric.Spender }

func (s spending) Spend(ctx context.Context, nonce []byte, ttl time.Duration) error {
	err := s.Spender.Spend(ctx, nonce, ttl)
	if errors.Is(err, fabric.ErrSpent) {
		return orchestrator.ErrNonceSpent
	}
	return err
}

// remembering is a spender in memory.
type remembering struct{ seen sync.Map }

func (r *remembering) Spend(_ context.Context, nonce []byte, _ time.Duration) error {
	if _, again := r.seen.LoadOrStore(string(nonce), true); again {
		return orchestrator.ErrNonceSpent
	}
	return nil
}
