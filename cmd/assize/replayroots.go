// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// replayRoot is a file of trust anchors that a verdict was made with.
type replayRoot struct {
	Name   string `json:"name"`
	Digest string `json:"sha256"`
	// Use is given, included or unused.
	Use string `json:"use"`
}

// Values of replayRoot.Use: the caller has named the file, or told us to believe the
// bundle; or nobody has, so that it is not believed.
const (
	rootsGiven    = "given"
	rootsIncluded = "included"
	rootsUnused   = "unused"
)

// loadRoots finds the trust anchors beyond those that are built in. What a bundle
// brings is believed only where the caller says so, with the same file or with
// --use-included-roots.
func (p *replay) loadRoots() error {
	given := map[[sha256.Size]byte][]byte{}
	for n, file := range append([]string{p.flags.trust}, p.flags.attesters...) {
		if file == "" {
			continue
		}
		raw, err := readFile(file, trust.MaxRoots)
		if err != nil {
			return err
		}
		digest := sha256.Sum256(raw)
		listed := func(i verdict.Item) bool {
			return i.Kind == verdict.ItemRoots && i.Digest == digest && (i.MediaType == itemRoots) == (n == 0)
		}
		if !slices.ContainsFunc(p.bundle.Items, listed) {
			return fmt.Errorf("the verdict was made without %s (sha-256 %x)", file, digest)
		}
		given[digest] = raw
	}
	p.roots = &trust.Roots{}
	var sets []*trust.Anchors
	for _, i := range p.bundle.Items {
		if i.Kind != verdict.ItemRoots {
			continue
		}
		use, raw := rootsGiven, given[i.Digest]
		switch {
		case raw != nil:
		case p.flags.replay.roots && i.Value != nil:
			use, raw = rootsIncluded, i.Value
		default:
			use = rootsUnused
		}
		p.report.Roots = append(p.report.Roots, replayRoot{i.Name, fmt.Sprintf("%x", i.Digest), use})
		if raw == nil {
			continue
		}
		attesters, err := p.believe(i.MediaType, raw)
		if err != nil {
			return fmt.Errorf("%s of the bundle: %w", i.Name, err)
		}
		sets = append(sets, attesters)
	}
	var err error
	p.roots.Attesters, err = trust.Merge(sets...)
	return err
}

// believe takes the anchors of one file and returns those of lead attesters.
func (p *replay) believe(mediaType string, raw []byte) (*trust.Anchors, error) {
	if mediaType != itemRoots {
		return trust.ParseJWKS(raw)
	}
	if p.roots.Schemes != nil {
		return nil, fmt.Errorf("two files of extra roots")
	}
	roots, err := trust.ParseRoots(raw)
	if err != nil {
		return nil, err
	}
	p.roots.Schemes, p.simulated = roots.Schemes, true
	p.log.Warn("extra roots are trusted for this replay: evidence of simulated machines passes")
	return roots.Attesters, nil
}

// signedHere is the word for a verdict that this node has signed.
const signedHere = "own"

// signature says whether this node has signed the recorded verdict: own, or unknown,
// for the keys come with the bundle.
func (p *replay) signature() string {
	own, err := newKeystore(p.config.StateDir).read(leadKey)
	if err != nil {
		return "unknown"
	}
	k, ok := p.keys.Lead(p.recorded.KID, p.clock)
	pub, comparable := k.Public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || own.KID() != k.KID || !comparable || !pub.Equal(own.Key(leadKey, nil, trust.RoleLead).Public) {
		return "unknown"
	}
	return signedHere
}
