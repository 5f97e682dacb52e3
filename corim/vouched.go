// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"errors"
	"fmt"
)

// Vouching says who stands for statements that did not come as a document with
// a signature of its own, but in something else that was signed, as a CoSERV
// result.
type Vouching struct {
	// Authority is who has signed. Its profiles, scopes and validity hold as for a
	// document; its keys are not asked again.
	Authority Authority
	// Key is the one of its keys that the signature was made with.
	Key SigningKey
	// Validity is how long the statements hold.
	Validity Period
}

// LoadVouched reads an unsigned document and accepts it as what v.Authority
// says. Whoever calls it has verified with v.Key the signature of what the
// document was made from; nothing here could. All other conditions are those of
// Load, and so are the errors; a document with a signature is one.
func LoadVouched(raw []byte, v Vouching, o Options) (*Document, error) {
	d, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	if d.Signature != nil {
		return nil, fmt.Errorf("corim: %s: signed, and is to be loaded by its own signature", d.ID)
	}
	if v.Key.Public == nil || v.Validity.NotAfter.IsZero() {
		return nil, errors.New("corim: nobody's key vouches for the document, or for ever")
	}
	t, err := NewTrust([]Authority{v.Authority})
	if err != nil {
		return nil, err
	}
	a := t.authorities[0]
	if err := a.may(d); err != nil {
		return nil, err
	}
	if d.Authority, err = voucher(a, &Signature{Signer: a.Name}, v.Key.Public, nil); err != nil {
		return nil, err
	}
	d.window = d.Validity.and(v.Validity).and(a.Validity)
	if !d.window.Contains(o.Now) {
		return nil, fmt.Errorf("corim: %s: holds %s: %w", d.ID, d.window, ErrPeriod)
	}
	if err := d.keepsProfile(o.Profiles); err != nil {
		return nil, err
	}
	d.accepted = true
	return d, nil
}
