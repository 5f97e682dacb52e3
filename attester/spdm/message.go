// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	_ "crypto/sha256" // hashes used through crypto.Hash
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
	capMeasSigned = 1 << 4 // value 10 of the two-bit field at 3
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
)

const (
	transferSize   = 0x1200  // DataTransferSize, bytes
	maxMessageSize = 0x28000 // MaxSPDMmsgSize, bytes
	opaqueFormat1  = 0x02    // OtherParams: general opaque data format 1
	multiKeyConn   = 0x10    // OtherParams: multi-key connection
	keyUsage       = 0x000f  // key exchange, challenge, measurement, endpoint info
	summaryAll     = 0xff    // measurement summary over all blocks
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
	}
	return 0
}

// algorithms are the negotiated bits of a suite: base asymmetric algorithm,
// base hash, Diffie-Hellman group.
func (s Suite) algorithms() (asym, hash uint32, dhe uint16) {
	if s == SuiteP256 {
		return 0x10, 0x01, 0x08
	}
	return 0x80, 0x02, 0x10
}

// vca is GET_VERSION … ALGORITHMS, six messages without padding.
func vca(o Options) []byte {
	v := byte(o.Version)
	out := []byte{0x10, codeGetVersion, 0, 0}
	out = append(out, 0x10, codeVersion, 0, 0, 0, 1, 0, v)
	out = capabilities(out, o, codeGetCapabilities, requesterFlags(o))
	out = capabilities(out, o, codeCapabilities, responderFlags(o))
	out = negotiate(out, o)
	return algorithms(out, o)
}

func requesterFlags(o Options) uint32 {
	flags := uint32(capEncrypt | capMAC | capKeyEx | capKeyUpdate)
	if o.Version >= Version12 {
		flags |= capChunk
	}
	if o.MultiKey {
		flags |= capMultiKey
	}
	return flags
}

func responderFlags(o Options) uint32 {
	flags := requesterFlags(o) | capCert | capChallenge | capMeasSigned | capMeasFresh
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
	asym, hash, _ := o.Suite.algorithms()
	out = append(out, byte(o.Version), codeNegotiate, 4, 0)
	out = le.AppendUint16(out, 48)
	out = append(out, 1, otherParams(o))
	out = le.AppendUint32(out, asym)
	out = le.AppendUint32(out, hash)
	out = append(out, make([]byte, 15)...) // post-quantum set, reserved, no extended algorithms
	out = append(out, melSpecification(o))
	return tables(out, 0x18, 0x02, 0x90)
}

// algorithms appends ALGORITHMS, 52 bytes. No requester algorithm is selected
// because neither side offers mutual authentication.
func algorithms(out []byte, o Options) []byte {
	asym, hash, dhe := o.Suite.algorithms()
	out = append(out, byte(o.Version), codeAlgorithms, 4, 0)
	out = le.AppendUint16(out, 52)
	out = append(out, 1, otherParams(o))
	out = le.AppendUint32(out, measurementHashBit(o.MeasurementHash))
	out = le.AppendUint32(out, asym)
	out = le.AppendUint32(out, hash)
	out = append(out, make([]byte, 11)...) // post-quantum selection, reserved
	out = append(out, melSpecification(o), 0, 0, 0, 0)
	return tables(out, dhe, 0x02, 0)
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
		out = append(out, sum(o.Suite.hash(), chains[s])...)
	}
	if !o.MultiKey {
		return out
	}
	for i := range o.Slots {
		out = append(out, byte(i+1))
	}
	for range o.Slots {
		out = append(out, o.model())
	}
	for range o.Slots {
		out = le.AppendUint16(out, keyUsage)
	}
	return out
}

func slotMask(slots []uint8) (mask byte) {
	for _, s := range slots {
		mask |= 1 << s
	}
	return mask
}

// certificateExchanges is B: GET_DIGESTS, DIGESTS, then one GET_CERTIFICATE
// and one CERTIFICATE per provisioned slot, each chain in one portion.
func certificateExchanges(o Options, chains map[uint8][]byte, digests []byte) []byte {
	v := byte(o.Version)
	out := append([]byte{v, codeGetDigests, 0, 0}, digests...)
	for _, s := range o.Slots {
		out = append(out, v, codeGetCertificate, s, 0, 0, 0, 0xff, 0xff)
		model := byte(0)
		if o.MultiKey {
			model = o.model()
		}
		out = append(out, v, codeCertificate, s, model)
		out = le.AppendUint16(out, uint16(len(chains[s])))
		out = append(out, 0, 0)
		out = append(out, chains[s]...)
	}
	return out
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
