// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/samples"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// machine is a lead with its verifiers over the embedded fabric, built from
// the packages as a program that embeds them would.
type machine struct {
	bus     *fabric.Bus
	node    *verifiers.Node
	schemes *verifiers.Set
	signers map[string]*trust.Signer
	anchors *trust.Anchors
	options orchestrator.Options
	lead    *orchestrator.Orchestrator
}

var identity = verdict.Identity{Developer: "https://test.example", Build: "test"}

func anywhere(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }

// assemble starts server, connection and lead, and serves every scheme with
// what serve returns for it: the real node, or something that misbehaves.
func assemble(tb testing.TB, serve func(m *machine, scheme string) fabric.Appraiser) *machine {
	tb.Helper()
	m := &machine{signers: map[string]*trust.Signer{}}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	srv, err := embed.Start(embed.Options{Name: "test", Logger: quiet})
	must(tb, err)
	tb.Cleanup(func() { must(tb, srv.Shutdown(context.Background())) })
	m.bus, err = fabric.Connect(context.Background(), fabric.Config{Name: "test/lead/1", InProcess: srv.Provider(), Logger: quiet})
	must(tb, err)
	tb.Cleanup(func() { must(tb, m.bus.Close(context.Background())) })
	m.schemes, err = all.Set()
	must(tb, err)
	m.keys(tb)
	for _, sc := range m.schemes.Schemes() {
		a := fabric.Appraiser(m.node)
		if serve != nil {
			a = serve(m, sc.Name)
		}
		if a == nil {
			continue
		}
		svc, err := m.bus.Serve(a, fabric.ServiceOptions{Scheme: sc, KID: m.node.KID(sc.Name), Identity: identity})
		must(tb, err)
		tb.Cleanup(func() { must(tb, svc.Stop(context.Background())) })
	}
	m.lead, err = orchestrator.New(m.options)
	must(tb, err)
	return m
}

// keys makes one key per scheme and one for the lead.
func (m *machine) keys(tb testing.TB) {
	tb.Helper()
	lead, err := trust.GenerateSigner("ES256", rand.Reader)
	must(tb, err)
	list := []trust.Key{lead.Key("lead", nil, trust.RoleLead)}
	for _, sc := range m.schemes.Schemes() {
		s, err := trust.GenerateSigner("ES256", rand.Reader)
		must(tb, err)
		m.signers[sc.Name] = s
		list = append(list, s.Key(sc.Name, []string{sc.Name}, trust.RoleVerifier))
	}
	m.anchors, err = trust.NewAnchors(list...)
	must(tb, err)
	m.node, err = verifiers.NewNode(verifiers.NodeOptions{
		Set: m.schemes, Identity: identity, Signers: m.signers, Clock: time.Now, AllowTimeOverride: true,
	})
	must(tb, err)
	m.options = orchestrator.Options{
		Schemes: m.schemes, Appraiser: m.bus.Caller(fabric.CallerOptions{}), Anchors: m.anchors, Signer: lead,
		Identity: identity, Route: anywhere, Clock: time.Now, Rand: rand.Reader, Budget: 2 * time.Second,
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// recordedAt is a time at which everything in the sample is valid.
var recordedAt = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// request is the sample composite with the challenges of its recordings.
func request(tb testing.TB) orchestrator.Request {
	tb.Helper()
	item, err := samples.Composite()
	must(tb, err)
	raw, err := evidence.EncodeCBOR(item)
	must(tb, err)
	quote := samples.TDXQuote()
	return orchestrator.Request{
		Evidence: raw, Time: recordedAt,
		Given: map[evidence.Path][]byte{"gpu": samples.GPUNonce(), "cpu": quote[54+520 : 54+584]},
	}
}
