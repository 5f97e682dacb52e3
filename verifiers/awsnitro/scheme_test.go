// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/verifiertest"
)

func TestConformance(t *testing.T) {
	d := enclave(t, nil)
	verifiertest.Run(t, Scheme(), verifiertest.Fixture{
		Name: "simulated", MediaType: evidence.MediaType{Base: typeDocument}, Evidence: document1(t, d), Nonce: testNonce,
		Time: now, Before: now.AddDate(-3, 0, 0), Deps: deps(t, d, true), Want: verdict.TierWarning,
	})
}

// TestFindings makes every finding of the policy, and every one changes what the
// table says and nothing else.
func TestFindings(t *testing.T) {
	honest := enclave(t, nil)
	good := pcrsOf(t, document1(t, honest), 0, 1, 2, 8)
	with := func(i uint64, b byte) map[uint64][]byte {
		out := map[uint64][]byte{i: bytes.Repeat([]byte{b}, pcrSize)}
		for n, v := range good {
			if n != i {
				out[n] = v
			}
		}
		return out
	}
	seen := map[string]bool{}
	for _, c := range []struct {
		name    string
		options func(*sim.Options)
		forge   func(m map[string]any)
		noLists bool
		values  []map[uint64][]byte
		finding string
		want    verdict.Vector // what differs from an honest enclave
		reasons string
	}{
		{name: "honest", values: []map[uint64][]byte{good}},
		{name: "alternatives", values: []map[uint64][]byte{with(0, 7), good}},
		{name: "debug", options: func(o *sim.Options) { o.Debug = true }, values: []map[uint64][]byte{good}, finding: findDebug,
			want:    verdict.Vector{verdict.Configuration: 96, verdict.RuntimeOpaque: 96, verdict.Executables: 96, verdict.SourcedData: -128},
			reasons: "debug-enabled measurement-mismatch"},
		{name: "debug with zeros as reference", options: func(o *sim.Options) { o.Debug = true }, values: []map[uint64][]byte{with(0, 0), {
			0: make([]byte, pcrSize), 1: make([]byte, pcrSize), 2: make([]byte, pcrSize), 8: good[8]}}, finding: findDebug,
			want: verdict.Vector{verdict.Configuration: 96, verdict.RuntimeOpaque: 96, verdict.Executables: 33}, reasons: "debug-enabled"},
		{name: "revoked", options: func(o *sim.Options) { o.Revoked = true }, values: []map[uint64][]byte{good}, finding: findRevoked,
			want: verdict.Vector{verdict.Hardware: 96}, reasons: "revoked"},
		{name: "no lists", noLists: true, values: []map[uint64][]byte{good}, finding: findRevocationUnknown},
		{name: "image not signed", options: func(o *sim.Options) { o.Unsigned = true }, values: []map[uint64][]byte{{0: good[0], 1: good[1], 2: good[2]}},
			finding: findImageUnsigned, want: verdict.Vector{verdict.SourcedData: -128}},
		{name: "nothing known", finding: findNoReference, want: verdict.Vector{verdict.Executables: 33, verdict.SourcedData: -128}, reasons: "no-reference-values"},
		{name: "PCR2 unknown", values: []map[uint64][]byte{{0: good[0], 1: good[1]}}, finding: findNoReference,
			want: verdict.Vector{verdict.Executables: 33, verdict.SourcedData: -128}, reasons: "no-reference-values"},
		{name: "PCR2 differs", options: func(o *sim.Options) { o.Measurement = true }, values: []map[uint64][]byte{good}, finding: findMismatch,
			want: verdict.Vector{verdict.Executables: 96, verdict.SourcedData: -128}, reasons: "measurement-mismatch reference-values-partial"},
		{name: "signer differs", values: []map[uint64][]byte{with(8, 7)}, finding: findSignerMismatch,
			want: verdict.Vector{verdict.Executables: 33, verdict.SourcedData: 96}, reasons: "measurement-mismatch reference-values-partial"},
		{name: "right only in part", values: []map[uint64][]byte{with(8, 7)}, finding: findPartial,
			want: verdict.Vector{verdict.Executables: 33, verdict.SourcedData: 96}, reasons: "measurement-mismatch reference-values-partial"},
		{name: "role differs", values: []map[uint64][]byte{with(3, 7)}, finding: findRoleMismatch,
			want: verdict.Vector{verdict.Executables: 33, verdict.Configuration: 96, verdict.SourcedData: -128}, reasons: "measurement-mismatch reference-values-partial"},
		{name: "parent differs", values: []map[uint64][]byte{with(4, 7)}, finding: findParentMismatch,
			want: verdict.Vector{verdict.Executables: 33, verdict.InstanceIdentity: 97, verdict.SourcedData: -128}, reasons: "measurement-mismatch reference-values-partial"},
		{name: "PCR16 not there", values: []map[uint64][]byte{with(16, 7)}, finding: findMismatch,
			want: verdict.Vector{verdict.Executables: 96, verdict.SourcedData: -128}, reasons: "measurement-mismatch reference-values-partial"},
		{name: "an application register differs", values: []map[uint64][]byte{with(9, 7)}, finding: findMismatch,
			want: verdict.Vector{verdict.Executables: 96, verdict.SourcedData: -128}, reasons: "measurement-mismatch reference-values-partial"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := enclave(t, c.options)
			v := newTest(t, deps(t, d, !c.noLists))
			in := input(document1(t, d), testNonce, now)
			if c.values != nil {
				in.References = indexOf(t, now, c.values...)
			}
			a := appraise(t, v, in)
			want := verdict.Vector{verdict.InstanceIdentity: 2, verdict.Configuration: 2, verdict.Executables: 3, verdict.Hardware: 2, verdict.RuntimeOpaque: 2, verdict.SourcedData: 2}
			for i, n := range c.want {
				switch n {
				case 0:
				case -128:
					want[i] = 0
				default:
					want[i] = n
				}
			}
			if a.Vector != want || codes(a) != c.reasons || a.Freshness != verdict.FreshnessFresh {
				t.Errorf("%v, expected %v: %v", a.Vector, want, a.Reasons)
			}
			seen[c.finding] = true
		})
	}
	t.Run("identity", func(t *testing.T) {
		f := newForger(t)
		f.change = func(m map[string]any) { m["module_id"] = "i-00000000000000000-enc0000000000000000" }
		raw := f.document()
		in := input(raw, testNonce, now)
		in.References = indexOf(t, now, pcrsOf(t, raw))
		a := appraise(t, newTest(t, deps(t, honest, true)), in)
		if a.Vector[verdict.InstanceIdentity] != 97 || codes(a) != verdict.ReasonIdentityMismatch || a.Vector[verdict.Executables] != 3 {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
		seen[findIdentity] = true
	})
	t.Run("unsigned", func(t *testing.T) {
		raw := newForger(t).document()
		in := input(raw, testNonce, now)
		in.References = unsignedIndex(t, referenceDocument(now, pcrsOf(t, raw, 0, 1, 2)), now)
		v := newTest(t, deps(t, honest, true))
		v.unsigned = false // as under AWS's root alone
		if a := appraise(t, v, in); a.Vector[verdict.Executables] != 33 || !strings.Contains(codes(a), "unsigned-reference-values") {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
		seen[findUnsignedReference] = true
	})
	t.Run("unsigned, recorded", func(t *testing.T) {
		// Under AWS's root alone what nobody has signed does not count; under a
		// test root it does, and the result says so.
		r := recordings()[0]
		raw := r.read(t)
		doc := referenceDocument(r.at, pcrsOf(t, raw, 0, 1, 2))
		in := input(raw, nil, r.at)
		in.References = unsignedIndex(t, doc, r.at)
		a := appraise(t, newTest(t, verifiers.Deps{}), in)
		if a.Vector[verdict.Executables] != 33 || codes(a) != "nonce-not-established unsigned-reference-values" {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
		a = appraise(t, newTest(t, deps(t, honest, false)), in)
		if a.Vector[verdict.Executables] != 3 || codes(a) != "nonce-not-established unsigned-reference-values" {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	})
	for _, f := range Defaults().Findings {
		if !seen[f.Name] {
			t.Errorf("no case makes %s", f.Name)
		}
	}
}

func unsignedIndex(tb testing.TB, d refvalues.Document, at time.Time) *corim.Index {
	tb.Helper()
	raw, err := refvalues.Unsigned(d)
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := corim.Load(raw, corim.Options{Unsigned: true, Now: at})
	if err != nil {
		tb.Fatal(err)
	}
	x, err := corim.NewIndex(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func TestDefaults(t *testing.T) {
	if err := Defaults().Check(); err != nil {
		t.Fatal(err)
	}
	if s := Scheme(); s.Policy == nil || s.Policy.Scheme != Name {
		t.Error("the scheme shows no policy")
	}
	for text, ok := range map[string]bool{
		"scheme: aws-nitro\nparameters: {max_age_minutes: 1, grace_minutes: 0}\n":                         true,
		"scheme: aws-nitro\nfindings: {revocation-unknown: {hardware: 32}}\n":                             true,
		"scheme: aws-nitro\nparameters: {max_age_minutes: 0}\n":                                           false,
		"scheme: aws-nitro\nparameters: {max_age_minutes: 1441}\n":                                        false,
		"scheme: aws-nitro\nparameters: {grace_minutes: 61}\n":                                            false,
		"scheme: aws-nitro\nparameters: {grace_minutes: -1}\n":                                            false,
		"scheme: aws-nitro\nfindings: {debug: {configuration: 32, runtime-opaque: 96}}\n":                 false,
		"scheme: aws-nitro\nfindings: {revoked: {}}\n":                                                    false,
		"scheme: aws-nitro\nfindings: {no-reference-values: {executables: 2}}\n":                          false,
		"scheme: aws-nitro\nfindings: {measurement-mismatch: {}}\n":                                       false,
		"scheme: aws-nitro\nfindings: {unsigned-reference-values: {executables: 3}}\n":                    false,
		"scheme: aws-nitro\nfindings: {reference-values-partial: {executables: 2, runtime-opaque: 32}}\n": false,
	} {
		if _, err := Defaults().Parse([]byte(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// An edited policy is the one that holds, and results name it.
func TestEditedPolicy(t *testing.T) {
	d := enclave(t, nil)
	p, err := Defaults().Parse([]byte("scheme: aws-nitro\nfindings: {revocation-unknown: {hardware: 32}}\nparameters: {max_age_minutes: 2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	dep := deps(t, d, false)
	dep.Policies = map[string]*appraisal.Policy{Name: p}
	v := newTest(t, dep)
	a := appraise(t, v, input(document1(t, d), testNonce, now))
	if a.Vector[verdict.Hardware] != 32 || !strings.Contains(codes(a), verdict.ReasonPolicy) || a.PolicyID != p.ID() {
		t.Errorf("%v %v %s", a.Vector, a.Reasons, a.PolicyID)
	}
	a = appraise(t, v, input(document1(t, d), testNonce, now.Add(3*time.Minute)))
	expectRejected(t, "old", a, verdict.ReasonExpired, "more than 2 minutes before")
	other := appraisal.Defaults{Scheme: "other", Findings: []appraisal.Finding{{Name: "x", Text: "x"}}}
	p, err = other.Policy()
	if err != nil {
		t.Fatal(err)
	}
	dep.Policies[Name] = p
	if _, err := newVerifier(dep); err == nil {
		t.Error("a policy of another scheme is accepted")
	}
}

func TestFreshness(t *testing.T) {
	d := enclave(t, nil)
	v := newTest(t, deps(t, d, true))
	for _, c := range []struct {
		name       string
		in, wanted []byte
		want       verdict.Freshness
	}{
		{"equal", testNonce, testNonce, verdict.FreshnessFresh},
		{"six bytes", []byte("Nonce\n"), []byte("Nonce\n"), verdict.FreshnessFresh},
		{"prefix", testNonce, testNonce[:32], verdict.FreshnessMismatch},
		{"padded", testNonce[:32], append(bytes.Clone(testNonce[:32]), make([]byte, 32)...), verdict.FreshnessMismatch},
		{"none in the document", nil, testNonce, verdict.FreshnessMismatch},
		{"none asked", testNonce, nil, verdict.FreshnessNotEstablished},
		{"none at all", nil, nil, verdict.FreshnessNotEstablished},
	} {
		raw, err := d.Evidence(c.in)
		if err != nil {
			t.Fatal(err)
		}
		a := appraise(t, v, input(raw, c.wanted, now))
		if a.Freshness != c.want || !bytes.Equal(a.NonceSeen, c.in) {
			t.Errorf("%s: %s %v", c.name, a.Freshness, a.Reasons)
		}
	}
}

// What the application put beside the nonce.
func TestFacts(t *testing.T) {
	key, err := pki.NewSeed("application").ECDSA(enclaveCurve())
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	for _, c := range []struct {
		name   string
		public []byte
		keys   []verdict.CommittedKey
	}{
		{"SPKI", spki, []verdict.CommittedKey{{SPKI: hex.EncodeToString(sum[:]), Via: "public-key", Origin: verdict.OriginApplication}}},
		{"something else", []byte("ssh-ed25519 AAAA"), nil},
		{"SPKI and more", append(bytes.Clone(spki), 0), nil},
		{"none", nil, nil},
	} {
		d := enclave(t, func(o *sim.Options) { o.PublicKey, o.UserData = c.public, []byte("hello") })
		a := appraise(t, newTest(t, deps(t, d, true)), input(document1(t, d), testNonce, now))
		if !slices.Equal(a.Facts.Keys, c.keys) || a.Facts.ReportData != hex.EncodeToString([]byte("hello")) ||
			!slices.Equal(a.Facts.Device, []string{"aws-nitro:" + d.ModuleID()}) || a.Facts.Registers["pcr15"] != strings.Repeat("0", 96) {
			t.Errorf("%s: %+v", c.name, a.Facts)
		}
		leaf := d.Authorities()[4].Cert
		signer := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		if a.Facts.SignerSPKI != hex.EncodeToString(signer[:]) || len(a.Facts.Environments) != 1 {
			t.Errorf("%s: %+v", c.name, a.Facts)
		}
	}
}

func TestOtherMediaType(t *testing.T) {
	d := enclave(t, nil)
	in := input(document1(t, d), testNonce, now)
	in.MediaType.Base = "application/cbor"
	expectRejected(t, "media type", appraise(t, newTest(t, deps(t, d, true)), in), verdict.ReasonUnsupported, "application/cbor")
}

func TestExtraRoots(t *testing.T) {
	d := enclave(t, nil)
	dep := deps(t, d, false)
	dep.ExtraRoots[Name] = append(dep.ExtraRoots[Name], nil)
	if _, err := newVerifier(dep); err == nil {
		t.Error("a nil root")
	}
	dep.ExtraRoots = map[string][]*x509.Certificate{"intel-tdx": {d.Root()}}
	expectRejected(t, "root of another scheme", appraise(t, newTest(t, dep), input(document1(t, d), testNonce, now)), verdict.ReasonUnknownRoot, "no trusted root")
}
