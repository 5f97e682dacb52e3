// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/verifiertest"
)

// p256 is a device whose signatures are quick to check.
func p256(d *device) { d.asym, d.hash, d.meas = ECDSAP256, BaseSHA256, MeasurementSHA256 }

// affirmed is a device with everything that it takes to be affirmed.
func affirmed(tb testing.TB, opts ...func(*device)) (*device, *verifier, verifiers.Input) {
	tb.Helper()
	d := newDevice(tb, opts...)
	fullBlocks(d)
	x := indexOf(tb, document(tb, "release", true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: d.stated(tb)}))
	return d, newTest(tb, trusting(tb, d.anchor, d.slot, "", "", "")), input(tb, d.evidence(tb), d.nonce, x)
}

func TestConformance(t *testing.T) {
	var fixtures []verifiertest.Fixture
	for _, c := range []struct {
		name string
		opts []func(*device)
	}{
		{"1.2", list(p256)}, {"1.3", list(p256, versionOf(Version13), func(d *device) { d.multi = true })}, {"1.4", list(p256, versionOf(Version14), func(d *device) { d.large = true })},
	} {
		d, _, in := affirmed(t, c.opts...)
		fixtures = append(fixtures, verifiertest.Fixture{
			Name: c.name, MediaType: in.MediaType, Evidence: in.Evidence, Nonce: in.Nonce, Time: at, Before: at.AddDate(-3, 0, 0),
			Deps: trusting(t, d.anchor, d.slot, "", "", ""), Want: verdict.TierWarning,
		})
	}
	verifiertest.Run(t, Scheme(), fixtures...)
}

