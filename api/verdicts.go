// SPDX-License-Identifier: Apache-2.0

package api

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// Verdicts bounds the memory of GET /v1/verdicts/{id} (decision D-121). Random and
// Clock are mandatory; what else is zero has a default.
type Verdicts struct {
	// Keep is how many verdicts are kept (1024), Bytes how much they and their
	// evidence may take together (64 MiB). The oldest goes first.
	Keep  int
	Bytes int64
	// MaxAge is how long one is kept; default is the length of a session, after which
	// the signed forms have expired.
	MaxAge time.Duration
	// Random is where identifiers are from: who does not have one must not guess it.
	Random io.Reader
	Clock  func() time.Time
}

const (
	keptVerdicts     = 1024
	keptVerdictBytes = 64 << 20
	// A verdict takes keptPerToken times the size of its token, since it is kept decoded,
	// too, and keptOverhead besides; measured with results that have many claims.
	keptPerToken = 5
	keptOverhead = 4 << 10
	// readsPerSlot is how many verdicts are answered with again at once, for each
	// appraisal that can run: with its evidence, an answer is as large as a request.
	readsPerSlot = 4
)

// answered is a verdict with what its forms are made from.
type answered struct {
	res      *verdict.Result
	req      *orchestrator.Request
	parallel bool
}

func (a answered) size() int64 {
	return keptPerToken*int64(len(a.res.Token)) + int64(len(a.req.Evidence)) + keptOverhead
}

// memory keeps the latest verdicts. Entries are in the order in which they came,
// which is that in which they go.
type memory struct {
	o     Verdicts
	mu    sync.Mutex
	bytes int64
	order *list.List // of *remembered, the oldest first
	byKey map[[32]byte]*list.Element
	// answers bounds the signing and the memory of GET, apart from what appraisals have:
	// who only reads never keeps anybody from being appraised (decision D-125).
	answers chan struct{}
}

type remembered struct {
	answered
	key   [32]byte
	until time.Time
}

// newMemory keeps verdicts, and lets answers of them be made at once.
func newMemory(o Verdicts, answers int) (*memory, error) {
	if o.Random == nil || o.Clock == nil {
		return nil, errors.New("api: verdicts are kept, but there is no randomness or no clock")
	}
	if o.Keep <= 0 {
		o.Keep = keptVerdicts
	}
	if o.Bytes <= 0 {
		o.Bytes = keptVerdictBytes
	}
	if o.MaxAge <= 0 {
		o.MaxAge = limits.Session
	}
	return &memory{o: o, order: list.New(), byKey: map[[32]byte]*list.Element{}, answers: make(chan struct{}, answers)}, nil
}

// keep gives a verdict an identifier of 128 random bits in hexadecimal digits, ""
// if it is too large to be kept.
func (m *memory) keep(a answered) (string, error) {
	size := a.size()
	if size > m.o.Bytes {
		return "", nil
	}
	var random [16]byte
	if _, err := io.ReadFull(m.o.Random, random[:]); err != nil {
		return "", fmt.Errorf("api: no randomness: %w", err)
	}
	id := hex.EncodeToString(random[:])
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Clock()
	key := keyOf(id)
	if _, twice := m.byKey[key]; twice {
		return "", errors.New("api: the source of randomness repeats itself")
	}
	m.bytes += size
	m.byKey[key] = m.order.PushBack(&remembered{a, key, now.Add(m.o.MaxAge)})
	m.forget(now)
	return id, nil
}

// get finds a verdict that is young enough.
func (m *memory) get(id string) (answered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(m.o.Clock())
	e, ok := m.byKey[keyOf(id)]
	if !ok {
		return answered{}, false
	}
	return e.Value.(*remembered).answered, true
}

// forget lets go of what is too old or too much.
func (m *memory) forget(now time.Time) {
	for e := m.order.Front(); e != nil; e = m.order.Front() {
		r := e.Value.(*remembered)
		if now.Before(r.until) && m.order.Len() <= m.o.Keep && m.bytes <= m.o.Bytes {
			return
		}
		m.order.Remove(e)
		delete(m.byKey, r.key)
		m.bytes -= r.size()
	}
}

// keyOf hashes an identifier, so that the time of a look-up says nothing about
// those that exist.
func keyOf(id string) [32]byte { return sha256.Sum256([]byte(id)) }

// remember keeps a verdict and says where, also for an answer that it then does not
// fit. One that cannot be kept is answered all the same.
func (s *server) remember(w http.ResponseWriter, r *http.Request, a answered) {
	if s.memory == nil {
		return
	}
	id, err := s.memory.keep(a)
	if err != nil {
		s.o.Logger.ErrorContext(r.Context(), "verdict is not kept", "error", err)
	}
	if id == "" {
		return
	}
	w.Header().Set("Location", "/v1/verdicts/"+id)
}

// getVerdict answers with a verdict that was given before, in the form that is
// asked for now.
func (s *server) getVerdict(w http.ResponseWriter, r *http.Request) {
	a, ok := s.memory.get(r.PathValue("id"))
	if !ok {
		s.problem(w, r, problem{Status: http.StatusNotFound, Code: "not-found", Detail: "no such verdict, or it is not kept any more"})
		return
	}
	forms, ok := s.wanted(w, r, a.parallel)
	if !ok {
		return
	}
	select {
	case s.memory.answers <- struct{}{}:
		defer func() { <-s.memory.answers }()
		s.answer(w, r, forms, a)
	default:
		w.Header().Set("Retry-After", "1")
		s.problem(w, r, problem{Status: http.StatusTooManyRequests, Code: "busy", Detail: "too many verdicts are being fetched"})
	}
}
