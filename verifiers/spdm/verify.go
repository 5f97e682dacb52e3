// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"
)

// Expect is what evidence is verified against. Nothing of it comes from the
// evidence.
type Expect struct {
	// Anchors are the configured trust anchors.
	Anchors []Anchor
	// Time is the verification time; required.
	Time time.Time
	// Nonce is the requester nonce (32 bytes) that every signed GET_MEASUREMENTS
	// must carry. Nil compares nothing: Result.Fresh is false then.
	Nonce []byte
	// ChallengeNonce is the same for CHALLENGE.
	ChallengeNonce []byte

	// verified may answer for a chain that was verified before; nil in none.
	verified func(c chainKey, x Expect, verify func() (*Identity, error)) (*Identity, error)
}

// verifyIdentity verifies what remains of evidence whose measurements nobody
// signed: negotiation, chain and challenge. The result has no block.
func verifyIdentity(e *Evidence, x Expect) (*Result, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	v, err := ParseVCA(e.VCA)
	if err != nil {
		return nil, err
	}
	s := session{e: e, x: x, v: v, out: &Result{VCA: v, Total: -1}}
	if v.Responder&CapabilityChallenge == 0 {
		return nil, refuse(StageChallenge, KindContradiction, "challenge", "the device cannot answer a challenge (CHAL_CAP)")
	}
	if s.challenge, err = ParseChallengeTranscript(e.Challenge, v); err != nil {
		return nil, err
	}
	s.slot = s.challenge.Request.Slot
	for _, step := range []func() error{s.readDigests, s.verifyChain, s.verifyChallenge} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	s.out.Objects.Measurements = nil
	return s.out, nil
}

// Verify verifies the evidence of one device completely, or fails with an *Error
// at the first step that does not hold. On success every block of the result is
// covered by a signature of the identity's key. It judges nothing that needs an
// owner's policy or reference values: debug modes, versions, weak but allowed
// algorithms and TDISP attributes are reported, not refused.
func Verify(e *Evidence, x Expect) (*Result, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	v, err := ParseVCA(e.VCA)
	if err != nil {
		return nil, err
	}
	s := session{e: e, x: x, v: v, out: &Result{VCA: v, Total: -1}}
	for _, step := range []func() error{s.readMeasurements, s.readDigests, s.verifyChain, s.verifyMeasurements, s.verifyChallenge, s.readRest} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s.out, nil
}

func (x Expect) check() error {
	switch {
	case x.Time.IsZero():
		return refuse(StageInput, KindMissing, "time", "no verification time")
	case x.Nonce != nil && len(x.Nonce) != NonceSize:
		return refuse(StageInput, KindMalformed, "nonce", "expected nonce of %d bytes, SPDM has %d", len(x.Nonce), NonceSize)
	case x.ChallengeNonce != nil && len(x.ChallengeNonce) != NonceSize:
		return refuse(StageInput, KindMalformed, "nonce", "expected challenge nonce of %d bytes, SPDM has %d", len(x.ChallengeNonce), NonceSize)
	}
	return nil
}

// session is one run of Verify.
type session struct {
	e         *Evidence
	x         Expect
	v         *VCA
	challenge *ChallengeTranscript
	slot      uint8
	out       *Result
}

// readMeasurements parses transcripts, so that the signer's slot is known, and
// requires what must agree before any key is used. Evidence without
// measurements is refused only after its chains were checked, so that the
// report names the graver fault.
func (s *session) readMeasurements() error {
	if s.v.Responder&CapabilityCertificate == 0 {
		return refuse(StageVCA, KindUnsupported, "vca", "the device has no certificates (CERT_CAP)")
	}
	if len(s.e.Measurements) == 0 {
		return s.refuseUnmeasured()
	}
	switch s.v.Responder.Measurements() {
	case MeasurementsNone:
		return refuse(StageVCA, KindMissing, "vca", "the device has no measurements (MEAS_CAP 0)")
	case MeasurementsUnsigned:
		return refuse(StageVCA, KindUnsigned, "vca", "the device does not sign measurements (MEAS_CAP 1)")
	}
	var err error
	if s.out.Segments, err = ParseMeasurementTranscript(s.e.Measurements, s.v); err != nil {
		return err
	}
	s.slot = s.out.Segments[0].Last().Request.Slot
	for _, g := range s.out.Segments[1:] {
		if got := g.Last().Request.Slot; got != s.slot {
			return differ(StageMeasurements, KindSlot, "measurements", "signatures by different slots", s.slot, got)
		}
	}
	if s.e.Challenge == nil {
		return nil
	}
	if s.v.Responder&CapabilityChallenge == 0 {
		return refuse(StageChallenge, KindContradiction, "challenge", "the device cannot answer a challenge (CHAL_CAP)")
	}
	if s.challenge, err = ParseChallengeTranscript(s.e.Challenge, s.v); err != nil {
		return err
	}
	if got := s.challenge.Request.Slot; got != s.slot {
		return differ(StageChallenge, KindSlot, "challenge", "challenge and measurements are signed by different slots", s.slot, got)
	}
	return nil
}

