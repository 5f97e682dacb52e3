// SPDX-License-Identifier: Apache-2.0

package eatda

import "slices"

// Claims of a device.
const (
	claimMeasurements = 3802
	claimCertificates = 3803
	claimVCA          = 3804
	claimPCI          = 3805
	claimConfig       = 3806
	claimChallenge    = 3807
	claimReport       = 3808
)

// Members of a measurement and of an SPDM signature.
const (
	blockType   = 1
	blockDigest = 2
	blockRaw    = 3

	keySignature = "signature"

	signatureSlot      = 1
	signatureRequester = 2
	signatureResponder = 3
	signaturePrefix    = 4
	signatureIL1       = 5
	signatureHash      = 6
	signatureValue     = 7
)

const (
	maxType      = 10
	maxSlot      = 7
	nonceSize    = 32
	prefixSize   = 100
	minIndex     = 1
	lastIndex    = 239 // of the draft
	maxIndex     = 254 // of SPDM
	maxAlgorithm = 64
)

// Defect names a defect of the draft by its letter.
type Defect byte

// The defects of the draft that this package codes around.
const (
	// DefectHash: the identifiers of the base hash are those of the measurement
	// hash, which are shifted, and SHA-256 is 0: 0 and 1 both mean it (decision D-32).
	DefectHash Defect = 'a'
	// DefectRanges: the grammar has no place for a second MMIO range (decision D-31).
	DefectRanges Defect = 'b'
	// DefectTextKey: the signature stands under a text in a map of integers.
	DefectTextKey Defect = 'c'
	// DefectIndex: an index beyond 239, for which the grammar has no place although
	// SPDM keeps manifest and device mode there (decision D-29).
	DefectIndex Defect = 'd'
	// DefectRaw: objects of SPDM in their own form where the draft has another: the
	// whole interface report as device-specific information, a chain with its header.
	DefectRaw Defect = 'e'
	// DefectAlgorithm: a digest names an algorithm that the registry of RFC 6920
	// does not have, as the draft's own example does.
	DefectAlgorithm Defect = 'f'
	// DefectBoundary: IL1 does not say where the negotiation ends, so it was read
	// from its front.
	DefectBoundary Defect = 'g'
	// DefectPartial: every member of an interface report is optional, although
	// without one the report cannot be compared with anything.
	DefectPartial Defect = 'h'
)

// Flag is one place where a defect of the draft was coded around.
type Flag struct {
	Defect Defect
	Detail string
}

// Block is a measurement as the token restates it. Nobody has signed it: only
// the block of the same index under the device's signature proves it.
type Block struct {
	Index uint8
	// Type is the DMTF value type, 0 to 10.
	Type uint8
	// Raw tells that Value is a raw bit stream; else it is a digest.
	Raw bool
	// Algorithm is the number of the digest's algorithm, or Named its name.
	Algorithm uint64
	Named     string
	Value     []byte
}

// Signature is an SPDM signature with what it covers.
type Signature struct {
	Slot uint8
	// Requester and Responder are the nonces of both sides, Prefix the combined
	// SPDM prefix: repetitions of what is in IL1 or follows from it.
	Requester, Responder, Prefix []byte
	// IL1 is the transcript without the signature, L1 or M1.
	IL1 []byte
	// Hash is the base hash as a bit of SPDM (1 is SHA-256, 2 SHA-384 …), whichever
	// number the token has.
	Hash  uint32
	Value []byte
}

// Device is one device of a token. Byte slices point into the token.
type Device struct {
	Name string
	// Namespace is NamespaceSPDM, NamespaceLegacy, or "" for another.
	Namespace string
	// Raw is the claims set as it stands in the token.
	Raw []byte
	// Err says why the device was refused; then nothing else counts.
	Err error
	// Flags are the defects of the draft that were coded around.
	Flags []Flag

	// Blocks are the restated measurements, in the order of the token.
	Blocks []Block
	// Measured signs measurements, Challenge a challenge; nil if absent.
	Measured, Challenge *Signature
	// Certificates are chains by slot, slot 0 among them; nil if the claim is absent.
	Certificates map[uint8][]byte
	// VCA are the negotiation messages, or nil.
	VCA []byte
	// Report is the interface report, or nil.
	Report *Report
	// Legacy is what a device without SPDM has, which proves nothing.
	Legacy *Legacy

	profile      string
	measurements bool
}

