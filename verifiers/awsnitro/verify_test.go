// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	sim "github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func enclaveCurve() elliptic.Curve { return elliptic.P384() }

// What the forger signs unchanged is believed: every case below fails for the
// reason that it names.
func TestForgerIsBelieved(t *testing.T) {
	f := newForger(t)
	for i := range f.chain {
		g := newForger(t)
		if i > 0 {
			g.swap(i, elliptic.P384(), nil)
		}
		a := appraise(t, newTest(t, deps(t, enclave(t, nil), false)), input(g.document(), testNonce, now))
		if codes(a) != verdict.ReasonNoReferenceValues || a.Vector[verdict.Hardware] != 2 {
			t.Errorf("%d: %v %v", i, a.Vector, a.Reasons)
		}
	}
}

func TestChainRules(t *testing.T) {
	usage := func(u x509.KeyUsage) func(*x509.Certificate) { return func(c *x509.Certificate) { c.KeyUsage = u } }
	p384 := elliptic.P384()
	for _, c := range []struct {
		name, code, words string
		forge             func(f *forger)
	}{
		{"leaf on P-521", "chain-invalid", "not ECDSA P-384", func(f *forger) { f.swap(4, elliptic.P521(), nil); f.alg = cose.AlgorithmES384 }},
		{"leaf on P-256", "chain-invalid", "not ECDSA P-384", func(f *forger) { f.swap(4, elliptic.P256(), nil) }},
		{"zone on P-256", "chain-invalid", "not ECDSA P-384", func(f *forger) { f.swap(2, elliptic.P256(), nil) }},
		{"leaf is an authority", "chain-invalid", "is an authority, and signs a document", func(f *forger) {
			f.chain[3] = f.issue(2, 3, p384, func(c *x509.Certificate) { c.MaxPathLen = 2 })
			f.chain[4] = f.issue(3, 4, p384, func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = true, 1 })
		}},
		{"leaf without use for signatures", "chain-invalid", "is not for signatures", func(f *forger) { f.swap(4, p384, usage(x509.KeyUsageKeyAgreement)) }},
		{"leaf without basic constraints", "chain-invalid", "no basic constraints", func(f *forger) {
			f.swap(4, p384, func(c *x509.Certificate) { c.BasicConstraintsValid = false })
		}},
		{"instance is no authority", "chain-invalid", "is no authority", func(f *forger) {
			f.swap(3, p384, func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false })
		}},
		{"instance must not sign certificates", "chain-invalid", "is no authority", func(f *forger) { f.swap(3, p384, usage(x509.KeyUsageDigitalSignature)) }},
		{"instance without any usage", "chain-invalid", "is no authority", func(f *forger) { f.swap(3, p384, usage(0)) }},
		{"path too long", "chain-invalid", "allows 0 authorities below it, and there are 1", func(f *forger) {
			f.swap(2, p384, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
		}},
		{"name constraints", "chain-invalid", "constraint that is not understood", func(f *forger) {
			f.swap(1, p384, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{nameConstraint} })
		}},
		{"unknown critical extension", "chain-invalid", "constraint that is not understood", func(f *forger) {
			f.swap(4, p384, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
			})
		}},
		{"names do not follow", "chain-invalid", "and above it stands", func(f *forger) {
			f.chain = slices.Clone(f.chain)
			instance := f.chain[3]
			fake := *instance.Cert
			fake.Subject.CommonName, fake.RawSubject = "somebody else", nil
			f.chain[3] = &pki.Authority{Cert: &fake, Key: instance.Key}
			f.chain[4] = f.issue(3, 4, p384, nil)
			f.chain[3] = instance
		}},
		{"leaf by another key of the same name", "chain-invalid", "verification", func(f *forger) {
			real := f.chain[3]
			f.chain = slices.Clone(f.chain)
			f.chain[3] = f.issue(2, 3, p384, nil)
			f.chain[4] = f.issue(3, 4, p384, nil)
			f.chain[3] = real
		}},
		{"another vendor's root", "unknown-root", "no trusted root", func(f *forger) {
			f.chain = enclave(f.tb, func(o *sim.Options) { o.Vendor = pki.NewSeed("other") }).Authorities()
		}},
		{"root of the same name and another key", "unknown-root", "no trusted root", func(f *forger) {
			f.chain = slices.Clone(f.chain)
			f.chain[0] = f.issue(-1, 0, p384, nil)
			for i := 1; i < 5; i++ {
				f.chain[i] = f.issue(i-1, i, p384, nil)
			}
		}},
		{"bundle reversed", "unknown-root", "no trusted root", func(f *forger) {
			f.change = func(m map[string]any) { slices.Reverse(m["cabundle"].([][]byte)) }
		}},
		{"two roots", "chain-invalid", "verification failure", func(f *forger) {
			other := enclave(f.tb, func(o *sim.Options) { o.Vendor = pki.NewSeed("other") }).Root()
			f.change = func(m map[string]any) { m["cabundle"] = slices.Insert(m["cabundle"].([][]byte), 1, other.Raw) }
		}},
		{"the root twice", "chain-invalid", "allows 2 authorities", func(f *forger) {
			f.change = func(m map[string]any) {
				b := m["cabundle"].([][]byte)
				m["cabundle"] = slices.Insert(b, 2, b[0])
			}
		}},
		{"an authority missing", "chain-invalid", "and above it stands", func(f *forger) {
			f.change = func(m map[string]any) { m["cabundle"] = slices.Delete(m["cabundle"].([][]byte), 2, 3) }
		}},
		{"root alone", "chain-invalid", "and above it stands", func(f *forger) {
			f.change = func(m map[string]any) { m["cabundle"] = m["cabundle"].([][]byte)[:1] }
		}},
		{"a certificate that is none", "malformed-evidence", "certificate 2 of the chain", func(f *forger) {
			f.change = func(m map[string]any) { m["cabundle"].([][]byte)[2] = []byte{0x30, 0} }
		}},
		{"instance signs itself", "signature-invalid", "not signed by the key", func(f *forger) {
			f.change = func(m map[string]any) { m["certificate"] = f.chain[3].Cert.Raw }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newForger(t)
			c.forge(f)
			raw := f.document()
			v := newTest(t, deps(t, enclave(t, nil), false))
			expectRejected(t, c.name, appraise(t, v, input(raw, testNonce, now)), c.code, c.words)
			if v.links.Len() != 0 {
				t.Error("what was refused is remembered")
			}
		})
	}
}

