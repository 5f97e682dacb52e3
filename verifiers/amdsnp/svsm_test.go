// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"

	sim "github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// guidOther is that of the UEFI memory services of an SVSM.
var guidOther = guid{0x59, 0x3a, 0x45, 0xa4, 0x1b, 0x9e, 0x87, 0x47, 0xa0, 0x33, 0x19, 0x86, 0xd6, 0xad, 0xbe, 0x55}

// endorsementKey is the key of the vTPM of these tests, slow to derive.
var endorsementKey = sync.OnceValue(func() *rsa.PublicKey {
	key, err := pki.NewSeed("svsm").RSA(2048)
	if err != nil {
		panic(err)
	}
	return &key.PublicKey
})

// publicArea is the manifest of a vTPM: the template of the TCG EK credential
// profile with a key.
func publicArea(change func(*tpm2.TPMTPublic)) []byte {
	p := tpm2.RSAEKTemplate
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: endorsementKey().N.Bytes()})
	if change != nil {
		change(&p)
	}
	return tpm2.Marshal(p)
}

// service is one entry of a table.
type service struct {
	id      guid
	content []byte
}

// manifestsOf is a table of manifests whose contents follow one another.
func manifestsOf(list ...service) []byte {
	head := manifestHead + manifestEntry*len(list)
	out := append(slices.Clone(guidManifests[:]), make([]byte, 8)...)
	at := head
	for _, s := range list {
		out = append(out, s.id[:]...)
		out = binary.LittleEndian.AppendUint32(out, uint32(at))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(s.content)))
		at += len(s.content)
	}
	for _, s := range list {
		out = append(out, s.content...)
	}
	binary.LittleEndian.PutUint32(out[16:], uint32(len(out)))
	binary.LittleEndian.PutUint32(out[20:], uint32(len(list)))
	return out
}

// put is a table with one number changed.
func put(table []byte, at int, n uint32) []byte {
	out := slices.Clone(table)
	binary.LittleEndian.PutUint32(out[at:], n)
	return out
}

// boundTo is the REPORT_DATA of a service module.
func boundTo(nonce, services []byte) []byte {
	d := sha512.Sum512(append(slices.Clone(nonce), services...))
	return d[:]
}

// serviceReport is a TSM report with REPORT_DATA for bound, and the manifest shown.
func serviceReport(tb testing.TB, g *guest, provider string, bound, shown []byte) verifiers.Input {
	tb.Helper()
	whole := must(g.Evidence(boundTo(challengeOfTests, bound)))
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]string{"provider": "sev_guest\n", "outblob": b64(whole[:reportSize]), "auxblob": b64(whole[reportSize:]), "service_provider": provider}
	if shown != nil {
		m["manifestblob"] = b64(shown)
	}
	in := g.input
	in.MediaType = evidence.MediaType{Base: tsm.TypeJSON, Params: map[string]string{"provider": tsmProvider}}
	in.Evidence = must(json.Marshal(m))
	return in
}

func endorsementDigest() string {
	d := sha256.Sum256(must(x509.MarshalPKIXPublicKey(endorsementKey())))
	return hex.EncodeToString(d[:])
}

