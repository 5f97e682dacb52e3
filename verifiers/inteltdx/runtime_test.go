// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// withPolicy is a verifier with a convention for REPORTDATA.
func (m *machine) withPolicy(tb testing.TB, convention string) *verifier {
	tb.Helper()
	d := m.deps(bundle(tb, m.Collateral()))
	if convention != "" {
		p, err := defaults().Parse([]byte("scheme: intel-tdx\nparameters: {report_data: " + convention + "}\n"))
		if err != nil {
			tb.Fatal(err)
		}
		d.Policies = map[string]*appraisal.Policy{Name: p}
	}
	return newTest(tb, d)
}

// reporting is a machine with some report data.
func reporting(tb testing.TB, parts ...[]byte) *machine {
	tb.Helper()
	m := newMachine(tb)
	data := bytes.Join(parts, nil)
	if len(data) > 64 {
		tb.Fatalf("%d bytes of report data", len(data))
	}
	copy(m.Body[520:584], append(data, make([]byte, 64-len(data))...))
	return m
}

func sha256Of(b ...[]byte) []byte { d := sha256.Sum256(bytes.Join(b, nil)); return d[:] }
func sha384Of(b ...[]byte) []byte { d := sha512.Sum384(bytes.Join(b, nil)); return d[:] }
func sha512Of(b ...[]byte) []byte { d := sha512.Sum512(bytes.Join(b, nil)); return d[:] }

