// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	xocsp "golang.org/x/crypto/ocsp"

	"github.com/assize/assize/internal/vectors"
)

func chains(t *testing.T) map[string][]*x509.Certificate {
	t.Helper()
	d := device(t, nil)
	rim, err := d.RIMSigner()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]*x509.Certificate{"device": d.Chain(), "reference values": rim.Chain()}
}

// Without a nonce a request is that of golang.org/x/crypto/ocsp.
func TestRequestAsOthersWriteIt(t *testing.T) {
	for name, chain := range chains(t) {
		sameRequests(t, name, chain)
	}
}

func sameRequests(t *testing.T, name string, chain []*x509.Certificate) {
	t.Helper()
	for i := range len(chain) - 1 {
		for _, h := range hashes {
			got, err := Request(chain[i], chain[i+1], h.hash, nil)
			if err != nil {
				t.Fatal(err)
			}
			want, err := xocsp.CreateRequest(chain[i], chain[i+1], &xocsp.RequestOptions{Hash: h.hash})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, certificate %d, %v: %x, expected %x (%v)", name, i, h.hash, got, want, err)
			}
		}
	}
}

// The recorded chains of real devices can be asked about, and what the simulated
// service says about its own is nothing about them.
func TestRecordedChains(t *testing.T) {
	d := device(t, nil)
	set := fetched(t, d.OCSPService(nil), d.Chain(), DeviceFrom, crypto.SHA384, nil, now)
	for _, file := range []string{
		"nvidia/nvtrust/samples/hopperCertChain.txt", "nvidia/go-nvtrust/gpuAkCertChain.txt",
		"nvidia/attestation-sdk/testdata/sample_attestation_data/gpu/blackwellCertChain.txt", "nvidia/attestation-sdk/testdata/switchCertChain.txt",
	} {
		var chain []*x509.Certificate
		for rest := vectors.Read(t, file); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, cert)
		}
		if len(chain) != 5 {
			t.Fatalf("%s has %d certificates", file, len(chain))
		}
		sameRequests(t, file, chain)
		for _, r := range NewChecker(1).Check(set, chain, now, nil, Policy{From: DeviceFrom}) {
			expect(t, r, Missing, "")
		}
	}
}

func TestRequestWithNonce(t *testing.T) {
	chain := chains(t)["device"]
	der, err := Request(chain[1], chain[2], crypto.SHA384, nonce)
	if err != nil {
		t.Fatal(err)
	}
	req, err := xocsp.ParseRequest(der)
	if err != nil || req.HashAlgorithm != crypto.SHA384 || req.SerialNumber.Cmp(chain[1].SerialNumber) != 0 {
		t.Fatalf("%+v: %v", req, err)
	}
	if want := append(oidOf(oidNonce...), tlv(4, tlv(4, nonce))...); !bytes.HasSuffix(der, want) {
		t.Errorf("%x does not end with the nonce", der)
	}
}

func TestRequestThatIsRefused(t *testing.T) {
	w := newWorld(t)
	odd := *w.leaf.Cert
	odd.SerialNumber = nil
	keyless := *w.ca.Cert
	keyless.RawSubjectPublicKeyInfo = nil
	for _, c := range []struct {
		cert, issuer *x509.Certificate
		hash         crypto.Hash
		nonce        []byte
		why          string
	}{
		{w.leaf.Cert, w.ca.Cert, crypto.SHA512, nil, "hash"},
		{w.leaf.Cert, w.ca.Cert, 0, nil, "hash"},
		{w.leaf.Cert, w.ca.Cert, crypto.SHA1, []byte{}, "nonce of 0"},
		{w.leaf.Cert, w.ca.Cert, crypto.SHA1, make([]byte, minNonce-1), "nonce of 15"},
		{w.leaf.Cert, w.ca.Cert, crypto.SHA1, make([]byte, MaxNonce+1), "nonce of 129"},
		{&odd, w.ca.Cert, crypto.SHA1, nil, "serial number"},
		{w.leaf.Cert, &keyless, crypto.SHA1, nil, "public key"},
	} {
		if _, err := Request(c.cert, c.issuer, c.hash, c.nonce); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%v, expected … %s …", err, c.why)
		}
	}
}
