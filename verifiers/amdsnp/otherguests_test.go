// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

// TestOtherGuests: what documents say of other guests is said of others, once a
// triple identifies this one. What is said of all guests, or of this one, counts.
func TestOtherGuests(t *testing.T) {
	any := env(classByChip, nil)
	triple := func(m ...corim.Measurement) corim.ValueTriple {
		return corim.ValueTriple{Environment: any, Measurements: m}
	}
	svn := func(n uint64) corim.Measurement {
		return corim.Measurement{Key: corim.NumberKey(keyGuestSVN), Value: corim.Values{SVN: &corim.SVN{Value: n}}}
	}
	other, wrong := digestOf(keyMeasurement, 1), rawOf(keyPolicy, 1, 0, 3, 0, 0, 0, 0, 0)
	high := leastTCB(keyReportedTCB, TCB{BootLoader: 11, SNP: 24, Microcode: 84}.bytes(productGenoa))
	host := bytes.Repeat([]byte{0x55}, 32)
	for _, c := range []struct {
		name                          string
		change                        []func(*machine)
		triples                       []corim.ValueTriple
		executables, hardware, config verdict.Claim
	}{
		{"another policy", nil, []corim.ValueTriple{triple(other, wrong), triple(measured)}, 3, 2, 2},
		{"the same level", nil, []corim.ValueTriple{triple(other, number(keyVMPL, 0)), triple(measured)}, 3, 2, 2},
		{"another chip", nil, []corim.ValueTriple{triple(other, rawOf(keyChipID, make([]byte, 64)...)), triple(measured)}, 3, 2, 2},
		{"another TCB", nil, []corim.ValueTriple{triple(other, high), triple(measured)}, 3, 2, 2},
		{"another guest SVN", nil, []corim.ValueTriple{triple(other, svn(3)), triple(measured)}, 3, 2, 2},
		{"the same guest SVN", nil, []corim.ValueTriple{triple(other, svn(0)), triple(measured)}, 3, 2, 2},
		{"host data of another, none here", nil, []corim.ValueTriple{triple(other, rawOf(keyHostData, host...)), triple(measured)}, 3, 2, 2},
		{"host data of another, and here", []func(*machine){edit(0xc0, host...)}, []corim.ValueTriple{triple(other, rawOf(keyHostData, host...)), triple(measured)}, 3, 2, 36},

		{"policy of all", nil, []corim.ValueTriple{triple(wrong), triple(measured)}, 3, 2, 96},
		{"policy of all and of another", nil, []corim.ValueTriple{triple(other, wrong), triple(wrong), triple(measured)}, 3, 2, 96},
		{"policy of this one in another triple", nil, []corim.ValueTriple{triple(measured, wrong), triple(measured)}, 3, 2, 96},
		{"TCB of all", nil, []corim.ValueTriple{triple(high), triple(measured)}, 3, 32, 2},
		{"guest SVN of all", nil, []corim.ValueTriple{triple(svn(3)), triple(measured)}, 96, 2, 2},
		{"nobody knows this one", nil, []corim.ValueTriple{triple(other, wrong)}, 96, 2, 96},
		{"half of this one", nil, []corim.ValueTriple{triple(other, wrong), triple(measured, rawOf(9999, 1))}, 33, 2, 96},
	} {
		in := newMachine(c.change...).input()
		in.References = indexOf(t, documentOf(t, "d", corim.ProfileSNP, c.triples...))
		a := appraise(t, newTest(t, deps(nil)), in)
		got := [3]verdict.Claim{a.Vector[verdict.Executables], a.Vector[verdict.Hardware], a.Vector[verdict.Configuration]}
		if want := [3]verdict.Claim{c.executables, c.hardware, c.config}; got != want {
			t.Errorf("%s: %v, want %v: %v", c.name, got, want, a.Reasons)
		}
	}
}

