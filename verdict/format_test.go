// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/veraison/ear"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/cddl"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
)

// richMachine has everything that a result can say.
func (l *lab) richMachine(tb testing.TB) *Result {
	tb.Helper()
	r := l.machine(tb, 2)
	warned := testAppraisal()
	warned.Vector[Executables] = ClaimUnrecognized
	warned.Fail(ReasonNoReferenceValues, "executables")
	lowered := l.component(tb, "gpu/10", "nvidia-gpu", testAppraisal())
	lowered.Lowered[Executables] = ClaimUnrecognized
	lowered.Reasons = []Reason{{Code: ReasonUnboundComponent, Detail: "no edge", Expected: "a", Observed: "b", Source: "c"}}
	two := 2
	r.Components = append(r.Components, lowered, l.component(tb, "nic", "nvidia-gpu", warned),
		l.redundant(tb, "nic/agree", 2, 3, testAppraisal(), testAppraisal(), testAppraisal()),
		Component{Label: "odd", Reasons: []Reason{{Code: ReasonNoVerifier, Detail: `unknown <type> & "x"`}}},
		Component{Label: "assize.dotted-name", Required: true, Reasons: []Reason{{Code: ReasonTimeout}}},
		Component{Label: "broken", Scheme: "intel-tdx", Required: true, Request: "x", Nonce: testNonce, Reasons: []Reason{{Code: ReasonMalfunction}}},
	)
	r.Bindings = append(r.Bindings, Binding{From: "gpu/1", To: "cpu", Kind: "k", Strength: "strong", Status: "bound", Compared: "x", Expected: "1", Observed: "1"},
		Binding{From: "gpu/1", To: "gpu/0", Kind: "k", Strength: "strong", Status: "bound"}, Binding{From: "nic", To: "cpu", Kind: "k", Strength: "none", Status: "absent"})
	r.Interconnects = []Interconnect{{Tier: TierNone, Devices: []evidence.Path{"gpu/0", "gpu/1"}, Unattested: []string{"x:1"}, Reasons: []Reason{{Code: ReasonInterconnect, Detail: "d"}}}}
	r.Caps = append(r.Caps, Cap{Tier: TierWarning, Reason: Reason{Code: ReasonUnboundComponent, Detail: "gpu/1"}})
	r.Policy = &PolicyStatement{ID: "example", Digest: strings.Repeat("0a", 32), Accepts: []string{ReasonUnboundComponent}, Acceptable: TierNone, Accepted: true,
		Annotations: map[string]string{"who": "somebody"}}
	r.Requirements = []Requirement{{Label: "gpu/*", Scheme: "nvidia-gpu", Exactly: &two, Source: SourcePolicy}}
	r.Lead = &LeadSignature{SPKI: strings.Repeat("0b", 32), Thumbprint: "thumb"}
	r.References = strings.Repeat("0c", 32)
	r.Inventory = &Inventory{Label: "inventory", SHA256: strings.Repeat("0d", 32), SHA384: strings.Repeat("0e", 48)}
	r.Outcome = Combine(r.Components, r.Caps)
	return r
}

// machines are results of all kinds.
func (l *lab) machines(t *testing.T) map[string]*Result {
	t.Helper()
	bare := l.machine(t, 1)
	bare.Bindings, bare.Caps, bare.Commitment = nil, nil, nil
	bare.Outcome = Combine(bare.Components, nil)
	return map[string]*Result{
		"plain": l.machine(t, 2), "rich": l.richMachine(t), "redundant": l.redundantMachine(t), "handed on": l.handedOn(t), "bare": bare,
		"empty": {Verifier: Identity{Developer: "d", Build: "b"}, Time: testTime, Outcome: Combine(nil, nil)},
	}
}

func (l *lab) signAs(tb testing.TB, r *Result, f Format) []byte {
	tb.Helper()
	token, err := SignFormat(l.lead, r, f, time.Hour)
	if err != nil {
		tb.Fatalf("%s: %v", f, err)
	}
	return token
}

func verifiable() []Format {
	return slices.DeleteFunc(Formats(), func(f Format) bool { return !f.Verifiable() })
}

