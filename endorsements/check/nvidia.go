// SPDX-License-Identifier: Apache-2.0

package check

import (
	"crypto/sha1" //nolint:gosec // RFC 6960 names issuers by it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"

	"github.com/veraison/go-cose"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	xocsp "golang.org/x/crypto/ocsp"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// ErrNoIssuer is in the error about an OCSP response whose signature nobody could
// check: the issuer of the certificate that it is about is neither in the bundle
// nor beside a manifest in it. Those of devices come with their evidence. Whatever
// can be checked without the issuer holds.
var ErrNoIssuer = errors.New("check: issuer not in the bundle")

// maxProofs is how many verified responses are remembered.
const maxProofs = 256

// nvidia checks manifests and OCSP responses.
type nvidia struct {
	roots []*x509.Certificate
	rims  *rim.Verifier
	ocsp  *ocsp.Checker
}

// newNVIDIA pins the roots of devices and of manifests. Of the extra ones those of
// authorities count.
func newNVIDIA(extra []*x509.Certificate) (*nvidia, error) {
	var authorities []*x509.Certificate
	for _, c := range extra {
		if c.IsCA && c.BasicConstraintsValid {
			authorities = append(authorities, c)
		}
	}
	rims, err := rim.New(authorities)
	if err != nil {
		return nil, err
	}
	roots, err := rim.Roots()
	if err != nil {
		return nil, err
	}
	device, err := certificates([]byte(nvidiaDeviceRootPEM))
	if err != nil {
		return nil, err
	}
	return &nvidia{append(append(device, roots...), authorities...), rims, ocsp.NewChecker(maxProofs)}, nil
}

// documents are those of one bundle, and who may have signed about whom.
type documents struct {
	*nvidia
	ocsp      map[[32]byte]endorsements.Document
	manifests map[string]endorsements.Manifest // by digest and identifier
	// issuers are certificates by the digests that a CertID has of them.
	issuers map[string]*x509.Certificate
	loose   *x509.CertPool
}

// of takes a bundle apart.
func (n *nvidia) of(b *endorsements.Bundle) *documents {
	d := &documents{
		nvidia: n, ocsp: map[[32]byte]endorsements.Document{}, manifests: map[string]endorsements.Manifest{},
		issuers: map[string]*x509.Certificate{}, loose: x509.NewCertPool(),
	}
	for _, o := range b.OCSPResponses() {
		d.ocsp[o.Digest] = o
	}
	for _, m := range b.Manifests() {
		d.manifests[string(m.Digest[:])+m.ID] = m
		for _, c := range m.Chain() {
			d.addIssuer(c)
			d.loose.AddCert(c)
		}
	}
	if len(d.ocsp) == 0 {
		return d
	}
	for c := range b.Certificates() {
		if c.IsCA {
			d.addIssuer(c.Certificate)
			d.loose.AddCert(c.Certificate)
		}
	}
	for _, c := range n.roots { // last: nothing in a folder takes their place
		d.addIssuer(c)
	}
	return d
}

// addIssuer names a certificate by its digests.
func (d *documents) addIssuer(c *x509.Certificate) {
	in := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var spki, algorithm cryptobyte.String
	var key []byte
	if !in.ReadASN1(&spki, cbasn1.SEQUENCE) || !spki.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !spki.ReadASN1BitStringAsBytes(&key) {
		return
	}
	for _, sum := range []func([]byte) []byte{
		func(b []byte) []byte { s := sha1.Sum(b); return s[:] }, //nolint:gosec // see above
		func(b []byte) []byte { s := sha256.Sum256(b); return s[:] },
		func(b []byte) []byte { s := sha512.Sum384(b); return s[:] },
	} {
		d.issuers[hex.EncodeToString(sum(c.RawSubject))+"."+hex.EncodeToString(sum(key))] = c
	}
}

// check checks one document.
func (d *documents) check(st endorsements.Statement) (root *x509.Certificate, status string, err error) {
	if st.Item.Kind == endorsements.ItemNVOCSP {
		return d.response(d.ocsp[st.Digest])
	}
	m, ok := d.manifests[string(st.Digest[:])+st.Item.RIM]
	if !ok {
		return nil, "", errors.New("not in the bundle")
	}
	if m.Format == endorsements.ManifestCoRIM {
		root, err = d.corim(m)
		return root, "", err
	}
	v, err := d.rims.Verify(m.Raw)
	if err != nil {
		return nil, "", err
	}
	if m.ID != "" {
		if err := v.Answers(m.ID); err != nil {
			return nil, "", err
		}
	}
	chain := v.Chain()
	return chain[len(chain)-1], "", nil
}

// corim checks the signature of a CoRIM by the first certificate beside it.
func (d *documents) corim(m endorsements.Manifest) (*x509.Certificate, error) {
	chain := m.Chain()
	var message cose.Sign1Message
	if err := message.UnmarshalCBOR(m.Raw); err != nil {
		return nil, err
	}
	alg, err := message.Headers.Protected.Algorithm()
	if err != nil {
		return nil, err
	}
	verifier, err := cose.NewVerifier(alg, chain[0].PublicKey)
	if err != nil {
		return nil, err
	}
	if err := message.Verify(nil, verifier); err != nil {
		return nil, err
	}
	return d.path(chain[0])
}

// path is the pinned root above a certificate, with intermediates of the bundle.
// Time is not looked at: a certificate is verified for the moment it began.
func (d *documents) path(c *x509.Certificate) (*x509.Certificate, error) {
	pinned := x509.NewCertPool()
	for _, r := range d.roots {
		if r.Equal(c) {
			return r, nil
		}
		pinned.AddCert(r)
	}
	chains, err := c.Verify(x509.VerifyOptions{
		Roots: pinned, Intermediates: d.loose, CurrentTime: c.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("no chain to a root of NVIDIA: %w", err)
	}
	return chains[0][len(chains[0])-1], nil
}

// response checks who signed an OCSP response, as far as the issuer is known.
func (d *documents) response(doc endorsements.Document) (*x509.Certificate, string, error) {
	a, err := endorsements.ParseOCSP(doc.Raw)
	if err != nil {
		return nil, "", err
	}
	r, err := ocsp.Parse(doc.Raw)
	if err != nil {
		return nil, a.Status, err
	}
	issuer := d.issuers[a.Item.IssuerName+"."+a.Item.IssuerKey]
	if issuer == nil {
		// The certificate in the response has to have signed it, whoever that is.
		if _, err := xocsp.ParseResponse(doc.Raw, nil); err != nil {
			return nil, a.Status, err
		}
		return nil, a.Status, ErrNoIssuer
	}
	root, err := d.path(issuer)
	if err != nil {
		return nil, a.Status, fmt.Errorf("issuer %q: %w", issuer.Subject, err)
	}
	set, err := ocsp.NewSet([]*ocsp.Response{r})
	if err != nil {
		return nil, a.Status, err
	}
	serial, ok := new(big.Int).SetString(a.Item.Serial, 16)
	if !ok {
		return nil, a.Status, fmt.Errorf("serial number %q", a.Item.Serial)
	}
	// A response is about a name, not about a certificate: it may not be here.
	subject := &x509.Certificate{SerialNumber: serial, RawIssuer: issuer.RawSubject}
	from, _ := a.Window()
	policy := ocsp.Policy{MaxAge: endorsements.StatusAge, UncheckedResponder: true}
	got := d.nvidia.ocsp.Check(set, []*x509.Certificate{subject, issuer}, from, nil, policy)
	if len(got) != 1 {
		return nil, a.Status, fmt.Errorf("%d results of one response", len(got))
	}
	if got[0].Responder == "" || got[0].Status == ocsp.Invalid {
		return nil, a.Status, errors.New(got[0].Why)
	}
	return root, a.Status, nil
}
