// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
)

// testLead is the node that asks; testNode is the one that is asked.
const testLead = "lead-a"

// alliance is two nodes that know each other, and one that nobody knows.
type alliance struct {
	server                   *embed.Server
	lead, verifier, stranger *trust.Signer
	seal                     *trust.SealPrivate
	peers                    *trust.Nodes // as the lead knows them
	guard                    *verifiers.Guard
}

func newAlliance(t testing.TB) *alliance {
	t.Helper()
	a := &alliance{server: newServer(t, embed.Options{})}
	for _, s := range []**trust.Signer{&a.lead, &a.verifier, &a.stranger} {
		var err error
		if *s, err = trust.GenerateSigner("ES256", rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	a.seal = sealPrivate(t)
	a.peers = nodesOf(t, testNode, a.verifier, a.seal)
	a.guard = guardOf(t, verifiers.GuardOptions{Names: []string{testNode}, Peers: nodesOf(t, testLead, a.lead, nil), Clock: time.Now})
	return a
}

func sealPrivate(t testing.TB) *trust.SealPrivate {
	t.Helper()
	p, err := trust.GenerateSealPrivate(trust.SuiteHybrid, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func nodesOf(t testing.TB, name string, s *trust.Signer, seal *trust.SealPrivate) *trust.Nodes {
	t.Helper()
	keys, err := trust.NewAnchors(s.Key(name, nil, trust.RoleNode))
	if err != nil {
		t.Fatal(err)
	}
	n := trust.Node{Name: name, Keys: keys}
	if seal != nil {
		n.Seal = []trust.SealKey{seal.Public(time.Time{})}
	}
	nodes, err := trust.NewNodes(n)
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

func guardOf(t testing.TB, o verifiers.GuardOptions) *verifiers.Guard {
	t.Helper()
	g, err := verifiers.NewGuard(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// protection is that of the lead, with changes.
func (a *alliance) protection(t testing.TB, change ...func(*verifiers.ProtectionOptions)) *verifiers.Protection {
	t.Helper()
	o := verifiers.ProtectionOptions{Node: testLead, Signer: a.lead, Peers: a.peers, Clock: time.Now, Random: rand.Reader}
	for _, f := range change {
		f(&o)
	}
	p, err := verifiers.NewProtection(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// guarded serves the test scheme at the node's site.
func (a *alliance) guarded(t testing.TB, ap Appraiser, change ...func(*ServiceOptions)) *Service {
	t.Helper()
	return serviceOn(t, newBusOn(t, a.server, at(testNode)), ap, append([]func(*ServiceOptions){func(o *ServiceOptions) {
		o.Guard, o.Node, o.Seal = a.guard, testNode, []*trust.SealPrivate{a.seal}
	}}, change...)...)
}

func (a *alliance) caller(t testing.TB, change ...func(*verifiers.ProtectionOptions)) *Caller {
	t.Helper()
	return newBusOn(t, a.server).Caller(CallerOptions{Protection: a.protection(t, change...)})
}

// letterOf is a request as the lead would send it to the node.
func (a *alliance) letterOf(t testing.TB, b *Bus, p *verifiers.Protection, r verifiers.Request, sealed bool) (*nats.Msg, parcel) {
	t.Helper()
	call := verifiers.Call{Request: r, Candidates: []verifiers.Candidate{{Site: testNode}}}
	body, mediaType, err := p.Encode(call, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	out := parcel{header: requestHeaders(r, mediaType, digestOf(body)), body: body}
	if sealed {
		if out, err = out.sealed(a.seal.Public(time.Time{}), testNode); err != nil {
			t.Fatal(err)
		}
	}
	return &nats.Msg{Subject: b.subj.appraise(testScheme, testNode), Header: maps.Clone(out.header), Data: out.body}, out
}

// wiretap is what whoever runs the server can read.
type wiretap struct {
	mu       sync.Mutex
	messages []*nats.Msg
	nc       *nats.Conn
}

func listen(t testing.TB, b *Bus) *wiretap {
	t.Helper()
	w := &wiretap{nc: b.requests}
	sub, err := w.nc.Subscribe(">", func(m *nats.Msg) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.messages = append(w.messages, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := w.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

// heard is everything so far: subjects, headers and bodies.
func (w *wiretap) heard(t testing.TB) (int, []byte) {
	t.Helper()
	if err := w.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	var out bytes.Buffer
	for _, m := range w.messages {
		fmt.Fprintf(&out, "%s %s %v\n", m.Subject, m.Reply, m.Header)
		out.Write(m.Data)
	}
	return len(w.messages), out.Bytes()
}

// Whoever carries a sealed exchange sees neither evidence, label, challenge nor
// result. What is not sealed is seen, so the listener would have seen it.
func TestObserverOfSealedExchangeSeesNothing(t *testing.T) {
	a := newAlliance(t)
	const result = "a partial result that says what is wrong with the machine"
	var got verifiers.Request
	a.guarded(t, &appraiser{f: func(_ context.Context, r verifiers.Request) ([]byte, error) { got = r; return []byte(result), nil }})
	tap := listen(t, newBusOn(t, a.server))
	call := newCall(testNode)
	call.Verify = func(token []byte) (verdict.Partial, error) {
		if string(token) != result {
			return verdict.Partial{}, errors.New("another answer")
		}
		return verdict.Partial{}, nil
	}
	call.Request.Evidence = bytes.Repeat([]byte("evidence of a machine "), 20)
	call.Request.Nonce = bytes.Repeat([]byte("challeng"), 4)
	secrets := map[string][]byte{
		"evidence": []byte("evidence of a machine"), "label": []byte(call.Request.Label), "challenge": []byte("Y2hhbGxlbmdj"),
		"media type": []byte(leafType.Base), "result": []byte("partial result"), "signer": []byte(a.lead.KID()),
	}
	if _, err := a.caller(t).Appraise(within(t, 5*time.Second), call); err != nil {
		t.Fatal(err)
	}
	if got.ID != call.Request.ID || !bytes.Equal(got.Evidence, call.Request.Evidence) || !bytes.Equal(got.Nonce, call.Request.Nonce) {
		t.Errorf("the verifier saw another request: %+v", got)
	}
	n, heard := tap.heard(t)
	if n < 2 || !bytes.Contains(heard, []byte(call.Request.ID)) {
		t.Fatalf("the listener heard %d messages", n)
	}
	for what, secret := range secrets {
		if bytes.Contains(heard, secret) {
			t.Errorf("%s could be read", what)
		}
	}
	// The same without sealing.
	call.Request.ID = newID()
	bare := a.caller(t, func(o *verifiers.ProtectionOptions) { o.Peers = nil })
	if _, err := bare.Appraise(within(t, 5*time.Second), call); err != nil {
		t.Fatal(err)
	}
	_, heard = tap.heard(t)
	for what, secret := range secrets {
		if !bytes.Contains(heard, secret) {
			t.Errorf("the listener does not hear the %s when it is not sealed", what)
		}
	}
}

func TestObserverOfSealedRelaySeesNothing(t *testing.T) {
	a := newAlliance(t)
	node := newBusOn(t, a.server)
	h := handles(func(_ context.Context, m []byte) ([]byte, error) { return append([]byte("answer to "), m...), nil })
	nodeOn(t, node, h, func(o *RelayOptions) { o.Seal = []*trust.SealPrivate{a.seal} })
	tap := listen(t, newBusOn(t, a.server))
	b := newBusOn(t, a.server)
	for _, sealed := range []bool{true, false} {
		o := RelayCallerOptions{}
		if sealed {
			o.Protection = a.protection(t)
		}
		answer, err := b.RelayCaller(o).Relay(within(t, 5*time.Second), testNode, newID(), []byte("an envelope"))
		if err != nil || string(answer) != "answer to an envelope" {
			t.Fatalf("%q, %v", answer, err)
		}
		if _, heard := tap.heard(t); bytes.Contains(heard, []byte("an envelope")) == sealed || bytes.Contains(heard, []byte("answer to")) == sealed {
			t.Errorf("sealed %v, and the listener heard %q", sealed, heard)
		}
	}
}

// What a guarded verifier does not answer. Nothing of it is appraised.
func TestGuardedServiceRefuses(t *testing.T) {
	a := newAlliance(t)
	ap := says("good")
	a.guarded(t, ap)
	b := newBusOn(t, a.server)
	fresh := func(p *verifiers.Protection, sealed bool) func() *nats.Msg {
		return func() *nats.Msg {
			m, _ := a.letterOf(t, b, p, newRequest(64), sealed)
			return m
		}
	}
	as := func(change func(*verifiers.ProtectionOptions)) *verifiers.Protection { return a.protection(t, change) }
	for name, tc := range map[string]struct {
		p    *verifiers.Protection
		want Code
	}{
		"the lead":            {a.protection(t), 0},
		"unsigned":            {nil, CodeForbidden},
		"a stranger":          {as(func(o *verifiers.ProtectionOptions) { o.Signer = a.stranger }), CodeForbidden},
		"in a stranger's key": {as(func(o *verifiers.ProtectionOptions) { o.Signer, o.Node = a.stranger, testNode }), CodeForbidden},
		"in another's name":   {as(func(o *verifiers.ProtectionOptions) { o.Node = "lead-b" }), CodeForbidden},
		"of yesterday": {as(func(o *verifiers.ProtectionOptions) {
			o.Clock = func() time.Time { return time.Now().Add(-24 * time.Hour) }
		}), CodeForbidden},
		"of tomorrow": {as(func(o *verifiers.ProtectionOptions) {
			o.Clock = func() time.Time { return time.Now().Add(24 * time.Hour) }
		}), CodeForbidden},
	} {
		for _, sealed := range []bool{false, true} {
			tamper(t, b, &ap.calls, fresh(tc.p, sealed), map[string]tampering{
				fmt.Sprintf("%s, sealed %v", name, sealed): {func(*nats.Msg) {}, tc.want},
			})
		}
	}
	tamper(t, b, &ap.calls, fresh(a.protection(t), false), map[string]tampering{
		"altered":      {func(m *nats.Msg) { m.Data[len(m.Data)/2] ^= 1; setBody(m, m.Data) }, CodeForbidden},
		"called plain": {func(m *nats.Msg) { m.Header[HeaderContentType] = []string{ContentType} }, CodeForbidden},
		"other id":     {func(m *nats.Msg) { m.Header[HeaderRequest] = []string{newID()} }, CodeMalformed},
	})
}

// A request that was signed for one verifier is no request to another one, even
// if that one knows the lead as well.
func TestSignedRequestIsForOneVerifier(t *testing.T) {
	a := newAlliance(t)
	second := says("good")
	serviceOn(t, newBusOn(t, a.server, at("node-c")), second, func(o *ServiceOptions) {
		o.Guard = guardOf(t, verifiers.GuardOptions{Names: []string{"node-c"}, Peers: nodesOf(t, testLead, a.lead, nil), Clock: time.Now})
	})
	b := newBusOn(t, a.server)
	m, _ := a.letterOf(t, b, a.protection(t), newRequest(64), false)
	m.Subject = b.subj.appraise(testScheme, "node-c")
	if code, _ := exchange(t, b, m); code != CodeForbidden || second.calls.Load() != 0 {
		t.Errorf("%d after %d calls", code, second.calls.Load())
	}
}

// A verifier learns who asked from the signature, and from nothing else.
func TestSenderIsWhoSigned(t *testing.T) {
	a := newAlliance(t)
	senders := make(chan [2]string, 1)
	ap := &appraiser{f: func(_ context.Context, r verifiers.Request) ([]byte, error) {
		senders <- [2]string{r.Sender, r.SenderKID}
		return []byte("good"), nil
	}}
	a.guarded(t, ap)
	b := newBusOn(t, a.server)
	m, _ := a.letterOf(t, b, a.protection(t), newRequest(64), false)
	if code, _ := exchange(t, b, m); code != 0 {
		t.Fatal(code)
	}
	if got := <-senders; got != [2]string{testLead, a.lead.KID()} {
		t.Errorf("signed: %q", got)
	}
	serviceOn(t, newBusOn(t, a.server, at("open")), ap) // without guard: no signature is checked
	m, _ = a.letterOf(t, b, a.protection(t), newRequest(64), false)
	m.Subject = b.subj.appraise(testScheme, "open")
	if code, _ := exchange(t, b, m); code != 0 {
		t.Fatal(code)
	}
	if got := <-senders; got != [2]string{} {
		t.Errorf("unchecked: %q", got)
	}
}

// Everything that a sealed body is bound to.
func TestTamperedSeal(t *testing.T) {
	a := newAlliance(t)
	ap := says("good")
	a.guarded(t, ap)
	b := newBusOn(t, a.server)
	other := sealPrivate(t)
	resealed := func(m *nats.Msg, key trust.SealKey, to string) {
		_, p := a.letterOf(t, b, a.protection(t), newRequest(64), false)
		p, err := p.sealed(key, to)
		if err != nil {
			t.Fatal(err)
		}
		m.Header, m.Data = p.header, p.body
	}
	fresh := func() *nats.Msg {
		m, _ := a.letterOf(t, b, a.protection(t), newRequest(64), true)
		return m
	}
	tamper(t, b, &ap.calls, fresh, map[string]tampering{
		"untouched":           {func(*nats.Msg) {}, 0},
		"attempt and budget":  {func(m *nats.Msg) { m.Header[HeaderAttempt], m.Header[HeaderTimeout] = []string{"2"}, []string{"900"} }, 0},
		"other session":       {func(m *nats.Msg) { m.Header[HeaderSession] = []string{"s-2"} }, 401},
		"no session":          {func(m *nats.Msg) { delete(m.Header, HeaderSession) }, 401},
		"other id":            {func(m *nats.Msg) { m.Header[HeaderRequest] = []string{newID()} }, 401},
		"other scheme":        {func(m *nats.Msg) { m.Header[HeaderScheme] = []string{"other"} }, 401},
		"other type":          {func(m *nats.Msg) { m.Header[HeaderContentType] = []string{ContentType} }, 401},
		"unknown type":        {func(m *nats.Msg) { m.Header[HeaderContentType] = []string{"text/plain"} }, 400},
		"other kid":           {func(m *nats.Msg) { m.Header[HeaderSeal] = []string{other.KID()} }, 401},
		"no kid":              {func(m *nats.Msg) { m.Header[HeaderSeal] = []string{""} }, 401},
		"two kids":            {func(m *nats.Msg) { m.Header[HeaderSeal] = append(m.Header[HeaderSeal], other.KID()) }, 400},
		"seal not said":       {func(m *nats.Msg) { delete(m.Header, HeaderSeal) }, 403},
		"altered":             {func(m *nats.Msg) { m.Data[len(m.Data)-1] ^= 1; setBody(m, m.Data) }, 401},
		"altered, old digest": {func(m *nats.Msg) { m.Data[len(m.Data)-1] ^= 1 }, 400},
		"truncated":           {func(m *nats.Msg) { setBody(m, m.Data[:len(m.Data)-1]) }, 401},
		"empty":               {func(m *nats.Msg) { setBody(m, nil) }, 401},
		"sealed to another":   {func(m *nats.Msg) { resealed(m, a.seal.Public(time.Time{}), "node-c") }, 401},
		"to another's key":    {func(m *nats.Msg) { resealed(m, other.Public(time.Time{}), testNode) }, 401},
		"to the same, resent": {func(m *nats.Msg) { resealed(m, a.seal.Public(time.Time{}), testNode) }, 0},
		"sealed as a component": {func(m *nats.Msg) {
			_, p := a.letterOf(t, b, a.protection(t), newRequest(64), false)
			h := p.header
			raw, err := a.seal.Public(time.Time{}).Seal(sealInfo(h[HeaderSession][0], h[HeaderRequest][0], h[HeaderScheme][0], h[HeaderContentType][0], testNode), p.body)
			if err != nil {
				t.Fatal(err)
			}
			m.Header = h
			m.Header[HeaderSeal] = []string{a.seal.KID()}
			setBody(m, raw)
		}, 401},
	})
}

func TestSealedRelayRefuses(t *testing.T) {
	a := newAlliance(t)
	h := echoes()
	nodeOn(t, newBusOn(t, a.server), h, func(o *RelayOptions) { o.Seal = []*trust.SealPrivate{a.seal} })
	b := newBusOn(t, a.server)
	fresh := func(to string) func() *nats.Msg {
		return func() *nats.Msg {
			m := rawRelay(b, newID(), "message")
			p, err := parcel{header: m.Header, body: m.Data}.sealed(a.seal.Public(time.Time{}), to)
			if err != nil {
				t.Fatal(err)
			}
			return &nats.Msg{Subject: m.Subject, Header: p.header, Data: p.body}
		}
	}
	tamper(t, b, &h.calls, fresh(testNode), map[string]tampering{
		"untouched": {func(*nats.Msg) {}, 0},
		"other id":  {func(m *nats.Msg) { m.Header[HeaderRequest] = []string{newID()} }, 401},
		"other kid": {func(m *nats.Msg) { m.Header[HeaderSeal] = []string{"x"} }, 401},
		"altered":   {func(m *nats.Msg) { m.Data[0] ^= 1; setBody(m, m.Data) }, 401},
	})
	tamper(t, b, &h.calls, fresh("node-c"), map[string]tampering{"for another node": {func(*nats.Msg) {}, 401}})
}
