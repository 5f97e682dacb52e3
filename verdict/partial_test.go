// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/veraison/ear"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/trust"
)

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var testNonce = bytes.Repeat([]byte{0xa5}, 32)

// lab is a small world: a lead, a GPU verifier, a CPU verifier, two further GPU
// verifiers.
type lab struct {
	lead, gpu, cpu, gpu2, gpu3 *trust.Signer
	anchors                    *trust.Anchors
}

func newLab(tb testing.TB, alg string) *lab {
	tb.Helper()
	l := &lab{}
	for _, s := range []**trust.Signer{&l.lead, &l.gpu, &l.cpu, &l.gpu2, &l.gpu3} {
		var err error
		if *s, err = trust.GenerateSigner(alg, rand.Reader); err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	l.anchors, err = trust.NewAnchors(
		l.lead.Key("lead", nil, trust.RoleLead),
		l.gpu.Key("gpu", []string{"nvidia-gpu"}, trust.RoleVerifier),
		l.gpu2.Key("gpu2", []string{"nvidia-gpu"}, trust.RoleVerifier),
		l.gpu3.Key("gpu3", []string{"nvidia-gpu"}, trust.RoleVerifier),
		l.cpu.Key("cpu", []string{"intel-tdx"}, trust.RoleVerifier),
	)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func testIssue(label, scheme string) Issue {
	return Issue{
		Verifier: Identity{Developer: "https://example.com", Build: "cv 1.0"},
		Label:    evidence.Path(label), Scheme: scheme, MediaType: "application/vnd.example+json", Request: "request-" + label,
		Nonce: testNonce, NonceRule: "same", Evidence: sha256.Sum256([]byte(label)), IssuedAt: testTime,
	}
}

func testAppraisal() Appraisal {
	return Appraisal{
		Vector:    Vector{InstanceIdentity: 2, Executables: 2, Hardware: 2},
		Freshness: FreshnessFresh, NonceSeen: testNonce,
		Claims: map[string]any{"driver": "550.90", "list": []any{int64(1), 2.5, true, nil}, "deep": map[string]any{"big": uint64(1) << 63}},
		Facts: Facts{Device: []string{"nvidia-ueid:4781"}, SignerSPKI: "aa", ReportData: "bb", Registers: map[string]string{"mrtd": "cc"}, Peers: []string{"x:1"}, PeersRequired: true, Environments: []string{"oA"},
			Keys:     []CommittedKey{{SPKI: strings.Repeat("0a", 32), Via: "runtime-data", Origin: OriginMeasured}},
			Measured: []MeasuredEvent{{Register: "rtmr3", Digest: strings.Repeat("0b", 48), Content: strings.Repeat("0c", 32), Type: 6}, {Register: "pcr1", Digest: strings.Repeat("0d", 32), Type: 1<<32 - 1}},
			Objects:  describedFacts().Objects, Commitments: describedFacts().Commitments, RelayRequired: true},
		PolicyID: "policy:example",
	}
}

func expectOf(i Issue) Expect {
	return Expect{
		Label: i.Label, Scheme: i.Scheme, Request: i.Request, Nonce: i.Nonce, NonceRule: i.NonceRule,
		Evidence: i.Evidence, MediaType: i.MediaType, VerificationTime: i.VerificationTime,
	}
}

func testIntake() Intake { return Intake{Now: testTime.Add(10 * time.Second)} }

func mustSign(tb testing.TB, s *trust.Signer, i Issue, a Appraisal) []byte {
	tb.Helper()
	token, err := SignPartial(s, i, a)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func payload(tb testing.TB, token []byte) []byte {
	tb.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(string(token), ".")[1])
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestPartialRoundTrip(t *testing.T) {
	for _, alg := range []string{trust.ES256, trust.ES384, trust.EdDSA} {
		l := newLab(t, alg)
		i, a := testIssue("gpu/0", "nvidia-gpu"), testAppraisal()
		i.VerificationTime = testTime.Add(-time.Hour)
		a.Reasons = []Reason{{Code: ReasonNoReferenceValues, Detail: "x"}}
		token := mustSign(t, l.gpu, i, a)
		p, err := VerifyPartial(token, expectOf(i), testIntake(), l.anchors)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p.Appraisal(), a) {
			t.Errorf("got  %+v\nwant %+v", p.Appraisal(), a)
		}
		id, kid := p.Verifier()
		if p.Label() != i.Label || p.Scheme() != i.Scheme || p.MediaType() != i.MediaType || p.Request() != i.Request ||
			p.Status() != TierAffirming || id != i.Verifier || kid != l.gpu.KID() || !bytes.Equal(p.Token(), token) ||
			!p.IssuedAt().Equal(testTime) || !bytes.Equal(p.Nonce(), testNonce) || p.NonceRule() != "same" ||
			p.Evidence() != i.Evidence || p.IsZero() || !p.VerificationTime().Equal(i.VerificationTime) || p.Unknown() != nil {
			t.Errorf("%+v", p)
		}
		// What is handed out does not change the partial.
		p.Appraisal().Facts.Registers["mrtd"], p.Token()[0], p.Nonce()[0] = "zz", 'x', 0
		if p.Appraisal().Facts.Registers["mrtd"] != "cc" || !bytes.Equal(p.Token(), token) || !bytes.Equal(p.Nonce(), testNonce) {
			t.Error("the partial was changed from outside")
		}
	}
	if !(Partial{}).IsZero() {
		t.Error("the zero partial is a result")
	}
}

// Existing clients read partial results (veraison/ear 1.1.3).
func TestPartialIsReadableByVeraison(t *testing.T) {
	l := newLab(t, trust.ES256)
	i, a := testIssue("gpu/0", "nvidia-gpu"), testAppraisal()
	a.Vector[Hardware] = 32
	i.IssuedAt = time.Now().Add(-time.Second) // the library looks at the real clock
	for _, nonce := range [][]byte{testNonce, bytes.Repeat([]byte{1}, 8), bytes.Repeat([]byte{1}, 64), nil} {
		i.Nonce, a.NonceSeen = nonce, nonce
		if nonce == nil {
			a.Freshness = FreshnessNotEstablished
		}
		var r ear.AttestationResult
		if err := r.Verify(mustSign(t, l.gpu, i, a), jwa.ES256(), l.gpu.Key("", nil).Public); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(r); err != nil { // validates
			t.Fatal(err)
		}
		sub := r.Submods["gpu/0"]
		if sub == nil || *sub.Status != ear.TrustTierWarning || *r.Profile != ProfileP23 || *sub.AppraisalPolicyID != a.PolicyID {
			t.Fatalf("%+v", r)
		}
		for name, c := range sub.TrustVector.AsMap() {
			if want := a.Vector.members(true)[name]; int8(c) != int8(want) {
				t.Errorf("%s is %d instead of %d", name, c, want)
			}
		}
		if (*sub.VeraisonAnnotatedEvidence)["driver"] != "550.90" || (*sub.VeraisonPolicyClaims)["assize.scheme"] != "nvidia-gpu" {
			t.Errorf("%+v", sub)
		}
	}
}

func TestSignPartialRefuses(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	for name, change := range map[string]func(*Issue, *Appraisal){
		"developer":         func(i *Issue, a *Appraisal) { i.Verifier.Developer = "" },
		"build":             func(i *Issue, a *Appraisal) { i.Verifier.Build = "" },
		"label":             func(i *Issue, a *Appraisal) { i.Label = "" },
		"scheme":            func(i *Issue, a *Appraisal) { i.Scheme = "" },
		"media type":        func(i *Issue, a *Appraisal) { i.MediaType = "" },
		"request":           func(i *Issue, a *Appraisal) { i.Request = "" },
		"digest":            func(i *Issue, a *Appraisal) { i.Evidence = [32]byte{} },
		"time":              func(i *Issue, a *Appraisal) { i.IssuedAt = time.Time{} },
		"expiry":            func(i *Issue, a *Appraisal) { i.Expires = i.IssuedAt.Add(-time.Second) },
		"short nonce":       func(i *Issue, a *Appraisal) { i.Nonce = i.Nonce[:7]; a.NonceSeen = i.Nonce },
		"long nonce":        func(i *Issue, a *Appraisal) { i.Nonce = make([]byte, 65); a.NonceSeen = i.Nonce },
		"fresh, other":      func(i *Issue, a *Appraisal) { a.NonceSeen = make([]byte, 32) },
		"fresh, none":       func(i *Issue, a *Appraisal) { i.Nonce, a.NonceSeen = nil, nil },
		"unknown freshness": func(i *Issue, a *Appraisal) { a.Freshness = "maybe" },
		"empty code":        func(i *Issue, a *Appraisal) { a.Fail("", "x") },
		"claims":            func(i *Issue, a *Appraisal) { a.Claims["x"] = func() {} },
		"size":              func(i *Issue, a *Appraisal) { a.Claims["x"] = strings.Repeat("x", 1<<20) },
	} {
		i, a := testIssue("gpu/0", "nvidia-gpu"), testAppraisal()
		change(&i, &a)
		if _, err := SignPartial(l.gpu, i, a); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// A component result of another implementation, EdDSA, without kid.
const p23Vector = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJlYXIudmVyaWZpZXItaWQiOnsiYnVpbGQiOiJjdi1ncHUgMS4wIiwiZGV2ZWxvcGVyIjoiaHR0cHM6Ly9leGFtcGxlLmNvbSJ9LCJlYXRfbm9uY2UiOiJBQUVDQXdRRkJnY0lDUW9MREEwT0R4QVJFaE1VRlJZWEdCa2FHeHdkSGg4PSIsImVhdF9wcm9maWxlIjoidGFnOmdpdGh1Yi5jb20sMjAyMzp2ZXJhaXNvbi9lYXIiLCJpYXQiOjE3NjcyMjU2MDAsInN1Ym1vZHMiOnsiZ3B1LzAiOnsiZWFyLmFwcHJhaXNhbC1wb2xpY3ktaWQiOiJwb2xpY3k6ZXhhbXBsZSIsImVhci5zdGF0dXMiOiJ3YXJuaW5nIiwiZWFyLnRydXN0d29ydGhpbmVzcy12ZWN0b3IiOnsiZXhlY3V0YWJsZXMiOjIsImhhcmR3YXJlIjozMiwiaW5zdGFuY2UtaWRlbnRpdHkiOjJ9fX19.uU7IkeDFR4uXCoc29--sJ3jbFgPwBJs6Qky4-tZvbQqfjSkT6dFNhYUavS-sKJHvXoraNwGq_P7LJFqF7OPNAA"

func TestForeignResultParses(t *testing.T) {
	seed, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	if err != nil {
		t.Fatal(err)
	}
	pub := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	parts := strings.Split(p23Vector, ".")
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !ed25519.Verify(pub, []byte(parts[0]+"."+parts[1]), sig) {
		t.Fatalf("vector is damaged: %v", err)
	}
	h, err := parseResult(payload(t, []byte(p23Vector)))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := h.submods.object("gpu/0")
	if err != nil {
		t.Fatal(err)
	}
	v, unknown, err := sub.vector()
	status, statusErr := sub.tier(claimStatus)
	if err != nil || statusErr != nil || unknown != nil || status != TierWarning || v.Status() != TierWarning ||
		v != (Vector{InstanceIdentity: 2, Executables: 2, Hardware: 32}) || h.issued.Unix() != 1767225600 {
		t.Errorf("%+v, vector %v, status %v", h, v, status)
	}
	if n, err := decodeNonce(h.nonce); err != nil || !bytes.Equal(n, seed) {
		t.Errorf("nonce %x, %v", n, err)
	}
	// Without kid no anchor can be chosen.
	_, err = VerifyPartial([]byte(p23Vector), Expect{Label: "gpu/0", Scheme: "x"}, testIntake(), newLab(t, trust.EdDSA).anchors)
	checkCode(t, "no kid", err, ReasonBadPAR)
}

func TestVeraisonExamplesParse(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors.Dir(t), "ear", "veraison-ear", "arc", "data", "*-ok.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseResult(raw); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
}

// What identifies the reference values goes into the result and comes out of it,
// for the verdict too.
func TestReferenceRevision(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	i := testIssue("gpu/0", "nvidia-gpu")
	for revision, ok := range map[string]bool{
		"": true, strings.Repeat("0f", 32): true, strings.Repeat("0F", 32): false, strings.Repeat("0f", 31): false, "latest": false,
	} {
		i.ReferenceRevision = revision
		token, err := SignPartial(l.gpu, i, testAppraisal())
		if (err == nil) != ok {
			t.Errorf("%q: %v", revision, err)
		}
		if err != nil {
			continue
		}
		p, err := VerifyPartial(token, expectOf(i), testIntake(), l.anchors)
		if err != nil || p.ReferenceRevision() != revision {
			t.Errorf("%q came out as %q: %v", revision, p.ReferenceRevision(), err)
		}
		if d := (Component{Partial: p}).document(); d.References != revision {
			t.Errorf("the document says %q", d.References)
		}
	}
	i.ReferenceRevision = ""
	for name, list := range map[string][]string{"padded": {"oA=="}, "empty": {""}, "many": make([]string, maxEnvironments+1)} {
		a := testAppraisal()
		a.Facts.Environments = list
		if _, err := SignPartial(l.gpu, i, a); err == nil {
			t.Errorf("environments %s are signed", name)
		}
	}
}
