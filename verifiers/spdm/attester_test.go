// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/pki"
	attester "github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/verifiers/spdm"
)

// now is when the simulated devices make their evidence.
var now = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)

// TestAttester verifies the evidence of simulated devices, which another package
// makes independently of the code under test.
func TestAttester(t *testing.T) {
	type options = attester.Options
	for _, c := range []struct {
		name string
		set  func(*options)
		kind spdm.Kind // "" is accepted
	}{
		{"honest", func(*options) {}, ""},
		{"1.1", func(o *options) { o.Version = attester.Version11 }, ""},
		{"1.3", func(o *options) { o.Version = attester.Version13 }, ""},
		{"1.3 multi-key", func(o *options) {
			o.Version, o.MultiKey, o.Slots, o.Slot = attester.Version13, true, []uint8{0, 3}, 3
		}, ""},
		{"P-256", func(o *options) { o.Suite = attester.SuiteP256 }, ""},
		{"other measurement hash", func(o *options) { o.MeasurementHash = crypto.SHA512 }, ""},
		{"SHA-3 of measurements", func(o *options) { o.MeasurementHash, o.Version = crypto.SHA3_384, attester.Version14 }, ""},
		{"P-256 with SHA-384", func(o *options) { o.Suite = attester.SuiteP256SHA384 }, ""},
		{"RSAPSS-2048", func(o *options) { o.Suite = attester.SuiteRSAPSS2048 }, ""},
		{"RSASSA-4096", func(o *options) { o.Suite, o.Version = attester.SuiteRSASSA4096, attester.Version14 }, ""},
		{"alias", func(o *options) { o.Alias = true }, ""},
		{"opaque data", func(o *options) { o.Opaque = true }, ""},
		{"no challenge", func(o *options) { o.NoChallenge = true }, ""},
		{"TDX Connect", func(o *options) { o.TSM = attester.TSMTDX }, ""},
		{"SEV-TIO", func(o *options) { o.TSM = attester.TSMSEVTIO }, ""},
		{"debug", func(o *options) { o.Debug = true }, ""},
		{"report of another device", func(o *options) { o.TSM, o.ReportSwapped = attester.TSMTDX, true }, ""},
		{"expired", func(o *options) { o.Expired = true }, spdm.KindExpired},
		{"wrong signer", func(o *options) { o.WrongSigner = true }, spdm.KindSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasSuffix(c.name, "-4096") && testing.Short() {
				t.Skip("keys of 4096 bits take seconds")
			}
			o := options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now}
			c.set(&o)
			d, err := attester.New(o)
			if err != nil {
				t.Fatal(err)
			}
			nonce := bytes.Repeat([]byte{0x42}, spdm.NonceSize)
			raw, err := d.Evidence(nonce)
			if err != nil {
				t.Fatal(err)
			}
			e, err := spdm.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			x := spdm.Expect{Anchors: []spdm.Anchor{{Certificate: d.Root(), Slots: 1 << o.Slot}}, Time: now, Nonce: nonce}
			r, err := spdm.Verify(e, x)
			if c.kind != "" {
				if spdm.KindOf(err) != c.kind {
					t.Fatalf("error %v, expected kind %s", err, c.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkAttester(t, o, d, r)
			x.Nonce = bytes.Repeat([]byte{1}, spdm.NonceSize)
			if _, err := spdm.Verify(e, x); spdm.KindOf(err) != spdm.KindNonce {
				t.Fatal(err)
			}
		})
	}
}

func checkAttester(t *testing.T, o attester.Options, d *attester.Device, r *spdm.Result) {
	t.Helper()
	if !r.Fresh || r.Identity.DeviceInfo != d.Identity() || r.Identity.Slot != o.Slot || (r.Challenge == nil) != o.NoChallenge {
		t.Fatalf("%+v", r)
	}
	if !bytes.Equal(r.Objects.VCA, d.VCA()) || !bytes.Equal(r.Objects.Chain, d.ChainStructure(o.Slot)) || (r.Report == nil) != (o.TSM == "") {
		t.Fatal("objects")
	}
	if r.Challenge != nil && r.Challenge.Summary != spdm.SummaryMatches {
		t.Fatal(r.Challenge.Summary)
	}
	if (r.Identity.Model == spdm.ModelAlias) != o.Alias {
		t.Fatal(r.Identity.Model)
	}
	for _, b := range r.Blocks {
		if m, ok := b.DeviceMode(); ok && m.Debug.Active() != o.Debug {
			t.Fatalf("%+v", m)
		}
	}
}
