// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"testing"
	"time"
)

func TestTemplatesRoundTrip(t *testing.T) {
	tdx := Environment{Class: Class{ID: TaggedBytes(TagBytes, []byte("tag:assize.dev,2026:intel-tdx")), Vendor: "Intel Corporation", Model: "TDX"}}
	d := module("golden", Comid{
		Reference: []ValueTriple{
			{tdx, []Measurement{
				digestOf(TextKey("mrtd"), 7),
				{Key: TextKey("xfam"), Value: Values{Raw: &RawValue{Tag: TagBytes, Value: []byte{1, 2}}}},
				{Value: Values{Registers: []Register{{ID: NumberKey(0), Digests: []Digest{sum(1, SHA384)}}, {ID: NumberKey(1), Digests: []Digest{sum(2, SHA384)}}}}},
			}},
			{Environment{Class: Class{Vendor: "NVIDIA", Model: "GH100"}}, []Measurement{digestOf(NumberKey(0), 1), digestOf(NumberKey(63), 2)}},
		},
		Membership: []DomainTriple{{acme("node"), []Environment{acme("CPU")}}},
	})
	d.Profile = ProfileAssize
	d.Validity = Period{NotBefore: testTime.Truncate(time.Second).UTC(), NotAfter: testTime.Truncate(time.Second).AddDate(1, 0, 0).UTC()}
	head, comids, err := Templates(d)
	if err != nil {
		t.Fatal(err)
	}
	again, err := FromTemplates(head, comids...)
	if err != nil || !bytes.Equal(again, encoded(t, d)) {
		t.Errorf("%s\n%s\n%v", head, comids, err)
	}
	d.Entities = []Entity{{Name: "ACME", Roles: []int64{1}}}
	if _, _, err := Templates(d); err == nil {
		t.Error("entities are left out, and nobody is told")
	}
	d.Entities, d.Tags[0] = nil, Tag{Number: TagCots, Raw: []byte{0xa0}}
	if _, _, err := Templates(d); err == nil {
		t.Error("a tag is left out, and nobody is told")
	}
}
