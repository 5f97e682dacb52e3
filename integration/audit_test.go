// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/audit/file"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// books are the logs of all nodes of a federation, in files.
type books struct {
	t    testing.TB
	dir  string
	logs map[string]*audit.Log
	keys map[string]*trust.Anchors
}

// audited is a federation in which every node keeps records.
func audited(t testing.TB, o options) (*federation, *books) {
	t.Helper()
	b := &books{t: t, dir: t.TempDir(), logs: map[string]*audit.Log{}, keys: map[string]*trust.Anchors{}}
	o.auditor = func(m *member) orchestrator.Auditor {
		st, err := file.Open(file.Options{Dir: b.of(m.name), Rotate: 4000})
		must(t, err)
		t.Cleanup(func() { must(t, st.Close()) })
		l, err := audit.Open(t.Context(), audit.Options{Store: st, Signer: m.leadKey, Node: m.name, Clock: time.Now, Rand: rand.Reader})
		must(t, err)
		b.logs[m.name] = l
		b.keys[m.name], err = trust.NewAnchors(m.leadKey.Key(m.name, nil, trust.RoleLead))
		must(t, err)
		return l
	}
	return newFederation(t, o), b
}

func (b *books) of(node string) string { return filepath.Join(b.dir, node) }

// read is the log of a node as bytes.
func (b *books) read(node string) []byte {
	b.t.Helper()
	r, err := file.Reader(b.of(node))
	must(b.t, err)
	defer r.Close()
	raw, err := io.ReadAll(r)
	must(b.t, err)
	return raw
}

// records checks the log of a node, and returns its records of one session.
func (b *books) records(node, session string) []audit.Record {
	b.t.Helper()
	must(b.t, b.logs[node].Checkpoint(context.Background()))
	raw := b.read(node)
	rep, err := audit.Check(bytes.NewReader(raw), b.keys[node], audit.CheckOptions{})
	must(b.t, err)
	if rep.Open != 0 {
		b.t.Errorf("%s: %d records are not signed", node, rep.Open)
	}
	var out []audit.Record
	for l, err := range audit.Lines(bytes.NewReader(raw)) {
		must(b.t, err)
		if l.Record.Node != node {
			b.t.Errorf("%s has a record of %s", node, l.Record.Node)
		}
		if l.Record.Session == session {
			out = append(out, *l.Record)
		}
	}
	return out
}

// MV-40: what the lead did is in its records: for every component who was to
// answer, the request, the evidence and the results by their digests, and the
// verdict; and nobody changes these records unseen.
func TestMV40LeadIsAudited(t *testing.T) {
	for name, topology := range heads {
		f, b := audited(t, options{})
		raw := words(t, wordNonce, "a cpu good", "b dev warn", "c dev good", "d dev good")
		res := f.appraise(topology, raw)
		records := b.records("me", res.Session)
		if len(records) != 1 {
			t.Fatalf("%s: %d records of the session", name, len(records))
		}
		checkLead(t, f, res, records[0], raw)
		// The nonce again: no verdict, but a record.
		if _, err := f.members["me"].entry.Appraise(t.Context(), orchestrator.Request{Evidence: raw, Nonce: []byte(wordNonce)}); err == nil {
			t.Error("a nonce counts twice")
		}
		if r := b.records("me", ""); r[len(r)-2].Kind != audit.KindRequestRefused || r[len(r)-2].Error != "nonce-spent" {
			t.Errorf("%s: the refusal is recorded as %+v", name, r[len(r)-2].Event)
		}
		good := b.read("me")
		for _, forged := range [][]byte{
			bytes.Replace(good, []byte(`"tier":"warning"`), []byte(`"tier":"affirming"`), 1),
			bytes.Replace(good, []byte(records[0].Verdict), []byte(audit.Sum([]byte("another"))), 1),
			bytes.Replace(good, []byte(`"kind":"verdict"`), []byte(`"kind":"no-verdict"`), 1),
			good[bytes.IndexByte(good, '\n')+1:],
		} {
			if _, err := audit.Check(bytes.NewReader(forged), b.keys["me"], audit.CheckOptions{}); err == nil || bytes.Equal(forged, good) {
				t.Errorf("%s: the lead's records can be changed: %v", name, err)
			}
		}
	}
}

