// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/api"
)

// coserv is the service that hands out reference values, nil where it is off. It
// signs with the lead's key, which never signs a JWT that could be taken for a
// COSE message, nor the other way round.
func (s *stack) coserv() (*api.CoSERV, error) {
	if !s.config.Coserv.Enabled {
		return nil, nil
	}
	if s.corims == nil {
		return nil, errors.New("coserv.enabled wants a store of reference values")
	}
	signer, err := s.keys.load(leadKey)
	if err != nil {
		return nil, fmt.Errorf("signing key %q: %w", leadKey, err)
	}
	return &api.CoSERV{
		References: s.corims, Key: signer.Handle(), KID: signer.KID(), Random: rand.Reader,
		Lifetime: s.config.Coserv.Lifetime, Now: time.Now, Version: version,
	}, nil
}
