// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// Names and claims of a Device Assignment Token (draft-poirier-rats-eat-da).
const (
	tokenProfile  = "tag:linaro.org,2025:device#1.0.0"
	deviceProfile = "tag:linaro.org,2025:device-spdm#1.0.0"
	legacyProfile = "tag:linaro.org,2025:device-pcie-legacy#1.0.0"

	// TokenCWT and TokenUCS are the media types of SignedToken and Token.
	TokenCWT = `application/eat+cwt; eat_profile="` + tokenProfile + `"`
	TokenUCS = `application/eat-ucs+cbor; eat_profile="` + tokenProfile + `"`

	claimNonce   = 10
	claimProfile = 265
	claimSubmods = 266

	claimMeasurements = 3802
	claimCertificates = 3803
	claimVCA          = 3804
	claimPCI          = 3805
	claimConfigSpace  = 3806
	claimChallenge    = 3807
	claimReport       = 3808

	tagUCCS    = 601
	lastIndex  = 239 // for which the draft has a place
	prefixSize = 100
)

// RangeForm is how MMIO ranges are written, for which the draft has the place of
// one.
type RangeForm uint8

// Forms of MMIO ranges.
const (
	RangesRaw       RangeForm = iota // the whole report as device-specific information, the default
	RangesOne                        // as the draft has it; an error unless there is one
	RangesArray                      // an array
	RangesDuplicate                  // a map with one key several times, which is no valid CBOR
)

// AlgorithmForm is how the algorithm of a digest is written.
type AlgorithmForm uint8

// Forms of algorithms.
const (
	AlgorithmNumber AlgorithmForm = iota // of the registry of RFC 6920, the default
	AlgorithmName                        // the name there
	AlgorithmBit                         // SPDM's bit of the measurement hash
)

// Lie is a claim of a token that is not what the device signed.
type Lie string

// Lies.
const (
	LieSlot      Lie = "slot"
	LieRequester Lie = "requester-nonce"
	LieResponder Lie = "responder-nonce"
	LiePrefix    Lie = "prefix"
	LieHash      Lie = "base-hash"
	LieValue     Lie = "measurement-value"
	LieType      Lie = "measurement-type"
	LieForm      Lie = "measurement-form"
	LieIndex     Lie = "measurement-index"
	LieAlgorithm Lie = "measurement-algorithm"
	LieVCA       Lie = "vca"
	LieName      Lie = "name"
)

// Lies is the whole list.
func Lies() []Lie {
	return []Lie{LieSlot, LieRequester, LieResponder, LiePrefix, LieHash, LieValue, LieType, LieForm, LieIndex, LieAlgorithm, LieVCA, LieName}
}

// TokenOptions are liberties that writers of tokens take where the draft
// contradicts SPDM or itself. The zero value follows the draft as far as it goes.
type TokenOptions struct {
	// HashBit writes SHA-256 as SPDM's bit 1, not as the draft's 0.
	HashBit bool
	// Ranges is how MMIO ranges are written.
	Ranges RangeForm
	// Reserved writes blocks beyond index 239 too.
	Reserved bool
	// Headers writes chain structures of SPDM instead of certificates.
	Headers bool
	// Algorithms is how algorithms of digests are written.
	Algorithms AlgorithmForm
	// NoVCA leaves out the claim for the negotiation, which is in IL1 from 1.2 on.
	NoVCA bool
	// Lie is one claim that contradicts the device; "" for none.
	Lie Lie
}

// Submodule is one device of a token.
type Submodule struct {
	Name   string
	Claims cbor.RawMessage
}

// Submodule restates evidence that this device has made. The error is ErrForeign
// for that of another one, or says what the draft has no place for.
func (d *Device) Submodule(evidence []byte, o TokenOptions) (Submodule, error) {
	c, err := Open(evidence)
	if err != nil {
		return Submodule{}, err
	}
	if _, err := d.Digests(evidence); err != nil {
		return Submodule{}, err
	}
	claims := map[int]any{claimProfile: deviceProfile, claimCertificates: d.tokenChains(c, o)}
	if !o.NoVCA {
		vca := c.VCA
		if o.Lie == LieVCA {
			vca = flipped(vca)
		}
		claims[claimVCA] = vca
	}
	blocks := d.tokenBlocks(o)
	if nonce, signed := d.requester(c, "foreign nonce", Nonce); signed {
		blocks["signature"] = d.tokenSignature(o, c.Measurements, nonce, d.lastPurpose(), contextMeasurements)
	}
	claims[claimMeasurements] = blocks
	if c.Challenge != nil {
		nonce, _ := d.requester(c, "foreign challenge nonce", ChallengeNonce)
		claims[claimChallenge] = d.tokenSignature(o, c.Challenge, nonce, "challenge", contextChallenge)
	}
	if c.Report != nil {
		if claims[claimReport], err = o.report(c.Report); err != nil {
			return Submodule{}, err
		}
	}
	raw, err := d.mode.Marshal(claims)
	if err != nil {
		return Submodule{}, fmt.Errorf("spdm: %w", err)
	}
	name := "spdm:" + d.Identity()
	if o.Lie == LieName {
		name = "spdm:" + maker + ":OTHER:" + d.serial
	}
	return Submodule{Name: name, Claims: raw}, nil
}

