// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// TestAuthority signs a manifest in the form of a CoRIM.
func TestAuthority(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	document := func(env corim.Environment) []byte {
		id := corim.ID{Text: "a manifest"}
		raw, err := corim.Encode(&corim.Document{ID: id, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
			Identity: corim.TagIdentity{ID: id},
			Reference: []corim.ValueTriple{{Environment: env, Measurements: []corim.Measurement{
				{Key: corim.NumberKey(1), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: bytesOf(1)}}}},
			}}},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = corim.Sign(rand.Reader, raw, corim.Signer{Key: f.key, Chain: f.chain[:2], Name: "Test L4"}); err != nil {
			t.Fatal(err)
		}
		return raw
	}
	ours := document(nvidia.Model("GB100 A01 FSP"))
	for _, c := range []struct {
		name  string
		raw   []byte
		extra []*x509.Certificate
		now   time.Time
		want  error
	}{
		{"good", ours, f.chain[2:], start.AddDate(0, 1, 0), nil},
		{"another root", ours, nil, start.AddDate(0, 1, 0), corim.ErrUntrusted},
		{"of another vendor", document(corim.Environment{Class: corim.Class{Vendor: "ACME", Model: "GB100"}}), f.chain[2:], start.AddDate(0, 1, 0), corim.ErrScope},
		{"expired", ours, f.chain[2:], end.AddDate(0, 1, 0), corim.ErrUntrusted},
	} {
		a, err := rim.Authority(c.extra)
		if err != nil {
			t.Fatal(err)
		}
		trust, err := corim.NewTrust([]corim.Authority{a})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := corim.Load(c.raw, corim.Options{Trust: trust, Now: c.now}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.name, err, c.want)
		}
	}
	if _, err := rim.Authority([]*x509.Certificate{nil}); err == nil {
		t.Error("an extra root that is none was accepted")
	}
}

// TestPinnedRootStays: another certificate for the key of a pinned root, that ends
// later for example, does not take its place.
func TestPinnedRootStays(t *testing.T) {
	pinned, err := rim.Roots()
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t, elliptic.P384())
	var extra []*x509.Certificate
	for _, c := range pinned {
		extra = append(extra, issue(t, authority(c.Subject.CommonName), c.PublicKey, authority("Test Root"), key))
	}
	a, err := rim.Authority(extra)
	if err != nil || len(a.Roots) != len(pinned) {
		t.Fatalf("%d roots, %v", len(a.Roots), err)
	}
	for _, c := range a.Roots {
		if !c.Equal(pinned[0]) && !c.Equal(pinned[1]) {
			t.Errorf("%q is not the pinned certificate", c.Subject)
		}
	}
}
