// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/corim/store/folder"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verifiers"
)

// Who uses the store of reference values.
var (
	_ verifiers.References = (*store.Store)(nil)
	_ api.Corims           = (*store.Store)(nil)
)

// corimFirst is how long a start waits for the first set of documents; a service
// whose NATS cannot be reached yet goes on without, and refuses appraisals.
const corimFirst = 5 * time.Second

// openReferences opens the store of a service.
func (s *stack) openReferences(ctx context.Context, r role) error {
	if r.oneShot || s.config.Corim.Store == "off" {
		return nil
	}
	if err := s.openCorimStore(); err != nil {
		return err
	}
	meter, err := s.observeCorims(otel.GetMeterProvider())
	if err != nil {
		return err
	}
	s.stop = append(s.stop, func(context.Context) error { return meter.Unregister() })
	s.watchStale()
	first, cancel := context.WithTimeout(ctx, corimFirst)
	defer cancel()
	if err := s.corims.Ready(first); err != nil {
		s.log.Warn("no reference values yet, and no appraisals until there are", "error", err)
		if s.config.Corim.Import == "" {
			return ctx.Err()
		}
	}
	return s.importLater(ctx)
}

// openCorimStore follows the documents of the configuration.
func (s *stack) openCorimStore() error {
	c := s.config.Corim
	authorities, err := storeTrust(c.Trust)
	if err != nil {
		return err
	}
	bucket, err := s.corimBucket()
	if err != nil {
		return err
	}
	told := map[string]bool{} // bad entries that were named in the log
	s.corims, err = store.New(store.Options{
		Bucket: bucket, Trust: authorities, Unsigned: c.Unsigned, Clock: time.Now, StaleAfter: c.StaleAfter,
		WarnStale: c.Stale == "warn", RefuseBad: c.Bad == "refuse", Notify: func() { s.logCorims(told) },
	})
	if err != nil {
		return err
	}
	// Not the context of the start: the store ends with everything else.
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.corims.Run(ctx); close(ended) }()
	s.stop = append(s.stop, func(context.Context) error { cancel(); <-ended; return nil })
	return nil
}

// storeTrust reads the file of authorities; without one nobody is believed.
func storeTrust(name string) (*corim.Trust, error) {
	if name == "" {
		return nil, nil
	}
	raw, err := readFile(name, corim.MaxTrust)
	if err != nil {
		return nil, fmt.Errorf("corim.trust: %w", err)
	}
	list, err := corim.ParseTrust(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return corim.NewTrust(list)
}

// corimBucket is where documents are.
func (s *stack) corimBucket() (store.Bucket, error) {
	c := s.config.Corim
	if c.Store == "jetstream" {
		return s.bus.Corims(fabric.CorimOptions{Replicas: c.Replicas, Poll: min(c.StaleAfter/3, 10*time.Second)})
	}
	return folder.Open(folder.Options{Dir: corimFolder(s.config), Clock: time.Now, Poll: min(c.StaleAfter/3, folder.DefaultPoll)})
}

func corimFolder(c config.Config) string { return filepath.Join(c.StateDir, "corim") }

// references is the store as a node takes it; nil where there is none.
func (s *stack) references() verifiers.References {
	if s.given != nil {
		return s.given
	}
	if s.corims == nil {
		return nil
	}
	return s.corims
}

// logCorims says what the set in use is, and names each bad entry once. It is
// called by one goroutine.
func (s *stack) logCorims(told map[string]bool) {
	st := s.corims.State(time.Now())
	s.log.Info("reference values", "revision", st.Revision, "documents", len(st.Documents)-st.Bad, "bad", st.Bad, "bytes", st.Bytes)
	bad := map[string]bool{}
	for _, in := range st.Documents {
		if in.Reason() == nil {
			continue
		}
		bad[in.Key] = true
		if !told[in.Key] {
			told[in.Key] = true
			s.log.Warn("document does not count", "id", in.Key, "why", in.Reason())
		}
	}
	for key := range told {
		if !bad[key] {
			delete(told, key)
		}
	}
	for _, c := range st.Conflicts {
		s.log.Warn("reference values contradict each other", "tag", c)
	}
}

// watchStale says in the log when the documents cannot be confirmed any more, and
// when they can again.
func (s *stack) watchStale() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(s.config.Corim.StaleAfter / 2)
		defer tick.Stop()
		for was := false; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			st := s.corims.State(time.Now())
			switch stale := !st.Ready || st.Stale; {
			case stale && !was:
				s.log.Warn("reference values may be out of date", "age", st.Age, "policy", s.config.Corim.Stale, "why", st.Fault)
				was = true
			case !stale && was:
				s.log.Info("reference values are current again", "revision", st.Revision)
				was = false
			}
		}
	}()
	s.stop = append(s.stop, func(context.Context) error { cancel(); <-ended; return nil })
}

