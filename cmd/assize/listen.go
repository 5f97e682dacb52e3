// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
)

// maxPEM bounds a file of certificates or a key in bytes.
const maxPEM = 1 << 20

// listenHTTP opens the listener of the HTTP API and says which URL scheme it
// speaks. Files that cannot be used are found here and not with the first
// client.
func listenHTTP(ctx context.Context, address string, c config.ListenTLS) (net.Listener, string, error) {
	var lc net.ListenConfig
	if c.Cert == "" {
		ln, err := lc.Listen(ctx, "tcp", address)
		return ln, "http", err
	}
	r := &reloaded{files: c}
	if _, err := r.current(); err != nil {
		return nil, "", err
	}
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, "", err
	}
	return tls.NewListener(ln, &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return r.current()
		},
	}), "https", nil
}

// reloaded is the configuration that the files give, read again when one of
// them has changed.
type reloaded struct {
	files config.ListenTLS

	mu    sync.Mutex
	stamp [3]time.Time
	last  *tls.Config
}

// current fails when the files cannot be used now, even if they once could: a
// certificate that was replaced must not be shown again.
func (r *reloaded) current() (*tls.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var stamp [3]time.Time
	for i, name := range []string{r.files.Cert, r.files.Key, r.files.ClientCA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("listen_tls: %w", err)
		}
		stamp[i] = info.ModTime()
	}
	if r.last != nil && stamp == r.stamp {
		return r.last, nil
	}
	next, err := loadTLS(r.files)
	if err != nil {
		return nil, fmt.Errorf("listen_tls: %w", err)
	}
	r.last, r.stamp = next, stamp
	return next, nil
}

func loadTLS(c config.ListenTLS) (*tls.Config, error) {
	chain, err := readFile(c.Cert, maxPEM)
	if err != nil {
		return nil, err
	}
	key, err := readFile(c.Key, maxPEM)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if c.ClientCA == "" {
		return out, nil
	}
	raw, err := readFile(c.ClientCA, maxPEM)
	if err != nil {
		return nil, err
	}
	out.ClientAuth, out.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s has no certificate", c.ClientCA)
	}
	return out, nil
}
