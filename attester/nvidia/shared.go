// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"sync"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Shared keeps what devices with the same Options.Vendor have in common, so that
// a board of twelve makes the vendor's certificates, manifests and revocation
// answers once. Nothing depends on whether there is one. The zero value is ready,
// and safe for concurrent use.
type Shared struct {
	mu  sync.Mutex
	all map[sharedKey]any
}

// sharedKey says what a thing follows from.
type sharedKey struct {
	seed pki.Seed
	what string
	at   time.Time
}

// once gives what was made for the key before, or makes it. s may be nil. What is
// made must not be changed.
func once[T any](s *Shared, key sharedKey, make func() (T, error)) (T, error) {
	if s == nil {
		return make()
	}
	s.mu.Lock()
	known, ok := s.all[key].(T)
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	made, err := make() // outside the lock: it may ask for something shared itself
	if err != nil {
		return made, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[sharedKey]any{}
	}
	s.all[key] = made
	return made, nil
}
