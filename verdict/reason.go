// SPDX-License-Identifier: Apache-2.0

package verdict

// Reason codes. The same list, with meaning and remedy of each, is in
// schemas/reasons.yaml and docs/reasons.md; a test compares them.
const (
	// Freshness.
	ReasonNonceNotEstablished = "nonce-not-established"
	ReasonNonceMismatch       = "nonce-mismatch"

	// Evidence.
	ReasonMalformed           = "malformed-evidence"
	ReasonTooLarge            = "evidence-too-large"
	ReasonSignatureInvalid    = "signature-invalid"
	ReasonChainInvalid        = "chain-invalid"
	ReasonUnknownRoot         = "unknown-root"
	ReasonExpired             = "expired"
	ReasonRevoked             = "revoked"
	ReasonDebug               = "debug-enabled"
	ReasonConfiguration       = "configuration"
	ReasonIdentityMismatch    = "identity-mismatch"
	ReasonNoReferenceValues   = "no-reference-values"
	ReasonMeasurementMismatch = "measurement-mismatch"
	ReasonPartialReference    = "reference-values-partial"
	ReasonUnsignedReference   = "unsigned-reference-values"
	ReasonReferenceConflict   = "reference-values-conflict"
	ReasonNoCollateral        = "no-collateral"
	ReasonCollateralInvalid   = "collateral-invalid"
	ReasonTCBOutOfDate        = "tcb-out-of-date"
	ReasonTCBNotSupported     = "tcb-not-supported"
	ReasonClaimNotAsserted    = "claim-not-asserted"
	ReasonUnsupported         = "unsupported-evidence"
	ReasonWrongSigner         = "wrong-signer"
	ReasonUnexplained         = "unexplained"
	ReasonEventLogMismatch    = "event-log-mismatch"
	ReasonRevocationUnknown   = "revocation-unknown"
	ReasonKeyNotVouchedFor    = "key-not-vouched-for"
	ReasonTCBConfiguration    = "tcb-configuration-needed"
	ReasonTCBHardening        = "tcb-hardening-needed"
	ReasonTCBRevoked          = "tcb-revoked"

	// Between nodes: no verdict for a component.
	ReasonNoVerifier      = "no-verifier"
	ReasonUnreachable     = "unreachable"
	ReasonTimeout         = "timeout"
	ReasonBusy            = "busy"
	ReasonRefused         = "refused"
	ReasonMalfunction     = "malfunction"
	ReasonCancelled       = "cancelled"
	ReasonBadPAR          = "bad-par"
	ReasonBadPARSignature = "bad-par-signature"
	ReasonPARStale        = "par-stale"
	ReasonPARNonce        = "par-nonce-mismatch"
	ReasonPARSubject      = "par-subject-mismatch"
	ReasonLyingPAR        = "lying-par"
	ReasonLateResult      = "late-result"
	ReasonPathDeviation   = "path-deviation"
	ReasonLoop            = "loop"
	ReasonPeerNotAttested = "peer-not-attested"

	// Aggregated results, as a relying party sees them.
	ReasonBadAAR          = "bad-aar"
	ReasonBadAARSignature = "bad-aar-signature"
	ReasonAARStale        = "aar-stale"
	ReasonLyingAAR        = "lying-aar"

	// Composite.
	ReasonUnboundComponent  = "unbound-component"
	ReasonDuplicateIdentity = "duplicate-identity"
	ReasonMissingComponent  = "missing-component"
	ReasonUnexpected        = "unexpected-component"
	ReasonNoComponents      = "no-components"
	ReasonComponentTier     = "component-tier"
	ReasonAsSubmitted       = "completeness-as-submitted"
	ReasonTimeOverridden    = "verification-time-overridden"
	ReasonBindingBroken     = "binding-broken"
	ReasonBindingWeak       = "binding-weak"
	ReasonApplicationBound  = "application-binding-accepted"
	ReasonDisagreement      = "quorum-disagreement"
	ReasonQuorumNotReached  = "quorum-not-reached"
	ReasonQuorumIncomplete  = "quorum-incomplete"
	ReasonSharedService     = "quorum-shared-service"
	ReasonPolicy            = "policy"
	ReasonPolicyError       = "policy-error"
	ReasonPolicyRemark      = "policy-remark"
	ReasonPolicyNone        = "policy-none"
	ReasonPolicyBad         = "policy-contraindicated"
	ReasonBindingAbsent     = "binding-absent"
	ReasonNonceBound        = "nonce-binding-accepted"
	ReasonInventory         = "inventory-not-vouched-for"
	ReasonUnsignedLead      = "unsigned-lead"
	ReasonExtraRoots        = "extra-roots"
	ReasonMissingMember     = "missing-member"
	ReasonDependsOn         = "depends-on"
	ReasonDependsOnWarning  = "depends-on-warning"
	ReasonDependsOnNone     = "depends-on-none"
	ReasonDependsOnBad      = "depends-on-contraindicated"
	ReasonInterconnect      = "interconnect-incomplete"

	// ReasonReportUnauthenticated: claims rest on bytes beside the signature of the
	// component, for which the CPU's evidence does not vouch (decision D-80).
	ReasonReportUnauthenticated = "report-unauthenticated"
)

// ReasonCeiling is the best tier that a component can have when the lead
// attaches a reason with this code to it (Component.Reasons). Every code lowers
// to at least warning except the few that only inform; a code that is not known
// here lowers to warning.
func ReasonCeiling(code string) Tier {
	switch code {
	case ReasonTimeOverridden, ReasonAsSubmitted, ReasonLateResult, ReasonApplicationBound, ReasonExtraRoots, ReasonDependsOn,
		ReasonPolicyRemark, ReasonNonceBound, ReasonSharedService:
		return TierAffirming
	case ReasonNoVerifier, ReasonUnreachable, ReasonTimeout, ReasonBusy, ReasonRefused,
		ReasonMalfunction, ReasonCancelled, ReasonBadPAR, ReasonBadPARSignature,
		ReasonPARStale, ReasonPARNonce, ReasonPARSubject, ReasonLyingPAR,
		ReasonMissingComponent, ReasonPathDeviation, ReasonLoop, ReasonQuorumNotReached, ReasonPeerNotAttested, ReasonDependsOnNone,
		ReasonPolicyError, ReasonPolicyNone:
		return TierNone
	case ReasonNonceMismatch, ReasonDuplicateIdentity, ReasonBindingBroken, ReasonIdentityMismatch, ReasonDependsOnBad, ReasonPolicyBad:
		return TierContraindicated
	}
	return TierWarning
}