// hclData is runtime data as the paravisor writes them.
func hclData(tb testing.TB, user []byte) (document []byte, spki string) {
	tb.Helper()
	d, err := tcgtpm.New(tcgtpm.Options{
		Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), UserData: user,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return d.RuntimeData(), hex.EncodeToString(sha256Of(d.AKCertificate().RawSubjectPublicKeyInfo))
}

func quoted(b []byte) string { return `"` + base64.RawURLEncoding.EncodeToString(b) + `"` }

func TestReportDataConventions(t *testing.T) {
	nonce := bytes.Repeat([]byte{0xa5}, 64)
	other := append(bytes.Clone(nonce[:63]), 0)
	short := nonce[:32]
	hcl, _ := hclData(t, nil)
	answering, _ := hclData(t, nonce)
	plain := []byte(`{"b": 1, "a": "x"}`)
	kbs := func(n []byte) (doc, canonical []byte) {
		b64 := base64.StdEncoding.EncodeToString(n)
		return []byte(`{ "tee-pubkey": {"kty":"RSA"}, "nonce": "` + b64 + `" }`), []byte(`{"nonce":"` + b64 + `","tee-pubkey":{"kty":"RSA"}}`)
	}
	kbsDoc, kbsCanonical := kbs(nonce)
	otherDoc, otherCanonical := kbs(other)
	const fresh, mismatch, unknown, broken = "fresh", "nonce-mismatch", "nonce-not-established", "binding-broken"
	for _, c := range []struct {
		name, convention string
		data             [][]byte
		runtime          string
		nonce            []byte
		want             string
	}{
		{"raw", "", [][]byte{nonce}, "", nonce, fresh},
		{"raw, other", "", [][]byte{other}, "", nonce, mismatch},
		{"raw, shorter challenge", "", [][]byte{short}, "", short, mismatch},
		{"raw, none given", "", [][]byte{nonce}, "", nil, unknown},
		{"raw, whatever is beside it", raw64, [][]byte{nonce}, string(hcl), nonce, fresh},
		{"raw although a hash", raw64, [][]byte{sha256Of(hcl)}, string(hcl), nonce, mismatch},

		{"padded", padded, [][]byte{short}, "", short, fresh},
		{"padded, full", padded, [][]byte{nonce}, "", nonce, fresh},
		{"padded, other", padded, [][]byte{short, {1}}, "", short, mismatch},
		{"padded, prefix", padded, [][]byte{nonce}, "", short, mismatch},
		{"padded, none given", padded, [][]byte{short}, "", nil, unknown},
		{"padded, none given and none answered", padded, nil, "", nil, unknown},

		{"paravisor", "", [][]byte{sha256Of(hcl)}, string(hcl), nonce, unknown},
		{"paravisor, SHA-384", "", [][]byte{sha384Of(hcl)}, string(hcl), nonce, unknown},
		{"paravisor, SHA-512", "", [][]byte{sha512Of(hcl)}, string(hcl), nonce, unknown},
		{"paravisor, none given", "", [][]byte{sha256Of(answering)}, string(answering), nil, unknown},
		{"paravisor, zeros as challenge", "", [][]byte{sha256Of(hcl)}, string(hcl), make([]byte, 64), unknown},
		{"paravisor answers", "", [][]byte{sha256Of(answering)}, string(answering), nonce, fresh},
		{"paravisor answers, named", runtimeHash, [][]byte{sha256Of(answering)}, string(answering), nonce, fresh},
		{"paravisor answers another", "", [][]byte{sha256Of(answering)}, string(answering), other, unknown},
		{"paravisor answers a longer one", "", [][]byte{sha256Of(answering)}, string(answering), append(bytes.Clone(nonce), 0), unknown},
		{"prefix of the answer", "", [][]byte{sha256Of(answering)}, string(answering), nonce[:63], unknown},
		{"other runtime data", "", [][]byte{sha256Of(hcl)}, string(answering), nonce, broken},
		{"space in runtime data", "", [][]byte{sha256Of(hcl)}, strings.Replace(string(hcl), `:`, `: `, 1), nonce, broken},
		{"hash and something behind", "", [][]byte{sha256Of(hcl), {0, 1}}, string(hcl), nonce, broken},
		{"challenge beside runtime data", "", [][]byte{nonce}, string(hcl), nonce, broken},
		{"no paravisor", "", [][]byte{sha256Of(plain)}, string(plain), nonce, unknown},
		{"runtime data are missing", runtimeHash, [][]byte{sha256Of(hcl)}, "", nonce, unknown},
		{"challenge, but a hash is the policy", runtimeHash, [][]byte{nonce}, "", nonce, unknown},

		{"canonical", jcsPadded, [][]byte{sha384Of(kbsCanonical)}, string(kbsDoc), nonce, fresh},
		{"canonical, already", jcsPadded, [][]byte{sha384Of(kbsCanonical)}, string(kbsCanonical), nonce, fresh},
		{"canonical, another challenge", jcsPadded, [][]byte{sha384Of(otherCanonical)}, string(otherDoc), nonce, mismatch},
		{"canonical, none given", jcsPadded, [][]byte{sha384Of(kbsCanonical)}, string(kbsDoc), nil, unknown},
		{"canonical, other data", jcsPadded, [][]byte{sha384Of(kbsCanonical)}, string(otherDoc), other, broken},
		{"canonical, as it stands", jcsPadded, [][]byte{sha384Of(kbsDoc)}, string(kbsDoc), nonce, broken},
		{"canonical, no nonce", jcsPadded, [][]byte{sha384Of([]byte(`{"a":"x","b":1}`))}, string(plain), nonce, unknown},
		{"canonical, nonce no base64", jcsPadded, [][]byte{sha384Of([]byte(`{"nonce":"!"}`))}, `{"nonce":"!"}`, nonce, unknown},
		{"canonical, nonce no text", jcsPadded, [][]byte{sha384Of([]byte(`{"nonce":1}`))}, `{"nonce":1}`, nonce, unknown},
		{"canonical, nonce twice", jcsPadded, [][]byte{sha384Of(kbsCanonical)}, `{"nonce":"","nonce":""}`, nonce, broken},
		{"canonical, missing", jcsPadded, [][]byte{sha384Of(kbsCanonical)}, "", nonce, unknown},

		{"challenge and data", nonceData, [][]byte{sha512Of(nonce, []byte("user"))}, quoted([]byte("user")), nonce, fresh},
		{"challenge without data", nonceData, [][]byte{sha512Of(nonce)}, "", nonce, fresh},
		{"challenge and other data", nonceData, [][]byte{sha512Of(nonce, []byte("user"))}, quoted([]byte("root")), nonce, mismatch},
		{"another challenge and data", nonceData, [][]byte{sha512Of(nonce, []byte("user"))}, quoted([]byte("user")), other, mismatch},
		{"data, none given", nonceData, [][]byte{sha512Of([]byte("user"))}, quoted([]byte("user")), nil, unknown},
		{"data that are no text", nonceData, [][]byte{sha512Of(nonce)}, `{"a":1}`, nonce, broken},

		{"half and hash", nonce32Data, [][]byte{short, sha256Of([]byte("user"))}, quoted([]byte("user")), short, fresh},
		{"half and other hash", nonce32Data, [][]byte{short, sha256Of([]byte("user"))}, quoted([]byte("root")), short, mismatch},
		{"half, whole challenge", nonce32Data, [][]byte{short, sha256Of([]byte("user"))}, quoted([]byte("user")), nonce, mismatch},
		{"half, a shorter challenge", nonce32Data, [][]byte{short[:31], sha256Of([]byte("user"))}, quoted([]byte("user")), short[:31], mismatch},
		{"half, a longer challenge", nonce32Data, [][]byte{nonce[:33], sha256Of([]byte("user"))[:31]}, quoted([]byte("user")), nonce[:33], mismatch},
		{"half, none given", nonce32Data, [][]byte{short, sha256Of(nil)}, "", nil, unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := reporting(t, c.data...)
			a := appraiseLeaf(t, m.withPolicy(t, c.convention), leaf(m.Quote(), nil, c.runtime), c.nonce, m.Now)
			var codes []string
			for _, r := range a.Reasons {
				switch r.Code {
				case unknown, mismatch, broken:
					codes = append(codes, r.Code)
				}
			}
			got := strings.Join(codes, " ")
			if a.Freshness == verdict.FreshnessFresh && got == "" {
				got = fresh
			}
			if got != c.want {
				t.Fatalf("%s, freshness %s, want %s: %v", got, a.Freshness, c.want, a.Reasons)
			}
			tier := verdict.TierWarning
			if c.want == mismatch || c.want == broken {
				tier = verdict.TierContraindicated
			}
			if a.Status() != tier || c.want == fresh && !bytes.Equal(a.NonceSeen, c.nonce) {
				t.Errorf("%s, nonce seen %x", a.Status(), a.NonceSeen)
			}
			if c.want == broken && a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) {
				t.Errorf("a commitment is broken: %v", a.Vector)
			}
		})
	}
}

