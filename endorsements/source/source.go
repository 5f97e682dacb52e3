// SPDX-License-Identifier: Apache-2.0

// Package source answers needs for collateral: from a folder that was loaded,
// from what was fetched before and kept in memory and on disk, and from the
// services of the vendors. Begin with New.
//
//	s, err := source.New(source.Options{
//		Base: bundle, Dir: "state/endorsements", Now: clock,
//		Services: map[endorsements.Vendor]source.Service{endorsements.VendorIntel: {Fetcher: intel}},
//	})
//	defer s.Close()
//	bundle, err := s.Ensure(ctx, needs)
//
// Needs come from evidence that nobody has verified, so a source bounds what they
// can cause: their form, the documents of one call, the requests to one service
// in a time, how many wait, and how soon it asks again for what it did not get.
// Where to ask is configuration and never in a need.
//
// A document is fetched once at a time, whoever waits, and goes on being fetched
// when the last one has gone. It is asked for again some time before it ends, and
// at least every Options.MaxAge, while it goes on being used. One that has ended
// stays in the bundle, where a scheme sees that it has ended and says so, until
// there is a newer one; Ensure reports it as an error. No document replaces a
// newer one of the same item; a response that says that a certificate is revoked
// stays beside newer ones that say something else.
//
// Nothing here is trusted: schemes verify what they use, at the time for which
// they appraise. Options.Check keeps documents out that no scheme would use, so
// that they cannot stand in the way of better ones.
package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/assize/assize/endorsements"
)

// Fetcher gets one document from where its vendor publishes it, as a file that
// endorsements.Parse reads. It tries once; errors are *endorsements.FetchError. It
// is safe for concurrent use.
type Fetcher interface {
	Fetch(ctx context.Context, i endorsements.Item) ([]byte, error)
}

// Service is a fetcher and how often it may be used.
type Service struct {
	Fetcher Fetcher
	// Every is the time between two requests, on average; 0 is 200 ms for Intel,
	// 10 s for AMD, which answers no more, and 100 ms for NVIDIA, which needs one
	// for each certificate.
	Every time.Duration
	// Burst is how many requests may follow one another at once; 0 is 8 for Intel,
	// 2 for AMD, and 32 for NVIDIA: a board of eight GPUs and four switches.
	Burst int
	// Without are kinds of documents for which the fetcher has nobody to ask.
	Without []endorsements.ItemKind
}

// usual are the rates of a vendor.
type usual struct {
	every          time.Duration
	burst, flights int
}

func usualOf(v endorsements.Vendor) usual {
	switch v {
	case endorsements.VendorAMD:
		return usual{10 * time.Second, 2, maxFlights}
	case endorsements.VendorNVIDIA:
		return usual{100 * time.Millisecond, 32, 4 * maxFlights}
	}
	return usual{200 * time.Millisecond, 8, maxFlights}
}

// Options configure a source. Now is mandatory.
type Options struct {
	// Base is the folder of the operator, nil for none.
	Base *endorsements.Bundle
	// Services are whom to ask, by vendor; a vendor without one is never asked.
	Services map[endorsements.Vendor]Service
	// Dir is a folder of its own for what was fetched; it is made if it is not
	// there. Empty: memory only. endorsements.LoadDir reads it as well.
	Dir string
	// Now is the clock.
	Now func() time.Time
	// Spread is a number of this process, chosen at random, so that processes that
	// were started together do not ask together.
	Spread uint64
	// Check looks at a document before it is kept, with the bundle that it alone
	// makes; nil: none does.
	Check func(endorsements.Item, *endorsements.Bundle) error
	// MaxItems is how many documents are kept, those that were used least recently
	// go first; 0 is 1024.
	MaxItems int
	// MaxAge is how long a document with a successor (everything but certificates)
	// is used before a newer one is asked for; 0 is a day.
	MaxAge time.Duration
	// Timeout is the longest time for one document, waiting and all attempts
	// included; 0 is a minute.
	Timeout time.Duration
	// Report is told what could not be fetched, once for each attempt to get a
	// document, and what could not be kept in the folder; nil: nobody is.
	Report func(endorsements.Item, error)
}

