// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/tpm"
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
	// Executables are the PCRs that have to be proven for the claim executables.
	// One above 7 needs no proof if nothing was ever measured into it.
	Executables []int `yaml:"executables"`
	// Configuration is the same for the claim configuration.
	Configuration []int `yaml:"configuration"`
	// EventLog are the PCRs that an event log has to explain. Others are extended
	// after the firmware's log has ended, and count where the log explains them.
	EventLog []int `yaml:"event_log"`
}

// Check implements what package appraisal asks parameters for.
func (p parameters) Check() error {
	for name, list := range map[string][]int{"executables": p.Executables, "configuration": p.Configuration, "event_log": p.EventLog} {
		for i, pcr := range list {
			if pcr < 0 || pcr >= tpm.PCRCount || slices.Contains(list[:i], pcr) {
				return fmt.Errorf("%s: PCR %d is none, or there twice", name, pcr)
			}
		}
	}
	switch {
	case len(p.Executables) == 0:
		return errors.New("executables: no PCR would have to be proven")
	case len(p.AKRoots) > maxRoots:
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
	logMismatch    = "event-log-mismatch"
	logMalformed   = "event-log-malformed"
	stateUnclear   = "firmware-state-unclear"
	secureBootOff  = "secure-boot-off"
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
		Scheme: Name,
		Parameters: parameters{
			PinnedRoots: true,
			Executables: []int{0, 2, 4, 8, 9, 11, 12, 13}, Configuration: []int{7, 14},
			EventLog: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14},
		},
		Findings: append(findings(), comparisons()...),
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
				"To rely on a CPU's report that commits to the key, say {instance-identity: 2}; the composite is a warning without such a binding.",
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
		{
			Name: logMismatch, Code: verdict.ReasonEventLogMismatch, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "The event log does not replay to the quoted PCRs; nothing of it is used.",
		},
		{
			Name: logMalformed, Code: verdict.ReasonMalformed, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "The event log cannot be read; nothing of it is used.",
		},
		{
			Name: stateUnclear, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: verdict.ClaimNoVisibility},
			Text: "The event log replays, but does not say in what state the firmware handed over.",
		},
		{
			Name: secureBootOff, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "By the event log UEFI Secure Boot is off.",
		},
	}
}

// comparison are the rows for one claim that rests on reference values.
type comparison struct {
	claim              verdict.ClaimName
	prefix             string
	what               string
	proven             verdict.Claim
	unproven, mismatch verdict.Claim
}

var (
	software = comparison{
		verdict.Executables, "software", "PCRs with code",
		verdict.ClaimApprovedBoot, verdict.ClaimUnrecognized, verdict.ClaimContraindicate,
	}
	settings = comparison{
		verdict.Configuration, "configuration", "PCRs with configuration",
		verdict.ClaimApproved, verdict.ClaimNoVisibility, verdict.ClaimContraindicate,
	}
)

// Endings of the names of rows, by reason code.
var endings = map[string]string{
	verdict.ReasonNoReferenceValues:   "-unknown",
	verdict.ReasonMeasurementMismatch: "-mismatch",
	verdict.ReasonPartialReference:    "-partial",
	verdict.ReasonUnsignedReference:   "-unsigned",
	verdict.ReasonClaimNotAsserted:    endingMissing,
}

const (
	endingProven  = "-proven"
	endingMissing = "-registers-not-quoted"
)

func comparisons() []appraisal.Finding {
	var out []appraisal.Finding
	for _, c := range []comparison{software, settings} {
		row := func(code string, value verdict.Claim, text string) {
			name := c.prefix + endingProven
			if code != "" {
				name = c.prefix + endings[code]
			}
			out = append(out, appraisal.Finding{Name: name, Code: code, Effect: appraisal.Effect{c.claim: value}, Text: fmt.Sprintf(text, c.what)})
		}
		row("", c.proven, "All %s that have to be proven are as reference values say.")
		row(verdict.ReasonNoReferenceValues, c.unproven, "For some %s there are no reference values.")
		row(verdict.ReasonMeasurementMismatch, c.mismatch, "Some %s are as in no reference value.")
		row(verdict.ReasonPartialReference, c.unproven, "Some %s are as a reference value says, but what belongs to it is not.")
		row(verdict.ReasonUnsignedReference, c.unproven, "For some %s only documents that nobody signed have the value.")
		row(verdict.ReasonClaimNotAsserted, c.unproven, "The quote leaves out %s that have to be proven.")
	}
	return out
}
