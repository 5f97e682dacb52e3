// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/assize/assize/attester/nvidia"
)

// asked sends a request of x/crypto/ocsp, which has no nonce, to a service.
func asked(t *testing.T, s *nvidia.OCSPService, cert, issuer *x509.Certificate, hash crypto.Hash) []byte {
	t.Helper()
	req, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	der, err := s.Answer(req, now)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// An honest service gives the bytes of Device.OCSP, and the same ones again.
func TestOCSPServiceIsThatOfTheDevice(t *testing.T) {
	for _, set := range []func(*nvidia.Options){
		func(*nvidia.Options) {}, func(o *nvidia.Options) { o.Revoked = true }, func(o *nvidia.Options) { o.OnHold = true },
	} {
		o := options("service")
		set(&o)
		d := gpu(t, o)
		s := d.OCSPService(map[int]nvidia.OCSPFault{1: nvidia.OCSPHonest})
		for i := 1; i <= 3; i++ {
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA384} {
				want, err := d.OCSP(nvidia.OCSPQuery{Position: i, Hash: hash})
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if got := asked(t, s, d.Chain()[i], d.Chain()[i+1], hash); !bytes.Equal(got, want) {
						t.Errorf("certificate %d: %x, expected %x", i, got, want)
					}
				}
			}
		}
	}
}

// What x/crypto/ocsp can tell about each fault; who may answer and when is not
// its business.
func TestOCSPServiceFaults(t *testing.T) {
	d := gpu(t, options("service"))
	cert, issuer := d.Chain()[2], d.Chain()[3]
	for _, c := range []struct {
		fault  nvidia.OCSPFault
		status int
		reason int
	}{
		{nvidia.OCSPRevoked, ocsp.Revoked, ocsp.KeyCompromise},
		{nvidia.OCSPHold, ocsp.Revoked, ocsp.CertificateHold},
		{nvidia.OCSPUnknown, ocsp.Unknown, 0},
		{nvidia.OCSPNoUsage, ocsp.Good, 0},
		{nvidia.OCSPStale, ocsp.Good, 0},
		{nvidia.OCSPEarly, ocsp.Good, 0},
		{nvidia.OCSPEndless, ocsp.Good, 0},
		{nvidia.OCSPNoCheckMissing, ocsp.Good, 0},
		{nvidia.OCSPResponderExpired, ocsp.Good, 0},
	} {
		der := asked(t, d.OCSPService(map[int]nvidia.OCSPFault{2: c.fault}), cert, issuer, crypto.SHA256)
		r, err := ocsp.ParseResponseForCert(der, cert, issuer)
		if err != nil {
			t.Fatalf("fault %d: %v", c.fault, err)
		}
		ext := map[string]bool{}
		for _, e := range r.Certificate.Extensions {
			ext[e.Id.String()] = true
		}
		if r.Status != c.status || r.RevocationReason != c.reason || r.NextUpdate.IsZero() != (c.fault == nvidia.OCSPEndless) ||
			r.ThisUpdate.After(now) != (c.fault == nvidia.OCSPEarly) ||
			!r.NextUpdate.IsZero() && r.NextUpdate.Before(now) != (c.fault == nvidia.OCSPStale) ||
			ext["2.5.29.37"] == (c.fault == nvidia.OCSPNoUsage) || ext["1.3.6.1.5.5.7.48.1.5"] == (c.fault == nvidia.OCSPNoCheckMissing) ||
			r.Certificate.NotAfter.Before(now) != (c.fault == nvidia.OCSPResponderExpired) {
			t.Errorf("fault %d: %+v", c.fault, r)
		}
	}
	for _, f := range []nvidia.OCSPFault{nvidia.OCSPWrongResponder, nvidia.OCSPForged, nvidia.OCSPOtherCertificate, nvidia.OCSPRefused} {
		der := asked(t, d.OCSPService(map[int]nvidia.OCSPFault{2: f}), cert, issuer, crypto.SHA1)
		if _, err := ocsp.ParseResponseForCert(der, cert, issuer); err == nil {
			t.Errorf("fault %d: good", f)
		}
	}
}

func TestOCSPServiceRefuses(t *testing.T) {
	d := gpu(t, options("service"))
	rim, err := d.RIMSigner()
	if err != nil {
		t.Fatal(err)
	}
	if got := asked(t, d.OCSPService(nil), rim.Chain()[0], rim.Chain()[1], crypto.SHA1); !bytes.Equal(got, ocsp.UnauthorizedErrorResponse) {
		t.Errorf("about another issuer: %x", got)
	}
	for _, req := range [][]byte{nil, {0x30, 0}, bytes.Repeat([]byte{0x30}, 40)} {
		if got, err := d.OCSPService(nil).Answer(req, now); err != nil || !bytes.Equal(got, ocsp.MalformedRequestErrorResponse) {
			t.Errorf("%x: %x, %v", req, got, err)
		}
	}
	whole, err := ocsp.CreateRequest(rim.Chain()[0], rim.Chain()[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := rim.OCSPService(nil).Answer(whole, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if r := answered(t, der, rim.Chain()[0], rim.Chain()[1]); !r.ThisUpdate.Equal(now.Add(time.Hour)) {
		t.Errorf("of %s", r.ThisUpdate)
	}
}
