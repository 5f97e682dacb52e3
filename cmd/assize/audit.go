// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/audit/file"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
)

// The auditor of the orchestrator, and where records go.
var (
	_ orchestrator.Auditor = (*auditor)(nil)
	_ audit.Store          = (*file.Store)(nil)
	_ audit.Store          = (*fabric.AuditStream)(nil)
)

// auditStore is where a process keeps its records: a service in files unless it
// is told otherwise, a verifier and a process of one appraisal nowhere unless
// they are told to.
func (s *stack) auditStore(r role) string {
	a := s.config.Audit
	switch {
	case a.Store != "":
		return a.Store
	case !r.lead && !a.Required: // several verifiers may share a state folder
		return "off"
	case r.oneShot && !a.Required:
		return "off"
	}
	return "file"
}

// auditDir is the folder of the records of processes of one name: a service and
// a process of one appraisal never wait for each other.
func auditDir(stateDir, name string) string { return filepath.Join(stateDir, "audit", name) }

// openAudit continues the log of this process; nil if it keeps none. Records
// are signed with the lead's key.
func (s *stack) openAudit(ctx context.Context, r role, signer *trust.Signer) (orchestrator.Auditor, error) {
	var store audit.Store
	switch s.auditStore(r) {
	case "off":
		return nil, nil
	case "jetstream":
		if r.oneShot && s.config.Fabric.Mode == "embedded" {
			if s.config.Audit.Required {
				return nil, errors.New("audit.store jetstream with the embedded server is for a service, and audit.required is set")
			}
			s.log.Warn("no audit records: audit.store jetstream with the embedded server is for a service")
			return nil, nil
		}
		st, err := s.auditStream(ctx)
		if err != nil {
			return nil, err
		}
		store = st
	default:
		st, err := s.auditFiles(ctx, r)
		if err != nil {
			return nil, err
		}
		s.stop = append(s.stop, func(context.Context) error { return st.Close() })
		store = st
	}
	a := &auditor{out: s.log, after: s.config.Audit.CheckpointAfter}
	var err error
	a.log, err = audit.Open(ctx, audit.Options{
		Store: store, Signer: signer, Node: s.config.Node.Name, Clock: time.Now, Rand: rand.Reader,
		Every: s.config.Audit.CheckpointEvery, Checkpointed: a.signed,
	})
	if err != nil {
		return nil, err
	}
	s.stop = append(s.stop, a.close)
	return a, nil
}

func (s *stack) auditStream(ctx context.Context) (*fabric.AuditStream, error) {
	a := s.config.Audit
	return s.bus.Audit(ctx, fabric.AuditOptions{Log: a.Log, Replicas: a.Replicas, MaxAge: a.MaxAge, MaxBytes: int64(a.MaxBytes)})
}

// auditFiles opens the folder. Processes of one appraisal wait for each other.
func (s *stack) auditFiles(ctx context.Context, r role) (*file.Store, error) {
	o := file.Options{
		Dir: auditDir(s.config.StateDir, r.name), Rotate: int64(s.config.Audit.RotateBytes), Keep: s.config.Audit.KeepFiles,
		Sync: file.Sync(s.config.Audit.Sync),
	}
	for {
		st, err := file.Open(o)
		if err == nil || !r.oneShot || !errors.Is(err, file.ErrInUse) {
			return st, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// auditor writes records and sees to it that they are signed soon, without
// doing anything while nothing happens.
type auditor struct {
	log   *audit.Log
	out   *slog.Logger
	after time.Duration

	mu     sync.Mutex
	timer  *time.Timer // nil while nothing waits to be signed
	newest string
	closed bool
}

// Record implements orchestrator.Auditor.
func (a *auditor) Record(ctx context.Context, e audit.Event) error {
	err := a.log.Record(ctx, e)
	if err != nil {
		a.out.ErrorContext(ctx, "audit record not written", "kind", string(e.Kind), "session", e.Session, "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer == nil && !a.closed {
		a.timer = time.AfterFunc(a.after, a.sign)
	}
	return err
}

// signed keeps the newest checkpoint for the operator's log.
func (a *auditor) signed(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newest = token
}

// sign signs what was added and shows the checkpoint in the operator's log,
// which is another place: whoever changes the records has to change that too.
func (a *auditor) sign() {
	a.mu.Lock()
	a.timer = nil
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.log.Checkpoint(ctx); err != nil {
		a.out.Error("audit checkpoint not written", "error", err)
	}
	a.show()
}

func (a *auditor) show() {
	id := a.log.ID() // which has a lock of its own
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.newest != "" {
		a.out.Info("audit checkpoint", "log", id, "checkpoint", a.newest)
	}
	a.newest = ""
}

// close ends the log.
func (a *auditor) close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	err := a.log.Close(ctx)
	a.show()
	return err
}
