// SPDX-License-Identifier: Apache-2.0

package embed

import (
	"context"
	"fmt"
	"log/slog"
)

// logger passes the server's log to slog. A fatal error does not end the
// process: it is kept for Start, and logged as an error later on.
type logger struct {
	l     *slog.Logger
	fatal chan string
}

func newLogger(l *slog.Logger) *logger {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &logger{l: l.With("component", "nats-server"), fatal: make(chan string, 1)}
}

func (l *logger) debug() bool { return l.l.Enabled(context.Background(), slog.LevelDebug) }

// Noticef implements server.Logger.
func (l *logger) Noticef(format string, v ...any) { l.l.Info(fmt.Sprintf(format, v...)) }

// Warnf implements server.Logger.
func (l *logger) Warnf(format string, v ...any) { l.l.Warn(fmt.Sprintf(format, v...)) }

// Errorf implements server.Logger.
func (l *logger) Errorf(format string, v ...any) { l.l.Error(fmt.Sprintf(format, v...)) }

// Debugf implements server.Logger.
func (l *logger) Debugf(format string, v ...any) { l.l.Debug(fmt.Sprintf(format, v...)) }

// Tracef implements server.Logger.
func (l *logger) Tracef(format string, v ...any) { l.l.Debug(fmt.Sprintf(format, v...)) }

// Fatalf implements server.Logger.
func (l *logger) Fatalf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	l.l.Error(msg, "fatal", true)
	select {
	case l.fatal <- msg:
	default:
	}
}
