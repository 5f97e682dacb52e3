// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // hashes used through crypto.Hash
	_ "crypto/sha3"   // hashes used through crypto.Hash
	_ "crypto/sha512" // hashes used through crypto.Hash
	"encoding/binary"
)

// Request and response codes (DSP0274, table of SPDM request and response codes).
const (
	codeGetVersion      = 0x84
	codeVersion         = 0x04
	codeGetCapabilities = 0xe1
	codeCapabilities    = 0x61
	codeNegotiate       = 0xe3
	codeAlgorithms      = 0x63
	codeGetDigests      = 0x81
	codeDigests         = 0x01
	codeGetCertificate  = 0x82
	codeCertificate     = 0x02
	codeChallenge       = 0x83
	codeChallengeAuth   = 0x03
	codeGetMeasurements = 0xe0
	codeMeasurements    = 0x60
)

// Capability flags (DSP0274, flag fields of GET_CAPABILITIES and CAPABILITIES).
const (
	capCert       = 1 << 1
	capChallenge  = 1 << 2
	capMeas       = 1 << 3 // value 01 of the two-bit field at 3: without signature
	capMeasSigned = 1 << 4 // value 10
	capMeasFresh  = 1 << 5
	capEncrypt    = 1 << 6
	capMAC        = 1 << 7
	capKeyEx      = 1 << 9
	capKeyUpdate  = 1 << 14
	capChunk      = 1 << 17
	capAlias      = 1 << 18
	capMEL        = 1 << 24
	capMultiKey   = 1 << 27 // value 10 of the two-bit field at 26: negotiable
	capKeyPair    = 1 << 28
	capLarge      = 1 << 31
)

const (
	transferSize   = 0x1200  // DataTransferSize, bytes
	maxMessageSize = 0x28000 // MaxSPDMmsgSize, bytes
	opaqueFormat1  = 0x02    // OtherParams: general opaque data format 1
	multiKeyConn   = 0x10    // OtherParams: multi-key connection
	keyUsage       = 0x000f  // key exchange, challenge, measurement, endpoint info
	usageMeasure   = 0x0004  // measurement alone
	largeForm      = 0x80    // GET_CERTIFICATE, CERTIFICATE: 32-bit numbers (1.4)
)

var le = binary.LittleEndian

func sum(h crypto.Hash, parts ...[]byte) []byte {
	w := h.New()
	for _, p := range parts {
		w.Write(p)
	}
	return w.Sum(nil)
}

func measurementHashBit(h crypto.Hash) uint32 {
	switch h {
	case crypto.SHA256:
		return 0x02
	case crypto.SHA384:
		return 0x04
	case crypto.SHA512:
		return 0x08
	case crypto.SHA3_256:
		return 0x10
	case crypto.SHA3_384:
		return 0x20
	case crypto.SHA3_512:
		return 0x40
	}
	return 0
}

// vca is GET_VERSION … ALGORITHMS, six messages without padding.
func vca(o Options) []byte {
	v := byte(o.Version)
	out := []byte{0x10, codeGetVersion, 0, 0}
	out = append(out, 0x10, codeVersion, 0, 0, 0)
	switch {
	case o.has(Downgrade):
		out = append(out, 2, 0, v, 0, v+1)
	case o.has(VersionNotOffered):
		out = append(out, 1, 0, v-1)
	default:
		out = append(out, 1, 0, v)
	}
	start := len(out)
	out = capabilities(out, o, codeGetCapabilities, requesterFlags(o))
	if o.has(VCAVersion) {
		out[start]--
	}
	out = capabilities(out, o, codeCapabilities, responderFlags(o))
	out = algorithms(negotiate(out, o), o)
	if o.has(VCAPadding) {
		out = append(out, 0, 0)
	}
	return out
}

