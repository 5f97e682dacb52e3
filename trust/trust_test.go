// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func signer(tb testing.TB, alg string) *Signer {
	tb.Helper()
	s, err := GenerateSigner(alg, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func anchors(tb testing.TB, keys ...Key) *Anchors {
	tb.Helper()
	a, err := NewAnchors(keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func TestSignAndVerify(t *testing.T) {
	for _, alg := range []string{ES256, ES384, EdDSA} {
		t.Run(alg, func(t *testing.T) {
			s := signer(t, alg)
			a := anchors(t, s.Key("lead", nil, RoleLead))
			token, err := s.SignJWT([]byte(`{"a":1}`))
			if err != nil {
				t.Fatal(err)
			}
			claims, key, err := VerifyJWT(token, func(kid string) (Key, bool) { return a.Lead(kid, now) })
			if err != nil || string(claims) != `{"a":1}` || key.KID != s.KID() || key.Name != "lead" {
				t.Fatalf("claims %s, key %v, error %v", claims, key, err)
			}
			if _, _, err := VerifyJWT(token, func(kid string) (Key, bool) { return a.Verifier(kid, "x", now) }); !errors.Is(err, ErrUnknownKey) {
				t.Errorf("as a verifier: %v", err)
			}
			for i := range token {
				bad := bytes.Clone(token)
				bad[i] ^= 1
				if _, _, err := VerifyJWT(bad, func(kid string) (Key, bool) { return a.Lead(kid, now) }); err == nil {
					t.Fatalf("byte %d changed and still accepted", i)
				}
			}
		})
	}
}

func TestSignerRoundTrip(t *testing.T) {
	for _, alg := range []string{ES256, ES384, EdDSA} {
		s := signer(t, alg)
		pem, err := s.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSigner(append(pem, '\n'))
		if err != nil || again.KID() != s.KID() {
			t.Fatalf("%s: %v", alg, err)
		}
		for name, bad := range map[string][]byte{
			"two blocks": append(bytes.Clone(pem), pem...), "trailing": append(bytes.Clone(pem), 'x'),
			"empty": nil, "type": bytes.ReplaceAll(pem, []byte("PRIVATE KEY"), []byte("PUBLIC KEY")),
			"truncated": bytes.Replace(pem, []byte("M"), nil, 1),
		} {
			if _, err := ParseSigner(bad); err == nil {
				t.Errorf("%s: %s accepted", alg, name)
			}
		}
	}
	if _, err := GenerateSigner("RS256", rand.Reader); err == nil {
		t.Error("RS256 accepted")
	}
	if _, err := NewSigner(nil); err == nil {
		t.Error("nil key accepted")
	}
	if k, err := rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	} else if _, err := NewSigner(k); err == nil {
		t.Error("RSA key accepted")
	}
	if k, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader); err != nil {
		t.Fatal(err)
	} else if _, err := NewSigner(k); err == nil {
		t.Error("P-521 key accepted")
	}
	for _, bad := range []string{"", "[]", "{", "1", `{}x`} {
		if _, err := signer(t, ES256).SignJWT([]byte(bad)); err == nil {
			t.Errorf("claims %q signed", bad)
		}
	}
}

// RFC 8037 appendix A.3: thumbprint of the Ed25519 example key.
func TestThumbprint(t *testing.T) {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(ed25519.NewKeyFromSeed(seed))
	if err != nil || s.KID() != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Fatalf("kid %v, error %v", s, err)
	}
}

