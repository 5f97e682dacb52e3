// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// wholeMachine is the appraisal of the CPU of a simulated machine.
func wholeMachine(t *testing.T, d attester.Description, nonce []byte) verdict.Appraisal {
	t.Helper()
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	m, err := attester.New(attester.Options{Machine: d, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.Attest(nonce)
	if err != nil {
		t.Fatal(err)
	}
	files, err := m.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, raw := range files {
		fsys[name] = &fstest.MapFile{Data: raw}
	}
	b, _, err := endorsements.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	v := newTest(t, verifiers.Deps{Endorsements: b, ExtraRoots: map[string][]*x509.Certificate{Name: rootsOf(t, m)}})
	for _, l := range c.Leaves {
		if l.Kind == attester.KindTDX {
			return appraiseLeaf(t, v, l.Value, bytes.Repeat(nonce, 2)[:64], now)
		}
	}
	t.Fatal("the machine has no TDX leaf")
	return verdict.Appraisal{}
}

// rootsOf are the test roots of the CPU's vendor.
func rootsOf(t *testing.T, m *attester.Machine) (out []*x509.Certificate) {
	t.Helper()
	raw, err := m.Trust()
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Roots map[string][]string `json:"roots"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	for _, text := range file.Roots[Name] {
		block, _ := pem.Decode([]byte(text))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, cert)
	}
	return out
}

// A machine whose report data commit to the key of its TPM answers no challenge
// by itself. That costs it freshness, and no more.
func TestMachineBoundByKey(t *testing.T) {
	a := wholeMachine(t, attester.Description{Name: "ak", Binding: attester.BindAK, VTPM: attester.VTPM{Key: "p256"}}, bytes.Repeat([]byte{7}, 32))
	if a.Status() != verdict.TierWarning || a.Freshness != verdict.FreshnessNotEstablished || !hasReason(a, verdict.ReasonNonceNotEstablished) {
		t.Errorf("%s %s %v", a.Status(), a.Freshness, a.Reasons)
	}
	if hasReason(a, verdict.ReasonNonceMismatch) || hasReason(a, verdict.ReasonBindingBroken) {
		t.Errorf("%v", a.Reasons)
	}
	if len(a.Facts.Keys) != 1 || len(a.Facts.Keys[0].SPKI) != 64 || a.Facts.Keys[0].Origin != verdict.OriginApplication {
		t.Errorf("keys %+v", a.Facts.Keys)
	}
	if c := eventLogClaim(t, a); c["secure_boot"] != true {
		t.Errorf("claims %v", c)
	}
}

// The devices that a TD took in are the first facts of its log, with the SHA-256
// of what was measured.
func TestMachineWithDevices(t *testing.T) {
	a := wholeMachine(t, attester.Description{Name: "tdisp", Devices: attester.Devices{Count: 3, TDISP: true}}, bytes.Repeat([]byte{7}, 32))
	if a.Vector[verdict.Configuration] != 2 || len(a.Facts.Measured) < 4 {
		t.Fatalf("%v %v", a.Vector, a.Reasons)
	}
	for i, m := range a.Facts.Measured {
		if device := i < 3; device != (m.Register == "rtmr3") || device && m.Content == "" {
			t.Errorf("fact %d is %+v", i, m)
		}
	}
	empty := sha256.Sum256(nil)
	if a.Facts.Measured[0].Content == hex.EncodeToString(empty[:]) {
		t.Error("a device about which nothing was measured")
	}
}
