// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// outer makes a collection by hand.
func outer(tb testing.TB, tag uint64, content any) []byte {
	return encode(tb, cbor.Tag{Number: tag, Content: content})
}

// Whatever is wrong with a token, it proves nothing, and the reason says what it
// is. All of these are signed by the right keys as far as they can be.
func TestRefused(t *testing.T) {
	const malformed, unsupported, broken = verdict.ReasonMalformed, verdict.ReasonUnsupported, verdict.ReasonSignatureInvalid
	platform := func(k int64, v any) func(*testing.T, *machine) []byte {
		return func(t *testing.T, m *machine) []byte {
			if m.platform[k] = v; v == nil {
				delete(m.platform, k)
			}
			return m.token(t)
		}
	}
	realm := func(k int64, v any) func(*testing.T, *machine) []byte {
		return func(t *testing.T, m *machine) []byte {
			if m.realm[k] = v; v == nil {
				delete(m.realm, k)
			}
			return m.token(t)
		}
	}
	components := func(list ...any) func(*testing.T, *machine) []byte { return platform(claimComponents, list) }
	for _, c := range []struct {
		name string
		make func(*testing.T, *machine) []byte
		code string
		says string
	}{
		{"empty", func(t *testing.T, m *machine) []byte { return nil }, malformed, "no CBOR tag"},
		{"tag 400", func(t *testing.T, m *machine) []byte { m.tag = 400; return m.token(t) }, malformed, "CBOR tag 400"},
		{"no tag", func(t *testing.T, m *machine) []byte { return m.token(t)[3:] }, malformed, "no CBOR tag"},
		{"trailing byte", func(t *testing.T, m *machine) []byte { return append(m.token(t), 0) }, malformed, "extraneous"},
		{"tag 399 with records", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCollection, map[int64]any{labelPlatform: []any{263, p}, labelRealm: []any{263, r}})
		}, malformed, "not a byte string"},
		{"tag 907 without records", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCMW, map[int64]any{labelPlatform: p, labelRealm: r})
		}, malformed, "not a CMW record"},
		{"record of another type", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCMW, map[int64]any{labelPlatform: []any{264, p}, labelRealm: []any{263, r}})
		}, malformed, "CMW record of type 264"},
		{"record with an indicator", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCMW, map[int64]any{labelPlatform: []any{263, p, 4}, labelRealm: []any{263, r}})
		}, malformed, "not a CMW record"},
		{"third member", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCollection, map[int64]any{labelPlatform: p, labelRealm: r, 44242: r})
		}, malformed, "3 members"},
		{"no realm token", func(t *testing.T, m *machine) []byte {
			p, _ := m.halves(t)
			return outer(t, tagCollection, map[int64]any{labelPlatform: p})
		}, malformed, "1 members"},
		{"platform token twice", func(t *testing.T, m *machine) []byte {
			p, _ := m.halves(t)
			one := append([]byte{0x19, 0xac, 0xca}, encode(t, p)...)
			return append([]byte{0xd9, 0x01, 0x8f, 0xa2}, append(one, one...)...)
		}, malformed, "duplicate"},
		{"indefinite map", func(t *testing.T, m *machine) []byte {
			raw := m.token(t)
			return append(append(bytes.Clone(raw[:3]), 0xbf), append(bytes.Clone(raw[4:]), 0xff)...)
		}, malformed, "indefinite"},
		{"swapped halves", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCollection, map[int64]any{labelPlatform: r, labelRealm: p})
		}, unsupported, "unknown profile"},
		{"swapped legacy halves", func(t *testing.T, m *machine) []byte {
			delete(m.realm, claimProfile)
			m.realm[claimRAK], _ = m.rak.PublicKey.Bytes()
			p, r := m.halves(t)
			return outer(t, tagCollection, map[int64]any{labelPlatform: r, labelRealm: p})
		}, malformed, "claim 265 (profile) is missing"},

		{"half without tag 18", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCollection, map[int64]any{labelPlatform: p[1:], labelRealm: r})
		}, malformed, "no CBOR tag 18"},
		{"bytes behind a half", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			return outer(t, tagCollection, map[int64]any{labelPlatform: append(p, 0), labelRealm: r})
		}, malformed, "extraneous"},
		{"unprotected header", func(t *testing.T, m *machine) []byte { return m.withHeaders(t, nil, map[int64]any{33: []byte{1}}) }, malformed, "unprotected header 33"},
		{"critical header", func(t *testing.T, m *machine) []byte {
			return m.withHeaders(t, map[int64]any{1: -35, 2: []any{1}}, nil)
		}, malformed, "protected header 2"},
		{"algorithm PS256", func(t *testing.T, m *machine) []byte { return m.withHeaders(t, map[int64]any{1: -37}, nil) }, unsupported, "not ES256"},
		{"algorithm of another curve", func(t *testing.T, m *machine) []byte { return m.withHeaders(t, map[int64]any{1: -7}, nil) }, malformed, "signature has 96 bytes"},
		{"no payload", func(t *testing.T, m *machine) []byte {
			p, r := m.halves(t)
			var parts []any
			if err := cbor.Unmarshal(p[1:], &parts); err != nil {
				t.Fatal(err)
			}
			parts[2] = nil
			return outer(t, tagCollection, map[int64]any{labelPlatform: outer(t, 18, parts), labelRealm: r})
		}, malformed, "element 2 is not a byte string"},
		{"claims twice", func(t *testing.T, m *machine) []byte {
			p := encode(t, m.platform)
			_, r := m.halves(t)
			twice := append([]byte{p[0] + 1}, append(append([]byte{0x19, 0x09, 0x5b, 0x19, 0x30, 0x00}, p[1:]...), 0)...)
			return outer(t, tagCollection, map[int64]any{labelPlatform: sign(t, m.iak, twice[:len(twice)-1]), labelRealm: r})
		}, malformed, "duplicate"},

		{"platform profile of a realm", platform(claimProfile, realmProfile), unsupported, "unknown profile"},
		{"realm profile of a platform", realm(claimProfile, platformProfile), unsupported, "unknown profile"},
		{"legacy realm with a COSE_Key", realm(claimProfile, nil), malformed, "public key"},
		{"realm with a bare point", func(t *testing.T, m *machine) []byte {
			m.realm[claimRAK], _ = m.rak.PublicKey.Bytes()
			return m.token(t)
		}, malformed, "COSE_Key"},
		{"no implementation id", platform(claimImplementation, nil), malformed, "is missing"},
		{"implementation id of 31 bytes", platform(claimImplementation, fill(1, 31)), malformed, "31 bytes"},
		{"instance id of another type", platform(claimInstance, fill(2, 33)), malformed, "UEID of type 0x2"},
		{"no lifecycle", platform(claimLifecycle, nil), malformed, "is missing"},
		{"lifecycle of 17 bits", platform(claimLifecycle, 0x13000), malformed, "at most 65535"},
		{"negative lifecycle", platform(claimLifecycle, -1), malformed, "major type"},
		{"no config", platform(claimConfig, nil), malformed, "is missing"},
		{"empty config", platform(claimConfig, []byte{}), malformed, "config has 0 bytes"},
		{"no hash algorithm", platform(claimHash, nil), malformed, "is missing"},
		{"platform SHA-224", platform(claimHash, "sha-224"), unsupported, "sha-224"},
		{"no components", platform(claimComponents, nil), malformed, "is missing"},
		{"empty components", platform(claimComponents, []any{}), malformed, "is empty"},
		{"component without a signer", components(component("BL", 1, 5, nil)), malformed, "signer id"},
		{"component without a value", components(component("BL", 1, 2, nil)), malformed, "measurement value"},
		{"component of 31 bytes", components(component("BL", 1, 2, fill(1, 31))), malformed, "31 bytes"},
		{"component by SHA-512 of 32 bytes", components(component("BL", 1, 6, "SHA512")), malformed, "32 bytes"},
		{"component by SHA-1", components(component("BL", 1, 6, "sha-1")), malformed, "sha-1"},
		{"component with another member", components(component("BL", 1, 3, "x")), malformed, "unknown members"},
		{"components that are none", components(1), malformed, "no CBOR map"},

		{"no challenge", realm(claimNonce, nil), malformed, "is missing"},
		{"challenge of 32 bytes", realm(claimNonce, fill(0xab, 32)), malformed, "32 bytes"},
		{"two challenges", realm(claimNonce, []any{fill(0xab, 64), fill(0xab, 64)}), malformed, "major type"},
		{"no personalization", realm(claimRPV, nil), malformed, "is missing"},
		{"no initial measurement", realm(claimRIM, nil), malformed, "is missing"},
		{"three run-time measurements", realm(claimREM, [][]byte{fill(0, 48), fill(0, 48), fill(0, 48)}), malformed, "3 extensible"},
		{"run-time measurements of another size", realm(claimREM, [][]byte{fill(0, 48), fill(0, 48), fill(0, 48), fill(0, 32)}), malformed, "32 bytes"},
		{"no run-time measurements", realm(claimREM, nil), malformed, "is missing"},
		{"key hash SHA-224", func(t *testing.T, m *machine) []byte {
			m.realm[claimRAKHash] = "sha-224"
			d := sha256.Sum224(m.realm[claimRAK].([]byte))
			m.platform[claimNonce], m.unbound = append(d[:], 0, 0, 0, 0), true
			return m.token(t)
		}, unsupported, "sha-224"},
		{"realm SHA-1", realm(claimRealmHash, "sha-1"), unsupported, "sha-1"},
		{"no key", realm(claimRAK, nil), malformed, "is missing"},
		{"key off the curve", func(t *testing.T, m *machine) []byte {
			m.realm[claimRAK] = encode(t, map[int64]any{1: 2, -1: 2, -2: fill(1, 48), -3: fill(1, 48)})
			return m.token(t)
		}, malformed, "COSE_Key"},
		{"key of another type", realm(claimRAK, []byte{0xa1, 1, 1}), malformed, "COSE_Key"},
		{"key with a private part", func(t *testing.T, m *machine) []byte {
			m.realm[claimRAK] = encode(t, map[int64]any{1: 2, -1: 2, -2: fill(1, 48), -3: fill(1, 48), -4: fill(1, 48)})
			return m.token(t)
		}, malformed, "unknown members"},

		{"platform vouches for another key", func(t *testing.T, m *machine) []byte {
			m.platform[claimNonce], m.unbound = fill(7, 32), true
			return m.token(t)
		}, broken, "does not vouch"},
		{"platform vouches by another hash", func(t *testing.T, m *machine) []byte {
			d := sha256.Sum256(m.realm[claimRAK].([]byte))
			m.platform[claimNonce], m.unbound, m.realm[claimRAKHash] = d[:], true, "sha-512"
			return m.token(t)
		}, broken, "does not vouch"},
		{"realm signed by another key", func(t *testing.T, m *machine) []byte {
			m.rak = key(t, "another", elliptic.P384())
			return m.token(t)
		}, broken, "realm token is not signed"},
		{"platform signed by another key", func(t *testing.T, m *machine) []byte {
			m.iak = key(t, "another", elliptic.P384())
			return m.token(t)
		}, broken, "under none of the 1 keys"},
		{"platform signed on another curve", func(t *testing.T, m *machine) []byte {
			m.iak = key(t, "another", elliptic.P256())
			return m.token(t)
		}, broken, "under none of the 1 keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			x := newLibrary(m).index(t)
			a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: c.make(t, m), Nonce: fill(0xab, 64), References: x})
			check(t, a, want{verdict.TierContraindicated, claims{hw: 99, iid: 99, exe: 99, cfg: 99, rto: 99, sto: 99}, []string{c.code}})
			if !strings.Contains(a.Reasons[0].Detail, c.says) {
				t.Errorf("%q, want %q", a.Reasons[0].Detail, c.says)
			}
			if a.Facts.Device != nil || a.Claims != nil {
				t.Error("something of it is repeated")
			}
		})
	}
}