// The key of a TPM is a fact only where REPORTDATA commits to it.
func TestCommittedKeys(t *testing.T) {
	doc, spki := hclData(t, nil)
	m := reporting(t, sha256Of(doc))
	a := appraiseLeaf(t, m.withPolicy(t, ""), leaf(m.Quote(), nil, string(doc)), []byte("a challenge"), m.Now)
	want := verdict.CommittedKey{SPKI: spki, Via: "runtime-data", Origin: verdict.OriginApplication}
	if len(a.Facts.Keys) != 1 || a.Facts.Keys[0] != want {
		t.Errorf("keys %+v, want %+v", a.Facts.Keys, want)
	}
	c, _ := a.Claims["runtime_data"].(map[string]any)
	if c["sha256"] != hex.EncodeToString(sha256Of(doc)) || c["secure_boot"] != true || c["commitment"] != "SHA-256" {
		t.Errorf("claims %v", c)
	}
	for name, change := range map[string]struct{ convention, runtime string }{
		"other data":                 {"", strings.Replace(string(doc), "HCLAkPub", "HCLAkPuc", 1)},
		"a policy of raw challenges": {raw64, string(doc)},
		"two keys of that name":      {"", strings.Replace(string(doc), "HCLEkPub", "HCLAkPub", 1)},
	} {
		a := appraiseLeaf(t, m.withPolicy(t, change.convention), leaf(m.Quote(), nil, change.runtime), nil, m.Now)
		if a.Facts.Keys != nil {
			t.Errorf("%s: %+v", name, a.Facts.Keys)
		}
	}
	// Committed to, but ambiguous: no key.
	twice := strings.Replace(string(doc), "HCLEkPub", "HCLAkPub", 1)
	m = reporting(t, sha256Of([]byte(twice)))
	a = appraiseLeaf(t, m.withPolicy(t, ""), leaf(m.Quote(), nil, twice), nil, m.Now)
	if a.Facts.Keys != nil || a.Status() != verdict.TierWarning {
		t.Errorf("two keys of one name: %+v, %v", a.Facts.Keys, a.Reasons)
	}
}

