// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
)

const (
	// MaxResponses is how many different responses a Set may hold: three for each
	// of some ten thousand devices.
	MaxResponses = 1 << 16
	// MaxPerCertificate is how many of them may be about one certificate under one
	// kind of digest. It bounds what one check costs.
	MaxPerCertificate = 16
)

// Set finds responses by the certificate that they are about. It is immutable and
// safe for concurrent use.
type Set struct {
	byID map[certID][]*Response // newest thisUpdate first
	used [len(hashes)]bool      // which digests occur
	all  int
}

// NewSet indexes responses. The same bytes twice count once. More than
// MaxResponses, or more than MaxPerCertificate about one certificate, are an
// error: leaving one out could be leaving out a revocation.
func NewSet(responses []*Response) (*Set, error) {
	s := &Set{byID: map[certID][]*Response{}}
	seen := map[[32]byte]bool{}
	for _, r := range responses {
		if seen[r.digest] {
			continue
		}
		seen[r.digest] = true
		if s.all++; s.all > MaxResponses {
			return nil, fmt.Errorf("ocsp: more than %d responses", MaxResponses)
		}
		if len(s.byID[r.id]) == MaxPerCertificate {
			return nil, fmt.Errorf("ocsp: more than %d responses about the certificate with serial number %s", MaxPerCertificate, r.Serial())
		}
		s.byID[r.id] = append(s.byID[r.id], r)
		for i, h := range hashes {
			s.used[i] = s.used[i] || h.hash == r.id.hash
		}
	}
	for _, list := range s.byID {
		slices.SortStableFunc(list, newestFirst)
	}
	return s, nil
}

func newestFirst(a, b *Response) int { return b.this.Compare(a.this) }

// Len is the number of different responses.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.all
}

// about finds the responses about a certificate, the newest first.
func (s *Set) about(cert, issuer *x509.Certificate) ([]*Response, error) {
	if s == nil {
		return nil, nil
	}
	var out []*Response
	for i, h := range hashes {
		if !s.used[i] {
			continue
		}
		id, err := idOf(cert, issuer, h.hash)
		if err != nil {
			return nil, err
		}
		out = append(out, s.byID[id]...)
	}
	slices.SortStableFunc(out, newestFirst)
	return out, nil
}

// Has tells whether there is any response about a certificate under a digest, so
// that a fetcher knows what is still to be asked. It says nothing about its worth.
func (s *Set) Has(cert, issuer *x509.Certificate, hash crypto.Hash) bool {
	if _, ok := oidOfHash(hash); !ok || s == nil {
		return false
	}
	id, err := idOf(cert, issuer, hash)
	return err == nil && len(s.byID[id]) > 0
}
