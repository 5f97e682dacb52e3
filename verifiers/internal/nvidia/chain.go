// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
)

// A device chain has five certificates: attestation key, device identity (boot
// ROM), provisioner, family CA, root.
const (
	chainLength = 5
	posLeaf     = 0
	posDevice   = 1
	posShared   = 2 // this and the following are the same for a whole fleet
	posRoot     = 4

	deviceCache = 1024
	sharedCache = 64
)

// rootPEM is "NVIDIA Device Identity CA", valid 2021-11-05 .. 9999-12-31.
const rootPEM = `-----BEGIN CERTIFICATE-----
MIICCzCCAZCgAwIBAgIQLTZwscoQBBHB/sDoKgZbVDAKBggqhkjOPQQDAzA1MSIw
IAYDVQQDDBlOVklESUEgRGV2aWNlIElkZW50aXR5IENBMQ8wDQYDVQQKDAZOVklE
SUEwIBcNMjExMTA1MDAwMDAwWhgPOTk5OTEyMzEyMzU5NTlaMDUxIjAgBgNVBAMM
GU5WSURJQSBEZXZpY2UgSWRlbnRpdHkgQ0ExDzANBgNVBAoMBk5WSURJQTB2MBAG
ByqGSM49AgEGBSuBBAAiA2IABA5MFKM7+KViZljbQSlgfky/RRnEQScW9NDZF8SX
gAW96r6u/Ve8ZggtcYpPi2BS4VFu6KfEIrhN6FcHG7WP05W+oM+hxj7nyA1r1jkB
2Ry70YfThX3Ba1zOryOP+MJ9vaNjMGEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B
Af8EBAMCAQYwHQYDVR0OBBYEFFeF/4PyY8xlfWi3Olv0jUrL+0lfMB8GA1UdIwQY
MBaAFFeF/4PyY8xlfWi3Olv0jUrL+0lfMAoGCCqGSM49BAMDA2kAMGYCMQCPeFM3
TASsKQVaT+8S0sO9u97PVGCpE9d/I42IT7k3UUOLSR/qvJynVOD1vQKVXf0CMQC+
EY55WYoDBvs2wPAH1Gw4LbcwUN8QCff8bFmV4ZxjCRr4WXTLFHBKjbfneGSBWwA=
-----END CERTIFICATE-----
`

// The root is pinned twice, so that neither a reissued certificate nor another
// key under the same name passes unnoticed.
const (
	// rootSHA256 is the SHA-256 of the pinned root, in hexadecimal.
	rootSHA256     = "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"
	rootSPKISHA256 = "a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4"
)

// digest is a SHA-256.
type digest = [32]byte

// Chain is a device chain whose signatures were verified up to an anchor; only
// its validity periods depend on time. It is never changed after it was made.
type Chain struct {
	// ID is what the certificates say about the device.
	ID Identity
	// FWID is the firmware id in the leaf.
	FWID FWID
	// Signer is the SHA-256 of the leaf's SubjectPublicKeyInfo.
	Signer [32]byte
	// Root is the SHA-256 of the anchor, in hexadecimal.
	Root string

	certs [chainLength]*x509.Certificate
	key   *ecdsa.PublicKey
	// whole and upper are the SHA-256 of all certificates, and of those that
	// are the same for a fleet.
	whole, upper digest
}

// anchors verifies chains against NVIDIA's root and the extra ones, and
// remembers what it verified: chains whose key has signed a report, fresh or
// not. Who has old reports of many devices can push others out of the cache, and
// all that is lost then is time. It is safe for concurrent use.
type anchors struct {
	kind    *Kind
	roots   map[digest]*x509.Certificate // by SHA-256 of the certificate
	devices *lru.Cache[*Chain]
	shared  *lru.Cache[struct{}]
}