func requesterFlags(o Options) uint32 {
	flags := uint32(capEncrypt | capMAC | capKeyEx | capKeyUpdate)
	if o.Version >= Version12 {
		flags |= capChunk
	}
	if o.MultiKey {
		flags |= capMultiKey
	}
	if o.Version >= Version14 {
		flags |= capLarge
	}
	return flags
}

func responderFlags(o Options) uint32 {
	flags := requesterFlags(o) | capCert | capChallenge | capMeasFresh
	if o.has(Unsigned) {
		flags |= capMeas
	} else {
		flags |= capMeasSigned
	}
	if o.Alias {
		flags |= capAlias
	}
	if o.Version >= Version13 {
		flags |= capMEL
	}
	if o.MultiKey {
		flags |= capKeyPair
	}
	return flags
}

// capabilities appends a message of 12 bytes (1.1) or 20 bytes (from 1.2).
func capabilities(out []byte, o Options, code byte, flags uint32) []byte {
	out = append(out, byte(o.Version), code, 0, 0, 0, 0, 0, 0)
	out = le.AppendUint32(out, flags)
	if o.Version >= Version12 {
		out = le.AppendUint32(out, transferSize)
		out = le.AppendUint32(out, maxMessageSize)
	}
	return out
}

func otherParams(o Options) byte {
	var p byte
	if o.Version >= Version12 {
		p |= opaqueFormat1
	}
	if o.MultiKey {
		p |= multiKeyConn
	}
	return p
}

func melSpecification(o Options) byte {
	if o.Version >= Version13 {
		return 1
	}
	return 0
}

// negotiate appends NEGOTIATE_ALGORITHMS with four algorithm tables, 48 bytes.
func negotiate(out []byte, o Options) []byte {
	asym, hash := o.Suite.get().asym, o.Suite.get().hash
	if o.has(AlgorithmNotOffered) {
		asym = 0x90 &^ asym // P-256 and P-384 but for the selected one
	}
	if o.has(TwoAlgorithms) {
		hash |= 0x07
	}
	out = append(out, byte(o.Version), codeNegotiate, 4, 0)
	out = le.AppendUint16(out, 48)
	out = append(out, 1, otherParams(o))
	out = le.AppendUint32(out, asym)
	out = le.AppendUint32(out, hash)
	out = append(out, make([]byte, 15)...) // post-quantum set, reserved, no extended algorithms
	out = append(out, melSpecification(o))
	return tables(out, 0x18|o.Suite.get().dhe, 0x02, 0x90)
}

// algorithms appends ALGORITHMS, 52 bytes. No requester algorithm is selected
// because neither side offers mutual authentication.
func algorithms(out []byte, o Options) []byte {
	sel := o.Suite.get()
	if o.has(TwoAlgorithms) {
		sel.hash = 0x07 &^ 0x04
	}
	out = append(out, byte(o.Version), codeAlgorithms, 4, 0)
	out = le.AppendUint16(out, 52)
	out = append(out, 1, otherParams(o))
	out = le.AppendUint32(out, measurementHashBit(o.MeasurementHash))
	out = le.AppendUint32(out, sel.asym)
	out = le.AppendUint32(out, sel.hash)
	out = append(out, make([]byte, 11)...) // post-quantum selection, reserved
	out = append(out, melSpecification(o), 0, 0, 0, 0)
	return tables(out, sel.dhe, 0x02, 0)
}

// tables appends the structures for DHE group, AEAD suite, requester
// signatures and key schedule; 0x20 means two fixed bytes, none extended.
func tables(out []byte, dhe, aead, requester uint16) []byte {
	for i, v := range []uint16{dhe, aead, requester, 1} {
		out = append(out, byte(2+i), 0x20)
		out = le.AppendUint16(out, v)
	}
	return out
}

