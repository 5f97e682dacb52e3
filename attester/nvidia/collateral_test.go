// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/internal/vectors"
	"golang.org/x/crypto/ocsp"
)

// answered checks one OCSP answer with x/crypto/ocsp and what that leaves out.
func answered(t *testing.T, der []byte, cert, issuer *x509.Certificate) *ocsp.Response {
	t.Helper()
	r, err := ocsp.ParseResponseForCert(der, cert, issuer)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Certificate
	if c == nil || c.IsCA || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}) || c.KeyUsage != x509.KeyUsageDigitalSignature ||
		r.SignatureAlgorithm != x509.ECDSAWithSHA384 || !bytes.Equal(r.ResponderKeyHash, c.SubjectKeyId) || c.CheckSignatureFrom(issuer) != nil {
		t.Fatalf("responder %+v", c)
	}
	return r
}

func TestOCSP(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    func(*nvidia.Options)
		status int
		reason int
	}{
		{"honest", func(*nvidia.Options) {}, ocsp.Good, 0},
		{"revoked", func(o *nvidia.Options) { o.Revoked = true }, ocsp.Revoked, ocsp.KeyCompromise},
		{"on hold", func(o *nvidia.Options) { o.OnHold = true }, ocsp.Revoked, ocsp.CertificateHold},
	} {
		o := options("ocsp")
		c.set(&o)
		d := gpu(t, o)
		chain := d.Chain()
		for i := 1; i <= 3; i++ {
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA384} {
				der, err := d.OCSP(nvidia.OCSPQuery{Position: i, Hash: hash})
				if err != nil {
					t.Fatal(err)
				}
				r := answered(t, der, chain[i], chain[i+1])
				status, reason := ocsp.Good, 0
				if i == 1 {
					status, reason = c.status, c.reason
				}
				if r.Status != status || r.RevocationReason != reason || r.IssuerHash != hash || !r.ThisUpdate.Equal(now) || !r.NextUpdate.Equal(now.Add(24*time.Hour)) || !r.ProducedAt.Equal(now) {
					t.Errorf("%s, certificate %d: %+v", c.name, i, r)
				}
				if _, err := ocsp.ParseResponseForCert(der, chain[i], chain[(i+1)%4+1]); err == nil {
					t.Errorf("certificate %d: good for another issuer", i)
				}
			}
		}
	}
}

// The answer names the certificate as a request of x/crypto/ocsp would.
func TestOCSPCertID(t *testing.T) {
	d := gpu(t, options("ocsp"))
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA384} {
		want, err := ocsp.CreateRequest(d.Chain()[1], d.Chain()[2], &ocsp.RequestOptions{Hash: hash})
		if err != nil {
			t.Fatal(err)
		}
		req, err := ocsp.ParseRequest(want)
		if err != nil {
			t.Fatal(err)
		}
		der, err := d.OCSP(nvidia.OCSPQuery{Position: 1, Hash: hash})
		if err != nil {
			t.Fatal(err)
		}
		for _, digest := range [][]byte{req.IssuerNameHash, req.IssuerKeyHash} {
			if !bytes.Contains(der, digest) {
				t.Errorf("%v: no %x", hash, digest)
			}
		}
	}
}

func TestOCSPQuery(t *testing.T) {
	d := gpu(t, options("ocsp"))
	challenge := bytes.Repeat([]byte{0xC4}, 32)
	later := now.Add(time.Hour)
	der, err := d.OCSP(nvidia.OCSPQuery{Position: 2, Nonce: challenge, At: later})
	if err != nil {
		t.Fatal(err)
	}
	if r := answered(t, der, d.Chain()[2], d.Chain()[3]); !r.ThisUpdate.Equal(later) {
		t.Errorf("at %s", r.ThisUpdate)
	}
	id, _ := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2})
	if !bytes.Contains(der, append(append(id, 4, 34, 4, 32), challenge...)) {
		t.Error("no nonce")
	}
	for _, q := range []nvidia.OCSPQuery{{Position: 0}, {Position: 4}, {Position: -1}, {Position: 1, Hash: crypto.SHA256}} {
		if _, err := d.OCSP(q); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
}

