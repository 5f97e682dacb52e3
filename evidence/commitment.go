// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
)

const (
	// CommitmentRule is the name of the profile in plans and results: the
	// report data of the CPU TEE is a Commitment (decision D-28).
	CommitmentRule = "cmw-bind-v1"
	// BoundCollection is the collection type of a composite whose CPU TEE
	// commits to everything else in it. A composite that says so and does not
	// is refused; one that does and does not say so answers no challenge.
	BoundCollection = "tag:github.com,2026:assize/bound"
	// CommitmentSize is the size of a commitment in bytes: the report data of
	// TDX, SEV-SNP and CCA.
	CommitmentSize = sha512.Size
)

// LeafDigest is the SHA-384 of the value of a leaf.
type LeafDigest = [sha512.Size384]byte

// Commitment is what the challenges in a composite that declares a convention
// depend on: with ours, what the report data of the CPU TEE commits to.
type Commitment struct {
	// Convention is that of the composite; "" is ConventionAssize.
	Convention string
	// Runtime is the canonical text of the runtime data, nil where the convention
	// has none. Additional is the text of the additional evidence, which is at hand
	// only together with the evidence: it is in no verdict.
	Runtime, Additional []byte
	// Nonce is the session nonce, unchanged.
	Nonce []byte
	// Leaves are the digests of every leaf but that of the CPU TEE itself, by
	// their label paths.
	Leaves map[Path]LeafDigest
	// Signer is the RFC 7638 SHA-256 thumbprint in base64url of the key that
	// signs the composite, "" where it is not signed.
	Signer string
}

// Sum is SHA-512 over the text "cmw-bind-v1", a zero byte, and the core
// deterministic CBOR (RFC 8949 section 4.2.1) of
//
//	[ nonce: bstr, leaves: { * label path: tstr => digest: bstr .size 48 }, signer: bstr .size 32 / null ]
//
// (decision D-28), whatever the convention is. It fails for a signer that is no
// thumbprint.
func (c Commitment) Sum() ([CommitmentSize]byte, error) {
	msg := append([]byte(CommitmentRule), 0)
	msg = appendBytes(appendHead(msg, 4, 3), 2, c.Nonce)
	type pair struct{ key, digest []byte }
	pairs := make([]pair, 0, len(c.Leaves))
	for path, digest := range c.Leaves {
		pairs = append(pairs, pair{appendBytes(nil, 3, []byte(path)), digest[:]})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	msg = appendHead(msg, 5, uint64(len(pairs)))
	for _, p := range pairs {
		msg = appendBytes(append(msg, p.key...), 2, p.digest)
	}
	if c.Signer == "" {
		return sha512.Sum512(append(msg, 0xf6)), nil // null
	}
	thumb, err := base64.RawURLEncoding.Strict().DecodeString(c.Signer)
	if err != nil || len(thumb) != 32 {
		return [CommitmentSize]byte{}, fmt.Errorf("evidence: signer %q is no SHA-256 thumbprint", c.Signer)
	}
	return sha512.Sum512(appendBytes(msg, 2, thumb)), nil
}

// Commits reports whether the composite says that its CPU TEE commits to the
// rest of it, as our convention has it.
func (t *Tree) Commits() bool { return t.root.Content().CollectionType() == BoundCollection }

// LeafDigests are the digests of all leaves by path. It is safe for concurrent
// use; the map is the caller's.
func (t *Tree) LeafDigests() map[Path]LeafDigest { return maps.Clone(t.leafDigests()) }

func (t *Tree) hashLeaves() map[Path]LeafDigest {
	out := make(map[Path]LeafDigest, len(t.leaves))
	for _, l := range t.leaves {
		out[l.path] = sha512.Sum384(l.value)
	}
	return out
}

// LeadSigner is the thumbprint of the verified key that signed the whole
// composite, "" without one.
func (t *Tree) LeadSigner() string {
	if s := t.root.Content().Signer(); s != nil && s.Verified {
		return s.Thumbprint
	}
	return ""
}
