// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/base64"
	"encoding/xml"
	"math/big"
	"slices"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"

	"github.com/assize/assize/verdict"
)

// The one form of signature that is accepted, as NVIDIA signs (XML Signature,
// RFC 9231, Canonical XML 1.1).
const (
	nsSignature   = "http://www.w3.org/2000/09/xmldsig#"
	algC14N11     = "http://www.w3.org/2006/12/xml-c14n11"
	algEnveloped  = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	algSignature  = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
	algDigest     = "http://www.w3.org/2001/04/xmldsig-more#sha384"
	scalarSize    = 48 // of r and of s, in bytes, big-endian
	maxCertSize   = 4 << 10
	minChain      = 2
	maxChain      = 6
	certificateEl = "X509Certificate"
)

// sealed is a document taken apart. Nothing in it is believed yet.
type sealed struct {
	// content are the canonical octets of the document without its signature,
	// info those of SignedInfo.
	content, info []byte
	// value is r||s, digest what SignedInfo says that content has.
	value, digest []byte
	// certs are the certificates in DER, in the order of the document.
	certs [][]byte
}

// open takes a document apart.
func open(raw []byte) (*sealed, error) {
	root, err := readTree(raw)
	if err != nil {
		return nil, err
	}
	if root.Tag != elIdentity || root.NamespaceURI() != nsSWID {
		return nil, unsupported("root element %q of %q, expected %s of %s", clip(root.Tag), clip(root.NamespaceURI()), elIdentity, nsSWID)
	}
	sig, err := findSignature(root)
	if err != nil {
		return nil, err
	}
	s := new(sealed)
	if err := s.readSignature(root, sig); err != nil {
		return nil, err
	}
	if s.info, err = canonical(root, sig, sig.ChildElements()[0]); err != nil {
		return nil, err
	}
	if err := s.readInfo(); err != nil {
		return nil, err
	}
	root.RemoveChild(sig) // the enveloped-signature transform
	s.content, err = canonicalise(root)
	return s, err
}

// findSignature returns the last element of the root, which must be the only
// signature there. Elsewhere there can be none: readContent knows no such element.
func findSignature(root *etree.Element) (*etree.Element, error) {
	children := root.ChildElements()
	is := func(e *etree.Element) bool { return e.Tag == dsig.SignatureTag && e.NamespaceURI() == nsSignature }
	n := slices.IndexFunc(children, is)
	switch {
	case n < 0:
		return nil, unsupported("no signature in the root element")
	case n != len(children)-1:
		return nil, unsupported("the first signature is not the last element of the root")
	}
	return children[n], nil
}

// canonicalise is Canonical XML 1.1 without comments.
func canonicalise(e *etree.Element) ([]byte, error) {
	out, err := dsig.MakeC14N11Canonicalizer().Canonicalize(e)
	if err != nil {
		return nil, malformed("canonical form: %v", err)
	}
	return out, nil
}

// canonical is canonicalise for the last of a line of elements from the root,
// with the namespaces that the others declare.
func canonical(line ...*etree.Element) ([]byte, error) {
	scope := etreeutils.NewDefaultNSContext()
	last := len(line) - 1
	for _, e := range line[:last] {
		var err error
		if scope, err = scope.SubContext(e); err != nil {
			return nil, malformed("namespaces: %v", err)
		}
	}
	alone, err := etreeutils.NSDetatch(scope, line[last])
	if err != nil {
		return nil, malformed("namespaces: %v", err)
	}
	return canonicalise(alone)
}

// readSignature reads what is beside SignedInfo. It is not signed: the value
// and the certificates prove themselves.
func (s *sealed) readSignature(root, sig *etree.Element) error {
	octets, err := canonical(root, sig)
	if err != nil {
		return err
	}
	n, err := readNode(octets)
	if err != nil {
		return err
	}
	if err := n.only(nsSignature, nil, "SignedInfo", "SignatureValue", "KeyInfo"); err != nil {
		return err
	}
	value, key := n.children[1], n.children[2]
	if err := value.only(nsSignature, nil); err != nil {
		return err
	}
	if s.value, err = unbase64(value.text); err != nil || len(s.value) != 2*scalarSize {
		return unsupported("SignatureValue is not the base64 of %d bytes r||s", 2*scalarSize)
	}
	if err := key.only(nsSignature, nil, "X509Data"); err != nil {
		return err
	}
	return s.readCertificates(key.children[0])
}

func (s *sealed) readCertificates(data *node) error {
	count := len(data.children)
	if count < minChain || count > maxChain {
		return unsupported("%d elements in X509Data, expected %d to %d certificates", count, minChain, maxChain)
	}
	if err := data.only(nsSignature, nil, slices.Repeat([]string{certificateEl}, count)...); err != nil {
		return err
	}
	for i, c := range data.children {
		if err := c.only(nsSignature, nil); err != nil {
			return err
		}
		der, err := unbase64(c.text)
		if err != nil || len(der) > maxCertSize {
			return malformed("certificate %d is not the base64 of at most %d bytes", i, maxCertSize)
		}
		s.certs = append(s.certs, der)
	}
	return nil
}

// readInfo reads SignedInfo from its canonical octets, those that the signature
// is over, and accepts the one form only.
func (s *sealed) readInfo() error {
	n, err := readNode(s.info)
	if err != nil {
		return err
	}
	if n.name != (xml.Name{Space: nsSignature, Local: "SignedInfo"}) {
		return unsupported("element %q, expected SignedInfo", clip(n.name.Local))
	}
	if err := n.only(nsSignature, nil, "CanonicalizationMethod", "SignatureMethod", "Reference"); err != nil {
		return err
	}
	reference := n.children[2]
	if err := reference.only(nsSignature, []string{"URI", ""}, "Transforms", "DigestMethod", "DigestValue"); err != nil {
		return err
	}
	transforms, digest := reference.children[0], reference.children[2]
	if err := transforms.only(nsSignature, nil, "Transform", "Transform"); err != nil {
		return err
	}
	for _, c := range []struct {
		at        *node
		algorithm string
	}{
		{n.children[0], algC14N11}, {n.children[1], algSignature}, {reference.children[1], algDigest},
		{transforms.children[0], algEnveloped}, {transforms.children[1], algC14N11},
	} {
		if err := c.at.only(nsSignature, []string{"Algorithm", c.algorithm}); err != nil {
			return err
		}
		if err := c.at.noText(); err != nil {
			return err
		}
	}
	if err := digest.only(nsSignature, nil); err != nil {
		return err
	}
	if s.digest, err = unbase64(digest.text); err != nil || len(s.digest) != sha512.Size384 {
		return malformed("DigestValue is not the base64 of %d bytes", sha512.Size384)
	}
	return nil
}

// verify checks that SignedInfo is about the content, and that key signed it.
func (s *sealed) verify(key *ecdsa.PublicKey) error {
	if got := sha512.Sum384(s.content); !bytes.Equal(got[:], s.digest) {
		return refuse(verdict.ReasonSignatureInvalid, "the document has SHA-384 %x…, the signature is over %x…", got[:8], s.digest[:8])
	}
	r, v := new(big.Int).SetBytes(s.value[:scalarSize]), new(big.Int).SetBytes(s.value[scalarSize:])
	sum := sha512.Sum384(s.info)
	if !ecdsa.Verify(key, sum[:], r, v) {
		return refuse(verdict.ReasonSignatureInvalid, "the signature does not verify with the key of certificate 0")
	}
	return nil
}

// unbase64 steps over white space, and over nothing else.
func unbase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(blank, r) }), ""))
}
