// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/vectors"
)

// Tokens built and read back with ratsd's own token packages; nonce 00 … 1f.
const (
	ratsdV2Hex = `d28440a05901c6a3675f5f726174736482784d6170706c69636174696f6e2f6561742d7563732b63626f723b206561745f70726f66696c653d227461673a6769746875622e636f6d2c3230
32363a7665726169736f6e2f72617473642f763222588ad90259a70a5820000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f19010219bd6219010978257461
673a6769746875622e636f6d2c323032363a7665726169736f6e2f72617473642f763219010e65726174736419010f8165312e302e303a00010000697368616b652d3235363a00010001a1
686d6f636b2d74736d1840685f5f636d77635f7478297461673a6769746875622e636f6d2c323032353a7665726169736f6e2f72617473642f636d772f7632686d6f636b2d74736d837828
6170706c69636174696f6e2f766e642e7665726169736f6e2e74736d2d7265706f72742b6a736f6e58767b226f7574626c6f62223a22616642386945444f67414a4e73776b356943773957
3779636d4c506a486b555436394c4b6d3055447a64504a79516443525378786339536e57735352592d464f344d776b37334131736e4c526d6e7278435a737a5077222c2270726f76696465
72223a2266616b65227d044100`
	ratsdLegacyText = `{"eat_profile":"tag:github.com,2024:veraison/ratsd","eat_nonce":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","cmw":"eyJfX2Ntd2NfdCI6InRhZzpnaXRodWIu` +
		`Y29tLDIwMjU6dmVyYWlzb24vcmF0c2QvY213IiwibW9jay10c20iOlsiYXBwbGljYXRpb24vdm5kLnZlcmFpc29uLnRzbS1yZXBvcnQranNvbiIsImV5SnZkWFJpYkc5aUlqb2lZV1pDT0dsRlJFOW` +
		`5RVXBPYzNkck5XbERkemxYTjNsamJVeFFha2hyVlZRMk9VeExiVEJWUkhwa1VFcDVVV1JEVWxONGVHTTVVMjVYYzFOU1dTMUdUelJOZDJzM00wRXhjMjVNVW0xdWNuaERXbk42VUhjaUxDSndjbTky` +
		`YVdSbGNpSTZJbVpoYTJVaWZRIl19","vnd.veraison.nonce_adjust_function":"shake-256","vnd.veraison.nonce_adjust_map":{"mock-tsm":64}}`
	mockReport = `{"outblob":"afB8iEDOgAJNswk5iCw9W7ycmLPjHkUT69LKm0UDzdPJyQdCRSxxc9SnWsSRY-FO4Mwk73A1snLRmnrxCZszPw","provider":"fake"}`
	v2Declared = `application/cmw+cbor; cmwct="tag:github.com,2026:veraison/ratsd/v2"`
	v1Declared = `application/eat-ucs+json; eat_profile="tag:github.com,2024:veraison/ratsd"`
	d60        = `application/eat+cwt; eat_profile="tag:github.com,2025:veraison/ratsd/cmw"`
)

func TestRatsdVectors(t *testing.T) {
	v2, legacy := unhex(t, ratsdV2Hex), []byte(ratsdLegacyText)
	for _, c := range []struct {
		raw []byte
		sum string
	}{
		{v2, "2bce2a3f9daacc97469e5a1d81942e8b6832566fc43c47f4a491badb9caad30e"},
		{legacy, "ca5187570c17f47e371a3b7c4dedf684b08ee5cd09f111aefd09ad2bdafaa1c5"},
	} {
		if sum := sha256.Sum256(c.raw); hex.EncodeToString(sum[:]) != c.sum {
			t.Fatalf("vector has digest %x", sum)
		}
	}
	bare := v2[8 : len(v2)-2] // d2 84 40 a0 59 01c6 payload 41 00
	if bare[0] != 0xa3 {
		bare = v2[7 : len(v2)-2]
	}
	for _, c := range []struct {
		name, media string
		raw         []byte
		version     int
	}{
		{"v2 declared", v2Declared, v2, 2},
		{"v2 sniffed", "", v2, 2},
		{"v2 bare", v2Declared, bare, 2},
		{"v2 bare as cmw", TypeCMWCBOR, bare, 2},
		{"v2 under the legacy type", v1Declared, v2, 2},
		{"legacy declared", v1Declared, legacy, 1},
		{"legacy sniffed", "", legacy, 1},
		{"legacy under cwt", d60, legacy, 1},
		{"legacy under v2", v2Declared, legacy, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := wantRule(t, c.raw, Options{MediaType: c.media}, "")
			checkMock(t, tree, c.version)
		})
	}
	wantRule(t, v2, Options{MediaType: TypeCMWCBOR}, "CMW-30")
	wantRule(t, v2, Options{MediaType: TypeCMWCOSE}, "CMW-39")
	wantRule(t, legacy, Options{MediaType: TypeCMWJSON}, "CMW-24")
}