// flag notes a defect once per detail.
func (d *Device) flag(f Defect, detail string) {
	if !slices.Contains(d.Flags, Flag{f, detail}) {
		d.Flags = append(d.Flags, Flag{f, detail})
	}
}

// read reads the claims set of a device.
func (d *Device) read(r *reader, o Options) {
	d.Namespace = namespace(d.Name)
	switch {
	case d.Namespace == "":
		d.Err = newError(RuleNamespace, d.Name, r.base, "the name is in no namespace that is known here (%q, %q)", NamespaceSPDM, NamespaceLegacy)
	case len(d.Name) == len(d.Namespace) || len(d.Name) > MaxName:
		d.Err = newError(RuleName, "", r.base, "name of %d bytes, expected a name behind %q of at most %d", len(d.Name), d.Namespace, MaxName)
	case d.Namespace == NamespaceLegacy:
		d.Err = d.readLegacy(r)
	default:
		d.Err = d.readSPDM(r, o)
	}
}

func (d *Device) readSPDM(r *reader, o Options) error {
	err := r.eachPair(RuleCBOR, "claims of the device", maxDepth-2, func(k key, at int) (err error) {
		switch {
		case k.isText || k.other:
			return errUnknown
		case k.n == claimProfile:
			d.profile, err = r.text(MaxName, RuleProfile, "eat_profile")
		case k.n == claimMeasurements:
			d.measurements = true
			err = d.readMeasurements(r)
		case k.n == claimCertificates:
			err = d.readCertificates(r)
		case k.n == claimVCA:
			d.VCA, err = r.bytes(1, MaxVCA, RuleCBOR, "spdm-vca")
		case k.n == claimChallenge:
			d.Challenge, err = d.readSignature(r, "spdm-challenge")
		case k.n == claimReport:
			d.Report, err = d.readReport(r, o)
		default:
			return errUnknown
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case d.profile != ProfileSPDM:
		return newError(RuleProfile, d.Name, -1, "eat_profile is %.128q, expected %q", d.profile, ProfileSPDM)
	case !d.measurements && d.Certificates == nil:
		return newError(RuleCombination, d.Name, -1, "neither measurements nor certificates")
	case d.Challenge != nil && d.Certificates == nil:
		return newError(RuleCombination, d.Name, -1, "a challenge without certificates")
	}
	return nil
}

func (d *Device) readMeasurements(r *reader) error {
	start := r.at
	err := r.eachPair(RuleBlock, "spdm-measurements", maxDepth-3, func(k key, at int) (err error) {
		switch {
		case k.isText && k.text == keySignature:
			d.flag(DefectTextKey, "the signature stands under a text in a map of integers")
			d.Measured, err = d.readSignature(r, "signature of the measurements")
			return err
		case k.isText || k.other:
			return errUnknown
		case k.n < minIndex || k.n > maxIndex:
			return r.fail(RuleBlock, at, "measurement index %d, expected %d to %d", k.n, minIndex, maxIndex)
		case k.n > lastIndex:
			d.flag(DefectIndex, "a measurement index beyond 239")
		}
		b, err := d.readBlock(r, uint8(k.n))
		d.Blocks = append(d.Blocks, b)
		return err
	})
	if err == nil && len(d.Blocks) == 0 {
		err = r.fail(RuleBlock, start, "spdm-measurements without a measurement")
	}
	return err
}

func (d *Device) readBlock(r *reader, index uint8) (Block, error) {
	b, start := Block{Index: index}, r.at
	var typed, digest, raw bool
	err := r.eachPair(RuleBlock, "measurement", maxDepth-4, func(k key, at int) error {
		switch {
		case k.isText || k.other:
			return errUnknown
		case k.n == blockType:
			n, err := r.uint(maxType, RuleBlock, "component type")
			b.Type, typed = uint8(n), true
			return err
		case k.n == blockDigest:
			digest = true
			return d.readDigest(r, &b)
		case k.n == blockRaw:
			raw = true
			v, err := r.bytes(0, MaxValue, RuleBlock, "raw measurement")
			if !digest {
				b.Raw, b.Value = true, v
			}
			return err
		}
		return errUnknown
	})
	switch {
	case err != nil:
		return b, err
	case !typed:
		return b, r.fail(RuleBlock, start, "measurement %d has no component type", index)
	case digest == raw:
		return b, r.fail(RuleBlock, start, "measurement %d is not exactly one of digest and raw value", index)
	}
	return b, nil
}

// readDigest reads [algorithm, value].
func (d *Device) readDigest(r *reader, b *Block) error {
	at := r.at
	n, err := r.expect(majorArray, RuleBlock, "digest")
	if err == nil && n != 2 {
		err = r.fail(RuleBlock, at, "digest of %d elements, expected 2", n)
	}
	if err != nil {
		return err
	}
	if r.at < len(r.b) && r.b[r.at]>>5 == majorText {
		at := r.at
		if b.Named, err = r.text(maxAlgorithm, RuleBlock, "digest algorithm"); err == nil && b.Named == "" {
			err = r.fail(RuleBlock, at, "digest algorithm without a name")
		}
	} else {
		b.Algorithm, err = r.uint(1<<63-1, RuleBlock, "digest algorithm")
	}
	if err != nil {
		return err
	}
	if HashSize(b.Algorithm, b.Named) == 0 {
		d.flag(DefectAlgorithm, "a digest names an algorithm that is not registered")
	}
	b.Value, err = r.bytes(1, MaxValue, RuleBlock, "digest")
	return err
}

func (d *Device) readCertificates(r *reader) error {
	start := r.at
	d.Certificates = map[uint8][]byte{}
	err := r.eachPair(RuleCertificates, "spdm-certificates", maxDepth-3, func(k key, at int) error {
		if k.isText || k.other || k.n < 0 || k.n > maxSlot {
			return r.fail(RuleCertificates, at, "certificate slot %s, expected 0 to %d", k, maxSlot)
		}
		chain, err := r.bytes(1, MaxChain, RuleCertificates, "certificate chain")
		if err == nil && !bareDER(chain) {
			d.flag(DefectRaw, "a certificate chain in the form of SPDM, with header and root hash")
		}
		d.Certificates[uint8(k.n)] = chain
		return err
	})
	if err == nil && d.Certificates[0] == nil {
		err = r.fail(RuleCertificates, start, "no certificate chain of slot 0")
	}
	return err
}

// readSignature reads an SPDM signature, whose members are all required.
func (d *Device) readSignature(r *reader, what string) (*Signature, error) {
	s, start, have := &Signature{}, r.at, [signatureValue + 1]bool{}
	err := r.eachPair(RuleSignature, what, maxDepth-4, func(k key, at int) (err error) {
		if k.isText || k.other || k.n < signatureSlot || k.n > signatureValue {
			return errUnknown
		}
		have[k.n] = true
		switch k.n {
		case signatureSlot:
			n, err := r.uint(maxSlot, RuleSignature, "slot")
			s.Slot = uint8(n)
			return err
		case signatureRequester:
			s.Requester, err = r.bytes(nonceSize, nonceSize, RuleSignature, "requester nonce")
		case signatureResponder:
			s.Responder, err = r.bytes(nonceSize, nonceSize, RuleSignature, "responder nonce")
		case signaturePrefix:
			s.Prefix, err = r.bytes(prefixSize, prefixSize, RuleSignature, "combined SPDM prefix")
		case signatureIL1:
			s.IL1, err = r.bytes(1, MaxTranscript, RuleSignature, "IL1")
		case signatureHash:
			s.Hash, err = d.readHash(r)
		case signatureValue:
			s.Value, err = r.bytes(1, maxSignature, RuleSignature, "signature")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for n := signatureSlot; n <= signatureValue; n++ {
		if !have[n] {
			return nil, r.fail(RuleSignature, start, "%s lacks member %d", what, n)
		}
	}
	return s, nil
}

// readHash reads a base hash: a bit of BaseHashAlgo, with 0 for SHA-256 as the
// draft has it (decision D-32).
func (d *Device) readHash(r *reader) (uint32, error) {
	at := r.at
	n, err := r.uint(64, RuleSignature, "base hash")
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		d.flag(DefectHash, "base hash 0 is read as SHA-256, as the draft has it; SPDM's bit is 1")
		return 1, nil
	case n == 1:
		d.flag(DefectHash, "base hash 1 is read as SHA-256, as SPDM has it; the draft's number is 0")
	case n&(n-1) != 0:
		return 0, r.fail(RuleSignature, at, "base hash is %d, expected a single bit of 1 to 64, or 0", n)
	}
	return uint32(n), nil
}