// TestService holds what a manifest says once REPORT_DATA commits to it.
func TestService(t *testing.T) {
	ek := publicArea(nil)
	other := service{guidOther, []byte("uefi")}
	vtpm := "c476f1eb-0123-45a5-9641-b4e7dde5bfe3"
	uefi := "a4453a59-9e1b-4787-a033-1986d6adbe55"
	g := newGuest(t, nil)
	v := newTest(t, g.deps)
	for _, c := range []struct {
		name     string
		manifest []byte
		services []any
		key      bool
	}{
		{"the vTPM alone", ek, []any{vtpm}, true},
		{"a table with the vTPM", manifestsOf(service{guidVTPM, ek}), []any{vtpm}, true},
		{"a table of two", manifestsOf(other, service{guidVTPM, ek}), []any{uefi, vtpm}, true},
		{"a table without vTPM", manifestsOf(other), []any{uefi}, false},
		{"an empty manifest of another service", manifestsOf(service{guidOther, nil}, service{guidVTPM, ek}), []any{uefi, vtpm}, true},
	} {
		in := serviceReport(t, g, serviceProvider, c.manifest, c.manifest)
		in.References = g.values(t)
		a := appraise(t, v, in)
		if a.Freshness != verdict.FreshnessFresh || !bytes.Equal(a.NonceSeen, challengeOfTests) || a.Vector[verdict.Executables] != verdict.ClaimApprovedBoot {
			t.Errorf("%s: %s %v %v", c.name, a.Freshness, a.Vector, a.Reasons)
			continue
		}
		said, _ := a.Claims["service"].(map[string]any)
		if list, _ := said["services"].([]any); !slices.Equal(list, c.services) {
			t.Errorf("%s: services %v, want %v", c.name, list, c.services)
		}
		want := []verdict.CommittedKey{{SPKI: endorsementDigest(), Via: "service-manifest", Origin: verdict.OriginApplication}}
		if !c.key {
			want = nil
		}
		if !slices.Equal(a.Facts.Keys, want) {
			t.Errorf("%s: keys %v, want %v", c.name, a.Facts.Keys, want)
		}
		if a.Facts.ReportData != hex.EncodeToString(boundTo(challengeOfTests, c.manifest)) {
			t.Errorf("%s: report data %s", c.name, a.Facts.ReportData)
		}
	}
}

// TestServiceBinding: neither another challenge nor another manifest is fresh, and
// without a challenge the manifest is not believed.
func TestServiceBinding(t *testing.T) {
	ek := publicArea(nil)
	another := publicArea(func(p *tpm2.TPMTPublic) { p.AuthPolicy = tpm2.TPM2BDigest{} })
	g := newGuest(t, nil)
	v := newTest(t, g.deps)
	for _, c := range []struct {
		name  string
		in    verifiers.Input
		nonce []byte
		want  verdict.Freshness
	}{
		{"wrong challenge", serviceReport(t, g, serviceProvider, ek, ek), bytes.Repeat([]byte{0x43}, 64), verdict.FreshnessMismatch},
		{"challenge with a byte more", serviceReport(t, g, serviceProvider, ek, ek), append(slices.Clone(challengeOfTests), ek[0]), verdict.FreshnessMismatch},
		{"beginning of the challenge", serviceReport(t, g, serviceProvider, ek, ek), challengeOfTests[:63], verdict.FreshnessMismatch},
		// Where the challenge ends and the manifest begins is not for the sender to say.
		{"challenge that ends in the manifest", serviceReport(t, g, serviceProvider, ek, ek[1:]), append(slices.Clone(challengeOfTests), ek[0]), verdict.FreshnessMismatch},
		{"manifest that begins in the challenge", serviceReport(t, g, serviceProvider, ek, append([]byte{challengeOfTests[63]}, ek...)), challengeOfTests[:63], verdict.FreshnessMismatch},
		{"wrong manifest", serviceReport(t, g, serviceProvider, ek, another), challengeOfTests, verdict.FreshnessMismatch},
		{"manifest with a byte more", serviceReport(t, g, serviceProvider, ek, append(slices.Clone(ek), 0)), challengeOfTests, verdict.FreshnessMismatch},
		{"plain report with a manifest", func() verifiers.Input {
			in := serviceReport(t, g, serviceProvider, ek, ek)
			whole := must(g.Evidence(challengeOfTests))
			var m map[string]string
			if err := json.Unmarshal(in.Evidence, &m); err != nil {
				t.Fatal(err)
			}
			m["outblob"] = base64.RawURLEncoding.EncodeToString(whole[:reportSize])
			in.Evidence = must(json.Marshal(m))
			return in
		}(), challengeOfTests, verdict.FreshnessMismatch},
		{"no challenge", serviceReport(t, g, serviceProvider, ek, ek), nil, verdict.FreshnessNotEstablished},
		{"empty challenge", serviceReport(t, g, serviceProvider, ek, ek), []byte{}, verdict.FreshnessNotEstablished},
	} {
		c.in.Nonce, c.in.References = c.nonce, g.values(t)
		a := appraise(t, v, c.in)
		if a.Freshness != c.want || a.Status() == verdict.TierAffirming || len(a.Facts.Keys) != 0 || a.Claims["service"] != nil || len(a.Reasons) == 0 || a.NonceSeen != nil {
			t.Errorf("%s: %s, keys %v, service %v: %v", c.name, a.Freshness, a.Facts.Keys, a.Claims["service"], a.Reasons)
		}
		if c.want == verdict.FreshnessMismatch && a.Status() != verdict.TierContraindicated {
			t.Errorf("%s: %s", c.name, a.Status())
		}
	}
}