// withHeaders changes the headers of the platform token under its signature.
func (m *machine) withHeaders(tb testing.TB, protected, unprotected map[int64]any) []byte {
	tb.Helper()
	p, r := m.halves(tb)
	var parts []any
	if err := cbor.Unmarshal(p[1:], &parts); err != nil {
		tb.Fatal(err)
	}
	if protected != nil {
		parts[0] = encode(tb, protected)
	}
	if unprotected != nil {
		parts[1] = unprotected
	}
	return outer(tb, tagCollection, map[int64]any{labelPlatform: outer(tb, 18, parts), labelRealm: r})
}

// Realm keys on each curve and hashes of each size, legacy halves in every mix, and
// claims that nobody knows, are accepted.
func TestAccepted(t *testing.T) {
	for name, change := range map[string]func(*machine){
		"P-256":         func(m *machine) { m.rak = key(t, "r256", elliptic.P256()); m.realm[claimRAK] = coseKey(t, m.rak) },
		"P-521":         func(m *machine) { m.rak = key(t, "r521", elliptic.P521()); m.realm[claimRAK] = coseKey(t, m.rak) },
		"legacy":        func(m *machine) { m.platform[claimProfile] = platformProfileLegacy },
		"unknown claim": func(m *machine) { m.platform[9999], m.realm[-70000] = "x", 1 },
		"algorithm in the key": func(m *machine) {
			point, _ := m.rak.PublicKey.Bytes()
			m.realm[claimRAK] = encode(t, map[int64]any{1: 2, -1: 2, -2: point[1:49], -3: point[49:], 3: -35})
		},
		"legacy realm": func(m *machine) {
			delete(m.realm, claimProfile)
			m.realm[claimRAK], _ = m.rak.PublicKey.Bytes()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			change(m)
			a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: newLibrary(m).index(t)})
			if a.Status() != verdict.TierAffirming {
				t.Error(a.Reasons)
			}
			if p := a.Claims["platform"].(map[string]any); name == "unknown claim" && p["not_evaluated"] == nil {
				t.Error("nothing says that a claim was not evaluated")
			}
		})
	}
}

