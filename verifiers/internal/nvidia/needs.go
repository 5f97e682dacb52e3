// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/x509"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Needs names the manifests of a device and the status of certificates 1 to 3,
// read from bytes that nobody has verified. Who may fetch asks Verifier.Needs.
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
	p := &Proof{Device: d, Report: r, Chain: &Chain{certs: certs}, kind: k}
	if p.Chain.ID, err = k.readIdentity(certs); err != nil {
		return statusNeeds(certs)
	}
	return p.needs()
}

// Needs implements verifiers.Prover: the same of evidence that NVIDIA's root has
// certified and the device has signed. Serial numbers and versions that somebody has
// made up ask nobody for anything.
func (v *Verifier) Needs(_ evidence.MediaType, raw []byte, at time.Time) []endorsements.Need {
	if len(raw) > MaxEvidence || at.IsZero() {
		return nil
	}
	p, _, err := v.anchors.establish(raw, at)
	if err != nil {
		return nil
	}
	return p.needs()
}

func (p *Proof) needs() []endorsements.Need {
	var out []endorsements.Need
	for _, name := range p.kind.Manifests(p) {
		out = append(out, endorsements.Need{Kind: endorsements.NeedNVIDIARIM, RIM: name})
	}
	return append(out, statusNeeds(p.Chain.certs)...)
}

func statusNeeds(certs [chainLength]*x509.Certificate) (out []endorsements.Need) {
	for i := posDevice; i < posRoot; i++ {
		if n, err := endorsements.OCSPNeed(certs[i], certs[i+1]); err == nil {
			out = append(out, n)
		}
	}
	return out
}
