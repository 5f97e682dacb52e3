// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/pki"
)

func TestIntelSGX(t *testing.T) {
	entries := map[bool]Entry{}
	for _, faulty := range []bool{false, true} {
		d, err := intelsgx.New(intelsgx.Options{
			Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now, ProdID: 3, SVN: 7,
			Attributes: intelsgx.FlagInit | intelsgx.FlagMode64 | intelsgx.FlagKSS, ConfigSVN: 2, Measurement: faulty, OutdatedTCB: faulty, Debug: faulty,
		})
		if err != nil {
			t.Fatal(err)
		}
		if entries[faulty], err = IntelSGX(d.Measurements()); err != nil {
			t.Fatal(err)
		}
		const env = "bytes tag:assize.dev,2026:intel-sgx, vendor Intel Corporation, model SGX | string "
		want := facts{env + "isvsvn | svn min-value 7": true, env + "configsvn | svn min-value 2": true, env + "isvprodid | raw 0300": true}
		for _, m := range d.Measurements() {
			switch {
			case m.Digest != nil:
				want[env+m.Name+" | "+hash("sha-256", m.Digest)] = true
			case m.SVN == nil:
				want[env+m.Name+" | "+fmt.Sprintf("raw %x", m.Raw)] = true
			}
		}
		if len(want) != 10 {
			t.Errorf("%d values, want 10: %v", len(want), want)
		}
		check(t, Profile, entries[faulty], want)
	}
	if !reflect.DeepEqual(entries[false], entries[true]) {
		t.Error("a fault changes the reference values")
	}
}

func TestAWSNitro(t *testing.T) {
	for _, unsigned := range []bool{false, true} {
		d, err := awsnitro.New(awsnitro.Options{
			Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now, Image: "test", Unsigned: unsigned, Measurement: true, Debug: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		e, err := AWSNitro(d.Measurements())
		if err != nil {
			t.Fatal(err)
		}
		want := facts{}
		for _, m := range d.Measurements() {
			want["bytes tag:assize.dev,2026:aws-nitro | - | register "+m.Name+" "+hash("sha-384", m.Digest)] = true
		}
		if n := map[bool]int{false: 4, true: 3}[unsigned]; len(want) != n {
			t.Errorf("%d values, want %d", len(want), n)
		}
		check(t, Profile, e, want)
	}
	for name, ms := range map[string][]awsnitro.Measurement{
		"none": nil, "PCR in words": {{Name: "x", Alg: "sha-384", Digest: make([]byte, 48)}}, "short PCR": {{Name: "1", Alg: "sha-384", Digest: []byte{1}}},
	} {
		if e, err := AWSNitro(ms); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestAMDSNPByProvider(t *testing.T) {
	d, err := amdsnp.New(amdsnp.Options{
		Vendor: amdsnp.NewVendor(pki.NewSeed("v"), now), Device: pki.NewSeed("d"), Now: now, Image: "test", Provider: "CN=cc-test.example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	ms := d.Measurements()
	e, err := AMDSNPByProvider(ms, "CN=cc-test.example.com")
	if err != nil {
		t.Fatal(err)
	}
	env := fmt.Sprintf("oid 1.3.6.1.4.1.3704.3.2, instance %x | ", "CN=cc-test.example.com")
	check(t, ProfileAMD, e, facts{
		env + "uint 641 | " + hash("sha-384", ms[0].Digest):                                   true,
		env + "uint 647 | svn min-value " + fmt.Sprint(binary.LittleEndian.Uint64(ms[1].Raw)): true,
	})
	if e, err = AMDSNPByProvider(ms, ""); err != nil || len(e.Environment.Instance) != 0 {
		t.Errorf("values of every provider: %v %v", e.Environment, err)
	}
}