func TestEndorsements(t *testing.T) {
	o := options("e")
	o.Revoked = true
	a, b := gpu(t, o), gpu(t, options("f"))
	all, err := a.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Endorsements()
	if err != nil || len(all) != 10 {
		t.Fatalf("%d files: %v", len(all), err)
	}
	signer, err := a.RIMSigner()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range signer.Chain()[:3] {
		name := "nvidia-ocsp-" + hexOf(c.SerialNumber.Bytes()) + ".der"
		if r := answered(t, all[name], c, signer.Chain()[i+1]); r.Status != ocsp.Good {
			t.Errorf("%s: status %d", name, r.Status)
		}
	}
	shared, statuses := 0, 0
	for name, der := range all {
		if other, ok := again[name]; ok {
			if shared++; !bytes.Equal(der, other) {
				t.Errorf("%s has other bytes for another device", name)
			}
		}
		if strings.HasSuffix(name, ".crl") {
			list, err := x509.ParseRevocationList(der)
			if err != nil {
				t.Fatal(err)
			}
			issuer := a.Root()
			if name == "nvidia-l2-gh100.crl" {
				issuer = a.Chain()[3]
			}
			if err := list.CheckSignatureFrom(issuer); err != nil || len(list.RevokedCertificateEntries) != 0 || !list.NextUpdate.After(now) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		for i := 1; i <= 3; i++ {
			if strings.Contains(name, hexOf(a.Chain()[i].SerialNumber.Bytes())) {
				statuses++
				if r := answered(t, der, a.Chain()[i], a.Chain()[i+1]); (r.Status == ocsp.Revoked) != (i == 1) {
					t.Errorf("%s: status %d", name, r.Status)
				}
			}
		}
	}
	if shared != 9 || statuses != 3 { // lists, answers about 2 and 3, two manifests, three answers about their signer
		t.Errorf("%d shared files, %d answers", shared, statuses)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range b {
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}

func TestRIMSigner(t *testing.T) {
	o := options("r")
	o.Arch = nvidia.Blackwell
	for _, c := range []struct {
		d      *nvidia.Device
		signer string
	}{
		{gpu(t, options("r")), "HCC RIM L4 Signer"}, {gpu(t, o), "RIM L4 Signer"}, {nvswitch(t, options("r")), "NVIDIA Reference Value L4 LS10"},
	} {
		s, err := c.d.RIMSigner()
		if err != nil {
			t.Fatal(err)
		}
		chain := s.Chain()
		if len(chain) != 4 || !chain[3].Equal(s.Root()) || s.Root().Equal(c.d.Root()) || chain[0].Subject.CommonName != c.signer ||
			!chain[1].MaxPathLenZero || chain[2].MaxPathLenZero || !slices.Equal(chain[0].OCSPServer, []string{"http://ocsp.ndis.nvidia.com"}) {
			t.Fatalf("chain %v", chain)
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(s.Root())
		between.AddCert(chain[1])
		between.AddCert(chain[2])
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Error(err)
		}
		sum := sha512.Sum384([]byte("a reference"))
		sig, err := pki.SignDER(s.Key.(*ecdsa.PrivateKey), crypto.SHA384, sum[:])
		if key := chain[0].PublicKey.(*ecdsa.PublicKey); err != nil || key.Curve != elliptic.P384() || !ecdsa.VerifyASN1(key, sum[:], sig) {
			t.Errorf("signature: %v", err)
		}
		for i := range 3 {
			der, err := s.OCSP(nvidia.OCSPQuery{Position: i})
			if err != nil {
				t.Fatal(err)
			}
			if r := answered(t, der, chain[i], chain[i+1]); r.Status != ocsp.Good {
				t.Errorf("certificate %d: status %d", i, r.Status)
			}
		}
		if _, err := s.OCSP(nvidia.OCSPQuery{Position: 3}); err == nil {
			t.Error("status of the root")
		}
		again, err := c.d.RIMSigner()
		if err != nil || !slices.EqualFunc(chain, again.Chain(), (*x509.Certificate).Equal) {
			t.Errorf("another chain: %v", err)
		}
	}
}

// The chain against those of two recorded RIMs: subjects, extensions, order.
func TestRIMChainAsRecorded(t *testing.T) {
	for _, c := range []struct {
		d    *nvidia.Device
		file string
	}{
		{gpu(t, options("r")), "NV_GPU_DRIVER_GH100_550.144.03.xml"},
		{nvswitch(t, options("r")), "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"},
	} {
		s, err := c.d.RIMSigner()
		if err != nil {
			t.Fatal(err)
		}
		text := string(vectors.Read(t, sdkDir+c.file))
		for i, got := range s.Chain() {
			_, body, ok := strings.Cut(text, "X509Certificate>")
			if !ok {
				t.Fatalf("no certificate %d", i)
			}
			body, text, _ = strings.Cut(body, "<")
			_, text, _ = strings.Cut(text, ">")
			der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(body), ""))
			if err != nil {
				t.Fatal(err)
			}
			want, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if i < 3 && got.Subject.CommonName != want.Subject.CommonName || !slices.Equal(attributes(got), attributes(want)) ||
				got.KeyUsage != want.KeyUsage || got.MaxPathLenZero != want.MaxPathLenZero || len(got.Extensions) != len(want.Extensions) {
				t.Fatalf("%s, certificate %d: %s, recorded %s", c.file, i, got.Subject, want.Subject)
			}
			for j, e := range got.Extensions {
				w := want.Extensions[j]
				if !e.Id.Equal(w.Id) || e.Critical != w.Critical || len(e.Value) != len(w.Value) {
					t.Errorf("%s, certificate %d: extension %v of %d bytes, recorded %v of %d", c.file, i, e.Id, len(e.Value), w.Id, len(w.Value))
				}
			}
		}
	}
}
