// SPDX-License-Identifier: Apache-2.0

// Package check says of the documents in a bundle whether their signatures hold up
// to a root of the vendor. Begin with New.
//
//	c, err := check.New(extraRoots...)
//	for _, r := range c.All(bundle) {
//		fmt.Println(r.Item, r.Until, r.Err)
//	}
//
// It is for operators who look after a folder, and for caches that want to keep
// nothing that no scheme would use. It is no part of an appraisal: schemes verify
// what they use by themselves, more strictly (purposes of certificates, revoked
// signers, contents) and at the time for which they appraise. Time is not looked
// at here; Statement has the window. Of an OCSP response it cannot say more than
// ErrNoIssuer where the issuer is not in the bundle, see there.
package check

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-sev-guest/verify/trust"

	"github.com/assize/assize/endorsements"
)

// Subject common names of those who sign Intel's documents (Intel SGX PCK
// Certificate and CRL Profile Specification).
const (
	cnSigning   = "Intel SGX TCB Signing"
	cnPlatform  = "Intel SGX PCK Platform CA"
	cnProcessor = "Intel SGX PCK Processor CA"
)

// ErrSignature is in every error about a document that is not what it should be.
var ErrSignature = errors.New("check: not signed by who it should be")

// Checker knows the roots. It is safe for concurrent use.
type Checker struct {
	intel []*x509.Certificate
	amd   []*x509.Certificate // roots and, behind each, intermediates
	extra []*x509.Certificate

	nvidia *nvidia
}

// New makes a checker for the roots of Intel, AMD and NVIDIA, and further ones, such as
// those of simulated machines.
func New(extra ...*x509.Certificate) (*Checker, error) {
	c := &Checker{extra: extra}
	for _, r := range extra {
		if r == nil {
			return nil, errors.New("check: extra root is nil")
		}
	}
	root, err := certificates([]byte(intelRootPEM))
	if err != nil {
		return nil, err
	}
	c.intel = append(root, extra...)
	for _, raw := range [][]byte{trust.AskArkMilanVcekBytes, trust.AskArkGenoaVcekBytes, trust.AskArkTurinVcekBytes} {
		chain, err := certificates(raw)
		if err != nil {
			return nil, err
		}
		c.amd = append(c.amd, chain...)
	}
	c.amd = append(c.amd, extra...)
	if c.nvidia, err = newNVIDIA(extra); err != nil {
		return nil, err
	}
	return c, nil
}

// Result is what was found out about one document.
type Result struct {
	endorsements.Statement
	// Root is the subject of the root below which the signature holds.
	Root string
	// Status is what an OCSP response says about its certificate: "good", "revoked"
	// or "unknown"; empty for other documents. It is worth what Err says.
	Status string
	// Err says why it does not; nil if it does. Either ErrSignature or ErrNoIssuer is
	// in it.
	Err error
}

// All checks every document of a bundle, in the order of Bundle.Statements.
func (c *Checker) All(b *endorsements.Bundle) []Result {
	sets := map[[32]byte]endorsements.IntelCollateral{}
	for s := range b.AllIntelTDX() {
		sets[s.Digest] = s
	}
	loose := map[[32]byte]any{}
	for cert := range b.Certificates() {
		loose[cert.Digest] = cert.Certificate
	}
	for list := range b.RevocationLists() {
		loose[list.Digest] = list.RevocationList
	}
	nv := c.nvidia.of(b)
	var out []Result
	for st := range b.Statements() {
		r := Result{Statement: st}
		var root *x509.Certificate
		if st.Item.Vendor() == endorsements.VendorNVIDIA {
			root, r.Status, r.Err = nv.check(st)
		} else if set, ok := sets[st.Digest]; ok {
			root, r.Err = c.set(st.Item, set)
		} else {
			root, r.Err = c.amdDocument(loose[st.Digest], b)
		}
		switch {
		case r.Err == nil:
			r.Root = root.Subject.CommonName
		case !errors.Is(r.Err, ErrNoIssuer):
			r.Err = fmt.Errorf("%w: %w", ErrSignature, r.Err)
		}
		out = append(out, r)
	}
	return out
}

// Document checks a bundle that is one document and nothing else. With extra
// roots a certificate of an endorsement key whose issuer is not known passes: the
// intermediates of simulated machines come with their evidence. So do the issuers
// of NVIDIA's devices, so ErrNoIssuer is no error here.
func (c *Checker) Document(i endorsements.Item, b *endorsements.Bundle) error {
	all := c.All(b)
	if len(all) != 1 {
		return fmt.Errorf("check: %d documents, expected 1", len(all))
	}
	if i.Kind == endorsements.ItemVCEK && len(c.extra) > 0 {
		return nil
	}
	if errors.Is(all[0].Err, ErrNoIssuer) {
		return nil
	}
	return all[0].Err
}