// badManifests are manifests that say nothing that can be relied on.
func badManifests() map[string][]byte {
	ek := publicArea(nil)
	vtpm, other := service{guidVTPM, ek}, service{guidOther, []byte("uefi")}
	one, two := manifestsOf(vtpm), manifestsOf(other, vtpm)
	const first, second = manifestHead, manifestHead + manifestEntry
	return map[string][]byte{
		"nothing known":             []byte("no manifest"),
		"shorter key":               ek[:len(ek)-1],
		"byte behind the key":       append(slices.Clone(ek), 0),
		"head alone":                one[:manifestHead],
		"half a head":               one[:manifestHead-1],
		"truncated":                 one[:len(one)-1],
		"byte behind the table":     append(slices.Clone(one), 0),
		"size above":                put(one, 16, uint32(len(one)+1)),
		"size below":                put(one, 16, uint32(len(one)-1)),
		"huge size":                 put(one, 16, 1<<32-1),
		"more entries than there":   put(manifestsOf(other), 20, 3),
		"huge count":                put(one, 20, 1<<32-1),
		"count that wraps":          put(one, 20, 0x0aaaaaab), // times 24 is 8 in 32 bits
		"too many services":         manifestsOf(many(maxServices + 1)...),
		"one service twice":         manifestsOf(vtpm, vtpm),
		"another service twice":     manifestsOf(other, other, vtpm),
		"entry over the head":       put(one, first+16, 0),
		"entry over its own entry":  put(one, first+16, manifestHead+manifestEntry-1),
		"entry behind the end":      put(one, first+16, uint32(len(one))),
		"longer than the table":     put(one, first+20, uint32(len(ek)+1)),
		"offset that wraps":         put(one, first+16, 1<<32-1),
		"length that wraps":         put(one, first+20, 1<<32-1),
		"shorter than its key":      put(one, first+20, uint32(len(ek)-1)),
		"entries over one another":  put(put(two, first+16, uint32(manifestHead+2*manifestEntry+8)), first+20, 8),
		"both at one place":         put(put(two, first+16, uint32(manifestHead+2*manifestEntry+4)), first+20, uint32(len(ek))),
		"vTPM at the other's place": put(two, second+16, uint32(manifestHead+2*manifestEntry)),
		"key that signs": publicArea(func(p *tpm2.TPMTPublic) {
			p.ObjectAttributes.SignEncrypt, p.ObjectAttributes.Decrypt = true, false
			p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{KeyBits: 2048, Scheme: tpm2.TPMTRSAScheme{
				Scheme: tpm2.TPMAlgRSASSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256})}})
		}),
		"key that signs, too":     publicArea(func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SignEncrypt = true }),
		"key that may leave":      publicArea(func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false }),
		"key for anything":        publicArea(func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false }),
		"key that cannot decrypt": publicArea(func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Decrypt = false }),
		"short key": publicArea(func(p *tpm2.TPMTPublic) {
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: bytes.Repeat([]byte{0xff}, 128)})
		}),
		"key of nothing": publicArea(func(p *tpm2.TPMTPublic) {
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
		}),
		"key on a curve": tpm2.Marshal(tpm2.ECCEKTemplate),
	}
}

func many(n int) []service {
	out := make([]service, n)
	for i := range out {
		out[i].id[0] = byte(i)
	}
	return out
}

