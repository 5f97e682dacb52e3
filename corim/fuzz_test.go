// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"os"
	"reflect"
	"testing"
)

// FuzzParse reads anything, and what was read is written and read alike, can be
// indexed and matched with itself.
func FuzzParse(f *testing.F) {
	f.Add(encoded(f, module("a", Comid{
		Reference:  []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 1), {Key: TextKey("r"), Value: Values{Raw: raw("ab", "\xff\x00")}}}}},
		Membership: []DomainTriple{{acme("node"), []Environment{acme("NIC")}}},
		AttestKeys: []KeyTriple{{Environment: acme("NIC"), Keys: []Typed{TaggedText(TagPKIXKey, "k")}}},
	})))
	f.Add(signed(f, encoded(f, module("b", Comid{Endorsed: []ValueTriple{{acme("NIC"), []Measurement{svn(1)}}}})), testKey(1), nil))
	if _, err := os.Stat("../../shared/evidence"); err == nil || os.Getenv("ASSIZE_VECTORS") != "" {
		for _, b := range recorded(f) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := Parse(in)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Raw, in) {
			t.Fatal("bytes changed")
		}
		out, err := Encode(d)
		if err != nil {
			t.Fatalf("%x: %v", in, err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := Encode(again); err != nil || !bytes.Equal(twice, out) || !reflect.DeepEqual(content(again).ID, content(d).ID) {
			t.Fatalf("%x: %v", in, err)
		}
		if again, err = Load(out, Options{Unsigned: true, Now: testTime}); err != nil {
			return
		}
		x, err := NewIndex(again)
		if err != nil {
			return
		}
		for _, tag := range again.Tags {
			if tag.Comid == nil {
				continue
			}
			for _, r := range tag.Comid.Reference {
				q := Query{Environments: []Environment{r.Environment}, Measurements: r.Measurements, Time: testTime}
				_ = x.Match(q).Findings
				if _, err := x.Endorse(q); err != nil {
					t.Fatal(err)
				}
				x.Topology(testTime, q.Environments)
			}
		}
	})
}
