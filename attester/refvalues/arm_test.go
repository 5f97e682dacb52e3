// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/assize/assize/attester/armcca"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/psa"
	"github.com/assize/assize/corim"
)

// Documents of Arm's devices keep the rules of Arm's profiles, and have the key of
// the one device.
func TestArmDocuments(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	cca, err := armcca.New(armcca.Options{Device: pki.NewSeed("cca"), Now: at, Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	mcu, err := psa.New(psa.Options{Device: pki.NewSeed("psa"), Now: at, Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	platform, key, err := ArmCCAPlatform(cca.Platform())
	if err != nil {
		t.Fatal(err)
	}
	realm, err := ArmCCARealm(cca.Realm())
	if err != nil {
		t.Fatal(err)
	}
	values, mcuKey, err := PSA(mcu.References())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		doc      Document
		class    []byte
		instance []byte
		values   int
	}{
		{Document{ID: "platform", TagID: "p", Profile: ProfileCCAPlatform, Entries: []Entry{platform}, Keys: []KeyEntry{key, key}}, cca.Platform().Class, cca.Platform().Instance, 14},
		{Document{ID: "realm", TagID: "r", Profile: ProfileCCARealm, Entries: []Entry{realm}}, cca.Realm().Class, nil, 6},
		{Document{ID: "psa", TagID: "s", Profile: ProfilePSA, Entries: []Entry{values}, Keys: []KeyEntry{mcuKey}}, mcu.References().Implementation, mcu.References().Instance, 4},
		{Document{ID: "key alone", TagID: "k", Profile: ProfilePSA, Keys: []KeyEntry{mcuKey}}, mcu.References().Implementation, mcu.References().Instance, 0},
	} {
		t.Run(c.doc.ID, func(t *testing.T) {
			raw, err := Unsigned(c.doc)
			if err != nil {
				t.Fatal(err)
			}
			d, err := corim.Load(raw, corim.Options{Unsigned: true, Now: at})
			if err != nil {
				t.Fatal(err)
			}
			m := d.Tags[0].Comid
			if c.values > 0 && (len(m.Reference) != 1 || len(m.Reference[0].Measurements) != c.values || m.Reference[0].Environment.Class.ID.Data != string(c.class)) {
				t.Errorf("%+v", m.Reference)
			}
			if c.instance == nil {
				if len(m.AttestKeys) != 0 {
					t.Error("a realm has a key")
				}
				return
			}
			if len(m.AttestKeys) != 1 || m.AttestKeys[0].Environment.Instance != corim.TaggedBytes(corim.TagUEID, c.instance) {
				t.Fatalf("%+v", m.AttestKeys)
			}
			if i := slices.IndexFunc(m.AttestKeys[0].Keys, func(k corim.Typed) bool { return k.Tag == corim.TagPKIXKey }); i != 0 {
				t.Error("no public key")
			}
		})
	}
}

func TestArmErrors(t *testing.T) {
	if _, _, err := ArmCCAPlatform(armcca.References{Class: bytes.Repeat([]byte{1}, 32)}); err == nil {
		t.Error("a platform without a key")
	}
	if _, err := ArmCCARealm(armcca.References{}); err == nil {
		t.Error("a realm without measurements")
	}
	twice := Environment{ClassID: "x", ClassBytes: []byte{1}}
	if _, err := (Entry{Environment: twice, Values: []Value{{Key: "a", Raw: []byte{1}}}}).check(); err == nil {
		t.Error("two class identifiers")
	}
	twice = Environment{ClassID: "x", Instance: []byte{1}, UEID: []byte{1, 2, 3, 4, 5, 6, 7}}
	if _, err := (Entry{Environment: twice, Values: []Value{{Key: "a", Raw: []byte{1}}}}).check(); err == nil {
		t.Error("two instances")
	}
	same := []Value{{Key: "a", Raw: []byte{1}}, {Key: "a", Raw: []byte{2}}}
	if _, err := (Entry{Environment: Environment{ClassID: "x"}, Values: same}).check(); err == nil {
		t.Error("one key twice without being told so")
	}
	if _, err := Unsigned(Document{ID: "d", TagID: "t", Keys: []KeyEntry{{Environment: Environment{ClassID: "x"}, Key: "no key"}}}); err == nil {
		t.Error("a key that is none")
	}
}