// The invalid claims sets that come with the module veraison/ccatoken, signed.
func TestModuleClaims(t *testing.T) {
	dir := moduleDir(t, "github.com/veraison/ccatoken")
	platform := map[string]int64{
		"cca-platform-profile": claimProfile, "cca-platform-challenge": claimNonce, "cca-platform-implementation-id": claimImplementation,
		"cca-platform-instance-id": claimInstance, "cca-platform-config": claimConfig, "cca-platform-lifecycle": claimLifecycle,
		"cca-platform-sw-components": claimComponents, "cca-platform-service-indicator": claimService, "cca-platform-hash-algo-id": claimHash,
	}
	realm := map[string]int64{
		"cca-realm-profile": claimProfile, "cca-realm-challenge": claimNonce, "cca-realm-personalization-value": claimRPV,
		"cca-realm-initial-measurement": claimRIM, "cca-realm-extensible-measurements": claimREM, "cca-realm-hash-algo-id": claimRealmHash,
		"cca-realm-public-key": claimRAK, "cca-realm-public-key-hash-algo-id": claimRAKHash,
	}
	for folder, names := range map[string]map[string]int64{"platform": platform, "realm": realm} {
		files, err := filepath.Glob(filepath.Join(dir, folder, "testvectors/json/test-*.json"))
		if err != nil || len(files) < 10 {
			t.Fatal(len(files), err)
		}
		for _, file := range files {
			if strings.Contains(file, "-valid-full") || strings.Contains(file, "all-valid") {
				continue
			}
			m := newMachine(t)
			claims := fromJSON(t, file, names)
			if folder == "platform" {
				m.platform, m.unbound = claims, true
			} else {
				m.realm = claims
			}
			d, err := armtoken.NewDecoder()
			if err != nil {
				t.Fatal(err)
			}
			tok, err := parse(d, m.token(t))
			switch base := filepath.Base(file); {
			case base == "test-lifecycle-invalid.json": // a reserved number is a finding
				if err != nil || tok.platform.lifecycle.State() != armtoken.Reserved {
					t.Error(base, err)
				}
			case err == nil:
				t.Errorf("%s is accepted", base)
			}
		}
	}
}

