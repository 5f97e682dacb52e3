// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"fmt"
)

// Exchange is one GET_MEASUREMENTS with its MEASUREMENTS.
type Exchange struct {
	Request  *GetMeasurements
	Response *Measurements
}

// Segment is a run of exchanges that ends in a signed one: the messages that one
// signature covers.
type Segment struct {
	// Offset is where the segment starts in the transcript, in bytes.
	Offset    int
	Exchanges []Exchange
	// Signed are the messages without the last signature: M of L1/L2.
	Signed []byte
}

// Last returns the exchange that carries the signature.
func (s *Segment) Last() Exchange { return s.Exchanges[len(s.Exchanges)-1] }

// L1 returns the parts whose concatenation the signature covers: VCA and M from
// 1.2, M alone before (DSP0274, L1/L2).
func (s *Segment) L1(v *VCA) [][]byte {
	if v.Version < Version12 {
		return [][]byte{s.Signed}
	}
	return [][]byte{v.Raw, s.Signed}
}

// ParseMeasurementTranscript splits concatenated GET_MEASUREMENTS and
// MEASUREMENTS messages, without VCA and without padding, into segments. Every
// byte belongs to a message, and every message to a signature; ERROR responses
// and other requests reset L1 and have no place here (see Recorder). A
// transcript whose last response is not signed is KindUnsigned.
func ParseMeasurementTranscript(b []byte, v *VCA) ([]Segment, error) {
	r := newReader(StageMeasurements, "measurements", b, MaxTranscript)
	if r.err == nil && len(b) == 0 {
		return nil, refuse(StageMeasurements, KindMissing, "measurements", "no measurements")
	}
	var out []Segment
	current := Segment{}
	for n := 0; r.more(); n++ {
		if n == MaxExchanges {
			r.fail(KindMalformed, r.at, nil, nil, "more than %d exchanges", MaxExchanges)
			break
		}
		e := Exchange{Request: parseGetMeasurements(r, v)}
		e.Response = parseMeasurements(r, v, e.Request)
		if r.err != nil {
			break
		}
		current.Exchanges = append(current.Exchanges, e)
		if e.Request.Signed {
			current.Signed = b[current.Offset : r.at-len(e.Response.Signature)]
			out = append(out, current)
			current = Segment{Offset: r.at}
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if len(current.Exchanges) != 0 {
		return nil, &Error{Stage: StageMeasurements, Kind: KindUnsigned, Object: "measurements", Offset: current.Offset,
			Detail: fmt.Sprintf("no signature covers the last %d exchanges", len(current.Exchanges))}
	}
	return out, nil
}

// ChallengeTranscript is what a CHALLENGE_AUTH signature covers, without VCA.
type ChallengeTranscript struct {
	// Digests is nil if the requester did not ask for it.
	Digests *Digests
	// Certificates are the exchanges that read certificate chains.
	Certificates []CertificateExchange
	Request      *Challenge
	Response     *ChallengeAuth
	// Signed are the messages without the signature: B and C of M1/M2.
	Signed []byte
}

// CertificateExchange is one GET_CERTIFICATE with its CERTIFICATE.
type CertificateExchange struct {
	Request  *GetCertificate
	Response *Certificate
}

// M1 returns the parts whose concatenation the signature covers. The VCA is part
// of it in every version (DSP0274, M1/M2).
func (c *ChallengeTranscript) M1(v *VCA) [][]byte { return [][]byte{v.Raw, c.Signed} }

// ParseChallengeTranscript splits concatenated messages without padding: at most
// one GET_DIGESTS with DIGESTS, then any number of GET_CERTIFICATE with
// CERTIFICATE, then CHALLENGE and CHALLENGE_AUTH. A second GET_DIGESTS would
// restart M1, so what stands before it would not be signed: it is refused.
func ParseChallengeTranscript(b []byte, v *VCA) (*ChallengeTranscript, error) {
	r := newReader(StageChallenge, "challenge", b, MaxTranscript)
	c := &ChallengeTranscript{}
	if next(r) == CodeGetDigests {
		parseGetDigests(r, v)
		c.Digests = parseDigests(r, v)
	}
	for next(r) == CodeGetCertificate {
		if len(c.Certificates) == MaxExchanges {
			r.fail(KindMalformed, r.at, nil, nil, "more than %d exchanges", MaxExchanges)
			break
		}
		e := CertificateExchange{Request: parseGetCertificate(r, v)}
		e.Response = parseCertificate(r, v, e.Request)
		c.Certificates = append(c.Certificates, e)
	}
	c.Request = parseChallenge(r, v)
	c.Response = parseChallengeAuth(r, v, c.Request)
	c.Signed = b[:max(r.at-len(c.Response.Signature), 0)]
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

// next returns the code of the next message, 0 if there is none.
func next(r *reader) Code {
	c, _ := r.peek(1)
	return Code(c)
}

// checkChains compares what the transcript read with the given chains: digests
// and every portion. A chain that was not given is not compared.
func (c *ChallengeTranscript) checkChains(v *VCA, chains map[uint8][]byte) error {
	for i, e := range c.Certificates {
		chain, ok := chains[e.Request.Slot]
		if !ok {
			continue
		}
		portion, offset := e.Response.Portion, uint64(e.Request.Offset)
		if e.Request.SizeOnly {
			offset = 0
		}
		end := offset + uint64(len(portion))
		if end+uint64(e.Response.Remainder) != uint64(len(chain)) {
			return differ(StageChallenge, KindContradiction, "challenge", fmt.Sprintf("length of chain %d by CERTIFICATE exchange %d", e.Request.Slot, i),
				len(chain), end+uint64(e.Response.Remainder))
		}
		if !bytes.Equal(chain[offset:end], portion) {
			return refuse(StageChallenge, KindContradiction, "challenge", "CERTIFICATE exchange %d is not part of chain %d", i, e.Request.Slot)
		}
		if m := e.Response.Model; m != ModelNone && c.Digests != nil && c.Digests.MultiKey {
			if s, ok := c.Digests.Slot(e.Request.Slot); ok && s.Model != m {
				return differ(StageChallenge, KindContradiction, "challenge", fmt.Sprintf("certificate model of slot %d in DIGESTS and CERTIFICATE", s.Number), s.Model, m)
			}
		}
	}
	return nil
}
