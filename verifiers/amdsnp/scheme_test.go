// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/verifiertest"
)

// vendor is the simulated AMD of these tests; its keys are slow to derive.
var vendor = sync.OnceValue(func() *sim.Vendor { return sim.NewVendor(pki.NewSeed("vendor"), now) })

var challengeOfTests = bytes.Repeat([]byte{0x42}, 64)

// guest is a simulated guest and what belongs to it.
type guest struct {
	*sim.Device
	deps  verifiers.Deps
	input verifiers.Input
}

func newGuest(tb testing.TB, change func(*sim.Options)) *guest {
	tb.Helper()
	o := sim.Options{Vendor: vendor(), Device: pki.NewSeed("guest"), Now: now, Image: "test"}
	if change != nil {
		change(&o)
	}
	d := must(sim.New(o))
	var files [][]byte
	for _, raw := range must(d.Endorsements()) {
		files = append(files, raw)
	}
	return &guest{
		d,
		verifiers.Deps{Endorsements: bundle(tb, files...), ExtraRoots: map[string][]*x509.Certificate{Name: {d.Root()}}},
		verifiers.Input{MediaType: evidence.MediaType{Base: typeReport}, Evidence: must(d.Evidence(challengeOfTests)), Nonce: challengeOfTests, Time: now},
	}
}

