// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"crypto/subtle"
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// lifecycle reports the state of the platform.
func (v *verifier) lifecycle(a *verdict.Appraisal, p *platform) {
	state := p.lifecycle.State()
	detail := fmt.Sprintf("lifecycle is 0x%04x, %s", uint16(p.lifecycle), state)
	compared := verdict.Comparison{Expected: armtoken.Secured.String(), Observed: fmt.Sprintf("%s (0x%04x)", state, uint16(p.lifecycle)), Source: verdict.SourceAppraisalPolicy}
	switch state {
	case armtoken.Secured:
		v.policy.Apply(a, "lifecycle-secured", detail)
	case armtoken.OtherDebug:
		v.policy.Apply(a, "lifecycle-other-debug", detail+": what is outside of the CCA platform can be debugged").Against(compared)
	case armtoken.RecoverableDebug:
		v.policy.Apply(a, "lifecycle-debug", detail+": the CCA platform can be debugged, so realms have no secrets from whoever does it").Against(compared)
	default:
		v.policy.Apply(a, "lifecycle-unsecured", detail+", expected secured").Against(compared)
	}
}

// freshness compares all 64 bytes of the realm's challenge in constant time. By
// the rule NoncePadded a shorter nonce is compared with zero bytes behind it; the
// challenge that was seen is then the nonce without them.
func (v *verifier) freshness(a *verdict.Appraisal, r *realm, nonce []byte) {
	a.NonceSeen = append([]byte(nil), r.challenge...)
	want := nonce
	if v.parameters.Nonce == NoncePadded && len(nonce) > 0 && len(nonce) < challengeSize {
		want = make([]byte, challengeSize)
		copy(want, nonce)
	}
	switch {
	case len(nonce) == 0:
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing says when the realm token was made")
	case subtle.ConstantTimeCompare(want, r.challenge) == 1:
		a.Freshness = verdict.FreshnessFresh
		a.NonceSeen = append([]byte(nil), nonce...)
	default:
		a.Freshness = verdict.FreshnessMismatch
		a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("the realm's challenge starts with %x, expected %d bytes that start with %x",
			r.challenge[:8], len(nonce), nonce[:min(8, len(nonce))]), verdict.Challenged(want, r.challenge))
	}
}