// set checks one part of an Intel set.
func (c *Checker) set(i endorsements.Item, s endorsements.IntelCollateral) (*x509.Certificate, error) {
	switch i.Kind {
	case endorsements.ItemTDXTCB, endorsements.ItemSGXTCB:
		return c.signed(s.TCBInfo, s.TCBInfoSignature, s.TCBInfoIssuerChain)
	case endorsements.ItemTDXQE, endorsements.ItemSGXQE:
		return c.signed(s.QEIdentity, s.QEIdentitySignature, s.QEIdentityChain)
	case endorsements.ItemPCKCRL:
		signer, root, err := c.issuer(s.PCKCRLIssuerChain)
		if err != nil {
			return nil, err
		}
		if cn := signer.Subject.CommonName; cn != cnPlatform && cn != cnProcessor {
			return nil, fmt.Errorf("issued by %.64q, which is no PCK CA", cn)
		}
		return root, listSignedBy(s.PCKCRL, signer)
	}
	err := errors.New("no root")
	for _, root := range c.intel {
		if err = listSignedBy(s.RootCACRL, root); err == nil {
			return root, nil
		}
	}
	return nil, err
}

// signed checks a JSON value and its signature, r||s over SHA-256.
func (c *Checker) signed(raw []byte, signature string, chain []byte) (*x509.Certificate, error) {
	signer, root, err := c.issuer(chain)
	if err != nil {
		return nil, err
	}
	if cn := signer.Subject.CommonName; cn != cnSigning || signer.IsCA {
		return nil, fmt.Errorf("signed by %.64q, expected %q", cn, cnSigning)
	}
	key, ok := signer.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the key of the signer is not of P-256")
	}
	sig, err := hex.DecodeString(signature)
	digest := sha256.Sum256(raw)
	if err != nil || len(sig) != 64 || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, errors.New("the signature does not hold")
	}
	return root, nil
}

// issuer reads a chain of signer and root.
func (c *Checker) issuer(chain []byte) (signer, root *x509.Certificate, err error) {
	certs, err := certificates(chain)
	if err != nil {
		return nil, nil, err
	}
	if len(certs) != 2 {
		return nil, nil, fmt.Errorf("issuer chain of %d certificates, expected signer and root", len(certs))
	}
	for _, r := range c.intel {
		if r.Equal(certs[1]) {
			return certs[0], r, certs[0].CheckSignatureFrom(r)
		}
	}
	return nil, nil, fmt.Errorf("root %.64q (SHA-256 %x) is not Intel's", certs[1].Subject.CommonName, sha256.Sum256(certs[1].Raw))
}

// amdDocument checks a certificate of an endorsement key, or a revocation list.
func (c *Checker) amdDocument(doc any, b *endorsements.Bundle) (*x509.Certificate, error) {
	if list, ok := doc.(*x509.RevocationList); ok {
		err := fmt.Errorf("issuer %.64q is not AMD's", list.Issuer.CommonName)
		for _, root := range c.amd {
			if bytes.Equal(root.RawSubject, list.RawIssuer) {
				if err = list.CheckSignatureFrom(root); err == nil {
					return root, nil
				}
			}
		}
		return nil, err
	}
	leaf, ok := doc.(*x509.Certificate)
	if !ok {
		return nil, errors.New("neither certificate nor revocation list")
	}
	// Intermediates may lie in the folder; a root may not.
	candidates := append([]*x509.Certificate(nil), c.amd...)
	for cert := range b.Certificates() {
		candidates = append(candidates, cert.Certificate)
	}
	for _, ask := range candidates {
		if !bytes.Equal(ask.RawSubject, leaf.RawIssuer) || leaf.CheckSignatureFrom(ask) != nil {
			continue
		}
		for _, root := range c.amd {
			if bytes.Equal(root.RawSubject, root.RawIssuer) && bytes.Equal(root.RawSubject, ask.RawIssuer) && ask.CheckSignatureFrom(root) == nil {
				return root, nil
			}
		}
	}
	return nil, fmt.Errorf("no chain to a root of AMD; its issuer is %.64q", leaf.Issuer.CommonName)
}

func listSignedBy(der []byte, by *x509.Certificate) error {
	list, err := endorsements.ParseRevocationList(der)
	if err != nil {
		return err
	}
	if !bytes.Equal(list.RawIssuer, by.RawSubject) {
		// Whole names: others call themselves by the same common name.
		return fmt.Errorf("issued by %.200q, expected %.200q", list.Issuer, by.Subject)
	}
	return list.CheckSignatureFrom(by)
}

// certificates reads PEM certificates and nothing else.
func certificates(raw []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(bytes.TrimSpace(raw)) > 0 {
		block, rest := pem.Decode(raw)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("chain is not PEM certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, raw = append(out, cert), rest
	}
	return out, nil
}
