// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"crypto/x509"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/measuredboot"
	"github.com/assize/assize/verifiers/verifiertest"
)

func TestConformance(t *testing.T) {
	var fixtures []verifiertest.Fixture
	for _, c := range []struct {
		name string
		key  sim.KeyType
		mt   evidence.MediaType
	}{{"P-256 CBOR", sim.P256, asCBOR}, {"RSA CBOR", sim.RSA2048, asCBOR}, {"P-256 JSON", sim.P256, asJSON}} {
		d := device(t, func(o *sim.Options) { o.Key = c.key })
		raw := leafOf(t, d)
		if c.mt.Base == typeJSON {
			var err error
			if raw, err = d.EvidenceJSON(nonce()); err != nil {
				t.Fatal(err)
			}
		}
		fixtures = append(fixtures, verifiertest.Fixture{
			Name: c.name, MediaType: c.mt, Evidence: raw, Nonce: nonce(), Time: now, Before: now.AddDate(-2, 0, 0),
			Deps: deps(t, d), Want: verdict.TierWarning, // the suite gives no reference values
		})
	}
	verifiertest.Run(t, Scheme(), fixtures...)
}

func TestScheme(t *testing.T) {
	s := Scheme()
	if _, err := verifiers.NewSet(s); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(s.Required, verdict.Hardware) {
		t.Error("a TPM alone says nothing about hardware, so it cannot be required")
	}
	if err := defaults().Check(); err != nil {
		t.Error(err)
	}
	if err := defaults().Parameters.(parameters).Check(); err != nil {
		t.Error(err)
	}
}

// An honest TPM with a certificate, and reference values for what it booted.
func TestHonest(t *testing.T) {
	for name, change := range map[string]func(*sim.Options){
		"P-256": nil, "RSA": func(o *sim.Options) { o.Key = sim.RSA2048 },
		"more events": func(o *sim.Options) {
			o.Events = []sim.Event{{PCR: 15, Type: sim.EvIPL, Data: []byte("gpu/0")}, {PCR: 10, Type: sim.EvIPL, Data: []byte("x")}}
		},
	} {
		d := device(t, change)
		a := judge(t, newTest(t, deps(t, d)), verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce(), References: indexOf(t, entry(t, d))})
		t.Run(name, func(t *testing.T) {
			wants(t, a, 2, 3, 2)
			if a.Status() != verdict.TierAffirming || a.Freshness != verdict.FreshnessFresh || !bytes.Equal(a.NonceSeen, nonce()) || a.PolicyID != Name {
				t.Errorf("%s %s %x %q", a.Status(), a.Freshness, a.NonceSeen, a.PolicyID)
			}
			said := a.Claims["event_log"].(map[string]any)
			if said["secure_boot"] != true || said["kernel_command_line"] != "/vmlinuz root=/dev/sda2 ro" || len(said["boot_loader"].([]any)) != 3 {
				t.Errorf("%v", said)
			}
			ak := a.Claims["ak"].(map[string]any)
			if ak["hierarchy"] != "endorsement" || !slices.Equal(ak["vouched_for_by"].([]any), []any{"certificate"}) {
				t.Errorf("%v", ak)
			}
			if proof := a.Claims["reference_values"].(map[string]any)["documents"].(map[string]any); len(proof["executables"].([]any)) != 1 || len(proof["configuration"].([]any)) != 1 {
				t.Errorf("%v", proof)
			}
			facts(t, a, d)
		})
	}
}

func facts(t *testing.T, a verdict.Appraisal, d *sim.Device) {
	t.Helper()
	want := measuredboot.Boot{PCRs: d.PCRs()}.Registers()
	if !maps.Equal(a.Facts.Registers, want) || len(want) != 24 || want["pcr7"] == "" {
		t.Errorf("registers %v", a.Facts.Registers)
	}
	spki := hexSum(d.AKCertificate().RawSubjectPublicKeyInfo)
	if a.Facts.SignerSPKI != spki || !slices.Equal(a.Facts.Device, []string{"tpm-ak:" + spki}) || len(a.Facts.Environments) != 1 || a.Facts.Keys != nil {
		t.Errorf("%+v", a.Facts)
	}
	if len(a.Facts.Measured) < 20 {
		t.Errorf("%d measured events", len(a.Facts.Measured))
	}
}