// TestDeployedHidesNothing: a document of 2024, of which some keys are not compared,
// does not keep those keys of other documents from being compared.
func TestDeployedHidesNothing(t *testing.T) {
	any := env(classByChip, nil)
	high := leastTCB(keyCurrentTCB, TCB{BootLoader: 11, SNP: 24, Microcode: 84}.bytes(productGenoa))
	frozen := documentOf(t, "frozen", corim.ProfileSNP2024, corim.ValueTriple{
		Environment: any, Measurements: []corim.Measurement{measured, rawOf(keyReportID, 1), high, rawOf(keyChipID, 1)},
	})
	for name, c := range map[string]struct {
		docs     []*corim.Document
		hardware verdict.Claim
	}{
		"alone": {[]*corim.Document{frozen}, 2},
		"beside a demand": {[]*corim.Document{frozen, documentOf(t, "demand", corim.ProfileSNP, corim.ValueTriple{
			Environment: any, Measurements: []corim.Measurement{high},
		})}, 32},
		"beside a demand of another guest": {[]*corim.Document{frozen, documentOf(t, "demand", corim.ProfileSNP, corim.ValueTriple{
			Environment: any, Measurements: []corim.Measurement{digestOf(keyMeasurement, 1), high},
		})}, 2},
		"beside a demand that holds": {[]*corim.Document{frozen, documentOf(t, "demand", corim.ProfileSNP, corim.ValueTriple{
			Environment: any, Measurements: []corim.Measurement{rawOf(keyChipID, chipOfTests...)},
		})}, 2},
		"beside another chip": {[]*corim.Document{frozen, documentOf(t, "demand", corim.ProfileSNP, corim.ValueTriple{
			Environment: any, Measurements: []corim.Measurement{rawOf(keyChipID, make([]byte, 64)...)},
		})}, 97},
	} {
		in := newMachine().input()
		in.References = indexOf(t, c.docs...)
		a := appraise(t, newTest(t, deps(nil)), in)
		if a.Vector[verdict.Executables] != 3 || a.Vector[verdict.Hardware] != c.hardware {
			t.Errorf("%s: %v, want hardware %d: %v", name, a.Vector, c.hardware, a.Reasons)
		}
	}
}

// TestHiddenChipIsTheSame: what a VCEK signs is of its chip, also where the host hides
// CHIP_ID: a chip is not two because it hides once.
func TestHiddenChipIsTheSame(t *testing.T) {
	v := newTest(t, deps(nil))
	var devices [][]string
	for _, change := range [][]func(*machine){nil, {edit(0x1a0, make([]byte, 64)...)}} {
		a := appraise(t, v, newMachine(change...).input())
		devices = append(devices, a.Facts.Device)
		if hidden := change != nil; hidden != (a.Vector[verdict.InstanceIdentity] == verdict.ClaimNone) {
			t.Errorf("hidden %t: %v", hidden, a.Vector)
		}
	}
	if len(devices[0]) != 1 || !slices.Equal(devices[0], devices[1]) {
		t.Errorf("%v", devices)
	}
	if a := appraise(t, v, newMachine(vlek).input()); a.Facts.Device != nil {
		t.Errorf("VLEK: %v", a.Facts.Device)
	}
}

// TestUnrelatedCandidates: a certificate that lies in the collateral and turns out to
// be of another chip or provider says nothing against a report: its own is missing.
func TestUnrelatedCandidates(t *testing.T) {
	for name, change := range map[string][]func(*machine){
		"hidden chip": {edit(0x1a0, make([]byte, 64)...)}, "VLEK": {vlek}, "chip": nil,
	} {
		m := newMachine(change...)
		loose := bundle(t, m.vek(), m.pki.ask.cert.Raw, m.pki.asvk.cert.Raw)
		m.table = map[guid][]byte{}
		in := m.input()
		in.Evidence = m.report()
		v := newTest(t, deps(loose))
		if a := appraise(t, v, in); a.Vector[verdict.Hardware].Tier() == verdict.TierContraindicated {
			t.Errorf("%s: %v", name, a.Reasons)
		}
		m.key = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
		in.Evidence = m.report()
		a := appraise(t, v, in)
		if want := name != "chip"; want != (a.Reasons[0].Code == verdict.ReasonNoCollateral) || a.Status() != verdict.TierContraindicated || a.Facts.SignerSPKI != "" {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
		// One that came with the report is no guess.
		with := newMachine(change...)
		own := with.evidence()[reportSize:]
		in.Evidence = append(m.report(), own...)
		if a := appraise(t, v, in); a.Vector != verdict.AllClaims(verdict.ClaimCryptoFailed) || a.Reasons[0].Code != verdict.ReasonSignatureInvalid {
			t.Errorf("%s, with a certificate: %v %v", name, a.Vector, a.Reasons)
		}
	}
}
