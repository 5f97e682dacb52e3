// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"testing"

	"github.com/assize/assize/verdict"
)

// TestExtendedOtherwise: a hash that differs is not lost because it could also be
// read as an integrity register.
func TestExtendedOtherwise(t *testing.T) {
	s := situated(t, checkCase{blocks: replace(17, 8, make([]byte, 48))})
	a, found := s.appraised(checkCase{})
	if slices.Contains(found, findMatch) || !slices.Contains(found, findFirmware) || a.Status() == verdict.TierAffirming {
		t.Errorf("%v %s", found, details(a))
	}
}

// TestUnsignedDigestsBesideAlias: a DIGESTS that nobody signs does not outweigh the
// model that the device signed with its certificates.
func TestUnsignedDigestsBesideAlias(t *testing.T) {
	for _, multi := range []bool{true, false} {
		d := newDevice(t, versionOf(Version13), func(d *device) { d.multi, d.model = multi, ModelDevice })
		e := d.evidence(t)
		e.Digests = d.digests()
		if _, err := Verify(e, d.expect()); err != nil {
			t.Fatal(err)
		}
		d.model = ModelAlias
		e.Challenge = d.challenge(t, d.certificates())
		_, err := Verify(e, d.expect())
		wantKind(t, err, KindCertificate)
		e.Digests = nil
		_, err = Verify(e, d.expect())
		wantKind(t, err, KindCertificate)
	}
}

// TestSubjectsInAnyOrder: a subject whose parts do not stand in the order of
// crypto/x509 is the name of the device all the same.
func TestSubjectsInAnyOrder(t *testing.T) {
	raw, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: []int{2, 5, 4, 3}, Value: "widget 7"}}, {{Type: []int{2, 5, 4, 6}, Value: "CA"}}, {{Type: []int{2, 5, 4, 10}, Value: "ACME"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, leafWith(func(x *x509.Certificate) { x.ExtraExtensions, x.RawSubject = nil, raw }))
	fullBlocks(d)
	v := newTest(t, trusting(t, d.anchor, 0, "", "", ""))
	e := d.evidence(t)
	for name, want := range map[string]bool{
		"spdm:O=ACME,C=CA,CN=widget 7": true, "spdm:CN=widget 7,C=CA,O=ACME": true, "spdm:CN=widget 7,O=ACME,C=CA": true,
		"spdm:O=ACME,C=CA,CN=widget 8": false, "spdm:": false, "pci:0000:01:00.0": true,
	} {
		e.Device = name
		if a, found := appraise(t, v, input(t, e, d.nonce, nil)); slices.Contains(found, findName) == want {
			t.Errorf("%s: %v %s", name, found, details(a))
		}
	}
}
