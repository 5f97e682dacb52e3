// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// Entries of the collection.
const (
	entryStatement = "statement"
	entryComposite = "composite"
	entryEvidence  = "evidence/"
	entryPartial   = "par/"
)

// Their media types. Composite and evidence are opaque on purpose.
const (
	typeEnvelope  = "application/vnd.assize.relay+json"
	typeAnswer    = "application/vnd.assize.relay-answer+json"
	typeComposite = "application/vnd.assize.relay-composite"
	typeEvidence  = "application/vnd.assize.relay-evidence"
	typePartial   = "application/eat+jwt" // decision D-21
)

func numbered(prefix string, i int) string { return prefix + strconv.Itoa(i) }

func entry(label, mediaType string, value []byte, ind evidence.Indicator) evidence.Entry {
	return evidence.Entry{Label: label, Item: evidence.Record(evidence.MediaType{Base: mediaType}, value, ind)}
}

func partialEntries(partials []Partial) []evidence.Entry {
	out := make([]evidence.Entry, 0, len(partials))
	for i, p := range partials {
		out = append(out, entry(numbered(entryPartial, i), typePartial, p.Token, evidence.IndResults))
	}
	return out
}

// sign encodes and signs a message. It fails where a receiver would refuse the
// size: evidence.Parse has looked at the payload with the default limits.
func sign(s *trust.Signer, random io.Reader, collection string, entries []evidence.Entry) ([]byte, *Error) {
	if s == nil || random == nil {
		return nil, fail(CheckArguments, "no signer or no source of randomness")
	}
	payload, err := evidence.EncodeCBOR(evidence.Collection(collection, entries...))
	if err != nil {
		return nil, fail(CheckMessage, "%v", err)
	}
	raw, err := evidence.SignCOSE(random, payload, s.Handle(), evidence.SignOptions{KID: []byte(s.KID())})
	if err != nil {
		return nil, fail(CheckMessage, "%v", err)
	}
	if most := limits.Default().Composite; len(raw) > most {
		return nil, fail(CheckMessage, "message of %d bytes, at most %d", len(raw), most)
	}
	return raw, nil
}

// finder looks up the one key that may have signed a message.
type finder struct {
	find func(kid string) (trust.Key, bool)
	now  time.Time
}

// VerificationKeys implements evidence.KeyFinder.
func (f finder) VerificationKeys(kid []byte, alg string) []crypto.PublicKey {
	k, ok := f.find(string(kid))
	if !ok || len(kid) == 0 || k.KID != string(kid) || k.Alg != alg || !slices.Contains(k.Roles, trust.RoleNode) {
		return nil
	}
	if !k.NotAfter.IsZero() && f.now.After(k.NotAfter) {
		return nil
	}
	return []crypto.PublicKey{k.Public}
}

// message is a signed collection whose entries have not been read yet.
type message struct {
	kid     string
	entries map[string]*evidence.Node
	missing string // first entry that was wanted in vain
}

// open checks the signature and then the form of the collection.
func open(raw []byte, collection string, f finder) (*message, *Error) {
	if f.find == nil {
		return nil, fail(CheckArguments, "no keys")
	}
	lim := limits.Default()
	lim.Depth = 2 // the collection inside the signature, and its records
	tree, err := evidence.Parse(raw, evidence.Options{MediaType: evidence.TypeCMWCOSE, Limits: lim, Keys: f})
	if err != nil {
		check := CheckMessage
		if e, ok := errors.AsType[*evidence.Error](err); ok && (e.Rule == evidence.RuleUntrusted || e.Rule == "CMW-39") {
			check = CheckSignature
		}
		return nil, fail(check, "%v", err)
	}
	root := tree.Root()
	s := root.Signer()
	if s == nil || !s.Verified {
		return nil, fail(CheckSignature, "not signed")
	}
	m := &message{kid: string(s.KID), entries: map[string]*evidence.Node{}}
	if got := root.Content().CollectionType(); got != collection {
		return m, fail(CheckMessage, "collection of type %.100q instead of %q", got, collection)
	}
	for _, n := range root.Content().Children() {
		if n.Kind() != evidence.KindRecord {
			return m, fail(CheckMessage, "entry %q is a %s", n.Label(), n.Kind())
		}
		m.entries[n.Label()] = n
	}
	return m, nil
}

// take removes an entry and returns its bytes. What is missing, or of another
// type, is reported by done.
func (m *message) take(label, mediaType string, ind evidence.Indicator) []byte {
	canonical := evidence.TextLabel(label)
	n := m.entries[canonical]
	delete(m.entries, canonical)
	if n == nil || n.Indicator() != ind || !n.MediaType().Equal(evidence.MediaType{Base: mediaType}) {
		if m.missing == "" {
			m.missing = label
		}
		return nil
	}
	return n.Value()
}

// partials takes the results with these labels, in their order.
func (m *message) partials(labels []string) []Partial {
	var out []Partial
	for i, label := range labels {
		token := m.take(numbered(entryPartial, i), typePartial, evidence.IndResults)
		if m.missing != "" {
			break
		}
		out = append(out, Partial{Label: evidence.Path(label), Token: token})
	}
	return out
}

// done requires that everything announced was there, and nothing else.
func (m *message) done() *Error {
	if m.missing != "" {
		return fail(CheckEntries, "no entry %q of the right type", m.missing)
	}
	for label := range m.entries {
		return fail(CheckEntries, "entry %q has no place in the statement, and %d more", label, len(m.entries)-1)
	}
	return nil
}