// checkLead holds a lead's record to its signed verdict.
func checkLead(t testing.TB, f *federation, res *verdict.Result, r audit.Record, raw []byte) {
	t.Helper()
	signed, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, f.anchors)
	must(t, err)
	if r.Kind != audit.KindVerdict || r.KID != signed.KID || r.Verdict != audit.Sum(res.Token) || r.Tier != signed.Outcome.Tier.String() ||
		r.Composite != audit.Sum(raw) || r.Nonce != audit.Sum([]byte(wordNonce)) || r.Topology != signed.Topology || r.Plan != audit.DigestOf(signed.PlanDigest) {
		t.Errorf("%s: the record is not about the verdict: %+v", signed.Topology, r.Event)
	}
	if len(r.Components) != len(signed.Components) {
		t.Fatalf("%s: %d components in the record, %d in the verdict", signed.Topology, len(r.Components), len(signed.Components))
	}
	for i, c := range r.Components {
		want := signed.Components[i]
		if c.Label != string(want.Label) || c.Scheme != want.Scheme || c.Request != want.Request || c.Evidence != audit.DigestOf(want.Evidence) ||
			c.Tier != want.Tier().String() || partials(c) != signedPartials(want) {
			t.Errorf("%s: %s: %+v", signed.Topology, c.Label, c)
		}
		if (c.Label == "d") != (len(c.At) == 0) {
			t.Errorf("%s: %s was to be appraised at %q", signed.Topology, c.Label, c.At)
		}
	}
}

func partials(c audit.Component) string {
	var out []string
	for _, p := range c.Partials {
		out = append(out, p.KID+" "+string(p.Digest))
	}
	return strings.Join(out, "\n")
}

func signedPartials(c verdict.Component) string {
	var out []string
	for _, p := range c.Partials() {
		_, kid := p.Verifier()
		out = append(out, kid+" "+string(audit.Sum(p.Token())))
	}
	return strings.Join(out, "\n")
}

// MV-43: the records of all nodes together say for every component by whom it
// was handed to whom, who asked which verifier in the end, and with which
// result, and they agree with each other and with the signed verdict.
func TestMV43EveryHopIsAudited(t *testing.T) {
	for name, topology := range heads {
		f, b := audited(t, options{})
		res := f.appraise(topology, words(t, wordNonce, "a cpu good", "b dev warn", "c dev bad"))
		a := auditor{t: t, f: f, b: b, session: res.Session}
		lead := b.records("me", res.Session)[0]
		for _, c := range lead.Components {
			if signed := part(t, res, c.Label); partials(c) != signedPartials(signed) || c.Tier != signed.Tier().String() {
				t.Errorf("%s: %s: %+v", name, c.Label, c)
			}
			a.follow(lead, c)
		}
		slices.Sort(a.questions)
		slices.Sort(a.passages)
		var asked, sent []string
		for _, q := range f.questions {
			asked = append(asked, q.from+" asks for "+q.label+" at "+q.at)
		}
		for _, p := range f.passages {
			sent = append(sent, p.from+">"+p.to)
		}
		slices.Sort(asked)
		slices.Sort(sent)
		if got := slices.Compact(a.questions); !slices.Equal(got, asked) {
			t.Errorf("%s: the records say %q, it was %q", name, got, asked)
		}
		if got := slices.Compact(a.passages); !slices.Equal(got, slices.Compact(sent)) {
			t.Errorf("%s: the records say %q, it was %q", name, got, sent)
		}
		// A message that comes again is refused, and who had signed it is on record.
		for _, p := range f.passages {
			before := len(b.records(p.to, res.Session))
			if _, err := f.members[p.to].entry.HandleRelay(t.Context(), p.message); err == nil {
				t.Errorf("%s: an envelope counts twice", name)
			}
			after := b.records(p.to, res.Session)
			r := after[len(after)-1]
			if len(after) != before+1 || r.Kind != audit.KindRelayRefused || r.Received.Node != p.from || r.Received.KID != f.members[p.from].nodeKey.KID() ||
				r.Received.Envelope != audit.Sum(p.message) || r.Received.Error != verdict.ReasonRefused || r.Received.Answer != "" {
				t.Errorf("%s: the refusal of %s is recorded as %+v", name, p.to, r.Event)
			}
		}
		b.noSecrets(name)
	}
}

