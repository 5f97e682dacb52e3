// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/spdm"
)

var (
	now   = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	nonce = bytes.Repeat([]byte{0xa5, 0x01}, 16)
)

func device(t testing.TB, o spdm.Options) *spdm.Device {
	t.Helper()
	o.Vendor, o.Device, o.Shared = pki.NewSeed("vendor"), pki.NewSeed("device"), shared
	if o.Now.IsZero() {
		o.Now = now
	}
	d, err := spdm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func evidence(t testing.TB, d *spdm.Device) []byte {
	t.Helper()
	raw, err := d.Evidence(nonce)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// verifyChain is path validation to the device's root at a time.
func verifyChain(d *spdm.Device, certs []*x509.Certificate, at time.Time) error {
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(d.Root())
	for _, c := range certs[1 : len(certs)-1] {
		middle.AddCert(c)
	}
	_, err := certs[len(certs)-1].Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

// variants are the honest devices of every version, suite and model that the
// walker of these tests reads.
func variants() map[string]spdm.Options {
	out := map[string]spdm.Options{}
	for name, v := range map[string]spdm.Version{"1.1": spdm.Version11, "1.2": spdm.Version12, "1.3": spdm.Version13} {
		for suite, s := range map[string]spdm.Suite{" p384": spdm.SuiteP384, " p256": spdm.SuiteP256} {
			out[name+suite] = spdm.Options{Version: v, Suite: s}
			out[name+suite+" tdx"] = spdm.Options{Version: v, Suite: s, TSM: spdm.TSMTDX, MeasurementHash: crypto.SHA512}
			out[name+suite+" sev"] = spdm.Options{Version: v, Suite: s, TSM: spdm.TSMSEVTIO, NoChallenge: true}
			out[name+suite+" cca"] = spdm.Options{Version: v, Suite: s, TSM: spdm.TSMCCA}
		}
	}
	out["1.2 alias"] = spdm.Options{Alias: true, Opaque: true}
	out["1.3 alias"] = spdm.Options{Version: spdm.Version13, Alias: true, MultiKey: true, Opaque: true, Slots: []uint8{0, 3, 7}, Slot: 3}
	out["1.3 slots"] = spdm.Options{Version: spdm.Version13, Slots: []uint8{0, 1}, Slot: 1}
	return out
}

// further are those that only the verification core reads.
func further() map[string]spdm.Options {
	out := variants()
	for s := spdm.SuiteP384; s <= spdm.SuiteRSASSA2048; s++ {
		if testing.Short() && s != spdm.SuiteP384 && s != spdm.SuiteRSASSA2048 { // a sample under the race detector
			continue
		}
		for name, v := range map[string]spdm.Version{"1.1 ": spdm.Version11, "1.2 ": spdm.Version12, "1.3 ": spdm.Version13, "1.4 ": spdm.Version14} {
			if s != spdm.SuiteEd25519 || v != spdm.Version11 {
				out[name+s.String()] = spdm.Options{Version: v, Suite: s}
			}
		}
	}
	for name, o := range map[string]spdm.Options{
		"1.2 raw": {Raw: true, MeasurementHash: crypto.SHA256}, "1.4 raw recomputed": {Version: spdm.Version14, Raw: true, Recompute: true},
		"1.1 single": {Version: spdm.Version11, Single: true}, "1.3 single raw": {Version: spdm.Version13, Single: true, Raw: true, TSM: spdm.TSMCCA},
		"1.2 portions": {Portion: 100}, "1.4 portions": {Version: spdm.Version14, Portion: 333, Slots: []uint8{0, 5}, Slot: 5},
		"1.4 cca": {Version: spdm.Version14, TSM: spdm.TSMCCA, MeasurementHash: crypto.SHA256}, "1.4 tdx": {Version: spdm.Version14, TSM: spdm.TSMTDX},
		"1.4 sev rsa":    {Version: spdm.Version14, TSM: spdm.TSMSEVTIO, Suite: spdm.SuiteRSASSA3072},
		"1.4 alias":      {Version: spdm.Version14, MultiKey: true, Alias: true, Opaque: true},
		"1.3 generic":    {Version: spdm.Version13, MultiKey: true, Generic: true, Slots: []uint8{0, 2}, Slot: 2},
		"1.4 generic":    {Version: spdm.Version14, MultiKey: true, Generic: true, Slots: []uint8{0, 1, 2}, Slot: 1},
		"1.3 structured": {Version: spdm.Version13, StructuredManifest: true}, "no eku": {NoEKU: true},
		"1.2 tcb": {Summary: spdm.SummaryOfTCB}, "1.3 none": {Version: spdm.Version13, Summary: spdm.SummaryOfNone},
	} {
		out[name] = o
	}
	return out
}

// shared keeps RSA keys between tests.
var shared = &spdm.Shared{}

func TestHonestEvidence(t *testing.T) {
	for name, o := range variants() {
		t.Run(name, func(t *testing.T) {
			d := device(t, o)
			raw := evidence(t, d)
			got := open(t, raw, o.Slot)
			if err := got.signatures(nonce); err != nil {
				t.Error(err)
			}
			if err := verifyChain(d, got.certs, now); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(got.certs[0].Raw, d.Root().Raw) || !bytes.Equal(got.chain, d.ChainStructure(o.Slot)) || !bytes.Equal(got.c[4].([]byte), d.VCA()) {
				t.Error("accessors do not agree with the evidence")
			}
			if tr, err := spdm.Transcript(raw); err != nil || !bytes.Equal(tr, got.transcript) {
				t.Errorf("transcript: %v", err)
			}
			if got.c[2] != "spdm:"+names(t, got.leaf())["1.3.6.1.4.1.412.274.1"] || !bytes.Equal(got.c[3].([]byte), nonce) {
				t.Errorf("name %v", got.c[2])
			}
			if (got.c[8] != nil) != (o.TSM != "") || (got.c[9] != nil) != (o.TSM != "") || (got.c[7] == nil) != o.NoChallenge {
				t.Error("optional members")
			}
			if o.Opaque != (len(got.m.Opaque) > 0) || len(got.m.Opaque)%4 != 0 {
				t.Errorf("opaque data %x", got.m.Opaque)
			}
			var any any
			if err := cbor.Unmarshal(raw, &any); err != nil {
				t.Fatal(err)
			}
			mode, err := cbor.CoreDetEncOptions().EncMode()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := mode.Marshal(any); err != nil || !bytes.Equal(again, raw) {
				t.Errorf("not deterministic CBOR: %v", err)
			}
			matchReferences(t, d, got)
		})
	}
}

// matchReferences: the honest device meets its own reference values, and every
// block has one.
func matchReferences(t *testing.T, d *spdm.Device, o opened) {
	t.Helper()
	refs := d.Measurements()
	if len(refs) != len(o.m.Blocks) {
		t.Fatalf("%d reference values for %d blocks", len(refs), len(o.m.Blocks))
	}
	for i, b := range o.m.Blocks {
		r := refs[i]
		value := r.Digest
		if r.SVN != nil {
			value = []byte{byte(*r.SVN), 0, 0, 0, 0, 0, 0, 0}
		} else if r.Raw != nil {
			value = r.Raw
		}
		if !bytes.Equal(value, b.Value) || (r.Digest == nil) != (b.Type&0x80 != 0) {
			t.Errorf("block %d: %x, reference %q %x", b.Index, b.Value, r.Name, value)
		}
	}
}

func TestMeasurementLogReplays(t *testing.T) {
	o := open(t, evidence(t, device(t, spdm.Options{Version: spdm.Version13, MeasurementHash: crypto.SHA256})), 0)
	log := o.c[11].([]byte)
	w := &walker{b: log[16:]}
	v := make([]byte, 32)
	count := 0
	for w.err == nil && len(w.b) > 0 {
		head := w.take(11)
		entry := append(bytes.Clone(head), w.take(u16(head[9:]))...)
		v = digestOf(crypto.SHA256, append(v, entry...))
		count++
		if head[4] != 17 || u32(head) != uint32(count) {
			t.Errorf("entry %x", head)
		}
	}
	if w.err != nil || u32(log) != uint32(count) || int(u32(log[4:])) != len(log)-16 {
		t.Fatalf("log header %x: %v", log[:16], w.err)
	}
	for _, b := range o.m.Blocks {
		if b.Index == 17 && (b.Type != 8 || !bytes.Equal(b.Value, v)) {
			t.Errorf("block 17 is %x, replay gives %x", b.Value, v)
		}
	}
	if open(t, evidence(t, device(t, spdm.Options{})), 0).c[11] != nil {
		t.Error("SPDM 1.2 has no such log")
	}
}

func TestAliasModel(t *testing.T) {
	o := open(t, evidence(t, device(t, spdm.Options{Alias: true})), 0)
	hardware, _ := asn1.Marshal([]struct{ ID asn1.ObjectIdentifier }{{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 412, 274, 2}}})
	const listed = "1.3.6.1.4.1.412.274.6"
	if len(o.certs) != 4 || !o.certs[2].IsCA || !bytes.Equal(extension(o.certs[2], listed), hardware) || bytes.Equal(extension(o.leaf(), listed), hardware) {
		t.Error("hardware identity must be in the device certificate authority and not in the leaf")
	}
	if o.n.Caps[1]&(1<<18) == 0 {
		t.Error("ALIAS_CERT_CAP is not set")
	}
}

func TestDeterministicAndConcurrent(t *testing.T) {
	o := spdm.Options{Version: spdm.Version13, TSM: spdm.TSMTDX}
	d, want := device(t, o), evidence(t, device(t, o))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if raw, err := d.Evidence(nonce); err != nil || !bytes.Equal(raw, want) {
				t.Errorf("another answer to the same nonce: %v", err)
			}
		})
	}
	wg.Wait()
	other := bytes.Repeat([]byte{7}, 32)
	raw, err := d.Evidence(other)
	if err != nil || open(t, raw, 0).signatures(other) != nil || bytes.Equal(raw, want) {
		t.Errorf("another nonce: %v", err)
	}
	for _, n := range []int{0, 31, 33, 64} {
		if _, err := d.Evidence(make([]byte, n)); !errors.Is(err, spdm.ErrNonce) {
			t.Errorf("nonce of %d bytes: %v", n, err)
		}
	}
}

