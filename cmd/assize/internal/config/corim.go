// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net"
	"time"
)

func (c *Corim) defaults() {
	def(&c.Store, "folder")
	def(&c.Stale, "refuse")
	def(&c.Bad, "skip")
	if c.StaleAfter == 0 {
		c.StaleAfter = time.Minute
	}
}

func (c *Corim) check(mode, listen string, tls ListenTLS) error {
	switch {
	case c.Store != "folder" && c.Store != "jetstream" && c.Store != "off":
		return fmt.Errorf("config: corim.store is %q, want folder, jetstream or off", c.Store)
	case c.Store == "off" && (c.Import != "" || c.HTTPWrites):
		return errors.New("config: corim.import and http_writes want a store, but corim.store is off")
	case c.Stale != "refuse" && c.Stale != "warn":
		return fmt.Errorf("config: corim.stale is %q, want refuse or warn", c.Stale)
	case c.Bad != "skip" && c.Bad != "refuse":
		return fmt.Errorf("config: corim.bad is %q, want skip or refuse", c.Bad)
	case c.StaleAfter < 5*time.Second || c.StaleAfter > 24*time.Hour:
		return fmt.Errorf("config: corim.stale_after is %s, want 5s to 24h", c.StaleAfter)
	case c.Replicas < 0 || c.Replicas > 5 || c.Replicas > 1 && (mode == "embedded" || c.Store != "jetstream"):
		return fmt.Errorf("config: corim.replicas is %d, want 1 to 5, and 1 unless corim.store is jetstream on an external NATS", c.Replicas)
	}
	return c.CheckWrites(listen, tls)
}

// CheckWrites refuses writes over HTTP at an address where everybody could make
// them. Signatures say who has made a document; they do not say who may remove
// one or fill the store.
func (c *Corim) CheckWrites(listen string, tls ListenTLS) error {
	if c.HTTPWrites && tls.ClientCA == "" && !loopback(listen) {
		return errors.New("config: corim.http_writes lets everybody who reaches the API remove reference values: set listen_tls.client_ca, or listen on loopback")
	}
	return nil
}

// loopback tells whether only this machine reaches an address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