// auditor follows components through the records of the nodes.
type auditor struct {
	t                   testing.TB
	f                   *federation
	b                   *books
	session             string
	questions, passages []string
}

// follow takes the record of one node about a component to the node that it
// names, until one has asked the verifier.
func (a *auditor) follow(r audit.Record, c audit.Component) {
	a.t.Helper()
	if c.Relay == "" {
		at := strings.Join(c.At, " ")
		if at == "any" {
			at = r.Node
		}
		a.questions = append(a.questions, fmt.Sprintf("%s asks for %s at %s", r.Node, c.Label, at))
		return
	}
	a.passages = append(a.passages, r.Node+">"+c.Relay)
	for _, next := range a.b.records(c.Relay, a.session) {
		i := slices.IndexFunc(r.Handed, func(h audit.Relay) bool { return next.Received != nil && h.ID == next.Received.ID })
		if i < 0 {
			continue
		}
		sent, got := r.Handed[i], next.Received
		if next.Kind != audit.KindRelayAnswered || sent.Node != next.Node || sent.Envelope != got.Envelope || sent.Answer != got.Answer || sent.Expr != got.Expr ||
			got.Node != r.Node || got.KID != a.f.members[r.Node].nodeKey.KID() || sent.KID != a.f.members[next.Node].nodeKey.KID() ||
			!slices.Equal(sent.Via, got.Via) || !slices.Equal(sent.Path, got.Path) || got.Path[len(got.Path)-1] != r.Node || next.Composite != r.Composite || next.Nonce != r.Nonce {
			a.t.Errorf("%s and %s disagree about %+v and %+v", r.Node, next.Node, sent, *got)
		}
		for _, there := range next.Components {
			if there.Label != c.Label {
				continue
			}
			if there.Request != c.Request || there.Evidence != c.Evidence || there.Scheme != c.Scheme || partials(there) != partials(c) || len(c.Partials) != 1 {
				a.t.Errorf("%s and %s disagree about %s: %+v and %+v", r.Node, next.Node, c.Label, c, there)
			}
			a.follow(next, there)
			return
		}
	}
	a.t.Errorf("%s has handed %s to %s, which has no record of it", r.Node, c.Label, c.Relay)
}

// noSecrets finds neither evidence nor challenges in any log, however written.
func (b *books) noSecrets(name string) {
	b.t.Helper()
	for node := range b.logs {
		raw := b.read(node)
		for _, secret := range []string{wordNonce, wordNonce + " good", " warn", " bad"} {
			for form, text := range map[string]string{
				"as it is": secret, "hex": hex.EncodeToString([]byte(secret)), "base64": base64.RawStdEncoding.EncodeToString([]byte(secret)),
				"base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)),
			} {
				if bytes.Contains(raw, []byte(text)) {
					b.t.Errorf("%s: the log of %s has %q, %s", name, node, secret, form)
				}
			}
		}
	}
}

// What nobody could be asked about is on record as well, with the reason.
func TestAuditOfWhatFailed(t *testing.T) {
	f, b := audited(t, options{})
	f.wire = func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if to == "n2" {
			m = flip(m, len(m)-1)
		}
		return next(m)
	}
	res := f.appraise("lead(a, lead(b)@n1, lead(c)@n2)", abc(t))
	lead := b.records("me", res.Session)[0]
	for i, want := range []string{"a affirming", "b affirming", "c none"} {
		if c := lead.Components[i]; c.Label+" "+c.Tier != want {
			t.Errorf("%s %s, want %s", c.Label, c.Tier, want)
		}
	}
	if h := lead.Handed[1]; h.Node != "n2" || h.Error == "" || h.Answer != "" || h.KID != "" {
		t.Errorf("%+v", h)
	}
	if c := lead.Components[2]; len(c.Reasons) == 0 || len(c.Partials) != 0 || c.Relay != "n2" {
		t.Errorf("%+v", c)
	}
	// n2 cannot know whose it was, or what session, but has the message's digest.
	refused := b.records("n2", "")
	r := refused[len(refused)-2]
	if r.Kind != audit.KindRelayRefused || r.Received.Node != "" || r.Received.Envelope == "" || r.Received.Envelope == lead.Handed[1].Envelope {
		t.Errorf("%+v", r.Event)
	}
}