// digests is the DIGESTS response; multi-key connections add key pair ids,
// certificate models and key usages.
func digests(o Options, chains map[uint8][]byte) []byte {
	mask := slotMask(o.Slots)
	out := []byte{byte(o.Version), codeDigests, 0, mask}
	if o.Version >= Version13 {
		out[2] = mask
	}
	for _, s := range o.Slots {
		digest := sum(o.Suite.hash(), chains[s])
		if s == o.Slot && o.has(DigestsFault) {
			digest[0] ^= 1
		}
		out = append(out, digest...)
	}
	if !o.MultiKey {
		return out
	}
	for i := range o.Slots {
		out = append(out, byte(i+1))
	}
	for _, s := range o.Slots {
		out = append(out, o.model(s))
	}
	for _, s := range o.Slots {
		usage := uint16(keyUsage)
		if s == o.Slot && o.has(KeyUsage) {
			usage &^= usageMeasure
		}
		out = le.AppendUint16(out, usage)
	}
	return out
}

func slotMask(slots []uint8) (mask byte) {
	for _, s := range slots {
		mask |= 1 << s
	}
	return mask
}

// certificateExchanges is B: GET_DIGESTS, DIGESTS, then GET_CERTIFICATE and
// CERTIFICATE for every provisioned slot.
func certificateExchanges(o Options, chains map[uint8][]byte, digests []byte) []byte {
	out := append([]byte{byte(o.Version), codeGetDigests, 0, 0}, digests...)
	for _, s := range o.Slots {
		chain := chains[s]
		if s == o.Slot && o.has(ChallengeChain) {
			chain = bytes.Clone(chain)
			chain[len(chain)-1] ^= 1
		}
		portion := len(chain)
		if o.Portion != 0 {
			portion = int(o.Portion)
		}
		for at := 0; at < len(chain); at += portion {
			out = certificate(out, o, s, chain, at, portion)
		}
	}
	return out
}

// certificate is one GET_CERTIFICATE and CERTIFICATE, in the large form from 1.4
// on.
func certificate(out []byte, o Options, slot uint8, chain []byte, at, portion int) []byte {
	v, model := byte(o.Version), byte(0)
	if o.MultiKey {
		model = o.model(slot)
	}
	n := min(portion, len(chain)-at)
	rest := len(chain) - at - n
	if o.Version < Version14 {
		out = append(out, v, codeGetCertificate, slot, 0)
		out = le.AppendUint16(le.AppendUint16(out, uint16(at)), 0xffff)
		out = append(out, v, codeCertificate, slot, model)
		out = le.AppendUint16(le.AppendUint16(out, uint16(n)), uint16(rest))
		return append(out, chain[at:at+n]...)
	}
	out = append(out, v, codeGetCertificate, slot|largeForm, 0, 0, 0, 0, 0)
	out = le.AppendUint32(le.AppendUint32(out, uint32(at)), 0xffff_ffff)
	out = append(out, v, codeCertificate, slot|largeForm, model, 0, 0, 0, 0)
	out = le.AppendUint32(le.AppendUint32(out, uint32(n)), uint32(rest))
	return append(out, chain[at:at+n]...)
}

// opaque is the opaque data of a signed response with its length: empty, or
// format 1 with one element of the DMTF registry (id 0, no vendor id).
func opaque(o Options) []byte {
	if !o.Opaque {
		return []byte{0, 0}
	}
	text := "assize simulated device"
	data := []byte{1, 0, 0, 0, 0, 0}
	data = le.AppendUint16(data, uint16(len(text)))
	data = append(data, text...)
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	return append(le.AppendUint16(nil, uint16(len(data))), data...)
}

// signingPrefix is the 100 bytes in front of the transcript hash from SPDM 1.2
// on: four times the version text, zeros, context; 36 bytes for the last two.
func signingPrefix(v Version, context string) []byte {
	out := make([]byte, 0, 100)
	for range 4 {
		out = append(out, "dmtf-spdm-v1."...)
		out = append(out, '0'+byte(v)&0x0f, '.', '*')
	}
	out = append(out, make([]byte, 36-len(context))...)
	return append(out, context...)
}