func tierOf(t *testing.T, v *verifier, in verifiers.Input) verdict.Tier {
	t.Helper()
	a, err := v.Appraise(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if a.Status() != verdict.TierAffirming && len(a.Reasons) == 0 {
		t.Fatal("no reason")
	}
	return a.Status()
}

// TestWalk flips each bit pattern of each byte of a container: what is signed must
// not stay affirming, and the only bytes that change nothing are the name and the
// nonce that the collector wrote beside it.
func TestWalk(t *testing.T) {
	d, v, in := affirmed(t, p256, versionOf(Version13), func(d *device) { d.multi = true })
	if got := tierOf(t, v, in); got != verdict.TierAffirming {
		t.Fatal(got)
	}
	name, nonce := bytes.Index(in.Evidence, []byte("sim")), bytes.Index(in.Evidence, d.nonce)
	step := 1
	if testing.Short() {
		step = 31
	}
	for i := 0; i < len(in.Evidence); i += step {
		changed := in
		changed.Evidence = bytes.Clone(in.Evidence)
		changed.Evidence[i] ^= 1 << (i % 8)
		said := i >= name && i < name+3 || i >= nonce && i < nonce+len(d.nonce)
		if got := tierOf(t, v, changed); got == verdict.TierAffirming && !said {
			t.Fatalf("byte %d of %d", i, len(in.Evidence))
		}
	}
}

// TestWalkInterface flips the bytes of an interface report and of TSM information.
// Who relies on no binding never affirms such a device; the others are told each
// time that a relay is required, and of which bytes.
func TestWalkInterface(t *testing.T) {
	s := situated(t, checkCase{opts: list(func(d *device) { d.hash, d.meas = BaseSHA384, MeasurementSHA384 }), edit: locked(goodLock, StateRun)})
	v := newTest(t, trusting(t, s.anchor, 0, "", "", unrelied))
	relying := newTest(t, trusting(t, s.anchor, 0, "", "", ""))
	in := input(t, s.e, s.nonce, s.index)
	if tierOf(t, v, in) != verdict.TierWarning || tierOf(t, relying, in) != verdict.TierAffirming {
		t.Fatal("the walk begins with another device")
	}
	honest, _ := appraise(t, relying, in)
	told := func(name string, in verifiers.Input) {
		a, _ := appraise(t, relying, in)
		object := func(o verdict.Object) bool { return o.Name == name }
		if i := slices.IndexFunc(a.Facts.Objects, object); !a.Facts.RelayRequired ||
			a.Status() == verdict.TierAffirming && (i < 0 || a.Facts.Objects[i] == honest.Facts.Objects[slices.IndexFunc(honest.Facts.Objects, object)]) {
			t.Fatalf("the lead is not told of another %s: %+v", name, a.Facts)
		}
	}
	report := bytes.Clone(s.e.Report)
	for i := range report {
		if testing.Short() && i%13 != 0 { // a sample under the race detector
			continue
		}
		s.e.Report = bytes.Clone(report)
		s.e.Report[i] ^= 1 << (i % 8)
		in := input(t, s.e, s.nonce, s.index)
		if tierOf(t, v, in) == verdict.TierAffirming || tierOf(t, relying, in) != verdict.TierContraindicated && i != 2 && i != 3 && tierOf(t, relying, in) != verdict.TierWarning {
			t.Fatalf("byte %d of the report", i)
		}
		told(verdict.ObjectReport, in)
	}
	for n := range report {
		if testing.Short() && n%13 != 0 { // a sample under the race detector
			continue
		}
		s.e.Report = report[:n]
		if n == 0 {
			s.e.Report = nil
		}
		in := input(t, s.e, s.nonce, s.index)
		if tierOf(t, v, in) == verdict.TierAffirming || tierOf(t, relying, in) == verdict.TierAffirming {
			t.Fatalf("report cut off after %d bytes", n)
		}
	}
	s.e.Report = report
	tsm := s.e.TSM.Raw
	for i := range tsm {
		if testing.Short() && i%13 != 0 { // a sample under the race detector
			continue
		}
		s.e.TSM.Raw = bytes.Clone(tsm)
		s.e.TSM.Raw[i] ^= 1 << (i % 8)
		in := input(t, s.e, s.nonce, s.index)
		if tierOf(t, v, in) == verdict.TierAffirming {
			t.Fatalf("byte %d of the TSM information", i)
		}
		told(verdict.ObjectTSM, in)
	}
}

// TestLockFlag: of what collector and TSM say the worse counts.
func TestLockFlag(t *testing.T) {
	s := situated(t, checkCase{edit: locked(goodLock, StateRun)})
	none, all := LockFlags(0), goodLock
	for _, c := range []struct {
		said *LockFlags
		raw  []byte
		want string
	}{
		{&all, s.e.TSM.Raw, bitOn}, {nil, s.e.TSM.Raw, bitOn}, {&none, s.e.TSM.Raw, bitOff}, {&all, s.tio(none, StateRun).Raw, bitOff},
		{nil, s.tio(none, StateRun).Raw, bitOff}, {nil, []byte{1}, bitAny}, {&all, []byte{1}, bitOn},
	} {
		if got := lockFlag(&TSM{Kind: TSMSEVTIO, Raw: c.raw, LockFlags: c.said}, LockMSIX); got != c.want {
			t.Errorf("%v: %s, expected %s", c.said, got, c.want)
		}
	}
	if lockFlag(nil, LockMSIX) != bitAny {
		t.Error("nobody says anything")
	}
}

// TestTruncations cuts container and transcripts at every length.
func TestTruncations(t *testing.T) {
	d, v, in := affirmed(t, p256)
	for n := range in.Evidence {
		cut := in
		cut.Evidence = in.Evidence[:n]
		if got := tierOf(t, v, cut); got != verdict.TierContraindicated {
			t.Fatalf("container of %d bytes: %s", n, got)
		}
	}
	good := d.evidence(t)
	for name, set := range map[string]func(*Evidence, int) int{
		"vca": func(e *Evidence, n int) int { e.VCA = e.VCA[:n]; return len(good.VCA) },
		"chain": func(e *Evidence, n int) int {
			e.Chains = map[uint8][]byte{0: e.Chains[0][:n]}
			return len(good.Chains[0])
		},
		"measurements": func(e *Evidence, n int) int { e.Measurements = e.Measurements[:n]; return len(good.Measurements) },
		"challenge":    func(e *Evidence, n int) int { e.Challenge = e.Challenge[:n]; return len(good.Challenge) },
	} {
		probe := *good
		for n, total := 1, set(&probe, 0); n < total; n++ {
			e := *good
			set(&e, n)
			got := tierOf(t, v, input(t, &e, d.nonce, in.References))
			if got == verdict.TierAffirming || got != verdict.TierContraindicated && name != "measurements" {
				t.Fatalf("%s of %d bytes: %s", name, n, got)
			}
		}
	}
}

// TestFacts: what the lead binds with is what the device signed, and the digests of
// its objects.
func TestFacts(t *testing.T) {
	d, v, in := affirmed(t)
	a, _ := appraise(t, v, in)
	f := a.Facts
	if !slices.Equal(f.Device, []string{"spdm:ACME:WIDGET:1", "spdm-key:" + f.SignerSPKI}) || len(f.SignerSPKI) != 64 || f.ReportData != bytesHex(d.nonce) ||
		f.RelayRequired || len(f.Environments) != 1 || len(f.Objects) != 4*3 {
		t.Fatalf("%+v", f)
	}
	s := situated(t, checkCase{edit: locked(goodLock, StateRun)})
	a, _ = appraise(t, newTest(t, trusting(t, s.anchor, 0, "", "", "")), input(t, s.e, s.nonce, nil))
	want := bytesHex(hashOf384(s.e.Report))
	if !a.Facts.RelayRequired || len(a.Facts.Objects) != 6*3 || !slices.Contains(a.Facts.Objects, verdict.Object{Name: verdict.ObjectReport, Alg: verdict.AlgSHA384, Digest: want}) {
		t.Fatalf("%+v", a.Facts)
	}
	report, tsm := a.Claims["interface_report"].(map[string]any), a.Claims["tsm"].(map[string]any)
	if report["authenticated"] != leftToLead || report["sha384"] != want || tsm["authenticated"] != leftToLead || tsm["state"] != "RUN" {
		t.Fatalf("%v %v", report, tsm)
	}
}

// TestLeftToTheLead: every result that rests on an interface report or on TSM
// information asks for a relay, whether the policy lets the claims stand or not, and
// names no missing one; a device that has neither asks for none.
func TestLeftToTheLead(t *testing.T) {
	for _, c := range []struct {
		name            string
		edit            func(*situation)
		row             string
		required, lacks bool
		tier            verdict.Tier
	}{
		{"default", locked(goodLock, StateRun), "", true, false, verdict.TierAffirming},
		{"written as it is", locked(goodLock, StateRun), "report-unauthenticated: {}", true, false, verdict.TierAffirming},
		{"refused in any case", locked(goodLock, StateRun), unrelied, true, true, verdict.TierWarning},
		{"an unlocked interface", locked(goodLock, StateUnlocked), "", true, false, verdict.TierContraindicated},
		{"a report alone", func(s *situation) { s.e.Report = interfaceReport(goodInfo, "", goodRanges...) }, "", true, false, verdict.TierWarning},
		{"an unreadable report", func(s *situation) { s.e.Report = []byte{1} }, "", true, false, verdict.TierWarning},
		{"TSM information alone", func(s *situation) { locked(goodLock, StateRun)(s); s.e.Report = nil }, "", true, false, verdict.TierWarning},
		{"neither", nil, "", false, false, verdict.TierAffirming},
		{"neither, refused in any case", nil, unrelied, false, false, verdict.TierAffirming},
	} {
		s := situated(t, checkCase{edit: c.edit})
		a, _ := appraise(t, newTest(t, trusting(t, s.anchor, 0, "", "", c.row)), input(t, s.e, s.nonce, s.index))
		if a.Facts.RelayRequired != c.required || has(a, verdict.ReasonReportUnauthenticated) != c.lacks || a.Status() != c.tier {
			t.Errorf("%s: %s, relay required %t: %s", c.name, a.Status(), a.Facts.RelayRequired, details(a))
		}
	}
}

// TestIdentities: what is not one device's alone makes no two devices one.
func TestIdentities(t *testing.T) {
	for name, want := range map[string]int{"A:B:1": 2, "A:B:1:2": 2, "A:B:": 1, "A:B": 1, "::1": 1, "": 1} {
		if got := identities(&Identity{DeviceInfo: name, Leaf: &x509.Certificate{}}); len(got) != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if got := deviceNames(&Identity{Leaf: &x509.Certificate{}}); len(got) != 1 {
		t.Error(got)
	}
	long := deviceNames(&Identity{Leaf: &x509.Certificate{Subject: pkix.Name{CommonName: strings.Repeat("x", 2000)}}})
	if len(long) != 1 {
		t.Error(long)
	}
}

// TestChainCache: a chain that is remembered depends neither on the buffer that it
// came in nor on the time at which it was verified.
func TestChainCache(t *testing.T) {
	d, v, in := affirmed(t)
	raw := bytes.Clone(in.Evidence)
	own := in
	own.Evidence = raw
	if got := tierOf(t, v, own); got != verdict.TierAffirming {
		t.Fatal(got)
	}
	for i := range raw {
		raw[i] = 0xEE
	}
	fresh, _ := appraise(t, newTest(t, trusting(t, d.anchor, 0, "", "", "")), in)
	if a, _ := appraise(t, v, in); a.Status() != verdict.TierAffirming || !reflect.DeepEqual(a, fresh) {
		t.Fatalf("the chain changed with the buffer: %+v", a)
	}
	late := in
	late.Time = at.AddDate(2, 0, 0)
	a, found := appraise(t, v, late)
	if !slices.Contains(found, findExpired) || a.Status() != verdict.TierContraindicated {
		t.Fatal(found)
	}
}

// TestRenew: other collateral brings and takes anchors and revocation lists.
func TestRenew(t *testing.T) {
	d, v, in := affirmed(t)
	s := &situation{t: t, d: d, e: d.evidence(t)}
	for _, c := range []struct {
		name string
		der  [][]byte
		want verdict.Tier
	}{
		{"without the root", [][]byte{newOther(t).Raw}, verdict.TierContraindicated},
		{"with a list", [][]byte{d.anchor.Raw, crl(t, s, false, at.Add(time.Hour), 7)}, verdict.TierContraindicated},
		{"as before", [][]byte{d.anchor.Raw}, verdict.TierAffirming},
	} {
		next, err := v.Renew(collateral(t, c.der...))
		if err != nil {
			t.Fatal(err)
		}
		a, err := next.Appraise(context.Background(), in)
		if err != nil || a.Status() != c.want {
			t.Fatalf("%s: %s %v %s", c.name, a.Status(), err, details(a))
		}
		if c.want == verdict.TierContraindicated && c.name == "without the root" && !bytes.Contains([]byte(details(a)), []byte("1 of 1 anchors of the policy are not among")) {
			t.Fatal(details(a))
		}
	}
	if tierOf(t, v, in) != verdict.TierAffirming {
		t.Fatal("the verifier from before changed")
	}
}

// TestNonceStates: a segment of its own nonce, and no nonce at all.
func TestNonceStates(t *testing.T) {
	d, v, in := affirmed(t)
	e := d.evidence(t)
	second := slices.Clone(d.nonce)
	second[0] ^= 1
	e.Measurements = slices.Concat(e.Measurements, d.measured(t, d.getMeasurements(1, 0xFF, second), d.unsigned(d.count, d.blocks)))
	for _, n := range [][]byte{d.nonce, second} {
		mixed := input(t, e, n, in.References)
		if a, found := appraise(t, v, mixed); !slices.Contains(found, findNonce) || a.Freshness != verdict.FreshnessMismatch {
			t.Fatal(found)
		}
	}
	in.Nonce = nil
	if a, _ := appraise(t, v, in); a.Freshness != verdict.FreshnessNotEstablished || a.Status() != verdict.TierWarning {
		t.Fatal(a.Freshness)
	}
	in.MediaType = evidence.MediaType{Base: "application/octet-stream"}
	if a, found := appraise(t, v, in); !slices.Contains(found, findUnsupported) || a.Status() != verdict.TierContraindicated {
		t.Fatal(found)
	}
}
