// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"math/big"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// Proof is what cryptography established about one device: its chain ends in
// a root of the scheme, names a device of the kind, and its key has signed the
// report. What the opaque data of the report mean is for the scheme to read.
type Proof struct {
	Device *container.Device
	Report *Report
	Chain  *Chain
	// References are the reference values, nil if none were given; Time is that of
	// the appraisal.
	References *corim.Index
	Time       time.Time

	kind     *Kind
	verifier *Verifier
}

// stage says how far an appraisal came, for the claims of one that failed.
type stage int

const (
	stageNothing stage = iota
	stageParsed
	stageChain
	stageSigned
)

// establish goes from bytes to proved contents: form, device chain at time t,
// signature of the report by the leaf key. The stage is the last one that was passed.
func (a *anchors) establish(raw []byte, t time.Time) (*Proof, stage, error) {
	d, err := container.Decode(raw)
	if err != nil {
		return nil, stageNothing, failed(verdict.ReasonMalformed, "%v", err)
	}
	if err := a.kind.knownArch(d.Arch); err != nil {
		return nil, stageNothing, err
	}
	r, err := ParseReport(d.Report)
	if err != nil {
		return nil, stageNothing, failed(verdict.ReasonMalformed, "%v", err)
	}
	c, err := a.verify(d.Chain, t)
	if err != nil {
		return nil, stageParsed, err
	}
	if err := a.kind.checkArch(d.Arch, c.ID); err != nil {
		return nil, stageChain, err
	}
	if !verifySignature(c.key, r.Signed, r.Signature) {
		return nil, stageChain, failed(verdict.ReasonSignatureInvalid,
			"the report is not signed by the key of certificate 0 (ueid %s)", c.ID.UEID)
	}
	a.remember(c)
	return &Proof{Device: d, Report: r, Chain: c, kind: a.kind}, stageSigned, nil
}

// verifySignature checks raw r||s, each big-endian and half as long as sig,
// over the SHA-384 of msg. SPDM 1.1 signs without a context prefix.
func verifySignature(key *ecdsa.PublicKey, msg, sig []byte) bool {
	sum := sha512.Sum384(msg)
	half := len(sig) / 2
	r, s := new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])
	return ecdsa.Verify(key, sum[:], r, s)
}