// fromJSON reads claims in the JSON of the library, base64 as bytes wherever a
// claim has bytes.
func fromJSON(tb testing.TB, file string, names map[string]int64) map[int64]any {
	tb.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var in map[string]any
	if err := json.Unmarshal(raw, &in); err != nil {
		tb.Fatal(file, err)
	}
	members := map[string]int64{"measurement-type": 1, "measurement-value": 2, "version": 4, "signer-id": 5, "measurement-description": 6}
	out := map[int64]any{}
	for name, v := range in {
		k, ok := names[name]
		if !ok {
			continue // of another token
		}
		out[k] = convert(name, v, members)
	}
	return out
}

func convert(name string, v any, members map[string]int64) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case string:
		for _, text := range []string{"profile", "indicator", "algo-id", "type", "version", "description"} {
			if strings.HasSuffix(name, text) {
				return v
			}
		}
		if b, err := base64.StdEncoding.DecodeString(v); err == nil {
			return b
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = convert(name, v[i], members)
		}
		return out
	case map[string]any:
		out := map[int64]any{}
		for n, x := range v {
			out[members[n]] = convert(n, x, members)
		}
		return out
	}
	return v
}

func FuzzAppraise(f *testing.F) {
	m := newMachine(f)
	l := newLibrary(m)
	x, v := l.index(f), newTest(f, verifiers.Deps{})
	good := m.token(f)
	f.Add(good)
	m.tag = tagCMW
	f.Add(m.token(f))
	if dir := moduleDir(f, "github.com/veraison/ccatoken"); dir != "" {
		f.Add(read(f, dir, "realm/testvectors/tf-rmm/cca_token.cbor"))
	}
	other := m.token(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: m.nonce(), References: x})
		if a.Status() == verdict.TierAffirming && !bytes.Equal(raw, good) && !bytes.Equal(raw, other) {
			tok := decoded(t, raw)
			if !bytes.Contains(good, tok.platform.message.Payload) || !bytes.Contains(good, tok.realm.message.Payload) {
				t.Fatalf("affirming: %x", raw)
			}
		}
		for _, r := range a.Reasons {
			if strings.Contains(r.Detail, "panic") {
				t.Fatalf("%s: %x", r.Detail, raw)
			}
		}
	})
}
