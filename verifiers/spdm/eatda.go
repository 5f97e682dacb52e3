// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/assize/assize/verifiers/spdm/eatda"
)

// AssignedDevice is one device of a Device Assignment Token. Nothing of it is
// verified yet: Verify is for that.
type AssignedDevice struct {
	// Name is the device's name in the token. For a device with SPDM it follows
	// from the leaf certificate of slot 0, and was compared.
	Name string
	// Evidence is what the device itself has signed, with what it takes to verify
	// it; nil if Err is set. Interface report, name and nonce are the token's words.
	Evidence *Evidence
	// Err is an *Error: why there is nothing to verify.
	Err error
	// Contradictions are the places where the token restates what the device
	// signed, and says something else, one sentence each.
	Contradictions []string
	// Flags are the defects of the draft that were coded around.
	Flags []eatda.Flag
	// Token is the device as the token has it.
	Token *eatda.Device
}

// ConvertToken reads a Device Assignment Token (draft-poirier-rats-eat-da) and
// makes evidence of its devices. The signature around a token is not looked at:
// nothing here rests on it (decision D-79). Anchors serve to complete certificate
// chains that leave out their root; they vouch for nothing here.
//
// An error means that the token is no good as a whole. What is wrong with one
// device is in that device.
func ConvertToken(raw []byte, o eatda.Options, anchors ...*x509.Certificate) ([]AssignedDevice, error) {
	t, err := o.Decode(raw)
	if err != nil {
		return nil, tokenError(err)
	}
	out := make([]AssignedDevice, len(t.Devices))
	for i := range t.Devices {
		out[i] = assigned(&t.Devices[i], t.Nonce, anchors)
	}
	return out, nil
}

// tokenError makes an error of this package of one of the reader's.
func tokenError(err error) *Error {
	e := refuse(StageContainer, KindMalformed, "token", "no valid Device Assignment Token")
	e.Err = err
	if r := eatda.RuleOf(err); r == eatda.RuleNamespace || r == eatda.RuleProfile {
		e.Kind, e.Detail = KindUnsupported, "a Device Assignment Token of another profile"
	}
	return e
}

func assigned(d *eatda.Device, nonce []byte, anchors []*x509.Certificate) AssignedDevice {
	a := AssignedDevice{Name: d.Name, Flags: slices.Clone(d.Flags), Token: d}
	switch {
	case d.Err != nil:
		a.Err = tokenError(d.Err)
	case d.Legacy != nil:
		a.Err = refuse(StageContainer, KindUnsupported, "token", "a device without SPDM proves nothing about itself")
	default:
		c := conversion{d: d, out: &a, anchors: anchors, e: &Evidence{Nonce: nonce}}
		if a.Err = c.run(); a.Err == nil {
			a.Evidence = c.e
		}
	}
	return a
}

// conversion makes evidence of one device.
type conversion struct {
	d       *eatda.Device
	e       *Evidence
	v       *VCA
	anchors []*x509.Certificate
	out     *AssignedDevice
}

func (c *conversion) run() error {
	for _, step := range []func() error{c.negotiation, c.chains, c.name, c.report} {
		if err := step(); err != nil {
			return err
		}
	}
	return c.compare()
}

func (c *conversion) flag(d eatda.Defect, detail string) {
	if f := (eatda.Flag{Defect: d, Detail: detail}); !slices.Contains(c.out.Flags, f) {
		c.out.Flags = append(c.out.Flags, f)
	}
}

func (c *conversion) contradict(format string, args ...any) {
	c.out.Contradictions = append(c.out.Contradictions, fmt.Sprintf(format, args...))
}

