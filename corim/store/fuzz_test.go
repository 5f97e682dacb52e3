// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/assize/assize/corim"
)

// FuzzEntry puts anything into a bucket: nothing counts whose name is not its
// digest, nothing is lost from the list, and nothing else is disturbed.
func FuzzEntry(f *testing.F) {
	good := document(f, "A", 1, nil)
	name := Digest(sha256.Sum256(good)).String()
	circle := document(f, "B", 1, func(_ *corim.Document, m *corim.Comid) {
		m.Membership = []corim.DomainTriple{{Domain: nic("a"), Members: []corim.Environment{nic("b")}}}
	})
	f.Add(name, good)
	f.Add("x", good)
	f.Add(Digest(sha256.Sum256(circle)).String(), circle)
	f.Add(Digest(sha256.Sum256(nil)).String(), []byte{})
	s, err := New(Options{Bucket: newMemory(&clock{now: testTime}), Clock: func() time.Time { return testTime }, Unsigned: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string, raw []byte) {
		set := map[string]*item{name: {key: name, raw: good, size: int64(len(good)), added: testTime}}
		if key != name {
			set[key] = &item{key: key, raw: raw, size: int64(len(raw)), added: testTime.Add(time.Second)}
		}
		st := s.assemble(set, testTime)
		if len(st.list) != len(set) || matched(st.index, "A", 1, testTime) == corim.Unknown {
			t.Fatalf("%d entries, and what counted before: %v", len(st.list), matched(st.index, "A", 1, testTime))
		}
		for _, in := range st.list[1:] {
			if fits := Digest(sha256.Sum256(raw)).String() == key; !fits && !errors.Is(in.Reason(), ErrName) {
				t.Errorf("%q counts", key)
			}
		}
	})
}