func TestVerifyJWTRefuses(t *testing.T) {
	es, other := signer(t, ES256), signer(t, ES256)
	ed := signer(t, EdDSA)
	a := anchors(t, es.Key("", nil, RoleLead), ed.Key("", nil, RoleLead))
	find := func(kid string) (Key, bool) { return a.Lead(kid, now) }
	claims := []byte(`{"a":1}`)
	good, err := es.SignJWT(claims)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(good), ".")
	// with signs with the right key under a header of our choice.
	with := func(header string) string {
		h := base64.RawURLEncoding.EncodeToString([]byte(header))
		msg := h + "." + parts[1]
		v, err := jws.SignerFor(jwa.ES256())
		if err != nil {
			t.Fatal(err)
		}
		sig, err := v.Sign(es.key, []byte(msg))
		if err != nil {
			t.Fatal(err)
		}
		return msg + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	kid := `"kid":"` + es.KID() + `"`
	for _, ok := range []string{
		`{"alg":"ES256",` + kid + `}`, `{"alg":"ES256",` + kid + `,"typ":"jwt","cty":"x"}`,
		`{"alg":"ES256",` + kid + `,"typ":"application/eat+jwt"}`,
	} {
		if _, _, err := VerifyJWT([]byte(with(ok)), find); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	foreign, err := other.SignJWT(claims)
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(parts[2])
	flipped[0] = map[bool]byte{true: 'B', false: 'A'}[flipped[0] == 'A'] // still base64url
	cases := map[string]struct {
		token string
		want  error
	}{
		"empty":            {"", ErrMalformed},
		"two parts":        {parts[0] + "." + parts[1], ErrMalformed},
		"four parts":       {string(good) + ".", ErrMalformed},
		"no signature":     {parts[0] + "." + parts[1] + ".", ErrMalformed},
		"json form":        {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, ErrMalformed},
		"space before":     {" " + string(good), ErrMalformed},
		"newline behind":   {string(good) + "\n", ErrMalformed},
		"newline inside":   {parts[0] + "." + parts[1] + "\n." + parts[2], ErrMalformed},
		"padding":          {parts[0] + "." + parts[1] + "=." + parts[2], ErrMalformed},
		"none":             {with(`{"alg":"none",` + kid + `}`), ErrMalformed},
		"hs256":            {with(`{"alg":"HS256",` + kid + `}`), ErrMalformed},
		"no alg":           {with(`{` + kid + `}`), ErrMalformed},
		"no kid":           {with(`{"alg":"ES256"}`), ErrMalformed},
		"empty kid":        {with(`{"alg":"ES256","kid":""}`), ErrMalformed},
		"number kid":       {with(`{"alg":"ES256","kid":1}`), ErrMalformed},
		"crit":             {with(`{"alg":"ES256",` + kid + `,"crit":["x"],"x":1}`), ErrMalformed},
		"b64":              {with(`{"alg":"ES256",` + kid + `,"b64":false}`), ErrMalformed},
		"jku":              {with(`{"alg":"ES256",` + kid + `,"jku":"https://example.com"}`), ErrMalformed},
		"jwk":              {with(`{"alg":"ES256",` + kid + `,"jwk":{}}`), ErrMalformed},
		"x5u":              {with(`{"alg":"ES256",` + kid + `,"x5u":"https://example.com"}`), ErrMalformed},
		"x5c":              {with(`{"alg":"ES256",` + kid + `,"x5c":[]}`), ErrMalformed},
		"unknown":          {with(`{"alg":"ES256",` + kid + `,"zip":"DEF"}`), ErrMalformed},
		"duplicate":        {with(`{"alg":"ES256",` + kid + `,` + kid + `}`), ErrMalformed},
		"duplicate escape": {with(`{"alg":"ES256","\u006bid":"x",` + kid + `}`), ErrMalformed},
		"case":             {with(`{"alg":"ES256","KID":"x",` + kid + `}`), ErrMalformed},
		"typ":              {with(`{"alg":"ES256",` + kid + `,"typ":"at+jwt"}`), ErrMalformed},
		"nested":           {with(`{"alg":"ES256",` + kid + `,"cty":"jwt"}`), ErrMalformed},
		"not an object":    {with(`["ES256"]`), ErrMalformed},
		"trailing":         {with(`{"alg":"ES256",` + kid + `}{}`), ErrMalformed},
		"large header":     {with(`{"alg":"ES256",` + kid + `,"cty":"` + strings.Repeat("x", maxHeader) + `"}`), ErrMalformed},
		"too large":        {strings.Repeat("a", MaxToken+1), ErrMalformed},
		"foreign key":      {string(foreign), ErrUnknownKey},
		"alg of no key":    {with(`{"alg":"ES384",` + kid + `}`), ErrSignature},
		"kid of other key": {with(`{"alg":"ES256","kid":"` + ed.KID() + `"}`), ErrSignature},
		"flipped":          {parts[0] + "." + parts[1] + "." + string(flipped), ErrSignature},
		"other payload":    {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"a":2}`)) + "." + parts[2], ErrSignature},
	}
	for name, c := range cases {
		if got, _, err := VerifyJWT([]byte(c.token), find); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: claims %s, error %v; want %v", name, got, err, c.want)
		}
	}
	// A key whose algorithm does not fit it is unusable, whoever hands it in.
	if _, _, err := VerifyJWT(good, func(string) (Key, bool) {
		return Key{KID: es.KID(), Public: ed.pub, Alg: ES256}, true
	}); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unfit key: %v", err)
	}
}

// Unused bits of the last character must be zero, or one token would have
// several spellings.
func TestCanonicalBase64(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "A": false, "AA": true, "AB": false, "AQ": true, "AAA": true, "AAB": false, "AAE": true,
		"AAAA": true, "AA==": false, "AA\n": false, "AA+A": false, "_-_-": true,
	} {
		if canonicalBase64([]byte(s)) != want {
			t.Errorf("%q: want %v", s, want)
		}
		if _, err := base64.RawURLEncoding.Strict().DecodeString(s); want && err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestAnchorRoles(t *testing.T) {
	s := signer(t, ES256)
	a := anchors(t,
		Key{KID: "l", Public: s.pub, Alg: ES256, Roles: []Role{RoleLead}, Schemes: []string{"x"}},
		Key{KID: "v", Public: s.pub, Alg: ES256, Roles: []Role{RoleVerifier}, Schemes: []string{"x", "y"}, NotAfter: now},
		Key{KID: "n", Public: s.pub, Alg: ES256, Roles: []Role{RoleVerifier}},
	)
	for _, c := range []struct {
		kid, scheme    string
		at             time.Time
		lead, verifier bool
	}{
		{"l", "x", now, true, false},
		{"v", "x", now, false, true},
		{"v", "y", now.Add(-time.Hour), false, true},
		{"v", "x", now.Add(time.Second), false, false},
		{"v", "z", now, false, false},
		{"v", "", now, false, false},
		{"n", "x", now, false, false},
		{"n", "", now, false, false},
		{"?", "x", now, false, false},
	} {
		if _, ok := a.Lead(c.kid, c.at); ok != c.lead {
			t.Errorf("%+v: lead %v", c, ok)
		}
		if _, ok := a.Verifier(c.kid, c.scheme, c.at); ok != c.verifier {
			t.Errorf("%+v: verifier %v", c, ok)
		}
	}
	var none *Anchors
	if _, ok := none.Lead("l", now); ok || none.Keys() != nil {
		t.Error("nil anchors trust somebody")
	}
	// What is handed out cannot change the set.
	k, _ := a.Verifier("v", "x", now)
	k.Schemes[0], k.Roles[0] = "z", RoleLead
	if _, ok := a.Verifier("v", "x", now); !ok {
		t.Error("the set was changed from outside")
	}
}

func TestNewAnchorsRefuses(t *testing.T) {
	s, e := signer(t, ES256), signer(t, EdDSA)
	lead := []Role{RoleLead}
	for name, keys := range map[string][]Key{
		"duplicate":     {s.Key("a", nil, RoleLead), s.Key("b", nil, RoleVerifier)},
		"no kid":        {{Public: s.pub, Alg: ES256, Roles: lead}},
		"long kid":      {{KID: strings.Repeat("x", 256), Public: s.pub, Alg: ES256, Roles: lead}},
		"no role":       {{KID: "a", Public: s.pub, Alg: ES256}},
		"role":          {{KID: "a", Public: s.pub, Alg: ES256, Roles: []Role{"root"}}},
		"empty scheme":  {{KID: "a", Public: s.pub, Alg: ES256, Roles: lead, Schemes: []string{""}}},
		"alg":           {{KID: "a", Public: s.pub, Alg: "RS256", Roles: lead}},
		"no alg":        {{KID: "a", Public: s.pub, Roles: lead}},
		"alg and key":   {{KID: "a", Public: s.pub, Alg: EdDSA, Roles: lead}},
		"alg and curve": {{KID: "a", Public: s.pub, Alg: ES384, Roles: lead}},
		"key and alg":   {{KID: "a", Public: e.pub, Alg: ES256, Roles: lead}},
		"nil key":       {{KID: "a", Alg: ES256, Roles: lead}},
		"private key":   {{KID: "a", Public: s.key, Alg: ES256, Roles: lead}},
		"short":         {{KID: "a", Public: ed25519.PublicKey{1}, Alg: EdDSA, Roles: lead}},
	} {
		if _, err := NewAnchors(keys...); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	a, b := anchors(t, s.Key("", nil, RoleLead)), anchors(t, e.Key("", nil, RoleLead))
	if m, err := Merge(a, b, nil); err != nil || len(m.Keys()) != 2 {
		t.Errorf("merge: %v", err)
	}
	if _, err := Merge(a, a); err == nil {
		t.Error("merge of one kid twice accepted")
	}
}

func TestJWKSRoundTrip(t *testing.T) {
	var keys []Key
	for _, alg := range []string{ES256, ES384, EdDSA} {
		k := signer(t, alg).Key("a name", []string{"intel-tdx", "amd-snp"}, RoleLead, RoleVerifier)
		k.NotAfter = now
		keys = append(keys, k)
	}
	keys = append(keys, signer(t, ES256).Key("", nil, RoleLead))
	a := anchors(t, keys...)
	raw, err := a.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseJWKS(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.Keys(), b.Keys()) {
		t.Errorf("got  %+v\nwant %+v", b.Keys(), a.Keys())
	}
	if again, err := b.JWKS(); err != nil || !bytes.Equal(raw, again) {
		t.Errorf("not deterministic: %v\n%s\n%s", err, raw, again)
	}
	if a, err := ParseJWKS([]byte(`{"keys":[]}`)); err != nil || len(a.Keys()) != 0 {
		t.Errorf("empty set: %v", err)
	}
}

// RFC 7517 appendix A.1, the EC key.
const exampleKey = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"`

func TestParseJWKS(t *testing.T) {
	a, err := ParseJWKS([]byte(`{"keys":[` + exampleKey + `,"kid":"1","x-unknown":[1]}],"more":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := a.Lead("1", now); !ok || k.Alg != ES256 || !reflect.DeepEqual(k.Roles, []Role{RoleLead}) {
		t.Errorf("lead key %+v", k)
	}
	if _, ok := a.Verifier("1", "x", now); ok {
		t.Error("became a verifier key by default")
	}
	for name, bad := range map[string]string{
		"schemes alone":    exampleKey + `,"kid":"1","assize_schemes":["x"]}`,
		"private":          exampleKey + `,"kid":"1","d":"AA"}`,
		"private null":     exampleKey + `,"kid":"1","d":null}`,
		"enc":              exampleKey + `,"kid":"1","use":"enc"}`,
		"key_ops":          exampleKey + `,"kid":"1","key_ops":["verify","sign"]}`,
		"no kid":           exampleKey + `}`,
		"number kid":       exampleKey + `,"kid":1}`,
		"alg":              exampleKey + `,"kid":"1","alg":"ES384"}`,
		"alg type":         exampleKey + `,"kid":"1","alg":256}`,
		"duplicate member": exampleKey + `,"kid":"1","kid":"1"}`,
		"role":             exampleKey + `,"kid":"1","assize_roles":["god"]}`,
		"no role":          exampleKey + `,"kid":"1","assize_roles":[]}`,
		"null roles":       exampleKey + `,"kid":"1","assize_roles":null}`,
		"text roles":       exampleKey + `,"kid":"1","assize_roles":"lead"}`,
		"number scheme":    exampleKey + `,"kid":"1","assize_schemes":[1]}`,
		"scheme twice":     exampleKey + `,"kid":"1","assize_schemes":["x","x"]}`,
		"name":             exampleKey + `,"kid":"1","assize_name":1}`,
		"float end":        exampleKey + `,"kid":"1","assize_not_after":1.5}`,
		"text end":         exampleKey + `,"kid":"1","assize_not_after":"1"}`,
		"negative end":     exampleKey + `,"kid":"1","assize_not_after":-1}`,
		"off curve":        strings.Replace(exampleKey, "4Etl", "4Etm", 1) + `,"kid":"1"}`,
		"curve":            strings.Replace(exampleKey, "P-256", "P-521", 1) + `,"kid":"1"}`,
		"rsa":              `{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"1"}`,
		"oct":              `{"kty":"oct","k":"AAAA","kid":"1"}`,
		"x25519":           `{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08","kid":"1"}`,
		"not an object":    `1`,
		"empty":            `{}`,
		"twice":            exampleKey + `,"kid":"1"},` + exampleKey + `,"kid":"1"}`,
	} {
		if _, err := ParseJWKS([]byte(`{"keys":[` + bad + `]}`)); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	for _, bad := range []string{"", "{}", "[]", `{"keys":{}}`, `{"keys":[],"keys":[]}`, `{"keys":[]}x`, strings.Repeat(" ", MaxJWKS+1)} {
		if _, err := ParseJWKS([]byte(bad)); err == nil {
			t.Errorf("set %.40q accepted", bad)
		}
	}
}

