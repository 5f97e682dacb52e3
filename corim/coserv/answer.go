// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

// Errors of Answer, for errors.Is.
var (
	// ErrProfile is for a profile that is neither known nor that of a document.
	ErrProfile = errors.New("profile is not supported")
	// ErrSeries is for statements that a result cannot carry.
	ErrSeries = errors.New("conditional endorsement series cannot be collected, ask for source artifacts")
)

// AnswerOptions say how long an answer may be used.
type AnswerOptions struct {
	// Now is the time for which documents have to hold.
	Now time.Time
	// Lifetime is the longest time until the result expires, at least a second; it
	// is less if a document in it ends before.
	Lifetime time.Duration
}

// Answer selects from the index what is in force and was signed by an authority,
// and returns the query with its result. A query that nothing is known for has
// an empty result. The errors wrap ErrProfile, ErrSeries or ErrLimit.
func Answer(x *corim.Index, profile string, q Query, o AnswerOptions) (*Message, error) {
	if _, err := queryItem(&q); err != nil {
		return nil, err
	}
	if o.Lifetime < time.Second {
		return nil, fmt.Errorf("coserv: lifetime of %s, at least a second", o.Lifetime)
	}
	if !supported(x, profile) {
		return nil, fmt.Errorf("coserv: %q: %w", profile, ErrProfile)
	}
	a := answering{
		q: &q, profile: documentProfile(profile), seen: map[[sha256.Size]byte]bool{}, who: map[[sha256.Size]byte][]corim.Typed{},
		out: new(ResultSet),
	}
	a.until(o.Now.Add(o.Lifetime))
	var err error
	if q.ByRIM() {
		err = a.rims(x, o.Now)
	} else {
		err = a.environments(x, o.Now)
	}
	if err != nil {
		return nil, err
	}
	a.out.Expiry = a.expiry.UTC().Truncate(time.Second)
	return &Message{Profile: profile, Query: q, Results: a.out}, nil
}

