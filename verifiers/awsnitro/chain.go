// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"

	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
)

// failure is a check that did not hold: a reason code of the verdict package
// and a sentence.
type failure struct {
	code, detail string
	compared     verdict.Comparison
}

func (f *failure) Error() string { return f.code + ": " + f.detail }

func failf(code, format string, args ...any) *failure {
	return &failure{code: code, detail: fmt.Sprintf(format, args...)}
}

// link is a certificate that stands at one place below one root. Its signature
// holds if it came out of the cache or went through verify. It is immutable.
type link struct {
	// key is the SHA-256 over the whole path from the root to this certificate.
	key  lru.Key
	cert *x509.Certificate
	// lists are the revocation lists that this certificate has signed.
	lists    []*revocationList
	verified bool
}

// chain is a path: the root first, the enclave's certificate last.
type chain []*link

func (c chain) leaf() *x509.Certificate { return c[len(c)-1].cert }

// oidNameConstraints is a restriction that nothing here evaluates.
var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// open finds the certificates of a document: those that are known from the
// cache, the others parsed. Every one must be ECDSA P-384 with SHA-384, before
// any signature is looked at.
func (v *verifier) open(d *document) (chain, *failure) {
	root := v.root(d.bundle[0])
	if root == nil {
		return nil, failf(verdict.ReasonUnknownRoot, "cabundle begins with a certificate of SHA-256 %x, which is no trusted root", sha256.Sum256(d.bundle[0]))
	}
	c := chain{root}
	for i, raw := range append(slices.Clip(d.bundle[1:]), d.leaf) {
		key := below(c[i].key, raw)
		if l, ok := v.links.Get(key); ok {
			c = append(c, l)
			continue
		}
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, failf(verdict.ReasonMalformed, "certificate %d of the chain: %v", i+1, err)
		}
		if f := p384(cert); f != nil {
			return nil, f
		}
		c = append(c, &link{key: key, cert: cert})
	}
	return c, nil
}

// below is the key of a certificate below the one with the given key.
func below(parent lru.Key, raw []byte) lru.Key {
	return sha256.Sum256(append(bytes.Clone(parent[:]), raw...))
}

// root finds the trusted root with exactly these bytes.
func (v *verifier) root(raw []byte) *link {
	i := slices.IndexFunc(v.roots, func(r *link) bool { return bytes.Equal(r.cert.Raw, raw) })
	if i < 0 {
		return nil
	}
	return v.roots[i]
}

func p384(c *x509.Certificate) *failure {
	if k, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P384() || c.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		return failf(verdict.ReasonChainInvalid, "certificate %q is not ECDSA P-384 with SHA-384", c.Subject.CommonName)
	}
	return nil
}

// verify checks the path: names, constraints, and the signatures of what was
// not in the cache. It says nothing about time and revocation.
func (v *verifier) verify(c chain) *failure {
	last := len(c) - 1
	for i, l := range c {
		if f := l.role(i, last); f != nil {
			return f
		}
		if i == 0 || l.verified {
			continue
		}
		parent := c[i-1].cert
		if !bytes.Equal(parent.RawSubject, l.cert.RawIssuer) {
			return failf(verdict.ReasonChainInvalid, "certificate %q is issued by %q, and above it stands %q", l.cert.Subject.CommonName, l.cert.Issuer, parent.Subject)
		}
		if err := l.cert.CheckSignatureFrom(parent); err != nil {
			return failf(verdict.ReasonChainInvalid, "certificate %q: %v", l.cert.Subject.CommonName, err)
		}
		l.verified = true
		if i < last {
			l.lists = v.listsOf(l.cert)
		}
	}
	return nil
}

// role checks what certificate i of 0 to last may do.
func (l *link) role(i, last int) *failure {
	c := l.cert
	bad := func(format string, args ...any) *failure {
		return failf(verdict.ReasonChainInvalid, "certificate %q "+format, append([]any{c.Subject.CommonName}, args...)...)
	}
	constrained := slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNameConstraints) })
	switch {
	case c.Version != 3 || !c.BasicConstraintsValid:
		return bad("has no basic constraints")
	case len(c.UnhandledCriticalExtensions) > 0 || constrained:
		return bad("has a constraint that is not understood")
	case i == last && c.IsCA:
		return bad("is an authority, and signs a document")
	case i == last && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return bad("is not for signatures")
	case i == last:
		return nil
	case !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
		return bad("is no authority, and stands above another certificate")
	case (c.MaxPathLen > 0 || c.MaxPathLenZero) && last-1-i > c.MaxPathLen:
		return bad("allows %d authorities below it, and there are %d", c.MaxPathLen, last-1-i)
	}
	return nil
}

// remember keeps the path for the next document. It is called only for paths
// whose last key has signed one.
func (v *verifier) remember(c chain) {
	for _, l := range c[1:] {
		v.links.Put(l.key, l)
	}
}
