// SPDX-License-Identifier: Apache-2.0

// Package verifiertest is the conformance suite that every scheme runs in one
// test of its own: Run(t, Scheme(), fixtures…). It asks for what no scheme may
// get wrong, whatever its evidence looks like.
package verifiertest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Fixture is one component that the scheme must accept as Want says.
type Fixture struct {
	Name      string
	MediaType evidence.MediaType
	Evidence  []byte
	// Nonce is the challenge in the evidence.
	Nonce []byte
	// Time is when everything in it is valid, Before a time at which it was
	// not valid yet.
	Time, Before time.Time
	Deps         verifiers.Deps
	Want         verdict.Tier
	// FlipEvery is the distance between flipped bytes; 0 means 97. The
	// scheme's own tests walk every byte.
	FlipEvery int
}

// Run runs the suite for every fixture.
func Run(t *testing.T, scheme verifiers.Scheme, fixtures ...Fixture) {
	t.Helper()
	if len(fixtures) == 0 {
		t.Fatal("no fixture")
	}
	for _, f := range fixtures {
		t.Run(f.Name, func(t *testing.T) {
			v, err := scheme.New(f.Deps)
			if err != nil {
				t.Fatal(err)
			}
			s := &suite{scheme: scheme, verifier: v, f: f}
			for _, c := range s.cases() {
				t.Run(c.name, c.run)
			}
		})
	}
}

type suite struct {
	scheme   verifiers.Scheme
	verifier verifiers.Verifier
	f        Fixture
}

type testCase struct {
	name string
	run  func(*testing.T)
}

func (s *suite) cases() []testCase {
	return []testCase{
		{"golden", s.golden},
		{"required claims are asserted", s.required},
		{"no reference values", s.noReferences},
		{"no nonce", s.noNonce},
		{"wrong nonce", s.wrongNonce},
		{"nonce of another size", s.nonceSize},
		{"truncated", s.truncated},
		{"trailing bytes", s.trailing},
		{"flipped bytes", s.flipped},
		{"before validity", s.before},
		{"oversized", s.oversized},
		{"other media types", s.mediaTypes},
		{"cancelled", s.cancelled},
		{"concurrent and repeatable", s.concurrent},
		{"input is not written to", s.readOnly},
	}
}

func (s *suite) input() verifiers.Input {
	return verifiers.Input{MediaType: s.f.MediaType, Evidence: s.f.Evidence, Nonce: s.f.Nonce, Time: s.f.Time}
}

func (s *suite) appraise(t *testing.T, in verifiers.Input) verdict.Appraisal {
	t.Helper()
	a, err := s.verifier.Appraise(context.Background(), in)
	if err != nil {
		t.Fatalf("no verdict: %v", err)
	}
	return a
}

func (s *suite) golden(t *testing.T) {
	a := s.appraise(t, s.input())
	if a.Status() != s.f.Want || a.Freshness != verdict.FreshnessFresh {
		t.Fatalf("tier %s, freshness %s, want %s and fresh: %v", a.Status(), a.Freshness, s.f.Want, a.Reasons)
	}
	if !bytes.Equal(a.NonceSeen, s.f.Nonce) {
		t.Errorf("nonce seen %x, want %x", a.NonceSeen, s.f.Nonce)
	}
	if len(a.Claims) == 0 || a.Facts.SignerSPKI == "" {
		t.Error("an accepted component must come with claims and the key that signed it")
	}
	if a.Status() != verdict.TierAffirming && len(a.Reasons) == 0 {
		t.Error("a tier below affirming without a reason")
	}
}

func (s *suite) required(t *testing.T) {
	a := s.appraise(t, s.input())
	for _, n := range s.scheme.Required {
		if a.Vector[n] == verdict.ClaimNone {
			t.Errorf("required claim %s is not asserted on good evidence", n)
		}
	}
}

// noReferences: reference values that were not given, or are none, prove nothing.
func (s *suite) noReferences(t *testing.T) {
	empty, err := corim.NewIndex()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*corim.Index{nil, empty} {
		in := s.input()
		in.References = x
		if a := s.appraise(t, in); a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
			t.Errorf("executables are %d without a reference value: %v", a.Vector[verdict.Executables], a.Reasons)
		}
	}
}

func (s *suite) noNonce(t *testing.T) {
	in := s.input()
	in.Nonce = nil
	a := s.appraise(t, in)
	if a.Freshness != verdict.FreshnessNotEstablished || a.Status() == verdict.TierAffirming {
		t.Fatalf("freshness %s, tier %s without a challenge", a.Freshness, a.Status())
	}
}

func (s *suite) wrongNonce(t *testing.T) {
	for _, at := range []int{0, len(s.f.Nonce) / 2, len(s.f.Nonce) - 1} {
		in := s.input()
		in.Nonce = bytes.Clone(s.f.Nonce)
		in.Nonce[at] ^= 1
		a := s.appraise(t, in)
		if a.Freshness != verdict.FreshnessMismatch || a.Status() != verdict.TierContraindicated {
			t.Fatalf("byte %d differs: freshness %s, tier %s", at, a.Freshness, a.Status())
		}
	}
}

