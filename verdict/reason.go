// SPDX-License-Identifier: Apache-2.0

package verdict

// Reason codes. The same list, with a sentence for each, is in
// schemas/reasons.json; a test compares the two.
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
	ReasonNoCollateral        = "no-collateral"
	ReasonCollateralInvalid   = "collateral-invalid"
	ReasonTCBOutOfDate        = "tcb-out-of-date"
	ReasonTCBNotSupported     = "tcb-not-supported"
	ReasonClaimNotAsserted    = "claim-not-asserted"

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

	// Composite.
	ReasonUnboundComponent  = "unbound-component"
	ReasonDuplicateIdentity = "duplicate-identity"
	ReasonMissingComponent  = "missing-component"
	ReasonUnexpected        = "unexpected-component"
	ReasonNoComponents      = "no-components"
	ReasonComponentTier     = "component-tier"
	ReasonTimeOverridden    = "verification-time-overridden"
)
