// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Options are what a relying party trusts, and what it demands.
type Options struct {
	// JWKS or Anchors, one of them, has the keys of leads, of component verifiers
	// (those of Nodes included) and of who may sign composites (trust.RoleAttester).
	JWKS    []byte
	Anchors *trust.Anchors
	// Schemes are those that are known here; a result of another one is refused.
	Schemes *verifiers.Set
	// Now is the time of checking.
	Now time.Time
	// Nonce is the challenge that the verdict must answer. NoNonce, in its place,
	// takes a verdict for any nonce: how fresh it is, only its age tells then.
	Nonce   []byte
	NoNonce bool
	// MaxAge is the largest age of the verdict; zero means limits.Session (150 s). A
	// verdict past its own end is refused whatever this says.
	MaxAge time.Duration
	// Policy is the relying party's own policy, nil for "default" of package policy.
	Policy orchestrator.Policy
	// Require says what has to be there, beyond Policy; the source of each is set to
	// verdict.SourceRelyingParty.
	Require []verdict.Requirement
	// Topology names components that have to be in the verdict, and as required ones.
	Topology *topologies.Expr
	// Nodes, if there are any, have to be all that the verdict names: a result counts
	// only under the keys of its place. Paths are the ways that are allowed, nil for
	// every one.
	Nodes *trust.Nodes
	Paths *topologies.Paths
	// References, if set, returns the documents about membership and dependency that
	// the lead must have had. The time is the one as of which the verdict was made.
	References func(at time.Time) (*corim.Index, error)
	// Evidence is the composite that the verdict must be about, where it is not in a
	// bundle; EvidenceType is its media type, "" for by content.
	Evidence     []byte
	EvidenceType string
	// RequireEvidence refuses a verdict that comes without.
	RequireEvidence bool
	// AllowSimulated takes results of verifiers that trust roots beyond those of the
	// vendors, and so cannot tell a simulated machine from a real one.
	AllowSimulated bool
	// AllowRecorded takes a verdict that was made as of another time than its own.
	AllowRecorded bool
}

// ErrOptions is wrapped by every error about the options themselves.
var ErrOptions = errors.New("relyingparty: options")

// anchors says what is wrong with the options, or whom they trust.
func (o Options) anchors() (*trust.Anchors, error) {
	switch {
	case (o.JWKS == nil) == (o.Anchors == nil):
		return nil, fmt.Errorf("%w: want JWKS or Anchors: nothing is trusted by default", ErrOptions)
	case o.Schemes == nil:
		return nil, fmt.Errorf("%w: no Schemes", ErrOptions)
	case o.Now.IsZero():
		return nil, fmt.Errorf("%w: no time of checking", ErrOptions)
	case (len(o.Nonce) == 0) != o.NoNonce:
		return nil, fmt.Errorf("%w: want a Nonce, or NoNonce where there is none", ErrOptions)
	case o.MaxAge < 0:
		return nil, fmt.Errorf("%w: MaxAge %s", ErrOptions, o.MaxAge)
	}
	for _, q := range o.require() {
		if err := q.Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	if o.Anchors != nil {
		return o.Anchors, nil
	}
	a, err := trust.ParseJWKS(o.JWKS)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return a, nil
}

// require are the demands under the name of who makes them.
func (o Options) require() []verdict.Requirement {
	out := make([]verdict.Requirement, 0, len(o.Require))
	for _, q := range o.Require {
		q.Source = verdict.SourceRelyingParty
		out = append(out, q)
	}
	return out
}

// explicit: the relying party has a policy of its own, so that the lead's does not
// bind it. A demand alone is one thing more to hold the machine to, and nothing less.
func (o Options) explicit() bool { return o.Policy != nil }

// maxAge is the largest age that is looked at before that of the verdict is.
func (o Options) maxAge() time.Duration { return max(o.MaxAge, limits.Session) }

// attesters are the keys under which a signed composite is believed to be signed.
type attesters struct {
	anchors *trust.Anchors
	now     time.Time
}

// VerificationKeys implements evidence.KeyFinder. The key id is a hint that a
// composite may lack, so every trusted key is tried.
func (a attesters) VerificationKeys([]byte, string) []crypto.PublicKey {
	return a.anchors.Attesters(a.now)
}

// tree reads evidence. A signature under a key that is not known here proves
// nothing, and is no reason not to compare digests.
func (o Options) tree(raw []byte, mediaType string, anchors *trust.Anchors) (*evidence.Tree, error) {
	return evidence.Parse(raw, evidence.Options{
		MediaType: mediaType, Keys: attesters{anchors, o.Now}, UnverifiedSignaturesUnsafe: true,
	})
}
