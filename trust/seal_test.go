// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/internal/limits"
)

var suites = []Suite{SuiteHybrid, SuiteX25519}

func sealPrivate(tb testing.TB, suite Suite) *SealPrivate {
	tb.Helper()
	p, err := GenerateSealPrivate(suite, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func sealInfo() SealInfo {
	return SealInfo{
		Session: "s-1", Request: "0123456789abcdef0123456789abcdef", Scheme: "intel-tdx",
		MediaType: "application/cmw+cbor", Label: "cpu/0", Nonce: bytes.Repeat([]byte{5}, 32),
		Digest: sha256.Sum256([]byte("evidence")), To: "vendor-a",
	}
}

func sealed(tb testing.TB, k SealKey, info SealInfo, plain []byte) []byte {
	tb.Helper()
	out, err := k.Seal(info, plain)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// refused fails unless p refuses to open and says only that.
func refused(t *testing.T, what string, p *SealPrivate, info SealInfo, message []byte) {
	t.Helper()
	if plain, err := p.Open(info, message); !errors.Is(err, ErrOpen) || plain != nil {
		t.Errorf("%s: opened %.20q, error %v", what, plain, err)
	}
}

func TestSealAndOpen(t *testing.T) {
	plain := []byte("partial evidence")
	for _, suite := range suites {
		t.Run(string(suite), func(t *testing.T) {
			p, other := sealPrivate(t, suite), sealPrivate(t, suite)
			k := p.Public(time.Time{})
			message := sealed(t, k, sealInfo(), plain)
			if got, err := p.Open(sealInfo(), message); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%q, %v", got, err)
			}
			if len(message)-len(plain) != suite.Overhead() {
				t.Errorf("overhead %d, want %d", len(message)-len(plain), suite.Overhead())
			}
			if bytes.Equal(message, sealed(t, k, sealInfo(), plain)) {
				t.Error("sealing twice gives the same bytes")
			}
			refused(t, "other key", other, sealInfo(), message)
			refused(t, "extended", p, sealInfo(), append(bytes.Clone(message), 0))
			refused(t, "begun late", p, sealInfo(), message[1:])
			for n := range message {
				refused(t, "truncated", p, sealInfo(), message[:n])
			}
			for i := range message {
				bad := bytes.Clone(message)
				bad[i] ^= 1 << (i % 8)
				refused(t, "flipped", p, sealInfo(), bad)
			}
			// The top bit of an X25519 share does not change the secret, so it
			// has to count by being hashed (RFC 7748 section 5).
			bad := bytes.Clone(message)
			bad[suite.Overhead()-sealTag-1] ^= 0x80
			refused(t, "top bit of the share", p, sealInfo(), bad)
		})
	}
	hybrid, classic := sealPrivate(t, SuiteHybrid), sealPrivate(t, SuiteX25519)
	refused(t, "hybrid by classic", classic, sealInfo(), sealed(t, hybrid.Public(time.Time{}), sealInfo(), plain))
	refused(t, "classic by hybrid", hybrid, sealInfo(), sealed(t, classic.Public(time.Time{}), sealInfo(), bytes.Repeat(plain, 100)))
	refused(t, "nothing", classic, sealInfo(), nil)
}

// Every member of the context counts, also one that is added later.
func TestSealInfoBindsEveryMember(t *testing.T) {
	p := sealPrivate(t, SuiteX25519)
	message := sealed(t, p.Public(time.Time{}), sealInfo(), []byte("x"))
	kind := reflect.TypeFor[SealInfo]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		info := sealInfo()
		switch f := reflect.ValueOf(&info).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString(f.String() + "x")
		case reflect.Slice:
			f.Index(0).SetUint(9)
		case reflect.Array:
			f.Index(31).SetUint(f.Index(31).Uint() ^ 1)
		default:
			t.Fatalf("%s: no case for %s", name, f.Kind())
		}
		refused(t, name, p, info, message)
		info = sealInfo()
		reflect.ValueOf(&info).Elem().Field(i).SetZero()
		refused(t, name+" empty", p, info, message)
	}
	// A byte that moves to the next member is a change as well.
	for name, change := range map[string]func(*SealInfo){
		"session, request":  func(i *SealInfo) { i.Session, i.Request = "s-", "1"+i.Request },
		"scheme, type":      func(i *SealInfo) { i.Scheme, i.MediaType = "intel-td", "x"+i.MediaType },
		"type, label":       func(i *SealInfo) { i.MediaType, i.Label = i.MediaType+"c", "pu/0" },
		"scheme and label":  func(i *SealInfo) { i.Scheme, i.Label = i.Label, i.Scheme },
		"shorter nonce":     func(i *SealInfo) { i.Nonce = i.Nonce[:31] },
		"other recipient":   func(i *SealInfo) { i.To = "vendor-b" },
		"oversize label":    func(i *SealInfo) { i.Label = strings.Repeat("x", maxSealField+1) },
		"oversize nonce":    func(i *SealInfo) { i.Nonce = make([]byte, limits.NonceMax+1) },
		"another component": func(i *SealInfo) { i.Label = "cpu/1" },
	} {
		info := sealInfo()
		change(&info)
		refused(t, name, p, info, message)
	}
}

