// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
)

// TestListsAgainstResponses: a list that revokes does so whatever a response says, and
// a hold is lifted by a newer response only.
func TestListsAgainstResponses(t *testing.T) {
	f := newFake(t)
	for _, c := range f.Templates[1:] {
		c.KeyUsage |= x509.KeyUsageCRLSign
	}
	f.Build()
	for _, c := range []struct {
		name   string
		reason int
		newer  time.Duration // of the response
		want   ocsp.Status
	}{
		{"revoked before", 1, time.Hour, ocsp.Revoked}, {"revoked after", 1, -time.Hour, ocsp.Revoked},
		{"hold lifted", reasonHold, time.Hour, ocsp.Good}, {"held since", reasonHold, -time.Hour, ocsp.Hold},
		{"taken off", reasonRemove, -time.Hour, ocsp.Good},
	} {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: at, NextUpdate: at.Add(time.Hour),
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: f.Certs[1].SerialNumber, RevocationTime: at, ReasonCode: c.reason}},
		}, f.Certs[2], f.Keys[2])
		if err != nil {
			t.Fatal(err)
		}
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		v := newTest(t, f)
		v.store.lists[string(f.Certs[2].RawSubject)] = []endorsements.RevocationList{{RevocationList: list, Name: "a.crl", Digest: sha256.Sum256(der)}}
		s := ocsp.Result{Status: ocsp.Good, Certificate: f.Certs[1], Position: 1, ThisUpdate: at.Add(c.newer)}
		if (&revocation{}).lists(v, &s, f.Certs[2]); s.Status != c.want {
			t.Errorf("%s: %s, expected %s", c.name, s.Status, c.want)
		}
	}
}

// TestNoChainIsNoStatus: a manifest without a path to a root has no status that is good.
func TestNoChainIsNoStatus(t *testing.T) {
	v := newTest(t, nil)
	for _, d := range []*corim.Document{{}, {Signature: &corim.Signature{}}, {Signature: &corim.Signature{Chain: []*x509.Certificate{{}}}}} {
		if v.corimStatus(d, at).in(isOpen) == "" {
			t.Errorf("%+v: nothing is open", d.Signature)
		}
	}
}