// A result is the same in whatever format it came.
func TestFormatsSayTheSame(t *testing.T) {
	for _, alg := range []string{trust.ES256, trust.ES384, trust.EdDSA} {
		l := newLab(t, alg)
		for name, r := range l.machines(t) {
			l.sign(t, r)
			want, err := json.Marshal(r.Document())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range verifiable() {
				token := l.signAs(t, r, f)
				got, err := VerifyResult(token, aarIntake(), l.anchors)
				if err != nil {
					t.Errorf("%s as %s: %v", name, f, err)
					continue
				}
				if doc, err := json.Marshal(got.Document()); err != nil || !bytes.Equal(doc, want) {
					t.Errorf("%s as %s: documents differ: %v\n%s\n%s", name, f, err, doc, want)
				}
				if !bytes.Equal(got.Token, token) || f.Binary() != trust.IsCWT(token) {
					t.Errorf("%s as %s: the token", name, f)
				}
				got.Token = r.Token
				if !reflect.DeepEqual(got, r) {
					t.Errorf("%s as %s:\ngot  %+v\nwant %+v", name, f, got, r)
				}
				if !IsAggregate(token, l.anchors, aarIntake().Now) {
					t.Errorf("%s as %s is no aggregate", name, f)
				}
				again := l.signAs(t, got, f)
				if !bytes.Equal(claimsOf(t, l, again), claimsOf(t, l, token)) {
					t.Errorf("%s as %s: claims are not deterministic", name, f)
				}
			}
		}
	}
}

// claimsOf are the signed bytes of any format.
func claimsOf(tb testing.TB, l *lab, token []byte) []byte {
	tb.Helper()
	claims, _, err := verifyToken(token, func(kid string) (trust.Key, bool) { return l.anchors.Lead(kid, testTime) })
	if err != nil {
		tb.Fatal(err)
	}
	return claims
}

// A token other than P23 leaves r.Token alone.
func TestSignFormatKeepsTheToken(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 1)
	token := l.sign(t, r)
	for _, f := range []Format{FormatP04JWT, FormatP04CWT, FormatTDXGPU} {
		l.signAs(t, r, f)
	}
	if !bytes.Equal(r.Token, token) {
		t.Error("changed")
	}
	if l.signAs(t, r, FormatP23JWT); r.KID != l.lead.KID() {
		t.Error("no kid")
	}
}

func TestSignFormatRefuses(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	for _, f := range Formats() {
		for name, change := range map[string]func(*Result){
			"a better outcome":   func(r *Result) { r.Caps[0].Tier = TierWarning },
			"no time":            func(r *Result) { r.Time = time.Time{} },
			"two of a label":     func(r *Result) { r.Components = append(r.Components, r.Components[0]) },
			"a foreign partial":  func(r *Result) { r.Components[0].Request = "x" },
			"accepted by no one": func(r *Result) { r.Policy = &PolicyStatement{ID: "x"} },
		} {
			r := l.machine(t, 2)
			change(r)
			if _, err := SignFormat(l.lead, r, f, time.Hour); err == nil {
				t.Errorf("%s: %s: signed", f, name)
			}
		}
		if _, err := SignFormat(l.lead, l.machine(t, 1), f, time.Millisecond); err == nil {
			t.Errorf("%s: a lifetime of nothing", f)
		}
	}
	if _, err := SignFormat(l.lead, l.machine(t, 1), "other", time.Hour); err == nil {
		t.Error("an unknown format")
	}
}

func TestFormats(t *testing.T) {
	for _, f := range Formats() {
		got, err := ParseFormat(string(f))
		mt, bad := evidence.ParseMediaType(f.MediaType().String())
		if err != nil || got != f || bad != nil || mt.Params["eat_profile"] != f.Profile() || f.Binary() != (mt.Base == "application/eat+cwt") {
			t.Errorf("%s: %s, %v, %v", f, f.MediaType(), err, bad)
		}
	}
	if _, err := ParseFormat("jwt"); err == nil || Format("jwt").Verifiable() {
		t.Error("an unknown format")
	}
	if !ResultMediaType().Equal(FormatP23JWT.MediaType()) {
		t.Error("two media types for one format")
	}
}

// A result that nobody would read is not signed.
func TestSignFormatTooLarge(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 0)
	a := testAppraisal()
	a.Claims = map[string]any{"x": strings.Repeat("x", 760_000)}
	for i := range 17 {
		r.Components = append(r.Components, l.component(t, fmt.Sprint("gpu/", i), "nvidia-gpu", a))
	}
	r.Outcome = Combine(r.Components, r.Caps)
	for _, f := range []Format{FormatP23JWT, FormatP04JWT, FormatP04CWT} {
		if token, err := SignFormat(l.lead, r, f, time.Hour); err == nil {
			t.Errorf("%s of %d bytes", f, len(token))
		}
	}
}