// refuseUnmeasured always fails: with the fault of a chain, or because nothing
// is measured.
func (s *session) refuseUnmeasured() error {
	for slot := range uint8(MaxSlots) {
		raw, ok := s.e.Chains[slot]
		if !ok {
			continue
		}
		c, err := ParseChain(raw, s.v)
		if err != nil {
			return err
		}
		if _, err := VerifyChain(c, s.v, slot, s.capabilityModel(), s.x.Anchors, s.x.Time); err != nil {
			return err
		}
	}
	return refuse(StageMeasurements, KindMissing, "measurements", "no measurements")
}

// readDigests takes DIGESTS from the challenge transcript or from the container;
// if both are there they must be the same.
func (s *session) readDigests() error {
	if s.challenge != nil && s.challenge.Digests != nil {
		s.out.Digests, s.out.DigestsSigned = s.challenge.Digests, true
		if s.e.Digests != nil && !bytes.Equal(s.e.Digests, s.challenge.Digests.Raw) {
			return refuse(StageDigests, KindContradiction, "digests", "DIGESTS differs from the one under the challenge signature")
		}
	} else if s.e.Digests != nil {
		d, err := ParseDigests(s.e.Digests, s.v)
		if err != nil {
			return err
		}
		s.out.Digests = d
	}
	if s.out.Digests == nil {
		return nil
	}
	for _, d := range s.out.Digests.Slots {
		chain, ok := s.e.Chains[d.Number]
		if !ok {
			continue
		}
		if want := s.v.BaseHash.sum(chain); !bytes.Equal(want, d.Digest) {
			return differ(StageDigests, KindContradiction, "digests", fmt.Sprintf("digest of chain %d", d.Number), want, d.Digest)
		}
	}
	return nil
}

// model is the certificate model of the signer's slot. DIGESTS may say generic,
// which relaxes rules, only where it is signed.
func (s *session) model() (Model, error) {
	if s.out.Digests == nil {
		return s.otherModel(), nil
	}
	d, ok := s.out.Digests.Slot(s.slot)
	switch {
	case !ok:
		return ModelNone, refuse(StageDigests, KindSlot, "digests", "DIGESTS has no slot %d, which signed", s.slot)
	case !s.out.Digests.MultiKey:
		return s.otherModel(), nil
	case d.Usage&UsageMeasurement == 0:
		return ModelNone, differ(StageDigests, KindSlot, "digests", fmt.Sprintf("key usage of slot %d does not allow measurements", s.slot), uint16(UsageMeasurement), uint16(d.Usage))
	case s.challenge != nil && d.Usage&UsageChallenge == 0:
		return ModelNone, differ(StageDigests, KindSlot, "digests", fmt.Sprintf("key usage of slot %d does not allow challenges", s.slot), uint16(UsageChallenge), uint16(d.Usage))
	case d.Model == ModelNone || d.Model > ModelGeneric:
		return ModelNone, refuse(StageDigests, KindMalformed, "digests", "certificate model %d of slot %d", d.Model, s.slot)
	case !s.out.DigestsSigned && d.Model != ModelAlias:
		// An unsigned DIGESTS may make the rules stricter, not weaker.
		return s.stricter(d.Model), nil
	}
	return d.Model, nil
}

// otherModel is the model where no DIGESTS tells.
func (s *session) otherModel() Model {
	if s.readsAlias() {
		return ModelAlias
	}
	return s.capabilityModel()
}

// readsAlias tells whether a CERTIFICATE under the challenge signature calls the
// signer's chain an alias chain and no DIGESTS under it says more.
func (s *session) readsAlias() bool {
	if s.challenge == nil || s.out.DigestsSigned {
		return false
	}
	return slices.ContainsFunc(s.challenge.Certificates, func(e CertificateExchange) bool {
		return e.Request.Slot == s.slot && e.Response.Model == ModelAlias
	})
}

func (s *session) stricter(m Model) Model {
	if c := s.otherModel(); c == ModelAlias || m == ModelGeneric {
		return c
	}
	return m
}

func (s *session) capabilityModel() Model {
	if s.v.Version >= Version12 && s.v.Responder&CapabilityAlias != 0 {
		return ModelAlias
	}
	return ModelDevice
}

func (s *session) verifyChain() error {
	model, err := s.model()
	if err != nil {
		return err
	}
	raw, ok := s.e.Chains[s.slot]
	if !ok {
		return refuse(StageChain, KindSlot, "chain", "slot %d signed, and its chain is not there", s.slot)
	}
	s.out.Objects = Objects{VCA: s.v.Raw, Chain: raw, Measurements: s.e.Measurements, Report: s.e.Report}
	verify := func() (*Identity, error) {
		c, err := ParseChain(raw, s.v)
		if err != nil {
			return nil, err
		}
		return VerifyChain(c, s.v, s.slot, model, s.x.Anchors, s.x.Time)
	}
	if s.x.verified != nil {
		// What is remembered must not depend on the caller's buffer.
		raw = bytes.Clone(raw)
		s.out.Identity, err = s.x.verified(chainKey{raw, s.slot, model, s.v}, s.x, verify)
	} else {
		s.out.Identity, err = verify()
	}
	return err
}

