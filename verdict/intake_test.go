// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/trust"
)

// edit decodes the claims of a good partial result, changes them and signs
// them again with the right key.
func (l *lab) edit(tb testing.TB, token []byte, s *trust.Signer, change func(claims, submod, policy map[string]any)) []byte {
	tb.Helper()
	claims, err := trust.ParseObject(payload(tb, token), 32)
	if err != nil {
		tb.Fatal(err)
	}
	sub := claims["submods"].(map[string]any)["gpu/0"].(map[string]any)
	change(claims, sub, sub[claimPolicy].(map[string]any))
	raw, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := s.SignJWT(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

type obj = map[string]any

func TestIntakeRules(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	i := testIssue("gpu/0", "nvidia-gpu")
	good := mustSign(t, l.gpu, i, testAppraisal())
	vec := func(s obj) obj { return s[claimVector].(obj) }
	now := testIntake().Now.Unix()
	// code "" means that the result is accepted.
	cases := []struct {
		name, code string
		change     func(c, s, p obj)
	}{
		{"unchanged", "", func(c, s, p obj) {}},
		{"unknown claims", "", func(c, s, p obj) { c["x"], s["x"], p["x"] = 1, obj{"y": 1}, "z" }},
		{"extra verifier member", "", func(c, s, p obj) { c[claimVerifierID].(obj)["site"] = "x" }},
		{"no exp", "", func(c, s, p obj) { delete(c, "exp") }},
		{"lower status", "", func(c, s, p obj) { s[claimStatus] = "contraindicated" }},
		{"status none", "", func(c, s, p obj) { s[claimStatus] = "none" }},
		{"within skew", "", func(c, s, p obj) { c["iat"] = now + 59; c["nbf"] = now + 59 }},
		{"exp within skew", "", func(c, s, p obj) { c["exp"] = now - 59 }},

		{"number beyond float64", "", func(c, s, p obj) { s[claimAnnotated].(obj)["x"] = json.Number("1e400") }},
		{"other media type", ReasonPARSubject, func(c, s, p obj) { p["assize.media-type"] = "application/other" }},
		{"other nonce rule", ReasonPARNonce, func(c, s, p obj) { p["assize.nonce-rule"] = "given" }},
		{"no nonce rule", ReasonPARNonce, func(c, s, p obj) { delete(p, "assize.nonce-rule") }},
		{"other verification time", ReasonPARSubject, func(c, s, p obj) { p["assize.verification-time"] = "2001-01-01T00:00:00Z" }},

		{"profile", ReasonBadPAR, func(c, s, p obj) { c[claimProfile] = "tag:ietf.org,2026:rats/ear#04" }},
		{"trustee profile", ReasonBadPAR, func(c, s, p obj) { c[claimProfile] = "tag:github.com,2024:confidential-containers/Trustee" }},
		{"no profile", ReasonBadPAR, func(c, s, p obj) { delete(c, claimProfile) }},
		{"no iat", ReasonBadPAR, func(c, s, p obj) { delete(c, "iat") }},
		{"float iat", ReasonBadPAR, func(c, s, p obj) { c["iat"] = json.Number("1772366400.0") }},
		{"exponent iat", ReasonBadPAR, func(c, s, p obj) { c["iat"] = json.Number("1.7723664e9") }},
		{"text iat", ReasonBadPAR, func(c, s, p obj) { c["iat"] = "1772366400" }},
		{"zero iat", ReasonBadPAR, func(c, s, p obj) { c["iat"] = 0 }},
		{"huge iat", ReasonBadPAR, func(c, s, p obj) { c["iat"] = json.Number("99999999999999999999") }},
		{"float exp", ReasonBadPAR, func(c, s, p obj) { c["exp"] = json.Number("1872366400.5") }},
		{"null exp", ReasonBadPAR, func(c, s, p obj) { c["exp"] = nil }},
		{"float nbf", ReasonBadPAR, func(c, s, p obj) { c["nbf"] = 1.5 }},
		{"no verifier", ReasonBadPAR, func(c, s, p obj) { delete(c, claimVerifierID) }},
		{"no build", ReasonBadPAR, func(c, s, p obj) { delete(c[claimVerifierID].(obj), "build") }},
		{"no developer", ReasonBadPAR, func(c, s, p obj) { delete(c[claimVerifierID].(obj), "developer") }},
		{"no submods", ReasonBadPAR, func(c, s, p obj) { delete(c, claimSubmods) }},
		{"empty submods", ReasonBadPAR, func(c, s, p obj) { c[claimSubmods] = obj{} }},
		{"two submods", ReasonBadPAR, func(c, s, p obj) { c[claimSubmods].(obj)["gpu/1"] = s }},
		{"nested token", ReasonBadPAR, func(c, s, p obj) { c[claimSubmods] = obj{"gpu/0": []any{"JWT", "x"}} }},
		{"no status", ReasonBadPAR, func(c, s, p obj) { delete(s, claimStatus) }},
		{"status word", ReasonBadPAR, func(c, s, p obj) { s[claimStatus] = "good" }},
		{"status number", ReasonBadPAR, func(c, s, p obj) { s[claimStatus] = 2 }},
		{"no vector", ReasonBadPAR, func(c, s, p obj) { delete(s, claimVector) }},
		{"empty vector", ReasonBadPAR, func(c, s, p obj) { s[claimVector] = obj{} }},
		{"claim 128", ReasonBadPAR, func(c, s, p obj) { vec(s)["hardware"] = 128 }},
		{"claim 258", ReasonBadPAR, func(c, s, p obj) { vec(s)["hardware"] = 258 }},
		{"float claim", ReasonBadPAR, func(c, s, p obj) { vec(s)["hardware"] = 2.5 }},
		{"text claim", ReasonBadPAR, func(c, s, p obj) { vec(s)["hardware"] = "2" }},
		{"unknown text claim", ReasonBadPAR, func(c, s, p obj) { vec(s)["new"] = "2" }},
		{"no policy claims", ReasonBadPAR, func(c, s, p obj) { delete(s, claimPolicy) }},
		{"annotated list", ReasonBadPAR, func(c, s, p obj) { s[claimAnnotated] = []any{} }},
		{"policy id number", ReasonBadPAR, func(c, s, p obj) { s[claimPolicyID] = 1 }},
		{"no freshness", ReasonBadPAR, func(c, s, p obj) { delete(p, "assize.freshness") }},
		{"freshness word", ReasonBadPAR, func(c, s, p obj) { p["assize.freshness"] = "FRESH" }},
		{"reason text", ReasonBadPAR, func(c, s, p obj) { p["assize.reasons"] = []any{"x"} }},
		{"reason code", ReasonBadPAR, func(c, s, p obj) { p["assize.reasons"] = []any{obj{"code": ""}} }},
		{"facts text", ReasonBadPAR, func(c, s, p obj) { p["assize.facts"] = "x" }},
		{"facts number", ReasonBadPAR, func(c, s, p obj) { p["assize.facts"].(obj)["registers"] = obj{"mrtd": 1} }},
		{"facts device", ReasonBadPAR, func(c, s, p obj) { p["assize.facts"].(obj)["device"] = "x" }},
		{"environments text", ReasonBadPAR, func(c, s, p obj) { p["assize.facts"].(obj)["environments"] = "oA" }},
		{"environments empty", ReasonBadPAR, func(c, s, p obj) { p["assize.facts"].(obj)["environments"] = []any{""} }},
		{"environments padded", ReasonBadPAR, func(c, s, p obj) { p["assize.facts"].(obj)["environments"] = []any{"oA=="} }},
		{"environments spelling", ReasonBadPAR, func(c, s, p obj) { p["assize.facts"].(obj)["environments"] = []any{"oB"} }},
		{"environments long", ReasonBadPAR, func(c, s, p obj) {
			p["assize.facts"].(obj)["environments"] = []any{strings.Repeat("A", maxEnvironment+4)}
		}},
		{"environments many", ReasonBadPAR, func(c, s, p obj) {
			p["assize.facts"].(obj)["environments"] = slices.Repeat([]any{"oA"}, maxEnvironments+1)
		}},
		{"environments", "", func(c, s, p obj) { p["assize.facts"].(obj)["environments"] = []any{"oA"} }},
		{"revision", "", func(c, s, p obj) { p["assize.reference-revision"] = strings.Repeat("a1", 32) }},
		{"revision short", ReasonBadPAR, func(c, s, p obj) { p["assize.reference-revision"] = strings.Repeat("a1", 31) }},
		{"revision long", ReasonBadPAR, func(c, s, p obj) { p["assize.reference-revision"] = strings.Repeat("a1", 33) }},
		{"revision case", ReasonBadPAR, func(c, s, p obj) { p["assize.reference-revision"] = strings.Repeat("A1", 32) }},
		{"revision empty", ReasonBadPAR, func(c, s, p obj) { p["assize.reference-revision"] = "" }},
		{"revision null", ReasonBadPAR, func(c, s, p obj) { p["assize.reference-revision"] = nil }},
		{"revision number", ReasonBadPAR, func(c, s, p obj) { p["assize.reference-revision"] = 1 }},
		{"nonce seen", ReasonBadPAR, func(c, s, p obj) { p["assize.nonce-seen"] = "xx" }},
		{"nonce seen case", ReasonBadPAR, func(c, s, p obj) { p["assize.nonce-seen"] = "A5" }},
		{"verification time", ReasonBadPAR, func(c, s, p obj) { p["assize.verification-time"] = "yesterday" }},
		{"digest length", ReasonBadPAR, func(c, s, p obj) { p["assize.evidence-sha256"] = "00" }},
		{"no digest", ReasonBadPAR, func(c, s, p obj) { delete(p, "assize.evidence-sha256") }},
		{"no request", ReasonBadPAR, func(c, s, p obj) { delete(p, "assize.request") }},
		{"no scheme", ReasonBadPAR, func(c, s, p obj) { delete(p, "assize.scheme") }},
		{"no media type", ReasonBadPAR, func(c, s, p obj) { delete(p, "assize.media-type") }},
		{"deep", ReasonBadPAR, func(c, s, p obj) {
			v := any(1)
			for range 16 {
				v = []any{v}
			}
			c["x"] = v
		}},
		{"nonce array", ReasonBadPAR, func(c, s, p obj) { c[claimNonce] = []any{c[claimNonce], "AAAAAAAAAAA="} }},
		{"nonce length", ReasonBadPAR, func(c, s, p obj) { c[claimNonce] = "AAAA" }},
		{"nonce empty", ReasonBadPAR, func(c, s, p obj) { c[claimNonce] = "" }},

		{"future", ReasonPARStale, func(c, s, p obj) { c["iat"] = now + 61 }},
		{"not yet", ReasonPARStale, func(c, s, p obj) { c["nbf"] = now + 61 }},
		{"expired", ReasonPARStale, func(c, s, p obj) { c["exp"] = now - 61 }},
		{"old", ReasonPARStale, func(c, s, p obj) { c["iat"] = now - 151 }},

		{"no nonce", ReasonPARNonce, func(c, s, p obj) { delete(c, claimNonce) }},
		{"other nonce", ReasonPARNonce, func(c, s, p obj) { c[claimNonce] = encodeNonce(make([]byte, 32)) }},

		{"other label", ReasonPARSubject, func(c, s, p obj) { c[claimSubmods] = obj{"gpu/1": s} }},
		{"other scheme", ReasonPARSubject, func(c, s, p obj) { p["assize.scheme"] = "intel-tdx" }},
		{"other request", ReasonPARSubject, func(c, s, p obj) { p["assize.request"] = "x" }},
		{"empty request", ReasonPARSubject, func(c, s, p obj) { p["assize.request"] = "" }},
		{"other evidence", ReasonPARSubject, func(c, s, p obj) { p["assize.evidence-sha256"] = strings.Repeat("00", 32) }},

		{"better than vector", ReasonLyingPAR, func(c, s, p obj) { vec(s)["hardware"] = 32 }},
		{"warning over 96", ReasonLyingPAR, func(c, s, p obj) { vec(s)["hardware"], s[claimStatus] = 97, "warning" }},
		{"none over 99", ReasonLyingPAR, func(c, s, p obj) { vec(s)["hardware"], s[claimStatus] = 99, "none" }},
		{"malfunction", ReasonLyingPAR, func(c, s, p obj) { vec(s)["hardware"] = -1 }},
		{"nothing asserted", ReasonLyingPAR, func(c, s, p obj) { s[claimVector] = obj{"hardware": 0} }},
		{"unknown warning", ReasonLyingPAR, func(c, s, p obj) { vec(s)["new"] = 40 }},
		{"unknown contraindicated", ReasonLyingPAR, func(c, s, p obj) { vec(s)["new"], s[claimStatus] = 96, "warning" }},
		{"unknown malfunction", ReasonLyingPAR, func(c, s, p obj) { vec(s)["new"] = -1 }},
		{"not established", ReasonLyingPAR, func(c, s, p obj) { p["assize.freshness"] = "not-established" }},
		{"mismatch", ReasonLyingPAR, func(c, s, p obj) { p["assize.freshness"], s[claimStatus] = "mismatch", "warning" }},
		{"fresh, none seen", ReasonLyingPAR, func(c, s, p obj) { delete(p, "assize.nonce-seen") }},
		{"fresh, other seen", ReasonLyingPAR, func(c, s, p obj) { p["assize.nonce-seen"] = strings.Repeat("00", 32) }},
	}
	for _, c := range cases {
		token := l.edit(t, good, l.gpu, c.change)
		_, err := VerifyPartial(token, expectOf(i), testIntake(), l.anchors)
		checkCode(t, c.name, err, c.code)
	}
	p, err := VerifyPartial(l.edit(t, good, l.gpu, func(c, s, p obj) {
		vec(s)["new"], vec(s)["one"], s[claimStatus] = 40, 1, "warning"
	}), expectOf(i), testIntake(), l.anchors)
	if err != nil || p.Status() != TierWarning || !reflect.DeepEqual(p.Unknown(), map[string]Claim{"new": 40, "one": 1}) {
		t.Errorf("unknown members: %v, %v", p.Unknown(), err)
	}
}

func checkCode(t *testing.T, name string, err error, code string) {
	t.Helper()
	var why *IntakeError
	switch {
	case code == "" && err == nil:
	case code == "" || !errors.As(err, &why) || why.Code != code:
		t.Errorf("%s: %v; want %q", name, err, code)
	}
}

// The lead's side of the comparison: what it expects, whom it trusts.
func TestIntakeExpectations(t *testing.T) {
	l, foreign := newLab(t, trust.ES256), newLab(t, trust.ES256)
	i, a := testIssue("gpu/0", "nvidia-gpu"), testAppraisal()
	good := mustSign(t, l.gpu, i, a)
	for name, c := range map[string]struct {
		code string
		want func(*Expect)
		in   func(*Intake)
	}{
		"label":       {ReasonPARSubject, func(w *Expect) { w.Label = "gpu/1" }, nil},
		"no label":    {ReasonPARSubject, func(w *Expect) { w.Label = "" }, nil},
		"request":     {ReasonPARSubject, func(w *Expect) { w.Request = "x" }, nil},
		"digest":      {ReasonPARSubject, func(w *Expect) { w.Evidence[31] ^= 1 }, nil},
		"scheme":      {ReasonBadPARSignature, func(w *Expect) { w.Scheme = "intel-tdx" }, nil},
		"nonce":       {ReasonPARNonce, func(w *Expect) { w.Nonce = make([]byte, 32) }, nil},
		"nil nonce":   {ReasonPARNonce, func(w *Expect) { w.Nonce = nil }, nil},
		"later":       {ReasonPARStale, nil, func(in *Intake) { in.Now = testTime.Add(151 * time.Second) }},
		"young":       {ReasonPARStale, nil, func(in *Intake) { in.MaxAge = time.Second }},
		"ignored age": {ReasonPARStale, nil, func(in *Intake) { in.Now, in.IgnoreAge = testTime.Add(time.Hour), true }},
		"earlier":     {ReasonPARStale, nil, func(in *Intake) { in.Now = testTime.Add(-61 * time.Second) }},
		"small skew":  {ReasonPARStale, nil, func(in *Intake) { in.Now, in.Skew = testTime.Add(-2*time.Second), time.Second }},
		"good":        {"", nil, nil},
		"older":       {"", nil, func(in *Intake) { in.Now, in.MaxAge = testTime.Add(5*time.Minute), time.Hour }},
		"expired":     {ReasonPARStale, nil, func(in *Intake) { in.Now, in.MaxAge = testTime.Add(6*time.Minute+time.Second), time.Hour }},
	} {
		want, in := expectOf(i), testIntake()
		if c.want != nil {
			c.want(&want)
		}
		if c.in != nil {
			c.in(&in)
		}
		_, err := VerifyPartial(good, want, in, l.anchors)
		checkCode(t, name, err, c.code)
	}
	verify := func(token []byte, anchors *trust.Anchors) error {
		_, err := VerifyPartial(token, expectOf(i), testIntake(), anchors)
		return err
	}
	checkCode(t, "foreign key", verify(mustSign(t, foreign.gpu, i, a), l.anchors), ReasonBadPARSignature)
	checkCode(t, "other verifier", verify(mustSign(t, l.cpu, i, a), l.anchors), ReasonBadPARSignature)
	checkCode(t, "lead as verifier", verify(mustSign(t, l.lead, i, a), l.anchors), ReasonBadPARSignature)
	checkCode(t, "no anchors", verify(good, nil), ReasonBadPARSignature)
	checkCode(t, "empty", verify(nil, l.anchors), ReasonBadPAR)
	checkCode(t, "too large", verify(make([]byte, 1<<20+1), l.anchors), ReasonBadPAR)
	nameless := l.edit(t, good, l.gpu, func(c, s, p obj) { c[claimSubmods] = obj{"": s} })
	want := expectOf(i)
	want.Label = ""
	_, err := VerifyPartial(nameless, want, testIntake(), l.anchors)
	checkCode(t, "no label on both sides", err, ReasonPARSubject)
	late, err := trust.NewAnchors(trust.Key{KID: l.gpu.KID(), Public: l.gpu.Key("", nil).Public, Alg: trust.ES256,
		Roles: []trust.Role{trust.RoleVerifier}, Schemes: []string{"nvidia-gpu"}, NotAfter: testTime})
	if err != nil {
		t.Fatal(err)
	}
	checkCode(t, "key past its end", verify(good, late), ReasonBadPARSignature)
	// A duplicate member with the right signature, at top level and below.
	raw := payload(t, good)
	for _, bad := range [][]byte{
		append([]byte(`{"iat":1,`), raw[1:]...),
		bytes.Replace(raw, []byte(`"hardware":`), []byte(`"hardware":2,"\u0068ardware":`), 1),
		append([]byte("{  "), raw[1:]...),
	} {
		token, err := l.gpu.SignJWT(bad)
		if err != nil {
			t.Fatal(err)
		}
		code := ReasonBadPAR
		if bytes.HasPrefix(bad, []byte("{  ")) { // white space changes nothing
			code = ""
		}
		checkCode(t, "duplicate", verify(token, l.anchors), code)
	}
	for n := range good {
		bad := bytes.Clone(good)
		bad[n] ^= 1
		if err := verify(bad, l.anchors); err == nil {
			t.Fatalf("byte %d changed and still accepted", n)
		}
	}
	// No challenge given: fine, but never fresh.
	i.Nonce, a.NonceSeen, a.Freshness = nil, nil, ""
	token := mustSign(t, l.gpu, i, a)
	p, err := VerifyPartial(token, expectOf(i), testIntake(), l.anchors)
	if err != nil || p.Status() != TierWarning || p.Nonce() != nil {
		t.Errorf("status %v, error %v", p.Status(), err)
	}
	checkCode(t, "fresh without challenge", verify(l.edit(t, token, l.gpu, func(c, s, p obj) {
		p["assize.freshness"], s[claimStatus] = "fresh", "affirming"
	}), l.anchors), ReasonLyingPAR)
}
