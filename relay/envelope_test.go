// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// unchecked signs an envelope without looking at it, as a bad node could.
func unchecked(t testing.TB, s *trust.Signer, e Envelope, edit func([]evidence.Entry) []evidence.Entry) []byte {
	t.Helper()
	st, err := e.statement()
	must(t, st, err)
	entries := append(partialEntries(e.Partials), entry(entryStatement, typeEnvelope, st, 0))
	if e.Evidence != nil {
		entries = append(entries, entry(entryComposite, typeComposite, e.Evidence, evidence.IndEvidence))
	}
	for i, c := range e.Components {
		if c.Evidence != nil {
			entries = append(entries, entry(numbered(entryEvidence, i), typeEvidence, c.Evidence, evidence.IndEvidence))
		}
	}
	return signedEntries(t, s, EnvelopeType, entries, edit)
}

func signedEntries(t testing.TB, s *trust.Signer, kind string, entries []evidence.Entry, edit func([]evidence.Entry) []evidence.Entry) []byte {
	t.Helper()
	if edit != nil {
		entries = edit(entries)
	}
	raw, err := sign(s, rand.Reader, kind, entries)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestOpenEnvelopeRefuses(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	refused, deviation, loop, timeout := verdict.ReasonRefused, verdict.ReasonPathDeviation, verdict.ReasonLoop, verdict.ReasonTimeout
	hops := func(n int) (via, path []string) {
		for i := range n - 1 {
			via, path = append(via, "k"+strconv.Itoa(i)), append(path, "n"+strconv.Itoa(i))
		}
		return append(via, l.b.KID()), append(path, "vendor-b")
	}
	for _, c := range []struct {
		name        string
		edit        func(*Envelope)
		check, code string
	}{
		{"signer not last", func(e *Envelope) { e.Via = []string{l.b.KID(), l.a.KID()} }, CheckSender, deviation},
		{"no path", func(e *Envelope) { e.Via, e.Path = nil, nil }, CheckSender, deviation},
		{"another recipient", func(e *Envelope) { e.To = "vendor-x" }, CheckRecipient, refused},
		{"own key on the path", func(e *Envelope) { e.Via[0] = l.c.KID() }, CheckLoop, loop},
		{"own name on the path", func(e *Envelope) { e.Path[0] = "vendor-c" }, CheckLoop, loop},
		{"key twice", func(e *Envelope) {
			e.Via, e.Path = []string{"x", "x", l.b.KID()}, []string{"", "x", "vendor-b"}
		}, CheckLoop, loop},
		{"name twice", func(e *Envelope) { e.Path[0] = "vendor-b" }, CheckLoop, loop},
		{"nine hops", func(e *Envelope) { e.Via, e.Path = hops(9) }, CheckVia, deviation},
		{"unnamed node behind the first", func(e *Envelope) { e.Path[1] = "" }, CheckVia, deviation},
		{"bad name on the path", func(e *Envelope) { e.Path[1] = "Vendor B" }, CheckVia, deviation},
		{"empty key id", func(e *Envelope) { e.Via[0] = "" }, CheckVia, deviation},
		{"key id too long", func(e *Envelope) { e.Via[0] = strings.Repeat("k", 256) }, CheckVia, deviation},
		{"from the future", func(e *Envelope) { e.Issued, e.Deadline = testTime.Add(62*time.Second), testTime.Add(70*time.Second) }, CheckFuture, refused},
		{"deadline passed", func(e *Envelope) { e.Issued, e.Deadline = testTime.Add(-2*time.Minute), testTime.Add(-60*time.Second) }, CheckDeadline, timeout},
		{"deadline too far", func(e *Envelope) { e.Deadline = testTime.Add(limits.Session + time.Millisecond) }, CheckDeadline, timeout},
		{"deadline at the issue", func(e *Envelope) { e.Deadline = e.Issued }, CheckDeadline, timeout},
		{"no time of issue", func(e *Envelope) { e.Issued = time.Time{} }, CheckMembers, refused},
		{"id", func(e *Envelope) { e.ID = testID("0A") }, CheckMembers, refused},
		{"no session", func(e *Envelope) { e.Session = "" }, CheckMembers, refused},
		{"session too long", func(e *Envelope) { e.Session = strings.Repeat("s", 65) }, CheckMembers, refused},
		{"no expression", func(e *Envelope) { e.Expr = "" }, CheckMembers, refused},
		{"expression too long", func(e *Envelope) { e.Expr = strings.Repeat("a", maxExpr+1) }, CheckMembers, refused},
		{"expression with a line", func(e *Envelope) { e.Expr = "lead\n" }, CheckMembers, refused},
		{"short nonce", func(e *Envelope) { e.Nonce = make([]byte, 7) }, CheckMembers, refused},
		{"long nonce", func(e *Envelope) { e.Nonce = make([]byte, 65) }, CheckMembers, refused},
		{"no composite digest", func(e *Envelope) { e.Composite = [32]byte{} }, CheckMembers, refused},
		{"commit signer", func(e *Envelope) { e.Commit.Signer = "me" }, CheckMembers, refused},
		{"commit label", func(e *Envelope) { e.Commit.Leaves["a//b"] = evidence.LeafDigest{} }, CheckMembers, refused},
		{"commit too large", func(e *Envelope) {
			for i := range 257 {
				e.Commit.Leaves[evidence.Path("l"+strconv.Itoa(i))] = evidence.LeafDigest{}
			}
		}, CheckMembers, refused},
		{"composite of another digest", func(e *Envelope) { e.Composite[0] ^= 1 }, CheckComposite, refused},
		{"no components", func(e *Envelope) { e.Components = nil }, CheckComponents, refused},
		{"257 components", func(e *Envelope) {
			e.Components = nil
			for i := range 257 {
				id := "00000000000000000000000000000" + strconv.Itoa(100+i)
				e.Components = append(e.Components, Component{Label: evidence.Path("c" + strconv.Itoa(100+i)), MediaType: "a/b", Request: id, Digest: [32]byte{1}})
			}
		}, CheckComponents, refused},
		{"unsorted", func(e *Envelope) { e.Components[0], e.Components[1] = e.Components[1], e.Components[0] }, CheckComponents, refused},
		{"label twice", func(e *Envelope) { e.Components[1].Label, e.Components[1].Leaf = "gpu/0", "gpu" }, CheckComponents, refused},
		{"request twice", func(e *Envelope) { e.Components[1].Request = e.Components[0].Request }, CheckComponents, refused},
		{"request not hexadecimal", func(e *Envelope) { e.Components[0].Request = "request-1" }, CheckComponents, refused},
		{"request in capitals", func(e *Envelope) { e.Components[0].Request = testID("0A") }, CheckComponents, refused},
		{"root label", func(e *Envelope) { e.Components[0].Label, e.Components[0].Leaf = "", "" }, CheckComponents, refused},
		{"label not canonical", func(e *Envelope) { e.Components[0].Label, e.Components[0].Leaf = "#01", "" }, CheckComponents, refused},
		{"label with an escape sequence", func(e *Envelope) { e.Components[0].Label, e.Components[0].Leaf = "a\x1b[2J", "" }, CheckComponents, refused},
		{"leaf elsewhere", func(e *Envelope) { e.Components[0].Leaf = "gp" }, CheckComponents, refused},
		{"scheme", func(e *Envelope) { e.Components[0].Scheme = "NVIDIA" }, CheckComponents, refused},
		{"class", func(e *Envelope) { e.Components[0].Class = "a b" }, CheckComponents, refused},
		{"media type", func(e *Envelope) { e.Components[0].MediaType = "gpu" }, CheckComponents, refused},
		{"media type not canonical", func(e *Envelope) { e.Components[0].MediaType = "application/X" }, CheckComponents, refused},
		{"content format not canonical", func(e *Envelope) { e.Components[1].MediaType = "cf:04711" }, CheckComponents, refused},
		{"component nonce", func(e *Envelope) { e.Components[0].Nonce = []byte{1} }, CheckComponents, refused},
		{"nonce rule", func(e *Envelope) { e.Components[0].NonceRule = "a b" }, CheckComponents, refused},
		{"sources", func(e *Envelope) { e.Components[0].Sources = -1 }, CheckComponents, refused},
		{"too many sources", func(e *Envelope) { e.Components[0].Sources = 257 }, CheckComponents, refused},
		{"no digest", func(e *Envelope) { e.Components[1].Digest = [32]byte{} }, CheckComponents, refused},
		{"sealed for nobody", func(e *Envelope) { e.Components[2].For = "" }, CheckComponents, refused},
		{"plain for somebody", func(e *Envelope) { e.Components[0].For = "vendor-d" }, CheckComponents, refused},
		{"sealed nothing", func(e *Envelope) { e.Components[2].Evidence = nil }, CheckComponents, refused},
		{"sealed to a name that is none", func(e *Envelope) { e.Components[2].For = "Vendor D" }, CheckComponents, refused},
		{"evidence of another digest", func(e *Envelope) { e.Components[0].Evidence = []byte("gpu evidencf") }, CheckEvidence, refused},
		{"result of a component", func(e *Envelope) { e.Partials[0].Label = "gpu/0" }, CheckPartials, refused},
		{"result of the root", func(e *Envelope) { e.Partials[0].Label = "" }, CheckPartials, refused},
		{"result that is no token", func(e *Envelope) { e.Partials[0].Token = []byte("aa.bb") }, CheckPartials, refused},
		{"result with four parts", func(e *Envelope) { e.Partials[0].Token = []byte("aa.bb.cc.dd") }, CheckPartials, refused},
		{"one result twice", func(e *Envelope) { e.Partials[1].Token = e.Partials[0].Token }, CheckPartials, refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := l.envelope()
			c.edit(&e)
			_, _, err := OpenEnvelope(unchecked(t, l.b, e, nil), knows(l.b), l.expect())
			wants(t, err, c.check, c.code)
			if err.(*Error).KID != l.b.KID() {
				t.Error("the error does not name the signer")
			}
		})
	}
	// What is at the edge is accepted.
	e := l.envelope()
	e.Via, e.Path = hops(8)
	e.Issued, e.Deadline = testTime.Add(61*time.Second), testTime.Add(61*time.Second+limits.Session)
	if _, _, err := OpenEnvelope(unchecked(t, l.b, e, nil), knows(l.b), l.expect()); err != nil {
		t.Error(err)
	}
	e.Issued, e.Deadline = testTime.Add(-2*time.Minute), testTime.Add(-59*time.Second)
	if _, _, err := OpenEnvelope(unchecked(t, l.b, e, nil), knows(l.b), l.expect()); err != nil {
		t.Error(err)
	}
	x := l.expect()
	x.Skew = time.Second
	_, _, err := OpenEnvelope(unchecked(t, l.b, e, nil), knows(l.b), x)
	wants(t, err, CheckDeadline, timeout)
}

