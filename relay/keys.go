// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/trust"
)

// Bounds of Keys, those of a node file.
const (
	maxVouched = 64
	maxSeals   = 16
)

// ChallengeSize is the size of an introduction's nonce and of its challenge in
// bytes.
const ChallengeSize = sha256.Size

// challengeDomain keeps the challenge apart from every other hash.
const challengeDomain = "assize-introduction/v1"

// Keys are the keys of one node by what they are for: thumbprints of 43
// characters (trust.Key.Thumbprint, trust.SealKey), sorted, each once in its
// list.
type Keys struct {
	// Node are 1 to 64 keys with RoleNode.
	Node []string
	// Verifiers are at most 64 keys with RoleVerifier, for any scheme.
	Verifiers []string
	// Seal are at most 16 keys that evidence is sealed to.
	Seal []string
}

// KeysOf are the keys of a node that have not expired at the time now.
func KeysOf(n trust.Node, now time.Time) (Keys, error) {
	var out Keys
	for _, k := range n.Keys.Keys() {
		if !k.NotAfter.IsZero() && now.After(k.NotAfter) {
			continue
		}
		mark, err := k.Thumbprint()
		if err != nil {
			return Keys{}, fmt.Errorf("relay: key %.64q of node %s: %w", k.KID, n.Name, err)
		}
		if slices.Contains(k.Roles, trust.RoleNode) {
			out.Node = append(out.Node, mark)
		}
		if slices.Contains(k.Roles, trust.RoleVerifier) {
			out.Verifiers = append(out.Verifiers, mark)
		}
	}
	for _, k := range n.Seal {
		if k.NotAfter.IsZero() || !now.After(k.NotAfter) {
			out.Seal = append(out.Seal, k.KID)
		}
	}
	for _, list := range []*[]string{&out.Node, &out.Verifiers, &out.Seal} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return out, nil
}

// Without are the keys that are in k and not, for the same purpose, in other.
func (k Keys) Without(other Keys) []string {
	var out []string
	for i, list := range k.lists() {
		for _, mark := range list {
			if !slices.Contains(other.lists()[i], mark) {
				out = append(out, mark)
			}
		}
	}
	return out
}

func (k Keys) lists() [3][]string { return [3][]string{k.Node, k.Verifiers, k.Seal} }

func (k Keys) check() *Error {
	if len(k.Node) == 0 || len(k.Node) > maxVouched || len(k.Verifiers) > maxVouched || len(k.Seal) > maxSeals {
		return fail(CheckKeys, "%d node keys, %d verifier keys and %d seal keys: want 1 to %d, at most %d and at most %d",
			len(k.Node), len(k.Verifiers), len(k.Seal), maxVouched, maxVouched, maxSeals)
	}
	for _, list := range k.lists() {
		for i, mark := range list {
			if !thumbprint(mark) || i > 0 && list[i-1] >= mark {
				return fail(CheckKeys, "%.64q is no thumbprint, is there twice or not in its place", mark)
			}
		}
	}
	return nil
}

// Mark is the SHA-256 of the three lists, framed as for Challenge.
func (k Keys) Mark() [sha256.Size]byte { return [sha256.Size]byte(k.hash(nil)) }

// Challenge is what the evidence of the node that introduces itself has to
// answer: the SHA-256 over the text "assize-introduction/v1", nonce, the name
// of the node that asks and that of the node that answers, each behind its
// length in bytes, and the lists of k, each behind its number of entries and
// each entry behind its length. Numbers are 32-bit big-endian integers. So the
// evidence speaks for these keys, to this asker, once.
func (k Keys) Challenge(nonce []byte, asker, answerer string) []byte {
	return k.hash([][]byte{[]byte(challengeDomain), nonce, []byte(asker), []byte(answerer)})
}

func (k Keys) hash(fields [][]byte) []byte {
	h := sha256.New()
	number := func(n int) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(n))
		h.Write(b[:])
	}
	text := func(b []byte) {
		number(len(b))
		h.Write(b)
	}
	for _, f := range fields {
		text(f)
	}
	for _, list := range k.lists() {
		number(len(list))
		for _, mark := range list {
			text([]byte(mark))
		}
	}
	return h.Sum(nil)
}