// Faults of the simulator, one by one.
func TestFaults(t *testing.T) {
	good := device(t, nil)
	x := indexOf(t, entry(t, good))
	for _, c := range []struct {
		name                                 string
		change                               func(*sim.Options)
		identity, executables, configuration verdict.Claim
		reasons                              []string
	}{
		{"measurement", func(o *sim.Options) { o.Measurement = true }, 2, 96, 36,
			[]string{"measurement-mismatch executables: PCR9", "reference-values-partial PCR0, PCR2, PCR4, PCR8", "reference-values-partial configuration: PCR7, PCR14"}},
		{"log tampered", func(o *sim.Options) { o.LogTampered = true }, 2, 3, 32, []string{"event-log-mismatch pcr8"}},
		{"wrong signer", func(o *sim.Options) { o.WrongSigner = true }, 99, 99, 99, []string{"signature-invalid"}},
		{"expired", func(o *sim.Options) { o.Expired = true }, 99, 99, 99, []string{"expired"}},
		{"revoked", func(o *sim.Options) { o.Revoked = true }, 96, 33, 36, []string{"revoked certificate 0"}},
		{"another image", func(o *sim.Options) { o.Image = "other" }, 2, 96, 36, []string{"measurement-mismatch PCR4", "measurement-mismatch PCR9"}},
		{"a register less", func(o *sim.Options) { o.PCRs = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14} }, 2, 33, 36,
			[]string{"claim-not-asserted executables: the quote leaves out PCR 9", "reference-values-partial"}},
		{"without secure boot's register", func(o *sim.Options) { o.PCRs = []int{0, 2, 4, 8, 9, 11, 12, 13, 14} }, 2, 33, 36,
			[]string{"claim-not-asserted configuration: the quote leaves out PCR 7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := device(t, c.change)
			a := judge(t, newTest(t, deps(t, d)), verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce(), References: x})
			wants(t, a, c.identity, c.executables, c.configuration, c.reasons...)
			if c.identity == 99 && (a.Facts.SignerSPKI != "" || a.Claims != nil || a.NonceSeen != nil) {
				t.Errorf("contents of what proves nothing are repeated: %+v", a)
			}
			if a.Claims["event_log"] == "not used" && (a.Facts.Measured != nil || c.name != "log tampered") {
				t.Errorf("%s: something of the log is used", c.name)
			}
		})
	}
}

