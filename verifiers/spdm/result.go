// SPDX-License-Identifier: Apache-2.0

package spdm

import "crypto"

// Result is what a verified evidence says. Byte slices point into the evidence.
type Result struct {
	VCA      *VCA
	Identity *Identity
	// Segments are the signed measurement transcripts in order.
	Segments []Segment
	// Blocks are all measurement blocks under a signature, in order of index.
	Blocks []Block
	// Total is the number of indices that the device announced, -1 if not asked.
	Total int
	// Change is ChangeDetected if any signed response says so, else what the last
	// one says.
	Change ContentChange
	// Recomputed tells that every signed request asked for new measurements.
	Recomputed bool
	// Nonce is the requester nonce of the last signed request, nil in none.
	Nonce []byte
	// Fresh tells that the expected nonce was given and is in every signed request.
	Fresh bool
	// Challenge is nil if the evidence has none.
	Challenge *ChallengeResult
	// Digests is nil if the evidence has none. DigestsSigned tells that the
	// challenge signature covers it.
	Digests       *Digests
	DigestsSigned bool
	// Report is nil if the evidence has none. Nothing in the evidence signs it.
	Report *InterfaceReport
	// Log is the extension log; its entries fold into signed blocks.
	Log []LogEntry
	// Objects are the bytes to bind to other evidence.
	Objects Objects
}

// ChallengeResult is what a verified CHALLENGE_AUTH says.
type ChallengeResult struct {
	Transcript *ChallengeTranscript
	// Fresh tells that the expected nonce was given and is the one of the request.
	Fresh bool
	// Summary says how the summary hash relates to the signed blocks.
	Summary SummaryStatus
}

// SummaryStatus is the outcome of recomputing MeasurementSummaryHash.
type SummaryStatus string

// The outcomes.
const (
	// SummaryAbsent: the request asked for none.
	SummaryAbsent SummaryStatus = "absent"
	// SummaryMatches: it is the hash of all signed blocks.
	SummaryMatches SummaryStatus = "matches"
	// SummaryDiffers: it is not. The measurements changed between the two
	// signatures, or the device contradicts itself.
	SummaryDiffers SummaryStatus = "differs"
	// SummaryIncomparable: only reference values can judge it: the summary goes
	// over TCB blocks only, or not all blocks were read as digests at once.
	SummaryIncomparable SummaryStatus = "incomparable"
)

// Objects are the parts of the evidence that other evidence can commit to.
type Objects struct {
	VCA, Chain, Measurements, Report []byte
}

// ObjectDigests are hashes of Objects; nil where an object is absent.
type ObjectDigests struct {
	VCA, Chain, Measurements, Report []byte
}

// Digest hashes every object. The hash must be linked into the binary;
// SHA-256, SHA-384 and SHA-512 always are.
func (o Objects) Digest(h crypto.Hash) ObjectDigests {
	sum := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		d := h.New()
		d.Write(b)
		return d.Sum(nil)
	}
	return ObjectDigests{VCA: sum(o.VCA), Chain: sum(o.Chain), Measurements: sum(o.Measurements), Report: sum(o.Report)}
}
