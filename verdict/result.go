// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/evidence"
)

// Binding is one edge of the graph that ties components to one machine.
type Binding struct {
	From evidence.Path `json:"from"`
	To   evidence.Path `json:"to"`
	// Kind is the name of the check that found the edge.
	Kind string `json:"kind"`
	// Strength is strong, nonce or none.
	Strength string `json:"strength"`
	// Status is bound, broken or absent.
	Status string `json:"status"`
	// Origin says who could have written the commitment: hardware, measured or
	// application; empty where it does not matter.
	Origin string `json:"origin,omitempty"`
	// Compared says in a sentence what was held against what. Expected and Observed
	// are the two values where there are two: digests in hexadecimal, identities.
	Compared string `json:"compared,omitempty"`
	Expected string `json:"expected,omitempty"`
	Observed string `json:"observed,omitempty"`
}

// mutualKinds are the kinds of edges whose ends vouch for each other.
var mutualKinds = []string{"interconnect", "key-chain", "same-platform"}

// Mutual reports whether both ends of the edge vouch for each other. Otherwise To vouches for From,
// and not the other way round (decision D-99).
func (b Binding) Mutual() bool { return slices.Contains(mutualKinds, b.Kind) }

// Result is an aggregated result.
type Result struct {
	// Verifier is the lead.
	Verifier Identity
	Outcome  Outcome
	// Time is when the components were combined; it becomes iat, in seconds.
	Time time.Time
	// VerificationTime is the time at which collateral had to be valid where
	// it was not the time of issue (recorded evidence); otherwise zero.
	VerificationTime time.Time
	Session          string
	// Topology is the expression that was evaluated, PlanDigest the SHA-256 of
	// the plan; zero when there is none.
	Topology   string
	PlanDigest [32]byte
	// Nonce is the session's challenge, nil when none was given.
	Nonce []byte
	// Composite is the SHA-256 of the composite evidence as received.
	Composite [32]byte
	// Commitment is what the CPU TEE had to commit to where it was asked by
	// evidence.CommitmentRule: digests of all leaves of the composite and the
	// signer of the whole. Its Nonce is not used. Nil otherwise.
	Commitment *evidence.Commitment
	// Lead is the key that signed the composite as a whole, nil where none did whose
	// signature was verified. It is the word of the lead: a relying party that has
	// the evidence verifies the signature itself.
	Lead *LeadSignature
	// Policy is the policy for whole machines that was applied, nil for none.
	Policy *PolicyStatement
	// Requirements are what had to be there, from configuration, policy and signed
	// evidence; nil where only the topology says it (Complete).
	Requirements []Requirement
	// Inventory is the leaf from which the requirements of SourceLeadEvidence are, nil
	// where there is none.
	Inventory *Inventory
	// Node is the name of the lead among other nodes, "" where it has none.
	Node string
	// References is the revision of the documents about membership and dependency
	// that the lead used (corim.Index.Revision), "" where it had none. What they say
	// is in Caps and in the reasons of components.
	References string
	// Receipts are what the nodes on the paths of the components have signed about
	// what they received; nil where nothing was handed on. VerifyResult reads them
	// and leaves their signatures to those who know the nodes (Receipt.Verify).
	Receipts []Receipt
	// Components are in the order of their labels, each label once.
	Components []Component
	Caps       []Cap
	Bindings   []Binding
	// Interconnects are the sets of devices that work with one another over links
	// in clear; nil where no component says so.
	Interconnects []Interconnect
	// DryRun is how the verdict would differ under a policy that is tried beside the
	// active one; nil where none is. It is not signed.
	DryRun *Difference
	// KID and Token are set by SignResult and VerifyResult.
	KID   string
	Token []byte
}

// HasNonce reports in constant time whether the result answers this challenge.
// An empty challenge is never answered.
func (r *Result) HasNonce(nonce []byte) bool {
	return len(nonce) > 0 && subtle.ConstantTimeCompare(r.Nonce, nonce) == 1
}

// Document is the verdict as JSON for people and programs. It is not signed.
// encoding/json renders it deterministically.
type Document struct {
	Verdict          Statement                    `json:"verdict"`
	Time             string                       `json:"time"`
	VerificationTime string                       `json:"verification_time,omitempty"`
	Topology         string                       `json:"topology"`
	Session          string                       `json:"session,omitempty"`
	Nonce            string                       `json:"nonce,omitempty"`
	Composite        string                       `json:"composite_sha256,omitempty"`
	Node             string                       `json:"node,omitempty"`
	References       string                       `json:"reference_revision,omitempty"`
	Verifier         *Signatory                   `json:"verifier,omitempty"`
	Components       map[string]ComponentDocument `json:"components"`
	Bindings         []Binding                    `json:"bindings"`
	Interconnects    []Interconnect               `json:"interconnects,omitempty"`
	Policy           *PolicyStatement             `json:"policy,omitempty"`
	Requirements     []Requirement                `json:"requirements,omitempty"`
	DryRun           *Difference                  `json:"dry_run,omitempty"`
}

// Statement is a tier and why.
type Statement struct {
	Tier    Tier     `json:"tier"`
	Reasons []Reason `json:"reasons"`
}