func TestParseObject(t *testing.T) {
	got, err := ParseObject([]byte(" {\"a\\u0062\":[1.50,true,false,null,\"x\\n\",[],{}],\"c\":{\"c\":-0}}\n"), 4)
	want := map[string]any{
		"ab": []any{json.Number("1.50"), true, false, nil, "x\n", []any{}, map[string]any{}},
		"c":  map[string]any{"c": json.Number("-0")},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{
		"", "1", "[]", "null", `{"a":1,}`, `{"a":1}{}`, `{"a":1,"a":2}`, `{"b":{"a":1,"\u0061":2}}`, `[{"a":1}]`,
		`{"a":[{"b":1,"b":1}]}`, "{\"a\":\"\xff\"}", `{"a":01}`, `{"a":NaN}`, `{a:1}`, `{"a":[[[[1]]]]}`,
		`{"\ud800":1,"\ud801":2}`,
	} {
		if _, err := ParseObject([]byte(bad), 4); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// ParseObject must see what encoding/json sees, and nothing twice.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{"b":"\"\\\u0041"}]}`, `{"a":1,"a":2}`, `{ "a" : -1.5e+10 , "b" : [ ] }`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseObject(b, 16)
		if err != nil {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		var want map[string]any
		if err := dec.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v (%v)", got, want, err)
		}
		if _, err := dec.Token(); err != io.EOF {
			t.Fatal("data behind the object")
		}
	})
}

func FuzzParseJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[` + exampleKey + `,"kid":"1","assize_roles":["verifier"],"assize_schemes":["x"],"assize_not_after":5}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"2"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseJWKS(b)
		if err != nil {
			return
		}
		raw, err := a.JWKS()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseJWKS(raw)
		if err != nil || !reflect.DeepEqual(a.Keys(), again.Keys()) {
			t.Fatalf("no round trip: %v", err)
		}
	})
}

func FuzzVerifyJWT(f *testing.F) {
	s, err := NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.SignJWT([]byte(`{"a":1}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("eyJhbGciOiJub25lIn0.e30."))
	f.Fuzz(func(t *testing.T, token []byte) {
		claims, _, err := VerifyJWT(token, func(kid string) (Key, bool) { return s.Key("", nil, RoleLead), true })
		if err == nil && string(claims) != `{"a":1}` {
			t.Fatalf("forged %s", claims)
		}
	})
}

func TestAttestersAreNobodyElse(t *testing.T) {
	now := time.Unix(1750000000, 0)
	attester, lead := signer(t, ES256), signer(t, ES384)
	k := attester.Key("a", []string{"s"}, RoleAttester)
	old := signer(t, EdDSA).Key("old", nil, RoleAttester)
	old.NotAfter = now.Add(-time.Second)
	a, err := NewAnchors(k, old, lead.Key("l", nil, RoleLead))
	if err != nil {
		t.Fatal(err)
	}
	if keys := a.Attesters(now); len(keys) != 1 || !attester.pub.(*ecdsa.PublicKey).Equal(keys[0]) {
		t.Errorf("attesters: %v", keys)
	}
	if _, ok := a.Lead(k.KID, now); ok {
		t.Error("an attester may sign verdicts")
	}
	if _, ok := a.Verifier(k.KID, "s", now); ok {
		t.Error("an attester may sign results")
	}
}

// What somebody misspelt must not become more than they meant.
func TestParseJWKSRefusesMisspeltPrivileges(t *testing.T) {
	a, err := NewAnchors(signer(t, ES256).Key("v", []string{"s"}, RoleVerifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseJWKS(raw); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		`"assize_roles"`:   `"assize_role"`,
		`"assize_schemes"`: `"Assize_schemes"`,
		`"verifier"`:       `"lead"`,
	} {
		bad := strings.Replace(string(raw), from, to, 1)
		if bad == string(raw) {
			t.Fatalf("%s is not in %s", from, raw)
		}
		if _, err := ParseJWKS([]byte(bad)); err == nil {
			t.Errorf("%s instead of %s is accepted", to, from)
		}
	}
}