// Names of one profile never stand in a token of another, however deep.
func TestSpellingsAreNeverMixed(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	for name, r := range l.machines(t) {
		for _, f := range Formats() {
			token, err := SignFormat(l.lead, r, f, time.Hour)
			var unfit *FormatError
			if errors.As(err, &unfit) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			claims := claimsOf(t, l, token)
			if f.Binary() {
				o, err := objectOfCBOR(claims)
				if err != nil {
					t.Fatal(err)
				}
				memberNames(map[string]any(o), names)
				var raw any
				if err := cbor.Unmarshal(claims, &raw); err != nil {
					t.Fatal(err)
				}
				memberNames(raw, names)
			} else {
				o, err := trust.ParseObject(claims, resultDepth)
				if err != nil {
					t.Fatal(err)
				}
				memberNames(o, names)
			}
			wrong := []string{"ear.", "assize."}
			if f == FormatP23JWT {
				wrong = []string{"ear_", "assize_"}
			}
			for member := range names {
				if strings.HasPrefix(member, wrong[0]) || strings.HasPrefix(member, wrong[1]) {
					t.Errorf("%s as %s has %q", name, f, member)
				}
			}
			if f != FormatTDXGPU && !names["assize_components"] && !names["assize.components"] {
				t.Errorf("%s as %s: the scan saw nothing", name, f)
			}
		}
	}
}

// memberNames collects the names of all members. Those of submods and of the
// statements about components are labels, which anybody may choose.
func memberNames(v any, to map[string]bool) {
	labels := map[string]bool{"submods": true, "assize_components": true, "assize.components": true, "assize.leaves-sha384": true, "assize_leaves_sha384": true}
	each := func(name string, v any) {
		to[name] = true
		if labels[name] {
			switch m := v.(type) {
			case map[string]any:
				for _, one := range m {
					memberNames(one, to)
				}
			case map[any]any:
				for _, one := range m {
					memberNames(one, to)
				}
			}
			return
		}
		memberNames(v, to)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, one := range v {
			each(name, one)
		}
	case map[any]any:
		for key, one := range v {
			if key == uint64(266) {
				key = "submods"
			}
			if name, ok := key.(string); ok {
				each(name, one)
			} else {
				memberNames(one, to)
			}
		}
	case []any:
		for _, one := range v {
			memberNames(one, to)
		}
	}
}

// The tables of names lose nothing.
func TestNamesOfBothProfiles(t *testing.T) {
	if len(underscored) != len(dotted) || len(underscored) < 15 {
		t.Errorf("%d names for %d", len(dotted), len(underscored))
	}
	for name, other := range underscored {
		if !strings.HasPrefix(name, "assize.") || !strings.HasPrefix(other, "assize_") || strings.ContainsAny(other, ".-") || dotted[other] != name {
			t.Errorf("%q as %q", name, other)
		}
	}
}