// Whoever cannot sign for a known node is refused before anything is read.
func TestOpenEnvelopeNeedsAKnownNode(t *testing.T) {
	l := newLab(t, trust.ES256)
	e := l.envelope()
	raw := unchecked(t, l.b, e, nil)
	key := l.b.Key("b", nil, trust.RoleNode)
	with := func(edit func(*trust.Key)) func(string) (trust.Key, bool) {
		k := key
		edit(&k)
		return func(string) (trust.Key, bool) { return k, true }
	}
	for name, find := range map[string]func(string) (trust.Key, bool){
		"nobody known":   knows(),
		"others known":   knows(l.a, l.c),
		"another role":   with(func(k *trust.Key) { k.Roles = []trust.Role{trust.RoleLead, trust.RoleVerifier, trust.RoleAttester} }),
		"key has ended":  with(func(k *trust.Key) { k.NotAfter = testTime }),
		"another key":    with(func(k *trust.Key) { k.Public = l.a.Key("", nil).Public }),
		"another key id": with(func(k *trust.Key) { k.KID = l.a.KID() }),
		"another alg":    with(func(k *trust.Key) { k.Alg = trust.ES384 }),
	} {
		_, kid, err := OpenEnvelope(raw, find, l.expect())
		wants(t, err, CheckSignature, verdict.ReasonRefused)
		if kid != "" {
			t.Errorf("%s: names %s", name, kid)
		}
	}
	if _, _, err := OpenEnvelope(raw, with(func(*trust.Key) {}), l.expect()); err != nil {
		t.Error(err)
	}
	// Signature before contents: an envelope that is wrong in every other way
	// as well is refused for its signature.
	e.To, e.ID, e.Components = "x", "", nil
	_, _, err := OpenEnvelope(unchecked(t, l.b, e, nil), knows(), l.expect())
	wants(t, err, CheckSignature, verdict.ReasonRefused)
	// Unsigned, and signed without a key id.
	st, err := e.statement()
	must(t, st, err)
	payload, err := evidence.EncodeCBOR(evidence.Collection(EnvelopeType, entry(entryStatement, typeEnvelope, st, 0)))
	must(t, payload, err)
	_, _, err = OpenEnvelope(payload, knows(l.b), l.expect())
	wants(t, err, CheckSignature, verdict.ReasonRefused)
	anonymous, err := evidence.SignCOSE(rand.Reader, payload, l.b.Handle(), evidence.SignOptions{})
	must(t, anonymous, err)
	_, _, err = OpenEnvelope(anonymous, with(func(k *trust.Key) { k.KID = "" }), l.expect())
	wants(t, err, CheckSignature, verdict.ReasonRefused)
}

