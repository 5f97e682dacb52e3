// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"fmt"
	"time"
)

// Options say which documents Load accepts.
type Options struct {
	// Trust are the authorities; nil trusts nobody.
	Trust *Trust
	// Now is the time for which the document has to hold.
	Now time.Time
	// Unsigned accepts documents without a signature. They have no Authority, and
	// results say so.
	Unsigned bool
	// Profiles are known besides those of Profiles.
	Profiles []Profile
}

// Load reads a document as Parse does, and accepts it only if an authority of
// o.Trust has signed it, may speak for all that it says, signature, document and
// authority hold at o.Now, and the profile is known and kept. The errors wrap
// ErrUnsigned, ErrUntrusted, ErrSignature, ErrScope, ErrPeriod, ErrProfile or
// ErrRule, or are those of Parse.
//
// An Index asks again, for the time of each appraisal, whether a document holds.
func Load(raw []byte, o Options) (*Document, error) {
	d, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	d.window = d.Validity
	if d.Signature == nil {
		if !o.Unsigned {
			return nil, fmt.Errorf("corim: %s: %w", d.ID, ErrUnsigned)
		}
	} else if err := d.authorize(o); err != nil {
		return nil, err
	}
	if !d.window.Contains(o.Now) {
		return nil, fmt.Errorf("corim: %s: holds %s: %w", d.ID, d.window, ErrPeriod)
	}
	if err := d.keepsProfile(o.Profiles); err != nil {
		return nil, err
	}
	d.accepted = true
	return d, nil
}

func (d *Document) authorize(o Options) error {
	a, v, window, err := o.Trust.authorize(d, o.Now)
	if err != nil {
		return err
	}
	if err := a.may(d); err != nil {
		return err
	}
	d.Authority = v
	d.window = d.window.and(d.Signature.Validity).and(window)
	return nil
}

// Window is when the document holds: its own validity, that of its signature,
// of its certificates and of the authority.
func (d *Document) Window() Period { return d.window }
