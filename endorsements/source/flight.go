// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/limits"
)

const (
	// tries of one flight, the first at once.
	tries = 3
	// firstPause is that behind the first try; it doubles.
	firstPause = time.Second
	// firstWait is how long a document is not asked for again after a flight that
	// brought none; it doubles with every further one, up to maxWait.
	firstWait = 30 * time.Second
	maxWait   = time.Hour
	// busyWait is the same for one whose turn did not come.
	busyWait = 5 * time.Second
	// unknownWait is the same for a document that the service does not have.
	unknownWait = 30 * time.Minute
	// maxFailures is how many documents are remembered as not to be had.
	maxFailures = 4096
	// maxLead is how long before its end a document is asked for again.
	maxLead = 5 * 24 * time.Hour
)

// failure is a document that is not to be had now.
type failure struct {
	until time.Time
	pause *backoff.ExponentialBackOff
	err   error
}

// begin starts a flight, or joins the one that there is. It needs the lock.
func (s *Source) begin(i endorsements.Item, now time.Time) (*flight, error) {
	if f := s.running[i]; f != nil {
		return f, nil
	}
	sv := s.services[i.Vendor()]
	switch f := s.failures[i]; {
	case sv == nil || slices.Contains(sv.without, i.Kind):
		return nil, ErrOffline
	case s.closed:
		return nil, ErrClosed
	case f != nil && now.Before(f.until):
		return nil, fmt.Errorf("%w: %w", ErrRecently, f.err)
	case sv.flights >= sv.most:
		return nil, ErrBusy
	}
	f := &flight{done: make(chan struct{})}
	s.running[i] = f
	sv.flights++
	s.flights.Add(1)
	go s.fly(sv, i, f)
	return f, nil
}

// fly gets one document and ends the flight.
func (s *Source) fly(sv *service, i endorsements.Item, f *flight) {
	defer s.flights.Done()
	ctx, cancel := context.WithTimeout(s.ctx, s.o.Timeout)
	defer cancel()
	raw, err := s.fetch(ctx, sv, i)
	if err == nil {
		err = s.keep(i, raw)
	}
	s.mu.Lock()
	sv.flights--
	delete(s.running, i)
	if err != nil {
		s.failed(i, err)
	} else {
		delete(s.failures, i)
	}
	report := s.o.Report != nil && err != nil && s.ctx.Err() == nil
	s.mu.Unlock()
	if report {
		s.o.Report(i, err)
	}
	f.err = err
	close(f.done)
}

// fetch asks up to three times, no sooner than the service allows.
func (s *Source) fetch(ctx context.Context, sv *service, i endorsements.Item) ([]byte, error) {
	pause := &backoff.ExponentialBackOff{InitialInterval: firstPause + s.spread(i, firstPause), Multiplier: 2, MaxInterval: s.o.Timeout}
	return backoff.Retry(ctx, func() ([]byte, error) {
		if err := s.admit(ctx, sv); err != nil {
			return nil, backoff.Permanent(err)
		}
		raw, err := guarded(ctx, sv.Fetcher, i)
		var fe *endorsements.FetchError
		switch {
		case err == nil:
			return raw, nil
		case !errors.As(err, &fe) || !fe.Temporary():
			return nil, backoff.Permanent(err)
		case fe.RetryAfter > 0:
			s.mu.Lock()
			sv.notYet = s.o.Now().Add(fe.RetryAfter)
			s.mu.Unlock()
		}
		return nil, err
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(0))
}

// guarded is a fetcher that cannot take the process with it.
func guarded(ctx context.Context, f Fetcher, i endorsements.Item) (raw []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("source: panic of a fetcher: %v", p)
		}
	}()
	return f.Fetch(ctx, i)
}

