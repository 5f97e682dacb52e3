// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/corim"
)

// Document makes a document of the collected statements of a signed result, for
// corim.NewIndex: what the service says, in its own name. By is the authority as
// which the service is trusted; its profiles, scopes and validity hold. The
// document ends when the result expires. Its identifier is made from profile and
// query, so that two answers to one query have the same.
//
// A result without statements has no document: nil without an error. Sources are
// not in it: they carry signatures of their own, see corim.Load.
func (o *Opened) Document(by corim.Authority, now time.Time) (*corim.Document, error) {
	if o.Key == nil {
		return nil, fmt.Errorf("coserv: statements that nobody stands for: %w", ErrUnsigned)
	}
	r := o.Results
	c := &corim.Comid{
		Reference: triples(r.Reference), Endorsed: triples(r.Endorsed), Conditional: triples(r.Conditional), AttestKeys: triples(r.AttestKeys),
	}
	if len(c.Reference)+len(c.Endorsed)+len(c.Conditional)+len(c.AttestKeys) == 0 {
		if len(r.Stores) > 0 {
			return nil, errors.New("coserv: trust anchor stores are not understood")
		}
		return nil, nil
	}
	query, err := (Message{Profile: o.Profile, Query: o.Query}).Encode()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(query)
	id := corim.ID{Text: "coserv:" + by.Name + ":" + hex.EncodeToString(sum[:])}
	c.Identity = corim.TagIdentity{ID: id}
	raw, err := corim.Encode(&corim.Document{
		ID: id, Profile: documentProfile(o.Profile), Validity: corim.Period{NotAfter: r.Expiry},
		Tags: []corim.Tag{{Number: corim.TagComid, Comid: c}},
	})
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	d, err := corim.LoadVouched(raw, corim.Vouching{Authority: by, Key: *o.Key, Validity: corim.Period{NotAfter: r.Expiry}}, corim.Options{Now: now})
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	return d, nil
}

func triples[T corim.ValueTriple | corim.KeyTriple | corim.ConditionalTriple](list []Quad[T]) []T {
	var out []T
	for _, q := range list {
		out = append(out, q.Triple)
	}
	return out
}