func checkMock(t *testing.T, tree *Tree, version int) {
	t.Helper()
	r := tree.Ratsd()
	nonce := make([]byte, 32)
	for i := range nonce {
		nonce[i] = byte(i)
	}
	if r == nil || r.Version != version || !bytes.Equal(r.Nonce, nonce) || r.Function != "shake-256" || r.Signed {
		t.Fatalf("token %+v", r)
	}
	if len(r.Sizes) != 1 || r.Sizes["mock-tsm"] != 64 {
		t.Errorf("sizes %v", r.Sizes)
	}
	leaves := tree.Leaves()
	if len(leaves) != 1 || leaves[0].Path() != "mock-tsm" || string(leaves[0].Value()) != mockReport {
		t.Errorf("leaves %v", leaves)
	}
	if leaves[0].Signer() != nil || tree.Root().Kind() == KindSigned {
		t.Error("unsigned token counts as signed")
	}
	if version == 2 {
		if n, ok := tree.Lookup("__ratsd"); !ok || n.Kind() != KindClaims || n.Leaf() {
			t.Error("claims are not marked")
		}
	}
}

func uccs(tb testing.TB, claims map[any]any) []byte {
	tb.Helper()
	raw, err := cbor.Marshal(cbor.Tag{Number: 601, Content: claims})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// v2Payload builds a ratsd v2 collection with one component "a".
func v2Payload(tb testing.TB, claims []byte, more ...Entry) []byte {
	tb.Helper()
	entries := append([]Entry{
		{Label: "__ratsd", Item: Record(MediaType{Base: typeUCSCBOR}.With(paramEAT, ratsdV2Profile), claims, 0)},
		{Label: "a", Item: Record(MediaType{Base: "a/b"}, []byte{1}, IndEvidence)},
	}, more...)
	raw, err := EncodeCBOR(Collection(ratsdV2Collection, entries...))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func v2Claims(change func(map[any]any)) map[any]any {
	m := map[any]any{265: ratsdV2Profile, 10: make([]byte, 32), 258: 48482, 270: "ratsd", 271: []string{"1.0.0"},
		-65537: "shake-256", -65538: map[string]int{"a": 32}}
	if change != nil {
		change(m)
	}
	return m
}

func TestRatsdClaims(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(map[any]any)
		want   string
	}{
		{"good", nil, ""},
		{"neither function nor map", func(m map[any]any) { delete(m, -65537); delete(m, -65538) }, ""},
		{"shake-128", func(m map[any]any) { m[-65537] = "shake-128" }, ""},
		{"function alone", func(m map[any]any) { delete(m, -65538) }, "ratsd"},
		{"map alone", func(m map[any]any) { delete(m, -65537) }, "ratsd"},
		{"unknown function", func(m map[any]any) { m[-65537] = "identity" }, "ratsd"},
		{"empty function", func(m map[any]any) { m[-65537] = "" }, "ratsd"},
		{"short derived nonce", func(m map[any]any) { m[-65538] = map[string]int{"a": 7} }, "ratsd"},
		{"long derived nonce", func(m map[any]any) { m[-65538] = map[string]int{"a": 65} }, "ratsd"},
		{"negative size", func(m map[any]any) { m[-65538] = map[string]int{"a": -1} }, "ratsd"},
		{"entry missing", func(m map[any]any) { m[-65538] = map[string]int{} }, "ratsd"},
		{"entry unknown", func(m map[any]any) { m[-65538] = map[string]int{"a": 32, "b": 32} }, "ratsd"},
		{"other profile", func(m map[any]any) { m[265] = "tag:x" }, "ratsd"},
		{"no nonce", func(m map[any]any) { delete(m, 10) }, "ratsd"},
		{"short nonce", func(m map[any]any) { m[10] = make([]byte, 7) }, "ratsd"},
		{"long nonce", func(m map[any]any) { m[10] = make([]byte, 65) }, "ratsd"},
		{"unknown claim", func(m map[any]any) { m[9999] = 1 }, "ratsd"},
		// What a decoder into structs lets pass, and the grammar does not.
		{"nonce key as text", func(m map[any]any) { m["10"] = m[10]; delete(m, 10) }, "ratsd"},
		{"profile key as text", func(m map[any]any) { m["265"] = m[265]; delete(m, 265) }, "ratsd"},
		{"nonce key as text too", func(m map[any]any) { m["10"] = make([]byte, 16) }, "ratsd"},
		{"profile by field name", func(m map[any]any) { m["Profile"] = m[265]; delete(m, 265) }, "ratsd"},
		{"nonce as array of integers", func(m map[any]any) { m[10] = make([]int, 32) }, "ratsd"},
		{"nonce as text", func(m map[any]any) { m[10] = strings.Repeat("a", 32) }, "ratsd"},
		{"nonce null", func(m map[any]any) { m[10] = nil }, "ratsd"},
		{"profile as bytes", func(m map[any]any) { m[265] = []byte(ratsdV2Profile) }, "ratsd"},
		{"oemid null", func(m map[any]any) { m[258] = nil }, "ratsd"},
		{"oemid undefined", func(m map[any]any) { m[258] = cbor.SimpleValue(23) }, "ratsd"},
		{"oemid float", func(m map[any]any) { m[258] = 1.5 }, "ratsd"},
		{"oemid missing", func(m map[any]any) { delete(m, 258) }, "ratsd"},
		{"oemid negative", func(m map[any]any) { m[258] = -1 }, ""},
		{"swname null", func(m map[any]any) { m[270] = nil }, "ratsd"},
		{"swname missing", func(m map[any]any) { delete(m, 270) }, "ratsd"},
		{"swversion null", func(m map[any]any) { m[271] = nil }, "ratsd"},
		{"swversion of two", func(m map[any]any) { m[271] = []any{"1", "2"} }, "ratsd"},
		{"swversion of none", func(m map[any]any) { m[271] = []any{} }, "ratsd"},
		{"swversion of a number", func(m map[any]any) { m[271] = []any{1} }, "ratsd"},
		{"swversion missing", func(m map[any]any) { delete(m, 271) }, "ratsd"},
		{"function null", func(m map[any]any) { m[-65537] = nil }, "ratsd"},
		{"function and map null", func(m map[any]any) { m[-65537], m[-65538] = nil, nil }, "ratsd"},
		{"map null", func(m map[any]any) { m[-65538] = nil; delete(m, -65537) }, "ratsd"},
		{"map with integer label", func(m map[any]any) { m[-65538] = map[any]any{1: 32} }, "ratsd"},
		{"map with null size", func(m map[any]any) { m[-65538] = map[any]any{"a": nil} }, "ratsd"},
		{"map with float size", func(m map[any]any) { m[-65538] = map[any]any{"a": 32.0} }, "ratsd"},
		{"key beyond 64 bits", func(m map[any]any) { m[uint64(1<<63)] = 1 }, "ratsd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantRule(t, v2Payload(t, uccs(t, v2Claims(c.change))), Options{}, c.want)
		})
	}
	good := uccs(t, v2Claims(nil))
	wantRule(t, v2Payload(t, append(bytes.Clone(good), 0)), Options{}, "ratsd")
	wantRule(t, v2Payload(t, good[3:]), Options{}, "ratsd") // no tag 601
	twice := append([]byte{0xd9, 0x02, 0x59, 0xa8, 0x0a, 0x48, 1, 2, 3, 4, 5, 6, 7, 8}, good[4:]...)
	wantRule(t, v2Payload(t, twice), Options{}, "ratsd")
	// The same label twice in the map of sizes, and a map that is not closed.
	sizes := bytes.LastIndex(good, []byte{0xa1, 0x61, 'a', 0x18, 0x20})
	double := bytes.Clone(good[:sizes])
	double = append(double, 0xa2, 0x61, 'a', 0x18, 0x20, 0x61, 'a', 0x18, 0x20)
	wantRule(t, v2Payload(t, append(double, good[sizes+5:]...)), Options{}, "ratsd")
	open := append([]byte{0xd9, 0x02, 0x59, 0xbf}, good[4:]...)
	wantRule(t, v2Payload(t, open), Options{}, "ratsd")
	wantRule(t, v2Payload(t, append(open, 0xff)), Options{}, "")
	wantRule(t, v2Payload(t, []byte{0xd9, 0x02, 0x59, 0x80}), Options{}, "ratsd")
	n := int64(1)
	item := Record(MediaType{Base: "a/b"}, []byte{1}, 0)
	wantRule(t, v2Payload(t, good, Entry{Int: &n, Item: item}), Options{}, "ratsd")
	wantRule(t, v2Payload(t, good, Entry{Label: "c", Item: Collection("", Entry{Label: "d", Item: item})}), Options{}, "ratsd")
	alone, err := EncodeCBOR(Collection(ratsdV2Collection,
		Entry{Label: "__ratsd", Item: Record(MediaType{Base: typeUCSCBOR}.With(paramEAT, ratsdV2Profile), good, 0)}))
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, alone, Options{}, "ratsd")
	plain, err := EncodeCBOR(Collection(ratsdV2Collection, Entry{Label: "a", Item: item}))
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, plain, Options{}, "ratsd")
}

