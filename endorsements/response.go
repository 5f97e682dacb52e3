// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/assize/assize/internal/strictjson"
)

// maxSigners is how many certificates of one name a folder may have before
// further ones are not tried.
const maxSigners = 32

// looksLikeResponse says whether a file claims to be what Intel's service
// answers when it is asked for TCB info or a QE identity.
func looksLikeResponse(raw []byte) bool {
	return looksLikeObject(raw) && bytes.Contains(raw, []byte(`"signature"`)) &&
		(bytes.Contains(raw, []byte(`"tcbInfo"`)) || bytes.Contains(raw, []byte(`"enclaveIdentity"`)))
}

// ParseResponse reads a response of Intel's service (PCS API version 4, Get TCB
// Info and Get Enclave Identity): an object with the member tcbInfo or
// enclaveIdentity and its signature, r||s in hexadecimal. The signed value is kept
// byte for byte. The set that is returned lacks the chain of its issuer, which
// the service sends beside the response.
func ParseResponse(name string, raw []byte) (IntelCollateral, error) {
	c := IntelCollateral{Name: name}
	if len(raw) > maxIntelJSON {
		return c, fmt.Errorf("response of %d bytes, at most %d", len(raw), maxIntelJSON)
	}
	members, err := strictjson.Members(raw)
	if err != nil {
		return c, err
	}
	var signature string
	if err := json.Unmarshal(members["signature"], &signature); err != nil {
		return c, errors.New("signature is missing or not a string")
	}
	if _, err := hex.DecodeString(signature); err != nil || len(signature) != intelSigHex {
		return c, fmt.Errorf("signature: not %d hexadecimal digits", intelSigHex)
	}
	delete(members, "signature")
	switch tcb, qe := members["tcbInfo"], members["enclaveIdentity"]; {
	case len(members) != 1 || tcb == nil && qe == nil:
		return c, fmt.Errorf("members %q beside the signature, expected tcbInfo or enclaveIdentity", slices.Sorted(maps.Keys(members)))
	case tcb != nil:
		c.TCBInfo, c.TCBInfoSignature = bytes.Clone(tcb), signature
		c.FMSPC, err = fmspcOf(c.TCBInfo)
		return c, err
	default:
		c.QEIdentity, c.QEIdentitySignature = bytes.Clone(qe), signature
		if _, err := strictjson.Members(c.QEIdentity); err != nil {
			return c, fmt.Errorf("enclaveIdentity: %w", err)
		}
		return c, nil
	}
}

// finish makes sets of what has no chain with it: responses, and loose
// revocation lists of Intel's authorities. Signers are found by their signatures
// among the certificates of the folder. That says what belongs together and
// nothing more; whether a signer may sign is for the scheme to say.
func (l *loader) finish() {
	for _, c := range l.responses {
		signed, signature := c.TCBInfo, c.TCBInfoSignature
		if c.TCBInfo == nil {
			signed, signature = c.QEIdentity, c.QEIdentitySignature
		}
		chain := l.chain(cnIntelSigning, func(by *x509.Certificate) bool { return signedBy(by, signed, signature) })
		switch {
		case chain == nil:
			l.warn(c.Name, WarnNoSigner, fmt.Sprintf("no certificate %q in the folder under which the signature holds, with its issuer", cnIntelSigning))
			continue
		case c.TCBInfo != nil:
			c.TCBInfoIssuerChain = chain
		default:
			c.QEIdentityChain = chain
		}
		c.Digest = c.digest()
		l.bundle.addIntel(c)
	}
	for _, list := range l.bundle.crls {
		l.addIntelCRL(list)
	}
	l.bundle.seen = nil
}

// addIntelCRL makes a set of a loose list of Intel's.
func (l *loader) addIntelCRL(list RevocationList) {
	item, ok := crlItem(list.RevocationList)
	if !ok || item.Vendor() != VendorIntel {
		return
	}
	c := IntelCollateral{Name: list.Name}
	if item.Kind == ItemRootCRL {
		c.RootCACRL = list.Raw
	} else {
		by := func(ca *x509.Certificate) bool { return list.CheckSignatureFrom(ca) == nil }
		if c.PCKCRLIssuerChain = l.chain(list.Issuer.CommonName, by); c.PCKCRLIssuerChain == nil {
			l.warn(list.Name, WarnNoSigner, fmt.Sprintf("no certificate %q in the folder that signed the list, with its issuer", list.Issuer.CommonName))
			return
		}
		c.PCKCRL = list.Raw
	}
	c.Digest = c.digest()
	l.bundle.addIntel(c)
}

// chain finds the certificate of a name that signed something, and who issued
// it, as PEM; nil if there is none.
func (l *loader) chain(cn string, signed func(*x509.Certificate) bool) []byte {
	for leaf := range l.named(cn) {
		if !signed(leaf) {
			continue
		}
		for root := range l.named(leaf.Issuer.CommonName) {
			if leaf.CheckSignatureFrom(root) == nil {
				return slices.Concat(certificatePEM(leaf), certificatePEM(root))
			}
		}
	}
	return nil
}

// named yields the certificates of the folder with a subject.
func (l *loader) named(cn string) func(func(*x509.Certificate) bool) {
	return func(yield func(*x509.Certificate) bool) {
		n := 0
		for _, c := range l.bundle.certs {
			if c.Subject.CommonName != cn {
				continue
			}
			if n++; n > maxSigners || !yield(c.Certificate) {
				return
			}
		}
	}
}

func certificatePEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// signedBy checks an ECDSA P-256 signature over SHA-256, r||s in hexadecimal.
func signedBy(c *x509.Certificate, raw []byte, signature string) bool {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	sig, err := hex.DecodeString(signature)
	if !ok || key.Curve != elliptic.P256() || err != nil || len(sig) != 64 {
		return false
	}
	digest := sha256.Sum256(raw)
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