// values are the reference values that belong to the simulated guest.
func (g *guest) values(tb testing.TB) *corim.Index {
	tb.Helper()
	e, err := refvalues.AMDSNP(g.Measurements(), g.ChipID())
	if err != nil {
		tb.Fatal(err)
	}
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(now, refvalues.Document{
		ID: "release", TagID: "values", Profile: refvalues.ProfileAMD, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 6, 0), Entries: []refvalues.Entry{e},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func TestConformance(t *testing.T) {
	g := newGuest(t, nil)
	fixture := verifiertest.Fixture{
		Name: "simulated", MediaType: g.input.MediaType, Evidence: g.input.Evidence, Nonce: challengeOfTests, Time: now, Before: now.AddDate(-5, 0, 0),
		Deps: g.deps, Want: verdict.TierWarning,
	}
	asTSM := fixture
	asTSM.Name, asTSM.MediaType = "simulated TSM report", evidence.MediaType{Base: tsm.TypeJSON, Params: map[string]string{"provider": tsmProvider}}
	asTSM.Evidence = must(g.TSMReport(challengeOfTests))
	verifiertest.Run(t, Scheme(), fixture, asTSM)
	t.Run("recorded", func(t *testing.T) {
		for name, in := range recorded(t) {
			if name != "genoa tsm cbor" && name != "turin v5" {
				continue
			}
			verifiertest.Run(t, Scheme(), verifiertest.Fixture{
				Name: name, MediaType: in.MediaType.With("provider", tsmProvider), Evidence: in.Evidence, Nonce: reportDataOf(t, in), Time: in.Time, Before: at("2015-01-01"), Want: verdict.TierWarning,
			})
		}
	})
}

// What the simulator makes is judged by the reference values that it writes.
func TestSimulatedEndToEnd(t *testing.T) {
	honest := newGuest(t, nil)
	for _, c := range []struct {
		name   string
		change func(*sim.Options)
		tier   verdict.Tier
		codes  []string
	}{
		{"honest", nil, verdict.TierAffirming, nil},
		{"honest, version 5", func(o *sim.Options) { o.Version = 5 }, verdict.TierAffirming, nil},
		{"honest, version 2", func(o *sim.Options) { o.Version = 2 }, verdict.TierAffirming, nil},
		{"PEM", func(o *sim.Options) { o.PEM = true }, verdict.TierAffirming, nil},
		{"debug", func(o *sim.Options) { o.Debug = true }, verdict.TierContraindicated, []string{verdict.ReasonDebug, verdict.ReasonUnexplained}},
		{"outdated", func(o *sim.Options) { o.OutdatedTCB = true }, verdict.TierWarning, []string{verdict.ReasonTCBOutOfDate, verdict.ReasonPartialReference, verdict.ReasonTCBOutOfDate}},
		{"revoked", func(o *sim.Options) { o.Revoked = true }, verdict.TierContraindicated, []string{verdict.ReasonRevoked}},
		{"measurement", func(o *sim.Options) { o.Measurement = true }, verdict.TierContraindicated, []string{verdict.ReasonMeasurementMismatch, verdict.ReasonPartialReference}},
		{"provisional", func(o *sim.Options) { o.Provisional = true }, verdict.TierWarning, []string{verdict.ReasonTCBConfiguration}},
		{"expired", func(o *sim.Options) { o.Expired = true }, verdict.TierContraindicated, []string{verdict.ReasonExpired}},
		{"wrong signer", func(o *sim.Options) { o.WrongSigner = true }, verdict.TierContraindicated, []string{verdict.ReasonSignatureInvalid}},
		{"VMPL", func(o *sim.Options) { o.VMPL = 1 }, verdict.TierContraindicated, []string{verdict.ReasonConfiguration}},
		{"another chip", func(o *sim.Options) { o.Device = pki.NewSeed("other") }, verdict.TierWarning, []string{verdict.ReasonNoReferenceValues}},
		{"hidden chip", func(o *sim.Options) { o.MaskChip = true }, verdict.TierWarning, []string{verdict.ReasonNoReferenceValues}},
	} {
		g := newGuest(t, c.change)
		g.input.References = honest.values(t)
		a := appraise(t, newTest(t, g.deps), g.input)
		if a.Status() != c.tier || !slices.Equal(codes(a), c.codes) {
			t.Errorf("%s: %s %v, want %s %v\n%v", c.name, a.Status(), codes(a), c.tier, c.codes, a.Reasons)
		}
		if c.name == "honest" && (a.Claims["revocation"].(map[string]any)["checked"] != true || len(a.Facts.Device) != 1 || a.Facts.Device[0] != "amd-chip:"+hex.EncodeToString(g.ChipID())) {
			t.Errorf("%v %v", a.Claims["revocation"], a.Facts)
		}
	}
}

// Containers: what is in them counts, and nothing of their names.
func TestContainers(t *testing.T) {
	m := newMachine()
	report, table := m.report(), tableOf(map[guid][]byte{guidASK: m.pki.ask.cert.Raw, guidVCEK: m.vek()})
	b64 := base64.RawURLEncoding.EncodeToString
	asJSON := func(members string) []byte {
		return []byte(`{"outblob":"` + b64(report) + `","auxblob":"` + b64(table) + `"` + members + `}`)
	}
	raw := append(bytes.Clone(report), table...)
	badTable := func(change func(b []byte) []byte) []byte {
		return append(bytes.Clone(report), change(bytes.Clone(table))...)
	}
	v := newTest(t, deps(nil))
	for _, c := range []struct {
		name, mt string
		raw      []byte
		code     string // "" is accepted
	}{
		{"raw", typeReport, raw, ""},
		{"padded with a page", typeReport, append(bytes.Clone(raw), make([]byte, 4096)...), ""},
		{"json", tsm.TypeJSON, asJSON(`,"provider":"sev_guest"`), ""},
		{"json of the kernel", tsm.TypeJSON, asJSON(`,"provider":"sev_guest\n"`), ""},
		{"another provider", tsm.TypeJSON, asJSON(`,"provider":"tdx_guest"`), verdict.ReasonMalformed},
		{"no provider", tsm.TypeJSON, asJSON(""), verdict.ReasonMalformed},
		{"cut", tsm.TypeJSON, asJSON(`,"provider":"sev_guest"`)[:2000], verdict.ReasonMalformed},
		{"raw as JSON", tsm.TypeJSON, raw, verdict.ReasonMalformed},
		{"JSON as raw", typeReport, asJSON(`,"provider":"sev_guest"`), verdict.ReasonMalformed},
		{"another type", "application/octet-stream", raw, verdict.ReasonMalformed},
		{"1183 bytes", typeReport, report[:1183], verdict.ReasonMalformed},
		{"1185 bytes", typeReport, append(bytes.Clone(report), 1), verdict.ReasonMalformed},
		{"outblob of 1185 bytes", tsm.TypeJSON, []byte(`{"provider":"sev_guest","outblob":"` + b64(append(bytes.Clone(report), 0)) + `"}`), verdict.ReasonMalformed},
		{"outblob of 1183 bytes", tsm.TypeJSON, []byte(`{"provider":"sev_guest","outblob":"` + b64(report[:1183]) + `"}`), verdict.ReasonMalformed},
		{"nothing", typeReport, nil, verdict.ReasonMalformed},
		{"too large", typeReport, make([]byte, maxReportLeaf+1), verdict.ReasonTooLarge},
		{"twice in the table", typeReport, badTable(func(b []byte) []byte { copy(b[24:40], guidASK[:]); return b }), verdict.ReasonMalformed},
		{"table without end", typeReport, append(bytes.Clone(report), table[:40]...), verdict.ReasonMalformed},
		{"beyond the table", typeReport, badTable(func(b []byte) []byte { putU32(b[20:], 1<<31); return b }), verdict.ReasonMalformed},
		{"offset overflow", typeReport, badTable(func(b []byte) []byte { putU32(b[16:], 1<<32-1); return b }), verdict.ReasonMalformed},
		{"inside the entries", typeReport, badTable(func(b []byte) []byte { putU32(b[16:], 0); putU32(b[20:], 8); return b }), verdict.ReasonMalformed},
		{"overlap", typeReport, badTable(func(b []byte) []byte { copy(b[24+16:24+20], b[16:20]); return b }), verdict.ReasonMalformed},
		{"behind the last entry", typeReport, badTable(func(b []byte) []byte { return append(b, 0, 0, 1) }), verdict.ReasonMalformed},
		{"too many entries", typeReport, badTable(func([]byte) []byte {
			return bytes.Repeat([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, maxEntries+2)
		}), verdict.ReasonMalformed},
		{"two PEM certificates", typeReport, append(bytes.Clone(report), tableOf(map[guid][]byte{guidVCEK: append(asPEM(m.vek()), asPEM(m.vek())...)})...), verdict.ReasonMalformed},
	} {
		a := appraise(t, v, verifiers.Input{MediaType: evidence.MediaType{Base: c.mt}, Evidence: c.raw, Nonce: bytes.Repeat([]byte{0xda}, 64), Time: now})
		if c.code == "" && (a.Vector[verdict.Hardware] != 2 || a.Freshness != verdict.FreshnessFresh) {
			t.Errorf("%s: %v", c.name, a.Reasons)
		}
		if c.code != "" {
			expectRejected(t, c.name, a, c.code)
		}
	}
	// An entry of no length is one that the host has left out.
	gone := make([]byte, 2*entrySize)
	copy(gone, guidVCEK[:])
	if a := appraise(t, v, verifiers.Input{Evidence: append(bytes.Clone(report), gone...), Time: now}); !slices.Equal(codes(a), []string{verdict.ReasonNoCollateral}) {
		t.Errorf("%v", a.Reasons)
	}
	// An entry that nobody knows is named and changes nothing.
	other := guid{1, 2, 3}
	extra := append(other[:], 0, 0, 0, 0, 0, 0, 0, 0)
	putU32(extra[16:], uint32(len(table))+entrySize)
	putU32(extra[20:], 4)
	shifted := bytes.Clone(table)
	for i := range 2 {
		at := shifted[i*entrySize+16:]
		putU32(at, uint32(at[0])|uint32(at[1])<<8+entrySize)
	}
	a := appraise(t, v, verifiers.Input{Evidence: slices.Concat(report, extra, shifted, []byte{1, 2, 3, 4}), Time: now})
	if a.Vector[verdict.Hardware] != 2 || !reflect.DeepEqual(a.Claims["table_entries_not_evaluated"], []any{other.String()}) {
		t.Errorf("%v %v", a.Reasons, a.Claims["table_entries_not_evaluated"])
	}
}

func TestFreshness(t *testing.T) {
	v := newTest(t, deps(nil))
	in := newMachine().input()
	data := in.Nonce
	last := bytes.Clone(data)
	last[63] ^= 1
	for name, c := range map[string]struct {
		nonce  []byte
		want   verdict.Freshness
		reason string
	}{
		"equal":      {data, verdict.FreshnessFresh, ""},
		"none":       {nil, verdict.FreshnessNotEstablished, verdict.ReasonNonceNotEstablished},
		"empty":      {[]byte{}, verdict.FreshnessNotEstablished, verdict.ReasonNonceNotEstablished},
		"last byte":  {last, verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		"prefix":     {data[:32], verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		"one byte":   {data[:1], verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		"and a zero": {append(bytes.Clone(data), 0), verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
	} {
		in.Nonce = c.nonce
		a := appraise(t, v, in)
		if a.Freshness != c.want || c.reason != "" && !slices.Contains(codes(a), c.reason) || !bytes.Equal(a.NonceSeen, data) {
			t.Errorf("%s: %s %v", name, a.Freshness, a.Reasons)
		}
		if c.want == verdict.FreshnessMismatch && a.Status() != verdict.TierContraindicated {
			t.Errorf("%s: %s", name, a.Status())
		}
	}
}

// Without the certificate of the key nothing is proven, and it is no forgery
// either; with it among the collateral everything is.
func TestKeyFromCollateral(t *testing.T) {
	m := newMachine()
	in := m.input()
	in.Evidence = m.report()
	a := appraise(t, newTest(t, deps(nil)), in)
	if a.Status() != verdict.TierContraindicated || a.Vector[verdict.Hardware] != 97 || a.Vector[verdict.Executables] != 0 || !slices.Equal(codes(a), []string{verdict.ReasonNoCollateral}) ||
		a.Freshness != verdict.FreshnessNotEstablished || a.Claims != nil || a.Facts.Device != nil || a.Facts.ReportData != "" || a.NonceSeen != nil {
		t.Errorf("%+v", a)
	}
	ask := m.pki.ask.cert.Raw
	foreign := newMachine(func(m *machine) { m.hwid = bytes.Repeat([]byte{9}, 64) }).vek()
	older := newMachine(tcbOf(TCB{BootLoader: 10, SNP: 23, Microcode: 84})).vek()
	forged := newMachine(func(m *machine) { m.issuer = &forgedPKI().ask }).vek()
	otherKey := newMachine(func(m *machine) { m.cert = func(c *x509.Certificate) { c.PublicKey = &forgedKey().PublicKey } }).vek()
	for _, c := range []struct {
		name   string
		change func(*machine)
		files  [][]byte
		hw     verdict.Claim
	}{
		{"the right one", nil, [][]byte{ask, m.vek()}, 2},
		{"among others", nil, [][]byte{foreign, older, asPEM(otherKey), ask, m.vek(), forged}, 2},
		{"of another chip", nil, [][]byte{ask, foreign}, 97},
		{"of another TCB", nil, [][]byte{ask, older}, 97},
		{"forged", nil, [][]byte{ask, forged}, 99},
		{"without its issuer", nil, [][]byte{m.vek()}, 99},
		{"hidden chip", edit(0x1a0, make([]byte, 64)...), [][]byte{ask, foreign, m.vek()}, 2},
		{"VLEK", vlek, [][]byte{m.pki.asvk.cert.Raw, m.vek(), newMachine(vlek).vek()}, 2},
		{"VLEK where a VCEK is", nil, [][]byte{m.pki.asvk.cert.Raw, newMachine(vlek).vek()}, 97},
	} {
		changed := newMachine()
		if c.change != nil {
			changed = newMachine(c.change)
		}
		in.Evidence = changed.report()
		a := appraise(t, newTest(t, deps(bundle(t, c.files...))), in)
		if a.Vector[verdict.Hardware] != c.hw {
			t.Errorf("%s: %d %v", c.name, a.Vector[verdict.Hardware], a.Reasons)
		}
	}
	recordedReport := verifiers.Input{Time: at("2026-07-01"), Evidence: vectors.Read(t, "snp/microsoft/turin_attestation_report.bin")}
	d := verifiers.Deps{Endorsements: bundle(t, vectors.Read(t, "snp/microsoft/turin_vcek.pem"))}
	if a := appraise(t, newTest(t, d), recordedReport); a.Vector[verdict.Hardware] != 2 {
		t.Errorf("recorded: %v", a.Reasons)
	}
}

var forgedKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })

func TestNeeds(t *testing.T) {
	raw := evidence.MediaType{Base: typeReport}
	crl := func(p string) endorsements.Need { return endorsements.Need{Kind: endorsements.NeedAMDCRL, Product: p} }
	m, tu := newMachine(), newMachine(turin)
	v2 := newMachine(edit(0, 2), edit(0x188, 0, 0, 0))
	for name, c := range map[string]struct {
		mt   evidence.MediaType
		raw  []byte
		want []endorsements.Need
	}{
		"with its key":  {raw, m.evidence(), []endorsements.Need{crl("Genoa")}},
		"without":       {raw, m.report(), []endorsements.Need{{Kind: endorsements.NeedAMDVCEK, Product: "Genoa", ChipID: hex.EncodeToString(chipOfTests), TCB: 0x541800000000000a}, crl("Genoa")}},
		"turin":         {raw, tu.report(), []endorsements.Need{{Kind: endorsements.NeedAMDVCEK, Product: "Turin", ChipID: hex.EncodeToString(chipOfTests[:8]), TCB: 0x5100000004010101}, crl("Turin")}},
		"version 2":     {raw, v2.report(), []endorsements.Need{{Kind: endorsements.NeedAMDVCEK, ChipID: hex.EncodeToString(chipOfTests), TCB: 0x541800000000000a}}},
		"version 2 key": {raw, v2.evidence(), []endorsements.Need{crl("Genoa")}},
		"hidden chip":   {raw, newMachine(edit(0x1a0, make([]byte, 64)...)).report(), []endorsements.Need{crl("Genoa")}},
		"VLEK":          {raw, newMachine(vlek).report(), []endorsements.Need{crl("Genoa")}},
		"garbage":       {raw, bytes.Repeat([]byte{0xff}, 4000), nil},
		"short":         {raw, []byte{1}, nil},
		"other type":    {evidence.MediaType{Base: "x/y"}, m.evidence(), nil},
	} {
		if got := Scheme().Needs(c.mt, c.raw); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Renew takes other collateral and keeps what is verified.
func TestRenew(t *testing.T) {
	m := newMachine()
	in := m.input()
	v := newTest(t, deps(nil))
	if a := appraise(t, v, in); a.Vector[verdict.Hardware] != 2 {
		t.Fatalf("%v", a.Reasons)
	}
	var _ verifiers.Renewer = v
	next, err := v.Renew(bundle(t, list(&m.pki.ark, now.AddDate(0, 0, -1), now.AddDate(0, 1, 0), nil, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if a := appraise(t, next.(*verifier), in); a.Vector[verdict.Hardware] != 96 || next.(*verifier).keys.Len() != 1 {
		t.Errorf("the renewed verifier does not see the list: %v", a.Reasons)
	}
	if a := appraise(t, v, in); a.Vector[verdict.Hardware] != 2 {
		t.Errorf("the first verifier has changed: %v", a.Reasons)
	}
	again, err := next.(*verifier).Renew(nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := appraise(t, again.(*verifier), in); a.Vector[verdict.Hardware] != 2 {
		t.Errorf("%v", a.Reasons)
	}
}

func TestContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := newTest(t, verifiers.Deps{}).Appraise(ctx, verifiers.Input{}); err == nil {
		t.Error("a verdict after the context ended")
	}
}

// A binder that fails rejects the whole, and one that holds says where
// freshness comes from.
func TestBinder(t *testing.T) {
	v := newTest(t, deps(nil))
	m := newMachine()
	c := &certificates{vcek: m.vek(), ask: m.pki.ask.cert.Raw}
	in := verifiers.Input{Time: now, Nonce: []byte("elsewhere")}
	var seen [64]byte
	a := v.appraiseReport(in, m.report(), c, func(a *verdict.Appraisal, data [64]byte) *failure {
		seen, a.Freshness, a.NonceSeen = data, verdict.FreshnessFresh, []byte("elsewhere")
		return nil
	})
	if a.Freshness != verdict.FreshnessFresh || string(a.NonceSeen) != "elsewhere" || !bytes.Equal(seen[:], bytes.Repeat([]byte{0xda}, 64)) || a.Facts.ReportData != "" {
		t.Errorf("%+v", a)
	}
	a = v.appraiseReport(in, m.report(), c, func(*verdict.Appraisal, [64]byte) *failure {
		return failf(verdict.ReasonIdentityMismatch, "REPORT_DATA commits to something else")
	})
	expectRejected(t, "binder", a, verdict.ReasonIdentityMismatch)
	called := false
	bad := newMachine(func(m *machine) { m.after = func(b []byte) { b[0x90] ^= 1 } })
	v.appraiseReport(in, bad.report(), c, func(*verdict.Appraisal, [64]byte) *failure { called = true; return nil })
	if called {
		t.Error("REPORT_DATA of a report with a bad signature is looked at")
	}
}

// Certificates of a table in text are still one certificate each.
func TestDER(t *testing.T) {
	cert := newMachine().vek()
	for name, c := range map[string]struct {
		blob []byte
		ok   bool
	}{
		"DER": {cert, true}, "PEM": {asPEM(cert), true}, "PEM, padded": {append(asPEM(cert), 0, 0), true},
		"PEM and more": {append(asPEM(cert), 'x'), false}, "PEM of something": {bytes.Replace(asPEM(cert), []byte("BEGIN CERTIFICATE"), []byte("BEGIN CERTIFICATE-----\nA: b\n\n-----BEGIN CERTIFICATE"), 1), false},
		"broken PEM": {[]byte(strings.Repeat("-----BEGIN CERTIFICATE-----\n", 3)), false}, "too long": {make([]byte, maxCertificate+1), false},
	} {
		got, err := der(c.blob)
		if (err == nil) != c.ok || c.ok && !bytes.Equal(got, cert) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