// nonceSize refuses prefixes and extensions: only the whole challenge counts.
func (s *suite) nonceSize(t *testing.T) {
	for _, nonce := range [][]byte{{}, s.f.Nonce[:8], s.f.Nonce[:len(s.f.Nonce)-1], append(bytes.Clone(s.f.Nonce), 0)} {
		in := s.input()
		in.Nonce = nonce
		if a := s.appraise(t, in); a.Freshness == verdict.FreshnessFresh {
			t.Fatalf("a nonce of %d bytes passes for one of %d", len(nonce), len(s.f.Nonce))
		}
	}
}

// noBetter fails when changed evidence is trusted more than the original, or
// affirmed at all.
func (s *suite) noBetter(t *testing.T, what string, at int, raw []byte) {
	t.Helper()
	in := s.input()
	in.Evidence = raw
	a, err := s.verifier.Appraise(context.Background(), in)
	if err != nil {
		t.Fatalf("%s at %d: bad evidence must give a bad tier, not %v", what, at, err)
	}
	if a.Status() == verdict.TierAffirming || s.f.Want.WorseThan(a.Status()) {
		t.Fatalf("%s at %d: tier %s, the original has %s", what, at, a.Status(), s.f.Want)
	}
	if len(a.Reasons) == 0 {
		t.Fatalf("%s at %d: %s without a reason", what, at, a.Status())
	}
}

func (s *suite) truncated(t *testing.T) {
	for n := 0; n < len(s.f.Evidence); n += 64 {
		s.noBetter(t, "truncated", n, bytes.Clone(s.f.Evidence[:n]))
	}
}

func (s *suite) trailing(t *testing.T) {
	for _, tail := range [][]byte{{0xa5}, bytes.Repeat([]byte{0x5a}, 64)} {
		in := s.input()
		in.Evidence = append(bytes.Clone(s.f.Evidence), tail...)
		if a := s.appraise(t, in); a.Status() != verdict.TierContraindicated {
			t.Fatalf("%d unsigned bytes behind the evidence: tier %s", len(tail), a.Status())
		}
	}
}

func (s *suite) flipped(t *testing.T) {
	step := s.f.FlipEvery
	if step == 0 {
		step = 97
	}
	if testing.Short() {
		step = 5*step + 1
	}
	for i := 0; i < len(s.f.Evidence); i += step {
		raw := bytes.Clone(s.f.Evidence)
		raw[i] ^= 1 << (i % 8)
		s.noBetter(t, "flipped", i, raw)
	}
}

func (s *suite) before(t *testing.T) {
	in := s.input()
	in.Time = s.f.Before
	if a := s.appraise(t, in); a.Status() == verdict.TierAffirming || len(a.Reasons) == 0 {
		t.Fatalf("tier %s at a time before everything in it was valid (%v)", a.Status(), a.Reasons)
	}
}

// oversized goes through a node, which is where the limit is enforced.
func (s *suite) oversized(t *testing.T) {
	node := s.node(t)
	_, _, err := node.Appraise(context.Background(), verifiers.Request{
		ID: "000102030405060708090a0b0c0d0e0f", Label: "x", Scheme: s.scheme.Name, MediaType: s.f.MediaType,
		Evidence: make([]byte, s.scheme.MaxEvidence+1),
	})
	var refusal *verifiers.Refusal
	if !errors.As(err, &refusal) || refusal.Code != 413 {
		t.Fatalf("got %v, want refusal 413", err)
	}
}

func (s *suite) node(t *testing.T) *verifiers.Node {
	t.Helper()
	set, err := verifiers.NewSet(s.scheme)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.GenerateSigner("ES256", deterministic{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := verifiers.NewNode(verifiers.NodeOptions{
		Set: set, Deps: s.f.Deps, Identity: verdict.Identity{Developer: "test", Build: "test"},
		Signers: map[string]*trust.Signer{s.scheme.Name: signer}, Clock: func() time.Time { return s.f.Time },
	})
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func (s *suite) mediaTypes(t *testing.T) {
	set, err := verifiers.NewSet(s.scheme)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := set.Route(s.f.MediaType.With("x-extra", "1"), s.f.Evidence); err != nil {
		t.Errorf("an extra parameter must not hide the scheme: %v", err)
	}
	if _, _, err := set.Route(evidence.MediaType{Base: "application/octet-stream"}, s.f.Evidence); !errors.Is(err, verifiers.ErrNoVerifier) {
		t.Errorf("content alone must not route: %v", err)
	}
}

func (s *suite) cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a, err := s.verifier.Appraise(ctx, s.input())
		if err == nil && s.f.Want.WorseThan(a.Status()) {
			t.Errorf("a cancelled appraisal gives %s", a.Status())
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Fatal("a cancelled appraisal goes on")
	}
}

func (s *suite) concurrent(t *testing.T) {
	want := s.appraise(t, s.input())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := s.verifier.Appraise(context.Background(), s.input())
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("the same input gives another appraisal: %v", err)
			}
		})
	}
	wg.Wait()
}

func (s *suite) readOnly(t *testing.T) {
	raw, nonce := bytes.Clone(s.f.Evidence), bytes.Clone(s.f.Nonce)
	in := s.input()
	in.Evidence, in.Nonce = raw, nonce
	s.appraise(t, in)
	if !bytes.Equal(raw, s.f.Evidence) || !bytes.Equal(nonce, s.f.Nonce) {
		t.Error("the scheme changed its input")
	}
}

// deterministic is a source of key material for keys that sign nothing real.
type deterministic struct{}

func (deterministic) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i*7 + 3)
	}
	return len(p), nil
}
