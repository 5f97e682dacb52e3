// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
)

// cacheSize bounds the manifests that a Verifier remembers.
const cacheSize = 256

// Manifest is a verified manifest. It must not be changed.
type Manifest struct {
	Kind Kind
	// Product is the chip: "GH100", "GB100", "LS10".
	Product string
	// Version is colloquialVersion, of the driver ("550.144.03") or of the VBIOS
	// or BIOS ("96.00.5E.00.01"), as it is written.
	Version string
	// Revision is that of Meta, "r1" for example.
	Revision string
	// Manufacturer is the creator of tag and software.
	Manufacturer string
	// TagID and TagVersion identify the SWID tag. They are not the identifier by
	// which NVIDIA's RIM service knows it.
	TagID      string
	TagVersion int
	// Measurements are ascending by index, those that are not active included.
	Measurements []Golden

	// Digest is the SHA-256 of the document.
	Digest [sha256.Size]byte
	// SignerSPKI is the SHA-256 of the signer's SubjectPublicKeyInfo, Root that of
	// the root certificate.
	SignerSPKI, Root [sha256.Size]byte

	chain *chain
}

// Verifier verifies manifests and remembers them by the SHA-256 of the
// document: what is behind an identifier of NVIDIA's service changes. It is safe
// for concurrent use.
type Verifier struct {
	anchors anchors
	cache   *lru.Cache[*Manifest]
}

// New makes a verifier for NVIDIA's pinned roots and extra ones, which are for
// tests. An extra root that is not a CA certificate is an error.
func New(extra []*x509.Certificate) (*Verifier, error) {
	a, err := newAnchors(extra)
	if err != nil {
		return nil, err
	}
	return &Verifier{anchors: a, cache: lru.New[*Manifest](cacheSize)}, nil
}

// Verify returns the manifest in a SWID document, or an *Error. Whether its
// certificates are valid at some time is not asked: see Manifest.ValidAt.
func (v *Verifier) Verify(raw []byte) (*Manifest, error) {
	if len(raw) > MaxSize {
		return nil, refuse(verdict.ReasonTooLarge, "document of %d bytes, at most %d", len(raw), MaxSize)
	}
	key := sha256.Sum256(raw)
	if m, ok := v.cache.Get(key); ok {
		return m, nil
	}
	m, err := v.anchors.manifest(raw)
	if err != nil {
		return nil, err
	}
	m.Digest = key
	v.cache.Put(key, m)
	return m, nil
}

// manifest verifies the signature, the chain of its key and then reads what was
// signed.
func (a anchors) manifest(raw []byte) (*Manifest, error) {
	s, err := open(raw)
	if err != nil {
		return nil, err
	}
	c, err := a.parse(s.certs)
	if err != nil {
		return nil, err
	}
	if err := s.verify(c.key); err != nil {
		return nil, err
	}
	if err := c.verify(); err != nil {
		return nil, err
	}
	m, err := readContent(s.content)
	if err != nil {
		return nil, err
	}
	m.chain = c
	m.SignerSPKI = sha256.Sum256(c.certs[0].RawSubjectPublicKeyInfo)
	m.Root = sha256.Sum256(c.certs[len(c.certs)-1].Raw)
	return m, nil
}

// Chain is the signer's certificate and those above it, the pinned root last,
// to look up revocation with.
func (m *Manifest) Chain() []*x509.Certificate { return slices.Clone(m.chain.certs) }

// Signer is the common name of the signer.
func (m *Manifest) Signer() string { return m.chain.certs[0].Subject.CommonName }

// Issued is when the signer's certificate begins: what is known of the age of a
// manifest, which has no date itself.
func (m *Manifest) Issued() time.Time { return m.chain.certs[0].NotBefore }

// Window is when all certificates are valid, ends included.
func (m *Manifest) Window() (notBefore, notAfter time.Time) {
	return m.chain.notBefore, m.chain.notAfter
}

// ValidAt is an *Error with ReasonExpired that names a certificate of the chain
// that is not valid at t, or nil.
func (m *Manifest) ValidAt(t time.Time) error { return m.chain.validAt(t) }

// String names the manifest in reasons: what it is of, its bytes, its age.
func (m *Manifest) String() string {
	return fmt.Sprintf("%s manifest %s %s (SHA-256 %s…, signer of %s)", m.Kind, m.Product, m.Version,
		hex.EncodeToString(m.Digest[:8]), m.Issued().UTC().Format(time.DateOnly))
}