func TestOpenEnvelopeNeedsArguments(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	raw := unchecked(t, l.b, l.envelope(), nil)
	for _, edit := range []func(*Expect){
		func(x *Expect) { x.To = "" }, func(x *Expect) { x.KID = "" }, func(x *Expect) { x.Now = time.Time{} },
	} {
		x := l.expect()
		edit(&x)
		_, _, err := OpenEnvelope(raw, knows(l.b), x)
		wants(t, err, CheckArguments, "")
	}
	_, _, err := OpenEnvelope(raw, nil, l.expect())
	wants(t, err, CheckArguments, "")
}

func TestEntriesAndStatementAgree(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	drop := func(label string) func([]evidence.Entry) []evidence.Entry {
		return func(in []evidence.Entry) (out []evidence.Entry) {
			for _, e := range in {
				if e.Label != label {
					out = append(out, e)
				}
			}
			return out
		}
	}
	replace := func(label string, e evidence.Entry) func([]evidence.Entry) []evidence.Entry {
		return func(in []evidence.Entry) []evidence.Entry { return append(drop(label)(in), e) }
	}
	add := func(e evidence.Entry) func([]evidence.Entry) []evidence.Entry { return replace("", e) }
	nested := evidence.Collection("", entry("x", "a/b", []byte("v"), 0))
	for _, c := range []struct {
		name  string
		edit  func([]evidence.Entry) []evidence.Entry
		check string
	}{
		{"evidence of nobody", add(entry("evidence/1", typeEvidence, []byte("x"), evidence.IndEvidence)), CheckEntries},
		{"evidence behind the components", add(entry("evidence/3", typeEvidence, []byte("x"), evidence.IndEvidence)), CheckEntries},
		{"result without a label", add(entry("par/2", typePartial, []byte("x.y.z"), evidence.IndResults)), CheckEntries},
		{"unknown entry", add(entry("note", "text/plain", []byte("x"), 0)), CheckEntries},
		{"evidence missing", drop("evidence/0"), CheckEntries},
		{"sealed evidence missing", drop("evidence/2"), CheckEntries},
		{"result missing", drop("par/1"), CheckEntries},
		{"composite missing", drop("composite"), CheckEntries},
		{"no statement", drop("statement"), CheckMessage},
		{"evidence as results", replace("evidence/0", entry("evidence/0", typeEvidence, []byte("gpu evidence"), evidence.IndResults)), CheckEntries},
		{"evidence without ind", replace("evidence/0", entry("evidence/0", typeEvidence, []byte("gpu evidence"), 0)), CheckEntries},
		{"evidence of another type", replace("evidence/0", entry("evidence/0", "a/b", []byte("gpu evidence"), evidence.IndEvidence)), CheckEntries},
		{"result as evidence", replace("par/0", entry("par/0", typePartial, []byte("aa.bb.cc"), evidence.IndEvidence)), CheckEntries},
		{"result of another type", replace("par/0", entry("par/0", "application/eat+cwt", []byte("aa.bb.cc"), evidence.IndResults)), CheckEntries},
		{"composite of another type", replace("composite", entry("composite", "a/b", []byte("a composite, byte for byte"), evidence.IndEvidence)), CheckEntries},
		{"statement of another type", replace("statement", entry("statement", typeAnswer, []byte("{}"), 0)), CheckMessage},
		{"collection inside", add(evidence.Entry{Label: "more", Item: nested}), CheckMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := OpenEnvelope(unchecked(t, l.b, l.envelope(), c.edit), knows(l.b), l.expect())
			wants(t, err, c.check, verdict.ReasonRefused)
		})
	}
}

