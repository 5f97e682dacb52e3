// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Timing and size of discovery.
const (
	refreshEvery = 30 * time.Second
	gatherStall  = 150 * time.Millisecond
	gatherTotal  = time.Second
	maxInstances = 4096
	// goneFor is how long an event hides an instance that still answers.
	goneFor = 5 * time.Second
)

// DirectoryOptions configure a Directory.
type DirectoryOptions struct {
	// Every is the time between two refreshes, ± 50 %; default 30 s. Events
	// cause refreshes in between.
	Every time.Duration
}

// Directory is the cached list of running services. It is filled in the
// background and never inside an appraisal. It is safe for concurrent use.
type Directory struct {
	bus    *Bus
	every  time.Duration
	events *nats.Subscription
	kick   chan struct{}
	stop   context.CancelFunc
	done   chan struct{}

	gathering sync.Mutex

	mu        sync.RWMutex
	instances map[string]Instance  // by id
	gone      map[string]time.Time // when an id said "drain" or "stop"
}

// Directory starts to watch the fabric. It returns at once; Refresh makes sure
// that the list was filled. Call Stop before Bus.Close.
func (b *Bus) Directory(o DirectoryOptions) (*Directory, error) {
	if o.Every <= 0 {
		o.Every = refreshEvery
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &Directory{
		bus: b, every: o.Every, kick: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
		instances: map[string]Instance{}, gone: map[string]time.Time{},
	}
	var err error
	if d.events, err = b.bulk.Subscribe(b.subj.events(), d.onEvent); err != nil {
		stop()
		return nil, fmt.Errorf("fabric: directory: %w", err)
	}
	d.Kick()
	go d.loop(ctx)
	return d, nil
}

// Kick asks for a refresh soon; it does not wait.
func (d *Directory) Kick() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

func (d *Directory) loop(ctx context.Context) {
	defer close(d.done)
	for {
		t := time.NewTimer(jitter(d.every))
		select {
		case <-d.kick:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
		if err := d.Refresh(ctx); err != nil && ctx.Err() == nil {
			d.bus.log.Debug("directory not refreshed", "error", err)
		}
	}
}

// onEvent forgets an instance that goes away at once, and looks for one that
// has come.
func (d *Directory) onEvent(m *nats.Msg) {
	e, err := parseEvent(m.Data)
	if err != nil {
		return
	}
	if e.Kind == EventStart {
		d.Kick()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// Only an instance that is known: the event is not authenticated, and must
	// not fill memory.
	if in, ok := d.instances[e.Instance]; ok && in.Scheme == e.Scheme {
		delete(d.instances, e.Instance)
		d.gone[e.Instance] = time.Now()
	}
}

// Refresh asks all services now and replaces the list. When the fabric does
// not answer, the old list stays and the error says why; no service at all is
// an answer.
func (d *Directory) Refresh(ctx context.Context) error {
	d.gathering.Lock()
	defer d.gathering.Unlock()
	found, err := d.gather(ctx)
	if err != nil {
		return fmt.Errorf("fabric: directory: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// An instance that said it goes may still have answered. One that answers
	// much later is there, whoever said otherwise: events are not authenticated.
	for id, since := range d.gone {
		if _, answers := found[id]; answers && time.Since(since) < goneFor {
			delete(found, id)
			continue
		}
		delete(d.gone, id)
	}
	d.instances = found
	return nil
}

// gather asks once, on a fresh inbox: the shared reply inbox would see every
// answer twice. It ends on a stall or after a second.
func (d *Directory) gather(ctx context.Context) (map[string]Instance, error) {
	subject, err := micro.ControlSubject(micro.InfoVerb, "", "")
	if err != nil {
		return nil, err
	}
	nc := d.bus.bulk
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(subject, inbox, nil); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, gatherTotal)
	defer cancel()
	found := map[string]Instance{}
	for len(found) < maxInstances {
		wait, stop := context.WithTimeout(ctx, gatherStall)
		m, err := sub.NextMsgWithContext(wait)
		stop()
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			return found, nil
		case errors.Is(err, context.DeadlineExceeded):
			return found, d.silent(len(found))
		case err != nil:
			return nil, err
		}
		if in, err := parseInfo(m.Data); err == nil {
			found[in.ID] = in
		} else if !errors.Is(err, errForeignInfo) {
			d.bus.log.Warn("service information ignored", "error", err)
		}
	}
	return found, nil
}

// silent tells "nobody is there", which the server says, from "the fabric does
// not answer".
func (d *Directory) silent(found int) error {
	if found == 0 && !d.bus.bulk.IsConnected() {
		return errDisconnected
	}
	return nil
}

// Stop ends the refreshes and waits for the one in progress.
func (d *Directory) Stop() {
	d.stop()
	<-d.done
	_ = d.events.Unsubscribe() // fails only when the connection is closed
}

// Instances returns the known component verifiers, ordered by scheme, site and
// id.
func (d *Directory) Instances() []Instance {
	return d.list(func(in Instance) bool { return in.Node == "" })
}

// Nodes returns the known instances of nodes that take relayed messages,
// ordered by node, site and id.
func (d *Directory) Nodes() []Instance {
	return d.list(func(in Instance) bool { return in.Node != "" })
}

func (d *Directory) list(which func(Instance) bool) []Instance {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var out []Instance
	for _, in := range d.instances {
		if which(in) {
			out = append(out, in)
		}
	}
	slices.SortFunc(out, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Site, b.Site), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Candidates says where to send a component of one scheme, best first. Trusted
// decides by the key id whether results of an instance could be accepted at
// all; the signature decides later. The order is deterministic for the same
// list: this process's own site first, then by name.
//
//   - No instance is known (yet), or no filter is given: "any".
//   - Every instance is trusted: "any", then the sites, for a second try.
//   - Some are not: the sites with a trusted instance, those with only trusted
//     ones first; "any" last, if a trusted instance listens nowhere else.
//   - None is trusted: no candidate.
func (d *Directory) Candidates(scheme string, trusted func(kid, scheme string) bool) []verifiers.Candidate {
	sites := map[string]tally{}
	var all tally
	for _, in := range d.Instances() {
		if in.Scheme == scheme {
			good := trusted == nil || trusted(in.KID, scheme)
			sites[in.Site] = sites[in.Site].add(good)
			all = all.add(good)
		}
	}
	switch {
	case all.trusted+all.others == 0:
		return []verifiers.Candidate{{Site: AnySite, Why: "no instance is known yet"}}
	case all.others == 0:
		out := []verifiers.Candidate{{Site: AnySite, Why: "every known instance is trusted"}}
		return append(out, d.sites(sites)...)
	}
	out := d.sites(sites)
	if sites[AnySite].trusted > 0 {
		out = append(out, verifiers.Candidate{Site: AnySite, Why: "a trusted instance has no site"})
	}
	return out
}

// tally counts the instances of a site.
type tally struct{ trusted, others int }

func (t tally) add(good bool) tally {
	if good {
		t.trusted++
	} else {
		t.others++
	}
	return t
}

// sites lists the named sites with a trusted instance.
func (d *Directory) sites(by map[string]tally) []verifiers.Candidate {
	mixed := func(site string) int { return min(by[site].others, 1) }
	foreign := func(site string) int {
		if site == d.bus.cfg.Site {
			return 0
		}
		return 1
	}
	names := slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		return cmp.Or(cmp.Compare(mixed(a), mixed(b)), cmp.Compare(foreign(a), foreign(b)), cmp.Compare(a, b))
	})
	var out []verifiers.Candidate
	for _, site := range names {
		why := "only trusted instances"
		switch {
		case site == AnySite || by[site].trusted == 0:
			continue
		case mixed(site) > 0:
			why = "a trusted instance among others"
		}
		out = append(out, verifiers.Candidate{Site: site, Why: why})
	}
	return out
}