func TestSeedsMakeDevices(t *testing.T) {
	make1 := func(vendor, dev string) *spdm.Device {
		d, err := spdm.New(spdm.Options{Vendor: pki.NewSeed(vendor), Device: pki.NewSeed(dev), Now: now.AddDate(1, 0, 0), TSM: spdm.TSMTDX})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, b, c := make1("vendor", "device"), make1("vendor", "second"), make1("other", "device")
	if !bytes.Equal(a.Root().Raw, device(t, spdm.Options{}).Root().Raw) || !bytes.Equal(a.Root().Raw, b.Root().Raw) || bytes.Equal(a.Root().Raw, c.Root().Raw) {
		t.Error("the root must follow from the vendor alone")
	}
	if a.Identity() == b.Identity() || bytes.Equal(a.ChainStructure(0), b.ChainStructure(0)) || !reflect.DeepEqual(a.Measurements(), b.Measurements()) ||
		reflect.DeepEqual(a.Measurements(), c.Measurements()) || bytes.Equal(a.InterfaceReport(), b.InterfaceReport()) {
		t.Error("devices of one vendor share reference values and nothing else")
	}
	if _, err := b.Digests(evidence(t, a)); !errors.Is(err, spdm.ErrForeign) {
		t.Errorf("digests of another device's evidence: %v", err)
	}
	if refs := a.InterfaceReferences(); len(refs) != 7 || refs[0].Name != "tdisp.interface-info" || !bytes.Equal(refs[1].Raw, make([]byte, 4)) {
		t.Errorf("interface references %+v", refs)
	}
}

// Flags and extended key usage, written out from DSP0274.
func TestCapabilitiesAndKeyUsage(t *testing.T) {
	for _, c := range []struct {
		o        spdm.Options
		req, rsp uint32
	}{
		{spdm.Options{Version: spdm.Version11}, 0x000042c0, 0x000042f6},
		{spdm.Options{Version: spdm.Version12}, 0x000242c0, 0x000242f6},
		{spdm.Options{Version: spdm.Version13}, 0x000242c0, 0x010242f6},
		{spdm.Options{Version: spdm.Version13, MultiKey: true, Alias: true}, 0x080242c0, 0x190642f6},
	} {
		o := open(t, evidence(t, device(t, c.o)), 0)
		if o.n.Caps != [2]uint32{c.req, c.rsp} {
			t.Errorf("%02x: capabilities %08x, expected %08x %08x", o.n.Version, o.n.Caps, c.req, c.rsp)
		}
		leaf := o.leaf()
		if len(leaf.UnknownExtKeyUsage) != 1 || leaf.UnknownExtKeyUsage[0].String() != "1.3.6.1.4.1.412.274.3" || len(leaf.ExtKeyUsage) != 0 || leaf.NotAfter.Year() != 9999 {
			t.Errorf("leaf: extended key usage %v, ends %s", leaf.UnknownExtKeyUsage, leaf.NotAfter)
		}
		if cma := names(t, leaf)["2.23.147"]; !strings.HasPrefix(cma, "Vendor=1AF4:Device=10F0:CC=020000:REV=01:") {
			t.Errorf("CMA name %q", cma)
		}
	}
}

func TestMultiKey(t *testing.T) {
	leafKey := func(o spdm.Options, slot byte) any {
		return open(t, evidence(t, device(t, o)), slot).leaf().PublicKey
	}
	one := spdm.Options{Version: spdm.Version13, Slots: []uint8{0, 1}}
	if !reflect.DeepEqual(leafKey(one, 0), leafKey(one, 1)) {
		t.Error("two keys in a connection without multi-key")
	}
	one.MultiKey = true
	if reflect.DeepEqual(leafKey(one, 0), leafKey(one, 1)) {
		t.Error("one key for two slots of a multi-key connection")
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]spdm.Options{
		"version":        {Version: 0x15},
		"suite":          {Suite: 200},
		"ed25519 in 1.1": {Version: spdm.Version11, Suite: spdm.SuiteEd25519},
		"raw in 1.1":     {Version: spdm.Version11, Raw: true},
		"structured":     {StructuredManifest: true},
		"generic slot 0": {Version: spdm.Version13, MultiKey: true, Generic: true},
		"generic alone":  {Version: spdm.Version13, Generic: true, Slots: []uint8{0, 1}, Slot: 1},
		"summary":        {Summary: 3},
		"SEV-TIO P-521":  {TSM: spdm.TSMSEVTIO, Suite: spdm.SuiteP521},
		"unknown fault":  {Faults: []spdm.Fault{"x"}},
		"fault twice":    {Faults: []spdm.Fault{spdm.Name, spdm.Name}},
		"fault of a TSM": {Faults: []spdm.Fault{spdm.ATS}},
		"fault of 1.4":   {Version: spdm.Version14, Faults: []spdm.Fault{spdm.Downgrade}},
		"hash":           {MeasurementHash: crypto.SHA1},
		"no slot 0":      {Slots: []uint8{1}, Slot: 1},
		"slots empty":    {Slots: []uint8{}},
		"slots order":    {Slots: []uint8{0, 2, 2}},
		"slot 8":         {Slots: []uint8{0, 8}},
		"signing slot":   {Slot: 1},
		"multi-key":      {MultiKey: true},
		"alias in 1.1":   {Version: spdm.Version11, Alias: true},
		"opaque in 1.1":  {Version: spdm.Version11, Opaque: true},
		"TSM":            {TSM: "x"},
		"report":         {ReportSwapped: true},
		"state":          {Unlocked: true},
		"ranges":         {TSM: spdm.TSMTDX, Ranges: make([]spdm.Range, 65)},
		"product":        {Product: "a:b"},
		"before vendors": {Now: time.Date(2020, 6, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if o.Now.IsZero() {
			o.Now = now
		}
		if _, err := spdm.New(o); !errors.Is(err, spdm.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