// A curve that makes the library panic is refused before any signature.
func TestCurveGuard(t *testing.T) {
	f := newForger(t)
	f.swap(4, elliptic.P521(), nil)
	raw := f.document()
	if err := oracle(raw, now); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("the library: %v", err)
	}
}

func TestDocumentTimes(t *testing.T) {
	span := func(from, to time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(from), now.Add(to) }
	}
	for _, c := range []struct {
		name  string
		level int
		set   func(*x509.Certificate)
		at    time.Duration
		words string // "" if it is appraised
	}{
		{"now", 4, nil, 0, ""},
		{"leaf ended before the document", 4, span(-3*time.Hour, -time.Second), 0, "and the document is of"},
		{"leaf begins after the document", 4, span(time.Second, 3*time.Hour), time.Minute, "and the document is of"},
		{"region ended before the document", 1, span(-480*time.Hour, -time.Second), 0, "and the document is of"},
		{"leaf ended after the document", 4, span(-3*time.Hour, time.Second), time.Minute, ""},
		{"within the grace", 4, span(-3*time.Hour, time.Second), 5 * time.Minute, ""},
		{"after the grace", 4, span(-3*time.Hour, time.Second), 5*time.Minute + 2*time.Second, "more than 5 minutes before"},
		{"zone ended, after the grace", 2, span(-24*time.Hour, time.Second), 10 * time.Minute, "more than 5 minutes before"},
		{"as old as allowed", 4, span(-time.Minute, 10*time.Hour), 180 * time.Minute, ""},
		{"older", 4, span(-time.Minute, 10*time.Hour), 180*time.Minute + time.Second, "more than 180 minutes before"},
		{"a clock behind", 4, nil, -time.Minute, ""},
		{"from the future", 4, nil, -61 * time.Second, "which is after"},
	} {
		f := newForger(t)
		if c.set != nil {
			f.swap(c.level, elliptic.P384(), c.set)
		}
		v := newTest(t, deps(t, enclave(t, nil), false))
		raw := f.document()
		for _, what := range []string{"cold", "hot"} { // the cache knows no time
			a := appraise(t, v, input(raw, testNonce, now.Add(c.at)))
			if c.words != "" {
				expectRejected(t, c.name+" "+what, a, verdict.ReasonExpired, c.words)
			} else if codes(a) != verdict.ReasonNoReferenceValues {
				t.Errorf("%s %s: %v", c.name, what, a.Reasons)
			}
		}
	}
}

