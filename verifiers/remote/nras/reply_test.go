// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

func finder(keys map[string]trust.Key) keyFinder {
	return func(kid string) (trust.Key, bool) { k, ok := keys[kid]; return k, ok }
}

// question is a request to the stand-in and what its reply must be.
type question struct {
	s    *nrastest.Service
	body []byte
	e    expected
}

func ask(tb testing.TB) *question {
	tb.Helper()
	k := kinds()[0]
	d, err := k.readDevice(gpu(tb, nil))
	if err != nil {
		tb.Fatal(err)
	}
	r, err := k.request(d)
	if err != nil {
		tb.Fatal(err)
	}
	s := nrastest.New(tb, rand.Reader, clock)
	return &question{s: s, body: r.Body, e: expected{issuer: s.Issuer, name: "GPU-0", nonce: nonce, time: at}}
}

func (q *question) reply(tb testing.TB) []byte {
	tb.Helper()
	raw, err := q.s.Reply("gpu", q.body)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func (q *question) verify(tb testing.TB, raw []byte) (*statement, error) {
	tb.Helper()
	keys, err := ParseKeys(q.s.KeySet())
	if err != nil {
		tb.Fatal(err)
	}
	b, err := readBundle(raw, q.e.name)
	if err != nil {
		return nil, err
	}
	return b.verify(finder(keys), q.e)
}

func TestReply(t *testing.T) {
	q := ask(t)
	s, err := q.verify(t, q.reply(t))
	if err != nil || s.kid != "kid-0" || !s.overall || s.device["measres"] != "success" {
		t.Fatalf("%+v, %v", s, err)
	}
}

// The form of a reply has one spelling, and one device.
func TestBundleForm(t *testing.T) {
	for name, raw := range map[string]string{
		"empty": ``, "null": `null`, "object": `{"GPU-0":"a"}`, "no array": `"x"`, "one element": `[["JWT","a"]]`, "three": `[["JWT","a"],{"GPU-0":"b"},{}]`,
		"no JWT": `[["JWS","a"],{"GPU-0":"b"}]`, "no token": `[["JWT"],{"GPU-0":"b"}]`, "number": `[["JWT",1],{"GPU-0":"b"}]`, "long pair": `[["JWT","a","b"],{"GPU-0":"b"}]`,
		"no devices": `[["JWT","a"],{}]`, "another": `[["JWT","a"],{"GPU-1":"b"}]`, "a switch": `[["JWT","a"],{"SWITCH-0":"b"}]`, "two devices": `[["JWT","a"],{"GPU-0":"b","GPU-1":"c"}]`,
		"twice": `[["JWT","a"],{"GPU-0":"b","GPU-0":"c"}]`, "escaped twice": `[["JWT","a"],{"GPU-0":"b","\u0047PU-0":"c"}]`, "no text": `[["JWT","a"],{"GPU-0":["b"]}]`,
		"behind": `[["JWT","a"],{"GPU-0":"b"}]x`, "another value": `[["JWT","a"],{"GPU-0":"b"}] []`, "out of the wrapper": `[["JWT","a"],{"GPU-0":"b"}],"x":1`,
		"nested": `[["JWT","a"],{"GPU-0":[[[[]]]]}]`, "large": `[["JWT","a"],{"GPU-0":"` + strings.Repeat("b", MaxToken+1) + `"}]`,
		"larger": strings.Repeat(" ", MaxReply) + `[["JWT","a"],{"GPU-0":"b"}]`, "not UTF-8": "[[\"JWT\",\"a\"],{\"GPU-0\":\"\xff\"}]",
	} {
		if b, err := readBundle([]byte(raw), "GPU-0"); !errors.Is(err, ErrReply) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
	if b, err := readBundle([]byte("[[\"JWT\",\"a\"],\n{\"GPU-0\":\"b\"}]\n"), "GPU-0"); err != nil || b.overall != "a" || b.device != "b" {
		t.Error(b, err)
	}
}

// Every rule about a token, for both tokens.
func TestTokenRules(t *testing.T) {
	type edit = func(nrastest.Claims)
	set := func(name string, v any) edit { return func(c nrastest.Claims) { c[name] = v } }
	drop := func(name string) edit { return func(c nrastest.Claims) { delete(c, name) } }
	second := func(d time.Duration) int64 { return at.Add(d).Unix() }
	both := map[string]edit{
		"foreign issuer": set("iss", "https://nras.example"), "no issuer": drop("iss"), "issuer with a slash": func(c nrastest.Claims) { c["iss"] = c["iss"].(string) + "/" },
		"issuer null": set("iss", nil), "issuer list": set("iss", []any{"x"}),
		"wrong nonce": set("eat_nonce", strings.Repeat("08", 32)), "no nonce": drop("eat_nonce"), "31 bytes": set("eat_nonce", strings.Repeat("07", 31)),
		"33 bytes": set("eat_nonce", strings.Repeat("07", 33)), "nonce no text": set("eat_nonce", 7), "nonce no hex": set("eat_nonce", strings.Repeat("z", 64)), "empty nonce": set("eat_nonce", ""),
		"expired": set("exp", second(-Leeway-time.Second)), "no exp": drop("exp"), "exp text": set("exp", "never"), "exp fraction": set("exp", 1.5e9+0.5), "exp beyond": set("exp", 1e18),
		"not yet": set("nbf", second(Leeway+time.Second)), "no nbf": drop("nbf"), "nbf negative": set("nbf", -1),
		"from the future": set("iat", second(Leeway+time.Second)), "old": set("iat", second(-Leeway-time.Second)), "no iat": drop("iat"),
		"ends before": func(c nrastest.Claims) { c["iat"], c["exp"] = second(time.Minute), second(-time.Minute) },
	}
	q := ask(t)
	for name, e := range both {
		for _, which := range []string{"overall", "device"} {
			q.s.Edit = func(overall, device nrastest.Claims) {
				if which == "overall" {
					e(overall)
				} else {
					e(device)
				}
			}
			if s, err := q.verify(t, q.reply(t)); !errors.Is(err, ErrReply) {
				t.Errorf("%s in %s: %+v, %v", name, which, s, err)
			}
		}
	}
	for name, e := range map[string]edit{
		"sub": set("sub", "NVIDIA-GPU-ATTESTATION"), "no sub": drop("sub"), "version": set("x-nvidia-ver", "2.0"), "no version": drop("x-nvidia-ver"),
		"result text": set("x-nvidia-overall-att-result", "true"), "no result": drop("x-nvidia-overall-att-result"), "result null": set("x-nvidia-overall-att-result", nil),
	} {
		q.s.Edit = func(overall, _ nrastest.Claims) { e(overall) }
		if s, err := q.verify(t, q.reply(t)); !errors.Is(err, ErrReply) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	// The token of a refused device may lack them; what it has must be right.
	for name, e := range map[string]edit{
		"nothing": nil, "issuer": set("iss", "x"), "nonce": set("eat_nonce", strings.Repeat("08", 32)), "expired": set("exp", second(-Leeway-time.Second)),
		"not yet": set("nbf", second(Leeway+time.Second)), "old": set("iat", second(-Leeway-time.Second)),
	} {
		q.s.Edit = func(_, device nrastest.Claims) {
			clear(device)
			if device[claimDetails] = (nrastest.Claims{"code": 4013}); e != nil {
				e(device)
			}
		}
		if s, err := q.verify(t, q.reply(t)); (e == nil) != (err == nil) || err != nil && !errors.Is(err, ErrReply) {
			t.Errorf("refused, %s: %+v, %v", name, s, err)
		}
	}
	// Within the leeway, and in upper case.
	q.s.Edit = func(overall, device nrastest.Claims) {
		overall["iat"], overall["nbf"], device["exp"] = second(Leeway), second(Leeway), second(time.Second)
		overall["eat_nonce"], device["eat_nonce"] = strings.ToUpper(hex.EncodeToString(nonce)), hex.EncodeToString(nonce)
	}
	if _, err := q.verify(t, q.reply(t)); err != nil {
		t.Error(err)
	}
}

// The overall token says which device tokens there are.
func TestSubmods(t *testing.T) {
	q, sum := ask(t), strings.Repeat("00", 32)
	for name, submods := range map[string]any{
		"none": nrastest.Claims{}, "no object": []any{}, "null": nil, "another name": nrastest.Claims{"GPU-1": []any{"DIGEST", []any{"SHA-256", sum}}},
		"two":   nrastest.Claims{"GPU-0": []any{"DIGEST", []any{"SHA-256", sum}}, "GPU-1": []any{"DIGEST", []any{"SHA-256", sum}}},
		"wrong": nrastest.Claims{"GPU-0": []any{"DIGEST", []any{"SHA-256", sum}}}, "algorithm": nrastest.Claims{"GPU-0": []any{"DIGEST", []any{"SHA-1", sum}}},
		"short": nrastest.Claims{"GPU-0": []any{"DIGEST", []any{"SHA-256", ""}}}, "no hex": nrastest.Claims{"GPU-0": []any{"DIGEST", []any{"SHA-256", "zz"}}},
		"no DIGEST": nrastest.Claims{"GPU-0": []any{"JWT", []any{"SHA-256", sum}}}, "no pair": nrastest.Claims{"GPU-0": []any{"DIGEST", sum}},
	} {
		q.s.Edit = func(overall, _ nrastest.Claims) { overall["submods"] = submods }
		if s, err := q.verify(t, q.reply(t)); !errors.Is(err, ErrReply) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// A device token from another reply, though signed by the service for the same
// nonce, is not the one that the overall token is about. Both labels of the digest
// are read.
func TestSwappedToken(t *testing.T) {
	q := ask(t)
	take := func(raw []byte) (string, string) {
		b, err := readBundle(raw, "GPU-0")
		if err != nil {
			t.Fatal(err)
		}
		return b.overall, b.device
	}
	q.s.Device["measres"] = "fail"
	overall, _ := take(q.reply(t))
	q.s.Device["measres"] = "success"
	_, device := take(q.reply(t))
	if s, err := q.verify(t, nrastest.Bundle(t, overall, nrastest.Claims{"GPU-0": device})); !errors.Is(err, ErrReply) || !strings.Contains(err.Error(), "digest") {
		t.Errorf("%+v, %v", s, err)
	}
	sum := sha256.Sum256([]byte(device))
	more := map[string]any{"GPU-0": []any{"DIGEST", []any{"SHA-256", hex.EncodeToString(sum[:])}}, "GPU-1": []any{}}
	if err := (bundle{device: device}).digest(more, "GPU-0"); !errors.Is(err, ErrReply) {
		t.Error("the digest of a device that nobody asked about")
	}
	for _, label := range []string{"SHA-256", "SHA256"} {
		if err := (bundle{device: device}).digest(map[string]any{"GPU-0": []any{"DIGEST", []any{label, hex.EncodeToString(sum[:])}}}, "GPU-0"); err != nil {
			t.Error(err)
		}
	}
}

// Algorithms other than ES384, and keys that are not the service's.
func TestAlgorithms(t *testing.T) {
	q := ask(t)
	key := q.s.Published[0]
	pub, err := ParseKeys(q.s.KeySet())
	if err != nil {
		t.Fatal(err)
	}
	parts := func(token string) []string { return strings.Split(token, ".") }
	enc := base64.RawURLEncoding.EncodeToString
	head := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return enc(raw)
	}
	for name, forge := range map[string]func(token string) string{
		"none": func(s string) string {
			return head(map[string]any{"alg": "none", "kid": "kid-0"}) + "." + parts(s)[1] + "."
		},
		"none, kept": func(s string) string {
			return head(map[string]any{"alg": "none", "kid": "kid-0"}) + "." + parts(s)[1] + "." + parts(s)[2]
		},
		"HS384 with the public key": func(s string) string {
			in := head(map[string]any{"alg": "HS384", "kid": "kid-0"}) + "." + parts(s)[1]
			secret, err := pub["kid-0"].Public.(*ecdsa.PublicKey).Bytes()
			if err != nil {
				t.Fatal(err)
			}
			m := hmac.New(sha512.New384, secret)
			m.Write([]byte(in))
			return in + "." + enc(m.Sum(nil))
		},
		"ES256": func(s string) string {
			k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			in := head(map[string]any{"alg": "ES256", "kid": "kid-0"}) + "." + parts(s)[1]
			sum := sha256.Sum256([]byte(in))
			r, v, err := ecdsa.Sign(rand.Reader, k, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			sig := make([]byte, 64)
			r.FillBytes(sig[:32])
			v.FillBytes(sig[32:])
			return in + "." + enc(sig)
		},
		"ES256 in the header": func(s string) string {
			return q.s.SignAs(nrastest.Claims{"alg": "ES256", "kid": "kid-0"}, decoded(t, s), key.Private)
		},
		"no alg": func(s string) string { return q.s.SignAs(nrastest.Claims{"kid": "kid-0"}, decoded(t, s), key.Private) },
		"no kid": func(s string) string { return q.s.SignAs(nrastest.Claims{"alg": "ES384"}, decoded(t, s), key.Private) },
		"another kid": func(s string) string {
			return q.s.SignAs(nrastest.Claims{"alg": "ES384", "kid": "kid-1"}, decoded(t, s), key.Private)
		},
		"another key": func(s string) string {
			return q.s.SignAs(nrastest.Claims{"alg": "ES384", "kid": "kid-0"}, decoded(t, s), q.s.Key("kid-0").Private)
		},
		"embedded key": func(s string) string {
			k := q.s.Key("kid-0")
			return q.s.SignAs(nrastest.Claims{"alg": "ES384", "kid": "kid-0", "jwk": nrastest.JWK(k)}, decoded(t, s), k.Private)
		},
		"other claims": func(s string) string { return parts(s)[0] + "." + head(map[string]any{"iss": "x"}) + "." + parts(s)[2] },
		"no signature": func(s string) string { return parts(s)[0] + "." + parts(s)[1] + "." },
		"DER signature": func(s string) string {
			sum := sha512.Sum384([]byte(parts(s)[0] + "." + parts(s)[1]))
			der, err := ecdsa.SignASN1(rand.Reader, key.Private, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return parts(s)[0] + "." + parts(s)[1] + "." + enc(der)
		},
	} {
		raw := q.reply(t)
		b, err := readBundle(raw, "GPU-0")
		if err != nil {
			t.Fatal(err)
		}
		// The forged overall token, and a forged device token that the true overall
		// token has the digest of.
		if s, err := q.verify(t, nrastest.Bundle(t, forge(b.overall), nrastest.Claims{"GPU-0": b.device})); !errors.Is(err, ErrReply) {
			t.Errorf("%s, overall: %+v, %v", name, s, err)
		}
		device := forge(b.device)
		overall := decoded(t, b.overall)
		overall["submods"] = nrastest.Claims{"GPU-0": nrastest.Digest(device)}
		if s, err := q.verify(t, nrastest.Bundle(t, q.s.Sign(overall), nrastest.Claims{"GPU-0": device})); !errors.Is(err, ErrReply) {
			t.Errorf("%s, device: %+v, %v", name, s, err)
		}
	}
	// A key that somebody let in, but not for ES384: good signatures do not help.
	weak, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(claims nrastest.Claims) string {
		in := head(map[string]any{"alg": "ES256", "kid": "weak"}) + "." + head(claims)
		sum := sha256.Sum256([]byte(in))
		r, v, err := ecdsa.Sign(rand.Reader, weak, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		v.FillBytes(sig[32:])
		return in + "." + enc(sig)
	}
	b, err := readBundle(q.reply(t), "GPU-0")
	if err != nil {
		t.Fatal(err)
	}
	device, overall := sign(decoded(t, b.device)), decoded(t, b.overall)
	overall["submods"] = nrastest.Claims{"GPU-0": nrastest.Digest(device)}
	forged := bundle{overall: sign(overall), device: device}
	if _, err := forged.verify(finder(map[string]trust.Key{"weak": {KID: "weak", Public: &weak.PublicKey, Alg: trust.ES256}}), q.e); !errors.Is(err, ErrReply) {
		t.Error(err)
	}
}

func decoded(tb testing.TB, token string) nrastest.Claims {
	tb.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		tb.Fatal(err)
	}
	var m nrastest.Claims
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		tb.Fatal(err)
	}
	return m
}

// A member that stands in a token twice has no meaning.
func TestDuplicateClaims(t *testing.T) {
	q := ask(t)
	b, err := readBundle(q.reply(t), "GPU-0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(b.device, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	twice := append(bytes.TrimSuffix(raw, []byte("}")), `,"measres":"success"}`...)
	input := strings.Split(b.device, ".")[0] + "." + base64.RawURLEncoding.EncodeToString(twice)
	sum := sha512.Sum384([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, q.s.Published[0].Private, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 96)
	r.FillBytes(sig[:48])
	s.FillBytes(sig[48:])
	device := input + "." + base64.RawURLEncoding.EncodeToString(sig)
	overall := decoded(t, b.overall)
	overall["submods"] = nrastest.Claims{"GPU-0": nrastest.Digest(device)}
	if s, err := q.verify(t, nrastest.Bundle(t, q.s.Sign(overall), nrastest.Claims{"GPU-0": device})); !errors.Is(err, ErrReply) || !strings.Contains(err.Error(), "twice") {
		t.Errorf("%+v, %v", s, err)
	}
}

// FuzzReply: whatever comes back, there is no statement that the service did not
// sign.
func FuzzReply(f *testing.F) {
	q := ask(f)
	raw := q.reply(f)
	f.Add(raw)
	f.Add([]byte(`[["JWT","a.b.c"],{"GPU-0":"d.e.f"}]`))
	f.Add([]byte(`{"GPU-0":1}`))
	keys, err := ParseKeys(q.s.KeySet())
	if err != nil {
		f.Fatal(err)
	}
	good, err := readBundle(raw, "GPU-0")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := readBundle(raw, "GPU-0")
		if err != nil {
			return
		}
		if _, err := b.verify(finder(keys), q.e); err == nil && b != good {
			t.Fatalf("believed: %+v", b)
		}
	})
}

// FuzzClaims: no device claims, whatever they are, break the reading of them, and
// only those with every claim that is asked for are affirming.
func FuzzClaims(f *testing.F) {
	k := kinds()[0]
	d, err := k.readDevice(gpu(f, nil))
	if err != nil {
		f.Fatal(err)
	}
	p, err := k.policy().Policy()
	if err != nil {
		f.Fatal(err)
	}
	healthy, err := json.Marshal(nrastest.GPU())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(healthy)
	f.Add([]byte(`{"measres":"success","x-nvidia-error-details":{"code":4013,"message":"m"}}`))
	f.Add([]byte(`{"x-nvidia-mismatch-measurement-records":[{"index":1},2,null],"dbgstat":["x"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		claims, err := trust.ParseObject(raw, maxDepth)
		if err != nil {
			return
		}
		a := (&Verifier{kind: k, policy: p}).judge(input(nil), d, &statement{overall: true, device: claims})
		if a.Status().String() != "affirming" {
			return
		}
		for name, want := range nrastest.GPU() {
			switch want.(type) {
			case bool, string:
				if name != "oemid" && claims[name] != want && !strings.HasSuffix(name, "schema-validated") {
					t.Fatalf("affirming with %s = %v", name, claims[name])
				}
			}
		}
	})
}

// FuzzKeys: no key set breaks the reading of it, and every key that comes out is
// one on P-384.
func FuzzKeys(f *testing.F) {
	s := nrastest.New(f, rand.Reader, clock)
	f.Add(s.KeySet())
	f.Add([]byte(`{"keys":[{"kty":"RSA"},{"kty":"EC","crv":"P-384","kid":"a","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := ParseKeys(raw)
		if err != nil {
			return
		}
		for kid, k := range keys {
			if p, ok := k.Public.(*ecdsa.PublicKey); !ok || p.Curve != elliptic.P384() || k.KID != kid || k.Alg != trust.ES384 {
				t.Fatalf("%q: %+v", kid, k)
			}
		}
	})
}
