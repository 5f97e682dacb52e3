// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

var guardTime = time.Unix(1750000000, 0).UTC()

func newSigner(t testing.TB) *trust.Signer {
	t.Helper()
	s, err := trust.GenerateSigner("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func peersOf(t testing.TB, nodes ...trust.Node) *trust.Nodes {
	t.Helper()
	set, err := trust.NewNodes(nodes...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func nodeWith(t testing.TB, name string, keys ...trust.Key) trust.Node {
	t.Helper()
	a, err := trust.NewAnchors(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return trust.Node{Name: name, Keys: a}
}

// court is a guarded verifier with the keys of those who ask it.
type court struct {
	lead, other, own, verifier, stranger *trust.Signer
	guard                                *Guard
}

func newCourt(t testing.TB, change func(*GuardOptions)) *court {
	t.Helper()
	c := &court{lead: newSigner(t), other: newSigner(t), own: newSigner(t), verifier: newSigner(t), stranger: newSigner(t)}
	o := GuardOptions{
		Names: []string{"cv", "site-1"}, Own: c.own.Key("cv", nil, trust.RoleNode), Clock: func() time.Time { return guardTime },
		Peers: peersOf(t,
			nodeWith(t, "lead", c.lead.Key("lead", nil, trust.RoleNode), c.verifier.Key("v", []string{"a"}, trust.RoleVerifier)),
			nodeWith(t, "other", c.other.Key("other", nil, trust.RoleNode)),
		),
	}
	if change != nil {
		change(&o)
	}
	g, err := NewGuard(o)
	if err != nil {
		t.Fatal(err)
	}
	c.guard = g
	return c
}

func origin() Origin {
	return Origin{From: "lead", To: "cv", Issued: guardTime, Expires: guardTime.Add(10 * time.Second)}
}

func signedRequest(t testing.TB, s *trust.Signer, r Request, o Origin) []byte {
	t.Helper()
	raw, err := SignRequest(rand.Reader, r, o, s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func wantRefusal(t *testing.T, what string, err error, code int) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) || r.Code != code {
		t.Errorf("%s: %v, want %d", what, err, code)
		return
	}
	if want := map[int]string{400: "malformed request", 403: "not allowed"}[code]; r.Text != want {
		t.Errorf("%s: text %q", what, r.Text)
	}
}

func TestSignedRequestRoundTrip(t *testing.T) {
	c := newCourt(t, nil)
	full := request(t)
	full.Time, full.Composite = time.Unix(1750000000, 0).UTC(), sha256.Sum256([]byte("composite"))
	bare := request(t)
	bare.Nonce, bare.NonceRule = nil, ""
	anywhere, atSite := origin(), origin()
	anywhere.To, atSite.To = "", "site-1"
	for name, tc := range map[string]struct {
		r Request
		o Origin
	}{"full": {full, origin()}, "bare": {bare, origin()}, "anywhere": {full, anywhere}, "by site": {full, atSite}} {
		got, o, err := c.guard.Open(signedRequest(t, c.lead, tc.r, tc.o), true)
		tc.o.KID = c.lead.KID()
		if err != nil || !reflect.DeepEqual(got, tc.r) || o != tc.o {
			t.Errorf("%s: %+v %+v, %v", name, got, o, err)
		}
	}
	o := origin()
	o.From = "cv"
	if _, _, err := c.guard.Open(signedRequest(t, c.own, full, o), true); err != nil {
		t.Errorf("a request of the node itself: %v", err)
	}
}

// Each rule about who may ask, for what, and when.
func TestGuardRefuses(t *testing.T) {
	c := newCourt(t, nil)
	with := func(change func(*Origin)) Origin {
		o := origin()
		change(&o)
		return o
	}
	plain, err := EncodeRequest(request(t))
	if err != nil {
		t.Fatal(err)
	}
	good := signedRequest(t, c.lead, request(t), origin())
	if _, _, err := c.guard.Open(good, true); err != nil {
		t.Fatal(err)
	}
	skew := limits.ClockSkew + time.Millisecond
	for name, tc := range map[string]struct {
		raw    []byte
		signed bool
		code   int
	}{
		"unsigned":                   {plain, false, 403},
		"unknown signer":             {signedRequest(t, c.stranger, request(t), origin()), true, 403},
		"verifier's key of the peer": {signedRequest(t, c.verifier, request(t), origin()), true, 403},
		"in another's name":          {signedRequest(t, c.other, request(t), origin()), true, 403},
		"in the verifier's name":     {signedRequest(t, c.lead, request(t), with(func(o *Origin) { o.From = "cv" })), true, 403},
		"own key, other name":        {signedRequest(t, c.own, request(t), origin()), true, 403},
		"for another verifier":       {signedRequest(t, c.lead, request(t), with(func(o *Origin) { o.To = "cv-2" })), true, 403},
		"expired": {signedRequest(t, c.lead, request(t), with(func(o *Origin) {
			o.Issued, o.Expires = guardTime.Add(-skew-time.Second), guardTime.Add(-skew)
		})), true, 403},
		"from the future": {signedRequest(t, c.lead, request(t), with(func(o *Origin) {
			o.Issued, o.Expires = guardTime.Add(skew), guardTime.Add(skew+time.Second)
		})), true, 403},
		"signed, called plain": {good, false, 403},
		"plain, called signed": {plain, true, 403},
		"empty":                {nil, true, 400},
		"truncated":            {good[:len(good)-1], true, 400},
		"trailing":             {append(bytes.Clone(good), 0), true, 400},
	} {
		r, o, err := c.guard.Open(tc.raw, tc.signed)
		if r.ID != "" || o != (Origin{}) {
			t.Errorf("%s: gave %+v %+v", name, r, o)
		}
		var refusal *Refusal
		if tc.code == 400 && errors.As(err, &refusal) && refusal.Code == 403 {
			continue // broken signatures and broken messages look alike
		}
		wantRefusal(t, name, err, tc.code)
	}
	// Just within the skew is fine.
	for _, o := range []Origin{
		with(func(o *Origin) { o.Issued = guardTime.Add(limits.ClockSkew); o.Expires = o.Issued.Add(time.Second) }),
		with(func(o *Origin) { o.Expires = guardTime.Add(-limits.ClockSkew); o.Issued = o.Expires.Add(-time.Second) }),
	} {
		if _, _, err := c.guard.Open(signedRequest(t, c.lead, request(t), o), true); err != nil {
			t.Error(err)
		}
	}
}

// No bit of a signed request can be changed: neither evidence nor statement.
func TestSignedRequestCannotBeAltered(t *testing.T) {
	c := newCourt(t, nil)
	r := request(t)
	raw := signedRequest(t, c.lead, r, origin())
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		if got, _, err := c.guard.Open(bad, true); err == nil {
			t.Fatalf("byte %d: %+v", i, got)
		}
	}
}

// A peer's key past its end does not count.
func TestGuardKeysExpire(t *testing.T) {
	c := newCourt(t, nil)
	k := c.lead.Key("lead", nil, trust.RoleNode)
	k.NotAfter = guardTime.Add(-time.Second)
	fresh := newSigner(t)
	g, err := NewGuard(GuardOptions{Names: []string{"cv"}, Clock: func() time.Time { return guardTime },
		Peers: peersOf(t, nodeWith(t, "lead", k, fresh.Key("lead-2", nil, trust.RoleNode)))})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = g.Open(signedRequest(t, c.lead, request(t), origin()), true)
	wantRefusal(t, "expired key", err, 403)
	if _, _, err := g.Open(signedRequest(t, fresh, request(t), origin()), true); err != nil {
		t.Error(err)
	}
}

func TestGuardForAnyone(t *testing.T) {
	c := newCourt(t, func(o *GuardOptions) { o.Anyone = true })
	plain, err := EncodeRequest(request(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, o, err := c.guard.Open(plain, false); err != nil || o != (Origin{}) {
		t.Errorf("unsigned: %+v %v", o, err)
	}
	if _, o, err := c.guard.Open(signedRequest(t, c.stranger, request(t), origin()), true); err != nil || o.KID != "" {
		t.Errorf("a stranger: %+v %v", o, err)
	}
	raw := signedRequest(t, c.lead, request(t), origin())
	if _, o, err := c.guard.Open(raw, true); err != nil || o.KID != c.lead.KID() {
		t.Errorf("a peer: %+v %v", o, err)
	}
	raw[len(raw)-1] ^= 1
	_, _, err = c.guard.Open(raw, true)
	wantRefusal(t, "wrong signature of a peer", err, 403)
	elsewhere := origin()
	elsewhere.To = "cv-2"
	_, _, err = c.guard.Open(signedRequest(t, c.stranger, request(t), elsewhere), true)
	wantRefusal(t, "for another verifier", err, 403)
	_, _, err = c.guard.Open(signedRequest(t, c.other, request(t), origin()), true)
	wantRefusal(t, "in another's name", err, 403)
}

// A verifier that knows no node reads both forms.
func TestNoGuard(t *testing.T) {
	var g *Guard
	r := request(t)
	plain, err := EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := g.Open(plain, false); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("plain: %v", err)
	}
	raw := signedRequest(t, newSigner(t), r, origin())
	if got, o, err := g.Open(raw, true); err != nil || !reflect.DeepEqual(got, r) || o.KID != "" {
		t.Errorf("signed: %v", err)
	}
	for _, tc := range []struct {
		raw    []byte
		signed bool
	}{{plain, true}, {raw, false}, {nil, true}, {nil, false}} {
		_, _, err := g.Open(tc.raw, tc.signed)
		wantRefusal(t, "form", err, 400)
	}
}

// What is signed by a peer and malformed is malformed.
func TestSignedStatementIsStrict(t *testing.T) {
	c := newCourt(t, nil)
	seal := func(collection, mediaType string, statement []byte, more ...evidence.Entry) []byte {
		t.Helper()
		entries := append(more,
			evidence.Entry{Label: "evidence", Item: evidence.Record(mt(t, "x/a"), []byte("e"), evidence.IndEvidence)},
			evidence.Entry{Label: "request", Item: evidence.Record(evidence.MediaType{Base: mediaType}, statement, 0)})
		payload, err := evidence.EncodeCBOR(evidence.Collection(collection, entries...))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := evidence.SignCOSE(rand.Reader, payload, c.lead.Handle(), evidence.SignOptions{KID: []byte(c.lead.KID())})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	r := request(t)
	r.Composite = sha256.Sum256([]byte("c"))
	st := newStatement(r)
	st.From, st.To, st.Issued, st.Expires = "lead", "cv", guardTime.Format(formMillis), guardTime.Add(time.Second).Format(formMillis)
	st.Composite = strings.Repeat("ab", 32)
	with := func(change func(*statement)) []byte {
		t.Helper()
		s := st
		change(&s)
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := with(func(*statement) {})
	if _, _, err := c.guard.Open(seal(RequestType, requestMediaType, good), true); err != nil {
		t.Fatalf("the baseline is refused: %v", err)
	}
	extra := evidence.Entry{Label: "more", Item: evidence.Record(mt(t, "x/a"), []byte("e"), 0)}
	for name, raw := range map[string][]byte{
		"other collection":   seal("tag:github.com,2026:assize/other", requestMediaType, good),
		"other statement":    seal(RequestType, "application/vnd.assize.relay+json", good),
		"another record":     seal(RequestType, requestMediaType, good, extra),
		"unknown member":     seal(RequestType, requestMediaType, append(bytes.TrimSuffix(bytes.Clone(good), []byte("}")), `,"x":1}`...)),
		"duplicate":          seal(RequestType, requestMediaType, append(bytes.TrimSuffix(bytes.Clone(good), []byte("}")), `,"from":"lead"}`...)),
		"white space":        seal(RequestType, requestMediaType, append([]byte(" "), good...)),
		"plain statement":    seal(RequestType, requestMediaType, with(func(s *statement) { *s = newStatement(r) })),
		"no sender":          seal(RequestType, requestMediaType, with(func(s *statement) { s.From = "" })),
		"odd sender":         seal(RequestType, requestMediaType, with(func(s *statement) { s.From = "Lead" })),
		"odd recipient":      seal(RequestType, requestMediaType, with(func(s *statement) { s.To = "c.v" })),
		"no issue":           seal(RequestType, requestMediaType, with(func(s *statement) { s.Issued = "" })),
		"no end":             seal(RequestType, requestMediaType, with(func(s *statement) { s.Expires = "" })),
		"other time form":    seal(RequestType, requestMediaType, with(func(s *statement) { s.Issued = guardTime.Format(time.RFC3339) })),
		"ends at once":       seal(RequestType, requestMediaType, with(func(s *statement) { s.Expires = s.Issued })),
		"ends too late":      seal(RequestType, requestMediaType, with(func(s *statement) { s.Expires = guardTime.Add(limits.Session + 1e6).Format(formMillis) })),
		"upper-case digest":  seal(RequestType, requestMediaType, with(func(s *statement) { s.Composite = strings.ToUpper(s.Composite) })),
		"short digest":       seal(RequestType, requestMediaType, with(func(s *statement) { s.Composite = "ab" })),
		"digest of nothing":  seal(RequestType, requestMediaType, with(func(s *statement) { s.Composite = strings.Repeat("0", 64) })),
		"request identifier": seal(RequestType, requestMediaType, with(func(s *statement) { s.ID = "0a" })),
	} {
		_, _, err := c.guard.Open(raw, true)
		wantRefusal(t, name, err, 400)
	}
	// The unsigned form has none of this.
	payload, err := evidence.EncodeCBOR(evidence.Collection(RequestType,
		evidence.Entry{Label: "evidence", Item: evidence.Record(mt(t, "x/a"), []byte("e"), evidence.IndEvidence)},
		evidence.Entry{Label: "request", Item: evidence.Record(evidence.MediaType{Base: requestMediaType}, good, 0)}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeRequest(payload); err == nil {
		t.Error("a signed statement was read without its signature")
	}
}

func TestSignRequestRefuses(t *testing.T) {
	s := newSigner(t)
	for name, change := range map[string]func(*Origin){
		"no sender":      func(o *Origin) { o.From = "" },
		"odd recipient":  func(o *Origin) { o.To = "a.b" },
		"no time":        func(o *Origin) { o.Issued = time.Time{} },
		"ends before":    func(o *Origin) { o.Expires = o.Issued.Add(-1) },
		"ends too late":  func(o *Origin) { o.Expires = o.Issued.Add(limits.Session + time.Millisecond) },
		"below a millis": func(o *Origin) { o.Expires = o.Issued.Add(time.Microsecond) },
	} {
		o := origin()
		change(&o)
		if _, err := SignRequest(rand.Reader, request(t), o, s); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := SignRequest(rand.Reader, request(t), origin(), nil); err == nil {
		t.Error("no signer")
	}
	if _, err := SignRequest(nil, request(t), origin(), s); err == nil {
		t.Error("no randomness")
	}
}

func TestNewGuardRefuses(t *testing.T) {
	clock, s := func() time.Time { return guardTime }, newSigner(t)
	for name, o := range map[string]GuardOptions{
		"no clock":           {Anyone: true},
		"nobody":             {Clock: clock},
		"own key, no name":   {Clock: clock, Own: s.Key("", nil, trust.RoleNode)},
		"own key, no role":   {Clock: clock, Own: s.Key("cv", nil, trust.RoleLead)},
		"own key of a class": {Clock: clock, Own: s.Key("C V", nil, trust.RoleNode)},
	} {
		if _, err := NewGuard(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
