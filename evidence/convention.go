// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"strings"
)

// Conventions say what challenge follows from the session nonce for each
// component of a composite (decisions D-28, D-54, D-93). A composite names its
// convention by its collection type; one that names none is asked with the
// nonce itself, or as a ratsd token says.
const (
	// ConventionAssize is ours: the CPU TEE commits to everything else (Commitment).
	ConventionAssize = "assize"
	// ConventionTrustee is that of Confidential Containers Trustee: the CPU TEE
	// commits to the bytes of the additional evidence, see RuntimeData.
	ConventionTrustee = "trustee"
	// ConventionITA is that of Intel Trust Authority: one verifier nonce for all,
	// and no commitment to anything.
	ConventionITA = "ita"
	// ConventionRatsd stretches the session nonce by SHAKE, and no more.
	ConventionRatsd = "ratsd"
)

// Collection types of composites that are bound by a convention of others.
const (
	BoundTrusteeCollection = "tag:github.com,2026:assize/bound-trustee"
	BoundITACollection     = "tag:github.com,2026:assize/bound-ita"
)

// Names of the rules by which challenges follow in these conventions.
const (
	// RuleTrustee is for the CPU TEE: SHA-384 over the canonical JSON (RFC 8785)
	// of nonce, tee-pubkey and additional-evidence, and 16 zero bytes.
	RuleTrustee = "trustee-jcs"
	// RuleTrusteeDevice is followed by "/N": the first N bytes of the SHA-384 over
	// the canonical JSON of nonce and tee-pubkey.
	RuleTrusteeDevice = "trustee-jcs-device"
	// RuleITA is for the CPU TEE: SHA-512 over val, iat and user data.
	RuleITA = "ita"
	// RuleITADevice is SHA-256 over val and iat.
	RuleITADevice = "ita-device"
)

// Leaves of such composites that are no components: they stand in the collection
// of the composite itself, under these labels.
const (
	LabelRuntimeData        = "runtime-data"
	LabelAdditionalEvidence = "additional-evidence"

	// TypeRuntimeData is the type of the leaf that says what was hashed.
	TypeRuntimeData = "application/vnd.assize.runtime-data+json"
	// TypeAdditionalEvidence is the type of a leaf with the text that Trustee's
	// clients call additional_evidence: a JSON object whose members are named
	// after TEEs. Each member is a component of the composite:
	//
	//	nvidia  an array is TypeTrusteeNVIDIA
	//	cmw     a CMW collection in JSON, descended into (our extension)
	//
	// Anything else is a leaf of TypeTrusteeEvidence, for which there is no scheme.
	TypeAdditionalEvidence = "application/vnd.assize.trustee-additional-evidence+json"
	// TypeTrusteeEvidence has the parameter tee with the name of the member.
	TypeTrusteeEvidence = "application/vnd.assize.trustee-evidence+json"
	// TypeTrusteeNVIDIA is the form of NVIDIA's SDKs, a registered type.
	TypeTrusteeNVIDIA = "application/vnd.veraison.nvidia-gpu-evidence+json"

	paramTEE      = "tee"
	memberNVIDIA  = "nvidia"
	memberCMW     = "cmw"
	maxAdditional = 64 // members of additional evidence
	maxDepthJSON  = 16 // of the value of one member
)

// Convention is the convention that a nonce rule belongs to, "" for a rule of
// none: the session nonce itself, or a challenge that was given by hand.
func Convention(rule string) string {
	name, _, _ := strings.Cut(rule, "/")
	switch name {
	case CommitmentRule:
		return ConventionAssize
	case RuleTrustee, RuleTrusteeDevice:
		return ConventionTrustee
	case RuleITA, RuleITADevice:
		return ConventionITA
	case "shake256", "shake128":
		return ConventionRatsd
	}
	return ""
}

// CommitsToEvidence reports whether who answers a challenge by this rule commits
// to the evidence of every other component of the composite.
func CommitsToEvidence(rule string) bool { return rule == CommitmentRule || rule == RuleTrustee }

// conventionOf is the convention that a collection type declares, "" for none.
func conventionOf(cmwType string) string {
	switch cmwType {
	case BoundCollection:
		return ConventionAssize
	case BoundTrusteeCollection:
		return ConventionTrustee
	case BoundITACollection:
		return ConventionITA
	}
	return ""
}

// Convention is the convention that the composite declares by its collection
// type, "" for none. Whether it is kept is for the challenges to show.
func (t *Tree) Convention() string { return conventionOf(t.root.Content().CollectionType()) }

// RuntimeData is what the composite says that was hashed, nil where its
// convention has none.
func (t *Tree) RuntimeData() *RuntimeData { return t.runtime }

// Commitment is what the challenges of the composite depend on beside the session
// nonce, nil where it declares no convention.
func (t *Tree) Commitment() *Commitment {
	convention := t.Convention()
	if convention == "" {
		return nil
	}
	c := &Commitment{Leaves: t.LeafDigests(), Signer: t.LeadSigner(), Additional: t.additional}
	if t.runtime != nil {
		c.Convention, c.Runtime = convention, t.runtime.Text()
	}
	return c
}