// requester is the nonce under a signature, false where measurements have none.
func (d *Device) requester(c *Container, purpose string, f Fault) ([]byte, bool) {
	if d.o.has(f) {
		return d.derive(purpose, c.Nonce), true
	}
	return c.Nonce, f == ChallengeNonce || !d.o.has(Unsigned) && !d.o.has(SignatureStripped)
}

// lastPurpose is what the responder nonce of the signed response follows from.
func (d *Device) lastPurpose() string {
	if d.o.Single {
		return fmt.Sprintf("measurements %d", d.blocks[len(d.blocks)-1].index)
	}
	return "measurements"
}

// tokenChains are the chains, bare certificates by default.
func (d *Device) tokenChains(c *Container, o TokenOptions) map[uint64][]byte {
	out := map[uint64][]byte{}
	for slot, chain := range c.Chains {
		out[slot] = chain
		if !o.Headers {
			out[slot] = chain[4+d.o.Suite.hash().Size():]
		}
	}
	return out
}

// tokenBlocks restate the measurements.
func (d *Device) tokenBlocks(o TokenOptions) map[any]any {
	out := map[any]any{}
	for i, b := range d.blocks {
		if b = b.inForm(d.o.Raw); b.index > lastIndex && !o.Reserved {
			continue
		}
		kind, value, raw, index := b.kind&^rawValue, b.value, b.kind&rawValue != 0, uint64(b.index)
		form := o.Algorithms.of(d.o.MeasurementHash)
		if i == 1 {
			switch o.Lie {
			case LieValue:
				value = flipped(value)
			case LieType:
				kind++
			case LieForm:
				raw = !raw
			case LieIndex:
				index = indexUnknown
			case LieAlgorithm:
				form = o.Algorithms.of(d.o.otherHash())
			}
		}
		if raw {
			out[index] = map[int]any{1: kind, 3: value}
		} else {
			out[index] = map[int]any{1: kind, 2: []any{form, value}}
		}
	}
	return out
}

// otherHash is a measurement hash that was not negotiated.
func (o Options) otherHash() crypto.Hash {
	if o.MeasurementHash == crypto.SHA256 {
		return crypto.SHA384
	}
	return crypto.SHA256
}

// of is a hash in this form.
func (f AlgorithmForm) of(h crypto.Hash) any {
	switch f {
	case AlgorithmName:
		return algName(h)
	case AlgorithmBit:
		return measurementHashBit(h)
	}
	return map[crypto.Hash]uint64{crypto.SHA256: 1, crypto.SHA384: 7, crypto.SHA512: 8, crypto.SHA3_256: 10, crypto.SHA3_384: 11, crypto.SHA3_512: 12}[h]
}

// tokenSignature restates one SPDM signature: slot, nonces, prefix, transcript,
// base hash, signature.
func (d *Device) tokenSignature(o TokenOptions, message, nonce []byte, purpose, context string) map[int]any {
	cut := len(message) - d.o.Suite.get().size
	il1 := message[:cut]
	prefix := make([]byte, prefixSize) // the grammar wants one in SPDM 1.1 too
	if d.o.Version >= Version12 {
		prefix = signingPrefix(d.o.Version, context)
	}
	if d.o.Version >= Version12 || context == contextChallenge {
		il1 = append(d.VCA(), il1...)
	}
	slot, responder, hash := d.o.Slot, d.derive(purpose+" nonce", nonce), d.o.Suite.get().hash
	switch o.Lie {
	case LieSlot:
		slot ^= 1
	case LieRequester:
		nonce = flipped(nonce)
	case LieResponder:
		responder = flipped(responder)
	case LiePrefix:
		prefix = flipped(prefix)
	case LieHash:
		hash = 0x08
	}
	if hash == 1 && !o.HashBit {
		hash = 0
	}
	return map[int]any{1: slot, 2: nonce, 3: responder, 4: prefix, 5: il1, 6: hash, 7: message[cut:]}
}