func TestRatsdSigned(t *testing.T) {
	payload := v2Payload(t, uccs(t, v2Claims(nil)))
	none := map[any]any{}
	envelope := func(protected, unprotected map[any]any, sig []byte) []byte {
		p, err := cbor.Marshal(protected)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := cbor.Marshal(cbor.Tag{Number: 18, Content: []any{p, unprotected, payload, sig}})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	signed := sign1(t, map[any]any{1: -8, 33: []byte{0xff}}, none, payload)
	for _, c := range []struct {
		name   string
		raw    []byte
		o      Options
		signed bool
		want   string
	}{
		{"signed", signed, trustVec(), true, ""},
		{"signed, nobody trusted", signed, Options{}, false, "signature-untrusted"},
		{"signed, unverified", signed, Options{UnverifiedSignaturesUnsafe: true}, false, ""},
		{"signed, altered", flip(signed, len(signed)-1), trustVec(), false, "CMW-39"},
		{"zero byte", envelope(none, none, []byte{0}), trustVec(), false, ""},
		{"zero byte with alg", envelope(map[any]any{1: -8}, none, []byte{0}), trustVec(), false, "CMW-39"},
		{"one byte", envelope(none, none, []byte{0xff}), trustVec(), false, "CMW-39"},
		{"two zero bytes", envelope(none, none, []byte{0, 0}), trustVec(), false, "CMW-39"},
		{"no signature", envelope(none, none, []byte{}), trustVec(), false, "CMW-39"},
		{"unprotected header", envelope(none, map[any]any{4: []byte("k")}, []byte{0}), trustVec(), false, "ratsd"},
		{"key id", sign1(t, map[any]any{1: -8, 4: []byte("k")}, none, payload), trustVec(), false, "ratsd"},
		{"as signed CMW", sign1(t, map[any]any{1: -8, 3: 273}, none, payload), trustVec(), true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := wantRule(t, c.raw, c.o, c.want)
			if tree == nil {
				return
			}
			if r := tree.Ratsd(); r == nil || r.Signed != c.signed {
				t.Errorf("token %+v", r)
			}
			if s := tree.Leaves()[0].Signer(); (s != nil && s.Verified) != c.signed {
				t.Errorf("signer %+v", s)
			}
		})
	}
}

