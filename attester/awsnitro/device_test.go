// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hf/nitrite"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/internal/vectors"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func device(tb testing.TB, change func(*Options)) *Device {
	tb.Helper()
	o := Options{Vendor: pki.NewSeed("vendor"), Device: pki.NewSeed("device"), Now: now, Image: "test"}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func evidenceOf(tb testing.TB, d *Device) []byte {
	tb.Helper()
	raw, err := d.Evidence([]byte("nonce"))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// library verifies with hf/nitrite under d's root.
func library(d *Device, raw []byte) (*nitrite.Result, error) {
	roots := x509.NewCertPool()
	roots.AddCert(d.Root())
	return nitrite.Verify(raw, nitrite.VerifyOptions{Roots: roots, CurrentTime: now})
}

func TestLibraryAcceptsHonest(t *testing.T) {
	d := device(t, func(o *Options) { o.UserData, o.PublicKey = []byte("user"), []byte("key") })
	r, err := library(d, evidenceOf(t, d))
	if err != nil {
		t.Fatal(err)
	}
	doc := r.Document
	if string(doc.Nonce) != "nonce" || string(doc.UserData) != "user" || string(doc.PublicKey) != "key" || doc.ModuleID != d.ModuleID() ||
		doc.Timestamp != uint64(now.UnixMilli()) || len(doc.PCRs) != registers || len(doc.CABundle) != 4 {
		t.Errorf("%+v", doc)
	}
	for i, m := range d.Measurements() {
		if want := []uint{0, 1, 2, 8}[i]; !bytes.Equal(doc.PCRs[want], m.Digest) || m.Alg != "sha-384" {
			t.Errorf("PCR%d: %x, reference %x", want, doc.PCRs[want], m.Digest)
		}
	}
}

// Each fault is found at the place it names, and the references stay honest.
func TestFaults(t *testing.T) {
	honest := device(t, nil)
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string // error of the library
		zero   bool   // PCR0 to PCR2
	}{
		{"debug", func(o *Options) { o.Debug = true }, "", true},
		{"measurement", func(o *Options) { o.Measurement = true }, "", false},
		{"revoked", func(o *Options) { o.Revoked = true }, "", false},
		{"expired", func(o *Options) { o.Expired = true }, "expired", false},
		{"wrong signer", func(o *Options) { o.WrongSigner = true }, "signature", false},
	} {
		d := device(t, c.change)
		r, err := library(d, evidenceOf(t, d))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r == nil {
			t.Errorf("%s: no result", c.name)
			continue
		}
		if zero := bytes.Equal(r.Document.PCRs[0], make([]byte, RegisterSize)); zero != c.zero {
			t.Errorf("%s: PCR0 zero %t", c.name, zero)
		}
		if same := bytes.Equal(r.Document.PCRs[2], honest.Measurements()[2].Digest); same != (c.name != "debug" && c.name != "measurement") {
			t.Errorf("%s: PCR2 as it should be: %t", c.name, same)
		}
		for i, m := range d.Measurements() {
			if !bytes.Equal(m.Digest, honest.Measurements()[i].Digest) {
				t.Errorf("%s changes the reference value of PCR%s", c.name, m.Name)
			}
		}
	}
}

func TestRevocationLists(t *testing.T) {
	for _, revoked := range []bool{false, true} {
		d := device(t, func(o *Options) { o.Revoked = revoked })
		files, err := d.Endorsements()
		if err != nil || len(files) != 2 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for name, by := range map[string]int{"aws-nitro-root-crl.der": 0, "aws-nitro-region-crl.der": 1} {
			l, err := x509.ParseRevocationList(files[name])
			if err != nil {
				t.Fatal(err)
			}
			if err := l.CheckSignatureFrom(d.Authorities()[by].Cert); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if named := len(l.RevokedCertificateEntries) == 1; named != (revoked && by == 1) {
				t.Errorf("%s: %d entries", name, len(l.RevokedCertificateEntries))
			}
		}
	}
}

