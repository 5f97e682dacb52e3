// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	wire "github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	core "github.com/assize/assize/verifiers/spdm"
)

// appraised is what the scheme says of evidence to who trusts the vendor of the
// honest device and has its reference values. Interface reports it leaves to the
// lead.
func appraised(t testing.TB, honest *spdm.Device, mediaType string, raw []byte) verdict.Appraisal {
	t.Helper()
	scheme := core.Scheme()
	files, err := honest.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	dir := fstest.MapFS{}
	for name, raw := range files {
		dir[name] = &fstest.MapFile{Data: raw, Mode: fs.FileMode(0o644)}
	}
	bundle, _, err := endorsements.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := scheme.New(verifiers.Deps{
		Endorsements: bundle, ExtraRoots: map[string][]*x509.Certificate{core.Name: {honest.Root()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	mt, err := wire.ParseMediaType(mediaType)
	if err != nil {
		t.Fatal(err)
	}
	a, err := v.Appraise(context.Background(), verifiers.Input{MediaType: mt, Evidence: raw, Nonce: nonce, Time: now, References: references(t, honest)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func references(t testing.TB, d *spdm.Device) *corim.Index {
	t.Helper()
	entry, err := refvalues.SPDM(d.Identity(), d.Measurements(), slices.Concat(d.ConnectionReferences(), d.InterfaceReferences()))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := refvalues.Unsigned(refvalues.Document{
		ID: "spdm", TagID: "spdm-values", Creator: "vendor", Profile: refvalues.Profile, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(1, 0, 0),
		Entries: []refvalues.Entry{entry},
	})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	x, err := corim.NewIndex(doc)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestSchemeOnEveryVariant: an honest device is affirming, unless the defaults of
// the policy are against its version, its algorithm or its slot.
func TestSchemeOnEveryVariant(t *testing.T) {
	for name, o := range further() {
		d := device(t, o)
		want := verdict.TierAffirming
		if o.Version == spdm.Version11 || o.Suite == spdm.SuiteRSASSA2048 || o.Slot != 0 {
			want = verdict.TierContraindicated
		}
		if a := appraised(t, d, spdm.MediaType, evidence(t, d)); a.Status() != want {
			t.Errorf("%s: %s, expected %s: %v", name, a.Status(), want, a.Reasons)
		}
	}
}

// tiers are what the faults cost by the defaults, written by hand; those that are
// not here contraindicate.
func tiers() map[spdm.Fault]verdict.Tier {
	out := map[spdm.Fault]verdict.Tier{
		// Nobody said which PCI function it should be.
		spdm.CMA: verdict.TierAffirming,
		// Nobody says over which encoding of a key the digest is.
		spdm.TSMPublicKey: verdict.TierAffirming,
		// The policy has no opinion, and neither has the vendor.
		spdm.PASID: verdict.TierAffirming, spdm.XT: verdict.TierAffirming,
	}
	for _, f := range []spdm.Fault{
		spdm.Downgrade, spdm.Unsigned, spdm.SignatureStripped, spdm.ChallengeNonce, spdm.Summary,
		spdm.BlockMissing, spdm.ROM, spdm.HardwareConfig, spdm.FirmwareConfig, spdm.FirmwareVersion, spdm.DebugWas, spdm.ModeMissing, spdm.BlockUnknown, spdm.Manifest, spdm.Changed,
		spdm.ReportReserved, spdm.ReportTrailing, spdm.ReportMissing, spdm.TSMMissing, spdm.TSMUnknown, spdm.TSMMalformed, spdm.TSMStale, spdm.TSMNonce,
		spdm.FirmwareUpdate, spdm.FirmwareUpdateLock, spdm.NonTEERange, spdm.UpdatableRange, spdm.ATS, spdm.PRS, spdm.MSIXUnlocked, spdm.DeviceSpecific,
	} {
		out[f] = verdict.TierWarning
	}
	return out
}

func TestSchemeOnEveryFault(t *testing.T) {
	want := tiers()
	for _, v := range []spdm.Version{spdm.Version12, spdm.Version13, spdm.Version14} {
		list := []spdm.Options{{Version: v, TSM: spdm.TSMSEVTIO, Slots: []uint8{0, 1}}, {Version: v, TSM: spdm.TSMCCA}, {Version: v, Alias: true}}
		if v >= spdm.Version13 {
			list = append(list, spdm.Options{Version: v, MultiKey: true})
		}
		for n, f := range spdm.Faults() {
			i := slices.IndexFunc(list, f.Applies)
			if i < 0 || testing.Short() && n%13 != 0 { // a sample under the race detector
				continue
			}
			t.Run(fmt.Sprintf("%s %s %x", f.Check(), f, byte(v)), func(t *testing.T) {
				o := list[i]
				honest := device(t, o)
				o.Faults = []spdm.Fault{f}
				a := appraised(t, honest, spdm.MediaType, evidence(t, device(t, o)))
				tier, ok := want[f]
				if !ok {
					tier = verdict.TierContraindicated
				}
				if a.Status() != tier {
					t.Errorf("%s, expected %s: %v %v", a.Status(), tier, a.Vector, a.Reasons)
				}
			})
		}
	}
}

// TestSchemeOnTokens: a device in a token is judged like the same device by itself,
// and one lie in the token costs all.
func TestSchemeOnTokens(t *testing.T) {
	d := device(t, spdm.Options{Version: spdm.Version13, TSM: spdm.TSMTDX, Slots: []uint8{0, 1}})
	for _, lie := range append([]spdm.Lie{""}, spdm.Lies()...) {
		want := verdict.TierContraindicated
		if lie == "" {
			want = verdict.TierWarning // tokens have no place for the state of the interface
		}
		if a := appraised(t, d, spdm.TokenUCS, token(t, submodule(t, d, spdm.TokenOptions{Lie: lie}))); a.Status() != want {
			t.Errorf("%q: %s, expected %s: %v", lie, a.Status(), want, a.Reasons)
		}
	}
}