// admit waits until the service may be asked. If that is beyond the end of the
// context it fails at once and takes nobody's turn. Whether the service wants to be
// left alone is looked at once more when the turn has come: it may have said so to
// somebody else meanwhile.
func (s *Source) admit(ctx context.Context, sv *service) error {
	for taken := false; ; {
		now := s.o.Now()
		s.mu.Lock()
		wait := sv.notYet.Sub(now)
		s.mu.Unlock()
		switch {
		case wait > s.o.Timeout:
			return fmt.Errorf("%w: the service wants to be left alone for %s", ErrBusy, wait.Round(time.Second))
		case wait > 0:
		case taken:
			return nil
		default:
			r := sv.limiter.ReserveN(now, 1)
			if wait = r.DelayFrom(now); wait > s.o.Timeout {
				r.CancelAt(now)
				return fmt.Errorf("%w: its turn is in %s", ErrBusy, wait.Round(time.Second))
			}
			taken = true
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keep parses and checks a document that was fetched, and puts it in the place of
// an older one.
func (s *Source) keep(i endorsements.Item, raw []byte) error {
	e, err := s.read(i, i.String(), raw)
	if err != nil {
		return err
	}
	now := s.o.Now()
	e.again = s.again(i, e, now)
	if s.disk != nil {
		// A cache that cannot be written is one in memory.
		if e.file, err = s.disk.put(i, raw); err != nil && s.o.Report != nil {
			s.o.Report(i, fmt.Errorf("%w: %w", ErrNotKept, err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, changed := s.succeed(i, s.kept[i], e); first != e {
		// The same, or one from before: what was known stays known.
		first.again = s.again(i, first, now)
		if e = first; changed {
			s.bundle = nil
		}
	} else {
		s.uses++
		e.used = s.uses
		s.kept[i], s.bundle = e, nil
		s.evict()
	}
	if !now.Before(e.until) {
		return fmt.Errorf("%w on %s", ErrEnded, e.until.UTC().Format(time.RFC3339))
	}
	return nil
}

// succeed says which of two entries of an item counts, the newer one, and whether
// anything is kept that was not before. A response that says that a certificate is
// revoked stays behind one that does not: such an answer is final (package ocsp),
// whoever says something better later, and whether he may is for the verifier to
// see. Files that are needed no longer are removed. It needs the lock; old is nil for
// the first entry.
func (s *Source) succeed(i endorsements.Item, old, e *entry) (first *entry, changed bool) {
	if old == nil {
		return e, true
	}
	first, other, behind := old, e, old.revoked
	if e.newer(i, old) {
		first, other = e, old
	}
	all := []*entry{old, e}
	if behind != nil {
		all = append(all, behind)
	}
	var last *entry
	for _, c := range []*entry{behind, other} {
		if c != nil && c.revokes && !first.revokes && (last == nil || c.from.After(last.from)) {
			last = c
		}
	}
	other.revoked, first.revoked = nil, last
	for _, c := range all {
		if c.file != "" && c.file != first.file && (last == nil || c.file != last.file) {
			s.disk.remove(c.file)
		}
	}
	return first, first == e || last != behind
}

// newer says whether e takes the place of o: it is from a later time, or the same
// document for longer, because the certificates of who signs it were renewed. A
// manifest has no date but that of its signer's certificate, and NVIDIA issues them
// anew with other contents under the same certificate: of two such ones, that which
// was fetched last.
func (e *entry) newer(i endorsements.Item, o *entry) bool {
	if !e.from.Equal(o.from) {
		return e.from.After(o.from)
	}
	if i.Kind == endorsements.ItemNVRIM && e.until.Equal(o.until) {
		return e.digest != o.digest
	}
	return e.until.After(o.until)
}

// read makes an entry of a file, if it is what the item names.
func (s *Source) read(i endorsements.Item, name string, raw []byte) (*entry, error) {
	doc, err := endorsements.Parse(name, raw)
	if err != nil {
		return nil, err
	}
	var found *endorsements.Statement
	for st := range doc.Statements() {
		if st.Item != i || found != nil {
			return nil, fmt.Errorf("source: the document is %s, expected %s and nothing else", st.Item, i)
		}
		found = &st
	}
	if found == nil {
		return nil, fmt.Errorf("source: the document is not %s", i)
	}
	if s.o.Check != nil {
		if err := s.o.Check(i, doc); err != nil {
			return nil, err
		}
	}
	e := &entry{doc: doc, from: found.From, until: found.Until, digest: found.Digest}
	for _, m := range doc.Manifests() {
		e.above = m.StatusItems()
	}
	for _, d := range doc.OCSPResponses() {
		a, err := endorsements.ParseOCSP(d.Raw)
		if err != nil {
			return nil, err
		}
		// Who signs may be for nobody here to check, and what is newer stays.
		if a.ThisUpdate.After(s.o.Now().Add(limits.ClockSkew)) {
			return nil, fmt.Errorf("source: a response of %s, which is yet to come", a.ThisUpdate.UTC().Format(time.RFC3339))
		}
		e.revokes = a.Status == endorsements.StatusRevoked
	}
	return e, nil
}

// again is when to ask for a newer document: some days before this one ends, at
// least every MaxAge, and for a document that has ended as soon as failures let.
func (s *Source) again(i endorsements.Item, e *entry, fetched time.Time) time.Time {
	lead := min(e.until.Sub(e.from)/4, maxLead)
	at := e.until.Add(-lead + s.spread(i, lead/2))
	if age := fetched.Add(s.o.MaxAge - s.spread(i, s.o.MaxAge/8)); i.Kind != endorsements.ItemVCEK && age.Before(at) {
		at = age
	}
	// A service that still has the same one is not asked all the time.
	pause := max(firstWait, min(s.o.MaxAge/24, e.until.Sub(fetched)/4))
	if soon := fetched.Add(pause); at.Before(soon) && soon.Before(e.until) {
		at = soon
	}
	return at
}

// spread is between 0 and most, by item and process.
func (s *Source) spread(i endorsements.Item, most time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%016x %s", s.o.Spread, i) // a hash has no errors
	const parts = 1 << 20
	return time.Duration(float64(most) * float64(h.Sum64()%parts) / parts)
}

// failed remembers that a document is not to be had. It needs the lock.
func (s *Source) failed(i endorsements.Item, err error) {
	f := s.failures[i]
	if f == nil {
		if len(s.failures) >= maxFailures {
			s.forget()
		}
		f = &failure{pause: &backoff.ExponentialBackOff{InitialInterval: firstWait, Multiplier: 2, MaxInterval: maxWait}}
		s.failures[i] = f
	}
	wait := busyWait
	if !errors.Is(err, ErrBusy) {
		wait = f.pause.NextBackOff()
	}
	var fe *endorsements.FetchError
	if errors.As(err, &fe) {
		if fe.Unknown() {
			wait = max(wait, unknownWait)
		}
		wait = max(wait, fe.RetryAfter)
	}
	f.err, f.until = err, s.o.Now().Add(wait)
}

// forget drops the failure that is over first. It needs the lock.
func (s *Source) forget() {
	var first endorsements.Item
	var at time.Time
	for i, f := range s.failures {
		if at.IsZero() || f.until.Before(at) {
			first, at = i, f.until
		}
	}
	delete(s.failures, first)
}

// evict drops what was used least recently, above the bound. Of OCSP responses
// there can be as many as somebody makes up serial numbers, so they have no more
// than three quarters of the places. It needs the lock.
func (s *Source) evict() {
	for len(s.kept) > s.o.MaxItems {
		responses := 0
		for i := range s.kept {
			if i.Kind == endorsements.ItemNVOCSP {
				responses++
			}
		}
		var last endorsements.Item
		least := s.uses + 1
		for i, e := range s.kept {
			if e.used < least && (i.Kind == endorsements.ItemNVOCSP || responses <= s.o.MaxItems/4*3) {
				last, least = i, e.used
			}
		}
		for _, e := range []*entry{s.kept[last], s.kept[last].revoked} {
			if e != nil && e.file != "" {
				s.disk.remove(e.file)
			}
		}
		delete(s.kept, last)
	}
}
