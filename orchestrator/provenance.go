// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// paths is the policy of allowed paths, nil for any.
func (p *Peers) paths() *topologies.Paths {
	if p == nil {
		return nil
	}
	return p.Paths
}

// hops are the nodes that an envelope passed.
func hops(env *relay.Envelope) []verdict.Hop {
	out := make([]verdict.Hop, len(env.Via))
	for i := range env.Via {
		out[i] = verdict.Hop{Node: env.Path[i], KID: env.Via[i]}
	}
	return out
}

// receipt is what this node signs about the envelope that it answers.
func (r *run) receipt() (verdict.Receipt, error) {
	p := r.o.o.Peers
	one := verdict.Receipt{
		Session: r.session, Issued: r.o.o.Clock(), Path: append(hops(r.origin), verdict.Hop{Node: p.Self, KID: p.Signer.KID()}),
	}
	for _, c := range r.origin.Components {
		one.Requests = append(one.Requests, c.Request)
	}
	slices.Sort(one.Requests)
	token, err := verdict.SignReceipt(p.Signer, one)
	if err != nil {
		return one, err
	}
	return verdict.ParseReceipt(token)
}

// way is the path of a relayed component, as the node that answers for it has
// signed it and every node before it: the one that was planned, beginning with
// our own, under keys that are those of the nodes as far as we know them. What is
// in the way of that is the text; empty if nothing is.
func (r *run) way(env *relay.Envelope, st topologies.Step, request string, receipts []verdict.Receipt) ([]verdict.Hop, string) {
	began := hops(env)
	planned := append(slices.Clone(env.Path), st.Path...)
	i := slices.IndexFunc(receipts, func(one verdict.Receipt) bool {
		return slices.Equal(verdict.Names(one.Path), planned) && slices.Equal(one.Path[:len(began)], began) && one.Covers(r.session, request, one.Path)
	})
	if i < 0 {
		return nil, "node " + st.Node + " has not signed that it came along " + topologies.PathText(planned)
	}
	path := receipts[i].Path
	for n := len(began) + 1; n <= len(path); n++ {
		if why := r.o.hop(receipts, r.session, request, path[:n]); why != "" {
			return nil, why
		}
	}
	return path, ""
}

// hop says what is wrong with the last node of a path: that it is not who it says
// it is, or has not signed for it. A node that is not known here is taken at the
// word of those that are.
func (o *Orchestrator) hop(receipts []verdict.Receipt, session, request string, path []verdict.Hop) string {
	last := path[len(path)-1]
	nodes, now := o.o.Peers.Nodes, o.o.Clock()
	signer, _, current := nodes.Signer(last.KID, now)
	_, known := nodes.Lookup(last.Node)
	if current && signer.Name != last.Node || known && !current {
		return "the key " + last.KID + " is not one of node " + last.Node
	}
	for _, one := range receipts {
		if !one.Covers(session, request, path) {
			continue
		}
		if !known || one.Verify(func(kid string) (trust.Key, bool) {
			n, key, ok := nodes.Signer(kid, now)
			return key, ok && n.Name == last.Node
		}) == nil {
			return ""
		}
	}
	return "node " + last.Node + " has not signed that it came along " + topologies.PathText(verdict.Names(path))
}

// keep remembers receipts for the verdict, or for the answer to the node before.
// It is false where there are more than either can have.
func (r *run) keep(receipts []verdict.Receipt) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range receipts {
		if slices.ContainsFunc(r.receipts, func(o verdict.Receipt) bool { return bytes.Equal(o.Token(), one.Token()) }) {
			continue
		}
		if len(r.receipts) >= verdict.MaxReceipts-1 { // one is our own
			return false
		}
		r.receipts = append(r.receipts, one)
	}
	return true
}

// kept are the receipts in an order that does not depend on who was faster.
func (r *run) kept() []verdict.Receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.receipts)
	slices.SortFunc(out, func(a, b verdict.Receipt) int {
		return cmp.Or(slices.Compare(verdict.Names(a.Path), verdict.Names(b.Path)), bytes.Compare(a.Token(), b.Token()))
	})
	return out
}
