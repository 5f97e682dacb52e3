// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

func mt(t testing.TB, s string) evidence.MediaType {
	t.Helper()
	m, err := evidence.ParseMediaType(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// told is a verifier that gives back what it was told to.
type told struct {
	a    verdict.Appraisal
	err  error
	bang bool
}

func (v told) Appraise(context.Context, Input) (verdict.Appraisal, error) {
	if v.bang {
		panic("bang")
	}
	return v.a, v.err
}

func scheme(t testing.TB, name string, v Verifier, accepts ...string) Scheme {
	s := Scheme{
		Name: name, Class: ClassDevice, Version: "1.0.0", MaxEvidence: 64, NonceSize: 32,
		Required: []verdict.ClaimName{verdict.Hardware, verdict.Executables, verdict.Configuration},
		New:      func(Deps) (Verifier, error) { return v, nil },
	}
	for _, a := range accepts {
		s.Accepts = append(s.Accepts, mt(t, a))
	}
	return s
}

func TestSetRefusesAmbiguity(t *testing.T) {
	ok := scheme(t, "a", told{}, "x/a")
	incomplete := ok
	incomplete.New = nil
	unlimited := ok
	unlimited.MaxEvidence = 0
	classless := ok
	classless.Class = ""
	for name, list := range map[string][]Scheme{
		"twice the name":    {ok, scheme(t, "a", told{}, "x/b")},
		"twice the pattern": {ok, scheme(t, "b", told{}, "x/a")},
		"bad slug":          {scheme(t, "Bad Name", told{}, "x/a")},
		"no patterns":       {scheme(t, "a", told{})},
		"no verifier":       {incomplete},
		"no limit":          {unlimited},
		"no class":          {classless},
	} {
		if _, err := NewSet(list...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	set, err := NewSet(ok)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Only("b"); err == nil {
		t.Error("an unknown scheme was picked")
	}
}

func TestRoute(t *testing.T) {
	set, err := NewSet(
		scheme(t, "plain", told{}, "x/a"),
		scheme(t, "special", told{}, `x/a; p="1"`),
		scheme(t, "left", told{}, `x/b; l="1"`),
		scheme(t, "right", told{}, `x/b; r="1"`),
		scheme(t, "tdx", told{}, `application/vnd.veraison.tsm-report+json; provider="tdx_guest"`,
			`application/vnd.assize.azure-cvm+json; tee="tdx"`),
		scheme(t, "snp", told{}, `application/vnd.assize.azure-cvm+json; tee="snp"`),
	)
	if err != nil {
		t.Fatal(err)
	}
	report := func(provider string) []byte {
		return []byte(`{"outblob":"` + base64.RawURLEncoding.EncodeToString([]byte("quote")) + `","provider":"` + provider + `"}`)
	}
	azure := func(member string) []byte {
		pcrs := strings.Repeat(`"`+strings.Repeat("00", 32)+`",`, 24)
		return []byte(`{"version":1,"hcl_report":"AAAA","` + member + `":"AAAA","tpm_quote":{"message":"00","signature":"00","pcrs":[` + pcrs[:len(pcrs)-1] + `]}}`)
	}
	const cvm = "application/vnd.assize.azure-cvm+json"
	const tsm = "application/vnd.veraison.tsm-report+json"
	for _, c := range []struct {
		media string
		raw   []byte
		want  string
		err   error
	}{
		{"x/a", nil, "plain", nil},
		{`X/A; q="2"`, nil, "plain", nil},
		{`x/a; p="1"; q="2"`, nil, "special", nil},
		{`x/a; p="2"`, nil, "plain", nil},
		{"x/c", nil, "", ErrNoVerifier},
		{"x/b", nil, "", ErrNoVerifier},
		{`x/b; l="1"; r="1"`, nil, "", ErrNoVerifier}, // two claim it equally
		{tsm, report("tdx_guest"), "tdx", nil},
		{tsm, report("tdx_guest\\n"), "tdx", nil},
		{tsm, report("sev_guest"), "", ErrNoVerifier},
		{tsm, []byte("{}"), "", ErrMalformed},
		{tsm + `; provider="tdx_guest"`, report("sev_guest"), "", ErrMalformed},
		{cvm, azure("vcek"), "snp", nil},
		{cvm, azure("td_quote"), "tdx", nil},
		{cvm, azure("unheard"), "", ErrMalformed},
		{cvm + `; tee="tdx"`, azure("vcek"), "", ErrMalformed},
	} {
		got, _, err := set.Route(mt(t, c.media), c.raw)
		if got.Name != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.media, got.Name, err, c.want, c.err)
		}
	}
}

func TestComponentsIsARecoverBoundary(t *testing.T) {
	s := scheme(t, "a", told{}, "x/a")
	for name, split := range map[string]func(evidence.MediaType, []byte) ([][]byte, error){
		"panic":   func(evidence.MediaType, []byte) ([][]byte, error) { panic("bang") },
		"error":   func(evidence.MediaType, []byte) ([][]byte, error) { return nil, errors.New("no") },
		"nothing": func(evidence.MediaType, []byte) ([][]byte, error) { return nil, nil },
	} {
		s.Split = split
		if _, err := s.Components(mt(t, "x/a"), nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func request(t testing.TB) Request {
	return Request{
		ID: strings.Repeat("0a", 16), Session: strings.Repeat("0b", 16), Label: "gpu/0", Scheme: "a",
		MediaType: mt(t, "x/a"), Evidence: []byte("evidence"), Nonce: bytes.Repeat([]byte{7}, 32), NonceRule: "same",
	}
}

func TestRequestRoundTrip(t *testing.T) {
	full := request(t)
	full.Time = time.Unix(1750000000, 0).UTC()
	bare := request(t)
	bare.Nonce, bare.NonceRule = nil, ""
	for name, r := range map[string]Request{"full": full, "bare": bare} {
		raw, err := EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeRequest(raw)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	good, err := EncodeRequest(request(t))
	if err != nil {
		t.Fatal(err)
	}
	st := func(json string) []byte {
		raw, err := evidence.EncodeCBOR(evidence.Collection(RequestType,
			evidence.Entry{Label: "evidence", Item: evidence.Record(mt(t, "x/a"), []byte("e"), evidence.IndEvidence)},
			evidence.Entry{Label: "request", Item: evidence.Record(evidence.MediaType{Base: requestMediaType}, []byte(json), 0)}))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const id = `"id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","session":"s","label":"l","scheme":"a"`
	if _, err := DecodeRequest(st("{" + id + "}")); err != nil {
		t.Fatalf("the baseline is refused: %v", err)
	}
	for name, raw := range map[string][]byte{
		"empty":           {},
		"truncated":       good[:len(good)-1],
		"trailing":        append(bytes.Clone(good), 0),
		"unknown member":  st("{" + id + `,"x":1}`),
		"duplicate":       st("{" + id + `,"scheme":"b"}`),
		"white space":     st("{ " + id + "}"),
		"data behind":     st("{" + id + "}{}"),
		"short id":        st(`{"id":"0a","session":"s","label":"l","scheme":"a"}`),
		"no label":        st(`{"id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","session":"s","label":"","scheme":"a"}`),
		"bad scheme":      st(`{"id":"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a","session":"s","label":"l","scheme":"A"}`),
		"short nonce":     st("{" + id + `,"nonce":"AA"}`),
		"padded nonce":    st("{" + id + `,"nonce":"AAECAwQFBgcICQ=="}`),
		"other type":      {0xa0},
		"not a statement": st("[]"),
	} {
		if _, err := DecodeRequest(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	raw, err := EncodeRequest(request(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeRequest(raw)
		if err != nil {
			return
		}
		again, err := EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeRequest(again)
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v becomes %+v, %v", r, back, err)
		}
	})
}

type nodeWorld struct {
	node    *Node
	anchors *trust.Anchors
	clock   time.Time
}

func newNode(t testing.TB, v Verifier, change func(*NodeOptions)) nodeWorld {
	t.Helper()
	set, err := NewSet(scheme(t, "a", v, "x/a"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.GenerateSigner("ES256", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	anchors, err := trust.NewAnchors(signer.Key("a", []string{"a"}, trust.RoleVerifier))
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Unix(1750000000, 0)
	o := NodeOptions{
		Set: set, Identity: verdict.Identity{Developer: "d", Build: "b"},
		Signers: map[string]*trust.Signer{"a": signer}, Clock: func() time.Time { return clock },
	}
	if change != nil {
		change(&o)
	}
	n, err := NewNode(o)
	if err != nil {
		t.Fatal(err)
	}
	return nodeWorld{n, anchors, clock}
}

// Every required claim that a scheme leaves open becomes its warning value.
func TestOpenClaimsBecomeWarnings(t *testing.T) {
	r := request(t)
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: r.Nonce}
	a.Vector[verdict.Hardware] = verdict.ClaimApproved
	w := newNode(t, told{a: a}, nil)
	token, tier, err := w.node.Appraise(context.Background(), r)
	if err != nil || tier != verdict.TierWarning {
		t.Fatalf("%s, %v", tier, err)
	}
	p, err := verdict.VerifyPartial(token, verdict.Expect{
		Label: r.Label, Scheme: "a", Request: r.ID, Nonce: r.Nonce, NonceRule: r.NonceRule,
		Evidence: sha256.Sum256(r.Evidence), MediaType: r.MediaType.String(),
	}, verdict.Intake{Now: w.clock}, w.anchors)
	if err != nil {
		t.Fatal(err)
	}
	v := p.Appraisal().Vector
	if v[verdict.Executables] != 33 || v[verdict.Configuration] != 36 || v[verdict.Hardware] != 2 || len(p.Appraisal().Reasons) != 2 {
		t.Errorf("vector %v, reasons %v", v, p.Appraisal().Reasons)
	}
}

func TestNodeRefuses(t *testing.T) {
	type change func(*Request)
	for _, c := range []struct {
		name string
		v    Verifier
		mod  change
		code int
	}{
		{"other scheme", told{}, func(r *Request) { r.Scheme = "b" }, 415},
		{"other media type", told{}, func(r *Request) { r.MediaType.Base = "x/b" }, 415},
		{"too large", told{}, func(r *Request) { r.Evidence = make([]byte, 65) }, 413},
		{"bad id", told{}, func(r *Request) { r.ID = "x" }, 400},
		{"short nonce", told{}, func(r *Request) { r.Nonce = []byte{1} }, 400},
		{"chosen time", told{}, func(r *Request) { r.Time = time.Unix(1, 0) }, 403},
		{"panic", told{bang: true}, func(*Request) {}, 500},
		{"malfunction", told{err: ErrMalfunction}, func(*Request) {}, 500},
		{"a service that is silent", told{err: errors.Join(ErrMalfunction, context.DeadlineExceeded)}, func(*Request) {}, 504},
		{"a service that is too slow", told{err: errors.Join(ErrUnavailable, context.DeadlineExceeded)}, func(*Request) {}, 504},
		{"a service that does not answer", told{err: errors.Join(ErrUnavailable, errors.New("no"))}, func(*Request) {}, 503},
	} {
		w := newNode(t, c.v, nil)
		r := request(t)
		c.mod(&r)
		token, _, err := w.node.Appraise(context.Background(), r)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != c.code || token != nil {
			t.Errorf("%s: %v, want %d", c.name, err, c.code)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var refusal *Refusal
	if _, _, err := newNode(t, told{}, nil).node.Appraise(ctx, request(t)); !errors.As(err, &refusal) || refusal.Code != 504 {
		t.Errorf("out of budget: %v", err)
	}
}

// What belongs to one scheme is not judged by another that the caller names.
func TestNodeJudgesByItsOwnRoute(t *testing.T) {
	w := newNode(t, told{}, func(o *NodeOptions) {
		set, err := NewSet(scheme(t, "a", told{}, "x/a"), scheme(t, "b", told{}, "x/b"))
		if err != nil {
			t.Fatal(err)
		}
		o.Set, o.Signers["b"] = set, o.Signers["a"]
	})
	r := request(t)
	r.MediaType = mt(t, "x/b")
	var refusal *Refusal
	if _, _, err := w.node.Appraise(context.Background(), r); !errors.As(err, &refusal) || refusal.Code != 415 {
		t.Errorf("got %v", err)
	}
}

func TestNodeWantsAKeyPerScheme(t *testing.T) {
	set, err := NewSet(scheme(t, "a", told{}, "x/a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewNode(NodeOptions{Set: set, Clock: time.Now}); err == nil {
		t.Fatal("a node without a key was made")
	}
	if _, err := NewNode(NodeOptions{}); err == nil {
		t.Fatal("a node without anything was made")
	}
}

func TestLocalTranslatesFailures(t *testing.T) {
	for code, want := range map[int]string{
		400: verdict.ReasonRefused, 401: verdict.ReasonRefused, 403: verdict.ReasonRefused, 409: verdict.ReasonRefused,
		413: verdict.ReasonTooLarge, 415: verdict.ReasonRefused, 429: verdict.ReasonBusy, 503: verdict.ReasonBusy,
		504: verdict.ReasonTimeout, 500: verdict.ReasonMalfunction, 999: verdict.ReasonMalfunction,
	} {
		if got := FailureReason(code); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
	w := newNode(t, told{bang: true}, nil)
	_, err := Local{w.node}.Appraise(context.Background(), Call{Request: request(t)})
	var f *Failure
	if !errors.As(err, &f) || f.Reason != verdict.ReasonMalfunction {
		t.Errorf("got %v", err)
	}
	w = newNode(t, told{}, nil)
	_, err = Local{w.node}.Appraise(context.Background(), Call{
		Request: request(t),
		Verify:  func([]byte) (verdict.Partial, error) { return verdict.Partial{}, errors.New("no") },
	})
	if !errors.As(err, &f) || f.Reason != verdict.ReasonBadPAR {
		t.Errorf("got %v", err)
	}
}

func TestLimitsFitTheFabric(t *testing.T) {
	r := request(t)
	r.Evidence = make([]byte, limits.FabricPayload)
	raw, err := EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeRequest(raw); err == nil {
		t.Error("a request larger than any message was decoded")
	}
}
