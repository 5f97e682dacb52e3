// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/pki"
	simulated "github.com/assize/assize/attester/psa"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/verifiertest"
)

func TestFindings(t *testing.T) {
	const aff, warn, bad = verdict.TierAffirming, verdict.TierWarning, verdict.TierContraindicated
	good := claims{iid: 2, cfg: 2, exe: 2, hw: 2, rto: 2, sto: 2}
	but := func(c claims) claims {
		out := maps.Clone(good)
		maps.Copy(out, c)
		return out
	}
	nobody := claims{hw: 97, iid: 97, exe: 0, cfg: 0, rto: 0, sto: 0}
	lifecycle := func(n int) func(*device) { return func(d *device) { d.claims[d.form.lifecycle] = n } }
	parts := func(list ...any) func(*device) { return func(d *device) { d.claims[d.form.components] = list } }
	const noValues, mismatch = verdict.ReasonNoReferenceValues, verdict.ReasonMeasurementMismatch
	const partial, unsigned = verdict.ReasonPartialReference, verdict.ReasonUnsignedReference
	seen := map[string]bool{}
	for _, c := range []struct {
		name     string
		device   func(*device)
		library  func(*library)
		signers  string
		unsigned bool
		finding  string
		want     want
	}{
		{name: "all proven", finding: "genuine", want: want{aff, good, nil}},
		{name: "secured", device: lifecycle(0x3090), finding: "lifecycle-secured", want: want{aff, good, nil}},
		{name: "no key", library: func(l *library) { l.keys = nil }, finding: "no-key", want: want{bad, nobody, []string{verdict.ReasonNoCollateral}}},
		{name: "key of another instance", library: func(l *library) { l.keys[0].Environment.UEID[9] ^= 1 }, finding: "no-key",
			want: want{bad, nobody, []string{verdict.ReasonNoCollateral}}},
		{name: "key that nobody signed", library: func(l *library) { l.unsigned = "k" }, finding: "key-unsigned", want: want{bad, nobody, []string{unsigned}}},
		{name: "nothing signed, where that counts", library: func(l *library) { l.unsigned = "kv" }, unsigned: true, want: want{aff, good, []string{unsigned}}},
		{name: "debug outside", device: lifecycle(0x4020), finding: "lifecycle-other-debug", want: want{warn, but(claims{cfg: 32}), []string{verdict.ReasonConfiguration}}},
		{name: "debug", device: lifecycle(0x50af), finding: "lifecycle-debug",
			want: want{bad, but(claims{cfg: 96, rto: 96, sto: 96, exe: 0}), []string{verdict.ReasonDebug}}},
		{name: "unknown state", device: lifecycle(0xa7), finding: "lifecycle-unsecured",
			want: want{bad, but(claims{cfg: 96, rto: 96, sto: 96, exe: 0}), []string{verdict.ReasonConfiguration}}},
		{name: "assembly", device: lifecycle(0x1010), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "provisioning", device: lifecycle(0x2001), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "decommissioned", device: lifecycle(0x60ff), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "reserved", device: lifecycle(0xffff), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "no values", library: func(l *library) { l.values.Values = nil }, finding: "software-unknown", want: want{warn, but(claims{exe: 33}), []string{noValues}}},
		{name: "another component", device: parts(component("BL", 9)), finding: "software-mismatch", want: want{warn, but(claims{exe: 33}), []string{mismatch}}},
		{name: "one of another release", device: parts(component("BL", 1), component("PRoT", 9)), finding: "software-partial",
			want: want{warn, but(claims{exe: 33}), []string{mismatch, partial}}},
		{name: "one less", device: parts(component("BL", 1)), finding: "software-missing", want: want{warn, but(claims{exe: 33}), []string{partial}}},
		{name: "values that nobody signed", library: func(l *library) { l.unsigned = "v" }, finding: "software-unsigned",
			want: want{warn, but(claims{exe: 33}), []string{unsigned}}},
		{name: "another signer", device: parts(component("BL", 1, 5, fill(9, 32)), component("PRoT", 2), component("ARoT", 3)), finding: "software-signer",
			want: want{warn, but(claims{exe: 33}), []string{mismatch, partial}}},
		{name: "another signer, ignored", device: parts(component("BL", 1, 5, fill(9, 32)), component("PRoT", 2), component("ARoT", 3)),
			signers: SignersIgnore, want: want{aff, good, nil}},
		{name: "not measured", device: func(d *device) {
			legacy := newDevice(t, profileLegacy)
			*d = *legacy
			delete(d.claims, d.form.components)
			d.claims[d.form.none] = 1
		}, finding: "not-measured", want: want{warn, but(claims{exe: 33}), []string{noValues}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice(t, profileTFM)
			l := newLibrary(d)
			if c.device != nil {
				c.device(d)
			}
			if c.library != nil {
				c.library(l)
			}
			if c.signers == "" {
				c.signers = SignersCompare
			}
			deps := policyOf(t, c.signers, c.finding)
			if c.unsigned {
				deps.ExtraRoots = testRoot(t)
			}
			a := judge(t, newTest(t, deps), verifiers.Input{Evidence: d.token(t), Nonce: d.nonce(), References: l.index(t)})
			check(t, a, c.want)
			if seen[c.finding] = true; c.finding != "" && a.Vector[verdict.FileSystem] != verdict.ClaimApproved {
				t.Errorf("the finding %s was not made", c.finding)
			}
		})
	}
	policy := Policy()
	for _, f := range policy.Findings {
		if !seen[f.Name] {
			t.Errorf("no case reaches the finding %s", f.Name)
		}
	}
	if err := policy.Check(); err != nil {
		t.Error(err)
	}
	if (Parameters{SignerIDs: "none"}).Check() == nil {
		t.Error("unknown parameter is accepted")
	}
}

