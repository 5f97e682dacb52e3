// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/x509"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	vm "github.com/assize/assize/attester/azure"
	simulator "github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// TestAzure walks what binds TD, paravisor and virtual TPM.
func TestAzure(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	nonce := bytes.Repeat([]byte{0x5a}, 64)
	td, err := simulator.New(simulator.Options{Vendor: pki.NewSeed("intel"), Device: pki.NewSeed("td"), Now: now, Quote: simulator.V4})
	if err != nil {
		t.Fatal(err)
	}
	tpm := func(name string) *tcgtpm.Device {
		d, err := tcgtpm.New(tcgtpm.Options{Vendor: pki.NewSeed("tpm"), Device: pki.NewSeed(name), Now: now, Key: tcgtpm.RSA2048})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	own, other := tpm("own"), tpm("other")
	files, err := td.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, raw := range files {
		fsys[name] = &fstest.MapFile{Data: raw}
	}
	collateral, _, err := endorsements.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	v := newTest(t, verifiers.Deps{Endorsements: collateral, ExtraRoots: map[string][]*x509.Certificate{Name: {td.Root()}}})
	in := func(o vm.Options) verifiers.Input {
		o.TDX, o.TPM = td, own
		d, err := vm.New(o)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := d.Evidence(nonce)
		if err != nil {
			t.Fatal(err)
		}
		return verifiers.Input{MediaType: evidence.MediaType{Base: azure.MediaType}, Evidence: raw, Nonce: nonce, Time: now}
	}
	for _, c := range []struct {
		name string
		o    vm.Options
		code string // of a refusal
	}{
		{"honest", vm.Options{}, ""},
		{"with its log", vm.Options{EventLog: true}, ""},
		{"quote of another TPM", vm.Options{Quoting: other}, verdict.ReasonSignatureInvalid},
		{"runtime data of another machine", vm.Options{Runtime: other.RuntimeData()}, verdict.ReasonBindingBroken},
		{"both of another machine", vm.Options{Quoting: other, Runtime: other.RuntimeData()}, verdict.ReasonBindingBroken},
	} {
		a, err := v.Appraise(t.Context(), in(c.o))
		if err != nil {
			t.Fatal(err)
		}
		if c.code != "" {
			if a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || a.Reasons[0].Code != c.code || a.Facts.Keys != nil {
				t.Errorf("%s: %v %v %+v", c.name, a.Vector, a.Reasons, a.Facts.Keys)
			}
			continue
		}
		if a.Status() != verdict.TierWarning || a.Freshness != verdict.FreshnessFresh || !bytes.Equal(a.NonceSeen, nonce) ||
			a.Vector[verdict.Hardware] != 2 || a.Vector[verdict.Executables] != verdict.ClaimUnrecognized {
			t.Errorf("%s: %s, %s, %v: %v", c.name, a.Status(), a.Freshness, a.Vector, a.Reasons)
		}
		if len(a.Facts.Keys) != 1 || a.Facts.Keys[0].Origin != verdict.OriginApplication || a.Facts.Registers["mrtd"] == "" || a.Facts.Registers["pcr7"] == "" {
			t.Errorf("%s: facts %+v", c.name, a.Facts)
		}
		if c.o.EventLog != (len(a.Facts.Measured) > 0) {
			t.Errorf("%s: %d events", c.name, len(a.Facts.Measured))
		}
	}
	// Only of a TD that reference values know anybody can say that its paravisor wrote
	// the commitment, and no program in a TD without one.
	quote, err := td.Evidence(nonce)
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range []bool{true, false} {
		body := slices.Clone(quote[dcap.HeaderSize:][:dcap.SizeTD10])
		want := verdict.OriginMeasured
		if !known {
			body[136] ^= 1 // MRTD
			want = verdict.OriginApplication
		}
		machine := in(vm.Options{})
		machine.References = indexOf(t, now, entryOf(body))
		if a, _ := v.Appraise(t.Context(), machine); len(a.Facts.Keys) != 1 || a.Facts.Keys[0].Origin != want || a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
			t.Errorf("reference values for the TD %t: %+v, %v %v", known, a.Facts.Keys, a.Vector, a.Reasons)
		}
	}
	stale := in(vm.Options{})
	stale.Nonce = bytes.Repeat([]byte{0x5b}, 64)
	if a, _ := v.Appraise(t.Context(), stale); a.Freshness != verdict.FreshnessMismatch || a.Status() != verdict.TierContraindicated {
		t.Errorf("another challenge: %s %s", a.Freshness, a.Status())
	}
	if needed := needs(stale.MediaType, stale.Evidence); len(needed) != 1 || needed[0].Kind != endorsements.NeedIntelTDX {
		t.Errorf("needs %v", needed)
	}
	walk := in(vm.Options{})
	for i := 0; i < len(walk.Evidence); i += 11 {
		flipped := walk
		flipped.Evidence = slices.Clone(walk.Evidence)
		flipped.Evidence[i] ^= 1
		if a, err := v.Appraise(t.Context(), flipped); err != nil || a.Status() == verdict.TierAffirming || a.Freshness == verdict.FreshnessFresh && len(a.Facts.Keys) == 0 {
			t.Fatalf("byte %d: %v, %v", i, a.Status(), err)
		}
	}
}