// importLater adds the documents of corim.import: now, if the store is ready, or
// else when it is.
func (s *stack) importLater(ctx context.Context) error {
	if s.config.Corim.Import == "" {
		return nil
	}
	files, err := importFiles(s.config.Corim.Import)
	if err != nil {
		return fmt.Errorf("corim.import: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	ready := s.corims.State(time.Now()).Ready
	go func() {
		defer close(ended)
		if s.corims.Ready(ctx) == nil {
			s.importFiles(ctx, files)
		}
	}()
	s.stop = append(s.stop, func(context.Context) error { cancel(); <-ended; return nil })
	if ready {
		<-ended
	}
	return nil
}

// importFiles lists the regular files below a folder.
func importFiles(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	slices.Sort(files)
	return files, err
}

// importFiles adds documents that are there. What is none, or not one to be
// believed, is named and left out.
func (s *stack) importFiles(ctx context.Context, files []string) {
	var last store.Digest
	added := 0
	for _, name := range files {
		raw, err := readFile(name, limits.CorimDocument)
		if err == nil {
			var in store.Info
			if in, err = s.corims.Add(ctx, raw); err == nil {
				added++
				last, err = store.ParseDigest(in.Key)
			}
		}
		if err != nil {
			s.log.Warn("document not imported", "file", name, "why", err)
		}
	}
	s.log.Info("documents imported", "folder", s.config.Corim.Import, "documents", added)
	if added == 0 {
		return
	}
	wait, cancel := context.WithTimeout(ctx, corimFirst)
	defer cancel()
	if err := s.corims.Await(wait, last); err != nil && ctx.Err() == nil {
		s.log.Warn("imported documents are not in use yet", "error", err)
	}
}

// ready tells whether the node can appraise: its fabric answers, and its
// reference values are there and current.
func (s *stack) ready(ctx context.Context) error {
	if err := s.bus.Ready(ctx); err != nil {
		return err
	}
	if s.corims == nil {
		return nil
	}
	_, err := s.corims.Snapshot(time.Now())
	return err
}

// corimAPI is the store as the HTTP API takes it, and whether clients may change
// it. The address may have come from a flag.
func (s *stack) corimAPI() (api.Corims, bool, error) {
	if s.corims == nil {
		return nil, false, nil
	}
	return s.corims, s.config.Corim.HTTPWrites, s.config.Corim.CheckWrites(s.config.Listen, s.config.ListenTLS)
}

// observeCorims offers metrics of the store.
func (s *stack) observeCorims(p metric.MeterProvider) (metric.Registration, error) {
	m := p.Meter("github.com/assize/assize/corim")
	documents, err1 := m.Int64ObservableGauge("assize.corim.documents", metric.WithDescription("Documents in the store, by what they are worth"))
	size, err2 := m.Int64ObservableGauge("assize.corim.size", metric.WithUnit("By"), metric.WithDescription("Size of the documents"))
	age, err3 := m.Float64ObservableGauge("assize.corim.age", metric.WithUnit("s"), metric.WithDescription("Time since the documents were last known to be current"))
	stale, err4 := m.Int64ObservableGauge("assize.corim.stale", metric.WithDescription("1 if that is longer ago than it may be, or there is no set yet"))
	revision, err5 := m.Int64ObservableGauge("assize.corim.revision", metric.WithDescription("1 for the revision in use"))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := time.Now()
		st := s.corims.State(now)
		if !st.Ready || st.Stale {
			o.ObserveInt64(stale, 1)
		} else {
			o.ObserveInt64(stale, 0)
		}
		if !st.Ready {
			return nil
		}
		counts := map[store.Status]int64{store.Active: 0, store.Pending: 0, store.Expired: 0, store.Bad: 0}
		for _, in := range st.Documents {
			counts[in.Status(now)]++
		}
		for status, n := range counts {
			o.ObserveInt64(documents, n, metric.WithAttributes(attribute.String("status", string(status))))
		}
		o.ObserveInt64(size, st.Bytes)
		o.ObserveFloat64(age, st.Age.Seconds())
		o.ObserveInt64(revision, 1, metric.WithAttributes(attribute.String("revision", st.Revision)))
		return nil
	}, documents, size, age, stale, revision)
}