// Profiles lists the profiles of which the index has signed documents in force at
// time t, in order; PlainProfile stands for documents without one.
func Profiles(x *corim.Index, t time.Time) []string {
	var out []string
	for a := range x.Active(t) {
		if a.Document.Signed() {
			p := a.Document.Profile
			if p == "" {
				p = PlainProfile
			}
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// supported tells whether queries with a profile are answered, if only by
// nothing: those that are known, and those of documents.
func supported(x *corim.Index, profile string) bool {
	return profile == PlainProfile ||
		slices.ContainsFunc(corim.Profiles(), func(p corim.Profile) bool { return p.ID == profile }) ||
		slices.ContainsFunc(x.Documents(), func(d *corim.Document) bool { return d.Profile == profile })
}

// documentProfile is the profile of documents for that of a query.
func documentProfile(p string) string {
	if p == PlainProfile {
		return ""
	}
	return p
}

// answering is the state of one Answer.
type answering struct {
	q       *Query
	profile string
	expiry  time.Time
	bytes   int // of documents
	quads   int
	seen    map[[sha256.Size]byte]bool
	who     map[[sha256.Size]byte][]corim.Typed // authorities of documents
	err     error                               // the first with them
	out     *ResultSet
}

// until takes into account when something ends; zero is never.
func (a *answering) until(t time.Time) {
	if !t.IsZero() && (a.expiry.IsZero() || t.Before(a.expiry)) {
		a.expiry = t
	}
}

// environments answers a query by environment.
func (a *answering) environments(x *corim.Index, now time.Time) error {
	for tag := range x.Active(now) {
		if !tag.Document.Signed() || tag.Document.Profile != a.profile {
			continue
		}
		found, err := a.collect(&tag)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if a.until(tag.Until); a.q.Results == Collected {
			continue
		}
		if err := a.source(tag.Document, tag.Until); err != nil {
			return err
		}
	}
	return a.companions(x, now)
}

// companions adds the documents of an authority that say which tags of the
// chosen ones do not count any more, and its tag lists: without them a document
// would say more at the consumer than it says here.
func (a *answering) companions(x *corim.Index, now time.Time) error {
	type named struct {
		authority string
		id        corim.ID
	}
	tags := map[named]bool{}
	speaks := map[string]bool{}
	note := func(d *corim.Document) {
		speaks[d.Authority.Name] = true
		for _, t := range d.Tags {
			if t.Comid != nil {
				tags[named{d.Authority.Name, t.Comid.Identity.ID}] = true
			}
		}
	}
	matters := func(d *corim.Document) bool {
		who := d.Authority.Name
		return speaks[who] && slices.ContainsFunc(d.Tags, func(t corim.Tag) bool {
			return t.List != nil || t.Comid != nil && (tags[named{who, t.Comid.Identity.ID}] ||
				slices.ContainsFunc(t.Comid.Links, func(l corim.Link) bool { return l.Relation == corim.Replaces && tags[named{who, l.Tag}] }))
		})
	}
	for more := len(a.seen) > 0; more; {
		more = false
		for _, d := range x.Documents() {
			if d.Signed() && a.seen[d.Digest] {
				note(d)
			}
		}
		for _, d := range x.Documents() {
			if !d.Signed() || a.seen[d.Digest] || !d.Window().Contains(now) || !matters(d) {
				continue
			}
			if err := a.source(d, d.Window().NotAfter); err != nil {
				return err
			}
			more = true
		}
	}
	return nil
}

// collect takes the selected statements of a tag, if statements are wanted, and
// tells whether there are any.
func (a *answering) collect(tag *corim.Active) (bool, error) {
	c, d := tag.Comid, tag.Document
	n := a.quads
	switch a.q.Artifacts {
	case ReferenceValues:
		for i := range c.Reference {
			if a.q.selects(c.Reference[i].Environment, func(state []corim.Measurement) bool { return c.Reference[i].Selected(a.profile, state) }) {
				add(a, &a.out.Reference, d, c.Reference[i])
			}
		}
	case TrustAnchors:
		for i := range c.AttestKeys {
			if a.q.selects(c.AttestKeys[i].Environment, func(state []corim.Measurement) bool { return forElement(&c.AttestKeys[i], state) }) {
				add(a, &a.out.AttestKeys, d, c.AttestKeys[i])
			}
		}
	default:
		if err := a.endorsed(c, d); err != nil {
			return false, err
		}
	}
	if a.quads > limits.CoservQuads {
		return false, fmt.Errorf("coserv: query selects more than %d statements: %w", limits.CoservQuads, ErrLimit)
	}
	return a.quads > n, a.err
}

// authorities are those of a document, found out once.
func (a *answering) authorities(d *corim.Document) []corim.Typed {
	if list, ok := a.who[d.Digest]; ok {
		return list
	}
	list, err := authorities(d)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.who[d.Digest] = list
	return list
}

// add counts a statement, and keeps it if statements are wanted.
func add[T corim.ValueTriple | corim.KeyTriple | corim.ConditionalTriple](a *answering, list *[]Quad[T], d *corim.Document, t T) {
	a.quads++
	if a.q.Results != SourceArtifacts {
		*list = append(*list, Quad[T]{a.authorities(d), t})
	}
}

func (a *answering) endorsed(c *corim.Comid, d *corim.Document) error {
	always := func([]corim.Measurement) bool { return true }
	for i := range c.Endorsed {
		if a.q.selects(c.Endorsed[i].Environment, always) {
			add(a, &a.out.Endorsed, d, c.Endorsed[i])
		}
	}
	for i := range c.Conditional {
		t := &c.Conditional[i]
		// What is endorsed is what it is about, not what the conditions name.
		if slices.ContainsFunc(t.Endorsements, func(e corim.ValueTriple) bool {
			return a.q.selects(e.Environment, func(state []corim.Measurement) bool { return a.possible(t, state) })
		}) {
			add(a, &a.out.Conditional, d, *t)
		}
	}
	for i := range c.Series {
		if !a.q.selects(c.Series[i].Condition.Environment, always) {
			continue
		}
		if a.q.Results != SourceArtifacts {
			return fmt.Errorf("coserv: %s: %w", c.Series[i].Condition.Environment, ErrSeries)
		}
		a.quads++
	}
	return nil
}

// possible tells whether no condition about a selected environment contradicts
// the state.
func (a *answering) possible(t *corim.ConditionalTriple, state []corim.Measurement) bool {
	always := func([]corim.Measurement) bool { return true }
	return !slices.ContainsFunc(t.Conditions, func(c corim.ValueTriple) bool {
		return a.q.selects(c.Environment, always) && c.Contradicts(a.profile, state)
	})
}

// forElement tells whether keys are for an element that the state names, or for
// no particular one.
func forElement(t *corim.KeyTriple, state []corim.Measurement) bool {
	return !t.Element.Set() || len(state) == 0 ||
		slices.ContainsFunc(state, func(m corim.Measurement) bool { return m.Key == t.Element })
}

// selects tells whether an entry of the query selects the environment and its
// state fits.
func (q *Query) selects(e corim.Environment, fits func(state []corim.Measurement) bool) bool {
	for i := range q.Environments.Classes {
		if c := &q.Environments.Classes[i]; e.Class.Within(c.Class) && fits(c.State) {
			return true
		}
	}
	for i := range q.Environments.Instances {
		if s := &q.Environments.Instances[i]; e.Instance == s.Value && fits(s.State) {
			return true
		}
	}
	for i := range q.Environments.Groups {
		if s := &q.Environments.Groups[i]; e.Group == s.Value && fits(s.State) {
			return true
		}
	}
	return false
}

// source adds a document, once; it counts until then.
func (a *answering) source(d *corim.Document, until time.Time) error {
	a.until(until)
	if a.seen[d.Digest] {
		return nil
	}
	a.seen[d.Digest] = true
	if err := a.size(d); err != nil {
		return err
	}
	a.out.Sources = append(a.out.Sources, record(d))
	return nil
}

// size bounds what one result takes together.
func (a *answering) size(d *corim.Document) error {
	if a.bytes += len(d.Raw); a.bytes > limits.CoservResult || len(a.seen) > limits.CoservSources {
		return fmt.Errorf("coserv: query selects more documents than one result can have: %w", ErrLimit)
	}
	return nil
}

// rims answers a query by identifiers: of each the newest revision, and nothing
// that is out of force.
func (a *answering) rims(x *corim.Index, now time.Time) error {
	for _, rim := range a.q.RIMs {
		d, until := newest(x, now, rim)
		name := rim.ID.String()
		if d == nil || slices.ContainsFunc(a.out.RIMs, func(n NamedRecord) bool { return n.Name == name }) {
			continue
		}
		a.until(until)
		a.seen[d.Digest] = true
		if err := a.size(d); err != nil {
			return err
		}
		a.out.RIMs = append(a.out.RIMs, NamedRecord{name, record(d)})
	}
	return nil
}

// newest finds the document of an identifier, and when it ends.
func newest(x *corim.Index, now time.Time, rim RIM) (found *corim.Document, until time.Time) {
	var version uint64
	take := func(d *corim.Document, v uint64, end time.Time) {
		if found == nil || v > version {
			found, version, until = d, v, end
		}
	}
	if rim.Kind == Comid {
		for tag := range x.Active(now) {
			if id := tag.Comid.Identity; tag.Document.Signed() && id.ID == rim.ID {
				take(tag.Document, id.Version, tag.Until)
			}
		}
		return found, until
	}
	for _, d := range x.Documents() {
		if !d.Signed() || !d.Window().Contains(now) {
			continue
		}
		if rim.Kind == Corim && d.ID == rim.ID {
			take(d, 0, d.Window().NotAfter)
		}
		for _, t := range d.Tags {
			if rim.Kind == Coswid && t.Coswid != nil && t.Coswid.Identity.ID == rim.ID {
				take(d, t.Coswid.Identity.Version, d.Window().NotAfter)
			}
		}
	}
	return found, until
}

// record is a document as it was received; only signed ones are passed on.
func record(d *corim.Document) Record { return Record{MediaType: corim.MediaTypeSigned, Value: d.Raw} }

// authorities names who has signed a document: the key, and the certificates of
// the path by their thumbprints.
func authorities(d *corim.Document) ([]corim.Typed, error) {
	var out []corim.Typed
	for _, k := range d.Authority.Keys {
		switch {
		case k.Tag == corim.TagPKIXKey && k.Form == corim.Bytes:
			text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(k.Data)})
			out = append(out, corim.TaggedText(corim.TagPKIXKey, string(text)))
		case k.Tag == corim.TagDERCert && k.Form == corim.Bytes:
			if _, err := x509.ParseCertificate([]byte(k.Data)); err != nil {
				return nil, fmt.Errorf("coserv: certificate of %q: %w", d.Authority.Name, err)
			}
			sum := sha256.Sum256([]byte(k.Data))
			digest, err := marshal([]any{uint64(1), sum[:]}) // 1 is SHA-256 (named information registry)
			if err != nil {
				return nil, fmt.Errorf("coserv: %w", err)
			}
			out = append(out, corim.Typed{Tag: corim.TagCertThumbprint, Form: corim.Item, Data: string(digest)})
		default:
			out = append(out, k)
		}
	}
	return out, nil
}