func TestRatsdLegacy(t *testing.T) {
	cmw := `{"__cmwc_t":"tag:github.com,2025:veraison/ratsd/cmw","a":["a/b","AQ"]}`
	std := base64.StdEncoding.EncodeToString
	token := func(body, more string) string {
		return fmt.Sprintf(`{"eat_profile":%q,"cmw":%q%s}`, ratsdLegacyProfile, body, more)
	}
	const fn, mp = `,"vnd.veraison.nonce_adjust_function":"shake-256"`, `,"vnd.veraison.nonce_adjust_map":{"a":16}`
	for _, c := range []struct{ name, in, want string }{
		{"no nonce, no map", token(std([]byte(cmw)), ""), ""},
		{"base64url", token(base64.RawURLEncoding.EncodeToString([]byte(cmw)), `,"eat_nonce":"AAECAwQFBgc"`), ""},
		{"unknown claim", token(std([]byte(cmw)), `,"iat":{"x":[1,2.5e3,true,null]}`), ""},
		{"both", token(std([]byte(cmw)), fn+mp), ""},
		{"map first", `{"vnd.veraison.nonce_adjust_map":{"a":16}` + fn + "," + token(std([]byte(cmw)), "")[1:], ""},
		{"function alone", token(std([]byte(cmw)), fn), "ratsd"},
		{"map alone", token(std([]byte(cmw)), mp), "ratsd"},
		{"size as float", token(std([]byte(cmw)), fn+strings.Replace(mp, "16", "16.0", 1)), "ratsd"},
		{"short nonce", token(std([]byte(cmw)), `,"eat_nonce":"AAEC"`), "ratsd"},
		{"nonce no base64", token(std([]byte(cmw)), `,"eat_nonce":"AAECAwQFBgc!"`), "ratsd"},
		{"nonce with both alphabets", token(std([]byte(cmw)), `,"eat_nonce":"-_+/AwQFBgcA"`), "ratsd"},
		{"nonce with newline", token(std([]byte(cmw)), `,"eat_nonce":"AAECAwQFBgcI\n"`), "ratsd"},
		{"padded nonce with newlines", token(std([]byte(cmw)), `,"eat_nonce":"AAEC\n\n\n\nAwQFBgc="`), "ratsd"},
		{"cmw with newline", token(std([]byte(cmw))[:12]+"\n"+std([]byte(cmw))[12:], ""), "ratsd"},
		{"nonce badly padded", token(std([]byte(cmw)), `,"eat_nonce":"AAECAwQFBgc=="`), "ratsd"},
		{"no cmw", `{"eat_profile":"tag:github.com,2024:veraison/ratsd"}`, "ratsd"},
		{"cmw twice", token(std([]byte(cmw)), `,"cmw":"AQ"`), "ratsd"},
		{"cmw object", strings.Replace(token("x", ""), `"x"`, cmw, 1), "ratsd"},
		{"cmw record", token(std([]byte(rec1)), ""), "ratsd"},
		{"cmw of another type", token(std([]byte(strings.Replace(cmw, "/cmw", "/x", 1))), ""), "ratsd"},
		{"other profile", strings.Replace(token(std([]byte(cmw)), ""), "2024", "2023", 1), "ratsd"},
		{"no profile", fmt.Sprintf(`{"cmw":%q}`, std([]byte(cmw))), "ratsd"},
		{"trailing", token(std([]byte(cmw)), "") + "x", "ratsd"},
		{"broken leaf", token(std([]byte(strings.Replace(cmw, "AQ", "AR", 1))), ""), "CMW-07"},
	} {
		t.Run(c.name, func(t *testing.T) { wantRule(t, []byte(c.in), Options{}, c.want) })
	}
}

// TestRatsdRecorded reads a token of an older daemon around a real SNP report.
func TestRatsdRecorded(t *testing.T) {
	raw := vectors.Read(t, "snp/veraison-services/sevsnp-ratsd-token")
	for _, media := range []string{"", v1Declared, d60} {
		tree := wantRule(t, raw, Options{MediaType: media}, "")
		r := tree.Ratsd()
		if r == nil || r.Version != 1 || len(r.Nonce) != 64 || r.Function != "" || r.Sizes != nil {
			t.Errorf("token %+v", r)
		}
		leaves := tree.Leaves()
		if len(leaves) != 1 || leaves[0].Path() != "tsm-report" || leaves[0].MediaType().Base != "application/vnd.veraison.tsm-report+json" {
			t.Errorf("leaves %v", leaves)
		}
	}
}
