// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// subject is one device as a container carried it; nothing of it is verified.
type subject struct {
	// container is the media type or profile, for claims.
	container string
	// name is what the container calls the device, "" if nothing.
	name string
	// evidence is what is carried; nil if err says why it cannot be read.
	evidence *Evidence
	err      error
	// restated compares what the container says beside the transcript with the
	// verified result, a sentence for each contradiction; nil: nothing is restated.
	restated func(*Result) []string
	// defects are faults of a draft that were coded around, for claims.
	defects []string
}

// proof is a subject whose cryptography holds.
type proof struct {
	subject
	*Result
	in verifiers.Input
	// reportErr says why the interface report cannot be read.
	reportErr error
}

// judge appraises one device, whatever container brought it.
func (v *verifier) judge(in verifiers.Input, s subject) verdict.Appraisal {
	if s.err != nil {
		return v.rejected(s.err)
	}
	p, err := v.prove(in, s)
	if err != nil {
		return v.rejected(err)
	}
	if s.restated != nil {
		if lies := s.restated(p.Result); len(lies) > 0 {
			a := v.blank()
			v.find(&a, findRestated, "%s", clip(strings.Join(lies, "; ")))
			return a
		}
	}
	a := verdict.Appraisal{PolicyID: v.policy.ID(), Claims: p.claims()}
	p.facts(&a)
	v.freshness(&a, p)
	v.identity(&a, p)
	v.revocation(&a, p)
	v.negotiation(&a, p)
	v.measurements(&a, p)
	v.references(&a, p)
	v.interfaces(&a, p)
	return a
}

// blank is an appraisal that repeats nothing of the evidence.
func (v *verifier) blank() verdict.Appraisal {
	return verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished, PolicyID: v.policy.ID()}
}

// rejected is the appraisal of evidence of which nothing is proven. Nothing of
// its contents is repeated but what is wrong.
func (v *verifier) rejected(err error) verdict.Appraisal {
	a := v.blank()
	v.find(&a, v.fault(err), "%s", v.words(err))
	return a
}

// fault is the finding of an error of Decode or Verify.
func (v *verifier) fault(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return findMalformed
	}
	switch e.Kind {
	case KindUnsupported:
		return findUnsupported
	case KindUnsigned:
		return findNothingSigned
	case KindMissing:
		if e.Stage == StageContainer {
			return findMalformed
		}
		return findNothingSigned
	case KindSignature:
		return findSignature
	case KindNonce:
		return findNonce
	case KindSlot:
		return findSlot
	case KindContradiction:
		return findContradiction
	case KindUnknownAnchor:
		if e.Stage == stageSlot {
			return findSlotAllowed
		}
		return findUnknownAnchor
	case KindChainSignature:
		return findChain
	case KindExpired:
		return findExpired
	case KindRootHash:
		return findRootHash
	case KindCertificate:
		if e.Stage == StageLeaf {
			return findLeaf
		}
		return findChain
	}
	return findMalformed
}

// stageSlot marks a chain whose anchor is trusted for other slots.
const stageSlot Stage = "slot"

func (v *verifier) words(err error) string {
	s := clip(err.Error())
	if KindOf(err) == KindUnknownAnchor && len(v.absent) > 0 {
		s += fmt.Sprintf("; %d of %d anchors of the policy are not among the endorsements: %.64s", len(v.absent), len(v.params.Anchors), v.absent[0])
	}
	return s
}

// maxDetail bounds one detail in bytes.
const maxDetail = 1024

// clip shortens a text that evidence may have a part in.
func clip(s string) string {
	if len(s) > maxDetail {
		return strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// prove verifies a subject. What no device signs is parsed apart, so that it
// cannot take down what is signed.
func (v *verifier) prove(in verifiers.Input, s subject) (*proof, error) {
	p := &proof{subject: s, in: in}
	e := *s.evidence
	e.Report = nil
	x := Expect{Anchors: v.trusted(false), Time: in.Time, verified: v.verified}
	var err error
	p.Result, err = Verify(&e, x)
	if k := KindOf(err); (k == KindUnsigned || k == KindMissing) && e.Challenge != nil {
		p.Result, err = verifyIdentity(&e, x)
	}
	if KindOf(err) == KindUnknownAnchor {
		err = v.otherSlot(&e, x, err)
	}
	if err != nil {
		return nil, err
	}
	if s.evidence.Report != nil {
		p.Objects.Report = s.evidence.Report
		p.Report, p.reportErr = ParseReport(s.evidence.Report)
	}
	return p, nil
}

// otherSlot tells a root that nobody trusts from one that is trusted for other
// slots. It changes the words, never the outcome.
func (v *verifier) otherSlot(e *Evidence, x Expect, unknown error) error {
	x.Anchors, x.verified = v.trusted(true), nil
	_, err := Verify(e, x)
	if k := KindOf(err); (k == KindUnsigned || k == KindMissing) && e.Challenge != nil {
		_, err = verifyIdentity(e, x)
	}
	var was *Error
	if KindOf(err) == KindUnknownAnchor || !errors.As(unknown, &was) {
		return unknown
	}
	again := *was
	again.Stage, again.Detail = stageSlot, "the trust anchor may not vouch for this slot"
	return &again
}

// nonces are the requester nonces under signatures of measurements, or that of
// the challenge where nothing else is signed.
func (p *proof) nonces() [][]byte {
	var out [][]byte
	for i := range p.Segments {
		out = append(out, p.Segments[i].Last().Request.Nonce)
	}
	if out == nil && p.Challenge != nil {
		out = append(out, p.Challenge.Transcript.Request.Nonce)
	}
	return out
}

// freshness compares every signed nonce with the expected one, which is the
// session's or derived from it by a rule of the plan (decision D-30).
func (v *verifier) freshness(a *verdict.Appraisal, p *proof) {
	list := p.nonces()
	a.NonceSeen = append([]byte(nil), list[len(list)-1]...)
	if p.in.Nonce == nil {
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given to compare the requester nonce with")
		return
	}
	a.Freshness = verdict.FreshnessFresh
	for i, n := range list {
		if subtle.ConstantTimeCompare(n, p.in.Nonce) != 1 {
			a.Freshness = verdict.FreshnessMismatch
			v.find(a, findNonce, "signature %d answers requester nonce %s, expected %s", i, short(n), short(p.in.Nonce)).Against(verdict.Challenged(p.in.Nonce, n))
			return
		}
	}
	if p.Challenge != nil {
		n := p.Challenge.Transcript.Request.Nonce
		p.Challenge.Fresh = subtle.ConstantTimeCompare(n, p.in.Nonce) == 1
		v.when(a, !p.Challenge.Fresh, findOldChallenge, "the challenge answers requester nonce %s, the measurements %s", short(n), short(p.in.Nonce))
	}
}

func short(b []byte) string { return fmt.Sprintf("%x… (%d bytes)", b[:min(8, len(b))], len(b)) }
