// SPDX-License-Identifier: Apache-2.0

package spdm

import "slices"

// Recorder keeps the messages of one connection that enter transcripts, by the
// rules of accumulation and reset of DSP0274. A collector feeds it every
// exchange in order, without transport headers and padding; it keeps copies.
// A message that came in chunks (CHUNK_SEND, CHUNK_GET) is given whole, as one
// exchange, and without the exchanges that carried its chunks.
//
// L1 collects GET_MEASUREMENTS exchanges and is reset by a signed one, by any
// other request and by an ERROR response. M1 starts again with every
// GET_DIGESTS and ends with CHALLENGE. GET_VERSION resets all.
//
// The zero value is ready. A Recorder checks no content: Verify does.
type Recorder struct {
	vca, m, b []byte
	// Measurements are the finished transcripts: each ends in a signed response.
	Measurements [][]byte
	// Challenges are the finished challenge transcripts.
	Challenges [][]byte
	// Digests is the last DIGESTS response, or nil.
	Digests []byte
}

// VCA returns the negotiation messages so far.
func (r *Recorder) VCA() []byte { return slices.Clone(r.vca) }

// Pending returns the measurement exchanges that no signature covers yet.
func (r *Recorder) Pending() []byte { return slices.Clone(r.m) }

// Add records one exchange. Messages shorter than a header are ignored.
func (r *Recorder) Add(request, response []byte) {
	if len(request) < 4 || len(response) < 4 {
		return
	}
	code, failed := Code(request[1]), Code(response[1]) == CodeError
	if code == CodeGetVersion {
		*r = Recorder{}
	}
	if code != CodeGetMeasurements || failed {
		r.m = nil
	}
	if failed {
		return
	}
	switch code {
	case CodeGetVersion, CodeGetCapabilities, CodeNegotiateAlgorithms:
		r.vca = append(append(r.vca, request...), response...)
	case CodeGetDigests:
		r.b = slices.Concat(request, response)
		r.Digests = slices.Clone(response)
	case CodeGetCertificate:
		r.b = append(append(r.b, request...), response...)
	case CodeChallenge:
		r.Challenges = append(r.Challenges, slices.Concat(r.b, request, response))
		r.b = nil
	case CodeGetMeasurements:
		r.m = append(append(r.m, request...), response...)
		if request[2]&1 != 0 {
			r.Measurements = append(r.Measurements, r.m)
			r.m = nil
		}
	}
}
