// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"time"

	"github.com/assize/assize/internal/limits"
)

func (v *Verdicts) defaults() {
	def(&v.Store, "memory")
	if v.Keep == 0 {
		v.Keep = 1024
	}
	if v.MaxAge == 0 {
		v.MaxAge = limits.Session
	}
	if v.MaxBytes == 0 {
		v.MaxBytes = 64 << 20
	}
}

func (v *Verdicts) check() error {
	switch {
	case v.Store != "memory" && v.Store != "off":
		return fmt.Errorf("config: verdicts.store is %q, want memory or off", v.Store)
	case v.Keep < 1 || v.Keep > 1<<20:
		return fmt.Errorf("config: verdicts.keep is %d, want 1 to %d", v.Keep, 1<<20)
	case v.MaxAge < time.Second || v.MaxAge > 24*time.Hour:
		return fmt.Errorf("config: verdicts.max_age is %s, want 1s to 24h", v.MaxAge)
	case v.MaxBytes < 1<<16 || v.MaxBytes > 1<<40:
		return fmt.Errorf("config: verdicts.max_bytes is %d, want %d to %d", v.MaxBytes, 1<<16, 1<<40)
	}
	return nil
}

// CheckWrites refuses writes over HTTP at an address where everybody could make
// them: whoever names topologies decides what a machine may leave out.
func (t *Topologies) CheckWrites(listen string, tls ListenTLS) error {
	if t.HTTPWrites && tls.ClientCA == "" && !loopback(listen) {
		return errors.New("config: topologies.http_writes lets everybody who reaches the API say what is asked of machines: set listen_tls.client_ca, or listen on loopback")
	}
	return nil
}
