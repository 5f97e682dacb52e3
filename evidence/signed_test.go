// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/internal/limits"
)

// Vectors made with go-cose and jwx: Ed25519 with seed 00 01 … 1f.
const (
	vecPayload  = "a261618319010b41a004685f5f636d77635f74767461673a6578616d706c652e636f6d2c323032363a74"
	vecCOSEText = "d2845819a2012703746170706c69636174696f6e2f636d772b63626f72a0582a" + vecPayload +
		"58408a2ce834b91f944f9b59c9cad25beaf3f9cf13c858b3c64530ea7dd679af1f03ebcddfdb94c0b6c46ab61af1c7913b3ca960dc102b23142bbf8ec794bf195304"
	vecCOSEUint = "d28447a2012703190111a0582a" + vecPayload +
		"584069773436c357d0b8e53634ad46443a14d86969885808416a6b945460c6eb2136e4091d84b653e639361255b13eedf9672f86f96bd10017b960ed2b2974848d0a"
	vecJWS = "eyJhbGciOiJFZERTQSIsImN0eSI6ImFwcGxpY2F0aW9uL2Ntdytqc29uIn0.eyJfX2Ntd2NfdCI6InRhZzpleGFtcGxlLmNvbSwyMDI2OnQiLCJhIjpbImFwcGxpY2F0aW9uL2VhdC11Y3MrY2Jvci" +
		"IsIm9BIiw0XX0.9bqQENxvHOouL6bD_zLjSGULhKoJ8qyJxtnxIzybr43wdJz7zjLT820ssxd-YaCuuyGYkaEFEyTgckXsEMg4Ag"
)