func TestForm(t *testing.T) {
	set := func(name string, value any) func(f *forger) {
		return func(f *forger) { f.change = func(m map[string]any) { m[name] = value } }
	}
	drop := func(name string) func(f *forger) {
		return func(f *forger) { f.change = func(m map[string]any) { delete(m, name) } }
	}
	pcrs := func(n int, size int) map[uint64][]byte {
		out := map[uint64][]byte{}
		for i := range n {
			out[uint64(i)] = bytes.Repeat([]byte{1}, size)
		}
		return out
	}
	for name, forge := range map[string]func(f *forger){
		"no module":              drop("module_id"),
		"no digest":              drop("digest"),
		"no timestamp":           drop("timestamp"),
		"no PCRs":                drop("pcrs"),
		"no certificate":         drop("certificate"),
		"no bundle":              drop("cabundle"),
		"odd module":             set("module_id", "a b"),
		"long module":            set("module_id", strings.Repeat("a", 129)),
		"other digest":           set("digest", "SHA256"),
		"time zero":              set("timestamp", 0),
		"time negative":          set("timestamp", -1),
		"time a float":           set("timestamp", 1.6e12),
		"time far away":          set("timestamp", uint64(maxTimestamp+1)),
		"time a text":            set("timestamp", "now"),
		"33 PCRs":                set("pcrs", pcrs(33, pcrSize)),
		"thousands of PCRs":      set("pcrs", pcrs(4000, 1)),
		"PCR of 32 bytes":        set("pcrs", pcrs(16, 32)),
		"PCR null":               set("pcrs", map[uint64]any{0: nil, 1: nil, 2: nil}),
		"PCR a text":             set("pcrs", map[uint64]string{0: strings.Repeat("a", 48)}),
		"PCR an array":           set("pcrs", map[uint64][]int{0: make([]int, 16)}),
		"PCR2 missing":           set("pcrs", pcrs(2, pcrSize)),
		"PCR negative":           set("pcrs", map[int64][]byte{-1: make([]byte, pcrSize)}),
		"PCR32":                  set("pcrs", map[uint64][]byte{0: make([]byte, 48), 1: make([]byte, 48), 2: make([]byte, 48), 32: make([]byte, 48)}),
		"certificate an array":   set("certificate", []int{1, 2, 3}),
		"certificate too long":   set("certificate", make([]byte, maxCertificate+1)),
		"bundle empty":           set("cabundle", [][]byte{}),
		"bundle of nine":         set("cabundle", slices.Repeat([][]byte{{1}}, 9)),
		"bundle with nothing":    set("cabundle", [][]byte{{1}, {}}),
		"authority too long":     set("cabundle", [][]byte{make([]byte, maxAuthority+1)}),
		"public key too long":    set("public_key", make([]byte, maxField+1)),
		"user data too long":     set("user_data", make([]byte, maxField+1)),
		"nonce too long":         set("nonce", make([]byte, maxField+1)),
		"nonce a text":           set("nonce", "nonce"),
		"nonce tagged":           set("nonce", cbor.Tag{Number: 24, Content: []byte{1}}),
		"further member":         set("debug", false),
		"member in another case": set("Nonce", testNonce),
		"payload no map":         func(f *forger) { f.payload = []byte{0x80} },
		"payload twice a member": func(f *forger) {
			f.payload = append([]byte{0xa2}, append(marshal(f.tb, "digest"), append(marshal(f.tb, "SHA384"), append(marshal(f.tb, "digest"), marshal(f.tb, "SHA384")...)...)...)...)
		},
		"payload indefinite": func(f *forger) { f.payload = []byte{0xbf, 0xff} },
		"payload and more":   func(f *forger) { f.payload = append(marshal(f.tb, map[string]any{}), 0) },
		"further header": func(f *forger) {
			f.headers = func(h *cose.Headers) { h.Protected[cose.HeaderLabelKeyID] = []byte("x") }
		},
		"unprotected header": func(f *forger) {
			f.headers = func(h *cose.Headers) { h.Unprotected = cose.UnprotectedHeader{cose.HeaderLabelKeyID: []byte("x")} }
		},
		"another algorithm": func(f *forger) { f.swap(4, elliptic.P256(), nil); f.alg = cose.AlgorithmES256 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newForger(t)
			forge(f)
			a := appraise(t, newTest(t, deps(t, enclave(t, nil), false)), input(f.document(), testNonce, now))
			expectRejected(t, name, a, verdict.ReasonMalformed, "Nitro document: ")
		})
	}
}

