// SPDX-License-Identifier: Apache-2.0

package armtoken

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
)

// Names of the findings of Verify, which every scheme that calls it declares.
const (
	FindingNoKey       = "no-key"
	FindingKeyUnsigned = "key-unsigned"
)

const (
	// maxAnchors is how many keys of one device are tried.
	maxAnchors = 8
	maxKeys    = 4096
	maxTokens  = 1024
)

// Device is the environment of one device: implementation id as class, UEID as
// instance. It is both where its key is looked up, and its name for reference
// values, which speak of the class alone.
func Device(implementation, instance []byte) corim.Environment {
	return corim.Environment{
		Class:    corim.Class{ID: corim.TaggedBytes(corim.TagBytes, implementation)},
		Instance: corim.TaggedBytes(corim.TagUEID, instance),
	}
}

// Anchor is a key that a document states for one device.
type Anchor struct {
	Key *ecdsa.PublicKey
	// SPKI is the DER of the key, Digest its SHA-256 in hexadecimal digits.
	SPKI   []byte
	Digest string
	// Source is the statement.
	Source corim.Source
}

// Keys finds keys of devices in reference documents. It remembers parsed keys, and
// messages whose signature held: of neither does anything depend on time. Whether
// a document holds is asked of the index every time. It is safe for concurrent
// use.
type Keys struct {
	parsed *lru.Cache[Anchor] // without Source
	held   *lru.Cache[struct{}]
}

// NewKeys makes an empty Keys.
func NewKeys() *Keys {
	return &Keys{parsed: lru.New[Anchor](maxKeys), held: lru.New[struct{}](maxTokens)}
}

// Missing says why there is no key: the finding, and a sentence.
type Missing struct{ Finding, Detail string }

// Search is for the key of one device.
type Search struct {
	// Index is nil where no documents were given.
	Index  *corim.Index
	Time   time.Time
	Device corim.Environment
	// Unsigned lets documents count that nobody has signed.
	Unsigned bool
	// Foreign are profiles of documents about devices of another kind, which have
	// names of the same form: a key of theirs vouches for nothing here.
	Foreign []string
}

// name is the device for people, whole: somebody has to find it in a document.
func (s *Search) name() string {
	return fmt.Sprintf("implementation %x, instance %x", s.Device.Class.ID.Data, s.Device.Instance.Data)
}

// Verify looks for the key that has signed a message. Exactly one of the results
// says something: the key, why there is none, or that no key of the device made
// this signature.
func (k *Keys) Verify(m *Sign1, s Search) (Anchor, *Missing, *Failure) {
	signed, unsigned, unusable := k.find(s)
	list := signed
	if s.Unsigned {
		list = append(list, unsigned...)
	}
	if len(list) == 0 {
		if len(unsigned) > 0 {
			return Anchor{}, &Missing{FindingKeyUnsigned, fmt.Sprintf("the attestation key of %s is in a document that nobody has signed, %s, so nothing proves what the token says",
				s.name(), unsigned[0].Source)}, nil
		}
		return Anchor{}, &Missing{FindingNoKey, fmt.Sprintf("no document that holds at %s states an attestation key for %s%s, so nothing proves what the token says",
			s.Time.UTC().Format(time.RFC3339), s.name(), unusable)}, nil
	}
	list = list[:min(maxAnchors, len(list))]
	for _, a := range list {
		if _, ok := k.held.Get(heldBy(m, a)); ok || m.Verify(a.Key) == nil {
			return a, nil, nil
		}
	}
	return Anchor{}, nil, Failf(verdict.ReasonSignatureInvalid, "the %s signature of the token holds under none of the %d keys that documents state for %s, the first in %s",
		m.Algorithm(), len(list), s.name(), list[0].Source)
}

// Remember keeps that a signature held, for messages that come again, as the
// platform half of a CCA token does until the next boot. To be called when all
// that came with the message was verified.
func (k *Keys) Remember(m *Sign1, a Anchor) { k.held.Put(heldBy(m, a), struct{}{}) }

func heldBy(m *Sign1, a Anchor) lru.Key {
	message := sha256.Sum256(m.Raw)
	return sha256.Sum256(append([]byte(a.Digest), message[:]...))
}

// find lists the keys of one device, each once: documents of several releases
// repeat it. A key for a class of devices is none of a device, whoever states it.
func (k *Keys) find(s Search) (signed, unsigned []Anchor, unusable string) {
	if s.Index == nil {
		return nil, nil, ""
	}
	for _, stated := range s.Index.AttestKeys(s.Time, s.Device) {
		a, err := k.anchor(stated, s.Device)
		if profile := stated.Source.Document().Profile; err == nil && slices.Contains(s.Foreign, profile) {
			err = fmt.Errorf("its profile %s is that of other devices", profile)
		}
		list := &unsigned
		if stated.Source.Document().Signed() {
			list = &signed
		}
		switch {
		case err != nil:
			unusable = fmt.Sprintf(" (that in %s cannot be used: %v)", stated.Source, err)
		case !slices.ContainsFunc(*list, func(have Anchor) bool { return have.Digest == a.Digest }):
			*list = append(*list, a)
		}
	}
	return signed, unsigned, unusable
}

func (k *Keys) anchor(s corim.StatedKey, device corim.Environment) (Anchor, error) {
	switch {
	case s.Environment != device:
		return Anchor{}, fmt.Errorf("it is for {%s}, not for one device", s.Environment)
	case s.Element != corim.Key{} || len(s.AuthorizedBy) > 0:
		return Anchor{}, fmt.Errorf("it has conditions")
	}
	name := sha256.Sum256([]byte(s.Key.String() + "\x00" + s.Key.Data))
	a, ok := k.parsed.Get(name)
	if !ok {
		key, err := PublicKey(s.Key)
		if err != nil {
			return Anchor{}, err
		}
		a.Key = key
		if a.SPKI, a.Digest, err = SPKI(key); err != nil {
			return Anchor{}, err
		}
		k.parsed.Put(name, a)
	}
	a.Source = s.Source
	return a, nil
}