func newAnchors(kind *Kind, extra []*x509.Certificate) (*anchors, error) {
	block, _ := pem.Decode([]byte(rootPEM))
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("nvidia: embedded root: %w", err)
	}
	if hexSum(root.Raw) != rootSHA256 || hexSum(root.RawSubjectPublicKeyInfo) != rootSPKISHA256 {
		return nil, errors.New("nvidia: the embedded root is not the pinned one")
	}
	a := &anchors{kind: kind, roots: map[digest]*x509.Certificate{}, devices: lru.New[*Chain](deviceCache), shared: lru.New[struct{}](sharedCache)}
	for i, c := range append([]*x509.Certificate{root}, extra...) {
		if c == nil || !c.IsCA {
			return nil, fmt.Errorf("nvidia: extra root %d is not a CA certificate", i-1)
		}
		a.roots[sha256.Sum256(c.Raw)] = c
	}
	return a, nil
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// verify returns the chain in a PEM text, verified at time t, or a fault.
func (a *anchors) verify(text []byte, t time.Time) (*Chain, error) {
	ders, err := splitPEM(text)
	if err != nil {
		return nil, failed(verdict.ReasonMalformed, "certificate chain: %v", err)
	}
	if len(ders) != chainLength {
		return nil, failed(verdict.ReasonChainInvalid, "a device chain has %d certificates, this one %d", chainLength, len(ders))
	}
	key := chainKey(ders)
	if c, ok := a.devices.Get(key); ok {
		return c, c.valid(t)
	}
	c, err := a.parse(ders)
	if err != nil {
		return nil, err
	}
	c.whole, c.upper = key, chainKey(ders[posShared:])
	if err := c.valid(t); err != nil {
		return c, err
	}
	if err := a.signatures(c, t); err != nil {
		return nil, err
	}
	return c, nil
}

// remember keeps a verified chain, whose key has signed a report: certificates
// are public, so a chain alone must not take a place.
func (a *anchors) remember(c *Chain) {
	a.devices.Put(c.whole, c)
	a.shared.Put(c.upper, struct{}{})
}

// chainKey hashes certificates, each of which carries its own length.
func chainKey(ders [][]byte) (k digest) {
	h := sha256.New()
	for _, d := range ders {
		h.Write(d)
	}
	h.Sum(k[:0])
	return k
}

// strictBase64 refuses non-zero trailing bits, but steps over line ends.
var strictBase64 = base64.StdEncoding.Strict()

const (
	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
	blank    = " \t\r\n"
)

// splitPEM returns the DER of every certificate. Unlike encoding/pem it steps
// over nothing: no text around the blocks, no headers in them.
func splitPEM(text []byte) ([][]byte, error) {
	var out [][]byte
	rest := bytes.Trim(text, blank)
	for len(rest) > 0 {
		body, ok := bytes.CutPrefix(rest, []byte(pemBegin))
		if !ok {
			return nil, fmt.Errorf("text that is no certificate behind certificate %d", len(out)-1)
		}
		if body, rest, ok = bytes.Cut(body, []byte(pemEnd)); !ok {
			return nil, fmt.Errorf("certificate %d does not end", len(out))
		}
		body = bytes.Trim(body, blank)
		der := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
		n, err := strictBase64.Decode(der, body)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out), err)
		}
		out = append(out, der[:n:n])
		if len(out) > chainLength {
			return nil, fmt.Errorf("more than %d certificates", chainLength)
		}
		rest = bytes.TrimLeft(rest, blank)
	}
	return out, nil
}

// parse reads the certificates and checks everything but signatures and time.
// The presented root is only compared; the anchor takes its place.
func (a *anchors) parse(ders [][]byte) (*Chain, error) {
	c := &Chain{}
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, failed(verdict.ReasonMalformed, "certificate %d: %v", i, err)
		}
		c.certs[i] = cert
	}
	root, ok := a.roots[sha256.Sum256(ders[posRoot])]
	if !ok || !bytes.Equal(root.RawSubjectPublicKeyInfo, c.certs[posRoot].RawSubjectPublicKeyInfo) {
		return nil, unrecognized(verdict.ReasonUnknownRoot, "the chain ends in %q with SHA-256 %s, which is no root of this scheme",
			c.certs[posRoot].Subject.CommonName, hexSum(ders[posRoot]))
	}
	c.certs[posRoot], c.Root = root, hexSum(root.Raw)
	if err := c.shape(); err != nil {
		return nil, err
	}
	var err error
	if c.ID, err = a.kind.readIdentity(c.certs); err != nil {
		return nil, err
	}
	if c.FWID, err = readFWID(c.certs[posLeaf], c.certs[posDevice]); err != nil {
		return nil, failed(verdict.ReasonChainInvalid, "certificate 0: %v", err)
	}
	c.key = c.certs[posLeaf].PublicKey.(*ecdsa.PublicKey) // shape has checked it
	c.Signer = sha256.Sum256(c.certs[posLeaf].RawSubjectPublicKeyInfo)
	return c, nil
}

