// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
)

const (
	// maxLists is how many revocation lists of one issuer are looked at.
	maxLists = 16
	// maxComplaints bounds what is said about documents that cannot be read.
	maxComplaints = 4
)

// store is the collateral of one bundle that is of NVIDIA. But for the index of
// CoRIMs, which is made when it is first asked for, it is immutable.
type store struct {
	// responses are all that can be read, nil with unusable, which says why none is.
	responses *ocsp.Set
	unusable  error
	// unread are responses that cannot be read.
	unread []string
	// lists are revocation lists by the DER of their issuer's name.
	lists map[string][]endorsements.RevocationList
	// tags are the manifests in XML, byVersion and byID where those are that may be
	// of a version or that lay under an identifier. Nothing of them is verified.
	tags      []endorsements.Manifest
	byVersion map[string][]int
	byID      map[string][]int

	mu     sync.Mutex
	corims []*corimManifest
	index  *corim.Index
}

// corimManifest is a manifest in the form of a CoRIM, and what became of it.
type corimManifest struct {
	endorsements.Manifest
	document *corim.Document
	err      error
	// tried is the time for which it was last loaded without success.
	tried time.Time
}

func newStore(b *endorsements.Bundle) *store {
	s := &store{lists: map[string][]endorsements.RevocationList{}, byVersion: map[string][]int{}, byID: map[string][]int{}}
	s.addResponses(b.OCSPResponses())
	for l := range b.RevocationLists() {
		if strings.Contains(l.Issuer.String(), vendor) {
			name := string(l.RawIssuer)
			s.lists[name] = append(s.lists[name], l)
		}
	}
	for _, m := range b.Manifests() {
		if m.Format == endorsements.ManifestCoRIM {
			s.corims = append(s.corims, &corimManifest{Manifest: m})
			continue
		}
		s.addTag(m)
	}
	return s
}

func (s *store) addResponses(list []endorsements.Document) {
	var all []*ocsp.Response
	for _, d := range list {
		r, err := ocsp.Parse(d.Raw)
		switch {
		case err == nil:
			all = append(all, r)
		case len(s.unread) < maxComplaints:
			s.unread = append(s.unread, fmt.Sprintf("%s: %v", d.Name, err))
		}
	}
	s.responses, s.unusable = ocsp.NewSet(all)
}

// versionText finds what a manifest may call its version. It only narrows down
// which manifests are worth verifying.
var versionText = regexp.MustCompile(`colloquialVersion\s*=\s*["']([0-9A-Za-z.]{1,64})["']`)

func (s *store) addTag(m endorsements.Manifest) {
	i := len(s.tags)
	s.tags = append(s.tags, m)
	if m.ID != "" {
		id := strings.ToUpper(m.ID)
		s.byID[id] = append(s.byID[id], i)
	}
	for _, found := range versionText.FindAllSubmatch(m.Raw, maxComplaints) {
		v := strings.ToUpper(string(found[1]))
		if !slices.Contains(s.byVersion[v], i) {
			s.byVersion[v] = append(s.byVersion[v], i)
		}
	}
}

// maxCandidates is how many manifests are verified for one device. NVIDIA issues
// one a few times, and a version of a VBIOS has one for each board.
const maxCandidates = 64

// candidates are the manifests that lay under one of the identifiers, and then
// those that may be of one of the versions.
func (s *store) candidates(ids, versions []string) []endorsements.Manifest {
	var order []int
	add := func(list []int) {
		for _, i := range list {
			same := func(n int) bool { return s.tags[n].Digest == s.tags[i].Digest }
			if len(order) < maxCandidates && !slices.ContainsFunc(order, same) {
				order = append(order, i)
			}
		}
	}
	for _, id := range ids {
		add(s.byID[strings.ToUpper(id)])
	}
	for _, v := range versions {
		if v != "" {
			add(s.byVersion[strings.ToUpper(v)])
		}
	}
	out := make([]endorsements.Manifest, len(order))
	for n, i := range order {
		out[n] = s.tags[i]
	}
	return out
}

// listKey names a revocation list and the issuer that is held against it.
func listKey(l endorsements.RevocationList, issuer *x509.Certificate) (k digest) {
	h := sha256.New()
	h.Write(l.Digest[:])
	h.Write(issuer.Raw)
	h.Sum(k[:0])
	return k
}
