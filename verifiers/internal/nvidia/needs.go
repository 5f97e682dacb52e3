// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/x509"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Needs names the manifests of a device and the status of certificates 1 to 3,
// read from bytes that nobody has verified.
func (k *Kind) Needs(raw []byte) []endorsements.Need {
	if len(raw) > MaxEvidence {
		return nil
	}
	d, err := container.Decode(raw)
	if err != nil || k.Chips[d.Arch] == nil {
		return nil
	}
	r, err := ParseReport(d.Report)
	if err != nil {
		return nil
	}
	ders, err := splitPEM(d.Chain)
	if err != nil || len(ders) != chainLength {
		return nil
	}
	var certs [chainLength]*x509.Certificate
	for i, der := range ders {
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil
		}
	}
	var out []endorsements.Need
	if id, err := k.readIdentity(certs); err == nil {
		for _, name := range k.Manifests(&Proof{Device: d, Report: r, Chain: &Chain{ID: id}, kind: k}) {
			out = append(out, endorsements.Need{Kind: endorsements.NeedNVIDIARIM, RIM: name})
		}
	}
	for i := posDevice; i < posRoot; i++ {
		if n, err := endorsements.OCSPNeed(certs[i], certs[i+1]); err == nil {
			out = append(out, n)
		}
	}
	return out
}
