// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// SignedType is the media type of a signed request: a COSE_Sign1, with the key
// id in the protected header, over the collection of EncodeRequest whose
// statement says in addition who asks whom and until when (decision D-20).
const SignedType = evidence.TypeCMWCOSE

// formMillis is how times of a signed request are written, in UTC.
const formMillis = "2006-01-02T15:04:05.000Z"

// Origin is what a signed request says about itself.
type Origin struct {
	// From is the name of the node that signed, [a-z0-9-]{1,32}.
	From string
	// To is the node or site that may answer, "" for any.
	To string
	// Issued and Expires are cut to milliseconds; at most limits.Session apart.
	Issued, Expires time.Time
	// KID is the key that signed, "" where the signature was not checked.
	KID string
}

func (o Origin) check() error {
	switch d := o.Expires.Sub(o.Issued); {
	case !slug.MatchString(o.From):
		return errors.New("verifiers: request: from is not the name of a node")
	case o.To != "" && !slug.MatchString(o.To):
		return errors.New("verifiers: request: to is not the name of a node or site")
	case o.Issued.Unix() <= 0 || o.Expires.UTC().Year() > 9999:
		return errors.New("verifiers: request: times are missing")
	case d <= 0 || d > limits.Session:
		return fmt.Errorf("verifiers: request: it expires %s after its issue, want more than 0 and at most %s", d, limits.Session)
	}
	return nil
}

// SignRequest renders r as a signed request of the node with the key s, which
// the receiver must know with trust.RoleNode. Nothing else than s and random is
// secret or random. Origin.KID is not read.
func SignRequest(random io.Reader, r Request, o Origin, s *trust.Signer) ([]byte, error) {
	o.Issued, o.Expires = o.Issued.UTC().Truncate(time.Millisecond), o.Expires.UTC().Truncate(time.Millisecond)
	if s == nil || random == nil {
		return nil, errors.New("verifiers: sign request: no signer or no source of randomness")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	st := newStatement(r)
	st.From, st.To, st.Issued, st.Expires = o.From, o.To, o.Issued.Format(formMillis), o.Expires.Format(formMillis)
	if r.Composite != [sha256.Size]byte{} {
		st.Composite = hex.EncodeToString(r.Composite[:])
	}
	payload, err := encodeRequest(r, st)
	if err != nil {
		return nil, err
	}
	raw, err := evidence.SignCOSE(random, payload, s.Handle(), evidence.SignOptions{KID: []byte(s.KID())})
	if err != nil {
		return nil, fmt.Errorf("verifiers: sign request: %w", err)
	}
	return raw, nil
}

// decodeSigned reads a signed request strictly. The signature counts under the
// keys of find; with unverified, one by a key that find does not know is not
// checked, and Origin.KID then is "". Evidence is a slice of raw.
func decodeSigned(raw []byte, find evidence.KeyFinder, unverified bool) (Request, Origin, error) {
	tree, err := evidence.Parse(raw, evidence.Options{
		MediaType: SignedType, Limits: requestLimits(2), Keys: find, UnverifiedSignaturesUnsafe: unverified,
	})
	if err != nil {
		return Request{}, Origin{}, fmt.Errorf("verifiers: signed request: %w", err)
	}
	root := tree.Root()
	s := root.Signer()
	if s == nil || !s.Verified && !unverified {
		return Request{}, Origin{}, errors.New("verifiers: signed request: not signed")
	}
	r, st, err := readRequest(root.Content())
	if err != nil {
		return r, Origin{}, err
	}
	o, err := st.origin(&r)
	if s.Verified {
		o.KID = string(s.KID)
	}
	return r, o, err
}

// origin reads the members of a signed statement that the plain one lacks.
func (st statement) origin(r *Request) (Origin, error) {
	o := Origin{From: st.From, To: st.To}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{st.Issued, &o.Issued}, {st.Expires, &o.Expires}} {
		var err error
		if *t.to, err = time.Parse(formMillis, t.text); err != nil || t.to.Format(formMillis) != t.text {
			return o, fmt.Errorf("verifiers: request: %.40q is not a time in UTC with milliseconds", t.text)
		}
	}
	if st.Composite != "" {
		raw, err := hex.DecodeString(st.Composite)
		if err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != st.Composite || [sha256.Size]byte(raw) == [sha256.Size]byte{} {
			return o, errors.New("verifiers: request: composite is not a SHA-256 in lower-case hexadecimal")
		}
		r.Composite = [sha256.Size]byte(raw)
	}
	return o, o.check()
}