func TestFreshness(t *testing.T) {
	d := newDevice(t, profile2)
	x, v := newLibrary(d).index(t), newTest(t, verifiers.Deps{})
	for _, size := range []int{32, 48, 64} {
		d.claims[d.form.nonce] = fill(0xab, size)
		raw := d.token(t)
		for n, want := range map[int]verdict.Freshness{
			0: verdict.FreshnessNotEstablished, 8: verdict.FreshnessMismatch, 32: verdict.FreshnessMismatch, 48: verdict.FreshnessMismatch,
			64: verdict.FreshnessMismatch, size: verdict.FreshnessFresh,
		} {
			if n == size {
				want = verdict.FreshnessFresh
			}
			a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: fill(0xab, n), References: x})
			if a.Freshness != want || want == verdict.FreshnessFresh != (a.Status() == verdict.TierAffirming) {
				t.Errorf("nonce of %d bytes, %d in the token: %s, %s", n, size, a.Freshness, a.Status())
			}
		}
		a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: append(fill(0xab, size-1), 0), References: x})
		if a.Freshness != verdict.FreshnessMismatch || !slices.Equal(codes(a), []string{verdict.ReasonNonceMismatch}) {
			t.Error(a.Reasons)
		}
	}
}

// Every profile under every media type that names it, and no other.
func TestProfiles(t *testing.T) {
	cwt := func(profile string) evidence.MediaType {
		return evidence.MediaType{Base: typeCWT}.With("eat_profile", profile)
	}
	for _, profile := range []string{profileTFM, profile2, profileLegacy} {
		d := newDevice(t, profile)
		x, raw := newLibrary(d).index(t), d.token(t)
		for _, c := range []struct {
			media evidence.MediaType
			ok    bool
		}{
			{tokenType, true}, {tokenType.With("eat_profile", profile), true},
			{cwt(profileTFM), profile != profileLegacy}, {cwt(mediaLegacy), profile == profileLegacy}, {cwt(profile2), profile == profile2},
			{evidence.MediaType{Base: typeCWT}, false}, {cwt("tag:example,2026:x"), false}, {evidence.MediaType{Base: "application/cbor"}, false},
		} {
			a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{MediaType: c.media, Evidence: raw, Nonce: d.nonce(), References: x})
			if a.Status() == verdict.TierAffirming != c.ok || !c.ok && !slices.Equal(codes(a), []string{verdict.ReasonMalformed}) {
				t.Errorf("%s as %s: %s, %v", profile, c.media, a.Status(), a.Reasons)
			}
		}
	}
}