// Who vouches for a key, and what it costs if nobody does.
func TestVouching(t *testing.T) {
	d := device(t, nil)
	all := deps(t, d)
	x := indexOf(t, entry(t, d))
	root := indent(string(pki.PEM(d.Root())))
	bare := edited(t, leafOf(t, d), func(m map[string]any) { delete(m, "ak_certificate") })
	alone := edited(t, leafOf(t, d), func(m map[string]any) { m["ak_certificate"] = m["ak_certificate"].([]any)[:1] })
	only := verifiers.Deps{Endorsements: all.Endorsements}
	for _, c := range []struct {
		name                                 string
		deps                                 verifiers.Deps
		raw                                  []byte
		x                                    *corim.Index
		identity, executables, configuration verdict.Claim
		reasons                              []string
	}{
		{"by a root of the policy", withPolicy(t, only, "parameters:\n  ak_roots:\n  - |\n"+root), leafOf(t, d), x, 2, 3, 2, nil},
		{"endorsements are no anchors", only, leafOf(t, d), x, 32, 33, 36, []string{"unknown-root Assize Simulated TPM AK CA"}},
		{"but help to find one", all, alone, x, 2, 3, 2, nil},
		{"nobody helps", verifiers.Deps{ExtraRoots: all.ExtraRoots}, alone, x, 32, 33, 36, []string{"unknown-root"}},
		{"no certificate", all, bare, x, 32, 33, 36, []string{"key-not-vouched-for"}},
		{"no certificate, a CPU is relied on", withPolicy(t, all, "findings: {key-not-vouched-for: {instance-identity: 2}}"), bare, x, 2, 3, 2, []string{"key-not-vouched-for"}},
		{"a document names the key", all, bare, keyIndex(t, d, nil), 2, 3, 2, nil},
		{"a document, and a certificate of nobody", only, leafOf(t, d), keyIndex(t, d, nil), 2, 3, 2, nil},
		{"a document and a certificate", all, leafOf(t, d), keyIndex(t, d, nil), 2, 3, 2, nil},
		{"a document names another key", all, bare, keyIndex(t, device(t, func(o *sim.Options) { o.Device = pki.NewSeed("other") }), nil), 32, 33, 36, []string{"key-not-vouched-for"}},
		{"a document that nobody signed", all, bare, unsignedKeyIndex(t, d), 32, 33, 36, []string{"key-not-vouched-for"}},
		{"a document with a condition", all, bare, keyIndex(t, d, func(k *corim.KeyTriple) { k.Element = corim.NumberKey(1) }), 32, 33, 36, []string{"key-not-vouched-for"}},
		{"a document with an author", all, bare, keyIndex(t, d, func(k *corim.KeyTriple) { k.AuthorizedBy = k.Keys }), 32, 33, 36, []string{"key-not-vouched-for"}},
		{"a document about TDX", all, bare, keyIndex(t, d, func(k *corim.KeyTriple) {
			k.Environment.Class.ID = corim.TaggedBytes(corim.TagBytes, []byte(refvalues.ClassTDX))
		}), 32, 33, 36, []string{"key-not-vouched-for"}},
		{"no revocation list", verifiers.Deps{ExtraRoots: all.ExtraRoots}, leafOf(t, d), x, 32, 3, 2, []string{"revocation-unknown Assize Simulated TPM AK CA"}},
		{"no revocation list, accepted", withPolicy(t, verifiers.Deps{ExtraRoots: all.ExtraRoots}, "findings: {key-revocation-unknown: {instance-identity: 2}}"),
			leafOf(t, d), x, 2, 3, 2, []string{"revocation-unknown"}},
		{"no certificate, and only the software is believed", withPolicy(t, all, "findings: {key-not-vouched-for: {instance-identity: 32}}"),
			bare, x, 32, 3, 2, []string{"key-not-vouched-for"}},
		{"a foreign root", verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {device(t, func(o *sim.Options) { o.Vendor = pki.NewSeed("foreign") }).Root()}}},
			leafOf(t, d), x, 32, 33, 36, []string{"unknown-root"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newTest(t, c.deps)
			for range 2 { // cold and from the cache
				a := judge(t, v, verifiers.Input{Evidence: c.raw, Nonce: nonce(), References: c.x})
				wants(t, a, c.identity, c.executables, c.configuration, c.reasons...)
				if relied := c.executables == 3 && slices.Contains(c.reasons, "key-not-vouched-for"); a.Facts.KeyRequired != relied {
					t.Errorf("a CPU has to vouch for the key: %t", a.Facts.KeyRequired)
				}
				if (a.Status() == verdict.TierAffirming) != (c.identity == 2) {
					t.Errorf("status %s", a.Status())
				}
			}
		})
	}
}

// Certificates that contradict the key or are for something else are no matter of
// trust: nothing is proven.
func TestCertificatesThatDoNotFit(t *testing.T) {
	d, other := device(t, nil), device(t, func(o *sim.Options) { o.Device = pki.NewSeed("other") })
	x := indexOf(t, entry(t, d))
	raw := leafOf(t, d)
	for name, c := range map[string]struct {
		certs []any
		want  string
	}{
		"of another key": {[]any{other.AKCertificate().Raw}, "identity-mismatch"},
		"no certificate": {[]any{[]byte{0x30, 0}}, "malformed-evidence"},
		"one is none":    {[]any{d.AKCertificate().Raw, []byte("x")}, "malformed-evidence"},
		"none":           {[]any{}, "malformed-evidence"},
		"too many":       {slices.Repeat([]any{d.AKCertificate().Raw}, maxCerts+1), "malformed-evidence"},
		"too long":       {[]any{make([]byte, maxCert+1)}, "malformed-evidence"},
		"empty":          {[]any{[]byte{}}, "malformed-evidence"},
	} {
		a := judge(t, newTest(t, deps(t, d)), verifiers.Input{
			Evidence: edited(t, raw, func(m map[string]any) { m["ak_certificate"] = c.certs }), Nonce: nonce(), References: x,
		})
		if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || !has(a, c.want, "") || has(a, c.want, "panic") {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
	}
}

// Certificates of one key, though they are known, do not vouch for another one.
func TestCacheIsByKey(t *testing.T) {
	d, other := device(t, nil), device(t, func(o *sim.Options) { o.Device = pki.NewSeed("other") })
	v := newTest(t, deps(t, d))
	if a := judge(t, v, verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce()}); a.Vector[identity] != 2 || v.chains.Len() != 1 {
		t.Fatalf("%v", a.Reasons)
	}
	l, f := open(inputOf(asCBOR, leafOf(t, d)))
	if f != nil {
		t.Fatal(f)
	}
	raw := edited(t, leafOf(t, other), func(m map[string]any) { m["ak_certificate"] = l.certs })
	wants(t, judge(t, v, verifiers.Input{Evidence: raw, Nonce: nonce()}), 99, 99, 99, "identity-mismatch")
}