const (
	defaultItems   = 1024
	defaultAge     = 24 * time.Hour
	defaultTimeout = time.Minute
	// maxNeeds is how many needs of one call count.
	maxNeeds = 8
	// maxFlights is how many documents of one vendor are fetched or wait at once; of
	// NVIDIA four times as many, which has one for each device.
	maxFlights = 32
	// maxAbove is how many documents one call asks for because of a manifest.
	maxAbove = 16
)

// ErrNotKept is in what is reported: there is a document and it is used, but it could
// not be written to the folder.
var ErrNotKept = errors.New("source: not written to the folder")

// Errors of Ensure, in the error of a need.
var (
	// ErrOffline: nobody is to be asked for it.
	ErrOffline = errors.New("source: no service for it is configured")
	// ErrBusy: too much is wanted at once.
	ErrBusy = errors.New("source: too many documents are being fetched")
	// ErrRecently: it was asked for a short time ago, in vain.
	ErrRecently = errors.New("source: not asked for again yet")
	// ErrEnded: there is one, whose time is over.
	ErrEnded = errors.New("source: the latest one has ended")
	// ErrClosed: the source is closed.
	ErrClosed = errors.New("source: closed")
)

// Source answers needs. It is safe for concurrent use.
type Source struct {
	o        Options
	services map[endorsements.Vendor]*service
	base     map[endorsements.Item]time.Time // until when the folder has it
	above    map[string][]endorsements.Item  // status of the signers of the folder's manifests, by identifier
	disk     *disk                           // nil without a folder
	ctx      context.Context
	cancel   context.CancelFunc
	flights  sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	kept     map[endorsements.Item]*entry
	running  map[endorsements.Item]*flight
	failures map[endorsements.Item]*failure
	uses     uint64
	bundle   *endorsements.Bundle // nil after a change
}

// service is a Service with its state.
type service struct {
	Fetcher
	every   time.Duration
	limiter *rate.Limiter
	most    int // flights at once
	without []endorsements.ItemKind
	flights int       // guarded by Source.mu
	notYet  time.Time // guarded by Source.mu: the service wants to be left alone
}

// entry is a document that is kept. Everything but used, again and revoked is
// immutable.
type entry struct {
	doc    *endorsements.Bundle
	from   time.Time
	until  time.Time
	digest [32]byte
	above  []endorsements.Item // status of the signers of a manifest
	file   string              // "" if it is on no disk
	used   uint64
	again  time.Time // when to ask for a newer one
	// revokes: it is a response that says that a certificate is revoked, or on hold.
	// revoked is such a one from before, see succeed; nil for none.
	revokes bool
	revoked *entry
}

// flight is one document on its way.
type flight struct {
	done chan struct{}
	err  error // after done
}

// New reads the cache folder. Files in it that are not what they were written as
// are removed; files of others are left alone.
func New(o Options) (*Source, error) {
	if o.Now == nil {
		return nil, errors.New("source: options without a clock")
	}
	def(&o.MaxItems, defaultItems)
	def(&o.MaxAge, defaultAge)
	def(&o.Timeout, defaultTimeout)
	s := &Source{
		o: o, services: map[endorsements.Vendor]*service{}, base: map[endorsements.Item]time.Time{}, above: map[string][]endorsements.Item{},
		kept: map[endorsements.Item]*entry{}, running: map[endorsements.Item]*flight{}, failures: map[endorsements.Item]*failure{},
	}
	for vendor, sv := range o.Services {
		if sv.Fetcher == nil || sv.Every < 0 || sv.Burst < 0 {
			return nil, fmt.Errorf("source: service of %s without a fetcher, or with a negative rate", vendor)
		}
		u := usualOf(vendor)
		def(&sv.Every, u.every)
		def(&sv.Burst, u.burst)
		s.services[vendor] = &service{
			Fetcher: sv.Fetcher, every: sv.Every, limiter: rate.NewLimiter(rate.Every(sv.Every), sv.Burst), most: u.flights, without: sv.Without,
		}
	}
	for _, m := range o.Base.Manifests() {
		if m.ID != "" {
			s.above[m.ID] = append(s.above[m.ID], m.StatusItems()...)
		}
	}
	for st := range o.Base.Statements() {
		if st.Until.After(s.base[st.Item]) {
			s.base[st.Item] = st.Until
		}
	}
	if o.Dir != "" {
		if err := s.open(); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func def[V comparable](v *V, or V) {
	var zero V
	if *v == zero {
		*v = or
	}
}

// Close ends everything that is on its way and waits for it.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.flights.Wait()
	if s.disk != nil {
		return s.disk.root.Close()
	}
	return nil
}

// Bundle is everything that there is: the folder and what was fetched. It is the
// same one until something changes.
func (s *Source) Bundle() *endorsements.Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot()
}