// negotiation finds the negotiation messages, in the claim for them or at the
// front of what is signed, and the transcripts behind them.
func (c *conversion) negotiation() error {
	if c.d.Measured == nil && c.d.Challenge == nil {
		return refuse(StageMeasurements, KindUnsigned, "token", "the device has signed nothing in the token")
	}
	c.e.VCA = c.d.VCA
	for _, s := range []struct {
		signature *eatda.Signature
		to        *[]byte
		purpose   Purpose
	}{{c.d.Measured, &c.e.Measurements, PurposeMeasurements}, {c.d.Challenge, &c.e.Challenge, PurposeChallenge}} {
		if s.signature == nil {
			continue
		}
		vca, rest, err := SplitVCA(s.signature.IL1)
		if err != nil {
			return err
		}
		switch {
		case vca == nil && s.purpose == PurposeChallenge:
			return refuse(StageChallenge, KindUnsupported, "challenge", "M1 without the negotiation messages, of a requester that kept those of an earlier connection")
		case vca == nil && rest[0] >= byte(Version12):
			c.contradict("IL1 of the measurements lacks the negotiation messages, which SPDM %s signs", Version(rest[0]))
		case vca != nil:
			c.flag(eatda.DefectBoundary, "the negotiation was read from the front of IL1")
			if c.e.VCA == nil {
				c.e.VCA = vca
			} else if !bytes.Equal(c.e.VCA, vca) {
				c.contradict("the negotiation messages in IL1 (%s) are not those that the token has elsewhere", s.purpose)
			}
		}
		*s.to = slices.Concat(rest, s.signature.Value)
	}
	if c.e.VCA == nil {
		return refuse(StageVCA, KindMissing, "vca", "no negotiation messages in the token")
	}
	var err error
	c.v, err = ParseVCA(c.e.VCA)
	return err
}

// SplitVCA cuts the negotiation messages from the front of a transcript, nil if
// it does not begin with them. A transcript without anything behind is an error.
func SplitVCA(b []byte) (vca, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, refuse(StageVCA, KindMalformed, "transcript", "a transcript of %d bytes", len(b))
	}
	if b[0] != byte(Version10) || Code(b[1]) != CodeGetVersion {
		return nil, b, nil
	}
	r := newReader(StageVCA, "transcript", b, MaxTranscript)
	v := &VCA{}
	v.parseVersion(r)
	v.parseGetCapabilities(r)
	v.parseCapabilities(r)
	v.parseAlgorithms(r, v.parseNegotiate(r))
	switch {
	case r.err != nil:
		return nil, nil, r.err
	case r.at > MaxVCA:
		return nil, nil, refuse(StageVCA, KindMalformed, "transcript", "negotiation of %d bytes, at most %d", r.at, MaxVCA)
	case r.at == len(b):
		return nil, nil, refuse(StageVCA, KindMissing, "transcript", "nothing follows the negotiation messages")
	}
	return b[:r.at:r.at], b[r.at:], nil
}

// chains makes the structures of SPDM of chains that are bare certificates.
func (c *conversion) chains() error {
	if len(c.d.Certificates) == 0 {
		return refuse(StageChain, KindMissing, "token", "no certificates in the token")
	}
	for _, s := range []*eatda.Signature{c.d.Measured, c.d.Challenge} {
		if s != nil && c.d.Certificates[s.Slot] == nil {
			return refuse(StageChain, KindSlot, "token", "the signature names slot %d, whose chain is not in the token", s.Slot)
		}
	}
	c.e.Chains = make(map[uint8][]byte, len(c.d.Certificates))
	digests := c.chainDigests()
	for slot, raw := range c.d.Certificates {
		chain, err := chainStructure(raw, c.v, c.anchors, digests[slot])
		if err != nil {
			return err
		}
		c.e.Chains[slot] = chain
	}
	return nil
}

// chainDigests are those that the challenge has of whole chains, root hash included.
// Nothing is in a transcript that cannot be read: compare says so.
func (c *conversion) chainDigests() map[uint8][]byte {
	out := make(map[uint8][]byte)
	t, err := ParseChallengeTranscript(c.e.Challenge, c.v)
	if err != nil {
		return out
	}
	if t.Digests != nil {
		for _, s := range t.Digests.Slots {
			out[s.Number] = s.Digest
		}
	}
	out[t.Request.Slot] = t.Response.ChainHash
	return out
}

