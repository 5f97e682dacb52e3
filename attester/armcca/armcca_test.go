// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"bytes"
	"crypto/elliptic"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/veraison/ccatoken"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func device(tb testing.TB, change func(*Options)) *Device {
	tb.Helper()
	o := Options{Device: pki.NewSeed("realm"), Now: now, Model: "model", Image: "image"}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func challenge() []byte { return pki.NewSeed("challenge").Bytes(ChallengeSize) }

func evidenceOf(tb testing.TB, d *Device) []byte {
	tb.Helper()
	raw, err := d.Evidence(challenge())
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// The library verifies what is honest, and finds what has a wrong signature or
// binding. It does not know the form with records.
func TestLibrary(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"honest", nil, ""},
		{"legacy", func(o *Options) { o.Legacy = true }, ""},
		{"P-256", func(o *Options) { o.Curve = elliptic.P256() }, ""},
		{"debug", func(o *Options) { o.Debug = true }, ""},
		{"outdated", func(o *Options) { o.OutdatedTCB = true }, ""},
		{"measurement", func(o *Options) { o.Measurement = true }, ""},
		{"wrong signer", func(o *Options) { o.WrongSigner = true }, "platform token"},
		{"unbound", func(o *Options) { o.Unbound = true }, "binding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := device(t, c.change)
			e, err := ccatoken.DecodeAndValidateEvidenceFromCBOR(evidenceOf(t, d))
			if err != nil {
				t.Fatal(err)
			}
			p := d.Platform()
			switch err := e.Verify(p.Key); {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
			if got, _ := e.RealmClaims.GetChallenge(); !bytes.Equal(got, challenge()) {
				t.Error("another challenge")
			}
			if !bytes.Equal(*e.GetImplementationID(), p.Class) || !bytes.Equal(*e.GetInstanceID(), p.Instance) {
				t.Error("the references are about another platform")
			}
			life, _ := e.PlatformClaims.GetSecurityLifeCycle()
			if want := map[bool]uint16{true: lifecycleDebug, false: lifecycleSecured}[c.name == "debug"]; life != want {
				t.Errorf("lifecycle %#x", life)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	raw := evidenceOf(t, device(t, func(o *Options) { o.Form = Records }))
	if !bytes.HasPrefix(raw, []byte{0xd9, 0x03, 0x8b, 0xa2}) {
		t.Errorf("%x", raw[:4])
	}
}

// The same options give the same bytes; a fault changes no reference.
func TestDeterminism(t *testing.T) {
	one, two := device(t, nil), device(t, nil)
	if !bytes.Equal(evidenceOf(t, one), evidenceOf(t, two)) {
		t.Error("evidence differs")
	}
	other := device(t, func(o *Options) { o.Device = pki.NewSeed("other") })
	if bytes.Equal(one.instance, other.instance) || !bytes.Equal(one.implementation, other.implementation) || !bytes.Equal(one.rim, other.rim) {
		t.Error("platforms of one model")
	}
	faulty := device(t, func(o *Options) { o.Measurement, o.OutdatedTCB, o.Debug = true, true, true })
	for i, m := range faulty.Platform().Measurements {
		if w := one.Platform().Measurements[i]; !bytes.Equal(m.Digest, w.Digest) || m.Version != w.Version {
			t.Errorf("%s: a fault changed the reference", m.Name)
		}
	}
	for i, m := range faulty.Realm().Measurements {
		if w := one.Realm().Measurements[i]; !bytes.Equal(m.Digest, w.Digest) || !bytes.Equal(m.Raw, w.Raw) {
			t.Errorf("%s: a fault changed the reference", m.Key)
		}
	}
	if bytes.Equal(evidenceOf(t, faulty), evidenceOf(t, one)) {
		t.Error("faults change nothing")
	}
}

func TestTSMReport(t *testing.T) {
	d := device(t, nil)
	raw, err := d.TSMReport(challenge())
	if err != nil {
		t.Fatal(err)
	}
	r, err := tsm.Decode(evidence.MediaType{Base: TypeTSMReport}, raw)
	if err != nil || r.Provider != "arm_cca_guest" || !bytes.Equal(r.OutBlob, evidenceOf(t, d)) {
		t.Error(r.Provider, err)
	}
	if _, err := evidence.ParseMediaType(MediaType); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"without a time": func(o *Options) { o.Now = time.Time{} },
		"unknown form":   func(o *Options) { o.Form = forms },
		"63 bytes":       func(o *Options) { o.Personalization = make([]byte, 63) },
	} {
		o := Options{Now: now}
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	d := device(t, nil)
	for _, size := range []int{0, 32, 63, 65} {
		if _, err := d.Evidence(make([]byte, size)); err == nil {
			t.Errorf("a challenge of %d bytes", size)
		}
		if _, err := d.TSMReport(make([]byte, size)); err == nil {
			t.Errorf("a challenge of %d bytes", size)
		}
	}
	if files, err := d.Endorsements(); d.Root() != nil || len(files) != 0 || err != nil {
		t.Error("tokens have certificates")
	}
}

func TestConcurrentUse(t *testing.T) {
	d := device(t, func(o *Options) { o.Measurement = true })
	want := evidenceOf(t, d)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := d.Evidence(challenge()); err != nil || !bytes.Equal(got, want) {
				t.Error("another answer at the same time:", err)
			}
		})
	}
	wg.Wait()
}