var oidNameConstraints = []int{2, 5, 29, 30}

// shape checks order, keys and roles. Path length is checked here because the
// signatures are verified in two halves, of which neither sees the whole path.
func (c *Chain) shape() error {
	for i, cert := range c.certs {
		key, ok := cert.PublicKey.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P384() || cert.SignatureAlgorithm != x509.ECDSAWithSHA384 {
			return failed(verdict.ReasonChainInvalid, "certificate %d is not ECDSA P-384 with SHA-384", i)
		}
		if i < posRoot && !bytes.Equal(cert.RawIssuer, c.certs[i+1].RawSubject) {
			return failed(verdict.ReasonChainInvalid, "certificate %d is issued by %q, the next one is %q", i, cert.Issuer, c.certs[i+1].Subject)
		}
		for _, e := range cert.Extensions {
			if e.Id.Equal(oidNameConstraints) {
				return failed(verdict.ReasonChainInvalid, "certificate %d has name constraints, which no device chain has", i)
			}
		}
		if i == posLeaf {
			continue
		}
		limited := cert.MaxPathLen > 0 || cert.MaxPathLenZero
		switch {
		case !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
			return failed(verdict.ReasonChainInvalid, "certificate %d (%q) may not issue certificates", i, cert.Subject.CommonName)
		case limited && i-1 > cert.MaxPathLen:
			return failed(verdict.ReasonChainInvalid, "certificate %d allows %d CAs below it, there are %d", i, cert.MaxPathLen, i-1)
		}
	}
	if leaf := c.certs[posLeaf]; leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		return failed(verdict.ReasonChainInvalid, "certificate 0 (%q) is not for digital signatures alone", leaf.Subject.CommonName)
	}
	return nil
}

// valid checks the validity periods of all five certificates at time t.
func (c *Chain) valid(t time.Time) error {
	for i, cert := range c.certs {
		if t.Before(cert.NotBefore) || t.After(cert.NotAfter) {
			from, to, at := cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339), t.UTC().Format(time.RFC3339)
			f := failed(verdict.ReasonExpired, "certificate %d (%q) is valid from %s to %s, not at %s", i, cert.Subject.CommonName, from, to, at)
			f.compared = verdict.Comparison{Expected: "from " + from + " to " + to, Observed: at, Source: fmt.Sprintf("certificate %d of the device", i)}
			return f
		}
	}
	return nil
}

// Expires is the earliest end of validity in the chain.
func (c *Chain) Expires() time.Time {
	first := c.certs[0].NotAfter
	for _, cert := range c.certs[1:] {
		if cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first
}

// signatures verifies the links in two halves: provisioner to root, which is
// the same for a fleet and cached, and leaf to provisioner.
func (a *anchors) signatures(c *Chain, t time.Time) error {
	if _, ok := a.shared.Get(c.upper); !ok {
		if err := link(c.certs[posShared:], posShared, t); err != nil {
			return err
		}
	}
	return link(c.certs[:posShared+1], 0, t)
}

// link verifies that each certificate is issued by the next one, the last
// being trusted. base is the position of the first in the whole chain.
func link(certs []*x509.Certificate, base int, t time.Time) error {
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	last := len(certs) - 1
	roots.AddCert(certs[last])
	for _, c := range certs[1:last] {
		inter.AddCert(c)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: inter, CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return failed(verdict.ReasonChainInvalid, "certificate %d (%q) does not verify: %v", base, certs[0].Subject.CommonName, err)
	}
	for _, got := range chains {
		if sameChain(got, certs) {
			return nil
		}
	}
	return failed(verdict.ReasonChainInvalid, "certificate %d (%q) verifies only in another order", base, certs[0].Subject.CommonName)
}

func sameChain(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i].Raw, b[i].Raw) {
			return false
		}
	}
	return true
}
