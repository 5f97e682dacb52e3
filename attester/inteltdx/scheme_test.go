// SPDX-License-Identifier: Apache-2.0

package inteltdx_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	scheme "github.com/assize/assize/verifiers/inteltdx"
	"github.com/assize/assize/verifiers/verifiertest"
)

var forms = map[string]inteltdx.Quote{"v4": inteltdx.V4, "v5 1.0": inteltdx.V5TDX10, "v5 1.5": inteltdx.V5TDX15}

func options() inteltdx.Options {
	return inteltdx.Options{
		Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC),
	}
}

func newDevice(tb testing.TB, o inteltdx.Options) *inteltdx.Device {
	tb.Helper()
	d, err := inteltdx.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func reportData(text string) []byte { return pki.NewSeed(text).Bytes(inteltdx.ReportDataSize) }

func quote(tb testing.TB, d *inteltdx.Device, data []byte) []byte {
	tb.Helper()
	raw, err := d.Evidence(data)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// bundle loads collateral as a verifier does.
func bundle(tb testing.TB, d *inteltdx.Device) *endorsements.Bundle {
	tb.Helper()
	files, err := d.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, raw := range files {
		fsys[name] = &fstest.MapFile{Data: raw}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) != 0 || b.Len() != len(files) || b.Len() != 1 {
		tb.Fatalf("%d sets, %v, %v", b.Len(), warnings, err)
	}
	return b
}

func deps(tb testing.TB, d *inteltdx.Device) verifiers.Deps {
	return verifiers.Deps{
		Endorsements: bundle(tb, d), ExtraRoots: map[string][]*x509.Certificate{scheme.Name: {d.Root()}},
	}
}

func appraise(tb testing.TB, deps verifiers.Deps, mt string, raw, nonce []byte, now time.Time) verdict.Appraisal {
	tb.Helper()
	v, err := scheme.Scheme().New(deps)
	if err != nil {
		tb.Fatal(err)
	}
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: mt}, Evidence: raw, Nonce: nonce, Time: now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func codes(a verdict.Appraisal) []string {
	var out []string
	for _, r := range a.Reasons {
		out = append(out, r.Code)
	}
	return out
}

// TestScheme appraises honest and faulty machines: a fault changes what it is
// about and nothing else.
func TestScheme(t *testing.T) {
	const noReference = verdict.ReasonNoReferenceValues
	for _, c := range []struct {
		name     string
		set      func(*inteltdx.Options)
		deps     func(*verifiers.Deps)
		hardware verdict.Claim
		tier     verdict.Tier
		reasons  []string
	}{
		{"honest", func(*inteltdx.Options) {}, nil, verdict.ClaimApproved, verdict.TierWarning, []string{noReference}},
		{"no trust", func(*inteltdx.Options) {}, func(d *verifiers.Deps) { d.ExtraRoots = nil },
			verdict.ClaimCryptoFailed, verdict.TierContraindicated, []string{verdict.ReasonUnknownRoot}},
		{"no collateral", func(*inteltdx.Options) {}, func(d *verifiers.Deps) { d.Endorsements = nil },
			verdict.ClaimUnsafe, verdict.TierWarning, []string{verdict.ReasonNoCollateral, noReference}},
		{"debug", func(o *inteltdx.Options) { o.Debug = true }, nil,
			verdict.ClaimApproved, verdict.TierContraindicated, []string{verdict.ReasonDebug, noReference}},
		{"outdated", func(o *inteltdx.Options) { o.OutdatedTCB = true }, nil,
			verdict.ClaimUnsafe, verdict.TierWarning, []string{verdict.ReasonTCBOutOfDate, noReference}},
		{"revoked", func(o *inteltdx.Options) { o.Revoked = true }, nil,
			verdict.ClaimContraindicate, verdict.TierContraindicated, []string{verdict.ReasonRevoked, noReference}},
		{"expired", func(o *inteltdx.Options) { o.Expired = true }, nil,
			verdict.ClaimCryptoFailed, verdict.TierContraindicated, []string{verdict.ReasonExpired}},
		{"wrong signer", func(o *inteltdx.Options) { o.WrongSigner = true }, nil,
			verdict.ClaimCryptoFailed, verdict.TierContraindicated, []string{verdict.ReasonSignatureInvalid}},
		{"measurement", func(o *inteltdx.Options) { o.Measurement = true }, nil,
			verdict.ClaimApproved, verdict.TierWarning, []string{noReference}},
	} {
		for form, q := range forms {
			t.Run(c.name+" "+form, func(t *testing.T) {
				o := options()
				o.Quote = q
				c.set(&o)
				d := newDevice(t, o)
				deps := deps(t, d)
				if c.deps != nil {
					c.deps(&deps)
				}
				nonce := reportData("nonce")
				a := appraise(t, deps, inteltdx.TypeQuote, quote(t, d, nonce), nonce, o.Now)
				if a.Vector[verdict.Hardware] != c.hardware || a.Status() != c.tier || !slices.Equal(codes(a), c.reasons) {
					t.Errorf("hardware %d, tier %v, %v", a.Vector[verdict.Hardware], a.Status(), a.Reasons)
				}
				if c.hardware != verdict.ClaimCryptoFailed && (a.Freshness != verdict.FreshnessFresh || !bytes.Equal(a.NonceSeen, nonce)) {
					t.Errorf("freshness %s", a.Freshness)
				}
			})
		}
	}
}

// TestMeasurements compares the reference values with what a verifier reads,
// under every fault: they are always the honest ones.
func TestMeasurements(t *testing.T) {
	honest := newDevice(t, options()).Measurements()
	for name, fault := range map[string]func(*inteltdx.Options){
		"honest": func(*inteltdx.Options) {}, "measurement": func(o *inteltdx.Options) { o.Measurement = true },
		"debug": func(o *inteltdx.Options) { o.Debug = true }, "outdated": func(o *inteltdx.Options) { o.OutdatedTCB = true },
	} {
		o := options()
		fault(&o)
		d := newDevice(t, o)
		a := appraise(t, deps(t, d), inteltdx.TypeQuote, quote(t, d, reportData("n")), nil, o.Now)
		seen := map[string]string{}
		for i, m := range d.Measurements() {
			value := append(bytes.Clone(m.Digest), m.Raw...)
			if h := honest[i]; h.Name != m.Name || !bytes.Equal(h.Digest, m.Digest) || !bytes.Equal(h.Raw, m.Raw) {
				t.Errorf("%s: reference value %s is not the honest one", name, m.Name)
			}
			if (m.Alg == "sha-384") != (m.Digest != nil) || (m.Digest == nil) == (m.Raw == nil) {
				t.Errorf("%s: %+v", name, m)
			}
			if fmt.Sprint(a.Claims[m.Name]) != hex.EncodeToString(value) {
				seen[m.Name] = fmt.Sprint(a.Claims[m.Name])
			}
		}
		want := map[string][]string{"measurement": {"rtmr2"}, "outdated": {"tee_tcb_svn"}}[name]
		if len(seen) != len(want) {
			t.Errorf("%s: other values than the reference in %v", name, seen)
		}
		for _, w := range want {
			if seen[w] == "" {
				t.Errorf("%s: %s is the reference value", name, w)
			}
		}
	}
	if len(honest) != 11 {
		t.Errorf("%d reference values", len(honest))
	}
}

// TestFlippedBit: the fault changes one bit and is signed.
func TestFlippedBit(t *testing.T) {
	o := options()
	good := appraise(t, verifiers.Deps{ExtraRoots: deps(t, newDevice(t, o)).ExtraRoots}, inteltdx.TypeQuote,
		quote(t, newDevice(t, o), reportData("n")), nil, o.Now).Facts.Registers
	o.Measurement = true
	d := newDevice(t, o)
	bad := appraise(t, deps(t, d), inteltdx.TypeQuote, quote(t, d, reportData("n")), nil, o.Now).Facts.Registers
	for name := range good {
		x, _ := hex.DecodeString(good[name])
		y, _ := hex.DecodeString(bad[name])
		bits := 0
		for i := range x {
			for v := x[i] ^ y[i]; v != 0; v &= v - 1 {
				bits++
			}
		}
		if want := map[string]int{"rtmr2": 1}[name]; bits != want || len(x) != inteltdx.RegisterSize {
			t.Errorf("%s: %d bits differ, expected %d", name, bits, want)
		}
	}
}

// TestWrapped opens every container with the scheme.
func TestWrapped(t *testing.T) {
	o := options()
	d := newDevice(t, o)
	nonce := reportData("nonce")
	raw := quote(t, d, nonce)
	report, err := inteltdx.TSMReport(raw)
	if err != nil {
		t.Fatal(err)
	}
	object, err := inteltdx.JSON(raw, d.EventLog())
	if err != nil {
		t.Fatal(err)
	}
	bare, err := inteltdx.JSON(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mt  string
		raw []byte
		log bool
	}{
		{inteltdx.TypeQuote, raw, false}, {inteltdx.TypeTSMReport, report, false},
		{inteltdx.TypeJSON, object, true}, {inteltdx.TypeJSON, bare, false},
	} {
		a := appraise(t, deps(t, d), c.mt, c.raw, nonce, o.Now)
		if a.Vector[verdict.Hardware] != verdict.ClaimApproved || a.Freshness != verdict.FreshnessFresh || (a.Claims["event_log"] != nil) != c.log {
			t.Errorf("%s: %v %v %v", c.mt, a.Vector, a.Reasons, a.Claims["event_log"])
		}
	}
	r, err := tsm.Decode(evidence.MediaType{Base: inteltdx.TypeTSMReport}, report)
	if err != nil || r.Provider != "tdx_guest" || !bytes.Equal(r.OutBlob, raw) || r.AuxBlob != nil {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := inteltdx.TSMReport(nil); err == nil {
		t.Error("empty report")
	}
	if _, err := inteltdx.JSON(nil, nil); err == nil {
		t.Error("empty object")
	}
}

// TestConformance: the simulated evidence serves the suite of all schemes.
func TestConformance(t *testing.T) {
	o := options()
	d := newDevice(t, o)
	nonce := reportData("nonce")
	verifiertest.Run(t, scheme.Scheme(), verifiertest.Fixture{
		Name: "simulated", MediaType: evidence.MediaType{Base: inteltdx.TypeQuote}, Evidence: quote(t, d, nonce), Nonce: nonce,
		Time: o.Now, Before: time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC), Deps: deps(t, d), Want: verdict.TierWarning, FlipEvery: 499,
	})
}

// TestOtherTimes: machines can be simulated at any supported time.
func TestOtherTimes(t *testing.T) {
	for _, year := range []int{2020, 2024, 2030, 2048} {
		for _, now := range []time.Time{
			time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 12, 31, 23, 59, 59, 999, time.FixedZone("", -3600*11)),
			time.Date(year, 2, 29, 12, 0, 0, 0, time.UTC),
		} {
			o := options()
			o.Now = now
			d, err := inteltdx.New(o)
			if now.UTC().Year() > 2048 {
				if err == nil {
					t.Errorf("%s accepted", now)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			a := appraise(t, deps(t, d), inteltdx.TypeQuote, quote(t, d, reportData("n")), reportData("n"), now)
			if a.Vector[verdict.Hardware] != verdict.ClaimApproved {
				t.Errorf("%s: %v", now, a.Reasons)
			}
		}
	}
}

// TestSameAndOther: what follows from which seed.
func TestSameAndOther(t *testing.T) {
	o := options()
	one, same := newDevice(t, o), newDevice(t, o)
	o.Device = pki.NewSeed("other")
	other := newDevice(t, o)
	o = options()
	o.Now = o.Now.AddDate(3, 1, 1)
	later := newDevice(t, o)
	o = options()
	o.Vendor = pki.NewSeed("other")
	foreign := newDevice(t, o)
	file := func(d *inteltdx.Device) (string, string) {
		files, err := d.Endorsements()
		if err != nil || len(files) != 1 {
			t.Fatal(err)
		}
		for name, raw := range files {
			return name, string(raw)
		}
		return "", ""
	}
	n := reportData("n")
	name, raw := file(one)
	if n2, r2 := file(same); !bytes.Equal(quote(t, one, n), quote(t, same, n)) || name != n2 || raw != r2 || !bytes.Equal(one.EventLog(), same.EventLog()) {
		t.Error("same options, other bytes")
	}
	if n2, r2 := file(other); bytes.Equal(quote(t, one, n), quote(t, other, n)) || name != n2 || raw != r2 || !one.Root().Equal(other.Root()) {
		t.Error("devices of one vendor: same quote, other collateral or other root")
	}
	if n2, r2 := file(later); name == n2 || raw == r2 || !one.Root().Equal(later.Root()) {
		t.Error("later: same collateral or other root")
	}
	if one.Root().Equal(foreign.Root()) {
		t.Error("two vendors have one root")
	}
	facts := func(d *inteltdx.Device, now time.Time) verdict.Facts {
		return appraise(t, deps(t, d), inteltdx.TypeQuote, quote(t, d, n), n, now).Facts
	}
	a, b, c := facts(one, options().Now), facts(other, options().Now), facts(later, o.Now.AddDate(3, 1, 1))
	if len(a.Device) != 1 || a.Device[0] == b.Device[0] || a.Device[0] != c.Device[0] || a.SignerSPKI == b.SignerSPKI {
		t.Errorf("identities %v %v %v", a.Device, b.Device, c.Device)
	}
	if bytes.Equal(quote(t, one, n), quote(t, one, reportData("m"))) {
		t.Error("report data changes nothing")
	}
}

func TestSettable(t *testing.T) {
	o := options()
	fill := func(b byte) []byte { return bytes.Repeat([]byte{b}, inteltdx.RegisterSize) }
	o.MRTD, o.MRConfigID, o.MROwner, o.MROwnerConfig = fill(1), fill(2), fill(3), fill(4)
	o.RTMR = [4][]byte{fill(5), fill(6), fill(7), fill(8)}
	d := newDevice(t, o)
	a := appraise(t, deps(t, d), inteltdx.TypeQuote, quote(t, d, reportData("n")), nil, o.Now)
	for name, b := range map[string]byte{"mrtd": 1, "mrconfigid": 2, "mrowner": 3, "mrownerconfig": 4, "rtmr0": 5, "rtmr1": 6, "rtmr2": 7, "rtmr3": 8} {
		if a.Claims[name] != hex.EncodeToString(fill(b)) {
			t.Errorf("%s is %v", name, a.Claims[name])
		}
	}
	if d.EventLog() != nil {
		t.Error("an event log that does not give the registers")
	}
}

func TestRefusedOptions(t *testing.T) {
	for name, set := range map[string]func(*inteltdx.Options){
		"no time": func(o *inteltdx.Options) { o.Now = time.Time{} }, "too early": func(o *inteltdx.Options) { o.Now = o.Now.AddDate(-10, 0, 0) },
		"form":        func(o *inteltdx.Options) { o.Quote = 3 },
		"form below":  func(o *inteltdx.Options) { o.Quote = -1 },
		"MRTD":        func(o *inteltdx.Options) { o.MRTD = make([]byte, 47) },
		"MRCONFIGID":  func(o *inteltdx.Options) { o.MRConfigID = make([]byte, 49) },
		"RTMR":        func(o *inteltdx.Options) { o.RTMR[3] = make([]byte, 32) },
		"register":    func(o *inteltdx.Options) { o.Events = []inteltdx.Event{{RTMR: 4, Type: 1}} },
		"below":       func(o *inteltdx.Options) { o.Events = []inteltdx.Event{{RTMR: -1, Type: 1}} },
		"no action":   func(o *inteltdx.Options) { o.Events = []inteltdx.Event{{RTMR: 3, Type: 3}} },
		"many events": func(o *inteltdx.Options) { o.Events = []inteltdx.Event{{Data: make([]byte, 300<<10)}} },
	} {
		o := options()
		set(&o)
		if _, err := inteltdx.New(o); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	d := newDevice(t, options())
	for _, n := range []int{0, 32, 63, 65} {
		if _, err := d.Evidence(make([]byte, n)); err == nil {
			t.Errorf("report data of %d bytes accepted", n)
		}
	}
}

// TestConcurrent: quotes of one device do not disturb each other.
func TestConcurrent(t *testing.T) {
	d := newDevice(t, options())
	want := make([][]byte, 8)
	for i := range want {
		want[i] = quote(t, d, reportData(fmt.Sprint(i)))
	}
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			raw, err := d.Evidence(reportData(fmt.Sprint(i)))
			if err != nil || !bytes.Equal(raw, want[i]) {
				t.Errorf("quote %d differs: %v", i, err)
			}
		})
	}
	wg.Wait()
}
