// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/veraison/psatoken"

	"github.com/assize/assize/attester/pki"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func device(tb testing.TB, change func(*Options)) *Device {
	tb.Helper()
	o := Options{Device: pki.NewSeed("mcu"), Now: now, Model: "board", Profile: Profile2}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// The library verifies what is honest. It does not know the profile of RFC 9783,
// whose claims are those of its predecessor.
func TestLibrary(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
		life   uint16
	}{
		{"profile 2", nil, "", 0x3000},
		{"legacy", func(o *Options) { o.Profile = Legacy }, "", 0x3000},
		{"debug", func(o *Options) { o.Debug = true }, "", 0x5000},
		{"outdated", func(o *Options) { o.OutdatedTCB = true }, "", 0x3000},
		{"measurement", func(o *Options) { o.Measurement = true }, "", 0x3000},
		{"wrong signer", func(o *Options) { o.WrongSigner = true }, "verification", 0x3000},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := device(t, c.change)
			for _, size := range []int{32, 48, 64} {
				nonce := pki.NewSeed("nonce").Bytes(size)
				raw, err := d.Evidence(nonce)
				if err != nil {
					t.Fatal(err)
				}
				e, err := psatoken.DecodeAndValidateEvidenceFromCOSE(raw)
				if err != nil {
					t.Fatal(err)
				}
				r := d.References()
				switch err := e.Verify(r.Key); {
				case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
					t.Errorf("%v, want %q", err, c.want)
				}
				got, _ := e.Claims.GetNonce()
				life, _ := e.Claims.GetSecurityLifeCycle()
				if !bytes.Equal(got, nonce) || life != c.life || !bytes.Equal(*e.GetInstanceID(), r.Instance) || !bytes.Equal(*e.GetImplementationID(), r.Implementation) {
					t.Error("the token says something else")
				}
			}
		})
	}
}

func TestDeterminism(t *testing.T) {
	nonce := make([]byte, 32)
	one, err1 := device(t, nil).Evidence(nonce)
	two, err2 := device(t, nil).Evidence(nonce)
	if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Error("evidence differs", err1, err2)
	}
	honest, faulty := device(t, nil), device(t, func(o *Options) { o.Measurement, o.OutdatedTCB = true, true })
	for i, m := range faulty.References().Measurements {
		if w := honest.References().Measurements[i]; !bytes.Equal(m.Digest, w.Digest) || m.Version != w.Version {
			t.Errorf("%s: a fault changed the reference", m.Name)
		}
	}
	raw, err := faulty.Evidence(nonce)
	if err != nil || bytes.Equal(raw, one) {
		t.Error("faults change nothing", err)
	}
	if bytes.Equal(honest.instance, device(t, func(o *Options) { o.Device = pki.NewSeed("other") }).instance) {
		t.Error("two devices are one")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no time")
	}
	if _, err := New(Options{Now: now, Profile: profiles}); err == nil {
		t.Error("unknown profile")
	}
	d := device(t, func(o *Options) { o.Profile = TFM })
	for _, size := range []int{0, 31, 33, 65} {
		if _, err := d.Evidence(make([]byte, size)); err == nil {
			t.Errorf("a nonce of %d bytes", size)
		}
	}
	if files, err := d.Endorsements(); d.Root() != nil || len(files) != 0 || err != nil {
		t.Error("tokens have certificates")
	}
}