// verifyMeasurements checks nonce and signature of every segment, and collects
// the blocks. An index that was read twice must have the same block both times.
func (s *session) verifyMeasurements() error {
	out := s.out
	out.Recomputed = true
	var byIndex [256]*Block
	for i := range out.Segments {
		g := &out.Segments[i]
		last := g.Last()
		if s.x.Nonce != nil && subtle.ConstantTimeCompare(last.Request.Nonce, s.x.Nonce) != 1 {
			return &Error{Stage: StageMeasurements, Kind: KindNonce, Object: "measurements", Offset: g.Offset, Detail: "requester nonce",
				Expected: show(s.x.Nonce), Seen: show(last.Request.Nonce)}
		}
		if err := CheckSignature(s.v, out.Identity.Leaf.PublicKey, PurposeMeasurements, last.Response.Signature, g.L1(s.v)...); err != nil {
			return err
		}
		out.Nonce = last.Request.Nonce
		out.Recomputed = out.Recomputed && last.Request.Fresh
		if out.Change != ChangeDetected {
			out.Change = last.Response.Change
		}
		for _, e := range g.Exchanges {
			if err := s.collect(e, &byIndex); err != nil {
				return err
			}
		}
	}
	for _, b := range byIndex {
		if b != nil {
			out.Blocks = append(out.Blocks, *b)
		}
	}
	if len(out.Blocks) == 0 {
		return refuse(StageMeasurements, KindMissing, "measurements", "no measurement block")
	}
	out.Fresh = s.x.Nonce != nil
	return nil
}

func (s *session) collect(e Exchange, byIndex *[256]*Block) error {
	bad := func(detail string, expected, seen any) error {
		return differ(StageMeasurements, KindContradiction, "measurements", detail, expected, seen)
	}
	if e.Request.Operation == OperationCount {
		if n := int(e.Response.Total); s.out.Total >= 0 && s.out.Total != n {
			return bad("number of indices", s.out.Total, n)
		}
		s.out.Total = int(e.Response.Total)
	}
	for i := range e.Response.Blocks {
		b := &e.Response.Blocks[i]
		if seen := byIndex[b.Index]; seen != nil && !bytes.Equal(seen.Raw, b.Raw) {
			return bad(fmt.Sprintf("two blocks of index 0x%02x", b.Index), seen.Raw, b.Raw)
		}
		byIndex[b.Index] = b
	}
	if n := len(e.Response.Blocks); e.Request.Operation == OperationAll && s.out.Total >= 0 && n != s.out.Total {
		return bad("number of blocks against the number of indices", s.out.Total, n)
	}
	return nil
}

func (s *session) verifyChallenge() error {
	c := s.challenge
	if c == nil {
		return nil
	}
	if want := s.v.BaseHash.sum(s.out.Objects.Chain); !bytes.Equal(want, c.Response.ChainHash) {
		return differ(StageChallenge, KindContradiction, "challenge", fmt.Sprintf("hash of chain %d in CHALLENGE_AUTH", s.slot), want, c.Response.ChainHash)
	}
	if err := c.checkChains(s.v, s.e.Chains); err != nil {
		return err
	}
	if s.x.ChallengeNonce != nil && subtle.ConstantTimeCompare(c.Request.Nonce, s.x.ChallengeNonce) != 1 {
		return differ(StageChallenge, KindNonce, "challenge", "requester nonce", s.x.ChallengeNonce, c.Request.Nonce)
	}
	if err := CheckSignature(s.v, s.out.Identity.Leaf.PublicKey, PurposeChallenge, c.Response.Signature, c.M1(s.v)...); err != nil {
		return err
	}
	s.out.Challenge = &ChallengeResult{Transcript: c, Fresh: s.x.ChallengeNonce != nil, Summary: s.summary(c)}
	return nil
}

// summary recomputes the summary over all blocks, which goes over whole blocks
// in order of index, in digest form.
func (s *session) summary(c *ChallengeTranscript) SummaryStatus {
	switch c.Request.Summary {
	case SummaryNone:
		return SummaryAbsent
	case SummaryTCB:
		return SummaryIncomparable
	}
	if len(s.out.Segments) == 0 {
		return SummaryIncomparable
	}
	last := s.out.Segments[len(s.out.Segments)-1].Last()
	if last.Request.Operation != OperationAll || last.Request.RawBits {
		return SummaryIncomparable
	}
	if bytes.Equal(s.v.BaseHash.sum(last.Response.Record), c.Response.SummaryHash) {
		return SummaryMatches
	}
	return SummaryDiffers
}

// readRest parses what no device signature covers: interface report and log.
func (s *session) readRest() (err error) {
	if s.e.Report != nil {
		if s.out.Report, err = ParseReport(s.e.Report); err != nil {
			return err
		}
	}
	if s.e.Log != nil {
		if s.out.Log, err = ParseLog(s.e.Log); err != nil {
			return err
		}
		if err = checkLog(s.out.Log, s.out.Blocks, s.v.MeasurementHash); err != nil {
			return err
		}
	}
	return nil
}