// Signatory is a verifier and its key.
type Signatory struct {
	Developer string `json:"developer"`
	Build     string `json:"build"`
	KID       string `json:"kid"`
}

// ComponentDocument is one component of a Document.
type ComponentDocument struct {
	Tier      Tier       `json:"tier"`
	Scheme    string     `json:"scheme"`
	MediaType string     `json:"media_type"`
	Class     string     `json:"class,omitempty"`
	Required  bool       `json:"required"`
	Verifier  *Signatory `json:"verifier,omitempty"`
	// TrustVector has the claims that assert something.
	TrustVector map[string]Claim `json:"trust_vector"`
	Claims      map[string]any   `json:"claims"`
	Freshness   Freshness        `json:"freshness"`
	// References is the revision of the reference values that the verifier
	// compared with, a SHA-256 in hexadecimal; "" if it had none.
	References string `json:"reference_revision,omitempty"`
	// AppraisalPolicy names the appraisal policy for evidence that made the result
	// (EAR ear.appraisal-policy-id); "" where the scheme's rules are fixed.
	AppraisalPolicy string `json:"appraisal_policy,omitempty"`
	// Reasons are the component verifier's, then the lead's.
	Reasons    []Reason `json:"reasons"`
	DurationUS int64    `json:"duration_us"`
	// Quorum is there where several verifiers were asked. Verifier, TrustVector,
	// Claims and Freshness are then those of the worst answer.
	Quorum *QuorumDocument `json:"quorum,omitempty"`
	// Path, Site and Sites say by which way the component was appraised.
	Path  []Hop    `json:"path,omitempty"`
	Site  string   `json:"site,omitempty"`
	Sites []string `json:"sites,omitempty"`
}

// Document renders the result. Times are RFC 3339 in UTC, the nonce is
// base64url with padding, digests are lower-case hexadecimal.
func (r *Result) Document() Document {
	d := Document{
		Verdict:          Statement{Tier: r.Outcome.Tier, Reasons: append([]Reason{}, r.Outcome.Reasons...)},
		Time:             formatTime(r.Time),
		VerificationTime: formatTime(r.VerificationTime),
		Topology:         r.Topology, Session: r.Session,
		Nonce: encodeNonce(r.Nonce), Composite: hexDigest(r.Composite), Node: r.Node, References: r.References,
		Components: make(map[string]ComponentDocument, len(r.Components)),
		Bindings:   append([]Binding{}, r.Bindings...), Interconnects: r.Interconnects,
		Policy: r.Policy, Requirements: r.Requirements, DryRun: r.DryRun,
	}
	if r.Verifier != (Identity{}) {
		d.Verifier = &Signatory{Developer: r.Verifier.Developer, Build: r.Verifier.Build, KID: r.KID}
	}
	for _, c := range r.Components {
		d.Components[string(c.Label)] = c.document()
	}
	return d
}

func (c Component) document() ComponentDocument {
	d := ComponentDocument{
		Tier: c.Tier(), Scheme: c.Scheme, MediaType: c.MediaType, Class: c.Class, Required: c.Required,
		TrustVector: map[string]Claim{}, Claims: map[string]any{}, Freshness: FreshnessNotEstablished,
		Reasons: []Reason{}, DurationUS: c.Duration.Microseconds(), Quorum: c.quorumDocument(),
		Path: c.Path, Site: c.Site, Sites: c.Sites,
	}
	if !c.Partial.IsZero() {
		a := c.Partial.Appraisal()
		who := c.Partial.signatory()
		d.Verifier = &who
		d.TrustVector = c.VectorOf(a.Vector).members(false)
		d.Freshness = a.Freshness
		d.References = c.Partial.ReferenceRevision()
		d.AppraisalPolicy = a.PolicyID
		d.Reasons = append(d.Reasons, a.Reasons...)
		if a.Claims != nil {
			d.Claims = a.Claims
		}
	}
	d.Reasons = append(d.Reasons, c.Reasons...)
	if d.Tier != TierAffirming && len(d.Reasons) == 0 {
		d.Reasons = append(d.Reasons, c.unexplained())
	}
	return d
}

// unexplained is the reason of a component for which nobody gave one: what
// lowers it by the numbers alone.
func (c Component) unexplained() Reason {
	r := Reason{Code: ReasonUnexplained, Detail: "no partial result, and the lead gave no reason"}
	if c.Partial.IsZero() {
		return r
	}
	a := c.Partial.Appraisal()
	r.Detail = fmt.Sprintf("the verifier gave no reason for status %s with freshness %s and", c.Partial.Status(), a.Freshness)
	for n, claim := range a.Vector {
		if claim.Tier() != TierAffirming && claim != ClaimNone {
			r.Detail += fmt.Sprintf(" %s %d", ClaimName(n), claim)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Partial.unknown)) {
		r.Detail += fmt.Sprintf(" %q %d", name, c.Partial.unknown[name])
	}
	r.Detail = strings.TrimSuffix(r.Detail, " and")
	return r
}

// hexDigest is empty for the zero digest.
func hexDigest(d [32]byte) string {
	if d == ([32]byte{}) {
		return ""
	}
	return hex.EncodeToString(d[:])
}
