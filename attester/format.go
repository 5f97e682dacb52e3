// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/assize/assize/evidence"
)

// Format is how a composite is written.
type Format string

// The formats. COSE and JWS are signed by the machine's lead attester. The two
// of ratsd stretch every nonce by SHAKE-256 and carry no commitment.
const (
	JSON      Format = "json"       // CMW collection, JSON
	CBOR      Format = "cbor"       // CMW collection, CBOR
	COSE      Format = "cose"       // CBOR collection in a COSE_Sign1
	JWS       Format = "jws"        // JSON collection in a compact JWS
	RatsdJSON Format = "ratsd-json" // ratsd's legacy token, unsigned
	RatsdV2   Format = "ratsd-v2"   // ratsd's token version 2, unsigned
)

// Formats is the whole list.
func Formats() []Format { return []Format{JSON, CBOR, COSE, JWS, RatsdJSON, RatsdV2} }

// Evidence answers a challenge of 8 to 64 bytes in a format; a machine of BindLead
// signs what is asked for in JSON or CBOR. delay is how long
// the machine takes; whoever hands the evidence out waits.
func (m *Machine) Evidence(nonce []byte, f Format) (raw []byte, delay time.Duration, err error) {
	s := session{nonce: nonce}
	if m.d.Binding == BindLead {
		switch f {
		case JSON:
			f = JWS
		case CBOR:
			f = COSE
		}
	}
	switch f {
	case JSON, CBOR:
	case COSE, JWS:
		s.signer = m.lead.signer.KID()
	case RatsdJSON, RatsdV2:
		return m.ratsd(nonce, f, nil)
	default:
		return nil, 0, fmt.Errorf("attester: unknown format %q, want one of %v", f, Formats())
	}
	c, err := m.attest(s)
	if err != nil {
		return nil, 0, err
	}
	item, err := c.item()
	if err != nil {
		return nil, 0, err
	}
	who := m.lead
	if c.altered && m.d.Binding == BindLead { // whoever altered it has only another key
		who = m.other
	}
	raw, err = who.encode(item, f)
	return raw, c.Delay, err
}

func (l *leader) encode(item evidence.Item, f Format) ([]byte, error) {
	if f == JSON || f == JWS {
		raw, err := evidence.EncodeJSON(item)
		if err != nil || f == JSON {
			return raw, err
		}
		return evidence.SignJWS(nil, raw, rfc6979{l.key}, evidence.SignOptions{KID: []byte(l.signer.KID())})
	}
	raw, err := evidence.EncodeCBOR(item)
	if err != nil || f == CBOR {
		return raw, err
	}
	return evidence.SignCOSE(nil, raw, rfc6979{l.key}, evidence.SignOptions{KID: []byte(l.signer.KID())})
}

// rfc6979 signs SHA-256 digests without randomness. The COSE library names no
// hash in opts.
type rfc6979 struct{ key *ecdsa.PrivateKey }

// Public implements crypto.Signer.
func (k rfc6979) Public() crypto.PublicKey { return k.key.Public() }

// Sign implements crypto.Signer.
func (k rfc6979) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return k.key.Sign(nil, digest, crypto.SHA256)
}

// item is the collection.
func (c *Composite) item() (evidence.Item, error) {
	if c.Type == evidence.BoundTrusteeCollection {
		return c.trusteeItem()
	}
	return c.nested()
}

// nested nests the leaves by their paths.
func (c *Composite) nested() (evidence.Item, error) {
	root := &branch{}
	for _, l := range c.Leaves {
		if err := root.add(strings.Split(string(l.Path), "/"), evidence.Record(l.Type, l.Value, evidence.IndEvidence)); err != nil {
			return evidence.Item{}, fmt.Errorf("attester: leaf %s: %w", l.Path, err)
		}
	}
	return root.item(c.Type), nil
}

// branch is a collection that is being filled, in order.
type branch struct {
	names []string
	below map[string]*branch
	leaf  map[string]evidence.Item
}

func (b *branch) add(path []string, it evidence.Item) error {
	name := path[0]
	_, isLeaf := b.leaf[name]
	next, isBranch := b.below[name]
	if isLeaf || isBranch && len(path) == 1 {
		return fmt.Errorf("label %q is taken", name)
	}
	if !isBranch {
		b.names = append(b.names, name)
	}
	if len(path) == 1 {
		if b.leaf == nil {
			b.leaf = map[string]evidence.Item{}
		}
		b.leaf[name] = it
		return nil
	}
	if !isBranch {
		next = &branch{}
		if b.below == nil {
			b.below = map[string]*branch{}
		}
		b.below[name] = next
	}
	return next.add(path[1:], it)
}

func (b *branch) item(cmwType string) evidence.Item {
	var entries []evidence.Entry
	for _, name := range b.names {
		it, ok := b.leaf[name]
		if !ok {
			it = b.below[name].item("")
		}
		entries = append(entries, evidence.Entry{Label: name, Item: it})
	}
	return evidence.Collection(cmwType, entries...)
}
