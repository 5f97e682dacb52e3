// SPDX-License-Identifier: Apache-2.0

package embed

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// ErrNoServer says that no embedded server runs at the moment.
var ErrNoServer = errors.New("embed: no server is running")

// Provider gives in-process connections and the key that opens them. It
// outlives a server, so that clients survive a restart. It is safe for
// concurrent use.
type Provider struct {
	key nkeys.KeyPair
	pub string

	mu  sync.Mutex
	srv *server.Server
}

// newProvider makes a provider with a fresh Ed25519 key that never leaves the
// process.
func newProvider() (*Provider, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("embed: in-process key: %w", err)
	}
	pub, err := kp.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("embed: in-process key: %w", err)
	}
	return &Provider{key: kp, pub: pub}, nil
}

// InProcessConn implements nats.InProcessConnProvider. ErrNoServer means that
// the server is down; the client tries again.
func (p *Provider) InProcessConn() (net.Conn, error) {
	p.mu.Lock()
	srv := p.srv
	p.mu.Unlock()
	if srv == nil {
		return nil, ErrNoServer
	}
	c, err := srv.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	return c, nil
}

// NKey is the public user key of in-process clients.
func (p *Provider) NKey() string { return p.pub }

// SignNonce signs the server's login challenge with the in-process key.
func (p *Provider) SignNonce(nonce []byte) ([]byte, error) { return p.key.Sign(nonce) }

func (p *Provider) set(s *server.Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.srv = s
}

// clear forgets s unless another server has taken its place.
func (p *Provider) clear(s *server.Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.srv == s {
		p.srv = nil
	}
}