// The outer framing: no tag, four elements, nothing behind.
func TestFraming(t *testing.T) {
	raw := document1(t, enclave(t, nil))
	var parts []cbor.RawMessage
	if err := cbor.Unmarshal(raw, &parts); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty":           nil,
		"tag 18":          append([]byte{0xd2}, raw...),
		"tag 61 and 18":   append([]byte{0xd8, 0x3d, 0xd2}, raw...),
		"text":            []byte("nonsense"),
		"trailing":        append(bytes.Clone(raw), 0),
		"cut":             raw[:len(raw)-1],
		"three elements":  marshal(t, parts[:3]),
		"five elements":   marshal(t, append(slices.Clone(parts), cbor.RawMessage{0x40})),
		"detached":        marshal(t, []cbor.RawMessage{parts[0], parts[1], {0xf6}, parts[3]}),
		"no signature":    marshal(t, []cbor.RawMessage{parts[0], parts[1], parts[2], {0x40}}),
		"no headers":      marshal(t, []cbor.RawMessage{{0x40}, parts[1], parts[2], parts[3]}),
		"algorithm twice": marshal(t, []cbor.RawMessage{{0x47, 0xa2, 0x01, 0x38, 0x22, 0x01, 0x38, 0x22}, parts[1], parts[2], parts[3]}),
		"too large":       make([]byte, maxEvidence+1),
	} {
		a := appraise(t, newTest(t, deps(t, enclave(t, nil), false)), input(b, testNonce, now))
		expectRejected(t, name, a, verdict.ReasonMalformed, "Nitro document: ")
	}
	short := marshal(t, []cbor.RawMessage{parts[0], parts[1], parts[2], marshal(t, make([]byte, 95))})
	a := appraise(t, newTest(t, deps(t, enclave(t, nil), false)), input(short, testNonce, now))
	expectRejected(t, "signature of 95 bytes", a, verdict.ReasonSignatureInvalid, "")
	zero := marshal(t, []cbor.RawMessage{parts[0], parts[1], parts[2], marshal(t, make([]byte, 96))})
	a = appraise(t, newTest(t, deps(t, enclave(t, nil), false)), input(zero, testNonce, now))
	expectRejected(t, "signature of zeros", a, verdict.ReasonSignatureInvalid, "")
}

// One register of the three that is zero is enough.
func TestDebugByOneRegister(t *testing.T) {
	for i := range uint64(imagePCRs) {
		f := newForger(t)
		f.change = func(m map[string]any) { clear(m["pcrs"].(map[uint64][]byte)[i]) }
		raw := f.document()
		in := input(raw, testNonce, now)
		in.References = indexOf(t, now, pcrsOf(t, raw))
		a := appraise(t, newTest(t, deps(t, enclave(t, nil), false)), in)
		if a.Vector[verdict.Configuration] != 96 || a.Vector[verdict.RuntimeOpaque] != 96 || a.Vector[verdict.Executables] != 33 || !strings.Contains(codes(a), verdict.ReasonDebug) {
			t.Errorf("PCR%d: %v %v", i, a.Vector, a.Reasons)
		}
	}
}

// A fault of the simulator has the effect that its name says.
func TestSimulatedFaults(t *testing.T) {
	for code, set := range map[string]func(*sim.Options){
		verdict.ReasonSignatureInvalid: func(o *sim.Options) { o.WrongSigner = true },
		verdict.ReasonExpired:          func(o *sim.Options) { o.Expired = true },
	} {
		d := enclave(t, set)
		expectRejected(t, code, appraise(t, newTest(t, deps(t, d, true)), input(document1(t, d), testNonce, now)), code, "")
	}
}