// snapshot needs the lock.
func (s *Source) snapshot() *endorsements.Bundle {
	if s.bundle == nil {
		parts := []*endorsements.Bundle{s.o.Base}
		for _, i := range sorted(s.kept) {
			parts = append(parts, s.kept[i].doc)
			if r := s.kept[i].revoked; r != nil {
				parts = append(parts, r.doc)
			}
		}
		s.bundle = endorsements.Merge(parts...)
	}
	return s.bundle
}

// sorted are the items in the order of their names: a bundle follows from what is
// in it.
func sorted(m map[endorsements.Item]*entry) []endorsements.Item {
	type named struct {
		name string
		item endorsements.Item
	}
	list := make([]named, 0, len(m))
	for i := range m {
		list = append(list, named{i.String(), i})
	}
	slices.SortFunc(list, func(a, b named) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	out := make([]endorsements.Item, 0, len(list))
	for _, n := range list {
		out = append(out, n.item)
	}
	return out
}

// Ensure returns a bundle with what is needed, as far as it can be had until the
// context ends. The bundle is never nil and always usable; the error says what is
// missing in it, or has ended.
func (s *Source) Ensure(ctx context.Context, needs []endorsements.Need) (*endorsements.Bundle, error) {
	var errs []error
	if len(needs) > maxNeeds {
		errs = append(errs, fmt.Errorf("source: %d needs, the first %d count", len(needs), maxNeeds))
		needs = needs[:maxNeeds]
	}
	var items []endorsements.Item
	for _, n := range needs {
		of, err := n.Items()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, i := range of {
			if !slices.Contains(items, i) {
				items = append(items, i)
			}
		}
	}
	errs = append(errs, s.await(ctx, items)...)
	return s.Bundle(), errors.Join(errs...)
}

// await has documents fetched and waits for them. Manifests come first: the status
// of who signed them can be asked for only when they are there.
func (s *Source) await(ctx context.Context, items []endorsements.Item) []error {
	slices.SortStableFunc(items, func(a, b endorsements.Item) int { return isManifest(b) - isManifest(a) })
	asked := len(items)
	flights := make([]*flight, 0, asked)
	var errs []error
	begin := func(i endorsements.Item) {
		f, err := s.want(i)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", i, err))
		}
		flights = append(flights, f)
	}
	for _, i := range items {
		begin(i)
	}
	for k := 0; k < len(items); k++ {
		if f := flights[k]; f != nil {
			select {
			case <-f.done:
				if f.err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", items[k], f.err))
				}
			case <-ctx.Done():
				errs = append(errs, fmt.Errorf("%s: still being fetched: %w", items[k], context.Cause(ctx)))
			}
		}
		for _, i := range s.signers(items[k]) {
			if !slices.Contains(items, i) && len(items) < asked+maxAbove {
				items = append(items, i)
				begin(i)
			}
		}
	}
	return errs
}

func isManifest(i endorsements.Item) int {
	if i.Kind == endorsements.ItemNVRIM {
		return 1
	}
	return 0
}

// signers are the responses about who signed a manifest that is there; none for
// other documents.
func (s *Source) signers(i endorsements.Item) []endorsements.Item {
	if i.Kind != endorsements.ItemNVRIM {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.kept[i]; e != nil {
		return e.above
	}
	return s.above[i.RIM]
}

// want sees to it that a document is there, or on its way. A flight is returned if
// it has to be waited for; an error if there is nothing to wait for, and nothing
// that holds.
func (s *Source) want(i endorsements.Item) (*flight, error) {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	holds, ended := now.Before(s.base[i]), !s.base[i].IsZero()
	if e := s.kept[i]; e != nil {
		s.uses++
		e.used = s.uses
		holds, ended = holds || now.Before(e.until), true
		if now.Before(e.again) {
			return nil, nil
		}
	} else if holds {
		return nil, nil // the folder has it: what its operator put there is enough
	}
	f, err := s.begin(i, now)
	switch {
	case holds:
		return nil, nil // a newer one, if there is one, is for those who come later
	case err != nil && ended:
		return nil, fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return f, err
}