func vecKey() ed25519.PrivateKey {
	seed := make([]byte, 32)
	for i := range seed {
		seed[i] = byte(i)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// anchors trusts fixed keys, whatever the key id.
type anchors []crypto.PublicKey

func (a anchors) VerificationKeys([]byte, string) []crypto.PublicKey { return a }

func trustVec() Options { return Options{Keys: anchors{vecKey().Public()}} }

// sign1 makes a COSE_Sign1 with any headers at all.
func sign1(tb testing.TB, protected map[any]any, unprotected map[any]any, payload []byte) []byte {
	tb.Helper()
	p, err := cbor.Marshal(protected)
	if err != nil {
		tb.Fatal(err)
	}
	if len(protected) == 0 {
		p = nil
	}
	tbs, err := cbor.Marshal([]any{"Signature1", append([]byte{}, p...), []byte{}, payload})
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := cbor.Marshal(cbor.Tag{Number: 18, Content: []any{append([]byte{}, p...), unprotected, payload, ed25519.Sign(vecKey(), tbs)}})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

var b64 = base64.RawURLEncoding.EncodeToString

// compact makes a compact JWS with any protected header at all.
func compact(header, payload string) string {
	return textJWS(b64([]byte(header)), b64([]byte(payload)))
}

// textJWS signs what stands there, base64url or not.
func textJWS(header, payload string) string {
	in := header + "." + payload
	return in + "." + b64(ed25519.Sign(vecKey(), []byte(in)))
}

// flatJWS is textJWS in the flattened JSON serialization.
func flatJWS(header, payload string) []byte {
	p := strings.Split(textJWS(header, payload), ".")
	return fmt.Appendf(nil, `{"payload":%q,"protected":%q,"signature":%q}`, p[1], p[0], p[2])
}

// lined is base64url of 4k characters and a line break, which changes nothing
// in the decoded size. s is a JSON object or array, filled up with blanks.
func lined(s string) string {
	return b64([]byte(s[:1]+strings.Repeat(" ", (3-len(s)%3)%3)+s[1:])) + "\n"
}

type signedCase struct {
	raw   []byte
	media string
	want  string
}

func flip(raw []byte, at int) []byte {
	out := bytes.Clone(raw)
	out[at] ^= 1
	return out
}

func signedRules(tb testing.TB) map[string]signedCase {
	payload := unhex(tb, vecPayload)
	text := unhex(tb, vecCOSEText)
	none := map[any]any{}
	both := map[any]any{1: -8, 3: 273}
	detached, err := cbor.Marshal(cbor.Tag{Number: 18, Content: []any{[]byte{0xa2, 1, 0x27, 3, 0x19, 1, 0x11}, none, nil, make([]byte, 64)}})
	if err != nil {
		tb.Fatal(err)
	}
	const head = `{"alg":"EdDSA","cty":"application/cmw+json"}`
	flat := func(extra string) []byte {
		p := strings.Split(vecJWS, ".")
		return fmt.Appendf(nil, `{"payload":%q,"protected":%q%s,"signature":%q}`, p[1], p[0], extra, p[2])
	}
	jwsParts := strings.Split(vecJWS, ".")
	return map[string]signedCase{
		"CMW-39 good text":              {text, TypeCMWCOSE, ""},
		"CMW-39 good text sniffed":      {text, "", ""},
		"CMW-39 good uint":              {unhex(tb, vecCOSEUint), "", ""},
		"CMW-39 good untagged":          {text[1:], TypeCMWCOSE, ""},
		"CMW-39 good parameter":         {text, TypeCMWCOSE + `; cmwc_t="TAG:example.com,2026:t"`, ""},
		"CMW-39 other parameter":        {text, TypeCMWCOSE + `; cmwc_t="tag:example.com,2026:u"`, "CMW-38"},
		"CMW-39 inner parameter":        {sign1(tb, map[any]any{1: -8, 3: TypeCMWCBOR + `; cmwc_t="tag:example.com,2026:u"`}, none, payload), "", "CMW-38"},
		"CMW-39 inner parameter good":   {sign1(tb, map[any]any{1: -8, 3: TypeCMWCBOR + `;cmwc_t="tag:example.com,2026:t"`}, none, payload), "", ""},
		"CMW-39 payload flipped":        {flip(text, 40), "", "CMW-39"},
		"CMW-39 signature flipped":      {flip(text, len(text)-1), "", "CMW-39"},
		"CMW-39 header flipped":         {flip(unhex(tb, vecCOSEUint), 6), "", "CMW-39"},
		"CMW-39 alg missing":            {sign1(tb, map[any]any{3: 273}, none, payload), "", "CMW-39"},
		"CMW-39 alg unprotected":        {sign1(tb, map[any]any{3: 273}, map[any]any{1: -8}, payload), "", "CMW-39"},
		"CMW-39 alg unknown":            {sign1(tb, map[any]any{1: -257, 3: 273}, none, payload), "", "CMW-39"},
		"CMW-39 type missing":           {sign1(tb, map[any]any{1: -8}, none, payload), TypeCMWCOSE, "CMW-39"},
		"CMW-39 type missing sniffed":   {sign1(tb, map[any]any{1: -8}, none, payload), "", "CMW-39"},
		"CMW-39 type unprotected":       {sign1(tb, map[any]any{1: -8}, map[any]any{3: 273}, payload), TypeCMWCOSE, "CMW-39"},
		"CMW-39 type in both":           {sign1(tb, both, map[any]any{3: 274}, payload), "", "CMW-39"},
		"CMW-39 alg in both":            {sign1(tb, both, map[any]any{1: -7}, payload), "", "CMW-39"},
		"CMW-39 type wrong":             {sign1(tb, map[any]any{1: -8, 3: "application/eat+cwt"}, none, payload), "", "CMW-39"},
		"CMW-39 type number wrong":      {sign1(tb, map[any]any{1: -8, 3: 274}, none, payload), "", "CMW-39"},
		"CMW-39 crit":                   {sign1(tb, map[any]any{1: -8, 3: 273, 2: []any{3}}, none, payload), "", "CMW-39"},
		"CMW-39 kid twice":              {sign1(tb, map[any]any{1: -8, 3: 273, 4: []byte("k")}, map[any]any{4: []byte("k")}, payload), "", "CMW-39"},
		"CMW-39 kid unprotected":        {sign1(tb, both, map[any]any{4: []byte("k")}, payload), "", ""},
		"CMW-39 detached":               {detached, "", "CMW-39"},
		"CMW-39 trailing":               {append(bytes.Clone(text), 0), "", "CMW-03"},
		"CMW-39 truncated":              {text[:len(text)-1], "", "CMW-39"},
		"CMW-39 one zero byte":          {append(bytes.Clone(text[:len(text)-66]), 0x41, 0), "", "CMW-39"},
		"CMW-39 no signature":           {append(bytes.Clone(text[:len(text)-66]), 0x40), "", "CMW-39"},
		"CMW-40 cose":                   {sign1(tb, both, none, []byte{1}), "", "CMW-40"},
		"CMW-40 cose json":              {sign1(tb, both, none, []byte(rec1)), "", "CMW-40"},
		"CMW-40 bad signature first":    {flip(sign1(tb, both, none, []byte{1}), 15), "", "CMW-39"},
		"CMW-39 jws":                    {[]byte(vecJWS), "", ""},
		"CMW-39 jws declared":           {[]byte(vecJWS), TypeCMWJWS, ""},
		"CMW-39 jws flat":               {flat(""), "", ""},
		"CMW-39 jws flat header":        {flat(`,"header":{"kid":"k"}`), TypeCMWJWS, ""},
		"CMW-39 jws flat header text":   {flat(`,"header":"e30"`), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws flat alg":           {flat(`,"header":{"alg":"EdDSA"}`), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws flat crit":          {flat(`,"header":{"crit":["x"]}`), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws general":            {flat(`,"signatures":[]`), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws duplicate":          {flat(`,"payload":"e30"`), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws trailing":           {[]byte(vecJWS + "\n"), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws header newline":     {[]byte(textJWS(lined(head), b64([]byte(rec1)))), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws payload newline":    {[]byte(textJWS(b64([]byte(head)), lined(rec1))), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws flat newline":       {flatJWS(b64([]byte(head)), lined(rec1)), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws no newline":         {[]byte(textJWS(strings.TrimSpace(lined(head)), strings.TrimSpace(lined(rec1)))), TypeCMWJWS, ""},
		"CMW-39 jws four parts":         {[]byte(vecJWS + ".AA"), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws detached":           {[]byte(jwsParts[0] + ".." + jwsParts[2]), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws altered":            {flip([]byte(vecJWS), 80), TypeCMWJWS, "CMW-39"},
		"CMW-39 jws no alg":             {[]byte(compact(`{"cty":"application/cmw+json"}`, rec1)), "", "CMW-39"},
		"CMW-39 jws alg none":           {[]byte(compact(`{"alg":"none","cty":"application/cmw+json"}`, rec1)), "", "CMW-39"},
		"CMW-39 jws alg HS256":          {[]byte(compact(`{"alg":"HS256","cty":"application/cmw+json"}`, rec1)), "", "CMW-39"},
		"CMW-39 jws alg twice":          {[]byte(compact(`{"alg":"EdDSA","alg":"EdDSA","cty":"application/cmw+json"}`, rec1)), "", "CMW-39"},
		"CMW-39 jws no cty":             {[]byte(compact(`{"alg":"EdDSA"}`, rec1)), "", "CMW-39"},
		"CMW-39 jws wrong cty":          {[]byte(compact(`{"alg":"EdDSA","cty":"application/cmw+cbor"}`, rec1)), "", "CMW-39"},
		"CMW-39 jws crit":               {[]byte(compact(`{"alg":"EdDSA","crit":["exp"],"cty":"application/cmw+json","exp":1}`, rec1)), "", "CMW-39"},
		"CMW-39 jws b64":                {[]byte(compact(`{"alg":"EdDSA","b64":true,"cty":"application/cmw+json"}`, rec1)), "", "CMW-39"},
		"CMW-40 jws":                    {[]byte(compact(head, `"x"`)), "", "CMW-40"},
		"CMW-40 jws record":             {[]byte(compact(head, rec1)), "", ""},
		"CMW-39 jws with Ed25519":       {[]byte(compact(`{"alg":"Ed25519","cty":"application/cmw+json"}`, rec1)), "", ""},
		"CMW-39 jws parameter":          {[]byte(compact(`{"alg":"EdDSA","cty":"application/cmw+json; cmwc_t=\"a:b\""}`, rec1)), "", "CMW-38"},
		"CMW-39 tag 275":                {append(unhex(tb, "da63740215588c"), text...), "", ""},
		"CMW-39 tag 275 with bare cose": {append(unhex(tb, "da63740215588b"), text[1:]...), "", ""},
	}
}

func TestSignedRules(t *testing.T) {
	for id, c := range signedRules(t) {
		t.Run(id, func(t *testing.T) {
			o := trustVec()
			o.MediaType = c.media
			tree := wantRule(t, c.raw, o, c.want)
			if tree == nil {
				return
			}
			s := tree.Leaves()[0].Signer()
			if s == nil || !s.Verified || s.Thumbprint == "" || !vecKey().Public().(ed25519.PublicKey).Equal(s.Public) {
				t.Errorf("signer %+v", s)
			}
		})
	}
}

// A signature of 4k characters (ES384) with a line break behind it: the
// message would end in a byte that nothing covers.
func TestJWSNewlineBehindSignature(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := SignJWS(rand.Reader, []byte(rec1), key, SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if sig := raw[bytes.LastIndexByte(raw, '.')+1:]; len(sig)%4 != 0 {
		t.Fatalf("signature of %d characters", len(sig))
	}
	o := Options{MediaType: TypeCMWJWS, Keys: anchors{key.Public()}}
	wantRule(t, raw, o, "")
	for _, tail := range []string{"\n", "\r", "\r\n", "\n\n\n\n"} {
		wantRule(t, append(bytes.Clone(raw), tail...), o, "CMW-39")
	}
}

// A message of nothing but dots must not become a list of its parts.
func TestJWSDots(t *testing.T) {
	raw := append([]byte("e"), bytes.Repeat([]byte{'.'}, limits.Default().Composite-1)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	wantRule(t, raw, Options{}, "CMW-39")
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || took > 2*time.Second {
		t.Errorf("%d bytes allocated in %v for a message of %d", n, took, len(raw))
	}
}

// Our own decoder refuses line breaks in every part, whatever the library
// that verifies makes of them.
func TestJWSNewlineUnverified(t *testing.T) {
	const head = `{"alg":"EdDSA","cty":"application/cmw+json"}`
	good, sig := b64([]byte(head)), b64(make([]byte, 63))
	o := Options{MediaType: TypeCMWJWS, UnverifiedSignaturesUnsafe: true}
	wantRule(t, []byte(good+"."+b64([]byte(rec1))+"."+sig), o, "")
	for name, raw := range map[string]string{
		"header":    lined(head) + "." + b64([]byte(rec1)) + "." + sig,
		"payload":   good + "." + lined(rec1) + "." + sig,
		"signature": good + "." + b64([]byte(rec1)) + "." + sig + "\n",
	} {
		t.Run(name, func(t *testing.T) { wantRule(t, []byte(raw), o, "CMW-39") })
	}
}

func TestSignVectors(t *testing.T) {
	a := ContentFormatRecord(267, []byte{0xa0}, IndEvidence)
	it := Collection("tag:example.com,2026:t", Entry{Label: "a", Item: a})
	payload, err := EncodeCBOR(it)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(payload, unhex(t, vecPayload)) {
		t.Errorf("payload %x", payload)
	}
	got, err := SignCOSE(nil, payload, vecKey(), SignOptions{})
	if err != nil || !bytes.Equal(got, unhex(t, vecCOSEText)) {
		t.Errorf("text content type: %x %v", got, err)
	}
	got, err = SignCOSE(nil, payload, vecKey(), SignOptions{ContentFormat: true})
	if err != nil || !bytes.Equal(got, unhex(t, vecCOSEUint)) {
		t.Errorf("number content type: %x %v", got, err)
	}
	twin, err := EncodeJSON(it)
	if err != nil {
		t.Fatal(err)
	}
	got, err = SignJWS(nil, twin, vecKey(), SignOptions{})
	if err != nil || string(got) != vecJWS {
		t.Errorf("jws %s %v", got, err)
	}
}

func TestSignAlgorithms(t *testing.T) {
	var keys []crypto.Signer
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys = append(keys, r, vecKey())
	var all anchors
	for _, k := range keys {
		all = append(all, k.Public())
	}
	for i, k := range keys {
		want := []string{"ES256", "ES384", "ES512", "PS256", "EdDSA"}[i]
		t.Run(want, func(t *testing.T) {
			c, err := SignCOSE(rand.Reader, unhex(t, vecPayload), k, SignOptions{KID: []byte("me")})
			if err != nil {
				t.Fatal(err)
			}
			j, err := SignJWS(rand.Reader, []byte(rec1), k, SignOptions{KID: []byte("me")})
			if err != nil {
				t.Fatal(err)
			}
			for _, raw := range [][]byte{c, j} {
				s := wantRule(t, raw, Options{Keys: all}, "").Leaves()[0].Signer()
				if s.Alg != want || string(s.KID) != "me" || !s.Verified {
					t.Errorf("signer %+v", s)
				}
				wantRule(t, raw, Options{Keys: append(anchors{}, all[:i]...)}, "signature-untrusted")
				wantRule(t, raw, Options{}, "signature-untrusted")
			}
		})
	}
}

// TestForeignSigners reads what the libraries themselves emit.
func TestForeignSigners(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := jws.NewHeaders()
	if err := h.Set("cty", TypeCMWJSON); err != nil {
		t.Fatal(err)
	}
	j, err := jws.Sign([]byte(rec1), jws.WithKey(jwa.ES256(), k, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, j, Options{Keys: anchors{k.Public()}}, "")
	signer, err := cose.NewSigner(cose.AlgorithmES256, k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cose.Sign1Untagged(rand.Reader, signer, cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES256, cose.HeaderLabelContentType: uint16(273)}}, unhex(t, vecPayload), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, c, Options{Keys: anchors{k.Public()}, MediaType: TypeCMWCOSE}, "")
}

// TestCurveMismatch: ES256 with a P-384 key verifies mathematically in COSE,
// and must not here.
func TestCurveMismatch(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cose.NewSigner(cose.AlgorithmES256, k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cose.Sign1(rand.Reader, signer, cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES256, cose.HeaderLabelContentType: uint16(273)}}, unhex(t, vecPayload), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, c, Options{Keys: anchors{k.Public()}}, "signature-untrusted")
}

func TestShortRSA(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if keyFits("PS256", k.Public()) {
		t.Error("1024-bit RSA key fits")
	}
}

func TestUnverifiedUnsafe(t *testing.T) {
	o := Options{UnverifiedSignaturesUnsafe: true}
	for _, raw := range [][]byte{unhex(t, vecCOSEText), []byte(vecJWS)} {
		s := wantRule(t, raw, o, "").Leaves()[0].Signer()
		if s == nil || s.Verified || s.Public != nil || s.Thumbprint != "" {
			t.Errorf("signer %+v", s)
		}
	}
	// a key that refutes the signature refutes it also here
	o.Keys = trustVec().Keys
	wantRule(t, flip(unhex(t, vecCOSEText), 40), o, "CMW-39")
}

// TestSignatureScope: a signature covers its own subtree only (D-10).
func TestSignatureScope(t *testing.T) {
	leaf := Record(MediaType{Base: "a/b"}, []byte{1}, 0)
	raw, err := EncodeCBOR(Collection("",
		Entry{Label: "signed", Item: Record(MediaType{Base: TypeCMWCOSE}, unhex(t, vecCOSEText), 0)},
		Entry{Label: "plain", Item: leaf}))
	if err != nil {
		t.Fatal(err)
	}
	tree := wantRule(t, raw, trustVec(), "")
	in, ok := tree.Lookup("signed/a")
	if !ok || in.Signer() == nil {
		t.Fatal("no signer inside")
	}
	plain, _ := tree.Lookup("plain")
	if plain.Signer() != nil || tree.Root().Signer() != nil {
		t.Error("signer outside of its subtree")
	}
	if k := tree.Root().Children()[0].Kind(); k == KindSigned || tree.Root().Children()[1].Kind() != KindSigned {
		t.Errorf("kinds %s", k)
	}
}