// chainStructure writes length and root hash before bare certificates. The root
// hash is that of the first certificate if this is its own issuer, else that of
// the anchor that issued it; with neither it is zero, and the chain leads nowhere.
// Of several such anchors, which have one name and key, it is the one with which the
// structure has the digest, else the first (decision D-131).
func chainStructure(raw []byte, v *VCA, anchors []*x509.Certificate, digest []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != 0x30 || raw[1] < 0x80 {
		return raw, nil
	}
	n := chainHeader + v.BaseHash.Size() + len(raw)
	if n > MaxChain || v.Version < Version14 && n > 1<<16-1 {
		return nil, refuse(StageChain, KindMalformed, "chain", "certificate chain of %d bytes", n)
	}
	with := func(root []byte) []byte {
		out := make([]byte, chainHeader, n)
		binary.LittleEndian.PutUint32(out, uint32(n)) // below 1.4 the upper half is reserved, and zero
		return append(append(out, root...), raw...)
	}
	x := firstCertificate(raw)
	if x == nil { // whoever needs this chain finds out what is wrong with it
		return with(make([]byte, v.BaseHash.Size())), nil
	}
	if bytes.Equal(x.RawIssuer, x.RawSubject) {
		return with(v.BaseHash.sum(x.Raw)), nil
	}
	var first []byte
	for _, a := range anchors {
		if !bytes.Equal(x.RawIssuer, a.RawSubject) || x.CheckSignatureFrom(a) != nil {
			continue
		}
		chain := with(v.BaseHash.sum(a.Raw))
		if bytes.Equal(v.BaseHash.sum(chain), digest) {
			return chain, nil
		}
		if first == nil {
			first = chain
		}
	}
	if first == nil {
		first = with(make([]byte, v.BaseHash.Size()))
	}
	return first, nil
}

const chainHeader = 4

// firstCertificate is nil if there is none that can be read.
func firstCertificate(chain []byte) *x509.Certificate {
	var first asn1.RawValue
	if _, err := asn1.Unmarshal(chain, &first); err != nil {
		return nil
	}
	x, err := x509.ParseCertificate(first.FullBytes)
	if err != nil {
		return nil
	}
	return x
}

// name compares the device's name with the leaf certificate of slot 0.
func (c *conversion) name() error {
	leaf, err := x509.ParseCertificate(eatda.Leaf(c.d.Certificates[0]))
	if err != nil {
		return &Error{Stage: StageChain, Kind: KindCertificate, Object: "chain 0", Offset: -1, Detail: "leaf certificate cannot be read", Err: err}
	}
	names, err := TokenNames(leaf)
	if err != nil {
		return err
	}
	if !slices.Contains(names, c.d.Name) {
		return differ(StageChain, KindContradiction, "token", "the device's name is not that of its leaf certificate", names[0], c.d.Name)
	}
	c.e.Device = names[0]
	return nil
}

// TokenNames are the names that a device with this leaf certificate may have in a
// token, the proper one first: the DMTF name if there is one, else the subject as
// in RFC 4514. The draft's example has the subject in the order of the
// certificate, where RFC 4514 has it backwards.
func TokenNames(leaf *x509.Certificate) ([]string, error) {
	device, _, err := otherNames(leaf)
	if err != nil {
		return nil, refuse(StageLeaf, KindCertificate, "leaf", "%v", err)
	}
	if device != "" {
		return []string{eatda.NamespaceSPDM + device}, nil
	}
	var subject pkix.RDNSequence
	if rest, err := asn1.Unmarshal(leaf.RawSubject, &subject); err != nil || len(rest) != 0 {
		return nil, refuse(StageLeaf, KindCertificate, "leaf", "the subject cannot be read")
	}
	if len(subject) == 0 {
		return nil, refuse(StageLeaf, KindCertificate, "leaf", "the certificate names no device")
	}
	proper := eatda.NamespaceSPDM + subject.String()
	slices.Reverse(subject)
	return []string{proper, eatda.NamespaceSPDM + subject.String()}, nil
}

// report writes the interface report as the device gave it (decision D-31). One
// that cannot be written is left out: nobody could compare it with anything.
func (c *conversion) report() error {
	p := c.d.Report
	if p == nil {
		return nil
	}
	if p.Whole() {
		if _, err := ParseReport(p.Specific); err == nil {
			c.e.Report = p.Specific
			return nil
		}
		c.flag(eatda.DefectRaw, "the device-specific information alone is no interface report, so there is none")
		return nil
	}
	raw, ok := p.Wire()
	if !ok {
		c.flag(eatda.DefectPartial, "the interface report lacks members, so it cannot be written as the device gave it")
		return nil
	}
	c.e.Report = raw
	return nil
}
