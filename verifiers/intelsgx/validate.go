// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"crypto/subtle"
	"fmt"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// attributes sets configuration and runtime-opaque from what the processor says
// of the enclave, and of the quoting enclave that vouches for it.
func (v *verifier) attributes(a *verdict.Appraisal, q *dcap.Quote, e enclave) {
	say := func(finding, format string, args ...any) *verdict.Reason {
		return v.policy.Apply(a, finding, fmt.Sprintf(format, args...))
	}
	byPolicy := func(expected, observed string) verdict.Comparison {
		return verdict.Comparison{Expected: expected, Observed: observed, Source: verdict.SourceAppraisalPolicy}
	}
	say(findClosed, "")
	if e.flags&flagDebug != 0 {
		say(findDebug, "ATTRIBUTES.DEBUG is set: the host can read and write the enclave's memory").Against(byPolicy("ATTRIBUTES without DEBUG", fmt.Sprintf("ATTRIBUTES 0x%016x", e.flags)))
	}
	if q.QEReport.Debug() {
		say(findQEDebug, "the quoting enclave runs with DEBUG: its attestation key is not secret").Against(byPolicy("quoting enclave without DEBUG", "DEBUG"))
	}
	if e.flags&flagInit == 0 {
		say(findNotInitialized, "ATTRIBUTES.INIT is clear: no initialized enclave made this report")
	}
	if r := e.flags &^ flagsKnown; r != 0 {
		say(findReserved, "reserved ATTRIBUTES flags are set: 0x%016x", r)
	}
	if what := e.reserved(); what != "" {
		say(findReserved, "%s", what)
	}
	if e.flags&flagProvisionKey != 0 {
		say(findProvisionKey, "ATTRIBUTES.PROVISIONKEY is set: the enclave can derive keys that identify the platform")
	}
	if e.flags&flagEINITTokenKey != 0 {
		say(findEINITTokenKey, "ATTRIBUTES.EINITTOKEN_KEY is set: the enclave can license other enclaves to start")
	}
	if x := e.xfrm; x&^v.params.AllowedXFRM != 0 || x&xfrmFixed != xfrmFixed {
		say(findXFRM, "XFRM is 0x%x, expected bits of 0x%x with 0x%x set", x, v.params.AllowedXFRM, xfrmFixed).Against(byPolicy(fmt.Sprintf("bits of 0x%x with 0x%x set", v.params.AllowedXFRM, xfrmFixed), fmt.Sprintf("0x%x", x)))
	}
	if e.misc&^v.params.AllowedMiscSelect != 0 {
		say(findMiscSelect, "MISCSELECT is 0x%x, expected bits of 0x%x", e.misc, v.params.AllowedMiscSelect).Against(byPolicy(fmt.Sprintf("bits of 0x%x", v.params.AllowedMiscSelect), fmt.Sprintf("0x%x", e.misc)))
	}
	if e.flags&flagKSS == 0 {
		if v.params.RequireKSS {
			say(findNoKSS, "ATTRIBUTES.KSS is clear, and policy asks for key separation and sharing")
		}
		if set := e.separation(); len(set) > 0 {
			say(findSeparation, "%s set though KSS is clear", strings.Join(set, ", "))
		}
	}
}

// freshness compares all 64 bytes of REPORTDATA with the nonce in constant time.
// A shorter nonce never matches: padding it would be a guess about what the
// attester did.
func freshness(a *verdict.Appraisal, nonce []byte) {
	switch {
	case len(nonce) == 0:
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing says when REPORTDATA was made")
	case subtle.ConstantTimeCompare(nonce, a.NonceSeen) == 1:
		a.Freshness = verdict.FreshnessFresh
	default:
		a.Freshness = verdict.FreshnessMismatch
		a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("REPORTDATA starts with %x, expected %d bytes that start with %x",
			a.NonceSeen[:8], len(nonce), nonce[:min(8, len(nonce))]), verdict.Challenged(nonce, a.NonceSeen))
	}
}