func TestConventionsOfPolicy(t *testing.T) {
	for _, c := range conventions {
		if _, err := defaults().Parse([]byte("scheme: intel-tdx\nparameters: {report_data: " + c + "}\n")); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []string{"guess", `""`, "RAW64"} {
		if _, err := defaults().Parse([]byte("scheme: intel-tdx\nparameters: {report_data: " + c + "}\n")); err == nil {
			t.Errorf("%s was accepted", c)
		}
	}
}

func TestCanonicalJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1,"a":[true, false,null ,-7]}`:                                                         `{"a":[true,false,null,-7],"b":1}`,
		"\"\\u0041\\/\\u20ac\\n\\u000b\\\"\\\\\\u007f<\"":                                            "\"A/€\\n\\u000b\\\"\\\\\x7f<\"",
		"{\"€\":\"Euro\",\"\\r\":\"CR\",\"\ufb33\":\"x\",\"1\":\"One\",\"😀\":\"Smile\",\"ö\":\"o\"}": "{\"\\r\":\"CR\",\"1\":\"One\",\"ö\":\"o\",\"€\":\"Euro\",\"😀\":\"Smile\",\"\ufb33\":\"x\"}",
		` 9007199254740991 `: `9007199254740991`,
		`{}`:                 `{}`, `[]`: `[]`, `""`: `""`,
	} {
		got, err := canonicalJSON([]byte(strings.TrimSpace(in)))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{
		``, `{`, `1.0`, `1e3`, `-0`, `9007199254740992`, `{"a":1,"a":2}`, `[{"a":1,"\u0061":2}]`, `"\ud800"`, "\"\xff\"", `{"\udfff":1}`,
		strings.Repeat("[", 10) + strings.Repeat("]", 10), `{} {}`,
	} {
		if got, err := canonicalJSON([]byte(in)); err == nil {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func FuzzCanonicalJSON(f *testing.F) {
	f.Add([]byte(`{"nonce":"AAAA","tee-pubkey":{"kty":"RSA","n":[1,-2,null]}}`))
	f.Add([]byte("\"\\u0041\\n\""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		once, err := canonicalJSON(raw)
		if err != nil {
			return
		}
		if again, err := canonicalJSON(once); err != nil || !bytes.Equal(again, once) {
			t.Fatalf("%q is not canonical: %q, %v", once, again, err)
		}
	})
}

// The key that signs composites is told apart from that of a TPM, and is a fact only
// where REPORTDATA commits to it.
func TestCommittedLeadKey(t *testing.T) {
	doc, spki := hclData(t, nil)
	text := strings.Replace(string(doc), "HCLAkPub", "AssizeLeadPub", 1)
	lead := verdict.CommittedKey{SPKI: spki, Via: "lead-key", Origin: verdict.OriginApplication}
	both := strings.Replace(string(doc), "HCLEkPub", "AssizeLeadPub", 1)
	for name, c := range map[string]struct {
		committed, runtime, convention string
		want                           []verdict.CommittedKey
	}{
		"the lead's key":         {text, text, "", []verdict.CommittedKey{lead}},
		"nobody commits to it":   {string(doc), text, "", nil},
		"in another case":        {strings.ToLower(text), strings.ToLower(text), "", nil},
		"an unevaluated one":     {text, text, raw64, nil},
		"two keys of that name":  {strings.Replace(text, "HCLEkPub", "AssizeLeadPub", 1), strings.Replace(text, "HCLEkPub", "AssizeLeadPub", 1), "", nil},
		"beside that of the TPM": {both, both, "", []verdict.CommittedKey{{SPKI: spki, Via: "runtime-data", Origin: verdict.OriginApplication}, {Via: "lead-key", Origin: verdict.OriginApplication}}},
	} {
		m := reporting(t, sha256Of([]byte(c.committed)))
		got := appraiseLeaf(t, m.withPolicy(t, c.convention), leaf(m.Quote(), nil, c.runtime), nil, m.Now).Facts.Keys
		if len(got) == 2 && len(c.want) == 2 && got[1].SPKI != spki && len(got[1].SPKI) == 64 {
			c.want[1].SPKI = got[1].SPKI
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