func TestSealRefuses(t *testing.T) {
	p, other := sealPrivate(t, SuiteX25519), sealPrivate(t, SuiteX25519)
	good := p.Public(time.Time{})
	with := func(change func(*SealKey)) SealKey {
		k := p.Public(time.Time{})
		change(&k)
		return k
	}
	for name, k := range map[string]SealKey{
		"zero":             {},
		"no kid":           with(func(k *SealKey) { k.KID = "" }),
		"kid of another":   with(func(k *SealKey) { k.KID = other.KID() }),
		"key of another":   with(func(k *SealKey) { k.Public = other.Public(time.Time{}).Public }),
		"suite":            with(func(k *SealKey) { k.Suite = SuiteHybrid }),
		"unknown suite":    with(func(k *SealKey) { k.Suite, k.KID = "xkeys", sealKID("xkeys", k.Public) }),
		"short":            with(func(k *SealKey) { k.Public = k.Public[:31]; k.KID = sealKID(k.Suite, k.Public) }),
		"small order":      smallOrder(SuiteX25519),
		"hybrid, unusable": smallOrder(SuiteHybrid),
	} {
		if _, err := k.Seal(sealInfo(), []byte("x")); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	for name, change := range map[string]func(*SealInfo){
		"no recipient": func(i *SealInfo) { i.To = "" },
		"no request":   func(i *SealInfo) { i.Request = "" },
		"session":      func(i *SealInfo) { i.Session = strings.Repeat("x", maxSealField+1) },
		"request":      func(i *SealInfo) { i.Request = strings.Repeat("x", maxSealField+1) },
		"scheme":       func(i *SealInfo) { i.Scheme = strings.Repeat("x", maxSealField+1) },
		"media type":   func(i *SealInfo) { i.MediaType = strings.Repeat("x", maxSealField+1) },
		"label":        func(i *SealInfo) { i.Label = strings.Repeat("x", maxSealField+1) },
		"to":           func(i *SealInfo) { i.To = strings.Repeat("x", maxSealField+1) },
		"nonce":        func(i *SealInfo) { i.Nonce = make([]byte, limits.NonceMax+1) },
	} {
		info := sealInfo()
		change(&info)
		if _, err := good.Seal(info, []byte("x")); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	for name, plain := range map[string][]byte{"nothing": nil, "too large": make([]byte, MaxSealed+1)} {
		if _, err := good.Seal(sealInfo(), plain); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	// The bare ErrOpen would mean that it was decrypted before it was measured.
	if _, err := p.Open(sealInfo(), make([]byte, MaxSealed+SuiteX25519.Overhead()+1)); !errors.Is(err, ErrOpen) || err == ErrOpen {
		t.Errorf("too large: %v", err)
	}
	least := SealInfo{Request: "r", To: "n"}
	if got, err := p.Open(least, sealed(t, good, least, make([]byte, MaxSealed))); err != nil || len(got) != MaxSealed {
		t.Errorf("largest plaintext: %v", err)
	}
	if Suite("x").Overhead() != 0 || SuiteHybrid.Overhead() != 1136 || SuiteX25519.Overhead() != 48 {
		t.Error("overheads")
	}
}

// smallOrder is a key whose X25519 part is the point 0, with the right kid.
func smallOrder(suite Suite) SealKey {
	size, _ := suite.sizes()
	k := SealKey{Suite: suite, Public: make([]byte, size)}
	k.KID = sealKID(k.Suite, k.Public)
	return k
}

func TestSealPrivateRoundTrip(t *testing.T) {
	for _, suite := range suites {
		p := sealPrivate(t, suite)
		text, err := p.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSealPrivate(append(bytes.Clone(text), " \r\n\t"...))
		if err != nil || again.KID() != p.KID() || !reflect.DeepEqual(again.Public(now), p.Public(now)) {
			t.Fatalf("%s: %v", suite, err)
		}
		if got, err := again.Open(sealInfo(), sealed(t, p.Public(now), sealInfo(), []byte("x"))); err != nil || string(got) != "x" {
			t.Errorf("%s: %q, %v", suite, got, err)
		}
		block, _ := pem.Decode(text)
		encode := func(b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: sealPEM, Bytes: b}) }
		for name, bad := range map[string][]byte{
			"empty":      nil,
			"two blocks": append(bytes.Clone(text), text...),
			"trailing":   append(bytes.Clone(text), 'x'),
			"before":     append([]byte("x\n"), text...),
			"type":       bytes.ReplaceAll(text, []byte(sealPEM), []byte("PRIVATE KEY")),
			"headers":    pem.EncodeToMemory(&pem.Block{Type: sealPEM, Headers: map[string]string{"a": "b"}, Bytes: block.Bytes}),
			"short":      encode(block.Bytes[:33]),
			"long":       encode(append(bytes.Clone(block.Bytes), 0)),
			"no bytes":   encode(nil),
			"kem":        encode(append([]byte{0, 0x10}, block.Bytes[2:]...)),
			"too large":  append(bytes.Clone(text), bytes.Repeat([]byte(" "), maxSealFile)...),
		} {
			if _, err := ParseSealPrivate(bad); err == nil {
				t.Errorf("%s: %s accepted", suite, name)
			}
		}
		// What is handed out cannot change the key.
		p.Public(now).Public[0] ^= 1
		if !reflect.DeepEqual(p.Public(now), again.Public(now)) {
			t.Errorf("%s: changed from outside", suite)
		}
	}
	if _, err := GenerateSealPrivate("x", rand.Reader); err == nil {
		t.Error("unknown suite")
	}
	if _, err := GenerateSealPrivate(SuiteHybrid, nil); err == nil {
		t.Error("no randomness")
	}
	if _, err := GenerateSealPrivate(SuiteHybrid, bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("too little randomness")
	}
	if k := sealPrivate(t, SuiteX25519).Public(now.Add(time.Millisecond)); !k.NotAfter.Equal(now) {
		t.Errorf("not cut to seconds: %v", k.NotAfter)
	}
}

// Keys, thumbprints, contexts and messages as another implementation of
// RFC 9180 and of the framing described here makes them.
func TestSealVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/seal.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Info struct {
			Session, Request, Scheme, Label, Nonce, Digest, To string
			MediaType                                          string `json:"media_type"`
		}
		InfoHash string `json:"info_hash"`
		Plain    string
		Keys     []struct {
			Suite                        Suite
			Private, Public, KID, Sealed string
		}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	info := SealInfo{
		Session: v.Info.Session, Request: v.Info.Request, Scheme: v.Info.Scheme, MediaType: v.Info.MediaType,
		Label: v.Info.Label, Nonce: decode(v.Info.Nonce), Digest: [32]byte(decode(v.Info.Digest)), To: v.Info.To,
	}
	if hash, err := info.hash(); err != nil || !bytes.Equal(hash, decode(v.InfoHash)) {
		t.Errorf("context %x, %v", hash, err)
	}
	if len(v.Keys) != len(suites) {
		t.Fatalf("%d keys", len(v.Keys))
	}
	for _, k := range v.Keys {
		p, err := ParseSealPrivate([]byte(k.Private))
		if err != nil {
			t.Fatal(err)
		}
		want := SealKey{KID: k.KID, Suite: k.Suite, Public: decode(k.Public)}
		if got := p.Public(time.Time{}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: key %+v, want %+v", k.Suite, got, want)
		}
		if got, err := p.Open(info, decode(k.Sealed)); err != nil || string(got) != v.Plain {
			t.Errorf("%s: %q, %v", k.Suite, got, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	plain := []byte("partial evidence")
	var keys []*SealPrivate
	for i, suite := range suites {
		p, err := GenerateSealPrivate(suite, bytes.NewReader(bytes.Repeat([]byte{byte(i + 1)}, 32)))
		if err != nil {
			f.Fatal(err)
		}
		keys = append(keys, p)
		message := sealed(f, p.Public(time.Time{}), sealInfo(), plain)
		f.Add(message, sealInfo().To)
		f.Add(message[:suite.Overhead()], "other")
	}
	f.Fuzz(func(t *testing.T, message []byte, to string) {
		info := sealInfo()
		info.To = to
		for _, p := range keys {
			got, err := p.Open(info, message)
			if (err == nil) != (got != nil) || err != nil && !errors.Is(err, ErrOpen) {
				t.Fatalf("%q, %v", got, err)
			}
			if err == nil && (!bytes.Equal(got, plain) || to != sealInfo().To) {
				t.Fatalf("opened %q for %q", got, to)
			}
		}
	})
}

func FuzzParseSealPrivate(f *testing.F) {
	for _, suite := range suites {
		text, err := sealPrivate(f, suite).MarshalPEM()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseSealPrivate(b)
		if err != nil {
			return
		}
		text, err := p.MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseSealPrivate(text); err != nil || again.KID() != p.KID() {
			t.Fatalf("no round trip: %v", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	plain := make([]byte, 16<<10)
	for _, suite := range suites {
		k := sealPrivate(b, suite).Public(time.Time{})
		b.Run(string(suite), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				if _, err := k.Seal(sealInfo(), plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	plain := make([]byte, 16<<10)
	for _, suite := range suites {
		p := sealPrivate(b, suite)
		message := sealed(b, p.Public(time.Time{}), sealInfo(), plain)
		b.Run(string(suite), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				if _, err := p.Open(sealInfo(), message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