// Every token is as its schema or grammar says.
func TestTokensObeyTheirSchemas(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	load := func(name string) *schemas.Schema {
		s, err := schemas.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	byFormat := map[Format]*schemas.Schema{
		FormatP23JWT: load("ear-p23.schema.json"), FormatP04JWT: load("ear-p04.schema.json"), FormatTDXGPU: load("ear-tdx-gpu.schema.json"),
	}
	grammar := p04Grammar(t)
	for name, r := range l.machines(t) {
		for _, f := range Formats() {
			token, err := SignFormat(l.lead, r, f, time.Hour)
			var unfit *FormatError
			if errors.As(err, &unfit) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			claims := claimsOf(t, l, token)
			if f.Binary() {
				err = grammar.Check("ear", claims)
			} else {
				err = byFormat[f].ValidateJSON(claims)
			}
			if err != nil {
				t.Errorf("%s as %s: %v", name, f, err)
			}
		}
		for _, c := range r.Components {
			for _, p := range c.Partials() {
				if err := byFormat[FormatP23JWT].ValidateJSON(payload(t, p.token)); err != nil {
					t.Errorf("%s, partial result of %s: %v", name, c.Label, err)
				}
			}
		}
	}
	// And a schema is not one that holds for anything.
	for f, s := range byFormat {
		for other := range byFormat {
			if other != f && s.ValidateJSON(claimsOf(t, l, l.signAs(t, l.machine(t, 1), other))) == nil {
				t.Errorf("a result as %s is one as %s", other, f)
			}
		}
	}
}

func p04Grammar(t *testing.T) *cddl.Grammar {
	t.Helper()
	text, err := schemas.Read("ear-p04.cddl")
	if err != nil {
		t.Fatal(err)
	}
	g, err := cddl.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Libraries that know nothing of this project verify and read every format.
func TestIndependentReaders(t *testing.T) {
	l := newLab(t, trust.ES256)
	r := l.machine(t, 2)
	r.Time = time.Now().Add(-time.Second) // one of them looks at the real clock
	r.Outcome = Combine(r.Components, r.Caps)
	public := l.lead.Key("", nil).Public

	var e ear.AttestationResult
	if err := e.Verify(l.signAs(t, r, FormatP23JWT), jwa.ES256(), public); err != nil || *e.Submods["composite"].Status != ear.TrustTierAffirming {
		t.Errorf("veraison/ear: %+v, %v", e, err)
	}

	raw, err := jws.Verify(l.signAs(t, r, FormatP04JWT), jws.WithKey(jwa.ES256(), public))
	if err != nil {
		t.Fatal(err)
	}
	var p04 struct {
		Profile  string            `json:"eat_profile"`
		Status   string            `json:"ear_status"`
		Expires  int64             `json:"exp"`
		Verifier map[string]string `json:"ear_verifier_id"`
		Submods  map[string]json.RawMessage
		Topology map[string][]string `json:"ear_device_topology"`
	}
	if err := json.Unmarshal(raw, &p04); err != nil {
		t.Fatal(err)
	}
	var nested [2]string
	if err := json.Unmarshal(p04.Submods["gpu/1"], &nested); err != nil || nested[0] != "JWT" {
		t.Fatalf("%s, %v", p04.Submods["gpu/1"], err)
	}
	if inner, err := jws.Verify([]byte(nested[1]), jws.WithKey(jwa.ES256(), l.gpu.Key("", nil).Public)); err != nil || !json.Valid(inner) {
		t.Errorf("nested: %v", err)
	}
	if p04.Profile != ProfileP04 || p04.Status != "affirming" || p04.Expires == 0 || p04.Verifier["build"] != r.Verifier.Build ||
		!reflect.DeepEqual(p04.Topology, map[string][]string{"gpu/0": {"cpu"}}) || len(p04.Submods) != 4 {
		t.Errorf("jwx: %s", raw)
	}

	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(l.signAs(t, r, FormatP04CWT)); err != nil {
		t.Fatal(err)
	}
	v, err := cose.NewVerifier(cose.AlgorithmES256, public)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(nil, v); err != nil {
		t.Error(err)
	}
	var claims struct {
		Profile  string              `cbor:"265,keyasint"`
		Issued   int64               `cbor:"6,keyasint"`
		Nonce    []byte              `cbor:"10,keyasint"`
		Status   int                 `cbor:"1000,keyasint"`
		Verifier map[int]string      `cbor:"1004,keyasint"`
		Submods  map[string]any      `cbor:"266,keyasint"`
		Topology map[string][]string `cbor:"1007,keyasint"`
	}
	if err := cbor.Unmarshal(m.Payload, &claims); err != nil {
		t.Fatal(err)
	}
	selector, _ := claims.Submods["gpu/1"].(string)
	if claims.Profile != ProfileP04 || claims.Issued != r.Time.Unix() || !bytes.Equal(claims.Nonce, testNonce) || claims.Status != 2 ||
		claims.Verifier[0] != r.Verifier.Developer || selector != `["JWT","`+nested[1]+`"]` || claims.Topology["gpu/0"][0] != "cpu" {
		t.Errorf("go-cose: %+v", claims)
	}
}

func TestBundlesOfAllFormats(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	r := l.machine(t, 1)
	for _, f := range Formats() {
		in := Bundle{Verdict: l.signAs(t, r, f), Format: f, Evidence: []byte("x")}
		raw, err := EncodeBundle(in)
		if !f.Verifiable() {
			if err == nil {
				t.Errorf("a bundle with a verdict as %s", f)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBundle(raw)
		if err != nil || !reflect.DeepEqual(got, in) {
			t.Fatalf("%s: %+v, %v", f, got, err)
		}
		if _, err := VerifyResult(got.Verdict, aarIntake(), l.anchors); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	if _, err := EncodeBundle(Bundle{Verdict: []byte("x"), Format: "other"}); err == nil {
		t.Error("a bundle with a verdict as nobody knows")
	}
}

func BenchmarkFormats(b *testing.B) {
	l := newLab(b, trust.ES256)
	r := l.machine(b, 8)
	for _, f := range Formats() {
		b.Run("sign "+string(f), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := SignFormat(l.lead, r, f, time.Hour); err != nil {
					b.Fatal(err)
				}
			}
		})
		if !f.Verifiable() {
			continue
		}
		token := l.signAs(b, r, f)
		b.Run("verify "+string(f), func(b *testing.B) {
			b.ReportAllocs()
			b.ReportMetric(float64(len(token)), "bytes")
			for b.Loop() {
				if _, err := VerifyResult(token, aarIntake(), l.anchors); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