// A key that its own public area does not call one for attestation.
func TestAttributes(t *testing.T) {
	d := device(t, nil)
	raw := edited(t, leafOf(t, d), func(m map[string]any) {
		public := bytes.Clone(m["ak_public"].([]byte))
		public[5] &^= 1 // restricted
		m["ak_public"] = public
	})
	wants(t, judge(t, newTest(t, deps(t, d)), verifiers.Input{Evidence: raw, Nonce: nonce()}), 99, 99, 99, "wrong-signer restricted is not set")
}

// A register of the firmware that nothing was measured into needs proof as any
// other: firmware that does not measure is not known.
func TestFirmwareRegisterOfZeros(t *testing.T) {
	d := device(t, nil)
	v := newTest(t, deps(t, d))
	l, f := open(inputOf(asCBOR, leafOf(t, d)))
	if f != nil {
		t.Fatal(f)
	}
	s, f := verify(l)
	if f != nil {
		t.Fatal(f)
	}
	l.pcrs[2] = make([]byte, 32)
	a := verdict.Appraisal{Claims: map[string]any{}}
	v.boot(&a, verifiers.Input{Time: now, References: lacking(2)(t, d)}, l, s, &voucher{})
	if a.Vector[executables] != 33 || !has(a, verdict.ReasonNoReferenceValues, "PCR2") {
		t.Errorf("%v", a.Reasons)
	}
}

// Windows of certificates and lists are those of the appraisal's time, also where
// the chain is in the cache.
func TestTime(t *testing.T) {
	d := device(t, nil)
	v := newTest(t, deps(t, d))
	at := func(when time.Time) verdict.Appraisal {
		return judge(t, v, verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce(), Time: when})
	}
	if a := at(now); a.Vector[verdict.InstanceIdentity] != 2 || v.chains.Len() != 1 {
		t.Fatalf("%v", a.Reasons)
	}
	for name, c := range map[string]struct {
		when     time.Time
		identity verdict.Claim
		code     string
	}{
		"before the certificate":    {now.AddDate(-2, 0, 0), 99, "expired"},
		"behind the certificate":    {now.AddDate(9, 0, 1), 99, "expired"},
		"before the lists":          {now.AddDate(0, 0, -2), 32, "revocation-unknown"},
		"behind the lists":          {now.AddDate(0, 2, 0), 32, "revocation-unknown"},
		"the lists' first moment":   {now.AddDate(0, 0, -1), 2, "no-reference-values"},
		"the lists' last moment":    {now.AddDate(0, 1, 0), 2, "no-reference-values"},
		"certificate's last moment": {now.AddDate(9, 0, 0), 32, "revocation-unknown"},
	} {
		if a := at(c.when); a.Vector[verdict.InstanceIdentity] != c.identity || !has(a, c.code, "") {
			t.Errorf("%s: %d %v", name, a.Vector[verdict.InstanceIdentity], a.Reasons)
		}
	}
}

// Only what has borne out evidence gets into the cache, and never a failure.
func TestCacheIsForGoodChains(t *testing.T) {
	d := device(t, nil)
	for name, raw := range map[string][]byte{
		"wrong signer": leafOf(t, device(t, func(o *sim.Options) { o.WrongSigner = true })),
		"expired":      leafOf(t, device(t, func(o *sim.Options) { o.Expired = true })),
		"unknown":      leafOf(t, device(t, func(o *sim.Options) { o.Vendor = pki.NewSeed("foreign") })),
	} {
		v := newTest(t, deps(t, d))
		if judge(t, v, verifiers.Input{Evidence: raw, Nonce: nonce()}); v.chains.Len() != 0 {
			t.Errorf("%s: in the cache", name)
		}
	}
}

