// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"errors"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// parameters are what an operator may set beside the table.
type parameters struct {
	dcap.Parameters `yaml:",inline"`
	// AllowedMiscSelect are the bits of MISCSELECT that cost nothing: EXINFO (1)
	// and CPINFO (2) let the processor write more about an exception into the
	// enclave's own memory.
	AllowedMiscSelect uint32 `yaml:"allowed_miscselect"`
	// AllowedXFRM are the bits of XFRM that cost nothing; x87 and SSE (3) have to be
	// among them.
	AllowedXFRM uint64 `yaml:"allowed_xfrm"`
	// RequireKSS asks for enclaves with key separation and sharing.
	RequireKSS bool `yaml:"require_kss"`
}

// Check says what is wrong with parameters.
func (p parameters) Check() error {
	if p.AllowedXFRM&xfrmFixed != xfrmFixed {
		return errors.New("allowed_xfrm lacks x87 or SSE (3), which every enclave has")
	}
	return p.Parameters.Check()
}

// Findings about the enclave, by name.
const (
	findClosed          = "enclave-closed"
	findDebug           = "enclave-debug"
	findQEDebug         = "qe-debug"
	findNotInitialized  = "enclave-not-initialized"
	findReserved        = "enclave-reserved-bits"
	findProvisionKey    = "enclave-provision-key"
	findEINITTokenKey   = "enclave-einittoken-key"
	findXFRM            = "xfrm"
	findMiscSelect      = "miscselect"
	findNoKSS           = "kss-missing"
	findSeparation      = "separation-without-kss"
	findMatch           = "executables-match"
	findMismatch        = "executables-mismatch"
	findUnproven        = "executables-unproven"
	findConfigMismatch  = "configuration-mismatch"
	findConfigElsewhere = "configuration-elsewhere"
	findConfigUnproven  = "configuration-unproven"
)

// policy is the appraisal policy that the scheme starts from. Values are those of
// AR4SI.
func policy() appraisal.Defaults {
	return appraisal.Defaults{
		Scheme:   Name,
		Findings: append(append(dcap.Findings(dcap.SGX), attributeFindings()...), referenceFindings()...),
		Parameters: parameters{
			AllowedMiscSelect: 0x3,
			AllowedXFRM:       0x602ff, // x87, SSE, AVX, MPX, AVX-512, PKRU, AMX
		},
	}
}

type effect = appraisal.Effect

func attributeFindings() []appraisal.Finding {
	conf, opaque, exec := verdict.Configuration, verdict.RuntimeOpaque, verdict.Executables
	open := effect{conf: verdict.ClaimContraindicate, opaque: verdict.ClaimContraindicate, exec: verdict.ClaimUnrecognized}
	bad, unsafe := effect{conf: verdict.ClaimContraindicate}, effect{conf: verdict.ClaimUnsafe}
	return []appraisal.Finding{
		{Name: findClosed, Effect: effect{conf: verdict.ClaimApproved, opaque: verdict.ClaimApproved},
			Text: "Where the attributes start from: nothing of what follows was found."},
		{Name: findDebug, Code: verdict.ReasonDebug, Effect: open, Floor: open,
			Text: "The enclave runs with DEBUG: the host can read and write its memory."},
		{Name: findQEDebug, Code: verdict.ReasonDebug, Effect: open, Floor: open,
			Text: "The quoting enclave runs with DEBUG: its attestation key is not secret."},
		{Name: findNotInitialized, Code: verdict.ReasonConfiguration, Effect: bad, Floor: bad,
			Text: "INIT is clear: no initialized enclave made this report."},
		{Name: findReserved, Code: verdict.ReasonConfiguration, Effect: bad, Floor: unsafe,
			Text: "Bits or bytes are set of which this build does not know what they mean."},
		{Name: findProvisionKey, Code: verdict.ReasonConfiguration, Effect: unsafe,
			Text: "PROVISIONKEY is set: the enclave can derive keys that identify the platform, as only Intel's own need to."},
		{Name: findEINITTokenKey, Code: verdict.ReasonConfiguration, Effect: unsafe,
			Text: "EINITTOKEN_KEY is set: the enclave can license other enclaves to start."},
		{Name: findXFRM, Code: verdict.ReasonConfiguration, Effect: unsafe,
			Text: "XFRM has bits outside of allowed_xfrm, or lacks x87 or SSE."},
		{Name: findMiscSelect, Code: verdict.ReasonConfiguration, Effect: unsafe, Text: "MISCSELECT has bits outside of allowed_miscselect."},
		{Name: findNoKSS, Code: verdict.ReasonConfiguration, Effect: unsafe, Text: "KSS is clear, and require_kss asks for it."},
		{Name: findSeparation, Code: verdict.ReasonConfiguration, Effect: bad, Floor: unsafe,
			Text: "CONFIGID, CONFIGSVN, ISVEXTPRODID or ISVFAMILYID is set without KSS, which the processor does not do."},
	}
}

func referenceFindings() []appraisal.Finding {
	conf, exec := verdict.Configuration, verdict.Executables
	unrecognized := effect{exec: verdict.ClaimUnrecognized}
	return []appraisal.Finding{
		{Name: findMatch, Effect: effect{exec: verdict.ClaimApprovedBoot},
			Text: "Reference values know MRENCLAVE, or MRSIGNER with ISVPRODID and ISVSVN in one triple."},
		{Name: findMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{exec: verdict.ClaimContraindicate}, Floor: unrecognized,
			Text: "There are reference values for enclaves, and this is none of them."},
		{Name: findUnproven, Code: verdict.ReasonNoReferenceValues, Effect: unrecognized, Floor: unrecognized,
			Text: "Reference values do not prove MRENCLAVE, nor MRSIGNER with ISVPRODID and ISVSVN in one triple."},
		{Name: findConfigMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{conf: verdict.ClaimContraindicate}, Floor: effect{conf: verdict.ClaimUnsafe},
			Text: "ATTRIBUTES, MISCSELECT or a field of KSS is as in no reference value, and the enclave is not identified either."},
		{Name: findConfigElsewhere, Code: verdict.ReasonMeasurementMismatch, Effect: effect{conf: verdict.ClaimUnsafe},
			Text: "A field is as in no reference value, but the triple that identifies the enclave does not speak of it."},
		{Name: findConfigUnproven, Code: verdict.ReasonNoReferenceValues, Effect: effect{conf: verdict.ClaimNoVisibility},
			Text: "The host chose CONFIGID or CONFIGSVN, and reference values do not prove it."},
	}
}
