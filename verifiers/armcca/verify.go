// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// bound checks that the platform vouches for the realm's key: its challenge is
// the hash of that key.
func (t *token) bound() *armtoken.Failure {
	sum := digest(corim.Algorithm(strings.ToLower(t.realm.rakHash)), t.realm.rawRAK)
	if subtle.ConstantTimeCompare(sum, t.platform.challenge) != 1 {
		return armtoken.Failf(verdict.ReasonSignatureInvalid,
			"the platform's challenge is %x, and the %s digest of the realm's key is %x: this platform token does not vouch for this realm",
			t.platform.challenge, t.realm.rakHash, sum)
	}
	return nil
}

func digest(a corim.Algorithm, b []byte) []byte {
	switch a {
	case corim.SHA256:
		d := sha256.Sum256(b)
		return d[:]
	case corim.SHA384:
		d := sha512.Sum384(b)
		return d[:]
	}
	d := sha512.Sum512(b)
	return d[:]
}

// verify checks the binding and both signatures. A platform token whose signature
// held is remembered: a platform makes one at boot, and it comes with every realm
// token until the next.
func (v *verifier) verify(t *token, in verifiers.Input) (armtoken.Anchor, *armtoken.Missing, *armtoken.Failure) {
	if f := t.bound(); f != nil {
		return armtoken.Anchor{}, nil, f
	}
	anchor, missing, f := v.keys.Verify(t.platform.message, armtoken.Search{
		Index: in.References, Time: in.Time, Device: t.platform.environment(), Unsigned: v.unsigned,
		Foreign: []string{corim.ProfilePSA},
	})
	if missing != nil || f != nil {
		return armtoken.Anchor{}, missing, f
	}
	if err := t.realm.message.Verify(t.realm.rak); err != nil {
		return armtoken.Anchor{}, nil, armtoken.Failf(verdict.ReasonSignatureInvalid, "the realm token is not signed by the key in it: %v", err)
	}
	v.keys.Remember(t.platform.message, anchor)
	return anchor, nil, nil
}
