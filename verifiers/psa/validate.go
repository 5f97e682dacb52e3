// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"crypto/subtle"
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// lifecycle reports the state of the device.
func (v *verifier) lifecycle(a *verdict.Appraisal, t *token) {
	state := t.lifecycle.State()
	detail := fmt.Sprintf("security lifecycle is 0x%04x, %s", uint16(t.lifecycle), state)
	compared := verdict.Comparison{Expected: armtoken.Secured.String(), Observed: fmt.Sprintf("%s (0x%04x)", state, uint16(t.lifecycle)), Source: verdict.SourceAppraisalPolicy}
	switch state {
	case armtoken.Secured:
		v.policy.Apply(a, "lifecycle-secured", detail)
	case armtoken.OtherDebug:
		v.policy.Apply(a, "lifecycle-other-debug", detail+": what is outside of the root of trust can be debugged").Against(compared)
	case armtoken.RecoverableDebug:
		v.policy.Apply(a, "lifecycle-debug", detail+": the root of trust can be debugged, and its keys with it").Against(compared)
	default:
		v.policy.Apply(a, "lifecycle-unsecured", detail+", expected secured").Against(compared)
	}
}

// freshness compares the whole nonce in constant time.
func freshness(a *verdict.Appraisal, t *token, nonce []byte) {
	a.NonceSeen = append([]byte(nil), t.nonce...)
	switch {
	case len(nonce) == 0:
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing says when the token was made")
	case subtle.ConstantTimeCompare(nonce, t.nonce) == 1:
		a.Freshness = verdict.FreshnessFresh
	default:
		a.Freshness = verdict.FreshnessMismatch
		a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("the nonce of %d bytes starts with %x, expected %d bytes that start with %x",
			len(t.nonce), t.nonce[:8], len(nonce), nonce[:min(8, len(nonce))]), verdict.Challenged(nonce, t.nonce))
	}
}
