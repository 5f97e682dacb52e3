// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

var (
	now    = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	asCBOR = evidence.MediaType{Base: typeCBOR}
	asJSON = evidence.MediaType{Base: typeJSON}
)

func nonce() []byte { return pki.NewSeed("nonce").Bytes(nonceSize) }

// device is a simulated TPM.
func device(tb testing.TB, change func(*sim.Options)) *sim.Device {
	tb.Helper()
	o := sim.Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, Image: "test"}
	if change != nil {
		change(&o)
	}
	d, err := sim.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func leafOf(tb testing.TB, d *sim.Device) []byte {
	tb.Helper()
	raw, err := d.Evidence(nonce())
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// bundle has the issuers and revocation lists of a device, but for files that are
// left out.
func bundle(tb testing.TB, d *sim.Device, without ...string) *endorsements.Bundle {
	tb.Helper()
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, raw := range files {
		if slices.Contains(without, name) {
			continue
		}
		fsys[name] = &fstest.MapFile{Data: raw}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) != 0 {
		tb.Fatalf("%v %v", err, warnings)
	}
	return b
}

// deps trust the authorities of a device.
func deps(tb testing.TB, d *sim.Device) verifiers.Deps {
	tb.Helper()
	return verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {d.Root()}}, Endorsements: bundle(tb, d)}
}

// withoutIssuers leaves it to the evidence to bring its issuer along.
func withoutIssuers(tb testing.TB, d *sim.Device) verifiers.Deps {
	tb.Helper()
	out := deps(tb, d)
	out.Endorsements = bundle(tb, d, "tcg-tpm-issuers.pem")
	return out
}

// withPolicy adds an edited policy.
func withPolicy(tb testing.TB, d verifiers.Deps, text string) verifiers.Deps {
	tb.Helper()
	p, err := defaults().Parse([]byte("scheme: tcg-tpm\n" + text))
	if err != nil {
		tb.Fatal(err)
	}
	d.Policies = map[string]*appraisal.Policy{Name: p}
	return d
}

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// entry is the reference value of the honest machine.
func entry(tb testing.TB, d *sim.Device) refvalues.Entry {
	tb.Helper()
	e, err := refvalues.TPM(d.Measurements())
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func indexOf(tb testing.TB, entries ...refvalues.Entry) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(now, document(entries...))
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func document(entries ...refvalues.Entry) refvalues.Document {
	return refvalues.Document{
		ID: "release", TagID: "values", Profile: refvalues.Profile, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 6, 0), Entries: entries,
	}
}

func judge(tb testing.TB, v *verifier, in verifiers.Input) verdict.Appraisal {
	tb.Helper()
	if in.Time.IsZero() {
		in.Time = now
	}
	if in.MediaType.Base == "" {
		in.MediaType = asCBOR
	}
	a, err := v.Appraise(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// has says whether there is a reason with this code whose detail has the words.
func has(a verdict.Appraisal, code, words string) bool {
	return slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == code && strings.Contains(r.Detail, words) })
}

// wants compares instance-identity, executables and configuration, and wants a
// reason for each of "code words".
func wants(tb testing.TB, a verdict.Appraisal, identity, executables, configuration verdict.Claim, reasons ...string) {
	tb.Helper()
	got := [3]verdict.Claim{a.Vector[verdict.InstanceIdentity], a.Vector[verdict.Executables], a.Vector[verdict.Configuration]}
	if got != [3]verdict.Claim{identity, executables, configuration} {
		tb.Errorf("instance-identity, executables, configuration: %d, want %d %d %d: %v", got, identity, executables, configuration, a.Reasons)
	}
	for _, want := range reasons {
		if code, words, _ := strings.Cut(want, " "); !has(a, code, words) {
			tb.Errorf("no reason %q: %v", want, a.Reasons)
		}
	}
	if (len(reasons) == 0) != (len(a.Reasons) == 0) {
		tb.Errorf("reasons %v", a.Reasons)
	}
	if identity != 99 && a.Vector[verdict.Hardware] != verdict.ClaimNone {
		tb.Errorf("a TPM says %d about the hardware", a.Vector[verdict.Hardware])
	}
}