func TestUnsignedImage(t *testing.T) {
	if n := len(device(t, func(o *Options) { o.Unsigned = true }).Measurements()); n != 3 {
		t.Errorf("%d measurements", n)
	}
}

// Same options, same bytes; another enclave is another one, with the image in common.
func TestDeterministic(t *testing.T) {
	one := evidenceOf(t, device(t, nil))
	var wg sync.WaitGroup
	d := device(t, nil)
	for range 4 {
		wg.Go(func() {
			if raw, err := d.Evidence([]byte("nonce")); err != nil || !bytes.Equal(raw, one) {
				t.Errorf("differs: %v", err)
			}
		})
	}
	wg.Wait()
	other := device(t, func(o *Options) { o.Device = pki.NewSeed("other") })
	if bytes.Equal(evidenceOf(t, other), one) || other.ModuleID() == d.ModuleID() {
		t.Error("two enclaves are one")
	}
	if !other.Root().Equal(d.Root()) || !bytes.Equal(other.Measurements()[0].Digest, d.Measurements()[0].Digest) {
		t.Error("vendor and image must not depend on the enclave")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no time":         {},
		"long user data":  {Now: now, UserData: make([]byte, MaxField+1)},
		"long public key": {Now: now, PublicKey: make([]byte, MaxField+1)},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := device(t, nil).Evidence(make([]byte, MaxField+1)); err == nil {
		t.Error("a long nonce")
	}
}

// Form as recorded: framing, order and types of the members, sizes, lifetimes
// and places of the certificates.
func TestLikeRecorded(t *testing.T) {
	real, ours := vectors.Read(t, "nitro/anjuna/attester_sample_prod_doc.bin"), evidenceOf(t, device(t, nil))
	r, o := members(t, real), members(t, ours)
	if strings.Join(r.names, " ") != strings.Join(o.names, " ") || !bytes.Equal(real[:8], ours[:8]) {
		t.Errorf("members %v, recorded %v", o.names, r.names)
	}
	if len(r.certs) != len(o.certs) {
		t.Fatalf("%d certificates, recorded %d", len(o.certs), len(r.certs))
	}
	for i, c := range r.certs {
		mine := o.certs[i]
		life := func(c *x509.Certificate) time.Duration { return c.NotAfter.Sub(c.NotBefore).Round(time.Hour) }
		if c.IsCA != mine.IsCA || c.MaxPathLen != mine.MaxPathLen || c.MaxPathLenZero != mine.MaxPathLenZero || c.KeyUsage != mine.KeyUsage ||
			c.SignatureAlgorithm != mine.SignatureAlgorithm || len(c.CRLDistributionPoints) != len(mine.CRLDistributionPoints) ||
			life(c)-life(mine) > 2*time.Hour || life(mine)-life(c) > 2*time.Hour && i != 2 {
			t.Errorf("certificate %d: recorded %+v for %s, ours %+v for %s", i, c.KeyUsage, life(c), mine.KeyUsage, life(mine))
		}
	}
}

type form struct {
	names []string
	certs []*x509.Certificate
}

func members(t *testing.T, raw []byte) (f form) {
	t.Helper()
	var parts []cbor.RawMessage
	var payload []byte
	if err := cbor.Unmarshal(raw, &parts); err != nil {
		t.Fatal(err)
	}
	if err := cbor.Unmarshal(parts[2], &payload); err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := cbor.Unmarshal(payload, &doc); err != nil {
		t.Fatal(err)
	}
	for rest := payload[1:]; len(rest) > 0; {
		var name string
		var value cbor.RawMessage
		var err error
		if rest, err = cbor.UnmarshalFirst(rest, &name); err == nil {
			rest, err = cbor.UnmarshalFirst(rest, &value)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.names = append(f.names, name)
	}
	for _, der := range append(doc.CABundle, doc.Certificate) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		f.certs = append(f.certs, c)
	}
	return f
}
