// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"crypto/x509"

	"github.com/assize/assize/endorsements"
)

// Needs names the collateral for a quote of a TEE, read from a chain that nobody
// has verified; nil for what is no such quote.
func Needs(raw []byte, tee TEE) []endorsements.Need {
	q, err := Parse(raw)
	if err != nil || q.TEE != tee {
		return nil
	}
	ders, err := splitPEM(q.Chain)
	if err != nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(ders[0])
	if err != nil {
		return nil
	}
	var p PCK
	if err := p.readExtension(leaf); err != nil {
		return nil
	}
	need := endorsements.Need{Kind: endorsements.NeedIntelTDX, FMSPC: p.FMSPC}
	if tee == SGX {
		need.Kind = endorsements.NeedIntelSGX
	}
	switch leaf.Issuer.CommonName {
	case cnPlatform:
		need.CA = "platform"
	case cnProcessor:
		need.CA = "processor"
	default:
		return nil
	}
	return []endorsements.Need{need}
}