// The statement is read in one spelling only.
func TestStatementHasOneSpelling(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	e := l.envelope()
	st, err := e.statement()
	must(t, st, err)
	for _, c := range []struct{ name, old, new string }{
		{"unknown member", `{"id":`, `{"extra":1,"id":`},
		{"unknown member below", `{"label":"nic"`, `{"x":1,"label":"nic"`},
		{"duplicate member", `"to":"vendor-c"`, `"to":"vendor-x","to":"vendor-c"`},
		{"duplicate member below", `"leaf":"nic"`, `"leaf":"x","leaf":"nic"`},
		{"member in capitals", `"to":`, `"TO":`},
		{"white space", `"to":`, `"to": `},
		{"other order", `"class":"","request":"` + testID("02") + `"`, `"request":"` + testID("02") + `","class":""`},
		{"missing member", `"to":"vendor-c",`, ``},
		{"escaped letter", `"vendor-c"`, `"vendor-\u0063"`},
		{"digest in capitals", `"digest":"`, `"digest":"AA`},
		{"digest too short", `"composite":"`, `"composite":"" ,"x":"`},
		{"null list", `"partials":["cpu","a~1b"]`, `"partials":null`},
		{"zero sources", `"required":true,"digest"`, `"required":true,"sources":0,"digest"`},
		{"float sources", `"sources":3`, `"sources":3.0`},
		{"not exposed", `"exposed":true`, `"exposed":false`},
		{"time with a zone", `"issued":"2026-03-01T12:00:00.250Z"`, `"issued":"2026-03-01T13:00:00.250+01:00"`},
		{"time in seconds", `"issued":"2026-03-01T12:00:00.250Z"`, `"issued":"2026-03-01T12:00:00Z"`},
		{"padded nonce", `"nonce":"paWl`, `"nonce":"=paWl`},
		{"how evidence is there", `"evidence":"plain"`, `"evidence":"open"`},
		{"sealed called plain", `"evidence":"sealed"`, `"evidence":"plain"`},
		{"two values", `{"id":`, `{}{"id":`},
		{"not an object", `{"id":`, `[{"id":`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := bytes.Replace(st, []byte(c.old), []byte(c.new), 1)
			if bytes.Equal(bad, st) {
				t.Fatal("nothing replaced")
			}
			raw := unchecked(t, l.b, e, func(in []evidence.Entry) []evidence.Entry {
				for i := range in {
					if in[i].Label == entryStatement {
						in[i] = entry(entryStatement, typeEnvelope, bad, 0)
					}
				}
				return in
			})
			_, _, err := OpenEnvelope(raw, knows(l.b), l.expect())
			if e, ok := err.(*Error); !ok || e.Check != CheckStatement && e.Check != CheckEntries {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, behind := range []string{" ", "x", "{}"} {
		m := &message{entries: map[string]*evidence.Node{}}
		if _, err := readEnvelope(append(bytes.Clone(st), behind...), m); err == nil {
			t.Errorf("%q behind the statement is read", behind)
		}
	}
}

// Sign refuses what OpenEnvelope would.
func TestSignChecks(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	for check, edit := range map[string]func(*Envelope){
		CheckMembers:    func(e *Envelope) { e.ID = "" },
		CheckVia:        func(e *Envelope) { e.Path = e.Path[1:] },
		CheckComponents: func(e *Envelope) { e.Components[0].Evidence = []byte{} },
		CheckComposite:  func(e *Envelope) { e.Composite = sha256.Sum256(nil) },
		CheckDeadline:   func(e *Envelope) { e.Deadline = e.Issued.Add(time.Hour) },
		CheckPartials:   func(e *Envelope) { e.Partials[0].Token = nil },
	} {
		e := l.envelope()
		edit(&e)
		_, err := e.Sign(l.b, rand.Reader)
		wants(t, err, check, verdict.ReasonMalfunction)
	}
	e := l.envelope()
	e.Commit.Nonce = e.Nonce
	_, err := e.Sign(l.b, rand.Reader)
	wants(t, err, CheckMembers, "")
	e = l.envelope()
	e.Evidence = []byte{}
	_, err = e.Sign(l.b, rand.Reader)
	wants(t, err, CheckMembers, "")
	e = l.envelope()
	e.Components[0].Label = "gpu/\xff"
	_, err = e.Sign(l.b, rand.Reader)
	wants(t, err, CheckComponents, "")
}
