// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"math/big"
	"time"

	"github.com/assize/assize/verdict"
)

// proof is what cryptography established about one device.
type proof struct {
	device  *device
	report  *Report
	chain   *chain
	details *details
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
// signature of the report by the leaf key, and only then the meaning of the
// opaque data. The stage is the last one that was passed.
func (a *anchors) establish(raw []byte, t time.Time) (*proof, stage, error) {
	d, err := decodeDevice(raw)
	if err != nil {
		return nil, stageNothing, failed(verdict.ReasonMalformed, "%v", err)
	}
	if err := knownArch(d.arch); err != nil {
		return nil, stageNothing, err
	}
	r, err := ParseReport(d.report)
	if err != nil {
		return nil, stageNothing, failed(verdict.ReasonMalformed, "%v", err)
	}
	c, err := a.verify(d.pem, t)
	if err != nil {
		return nil, stageParsed, err
	}
	if err := c.id.checkArch(d.arch); err != nil {
		return nil, stageChain, err
	}
	if !verifySignature(c.key, r.Signed, r.Signature) {
		return nil, stageChain, failed(verdict.ReasonSignatureInvalid,
			"the report is not signed by the key of certificate 0 (ueid %s)", c.id.ueid)
	}
	a.remember(c)
	return &proof{device: d, report: r, chain: c, details: readDetails(r.Opaque)}, stageSigned, nil
}

// verifySignature checks raw r||s, each big-endian and half as long as sig,
// over the SHA-384 of msg. SPDM 1.1 signs without a context prefix.
func verifySignature(key *ecdsa.PublicKey, msg, sig []byte) bool {
	sum := sha512.Sum384(msg)
	half := len(sig) / 2
	r, s := new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])
	return ecdsa.Verify(key, sum[:], r, s)
}
