// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/attester/spdm"
)

// One fault changes one thing; all other bytes of the record stay honest and
// the signatures verify, except where the fault is about signatures.
func TestFaults(t *testing.T) {
	base := spdm.Options{TSM: spdm.TSMSEVTIO, Version: spdm.Version13}
	honest := open(t, evidence(t, device(t, base)), 0)
	for name, c := range map[string]struct {
		set      func(*spdm.Options)
		block    byte // that differs, 0 for none
		signed   bool
		path     bool
		revoked  bool
		reported bool // presented report is the measured one
	}{
		"debug":          {func(o *spdm.Options) { o.Debug = true }, 254, true, true, false, true},
		"outdated":       {func(o *spdm.Options) { o.OutdatedTCB = true }, 16, true, true, false, true},
		"measurement":    {func(o *spdm.Options) { o.Measurement = true }, 2, true, true, false, true},
		"wrong signer":   {func(o *spdm.Options) { o.WrongSigner = true }, 0, false, true, false, true},
		"expired":        {func(o *spdm.Options) { o.Expired = true }, 0, true, false, false, true},
		"revoked":        {func(o *spdm.Options) { o.Revoked = true }, 0, true, true, true, true},
		"report swapped": {func(o *spdm.Options) { o.ReportSwapped = true }, 0, true, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := base
			c.set(&o)
			d := device(t, o)
			raw := evidence(t, d)
			got := open(t, raw, 0)
			if err := got.signatures(nonce); (err == nil) != c.signed {
				t.Errorf("signatures: %v", err)
			}
			if err := verifyChain(d, got.certs, now); (err == nil) != c.path {
				t.Errorf("path: %v", err)
			}
			if err := verifyChain(d, got.certs, now.AddDate(0, 0, -2)); err != nil {
				t.Errorf("path two days before: %v", err)
			}
			for i, b := range got.m.Blocks {
				if same := reflect.DeepEqual(b, honest.m.Blocks[i]); same == (b.Index == c.block) {
					t.Errorf("block %d same %t", b.Index, same)
				}
			}
			if r := revocations(t, d, got); r != c.revoked {
				t.Errorf("leaf revoked %t", r)
			}
			if !reflect.DeepEqual(d.Measurements(), device(t, base).Measurements()) {
				t.Error("reference values are not the honest ones")
			}
			sums, err := d.Digests(raw)
			if err != nil {
				t.Fatal(err)
			}
			report := digestOf(crypto.SHA384, got.c[8].([]byte))
			if bytes.Equal(sums.Report, report) != c.reported || !bytes.Equal(sums.Report, digestOf(crypto.SHA384, d.InterfaceReport())) {
				t.Error("the TSM measured another report than it should have")
			}
			if _, err := walkReport(got.c[8].([]byte)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultValues(t *testing.T) {
	o := open(t, evidence(t, device(t, spdm.Options{Debug: true, OutdatedTCB: true, Unlocked: true, TSM: spdm.TSMSEVTIO})), 0)
	for _, b := range o.m.Blocks {
		if b.Index == 16 && b.Value[0] >= 7 || b.Index == 254 && b.Value[12]&3 != 3 {
			t.Errorf("block %d is %x", b.Index, b.Value)
		}
	}
	if info := o.c[9].(map[any]any); info[uint64(3)] != uint64(0) {
		t.Errorf("TDI state %v", info[uint64(3)])
	}
}

// revocations says whether the leaf is on a list; the lists must be valid.
func revocations(t *testing.T, d *spdm.Device, o opened) (found bool) {
	t.Helper()
	files, err := d.Endorsements()
	if err != nil || len(files) != 2 {
		t.Fatalf("%d endorsements: %v", len(files), err)
	}
	for name, der := range files {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		issuer := o.certs[1]
		if strings.HasSuffix(name, "-root.crl") {
			issuer = o.certs[0]
		}
		if err := list.CheckSignatureFrom(issuer); err != nil || list.ThisUpdate.After(now) || list.NextUpdate.Before(now) {
			t.Errorf("%s: %v", name, err)
		}
		for _, e := range list.RevokedCertificateEntries {
			found = found || e.SerialNumber.Cmp(o.leaf().SerialNumber) == 0
		}
	}
	return found
}