// Whatever is wrong with a token, it proves nothing.
func TestRefused(t *testing.T) {
	const malformed, unsupported, broken = verdict.ReasonMalformed, verdict.ReasonUnsupported, verdict.ReasonSignatureInvalid
	set := func(profile string, pick func(form) int64, v any) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			d := newDevice(t, profile)
			k := pick(d.form)
			if d.claims[k] = v; v == nil {
				delete(d.claims, k)
			}
			return d.token(t)
		}
	}
	nonce := func(f form) int64 { return f.nonce }
	seed := func(f form) int64 { return f.seed }
	reference := func(f form) int64 { return f.reference }
	parts := func(f form) int64 { return f.components }
	good := func(t *testing.T) []byte { return newDevice(t, profileTFM).token(t) }
	for _, c := range []struct {
		name string
		make func(*testing.T) []byte
		code string
		says string
	}{
		{"empty", func(*testing.T) []byte { return nil }, malformed, "no CBOR tag"},
		{"too large", func(*testing.T) []byte { return make([]byte, 32<<10+1) }, verdict.ReasonTooLarge, "at most"},
		{"COSE_Mac0", func(t *testing.T) []byte { return append([]byte{0xd1}, good(t)[1:]...) }, malformed, "CBOR tag 17"},
		{"no tag", func(t *testing.T) []byte { return good(t)[1:] }, malformed, "no CBOR tag"},
		{"trailing byte", func(t *testing.T) []byte { return append(good(t), 0) }, malformed, "extraneous"},
		{"unknown profile", set("tag:example,2026:x", nonce, fill(1, 32)), unsupported, "unknown profile"},
		{"claims of both forms", func(t *testing.T) []byte {
			d := newDevice(t, profileLegacy)
			d.claims[265] = profileTFM
			return d.token(t)
		}, malformed, "is missing"},
		{"legacy name, new form", func(t *testing.T) []byte {
			d := newDevice(t, profileTFM)
			d.claims[265] = profileLegacy
			return d.token(t)
		}, unsupported, "unknown profile"},
		{"new form without a profile", set(profileTFM, func(f form) int64 { return f.profile }, nil), malformed, "is missing"},
		{"no nonce", set(profileTFM, nonce, nil), malformed, "is missing"},
		{"nonce of 16 bytes", set(profileTFM, nonce, fill(1, 16)), malformed, "16 bytes"},
		{"two nonces", set(profileTFM, nonce, []any{fill(1, 32), fill(2, 32)}), malformed, "major type"},
		{"no client", set(profileTFM, func(f form) int64 { return f.client }, nil), malformed, "is missing"},
		{"client of 33 bits", set(profileTFM, func(f form) int64 { return f.client }, 1<<33), malformed, "client id"},
		{"no instance", set(profileTFM, func(f form) int64 { return f.instance }, nil), malformed, "is missing"},
		{"instance of another type", set(profileTFM, func(f form) int64 { return f.instance }, fill(3, 33)), malformed, "UEID of type"},
		{"no implementation", set(profileTFM, func(f form) int64 { return f.implementation }, nil), malformed, "is missing"},
		{"no lifecycle", set(profileTFM, func(f form) int64 { return f.lifecycle }, nil), malformed, "is missing"},
		{"boot seed of 7 bytes", set(profileTFM, seed, fill(1, 7)), malformed, "boot seed"},
		{"boot seed of 8 bytes in profile 2", set(profile2, seed, fill(1, 8)), malformed, "boot seed"},
		{"legacy without a boot seed", set(profileLegacy, seed, nil), malformed, "boot seed"},
		{"certification reference", set(profileTFM, reference, "1234567890123"), malformed, "article number"},
		{"certification reference with more", set(profileTFM, reference, "1234567890123-12345\n"), malformed, "article number"},
		{"empty service", set(profileTFM, func(f form) int64 { return f.service }, ""), malformed, "0 bytes"},
		{"no components", set(profileTFM, parts, nil), malformed, "is missing"},
		{"legacy without components", set(profileLegacy, parts, nil), malformed, "is missing"},
		{"legacy with and without", set(profileLegacy, func(f form) int64 { return f.none }, 1), malformed, "beside 3"},
		{"legacy with a wrong flag", func(t *testing.T) []byte {
			d := newDevice(t, profileLegacy)
			delete(d.claims, d.form.components)
			d.claims[d.form.none] = 0
			return d.token(t)
		}, malformed, "and is 0"},
		{"component by MD5", set(profileTFM, parts, []any{component("BL", 1, 6, "MD5")}), malformed, "MD5"},
		{"component with another member", set(profileTFM, parts, []any{component("BL", 1, 7, "x")}), malformed, "unknown members"},
		{"signed by another key", func(t *testing.T) []byte {
			d := newDevice(t, profileTFM)
			d.iak = key(t, "another", elliptic.P256())
			return d.token(t)
		}, broken, "under none of the 1 keys"},
		{"signed on another curve", func(t *testing.T) []byte {
			d := newDevice(t, profileTFM)
			d.iak = key(t, "another", elliptic.P384())
			return d.token(t)
		}, broken, "under none of the 1 keys"},
		{"claims twice", func(t *testing.T) []byte {
			d := newDevice(t, profileTFM)
			p := encode(t, d.claims)
			return sign(t, d.iak, append([]byte{p[0] + 1}, append([]byte{0x19, 0x09, 0x5b, 0x19, 0x30, 0x00}, p[1:]...)...))
		}, malformed, "duplicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice(t, profileTFM)
			a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: c.make(t), Nonce: d.nonce(), References: newLibrary(d).index(t)})
			check(t, a, want{verdict.TierContraindicated, claims{hw: 99, iid: 99, exe: 99, cfg: 99}, []string{c.code}})
			if !strings.Contains(a.Reasons[0].Detail, c.says) {
				t.Errorf("%q, want %q", a.Reasons[0].Detail, c.says)
			}
		})
	}
}