// Revocation: only the issuer's list counts, whatever its dates, and absence
// takes a list that is current.
func TestRevocation(t *testing.T) {
	chain := enclave(t, nil).Authorities()
	list := func(by int, from, to time.Duration, revoked ...int) []byte {
		var serials []*big.Int
		for _, i := range revoked {
			serials = append(serials, chain[i].Cert.SerialNumber)
		}
		raw, err := chain[by].CRL(1, now.Add(from), now.Add(to), serials...)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	day := 24 * time.Hour
	other := enclave(t, func(o *sim.Options) { o.Vendor = pki.NewSeed("other") }).Authorities()
	foreign, err := other[1].CRL(1, now.Add(-day), now.Add(day), chain[2].Cert.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	namesake, err := newForger(t).issue(0, 1, elliptic.P384(), nil).CRL(1, now.Add(-day), now.Add(day), chain[2].Cert.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		files    map[string][]byte
		hardware verdict.Claim
		status   map[string]string // by level: 1 region, 2 zone
	}{
		{"none", nil, 2, map[string]string{"1": "unknown", "2": "unknown"}},
		{"current", map[string][]byte{"a": list(0, -day, day), "b": list(1, -day, day)}, 2, map[string]string{"1": "not revoked", "2": "not revoked"}},
		{"region alone", map[string][]byte{"b": list(1, -day, day)}, 2, map[string]string{"1": "unknown", "2": "not revoked"}},
		{"zone revoked", map[string][]byte{"b": list(1, -day, day, 2)}, 96, map[string]string{"1": "unknown", "2": "revoked"}},
		{"region revoked", map[string][]byte{"a": list(0, -day, day, 1)}, 96, map[string]string{"1": "revoked", "2": "unknown"}},
		{"revoked in an old list", map[string][]byte{"a": list(1, -9*day, -8*day, 2), "b": list(1, -day, day)}, 96, map[string]string{"1": "unknown", "2": "revoked"}},
		{"an old list", map[string][]byte{"b": list(1, -9*day, -8*day)}, 2, map[string]string{"1": "unknown", "2": "unknown"}},
		{"a list from the future", map[string][]byte{"b": list(1, day, 2*day)}, 2, map[string]string{"1": "unknown", "2": "unknown"}},
		{"the instance revoked by the zone", map[string][]byte{"b": list(2, -day, day, 3)}, 96, map[string]string{"1": "unknown", "2": "unknown"}},
		{"by somebody else", map[string][]byte{"b": foreign}, 2, map[string]string{"1": "unknown", "2": "unknown"}},
		{"by a namesake", map[string][]byte{"b": namesake}, 2, map[string]string{"1": "unknown", "2": "unknown"}},
	} {
		d := enclave(t, nil)
		dep := deps(t, d, false)
		files := map[string][]byte{}
		for name, raw := range c.files {
			files[name+".crl"] = raw
		}
		dep.Endorsements = bundle(t, files)
		v := newTest(t, dep)
		for _, what := range []string{"cold", "hot"} {
			a := appraise(t, v, input(document1(t, d), testNonce, now))
			status := a.Claims["revocation"].(map[string]any)
			if a.Vector[verdict.Hardware] != c.hardware || (c.hardware == 96) != strings.Contains(codes(a), verdict.ReasonRevoked) {
				t.Errorf("%s %s: %v %v", c.name, what, a.Vector, a.Reasons)
			}
			for level, want := range c.status {
				if got := status[chain[level[0]-'0'].Cert.Subject.CommonName]; got != want {
					t.Errorf("%s %s: level %s is %v, expected %s", c.name, what, level, got, want)
				}
			}
		}
	}
}

// The cache makes nothing good: a certificate is known only at its place below
// its root, and a document still needs its signature.
func TestCache(t *testing.T) {
	d := enclave(t, nil)
	v := newTest(t, deps(t, d, false))
	raw := document1(t, d)
	appraise(t, v, input(raw, testNonce, now))
	if v.links.Len() != 4 {
		t.Fatalf("%d certificates known", v.links.Len())
	}
	wrong := enclave(t, func(o *sim.Options) { o.WrongSigner = true })
	expectRejected(t, "signer", appraise(t, v, input(document1(t, wrong), testNonce, now)), verdict.ReasonSignatureInvalid, "")
	f := newForger(t)
	f.chain = slices.Delete(slices.Clone(f.chain), 2, 3)
	expectRejected(t, "place", appraise(t, v, input(f.document(), testNonce, now)), verdict.ReasonChainInvalid, "")
	other := enclave(t, func(o *sim.Options) { o.Device = pki.NewSeed("another") })
	if a := appraise(t, v, input(document1(t, other), testNonce, now)); a.Vector[verdict.Hardware] != 2 || v.links.Len() != 6 {
		t.Errorf("%v, %d certificates known", a.Reasons, v.links.Len())
	}
	// Without the root that it stands below, nothing that is known counts.
	expectRejected(t, "root", appraise(t, newTest(t, verifiers.Deps{}), input(raw, testNonce, now)), verdict.ReasonUnknownRoot, "")
}

// The own path check and that of the standard library agree on what is good.
func TestStandardLibraryAgrees(t *testing.T) {
	for _, r := range recordings() {
		_, d, err := parse(r.read(t))
		if err != nil {
			t.Fatal(err)
		}
		v := newTest(t, verifiers.Deps{})
		c, f := v.open(d)
		if f != nil {
			t.Fatal(f)
		}
		roots, middle := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(c[0].cert)
		for _, l := range c[1:4] {
			middle.AddCert(l.cert)
		}
		_, err = c.leaf().Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: d.timestamp, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if f := v.verify(c); f != nil || err != nil {
			t.Errorf("%s: %v, %v", r.file, f, err)
		}
	}
}
