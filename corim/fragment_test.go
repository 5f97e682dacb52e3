// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func roundTrip[T Fragment](t *testing.T, v T) {
	t.Helper()
	raw, err := EncodeFragment(v)
	if err != nil {
		t.Errorf("%T: %v", v, err)
		return
	}
	back, err := ParseFragment[T](raw)
	if err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%T: %+v, and %+v after a round trip: %v", v, v, back, err)
	}
	if _, err := ParseFragment[T](append(raw, 0)); err == nil {
		t.Errorf("%T: trailing bytes are accepted", v)
	}
	if _, err := ParseFragment[T](raw[:len(raw)-1]); err == nil {
		t.Errorf("%T: a part of it is accepted", v)
	}
}

func TestFragments(t *testing.T) {
	key := TaggedBytes(TagBytes, []byte("k"))
	value := ValueTriple{Environment: acme("NIC"), Measurements: []Measurement{digestOf(NumberKey(1), 1)}}
	roundTrip(t, Class{ID: key, Vendor: "ACME", Model: "NIC", Layer: Num(1), Index: Num(0)})
	roundTrip(t, key)
	roundTrip(t, ID{Text: "a"})
	roundTrip(t, ID{UUID: [16]byte{1}})
	roundTrip(t, []Typed{key, key})
	roundTrip(t, value.Measurements)
	roundTrip(t, value)
	roundTrip(t, KeyTriple{Environment: acme("NIC"), Keys: []Typed{key}, Element: TextKey("x"), AuthorizedBy: []Typed{key}})
	roundTrip(t, ConditionalTriple{Conditions: []ValueTriple{value}, Endorsements: []ValueTriple{value}})
	if _, err := EncodeFragment(Class{}); err == nil {
		t.Error("empty class")
	}
	if _, err := EncodeFragment(Class{Model: "NIC"}); err == nil {
		t.Error("model without a vendor")
	}
	if _, err := EncodeFragment([]Typed(nil)); err == nil {
		t.Error("no keys")
	}
	if v, ok := OID("1.3.6.1.4.1.3704.3.1"); !ok || v.Data != oidSNPByChip {
		t.Errorf("%v", v)
	}
}

func TestActiveTellsTheEnd(t *testing.T) {
	d := module("a", Comid{Reference: []ValueTriple{{Environment: acme("NIC"), Measurements: []Measurement{digestOf(NumberKey(1), 1)}}}})
	d.Validity = Period{NotAfter: testTime.Add(time.Hour)}
	x, err := NewIndex(loaded(t, d))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for a := range x.Active(testTime) {
		if n++; !a.Until.Equal(d.Validity.NotAfter) || a.Document.ID.Text != "a" {
			t.Errorf("%+v", a)
		}
	}
	for range x.Active(testTime.Add(2 * time.Hour)) {
		t.Error("active after the end")
	}
	if n != 1 {
		t.Errorf("%d tags", n)
	}
}

func TestLoadVouched(t *testing.T) {
	plain := encoded(t, module("a", Comid{Reference: []ValueTriple{{Environment: acme("NIC"), Measurements: []Measurement{digestOf(NumberKey(1), 1)}}}}))
	key := SigningKey{ID: []byte("k"), Public: testKey(1).Public()}
	good := Vouching{
		Authority: Authority{Name: "service", Keys: []SigningKey{key}, Profiles: []string{NoProfile}, Scopes: []Environment{acme("")}},
		Key:       key, Validity: Period{NotAfter: testTime.Add(time.Hour)},
	}
	d, err := LoadVouched(plain, good, Options{Now: testTime})
	if err != nil || d.Authority.Name != "service" || !d.Window().NotAfter.Equal(good.Validity.NotAfter) {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := NewIndex(d); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		change func(v *Vouching, o *Options)
		want   error
	}{
		"scope":        {func(v *Vouching, _ *Options) { v.Authority.Scopes = []Environment{acme("GPU")} }, ErrScope},
		"profile":      {func(v *Vouching, _ *Options) { v.Authority.Profiles = []string{ProfileAssize} }, ErrScope},
		"time":         {func(_ *Vouching, o *Options) { o.Now = testTime.Add(2 * time.Hour) }, ErrPeriod},
		"authority":    {func(v *Vouching, _ *Options) { v.Authority.Validity.NotAfter = testTime.Add(-time.Hour) }, ErrPeriod},
		"for ever":     {func(v *Vouching, _ *Options) { v.Validity = Period{} }, nil},
		"nobody's key": {func(v *Vouching, _ *Options) { v.Key = SigningKey{} }, nil},
		"no scopes":    {func(v *Vouching, _ *Options) { v.Authority.Scopes = nil }, nil},
	} {
		v, o := good, Options{Now: testTime}
		c.change(&v, &o)
		if _, err := LoadVouched(plain, v, o); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	signed, err := Sign(nil, plain, Signer{Key: testKey(1), KeyID: []byte("k"), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadVouched(signed, good, Options{Now: testTime}); err == nil {
		t.Error("a document with a signature of its own")
	}
}