// A kid outside of the signature is read and proves nothing; nothing else may be
// there.
func TestUnprotected(t *testing.T) {
	d := newDevice(t, profileTFM)
	x := newLibrary(d).index(t)
	for k, want := range map[int64]verdict.Tier{4: verdict.TierAffirming, 33: verdict.TierContraindicated} {
		var parts []any
		if err := cbor.Unmarshal(d.token(t)[1:], &parts); err != nil {
			t.Fatal(err)
		}
		parts[1] = map[int64]any{k: []byte("key")}
		raw := encode(t, cbor.Tag{Number: 18, Content: parts})
		if a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: raw, Nonce: d.nonce(), References: x}); a.Status() != want {
			t.Errorf("header %d: %s, %v", k, a.Status(), a.Reasons)
		}
	}
}

func TestSimulator(t *testing.T) {
	const aff, warn, bad = verdict.TierAffirming, verdict.TierWarning, verdict.TierContraindicated
	for _, c := range []struct {
		name   string
		change func(*simulated.Options)
		want   verdict.Tier
		codes  []string
	}{
		{"honest", func(*simulated.Options) {}, aff, nil},
		{"profile 2", func(o *simulated.Options) { o.Profile = simulated.Profile2 }, aff, nil},
		{"legacy", func(o *simulated.Options) { o.Profile = simulated.Legacy }, aff, nil},
		{"P-384", func(o *simulated.Options) { o.Curve = elliptic.P384() }, aff, nil},
		{"debug", func(o *simulated.Options) { o.Debug = true }, bad, []string{verdict.ReasonDebug}},
		{"outdated", func(o *simulated.Options) { o.OutdatedTCB = true }, warn, []string{verdict.ReasonMeasurementMismatch, verdict.ReasonPartialReference}},
		{"wrong signer", func(o *simulated.Options) { o.WrongSigner = true }, bad, []string{verdict.ReasonSignatureInvalid}},
		{"measurement", func(o *simulated.Options) { o.Measurement = true }, warn, []string{verdict.ReasonMeasurementMismatch, verdict.ReasonPartialReference}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := simulated.Options{Device: pki.NewSeed("mcu"), Now: now, Model: "board"}
			c.change(&o)
			d, err := simulated.New(o)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := d.Evidence(fill(3, 32))
			if err != nil {
				t.Fatal(err)
			}
			e, k, err := refvalues.PSA(d.References())
			if err != nil {
				t.Fatal(err)
			}
			l := &library{values: e, keys: []refvalues.KeyEntry{k}, until: now.AddDate(1, 0, 0)}
			check(t, judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: raw, Nonce: fill(3, 32), References: l.index(t)}), want{tier: c.want, codes: c.codes})
		})
	}
}