// TestBadManifest: what REPORT_DATA commits to and cannot be read proves nothing.
func TestBadManifest(t *testing.T) {
	g := newGuest(t, nil)
	v := newTest(t, g.deps)
	for name, raw := range badManifests() {
		if s, err := readManifest(raw); err == nil {
			t.Errorf("%s: read as %+v", name, s)
			continue
		}
		in := serviceReport(t, g, serviceProvider, raw, raw)
		in.References = g.values(t)
		a := appraise(t, v, in)
		if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || !hasReason(a, verdict.ReasonMalformed) || len(a.Facts.Keys) != 0 || a.Claims != nil {
			t.Errorf("%s: %v %v %v", name, a.Vector, a.Reasons, a.Facts)
		}
	}
	if s, err := readManifest(manifestsOf(many(maxServices)...)); err != nil || len(s.names) != maxServices || s.endorsement != "" {
		t.Errorf("as many services as there may be: %v %v", s, err)
	}
}

// TestServiceContainer: a service module has a name and a manifest.
func TestServiceContainer(t *testing.T) {
	ek := publicArea(nil)
	g := newGuest(t, nil)
	v := newTest(t, g.deps)
	large := make([]byte, maxManifest+1)
	for _, c := range []struct {
		name  string
		in    verifiers.Input
		words string
	}{
		{"no manifest", serviceReport(t, g, serviceProvider, nil, nil), "manifest has 0 bytes"},
		{"empty manifest", serviceReport(t, g, serviceProvider, nil, []byte{}), "manifest"},
		{"unknown provider", serviceReport(t, g, "paravisor", ek, ek), "service provider"},
		{"provider in another case", serviceReport(t, g, "SVSM", ek, ek), "service provider"},
		{"manifest without its provider", serviceReport(t, g, "", ek, ek), "name of 0 bytes"},
		{"manifest above the limit", serviceReport(t, g, serviceProvider, large, large), "expected 1 to 65536"},
	} {
		a := appraise(t, v, c.in)
		if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || len(a.Reasons) != 1 || !strings.Contains(a.Reasons[0].Detail, c.words) || len(a.Facts.Keys) != 0 {
			t.Errorf("%s: %v %v", c.name, a.Vector, a.Reasons)
		}
	}
}

// TestBeneathTheGuest: whatever level is expected of plain reports, what a guest
// itself may ask for commits to no service module and to no paravisor.
func TestBeneathTheGuest(t *testing.T) {
	ek := publicArea(nil)
	policy, err := policyDefaults().Parse([]byte("scheme: amd-snp\nfindings: {vmpl-unexpected: {}}\nparameters: {vmpl: 2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for level := range uint32(4) {
		g := newGuest(t, func(o *sim.Options) { o.VMPL = level })
		g.deps.Policies = map[string]*appraisal.Policy{Name: policy}
		v := newTest(t, g.deps)
		a := appraise(t, v, serviceReport(t, g, serviceProvider, ek, ek))
		if level == 0 {
			if a.Freshness != verdict.FreshnessFresh || len(a.Facts.Keys) != 1 {
				t.Errorf("VMPL 0: %s %v", a.Freshness, a.Reasons)
			}
			continue
		}
		if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || !hasReason(a, verdict.ReasonBindingBroken) || len(a.Facts.Keys) != 0 {
			t.Errorf("VMPL %d: %v %v", level, a.Vector, a.Reasons)
		}
		if plain := appraise(t, v, g.input); level == 2 && plain.Vector[verdict.Configuration] != verdict.ClaimApproved {
			t.Errorf("VMPL 2, plain: %v %v", plain.Vector, plain.Reasons)
		}
	}
}

// FuzzManifest: no manifest panics, and what is read as the key of a vTPM is one.
func FuzzManifest(f *testing.F) {
	ek := publicArea(nil)
	f.Add(ek)
	f.Add(manifestsOf(service{guidOther, []byte("uefi")}, service{guidVTPM, ek}))
	for _, raw := range badManifests() {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > maxManifest {
			return
		}
		s, err := readManifest(raw)
		if err != nil {
			return
		}
		if len(s.names) > maxServices || s.endorsement != "" && len(s.endorsement) != 64 {
			t.Fatalf("%+v", s)
		}
		if has := slices.Contains(s.names, any(guidVTPM.mixed())); has != (s.endorsement != "") {
			t.Fatalf("services %v, key %q", s.names, s.endorsement)
		}
	})
}