// report restates a report in good order.
func (o TokenOptions) report(raw []byte) (map[int]any, error) {
	const head, size = 16, 16
	if o.Ranges == RangesRaw || len(raw) < head {
		return map[int]any{6: raw}, nil
	}
	n := int(le.Uint32(raw[12:]))
	if o.Ranges == RangesOne && n != 1 || len(raw) < head+n*size+4 {
		return nil, fmt.Errorf("spdm: %d MMIO ranges, of which a token has place for one", n)
	}
	out := map[int]any{1: raw[:2], 2: raw[4:6], 3: raw[6:8], 4: raw[8:12], 6: raw[head+n*size+4:]}
	list := make([]any, n)
	for i := range list {
		r := raw[head+i*size:]
		list[i] = map[int]any{1: r[:8], 2: r[8:12], 3: map[int]any{1: r[12:14], 2: r[14:16]}}
	}
	switch {
	case o.Ranges == RangesArray:
		out[5] = list
	case n == 1:
		out[5] = map[int]any{1: list[0]}
	default:
		twice, err := duplicates(list)
		if err != nil {
			return nil, err
		}
		out[5] = twice
	}
	return out, nil
}

// duplicates is a map that has every element under the key 1.
func duplicates(list []any) (cbor.RawMessage, error) {
	const maxPairs = 23
	if len(list) > maxPairs {
		return nil, fmt.Errorf("spdm: %d MMIO ranges, at most %d", len(list), maxPairs)
	}
	out := cbor.RawMessage{0xa0 | byte(len(list))}
	for _, r := range list {
		raw, err := cbor.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("spdm: %w", err)
		}
		out = append(append(out, 1), raw...)
	}
	return out, nil
}

// LegacySubmodule is a device without SPDM: the 256 bytes of its configuration
// space with vendor id and device id. address is for its name.
func LegacySubmodule(address string, vendor, device uint16) (Submodule, error) {
	config := make([]byte, 256)
	le.PutUint16(config, vendor)
	le.PutUint16(config[2:], device)
	mode, err := encoder()
	if err != nil {
		return Submodule{}, fmt.Errorf("spdm: %w", err)
	}
	raw, err := mode.Marshal(map[int]any{
		claimProfile: legacyProfile, claimPCI: map[int]any{1: config[:2], 2: config[2:4]}, claimConfigSpace: config,
	})
	if err != nil {
		return Submodule{}, fmt.Errorf("spdm: %w", err)
	}
	return Submodule{Name: "legacy-pcie:" + address, Claims: raw}, nil
}

func tokenClaims(nonce []byte, devices []Submodule) map[int]any {
	submods := map[string]cbor.RawMessage{}
	for _, d := range devices {
		submods[d.Name] = d.Claims
	}
	return map[int]any{claimNonce: nonce, claimProfile: tokenProfile, claimSubmods: submods}
}

// Token is an unprotected token (UCCS, tag 601; media type TokenUCS): whatever
// vouches for it has to be around it. nonce is the verifier's, 8 to 64 bytes.
func Token(nonce []byte, devices ...Submodule) ([]byte, error) {
	mode, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	raw, err := mode.Marshal(cbor.Tag{Number: tagUCCS, Content: tokenClaims(nonce, devices)})
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	return raw, nil
}

// SignedToken is a token under COSE_Sign1 (tag 18; media type TokenCWT) by a lead
// attester with a key of P-256 or P-384. The same input gives the same bytes.
func SignedToken(key *ecdsa.PrivateKey, nonce []byte, devices ...Submodule) ([]byte, error) {
	mode, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	payload, err := mode.Marshal(tokenClaims(nonce, devices))
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	algorithm := cose.AlgorithmES256
	if key.Curve == elliptic.P384() {
		algorithm = cose.AlgorithmES384
	}
	signer, err := cose.NewSigner(algorithm, rfc6979{key})
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	raw, err := cose.Sign1(nil, signer, cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: algorithm}}, payload, nil)
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	return raw, nil
}

// rfc6979 signs without randomness. The COSE library names no hash in opts.
type rfc6979 struct{ *ecdsa.PrivateKey }

// Sign implements crypto.Signer.
func (k rfc6979) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	h := crypto.SHA256
	if k.Curve == elliptic.P384() {
		h = crypto.SHA384
	}
	return k.PrivateKey.Sign(nil, digest, h)
}