func TestFacts(t *testing.T) {
	d := newDevice(t, profileTFM)
	a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: d.token(t), Nonce: d.nonce(), References: newLibrary(d).index(t)})
	if len(a.Facts.Device) != 1 || a.Facts.Device[0] != "psa-ueid:01"+strings.Repeat("2d", 32) || len(a.Facts.SignerSPKI) != 64 || len(a.Facts.Environments) != 1 {
		t.Errorf("%+v", a.Facts)
	}
	if a.Claims["client_id"] != -3 || a.Claims["boot_seed"] == nil || a.Claims["certification_reference"] != "1234567890123-12345" {
		t.Errorf("%v", a.Claims)
	}
}

func TestKeyValidity(t *testing.T) {
	d := newDevice(t, profileTFM)
	l := newLibrary(d)
	v, in := newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: d.token(t), Nonce: d.nonce(), References: l.index(t)}
	for at, want := range map[time.Time]verdict.Tier{
		now: verdict.TierAffirming, l.until: verdict.TierAffirming,
		l.until.Add(time.Second): verdict.TierContraindicated, now.Add(-2 * time.Hour): verdict.TierContraindicated,
	} {
		in.Time = at
		if a := judge(t, v, in); a.Status() != want {
			t.Errorf("at %s: %s, %v", at, a.Status(), a.Reasons)
		}
	}
}

// withKey gives every input that has no documents those with the key alone: the
// suite knows no schemes whose trust anchors are in documents.
type withKey struct {
	verifiers.Verifier
	keys *corim.Index
}

func (w withKey) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	if in.References == nil || len(in.References.Documents()) == 0 {
		in.References = w.keys
	}
	return w.Verifier.Appraise(ctx, in)
}

func TestSuite(t *testing.T) {
	d := newDevice(t, profileTFM)
	l := newLibrary(d)
	l.values.Values = nil
	keys := l.index(t)
	scheme := Scheme()
	scheme.New = func(d verifiers.Deps) (verifiers.Verifier, error) {
		v, err := newVerifier(d)
		return withKey{v, keys}, err
	}
	verifiertest.Run(t, scheme, verifiertest.Fixture{
		Name: "token", MediaType: tokenType, Evidence: d.token(t), Nonce: d.nonce(), Time: now, Before: now.AddDate(0, 0, -1), Want: verdict.TierWarning, FlipEvery: 1,
	})
}

func FuzzAppraise(f *testing.F) {
	d := newDevice(f, profileTFM)
	x, v := newLibrary(d).index(f), newTest(f, verifiers.Deps{})
	good := d.token(f)
	f.Add(good)
	other := newDevice(f, profileLegacy)
	other.iak = key(f, "other", elliptic.P256())
	f.Add(other.token(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: d.nonce(), References: x})
		if a.Status() == verdict.TierAffirming && !bytes.Equal(raw, good) {
			tok, err := parse(v.decoder, raw)
			if err != nil || !bytes.Contains(good, tok.message.Payload) {
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

// BenchmarkAppraise compares a whole appraisal with the one signature check. Cold
// makes a new verifier each time. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	d := newDevice(b, profileTFM)
	in := verifiers.Input{MediaType: tokenType, Evidence: d.token(b), Nonce: d.nonce(), Time: now, References: newLibrary(d).index(b)}
	v := newTest(b, verifiers.Deps{})
	tok, err := parse(v.decoder, in.Evidence)
	if err != nil {
		b.Fatal(err)
	}
	for name, cold := range map[string]bool{"cold": true, "warm": false} {
		b.Run(name, func(b *testing.B) {
			start := time.Now()
			for range 200 {
				if tok.message.Verify(&d.iak.PublicKey) != nil {
					b.Fatal("bare check fails")
				}
			}
			bare := float64(time.Since(start).Nanoseconds()) / 200
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if cold {
					v = newTest(b, verifiers.Deps{})
				}
				if _, err := v.Appraise(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/bare, "x-bare")
		})
	}
}