// A revocation counts whoever's list of another day it is on, if its issuer has
// signed it, and only then.
func TestRevocationLists(t *testing.T) {
	d := device(t, nil)
	revoked := device(t, func(o *sim.Options) { o.Revoked = true })
	for name, c := range map[string]struct {
		lists    *sim.Device
		when     time.Time
		identity verdict.Claim
	}{
		"old list":         {revoked, now.AddDate(1, 0, 0), 96},
		"list from later":  {revoked, now.AddDate(0, 0, -3), 96},
		"of a foreign one": {device(t, func(o *sim.Options) { o.Revoked, o.Vendor = true, pki.NewSeed("foreign") }), now, 32},
	} {
		v := newTest(t, verifiers.Deps{ExtraRoots: deps(t, d).ExtraRoots, Endorsements: bundle(t, c.lists)})
		if a := judge(t, v, verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce(), Time: c.when}); a.Vector[verdict.InstanceIdentity] != c.identity {
			t.Errorf("%s: %d %v", name, a.Vector[verdict.InstanceIdentity], a.Reasons)
		}
	}
}

func TestNonce(t *testing.T) {
	d := device(t, nil)
	v, x := newTest(t, deps(t, d)), indexOf(t, entry(t, d))
	for _, size := range []int{8, 32, 64} {
		n := pki.NewSeed("n").Bytes(size)
		raw, err := d.Evidence(n)
		if err != nil {
			t.Fatal(err)
		}
		if a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: n, References: x}); a.Status() != verdict.TierAffirming {
			t.Errorf("%d bytes: %v", size, a.Reasons)
		}
	}
	raw, err := d.Evidence(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string][]byte{"none": nil, "empty": {}} {
		if a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: n, References: x}); a.Freshness != verdict.FreshnessNotEstablished || !has(a, verdict.ReasonNonceNotEstablished, "") {
			t.Errorf("%s: %s", name, a.Freshness)
		}
	}
	if a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: nonce(), References: x}); a.Freshness != verdict.FreshnessMismatch || !has(a, verdict.ReasonNonceMismatch, "extraData has 0 bytes") {
		t.Errorf("%v", a.Reasons)
	}
}

// Every byte of the evidence: a change never makes it affirming.
func TestEveryByte(t *testing.T) {
	d := device(t, nil)
	v, x, raw := newTest(t, withoutIssuers(t, d)), indexOf(t, entry(t, d)), leafOf(t, d)
	log := bytes.Index(raw, d.EventLog())
	attributes := bytes.Index(raw, d.AKPublic()) + 4 // of which not all matter, and none is signed
	honest := judge(t, v, verifiers.Input{Evidence: raw, Nonce: nonce(), References: x})
	for i := range raw {
		if testing.Short() && i%13 != 0 {
			continue
		}
		if i >= log && i < log+len(d.EventLog()) && i%7 != 0 {
			continue // the log has a walk of its own in package eventlog
		}
		other := bytes.Clone(raw)
		other[i] ^= 1 << (i % 8)
		a := judge(t, v, verifiers.Input{Evidence: other, Nonce: nonce(), References: x})
		if a.Status() != verdict.TierAffirming || i >= attributes && i < attributes+4 {
			continue
		}
		// No digest covers the types of events, those texts that differ from what
		// was measured, and the other bank.
		if i < log || i >= log+len(d.EventLog()) || !sameEvents(a.Facts.Measured, honest.Facts.Measured) {
			t.Fatalf("byte %d can be changed: %v", i, a.Claims)
		}
	}
}

// sameEvents holds if got says nothing else than want does, and perhaps less.
func sameEvents(got, want []verdict.MeasuredEvent) bool {
	return slices.EqualFunc(got, want, func(g, w verdict.MeasuredEvent) bool {
		return g.Register == w.Register && g.Digest == w.Digest && (g.Content == "" || g.Content == w.Content)
	})
}

func TestMalfunction(t *testing.T) {
	for name, d := range map[string]verifiers.Deps{
		"nil root":  {ExtraRoots: map[string][]*x509.Certificate{Name: {nil}}},
		"leaf root": {ExtraRoots: map[string][]*x509.Certificate{Name: {device(t, nil).AKCertificate()}}},
	} {
		if _, err := Scheme().New(d); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Scheme().New(verifiers.Deps{Endorsements: &endorsements.Bundle{}}); err != nil {
		t.Error(err)
	}
}
