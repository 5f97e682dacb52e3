// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/measuredboot"
)

// maxRoots bounds ak_roots.
const maxRoots = 64

// parameters are the numbers and names of the policy.
type parameters struct {
	// AKRoots are CA certificates, each in PEM, that may vouch for attestation
	// keys beside the pinned ones.
	AKRoots []string `yaml:"ak_roots"`
	// PinnedRoots: the roots of Google Cloud's virtual TPMs count.
	PinnedRoots bool `yaml:"pinned_roots"`
	// What has to be proven, and what an event log has to explain.
	measuredboot.Parameters `yaml:",inline"`
}

// Check implements what package appraisal asks parameters for.
func (p parameters) Check() error {
	if err := p.Parameters.Check(); err != nil {
		return err
	}
	if len(p.AKRoots) > maxRoots {
		return fmt.Errorf("ak_roots: %d roots, at most %d", len(p.AKRoots), maxRoots)
	}
	_, err := p.roots()
	return err
}

// roots reads AKRoots.
func (p parameters) roots() ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for i, text := range p.AKRoots {
		block, rest := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
			return nil, fmt.Errorf("ak_roots: entry %d is not one certificate in PEM", i)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("ak_roots: entry %d: %w", i, err)
		}
		if !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("ak_roots: entry %d (%q) is not a CA certificate", i, c.Subject)
		}
		out = append(out, c)
	}
	return out, nil
}

// Names of findings.
const (
	keyCertified   = "key-certified"
	keyEndorsed    = "key-endorsed"
	keyUnvouched   = "key-not-vouched-for"
	keyUnknownRoot = "key-unknown-root"
	keyRevoked     = "key-revoked"
	keyRevocation  = "key-revocation-unknown"
)

// nothing is what a quote proves under a key for which nobody vouches.
func nothing(identity verdict.Claim) appraisal.Effect {
	return appraisal.Effect{
		verdict.InstanceIdentity: identity, verdict.Executables: verdict.ClaimUnrecognized, verdict.Configuration: verdict.ClaimNoVisibility,
	}
}

// defaults is the policy that the scheme declares.
func defaults() appraisal.Defaults {
	return appraisal.Defaults{
		Scheme:     Name,
		Parameters: parameters{PinnedRoots: true, Parameters: measuredboot.Defaults()},
		Findings:   append(findings(), measuredboot.Findings("")...),
	}
}

func findings() []appraisal.Finding {
	type effect = appraisal.Effect
	return []appraisal.Finding{
		{
			Name: keyCertified, Effect: effect{verdict.InstanceIdentity: verdict.ClaimApproved},
			Text: "The attestation key has a certificate under a trusted root.",
		},
		{
			Name: keyEndorsed, Effect: effect{verdict.InstanceIdentity: verdict.ClaimApproved},
			Text: "A signed document (CoRIM, attest-key triple) names the attestation key.",
		},
		{
			Name: keyUnvouched, Code: verdict.ReasonKeyNotVouchedFor, Effect: nothing(verdict.ClaimUnsafe),
			Text: "No certificate and no document says that the key is one of a TPM: software could have made the quote. " +
				"To rely on a CPU's report that commits to the key, say {instance-identity: 2}; the component is a warning without such a binding.",
		},
		{
			Name: keyUnknownRoot, Code: verdict.ReasonUnknownRoot, Effect: nothing(verdict.ClaimUnsafe),
			Text: "The key has a certificate, but not under a trusted root (see ak_roots).",
		},
		{
			Name: keyRevoked, Code: verdict.ReasonRevoked, Effect: nothing(verdict.ClaimContraindicate),
			Floor: effect{
				verdict.InstanceIdentity: verdict.ClaimContraindicate, verdict.Executables: verdict.ClaimUnrecognized,
			},
			Text: "The certificate of the key, or of an issuer, is revoked.",
		},
		{
			Name: keyRevocation, Code: verdict.ReasonRevocationUnknown, Effect: effect{verdict.InstanceIdentity: verdict.ClaimUnsafe},
			Text: "For a certificate of the chain there is no revocation list that is valid now.",
		},
	}
}
